//! Behaviour of the virtual local APIC, section by section of the SDM.

use core::num::NonZeroU64;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::vioapic::{DEFAULT_PINS, IoApicPin, Vioapic};
use crate::vpic::{PicPort, Vpic};
use crate::vpit::Vpit;

const TSC_HZ: u64 = 2_000_000_000;
const BUS_HZ: u64 = 1_000_000_000;
/// TSC ticks for each bus tick.
const TSC_PER_BUS: u64 = TSC_HZ / BUS_HZ;
const ENABLE: u32 = 0x1ff;

type Page = [u32; PAGE_WORDS];

fn bus() -> Rate {
    Rate::new(NonZeroU64::new(BUS_HZ).unwrap(), NonZeroU64::new(TSC_HZ).unwrap())
}

/// An APIC as it is after reset.
fn reset(id: u32) -> Vlapic<Page> {
    Vlapic::new([0xdead_beef; PAGE_WORDS], ApicId::new(id), true, bus())
}

fn xapic(id: u32) -> Vlapic<Page> {
    let mut apic = reset(id);
    assert_eq!(apic.write_mmio(0xf0, ENABLE, 0), Effect::Enabled);
    apic
}

fn x2apic(id: u32) -> Vlapic<Page> {
    let mut apic = xapic(id);
    let _ = apic.write_base(APIC_ADDRESS | 0xc00).unwrap();
    apic
}

fn x2apic_msr(offset: u16) -> Msr {
    Msr::x2apic(offset).unwrap()
}

fn write(apic: &mut Vlapic<Page>, offset: u16, value: u32) -> Effect {
    apic.write_mmio(offset, value, 0)
}

fn read(apic: &mut Vlapic<Page>, offset: u16) -> u32 {
    apic.read_mmio(offset, 0)
}

fn highest_requested<P: ApicPage>(apic: &Vlapic<P>) -> Option<Vector> {
    Vector::new(apic.interrupt_status().to_le_bytes()[0])
}

fn highest_in_service<P: ApicPage>(apic: &Vlapic<P>) -> Option<Vector> {
    Vector::new(apic.interrupt_status().to_le_bytes()[1])
}

fn vector(raw: u8) -> Vector {
    Vector::new(raw).unwrap()
}

fn fixed(raw: u8, trigger: Trigger) -> Message {
    Message { destination: Destination::All, delivery: Delivery::Fixed, vector: raw, trigger }
}

fn signal(delivery: Delivery, vector: u8) -> Message {
    Message { destination: Destination::All, delivery, vector, trigger: Trigger::Edge }
}

fn raise(apic: &mut Vlapic<Page>, raw: u8) {
    assert!(apic.receive(fixed(raw, Trigger::Edge)));
}

/// The ESR after latching.
fn errors(apic: &mut Vlapic<Page>) -> u32 {
    let _ = write(apic, 0x280, 0);
    read(apic, 0x280)
}

// "Local APIC State After Power-Up or Reset".
#[test]
fn registers_after_reset() {
    let mut apic = reset(5);
    let defaults =
        [(0x20, 5 << 24), (0x30, VERSION), (0x80, 0), (0xa0, 0), (0xd0, 0), (0xe0, u32::MAX), (0xf0, 0xff)];
    for (offset, value) in defaults {
        assert_eq!(read(&mut apic, offset), value, "{offset:#x}");
    }
    for lvt in (0x320..0x380).step_by(16) {
        assert_eq!(read(&mut apic, lvt), 0x1_0000);
    }
    for offset in (0x100..0x280).step_by(16).chain([0x280, 0x300, 0x310, 0x380, 0x390, 0x3e0]) {
        assert_eq!(read(&mut apic, offset), 0, "{offset:#x}");
    }
    assert_eq!((apic.read_base(), apic.pending(), apic.signal()), (0xfee0_0900, None, None));
}

// "Interrupt Acceptance for Fixed Interrupts", "Task and Processor Priorities".
#[test]
fn interrupts_nest_by_class() {
    let mut apic = xapic(0);
    raise(&mut apic, 0x45);
    assert_eq!(apic.accept(), Some(vector(0x45)));
    assert_eq!((apic.ppr(), read(&mut apic, 0xa0)), (0x40, 0x40));
    raise(&mut apic, 0x4f);
    assert_eq!(apic.pending(), None, "the same class waits");
    raise(&mut apic, 0x51);
    assert_eq!(apic.accept(), Some(vector(0x51)));
    assert_eq!(write(&mut apic, 0xb0, 0), Effect::None);
    assert_eq!((apic.ppr(), apic.pending()), (0x40, None));
    let _ = write(&mut apic, 0xb0, 7);
    assert_eq!(apic.accept(), Some(vector(0x4f)));
    assert_eq!((highest_requested(&apic), highest_in_service(&apic)), (None, Some(vector(0x4f))));
}

#[test]
fn task_priority_holds_back_its_class_and_below() {
    let mut apic = xapic(0);
    raise(&mut apic, 0x85);
    let _ = write(&mut apic, 0x80, 0x8f);
    assert_eq!((apic.pending(), apic.ppr(), apic.tpr_threshold()), (None, 0x8f, 8));
    let _ = write(&mut apic, 0x80, 0x7f);
    assert_eq!((apic.pending(), apic.tpr_threshold()), (Some(vector(0x85)), 0));
}

// "Signaling Interrupt Servicing Completion".
#[test]
fn only_level_interrupts_tell_their_end() {
    let mut apic = xapic(0);
    assert_eq!(write(&mut apic, 0xb0, 0), Effect::None, "nothing in service");
    for (trigger, effect) in
        [(Trigger::Level, Effect::EndOfInterrupt(vector(0x31))), (Trigger::Edge, Effect::None)]
    {
        assert!(apic.receive(fixed(0x31, trigger)));
        let exits = apic.take_eoi_exits().unwrap();
        assert_eq!(exits[0] >> 0x31 & 1 == 1, trigger == Trigger::Level);
        assert_eq!(apic.take_eoi_exits(), None);
        assert!(apic.accept().is_some());
        assert_eq!(write(&mut apic, 0xb0, 0), effect);
    }
    let _ = write(&mut apic, 0xf0, 0x11ff);
    assert!(apic.receive(fixed(0x31, Trigger::Level)) && apic.accept().is_some());
    assert_eq!(write(&mut apic, 0xb0, 0), Effect::None, "broadcasts are suppressed");
}

// "Valid Interrupt Vectors", "Error Handling".
#[test]
fn illegal_vectors_and_registers_show_in_the_esr() {
    let mut apic = xapic(0);
    let _ = write(&mut apic, 0x370, 0xfe);
    assert!(!apic.receive(fixed(15, Trigger::Edge)));
    assert_eq!(read(&mut apic, 0x280), 0, "nothing shows before a write");
    assert_eq!(errors(&mut apic), 1 << 6);
    assert_eq!(apic.accept(), Some(vector(0xfe)));
    assert_eq!(write(&mut apic, 0x300, 0x0f), Effect::None);
    assert_eq!(read(&mut apic, 0x3f0), 0);
    assert_eq!(errors(&mut apic), 1 << 5 | 1 << 7);
    assert_eq!(errors(&mut apic), 0);
}

#[test]
fn an_error_interrupt_with_an_illegal_vector_ends() {
    let mut apic = xapic(0);
    let _ = write(&mut apic, 0x370, 3);
    assert!(!apic.receive(fixed(0, Trigger::Edge)));
    assert_eq!((errors(&mut apic), highest_requested(&apic)), (1 << 6, None));
}

// "Local APIC State After It Has Been Software Disabled".
#[test]
fn a_disabled_apic_masks_the_lvt_and_hears_signals_only() {
    let mut apic = xapic(0);
    raise(&mut apic, 0x60);
    let _ = write(&mut apic, 0x350, 0x700);
    assert!(apic.accepts_ext_int());
    let _ = write(&mut apic, 0xf0, 0xff);
    assert_eq!(read(&mut apic, 0x350), 0x1_0700);
    let _ = write(&mut apic, 0x350, 0x700);
    assert_eq!(read(&mut apic, 0x350), 0x1_0700, "the mask cannot be cleared");
    assert!(!apic.accepts_ext_int() && !apic.receive(fixed(0x61, Trigger::Edge)));
    assert!(apic.receive(signal(Delivery::Nmi, 0)));
    assert_eq!(apic.pending(), Some(vector(0x60)), "what was requested is held");
}

// "Local Vector Table": reserved and read-only bits.
#[test]
fn the_xapic_drops_reserved_bits() {
    let mut apic = xapic(7);
    for (offset, kept) in [
        (0x320, 0x0007_00ff),
        (0x330, 0x0001_07ff),
        (0x340, 0x0001_07ff),
        (0x350, 0x0001_a7ff),
        (0x360, 0x0001_a7ff),
        (0x370, 0x0001_00ff),
        (0x3e0, 0xb),
        (0x80, 0xff),
        (0xd0, 0xff00_0000),
        (0x310, 0xff00_0000),
        (0xf0, 0x13ff),
    ] {
        let _ = write(&mut apic, offset, u32::MAX);
        assert_eq!(read(&mut apic, offset), kept, "{offset:#x}");
    }
    let _ = write(&mut apic, 0xe0, 0);
    assert_eq!(read(&mut apic, 0xe0), 0x0fff_ffff);
    for read_only in [0x20, 0x30, 0xa0, 0x100, 0x180, 0x200, 0x390] {
        let before = read(&mut apic, read_only);
        assert_eq!(write(&mut apic, read_only, !before), Effect::None);
        assert_eq!(read(&mut apic, read_only), before, "{read_only:#x}");
    }
}

// "x2APIC Register Address Space": what faults.
#[test]
fn the_x2apic_faults_as_its_table_says() {
    let mut apic = x2apic(7);
    let mut wr = |offset, value| apic.write_msr(x2apic_msr(offset), value, 0).is_ok();
    for read_only in [0x20, 0x30, 0xa0, 0xd0, 0x100, 0x170, 0x180, 0x200, 0x270, 0x390] {
        assert!(!wr(read_only, 0), "{read_only:#x}");
    }
    for absent in [0x00, 0x40, 0x90, 0xc0, 0xe0, 0x2f0, 0x310, 0x3a0, 0x3f0 + 0x10, 0xff0] {
        assert!(!wr(absent, 0), "{absent:#x}");
    }
    for (offset, legal, reserved) in [
        (0x80, 0xff, 0x100),
        (0xb0, 0, 1),
        (0xf0, 0x13ff, 0x400),
        (0x280, 0, 1),
        (0x300, 0x000c_c830, 0x1000),
        (0x320, 0x0007_10ff, 0x100),
        (0x350, 0x0001_f7ff, 0x2_0000),
        (0x370, 0x0001_10ff, 0x100),
        (0x380, 0xffff_ffff, 0),
        (0x3e0, 0xb, 4),
        (0x3f0, 0xff, 0x100),
    ] {
        assert!(wr(offset, legal), "{offset:#x}");
        assert!(reserved == 0 || !wr(offset, legal | reserved), "{offset:#x}");
        assert_eq!(wr(offset, legal | 1 << 32), offset == 0x300, "{offset:#x}");
    }
    for write_only in [0xb0, 0x3f0] {
        assert_eq!(apic.read_msr(x2apic_msr(write_only), 0), Err(Fault));
    }
    assert_eq!(apic.read_msr(x2apic_msr(0xe0), 0), Err(Fault));
    assert_eq!(apic.read_msr(Msr::new(0x1b), 0), Err(Fault));
}

#[test]
fn each_mode_has_one_way_in() {
    let mut apic = xapic(3);
    assert_eq!(apic.read_msr(Msr::IA32_X2APIC_APICID, 0), Err(Fault));
    let _ = apic.write_base(APIC_ADDRESS | 0xc00).unwrap();
    assert_eq!(apic.read_msr(Msr::IA32_X2APIC_APICID, 0), Ok(3));
    assert_eq!(read(&mut apic, 0x20), u32::MAX);
    assert_eq!(write(&mut apic, 0x80, 0x20), Effect::None);
    assert_eq!(apic.tpr(), 0);
    let _ = apic.write_base(APIC_ADDRESS).unwrap();
    assert_eq!((apic.mode(), read(&mut apic, 0x20)), (Mode::Disabled, u32::MAX));
    assert!(apic.accepts_ext_int() && !apic.matches(Destination::All));
}

// "x2APIC State Transitions": what survives and what does not.
#[test]
fn switching_to_x2apic_keeps_requests_and_disabling_forgets() {
    let mut apic = xapic(0x23);
    raise(&mut apic, 0x77);
    let _ = apic.write_base(APIC_ADDRESS | 0xc00).unwrap();
    assert_eq!(apic.pending(), Some(vector(0x77)));
    assert_eq!(apic.read_msr(Msr::IA32_X2APIC_LDR, 0), Ok(0x2_0008));
    let _ = apic.write_base(APIC_ADDRESS).unwrap();
    let _ = apic.write_base(APIC_ADDRESS | 0x800).unwrap();
    assert_eq!((apic.pending(), read(&mut apic, 0x20), read(&mut apic, 0xd0)), (None, 0x2300_0000, 0));
}

// "Determining IPI Destination".
#[test]
fn xapic_destinations() {
    let mut apic = xapic(2);
    let _ = write(&mut apic, 0xd0, 0x1400_0000);
    let hit = |apic: &Vlapic<Page>, field, logical| apic.matches(Destination::from_xapic(field, logical));
    assert!(hit(&apic, 2, false) && !hit(&apic, 3, false) && hit(&apic, 0xff, false));
    assert!(hit(&apic, 0x10, true) && hit(&apic, 0x04, true) && hit(&apic, 0xff, true));
    assert!(!hit(&apic, 0x0b, true) && !hit(&apic, 0, true));
    let _ = write(&mut apic, 0xe0, 0);
    assert!(hit(&apic, 0x14, true) && hit(&apic, 0x1c, true));
    assert!(!hit(&apic, 0x18, true) && !hit(&apic, 0x24, true));
    let _ = write(&mut apic, 0xe0, 0x7000_0000);
    assert!(!hit(&apic, 0x14, true), "an undefined model matches nothing");
    assert!(apic.matches(Destination::AllBut(ApicId::new(1))));
    assert!(!apic.matches(Destination::AllBut(ApicId::new(2))));
}

// "Logical Destination Mode in x2APIC Mode".
#[test]
fn x2apic_destinations() {
    let apic = x2apic(0x35);
    let hit = |field, logical| apic.matches(Destination::from_x2apic(field, logical));
    assert!(hit(0x35, false) && !hit(0x135, false) && hit(u32::MAX, false) && hit(u32::MAX, true));
    assert!(hit(0x3_0020, true) && hit(0x3_ffff, true));
    assert!(!hit(0x3_0010, true) && !hit(0x4_0020, true) && !hit(0x3_0000, true));
}

// "Interrupt Command Register (ICR)".
#[test]
fn the_icr_sends() {
    let mut apic = xapic(1);
    let message = |destination, delivery, vector| {
        Effect::Send(Message { destination, delivery, vector, trigger: Trigger::Edge })
    };
    let to = |field, logical| Destination::from_xapic(field, logical);
    let _ = write(&mut apic, 0x310, 0x0600_0000);
    assert_eq!(write(&mut apic, 0x300, 0x40f1), message(to(6, false), Delivery::Fixed, 0xf1));
    assert_eq!(write(&mut apic, 0x300, 0x4831), message(to(6, true), Delivery::Fixed, 0x31));
    assert_eq!(write(&mut apic, 0x300, 0x4931), message(to(6, true), Delivery::LowestPriority, 0x31));
    assert_eq!(write(&mut apic, 0x300, 0xc500), message(to(6, false), Delivery::Init, 0));
    assert_eq!(write(&mut apic, 0x300, 0x8500), Effect::None, "level de-assert");
    assert_eq!(write(&mut apic, 0x300, 0x4609), message(to(6, false), Delivery::StartUp, 9));
    assert_eq!(write(&mut apic, 0x300, 0x8_4400), message(Destination::All, Delivery::Nmi, 0));
    let others = Destination::AllBut(ApicId::new(1));
    assert_eq!(write(&mut apic, 0x300, 0xc_4044), message(others, Delivery::Fixed, 0x44));
    for ignored in [0x4200, 0x4300, 0x4700, 0x4_4400] {
        assert_eq!(write(&mut apic, 0x300, ignored), Effect::None, "{ignored:#x}");
    }
    assert_eq!(write(&mut apic, 0x300, 0x4_0041), Effect::None);
    assert_eq!(apic.pending(), Some(vector(0x41)), "shorthand: self");
}

#[test]
fn the_x2apic_icr_is_one_register() {
    let mut apic = x2apic(1);
    let sent = apic.write_msr(Msr::IA32_X2APIC_ICR, 0x0003_0004_0000_4850, 0);
    let destination = Destination::Logical(0x3_0004);
    let message = Message { destination, delivery: Delivery::Fixed, vector: 0x50, trigger: Trigger::Edge };
    assert_eq!(sent, Ok(Effect::Send(message)));
    assert_eq!(apic.read_msr(Msr::IA32_X2APIC_ICR, 0), Ok(0x0003_0004_0000_4850));
    assert_eq!(apic.write_msr(Msr::IA32_X2APIC_SELF_IPI, 0x99, 0), Ok(Effect::None));
    assert_eq!(apic.accept(), Some(vector(0x99)));
    assert_eq!(apic.write_msr(Msr::IA32_X2APIC_EOI, 0, 0), Ok(Effect::None));
    assert_eq!(highest_in_service(&apic), None);
}

// "MP Initialization Protocol Algorithm", "Local APIC State After an INIT Reset".
#[test]
fn init_and_startup() {
    let mut apic = Vlapic::new([0; PAGE_WORDS], ApicId::new(1), false, bus());
    let _ = write(&mut apic, 0xf0, ENABLE);
    raise(&mut apic, 0x50);
    assert!(apic.waits_for_startup());
    assert!(apic.receive(signal(Delivery::Init, 0)));
    assert!(apic.receive(signal(Delivery::StartUp, 0x9a)), "heard although INIT is still pending");
    assert!(apic.receive(signal(Delivery::Nmi, 0)));
    assert_eq!(apic.take_signal(), Some(Signal::Init));
    assert_eq!((apic.pending(), read(&mut apic, 0xf0), read(&mut apic, 0x20)), (None, 0xff, 1 << 24));
    assert_eq!(apic.take_signal(), Some(Signal::StartUp(0x9a)));
    assert!(!apic.waits_for_startup());
    assert!(!apic.receive(signal(Delivery::StartUp, 0x9b)), "the second start-up is dropped");
    assert_eq!(apic.take_signal(), None);
}

#[test]
fn nmis_wait_for_startup_and_init_cancels_startup() {
    let mut apic = Vlapic::new([0; PAGE_WORDS], ApicId::new(1), false, bus());
    assert!(apic.receive(signal(Delivery::Nmi, 0)));
    assert_eq!(apic.signal(), None);
    assert!(apic.receive(signal(Delivery::StartUp, 1)));
    assert_eq!(apic.take_signal(), Some(Signal::StartUp(1)));
    assert_eq!(apic.take_signal(), Some(Signal::Nmi));
    assert!(apic.receive(signal(Delivery::Init, 0)) && apic.receive(signal(Delivery::StartUp, 2)));
    assert!(apic.receive(signal(Delivery::Init, 0)));
    assert_eq!((apic.take_signal(), apic.signal()), (Some(Signal::Init), None));
}

#[test]
fn the_boot_cpu_does_not_wait_after_init_and_keeps_its_mode() {
    let mut apic = x2apic(4);
    assert!(apic.receive(signal(Delivery::Init, 0)));
    assert_eq!(apic.take_signal(), Some(Signal::Init));
    assert!(!apic.waits_for_startup());
    assert_eq!((apic.mode(), apic.read_msr(Msr::IA32_X2APIC_LDR, 0)), (Mode::X2Apic, Ok(0x10)));
}

// "Local Vector Table": delivery modes of the pins.
#[test]
fn pins_do_what_their_entries_say() {
    let mut apic = xapic(0);
    assert!(!apic.pulse(Pin::Lint0) && !apic.pulse(Pin::Lint1), "masked");
    let _ = write(&mut apic, 0x360, 0x400);
    assert!(apic.pulse(Pin::Lint1));
    assert_eq!(apic.take_signal(), Some(Signal::Nmi));
    let _ = write(&mut apic, 0x350, 0x700);
    assert!(apic.accepts_ext_int() && !apic.pulse(Pin::Lint0), "the vector comes from the pair");
    let _ = write(&mut apic, 0x350, 0x0030);
    assert!(!apic.accepts_ext_int() && apic.pulse(Pin::Lint0));
    assert_eq!(apic.accept(), Some(vector(0x30)));
    let _ = write(&mut apic, 0x350, 0x0005);
    assert!(!apic.pulse(Pin::Lint0));
    assert_eq!(errors(&mut apic), 1 << 6);
}

// "APIC Timer": divide configuration.
#[test]
fn divisors() {
    let expected = [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)];
    for (config, divisor) in expected {
        assert_eq!(timer::divisor(config), divisor);
    }
}

#[test]
fn one_shot_counts_down_once() {
    let mut apic = xapic(0);
    let _ = apic.write_mmio(0x3e0, 3, 0); // by 16
    let _ = apic.write_mmio(0x320, 0x40, 0);
    assert_eq!(apic.write_mmio(0x380, 1000, 500), Effect::TimerChanged);
    let step = 16 * TSC_PER_BUS;
    assert_eq!(apic.next_deadline(), Some(500 + 1000 * step));
    assert_eq!(apic.read_mmio(0x390, 500), 1000);
    assert_eq!(apic.read_mmio(0x390, 500 + step - 1), 1000);
    assert_eq!(apic.read_mmio(0x390, 500 + step), 999);
    assert_eq!(apic.read_mmio(0x390, 500 + 999 * step), 1);
    assert!(!apic.expire(500 + 1000 * step - 1));
    assert!(apic.expire(500 + 1000 * step));
    assert!(!apic.expire(u64::MAX));
    assert_eq!((apic.read_mmio(0x390, u64::MAX), apic.next_deadline()), (0, None));
    assert_eq!(apic.accept(), Some(vector(0x40)));
}

#[test]
fn periodic_expiries_never_drift() {
    let mut apic = xapic(0);
    let _ = apic.write_mmio(0x3e0, 0xb, 0);
    let _ = apic.write_mmio(0x320, 0x2_0040, 0);
    let _ = apic.write_mmio(0x380, 1_000_001, 0);
    let period = 1_000_001 * TSC_PER_BUS;
    for n in 1..if cfg!(miri) { 5 } else { 1000 } {
        assert_eq!(apic.next_deadline(), Some(n * period));
        // Late by up to a third of a period.
        assert!(apic.expire(n * period + n % 3 * period / 9));
    }
    let late = 5_000 * period + 7;
    assert!(apic.expire(late) && !apic.expire(late), "missed periods make one interrupt");
    assert_eq!(apic.next_deadline(), Some(5_001 * period));
    assert_eq!(apic.read_mmio(0x390, 5_000 * period + 2 * TSC_PER_BUS), 999_999);
}

#[test]
fn a_storm_of_periods_is_thinned() {
    let mut apic = xapic(0);
    let _ = apic.write_mmio(0x3e0, 0xb, 0);
    let _ = apic.write_mmio(0x320, 0x2_0040, 0);
    let _ = apic.write_mmio(0x380, 3, 0);
    let mut fired = 0;
    while let Some(at) = apic.next_deadline().filter(|&at| at <= TSC_HZ / 100) {
        assert!(apic.expire(at));
        assert!((1..=3).contains(&apic.read_mmio(0x390, at)));
        fired += 1;
    }
    assert!((99..=101).contains(&fired), "{fired} interrupts in 10 ms");
}

#[test]
fn a_new_divisor_goes_on_from_the_count() {
    let mut apic = xapic(0);
    let _ = apic.write_mmio(0x3e0, 0xb, 0);
    let _ = apic.write_mmio(0x320, 0x40, 0);
    let _ = apic.write_mmio(0x380, 1000, 0);
    let _ = apic.write_mmio(0x3e0, 0, 400 * TSC_PER_BUS);
    assert_eq!(apic.read_mmio(0x390, 400 * TSC_PER_BUS), 600);
    assert_eq!(apic.next_deadline(), Some((400 + 2 * 600) * TSC_PER_BUS));
}

#[test]
fn a_masked_timer_counts_and_is_silent() {
    let mut apic = xapic(0);
    let _ = apic.write_mmio(0x320, 0x1_0040, 0);
    let _ = apic.write_mmio(0x380, 100, 0);
    assert_eq!((apic.next_deadline(), apic.read_mmio(0x390, 4 * TSC_PER_BUS)), (None, 98));
    // Unmasking after the expiry must not fire it.
    let _ = apic.write_mmio(0x320, 0x40, 1_000_000);
    assert_eq!((apic.next_deadline(), apic.pending()), (None, None));
    let _ = apic.write_mmio(0x380, 100, 1_000_000);
    let _ = apic.write_mmio(0x380, 0, 1_000_000);
    assert_eq!(apic.next_deadline(), None, "0 stops the timer");
}

// "TSC-Deadline Mode".
#[test]
fn tsc_deadline() {
    let mut apic = x2apic(0);
    let lvt = Msr::IA32_X2APIC_LVT_TIMER;
    assert_eq!(apic.write_tsc_deadline(99, 0), Effect::None);
    assert_eq!(apic.read_tsc_deadline(0), 0, "ignored in other modes");
    let _ = apic.write_msr(lvt, 0x4_0060, 0).unwrap();
    assert_eq!(apic.write_tsc_deadline(1000, 10), Effect::TimerChanged);
    assert_eq!((apic.next_deadline(), apic.read_tsc_deadline(999)), (Some(1000), 1000));
    let _ = apic.write_msr(Msr::IA32_X2APIC_INIT_COUNT, 5, 20).unwrap();
    assert_eq!(apic.read_msr(Msr::IA32_X2APIC_CUR_COUNT, 20), Ok(0));
    assert_eq!(apic.next_deadline(), Some(1000), "the initial count is ignored");
    assert!(!apic.expire(999) && apic.expire(1000));
    assert_eq!((apic.read_tsc_deadline(1000), apic.accept()), (0, Some(vector(0x60))));
    let _ = apic.write_tsc_deadline(500, 2000);
    assert_eq!((apic.next_deadline(), highest_requested(&apic)), (None, Some(vector(0x60))));
    let _ = apic.write_tsc_deadline(9000, 2000);
    let _ = apic.write_msr(lvt, 0x60, 2000).unwrap();
    assert_eq!(apic.next_deadline(), None, "leaving the mode disarms");
}

// What tgoskits#585 of the rcore-os project describes: LVT writes that do not exit.
#[test]
fn registers_that_the_cpu_wrote_are_obeyed() {
    let mut page = [0; PAGE_WORDS];
    let mut apic = Vlapic::new(&mut page, ApicId::new(2), true, bus());
    apic.page.store(Reg::SVR, ENABLE);
    apic.page.store(Reg::LVT_LINT1, 0x400);
    assert!(apic.pulse(Pin::Lint1));
    apic.share();
    apic.page.store(Reg::IRR.slot(3), 1);
    assert_eq!((apic.interrupt_status(), apic.pending()), (0x60, Some(vector(0x60))));
    // As delivery by the CPU leaves the page; then as EOI virtualization does.
    apic.page.store(Reg::IRR.slot(3), 0);
    apic.page.store(Reg::ISR.slot(3), 1);
    assert_eq!((apic.interrupt_status(), apic.ppr()), (0x6000, 0x60));
    apic.page.store(Reg::ISR.slot(3), 0);
    assert_eq!((apic.interrupt_status(), apic.ppr()), (0, 0));
    assert!(apic.receive(fixed(0x60, Trigger::Edge)));
    assert_eq!((apic.accept(), apic.accept()), (Some(vector(0x60)), None));
    apic.page.store(Reg::IRR.slot(4), 1);
    assert_eq!(apic.accept(), Some(vector(0x80)));
    apic.page.store(Reg::LVT_TIMER, 0xfff0_0077);
    assert_eq!(apic.written(0x320, 0), Effect::TimerChanged);
    assert_eq!(apic.read_mmio(0x320, 0), 0x77);
    apic.page.store(Reg::ID, 0);
    let _ = apic.written(0x20, 0);
    assert_eq!(apic.read_mmio(0x20, 0), 2 << 24);
    apic.page.store(Reg::ICR_LOW, 0x4_0061);
    let _ = apic.written(0x300, 0);
    assert_eq!(highest_requested(&apic), Some(vector(0x61)));
}

// From a device's line through both APICs to its end, and once more.
#[test]
fn a_level_line_asks_until_it_is_served() {
    let mut apic = xapic(3);
    let mut io = Vioapic::new(0, DEFAULT_PINS);
    let pin = IoApicPin::new(16).unwrap();
    for (index, value) in [(0x31, 0x0300_0000), (0x30, 0x8061)] {
        io.write(0x00, index);
        io.write(0x10, value);
    }
    io.set_line(pin, true);
    for still_active in [true, false] {
        let message = io.take_message().unwrap();
        assert!(apic.matches(message.destination) && apic.receive(message));
        assert_eq!((apic.accept(), io.take_message()), (Some(vector(0x61)), None));
        io.set_line(pin, still_active);
        let Effect::EndOfInterrupt(ended) = write(&mut apic, 0xb0, 0) else { panic!("no broadcast") };
        io.end_of_interrupt(ended);
    }
    assert_eq!(io.take_message(), None);
}

// How kernels try the timer's wiring: LINT0 as a fixed interrupt, then as ExtINT.
#[test]
fn the_timer_reaches_lint0_either_way() {
    let mut apic = xapic(0);
    let mut pit = Vpit::new(NonZeroU64::new(TSC_HZ).unwrap(), 0);
    let mut pic = Vpic::new();
    for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1), (0x21, 0xfe)] {
        pic.write(PicPort::new(port).unwrap(), value);
    }
    let mut tick = |pic: &mut Vpic| {
        let now = pit.next_deadline().unwrap();
        assert!(pit.expire(now));
        pic.set_line(0, false);
        pic.set_line(0, true);
        assert!(pic.output());
    };
    let _ = write(&mut apic, 0x350, 0x31);
    for _ in 0..3 {
        tick(&mut pic);
        assert!(!apic.accepts_ext_int() && apic.pulse(Pin::Lint0));
        assert_eq!(apic.accept(), Some(vector(0x31)));
        let _ = write(&mut apic, 0xb0, 0);
    }
    let _ = write(&mut apic, 0x350, 0x700);
    for _ in 0..3 {
        tick(&mut pic);
        assert!(apic.accepts_ext_int() && !apic.pulse(Pin::Lint0));
        assert_eq!((pic.acknowledge(), apic.pending()), (0x30, None));
        pic.write(PicPort::new(0x20).unwrap(), 0x20);
    }
}

// "EOI Virtualization": the CPU has cleared the in-service bit.
#[test]
fn an_eoi_that_the_cpu_did_is_told_alike() {
    let mut apic = xapic(0);
    assert!(apic.receive(fixed(0x44, Trigger::Level)) && apic.receive(fixed(0x45, Trigger::Edge)));
    assert_eq!(apic.ended(vector(0x44)), Effect::EndOfInterrupt(vector(0x44)));
    assert_eq!(apic.ended(vector(0x45)), Effect::None);
}

/// One thing that happens to an APIC.
#[derive(Clone, Copy, Debug)]
enum Step {
    Mmio { offset: u16, value: u32 },
    Msr { index: u32, value: u64 },
    Base(u64),
    Deadline(u64),
    Written { offset: u16, value: u32 },
    Receive(Message),
    Pulse(Pin),
    Accept,
    Signal,
    Expire,
}

fn message() -> impl Strategy<Value = Message> {
    let delivery = prop::sample::select(vec![
        Delivery::Fixed,
        Delivery::LowestPriority,
        Delivery::Nmi,
        Delivery::Init,
        Delivery::StartUp,
        Delivery::ExtInt,
    ]);
    (delivery, any::<u8>(), any::<bool>()).prop_map(|(delivery, vector, level)| Message {
        destination: Destination::All,
        delivery,
        vector,
        trigger: if level { Trigger::Level } else { Trigger::Edge },
    })
}

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![9 => (0..64_u16).prop_map(|slot| slot << 4), 1 => any::<u16>()];
    let word = || prop_oneof![any::<u32>(), 0..0x200_u32, Just(0x2_0040), Just(0x4_0040)];
    let base = (any::<u64>(), 0..4_u64);
    prop_oneof![
        8 => (offset(), word()).prop_map(|(offset, value)| Step::Mmio { offset, value }),
        8 => (0x7f0..0x910_u32, word(), any::<u32>(), any::<bool>()).prop_map(|(index, low, high, wide)| {
            Step::Msr { index, value: u64::from(low) | if wide { u64::from(high) << 32 } else { 0 } }
        }),
        1 => base.prop_map(|(raw, mode)| Step::Base(if raw & 7 == 0 { raw } else { APIC_ADDRESS | mode << 10 })),
        1 => any::<u64>().prop_map(Step::Deadline),
        2 => (offset(), word()).prop_map(|(offset, value)| Step::Written { offset, value }),
        8 => message().prop_map(Step::Receive),
        1 => prop::sample::select(vec![Pin::Lint0, Pin::Lint1]).prop_map(Step::Pulse),
        4 => Just(Step::Accept),
        1 => Just(Step::Signal),
        2 => Just(Step::Expire),
    ]
}

fn take(apic: &mut Vlapic<Page>, step: Step, now: u64) {
    match step {
        Step::Mmio { offset, value } => {
            let _ = apic.write_mmio(offset, value, now);
            apic.read_mmio(offset, now);
        }
        Step::Msr { index, value } => {
            let _ = apic.write_msr(Msr::new(index), value, now);
            let _ = apic.read_msr(Msr::new(index), now);
        }
        Step::Base(value) => _ = apic.write_base(value),
        Step::Deadline(at) => _ = apic.write_tsc_deadline(at, now),
        Step::Written { offset, value } => {
            if let Some(reg) = Reg::at(offset) {
                apic.page.store(reg, value);
                apic.share();
            }
            let _ = apic.written(offset, now);
        }
        Step::Receive(message) => _ = apic.receive(message),
        Step::Pulse(pin) => _ = apic.pulse(pin),
        Step::Accept => _ = apic.accept(),
        Step::Signal => _ = apic.take_signal(),
        Step::Expire => _ = apic.expire(now),
    }
}

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 2 } else { 512 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

const STEPS: usize = if cfg!(miri) { 8 } else { 200 };

fn top_class(set: &BTreeSet<u8>) -> u8 {
    set.last().map_or(0, |&vector| vector & 0xf0)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_traffic_leaves_the_apic_consistent(
        steps in prop::collection::vec((step(), any::<u64>()), 1..STEPS), boot in any::<bool>(), id in any::<u32>(),
    ) {
        let mut apic = Vlapic::new([0; PAGE_WORDS], ApicId::new(id), boot, bus());
        let mut told = apic.interrupt_status();
        for (step, now) in steps {
            take(&mut apic, step, now);
            told = match apic.take_status_change() {
                StatusChange::None => told,
                StatusChange::Requested(vector) => told & 0xff00 | (told & 0xff).max(vector.get().into()),
                StatusChange::Any => apic.interrupt_status(),
            };
            prop_assert_eq!(told, apic.interrupt_status());
            if let Some(pending) = apic.pending() {
                prop_assert!(pending.class() > apic.ppr() & 0xf0);
                prop_assert_eq!(highest_requested(&apic), Some(pending));
            }
            let known = apic.interrupt_status();
            let (irr, isr) = (apic.irr, apic.isr);
            apic.irr.share();
            apic.isr.share();
            prop_assert_eq!(known, apic.interrupt_status());
            (apic.irr, apic.isr) = (irr, isr);
        }
    }

    /// Against two sets of vectors and the rule of priorities.
    #[test]
    fn delivery_follows_the_priorities(
        steps in prop::collection::vec((0..4_u8, any::<u8>()), 1..STEPS),
    ) {
        let mut apic = x2apic(0);
        let (mut requested, mut in_service) = (BTreeSet::new(), BTreeSet::new());
        let mut tpr = 0;
        for (action, value) in steps {
            match action {
                0 => {
                    tpr = value;
                    let _ = apic.write_msr(Msr::IA32_X2APIC_TPR, value.into(), 0).unwrap();
                }
                1 => {
                    let _ = apic.write_msr(Msr::IA32_X2APIC_EOI, 0, 0).unwrap();
                    in_service.pop_last();
                }
                _ if value >= 16 => {
                    raise(&mut apic, value);
                    requested.insert(value);
                }
                _ => {
                    let floor = top_class(&in_service).max(tpr & 0xf0);
                    let expected = requested.last().copied().filter(|v| v & 0xf0 > floor);
                    prop_assert_eq!(apic.accept().map(Vector::get), expected);
                    if let Some(vector) = expected {
                        requested.remove(&vector);
                        in_service.insert(vector);
                    }
                }
            }
            let service = top_class(&in_service);
            let ppr = if tpr & 0xf0 >= service { tpr } else { service };
            prop_assert_eq!(apic.read_msr(Msr::IA32_X2APIC_PPR, 0), Ok(u64::from(ppr)));
            prop_assert_eq!(highest_requested(&apic).map(Vector::get), requested.last().copied());
        }
        let nested: Vec<u8> = in_service.iter().map(|vector| vector & 0xf0).collect();
        prop_assert!(nested.is_sorted_by(|a, b| a < b), "one vector in service for each class");
    }

    #[test]
    fn the_count_is_exact(initial in 1..u32::MAX, config in 0..16_u32, tsc in any::<u64>()) {
        let mut apic = xapic(0);
        let _ = apic.write_mmio(0x3e0, config, 0);
        let _ = apic.write_mmio(0x380, initial, 0);
        let divisor = timer::divisor(config);
        let end = u64::from(initial) * divisor * TSC_PER_BUS;
        let now = tsc % (end + end / 4);
        let steps = now / TSC_PER_BUS / divisor;
        let expected = u64::from(initial).saturating_sub(steps);
        prop_assert_eq!(u64::from(apic.read_mmio(0x390, now)), expected);
    }
}
