//! What single operations cost: RDTSC, the operation, RDTSC.
//!
//! The registers that the operation needs are loaded in between, so each figure holds one to
//! four instructions of the guest. What an empty measurement shows, [`empty`], is for the
//! caller to subtract. In Bochs a tick is an instruction.

use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use xen_abi::RawPort;
use xen_abi::errno::Errno;
use xen_abi::event_channel::EventChannelOp;
use xen_abi::hvm_params::{CallbackType, HvmParam};
use xen_abi::xen::{Hypercall, SharedInfo, VcpuInfo};

use crate::{clock, events, hypercall, trap};

/// Times a few instructions, which may use RAX, RBX, RCX, RDX, RSI, RDI and R8 to R11: the
/// time at the start and the ticks until the end. RDX and RAX are lost before the first one.
///
/// Aligned, so that an instruction that the hypervisor has to fetch never crosses a page.
macro_rules! sample {
    ($($code:literal),* $(; $($operands:tt)*)?) => {{
        let (start, ticks): (u32, u32);
        asm!(
            "mov r14, rbx",
            ".p2align 7",
            "rdtsc",
            "mov r15d, eax",
            $($code,)*
            "rdtsc",
            "sub eax, r15d",
            "mov rbx, r14",
            $($($operands)*,)?
            out("eax") ticks,
            out("r15d") start,
            out("r14") _,
            out("rcx") _,
            out("rdx") _,
            out("rsi") _,
            out("rdi") _,
        );
        (start, ticks)
    }};
}

/// What remains of nothing.
#[must_use]
pub fn empty() -> u32 {
    // SAFETY: reads the time.
    unsafe { sample!().1 }
}

/// CPUID leaf 0.
#[must_use]
pub fn cpuid() -> u32 {
    // SAFETY: it changes the registers that it may.
    unsafe { sample!("xor eax, eax", "xor ecx, ecx", "cpuid").1 }
}

/// RDMSR.
#[must_use]
pub fn rdmsr(msr: u32) -> u32 {
    // SAFETY: a read; a fault is the end.
    unsafe { sample!("mov ecx, r8d", "rdmsr"; in("r8") u64::from(msr)).1 }
}

/// IN from a byte's port.
#[must_use]
pub fn inb<const PORT: u8>() -> u32 {
    // SAFETY: devices of small kernels do not write to memory.
    unsafe { sample!("in al, {port}"; port = const PORT).1 }
}

/// A read of a doubleword, of memory or of a device.
#[must_use]
pub fn peek_u32(address: u32) -> u32 {
    // SAFETY: a read; a fault is the end.
    unsafe { sample!("mov ebx, r8d", "mov eax, [rbx]"; in("r8") u64::from(address)).1 }
}

/// A hypercall by the hypercall page, with call and return.
///
/// As with [`hypercall::raw`], what the arguments point to belongs to the caller.
///
/// # Panics
///
/// When the page has no entry for it.
#[must_use]
pub fn hypercall(number: u64, arguments: [u64; 3]) -> u32 {
    timed_hypercall(number, arguments).1
}

fn timed_hypercall(number: u64, [a, b, c]: [u64; 3]) -> (u32, u32) {
    let entry = hypercall::entry(number).expect("an entry of the hypercall page");
    // SAFETY: the page is filled in; the hypervisor changes RAX, and of the argument
    // registers what it likes.
    unsafe {
        sample!(
            "mov rdi, r8", "mov rsi, r9", "mov rdx, r10", "call r12";
            inout("r8") a => _,
            inout("r9") b => _,
            inout("r10") c => _,
            in("r12") entry,
            out("r11") _
        )
    }
}

/// Vector of upcalls.
const VECTOR: u8 = 0xf3;

/// When the last upcall came.
#[unsafe(no_mangle)]
static GUEST_UPCALL_TIME: AtomicU64 = AtomicU64::new(0);
/// Upcalls so far.
#[unsafe(no_mangle)]
static GUEST_UPCALLS: AtomicU32 = AtomicU32::new(0);
/// The shared page.
#[unsafe(no_mangle)]
static GUEST_UPCALL_PAGE: AtomicU64 = AtomicU64::new(0);

global_asm!(
    r#"
    .pushsection .text.upcall, "ax", @progbits
    .balign 16
guest_upcall:
    push    rax
    push    rdx
    rdtsc                                   # the time first
    mov     [GUEST_UPCALL_TIME], eax
    mov     [GUEST_UPCALL_TIME + 4], edx
    mov     rax, [GUEST_UPCALL_PAGE]        # events of ports 0 to 63 for vcpu 0
    mov     byte ptr [rax + {upcall}], 0
    mov     qword ptr [rax + {selector}], 0
    mov     qword ptr [rax + {pending}], 0
    inc     dword ptr [GUEST_UPCALLS]
    pop     rdx
    pop     rax
    iretq
    .popsection
"#,
    upcall = const offset_of!(VcpuInfo, evtchn_upcall_pending),
    selector = const offset_of!(VcpuInfo, evtchn_pending_sel),
    pending = const offset_of!(SharedInfo, evtchn_pending),
);

/// Upcalls of vcpu 0, with a handler that records the time and forgets the events.
#[derive(Debug)]
pub struct Upcalls(());

impl Upcalls {
    /// Asks for them. All ports are masked.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn new() -> Result<Self, Errno> {
        unsafe extern "C" {
            static guest_upcall: u8;
        }
        const TYPE_SHIFT: u32 = 56;
        clock::map_shared_info()?;
        GUEST_UPCALL_PAGE.store(clock::shared_info().ok_or(Errno::EINVAL)?, Ordering::Release);
        events::mask_all();
        events::forget_all(1);
        // SAFETY: the handler is the one above; nobody sends this vector yet.
        unsafe { trap::set_gate(VECTOR, (&raw const guest_upcall) as u64) };
        let by_vector = u64::from(CallbackType::Vector as u8) << TYPE_SHIFT | u64::from(VECTOR);
        hypercall::set_hvm_param(HvmParam::CallbackIrq, by_vector)?;
        Ok(Self(()))
    }

    /// Sends an event to `port`, which is this vcpu's own and not masked: ticks until the
    /// handler runs; `None` if it does not, before the hypercall returns.
    #[must_use]
    pub fn after_send(&self, port: &RawPort) -> Option<u32> {
        let seen = GUEST_UPCALLS.load(Ordering::Acquire);
        let arguments = [EventChannelOp::Send as u64, core::ptr::from_ref(port) as u64, 0];
        trap::enable();
        let (start, _) = timed_hypercall(Hypercall::EventChannelOp as u64, arguments);
        trap::disable();
        self.last(seen).map(|[low, _]| low.wrapping_sub(start))
    }

    /// Calls `arm`, with interrupts off, and halts until an interrupt. The time of the
    /// upcall; `None` if it was another interrupt.
    #[must_use]
    pub fn after_halt(&self, arm: impl FnOnce()) -> Option<u64> {
        trap::disable();
        events::forget_all(1);
        let seen = GUEST_UPCALLS.load(Ordering::Acquire);
        arm();
        trap::wait();
        self.last(seen).map(|[low, high]| u64::from(high) << 32 | u64::from(low))
    }

    /// Halves of the time of the upcall that came after `seen` ones.
    fn last(&self, seen: u32) -> Option<[u32; 2]> {
        let time = GUEST_UPCALL_TIME.load(Ordering::Acquire);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        (GUEST_UPCALLS.load(Ordering::Acquire) != seen).then_some([time as u32, (time >> 32) as u32])
    }
}

impl Drop for Upcalls {
    fn drop(&mut self) {
        events::mask_all();
        // Without it upcalls have no way to come, and all ports are masked.
        let _ = hypercall::set_hvm_param(HvmParam::CallbackIrq, 0);
    }
}
