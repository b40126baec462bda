//! Domains that make grant operations at random, with fixed seeds, do no harm, and all memory comes back.

use guest_rt::hypercall;
use guest_rt::paging::Page;
use xen_abi::grant_table::{GnttabCopy, GnttabMapGrantRef, GnttabUnmapGrantRef, GrantTableOp};
use zerocopy::FromZeros;

use crate::controller::{Controller, until};
use crate::grants::{self, OwnEntries};
use crate::guest::Guest;
use crate::random::Random;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "gnttab-hostile",
    description: "Domains that make grant operations at random, with fixed seeds, do no harm.",
    covers: &["LIF-30", "LIF-31"],
    needs: &[],
    kind: Kind::Control(control, run),
};

const ROUNDS: u32 = 4_000;
/// Domains at the same time; they name each other's numbers.
const DOMAINS: usize = 3;
const GREFS: u16 = 12;
/// No memory stands there.
const HOLE: u64 = 0x80_0000;
const HOLES: u16 = 32;

fn control(controller: &Controller) -> Check {
    // The first time fills the hypervisor's heap.
    churn(controller, 0)?;
    controller.rebase();
    for round in 1..3 {
        churn(controller, round)?;
    }
    Ok(())
}

fn churn(controller: &Controller, round: u64) -> Check {
    let mut domains = alloc::vec::Vec::new();
    for number in 0..DOMAINS as u64 {
        let role = alloc::format!("{}", 1 + number + round * 10);
        domains.push(controller.spawn("gnttab-hostile", &role, Shape::SMALL)?);
    }
    domains.iter().try_for_each(|domain| domain.start())?;
    // One ends while the others use what it has granted.
    if let Some(mut first) = domains.pop() {
        let _running = first.wait(300);
        first.destroy()?;
    }
    for mut domain in domains {
        // It may stop itself in any way.
        let ended = until(8_000, || !matches!(domain.ended(), Ok(None)));
        ensure!(ended, "d{} does not end", domain.id());
        domain.verdict()?;
        domain.destroy()?;
    }
    Ok(())
}

fn run(guest: &Guest) -> Check {
    let mut random = Random(guest.role().parse().unwrap_or(1));
    let own = u16::try_from(guest_rt::cpu::cpuid(xen_abi::cpuid::FIRST_LEAF + 4, 0).ecx).unwrap_or(u16::MAX);
    let entries = OwnEntries::new()?;
    let (first, second) = (&Page::new(), &Page::new());
    for _ in 0..ROUNDS {
        // Itself and its neighbours.
        let other = (own + 4).wrapping_sub(below(&mut random, 7));
        let gref = 8 + u32::from(below(&mut random, GREFS));
        let page = if random.below(2) == 0 { first } else { second };
        match random.below(8) {
            0 | 1 => {
                let flags = if random.below(4) == 0 { below(&mut random, u16::MAX) } else { grants::PERMIT };
                let own = u32::try_from(page.frame()).unwrap_or(0);
                let frame = if random.below(8) == 0 { random.next() } else { own };
                entries.set(gref, flags, other, frame)?;
            }
            2..=4 => {
                let op = GnttabMapGrantRef {
                    host_addr: hole(&mut random),
                    flags: if random.below(8) == 0 {
                        random.next()
                    } else {
                        1 + u32::from(below(&mut random, 6))
                    },
                    gref,
                    dom: other,
                    ..GnttabMapGrantRef::new_zeroed()
                };
                hypercall::grant_table_op(GrantTableOp::MapGrantRef, &mut [op])?;
            }
            5 | 6 => {
                let op = GnttabUnmapGrantRef {
                    host_addr: hole(&mut random),
                    dev_bus_addr: u64::from(below(&mut random, 2)) << 12,
                    handle: below(&mut random, 64).into(),
                    ..GnttabUnmapGrantRef::new_zeroed()
                };
                hypercall::grant_table_op(GrantTableOp::UnmapGrantRef, &mut [op])?;
            }
            _ => {
                let op = GnttabCopy {
                    source: grants::entry(other, gref, below(&mut random, 5000)),
                    dest: grants::frame(page.frame(), below(&mut random, 5000)),
                    len: below(&mut random, 5000),
                    flags: below(&mut random, 4),
                    status: 0,
                    _pad: 0,
                };
                hypercall::grant_table_op(GrantTableOp::Copy, &mut [op])?;
            }
        }
    }
    Ok(())
}

/// A number below `end`.
fn below(random: &mut Random, end: u16) -> u16 {
    u16::try_from(random.below(end.into())).unwrap_or(0)
}

/// The address of one of the holes.
fn hole(random: &mut Random) -> u64 {
    (HOLE + u64::from(below(random, HOLES))) << 12
}
