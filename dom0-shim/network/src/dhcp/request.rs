//! What a client asks: a message that is hostile until it is read.

use alloc::string::String;

use smoltcp::wire::{ArpHardware, DhcpFlags, DhcpMessageType, DhcpOpCode, DhcpPacket, Ipv4Address};

use crate::packet::MacAddress;

/// RFC 2132, section 2.
const COOKIE: u32 = 0x6382_5363;
/// Options (RFC 2132).
const HOST_NAME: u8 = 12;
const REQUESTED_ADDRESS: u8 = 50;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
/// Characters of a name (RFC 1123, section 2.1).
const LONGEST_NAME: usize = 63;

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub kind: DhcpMessageType,
    pub transaction: u32,
    pub client: MacAddress,
    /// The address that it has; unspecified: none.
    pub has: Ipv4Address,
    /// The address that it wants.
    pub wants: Option<Ipv4Address>,
    /// The server that it has chosen.
    pub server: Option<Ipv4Address>,
    /// Whether it hears broadcasts only.
    pub broadcast: bool,
    /// What it calls itself.
    pub name: Option<String>,
}

impl Request {
    /// `None` if it is no request of a client on this network.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let packet = DhcpPacket::new_checked(message).ok()?;
        let ours = packet.opcode() == DhcpOpCode::Request
            && packet.hardware_type() == ArpHardware::Ethernet
            && packet.hardware_len() == 6
            && packet.magic_number() == COOKIE
            && packet.relay_agent_ip().is_unspecified();
        if !ours {
            return None;
        }
        let mut request = Self {
            kind: DhcpMessageType::Unknown(0),
            transaction: packet.transaction_id(),
            client: packet.client_hardware_address().0,
            has: packet.client_ip(),
            wants: None,
            server: None,
            broadcast: packet.flags().contains(DhcpFlags::BROADCAST),
            name: None,
        };
        for option in packet.options() {
            match (option.kind, option.data) {
                (MESSAGE_TYPE, &[kind]) => request.kind = DhcpMessageType::from(kind),
                (REQUESTED_ADDRESS, &[a, b, c, d]) => request.wants = Some(Ipv4Address::new(a, b, c, d)),
                (SERVER_IDENTIFIER, &[a, b, c, d]) => request.server = Some(Ipv4Address::new(a, b, c, d)),
                (HOST_NAME, name) => request.name = host_name(name),
                _ => {}
            }
        }
        Some(request)
    }
}

/// A name that can be shown and given back.
fn host_name(bytes: &[u8]) -> Option<String> {
    // Some send the NUL as well (RFC 2132, section 2).
    let name = core::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    ((1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fine)).then(|| name.into())
}
