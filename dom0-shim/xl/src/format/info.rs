//! `xl info`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::toolstack::{Host, Topology};

/// Release of Dom0's kernel, which is this shell's.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The keys and what they are, in their order.
pub(crate) fn entries(host: &Host) -> Vec<(&'static str, String)> {
    let mut entries = node(host);
    entries.extend(physical(host));
    entries.extend(hypervisor(host));
    entries
}

/// A key's line.
pub(crate) fn line((key, value): &(&str, String)) -> String {
    format!("{key:<23}: {value}")
}

fn node(host: &Host) -> Vec<(&'static str, String)> {
    alloc::vec![
        ("host", host.hostname.clone()),
        ("release", RELEASE.into()),
        ("version", "Kigumi dom0-shim".into()),
        ("machine", "x86_64".into()),
    ]
}

fn physical(host: &Host) -> Vec<(&'static str, String)> {
    let number = |number: u32| format!("{number}");
    let mib = |kib: u64| format!("{}", kib / 1024);
    let caps: Vec<String> = host.hw_caps.iter().map(|caps| format!("{caps:08x}")).collect();
    alloc::vec![
        ("nr_cpus", number(host.pcpus)),
        ("max_cpu_id", number(host.max_pcpu)),
        ("nr_nodes", number(host.nodes)),
        ("cores_per_socket", number(host.cores_per_socket)),
        ("threads_per_core", number(host.threads_per_core)),
        ("cpu_mhz", format!("{}.{:03}", host.cpu_khz / 1000, host.cpu_khz % 1000)),
        ("hw_caps", caps.join(":")),
        ("virt_caps", host.virt_caps.clone()),
        ("total_memory", mib(host.total_kib)),
        ("free_memory", mib(host.free_kib.saturating_sub(host.outstanding_kib))),
        // Neither pages are shared nor are there pcpus outside of Pool-0.
        ("sharing_freed_memory", number(0)),
        ("sharing_used_memory", number(0)),
        ("outstanding_claims", mib(host.outstanding_kib)),
        ("free_cpus", number(0)),
    ]
}

fn hypervisor(host: &Host) -> Vec<(&'static str, String)> {
    let (major, minor) = host.version;
    let [compiler, by, domain, date] = host.compiled.clone();
    alloc::vec![
        ("xen_major", format!("{major}")),
        ("xen_minor", format!("{minor}")),
        ("xen_extra", host.extra_version.clone()),
        ("xen_version", format!("{major}.{minor}{}", host.extra_version)),
        ("xen_caps", host.capabilities.clone()),
        ("xen_scheduler", host.scheduler.clone()),
        ("xen_pagesize", format!("{}", host.page_size)),
        ("platform_params", format!("virt_start=0x{:x}", host.virt_start)),
        ("xen_changeset", host.changeset.clone()),
        ("xen_commandline", host.command_line.clone()),
        ("cc_compiler", compiler),
        ("cc_compile_by", by),
        ("cc_compile_domain", domain),
        ("cc_compile_date", date),
        ("build_id", host.build_id.clone()),
        ("xend_config_format", "4".into()),
    ]
}

/// What `-n` adds.
pub(crate) fn topology(topology: &Topology) -> String {
    let mut text = String::from("cpu_topology           :\ncpu:    core    socket     node\n");
    for cpu in &topology.pcpus {
        text += &format!("{:>3}:    {:>4}     {:>4}     {:>4}\n", cpu.number, cpu.core, cpu.socket, cpu.node);
    }
    text += "device topology        :\ndevice           node\nNo device topology data available\n";
    text += "numa_info              :\nnode:    memsize    memfree    distances\n";
    for node in &topology.nodes {
        let distances: Vec<String> = node.distances.iter().map(|distance| format!("{distance}")).collect();
        let (size, free) = (node.total_kib / 1024, node.free_kib / 1024);
        text += &format!("{:>4}:    {size:>6}     {free:>6}      {}\n", node.number, distances.join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::testing::host;
    use crate::toolstack::{Node, Pcpu};

    #[test]
    fn keys_are_xls() {
        let lines: Vec<String> = entries(&host()).iter().map(line).collect();
        let release = format!("release                : {RELEASE}");
        assert_eq!(
            lines,
            [
                "host                   : dom0",
                &release,
                "version                : Kigumi dom0-shim",
                "machine                : x86_64",
                "nr_cpus                : 4",
                "max_cpu_id             : 3",
                "nr_nodes               : 1",
                "cores_per_socket       : 2",
                "threads_per_core       : 1",
                "cpu_mhz                : 1995.007",
                "hw_caps                : 00000001:00000002:00000003:00000004:00000005:00000006:00000007:00000008",
                "virt_caps              : hvm hap gnttab-v1",
                "total_memory           : 8190",
                "free_memory            : 5042",
                "sharing_freed_memory   : 0",
                "sharing_used_memory    : 0",
                "outstanding_claims     : 1",
                "free_cpus              : 0",
                "xen_major              : 4",
                "xen_minor              : 22",
                "xen_extra              : -kigumi",
                "xen_version            : 4.22-kigumi",
                "xen_caps               : hvm-3.0-x86_32 hvm-3.0-x86_64",
                "xen_scheduler          : credit",
                "xen_pagesize           : 4096",
                "platform_params        : virt_start=0xffff800000000000",
                "xen_changeset          : abc",
                "xen_commandline        : console=com1",
                "cc_compiler            : rustc",
                "cc_compile_by          : someone",
                "cc_compile_domain      : somewhere",
                "cc_compile_date        : today",
                "build_id               : 1234",
                "xend_config_format     : 4",
            ]
        );
    }

    #[test]
    fn topology_is_in_xls_tables() {
        let one = Topology {
            pcpus: vec![
                Pcpu { number: 0, core: 0, socket: 0, node: 0 },
                Pcpu { number: 1, core: 1, socket: 0, node: 0 },
            ],
            nodes: vec![Node {
                number: 0,
                total_kib: 8_387_576,
                free_kib: 5_164_600,
                distances: vec![10, 20],
            }],
        };
        assert_eq!(
            topology(&one),
            "cpu_topology           :\n\
             cpu:    core    socket     node\n  \
             0:       0        0        0\n  \
             1:       1        0        0\n\
             device topology        :\n\
             device           node\n\
             No device topology data available\n\
             numa_info              :\n\
             node:    memsize    memfree    distances\n   \
             0:      8190       5043      10,20\n"
        );
    }
}
