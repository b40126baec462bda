//! Exceptions and interrupts: entry stubs, the saved frame, and who gets it.
//!
//! Every vector has a stub of 16 bytes which pushes an error code if the CPU did
//! not, pushes the vector, and joins the common path. That saves the general
//! registers below what the CPU pushed; the result is a [`TrapFrame`].
//!
//! ```text
//!   vectors 0x00..0x1f   exceptions, on the running stack or an IST stack
//!           0x20..0xee   devices, through [`Handlers::interrupt`]
//!           0xef..0xff   local APIC: timer, IPI, spurious (see `apic`)
//! ```

use core::arch::global_asm;
use core::mem::offset_of;

use spin::Once;
use x86_64::VirtAddr;
use x86_64::structures::idt::{EntryOptions, InterruptDescriptorTable};

use crate::descriptors::Ist;
use crate::{apic, cpu, ipi};

/// First vector that is not an exception.
pub const FIRST_INTERRUPT: u8 = 0x20;
const GENERAL_PROTECTION: u8 = 13;
const NMI: u8 = 2;

/// What the hypervisor does about traps. Set once, by [`set_handlers`].
#[derive(Clone, Copy, Debug)]
pub struct Handlers {
    /// An exception in the hypervisor itself. Must not return.
    pub exception: fn(&TrapFrame) -> !,
    /// A device's interrupt; it is acknowledged afterwards.
    pub interrupt: fn(u8),
}

static HANDLERS: Once<Handlers> = Once::new();

/// Names the handlers; later calls change nothing.
pub fn set_handlers(handlers: Handlers) {
    HANDLERS.call_once(|| handlers);
}

/// State of the interrupted code, as the entry stubs leave it on the stack.
#[derive(Clone, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are the registers of their names")]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    /// Interrupt vector.
    pub vector: u64,
    /// Error code, 0 where the exception has none.
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl TrapFrame {
    /// The exception's mnemonic and name (SDM "Exceptions and Interrupts").
    #[must_use]
    pub fn name(&self) -> &'static str {
        const NAMES: [&str; 22] = [
            "#DE divide error",
            "#DB debug",
            "NMI",
            "#BP breakpoint",
            "#OF overflow",
            "#BR bound range exceeded",
            "#UD invalid opcode",
            "#NM device not available",
            "#DF double fault",
            "coprocessor segment overrun",
            "#TS invalid TSS",
            "#NP segment not present",
            "#SS stack-segment fault",
            "#GP general protection",
            "#PF page fault",
            "reserved",
            "#MF x87 floating-point error",
            "#AC alignment check",
            "#MC machine check",
            "#XM SIMD floating-point exception",
            "#VE virtualization exception",
            "#CP control protection",
        ];
        usize::try_from(self.vector).ok().and_then(|v| NAMES.get(v)).copied().unwrap_or("unexpected vector")
    }

    /// Whether it is a page fault, so that CR2 says where.
    #[must_use]
    pub fn is_page_fault(&self) -> bool {
        self.vector == 14
    }
}

/// Called by the common stub for every vector, interrupts off.
extern "C" fn trap_entry(frame: &mut TrapFrame) {
    #[expect(clippy::cast_possible_truncation, reason = "the stubs push 0..=255")]
    match frame.vector as u8 {
        NMI => ipi::nmi(frame),
        vector if vector >= FIRST_INTERRUPT => deliver(vector),
        vector => {
            if !(vector == GENERAL_PROTECTION && fix_up(frame)) {
                exception(frame);
            }
        }
    }
}

/// Handles an interrupt that was acknowledged with `vector`: by the CPU itself, or
/// by a VM exit.
pub fn deliver(vector: u8) {
    match vector {
        apic::SPURIOUS_VECTOR => {}
        // Whoever waited for it looks at the clock.
        apic::TIMER_VECTOR => apic::end_of_interrupt(),
        apic::IPI_VECTOR => {
            apic::end_of_interrupt();
            ipi::receive();
        }
        _ => {
            if let Some(handlers) = HANDLERS.get() {
                (handlers.interrupt)(vector);
            }
            apic::end_of_interrupt();
        }
    }
}

/// Handles an NMI that came as a VM exit, by raising it: the CPU blocks further
/// ones until the handler's IRET, as after every other NMI.
pub fn deliver_nmi() {
    // SAFETY: the gate of vector 2 is there, on its own stack.
    unsafe { core::arch::asm!("int 2", options(nomem)) };
}

/// Handles a machine check that came as a VM exit or in VM entry, by raising it: it ends
/// the hypervisor as any other does.
pub fn deliver_machine_check() {
    // SAFETY: the gate of vector 18 is there, on its own stack.
    unsafe { core::arch::asm!("int 18", options(nomem)) };
}

/// Hands an exception to the hypervisor, for good.
pub(crate) fn exception(frame: &TrapFrame) -> ! {
    match HANDLERS.get() {
        Some(handlers) => (handlers.exception)(frame),
        None => cpu::halt_forever(),
    }
}

/// Continues after an instruction that was expected to fault (see `msr::probe`).
fn fix_up(frame: &mut TrapFrame) -> bool {
    let Some(entry) = exception_table().iter().find(|entry| entry[0] == frame.rip) else {
        return false;
    };
    frame.rip = entry[1];
    true
}

/// Pairs of an instruction's address and where to continue if it faults.
fn exception_table() -> &'static [[u64; 2]] {
    unsafe extern "C" {
        static extable_start: [u64; 2];
        static extable_end: [u64; 2];
    }
    let start = &raw const extable_start;
    let len = ((&raw const extable_end).addr() - start.addr()) / size_of::<[u64; 2]>();
    // SAFETY: the linker script puts the section's entries between the two
    // symbols, in read-only data.
    unsafe { core::slice::from_raw_parts(start, len) }
}

pub(crate) fn interrupt_descriptor_table() -> InterruptDescriptorTable {
    let mut idt = InterruptDescriptorTable::new();
    macro_rules! gate {
        ($($field:ident = $vector:expr),* $(,)?) => {
            $(
                // SAFETY: the stub of this vector follows the ABI of the gate.
                let _: &mut EntryOptions = unsafe { idt.$field.set_handler_addr(stub($vector)) };
            )*
        };
    }
    gate!(
        divide_error = 0,
        debug = 1,
        breakpoint = 3,
        overflow = 4,
        bound_range_exceeded = 5,
        invalid_opcode = 6,
        device_not_available = 7,
        invalid_tss = 10,
        segment_not_present = 11,
        stack_segment_fault = 12,
        general_protection_fault = 13,
        page_fault = 14,
        x87_floating_point = 16,
        alignment_check = 17,
        simd_floating_point = 19,
        virtualization = 20,
        cp_protection_exception = 21,
    );
    for vector in FIRST_INTERRUPT..=u8::MAX {
        // SAFETY: as above.
        unsafe { idt[vector].set_handler_addr(stub(vector)) };
    }
    macro_rules! gate_on_stack {
        ($($field:ident = $vector:expr, $ist:expr);* $(;)?) => {
            $(
                // SAFETY: as above.
                let options = unsafe { idt.$field.set_handler_addr(stub($vector)) };
                // SAFETY: `Descriptors::set_ist` named the stack before `load`.
                unsafe { options.set_stack_index($ist as u16) };
            )*
        };
    }
    gate_on_stack!(
        non_maskable_interrupt = NMI, Ist::Nmi;
        double_fault = 8, Ist::DoubleFault;
        machine_check = 18, Ist::MachineCheck;
    );
    idt
}

const STUB_SIZE: u64 = 16;

fn stub(vector: u8) -> VirtAddr {
    unsafe extern "C" {
        static trap_stubs: u8;
    }
    VirtAddr::from_ptr(&raw const trap_stubs) + u64::from(vector) * STUB_SIZE
}

global_asm!(
    r#"
    .pushsection .text.trap_stubs, "ax", @progbits
    .balign 16
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    # These push an error code themselves (SDM "Error Code").
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21)
    .else
    push    0
    .endif
    push    vector
    jmp     trap_common
    .set vector, vector + 1
    .endr

    .balign 16
trap_common:
    push    rax
    push    rbx
    push    rcx
    push    rdx
    push    rsi
    push    rdi
    push    rbp
    push    r8
    push    r9
    push    r10
    push    r11
    push    r12
    push    r13
    push    r14
    push    r15
    cld
    mov     rdi, rsp
    mov     rbx, rsp
    # A frame record, so that back traces lead on into the interrupted code.
    push    qword ptr [rsp + {rip}]
    push    rbp
    mov     rbp, rsp
    and     rsp, -16                    # the CPU aligned it; an IST entry too, but be sure
    call    {trap_entry}
    mov     rsp, rbx
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     r11
    pop     r10
    pop     r9
    pop     r8
    pop     rbp
    pop     rdi
    pop     rsi
    pop     rdx
    pop     rcx
    pop     rbx
    pop     rax
    add     rsp, 16
    iretq
    .popsection
"#,
    trap_entry = sym trap_entry,
    rip = const offset_of!(TrapFrame, rip),
);
