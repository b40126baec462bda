//! VLAN tags (IEEE 802.1Q, NET-16).
//!
//! ```text
//!  0           6           12        14        16     18
//!  │destination│ source    │ 0x8100  │PCP│D│VID│ type │ ...     tagged
//!  │destination│ source    │ type │ ...                         untagged
//! ```

use alloc::vec::Vec;
use core::fmt;

use crate::headers::word;

/// EtherType of a tag.
const TAG: u16 = 0x8100;
/// Those of other tags: IEEE 802.1ad, and two that were in use before it.
const OTHER_TAGS: [u16; 3] = [0x88a8, 0x9100, 0x9200];
/// Where a tag begins, and its bytes.
const AT: usize = 12;
const LENGTH: usize = 4;
/// Bits of a tag that are the VLAN's number; the others are priority and drop eligibility.
const NUMBER: u16 = 0xfff;

/// Number of a VLAN, 1 to 4094.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VlanId(u16);

impl VlanId {
    /// `None` for 0 and 4095, which are no VLANs (IEEE 802.1Q, table 9-2), and above.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            1..=4094 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

/// What a frame's first tag says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    /// There is none.
    None,
    /// A priority, and no VLAN.
    Priority,
    /// A VLAN.
    Vlan(VlanId),
    /// A tag that nobody here reads.
    Other,
}

/// A frame's first tag.
#[must_use]
pub fn tag(frame: &[u8]) -> Tag {
    match word(frame, AT) {
        Some(TAG) => match word(frame, AT + 2).map(|tag| tag & NUMBER) {
            Some(0) => Tag::Priority,
            number => number.and_then(VlanId::new).map_or(Tag::Other, Tag::Vlan),
        },
        Some(kind) if OTHER_TAGS.contains(&kind) => Tag::Other,
        _ => Tag::None,
    }
}

/// Takes the first tag out of a tagged frame.
pub fn pop(frame: &mut Vec<u8>) {
    if frame.len() >= AT + LENGTH {
        frame.drain(AT..AT + LENGTH);
    }
}

/// Puts a tag into a frame, with priority 0.
pub fn push(frame: &mut Vec<u8>, vlan: VlanId) {
    if frame.len() >= AT {
        let ([a, b], [c, d]) = (TAG.to_be_bytes(), vlan.0.to_be_bytes());
        frame.splice(AT..AT, [a, b, c, d]);
    }
}

#[cfg(test)]
mod tests {
    use super::{Tag, VlanId, pop, push, tag};
    use crate::testing::{A, B, frame};

    #[test]
    fn a_tag_goes_in_and_out() {
        let plain = frame(B, A, "text");
        let mut tagged = plain.clone();
        push(&mut tagged, VlanId::new(10).unwrap());
        assert_eq!(tagged[12..18], [0x81, 0, 0, 10, 0x88, 0xb5]);
        assert_eq!(tag(&tagged), Tag::Vlan(VlanId(10)));
        pop(&mut tagged);
        assert_eq!(tagged, plain);
    }

    #[test]
    fn tags_are_told_apart() {
        let mut bytes = frame(B, A, "text");
        assert_eq!(tag(&bytes), Tag::None);
        push(&mut bytes, VlanId(1));
        for (first, last, expected) in [
            (0xe0, 0, Tag::Priority),
            (0xff, 0xfe, Tag::Vlan(VlanId(4094))),
            (0x1f, 0xff, Tag::Other),
            (0x10, 0x01, Tag::Vlan(VlanId(1))),
        ] {
            bytes[14..16].copy_from_slice(&[first, last]);
            assert_eq!(tag(&bytes), expected);
        }
        bytes[12..14].copy_from_slice(&[0x88, 0xa8]);
        assert_eq!(tag(&bytes), Tag::Other);
    }

    #[test]
    fn short_frames_have_no_tag() {
        for length in 0..16 {
            let mut bytes = frame(B, A, "text");
            bytes[12..14].copy_from_slice(&[0x81, 0]);
            bytes.truncate(length);
            assert!(matches!(tag(&bytes), Tag::None | Tag::Other), "{length}");
            let before = bytes.clone();
            pop(&mut bytes);
            assert_eq!(bytes, before);
        }
    }

    #[test]
    fn numbers_that_are_no_vlans() {
        assert_eq!([0, 4095, 4096, u16::MAX].map(VlanId::new), [None; 4]);
        assert_eq!(VlanId::new(4094).map(VlanId::number), Some(4094));
    }
}
