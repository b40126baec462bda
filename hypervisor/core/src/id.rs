//! Identifiers of pcpus and domains.

use core::fmt;

/// Most physical CPUs that one machine may have.
pub const MAX_PCPUS: usize = 256;

/// A physical CPU: its place in the order of the MADT, the boot CPU first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PcpuId(u8);

impl PcpuId {
    /// The CPU that the firmware started.
    pub const BOOT: Self = Self(0);

    /// The pcpu at `index`, or `None` past [`MAX_PCPUS`].
    #[must_use]
    pub const fn new(index: usize) -> Option<Self> {
        if index < MAX_PCPUS {
            #[expect(clippy::cast_possible_truncation, reason = "below MAX_PCPUS")]
            Some(Self(index as u8))
        } else {
            None
        }
    }

    /// The index by which per-CPU tables are ordered, below [`MAX_PCPUS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pcpu{}", self.0)
    }
}

/// Number of a domain (`domid_t`), below `DOMID_FIRST_RESERVED` of `xen.h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct DomId(u16);

impl DomId {
    /// The privileged domain.
    pub const DOM0: Self = Self(0);
    const FIRST_RESERVED: u16 = 0x7ff0;

    /// The domain numbered `raw`, or `None` in the reserved range.
    #[must_use]
    pub const fn new(raw: u16) -> Option<Self> {
        if raw < Self::FIRST_RESERVED { Some(Self(raw)) } else { None }
    }

    /// The number as it stands in Xen's structures.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcpu_ids_end_at_the_table_size() {
        assert_eq!(PcpuId::new(0), Some(PcpuId::BOOT));
        assert_eq!(PcpuId::new(MAX_PCPUS - 1).map(PcpuId::index), Some(255));
        assert_eq!(PcpuId::new(MAX_PCPUS), None);
    }

    #[test]
    fn domain_ids_stop_before_the_reserved_range() {
        assert_eq!(DomId::new(0), Some(DomId::DOM0));
        assert_eq!(DomId::new(0x7fef).map(DomId::get), Some(0x7fef));
        assert_eq!(DomId::new(0x7ff0), None);
    }
}
