use std::vec::Vec;

use proptest::prelude::*;

use super::*;

struct Host<F>(F);

impl<F: Fn(u32, u32) -> Regs> HostCpuid for Host<F> {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Regs {
        (self.0)(leaf, subleaf)
    }
}

const fn regs(eax: u32, ebx: u32, ecx: u32, edx: u32) -> Regs {
    Regs { eax, ebx, ecx, edx }
}

const NONE: Regs = regs(0, 0, 0, 0);

/// A server CPU with AVX-512, its features as leaves 1, 7 and DH of Skylake-SP show them.
fn skylake(leaf: u32, subleaf: u32) -> Regs {
    match (leaf, subleaf) {
        (0, _) => regs(0x16, 0x756e_6547, 0x6c65_746e, 0x4965_6e69),
        (1, _) => regs(0x0005_0654, 0x0740_0800, 0x7ffe_fbff, 0xbfeb_fbff),
        (4, 0) => regs(0x7c00_4121, 0x01c0_003f, 0x3f, 0),
        (4, 1) => regs(0x7c00_4122, 0x01c0_003f, 0x3f, 0),
        (4, 2) => regs(0x7c00_4143, 0x03c0_003f, 0x3ff, 0),
        (4, 3) => regs(0x7c0f_c163, 0x0280_003f, 0xcfff, 0),
        (5, _) => regs(0x40, 0x40, 3, 0x2020),
        (7, 0) => regs(0, 0xd39f_fffb, 8, 0xbc00_0600),
        (0xa, _) => regs(0x0730_0404, 0, 0, 0x603),
        (0xd, 0) => regs(0x2ff, 0xa80, 0xa88, 0),
        (0xd, 1) => regs(0xf, 0xa08, 0x100, 0),
        (0xd, 2) => regs(0x100, 0x240, 0, 0),
        (0xd, 3) => regs(0x40, 0x3c0, 0, 0),
        (0xd, 5) => regs(0x40, 0x440, 0, 0),
        (0xd, 6) => regs(0x200, 0x480, 0, 0),
        (0xd, 7) => regs(0x400, 0x680, 0, 0),
        (0xd, 9) => regs(8, 0xa80, 0, 0),
        (0x8000_0000, _) => regs(0x8000_0008, 0, 0, 0),
        (0x8000_0001, _) => regs(0, 0, 0x121, 0x2c10_0800),
        (0x8000_0007, _) => regs(0, 0, 0, 0x100),
        (0x8000_0008, _) => regs(0x302e, 0, 0, 0),
        _ => NONE,
    }
}

fn options() -> Options {
    Options {
        domain: DomId::new(3).unwrap(),
        apic_ids: 6,
        tsc_deadline: true,
        rdtscp: true,
        invpcid: true,
        speculation_controls: true,
        arch_capabilities: true,
        hvm: HvmFeatures::empty(),
        tsc: Tsc {
            host_reliable: true,
            guest_khz: 2_100_000,
            host_khz: 2_100_000,
            shift: -1,
            ..Tsc::default()
        },
    }
}

fn policy() -> Policy {
    Policy::new(&Host(skylake), &options())
}

const VCPU: VcpuView = VcpuView { cr4: 0, xcr0: 1, apic_id: 4, apic_is_off: false, vcpu_id: 2 };

#[test]
fn xen_is_found() {
    let policy = policy();
    let max = policy.lookup(0x4000_0000, 0, &VCPU);
    assert_eq!(max, regs(0x4000_0004, SIGNATURE_EBX, SIGNATURE_ECX, SIGNATURE_EDX));
    assert_eq!(policy.lookup(0x4000_0001, 0, &VCPU), regs(0x0004_0011, 0, 0, 0));
    assert_eq!(policy.lookup(0x4000_0002, 0, &VCPU), regs(1, 0x4000_0000, 0, 0));
    assert_eq!(policy.lookup(0x4000_0003, 0, &VCPU), regs(6, 0, 2_100_000, 0));
    assert_eq!(policy.lookup(0x4000_0003, 1, &VCPU), regs(0, 0, 0, u32::MAX));
    assert_eq!(policy.lookup(0x4000_0003, 2, &VCPU), regs(2_100_000, 0, 0, 0));
    assert_eq!(policy.lookup(0x4000_0003, 3, &VCPU), NONE);
    assert_eq!(policy.lookup(0x4000_0004, 7, &VCPU), regs(0x18, 2, 3, 0));
    assert_eq!(policy.lookup(0x4000_0100, 0, &VCPU), NONE);
    assert!(policy.has(Feature::HYPERVISOR) && policy.has(Feature::X2APIC));
}

#[test]
fn dangerous_features_are_hidden() {
    let policy = policy();
    let basic = policy.lookup(1, 0, &VCPU);
    for (name, bit) in
        [("DTES64", 2), ("MONITOR", 3), ("DS-CPL", 4), ("VMX", 5), ("SMX", 6), ("EIST", 7), ("PDCM", 15)]
    {
        assert_eq!(basic.ecx >> bit & 1, 0, "{name}");
    }
    for (name, bit) in [("DS", 21), ("ACPI", 22), ("TM", 29), ("PBE", 31)] {
        assert_eq!(basic.edx >> bit & 1, 0, "{name}");
    }
    let structured = policy.lookup(7, 0, &VCPU);
    for (name, bit) in [("SGX", 2), ("HLE", 4), ("RTM", 11), ("RDT-M", 12), ("MPX", 14), ("PT", 25)] {
        assert_eq!(structured.ebx >> bit & 1, 0, "{name}");
    }
    assert_eq!(structured.ecx & 1 << 3, 0, "PKU");
    for leaf in [3, 5, 8, 9, 0xa, 0xc, 0xe, 0x14, 0x1f, 0x8000_0009, 0x8000_001f, u32::MAX] {
        assert_eq!(policy.lookup(leaf, 0, &VCPU), NONE, "{leaf:#x}");
    }
    assert_eq!(policy.lookup(0, 0, &VCPU).eax, 0xd);
    assert_eq!(policy.lookup(6, 0, &VCPU), regs(4, 0, 0, 0));
}

#[test]
fn what_linux_needs_is_there() {
    let policy = policy();
    use Feature as F;
    for feature in
        [F::PAE, F::PGE, F::PAT, F::MTRR, F::SEP, F::FXSR, F::SSE, F::XSAVE, F::XSAVEC, F::NX, F::LONG_MODE]
    {
        assert!(policy.has(feature), "{feature:?}");
    }
    for feature in
        [F::SYSCALL, F::PAGE_1G, F::RDTSCP, F::INVPCID, F::SMEP, F::SMAP, F::FSGSBASE, F::TSC_DEADLINE]
    {
        assert!(policy.has(feature), "{feature:?}");
    }
    assert_eq!(policy.lookup(0x8000_0007, 0, &VCPU).edx, 1 << 8);
    assert_eq!(policy.lookup(0x8000_0008, 0, &VCPU).eax, 0x302e);
    assert_eq!((policy.phys_bits(), policy.efer()), (46, 0xd01));
    assert_eq!(policy.cr4(), 0x37_07ff);
}

#[test]
fn what_hardware_cannot_do_is_withheld() {
    let off = Options {
        tsc_deadline: false,
        rdtscp: false,
        invpcid: false,
        speculation_controls: false,
        arch_capabilities: false,
        apic_ids: 1,
        ..options()
    };
    let policy = Policy::new(&Host(skylake), &off);
    use Feature as F;
    for feature in
        [F::TSC_DEADLINE, F::RDTSCP, F::RDPID, F::INVPCID, F::IBRS_IBPB, F::ARCH_CAPABILITIES, F::HTT]
    {
        assert!(!policy.has(feature), "{feature:?}");
    }
    assert_eq!(policy.lookup(7, 0, &VCPU).edx, 1 << 10);
}

#[test]
fn registers_of_the_vcpu_show() {
    let policy = policy();
    let before = policy.lookup(1, 0, &VCPU);
    assert_eq!((before.ebx, before.ecx & Feature::OSXSAVE.mask()), (0x0408_0800, 0));
    let off = policy.lookup(1, 0, &VcpuView { apic_is_off: true, ..VCPU });
    assert_eq!(off.edx ^ policy.lookup(1, 0, &VCPU).edx, Feature::APIC.mask());
    let after = policy.lookup(1, 0, &VcpuView { cr4: 1 << 18, ..VCPU });
    assert_eq!(after.ecx, before.ecx | Feature::OSXSAVE.mask());
    // Any sub-leaf of a leaf that has none.
    assert_eq!(policy.lookup(1, 99, &VCPU), before);
}

#[test]
fn a_package_spans_the_vcpus() {
    let policy = policy();
    assert_eq!(policy.lookup(0xb, 0, &VCPU), regs(0, 1, 0x100, 4));
    assert_eq!(policy.lookup(0xb, 1, &VCPU), regs(3, 6, 0x201, 4));
    assert_eq!(policy.lookup(0xb, 2, &VCPU), regs(0, 0, 2, 4));
    // Eight ids, the third level shared by all of them.
    assert_eq!(policy.lookup(4, 0, &VCPU).eax, 7 << 26 | 0x121);
    assert_eq!(policy.lookup(4, 3, &VCPU).eax, 7 << 26 | 7 << 14 | 0x163);
    assert_eq!(policy.lookup(4, 4, &VCPU), NONE);
}

#[test]
fn xsave_sizes_follow_xcr0() {
    let policy = policy();
    assert_eq!(policy.xcr0(), 0xe7);
    let sizes = |xcr0| {
        let vcpu = VcpuView { xcr0, ..VCPU };
        (policy.lookup(0xd, 0, &vcpu).ebx, policy.lookup(0xd, 1, &vcpu).ebx)
    };
    assert_eq!(sizes(1), (576, 576));
    assert_eq!(sizes(7), (0x340, 0x340));
    // Without MPX the standard format has a hole that the compacted one has not.
    assert_eq!(sizes(0xe7), (0xa80, 0x980));
    assert_eq!(policy.lookup(0xd, 0, &VCPU).ecx, 0xa80);
    assert_eq!(policy.lookup(0xd, 1, &VCPU).eax, 7);
    assert_eq!(policy.lookup(0xd, 2, &VCPU), regs(0x100, 0x240, 0, 0));
    for hidden in [3, 4, 8, 9, 62, 64] {
        assert_eq!(policy.lookup(0xd, hidden, &VCPU), NONE);
    }
}

#[test]
fn an_old_cpu_has_short_ranges() {
    let old = |leaf, _| match leaf {
        0 => regs(2, 0, 0, 0),
        1 => regs(0x6f0, 0, 0x2209, 0xbfeb_fbff),
        0x8000_0000 => regs(0x8000_0004, 0, 0, 0),
        _ => NONE,
    };
    let policy = Policy::new(&Host(old), &options());
    assert_eq!(policy.lookup(0, 0, &VCPU).eax, 2);
    for leaf in [4, 7, 0xb, 0xd, 0x8000_0007, 0x8000_0008] {
        assert_eq!(policy.lookup(leaf, 0, &VCPU), NONE, "{leaf:#x}");
    }
    assert_eq!((policy.phys_bits(), policy.xcr0()), (36, 0));
}

#[test]
fn the_toolstack_gets_the_same_leaves() {
    let policy = policy();
    let leaves: Vec<CpuidLeaf> = policy.serialise().collect();
    assert!(leaves.windows(2).all(|w| (w[0].leaf, w[0].subleaf) < (w[1].leaf, w[1].subleaf)));
    for l in &leaves {
        assert_eq!(policy.leaf(l.leaf, l.subleaf), regs(l.a, l.b, l.c, l.d));
    }
    assert!(leaves.iter().any(|l| (l.leaf, l.subleaf) == (7, 0)));
    assert!(leaves.iter().any(|l| (l.leaf, l.subleaf) == (1, CPUID_NO_SUBLEAF)));
    assert!(leaves.iter().all(|l| l.leaf >> 16 != 0x4000));
}

#[test]
fn the_table_has_room_for_everything() {
    let policy = Policy::new(&Host(|_, _| regs(u32::MAX, u32::MAX, u32::MAX, u32::MAX)), &options());
    assert_eq!(policy.entries.len(), CAPACITY);
}

/// Few cases under miri, and no files of past failures: it has no file system.
fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 1 } else { 64 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// A host that claims everything, or anything, adds nothing to the lists.
    #[test]
    fn no_host_shows_more_than_the_lists(seed in any::<u32>(), leaf in prop_oneof![0u32..0x20, 0x4000_0000u32..0x4000_0200,
                                         0x8000_0000u32..0x8000_0020, any::<u32>()], subleaf in prop_oneof![0u32..70, any::<u32>()]) {
        let host = |leaf: u32, subleaf: u32| {
            let mix = |n: u32| if seed & 1 == 0 { u32::MAX } else {
                (seed ^ leaf.rotate_left(7) ^ subleaf ^ n).wrapping_mul(0x9e37_79b9)
            };
            regs(mix(1), mix(2), mix(3), mix(4))
        };
        let policy = Policy::new(&Host(host), &options());
        let got = policy.lookup(leaf, subleaf, &VcpuView { cr4: u64::MAX, xcr0: u64::MAX, ..VCPU });
        match leaf {
            1 => {
                prop_assert_eq!(got.ecx & (1 << 5 | 1 << 3), 0);
                prop_assert_eq!(got.edx & !(features::LEAF_1_EDX | 1 << 28), 0);
            }
            7 => prop_assert_eq!(got.ebx & !features::LEAF_7_0_EBX, 0),
            0 | 2 | 4 | 6 | 0xb | 0xd | 0x4000_0000..=0x4000_0004 | 0x8000_0000..=0x8000_0008 => {}
            _ => prop_assert_eq!(got, NONE),
        }
    }
}

#[test]
fn the_toolstack_can_only_take_away() {
    let policy = policy();
    let same: Vec<_> = policy.serialise().collect();
    assert_eq!(policy.reduced(&same).as_ref(), Ok(&policy));
    let all = |leaf, subleaf| CpuidLeaf { leaf, subleaf, a: !0, b: !0, c: !0, d: !0 };
    let more: Vec<_> = policy.serialise().map(|entry| all(entry.leaf, entry.subleaf)).collect();
    assert_eq!(policy.reduced(&more).as_ref(), Ok(&policy));
}

#[test]
fn features_that_are_taken_away_take_others_with_them() {
    let policy = policy();
    let leaf =
        |number, subleaf| policy.serialise().find(|l| (l.leaf, l.subleaf) == (number, subleaf)).unwrap();
    let basic = leaf(1, CPUID_NO_SUBLEAF);
    let without = |mask: u32| policy.reduced(&[CpuidLeaf { c: basic.c & !mask, ..basic }]).unwrap();
    let no_avx = without(Feature::AVX.mask());
    assert_eq!((no_avx.xcr0(), no_avx.leaf(0xd, 2), no_avx.leaf(0xd, 5)), (3, NONE, NONE));
    let no_xsave = without(Feature::XSAVE.mask());
    assert_eq!((no_xsave.xcr0(), no_xsave.leaf(0xd, 0), no_xsave.leaf(0xd, 1)), (0, NONE, NONE));
    let nothing = policy.reduced(&[CpuidLeaf { c: 0, ..basic }]).unwrap();
    assert!(nothing.has(Feature::HYPERVISOR));
    let short = policy.reduced(&[CpuidLeaf { a: 1, ..leaf(0, CPUID_NO_SUBLEAF) }]).unwrap();
    assert_eq!((short.leaf(0, 0).eax, short.leaf(7, 0), short.xcr0()), (1, NONE, 0));
}

#[test]
fn leaves_that_no_policy_has_are_refused() {
    let leaf = |leaf, a| CpuidLeaf { leaf, subleaf: 0, a, b: 0, c: 0, d: 0 };
    let policy = policy();
    assert_eq!(policy.reduced(&[leaf(0x14, 0)]).as_ref(), Ok(&policy));
    assert_eq!(policy.reduced(&[leaf(0x14, 1)]), Err(Refused { leaf: 0x14, subleaf: 0 }));
    assert_eq!(policy.reduced(&[leaf(0x4000_0001, 1)]), Err(Refused { leaf: 0x4000_0001, subleaf: 0 }));
    assert_eq!(policy.reduced(&[leaf(0x4000_0000, 1), leaf(0x4000_0100, 0)]).as_ref(), Ok(&policy));
}

#[test]
fn the_tsc_mode_shows() {
    let mut policy = policy();
    policy.set_tsc_mode(2, 7);
    let shown = policy.leaf(0x4000_0003, 0);
    assert_eq!((shown.ebx, shown.edx), (2, 7));
}
