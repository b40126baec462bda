//! A hypercall changes RAX only: VMCALL leaves the callee-saved and the vector registers
//! alone.

use guest_rt::{cpu, hypercall};
use xen_abi::version::VersionOp;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hypercalls-keep-registers",
    description: "A hypercall changes RAX only: VMCALL leaves the callee-saved and the vector registers alone.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    for value in [0x0123_4567_89ab_cdef, u64::MAX] {
        let after = cpu::xmm_after(value, || {
            let _ = hypercall::xen_version(VersionOp::Version, &mut ());
            hypercall::yield_now();
            let _ = cpu::cpuid(0, 0);
        })?;
        ensure_eq!(after, value, "XMM7");
    }
    Ok(())
}
