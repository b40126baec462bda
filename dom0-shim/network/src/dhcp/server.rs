//! What is answered.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use smoltcp::wire::{
    DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, Ipv4Address, Ipv4Cidr,
};

use super::frames::{self, Destination, EVERYBODY};
use super::leases::{LeaseInfo, Leases};
use super::request::Request;
use crate::packet::MacAddress;

/// How long an offer stands, s.
const OFFER: u64 = 60;
/// The shortest message (RFC 951, section 3: 300 bytes): old clients drop shorter ones.
const SHORTEST: usize = 300;
/// Options (RFC 2132).
const DNS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN_NAME: u8 = 15;

/// What clients are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The server's own address and the network.
    pub network: Ipv4Cidr,
    /// The addresses that it gives, in the network. Its own is left out.
    pub pool: RangeInclusive<Ipv4Address>,
    /// For how long, s.
    pub lease: u32,
    /// The default gateway, if there is one.
    pub router: Option<Ipv4Address>,
    /// Name servers.
    pub dns: Vec<Ipv4Address>,
    /// The domain's name.
    pub domain: Option<String>,
}

impl Settings {
    /// The time of a lease unless another one is wanted, s: 12 hours.
    pub const LEASE: u32 = 12 * 3600;
}

/// A DHCP server at a bridge.
pub struct Server {
    /// Its own Ethernet address.
    own: MacAddress,
    settings: Settings,
    leases: Leases,
}

impl Server {
    /// A server that has given no address yet.
    #[must_use]
    pub fn new(own: MacAddress, settings: Settings) -> Self {
        let leases = Leases::new(settings.pool.clone(), settings.network.address());
        Self { own, settings, leases }
    }

    /// Looks at a frame at a time, s. `None`: it is not for a DHCP server. Else the answer, if
    /// there is one.
    pub fn serve(&mut self, frame: &[u8], now: u64) -> Option<Option<Vec<u8>>> {
        let (source, message) = frames::to_server(frame, self.address())?;
        // Nobody asks in the name of somebody else; the bridge has looked at the source.
        let request = Request::parse(message).filter(|request| request.client == source);
        let answer = request.and_then(|request| self.answer(request, now));
        let server = (self.own, self.address());
        Some(answer.map(|(message, to)| frames::from_server(server, to, &message)))
    }

    /// The leases at a time, s, by address.
    #[must_use]
    pub fn leases(&self, now: u64) -> Vec<LeaseInfo> {
        self.leases.show(now).collect()
    }

    /// What a server does with each message: RFC 2131, section 4.3.
    fn answer(&mut self, mut request: Request, now: u64) -> Option<(Vec<u8>, Destination)> {
        let client = request.client;
        match request.kind {
            DhcpMessageType::Discover => {
                let until = now.saturating_add(OFFER);
                let address = self.leases.offer(client, request.wants, now, until)?;
                Some(self.message(&request, DhcpMessageType::Offer, Some(address)))
            }
            DhcpMessageType::Request => {
                let name = request.name.take();
                self.request(&request, name, now)
            }
            DhcpMessageType::Decline => {
                self.leases.decline(client, request.wants?, now);
                None
            }
            DhcpMessageType::Release => {
                self.leases.release(client, request.has, now);
                None
            }
            DhcpMessageType::Inform if self.settings.network.contains_addr(&request.has) => {
                Some(self.message(&request, DhcpMessageType::Ack, None))
            }
            _ => None,
        }
    }

    /// One that has chosen an offer, was started again, or renews its lease.
    fn request(
        &mut self,
        request: &Request,
        name: Option<String>,
        now: u64,
    ) -> Option<(Vec<u8>, Destination)> {
        let client = request.client;
        if request.server.is_some_and(|server| server != self.address()) {
            self.leases.withdraw(client);
            return None;
        }
        let has = Some(request.has).filter(|has| !has.is_unspecified());
        let wants = request.wants.or(has)?;
        let until = now.saturating_add(u64::from(self.settings.lease));
        if !self.leases.bind(client, wants, now, until) {
            let (message, _) = self.message(request, DhcpMessageType::Nak, None);
            return Some((message, EVERYBODY));
        }
        let request = Request { name: name.clone(), ..request.clone() };
        self.leases.name(client, name);
        Some(self.message(&request, DhcpMessageType::Ack, Some(wants)))
    }

    /// A message, and where it goes (RFC 2131, section 4.1). What belongs in which: table 3.
    fn message(
        &self,
        request: &Request,
        kind: DhcpMessageType,
        address: Option<Ipv4Address>,
    ) -> (Vec<u8>, Destination) {
        let refused = kind == DhcpMessageType::Nak;
        let dns: Vec<u8> = self.settings.dns.iter().flat_map(Ipv4Address::octets).collect();
        let texts = [
            (DNS, &dns[..]),
            (DOMAIN_NAME, self.settings.domain.as_deref().unwrap_or_default().as_bytes()),
            (HOST_NAME, request.name.as_deref().unwrap_or_default().as_bytes()),
        ];
        let texts = texts.into_iter().filter(|(_, data)| !data.is_empty() && !refused);
        let additional: Vec<DhcpOption<'_>> = texts.map(|(kind, data)| DhcpOption { kind, data }).collect();
        let reply = DhcpRepr {
            message_type: kind,
            transaction_id: request.transaction,
            secs: 0,
            client_hardware_address: EthernetAddress(request.client),
            client_ip: if refused { Ipv4Address::UNSPECIFIED } else { request.has },
            your_ip: address.unwrap_or(Ipv4Address::UNSPECIFIED),
            server_ip: Ipv4Address::UNSPECIFIED,
            router: self.settings.router.filter(|_| !refused),
            subnet_mask: (!refused).then(|| self.settings.network.netmask()),
            relay_agent_ip: Ipv4Address::UNSPECIFIED,
            broadcast: request.broadcast || refused,
            requested_ip: None,
            client_identifier: None,
            server_identifier: Some(self.address()),
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: address.map(|_| self.settings.lease),
            renew_duration: None,
            rebind_duration: None,
            additional_options: &additional,
        };
        let to = match address {
            _ if !request.has.is_unspecified() => {
                Destination { client: request.client, address: request.has }
            }
            Some(address) if !request.broadcast => Destination { client: request.client, address },
            _ => EVERYBODY,
        };
        (written(&reply), to)
    }

    fn address(&self) -> Ipv4Address {
        self.settings.network.address()
    }
}

fn written(reply: &DhcpRepr<'_>) -> Vec<u8> {
    let mut message = vec![0; reply.buffer_len().max(SHORTEST)];
    let written = reply.emit(&mut DhcpPacket::new_unchecked(&mut message[..]));
    debug_assert!(written.is_ok(), "a reply is as long as it says");
    message
}
