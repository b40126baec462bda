//! What can be typed at the console.

use alloc::format;
use alloc::string::String;

use guest_rt::boot::Boot;
use guest_rt::{cpu, heap_free, hypercall, tasks, timer, xenstore};
use xen_abi::sched::ShutdownReason;

use crate::guest::Guest;
use crate::vcpus;

const HELP: &str = "\
  help            this list
  uptime          how long this guest has run
  vcpus           its vcpus, and how long each has run
  mem             its memory
  name            its name, from XenStore
  store PATH      a node of XenStore, with its children
  busy SECONDS    all vcpus that are online work; Ctrl-C ends it
  poweroff        end the domain
  reboot          end it and start it again
  crash           end it by a panic
  halt            stop, but leave the domain there
";
/// Work of the first vcpu between two looks at the console, ns.
const TURN_NS: u64 = 5_000_000;
const CTRL_C: u8 = 3;

/// Runs one line.
pub(crate) async fn run(guest: &mut Guest, line: &str) {
    let mut words = line.split_ascii_whitespace();
    let Some(verb) = words.next() else { return };
    let argument = words.next();
    let answer = match verb {
        "help" => String::from(HELP),
        "uptime" => uptime(guest.started_ns),
        "vcpus" => list_vcpus(),
        "mem" => memory(guest.boot),
        "name" => store(guest, "name").await,
        "store" => match argument {
            Some(path) => store(guest, path).await,
            None => String::from("usage: store PATH\n"),
        },
        "busy" => match argument.and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) => busy(guest, seconds).await,
            None => String::from("usage: busy SECONDS\n"),
        },
        "poweroff" => hypercall::shutdown(ShutdownReason::Poweroff),
        "reboot" => hypercall::shutdown(ShutdownReason::Reboot),
        "crash" => panic!("ordered at the console"),
        "halt" => guest.halt().await,
        _ => format!("{verb}: no such command; 'help' lists them\n"),
    };
    guest.console.write(&answer).await;
}

fn uptime(started_ns: u64) -> String {
    let ms = timer::now_ns().saturating_sub(started_ns) / 1_000_000;
    format!("up {}.{:03} s\n", ms / 1000, ms % 1000)
}

fn list_vcpus() -> String {
    let mut list = String::from("vcpu  state     run time\n");
    for vcpu in 0..vcpus::count() {
        let state = if vcpus::is_online(vcpu) { "online" } else { "offline" };
        let ms = vcpus::run_ns(vcpu).unwrap_or(0) / 1_000_000;
        list += &format!("{vcpu:>4}  {state:<8}  {}.{:03} s\n", ms / 1000, ms % 1000);
    }
    list
}

fn memory(boot: &Boot) -> String {
    let total: u64 = boot.ram().map(|ram| ram.end - ram.start).sum();
    format!("{} KiB, {} KiB of them free\n", total / 1024, heap_free() / 1024)
}

/// The value of a node and the names of those below.
async fn store(guest: &mut Guest, path: &str) -> String {
    let Some(store) = &mut guest.store else { return String::from("There is no XenStore.\n") };
    let value = match store.read_text(path).await {
        Ok(value) => value,
        Err(error) => return format!("{path}: {}\n", why(&error)),
    };
    let mut text = format!("{path} = \"{value}\"\n");
    match store.directory(path).await {
        Ok(names) => names.iter().for_each(|name| text += &format!("  {name}\n")),
        Err(error) => text += &format!("{path}: {}\n", why(&error)),
    }
    text
}

fn why(error: &xenstore::Error) -> String {
    match error {
        xenstore::Error::Refused(name) => name.clone(),
        error => format!("{error:?}"),
    }
}

/// Works, and listens to the console and the toolstack meanwhile.
async fn busy(guest: &mut Guest, seconds: u32) -> String {
    let ns = u64::from(seconds) * 1_000_000_000;
    let (begun, end) = (timer::now_ns(), timer::now_ns().saturating_add(ns));
    vcpus::make_busy(ns);
    while timer::now_ns() < end {
        let turn = timer::now_ns() + TURN_NS;
        while timer::now_ns() < turn.min(end) {
            cpu::relax();
        }
        guest.follow_watches().await;
        if guest.console.key() == Some(CTRL_C) {
            vcpus::rest();
            break;
        }
        tasks::yield_now().await;
    }
    let online = (0..vcpus::count()).filter(|vcpu| vcpus::is_online(*vcpu)).count();
    let ms = (timer::now_ns() - begun) / 1_000_000;
    format!("{online} vcpus worked for {}.{:03} s\n", ms / 1000, ms % 1000)
}
