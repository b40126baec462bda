//! A guest that uses all its devices without a pause and checks what they do, until it is asked to shut down.
//!
//! Devices that are attached are used as well; those that are detached are let go, in the middle of the work. Blocks of the disk hold their number and how often they were written;
//! packets go from one interface to the other and hold what can be computed from their first word.

mod blocks;
mod packets;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::cell::{Cell, RefCell};

use guest_rt::tasks::Executor;

use crate::front::Front;
use crate::ground::{Check, Ground, report, sleep_ms};
use crate::net::Address;

/// Time between two looks for new devices, ms.
const LOOK_MS: u64 = 50;

/// What all devices together did.
#[derive(Default)]
pub(crate) struct Tally {
    stop: Cell<bool>,
    /// Kinds and numbers of the devices in use.
    used: RefCell<BTreeSet<(&'static str, u32)>>,
    /// Addresses of the interfaces in use.
    addresses: RefCell<BTreeSet<Address>>,
    requests: Cell<u64>,
    packets: Cell<u64>,
    problem: RefCell<Option<String>>,
}

/// Uses all devices that come, until `control/shutdown` says something.
pub(crate) async fn run(ground: &Rc<Ground>, executor: &'static Executor<'static>) -> Check {
    let tally = Rc::new(Tally::default());
    loop {
        look_for_devices(ground, executor, &tally).await?;
        if let Some(problem) = tally.problem.take() {
            return Err(problem);
        }
        let asked = ground.read("control/shutdown").await.is_some_and(|order| !order.is_empty());
        tally.stop.set(asked);
        if asked && tally.used.borrow().is_empty() {
            break;
        }
        sleep_ms(LOOK_MS).await;
    }
    report(&format!("worker: {} requests, {} packets, all good", tally.requests.get(), tally.packets.get()));
    Ok(())
}

async fn look_for_devices(
    ground: &Rc<Ground>,
    executor: &'static Executor<'static>,
    tally: &Rc<Tally>,
) -> Check {
    for kind in ["vbd", "vif"] {
        for front in Front::all(ground, kind).await? {
            let number = front.number;
            let is_new = front.text("state").await.as_deref() == Some("1");
            if !is_new || tally.stop.get() || !tally.used.borrow_mut().insert((kind, number)) {
                continue;
            }
            let tally = Rc::clone(tally);
            let serve = async move {
                let served = match kind {
                    "vbd" => blocks::work(front, &tally).await,
                    _ => packets::work(front, &tally).await,
                };
                if let Err(problem) = served {
                    tally.problem.replace(Some(format!("{kind} {number}: {problem}")));
                }
                tally.used.borrow_mut().remove(&(kind, number));
                report(&format!("worker: {kind} {number} let go"));
            };
            executor.spawn(serve).detach();
        }
    }
    Ok(())
}
