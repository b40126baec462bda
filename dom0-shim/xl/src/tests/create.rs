//! Making domains.

use super::{fails, ok, orders, wrong};
use crate::testing::{Fake, Screen, run, run_on};
use crate::toolstack::Reason;

#[test]
fn domains_are_made_from_files() {
    let tools = Fake::new();
    assert_eq!(ok(&tools, "create guest.cfg"), "Parsing config from guest.cfg\n");
    assert_eq!(tools.taken_orders(), ["create guest 65536 paused=false"]);
    orders(&tools, "create -q -p guest.cfg", &["create guest 65536 paused=true"]);
    orders(&tools, "create -q --defconfig=guest.cfg", &["create guest 65536 paused=false"]);
    orders(&tools, "create memory=128 -q guest.cfg 'name=\"other\"'", &["create other 131072 paused=false"]);
    wrong(&tools, "create -q");
    wrong(&tools, "create -q memory=128");
    wrong(&tools, "create -q guest.cfg bad.cfg");
    wrong(&tools, "create -q -f guest.cfg guest.cfg");
}

/// CPU-05, CPU-20, CPU-23: a domain that gets in others' way starts all the same.
#[test]
fn what_is_worth_a_word_is_said_before_the_start() {
    let warnings = "warning: guest: too many\nwarning: guest: too near\n";
    for (line, rest) in [("create -q guest.cfg", ""), ("start guest", "Domain guest started\n")] {
        let tools = Fake::new();
        *tools.advice.borrow_mut() = alloc::vec!["too many".into(), "too near".into()];
        assert_eq!(ok(&tools, line), alloc::format!("{warnings}{rest}"));
        assert_eq!(tools.taken_orders().len(), 1);
    }
}

#[test]
fn a_dry_run_shows_what_would_be() {
    let tools = Fake::new();
    let text = ok(&tools, "create -nq guest.cfg vcpus=1");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(json["domid"].is_null());
    assert_eq!(json["config"]["b_info"]["max_vcpus"], 1);
    assert!(tools.taken_orders().is_empty());
    assert!(ok(&tools, "create -dq guest.cfg").starts_with("{\n  \"domid\": null"));
    assert_eq!(tools.taken_orders().len(), 1);
}

#[test]
fn bad_files_make_nothing() {
    let tools = Fake::new();
    let text = fails(&tools, "create bad.cfg");
    assert!(text.starts_with("Parsing config from bad.cfg\nbad.cfg:3:10: error: "), "{text}");
    assert!(text.ends_with("\nFailed to parse config: bad.cfg\n"), "{text}");
    assert_eq!(fails(&tools, "create -q nothing.cfg"), "Failed to read config file: no file nothing.cfg\n");
    fails(&tools, "create kernel");
    fails(&tools, "create guest.cfg memory=lots");
}

#[test]
fn the_console_is_attached_at_once() {
    let tools = Fake::new();
    tools.consoles.borrow_mut().insert(3, [Some(&b"hello\n"[..]), None].into());
    let text = ok(&tools, "create -qc guest.cfg");
    assert!(text.contains("Attached to the console of guest (domain 3)"), "{text}");
    assert!(text.contains("hello\n"), "{text}");
}

#[test]
fn waits_in_the_foreground() {
    let tools = Fake::new();
    tools.stops.borrow_mut().insert(3, Some(Reason::Crash));
    assert!(ok(&tools, "create -qF guest.cfg").ends_with("Domain 3 has been shut down, reason code 3\n"));
    tools.stops.borrow_mut().clear();
    let mut screen = Screen::new(&tools, b"\x03");
    assert_eq!(run_on(&tools, &mut screen, "create -qF guest.cfg"), Some(1));
}

#[test]
fn configurations_are_replaced() {
    let tools = Fake::new();
    assert_eq!(ok(&tools, "config-update one guest.cfg memory=128"), "setting dom1 configuration\n");
    assert_eq!(tools.taken_orders(), ["update 1 guest 131072"]);
    assert!(ok(&tools, "config-update -d -f guest.cfg 2").contains("\"domid\": 2"));
    tools.taken_orders();
    wrong(&tools, "config-update one");
    wrong(&tools, "config-update one guest.cfg bad.cfg");
    fails(&tools, "config-update one bad.cfg");
}

/// VSH-11.
#[test]
fn virsh_starts_by_name() {
    let tools = Fake::new();
    for word in ["guest", "guest.cfg"] {
        let (status, text) = run(&tools, &alloc::format!("start {word}"));
        assert_eq!((status, text.as_str()), (0, "Domain guest started\n"), "{word}");
        assert_eq!(tools.taken_orders(), ["create guest 65536 paused=false"]);
        assert_eq!(fails(&tools, &alloc::format!("start {word}")), "Domain guest is already active\n");
        tools.domains.borrow_mut().retain(|domain| domain.name != "guest");
    }
    ok(&tools, "start --paused guest");
    assert_eq!(tools.taken_orders(), ["create guest 65536 paused=true"]);
    assert_eq!(
        fails(&tools, "start nobody"),
        "No file of the store is nobody or describes a domain nobody.\n"
    );
    fails(&tools, "start bad");
}

#[test]
fn virsh_starts_with_a_console() {
    let tools = Fake::new();
    tools.consoles.borrow_mut().insert(3, [None].into());
    assert!(ok(&tools, "start guest --console").starts_with("Domain guest started\nAttached to"));
}
