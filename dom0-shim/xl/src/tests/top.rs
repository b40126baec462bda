//! `top` at work.

use alloc::vec;
use alloc::vec::Vec;

use super::fails;
use crate::testing::{Fake, Screen, Typed, run_on};
use crate::toolstack::{DiskCounts, NetCounts};

/// Updates at a batch terminal where nobody types.
fn batch(tools: &Fake, options: &str, updates: usize) -> alloc::string::String {
    let quiet = Screen::new(tools, b"");
    let mut screen = (1..updates).fold(quiet, |screen, _| screen.then(Typed::Nothing));
    let line = alloc::format!("top -b -i {updates} {options}");
    assert_eq!(run_on(tools, &mut screen, &line), Some(0), "{}", screen.text());
    screen.text()
}

/// CPU-24, CPU-26.
#[test]
fn the_use_of_pcpus_is_told_after_a_second() {
    let tools = Fake::new();
    let mut screen = Screen::new(&tools, b"a").then(Typed::Nothing);
    assert_eq!(run_on(&tools, &mut screen, "cpu-use"), Some(0));
    let text = screen.text();
    assert_eq!(text.lines().count(), 5, "{text}");
    let sum: Vec<&str> = text.lines().last().unwrap_or_default().split_whitespace().collect();
    assert_eq!(sum, ["(all)", "0.0", "0.0"]);
    assert_eq!(tools.now_ns.get(), 101_000_000_000);
    let mut screen = Screen::new(&tools, b"").then(Typed::Nothing);
    assert_eq!(run_on(&tools, &mut screen, "cpu-use -d 3 one"), Some(0));
    assert_eq!(screen.text().lines().count(), 3);
    let mut screen = Screen::new(&tools, b"\x03");
    assert_eq!((run_on(&tools, &mut screen, "cpu-use"), screen.text().as_str()), (Some(0), ""));
    assert!(fails(&tools, "cpu-use -d 0").starts_with("The delay is 1 to 3600 seconds, not 0."));
}

/// Keys at a terminal, one by one.
fn keys(tools: &Fake, keys: &[u8]) -> alloc::string::String {
    let mut screen = Screen::new(tools, keys);
    assert_eq!(run_on(tools, &mut screen, "top"), Some(0), "{}", screen.text());
    screen.text()
}

#[test]
fn two_iterations_in_batch_mode() {
    let tools = Fake::new();
    let text = batch(&tools, "-d 5", 2);
    assert_eq!(text.lines().count(), 8);
    assert_eq!(text.matches("      NAME  STATE ").count(), 2);
    // Five seconds of the fake clock passed between the two.
    assert_eq!(tools.now_ns.get(), 105_000_000_000);
}

#[test]
fn one_iteration_needs_no_time() {
    let tools = Fake::new();
    let lines: Vec<alloc::string::String> = batch(&tools, "", 1).lines().map(Into::into).collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines[1]
            .starts_with("  Domain-0 -----r          1    0.0     262144    3.1   no limit       n/a     2 ")
    );
}

#[test]
fn options_choose_what_is_shown() {
    let tools = Fake::new();
    tools.change(1, |domain| {
        domain.devices.nets = vec![(0, NetCounts::default())];
        domain.devices.disks = vec![(51_712, DiskCounts::default())];
    });
    let text = batch(&tools, "-n -x -v -r -z -f", 1);
    assert_eq!(text.matches("VCPUs(sec): ").count(), 3);
    assert_eq!(text.matches("Net0 RX: ").count(), 1);
    assert_eq!(text.matches("VBD BlkBack ").count(), 1);
    assert_eq!(text.matches("  STATE ").count(), 3);
}

#[test]
fn keys_change_what_is_shown() {
    let tools = Fake::new();
    tools.change(1, |domain| {
        domain.devices.nets = vec![(0, NetCounts::default())];
        domain.devices.disks = vec![(51_712, DiskCounts::default())];
    });
    assert_eq!(keys(&tools, b"q").matches("xentop - ").count(), 1);
    assert_eq!(keys(&tools, b"\x03").matches("xentop - ").count(), 1);
    assert_eq!(keys(&tools, b"nNq").matches("Net0 RX").count(), 1);
    assert_eq!(keys(&tools, b"bBQ").matches("VBD BlkBack").count(), 1);
    assert_eq!(keys(&tools, b"vVq").matches("VCPUs(sec)").count(), 3);
    assert_eq!(keys(&tools, b"rRq").matches("  STATE ").count(), 5);
    // Keys without a meaning update nothing.
    assert_eq!(keys(&tools, b"xyzq").matches("xentop - ").count(), 1);
    assert!(
        keys(&tools, b"q")
            .ends_with("\n  \x1b[7mDelay  Networks  vBds  VCPUs  Repeat header  Sort order  Quit\x1b[0m\n")
    );
}

#[test]
fn the_sort_order_is_changed_by_a_key() {
    let tools = Fake::new();
    tools.change(2, |domain| domain.cpu_ns = 9_000_000_000);
    let text = keys(&tools, b"ssq");
    let first: Vec<&str> =
        text.split(" SSID").skip(1).map(|table| table.lines().nth(1).unwrap().trim()).collect();
    assert!(first[0].starts_with("Domain-0 "), "{first:?}");
    assert!(first[2].starts_with("two "), "{first:?}");
}

#[test]
fn the_delay_is_changed_by_a_key() {
    let tools = Fake::new();
    let mut screen = Screen::new(&tools, b"d19\x7f0\r").then(Typed::Nothing).then(Typed::Byte(b'q'));
    assert_eq!(run_on(&tools, &mut screen, "top"), Some(0));
    assert_eq!(tools.now_ns.get(), 110_000_000_000);
    assert!(screen.text().contains("Delay(sec): 19\x08 \x080"));
    // Escape leaves it.
    let mut screen = Screen::new(&tools, b"d5\x1b").then(Typed::Nothing).then(Typed::Byte(b'q'));
    assert_eq!(run_on(&tools, &mut screen, "top -d 2"), Some(0));
    assert_eq!(tools.now_ns.get(), 112_000_000_000);
}

#[test]
fn an_interrupt_ends_batch_mode() {
    let tools = Fake::new();
    let mut screen = Screen::new(&tools, b"qn\x03");
    assert_eq!(run_on(&tools, &mut screen, "top -b"), Some(0));
    assert_eq!(screen.text().matches("  STATE ").count(), 1);
}

#[test]
fn bad_numbers_are_refused() {
    let tools = Fake::new();
    for line in ["top -d 0", "top -d 3601", "top -d x", "top -i 0", "top -i -1"] {
        fails(&tools, line);
    }
    assert_eq!(fails(&tools, "top -i x"), "Invalid iterations: 'x' is not a number in its range.\n");
}
