//! All of it: bridges with Dom0 and cards at them.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use futures_util::future::{join_all, join3};
use smoltcp::wire::Ipv4Address;

use crate::kernel::Kernel;
use crate::nic::Nic;
use crate::packet::MacAddress;
use crate::plan::{BridgePlan, Plan, UplinkPlan};
use crate::stack::{PingError, Stack};
use crate::switch::{Kind, Port, Role, Switch, TICK};
use crate::uplink;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// The network of the machine.
pub struct Network<K, N> {
    kernel: Rc<K>,
    switch: Switch,
    stacks: Vec<Stack<K>>,
    cards: Vec<(N, Vec<Rc<Port>>)>,
}

impl<K: Kernel, N: Nic> Network<K, N> {
    /// Makes what is planned; `cards` by their numbers. What cannot be had is logged, and the rest is
    /// there.
    #[must_use]
    pub fn new(kernel: Rc<K>, plan: &Plan, cards: Vec<N>) -> Self {
        let cards = cards.into_iter().map(|card| (card, Vec::new())).collect();
        let mut network = Self { kernel, switch: Switch::new(), stacks: Vec::new(), cards };
        for bridge in &plan.bridges {
            network.add(bridge);
        }
        network
    }

    /// Moves packets between all of them, for ever.
    pub async fn run(&self) {
        let stacks = join_all(self.stacks.iter().map(Stack::run));
        let cards = self.cards.iter().filter(|(_, ports)| !ports.is_empty());
        let cards = join_all(cards.map(|(card, ports)| uplink::run(card, ports)));
        join3(stacks, cards, self.keep_time()).await;
    }

    /// The bridges.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// Dom0's stacks, one for each bridge that it is at.
    #[must_use]
    pub fn stacks(&self) -> &[Stack<K>] {
        &self.stacks
    }

    /// The cards, by their numbers.
    pub fn cards(&self) -> impl Iterator<Item = &N> {
        self.cards.iter().map(|(card, _)| card)
    }

    /// Sends an echo request from Dom0 by the bridge where the address is, else by the first
    /// one with a gateway; see [`Stack::ping`].
    ///
    /// # Errors
    ///
    /// See [`PingError`].
    pub async fn ping(&self, to: Ipv4Address, timeout: u64) -> Result<u64, PingError> {
        let near = |stack: &&Stack<K>| stack.address().is_some_and(|network| network.contains_addr(&to));
        let far = |stack: &&Stack<K>| stack.gateway().is_some();
        let stack = self.stacks.iter().find(near).or_else(|| self.stacks.iter().find(far));
        stack.ok_or(PingError::NoRoute(to))?.ping(to, timeout).await
    }

    async fn keep_time(&self) {
        loop {
            self.switch.advance(self.kernel.now_ns() / SECOND);
            self.kernel.sleep_ns(TICK * SECOND).await;
        }
    }

    fn add(&mut self, bridge: &BridgePlan) {
        if let Err(error) = self.switch.add(&bridge.name) {
            return self.kernel.log(format_args!("{error}"));
        }
        let card = bridge.uplink.and_then(|uplink| self.connect(&bridge.name, uplink));
        let Some(addressing) = bridge.addressing else { return };
        // As the host's address was the card's before there was a bridge.
        let address = card.unwrap_or_else(|| own_address(&bridge.name));
        let name = format!("vif0.{}", self.stacks.len());
        match self.switch.plug(&bridge.name, &name, Role::Dom0 { address }) {
            Ok(port) => {
                self.stacks.push(Stack::new(self.kernel.clone(), port, addressing, bridge.dhcp.clone()));
            }
            Err(error) => self.kernel.log(format_args!("{}: {error}", bridge.name)),
        }
    }

    /// Plugs a card in; returns its address.
    fn connect(&mut self, bridge: &str, uplink: UplinkPlan) -> Option<MacAddress> {
        let name = uplink.name();
        let Some((card, ports)) = self.cards.get_mut(usize::from(uplink.card)) else {
            self.kernel.log(format_args!("{bridge}: no network card for `{name}`: it has no uplink"));
            return None;
        };
        let role = Role::Uplink { card: card.address(), vlan: uplink.vlan };
        match self.switch.plug(bridge, &format!("p{name}"), role) {
            Ok(port) => ports.push(port),
            Err(error) => {
                self.kernel.log(format_args!("{bridge}: {error}"));
                return None;
            }
        }
        Some(card.address())
    }
}

/// Dom0's address at a bridge without a card: a local one that no guest should be given.
fn own_address(bridge: &str) -> MacAddress {
    let (kind, number) =
        Kind::of(bridge).map_or((0, 0), |(kind, number)| (u8::from(kind.is_external()), number));
    [0x02, b'D', b'o', b'm', kind, number]
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::vec;
    use std::vec::Vec;

    use futures_lite::future::{block_on, or};
    use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

    use super::{Network, SECOND};
    use crate::link::Link;
    use crate::packet::Packet;
    use crate::plan::Plan;
    use crate::stack::{Addressing, PingError, Stack};
    use crate::switch::Role;
    use crate::testing::{A, BROADCAST, Card, Clock, OUTSIDE, frame};

    fn network(words: &[&str], cards: Vec<Card>) -> (Rc<Clock>, Network<Clock, Card>) {
        let kernel = Rc::new(Clock::default());
        let (plan, wrong) = Plan::parse(words.iter().copied(), u8::try_from(cards.len()).unwrap());
        assert_eq!(wrong, [""; 0]);
        let network = Network::new(kernel.clone(), &plan, cards);
        (kernel, network)
    }

    /// NET-27, without a word on the command line.
    #[test]
    fn a_guest_of_the_internal_bridge() {
        let (kernel, network) = network(&[], vec![]);
        let bridge = network.switch().default_bridge().unwrap();
        let port = network.switch().plug(&bridge, "vif1.0", Role::Guest { address: A, vlan: None }).unwrap();
        let guest = Stack::new(kernel, port, Addressing::Dhcp, None);
        block_on(or(
            async {
                let address = guest.configured().await.address();
                network.ping(address, SECOND).await.unwrap();
                let far = Ipv4Address::new(8, 8, 8, 8);
                assert_eq!(network.ping(far, SECOND).await, Err(PingError::NoRoute(far)));
            },
            or(network.run(), guest.run()),
        ));
    }

    /// Dom0 at a card asks for an address outside.
    #[test]
    fn dom0_is_a_client_outside() {
        let (_, network) = network(&[], vec![Card::default()]);
        assert_eq!(network.switch().default_bridge().unwrap(), "xenbr0");
        let outside = network.cards().next().unwrap();
        block_on(or(network.run(), async {
            while outside.sent().is_empty() {
                futures_lite::future::yield_now().await;
            }
        }));
        let shown = network.switch().show();
        assert_eq!(shown[1].interfaces, ["peth0", "vif0.0"]);
        assert_eq!(shown[0].interfaces, ["vif0.1"]);
    }

    #[test]
    fn what_cannot_be_had_is_told_and_the_rest_is_there() {
        let words = ["bridge=xenbr0,uplink=eth3,ip=10.0.0.1/24", "bridge=gextbr0,uplink=eth0.7"];
        let (kernel, network) = network(&words, vec![Card::default()]);
        assert_eq!(kernel.lines(), ["xenbr0: no network card for `eth3`: it has no uplink"]);
        assert_eq!(network.stacks()[0].address(), Some(Ipv4Cidr::new(Ipv4Address::new(10, 0, 0, 1), 24)));
        let guest =
            network.switch().plug("gextbr0", "vif1.0", Role::Guest { address: A, vlan: None }).unwrap();
        guest.send(Packet { bytes: frame(BROADCAST, A, "out"), ..Packet::default() });
        let outside = network.cards().next().unwrap();
        let mut sent = Vec::new();
        block_on(or(network.run(), async {
            while sent.is_empty() {
                futures_lite::future::yield_now().await;
                sent = outside.sent();
            }
        }));
        assert_eq!(sent[0][12..18], [0x81, 0, 0, 7, 0x88, 0xb5]);
        assert_eq!(network.switch().show()[0].id, format_id(OUTSIDE.min(A)));
    }

    fn format_id(address: [u8; 6]) -> std::string::String {
        address.iter().fold("8000.".into(), |id, byte| std::format!("{id}{byte:02x}"))
    }
}
