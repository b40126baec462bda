//! The console of a domain.

use super::{fails, ok};
use crate::testing::{Fake, Screen, run_on, type_in};

#[test]
fn shows_and_types_until_it_is_detached() {
    let tools = Fake::new();
    tools.consoles.borrow_mut().insert(1, [Some(&b"login: "[..]), Some(b"\xff\x00\n")].into());
    let shown = type_in(&tools, b"console one\rroot\r\x03\x1ddomid one\r");
    assert!(shown.contains("Attached to the console of one (domain 1); Ctrl-] detaches.\n"), "{shown}");
    // Ctrl-C is the guest's, Ctrl-] the shell's.
    assert_eq!(
        tools.taken_orders(),
        [
            "rewind 1",
            "input 1 [114]",
            "input 1 [111]",
            "input 1 [111]",
            "input 1 [116]",
            "input 1 [13]",
            "input 1 [3]"
        ]
    );
    assert!(
        shown.ends_with(
            "\nDetached from one.\n\rkigumi# \x1b[K\r\x1b[8Cdomid one\n1\n\rkigumi# \x1b[K\r\x1b[8C"
        ),
        "{shown:?}"
    );
}

#[test]
fn output_comes_whole_and_raw() {
    let tools = Fake::new();
    tools.consoles.borrow_mut().insert(1, [Some(&b"a\r\n"[..]), Some(b"\x1b[31mb"), None].into());
    assert_eq!(
        ok(&tools, "console 1"),
        "Attached to the console of one (domain 1); Ctrl-] detaches.\na\r\n\x1b[31mb\nDomain 1 (one) is gone; its console is closed.\n"
    );
}

#[test]
fn waits_while_nothing_happens() {
    let tools = Fake::new();
    assert_eq!(run_on(&tools, &mut Screen::new(&tools, b"x"), "console -t pv -n 0 one"), None);
}

#[test]
fn there_is_one_console_only() {
    let tools = Fake::new();
    fails(&tools, "console -t serial one");
    fails(&tools, "console -n 1 one");
    fails(&tools, "console Domain-0");
}
