//! Whether one more domain can be beside those that there are: names, addresses, disks, limits over
//! all.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::domain::{Disk, DomainConfig};
use crate::mac::Shown;

/// Domains beside Dom0 (LIM-01).
pub const MOST_DOMAINS: usize = 60;
/// Vcpus of all domains, Dom0's as well (LIM-02).
pub const MOST_VCPUS: u32 = 120;

/// What matters here of a domain that there is. Dom0 is not among these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Existing<'d> {
    /// Its name.
    pub name: &'d str,
    /// Its UUID.
    pub uuid: Option<[u8; 16]>,
    /// Vcpus that it has at most.
    pub max_vcpus: u32,
    /// MAC addresses of its interfaces.
    pub macs: &'d [[u8; 6]],
    /// Its disks.
    pub disks: &'d [Disk],
}

/// Why a domain cannot be made as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// Another one has its name (T-61).
    Name(String),
    /// Another one has its UUID.
    Uuid {
        /// Whose it is.
        owner: String,
    },
    /// Another one has this MAC address (T-63).
    Mac {
        /// The address.
        mac: [u8; 6],
        /// Whose it is.
        owner: String,
    },
    /// Another one has this disk, and one of both may write to it (T-86).
    Disk {
        /// The disk's target.
        target: String,
        /// Whose it is.
        owner: String,
    },
    /// There are as many domains as can be (T-91).
    Domains,
    /// There would be more vcpus than can be (T-91).
    Vcpus {
        /// How many there would be.
        wanted: u32,
    },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "a domain has the name {name} already"),
            Self::Uuid { owner } => write!(f, "domain {owner} has this UUID already"),
            Self::Mac { mac, owner } => {
                write!(f, "domain {owner} has the MAC address {} already", Shown(*mac))
            }
            Self::Disk { target, owner } => {
                write!(f, "domain {owner} has the disk {target} already, and one of both may write to it")
            }
            Self::Domains => write!(f, "there are {MOST_DOMAINS} domains, which is the limit"),
            Self::Vcpus { wanted } => {
                write!(f, "there would be {wanted} vcpus with Dom0's, and {MOST_VCPUS} is the limit")
            }
        }
    }
}

impl core::error::Error for Conflict {}

/// All that keeps `new` from being made beside Dom0 and `existing`; nothing if it can be.
pub fn conflicts(new: &DomainConfig, dom0_vcpus: u32, existing: &[Existing<'_>]) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    if existing.len() >= MOST_DOMAINS {
        conflicts.push(Conflict::Domains);
    }
    let others = existing.iter().map(|domain| domain.max_vcpus);
    let wanted = others.fold(dom0_vcpus.saturating_add(new.max_vcpus), u32::saturating_add);
    if wanted > MOST_VCPUS {
        conflicts.push(Conflict::Vcpus { wanted });
    }
    existing.iter().for_each(|domain| conflicts_with(new, domain, &mut conflicts));
    conflicts
}

fn conflicts_with(new: &DomainConfig, domain: &Existing<'_>, conflicts: &mut Vec<Conflict>) {
    let owner = || domain.name.to_string();
    if new.name == domain.name {
        conflicts.push(Conflict::Name(owner()));
    }
    if new.uuid.is_some() && new.uuid == domain.uuid {
        conflicts.push(Conflict::Uuid { owner: owner() });
    }
    let macs = new.vifs.iter().filter_map(|vif| vif.mac).filter(|mac| domain.macs.contains(mac));
    conflicts.extend(macs.map(|mac| Conflict::Mac { mac, owner: owner() }));
    let shared = |disk: &&Disk| domain.disks.iter().any(|other| disk.excludes(other));
    let disks = new.disks.iter().filter(shared);
    conflicts.extend(disks.map(|disk| Conflict::Disk { target: disk.target.clone(), owner: owner() }));
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    fn config(more: &str) -> DomainConfig {
        let text = format!("type='pvh'\nname='new'\nkernel='k'\nmemory=64\n{more}\n");
        crate::load("new.cfg", text, &[] as &[&str]).expect("a good configuration").0
    }

    const OTHER: Existing<'_> = Existing { name: "other", uuid: None, max_vcpus: 1, macs: &[], disks: &[] };

    #[test]
    fn others_do_not_matter() {
        assert_eq!(conflicts(&config("vif=['','']\ndisk=[',hdc:cdrom,r']"), 1, &[OTHER, OTHER]), []);
    }

    /// T-61.
    #[test]
    fn a_name_is_there_once() {
        let found = conflicts(&config(""), 1, &[OTHER, Existing { name: "new", ..OTHER }]);
        assert_eq!(found, [Conflict::Name("new".into())]);
        assert_eq!(found[0].to_string(), "a domain has the name new already");
    }

    #[test]
    fn a_uuid_is_there_once() {
        let new = config("uuid='0134beef-1234-5678-9abc-def012345678'");
        let other = Existing { uuid: new.uuid, ..OTHER };
        assert_eq!(conflicts(&new, 1, &[other]), [Conflict::Uuid { owner: "other".into() }]);
    }

    /// T-63, in either case.
    #[test]
    fn a_mac_address_is_there_once() {
        let mac = [2, 0x17, 0x42, 0x2f, 0, 1];
        let other = Existing { macs: &[mac], ..OTHER };
        let found = conflicts(&config("vif=['mac=02:17:42:2F:00:01']"), 1, &[other]);
        assert_eq!(found, [Conflict::Mac { mac, owner: "other".into() }]);
        assert_eq!(found[0].to_string(), "domain other has the MAC address 02:17:42:2f:00:01 already");
    }

    /// T-86.
    #[test]
    fn who_writes_to_a_disk_has_it_alone() {
        let disks = |mode: &str| config(&format!("disk=['phy:/dev/sda1,hda,{mode}']")).disks;
        let with = |ours: &str, theirs: &str| {
            let theirs = disks(theirs);
            let new = DomainConfig { disks: disks(ours), ..config("") };
            conflicts(&new, 1, &[Existing { disks: &theirs, ..OTHER }]).len()
        };
        assert_eq!([with("w", "w"), with("r", "w"), with("w", "r"), with("r", "r")], [1, 1, 1, 0]);
    }

    /// BLK-37: changes are each domain's own.
    #[test]
    fn a_master_has_many_clones() {
        for target in ["overlay:/master.img", "snapshot:/dev/sda1", "ram:64M"] {
            let disks = config(&format!("disk=['{target},raw,xvda,w']")).disks;
            assert_eq!(disks.len(), 1);
            let new = DomainConfig { disks: disks.clone(), ..config("") };
            assert_eq!(conflicts(&new, 1, &[Existing { disks: &disks, ..OTHER }]), []);
        }
    }

    /// T-91.
    #[test]
    fn sixty_domains() {
        let two = Existing { max_vcpus: 2, ..OTHER };
        assert_eq!(conflicts(&config("vcpus=1"), 1, &vec![two; 59]), []);
        assert_eq!(conflicts(&config("vcpus=2"), 1, &vec![two; 59]), [Conflict::Vcpus { wanted: 121 }]);
        let one = vec![OTHER; 60];
        assert_eq!(conflicts(&config(""), 1, &one), [Conflict::Domains]);
    }
}
