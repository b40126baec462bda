//! Devices that are attached and detached.

use alloc::vec;

use super::{fails, ok, orders, wrong};
use crate::testing::Fake;
use crate::toolstack::{DiskCounts, NetCounts};

/// BLK-13.
#[test]
fn disks_are_attached() {
    let tools = Fake::new();
    for (line, order) in [
        ("block-attach one /dev/sda6,raw,xvdb,w", "attach 1 /dev/sda6 Physical xvdb ro=false cd=false"),
        ("block-attach one phy:/dev/sda6 xvdb r", "attach 1 /dev/sda6 Physical xvdb ro=true cd=false"),
        ("block-attach 2 vdev=xvdc target=a,b", "attach 2 a,b Raw xvdc ro=false cd=false"),
        ("block-attach one ,hdc:cdrom,r", "attach 1  Empty hdc ro=true cd=true"),
    ] {
        orders(&tools, line, &[order]);
    }
    assert_eq!(
        fails(&tools, "block-attach one /dev/sda6"),
        "disk: expected the disk's name in the guest: a disk is as /dev/vg/root,raw,xvda,rw\n"
    );
    assert!(fails(&tools, "block-attach one /dev/sda6,,disk").starts_with("disk: expected a disk's name"));
    let noted = ok(&tools, "block-attach one /dev/sda6,raw,xvdb,w,no-discard");
    assert_eq!(noted, "`no-discard` does nothing here\n");
}

/// BLK-14.
#[test]
fn disks_are_detached() {
    let tools = Fake::new();
    orders(&tools, "block-detach one xvda", &["detach disk 1 51712 force=false"]);
    orders(&tools, "block-detach -f one 51712", &["detach disk 1 51712 force=true"]);
    for word in ["xvdb", "51713", "disk", "-1"] {
        assert_eq!(
            fails(&tools, &alloc::format!("block-detach one -- {word}")),
            alloc::format!("Error: Device {word} not connected: `block-list` lists all.\n")
        );
    }
}

#[test]
fn interfaces_are_attached_and_detached() {
    let tools = Fake::new();
    orders(&tools, "network-attach one", &["attach 1 None None None None"]);
    orders(
        &tools,
        "network-attach one mac=00:16:3e:1:2:3 bridge=intbr0 vifname=web rate=8b/s",
        &["attach 1 Some([0, 22, 62, 1, 2, 3]) Some(\"intbr0\") Some(\"web\") Some(1)"],
    );
    assert!(
        fails(&tools, "network-attach one mac=01:16:3e:1:2:3").starts_with("network interface: the first")
    );
    orders(&tools, "network-detach one 0", &["detach net 1 0 force=false"]);
    orders(&tools, "network-detach --force one 00:16:3E:0:0:1", &["detach net 1 0 force=true"]);
    for word in ["1", "00:16:3e:00:00:02", "eth0"] {
        assert_eq!(
            fails(&tools, &alloc::format!("network-detach one {word}")),
            alloc::format!("Unknown device {word}: `network-list` lists all.\n")
        );
    }
}

/// VSH-16, VSH-17, T-79, T-81.
#[test]
fn virsh_attaches_and_detaches_in_its_words() {
    let tools = Fake::new();
    for (line, order) in [
        ("attach-disk one /dev/sda6 xvdd", "attach 1 /dev/sda6 Physical xvdd ro=false cd=false"),
        (
            "attach-disk one /i/cd.iso hdc --driver file --type cdrom --mode readonly",
            "attach 1 /i/cd.iso Raw hdc ro=true cd=true",
        ),
        ("virsh attach-disk one a,b=c xvdd --driver phy", "attach 1 a,b=c Physical xvdd ro=false cd=false"),
    ] {
        assert_eq!(ok(&tools, line), "Disk attached successfully\n", "{line}");
        assert_eq!(tools.taken_orders(), [order], "{line}");
    }
    assert_eq!(ok(&tools, "virsh detach-disk one xvda"), "Disk detached successfully\n");
    assert_eq!(tools.taken_orders(), ["detach disk 1 51712 force=false"]);
    wrong(&tools, "attach-disk one /dev/sda6 xvdd --mode shareable");
    wrong(&tools, "attach-disk one /dev/sda6 xvdd --driver qemu");
    fails(&tools, "attach-disk one /dev/sda6 xvdd --type floppy");
    fails(&tools, "attach-disk one /dev/sda6 xvdd,format=qcow2");
}

/// NET-21, requirements 3.9.
#[test]
fn bridges_are_listed_as_brctl_lists_them() {
    let tools = Fake::new();
    assert_eq!(
        ok(&tools, "brctl show"),
        "bridge name\tbridge id\t\tSTP enabled\tinterfaces\n\
         gintbr0\t\t8000.0217422f0001\tno\t\t\n\
         xenbr0\t\t8000.0217422f0001\tno\t\tpeth0\n\
         \t\t\t\t\t\t\tvif1.0\n"
    );
    assert!(wrong(&tools, "brctl addbr xenbr1").starts_with("Bridges are made when the machine starts"));
}

/// T-96.
#[test]
fn overlays_are_listed_committed_and_discarded() {
    let tools = Fake::new();
    assert_eq!(
        ok(&tools, "overlay-list"),
        "Owner                            Written(k) Used  Changes\n\
         one/xvda                               5120 yes   /dev/hda1\n\
         old/xvda                                  1 no    /dev/hda1\n"
    );
    orders(&tools, "overlay-commit old/xvda", &["commit old/xvda"]);
    orders(&tools, "overlay-discard old/xvda", &["discard old/xvda"]);
}

/// BLK-24, NET-25.
#[test]
fn what_went_through_devices_is_listed() {
    let tools = Fake::new();
    tools.change(1, |domain| {
        let disk = DiskCounts { delayed: 1, reads: 20, writes: 3, sectors_read: 160, sectors_written: 24 };
        domain.devices.disks = vec![(51_712, disk), (51_728, DiskCounts::default())];
        let net = NetCounts {
            sent_bytes: 5000,
            received_bytes: 70_000,
            sent_packets: 50,
            received_packets: 60,
            dropped: 2,
        };
        domain.devices.nets = vec![(0, net)];
    });
    assert_eq!(
        ok(&tools, "block-list -s one two"),
        "Name                    ID      Vdev   VBD_OO   VBD_RD   VBD_WR  VBD_RSECT  VBD_WSECT\n\
         one                      1     51712        1       20        3        160         24\n\
         one                      1     51728        0        0        0          0          0\n"
    );
    assert_eq!(
        ok(&tools, "network-list --statistics one"),
        "Name                    ID Idx    TX(bytes)   TX(pkts)    RX(bytes)   RX(pkts) RX(drop)\n\
         one                      1   0         5000         50        70000         60        2\n"
    );
}
