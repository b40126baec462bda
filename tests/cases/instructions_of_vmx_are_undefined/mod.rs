//! The instructions of VMX, SMX and SMM raise #UD.

use guest_rt::cpu;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "instructions-of-vmx-are-undefined",
    description: "The instructions of VMX, SMX and SMM raise #UD.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Both(run),
};

type Instruction = (&'static str, fn() -> cpu::Outcome);

fn run(_: &Guest) -> Check {
    let instructions: [Instruction; 14] = [
        ("VMXON", cpu::vmxon),
        ("VMXOFF", cpu::vmxoff),
        ("VMCLEAR", cpu::vmclear),
        ("VMPTRLD", cpu::vmptrld),
        ("VMPTRST", cpu::vmptrst),
        ("VMREAD", cpu::vmread),
        ("VMWRITE", cpu::vmwrite),
        ("VMLAUNCH", cpu::vmlaunch),
        ("VMRESUME", cpu::vmresume),
        ("VMFUNC", cpu::vmfunc),
        ("INVEPT", cpu::invept),
        ("INVVPID", cpu::invvpid),
        ("GETSEC", cpu::getsec),
        ("RSM", cpu::rsm),
    ];
    instructions.into_iter().try_for_each(|(name, run)| expect::undefined(run(), name))
}
