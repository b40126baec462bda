//! GDT, TSS and the interrupt stacks of one pcpu; the IDT that all share.
//!
//! ```text
//!   selector 0x08  code, 64-bit, ring 0
//!            0x10  TSS: RSP0 unused, IST1 NMI, IST2 #DF, IST3 #MC
//! ```
//!
//! Data segments are null: 64-bit code in ring 0 needs none.

use core::cell::UnsafeCell;

use spin::Once;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

use crate::trap;

/// Selectors, for the host state of a VMCS.
pub(crate) const CODE_SELECTOR: u16 = 0x08;
pub(crate) const TASK_SELECTOR: u16 = 0x10;

/// Stacks that the CPU switches to by itself (SDM "Interrupt Stack Table").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Ist {
    /// Non-maskable interrupt: may come at any instruction.
    Nmi,
    /// Double fault: the stack may be what failed.
    DoubleFault,
    /// Machine check: may come at any instruction.
    MachineCheck,
}

impl Ist {
    pub(crate) const ALL: [Self; 3] = [Self::Nmi, Self::DoubleFault, Self::MachineCheck];
}

/// Descriptor tables of one pcpu. They live in its area, which never moves.
#[derive(Debug)]
pub(crate) struct Descriptors {
    gdt: UnsafeCell<GlobalDescriptorTable>,
    tss: UnsafeCell<TaskStateSegment>,
}

impl Descriptors {
    pub(crate) const fn new() -> Self {
        Self {
            gdt: UnsafeCell::new(GlobalDescriptorTable::new()),
            tss: UnsafeCell::new(TaskStateSegment::new()),
        }
    }

    /// Fills the tables in and makes this CPU use them, and the shared IDT.
    ///
    /// # Safety
    ///
    /// Called once, by the pcpu that owns the area.
    pub(crate) unsafe fn load(&'static self) {
        // SAFETY: only this call writes the tables, before the CPU sees them.
        let gdt = unsafe { &mut *self.gdt.get() };
        // SAFETY: the TSS is written through `set_ist` only, by this pcpu; the CPU
        // reads it but needs no Rust reference to.
        let tss = unsafe { Descriptor::tss_segment_unchecked(self.tss.get()) };
        let code = gdt.append(Descriptor::kernel_code_segment());
        let task = gdt.append(tss);
        gdt.load();
        assert_eq!((code.0, task.0), (CODE_SELECTOR, TASK_SELECTOR));
        // SAFETY: both selectors were just made in the loaded table.
        unsafe { use_segments(code, task) };
        idt().load();
    }

    /// Address of the TSS, for the host state of a VMCS.
    pub(crate) fn tss_base(&self) -> u64 {
        self.tss.get() as u64
    }

    /// Names the stack for `ist`: `top` is one past its highest byte.
    pub(crate) fn set_ist(&self, ist: Ist, top: VirtAddr) {
        // SAFETY: called by the pcpu that owns the area, or by the boot CPU before
        // that pcpu starts. The CPU reads the field at an interrupt only, not in
        // the middle of this store.
        unsafe { (*self.tss.get()).interrupt_stack_table[ist as usize] = top };
    }
}

/// # Safety
///
/// `code` and `task` select a 64-bit code segment and an available TSS.
unsafe fn use_segments(code: SegmentSelector, task: SegmentSelector) {
    // SAFETY: a 64-bit code segment keeps execution going.
    unsafe { CS::set_reg(code) };
    for set in [DS::set_reg, ES::set_reg, FS::set_reg, SS::set_reg] {
        // SAFETY: null selectors are valid in ring 0 of 64-bit mode.
        unsafe { set(SegmentSelector::NULL) };
    }
    // SAFETY: an available TSS, by the caller.
    unsafe { load_tss(task) };
}

fn idt() -> &'static InterruptDescriptorTable {
    static IDT: Once<InterruptDescriptorTable> = Once::new();
    IDT.call_once(trap::interrupt_descriptor_table)
}
