//! A device's line that stays active interrupts Dom0 again when it says that it is done.

use guest_rt::interrupts::Trigger;

use crate::ata::{Drive, comes, stays_away};
use crate::controller::Controller;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "interrupt-level",
    description: "A device's line that stays active interrupts Dom0 again when it says that it is done.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Dom0(run),
};

const ROUNDS: u32 = 8;

fn run(_: &Controller) -> Check {
    let drive = Drive::find()?;
    let interrupt = drive.interrupt(Trigger::Level)?;
    ensure!(stays_away(&interrupt), "it came before the device asked");
    for round in 0..ROUNDS {
        drive.raise()?;
        ensure!(comes(&interrupt), "round {round}: it did not come");
        ensure!(stays_away(&interrupt), "round {round}: it came before the end of the first");
        interrupt.done();
        ensure!(comes(&interrupt), "round {round}: it did not come again");
        drive.serve()?;
        interrupt.done();
        ensure!(stays_away(&interrupt), "round {round}: it came after the device was served");
    }
    // Two drivers share it: it comes to both, and again when both are done.
    let other = drive.interrupt(Trigger::Level)?;
    drive.raise()?;
    ensure!(comes(&interrupt) && comes(&other), "it did not come to both");
    interrupt.done();
    ensure!(stays_away(&interrupt), "it came before both were done");
    other.done();
    ensure!(comes(&interrupt) && comes(&other), "it did not come again to both");
    drop(other);
    interrupt.done();
    ensure!(comes(&interrupt), "it did not come again without the other");
    // Masked while it is active, it comes when it is unmasked.
    drop(interrupt);
    let interrupt = drive.interrupt(Trigger::Level)?;
    ensure!(comes(&interrupt), "it did not come when it was unmasked");
    drive.serve()
}
