//! Options for Dom0: its memory, its vcpus, how it is built.

use core::fmt;

use super::{Problem, value};

/// An amount of memory, absolute or of what there is: `[-]<size>`,
/// `[-]<percent>%` or `[-]<size>+<percent>%`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MemorySize {
    bytes: u64,
    /// Below 100.
    percent: u8,
    /// All but that much.
    all_but: bool,
}

impl MemorySize {
    /// Bytes, of `available` bytes; may be more than there are.
    #[must_use]
    pub fn of(self, available: u64) -> u64 {
        // The quotient first: the product need not fit.
        let share = u64::from(self.percent);
        let part = (available / 100) * share + (available % 100) * share / 100;
        let amount = self.bytes.saturating_add(part);
        if self.all_but { available.saturating_sub(amount) } else { amount }
    }
}

/// In the form in which the option takes it.
impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.all_but { "-" } else { "" })?;
        match (self.bytes, self.percent) {
            (bytes, 0) => write!(f, "{}", Bytes(bytes)),
            (0, percent) => write!(f, "{percent}%"),
            (bytes, percent) => write!(f, "{}+{percent}%", Bytes(bytes)),
        }
    }
}

/// A number of bytes with the largest suffix that fits it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, suffix) = match self.0.trailing_zeros() {
            _ if self.0 == 0 => (0, 'B'),
            40.. => (40, 'T'),
            30..40 => (30, 'G'),
            20..30 => (20, 'M'),
            10..20 => (10, 'K'),
            0..10 => (0, 'B'),
        };
        write!(f, "{}{suffix}", self.0 >> shift)
    }
}

/// `dom0_mem=`: how much memory Dom0 starts with, and may ever have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Dom0Memory {
    size: Option<MemorySize>,
    min: Option<MemorySize>,
    max: Option<MemorySize>,
}

impl Dom0Memory {
    /// What a Dom0 of no stated size leaves to others, at most.
    const RESERVE_MAX: u64 = 128 << 20;

    /// Bytes for Dom0 to start with, of `available` bytes: the stated size, or
    /// all but a sixteenth or 128 MiB; raised to the minimum, lowered to the
    /// maximum and to what there is.
    #[must_use]
    pub fn initial(&self, available: u64) -> u64 {
        let stated = self.size.map(|size| size.of(available)).filter(|&size| size != 0);
        let size = stated.unwrap_or(available - (available / 16).min(Self::RESERVE_MAX));
        let raised = size.max(self.min.map_or(0, |min| min.of(available)));
        raised.min(self.max.map_or(u64::MAX, |max| max.of(available))).min(available)
    }

    /// Bytes that Dom0 may grow to, if there is a limit.
    #[must_use]
    pub fn limit(&self, available: u64) -> Option<u64> {
        self.max.map(|max| max.of(available))
    }
}

/// In the form in which the option takes it; nothing if it was not given.
impl fmt::Display for Dom0Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("min:", self.min), ("max:", self.max), ("", self.size)];
        let mut separator = "";
        for (name, size) in parts {
            if let Some(size) = size {
                write!(f, "{separator}{name}{size}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

/// `dom0_max_vcpus=`: as many vcpus as there are pcpus, but within bounds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Dom0Vcpus {
    min: u32,
    max: u32,
}

impl Dom0Vcpus {
    /// One for each pcpu.
    pub const DEFAULT: Self = Self { min: 1, max: u32::MAX };

    /// How many on a machine with `pcpus` CPUs; what a domain can have is
    /// another limit. The maximum wins over the minimum, and one is the least.
    #[must_use]
    pub fn on(self, pcpus: u32) -> u32 {
        pcpus.max(self.min).min(self.max).max(1)
    }
}

/// In the form in which the option takes it.
impl fmt::Display for Dom0Vcpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "{min}"),
            (min, u32::MAX) => write!(f, "{min}-"),
            (min, max) => write!(f, "{min}-{max}"),
        }
    }
}

/// `List of ( min:<sz> | max:<sz> | <sz> )`; what the list leaves out stays as in `memory`.
pub(super) fn memory(text: &str, mut memory: Dom0Memory) -> Result<Dom0Memory, Problem> {
    for item in text.split(',') {
        if let Some(min) = item.strip_prefix("min:") {
            memory.min = Some(amount(min)?);
        } else if let Some(max) = item.strip_prefix("max:") {
            memory.max = Some(amount(max)?);
        } else {
            memory.size = Some(amount(item)?);
        }
    }
    Ok(memory)
}

fn amount(text: &str) -> Result<MemorySize, Problem> {
    let (all_but, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (size, share) = match text.split_once('+') {
        Some((size, share)) => (size, share),
        None if text.ends_with('%') => ("0B", text),
        None => (text, "0%"),
    };
    let percent =
        share.strip_suffix('%').and_then(value::unsigned).and_then(|share| u8::try_from(share).ok());
    match (value::size(size), percent) {
        (Some(bytes), Some(percent @ 0..100)) => Ok(MemorySize { bytes, percent, all_but }),
        _ => Err(Problem::Expected("sizes such as 1024M, min:512M,max:2G, -512M, 25% or 1G+10%")),
    }
}

/// `N`, `min-max`, `min-` or `-max`
pub(super) fn vcpus(text: &str) -> Result<Dom0Vcpus, Problem> {
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    match (min, max) {
        ("", "") => Err(Problem::Expected(VCPUS)),
        ("", max) => Ok(Dom0Vcpus { max: count(max)?, ..Dom0Vcpus::DEFAULT }),
        (min, "") => Ok(Dom0Vcpus { min: count(min)?, ..Dom0Vcpus::DEFAULT }),
        (min, max) => Ok(Dom0Vcpus { min: count(min)?, max: count(max)? }),
    }
}

const VCPUS: &str = "a number of vcpus, or a range such as 2-8";

/// Zero counts as one, as in Xen.
fn count(text: &str) -> Result<u32, Problem> {
    value::integer(text, 0..=u32::MAX, VCPUS).map(|count| count.max(1))
}

/// `dom0=`: Dom0 is always built as a PVH domain.
pub(super) fn build(text: &str, verbose: &mut bool) -> Result<(), Problem> {
    let mut outcome = Ok(());
    for item in text.split(',') {
        let (name, given) = item.split_once('=').map_or((item, None), |(name, value)| (name, Some(value)));
        match name {
            "pvh" if given.is_none() => {}
            "verbose" => *verbose = value::flag(given)?,
            "no-verbose" if given.is_none() => *verbose = false,
            "pv" => outcome = Err(Problem::Unsupported("there are no PV domains, Dom0 is built as PVH")),
            "shadow" | "cpuid-faulting" | "msr-relaxed" | "pf-fixup" | "no-shadow" | "no-cpuid-faulting"
            | "no-msr-relaxed" | "no-pf-fixup" => {
                outcome =
                    outcome.and(Err(Problem::Unsupported("of its list only pvh and verbose are followed")));
            }
            _ => return Err(Problem::Expected("pvh or verbose")),
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::config;
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn parsed(text: &str) -> Result<Dom0Memory, Problem> {
        memory(text, Dom0Memory::default())
    }

    /// Bytes that Dom0 gets of `available` bytes.
    fn initial(text: &str, available: u64) -> u64 {
        parsed(text).unwrap().initial(available)
    }

    #[test]
    fn t_45_four_ways_to_write_one_gib() {
        for text in ["1024M", "1048576K", "1048576", "1G"] {
            assert_eq!(initial(text, 8 * GIB), GIB, "{text}");
        }
    }

    #[test]
    fn bpm_05_sizes_are_bounded_by_minimum_maximum_and_what_there_is() {
        assert_eq!(initial("512M,max:1G", 8 * GIB), 512 * MIB);
        assert_eq!(initial("512M,min:1G", 8 * GIB), GIB);
        assert_eq!(initial("min:2G,max:1G,512M", 8 * GIB), GIB);
        assert_eq!(initial("16G", 8 * GIB), 8 * GIB);
        assert_eq!(parsed("512M,max:1G").unwrap().limit(8 * GIB), Some(GIB));
        assert_eq!(parsed("512M").unwrap().limit(8 * GIB), None);
    }

    #[test]
    fn bpm_05_without_a_size_a_reserve_is_left() {
        assert_eq!(Dom0Memory::default().initial(8 * GIB), 8 * GIB - 128 * MIB);
        assert_eq!(Dom0Memory::default().initial(GIB), GIB - 64 * MIB);
        assert_eq!(initial("0", GIB), GIB - 64 * MIB);
        assert_eq!(initial("max:1G", 8 * GIB), GIB);
    }

    #[test]
    fn bpm_05_sizes_may_be_relative() {
        assert_eq!(initial("-512M", 8 * GIB), 8 * GIB - 512 * MIB);
        assert_eq!(initial("1G+25%", 256 * GIB), 65 * GIB);
        assert_eq!(initial("25%", 8 * GIB), 2 * GIB);
        assert_eq!(initial("-25%", 8 * GIB), 6 * GIB);
        assert_eq!(initial("-1G+25%", 8 * GIB), 5 * GIB);
        // All but more than there is leaves the default.
        assert_eq!(initial("-16G", 8 * GIB), 8 * GIB - 128 * MIB);
        assert_eq!(parsed("max:99%").unwrap().limit(u64::MAX), Some(u64::MAX / 100 * 99 + 14));
    }

    #[test]
    fn bpm_05_malformed_sizes_are_refused() {
        for bad in [
            "",
            "1024MB",
            "1.5G",
            "lots",
            "1G,",
            "100%",
            "25%+1G",
            "1G+1G",
            "1G+",
            "+5%",
            "%",
            "min:",
            "mid:1G",
            "--1G",
            "1G 2G",
            "99999999999T",
        ] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bpm_06_vcpus_follow_the_pcpus_within_bounds() {
        let on = |text, pcpus| vcpus(text).unwrap().on(pcpus);
        assert_eq!([1, 4, 64].map(|pcpus| on("4", pcpus)), [4, 4, 4]);
        assert_eq!([2, 4, 6, 8, 10].map(|pcpus| on("4-8", pcpus)), [4, 4, 6, 8, 8]);
        assert_eq!([2, 10].map(|pcpus| on("4-", pcpus)), [4, 10]);
        assert_eq!([2, 10].map(|pcpus| on("-4", pcpus)), [2, 4]);
        assert_eq!([on("0", 8), on("8-2", 4), on("-0", 8)], [1, 2, 1]);
        assert_eq!(Dom0Vcpus::DEFAULT.on(8), 8);
        assert!(["", "-", "a", "1-2-3", "4-x", "4294967296", "1,2"].iter().all(|bad| vcpus(bad).is_err()));
    }

    #[test]
    fn dom0_is_always_pvh() {
        let parsed = |text| {
            let mut verbose = false;
            (build(text, &mut verbose).is_ok(), verbose)
        };
        assert_eq!(parsed("pvh"), (true, false));
        assert_eq!(parsed("pvh,verbose"), (true, true));
        assert_eq!(parsed("verbose=on,no-verbose"), (true, false));
        assert_eq!(parsed("pv,verbose"), (false, true));
        assert_eq!(parsed("shadow=1,verbose=1"), (false, true));
        assert!(["", "pvh=1", "verbose=x", "hvm"].iter().all(|bad| !parsed(bad).0));
    }

    fn size() -> impl Strategy<Value = MemorySize> {
        let bytes = (any::<u64>(), 0_u32..50).prop_map(|(bytes, shift)| bytes >> shift << shift);
        (bytes, 0_u8..100, any::<bool>()).prop_map(|(bytes, percent, all_but)| MemorySize {
            bytes,
            percent,
            all_but,
        })
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn what_dom0_mem_prints_reads_back(size in prop::option::of(size()), min in prop::option::of(size()), max in size()) {
            let wanted = Dom0Memory { size, min, max: Some(max) };
            prop_assert_eq!(parsed(&std::format!("{wanted}")), Ok(wanted));
        }

        #[test]
        fn dom0_never_gets_more_than_there_is(size in size(), min in size(), max in size(), available: u64) {
            let memory = Dom0Memory { size: Some(size), min: Some(min), max: Some(max) };
            prop_assert!(memory.initial(available) <= available);
            prop_assert!(memory.initial(available) <= max.of(available));
        }

        #[test]
        fn what_vcpus_print_reads_back(min in 1_u32.., max in 1_u32..) {
            let wanted = Dom0Vcpus { min, max };
            prop_assert_eq!(vcpus(&std::format!("{wanted}")), Ok(wanted));
        }

        #[test]
        fn any_dom0_option_is_survived(text in "[0-9a-zA-Z,=%:+é.-]{0,40}", available: u64) {
            let mut verbose = false;
            let _ = (parsed(&text).map(|memory| memory.initial(available)), vcpus(&text), build(&text, &mut verbose));
        }
    }
}
