//! What is typed reaches Dom0 with VIRQ_CONSOLE; what the log gains, it is told by VIRQ_CON_RING.
//!
//! Somebody types if the command line has `typed=yes`, as a boot scenario does.

use alloc::vec::Vec;

use guest_rt::{clock, events, hypercall, println};
use xen_abi::RawPort;
use xen_abi::errno::Errno;
use xen_abi::event_channel::{EventChannelOp, EvtchnBindVirq, EvtchnClose};
use xen_abi::xen::Virq;

use crate::controller::{Controller, until};
use crate::expect;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "console-input",
    description: "What is typed reaches Dom0 with VIRQ_CONSOLE; VIRQ_CON_RING tells of the log.",
    covers: &["LOG-01"],
    needs: &[],
    kind: Kind::Dom0(run),
};

const CONSOLE_IO: u64 = 18;
const READ: u64 = 1;
/// Time until somebody has typed.
const TYPING_MS: u64 = 20_000;
/// Time until an event has to be there.
const EVENT_MS: u64 = 1_000;

fn run(controller: &Controller) -> Check {
    clock::map_shared_info()?;
    events::mask_all();
    let mut earlier = [0; 64];
    while read(&mut earlier)? > 0 {}
    let (typed, grown) = (bind(Virq::Console)?, bind(Virq::ConRing)?);
    let again = EvtchnBindVirq { virq: Virq::Console as u32, vcpu: 0, port: 0 };
    let again = hypercall::event_channel_op(EventChannelOp::BindVirq, &mut { again });
    ensure_eq!(again, Err(Errno::EEXIST), "VIRQ_CONSOLE a second time");
    events::take(grown);
    println!("console-input: a line");
    ensure!(until(EVENT_MS, || events::take(grown)), "no VIRQ_CON_RING for a line of Dom0's");
    let result = if controller.boot().option("typed").is_some() { with_typist(typed) } else { Ok(()) };
    for port in [typed, grown] {
        hypercall::event_channel_op(EventChannelOp::Close, &mut EvtchnClose { port })?;
    }
    result
}

fn with_typist(typed: RawPort) -> Check {
    println!("console-input: type the word");
    // Of the switch key, two are input like any other.
    expect_input(typed, b"wo\x01\x01rd")?;
    println!("console-input: switch to the hypervisor and back, then type d");
    expect_input(typed, b"d")
}

/// Waits for the interrupt and for these bytes; nothing else comes. A read to an address that Dom0 does
/// not have loses none of them.
fn expect_input(typed: RawPort, expected: &[u8]) -> Check {
    ensure!(until(TYPING_MS, || events::take(typed)), "no VIRQ_CONSOLE");
    let refused = hypercall::raw(CONSOLE_IO, [READ, 1, expect::BAD_POINTERS[0], 0, 0]);
    expect::errno(refused, Errno::EFAULT, "read to nowhere")?;
    let mut input: Vec<u8> = Vec::new();
    let mut result = Ok(0);
    until(EVENT_MS, || {
        let mut byte = [0; 2];
        result = read(&mut byte);
        input.extend(byte.iter().take(result.unwrap_or(0)));
        input.len() >= expected.len() || result.is_err()
    });
    result?;
    ensure_eq!(input.as_slice(), expected, "input");
    Ok(())
}

fn read(out: &mut [u8]) -> Result<usize, Errno> {
    let list = [READ, out.len() as u64, out.as_mut_ptr() as u64, 0, 0];
    let count = hypercall::result(hypercall::raw(CONSOLE_IO, list))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX).min(out.len()))
}

fn bind(virq: Virq) -> Result<RawPort, Errno> {
    let mut bind = EvtchnBindVirq { virq: virq as u32, vcpu: 0, port: 0 };
    hypercall::event_channel_op(EventChannelOp::BindVirq, &mut bind)?;
    Ok(bind.port)
}
