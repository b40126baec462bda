//! `xl block-list`, `xl network-list`, `brctl show`, `overlay-list`.

use alloc::format;
use alloc::string::String;

use crate::find::name;
use crate::toolstack::{Bridge, Device, DiskCounts, Domain, NetCounts, Overlay};

/// The header of `block-list`.
pub(crate) fn disk_header() -> String {
    format!(
        "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}",
        "Vdev", "BE", "handle", "state", "evt-ch", "ring-ref", "BE-path"
    )
}

/// A disk's line.
pub(crate) fn disk(device: &Device) -> String {
    let Device { number, backend, handle, state, backend_path, .. } = device;
    let (port, ring) = (port(device), ring(device, 0));
    format!("{number:<5} {backend:<3} {handle:<6} {state:<5} {port:<6} {ring:<8} {backend_path:<30}")
}

/// The header of `network-list`.
pub(crate) fn net_header() -> String {
    format!(
        "{:<3} {:<2} {:<17} {:<6} {:<5} {:<6} {:>5}/{:<5} {:<30}",
        "Idx", "BE", "Mac Addr.", "handle", "state", "evt-ch", "tx-", "rx-ring-ref", "BE-path"
    )
}

/// A network interface's line.
pub(crate) fn net(device: &Device) -> String {
    let Device { number, backend, handle, state, mac, backend_path, .. } = device;
    let (port, tx, rx) = (port(device), ring(device, 0), ring(device, 1));
    format!(
        "{number:<3} {backend:<2} {mac:<17}{handle:>6} {state:>5} {port:>6} {tx:>5}/{rx:<11} {backend_path:<30}"
    )
}

/// `block-list -s`: what went through each disk (BLK-24).
pub(crate) fn disk_counts(domains: &[Domain]) -> String {
    let mut text = format!(
        "{:<20} {:>5} {:>9} {:>8} {:>8} {:>8} {:>10} {:>10}\n",
        "Name", "ID", "Vdev", "VBD_OO", "VBD_RD", "VBD_WR", "VBD_RSECT", "VBD_WSECT"
    );
    for domain in domains {
        for (number, counts) in &domain.devices.disks {
            let DiskCounts { delayed, reads, writes, sectors_read, sectors_written } = counts;
            text += &format!(
                "{:<20} {:>5} {number:>9} {delayed:>8} {reads:>8} {writes:>8} {sectors_read:>10} {sectors_written:>10}\n",
                name(domain),
                domain.id
            );
        }
    }
    text
}

/// `network-list -s`: what went through each interface, seen from the guest (NET-25).
pub(crate) fn net_counts(domains: &[Domain]) -> String {
    let mut text = format!(
        "{:<20} {:>5} {:>3} {:>12} {:>10} {:>12} {:>10} {:>8}\n",
        "Name", "ID", "Idx", "TX(bytes)", "TX(pkts)", "RX(bytes)", "RX(pkts)", "RX(drop)"
    );
    for domain in domains {
        for (number, counts) in &domain.devices.nets {
            let NetCounts { sent_bytes, received_bytes, sent_packets, received_packets, dropped } = counts;
            text += &format!(
                "{:<20} {:>5} {number:>3} {sent_bytes:>12} {sent_packets:>10} {received_bytes:>12} \
                 {received_packets:>10} {dropped:>8}\n",
                name(domain),
                domain.id
            );
        }
    }
    text
}

/// `brctl show`: one interface a line. No bridge has a spanning tree (NET-13).
pub(crate) fn bridges(bridges: &[Bridge]) -> String {
    let mut text = String::from("bridge name\tbridge id\t\tSTP enabled\tinterfaces\n");
    for Bridge { name, id, interfaces } in bridges {
        let interfaces = interfaces.join("\n\t\t\t\t\t\t\t");
        text += &format!("{name}\t\t{id}\tno\t\t{interfaces}\n");
    }
    text
}

/// The header of `overlay-list`.
pub(crate) fn overlay_header() -> String {
    format!("{:<30} {:>12} {:<5} {}", "Owner", "Written(k)", "Used", "Changes")
}

/// An overlay's line.
pub(crate) fn overlay(overlay: &Overlay) -> String {
    let Overlay { owner, target, bytes, open } = overlay;
    let used = if *open { "yes" } else { "no" };
    format!("{owner:<30} {:>12} {used:<5} {target}", bytes.div_ceil(1024))
}

/// `-1` stands for what is not there, as `xl` has it.
fn port(device: &Device) -> String {
    device.port.map_or_else(|| "-1".into(), |port| format!("{port}"))
}

fn ring(device: &Device, place: usize) -> String {
    device.rings.get(place).map_or_else(|| "-1".into(), |ring| format!("{ring}"))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn device() -> Device {
        Device {
            number: 51712,
            backend: 0,
            handle: 51712,
            state: 4,
            port: Some(17),
            rings: vec![8, 9],
            mac: String::new(),
            backend_path: "/local/domain/0/backend/vbd/3/51712".into(),
        }
    }

    #[test]
    fn columns_of_disks_are_xls() {
        assert_eq!(disk_header(), "Vdev  BE  handle state evt-ch ring-ref BE-path                       ");
        assert_eq!(
            disk(&device()),
            "51712 0   51712  4     17     8        /local/domain/0/backend/vbd/3/51712"
        );
        let unconnected = Device { state: 1, port: None, rings: vec![], ..device() };
        assert_eq!(
            disk(&unconnected),
            "51712 0   51712  1     -1     -1       /local/domain/0/backend/vbd/3/51712"
        );
    }

    #[test]
    fn columns_of_network_interfaces_are_xls() {
        let net_device = Device {
            number: 0,
            handle: 0,
            mac: "00:16:3e:00:00:01".into(),
            backend_path: "/local/domain/0/backend/vif/3/0".into(),
            ..device()
        };
        assert_eq!(
            net_header(),
            "Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path                       "
        );
        assert_eq!(
            net(&net_device),
            "0   0  00:16:3e:00:00:01     0     4     17     8/9           /local/domain/0/backend/vif/3/0"
        );
    }
}
