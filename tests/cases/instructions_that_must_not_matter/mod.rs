//! INVD, WBINVD and PAUSE do no harm; MONITOR and MWAIT do not exist; RDPMC faults.

use guest_rt::cpu;
use guest_rt::paging::Page;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "instructions-that-must-not-matter",
    description: "INVD, WBINVD and PAUSE do no harm; MONITOR and MWAIT do not exist; RDPMC faults.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    let word = Page::new();
    word.write(7, 0x5a)?;
    cpu::wbinvd()?;
    cpu::invd()?;
    ensure_eq!(word.read(7)?, 0x5a, "memory after INVD");
    for _ in 0..100 {
        cpu::pause()?;
    }
    expect::undefined(cpu::monitor(), "MONITOR")?;
    expect::undefined(cpu::mwait(), "MWAIT")?;
    expect::protection(cpu::rdpmc(), "RDPMC")?;
    cpu::sldt()?;
    cpu::str()?;
    cpu::smsw()?;
    Ok(())
}
