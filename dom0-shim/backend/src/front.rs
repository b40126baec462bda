//! A front end's side of a ring (Xen's `io/ring.h`): for guests, and for tests of back ends.

use xen_abi::io::ring;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::host::Memory;

const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;
const RSP_EVENT: usize = 12;

/// A ring of slots. It does what a front end does, and can lie.
#[derive(Debug)]
pub struct FrontRing<M> {
    memory: M,
    slot: usize,
    entries: u32,
    put: u32,
    published: u32,
    taken: u32,
}

impl<M: Memory> FrontRing<M> {
    /// A fresh ring of slots of so many bytes.
    ///
    /// # Panics
    ///
    /// If not one slot fits.
    #[must_use]
    pub fn new(memory: M, slot: usize) -> Self {
        Self::beginning_at(memory, slot, 0)
    }

    /// As [`Self::new`], with all indices at a value.
    ///
    /// # Panics
    ///
    /// If not one slot fits.
    #[must_use]
    pub fn beginning_at(memory: M, slot: usize, index: u32) -> Self {
        let entries = u32::try_from(ring::entries(memory.len(), slot)).unwrap_or(0);
        assert!(entries > 0, "a ring without slots");
        let (first, next) = (index, index.wrapping_add(1));
        for (place, value) in [(REQ_PROD, first), (RSP_PROD, first), (REQ_EVENT, next), (RSP_EVENT, next)] {
            memory.store(place, value);
        }
        Self { memory, slot, entries, put: index, published: index, taken: index }
    }

    /// Its pages.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Entries, a power of two.
    #[must_use]
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Room for more requests: a response that was not taken takes the place of one.
    #[must_use]
    pub fn room(&self) -> u32 {
        self.entries.saturating_sub(self.put.wrapping_sub(self.taken))
    }

    /// Writes a request, whether there is room or not. [`Self::publish`] tells of it.
    ///
    /// # Panics
    ///
    /// If it is longer than the ring.
    pub fn put<T: IntoBytes + Immutable + ?Sized>(&mut self, request: &T) {
        self.memory.write(self.place(self.put), request.as_bytes());
        self.put = self.put.wrapping_add(1);
    }

    /// Tells of the requests. Whether the back end wants an event for them.
    pub fn publish(&mut self) -> bool {
        let old = core::mem::replace(&mut self.published, self.put);
        self.memory.store(REQ_PROD, self.put);
        self.put.wrapping_sub(self.memory.load(REQ_EVENT)) < self.put.wrapping_sub(old)
    }

    /// Takes a response. `None` where there is none yet; the back end sends an event then.
    pub fn take<T: FromBytes + IntoBytes>(&mut self) -> Option<T> {
        if self.memory.load(RSP_PROD) == self.taken {
            self.memory.store(RSP_EVENT, self.taken.wrapping_add(1));
            // One that came before it was asked for brings no event.
            if self.memory.load(RSP_PROD) == self.taken {
                return None;
            }
        }
        let mut response = T::new_zeroed();
        self.memory.read(self.place(self.taken), response.as_mut_bytes());
        self.taken = self.taken.wrapping_add(1);
        Some(response)
    }

    /// Lies about the number of requests.
    pub fn set_request_producer(&self, value: u32) {
        self.memory.store(REQ_PROD, value);
    }

    /// Asks for an event with the response of this index.
    pub fn set_response_event(&self, value: u32) {
        self.memory.store(RSP_EVENT, value);
    }

    fn place(&self, index: u32) -> usize {
        size_of::<ring::SringHeader>() + (index & (self.entries - 1)) as usize * self.slot
    }
}
