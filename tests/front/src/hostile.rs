//! A guest that does with its devices what a back end must survive: every field of requests, indices of rings, nodes
//! of XenStore, states at odd times, memory that changes while it is read, events without end.
//!
//! What it does follows from `seed=`. It checks what it may count on all the same: each request is answered, once;
//! good ones between bad ones are done; whatever it reads it has written itself, or it is zero; no packet that is for
//! somebody else comes; and after a fault the device comes back.

mod disk;
mod lies;
mod net;
mod pages;
mod scribbler;

use alloc::format;
use alloc::rc::Rc;

use crate::disk::Disk;
use crate::front::Front;
use crate::ground::{Check, Ground, report};
use crate::net::Net;
use crate::random::Random;

use pages::Pages;
use scribbler::Scribbler;

/// What all attacks use.
pub(crate) struct Attack {
    random: Random,
    pages: Pages,
    scribbler: Scribbler,
}

/// Attacks all devices, one after another; `forever`: again and again.
pub(crate) async fn run(ground: &Rc<Ground>, seed: Option<&str>, forever: bool) -> Check {
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let scribbler = Scribbler::new()?;
    let mut attack = Attack { random: Random(seed), pages: Pages::new(ground), scribbler };
    loop {
        attack_disks(ground, &mut attack).await?;
        attack_nets(ground, &mut attack).await?;
        report("hostile: done");
        if !forever {
            return Ok(());
        }
    }
}

/// The first disk may be written, the second one only read.
async fn attack_disks(ground: &Rc<Ground>, attack: &mut Attack) -> Check {
    let writable = Front::nth(ground, "vbd", 0).await?;
    let read_only = Front::nth(ground, "vbd", 1).await?;
    for (front, order, persistent) in [(&writable, 0, true), (&writable, 2, false), (&read_only, 0, false)] {
        disk::fields(front, order, persistent, attack).await?;
    }
    disk::grants(&writable, attack).await?;
    disk::races(&writable, attack).await?;
    lies::indices::<Disk>(&writable, attack).await?;
    lies::nodes::<Disk>(&writable, attack).await?;
    lies::storm::<Disk>(&writable, attack).await
}

/// The second interface sends to all, so that the first one has something to receive.
async fn attack_nets(ground: &Rc<Ground>, attack: &mut Attack) -> Check {
    let attacked = Front::nth(ground, "vif", 0).await?;
    let other = Front::nth(ground, "vif", 1).await?;
    net::sizes(&attacked, attack).await?;
    net::fields(&attacked, attack).await?;
    net::pages(&attacked, &other, attack).await?;
    net::races(&attacked, attack).await?;
    lies::indices::<Net>(&attacked, attack).await?;
    lies::nodes::<Net>(&attacked, attack).await?;
    lies::storm::<Net>(&attacked, attack).await
}

/// Says what an attack has come to.
fn done(what: &str, front: &Front, count: u64, unit: &str) {
    report(&format!("hostile: {what}, device {}: {count} {unit}", front.number));
}
