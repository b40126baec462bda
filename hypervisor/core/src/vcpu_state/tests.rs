use std::vec::Vec;

use proptest::prelude::*;
use xen_abi::hvm_vcpu::VcpuHvmRegs;
use zerocopy::FromBytes;

use super::*;
use crate::exit::{Activity, Event, Interruptibility};
use crate::vmx_caps::{VmxConfig, VmxMsrs};

const GUEST_CR4: u64 = 0x7f_07ff;

/// A CPU that can do everything, whose CR0 fixes NE and CR4 fixes VMXE.
fn limits() -> Limits {
    let any = 0xffff_ffff_0000_0000;
    let msrs = VmxMsrs {
        basic: 6 << 50 | 4096 << 32 | 1,
        pin: any,
        primary: any,
        secondary: any,
        exit: any,
        entry: any,
        misc: 0,
        cr0_fixed0: 0x8000_0021,
        cr0_fixed1: 0xffff_ffff,
        cr4_fixed0: 0x2000,
        cr4_fixed1: 0x77_2fff,
        vmcs_enum: 0,
        ept_vpid: u64::MAX,
    };
    let config = VmxConfig::resolve(&msrs).unwrap();
    Limits {
        cr0: config.guest_cr0(),
        cr4: config.cr4(),
        guest_cr4: GUEST_CR4,
        guest_efer: 0xd01,
        phys_bits: 46,
    }
}

fn violations(state: &EntryState) -> Vec<Violation> {
    let mut all = Vec::new();
    list_violations(state, &limits(), &mut |violation| all.push(violation));
    all
}

fn entry(state: &VcpuState) -> EntryState {
    EntryState::starting(&state.for_entry(&limits()))
}

fn context_32() -> VcpuHvmX86_32 {
    let mut regs = VcpuHvmX86_32::read_from_bytes(&[0; 120]).unwrap();
    regs.eip = 0x10_0000;
    regs.cr0 = 1;
    (regs.cs_limit, regs.ds_limit, regs.ss_limit, regs.es_limit, regs.tr_limit) =
        (u32::MAX, u32::MAX, u32::MAX, u32::MAX, 0x67);
    (regs.cs_ar, regs.ds_ar, regs.ss_ar, regs.es_ar, regs.tr_ar) = (0xc9b, 0xc93, 0xc93, 0xc93, 0x8b);
    regs
}

fn context_64() -> VcpuHvmX86_64 {
    let mut regs = VcpuHvmX86_64::read_from_bytes(&[0; 112]).unwrap();
    regs.rip = 0xffff_ffff_8100_0000;
    (regs.cr0, regs.cr3, regs.cr4, regs.efer) = (0x8000_0001, 0x1000, 0x20, 0x100);
    regs
}

fn start_32(regs: &VcpuHvmX86_32) -> Result<VcpuState, Violation> {
    VcpuState::from_context(&VcpuHvmContext { mode: 0, pad: 0, cpu_regs: VcpuHvmRegs::of(regs) }, &limits())
}

fn start_64(regs: &VcpuHvmX86_64) -> Result<VcpuState, Violation> {
    VcpuState::from_context(&VcpuHvmContext { mode: 1, pad: 0, cpu_regs: VcpuHvmRegs::of(regs) }, &limits())
}

/// Xen's `docs/misc/pvh`, line by line.
#[test]
fn a_pvh_kernel_starts_as_documented() {
    let state = VcpuState::pvh_start(0x10_0000, 0x7000);
    assert_eq!((state.gprs.get(Gpr::Rbx), state.rip), (0x7000, 0x10_0000));
    assert_eq!((state.cr0, state.cr4, state.efer, state.rflags), (0x11, 0, 0, 2));
    let Segments { cs, ds, es, ss, tr, .. } = state.segments;
    assert_eq!((cs.base, cs.limit, cs.rights.packed()), (0, u32::MAX, 0xc9b));
    for data in [ds, es, ss] {
        assert_eq!((data.base, data.limit, data.rights.packed()), (0, u32::MAX, 0xc93));
    }
    assert_eq!((tr.base, tr.limit, tr.rights.packed()), (0, 0x67, 0x8b));
    assert_eq!(violations(&entry(&state)), []);
}

#[test]
fn a_start_up_ipi_starts_at_its_page() {
    let init = VcpuState::after_init(0x306c3);
    assert_eq!(init.gprs.get(Gpr::Rdx), 0x306c3);
    assert_eq!((init.segments.cs.selector, init.segments.cs.base, init.rip), (0xf000, 0xffff_0000, 0xfff0));
    assert_eq!(violations(&entry(&init)), []);
    let started = init.start_up(0x9a);
    assert_eq!((started.segments.cs.selector, started.segments.cs.base, started.rip), (0x9a00, 0x9a000, 0));
    assert_eq!(violations(&entry(&started)), []);
}

#[test]
fn access_rights_have_two_forms() {
    assert_eq!(AccessRights::CODE_64.to_vmx(), 0xa09b);
    assert_eq!(AccessRights::from_vmx(0xc093), AccessRights::DATA_32);
    assert_eq!(AccessRights::from_vmx(0x1_0000), AccessRights::default());
    assert_eq!(AccessRights::default().to_vmx(), 0x1_0000);
    // A null SS at CPL 3.
    assert_eq!(AccessRights::from_vmx(0x1_0060).dpl(), 3);
    for packed in (0..0x1000).step_by(if cfg!(miri) { 0x35 } else { 1 }).filter_map(AccessRights::new) {
        assert_eq!(AccessRights::from_vmx(packed.to_vmx()), packed);
    }
    assert_eq!(AccessRights::new(0x1000), None);
}

#[test]
fn a_vcpu_may_start_in_32_bit_mode() {
    let state = start_32(&context_32()).unwrap();
    assert_eq!((state.cr0, state.rip, state.rflags), (0x11, 0x10_0000, 2));
    assert!(!state.is_ia32e_mode() && !state.needs_pdptes());
    // The bits that the interface fills in: accessed, busy.
    let mut regs = context_32();
    (regs.cs_ar, regs.tr_ar) = (0xc9a, 0x89);
    assert_eq!(start_32(&regs), Ok(state));
}

#[test]
fn a_vcpu_may_start_in_real_and_in_pae_mode() {
    let mut regs = context_32();
    (regs.cr0, regs.eip) = (0, 0xff00);
    (regs.cs_limit, regs.cs_ar, regs.ss_limit, regs.ss_ar) = (0xffff, 0x9b, 0xffff, 0x93);
    (regs.ds_ar, regs.es_ar) = (0, 0);
    assert!(start_32(&regs).is_ok());
    let mut regs = context_32();
    (regs.cr0, regs.cr4) = (0x8000_0001, 0x20);
    assert!(start_32(&regs).unwrap().needs_pdptes());
}

#[test]
fn a_vcpu_may_start_in_64_bit_mode() {
    let state = start_64(&context_64()).unwrap();
    assert_eq!((state.efer, state.segments.cs.rights.packed()), (0x500, 0xa9b));
    assert!(state.is_ia32e_mode());
}

#[test]
fn broken_contexts_are_refused() {
    let refuse_32 = |change: fn(&mut VcpuHvmX86_32)| {
        let mut regs = context_32();
        change(&mut regs);
        start_32(&regs).unwrap_err().what
    };
    assert_eq!(refuse_32(|r| r.pad1 = 1), "pad");
    assert_eq!(refuse_32(|r| r.cs_ar |= 0x1000), "CS");
    assert_eq!(refuse_32(|r| r.cs_ar = 0), "CS");
    assert_eq!(refuse_32(|r| r.cs_ar = 0xc93 | 0x60), "SS");
    assert_eq!(refuse_32(|r| r.ss_ar = 0xc9b), "SS");
    assert_eq!(refuse_32(|r| r.ss_ar = 0), "SS");
    assert_eq!(refuse_32(|r| r.ds_ar = 0xc99), "DS");
    assert_eq!(refuse_32(|r| r.es_ar = 0xcf3), "ES");
    assert_eq!(refuse_32(|r| r.tr_ar = 0xc93), "TR");
    assert_eq!(refuse_32(|r| r.tr_ar = 0), "TR");
    assert_eq!(refuse_32(|r| r.cs_limit = 0xfff), "EIP");
    assert_eq!(refuse_32(|r| r.ds_limit = 0x1000), "DS");
    assert_eq!(refuse_32(|r| r.cr0 = 0x8000_0000), "CR0");
    assert_eq!(refuse_32(|r| r.cr0 |= 1 << 29), "CR0");
    assert_eq!(refuse_32(|r| r.cr4 = 1 << 13), "CR4");
    assert_eq!(refuse_32(|r| r.efer = EFER_LMA), "EFER");
    assert_eq!(refuse_32(|r| r.efer = 1 << 12), "EFER");
    let refuse_64 = |change: fn(&mut VcpuHvmX86_64)| {
        let mut regs = context_64();
        change(&mut regs);
        start_64(&regs).unwrap_err().what
    };
    assert_eq!(refuse_64(|r| r.rip = 1 << 47), "RIP");
    assert_eq!(refuse_64(|r| r.cr0 = 1), "CR0");
    assert_eq!(refuse_64(|r| r.cr0 = 1 << 40 | 0x8000_0001), "CR0");
    assert_eq!(refuse_64(|r| r.cr3 = 1 << 46), "CR3");
    assert_eq!(refuse_64(|r| r.cr4 = 0), "CR4");
    assert_eq!(refuse_64(|r| r.efer = 0), "EFER");
    assert_eq!(refuse_64(|r| r.rflags = 1 << 17), "RFLAGS");
    let unknown = VcpuHvmContext { mode: 2, pad: 0, cpu_regs: VcpuHvmRegs::of(&context_64()) };
    assert_eq!(VcpuState::from_context(&unknown, &limits()).unwrap_err().what, "mode");
}

#[test]
fn every_broken_rule_is_named() {
    let sound = entry(&start_64(&context_64()).unwrap());
    assert_eq!(violations(&sound), []);
    let broken = |change: fn(&mut EntryState)| {
        let mut state = sound;
        change(&mut state);
        violations(&state).into_iter().map(|v| v.what).collect::<Vec<_>>()
    };
    assert_eq!(broken(|s| s.registers.cr0 &= !0x20), ["CR0"]);
    assert_eq!(broken(|s| s.registers.cr4 &= !0x2000), ["CR4"]);
    assert_eq!(broken(|s| s.registers.dr7 |= 1 << 32), ["DR7"]);
    assert_eq!(broken(|s| s.pat = 2), ["IA32_PAT"]);
    assert_eq!(broken(|s| s.debugctl = 1 << 16), ["IA32_DEBUGCTL"]);
    assert_eq!(broken(|s| s.sysenter_eip = 1 << 50), ["IA32_SYSENTER_EIP"]);
    assert_eq!(broken(|s| s.registers.efer &= !EFER_LMA), ["IA32_EFER", "IA32_EFER"]);
    assert_eq!(broken(|s| s.registers.segments.fs.base = 1 << 50), ["FS"]);
    assert_eq!(broken(|s| s.registers.segments.ds.base = 1 << 32), ["DS"]);
    assert_eq!(broken(|s| s.registers.segments.ldtr.selector = 4), ["LDTR"]);
    assert_eq!(broken(|s| s.registers.segments.tr.rights = AccessRights::LDT), ["TR"]);
    assert_eq!(broken(|s| s.registers.gdtr.base = 1 << 60), ["GDTR"]);
    assert_eq!(broken(|s| s.registers.rflags = 0), ["RFLAGS"]);
    assert_eq!(broken(|s| s.link_pointer = 0), ["VMCS link pointer"]);
    assert_eq!(broken(|s| s.interruptibility = Interruptibility::BLOCKING_BY_STI), ["interruptibility"]);
    assert_eq!(broken(|s| s.inject = Some(Event::interrupt(32))), ["injected interrupt"]);
    assert_eq!(
        broken(|s| (s.inject, s.activity) = (Some(Event::NMI), Activity::WaitForSipi)),
        ["activity state"]
    );
    assert_eq!(broken(|s| s.ia32e_mode = false), ["IA32_EFER", "RIP"]);
}

#[test]
fn virtual_8086_mode_has_its_own_segments() {
    let mut state = entry(&VcpuState::pvh_start(0, 0));
    state.registers.rflags |= 1 << 17;
    // Base 0 with selector 0 is right, limits and access rights are not.
    assert_eq!(violations(&state).len(), 6 + 4);
    let segment = Segment::real_mode(0x100, AccessRights::VIRTUAL_8086);
    let s = &mut state.registers.segments;
    *s = Segments { es: segment, cs: segment, ss: segment, ds: segment, fs: segment, gs: segment, ..*s };
    assert_eq!(violations(&state), []);
}

fn rights() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0xc9b), Just(0xc93), Just(0x8b), Just(0), 0u16..0x1000, any::<u16>()]
}

/// Few cases under miri, and no files of past failures: it has no file system.
fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 4 } else { 2000 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever a guest asks for, what is accepted is what VM entry accepts.
    #[test]
    fn accepted_contexts_can_be_entered(
        controls in (0u32..64, any::<bool>(), 0u32..0x80, any::<u32>()),
        limits_of in any::<[u32; 5]>(),
        rights_of in [rights(), rights(), rights(), rights(), rights()],
        flat in any::<[bool; 5]>(),
    ) {
        let mut regs = context_32();
        let (cr0, paging, cr4, eflags) = controls;
        (regs.cr0, regs.cr4, regs.eflags) = (cr0 | u32::from(paging) << 31, cr4, eflags);
        let limit = |n: usize| if flat[n] { u32::MAX } else { limits_of[n] >> 12 };
        (regs.cs_limit, regs.ds_limit, regs.ss_limit, regs.es_limit, regs.tr_limit) =
            (limit(0), limit(1), limit(2), limit(3), limit(4));
        [regs.cs_ar, regs.ds_ar, regs.ss_ar, regs.es_ar, regs.tr_ar] = rights_of;
        if let Ok(state) = start_32(&regs) {
            prop_assert_eq!(violations(&entry(&state)), []);
        }
    }

    #[test]
    fn any_bytes_are_a_context(bytes in any::<[u64; 16]>(), mode in 0u32..3) {
        let mut context = VcpuHvmContext::read_from_bytes(zerocopy::IntoBytes::as_bytes(&bytes)).unwrap();
        (context.mode, context.pad) = (mode, 0);
        let _ = VcpuState::from_context(&context, &limits());
    }
}
