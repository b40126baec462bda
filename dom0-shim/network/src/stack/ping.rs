//! Echo requests (RFC 792) and what comes back.

use alloc::vec;
use core::fmt;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Ipv4Address};

use super::{Stack, State};

/// Data of a request, bytes; as ping(8) has it.
const DATA: usize = 56;

/// Why there is no time of a ping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PingError {
    /// Dom0 has no address there yet.
    NoAddress,
    /// It is not on the network, and there is no gateway.
    NoRoute(Ipv4Address),
    /// Nothing came back.
    NoReply(Ipv4Address),
}

/// A ping that is under way; its socket is closed when this is dropped.
pub(super) struct Ping<'a, K> {
    stack: &'a Stack<K>,
    socket: SocketHandle,
    ident: u16,
    to: Ipv4Address,
}

impl<'a, K> Ping<'a, K> {
    pub fn open(stack: &'a Stack<K>, to: Ipv4Address) -> Result<Self, PingError> {
        let mut state = stack.state.borrow_mut();
        let network = state.address.ok_or(PingError::NoAddress)?;
        if !network.contains_addr(&to) && state.gateway.is_none() {
            return Err(PingError::NoRoute(to));
        }
        state.pings = state.pings.wrapping_add(1);
        let ident = state.pings;
        let request = Icmpv4Repr::EchoRequest { ident, seq_no: 1, data: &[0x5a; DATA] };
        let mut socket = icmp::Socket::new(buffer(), buffer());
        let sent = socket.bind(icmp::Endpoint::Ident(ident)).is_ok()
            && socket.send(request.buffer_len(), to.into()).is_ok_and(|place| {
                request.emit(&mut Icmpv4Packet::new_unchecked(place), &checksums());
                true
            });
        if !sent {
            // The unspecified address.
            return Err(PingError::NoRoute(to));
        }
        let socket = state.sockets.add(socket);
        Ok(Self { stack, socket, ident, to })
    }

    /// Whether it has come back.
    pub fn has_reply(&self, state: &mut State) -> bool {
        let socket = state.sockets.get_mut::<icmp::Socket<'_>>(self.socket);
        while let Ok((message, from)) = socket.recv() {
            let packet = Icmpv4Packet::new_checked(message);
            let reply = packet.as_ref().ok().and_then(|packet| Icmpv4Repr::parse(packet, &checksums()).ok());
            if matches!(reply, Some(Icmpv4Repr::EchoReply { ident, .. }) if ident == self.ident)
                && from == self.to.into()
            {
                return true;
            }
        }
        false
    }
}

impl<K> Drop for Ping<'_, K> {
    fn drop(&mut self) {
        self.stack.state.borrow_mut().sockets.remove(self.socket);
    }
}

/// Room for a few messages of a ping.
fn buffer() -> icmp::PacketBuffer<'static> {
    icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 512])
}

fn checksums() -> ChecksumCapabilities {
    ChecksumCapabilities::default()
}

impl fmt::Display for PingError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => write!(to, "Dom0 has no address there"),
            Self::NoRoute(address) => write!(to, "no route to {address}"),
            Self::NoReply(address) => write!(to, "no reply from {address}"),
        }
    }
}
