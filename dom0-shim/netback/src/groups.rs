//! Multicast groups that a front end wants.

use alloc::vec::Vec;

use network::{Link, MacAddress};
use xen_abi::io::netif::NetifStatus;

use crate::extras::Change;

/// Groups that are told apart. Front ends that are refused more ask for all.
pub(crate) const MOST_GROUPS: usize = 64;

/// The list.
#[derive(Debug)]
pub(crate) struct Groups {
    list: Vec<MacAddress>,
    /// Only these are wanted (`request-multicast-control`). Else the list is kept and not used.
    filters: bool,
}

impl Groups {
    /// An empty list.
    pub(crate) fn new<L: Link>(filters: bool, link: &L) -> Self {
        let this = Self { list: Vec::new(), filters };
        this.tell(link);
        this
    }

    /// Adds or takes out a group.
    pub(crate) fn change<L: Link>(&mut self, change: Change, link: &L) -> NetifStatus {
        match change {
            Change::Add(group) if self.list.contains(&group) => return NetifStatus::Okay,
            Change::Add(_) if self.list.len() >= MOST_GROUPS => return NetifStatus::Error,
            Change::Add(group) => self.list.push(group),
            Change::Remove(group) => self.list.retain(|listed| *listed != group),
        }
        self.tell(link);
        NetifStatus::Okay
    }

    fn tell<L: Link>(&self, link: &L) {
        link.set_multicast(self.filters.then_some(&self.list));
    }
}
