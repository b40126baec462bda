//! Vcpus, shares and memory of domains.

use alloc::vec;

use xl_config::domain::{Affinity, PcpuSpec};

use super::{fails, ok, orders, wrong};
use crate::testing::Fake;

#[test]
fn vcpus_are_pinned() {
    let tools = Fake::new();
    orders(&tools, "vcpu-pin one 0 1,3", &["affinity 1 Some(0) Some([1, 3]) None"]);
    orders(&tools, "vcpu-pin one 1 1-3,^2 -", &["affinity 1 Some(1) Some([1, 3]) None"]);
    orders(&tools, "vcpu-pin one all - 0-1", &["affinity 1 None None Some([0, 1])"]);
    orders(
        &tools,
        "vcpu-pin -f one 1 all all",
        &["affinity 1 Some(1) Some([0, 1, 2, 3]) Some([0, 1, 2, 3])"],
    );
    // T-27.
    orders(&tools, "vcpu-pin Domain-0 0 0", &["affinity 0 Some(0) Some([0]) None"]);
    wrong(&tools, "vcpu-pin -f one all all");
    orders(&tools, "vcpu-pin one 0 node:0,^0", &["affinity 1 Some(0) Some([1, 2, 3]) None"]);
    let nothing = wrong(&tools, "vcpu-pin one 0 - -");
    assert!(nothing.starts_with("'-' leaves an affinity as it is"), "{nothing}");
    wrong(&tools, "vcpu-pin one 0 -");
    assert_eq!(fails(&tools, "vcpu-pin one 2 all"), "Domain 1 has no vcpu 2: its last one is 1.\n");
    assert_eq!(fails(&tools, "vcpu-pin one x all"), "Error: Invalid argument x as VCPU.\n");
    assert_eq!(
        fails(&tools, "vcpu-pin one 0 3-1"),
        "Invalid pcpu range: 3-1: the range `3-1` ends before it begins.\n"
    );
    for line in ["vcpu-pin one 0 4", "vcpu-pin one 0 ''", "vcpu-pin one 0 node:1", "vcpu-pin one 0 all ^all"]
    {
        assert!(fails(&tools, line).starts_with("Invalid pcpu range: "), "{line}");
    }
}

/// CPU-20, CPU-22.
#[test]
fn pins_that_get_in_the_way_are_followed_with_a_warning() {
    let tools = Fake::new();
    *tools.advice.borrow_mut() = vec!["that is narrow".into()];
    for line in ["vcpu-pin one all 1", "vcpupin one 0 1"] {
        assert_eq!(ok(&tools, line), "warning: one: that is narrow\n");
        assert_eq!(tools.taken_orders().len(), 1);
    }
    fails(&tools, "vcpu-pin one all 9");
}

/// T-24, T-27.
#[test]
fn virsh_pins_vcpus() {
    let tools = Fake::new();
    orders(&tools, "vcpupin one 0 1,3", &["affinity 1 Some(0) Some([1, 3]) None"]);
    orders(&tools, "virsh vcpupin Domain-0 1 0", &["affinity 0 Some(1) Some([0]) None"]);
    fails(&tools, "vcpupin one all 1");
    fails(&tools, "vcpupin one 0 9");
    let table = " VCPU   CPU Affinity\n----------------------\n 0      0-3\n 1      1-2\n";
    assert_eq!(ok(&tools, "vcpupin one"), table);
    assert_eq!(ok(&tools, "vcpupin one 1"), table.replace(" 0      0-3\n", ""));
}

/// CPU-18, T-25, T-26: all vcpus of a domain that does not run, whichever is named; what holds
/// after its start is that, not what a running one was told.
#[test]
fn virsh_pins_domains_that_do_not_run() {
    let tools = Fake::new();
    let cpus = || tools.configs.borrow().get(&3).map(|config| config.cpus.clone());
    ok(&tools, "start guest");
    assert_eq!(cpus(), Some(Affinity::Any));
    tools.domains.borrow_mut().retain(|domain| domain.id != 3);
    tools.taken_orders();
    assert!(ok(&tools, "vcpupin guest").ends_with(" 0      0-3\n 1      0-3\n"));
    assert_eq!(
        ok(&tools, "virsh vcpupin guest 7 3,1-2"),
        "Domain guest does not run: all its vcpus are on 1-3 from the next `start guest` on. \
         Write cpus = \"1-3\" into guest.cfg for `create`, and for when this machine has been started again.\n"
    );
    assert!(ok(&tools, "vcpupin guest").ends_with(" 0      1-3\n 1      1-3\n"));
    assert!(fails(&tools, "vcpupin guest 0 9").starts_with("Invalid pcpu range: 9"));
    fails(&tools, "vcpupin nobody 0 1");
    ok(&tools, "start guest");
    assert_eq!(cpus(), Some(Affinity::All(PcpuSpec::from_pcpus(&[1, 2, 3]))));
}

#[test]
fn vcpus_come_and_go() {
    let tools = Fake::new();
    orders(&tools, "vcpu-set one 1", &["vcpus 1 1"]);
    orders(&tools, "setvcpus one 2", &["vcpus 1 2"]);
    for line in [
        "vcpu-set one 0",
        "vcpu-set one 3",
        "vcpu-set one x",
        "vcpu-set one -- -1",
        "vcpu-set one 4294967296",
    ] {
        fails(&tools, line);
    }
    tools.change(1, |domain| domain.max_vcpu = 7);
    assert!(fails(&tools, "vcpu-set one 5").starts_with("You are overcommitting: there are 4 physical CPUs"));
    orders(&tools, "vcpu-set -i one 5", &["vcpus 1 5"]);
    tools.change(1, |domain| domain.online_vcpus = 6);
    orders(&tools, "vcpu-set one 5", &["vcpus 1 5"]);
}

#[test]
fn shares_are_shown() {
    let tools = Fake::new();
    assert_eq!(
        ok(&tools, "sched-credit"),
        "Cpupool Pool-0: tslice=30ms ratelimit=1000us migration-delay=0us\n\
         Name                                ID Weight  Cap\n\
         Domain-0                             0    256    0\n\
         one                                  1    256   10\n\
         two                                  2    256   20\n"
    );
    assert_eq!(ok(&tools, "sched-credit -p Pool-0"), ok(&tools, "sched-credit"));
    assert_eq!(
        ok(&tools, "sched-credit -d one"),
        "Name                                ID Weight  Cap\n\
         one                                  1    256   10\n"
    );
    assert_eq!(
        ok(&tools, "sched-credit -s"),
        "Cpupool Pool-0: tslice=30ms ratelimit=1000us migration-delay=0us\n"
    );
}

/// T-10, T-19.
#[test]
fn shares_are_changed() {
    let tools = Fake::new();
    orders(&tools, "sched-credit -d one -w 512 -c 50", &["share 1 Some(512) Some(50)"]);
    orders(&tools, "sched-credit --domain=one --weight=1", &["share 1 Some(1) None"]);
    orders(&tools, "sched-credit -d 2 -w65535", &["share 2 Some(65535) None"]);
    orders(&tools, "sched-credit -d one -c 200", &["share 1 None Some(200)"]);
    for weight in ["0", "65536", "-1", "text", "99999999999"] {
        assert_eq!(
            fails(&tools, &alloc::format!("sched-credit -d one -w {weight}")),
            "Cpu weight out of range, valid values are within range from 1 to 65535\n"
        );
    }
    for cap in ["201", "-1", "x"] {
        assert_eq!(
            fails(&tools, &alloc::format!("schedinfo one --cap={cap}")),
            "Cpu cap out of range, valid range is from 0 to 200 for specified number of vcpus\n"
        );
    }
    // Neither of two is taken when one is wrong.
    fails(&tools, "sched-credit -d one -w 512 -c 999");
}

#[test]
fn the_schedulers_parameters_are_changed() {
    let tools = Fake::new();
    orders(&tools, "sched-credit -s -t 10", &["slices 10 1000 0"]);
    orders(&tools, "sched-credit -s -t 5 -r 0", &["slices 5 0 0"]);
    orders(&tools, "sched-credit -p Pool-0 -s -m 100000", &["slices 30 1000 100000"]);
    assert_eq!(
        fails(&tools, "sched-credit -s -m 100001"),
        "vcpu migration delay should be >= 0 and <= 100000us\n"
    );
    for line in ["-t 0", "-t 1001", "-r 99", "-r 500001", "-r 30001", "-t x", "-r -5", "-m -1", "-m 1ms"] {
        fails(&tools, &alloc::format!("sched-credit -s {line}"));
    }
    for line in
        ["-t 5", "-r 100", "-m 100", "-w 5", "-c 5", "-s -d one", "-p Pool-0 -d one", "-p Pool-0 -w 4"]
    {
        wrong(&tools, &alloc::format!("sched-credit {line}"));
    }
    assert_eq!(fails(&tools, "sched-credit -p other"), "unknown cpupool 'other'\n");
}

#[test]
fn pools_are_listed() {
    let tools = Fake::new();
    let list = "Name               CPUs   Sched     Active   Domain count\n\
                Pool-0               3    credit       y          3\n";
    assert_eq!(ok(&tools, "cpupool-list"), list);
    assert_eq!(ok(&tools, "cpupool-list Pool-0"), list);
    assert_eq!(ok(&tools, "cpupool-list -c"), "Name               CPU list\nPool-0             0,1,3\n");
    assert_eq!(fails(&tools, "cpupool-list other"), "Pool 'other' does not exist\n");
    wrong(&tools, "cpupool-list Pool-0 other");
}

/// T-43, T-44, T-48.
#[test]
fn memory_is_set() {
    let tools = Fake::new();
    orders(&tools, "mem-set one 128", &["memory 1 131072"]);
    orders(&tools, "mem-set one 131072k", &["memory 1 131072"]);
    orders(&tools, "mem-max one 1g", &["max-memory 1 1048576"]);
    orders(&tools, "setmaxmem one 1048576", &["max-memory 1 1048576"]);
    orders(&tools, "setmem one 131072", &["memory 1 131072"]);
    // What `mem-set` left as the limit is not the most that it may ask for.
    tools.change(1, |domain| domain.max_memory_kib = Some(129 << 10));
    orders(&tools, "mem-set one 256", &["memory 1 262144"]);
    orders(&tools, "mem-set 0 1t", &["memory 0 1073741824"]);
    for line in [
        "mem-set one x",
        "mem-set one 0",
        "mem-max one 100k",
        "setmem one 100",
        "setmaxmem one m",
        "mem-set one -- -5",
    ] {
        assert!(fails(&tools, line).starts_with("invalid memory size: "), "{line}");
    }
}
