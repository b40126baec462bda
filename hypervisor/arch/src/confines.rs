//! What confines the vcpus of a domain: its p2m, and the bitmaps of the I/O ports
//! and MSRs that cause VM exits. Everything is closed at first, but for the MSRs that
//! are switched with a guest.
//!
//! Invariant that makes it safe to let a guest run: its p2m maps only frames that
//! the frame table calls that domain's, and for Dom0 physical addresses that are
//! neither RAM nor the hypervisor's devices. Rust code never refers to either.

use core::ops::RangeInclusive;

use alloc::vec::Vec;

use hv_core::addr::{GuestPhysAddr, HostPhysAddr, Mfn, PAGE_LEN, PAGE_SIZE, PhysRange, to_usize};
use hv_core::ept::{
    AccessedDirty, Ept, EptMemory, Eptp, Extent, LargePages, MapError, Page, PageType, RamCaching, Rights,
};
use hv_core::frame::{FrameState, Order, OutOfFrames, Reach, Use};
use hv_core::id::DomId;
use hv_core::msr_policy::X2apicAccess;
use hv_core::paging::TableMemory;
use hv_core::pt_walk::GuestMemory;
use hv_core::vlapic::APIC_ADDRESS;
use hv_core::vmx_caps::{EptVpidCaps, VmxConfig};

use crate::bitmaps::{Ports, Shared};
use crate::frames::{self, OwnFrames};
use crate::sync::{Lock, Rank};
use crate::{memory, vmx};

/// Confines of one domain; shared by its vcpus.
#[derive(Debug)]
pub struct Confines {
    owner: DomId,
    ept: Ept,
    eptp: Eptp,
    /// Held by whoever changes the p2m.
    tables: Lock<Tables>,
    bitmaps: &'static Shared,
    /// Its own I/O bitmaps, if it may use ports.
    ports: Option<Ports>,
    /// Where its local APICs' registers are while CPUs answer for them: nobody's data
    /// is in there, but a vcpu whose local APIC is not in xAPIC mode reaches it.
    apic_access_page: Option<OwnFrames>,
}

/// Frames of EPT tables.
#[derive(Debug, Default)]
struct Tables {
    /// No longer named by any entry; a CPU may still walk through them.
    released: Vec<Mfn>,
}

/// Why memory was not mapped or reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessError {
    /// A frame is not this domain's.
    NotOwned,
    /// The p2m has nothing there, or not with the right to do it.
    NotMapped,
    /// The p2m refused.
    Map(MapError),
}

impl From<MapError> for AccessError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl TableMemory for Tables {
    fn read(&self, table: Mfn, index: usize) -> u64 {
        memory::read_table(table, index)
    }

    fn write(&mut self, table: Mfn, index: usize, entry: u64) {
        // SAFETY: `Ept` names only tables that `allocate` gave it.
        unsafe { memory::write_table(table, index, entry) };
    }

    fn allocate(&mut self) -> Option<Mfn> {
        Some(OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::PageTable).ok()?.mfn())
    }
}

impl EptMemory for Tables {
    fn release(&mut self, table: Mfn) {
        self.released.push(table);
    }
}

/// The tables as a reader without the lock sees them.
struct Walk;

impl TableMemory for Walk {
    fn read(&self, table: Mfn, index: usize) -> u64 {
        memory::read_table(table, index)
    }

    fn write(&mut self, _: Mfn, _: usize, _: u64) {}

    fn allocate(&mut self) -> Option<Mfn> {
        None
    }
}

impl Confines {
    /// Confines that let nothing through, for domain `owner`.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn new(owner: DomId, config: &VmxConfig) -> Result<Self, OutOfFrames> {
        let caps = config.ept_vpid();
        let large = if caps.contains(EptVpidCaps::EPT_1G) { LargePages::Size1G } else { LargePages::Size2M };
        let flags =
            if caps.contains(EptVpidCaps::ACCESSED_DIRTY) { AccessedDirty::On } else { AccessedDirty::Off };
        // A domain that drives devices says itself how its memory is cached.
        let caching = if owner == DomId::DOM0 { RamCaching::GuestPat } else { RamCaching::WriteBack };
        let mut tables = Tables::default();
        let ept = Ept::new(&mut tables, large, caching).map_err(|_| OutOfFrames { unscrubbed: 0 })?;
        let eptp = ept.eptp(flags);
        let page = || OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::Vmx);
        let apic_access_page = config.apic().covers_memory().then(page).transpose()?;
        let tables = Lock::new(Rank::P2m, tables);
        Ok(Self { owner, ept, eptp, tables, bitmaps: Shared::get()?, ports: None, apic_access_page })
    }

    pub(crate) fn ept_pointer(&self) -> u64 {
        self.eptp.get()
    }

    pub(crate) fn msr_bitmap(&self, access: X2apicAccess) -> u64 {
        self.bitmaps.msrs(access)
    }

    pub(crate) fn io_bitmaps(&self) -> [u64; 2] {
        self.ports.as_ref().map_or_else(|| self.bitmaps.ports(), Ports::addresses)
    }

    /// Lets Dom0 use all I/O ports but those in `own`. Before the first vcpu is made.
    /// Dom0 is trusted with them: it drives the machine's devices.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn pass_ports_except(&mut self, own: &[RangeInclusive<u16>]) -> Result<(), OutOfFrames> {
        if self.owner == DomId::DOM0 {
            self.ports = Some(Ports::all_except(own)?);
        }
        Ok(())
    }

    /// Where accesses are recognized as those to a local APIC in xAPIC mode.
    pub(crate) fn apic_access_page(&self) -> Option<u64> {
        self.apic_access_page.as_ref().map(|page| page.mfn().start().get())
    }

    /// Lets CPUs answer accesses to the registers of local APICs in xAPIC mode, where
    /// they can. Says whether they do.
    pub fn map_apic_access_page(&self) -> bool {
        let Some(frame) = &self.apic_access_page else { return false };
        let Some(gfn) = GuestPhysAddr::new(APIC_ADDRESS).map(GuestPhysAddr::gfn) else { return false };
        let Some(extent) = Extent::new(gfn, Order::FRAME) else { return false };
        let page = Page { mfn: frame.mfn(), kind: PageType::Mmio, rights: Rights::ReadWrite };
        // Nothing was there, so no CPU can remember anything.
        match self.ept.map(&mut *self.tables.lock(), extent, page) {
            Ok(_nothing) => true,
            // Another vcpu was first.
            Err(MapError::AlreadyMapped) => self.ept.lookup(&Walk, gfn).page() == Some(page),
            Err(_) => false,
        }
    }

    /// Makes this pcpu forget what it remembers of the p2m.
    pub(crate) fn forget_translations(&self) {
        vmx::forget_translations(self.eptp);
    }

    /// Maps RAM of this domain, from `gfn` on, with the largest pages that fit.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotOwned`] or [`AccessError::Map`].
    pub fn map_ram(&self, at: GuestPhysAddr, ram: PhysRange) -> Result<(), AccessError> {
        let mine =
            |mfn| matches!(frames::state(mfn), FrameState::Domain { owner, .. } if owner == self.owner);
        let mut all = (ram.start()..ram.end()).step_by(to_usize(PAGE_SIZE)).filter_map(HostPhysAddr::new);
        if !all.all(|address| mine(address.mfn())) {
            return Err(AccessError::NotOwned);
        }
        self.map(at, ram, PageType::Ram, Rights::All)
    }

    /// Maps device registers and firmware memory for Dom0 at their own addresses.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotOwned`] if any of it is RAM of the allocator's, or the
    /// hypervisor's; [`AccessError::Map`].
    pub fn map_device(&self, range: PhysRange) -> Result<(), AccessError> {
        if self.owner != DomId::DOM0 || !memory::may_pass_through(range) {
            return Err(AccessError::NotOwned);
        }
        let at = GuestPhysAddr::new(range.start()).ok_or(AccessError::NotMapped)?;
        self.map(at, range, PageType::Mmio, Rights::All)
    }

    fn map(
        &self,
        at: GuestPhysAddr,
        phys: PhysRange,
        kind: PageType,
        rights: Rights,
    ) -> Result<(), AccessError> {
        let mut tables = self.tables.lock();
        let mut done = 0;
        while done < phys.len() {
            let gfn = at.checked_add(done).ok_or(AccessError::NotMapped)?.gfn();
            let from = HostPhysAddr::new(phys.start() + done).ok_or(AccessError::NotMapped)?;
            let frames = (phys.len() - done) / PAGE_SIZE;
            let order = largest_order(gfn.get() | from.mfn().get(), frames);
            let extent = Extent::new(gfn, order).ok_or(AccessError::NotMapped)?;
            let page = Page { mfn: from.mfn(), kind, rights };
            // Nothing was there, so no CPU can remember anything.
            let _nothing = self.ept.map(&mut *tables, extent, page)?;
            done += order.frames() * PAGE_SIZE;
        }
        Ok(())
    }

    /// Copies guest memory to `to`.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotMapped`]; part of it may have been copied.
    pub fn read(&self, at: GuestPhysAddr, to: &mut [u8]) -> Result<(), AccessError> {
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let (from, len) = self.piece(at, done, rest.len(), Rights::Read)?;
            // SAFETY: RAM of the domain in the direct map; other vcpus may write it
            // at the same time, and what is read is bytes, whatever they are.
            unsafe { memory::copy_from_guest(from, &mut rest[..len]) };
            done += len;
        }
        Ok(())
    }

    /// Copies `from` to guest memory.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotMapped`]; part of it may have been copied.
    pub fn write(&self, at: GuestPhysAddr, from: &[u8]) -> Result<(), AccessError> {
        let mut done = 0;
        while let Some(rest) = from.get(done..).filter(|rest| !rest.is_empty()) {
            let (to, len) = self.piece(at, done, rest.len(), Rights::ReadWrite)?;
            // SAFETY: RAM of the domain, of which Rust code has no references.
            unsafe { memory::copy_to_guest(to, &rest[..len]) };
            done += len;
        }
        Ok(())
    }

    /// Fills `len` bytes of guest memory with zeros.
    ///
    /// # Errors
    ///
    /// As [`Confines::write`].
    pub fn zero(&self, at: GuestPhysAddr, len: u64) -> Result<(), AccessError> {
        static ZEROS: [u8; PAGE_LEN] = [0; PAGE_LEN];
        let mut done = 0;
        while done < len {
            let step = (len - done).min(PAGE_SIZE);
            self.write(at.checked_add(done).ok_or(AccessError::NotMapped)?, &ZEROS[..to_usize(step)])?;
            done += step;
        }
        Ok(())
    }

    /// Where the bytes from `at + done` lie, and how many of `len` are in that page.
    fn piece(
        &self,
        at: GuestPhysAddr,
        done: usize,
        len: usize,
        rights: Rights,
    ) -> Result<(HostPhysAddr, usize), AccessError> {
        let at = at.checked_add(done as u64).ok_or(AccessError::NotMapped)?;
        let page = self.ept.lookup(&Walk, at.gfn()).page().ok_or(AccessError::NotMapped)?;
        if page.kind != PageType::Ram || !page.rights.contains(rights) {
            return Err(AccessError::NotMapped);
        }
        let offset = at.page_offset();
        let address = page.mfn.start().checked_add(offset).ok_or(AccessError::NotMapped)?;
        Ok((address, len.min(to_usize(PAGE_SIZE - offset))))
    }
}

/// For walks of the guest's page tables.
impl GuestMemory for Confines {
    #[inline]
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64> {
        let (from, len) = self.piece(addr, 0, size_of::<u64>(), Rights::Read).ok()?;
        // SAFETY: RAM of the domain; aligned by the walk, so in one frame.
        (len == size_of::<u64>() && from.get() % 8 == 0).then(|| unsafe { memory::read_guest_u64(from) })
    }

    #[inline]
    fn read_u32(&self, addr: GuestPhysAddr) -> Option<u32> {
        let mut bytes = [0; size_of::<u32>()];
        self.read(addr, &mut bytes).ok()?;
        Some(u32::from_le_bytes(bytes))
    }
}

/// The largest page for frames that share `bits` of alignment, of `frames` left.
fn largest_order(bits: u64, frames: u64) -> Order {
    let fits = |order: &Order| bits & (order.frames() - 1) == 0 && order.frames() <= frames;
    [Order::ONE_GIB, Order::TWO_MIB].into_iter().find(fits).unwrap_or(Order::FRAME)
}
