//! STAR, LSTAR, CSTAR, SFMASK, SYSENTER and the segment bases keep what the guest writes;
//! addresses must be canonical.

use alloc::format;
use alloc::vec::Vec;

use guest_rt::{cpu, hypercall};

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "msr-of-system-calls",
    description: "STAR, LSTAR, CSTAR, SFMASK, SYSENTER and the segment bases keep what the guest writes; addresses must be canonical.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const ANY: [u32; 3] = [0xc000_0081, 0xc000_0084, 0x174];
const ADDRESSES: [u32; 7] = [0xc000_0082, 0xc000_0083, 0xc000_0100, 0xc000_0101, 0xc000_0102, 0x175, 0x176];
const PATTERN: u64 = 0xffff_8765_4321_1234;

fn run(_: &Guest) -> Check {
    let mut saved = Vec::new();
    for (n, msr) in (0..).zip(ANY.into_iter().chain(ADDRESSES)) {
        saved.push((msr, cpu::rdmsr(msr)?));
        cpu::wrmsr(msr, value(msr, n))?;
    }
    // An exit in between: what the CPU held for the guest comes back.
    let _ = cpu::cpuid(0, 0);
    hypercall::yield_now();
    for (n, msr) in (0..).zip(ANY.into_iter().chain(ADDRESSES)) {
        ensure_eq!(cpu::rdmsr(msr)?, value(msr, n), "MSR {msr:#x}");
    }
    for msr in ADDRESSES {
        expect::protection(cpu::wrmsr(msr, 1 << 63), &format!("MSR {msr:#x}, not canonical"))?;
    }
    for (msr, value) in saved {
        cpu::wrmsr(msr, value)?;
    }
    Ok(())
}

/// Different for each; SFMASK and SYSENTER_CS have 32 bits.
fn value(msr: u32, n: u64) -> u64 {
    if matches!(msr, 0xc000_0084 | 0x174) { n + 0x1230 } else { PATTERN + n }
}
