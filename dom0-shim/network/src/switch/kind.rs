//! The four kinds of bridges (NET-03), which their names tell.

/// Bridges' numbers are below this one (NET-04).
pub const BRIDGES: u8 = 128;

/// Who can be at a bridge, beside guests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `xenbrN`: the outside and Dom0.
    External,
    /// `gextbrN`: the outside, not Dom0.
    GuestExternal,
    /// `intbrN`: Dom0.
    Internal,
    /// `gintbrN`: nobody else.
    GuestInternal,
}

impl Kind {
    /// A bridge's kind and number; `None` if it cannot have such a name.
    #[must_use]
    pub fn of(name: &str) -> Option<(Self, u8)> {
        let digits = name.trim_start_matches(|it: char| it.is_ascii_lowercase());
        let kind = match name.strip_suffix(digits)? {
            "xenbr" => Self::External,
            "gextbr" => Self::GuestExternal,
            "intbr" => Self::Internal,
            "gintbr" => Self::GuestInternal,
            _ => return None,
        };
        // One name for each number.
        let number = digits.parse().ok().filter(|&number| number < BRIDGES)?;
        (digits == "0" || digits.starts_with(|it: char| matches!(it, '1'..='9'))).then_some((kind, number))
    }

    /// Whether an uplink may be at it.
    #[must_use]
    pub const fn is_external(self) -> bool {
        matches!(self, Self::External | Self::GuestExternal)
    }

    /// Whether Dom0 may be at it.
    #[must_use]
    pub const fn has_dom0(self) -> bool {
        matches!(self, Self::External | Self::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn names_tell_kinds() {
        assert_eq!(Kind::of("xenbr0"), Some((Kind::External, 0)));
        assert_eq!(Kind::of("gextbr1"), Some((Kind::GuestExternal, 1)));
        assert_eq!(Kind::of("intbr127"), Some((Kind::Internal, 127)));
        assert_eq!(Kind::of("gintbr10"), Some((Kind::GuestInternal, 10)));
        for wrong in
            ["", "xenbr", "xenbr128", "xenbr01", "xenbr+1", "br0", "xenbr0a", "xénbr0", "0", "xenbr99999"]
        {
            assert_eq!(Kind::of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn kinds_are_the_four_combinations() {
        let kinds = [Kind::External, Kind::GuestExternal, Kind::Internal, Kind::GuestInternal];
        let who = kinds.map(|kind| (kind.is_external(), kind.has_dom0()));
        assert_eq!(who, [(true, true), (true, false), (false, true), (false, false)]);
    }
}
