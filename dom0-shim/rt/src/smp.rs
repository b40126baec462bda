//! Further vcpus.
//!
//! ```text
//!   start(n) ── INIT, SIPI ────> trampoline (real, protected, long mode) ──┐
//!            └─ VCPUOP_initialise, VCPUOP_up ──────────────────────────────┴─> idle(n)
//!   run(n, job) ─────────────────────────────────────────────> job(), idle(n) again
//! ```
//!
//! Each vcpu's stack is aligned to its size, and its lowest word is the vcpu's number.

use alloc::alloc::{alloc_zeroed, handle_alloc_error};
use alloc::boxed::Box;
use core::alloc::Layout;
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use spin::Mutex;
use xen_abi::errno::Errno;
use xen_abi::hvm_vcpu::{VcpuHvmContext, VcpuHvmMode, VcpuHvmRegs, VcpuHvmX86_64};
use xen_abi::vcpu::VcpuOp;
use zerocopy::FromZeros;

use crate::apic::{Apic, Mode};
use crate::{clock, cpu, hypercall, segments, trap};

/// Bytes of a vcpu's stack, and its alignment.
pub(crate) const STACK_SIZE: usize = 64 * 1024;
/// Most vcpus of a domain.
pub const MAX_VCPUS: usize = 32;
/// Where the trampoline goes: SIPI vector 8.
const TRAMPOLINE: u64 = STARTUP_PAGE as u64 * 4096;
const STARTUP_PAGE: u8 = 8;
/// How long a vcpu may take to show up, nanoseconds of its domain's time.
const PATIENCE_NS: u64 = 2_000_000_000;

type Job = Box<dyn FnOnce() + Send>;

struct Slot {
    online: AtomicBool,
    busy: AtomicBool,
    job: Mutex<Option<Job>>,
}

static SLOTS: [Slot; MAX_VCPUS] =
    [const { Slot { online: AtomicBool::new(false), busy: AtomicBool::new(false), job: Mutex::new(None) } };
        MAX_VCPUS];

/// Stack of the vcpu that is being started.
#[unsafe(no_mangle)]
static GUEST_NEXT_STACK: AtomicU64 = AtomicU64::new(0);

/// How a vcpu is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// As on a CPU: INIT and SIPI by a local APIC in this mode.
    InitSipi(Mode),
    /// By `VCPUOP_initialise` and `VCPUOP_up`.
    Hypercall,
}

/// A vcpu did not come up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// There is no such vcpu, or it is up already.
    NotStartable,
    /// The hypervisor refused.
    Refused(Errno),
    /// It did not show up in time.
    Silent,
}

/// The number of this vcpu.
#[must_use]
pub fn current() -> u32 {
    // SAFETY: every stack begins with the number of its vcpu.
    unsafe { *(stack_base() as *const u32) }
}

pub(crate) fn stack_base() -> u64 {
    let stack: u64;
    // SAFETY: a read.
    unsafe { asm!("mov {}, rsp", out(reg) stack, options(nomem, nostack, preserves_flags)) };
    stack & !(STACK_SIZE as u64 - 1)
}

/// Starts vcpu `index`; it then waits for jobs.
///
/// # Errors
///
/// [`StartError`].
pub fn start(index: u32, how: Start) -> Result<(), StartError> {
    let slot = SLOTS.get(index as usize).filter(|_| index > 0).ok_or(StartError::NotStartable)?;
    if slot.online.load(Ordering::Acquire) {
        return Err(StartError::NotStartable);
    }
    let stack = new_stack(index);
    match how {
        Start::InitSipi(mode) => start_by_apic(index, mode, stack),
        Start::Hypercall => start_by_hypercall(index, stack)?,
    }
    let begun = clock::ticks_ns();
    while !slot.online.load(Ordering::Acquire) {
        if clock::ticks_ns().wrapping_sub(begun) > PATIENCE_NS {
            return Err(StartError::Silent);
        }
        hypercall::yield_now();
    }
    Ok(())
}

/// Starts vcpu `index` afresh, whether it was started before or not.
///
/// # Errors
///
/// [`StartError`].
pub fn restart(index: u32, how: Start) -> Result<(), StartError> {
    if let Some(slot) = SLOTS.get(index as usize) {
        slot.online.store(false, Ordering::Release);
        slot.busy.store(false, Ordering::Release);
    }
    start(index, how)
}

/// The top of a new stack for vcpu `index`.
fn new_stack(index: u32) -> u64 {
    let layout = Layout::from_size_align(STACK_SIZE, STACK_SIZE).unwrap_or(Layout::new::<u64>());
    // SAFETY: the layout is not empty.
    let base = unsafe { alloc_zeroed(layout) };
    if base.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: just allocated.
    unsafe { base.cast::<u32>().write(index) };
    base as u64 + STACK_SIZE as u64
}

fn start_by_apic(index: u32, mode: Mode, stack: u64) {
    unsafe extern "C" {
        static guest_trampoline: u8;
        static guest_trampoline_end: u8;
    }
    let (start, end) = (&raw const guest_trampoline, &raw const guest_trampoline_end);
    let length = end as usize - start as usize;
    // SAFETY: RAM below 1 MiB that nobody else uses.
    unsafe { core::ptr::copy_nonoverlapping(start, TRAMPOLINE as *mut u8, length) };
    GUEST_NEXT_STACK.store(stack, Ordering::Release);
    let apic = Apic::enable(mode);
    let id = apic_id(index);
    apic.send_init(id);
    clock::delay_us(10);
    // Two, as the SDM has it ("Typical BSP Initialization Sequence"); the second one
    // does nothing to a vcpu that runs.
    for _ in 0..2 {
        apic.send_startup(id, STARTUP_PAGE);
        clock::delay_us(200);
    }
}

/// APIC ids go up in steps of a core (SDM "CPUID", leaf BH); that of vcpu 0 is 0.
fn apic_id(index: u32) -> u32 {
    let step = match cpu::cpuid(0xb, 0).eax & 31 {
        0 => 1,
        shift => 1 << shift,
    };
    index * step
}

fn start_by_hypercall(index: u32, stack: u64) -> Result<(), StartError> {
    unsafe extern "C" {
        static guest_secondary64: u8;
    }
    let registers = VcpuHvmX86_64 {
        rip: (&raw const guest_secondary64) as u64,
        rsp: stack,
        rflags: 2,
        cr0: cpu::control(cpu::Control::Cr0),
        cr3: cpu::control(cpu::Control::Cr3),
        cr4: cpu::control(cpu::Control::Cr4),
        // LME, LMA.
        efer: 1 << 8 | 1 << 10,
        ..VcpuHvmX86_64::new_zeroed()
    };
    GUEST_NEXT_STACK.store(stack, Ordering::Release);
    let mut context =
        VcpuHvmContext { mode: VcpuHvmMode::Bits64.get(), pad: 0, cpu_regs: VcpuHvmRegs::of(&registers) };
    hypercall::vcpu_op(VcpuOp::Initialise, index, &mut context).map_err(StartError::Refused)?;
    hypercall::vcpu_op(VcpuOp::Up, index, &mut ()).map_err(StartError::Refused)?;
    Ok(())
}

global_asm!(
    r#"
    .pushsection .rodata.trampoline, "a", @progbits
    .code16
guest_trampoline:
    cli
    cld
    xor     ax, ax
    mov     ds, ax
    # lgdt [0x8000 + ...], with a 32-bit base
    .byte   0x66, 0x0f, 0x01, 0x16
    .short  guest_trampoline_pointer - guest_trampoline + {base}
    mov     eax, cr0
    or      eax, 1                          # PE
    mov     cr0, eax
    # jmp 0x18:...
    .byte   0x66, 0xea
    .long   guest_trampoline32 - guest_trampoline + {base}
    .short  0x18

    .code32
guest_trampoline32:
    mov     eax, 0x10
    mov     ds, eax
    mov     ss, eax
    mov     eax, cr4
    or      eax, 1 << 5                     # PAE
    mov     cr4, eax
    mov     eax, offset guest_pml4
    mov     cr3, eax
    mov     ecx, 0xc0000080                 # EFER
    rdmsr
    or      eax, 1 << 8                     # LME
    wrmsr
    mov     eax, cr0
    and     eax, 0x9fffffff                 # caches on
    or      eax, (1 << 31) | (1 << 16) | 1  # PG, WP, PE
    mov     cr0, eax
    # jmp 8:guest_secondary64
    .byte   0xea
    .long   guest_secondary64
    .short  8

    .balign 8
guest_trampoline_gdt:
    .quad   0
    .quad   0x00af9b000000ffff              # 64-bit code
    .quad   0x00cf93000000ffff              # data
    .quad   0x00cf9b000000ffff              # 32-bit code
guest_trampoline_pointer:
    .short  31
    .long   guest_trampoline_gdt - guest_trampoline + {base}
guest_trampoline_end:
    .popsection

    .pushsection .text.secondary, "ax", @progbits
    .code64
guest_secondary64:
    xor     eax, eax
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    mov     fs, eax
    mov     gs, eax
    mov     rsp, [GUEST_NEXT_STACK]
    xor     ebp, ebp
    call    {secondary}
    ud2
    .popsection
"#,
    base = const TRAMPOLINE,
    secondary = sym secondary,
);

/// First function of a further vcpu.
extern "C" fn secondary() -> ! {
    let index = current();
    segments::load(index);
    trap::load();
    let slot = &SLOTS[index as usize % MAX_VCPUS];
    slot.online.store(true, Ordering::Release);
    loop {
        let job = slot.job.lock().take();
        match job {
            Some(job) => {
                job();
                slot.busy.store(false, Ordering::Release);
            }
            None => hypercall::yield_now(),
        }
    }
}

/// Lets vcpu `index`, which was started, run `job`; see [`wait`].
///
/// # Panics
///
/// When it has not finished the job before.
pub fn run(index: u32, job: impl FnOnce() + Send + 'static) {
    let slot = &SLOTS[index as usize % MAX_VCPUS];
    assert!(slot.online.load(Ordering::Acquire), "vcpu {index} was not started");
    assert!(!slot.busy.swap(true, Ordering::AcqRel), "vcpu {index} is busy");
    *slot.job.lock() = Some(Box::new(job));
}

/// Whether vcpu `index` has finished its job.
#[must_use]
pub fn is_idle(index: u32) -> bool {
    !SLOTS[index as usize % MAX_VCPUS].busy.load(Ordering::Acquire)
}

/// Waits until vcpu `index` has finished its job.
pub fn wait(index: u32) {
    while !is_idle(index) {
        hypercall::yield_now();
    }
}
