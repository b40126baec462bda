//! Which bridges there are: words `bridge=` of Dom0's command line.
//!
//! ```text
//! bridge=xenbr0,uplink=eth0                        Dom0 gets its address by DHCP
//! bridge=gextbr1,uplink=eth0.10                    VLAN 10 of the card
//! bridge=intbr0,ip=192.168.100.1/24,dhcp           Dom0 is the DHCP server
//! bridge=intbr1,ip=10.1.0.1/16,dhcp=10.1.1.0-10.1.1.255,dns=10.1.0.1,domain=lab,lease=3600
//! bridge=gintbr0                                   guests only
//! bridge=none                                      none at all
//! ```
//!
//! Without such a word: `xenbrN` with the uplink `ethN` for each card, and [`USUAL`].

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use crate::dhcp::Settings;
use crate::stack::Addressing;
use crate::switch::Kind;
use crate::switch::kind::BRIDGES;
use crate::vlan::VlanId;

/// The internal bridge that there is unless other bridges are wanted.
pub const USUAL: &str = "bridge=intbr0,ip=192.168.42.1/24,dhcp";

/// Bridges to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// In the order of their words.
    pub bridges: Vec<BridgePlan>,
}

/// A bridge to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgePlan {
    /// Its name.
    pub name: String,
    /// What it is connected to outside.
    pub uplink: Option<UplinkPlan>,
    /// Dom0's address there; `None`: Dom0 is not there.
    pub addressing: Option<Addressing>,
    /// What Dom0's DHCP server gives there.
    pub dhcp: Option<Settings>,
}

/// An uplink to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UplinkPlan {
    /// Number of the card: N of `ethN`.
    pub card: u8,
    /// One VLAN of it.
    pub vlan: Option<VlanId>,
}

impl Plan {
    /// Reads the words of a command line; those that are not about bridges are left alone.
    /// `cards` is how many cards there are.
    ///
    /// What is wrong is told in words, one line for each bridge that there is not.
    #[must_use]
    pub fn parse<W: AsRef<str>>(words: impl IntoIterator<Item = W>, cards: u8) -> (Self, Vec<String>) {
        let words: Vec<W> = words.into_iter().collect();
        let bridges = words.iter().filter_map(|word| word.as_ref().strip_prefix("bridge="));
        let bridges: Vec<&str> = bridges.collect();
        if bridges.is_empty() {
            return (Self::usual(cards), Vec::new());
        }
        let (mut plan, mut wrong) = (Self::default(), Vec::new());
        for bridge in bridges.into_iter().filter(|&bridge| bridge != "none") {
            match BridgePlan::parse(bridge).and_then(|bridge| plan.join(bridge)) {
                Ok(()) => {}
                Err(reason) => wrong.push(format!("`bridge={bridge}`: {reason}")),
            }
        }
        (plan, wrong)
    }

    /// What there is unless something else is wanted.
    fn usual(cards: u8) -> Self {
        let external = (0..cards.min(BRIDGES)).map(|card| BridgePlan {
            name: format!("xenbr{card}"),
            uplink: Some(UplinkPlan { card, vlan: None }),
            addressing: Some(Addressing::Dhcp),
            dhcp: None,
        });
        let internal = USUAL.strip_prefix("bridge=").and_then(|word| BridgePlan::parse(word).ok());
        Self { bridges: external.chain(internal).collect() }
    }

    /// Adds a bridge that has nothing of the others.
    fn join(&mut self, bridge: BridgePlan) -> Result<(), String> {
        for other in &self.bridges {
            let name = &other.name;
            if *name == bridge.name {
                return Err(format!("`{name}` is there already"));
            }
            if let Some(uplink) = bridge.uplink.filter(|_| bridge.uplink == other.uplink) {
                return Err(format!("already used `{}` at bridge `{name}`", uplink.name()));
            }
            if let Some((one, two)) = network(&bridge).zip(network(other))
                && (one.contains_subnet(&two) || two.contains_subnet(&one))
            {
                return Err(format!("the network {one} is that of `{name}` too: take another one"));
            }
        }
        self.bridges.push(bridge);
        Ok(())
    }
}

impl UplinkPlan {
    /// `eth0`, `eth0.10`.
    #[must_use]
    pub fn name(self) -> String {
        match self.vlan {
            Some(vlan) => format!("eth{}.{vlan}", self.card),
            None => format!("eth{}", self.card),
        }
    }

    fn parse(value: &str) -> Result<Self, String> {
        let wrong = || format!("`uplink={value}`: expected ethN, or ethN.VLAN with a VLAN from 1 to 4094");
        // The card's own name, where its bridge has taken the other one.
        let name = value.strip_prefix('p').unwrap_or(value).strip_prefix("eth").ok_or_else(wrong)?;
        let (card, vlan) = match name.split_once('.') {
            Some((card, vlan)) => {
                let vlan = number(vlan).and_then(VlanId::new).ok_or_else(wrong)?;
                (card, Some(vlan))
            }
            None => (name, None),
        };
        Ok(Self { card: number(card).ok_or_else(wrong)?, vlan })
    }
}

/// What a word says, before it is seen as a whole.
#[derive(Default)]
struct Draft {
    uplink: Option<UplinkPlan>,
    ip: Option<Ip>,
    gateway: Option<Ipv4Address>,
    dhcp: Option<Option<RangeInclusive<Ipv4Address>>>,
    dns: Option<Vec<Ipv4Address>>,
    domain: Option<String>,
    lease: Option<u32>,
}

#[derive(Clone, Copy)]
enum Ip {
    None,
    Dhcp,
    Static(Ipv4Cidr),
}

impl BridgePlan {
    fn parse(word: &str) -> Result<Self, String> {
        let mut parts = word.split(',');
        let name = parts.next().unwrap_or_default();
        let (kind, _) = Kind::of(name)
            .ok_or_else(|| crate::switch::BridgeError::Name(name.into()))
            .map_err(|error| format!("{error}"))?;
        let mut draft = Draft::default();
        for part in parts {
            draft.set(part)?;
        }
        draft.finish(name, kind)
    }
}

impl Draft {
    fn set(&mut self, part: &str) -> Result<(), String> {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key {
            "uplink" => once(key, &mut self.uplink, UplinkPlan::parse(value)?),
            "ip" => once(key, &mut self.ip, Ip::parse(value)?),
            "gateway" => once(key, &mut self.gateway, address(key, value)?),
            "dhcp" => once(key, &mut self.dhcp, pool(part, value)?),
            "dns" => once(key, &mut self.dns, servers(value)?),
            "domain" => once(key, &mut self.domain, domain(value)?),
            "lease" => once(key, &mut self.lease, lease(value)?),
            _ => Err(format!("`{part}`: keys are uplink=, ip=, gateway=, dhcp, dns=, domain= and lease=")),
        }
    }

    fn finish(self, name: &str, kind: Kind) -> Result<BridgePlan, String> {
        if self.uplink.is_some() && !kind.is_external() {
            return Err("`uplink=` is for xenbrN and gextbrN".to_owned());
        }
        if self.uplink.is_some_and(|uplink| uplink.vlan.is_some()) && kind != Kind::GuestExternal {
            return Err("a VLAN of a card is for gextbrN".to_owned());
        }
        let ip = match self.ip {
            Some(ip) => ip,
            // The bridge of a card is there for Dom0 as well.
            None if kind == Kind::External && self.uplink.is_some() => Ip::Dhcp,
            None => Ip::None,
        };
        if !kind.has_dom0() && !matches!(ip, Ip::None) {
            return Err("Dom0 has an address at xenbrN and intbrN only".to_owned());
        }
        let (network, addressing) = match ip {
            Ip::Static(network) => {
                let gateway = self.gateway;
                (Some(network), Some(Addressing::Static { network, gateway }))
            }
            Ip::Dhcp => (None, Some(Addressing::Dhcp)),
            Ip::None => (None, None),
        };
        if self.gateway.is_some_and(|gateway| !network.is_some_and(|network| is_host(network, gateway))) {
            return Err("`gateway=` is an address of the network that `ip=ADDRESS/LENGTH` says".to_owned());
        }
        let uplink = self.uplink;
        Ok(BridgePlan { name: name.into(), uplink, addressing, dhcp: self.server(network)? })
    }

    /// What Dom0's DHCP server gives.
    fn server(self, network: Option<Ipv4Cidr>) -> Result<Option<Settings>, String> {
        let Some(pool) = self.dhcp else {
            let told = self.dns.is_some() || self.domain.is_some() || self.lease.is_some();
            return match told {
                true => Err("`dns=`, `domain=` and `lease=` are for a DHCP server: `dhcp`".to_owned()),
                false => Ok(None),
            };
        };
        let network = network.ok_or("`dhcp` needs Dom0's address: `ip=ADDRESS/LENGTH`")?;
        let pool = pool.unwrap_or_else(|| hosts(network));
        if pool.is_empty() || !is_host(network, *pool.start()) || !is_host(network, *pool.end()) {
            return Err(format!(
                "`dhcp={}-{}`: expected the first and the last one of addresses in {network}",
                pool.start(),
                pool.end()
            ));
        }
        Ok(Some(Settings {
            network,
            pool,
            lease: self.lease.unwrap_or(Settings::LEASE),
            router: self.gateway,
            dns: self.dns.unwrap_or_default(),
            domain: self.domain,
        }))
    }
}

impl Ip {
    fn parse(value: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`ip={value}`: expected ADDRESS/LENGTH with a length from 8 to 30 and an address of a host, \
                 `dhcp` or `none`"
            )
        };
        match value {
            "none" => Ok(Self::None),
            "dhcp" => Ok(Self::Dhcp),
            _ => {
                let (address, length) = value.split_once('/').ok_or_else(wrong)?;
                let address = address.parse().map_err(|_| wrong())?;
                let length = number(length).filter(|length| (8..=30).contains(length)).ok_or_else(wrong)?;
                let network = Ipv4Cidr::new(address, length);
                if is_host(network, address) { Ok(Self::Static(network)) } else { Err(wrong()) }
            }
        }
    }
}

fn once<T>(key: &str, place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        Some(_) => Err(format!("`{key}` is there twice")),
        None => Ok(()),
    }
}

fn address(key: &str, value: &str) -> Result<Ipv4Address, String> {
    value.parse().map_err(|_| format!("`{key}={value}`: expected an address, A.B.C.D"))
}

fn pool(part: &str, value: &str) -> Result<Option<RangeInclusive<Ipv4Address>>, String> {
    if part == "dhcp" {
        return Ok(None);
    }
    let wrong = || format!("`dhcp={value}`: expected FIRST-LAST, or `dhcp` alone for all of the network");
    let (first, last) = value.split_once('-').ok_or_else(wrong)?;
    let first = first.parse().map_err(|_| wrong())?;
    let last = last.parse().map_err(|_| wrong())?;
    Ok(Some(first..=last))
}

/// Name servers: at most three, as most clients keep (resolv.conf(5)).
fn servers(value: &str) -> Result<Vec<Ipv4Address>, String> {
    let servers: Result<Vec<_>, _> = value.split('+').map(|server| address("dns", server)).collect();
    servers
        .ok()
        .filter(|servers| servers.len() <= 3)
        .ok_or_else(|| format!("`dns={value}`: expected one to three addresses with `+` between"))
}

fn domain(value: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if (1..=63).contains(&value.len()) && value.bytes().all(fine) {
        return Ok(value.into());
    }
    Err(format!("`domain={value}`: expected 1 to 63 letters, digits, `-` or `.`"))
}

fn lease(value: &str) -> Result<u32, String> {
    let seconds = number(value).filter(|&seconds: &u32| seconds >= 60);
    seconds.ok_or_else(|| format!("`lease={value}`: expected at least 60 seconds"))
}

/// Digits only: no sign.
fn number<T: core::str::FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Addresses of hosts in a network: neither the first nor the last one.
fn hosts(network: Ipv4Cidr) -> RangeInclusive<Ipv4Address> {
    let mask = network.netmask().to_bits();
    let first = network.address().to_bits() & mask;
    Ipv4Address::from_bits(first | 1)..=Ipv4Address::from_bits((first | !mask) ^ 1)
}

fn is_host(network: Ipv4Cidr, address: Ipv4Address) -> bool {
    let special = address.is_loopback() || address.is_multicast() || address.octets()[0] == 0;
    hosts(network).contains(&address) && !special
}

fn network(bridge: &BridgePlan) -> Option<Ipv4Cidr> {
    match bridge.addressing {
        Some(Addressing::Static { network, .. }) => Some(network),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
