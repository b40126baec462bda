//! Vcpus: what belongs to one, and its start.
//!
//! | part | who reaches it |
//! |---|---|
//! | [`State`] | the pcpu that runs the vcpu, as long as it does |
//! | local APIC | whoever sends it a message, its own pcpu most of all |
//! | [`Owed`], [`Posted`] | anyone, without a lock |
//! | [`Schedule`] | the scheduler |

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use alloc::sync::Arc;
use hv_arch::apic_page::VirtualApicPage;
use hv_arch::cpu;
use hv_arch::sync::{Lock, Rank};
use hv_arch::vcpu::{Loaded, Masked, Parked, Vcpu as Cpu};
use hv_core::acpi::ApicId;
use hv_core::credit::Tag;
use hv_core::event::PendingEvents;
use hv_core::frame::OutOfFrames;
use hv_core::gpr::{Gpr, Gprs};
use hv_core::vcpu_state::{CR0_CD, CR0_NW, Segments, VcpuState};
use hv_core::vlapic::{Vector, Vlapic};
use hv_core::vmcs::{self, Field, Guest, SegmentFields, Width};
use hv_core::vmx_caps::VmxConfig;
use hv_core::vtimer::VcpuTimers;

use crate::domain::Domain;
use crate::interrupts::{self, Posted};
use crate::msr::Kept;
use crate::sched::{self, Schedule};
use crate::shared::Shared;
use crate::work::{Owed, Work};
use crate::{control, timers};

/// `IA32_PAT` after reset (SDM "Page Attribute Table").
const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// No deadline.
const NEVER: u64 = u64::MAX;

/// A vcpu of a domain.
pub struct Vcpu {
    id: u32,
    domain: Arc<Domain>,
    owed: Owed,
    /// Whether it has got registers to start with.
    initialised: AtomicBool,
    /// Whether it has been started and not been taken down again.
    up: AtomicBool,
    posted: Posted,
    /// The next of its own deadlines, in ticks of the time stamp counter.
    deadline: AtomicU64,
    timer_place: AtomicUsize,
    /// What its time stamp counter is ahead of the pcpus', modulo 2^64.
    tsc_offset: AtomicU64,
    kept: Lock<Kept>,
    /// Timers that it sets by hypercall, in system time.
    timers: Lock<VcpuTimers>,
    shared: Shared,
    /// The vector of its local APIC by which it hears of events
    /// (`HVMOP_set_evtchn_upcall_vector`); 0 for none of its own.
    upcall_vector: AtomicU8,
    state: Lock<State>,
    lapic: Lock<Vlapic<VirtualApicPage>>,
    schedule: Lock<Schedule>,
    tag: Tag,
}

/// What only the pcpu that runs the vcpu touches.
#[derive(Debug)]
pub struct State {
    /// Its registers and its VMCS.
    pub cpu: Cpu,
    /// Exceptions and NMIs that it has not got yet.
    pub pending: PendingEvents,
    /// Whether it executes instructions.
    pub activity: Activity,
}

/// Whether a vcpu executes instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It does.
    Active,
    /// It waits for an event that it can take, by HLT.
    Halted,
    /// It waits for any event, by `SCHEDOP_block` or `SCHEDOP_poll`.
    Waiting,
    /// It waits to be started, by INIT and SIPI or `VCPUOP_up`.
    Down,
}

impl Vcpu {
    pub(crate) fn new(id: u32, domain: &Arc<Domain>, config: &VmxConfig) -> Result<Arc<Self>, OutOfFrames> {
        let page = VirtualApicPage::new()?;
        let cpu = Cpu::new(config, Arc::clone(domain.confines()), page.clone())?;
        let mut lapic = Vlapic::new(page, ApicId::new(id), id == 0, interrupts::bus());
        if config.apic().delivers() {
            lapic.share();
        }
        let state = State { cpu, pending: PendingEvents::new(), activity: Activity::Down };
        Ok(Arc::new(Self {
            id,
            domain: Arc::clone(domain),
            owed: Owed::default(),
            initialised: AtomicBool::new(false),
            up: AtomicBool::new(false),
            posted: Posted::default(),
            deadline: AtomicU64::new(NEVER),
            timer_place: AtomicUsize::new(timers::NOWHERE),
            tsc_offset: AtomicU64::new(0),
            kept: Lock::new(Rank::Lapic, Kept::default()),
            timers: Lock::new(Rank::Lapic, VcpuTimers::new()),
            shared: Shared::new(),
            upcall_vector: AtomicU8::new(0),
            state: Lock::new(Rank::Vcpu, state),
            lapic: Lock::new(Rank::Lapic, lapic),
            schedule: Lock::new(Rank::Schedule, Schedule::new(sched::home())),
            tag: Tag::new(Arc::clone(domain.share())),
        }))
    }

    /// Its domain.
    pub fn domain(&self) -> &Arc<Domain> {
        &self.domain
    }

    /// Its number in the domain.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its state, held by the pcpu that runs it.
    pub fn state(&self) -> &Lock<State> {
        &self.state
    }

    /// Its local APIC.
    pub fn lapic(&self) -> &Lock<Vlapic<VirtualApicPage>> {
        &self.lapic
    }

    /// Interrupts on their way to its local APIC.
    pub fn posted(&self) -> &Posted {
        &self.posted
    }

    /// Its place in the schedule.
    pub fn schedule(&self) -> &Lock<Schedule> {
        &self.schedule
    }

    /// What pcpus read of it that look for one to run.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// Its place among the deadlines of a pcpu.
    pub fn timer_place(&self) -> &AtomicUsize {
        &self.timer_place
    }

    /// What is owed to it.
    #[inline]
    pub fn owed(&self) -> &Owed {
        &self.owed
    }

    /// Adds to what is owed to it. By that alone it neither wakes up nor leaves its guest.
    #[inline]
    pub fn owe(&self, work: Work) {
        self.owed.add(work);
    }

    /// Adds to what is owed to it, from anywhere: it does not sleep over it.
    pub fn notify(self: &Arc<Self>, work: Work) {
        if !self.owed.add(work).contains(work) {
            sched::wake(self);
        }
    }

    /// Whether it may run, if it has anything to do.
    pub fn may_run(&self) -> bool {
        self.domain.may_run()
    }

    /// Timers that it sets by hypercall, in system time.
    pub fn timers(&self) -> &Lock<VcpuTimers> {
        &self.timers
    }

    /// Memory in which it finds what the hypervisor tells it.
    #[inline]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The vector of its local APIC by which it hears of events.
    #[inline]
    pub fn upcall_vector(&self) -> Option<Vector> {
        Vector::new(self.upcall_vector.load(Ordering::Relaxed))
    }

    /// Sets that vector.
    pub fn set_upcall_vector(&self, vector: Vector) {
        self.upcall_vector.store(vector.get(), Ordering::Relaxed);
    }

    /// It has got registers to start with.
    pub fn note_initialised(&self) {
        self.initialised.store(true, Ordering::SeqCst);
    }

    /// Whether it has got registers to start with.
    pub fn is_initialised(&self) -> bool {
        self.initialised.load(Ordering::SeqCst)
    }

    /// MSRs that the hypervisor keeps for it.
    pub fn kept(&self) -> &Lock<Kept> {
        &self.kept
    }

    /// Its time stamp counter.
    #[inline]
    pub fn tsc(&self) -> u64 {
        cpu::rdtsc().wrapping_add(self.tsc_offset())
    }

    /// What its time stamp counter is ahead of the pcpus', modulo 2^64.
    #[inline]
    pub fn tsc_offset(&self) -> u64 {
        self.tsc_offset.load(Ordering::Relaxed)
    }

    /// Notes by how much its time stamp counter is ahead.
    pub fn set_tsc_offset(&self, offset: u64) {
        self.tsc_offset.store(offset, Ordering::Relaxed);
    }

    /// Whether it has been started and not been taken down again.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    /// Notes whether it is up.
    pub fn set_up(&self, up: bool) {
        if up {
            if self.is_up() {
                return;
            }
            self.initialised.store(true, Ordering::SeqCst);
        }
        if self.up.swap(up, Ordering::SeqCst) != up {
            self.domain.share().note_up(up);
        }
    }

    /// The next of its own deadlines, in ticks of the time stamp counter.
    #[inline]
    pub fn deadline(&self) -> Option<u64> {
        Some(self.deadline.load(Ordering::Relaxed)).filter(|&at| at != NEVER)
    }

    /// Whether that has come.
    #[inline]
    pub fn is_deadline_due(&self) -> bool {
        let at = self.deadline.load(Ordering::Relaxed);
        at != NEVER && at <= cpu::rdtsc()
    }

    /// Notes its next deadline.
    pub fn set_deadline(&self, at: Option<u64>) {
        self.deadline.store(at.unwrap_or(NEVER), Ordering::Relaxed);
    }
}

impl fmt::Debug for Vcpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Vcpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}v{}", self.domain.id(), self.id)
    }
}

/// Brings a vcpu that runs nowhere into `state`, from which it starts when it is
/// let run next.
pub fn start(vcpu: &Arc<Vcpu>, state: &mut State, config: &VmxConfig, from: &VcpuState) {
    prepare(vcpu, state, config, from);
    state.activity = Activity::Active;
    vcpu.set_up(true);
}

/// Gives a vcpu that runs nowhere the registers with which it will start.
pub fn prepare(vcpu: &Arc<Vcpu>, state: &mut State, config: &VmxConfig, from: &VcpuState) {
    state.cpu.inspect(|cpu| {
        reset(cpu, vcpu, config, from);
        // Those of an earlier life may be there.
        cpu.flush_translations();
    });
    state.pending = PendingEvents::new();
    vcpu.initialised.store(true, Ordering::SeqCst);
}

/// Registers of a vcpu that is loaded here, or parked.
pub trait Registers {
    /// Writes a field of the guest's state.
    fn write<W: Width>(&mut self, field: Field<W, Guest>, value: W::Value);
    /// Writes EFER, and with LMA the mode in which the guest is entered.
    fn write_efer(&mut self, value: u64);
    /// Sets which bits of CR0 and CR4 are the hypervisor's, and what the guest reads there.
    fn write_control_masks(&mut self, cr0: Masked, cr4: Masked);
    /// The general registers.
    fn registers_mut(&mut self) -> &mut Gprs;
}

macro_rules! registers {
    ($($cpu:ident)*) => { $(
        impl Registers for $cpu<'_> {
            fn write<W: Width>(&mut self, field: Field<W, Guest>, value: W::Value) {
                $cpu::write(self, field, value);
            }

            fn write_efer(&mut self, value: u64) {
                $cpu::write_efer(self, value);
            }

            fn write_control_masks(&mut self, cr0: Masked, cr4: Masked) {
                $cpu::write_control_masks(self, cr0, cr4);
            }

            fn registers_mut(&mut self) -> &mut Gprs {
                $cpu::registers_mut(self)
            }
        }
    )* };
}

registers!(Loaded Parked);

/// Writes the registers of `state`.
pub fn reset(cpu: &mut impl Registers, vcpu: &Vcpu, config: &VmxConfig, state: &VcpuState) {
    write_segments(cpu, &state.segments);
    let natural = [
        (vmcs::GUEST_CR0, config.guest_cr0().apply(state.cr0 & !(CR0_CD | CR0_NW))),
        (vmcs::GUEST_CR3, state.cr3),
        (vmcs::GUEST_CR4, config.cr4().apply(state.cr4)),
        (vmcs::GUEST_GDTR_BASE, state.gdtr.base),
        (vmcs::GUEST_IDTR_BASE, state.idtr.base),
        (vmcs::GUEST_DR7, state.dr7),
        (vmcs::GUEST_RSP, state.gprs.get(Gpr::Rsp)),
        (vmcs::GUEST_RIP, state.rip),
        (vmcs::GUEST_RFLAGS, state.rflags),
        (vmcs::GUEST_PENDING_DEBUG_EXCEPTIONS, 0),
        (vmcs::GUEST_IA32_SYSENTER_ESP, 0),
        (vmcs::GUEST_IA32_SYSENTER_EIP, 0),
    ];
    for (field, value) in natural {
        cpu.write(field, value);
    }
    let words = [
        (vmcs::GUEST_GDTR_LIMIT, u32::from(state.gdtr.limit)),
        (vmcs::GUEST_IDTR_LIMIT, u32::from(state.idtr.limit)),
        (vmcs::GUEST_INTERRUPTIBILITY_STATE, 0),
        (vmcs::GUEST_ACTIVITY_STATE, 0),
        (vmcs::GUEST_IA32_SYSENTER_CS, 0),
    ];
    for (field, value) in words {
        cpu.write(field, value);
    }
    cpu.write(vmcs::GUEST_IA32_DEBUGCTL, 0);
    cpu.write(vmcs::GUEST_IA32_PAT, PAT_RESET);
    cpu.write_efer(state.efer);
    let (cr0, cr4) = control::masks(vcpu.domain().allowed_cr4(), state.cr0, state.cr4);
    cpu.write_control_masks(cr0, cr4);
    *cpu.registers_mut() = state.gprs;
}

fn write_segments(cpu: &mut impl Registers, segments: &Segments) {
    let all = [
        (SegmentFields::ES, segments.es),
        (SegmentFields::CS, segments.cs),
        (SegmentFields::SS, segments.ss),
        (SegmentFields::DS, segments.ds),
        (SegmentFields::FS, segments.fs),
        (SegmentFields::GS, segments.gs),
        (SegmentFields::LDTR, segments.ldtr),
        (SegmentFields::TR, segments.tr),
    ];
    for (fields, segment) in all {
        cpu.write(fields.selector, segment.selector);
        cpu.write(fields.base, segment.base);
        cpu.write(fields.limit, segment.limit);
        cpu.write(fields.access_rights, segment.rights.to_vmx());
    }
}
