//! What there may be beside what there is: limits over all domains, places on pcpus.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use xl::toolstack::{Done, Failure};
use xl_config::admission::{self, Existing};
use xl_config::domain::{Affinity, DomainConfig};

/// Whether a domain may be made beside Dom0 and these others.
///
/// # Errors
///
/// In words, all that keeps it from being made: a name, a UUID, a MAC address or a disk
/// that is another one's, too many domains or vcpus (T-61, T-63, T-86, T-91).
pub(crate) fn check(config: &DomainConfig, dom0_vcpus: u32, others: &[&DomainConfig]) -> Done {
    let macs: Vec<Vec<_>> =
        others.iter().map(|other| other.vifs.iter().filter_map(|vif| vif.mac).collect()).collect();
    let existing: Vec<_> = others
        .iter()
        .zip(&macs)
        .map(|(other, macs)| Existing {
            name: &other.name,
            uuid: other.uuid,
            max_vcpus: other.max_vcpus,
            macs,
            disks: &other.disks,
        })
        .collect();
    let conflicts = admission::conflicts(config, dom0_vcpus, &existing);
    if conflicts.is_empty() {
        return Ok(());
    }
    let words: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
    Err(Failure(words.join("; ")))
}

/// The pcpus of a vcpu, as bits; `None` where it may be anywhere.
///
/// # Errors
///
/// In words, where none is left or one is named that is not there.
pub(crate) fn place(affinity: &Affinity, vcpu: u32, pcpus: u32) -> Done<Option<u64>> {
    let spec = match affinity {
        Affinity::Any => None,
        Affinity::All(spec) => Some(spec),
        Affinity::Each(specs) => usize::try_from(vcpu).ok().and_then(|vcpu| specs.get(vcpu)),
    };
    let Some(spec) = spec else { return Ok(None) };
    let numbers = spec.resolve(pcpus).map_err(|error| Failure(error.to_string()))?;
    bits(&numbers).map(Some)
}

/// The pcpus of a list, as bits.
///
/// # Errors
///
/// In words, for numbers that no bit is for.
pub(crate) fn bits(pcpus: &[u32]) -> Done<u64> {
    let bit = |pcpu: u32| 1_u64.checked_shl(pcpu).ok_or_else(|| Failure(format!("there is no pcpu {pcpu}")));
    pcpus.iter().try_fold(0, |mask, pcpu| Ok(mask | bit(*pcpu)?))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::testing::config;

    /// T-91: Dom0's vcpus count as well.
    #[test]
    fn the_61st_domain_and_the_121st_vcpu_are_refused() {
        let mut others: Vec<_> = (0..58).map(|n| config(&format!("d{n}"))).collect();
        let check = |others: &[DomainConfig], new| check(&new, 2, &others.iter().collect::<Vec<_>>());
        assert_eq!(check(&others, config("new")), Ok(()));
        let three = DomainConfig { max_vcpus: 3, ..config("new") };
        assert!(check(&others, three).unwrap_err().0.contains("121 vcpus"));
        others.extend([config("d58"), config("d59")]);
        others.iter_mut().for_each(|other| other.max_vcpus = 1);
        assert!(check(&others, config("new")).unwrap_err().0.contains("60 domains"));
    }

    /// T-61, T-63.
    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let vif = |last| xl_config::domain::Vif {
            mac: Some([0, 1, 2, 3, 4, last]),
            bridge: None,
            name: None,
            rate: None,
        };
        let other = DomainConfig { vifs: vec![vif(1)], ..config("other") };
        assert_eq!(check(&DomainConfig { vifs: vec![vif(2)], ..config("new") }, 1, &[&other]), Ok(()));
        let error = check(&DomainConfig { vifs: vec![vif(2), vif(1)], ..config("other") }, 1, &[&other]);
        let words = error.unwrap_err().0;
        assert!(words.contains("name other") && words.contains("00:01:02:03:04:01"), "{words}");
    }

    #[test]
    fn places_are_bits() {
        assert_eq!(place(&Affinity::Any, 0, 4), Ok(None));
        let all = |text: &str| Affinity::All(text.parse().unwrap());
        assert_eq!(place(&all("0-2,5"), 1, 6), Ok(Some(0b10_0111)));
        assert_eq!(place(&all("all,^1"), 0, 4), Ok(Some(0b1101)));
        assert!(place(&all("4"), 0, 4).is_err());
        assert_eq!(bits(&[0, 63]), Ok(1 << 63 | 1));
        assert!(bits(&[64]).is_err());
    }
}
