//! Where the headers of a TCP or UDP packet are in a frame without VLAN tag.
//!
//! Frames are hostile: every length is compared with what there is.

use crate::checksum::Sum;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
/// EtherTypes (IANA's list).
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
/// Protocols of IP (IANA's list).
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Bytes of an IPv6 header (RFC 8200, section 3).
const IPV6_HEADER: usize = 40;
/// Extension headers that stand between IPv6 and TCP without meaning to a checksum.
const HOP_BY_HOP: u8 = 0;
const DESTINATION_OPTIONS: u8 = 60;
/// Each kind stands there once, destination options twice (RFC 8200, section 4.1).
const MOST_EXTENSIONS: usize = 3;

/// A frame that does not hold what its sender says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Offsets in a frame; all are in it, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers {
    /// Whether it is IPv6.
    pub v6: bool,
    /// Whether it is TCP.
    pub tcp: bool,
    /// Where the TCP or UDP header begins. The IP header begins at [`ETHERNET`].
    pub transport: usize,
    /// Where the payload begins.
    pub payload: usize,
    /// Where it ends; padding follows.
    pub end: usize,
}

impl Headers {
    /// # Errors
    ///
    /// It is no whole TCP or UDP packet, or its headers contradict each other.
    pub fn of(frame: &[u8]) -> Result<Self, Malformed> {
        Self::parse(frame).ok_or(Malformed)
    }

    /// Where the checksum is.
    pub fn checksum(&self) -> usize {
        self.transport.saturating_add(if self.tcp { 16 } else { 6 })
    }

    /// The sum of the pseudo header (RFC 9293, section 3.1; RFC 8200, section 8.1) of a packet with
    /// `length` bytes from the TCP or UDP header on.
    pub fn pseudo_sum(&self, frame: &[u8], length: usize) -> Sum {
        let addresses = if self.v6 { 8..40 } else { 12..20 };
        let addresses = frame.get(ETHERNET + addresses.start..ETHERNET + addresses.end).unwrap_or_default();
        // A packet's length has 16 bits, so that IPv6's 32 bits add the same.
        let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        Sum::of(addresses) + Sum::of(&[0, if self.tcp { TCP } else { UDP }, high, low])
    }

    fn parse(frame: &[u8]) -> Option<Self> {
        let (v6, protocol, transport, end) = match word(frame, 12)? {
            IPV4 => v4(frame)?,
            IPV6 => v6(frame)?,
            _ => return None,
        };
        let tcp = protocol == TCP;
        let header = match protocol {
            TCP => usize::from(*frame.get(transport.checked_add(12)?)? >> 4) * 4,
            UDP => 8,
            _ => return None,
        };
        let payload = transport.checked_add(header)?;
        let whole = payload <= end && end <= frame.len() && (!tcp || header >= 20);
        whole.then_some(Self { v6, tcp, transport, payload, end })
    }
}

/// The protocol of an IPv4 packet (RFC 791), where its payload begins and ends. Fragments have no
/// checksum of their own.
fn v4(frame: &[u8]) -> Option<(bool, u8, usize, usize)> {
    let first = *frame.get(ETHERNET)?;
    let header = usize::from(first & 0xf) * 4;
    let total = usize::from(word(frame, ETHERNET + 2)?);
    let fragment = word(frame, ETHERNET + 6)? & 0x3fff;
    let sound = first >> 4 == 4 && header >= 20 && header <= total && fragment == 0;
    sound.then_some((false, *frame.get(ETHERNET + 9)?, ETHERNET + header, ETHERNET + total))
}

/// The same of an IPv6 packet. One with a routing header is not for us: its last destination is
/// not where the sum would look for it.
fn v6(frame: &[u8]) -> Option<(bool, u8, usize, usize)> {
    if *frame.get(ETHERNET)? >> 4 != 6 {
        return None;
    }
    let mut at = ETHERNET + IPV6_HEADER;
    let end = at.checked_add(usize::from(word(frame, ETHERNET + 4)?))?;
    let mut next = *frame.get(ETHERNET + 6)?;
    for _ in 0..MOST_EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | DESTINATION_OPTIONS) {
            break;
        }
        next = *frame.get(at)?;
        at = at.checked_add((usize::from(*frame.get(at.checked_add(1)?)?) + 1) * 8)?;
    }
    Some((true, next, at, end))
}

/// A 16-bit word.
pub fn word(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::{ETHERNET, Headers, Malformed};
    use crate::testing::{tcp_v4, tcp_v6, udp_v4};

    #[test]
    fn whole_packets_are_found() {
        let frame = tcp_v4(1000);
        let found = Headers::of(&frame).unwrap();
        assert_eq!(found, Headers { v6: false, tcp: true, transport: 34, payload: 54, end: 1054 });
        let found = Headers::of(&tcp_v6(10)).unwrap();
        assert_eq!(found, Headers { v6: true, tcp: true, transport: 54, payload: 74, end: 84 });
        let found = Headers::of(&udp_v4(3)).unwrap();
        assert_eq!(found, Headers { v6: false, tcp: false, transport: 34, payload: 42, end: 45 });
    }

    #[test]
    fn padding_is_none_of_it() {
        let mut frame = tcp_v4(2);
        frame.extend([0xee; 4]);
        assert_eq!(Headers::of(&frame).unwrap().end, 56);
    }

    #[test]
    fn extension_headers_are_passed() {
        let mut frame = tcp_v6(10);
        frame[ETHERNET + 5] += 8;
        frame[ETHERNET + 6] = 60;
        frame.splice(54..54, [6, 0, 1, 4, 0, 0, 0, 0]);
        let found = Headers::of(&frame).unwrap();
        assert_eq!((found.transport, found.end), (62, 92));
        // A routing header instead.
        frame[ETHERNET + 6] = 43;
        assert_eq!(Headers::of(&frame), Err(Malformed));
    }

    #[test]
    fn contradictions_are_seen() {
        type Change = fn(&mut Vec<u8>);
        let changes: [(&str, Change); 9] = [
            ("cut off", |frame| frame.truncate(frame.len() - 1)),
            ("no IP", |frame| frame[13] = 6),
            ("version", |frame| frame[14] = 0x65),
            ("IHL too short", |frame| frame[14] = 0x44),
            ("IHL past the end", |frame| frame[17] = 20),
            ("fragment", |frame| frame[20] = 0x20),
            ("later fragment", |frame| frame[21] = 1),
            ("ICMP", |frame| frame[23] = 1),
            ("data offset", |frame| frame[46] = 0x40),
        ];
        for (what, change) in changes {
            let mut frame = tcp_v4(8);
            change(&mut frame);
            assert_eq!(Headers::of(&frame), Err(Malformed), "{what}");
        }
        let mut frame = tcp_v4(8);
        frame[46] = 0xf0;
        assert_eq!(Headers::of(&frame), Err(Malformed), "TCP options past the end");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_found_is_in_the_frame(
            kind in 0..3,
            length in 0_usize..80,
            changes: Vec<(prop::sample::Index, u8)>,
            cut: prop::sample::Index,
        ) {
            let mut frame = [tcp_v4, tcp_v6, udp_v4][usize::try_from(kind).unwrap()](length);
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            frame.truncate(cut.index(frame.len() * 4).max(1));
            if let Ok(found) = Headers::of(&frame) {
                prop_assert!(ETHERNET < found.transport && found.transport < found.payload);
                prop_assert!(found.payload <= found.end && found.end <= frame.len());
                prop_assert!(found.checksum() + 2 <= found.payload);
            }
        }
    }
}
