//! With CR0.TS set the FPU raises #NM; CLTS ends that.

use guest_rt::cpu::{self, Control};
use guest_rt::trap::Fault;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "fpu-not-available",
    description: "With CR0.TS set the FPU raises #NM; CLTS ends that.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const TS: u64 = 1 << 3;

fn run(_: &Guest) -> Check {
    cpu::fpu()?;
    cpu::change_cr0(TS, 0);
    expect::fault(cpu::fpu(), Fault::DEVICE_NOT_AVAILABLE, 0, "FPU with TS")?;
    ensure!(cpu::control(Control::Cr0) & TS != 0, "TS is gone");
    cpu::clts()?;
    ensure!(cpu::control(Control::Cr0) & TS == 0, "TS after CLTS");
    Ok(cpu::fpu()?)
}
