//! What is listed and told.

use super::{fails, ok};
use crate::testing::{Fake, run};

#[test]
fn domains_are_listed() {
    let tools = Fake::new();
    assert_eq!(
        ok(&tools, "list"),
        "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
         Domain-0                                     0   256     2     r-----       1.5\n\
         one                                          1   256     2     -b----       1.5\n\
         two                                          2   256     2     ------       1.5\n"
    );
    assert_eq!(
        ok(&tools, "list two 1"),
        "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
         two                                          2   256     2     ------       1.5\n\
         one                                          1   256     2     -b----       1.5\n"
    );
    assert!(ok(&tools, "list -v one").contains("Reason-Code\tSecurity Label\n"));
    assert!(ok(&tools, "list -Zcn one").ends_with("                -          Pool-0 all\n"));
    tools.change(1, |domain| domain.name.clear());
    assert!(ok(&tools, "list 1").contains("\n(null)       "));
}

#[test]
fn the_long_list_is_json() {
    let tools = Fake::new();
    let json: serde_json::Value = serde_json::from_str(&ok(&tools, "list -l")).unwrap();
    assert_eq!(json[0]["config"]["c_info"]["name"], "Domain-0");
    assert_eq!(json[1]["domid"], 1);
    assert_eq!(json[1]["config"]["b_info"]["kernel"], "kernel");
    assert_eq!(json[1]["config"]["c_info"]["uuid"], "01010101-0101-0101-0101-010101010101");
    assert_eq!(json.as_array().unwrap().len(), 3);
}

#[test]
fn names_and_ids() {
    let tools = Fake::new();
    assert_eq!(ok(&tools, "domid one"), "1\n");
    assert_eq!(ok(&tools, "domname 0"), "Domain-0\n");
    assert_eq!(
        fails(&tools, "domid nobody"),
        "Can't get domid of domain name 'nobody', maybe this domain does not exist.\n"
    );
    fails(&tools, "domid 1");
    fails(&tools, "domid ''");
    assert_eq!(
        fails(&tools, "domname 7"),
        "Can't get domain name of domain id '7', maybe this domain does not exist.\n"
    );
    assert_eq!(fails(&tools, "domname one"), "Invalid domain id: 'one' is not a number in its range.\n");
    fails(&tools, "domname 65536");
}

#[test]
fn vcpus_are_listed() {
    let tools = Fake::new();
    assert_eq!(
        ok(&tools, "vcpu-list two"),
        "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n\
         two                                  2     0     1   ---       0.8  all / all\n\
         two                                  2     1     -   --p       0.8  1-2 / all\n"
    );
    assert_eq!(ok(&tools, "vcpu-list").lines().count(), 7);
}

#[test]
fn uptimes_are_told() {
    let tools = Fake::new();
    assert_eq!(
        ok(&tools, "uptime"),
        "Name                                ID Uptime\n\
         Domain-0                             0  1:02:05\n\
         one                                  1  1:02:05\n"
    );
    assert_eq!(ok(&tools, "uptime -s one"), " 09:00:25 up  1:02, one (1)\n");
}

#[test]
fn the_host_is_told_about() {
    let tools = Fake::new();
    let info = ok(&tools, "info");
    assert!(info.contains("xen_scheduler          : credit\n"));
    assert_eq!(ok(&tools, "info xen_scheduler"), "credit\n");
    assert_eq!(fails(&tools, "info frob"), "'frob' is no key of `info`\n");
    let numa = ok(&tools, "info --numa");
    let of_node = numa.find("numa_info").unwrap();
    assert!(numa.find("free_cpus").unwrap() < of_node && of_node < numa.find("xen_major").unwrap());
    assert_eq!(numa.lines().count(), info.lines().count() + 9);
}

#[test]
fn the_log_is_shown() {
    let tools = Fake::new();
    assert_eq!(ok(&tools, "dmesg"), "(XEN) first\n(XEN) last\n");
    assert_eq!(ok(&tools, "dmesg -c"), "(XEN) first\n(XEN) last\n");
    assert_eq!(tools.taken_orders(), ["log clear=false", "log clear=true"]);
}

#[test]
fn devices_are_listed() {
    let tools = Fake::new();
    let disks = ok(&tools, "block-list one two");
    assert_eq!(disks.lines().count(), 3);
    assert!(disks.ends_with("\n51712 0   51712  4     9      8        /local/domain/0/backend/x/2/51712\n"));
    let nets = ok(&tools, "network-list one");
    assert!(nets.ends_with(
        "0   0  00:16:3e:00:00:01     0     4      9     8/7           /local/domain/0/backend/x/1/0 \n"
    ));
}

#[test]
fn what_cannot_be_had_says_so() {
    let tools = Fake::new();
    assert!(fails(&tools, "virsh vncdisplay one").contains("no VNC server"));
}

#[test]
fn files_are_listed_and_shown() {
    let tools = Fake::new();
    assert!(ok(&tools, "ls").contains("           4 a text\n"));
    assert_eq!(ok(&tools, "cat 'a text'"), "text\n");
    assert_eq!(ok(&tools, "cat dos.cfg"), "# one\n# two\n");
    assert_eq!(fails(&tools, "cat nothing"), "no file nothing\n");
    assert_eq!(fails(&tools, "cat kernel"), "kernel is no text: it is not shown\n");
}

/// Text from a guest orders nothing of Dom0's terminal.
#[test]
fn names_order_nothing() {
    let tools = Fake::new();
    tools.change(1, |domain| domain.name = "\x1b[2J\r\u{9b}x".into());
    for line in [
        "list",
        "list -l",
        "virsh list",
        "vcpu-list",
        "sched-credit",
        "uptime",
        "domname 1",
        "dominfo 1",
        "top -b -i 1",
    ] {
        let text = ok(&tools, line);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{line}: {text:?}");
    }
}

#[test]
fn the_screen_is_cleared() {
    assert_eq!(run(&Fake::new(), "clear"), (0, "\x1b[H\x1b[2J".into()));
}
