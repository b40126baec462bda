//! Who has which address.
//!
//! A client keeps its address for as long as nobody else needs it, lease or not, so that a
//! guest has the same one after it was started again. A new client is given the one that the end
//! of its Ethernet address says, so that it is the same after Dom0 was started again, too.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::ops::RangeInclusive;

use smoltcp::wire::Ipv4Address;

use crate::packet::MacAddress;

/// How long an address that was declined is given to nobody, s.
const DECLINED: u64 = 3600;
/// Addresses that one client may have declined; of more, the first ones are given again: or one
/// could take all.
const MOST_DECLINED: usize = 4;

/// Clients that are kept, and addresses that were declined: whoever is outside could be as many
/// as a large network has addresses.
const MOST_CLIENTS: usize = 4096;

/// A pool of addresses and what became of them.
pub struct Leases {
    pool: RangeInclusive<u32>,
    /// The server's own address is none of them.
    server: u32,
    clients: BTreeMap<MacAddress, Lease>,
    /// The clients, by their addresses.
    owners: BTreeMap<u32, MacAddress>,
    /// Until when, and who it was.
    declined: BTreeMap<u32, (u64, MacAddress)>,
}

struct Lease {
    address: u32,
    /// Until when it is nobody else's, s.
    until: u64,
    /// Whether the client has taken it.
    bound: bool,
    name: Option<String>,
}

/// A lease, to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseInfo {
    /// The client.
    pub client: MacAddress,
    /// Its address.
    pub address: Ipv4Address,
    /// For how long, s; 0: the lease has ended, the address is kept for the client.
    pub left: u64,
    /// What the client calls itself.
    pub name: Option<String>,
}

impl Leases {
    pub fn new(pool: RangeInclusive<Ipv4Address>, server: Ipv4Address) -> Self {
        Self {
            pool: pool.start().to_bits()..=pool.end().to_bits(),
            server: server.to_bits(),
            clients: BTreeMap::new(),
            owners: BTreeMap::new(),
            declined: BTreeMap::new(),
        }
    }

    /// Keeps an address for a client until a time, s: the one that it has, the one that it wants,
    /// the one that is its by rule, or another one. `None` if there is none.
    pub fn offer(
        &mut self,
        client: MacAddress,
        wants: Option<Ipv4Address>,
        now: u64,
        until: u64,
    ) -> Option<Ipv4Address> {
        if let Some(lease) = self.clients.get_mut(&client) {
            lease.until = lease.until.max(until);
            return Some(Ipv4Address::from_bits(lease.address));
        }
        self.make_room(now)?;
        let wants = wants.map(Ipv4Address::to_bits).filter(|&address| self.is_free(address, now));
        let address = wants.or_else(|| self.first_free(client, now)).or_else(|| self.reclaim(now))?;
        self.give(client, address, until);
        Some(Ipv4Address::from_bits(address))
    }

    /// Gives a client the address that it wants until a time, s; whether it may have it.
    pub fn bind(&mut self, client: MacAddress, wants: Ipv4Address, now: u64, until: u64) -> bool {
        let address = wants.to_bits();
        if self.owners.get(&address) != Some(&client) {
            if !self.is_free(address, now) {
                return false;
            }
            self.forget(client);
            if self.make_room(now).is_none() {
                return false;
            }
            self.give(client, address, until);
        }
        if let Some(lease) = self.clients.get_mut(&client) {
            (lease.until, lease.bound) = (until, true);
        }
        true
    }

    /// Notes what a client calls itself.
    pub fn name(&mut self, client: MacAddress, name: Option<String>) {
        if let Some(lease) = self.clients.get_mut(&client).filter(|_| name.is_some()) {
            lease.name = name;
        }
    }

    /// A client has chosen another server: what it was offered is free again.
    pub fn withdraw(&mut self, client: MacAddress) {
        if self.clients.get(&client).is_some_and(|lease| !lease.bound) {
            self.forget(client);
        }
    }

    /// A client needs its address no longer.
    pub fn release(&mut self, client: MacAddress, address: Ipv4Address, now: u64) {
        let lease = self.clients.get_mut(&client);
        if let Some(lease) = lease.filter(|lease| lease.address == address.to_bits()) {
            lease.until = now;
        }
    }

    /// A client found that somebody else uses the address that it was given.
    pub fn decline(&mut self, client: MacAddress, address: Ipv4Address, now: u64) {
        let address = address.to_bits();
        if self.owners.get(&address) != Some(&client) {
            return;
        }
        self.forget(client);
        let own = self.declined.iter().filter(|(_, (_, by))| *by == client);
        let oldest = own.clone().min_by_key(|(_, (until, _))| *until).map(|(&address, _)| address);
        if own.count() >= MOST_DECLINED
            && let Some(oldest) = oldest
        {
            self.declined.remove(&oldest);
        }
        if self.declined.len() >= MOST_CLIENTS {
            self.declined.pop_first();
        }
        self.declined.insert(address, (now.saturating_add(DECLINED), client));
    }

    /// All that clients took, by address.
    pub fn show(&self, now: u64) -> impl Iterator<Item = LeaseInfo> {
        let leases = self.owners.values().filter_map(|client| Some((client, self.clients.get(client)?)));
        leases.filter(|(_, lease)| lease.bound).map(move |(&client, lease)| LeaseInfo {
            client,
            address: Ipv4Address::from_bits(lease.address),
            left: lease.until.saturating_sub(now),
            name: lease.name.clone(),
        })
    }

    fn is_free(&self, address: u32, now: u64) -> bool {
        self.pool.contains(&address)
            && address != self.server
            && !self.owners.contains_key(&address)
            && self.declined.get(&address).is_none_or(|(until, _)| *until <= now)
    }

    /// The address that a client's Ethernet address says, or the next free one after it.
    fn first_free(&self, [.., a, b]: MacAddress, now: u64) -> Option<u32> {
        let (first, last) = (*self.pool.start(), *self.pool.end());
        let size = last.checked_sub(first)?.checked_add(1)?;
        let start = first.checked_add(u32::from(u16::from_be_bytes([a, b])).checked_rem(size)?)?;
        (start..=last).chain(first..start).find(|&address| self.is_free(address, now))
    }

    /// Makes room for one more client; `None` if there is none.
    fn make_room(&mut self, now: u64) -> Option<()> {
        let is_full = self.clients.len() >= MOST_CLIENTS;
        if is_full { self.reclaim(now).map(drop) } else { Some(()) }
    }

    /// The address whose lease ended first, if one did.
    fn reclaim(&mut self, now: u64) -> Option<u32> {
        let ended = self.clients.iter().filter(|(_, lease)| lease.until <= now);
        let (&client, lease) = ended.min_by_key(|(_, lease)| lease.until)?;
        let address = lease.address;
        self.forget(client);
        Some(address)
    }

    fn give(&mut self, client: MacAddress, address: u32, until: u64) {
        self.clients.insert(client, Lease { address, until, bound: false, name: None });
        self.owners.insert(address, client);
        self.declined.remove(&address);
    }

    fn forget(&mut self, client: MacAddress) {
        if let Some(lease) = self.clients.remove(&client) {
            self.owners.remove(&lease.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::Ipv4Address;

    use super::{Leases, MOST_CLIENTS};
    use crate::packet::MacAddress;

    fn client(number: usize) -> MacAddress {
        let [.., a, b, c] = number.to_be_bytes();
        [2, 0, 0, a, b, c]
    }

    fn leases() -> Leases {
        Leases::new(
            Ipv4Address::new(10, 0, 0, 1)..=Ipv4Address::new(10, 255, 255, 254),
            Ipv4Address::new(10, 0, 0, 1),
        )
    }

    #[test]
    fn a_large_network_has_no_more_clients_than_there_is_room_for() {
        let mut leases = leases();
        for number in 0..MOST_CLIENTS {
            assert!(leases.offer(client(number), None, 0, 60).is_some());
        }
        let free = Ipv4Address::new(10, 99, 0, 1);
        assert_eq!(leases.offer(client(MOST_CLIENTS), None, 59, 120), None);
        assert!(!leases.bind(client(MOST_CLIENTS), free, 59, 120));
        // Offers that nobody took make room.
        assert!(leases.bind(client(MOST_CLIENTS), free, 60, 120));
        assert!(leases.offer(client(MOST_CLIENTS + 1), None, 60, 120).is_some());
        assert_eq!(leases.clients.len(), MOST_CLIENTS);
    }

    #[test]
    fn declined_addresses_are_bounded() {
        let mut leases = leases();
        for number in 0..MOST_CLIENTS + 10 {
            let address = leases.offer(client(number), None, 0, 60).unwrap();
            leases.decline(client(number), address, 0);
        }
        assert_eq!(leases.declined.len(), MOST_CLIENTS);
    }
}
