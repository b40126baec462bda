//! One EPT entry: 64 bits, as the hardware walk reads them.
//!
//! SDM "EPT Translation Mechanism", tables "Format of an EPT ... Entry":
//!
//! ```text
//!  63  62..56  55..52   51..12    11   10  9  8   7    6     5..3   2..0
//! |#VE| unused| type | frame or |table| - |D |A |large|IPAT|memory |X W R|
//! |   |       |      | table    |     |   |  |  |     |    |type   |     |
//! ```
//!
//! * type: ours, ignored by the CPU. 0 if there is no page; so it tells an empty
//!   entry from a page without rights.
//! * table: ours too. Set if the entry names a table: one test on the way down.
//! * #VE: the controls that give it and bits 62:56 a meaning stay off.
//! * A, D: set from the start, since nobody asks for them and the CPU would
//!   have to write them. So only the hypervisor changes an entry.

use super::{Level, Page};
use crate::addr::{HostPhysAddr, Mfn, PAGE_SHIFT};

const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const EXECUTE: u64 = 1 << 2;
const RIGHTS: u64 = READ | WRITE | EXECUTE;
const MEMORY_TYPE_WB: u64 = 6 << 3;
const MEMORY_TYPE_UC: u64 = 0 << 3;
const IGNORE_PAT: u64 = 1 << 6;
const CACHING: u64 = 7 << 3 | IGNORE_PAT;
const LARGE: u64 = 1 << 7;
const ACCESSED: u64 = 1 << 8;
const DIRTY: u64 = 1 << 9;
const TABLE: u64 = 1 << 11;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
const TYPE_SHIFT: u32 = 52;
const TYPE: u64 = 0xf << TYPE_SHIFT;

/// What stands behind a guest frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum PageType {
    /// The domain's own memory.
    Ram = 1,
    /// Device registers, reached without an exit.
    Mmio = 2,
    /// Another domain's memory (`XENMAPSPACE_gmfn_foreign`).
    Foreign = 3,
    /// Granted by another domain (`GNTTABOP_map_grant_ref`).
    GrantRw = 4,
    /// Granted by another domain, not to be written.
    GrantRo = 5,
    /// Shared with the hypervisor: shared info, grant-table frames; and tables
    /// of the firmware that Dom0 reads.
    Special = 6,
}

impl PageType {
    /// The most that a guest may do with such a page.
    #[must_use]
    pub const fn most(self) -> Rights {
        match self {
            // Firmware runs from what the memory map calls reserved.
            Self::Ram | Self::Mmio => Rights::All,
            Self::Foreign | Self::GrantRw | Self::Special => Rights::ReadWrite,
            Self::GrantRo => Rights::Read,
        }
    }

    /// SDM "Memory Type Used for Translated Guest-Physical Addresses". The guest's
    /// PAT decides for device registers, of which a frame buffer may be
    /// write-combining; and for the RAM of a domain that drives devices.
    const fn caching(self, ram: RamCaching) -> u64 {
        match (self, ram) {
            (Self::Mmio, _) => MEMORY_TYPE_UC,
            (Self::Ram, RamCaching::GuestPat) => MEMORY_TYPE_WB,
            _ => MEMORY_TYPE_WB | IGNORE_PAT,
        }
    }

    const fn from_bits(bits: u64) -> Option<Self> {
        match bits {
            1 => Some(Self::Ram),
            2 => Some(Self::Mmio),
            3 => Some(Self::Foreign),
            4 => Some(Self::GrantRw),
            5 => Some(Self::GrantRo),
            6 => Some(Self::Special),
            _ => None,
        }
    }
}

/// What a guest may do with a page. Combinations that the CPU calls misconfigured
/// (writable but not readable) or need not know (execute only) cannot be said.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Rights {
    /// Nothing: each access is an EPT violation, but the page stays in its place.
    None = 0b000,
    /// Read.
    Read = 0b001,
    /// Read and write.
    ReadWrite = 0b011,
    /// Read and fetch code.
    ReadExecute = 0b101,
    /// Everything.
    All = 0b111,
}

impl Rights {
    /// What both allow.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self::from_bits(self as u64 & other as u64)
    }

    /// Whether everything that `other` allows is allowed.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self as u64 & other as u64 == other as u64
    }

    const fn from_bits(bits: u64) -> Self {
        match bits & RIGHTS {
            0b111 => Self::All,
            0b101 => Self::ReadExecute,
            0b011 => Self::ReadWrite,
            0b001 => Self::Read,
            _ => Self::None,
        }
    }
}

/// Who says how a domain's RAM is cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RamCaching {
    /// Write-back, whatever the guest's PAT says: right for a domain without
    /// devices, and it keeps guest and hypervisor from aliasing one frame.
    WriteBack,
    /// The guest's PAT: devices that do not snoop need it.
    GuestPat,
}

/// An entry of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct Entry(u64);

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    Empty,
    Table(Mfn),
    Page(Page),
}

impl Entry {
    pub(super) const EMPTY: Self = Self(0);

    pub(super) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(super) const fn raw(self) -> u64 {
        self.0
    }

    /// Rights stand in the leaf only: a table allows all.
    pub(super) const fn table(table: Mfn) -> Self {
        Self(table.start().get() | RIGHTS | ACCESSED | TABLE)
    }

    pub(super) fn page(page: Page, level: Level, ram: RamCaching) -> Self {
        let rights = page.rights.and(page.kind.most()) as u64;
        let large = if level == Level::Pt { 0 } else { LARGE };
        let kind = (page.kind as u64) << TYPE_SHIFT;
        Self(page.mfn.start().get() | kind | rights | page.kind.caching(ram) | large | ACCESSED | DIRTY)
    }

    /// The table that it names, if it does.
    #[inline]
    pub(super) fn as_table(self) -> Option<Mfn> {
        (self.0 & TABLE != 0).then(|| self.mfn())
    }

    #[inline]
    pub(super) fn content(self) -> Content {
        if let Some(table) = self.as_table() {
            return Content::Table(table);
        }
        PageType::from_bits((self.0 & TYPE) >> TYPE_SHIFT).map_or(Content::Empty, |kind| {
            Content::Page(Page { mfn: self.mfn(), kind, rights: Rights::from_bits(self.0) })
        })
    }

    /// The entry for that part of this page which begins `frames` further on and
    /// is as large as a page of `level`.
    pub(super) const fn part(self, frames: u64, level: Level) -> Self {
        let same = match level {
            Level::Pt => self.0 & !LARGE,
            _ => self.0 | LARGE,
        };
        // The frames of a page start at a multiple of its size: nothing carries.
        Self(same | frames << PAGE_SHIFT)
    }

    /// Whether a CPU that remembers this entry might do what `new` forbids, or
    /// reach another frame. More rights alone need no flush: the EPT violation
    /// that comes of remembering fewer drops what was remembered (SDM
    /// "Operations that Invalidate Cached Mappings").
    pub(super) const fn outlasts(self, new: Self) -> bool {
        self.0 & RIGHTS != 0 && (self.0 & RIGHTS & !new.0 != 0 || (self.0 ^ new.0) & (FRAME | CACHING) != 0)
    }

    #[inline]
    fn mfn(self) -> Mfn {
        HostPhysAddr::new(self.0 & FRAME).unwrap_or_default().mfn()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(kind: PageType, rights: Rights) -> Page {
        Page { mfn: Mfn::new(0x12_3400).unwrap(), kind, rights }
    }

    fn raw(kind: PageType, rights: Rights, level: Level) -> u64 {
        Entry::page(page(kind, rights), level, RamCaching::WriteBack).raw()
    }

    #[test]
    fn entries_are_what_the_manual_draws() {
        assert_eq!(raw(PageType::Ram, Rights::All, Level::Pt), 0x0010_0001_2340_0377);
        assert_eq!(raw(PageType::Ram, Rights::ReadExecute, Level::Pd), 0x0010_0001_2340_03f5);
        assert_eq!(raw(PageType::Mmio, Rights::ReadWrite, Level::Pt), 0x0020_0001_2340_0303);
        assert_eq!(Entry::table(Mfn::new(0x1234).unwrap()).raw(), 0x0000_0000_0123_4907);
        let honest = Entry::page(page(PageType::Ram, Rights::All), Level::Pt, RamCaching::GuestPat);
        assert_eq!(honest.raw(), 0x0010_0001_2340_0337);
    }

    #[test]
    fn a_type_caps_the_rights() {
        let rights = |kind| match Entry::from_raw(raw(kind, Rights::All, Level::Pt)).content() {
            Content::Page(page) => page.rights,
            other => panic!("{other:?}"),
        };
        assert_eq!(rights(PageType::Ram), Rights::All);
        assert_eq!(rights(PageType::Foreign), Rights::ReadWrite);
        assert_eq!(rights(PageType::GrantRw), Rights::ReadWrite);
        assert_eq!(rights(PageType::GrantRo), Rights::Read);
        assert_eq!(rights(PageType::Special), Rights::ReadWrite);
        assert_eq!(Rights::ReadExecute.and(Rights::ReadWrite), Rights::Read);
    }

    #[test]
    fn a_page_without_rights_is_not_empty() {
        let entry = Entry::from_raw(raw(PageType::Ram, Rights::None, Level::Pd));
        assert_eq!(entry.content(), Content::Page(page(PageType::Ram, Rights::None)));
        assert_eq!(Entry::EMPTY.content(), Content::Empty);
    }

    #[test]
    fn only_loss_and_change_need_a_flush() {
        let entry = |rights| Entry::from_raw(raw(PageType::Ram, rights, Level::Pt));
        assert!(entry(Rights::All).outlasts(entry(Rights::Read)));
        assert!(entry(Rights::Read).outlasts(Entry::EMPTY));
        assert!(entry(Rights::Read).outlasts(entry(Rights::All).part(1, Level::Pt)));
        assert!(!entry(Rights::Read).outlasts(entry(Rights::All)));
        assert!(!entry(Rights::None).outlasts(Entry::EMPTY));
        assert!(!Entry::EMPTY.outlasts(entry(Rights::All)));
    }
}
