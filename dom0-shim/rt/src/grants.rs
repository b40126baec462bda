//! Other domains' pages by grants: mapped, or copied from and to.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering, fence};

use xen_abi::errno::Errno;
use xen_abi::grant_table::{
    CopyFlags, GnttabCopy, GnttabCopyPtr, GnttabCopyTarget, GnttabMapGrantRef, GnttabUnmapGrantRef,
    GrantResult, GrantTableOp, MapFlags, RawGrantHandle,
};
use xen_abi::xen::DOMID_SELF;
use xen_abi::{RawDomid, RawGrantRef, RawPort};
use xen_backend::quota::{Quota, Share, Use};
use xen_backend::{Direction, Piece};
use zerocopy::FromZeros;

use crate::channels::Channel;
use crate::paging::PAGE_SIZE;
use crate::window::Window;
use crate::{hypercall, timer};

/// Bytes of a page.
const PAGE: usize = crate::to_usize(PAGE_SIZE);

/// What back ends stand on; see [`xen_backend::Host`]. Clones are the same.
#[derive(Clone, Debug)]
pub struct Grants(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    windows: Vec<Window>,
    /// Frames of the windows at which nothing is mapped.
    free: RefCell<Vec<u64>>,
    /// Whose the others are.
    quota: Rc<Quota>,
    /// Room for the operations of one batch, kept from call to call.
    copies: RefCell<Vec<GnttabCopy>>,
}

impl Grants {
    /// Takes `windows` times 2 MiB of the heap: 512 pages can be mapped in each.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn new(windows: usize) -> Result<Self, Errno> {
        let windows = (0..windows).map(|_| Window::new()).collect::<Result<Vec<_>, _>>()?;
        let free: Vec<_> = windows.iter().flat_map(Window::frames).rev().collect();
        let quota = Quota::new(free.len());
        Ok(Self(Rc::new(Inner { windows, free: RefCell::new(free), quota, copies: RefCell::default() })))
    }

    fn map_for(
        &self,
        usage: Use,
        domain: RawDomid,
        references: &[RawGrantRef],
        writable: bool,
    ) -> Result<Pages, GrantResult> {
        let share = self.0.quota.take(domain, usage, references.len()).ok_or(GrantResult::NoSpace)?;
        let mut pages =
            Pages { grants: Rc::clone(&self.0), frames: Vec::new(), handles: Vec::new(), _share: share };
        pages.take_frames(references.len())?;
        pages.map(domain, references, writable)?;
        Ok(pages)
    }
}

impl xen_backend::Host for Grants {
    type Memory = Pages;
    type Port = Channel;

    fn map(
        &self,
        domain: RawDomid,
        references: &[RawGrantRef],
        writable: bool,
    ) -> Result<Pages, GrantResult> {
        self.map_for(Use::Needed, domain, references, writable)
    }

    fn keep(&self, domain: RawDomid, reference: RawGrantRef) -> Result<Pages, GrantResult> {
        self.map_for(Use::Kept, domain, &[reference], true)
    }

    fn keeps_too_many(&self, domain: RawDomid) -> bool {
        self.0.quota.keeps_too_many(domain)
    }

    fn copy(&self, domain: RawDomid, pieces: &mut [Piece<'_>]) {
        let mut copies = self.0.copies.borrow_mut();
        copies.clear();
        for piece in pieces.iter_mut() {
            piece.result = GrantResult::Okay;
            copies.extend(Halves::new(domain, piece));
        }
        if copies.is_empty() {
            return;
        }
        // A call that fails leaves the results as they were set: errors.
        let _ = hypercall::grant_table_op(GrantTableOp::Copy, &mut copies);
        let mut results = copies.iter();
        for piece in pieces {
            // Its operations are those with its bytes.
            let mut left = piece.direction.bytes();
            while left > 0
                && let Some(result) = results.next()
            {
                left = left.saturating_sub(result.len.into());
                if result.status != GrantResult::Okay.get() {
                    piece.result = outcome(result.status);
                }
            }
        }
    }

    fn bind(&self, domain: RawDomid, port: RawPort) -> Result<Channel, Errno> {
        Channel::interdomain(domain, port)
    }

    fn now_ns(&self) -> u64 {
        timer::now_ns()
    }

    async fn sleep_ns(&self, ns: u64) {
        timer::sleep_ns(ns).await;
    }
}

fn outcome(status: i16) -> GrantResult {
    GrantResult::new(status).unwrap_or(GrantResult::GeneralError)
}

/// The operations of a piece: one for each page of Dom0's side.
struct Halves {
    domain: RawDomid,
    reference: RawGrantRef,
    offset: u16,
    /// Dom0's side that is left.
    address: u64,
    length: usize,
    inward: bool,
}

impl Halves {
    fn new(domain: RawDomid, piece: &mut Piece<'_>) -> Self {
        let (address, length, inward) = match &mut piece.direction {
            Direction::From(to) => (to.as_mut_ptr() as u64, to.len(), true),
            Direction::To(from) => (from.as_ptr() as u64, from.len(), false),
        };
        Self { domain, reference: piece.reference, offset: piece.offset, address, length, inward }
    }
}

impl Iterator for Halves {
    type Item = GnttabCopy;

    fn next(&mut self) -> Option<GnttabCopy> {
        if self.length == 0 {
            return None;
        }
        let within = crate::to_usize(self.address % PAGE_SIZE);
        let length = self.length.min(PAGE - within);
        let (offset, len) = (u16::try_from(within).ok()?, u16::try_from(length).ok()?);
        // Memory of this kernel is at its own address.
        let own = GnttabCopyPtr {
            u: GnttabCopyTarget::of(&(self.address / PAGE_SIZE)),
            domid: DOMID_SELF,
            offset,
            ..GnttabCopyPtr::new_zeroed()
        };
        let other = GnttabCopyPtr {
            u: GnttabCopyTarget::of(&self.reference),
            domid: self.domain,
            offset: self.offset,
            ..GnttabCopyPtr::new_zeroed()
        };
        let (source, dest, flags) = if self.inward {
            (other, own, CopyFlags::SOURCE_GREF)
        } else {
            (own, other, CopyFlags::DEST_GREF)
        };
        self.address += length as u64;
        self.length -= length;
        // What leaves the page the hypervisor refuses.
        self.offset = self.offset.saturating_add(len);
        let status = GrantResult::GeneralError.get();
        Some(GnttabCopy { source, dest, len, flags: flags.bits(), status, ..GnttabCopy::new_zeroed() })
    }
}

/// Mapped pages; see [`xen_backend::Memory`].
#[derive(Debug)]
pub struct Pages {
    grants: Rc<Inner>,
    frames: Vec<u64>,
    /// Those that are mapped, with their handles.
    handles: Vec<(u64, RawGrantHandle)>,
    _share: Share,
}

impl Pages {
    fn take_frames(&mut self, count: usize) -> Result<(), GrantResult> {
        let mut free = self.grants.free.borrow_mut();
        let rest = free.len().checked_sub(count).ok_or(GrantResult::NoSpace)?;
        self.frames = free.split_off(rest);
        Ok(())
    }

    /// Maps pages at the frames; what was mapped before one is refused is unmapped as this is
    /// dropped.
    fn map(
        &mut self,
        domain: RawDomid,
        references: &[RawGrantRef],
        writable: bool,
    ) -> Result<(), GrantResult> {
        let access = if writable { MapFlags::HOST_MAP } else { MapFlags::HOST_MAP | MapFlags::READONLY };
        let mut operations: Vec<_> = (references.iter().zip(&self.frames))
            .map(|(&gref, frame)| GnttabMapGrantRef {
                host_addr: frame * PAGE_SIZE,
                flags: access.bits(),
                gref,
                dom: domain,
                status: GrantResult::GeneralError.get(),
                ..GnttabMapGrantRef::new_zeroed()
            })
            .collect();
        // Judged one by one, even where the call fails in the middle.
        let _ = hypercall::grant_table_op(GrantTableOp::MapGrantRef, &mut operations);
        for (operation, &frame) in operations.iter().zip(&self.frames) {
            if operation.status == GrantResult::Okay.get() {
                self.handles.push((frame, operation.handle));
            }
        }
        match operations.iter().find(|operation| operation.status != GrantResult::Okay.get()) {
            None => Ok(()),
            Some(refused) => Err(outcome(refused.status)),
        }
    }

    /// The window, frame and place of a byte, and how many follow it in its page.
    fn place(&self, offset: usize) -> (&Window, u64, usize, usize) {
        let frame = self.frames[offset / PAGE];
        let window = self.grants.windows.iter().find(|window| window.frames().contains(&frame));
        (window.expect("frames are the windows'"), frame, offset % PAGE, PAGE - offset % PAGE)
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "a word at {offset:#x}");
        let (_, frame, within, _) = self.place(offset);
        let place = (crate::to_usize(frame * PAGE_SIZE) + within) as *mut u32;
        // SAFETY: an aligned word of a page that is mapped as long as `self` is there; it is
        // used atomically by this kernel, and the other side is another domain.
        unsafe { AtomicU32::from_ptr(place) }
    }
}

impl xen_backend::Memory for Pages {
    fn len(&self) -> usize {
        self.frames.len() * PAGE
    }

    fn read(&self, mut offset: usize, mut to: &mut [u8]) {
        while !to.is_empty() {
            let (window, frame, within, room) = self.place(offset);
            let (now, rest) = to.split_at_mut(room.min(to.len()));
            window.read(frame, within, now);
            offset += now.len();
            to = rest;
        }
    }

    fn write(&self, mut offset: usize, mut from: &[u8]) {
        while !from.is_empty() {
            let (window, frame, within, room) = self.place(offset);
            let (now, rest) = from.split_at(room.min(from.len()));
            window.write(frame, within, now);
            offset += now.len();
            from = rest;
        }
    }

    fn load(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::Release);
        fence(Ordering::SeqCst);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let mut operations: Vec<_> = (self.handles.iter())
            .map(|&(frame, handle)| GnttabUnmapGrantRef {
                host_addr: frame * PAGE_SIZE,
                handle,
                status: GrantResult::GeneralError.get(),
                ..GnttabUnmapGrantRef::new_zeroed()
            })
            .collect();
        if !operations.is_empty() {
            // Judged one by one.
            let _ = hypercall::grant_table_op(GrantTableOp::UnmapGrantRef, &mut operations);
        }
        let stuck = |frame: &u64| {
            let mut ends = self.handles.iter().zip(&operations);
            ends.any(|((mapped, _), end)| mapped == frame && end.status != GrantResult::Okay.get())
        };
        // A frame that something is mapped at still must not be used again.
        let free = self.frames.iter().copied().filter(|frame| !stuck(frame));
        self.grants.free.borrow_mut().extend(free);
    }
}

impl xen_backend::Port for Channel {
    fn notify(&self) {
        // A front end that closed its end waits for nothing.
        let _ = self.send();
    }

    async fn event(&self) {
        Channel::event(self).await;
    }
}
