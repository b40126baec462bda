//! VM exits: from reason to handler. Each handler is a small function which says
//! what should happen; only this file moves RIP, injects and crashes.

use core::fmt;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hv_arch::vcpu::Loaded;
use hv_arch::{cpu, percpu, trap};
use hv_core::credit::Verdict;
use hv_core::event::{Exception, PendingEvents};
use hv_core::exit::{
    BasicReason, EntryFailure, Event, EventKind, ExceptionExit, Exit, ExitReason, Interruptibility,
    InterruptionInfo,
};
use hv_core::gpr::Gpr;
use hv_core::id::PcpuId;
use hv_core::vcpu_state::VcpuState;
use hv_core::vlapic::Signal;
use hv_core::vmcs;
use xen_abi::sched::ShutdownReason;

use crate::vcpu::{Activity, State, Vcpu};
use crate::work::Work;
use crate::{
    clock, console, control, cpuid, hypercall, init, input, interrupts, io, mmio, msr, pcpu, sched, timers,
    vcpu,
};

/// What a handler wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The instruction is done: go on behind it.
    Done,
    /// Go on where the guest stands.
    Resume,
    /// The instruction faults.
    Fault(Exception),
    /// The instruction is done, and the vcpu waits for an event that it can take.
    Halt,
    /// The instruction is done, and the vcpu waits for an event, even one that it cannot
    /// take.
    Block,
    /// The instruction is done, and the vcpu gives the pcpu away.
    Yield,
    /// Go on where the guest stands, after the delivery of the event that the exit has
    /// broken off, if it has.
    Redelivered,
    /// The instruction's own exception (INT1, INT3, INTO), which the exit has taken.
    Reraised,
    /// Go on where the guest stands, after a look at what else is due on the pcpu.
    Tick,
    /// Go on where the guest stands, with events that it can take now.
    Events,
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
    /// It could go on; others run first.
    Runnable,
    /// It could go on, but lets others go first.
    Yielded,
    /// It could go on, as soon as the pcpu has done something else.
    Interrupted,
    /// It may not run, or not here.
    Parked,
}

/// How many VM exits it takes at most until the clock is read. The preemption timer
/// counts in the guest only; without "save VMX-preemption timer value" it even starts
/// anew after each exit.
const EXITS_BETWEEN_CLOCK_READS: u32 = 16;

/// Exits that come most often and carry nothing: they are not decoded.
const CPUID: ExitReason = ExitReason::new(BasicReason::Cpuid as u32);
const VMCALL: ExitReason = ExitReason::new(BasicReason::Vmcall as u32);
const RDMSR: ExitReason = ExitReason::new(BasicReason::Rdmsr as u32);
const WRMSR: ExitReason = ExitReason::new(BasicReason::Wrmsr as u32);

/// One stay of a vcpu on a pcpu.
struct Turn<'a> {
    pcpu: PcpuId,
    /// When the scheduler looks again whether it stays, in ticks of the time stamp counter.
    end: u64,
    /// When the pcpu takes interrupts at the latest, in ticks of the time stamp counter: an emulator may
    /// withhold them as long as the guest has its own off (docs/testing.md).
    look: &'a mut u64,
    /// VM exits until the clock is read.
    exits: u32,
}

/// Runs `vcpu` on this pcpu until something else should run. The scheduler looks again at system time `until`, ns; the
/// pcpu takes interrupts at `look` at the latest ([`next_look`]).
pub fn run(vcpu: &Arc<Vcpu>, until: u64, look: &mut u64) -> Stop {
    let mut state = vcpu.state().lock();
    let State { cpu, pending, activity } = &mut *state;
    let mut cpu = cpu.load();
    let mut turn = Turn::new(until, look);
    vcpu.shared().write_runstate(vcpu);
    vcpu.owe(if vcpu.is_deadline_due() { Work::TIMERS | Work::EVENTS } else { Work::EVENTS });
    loop {
        if vcpu.owed().any()
            && let Some(stop) = settle(&mut cpu, vcpu, pending, activity, &mut turn)
        {
            return stop;
        }
        turn.exits -= 1;
        if turn.exits == 0 {
            turn.arm(&mut cpu, vcpu);
        }
        if let Err(error) = cpu.run() {
            panic!("{vcpu}: VM entry: VM-instruction error {}", error.error);
        }
        let reason = ExitReason::new(cpu.read(vmcs::EXIT_REASON));
        let outcome = match reason {
            CPUID => cpuid::handle(&mut cpu, vcpu),
            VMCALL => hypercall::handle(&mut cpu, vcpu),
            RDMSR => msr::read(&mut cpu, vcpu),
            WRMSR => msr::write(&mut cpu, vcpu),
            _ => dispatch(&mut cpu, vcpu, reason),
        };
        match outcome {
            Outcome::Done => cpu.skip_instruction(),
            Outcome::Resume => {}
            Outcome::Halt | Outcome::Block => {
                cpu.skip_instruction();
                *activity = if outcome == Outcome::Halt { Activity::Halted } else { Activity::Waiting };
                vcpu.owe(Work::EVENTS);
            }
            other => conclude(&mut cpu, vcpu, pending, other),
        }
    }
}

/// When a pcpu that takes interrupts now does so again at the latest, in ticks of the time stamp counter: after a slice.
pub fn next_look() -> u64 {
    cpu::rdtsc().saturating_add(init::time_slice())
}

/// Where the time stamp counter is at system time `until`, or at its end for never.
fn end_of_turn(until: u64) -> u64 {
    clock::tsc_until(until).unwrap_or(u64::MAX)
}

impl<'a> Turn<'a> {
    fn new(until: u64, look: &'a mut u64) -> Self {
        Self { pcpu: percpu::this().id(), end: end_of_turn(until), look, exits: 1 }
    }

    /// The scheduler looks again at another time.
    fn end_again(&mut self) {
        (self.exits, self.end) = (1, end_of_turn(sched::wakes_at()));
    }

    /// Has the guest exit at the next time at which something is to be done.
    #[inline(never)]
    fn arm(&mut self, cpu: &mut Loaded<'_>, vcpu: &Vcpu) {
        self.exits = EXITS_BETWEEN_CLOCK_READS;
        let others = timers::earliest(self.pcpu).unwrap_or(u64::MAX);
        let at = self.end.min(others).min(vcpu.deadline().unwrap_or(u64::MAX));
        cpu.exit_after(at.min(*self.look).saturating_sub(cpu::rdtsc()));
    }

    /// Does what is due on this pcpu; says whether the vcpu is to make room.
    fn tick(&mut self) -> Option<Stop> {
        (self.exits, *self.look) = (1, next_look());
        timers::expire(self.pcpu, cpu::rdtsc());
        input::tell_of_log();
        if pcpu::is_called(self.pcpu) {
            return Some(Stop::Interrupted);
        }
        match sched::tick() {
            Verdict::Leave => Some(Stop::Runnable),
            Verdict::Stay(until) => {
                self.end = end_of_turn(until);
                None
            }
        }
    }
}

/// Does what is owed to the vcpu; says whether it stops.
fn settle(
    cpu: &mut Loaded<'_>,
    vcpu: &Arc<Vcpu>,
    pending: &mut PendingEvents,
    activity: &mut Activity,
    turn: &mut Turn<'_>,
) -> Option<Stop> {
    let owed = vcpu.owed().take();
    // Nothing else than one of these is owed most times.
    let is_active = *activity == Activity::Active;
    if owed == Work::TURN && is_active {
        turn.end_again();
        return None;
    }
    let is_roused = *activity == Activity::Waiting && owed == Work::EVENTS | Work::ROUSE;
    if is_roused {
        end_wait(vcpu, activity);
    } else if !(owed == Work::EVENTS && is_active)
        && let Some(stop) = attend(cpu, vcpu, pending, activity, turn, owed)
    {
        return Some(stop);
    }
    interrupts::deliver(cpu, vcpu, pending);
    None
}

/// Does what is owed to the vcpu before it gets events; says whether it stops.
#[inline(never)]
fn attend(
    cpu: &mut Loaded<'_>,
    vcpu: &Arc<Vcpu>,
    pending: &mut PendingEvents,
    activity: &mut Activity,
    turn: &mut Turn<'_>,
    mut owed: Work,
) -> Option<Stop> {
    if owed.contains(Work::LEAVE) && !sched::may_stay(vcpu, turn.pcpu) {
        vcpu.owe(owed - Work::LEAVE);
        return Some(Stop::Parked);
    }
    let ticks = owed.contains(Work::TICK);
    if owed.contains(Work::TIMERS) || ticks && vcpu.is_deadline_due() {
        owed |= interrupts::expire(vcpu);
        turn.exits = 1;
    }
    if owed.contains(Work::SIGNAL) {
        signals(cpu, vcpu, pending, activity);
    }
    let stop = match owed {
        _ if ticks => turn.tick(),
        _ if owed.contains(Work::YIELD) && sched::has_work(turn.pcpu) => Some(Stop::Yielded),
        _ => None,
    };
    if owed.contains(Work::TURN) {
        turn.end_again();
    }
    if owed.contains(Work::DOWN) {
        end_poll(vcpu, *activity);
        *activity = Activity::Down;
    }
    if !is_active(cpu, vcpu, pending, activity, owed) {
        return Some(Stop::Blocked);
    }
    if stop.is_some() {
        // What may be deliverable is looked for when it runs again.
        return stop;
    }
    if vcpu.owed().any() {
        // What has been raised above is seen now.
        vcpu.owed().cancel(Work::EVENTS);
    }
    None
}

/// Whether the vcpu executes instructions, after a look at what it waits for.
fn is_active(
    cpu: &Loaded<'_>,
    vcpu: &Vcpu,
    pending: &PendingEvents,
    activity: &mut Activity,
    owed: Work,
) -> bool {
    let wakes = match *activity {
        Activity::Active => return true,
        Activity::Down => false,
        Activity::Halted => interrupts::ends_halt(cpu, vcpu, pending),
        Activity::Waiting => owed.contains(Work::ROUSE) || interrupts::are_waiting(cpu, vcpu, pending),
    };
    if wakes {
        end_wait(vcpu, activity);
    } else if *activity == Activity::Halted && !interrupts::are_enabled(cpu) {
        // As Xen has it: nothing but a reset or an NMI brings it back.
        if vcpu.is_up() {
            let rip = cpu.read(vmcs::GUEST_RIP);
            log::debug!(target: console::GUEST, "{vcpu} halts with interrupts off at rip {rip:016x}");
        }
        vcpu.set_up(false);
        vcpu.domain().end_if_all_down();
    } else if *activity == Activity::Down {
        vcpu.domain().end_if_all_down();
    }
    wakes
}

/// The vcpu waits no more. If it did so by hypercall, neither ports nor the time of this wait end a later one.
fn end_wait(vcpu: &Vcpu, activity: &mut Activity) {
    end_poll(vcpu, *activity);
    *activity = Activity::Active;
    vcpu.set_up(true);
}

fn end_poll(vcpu: &Vcpu, activity: Activity) {
    if activity == Activity::Waiting {
        vcpu.domain().events().end_poll(vcpu.id());
        // A time that lies ahead is among its deadlines.
        if vcpu.deadline().is_some() && vcpu.timers().lock().stop_poll() {
            vcpu.owe(Work::TIMERS);
        }
    }
}

/// INIT, start-up messages and NMIs.
fn signals(cpu: &mut Loaded<'_>, vcpu: &Arc<Vcpu>, pending: &mut PendingEvents, activity: &mut Activity) {
    while let Some(signal) = interrupts::take_signal(vcpu) {
        match signal {
            Signal::Nmi => pending.raise_nmi(),
            Signal::Init => {
                end_poll(vcpu, *activity);
                *pending = PendingEvents::new();
                // Others wait for a start-up message; the boot processor starts anew.
                *activity = if vcpu.id() == 0 { Activity::Active } else { Activity::Down };
                vcpu.set_up(vcpu.id() == 0);
                reset(cpu, vcpu, VcpuState::after_init(vcpu.domain().cpuid().signature()));
            }
            Signal::StartUp(page) => {
                *activity = Activity::Active;
                vcpu.set_up(true);
                reset(cpu, vcpu, VcpuState::after_init(vcpu.domain().cpuid().signature()).start_up(page));
            }
        }
    }
}

fn reset(cpu: &mut Loaded<'_>, vcpu: &Vcpu, state: VcpuState) {
    vcpu::reset(cpu, vcpu, init::vmx_config(), &state);
    cpu.flush_translations();
}

/// All other exits. Apart, so that what is done for them costs those nothing.
#[inline(never)]
fn dispatch(cpu: &mut Loaded<'_>, vcpu: &Arc<Vcpu>, reason: ExitReason) -> Outcome {
    match Exit::decode(reason, cpu) {
        Exit::CrAccess(access) => control::handle(cpu, vcpu, init::vmx_config(), access),
        Exit::Io(access) => io::handle(cpu, vcpu, access),
        Exit::Xsetbv => xsetbv(cpu, vcpu),
        // The guest's caches are the pcpu's, which are coherent.
        Exit::Invd | Exit::Wbinvd => Outcome::Done,
        Exit::HiddenInstruction(_) => Outcome::Fault(Exception::INVALID_OPCODE),
        Exit::Rdpmc | Exit::DescriptorTable => Outcome::Fault(Exception::GENERAL_PROTECTION),
        Exit::Exception(exit) => exception(cpu, exit),
        Exit::Pause => Outcome::Yield,
        Exit::Hlt => Outcome::Halt,
        Exit::ExternalInterrupt(vector) => interrupt(vector),
        Exit::PreemptionTimer => {
            // An emulator keeps interrupts masked while its guest has them off, although
            // they are to exit: at least here they come in.
            hv_arch::take_interrupts();
            Outcome::Tick
        }
        Exit::InterruptWindow | Exit::NmiWindow | Exit::TprBelowThreshold => Outcome::Events,
        Exit::ApicWrite(offset) => interrupts::written(vcpu, offset),
        Exit::VirtualizedEoi(vector) => interrupts::ended(vcpu, vector),
        Exit::ApicAccess(access) => mmio::handle_apic(cpu, vcpu, access),
        Exit::EptViolation(violation) => mmio::handle(cpu, vcpu, violation),
        Exit::Nmi => nmi(),
        Exit::TripleFault => Outcome::Crash(CrashReason::TripleFault),
        Exit::EntryFailed(failure @ EntryFailure::MachineCheck) => {
            trap::deliver_machine_check();
            Outcome::Crash(CrashReason::BadState(failure))
        }
        Exit::EntryFailed(failure) => Outcome::Crash(CrashReason::BadState(failure)),
        other => Outcome::Crash(CrashReason::Unhandled(other)),
    }
}

/// Does what the handler wants beyond going on.
#[cold]
fn conclude(cpu: &mut Loaded<'_>, vcpu: &Arc<Vcpu>, pending: &mut PendingEvents, outcome: Outcome) {
    match outcome {
        // The caller has done what these want.
        Outcome::Done | Outcome::Resume | Outcome::Halt | Outcome::Block => {}
        Outcome::Redelivered => redeliver(cpu, vcpu, pending, None),
        Outcome::Fault(exception) => redeliver(cpu, vcpu, pending, Some(exception)),
        Outcome::Reraised => {
            vcpu.owe(Work::EVENTS);
            let info = InterruptionInfo::new(cpu.read(vmcs::EXIT_INTERRUPTION_INFORMATION));
            let error_code = || cpu.read(vmcs::EXIT_INTERRUPTION_ERROR_CODE);
            if let Some(event) =
                Event::interrupted(info, error_code, || cpu.read(vmcs::EXIT_INSTRUCTION_LENGTH))
            {
                pending.interrupted(event);
            }
        }
        Outcome::Yield => {
            cpu.skip_instruction();
            vcpu.owe(Work::YIELD);
        }
        Outcome::Tick => vcpu.owe(Work::TICK),
        Outcome::Events => vcpu.owe(Work::EVENTS),
        Outcome::Crash(reason) => crash(cpu, vcpu, reason),
    }
}

/// An event whose delivery the VM exit has broken off is to be delivered again; an
/// exception that the guest gets combines with it.
fn redeliver(cpu: &Loaded<'_>, vcpu: &Vcpu, pending: &mut PendingEvents, exception: Option<Exception>) {
    vcpu.owe(Work::EVENTS);
    let vectoring = InterruptionInfo::new(cpu.read(vmcs::IDT_VECTORING_INFORMATION));
    let error_code = || cpu.read(vmcs::IDT_VECTORING_ERROR_CODE);
    if let Some(event) = Event::interrupted(vectoring, error_code, || cpu.read(vmcs::EXIT_INSTRUCTION_LENGTH))
    {
        pending.interrupted(event);
    }
    if let Some(exception) = exception
        && pending.raise(exception).is_err()
    {
        crash(cpu, vcpu, CrashReason::TripleFault);
    }
}

/// An interrupt of the pcpu: handled as if it had come outside the guest. The
/// pcpu may have got work by it.
fn interrupt(vector: u8) -> Outcome {
    trap::deliver(vector);
    Outcome::Tick
}

/// XSETBV (SDM "XSETBV—Set Extended Control Register"): register 0 only, and what
/// CPUID shows only.
fn xsetbv(cpu: &mut Loaded<'_>, vcpu: &Vcpu) -> Outcome {
    let (register, value) = (cpu.registers().get_32(Gpr::Rcx), cpu.registers().edx_eax());
    let allowed = register == 0 && value & !vcpu.domain().cpuid().xcr0() == 0;
    if allowed && cpu.set_xcr0(value) { Outcome::Done } else { Outcome::Fault(Exception::GENERAL_PROTECTION) }
}

/// An exception that is intercepted only so that its delivery cannot go on for ever
/// without an instruction in between: the guest gets it. But a machine check is for the
/// hypervisor.
fn exception(cpu: &mut Loaded<'_>, exit: ExceptionExit) -> Outcome {
    const DEBUG: u8 = 1;
    const DOUBLE_FAULT: u8 = 8;
    const MACHINE_CHECK: u8 = 18;
    if exit.vector == MACHINE_CHECK {
        trap::deliver_machine_check();
    }
    if exit.vector == DEBUG {
        cpu.take_debug_exception(ExceptionExit::debug_conditions(cpu).bits());
    }
    let vectoring = InterruptionInfo::new(cpu.read(vmcs::IDT_VECTORING_INFORMATION));
    if exit.nmi_unblocked && exit.vector != DOUBLE_FAULT && !vectoring.is_valid() {
        let shadow = Interruptibility::from_bits_retain(cpu.read(vmcs::GUEST_INTERRUPTIBILITY_STATE));
        cpu.write(vmcs::GUEST_INTERRUPTIBILITY_STATE, (shadow | Interruptibility::BLOCKING_BY_NMI).bits());
    }
    if exit.kind != EventKind::HardwareException {
        return Outcome::Reraised;
    }
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

/// Ends a domain that broke the rules; the others go on.
fn crash(cpu: &Loaded<'_>, vcpu: &Vcpu, reason: CrashReason) {
    let (rip, rsp) = (cpu.read(vmcs::GUEST_RIP), cpu.read(vmcs::GUEST_RSP));
    log::error!("{vcpu}: domain crashed: {reason}, at rip {rip:016x}, rsp {rsp:016x}");
    for row in Gpr::ALL.chunks(4) {
        let values = row.iter().map(|&register| (register, cpu.registers().get(register)));
        let text: Vec<_> = values.map(|(register, value)| format!("{register:?} {value:016x}")).collect();
        log::error!("{vcpu}: {}", text.join("  "));
    }
    let code = match reason {
        // What the toolstack wants of it.
        CrashReason::TripleFault => vcpu.domain().triple_fault_reason(),
        _ => ShutdownReason::Crash as u32,
    };
    vcpu.domain().shut_down(code);
}
