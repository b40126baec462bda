//! CPUID says that there is a hypervisor, and hides VMX, SMX and what else guests do not
//! get.

use guest_rt::cpu;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "cpuid-shows-only-what-works",
    description: "CPUID says that there is a hypervisor, and hides VMX, SMX and what else guests do not get.",
    covers: &["LIF-30", "CPU-01"],
    needs: &[],
    kind: Kind::Both(run),
};

/// VMX, SMX, EIST, TM2, PDCM in ECX of leaf 1; thermal monitors and debug store in EDX.
const HIDDEN: (u32, u32) = (1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 15, 1 << 21 | 1 << 22 | 1 << 29);

fn run(_: &Guest) -> Check {
    let features = cpu::cpuid(1, 0);
    ensure!(features.ecx & 1 << 31 != 0, "no hypervisor bit");
    ensure_eq!(features.ecx & HIDDEN.0, 0, "ECX of leaf 1");
    ensure_eq!(features.edx & HIDDEN.1, 0, "EDX of leaf 1");
    // FPU, PSE, TSC, MSR, PAE, CX8, APIC, PGE, CMOV, PAT, FXSR, SSE, SSE2.
    let needed = 0x0781_a379;
    ensure_eq!(features.edx & needed, needed, "features of every 64-bit CPU");
    let monitor = cpu::cpuid(5, 0);
    ensure_eq!([monitor.eax, monitor.ebx, monitor.ecx, monitor.edx], [0; 4], "MONITOR");
    let counters = cpu::cpuid(0xa, 0);
    ensure_eq!([counters.eax, counters.ebx, counters.ecx, counters.edx], [0; 4], "performance counters");
    Ok(())
}
