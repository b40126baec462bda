//! The back end's side of a ring in a front end's memory (Xen's `io/ring.h`).
//!
//! ```text
//!         rsp_prod            req_cons              req_prod (the front end's claim)
//!   answered │ taken, to answer  │ to be taken          │
//!   ─────────┴───────────────────┴──────────────────────┴────> indices, 32 bits, running freely
//!            └────────────── at most `entries` ─────────┘      else the ring is broken
//! ```
//!
//! A response takes the slot of a request that was taken, so there is always room for it.
//! All indices but `req_prod` and `rsp_event` are the back end's own and never read back.

use core::fmt;

use xen_abi::io::ring;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::host::Memory;

/// Pages of the largest ring.
pub const MAX_PAGES: usize = 16;

const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;
const RSP_EVENT: usize = 12;
const HEADER: usize = size_of::<ring::SringHeader>();

/// The front end claims more requests than the ring has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Requests that it claims.
    pub claimed: u32,
    /// Entries of the ring.
    pub entries: u32,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests in a ring of {}", self.claimed, self.entries)
    }
}

/// A ring of slots, each of a request or a response.
#[derive(Debug)]
pub struct Ring<M> {
    memory: M,
    slot_bytes: usize,
    entries: u32,
    /// Requests taken.
    taken: u32,
    /// Requests that the front end claimed to have written, as last seen and found possible.
    claimed: u32,
    /// Responses written.
    answered: u32,
    /// Responses that the front end knows of.
    published: u32,
}

impl<M: Memory> Ring<M> {
    /// A ring of slots of `slot_bytes` in these pages. It begins where the responses in it
    /// end: at 0 in a fresh ring.
    ///
    /// # Errors
    ///
    /// [`Broken`], also where not one slot fits.
    pub fn attach(memory: M, slot_bytes: usize) -> Result<Self, Broken> {
        let entries = u32::try_from(ring::entries(memory.len(), slot_bytes)).unwrap_or(0);
        if entries == 0 {
            return Err(Broken { claimed: 0, entries });
        }
        let begin = memory.load(RSP_PROD);
        let mut ring = Self {
            memory,
            slot_bytes,
            entries,
            taken: begin,
            claimed: begin,
            answered: begin,
            published: begin,
        };
        ring.look()?;
        Ok(ring)
    }

    /// Entries, a power of two.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Requests that were taken and have no response yet.
    pub fn unanswered(&self) -> u32 {
        self.taken.wrapping_sub(self.answered)
    }

    /// Requests that can be taken.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn available(&mut self) -> Result<u32, Broken> {
        self.look()?;
        Ok(self.claimed.wrapping_sub(self.taken))
    }

    /// Takes the next request: its first bytes, copied once.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn take<T: FromBytes + IntoBytes>(&mut self) -> Result<Option<T>, Broken> {
        let mut request = T::new_zeroed();
        let Some(slot) = self.take_slot()? else { return Ok(None) };
        slot.read(0, request.as_mut_bytes());
        Ok(Some(request))
    }

    /// Takes the next request, to be copied piece by piece: layouts differ, and most
    /// requests use only a part of their slot. The front end may change it meanwhile: who
    /// reads a byte twice may read two values.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn take_slot(&mut self) -> Result<Option<Slot<'_, M>>, Broken> {
        if self.claimed == self.taken {
            self.look()?;
            if self.claimed == self.taken {
                return Ok(None);
            }
        }
        let offset = self.offset(self.taken);
        self.taken = self.taken.wrapping_add(1);
        Ok(Some(Slot { memory: &self.memory, offset, bytes: self.slot_bytes }))
    }

    /// Writes a response; [`Self::publish`] tells of it.
    ///
    /// # Panics
    ///
    /// If no request waits for one, or it is larger than a slot.
    pub fn respond<T: IntoBytes + Immutable>(&mut self, response: &T) {
        assert!(self.unanswered() > 0, "a response without a request");
        assert!(size_of::<T>() <= self.slot_bytes, "a response larger than a slot");
        self.memory.write(self.offset(self.answered), response.as_bytes());
        self.answered = self.answered.wrapping_add(1);
    }

    /// Shows the front end all responses. Whether it wants an event for them.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.answered);
        if old == new {
            return false;
        }
        self.published = new;
        self.memory.store(RSP_PROD, new);
        new.wrapping_sub(self.memory.load(RSP_EVENT)) < new.wrapping_sub(old)
    }

    /// Whether there are requests. If not the front end sends an event with the next one:
    /// now it is safe to wait for it.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn final_check(&mut self) -> Result<bool, Broken> {
        self.final_check_for(1)
    }

    /// As [`Self::final_check`] for so many requests, at least one: whether they are there; if
    /// not the event comes with the last of them.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn final_check_for(&mut self, requests: u32) -> Result<bool, Broken> {
        if self.available()? >= requests {
            return Ok(true);
        }
        self.memory.store(REQ_EVENT, self.taken.wrapping_add(requests));
        Ok(self.available()? >= requests)
    }

    /// Reads the front end's claim and checks it.
    fn look(&mut self) -> Result<(), Broken> {
        let prod = self.memory.load(REQ_PROD);
        let unanswered = prod.wrapping_sub(self.answered);
        // An index behind what was taken already is as impossible as one too far ahead.
        if unanswered > self.entries || unanswered < self.unanswered() {
            return Err(Broken { claimed: unanswered, entries: self.entries });
        }
        self.claimed = prod;
        Ok(())
    }

    /// Where an index has its slot.
    fn offset(&self, index: u32) -> usize {
        HEADER + (index & (self.entries - 1)) as usize * self.slot_bytes
    }
}

/// A request that was taken, still in the ring.
#[derive(Debug)]
pub struct Slot<'a, M> {
    memory: &'a M,
    offset: usize,
    bytes: usize,
}

impl<M: Memory> Slot<'_, M> {
    /// Copies a part of it.
    ///
    /// # Panics
    ///
    /// If the part leaves the slot.
    pub fn read(&self, at: usize, to: &mut [u8]) {
        assert!(at + to.len() <= self.bytes, "a part beyond its slot");
        self.memory.read(self.offset + at, to);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::Host as _;
    use crate::testing::{FrontRing, Host};

    const SLOT: usize = 16;
    const DOMAIN: u16 = 3;

    fn pair(pages: usize) -> (Host, FrontRing, Ring<crate::testing::Memory>) {
        let host = Host::new();
        let front = FrontRing::new(&host, DOMAIN, pages, SLOT);
        let memory = host.map(DOMAIN, front.references(), true).expect("it is granted");
        let ring = Ring::attach(memory, SLOT).expect("the ring is fresh");
        (host, front, ring)
    }

    #[test]
    fn requests_come_in_order_and_go_back_as_responses() {
        let (_host, mut front, mut ring) = pair(1);
        for round in 0..1000_u64 {
            front.put(&round);
            front.put(&(round + 1));
            front.publish();
            assert_eq!(ring.available(), Ok(2));
            assert_eq!(ring.take::<u64>(), Ok(Some(round)));
            assert_eq!(ring.take::<u64>(), Ok(Some(round + 1)));
            assert_eq!((ring.take::<u64>(), ring.unanswered()), (Ok(None), 2));
            ring.respond(&round);
            ring.respond(&!round);
            assert_eq!(front.take::<u64>(), None, "not published yet");
            assert!(ring.publish());
            assert_eq!((front.take::<u64>(), front.take::<u64>()), (Some(round), Some(!round)));
            assert_eq!(ring.unanswered(), 0);
        }
    }

    #[test]
    fn rings_of_several_pages_use_all_of_them() {
        for (pages, entries) in [(1, 128), (2, 256), (4, 512), (16, 2048)] {
            let (_host, front, ring) = pair(pages);
            assert_eq!((ring.entries(), front.entries()), (entries, entries), "{pages} pages");
        }
    }

    #[test]
    fn indices_run_through_all_bits() {
        let host = Host::new();
        let mut front = FrontRing::beginning_at(&host, DOMAIN, 1, SLOT, u32::MAX - 1);
        let memory = host.map(DOMAIN, front.references(), true).expect("it is granted");
        let mut ring = Ring::attach(memory, SLOT).expect("no request is claimed");
        for round in 0..5_u64 {
            front.put(&round);
            assert!(front.publish() || round > 0);
            assert_eq!(ring.take(), Ok(Some(round)));
            ring.respond(&round);
            let _ = ring.publish();
            assert_eq!(front.take(), Some(round));
        }
    }

    #[test]
    fn events_are_sent_when_they_are_wanted() {
        let (_host, mut front, mut ring) = pair(1);
        assert_eq!(ring.final_check(), Ok(false));
        front.put(&1_u64);
        assert!(front.publish(), "the back end waits for it");
        assert_eq!(ring.final_check(), Ok(true));
        front.put(&2_u64);
        assert!(!front.publish(), "the back end has not looked yet");
        for _ in 0..2 {
            let request: u64 = ring.take().expect("it is whole").expect("there is one");
            ring.respond(&request);
        }
        front.set_response_event(2);
        assert!(ring.publish(), "the second response is the one that is waited for");
        assert!(!ring.publish(), "nothing new");
    }

    #[test]
    fn events_are_not_sent_before_they_are_wanted() {
        let (_host, mut front, mut ring) = pair(1);
        front.put(&1_u64);
        front.publish();
        front.set_response_event(2);
        assert_eq!(ring.take(), Ok(Some(1_u64)));
        ring.respond(&1_u64);
        assert!(!ring.publish());
    }

    #[test]
    fn an_event_comes_with_the_last_of_the_requests_that_are_waited_for() {
        let (_host, mut front, mut ring) = pair(1);
        assert_eq!(ring.final_check_for(3), Ok(false));
        for event in [false, false, true, false] {
            front.put(&1_u64);
            assert_eq!(front.publish(), event);
        }
        assert_eq!((ring.final_check_for(4), ring.final_check_for(5)), (Ok(true), Ok(false)));
    }

    #[test]
    fn claims_beyond_the_ring_are_refused() {
        let (_host, front, mut ring) = pair(1);
        front.set_request_producer(ring.entries() + 1);
        let broken = Broken { claimed: ring.entries() + 1, entries: ring.entries() };
        assert_eq!(ring.available(), Err(broken));
        assert_eq!(ring.take::<u64>(), Err(broken));
        assert_eq!(ring.final_check(), Err(broken));
        front.set_request_producer(u32::MAX);
        assert!(ring.available().is_err(), "before the first one");
        front.set_request_producer(ring.entries());
        assert_eq!(ring.available(), Ok(ring.entries()));
    }

    #[test]
    fn claims_do_not_go_back() {
        let (_host, front, mut ring) = pair(1);
        front.set_request_producer(2);
        assert!(ring.take::<u64>().is_ok() && ring.take::<u64>().is_ok());
        front.set_request_producer(1);
        assert!(ring.available().is_err());
    }

    #[test]
    fn a_ring_that_is_broken_or_too_small_is_not_attached() {
        let host = Host::new();
        let front = FrontRing::new(&host, DOMAIN, 1, SLOT);
        front.set_request_producer(1 << 20);
        let memory = host.map(DOMAIN, front.references(), true).expect("it is granted");
        assert!(Ring::attach(memory, SLOT).is_err());
        let memory = host.map(DOMAIN, front.references(), true).expect("it is granted");
        assert_eq!(Ring::attach(memory, 4096).map(|_| ()), Err(Broken { claimed: 0, entries: 0 }));
        assert_eq!(host.mapped(), 0);
    }

    proptest! {
        /// Whatever is in its pages: nothing panics, and no more is taken than there is room.
        #[test]
        fn random_pages_are_survived(words in proptest::collection::vec(any::<u32>(), 4..40)) {
            let (_host, front, mut ring) = pair(1);
            for (claim, event) in words.iter().zip(words.iter().skip(1)) {
                front.set_request_producer(*claim % 300);
                front.set_response_event(*event);
                let mut seen = Vec::new();
                while let Ok(Some(request)) = ring.take::<u64>() {
                    seen.push(request);
                    if event & 1 == 1 {
                        ring.respond(&request);
                    }
                }
                prop_assert!(ring.unanswered() <= ring.entries());
                prop_assert!(seen.len() <= 300);
                let _ = (ring.publish(), ring.final_check());
            }
        }
    }

    #[test]
    #[should_panic(expected = "without a request")]
    fn responses_need_requests() {
        let (_host, _front, mut ring) = pair(1);
        ring.respond(&0_u64);
    }

    #[test]
    fn parts_of_a_slot_are_read_where_they_are() {
        let (_host, mut front, mut ring) = pair(1);
        front.put(&[1_u8, 2, 3, 4, 5, 6, 7, 8]);
        front.publish();
        let slot = ring.take_slot().expect("it is whole").expect("there is one");
        let mut part = [0; 3];
        slot.read(4, &mut part);
        assert_eq!(part, [5, 6, 7]);
    }
}
