//! Start information tells the command line and a memory map in which the kernel lies.

use guest_rt::paging::Page;
use xen_abi::hvm_start_info::HvmMemmapTableEntry;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "start-info",
    description: "Start information tells the command line and a memory map in which the kernel lies.",
    covers: &["MEM-22"],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(guest: &Guest) -> Check {
    let boot = guest.boot();
    ensure_eq!(boot.info().version, 1, "version");
    ensure_eq!(boot.info().reserved, 0, "reserved word");
    let here = Page::new();
    ensure!(boot.ram().any(|ram| ram.contains(&here.address())), "the heap is in no RAM");
    if !guest.is_dom0() {
        ensure_eq!(boot.option("test"), Some("start-info"), "command line");
        let ram: u64 = boot.ram().map(|ram| ram.end - ram.start).sum();
        ensure_eq!(ram >> 20, 8, "MiB of RAM");
    }
    let map = boot.memory_map();
    for (n, entry) in map.iter().enumerate() {
        let overlaps = |other: &HvmMemmapTableEntry| {
            entry.addr < other.addr + other.size && other.addr < entry.addr + entry.size
        };
        ensure!(!map[..n].iter().any(overlaps), "entry {n} overlaps another: {entry:x?}");
    }
    Ok(())
}
