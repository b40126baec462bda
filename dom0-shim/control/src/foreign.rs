//! Another domain's frames, mapped at frames of the caller's window
//! (`XENMEM_add_to_physmap_batch`, `XENMAPSPACE_gmfn_foreign`), and its grant table (`XENMEM_acquire_resource`).

use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{
    AddToPhysmapBatch, GrantTableFrames, MapSpace, MemAcquireResource, MemoryOp, RemoveFromPhysmap, Resource,
};
use xen_abi::xen::DOMID_SELF;
use zerocopy::FromZeros;

use crate::{Error, Host, PAGE_SIZE, calls};

/// Frames that one mapping can have.
pub const MOST_FRAMES: usize = 256;

/// Which frames of the window are in use.
pub struct Window<H> {
    host: H,
    used: RefCell<Vec<bool>>,
}

impl<H: Host> Window<H> {
    /// The window of `host`, all of it free.
    #[must_use]
    pub fn new(host: H) -> Self {
        let window = host.window();
        let frames = usize::try_from(window.end.saturating_sub(window.start)).unwrap_or(0);
        Self { host, used: RefCell::new(vec![false; frames]) }
    }

    /// The kernel around.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Frames of the window that are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.used.borrow().iter().filter(|used| !**used).count()
    }

    /// Maps `frames` of `domain`, side by side, until the mapping is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::NoWindow`], [`Error::Refused`]; nothing is mapped then.
    pub fn map(&self, domain: RawDomid, frames: &[u64]) -> Result<Mapping<'_, H>, Error> {
        if frames.len() > MOST_FRAMES {
            return Err(Error::NoWindow);
        }
        let mut mapping = self.place(frames.len())?;
        let mut sources = frames.to_vec();
        let mut places: Vec<u64> = mapping.frames().collect();
        let mut errors = vec![0_i32; frames.len()];
        let mut argument = AddToPhysmapBatch {
            domid: DOMID_SELF,
            space: u16::try_from(MapSpace::GmfnForeign.get()).unwrap_or(u16::MAX),
            size: u16::try_from(frames.len()).map_err(|_| Error::NoWindow)?,
            foreign_domid: domain,
            idxs: GuestHandle::new(sources.as_mut_ptr() as u64),
            gpfns: GuestHandle::new(places.as_mut_ptr() as u64),
            errs: GuestHandle::new(errors.as_mut_ptr() as u64),
        };
        let refused = |errno| Error::Refused("add_to_physmap_batch", errno);
        // What was mapped before an error is unmapped with the rest.
        mapping.mapped = frames.len();
        calls::memory_op(&self.host, MemoryOp::AddToPhysmapBatch, &mut argument).map_err(refused)?;
        match errors.iter().find(|error| **error != 0) {
            None => Ok(mapping),
            Some(error) => Err(refused(calls::result(i64::from(*error)).err().unwrap_or(Errno::EBADMSG))),
        }
    }

    /// Maps the first `frames` frames of `domain`'s grant table, until the mapping is dropped.
    ///
    /// # Errors
    ///
    /// As [`Self::map`].
    pub fn grant_table(&self, domain: RawDomid, frames: usize) -> Result<Mapping<'_, H>, Error> {
        let mut mapping = self.place(frames)?;
        let mut places: Vec<u64> = mapping.frames().collect();
        let mut argument = MemAcquireResource {
            domid: domain,
            kind: Resource::GrantTable.get(),
            id: GrantTableFrames::Shared.get(),
            nr_frames: u32::try_from(frames).map_err(|_| Error::NoWindow)?,
            pad: 0,
            frame: 0,
            frame_list: GuestHandle::new(places.as_mut_ptr() as u64),
        };
        // As above.
        mapping.mapped = frames;
        calls::memory_op(&self.host, MemoryOp::AcquireResource, &mut argument)
            .map_err(|errno| Error::Refused("acquire_resource", errno))?;
        Ok(mapping)
    }

    /// Free frames, side by side, in which the caller maps something itself, and takes it out again before it
    /// drops them.
    ///
    /// # Errors
    ///
    /// [`Error::NoWindow`].
    pub fn place(&self, frames: usize) -> Result<Mapping<'_, H>, Error> {
        let first = self.take(frames).ok_or(Error::NoWindow)?;
        Ok(Mapping { window: self, first, frames, mapped: 0 })
    }

    /// Takes `count` free frames that follow each other.
    fn take(&self, count: usize) -> Option<usize> {
        let mut used = self.used.borrow_mut();
        let first = used.windows(count.max(1)).position(|run| run.iter().all(|used| !used))?;
        used.iter_mut().skip(first).take(count).for_each(|used| *used = true);
        Some(first)
    }
}

/// Frames of another domain, until it is dropped.
pub struct Mapping<'a, H: Host> {
    window: &'a Window<H>,
    first: usize,
    frames: usize,
    mapped: usize,
}

impl<H: Host> Mapping<'_, H> {
    /// Its first frame in the window.
    fn start(&self) -> u64 {
        self.window.host.window().start + self.first as u64
    }

    /// Where they stand.
    pub fn frames(&self) -> impl Iterator<Item = u64> + use<H> {
        (self.start()..).take(self.frames)
    }

    /// Reads from byte `at` of the frames on.
    ///
    /// # Errors
    ///
    /// [`Error::TooSmall`] beyond the frames.
    pub fn read(&self, at: u64, to: &mut [u8]) -> Result<(), Error> {
        self.check(at, to.len())?;
        let mut done = 0;
        while done < to.len() {
            let (frame, offset, length) = self.piece(at, done, to.len());
            self.window.host.read(frame, offset, to.get_mut(done..done + length).unwrap_or_default());
            done += length;
        }
        Ok(())
    }

    /// Writes from byte `at` of the frames on.
    ///
    /// # Errors
    ///
    /// [`Error::TooSmall`] beyond the frames.
    pub fn write(&self, at: u64, from: &[u8]) -> Result<(), Error> {
        self.check(at, from.len())?;
        let mut done = 0;
        while done < from.len() {
            let (frame, offset, length) = self.piece(at, done, from.len());
            self.window.host.write(frame, offset, from.get(done..done + length).unwrap_or_default());
            done += length;
        }
        Ok(())
    }

    fn check(&self, at: u64, length: usize) -> Result<(), Error> {
        let end = at.checked_add(length as u64).ok_or(Error::TooSmall)?;
        if end <= self.frames as u64 * PAGE_SIZE { Ok(()) } else { Err(Error::TooSmall) }
    }

    /// The part of byte `at + done` on that lies in one frame: frame, offset, bytes.
    fn piece(&self, at: u64, done: usize, all: usize) -> (u64, usize, usize) {
        let at = at + done as u64;
        let offset = usize::try_from(at % PAGE_SIZE).unwrap_or(0);
        let room = usize::try_from(PAGE_SIZE).unwrap_or(0) - offset;
        (self.start() + at / PAGE_SIZE, offset, room.min(all - done))
    }
}

impl<H: Host> Drop for Mapping<'_, H> {
    fn drop(&mut self) {
        let host = &self.window.host;
        for frame in (self.start()..).take(self.mapped) {
            let mut argument =
                RemoveFromPhysmap { domid: DOMID_SELF, gpfn: frame, ..RemoveFromPhysmap::new_zeroed() };
            // Of a mapping that failed, some frames are empty.
            let _ = calls::memory_op(host, MemoryOp::RemoveFromPhysmap, &mut argument);
        }
        let mut used = self.window.used.borrow_mut();
        used.iter_mut().skip(self.first).take(self.frames).for_each(|used| *used = false);
    }
}
