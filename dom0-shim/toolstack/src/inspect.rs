//! What is told of domains and of the machine.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xen_abi::domctl::{
    DomainFlags, GetDomainInfo, INVALID_MAX_VCPU_ID, SHUTDOWN_MASK, SHUTDOWN_SHIFT, Scheduler,
};
use xen_abi::sched::ShutdownReason;
use xen_abi::sysctl::{CpuTopo, INVALID_CORE_ID, PhysCap, PhysInfo};
use xen_control::calls::Cpupool;
use xl::toolstack::{Device, DomId, Domain, Done, Host, Node, Pcpu, Pool, Reason, Topology, Vcpu};

use crate::environment::{DeviceId, DeviceKind, Environment, Platform, Registry};
use crate::hypervisor::{About, Hypervisor};
use crate::manager::{DOM0, Manager, failed, of_domain};
use crate::{nodes, tree};

/// KiB of a page.
const PAGE_KIB: u64 = 4;
/// Pages that are no limit: more than any domain can have.
const NO_LIMIT: u64 = 1 << 40;

impl<E: Environment> Manager<E> {
    /// All domains, at one moment each.
    pub(crate) fn list(&self) -> Done<Vec<Domain>> {
        let infos = self.hypervisor().domains().map_err(failed)?;
        Ok(infos.iter().map(|info| self.describe(info)).collect())
    }

    fn describe(&self, info: &GetDomainInfo) -> Domain {
        let has = |flag: DomainFlags| info.flags & flag.bits() != 0;
        Domain {
            id: info.domain,
            name: self.name(info.domain).unwrap_or_default(),
            uuid: info.handle,
            running: has(DomainFlags::RUNNING),
            blocked: has(DomainFlags::BLOCKED),
            paused: has(DomainFlags::PAUSED),
            shutdown: reason(info),
            dying: has(DomainFlags::DYING),
            online_vcpus: info.nr_online_vcpus,
            max_vcpu: if info.max_vcpu_id == INVALID_MAX_VCPU_ID { 0 } else { info.max_vcpu_id },
            cpu_ns: info.cpu_time,
            memory_kib: info.tot_pages.saturating_mul(PAGE_KIB),
            max_memory_kib: (info.max_pages < NO_LIMIT).then_some(info.max_pages.saturating_mul(PAGE_KIB)),
            ssid: info.ssidref,
            devices: self.device_counts(info.domain),
        }
    }

    /// A domain's name, as XenStore has it.
    pub(crate) fn name(&self, domain: DomId) -> Option<String> {
        let value = self.env.registry().read(&format!("{}/name", tree::domain_path(domain)))?;
        String::from_utf8(value).ok()
    }

    pub(crate) fn list_vcpus(&self, domain: DomId) -> Done<Vec<Vcpu>> {
        let info = self.info(domain)?;
        (0..info.max_vcpu_id.wrapping_add(1)).map(|number| self.describe_vcpu(domain, number)).collect()
    }

    fn describe_vcpu(&self, domain: DomId, number: u32) -> Done<Vcpu> {
        let words = |error| of_domain(domain, error);
        let info = self.hypervisor().vcpu_info(domain, number).map_err(words)?;
        let (hard, soft) = self.hypervisor().get_affinity(domain, number).map_err(words)?;
        Ok(Vcpu {
            number,
            online: info.online != 0,
            blocked: info.blocked != 0,
            running: info.running != 0,
            pcpu: info.cpu,
            cpu_ns: info.cpu_time,
            hard: numbers(hard),
            soft: numbers(soft),
        })
    }

    pub(crate) fn describe_host(&self) -> Done<Host> {
        let hypervisor = self.hypervisor();
        let about = hypervisor.about().map_err(failed)?;
        let info = hypervisor.physinfo().map_err(failed)?;
        let scheduler = hypervisor.scheduler().map_err(failed)?;
        let platform = self.env.platform();
        Ok(Host {
            scheduler: String::from(scheduler_name(scheduler)),
            uptime_ns: platform.now_ns(),
            wall_seconds: platform.wall_seconds(),
            hostname: platform.hostname(),
            ..host_of(&about, &info)
        })
    }

    pub(crate) fn describe_topology(&self) -> Done<Topology> {
        let pcpus = self.hypervisor().pcpus().map_err(failed)?;
        let (memory, distances) = self.hypervisor().nodes().map_err(failed)?;
        // A pcpu that is offline is nowhere.
        let online = (0..).zip(&pcpus).filter(|(_, place)| place.core != INVALID_CORE_ID);
        let pcpu = |(number, place): (u32, &CpuTopo)| Pcpu {
            number,
            core: place.core,
            socket: place.socket,
            node: place.node,
        };
        let rows = distances.chunks(memory.len().max(1));
        let nodes = (0..).zip(memory.iter().zip(rows)).map(|(number, (memory, row))| Node {
            number,
            total_kib: memory.memsize / 1024,
            free_kib: memory.memfree / 1024,
            distances: row.to_vec(),
        });
        Ok(Topology { pcpus: online.map(pcpu).collect(), nodes: nodes.collect() })
    }

    pub(crate) fn describe_pools(&self) -> Done<Vec<Pool>> {
        let pools = self.hypervisor().cpupools().map_err(failed)?;
        let describe = |pool: Cpupool| Pool {
            // As libxl names them that have no name of their own.
            name: format!("Pool-{}", pool.id),
            scheduler: String::from(scheduler_name(pool.scheduler)),
            domains: pool.domains,
            pcpus: pool.pcpus,
        };
        Ok(pools.into_iter().map(describe).collect())
    }

    pub(crate) fn read_log(&self, clear: bool) -> Done<Vec<u8>> {
        const CHUNK: usize = 4096;
        // Messages that come meanwhile must not keep us here.
        const CHUNKS: usize = 1024;
        let mut text = Vec::new();
        let mut chunk = [0; CHUNK];
        let mut index = None;
        for _ in 0..CHUNKS {
            let (count, end) = self.hypervisor().read_log(index, false, &mut chunk).map_err(failed)?;
            index = Some(end);
            text.extend(chunk.iter().take(count));
            if count < CHUNK {
                break;
            }
        }
        if clear {
            let (count, _) = self.hypervisor().read_log(index, true, &mut chunk).map_err(failed)?;
            text.extend(chunk.iter().take(count));
        }
        Ok(text)
    }

    pub(crate) fn age_ns(&self, domain: DomId) -> Option<u64> {
        let now = self.env.platform().now_ns();
        if domain == DOM0 {
            return Some(now);
        }
        let records = self.records.borrow();
        Some(now.saturating_sub(records.get(&domain)?.started_ns))
    }

    /// Devices of a kind, as the front ends' nodes tell.
    pub(crate) fn list_devices(&self, domain: DomId, kind: DeviceKind) -> Done<Vec<Device>> {
        self.info(domain)?;
        let names = self.env.registry().directory(&nodes::frontends(domain, kind));
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let describe = |number| self.describe_device(DeviceId { domain, kind, number });
        Ok(numbers.into_iter().map(describe).collect())
    }

    fn describe_device(&self, id: DeviceId) -> Device {
        let (path, number) = (nodes::frontend(id), id.number);
        let registry = self.env.registry();
        let small = |name: &str| numeric::<u32>(registry, &format!("{path}/{name}"));
        let text = |name: &str| {
            let value = registry.read(&format!("{path}/{name}")).unwrap_or_default();
            String::from_utf8_lossy(&value).into_owned()
        };
        let rings = ["ring-ref", "tx-ring-ref", "rx-ring-ref"];
        Device {
            number,
            backend: numeric(registry, &format!("{path}/backend-id")).unwrap_or(DOM0),
            handle: small("handle").unwrap_or(number),
            state: small("state").unwrap_or(0),
            port: small("event-channel"),
            rings: rings.into_iter().filter_map(small).collect(),
            mac: text("mac"),
            backend_path: text("backend"),
        }
    }
}

/// Why a domain stopped, if it did.
pub(crate) fn reason(info: &GetDomainInfo) -> Option<Reason> {
    if info.flags & DomainFlags::SHUTDOWN.bits() == 0 {
        return None;
    }
    let code = info.flags >> SHUTDOWN_SHIFT & SHUTDOWN_MASK;
    Some(match ShutdownReason::new(code) {
        Some(ShutdownReason::Poweroff) => Reason::Poweroff,
        Some(ShutdownReason::Reboot) => Reason::Reboot,
        Some(ShutdownReason::Suspend) => Reason::Suspend,
        Some(ShutdownReason::Crash) => Reason::Crash,
        Some(ShutdownReason::Watchdog) => Reason::Watchdog,
        Some(ShutdownReason::SoftReset) => Reason::SoftReset,
        None => Reason::Other(u8::try_from(code).unwrap_or(u8::MAX)),
    })
}

/// A node's value as a number.
pub(crate) fn number(registry: &impl Registry, path: &str) -> Option<u64> {
    numeric(registry, path)
}

fn numeric<T: core::str::FromStr>(registry: &impl Registry, path: &str) -> Option<T> {
    String::from_utf8(registry.read(path)?).ok()?.trim().parse().ok()
}

/// The numbers of the bits that are set.
pub(crate) fn numbers(bits: u64) -> Vec<u32> {
    (0..u64::BITS).filter(|bit| bits >> bit & 1 != 0).collect()
}

/// The words before a NUL.
fn words(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn scheduler_name(number: u32) -> &'static str {
    match Scheduler::new(number) {
        Some(Scheduler::Credit) => "credit",
        Some(Scheduler::Credit2) => "credit2",
        Some(Scheduler::Arinc653) => "arinc653",
        Some(Scheduler::Rtds) => "rtds",
        Some(Scheduler::Null) => "null",
        None => "unknown",
    }
}

/// What the hypervisor tells; the rest is the caller's.
fn host_of(about: &About, info: &PhysInfo) -> Host {
    let kib = |pages: u64| pages.saturating_mul(PAGE_KIB);
    let compiled = &about.compiled;
    Host {
        nodes: info.nr_nodes,
        pcpus: info.nr_cpus,
        max_pcpu: info.max_cpu_id,
        cores_per_socket: info.cores_per_socket,
        threads_per_core: info.threads_per_core,
        cpu_khz: info.cpu_khz.into(),
        hw_caps: info.hw_cap,
        virt_caps: virt_caps(info.capabilities),
        total_kib: kib(info.total_pages),
        free_kib: kib(info.free_pages),
        outstanding_kib: kib(info.outstanding_pages),
        scrub_kib: kib(info.scrub_pages),
        version: about.version,
        extra_version: words(&about.extra_version),
        capabilities: words(&about.capabilities),
        page_size: about.page_size,
        virt_start: about.virt_start,
        changeset: words(&about.changeset),
        command_line: words(&about.command_line),
        compiled: [
            words(&compiled.compiler),
            words(&compiled.compile_by),
            words(&compiled.compile_domain),
            words(&compiled.compile_date),
        ],
        build_id: about.build_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        ..Host::default()
    }
}

/// Capabilities in the words and the order of `xl info`.
fn virt_caps(capabilities: u32) -> String {
    let names = [
        (PhysCap::PV, "pv"),
        (PhysCap::HVM, "hvm"),
        (PhysCap::DIRECTIO, "hvm_directio"),
        (PhysCap::HAP, "hap"),
        (PhysCap::SHADOW, "shadow"),
        (PhysCap::IOMMU_HAP_PT_SHARE, "iommu_hap_pt_share"),
        (PhysCap::VMTRACE, "vmtrace"),
        (PhysCap::VPMU, "vpmu"),
        (PhysCap::GNTTAB_V1, "gnttab-v1"),
        (PhysCap::GNTTAB_V2, "gnttab-v2"),
    ];
    let has = |capability: PhysCap| capabilities & capability.bits() != 0;
    let present: Vec<_> = names.iter().filter(|(bit, _)| has(*bit)).map(|(_, name)| *name).collect();
    present.join(" ")
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use pollster::block_on;
    use xl::toolstack::Toolstack;

    use super::*;
    use crate::testing::{World, config};

    #[test]
    fn the_machine_is_described() {
        let world = World::new();
        let host = Manager::new(&world).unwrap().host().unwrap();
        assert_eq!((host.pcpus, host.nodes, host.page_size), (4, 1, 4096));
        assert_eq!((host.version, host.extra_version.as_str()), ((4, 20), ".0-k"));
        assert_eq!((host.virt_caps.as_str(), host.scheduler.as_str()), ("hvm hvm_directio", "credit"));
        assert_eq!((host.total_kib, host.build_id.as_str()), (4 << 20, "ab01"));
    }

    #[test]
    fn the_pool_has_all_that_there_is() {
        let world = World::new();
        let pools = Manager::new(&world).unwrap().pools().unwrap();
        let scheduler = String::from("credit");
        let pool = Pool { name: String::from("Pool-0"), scheduler, domains: 1, pcpus: vec![0, 1, 2, 3] };
        assert_eq!(pools, [pool]);
    }

    #[test]
    fn pcpus_that_are_offline_are_nowhere() {
        let world = World::new();
        let topology = Manager::new(&world).unwrap().topology().unwrap();
        let places: Vec<_> = topology.pcpus.iter().map(|pcpu| (pcpu.number, pcpu.core)).collect();
        assert_eq!(places, [(0, 0), (1, 1), (3, 3)]);
        let node = Node { number: 0, total_kib: 4 << 20, free_kib: 1 << 20, distances: vec![10] };
        assert_eq!(topology.nodes, [node]);
    }

    #[test]
    fn the_log_is_read_whole_and_cleared() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let text: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        world.hypervisor_log.borrow_mut().extend(&text);
        assert_eq!(manager.log(false).unwrap(), text);
        assert_eq!(manager.log(true).unwrap(), text);
        assert_eq!(manager.log(false).unwrap(), b"");
    }

    #[test]
    fn devices_are_read_from_xenstore() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let id = block_on(manager.create(config("a"), false)).unwrap();
        assert_eq!(manager.nets(id).unwrap(), vec![]);
        let path = |name: &str| format!("/local/domain/{id}/device/vif/0/{name}");
        world.set(&path("mac"), "00:16:3e:00:00:01");
        world.set(&path("state"), "4");
        world.set(&path("tx-ring-ref"), "8");
        world.set(&path("rx-ring-ref"), "9");
        world.set(&path("event-channel"), "no number");
        let nets = manager.nets(id).unwrap();
        assert_eq!((nets[0].state, nets[0].port, &nets[0].rings[..]), (4, None, &[8, 9][..]));
        assert_eq!(nets[0].mac, "00:16:3e:00:00:01");
        assert!(manager.disks(9).is_err());
    }

    #[test]
    fn a_domain_is_as_old_as_its_start() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let id = block_on(manager.create(config("a"), false)).unwrap();
        world.now_ms.set(world.now_ms.get() + 5000);
        assert_eq!(manager.uptime_ns(id), Some(5_000_000_000));
        assert_eq!(manager.uptime_ns(0), Some(6_000_000_000));
        assert_eq!(manager.uptime_ns(9), None);
    }
}
