//! Pages of a front end that stay mapped (`feature-persistent`).
//!
//! At most so many; a page that was not used for long makes room for one that is. Where
//! there is no room, or mapping is refused, data is copied by the hypervisor instead: a
//! front end with more pages, or pages that can only be read, is slower and not wrong. A
//! front end has no more than its share, and gives back what is more as others come
//! ([`xen_backend::quota`]).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xen_abi::grant_table::GrantResult;
use xen_abi::{RawDomid, RawGrantRef};
use xen_backend::Host;

/// Pages that are mapped; all are unmapped when this is dropped.
#[derive(Debug)]
pub(crate) struct Persistent<M> {
    places: BTreeMap<RawGrantRef, usize>,
    pages: Vec<Page<M>>,
    limit: usize,
    uses: u64,
}

#[derive(Debug)]
struct Page<M> {
    reference: RawGrantRef,
    memory: M,
    used: u64,
}

impl<M> Persistent<M> {
    /// No pages, and at most so many.
    pub(crate) fn new(limit: usize) -> Self {
        Self { places: BTreeMap::new(), pages: Vec::new(), limit, uses: 0 }
    }

    /// The page of a grant, mapped now if it is not yet and there is room.
    pub(crate) fn page<H>(&mut self, host: &H, domain: RawDomid, reference: RawGrantRef) -> Option<&M>
    where
        H: Host<Memory = M>,
    {
        if self.limit == 0 {
            return None;
        }
        self.uses += 1;
        if host.keeps_too_many(domain) {
            self.unmap_oldest();
        }
        let place = match self.places.get(&reference) {
            Some(&place) => place,
            None => self.map(host, domain, reference)?,
        };
        let page = self.pages.get_mut(place)?;
        page.used = self.uses;
        Some(&page.memory)
    }

    fn map<H>(&mut self, host: &H, domain: RawDomid, reference: RawGrantRef) -> Option<usize>
    where
        H: Host<Memory = M>,
    {
        if self.pages.len() >= self.limit {
            self.make_room()?;
        }
        let memory = match host.keep(domain, reference) {
            Err(GrantResult::NoSpace) => {
                self.make_room()?;
                host.keep(domain, reference)
            }
            result => result,
        };
        let memory = memory.ok()?;
        self.pages.push(Page { reference, memory, used: self.uses });
        self.places.insert(reference, self.pages.len() - 1);
        Some(self.pages.len() - 1)
    }

    /// Makes room, if a page was not used for as long as all could have been used twice: a
    /// front end that goes round and round through too many is not mapped round and round.
    fn make_room(&mut self) -> Option<()> {
        let (_, page) = self.oldest()?;
        if self.uses - page.used <= 2 * self.pages.len() as u64 {
            return None;
        }
        self.unmap_oldest();
        Some(())
    }

    fn unmap_oldest(&mut self) {
        let Some((place, _)) = self.oldest() else { return };
        let gone = self.pages.swap_remove(place);
        self.places.remove(&gone.reference);
        if let Some(moved) = self.pages.get(place) {
            self.places.insert(moved.reference, place);
        }
    }

    fn oldest(&self) -> Option<(usize, &Page<M>)> {
        self.pages.iter().enumerate().min_by_key(|(_, page)| page.used)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use xen_backend::Memory as _;
    use xen_backend::quota::RESERVED;
    use xen_backend::testing::{self, Page};

    use super::*;

    fn pages(host: &testing::Host, count: usize) -> Vec<RawGrantRef> {
        (0..count).map(|_| host.grant(1, &Page::new(), true)).collect()
    }

    #[test]
    fn a_page_is_mapped_once() {
        let host = testing::Host::new();
        let page = Page::new();
        let reference = host.grant(1, &page, true);
        let mut persistent = Persistent::new(2);
        for byte in 0..3 {
            persistent.page(&host, 1, reference).expect("it can be mapped").write(5, &[byte]);
            assert_eq!(page.bytes()[5], byte);
        }
        assert_eq!((host.maps(), host.mapped()), (1, 1));
        drop(persistent);
        assert_eq!(host.mapped(), 0);
    }

    #[test]
    fn a_page_that_is_not_used_makes_room() {
        let host = testing::Host::new();
        let references = pages(&host, 3);
        let mut persistent = Persistent::new(2);
        assert!(persistent.page(&host, 1, references[0]).is_some());
        assert!(persistent.page(&host, 1, references[1]).is_some());
        assert!(persistent.page(&host, 1, references[2]).is_none(), "both were used just now");
        while persistent.page(&host, 1, references[2]).is_none() {
            assert!(persistent.page(&host, 1, references[1]).is_some());
        }
        assert_eq!(host.mapped(), 2);
        assert!(host.revoke(1, references[0]), "the oldest one is the one that went");
        for &reference in &references[1..] {
            let maps = host.maps();
            assert!(persistent.page(&host, 1, reference).is_some());
            assert_eq!(host.maps(), maps, "the others stayed");
        }
    }

    #[test]
    fn what_cannot_be_mapped_is_left_to_copies() {
        let host = testing::Host::new();
        let read_only = host.grant(1, &Page::new(), false);
        let mut persistent = Persistent::new(8);
        assert!(persistent.page(&host, 1, read_only).is_none());
        assert!(persistent.page(&host, 1, 4711).is_none());
        let references = pages(&host, 2);
        host.limit_maps(RESERVED + 2);
        assert!(persistent.page(&host, 1, references[0]).is_some());
        assert!(persistent.page(&host, 1, references[1]).is_none());
        assert_eq!(host.mapped(), 1);
    }

    #[test]
    fn what_is_more_than_a_share_is_given_back() {
        let host = testing::Host::new();
        let references = pages(&host, 10);
        let mut persistent = Persistent::new(10);
        let mut use_all = || {
            for &reference in &references {
                persistent.page(&host, 1, reference);
            }
            host.mapped()
        };
        assert_eq!(use_all(), 10);
        // As much is left as it may have, together with what it has.
        host.limit_maps(RESERVED);
        assert_eq!((use_all(), use_all()), (5, 5));
        host.limit_maps(0);
        assert_eq!(use_all(), 0);
    }
}
