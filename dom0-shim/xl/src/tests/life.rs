//! Lives of domains.

use super::{fails, ok, orders, wrong};
use crate::testing::{Fake, Screen, Typed, run, run_on};
use crate::toolstack::Reason;

#[test]
fn domains_are_called_by_name_or_id() {
    let tools = Fake::new();
    orders(&tools, "pause one", &["pause 1"]);
    orders(&tools, "unpause 2", &["unpause 2"]);
    orders(&tools, "destroy two", &["destroy 2"]);
    orders(&tools, "rename one other", &["rename 1 other"]);
    // An id goes before a name of digits.
    tools.change(2, |domain| domain.name = "1".into());
    orders(&tools, "pause 1", &["pause 1"]);
    tools.change(2, |domain| domain.name = "77".into());
    orders(&tools, "pause 77", &["pause 2"]);
}

#[test]
fn domain_0_is_spared() {
    let tools = Fake::new();
    for line in
        ["pause 0", "destroy Domain-0", "shutdown 0", "reboot 0", "virsh destroy 0", "suspend 0", "console 0"]
    {
        fails(&tools, line);
    }
    orders(&tools, "destroy -f 0", &["destroy 0"]);
}

#[test]
fn guests_are_asked_to_stop() {
    let tools = Fake::new();
    assert_eq!(ok(&tools, "shutdown one"), "Shutting down domain 1\n");
    assert_eq!(tools.taken_orders(), ["request 1 Poweroff force=false"]);
    assert_eq!(ok(&tools, "reboot -F two one"), "Rebooting domain 2\nRebooting domain 1\n");
    assert_eq!(tools.taken_orders(), ["request 2 Reboot force=true", "request 1 Reboot force=true"]);
    assert_eq!(ok(&tools, "shutdown --all"), "Shutting down domain 1\nShutting down domain 2\n");
    assert_eq!(tools.taken_orders().len(), 2);
    wrong(&tools, "shutdown");
    wrong(&tools, "reboot");
    wrong(&tools, "shutdown -a one");
}

/// LIF-14.
#[test]
fn guests_that_cannot_hear_are_not_asked() {
    let tools = Fake::new();
    tools.change(1, |domain| domain.paused = true);
    assert_eq!(
        fails(&tools, "shutdown one"),
        "Shutting down domain 1\nshutdown of domain 1 refused: it is paused: `unpause` it first, or `destroy` it.\n"
    );
    assert!(fails(&tools, "virsh reboot one").starts_with("reboot of domain 1 refused: it is paused"));
    tools.change(1, |domain| domain.shutdown = Some(Reason::Poweroff));
    assert!(fails(&tools, "reboot one").contains("it has shut down already"));
    tools.change(1, |domain| domain.shutdown = Some(Reason::Crash));
    assert!(fails(&tools, "shutdown one").contains("it has crashed"));
    tools.change(1, |domain| domain.dying = true);
    assert!(fails(&tools, "shutdown one").contains("it is being destroyed"));
    // Destroying is not restricted (LIF-15).
    orders(&tools, "destroy one", &["destroy 1"]);
}

#[test]
fn one_refusal_does_not_keep_the_others() {
    let tools = Fake::new();
    tools.change(1, |domain| domain.paused = true);
    let (status, text) = run(&tools, "shutdown -a");
    assert_eq!(status, 1);
    assert!(text.ends_with("Shutting down domain 2\nNot all domains could be asked.\n"), "{text}");
    assert_eq!(tools.taken_orders(), ["request 2 Poweroff force=false"]);
}

#[test]
fn waits_until_guests_have_stopped() {
    let tools = Fake::new();
    tools.stops.borrow_mut().extend([(1, Some(Reason::Poweroff)), (2, None)]);
    assert_eq!(
        ok(&tools, "shutdown -w one two"),
        "Shutting down domain 1\nShutting down domain 2\nWaiting for 2 domains\n\
         Domain 1 has been shut down, reason code 0\nDomain 2 has been destroyed\n"
    );
    assert_eq!(tools.taken_orders().len(), 2);
}

#[test]
fn waiting_ends_with_an_interrupt_and_keeps_what_was_typed() {
    let tools = Fake::new();
    let mut screen = Screen::new(&tools, b"");
    assert_eq!(run_on(&tools, &mut screen, "shutdown -w one"), None);
    let mut screen = Screen::new(&tools, b"list\x03\r");
    assert_eq!(run_on(&tools, &mut screen, "shutdown -w one"), Some(1));
    assert!(
        screen.text().ends_with("Interrupted: what was asked for goes on without this waiting for it.\n")
    );
    // In a shell the line that was begun goes on.
    let shown = crate::testing::type_in(&tools, b"shutdown -w one\rdomid \x03two\r");
    assert!(shown.contains("domid two\n2\n"), "{shown}");
}

#[test]
fn keys_and_buttons() {
    let tools = Fake::new();
    orders(&tools, "sysrq one h", &["sysrq 1 h"]);
    wrong(&tools, "sysrq one hh");
    wrong(&tools, "sysrq one ''");
    wrong(&tools, "sysrq one é");
    for (word, button) in [
        ("nmi", "Nmi"),
        ("reset", "Reset"),
        ("init", "Init"),
        ("power", "Power"),
        ("sleep", "Sleep"),
        ("s3resume", "S3Resume"),
    ] {
        let order = alloc::format!("trigger 1 {button} 0");
        orders(&tools, &alloc::format!("trigger one {word}"), &[&order]);
    }
    orders(&tools, "trigger one nmi 1", &["trigger 1 Nmi 1"]);
    assert_eq!(fails(&tools, "trigger one nmi 2"), "Domain one has no vcpu 2.\n");
    fails(&tools, "trigger one nmi -- -1");
    assert!(wrong(&tools, "trigger one bell").starts_with("Invalid trigger \"bell\"\n"));
    orders(&tools, "debug-keys qr", &["keys qr"]);
    wrong(&tools, "debug-keys é");
    wrong(&tools, "debug-keys ''");
}

#[test]
fn the_machine_is_stopped_by_its_own_verbs() {
    let tools = Fake::new();
    assert_eq!(ok(&tools, "poweroff"), "Stopping all domains, then the machine.\n");
    assert_eq!(tools.taken_orders(), ["power Poweroff"]);
    assert_eq!(ok(&tools, "reset"), "Stopping all domains, then starting the machine again.\n");
    assert_eq!(tools.taken_orders(), ["power Reboot"]);
}

#[test]
fn a_waiting_screen_lets_pauses_pass() {
    let tools = Fake::new();
    let mut screen = Screen::new(&tools, b"").then(Typed::Nothing).then(Typed::Byte(3));
    assert_eq!(run_on(&tools, &mut screen, "shutdown -w one"), Some(1));
}
