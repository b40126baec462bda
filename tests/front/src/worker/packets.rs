//! Packets from one interface to another one of the same guest.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use guest_rt::timer;
use xen_abi::io::xenbus::XenbusState;

use super::Tally;
use crate::front::Front;
use crate::ground::{Check, report};
use crate::net::{Address, BROADCAST, HEADER, Net, OWN_TYPE, frame};
use crate::random::Random;

/// Time between two rounds, ns.
const ROUND_NS: u64 = 2_000_000;
/// Packets of a round.
const BURST: usize = 4;
/// Rounds between two looks at the back end's state, and between two packets to everybody.
const ROUNDS: u64 = 8;
/// Bytes behind the header, at most.
const LONGEST: u64 = 1400;

/// Uses an interface until it is taken away or the guest shuts down.
pub(super) async fn work(front: Front, tally: &Tally) -> Check {
    let number = front.number;
    let mut net = Net::connect(front).await?;
    report(&format!("worker: vif {number}"));
    tally.addresses.borrow_mut().insert(net.address);
    let used = exchange(&mut net, tally).await;
    tally.addresses.borrow_mut().remove(&net.address);
    used?;
    net.front.close().await
}

async fn exchange(net: &mut Net, tally: &Tally) -> Check {
    let mut random = Random(net.front.number.into());
    for round in 1_u64.. {
        if tally.stop.get() {
            break;
        }
        for to in peers(net, tally) {
            (0..BURST).for_each(|_| send(net, to, &mut random));
        }
        if round % ROUNDS == 0 {
            send(net, BROADCAST, &mut random);
        }
        net.kick();
        timer::within(ROUND_NS, net.port.event()).await;
        while let Some(frame) = net.receive()? {
            take(net.address, &frame, tally)?;
        }
        if round % ROUNDS == 0 && net.front.back_state().await != XenbusState::Connected {
            break;
        }
    }
    Ok(())
}

/// The other interfaces.
fn peers(net: &Net, tally: &Tally) -> Vec<Address> {
    tally.addresses.borrow().iter().copied().filter(|address| *address != net.address).collect()
}

fn send(net: &mut Net, to: Address, random: &mut Random) {
    let frame = frame(to, net.address, &payload(random.next()));
    // Where there is no room it is left out.
    net.send(&frame);
}

/// Checks a frame: it is for this interface, and as it was sent.
fn take(own: Address, bytes: &[u8], tally: &Tally) -> Check {
    let [to, from] = [0, 6].map(|at| bytes.get(at..at + 6).unwrap_or_default());
    if to != own && to.first().is_none_or(|first| first & 1 == 0) {
        return Err(format!("a packet that is for {to:02x?}"));
    }
    let is_own = tally.addresses.borrow().iter().any(|address| address == from);
    if !is_own || bytes.get(12..HEADER) != Some(&OWN_TYPE[..]) {
        return Ok(());
    }
    let received = bytes.get(HEADER..).unwrap_or_default();
    let seed = received.first_chunk().map_or(0, |seed| u64::from_le_bytes(*seed));
    if received != payload(seed) {
        return Err(format!("a packet of {} bytes is not as it was sent", bytes.len()));
    }
    tally.packets.set(tally.packets.get() + 1);
    Ok(())
}

/// What follows from its first word.
fn payload(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let length = 46 + usize::try_from(random.below(LONGEST)).unwrap_or(0);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    if let Some(first) = bytes.first_chunk_mut() {
        *first = seed.to_le_bytes();
    }
    bytes
}
