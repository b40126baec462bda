//! How a device comes into use and goes out of it (Xen's `io/xenbus.h`).
//!
//! ```text
//!             ┌───────────────────────────────────────────────────────────┐
//!             v                                                           │ Initialising
//!        ┌─────────┐ Initialised, ┌───────────┐ Closing ┌─────────┐   ┌────────┐
//!  ────> │InitWait │  Connected   │ Connected │ ──────> │ Closing │──>│ Closed │──> end
//!        └─────────┘ ───────────> └───────────┘         └─────────┘   └────────┘
//!             │  (arrows: the front end's state)      a fault  ^          ^
//!             └────────────────────────────────────────────────┴──────────┘
//! ```
//!
//! A front end that comes back to `Initialising` is served anew: its kernel started again
//! (kexec), or it was closed and opened. It ends where the node `online` is not `1` and the
//! front end is closed or gone, and whenever [`Xenbus::close`] says so.
//!
//! After a fault the device stays `Closed` until the front end starts anew: one that goes on
//! breaking rules costs no more than its own writes to XenStore.

use alloc::format;
use alloc::string::{String, ToString};
use core::cell::Cell;
use core::fmt::Display;
use core::pin::pin;
use core::str::FromStr;

use event_listener::Event;
use futures_util::future::{Either, select};
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::io::xenbus::XenbusState;

use crate::fault::Fault;
use crate::host::{Nodes, Watch};

/// Which device of which domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Its kind in XenStore: `vbd`, `vif`.
    pub kind: &'static str,
    /// The front end's domain.
    pub domain: RawDomid,
    /// Its number in the domain.
    pub number: u32,
}

impl Address {
    /// The folder of the back end.
    #[must_use]
    pub fn back(&self) -> String {
        format!("/local/domain/0/backend/{}/{}/{}", self.kind, self.domain, self.number)
    }

    /// The folder of the front end. Who can write to the nodes of the back end says where
    /// it is; this is where all toolstacks put it.
    #[must_use]
    pub fn front(&self) -> String {
        format!("/local/domain/{}/device/{}/{}", self.domain, self.kind, self.number)
    }

    /// Where the back end says what is wrong.
    #[must_use]
    pub fn error(&self) -> String {
        format!("/local/domain/0/error/backend/{}/{}/{}/error", self.kind, self.domain, self.number)
    }
}

/// The nodes of a device's two ends.
#[derive(Debug)]
pub struct Ends<N> {
    nodes: N,
    address: Address,
    back: String,
    front: String,
}

impl<N: Nodes> Ends<N> {
    fn new(nodes: N, address: Address) -> Self {
        Self { nodes, address, back: address.back(), front: address.front() }
    }

    /// Which device it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Writes a node of the back end.
    ///
    /// # Errors
    ///
    /// XenStore's.
    pub fn put(&self, name: &str, value: impl Display + Copy) -> Result<(), Fault> {
        let written = self.nodes.write(&format!("{}/{name}", self.back), &value.to_string());
        written.map_err(|errno| Fault::new(errno, format!("writing {name}: {errno:?}")))
    }

    /// A node of the back end.
    pub fn back_text(&self, name: &str) -> Option<String> {
        self.nodes.read(&format!("{}/{name}", self.back))
    }

    /// A node of the front end; `None` where there is none.
    pub fn front_text(&self, name: &str) -> Option<String> {
        self.nodes.read(&format!("{}/{name}", self.front))
    }

    /// A number in a node of the front end; `None` where there is no such node.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it is no such number.
    pub fn front_number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Fault> {
        let Some(text) = self.front_text(name) else { return Ok(None) };
        let number = text.trim().parse();
        number.map(Some).map_err(|_| Fault::new(Errno::EINVAL, format!("{name} is not a number in range")))
    }

    /// As [`Self::front_number`] where the node must be there.
    ///
    /// # Errors
    ///
    /// `ENOENT` where it is missing.
    pub fn front_needs<T: FromStr>(&self, name: &str) -> Result<T, Fault> {
        self.front_number(name)?.ok_or_else(|| Fault::new(Errno::ENOENT, format!("{name} is missing")))
    }

    /// Whether the front end says `1`.
    pub fn front_flag(&self, name: &str) -> bool {
        self.front_text(name).is_some_and(|text| text.trim() == "1")
    }

    fn front_state(&self) -> XenbusState {
        let state = self.front_text("state").and_then(|text| text.trim().parse().ok());
        state.and_then(XenbusState::new).unwrap_or(XenbusState::Unknown)
    }

    fn is_online(&self) -> bool {
        self.back_text("online").is_some_and(|text| text.trim() == "1")
    }

    /// Says a state. Where XenStore does not take it the nodes are gone, or it is at its
    /// end: the front end will not come on, and the toolstack closes.
    fn say(&self, state: XenbusState) {
        let _ = self.put("state", state.get());
    }

    fn complain(&self, fault: &Fault) {
        let _ = self.nodes.write(&self.address.error(), &fault.to_string());
    }
}

/// What kind of device it is.
pub trait Backend {
    /// A front end that is served: its rings and its port.
    type Connection;

    /// Writes what front ends ask before they connect, before state `InitWait`.
    ///
    /// # Errors
    ///
    /// The device is closed, with these words in its `error` node.
    fn offer<N: Nodes>(&self, ends: &Ends<N>) -> Result<(), Fault>;

    /// Connects to a front end as its nodes say, and writes what it asks before it goes on,
    /// before state `Connected`.
    ///
    /// # Errors
    ///
    /// As above. Nothing is left mapped.
    fn connect<N: Nodes>(&self, ends: &Ends<N>) -> Result<Self::Connection, Fault>;

    /// Serves it until it is told to stop, then ends what is under way, unmaps everything
    /// and is done.
    ///
    /// # Errors
    ///
    /// A fault of the front end's: it is served no longer, and everything is unmapped too.
    fn serve(&self, connection: Self::Connection, stop: &Stop) -> impl Future<Output = Result<(), Fault>>;
}

/// Tells that it is time to stop.
#[derive(Default, Debug)]
pub struct Stop {
    told: Cell<bool>,
    event: Event,
}

impl Stop {
    /// Says so.
    pub fn tell(&self) {
        self.told.set(true);
        self.event.notify(usize::MAX);
    }

    /// Whether it was said.
    pub fn is_told(&self) -> bool {
        self.told.get()
    }

    /// Waits for it.
    pub async fn told(&self) {
        while !self.told.get() {
            self.event.listen().await;
        }
    }
}

/// A device's back end as XenStore sees it.
#[derive(Debug)]
pub struct Xenbus<N, B> {
    ends: Ends<N>,
    backend: B,
    running: Cell<bool>,
    closing: Stop,
    ended: Event,
}

impl<N: Nodes, B: Backend> Xenbus<N, B> {
    /// A device whose nodes are there, or will be before [`Self::run`].
    pub fn new(nodes: N, address: Address, backend: B) -> Self {
        Self {
            ends: Ends::new(nodes, address),
            backend,
            running: Cell::new(false),
            closing: Stop::default(),
            ended: Event::new(),
        }
    }

    /// The device.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Serves front ends, one after another, until the device is closed for good. It runs
    /// once.
    pub async fn run(&self) {
        let _running = Running::begin(self);
        let sight = Sight::of(&self.ends);
        while let Some(()) = self.one_front_end(&sight).await {}
        self.ends.say(XenbusState::Closed);
    }

    /// Ends [`Self::run`], whatever the front end does, and waits until it has ended: nothing
    /// is mapped then.
    pub async fn close(&self) {
        self.closing.tell();
        while self.running.get() {
            self.ended.listen().await;
        }
    }

    /// From `InitWait` to `Initialising` again. `None`: this was the last one.
    async fn one_front_end(&self, sight: &Sight<N>) -> Option<()> {
        use XenbusState::{Closed, Closing, Connected, InitWait, Initialised, Initialising, Unknown};

        self.offer()?;
        self.ends.say(InitWait);
        let ready = [Initialised, Connected, Closing, Closed, Unknown];
        let mut front = self.front_becomes(sight, &ready, Idle::WhileInitialising).await?;
        if matches!(front, Initialised | Connected) {
            front = self.connection(sight).await?;
        }
        if front == Closing {
            self.ends.say(Closing);
            front = self.front_becomes(sight, &[Closed, Unknown, Initialising], Idle::Never).await?;
        }
        if front != Initialising {
            self.ends.say(Closed);
            self.front_becomes(sight, &[Initialising], Idle::WhileClosed).await?;
        }
        Some(())
    }

    fn offer(&self) -> Option<()> {
        self.backend.offer(&self.ends).map_err(|fault| self.ends.complain(&fault)).ok()
    }

    /// Connects and serves. How the front end left.
    async fn connection(&self, sight: &Sight<N>) -> Option<XenbusState> {
        use XenbusState::{Closed, Closing, Initialising, Unknown};

        let served = match self.backend.connect(&self.ends) {
            Ok(connection) => self.served(sight, connection).await?,
            Err(fault) => Err(fault),
        };
        match served {
            Ok(front) => Some(front),
            Err(fault) => {
                self.ends.complain(&fault);
                self.ends.say(Closed);
                let leaving = [Closing, Closed, Initialising, Unknown];
                self.front_becomes(sight, &leaving, Idle::WhileClosed).await
            }
        }
    }

    /// Serves until the front end leaves, breaks the rules, or all ends.
    async fn served(
        &self,
        sight: &Sight<N>,
        connection: B::Connection,
    ) -> Option<Result<XenbusState, Fault>> {
        use XenbusState::{Closed, Closing, Connected, Initialising, Unknown};

        self.ends.say(Connected);
        let stop = Stop::default();
        let leaving = [Closing, Closed, Unknown, Initialising];
        let leaves = pin!(self.front_becomes(sight, &leaving, Idle::Never));
        match select(leaves, pin!(self.backend.serve(connection, &stop))).await {
            Either::Left((front, serving)) => {
                stop.tell();
                let served = serving.await;
                front.map(|front| served.map(|()| front))
            }
            Either::Right((Err(fault), _)) => Some(Err(fault)),
            // It stopped without being told: there is nothing to serve.
            Either::Right((Ok(()), leaves)) => leaves.await.map(Ok),
        }
    }

    /// Waits until the front end's state is one of these, and gives it. `None` where the
    /// device has come to its end.
    async fn front_becomes(
        &self,
        sight: &Sight<N>,
        states: &[XenbusState],
        idle: Idle,
    ) -> Option<XenbusState> {
        loop {
            if self.closing.is_told() {
                return None;
            }
            let front = self.ends.front_state();
            if states.contains(&front) {
                return Some(front);
            }
            if idle.is(front) && !self.ends.is_online() {
                return None;
            }
            select(pin!(sight.changed()), pin!(self.closing.told())).await;
        }
    }
}

/// When a device that is not online any more may end.
#[derive(Clone, Copy)]
enum Idle {
    /// Not here: the front end has to go first.
    Never,
    /// Where no front end has come yet.
    WhileInitialising,
    /// Where the front end is closed or gone.
    WhileClosed,
}

impl Idle {
    fn is(self, front: XenbusState) -> bool {
        match self {
            Self::Never => false,
            Self::WhileInitialising => front == XenbusState::Initialising,
            Self::WhileClosed => true,
        }
    }
}

/// What changes of the nodes are told.
struct Sight<N: Nodes> {
    front: N::Watch,
    online: N::Watch,
}

impl<N: Nodes> Sight<N> {
    fn of(ends: &Ends<N>) -> Self {
        Self {
            front: ends.nodes.watch(&format!("{}/state", ends.front)),
            online: ends.nodes.watch(&format!("{}/online", ends.back)),
        }
    }

    async fn changed(&self) {
        select(pin!(self.front.changed()), pin!(self.online.changed())).await;
    }
}

/// Notes that [`Xenbus::run`] runs, until it ends or is dropped.
struct Running<'a> {
    flag: &'a Cell<bool>,
    ended: &'a Event,
}

impl<'a> Running<'a> {
    fn begin<N, B>(of: &'a Xenbus<N, B>) -> Self {
        of.running.set(true);
        Self { flag: &of.running, ended: &of.ended }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.flag.set(false);
        self.ended.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::cell::RefCell;

    use futures_util::future::join;

    use super::*;
    use crate::testing::{self, Bench, play};

    const AT: Address = Address { kind: "vbd", domain: 7, number: 51712 };

    /// A device that notes what it is told, and is broken by its front end's node `break`.
    struct Noting {
        nodes: testing::Nodes,
        notes: RefCell<Vec<&'static str>>,
    }

    impl Backend for Noting {
        type Connection = u32;

        fn offer<N: Nodes>(&self, ends: &Ends<N>) -> Result<(), Fault> {
            self.notes.borrow_mut().push("offer");
            ends.put("feature", 1)
        }

        fn connect<N: Nodes>(&self, ends: &Ends<N>) -> Result<u32, Fault> {
            self.notes.borrow_mut().push("connect");
            let key = ends.front_needs("key")?;
            ends.put("property", key).map(|()| key)
        }

        async fn serve(&self, _: u32, stop: &Stop) -> Result<(), Fault> {
            self.notes.borrow_mut().push("serve");
            let broken = pin!(self.nodes.until("/local/domain/7/device/vbd/51712/break", "1"));
            match select(pin!(stop.told()), broken).await {
                Either::Left(_) => {
                    self.notes.borrow_mut().push("stop");
                    Ok(())
                }
                Either::Right(_) => Err(Fault::new(Errno::EIO, "broken ring")),
            }
        }
    }

    fn device() -> (Bench, Xenbus<testing::Nodes, Noting>) {
        let bench = Bench::new(AT);
        let noting = Noting { nodes: bench.nodes.clone(), notes: RefCell::default() };
        let device = Xenbus::new(bench.nodes.clone(), AT, noting);
        (bench, device)
    }

    async fn comes_up(bench: &Bench) {
        bench.back_is("2").await;
        bench.write_front("key", "42");
        bench.write_front("state", "3");
        bench.back_is("4").await;
        bench.write_front("state", "4");
    }

    async fn goes_down(bench: &Bench) {
        bench.write_front("state", "5");
        bench.back_is("5").await;
        bench.write_front("state", "6");
        bench.back_is("6").await;
    }

    #[test]
    fn nodes_are_where_toolstacks_put_them() {
        assert_eq!(AT.back(), "/local/domain/0/backend/vbd/7/51712");
        assert_eq!(AT.front(), "/local/domain/7/device/vbd/51712");
        assert_eq!(AT.error(), "/local/domain/0/error/backend/vbd/7/51712/error");
    }

    #[test]
    fn a_front_end_comes_and_goes() {
        let (bench, device) = device();
        play(join(device.run(), async {
            comes_up(&bench).await;
            assert_eq!(bench.back("property").as_deref(), Some("42"));
            bench.write_back("online", "0");
            bench.write_back("state", "5");
            goes_down(&bench).await;
        }));
        assert_eq!(*device.backend().notes.borrow(), ["offer", "connect", "serve", "stop"]);
        assert_eq!(bench.nodes.watches(), 0);
    }

    #[test]
    fn a_front_end_that_starts_again_is_served_again() {
        let (bench, device) = device();
        play(join(device.run(), async {
            comes_up(&bench).await;
            goes_down(&bench).await;
            bench.write_front("state", "1");
            comes_up(&bench).await;
            // Without a word, as after a crash.
            bench.write_front("state", "1");
            comes_up(&bench).await;
            device.close().await;
            assert_eq!(bench.back("state").as_deref(), Some("6"));
        }));
        let notes = device.backend().notes.borrow();
        assert_eq!(notes.iter().filter(|note| **note == "stop").count(), 3);
    }

    #[test]
    fn a_fault_closes_the_device_until_the_front_end_starts_anew() {
        let (bench, device) = device();
        play(join(device.run(), async {
            comes_up(&bench).await;
            bench.write_front("break", "1");
            bench.back_is("6").await;
            assert_eq!(bench.error().as_deref(), Some("5 broken ring"));
            // It goes on as if nothing were wrong.
            bench.write_front("state", "3");
            bench.write_front("state", "4");
            bench.write_front("break", "0");
            bench.write_front("state", "6");
            bench.write_front("state", "1");
            comes_up(&bench).await;
            device.close().await;
        }));
        let notes = device.backend().notes.borrow();
        assert_eq!(*notes, ["offer", "connect", "serve", "offer", "connect", "serve", "stop"]);
    }

    #[test]
    fn a_front_end_without_its_nodes_is_told_what_is_missing() {
        for (key, words) in
            [(None, "2 key is missing"), (Some("4294967296"), "22 key is not a number in range")]
        {
            let (bench, device) = device();
            play(join(device.run(), async {
                bench.back_is("2").await;
                if let Some(key) = key {
                    bench.write_front("key", key);
                }
                bench.write_front("state", "3");
                bench.back_is("6").await;
                assert_eq!(bench.error().as_deref(), Some(words));
                bench.write_back("online", "0");
            }));
            assert_eq!(*device.backend().notes.borrow(), ["offer", "connect"]);
        }
    }

    #[test]
    fn a_device_that_nobody_uses_ends_when_it_is_not_online() {
        let (bench, device) = device();
        play(join(device.run(), async {
            bench.back_is("2").await;
            bench.write_back("online", "0");
        }));
        assert_eq!(bench.back("state").as_deref(), Some("6"));
    }

    #[test]
    fn a_front_end_in_use_keeps_the_device_until_it_goes() {
        let (bench, device) = device();
        play(join(device.run(), async {
            comes_up(&bench).await;
            bench.write_back("online", "0");
            bench.write_front("unrelated", "1");
            testing::yield_now().await;
            assert_eq!(bench.back("state").as_deref(), Some("4"));
            bench.nodes.remove("/local/domain/7");
            bench.back_is("6").await;
        }));
    }

    #[test]
    fn nodes_that_cannot_be_written_end_the_device() {
        let (bench, device) = device();
        bench.nodes.refuse(&format!("{}/feature", AT.back()));
        play(device.run());
        assert_eq!(bench.error().as_deref(), Some("13 writing feature: EACCES"));
    }

    #[test]
    fn closing_waits_for_nothing_where_nothing_runs() {
        let (_bench, device) = device();
        play(device.close());
        play(device.run());
        assert_eq!(*device.backend().notes.borrow(), ["offer"]);
    }
}
