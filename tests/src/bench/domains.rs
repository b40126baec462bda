//! Domains: the time to build one, the memory that it costs the hypervisor.

use guest_rt::cpu;

use super::Samples;
use crate::cases::domain_memory_held;
use crate::controller::Controller;
use crate::test::Shape;
use crate::verdict::Check;

/// Ticks to build a domain of `mib` MiB with this kernel, out of scrubbed memory: once, as it
/// takes long until the memory is scrubbed again.
pub(super) fn create(controller: &Controller, mib: u64) -> Check<Samples> {
    let start = cpu::rdtsc();
    let domain = controller.spawn("start-info", "", Shape { vcpus: 1, mib })?;
    let ticks = cpu::rdtsc() - start;
    domain.destroy()?;
    Ok(Samples([ticks].into()))
}

/// KiB that the hypervisor holds for an idle domain of 64 MiB.
pub(super) fn memory_held(controller: &Controller) -> Check<Samples> {
    domain_memory_held::held(controller).map(|kib| Samples([kib].into()))
}
