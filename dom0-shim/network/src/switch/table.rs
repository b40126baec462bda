//! Which address is behind which port of a bridge.
//!
//! Addresses of interfaces are *pinned*: known from the start and nobody else's. Others are
//! *learned* from frames that come in where unknown ones can be, age, and are no more than
//! [`MOST_LEARNED`]: what is not in the table is looked for at all uplinks.

use alloc::collections::BTreeMap;

use crate::packet::MacAddress;

/// Learned addresses of a bridge.
pub const MOST_LEARNED: usize = 1024;

/// How long an address is remembered, s (IEEE 802.1Q, table 8-6: recommended default).
pub const AGE: u64 = 300;

/// A table of a bridge. A tree: its worst case does not depend on addresses that somebody
/// chooses.
#[derive(Default)]
pub struct Table {
    entries: BTreeMap<u64, Entry>,
    learned: usize,
}

struct Entry {
    port: usize,
    /// When a frame came from it last, s; `None`: it is pinned.
    seen: Option<u64>,
}

/// What became of a source address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// It is, or was, in the table.
    Known,
    /// There was no room for it.
    Full,
    /// It is pinned: the frame is a forgery, or one that comes back.
    Pinned,
}

impl Table {
    /// The port of an address in a VLAN (0: in none).
    pub fn find(&self, vlan: u16, address: MacAddress) -> Option<usize> {
        self.entries.get(&key(vlan, address)).map(|entry| entry.port)
    }

    /// Pins an address to a port.
    pub fn pin(&mut self, vlan: u16, address: MacAddress, port: usize) {
        let old = self.entries.insert(key(vlan, address), Entry { port, seen: None });
        if old.is_some_and(|entry| entry.seen.is_some()) {
            self.learned = self.learned.saturating_sub(1);
        }
    }

    /// Learns the source address of a frame that came in at a port.
    pub fn learn(&mut self, vlan: u16, address: MacAddress, port: usize, now: u64) -> Learned {
        let key = key(vlan, address);
        match self.entries.get_mut(&key) {
            Some(Entry { seen: None, .. }) => Learned::Pinned,
            Some(entry) => {
                *entry = Entry { port, seen: Some(now) };
                Learned::Known
            }
            None if self.learned >= MOST_LEARNED => Learned::Full,
            None => {
                self.entries.insert(key, Entry { port, seen: Some(now) });
                self.learned = self.learned.saturating_add(1);
                Learned::Known
            }
        }
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: u64) {
        self.retain(|entry| entry.seen.is_none_or(|seen| now.saturating_sub(seen) < AGE));
    }

    /// Forgets all that is behind a port.
    pub fn forget(&mut self, port: usize) {
        self.retain(|entry| entry.port != port);
    }

    /// All addresses: VLAN, address, port, and since when nothing came from it, s; `None` for a
    /// pinned one.
    pub fn iter(&self) -> impl Iterator<Item = (u16, MacAddress, usize, Option<u64>)> {
        self.entries.iter().map(|(key, entry)| {
            let [a, b, address @ ..] = key.to_be_bytes();
            (u16::from_be_bytes([a, b]), address, entry.port, entry.seen)
        })
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.entries.retain(|_, entry| keep(entry));
        self.learned = self.entries.values().filter(|entry| entry.seen.is_some()).count();
    }
}

fn key(vlan: u16, [a, b, c, d, e, f]: MacAddress) -> u64 {
    let [high, low] = vlan.to_be_bytes();
    u64::from_be_bytes([high, low, a, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::{AGE, Learned, MOST_LEARNED, Table};
    use crate::packet::MacAddress;
    use crate::testing::{A, B};

    #[test]
    fn addresses_move_and_age() {
        let mut table = Table::default();
        assert_eq!(table.learn(0, A, 1, 0), Learned::Known);
        assert_eq!(table.learn(0, B, 1, 0), Learned::Known);
        assert_eq!(table.learn(0, A, 2, 10), Learned::Known);
        assert_eq!((table.find(0, A), table.find(0, B)), (Some(2), Some(1)));
        table.expire(AGE);
        assert_eq!((table.find(0, A), table.find(0, B)), (Some(2), None));
        table.expire(AGE + 10);
        assert_eq!(table.find(0, A), None);
    }

    #[test]
    fn vlans_are_apart() {
        let mut table = Table::default();
        table.learn(0, A, 1, 0);
        table.learn(7, A, 2, 0);
        assert_eq!([0, 7, 8].map(|vlan| table.find(vlan, A)), [Some(1), Some(2), None]);
        let all: std::vec::Vec<_> = table.iter().collect();
        assert_eq!(all, [(0, A, 1, Some(0)), (7, A, 2, Some(0))]);
    }

    #[test]
    fn pinned_addresses_stay() {
        let mut table = Table::default();
        table.learn(0, A, 1, 0);
        table.pin(0, A, 3);
        assert_eq!(table.learn(0, A, 1, 0), Learned::Pinned);
        table.expire(u64::MAX);
        assert_eq!(table.find(0, A), Some(3));
        table.forget(3);
        assert_eq!(table.find(0, A), None);
    }

    #[test]
    fn a_flood_of_addresses_ends() {
        let mut table = Table::default();
        let address = |number: usize| -> MacAddress {
            let [.., a, b, c] = number.to_be_bytes();
            [2, 0, 0, a, b, c]
        };
        for number in 0..MOST_LEARNED {
            assert_eq!(table.learn(0, address(number), 1, 0), Learned::Known);
        }
        assert_eq!(table.learn(0, address(MOST_LEARNED), 1, 0), Learned::Full);
        assert_eq!(table.learn(0, address(5), 1, 1), Learned::Known, "known ones are renewed");
        table.expire(AGE);
        assert_eq!(table.learn(0, address(MOST_LEARNED), 1, AGE), Learned::Known);
        assert_eq!(table.iter().count(), 2);
    }
}
