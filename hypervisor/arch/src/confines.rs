//! What confines the vcpus of a domain: its p2m, and the bitmaps of the I/O ports
//! and MSRs that cause VM exits. Everything is closed at first, but for the MSRs that
//! are switched with a guest.
//!
//! Invariant that makes it safe to let a guest run: its p2m maps only frames that
//! the frame table calls that domain's, frames of other domains to which the p2m
//! holds a reference, and for Dom0 physical addresses that are neither RAM nor the
//! hypervisor's devices. Rust code never refers to any of them.
//!
//! | type of page | the p2m holds | taken out, it |
//! |---|---|---|
//! | RAM | the allocation's reference | is freed, unless others hold references |
//! | foreign, grant, shared with the hypervisor | a [`FrameRef`] | is dropped |
//! | device, firmware | nothing | |
//!
//! Who takes something out gets a [`Shootdown`]. Neighbours: [`page`] (frames that
//! the hypervisor works in together with a guest), [`crate::frames`].
//!
//! # Look-ups
//!
//! They take the p2m's lock, but for those of a pcpu on which a vcpu of the domain
//! is loaded ([`Local`]): a shoot-down waits for that pcpu, so that nothing it has
//! found goes away before it answers; and it answers only between two look-ups.

pub(crate) mod cache;
pub mod page;
mod pcpus;
mod shootdown;
pub(crate) mod walks;

use core::marker::PhantomData;
use core::mem;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alloc::vec::Vec;

use hv_core::addr::{
    Gfn, GuestPhysAddr, GuestVirtAddr, HostPhysAddr, Mfn, PAGE_LEN, PAGE_SIZE, PhysRange, to_usize,
};
use hv_core::ept::{
    AccessedDirty, Ept, EptMemory, Eptp, Extent, Flush, LargePages, Lookup, MapError, Mapping, OutOfTables,
    Page, PageType, Progress, RamCaching, Rights, Teardown,
};
use hv_core::frame::{FrameState, GetError, Order, OutOfFrames, Reach, Use};
use hv_core::id::DomId;
use hv_core::msr_policy::X2apicAccess;
use hv_core::paging::TableMemory;
use hv_core::pt_walk::{GuestMemory, KernelWalk, Purpose};
use hv_core::vlapic::APIC_ADDRESS;
use hv_core::vmx_caps::{EptVpidCaps, VmxConfig};

use crate::bitmaps::{Ports, Shared};
use crate::frames::{self, DomainFrames, FrameRef, OwnFrames};
use crate::sync::{Guard, Lock, Rank};
use crate::{memory, percpu, vmx};

use page::SharedPage;
use pcpus::Pcpus;
pub use shootdown::Shootdown;

/// Confines of one domain; shared by its vcpus.
#[derive(Debug)]
pub struct Confines {
    owner: DomId,
    ept: Ept,
    eptp: Eptp,
    /// Which p2m this is, and since when nothing was taken out of it; see [`cache`].
    stamp: AtomicU64,
    pcpus: Pcpus,
    /// One past the highest guest frame that was ever mapped.
    end: AtomicU64,
    /// Somebody is in [`Confines::relinquish`].
    relinquishing: AtomicBool,
    /// Held by whoever changes the p2m, or looks up from outside.
    tables: Lock<Tables>,
    bitmaps: &'static Shared,
    /// Its own I/O bitmaps, if it may use ports.
    ports: Option<Ports>,
    /// Where its local APICs' registers are while CPUs answer for them: nobody's data
    /// is in there, but a vcpu whose local APIC is not in xAPIC mode reaches it.
    apic_access_page: Option<OwnFrames>,
}

/// Frames of EPT tables.
#[derive(Debug)]
struct Tables {
    /// Tables that entries name.
    count: u64,
    /// As many as that there may be. A guest chooses where its pages stand, and each place
    /// can take three tables, which stay when it is empty again.
    most: u64,
    /// No longer named by any entry; a CPU may still walk through them.
    released: Vec<Mfn>,
    /// The domain is being destroyed: nothing is mapped any more.
    dying: bool,
    /// What is being taken down.
    teardown: Option<Teardown>,
}

impl Tables {
    fn new(most: u64) -> Self {
        Self { count: 0, most, released: Vec::new(), dying: false, teardown: None }
    }

    fn check_alive(&self) -> Result<(), AccessError> {
        if self.dying { Err(AccessError::Dying) } else { Ok(()) }
    }
}

/// Why memory was not mapped or reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessError {
    /// A frame is not this domain's.
    NotOwned,
    /// The p2m has nothing there, or not with the right to do it.
    NotMapped,
    /// Something else than RAM stands there.
    NotRam,
    /// Device registers stand there.
    Device,
    /// The domain is being destroyed.
    Dying,
    /// Too many references to a frame are held.
    TooMany,
    /// The p2m refused.
    Map(MapError),
}

impl From<MapError> for AccessError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<OutOfTables> for AccessError {
    fn from(error: OutOfTables) -> Self {
        Self::Map(error.into())
    }
}

/// How far [`Confines::relinquish`] has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Relinquished {
    /// Frames of RAM that left the p2m.
    pub ram: u64,
    /// Whether there is more to do.
    pub progress: Progress,
}

/// Tables that each domain may have: 1 MiB, as Xen's first allocation for page tables.
const FEWEST_TABLES: u64 = 256;

/// Stamps that no p2m has had yet.
static NEXT_STAMP: AtomicU64 = AtomicU64::new(1);

impl TableMemory for Tables {
    fn read(&self, table: Mfn, index: usize) -> u64 {
        memory::read_table(table, index)
    }

    fn write(&mut self, table: Mfn, index: usize, entry: u64) {
        // SAFETY: `Ept` names only tables that `allocate` gave it.
        unsafe { memory::write_table(table, index, entry) };
    }

    fn allocate(&mut self) -> Option<Mfn> {
        if self.count >= self.most {
            return None;
        }
        let frame = match self.most {
            // Dom0's.
            u64::MAX => OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::PageTable),
            _ => frames::allocate_table(),
        };
        let table = frame.ok()?.leak();
        self.count += 1;
        Some(table)
    }
}

impl EptMemory for Tables {
    fn release(&mut self, table: Mfn) {
        self.count = self.count.saturating_sub(1);
        self.released.push(table);
    }
}

/// The tables of a tree that no CPU walks any more.
struct Unused;

impl TableMemory for Unused {
    fn read(&self, table: Mfn, index: usize) -> u64 {
        memory::read_table(table, index)
    }

    fn write(&mut self, table: Mfn, index: usize, entry: u64) {
        // SAFETY: `Ept` names only tables that `Tables::allocate` gave it.
        unsafe { memory::write_table(table, index, entry) };
    }

    fn allocate(&mut self) -> Option<Mfn> {
        None
    }
}

impl EptMemory for Unused {
    fn release(&mut self, table: Mfn) {
        // SAFETY: `Tables::allocate` leaked it, and nothing names it any more.
        drop(unsafe { OwnFrames::from_leaked(table, Order::FRAME) });
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
        let page = || OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::Vmx);
        let apic_access_page = config.apic().covers_memory().then(page).transpose()?;
        let bitmaps = Shared::get()?;
        // Last, since only the finished value takes the root down.
        let most = if owner == DomId::DOM0 { u64::MAX } else { FEWEST_TABLES };
        let mut tables = Tables::new(most);
        let ept = Ept::new(&mut tables, large, caching).map_err(|_| OutOfFrames { unscrubbed: 0 })?;
        Ok(Self {
            owner,
            eptp: ept.eptp(flags),
            ept,
            stamp: AtomicU64::new(NEXT_STAMP.fetch_add(1, Ordering::SeqCst)),
            pcpus: Pcpus::new(),
            end: AtomicU64::new(0),
            relinquishing: AtomicBool::new(false),
            tables: Lock::new(Rank::P2m, tables),
            bitmaps,
            ports: None,
            apic_access_page,
        })
    }

    /// Lets the address space take `frames` for tables beside the few that each may have.
    /// Dom0's, which devices are mapped into, may take as many as there are.
    pub fn allow_tables(&self, frames: u64) {
        if !self.is_identity() {
            self.tables.lock().most = FEWEST_TABLES.saturating_add(frames);
        }
    }

    /// Whose they are.
    #[must_use]
    pub fn owner(&self) -> DomId {
        self.owner
    }

    /// Whether guest frames are the machine frames of the same number: Dom0's RAM is
    /// never given back, only taken out and put in again.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.owner == DomId::DOM0
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
        let Ok(mut tables) = self.alive() else { return false };
        match self.ept.map(&mut *tables, extent, page) {
            Ok(_nothing) => true,
            // Another vcpu was first.
            Err(MapError::AlreadyMapped) => self.ept.lookup(&Walk, gfn).page() == Some(page),
            Err(_) => false,
        }
    }

    /// Makes this pcpu forget what it remembers of the p2m.
    pub(crate) fn forget_here(&self) {
        vmx::forget_translations(self.eptp);
    }

    /// A vcpu of these confines is loaded on this pcpu from now on. Returns what is
    /// to be passed to [`Confines::leave`].
    pub(crate) fn enter(&self) -> Outer {
        let here = percpu::this();
        let outer = Outer(here.ept().replace(self.eptp.get()));
        self.pcpus.enter(here.id());
        if self.pcpus.take_stale(here.id()) {
            vmx::forget_translations(self.eptp);
        }
        outer
    }

    /// That vcpu is unloaded, and the one is back that was loaded before, if any.
    pub(crate) fn leave(&self, outer: Outer) {
        let here = percpu::this();
        here.ept().set(outer.0);
        if outer.0 != self.eptp.get() {
            self.pcpus.leave(here.id());
        }
    }

    /// Whether a vcpu of these confines is loaded on this pcpu.
    #[inline]
    fn is_here(&self) -> bool {
        percpu::this().ept().get() == self.eptp.get()
    }

    /// The memory as the vcpu that is loaded on this pcpu reaches it: nothing, unless it is
    /// one of these confines.
    #[inline]
    #[must_use]
    pub fn local(&self) -> Local<'_> {
        Local { confines: self, _pinned: PhantomData }
    }

    /// The lock of the p2m of a domain that is not being destroyed.
    fn alive(&self) -> Result<Guard<'_, Tables>, AccessError> {
        let tables = self.tables.lock();
        tables.check_alive()?;
        Ok(tables)
    }

    /// Something was taken out: what caches know is void.
    fn restamp(&self) {
        self.stamp.store(NEXT_STAMP.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
    }

    fn note_end(&self, gfn: Gfn, frames: u64) {
        self.end.fetch_max(gfn.get().saturating_add(frames), Ordering::Relaxed);
    }

    /// One past the highest guest frame that was ever mapped.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// Makes every pcpu forget what it remembers of the address space, guest-virtual
    /// translations included. No lock is held but that of the vcpu which this pcpu runs.
    pub fn forget_translations(&self) {
        let mut shootdown = Shootdown::new(self);
        shootdown.owe(Flush::Invept);
        shootdown.complete();
    }

    /// What stands behind `gfn`.
    #[must_use]
    pub fn lookup(&self, gfn: Gfn) -> Lookup {
        let _tables = self.tables.lock();
        self.ept.lookup(&Walk, gfn)
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
        if !self.is_identity() || at.get() != ram.start() || !all.all(|address| mine(address.mfn())) {
            return Err(AccessError::NotOwned);
        }
        self.map(at, ram, PageType::Ram)
    }

    /// Maps device registers and firmware memory for Dom0 at their own addresses.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotOwned`] if any of it is RAM of the allocator's, or the
    /// hypervisor's; [`AccessError::Map`].
    pub fn map_device(&self, range: PhysRange) -> Result<(), AccessError> {
        if !self.is_identity() || !memory::may_pass_through(range) {
            return Err(AccessError::NotOwned);
        }
        let at = GuestPhysAddr::new(range.start()).ok_or(AccessError::NotMapped)?;
        self.map(at, range, PageType::Mmio)
    }

    /// Maps tables of the firmware for Dom0 at their own addresses, as memory.
    ///
    /// # Errors
    ///
    /// As [`Confines::map_device`].
    pub fn map_firmware(&self, range: PhysRange) -> Result<(), AccessError> {
        if !self.is_identity() || !memory::may_pass_through(range) {
            return Err(AccessError::NotOwned);
        }
        let at = GuestPhysAddr::new(range.start()).ok_or(AccessError::NotMapped)?;
        self.map(at, range, PageType::Special)
    }

    fn map(&self, at: GuestPhysAddr, phys: PhysRange, kind: PageType) -> Result<(), AccessError> {
        let mut tables = self.alive()?;
        let mut done = 0;
        while done < phys.len() {
            let gfn = at.checked_add(done).ok_or(AccessError::NotMapped)?.gfn();
            let from = HostPhysAddr::new(phys.start() + done).ok_or(AccessError::NotMapped)?;
            let frames = (phys.len() - done) / PAGE_SIZE;
            let order = largest_order(gfn.get() | from.mfn().get(), frames);
            self.put(&mut tables, gfn, order, Page { mfn: from.mfn(), kind, rights: Rights::All })?;
            done += order.frames() * PAGE_SIZE;
        }
        Ok(())
    }

    /// Maps a page where nothing stands.
    fn put(&self, tables: &mut Tables, gfn: Gfn, order: Order, page: Page) -> Result<(), AccessError> {
        let extent = Extent::new(gfn, order).ok_or(AccessError::NotMapped)?;
        // Nothing was there that a CPU could still use; tables that were, if any, wait
        // in `released` for the next shoot-down.
        let _tables_only = self.ept.map(tables, extent, page)?;
        self.note_end(gfn, order.frames());
        Ok(())
    }

    /// Puts fresh RAM at `gfn`; on an error it is freed.
    ///
    /// # Errors
    ///
    /// [`AccessError`].
    pub fn populate(&self, gfn: Gfn, ram: DomainFrames) -> Result<(), AccessError> {
        if ram.owner() != self.owner || self.is_identity() {
            return Err(AccessError::NotOwned);
        }
        let page = Page { mfn: ram.mfn(), kind: PageType::Ram, rights: Rights::All };
        self.put(&mut *self.alive()?, gfn, ram.order(), page)?;
        ram.into_mapped();
        Ok(())
    }

    /// Puts RAM of Dom0 back that [`Confines::remove_ram`] took out.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotOwned`] for RAM that is not Dom0's.
    pub fn restore(&self, gfn: Gfn, order: Order) -> Result<(), AccessError> {
        let mine = |raw| {
            let state = Mfn::new(raw).map(frames::state);
            matches!(state, Some(FrameState::Domain { owner, .. }) if owner == self.owner)
        };
        let end = gfn.get().checked_add(order.frames()).ok_or(AccessError::NotOwned)?;
        if !self.is_identity() || !(gfn.get()..end).all(mine) {
            return Err(AccessError::NotOwned);
        }
        let mfn = Mfn::new(gfn.get()).ok_or(AccessError::NotOwned)?;
        let page = Page { mfn, kind: PageType::Ram, rights: Rights::All };
        self.put(&mut *self.alive()?, gfn, order, page)
    }

    /// Takes RAM out from `gfn` on: as much as lies in one page of the p2m and is one
    /// extent, at most 2^`most` frames. Returns how much that was. Unless they are
    /// Dom0's, the frames are freed by `shootdown`.
    ///
    /// # Errors
    ///
    /// [`AccessError`].
    pub fn remove_ram<'a>(
        &'a self,
        gfn: Gfn,
        most: Order,
        shootdown: &mut Shootdown<'a>,
    ) -> Result<Order, AccessError> {
        shootdown.make_room();
        let mut tables = self.alive()?;
        let Lookup::Mapped { page, order } = self.ept.lookup(&Walk, gfn) else {
            return Err(AccessError::NotMapped);
        };
        match page.kind {
            PageType::Ram => {}
            PageType::Mmio => return Err(AccessError::Device),
            _ => return Err(AccessError::NotRam),
        }
        let whole = |size: &Order| *size <= most && *size <= order && gfn.get() & (size.frames() - 1) == 0;
        let order = [Order::ONE_GIB, Order::TWO_MIB].into_iter().find(whole).unwrap_or(Order::FRAME);
        self.take(&mut tables, gfn, order, shootdown)?;
        Ok(order)
    }

    /// Takes out what stands in the extent, one page at the most.
    fn take<'a>(
        &'a self,
        tables: &mut Tables,
        gfn: Gfn,
        order: Order,
        shootdown: &mut Shootdown<'a>,
    ) -> Result<(), AccessError> {
        let extent = Extent::new(gfn, order).ok_or(AccessError::NotMapped)?;
        let keeps_ram = self.is_identity();
        let flush = self.ept.unmap(tables, extent, &mut |mapping| {
            if !keeps_ram || mapping.page.kind != PageType::Ram {
                shootdown.owe_page(mapping);
            }
        })?;
        shootdown.owe(flush);
        shootdown.owe_tables(&mut tables.released);
        self.restamp();
        Ok(())
    }

    /// Empties one guest frame, whatever stands there but device registers and grants: a mapping
    /// stands where its handle says until it is undone.
    fn vacate<'a>(
        &'a self,
        tables: &mut Tables,
        gfn: Gfn,
        shootdown: &mut Shootdown<'a>,
    ) -> Result<Vacated, AccessError> {
        match self.ept.lookup(&Walk, gfn).page() {
            None => Ok(Vacated::Nothing),
            Some(page) if page.kind == PageType::Mmio => Err(AccessError::Device),
            Some(page) if matches!(page.kind, PageType::GrantRw | PageType::GrantRo) => {
                Err(AccessError::NotRam)
            }
            Some(page) => {
                self.take(tables, gfn, Order::FRAME, shootdown)?;
                Ok(if page.kind == PageType::Ram { Vacated::Ram } else { Vacated::Other })
            }
        }
    }

    /// Takes out what stands at `gfn` other than device registers and grants.
    ///
    /// # Errors
    ///
    /// [`AccessError`].
    pub fn remove<'a>(&'a self, gfn: Gfn, shootdown: &mut Shootdown<'a>) -> Result<Vacated, AccessError> {
        shootdown.make_room();
        let mut tables = self.alive()?;
        match self.ept.lookup(&Walk, gfn).page() {
            None => Err(AccessError::NotMapped),
            Some(_) => self.vacate(&mut tables, gfn, shootdown),
        }
    }

    /// Maps a frame of another domain, in place of what stands at `gfn`. `kind` is
    /// one of those that hold a reference.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; the reference is dropped then.
    pub fn map_reference<'a>(
        &'a self,
        gfn: Gfn,
        frame: FrameRef,
        kind: PageType,
        shootdown: &mut Shootdown<'a>,
    ) -> Result<Vacated, AccessError> {
        if matches!(kind, PageType::Ram | PageType::Mmio) {
            return Err(AccessError::NotRam);
        }
        shootdown.make_room();
        let mut tables = self.alive()?;
        let vacated = self.vacate(&mut tables, gfn, shootdown)?;
        let page = Page { mfn: frame.mfn(), kind, rights: Rights::All };
        self.put(&mut tables, gfn, Order::FRAME, page)?;
        frame.into_mapped();
        Ok(vacated)
    }

    /// Takes a frame out that [`Confines::map_reference`] mapped as `kind`, if it is
    /// still there.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotMapped`] if something else stands there.
    pub fn unmap_reference<'a>(
        &'a self,
        gfn: Gfn,
        mfn: Mfn,
        kind: PageType,
        shootdown: &mut Shootdown<'a>,
    ) -> Result<(), AccessError> {
        shootdown.make_room();
        let mut tables = self.alive()?;
        let page = self.ept.lookup(&Walk, gfn).page();
        if page.is_none_or(|page| page.mfn != mfn || page.kind != kind || kind == PageType::Ram) {
            return Err(AccessError::NotMapped);
        }
        self.take(&mut tables, gfn, Order::FRAME, shootdown)
    }

    /// Maps a page that the hypervisor shares with the guest, in place of what stands
    /// at `gfn`; it stands there only from now on.
    ///
    /// # Errors
    ///
    /// [`AccessError`].
    pub fn map_shared<'a>(
        &'a self,
        gfn: Gfn,
        shared: &SharedPage,
        shootdown: &mut Shootdown<'a>,
    ) -> Result<Vacated, AccessError> {
        let frame = shared.frame().again().map_err(|_| AccessError::TooMany)?;
        let mfn = frame.mfn();
        let vacated = self.map_reference(gfn, frame, PageType::Special, shootdown)?;
        if let Some(old) = shared.place(gfn).filter(|&old| old != gfn) {
            // It may be gone from there since.
            let _gone = self.unmap_reference(old, mfn, PageType::Special, shootdown);
        }
        Ok(vacated)
    }

    /// Moves a frame of RAM from one guest frame to another one, in place of what
    /// stands there.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; nothing has moved then.
    pub fn move_ram<'a>(
        &'a self,
        from: Gfn,
        to: Gfn,
        shootdown: &mut Shootdown<'a>,
    ) -> Result<Vacated, AccessError> {
        if self.is_identity() {
            return Err(AccessError::NotOwned);
        }
        shootdown.make_room();
        let mut tables = self.alive()?;
        let page = self.ept.lookup(&Walk, from).page().ok_or(AccessError::NotMapped)?;
        if page.kind != PageType::Ram {
            return Err(AccessError::NotRam);
        }
        if from == to {
            return Ok(Vacated::Nothing);
        }
        let extent = Extent::new(from, Order::FRAME).ok_or(AccessError::NotMapped)?;
        shootdown.owe(self.ept.unmap(&mut *tables, extent, &mut |_| ())?);
        self.restamp();
        let vacated = self.vacate(&mut tables, to, shootdown);
        // Where something stood there is room: only what has emptied nothing can fail.
        let moved = vacated.and_then(|vacated| {
            self.put(&mut tables, to, Order::FRAME, page)?;
            Ok(vacated)
        });
        if moved.is_err() {
            // There is room, too.
            let _back = self.put(&mut tables, from, Order::FRAME, page);
        }
        shootdown.owe_tables(&mut tables.released);
        moved
    }

    /// A reference to the frame at `gfn`, of the domain's own, that the guest may at
    /// least read, or write.
    ///
    /// # Errors
    ///
    /// [`AccessError`].
    pub fn reference(&self, gfn: Gfn, rights: Rights) -> Result<FrameRef, AccessError> {
        let _tables = self.alive()?;
        let page = self.ept.lookup(&Walk, gfn).page().ok_or(AccessError::NotMapped)?;
        if !matches!(page.kind, PageType::Ram | PageType::Special) || !page.rights.contains(rights) {
            return Err(AccessError::NotRam);
        }
        FrameRef::get(page.mfn, self.owner).map_err(|error| match error {
            GetError::TooMany => AccessError::TooMany,
            _ => AccessError::NotOwned,
        })
    }

    /// Takes down the p2m of a domain that is being destroyed, in slices of `budget`
    /// small steps. From the first call on nothing can be mapped, and vcpus find holes.
    /// No lock is held but that of the vcpu which this pcpu runs.
    pub fn relinquish(&self, budget: usize) -> Relinquished {
        let more = Relinquished { ram: 0, progress: Progress::More };
        if self.relinquishing.swap(true, Ordering::Acquire) {
            return more;
        }
        let slice = self.relinquish_alone(budget);
        self.relinquishing.store(false, Ordering::Release);
        slice
    }

    fn relinquish_alone(&self, budget: usize) -> Relinquished {
        let mut tables = self.tables.lock();
        tables.dying = true;
        let unfinished = tables.teardown.take();
        let cut = if unfinished.is_none() { self.ept.cut(&mut *tables) } else { None };
        drop(tables);
        if cut.is_some() {
            self.restamp();
            let mut shootdown = Shootdown::new(self);
            shootdown.owe(Flush::Invept);
            shootdown.complete();
        }
        let Some(mut teardown) = unfinished.or(cut) else {
            return Relinquished { ram: 0, progress: Progress::Done };
        };
        let (ram, progress) = take_down(&mut teardown, budget, self.owner, self.is_identity());
        if progress == Progress::More {
            self.tables.lock().teardown = Some(teardown);
        }
        // There may be another part of the tree.
        Relinquished { ram, progress: Progress::More }
    }

    /// Copies guest memory to `to`.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotMapped`]; part of it may have been copied.
    pub fn read(&self, at: GuestPhysAddr, to: &mut [u8]) -> Result<(), AccessError> {
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = at.checked_add(done as u64).ok_or(AccessError::NotMapped)?;
            let len = rest.len().min(to_usize(PAGE_SIZE - at.page_offset()));
            self.reach(at, Rights::Read, |from| {
                // SAFETY: RAM of the domain in the direct map; other vcpus may write it
                // at the same time, and what is read is bytes, whatever they are.
                unsafe { memory::copy_from_guest(from, &mut rest[..len]) };
            })?;
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
            let at = at.checked_add(done as u64).ok_or(AccessError::NotMapped)?;
            let len = rest.len().min(to_usize(PAGE_SIZE - at.page_offset()));
            self.reach(at, Rights::ReadWrite, |to| {
                // SAFETY: RAM of the domain, of which Rust code has no references.
                unsafe { memory::copy_to_guest(to, &rest[..len]) };
            })?;
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

    /// Calls `copy` with where `at` is mapped, while it stays this domain's. It reaches to
    /// the end of its frame.
    #[inline]
    fn reach(
        &self,
        at: GuestPhysAddr,
        rights: Rights,
        copy: impl FnOnce(*mut u8),
    ) -> Result<(), AccessError> {
        if self.is_here() {
            let address = self.local().address(at, rights == Rights::ReadWrite);
            copy(address.ok_or(AccessError::NotMapped)?);
            return Ok(());
        }
        // At most a page is copied with the lock held: a reference would take a record
        // of its own for each frame.
        let _tables = self.tables.lock();
        let address = self.walk(at, rights).ok_or(AccessError::NotMapped)?;
        copy(memory::phys_to_virt(address.get()));
        Ok(())
    }

    /// Where RAM at `at` lies in the machine.
    fn walk(&self, at: GuestPhysAddr, rights: Rights) -> Option<HostPhysAddr> {
        let page = self.ept.lookup(&Walk, at.gfn()).page()?;
        if page.kind != PageType::Ram || !page.rights.contains(rights) {
            return None;
        }
        page.mfn.start().checked_add(at.page_offset())
    }
}

impl Drop for Confines {
    /// No vcpu refers to them any more. A CPU may still remember the tree, but meets
    /// its root's frame again only after INVEPT, by `Pcpus::new`.
    fn drop(&mut self) {
        let (owner, identity) = (self.owner, self.is_identity());
        let mut tables = self.tables.lock();
        let mut teardown = tables.teardown.take();
        let released = mem::take(&mut tables.released);
        drop(tables);
        while let Some(mut part) = teardown.or_else(|| self.ept.cut(&mut Unused)) {
            let (_ram, _done) = take_down(&mut part, usize::MAX, owner, identity);
            teardown = None;
        }
        released.into_iter().for_each(|table| Unused.release(table));
        self.ept.release(&mut Unused);
    }
}

/// Takes down a part of a tree that no CPU walks any more. Returns how many frames
/// of RAM stood there.
fn take_down(teardown: &mut Teardown, budget: usize, owner: DomId, keeps_ram: bool) -> (u64, Progress) {
    let mut ram = 0;
    let progress = teardown.step(&mut Unused, budget, &mut |mapping: Mapping| {
        if mapping.page.kind == PageType::Ram {
            ram += mapping.order.frames();
            if keeps_ram {
                return;
            }
        }
        shootdown::give_back(mapping, owner);
    });
    (ram, progress)
}

/// What stood where something was mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vacated {
    /// Nothing.
    Nothing,
    /// A frame of the domain's RAM.
    Ram,
    /// Something else.
    Other,
}

/// The EPT of the vcpu that was loaded before; 0 for none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outer(u64);

/// Memory of the domain whose vcpu is loaded on this pcpu, reached without a lock.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    confines: &'a Confines,
    /// It is this pcpu's.
    _pinned: PhantomData<*mut ()>,
}

impl Local<'_> {
    /// Where `at` is mapped, if it is RAM that may be read, or written. The answer is
    /// good until this pcpu answers others or unloads the vcpu.
    #[inline]
    fn address(self, at: GuestPhysAddr, write: bool) -> Option<*mut u8> {
        if !self.confines.is_here() {
            return None;
        }
        self.address_now(self.confines.stamp.load(Ordering::Acquire), at, write)
    }

    /// As [`Local::address`], for a caller who has just seen that the vcpu is loaded here, and
    /// the p2m's `stamp`.
    #[inline]
    fn address_now(self, stamp: u64, at: GuestPhysAddr, write: bool) -> Option<*mut u8> {
        let frame = match percpu::this().p2m.find(stamp, at.gfn().get(), write) {
            Some(frame) => frame,
            None => self.look_up(stamp, at.gfn(), write)?,
        };
        // A frame is mapped at a multiple of its size.
        Some((frame | at.page_offset()) as *mut u8)
    }

    #[cold]
    fn look_up(self, stamp: u64, gfn: Gfn, write: bool) -> Option<u64> {
        let page = self.confines.ept.lookup(&Walk, gfn).page()?;
        let rights = if write { Rights::ReadWrite } else { Rights::Read };
        if page.kind != PageType::Ram || !page.rights.contains(rights) {
            return None;
        }
        Some(percpu::this().p2m.remember(stamp, gfn.get(), page.mfn, page.rights))
    }

    /// The 8 bytes at `at`, a multiple of 8, and where they are mapped; as [`Local::address_now`].
    #[inline]
    fn read_word_now(self, stamp: u64, at: GuestPhysAddr) -> Option<(*mut u8, u64)> {
        let from = self.address_now(stamp, at, false)?;
        // SAFETY: RAM of the domain; aligned, so in one frame.
        at.get().is_multiple_of(8).then(|| (from, unsafe { memory::read_guest_u64(from) }))
    }

    /// Copies what the guest's kernel reads, or fetches, from `from` on, in one page of its own.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotMapped`] if `walk` does not lead there, or it does not lie in one page.
    #[inline]
    pub fn read_by(
        self,
        walk: KernelWalk,
        from: GuestVirtAddr,
        to: &mut [u8],
        purpose: Purpose,
    ) -> Result<(), AccessError> {
        check_one_page(from, to.len())?;
        let from = self.kernel_address(walk, from, purpose).ok_or(AccessError::NotMapped)?;
        // SAFETY: as in `Confines::read`.
        unsafe { memory::copy_from_guest(from, to) };
        Ok(())
    }

    /// Copies `from` to what the guest's kernel writes from `to` on, in one page of its own.
    ///
    /// # Errors
    ///
    /// As [`Local::read_by`].
    #[inline]
    pub fn write_by(self, walk: KernelWalk, to: GuestVirtAddr, from: &[u8]) -> Result<(), AccessError> {
        check_one_page(to, from.len())?;
        let to = self.kernel_address(walk, to, Purpose::Write).ok_or(AccessError::NotMapped)?;
        // SAFETY: as in `Confines::write`.
        unsafe { memory::copy_to_guest(to, from) };
        Ok(())
    }

    /// Where what `walk` finds at `at` is mapped; as [`Local::address`].
    fn kernel_address(self, walk: KernelWalk, at: GuestVirtAddr, purpose: Purpose) -> Option<*mut u8> {
        let here = percpu::this();
        if here.ept().get() != self.confines.eptp.get() {
            return None;
        }
        let stamp = self.confines.stamp.load(Ordering::Acquire);
        // SAFETY: its vcpu is loaded here, as was just seen.
        let frame = match unsafe { here.walks.find(stamp, walk, at, purpose) } {
            Some(frame) => frame,
            None => self.find_kernel_page(stamp, walk, at, purpose)?,
        };
        Some((frame | at.page_offset()) as *mut u8)
    }

    #[cold]
    fn find_kernel_page(
        self,
        stamp: u64,
        walk: KernelWalk,
        at: GuestVirtAddr,
        purpose: Purpose,
    ) -> Option<u64> {
        let seen = walks::Seen::new(self, stamp);
        let found = walk.find(&seen, at, purpose)?;
        let first_byte = found.addr.gfn().start();
        let (frame, writable) = match self.address_now(stamp, first_byte, true) {
            Some(frame) => (frame as u64, found.writable),
            None if purpose == Purpose::Write => return None,
            None => (self.address_now(stamp, first_byte, false)? as u64, false),
        };
        let mut rights = if writable { walks::WRITABLE } else { 0 };
        rights |= if found.executable { walks::EXECUTABLE } else { 0 };
        percpu::this().walks.remember(stamp, walk, at, &seen, frame | rights);
        Some(frame)
    }

    /// Copies what lies in one frame from `at` on.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotMapped`], also if it does not lie in one frame.
    #[inline]
    pub fn read(self, at: GuestPhysAddr, to: &mut [u8]) -> Result<(), AccessError> {
        check_one_frame(at, to.len())?;
        let from = self.address(at, false).ok_or(AccessError::NotMapped)?;
        // SAFETY: as in `Confines::read`.
        unsafe { memory::copy_from_guest(from, to) };
        Ok(())
    }

    /// Copies `from` to what lies in one frame from `at` on.
    ///
    /// # Errors
    ///
    /// As [`Local::read`].
    #[inline]
    pub fn write(self, at: GuestPhysAddr, from: &[u8]) -> Result<(), AccessError> {
        check_one_frame(at, from.len())?;
        let to = self.address(at, true).ok_or(AccessError::NotMapped)?;
        // SAFETY: as in `Confines::write`.
        unsafe { memory::copy_to_guest(to, from) };
        Ok(())
    }

    /// Copies `len` bytes from byte `from` of `source` on to byte `at` of the RAM at `gfn`. `false`, and nothing is
    /// copied, if they do not lie in the frames.
    ///
    /// # Errors
    ///
    /// [`AccessError::NotMapped`] if no RAM that may be written stands there.
    pub fn copy_from_frame(
        self,
        gfn: Gfn,
        at: usize,
        source: &FrameRef,
        from: usize,
        len: usize,
    ) -> Result<bool, AccessError> {
        let to = self.address(gfn.start(), true).ok_or(AccessError::NotMapped)?;
        // SAFETY: RAM of the domain, which stays so as long as this pcpu does nothing else; to the other frame a
        // reference is held.
        Ok(unsafe { frames::copy_inside(source.start(), from, to, at, len) })
    }

    /// Copies `len` bytes from byte `from` of the RAM at `gfn` on to byte `at` of `target`; as
    /// [`Local::copy_from_frame`].
    ///
    /// # Errors
    ///
    /// [`AccessError::NotMapped`] if no RAM that may be read stands there.
    pub fn copy_to_frame(
        self,
        gfn: Gfn,
        from: usize,
        target: &FrameRef,
        at: usize,
        len: usize,
    ) -> Result<bool, AccessError> {
        let source = self.address(gfn.start(), false).ok_or(AccessError::NotMapped)?;
        // SAFETY: as above.
        Ok(unsafe { frames::copy_inside(source, from, target.start(), at, len) })
    }
}

#[inline]
fn check_one_page(at: GuestVirtAddr, len: usize) -> Result<(), AccessError> {
    let room = to_usize(PAGE_SIZE - at.page_offset());
    if len <= room { Ok(()) } else { Err(AccessError::NotMapped) }
}

#[inline]
fn check_one_frame(at: GuestPhysAddr, len: usize) -> Result<(), AccessError> {
    let room = to_usize(PAGE_SIZE - at.page_offset());
    if len <= room { Ok(()) } else { Err(AccessError::NotMapped) }
}

/// For walks of the guest's page tables.
impl GuestMemory for Local<'_> {
    #[inline]
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64> {
        let from = self.address(addr, false)?;
        // SAFETY: RAM of the domain; aligned, so in one frame.
        addr.get().is_multiple_of(8).then(|| unsafe { memory::read_guest_u64(from) })
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
