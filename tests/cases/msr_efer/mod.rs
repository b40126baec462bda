//! EFER tells that long mode is on, takes SCE and NXE, and refuses the rest.

use alloc::format;

use guest_rt::cpu;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "msr-efer",
    description: "EFER tells that long mode is on, takes SCE and NXE, and refuses the rest.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const EFER: u32 = 0xc000_0080;
const SCE: u64 = 1 << 0;
const LME: u64 = 1 << 8;
const LMA: u64 = 1 << 10;
const NXE: u64 = 1 << 11;

fn run(_: &Guest) -> Check {
    let before = cpu::rdmsr(EFER)?;
    ensure_eq!(before & (LME | LMA), LME | LMA, "long mode");
    for bits in [SCE, NXE, SCE | NXE, 0] {
        cpu::wrmsr(EFER, before & !(SCE | NXE) | bits)?;
        ensure_eq!(cpu::rdmsr(EFER)? & (SCE | NXE), bits, "SCE and NXE");
    }
    expect::protection(cpu::wrmsr(EFER, before & !LME), "LME cleared while paging is on")?;
    for bit in [1, 2, 9, 16, 40, 63] {
        expect::protection(cpu::wrmsr(EFER, before | 1 << bit), &format!("bit {bit}"))?;
    }
    ensure_eq!(cpu::rdmsr(EFER)?, before & !(SCE | NXE), "EFER after all");
    Ok(cpu::wrmsr(EFER, before)?)
}
