//! Events come in the order in which they were sent, the more urgent queues first; none is lost or doubled.

use alloc::vec::Vec;

use xen_abi::RawPort;

use crate::evtchn;
use crate::fifo::Fifo;
use crate::guest::Guest;
use crate::random::Random;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-fifo-order",
    description: "Events come in the order in which they were sent, the more urgent queues first; none is lost or doubled.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const PORTS: usize = 200;
const ROUNDS: usize = 50;

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    let early = evtchn::bind_ipi(0)?;
    evtchn::send(early)?;
    let mut fifo = Fifo::new(0, 1)?;
    ensure!(fifo.is_pending(early) && !fifo.is_linked(early), "an event from before the change");
    fifo.unmask(early)?;
    ensure_eq!(fifo.take_all(), [early], "it, when it is unmasked");

    let mut ports = Vec::new();
    for _ in 0..PORTS {
        let port = evtchn::bind_ipi(0)?;
        fifo.unmask(port)?;
        ports.push(port);
    }
    let mut random = Random(0x5eed);
    for round in 0..ROUNDS {
        random.shuffle(&mut ports);
        let sent = &ports[..1 + random.below(PORTS)];
        for &port in sent {
            evtchn::send(port)?;
            // The second one comes to nothing.
            evtchn::send(port)?;
        }
        ensure_eq!(fifo.take_all(), sent, "events of round {round}");
    }
    queues(&mut fifo, &ports)?;
    masked(&mut fifo, &ports)?;
    closed(&mut fifo, &ports)
}

/// The queue counts that a port had when its event came.
fn queues(fifo: &mut Fifo, ports: &[RawPort]) -> Check {
    let &[a, b, c, d, ..] = ports else { fail!("too few ports") };
    for (port, priority) in [(a, 15), (b, 7), (c, 0), (d, 7)] {
        evtchn::set_priority(port, priority)?;
        evtchn::send(port)?;
    }
    ensure_eq!(fifo.take_all(), [c, b, d, a], "events of several queues");
    evtchn::send(a)?;
    evtchn::send(b)?;
    evtchn::set_priority(a, 0)?;
    ensure_eq!(fifo.take_all(), [b, a], "an event whose port has changed its priority");
    evtchn::send(b)?;
    evtchn::send(a)?;
    ensure_eq!(fifo.take_all(), [a, b], "the next ones");
    Ok(())
}

fn masked(fifo: &mut Fifo, ports: &[RawPort]) -> Check {
    let &[.., a, b, c] = ports else { fail!("too few ports") };
    fifo.mask(a);
    for port in [a, b] {
        evtchn::send(port)?;
    }
    ensure!(fifo.is_pending(a) && !fifo.is_linked(a), "a masked event is in a queue");
    fifo.unmask(a)?;
    evtchn::send(c)?;
    ensure_eq!(fifo.take_all(), [b, a, c], "events, one of them masked for a while");
    // Masked while it is in its queue: it is passed over, and comes when it is unmasked.
    for port in [a, b] {
        evtchn::send(port)?;
    }
    fifo.mask(a);
    ensure_eq!(fifo.take_all(), [b], "without the one that was masked meanwhile");
    fifo.unmask(a)?;
    ensure_eq!(fifo.take_all(), [a], "it, when it is unmasked");
    Ok(())
}

fn closed(fifo: &mut Fifo, ports: &[RawPort]) -> Check {
    let &[.., a, b, c] = ports else { fail!("too few ports") };
    for port in [a, b, c] {
        evtchn::send(port)?;
    }
    evtchn::close(b)?;
    let other = evtchn::bind_ipi(0)?;
    ensure!(other != b, "a closed port that is still in its queue was bound anew");
    ensure_eq!(fifo.take_all(), [a, c], "without the one that was closed");
    ensure_eq!(evtchn::bind_ipi(0), Ok(b), "it, when the guest has taken it from its queue");
    Ok(())
}
