//! The Kigumi hypervisor: wiring and policy.
//!
//! | module | what |
//! |---|---|
//! | [`init`] | from the boot CPU's first Rust code to Dom0's first vcpu |
//! | [`console`], [`input`], [`keys`] | log ring, serial ports, screen; who is told of input; debug keys |
//! | [`crash`], [`selftest`] | reports of the hypervisor's own bugs, tests of the running machine |
//! | [`dom0`] | from the boot modules to Dom0 |
//! | [`domains`], [`domain`], [`domain_memory`] | all domains, one of them, its memory |
//! | [`vcpu`], [`work`], [`context`] | vcpus, what is owed to one, its registers as save records |
//! | [`pcpu`], [`sched`] | what a pcpu does, which vcpu runs where |
//! | [`exit`] | the run loop, from VM exits to handlers |
//! | [`cpuid`], [`msr`], [`control`], [`io`], [`mmio`] | handlers, for ports and device memory too |
//! | [`hypercall`], [`guest_copy`] | hypercalls, and copies from and to who makes them |
//! | [`interrupts`], [`devices`] | local APICs and what is injected; the I/O APIC |
//! | [`event`], [`grant`] | event channels, grants |
//! | [`clock`], [`timers`] | time as guests see it, deadlines of vcpus that sleep |
//! | [`shared`] | what the hypervisor keeps up to date in a guest's memory |

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
mod grant;
mod guest_copy;
mod hypercall;
mod init;
mod input;
mod interrupts;
mod io;
mod irq;
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
