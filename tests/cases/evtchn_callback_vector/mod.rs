//! Upcalls by the callback vector come past the local APIC, when interrupts are on, once for each.

use guest_rt::apic::{Apic, Mode, Register};
use guest_rt::{events, hypercall, trap};
use xen_abi::hvm_params::{CallbackType, HvmParam};

use crate::evtchn;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-callback-vector",
    description: "Upcalls by the callback vector come past the local APIC, when interrupts are on, once for each.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const VECTOR: u8 = 0xe7;

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    let port = evtchn::bind_ipi(0)?;
    trap::set_handler(VECTOR, |_| events::forget_all(1));
    let by_vector = u64::from(CallbackType::Vector as u8) << 56 | u64::from(VECTOR);
    hypercall::set_hvm_param(HvmParam::CallbackIrq, by_vector)?;
    let apic = Apic::enable(Mode::XApic);
    trap::enable();
    evtchn::send(port)?;
    ensure_eq!(trap::count(VECTOR), 0, "upcalls for a masked port");
    evtchn::unmask(port)?;
    ensure_eq!(trap::count(VECTOR), 1, "upcalls after unmasking");
    // Without an end of interrupt the next one comes as well.
    evtchn::send(port)?;
    ensure_eq!(trap::count(VECTOR), 2, "upcalls after another event");
    trap::disable();
    evtchn::send(port)?;
    ensure_eq!(trap::count(VECTOR), 2, "upcalls with interrupts off");
    trap::enable();
    let _ = guest_rt::cpu::cpuid(0, 0);
    ensure_eq!(trap::count(VECTOR), 3, "upcalls with interrupts on again");
    let _ = guest_rt::cpu::cpuid(0, 0);
    ensure_eq!(trap::count(VECTOR), 3, "upcalls without an event");
    // The priority of the task is the local APIC's.
    apic.write(Register::TPR, 0xf0);
    evtchn::send(port)?;
    ensure_eq!(trap::count(VECTOR), 4, "upcalls whatever the TPR is");
    trap::disable();
    ensure_eq!(apic.read(Register(Register::IRR.0 + u32::from(VECTOR / 32))), 0, "IRR");
    ensure_eq!(apic.read(Register(Register::ISR.0 + u32::from(VECTOR / 32))), 0, "ISR");
    Ok(())
}
