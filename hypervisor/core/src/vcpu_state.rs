//! Registers of a vcpu when it starts, and whether a VM entry would accept them.
//!
//! ```text
//!  PVH entry            pvh_start     flat 32-bit segments, no paging
//!  INIT, then SIPI      after_init, start_up    real-address mode
//!  VCPUOP_initialise    from_context  what the guest asks for, checked
//! ```
//!
//! Control registers are as the guest sees them; [`VcpuState::for_entry`] adds what
//! VMX fixes.

mod check;
mod segment;
#[cfg(test)]
mod tests;

use core::fmt;

use xen_abi::hvm_vcpu::{VcpuHvmContext, VcpuHvmMode, VcpuHvmX86_32, VcpuHvmX86_64};

pub use check::{EntryState, list_violations};
pub use segment::{AccessRights, DescriptorTable, Segment, Segments};

use crate::gpr::{Gpr, Gprs};
use crate::vmx_caps::FixedBits;

/// CR0.PE: protected mode.
pub const CR0_PE: u64 = 1 << 0;
/// CR0.ET: always 1.
pub const CR0_ET: u64 = 1 << 4;
/// CR0.NW: not write-through.
pub const CR0_NW: u64 = 1 << 29;
/// CR0.CD: cache disable.
pub const CR0_CD: u64 = 1 << 30;
/// CR0.PG: paging.
pub const CR0_PG: u64 = 1 << 31;
/// The bits of CR0 that the SDM defines.
const CR0_DEFINED: u64 = 0xe005_003f;
/// CR4.PAE: physical-address extension.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.PCIDE: process-context identifiers.
pub const CR4_PCIDE: u64 = 1 << 17;
/// EFER.LME: IA-32e mode enable.
pub const EFER_LME: u64 = 1 << 8;
/// EFER.LMA: IA-32e mode active.
pub const EFER_LMA: u64 = 1 << 10;
/// RFLAGS bit 1: always 1.
const RFLAGS_FIXED: u64 = 1 << 1;
/// The flags that the SDM defines.
const RFLAGS_DEFINED: u64 = 0x3f_7fd5;
/// DR7 after reset: no breakpoints.
const DR7_RESET: u64 = 0x400;

/// What this CPU, and this domain's CPUID policy, allow in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Fixed bits of CR0 in a guest.
    pub cr0: FixedBits,
    /// Fixed bits of CR4.
    pub cr4: FixedBits,
    /// Bits of CR4 that the guest may set.
    pub guest_cr4: u64,
    /// Bits of EFER that the guest may set, LMA among them.
    pub guest_efer: u64,
    /// Width of physical addresses, bits.
    pub phys_bits: u8,
}

/// A rule that a register breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which register or field.
    pub what: &'static str,
    /// What the CPU or the interface demands of it.
    pub rule: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.rule)
    }
}

/// Registers of a vcpu.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuState {
    /// General-purpose registers, RSP among them.
    pub gprs: Gprs,
    /// RIP.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
    /// DR7.
    pub dr7: u64,
    /// Segment registers, LDTR and TR.
    pub segments: Segments,
    /// GDTR.
    pub gdtr: DescriptorTable,
    /// IDTR.
    pub idtr: DescriptorTable,
}

impl VcpuState {
    /// Entry of a PVH kernel at guest-physical `entry`, with the start info at
    /// `start_info` (Xen's `docs/misc/pvh`, "x86/HVM direct boot ABI").
    ///
    /// What that leaves open is as after reset.
    #[must_use]
    pub const fn pvh_start(entry: u32, start_info: u32) -> Self {
        let mut state = Self::after_init(0);
        state.gprs = Gprs::ZERO;
        state.gprs.set_32(Gpr::Rbx, start_info);
        state.rip = entry as u64;
        state.cr0 = CR0_PE | CR0_ET;
        let flat = Segment::flat(AccessRights::DATA_32);
        let (fs, gs, ldtr) = (state.segments.fs, state.segments.gs, state.segments.ldtr);
        let cs = Segment::flat(AccessRights::CODE_32);
        state.segments = Segments { cs, ds: flat, es: flat, ss: flat, fs, gs, ldtr, tr: Segment::TSS };
        state
    }

    /// After INIT, waiting for a start-up IPI (SDM "Processor State After Reset", table
    /// "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT").
    /// `signature` is EAX of CPUID leaf 1.
    #[must_use]
    pub const fn after_init(signature: u32) -> Self {
        let mut gprs = Gprs::ZERO;
        gprs.set_32(Gpr::Rdx, signature);
        Self {
            gprs,
            rip: 0xfff0,
            rflags: RFLAGS_FIXED,
            cr0: CR0_CD | CR0_NW | CR0_ET,
            cr3: 0,
            cr4: 0,
            efer: 0,
            dr7: DR7_RESET,
            segments: Segments::RESET,
            gdtr: DescriptorTable::RESET,
            idtr: DescriptorTable::RESET,
        }
    }

    /// A start-up IPI with this vector has come after INIT: execution starts at
    /// 000VV000H in real-address mode (SDM "MP Initialization Protocol Algorithm").
    #[must_use]
    pub const fn start_up(mut self, vector: u8) -> Self {
        self.segments.cs = Segment::real_mode((vector as u16) << 8, AccessRights::REAL_CODE);
        self.rip = 0;
        self
    }

    /// What `VCPUOP_initialise` asks for (Xen's `hvm/hvm_vcpu.h`).
    ///
    /// # Errors
    /// The first [`Violation`] of the interface's rules, or of those that VM entry
    /// would enforce.
    pub fn from_context(context: &VcpuHvmContext, limits: &Limits) -> Result<Self, Violation> {
        require("pad", context.pad == 0, "must be zero")?;
        let state = match VcpuHvmMode::new(context.mode) {
            Some(VcpuHvmMode::Bits32) => Self::from_32(&context.cpu_regs.view())?,
            Some(VcpuHvmMode::Bits64) => Self::from_64(&context.cpu_regs.view())?,
            None => return Err(Violation { what: "mode", rule: "must be 32- or 64-bit" }),
        };
        state.check_controls(limits)?;
        let mut first = Ok(());
        list_violations(&EntryState::starting(&state.for_entry(limits)), limits, &mut |violation| {
            first = first.and(Err(violation));
        });
        first.map(|()| state)
    }

    fn from_32(regs: &VcpuHvmX86_32) -> Result<Self, Violation> {
        require("pad", regs.pad1 == 0 && regs.pad2 == [0; 3], "must be zero")?;
        require("EFER", regs.efer & EFER_LMA == 0 || regs.efer & EFER_LME != 0, "LMA needs LME")?;
        let mut state = Self::after_init(0);
        let named = [
            (Gpr::Rax, regs.eax),
            (Gpr::Rcx, regs.ecx),
            (Gpr::Rdx, regs.edx),
            (Gpr::Rbx, regs.ebx),
            (Gpr::Rsp, regs.esp),
            (Gpr::Rbp, regs.ebp),
            (Gpr::Rsi, regs.esi),
            (Gpr::Rdi, regs.edi),
        ];
        named.into_iter().for_each(|(gpr, value)| state.gprs.set_32(gpr, value));
        state.rip = regs.eip.into();
        state.rflags = guest_flags(regs.eflags.into());
        state.set_controls(regs.cr0.into(), regs.cr3.into(), regs.cr4.into(), regs.efer);
        let segments = &mut state.segments;
        segments.cs = Segment::requested("CS", regs.cs_base, regs.cs_limit, regs.cs_ar)?;
        segments.ds = Segment::requested("DS", regs.ds_base, regs.ds_limit, regs.ds_ar)?;
        segments.ss = Segment::requested("SS", regs.ss_base, regs.ss_limit, regs.ss_ar)?;
        segments.es = Segment::requested("ES", regs.es_base, regs.es_limit, regs.es_ar)?;
        segments.tr = Segment::requested_tss(regs.tr_base, regs.tr_limit, regs.tr_ar)?;
        state.check_segments(regs)?;
        Ok(state)
    }

    /// What the interface demands beyond VM entry: a guest that starts otherwise would
    /// fault at once.
    fn check_segments(&self, regs: &VcpuHvmX86_32) -> Result<(), Violation> {
        let Segments { cs, ss, ds, es, .. } = &self.segments;
        require("SS", ss.rights.is_present(), "must be present")?;
        require("EIP", regs.eip <= cs.limit, "must lie within CS")?;
        require("SS", ss.rights.dpl() == cs.rights.dpl(), "DPL must be that of CS")?;
        for (what, segment) in [("DS", ds), ("ES", es)] {
            let reachable = !segment.rights.is_present() || segment.rights.dpl() <= cs.rights.dpl();
            require(what, reachable, "DPL must not be above that of CS")?;
        }
        Ok(())
    }

    fn from_64(regs: &VcpuHvmX86_64) -> Result<Self, Violation> {
        require("CR0", regs.cr0 & CR0_PG != 0, "64-bit mode needs paging")?;
        require("EFER", regs.efer & EFER_LME != 0, "64-bit mode needs LME")?;
        let mut state = Self::after_init(0);
        let named = [
            (Gpr::Rax, regs.rax),
            (Gpr::Rcx, regs.rcx),
            (Gpr::Rdx, regs.rdx),
            (Gpr::Rbx, regs.rbx),
            (Gpr::Rsp, regs.rsp),
            (Gpr::Rbp, regs.rbp),
            (Gpr::Rsi, regs.rsi),
            (Gpr::Rdi, regs.rdi),
        ];
        named.into_iter().for_each(|(gpr, value)| state.gprs.set(gpr, value));
        state.rip = regs.rip;
        state.rflags = guest_flags(regs.rflags);
        state.set_controls(regs.cr0, regs.cr3, regs.cr4, regs.efer);
        let data = Segment::flat(AccessRights::DATA_32);
        let cs = Segment::flat(AccessRights::CODE_64);
        state.segments = Segments { cs, ds: data, es: data, ss: data, tr: Segment::TSS, ..Segments::RESET };
        Ok(state)
    }

    /// LMA follows from the rest, whatever was asked for.
    fn set_controls(&mut self, cr0: u64, cr3: u64, cr4: u64, efer: u64) {
        self.cr0 = cr0 | CR0_ET;
        self.cr3 = cr3;
        self.cr4 = cr4;
        let active = efer & EFER_LME != 0 && cr0 & CR0_PG != 0;
        self.efer = efer & !EFER_LMA | if active { EFER_LMA } else { 0 };
    }

    /// What MOV to CR0, to CR4 and WRMSR would refuse, and VM entry might not.
    fn check_controls(&self, limits: &Limits) -> Result<(), Violation> {
        require("CR0", self.cr0 & !CR0_DEFINED == 0, "reserved bits must be zero")?;
        require("CR0", self.cr0 & CR0_NW == 0 || self.cr0 & CR0_CD != 0, "NW needs CD")?;
        require("CR4", self.cr4 & !limits.guest_cr4 == 0, "must have only bits that CPUID offers")?;
        require("EFER", self.efer & !limits.guest_efer == 0, "must have only bits that CPUID offers")
    }

    /// The state with the bits of CR0 and CR4 that VMX fixes: what the VMCS is to hold.
    #[must_use]
    pub const fn for_entry(&self, limits: &Limits) -> Self {
        Self { cr0: limits.cr0.apply(self.cr0), cr4: limits.cr4.apply(self.cr4), ..*self }
    }

    /// Whether the vcpu is in IA-32e mode: the VM-entry control of that name.
    #[must_use]
    pub const fn is_ia32e_mode(&self) -> bool {
        self.efer & EFER_LMA != 0
    }

    /// Whether the PDPTE fields are to be loaded from the page that CR3 names (SDM
    /// "Loading Page-Directory-Pointer-Table Entries").
    #[must_use]
    pub const fn needs_pdptes(&self) -> bool {
        self.cr0 & CR0_PG != 0 && self.cr4 & CR4_PAE != 0 && !self.is_ia32e_mode()
    }
}

const fn guest_flags(asked: u64) -> u64 {
    asked & RFLAGS_DEFINED | RFLAGS_FIXED
}

fn require(what: &'static str, holds: bool, rule: &'static str) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { what, rule }) }
}
