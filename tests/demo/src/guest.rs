//! The guest's main loop: keys, watches, and what the toolstack asks for (`control/shutdown` of XenStore, as in
//! Xen's `docs/misc/xenstore-paths`).

use alloc::format;
use alloc::string::{String, ToString};
use core::future::{pending, poll_fn};
use core::pin::pin;
use core::task::Poll;

use guest_rt::boot::Boot;
use guest_rt::xenstore::{self, XenStore};
use guest_rt::{hypercall, timer, trap};
use xen_abi::sched::ShutdownReason;

use crate::commands;
use crate::console::{Console, Entered, debug};
use crate::vcpus;

const SHUTDOWN: &str = "control/shutdown";
const CPU: &str = "cpu";
/// How long a store that was silent is left alone, ns.
const RETRY_NS: u64 = 5_000_000_000;
/// What this guest does when asked to (`control/feature-*`).
const FEATURES: [&str; 2] = ["poweroff", "reboot"];

/// All that the guest knows.
pub(crate) struct Guest {
    pub(crate) boot: &'static Boot,
    pub(crate) console: Console,
    /// `None` where there is none, or it broke.
    pub(crate) store: Option<XenStore>,
    /// The store knows what this guest can do, and tells it of changes.
    joined: bool,
    pub(crate) name: String,
    /// System time at the start, ns.
    pub(crate) started_ns: u64,
}

impl Guest {
    pub(crate) fn new(boot: &'static Boot) -> Self {
        let store = XenStore::open().inspect_err(|error| debug(&format!("demo: no XenStore: {error:?}")));
        Self {
            boot,
            console: Console::open(),
            store: store.ok(),
            joined: false,
            name: "demo".to_string(),
            started_ns: timer::now_ns(),
        }
    }

    pub(crate) async fn run(mut self) {
        let greeting =
            format!("\nKigumi demo guest {}. Type 'help' for its commands.\n", env!("CARGO_PKG_VERSION"));
        self.console.write(&greeting).await;
        self.join_store().await;
        self.adjust_vcpus().await;
        self.prompt().await;
        loop {
            self.follow_watches().await;
            if !self.joined {
                self.join_store().await;
            }
            while let Some(key) = self.console.key() {
                self.press(key).await;
            }
            self.wait().await;
        }
    }

    async fn prompt(&mut self) {
        let prompt = format!("{}> ", self.name);
        self.console.write(&prompt).await;
    }

    async fn press(&mut self, key: u8) {
        let Some(entered) = self.console.edit(key).await else { return };
        if let Entered::Line(line) = entered {
            commands::run(self, &line).await;
        }
        self.prompt().await;
    }

    /// Waits until there may be something to do.
    async fn wait(&self) {
        if self.joined || self.store.is_none() {
            self.event().await;
        } else {
            // The store was silent: once more in a while.
            timer::within(RETRY_NS, self.event()).await;
        }
    }

    /// Waits until a key was pressed or a watch fired.
    async fn event(&self) {
        let mut keys = pin!(self.console.changed());
        let mut watches = pin!(async {
            match &self.store {
                Some(store) => store.changed().await,
                None => pending().await,
            }
        });
        poll_fn(|context| {
            let key = keys.as_mut().poll(context).is_ready();
            if watches.as_mut().poll(context).is_ready() || key { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Learns the domain's name, says what the guest can do, and asks for orders.
    async fn join_store(&mut self) {
        let Some(store) = &mut self.store else { return };
        let joined = async {
            self.name = store.read_text("name").await?;
            for feature in FEATURES {
                store.write(&format!("control/feature-{feature}"), "1").await?;
            }
            for path in [SHUTDOWN, CPU] {
                match store.watch(path, path).await {
                    // It was asked for before the store fell silent.
                    Err(xenstore::Error::Refused(name)) if name == "EEXIST" => {}
                    asked => asked?,
                }
            }
            Ok(())
        };
        match joined.await {
            Ok(()) => {
                self.joined = true;
                // What changed while nobody watched.
                self.follow_shutdown().await;
            }
            Err(error) => self.report_store(&error).await,
        }
    }

    /// Tells what is wrong with the store. One that is silent may come back, one that breaks the protocol not.
    async fn report_store(&mut self, error: &xenstore::Error) {
        let message = format!("demo: XenStore: {error:?}");
        debug(&message);
        self.console.write(&format!("{message}\n")).await;
        match error {
            // What it does not let this guest do is not asked for again.
            xenstore::Error::Refused(_) | xenstore::Error::BadRequest => self.joined = true,
            xenstore::Error::Silent => self.joined = false,
            xenstore::Error::Ring(_) | xenstore::Error::BadAnswer => self.store = None,
        }
    }

    /// Does what the watches that fired are for.
    pub(crate) async fn follow_watches(&mut self) {
        loop {
            let Some(store) = &mut self.store else { return };
            match store.next_event() {
                Ok(None) => return,
                Ok(Some(event)) if event.token == SHUTDOWN => self.follow_shutdown().await,
                Ok(Some(_)) => self.adjust_vcpus().await,
                Err(error) => self.report_store(&error).await,
            }
        }
    }

    async fn follow_shutdown(&mut self) {
        let Some(store) = &mut self.store else { return };
        let order = match store.read_text(SHUTDOWN).await {
            Ok(order) if order.is_empty() => return,
            Ok(order) => order,
            // No order yet.
            Err(xenstore::Error::Refused(_)) => return,
            Err(error) => return self.report_store(&error).await,
        };
        // An empty value is the answer: the order has arrived.
        if let Err(error) = store.write(SHUTDOWN, "").await {
            self.report_store(&error).await;
        }
        self.console.write(&format!("\nThe toolstack asks: {order}.\n")).await;
        match order.as_str() {
            "poweroff" | "halt" => hypercall::shutdown(ShutdownReason::Poweroff),
            "reboot" => hypercall::shutdown(ShutdownReason::Reboot),
            _ => self.console.write("This guest cannot do that.\n").await,
        }
    }

    /// Stops for good without telling anybody, as `halt` does: the domain stays.
    pub(crate) async fn halt(&mut self) -> ! {
        self.console.write("System halted.\n").await;
        loop {
            trap::wait();
        }
    }

    /// Brings vcpus up and down as XenStore says; without it all of them are to run.
    async fn adjust_vcpus(&mut self) {
        for vcpu in 1..vcpus::count() {
            let online = match &mut self.store {
                Some(store) => store.read_text(&format!("{CPU}/{vcpu}/availability")).await,
                None => Ok(String::new()),
            };
            let online = online.map_or(true, |value| value != "offline");
            if !vcpus::set_online(vcpu, online) {
                debug(&format!("demo: vcpu {vcpu} cannot be started or stopped"));
            }
        }
    }
}
