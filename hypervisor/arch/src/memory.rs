//! The hypervisor's address space.
//!
//! ```text
//!   0xffff_8000_0000_0000  direct map: physical address x at DIRECT_MAP + x, RAM
//!                          and firmware tables only; the image's code and
//!                          constants are read-only here too
//!   0xffff_c000_0000_0000  device registers, uncached
//!   0xffff_d000_0000_0000  stacks, one slot for each pcpu (see STACK_SLOT)
//!   0xffff_e000_0000_0000  heap
//!   0xffff_ffff_8000_0000  image: code R X, constants R, data R W
//! ```
//!
//! Nothing is both writable and executable, and nothing is mapped below. Frames
//! for tables come from a pool while there is no allocator, and until then are
//! reached by the boot code's identity map.

use core::arch::asm;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use alloc::vec::Vec;
use arrayvec::ArrayVec;
use hv_boot::{EARLY_IDENTITY_LIMIT, Image};
use hv_core::acpi::PhysMemory;
use hv_core::addr::{HostPhysAddr, Mfn, PAGE_LEN, PAGE_SIZE, PhysRange, to_usize};
use hv_core::boot_info::{BootInfo, MAX_MODULES, SymbolTable};
use hv_core::frame::{AddError, Frame, FrameTable, Order, OutOfFrames, Reach, Use};
use hv_core::id::{MAX_PCPUS, PcpuId};
use hv_core::memmap::{MemoryMap, RegionKind};
use hv_core::paging::{
    ENTRIES, Leaf, MapError, PageSize, PageTables, Rights, TableMemory, Window, tables_for,
};
use volatile::VolatilePtr;
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

use crate::cpu::Features;
use crate::frames::{self, OwnFrames};
use crate::sync::{Lock, Rank};

const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
const DEVICES: u64 = 0xffff_c000_0000_0000;
const STACKS: u64 = 0xffff_d000_0000_0000;
pub(crate) const HEAP: u64 = 0xffff_e000_0000_0000;

/// The direct map ends where the device window begins.
const DIRECT_MAP_LEN: u64 = DEVICES - DIRECT_MAP;
const LOW_MEMORY: PhysRange = range(0, 0xa_0000);
const BIOS_AREA: PhysRange = range(0xe_0000, 0x10_0000);
/// Registers of local APICs and the addresses of interrupt messages (SDM "Message
/// Address Register Format"), and where PCs have the first I/O APIC: Dom0 gets models
/// of both there, also if the hypervisor does not use these addresses.
const LOCAL_APICS: PhysRange = range(0xfee0_0000, 0xfef0_0000);
const IO_APIC: PhysRange = range(0xfec0_0000, 0xfec0_1000);
const FIRST_MIB: PhysRange = range(0, 0x10_0000);

const fn range(start: u64, end: u64) -> PhysRange {
    match PhysRange::new(start, end) {
        Some(range) => range,
        None => panic!("constant range runs backwards"),
    }
}

/// What [`init`] could not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryError {
    /// No room for page tables or for the frame table: bytes wanted.
    TooSmall(u64),
    /// RAM at or above this address, which cannot be reached.
    TooLarge(u64),
    /// There are no pages that forbid execution.
    NoExecute,
    /// A mapping failed.
    Map(MapError),
    /// The memory map overlaps itself.
    Add(AddError),
}

impl core::fmt::Display for MemoryError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooSmall(bytes) => write!(f, "too little memory: no {} KiB in one piece", bytes / 1024),
            Self::TooLarge(limit) => write!(f, "RAM past {} GiB, which cannot be reached", limit >> 30),
            Self::NoExecute => f.write_str(
                "no-execute pages: this CPU does not have them, or its firmware has switched them off (XD, NX)",
            ),
            Self::Map(error) => write!(f, "page tables: {error:?}"),
            Self::Add(error) => write!(f, "memory map: {error}"),
        }
    }
}

impl From<MapError> for MemoryError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

/// Address space of the running hypervisor.
struct Space {
    tables: Option<PageTables>,
    devices: Window,
}

static SPACE: Lock<Space> =
    Lock::new(Rank::PageTables, Space { tables: None, devices: Window::new(DEVICES, STACKS) });

/// What to add to a physical address to reach it: 0 under the boot code's
/// identity map, then [`DIRECT_MAP`].
static PHYS_TO_VIRT: AtomicU64 = AtomicU64::new(0);

/// Memory that is the hypervisor's own but not the allocator's.
const OWN_RANGES: usize = 4;
static OWN: Lock<ArrayVec<PhysRange, OWN_RANGES>> = Lock::new(Rank::Frames, ArrayVec::new_const());

/// Pieces of RAM that Dom0 may consist of at the most.
const MAX_DOM0_RANGES: usize = 32;

/// What became of memory.
#[derive(Debug)]
pub struct Layout {
    dom0: ArrayVec<PhysRange, MAX_DOM0_RANGES>,
    modules: Modules,
    symbols: Option<SymbolTable>,
}

type Modules = ArrayVec<PhysRange, MAX_MODULES>;

impl Layout {
    /// The image's symbols, moved out of the way.
    #[must_use]
    pub fn symbols(&self) -> Option<&SymbolTable> {
        self.symbols.as_ref()
    }

    /// Gives Dom0 its RAM, once, and what there is below 640 KiB: it is Dom0's in the
    /// frame table from now on. The ranges ascend.
    ///
    /// # Errors
    ///
    /// [`AddError::AlreadyAdded`] the second time.
    pub fn claim_dom0(&self, map: &MemoryMap) -> Result<Vec<PhysRange>, AddError> {
        let mut others = OWN.lock().clone().into_iter().collect::<Vec<_>>();
        others.extend(PhysRange::new(LOW_MEMORY.end(), HostPhysAddr::LIMIT));
        let ranges: Vec<_> = map.usable_minus(&others).chain(self.dom0.iter().copied()).collect();
        ranges.iter().try_for_each(|&range| frames::claim_for_dom0(range))?;
        Ok(ranges)
    }

    /// Dom0's RAM, at the addresses where Dom0 sees it, in ascending order.
    #[must_use]
    pub fn dom0(&self) -> &[PhysRange] {
        &self.dom0
    }

    /// The boot modules, moved out of the way.
    #[must_use]
    pub fn modules(&self) -> &[PhysRange] {
        &self.modules
    }
}

/// Builds the address space, switches to it and starts the frame allocator with
/// all RAM that nothing else uses. `dom0_bytes` of the lowest RAM become Dom0's;
/// the boot modules move to the highest. Once, on the boot CPU.
///
/// # Errors
///
/// See [`MemoryError`].
pub fn init(
    info: &BootInfo,
    map: &MemoryMap,
    features: &Features,
    dom0_bytes: u64,
) -> Result<Layout, MemoryError> {
    if !features.nx {
        return Err(MemoryError::NoExecute);
    }
    let mut reserved = reservations(info);
    let highest = map.highest_ram_frame().ok_or(MemoryError::TooSmall(0))?.get() + 1;
    let limit = DIRECT_MAP_LEN
        .min(FrameTable::LIMIT)
        .min(1_u64.checked_shl(features.phys_bits.into()).unwrap_or(u64::MAX));
    if highest * PAGE_SIZE > limit {
        return Err(MemoryError::TooLarge(limit));
    }

    let pool_len = table_pool_len(map, &hv_boot::image(), features);
    let find = |len, below, reserved: &[PhysRange]| {
        map.find_free(len, PAGE_SIZE, below, reserved).ok_or(MemoryError::TooSmall(len))
    };
    let pool = find(pool_len, EARLY_IDENTITY_LIMIT, &reserved)?;
    reserved.push(pool);
    let tables = build(map, &hv_boot::image(), pool, features)?;
    // SAFETY: the new tables map code, data and stack of the image where they
    // are now; `info` is in the image. Nothing else is referred to.
    unsafe { activate(tables) };
    SPACE.lock().tables = Some(tables);

    let table_len = FrameTable::bytes_for(highest).ok_or(MemoryError::TooLarge(limit))?;
    let table = find(table_len, u64::MAX, &reserved)?.round_out();
    reserved.push(table);
    OWN.lock().extend([info.image, pool, table]);
    // SAFETY: free memory found above, now on the list of reservations.
    let frames = unsafe { frame_table(table, highest) };

    let (modules, symbols) = Mover { map, reserved: &mut reserved }.copy_all(info)?;
    let dom0 = lowest(map.usable_minus(&reserved), dom0_bytes);
    let taken: ArrayVec<_, { MAX_RESERVATIONS + MAX_DOM0_RANGES }> =
        reserved.iter().chain(&dom0).copied().collect();
    frames::init(frames, map.usable_minus(&taken)).map_err(MemoryError::Add)?;
    Ok(Layout { dom0, modules, symbols })
}

/// Copies what the loader left to the highest free RAM, so that low memory, where
/// kernels want to be loaded, is free. The old places are no longer `reserved`.
struct Mover<'a> {
    map: &'a MemoryMap,
    reserved: &'a mut Reservations,
}

impl Mover<'_> {
    /// Copies the bytes of `from`; returns where they are now.
    fn copy(&mut self, from: PhysRange) -> Result<PhysRange, MemoryError> {
        let len = from.len();
        let place = self.map.find_free(len.max(1), PAGE_SIZE, u64::MAX, self.reserved);
        let to = place.ok_or(MemoryError::TooSmall(len))?;
        // SAFETY: the loader's bytes, which nobody changes, in the direct map.
        let bytes = unsafe { core::slice::from_raw_parts(phys_to_virt(from.start()), to_usize(len)) };
        // SAFETY: free RAM, which overlaps nothing in use.
        unsafe { write_physical(to.start(), bytes) };
        self.reserved.push(to);
        PhysRange::from_len(to.start(), len).ok_or(MemoryError::TooSmall(len))
    }

    fn copy_all(mut self, info: &BootInfo) -> Result<(Modules, Option<SymbolTable>), MemoryError> {
        let modules: Result<_, _> = info.modules.iter().map(|module| self.copy(module.range)).collect();
        let symbols = match &info.symbols {
            Some(table) => {
                let (symbols, strings) = (self.copy(table.symbols)?, self.copy(table.strings)?);
                Some(SymbolTable { symbols, strings })
            }
            None => None,
        };
        let old = |range: &PhysRange| {
            let symbols = info.symbols.iter().flat_map(|table| [table.symbols, table.strings]);
            info.modules.iter().map(|module| module.range).chain(symbols).any(|old| old == *range)
        };
        self.reserved.retain(|range| !old(range));
        Ok((modules?, symbols))
    }
}

/// The first `bytes` of `ranges`.
fn lowest(ranges: impl Iterator<Item = PhysRange>, bytes: u64) -> ArrayVec<PhysRange, MAX_DOM0_RANGES> {
    let mut left = bytes & !(PAGE_SIZE - 1);
    let taken = ranges.map_while(|range| {
        let len = range.len().min(left);
        left -= len;
        PhysRange::from_len(range.start(), len).filter(|range| !range.is_empty())
    });
    taken.take(MAX_DOM0_RANGES).collect()
}

/// Most reservations: modules and symbols before and after they are moved, and what
/// [`init`] itself needs.
const MAX_RESERVATIONS: usize = 2 * MAX_MODULES + 8;
type Reservations = ArrayVec<PhysRange, MAX_RESERVATIONS>;

/// Everything in RAM that is in use now or that the loader left for us.
fn reservations(info: &BootInfo) -> Reservations {
    let mut reserved = ArrayVec::new();
    reserved.push(FIRST_MIB);
    reserved.push(info.image);
    reserved.extend(info.modules.iter().map(|module| module.range));
    if let Some(symbols) = &info.symbols {
        reserved.extend([symbols.symbols, symbols.strings]);
    }
    reserved
}

/// Bytes of tables that [`build`] may need.
fn table_pool_len(map: &MemoryMap, image: &Image, features: &Features) -> u64 {
    // The image's three segments, whose places in a 2-MiB page may differ.
    let of_image = 8 + (image.phys().len() >> 20);
    let direct = tables_for(direct_map(map, image).map(|(piece, _)| piece), largest_page(features));
    (of_image + direct) * PAGE_SIZE
}

fn largest_page(features: &Features) -> PageSize {
    if features.page_1g { PageSize::Size1G } else { PageSize::Size2M }
}

/// Tables reached at `offset` + physical address, growing by `next`.
struct Tables<F> {
    offset: u64,
    next: F,
}

impl<F> Tables<F> {
    fn entry(&self, table: Mfn, index: usize) -> &AtomicU64 {
        debug_assert!(index < ENTRIES);
        let entry = (self.offset + table.start().get() + 8 * index as u64) as *mut u64;
        // SAFETY: an aligned word of a frame that this module allocated as a table,
        // reachable at the offset. Atomic, since the CPU sets accessed and dirty
        // bits and other pcpus may read.
        unsafe { AtomicU64::from_ptr(entry) }
    }
}

impl<F: FnMut() -> Option<Mfn>> TableMemory for Tables<F> {
    fn read(&self, table: Mfn, index: usize) -> u64 {
        self.entry(table, index).load(Ordering::Acquire)
    }

    fn write(&mut self, table: Mfn, index: usize, entry: u64) {
        // Release: a table is zeroed before an entry leads to it.
        self.entry(table, index).store(entry, Ordering::Release);
    }

    fn allocate(&mut self) -> Option<Mfn> {
        (self.next)()
    }
}

fn build(
    map: &MemoryMap,
    image: &Image,
    pool: PhysRange,
    features: &Features,
) -> Result<PageTables, MemoryError> {
    let mut frames = (pool.start()..pool.end()).step_by(PAGE_LEN);
    let next = || {
        let frame = PhysRange::from_len(frames.next()?, PAGE_SIZE)?;
        // SAFETY: an unused frame of the pool, below the identity map's limit.
        unsafe { zero(frame) };
        HostPhysAddr::new(frame.start()).map(HostPhysAddr::mfn)
    };
    let mut memory = Tables { offset: 0, next };
    let root = memory.allocate().ok_or(MapError::OutOfFrames)?;
    let tables = PageTables::new(root, largest_page(features));

    let mut map_image = |start, end, rights| {
        tables.map(&mut memory, start, image.phys_of(start, end), rights | Rights::GLOBAL)
    };
    map_image(image.start, image.text_end, Rights::EXECUTE)?;
    map_image(image.text_end, image.rodata_end, Rights::empty())?;
    map_image(image.rodata_end, image.end, Rights::WRITE)?;

    for (piece, rights) in direct_map(map, image) {
        tables.map(&mut memory, DIRECT_MAP + piece.start(), piece, rights | Rights::GLOBAL)?;
    }
    Ok(tables)
}

/// What the direct map holds, and what may be done there.
fn direct_map(map: &MemoryMap, image: &Image) -> impl Iterator<Item = (PhysRange, Rights)> {
    let constants = image.phys_of(image.start, image.rodata_end);
    direct_map_regions(map).flat_map(move |region| around(region, constants))
}

/// RAM, firmware tables, and what the firmware keeps in the first megabyte.
fn direct_map_regions(map: &MemoryMap) -> impl Iterator<Item = PhysRange> {
    let memory = |kind| matches!(kind, RegionKind::Ram | RegionKind::AcpiReclaimable | RegionKind::AcpiNvs);
    let high = map.iter().filter(move |region| memory(region.kind)).filter_map(|region| {
        let range = region.range.round_in();
        PhysRange::new(range.start().max(FIRST_MIB.end()), range.end().min(DIRECT_MAP_LEN))
    });
    [LOW_MEMORY, BIOS_AREA].into_iter().chain(high)
}

/// `region` in pieces: read-only where it is in `constants`, else writable.
fn around(region: PhysRange, constants: PhysRange) -> impl Iterator<Item = (PhysRange, Rights)> {
    let clip = |start: u64, end: u64| PhysRange::new(start.max(region.start()), end.min(region.end()));
    [
        (clip(0, constants.start()), Rights::WRITE),
        (clip(constants.start(), constants.end()), Rights::empty()),
        (clip(constants.end(), u64::MAX), Rights::WRITE),
    ]
    .into_iter()
    .filter_map(|(piece, rights)| Some((piece?, rights)))
    .filter(|(piece, _)| !piece.is_empty())
}

/// # Safety
///
/// `tables` map everything that is in use at its present address.
unsafe fn activate(tables: PageTables) {
    // SAFETY: by the caller.
    unsafe { load_cr3(tables.root()) };
    PHYS_TO_VIRT.store(DIRECT_MAP, Ordering::Release);
}

/// # Safety
///
/// The PML4 in `root` maps everything that is in use at its present address.
unsafe fn load_cr3(root: Mfn) {
    let frame = PhysFrame::containing_address(PhysAddr::new_truncate(root.start().get()));
    // SAFETY: by the caller.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
}

/// Makes this CPU, which came from the trampoline, use the hypervisor's tables.
pub(crate) fn activate_here() {
    if let Some(tables) = SPACE.lock().tables {
        // SAFETY: they map what every pcpu uses at this point: the image, its
        // area on the heap and its stack.
        unsafe { load_cr3(tables.root()) };
    }
}

/// # Safety
///
/// `range` is RAM that nothing else uses, for ever.
unsafe fn frame_table(range: PhysRange, frames: u64) -> &'static [Frame] {
    // SAFETY: by the caller.
    unsafe { zero(range) };
    let start = phys_to_virt(range.start()).cast::<Frame>();
    // SAFETY: zeroed memory of that length, aligned to a page; zero bytes are a
    // valid record; only shared references exist from here on.
    unsafe { core::slice::from_raw_parts(start, to_usize(frames)) }
}

pub(crate) fn phys_to_virt(phys: u64) -> *mut u8 {
    (PHYS_TO_VIRT.load(Ordering::Relaxed) + phys) as *mut u8
}

/// Fills `range` with zeros.
///
/// # Safety
///
/// `range` is RAM in the direct map (or, before [`init`], below the identity
/// map's limit), and the caller's alone.
pub(crate) unsafe fn zero(range: PhysRange) {
    // SAFETY: by the caller.
    unsafe { phys_to_virt(range.start()).write_bytes(0, to_usize(range.len())) };
}

/// Copies `bytes` to physical address `to`.
///
/// # Safety
///
/// The destination is RAM in the direct map, and the caller's alone.
pub(crate) unsafe fn write_physical(to: u64, bytes: &[u8]) {
    // SAFETY: by the caller.
    unsafe { phys_to_virt(to).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}

/// Entry `index` of a paging structure of a domain.
pub(crate) fn read_table(table: Mfn, index: usize) -> u64 {
    debug_assert!(index < ENTRIES);
    let entry = phys_to_virt(table.start().get() + 8 * index as u64).cast::<AtomicU64>();
    // SAFETY: a table's frame is in the direct map for ever; reading any RAM as an
    // atomic word is harmless.
    unsafe { &*entry }.load(Ordering::Acquire)
}

/// Writes that entry, at once for all who look.
///
/// # Safety
///
/// `table` is a frame that was allocated as a table, and the caller may change it.
pub(crate) unsafe fn write_table(table: Mfn, index: usize, entry: u64) {
    debug_assert!(index < ENTRIES);
    let word = phys_to_virt(table.start().get() + 8 * index as u64).cast::<AtomicU64>();
    // SAFETY: by the caller; the CPU reads and sets flags at the same time.
    unsafe { &*word }.store(entry, Ordering::Release);
}

/// Copies bytes of a guest, which may change while they are read.
///
/// # Safety
///
/// `from` leads to that many bytes of RAM of a domain, in the direct map.
#[inline]
pub(crate) unsafe fn copy_from_guest(from: *const u8, to: &mut [u8]) {
    // SAFETY: by the caller; a slice is the callee's alone.
    unsafe { copy_guest(from, to.as_mut_ptr(), to.len()) };
}

/// # Safety
///
/// Both places have `len` bytes; one of them may be a guest's, which changes it meanwhile:
/// the instructions make no assumption about what they read.
#[inline]
unsafe fn copy_guest(from: *const u8, to: *mut u8, len: usize) {
    if len == size_of::<u32>() {
        // SAFETY: by the caller.
        unsafe {
            asm!("mov {word:e}, [{from}]", "mov [{to}], {word:e}", word = out(reg) _, from = in(reg) from,
                 to = in(reg) to, options(nostack, preserves_flags));
        }
        return;
    }
    // SAFETY: by the caller. Words first, then the bytes that are left; the address registers
    // stand behind what was copied.
    unsafe {
        asm!("rep movsq", "mov rcx, {rest}", "rep movsb", rest = in(reg) len % 8,
             inout("rsi") from => _, inout("rdi") to => _, inout("rcx") len / 8 => _,
             options(nostack, preserves_flags));
    }
}

/// Reads a word of a guest at once.
///
/// # Safety
///
/// `from` is a multiple of 8 and leads to RAM of a domain, in the direct map.
#[inline]
pub(crate) unsafe fn read_guest_u64(from: *const u8) -> u64 {
    let word = from.cast::<AtomicU64>();
    // SAFETY: by the caller; the guest may write it at the same time.
    unsafe { &*word }.load(Ordering::Relaxed)
}

/// Copies bytes to a guest, which may read and write them meanwhile.
///
/// # Safety
///
/// As for [`copy_from_guest`].
#[inline]
pub(crate) unsafe fn copy_to_guest(to: *mut u8, from: &[u8]) {
    // SAFETY: by the caller; nobody writes a slice.
    unsafe { copy_guest(from.as_ptr(), to, from.len()) };
}

/// Copies `len` bytes of a guest to the same or another guest, by words of 64 bits first.
///
/// # Safety
///
/// `from` and `to` lead to that many bytes of RAM of domains, in the direct map.
pub(crate) unsafe fn copy_between_guests(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: by the caller; as above.
    unsafe {
        asm!("rep movsq", "mov rcx, {rest}", "rep movsb", rest = in(reg) len % 8,
             inout("rsi") from => _, inout("rdi") to => _, inout("rcx") len / 8 => _,
             options(nostack, preserves_flags));
    }
}

/// Writes `len` bytes from physical address `at` on back to memory, and lets caches forget them. What is RAM
/// nowhere is left alone by whoever calls.
///
/// # Safety
///
/// They are RAM in the direct map.
pub(crate) unsafe fn flush_cache(at: u64, len: u64) {
    /// The least that any CPU with VT-x flushes at once.
    const LINE: u64 = 64;
    for line in (at & !(LINE - 1)..at + len).step_by(to_usize(LINE)) {
        let line = phys_to_virt(line);
        // SAFETY: by the caller; no data changes (SDM "CLFLUSH").
        unsafe { asm!("clflush [{}]", in(reg) line, options(nostack, preserves_flags)) };
    }
}

/// Whether Dom0 may have these physical addresses: neither the allocator's RAM
/// nor the hypervisor's own, nor a device that it drives.
pub(crate) fn may_pass_through(range: PhysRange) -> bool {
    frames::is_reserved(range) && !exceptions().iter().any(|own| own.overlaps(range))
}

/// Memory and devices of the hypervisor's own.
fn exceptions() -> ArrayVec<PhysRange, { OWN_RANGES + DRIVEN_RANGES + 2 }> {
    let mut all: ArrayVec<_, _> = OWN.lock().iter().copied().collect();
    all.extend(DRIVEN.lock().iter().copied());
    all.extend([LOCAL_APICS, IO_APIC]);
    all
}

/// `range` without memory and devices of the hypervisor's own, in ascending order.
#[must_use]
pub fn passable(range: PhysRange) -> Vec<PhysRange> {
    let mut own = exceptions();
    own.sort_unstable_by_key(|own| own.start());
    let (mut next, mut pieces) = (range.start(), Vec::new());
    for own in own.iter().map(|own| own.round_out()).filter(|own| own.overlaps(range)) {
        pieces.extend(PhysRange::new(next, own.start()).filter(|piece| !piece.is_empty()));
        next = next.max(own.end());
    }
    pieces.extend(PhysRange::new(next, range.end()).filter(|piece| !piece.is_empty()));
    pieces
}

/// Keeps a page of RAM that the allocator never had for the hypervisor.
pub(crate) fn keep(page: PhysRange) {
    let kept = OWN.lock().try_push(page);
    debug_assert!(kept.is_ok());
}

fn live_tables() -> Tables<impl FnMut() -> Option<Mfn>> {
    let next = || Some(OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::PageTable).ok()?.leak());
    Tables { offset: DIRECT_MAP, next }
}

fn map(virt: u64, phys: PhysRange, rights: Rights) -> Result<(), MapError> {
    let tables = SPACE.lock();
    let tables = tables.tables.ok_or(MapError::OutOfFrames)?;
    tables.map(&mut live_tables(), virt, phys, rights | Rights::GLOBAL)
}

/// Maps fresh frames, all zero, at `virt`.
pub(crate) fn map_fresh(virt: u64, order: Order, purpose: Use) -> Result<(), OutOfFrames> {
    let frames = OwnFrames::allocate(order, Reach::Anywhere, purpose)?;
    // Leaked even if part of it could not be mapped: the other part may be in use.
    let range = frames.range();
    frames.leak();
    map(virt, range, Rights::WRITE).map_err(|_| OutOfFrames { unscrubbed: 0 })
}

/// Device registers, mapped uncached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceMemory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is the same on every pcpu and stays for ever; its users
// order their accesses by locks of their own.
unsafe impl Send for DeviceMemory {}

impl DeviceMemory {
    /// The register of type `T` at byte `offset`.
    ///
    /// # Panics
    ///
    /// If it is not inside the device, or not aligned.
    pub(crate) fn register<T: Copy>(&self, offset: usize) -> VolatilePtr<'_, T> {
        assert!(self.start.addr().get().wrapping_add(offset).is_multiple_of(align_of::<T>()));
        assert!(offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len));
        // SAFETY: inside the mapping by the check.
        let register = unsafe { self.start.add(offset) }.cast::<T>();
        // SAFETY: mapped for ever, aligned, and only accessed through such pointers.
        unsafe { VolatilePtr::new(register) }
    }

    /// The first byte, for code that keeps its own kind of access.
    pub(crate) fn leak(self) -> *mut u8 {
        self.start.as_ptr()
    }
}

/// Registers that the hypervisor drives itself.
const DRIVEN_RANGES: usize = 64;
static DRIVEN: Lock<ArrayVec<PhysRange, DRIVEN_RANGES>> = Lock::new(Rank::Frames, ArrayVec::new_const());

/// Maps device registers, whose first must be at a multiple of `align`. `None`
/// also if the hypervisor's or the domains' RAM is said to be there.
///
/// # Safety
///
/// `phys` holds nothing but registers of a device that the caller drives.
pub(crate) unsafe fn map_device(phys: PhysRange, align: u64) -> Option<DeviceMemory> {
    // SAFETY: by the caller.
    let device = unsafe { map_shared_device(phys, align) }?;
    DRIVEN.lock().try_push(phys.round_out()).ok()?;
    Some(device)
}

/// As [`map_device`], but Dom0 may use the device as well.
///
/// # Safety
///
/// As for [`map_device`], and nothing depends on what Dom0 does with it.
pub(crate) unsafe fn map_shared_device(phys: PhysRange, align: u64) -> Option<DeviceMemory> {
    if !phys.start().is_multiple_of(align) || is_in_use(phys) {
        return None;
    }
    let pages = phys.round_out();
    let virt = SPACE.lock().devices.take(pages)?;
    map(virt, pages, Rights::WRITE | Rights::UNCACHED).ok()?;
    let start = (virt + (phys.start() - pages.start())) as *mut u8;
    Some(DeviceMemory { start: NonNull::new(start)?, len: to_usize(phys.len()) })
}

/// Whether any byte of `range` is the hypervisor's own or the allocator's.
fn is_in_use(range: PhysRange) -> bool {
    OWN.lock().iter().any(|own| own.overlaps(range)) || !frames::is_reserved(range)
}

/// Memory that firmware or loader filled and nobody changes: tables, modules,
/// symbols.
#[derive(Clone, Copy, Debug)]
pub struct FirmwareMemory;

impl FirmwareMemory {
    /// The bytes of `range`, or `None` if any of them is the hypervisor's or a
    /// domain's, or cannot be mapped.
    #[must_use]
    pub fn bytes(range: PhysRange) -> Option<&'static [u8]> {
        if range.is_empty() || range.end() > DIRECT_MAP_LEN || is_in_use(range) {
            return None;
        }
        let pages = range.round_out();
        for page in (pages.start()..pages.end()).step_by(PAGE_LEN) {
            Self::ensure_mapped(page)?;
        }
        // SAFETY: mapped just now or before; not the allocator's and not ours, so
        // nobody writes it (pcpus start from a page that only `smp` looks at).
        Some(unsafe { core::slice::from_raw_parts(phys_to_virt(range.start()), to_usize(range.len())) })
    }

    fn ensure_mapped(page: u64) -> Option<()> {
        match map(DIRECT_MAP + page, PhysRange::from_len(page, PAGE_SIZE)?, Rights::empty()) {
            Ok(()) | Err(MapError::AlreadyMapped) => Some(()),
            Err(_) => None,
        }
    }
}

impl PhysMemory for FirmwareMemory {
    fn read(&self, addr: HostPhysAddr, len: usize) -> Option<&[u8]> {
        Self::bytes(PhysRange::from_len(addr.get(), len as u64)?)
    }
}

/// Page tables for CPUs on their way from the trampoline: one identity-mapped
/// page of code, and the hypervisor. Not to be dropped while a CPU uses them.
pub(crate) struct TrampolineTables {
    frames: ArrayVec<OwnFrames, 4>,
}

impl TrampolineTables {
    pub(crate) fn new(page: PhysRange) -> Result<Self, MapError> {
        let mut frames = ArrayVec::<OwnFrames, 4>::new();
        let mut allocate = || {
            let frame = OwnFrames::allocate(Order::FRAME, Reach::Below4Gib, Use::PageTable).ok()?;
            let mfn = frame.mfn();
            frames.try_push(frame).ok()?;
            Some(mfn)
        };
        let root = allocate().ok_or(MapError::OutOfFrames)?;
        let mut memory = Tables { offset: DIRECT_MAP, next: allocate };
        PageTables::new(root, PageSize::Size4K).map(&mut memory, page.start(), page, Rights::EXECUTE)?;
        let hypervisor = SPACE.lock().tables.ok_or(MapError::OutOfFrames)?;
        for index in ENTRIES / 2..ENTRIES {
            let entry = memory.read(hypervisor.root(), index);
            memory.write(root, index, entry);
        }
        Ok(Self { frames })
    }

    /// Physical address of the PML4, below 4 GiB.
    pub(crate) fn cr3(&self) -> u64 {
        self.frames.first().map_or(0, |root| root.mfn().start().get())
    }
}

/// Calls `visit` for every page that the hypervisor has mapped. What is mapped
/// meanwhile may be among them or not.
pub fn for_each_mapping(visit: &mut impl FnMut(Leaf)) {
    // Not locked while visiting, so that `visit` may allocate: tables are never
    // taken away.
    let tables = SPACE.lock().tables;
    if let Some(tables) = tables {
        tables.for_each(&live_tables(), visit);
    }
}

/// The page that `address` is in, if it is mapped.
#[must_use]
pub fn mapping(address: u64) -> Option<Leaf> {
    let tables = SPACE.lock().tables;
    tables?.lookup(&live_tables(), address)
}

/// Where the image's code and constants lie: what nothing may write.
#[must_use]
pub fn constants() -> PhysRange {
    let image = hv_boot::image();
    image.phys_of(image.start, image.rodata_end)
}

/// Stacks of one pcpu, from low to high addresses, each with an unmapped guard
/// below: the main one, then one for each entry of the interrupt stack table.
///
/// ```text
///   slot + 0x00000  guard   0x04000..0x10000 main (48 KiB)
///          0x10000  guard   0x14000..0x18000 NMI          (16 KiB each)
///          0x18000  guard   0x1c000..0x20000 double fault
///          0x20000  guard   0x24000..0x28000 machine check
/// ```
const STACK_SLOT: u64 = 0x40000;
const STACK_LAYOUT: [(u64, u64); 4] =
    [(0x4000, 0x10000), (0x14000, 0x18000), (0x1c000, 0x20000), (0x24000, 0x28000)];

/// Where the stacks of `pcpu` are, each above its guard page.
#[must_use]
pub fn stacks(pcpu: PcpuId) -> [Range<u64>; 4] {
    let slot = STACKS + pcpu.index() as u64 * STACK_SLOT;
    STACK_LAYOUT.map(|(start, end)| slot + start..slot + end)
}

/// Maps the stacks of `pcpu`; returns one past the highest byte of each.
pub(crate) fn map_stacks(pcpu: PcpuId) -> Result<[u64; 4], OutOfFrames> {
    let stacks = stacks(pcpu);
    for stack in &stacks {
        let step = PAGE_SIZE << 2;
        for start in stack.clone().step_by(to_usize(step)) {
            let order = Order::covering(step / PAGE_SIZE).ok_or(OutOfFrames { unscrubbed: 0 })?;
            map_fresh(start, order, Use::Pcpu)?;
        }
    }
    Ok(stacks.map(|stack| stack.end))
}

/// The stack that holds `address`: the first byte after it. Boot stack included.
pub(crate) fn stack_end(address: u64) -> Option<u64> {
    let boot = hv_boot::boot_stacks();
    if boot.contains(&address) {
        return Some(boot.end);
    }
    let offset = address.checked_sub(STACKS).filter(|&o| o < MAX_PCPUS as u64 * STACK_SLOT)?;
    let (slot, inside) = (offset / STACK_SLOT, offset % STACK_SLOT);
    let stack = STACK_LAYOUT.into_iter().find(|&(start, end)| (start..end).contains(&inside))?;
    Some(STACKS + slot * STACK_SLOT + stack.1)
}

/// Whether `address` is in a guard below a stack, so that a fault there means
/// that the stack was too small.
#[must_use]
pub fn is_stack_guard(address: u64) -> bool {
    (STACKS..STACKS + MAX_PCPUS as u64 * STACK_SLOT).contains(&address) && stack_end(address).is_none()
}
