//! A virtual CPU as the hardware sees it: VMCS, registers that the VMCS does not
//! hold, extended state; and the switch into and out of the guest.
//!
//! ```text
//!   Vcpu ──load()──> Loaded ──run()──> guest ──VM exit──> Loaded
//!     ^                 │ VMPTRLD, guest's MSRs, XSAVE state, CR2
//!     └─────drop────────┘ the same saved, VMCLEAR
//! ```
//!
//! A [`Loaded`] vcpu is current on this pcpu and on no other: VMREAD, VMWRITE and
//! VM entry need no further check. While it is loaded its syscall MSRs and its
//! extended state are in the CPU, as the hypervisor uses none of them.

mod parked;

use core::arch::{asm, naked_asm};
use core::marker::PhantomData;

use alloc::sync::Arc;
use hv_core::exit::{ExitInformation, InterruptionInfo, PendingDebug};
use hv_core::frame::{Order, OutOfFrames, Reach, Use};
use hv_core::gpr::{Gpr, Gprs};
use hv_core::id::PcpuId;
use hv_core::msr::Msr;
use hv_core::msr_policy::X2apicAccess;
use hv_core::vlapic::Mode;
use hv_core::vmcs::{self, Control, Field, Group, Guest, Width, Writable};
use hv_core::vmx_caps::{
    ApicVirtualization, EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls,
    VmxConfig,
};
use x86_64::instructions::tables::{sgdt, sidt};
use x86_64::registers::control::{Cr0, Cr3, Cr4};

use crate::apic_page::VirtualApicPage;
use crate::confines::{Confines, Outer};
use crate::descriptors::{CODE_SELECTOR, TASK_SELECTOR};
use crate::extended::ExtendedState;
use crate::frames::OwnFrames;
use crate::{apic, cpu, msr, percpu, vpid};

pub use parked::Parked;

/// MSRs that a guest may write without a VM exit and that no VMCS field holds.
/// The hypervisor does not use them.
const GUEST_MSRS: [Msr; 5] =
    [Msr::IA32_STAR, Msr::IA32_LSTAR, Msr::IA32_CSTAR, Msr::IA32_FMASK, Msr::IA32_KERNEL_GS_BASE];

/// MSRs that hold the guest's values whenever the guest runs: those above, and
/// those that VM entry loads and VM exit saves.
pub(crate) const SWITCHED_MSRS: [Msr; 12] = [
    Msr::IA32_STAR,
    Msr::IA32_LSTAR,
    Msr::IA32_CSTAR,
    Msr::IA32_FMASK,
    Msr::IA32_KERNEL_GS_BASE,
    Msr::IA32_FS_BASE,
    Msr::IA32_GS_BASE,
    Msr::IA32_SYSENTER_CS,
    Msr::IA32_SYSENTER_ESP,
    Msr::IA32_SYSENTER_EIP,
    Msr::IA32_EFER,
    Msr::IA32_PAT,
];

/// EOI-exit bitmaps, vector 0 first.
const EOI_EXITS: [Field<u64, Control>; 4] =
    [vmcs::EOI_EXIT_BITMAP_0, vmcs::EOI_EXIT_BITMAP_1, vmcs::EOI_EXIT_BITMAP_2, vmcs::EOI_EXIT_BITMAP_3];

/// DR6 after reset.
const DR6_RESET: u64 = 0xffff_0ff0;

/// A virtual CPU, not loaded on any pcpu.
#[derive(Debug)]
pub struct Vcpu {
    region: OwnFrames,
    launched: bool,
    registers: Gprs,
    msrs: [u64; GUEST_MSRS.len()],
    cr2: u64,
    /// DR0 to DR3, and DR6.
    debug: [u64; 5],
    extended: ExtendedState,
    vpid: vpid::Vpid,
    /// n, where the preemption timer counts once in 2^n ticks.
    timer_shift: Option<u8>,
    /// Whether it exits when it can take an interrupt, or an NMI.
    windows: (bool, bool),
    /// Where its translations may be cached.
    last_pcpu: Option<PcpuId>,
    /// What its VMCS refers to.
    confines: Arc<Confines>,
    apic_page: VirtualApicPage,
    apic: ApicVirtualization,
    /// What its VMCS has.
    tpr_threshold: u8,
}

impl Vcpu {
    /// A vcpu inside `confines`, with the registers of its local APIC in `apic_page`.
    /// Its guest state is still to be written.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`]; also when all VPIDs are taken.
    pub fn new(
        config: &VmxConfig,
        confines: Arc<Confines>,
        apic_page: VirtualApicPage,
    ) -> Result<Self, OutOfFrames> {
        let mut region = OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::Vmx)?;
        // SDM "Format of the VMCS Region".
        region.bytes_mut()[..4].copy_from_slice(&config.revision_id().to_le_bytes());
        let mut vcpu = Self {
            region,
            launched: false,
            registers: Gprs::default(),
            msrs: [0; GUEST_MSRS.len()],
            cr2: 0,
            debug: [0, 0, 0, 0, DR6_RESET],
            extended: ExtendedState::new()?,
            vpid: vpid::Vpid::allocate().ok_or(OutOfFrames { unscrubbed: 0 })?,
            timer_shift: config.preemption_timer(),
            last_pcpu: None,
            windows: (false, false),
            confines,
            apic_page,
            apic: config.apic(),
            tpr_threshold: 0,
        };
        vcpu.clear();
        vcpu.inspect(|parked| parked.write_controls(config));
        Ok(vcpu)
    }

    /// Makes this vcpu the current one of this pcpu.
    pub fn load(&mut self) -> Loaded<'_> {
        let operand = self.region.mfn().start().get();
        let failed: u8;
        // SAFETY: a VMCS region of ours, cleared when it was made or last unloaded,
        // so it is active on no other pcpu; it stays as long as the vcpu.
        unsafe {
            asm!("vmptrld qword ptr [{operand}]", "setna {failed}",
                 operand = in(reg) &raw const operand, failed = out(reg_byte) failed, options(nostack));
        }
        assert!(failed == 0, "VMPTRLD of {operand:#x} failed");
        let outer = self.confines.enter();
        let mut loaded = Loaded { vcpu: self, outer, _pinned: PhantomData };
        let here = percpu::this().id();
        if loaded.vcpu.last_pcpu.replace(here) != Some(here) {
            // Another vcpu may have had the VPID here, or this one with older tables.
            loaded.vcpu.vpid.flush();
            loaded.write_host_state();
        }
        loaded.restore();
        loaded
    }

    /// Has the CPU answer for the registers of a local APIC in `mode`, as far as it can.
    ///
    /// # Safety
    ///
    /// The VMCS is current, and its other controls are written.
    unsafe fn write_apic_mode(&self, mode: Mode) {
        const BOTH: SecondaryControls =
            SecondaryControls::VIRTUALIZE_APIC_ACCESSES.union(SecondaryControls::VIRTUALIZE_X2APIC_MODE);
        let (control, access) = match mode {
            _ if !self.apic.delivers() => return,
            Mode::X2Apic => (SecondaryControls::VIRTUALIZE_X2APIC_MODE, X2apicAccess::Virtualized),
            Mode::XApic if self.apic.covers_memory() => {
                (SecondaryControls::VIRTUALIZE_APIC_ACCESSES, X2apicAccess::Exits)
            }
            Mode::XApic | Mode::Disabled => (SecondaryControls::empty(), X2apicAccess::Exits),
        };
        let others = SecondaryControls::from_bits_retain(read_field(vmcs::SECONDARY_CONTROLS)) - BOTH;
        // SAFETY: the CPU has the controls that `covers_memory` and `delivers` stand for,
        // and the address of the page is written.
        unsafe { write_field(vmcs::SECONDARY_CONTROLS, (others | control).bits()) };
        // SAFETY: the bitmap goes with the controls.
        unsafe { write_field(vmcs::MSR_BITMAPS, self.confines.msr_bitmap(access)) };
    }

    /// Writes the VMCS back to memory and makes it inactive.
    fn clear(&self) {
        let operand = self.region.mfn().start().get();
        let failed: u8;
        // SAFETY: a VMCS region of ours.
        unsafe {
            asm!("vmclear qword ptr [{operand}]", "setna {failed}",
                 operand = in(reg) &raw const operand, failed = out(reg_byte) failed, options(nostack));
        }
        assert!(failed == 0, "VMCLEAR of {operand:#x} failed");
    }
}

/// A vcpu that is current on this pcpu. It stays there: the type is not `Send`.
#[derive(Debug)]
pub struct Loaded<'a> {
    vcpu: &'a mut Vcpu,
    /// For the confines, when it is unloaded.
    outer: Outer,
    _pinned: PhantomData<*mut ()>,
}

/// A control register that guest and hypervisor share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Masked {
    /// Bits that are the hypervisor's.
    pub mask: u64,
    /// What the guest reads in those bits.
    pub shadow: u64,
}

/// Exceptions that cause VM exits: #DB and #AC, whose delivery can raise the same
/// again, so that a guest would never come to an instruction boundary; and #MC, which
/// is the machine's.
const INTERCEPTED: u32 = 1 << 1 | 1 << 17 | 1 << 18;

/// VM entry did not happen (SDM "Basic VM-Entry Checks").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryFailed {
    /// VM-instruction error number, 0 without a current VMCS.
    pub error: u32,
}

impl Loaded<'_> {
    /// Enters the guest and returns at its next VM exit.
    ///
    /// # Errors
    ///
    /// [`EntryFailed`]: a control or host field is wrong, which is a bug of the
    /// hypervisor. Wrong guest state is a VM exit.
    pub fn run(&mut self) -> Result<(), EntryFailed> {
        // SAFETY: the VMCS is current and complete; the registers are the vcpu's.
        let failed = unsafe { enter_guest(&raw mut self.vcpu.registers, self.vcpu.launched) };
        if failed != 0 {
            return Err(EntryFailed { error: self.read(vmcs::VM_INSTRUCTION_ERROR) });
        }
        self.vcpu.launched = true;
        Ok(())
    }

    /// The guest's general registers.
    #[must_use]
    pub fn registers(&self) -> &Gprs {
        &self.vcpu.registers
    }

    /// The guest's general registers, to be changed.
    #[must_use]
    pub fn registers_mut(&mut self) -> &mut Gprs {
        &mut self.vcpu.registers
    }

    /// Reads a field of the VMCS.
    #[inline]
    #[must_use]
    pub fn read<W: Width, G: Group>(&self, field: Field<W, G>) -> W::Value {
        read_field(field)
    }

    /// Writes a field of the guest's state. Whatever is there, the guest reaches
    /// only what its EPT maps.
    ///
    /// # Panics
    ///
    /// For the VMCS link pointer, which names memory of the host.
    #[inline]
    pub fn write<W: Width>(&mut self, field: Field<W, Guest>, value: W::Value) {
        write_guest_field(field, value);
    }

    /// Sets which bits of CR0 and CR4 are the hypervisor's, and what the guest reads
    /// there (SDM "Guest/Host Masks and Read Shadows for CR0 and CR4").
    pub fn write_control_masks(&mut self, cr0: Masked, cr4: Masked) {
        write_masks(cr0, cr4);
    }

    /// What the guest reads in the hypervisor's bits of CR0 and CR4.
    #[must_use]
    pub fn control_shadows(&self) -> (u64, u64) {
        (self.read(vmcs::CR0_READ_SHADOW), self.read(vmcs::CR4_READ_SHADOW))
    }

    /// Sets what the guest reads in the hypervisor's bits of CR0.
    pub fn set_cr0_shadow(&mut self, value: u64) {
        // SAFETY: decides only what reads show.
        unsafe { write_field(vmcs::CR0_READ_SHADOW, value) };
    }

    /// Forgets the guest's cached translations, as a CPU does when paging changes.
    pub fn flush_translations(&self) {
        self.vcpu.vpid.flush();
    }

    /// Writes the guest's EFER, and with LMA the mode in which it is entered.
    pub fn write_efer(&mut self, value: u64) {
        write_efer_field(value);
    }

    /// Sets what VM entry injects: interruption information, and error code and instruction
    /// length if the event has them; else the CPU does not look at them (SDM "VM-Entry
    /// Controls for Event Injection").
    #[inline]
    pub fn inject(&mut self, information: u32, error_code: Option<u32>, instruction_length: Option<u32>) {
        // SAFETY: all three concern the guest only; invalid ones fail VM entry.
        unsafe { write_field(vmcs::ENTRY_INTERRUPTION_INFORMATION, information) };
        if let Some(error_code) = error_code {
            // SAFETY: as above.
            unsafe { write_field(vmcs::ENTRY_EXCEPTION_ERROR_CODE, error_code) };
        }
        if let Some(length) = instruction_length {
            // SAFETY: as above.
            unsafe { write_field(vmcs::ENTRY_INSTRUCTION_LENGTH, length) };
        }
    }

    /// Asks for a VM exit when the time stamp counter has gone on by `ticks`: by the
    /// preemption timer, or by an interrupt of the local APIC's where the CPU has none.
    #[inline]
    pub fn exit_after(&mut self, ticks: u64) {
        match self.vcpu.timer_shift {
            Some(shift) => {
                let count = u32::try_from(ticks >> shift).unwrap_or(u32::MAX);
                self.write(vmcs::PREEMPTION_TIMER_VALUE, count);
            }
            None => apic::set_timer(cpu::rdtsc().saturating_add(ticks)),
        }
    }

    /// Whether the VM exit has broken off the delivery of an event.
    #[must_use]
    pub fn is_delivering(&self) -> bool {
        InterruptionInfo::new(self.read(vmcs::IDT_VECTORING_INFORMATION)).is_valid()
    }

    /// Sets what the guest's time stamp counter is ahead of the pcpus', modulo 2^64.
    pub fn set_tsc_offset(&mut self, offset: u64) {
        write_tsc_offset(offset);
    }

    /// The guest's value of an MSR that is switched with it; `None` for others.
    #[must_use]
    pub fn read_switched(&self, register: Msr) -> Option<u64> {
        Some(match register {
            Msr::IA32_FS_BASE => self.read(vmcs::GUEST_FS_BASE),
            Msr::IA32_GS_BASE => self.read(vmcs::GUEST_GS_BASE),
            Msr::IA32_SYSENTER_CS => self.read(vmcs::GUEST_IA32_SYSENTER_CS).into(),
            Msr::IA32_SYSENTER_ESP => self.read(vmcs::GUEST_IA32_SYSENTER_ESP),
            Msr::IA32_SYSENTER_EIP => self.read(vmcs::GUEST_IA32_SYSENTER_EIP),
            Msr::IA32_EFER => self.read(vmcs::GUEST_IA32_EFER),
            Msr::IA32_PAT => self.read(vmcs::GUEST_IA32_PAT),
            // SAFETY: exists on every 64-bit CPU, and holds the guest's value now.
            register if GUEST_MSRS.contains(&register) => unsafe { msr::read(register) },
            _ => return None,
        })
    }

    /// Adds conditions to the guest's DR6, as the delivery of #DB does (SDM "Debug
    /// Status Register (DR6)").
    fn add_debug_conditions(&mut self, conditions: u64) {
        const BREAKPOINTS: u64 = 0xf;
        let old: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, dr6", out(reg) old, options(nomem, nostack)) };
        let new = old & !BREAKPOINTS | conditions & 0x600f;
        // SAFETY: the hypervisor reads DR6 in fatal reports only; bits 63:32 stay zero.
        unsafe { asm!("mov dr6, {}", in(reg) new, options(nomem, nostack)) };
    }

    /// What the CPU does of the vcpu's local APIC.
    #[inline]
    #[must_use]
    pub fn apic(&self) -> ApicVirtualization {
        self.vcpu.apic
    }

    /// The local APIC is in `mode` from now on: the CPU answers for its registers there,
    /// as far as it can.
    pub fn set_apic_mode(&mut self, mode: Mode) {
        // SAFETY: the VMCS is current.
        unsafe { self.vcpu.write_apic_mode(mode) };
        // What the CPU remembers of the page may be from before (SDM "Virtualizing
        // Memory-Mapped APIC Accesses").
        self.vcpu.confines.forget_here();
        self.flush_translations();
    }

    /// Asks for a VM exit when the guest lowers its task priority class below
    /// `threshold`, 0 to 15, which it must not be now.
    #[inline]
    pub fn set_tpr_threshold(&mut self, threshold: u8) {
        if self.vcpu.tpr_threshold != threshold && self.vcpu.apic != ApicVirtualization::None {
            self.vcpu.tpr_threshold = threshold;
            // SAFETY: only causes VM exits.
            unsafe { write_field(vmcs::TPR_THRESHOLD, u32::from(threshold & 0xf)) };
        }
    }

    /// Sets for which vectors an EOI causes a VM exit, vector 0 first, where the CPU
    /// delivers interrupts.
    pub fn set_eoi_exits(&mut self, vectors: [u64; 4]) {
        if self.vcpu.apic.delivers() {
            for (field, value) in EOI_EXITS.into_iter().zip(vectors) {
                // SAFETY: only causes VM exits.
                unsafe { write_field(field, value) };
            }
        }
    }

    /// Asks for a VM exit as soon as the guest can take an interrupt or an NMI.
    #[inline]
    pub fn set_windows(&mut self, interrupt: bool, nmi: bool) {
        if self.vcpu.windows == (interrupt, nmi) {
            return;
        }
        self.vcpu.windows = (interrupt, nmi);
        let mut controls = PrimaryControls::from_bits_retain(self.read(vmcs::PRIMARY_CONTROLS));
        controls.set(PrimaryControls::INTERRUPT_WINDOW_EXITING, interrupt);
        controls.set(PrimaryControls::NMI_WINDOW_EXITING, nmi);
        // SAFETY: the two bits only cause VM exits.
        unsafe { write_field(vmcs::PRIMARY_CONTROLS, controls.bits()) };
    }

    /// Moves the guest past the instruction that caused the VM exit, and ends the
    /// shadow of STI or MOV SS in which it stood (SDM "Guest Non-Register State").
    #[inline]
    pub fn skip_instruction(&mut self) {
        let length = self.read(vmcs::EXIT_INSTRUCTION_LENGTH);
        self.advance(length);
    }

    /// As [`Loaded::skip_instruction`], for an instruction of `length` bytes, where the
    /// exit does not tell.
    ///
    /// Under the trap flag a debug exception follows the instruction (SDM "Single-Step
    /// Exception Condition"). The CPU raises it behind VM entry.
    #[inline]
    pub fn advance(&mut self, length: u32) {
        let rip = self.read(vmcs::GUEST_RIP);
        self.write(vmcs::GUEST_RIP, rip.wrapping_add(u64::from(length)));
        let shadow = self.read(vmcs::GUEST_INTERRUPTIBILITY_STATE);
        if shadow & 3 != 0 {
            self.write(vmcs::GUEST_INTERRUPTIBILITY_STATE, shadow & !3);
        }
        if self.is_stepping() {
            self.set_single_step_pending();
        }
    }

    /// Whether the guest has the trap flag on; its `IA32_DEBUGCTL` is 0.
    #[inline]
    fn is_stepping(&self) -> bool {
        const TRAP: u64 = 1 << 8;
        self.read(vmcs::GUEST_RFLAGS) & TRAP != 0
    }

    /// Whether a single step waits for its debug exception, which comes before any other event.
    #[must_use]
    pub fn is_single_step_pending(&self) -> bool {
        let pending = || PendingDebug::from_bits_retain(self.read(vmcs::GUEST_PENDING_DEBUG_EXCEPTIONS));
        self.is_stepping() && pending().contains(PendingDebug::SINGLE_STEP)
    }

    #[cold]
    fn set_single_step_pending(&mut self) {
        let pending = PendingDebug::from_bits_retain(self.read(vmcs::GUEST_PENDING_DEBUG_EXCEPTIONS));
        self.write(vmcs::GUEST_PENDING_DEBUG_EXCEPTIONS, (pending | PendingDebug::SINGLE_STEP).bits());
    }

    /// Sets the guest's CR2: what the #PF that is about to be injected tells.
    pub fn set_page_fault_address(&mut self, address: u64) {
        // SAFETY: the guest's CR2 is the CPU's while it is loaded; the hypervisor reads it in
        // fatal reports only.
        unsafe { asm!("mov cr2, {}", in(reg) address, options(nomem, nostack)) };
    }

    /// Makes of an intercepted #DB what its delivery would: DR6 has the `conditions`, and
    /// DR7.GD is off for the handler (SDM "Debug Control Register (DR7)"; VM entry does
    /// neither).
    ///
    /// In the shadow of STI or MOV SS a single step has to be pending under the trap flag,
    /// or VM entry refuses the state; a VM exit for #DB does not save it (SDM "Checks on
    /// Guest Non-Register State").
    pub fn take_debug_exception(&mut self, conditions: u64) {
        const GENERAL_DETECT: u64 = 1 << 13;
        self.add_debug_conditions(conditions);
        let dr7 = self.read(vmcs::GUEST_DR7);
        self.write(vmcs::GUEST_DR7, dr7 & !GENERAL_DETECT);
        if self.read(vmcs::GUEST_INTERRUPTIBILITY_STATE) & 3 != 0 && self.is_stepping() {
            self.set_single_step_pending();
        }
    }
}

/// Where VMREAD and VMWRITE jump that fail: a field that this CPU does not have, or no
/// current VMCS. The stack may be anywhere.
#[unsafe(naked)]
unsafe extern "C" fn field_access_failed() -> ! {
    naked_asm!("and rsp, -16", "call {panic}", "ud2", panic = sym panic_field_access)
}

/// The back trace says which field; the VM-instruction error says what was wrong.
extern "C" fn panic_field_access() -> ! {
    panic!("VMREAD or VMWRITE failed");
}

/// Reads a field of the current VMCS.
#[inline]
fn read_field<W: Width, G: Group>(field: Field<W, G>) -> W::Value {
    let value: u64;
    // SAFETY: reading any field of the current VMCS has no effect. A failure goes to
    // a function that does not return.
    unsafe {
        asm!("vmread {value}, {field}", "jbe {failed}", field = in(reg) field.encoding(),
             value = out(reg) value, failed = sym field_access_failed, options(nomem));
    }
    W::from_register(value)
}

/// Writes a field of the current VMCS.
///
/// # Safety
///
/// The value keeps the guest inside what is its own, and the host state right.
#[inline]
unsafe fn write_field<W: Width, G: Writable>(field: Field<W, G>, value: W::Value) {
    // SAFETY: by the caller. A failure goes to a function that does not return.
    unsafe {
        asm!("vmwrite {field}, {value}", "jbe {failed}", field = in(reg) field.encoding(),
             value = in(reg) W::to_register(value), failed = sym field_access_failed);
    }
}

/// Writes a field of the guest's state. This and the functions below work on the current
/// VMCS, for those who have one: [`Loaded`] and [`Parked`].
#[inline]
fn write_guest_field<W: Width>(field: Field<W, Guest>, value: W::Value) {
    assert!(field.encoding() != vmcs::VMCS_LINK_POINTER.encoding());
    // SAFETY: guest state other than the link pointer.
    unsafe { write_field(field, value) };
}

/// See [`Loaded::write_control_masks`].
fn write_masks(cr0: Masked, cr4: Masked) {
    let fields = [
        (vmcs::CR0_GUEST_HOST_MASK, cr0.mask),
        (vmcs::CR0_READ_SHADOW, cr0.shadow),
        (vmcs::CR4_GUEST_HOST_MASK, cr4.mask),
        (vmcs::CR4_READ_SHADOW, cr4.shadow),
    ];
    for (field, value) in fields {
        // SAFETY: decides only which writes cause VM exits and what reads show.
        unsafe { write_field(field, value) };
    }
}

/// See [`Loaded::write_efer`].
fn write_efer_field(value: u64) {
    const LMA: u64 = 1 << 10;
    write_guest_field(vmcs::GUEST_IA32_EFER, value);
    let mut controls = EntryControls::from_bits_retain(read_field(vmcs::ENTRY_CONTROLS));
    controls.set(EntryControls::IA32E_MODE_GUEST, value & LMA != 0);
    // SAFETY: a control that follows the guest's own state.
    unsafe { write_field(vmcs::ENTRY_CONTROLS, controls.bits()) };
}

/// See [`Loaded::set_tsc_offset`].
fn write_tsc_offset(offset: u64) {
    let mut controls = PrimaryControls::from_bits_retain(read_field(vmcs::PRIMARY_CONTROLS));
    controls.set(PrimaryControls::USE_TSC_OFFSETTING, offset != 0);
    // SAFETY: the offset concerns what the guest reads only.
    unsafe { write_field(vmcs::TSC_OFFSET, offset) };
    // SAFETY: as above, and every CPU has the control.
    unsafe { write_field(vmcs::PRIMARY_CONTROLS, controls.bits()) };
}

/// Loads the guest's registers, enters it, and saves them at the VM exit. Returns
/// 0 after a VM exit, 1 if VM entry failed before it left the host.
///
/// # Safety
///
/// The current VMCS is complete, its HOST_RIP is [`guest_exit`], `registers`
/// points to its vcpu's registers, and `launched` says whether VMLAUNCH was done
/// since VMCLEAR.
#[unsafe(naked)]
unsafe extern "C" fn enter_guest(registers: *mut Gprs, launched: bool) -> u64 {
    naked_asm!(
        // Callee-saved registers (System V ABI), then where the guest's go.
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdi",
        "mov eax, {host_rsp}",
        "vmwrite rax, rsp",
        // Decides between VMLAUNCH and VMRESUME; MOV leaves the flags alone.
        "test sil, sil",
        "mov rax, [rdi + {rax}]",
        "mov rbx, [rdi + {rbx}]",
        "mov rcx, [rdi + {rcx}]",
        "mov rdx, [rdi + {rdx}]",
        "mov rsi, [rdi + {rsi}]",
        "mov rbp, [rdi + {rbp}]",
        "mov r8, [rdi + {r8}]",
        "mov r9, [rdi + {r9}]",
        "mov r10, [rdi + {r10}]",
        "mov r11, [rdi + {r11}]",
        "mov r12, [rdi + {r12}]",
        "mov r13, [rdi + {r13}]",
        "mov r14, [rdi + {r14}]",
        "mov r15, [rdi + {r15}]",
        "mov rdi, [rdi + {rdi}]",
        "jz 2f",
        "vmresume",
        "jmp 3f",
        "2: vmlaunch",
        // Still here: the entry failed. The guest's registers are as they were.
        "3: add rsp, 8",
        "mov eax, 1",
        "jmp 4f",
        // VM exit: RSP is what HOST_RSP says, all other registers are the guest's.
        ".global guest_exit",
        "guest_exit:",
        "push rdi",
        "mov rdi, [rsp + 8]",
        "mov [rdi + {rax}], rax",
        "mov [rdi + {rbx}], rbx",
        "mov [rdi + {rcx}], rcx",
        "mov [rdi + {rdx}], rdx",
        "mov [rdi + {rsi}], rsi",
        "mov [rdi + {rbp}], rbp",
        "mov [rdi + {r8}], r8",
        "mov [rdi + {r9}], r9",
        "mov [rdi + {r10}], r10",
        "mov [rdi + {r11}], r11",
        "mov [rdi + {r12}], r12",
        "mov [rdi + {r13}], r13",
        "mov [rdi + {r14}], r14",
        "mov [rdi + {r15}], r15",
        "pop qword ptr [rdi + {rdi}]",
        "add rsp, 8",
        "xor eax, eax",
        "4: pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        host_rsp = const vmcs::HOST_RSP.encoding(),
        rax = const offset(Gpr::Rax),
        rbx = const offset(Gpr::Rbx),
        rcx = const offset(Gpr::Rcx),
        rdx = const offset(Gpr::Rdx),
        rsi = const offset(Gpr::Rsi),
        rdi = const offset(Gpr::Rdi),
        rbp = const offset(Gpr::Rbp),
        r8 = const offset(Gpr::R8),
        r9 = const offset(Gpr::R9),
        r10 = const offset(Gpr::R10),
        r11 = const offset(Gpr::R11),
        r12 = const offset(Gpr::R12),
        r13 = const offset(Gpr::R13),
        r14 = const offset(Gpr::R14),
        r15 = const offset(Gpr::R15),
    )
}

/// Where [`Gprs`] keeps a register.
const fn offset(register: Gpr) -> usize {
    8 * register.index()
}

unsafe extern "C" {
    /// Where VM exits arrive: a label in [`enter_guest`].
    fn guest_exit();
}

impl Parked<'_> {
    /// Writes the controls that stay as they are (SDM "VM-Execution Control
    /// Fields" and following).
    fn write_controls(&mut self, config: &VmxConfig) {
        let confines = Arc::clone(&self.vcpu.confines);
        let mut pin = config.pin().base();
        pin.set(PinControls::ACTIVATE_PREEMPTION_TIMER, config.preemption_timer().is_some());
        let mut primary = config.primary().base();
        primary |= match config.apic() {
            // Without a TPR shadow CR8 is the pcpu's own task priority.
            ApicVirtualization::None => {
                PrimaryControls::CR8_LOAD_EXITING | PrimaryControls::CR8_STORE_EXITING
            }
            _ => PrimaryControls::USE_TPR_SHADOW,
        };
        let mut secondary = config.secondary().base();
        if config.apic().delivers() {
            secondary |= SecondaryControls::APIC_REGISTER_VIRTUALIZATION
                | SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY;
        }
        let mut exit = config.exit().base();
        // The timer goes on where it was instead of from the start after each VM exit, so
        // that a guest which exits often does not put off what is due.
        exit.set(ExitControls::SAVE_PREEMPTION_TIMER, config.saves_preemption_timer());
        // The debug registers are switched with the vcpu.
        primary.remove(PrimaryControls::MOV_DR_EXITING);
        let words = [
            (vmcs::PIN_BASED_CONTROLS, pin.bits()),
            (vmcs::PRIMARY_CONTROLS, primary.bits()),
            (vmcs::SECONDARY_CONTROLS, secondary.bits()),
            (vmcs::EXIT_CONTROLS, exit.bits()),
            (vmcs::ENTRY_CONTROLS, config.entry().base().bits()),
            (vmcs::EXCEPTION_BITMAP, INTERCEPTED),
            (vmcs::PAGE_FAULT_ERROR_CODE_MASK, 0),
            (vmcs::PAGE_FAULT_ERROR_CODE_MATCH, 0),
            (vmcs::CR3_TARGET_COUNT, 0),
            (vmcs::VM_EXIT_MSR_STORE_COUNT, 0),
            (vmcs::VM_EXIT_MSR_LOAD_COUNT, 0),
            (vmcs::VM_ENTRY_MSR_LOAD_COUNT, 0),
            (vmcs::ENTRY_INTERRUPTION_INFORMATION, 0),
        ];
        for (field, value) in words {
            // SAFETY: `VmxConfig` keeps to what this CPU allows, and its base turns
            // on EPT and the bitmaps, which are set below.
            unsafe { write_field(field, value) };
        }
        let addresses = [
            (vmcs::EPT_POINTER, confines.ept_pointer()),
            (vmcs::MSR_BITMAPS, confines.msr_bitmap(X2apicAccess::Exits)),
            (vmcs::IO_BITMAP_A, confines.io_bitmaps()[0]),
            (vmcs::IO_BITMAP_B, confines.io_bitmaps()[1]),
            (vmcs::TSC_OFFSET, 0),
        ];
        for (field, value) in addresses {
            // SAFETY: frames that `confines` owns, which the vcpu keeps alive.
            unsafe { write_field(field, value) };
        }
        self.write_apic_controls();
        // SAFETY: this vcpu's own, while it exists.
        unsafe { write_field(vmcs::VPID, self.vcpu.vpid.get()) };
        // SAFETY: all ones: there is no shadow VMCS.
        unsafe { write_field(vmcs::VMCS_LINK_POINTER, u64::MAX) };
        if config.secondary().base().contains(SecondaryControls::ENABLE_ENCLS_EXITING) {
            // SAFETY: every ENCLS causes a VM exit.
            unsafe { write_field(vmcs::ENCLS_EXITING_BITMAP, u64::MAX) };
        }
        if config.secondary().base().contains(SecondaryControls::ENABLE_ENCLV_EXITING) {
            // SAFETY: every ENCLV causes a VM exit.
            unsafe { write_field(vmcs::ENCLV_EXITING_BITMAP, u64::MAX) };
        }
    }

    /// Writes what the CPU needs to know of a local APIC after reset. Fields exist as
    /// the CPU has the controls.
    fn write_apic_controls(&mut self) {
        if self.vcpu.apic == ApicVirtualization::None {
            return;
        }
        // SAFETY: a frame that this vcpu keeps alive, for this purpose.
        unsafe { write_field(vmcs::VIRTUAL_APIC_ADDRESS, self.vcpu.apic_page.address()) };
        // SAFETY: only causes VM exits.
        unsafe { write_field(vmcs::TPR_THRESHOLD, 0) };
        if let Some(page) = self.vcpu.confines.apic_access_page() {
            // SAFETY: a frame that the confines keep alive, for this purpose.
            unsafe { write_field(vmcs::APIC_ACCESS_ADDRESS, page) };
        }
        if self.vcpu.apic.delivers() {
            self.write(vmcs::GUEST_INTERRUPT_STATUS, 0);
            for field in EOI_EXITS {
                // SAFETY: only causes VM exits.
                unsafe { write_field(field, 0) };
            }
            self.set_apic_mode(Mode::XApic);
        }
    }
}

impl Loaded<'_> {
    /// Puts into the CPU what the VMCS does not hold.
    fn restore(&mut self) {
        for (register, value) in GUEST_MSRS.into_iter().zip(self.vcpu.msrs) {
            // SAFETY: exist on every 64-bit CPU; the values came from `save`, or
            // are 0; the hypervisor uses none of these registers.
            unsafe { msr::write(register, value) };
        }
        // SAFETY: the hypervisor reads CR2 in fatal reports only.
        unsafe { asm!("mov cr2, {}", in(reg) self.vcpu.cr2, options(nomem, nostack)) };
        let [dr0, dr1, dr2, dr3, dr6] = self.vcpu.debug;
        // SAFETY: the hypervisor enables no breakpoint: its DR7 is the reset value.
        unsafe {
            asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}", "mov dr6, {}",
                 in(reg) dr0, in(reg) dr1, in(reg) dr2, in(reg) dr3, in(reg) dr6, options(nomem, nostack));
        }
        self.vcpu.extended.restore();
    }

    /// Takes from the CPU what the VMCS does not hold.
    fn save(&mut self) {
        for (register, value) in GUEST_MSRS.into_iter().zip(&mut self.vcpu.msrs) {
            // SAFETY: exist on every 64-bit CPU.
            *value = unsafe { msr::read(register) };
        }
        self.vcpu.cr2 = cpu::page_fault_address();
        let [dr0, dr1, dr2, dr3, dr6] = &mut self.vcpu.debug;
        // SAFETY: reads registers.
        unsafe {
            asm!(
                "mov {}, dr0",
                "mov {}, dr1",
                "mov {}, dr2",
                "mov {}, dr3",
                "mov {}, dr6",
                out(reg) * dr0,
                out(reg) * dr1,
                out(reg) * dr2,
                out(reg) * dr3,
                out(reg) * dr6,
                options(nomem, nostack)
            );
        }
        self.vcpu.extended.save();
    }

    /// The guest's XCR0.
    #[must_use]
    pub fn xcr0(&self) -> u64 {
        self.vcpu.extended.xcr0()
    }

    /// Sets the guest's XCR0; `false` if XSETBV would fault on the value.
    #[must_use]
    pub fn set_xcr0(&mut self, value: u64) -> bool {
        self.vcpu.extended.set_xcr0(value)
    }

    /// Writes the host state of this pcpu (SDM "Host-State Area").
    fn write_host_state(&mut self) {
        let area = percpu::this();
        let (cr3, _) = Cr3::read_raw();
        let natural = [
            (vmcs::HOST_CR0, Cr0::read_raw()),
            (vmcs::HOST_CR3, cr3.start_address().as_u64()),
            (vmcs::HOST_CR4, Cr4::read_raw()),
            (vmcs::HOST_FS_BASE, 0),
            (vmcs::HOST_GS_BASE, core::ptr::from_ref(area) as u64),
            (vmcs::HOST_TR_BASE, area.descriptors.tss_base()),
            (vmcs::HOST_GDTR_BASE, sgdt().base.as_u64()),
            (vmcs::HOST_IDTR_BASE, sidt().base.as_u64()),
            (vmcs::HOST_IA32_SYSENTER_ESP, 0),
            (vmcs::HOST_IA32_SYSENTER_EIP, 0),
            (vmcs::HOST_RIP, guest_exit as *const () as u64),
        ];
        for (field, value) in natural {
            // SAFETY: what this pcpu has now, and the label that expects VM exits.
            unsafe { write_field(field, value) };
        }
        let selectors = [
            (vmcs::HOST_CS_SELECTOR, CODE_SELECTOR),
            (vmcs::HOST_TR_SELECTOR, TASK_SELECTOR),
            (vmcs::HOST_SS_SELECTOR, 0),
            (vmcs::HOST_DS_SELECTOR, 0),
            (vmcs::HOST_ES_SELECTOR, 0),
            (vmcs::HOST_FS_SELECTOR, 0),
            (vmcs::HOST_GS_SELECTOR, 0),
        ];
        for (field, value) in selectors {
            // SAFETY: as above.
            unsafe { write_field(field, value) };
        }
        // SAFETY: every 64-bit CPU has the MSR.
        let pat = unsafe { msr::read(Msr::IA32_PAT) };
        // SAFETY: every 64-bit CPU has the MSR.
        let efer = unsafe { msr::read(Msr::IA32_EFER) };
        // SAFETY: as above.
        unsafe { write_field(vmcs::HOST_IA32_PAT, pat) };
        // SAFETY: as above.
        unsafe { write_field(vmcs::HOST_IA32_EFER, efer) };
        // SAFETY: as above.
        unsafe { write_field(vmcs::HOST_IA32_SYSENTER_CS, 0) };
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        self.save();
        self.vcpu.launched = false;
        self.vcpu.clear();
        self.vcpu.confines.leave(self.outer);
    }
}

impl ExitInformation for Loaded<'_> {
    fn qualification(&self) -> u64 {
        self.read(vmcs::EXIT_QUALIFICATION)
    }

    fn guest_linear_address(&self) -> u64 {
        self.read(vmcs::GUEST_LINEAR_ADDRESS)
    }

    fn guest_physical_address(&self) -> u64 {
        self.read(vmcs::GUEST_PHYSICAL_ADDRESS)
    }

    fn interruption_information(&self) -> u32 {
        self.read(vmcs::EXIT_INTERRUPTION_INFORMATION)
    }

    fn interruption_error_code(&self) -> u32 {
        self.read(vmcs::EXIT_INTERRUPTION_ERROR_CODE)
    }

    fn instruction_information(&self) -> u32 {
        self.read(vmcs::EXIT_INSTRUCTION_INFORMATION)
    }
}
