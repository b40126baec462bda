//! What both ends of a disk say in XenStore (`io/blkif.h`).

use alloc::format;
use alloc::vec::Vec;

use storage::{Properties, SECTOR};
use xen_abi::errno::Errno;
use xen_abi::io::blkif::{VDISK_CDROM, VDISK_READONLY};
use xen_backend::{Ends, Fault, Host, Nodes, Ring};

use crate::device::Options;
use crate::request::{Layout, Limits};
use crate::server::Connection;

/// Says what there is.
pub(crate) fn offer<N: Nodes>(ends: &Ends<N>, disk: &Properties, options: &Options) -> Result<(), Fault> {
    let mode = if is_read_only(disk, options) { "r" } else { "w" };
    ends.put("mode", mode)?;
    ends.put("max-ring-page-order", options.ring_order)?;
    ends.put("multi-queue-max-queues", 1)?;
    ends.put("feature-flush-cache", 1)?;
    ends.put("feature-barrier", 1)?;
    ends.put("feature-persistent", u32::from(options.persistent_pages > 0))?;
    if options.indirect_segments > 0 {
        ends.put("feature-max-indirect-segments", options.indirect_segments)?;
    }
    offer_discard(ends, disk, options)?;
    properties(ends, disk, options)
}

fn offer_discard<N: Nodes>(ends: &Ends<N>, disk: &Properties, options: &Options) -> Result<(), Fault> {
    let discard = can_discard(ends, disk, options);
    ends.put("feature-discard", u32::from(discard))?;
    if discard {
        ends.put("discard-granularity", disk.block_bytes)?;
        ends.put("discard-alignment", 0)?;
        ends.put("discard-secure", 0)?;
    }
    Ok(())
}

/// What the disk is. Front ends read it in state `Connected`.
fn properties<N: Nodes>(ends: &Ends<N>, disk: &Properties, options: &Options) -> Result<(), Fault> {
    let mut info = if options.cdrom { VDISK_CDROM } else { 0 };
    if is_read_only(disk, options) {
        info |= VDISK_READONLY;
    }
    ends.put("info", info)?;
    ends.put("sectors", disk.sectors)?;
    ends.put("sector-size", SECTOR)?;
    ends.put("physical-sector-size", physical_bytes(disk))
}

/// Bytes of the medium's blocks, if the disk is made of whole ones, as the protocol wants it.
fn physical_bytes(disk: &Properties) -> u64 {
    const BYTES: u64 = SECTOR as u64;
    let block = u64::from(disk.block_bytes);
    let whole = (block / BYTES).max(1);
    if block.is_multiple_of(BYTES) && disk.sectors.is_multiple_of(whole) { whole * BYTES } else { BYTES }
}

fn is_read_only(disk: &Properties, options: &Options) -> bool {
    disk.read_only || options.read_only
}

/// Whether discarding is offered: it does something, and the toolstack has nothing against it.
fn can_discard<N: Nodes>(ends: &Ends<N>, disk: &Properties, options: &Options) -> bool {
    let refused = ends.back_text("discard-enable").is_some_and(|text| text.trim() == "0");
    disk.discard.is_some() && !is_read_only(disk, options) && !refused
}

/// Connects to the ring as the front end says.
pub(crate) fn connect<N: Nodes, H: Host>(
    ends: &Ends<N>,
    host: &H,
    disk: &Properties,
    options: &Options,
) -> Result<Connection<H>, Fault> {
    let domain = ends.address().domain;
    let layout = layout(ends)?;
    let references = ring_references(ends, options)?;
    let port = ends.front_needs("event-channel")?;
    let memory = host.map(domain, &references, true).map_err(|result| Fault::unmapped("the ring", result))?;
    let ring = Ring::attach(memory, layout.slot_bytes())?;
    let port = host.bind(domain, port).map_err(|errno| Fault::unbound(port, errno))?;
    properties(ends, disk, options)?;
    let limits = Limits {
        sectors: disk.sectors,
        read_only: is_read_only(disk, options),
        discard: can_discard(ends, disk, options),
        indirect_segments: options.indirect_segments,
    };
    let persistent = ends.front_flag("feature-persistent");
    Ok(Connection { domain, ring, port, layout, limits, persistent })
}

fn layout<N: Nodes>(ends: &Ends<N>) -> Result<Layout, Fault> {
    let protocol = ends.front_text("protocol");
    Layout::named(protocol.as_deref().map(str::trim))
        .ok_or_else(|| Fault::new(Errno::EINVAL, "protocol is not known: x86_64-abi or x86_32-abi"))
}

/// The grants of the ring's pages: one in `ring-ref`, or several in `ring-ref0` and on.
fn ring_references<N: Nodes>(ends: &Ends<N>, options: &Options) -> Result<Vec<u32>, Fault> {
    let queues: u32 = ends.front_number("multi-queue-num-queues")?.unwrap_or(1);
    if queues != 1 {
        return Err(Fault::new(Errno::EINVAL, "multi-queue-num-queues is not 1"));
    }
    let order: Option<u32> = ends.front_number("ring-page-order")?;
    match order {
        None => Ok([ends.front_needs("ring-ref")?].into()),
        Some(0) => match ends.front_number("ring-ref")? {
            Some(reference) => Ok([reference].into()),
            None => Ok([ends.front_needs("ring-ref0")?].into()),
        },
        Some(order) if order <= options.ring_order => {
            (0..1_u32 << order).map(|page| ends.front_needs(&format!("ring-ref{page}"))).collect()
        }
        Some(_) => Err(Fault::new(Errno::EINVAL, "ring-page-order is larger than max-ring-page-order")),
    }
}
