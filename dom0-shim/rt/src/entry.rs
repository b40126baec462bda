//! First instructions: PVH entry (32-bit, paging off, EBX = start info; Xen's
//! `docs/misc/pvh`) to 64-bit Rust.
//!
//! ```text
//!   PML4[0] -> PDPT[0..4] -> 4 page directories: 4 GiB identity, 2-MiB pages
//! ```

use core::arch::global_asm;

use xen_abi::elfnote;

use crate::boot::{self, Boot};
use crate::{console, heap, hypercall, segments, smp, trap};

global_asm!(
    r#"
    .pushsection .note.Xen, "a", @note
    .balign 4
    .long   4                               # name size
    .long   8                               # descriptor size
    .long   {phys32_entry}
    .asciz  "Xen"
    .quad   guest_start
    .popsection

    .pushsection .text.start, "ax", @progbits
    .code32
    .global guest_start
guest_start:
    cld
    mov     esp, offset guest_stack_end

    mov     edi, offset guest_pd
    mov     eax, 0x83                       # present, writable, 2 MiB
    mov     ecx, 4 * 512
1:  mov     [edi], eax
    add     edi, 8
    add     eax, 0x200000
    loop    1b
    mov     edi, offset guest_pdpt
    mov     eax, offset guest_pd + 3
    mov     ecx, 4
2:  mov     [edi], eax
    add     edi, 8
    add     eax, 0x1000
    loop    2b
    mov     eax, offset guest_pdpt + 3
    mov     [guest_pml4], eax

    mov     eax, cr4
    or      eax, 1 << 5                     # PAE
    mov     cr4, eax
    mov     eax, offset guest_pml4
    mov     cr3, eax
    mov     ecx, 0xc0000080                 # EFER
    rdmsr
    or      eax, 1 << 8                     # LME
    wrmsr
    mov     eax, cr0
    or      eax, (1 << 31) | (1 << 16) | 1  # PG, WP, PE
    mov     cr0, eax
    lgdt    [guest_gdt_pointer]
    push    8
    mov     eax, offset guest_start64
    push    eax
    retf

    .code64
guest_start64:
    xor     eax, eax
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    mov     fs, eax
    mov     gs, eax
    mov     edi, ebx
    mov     rsp, offset guest_stack_end
    xor     ebp, ebp
    call    {start}
    ud2
    .popsection

    .pushsection .rodata.start, "a", @progbits
    .balign 8
guest_gdt:
    .quad   0
    .quad   0x00af9b000000ffff              # 64-bit code
guest_gdt_pointer:
    .short  15
    .long   guest_gdt
    .popsection

    .pushsection .bss.start, "aw", @nobits
    .balign {stack_size}                    # its base tells the vcpu's number: 0
guest_stack:    .skip {stack_size}
guest_stack_end:
    .balign 4096
    .global guest_pml4
guest_pml4:     .skip 4096
guest_pdpt:     .skip 4096
guest_pd:       .skip 4 * 4096
    .popsection
"#,
    phys32_entry = const elfnote::PHYS32_ENTRY,
    stack_size = const smp::STACK_SIZE,
    start = sym start,
);

extern "C" fn start(start_info: u64) -> ! {
    unsafe extern "Rust" {
        safe fn guest_main(boot: &'static Boot) -> !;
    }
    hypercall::init();
    let boot = boot::init(start_info);
    heap::init(boot);
    segments::load(0);
    trap::init();
    console::init(boot);
    guest_main(boot)
}
