//! Pure logic of the hypervisor.
//!
//! Nothing here reads a clock, a CPU register or a global: what a function
//! needs comes in as an argument, what should happen goes out as a value.
//! So all of it runs under `cargo test`, proptest and miri on the host.
//!
//! | module | what |
//! |---|---|
//! | [`addr`], [`id`], [`pcpu_set`] | addresses and frame numbers, pcpus and domains, sets of pcpus |
//! | [`multiboot2`], [`boot_info`], [`cmdline`], [`memmap`] | what the loader says, options, memory map |
//! | [`acpi`], [`cmos`] | firmware tables, the battery-backed clock |
//! | [`image`], [`symbols`] | Dom0's kernel, names for back traces |
//! | [`log`], [`console_input`] | the console's ring and levels, who gets what is typed |
//! | [`frame`], [`paging`] | frame table and allocator, the hypervisor's page tables |
//! | [`ept`], [`pt_walk`], [`atomic_page`] | p2m, walks of a guest's page tables, pages shared with a guest |
//! | [`vmx_caps`], [`vmcs`] | what the CPU's VMX can do, fields of the VMCS |
//! | [`exit`], [`event`] | VM exits decoded, what is injected next |
//! | [`gpr`], [`vcpu_state`] | registers of a vcpu |
//! | [`cpuid`], [`msr`], [`msr_policy`] | what a domain's CPU is |
//! | [`insn`] | instructions that touch device memory |
//! | [`vlapic`], [`vioapic`], [`vpic`], [`vpit`], [`vpmtimer`], [`vrtc`] | models of devices |
//! | [`passthrough`] | interrupts of the machine's devices for a virtual I/O APIC |
//! | [`rate`], [`pvclock`], [`runstate`] | clocks, accounts of time |
//! | [`vtimer`], [`watchdog`], [`heap`] | timers by hypercall, watchdogs, which is due first |
//! | [`credit`] | the scheduler: which vcpu runs where and for how long |
//! | [`evtchn`], [`gnttab`] | event channels, grant tables |
//! | [`sync`] | atomics, which loom replaces in its tests |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod addr;
pub mod atomic_page;
pub mod boot_info;
pub mod cmdline;
pub mod cmos;
pub mod console_input;
pub mod cpuid;
pub mod credit;
pub mod ept;
pub mod event;
pub mod evtchn;
pub mod exit;
pub mod frame;
pub mod gnttab;
pub mod gpr;
pub mod guest_line;
pub mod heap;
pub mod id;
pub mod image;
pub mod insn;
pub mod log;
pub mod memmap;
pub mod msr;
pub mod msr_policy;
pub mod multiboot2;
pub mod paging;
pub mod passthrough;
pub mod pcpu_set;
pub mod pt_walk;
pub mod pvclock;
pub mod rate;
pub mod runstate;
pub mod symbols;
pub mod sync;
pub mod vcpu_state;
pub mod vioapic;
pub mod vlapic;
pub mod vmcs;
pub mod vmx_caps;
pub mod vpic;
pub mod vpit;
pub mod vpmtimer;
pub mod vrtc;
pub mod vtimer;
pub mod watchdog;
