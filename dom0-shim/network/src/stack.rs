//! Dom0's own IP stack at a port of a bridge: smoltcp.
//!
//! It answers ARP and ping, gets its address from a DHCP server or has one of its own, and lets
//! a DHCP server of its own answer first. [`Stack::run`] moves packets and keeps time; everything
//! else waits for what it does.

mod device;
mod ping;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use event_listener::{Event, listener};
use futures_lite::future::or;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Address, Ipv4Cidr};

use device::Device;
use ping::Ping;
pub use ping::PingError;

use crate::dhcp::{self, LeaseInfo};
use crate::headers::{IPV4, word};
use crate::kernel::Kernel;
use crate::link::Link;
use crate::packet::{Checksum, Packet};
use crate::switch::Port;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// Whatever the stack has to do at once, others have their turn in between, ns.
const LEAST_SLEEP: u64 = 1_000_000;

/// Where a stack has its address from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Addressing {
    /// It is given.
    Static {
        /// The address and the network.
        network: Ipv4Cidr,
        /// The default gateway.
        gateway: Option<Ipv4Address>,
    },
    /// From a DHCP server on the network.
    Dhcp,
}

/// Dom0 at a bridge.
pub struct Stack<K> {
    kernel: Rc<K>,
    port: Rc<Port>,
    state: RefCell<State>,
    /// There is something to send.
    poke: Event,
    /// Packets were moved.
    progress: Event,
}

struct State {
    interface: Interface,
    sockets: SocketSet<'static>,
    device: Device,
    client: Option<SocketHandle>,
    server: Option<dhcp::Server>,
    address: Option<Ipv4Cidr>,
    gateway: Option<Ipv4Address>,
    pings: u16,
}

impl<K: Kernel> Stack<K> {
    /// A stack at a port, which answers DHCP clients if there are settings for that.
    #[must_use]
    pub fn new(
        kernel: Rc<K>,
        port: Rc<Port>,
        addressing: Addressing,
        server: Option<dhcp::Settings>,
    ) -> Self {
        let own = port.role().address();
        let mut device = Device { frames: VecDeque::new(), port: port.clone() };
        let mut config = Config::new(EthernetAddress(own).into());
        let mut seed = [0; 8];
        kernel.random(&mut seed);
        config.random_seed = u64::from_le_bytes(seed);
        let interface = Interface::new(config, &mut device, instant(kernel.now_ns()));
        let mut state = State {
            interface,
            sockets: SocketSet::new(vec![]),
            device,
            client: None,
            server: server.map(|settings| dhcp::Server::new(own, settings)),
            address: None,
            gateway: None,
            pings: 0,
        };
        match addressing {
            Addressing::Static { network, gateway } => state.set_address(Some(network), gateway),
            Addressing::Dhcp => state.client = Some(state.sockets.add(dhcpv4::Socket::new())),
        }
        Self { kernel, port, state: RefCell::new(state), poke: Event::new(), progress: Event::new() }
    }

    /// Moves packets, for ever.
    pub async fn run(&self) {
        loop {
            listener!(self.poke => poked);
            let sleep = self.poll();
            let time = async {
                match sleep {
                    Some(ns) => self.kernel.sleep_ns(ns).await,
                    None => core::future::pending().await,
                }
            };
            or(self.arrival(), or(poked, time)).await;
        }
    }

    /// The bridge that it is at.
    #[must_use]
    pub fn bridge(&self) -> &str {
        self.port.bridge()
    }

    /// Its address and network, if it has one.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Cidr> {
        self.state.borrow().address
    }

    /// The default gateway, if there is one.
    #[must_use]
    pub fn gateway(&self) -> Option<Ipv4Address> {
        self.state.borrow().gateway
    }

    /// What its DHCP server gave to whom.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseInfo> {
        let now = self.kernel.now_ns() / SECOND;
        self.state.borrow().server.as_ref().map(|server| server.leases(now)).unwrap_or_default()
    }

    /// Waits for an address.
    pub async fn configured(&self) -> Ipv4Cidr {
        self.until(|state| state.address).await
    }

    /// Sends an echo request and waits for the reply, at most `timeout` ns; returns how long it
    /// took, ns.
    ///
    /// # Errors
    ///
    /// See [`PingError`].
    pub async fn ping(&self, to: Ipv4Address, timeout: u64) -> Result<u64, PingError> {
        let start = self.kernel.now_ns();
        let ping = Ping::open(self, to)?;
        self.poke.notify(1);
        let reply = async {
            self.until(|state| ping.has_reply(state).then_some(())).await;
            Ok(self.kernel.now_ns().saturating_sub(start))
        };
        let late = async {
            self.kernel.sleep_ns(timeout).await;
            Err(PingError::NoReply(to))
        };
        or(reply, late).await
    }

    async fn until<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            listener!(self.progress => moved);
            if let Some(result) = ready(&mut self.state.borrow_mut()) {
                return result;
            }
            moved.await;
        }
    }

    async fn arrival(&self) {
        let packet = self.port.receive().await;
        self.state.borrow_mut().device.frames.push_back(packet.bytes);
    }

    /// Does what can be done now; returns for how long there is nothing, ns.
    fn poll(&self) -> Option<u64> {
        let now = self.kernel.now_ns();
        let change = {
            let mut state = self.state.borrow_mut();
            state.take_in(&self.port, now / SECOND);
            state.poll(instant(now));
            state.ask_client()
        };
        if change {
            self.tell();
        }
        self.progress.notify(usize::MAX);
        let mut state = self.state.borrow_mut();
        let State { interface, sockets, .. } = &mut *state;
        let delay = interface.poll_delay(instant(now), sockets);
        delay.map(|delay| delay.total_micros().saturating_mul(1000).max(LEAST_SLEEP))
    }

    fn tell(&self) {
        let (bridge, name) = (self.port.bridge(), self.port.name());
        match (self.address(), self.gateway()) {
            (Some(address), Some(gateway)) => {
                self.kernel.log(format_args!("{bridge}: {name} is {address}, gateway {gateway}"));
            }
            (Some(address), None) => self.kernel.log(format_args!("{bridge}: {name} is {address}")),
            (None, _) => self.kernel.log(format_args!("{bridge}: {name} has lost its address")),
        }
    }
}

impl State {
    /// Takes what came, but for requests to the DHCP server: it answers them.
    fn take_in(&mut self, port: &Port, seconds: u64) {
        self.device.frames.extend(core::iter::from_fn(|| port.try_receive()).map(|packet| packet.bytes));
        let server = &mut self.server;
        self.device.frames.retain(|frame| {
            match server.as_mut().and_then(|server| server.serve(frame, seconds)) {
                Some(Some(bytes)) => {
                    port.send(Packet { bytes, checksum: Checksum::Valid, segments: None });
                    false
                }
                Some(None) => false,
                None => !is_from_nobody(frame),
            }
        });
    }

    fn poll(&mut self, now: Instant) {
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }

    /// Takes over what the DHCP client has got; whether that is something else than before.
    fn ask_client(&mut self) -> bool {
        let Some(client) = self.client else { return false };
        let (address, gateway) = match self.sockets.get_mut::<dhcpv4::Socket<'_>>(client).poll() {
            Some(dhcpv4::Event::Configured(config)) => {
                let router = config.router.filter(|&router| is_neighbour(config.address, router));
                (Some(config.address), router)
            }
            Some(dhcpv4::Event::Deconfigured) => (None, None),
            None => return false,
        };
        let change = (address, gateway) != (self.address, self.gateway);
        if change {
            self.set_address(address, gateway);
        }
        change
    }

    fn set_address(&mut self, address: Option<Ipv4Cidr>, gateway: Option<Ipv4Address>) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            // The list has room for one.
            let _ = address.map(|address| addresses.push(IpCidr::Ipv4(address)));
        });
        let routes = self.interface.routes_mut();
        match gateway {
            // The table has room for one.
            Some(gateway) => drop(routes.add_default_ipv4_route(gateway)),
            None => drop(routes.remove_default_ipv4_route()),
        }
        (self.address, self.gateway) = (address, gateway);
    }
}

/// Whether a packet of IPv4 says that it is from 0.0.0.0: such packets are for DHCP servers only.
/// smoltcp's client would take one for an answer, and panic when it renews its lease there.
fn is_from_nobody(frame: &[u8]) -> bool {
    word(frame, 12) == Some(IPV4) && frame.get(26..30).is_some_and(|source| source == [0; 4])
}

/// Whether a gateway can be reached: smoltcp panics where one is not a host's address, and a server
/// outside may say anything.
fn is_neighbour(network: Ipv4Cidr, gateway: Ipv4Address) -> bool {
    let nobody = gateway.is_unspecified() || gateway.is_multicast() || gateway.is_broadcast();
    network.contains_addr(&gateway) && !nobody && network.broadcast() != Some(gateway)
}

fn instant(ns: u64) -> Instant {
    Instant::from_micros(i64::try_from(ns / 1000).unwrap_or(i64::MAX))
}
