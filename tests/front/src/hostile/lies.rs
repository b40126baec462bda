//! Lies about rings and in XenStore, and events without end: the same for disks and interfaces.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use guest_rt::channels::Channel;
use guest_rt::shared::Shared;
use xen_abi::io::xenbus::XenbusState;
use xen_backend::{FrontRing, Memory as _};

use super::{Attack, done};
use crate::disk::Disk;
use crate::front::Front;
use crate::ground::{Check, sleep_ms};
use crate::net::Net;
use crate::random::Random;

/// Connections that lie about indices, and about nodes.
const CONNECTIONS: u64 = 16;
/// Events of a storm.
const EVENTS: u64 = 2000;
/// Words of a ring's header.
const HEADER_WORDS: u64 = 16;

/// A front end that can lie.
pub(super) trait Liar: Sized {
    /// Makes rings which nobody knows of.
    async fn make(front: Front) -> Check<Self>;
    /// What it says to connect.
    fn nodes(&self) -> Vec<(String, String)>;
    /// Its rings.
    fn rings(&self) -> Vec<&FrontRing<Shared>>;
    /// Its port.
    fn port(&self) -> &Channel;
}

impl Liar for Disk {
    async fn make(front: Front) -> Check<Self> {
        Self::new(front, 1, true)
    }

    fn nodes(&self) -> Vec<(String, String)> {
        self.nodes()
    }

    fn rings(&self) -> Vec<&FrontRing<Shared>> {
        vec![&self.ring]
    }

    fn port(&self) -> &Channel {
        &self.port
    }
}

impl Liar for Net {
    async fn make(front: Front) -> Check<Self> {
        Self::new(front).await
    }

    fn nodes(&self) -> Vec<(String, String)> {
        self.nodes()
    }

    fn rings(&self) -> Vec<&FrontRing<Shared>> {
        vec![&self.tx, &self.rx]
    }

    fn port(&self) -> &Channel {
        &self.port
    }
}

/// Connects, and says that there are more requests than there is room for, or fewer than before.
pub(super) async fn indices<L: Liar>(front: &Front, attack: &mut Attack) -> Check {
    for round in 0..CONNECTIONS {
        let liar = connected::<L>(front).await?;
        let random = &mut attack.random;
        let rings = liar.rings();
        let ring = rings.get(random.index(rings.len())).ok_or("no ring")?;
        if round % 2 == 0 {
            let beyond = ring.entries().wrapping_add(1).wrapping_add(random.u32() >> 1);
            ring.set_request_producer(beyond);
        } else {
            // Anything, also what is the back end's to write.
            let place = usize::try_from(random.below(HEADER_WORDS)).unwrap_or(0) * 4;
            ring.memory().store(place, random.u32());
        }
        // A back end that is gone does not wait for it.
        let _ = liar.port().send();
        if round % 2 == 0 {
            front.back_becomes(&[XenbusState::Closed]).await?;
        } else {
            sleep_ms(2).await;
        }
        front.start_anew().await?;
    }
    done("indices", front, CONNECTIONS, "connections");
    Ok(())
}

/// Connects with nodes that make no sense, then says states at odd times.
pub(super) async fn nodes<L: Liar>(front: &Front, attack: &mut Attack) -> Check {
    for _ in 0..CONNECTIONS {
        let random = &mut attack.random;
        let liar = L::make(front.clone()).await?;
        let mut nodes = liar.nodes();
        for _ in 0..=random.below(2) {
            let place = random.index(nodes.len());
            let Some((name, value)) = nodes.get_mut(place) else { continue };
            match nonsense(random) {
                Some(text) => *value = text,
                None => {
                    front.remove(name).await?;
                    nodes.swap_remove(place);
                }
            }
        }
        front.announce(&nodes).await?;
        for _ in 0..random.below(4) {
            front.put("state", random.below(10)).await?;
            sleep_ms(random.below(3)).await;
        }
        front.start_anew().await?;
    }
    done("nodes", front, CONNECTIONS, "connections");
    Ok(())
}

/// A value that no node should have; `None`: there shall be no node.
fn nonsense(random: &mut Random) -> Option<String> {
    const TEXTS: [&str; 6] = ["", "-1", "99999999999999999999", "0x8", "x86_32-abi", "ring"];
    match random.below(4) {
        0 => None,
        1 => Some(TEXTS[random.index(TEXTS.len())].to_string()),
        2 => Some((random.below(3000) + 2048).to_string()),
        // Own pages are left alone: what would be damaged is this guest.
        _ => Some((random.odd() | 2048).to_string()),
    }
}

/// Events without requests, and after them all is as before.
pub(super) async fn storm<L: Liar>(front: &Front, attack: &mut Attack) -> Check {
    let liar = connected::<L>(front).await?;
    for _ in 0..EVENTS {
        // What comes of it is seen below.
        let _ = liar.port().send();
        if attack.random.once_in(64) {
            sleep_ms(1).await;
        }
    }
    let state = front.back_state().await;
    if state != XenbusState::Connected {
        return Err(format!("events without requests: the back end is {state:?}"));
    }
    front.start_anew().await?;
    done("storm", front, EVENTS, "events");
    Ok(())
}

async fn connected<L: Liar>(front: &Front) -> Check<L> {
    let liar = L::make(front.clone()).await?;
    match front.announce(&liar.nodes()).await? {
        XenbusState::Connected => Ok(liar),
        state => Err(format!("a good front end is not connected: {state:?}")),
    }
}
