//! A guest that writes nonsense to its APIC harms nobody.

use guest_rt::apic::{self, Apic, Mode};
use guest_rt::cpu;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hostile-apic",
    description: "A guest that writes nonsense to its APIC harms nobody.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    let mut value = 1_u64;
    for mode in [Mode::XApic, Mode::X2Apic] {
        if mode == Mode::X2Apic && !apic::has_x2apic() {
            continue;
        }
        let apic = Apic::enable(mode);
        for round in 0..2_000_u32 {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let register = round % 0x40;
            // Not INIT, SIPI or NMI to itself.
            if register == 0x30 || register == 0x31 {
                continue;
            }
            let _ = match apic.mode() {
                Mode::XApic => cpu::poke_u32(apic::MMIO + u64::from(register) * 16, (value >> 32) as u32),
                Mode::X2Apic => cpu::wrmsr(0x800 + register, value >> (value & 63)),
            };
        }
        apic.stop_timer();
    }
    Ok(())
}
