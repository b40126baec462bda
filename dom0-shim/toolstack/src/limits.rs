//! What there may be: limits over all domains, names, places on pcpus.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xl::toolstack::{Done, Failure};
use xl_config::domain::{Affinity, DomainConfig, PcpuSpec};

use crate::manager::DOM0_NAME;

/// Most domains beside Dom0 (T-91).
pub(crate) const DOMAINS: usize = 60;
/// Most vcpus of all of them (T-91).
pub(crate) const VCPUS: u64 = 120;

/// Whether a domain may be made beside these.
///
/// # Errors
///
/// In words: the name, the UUID or a MAC address is another one's, or there are too many
/// domains or vcpus (T-61, T-63, T-91).
pub(crate) fn check(config: &DomainConfig, others: &[&DomainConfig]) -> Done {
    if others.len() >= DOMAINS {
        return Err(Failure(format!("there are {DOMAINS} domains already: no more are possible")));
    }
    let vcpus = others.iter().map(|other| u64::from(other.max_vcpus)).sum::<u64>();
    if vcpus.saturating_add(config.max_vcpus.into()) > VCPUS {
        return Err(Failure(format!(
            "{} vcpus are too many: the other domains have {vcpus}, and {VCPUS} is the limit",
            config.max_vcpus
        )));
    }
    if config.name == DOM0_NAME || others.iter().any(|other| other.name == config.name) {
        return Err(Failure(format!("a domain named {:?} exists already", config.name)));
    }
    if let Some(other) = others.iter().find(|other| config.uuid.is_some() && other.uuid == config.uuid) {
        return Err(Failure(format!("the UUID is that of domain {:?}", other.name)));
    }
    let macs = || config.vifs.iter().filter_map(|vif| vif.mac);
    let has = |other: &DomainConfig, mac| other.vifs.iter().any(|vif| vif.mac == Some(mac));
    match others.iter().find(|other| macs().any(|mac| has(other, mac))) {
        Some(other) => Err(Failure(format!("a MAC address is that of domain {:?}", other.name))),
        None => Ok(()),
    }
}

/// The pcpus of each vcpu, as bits; `None` where it may be anywhere.
///
/// # Errors
///
/// In words, where none is left or one is named that is not there.
pub(crate) fn places(affinity: &Affinity, vcpus: u32, pcpus: u32) -> Done<Vec<Option<u64>>> {
    match affinity {
        Affinity::Any => Ok((0..vcpus).map(|_| None).collect()),
        Affinity::All(spec) => {
            let mask = mask(spec, pcpus)?;
            Ok((0..vcpus).map(|_| Some(mask)).collect())
        }
        Affinity::Each(specs) => {
            let mut places = Vec::new();
            for vcpu in 0..vcpus as usize {
                places.push(specs.get(vcpu).map(|spec| mask(spec, pcpus)).transpose()?);
            }
            Ok(places)
        }
    }
}

/// Pcpus as bits; those behind the last one of `all` count for nothing.
fn mask(spec: &PcpuSpec, pcpus: u32) -> Done<u64> {
    let mut mask = 0_u64;
    for &(add, first, last) in &spec.ranges {
        if first >= pcpus {
            return Err(Failure(format!(
                "there is no pcpu {first}: the last one is {}",
                pcpus.saturating_sub(1)
            )));
        }
        for pcpu in first..=last.min(pcpus.saturating_sub(1)) {
            let bit = bit(pcpu)?;
            mask = if add { mask | bit } else { mask & !bit };
        }
    }
    if mask == 0 { Err(Failure(String::from("no pcpu is left for a vcpu to run on"))) } else { Ok(mask) }
}

/// The pcpus of a list, as bits.
///
/// # Errors
///
/// In words, for numbers that no bit is for.
pub(crate) fn bits(pcpus: &[u32]) -> Done<u64> {
    pcpus.iter().try_fold(0, |mask, pcpu| Ok(mask | bit(*pcpu)?))
}

fn bit(pcpu: u32) -> Done<u64> {
    1_u64.checked_shl(pcpu).ok_or_else(|| Failure(format!("there is no pcpu {pcpu}")))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::testing::config;

    /// T-91.
    #[test]
    fn the_61st_domain_and_the_121st_vcpu_are_refused() {
        let mut others: Vec<_> = (0..59).map(|n| config(&format!("d{n}"))).collect();
        let check = |others: &[DomainConfig], new| check(&new, &others.iter().collect::<Vec<_>>());
        assert_eq!(check(&others, config("new")), Ok(()));
        let three = DomainConfig { max_vcpus: 3, ..config("new") };
        assert!(check(&others, three).unwrap_err().0.starts_with("3 vcpus are too many"));
        others.push(config("d59"));
        assert!(check(&others, config("new")).unwrap_err().0.starts_with("there are 60 domains already"));
    }

    /// T-63.
    #[test]
    fn an_address_is_one_interfaces() {
        let vif = |last| xl_config::domain::Vif {
            mac: Some([0, 1, 2, 3, 4, last]),
            bridge: None,
            name: None,
            rate: None,
        };
        let other = DomainConfig { vifs: vec![vif(1)], ..config("other") };
        assert_eq!(check(&DomainConfig { vifs: vec![vif(2)], ..config("new") }, &[&other]), Ok(()));
        assert!(check(&DomainConfig { vifs: vec![vif(2), vif(1)], ..config("new") }, &[&other]).is_err());
    }

    /// T-22, T-23.
    #[test]
    fn pcpus_are_added_and_taken_away() {
        let places = |ranges: &[(bool, u32, u32)]| {
            places(&Affinity::All(PcpuSpec { ranges: ranges.to_vec() }), 1, 6).map(|places| places[0])
        };
        assert_eq!(places(&[(true, 0, 2), (true, 5, 5)]), Ok(Some(0b10_0111)));
        assert_eq!(places(&[(true, 0, u32::MAX), (false, 1, 1)]), Ok(Some(0b11_1101)));
        assert!(places(&[(true, 1, 1), (false, 1, 1)]).is_err());
        assert!(places(&[(true, 6, 6)]).is_err());
        assert!(bits(&[64]).is_err());
    }
}
