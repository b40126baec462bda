//! Mappings of one domain, by handle.
//!
//! ```text
//!   free ── reserve ──> reserved ── fill ──> mapped
//!     ^                  │    ^                 │
//!     └──── release ─────┘    └───── take ──────┘
//! ```
//!
//! A handle is reserved while its mapping is being made or undone: nobody else can name it.

use alloc::vec::Vec;

/// Handles that one frame of the limit stands for, as in Xen. As many are allocated at once.
const PER_FRAME: u32 = 256;
/// Frames that [`Maptrack::find`] looks through at once.
const SLICE: u32 = 16;
/// End of the list of free handles.
const NONE: u32 = u32::MAX;

/// All handles are in use, or there is no memory for more that the domain may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoHandle;

/// What [`Maptrack::find`] has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Search {
    /// One that is wanted.
    Found,
    /// None up to this handle.
    GoOn(u32),
    /// None at all.
    Nothing,
}

#[derive(Debug)]
enum Slot<M> {
    /// The next one in the list.
    Free(u32),
    Reserved,
    Mapped(M),
}

/// What a domain has mapped.
#[derive(Debug)]
pub struct Maptrack<M> {
    /// [`PER_FRAME`] in each but the last.
    frames: Vec<Vec<Slot<M>>>,
    /// First of the list of free handles.
    free: u32,
    most_frames: u32,
}

impl<M> Maptrack<M> {
    /// No mappings; there may be as many as fit in `frames` frames of Xen's.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        Self { frames: Vec::new(), free: NONE, most_frames: frames }
    }

    /// A handle for a mapping that is about to be made. `may_grow` is asked before memory is allocated.
    ///
    /// # Errors
    ///
    /// [`NoHandle`].
    pub fn reserve(&mut self, may_grow: impl FnOnce() -> bool) -> Result<u32, NoHandle> {
        if self.free == NONE {
            return self.extend(may_grow);
        }
        let handle = self.free;
        let slot = self.slot(handle).ok_or(NoHandle)?;
        let Slot::Free(next) = *slot else { return Err(NoHandle) };
        *slot = Slot::Reserved;
        self.free = next;
        Ok(handle)
    }

    fn extend(&mut self, may_grow: impl FnOnce() -> bool) -> Result<u32, NoHandle> {
        if self.frames.last().is_none_or(|last| last.len() == PER_FRAME as usize) {
            if self.frames.len() >= self.most_frames as usize || !may_grow() {
                return Err(NoHandle);
            }
            let mut frame = Vec::new();
            frame.try_reserve_exact(PER_FRAME as usize).map_err(|_| NoHandle)?;
            self.frames.try_reserve(1).map_err(|_| NoHandle)?;
            self.frames.push(frame);
        }
        let before = u32::try_from(self.frames.len()).ok().and_then(|frames| frames.checked_sub(1));
        let last = self.frames.last_mut().ok_or(NoHandle)?;
        let place = u32::try_from(last.len()).map_err(|_| NoHandle)?;
        let handle = before.and_then(|frames| frames.checked_mul(PER_FRAME)?.checked_add(place));
        let handle = handle.filter(|&handle| handle != NONE).ok_or(NoHandle)?;
        last.push(Slot::Reserved);
        Ok(handle)
    }

    /// The mapping has been made.
    pub fn fill(&mut self, handle: u32, mapping: M) {
        if let Some(slot @ Slot::Reserved) = self.slot(handle) {
            *slot = Slot::Mapped(mapping);
        }
    }

    /// A reserved handle is free again.
    pub fn release(&mut self, handle: u32) {
        let next = self.free;
        if let Some(slot @ Slot::Reserved) = self.slot(handle) {
            *slot = Slot::Free(next);
            self.free = handle;
        }
    }

    /// The mapping of `handle`.
    pub fn get_mut(&mut self, handle: u32) -> Option<&mut M> {
        match self.slot(handle)? {
            Slot::Mapped(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Takes the mapping of `handle` out; the handle is reserved.
    pub fn take(&mut self, handle: u32) -> Option<M> {
        let slot = self.slot(handle)?;
        match core::mem::replace(slot, Slot::Reserved) {
            Slot::Mapped(mapping) => Some(mapping),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Takes any mapping out, the newest first, and forgets its handle. For a domain that makes no more.
    pub fn pop(&mut self) -> Option<M> {
        self.free = NONE;
        while let Some(frame) = self.frames.last_mut() {
            match frame.pop() {
                Some(Slot::Mapped(mapping)) => return Some(mapping),
                Some(_) => {}
                None => drop(self.frames.pop()),
            }
        }
        None
    }

    /// Looks for a mapping that `is_wanted`, among some thousand from `start` on, a number that an earlier
    /// call has returned or 0.
    pub fn find(&self, start: u32, is_wanted: impl Fn(&M) -> bool) -> Search {
        let first = start / PER_FRAME;
        let wanted = |slot: &Slot<M>| matches!(slot, Slot::Mapped(mapping) if is_wanted(mapping));
        let slice = self.frames.iter().skip(first as usize).take(SLICE as usize);
        if slice.flatten().any(wanted) {
            return Search::Found;
        }
        let next = first.checked_add(SLICE).filter(|&next| (next as usize) < self.frames.len());
        next.and_then(|next| next.checked_mul(PER_FRAME)).map_or(Search::Nothing, Search::GoOn)
    }

    fn slot(&mut self, handle: u32) -> Option<&mut Slot<M>> {
        let frame = self.frames.get_mut((handle / PER_FRAME) as usize)?;
        frame.get_mut((handle % PER_FRAME) as usize)
    }
}
