//! A front end's side of a ring.

use alloc::vec;
use alloc::vec::Vec;

use xen_abi::io::ring;
use xen_abi::{RawDomid, RawGrantRef};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Host, PAGE, Page};

const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;
const RSP_EVENT: usize = 12;

/// A ring of slots in granted pages. It does what a front end does, and can lie.
#[derive(Debug)]
pub struct FrontRing {
    pages: Vec<Page>,
    references: Vec<RawGrantRef>,
    slot: usize,
    entries: u32,
    put: u32,
    published: u32,
    taken: u32,
}

impl FrontRing {
    /// A fresh ring of slots of so many bytes, its pages granted to Dom0.
    ///
    /// # Panics
    ///
    /// If not one slot fits.
    #[must_use]
    pub fn new(host: &Host, domain: RawDomid, pages: usize, slot: usize) -> Self {
        Self::beginning_at(host, domain, pages, slot, 0)
    }

    /// As [`Self::new`], with all indices at a value.
    ///
    /// # Panics
    ///
    /// If not one slot fits.
    #[must_use]
    pub fn beginning_at(host: &Host, domain: RawDomid, pages: usize, slot: usize, index: u32) -> Self {
        let pages = vec![(); pages].into_iter().map(|()| Page::new()).collect::<Vec<_>>();
        let references = pages.iter().map(|page| host.grant(domain, page, true)).collect();
        let entries = u32::try_from(ring::entries(pages.len() * PAGE, slot)).expect("few slots");
        assert!(entries > 0, "a ring without slots");
        let this = Self { pages, references, slot, entries, put: index, published: index, taken: index };
        for (place, value) in [
            (REQ_PROD, index),
            (RSP_PROD, index),
            (REQ_EVENT, index.wrapping_add(1)),
            (RSP_EVENT, index.wrapping_add(1)),
        ] {
            this.store(place, value);
        }
        this
    }

    /// The grants of its pages.
    #[must_use]
    pub fn references(&self) -> &[RawGrantRef] {
        &self.references
    }

    /// Entries.
    #[must_use]
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Room for more requests: a response that was not taken takes the place of one.
    #[must_use]
    pub fn room(&self) -> u32 {
        self.entries - self.put.wrapping_sub(self.taken)
    }

    /// Writes a request, whether there is room or not. [`Self::publish`] tells of it.
    pub fn put<T: IntoBytes + Immutable + ?Sized>(&mut self, request: &T) {
        self.write(self.place(self.put), request.as_bytes());
        self.put = self.put.wrapping_add(1);
    }

    /// Tells of the requests. Whether the back end wants an event for them.
    pub fn publish(&mut self) -> bool {
        let old = core::mem::replace(&mut self.published, self.put);
        self.store(REQ_PROD, self.put);
        self.put.wrapping_sub(self.load(REQ_EVENT)) < self.put.wrapping_sub(old)
    }

    /// Takes a response. `None` where there is none yet; the back end sends an event then.
    pub fn take<T: FromBytes + IntoBytes>(&mut self) -> Option<T> {
        if self.load(RSP_PROD) == self.taken {
            self.store(RSP_EVENT, self.taken.wrapping_add(1));
            return None;
        }
        let mut response = T::new_zeroed();
        self.read(self.place(self.taken), response.as_mut_bytes());
        self.taken = self.taken.wrapping_add(1);
        Some(response)
    }

    /// Lies about the number of requests.
    pub fn set_request_producer(&self, value: u32) {
        self.store(REQ_PROD, value);
    }

    /// Asks for an event with the response of this index.
    pub fn set_response_event(&self, value: u32) {
        self.store(RSP_EVENT, value);
    }

    /// Its pages.
    #[must_use]
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    fn place(&self, index: u32) -> usize {
        size_of::<ring::SringHeader>() + (index & (self.entries - 1)) as usize * self.slot
    }

    fn load(&self, place: usize) -> u32 {
        let mut word = [0; 4];
        self.read(place, &mut word);
        u32::from_le_bytes(word)
    }

    fn store(&self, place: usize, value: u32) {
        self.write(place, &value.to_le_bytes());
    }

    // Byte by byte: slots may cross pages.
    fn read(&self, place: usize, to: &mut [u8]) {
        for (at, byte) in (place..).zip(to.chunks_mut(1)) {
            self.pages[at / PAGE].get(at % PAGE, byte);
        }
    }

    fn write(&self, place: usize, from: &[u8]) {
        for (at, byte) in (place..).zip(from.chunks(1)) {
            self.pages[at / PAGE].set(at % PAGE, byte);
        }
    }
}
