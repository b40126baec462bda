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
