//! The machine: CPUs, memory, where both are.

use hv_arch::{frames, smp, time};
use hv_core::addr::PAGE_SIZE;
use hv_core::id::PcpuId;
use xen_abi::errno::Errno;
use xen_abi::sysctl::{
    AvailHeap, CpuInfo, CpuTopo, CpuTopoInfo, GetCpuInfo, INVALID_CORE_ID, INVALID_NODE_ID,
    INVALID_SOCKET_ID, MemInfo, NumaInfo, PhysCap, PhysInfo,
};
use zerocopy::FromZeros;

use super::Request;
use super::policy;
use crate::hypercall::Reply;
use crate::{cpuid, domain_memory, init, pcpu};

/// Distance of a NUMA node to itself (ACPI "System Locality Information Table").
const LOCAL: u32 = 10;

/// One past the highest pcpu that is online.
fn pcpu_count() -> u32 {
    smp::online().last().and_then(|last| u32::try_from(last.index() + 1).ok()).unwrap_or(1)
}

/// Where the bits of a core and a package begin in an APIC id, and how many threads a
/// core and a package have (SDM "CPUID", leaf 0BH; leaf 1 where there is none).
struct Topology {
    core_shift: u32,
    package_shift: u32,
    threads: u32,
    logical: u32,
}

impl Topology {
    fn new() -> Self {
        const SHIFT: u32 = 0x1f;
        const COUNT: u32 = 0xffff;
        const HTT: u32 = 1 << 28;
        let (core, package) = (cpuid::host_leaf(0xb, 0), cpuid::host_leaf(0xb, 1));
        if cpuid::host_leaf(0, 0).eax >= 0xb && package.ebx & COUNT != 0 {
            let threads = (core.ebx & COUNT).max(1);
            return Self {
                core_shift: core.eax & SHIFT,
                package_shift: package.eax & SHIFT,
                threads,
                logical: package.ebx & COUNT,
            };
        }
        let basic = cpuid::host_leaf(1, 0);
        let logical = if basic.edx & HTT != 0 { (basic.ebx >> 16 & 0xff).max(1) } else { 1 };
        Self {
            core_shift: 0,
            package_shift: logical.next_power_of_two().trailing_zeros(),
            threads: 1,
            logical,
        }
    }
}

/// `physinfo`
///
/// | | |
/// |---|---|
/// | Out | `xen_sysctl_physinfo` |
pub fn physinfo(request: &Request<'_, '_, '_>) -> Reply {
    let topology = Topology::new();
    let memory = frames::counts();
    let host = policy::host_words();
    let mut info = PhysInfo {
        threads_per_core: topology.threads,
        cores_per_socket: (topology.logical / topology.threads).max(1),
        nr_cpus: u32::try_from(smp::online().count()).unwrap_or(u32::MAX),
        max_cpu_id: pcpu_count() - 1,
        nr_nodes: 1,
        max_node_id: 0,
        cpu_khz: u32::try_from(time::tsc_hz() / 1_000).unwrap_or(u32::MAX),
        capabilities: (PhysCap::HVM | PhysCap::HAP | PhysCap::GNTTAB_V1).bits(),
        total_pages: init::memory_map().usable_bytes() / PAGE_SIZE,
        free_pages: memory.free(),
        scrub_pages: memory.dirty + memory.scrubbing,
        outstanding_pages: domain_memory::all_claims(),
        max_mfn: frames::end().get().saturating_sub(1),
        ..PhysInfo::new_zeroed()
    };
    info.hw_cap.iter_mut().zip(host).for_each(|(to, from)| *to = from);
    request.answer(&info)
}

/// `getcpuinfo`
///
/// | | |
/// |---|---|
/// | In | room |
/// | Out | idle time of each pcpu in ns; how many |
pub fn cpu_info(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<GetCpuInfo>();
    argument.nr_cpus = argument.max_cpus.min(pcpu_count());
    for index in 0..argument.nr_cpus {
        request.set_item(
            argument.info,
            index,
            &CpuInfo { idletime: pcpu_at(index).map_or(0, pcpu::idle_time) },
        )?;
    }
    request.answer(&argument)
}

fn pcpu_at(index: u32) -> Option<PcpuId> {
    usize::try_from(index).ok().and_then(PcpuId::new)
}

/// `availheap`
///
/// | | |
/// |---|---|
/// | In | node, -1 for any; widths of addresses, 0 for any |
/// | Out | free bytes |
/// | Errors | `EOPNOTSUPP` for some widths only |
pub fn available(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<AvailHeap>();
    let any_width = argument.min_bitwidth == 0
        && (argument.max_bitwidth == 0 || argument.max_bitwidth >= u32::from(hv_arch::cpu::phys_bits()));
    if !any_width {
        return Err(Errno::EOPNOTSUPP);
    }
    let is_here = matches!(argument.node, -1 | 0);
    argument.avail_bytes = if is_here { frames::counts().free() * PAGE_SIZE } else { 0 };
    request.answer(&argument)
}

/// `cputopoinfo`
///
/// | | |
/// |---|---|
/// | In | room, or no list |
/// | Out | core, socket and node of each pcpu; how many |
pub fn cpu_topology(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<CpuTopoInfo>();
    let count = pcpu_count();
    if argument.cputopo.is_null() {
        argument.num_cpus = count;
        return request.answer(&argument);
    }
    argument.num_cpus = argument.num_cpus.min(count);
    let topology = Topology::new();
    for index in 0..argument.num_cpus {
        request.set_item(argument.cputopo, index, &place(&topology, index))?;
    }
    request.answer(&argument)
}

fn place(topology: &Topology, index: u32) -> CpuTopo {
    let Some(apic_id) = pcpu_at(index).and_then(smp::apic_id) else {
        return CpuTopo { core: INVALID_CORE_ID, socket: INVALID_SOCKET_ID, node: INVALID_NODE_ID };
    };
    let socket = apic_id.get() >> topology.package_shift;
    let in_socket = apic_id.get() - (socket << topology.package_shift);
    CpuTopo { core: in_socket >> topology.core_shift, socket, node: 0 }
}

/// `numainfo`: one node.
///
/// | | |
/// |---|---|
/// | In | room, or no lists |
/// | Out | memory and distances of each node; how many |
pub fn numa(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<NumaInfo>();
    if argument.meminfo.is_null() && argument.distance.is_null() {
        argument.num_nodes = 1;
        return request.answer(&argument);
    }
    argument.num_nodes = argument.num_nodes.min(1);
    if argument.num_nodes == 1 {
        if !argument.meminfo.is_null() {
            let memory = MemInfo {
                memsize: init::memory_map().usable_bytes(),
                memfree: frames::counts().free() * PAGE_SIZE,
            };
            request.set_item(argument.meminfo, 0, &memory)?;
        }
        if !argument.distance.is_null() {
            request.set_item(argument.distance, 0, &LOCAL)?;
        }
    }
    request.answer(&argument)
}
