//! Control registers take what a CPU takes, and raise #GP(0) for what it refuses.

use guest_rt::cpu::{self, Control};
use guest_rt::hypercall;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "control-registers",
    description: "Control registers take what a CPU takes, and raise #GP(0) for what it refuses.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    expect::protection(cpu::cr4_reserved(), "reserved bit of CR4")?;
    expect::protection(cpu::cr4_vmxe(), "CR4.VMXE")?;
    expect::protection(cpu::cr0_paging_unprotected(), "PG without PE")?;
    expect::protection(cpu::cr0_nw_without_cd(), "NW without CD")?;
    expect::protection(cpu::cr0_reserved(), "upper half of CR0")?;
    expect::protection(cpu::cr8_reserved(), "CR8 above 15")?;
    expect::undefined(cpu::cr1(), "CR1")?;
    cpu::reload_cr3()?;
    cpu::lmsw()?;
    for value in [0xdead_beef_0000, 0] {
        cpu::set_cr2(value);
        let _ = cpu::cpuid(0, 0);
        hypercall::yield_now();
        ensure_eq!(cpu::control(Control::Cr2), value, "CR2 after exits");
    }
    for priority in [15, 7, 0] {
        cpu::set_cr8(priority);
        ensure_eq!(cpu::control(Control::Cr8), u64::from(priority), "CR8");
    }
    let before = cpu::control(Control::Cr4);
    let toggles = 1 << 2 | 1 << 3 | 1 << 7;
    cpu::change_cr4(toggles, 0)?;
    ensure_eq!(cpu::control(Control::Cr4), before | toggles, "TSD, DE, PGE set");
    cpu::change_cr4(0, toggles)?;
    ensure_eq!(cpu::control(Control::Cr4), before & !toggles, "TSD, DE, PGE cleared");
    Ok(())
}
