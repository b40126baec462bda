//! A front end's ring, in pages that are granted.

use core::ops::{Deref, DerefMut};

use alloc::vec;
use alloc::vec::Vec;

use xen_abi::{RawDomid, RawGrantRef};

use super::{Host, PAGE, Page};
use crate::front;
use crate::host::Memory;

/// A ring of slots in granted pages; see [`front::FrontRing`].
#[derive(Debug)]
pub struct FrontRing {
    ring: front::FrontRing<OwnPages>,
    references: Vec<RawGrantRef>,
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
        let pages = OwnPages(vec![(); pages].into_iter().map(|()| Page::new()).collect());
        let references = pages.0.iter().map(|page| host.grant(domain, page, true)).collect();
        Self { ring: front::FrontRing::beginning_at(pages, slot, index), references }
    }

    /// The grants of its pages.
    #[must_use]
    pub fn references(&self) -> &[RawGrantRef] {
        &self.references
    }

    /// Its pages.
    #[must_use]
    pub fn pages(&self) -> &[Page] {
        &self.ring.memory().0
    }
}

impl Deref for FrontRing {
    type Target = front::FrontRing<OwnPages>;

    fn deref(&self) -> &Self::Target {
        &self.ring
    }
}

impl DerefMut for FrontRing {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.ring
    }
}

/// Pages as their domain has them, side by side.
#[derive(Debug)]
pub struct OwnPages(Vec<Page>);

impl Memory for OwnPages {
    fn len(&self) -> usize {
        self.0.len() * PAGE
    }

    // Byte by byte: slots may cross pages.
    fn read(&self, offset: usize, to: &mut [u8]) {
        for (at, byte) in (offset..).zip(to.chunks_mut(1)) {
            self.0[at / PAGE].get(at % PAGE, byte);
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        for (at, byte) in (offset..).zip(from.chunks(1)) {
            self.0[at / PAGE].set(at % PAGE, byte);
        }
    }

    fn load(&self, offset: usize) -> u32 {
        let mut word = [0; 4];
        self.read(offset, &mut word);
        u32::from_le_bytes(word)
    }

    fn store(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }
}
