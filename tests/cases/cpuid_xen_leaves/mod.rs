//! The hypervisor shows itself by the CPUID leaves of Xen 4.17.

use guest_rt::{cpu, hypercall};
use xen_abi::cpuid;
use xen_abi::version::VersionOp;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "cpuid-xen-leaves",
    description: "The hypervisor shows itself by the CPUID leaves of Xen 4.17.",
    covers: &["LIF-01"],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    let first = cpu::cpuid(cpuid::FIRST_LEAF, 0);
    let signature = [cpuid::SIGNATURE_EBX, cpuid::SIGNATURE_ECX, cpuid::SIGNATURE_EDX];
    ensure_eq!([first.ebx, first.ecx, first.edx], signature, "signature");
    ensure!(first.eax >= cpuid::FIRST_LEAF + 4, "last leaf {:#x}", first.eax);
    let version = u64::from(cpu::cpuid(cpuid::FIRST_LEAF + 1, 0).eax);
    ensure_eq!(version, 4 << 16 | 17, "version");
    ensure_eq!(hypercall::xen_version(VersionOp::Version, &mut ())?, version, "xen_version");
    let pages = cpu::cpuid(cpuid::FIRST_LEAF + 2, 0);
    ensure_eq!((pages.eax, pages.ebx), (1, 0x4000_0000), "hypercall pages and their MSR");
    ensure!(cpu::cpuid(cpuid::FIRST_LEAF + 3, 0).ecx > 1_000, "no TSC frequency");
    let ids = cpu::cpuid(cpuid::FIRST_LEAF + 4, 0);
    ensure_eq!(ids.ebx, 0, "vcpu id");
    ensure_eq!(ids.eax & 0x18, 0x18, "ids are present");
    Ok(())
}
