//! Where packets go in and come out: a port of a bridge, seen from what is plugged in there.

use alloc::rc::Rc;

use crate::packet::{MacAddress, Packet};

/// A port. Each side drops what there is no room for, as Ethernet does.
pub trait Link {
    /// Hands over a packet from the interface at this port. It is on its way or dropped
    /// when this returns.
    fn send(&self, packet: Packet);

    /// Waits for the next packet for the interface at this port. A future that is dropped
    /// takes no packet with it.
    fn receive(&self) -> impl Future<Output = Packet>;

    /// A packet for the interface, if there is one already.
    fn try_receive(&self) -> Option<Packet>;

    /// Says what the interface can do: whether it takes frames with
    /// [`crate::Checksum::Blank`] and packets with [`crate::Segments`]. From then on it gets
    /// none that it cannot take: the port does the work. Nothing, before this was called.
    fn set_abilities(&self, abilities: Abilities);

    /// Multicast groups that the interface wants; `None` for all, as before this was called.
    fn set_multicast(&self, groups: Option<&[MacAddress]>);
}

/// What an interface can take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Abilities {
    /// TCP and UDP checksums of IPv4 may be blank.
    pub blank_v4: bool,
    /// Those of IPv6 as well.
    pub blank_v6: bool,
    /// TCP over IPv4 may be longer than a frame.
    pub long_v4: bool,
    /// TCP over IPv6 as well.
    pub long_v6: bool,
}

impl<L: Link> Link for Rc<L> {
    fn send(&self, packet: Packet) {
        (**self).send(packet);
    }

    async fn receive(&self) -> Packet {
        (**self).receive().await
    }

    fn try_receive(&self) -> Option<Packet> {
        (**self).try_receive()
    }

    fn set_abilities(&self, abilities: Abilities) {
        (**self).set_abilities(abilities);
    }

    fn set_multicast(&self, groups: Option<&[MacAddress]>) {
        (**self).set_multicast(groups);
    }
}
