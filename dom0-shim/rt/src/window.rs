//! Guest frames without memory of this domain's, in which a toolstack maps that of others.

use alloc::alloc::{alloc, handle_alloc_error};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ops::Range;

use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{MemoryOp, MemoryReservation};
use xen_abi::xen::{DOMID_SELF, Hypercall};
use zerocopy::FromZeros;

use crate::paging::PAGE_SIZE;
use crate::{hypercall, volatile};

/// log2 of the pages of a window: it is one large page, so that no other is split.
const ORDER: u32 = 9;

/// A window, taken from the heap for ever.
#[derive(Debug)]
pub struct Window {
    frames: Range<u64>,
}

impl Window {
    /// Gives 2 MiB of the heap back to the hypervisor; their frames are the window.
    ///
    /// # Errors
    ///
    /// What the hypervisor says. The frames are then nobody's.
    pub fn new() -> Result<Self, Errno> {
        let bytes = crate::to_usize(PAGE_SIZE << ORDER);
        let layout = Layout::from_size_align(bytes, bytes).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc(layout) };
        if block.is_null() {
            handle_alloc_error(layout);
        }
        let first = block as u64 / PAGE_SIZE;
        let frames = first..first + (1 << ORDER);
        if give_back(&mut [first], ORDER) != Ok(1) {
            let mut all: Vec<u64> = frames.clone().collect();
            let count = all.len() as u64;
            if give_back(&mut all, 0)? != count {
                return Err(Errno::ENOMEM);
            }
        }
        Ok(Self { frames })
    }

    /// Its frames.
    #[must_use]
    pub fn frames(&self) -> Range<u64> {
        self.frames.clone()
    }

    /// Copies from what is mapped at `frame`, `offset` bytes in.
    ///
    /// # Panics
    ///
    /// When that is not in the window; by a fault, when nothing is mapped there.
    pub fn read(&self, frame: u64, offset: usize, to: &mut [u8]) {
        let from = self.place(frame, offset, to.len());
        // SAFETY: all of it is in the window, as `place` has checked.
        unsafe { volatile::read(from, to) };
    }

    /// Copies to what is mapped at `frame`, `offset` bytes in.
    ///
    /// # Panics
    ///
    /// As [`Self::read`].
    pub fn write(&self, frame: u64, offset: usize, from: &[u8]) {
        let to = self.place(frame, offset, from.len());
        // SAFETY: as above.
        unsafe { volatile::write(to, from) };
    }

    fn place(&self, frame: u64, offset: usize, length: usize) -> usize {
        let end = (self.frames.end - frame.max(self.frames.start)) * PAGE_SIZE;
        let fits = self.frames.contains(&frame) && offset + length <= crate::to_usize(end);
        assert!(fits, "frame {frame:#x} is not in the window");
        crate::to_usize(frame * PAGE_SIZE) + offset
    }
}

/// The window's domain is where the toolstack runs.
impl xen_control::Host for Window {
    fn hypercall(&self, number: Hypercall, arguments: [u64; 5]) -> i64 {
        hypercall::raw(number.get().into(), arguments)
    }

    fn relax(&self) {
        hypercall::yield_now();
    }

    fn window(&self) -> Range<u64> {
        self.frames()
    }

    fn read(&self, frame: u64, offset: usize, to: &mut [u8]) {
        self.read(frame, offset, to);
    }

    fn write(&self, frame: u64, offset: usize, from: &[u8]) {
        self.write(frame, offset, from);
    }
}

fn give_back(frames: &mut [u64], order: u32) -> Result<u64, Errno> {
    let mut argument = MemoryReservation {
        extent_start: GuestHandle::new(frames.as_mut_ptr() as u64),
        nr_extents: frames.len() as u64,
        extent_order: order,
        domid: DOMID_SELF,
        ..MemoryReservation::new_zeroed()
    };
    hypercall::memory_op(MemoryOp::DecreaseReservation, &mut argument)
}
