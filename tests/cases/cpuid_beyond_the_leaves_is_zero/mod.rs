//! Leaves that the policy does not list read as zero, also where a second hypervisor
//! would be looked for.

use guest_rt::cpu;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "cpuid-beyond-the-leaves-is-zero",
    description: "Leaves that the policy does not list read as zero, also where a second hypervisor would be looked for.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    let beyond = [0x20, 0x1234_5678, 0x4000_0100, 0x4000_ff00, 0x8000_0020, 0xc000_0000, u32::MAX];
    for leaf in beyond {
        for subleaf in [0, 1, u32::MAX] {
            let regs = cpu::cpuid(leaf, subleaf);
            ensure_eq!(
                [regs.eax, regs.ebx, regs.ecx, regs.edx],
                [0; 4],
                "leaf {leaf:#x} sub-leaf {subleaf:#x}"
            );
        }
    }
    Ok(())
}
