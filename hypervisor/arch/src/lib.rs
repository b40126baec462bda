//! Everything that the hypervisor asks of the CPU and the board.
//!
//! This crate and `hv-boot` hold all of the hypervisor's `unsafe`. What they
//! offer is safe to call with any argument, unless it says otherwise; the
//! exceptions are documented invariants of the machine:
//!
//! - code runs in ring 0, one thread on each pcpu, with interrupts off except in
//!   the idle loop ([`idle`]) and where it takes those that wait ([`take_interrupts`]);
//! - the frame allocator alone decides what RAM is used for ([`frames`]);
//! - firmware tables tell the truth about where device registers are.
//!
//! | module | what |
//! |---|---|
//! | [`memory`], [`frames`], [`heap`] | address space, frames, Rust heap |
//! | [`percpu`], [`sync`] | data of one pcpu, locks |
//! | [`trap`], [`apic`], [`ioapic`], [`ipi`] | exceptions and interrupts |
//! | [`cpu`], [`msr`], [`time`], [`vmx`] | the CPU |
//! | [`smp`] | starting pcpus |
//! | [`vcpu`], [`apic_page`] | the switch into and out of a guest, the page of a vcpu's local APIC |
//! | [`confines`] | what a guest reaches: memory, ports, MSRs |
//! | [`serial`], [`screen`], [`rtc`], [`pci`], [`power`] | the board |
//! | [`backtrace`] | return addresses, for crash reports |
//! | `bitmaps`, `vpid` | bitmaps of ports and MSRs, tags of cached translations |
//! | `descriptors`, `extended`, `register` | GDT, TSS and IDT; XSAVE state; registers that ACPI names |

#![no_std]

extern crate alloc;

pub mod apic;
pub mod apic_page;
pub mod backtrace;
mod bitmaps;
pub mod confines;
pub mod cpu;
mod descriptors;
mod extended;
pub mod frames;
pub mod heap;
pub mod ioapic;
pub mod ipi;
pub mod memory;
pub mod msr;
pub mod pci;
pub mod percpu;
pub mod power;
mod register;
pub mod rtc;
pub mod screen;
pub mod serial;
pub mod smp;
pub mod sync;
pub mod time;
pub mod trap;
pub mod vcpu;
pub mod vmx;
mod vpid;

use hv_core::boot_info::BootInfo;

/// Names the hypervisor's main function: `fn(&'static BootInfo) -> !`.
///
/// It runs on the boot CPU, on the boot stack, with interrupts off, under the
/// boot code's page tables, with exceptions and per-CPU data ready.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            extern "Rust" fn kigumi_main(info: &'static $crate::BootInfoArgument) -> ! {
                let main: fn(&'static $crate::BootInfoArgument) -> ! = $main;
                $crate::start(info, main)
            }
        };
    };
}

#[doc(hidden)]
pub type BootInfoArgument = BootInfo;

/// Prepares the boot CPU and calls `main`; for [`entry!`] only.
///
/// # Panics
///
/// If called twice.
#[doc(hidden)]
pub fn start(info: &'static BootInfo, main: fn(&'static BootInfo) -> !) -> ! {
    use core::sync::atomic::{AtomicBool, Ordering};
    static STARTED: AtomicBool = AtomicBool::new(false);
    assert!(!STARTED.swap(true, Ordering::AcqRel), "started twice");
    // SAFETY: the boot code calls this once, on the boot CPU, before all else.
    unsafe { smp::install_boot_cpu() };
    main(info)
}

/// Handles the interrupts that are pending, and does not wait for one.
pub fn take_interrupts() {
    x86_64::instructions::interrupts::enable();
    // SDM "STI": interrupts are recognized after the instruction behind it.
    cpu::relax();
    x86_64::instructions::interrupts::disable();
}

/// Waits for an interrupt and handles it, unless `busy` says that there is work:
/// it is asked with interrupts off, so none slips in between.
pub fn idle(busy: impl FnOnce() -> bool) {
    if !busy() {
        cpu::enable_and_hlt();
        x86_64::instructions::interrupts::disable();
    }
}
