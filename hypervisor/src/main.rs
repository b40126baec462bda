//! The Kigumi hypervisor: wiring and policy.
//!
//! | module | what |
//! |---|---|
//! | [`init`] | from the boot CPU's first Rust code to all pcpus in VMX root |
//! | [`console`] | log ring, serial ports, screen, input |
//! | [`keys`] | the hypervisor's console keys |
//! | [`pcpu`] | what a pcpu does when it has nothing to do, calls between pcpus |
//! | [`dom0`] | the boot modules |
//! | [`crash`] | reports of the hypervisor's own bugs |
//! | [`selftest`] | tests of the running machine, by boot option |

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod clock;
mod console;
mod context;
mod control;
mod cpuid;
mod crash;
mod devices;
mod dom0;
mod domain;
mod domain_memory;
mod domains;
mod event;
mod exit;
mod guest_copy;
mod hypercall;
mod init;
mod interrupts;
mod io;
mod keys;
mod mmio;
mod msr;
mod pcpu;
mod sched;
mod selftest;
mod shared;
mod timers;
mod vcpu;
mod work;

hv_arch::entry!(init::main);
