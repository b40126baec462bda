//! What both ends of an interface say in XenStore (`io/netif.h`).

use core::num::NonZeroU64;

use network::{Abilities, Bucket, MacAddress};
use xen_abi::errno::Errno;
use xen_abi::io::netif::{NetifRxSringEntry, NetifTxSringEntry};
use xen_backend::{Ends, Fault, Host, Nodes, Ring};

use crate::server::{Connection, Ports};

/// What a back end says once, and what for.
const OFFERED: [(&str, u32); 9] = [
    ("feature-sg", 1),
    ("feature-gso-tcpv4", 1),
    ("feature-gso-tcpv6", 1),
    ("feature-ipv6-csum-offload", 1),
    ("feature-rx-copy", 1),
    ("feature-rx-flip", 0),
    ("feature-multicast-control", 1),
    ("feature-split-event-channels", 1),
    ("multi-queue-max-queues", 1),
];

/// Says what there is, if the toolstack's own nodes make sense.
pub(crate) fn offer<N: Nodes>(ends: &Ends<N>) -> Result<(), Fault> {
    address(ends)?;
    rate(ends)?;
    OFFERED.iter().try_for_each(|(name, value)| ends.put(name, *value))?;
    ends.put("carrier", 1)?;
    ends.put("hotplug-status", "connected")
}

/// Connects to the rings as the front end says.
pub(crate) fn connect<N: Nodes, H: Host>(ends: &Ends<N>, host: &H) -> Result<Connection<H>, Fault> {
    let domain = ends.address().domain;
    let queues: u32 = ends.front_number("multi-queue-num-queues")?.unwrap_or(1);
    if queues != 1 {
        return Err(Fault::new(Errno::EINVAL, "multi-queue-num-queues is not 1"));
    }
    if !ends.front_flag("request-rx-copy") {
        return Err(Fault::new(Errno::EOPNOTSUPP, "request-rx-copy is not 1: pages are not flipped"));
    }
    Ok(Connection {
        domain,
        tx: ring(ends, host, "tx-ring-ref", size_of::<NetifTxSringEntry>())?,
        rx: ring(ends, host, "rx-ring-ref", size_of::<NetifRxSringEntry>())?,
        ports: ports(ends, host)?,
        scattered: ends.front_flag("feature-sg"),
        abilities: abilities(ends),
        notifies: ends.front_flag("feature-rx-notify"),
        filters: ends.front_flag("request-multicast-control"),
    })
}

fn ring<N: Nodes, H: Host>(
    ends: &Ends<N>,
    host: &H,
    name: &str,
    slot_bytes: usize,
) -> Result<Ring<H::Memory>, Fault> {
    let reference = ends.front_needs(name)?;
    let memory = host.map(ends.address().domain, &[reference], true);
    let memory = memory.map_err(|result| Fault::unmapped(name, result))?;
    Ok(Ring::attach(memory, slot_bytes)?)
}

/// Two ports, or one for both directions.
fn ports<N: Nodes, H: Host>(ends: &Ends<N>, host: &H) -> Result<Ports<H::Port>, Fault> {
    let bind = |port| host.bind(ends.address().domain, port).map_err(|errno| Fault::unbound(port, errno));
    match (ends.front_number("event-channel-tx")?, ends.front_number("event-channel-rx")?) {
        (Some(tx), Some(rx)) => Ok(Ports { tx: bind(tx)?, rx: Some(bind(rx)?) }),
        _ => Ok(Ports { tx: bind(ends.front_needs("event-channel")?)?, rx: None }),
    }
}

fn abilities<N: Nodes>(ends: &Ends<N>) -> Abilities {
    let scattered = ends.front_flag("feature-sg");
    let blank_v4 = !ends.front_flag("feature-no-csum-offload");
    let blank_v6 = ends.front_flag("feature-ipv6-csum-offload");
    Abilities {
        blank_v4,
        blank_v6,
        // A long packet's checksum is always blank, and it takes several slots.
        long_v4: scattered && blank_v4 && ends.front_flag("feature-gso-tcpv4"),
        long_v6: scattered && blank_v6 && ends.front_flag("feature-gso-tcpv6"),
    }
}

/// Checks the toolstack's `mac`: that of one station.
fn address<N: Nodes>(ends: &Ends<N>) -> Result<(), Fault> {
    let text = ends.back_text("mac").ok_or_else(|| Fault::new(Errno::ENOENT, "mac is missing"))?;
    match parse_address(text.trim()) {
        Some([first, ..]) if first & 1 == 1 => Err(Fault::new(Errno::EINVAL, "mac is a group's")),
        Some([0, 0, 0, 0, 0, 0]) | None => {
            Err(Fault::new(Errno::EINVAL, "mac is not an address like 00:16:3e:01:02:03"))
        }
        Some(_) => Ok(()),
    }
}

fn parse_address(text: &str) -> Option<MacAddress> {
    let mut parts = text.split(':');
    let mut address = [0; 6];
    for byte in &mut address {
        let part = parts.next().filter(|part| matches!(part.len(), 1 | 2))?;
        // `from_str_radix` takes a sign.
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+'))?;
    }
    parts.next().is_none().then_some(address)
}

/// How much the guest may send: so many bytes within so long, as the toolstack writes it.
struct Rate {
    /// Bytes a second.
    bytes: NonZeroU64,
    /// ns.
    interval: u64,
}

impl Rate {
    fn bucket(&self, now: u64) -> Bucket {
        Bucket::with_interval(self.bytes, self.interval, now)
    }

    /// `BYTES,MICROSECONDS`.
    fn parse(text: &str) -> Option<Self> {
        let (bytes, interval) = text.trim().split_once(',')?;
        let (bytes, interval): (u64, u64) = (bytes.parse().ok()?, interval.parse().ok()?);
        let a_second = u128::from(bytes).checked_mul(1_000_000)?.checked_div(interval.into())?;
        let bytes = NonZeroU64::new(u64::try_from(a_second).unwrap_or(u64::MAX))?;
        Some(Self { bytes, interval: interval.saturating_mul(1000) })
    }
}

/// How much may be sent at a time, ns; `None`: as much as it likes.
pub(crate) fn bucket<N: Nodes>(ends: &Ends<N>, now: u64) -> Result<Option<Bucket>, Fault> {
    Ok(rate(ends)?.map(|rate| rate.bucket(now)))
}

fn rate<N: Nodes>(ends: &Ends<N>) -> Result<Option<Rate>, Fault> {
    let Some(text) = ends.back_text("rate") else { return Ok(None) };
    let rate = Rate::parse(&text);
    rate.map(Some).ok_or_else(|| Fault::new(Errno::EINVAL, "rate is not BYTES,MICROSECONDS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_six_bytes() {
        assert_eq!(parse_address("00:16:3e:0A:b:ff"), Some([0, 0x16, 0x3e, 10, 11, 255]));
        for text in ["", "00:16:3e:01:02", "00:16:3e:01:02:03:04", "00:16:3e:01:02:+3", "00:16:3e:01:02:003"]
        {
            assert_eq!(parse_address(text), None, "{text:?}");
        }
    }

    #[test]
    fn rates_are_bytes_within_microseconds() {
        let rate = Rate::parse("52428,50000").expect("as libxl writes it");
        assert_eq!((rate.bytes.get(), rate.interval), (1_048_560, 50_000_000));
        for text in ["", "1", "0,1000", "1000,0", "-1,5", "1,2,3"] {
            assert!(Rate::parse(text).is_none(), "{text:?}");
        }
    }
}
