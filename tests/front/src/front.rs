//! A device's nodes in XenStore, from the front end's side (Xen's `io/xenbus.h`).

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

use guest_rt::timer;
use xen_abi::io::xenbus::XenbusState;

use crate::ground::{Check, Ground, sleep_ms};

/// Time between two looks at the back end's state, ms.
const LOOK_MS: u64 = 5;
/// How long a back end may take for a step, ms.
pub(crate) const PATIENCE_MS: u64 = 20_000;

/// A device of this domain's.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) ground: Rc<Ground>,
    /// Its number.
    pub(crate) number: u32,
    path: String,
    back: String,
}

impl Front {
    /// All devices of a kind (`vbd`, `vif`), by number.
    pub(crate) async fn all(ground: &Rc<Ground>, kind: &str) -> Check<Vec<Self>> {
        let names = ground.directory(&format!("device/{kind}")).await?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let mut fronts = Vec::new();
        for number in numbers {
            let path = format!("device/{kind}/{number}");
            // One that goes while it is looked at is not there.
            if let Some(back) = ground.read(&format!("{path}/backend")).await {
                fronts.push(Self { ground: ground.clone(), number, path, back });
            }
        }
        Ok(fronts)
    }

    /// The only device of a kind, or the one at this place.
    pub(crate) async fn nth(ground: &Rc<Ground>, kind: &str, place: usize) -> Check<Self> {
        let front = Self::all(ground, kind).await?.into_iter().nth(place);
        front.ok_or_else(|| format!("there is no {kind} at place {place}"))
    }

    /// Writes a node of the front end.
    pub(crate) async fn put(&self, name: &str, value: impl Display) -> Check {
        self.ground.write(&format!("{}/{name}", self.path), &value.to_string()).await
    }

    /// Removes one.
    pub(crate) async fn remove(&self, name: &str) -> Check {
        self.ground.remove(&format!("{}/{name}", self.path)).await
    }

    /// Says a state.
    pub(crate) async fn say(&self, state: XenbusState) -> Check {
        self.put("state", state.get()).await
    }

    /// A node of the front end.
    pub(crate) async fn text(&self, name: &str) -> Option<String> {
        self.ground.read(&format!("{}/{name}", self.path)).await
    }

    /// A number in a node of the back end.
    pub(crate) async fn back_number(&self, name: &str) -> Option<u64> {
        self.ground.read(&format!("{}/{name}", self.back)).await?.trim().parse().ok()
    }

    /// The back end's state; `Unknown` where it is gone.
    pub(crate) async fn back_state(&self) -> XenbusState {
        let state = self.back_number("state").await.and_then(|state| u32::try_from(state).ok());
        state.and_then(XenbusState::new).unwrap_or(XenbusState::Unknown)
    }

    /// Waits until the back end has one of these states.
    pub(crate) async fn back_becomes(&self, states: &[XenbusState]) -> Check<XenbusState> {
        let end = timer::now_ns() + PATIENCE_MS * 1_000_000;
        loop {
            let state = self.back_state().await;
            if states.contains(&state) {
                return Ok(state);
            }
            if timer::now_ns() > end {
                return Err(format!("{}: the back end is {state:?}, not {states:?}", self.path));
            }
            sleep_ms(LOOK_MS).await;
        }
    }

    /// Connects: from the nodes to state `Connected` of both ends. What the back end makes of it.
    pub(crate) async fn announce(&self, nodes: &[(String, String)]) -> Check<XenbusState> {
        use XenbusState::{Closed, Closing, Connected, InitWait, Initialised, Unknown};

        self.back_becomes(&[InitWait]).await?;
        for (name, value) in nodes {
            self.put(name, value).await?;
        }
        self.say(Initialised).await?;
        let state = self.back_becomes(&[Connected, Closing, Closed, Unknown]).await?;
        if state == Connected {
            self.say(Connected).await?;
        }
        Ok(state)
    }

    /// Lets the device go: both ends are closed, or the device is gone.
    pub(crate) async fn close(&self) -> Check {
        use XenbusState::{Closed, Closing, InitWait, Unknown};

        // Who takes a device away by force removes the nodes, at any moment.
        let _ = self.say(Closing).await;
        self.back_becomes(&[Closing, Closed, InitWait, Unknown]).await?;
        let _ = self.say(Closed).await;
        Ok(())
    }

    /// Begins anew, after whatever was: the back end has to come back.
    pub(crate) async fn start_anew(&self) -> Check {
        self.say(XenbusState::Closed).await?;
        self.back_becomes(&[XenbusState::Closed]).await?;
        self.say(XenbusState::Initialising).await?;
        self.back_becomes(&[XenbusState::InitWait]).await.map(drop)
    }
}
