//! First instructions on the boot CPU: from 32-bit protected mode without
//! paging to 64-bit Rust.
//!
//! On entry (Multiboot2 Specification, "I386 state"): EAX = magic, EBX =
//! physical address of the boot information, paging off, no stack.
//!
//! Early page tables, all in `.bss`:
//!
//! ```text
//!   PML4[0]   -> PDPT low  [0..4] -> 4 page directories   0..4 GiB identity, 2-MiB pages
//!   PML4[511] -> PDPT high [510]  -> 1 page directory     image, 1 GiB window, 2-MiB pages
//! ```
//!
//! They are writable and executable throughout, and gone as soon as the
//! hypervisor has built its own.

use core::arch::global_asm;
use core::ops::Range;

use crate::layout::IMAGE_BASE;

/// Bytes of the stack on which the boot CPU builds its page tables. In `.bss`.
const BOOT_STACK_SIZE: usize = 64 * 1024;

/// Bytes of the stack for exceptions until the boot CPU has its own stacks.
const INTERRUPT_STACK_SIZE: usize = 16 * 1024;

global_asm!(
    r#"
    .pushsection .text.boot, "ax", @progbits
    .code32
    .global boot_start
boot_start:
    cli
    cld
    mov     esp, eax                    # no stack yet: ESP and EBP carry values
    rdtsc                               # the clock that the boot figure starts from
    mov     esi, eax
    mov     edi, edx
    cmp     esp, 0x36d76289             # loaded by multiboot2?
    jne     boot_halt

    # Find the load base address (tag 21) to learn how far we were moved.
    lea     eax, [ebx + 8]
1:  mov     edx, [eax]
    test    edx, edx
    jz      2f                          # end tag: not moved
    cmp     edx, 21
    je      3f
    mov     edx, [eax + 4]
    cmp     edx, 8
    jb      2f                          # no tag is that short: look no further
    add     edx, 7
    and     edx, ~7
    add     eax, edx
    jmp     1b
2:  xor     ebp, ebp
    jmp     4f
3:  mov     ebp, [eax + 8]
    sub     ebp, offset image_start - {image_base}
4:
    # EBP = delta from link address to load address, for the rest of this file.
    mov     [ebp + BOOT_LOAD_DELTA - {image_base}], ebp
    mov     [ebp + boot_tsc - {image_base}], esi
    mov     [ebp + boot_tsc - {image_base} + 4], edi
    lea     esp, [ebp + boot_stack_end - {image_base}]

    # Long mode? (SDM "CPUID", leaf 80000001H, EDX bit 29)
    push    ebx
    mov     eax, 0x80000000
    cpuid
    cmp     eax, 0x80000001
    jb      boot_no_long_mode
    mov     eax, 0x80000001
    cpuid
    bt      edx, 29
    jnc     boot_no_long_mode
    pop     ebx

    # Page directories of the identity map: 4 x 512 entries of 2 MiB.
    lea     edi, [ebp + boot_pd_low - {image_base}]
    mov     eax, 0x83                   # present, writable, 2 MiB
    mov     ecx, 4 * 512
5:  mov     [edi], eax
    mov     dword ptr [edi + 4], 0
    add     edi, 8
    add     eax, 0x200000
    loop    5b

    lea     edi, [ebp + boot_pdpt_low - {image_base}]
    lea     eax, [ebp + boot_pd_low - {image_base} + 3]
    mov     ecx, 4
6:  mov     [edi], eax
    add     edi, 8
    add     eax, 0x1000
    loop    6b

    # Page directory of the image window: IMAGE_BASE + x -> delta + x.
    lea     edi, [ebp + boot_pd_image - {image_base}]
    lea     eax, [ebp + 0x83]
    mov     ecx, 512
7:  mov     [edi], eax
    add     edi, 8
    add     eax, 0x200000
    loop    7b

    lea     eax, [ebp + boot_pd_image - {image_base} + 3]
    mov     [ebp + boot_pdpt_high - {image_base} + 510 * 8], eax
    lea     eax, [ebp + boot_pdpt_low - {image_base} + 3]
    mov     [ebp + boot_pml4 - {image_base}], eax
    lea     eax, [ebp + boot_pdpt_high - {image_base} + 3]
    mov     [ebp + boot_pml4 - {image_base} + 511 * 8], eax

    # SDM "Initializing IA-32e Mode": PAE, CR3, LME, then paging. PAE alone:
    # firmware with 5-level paging may have left LA57 on.
    mov     eax, 1 << 5
    mov     cr4, eax
    lea     eax, [ebp + boot_pml4 - {image_base}]
    mov     cr3, eax
    mov     ecx, 0xc0000080             # IA32_EFER
    rdmsr
    or      eax, 1 << 8                 # LME
    wrmsr
    mov     eax, cr0
    or      eax, (1 << 31) | (1 << 16) | 1  # PG, WP, PE
    mov     cr0, eax

    lea     eax, [ebp + boot_gdt - {image_base}]
    mov     [ebp + boot_gdt_pointer - {image_base} + 2], eax
    lgdt    [ebp + boot_gdt_pointer - {image_base}]
    lea     eax, [ebp + boot_start64 - {image_base}]
    push    8
    push    eax
    retf

# Say so on COM1 and on the screen, and stop: there is no 64-bit code to run.
boot_no_long_mode:
    lea     esi, [ebp + boot_no_long_mode_text - {image_base}]
    mov     edi, 0xb8000
    mov     ah, 0x4f
8:  lodsb
    test    al, al
    jz      boot_halt
    stosw
    mov     bl, al
    mov     dx, 0x3fd
9:  in      al, dx
    test    al, 0x20
    jz      9b
    mov     dx, 0x3f8
    mov     al, bl
    out     dx, al
    jmp     8b

boot_halt:
    hlt
    jmp     boot_halt

    .code64
boot_start64:
    xor     eax, eax
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    mov     fs, eax
    mov     gs, eax
    mov     edi, ebx                    # boot information
    mov     rsi, [rip + boot_tsc]
    movabs  rax, offset boot_start_high
    jmp     rax
boot_start_high:
    movabs  rsp, offset boot_stack_end
    xor     ebp, ebp                    # back traces end here
    call    {boot_main}
    ud2
    .popsection

    .pushsection .rodata.boot, "a", @progbits
boot_no_long_mode_text:
    .asciz  "Kigumi: this CPU has no 64-bit mode; it cannot run here. Halted.\r\n"
    .popsection

    .pushsection .data.boot, "aw", @progbits
    .balign 8
boot_gdt:
    .quad   0
    .quad   0x00af9b000000ffff          # 64-bit code
boot_gdt_pointer:
    .short  15
    .long   0
    .balign 8
boot_tsc:
    .quad   0
    .popsection

    .pushsection .bss.boot, "aw", @nobits
    .balign 4096
boot_pml4:      .skip 4096
boot_pdpt_low:  .skip 4096
boot_pdpt_high: .skip 4096
boot_pd_low:    .skip 4 * 4096
boot_pd_image:  .skip 4096
boot_stack:     .skip {stack_size}
boot_stack_end:
                .skip {interrupt_stack_size}
boot_interrupt_stack_end:
    .popsection
"#,
    image_base = const IMAGE_BASE,
    stack_size = const BOOT_STACK_SIZE,
    interrupt_stack_size = const INTERRUPT_STACK_SIZE,
    boot_main = sym boot_main,
);

/// Addresses of the two stacks that are used during the boot, the one for
/// exceptions behind the other.
#[must_use]
pub fn boot_stacks() -> Range<u64> {
    unsafe extern "C" {
        static boot_stack: u8;
        static boot_interrupt_stack_end: u8;
    }
    (&raw const boot_stack) as u64..(&raw const boot_interrupt_stack_end) as u64
}

/// First Rust code: turns the loader's data into ours and calls the hypervisor,
/// which defines `kigumi_main` by `hv_arch::entry!`.
extern "C" fn boot_main(mbi: u64, entry_tsc: u64) -> ! {
    unsafe extern "Rust" {
        safe fn kigumi_main(info: &'static hv_core::boot_info::BootInfo) -> !;
    }
    // SAFETY: called once, by the entry code above, with the address that the
    // loader gave; the first 4 GiB are mapped at their own addresses.
    let info = unsafe { crate::mbi::boot_info(mbi, entry_tsc) };
    kigumi_main(info)
}
