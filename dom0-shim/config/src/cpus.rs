//! Lists of pcpus: `0-3,5,^1`, `all`, as `cpus=` and `xl vcpu-pin` have them.
//!
//! There is one NUMA node, with all pcpus: `node:0` is another word for `all`.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::domain::{Affinity, PcpuSpec};
use crate::placement::matched;

/// Pcpus of the largest machine of Xen's (`NR_CPUS`).
pub(crate) const MAX_PCPUS: u32 = 4096;
/// What `all` stands for.
const ALL: (bool, u32, u32) = (true, 0, u32::MAX);

/// Why a list of pcpus cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PcpuError {
    /// An item is neither a pcpu, nor a range, nor `all`.
    Item(String),
    /// A range that ends before it begins.
    Backwards(String),
    /// `^all` or `^node:0`, which would leave none.
    NotAll(String),
    /// A NUMA node that is not there.
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
            Self::NotAll(item) => write!(f, "`{item}` leaves no pcpu"),
            Self::Node(item) => write!(f, "there is one NUMA node, node:0, with all pcpus; found `{item}`"),
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

    /// How many of a domain's first `vcpus` vcpus can run at the same time on a machine with
    /// `online` pcpus, each on a pcpu of its own.
    ///
    /// # Errors
    ///
    /// As [`PcpuSpec::resolve`].
    pub fn at_once(&self, vcpus: u32, online: u32) -> Result<usize, PcpuError> {
        let places = (0..vcpus).map(|vcpu| self.resolve(vcpu, online));
        Ok(matched(&places.collect::<Result<Vec<_>, _>>()?))
    }

    /// Whether the list itself names too few pcpus for `vcpus` vcpus, whatever the machine (T-31).
    pub fn is_too_narrow(&self, vcpus: u32) -> bool {
        // The largest machine has more pcpus than any domain vcpus.
        let at_once = self.at_once(vcpus, MAX_PCPUS).ok();
        at_once.and_then(|count| u32::try_from(count).ok()).is_some_and(|count| count < vcpus)
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
    let node = body.strip_prefix("node:").or_else(|| body.strip_prefix("nodes:"));
    match node {
        _ if body == "all" || matches!(node, Some("0" | "0-0" | "all")) => {
            return if add { Ok(ALL) } else { Err(PcpuError::NotAll(item.to_string())) };
        }
        Some(_) => return Err(PcpuError::Node(item.to_string())),
        None => {}
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
        assert_eq!(pcpus("^all", 4), Err(PcpuError::NotAll("^all".into())));
        assert_eq!(pcpus("0-3,^node:0", 4), Err(PcpuError::NotAll("^node:0".into())));
        assert_eq!(pcpus("^1", 4), Err(PcpuError::Empty));
        assert_eq!(pcpus("1,^1", 4), Err(PcpuError::Empty));
        assert_eq!(pcpus("nodes:0-1", 4), Err(PcpuError::Node("nodes:0-1".into())));
        assert_eq!(pcpus("^node:1", 4), Err(PcpuError::Node("^node:1".into())));
    }

    #[test]
    fn the_one_node_is_all_pcpus() {
        for text in ["node:0", "nodes:0", "nodes:0-0", "nodes:all", "1,node:0"] {
            assert_eq!(pcpus(text, 2), Ok(vec![0, 1]), "{text}");
        }
        assert_eq!(pcpus("node:0,^1", 3), Ok(vec![0, 2]));
    }

    /// T-31.
    #[test]
    fn a_list_may_be_too_narrow() {
        let spec = |text: &str| text.parse::<PcpuSpec>().unwrap();
        let all = |text: &str| Affinity::All(spec(text));
        assert!(all("1").is_too_narrow(2) && !all("1").is_too_narrow(1));
        assert!(!all("1-3").is_too_narrow(3) && all("1-3").is_too_narrow(4));
        assert!(!Affinity::Any.is_too_narrow(32));
        let each = |texts: &[&str]| Affinity::Each(texts.iter().map(|text| spec(text)).collect());
        // Two vcpus on one pcpu; the third may be anywhere.
        assert!(each(&["1", "1"]).is_too_narrow(3));
        assert!(!each(&["0-1", "0-1"]).is_too_narrow(3));
        assert_eq!(each(&["0-1", "0", "1"]).at_once(3, 4), Ok(2));
        assert_eq!(each(&["0-1", "0"]).at_once(2, 4), Ok(2));
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
