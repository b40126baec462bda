use super::*;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

/// Core 2 (Penryn), no EPT: from a published VirtualBox 2.1 log.
const PENRYN: VmxMsrs = VmxMsrs {
    basic: 0x5a_0800_0000_000d,
    pin: 0x3f_0000_0016,
    primary: 0xf7f9_fffe_0401_e172,
    secondary: 0x41_0000_0000,
    exit: 0x3_ffff_0003_6dff,
    entry: 0x3fff_0000_11ff,
    misc: 0x4_03c0,
    cr0_fixed0: 0x8000_0021,
    cr0_fixed1: 0xffff_ffff,
    cr4_fixed0: 0x2000,
    cr4_fixed1: 0x67ff,
    vmcs_enum: 0x2c,
    ept_vpid: 0,
};

/// Core i5 750 (Lynnfield), EPT but no unrestricted guest: as the Bochs model
/// `corei5_lynnfield_750` computes them.
const LYNNFIELD: VmxMsrs = VmxMsrs {
    basic: 0xd8_1000_0000_002b,
    pin: 0x7f_0000_0016,
    primary: 0xfff9_fffe_0400_6172,
    secondary: 0x7f_0000_0000,
    exit: 0x407f_ffff_0003_6dfb,
    entry: 0xffff_0000_11fb,
    misc: 0x4_01e0,
    cr0_fixed0: 0x8000_0021,
    cr0_fixed1: 0xffff_ffff,
    cr4_fixed0: 0x2000,
    cr4_fixed1: 0x27ff,
    vmcs_enum: 0x2a,
    ept_vpid: 0xf01_0611_4141,
};

/// Third-generation Core (Ivy Bridge): from a published VirtualBox log.
const IVY_BRIDGE: VmxMsrs = VmxMsrs {
    basic: 0xda_0400_0000_0010,
    pin: 0x7f_0000_0016,
    primary: 0xfff9_fffe_0400_6172,
    secondary: 0x8ff_0000_0000,
    exit: 0x7f_ffff_0003_6dfb,
    entry: 0xffff_0000_11fb,
    misc: 0x1004_01e5,
    cr0_fixed0: 0x8000_0021,
    cr0_fixed1: 0xffff_ffff,
    cr4_fixed0: 0x2000,
    cr4_fixed1: 0x17_67ff,
    vmcs_enum: 0x2a,
    ept_vpid: 0xf01_0611_4141,
};

/// Core i7 4770 (Haswell) as the Bochs model `corei7_haswell_4770` computes them.
const BOCHS_HASWELL: VmxMsrs = VmxMsrs {
    basic: 0xd8_1000_0000_002b,
    pin: 0x7f_0000_0016,
    primary: 0xfff9_fffe_0400_6172,
    secondary: 0x4_7fff_0000_0000,
    exit: 0x407f_ffff_0003_6dfb,
    entry: 0xffff_0000_11fb,
    misc: 0x2004_01e0,
    cr0_fixed0: 0x8000_0021,
    cr0_fixed1: 0xffff_ffff,
    cr4_fixed0: 0x2000,
    cr4_fixed1: 0x17_27ff,
    vmcs_enum: 0x2c,
    ept_vpid: 0xf01_0633_4141,
};

/// Eighth-generation Core (Coffee Lake): from a published VirtualBox 6.1 log.
const COFFEE_LAKE: VmxMsrs = VmxMsrs {
    basic: 0xda_0400_0000_0004,
    pin: 0x7f_0000_0016,
    primary: 0xfff9_fffe_0400_6172,
    secondary: 0x5f_bcff_0000_0000,
    exit: 0x1ff_ffff_0003_6dfb,
    entry: 0x3_ffff_0000_11fb,
    misc: 0x7004_c1e7,
    cr0_fixed0: 0x8000_0021,
    cr0_fixed1: 0xffff_ffff,
    cr4_fixed0: 0x2000,
    cr4_fixed1: 0x37_27ff,
    vmcs_enum: 0x2e,
    ept_vpid: 0xf01_0673_4141,
};

/// Ice Lake as the Bochs model `corei7_icelake_u` computes them.
const BOCHS_ICE_LAKE: VmxMsrs = VmxMsrs {
    pin: 0xff_0000_0016,
    secondary: 0x2d7_7fff_0000_0000,
    misc: 0x6004_01e0,
    cr4_fixed1: 0x77_2fff,
    ept_vpid: 0xf01_0673_4141,
    ..BOCHS_HASWELL
};

fn names(msrs: &VmxMsrs) -> Vec<&'static str> {
    VmxConfig::resolve(msrs).map_or_else(|missing| missing.names().collect(), |_| Vec::new())
}

fn line(msrs: &VmxMsrs) -> String {
    VmxConfig::resolve(msrs).unwrap().to_string()
}

#[test]
fn feature_lines_of_several_cpus() {
    let common = ", VPID, unrestricted guest, ";
    assert_eq!(
        line(&IVY_BRIDGE),
        std::format!("VMX: EPT 4K+2M{common}TPR shadow, preemption timer (2^5 TSC), RDTSCP")
    );
    assert_eq!(
        line(&BOCHS_HASWELL),
        std::format!("VMX: EPT 4K+2M+1G, A/D{common}APICv, preemption timer (2^0 TSC), PLE, RDTSCP, INVPCID")
    );
    assert_eq!(
        line(&COFFEE_LAKE),
        std::format!(
            "VMX: EPT 4K+2M+1G, A/D{common}TPR shadow, preemption timer (2^7 TSC), PLE, RDTSCP, INVPCID, \
             XSAVES, PML"
        )
    );
    assert_eq!(
        line(&BOCHS_ICE_LAKE),
        std::format!(
            "VMX: EPT 4K+2M+1G, A/D{common}APICv, posted interrupts, preemption timer (2^0 TSC), PLE, RDTSCP, \
             INVPCID, XSAVES, PML, TSC scaling"
        )
    );
}

#[test]
fn old_cpus_are_refused_by_name() {
    let missing = VmxConfig::resolve(&LYNNFIELD).unwrap_err();
    assert_eq!(missing.to_string(), "VMX: required feature missing: unrestricted guest");
    let penryn = names(&PENRYN);
    for name in ["EPT", "VPID", "unrestricted guest", "no CR3-load exiting", "load IA32_EFER on entry"] {
        assert!(penryn.contains(&name), "{name} in {penryn:?}");
    }
    let text = VmxConfig::resolve(&PENRYN).unwrap_err().to_string();
    assert!(text.starts_with("VMX: required features missing: no CR3-load exiting, "), "{text}");
    assert!(text.lines().count() == 1);
}

#[test]
fn nothing_at_all_lacks_everything_required() {
    let required =
        |needs: &[Need]| needs.iter().filter(|need| matches!(need, Need::Set | Need::Able)).count();
    let of = |needs: Vec<Need>| required(&needs);
    let expected = of(PIN.iter().map(|d| d.need).collect())
        + of(PRIMARY.iter().map(|d| d.need).collect())
        + of(SECONDARY.iter().map(|d| d.need).collect())
        + of(EXIT.iter().map(|d| d.need).collect())
        + of(ENTRY.iter().map(|d| d.need).collect())
        + EPT_VPID.len();
    assert_eq!(names(&VmxMsrs::default()).len(), expected + 1);
}

#[test]
fn each_required_capability_is_missed() {
    let without = |change: fn(&mut VmxMsrs)| {
        let mut msrs = COFFEE_LAKE;
        change(&mut msrs);
        names(&msrs)
    };
    assert_eq!(without(|m| m.basic &= !(0xf << 50)), ["write-back VMCS"]);
    assert_eq!(without(|m| m.basic |= 1 << 48), ["64-bit VMCS addresses"]);
    assert_eq!(without(|m| m.secondary &= !(1 << 37)), ["VPID"]);
    assert_eq!(without(|m| m.exit &= !(1 << 41)), ["host address-space size"]);
    assert_eq!(without(|m| m.ept_vpid &= !(1 << 16)), Vec::<&str>::new());
    assert_eq!(without(|m| m.ept_vpid &= !(3 << 16)), ["2-MByte or 1-GByte EPT pages"]);
    assert_eq!(without(|m| m.primary |= 1 << 15), ["no CR3-load exiting"]);
}

#[test]
fn control_words_keep_must_be_1_bits_and_set_what_is_demanded() {
    let config = VmxConfig::resolve(&COFFEE_LAKE).unwrap();
    assert_eq!((config.revision_id(), config.vmcs_size()), (4, 1024));
    assert_eq!(config.pin().base().bits(), 0x16 | 0x29);
    // Must-be-1 bits; TSC offset, HLT, MWAIT, RDPMC, MOV DR, I/O and MSR bitmaps,
    // MONITOR, secondary.
    assert_eq!(config.primary().base().bits(), 0x0400_6172 | 0xb280_0c88);
    assert!(!config.primary().base().contains(PrimaryControls::INTERRUPT_WINDOW_EXITING));
    assert!(config.primary().can(PrimaryControls::INTERRUPT_WINDOW_EXITING));
    // EPT, RDTSCP, VPID, WBINVD, unrestricted guest, INVPCID, ENCLS, XSAVES.
    assert_eq!(config.secondary().base().bits(), 0x10_90ea);
    assert_eq!(config.exit().base().bits(), 0x3_6dfb | 0x3c_8204);
    assert_eq!(config.entry().base().bits(), 0x11fb | 0xc004);
    assert!(!config.secondary().can(SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY));
    assert_eq!(config.preemption_timer(), Some(7));
    assert!(config.misc().contains(MiscCaps::ACTIVITY_HLT | MiscCaps::EXIT_STORES_LMA));
}

#[test]
fn features_fall_with_what_they_depend_on() {
    let mut msrs = BOCHS_ICE_LAKE;
    msrs.primary &= !(1 << (32 + 21));
    let config = VmxConfig::resolve(&msrs).unwrap();
    assert_eq!(config.apic(), ApicVirtualization::None);
    assert!(!config.secondary().can(SecondaryControls::VIRTUALIZE_X2APIC_MODE));
    assert!(config.secondary().can(SecondaryControls::VIRTUALIZE_APIC_ACCESSES));
    assert!(!config.pin().can(PinControls::PROCESS_POSTED_INTERRUPTS));
}

#[test]
fn apic_virtualization_is_what_the_cpu_has_and_the_option_allows() {
    let mut config = VmxConfig::resolve(&BOCHS_HASWELL).unwrap();
    assert_eq!(config.apic(), ApicVirtualization::Delivery { memory: true, masked: false });
    config.forgo_apicv();
    assert_eq!(config.apic(), ApicVirtualization::TprShadow);
    assert_eq!(config.check_same(&VmxConfig::resolve(&BOCHS_HASWELL).unwrap()), Ok(()));
    let mut msrs = BOCHS_HASWELL;
    msrs.pin |= 1 << (32 + 7);
    msrs.secondary &= !(1 << 32);
    let config = VmxConfig::resolve(&msrs).unwrap();
    assert_eq!(config.apic(), ApicVirtualization::Delivery { memory: false, masked: true });
    assert!(config.apic().delivers() && !config.apic().covers_memory());
}

#[test]
fn only_existing_msrs_are_read() {
    let reads = |msrs: VmxMsrs| {
        let mut read = Vec::new();
        let values = VmxMsrs::read(|msr| {
            read.push(msr.get());
            match msr {
                Msr::IA32_VMX_BASIC => msrs.basic,
                Msr::IA32_VMX_PINBASED_CTLS | Msr::IA32_VMX_TRUE_PINBASED_CTLS => msrs.pin,
                Msr::IA32_VMX_PROCBASED_CTLS | Msr::IA32_VMX_TRUE_PROCBASED_CTLS => msrs.primary,
                Msr::IA32_VMX_PROCBASED_CTLS2 => msrs.secondary,
                Msr::IA32_VMX_EXIT_CTLS | Msr::IA32_VMX_TRUE_EXIT_CTLS => msrs.exit,
                Msr::IA32_VMX_ENTRY_CTLS | Msr::IA32_VMX_TRUE_ENTRY_CTLS => msrs.entry,
                Msr::IA32_VMX_MISC => msrs.misc,
                Msr::IA32_VMX_CR0_FIXED0 => msrs.cr0_fixed0,
                Msr::IA32_VMX_CR0_FIXED1 => msrs.cr0_fixed1,
                Msr::IA32_VMX_CR4_FIXED0 => msrs.cr4_fixed0,
                Msr::IA32_VMX_CR4_FIXED1 => msrs.cr4_fixed1,
                Msr::IA32_VMX_VMCS_ENUM => msrs.vmcs_enum,
                Msr::IA32_VMX_EPT_VPID_CAP => msrs.ept_vpid,
                other => panic!("read of {other:?}"),
            }
        });
        assert_eq!(values, msrs);
        read.sort_unstable();
        read
    };
    let common = [0x480, 0x485, 0x486, 0x487, 0x488, 0x489, 0x48a];
    let with = |more: &[u32]| {
        let mut all: Vec<_> = common.iter().chain(more).copied().collect();
        all.sort_unstable();
        all
    };
    assert_eq!(reads(COFFEE_LAKE), with(&[0x48b, 0x48c, 0x48d, 0x48e, 0x48f, 0x490]));
    assert_eq!(reads(PENRYN), with(&[0x481, 0x482, 0x483, 0x484, 0x48b]));
    let first = VmxMsrs { primary: 0x77f9_fffe_0401_e172, secondary: 0, ..PENRYN };
    assert_eq!(reads(first), with(&[0x481, 0x482, 0x483, 0x484]));
}

#[test]
fn pcpus_must_offer_the_same() {
    let haswell = VmxConfig::resolve(&BOCHS_HASWELL).unwrap();
    let other = VmxConfig::resolve(&COFFEE_LAKE).unwrap();
    assert_eq!(haswell.check_same(&haswell), Ok(()));
    let difference = haswell.check_same(&other).unwrap_err();
    assert_eq!(difference.to_string(), "VMX: VMCS revision differ between CPUs: 0x2b, 0x4");
    // What the hypervisor does not use may differ.
    let shadowing = VmxMsrs { secondary: COFFEE_LAKE.secondary | 1 << (32 + 14), ..COFFEE_LAKE };
    assert_eq!(other.check_same(&VmxConfig::resolve(&shadowing).unwrap()), Ok(()));
    let timer = VmxMsrs { misc: COFFEE_LAKE.misc - 1, ..COFFEE_LAKE };
    let difference = other.check_same(&VmxConfig::resolve(&timer).unwrap()).unwrap_err();
    assert_eq!((difference.what, difference.here, difference.there), ("preemption timer rate", 7, 6));
}

#[test]
fn fixed_bits_are_applied_and_checked() {
    let config = VmxConfig::resolve(&COFFEE_LAKE).unwrap();
    assert_eq!(config.host_cr0().apply(0), 0x8000_0021);
    assert_eq!(config.guest_cr0().apply(0), 0x20);
    assert!(config.guest_cr0().allow(0x30) && !config.host_cr0().allow(0x30));
    assert_eq!(config.cr4().apply(1 << 12), 0x2000);
    assert!(!config.cr4().allow(0));
}

#[test]
fn feature_control_is_locked_or_ours_to_lock() {
    assert_eq!(feature_control(5), FeatureControl::LockedOn);
    assert_eq!(feature_control(0x2_0005), FeatureControl::LockedOn);
    assert_eq!(feature_control(1), FeatureControl::LockedOff);
    // VMX inside SMX operation only: of no use to us.
    assert_eq!(feature_control(3), FeatureControl::LockedOff);
    assert_eq!(feature_control(0), FeatureControl::Unlocked { write: 5 });
    assert_eq!(feature_control(0xff02), FeatureControl::Unlocked { write: 0xff07 });
}

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 8 } else { 1024 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// SDM "VMX Controls": a control word is valid if it has all must-be-1 bits
    /// and none that may not be 1.
    #[test]
    fn resolved_words_are_valid_on_any_cpu(extra in any::<[u64; 5]>(), lacking in any::<[u32; 5]>()) {
        // May-be-1 bits come and go; what must be 1 also may be.
        let vary = |msr: u64, index: usize| {
            let may = (msr >> 32 | extra[index] >> 32) & !u64::from(lacking[index] & lacking[(index + 1) % 5])
                | msr & 0xffff_ffff;
            may << 32 | msr & 0xffff_ffff
        };
        let msrs = VmxMsrs {
            pin: vary(COFFEE_LAKE.pin, 0),
            primary: vary(COFFEE_LAKE.primary, 1),
            secondary: vary(COFFEE_LAKE.secondary, 2),
            exit: vary(COFFEE_LAKE.exit, 3),
            entry: vary(COFFEE_LAKE.entry, 4),
            ..COFFEE_LAKE
        };
        let valid = |word: u32, msr: u64| {
            let word = u64::from(word);
            word & msr & 0xffff_ffff == msr & 0xffff_ffff && word & !(msr >> 32) == 0
        };
        match VmxConfig::resolve(&msrs) {
            Ok(config) => {
                prop_assert!(valid(config.pin().base().bits(), msrs.pin));
                prop_assert!(valid(config.primary().base().bits(), msrs.primary));
                prop_assert!(valid(config.secondary().base().bits(), msrs.secondary));
                prop_assert!(valid(config.exit().base().bits(), msrs.exit));
                prop_assert!(valid(config.entry().base().bits(), msrs.entry));
            }
            Err(missing) => prop_assert!(missing.names().count() > 0),
        }
    }

    #[test]
    fn any_values_give_a_config_or_a_line(raw in any::<[u64; 8]>()) {
        let msrs = VmxMsrs {
            basic: raw[0], pin: raw[1], primary: raw[2], secondary: raw[3], exit: raw[4], entry: raw[5],
            misc: raw[6], ept_vpid: raw[7], ..VmxMsrs::default()
        };
        let text = match VmxConfig::resolve(&msrs) {
            Ok(config) => config.to_string(),
            Err(missing) => missing.to_string(),
        };
        prop_assert!(text.starts_with("VMX: ") && text.lines().count() == 1);
    }
}
