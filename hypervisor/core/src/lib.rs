//! Pure logic of the hypervisor.
//!
//! Nothing here reads a clock, a CPU register or a global: what a function
//! needs comes in as an argument, what should happen goes out as a value.
//! So all of it runs under `cargo test`, proptest and miri on the host.

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
pub mod cpuid;
pub mod deadlines;
pub mod ept;
pub mod event;
pub mod evtchn;
pub mod exit;
pub mod frame;
pub mod gpr;
pub mod id;
pub mod image;
pub mod insn;
pub mod log;
pub mod memmap;
pub mod msr;
pub mod msr_policy;
pub mod multiboot2;
pub mod paging;
pub mod pcpu_set;
pub mod pt_walk;
pub mod pvclock;
pub mod rate;
pub mod runstate;
pub mod symbols;
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
