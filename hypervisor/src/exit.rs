//! VM exits: from reason to handler. Each handler is a small function which says
//! what should happen; only this file moves RIP, injects and crashes.

use core::fmt;

use alloc::format;
use alloc::vec::Vec;

use hv_arch::trap;
use hv_arch::vcpu::Loaded;
use hv_core::event::{Conditions, Exception, PendingEvents};
use hv_core::exit::{EntryFailure, ExceptionExit, Exit, ExitReason, Interruptibility};
use hv_core::gpr::Gpr;
use hv_core::vcpu_state::CR0_PE;
use hv_core::vmcs;
use xen_abi::sched::ShutdownReason;

use crate::vcpu::Vcpu;
use crate::{control, cpuid, hypercall, init, io, msr};

/// What a handler wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The instruction is done: go on behind it.
    Done,
    /// Go on where the guest stands.
    Resume,
    /// The instruction faults.
    Fault(Exception),
    /// The instruction is done, and the vcpu waits for an event.
    Block,
    /// The instruction is done, and the vcpu gives the pcpu away.
    Yield,
    /// Go on where the guest stands, but let the pcpu look for other work first.
    Leave,
    /// The guest broke the rules.
    Crash(CrashReason),
}

/// Why a domain is ended by the hypervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashReason {
    /// It could not deliver a double fault.
    TripleFault,
    /// It did what no handler is for.
    Unhandled(Exit),
    /// Its state is one that no CPU can be in.
    BadState(EntryFailure),
}

impl fmt::Display for CrashReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TripleFault => f.write_str("triple fault"),
            Self::Unhandled(exit) => write!(f, "unhandled VM exit {exit:?}"),
            Self::BadState(failure) => write!(f, "invalid guest state {failure:?}"),
        }
    }
}

/// Why a vcpu stopped running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It waits for an event.
    Blocked,
    /// It could go on.
    Runnable,
    /// Its domain has ended.
    Ended,
}

/// Runs `vcpu` on this pcpu until something else should run.
pub fn run(vcpu: &Vcpu) -> Stop {
    let mut cpu = vcpu.cpu().lock();
    let mut cpu = cpu.load();
    cpu.set_preemption_timer(init::time_slice());
    loop {
        if let Err(error) = cpu.run() {
            panic!("{vcpu}: VM entry: VM-instruction error {}", error.error);
        }
        let exit = Exit::decode(ExitReason::new(cpu.read(vmcs::EXIT_REASON)), &cpu);
        let outcome = dispatch(&mut cpu, vcpu, exit);
        if let Some(stop) = conclude(&mut cpu, vcpu, outcome) {
            return stop;
        }
    }
}

fn dispatch(cpu: &mut Loaded<'_>, vcpu: &Vcpu, exit: Exit) -> Outcome {
    match exit {
        Exit::Vmcall => hypercall::handle(cpu, vcpu),
        Exit::Cpuid => cpuid::handle(cpu, vcpu),
        Exit::CrAccess(access) => control::handle(cpu, vcpu, init::vmx_config(), access),
        Exit::Io(access) => io::handle(cpu, access),
        Exit::Rdmsr => msr::read(cpu, vcpu),
        Exit::Wrmsr => msr::write(cpu, vcpu),
        Exit::Xsetbv => xsetbv(cpu, vcpu),
        // The guest's caches are the pcpu's, which are coherent.
        Exit::Invd | Exit::Wbinvd => Outcome::Done,
        Exit::HiddenInstruction(_) => Outcome::Fault(Exception::INVALID_OPCODE),
        Exit::Rdpmc | Exit::DescriptorTable => Outcome::Fault(Exception::GENERAL_PROTECTION),
        Exit::Exception(exit) => exception(exit),
        Exit::Pause => Outcome::Yield,
        Exit::Hlt => Outcome::Block,
        Exit::ExternalInterrupt(vector) => interrupt(vector),
        Exit::PreemptionTimer => Outcome::Leave,
        Exit::Nmi => nmi(),
        Exit::TripleFault => Outcome::Crash(CrashReason::TripleFault),
        Exit::EntryFailed(failure) => Outcome::Crash(CrashReason::BadState(failure)),
        other => Outcome::Crash(CrashReason::Unhandled(other)),
    }
}

/// Does what the handler wants; says whether the vcpu stops.
fn conclude(cpu: &mut Loaded<'_>, vcpu: &Vcpu, outcome: Outcome) -> Option<Stop> {
    match outcome {
        Outcome::Done => cpu.skip_instruction(),
        Outcome::Resume => {}
        Outcome::Fault(exception) => raise(cpu, exception),
        Outcome::Block => {
            cpu.skip_instruction();
            return Some(Stop::Blocked);
        }
        Outcome::Yield => {
            cpu.skip_instruction();
            return Some(Stop::Runnable);
        }
        Outcome::Leave => return Some(Stop::Runnable),
        Outcome::Crash(reason) => crash(cpu, vcpu, reason),
    }
    vcpu.domain().shutdown_code().map(|_| Stop::Ended)
}

/// An interrupt of the pcpu: handled as if it had come outside the guest. The
/// pcpu may have got work by it.
fn interrupt(vector: u8) -> Outcome {
    trap::deliver(vector);
    Outcome::Leave
}

/// XSETBV (SDM "XSETBV—Set Extended Control Register"): register 0 only, and what
/// CPUID shows only.
fn xsetbv(cpu: &mut Loaded<'_>, vcpu: &Vcpu) -> Outcome {
    let (register, value) = (cpu.registers().get_32(Gpr::Rcx), cpu.registers().edx_eax());
    let allowed = register == 0 && value & !vcpu.domain().cpuid().xcr0() == 0;
    if allowed && cpu.set_xcr0(value) { Outcome::Done } else { Outcome::Fault(Exception::GENERAL_PROTECTION) }
}

/// An exception that is intercepted only so that its delivery cannot go on for ever
/// without an instruction in between: the guest gets it.
fn exception(exit: ExceptionExit) -> Outcome {
    match Exception::new(exit.vector, exit.error_code) {
        Some(exception) => Outcome::Fault(exception),
        None => Outcome::Crash(CrashReason::Unhandled(Exit::Exception(exit))),
    }
}

/// An NMI of the pcpu.
fn nmi() -> Outcome {
    trap::deliver_nmi();
    Outcome::Resume
}

/// Raises an exception in the guest, at the instruction where it stands. No event
/// is being delivered: instructions that end here are executed by the guest.
fn raise(cpu: &mut Loaded<'_>, exception: Exception) {
    let mut pending = PendingEvents::new();
    // Nothing is pending with which it could combine.
    let _first = pending.raise(exception);
    let conditions = Conditions {
        interruptibility: Interruptibility::from_bits_retain(cpu.read(vmcs::GUEST_INTERRUPTIBILITY_STATE)),
        interrupts_enabled: false,
        protected_mode: cpu.read(vmcs::GUEST_CR0) & CR0_PE != 0,
    };
    if let Some(event) = pending.next(None, conditions).inject {
        let length = event.instruction_length().unwrap_or(0);
        cpu.inject(event.entry_information(), event.error_code().unwrap_or(0), length);
    }
}

/// Ends a domain that broke the rules; the others go on.
fn crash(cpu: &Loaded<'_>, vcpu: &Vcpu, reason: CrashReason) {
    let (rip, rsp) = (cpu.read(vmcs::GUEST_RIP), cpu.read(vmcs::GUEST_RSP));
    log::error!("{vcpu}: domain crashed: {reason}, at rip {rip:016x}, rsp {rsp:016x}");
    for row in Gpr::ALL.chunks(4) {
        let values = row.iter().map(|&register| (register, cpu.registers().get(register)));
        let text: Vec<_> = values.map(|(register, value)| format!("{register:?} {value:016x}")).collect();
        log::error!("{vcpu}: {}", text.join("  "));
    }
    vcpu.domain().shut_down(ShutdownReason::Crash as u32);
}
