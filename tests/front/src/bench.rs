//! What a request of a disk and a packet cost, through both halves of the split drivers: from the moment before it is
//! put into the ring to the moment after its answer, or the packet, is there.
//!
//! ```text
//!  BENCH name: 120 123 4567            minimum, median, maximum of its rounds
//! ```
//!
//! `-alone`: one at a time. `-stream`: many at once; the figure is that of one of them. No answer is waited for with a
//! time limit; a scenario has one.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use guest_rt::cpu;
use xen_abi::io::blkif::{BlkifOp, BlkifResponse, BlkifStatus};

use crate::disk::{Disk, whole};
use crate::front::Front;
use crate::ground::{Check, Ground, report_bench, sleep_ms};
use crate::net::{Net, frame};

/// Rounds of what is done one at a time, and of many at once.
const ROUNDS: usize = 200;
const STREAMS: usize = 40;
/// How many at once.
const AT_ONCE: u16 = 32;
/// Bytes behind the header of a packet: as long as Ethernet has them.
const PAYLOAD: usize = 1486;
/// Blocks that are used.
const BLOCKS: u64 = 256;

/// Measures, and says what came of it.
pub(crate) async fn run(ground: &Rc<Ground>) -> Check {
    // Whoever started this guest is still busy.
    sleep_ms(100).await;
    disks(ground).await?;
    packets(ground).await?;
    report_bench("done");
    Ok(())
}

/// The first disk, with persistent grants, as Linux has them, and without.
async fn disks(ground: &Rc<Ground>) -> Check {
    let front = Front::nth(ground, "vbd", 0).await?;
    for (persistent, kind) in [(true, "persistent"), (false, "copied")] {
        let mut disk = Disk::connect(front.clone(), 0, persistent).await?;
        for (operation, name) in [(BlkifOp::Write, "write"), (BlkifOp::Read, "read")] {
            requests(&mut disk, operation, 1, ROUNDS, &format!("block-{name}-{kind}-alone")).await?;
            requests(&mut disk, operation, AT_ONCE, STREAMS, &format!("block-{name}-{kind}-stream")).await?;
        }
        front.start_anew().await?;
    }
    Ok(())
}

/// Requests of a page each, so many at once.
async fn requests(disk: &mut Disk, operation: BlkifOp, at_once: u16, rounds: usize, name: &str) -> Check {
    let pages = disk.front.ground.share(at_once.into(), true);
    let mut samples = Samples::default();
    for round in 0..=rounds as u64 {
        let start = cpu::rdtsc();
        for (id, gref) in (0..).zip(pages.references()) {
            disk.put(id, operation, (round * u64::from(at_once) + id) % BLOCKS * 8, &[whole(*gref)]);
        }
        disk.kick();
        for _ in 0..at_once {
            let response = answer(disk).await;
            if response.status != BlkifStatus::Okay.get() {
                return Err(format!("{name}: status {}", response.status));
            }
        }
        // The first round maps pages that stay mapped.
        if round > 0 {
            samples.add(cpu::rdtsc() - start, at_once);
        }
    }
    samples.tell(name);
    Ok(())
}

/// Waits without a time limit: a timer would be part of the figure.
async fn answer(disk: &mut Disk) -> BlkifResponse {
    loop {
        match disk.ring.take() {
            Some(response) => return response,
            None => disk.port.event().await,
        }
    }
}

/// From the first interface to the second one, by the bridge.
async fn packets(ground: &Rc<Ground>) -> Check {
    let mut from = Net::connect(Front::nth(ground, "vif", 0).await?).await?;
    let mut to = Net::connect(Front::nth(ground, "vif", 1).await?).await?;
    let packet = frame(to.address, from.address, &[0x5a; PAYLOAD]);
    for (at_once, rounds, name) in [(1, ROUNDS, "packet-alone"), (AT_ONCE, STREAMS, "packet-stream")] {
        let mut samples = Samples::default();
        for _ in 0..rounds {
            while !from.is_idle() {
                sleep_ms(1).await;
            }
            let start = cpu::rdtsc();
            for _ in 0..at_once {
                // There is room for all.
                from.send(&packet);
            }
            from.kick();
            let mut came = 0;
            while came < at_once {
                if to.receive()?.is_some() {
                    came += 1;
                    continue;
                }
                to.kick();
                to.port.event().await;
            }
            samples.add(cpu::rdtsc() - start, at_once);
            to.kick();
        }
        samples.tell(name);
    }
    Ok(())
}

#[derive(Default)]
struct Samples(Vec<u64>);

impl Samples {
    /// Ticks of so many operations.
    fn add(&mut self, ticks: u64, operations: u16) {
        self.0.push(ticks / u64::from(operations));
    }

    fn tell(mut self, name: &str) {
        self.0.sort_unstable();
        let at = |index: usize| self.0.get(index).copied().unwrap_or(0);
        let (middle, last) = (self.0.len() / 2, self.0.len().saturating_sub(1));
        report_bench(&format!("{name}: {} {} {}", at(0), at(middle), at(last)));
    }
}
