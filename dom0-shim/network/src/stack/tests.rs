use std::rc::Rc;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use futures_lite::future::{block_on, or, zip};
use proptest::prelude::*;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use super::{Addressing, PingError, SECOND, Stack};
use crate::dhcp::{Server, Settings};
use crate::kernel::Kernel;
use crate::link::Link;
use crate::packet::Packet;
use crate::switch::{Port, Role, Switch};
use crate::testing::{A, B, C, Clock, frame, tcp_v4, udp_v4};

fn ip(last: u8) -> Ipv4Address {
    Ipv4Address::new(192, 168, 42, last)
}

fn settings() -> Settings {
    Settings {
        network: Ipv4Cidr::new(ip(1), 24),
        pool: ip(10)..=ip(20),
        lease: 600,
        router: Some(ip(1)),
        dns: vec![],
        domain: None,
    }
}

fn with_server(kernel: &Rc<Clock>, switch: &Switch) -> Stack<Clock> {
    let port = switch.plug("intbr0", "vif0.0", Role::Dom0 { address: A }).unwrap();
    let addressing = Addressing::Static { network: settings().network, gateway: None };
    Stack::new(kernel.clone(), port, addressing, Some(settings()))
}

fn plug(switch: &Switch, name: &str, address: [u8; 6]) -> Rc<Port> {
    switch.plug("intbr0", name, Role::Guest { address, vlan: None }).unwrap()
}

fn switch() -> Switch {
    let switch = Switch::new();
    switch.add("intbr0").unwrap();
    switch
}

/// NET-27: the server, with smoltcp as the client.
#[test]
fn an_address_and_pings() {
    let (kernel, switch) = (Rc::new(Clock::default()), switch());
    let dom0 = with_server(&kernel, &switch);
    let guest = Stack::new(kernel.clone(), plug(&switch, "vif1.0", B), Addressing::Dhcp, None);
    let silent = plug(&switch, "vif2.0", C);
    assert_eq!((guest.address(), guest.gateway()), (None, None));
    let work = async {
        assert_eq!(guest.ping(ip(1), SECOND).await, Err(PingError::NoAddress));
        let address = guest.configured().await;
        assert_eq!((address, guest.gateway()), (Ipv4Cidr::new(ip(12), 24), Some(ip(1))));
        assert_eq!((dom0.leases()[0].client, dom0.leases()[0].address), (B, ip(12)));
        assert!(guest.ping(ip(1), SECOND).await.unwrap() < SECOND);
        let both = zip(dom0.ping(ip(12), SECOND), dom0.ping(ip(13), SECOND)).await;
        assert!(both.0.unwrap() < SECOND);
        assert_eq!(both.1, Err(PingError::NoReply(ip(13))));
        let far = Ipv4Address::new(10, 0, 2, 2);
        assert_eq!(dom0.ping(far, SECOND).await, Err(PingError::NoRoute(far)));
        assert_eq!(
            dom0.ping(Ipv4Address::UNSPECIFIED, SECOND).await.unwrap_err().to_string(),
            "no route to 0.0.0.0"
        );
        assert_eq!(dom0.state.borrow().sockets.iter().count(), 0, "no socket is left");
        // Garbage does not stop it.
        for length in 14..60 {
            silent.send(Packet { bytes: frame(A, C, &"\x45\0".repeat(length)), ..Packet::default() });
        }
        dom0.ping(ip(12), SECOND).await.unwrap();
    };
    block_on(or(work, async {
        zip(dom0.run(), guest.run()).await;
    }));
    assert_eq!(kernel.lines(), ["intbr0: vif1.0 is 192.168.42.12/24, gateway 192.168.42.1"]);
}

/// Between clients and the server nobody else hears what they say, but for broadcasts.
#[test]
fn answers_go_to_the_client_only() {
    let (kernel, switch) = (Rc::new(Clock::default()), switch());
    let dom0 = with_server(&kernel, &switch);
    let guest = Stack::new(kernel.clone(), plug(&switch, "vif1.0", B), Addressing::Dhcp, None);
    let other = plug(&switch, "vif2.0", C);
    block_on(or(
        async {
            guest.configured().await;
        },
        async {
            zip(dom0.run(), guest.run()).await;
        },
    ));
    let heard: Vec<_> =
        core::iter::from_fn(|| other.try_receive()).map(|it| it.bytes[6..12].to_vec()).collect();
    assert!(!heard.is_empty() && heard.iter().all(|source| *source == B));
}

/// A frame to Dom0 of a protocol that it reads, with payload.
fn to_dom0(kind: usize, payload: usize) -> Vec<u8> {
    let mut bytes = match kind {
        0 => {
            let mut bytes = frame([0xff; 6], B, "");
            bytes[12..14].copy_from_slice(&[8, 6]);
            bytes.extend([0, 1, 8, 0, 6, 4, 0, 1]);
            bytes.extend([&B[..], &[192, 168, 42, 9], &[0; 6], &[192, 168, 42, 1]].concat());
            return bytes;
        }
        1 => tcp_v4(payload),
        2 => udp_v4(payload),
        _ => {
            let mut bytes = udp_v4(payload);
            bytes[23] = 1;
            bytes[34..42].copy_from_slice(&[8, 0, 0, 0, 0, 1, 0, 1]);
            let sum = crate::checksum::Sum::of(&bytes[34..]).checksum();
            bytes[36..38].copy_from_slice(&sum);
            bytes
        }
    };
    bytes[..12].copy_from_slice(&[A, B].concat());
    bytes[26..34].copy_from_slice(&[192, 168, 42, 9, 192, 168, 42, 1]);
    bytes[24..26].copy_from_slice(&[0; 2]);
    let sum = crate::checksum::Sum::of(&bytes[14..34]).checksum();
    bytes[24..26].copy_from_slice(&sum);
    bytes
}

#[test]
fn echo_requests_are_answered_if_one_frame_holds_them() {
    let (kernel, switch) = (Rc::new(Clock::default()), switch());
    let dom0 = with_server(&kernel, &switch);
    let guest = plug(&switch, "vif1.0", B);
    for (payload, answered) in [(0, true), (1472, true), (1473, false), (65000, false)] {
        for kind in [0, 3] {
            guest.send(Packet { bytes: to_dom0(kind, payload), ..Packet::default() });
        }
        dom0.poll();
        let answers: Vec<Packet> = core::iter::from_fn(|| guest.try_receive()).collect();
        let echo = answers.iter().any(|it| it.bytes[23] == 1 && it.bytes.len() == 42 + payload);
        assert_eq!(echo, answered, "{payload}");
    }
}

/// Any address; many that are no host's.
fn address() -> impl Strategy<Value = Ipv4Address> {
    let special = [0, u32::MAX, 0xe000_0001, 0x7f00_0001, 0xc0a8_2aff, 0xc0a8_2a00, 0xc0a8_2a01, 0x0a00_0001];
    prop_oneof![prop::sample::select(special.to_vec()), any::<u32>()].prop_map(Ipv4Address::from_bits)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Dom0's stack lives through whatever a guest sends, and answers afterwards.
    #[test]
    fn garbage_is_survived(frames in prop::collection::vec((
        0_usize..4,
        prop_oneof![0_usize..100, 1400_usize..65000],
        prop::collection::vec((14_usize..80, any::<u8>()), 0..6),
        prop::option::of(14_usize..120),
    ), 0..20)) {
        let (kernel, switch) = (Rc::new(Clock::default()), switch());
        let dom0 = with_server(&kernel, &switch);
        let guest = plug(&switch, "vif1.0", B);
        for (kind, payload, changes, cut) in frames {
            let mut bytes = to_dom0(kind, payload);
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            bytes.truncate(cut.unwrap_or(usize::MAX));
            guest.send(Packet { bytes, ..Packet::default() });
            dom0.poll();
            while guest.try_receive().is_some() {}
        }
        for kind in [0, 3] {
            guest.send(Packet { bytes: to_dom0(kind, 8), ..Packet::default() });
        }
        dom0.poll();
        let answers: Vec<Packet> = core::iter::from_fn(|| guest.try_receive()).collect();
        prop_assert!(answers.iter().any(|it| it.bytes.len() == 50 && it.bytes[23] == 1));
    }

    /// A DHCP server outside answers with whatever it likes.
    #[test]
    fn hostile_servers_are_survived(
        rounds in prop::collection::vec(prop::collection::vec((42_usize..342, any::<u8>()), 0..8), 1..6),
        own in address(),
        router in address(),
        lease in prop_oneof![0_u32..100, any::<u32>()],
        prefix in 0_u8..=32,
    ) {
        let (kernel, switch) = (Rc::new(Clock::default()), switch());
        let port = switch.plug("intbr0", "vif0.0", Role::Dom0 { address: A }).unwrap();
        let dom0 = Stack::new(kernel.clone(), port, Addressing::Dhcp, None);
        let outside = plug(&switch, "vif1.0", B);
        let pool = Ipv4Address::from_bits(own.to_bits() & 0xffff)..=Ipv4Address::from_bits(u32::MAX - 9);
        let network = Ipv4Cidr::new(own, prefix);
        let mut server = Server::new(B, Settings { network, pool, lease, router: Some(router), ..settings() });
        for changes in rounds {
            // The client asks again within a minute.
            for _ in 0..60 {
                dom0.poll();
                block_on(kernel.sleep_ns(SECOND));
                while let Some(packet) = outside.try_receive() {
                    let Some(Some(mut bytes)) = server.serve(&packet.bytes, 0) else { continue };
                    for &(at, byte) in &changes {
                        bytes[at] = byte;
                    }
                    // No checksum: whatever was changed is believed.
                    bytes[40..42].copy_from_slice(&[0; 2]);
                    outside.send(Packet { bytes, ..Packet::default() });
                }
            }
        }
        // Whoever is asked for now is looked for.
        let _ = block_on(or(dom0.ping(Ipv4Address::new(8, 8, 8, 8), SECOND), async {
            loop {
                dom0.poll();
                kernel.sleep_ns(SECOND / 4).await;
            }
        }));
        if let Some(address) = dom0.address() {
            prop_assert!(!address.address().is_multicast() && !address.address().is_unspecified());
        }
    }
}
