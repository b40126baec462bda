//! Hypercalls, by the hypercall page that the hypervisor fills in.
//!
//! ABI (`arch-x86/xen-x86_64.h`): number times 32 is the offset in the page;
//! arguments in RDI, RSI, RDX, R10, R8; result in RAX, negative errno on error.

use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use xen_abi::cpuid;
use xen_abi::sched::{SchedOp, SchedShutdown, ShutdownReason};
use xen_abi::xen::Hypercall;

#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; 4096]>);

// SAFETY: written by the hypervisor only, once, before the first call.
unsafe impl Sync for Page {}

static PAGE: Page = Page(UnsafeCell::new([0; 4096]));
static READY: AtomicBool = AtomicBool::new(false);

/// Lets the hypervisor fill the hypercall page in. Without Xen's interface there
/// is nothing to call: hypercalls then end in a fault.
pub(crate) fn init() {
    let Some(base) = (0..0x100).map(|n| cpuid::FIRST_LEAF + n * 0x100).find(|&leaf| is_xen(leaf)) else {
        return;
    };
    let msr = __cpuid(base + 2).ebx;
    let page = PAGE.0.get() as u64;
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (low, high) = (page as u32, (page >> 32) as u32);
    // SAFETY: the MSR that CPUID names takes the address of a page of ours.
    unsafe { asm!("wrmsr", in("ecx") msr, in("eax") low, in("edx") high, options(nostack)) };
    READY.store(true, Ordering::Release);
}

fn is_xen(leaf: u32) -> bool {
    let id = __cpuid(leaf);
    [id.ebx, id.ecx, id.edx] == [cpuid::SIGNATURE_EBX, cpuid::SIGNATURE_ECX, cpuid::SIGNATURE_EDX]
}

/// Makes a hypercall; arguments that it does not have are ignored. Without a
/// hypervisor the answer is -38, `-ENOSYS`.
///
/// # Safety
///
/// What the arguments point to is valid for what this hypercall does with it.
pub unsafe fn call(number: Hypercall, arguments: [u64; 5]) -> i64 {
    if !READY.load(Ordering::Acquire) {
        return -38;
    }
    let entry = PAGE.0.get() as u64 + u64::from(number as u32) * 32;
    let [a, b, c, d, e] = arguments;
    let result: i64;
    // SAFETY: the page is filled in; the hypervisor changes RAX, and of the
    // argument registers what it likes.
    unsafe {
        asm!(
            "call {entry}",
            entry = in(reg) entry,
            inout("rdi") a => _,
            inout("rsi") b => _,
            inout("rdx") c => _,
            inout("r10") d => _,
            inout("r8") e => _,
            out("rax") result,
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// Ends the domain.
pub fn shutdown(reason: ShutdownReason) -> ! {
    let argument = SchedShutdown { reason: reason as u32 };
    let pointer = (&raw const argument) as u64;
    loop {
        // SAFETY: the argument outlives the call.
        unsafe { call(Hypercall::SchedOp, [SchedOp::Shutdown as u64, pointer, 0, 0, 0]) };
    }
}

/// Gives the pcpu away until an event is pending.
pub fn block() {
    // SAFETY: the operation has no argument.
    unsafe { call(Hypercall::SchedOp, [SchedOp::Block as u64, 0, 0, 0, 0]) };
}
