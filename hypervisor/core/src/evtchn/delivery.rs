//! How an event reaches a guest: the 2-level interface, and the way to the FIFO interface.
//!
//! ```text
//!   evtchn_pending[port] --if not evtchn_mask[port]--> vcpu_info.evtchn_pending_sel[port / 64]
//!                                                        --> vcpu_info.evtchn_upcall_pending --> upcall
//! ```
//!
//! Each step is taken only if the bit was not set before, in this order: the guest clears them in the
//! opposite order before it looks, so no event is lost.

use core::mem::offset_of;

use xen_abi::errno::Errno;
use xen_abi::event_channel::TWO_LEVEL_NR_CHANNELS;
use xen_abi::xen::{SharedInfo, VcpuInfo};

use super::fifo::Fifo;
use super::table::{Notify, PortTable};
use super::{Channel, Port};
use crate::addr::PAGE_SIZE;
use crate::atomic_page::{At8, At64, AtomicPage};

/// The words that a domain shares with the hypervisor.
pub trait SharedWords {
    /// The page of `struct shared_info`, and those of `struct vcpu_info`.
    type Info: AtomicPage;
    /// A page of event words or control blocks, kept as long as the FIFO interface needs it.
    type Page: AtomicPage;
    /// `struct shared_info`.
    fn shared_info(&self) -> &Self::Info;
    /// Runs `f` with the `struct vcpu_info` of a vcpu. `None` if it has none yet: its events stay pending, and
    /// it is told to look at everything when it gets one.
    fn with_vcpu_info<R>(&self, vcpu: u16, f: impl FnOnce(VcpuInfoAt<'_, Self::Info>) -> R) -> Option<R>;
    /// Runs `f` with the queue lock held.
    fn with_fifo<R>(&self, f: impl FnOnce(&mut Option<Fifo<Self::Page>>) -> R) -> R;
}

/// What setting an event has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Delivered {
    /// The vcpu to which the port is bound.
    pub vcpu: u16,
    /// It needs an upcall, and had none coming.
    pub upcall: bool,
    /// The port had no event before: whoever polls it goes on, whether it is masked or not.
    pub newly_pending: bool,
}

impl Delivered {
    pub(super) const fn nothing(vcpu: u16) -> Self {
        Self { vcpu, upcall: false, newly_pending: false }
    }
}

/// The place of a `struct vcpu_info`.
#[derive(Debug)]
pub struct VcpuInfoAt<'a, P> {
    page: &'a P,
    upcall_pending: At8,
    selector: At64,
}

const SIZE: u64 = size_of::<VcpuInfo>() as u64;
const UPCALL_PENDING: u64 = offset_of!(VcpuInfo, evtchn_upcall_pending) as u64;
const SELECTOR: u64 = offset_of!(VcpuInfo, evtchn_pending_sel) as u64;

impl<'a, P: AtomicPage> VcpuInfoAt<'a, P> {
    /// The structure at byte `offset` of `page`, or `None` if it is not aligned or leaves the page.
    #[must_use]
    pub fn new(page: &'a P, offset: u64) -> Option<Self> {
        let fits = offset <= PAGE_SIZE - SIZE && offset.is_multiple_of(8);
        let (upcall_pending, selector) = (offset.wrapping_add(UPCALL_PENDING), offset.wrapping_add(SELECTOR));
        fits.then(|| Self {
            page,
            upcall_pending: At8::masked(upcall_pending),
            selector: At64::masked(selector),
        })
    }

    /// Sets `evtchn_upcall_pending`; returns whether it was not set.
    pub(super) fn raise(&self) -> bool {
        self.page.fetch_or8(self.upcall_pending, 1) & 1 == 0
    }

    /// Sets a bit of `evtchn_pending_sel`; returns whether it was not set.
    fn select(&self, bits: u64) -> bool {
        self.page.fetch_or64(self.selector, bits) & bits == 0
    }
}

/// Delivers an event to the domain of `table`. No lock is held but, with the FIFO interface, the queue lock.
pub fn deliver<S: SharedWords>(table: &PortTable, shared: &S, event: Notify) -> Delivered {
    if !table.uses_fifo() {
        let delivered = TwoLevelWords::of(event.port).map(|words| words.set_pending(shared, event));
        // If the domain changes over now, either it has seen the bit or this sees the change.
        if !table.uses_fifo() {
            return delivered.unwrap_or(Delivered::nothing(event.vcpu));
        }
    }
    shared.with_fifo(|fifo| match fifo {
        Some(fifo) => fifo.set_pending(table, shared, event),
        // Back to 2-level: all ports were closed.
        None => Delivered::nothing(event.vcpu),
    })
}

/// `EVTCHNOP_unmask`: a port may raise upcalls again, and does if it has an event.
///
/// # Errors
///
/// `EINVAL`: the domain never had such a port.
pub fn unmask<S: SharedWords>(table: &PortTable, shared: &S, port: u32) -> Result<Delivered, Errno> {
    let (port, channel) = lookup(table, port)?;
    let event = channel.notify(port);
    if !channel.is_bound() {
        return Ok(Delivered::nothing(channel.vcpu));
    }
    Ok(if table.uses_fifo() {
        shared.with_fifo(|fifo| match fifo {
            Some(fifo) => fifo.unmask(table, shared, event),
            None => Delivered::nothing(channel.vcpu),
        })
    } else {
        let words = TwoLevelWords::of(port);
        words.map_or(Delivered::nothing(channel.vcpu), |words| words.unmask(shared, event))
    })
}

/// `SCHEDOP_poll`: whether a port has an event.
///
/// # Errors
///
/// `EINVAL`: no port that is bound to anything.
pub fn is_pending<S: SharedWords>(table: &PortTable, shared: &S, port: u32) -> Result<bool, Errno> {
    let (port, channel) = lookup(table, port)?;
    if !channel.is_bound() {
        return Err(Errno::EINVAL);
    }
    Ok(if table.uses_fifo() {
        shared.with_fifo(|fifo| fifo.as_ref().is_some_and(|fifo| fifo.is_pending(port)))
    } else {
        TwoLevelWords::of(port).is_some_and(|words| words.is_pending(shared.shared_info()))
    })
}

/// Takes an event back that nobody will want: the port is closed.
pub(super) fn clear_pending<S: SharedWords>(table: &PortTable, shared: &S, port: Port) {
    if table.uses_fifo() {
        shared.with_fifo(|fifo| {
            if let Some(fifo) = fifo {
                fifo.clear_pending(table, port);
            }
        });
    } else if let Some(words) = TwoLevelWords::of(port) {
        shared.shared_info().fetch_and64(words.pending, !words.bit);
    }
}

/// Whether the 2-level interface has an event for `port`.
pub(super) fn is_pending_2_level(page: &impl AtomicPage, port: Port) -> bool {
    TwoLevelWords::of(port).is_some_and(|words| words.is_pending(page))
}

fn lookup(table: &PortTable, port: u32) -> Result<(Port, Channel), Errno> {
    let channel = table.channel(port)?;
    Ok((Port::new(port).ok_or(Errno::EINVAL)?, channel))
}

/// Where the 2-level interface has a port.
#[derive(Clone, Copy, Debug)]
struct TwoLevelWords {
    pending: At64,
    mask: At64,
    bit: u64,
    selector: u64,
}

impl TwoLevelWords {
    const PENDING: u64 = offset_of!(SharedInfo, evtchn_pending) as u64;
    const MASK: u64 = offset_of!(SharedInfo, evtchn_mask) as u64;

    /// `None` if it has no such port.
    fn of(port: Port) -> Option<Self> {
        let index = port.get() / 64;
        (port.get() < TWO_LEVEL_NR_CHANNELS).then(|| Self {
            pending: At64::masked(Self::PENDING + u64::from(index) * 8),
            mask: At64::masked(Self::MASK + u64::from(index) * 8),
            bit: 1 << (port.get() % 64),
            selector: 1 << (index % 64),
        })
    }

    fn is_pending(self, page: &impl AtomicPage) -> bool {
        page.load64(self.pending) & self.bit != 0
    }

    fn set_pending<S: SharedWords>(self, shared: &S, event: Notify) -> Delivered {
        let page = shared.shared_info();
        let newly_pending = page.fetch_or64(self.pending, self.bit) & self.bit == 0;
        let unmasked = newly_pending && page.load64(self.mask) & self.bit == 0;
        Delivered { vcpu: event.vcpu, upcall: unmasked && self.select(shared, event), newly_pending }
    }

    fn unmask<S: SharedWords>(self, shared: &S, event: Notify) -> Delivered {
        let page = shared.shared_info();
        let was_masked = page.fetch_and64(self.mask, !self.bit) & self.bit != 0;
        let due = was_masked && self.is_pending(page);
        Delivered { vcpu: event.vcpu, upcall: due && self.select(shared, event), newly_pending: false }
    }

    fn select<S: SharedWords>(self, shared: &S, event: Notify) -> bool {
        let selected = |info: VcpuInfoAt<'_, S::Info>| info.select(self.selector) && info.raise();
        shared.with_vcpu_info(event.vcpu, selected).unwrap_or(false)
    }
}
