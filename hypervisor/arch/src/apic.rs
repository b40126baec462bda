//! The local APIC of each pcpu: x2APIC mode where the CPU has it, else xAPIC.
//!
//! Registers are named by their xAPIC offset (SDM "Local APIC Register Address
//! Map"); the x2APIC MSR of one is `0x800 + offset / 16`.

use core::hint;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use hv_core::addr::PhysRange;
use hv_core::msr::Msr;
use hv_core::rate::Rate;
use spin::Once;

use crate::cpu::{self, Features};
use crate::memory::{self, DeviceMemory};
use crate::{msr, percpu};

/// Vector of inter-processor interrupts: the highest priority class.
pub(crate) const IPI_VECTOR: u8 = 0xf0;
/// The lowest vector of the local APIC's own: devices have those below.
pub const FIRST_LOCAL_VECTOR: u8 = TIMER_VECTOR;
/// Vector of the local APIC's timer.
pub const TIMER_VECTOR: u8 = 0xef;
/// Vector of interrupts that vanished before delivery (SDM "Spurious Interrupt").
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

pub use hv_core::acpi::ApicId;

const BASE_X2APIC: u64 = 1 << 10;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Largest id in use in x2APIC mode; `smp` has a meaning for the one behind.
pub(crate) const LARGEST_X2APIC_ID: u32 = u32::MAX - 2;

const ID: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const ERROR_STATUS: u32 = 0x280;
const COMMAND: u32 = 0x300;
const COMMAND_HIGH: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;
/// Timer, thermal, performance counters, LINT0, LINT1, error.
const LVT: [u32; 6] = [0x320, 0x330, 0x340, 0x350, 0x360, 0x370];

const SOFTWARE_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const LVT_TSC_DEADLINE: u32 = 2 << 17;
/// Divide configuration: the bus clock itself (SDM "Divide Configuration Register").
const DIVIDE_BY_1: u32 = 0b1011;
const COMMAND_PENDING: u32 = 1 << 12;
const COMMAND_ASSERT: u32 = 1 << 14;
const DELIVERY_NMI: u32 = 4 << 8;
const DELIVERY_INIT: u32 = 5 << 8;
const DELIVERY_STARTUP: u32 = 6 << 8;

/// Registers in xAPIC mode; null in x2APIC mode. One physical address shows each
/// pcpu its own APIC.
static XAPIC: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
/// Bytes of the register page.
const XAPIC_LEN: u64 = 0x1000;

/// Why the local APIC cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApicError {
    /// Its registers could not be mapped.
    Unmapped,
}

impl core::fmt::Display for ApicError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the local APIC's registers could not be mapped")
    }
}

/// Turns on the boot CPU's local APIC and learns its id. Before any other
/// function of this module.
///
/// # Errors
///
/// See [`ApicError`].
pub fn init_boot_cpu(features: &Features, allow_x2apic: bool) -> Result<ApicId, ApicError> {
    // SAFETY: every CPU with a local APIC, so every 64-bit CPU, has the MSR.
    let base = unsafe { msr::read(Msr::IA32_APIC_BASE) };
    // Firmware that left x2APIC on (more than 255 CPUs) leaves no way back.
    let x2apic = features.x2apic && (allow_x2apic || base & BASE_X2APIC != 0);
    if !x2apic {
        let registers = PhysRange::from_len(base & BASE_ADDRESS, XAPIC_LEN).ok_or(ApicError::Unmapped)?;
        // SAFETY: the page that the CPU itself decodes as its APIC's registers.
        let device = unsafe { memory::map_device(registers, XAPIC_LEN) }.ok_or(ApicError::Unmapped)?;
        XAPIC.store(DeviceMemory::leak(device), Ordering::Release);
    }
    init_this_cpu();
    let id = read_id();
    percpu::this().set_apic_id(id);
    TSC_DEADLINE.store(features.tsc_deadline, Ordering::Relaxed);
    if features.tsc_deadline {
        arm_lvt();
    }
    Ok(id)
}

/// Turns on this CPU's local APIC in the mode that the boot CPU chose.
pub(crate) fn init_this_cpu() {
    // SAFETY: as above.
    let base = unsafe { msr::read(Msr::IA32_APIC_BASE) } | BASE_ENABLE;
    // SAFETY: enabling keeps address and mode.
    unsafe { msr::write(Msr::IA32_APIC_BASE, base) };
    if is_x2apic() {
        // SAFETY: x2APIC mode is entered from xAPIC mode, never from "disabled"
        // (SDM "x2APIC State Transitions").
        unsafe { msr::write(Msr::IA32_APIC_BASE, base | BASE_X2APIC) };
    }
    for lvt in LVT {
        // The vector stays: number 0 would be an error, even masked.
        write(lvt, read(lvt) | LVT_MASKED);
    }
    write(TASK_PRIORITY, 0);
    write(SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
    // Until then every entry stays masked (SDM "Local APIC State After It Has Been
    // Software Disabled"), as INIT has left the APIC.
    arm_lvt();
    write(ERROR_STATUS, 0);
}

/// Whether the timer compares with the time stamp counter.
static TSC_DEADLINE: AtomicBool = AtomicBool::new(false);
/// Rate of the timer's count beside the time stamp counter's.
static BUS: Once<Rate> = Once::new();

/// Lets the timer interrupt this CPU, once for each time it is set.
fn arm_lvt() {
    let mode = if TSC_DEADLINE.load(Ordering::Relaxed) { LVT_TSC_DEADLINE } else { 0 };
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(LVT_TIMER, mode | u32::from(TIMER_VECTOR));
}

/// Lets the timer count for a measurement of its rate.
pub(crate) fn start_count() {
    if !TSC_DEADLINE.load(Ordering::Relaxed) {
        write(TIMER_INITIAL, u32::MAX);
    }
}

/// Ends the measurement, which took `tsc` ticks of a counter of `tsc_hz`.
pub(crate) fn end_count(tsc: u64, tsc_hz: u64) {
    if TSC_DEADLINE.load(Ordering::Relaxed) {
        return;
    }
    let counted = u32::MAX - read(TIMER_CURRENT);
    write(TIMER_INITIAL, 0);
    let hz = u128::from(counted) * u128::from(tsc_hz) / u128::from(tsc.max(1));
    let rate = u64::try_from(hz).ok().and_then(NonZeroU64::new).zip(NonZeroU64::new(tsc_hz));
    if let Some((bus, tsc)) = rate {
        BUS.call_once(|| Rate::new(bus, tsc));
    }
}

/// Asks for an interrupt of this pcpu with [`TIMER_VECTOR`] when the time stamp
/// counter reaches `deadline`, instead of what was asked for before. It can come
/// early where the timer cannot count that far.
pub fn set_timer(deadline: u64) {
    if TSC_DEADLINE.load(Ordering::Relaxed) {
        // SDM "TSC-Deadline Mode": 0 would disarm it; no fence is needed, as both
        // writes are of MSRs or uncached.
        // SAFETY: the CPU has the register, and the vector a handler.
        unsafe { msr::write(Msr::IA32_TSC_DEADLINE, deadline.max(1)) };
        return;
    }
    let Some(bus) = BUS.get() else { return };
    let count = bus.ticks_in(deadline.saturating_sub(cpu::rdtsc())).saturating_add(1);
    write(TIMER_INITIAL, u32::try_from(count).unwrap_or(u32::MAX));
}

/// Takes back what [`set_timer`] asked for.
pub fn stop_timer() {
    if TSC_DEADLINE.load(Ordering::Relaxed) {
        // SAFETY: the CPU has the register.
        unsafe { msr::write(Msr::IA32_TSC_DEADLINE, 0) };
    } else {
        write(TIMER_INITIAL, 0);
    }
}

/// Whether x2APIC mode is in use.
#[must_use]
pub fn is_x2apic() -> bool {
    XAPIC.load(Ordering::Relaxed).is_null()
}

fn read_id() -> ApicId {
    let raw = read(ID);
    ApicId::new(if is_x2apic() { raw } else { raw >> 24 })
}

/// Acknowledges the interrupt in service.
pub(crate) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Sends a fixed interrupt.
pub(crate) fn send_ipi(target: ApicId, vector: u8) {
    command(target, u32::from(vector) | COMMAND_ASSERT);
}

/// Resets `target` into the wait-for-SIPI state.
///
/// # Safety
///
/// `target` does not run anything whose state is still needed.
pub(crate) unsafe fn send_init(target: ApicId) {
    command(target, DELIVERY_INIT | COMMAND_ASSERT);
}

/// Starts `target` at the real-mode page `page` (address >> 12).
///
/// # Safety
///
/// There is start-up code in that page.
pub(crate) unsafe fn send_startup(target: ApicId, page: u8) {
    command(target, DELIVERY_STARTUP | COMMAND_ASSERT | u32::from(page));
}

/// Sends an NMI.
pub(crate) fn send_nmi(target: ApicId) {
    command(target, DELIVERY_NMI | COMMAND_ASSERT);
}

/// The largest id that commands can address: 8 bits in xAPIC mode, else 32; all
/// ones mean every CPU.
#[must_use]
pub fn largest_id() -> ApicId {
    ApicId::new(if is_x2apic() { LARGEST_X2APIC_ID } else { 0xfe })
}

fn command(target: ApicId, low: u32) {
    debug_assert!(target <= largest_id());
    if is_x2apic() {
        let value = u64::from(target.get()) << 32 | u64::from(low);
        // WRMSR to this register is not serializing (SDM "MSR Access in x2APIC
        // Mode"): stores before it must be seen first.
        core::sync::atomic::fence(Ordering::SeqCst);
        // SAFETY: the interrupt command register of x2APIC mode, which is on;
        // callers choose what is sent.
        unsafe { msr::write(x2apic_msr(COMMAND), value) };
        return;
    }
    while read(COMMAND) & COMMAND_PENDING != 0 {
        hint::spin_loop();
    }
    write(COMMAND_HIGH, target.get() << 24);
    write(COMMAND, low);
    while read(COMMAND) & COMMAND_PENDING != 0 {
        hint::spin_loop();
    }
}

const fn x2apic_msr(register: u32) -> Msr {
    Msr::new(0x800 + (register >> 4))
}

fn read(register: u32) -> u32 {
    let xapic = XAPIC.load(Ordering::Relaxed);
    if xapic.is_null() {
        // SAFETY: x2APIC mode is on since `init_this_cpu`; all registers that this
        // module names exist in it, except COMMAND_HIGH, which it never reads.
        #[expect(clippy::cast_possible_truncation, reason = "registers have 32 bits")]
        return unsafe { msr::read(x2apic_msr(register)) } as u32;
    }
    // SAFETY: the offsets above are below the size of the mapped register page.
    let register = unsafe { xapic.add(register as usize) }.cast::<u32>();
    // SAFETY: a register of this pcpu's APIC, aligned to 16 bytes.
    unsafe { register.read_volatile() }
}

fn write(register: u32, value: u32) {
    let xapic = XAPIC.load(Ordering::Relaxed);
    if xapic.is_null() {
        // SAFETY: as in `read`; callers write values that the register takes.
        unsafe { msr::write(x2apic_msr(register), u64::from(value)) };
        return;
    }
    // SAFETY: as in `read`.
    let register = unsafe { xapic.add(register as usize) }.cast::<u32>();
    // SAFETY: as in `read`.
    unsafe { register.write_volatile(value) };
}
