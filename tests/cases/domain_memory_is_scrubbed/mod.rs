//! A domain finds nothing of the one that had its memory before.

use alloc::vec::Vec;

use guest_rt::cpu;
use guest_rt::paging::Page;

use crate::controller::{Controller, LIMIT_MS};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domain-memory-is-scrubbed",
    description: "A domain finds nothing of the one that had its memory before.",
    covers: &["LIF-30", "MEM-01"],
    needs: &[],
    kind: Kind::Control(control, run),
};

const SHAPE: Shape = Shape { vcpus: 1, mib: 32 };

fn control(controller: &Controller) -> Check {
    for role in ["write", "look"] {
        let mut domain = controller.spawn("domain-memory-is-scrubbed", role, SHAPE)?;
        domain.start()?;
        domain.wait(LIMIT_MS)?;
        domain.verdict()?;
        domain.destroy()?;
    }
    Ok(())
}

/// 24 MiB of the heap: all written, or all looked at before anybody wrote.
fn run(guest: &Guest) -> Check {
    let mut pages = Vec::new();
    if guest.role() == "write" {
        for _ in 0..6_000 {
            let mut page = Page::new();
            page.bytes_mut().fill(0x5a);
            pages.push(page);
        }
        return Ok(());
    }
    let ram = guest.boot().ram().map(|ram| ram.end).max().unwrap_or(0);
    for address in (6 << 20..ram - (1 << 20)).step_by(512) {
        ensure_eq!(cpu::peek_u32(address)?, 0, "memory at {address:#x}");
    }
    Ok(())
}
