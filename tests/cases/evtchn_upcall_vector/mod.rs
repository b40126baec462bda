//! Upcalls by a vector of a vcpu come by its local APIC, and wait for an end of interrupt.

use guest_rt::apic::{Apic, Mode, Register};
use guest_rt::{events, hypercall, trap};
use xen_abi::errno::Errno;
use xen_abi::hvm_op::{HvmEvtchnUpcallVector, HvmOp};

use crate::evtchn;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-upcall-vector",
    description: "Upcalls by a vector of a vcpu come by its local APIC, and wait for an end of interrupt.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const VECTOR: u8 = 0xd3;
const BIT: u32 = 1 << (VECTOR % 32);

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    for (vcpu, vector, errno) in [(0, 0, Errno::EINVAL), (0, 15, Errno::EINVAL), (1, VECTOR, Errno::ENOENT)] {
        ensure_eq!(by_vector(vcpu, vector), Err(errno), "vector {vector} of vcpu {vcpu}");
    }
    let port = evtchn::bind_ipi(0)?;
    trap::set_handler(VECTOR, |_| events::forget_all(1));
    by_vector(0, VECTOR)?;
    // The local APIC is still off: it forgets the vector, not the event.
    events::unmask(port);
    evtchn::send(port)?;
    let apic = Apic::enable(Mode::XApic);
    let isr = || apic.read(Register(Register::ISR.0 + u32::from(VECTOR / 32))) & BIT;
    let irr = || apic.read(Register(Register::IRR.0 + u32::from(VECTOR / 32))) & BIT;
    ensure_eq!((irr(), isr(), trap::count(VECTOR)), (BIT, 0, 0), "IRR, ISR, upcalls with interrupts off");
    trap::enable();
    let _ = guest_rt::cpu::cpuid(0, 0);
    ensure_eq!((irr(), isr(), trap::count(VECTOR)), (0, BIT, 1), "IRR, ISR, upcalls with interrupts on");
    evtchn::send(port)?;
    ensure_eq!((irr(), trap::count(VECTOR)), (BIT, 1), "IRR, upcalls before the end of the first");
    apic.eoi();
    let _ = guest_rt::cpu::cpuid(0, 0);
    ensure_eq!((isr(), trap::count(VECTOR)), (BIT, 2), "ISR, upcalls after its end");
    apic.eoi();
    trap::disable();
    ensure_eq!((irr(), isr()), (0, 0), "IRR, ISR in the end");
    Ok(())
}

fn by_vector(vcpu: u32, vector: u8) -> Result<(), Errno> {
    let mut argument = HvmEvtchnUpcallVector { vcpu, vector, _pad: [0; 3] };
    hypercall::hvm_op(HvmOp::SetEvtchnUpcallVector, &mut argument).map(drop)
}
