//! Domains: the time to build one, the memory that it costs the hypervisor.

use alloc::vec::Vec;

use guest_rt::cpu;

use super::{Samples, settle};
use crate::cases::domain_memory_held;
use crate::controller::Controller;
use crate::test::Shape;
use crate::verdict::Check;

/// Builds of each size.
const ROUNDS: usize = 3;

/// Ticks to build a domain of `mib` MiB with this kernel, out of scrubbed memory.
pub(super) fn create(controller: &Controller, mib: u64) -> Check<Samples> {
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        settle(controller)?;
        let start = cpu::rdtsc();
        let domain = controller.spawn("start-info", "", Shape { vcpus: 1, mib })?;
        samples.push(cpu::rdtsc() - start);
        domain.destroy()?;
    }
    Ok(Samples(samples))
}

/// KiB that the hypervisor holds for an idle domain of 64 MiB.
pub(super) fn memory_held(controller: &Controller) -> Check<Samples> {
    domain_memory_held::held(controller).map(|kib| Samples([kib].into()))
}
