//! Requests and answers as frames: Ethernet, IPv4, UDP.

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Address, Ipv4Packet,
    Ipv4Repr, UDP_HEADER_LEN, UdpPacket, UdpRepr,
};

use crate::packet::MacAddress;

/// UDP ports (RFC 2131, section 4.1).
const SERVER: u16 = 67;
const CLIENT: u16 = 68;

/// The message in a frame from a client to this server or to all, and who sent it.
pub fn to_server(frame: &[u8], server: Ipv4Address) -> Option<(MacAddress, &[u8])> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let source = ethernet.src_addr().0;
    let ip = Ipv4Packet::new_checked(ethernet_payload(frame)?).ok()?;
    let whole = !ip.more_frags() && ip.frag_offset() == 0;
    let ours = ip.dst_addr() == server || ip.dst_addr().is_broadcast();
    if !whole || !ours || ip.next_header() != IpProtocol::Udp {
        return None;
    }
    let (start, end) = (usize::from(ip.header_len()), usize::from(ip.total_len()));
    let udp = UdpPacket::new_checked(ethernet_payload(frame)?.get(start..end)?).ok()?;
    if udp.dst_port() != SERVER {
        return None;
    }
    let end = start.checked_add(usize::from(udp.len()))?;
    Some((source, ethernet_payload(frame)?.get(start.checked_add(UDP_HEADER_LEN)?..end)?))
}

/// Where an answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    pub client: MacAddress,
    pub address: Ipv4Address,
}

/// Everybody.
pub const EVERYBODY: Destination = Destination { client: [0xff; 6], address: Ipv4Address::BROADCAST };

/// The frame of an answer.
pub fn from_server(server: (MacAddress, Ipv4Address), to: Destination, message: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let udp = UdpRepr { src_port: SERVER, dst_port: CLIENT };
    let ip = Ipv4Repr {
        src_addr: server.1,
        dst_addr: to.address,
        next_header: IpProtocol::Udp,
        payload_len: UDP_HEADER_LEN.saturating_add(message.len()),
        hop_limit: 64,
    };
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(server.0),
        dst_addr: EthernetAddress(to.client),
        ethertype: EthernetProtocol::Ipv4,
    };
    let length = ethernet.buffer_len().saturating_add(ip.buffer_len()).saturating_add(ip.payload_len);
    let mut bytes = vec![0; length];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &server.1.into(),
        &to.address.into(),
        message.len(),
        |place| place.copy_from_slice(message),
        &checksums,
    );
    bytes
}

fn ethernet_payload(frame: &[u8]) -> Option<&[u8]> {
    frame.get(EthernetFrame::<&[u8]>::header_len()..)
}
