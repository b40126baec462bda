//! The multiboot2 header: what we ask the boot loader for.
//!
//! Numbers are those of the Multiboot2 Specification, section "OS image
//! format". Every tag is padded to 8 bytes.

use core::arch::global_asm;

global_asm!(
    r#"
    .pushsection .multiboot2, "a", @progbits
    .balign 8
    .global multiboot2_header
multiboot2_header:
    .long   0xe85250d6                              # magic
    .long   0                                       # architecture: i386, 32-bit entry
    .long   multiboot2_header_end - multiboot2_header
    .long   -(0xe85250d6 + 0 + (multiboot2_header_end - multiboot2_header))

    # Information request, optional: module alignment and so on have tags of
    # their own; these are what BootInfo is made of.
    .balign 8
    .short  1, 1
    .long   8 + 8 * 4
    .long   1                                       # command line
    .long   2                                       # loader's name
    .long   3                                       # modules
    .long   6                                       # memory map
    .long   8                                       # frame buffer
    .long   9                                       # ELF symbols
    .long   14                                      # RSDP, ACPI 1.0
    .long   15                                      # RSDP, ACPI 2.0

    # Entry point, physical: e_entry is a virtual address.
    .balign 8
    .short  3, 0
    .long   12
    .long   boot_start - {image_base}

    # Any display mode will do, none is needed.
    .balign 8
    .short  5, 1
    .long   20
    .long   0, 0, 0

    # Modules start on a page.
    .balign 8
    .short  6, 0
    .long   8

    # We run at any 2-MiB boundary below 2 GiB. The highest, so that low memory
    # stays free for Dom0, which has RAM at its real addresses.
    .balign 8
    .short  10, 0
    .long   24
    .long   0x00200000                              # lowest address
    .long   0x7fffffff                              # highest address
    .long   0x00200000                              # alignment
    .long   2                                       # preference: highest

    .balign 8
    .short  0, 0
    .long   8
multiboot2_header_end:
    .popsection
"#,
    image_base = const crate::layout::IMAGE_BASE,
);
