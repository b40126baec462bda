//! A guest's own page tables, walked in software: from the address that a guest
//! names to the guest-physical one (SDM chapter "Paging").
//!
//! ```text
//!  CR0.PG=0   no paging         32-bit address is the physical one
//!  CR4.PAE=0  32-bit paging     PD -> PT            4K  4M (CR4.PSE)
//!  CR4.PAE=1  PAE paging        PDPTE -> PD -> PT   4K  2M
//!  EFER.LMA=1 4-level paging    PML4 -> PDPT -> PD -> PT   4K  2M  1G
//! ```
//!
//! Key types: [`Walker`] (what the CPU can do), [`Registers`] (how the guest has
//! set it), [`Access`], [`Walk`], [`Fault`]. [`crate::ept`] goes on from there.
//!
//! Tables are read through [`GuestMemory`], each entry once: another vcpu may be
//! writing them. As on a CPU, the outcome then is that of the old or of the new
//! entry. Nothing is written: [`Walker::marks`] tells which accessed and dirty
//! flags a CPU would have set.
//!
//! The walk that matters, 4 levels and all present, takes about 15 instructions a
//! level besides the read, and 80 before and after: what is rare (a large page,
//! a bit that is wrong) is found by one test a level and told apart afterwards.
//!
//! Not walked, since no guest is offered them: 5-level paging (refused as
//! [`Fault::FiveLevel`]), protection keys for supervisor pages, shadow stacks.
//! Protection keys for user pages count if the guest has set CR4.PKE.

#[cfg(test)]
mod tests;

use core::fmt;

use arrayvec::ArrayVec;
use bitflags::bitflags;

use crate::addr::{GuestPhysAddr, GuestVirtAddr, PAGE_SHIFT};
use crate::frame::Order;
use crate::paging::PageSize;

/// SDM "Control Registers" and "IA32_EFER".
const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;
const CR4_PKE: u64 = 1 << 22;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;
const RFLAGS_AC: u64 = 1 << 18;

/// Bits of an entry, the same in all modes.
const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
/// Bits of an 8-byte entry.
const FRAME: u64 = 0x000f_ffff_ffff_f000;
const KEY_SHIFT: u32 = 59;
const NO_EXECUTE: u64 = 1 << 63;
/// Ignored with 4 levels, but reserved with PAE paging.
const BITS_62_52: u64 = 0x7ff0_0000_0000_0000;

/// Memory of the guest, by its own physical addresses.
pub trait GuestMemory {
    /// The 8 bytes at `addr`, a multiple of 8, read at once; `None` where there is
    /// no memory.
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64>;
    /// The 4 bytes at `addr`, a multiple of 4, likewise.
    fn read_u32(&self, addr: GuestPhysAddr) -> Option<u32>;
}

/// What of a vcpu's state steers the walk: its real control registers, not what
/// the guest reads of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// `IA32_EFER`.
    pub efer: u64,
    /// RFLAGS; only AC counts, and only with CR4.SMAP.
    pub rflags: u64,
    /// PKRU; only counts with CR4.PKE.
    pub pkru: u32,
    /// The PDPTE registers; only count with PAE paging. A CPU loads them with CR3
    /// and does not look at memory again, hence they come from the VMCS.
    pub pdptes: [u64; 4],
}

/// What is to be done with the byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Fetch an instruction.
    Fetch,
}

/// On whose behalf (SDM "Determination of Access Rights").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// Code at CPL 3.
    User,
    /// Code at CPL 0 to 2.
    Supervisor,
    /// The CPU itself, for descriptor tables and the like: supervisor whatever the
    /// CPL, and RFLAGS.AC does not help it.
    Implicit,
}

/// An access to be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What is to be done.
    pub purpose: Purpose,
    /// On whose behalf.
    pub privilege: Privilege,
}

bitflags! {
    /// What the tables allow with a page, beyond reading it as supervisor.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct PageRights: u8 {
        /// It may be written.
        const WRITE = 1 << 0;
        /// User mode may use it.
        const USER = 1 << 1;
        /// Code may be fetched.
        const EXECUTE = 1 << 2;
    }

    /// SDM "Page-Fault Exceptions": the error code.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct ErrorCode: u32 {
        /// The page is present.
        const PRESENT = 1 << 0;
        /// The access was a write.
        const WRITE = 1 << 1;
        /// The access was in user mode.
        const USER = 1 << 2;
        /// A reserved bit is set in an entry.
        const RESERVED = 1 << 3;
        /// The access was a fetch, and the CPU can tell.
        const FETCH = 1 << 4;
        /// The protection key forbids it.
        const KEY = 1 << 5;
    }
}

/// Whether the entries on the way have the flags that a CPU would set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flags {
    /// They have.
    Set,
    /// Some lack one: see [`Walker::marks`].
    Stale,
}

/// Where an address leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walk {
    /// Address of the byte.
    pub addr: GuestPhysAddr,
    /// Size of its page; 4 KiB without paging.
    pub order: Order,
    /// What the tables allow.
    pub rights: PageRights,
    /// State of the accessed and dirty flags.
    pub flags: Flags,
}

/// Why an address leads nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// #PF: goes to the guest, with the address in CR2.
    Page {
        /// Error code.
        code: ErrorCode,
        /// The address asked for.
        addr: GuestVirtAddr,
    },
    /// Not canonical: #GP(0), or #SS(0) through the stack segment.
    NotCanonical,
    /// A table lies where there is no memory. A CPU would have had an EPT violation.
    Unreadable(GuestPhysAddr),
    /// The guest uses 5-level paging, which it is not offered.
    FiveLevel,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { code, addr } => write!(f, "page fault {:#x} at {addr}", code.bits()),
            Self::NotCanonical => f.write_str("address is not canonical"),
            Self::Unreadable(table) => write!(f, "page table at {table} is not in memory"),
            Self::FiveLevel => f.write_str("5-level paging is not supported"),
        }
    }
}

/// A flag to be set in an entry: store `new` if the entry is still `old`, else
/// walk again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Where the entry stands.
    pub addr: GuestPhysAddr,
    /// Its size.
    pub width: EntryWidth,
    /// What was read.
    pub old: u64,
    /// What a CPU would have left there.
    pub new: u64,
}

/// Size of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryWidth {
    /// 4 bytes: 32-bit paging.
    Bits32,
    /// 8 bytes: PAE and 4-level paging.
    Bits64,
}

/// The marks of one walk, at most one for each level.
pub type Marks = ArrayVec<Mark, 4>;

/// Walks as the CPU at hand does. It is the machine's CPU that a guest's tables
/// are made for, as the hardware walk does not know of CPUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walker {
    /// Bits 51:MAXPHYADDR.
    beyond: u64,
    /// Reserved in a PDPTE: bit 7 where there are no 1-GiB pages.
    pdpte_large: u64,
    /// Reserved in a PDE of 32-bit paging that maps 4 MiB: bits 21:(M-19), where M
    /// is MAXPHYADDR, but 40 at most.
    pde_4m: u64,
}

impl Walker {
    /// For a CPU with `phys_bits` (MAXPHYADDR, 32 to 52) and pages up to `largest`.
    #[must_use]
    pub fn new(phys_bits: u32, largest: PageSize) -> Self {
        let bits = phys_bits.clamp(32, 52);
        Self {
            beyond: FRAME & !((1 << bits) - 1),
            pdpte_large: if largest < PageSize::Size1G { LARGE } else { 0 },
            pde_4m: (1 << 22) - (1 << (bits.min(40) - 19)),
        }
    }

    /// Where `addr` leads, if `access` is allowed there.
    ///
    /// Outside 64-bit mode linear addresses have 32 bits: the caller's segment
    /// arithmetic has cut them already.
    ///
    /// # Errors
    ///
    /// See [`Fault`].
    #[inline]
    pub fn walk<M: GuestMemory>(
        &self,
        memory: &M,
        registers: &Registers,
        addr: GuestVirtAddr,
        access: Access,
    ) -> Result<Walk, Fault> {
        self.walk_seeing(memory, registers, addr, access, &mut |_| ())
    }

    /// The PDPTE registers as a CPU loads them with PAE paging from where `cr3` points to;
    /// `None` if a reserved bit is set, or if there is no memory: #GP (SDM "PDPTE
    /// Registers").
    #[must_use]
    pub fn load_pdptes<M: GuestMemory>(&self, memory: &M, cr3: u64) -> Option<[u64; 4]> {
        const RESERVED: u64 = 0x1e6;
        let table = cr3 & 0xffff_ffe0;
        let mut pdptes = [0; 4];
        for (pdpte, at) in pdptes.iter_mut().zip((table..).step_by(8)) {
            *pdpte = memory.read_u64(phys(at))?;
            if *pdpte & PRESENT != 0 && *pdpte & (RESERVED | self.beyond | NO_EXECUTE | BITS_62_52) != 0 {
                return None;
            }
        }
        Some(pdptes)
    }

    /// The accessed and dirty flags that a CPU would set for `access`. To be asked
    /// when [`Walk::flags`] says so; walks anew.
    ///
    /// # Errors
    ///
    /// See [`Fault`]: the tables may have changed.
    pub fn marks<M: GuestMemory>(
        &self,
        memory: &M,
        registers: &Registers,
        addr: GuestVirtAddr,
        access: Access,
    ) -> Result<Marks, Fault> {
        let mut marks = Marks::new();
        self.walk_seeing(memory, registers, addr, access, &mut |mark| marks.push(mark))?;
        if let (Some(leaf), Purpose::Write) = (marks.last_mut(), access.purpose) {
            leaf.new |= DIRTY;
        }
        marks.retain(|mark| mark.new != mark.old);
        Ok(marks)
    }

    #[inline]
    fn walk_seeing<M: GuestMemory>(
        &self,
        memory: &M,
        registers: &Registers,
        addr: GuestVirtAddr,
        access: Access,
        seen: &mut impl FnMut(Mark),
    ) -> Result<Walk, Fault> {
        if registers.cr0 & CR0_PG == 0 || registers.efer & EFER_LMA == 0 {
            return self.walk_legacy(memory, registers, addr, access, seen);
        }
        if !addr.is_canonical() {
            return Err(Fault::NotCanonical);
        }
        if registers.cr4 & CR4_LA57 != 0 {
            return Err(Fault::FiveLevel);
        }
        let reserved = self.beyond | reserved_no_execute(registers.efer);
        let leaf = self.walk_64(memory, 39, registers.cr3 & FRAME, reserved, addr.get(), seen);
        end(registers, addr, access, leaf)
    }

    /// Outside IA-32e mode.
    #[cold]
    #[inline(never)]
    fn walk_legacy<M: GuestMemory>(
        &self,
        memory: &M,
        registers: &Registers,
        addr: GuestVirtAddr,
        access: Access,
        seen: &mut impl FnMut(Mark),
    ) -> Result<Walk, Fault> {
        let leaf = if registers.cr0 & CR0_PG == 0 {
            return Ok(unpaged(addr));
        } else if registers.cr4 & CR4_PAE != 0 {
            self.walk_pae(memory, registers, addr.get(), seen)
        } else {
            self.walk_32(memory, registers, addr.get(), seen)
        };
        end(registers, addr, access, leaf)
    }

    /// Tables of 8-byte entries, from the one at `table` down: 4-level paging, and
    /// the lower 2 levels of PAE paging. `shift` is the lowest address bit that the
    /// first table decodes: 39 or 21, so shifting by it needs no check.
    #[inline]
    fn walk_64<M: GuestMemory>(
        &self,
        memory: &M,
        mut shift: u32,
        mut table: u64,
        reserved: u64,
        virt: u64,
        seen: &mut impl FnMut(Mark),
    ) -> Result<Leaf, Stop> {
        let (mut all, mut any) = (!0, 0);
        loop {
            let at = phys(table | (virt.wrapping_shr(shift) & 0x1ff) << 3);
            let entry = memory.read_u64(at).ok_or(Stop::Unreadable(at))?;
            (all, any) = (all & entry, any | entry);
            seen(Mark { addr: at, width: EntryWidth::Bits64, old: entry, new: entry | ACCESSED });
            // One test for all that is rare: absent, large, reserved bits.
            if shift == PAGE_SHIFT || entry & (PRESENT | LARGE | reserved) != PRESENT {
                return self.end_64(shift, reserved, entry).map(|start| Leaf {
                    start,
                    shift,
                    entry,
                    all,
                    any,
                });
            }
            table = entry & FRAME;
            shift = shift.wrapping_sub(9);
        }
    }

    /// Where the page begins that `entry` maps, or why it maps none.
    #[inline]
    fn end_64(&self, shift: u32, reserved: u64, entry: u64) -> Result<u64, Stop> {
        if entry & PRESENT == 0 {
            return Err(Stop::NotPresent);
        }
        let not_large = match shift {
            39 => LARGE,
            30 => self.pdpte_large,
            _ => 0,
        };
        // Below the frame of a large page, bit 12 is PAT and the others are reserved.
        let below = 1_u64.wrapping_shl(shift).wrapping_sub(1) & FRAME;
        if entry & (reserved | not_large | below & !(1 << PAGE_SHIFT)) != 0 {
            return Err(Stop::Reserved);
        }
        Ok(entry & FRAME & !below)
    }

    fn walk_pae<M: GuestMemory>(
        &self,
        memory: &M,
        registers: &Registers,
        virt: u64,
        seen: &mut impl FnMut(Mark),
    ) -> Result<Leaf, Stop> {
        let [pdpte0, pdpte1, pdpte2, pdpte3] = registers.pdptes;
        let pdpte = match virt >> 30 & 3 {
            0 => pdpte0,
            1 => pdpte1,
            2 => pdpte2,
            _ => pdpte3,
        };
        if pdpte & PRESENT == 0 {
            return Err(Stop::NotPresent);
        }
        // Its reserved bits were checked when CR3 was loaded.
        let reserved = self.beyond | BITS_62_52 | reserved_no_execute(registers.efer);
        self.walk_64(memory, 21, pdpte & FRAME, reserved, virt, seen)
    }

    /// Tables of 4-byte entries.
    fn walk_32<M: GuestMemory>(
        &self,
        memory: &M,
        registers: &Registers,
        virt: u64,
        seen: &mut impl FnMut(Mark),
    ) -> Result<Leaf, Stop> {
        let mut read = |at| {
            let at = phys(at);
            let entry = u64::from(memory.read_u32(at).ok_or(Stop::Unreadable(at))?);
            if entry & PRESENT == 0 {
                return Err(Stop::NotPresent);
            }
            seen(Mark { addr: at, width: EntryWidth::Bits32, old: entry, new: entry | ACCESSED });
            Ok(entry)
        };
        let pde = read(registers.cr3 & 0xffff_f000 | (virt >> 22 & 0x3ff) << 2)?;
        if pde & LARGE != 0 && registers.cr4 & CR4_PSE != 0 {
            if pde & self.pde_4m != 0 {
                return Err(Stop::Reserved);
            }
            // PSE-36: bits 20:13 are bits 39:32 of the address.
            let start = pde & 0xffc0_0000 | (pde >> 13 & 0xff) << 32;
            return Ok(Leaf { start, shift: 22, entry: pde, all: pde, any: 0 });
        }
        let pte = read(pde & 0xffff_f000 | (virt >> PAGE_SHIFT & 0x3ff) << 2)?;
        Ok(Leaf { start: pte & 0xffff_f000, shift: PAGE_SHIFT, entry: pte, all: pde & pte, any: 0 })
    }
}

/// The walk that copies for hypercalls take: a kernel's own pages under 4-level
/// paging, all present, with nothing unusual set. Whatever it does not find may
/// still be there: then [`Walker::walk`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelWalk {
    /// Where the first table is; in bit 0 whether bit 63 of entries is reserved.
    key: u64,
    phys_bits: u32,
}

/// What [`KernelWalk::find`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelPage {
    /// Address of the byte.
    pub addr: GuestPhysAddr,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether code may be fetched from it.
    pub executable: bool,
}

impl KernelWalk {
    /// For a CPU with `phys_bits` (MAXPHYADDR), if the guest is in IA-32e mode: then CR0.PG and
    /// CR4.PAE are set (SDM "IA32_EFER"), and CR4.LA57, which no guest may set, is clear.
    #[inline]
    #[must_use]
    pub const fn new(phys_bits: u32, cr3: u64, efer: u64) -> Option<Self> {
        if efer & EFER_LMA == 0 {
            return None;
        }
        Some(Self { key: cr3 & FRAME | (efer & EFER_NXE == 0) as u64, phys_bits })
    }

    /// A number that is the same, on one CPU, only for those that lead to the same places.
    #[inline]
    #[must_use]
    pub const fn key(self) -> u64 {
        self.key
    }

    /// Where `addr` leads, if a page of the supervisor's is there that may be used so:
    /// neither SMAP and SMEP nor protection keys concern it.
    pub fn find<M: GuestMemory>(
        self,
        memory: &M,
        addr: GuestVirtAddr,
        purpose: Purpose,
    ) -> Option<KernelPage> {
        let virt = addr.get();
        let beyond = FRAME & !1_u64.wrapping_shl(self.phys_bits).wrapping_sub(1);
        let reserved = beyond | if self.key & 1 != 0 { NO_EXECUTE } else { 0 };
        let (mut table, mut shift, mut all, mut any) = (self.key & FRAME, 39, u64::MAX, 0);
        let start = loop {
            let entry = memory.read_u64(phys(table | (virt.wrapping_shr(shift) & 0x1ff) << 3))?;
            (all, any) = (all & entry, any | entry);
            if entry & (PRESENT | reserved) != PRESENT {
                return None;
            }
            if shift == PAGE_SHIFT {
                break entry & FRAME;
            }
            if entry & LARGE != 0 {
                // What is below the frame of a large page is reserved, but for PAT.
                let below = 1_u64.wrapping_shl(shift).wrapping_sub(1) & FRAME;
                if shift != 21 || entry & below & !(1 << PAGE_SHIFT) != 0 {
                    return None;
                }
                break entry & FRAME & !below;
            }
            table = entry & FRAME;
            shift = shift.wrapping_sub(9);
        };
        let supervisor = all & USER == 0;
        let (writable, executable) = (all & WRITABLE != 0, any & NO_EXECUTE == 0);
        let allowed = match purpose {
            Purpose::Read => true,
            Purpose::Write => writable,
            Purpose::Fetch => executable,
        };
        let offset = virt & 1_u64.wrapping_shl(shift).wrapping_sub(1);
        let found = supervisor && allowed && addr.is_canonical();
        found.then(|| KernelPage { addr: phys(start | offset), writable, executable })
    }
}

/// The entry that maps a page, and what it and those above it have in common.
struct Leaf {
    /// First physical address of the page.
    start: u64,
    /// Binary logarithm of its size, 12 to 30.
    shift: u32,
    entry: u64,
    /// Bits set in every entry on the way.
    all: u64,
    /// Bits set in some entry on the way: only bit 63 is looked at.
    any: u64,
}

impl Leaf {
    #[inline]
    fn walk(&self, addr: GuestVirtAddr, access: Access) -> Walk {
        let mut rights = PageRights::empty();
        rights.set(PageRights::WRITE, self.all & WRITABLE != 0);
        rights.set(PageRights::USER, self.all & USER != 0);
        rights.set(PageRights::EXECUTE, self.any & NO_EXECUTE == 0);
        let set = self.all & ACCESSED != 0 && (access.purpose != Purpose::Write || self.entry & DIRTY != 0);
        Walk {
            addr: phys(self.start | addr.get() & 1_u64.wrapping_shl(self.shift).wrapping_sub(1)),
            order: Order::new(self.shift - PAGE_SHIFT).unwrap_or(Order::FRAME),
            rights,
            flags: if set { Flags::Set } else { Flags::Stale },
        }
    }
}

/// Where a walk ends early.
enum Stop {
    NotPresent,
    Reserved,
    Unreadable(GuestPhysAddr),
}

impl Stop {
    #[cold]
    fn fault(self, registers: &Registers, addr: GuestVirtAddr, access: Access) -> Fault {
        match self {
            Self::NotPresent => page_fault(registers, addr, access, ErrorCode::empty()),
            Self::Reserved => page_fault(registers, addr, access, ErrorCode::PRESENT | ErrorCode::RESERVED),
            Self::Unreadable(table) => Fault::Unreadable(table),
        }
    }
}

/// The end of every walk: is the access allowed? Inlined for the one caller that is
/// not cold, else the leaf goes through memory.
#[inline(always)]
fn end(
    registers: &Registers,
    addr: GuestVirtAddr,
    access: Access,
    leaf: Result<Leaf, Stop>,
) -> Result<Walk, Fault> {
    let leaf = leaf.map_err(|stop| stop.fault(registers, addr, access))?;
    check(registers, &leaf, access).map_err(|code| page_fault(registers, addr, access, code))?;
    Ok(leaf.walk(addr, access))
}

/// SDM "Determination of Access Rights" and "Protection Keys".
#[inline]
fn check(registers: &Registers, leaf: &Leaf, access: Access) -> Result<(), ErrorCode> {
    let user_page = leaf.all & USER != 0;
    let user = access.privilege == Privilege::User;
    let wrong_mode = match (access.privilege, access.purpose) {
        (Privilege::User, _) => !user_page,
        _ if !user_page => false,
        (_, Purpose::Fetch) => registers.cr4 & CR4_SMEP != 0,
        (Privilege::Supervisor, _) => registers.cr4 & CR4_SMAP != 0 && registers.rflags & RFLAGS_AC == 0,
        (Privilege::Implicit, _) => registers.cr4 & CR4_SMAP != 0,
    };
    let write_protects = user || registers.cr0 & CR0_WP != 0;
    let wrong_purpose = match access.purpose {
        Purpose::Read => false,
        Purpose::Write => leaf.all & WRITABLE == 0 && write_protects,
        Purpose::Fetch => leaf.any & NO_EXECUTE != 0,
    };
    let wrong_key = registers.cr4 & CR4_PKE != 0
        && registers.efer & EFER_LMA != 0
        && user_page
        && key_forbids(registers.pkru, leaf.entry, access.purpose, write_protects);
    if !(wrong_mode | wrong_purpose | wrong_key) {
        return Ok(());
    }
    Err(if wrong_key { ErrorCode::PRESENT | ErrorCode::KEY } else { ErrorCode::PRESENT })
}

/// PKRU holds two bits for each key: no access, no write.
fn key_forbids(pkru: u32, entry: u64, purpose: Purpose, write_protects: bool) -> bool {
    let bits = pkru >> (2 * (entry >> KEY_SHIFT & 0xf));
    match purpose {
        Purpose::Read => bits & 1 != 0,
        Purpose::Write => bits & 1 != 0 || bits & 2 != 0 && write_protects,
        Purpose::Fetch => false,
    }
}

#[cold]
fn page_fault(registers: &Registers, addr: GuestVirtAddr, access: Access, mut code: ErrorCode) -> Fault {
    let can_tell_fetch =
        registers.cr4 & CR4_SMEP != 0 || registers.cr4 & CR4_PAE != 0 && registers.efer & EFER_NXE != 0;
    code.set(ErrorCode::WRITE, access.purpose == Purpose::Write);
    code.set(ErrorCode::USER, access.privilege == Privilege::User);
    code.set(ErrorCode::FETCH, access.purpose == Purpose::Fetch && can_tell_fetch);
    Fault::Page { code, addr }
}

/// Without paging, linear addresses are physical ones.
fn unpaged(addr: GuestVirtAddr) -> Walk {
    let addr = phys(addr.get() & 0xffff_ffff);
    Walk { addr, order: Order::FRAME, rights: PageRights::all(), flags: Flags::Set }
}

const fn reserved_no_execute(efer: u64) -> u64 {
    if efer & EFER_NXE == 0 { NO_EXECUTE } else { 0 }
}

/// `raw`, made of fields of at most 52 bits.
#[inline]
fn phys(raw: u64) -> GuestPhysAddr {
    GuestPhysAddr::new(raw & (GuestPhysAddr::LIMIT - 1)).unwrap_or_default()
}
