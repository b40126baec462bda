//! The checks that VM entry makes on the guest state (SDM "Checks on the Guest State
//! Area"), one rule each: when an entry fails, the CPU does not say which one it was.
//!
//! For an unrestricted guest with EPT outside SMM; the PDPTEs and features that the
//! hypervisor does not use are left out.

use super::{
    AccessRights, CR0_PE, CR0_PG, CR4_PAE, CR4_PCIDE, EFER_LMA, EFER_LME, Limits, RFLAGS_DEFINED,
    RFLAGS_FIXED, Segment, VcpuState, Violation,
};
use crate::exit::{Activity, Event, EventKind, Interruptibility, PendingDebug};

const RFLAGS_TF: u64 = 1 << 8;
const RFLAGS_IF: u64 = 1 << 9;
const RFLAGS_VM: u64 = 1 << 17;
const DEBUGCTL_BTF: u64 = 1 << 1;
/// Bits 5:3 and 63:16 are reserved on every CPU.
const DEBUGCTL_RESERVED: u64 = 0xffff_ffff_ffff_0038;
/// The link pointer of a VMCS without a shadow.
const NO_LINK: u64 = u64::MAX;
/// `IA32_PAT` after reset.
const PAT_RESET: u64 = 0x0007_0406_0007_0406;

/// What VM entry loads: the contents of the VMCS's guest-state area, and what it injects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryState {
    /// Registers, as the VMCS holds them.
    pub registers: VcpuState,
    /// The VM-entry control "IA-32e mode guest".
    pub ia32e_mode: bool,
    /// `IA32_PAT`.
    pub pat: u64,
    /// `IA32_DEBUGCTL`.
    pub debugctl: u64,
    /// `IA32_SYSENTER_ESP`.
    pub sysenter_esp: u64,
    /// `IA32_SYSENTER_EIP`.
    pub sysenter_eip: u64,
    /// Activity state.
    pub activity: Activity,
    /// Interruptibility state.
    pub interruptibility: Interruptibility,
    /// Pending debug exceptions.
    pub pending_debug: PendingDebug,
    /// VMCS link pointer.
    pub link_pointer: u64,
    /// Event to inject.
    pub inject: Option<Event>,
}

impl EntryState {
    /// A vcpu that has not run yet and has these registers.
    #[must_use]
    pub const fn starting(registers: &VcpuState) -> Self {
        Self {
            registers: *registers,
            ia32e_mode: registers.is_ia32e_mode(),
            pat: PAT_RESET,
            debugctl: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            activity: Activity::Active,
            interruptibility: Interruptibility::empty(),
            pending_debug: PendingDebug::empty(),
            link_pointer: NO_LINK,
            inject: None,
        }
    }
}

/// Tells `report` every rule that `state` breaks.
pub fn list_violations(state: &EntryState, limits: &Limits, report: &mut dyn FnMut(Violation)) {
    let mut list = List { report };
    control_registers(state, limits, &mut list);
    msrs(state, limits, &mut list);
    rip_and_flags(state, &mut list);
    segments(state, &mut list);
    system_segments(state, &mut list);
    non_register_state(state, &mut list);
    injection(state, &mut list);
}

struct List<'a> {
    report: &'a mut dyn FnMut(Violation),
}

impl List<'_> {
    fn require(&mut self, what: &'static str, holds: bool, rule: &'static str) {
        if !holds {
            (self.report)(Violation { what, rule });
        }
    }
}

/// SDM "Checks on Guest Control Registers, Debug Registers, and MSRs".
fn control_registers(state: &EntryState, limits: &Limits, list: &mut List<'_>) {
    let VcpuState { cr0, cr3, cr4, dr7, .. } = state.registers;
    list.require("CR0", limits.cr0.allow(cr0), "must have the bits that VMX fixes");
    list.require("CR0", cr0 & CR0_PG == 0 || cr0 & CR0_PE != 0, "PG needs PE");
    list.require("CR4", limits.cr4.allow(cr4), "must have the bits that VMX fixes");
    if state.ia32e_mode {
        list.require("CR0", cr0 & CR0_PG != 0, "IA-32e mode needs PG");
        list.require("CR4", cr4 & CR4_PAE != 0, "IA-32e mode needs PAE");
    } else {
        list.require("CR4", cr4 & CR4_PCIDE == 0, "PCIDE needs IA-32e mode");
    }
    let too_wide = cr3.checked_shr(limits.phys_bits.into()).is_some_and(|high| high != 0);
    list.require("CR3", !too_wide, "must be a physical address");
    list.require("DR7", dr7 >> 32 == 0, "bits 63:32 must be zero");
}

fn msrs(state: &EntryState, limits: &Limits, list: &mut List<'_>) {
    let efer = state.registers.efer;
    list.require("IA32_EFER", efer & !limits.guest_efer == 0, "reserved bits must be zero");
    list.require("IA32_EFER", (efer & EFER_LMA != 0) == state.ia32e_mode, "LMA must agree with IA-32e mode");
    let paging = state.registers.cr0 & CR0_PG != 0;
    let agree = (efer & EFER_LMA != 0) == (efer & EFER_LME != 0);
    list.require("IA32_EFER", !paging || agree, "LMA must equal LME under paging");
    list.require(
        "IA32_PAT",
        state.pat.to_le_bytes().into_iter().all(is_memory_type),
        "must have memory types",
    );
    list.require("IA32_DEBUGCTL", state.debugctl & DEBUGCTL_RESERVED == 0, "reserved bits must be zero");
    list.require("IA32_SYSENTER_ESP", is_canonical(state.sysenter_esp), "must be canonical");
    list.require("IA32_SYSENTER_EIP", is_canonical(state.sysenter_eip), "must be canonical");
}

/// UC, WC, WT, WP, WB, UC- (SDM "Memory Types That Can Be Encoded With PAT").
const fn is_memory_type(byte: u8) -> bool {
    matches!(byte, 0 | 1 | 4..=7)
}

/// Bits 63:47 alike. CPUs with wider linear addresses allow more only under
/// CR4.LA57, which guests do not have.
const fn is_canonical(address: u64) -> bool {
    matches!(address >> 47, 0 | 0x1_ffff)
}

/// SDM "Checks on Guest Segment Registers", but for LDTR and TR.
fn segments(state: &EntryState, list: &mut List<'_>) {
    let s = &state.registers.segments;
    let all = [("CS", &s.cs), ("SS", &s.ss), ("DS", &s.ds), ("ES", &s.es), ("FS", &s.fs), ("GS", &s.gs)];
    if state.registers.rflags & RFLAGS_VM != 0 {
        all.into_iter().for_each(|(what, segment)| virtual_8086_segment(what, segment, list));
        return;
    }
    code_segment(&s.cs, s.ss.rights, state.ia32e_mode, list);
    stack_segment(&s.ss, s.cs.rights, state.registers.cr0, list);
    for (what, segment) in all {
        let usable = segment.rights.is_present();
        match what {
            "FS" | "GS" => list.require(what, is_canonical(segment.base), "base must be canonical"),
            _ => list.require(what, !usable || segment.base >> 32 == 0, "base must be below 4 GBytes"),
        }
        if usable {
            list.require(what, segment.rights.is_code_or_data(), "must be a code or data segment");
            granularity(what, segment, list);
        }
        if usable && !matches!(what, "CS" | "SS") {
            data_segment(what, segment.rights, list);
        }
    }
}

fn virtual_8086_segment(what: &'static str, segment: &Segment, list: &mut List<'_>) {
    let base = u64::from(segment.selector) << 4;
    list.require(what, segment.base == base, "base must be 16 times the selector in virtual-8086 mode");
    list.require(what, segment.limit == 0xffff, "limit must be FFFFH in virtual-8086 mode");
    let rights = segment.rights == AccessRights::VIRTUAL_8086;
    list.require(what, rights, "access rights must be F3H in virtual-8086 mode");
}

fn code_segment(cs: &Segment, ss: AccessRights, ia32e_mode: bool, list: &mut List<'_>) {
    let dpl = cs.rights.dpl();
    list.require("CS", cs.rights.is_present(), "must be usable and present");
    match cs.rights.segment_type() {
        3 => list.require("CS", dpl == 0, "DPL must be 0 for a data segment"),
        9 | 11 => list.require("CS", dpl == ss.dpl(), "DPL must be that of SS"),
        13 | 15 => list.require("CS", dpl <= ss.dpl(), "DPL must not be above that of SS"),
        _ => list.require("CS", false, "must be accessed code, or accessed read/write data"),
    }
    let both = cs.rights.is_long() && cs.rights.is_big();
    list.require("CS", !(ia32e_mode && both), "D/B must be 0 with L");
}

fn stack_segment(ss: &Segment, cs: AccessRights, cr0: u64, list: &mut List<'_>) {
    let writable = matches!(ss.rights.segment_type(), 3 | 7);
    list.require("SS", !ss.rights.is_present() || writable, "must be accessed read/write data");
    let at_0 = cr0 & CR0_PE == 0 || cs.segment_type() == 3;
    list.require("SS", !at_0 || ss.rights.dpl() == 0, "DPL must be 0 in real-address mode");
}

fn data_segment(what: &'static str, rights: AccessRights, list: &mut List<'_>) {
    let kind = rights.segment_type();
    list.require(what, kind & 1 != 0, "must be accessed");
    list.require(what, kind & 8 == 0 || kind & 2 != 0, "must be readable");
}

fn granularity(what: &'static str, segment: &Segment, list: &mut List<'_>) {
    let pages = segment.rights.has_page_granularity();
    list.require(what, !pages || segment.limit & 0xfff == 0xfff, "G needs bits 11:0 of the limit");
    list.require(what, pages || segment.limit >> 20 == 0, "bits 31:20 of the limit need G");
}

/// LDTR and TR, and SDM "Checks on Guest Descriptor-Table Registers".
fn system_segments(state: &EntryState, list: &mut List<'_>) {
    const TABLE_INDICATOR: u16 = 1 << 2;
    let VcpuState { segments, gdtr, idtr, .. } = &state.registers;
    for (what, segment) in [("LDTR", &segments.ldtr), ("TR", &segments.tr)] {
        if what == "TR" || segment.rights.is_present() {
            list.require(what, segment.selector & TABLE_INDICATOR == 0, "must be in the GDT");
            list.require(what, is_canonical(segment.base), "base must be canonical");
            list.require(what, !segment.rights.is_code_or_data(), "must be a system segment");
            granularity(what, segment, list);
        }
    }
    let (ldtr, tr) = (segments.ldtr.rights, segments.tr.rights);
    list.require("LDTR", !ldtr.is_present() || ldtr.segment_type() == 2, "must be an LDT");
    list.require("TR", tr.is_present(), "must be usable and present");
    let busy = tr.segment_type() == 11 || tr.segment_type() == 3 && !state.ia32e_mode;
    list.require("TR", busy, "must be a busy TSS, of 32 or 64 bits in IA-32e mode");
    list.require("GDTR", is_canonical(gdtr.base), "base must be canonical");
    list.require("IDTR", is_canonical(idtr.base), "base must be canonical");
}

/// SDM "Checks on Guest RIP, RFLAGS, and SSP".
fn rip_and_flags(state: &EntryState, list: &mut List<'_>) {
    let VcpuState { rip, rflags, cr0, segments, .. } = &state.registers;
    if state.ia32e_mode && segments.cs.rights.is_long() {
        list.require("RIP", is_canonical(*rip), "must be canonical");
    } else {
        list.require("RIP", rip >> 32 == 0, "must be below 4 GBytes outside 64-bit mode");
    }
    list.require("RFLAGS", rflags & !(RFLAGS_DEFINED | RFLAGS_FIXED) == 0, "reserved bits must be zero");
    list.require("RFLAGS", rflags & RFLAGS_FIXED != 0, "bit 1 must be 1");
    let may_be_8086 = !state.ia32e_mode && cr0 & CR0_PE != 0;
    list.require("RFLAGS", rflags & RFLAGS_VM == 0 || may_be_8086, "VM needs protected mode");
}

/// SDM "Checks on Guest Non-Register State".
fn non_register_state(state: &EntryState, list: &mut List<'_>) {
    use Interruptibility as I;
    let blocking = state.interruptibility;
    let flags = state.registers.rflags;
    let shadow = blocking.intersects(I::BLOCKING_BY_STI | I::BLOCKING_BY_MOV_SS);
    let at_0 = state.registers.segments.ss.rights.dpl() == 0;
    list.require("activity state", state.activity != Activity::Hlt || at_0, "HLT needs CPL 0");
    list.require(
        "activity state",
        state.activity == Activity::Active || !shadow,
        "must be active after STI or MOV SS",
    );
    let both = blocking.contains(I::BLOCKING_BY_STI | I::BLOCKING_BY_MOV_SS);
    list.require("interruptibility", !both, "cannot be by STI and by MOV SS");
    let by_sti = blocking.contains(I::BLOCKING_BY_STI);
    list.require("interruptibility", !by_sti || flags & RFLAGS_IF != 0, "blocking by STI needs RFLAGS.IF");
    list.require(
        "interruptibility",
        !blocking.contains(I::BLOCKING_BY_SMI),
        "no blocking by SMI outside SMM",
    );
    list.require("VMCS link pointer", state.link_pointer == NO_LINK, "must be all ones");
    if shadow || state.activity == Activity::Hlt {
        let steps = flags & RFLAGS_TF != 0 && state.debugctl & DEBUGCTL_BTF == 0;
        let pending = state.pending_debug.contains(PendingDebug::SINGLE_STEP);
        list.require("pending debug exceptions", steps == pending, "BS must be TF after STI, MOV SS or HLT");
    }
}

fn injection(state: &EntryState, list: &mut List<'_>) {
    let Some(event) = state.inject else { return };
    let blocking = state.interruptibility;
    let shadow =
        blocking.intersects(Interruptibility::BLOCKING_BY_STI | Interruptibility::BLOCKING_BY_MOV_SS);
    match event.kind() {
        EventKind::ExternalInterrupt => {
            let open = state.registers.rflags & RFLAGS_IF != 0 && !shadow;
            list.require("injected interrupt", open, "interrupts must be enabled and not blocked");
        }
        EventKind::Nmi => {
            let open = !shadow && !blocking.contains(Interruptibility::BLOCKING_BY_NMI);
            list.require("injected NMI", open, "NMIs must not be blocked");
        }
        _ => {}
    }
    list.require("activity state", state.activity != Activity::WaitForSipi, "takes no event");
    let real_mode = state.registers.cr0 & CR0_PE == 0;
    list.require(
        "injected exception",
        !(real_mode && event.error_code().is_some()),
        "no error code in real-address mode",
    );
}
