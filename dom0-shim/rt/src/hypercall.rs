//! Hypercalls, by the hypercall page that the hypervisor fills in.
//!
//! ABI (`arch-x86/xen-x86_64.h`): number times 32 is the offset in the page;
//! arguments in RDI, RSI, RDX, R10, R8; result in RAX, negative errno on error.

use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use xen_abi::RawPort;
use xen_abi::cpuid;
use xen_abi::errno::Errno;
use xen_abi::event_channel::EventChannelOp;
use xen_abi::grant_table::GrantTableOp;
use xen_abi::handle::GuestHandle;
use xen_abi::hvm_op::{HvmOp, HvmParamArg};
use xen_abi::hvm_params::HvmParam;
use xen_abi::memory::MemoryOp;
use xen_abi::physdev::PhysdevOp;
use xen_abi::sched::{SchedOp, SchedPoll, SchedShutdown, ShutdownReason};
use xen_abi::vcpu::VcpuOp;
use xen_abi::version::VersionOp;
use xen_abi::xen::{ConsoleIo, DOMID_SELF, Hypercall, MulticallEntry};
use zerocopy::FromZeros;

/// Bytes of an entry of the hypercall page.
const ENTRY: u64 = 32;
const PAGE_ENTRIES: u64 = 4096 / ENTRY;

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

/// What the hypervisor wrote into the hypercall page.
#[must_use]
pub fn page_bytes() -> [u8; 4096] {
    // SAFETY: the page is written before `READY` is set only.
    unsafe { PAGE.0.get().read_volatile() }
}

/// Makes a hypercall: any number, any arguments. Without a hypervisor the answer
/// is -38, `-ENOSYS`.
///
/// It is a safe function although the hypervisor may write to addresses among the
/// arguments: like a file that shows a process' memory it is outside of what the
/// language speaks about. Who passes an address passes that of memory which stays
/// borrowed for the call; tests also pass addresses of nothing, on purpose.
pub fn raw(number: u64, arguments: [u64; 5]) -> i64 {
    if !READY.load(Ordering::Acquire) {
        return -38;
    }
    let [a, b, c, d, e] = arguments;
    let result: i64;
    // Numbers beyond the page have no entry in it.
    let entry = entry(number).unwrap_or(vmcall as *const () as u64);
    // SAFETY: the page is filled in; the hypervisor changes RAX, and of the
    // argument registers what it likes.
    unsafe {
        asm!(
            "call {entry}",
            entry = in(reg) entry,
            inout("rax") number => result,
            inout("rdi") a => _,
            inout("rsi") b => _,
            inout("rdx") c => _,
            inout("r10") d => _,
            inout("r8") e => _,
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// Address of the entry that makes hypercall `number`, if the page is filled in and has one.
pub(crate) fn entry(number: u64) -> Option<u64> {
    let ready = READY.load(Ordering::Acquire) && number < PAGE_ENTRIES;
    ready.then_some(PAGE.0.get() as u64 + number * ENTRY)
}

/// Entry of [`raw`] for numbers that the page has no entry for.
#[unsafe(naked)]
extern "C" fn vmcall() {
    core::arch::naked_asm!("vmcall", "ret")
}

/// The value of a hypercall's RAX: a result, or an error. An error that the interface
/// does not have is `EBADMSG`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn result(value: i64) -> Result<u64, Errno> {
    match u64::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => {
            Err(u32::try_from(value.unsigned_abs()).ok().and_then(Errno::new).unwrap_or(Errno::EBADMSG))
        }
    }
}

/// Makes a hypercall of the form `op(command, argument)`.
fn with<T>(number: Hypercall, command: u32, argument: &mut T) -> Result<u64, Errno> {
    result(raw(u64::from(number.get()), [command.into(), core::ptr::from_mut(argument) as u64, 0, 0, 0]))
}

/// `memory_op`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn memory_op<T>(op: MemoryOp, argument: &mut T) -> Result<u64, Errno> {
    with(Hypercall::MemoryOp, op.get(), argument)
}

/// `sched_op`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn sched_op<T>(op: SchedOp, argument: &mut T) -> Result<u64, Errno> {
    with(Hypercall::SchedOp, op.get(), argument)
}

/// `hvm_op`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn hvm_op<T>(op: HvmOp, argument: &mut T) -> Result<u64, Errno> {
    with(Hypercall::HvmOp, op.get(), argument)
}

/// `event_channel_op`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn event_channel_op<T>(op: EventChannelOp, argument: &mut T) -> Result<u64, Errno> {
    with(Hypercall::EventChannelOp, op.get(), argument)
}

/// `physdev_op`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn physdev_op<T>(op: PhysdevOp, argument: &mut T) -> Result<u64, Errno> {
    with(Hypercall::PhysdevOp, op.get(), argument)
}

/// `xen_version`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn xen_version<T>(op: VersionOp, argument: &mut T) -> Result<u64, Errno> {
    with(Hypercall::XenVersion, op.get(), argument)
}

/// `grant_table_op` with several operations.
///
/// # Errors
///
/// What the hypervisor says.
pub fn grant_table_op<T>(op: GrantTableOp, arguments: &mut [T]) -> Result<u64, Errno> {
    let list = [u64::from(op.get()), arguments.as_mut_ptr() as u64, arguments.len() as u64, 0, 0];
    result(raw(u64::from(Hypercall::GrantTableOp.get()), list))
}

/// `vcpu_op` on `vcpu`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn vcpu_op<T>(op: VcpuOp, vcpu: u32, argument: &mut T) -> Result<u64, Errno> {
    let list = [u64::from(op.get()), vcpu.into(), core::ptr::from_mut(argument) as u64, 0, 0];
    result(raw(u64::from(Hypercall::VcpuOp.get()), list))
}

/// `multicall`.
///
/// # Errors
///
/// What the hypervisor says of all; each entry has a result of its own.
pub fn multicall(calls: &mut [MulticallEntry]) -> Result<u64, Errno> {
    let list = [calls.as_mut_ptr() as u64, calls.len() as u64, 0, 0, 0];
    result(raw(u64::from(Hypercall::Multicall.get()), list))
}

/// `console_io` write.
///
/// # Errors
///
/// What the hypervisor says.
pub fn console_write(text: &[u8]) -> Result<u64, Errno> {
    let list = [ConsoleIo::Write as u64, text.len() as u64, text.as_ptr() as u64, 0, 0];
    result(raw(u64::from(Hypercall::ConsoleIo.get()), list))
}

/// `console_io` read: takes what was typed, returns how many bytes.
///
/// # Errors
///
/// What the hypervisor says.
pub fn console_read(to: &mut [u8]) -> Result<usize, Errno> {
    let list = [ConsoleIo::Read as u64, to.len() as u64, to.as_mut_ptr() as u64, 0, 0];
    let read = result(raw(u64::from(Hypercall::ConsoleIo.get()), list))?;
    Ok(crate::to_usize(read).min(to.len()))
}

/// The value of a parameter of this domain.
///
/// # Errors
///
/// What the hypervisor says.
pub fn hvm_param(param: HvmParam) -> Result<u64, Errno> {
    let mut argument = HvmParamArg { domid: DOMID_SELF, index: param.get(), ..HvmParamArg::new_zeroed() };
    hvm_op(HvmOp::GetParam, &mut argument)?;
    Ok(argument.value)
}

/// Sets a parameter of this domain.
///
/// # Errors
///
/// What the hypervisor says.
pub fn set_hvm_param(param: HvmParam, value: u64) -> Result<(), Errno> {
    let mut argument =
        HvmParamArg { domid: DOMID_SELF, index: param.get(), value, ..HvmParamArg::new_zeroed() };
    hvm_op(HvmOp::SetParam, &mut argument).map(drop)
}

/// Ends the domain.
pub fn shutdown(reason: ShutdownReason) -> ! {
    loop {
        // There is nothing to do about a refusal but to ask again.
        let _ = sched_op(SchedOp::Shutdown, &mut SchedShutdown { reason: reason as u32 });
    }
}

/// Gives the pcpu away until an event is pending.
pub fn block() {
    let _ = sched_op(SchedOp::Block, &mut ());
}

/// Gives the pcpu away until one of `ports` has an event. Upcalls of this vcpu are masked, or interrupts off.
///
/// # Errors
///
/// What the hypervisor says.
pub fn poll(ports: &[RawPort]) -> Result<(), Errno> {
    let mut argument = SchedPoll {
        ports: GuestHandle::new(ports.as_ptr() as u64),
        nr_ports: u32::try_from(ports.len()).map_err(|_| Errno::EINVAL)?,
        _pad: 0,
        timeout: 0,
    };
    sched_op(SchedOp::Poll, &mut argument).map(drop)
}

/// Lets others run first.
pub fn yield_now() {
    let _ = sched_op(SchedOp::Yield, &mut ());
}
