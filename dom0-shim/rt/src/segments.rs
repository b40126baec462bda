//! Descriptor tables of each vcpu (SDM "Segment Descriptors", "64-Bit Mode Task Management").
//!
//! ```text
//!   selector   0  8     10    18|3       20|3       28
//!              -  code  data  user data  user code  TSS (two entries)
//! ```

use alloc::boxed::Box;
use core::arch::asm;

use crate::smp::STACK_SIZE;

/// Selector of the kernel's code.
pub const KERNEL_CODE: u16 = 0x08;
/// Selector of the kernel's data.
pub const KERNEL_DATA: u16 = 0x10;
/// Selector of user data.
pub const USER_DATA: u16 = 0x18 | 3;
/// Selector of user code.
pub const USER_CODE: u16 = 0x20 | 3;
const TSS: u16 = 0x28;

/// Interrupt stack of what can come on a broken stack: #DF, and NMI.
pub(crate) const FAULT_STACK: u8 = 1;

#[repr(C, packed(4))]
struct TaskState {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}

#[repr(C, align(16))]
struct Tables {
    gdt: [u64; 7],
    tss: TaskState,
}

/// Operand of LGDT and LIDT.
#[repr(C, packed)]
pub(crate) struct Pointer {
    limit: u16,
    base: u64,
}

impl Pointer {
    /// To a table that lives for ever.
    pub(crate) fn to<T>(table: &'static T) -> Self {
        Self { limit: last_byte::<T>(), base: core::ptr::from_ref(table) as u64 }
    }
}

const fn last_byte<T>() -> u16 {
    const { assert!(size_of::<T>() > 0 && size_of::<T>() <= 1 << 16) };
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    {
        (size_of::<T>() - 1) as u16
    }
}

/// Gives this vcpu, whose number is `index`, tables of its own.
pub(crate) fn load(index: u32) {
    let fault_stack = Box::leak(Box::new([0_u64; 1024])).as_ptr_range().end as u64;
    let user_trap_stack = Box::leak(Box::new([0_u64; 1024])).as_ptr_range().end as u64;
    let tables = Box::leak(Box::new(Tables {
        gdt: [0; 7],
        tss: TaskState {
            reserved0: 0,
            rsp: [user_trap_stack & !15, 0, 0],
            reserved1: 0,
            ist: [fault_stack & !15, 0, 0, 0, 0, 0, 0],
            reserved2: 0,
            reserved3: 0,
            io_map: last_byte::<TaskState>() + 1,
        },
    }));
    let tss = (&raw const tables.tss) as u64;
    tables.gdt = descriptors(tss);
    let pointer = Pointer::to(&tables.gdt);
    debug_assert!(stack_base().is_multiple_of(STACK_SIZE as u64), "vcpu {index}");
    // SAFETY: the tables live for ever; code and data descriptors are those that are
    // in use already. A vcpu that a hypercall started has selectors of 0, to which no
    // interrupt returns.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "ltr {tss:x}",
            "mov {tmp:e}, {data}",
            "mov ss, {tmp:e}",
            "push {code}",
            "lea {tmp}, [rip + 2f]",
            "push {tmp}",
            "retfq",
            "2:",
            pointer = in(reg) &raw const pointer,
            tss = in(reg) TSS,
            data = const KERNEL_DATA,
            code = const KERNEL_CODE,
            tmp = out(reg) _,
        );
    }
}

fn descriptors(tss: u64) -> [u64; 7] {
    const CODE: u64 = 0x00af_9b00_0000_ffff;
    const DATA: u64 = 0x00cf_9300_0000_ffff;
    const DPL3: u64 = 3 << 45;
    // Type 9, available 64-bit TSS, present.
    let low = (size_of::<TaskState>() as u64 - 1) | (tss & 0xff_ffff) << 16 | 0x89 << 40;
    let low = low | (tss >> 24 & 0xff) << 56;
    [0, CODE, DATA, DATA | DPL3, CODE | DPL3, low, tss >> 32]
}

fn stack_base() -> u64 {
    crate::smp::stack_base()
}
