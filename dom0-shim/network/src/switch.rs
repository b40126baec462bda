//! Software bridges (NET-02): ports with names, addresses and counts.
//!
//! | module | |
//! |---|---|
//! | [`kind`] | the four kinds of bridges |
//! | [`port`] | [`Port`]: what is plugged in, its queue and counts |
//! | `bridge` | which packet goes where |
//! | `table` | which address is where |
//!
//! There is no spanning tree (NET-13): its frames are not let through. A loop cannot be built of
//! guests, which have one address each.

mod bridge;
pub mod kind;
pub mod port;
mod table;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use bridge::{Bridge, is_station};
pub use kind::Kind;
use port::Slot;
pub use port::{Counts, Port, Role};

use crate::packet::{MacAddress, Written};
use crate::vlan::VlanId;

/// Guests' interfaces at a bridge (NET-06).
pub const MOST_INTERFACES: usize = 64;

/// How often [`Switch::advance`] should be called, s: addresses are remembered as much
/// longer.
pub const TICK: u64 = 30;

/// All bridges.
#[derive(Default)]
pub struct Switch {
    bridges: RefCell<BTreeMap<String, Rc<Bridge>>>,
    /// The time of the last [`Switch::advance`], s.
    now: Rc<Cell<u64>>,
    /// Bytes that wait at all ports.
    waiting: Rc<Cell<usize>>,
}

/// Why there is no bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BridgeError {
    /// It is of no kind.
    Name(String),
    /// There is one.
    Exists(String),
}

/// Why an interface is not plugged in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlugError {
    /// There is no such bridge (NET-12).
    NoBridge {
        /// The name that was given.
        name: String,
        /// Those that there are.
        bridges: Vec<String>,
    },
    /// There are [`MOST_INTERFACES`] at the bridge.
    Full(String),
    /// There is an interface of this name.
    Name(String),
    /// What stands behind the bridge's name is no VLAN.
    Vlan(String),
    /// The address is one of a group, or zero.
    Address(MacAddress),
    /// Another interface has the address (NET-09).
    InUse {
        /// The address.
        address: MacAddress,
        /// Whose it is.
        interface: String,
    },
    /// Dom0 is not at bridges of this kind.
    NoDom0(String),
    /// Bridges of this kind are not connected with the outside.
    NoUplink(String),
    /// Bridges of this kind are in no VLAN of the outside (NET-16).
    NoVlan(String),
}

impl Switch {
    /// No bridge.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a bridge; its name is its kind and a number (NET-03, NET-04).
    ///
    /// # Errors
    ///
    /// See [`BridgeError`].
    pub fn add(&self, name: &str) -> Result<(), BridgeError> {
        let (kind, _) = Kind::of(name).ok_or_else(|| BridgeError::Name(name.into()))?;
        match self.bridges.borrow_mut().entry(name.into()) {
            Entry::Occupied(_) => Err(BridgeError::Exists(name.into())),
            Entry::Vacant(place) => {
                place.insert(Rc::new(Bridge::new(name, kind, self.now.clone())));
                Ok(())
            }
        }
    }

    /// Plugs an interface in at a bridge. `name` is that of its end here: `vif1.0`.
    ///
    /// # Errors
    ///
    /// See [`PlugError`].
    pub fn plug(&self, bridge: &str, name: &str, role: Role) -> Result<Rc<Port>, PlugError> {
        let bridge = self.bridge(bridge)?;
        suits(&bridge, role)?;
        self.is_free(name, role.pinned())?;
        let slot = Rc::new(Slot::new(name, role, self.waiting.clone()));
        let number = bridge.plug(slot.clone());
        Ok(Rc::new(Port::new(bridge, number, slot)))
    }

    /// Plugs a guest's interface in, as its configuration says: `bridge` is a bridge's name, or that
    /// and a VLAN, `gextbr0.10` (`xl-network-configuration`(5) has it so for VLANs). Without a
    /// `name` it has none until [`Port::rename`].
    ///
    /// # Errors
    ///
    /// See [`PlugError`].
    pub fn plug_guest(
        &self,
        bridge: &str,
        name: Option<&str>,
        address: MacAddress,
    ) -> Result<Rc<Port>, PlugError> {
        let (bridge, vlan) = match bridge.split_once('.') {
            Some((bridge, number)) => {
                let vlan = number.parse().ok().and_then(VlanId::new);
                (bridge, Some(vlan.ok_or_else(|| PlugError::Vlan(number.into()))?))
            }
            None => (bridge, None),
        };
        self.plug(bridge, name.unwrap_or_default(), Role::Guest { address, vlan })
    }

    /// Tells the time since any moment, s, about every [`TICK`]: old addresses are forgotten.
    pub fn advance(&self, now: u64) {
        self.now.set(now);
        self.bridges.borrow().values().for_each(|bridge| bridge.expire());
    }

    /// The bridges and what is plugged in there, as `brctl show` tells (NET-21).
    #[must_use]
    pub fn show(&self) -> Vec<BridgeInfo> {
        self.bridges.borrow().values().map(|bridge| BridgeInfo::of(bridge)).collect()
    }

    /// The addresses of a bridge, as `brctl showmacs` tells.
    ///
    /// # Errors
    ///
    /// There is no such bridge.
    pub fn addresses(&self, bridge: &str) -> Result<Vec<AddressInfo>, PlugError> {
        let bridge = self.bridge(bridge)?;
        let slots: BTreeMap<usize, Rc<Slot>> = bridge.slots().into_iter().collect();
        let info = |(vlan, address, port, seen): (_, _, _, Option<u64>)| AddressInfo {
            address,
            vlan: VlanId::new(vlan),
            interface: slots.get(&port).map(|slot| slot.name()).unwrap_or_default(),
            age: seen.map(|seen| self.now.get().saturating_sub(seen)),
        };
        Ok(bridge.addresses().into_iter().map(info).collect())
    }

    /// The bridge of interfaces that name none (NET-08): the first of those with Dom0 that has an
    /// uplink, where the default gateway is; without any, the first. `None` if there is no bridge.
    #[must_use]
    pub fn default_bridge(&self) -> Option<String> {
        let bridges = self.bridges.borrow();
        let numbered = bridges.values().filter_map(|bridge| Some((Kind::of(bridge.name())?, bridge)));
        let rank = |((kind, number), bridge): &((Kind, u8), &Rc<Bridge>)| {
            let uplink = bridge.slots().iter().any(|(_, slot)| matches!(slot.role, Role::Uplink { .. }));
            (!kind.has_dom0(), !uplink, *number)
        };
        numbered.min_by_key(rank).map(|(_, bridge)| bridge.name().into())
    }

    fn bridge(&self, name: &str) -> Result<Rc<Bridge>, PlugError> {
        let bridges = self.bridges.borrow();
        let none = || PlugError::NoBridge { name: name.into(), bridges: bridges.keys().cloned().collect() };
        bridges.get(name).cloned().ok_or_else(none)
    }

    /// Neither the name nor the address may be in use, at whatever bridge.
    fn is_free(&self, name: &str, address: Option<MacAddress>) -> Result<(), PlugError> {
        if let Some(address) = address.filter(|&address| !is_station(address)) {
            return Err(PlugError::Address(address));
        }
        for (_, slot) in self.bridges.borrow().values().flat_map(|bridge| bridge.slots()) {
            if !name.is_empty() && slot.name() == name {
                return Err(PlugError::Name(name.into()));
            }
            if let Some(address) = address.filter(|_| slot.role.pinned() == address) {
                return Err(PlugError::InUse { address, interface: slot.name() });
            }
        }
        Ok(())
    }
}

/// Whether a bridge may have such an interface, one more.
fn suits(bridge: &Bridge, role: Role) -> Result<(), PlugError> {
    let (kind, name) = (bridge.kind(), || bridge.name().into());
    match role {
        Role::Dom0 { .. } if !kind.has_dom0() => Err(PlugError::NoDom0(name())),
        Role::Uplink { .. } if !kind.is_external() => Err(PlugError::NoUplink(name())),
        Role::Uplink { vlan: Some(_), .. } if kind != Kind::GuestExternal => Err(PlugError::NoVlan(name())),
        Role::Guest { .. } => {
            let slots = bridge.slots();
            let guests = slots.iter().filter(|(_, slot)| matches!(slot.role, Role::Guest { .. })).count();
            if guests < MOST_INTERFACES { Ok(()) } else { Err(PlugError::Full(name())) }
        }
        _ => Ok(()),
    }
}

/// A line of `brctl show`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgeInfo {
    /// The bridge's name.
    pub name: String,
    /// Its identifier: priority, and the lowest address of its interfaces.
    pub id: String,
    /// Names of its interfaces, in the order of their ports.
    pub interfaces: Vec<String>,
}

impl BridgeInfo {
    fn of(bridge: &Bridge) -> Self {
        let slots = bridge.slots();
        let lowest = slots.iter().map(|(_, slot)| slot.role.address()).min().unwrap_or_default();
        Self {
            name: bridge.name().into(),
            id: format!("8000.{}", Written(lowest)).replace(':', ""),
            interfaces: slots.iter().map(|(_, slot)| slot.name()).collect(),
        }
    }
}

/// A line of `brctl showmacs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressInfo {
    /// The address.
    pub address: MacAddress,
    /// In which VLAN.
    pub vlan: Option<VlanId>,
    /// The interface behind which it is.
    pub interface: String,
    /// For how long nothing came from it, s, to [`TICK`]; `None`: it is the interface's own.
    pub age: Option<u64>,
}

impl fmt::Display for BridgeError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                to,
                "no bridge can be called `{name}`: names are xenbrN, gextbrN, intbrN or gintbrN, N from 0 to {}",
                kind::BRIDGES - 1
            ),
            Self::Exists(name) => write!(to, "there is a bridge `{name}` already"),
        }
    }
}

impl fmt::Display for PlugError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBridge { name, bridges } if bridges.is_empty() => {
                write!(to, "no bridge `{name}`: there is none at all")
            }
            Self::NoBridge { name, bridges } => {
                write!(to, "no bridge `{name}`: there are {}", bridges.join(", "))
            }
            Self::Full(bridge) => {
                write!(to, "bridge `{bridge}` is full: it has {MOST_INTERFACES} interfaces")
            }
            Self::Name(name) => write!(to, "there is an interface `{name}` already"),
            Self::Vlan(number) => {
                write!(to, "no VLAN `{number}`: numbers are 1 to 4094, as in gextbr0.10")
            }
            Self::Address(address) if *address == [0; 6] => {
                write!(to, "{} is no address of an interface", Written(*address))
            }
            Self::Address(address) => {
                write!(to, "{} is an address of a group: its first byte must be even", Written(*address))
            }
            Self::InUse { address, interface } => {
                write!(to, "address {} is that of `{interface}`: each has one of its own", Written(*address))
            }
            Self::NoDom0(bridge) => write!(to, "Dom0 cannot be at bridge `{bridge}`: take xenbrN or intbrN"),
            Self::NoUplink(bridge) => {
                write!(to, "bridge `{bridge}` cannot have an uplink: take xenbrN or gextbrN")
            }
            Self::NoVlan(bridge) => {
                write!(to, "bridge `{bridge}` cannot be in a VLAN of the outside: take gextbrN")
            }
        }
    }
}
