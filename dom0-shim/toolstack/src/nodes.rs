//! Nodes of disks and network interfaces in XenStore, as libxl lays them out.
//!
//! ```text
//! /local/domain/N/device/KIND/M          front end: owned by the domain N
//! /local/domain/0/backend/KIND/N/M       back end: the domain N reads it
//! /libxl/N/device/KIND/M                 what the back end was made with      (Dom0 only)
//! /local/domain/0/error/backend/KIND/N/M what the back end complains about    (Dom0 only)
//! ```
//!
//! KIND is `vbd` or `vif`. XenStore serves nobody while these are written, so no domain sees
//! half of a device.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use xl::toolstack::{DomId, Done};
use xl_config::domain::{Disk, Vif};

use crate::environment::{DeviceId, DeviceKind, Registry};
use crate::manager::DOM0;
use crate::tree::{self, Access, Writer};

/// `XenbusStateInitialising`.
const INITIALISING: &str = "1";
/// `XenbusStateClosing`.
const CLOSING: &str = "5";
/// `XenbusStateClosed`.
const CLOSED: &[u8] = b"6";
/// Bytes of a frame without its header.
const MTU: &str = "1500";
/// Time over which a rate holds, us, as libxl has it where the configuration says none.
const RATE_INTERVAL_US: u64 = 50_000;

/// What a device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Spec {
    /// A disk.
    Disk(Disk),
    /// A network interface.
    Net(Vif),
}

impl Spec {
    /// Its kind.
    pub(crate) fn kind(&self) -> DeviceKind {
        match self {
            Self::Disk(_) => DeviceKind::Disk,
            Self::Net(_) => DeviceKind::Net,
        }
    }
}

/// A kind as paths have it.
fn kind_name(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Disk => "vbd",
        DeviceKind::Net => "vif",
    }
}

/// Path of the front ends of a kind of a domain's.
pub(crate) fn frontends(domain: DomId, kind: DeviceKind) -> String {
    format!("{}/device/{}", tree::domain_path(domain), kind_name(kind))
}

/// Path of a device's front end.
pub(crate) fn frontend(device: DeviceId) -> String {
    format!("{}/{}", frontends(device.domain, device.kind), device.number)
}

/// Path of its back end.
fn backend(device: DeviceId) -> String {
    format!("{}/{}", tree::backend_path(device.domain, kind_name(device.kind)), device.number)
}

fn libxl(device: DeviceId) -> String {
    let DeviceId { domain, kind, number } = device;
    format!("{}/device/{}/{number}", tree::libxl_path(domain), kind_name(kind))
}

/// Writes the nodes of a device; what is left of an earlier one is removed.
///
/// # Errors
///
/// In words; some of the nodes may be there then.
pub(crate) fn plant(registry: &impl Registry, device: DeviceId, spec: &Spec) -> Done {
    remove(registry, device)?;
    let writer = Writer { registry, domain: device.domain };
    let (front, back, libxl) = (frontend(device), backend(device), libxl(device));
    let values = back_values(device, spec);
    writer.node(&libxl, Access::Private)?;
    writer.value(&format!("{libxl}/frontend"), &front, Access::Private)?;
    writer.value(&format!("{libxl}/backend"), &back, Access::Private)?;
    for (name, value) in &values {
        writer.value(&format!("{libxl}/{name}"), value, Access::Private)?;
    }
    writer.node(&back, Access::Read)?;
    writer.value(&format!("{back}/frontend"), &front, Access::Read)?;
    for (name, value) in &values {
        writer.value(&format!("{back}/{name}"), value, Access::Read)?;
    }
    // The front end comes last: it looks for its back end.
    writer.node(&front, Access::Own)?;
    writer.value(&format!("{front}/backend"), &back, Access::Own)?;
    for (name, value) in front_values(device, spec) {
        writer.value(&format!("{front}/{name}"), &value, Access::Own)?;
    }
    Ok(())
}

/// What the front end is told.
fn front_values(device: DeviceId, spec: &Spec) -> Vec<(&'static str, String)> {
    let number = device.number.to_string();
    let mut values = alloc::vec![("backend-id", DOM0.to_string())];
    match spec {
        Spec::Disk(disk) => {
            values.push(("virtual-device", number));
            values.push(("device-type", String::from(device_type(disk))));
        }
        Spec::Net(vif) => {
            values.push(("handle", number));
            values.push(("mac", mac(vif)));
            values.push(("mtu", String::from(MTU)));
        }
    }
    values.push(("trusted", String::from("1")));
    values.push(("state", String::from(INITIALISING)));
    values
}

/// What the back end is told.
fn back_values(device: DeviceId, spec: &Spec) -> Vec<(&'static str, String)> {
    let mut values = alloc::vec![("frontend-id", device.domain.to_string()), ("online", String::from("1"))];
    match spec {
        Spec::Disk(disk) => values.extend(disk_values(disk)),
        Spec::Net(vif) => values.extend(net_values(device, vif)),
    }
    values.push(("state", String::from(INITIALISING)));
    values
}

fn disk_values(disk: &Disk) -> [(&'static str, String); 9] {
    let flag = |set: bool| String::from(if set { "1" } else { "0" });
    [
        ("params", disk.target.clone()),
        ("type", String::from("phy")),
        ("dev", disk.vdev.clone()),
        ("mode", String::from(if disk.read_only { "r" } else { "w" })),
        ("device-type", String::from(device_type(disk))),
        ("removable", flag(disk.cdrom)),
        ("bootable", flag(true)),
        ("discard-enable", flag(!disk.read_only)),
        ("specification", String::from("xen")),
    ]
}

fn device_type(disk: &Disk) -> &'static str {
    if disk.cdrom { "cdrom" } else { "disk" }
}

fn net_values(device: DeviceId, vif: &Vif) -> Vec<(&'static str, String)> {
    let mut values = alloc::vec![
        ("handle", device.number.to_string()),
        ("mac", mac(vif)),
        ("mtu", String::from(MTU)),
        ("type", String::from("vif")),
    ];
    values.extend(vif.bridge.clone().map(|bridge| ("bridge", bridge)));
    values.extend(vif.name.clone().map(|name| ("vifname", name)));
    values.extend(vif.rate.map(rate));
    values
}

/// A rate in bytes a second as bytes of an interval, at least one, and the interval, us.
fn rate(bytes_per_second: u64) -> (&'static str, String) {
    let bytes = u128::from(bytes_per_second) * u128::from(RATE_INTERVAL_US) / 1_000_000;
    ("rate", format!("{},{RATE_INTERVAL_US}", bytes.max(1)))
}

fn mac(vif: &Vif) -> String {
    vif.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")).unwrap_or_default()
}

/// Whether the front end has not begun to connect: nobody has to let the device go.
pub(crate) fn is_unused(registry: &impl Registry, device: DeviceId) -> bool {
    let state = registry.read(&format!("{}/state", frontend(device)));
    state.is_none_or(|state| state == INITIALISING.as_bytes())
}

/// How far a back end is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Readiness {
    /// It has not said anything yet.
    Starting,
    /// Front ends may connect.
    Ready,
    /// It has closed; what it complains about, if it does.
    Closed(String),
}

/// How far a back end is.
pub(crate) fn readiness(registry: &impl Registry, device: DeviceId) -> Readiness {
    match registry.read(&format!("{}/state", backend(device))).as_deref() {
        Some(state) if state == INITIALISING.as_bytes() => Readiness::Starting,
        None | Some(CLOSED) => {
            let errors = tree::errors_path(device.domain, kind_name(device.kind));
            let error = registry.read(&format!("{errors}/{}/error", device.number)).unwrap_or_default();
            Readiness::Closed(String::from_utf8_lossy(&error).into_owned())
        }
        Some(_) => Readiness::Ready,
    }
}

/// Asks both ends to close the device.
///
/// # Errors
///
/// In words.
pub(crate) fn ask_to_close(registry: &impl Registry, device: DeviceId) -> Done {
    let back = backend(device);
    registry.write(&format!("{back}/online"), b"0")?;
    let state = format!("{back}/state");
    if registry.read(&state).as_deref() == Some(CLOSED) {
        return Ok(());
    }
    registry.write(&state, CLOSING.as_bytes())
}

/// Removes the nodes of a device. What fails does not keep the rest from being removed.
///
/// # Errors
///
/// In words.
pub(crate) fn remove(registry: &impl Registry, device: DeviceId) -> Done {
    let errors = tree::errors_path(device.domain, kind_name(device.kind));
    let paths = [frontend(device), backend(device), libxl(device), format!("{errors}/{}", device.number)];
    paths.iter().map(|path| registry.remove(path)).fold(Ok(()), Done::and)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, disk, vif};

    const DISK: DeviceId = DeviceId { domain: 3, kind: DeviceKind::Disk, number: 51_712 };
    const NET: DeviceId = DeviceId { domain: 3, kind: DeviceKind::Net, number: 1 };

    fn assert_values(world: &World, path: &str, expected: &[(&str, &str)]) {
        for (name, value) in expected {
            let found = world.value(&format!("{path}/{name}"));
            assert_eq!(found.as_deref(), Some(*value), "{path}/{name}");
        }
    }

    #[test]
    fn a_disk_is_as_libxl_writes_it() {
        let world = World::new();
        let disk = Disk { read_only: true, ..disk("/dev/sda1", "xvda") };
        plant(&world, DISK, &Spec::Disk(disk)).unwrap();
        let (front, back) = ("/local/domain/3/device/vbd/51712", "/local/domain/0/backend/vbd/3/51712");
        let of_front = [
            ("backend", back),
            ("backend-id", "0"),
            ("virtual-device", "51712"),
            ("device-type", "disk"),
            ("state", "1"),
        ];
        assert_values(&world, front, &of_front);
        let of_back = [
            ("frontend", front),
            ("frontend-id", "3"),
            ("online", "1"),
            ("removable", "0"),
            ("bootable", "1"),
            ("state", "1"),
            ("dev", "xvda"),
            ("type", "phy"),
            ("mode", "r"),
            ("device-type", "disk"),
            ("params", "/dev/sda1"),
            ("discard-enable", "0"),
        ];
        assert_values(&world, back, &of_back);
        let libxl = "/libxl/3/device/vbd/51712";
        assert_values(&world, libxl, &of_back);
        assert_values(&world, libxl, &[("backend", back)]);
        let access = |path: &str| {
            let node = world.node(path).unwrap();
            (node.owner, node.readers)
        };
        assert_eq!(access(&format!("{front}/state")), (3, [].into()), "the domain's own");
        assert_eq!(access(&format!("{back}/state")), (0, [3].into()), "the domain reads it");
        assert_eq!(access(&format!("{libxl}/state")), (0, [].into()), "nobody else's");
        remove(&world, DISK).unwrap();
        assert!([front, back, libxl].iter().all(|path| world.node(path).is_none()));
    }

    #[test]
    fn an_interface_is_as_libxl_writes_it() {
        let world = World::new();
        let vif = Vif { name: Some(String::from("web")), rate: Some(1_250_000), ..vif(7, "xenbr0") };
        plant(&world, NET, &Spec::Net(vif)).unwrap();
        let (front, back) = ("/local/domain/3/device/vif/1", "/local/domain/0/backend/vif/3/1");
        let mac = "00:16:3e:00:00:07";
        let of_front = [("backend", back), ("handle", "1"), ("mac", mac), ("mtu", "1500"), ("state", "1")];
        assert_values(&world, front, &of_front);
        let of_back = [
            ("frontend", front),
            ("frontend-id", "3"),
            ("online", "1"),
            ("handle", "1"),
            ("mac", mac),
            ("bridge", "xenbr0"),
            ("vifname", "web"),
            ("rate", "62500,50000"),
            ("type", "vif"),
            ("state", "1"),
        ];
        assert_values(&world, back, &of_back);
    }

    #[test]
    fn what_is_closed_already_is_not_told_to_close() {
        let world = World::new();
        plant(&world, NET, &Spec::Net(vif(7, "xenbr0"))).unwrap();
        let state = "/local/domain/0/backend/vif/3/1/state";
        ask_to_close(&world, NET).unwrap();
        assert_eq!(world.value(state).as_deref(), Some("5"));
        world.set(state, "6");
        ask_to_close(&world, NET).unwrap();
        assert_eq!(world.value(state).as_deref(), Some("6"));
        assert_eq!(world.value("/local/domain/0/backend/vif/3/1/online").as_deref(), Some("0"));
    }
}
