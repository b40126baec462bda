//! For tests: domains' memory and ports, XenStore and time, without a machine.
//!
//! [`Host`] and [`Nodes`] are what back ends stand on, and hold the front ends' side as
//! well. Both are handles: clones are the same machine. What a back end holds is counted, so
//! that a test can tell that nothing is left: [`Host::mapped`], [`Host::bound`],
//! [`Nodes::watches`].

mod bench;
mod front;
mod grants;
mod nodes;
mod play;
mod ports;
mod time;

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

use xen_abi::errno::Errno;
use xen_abi::grant_table::GrantResult;
use xen_abi::{RawDomid, RawGrantRef, RawPort};

use crate::host::{self, Piece};
use crate::quota::Use;

pub use bench::Bench;
pub use front::FrontRing;
pub use grants::{Memory, Page};
pub use nodes::{Nodes, Watch};
pub use play::{play, yield_now};
pub use ports::{FrontPort, Port};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Domains' memory and ports, and time.
#[derive(Clone, Default, Debug)]
pub struct Host {
    grants: Rc<grants::Grants>,
    ports: Rc<ports::Ports>,
    clock: Rc<time::Clock>,
    copies: Rc<Cell<u64>>,
    maps: Rc<Cell<u64>>,
    meanwhile: Rc<RefCell<Option<(Page, usize, u32)>>>,
}

impl Host {
    /// A machine without domains.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants a page to Dom0.
    pub fn grant(&self, domain: RawDomid, page: &Page, writable: bool) -> RawGrantRef {
        self.grants.add(domain, page, writable)
    }

    /// Ends a grant, as front ends do. Whether it could be: not while it is mapped.
    pub fn revoke(&self, domain: RawDomid, reference: RawGrantRef) -> bool {
        self.grants.remove(domain, reference)
    }

    /// A port of `domain`'s that waits for Dom0.
    pub fn offer_port(&self, domain: RawDomid) -> (RawPort, FrontPort) {
        self.ports.offer(domain)
    }

    /// Lets so many more pages be mapped.
    pub fn limit_maps(&self, pages: usize) {
        self.grants.limit(pages);
    }

    /// Pages that are mapped.
    #[must_use]
    pub fn mapped(&self) -> usize {
        self.grants.mapped()
    }

    /// Ports that are bound.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.ports.bound()
    }

    /// Calls of [`host::Host::copy`] until now.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.copies.get()
    }

    /// Lets a front end write a word to its page while the next copies are made, as it runs
    /// beside the back end.
    pub fn write_meanwhile(&self, page: &Page, offset: usize, word: u32) {
        *self.meanwhile.borrow_mut() = Some((page.clone(), offset, word));
    }

    /// Calls of [`host::Host::map`] and [`host::Host::keep`] until now.
    #[must_use]
    pub fn maps(&self) -> u64 {
        self.maps.get()
    }

    /// Lets time pass.
    pub fn advance(&self, ns: u64) {
        self.clock.advance(ns);
    }
}

impl host::Host for Host {
    type Memory = Memory;
    type Port = Port;

    fn map(
        &self,
        domain: RawDomid,
        references: &[RawGrantRef],
        writable: bool,
    ) -> Result<Memory, GrantResult> {
        self.maps.set(self.maps.get() + 1);
        grants::Grants::map(&self.grants, domain, references, writable, Use::Needed)
    }

    fn keep(&self, domain: RawDomid, reference: RawGrantRef) -> Result<Memory, GrantResult> {
        self.maps.set(self.maps.get() + 1);
        grants::Grants::map(&self.grants, domain, &[reference], true, Use::Kept)
    }

    fn keeps_too_many(&self, domain: RawDomid) -> bool {
        self.grants.keeps_too_many(domain)
    }

    fn copy(&self, domain: RawDomid, pieces: &mut [Piece<'_>]) {
        self.copies.set(self.copies.get() + 1);
        if let Some((page, offset, word)) = self.meanwhile.take() {
            page.set(offset, &word.to_le_bytes());
        }
        for piece in pieces {
            piece.result = self.grants.copy(domain, piece);
        }
    }

    fn bind(&self, domain: RawDomid, port: RawPort) -> Result<Port, Errno> {
        ports::Ports::bind(&self.ports, domain, port)
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    async fn sleep_ns(&self, ns: u64) {
        self.clock.sleep(ns).await;
    }
}
