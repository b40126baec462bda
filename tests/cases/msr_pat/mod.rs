//! IA32_PAT has its reset value, takes memory types and refuses others.

use alloc::format;

use guest_rt::cpu;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "msr-pat",
    description: "IA32_PAT has its reset value, takes memory types and refuses others.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const PAT: u32 = 0x277;
const RESET: u64 = 0x0007_0406_0007_0406;

fn run(_: &Guest) -> Check {
    ensure_eq!(cpu::rdmsr(PAT)?, RESET, "after reset");
    // The entries that are in use, 0 and 2, stay write-back and strong.
    let other = 0x0500_0406_0007_0406;
    cpu::wrmsr(PAT, other)?;
    ensure_eq!(cpu::rdmsr(PAT)?, other, "written");
    for bad in [2, 3, 8, 0xff] {
        let value = RESET & !(0xff << 56) | bad << 56;
        expect::protection(cpu::wrmsr(PAT, value), &format!("type {bad}"))?;
    }
    Ok(cpu::wrmsr(PAT, RESET)?)
}
