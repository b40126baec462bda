use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, IpProtocol, Ipv4Address, Ipv4Cidr, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

use super::{Server, Settings};
use crate::packet::MacAddress;
use crate::testing::{A, B, C, OUTSIDE};

fn ip(last: u8) -> Ipv4Address {
    Ipv4Address::new(192, 168, 42, last)
}

fn settings(first: u8, last: u8) -> Settings {
    Settings {
        network: Ipv4Cidr::new(ip(1), 24),
        pool: ip(first)..=ip(last),
        lease: 600,
        router: None,
        dns: vec![],
        domain: None,
    }
}

fn server(first: u8, last: u8) -> Server {
    Server::new(OUTSIDE, settings(first, last))
}

/// A client's message.
struct Ask<'a> {
    from: MacAddress,
    repr: DhcpRepr<'a>,
}

fn ask(from: MacAddress, kind: DhcpMessageType) -> Ask<'static> {
    let none = Ipv4Address::UNSPECIFIED;
    let repr = DhcpRepr {
        message_type: kind,
        transaction_id: 0x1234_5678,
        secs: 0,
        client_hardware_address: EthernetAddress(from),
        client_ip: none,
        your_ip: none,
        server_ip: none,
        router: None,
        subnet_mask: None,
        relay_agent_ip: none,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: None,
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    Ask { from, repr }
}

impl Ask<'_> {
    fn wanting(mut self, address: Ipv4Address) -> Self {
        self.repr.requested_ip = Some(address);
        self
    }

    fn having(mut self, address: Ipv4Address) -> Self {
        self.repr.client_ip = address;
        self
    }

    fn of(mut self, server: Ipv4Address) -> Self {
        self.repr.server_identifier = Some(server);
        self
    }

    fn frame(&self) -> Vec<u8> {
        let mut message = vec![0; self.repr.buffer_len()];
        self.repr.emit(&mut DhcpPacket::new_unchecked(&mut message[..])).unwrap();
        frame(self.from, 67, &message)
    }
}

fn frame(from: MacAddress, port: u16, message: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let ip = Ipv4Repr {
        src_addr: Ipv4Address::UNSPECIFIED,
        dst_addr: Ipv4Address::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: 8 + message.len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; 14 + 20 + 8 + message.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    let ethertype = EthernetProtocol::Ipv4;
    EthernetRepr { src_addr: EthernetAddress(from), dst_addr: EthernetAddress::BROADCAST, ethertype }
        .emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    UdpRepr { src_port: 68, dst_port: port }.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &ip.src_addr.into(),
        &ip.dst_addr.into(),
        message.len(),
        |place| place.copy_from_slice(message),
        &checksums,
    );
    bytes
}

/// An answer, read by smoltcp.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Answer {
    kind: DhcpMessageType,
    address: Ipv4Address,
    /// Ethernet address and IP address that it goes to.
    to: (MacAddress, Ipv4Address),
    options: Vec<(u8, Vec<u8>)>,
}

fn read(bytes: &[u8]) -> Answer {
    let frame = EthernetFrame::new_checked(bytes).unwrap();
    assert_eq!(frame.src_addr().0, OUTSIDE);
    let packet = Ipv4Packet::new_checked(frame.payload()).unwrap();
    let checksums = ChecksumCapabilities::default();
    let ip = Ipv4Repr::parse(&packet, &checksums).unwrap();
    let udp = UdpPacket::new_checked(packet.payload()).unwrap();
    let ports = UdpRepr::parse(&udp, &ip.src_addr.into(), &ip.dst_addr.into(), &checksums).unwrap();
    assert_eq!((ports.src_port, ports.dst_port), (67, 68));
    let message = DhcpPacket::new_checked(udp.payload()).unwrap();
    let repr = DhcpRepr::parse(&message).unwrap();
    assert_eq!((repr.transaction_id, repr.server_identifier), (0x1234_5678, Some(self::ip(1))));
    let options = message.options().map(|it| (it.kind, it.data.to_vec())).collect();
    Answer { kind: repr.message_type, address: repr.your_ip, to: (frame.dst_addr().0, ip.dst_addr), options }
}

fn answer(server: &mut Server, ask: &Ask<'_>, now: u64) -> Option<Answer> {
    server.serve(&ask.frame(), now).expect("for the server").map(|bytes| read(&bytes))
}

fn option(answer: &Answer, kind: u8) -> Option<&[u8]> {
    answer.options.iter().find(|(it, _)| *it == kind).map(|(_, data)| &data[..])
}

/// The whole way to an address; `None` if there is none.
fn get(server: &mut Server, client: MacAddress, now: u64) -> Option<Ipv4Address> {
    let offer = answer(server, &ask(client, DhcpMessageType::Discover), now)?;
    assert_eq!(offer.kind, DhcpMessageType::Offer);
    let request = ask(client, DhcpMessageType::Request).wanting(offer.address).of(ip(1));
    let ack = answer(server, &request, now)?;
    assert_eq!((ack.kind, ack.address), (DhcpMessageType::Ack, offer.address));
    Some(ack.address)
}

/// NET-27.
#[test]
fn a_client_gets_its_address() {
    let mut server = server(10, 99);
    let offer = answer(&mut server, &ask(B, DhcpMessageType::Discover), 0).unwrap();
    // The address that the end of the Ethernet address says.
    assert_eq!((offer.kind, offer.address), (DhcpMessageType::Offer, ip(12)));
    assert_eq!(offer.to, (B, ip(12)));
    assert_eq!(option(&offer, 1), Some(&[255, 255, 255, 0][..]));
    assert_eq!(option(&offer, 51), Some(&600_u32.to_be_bytes()[..]));
    assert_eq!([3, 6, 12, 15].map(|kind| option(&offer, kind)), [None; 4], "nothing that is not set");
    assert!(server.leases(0).is_empty());
    let mut request = ask(B, DhcpMessageType::Request).wanting(ip(12)).of(ip(1));
    request.repr.additional_options = &[DhcpOption { kind: 12, data: b"debian" }];
    let ack = answer(&mut server, &request, 1).unwrap();
    assert_eq!((ack.kind, ack.address), (DhcpMessageType::Ack, ip(12)));
    assert_eq!(option(&ack, 12), Some(&b"debian"[..]));
    let [lease] = &server.leases(101)[..] else { panic!("one lease") };
    assert_eq!((lease.client, lease.address, lease.left), (B, ip(12), 500));
    assert_eq!(lease.name.as_deref(), Some("debian"));
}

#[test]
fn what_is_set_is_told() {
    let mut server = Server::new(
        OUTSIDE,
        Settings {
            router: Some(ip(254)),
            dns: vec![ip(7), ip(8)],
            domain: Some("example.org".into()),
            ..settings(10, 20)
        },
    );
    let offer = answer(&mut server, &ask(B, DhcpMessageType::Discover), 0).unwrap();
    assert_eq!(option(&offer, 3), Some(&[192, 168, 42, 254][..]));
    assert_eq!(option(&offer, 6), Some(&[192, 168, 42, 7, 192, 168, 42, 8][..]));
    assert_eq!(option(&offer, 15), Some(&b"example.org"[..]));
}

#[test]
fn addresses_stay_with_their_clients() {
    let mut server = server(10, 99);
    let first = get(&mut server, A, 0).unwrap();
    let second = get(&mut server, B, 0).unwrap();
    assert_ne!(first, second);
    // Long after the lease.
    assert_eq!(get(&mut server, A, 100_000), Some(first));
    // Released, and asked for again.
    assert_eq!(answer(&mut server, &ask(A, DhcpMessageType::Release).having(first), 100_001), None);
    assert_eq!(get(&mut server, A, 100_002), Some(first));
    // After Dom0 was started again: by rule, and because the client asks for it.
    let mut server = self::server(10, 99);
    assert_eq!(get(&mut server, B, 0), Some(second));
    let again = answer(&mut server, &ask(C, DhcpMessageType::Request).wanting(ip(50)), 0).unwrap();
    assert_eq!((again.kind, again.address), (DhcpMessageType::Ack, ip(50)));
}

#[test]
fn addresses_that_fall_together_differ() {
    let mut server = server(10, 12);
    let addresses: Vec<_> = [3, 6, 9].map(|last| get(&mut server, [2, 0, 0, 0, 0, last], 0).unwrap()).into();
    assert_eq!(addresses, [ip(10), ip(11), ip(12)]);
    // The pool is used up until a lease ends.
    assert_eq!(get(&mut server, [2, 0, 0, 0, 0, 4], 599), None);
    assert_eq!(get(&mut server, [2, 0, 0, 0, 0, 4], 600), Some(ip(10)));
    let renewed = ask([2, 0, 0, 0, 0, 3], DhcpMessageType::Request).having(ip(10));
    let refused = answer(&mut server, &renewed, 600).unwrap();
    assert_eq!((refused.kind, refused.to), (DhcpMessageType::Nak, ([0xff; 6], Ipv4Address::BROADCAST)));
    assert_eq!(option(&refused, 51), None);
}

#[test]
fn leases_are_renewed() {
    let mut server = server(10, 10);
    let address = get(&mut server, A, 0).unwrap();
    let ack = answer(&mut server, &ask(A, DhcpMessageType::Request).having(address), 500).unwrap();
    assert_eq!((ack.kind, ack.to), (DhcpMessageType::Ack, (A, address)));
    assert_eq!(get(&mut server, B, 1099), None);
    assert_eq!(get(&mut server, B, 1100), Some(address));
}

#[test]
fn wrong_wishes_are_refused() {
    let mut server = server(10, 20);
    let taken = get(&mut server, A, 0).unwrap();
    let outside = Ipv4Address::new(10, 0, 2, 15);
    for address in [taken, ip(1), ip(21), outside] {
        let refused = answer(&mut server, &ask(B, DhcpMessageType::Request).wanting(address), 0).unwrap();
        assert_eq!(refused.kind, DhcpMessageType::Nak, "{address}");
    }
    let offer = answer(&mut server, &ask(B, DhcpMessageType::Discover).wanting(outside), 0).unwrap();
    assert_eq!(offer.address, ip(12));
}

#[test]
fn another_server_was_chosen() {
    let mut server = server(10, 10);
    let offer = answer(&mut server, &ask(A, DhcpMessageType::Discover), 0).unwrap();
    assert_eq!(answer(&mut server, &ask(B, DhcpMessageType::Discover), 0), None);
    let chosen = ask(A, DhcpMessageType::Request).wanting(offer.address).of(ip(77));
    assert_eq!(answer(&mut server, &chosen, 0), None);
    assert_eq!(get(&mut server, B, 0), Some(ip(10)));
}

#[test]
fn declined_addresses_rest() {
    let mut server = server(10, 15);
    let first = get(&mut server, A, 0).unwrap();
    let decline = |server: &mut Server, by, address| {
        let decline = ask(by, DhcpMessageType::Decline).wanting(address).of(ip(1));
        assert_eq!(answer(server, &decline, 0), None);
    };
    // Only who has it declines an address.
    decline(&mut server, B, first);
    assert_eq!(get(&mut server, A, 0), Some(first));
    decline(&mut server, A, first);
    let second = get(&mut server, A, 0).unwrap();
    assert_ne!(second, first);
    assert_ne!(get(&mut server, [2, 0, 0, 0, 0, 1], 0), Some(first));
    // One client cannot make all rest.
    for _ in 0..20 {
        if let Some(address) = get(&mut server, A, 1) {
            decline(&mut server, A, address);
        }
    }
    assert!(get(&mut server, B, 1).is_some());
}

#[test]
fn a_client_with_an_address_asks_for_the_rest() {
    let mut server = server(10, 20);
    let ack = answer(&mut server, &ask(A, DhcpMessageType::Inform).having(ip(200)), 0).unwrap();
    assert_eq!(
        (ack.kind, ack.address, ack.to),
        (DhcpMessageType::Ack, Ipv4Address::UNSPECIFIED, (A, ip(200)))
    );
    assert_eq!(option(&ack, 51), None);
    let elsewhere = Ipv4Address::new(10, 0, 2, 15);
    assert_eq!(answer(&mut server, &ask(A, DhcpMessageType::Inform).having(elsewhere), 0), None);
}

#[test]
fn who_hears_broadcasts_only() {
    let mut server = server(10, 20);
    let mut discover = ask(A, DhcpMessageType::Discover);
    discover.repr.broadcast = true;
    assert_eq!(answer(&mut server, &discover, 0).unwrap().to, ([0xff; 6], Ipv4Address::BROADCAST));
}

#[test]
fn requests_for_nobody_here() {
    let mut server = server(10, 20);
    let mut forged = ask(A, DhcpMessageType::Discover);
    forged.from = B;
    assert_eq!(answer(&mut server, &forged, 0), None, "in the name of another");
    let mut relayed = ask(A, DhcpMessageType::Discover);
    relayed.repr.relay_agent_ip = ip(9);
    assert_eq!(answer(&mut server, &relayed, 0), None, "from another network");
    assert_eq!(answer(&mut server, &ask(A, DhcpMessageType::Offer), 0), None, "another server's");
    let good = ask(A, DhcpMessageType::Discover).frame();
    let message = &good[42..];
    assert_eq!(server.serve(&frame(A, 53, message), 0), None, "another port");
    let mut other = good.clone();
    other[30..34].copy_from_slice(&[192, 168, 42, 2]);
    assert_eq!(server.serve(&other, 0), None, "another host's");
    assert!(server.serve(&good, 0).flatten().is_some());
}

#[test]
fn names_are_shown_as_they_are_or_not_at_all() {
    let mut server = server(10, 20);
    let long = [b'a'; 64];
    for (name, kept) in
        [(&b"a-1.b\0"[..], true), (b"\x1b[2J", false), (b"\xff", false), (b"", false), (&long, false)]
    {
        let options = [DhcpOption { kind: 12, data: name }];
        let mut request = ask(A, DhcpMessageType::Request).wanting(ip(15));
        request.repr.additional_options = &options;
        let ack = answer(&mut server, &request, 0).unwrap();
        assert_eq!(option(&ack, 12).is_some(), kept);
    }
    assert_eq!(server.leases(0)[0].name.as_deref(), Some("a-1.b"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_survived(
        kind in 0_u8..=9,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut: Option<prop::sample::Index>,
        tail: Vec<u8>,
    ) {
        let mut server = server(10, 20);
        let mut bytes = ask(A, DhcpMessageType::from(kind)).wanting(ip(12)).frame();
        bytes.extend(tail);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for now in 0..2 {
            if let Some(Some(answer)) = server.serve(&bytes, now) {
                prop_assert!(EthernetFrame::new_checked(&answer[..]).is_ok());
            }
        }
    }

    /// Whatever clients do in whatever order, no address is two clients'.
    #[test]
    fn no_address_is_given_twice(steps in prop::collection::vec((0_u8..8, 0_u8..6, 0_u8..20, 0_u64..400), 1..80)) {
        let mut server = server(10, 15);
        let mut now = 0;
        let mut held: Vec<(MacAddress, Ipv4Address, u64)> = Vec::new();
        for (client, what, last, wait) in steps {
            now += wait;
            let mac = [2, 0, 0, 0, 0, client];
            let mine = held.iter().find(|it| it.0 == mac).map(|it| it.1);
            let got = match (what, mine) {
                (0, Some(address)) => {
                    answer(&mut server, &ask(mac, DhcpMessageType::Release).having(address), now);
                    held.retain(|it| it.0 != mac);
                    None
                }
                (1, Some(address)) => {
                    answer(&mut server, &ask(mac, DhcpMessageType::Decline).wanting(address), now);
                    held.retain(|it| it.0 != mac);
                    None
                }
                (2, _) => {
                    let request = ask(mac, DhcpMessageType::Request).wanting(ip(last));
                    let answer = answer(&mut server, &request, now).unwrap();
                    (answer.kind == DhcpMessageType::Ack).then_some(answer.address)
                }
                _ => get(&mut server, mac, now),
            };
            if let Some(address) = got {
                prop_assert!((10..=15).contains(&address.octets()[3]));
                held.retain(|it| it.0 != mac);
                held.push((mac, address, now + 600));
            }
            held.retain(|it| now < it.2);
            let mut addresses: Vec<_> = held.iter().map(|it| it.1).collect();
            addresses.sort();
            addresses.dedup();
            prop_assert_eq!(addresses.len(), held.len());
        }
    }
}
