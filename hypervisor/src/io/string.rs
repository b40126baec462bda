//! INS and OUTS: ports and memory, a few elements for each exit (SDM "INS/INSB/INSW/INSD",
//! "OUTS/OUTSB/OUTSW/OUTSD", "REP/REPE/REPZ/REPNE/REPNZ").

use hv_arch::vcpu::Loaded;
use hv_core::addr::{PAGE_SIZE, to_usize};
use hv_core::event::Exception;
use hv_core::exit::{Direction, IoAccess, StringIo};
use hv_core::gpr::Gpr;
use hv_core::pt_walk::{Fault, Purpose};
use hv_core::vmcs;

use crate::exit::Outcome;
use crate::guest_copy;
use crate::vcpu::Vcpu;

const RFLAGS_DF: u64 = 1 << 10;

/// Most bytes of one exit: the rest of a long one comes with the next exit, and what
/// interrupts it in between.
const MOST: usize = 128;

/// The elements of one exit.
struct Run {
    /// Linear address of the first one.
    at: u64,
    /// All of them.
    bytes: usize,
    /// How many.
    count: u64,
    /// Whether no other follows.
    last: bool,
    /// Whether addresses go down.
    falling: bool,
}

/// Handles INS and OUTS.
pub(super) fn handle(cpu: &mut Loaded<'_>, vcpu: &Vcpu, access: IoAccess) -> Outcome {
    let Some(operand) = StringIo::read(cpu) else {
        return Outcome::Fault(Exception::GENERAL_PROTECTION);
    };
    let left = if access.rep { cpu.registers().get(Gpr::Rcx) & operand.address_mask } else { 1 };
    let Some(run) = Run::new(cpu, &operand, access, left) else { return Outcome::Done };
    let mut buffer = [0xff; MOST];
    let bytes = buffer.get_mut(..run.bytes).unwrap_or_default();
    let (copied, purpose) = match access.direction {
        // There is no device.
        Direction::In => (guest_copy::write_as_guest(cpu, vcpu, run.at, bytes), Purpose::Write),
        Direction::Out => (guest_copy::read_as_guest(cpu, vcpu, run.at, bytes), Purpose::Read),
    };
    if copied.is_err() {
        return refuse(cpu, vcpu, &run, purpose);
    }
    if access.direction == Direction::Out && super::is_log(access) {
        vcpu.domain().console_write(bytes);
    }
    advance(cpu, &operand, access, &run);
    if run.last { Outcome::Done } else { Outcome::Resume }
}

impl Run {
    /// Elements of one page and in rising order, or a single one. `None`: none is left.
    fn new(cpu: &Loaded<'_>, operand: &StringIo, access: IoAccess, left: u64) -> Option<Self> {
        let size = usize::from(access.size.bytes());
        let at = operand.linear_address;
        let room = to_usize(PAGE_SIZE - at % PAGE_SIZE).min(MOST) / size;
        let falling = cpu.read(vmcs::GUEST_RFLAGS) & RFLAGS_DF != 0;
        let most = if falling { 1 } else { room.max(1) };
        let count = left.min(most as u64);
        (count > 0).then(|| Self { at, bytes: to_usize(count) * size, count, last: count == left, falling })
    }
}

/// Moves the registers behind the elements, each as wide as the instruction's addresses.
fn advance(cpu: &mut Loaded<'_>, operand: &StringIo, access: IoAccess, run: &Run) {
    let distance = if run.falling { (run.bytes as u64).wrapping_neg() } else { run.bytes as u64 };
    let mask = operand.address_mask;
    let registers = cpu.registers_mut();
    let mut add = |gpr, addend: u64| {
        let old = registers.get(gpr);
        let sum = old.wrapping_add(addend) & mask;
        // A 32-bit result clears the upper half, a 16-bit one leaves it.
        registers.set(gpr, if mask == 0xffff { old & !mask | sum } else { sum });
    };
    add(if access.direction == Direction::In { Gpr::Rdi } else { Gpr::Rsi }, distance);
    if access.rep {
        add(Gpr::Rcx, run.count.wrapping_neg());
    }
}

/// The guest's own tables forbid the access, or nothing is there.
fn refuse(cpu: &mut Loaded<'_>, vcpu: &Vcpu, run: &Run, purpose: Purpose) -> Outcome {
    match guest_copy::fault_of_guest(cpu, vcpu, run.at, run.bytes, purpose) {
        Some(Fault::Page { code, addr }) => {
            cpu.set_page_fault_address(addr.get());
            // All its bits are in the low half.
            Outcome::Fault(Exception::page_fault((code.bits() & 0xffff) as u16))
        }
        _ => Outcome::Fault(Exception::GENERAL_PROTECTION),
    }
}
