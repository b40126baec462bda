//! Hypercalls: who may make them, and the table of their handlers.
//!
//! ABI of 64-bit guests (`arch-x86/xen-x86_64.h`): number in RAX, arguments in
//! RDI, RSI, RDX, R10, R8; result in RAX.

mod bitmap;
mod console_io;
mod domctl;
mod event_channel_op;
mod grant_table_op;
mod hvm_op;
mod leaves;
mod memory_op;
mod multicall;
pub mod page;
mod physdev_op;
mod platform_op;
mod sched_op;
mod slice;
mod sysctl;
mod vcpu_op;
mod vm_assist;
pub mod xen_version;

use alloc::sync::Arc;

use hv_arch::vcpu::Loaded;
use hv_core::gpr::Gpr;
use hv_core::vmcs;
use xen_abi::errno::Errno;
use xen_abi::xen::Hypercall;

use crate::exit::Outcome;
use crate::vcpu::Vcpu;

/// Result of a hypercall: what goes to RAX, and what the vcpu does then.
pub type Reply = Result<Answer, Errno>;

/// A hypercall that was carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It returns this value.
    Value(u64),
    /// It returns 0 when an event has come.
    Block,
    /// It returns 0 after others have run.
    Yield,
    /// It is not finished: the vcpu takes its interrupts and makes it again, with
    /// these arguments.
    Again([u64; 5]),
}

/// The caller's side of a hypercall.
pub struct Call<'a, 'b> {
    /// The vcpu's state.
    pub cpu: &'a Loaded<'b>,
    /// The vcpu that calls.
    pub vcpu: &'a Arc<Vcpu>,
    /// Arguments 1 to 5.
    pub arguments: [u64; 5],
}

type Handler = fn(&Call<'_, '_>) -> Reply;

/// Who may make a hypercall. Some handlers let others have a part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Caller {
    Anyone,
    Dom0,
}

#[derive(Clone, Copy)]
struct Entry {
    caller: Caller,
    handler: Handler,
}

/// `__HYPERVISOR_arch_7` is the last number (`xen.h`), rounded up.
const NUMBERS: usize = 64;

/// Handlers by number. What has none is `ENOSYS`.
static TABLE: [Option<Entry>; NUMBERS] = {
    let mut table = [None; NUMBERS];
    let all: &[(Hypercall, Caller, Handler)] = &[
        (Hypercall::Multicall, Caller::Anyone, multicall::handle),
        (Hypercall::XenVersion, Caller::Anyone, xen_version::handle),
        (Hypercall::ConsoleIo, Caller::Dom0, console_io::handle),
        (Hypercall::VcpuOp, Caller::Anyone, vcpu_op::handle),
        (Hypercall::MemoryOp, Caller::Anyone, memory_op::handle),
        (Hypercall::GrantTableOp, Caller::Anyone, grant_table_op::handle),
        (Hypercall::EventChannelOp, Caller::Anyone, event_channel_op::handle),
        (Hypercall::PhysdevOp, Caller::Dom0, physdev_op::handle),
        (Hypercall::SchedOp, Caller::Anyone, sched_op::handle),
        (Hypercall::HvmOp, Caller::Anyone, hvm_op::handle),
        (Hypercall::VmAssist, Caller::Anyone, vm_assist::handle),
        (Hypercall::PlatformOp, Caller::Dom0, platform_op::handle),
        (Hypercall::Sysctl, Caller::Dom0, sysctl::handle),
        (Hypercall::Domctl, Caller::Dom0, domctl::handle),
    ];
    let mut index = 0;
    while index < all.len() {
        let (number, caller, handler) = all[index];
        table[number as usize] = Some(Entry { caller, handler });
        index += 1;
    }
    table
};

const ARGUMENTS: [Gpr; 5] = [Gpr::Rdi, Gpr::Rsi, Gpr::Rdx, Gpr::R10, Gpr::R8];

/// Handles VMCALL.
pub fn handle(cpu: &mut Loaded<'_>, vcpu: &Arc<Vcpu>) -> Outcome {
    let registers = cpu.registers();
    let number = registers.get(Gpr::Rax);
    let arguments = ARGUMENTS.map(|register| registers.get(register));
    let reply =
        if may_call(cpu) { dispatch(number, &Call { cpu, vcpu, arguments }) } else { Err(Errno::EPERM) };
    let (value, outcome) = match reply {
        Ok(Answer::Value(value)) => (value, Outcome::Done),
        Ok(Answer::Block) => (0, Outcome::Block),
        Ok(Answer::Yield) => (0, Outcome::Yield),
        Ok(Answer::Again(arguments)) => {
            let registers = cpu.registers_mut();
            ARGUMENTS.into_iter().zip(arguments).for_each(|(register, value)| registers.set(register, value));
            return Outcome::Tick;
        }
        Err(error) => (error.return_value().cast_unsigned(), Outcome::Done),
    };
    cpu.registers_mut().set(Gpr::Rax, value);
    outcome
}

/// Only a 64-bit kernel may: CS.L is set, and the DPL of SS, which is the CPL (SDM
/// "Guest Register State"), is 0.
fn may_call(cpu: &Loaded<'_>) -> bool {
    const LONG: u32 = 1 << 13;
    const DPL: u32 = 3 << 5;
    cpu.read(vmcs::GUEST_CS_ACCESS_RIGHTS) & LONG != 0 && cpu.read(vmcs::GUEST_SS_ACCESS_RIGHTS) & DPL == 0
}

/// Carries out hypercall `number`.
#[inline]
fn dispatch(number: u64, call: &Call<'_, '_>) -> Reply {
    let index = usize::try_from(number).unwrap_or(NUMBERS);
    let entry = TABLE.get(index).copied().flatten().ok_or(Errno::ENOSYS)?;
    if entry.caller == Caller::Dom0 && !call.vcpu.domain().is_privileged() {
        return Err(Errno::EPERM);
    }
    (entry.handler)(call)
}
