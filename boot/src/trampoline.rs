//! First instructions of every other CPU: from 16-bit real mode to a 64-bit
//! entry point of the hypervisor.
//!
//! A start-up IPI names a 4-KiB page below 1 MiB; the CPU begins at its first
//! byte with CS = page number << 8. The code is copied there. It runs wherever
//! it lies: real-mode addresses are relative to CS, later ones are patched
//! by [`page`].
//!
//! ```text
//!   page + 0     code
//!        + 0x800 parameters: CR3, 64-bit entry point, number of CPUs,
//!                table of APIC ids, table of stacks
//! ```

use core::arch::global_asm;
use core::mem::offset_of;
use core::slice;

use hv_core::addr::{PAGE_LEN, PAGE_SIZE};

/// Offset of [`Parameters`] in the page.
const PARAMETERS: usize = 0x800;

/// What the starting CPUs need to know. All addresses but `cr3` are virtual, in
/// the page tables that `cr3` names.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Parameters {
    /// Physical address of a PML4 below 4 GiB that maps the trampoline's page at
    /// its own address, and the hypervisor.
    pub cr3: u64,
    /// `extern "C" fn(index: usize) -> !`: entry point for CPU `apic_ids[index]`.
    pub entry: u64,
    /// `[u32]`: APIC ids of the CPUs that may start.
    pub apic_ids: u64,
    /// `[u64]`: initial stack pointers in the same order, each 16-byte aligned.
    pub stacks: u64,
    /// Length of both tables.
    pub count: u64,
    /// From here on filled in by [`page`].
    gdt_limit: u16,
    gdt_base: [u8; 4],
    far32_offset: [u8; 4],
    far32_selector: u16,
    far64_offset: [u8; 4],
    far64_selector: u16,
    reserved: [u8; 6],
}

impl Parameters {
    /// Parameters for `count` CPUs; see the fields.
    #[must_use]
    pub const fn new(cr3: u64, entry: u64, apic_ids: u64, stacks: u64, count: u64) -> Self {
        Self {
            cr3,
            entry,
            apic_ids,
            stacks,
            count,
            gdt_limit: 0,
            gdt_base: [0; 4],
            far32_offset: [0; 4],
            far32_selector: 0,
            far64_offset: [0; 4],
            far64_selector: 0,
            reserved: [0; 6],
        }
    }

    fn bytes(&self) -> [u8; size_of::<Self>()] {
        let mut out = [0; size_of::<Self>()];
        let mut put = |offset: usize, bytes: &[u8]| out[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(offset_of!(Self, cr3), &self.cr3.to_le_bytes());
        put(offset_of!(Self, entry), &self.entry.to_le_bytes());
        put(offset_of!(Self, apic_ids), &self.apic_ids.to_le_bytes());
        put(offset_of!(Self, stacks), &self.stacks.to_le_bytes());
        put(offset_of!(Self, count), &self.count.to_le_bytes());
        put(offset_of!(Self, gdt_limit), &self.gdt_limit.to_le_bytes());
        put(offset_of!(Self, gdt_base), &self.gdt_base);
        put(offset_of!(Self, far32_offset), &self.far32_offset);
        put(offset_of!(Self, far32_selector), &self.far32_selector.to_le_bytes());
        put(offset_of!(Self, far64_offset), &self.far64_offset);
        put(offset_of!(Self, far64_selector), &self.far64_selector.to_le_bytes());
        out
    }
}

/// Selectors and limit of the GDT below.
const GDT_SELECTOR_CODE32: u16 = 0x08;
const GDT_SELECTOR_CODE64: u16 = 0x18;
const GDT_LIMIT: u16 = 4 * 8 - 1;

unsafe extern "C" {
    static ap_trampoline_start: u8;
    static ap_trampoline_start32: u8;
    static ap_trampoline_start64: u8;
    static ap_trampoline_gdt: u8;
    static ap_trampoline_end: u8;
}

/// Content of the trampoline's page for the physical address `page_address`,
/// below 1 MiB and page-aligned.
///
/// # Panics
///
/// If `page_address` is neither, which only a caller's mistake can cause.
#[must_use]
pub fn page(page_address: u32, parameters: &Parameters) -> [u8; PAGE_LEN] {
    assert!(page_address < 1 << 20 && u64::from(page_address).is_multiple_of(PAGE_SIZE));
    let offset = |symbol: *const u8| symbol.addr() - (&raw const ap_trampoline_start).addr();
    let at = |symbol: *const u8| {
        let offset = u32::try_from(offset(symbol)).expect("the trampoline is smaller than a page");
        (page_address + offset).to_le_bytes()
    };
    let parameters = Parameters {
        gdt_limit: GDT_LIMIT,
        gdt_base: at(&raw const ap_trampoline_gdt),
        far32_offset: at(&raw const ap_trampoline_start32),
        far32_selector: GDT_SELECTOR_CODE32,
        far64_offset: at(&raw const ap_trampoline_start64),
        far64_selector: GDT_SELECTOR_CODE64,
        ..*parameters
    };

    let mut page = [0; PAGE_LEN];
    let code = code();
    page[..code.len()].copy_from_slice(code);
    let bytes = parameters.bytes();
    page[PARAMETERS..PARAMETERS + bytes.len()].copy_from_slice(&bytes);
    page
}

fn code() -> &'static [u8] {
    let start = &raw const ap_trampoline_start;
    let len = (&raw const ap_trampoline_end).addr() - start.addr();
    assert!(len <= PARAMETERS);
    // SAFETY: the two symbols enclose constants of the image, defined below.
    unsafe { slice::from_raw_parts(start, len) }
}

global_asm!(
    r#"
    .pushsection .rodata.trampoline, "a", @progbits
    .balign 16
    .code16
ap_trampoline_start:
    cli
    cld
    mov     ax, cs
    mov     ds, ax
    xor     ebp, ebp
    mov     bp, ax
    shl     ebp, 4                      # EBP = the page's address, from here on
    lgdtd   [{parameters} + {gdt_pointer}]
    mov     eax, cr0
    or      al, 1                       # PE
    and     eax, 0x9fffffff             # CD, NW off: INIT leaves caches disabled
    mov     cr0, eax
    jmp     fword ptr [{parameters} + {far32}]

    .code32
ap_trampoline_start32:
    mov     ax, 0x10
    mov     ds, ax
    mov     ss, ax
    # SDM "Initializing IA-32e Mode": PAE, CR3, LME, then paging.
    mov     eax, 1 << 5
    mov     cr4, eax
    mov     eax, [ebp + {parameters} + {cr3}]
    mov     cr3, eax
    # EFER.NXE before the first use of tables that have NX entries.
    mov     eax, 0x80000001
    cpuid
    mov     esi, edx
    mov     ecx, 0xc0000080
    rdmsr
    or      eax, 1 << 8                 # LME
    bt      esi, 20
    jnc     1f
    or      eax, 1 << 11                # NXE
1:  wrmsr
    mov     eax, cr0
    or      eax, (1 << 31) | (1 << 16)  # PG, WP
    mov     cr0, eax
    jmp     fword ptr [ebp + {parameters} + {far64}]

    .code64
ap_trampoline_start64:
    # Which CPU is this? (SDM "CPUID", leaves 0BH and 01H)
    xor     eax, eax
    cpuid
    cmp     eax, 0xb
    jb      2f
    mov     eax, 0xb
    xor     ecx, ecx
    cpuid
    test    ebx, ebx
    jnz     3f
2:  mov     eax, 1
    cpuid
    shr     ebx, 24
    mov     edx, ebx
3:  mov     rsi, [rbp + {parameters} + {apic_ids}]
    mov     rcx, [rbp + {parameters} + {count}]
    xor     edi, edi
4:  cmp     rdi, rcx
    jae     5f
    cmp     [rsi + rdi * 4], edx
    je      6f
    inc     rdi
    jmp     4b
    # Not on the list: nobody waits for this one.
5:  hlt
    jmp     5b

6:  mov     rax, [rbp + {parameters} + {stacks}]
    mov     rsp, [rax + rdi * 8]
    mov     rax, [rbp + {parameters} + {entry}]
    xor     ebp, ebp                    # back traces end here
    call    rax
    ud2

    .balign 8
ap_trampoline_gdt:
    .quad   0
    .quad   0x00cf9b000000ffff          # 32-bit code
    .quad   0x00cf93000000ffff          # data
    .quad   0x00af9b000000ffff          # 64-bit code
ap_trampoline_end:
    .popsection
"#,
    parameters = const PARAMETERS,
    gdt_pointer = const offset_of!(Parameters, gdt_limit),
    far32 = const offset_of!(Parameters, far32_offset),
    far64 = const offset_of!(Parameters, far64_offset),
    cr3 = const offset_of!(Parameters, cr3),
    entry = const offset_of!(Parameters, entry),
    apic_ids = const offset_of!(Parameters, apic_ids),
    stacks = const offset_of!(Parameters, stacks),
    count = const offset_of!(Parameters, count),
);
