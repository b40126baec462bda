//! Who may read and write a node.
//!
//! The first entry names the owner, who may do everything; its letter is what domains
//! without an entry of their own may do. Domain 0 may do everything everywhere.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitflags::bitflags;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;

/// The domain that may do everything.
pub const PRIVILEGED: RawDomid = 0;

bitflags! {
    /// What a domain may do with a node: letters `n`, `r`, `w`, `b`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u8 {
        /// Read value, names of children, permissions; be told of changes.
        const READ = 1 << 0;
        /// Write the value, make children, remove the node.
        const WRITE = 1 << 1;
    }
}

/// What one domain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The domain.
    pub domain: RawDomid,
    /// Its rights.
    pub rights: Rights,
}

/// All entries of a node, the owner's first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    owner: Permission,
    others: Arc<[Permission]>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The domain of the connection.
    pub(crate) domain: RawDomid,
    /// The domain whose rights it has besides its own.
    pub(crate) target: Option<RawDomid>,
}

impl Caller {
    /// Domain 0.
    pub(crate) const PRIVILEGED: Self = Self { domain: PRIVILEGED, target: None };

    /// Whether permissions and quotas do not concern the caller.
    pub(crate) fn is_privileged(self) -> bool {
        self.domain == PRIVILEGED
    }

    fn is(self, domain: RawDomid) -> bool {
        self.domain == domain || self.target == Some(domain)
    }
}

impl Permissions {
    /// Permissions of a node that `owner` owns; `rights` of the others, entry by entry.
    #[must_use]
    pub fn new(owner: Permission, others: &[Permission]) -> Self {
        Self { owner, others: Arc::from(others) }
    }

    /// A node of `owner`'s that nobody else may use.
    #[must_use]
    pub fn private(owner: RawDomid) -> Self {
        Self::new(Permission { domain: owner, rights: Rights::empty() }, &[])
    }

    /// A node of `owner`'s that `reader` may read besides.
    #[must_use]
    pub fn readable_by(owner: RawDomid, reader: RawDomid) -> Self {
        let rest = Permission { domain: owner, rights: Rights::empty() };
        Self::new(rest, &[Permission { domain: reader, rights: Rights::READ }])
    }

    /// Reads entries as `n0`, `r3`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: no entry, or one that is none.
    pub fn parse<T: AsRef<[u8]>>(entries: impl IntoIterator<Item = T>) -> Result<Self, Errno> {
        let entries =
            entries.into_iter().map(|entry| parse_entry(entry.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let (owner, others) = entries.split_first().ok_or(Errno::EINVAL)?;
        Ok(Self::new(*owner, others))
    }

    /// All entries, the owner's first.
    pub fn entries(&self) -> impl Iterator<Item = Permission> {
        core::iter::once(self.owner).chain(self.others.iter().copied())
    }

    /// Number of entries.
    #[must_use]
    pub fn count(&self) -> usize {
        self.others.len().saturating_add(1)
    }

    /// The owner.
    #[must_use]
    pub fn owner(&self) -> RawDomid {
        self.owner.domain
    }

    /// Whether the caller may do what only the owner may.
    pub(crate) fn is_owner(&self, caller: Caller) -> bool {
        caller.is_privileged() || caller.is(self.owner.domain)
    }

    /// What the caller may do: as owner, by the first entry for it, by the owner's letter.
    pub(crate) fn rights_of(&self, caller: Caller) -> Rights {
        if self.is_owner(caller) {
            return Rights::all();
        }
        let own = self.others.iter().find(|entry| caller.is(entry.domain));
        own.map_or(self.owner.rights, |entry| entry.rights)
    }

    /// Whether the caller may read.
    pub(crate) fn may_read(&self, caller: Caller) -> bool {
        self.rights_of(caller).contains(Rights::READ)
    }

    /// The same rights under another owner: what a new child inherits.
    pub(crate) fn owned_by(&self, owner: RawDomid) -> Self {
        Self { owner: Permission { domain: owner, ..self.owner }, others: Arc::clone(&self.others) }
    }

    /// Whether `domain` has an entry besides the owner's.
    pub(crate) fn names(&self, domain: RawDomid) -> bool {
        self.others.iter().any(|entry| entry.domain == domain)
    }

    /// Without the entries of `domain`; the owner stays.
    pub(crate) fn without(&self, domain: RawDomid) -> Self {
        Self {
            owner: self.owner,
            others: self.others.iter().filter(|e| e.domain != domain).copied().collect(),
        }
    }

    /// The entries as strings, each ended by NUL.
    pub(crate) fn encode(&self) -> String {
        self.entries().map(|entry| format!("{}{}\0", letter(entry.rights), entry.domain)).collect()
    }
}

fn letter(rights: Rights) -> char {
    match (rights.contains(Rights::READ), rights.contains(Rights::WRITE)) {
        (false, false) => 'n',
        (true, false) => 'r',
        (false, true) => 'w',
        (true, true) => 'b',
    }
}

fn parse_entry(text: &[u8]) -> Result<Permission, Errno> {
    let (letter, domain) = text.split_first().ok_or(Errno::EINVAL)?;
    let rights = match letter {
        b'n' => Rights::empty(),
        b'r' => Rights::READ,
        b'w' => Rights::WRITE,
        b'b' => Rights::all(),
        _ => return Err(Errno::EINVAL),
    };
    Ok(Permission { domain: crate::wire::number(domain)?, rights })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Permissions, Errno> {
        Permissions::parse(text.split(' ').map(str::as_bytes))
    }

    fn caller(domain: RawDomid) -> Caller {
        Caller { domain, target: None }
    }

    #[test]
    fn first_entry_is_owner_and_default() {
        let permissions = parse("r1 b2 n3").unwrap();
        let rights = |domain| permissions.rights_of(caller(domain));
        assert_eq!([0, 1, 2].map(rights), [Rights::all(); 3]);
        assert_eq!(rights(3), Rights::empty());
        assert_eq!(rights(4), Rights::READ);
        assert!(permissions.is_owner(caller(1)) && !permissions.is_owner(caller(2)));
        assert_eq!(permissions.encode(), "r1\0b2\0n3\0");
    }

    #[test]
    fn a_target_lends_its_rights() {
        let permissions = parse("n1 r2").unwrap();
        assert!(permissions.is_owner(Caller { domain: 5, target: Some(1) }));
        assert_eq!(permissions.rights_of(Caller { domain: 5, target: Some(2) }), Rights::READ);
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for bad in ["", "x1", "r", "r-1", "r1x", "r65536", "n0 ", "r+1"] {
            assert_eq!(parse(bad), Err(Errno::EINVAL), "{bad:?}");
        }
    }

    #[test]
    fn entries_of_a_domain_can_be_dropped() {
        assert_eq!(parse("n1 r2 b2 w3").unwrap().without(2), parse("n1 w3").unwrap());
    }
}
