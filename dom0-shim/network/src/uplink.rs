//! Between a network card and the bridges that it is the uplink of.
//!
//! A card is that of one bridge with all its frames, and of others with those of one VLAN each
//! (`eth0.10`). Tags are put in and taken out at the ports.

use alloc::rc::Rc;

use futures_lite::future::yield_now;
use futures_util::future::{join, join_all};

use crate::link::Link;
use crate::nic::Nic;
use crate::packet::Packet;
use crate::switch::{Port, Role};
use crate::vlan::{self, Tag, VlanId};

/// The shortest frame without its check sequence (IEEE 802.3, clause 4.4.2: 64 with it). Not
/// every card fills it up.
const SHORTEST: usize = 60;

/// Frames that are taken from a card before others have their turn.
const BATCH: usize = 32;

/// Moves frames between a card and its ports, all of [`Role::Uplink`], for ever.
pub async fn run(nic: &impl Nic, ports: &[Rc<Port>]) {
    join(bring_in(nic, ports), join_all(ports.iter().map(|port| send_out(nic, port)))).await;
}

async fn bring_in(nic: &impl Nic, ports: &[Rc<Port>]) {
    loop {
        for _ in 0..BATCH {
            let bytes = nic.receive().await;
            if let Some(port) = port_of(ports, &bytes) {
                port.send(Packet { bytes, ..Packet::default() });
            }
        }
        yield_now().await;
    }
}

async fn send_out(nic: &impl Nic, port: &Port) {
    loop {
        let mut frame = port.receive().await.bytes;
        if frame.len() < SHORTEST {
            frame.resize(SHORTEST, 0);
        }
        nic.send(&frame).await;
    }
}

/// The port of a frame from the card: that of its VLAN if there is one.
fn port_of<'a>(ports: &'a [Rc<Port>], frame: &[u8]) -> Option<&'a Rc<Port>> {
    let of = |wanted: Option<VlanId>| {
        ports.iter().find(move |port| matches!(port.role(), Role::Uplink { vlan, .. } if vlan == wanted))
    };
    match vlan::tag(frame) {
        Tag::Vlan(vlan) => of(Some(vlan)).or_else(|| of(None)),
        _ => of(None),
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use futures_lite::future::{block_on, or, yield_now};

    use super::run;
    use crate::link::Link;
    use crate::packet::Packet;
    use crate::switch::{Role, Switch};
    use crate::testing::{A, B, BROADCAST, Card, OUTSIDE, frame};
    use crate::vlan::{self, VlanId};

    #[test]
    fn frames_find_their_bridges() {
        let switch = Switch::new();
        let (ten, card) = (VlanId::new(10), Card::default());
        switch.add("xenbr0").unwrap();
        switch.add("gextbr1").unwrap();
        let uplink = |vlan| Role::Uplink { card: OUTSIDE, vlan };
        let ports = [
            switch.plug("xenbr0", "peth0", uplink(None)).unwrap(),
            switch.plug("gextbr1", "peth0.10", uplink(ten)).unwrap(),
        ];
        let a = switch.plug("xenbr0", "a", Role::Guest { address: A, vlan: None }).unwrap();
        let b = switch.plug("gextbr1", "b", Role::Guest { address: B, vlan: None }).unwrap();
        let c = switch.plug("xenbr0", "c", Role::Guest { address: [2; 6], vlan: VlanId::new(11) }).unwrap();

        for number in [None, Some(10), Some(11), Some(12)] {
            let mut bytes = frame(BROADCAST, OUTSIDE, "in");
            if let Some(vlan) = number.and_then(VlanId::new) {
                vlan::push(&mut bytes, vlan);
            }
            card.arrive(bytes);
        }
        a.send(Packet { bytes: frame(OUTSIDE, A, "a"), ..Packet::default() });
        b.send(Packet { bytes: frame(OUTSIDE, B, "b"), ..Packet::default() });
        block_on(or(run(&card, &ports), async {
            for _ in 0..10 {
                yield_now().await;
            }
        }));

        for port in [&a, &b, &c] {
            assert_eq!(port.try_receive().unwrap().bytes, frame(BROADCAST, OUTSIDE, "in"));
            assert_eq!(port.try_receive(), None);
        }
        let mut sent = card.sent();
        sent.sort();
        let lengths: Vec<usize> = sent.iter().map(Vec::len).collect();
        assert_eq!(lengths, [60, 60], "short frames are filled up");
        assert!(sent[0][14..16] == *b"a\0" && sent[1][12..19] == *b"\x81\0\0\x0a\x88\xb5b");
    }

    /// A card that never stops receiving leaves time for others.
    #[test]
    fn a_flood_arrive_stops_nobody() {
        let card = Card::default();
        card.flood_with(frame(BROADCAST, OUTSIDE, "again"));
        block_on(or(run(&card, &[]), yield_now()));
    }
}
