//! Pages of front ends, and grants of them.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use xen_abi::grant_table::GrantResult;
use xen_abi::{RawDomid, RawGrantRef};

use super::PAGE;
use crate::host::{self, Direction, Piece};
use crate::quota::{Quota, Share, Use};

/// A page of a front end's; clones are the same page.
#[derive(Clone, Debug)]
pub struct Page(Rc<RefCell<[u8; PAGE]>>);

impl Default for Page {
    fn default() -> Self {
        Self(Rc::new(RefCell::new([0; PAGE])))
    }
}

impl Page {
    /// A page of zeros.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; PAGE] {
        *self.0.borrow()
    }

    /// Fills it with one byte.
    pub fn fill(&self, byte: u8) {
        self.0.borrow_mut().fill(byte);
    }

    /// Writes to it, as its domain.
    ///
    /// # Panics
    ///
    /// If a byte lies beyond its end.
    pub fn set(&self, offset: usize, bytes: &[u8]) {
        self.0.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Reads it, as its domain.
    ///
    /// # Panics
    ///
    /// If a byte lies beyond its end.
    pub fn get(&self, offset: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.0.borrow()[offset..offset + to.len()]);
    }
}

/// One grant of a page to Dom0.
#[derive(Debug)]
struct Grant {
    page: Page,
    writable: bool,
    mapped: usize,
}

/// Grants of all domains.
#[derive(Debug)]
pub(super) struct Grants {
    entries: RefCell<BTreeMap<(RawDomid, RawGrantRef), Grant>>,
    next: Cell<RawGrantRef>,
    quota: Rc<Quota>,
}

impl Default for Grants {
    fn default() -> Self {
        // The first eight are the toolstack's.
        Self { entries: RefCell::default(), next: Cell::new(8), quota: Quota::new(1 << 20) }
    }
}

impl Grants {
    pub(super) fn add(&self, domain: RawDomid, page: &Page, writable: bool) -> RawGrantRef {
        let reference = self.next.get();
        self.next.set(reference + 1);
        let grant = Grant { page: page.clone(), writable, mapped: 0 };
        self.entries.borrow_mut().insert((domain, reference), grant);
        reference
    }

    pub(super) fn remove(&self, domain: RawDomid, reference: RawGrantRef) -> bool {
        let mut entries = self.entries.borrow_mut();
        let free = entries.get(&(domain, reference)).is_some_and(|grant| grant.mapped == 0);
        free && entries.remove(&(domain, reference)).is_some()
    }

    pub(super) fn limit(&self, pages: usize) {
        self.quota.set_free(pages);
    }

    pub(super) fn keeps_too_many(&self, domain: RawDomid) -> bool {
        self.quota.keeps_too_many(domain)
    }

    pub(super) fn mapped(&self) -> usize {
        self.entries.borrow().values().map(|grant| grant.mapped).sum()
    }

    pub(super) fn map(
        this: &Rc<Self>,
        domain: RawDomid,
        references: &[RawGrantRef],
        writable: bool,
        usage: Use,
    ) -> Result<Memory, GrantResult> {
        let share = this.quota.take(domain, usage, references.len()).ok_or(GrantResult::NoSpace)?;
        let mut memory = Memory {
            grants: Rc::clone(this),
            domain,
            pages: Vec::new(),
            writable,
            references: Vec::new(),
            _share: share,
        };
        // What was mapped before one is refused is unmapped as `memory` is dropped.
        for &reference in references {
            memory.pages.push(this.map_one(domain, reference, writable)?);
            memory.references.push(reference);
        }
        Ok(memory)
    }

    fn map_one(&self, domain: RawDomid, reference: RawGrantRef, writable: bool) -> Result<Page, GrantResult> {
        let mut entries = self.entries.borrow_mut();
        let grant = entries.get_mut(&(domain, reference)).ok_or(GrantResult::BadGntref)?;
        if writable && !grant.writable {
            return Err(GrantResult::PermissionDenied);
        }
        grant.mapped += 1;
        Ok(grant.page.clone())
    }

    fn unmap_one(&self, domain: RawDomid, reference: RawGrantRef) {
        let mut entries = self.entries.borrow_mut();
        let grant = entries.get_mut(&(domain, reference)).expect("a mapped grant stays");
        grant.mapped -= 1;
    }

    pub(super) fn copy(&self, domain: RawDomid, piece: &mut Piece<'_>) -> GrantResult {
        let entries = self.entries.borrow();
        let Some(grant) = entries.get(&(domain, piece.reference)) else { return GrantResult::BadGntref };
        let offset = usize::from(piece.offset);
        match &mut piece.direction {
            Direction::From(to) if offset + to.len() <= PAGE => grant.page.get(offset, to),
            Direction::To(_) if !grant.writable => return GrantResult::PermissionDenied,
            Direction::To(from) if offset + from.len() <= PAGE => grant.page.set(offset, from),
            Direction::From(_) | Direction::To(_) => return GrantResult::BadCopyArg,
        }
        GrantResult::Okay
    }
}

/// Mapped pages.
#[derive(Debug)]
pub struct Memory {
    grants: Rc<Grants>,
    domain: RawDomid,
    pages: Vec<Page>,
    references: Vec<RawGrantRef>,
    writable: bool,
    _share: Share,
}

impl Memory {
    /// The page of an offset, where in it, and how much of `len` bytes lies in it.
    fn part(&self, offset: usize, len: usize) -> (&Page, usize, usize) {
        let within = offset % PAGE;
        (&self.pages[offset / PAGE], within, len.min(PAGE - within))
    }
}

impl host::Memory for Memory {
    fn len(&self) -> usize {
        self.pages.len() * PAGE
    }

    fn read(&self, mut offset: usize, mut to: &mut [u8]) {
        while !to.is_empty() {
            let (page, within, len) = self.part(offset, to.len());
            let (now, later) = to.split_at_mut(len);
            page.get(within, now);
            (offset, to) = (offset + len, later);
        }
    }

    fn write(&self, mut offset: usize, mut from: &[u8]) {
        assert!(self.writable, "a write to pages that are mapped for reading");
        while !from.is_empty() {
            let (page, within, len) = self.part(offset, from.len());
            let (now, later) = from.split_at(len);
            page.set(within, now);
            (offset, from) = (offset + len, later);
        }
    }

    fn load(&self, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4), "a word across words");
        let mut word = [0; 4];
        self.read(offset, &mut word);
        u32::from_le_bytes(word)
    }

    fn store(&self, offset: usize, value: u32) {
        assert!(offset.is_multiple_of(4), "a word across words");
        self.write(offset, &value.to_le_bytes());
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for &reference in &self.references {
            self.grants.unmap_one(self.domain, reference);
        }
    }
}
