//! A guest that makes hypercalls at random, with a fixed seed, ends at most itself.

use guest_rt::hypercall;
use guest_rt::paging::Page;

use crate::controller::Controller;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hostile-hypercalls",
    description: "A guest that makes hypercalls at random, with a fixed seed, ends at most itself.",
    covers: &["LIF-30", "LIF-31"],
    needs: &[],
    kind: Kind::Control(control, run),
};

const CALLS: u32 = 3_000;

fn control(controller: &Controller) -> Check {
    for seed in ["1", "2", "3"] {
        let mut domain = controller.spawn("hostile-hypercalls", seed, Shape::vcpus(2))?;
        domain.start()?;
        // It may stop itself in any way, or wait for ever.
        let _ = domain.wait(3_000);
        domain.destroy()?;
    }
    Ok(())
}

/// What a call may be given: small numbers, addresses of memory and of none.
fn run(guest: &Guest) -> Check {
    let mut random = Random(guest.role().parse::<u64>().unwrap_or(1));
    let page = Page::new();
    for _ in 0..CALLS {
        let number = random.below(64);
        let mut arguments = [0; 5];
        for argument in &mut arguments {
            *argument = match random.below(6) {
                0 => random.below(40),
                1 | 2 => page.address() + random.below(4096),
                3 => 1 << random.below(64),
                4 => u64::MAX - random.below(4096),
                _ => random.next(),
            };
        }
        // Shutdown would end the test early.
        if number != 29 {
            hypercall::raw(number, arguments);
        }
    }
    Ok(())
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
