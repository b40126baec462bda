//! Kigumi's own Dom0: the kernel that runs as the privileged domain where no
//! Linux Dom0 is wanted. It holds XenStore, the toolstack and its shell.
//!
//! ```text
//!   shell ──> toolstack ──> xen-control ──> hypercalls
//!               │    └────> consoles of the domains
//!               └─────────> XenStore <── rings of the domains
//! ```
//!
//! | module | |
//! |---|---|
//! | [`devices`] | domains' disks and network interfaces |
//! | [`nodes`] | XenStore, for back ends |
//! | [`platform`] | time, events, chance for the toolstack |
//! | [`registry`] | XenStore |
//! | [`terminal`] | the machine's console |
//!
//! Everything but these thin ends is in libraries that are tested on the host.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod devices;
mod nodes;
mod platform;
mod registry;
mod terminal;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt::Debug;

use guest_rt::boot::Boot;
use guest_rt::tasks::{self, Executor};
use guest_rt::window::Window as Frames;
use guest_rt::{channels, hypercall, println, timer};
use toolstack::tar::Archive;
use toolstack::{Environment, Files, Manager};
use xen_abi::sched::ShutdownReason;
use xen_control::foreign::Window;
use xen_store::Quota;
use xl::Shell;
use xl_config::admission::MOST_DOMAINS;
use xl_config::diagnostic::Diagnostic;
use xl_config::domain::DomainConfig;

use devices::Backends;
use platform::Platform;
use registry::Store;
use terminal::Console;

guest_rt::guest_main!(main);

/// Name of this host, unless the word `hostname=` says another.
const HOSTNAME: &str = "kigumi";
/// The file of the store that is shown at the start.
const GREETING: &str = "motd";

fn main(boot: &'static Boot) -> ! {
    println!("Kigumi dom0-shim {}", env!("CARGO_PKG_VERSION"));
    let Err(reason) = run(boot);
    println!("dom0-shim: {reason}");
    hypercall::shutdown(ShutdownReason::Crash)
}

/// What the toolstack stands on.
struct Ground {
    hypervisor: &'static Window<Frames>,
    platform: Platform,
    store: &'static Store,
    files: Archive<'static>,
    devices: Backends,
}

impl Environment for Ground {
    type Hypervisor = &'static Window<Frames>;
    type Platform = Platform;
    type Registry = Store;
    type Files = Archive<'static>;
    type Devices = Backends;

    fn hypervisor(&self) -> &Self::Hypervisor {
        &self.hypervisor
    }

    fn platform(&self) -> &Platform {
        &self.platform
    }

    fn registry(&self) -> &Store {
        self.store
    }

    fn files(&self) -> &Archive<'static> {
        &self.files
    }

    fn devices(&self) -> &Backends {
        &self.devices
    }
}

/// Runs all there is, for ever.
///
/// # Errors
///
/// What the hypervisor refused, in words.
fn run(boot: &'static Boot) -> Result<Infallible, String> {
    channels::init().map_err(refused("event channels"))?;
    timer::init().map_err(refused("timer"))?;
    let frames = Frames::new().map_err(refused("memory for others' frames"))?;
    // What tasks of devices use is there as long as the kernel.
    let window: &'static _ = Box::leak(Box::new(Window::new(frames)));
    let store: &'static _ = Box::leak(Box::new(Store::new(window, quota())));
    let executor: &'static _ = Box::leak(Box::new(Executor::new()));
    executor.spawn(store.serve()).detach();
    executor.spawn(start_or_stop(boot, executor, window, store)).detach();
    tasks::run(executor)
}

/// Starts all that needs the machine's devices; where that fails, ends.
async fn start_or_stop(
    boot: &'static Boot,
    executor: &'static Executor<'static>,
    window: &'static Window<Frames>,
    store: &'static Store,
) {
    if let Err(reason) = start(boot, executor, window, store).await {
        println!("dom0-shim: {reason}");
        hypercall::shutdown(ShutdownReason::Crash)
    }
}

async fn start(
    boot: &'static Boot,
    executor: &'static Executor<'static>,
    window: &'static Window<Frames>,
    store: &'static Store,
) -> Result<(), String> {
    let devices = Backends::new(boot, executor, store).await?;
    let platform =
        Platform::new(boot.option("hostname").unwrap_or(HOSTNAME)).map_err(refused("VIRQ_DOM_EXC"))?;
    let files = files(boot);
    greet(&files);
    let ground = Ground { hypervisor: window, platform, store, files, devices };
    let manager: &'static _ = Box::leak(Box::new(Manager::new(ground).map_err(|failure| failure.0)?));
    // For a machine that nobody sits at.
    let shell = !boot.has_word("noshell");
    let console = shell.then(Console::new).transpose().map_err(refused("VIRQ_CONSOLE"))?;
    executor.spawn(manager.watch_deaths()).detach();
    executor.spawn(manager.serve_consoles()).detach();
    executor.spawn(manager.autostart(load)).detach();
    if let Some(mut console) = console {
        executor.spawn(async move { Shell::new(manager).run(&mut console).await }).detach();
    }
    Ok(())
}

/// Shows what the store's maker has to say.
fn greet(files: &Archive<'_>) {
    if let Ok(text) = files.read(GREETING) {
        println!("\n{}\n", String::from_utf8_lossy(&text).trim());
    }
}

/// What one domain may have in XenStore: all of them together must leave most of the heap.
fn quota() -> Quota {
    let usual = Quota::default();
    Quota { memory: usual.memory.min(guest_rt::heap_free() / 4 / MOST_DOMAINS), ..usual }
}

fn refused<E: Debug>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error:?}")
}

/// A configuration that starts by itself.
fn load(name: &str, text: &[u8]) -> Result<DomainConfig, String> {
    let (config, warnings) = xl_config::load::<&str>(name, text, &[]).map_err(|errors| lines(&errors))?;
    if !warnings.is_empty() {
        println!("{}", lines(&warnings));
    }
    Ok(config)
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(|diagnostic| format!("{diagnostic}")).collect();
    lines.join("\n")
}

/// The store of files: the first boot module. Without one there are none.
fn files(boot: &'static Boot) -> Archive<'static> {
    let Some(module) = boot.modules().next() else {
        println!("dom0-shim: no module with files: `xl create` finds no configuration");
        return Archive::default();
    };
    Archive::new(module.bytes).unwrap_or_else(|failure| {
        println!("dom0-shim: first module: {failure}");
        Archive::default()
    })
}
