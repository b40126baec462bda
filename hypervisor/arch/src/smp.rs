//! Starting the other CPUs (SDM "Multiple-Processor (MP) Initialization").
//!
//! ```text
//!   boot CPU   INIT to all ── 10 ms (the clock is measured) ── SIPI to all
//!                                              └ 200 us ── SIPI to those missing
//!   another    trampoline (hv-boot) ── ap_start ── own tables, stack, APIC ── main
//! ```

use core::hint;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use alloc::boxed::Box;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use hv_boot::trampoline::{self, Parameters};
use hv_core::acpi::ApicId;
use hv_core::addr::{PAGE_SIZE, PhysRange};
use hv_core::boot_info::{BootInfo, MAX_MODULES};
use hv_core::frame::OutOfFrames;
use hv_core::id::{MAX_PCPUS, PcpuId};
use hv_core::memmap::MemoryMap;
use hv_core::paging::MapError;
use hv_core::pcpu_set::{AtomicPcpuSet, PcpuSet};
use spin::Once;
use x86_64::VirtAddr;

use crate::cpu::{self, Features};
use crate::descriptors::Ist;
use crate::memory::{self, TrampolineTables};
use crate::percpu::{self, Pcpu};
use crate::time::{self, Reference};
use crate::{apic, msr};

/// How long a CPU may take from SIPI to [`ap_start`].
const ARRIVAL_US: u64 = 100_000;
/// Not an APIC id: the pcpu is not online.
const OFFLINE: u32 = u32::MAX;
/// Nor is this: the pcpu is too late and must not come online any more.
const LEFT_OUT: u32 = apic::LARGEST_X2APIC_ID + 1;

/// Areas by pcpu number, for [`ap_start`].
static AREAS: [AtomicPtr<Pcpu>; MAX_PCPUS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_PCPUS];
/// APIC ids of online pcpus.
static ONLINE: [AtomicU32; MAX_PCPUS] = [const { AtomicU32::new(OFFLINE) }; MAX_PCPUS];
/// The pcpus that are online.
static ONLINE_SET: AtomicPcpuSet = AtomicPcpuSet::new(PcpuSet::NONE);
/// Where pcpus other than the boot CPU go on.
static MAIN: Once<fn() -> !> = Once::new();

/// Why no other CPU was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// No page below 640 KiB for the first instructions.
    NoLowMemory,
    /// No frames for stacks or tables.
    OutOfMemory,
}

impl core::fmt::Display for StartError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoLowMemory => "no free page below 640 KiB to start other CPUs from",
            Self::OutOfMemory => "out of memory for the other CPUs' stacks",
        })
    }
}

impl From<OutOfFrames> for StartError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfMemory
    }
}

impl From<MapError> for StartError {
    fn from(_: MapError) -> Self {
        Self::OutOfMemory
    }
}

/// Area of the boot CPU: there is no heap yet when it is installed.
struct BootArea(Pcpu);

// SAFETY: only the boot CPU ever refers to it.
unsafe impl Sync for BootArea {}

/// Gives the boot CPU its area, descriptor tables and protections.
///
/// # Safety
///
/// Called once, on the boot CPU, before anything else of this crate.
pub(crate) unsafe fn install_boot_cpu() {
    static AREA: BootArea = BootArea(Pcpu::new(PcpuId::BOOT, ApicId::new(0)));
    // One stack for whatever happens before there are others.
    for ist in Ist::ALL {
        AREA.0.descriptors.set_ist(ist, VirtAddr::new_truncate(hv_boot::boot_stacks().end));
    }
    // SAFETY: by the caller.
    let features = unsafe { install(&AREA.0) };
    cpu::remember(&features);
}

/// # Safety
///
/// Called once on each CPU, before anything else of this crate there.
unsafe fn install(area: &'static Pcpu) -> Features {
    // SAFETY: by the caller.
    unsafe { percpu::install(area) };
    // SAFETY: by the caller.
    unsafe { area.descriptors.load() };
    let features = cpu::features();
    cpu::protect(&features);
    msr::set_page_attributes();
    features
}

/// Leaves the boot stack for the boot CPU's own, with guard and interrupt
/// stacks, and goes on at `main`.
///
/// # Errors
///
/// [`OutOfFrames`], still on the old stack.
pub fn leave_boot_stack(main: fn() -> !) -> Result<core::convert::Infallible, OutOfFrames> {
    let stack = install_stacks(percpu::this())?;
    // SAFETY: a fresh stack that nothing else uses.
    unsafe { switch_stack(stack, main) }
}

fn install_stacks(area: &Pcpu) -> Result<u64, OutOfFrames> {
    let [main, interrupts @ ..] = memory::map_stacks(area.id())?;
    for (ist, top) in Ist::ALL.into_iter().zip(interrupts) {
        area.descriptors.set_ist(ist, VirtAddr::new_truncate(top));
    }
    Ok(main)
}

/// # Safety
///
/// `top` is one past the highest byte of a mapped, unused stack.
unsafe fn switch_stack(top: u64, main: fn() -> !) -> ! {
    // SAFETY: by the caller. The zero frame pointer ends back traces.
    unsafe {
        core::arch::asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {main}",
            "ud2",
            top = in(reg) top,
            main = in(reg) main,
            options(noreturn),
        )
    }
}

/// Counts the boot CPU as online, under the APIC id that it has.
pub fn boot_cpu_online() {
    ONLINE[0].store(percpu::this().apic_id().get(), Ordering::Release);
    ONLINE_SET.insert(PcpuId::BOOT);
}

/// Starts `others` (all CPUs but this one, in the order of their numbers from 1)
/// at `main` and, while they reset, measures the clock against `reference`.
/// Returns the numbers of those that did not come up.
///
/// # Errors
///
/// See [`StartError`]; the clock has then been measured all the same.
pub fn start(
    others: &[ApicId],
    map: &MemoryMap,
    reference: &Reference,
    info: &BootInfo,
    main: fn() -> !,
) -> Result<Vec<PcpuId>, StartError> {
    MAIN.call_once(|| main);
    if others.is_empty() {
        time::calibrate(reference, info.entry_tsc);
        return Ok(Vec::new());
    }
    let prepared = prepare(others, map, info).inspect_err(|_| {
        time::calibrate(reference, info.entry_tsc);
    })?;
    for &target in others {
        // SAFETY: it is in the firmware's wait loop, whose state nobody needs.
        unsafe { apic::send_init(target) };
    }
    time::calibrate(reference, info.entry_tsc);
    for &target in others {
        // SAFETY: `prepare` put the start-up code there.
        unsafe { apic::send_startup(target, prepared.page_number) };
    }
    time::delay_us(200);
    for target in missing(others) {
        // SAFETY: as above; a CPU that has started ignores it.
        unsafe { apic::send_startup(others[target.index() - 1], prepared.page_number) };
    }
    Ok(finish(others, prepared))
}

struct Prepared {
    page_number: u8,
    tables: TrampolineTables,
    /// Read by the starting CPUs.
    _apic_ids: Vec<u32>,
    _stacks: Vec<u64>,
}

fn prepare(others: &[ApicId], map: &MemoryMap, info: &BootInfo) -> Result<Prepared, StartError> {
    let page = trampoline_page(map, info).ok_or(StartError::NoLowMemory)?;
    // For good: a CPU may come late.
    memory::keep(page);
    let mut stacks = Vec::with_capacity(others.len());
    for (index, &apic_id) in others.iter().enumerate() {
        let id = PcpuId::new(index + 1).ok_or(StartError::OutOfMemory)?;
        let area: &'static Pcpu = Box::leak(Box::new(Pcpu::new(id, apic_id)));
        stacks.push(install_stacks(area)?);
        AREAS[id.index()].store(core::ptr::from_ref(area).cast_mut(), Ordering::Release);
    }
    let apic_ids: Vec<u32> = others.iter().map(|id| id.get()).collect();
    let tables = TrampolineTables::new(page)?;
    let parameters = Parameters::new(
        tables.cr3(),
        ap_start as *const () as u64,
        apic_ids.as_ptr() as u64,
        stacks.as_ptr() as u64,
        others.len() as u64,
    );
    let address = u32::try_from(page.start()).map_err(|_| StartError::NoLowMemory)?;
    // SAFETY: a page of RAM below 640 KiB, which the allocator never owns.
    unsafe { memory::write_physical(page.start(), &trampoline::page(address, &parameters)) };
    let page_number = u8::try_from(address >> 12).map_err(|_| StartError::NoLowMemory)?;
    Ok(Prepared { page_number, tables, _apic_ids: apic_ids, _stacks: stacks })
}

/// The highest free page of conventional memory. What lies around the extended
/// BIOS data area is left alone, and page 0 with the interrupt table of real mode.
fn trampoline_page(map: &MemoryMap, info: &BootInfo) -> Option<PhysRange> {
    const CONVENTIONAL: u64 = 0x9_0000;
    let interrupt_table = PhysRange::from_len(0, PAGE_SIZE)?;
    let mut reserved: ArrayVec<_, { MAX_MODULES + 1 }> = info.modules.iter().map(|m| m.range).collect();
    reserved.push(interrupt_table);
    map.find_free(PAGE_SIZE, PAGE_SIZE, CONVENTIONAL, &reserved)
}

fn missing(others: &[ApicId]) -> impl Iterator<Item = PcpuId> {
    let ids = (1..=others.len()).filter_map(PcpuId::new);
    ids.filter(|id| ONLINE[id.index()].load(Ordering::Acquire) == OFFLINE)
}

fn finish(others: &[ApicId], prepared: Prepared) -> Vec<PcpuId> {
    let (start, limit) = (cpu::rdtsc(), time::ticks_from_us(ARRIVAL_US));
    while missing(others).next().is_some() && cpu::rdtsc().wrapping_sub(start) < limit {
        hint::spin_loop();
    }
    let missing: Vec<_> = missing(others).filter(|&id| claim(id, LEFT_OUT)).collect();
    if missing.is_empty() {
        // All have left the trampoline's tables for the hypervisor's.
        drop(prepared.tables);
    } else {
        // One may still come and find tables and lists in place.
        core::mem::forget(prepared);
    }
    missing
}

/// Sets the state of a pcpu that is not online; `false` if it has been set before.
fn claim(id: PcpuId, state: u32) -> bool {
    let claimed =
        ONLINE[id.index()].compare_exchange(OFFLINE, state, Ordering::AcqRel, Ordering::Acquire).is_ok();
    if claimed && state < LEFT_OUT {
        ONLINE_SET.insert(id);
    }
    claimed
}

/// Entry point of a started CPU, on its own stack, with the trampoline's tables.
extern "C" fn ap_start(index: usize) -> ! {
    let area = AREAS[index + 1].load(Ordering::Acquire);
    // SAFETY: `prepare` stored this CPU's own area, which lives for ever.
    let area = unsafe { &*area };
    // SAFETY: first thing on this CPU.
    unsafe { install(area) };
    memory::activate_here();
    apic::init_this_cpu();
    match MAIN.get() {
        Some(main) if claim(area.id(), area.apic_id().get()) => main(),
        // The boot CPU has stopped waiting and counted without this one.
        _ => cpu::halt_forever(),
    }
}

/// APIC id of `pcpu`, if it is online.
#[must_use]
pub fn apic_id(pcpu: PcpuId) -> Option<ApicId> {
    let raw = ONLINE[pcpu.index()].load(Ordering::Acquire);
    (raw < LEFT_OUT).then_some(ApicId::new(raw))
}

/// Whether `pcpu` is online.
#[must_use]
pub fn is_online(pcpu: PcpuId) -> bool {
    apic_id(pcpu).is_some()
}

/// Every pcpu that is online.
pub fn online() -> impl Iterator<Item = PcpuId> {
    online_set().iter()
}

/// The pcpus that are online.
#[must_use]
pub fn online_set() -> PcpuSet {
    ONLINE_SET.load()
}
