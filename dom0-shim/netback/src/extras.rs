//! What the slots behind a packet's first one tell (`struct netif_extra_info`).

use network::{MacAddress, Segments};
use xen_abi::errno::Errno;
use xen_abi::io::netif::{
    EXTRA_FLAG_MORE, NetifExtra, NetifExtraGso, NetifExtraInfo, NetifExtraMcast, NetifExtraType, NetifGsoType,
};
use xen_backend::Fault;

/// All that they tell of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Extras {
    /// It is to be cut.
    pub(crate) segments: Option<Segments>,
    /// It is no packet.
    pub(crate) change: Option<Change>,
}

/// A change of the groups that the front end wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// It wants this one.
    Add(MacAddress),
    /// Not any more.
    Remove(MacAddress),
}

impl Extras {
    /// Adds what one slot tells. Whether another one follows.
    pub(crate) fn add(&mut self, info: &NetifExtraInfo) -> Result<bool, Fault> {
        match NetifExtraType::new(info.kind) {
            Some(NetifExtraType::Gso) => self.segments = Some(segments(&info.u.view())?),
            Some(NetifExtraType::McastAdd) => self.change = Some(Change::Add(group(&info.u))),
            Some(NetifExtraType::McastDel) => self.change = Some(Change::Remove(group(&info.u))),
            // There are no queues to choose from.
            Some(NetifExtraType::Hash) => {}
            Some(NetifExtraType::None) | None => {
                return Err(Fault::new(Errno::EINVAL, "extra info of a type that there is not"));
            }
        }
        Ok(info.flags & EXTRA_FLAG_MORE != 0)
    }
}

fn segments(gso: &NetifExtraGso) -> Result<Segments, Fault> {
    let v6 = match NetifGsoType::new(gso.kind) {
        Some(NetifGsoType::TcpV4) => false,
        Some(NetifGsoType::TcpV6) => true,
        Some(NetifGsoType::None) | None => {
            return Err(Fault::new(Errno::EINVAL, "GSO type is neither TCPV4 nor TCPV6"));
        }
    };
    if gso.size == 0 {
        return Err(Fault::new(Errno::EINVAL, "GSO size is 0"));
    }
    Ok(Segments { size: gso.size, v6 })
}

fn group(extra: &NetifExtra) -> MacAddress {
    extra.view::<NetifExtraMcast>().addr
}

/// The slot that tells how a packet is to be cut.
pub(crate) fn of_segments(segments: Segments) -> NetifExtraInfo {
    let kind = if segments.v6 { NetifGsoType::TcpV6 } else { NetifGsoType::TcpV4 };
    let gso = NetifExtraGso { size: segments.size, kind: kind.get(), _pad: 0, features: 0 };
    NetifExtraInfo { kind: NetifExtraType::Gso.get(), flags: 0, u: NetifExtra::of(&gso) }
}
