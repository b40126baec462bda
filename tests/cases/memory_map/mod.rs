//! XENMEM_memory_map tells the map that the toolstack set.

use guest_rt::hypercall;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{E820Entry, MemoryMap, MemoryOp};
use zerocopy::FromZeros;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "memory-map",
    description: "XENMEM_memory_map tells the map that the toolstack set.",
    covers: &["MEM-22"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(guest: &Guest) -> Check {
    let mut entries = [E820Entry::new_zeroed(); 16];
    let mut map = MemoryMap {
        nr_entries: 16,
        buffer: GuestHandle::new(entries.as_mut_ptr() as u64),
        ..MemoryMap::new_zeroed()
    };
    hypercall::memory_op(MemoryOp::MemoryMap, &mut map)?;
    let expected = guest.boot().memory_map();
    ensure_eq!(map.nr_entries as usize, expected.len(), "entries");
    for (entry, expected) in entries.iter().zip(expected) {
        let (addr, size, kind) = (entry.addr, entry.size, entry.kind);
        ensure_eq!((addr, size, kind), (expected.addr, expected.size, expected.kind), "entry");
    }
    let refused = hypercall::memory_op(MemoryOp::MachineMemoryMap, &mut map);
    ensure_eq!(refused, Err(Errno::EPERM), "the machine's map");
    Ok(())
}
