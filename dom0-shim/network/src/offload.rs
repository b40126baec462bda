//! What senders left to a network card, done in software for who cannot take it: checksums
//! ([`complete`]) and long TCP packets ([`cut`]).

use core::ops::Range;

use crate::checksum::Sum;
use crate::headers::{ETHERNET, Headers, Malformed, word};
use crate::link::Abilities;
use crate::packet::{Checksum, Packet, Segments};

/// The smallest payload of a segment. A sender that asks for less makes thousands of frames of
/// one packet; no path is that narrow (RFC 791: each takes 68 bytes; RFC 879: 576 are usual).
pub const LEAST_SEGMENT: u16 = 88;

/// Flags of TCP that only the last segment has, FIN and PSH, and the one that only the first has, CWR
/// (RFC 3168, section 6.1.2).
const LAST_ONLY: u8 = 0x09;
const FIRST_ONLY: u8 = 0x80;

/// What is to be done to a packet before an interface can take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Nothing.
    None,
    /// Its checksum.
    Complete,
    /// It is cut.
    Cut,
}

/// Compares a packet from outside with what it says of itself, so that the other functions
/// can do their work. A long packet has a blank checksum from then on.
///
/// # Errors
///
/// Its headers are not those of such a packet.
pub fn admit(packet: &mut Packet) -> Result<(), Malformed> {
    if packet.segments.is_none() && packet.checksum != Checksum::Blank {
        return Ok(());
    }
    let headers = Headers::of(&packet.bytes)?;
    if let Some(Segments { size, v6 }) = packet.segments {
        if !headers.tcp || headers.v6 != v6 || size < LEAST_SEGMENT {
            return Err(Malformed);
        }
        // What is behind the packet would be in no segment.
        packet.bytes.truncate(headers.end);
        if packet.checksum != Checksum::Blank {
            let sum = headers.pseudo_sum(&packet.bytes, headers.end.saturating_sub(headers.transport));
            put(&mut packet.bytes, headers.checksum(), sum.partial());
            packet.checksum = Checksum::Blank;
        }
    }
    Ok(())
}

/// What an admitted packet lacks for an interface.
pub fn work(packet: &Packet, abilities: Abilities) -> Work {
    if packet.checksum != Checksum::Blank {
        return Work::None;
    }
    let v6 = word(&packet.bytes, 12) == Some(crate::headers::IPV6);
    let (blank, long) = match v6 {
        true => (abilities.blank_v6, abilities.long_v6),
        false => (abilities.blank_v4, abilities.long_v4),
    };
    match packet.segments {
        Some(_) if !(blank && long) => Work::Cut,
        None if !blank => Work::Complete,
        _ => Work::None,
    }
}

/// Writes a blank checksum.
///
/// # Errors
///
/// The packet was not admitted.
pub fn complete(packet: &mut Packet) -> Result<(), Malformed> {
    let headers = Headers::of(&packet.bytes)?;
    // The field holds the sum of the pseudo header.
    let sum = Sum::of(packet.bytes.get(headers.transport..headers.end).unwrap_or_default());
    put_checksum(&mut packet.bytes, &headers, sum);
    packet.checksum = Checksum::Valid;
    Ok(())
}

/// Cuts a long packet into frames, in their order, with all checksums, until `each` says that
/// there is no room for more: who has none costs no work.
///
/// # Errors
///
/// The packet was not admitted.
pub fn cut(packet: &Packet, mut each: impl FnMut(Packet) -> bool) -> Result<(), Malformed> {
    let segments = packet.segments.ok_or(Malformed)?;
    let headers = Headers::of(&packet.bytes)?;
    let payload = packet.bytes.get(headers.payload..headers.end).unwrap_or_default();
    let size = usize::from(segments.size.max(LEAST_SEGMENT));
    // A packet without payload is one segment all the same.
    let count = payload.len().div_ceil(size).max(1);
    for number in 0..count {
        let start = number.saturating_mul(size);
        let part = start..start.saturating_add(size).min(payload.len());
        if !each(segment(packet, &headers, payload, part)) {
            break;
        }
    }
    Ok(())
}

/// The frame of a part of a long packet's payload.
fn segment(packet: &Packet, headers: &Headers, payload: &[u8], part: Range<usize>) -> Packet {
    let (first, last) = (part.start == 0, part.end == payload.len());
    let head = packet.bytes.get(..headers.payload).unwrap_or_default();
    let body = payload.get(part.clone()).unwrap_or_default();
    let mut bytes = alloc::vec::Vec::with_capacity(head.len().saturating_add(body.len()));
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(body);

    let number = part.start.checked_div(usize::from(packet.segments.map_or(1, |it| it.size)));
    set_lengths(&mut bytes, headers, number.unwrap_or(0));
    let transport = headers.transport;
    let offset = u32::try_from(part.start).unwrap_or(0);
    if let Some(sequence) = bytes.get_mut(transport.saturating_add(4)..).and_then(<[u8]>::first_chunk_mut) {
        *sequence = u32::from_be_bytes(*sequence).wrapping_add(offset).to_be_bytes();
    }
    if let Some(flags) = bytes.get_mut(transport.saturating_add(13)) {
        let gone = if last { 0 } else { LAST_ONLY } | if first { 0 } else { FIRST_ONLY };
        *flags &= !gone;
    }

    put(&mut bytes, headers.checksum(), [0; 2]);
    let length = bytes.len().saturating_sub(transport);
    let sum = headers.pseudo_sum(&bytes, length) + Sum::of(bytes.get(transport..).unwrap_or_default());
    put_checksum(&mut bytes, headers, sum);
    Packet { bytes, checksum: Checksum::Valid, segments: None }
}

/// Lengths in the IP header of the frame `number` of a packet; of IPv4, its identification and
/// header checksum as well.
fn set_lengths(bytes: &mut [u8], headers: &Headers, number: usize) {
    let length = |from| u16::try_from(bytes.len().saturating_sub(from)).unwrap_or(u16::MAX).to_be_bytes();
    if headers.v6 {
        let length = length(ETHERNET + 40);
        return put(bytes, ETHERNET + 4, length);
    }
    let total = length(ETHERNET);
    // Of frames that may be cut further no two have the same one (RFC 6864, section 4.3).
    let number = u16::try_from(number).unwrap_or(0);
    let identification = word(bytes, ETHERNET + 4).unwrap_or(0).wrapping_add(number);
    put(bytes, ETHERNET + 2, total);
    put(bytes, ETHERNET + 4, identification.to_be_bytes());
    put(bytes, ETHERNET + 10, [0; 2]);
    let sum = Sum::of(bytes.get(ETHERNET..headers.transport).unwrap_or_default());
    put(bytes, ETHERNET + 10, sum.checksum());
}

/// A UDP checksum of zero means that there is none (RFC 768): one that comes out as zero is
/// written in its other form.
fn put_checksum(bytes: &mut [u8], headers: &Headers, sum: Sum) {
    let checksum = match sum.checksum() {
        [0, 0] if !headers.tcp => [0xff; 2],
        checksum => checksum,
    };
    put(bytes, headers.checksum(), checksum);
}

fn put(bytes: &mut [u8], at: usize, value: [u8; 2]) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{EthernetFrame, Ipv4Packet, Ipv4Repr, Ipv6Packet, TcpPacket, UdpPacket};

    use super::{Work, admit, complete, cut, work};
    use crate::headers::Malformed;
    use crate::link::Abilities;
    use crate::packet::{Checksum, Packet, Segments};
    use crate::testing::{tcp_v4, tcp_v6, udp_v4};

    fn blank(bytes: Vec<u8>) -> Packet {
        Packet { bytes, checksum: Checksum::Blank, segments: None }
    }

    fn long(bytes: Vec<u8>, size: u16, v6: bool) -> Packet {
        Packet { bytes, checksum: Checksum::Blank, segments: Some(Segments { size, v6 }) }
    }

    fn pieces(packet: &Packet) -> Vec<Packet> {
        let mut frames = Vec::new();
        cut(packet, |frame| {
            frames.push(frame);
            true
        })
        .unwrap();
        frames
    }

    /// Payload and sequence number of a TCP frame whose lengths and checksums are right.
    fn checked_tcp(frame: &Packet) -> (Vec<u8>, u32) {
        let ethernet = EthernetFrame::new_checked(&frame.bytes[..]).unwrap();
        if frame.bytes[12] == 8 {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
            Ipv4Repr::parse(&ip, &ChecksumCapabilities::default()).unwrap();
            assert_eq!(usize::from(ip.total_len()), frame.bytes.len() - 14);
            let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
            assert!(tcp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
            return (tcp.payload().to_vec(), tcp.seq_number().0.cast_unsigned());
        }
        let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
        assert_eq!(usize::from(ip.payload_len()), frame.bytes.len() - 54);
        let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
        assert!(tcp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
        (tcp.payload().to_vec(), tcp.seq_number().0.cast_unsigned())
    }

    #[test]
    fn blank_checksums_are_completed() {
        for bytes in [tcp_v4(1001), tcp_v6(1000), tcp_v4(0)] {
            let mut packet = blank(bytes);
            admit(&mut packet).unwrap();
            complete(&mut packet).unwrap();
            assert_eq!(packet.checksum, Checksum::Valid);
            checked_tcp(&packet);
        }
    }

    #[test]
    fn udp_checksums_are_never_zero() {
        let mut packet = blank(udp_v4(2));
        // With this payload the sum is 0xffff.
        complete(&mut packet).unwrap();
        let rest = u16::from_be_bytes([packet.bytes[40], packet.bytes[41]]);
        let mut packet = blank(udp_v4(2));
        let payload = u16::from_be_bytes([packet.bytes[42], packet.bytes[43]]).wrapping_add(rest);
        packet.bytes[42..44].copy_from_slice(&payload.to_be_bytes());
        complete(&mut packet).unwrap();
        assert_eq!(packet.bytes[40..42], [0xff, 0xff]);
        let udp = UdpPacket::new_checked(&packet.bytes[34..]).unwrap();
        let address = |at: usize| {
            let octets: [u8; 4] = packet.bytes[at..at + 4].try_into().unwrap();
            smoltcp::wire::Ipv4Address::from(octets).into()
        };
        assert!(udp.verify_checksum(&address(26), &address(30)));
    }

    #[test]
    fn padding_is_not_summed_up() {
        let mut padded = tcp_v4(1);
        padded.extend([0xaa; 5]);
        let mut padded = blank(padded);
        let mut plain = blank(tcp_v4(1));
        complete(&mut padded).unwrap();
        complete(&mut plain).unwrap();
        assert_eq!(padded.bytes[..55], plain.bytes[..]);
    }

    #[test]
    fn long_packets_are_cut() {
        for (bytes, v6, head) in [(tcp_v4(3001), false, 54), (tcp_v6(3001), true, 74)] {
            let mut packet = long(bytes, 1000, v6);
            admit(&mut packet).unwrap();
            let frames = pieces(&packet);
            let lengths: Vec<usize> = frames.iter().map(|frame| frame.bytes.len() - head).collect();
            assert_eq!(lengths, [1000, 1000, 1000, 1]);
            let flags: Vec<u8> = frames.iter().map(|frame| frame.bytes[head - 7]).collect();
            assert_eq!(flags, [0x90, 0x10, 0x10, 0x19], "CWR first, FIN and PSH last");
            if !v6 {
                let numbers: Vec<&[u8]> = frames.iter().map(|frame| &frame.bytes[18..20]).collect();
                assert_eq!(numbers, [[0x12, 0xff], [0x13, 0], [0x13, 1], [0x13, 2]]);
            }
        }
    }

    #[test]
    fn a_long_packet_with_a_checksum_loses_it() {
        let mut packet = long(tcp_v4(2000), 1000, false);
        let expected = packet.clone();
        complete(&mut packet).unwrap();
        admit(&mut packet).unwrap();
        assert_eq!(packet, expected);
    }

    #[test]
    fn no_frame_is_made_that_there_is_no_room_for() {
        let mut packet = long(tcp_v4(9000), 1000, false);
        admit(&mut packet).unwrap();
        let mut frames = 0;
        cut(&packet, |_| {
            frames += 1;
            frames < 3
        })
        .unwrap();
        assert_eq!(frames, 3);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let refused = [
            long(tcp_v4(2000), 1000, true),
            long(tcp_v6(2000), 1000, false),
            long(tcp_v4(2000), 0, false),
            long(tcp_v4(2000), 87, false),
            long(udp_v4(2000), 1000, false),
            blank(tcp_v4(10)[..60].to_vec()),
            blank(Vec::new()),
        ];
        for mut packet in refused {
            assert_eq!(admit(&mut packet), Err(Malformed), "{packet:?}");
        }
    }

    #[test]
    fn work_is_what_the_interface_cannot_do() {
        let all = Abilities { blank_v4: true, blank_v6: true, long_v4: true, long_v6: true };
        let plain = Packet { bytes: tcp_v4(9), ..Packet::default() };
        assert_eq!(work(&plain, Abilities::default()), Work::None);
        let cases = [
            (blank(tcp_v4(9)), Abilities { blank_v4: false, ..all }, Work::Complete),
            (blank(tcp_v4(9)), Abilities { blank_v6: false, ..all }, Work::None),
            (blank(tcp_v6(9)), Abilities { blank_v6: false, ..all }, Work::Complete),
            (long(tcp_v4(900), 88, false), all, Work::None),
            (long(tcp_v4(900), 88, false), Abilities { long_v4: false, ..all }, Work::Cut),
            (long(tcp_v4(900), 88, false), Abilities { blank_v4: false, ..all }, Work::Cut),
            (long(tcp_v6(900), 88, true), Abilities { long_v6: false, ..all }, Work::Cut),
        ];
        for (packet, abilities, expected) in cases {
            assert_eq!(work(&packet, abilities), expected, "{abilities:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The segments hold the payload, each byte once, in frames of the size, all right.
        #[test]
        fn segments_are_the_packet(payload in 0_usize..65000, size in 88_u16..9000, v6: bool) {
            let bytes = if v6 { tcp_v6(payload) } else { tcp_v4(payload) };
            let mut packet = long(bytes.clone(), size, v6);
            admit(&mut packet).unwrap();
            let mut whole = Vec::new();
            for frame in pieces(&packet) {
                let (part, sequence) = checked_tcp(&frame);
                prop_assert_eq!(sequence, 0xffff_ff00_u32.wrapping_add(u32::try_from(whole.len()).unwrap()));
                prop_assert!(part.len() <= usize::from(size));
                whole.extend(part);
            }
            prop_assert_eq!(&whole[..], &bytes[bytes.len() - payload..]);
        }

        /// Whatever the bytes are, what is admitted can be completed and cut.
        #[test]
        fn what_is_admitted_can_be_done(
            kind in 0_usize..3,
            length in 0_usize..600,
            changes in prop::collection::vec((0_usize..80, any::<u8>()), 0..4),
            segments: Option<(u16, bool)>,
        ) {
            let mut bytes = [tcp_v4, tcp_v6, udp_v4][kind](length);
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            let segments = segments.map(|(size, v6)| Segments { size, v6 });
            let mut packet = Packet { bytes, checksum: Checksum::Blank, segments };
            if admit(&mut packet).is_ok() {
                match work(&packet, Abilities::default()) {
                    Work::Cut => prop_assert!(!pieces(&packet).is_empty()),
                    Work::Complete => prop_assert_eq!(complete(&mut packet), Ok(())),
                    Work::None => prop_assert!(false, "a blank checksum"),
                }
            }
        }
    }
}
