//! An edge of a device's line interrupts Dom0 once, on whichever pcpu it runs.

use guest_rt::interrupts::Trigger;
use xen_abi::RawDomid;
use xen_control::calls;

use crate::ata::{Drive, comes, stays_away};
use crate::controller::Controller;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "interrupt-edge",
    description: "An edge of a device's line interrupts Dom0 once, on whichever pcpu it runs.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Dom0(run),
};

const DOM0: RawDomid = 0;
const ROUNDS: u32 = 8;

fn run(controller: &Controller) -> Check {
    let drive = Drive::find()?;
    let interrupt = drive.interrupt(Trigger::Edge)?;
    ensure!(stays_away(&interrupt), "it came before the device asked");
    for round in 0..ROUNDS {
        calls::set_affinity(controller.host()?, DOM0, 0, 1 << (round % controller.pcpus()))?;
        drive.raise()?;
        ensure!(comes(&interrupt), "round {round}: it did not come");
        ensure!(stays_away(&interrupt), "round {round}: it came again");
        drive.serve()?;
        interrupt.done();
    }
    calls::set_affinity(controller.host()?, DOM0, 0, u64::MAX)?;
    // Masked, it is lost.
    drop(interrupt);
    drive.raise()?;
    let interrupt = drive.interrupt(Trigger::Edge)?;
    ensure!(stays_away(&interrupt), "an edge from before came");
    drive.serve()?;
    drive.raise()?;
    ensure!(comes(&interrupt), "it did not come after it was masked");
    drive.serve()
}
