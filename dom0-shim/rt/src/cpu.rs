//! Instructions that a hypervisor answers, each as a function that returns the fault
//! it raises.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, CpuidResult};

use crate::heap;
use crate::paging::Page;
use crate::trap::Fault;

/// Runs one instruction that may fault: the trap handler goes on behind it, and says
/// in R8 and R9 what happened.
macro_rules! guarded {
    ($code:literal $(, $($operands:tt)*)?) => {{
        let (word, address): (u64, u64);
        asm!(
            "xor r8d, r8d",
            "771:",
            $code,
            "772:",
            ".pushsection .fixup, \"a\", @progbits",
            ".balign 8",
            ".quad 771b, 772b",
            ".popsection",
            $($($operands)*,)?
            out("r8") word,
            out("r9") address,
        );
        match Fault::decode(word, address) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }};
}

/// What an instruction that may fault does.
pub type Outcome<T = ()> = Result<T, Fault>;

/// CPUID.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// RDTSC, in order with what stands around it.
#[must_use]
pub fn rdtsc() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: a read.
    unsafe { asm!("lfence", "rdtsc", "lfence", out("eax") low, out("edx") high, options(nostack)) };
    high << 32 | low
}

/// RDRAND: a random number, where the CPU has a source of them that delivers.
#[must_use]
pub fn rdrand() -> Option<u64> {
    /// Tries after which the source counts as broken (SDM "Random Number Generator
    /// Instructions").
    const TRIES: u32 = 10;
    const ECX_RDRAND: u32 = 1 << 30;
    if cpuid(1, 0).ecx & ECX_RDRAND == 0 {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let (value, valid): (u64, u8);
        // SAFETY: the CPU has the instruction.
        unsafe { asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) valid, options(nomem, nostack)) };
        (valid != 0).then_some(value)
    })
}

/// PAUSE.
pub fn relax() {
    core::hint::spin_loop();
}

/// RDMSR.
///
/// # Errors
///
/// The fault it raised.
pub fn rdmsr(msr: u32) -> Outcome<u64> {
    let (low, high): (u64, u64);
    // SAFETY: a read.
    unsafe { guarded!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high) }.map(|()| high << 32 | low)
}

/// WRMSR. Not for the hypercall page's register with a place where the kernel lives.
///
/// # Errors
///
/// The fault it raised.
///
/// # Panics
///
/// When the hypervisor would overwrite the kernel.
pub fn wrmsr(msr: u32, value: u64) -> Outcome {
    const HYPERCALL_PAGES: core::ops::Range<u32> = 0x4000_0000..0x4000_1000;
    let ours = (0..heap::end()).contains(&value);
    assert!(!(HYPERCALL_PAGES.contains(&msr) && ours), "the hypercall page would overwrite the kernel");
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: no other register changes which memory the kernel sees: paging stays on
    // whatever EFER is told, no segment base or system call is in use.
    unsafe { guarded!("wrmsr", in("ecx") msr, in("eax") low, in("edx") high) }
}

/// IN from a byte's port.
///
/// # Errors
///
/// The fault it raised.
pub fn inb(port: u16) -> Outcome<u8> {
    let value: u8;
    // SAFETY: devices of small kernels do not write to memory.
    unsafe { guarded!("in al, dx", in("dx") port, out("al") value) }.map(|()| value)
}

/// IN from a word's port.
///
/// # Errors
///
/// The fault it raised.
pub fn inw(port: u16) -> Outcome<u16> {
    let value: u16;
    // SAFETY: as for `inb`.
    unsafe { guarded!("in ax, dx", in("dx") port, out("ax") value) }.map(|()| value)
}

/// IN from a doubleword's port.
///
/// # Errors
///
/// The fault it raised.
pub fn inl(port: u16) -> Outcome<u32> {
    let value: u32;
    // SAFETY: as for `inb`.
    unsafe { guarded!("in eax, dx", in("dx") port, out("eax") value) }.map(|()| value)
}

/// OUT to a byte's port.
///
/// # Errors
///
/// The fault it raised.
pub fn outb(port: u16, value: u8) -> Outcome {
    // SAFETY: as for `inb`.
    unsafe { guarded!("out dx, al", in("dx") port, in("al") value) }
}

/// OUT to a word's port.
///
/// # Errors
///
/// The fault it raised.
pub fn outw(port: u16, value: u16) -> Outcome {
    // SAFETY: as for `inb`.
    unsafe { guarded!("out dx, ax", in("dx") port, in("ax") value) }
}

/// OUT to a doubleword's port.
///
/// # Errors
///
/// The fault it raised.
pub fn outl(port: u16, value: u32) -> Outcome {
    // SAFETY: as for `inb`.
    unsafe { guarded!("out dx, eax", in("dx") port, in("eax") value) }
}

/// REP INSB: `to.len()` bytes from a port.
///
/// # Errors
///
/// The fault it raised.
pub fn insb(port: u16, to: &mut [u8]) -> Outcome {
    // SAFETY: no more than the slice is written.
    unsafe {
        guarded!("rep insb", in("dx") port, inout("rcx") to.len() => _, inout("rdi") to.as_mut_ptr() => _)
    }
}

/// REP OUTSB: the bytes of `from` to a port.
///
/// # Errors
///
/// The fault it raised.
pub fn outsb(port: u16, from: &[u8]) -> Outcome {
    // SAFETY: the slice is only read.
    unsafe {
        guarded!("rep outsb", in("dx") port, inout("rcx") from.len() => _, inout("rsi") from.as_ptr() => _)
    }
}

/// OUTSB: the byte at an address to a port, whatever is there.
///
/// # Errors
///
/// The fault it raised.
pub fn outsb_from(port: u16, address: u64) -> Outcome {
    // SAFETY: memory is only read.
    unsafe { guarded!("outsb", in("dx") port, inout("rsi") address => _) }
}

/// Reads a byte of memory, of a device or of nothing.
///
/// # Errors
///
/// The fault it raised.
pub fn peek_u8(address: u64) -> Outcome<u8> {
    let value: u8;
    // SAFETY: a read; what is not there faults.
    unsafe { guarded!("mov {value}, [{address}]", address = in(reg) address, value = out(reg_byte) value) }
        .map(|()| value)
}

/// Reads a word of memory, of a device or of nothing.
///
/// # Errors
///
/// The fault it raised.
pub fn peek_u16(address: u64) -> Outcome<u16> {
    let value: u16;
    // SAFETY: as for `peek_u8`.
    unsafe { guarded!("mov {value:x}, [{address}]", address = in(reg) address, value = out(reg) value) }
        .map(|()| value)
}

/// Reads a doubleword of memory, of a device or of nothing.
///
/// # Errors
///
/// The fault it raised.
pub fn peek_u32(address: u64) -> Outcome<u32> {
    let value: u32;
    // SAFETY: as for `peek_u8`.
    unsafe { guarded!("mov {value:e}, [{address}]", address = in(reg) address, value = out(reg) value) }
        .map(|()| value)
}

/// Writes a byte where the kernel has no memory: to a device, or to nothing.
///
/// # Errors
///
/// The fault it raised.
///
/// # Panics
///
/// When the kernel would overwrite itself.
pub fn poke_u8(address: u64, value: u8) -> Outcome {
    assert!(!is_ours(address), "the kernel would overwrite itself");
    // SAFETY: nothing of the kernel is there; what is not there faults.
    unsafe { guarded!("mov [{address}], {value}", address = in(reg) address, value = in(reg_byte) value) }
}

/// Writes a word where the kernel has no memory: to a device, or to nothing.
///
/// # Errors
///
/// The fault it raised.
///
/// # Panics
///
/// When the kernel would overwrite itself.
pub fn poke_u16(address: u64, value: u16) -> Outcome {
    assert!(!is_ours(address), "the kernel would overwrite itself");
    // SAFETY: as for `poke_u8`.
    unsafe { guarded!("mov [{address}], {value:x}", address = in(reg) address, value = in(reg) value) }
}

/// Writes a doubleword where the kernel has no memory: to a device, or to nothing.
///
/// # Errors
///
/// The fault it raised.
///
/// # Panics
///
/// When the kernel would overwrite itself.
pub fn poke_u32(address: u64, value: u32) -> Outcome {
    assert!(!is_ours(address), "the kernel would overwrite itself");
    // SAFETY: as for `poke_u8`.
    unsafe { guarded!("mov [{address}], {value:e}", address = in(reg) address, value = in(reg) value) }
}

fn is_ours(address: u64) -> bool {
    (0..heap::end()).contains(&address)
}

/// Writes a byte of a page.
pub(crate) fn write_byte(page: &Page, offset: usize, value: u8) -> Outcome {
    let address = page.address() + (offset % 4096) as u64;
    // SAFETY: the page holds bytes only, and what its owner took away faults.
    unsafe { guarded!("mov [{address}], {value}", address = in(reg) address, value = in(reg_byte) value) }
}

/// Writes an aligned doubleword of a page at once.
pub(crate) fn write_word(page: &Page, offset: usize, value: u32) -> Outcome {
    let address = page.address() + ((offset % 4096) & !3) as u64;
    // SAFETY: as for `write_byte`; aligned, so in the page.
    unsafe { guarded!("mov [{address}], {value:e}", address = in(reg) address, value = in(reg) value) }
}

/// INVLPG.
pub fn invlpg(address: u64) {
    // SAFETY: forgets a translation.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// XGETBV.
///
/// # Errors
///
/// The fault it raised.
pub fn xgetbv(register: u32) -> Outcome<u64> {
    let (low, high): (u64, u64);
    // SAFETY: a read.
    unsafe { guarded!("xgetbv", in("ecx") register, out("eax") low, out("edx") high) }
        .map(|()| high << 32 | low)
}

/// XSETBV.
///
/// # Errors
///
/// The fault it raised.
pub fn xsetbv(register: u32, value: u64) -> Outcome {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the kernel uses no extended state.
    unsafe { guarded!("xsetbv", in("ecx") register, in("eax") low, in("edx") high) }
}

/// Functions for instructions without operands that matter to nobody's memory.
macro_rules! instructions {
    ($($(#[$doc:meta])* $name:ident, $code:literal $(, $operand:tt)*;)*) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// The fault it raised.
        pub fn $name() -> Outcome {
            // SAFETY: it changes no memory of the kernel's, or faults.
            unsafe { guarded!($code, out("rax") _, out("rcx") _, out("rdx") _) }
        }
    )* };
}

instructions! {
    /// UD2.
    ud2, "ud2";
    /// INT3.
    int3, "int3";
    /// VMCALL with number 0xffff in EAX.
    vmcall_unknown, "mov eax, 0xffff
        vmcall";
    /// VMLAUNCH.
    vmlaunch, "vmlaunch";
    /// VMRESUME.
    vmresume, "vmresume";
    /// VMXOFF.
    vmxoff, "vmxoff";
    /// VMXON of the address below the stack.
    vmxon, "vmxon [rsp - 64]";
    /// VMCLEAR of the address below the stack.
    vmclear, "vmclear [rsp - 64]";
    /// VMPTRLD of the address below the stack.
    vmptrld, "vmptrld [rsp - 64]";
    /// VMPTRST below the stack.
    vmptrst, "vmptrst [rsp - 64]";
    /// VMREAD of field 0.
    vmread, "xor ecx, ecx
        vmread rax, rcx";
    /// VMWRITE of field 0.
    vmwrite, "xor ecx, ecx
        vmwrite rcx, rcx";
    /// VMFUNC 0.
    vmfunc, "xor eax, eax
        xor ecx, ecx
        vmfunc";
    /// INVEPT.
    invept, "xor ecx, ecx
        invept rcx, [rsp]";
    /// INVVPID.
    invvpid, "xor ecx, ecx
        invvpid rcx, [rsp]";
    /// GETSEC of leaf 0, CAPABILITIES.
    getsec, "xor eax, eax
        getsec";
    /// RSM.
    rsm, "rsm";
    /// MONITOR of the stack.
    monitor, "mov rax, rsp
        xor ecx, ecx
        xor edx, edx
        monitor";
    /// MWAIT.
    mwait, "xor eax, eax
        xor ecx, ecx
        mwait";
    /// RDPMC of counter 0.
    rdpmc, "xor ecx, ecx
        rdpmc";
    /// RDTSCP.
    rdtscp, "rdtscp";
    /// INVD.
    invd, "invd";
    /// WBINVD.
    wbinvd, "wbinvd";
    /// CLTS.
    clts, "clts";
    /// PAUSE.
    pause, "pause";
    /// SLDT to a register.
    sldt, "sldt eax";
    /// STR to a register.
    str, "str eax";
    /// SMSW to a register.
    smsw, "smsw eax";
    /// LMSW of what SMSW read.
    lmsw, "smsw eax
        lmsw ax";
    /// A read of an address that is not canonical.
    not_canonical, "mov rax, 0x8000000000000000
        mov rax, [rax]";
    /// A division by zero.
    divide_by_zero, "xor edx, edx
        xor ecx, ecx
        mov eax, 1
        div ecx";
    /// A load of a selector beyond the GDT.
    bad_selector, "mov eax, 0x1000
        mov fs, eax";
    /// CR4 with a reserved bit.
    cr4_reserved, "mov rax, cr4
        bts rax, 40
        mov cr4, rax";
    /// CR4 with VMXE.
    cr4_vmxe, "mov rax, cr4
        bts rax, 13
        mov cr4, rax";
    /// CR0 with PG but without PE.
    cr0_paging_unprotected, "mov rax, cr0
        btr rax, 0
        mov cr0, rax";
    /// CR0 with NW but without CD.
    cr0_nw_without_cd, "mov rax, cr0
        bts rax, 29
        mov cr0, rax";
    /// CR0 with a reserved bit in the upper half.
    cr0_reserved, "mov rax, cr0
        bts rax, 40
        mov cr0, rax";
    /// CR8 with a reserved bit.
    cr8_reserved, "mov eax, 16
        mov cr8, rax";
    /// A reserved control register.
    cr1, ".byte 0x0f, 0x20, 0xc8";
    /// CR3 read and written back: all translations are forgotten.
    reload_cr3, "mov rax, cr3
        mov cr3, rax";
    /// DR6 and DR7 read and written back.
    reload_debug, "mov rax, dr6
        mov dr6, rax
        mov rax, dr7
        mov dr7, rax";
    /// DR7 with a bit of the upper half.
    dr7_reserved, "mov rax, dr7
        bts rax, 40
        mov dr7, rax";
    /// FNINIT and a NOP of the FPU.
    fpu, "fninit
        fnop";
}

/// A control register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// CR0.
    Cr0,
    /// CR2.
    Cr2,
    /// CR3.
    Cr3,
    /// CR4.
    Cr4,
    /// CR8: the task priority.
    Cr8,
}

/// Reads a control register.
#[must_use]
pub fn control(register: Control) -> u64 {
    let value: u64;
    macro_rules! read {
        ($code:literal) => {
            // SAFETY: a read.
            unsafe { asm!($code, out(reg) value, options(nomem, nostack, preserves_flags)) }
        };
    }
    match register {
        Control::Cr0 => read!("mov {}, cr0"),
        Control::Cr2 => read!("mov {}, cr2"),
        Control::Cr3 => read!("mov {}, cr3"),
        Control::Cr4 => read!("mov {}, cr4"),
        Control::Cr8 => read!("mov {}, cr8"),
    }
    value
}

/// Sets and clears bits of CR0 that do not concern memory: MP, EM, TS, NE, AM.
pub fn change_cr0(set: u64, clear: u64) {
    const MAY: u64 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 18;
    let value = (control(Control::Cr0) | set & MAY) & !(clear & MAY);
    // SAFETY: paging, protection and caching stay as they are.
    unsafe { asm!("mov cr0, {}", in(reg) value, options(nostack)) };
}

/// Sets and clears bits of CR4 that do not concern memory.
///
/// # Errors
///
/// The fault it raised.
pub fn change_cr4(set: u64, clear: u64) -> Outcome {
    const KEEP: u64 = 1 << 5 | 1 << 12 | 1 << 17;
    let value = (control(Control::Cr4) | set & !KEEP) & !(clear & !KEEP);
    // SAFETY: PAE, 5-level paging and PCIDs stay as they are.
    unsafe { guarded!("mov cr4, {value}", value = in(reg) value) }
}

/// Writes CR2.
pub fn set_cr2(value: u64) {
    // SAFETY: a register that only page faults and the trap handler use.
    unsafe { asm!("mov cr2, {}", in(reg) value, options(nomem, nostack)) };
}

/// Reads DR0.
#[must_use]
pub fn dr0() -> u64 {
    let value: u64;
    // SAFETY: a read.
    unsafe { asm!("mov {}, dr0", out(reg) value, options(nomem, nostack)) };
    value
}

/// Writes DR0: without DR7 it does nothing.
pub fn set_dr0(value: u64) {
    // SAFETY: no breakpoint is enabled.
    unsafe { asm!("mov dr0, {}", in(reg) value, options(nomem, nostack)) };
}

/// Writes CR8, 0 to 15.
pub fn set_cr8(priority: u8) {
    // SAFETY: interrupts of lower priority wait.
    unsafe { asm!("mov cr8, {}", in(reg) u64::from(priority & 15), options(nomem, nostack)) };
}

/// Traps that [`single_step`] is to raise: POPFQ itself raises none.
pub const SINGLE_STEPS: u64 = 7;

/// Runs a few instructions with the trap flag set, among them CPUID.
pub fn single_step() {
    // SAFETY: the handler of #DB decides how it goes on.
    unsafe {
        asm!(
            "mov r9, rbx",
            "pushfq",
            "or qword ptr [rsp], 0x100",
            "popfq",
            "nop",
            "xor eax, eax",
            "cpuid",
            "mov rbx, r9",
            "pushfq",
            "and qword ptr [rsp], ~0x100",
            "popfq",
            out("rax") _,
            out("rcx") _,
            out("rdx") _,
            out("r9") _,
        );
    }
}

/// Writes `value` to an XMM register and returns what it holds after `between`.
///
/// # Errors
///
/// The fault that enabling SSE raised.
pub fn xmm_after(value: u64, between: impl FnOnce()) -> Outcome<u64> {
    const OSFXSR: u64 = 1 << 9;
    change_cr4(OSFXSR, 0)?;
    // SAFETY: the kernel itself uses no SSE register.
    unsafe { asm!("movq xmm7, {}", in(reg) value, options(nomem, nostack)) };
    between();
    let after: u64;
    // SAFETY: as above.
    unsafe { asm!("movq {}, xmm7", out(reg) after, options(nomem, nostack)) };
    Ok(after)
}

/// HLT with interrupts off: only an NMI or the like ends it.
pub fn halt_once() {
    // SAFETY: it waits.
    unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
}

/// STI, NOP, CLI: interrupts that are pending come between the last two. Returns the
/// addresses behind the NOP and behind the CLI.
pub fn interrupt_window() -> (u64, u64) {
    let (behind_nop, behind_cli): (u64, u64);
    // SAFETY: every vector has a gate.
    unsafe {
        asm!(
            "lea {behind_nop}, [rip + 2f]",
            "lea {behind_cli}, [rip + 3f]",
            "sti",
            "nop",
            "2: cli",
            "3:",
            behind_nop = out(reg) behind_nop,
            behind_cli = out(reg) behind_cli,
        );
    }
    (behind_nop, behind_cli)
}

/// UD2, whose handler returns to it, again and again.
pub fn ud2_for_ever() -> ! {
    loop {
        // SAFETY: the exception's handler decides.
        unsafe { asm!("ud2") };
    }
}

/// Waits for ever with interrupts off.
pub fn halt() -> ! {
    loop {
        // SAFETY: it stops.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Ends the domain by a fault that cannot be delivered (SDM "Interrupt 8—Double Fault
/// Exception"): without an interrupt table, nothing can.
pub fn triple_fault() -> ! {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let pointer = Pointer { limit: 0, base: 0 };
    // SAFETY: the domain ends.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const pointer, options(noreturn)) }
}
