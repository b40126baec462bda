//! What is typed at the shell.

use proptest::prelude::*;

use crate::testing::{Fake, type_in};

#[test]
fn a_prompt_waits_for_each_line() {
    let shown = type_in(&Fake::new(), b"domid one\r\n\rdomid two\n");
    assert_eq!(shown.matches("kigumi# ").count(), 4);
    assert!(shown.contains("domid one\n1\n"));
    assert!(shown.contains("domid two\n2\n"));
}

#[test]
fn tab_completes_what_is_one_thing() {
    let tools = Fake::new();
    type_in(&tools, b"unp\tt\t\r");
    assert_eq!(tools.taken_orders(), ["unpause 2"]);
    type_in(&tools, b"ls; cat 'a t\t\r");
    let shown = type_in(&tools, b"cat 'a t\t\r");
    assert!(shown.contains("kigumi# cat a\\ text "), "{shown}");
    assert!(shown.contains("\ntext\n"), "{shown}");
}

#[test]
fn tab_lists_what_is_several() {
    let shown = type_in(&Fake::new(), b"vc\t\t");
    assert!(shown.contains("kigumi# vcpu\x1b[K"), "{shown:?}");
    assert!(shown.contains("\nvcpu-list  vcpu-pin   vcpu-set   vcpuinfo   vcpupin\n"), "{shown:?}");
}

#[test]
fn tab_rings_where_there_is_nothing() {
    assert!(type_in(&Fake::new(), b"frob \t").ends_with("frob \x07"));
}

#[test]
fn what_is_after_the_cursor_stays() {
    let tools = Fake::new();
    type_in(&tools, b"paus one\x01\x1bf\t\r");
    assert_eq!(tools.taken_orders(), ["pause 1"]);
}

#[test]
fn lines_come_back() {
    let tools = Fake::new();
    type_in(&tools, b"pause one\rdomid two\r\x1b[A\x1b[A\r");
    assert_eq!(tools.taken_orders(), ["pause 1", "pause 1"]);
}

#[test]
fn an_interrupt_runs_nothing() {
    let tools = Fake::new();
    let shown = type_in(&tools, b"pause one\x03");
    assert!(tools.taken_orders().is_empty());
    assert!(shown.ends_with("^C\n\rkigumi# \x1b[K\r\x1b[8C"));
}

/// Words that lead random lines deep into the verbs.
fn word() -> impl Strategy<Value = &'static [u8]> {
    let words: &[&'static [u8]] = &[
        b"list ",
        b"pause ",
        b"virsh ",
        b"xl ",
        b"create ",
        b"guest.cfg ",
        b"console ",
        b"one ",
        b"0 ",
        b"top ",
        b"-b ",
        b"-i 1 ",
        b"vcpu-pin ",
        b"all ",
        b"sched-credit ",
        b"-d ",
        b"-w ",
        b"dominfo ",
        b"mem-set ",
        b"\t",
        b"\r",
        b";",
        b"'",
        b"\"",
        b"\\",
        b"\x03",
        b"\x1d",
        b"\x1b[A",
        b"-",
        b"99999999999999999999 ",
        b"help ",
        b"=",
        b"\x19",
        b"\x17",
    ];
    prop::sample::select(words)
}

proptest! {
    #[test]
    fn any_bytes_can_be_typed(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        type_in(&Fake::new(), &bytes);
    }

    #[test]
    fn any_words_can_be_typed(words in prop::collection::vec(word(), 0..60)) {
        let mut bytes = words.concat();
        bytes.push(b'\r');
        type_in(&Fake::new(), &bytes);
    }
}
