use proptest::prelude::*;
use xen_abi::cpuid::HvmFeatures;

use super::*;
use crate::cpuid::{HostCpuid, Options, Regs};
use crate::id::DomId;

struct Everything;

impl HostCpuid for Everything {
    fn cpuid(&self, _: u32, _: u32) -> Regs {
        Regs { eax: u32::MAX, ebx: u32::MAX, ecx: u32::MAX, edx: u32::MAX }
    }
}

struct Nothing;

impl HostCpuid for Nothing {
    fn cpuid(&self, _: u32, _: u32) -> Regs {
        Regs::default()
    }
}

fn policy(host: &impl HostCpuid, offered: bool) -> MsrPolicy {
    let options = Options {
        domain: DomId::DOM0,
        apic_ids: 1,
        tsc_deadline: offered,
        rdtscp: offered,
        invpcid: offered,
        speculation_controls: offered,
        arch_capabilities: offered,
        hvm: HvmFeatures::empty(),
        tsc: cpuid::Tsc::default(),
    };
    let values = HostValues { bios_sign_id: 0x42 << 32, arch_capabilities: u64::MAX };
    MsrPolicy::new(&cpuid::Policy::new(host, &options), &values)
}

/// Whether RDMSR and WRMSR exit, as the CPU reads the bitmap.
fn exits(bitmap: &MsrBitmap, msr: Msr) -> (bool, bool) {
    let (half, index) = match msr.get() {
        low @ 0..0x2000 => (0, low as usize),
        high @ 0xc000_0000..0xc000_2000 => (0x400, (high & 0x1fff) as usize),
        _ => return (true, true),
    };
    let bit = |quarter: usize| bitmap[quarter + index / 8] >> (index % 8) & 1 != 0;
    (bit(half), bit(half + 0x800))
}

#[test]
fn rules_are_in_order_and_apart() {
    for policy in [policy(&Everything, true), policy(&Nothing, false)] {
        assert!(policy.rules.iter().all(|rule| rule.first <= rule.last));
        assert!(policy.rules.windows(2).all(|w| w[0].last < w[1].first));
    }
}

/// What Linux 6.1 as PVH guest reads and writes.
#[test]
fn linux_finds_its_registers() {
    let policy = policy(&Everything, true);
    let readable =
        [0x10, 0x1b, 0x8b, 0xfe, 0x179, 0x17a, 0x1a0, 0x200, 0x20f, 0x250, 0x268, 0x26f, 0x2ff, 0x802];
    for msr in readable {
        assert_ne!(policy.read(Msr::new(msr)), Read::Fault, "{msr:#x}");
    }
    let writable = [0x8b, 0x174, 0x175, 0x176, 0x1b, 0x2ff, 0x808, 0x80b, 0x837, 0x277, 0x4000_0000];
    for msr in writable {
        assert_ne!(policy.write(Msr::new(msr)), Write::Fault, "{msr:#x}");
    }
    for msr in (0xc000_0080..=0xc000_0084).chain(0xc000_0100..=0xc000_0103) {
        assert_eq!(policy.lookup(Msr::new(msr)), (Read::Passthrough, Write::Passthrough), "{msr:#x}");
    }
    assert_eq!(policy.read(Msr::IA32_BIOS_SIGN_ID), Read::Value(0x42 << 32));
    assert_eq!(policy.read(Msr::IA32_MTRRCAP), Read::Value(0x508));
}

#[test]
fn unknown_registers_fault() {
    let policy = policy(&Everything, true);
    for msr in [
        0,
        0x11,
        0x3c,
        0x186,
        0x210,
        0x251,
        0x25a,
        0x267,
        0x270,
        0x38f,
        0x400,
        0x480,
        0x600,
        0x7ff,
        0x900,
        0xda0,
        0x4000_0001,
        0xc000_0085,
        0xc000_0104,
        u32::MAX,
    ] {
        assert_eq!(policy.lookup(Msr::new(msr)), DOES_NOT_EXIST, "{msr:#x}");
    }
    assert_eq!(policy.write(Msr::IA32_FEATURE_CONTROL), Write::Fault);
    assert_eq!(policy.read(Msr::IA32_PRED_CMD), Read::Fault);
}

#[test]
fn registers_come_with_their_feature() {
    let policy = policy(&Nothing, false);
    for msr in [
        Msr::IA32_TSC_ADJUST,
        Msr::IA32_TSC_DEADLINE,
        Msr::IA32_SPEC_CTRL,
        Msr::IA32_PRED_CMD,
        Msr::IA32_ARCH_CAPABILITIES,
        Msr::IA32_TSC_AUX,
        Msr::IA32_MTRRCAP,
        Msr::IA32_MCG_CAP,
    ] {
        assert_eq!(policy.lookup(msr), DOES_NOT_EXIST, "{msr}");
    }
}

#[test]
fn arch_capabilities_name_no_registers() {
    let Read::Value(shown) = policy(&Everything, true).read(Msr::IA32_ARCH_CAPABILITIES) else { panic!() };
    // SKIP_L1DFL_VMENTRY, TSX_CTRL, MISC_PACKAGE_CTLS, DOITM, MCU_ENUMERATION, FB_CLEAR_CTRL,
    // XAPIC_DISABLE_STATUS, OVERCLOCKING_STATUS, GDS_CTRL.
    for bit in [3, 7, 10, 12, 16, 18, 21, 23, 25] {
        assert_eq!(shown >> bit & 1, 0, "bit {bit}");
    }
    for bit in [0, 1, 4, 5, 8, 13, 17, 20, 24, 26, 27] {
        assert_eq!(shown >> bit & 1, 1, "bit {bit}");
    }
}

#[test]
fn the_bitmap_opens_what_passes_through() {
    let policy = policy(&Everything, true);
    let mut bitmap = [0; PAGE_LEN];
    policy.fill_bitmap(&mut bitmap);
    let step = if cfg!(miri) { 61 } else { 1 };
    for msr in (0..0x2000).chain(0xc000_0000..0xc000_2000).step_by(step).map(Msr::new) {
        let (read, write) = policy.lookup(msr);
        assert_eq!(exits(&bitmap, msr), (read != Read::Passthrough, write != Write::Passthrough), "{msr}");
    }
    assert_eq!(exits(&bitmap, Msr::IA32_TIME_STAMP_COUNTER), (false, true));
    assert_eq!(exits(&bitmap, Msr::IA32_LSTAR), (false, false));
}

#[test]
fn the_x2apic_opens_and_closes() {
    let mut closed = [0; PAGE_LEN];
    policy(&Everything, true).fill_bitmap(&mut closed);
    let mut bitmap = closed;
    set_x2apic_access(&mut bitmap, X2apicAccess::Virtualized);
    assert_eq!(exits(&bitmap, Msr::IA32_X2APIC_TPR), (false, false));
    assert_eq!(exits(&bitmap, Msr::IA32_X2APIC_EOI), (true, false));
    assert_eq!(exits(&bitmap, Msr::IA32_X2APIC_SELF_IPI), (true, false));
    assert_eq!(exits(&bitmap, Msr::IA32_X2APIC_ICR), (false, true));
    assert_eq!(exits(&bitmap, Msr::IA32_X2APIC_CUR_COUNT), (true, true));
    assert_eq!(exits(&bitmap, Msr::new(0x80e)), (true, true));
    set_x2apic_access(&mut bitmap, X2apicAccess::Exits);
    assert_eq!(bitmap, closed);
}

#[test]
fn mtrrs_keep_what_a_cpu_would_take() {
    let mut mtrrs = Mtrrs::default();
    assert_eq!(mtrrs.read(Msr::IA32_MTRR_DEF_TYPE), Some(0x806));
    let (base, mask) = (Msr::new(0x20e), Msr::new(0x20f));
    assert_eq!(mtrrs.write(base, 0xc000_0000, 36), Ok(()));
    assert_eq!(mtrrs.write(mask, 0xf_c000_0800, 36), Ok(()));
    assert_eq!((mtrrs.read(base), mtrrs.read(mask)), (Some(0xc000_0000), Some(0xf_c000_0800)));
    assert_eq!(mtrrs.write(base, 2, 36), Err(InvalidMtrr));
    assert_eq!(mtrrs.write(base, 0x100, 36), Err(InvalidMtrr));
    assert_eq!(mtrrs.write(mask, 1 << 36, 36), Err(InvalidMtrr));
    assert_eq!(mtrrs.write(Msr::new(0x250), 0x0606_0606_0606_0607, 36), Err(InvalidMtrr));
    assert_eq!(mtrrs.write(Msr::IA32_MTRR_DEF_TYPE, 0xc00, 36), Ok(()));
    assert_eq!(mtrrs.write(Msr::IA32_MTRR_DEF_TYPE, 0x1000, 36), Err(InvalidMtrr));
    assert_eq!((mtrrs.read(Msr::new(0x210)), mtrrs.read(Msr::new(0x1ff))), (None, None));
}

/// Every MTRR that a rule names is kept, and no other register.
#[test]
fn mtrrs_and_rules_agree() {
    let policy = policy(&Everything, true);
    for msr in (0x1f0..0x300).map(Msr::new).filter(|&msr| policy.read(msr) != Read::Passthrough) {
        let named = policy.read(msr) == Read::Emulate;
        assert_eq!(Mtrrs::default().read(msr).is_some(), named, "{msr}");
    }
}

/// Few cases under miri, and no files of past failures: it has no file system.
fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 4 } else { 256 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_register_and_value(msr in prop_oneof![any::<u32>(), 0u32..0x1000], value: u64, bits in 0u8..=64) {
        let msr = Msr::new(msr);
        let mut mtrrs = Mtrrs::default();
        let before = mtrrs;
        match mtrrs.write(msr, value, bits) {
            Ok(()) => prop_assert_eq!(mtrrs.read(msr), Some(value)),
            Err(InvalidMtrr) => prop_assert_eq!(mtrrs, before),
        }
    }
}
