//! Verbs of `virsh`.

use super::{fails, ok};
use crate::testing::Fake;
use crate::toolstack::Reason;

/// VSH-01, requirements 3.2.
#[test]
fn domains_are_listed() {
    let tools = Fake::new();
    assert_eq!(
        ok(&tools, "virsh list"),
        " Id   Name       State\n---------------------------\n 0    Domain-0   running\n 1    one        idle\n 2    two        no state\n"
    );
    let all = ok(&tools, "virsh list --all");
    // Once, though two files describe it.
    assert!(all.ends_with(" -    guest      shut off\n -    only       shut off\n"), "{all}");
    ok(&tools, "create -q guest.cfg");
    assert!(!ok(&tools, "virsh list --all").contains(" -    guest"));
    ok(&tools, "start only");
    assert!(!ok(&tools, "virsh list --all").contains(" - "));
}

/// VSH-02.
#[test]
fn states_are_told() {
    let tools = Fake::new();
    assert_eq!(ok(&tools, "domstate one"), "idle\n");
    tools.change(1, |domain| domain.shutdown = Some(Reason::Crash));
    assert_eq!(ok(&tools, "domstate one"), "crashed\n");
    assert_eq!(ok(&tools, "domstate guest"), "shut off\n");
}

/// VSH-03, AUT-09.
#[test]
fn domains_are_told_about() {
    let tools = Fake::new();
    let running = ok(&tools, "dominfo one");
    assert!(running.starts_with("Id:             1\nName:           one\n"), "{running}");
    assert!(running.ends_with("Autostart:      disable\n"));
    let stopped = ok(&tools, "dominfo guest");
    assert!(stopped.starts_with("Id:             -\nName:           guest\n"), "{stopped}");
    assert!(stopped.contains("CPU(s):         2\nMax memory:     65536 kB\n"), "{stopped}");
    assert!(stopped.ends_with("Autostart:      enable\n"));
    assert!(ok(&tools, "dominfo 0").contains("Max memory:     no limit\n"));
}

/// VSH-04, VSH-05, VSH-06, VSH-19.
#[test]
fn vcpus_shares_and_the_node_are_told() {
    let tools = Fake::new();
    let vcpus = ok(&tools, "vcpuinfo one");
    assert!(vcpus.contains("CPU Affinity:   yyyy\n\nVCPU:           1\n"), "{vcpus}");
    assert_eq!(
        ok(&tools, "schedinfo one"),
        "Scheduler      : credit\nweight         : 256\ncap            : 10\n"
    );
    ok(&tools, "schedinfo one --weight 512 --cap 0");
    assert_eq!(tools.taken_orders(), ["share 1 Some(512) Some(0)"]);
    assert!(ok(&tools, "nodeinfo").ends_with("Memory size:         8387576 kB\n"));
}

#[test]
fn lives_are_told_in_virshs_words() {
    let tools = Fake::new();
    for (line, text, order) in [
        ("virsh shutdown one", "Domain one is being shutdown\n", "request 1 Poweroff force=false"),
        ("virsh reboot one", "Domain one is being rebooted\n", "request 1 Reboot force=false"),
        ("virsh destroy one", "Domain one destroyed\n", "destroy 1"),
        ("suspend one", "Domain one suspended\n", "pause 1"),
        ("resume one", "Domain one resumed\n", "unpause 1"),
    ] {
        assert_eq!(ok(&tools, line), text, "{line}");
        assert_eq!(tools.taken_orders(), [order], "{line}");
    }
}

/// T-85.
#[test]
fn nothing_is_forgotten() {
    let tools = Fake::new();
    assert_eq!(fails(&tools, "undefine one"), "Domain one runs: shut it down or destroy it first.\n");
    assert!(fails(&tools, "undefine guest").contains("the store is read-only"));
}
