//! XSETBV takes what CPUID shows, and nothing else.

use alloc::format;

use guest_rt::cpu;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "xsetbv",
    description: "XSETBV takes what CPUID shows, and nothing else.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const OSXSAVE: u64 = 1 << 18;

fn run(_: &Guest) -> Check {
    if cpu::cpuid(1, 0).ecx & 1 << 26 == 0 {
        skip!("no XSAVE");
    }
    cpu::change_cr4(0, OSXSAVE)?;
    expect::undefined(cpu::xsetbv(0, 1), "XSETBV without OSXSAVE")?;
    cpu::change_cr4(OSXSAVE, 0)?;
    let leaf = cpu::cpuid(0xd, 0);
    let shown = u64::from(leaf.edx) << 32 | u64::from(leaf.eax);
    let first = cpu::xgetbv(0)?;
    for value in [1, 3 & shown, shown, first] {
        cpu::xsetbv(0, value)?;
        ensure_eq!(cpu::xgetbv(0)?, value, "XCR0");
    }
    // Without x87; AVX without SSE; a component that CPUID does not show; no such register.
    let hidden = 1 << 62;
    for (register, value) in [(0, 0), (0, 2), (0, 5), (0, shown | hidden), (1, 1), (u32::MAX, 1)] {
        expect::protection(cpu::xsetbv(register, value), &format!("XCR{register} = {value:#x}"))?;
    }
    ensure_eq!(cpu::xgetbv(0)?, first, "XCR0 after faults");
    Ok(cpu::change_cr4(0, OSXSAVE)?)
}
