//! A domain's nodes in XenStore, as libxl lays them out.
//!
//! ```text
//! /local/domain/N      name domid vm  memory/  cpu/  store/  console/  control/  device/  data/ ...
//! /vm/UUID             name uuid
//! /libxl/N             type  memory/  device/                         (Dom0 only)
//! /local/domain/0/backend/{console,vbd,vif}/N/...
//! ```
//!
//! Those of disks and network interfaces are in [`crate::nodes`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use xen_abi::RawPort;
use xen_control::builder::Built;
use xl::toolstack::{DomId, Done};
use xl_config::domain::DomainConfig;

use crate::environment::Registry;
use crate::manager::{DOM0, DOM0_NAME};

/// Most bytes of output that are kept for a console, as libxl writes it.
const CONSOLE_LIMIT: &str = "1048576";

/// Who may do what with a node, Dom0 aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Nobody anything.
    Private,
    /// The domain reads.
    Read,
    /// The domain owns it.
    Own,
}

/// Path of a domain.
pub(crate) fn domain_path(domain: DomId) -> String {
    format!("/local/domain/{domain}")
}

fn vm_path(uuid: &[u8; 16]) -> String {
    format!("/vm/{}", uuid_text(uuid))
}

/// Path of what only the toolstack is told of a domain.
pub(crate) fn libxl_path(domain: DomId) -> String {
    format!("/libxl/{domain}")
}

/// Path of the back ends of a kind of a domain's.
pub(crate) fn backend_path(domain: DomId, kind: &str) -> String {
    format!("{}/backend/{kind}/{domain}", domain_path(DOM0))
}

/// Path of what such back ends complain about.
pub(crate) fn errors_path(domain: DomId, kind: &str) -> String {
    format!("{}/error/backend/{kind}/{domain}", domain_path(DOM0))
}

/// Path of the most memory that a domain may be told to have, KiB.
pub(crate) fn most_memory_path(domain: DomId) -> String {
    format!("{}/memory/static-max", libxl_path(domain))
}

/// A UUID as it is written.
pub(crate) fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::new();
    for (place, byte) in uuid.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Writes nodes for one domain.
pub(crate) struct Writer<'a, R: Registry> {
    pub(crate) registry: &'a R,
    pub(crate) domain: DomId,
}

impl<R: Registry> Writer<'_, R> {
    fn allow(&self, path: &str, access: Access) -> Done {
        match access {
            Access::Private => self.registry.set_permissions(path, DOM0, &[]),
            Access::Read => self.registry.set_permissions(path, DOM0, &[self.domain]),
            Access::Own => self.registry.set_permissions(path, self.domain, &[]),
        }
    }

    pub(crate) fn node(&self, path: &str, access: Access) -> Done {
        self.registry.mkdir(path)?;
        self.allow(path, access)
    }

    pub(crate) fn value(&self, path: &str, value: &str, access: Access) -> Done {
        self.registry.write(path, value.as_bytes())?;
        self.allow(path, access)
    }
}

/// What a domain's nodes tell.
pub(crate) struct Facts<'a> {
    pub(crate) id: DomId,
    pub(crate) uuid: [u8; 16],
    pub(crate) config: &'a DomainConfig,
    pub(crate) built: &'a Built,
    pub(crate) store_port: RawPort,
    pub(crate) console_port: RawPort,
}

/// Writes all nodes of a domain, in place of those of an earlier one of its number.
pub(crate) fn plant(registry: &impl Registry, facts: &Facts<'_>) -> Done {
    uproot(registry, facts.id, &facts.uuid)?;
    let writer = Writer { registry, domain: facts.id };
    let (home, vm) = (domain_path(facts.id), vm_path(&facts.uuid));
    writer.node(&home, Access::Read)?;
    writer.node(&vm, Access::Read)?;
    for (name, access) in DIRECTORIES {
        writer.node(&format!("{home}/{name}"), *access)?;
    }
    for (name, value) in values(facts, &vm) {
        writer.value(&format!("{home}/{name}"), &value, Access::Read)?;
    }
    writer.value(&format!("{vm}/uuid"), &uuid_text(&facts.uuid), Access::Read)?;
    writer.value(&format!("{vm}/name"), &facts.config.name, Access::Read)?;
    plant_for_dom0(&writer, facts)
}

/// Nodes without a value, those above before those below.
const DIRECTORIES: &[(&str, Access)] = &[
    ("cpu", Access::Read),
    ("memory", Access::Read),
    ("store", Access::Read),
    ("console", Access::Read),
    ("device", Access::Read),
    ("device/suspend", Access::Read),
    ("device/suspend/event-channel", Access::Own),
    ("control", Access::Read),
    ("control/shutdown", Access::Own),
    ("control/feature-poweroff", Access::Own),
    ("control/feature-reboot", Access::Own),
    ("control/feature-suspend", Access::Own),
    ("control/sysrq", Access::Own),
    ("data", Access::Own),
    ("drivers", Access::Own),
    ("feature", Access::Own),
    ("attr", Access::Own),
    ("error", Access::Own),
];

/// Nodes with a value, which the domain reads.
fn values(facts: &Facts<'_>, vm: &str) -> Vec<(String, String)> {
    let fixed = [
        ("vm", vm.to_string()),
        ("name", facts.config.name.clone()),
        ("domid", facts.id.to_string()),
        // Linux takes this for what its memory map shows (drivers/xen/xen-balloon.c), and that
        // is what the domain has at its start.
        ("memory/static-max", facts.config.memory_kib.to_string()),
        ("memory/target", facts.config.memory_kib.to_string()),
        ("memory/videoram", String::from("0")),
        ("store/port", facts.store_port.to_string()),
        ("store/ring-ref", facts.built.store.to_string()),
        ("control/platform-feature-multiprocessor-suspend", String::from("1")),
        ("control/platform-feature-xs_reset_watches", String::from("1")),
        ("console/backend-id", DOM0.to_string()),
        ("console/limit", String::from(CONSOLE_LIMIT)),
        ("console/type", String::from("xenconsoled")),
        ("console/output", String::from("pty")),
        ("console/tty", String::new()),
        ("console/port", facts.console_port.to_string()),
        ("console/ring-ref", facts.built.console.to_string()),
    ];
    let mut values: Vec<_> = fixed.into_iter().map(|(name, value)| (String::from(name), value)).collect();
    for vcpu in 0..facts.config.max_vcpus {
        let value = availability(vcpu, facts.config.vcpus);
        values.push((format!("cpu/{vcpu}"), String::new()));
        values.push((format!("cpu/{vcpu}/availability"), String::from(value)));
    }
    values
}

/// Where a vcpu is told whether it is to be up.
pub(crate) fn availability_path(domain: DomId, vcpu: u32) -> String {
    format!("{}/cpu/{vcpu}/availability", domain_path(domain))
}

/// Whether a vcpu is to be up where `count` are.
pub(crate) fn availability(vcpu: u32, count: u32) -> &'static str {
    if vcpu < count { "online" } else { "offline" }
}

fn plant_for_dom0(writer: &Writer<'_, impl Registry>, facts: &Facts<'_>) -> Done {
    let id = facts.id;
    let (libxl, back) = (libxl_path(id), backend_path(id, "console"));
    writer.node(&libxl, Access::Private)?;
    writer.node(&format!("{libxl}/device"), Access::Private)?;
    writer.value(&format!("{libxl}/type"), "pvh", Access::Private)?;
    let most = facts.config.max_memory_kib.to_string();
    writer.value(&most_memory_path(id), &most, Access::Private)?;
    writer.node(&back, Access::Private)?;
    writer.node(&format!("{back}/0"), Access::Read)?;
    let (front, number) = (format!("{}/console", domain_path(id)), id.to_string());
    let values = [
        ("frontend", front.as_str()),
        ("frontend-id", number.as_str()),
        ("online", "1"),
        ("state", "1"),
        ("protocol", "vt100"),
    ];
    for (name, value) in values {
        writer.value(&format!("{back}/0/{name}"), value, Access::Read)?;
    }
    Ok(())
}

/// Removes all nodes of a domain. What fails does not keep the rest from being removed.
pub(crate) fn uproot(registry: &impl Registry, id: DomId, uuid: &[u8; 16]) -> Done {
    let backends = ["console", "vbd", "vif"].map(|kind| backend_path(id, kind));
    let errors = ["vbd", "vif"].map(|kind| errors_path(id, kind));
    let own = [domain_path(id), vm_path(uuid), libxl_path(id)];
    own.iter().chain(&backends).chain(&errors).map(|path| registry.remove(path)).fold(Ok(()), Done::and)
}

/// Writes another name to a domain's nodes.
pub(crate) fn rename(registry: &impl Registry, id: DomId, uuid: &[u8; 16], name: &str) -> Done {
    registry.write(&format!("{}/name", domain_path(id)), name.as_bytes())?;
    let vm = vm_path(uuid);
    if registry.directory(&vm).is_empty() {
        return Ok(());
    }
    registry.write(&format!("{vm}/name"), name.as_bytes())
}

/// Moves a domain's `/vm` node to another UUID.
pub(crate) fn change_uuid(registry: &impl Registry, id: DomId, old: &[u8; 16], new: &[u8; 16]) -> Done {
    let (home, vm) = (domain_path(id), vm_path(new));
    let name = registry.read(&format!("{home}/name")).unwrap_or_default();
    let writer = Writer { registry, domain: id };
    writer.node(&vm, Access::Read)?;
    writer.value(&format!("{vm}/uuid"), &uuid_text(new), Access::Read)?;
    writer.value(&format!("{vm}/name"), &String::from_utf8_lossy(&name), Access::Read)?;
    registry.write(&format!("{home}/vm"), vm.as_bytes())?;
    registry.remove(&vm_path(old))
}

/// Dom0's own nodes.
pub(crate) fn plant_dom0(registry: &impl Registry, memory_kib: u64, vcpus: u32) -> Done {
    let home = domain_path(DOM0);
    let kib = memory_kib.to_string();
    let values = [
        ("name", DOM0_NAME),
        ("domid", "0"),
        ("memory/target", &kib),
        ("memory/static-max", &kib),
        ("console/limit", CONSOLE_LIMIT),
        ("console/type", "xenconsoled"),
    ];
    for (name, value) in values {
        registry.write(&format!("{home}/{name}"), value.as_bytes())?;
    }
    for vcpu in 0..vcpus {
        registry.write(&availability_path(DOM0, vcpu), b"online")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pollster::block_on;
    use xl::toolstack::Toolstack;
    use xl_config::domain::DomainConfig;

    use crate::manager::Manager;
    use crate::testing::{World, config};

    #[test]
    fn nodes_are_as_libxl_writes_them() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let wanted = DomainConfig { max_memory_kib: 128 << 10, ..config("a") };
        let id = block_on(manager.create(wanted, false)).unwrap();
        assert_eq!(id, 1);
        let uuid = super::uuid_text(&manager.config(id).unwrap().uuid.unwrap());
        let vm = alloc::format!("/vm/{uuid}");
        for (path, value) in [
            ("/local/domain/1/name", "a"),
            ("/local/domain/1/domid", "1"),
            ("/local/domain/1/vm", vm.as_str()),
            ("/local/domain/1/memory/static-max", "65536"),
            ("/local/domain/1/memory/target", "65536"),
            ("/local/domain/1/cpu/0/availability", "online"),
            ("/local/domain/1/cpu/1/availability", "offline"),
            ("/local/domain/1/store/ring-ref", "101"),
            ("/local/domain/1/store/port", "1"),
            ("/local/domain/1/console/ring-ref", "100"),
            ("/local/domain/1/console/port", "2"),
            ("/local/domain/1/console/type", "xenconsoled"),
            ("/local/domain/1/console/limit", "1048576"),
            ("/libxl/1/type", "pvh"),
            ("/libxl/1/memory/static-max", "131072"),
            ("/local/domain/0/backend/console/1/0/frontend", "/local/domain/1/console"),
            ("/local/domain/0/name", "Domain-0"),
        ] {
            assert_eq!(world.value(path).as_deref(), Some(value), "{path}");
        }
        assert_eq!(world.value(&alloc::format!("{vm}/name")).as_deref(), Some("a"));
    }

    #[test]
    fn a_domain_owns_only_what_it_is_to_write() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        block_on(manager.create(config("a"), false)).unwrap();
        let owned =
            ["control/shutdown", "control/feature-poweroff", "data", "attr", "error", "drivers", "feature"];
        for name in owned {
            assert_eq!(world.node(&alloc::format!("/local/domain/1/{name}")).unwrap().owner, 1, "{name}");
        }
        for name in ["", "/name", "/memory/target", "/console/ring-ref", "/cpu/0/availability", "/control"] {
            let node = world.node(&alloc::format!("/local/domain/1{name}")).unwrap();
            assert_eq!((node.owner, node.readers), (0, [1].into()), "{name}");
        }
        let private = world.node("/libxl/1/type").unwrap();
        assert_eq!((private.owner, private.readers), (0, [].into()));
    }
}
