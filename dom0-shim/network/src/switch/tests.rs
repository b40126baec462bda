use alloc::rc::Rc;
use core::pin::pin;
use core::task::Poll;
use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use futures_lite::future::{block_on, poll_once};
use proptest::prelude::*;

use super::table::AGE;
use super::{AddressInfo, BridgeInfo, Counts, MOST_INTERFACES, Port, Role, Switch};
use crate::link::{Abilities, Link};
use crate::packet::{Checksum, MacAddress, Packet, Segments};
use crate::testing::{A, B, BROADCAST, C, OUTSIDE, frame, tcp_v4};
use crate::vlan::{self, VlanId};

fn switch() -> Switch {
    let switch = Switch::new();
    for bridge in ["xenbr0", "gextbr0", "intbr0", "gintbr0"] {
        switch.add(bridge).unwrap();
    }
    switch
}

fn guest(address: MacAddress) -> Role {
    Role::Guest { address, vlan: None }
}

const UPLINK: Role = Role::Uplink { card: OUTSIDE, vlan: None };

fn packet(bytes: Vec<u8>) -> Packet {
    Packet { bytes, ..Packet::default() }
}

fn send(port: &Port, to: MacAddress, from: MacAddress, text: &str) {
    port.send(packet(frame(to, from, text)));
}

/// Texts of the frames that wait at a port.
fn texts(port: &Port) -> Vec<String> {
    core::iter::from_fn(|| port.try_receive())
        .map(|it| String::from_utf8_lossy(&it.bytes[14..]).into())
        .collect()
}

#[test]
fn frames_go_to_their_address() {
    let switch = switch();
    let [a, b, c] = [("a", A), ("b", B), ("c", C)]
        .map(|(name, address)| switch.plug("gintbr0", name, guest(address)).unwrap());
    send(&a, B, A, "to b");
    send(&b, BROADCAST, B, "to all");
    send(&c, [1, 0, 0x5e, 0, 0, 1], C, "to a group");
    assert_eq!(texts(&a), ["to all", "to a group"]);
    assert_eq!(texts(&b), ["to b", "to a group"]);
    assert_eq!(texts(&c), ["to all"]);
}

#[test]
fn bridges_are_apart() {
    let switch = switch();
    let a = switch.plug("gintbr0", "a", guest(A)).unwrap();
    let b = switch.plug("intbr0", "b", guest(B)).unwrap();
    send(&a, BROADCAST, A, "x");
    send(&a, B, A, "x");
    assert_eq!(texts(&b), [""; 0]);
}

/// NET-09: nobody sends as somebody else.
#[test]
fn forgeries_are_refused() {
    let switch = switch();
    let uplink = switch.plug("xenbr0", "peth0", UPLINK).unwrap();
    let dom0 = switch.plug("xenbr0", "vif0.0", Role::Dom0 { address: C }).unwrap();
    let a = switch.plug("xenbr0", "a", guest(A)).unwrap();
    let _b = switch.plug("xenbr0", "b", guest(B)).unwrap();
    for (port, to, from) in [
        (&a, BROADCAST, B),
        (&a, BROADCAST, OUTSIDE),
        (&dom0, BROADCAST, A),
        // One that comes back, one from nowhere, one from a group.
        (&uplink, BROADCAST, A),
        (&uplink, BROADCAST, [0; 6]),
        (&uplink, BROADCAST, BROADCAST),
    ] {
        let before = port.counts();
        send(port, to, from, "forged");
        assert_eq!(port.counts(), Counts { refused: before.refused + 1, ..before });
    }
}

#[test]
fn what_cannot_be_a_frame_is_refused() {
    let switch = switch();
    let a = switch.plug("gintbr0", "a", guest(A)).unwrap();
    let b = switch.plug("gintbr0", "b", guest(B)).unwrap();
    let whole = frame(B, A, "");
    for length in 0..14 {
        a.send(packet(whole[..length].to_vec()));
    }
    a.send(packet(whole.iter().copied().chain([0; 65540]).collect()));
    a.send(Packet { checksum: Checksum::Blank, ..packet(whole.clone()) });
    a.send(Packet { segments: Some(Segments { size: 1000, v6: false }), ..packet(whole.clone()) });
    for last in [0, 1, 2, 3, 0xe, 0xf] {
        send(&a, [1, 0x80, 0xc2, 0, 0, last], A, "spanning tree");
    }
    assert_eq!(a.counts(), Counts { refused: 23, ..Counts::default() });
    a.send(packet(whole));
    send(&a, [1, 0x80, 0xc2, 0, 0, 0x10], A, "");
    assert_eq!(texts(&b), ["", ""]);
}

#[test]
fn a_frame_is_long_enough_without_its_tag() {
    let switch = switch();
    let a = switch.plug("gintbr0", "a", guest(A)).unwrap();
    let b = switch.plug("gintbr0", "b", guest(B)).unwrap();
    let tagged = |rest: &[u8]| [&frame(B, A, "")[..12], &[0x81, 0, 0, 0], rest].concat();
    for rest in [&[][..], &[8]] {
        a.send(packet(tagged(rest)));
    }
    assert_eq!((a.counts().refused, b.try_receive()), (2, None));
    a.send(packet(tagged(&[8, 0])));
    assert_eq!(b.try_receive().unwrap().bytes.len(), 14);
}

/// Ports that nobody empties: all of them together take no more than there is for them, and
/// leave something to the others.
#[test]
fn queues_that_nobody_empties_are_bounded_together() {
    let switch = switch();
    let a = switch.plug("gintbr0", "a", guest(A)).unwrap();
    let plug =
        |last: u8| switch.plug("gintbr0", &format!("idle{last}"), guest([2, 0, 0, 0, 9, last])).unwrap();
    let idle: Vec<Rc<Port>> = (0..60).map(plug).collect();
    let text = "x".repeat(8000);
    (0..200).for_each(|_| send(&a, BROADCAST, A, &text));
    let bytes = |port: &Rc<Port>| port.counts().received_bytes;
    let all: u64 = idle.iter().map(bytes).sum();
    assert!(all < 16 << 20 && idle.iter().all(|port| bytes(port) > 100_000), "{all}");
    let late = plug(60);
    (0..10).for_each(|_| send(&a, [2, 0, 0, 0, 9, 60], A, &text));
    assert_eq!(texts(&late).len(), 10);
    drop(idle);
    let next = plug(0);
    (0..100).for_each(|_| send(&a, [2, 0, 0, 0, 9, 0], A, &text));
    assert_eq!(texts(&next).len(), 100, "what went takes its memory with it");
}

#[test]
fn unknown_addresses_are_outside() {
    let switch = switch();
    let uplink = switch.plug("xenbr0", "peth0", UPLINK).unwrap();
    let a = switch.plug("xenbr0", "a", guest(A)).unwrap();
    let b = switch.plug("xenbr0", "b", guest(B)).unwrap();
    send(&a, OUTSIDE, A, "out");
    send(&uplink, B, OUTSIDE, "in");
    send(&uplink, C, OUTSIDE, "passing by");
    // To its own address: it knows that.
    send(&a, A, A, "self");
    assert_eq!((texts(&uplink), texts(&a), texts(&b)), (vec!["out".into()], vec![], vec!["in".into()]));
}

#[test]
fn two_uplinks_learn() {
    let switch = switch();
    let one = switch.plug("gextbr0", "peth0", UPLINK).unwrap();
    let two = switch.plug("gextbr0", "peth1", UPLINK).unwrap();
    let a = switch.plug("gextbr0", "a", guest(A)).unwrap();
    send(&a, OUTSIDE, A, "where?");
    assert_eq!((texts(&one), texts(&two)), (vec!["where?".into()], vec!["where?".into()]));
    send(&two, A, OUTSIDE, "here");
    send(&a, OUTSIDE, A, "there");
    assert_eq!((texts(&one), texts(&two)), (vec![], vec!["there".into()]));
    let learned = AddressInfo { address: OUTSIDE, vlan: None, interface: "peth1".into(), age: Some(0) };
    assert!(switch.addresses("gextbr0").unwrap().contains(&learned));
    switch.advance(AGE);
    send(&a, OUTSIDE, A, "gone?");
    assert_eq!((texts(&one), texts(&two)), (vec!["gone?".into()], vec!["gone?".into()]));
}

/// NET-16: an access port of a VLAN, the tag of which is outside only.
#[test]
fn access_ports_are_in_their_vlan() {
    let switch = switch();
    let ten = VlanId::new(10).unwrap();
    let uplink = switch.plug("gextbr0", "peth0", UPLINK).unwrap();
    let plain = switch.plug("gextbr0", "a", guest(A)).unwrap();
    let inside = switch.plug("gextbr0", "b", Role::Guest { address: B, vlan: Some(ten) }).unwrap();
    send(&inside, BROADCAST, B, "b");
    let mut tagged = uplink.try_receive().unwrap().bytes;
    assert_eq!(tagged[12..16], [0x81, 0, 0, 10]);
    assert_eq!(texts(&plain), [""; 0]);
    tagged[6..12].copy_from_slice(&OUTSIDE);
    uplink.send(packet(tagged));
    send(&uplink, BROADCAST, C, "untagged");
    send(&uplink, B, C, "untagged");
    send(&inside, A, B, "across");
    assert_eq!((texts(&inside), texts(&plain)), (vec!["b".into()], vec!["untagged".into()]));
    // Looked for outside, in its VLAN.
    let across = uplink.try_receive().unwrap();
    assert_eq!(vlan::tag(&across.bytes), vlan::Tag::Vlan(ten));
}

#[test]
fn guests_choose_no_vlan() {
    let switch = switch();
    let uplink = switch.plug("gextbr0", "peth0", UPLINK).unwrap();
    let a = switch.plug("gextbr0", "a", guest(A)).unwrap();
    let [ten, twenty] = [10, 20].map(|number| VlanId::new(number).unwrap());
    let tagged = |outer: [u8; 4], inner: Option<VlanId>| {
        let mut bytes = frame(BROADCAST, A, "x");
        if let Some(inner) = inner {
            vlan::push(&mut bytes, inner);
        }
        bytes.splice(12..12, outer);
        packet(bytes)
    };
    a.send(tagged([0x81, 0, 0, 10], None));
    a.send(tagged([0x81, 0, 0, 0], Some(ten)));
    a.send(tagged([0x88, 0xa8, 0, 10], None));
    a.send(tagged([0x81, 0, 0x0f, 0xff], None));
    assert_eq!(a.counts().refused, 4);
    // A priority is fine, and goes no further.
    a.send(tagged([0x81, 0, 0xe0, 0], None));
    assert_eq!(texts(&uplink), ["x"]);
    // Two tags from outside.
    let mut double = frame(BROADCAST, OUTSIDE, "x");
    vlan::push(&mut double, twenty);
    vlan::push(&mut double, ten);
    uplink.send(packet(double));
    assert_eq!(uplink.counts().refused, 1);
}

#[test]
fn a_bridge_on_a_tagged_card() {
    let switch = switch();
    let ten = VlanId::new(10).unwrap();
    let uplink = switch.plug("gextbr0", "peth0.10", Role::Uplink { card: OUTSIDE, vlan: Some(ten) }).unwrap();
    let a = switch.plug("gextbr0", "a", guest(A)).unwrap();
    send(&a, BROADCAST, A, "out");
    let mut back = uplink.try_receive().unwrap().bytes;
    assert_eq!(vlan::tag(&back), vlan::Tag::Vlan(ten));
    back[6..12].copy_from_slice(&OUTSIDE);
    uplink.send(packet(back));
    send(&uplink, A, OUTSIDE, "untagged");
    assert_eq!(texts(&a), ["out"]);
    assert_eq!(uplink.counts().refused, 1);
}

#[test]
fn queues_end_and_drops_are_counted() {
    let switch = switch();
    let a = switch.plug("gintbr0", "a", guest(A)).unwrap();
    let b = switch.plug("gintbr0", "b", guest(B)).unwrap();
    for _ in 0..1000 {
        send(&a, B, A, "x");
    }
    assert_eq!((b.counts().received_packets, b.counts().dropped), (512, 488));
    assert_eq!((a.counts().sent_packets, a.counts().sent_bytes), (1000, 15000));
    assert_eq!(texts(&b).len(), 512);
    let long = packet([frame(B, A, ""), vec![0; 60000]].concat());
    for _ in 0..100 {
        a.send(long.clone());
    }
    assert_eq!(texts(&b).len(), 17);
    send(&a, B, A, "room again");
    assert_eq!(texts(&b), ["room again"]);
}

#[test]
fn interfaces_get_what_they_can_take() {
    let switch = switch();
    let a = switch.plug("gintbr0", "a", guest(A)).unwrap();
    let b = switch.plug("gintbr0", "b", guest(B)).unwrap();
    let long = Packet {
        bytes: tcp_v4(3000),
        checksum: Checksum::Blank,
        segments: Some(Segments { size: 1448, v6: false }),
    };
    a.send(long.clone());
    let lengths: Vec<usize> = core::iter::from_fn(|| b.try_receive()).map(|it| it.bytes.len()).collect();
    assert_eq!(lengths, [1502, 1502, 158]);
    b.set_abilities(Abilities { blank_v4: true, long_v4: true, ..Abilities::default() });
    a.send(long.clone());
    assert_eq!(b.try_receive(), Some(long));
}

#[test]
fn groups_that_nobody_asked_for() {
    let switch = switch();
    let a = switch.plug("gintbr0", "a", guest(A)).unwrap();
    let b = switch.plug("gintbr0", "b", guest(B)).unwrap();
    let (wanted, other) = ([1, 0, 0x5e, 0, 0, 1], [1, 0, 0x5e, 0, 0, 2]);
    let all = |expected: &[&str]| {
        for (to, text) in [(wanted, "wanted"), (other, "other"), (BROADCAST, "broadcast")] {
            send(&a, to, A, text);
        }
        assert_eq!(texts(&b), expected);
    };
    all(&["wanted", "other", "broadcast"]);
    b.set_multicast(Some(&[wanted]));
    all(&["wanted", "broadcast"]);
    b.set_multicast(Some(&[]));
    all(&["broadcast"]);
    // More than a front end may ask for: all.
    b.set_multicast(Some(&[wanted; 65]));
    all(&["wanted", "other", "broadcast"]);
    b.set_multicast(None);
    all(&["wanted", "other", "broadcast"]);
}

#[test]
fn who_waits_is_woken_and_loses_nothing() {
    let switch = switch();
    let a = switch.plug("gintbr0", "a", guest(A)).unwrap();
    let b = switch.plug("gintbr0", "b", guest(B)).unwrap();
    block_on(async {
        {
            let mut given_up = pin!(b.receive());
            assert!(poll_once(given_up.as_mut()).await.is_none());
        }
        send(&a, B, A, "one");
        assert_eq!(b.receive().await.bytes[14..], *b"one");
        let mut first = true;
        let sent = core::future::poll_fn(|context| {
            if core::mem::take(&mut first) {
                // The other future is polled before this one again.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            send(&a, B, A, "two");
            Poll::Ready(())
        });
        let (packet, ()) = futures_lite::future::zip(b.receive(), sent).await;
        assert_eq!(packet.bytes[14..], *b"two");
    });
}

#[test]
fn an_unplugged_interface_is_gone() {
    let switch = switch();
    let a = switch.plug("gintbr0", "a", guest(A)).unwrap();
    let b = switch.plug("gintbr0", "b", guest(B)).unwrap();
    drop(b);
    send(&a, B, A, "lost");
    send(&a, BROADCAST, A, "lost");
    assert_eq!(switch.addresses("gintbr0").unwrap().len(), 1);
    // Its name and address can be had again, and nothing is left of what was for it.
    let b = switch.plug("intbr0", "b", guest(B)).unwrap();
    assert_eq!(b.try_receive(), None);
    assert_eq!(b.bridge(), "intbr0");
}

/// NET-03, NET-06, NET-09, NET-12, NET-16.
#[test]
fn what_cannot_be_plugged_in() {
    let switch = switch();
    let _a = switch.plug("xenbr0", "vif1.0", guest(A)).unwrap();
    let vlan = VlanId::new(3);
    let dom0 = Role::Dom0 { address: B };
    let cases = [
        ("xenbr1", "b", guest(B), "no bridge `xenbr1`: there are gextbr0, gintbr0, intbr0, xenbr0"),
        ("xenbr0", "vif1.0", guest(B), "there is an interface `vif1.0` already"),
        (
            "gintbr0",
            "vif2.0",
            Role::Guest { address: A, vlan },
            "address 02:17:42:2f:00:01 is that of `vif1.0`: each has one of its own",
        ),
        ("xenbr0", "b", guest([0; 6]), "00:00:00:00:00:00 is no address of an interface"),
        (
            "xenbr0",
            "b",
            guest([1, 0, 0, 0, 0, 1]),
            "01:00:00:00:00:01 is an address of a group: its first byte must be even",
        ),
        ("gextbr0", "b", dom0, "Dom0 cannot be at bridge `gextbr0`: take xenbrN or intbrN"),
        ("gintbr0", "b", dom0, "Dom0 cannot be at bridge `gintbr0`: take xenbrN or intbrN"),
        ("intbr0", "b", UPLINK, "bridge `intbr0` cannot have an uplink: take xenbrN or gextbrN"),
        ("gintbr0", "b", UPLINK, "bridge `gintbr0` cannot have an uplink: take xenbrN or gextbrN"),
        (
            "xenbr0",
            "b",
            Role::Uplink { card: B, vlan },
            "bridge `xenbr0` cannot be in a VLAN of the outside: take gextbrN",
        ),
    ];
    for (bridge, name, role, expected) in cases {
        let error = switch.plug(bridge, name, role).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(switch.show()[3].interfaces, ["vif1.0"], "nothing is left of what was refused");
}

/// NET-16: as a configuration says it.
#[test]
fn guests_interfaces() {
    let switch = switch();
    let port = switch.plug_guest("gextbr0.10", None, A).unwrap();
    assert_eq!(port.role(), Role::Guest { address: A, vlan: VlanId::new(10) });
    let other = switch.plug_guest("gextbr0", None, B).unwrap();
    assert_eq!((port.name(), other.role()), ("".into(), guest(B)));
    port.rename("vif1.0");
    assert_eq!(switch.show()[0].interfaces, ["vif1.0", ""]);
    let refused = |bridge: &str, name| switch.plug_guest(bridge, name, C).err().unwrap().to_string();
    assert_eq!(refused("gextbr0.4095", None), "no VLAN `4095`: numbers are 1 to 4094, as in gextbr0.10");
    assert_eq!(refused("gextbr0.", None), "no VLAN ``: numbers are 1 to 4094, as in gextbr0.10");
    assert_eq!(refused("gextbr0", Some("vif1.0")), "there is an interface `vif1.0` already");
    assert_eq!(refused("nobr0.5", None), "no bridge `nobr0`: there are gextbr0, gintbr0, intbr0, xenbr0");
}

/// NET-06, LIM-08.
#[test]
fn a_bridge_has_room_for_64_interfaces() {
    let switch = switch();
    let _uplink = switch.plug("xenbr0", "peth0", UPLINK).unwrap();
    let plug =
        |number: u8| switch.plug("xenbr0", &std::format!("vif{number}.0"), guest([2, 0, 0, 0, 0, number]));
    let mut ports: Vec<Rc<Port>> = (1..=64).map(|number| plug(number).unwrap()).collect();
    let error = plug(65).err().unwrap();
    assert_eq!(error.to_string(), "bridge `xenbr0` is full: it has 64 interfaces");
    assert!(switch.plug("xenbr0", "vif0.0", Role::Dom0 { address: A }).is_ok(), "Dom0's is none of them");
    ports.pop();
    assert!(plug(65).is_ok());
    assert_eq!(ports.len() + 1, MOST_INTERFACES);
}

#[test]
fn bridges_have_their_names() {
    let switch = Switch::new();
    assert_eq!(switch.default_bridge(), None);
    assert_eq!(
        switch.plug("xenbr0", "a", guest(A)).err().unwrap().to_string(),
        "no bridge `xenbr0`: there is none at all"
    );
    for name in ["gintbr0", "gextbr2", "intbr1", "intbr0"] {
        switch.add(name).unwrap();
    }
    assert_eq!(switch.default_bridge().unwrap(), "intbr0");
    let _outside = switch.plug("gextbr2", "peth0", UPLINK).unwrap();
    assert_eq!(switch.default_bridge().unwrap(), "intbr0");
    // T-67.
    for name in ["xenbr0", "xenbr1"] {
        switch.add(name).unwrap();
    }
    let _outside = switch.plug("xenbr1", "peth1", UPLINK).unwrap();
    assert_eq!(switch.default_bridge().unwrap(), "xenbr1");
    assert_eq!(switch.add("xenbr1").unwrap_err().to_string(), "there is a bridge `xenbr1` already");
    assert_eq!(
        switch.add("br0").unwrap_err().to_string(),
        "no bridge can be called `br0`: names are xenbrN, gextbrN, intbrN or gintbrN, N from 0 to 127"
    );
}

/// NET-21.
#[test]
fn bridges_are_shown() {
    let switch = switch();
    let _uplink = switch.plug("xenbr0", "peth0", UPLINK).unwrap();
    let _dom0 = switch.plug("xenbr0", "vif0.0", Role::Dom0 { address: [0x52, 0, 0, 0, 0, 1] }).unwrap();
    let shown = switch.show();
    let name = |it: &BridgeInfo| it.name.clone();
    assert_eq!(shown.iter().map(name).collect::<Vec<_>>(), ["gextbr0", "gintbr0", "intbr0", "xenbr0"]);
    assert_eq!(shown[0].id, "8000.000000000000");
    assert_eq!(
        (&shown[3].id[..], &shown[3].interfaces[..]),
        ("8000.520000000001", &["peth0".into(), "vif0.0".into()][..])
    );
}

/// A port of the model.
#[derive(Clone, Copy, Debug)]
struct Place {
    bridge: usize,
    role: Role,
}

const ADDRESSES: [MacAddress; 5] = [A, B, C, OUTSIDE, [0x52, 0, 0, 0, 0, 9]];
const BRIDGES: [&str; 2] = ["gextbr0", "gextbr1"];

fn places() -> impl Strategy<Value = Vec<Place>> {
    let vlan = || prop::option::of((1_u16..4).prop_map(|number| VlanId::new(number).unwrap()));
    let guest = (0_usize..2, 0_usize..4, vlan()).prop_map(|(bridge, address, vlan)| Place {
        bridge,
        role: Role::Guest { address: ADDRESSES[address], vlan },
    });
    let uplink = (0_usize..2, vlan())
        .prop_map(|(bridge, vlan)| Place { bridge, role: Role::Uplink { card: C, vlan } });
    prop::collection::vec(prop_oneof![3 => guest, 2 => uplink], 1..7)
}

#[derive(Clone, Debug)]
struct Sent {
    from: prop::sample::Index,
    to: MacAddress,
    source: MacAddress,
    tags: Vec<u16>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let address = || prop::sample::select(&ADDRESSES[..]);
    let to = prop_oneof![3 => address(), 1 => Just(BROADCAST), 1 => Just([1, 0, 0x5e, 0, 0, 7])];
    let tags = prop_oneof![3 => Just(vec![]), 3 => prop::collection::vec(0_u16..4, 1..3)];
    (any::<prop::sample::Index>(), to, address(), tags).prop_map(|(from, to, source, tags)| Sent {
        from,
        to,
        source,
        tags,
    })
}

impl Sent {
    fn frame(&self, number: usize) -> Vec<u8> {
        let mut bytes = [&self.to[..], &self.source].concat();
        for tag in &self.tags {
            bytes.extend([&[0x81, 0][..], &tag.to_be_bytes()].concat());
        }
        bytes.extend([0x88, 0xb5]);
        bytes.extend(number.to_be_bytes());
        bytes
    }
}

/// What the outside told so far: bridge, VLAN, address, port. Later entries count.
type Heard = Vec<(usize, u16, MacAddress, usize)>;

/// The port where a frame with these tags is in a VLAN, and the other way round.
fn vlan_at(role: Role, tags: &[u16]) -> Option<u16> {
    match (role, tags) {
        (Role::Guest { vlan, .. }, [] | [0]) => Some(vlan.map_or(0, VlanId::number)),
        (Role::Uplink { vlan: None, .. }, []) => Some(0),
        (Role::Uplink { vlan: None, .. }, [vlan]) => Some(*vlan),
        (Role::Uplink { vlan: Some(own), .. }, [vlan]) if own.number() == *vlan => Some(0),
        _ => None,
    }
}

/// Who gets a frame by the rules, with which tags.
fn expected(places: &[Place], heard: &mut Heard, from: usize, sent: &Sent) -> Vec<(usize, Vec<u16>)> {
    let Place { bridge, role } = places[from];
    let Some(vlan) = vlan_at(role, &sent.tags) else { return vec![] };
    let owner = |address: MacAddress| {
        places.iter().position(|place| {
            place.bridge == bridge
                && place.role.pinned() == Some(address)
                && vlan_at(place.role, &[]) == Some(vlan)
        })
    };
    match role.pinned() {
        Some(own) if own != sent.source => return vec![],
        None if owner(sent.source).is_some() => return vec![],
        None => heard.push((bridge, vlan, sent.source, from)),
        Some(_) => {}
    }
    let known = heard.iter().rev().find(|it| (it.0, it.1, it.2) == (bridge, vlan, sent.to)).map(|it| it.3);
    let group = sent.to[0] & 1 != 0;
    let chosen = |number: usize| match owner(sent.to).or(known) {
        _ if group => true,
        Some(port) => port == number,
        None => places[number].role.pinned().is_none(),
    };
    let tags = |number: usize| {
        [vec![], vec![1], vec![2], vec![3]]
            .into_iter()
            .find(|tags| vlan_at(places[number].role, tags) == Some(vlan))
    };
    let there = (0..places.len()).filter(|&it| it != from && places[it].bridge == bridge && chosen(it));
    there.filter_map(|number| Some((number, tags(number)?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Each frame goes to whom the rules say, and to nobody else; never back.
    #[test]
    fn forwards_as_the_model(wanted in places(), frames in prop::collection::vec(sent(), 1..60)) {
        let switch = Switch::new();
        for bridge in BRIDGES {
            switch.add(bridge).unwrap();
        }
        let (mut places, mut ports) = (Vec::new(), Vec::new());
        for (number, place) in wanted.into_iter().enumerate() {
            let name = std::format!("port{number}");
            if let Ok(port) = switch.plug(BRIDGES[place.bridge], &name, place.role) {
                places.push(place);
                ports.push(port);
            }
        }
        let mut heard = Vec::new();
        for (number, sent) in frames.iter().enumerate() {
            let from = sent.from.index(ports.len());
            ports[from].send(packet(sent.frame(number)));
            let mut due = expected(&places, &mut heard, from, sent);
            for (number_of_port, port) in ports.iter().enumerate() {
                while let Some(got) = port.try_receive() {
                    let at = due.iter().position(|(port, _)| *port == number_of_port);
                    prop_assert!(at.is_some(), "port {} must not see {:?}", number_of_port, sent);
                    let (_, tags) = due.remove(at.unwrap());
                    prop_assert_eq!(got.bytes, Sent { tags, ..sent.clone() }.frame(number));
                }
            }
            prop_assert!(due.is_empty(), "{:?} is missing at {:?}", sent, due);
        }
    }

    /// Whatever the bytes and claims, nothing panics and nothing comes back.
    #[test]
    fn garbage_is_survived(
        head: [u8; 40],
        like_a_packet: bool,
        length in 0_usize..3000,
        blank: bool,
        segments: Option<(u16, bool)>,
    ) {
        let switch = Switch::new();
        switch.add("xenbr0").unwrap();
        let uplink = switch.plug("xenbr0", "peth0", UPLINK).unwrap();
        let a = switch.plug("xenbr0", "a", guest(A)).unwrap();
        let b = switch.plug("xenbr0", "b", guest(B)).unwrap();
        b.set_abilities(Abilities { blank_v4: true, ..Abilities::default() });
        let mut bytes = tcp_v4(2000);
        let kept = if like_a_packet { 16 } else { 0 };
        bytes[kept..kept + 40].copy_from_slice(&head);
        bytes.truncate(length);
        let packet = Packet {
            bytes,
            checksum: if blank { Checksum::Blank } else { Checksum::Present },
            segments: segments.map(|(size, v6)| Segments { size, v6 }),
        };
        a.send(packet.clone());
        prop_assert_eq!(a.try_receive(), None);
        for port in [&uplink, &b] {
            while let Some(got) = port.try_receive() {
                prop_assert_eq!(got.bytes[6..12].to_vec(), A.to_vec());
                prop_assert!(got.segments.is_none());
            }
        }
        uplink.send(packet);
        prop_assert_eq!(uplink.try_receive(), None);
    }
}
