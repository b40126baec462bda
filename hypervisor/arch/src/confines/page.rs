//! Frames that the hypervisor and a guest work in at the same time.
//!
//! | type | whose idea | in the p2m |
//! |---|---|---|
//! | [`SharedPage`] | the hypervisor's: shared info, grant table | where the guest asks for it |
//! | [`PinnedPage`] | the guest's: vcpu info, runstate, event words | RAM of the guest |
//!
//! The words are reached by atomic operations only, as the other side changes
//! them at any time ([`Words`]).

use core::ops::Deref;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use hv_core::addr::{Gfn, PAGE_LEN};
use hv_core::atomic_page::{At8, At32, At64, AtomicPage};
use hv_core::ept::Rights;
use hv_core::frame::OutOfFrames;
use hv_core::id::DomId;

use super::{AccessError, Confines};
use crate::frames::FrameRef;
use crate::memory;

/// The words of a frame to which a reference is held. Offsets are in bytes; `None`
/// past the end, or where the word would not be aligned.
#[derive(Debug)]
pub struct Words {
    frame: FrameRef,
    /// Where it is mapped.
    start: usize,
}

impl Words {
    fn new(frame: FrameRef) -> Self {
        Self { start: memory::phys_to_virt(frame.mfn().start().get()) as usize, frame }
    }

    /// The byte at `offset`.
    #[inline]
    #[must_use]
    pub fn u8(&self, offset: usize) -> Option<&AtomicU8> {
        let at = self.at::<AtomicU8>(offset)?;
        // SAFETY: in the frame, which stays a domain's RAM while the reference is held;
        // all bytes are valid, and Rust code only uses atomics there.
        Some(unsafe { &*at })
    }

    /// The word of 32 bits at `offset`.
    #[inline]
    #[must_use]
    pub fn u32(&self, offset: usize) -> Option<&AtomicU32> {
        let at = self.at::<AtomicU32>(offset)?;
        // SAFETY: as above, and aligned.
        Some(unsafe { &*at })
    }

    /// The word of 64 bits at `offset`.
    #[inline]
    #[must_use]
    pub fn u64(&self, offset: usize) -> Option<&AtomicU64> {
        let at = self.at::<AtomicU64>(offset)?;
        // SAFETY: as above, and aligned.
        Some(unsafe { &*at })
    }

    /// Copies bytes from `offset` on; `false` if they are not all in the frame.
    #[must_use]
    pub fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        let inside = offset.checked_add(to.len()).is_some_and(|end| end <= PAGE_LEN);
        if let Some(from) = self.frame.mfn().start().checked_add(offset as u64).filter(|_| inside) {
            // SAFETY: RAM of a domain, to which a reference is held.
            unsafe { memory::copy_from_guest(memory::phys_to_virt(from.get()), to) };
        }
        inside
    }

    /// Copies bytes to `offset`; `false` if they would not all be in the frame.
    #[must_use]
    pub fn write(&self, offset: usize, from: &[u8]) -> bool {
        let inside = offset.checked_add(from.len()).is_some_and(|end| end <= PAGE_LEN);
        if let Some(to) = self.frame.mfn().start().checked_add(offset as u64).filter(|_| inside) {
            // SAFETY: as above.
            unsafe { memory::copy_to_guest(memory::phys_to_virt(to.get()), from) };
        }
        inside
    }

    /// The frame.
    pub fn frame(&self) -> &FrameRef {
        &self.frame
    }

    #[inline]
    fn at<T>(&self, offset: usize) -> Option<*const T> {
        let fits = offset <= PAGE_LEN - size_of::<T>() && offset.is_multiple_of(align_of::<T>());
        fits.then(|| self.address(offset).cast::<T>())
    }
}

impl Words {
    #[inline]
    fn byte(&self, at: At8) -> &AtomicU8 {
        // SAFETY: as in `u8`: `At8` lies in the frame.
        unsafe { &*self.address(at.offset()).cast::<AtomicU8>() }
    }

    #[inline]
    fn word(&self, at: At32) -> &AtomicU32 {
        // SAFETY: as in `u32`: `At32` lies in the frame and is aligned.
        unsafe { &*self.address(at.offset()).cast::<AtomicU32>() }
    }

    #[inline]
    fn double(&self, at: At64) -> &AtomicU64 {
        // SAFETY: as in `u64`: `At64` lies in the frame and is aligned.
        unsafe { &*self.address(at.offset()).cast::<AtomicU64>() }
    }

    /// Where the byte at `offset`, which is in the frame, is mapped: at a page's boundary it begins.
    #[inline]
    fn address(&self, offset: usize) -> *const u8 {
        (self.start | offset) as *const u8
    }
}

impl AtomicPage for Words {
    #[inline]
    fn load8(&self, at: At8) -> u8 {
        self.byte(at).load(Ordering::Acquire)
    }

    #[inline]
    fn fetch_or8(&self, at: At8, bits: u8) -> u8 {
        self.byte(at).fetch_or(bits, Ordering::SeqCst)
    }

    #[inline]
    fn load32(&self, at: At32) -> u32 {
        self.word(at).load(Ordering::Acquire)
    }

    #[inline]
    fn store32(&self, at: At32, value: u32) {
        self.word(at).store(value, Ordering::Release);
    }

    #[inline]
    fn fetch_or32(&self, at: At32, bits: u32) -> u32 {
        self.word(at).fetch_or(bits, Ordering::SeqCst)
    }

    #[inline]
    fn fetch_and32(&self, at: At32, bits: u32) -> u32 {
        self.word(at).fetch_and(bits, Ordering::SeqCst)
    }

    #[inline]
    fn compare_exchange32(&self, at: At32, current: u32, new: u32) -> Result<u32, u32> {
        self.word(at).compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
    }

    #[inline]
    fn load64(&self, at: At64) -> u64 {
        self.double(at).load(Ordering::Acquire)
    }

    #[inline]
    fn fetch_or64(&self, at: At64, bits: u64) -> u64 {
        self.double(at).fetch_or(bits, Ordering::SeqCst)
    }

    #[inline]
    fn fetch_and64(&self, at: At64, bits: u64) -> u64 {
        self.double(at).fetch_and(bits, Ordering::SeqCst)
    }
}

/// A page of the hypervisor's, all zero at first, that a domain may map. It is freed
/// when it is dropped and nothing maps it any more.
#[derive(Debug)]
pub struct SharedPage {
    words: Words,
    /// Where the guest has mapped it last.
    gfn: AtomicU64,
}

const NOWHERE: u64 = u64::MAX;

impl SharedPage {
    /// A page for `owner`. It is not counted among the domain's memory.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn new(owner: DomId) -> Result<Self, OutOfFrames> {
        Ok(Self { words: Words::new(FrameRef::allocate(owner)?), gfn: AtomicU64::new(NOWHERE) })
    }

    /// Where it was mapped by [`Confines::map_shared`] last.
    #[must_use]
    pub fn gfn(&self) -> Option<Gfn> {
        Gfn::new(self.gfn.load(Ordering::Acquire))
    }

    /// It stands at `gfn` from now on; returns where it stood before.
    pub(super) fn place(&self, gfn: Gfn) -> Option<Gfn> {
        Gfn::new(self.gfn.swap(gfn.get(), Ordering::AcqRel))
    }
}

impl Deref for SharedPage {
    type Target = Words;

    fn deref(&self) -> &Words {
        &self.words
    }
}

/// A frame of a guest's RAM that stays allocated, and that guest's, while the value
/// exists, even if the guest gives it back.
#[derive(Debug)]
pub struct PinnedPage {
    words: Words,
}

impl PinnedPage {
    /// Pins what stands at `gfn`, which the guest must be able to write.
    ///
    /// # Errors
    ///
    /// [`AccessError`].
    pub fn new(confines: &Confines, gfn: Gfn) -> Result<Self, AccessError> {
        Ok(Self { words: Words::new(confines.reference(gfn, Rights::ReadWrite)?) })
    }
}

impl Deref for PinnedPage {
    type Target = Words;

    fn deref(&self) -> &Words {
        &self.words
    }
}
