//! Event channels (`event_channel.h`): operations, and the two ways in which events are recorded.
//!
//! ```text
//! FIFO event word        31       30      29      28    27..17    16..0
//!                     PENDING  MASKED  LINKED  BUSY   reserved   LINK (next port)
//! ```

use bitflags::bitflags;

use crate::{RawDomid, RawPfn, RawPort};

numbers! {
    /// Operation of `event_channel_op` (`EVTCHNOP_*`).
    pub enum EventChannelOp: u32 {
        /// `EVTCHNOP_bind_interdomain`: connect to a port that waits ([`EvtchnBindInterdomain`]).
        BindInterdomain = 0,
        /// `EVTCHNOP_bind_virq`: port for a virtual interrupt ([`EvtchnBindVirq`]).
        BindVirq = 1,
        /// `EVTCHNOP_bind_pirq`: port for a physical interrupt ([`EvtchnBindPirq`]).
        BindPirq = 2,
        /// `EVTCHNOP_close`: free a port ([`EvtchnClose`]).
        Close = 3,
        /// `EVTCHNOP_send`: event to the other end ([`EvtchnSend`]).
        Send = 4,
        /// `EVTCHNOP_status`: what a port is ([`EvtchnStatus`]).
        Status = 5,
        /// `EVTCHNOP_alloc_unbound`: port that waits for a domain ([`EvtchnAllocUnbound`]).
        AllocUnbound = 6,
        /// `EVTCHNOP_bind_ipi`: port from vcpu to vcpu ([`EvtchnBindIpi`]).
        BindIpi = 7,
        /// `EVTCHNOP_bind_vcpu`: the vcpu that gets the upcall ([`EvtchnBindVcpu`]).
        BindVcpu = 8,
        /// `EVTCHNOP_unmask`: unmask, with upcall if due ([`EvtchnUnmask`]).
        Unmask = 9,
        /// `EVTCHNOP_reset`: close all ports, back to 2-level ([`EvtchnReset`]).
        Reset = 10,
        /// `EVTCHNOP_init_control`: FIFO control block of a vcpu ([`EvtchnInitControl`]).
        InitControl = 11,
        /// `EVTCHNOP_expand_array`: one more page of FIFO event words ([`EvtchnExpandArray`]).
        ExpandArray = 12,
        /// `EVTCHNOP_set_priority`: FIFO queue of a port ([`EvtchnSetPriority`]).
        SetPriority = 13,
    }

    /// What a port is (`EVTCHNSTAT_*`).
    pub enum PortStatus: u32 {
        /// `EVTCHNSTAT_closed`: free.
        Closed = 0,
        /// `EVTCHNSTAT_unbound`: waits for [`StatusUnbound::dom`].
        Unbound = 1,
        /// `EVTCHNSTAT_interdomain`: connected to [`StatusInterdomain`].
        Interdomain = 2,
        /// `EVTCHNSTAT_pirq`: physical interrupt; the union holds its number.
        Pirq = 3,
        /// `EVTCHNSTAT_virq`: virtual interrupt; the union holds its number.
        Virq = 4,
        /// `EVTCHNSTAT_ipi`: between vcpus.
        Ipi = 5,
    }
}

/// Ports of the 2-level interface (`EVTCHN_2L_NR_CHANNELS`).
pub const TWO_LEVEL_NR_CHANNELS: u32 = 4096;
/// Ports of the FIFO interface (`EVTCHN_FIFO_NR_CHANNELS`).
pub const FIFO_NR_CHANNELS: u32 = 1 << 17;
/// Most urgent queue (`EVTCHN_FIFO_PRIORITY_MAX`).
pub const FIFO_PRIORITY_MAX: u32 = 0;
/// Queue of a port for which none was set (`EVTCHN_FIFO_PRIORITY_DEFAULT`).
pub const FIFO_PRIORITY_DEFAULT: u32 = 7;
/// Least urgent queue (`EVTCHN_FIFO_PRIORITY_MIN`).
pub const FIFO_PRIORITY_MIN: u32 = 15;
/// Queues of a vcpu (`EVTCHN_FIFO_MAX_QUEUES`).
pub const FIFO_MAX_QUEUES: usize = 16;
/// Bit of an event word: an event came (`EVTCHN_FIFO_PENDING`).
pub const FIFO_PENDING_BIT: u32 = 31;
/// Bit of an event word: the guest wants no upcall (`EVTCHN_FIFO_MASKED`).
pub const FIFO_MASKED_BIT: u32 = 30;
/// Bit of an event word: the port is in a queue (`EVTCHN_FIFO_LINKED`).
pub const FIFO_LINKED_BIT: u32 = 29;
/// Bit of an event word: the guest is unmasking (`EVTCHN_FIFO_BUSY`).
pub const FIFO_BUSY_BIT: u32 = 28;
/// Bits of the link (`EVTCHN_FIFO_LINK_BITS`).
pub const FIFO_LINK_BITS: u32 = 17;
/// The link: next port in the queue, 0 at its end (`EVTCHN_FIFO_LINK_MASK`).
pub const FIFO_LINK_MASK: u32 = (1 << FIFO_LINK_BITS) - 1;

bitflags! {
    /// Flags of [`EvtchnBindPirq`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BindPirqFlags: u32 {
        /// `BIND_PIRQ__WILL_SHARE`: other domains may bind it too.
        const WILL_SHARE = 1;
    }
}

layout! {
    /// `struct evtchn_alloc_unbound`
    pub struct EvtchnAllocUnbound, 8 bytes {
        /// Domain that gets the port.
        pub dom: RawDomid,
        /// Domain that may connect.
        pub remote_dom: RawDomid,
        /// The port; out.
        pub port: RawPort,
    }

    /// `struct evtchn_bind_interdomain`
    pub struct EvtchnBindInterdomain, 12 bytes {
        /// Domain whose port waits.
        pub remote_dom: RawDomid,
        /// Padding.
        pub _pad: u16,
        /// That port.
        pub remote_port: RawPort,
        /// The caller's port; out.
        pub local_port: RawPort,
    }

    /// `struct evtchn_bind_virq`
    pub struct EvtchnBindVirq, 12 bytes {
        /// [`Virq`](crate::xen::Virq).
        pub virq: u32,
        /// Vcpu that gets the upcall; 0 unless the interrupt exists for each vcpu.
        pub vcpu: u32,
        /// The port; out.
        pub port: RawPort,
    }

    /// `struct evtchn_bind_pirq`
    pub struct EvtchnBindPirq, 12 bytes {
        /// Physical interrupt.
        pub pirq: u32,
        /// [`BindPirqFlags`].
        pub flags: u32,
        /// The port; out.
        pub port: RawPort,
    }

    /// `struct evtchn_bind_ipi`
    pub struct EvtchnBindIpi, 8 bytes {
        /// Vcpu that gets the upcall.
        pub vcpu: u32,
        /// The port; out.
        pub port: RawPort,
    }

    /// `struct evtchn_close`
    pub struct EvtchnClose, 4 bytes {
        /// The port.
        pub port: RawPort,
    }

    /// `struct evtchn_send`
    pub struct EvtchnSend, 4 bytes {
        /// The sender's port.
        pub port: RawPort,
    }

    /// `struct evtchn_status`
    pub struct EvtchnStatus, 24 bytes {
        /// Whose port.
        pub dom: RawDomid,
        /// Padding.
        pub _pad: u16,
        /// The port.
        pub port: RawPort,
        /// [`PortStatus`]; out.
        pub status: u32,
        /// Vcpu that gets the upcall; out.
        pub vcpu: u32,
        /// What [`PortStatus`] says; out.
        pub u: EvtchnStatusDetail,
    }

    /// `typeof(((struct evtchn_status *)0)->u.unbound)`
    pub struct StatusUnbound, 2 bytes {
        /// Domain that may connect.
        pub dom: RawDomid,
    }

    /// `typeof(((struct evtchn_status *)0)->u.interdomain)`
    pub struct StatusInterdomain, 8 bytes {
        /// Domain at the other end.
        pub dom: RawDomid,
        /// Padding.
        pub _pad: u16,
        /// Its port.
        pub port: RawPort,
    }

    /// `struct evtchn_bind_vcpu`
    pub struct EvtchnBindVcpu, 8 bytes {
        /// The port.
        pub port: RawPort,
        /// Vcpu that gets the upcall.
        pub vcpu: u32,
    }

    /// `struct evtchn_unmask`
    pub struct EvtchnUnmask, 4 bytes {
        /// The port.
        pub port: RawPort,
    }

    /// `struct evtchn_reset`
    pub struct EvtchnReset, 2 bytes {
        /// Whose ports.
        pub dom: RawDomid,
    }

    /// `struct evtchn_init_control`
    pub struct EvtchnInitControl, 24 bytes {
        /// Guest frame of the control block.
        pub control_gfn: RawPfn,
        /// Byte in the frame.
        pub offset: u32,
        /// The vcpu.
        pub vcpu: u32,
        /// Bits that the link has; out.
        pub link_bits: u8,
        /// Padding.
        pub _pad: [u8; 7],
    }

    /// `struct evtchn_expand_array`
    pub struct EvtchnExpandArray, 8 bytes {
        /// Guest frame of the next 1024 event words.
        pub array_gfn: RawPfn,
    }

    /// `struct evtchn_set_priority`
    pub struct EvtchnSetPriority, 8 bytes {
        /// The port.
        pub port: RawPort,
        /// Its queue, 0 (most urgent) to 15.
        pub priority: u32,
    }

    /// `struct evtchn_fifo_control_block`: the queues of one vcpu, shared with the guest.
    pub struct EvtchnFifoControlBlock, 72 bytes {
        /// Bit n: queue n has events.
        pub ready: u32,
        /// `_rsvd`: reserved.
        pub _rsvd: u32,
        /// First port of each queue; written by the guest as it takes events.
        pub head: [u32; FIFO_MAX_QUEUES],
    }
}

unions! {
    /// `u` of `struct evtchn_status`; a `u32` is the interrupt's number.
    pub union EvtchnStatusDetail: [u32; 2] { StatusUnbound, StatusInterdomain, u32 }
}
