//! A domain is destroyed while its vcpus spin, sleep, sit in hypercalls or never started.

use alloc::format;

use guest_rt::paging::Page;
use guest_rt::smp::{self, Start};
use guest_rt::{cpu, hypercall, println};
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{MemoryOp, MemoryReservation};
use xen_abi::xen::DOMID_SELF;
use zerocopy::FromZeros;

use crate::controller::{Controller, LIMIT_MS, until};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "domain-destroyed-while-busy",
    description: "A domain is destroyed while its vcpus spin, sleep, sit in hypercalls or never started.",
    covers: &["LIF-15", "LIF-18", "LIF-20"],
    needs: &[],
    kind: Kind::Control(control, run),
};

const ROLES: [&str; 6] = ["spin", "halt", "block", "yield", "memory", "new"];

fn control(controller: &Controller) -> Check {
    let before = controller.free_pages();
    for role in ROLES {
        let mut domain = controller.spawn("domain-destroyed-while-busy", role, Shape::vcpus(4))?;
        if role != "new" {
            domain.start()?;
            domain.wait_for("busy", LIMIT_MS)?;
            until(5, || false);
        }
        domain.destroy()?;
        controller.all_back(before)?;
    }
    Ok(())
}

fn run(guest: &Guest) -> Check {
    let role = guest.role();
    for vcpu in 1..4 {
        smp::start(vcpu, Start::Hypercall)
            .map_err(|error| Problem::Failure(format!("vcpu {vcpu}: {error:?}")))?;
        smp::run(vcpu, move || be_busy(role));
    }
    println!("busy");
    be_busy(role);
    Ok(())
}

fn be_busy(role: &str) {
    let page = Page::new();
    loop {
        match role {
            "halt" => cpu::halt(),
            "block" => hypercall::block(),
            "yield" => hypercall::yield_now(),
            "memory" => {
                change(MemoryOp::DecreaseReservation, page.frame());
                change(MemoryOp::PopulatePhysmap, page.frame());
            }
            _ => cpu::relax(),
        }
    }
}

fn change(op: MemoryOp, mut frame: u64) {
    let mut argument = MemoryReservation {
        extent_start: GuestHandle::new((&raw mut frame) as u64),
        nr_extents: 1,
        domid: DOMID_SELF,
        ..MemoryReservation::new_zeroed()
    };
    // The domain is destroyed meanwhile.
    let _ = hypercall::memory_op(op, &mut argument);
}
