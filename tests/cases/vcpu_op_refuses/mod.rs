//! vcpu_op refuses vcpus, operations, registers and pointers that there are not.

use alloc::format;

use guest_rt::hypercall;
use xen_abi::errno::Errno;
use xen_abi::hvm_vcpu::{VcpuHvmContext, VcpuHvmMode, VcpuHvmRegs, VcpuHvmX86_64};
use xen_abi::vcpu::VcpuOp;
use zerocopy::FromZeros;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "vcpu-op-refuses",
    description: "vcpu_op refuses vcpus, operations, registers and pointers that there are not.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(2), run),
};

const VCPU_OP: u64 = 24;

fn run(_: &Guest) -> Check {
    for vcpu in [2, 31, 32, 127, 8192, u64::from(u32::MAX)] {
        for op in [0, 1, 2, 3, 4, 5, 10] {
            expect::errno(raw(op, vcpu, 0), Errno::ENOENT, &format!("operation {op} on vcpu {vcpu}"))?;
        }
    }
    for op in [14, 64, u64::from(u32::MAX)] {
        expect::errno(raw(op, 0, 0), Errno::ENOSYS, &format!("operation {op}"))?;
    }
    expect::errno(raw(1, 1, 0), Errno::EINVAL, "up without registers")?;
    expect::errno(raw(0, 0, 0), Errno::EEXIST, "registers for a vcpu that runs")?;
    for pointer in expect::BAD_POINTERS {
        for (op, vcpu) in [(0, 1), (4, 0), (5, 0), (8, 0), (10, 0)] {
            let what = format!("operation {op} with {pointer:#x}");
            expect::errno(raw(op, vcpu, pointer), Errno::EFAULT, &what)?;
        }
    }
    bad_registers()
}

/// Registers with which no CPU could start.
fn bad_registers() -> Check {
    let good = VcpuHvmX86_64 {
        cr0: 0x8005_0033,
        cr3: 0x1000,
        cr4: 0x20,
        efer: 0x500,
        rflags: 2,
        rip: 0x20_0000,
        ..VcpuHvmX86_64::new_zeroed()
    };
    let bad = [
        ("CR0 with a reserved bit", VcpuHvmX86_64 { cr0: good.cr0 | 1 << 40, ..good }),
        ("CR4 with VMXE and a reserved bit", VcpuHvmX86_64 { cr4: 1 << 13 | 1 << 40, ..good }),
        ("EFER with a reserved bit", VcpuHvmX86_64 { efer: u64::MAX, ..good }),
        ("long mode without PAE", VcpuHvmX86_64 { cr4: 0, ..good }),
        ("CR3 beyond the address width", VcpuHvmX86_64 { cr3: 1 << 60, ..good }),
    ];
    for (what, registers) in bad {
        let mut context =
            VcpuHvmContext { mode: VcpuHvmMode::Bits64.get(), pad: 0, cpu_regs: VcpuHvmRegs::of(&registers) };
        let answer = hypercall::vcpu_op(VcpuOp::Initialise, 1, &mut context);
        ensure_eq!(answer, Err(Errno::EINVAL), "{what}");
    }
    let mut context = VcpuHvmContext { mode: 2, pad: 0, cpu_regs: VcpuHvmRegs::of(&good) };
    ensure_eq!(hypercall::vcpu_op(VcpuOp::Initialise, 1, &mut context), Err(Errno::EINVAL), "mode 2");
    Ok(())
}

fn raw(op: u64, vcpu: u64, pointer: u64) -> i64 {
    hypercall::raw(VCPU_OP, [op, vcpu, pointer, 0, 0])
}
