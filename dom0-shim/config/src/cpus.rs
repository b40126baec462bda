//! Lists of pcpus: `0-3,5,^1`, `all`, as `cpus=` and `xl vcpu-pin` have them.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::domain::{Affinity, PcpuSpec};

/// Pcpus of the largest machine of Xen's (`NR_CPUS`).
const MAX_PCPUS: u32 = 4096;
/// What `all` stands for.
const ALL: (bool, u32, u32) = (true, 0, u32::MAX);

/// Why a list of pcpus cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PcpuError {
    /// An item is neither a pcpu, nor a range, nor `all`.
    Item(String),
    /// A range that ends before it begins.
    Backwards(String),
    /// `^all`, which would leave none.
    NotAll,
    /// NUMA nodes by number.
    Node(String),
    /// No pcpu is left.
    Empty,
    /// A pcpu that the machine has not.
    NotThere {
        /// Its number.
        pcpu: u32,
        /// How many there are.
        online: u32,
    },
}

impl fmt::Display for PcpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(item) => write!(f, "expected pcpus as in 0-3,5,^1 or all, found `{item}`"),
            Self::Backwards(item) => write!(f, "the range `{item}` ends before it begins"),
            Self::NotAll => f.write_str("`^all` leaves no pcpu"),
            Self::Node(item) => write!(f, "pcpus are not chosen by NUMA node: name those of `{item}`"),
            Self::Empty => {
                f.write_str("no pcpu is left; `^1` takes away from what stands before it, as in all,^1")
            }
            Self::NotThere { pcpu, online } => {
                write!(f, "there is no pcpu {pcpu}; the machine has {online}, numbered from 0")
            }
        }
    }
}

impl core::error::Error for PcpuError {}

impl PcpuSpec {
    /// All pcpus.
    pub fn all() -> Self {
        Self { ranges: [ALL].into() }
    }

    /// Exactly these, in any order.
    pub fn from_pcpus(pcpus: &[u32]) -> Self {
        let sorted: BTreeSet<u32> = pcpus.iter().copied().collect();
        let mut ranges: Vec<(bool, u32, u32)> = Vec::new();
        for pcpu in sorted {
            match ranges.last_mut() {
                Some((_, _, last)) if last.checked_add(1) == Some(pcpu) => *last = pcpu,
                _ => ranges.push((true, pcpu, pcpu)),
            }
        }
        Self { ranges }
    }

    /// Their numbers, in ascending order, on a machine with `online` pcpus.
    ///
    /// # Errors
    ///
    /// [`PcpuError::NotThere`] for one beyond those, [`PcpuError::Empty`] where none is left.
    pub fn resolve(&self, online: u32) -> Result<Vec<u32>, PcpuError> {
        let mut chosen = vec![false; online.try_into().unwrap_or(usize::MAX)];
        for &(add, first, last) in &self.ranges {
            if add && (first, last) != (ALL.1, ALL.2) && last >= online {
                return Err(PcpuError::NotThere { pcpu: first.max(online), online });
            }
            let range = (usize::try_from(first), usize::try_from(last.saturating_add(1).min(online)));
            if let (Ok(first), Ok(end)) = range
                && let Some(part) = chosen.get_mut(first..end)
            {
                part.fill(add);
            }
        }
        let numbers: Vec<u32> =
            (0..online).zip(chosen).filter(|&(_, chosen)| chosen).map(|(pcpu, _)| pcpu).collect();
        if numbers.is_empty() { Err(PcpuError::Empty) } else { Ok(numbers) }
    }

    /// Most pcpus that these can be.
    pub(crate) fn most(&self) -> usize {
        self.resolve(MAX_PCPUS).map_or(0, |pcpus| pcpus.len())
    }
}

impl Affinity {
    /// Where vcpu `vcpu` may run on a machine with `online` pcpus, in ascending order.
    ///
    /// # Errors
    ///
    /// As [`PcpuSpec::resolve`].
    pub fn resolve(&self, vcpu: u32, online: u32) -> Result<Vec<u32>, PcpuError> {
        let spec = match self {
            Self::Any => None,
            Self::All(spec) => Some(spec),
            Self::Each(specs) => usize::try_from(vcpu).ok().and_then(|vcpu| specs.get(vcpu)),
        };
        spec.map_or_else(|| PcpuSpec::all().resolve(online), |spec| spec.resolve(online))
    }
}

impl FromStr for PcpuSpec {
    type Err = PcpuError;

    /// Reads a list; blanks around its items do not count.
    fn from_str(text: &str) -> Result<Self, PcpuError> {
        let items = text.split(',').map(|item| range(item.trim()));
        let spec = Self { ranges: items.collect::<Result<_, _>>()? };
        spec.resolve(MAX_PCPUS).map(|_| spec)
    }
}

fn range(item: &str) -> Result<(bool, u32, u32), PcpuError> {
    let (add, body) = item.strip_prefix('^').map_or((true, item), |body| (false, body));
    if body == "all" {
        return if add { Ok(ALL) } else { Err(PcpuError::NotAll) };
    }
    if body.starts_with("node:") || body.starts_with("nodes:") {
        return Err(PcpuError::Node(item.to_string()));
    }
    let (first, last) = body.split_once('-').unwrap_or((body, body));
    let (Some(first), Some(last)) = (pcpu(first), pcpu(last)) else {
        return Err(PcpuError::Item(item.to_string()));
    };
    if last < first { Err(PcpuError::Backwards(item.to_string())) } else { Ok((add, first, last)) }
}

fn pcpu(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&pcpu| digits && pcpu < MAX_PCPUS)
}

impl fmt::Display for PcpuSpec {
    /// As it is written: `1-2,4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, &(add, first, last)) in self.ranges.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            f.write_str(if add { "" } else { "^" })?;
            match (first, last) {
                _ if (first, last) == (ALL.1, ALL.2) => f.write_str("all")?,
                _ if first == last => write!(f, "{first}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pcpus(text: &str, online: u32) -> Result<Vec<u32>, PcpuError> {
        text.parse::<PcpuSpec>()?.resolve(online)
    }

    /// T-22, T-23.
    #[test]
    fn lists_and_ranges() {
        assert_eq!(pcpus("0-2,5", 8), Ok(vec![0, 1, 2, 5]));
        assert_eq!(pcpus("1,3", 4), Ok(vec![1, 3]));
        assert_eq!(pcpus("1-3", 4), Ok(vec![1, 2, 3]));
        assert_eq!(pcpus(" 3 , 1 ", 4), Ok(vec![1, 3]));
    }

    #[test]
    fn exclusions_take_away_from_what_stands_before() {
        assert_eq!(pcpus("0-3,^1", 4), Ok(vec![0, 2, 3]));
        assert_eq!(pcpus("all,^2", 4), Ok(vec![0, 1, 3]));
        assert_eq!(pcpus("^1,0-3", 4), Ok(vec![0, 1, 2, 3]));
        assert_eq!(pcpus("0-3,^1-2,^9", 4), Ok(vec![0, 3]));
    }

    #[test]
    fn what_is_no_list() {
        let item = |text: &str| Err(PcpuError::Item(text.into()));
        assert_eq!(pcpus("", 4), item(""));
        assert_eq!(pcpus("1,,2", 4), item(""));
        assert_eq!(pcpus("a", 4), item("a"));
        assert_eq!(pcpus("1-", 4), item("1-"));
        assert_eq!(pcpus("+1", 4), item("+1"));
        assert_eq!(pcpus("4096", 4), item("4096"));
        assert_eq!(pcpus("99999999999", 4), item("99999999999"));
        assert_eq!(pcpus("3-1", 4), Err(PcpuError::Backwards("3-1".into())));
        assert_eq!(pcpus("^all", 4), Err(PcpuError::NotAll));
        assert_eq!(pcpus("^1", 4), Err(PcpuError::Empty));
        assert_eq!(pcpus("1,^1", 4), Err(PcpuError::Empty));
        assert_eq!(pcpus("nodes:0-1", 4), Err(PcpuError::Node("nodes:0-1".into())));
        assert_eq!(pcpus("^node:1", 4), Err(PcpuError::Node("^node:1".into())));
    }

    #[test]
    fn only_pcpus_that_are_there() {
        assert_eq!(pcpus("0-4", 4), Err(PcpuError::NotThere { pcpu: 4, online: 4 }));
        assert_eq!(pcpus("7", 4), Err(PcpuError::NotThere { pcpu: 7, online: 4 }));
        assert_eq!(pcpus("all,^0", 1), Err(PcpuError::Empty));
        assert_eq!(pcpus("all", 2), Ok(vec![0, 1]));
    }

    #[test]
    fn vcpus_without_an_entry_run_anywhere() {
        let spec = |text: &str| text.parse::<PcpuSpec>().unwrap();
        assert_eq!(Affinity::Any.resolve(0, 2), Ok(vec![0, 1]));
        assert_eq!(Affinity::All(spec("1")).resolve(7, 2), Ok(vec![1]));
        let each = Affinity::Each(vec![spec("0"), spec("2")]);
        assert_eq!(each.resolve(0, 2), Ok(vec![0]));
        assert_eq!(each.resolve(1, 2), Err(PcpuError::NotThere { pcpu: 2, online: 2 }));
        assert_eq!(each.resolve(2, 2), Ok(vec![0, 1]));
    }

    #[test]
    fn a_long_list_takes_no_long_time() {
        assert_eq!(
            ("0-4095,".repeat(100_000) + "^1-4095").parse::<PcpuSpec>().unwrap().resolve(4096),
            Ok(vec![0])
        );
    }

    #[test]
    fn range_form() {
        assert_eq!(PcpuSpec::from_pcpus(&[4, 2, 1, 1]).to_string(), "1-2,4");
        assert_eq!(PcpuSpec::all().to_string(), "all");
        assert_eq!("all,^1,^3-4".parse::<PcpuSpec>().unwrap().to_string(), "all,^1,^3-4");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pcpus_come_back(pcpus in prop::collection::btree_set(0u32..64, 1..20)) {
            let pcpus: Vec<u32> = pcpus.into_iter().collect();
            let text = PcpuSpec::from_pcpus(&pcpus).to_string();
            prop_assert_eq!(text.parse::<PcpuSpec>().unwrap().resolve(64), Ok(pcpus));
        }

        #[test]
        fn what_is_read_is_written_alike(text in "[0-9all,^-]{0,12}") {
            if let Ok(spec) = text.parse::<PcpuSpec>() {
                prop_assert_eq!(spec.to_string().parse(), Ok(spec));
            }
        }
    }
}
