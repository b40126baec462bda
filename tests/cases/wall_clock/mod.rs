//! The wall clock in the shared page tells a date of this century.

use guest_rt::clock;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "wall-clock",
    description: "The wall clock in the shared page tells a date of this century.",
    covers: &["TIM-02"],
    needs: &[],
    kind: Kind::Both(run),
};

/// 2020-01-01 and 2100-01-01.
const CENTURY: core::ops::Range<u64> = 1_577_836_800..4_102_444_800;

fn run(_: &Guest) -> Check {
    clock::map_shared_info()?;
    let (version, seconds, nanoseconds) = clock::wall_clock();
    ensure!(version & 1 == 0 && version > 0, "version {version}");
    ensure!(CENTURY.contains(&seconds), "{seconds} s");
    ensure!(nanoseconds < 1_000_000_000, "{nanoseconds} ns");
    Ok(())
}
