//! Event channels: ports, what they are bound to, and how an event reaches a guest.
//!
//! ```text
//!            alloc_unbound             bind_interdomain by the peer
//!   Free -------------------> Unbound ------------------------------> Interdomain
//!    | ^ \                       ^ |                                   |  |
//!    | |  \ bind_virq, bind_ipi, | +-------- close --> Free <-- close -+  |
//!    | |   \ bind_pirq           +---------- the peer closes -------------+
//!    | |    v
//!    | +-- Virq, Ipi, Pirq                    bind_interdomain: Free --> Interdomain
//!    +-> Reserved (port 0, for ever)
//! ```
//!
//! # Parts of a domain's event channels, and their locks
//!
//! | Part | Guarded by |
//! |---|---|
//! | [`PortTable`]: what each port is, which port a virtual interrupt has | changes: the domain's *event lock*; readers take no lock |
//! | [`Ports`]: which ports are taken | the event lock |
//! | [`Fifo`]: the queues of the FIFO interface | the domain's *queue lock*, inside [`SharedWords::with_fifo`] |
//! | words shared with the guest | atomic operations; each is a claim of the guest |
//!
//! The order is event locks, then a queue lock. [`Channels`] stands for "the event lock is held". Operations on
//! two domains ([`Channels::bind_interdomain`], [`Channels::close`]) need both event locks, the one of the
//! lower domain id taken first; of the peer they change the [`PortTable`] only.
//!
//! # Sending
//!
//! What a port is fits in one word, so a sender takes a consistent copy by one load and no lock:
//!
//! 1. [`PortTable::send`] of the sender says where the event goes;
//! 2. [`PortTable::receive`] of that domain says whether its port really is the other end, and which vcpu
//!    to notify;
//! 3. [`deliver`] sets the words of that domain and says whether the vcpu needs an upcall.
//!
//! The channel may be closed and its port bound to something else between 2 and 3. Then the new owner sees
//! one event too many, which every guest has to expect anyway (`bind_interdomain` itself raises one). The
//! check of both ends in 2 makes sure that nothing outlives that: not a port, nor a domain id, that is
//! used again. So the word needs no generation.
//!
//! Authority: `event_channel.h`; errors as in Xen's `common/event_channel.c`.

mod channels;
mod delivery;
mod fifo;
#[cfg(all(test, loom))]
mod loom;
mod state;
mod table;
#[cfg(test)]
mod tests;

use core::fmt;

use xen_abi::event_channel::FIFO_NR_CHANNELS;

pub use channels::{Channels, Closed, Ports, Remote};
pub use delivery::{Delivered, SharedWords, VcpuInfoAt, deliver, is_pending, unmask};
pub use fifo::{ControlBlockAt, Fifo};
pub use state::{Binding, Channel};
pub use table::{Notify, PortTable, SendTo};

/// A port that exists in the widest interface, below [`FIFO_NR_CHANNELS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Port(u32);

impl Port {
    /// The port numbered `raw`, or `None` where no interface has one.
    #[must_use]
    pub const fn new(raw: u32) -> Option<Self> {
        if raw < FIFO_NR_CHANNELS { Some(Self(raw)) } else { None }
    }

    /// The number as it stands in Xen's structures.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port{}", self.0)
    }
}

/// Who gets a virtual interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VirqScope {
    /// One port for each vcpu of each domain.
    Vcpu,
    /// One port for each domain.
    Domain,
    /// One port in the machine: that of the domain which handles it.
    Global,
}

impl VirqScope {
    /// The scope of `virq`, a number below [`NR_VIRQS`](xen_abi::xen::NR_VIRQS).
    #[must_use]
    pub const fn of(virq: u32) -> Self {
        use xen_abi::xen::Virq;
        match Virq::new(virq) {
            Some(Virq::Timer | Virq::Debug | Virq::Xenoprof | Virq::Xenpmu) => Self::Vcpu,
            Some(Virq::Argo) => Self::Domain,
            _ => Self::Global,
        }
    }
}
