//! What a vcpu's runstate counts as runnable is the time that another one had its pcpu.

use guest_rt::{clock, hypercall, println, trap};
use xen_abi::vcpu::{VcpuOp, VcpuRunstateInfo};
use zerocopy::FromZeros;

use crate::controller::{Controller, LIMIT_MS};
use crate::guest::Guest;
use crate::sched::{self, Load, SLICE_MS, Stage};
use crate::test::{Kind, Need, Test};
use crate::timing::{MS, sleep_ms};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "sched-steal-time",
    description: "What a vcpu's runstate counts as runnable is the time that another one had its pcpu.",
    covers: &["CPU-24", "CPU-29"],
    needs: &[Need::Pcpus(2)],
    kind: Kind::Control(control, run),
};

const PCPU: u64 = 0b10;
const VICTIM: &str = "victim";
const STOLEN: &str = "stolen ";
const WINDOW_MS: u64 = 300;
/// Of the window: switches belong to nobody.
const TOLERANCE_NS: u64 = 3 * MS;

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    let mut thief = Load::new(controller, TEST.name, &[PCPU])?;
    let mut victim = Load::with_role(controller, TEST.name, VICTIM, &[PCPU])?;
    victim.start()?;
    // All of the thief's life is in the victim's window.
    thief.start()?;
    sleep_ms(WINDOW_MS / 3)?;
    thief.pause()?;
    victim.domain().wait(LIMIT_MS)?;
    victim.domain().verdict()?;
    let ran: u64 = thief.ran()?.iter().sum();
    let stolen = victim.domain().output().lines().find_map(|line| line.strip_prefix(STOLEN)?.parse().ok());
    let stolen: u64 = stolen.ok_or_else(|| Problem::Error("the victim did not tell".into()))?;
    println!("stolen {stolen} ns, ran {ran} ns");
    ensure!(ran > WINDOW_MS / 10 * MS, "the thief ran {ran} ns");
    ensure!(stolen.abs_diff(ran) <= TOLERANCE_NS, "{stolen} ns stolen, the thief ran {ran} ns");
    Ok(())
}

fn run(guest: &Guest) -> Check {
    if guest.role() == VICTIM { watch() } else { sched::busy(guest) }
}

fn watch() -> Check {
    clock::map_shared_info()?;
    let created = age(&read()?);
    let before = (clock::pv_ns(0), read()?);
    println!("busy");
    trap::enable();
    while clock::pv_ns(0) - before.0 < WINDOW_MS * MS {
        sched::count();
    }
    trap::disable();
    let after = (clock::pv_ns(0), read()?);
    let [running, runnable, blocked, offline] =
        [0, 1, 2, 3].map(|state| after.1.time[state] - before.1.time[state]);
    println!("{STOLEN}{runnable}");
    let window = after.0 - before.0;
    ensure_eq!((blocked, offline), (0, 0), "time blocked, offline");
    ensure!((running + runnable).abs_diff(window) < MS, "{running} + {runnable} in {window} ns");
    ensure!(age(&after.1) > created, "age {} after {created}", age(&after.1));
    Ok(())
}

/// All states together: the time since the vcpu was made.
fn age(info: &VcpuRunstateInfo) -> u64 {
    info.time.iter().sum()
}

fn read() -> Check<VcpuRunstateInfo> {
    let mut info = VcpuRunstateInfo::new_zeroed();
    hypercall::vcpu_op(VcpuOp::GetRunstateInfo, 0, &mut info)?;
    Ok(info)
}
