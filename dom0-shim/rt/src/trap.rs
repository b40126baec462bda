//! Exceptions and interrupts of all vcpus.
//!
//! A fault at an instruction of [`crate::cpu`] is an answer: that function returns it.
//! Interrupts go to the handler of their vector, and are counted. Anything else is a
//! panic with the registers that matter.

use core::arch::{asm, global_asm};
use core::fmt;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::segments::{FAULT_STACK, KERNEL_CODE, Pointer};

/// An exception: what the CPU tells about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Its vector.
    pub vector: u8,
    /// Its error code; zero for vectors that have none.
    pub error: u32,
    /// CR2: of a page fault, the address.
    pub address: u64,
}

impl Fault {
    /// #DB.
    pub const DEBUG: u8 = 1;
    /// #BP.
    pub const BREAKPOINT: u8 = 3;
    /// #UD.
    pub const INVALID_OPCODE: u8 = 6;
    /// #NM.
    pub const DEVICE_NOT_AVAILABLE: u8 = 7;
    /// #GP.
    pub const GENERAL_PROTECTION: u8 = 13;
    /// #PF.
    pub const PAGE_FAULT: u8 = 14;

    /// Set in the first word that [`fixup`] leaves.
    const HAPPENED: u64 = 1 << 63;

    /// From the two words that the trap handler left, if it ran.
    pub(crate) const fn decode(word: u64, address: u64) -> Option<Self> {
        if word & Self::HAPPENED == 0 {
            return None;
        }
        let [a, b, c, d, vector, ..] = word.to_le_bytes();
        let address = if vector == Self::PAGE_FAULT { address } else { 0 };
        Some(Self { vector, error: u32::from_le_bytes([a, b, c, d]), address })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exception {} error {:#x} cr2 {:#x}", self.vector, self.error, self.address)
    }
}

/// Registers at an interruption, in the order in which the stub leaves them.
#[repr(C)]
#[derive(Debug)]
pub struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

impl Frame {
    /// The vector of the interruption.
    #[must_use]
    pub fn vector(&self) -> u8 {
        let [vector, ..] = self.vector.to_le_bytes();
        vector
    }

    /// Address of the instruction interrupted, or behind one that trapped.
    #[must_use]
    pub fn rip(&self) -> u64 {
        self.rip
    }

    /// Flags of the code interrupted.
    #[must_use]
    pub fn rflags(&self) -> u64 {
        self.rflags
    }

    /// Ends single-stepping in the code interrupted.
    pub fn clear_trap_flag(&mut self) {
        self.rflags &= !(1 << 8);
    }
}

/// What runs at an interruption, with interrupts off. It must not allocate.
pub type Handler = fn(&mut Frame);

const VECTORS: usize = 256;
/// First vector that is no exception.
const FIRST_INTERRUPT: u64 = 32;
const NMI: u64 = 2;

static HANDLERS: [AtomicPtr<()>; VECTORS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; VECTORS];
static COUNTS: [AtomicU64; VECTORS] = [const { AtomicU64::new(0) }; VECTORS];

/// Names what runs at `vector`, of an interrupt or of an exception.
pub fn set_handler(vector: u8, handler: Handler) {
    HANDLERS[usize::from(vector)].store(handler as *mut (), Ordering::Release);
}

/// How often `vector` came, on all vcpus.
#[must_use]
pub fn count(vector: u8) -> u64 {
    COUNTS[usize::from(vector)].load(Ordering::Acquire)
}

global_asm!(
    r#"
    .pushsection .text.trap, "ax", @progbits
    .balign 16
guest_trap_stubs:
    .set    vector, 0
    .rept   256
    .balign 16
    # Those without an error code get one of 0 (SDM "Exception and Interrupt Reference").
    .if !((vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21))
    .byte   0x6a, 0                         # push 0
    .endif
    .byte   0x68                            # push vector
    .long   vector
    jmp     guest_trap
    .set    vector, vector + 1
    .endr

guest_trap:
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
    xor     ebp, ebp
    call    {trap}
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
    add     rsp, 16                         # vector, error code
    iretq
    .popsection
"#,
    trap = sym trap,
);

#[repr(C, align(4096))]
struct Idt([[AtomicU64; 2]; VECTORS]);

static IDT: spin::Once<Idt> = spin::Once::new();

/// Makes the table; the other vcpus only [`load`] it.
pub(crate) fn init() {
    unsafe extern "C" {
        static guest_trap_stubs: u8;
    }
    let stubs = (&raw const guest_trap_stubs) as u64;
    IDT.call_once(|| {
        let mut gates = [const { [const { AtomicU64::new(0) }; 2] }; VECTORS];
        for (vector, entry) in (0_u64..).zip(&mut gates) {
            *entry = gate(stubs + vector * 16, matches!(vector, NMI | 8), vector == 3).map(AtomicU64::new);
        }
        Idt(gates)
    });
    load();
}

/// Leads `vector` past the common handler, straight to code in assembly.
///
/// # Safety
///
/// The code at `handler` preserves all registers and ends in IRETQ; the vector has no error
/// code and does not come meanwhile.
pub(crate) unsafe fn set_gate(vector: u8, handler: u64) {
    let Some(Idt(gates)) = IDT.get() else { return };
    for (word, value) in gates[usize::from(vector)].iter().zip(gate(handler, false, false)) {
        word.store(value, Ordering::Release);
    }
}

/// An interrupt gate (SDM "64-Bit Mode IDT").
fn gate(handler: u64, own_stack: bool, user: bool) -> [u64; 2] {
    let stack = if own_stack { u64::from(FAULT_STACK) } else { 0 };
    let dpl = if user { 3 } else { 0 };
    let low = handler & 0xffff | u64::from(KERNEL_CODE) << 16 | stack << 32 | 0x8e << 40 | dpl << 45;
    [low | (handler >> 16 & 0xffff) << 48, handler >> 32]
}

/// Lets this vcpu use the table.
pub(crate) fn load() {
    let Some(table) = IDT.get() else { return };
    let pointer = Pointer::to(table);
    // SAFETY: the table lives for ever, and its gates lead to the stubs above.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack)) };
}

/// Every interruption.
extern "C" fn trap(frame: &mut Frame) {
    let vector = frame.vector;
    COUNTS[(vector & 0xff) as usize].fetch_add(1, Ordering::AcqRel);
    // An NMI is no answer to an instruction.
    if vector < FIRST_INTERRUPT && vector != NMI && fixup(frame) {
        return;
    }
    let handler = HANDLERS[(vector & 0xff) as usize].load(Ordering::Acquire);
    if !handler.is_null() {
        // SAFETY: only `set_handler` stores here, and it stores functions of this type.
        let handler: Handler = unsafe { core::mem::transmute(handler) };
        return handler(frame);
    }
    let Frame { error, rip, rsp, cs, .. } = *frame;
    panic!(
        "unexpected exception {vector} error {error:#x} cs {cs:#x} rip {rip:#x} rsp {rsp:#x} cr2 {:#x}",
        cr2()
    );
}

/// Goes on behind an instruction that may fault, with the fault in R8 and R9.
fn fixup(frame: &mut Frame) -> bool {
    unsafe extern "C" {
        static guest_fixup_start: [u64; 2];
        static guest_fixup_end: [u64; 2];
    }
    let (start, end) = ((&raw const guest_fixup_start) as usize, (&raw const guest_fixup_end) as usize);
    let count = (end - start) / size_of::<[u64; 2]>();
    // SAFETY: the linker script puts the pairs of `guarded!` between the two symbols.
    let table = unsafe { core::slice::from_raw_parts(&raw const guest_fixup_start, count) };
    // A trap is raised behind its instruction.
    let Some([_, resume]) = table.iter().find(|[from, to]| (*from..=*to).contains(&frame.rip)) else {
        return false;
    };
    frame.r8 = Fault::HAPPENED | frame.vector << 32 | frame.error & 0xffff_ffff;
    frame.r9 = cr2();
    frame.rip = *resume;
    true
}

fn cr2() -> u64 {
    let value;
    // SAFETY: a read.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Lets interrupts in.
pub fn enable() {
    // SAFETY: every vector has a gate.
    unsafe { asm!("sti", options(nostack)) };
}

/// Keeps interrupts out.
pub fn disable() {
    // SAFETY: as it says.
    unsafe { asm!("cli", options(nostack)) };
}

/// Lets interrupts in and waits for one, without losing one in between; then keeps them out.
pub fn wait() {
    // SAFETY: every vector has a gate; STI takes effect behind the next instruction.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Whether interrupts come in.
pub(crate) fn are_enabled() -> bool {
    let flags: u64;
    // SAFETY: a read of the flags by the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags & 1 << 9 != 0
}

/// Runs `function` with interrupts off, and leaves them as they were.
pub fn without_interrupts<T>(function: impl FnOnce() -> T) -> T {
    let enabled = are_enabled();
    disable();
    let result = function();
    if enabled {
        enable();
    }
    result
}
