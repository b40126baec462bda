//! Dom0 measures: what operations cost a guest, what domains cost the host.
//!
//! ```text
//!  BENCH name: 120 123 4567            minimum, median, maximum of its rounds
//!  BENCH name: FAILURE reason
//!  BENCH done
//! ```

mod domains;
mod events;
mod exits;
mod grants;
mod interrupts;
mod memory;

use alloc::vec::Vec;
use core::fmt;

use guest_rt::boot::Boot;
use guest_rt::{catch, hypercall, measure, println};
use xen_abi::sched::ShutdownReason;
use xen_control::calls;

use crate::controller::Controller;
use crate::timing::sleep_ms;
use crate::verdict::{Check, Line, Problem};

/// Rounds of an operation that changes nothing.
const ROUNDS: usize = 1_000;
/// Rounds of one that takes longer, or something else to be undone.
const FEW: usize = 200;

/// Something to measure.
struct Bench {
    name: &'static str,
    run: fn(&Controller) -> Check<Samples>,
}

/// All of them, in the order in which they run: last is what leaves most memory to scrub.
const ALL: &[Bench] = &[
    Bench { name: "cpuid", run: exits::cpuid },
    Bench { name: "rdmsr-apic-base", run: exits::rdmsr },
    Bench { name: "port-read", run: exits::port_read },
    Bench { name: "mmio-read", run: exits::mmio_read },
    Bench { name: "hypercall-enosys", run: exits::enosys },
    Bench { name: "xen-version", run: exits::xen_version },
    Bench { name: "get-features", run: exits::get_features },
    Bench { name: "yield", run: exits::yield_alone },
    Bench { name: "multicall", run: exits::multicall },
    Bench { name: "console-write", run: exits::console_write },
    Bench { name: "event-to-handler", run: events::to_handler },
    Bench { name: "timer-to-upcall", run: events::timer_to_upcall },
    Bench { name: "interrupt-to-handler", run: interrupts::to_handler },
    Bench { name: "grant-copy", run: grants::copy },
    Bench { name: "decrease", run: memory::decrease },
    Bench { name: "populate", run: memory::populate },
    Bench { name: "event-ping-pong", run: events::ping_pong },
    Bench { name: "memory-held", run: domains::memory_held },
    Bench { name: "create-64M", run: |controller| domains::create(controller, 64) },
    Bench { name: "create-256M", run: |controller| domains::create(controller, 256) },
    Bench { name: "create-1G", run: |controller| domains::create(controller, 1024) },
];

/// Measures what the command line chooses by `filter=NAME,...`, and turns the machine off.
pub fn main(boot: &'static Boot) -> ! {
    let controller = Controller::new(boot);
    let filter = boot.option("filter");
    for bench in ALL {
        if filter.is_none_or(|list| list.split(',').any(|name| name == bench.name)) {
            match run(bench, &controller) {
                Ok(samples) => println!("BENCH {}: {samples}", bench.name),
                Err(problem) => println!("BENCH {}: {}", bench.name, Line(&Err(problem))),
            }
        }
    }
    println!("BENCH done");
    hypercall::shutdown(ShutdownReason::Poweroff)
}

fn run(bench: &Bench, controller: &Controller) -> Check<Samples> {
    let mut samples = Err(Problem::Error("it did not run".into()));
    let caught = catch::catch(|| {
        samples = settle(controller).and_then(|()| (bench.run)(controller));
    });
    match caught {
        Some(message) => Err(Problem::Crash(message.text().into())),
        None => samples,
    }
}

/// Waits until the hypervisor has nothing left to do: memory to scrub, text to send.
fn settle(controller: &Controller) -> Check {
    const MOST_MS: u64 = 120_000;
    /// 115200 Baud let out that many bytes of the console's buffer.
    const CONSOLE_MS: u64 = 30;
    for _ in 0..MOST_MS / CONSOLE_MS {
        sleep_ms(CONSOLE_MS)?;
        if calls::physinfo(controller.host()?)?.scrub_pages == 0 {
            return Ok(());
        }
    }
    fail!("after {MOST_MS} ms there is still memory to scrub")
}

/// What was measured.
struct Samples(Vec<u64>);

impl Samples {
    /// Ticks of `rounds` rounds, without those of an empty measurement.
    fn of(rounds: usize, mut measure: impl FnMut() -> u32) -> Self {
        let overhead = overhead();
        Self((0..rounds).map(|_| measure().saturating_sub(overhead).into()).collect())
    }
}

/// Ticks of an empty measurement: the least, as the CPU may have been elsewhere.
fn overhead() -> u32 {
    (0..100).map(|_| measure::empty()).min().unwrap_or(0)
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |index: usize| sorted.get(index).copied().unwrap_or(0);
        write!(f, "{} {} {}", at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
    }
}

/// Fails unless a hypercall that is to be measured does what it should.
fn expect(answer: i64, expected: i64, what: &str) -> Check {
    ensure!(answer == expected, "{what}: {answer}, expected {expected}");
    Ok(())
}
