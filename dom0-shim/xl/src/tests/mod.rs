//! The shell as its users see it: lines in, orders and text out.

mod console;
mod create;
mod device;
mod life;
mod resources;
mod show;
mod top;
mod typing;
mod virsh;

use alloc::string::String;

use crate::testing::{Fake, run};

/// Runs a line that is to succeed.
fn ok(tools: &Fake, line: &str) -> String {
    let (status, text) = run(tools, line);
    assert_eq!(status, 0, "{line}: {text}");
    text
}

/// Runs a line that is to fail, and to order nothing.
fn fails(tools: &Fake, line: &str) -> String {
    refused(tools, line, 1)
}

/// Runs a line that is written wrongly: it orders nothing and shows usage.
fn wrong(tools: &Fake, line: &str) -> String {
    let text = refused(tools, line, 2);
    assert!(text.contains("\n\nUsage: "), "{line}: {text}");
    text
}

fn refused(tools: &Fake, line: &str, expected: u8) -> String {
    let (status, text) = run(tools, line);
    assert_eq!(status, expected, "{line}: {text}");
    assert!(tools.taken_orders().is_empty(), "{line}");
    assert!(!text.is_empty(), "{line}");
    text
}

/// Runs a line that is to give these orders and to say nothing.
fn orders(tools: &Fake, line: &str, expected: &[&str]) {
    assert_eq!(ok(tools, line), "", "{line}");
    assert_eq!(tools.taken_orders(), expected, "{line}");
}

/// Every verb that takes a domain knows those that are not there.
#[test]
fn unknown_domains_are_refused() {
    let tools = Fake::new();
    for line in [
        "pause nobody",
        "unpause nobody",
        "destroy 77",
        "shutdown nobody",
        "shutdown one nobody",
        "reboot nobody",
        "rename nobody x",
        "console nobody",
        "vcpu-list nobody",
        "vcpu-pin nobody all all",
        "vcpu-set nobody 1",
        "sched-credit -d nobody",
        "sched-credit -d nobody -w 1",
        "mem-set nobody 64",
        "mem-max nobody 64",
        "sysrq nobody h",
        "trigger nobody nmi",
        "list nobody",
        "list one nobody",
        "uptime nobody",
        "cpu-use nobody",
        "block-list nobody",
        "block-attach nobody /dev/sda,,xvdb",
        "block-detach nobody xvda",
        "network-attach nobody",
        "network-detach nobody 0",
        "attach-disk nobody /dev/sda xvdb",
        "detach-disk nobody xvda",
        "network-list nobody",
        "config-update nobody guest.cfg",
        "domstate nobody",
        "dominfo nobody",
        "vcpuinfo nobody",
        "schedinfo nobody",
        "vcpupin nobody 0 0",
        "setvcpus nobody 1",
        "setmem nobody 65536",
        "setmaxmem nobody 65536",
        "virsh shutdown nobody",
        "virsh reboot nobody",
        "virsh destroy nobody",
        "undefine nobody",
        "suspend nobody",
        "resume nobody",
        "pause 99999999999999999999",
        "pause ''",
    ] {
        let text = fails(&tools, line);
        let word =
            line.split(' ').find(|word| word.starts_with("nobody") || word.starts_with(['7', '9', '\'']));
        let word = word.unwrap_or_default().trim_matches('\'');
        let expected =
            alloc::format!("{word} is an invalid domain identifier: no domain has this name or id.\n");
        assert_eq!(text, expected, "{line}");
    }
}

/// What the toolstack refuses is said in its words, with status 1.
#[test]
fn words_of_the_toolstack_are_passed_on() {
    let tools = Fake::new();
    *tools.refuses.borrow_mut() = Some("the toolstack's words");
    for line in [
        "pause one",
        "unpause one",
        "destroy one",
        "shutdown one",
        "reboot -F one",
        "rename one x",
        "console one",
        "vcpu-pin one all all",
        "vcpu-set one 1",
        "sched-credit -d one -w 1",
        "sched-credit -s -t 5",
        "mem-set one 64",
        "mem-max one 64",
        "sysrq one h",
        "trigger one nmi",
        "debug-keys h",
        "dmesg",
        "create guest.cfg",
        "config-update one guest.cfg",
        "poweroff",
        "reset",
        "start guest",
        "virsh shutdown one",
        "schedinfo one --cap 5",
        "block-attach one /dev/sda,,xvdb",
        "block-detach one xvda",
        "network-attach one",
        "network-detach one 0",
        "attach-disk one /dev/sda xvdb",
        "detach-disk one xvda",
    ] {
        assert!(fails(&tools, line).ends_with("the toolstack's words\n"), "{line}");
    }
}

#[test]
fn wrong_numbers_of_arguments_show_usage() {
    let tools = Fake::new();
    for line in [
        "pause",
        "pause one two",
        "unpause",
        "destroy",
        "destroy one two",
        "rename one",
        "rename one a b",
        "console",
        "vcpu-pin one 0",
        "vcpu-pin one 0 all all all",
        "vcpu-set one",
        "sched-credit one",
        "mem-set one",
        "mem-max",
        "sysrq one",
        "trigger one",
        "trigger one nmi 0 0",
        "debug-keys",
        "dmesg x",
        "top x",
        "info a b",
        "domid",
        "domname 1 2",
        "block-list",
        "block-attach one",
        "block-detach one",
        "block-detach one a b",
        "brctl",
        "overlay-list x",
        "overlay-commit",
        "overlay-discard a b",
        "network-list",
        "network-attach",
        "network-detach one",
        "attach-disk one /dev/sda",
        "detach-disk one",
        "config-update",
        "create",
        "cat",
        "ls x",
        "help a b",
        "poweroff now",
        "reset now",
        "clear x",
        "dominfo",
        "domstate one two",
        "vcpuinfo",
        "schedinfo",
        "vcpupin",
        "vcpupin one 0 1 2",
        "setvcpus one",
        "setmem one",
        "setmaxmem one",
        "start",
        "undefine",
        "suspend",
        "resume",
        "nodeinfo x",
        "virsh list one",
    ] {
        wrong(&tools, line);
    }
    assert!(
        wrong(&tools, "pause")
            .starts_with("'xl pause' requires at least 1 argument.\n\nUsage: xl pause <Domain>\n")
    );
    assert!(wrong(&tools, "vcpu-pin one").starts_with("'xl vcpu-pin' requires at least 3 arguments.\n"));
    assert!(wrong(&tools, "suspend a b").starts_with("'virsh suspend' takes at most 1 argument.\n"));
    assert!(wrong(&tools, "poweroff now").starts_with("'poweroff' takes at most 0 arguments.\n"));
}

#[test]
fn wrong_options_show_usage() {
    let tools = Fake::new();
    assert!(wrong(&tools, "list -q").starts_with("option '-q' is not known\n"));
    assert!(wrong(&tools, "list --frob").starts_with("option '--frob' is not known\n"));
    assert!(wrong(&tools, "list --long=yes").starts_with("option does not require a value: --long\n"));
    assert!(wrong(&tools, "sched-credit -d").starts_with("option requires a value: -d\n"));
    assert!(wrong(&tools, "list -é").starts_with("option '-é' is not known\n"));
}

#[test]
fn options_stand_anywhere_until_two_dashes() {
    let tools = Fake::new();
    let json = ok(&tools, "list -l one");
    assert_eq!(ok(&tools, "list one -l"), json);
    assert_eq!(ok(&tools, "list one --long"), json);
    assert!(fails(&tools, "list -- -l").starts_with("-l is an invalid domain identifier"));
}

#[test]
fn prefixes_choose_the_family() {
    let tools = Fake::new();
    let list = ok(&tools, "list");
    assert_eq!(ok(&tools, "xl list"), list);
    assert_eq!(ok(&tools, "xm list"), list);
    assert_ne!(ok(&tools, "virsh list"), list);
    assert_eq!(ok(&tools, "dominfo one"), ok(&tools, "virsh dominfo one"));
    assert_eq!(ok(&tools, "  list ; # xl frob"), list);
    assert_eq!(ok(&tools, ""), "");
    assert_eq!(ok(&tools, "# list"), "");
}

#[test]
fn unknown_verbs_are_refused_with_a_hint() {
    let tools = Fake::new();
    assert_eq!(fails(&tools, "foo"), "xl: unknown command 'foo': `help` lists all\n");
    assert_eq!(fails(&tools, "lisst one"), "xl: unknown command 'lisst': did you mean 'list'?\n");
    assert_eq!(fails(&tools, "xl dominfoo"), "xl: unknown command 'dominfoo': `help` lists all\n");
    assert_eq!(fails(&tools, "virsh dominfoo"), "xl: unknown command 'dominfoo': did you mean 'dominfo'?\n");
}

#[test]
fn the_last_command_gives_the_status() {
    let tools = Fake::new();
    assert_eq!(run(&tools, "foo; domid one"), (0, "xl: unknown command 'foo': `help` lists all\n1\n".into()));
    assert_eq!(run(&tools, "domid one; pause").0, 2);
}

#[test]
fn an_open_quote_runs_nothing() {
    let tools = Fake::new();
    assert_eq!(
        refused(&tools, "pause one; pause 'two", 2),
        "xl: the line ends inside '...: nothing of it was run\n"
    );
}

#[test]
fn every_verb_helps() {
    let tools = Fake::new();
    let all = ok(&tools, "help");
    for verb in crate::verbs::all() {
        let prefixed = alloc::format!("{}{}", verb.family.prefix(), verb.name);
        if let crate::verbs::Run::Missing(why) = verb.run {
            assert_eq!(fails(&tools, &alloc::format!("{prefixed} -x one two")), alloc::format!("{why}\n"));
            assert!(verb.help().ends_with(&alloc::format!("{}: {why}\n", verb.name)));
            continue;
        }
        assert!(all.contains(&alloc::format!("\n {:<19} ", verb.name)), "{prefixed}");
        for option in ["-h", "--help"] {
            let help = ok(&tools, &alloc::format!("{prefixed} {option}"));
            assert!(help.starts_with(&alloc::format!("Usage: {prefixed}")), "{help}");
        }
    }
    assert_eq!(ok(&tools, "help pause"), ok(&tools, "pause -h"));
    assert_eq!(ok(&tools, "xl"), all);
    assert_eq!(ok(&tools, "virsh help"), all);
    assert_eq!(ok(&tools, "xl --help"), all);
    assert!(tools.taken_orders().is_empty());
    assert_eq!(fails(&tools, "help frob"), "command \"frob\" is not known: `help` lists all\n");
}
