//! Domains: an identity, confines, vcpus, what the toolstack has set, and what has
//! become of them.
//!
//! ```text
//!           unpause          shut_down              begin_end
//!   paused ────────> running ─────────> shut down ────────────> dying ──> gone
//!      └────────────────┴───────────────────┴──────────────────────^
//! ```

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use hv_arch::confines::Confines;
use hv_arch::sync::{Guard, Lock, Rank};
use hv_core::addr::PAGE_SIZE;
use hv_core::cpuid;
use hv_core::credit::Share;
use hv_core::frame::OutOfFrames;
use hv_core::guest_line::GuestLine;
use hv_core::id::DomId;
use hv_core::msr_policy::{HostValues, MsrPolicy};
use hv_core::vmx_caps::VmxConfig;
use hv_core::watchdog::Watchdogs;
use spin::{Once, RwLock, RwLockReadGuard};
use xen_abi::arch_x86::{ArchDomainConfig, Emulation, MiscFlags};
use xen_abi::domctl::{
    CreateFlags, DomainFlags, GetDomainInfo, INVALID_MAX_VCPU_ID, SHUTDOWN_SHIFT, TscInfo,
};
use xen_abi::hvm_params::{HvmParam, NR_PARAMS};
use xen_abi::sched::ShutdownReason;
use xen_abi::xen::{DomainHandle, Virq, VmAssistType};
use zerocopy::FromZeros;

use crate::devices::Devices;
use crate::domain_memory::DomainMemory;
use crate::event::{self, Events};
use crate::grant::Grants;
use crate::sched::{self, At};
use crate::vcpu::Vcpu;
use crate::work::Work;
use crate::{clock, console};

/// Most vcpus of a domain (requirements 1.22).
pub const MAX_VCPUS: u32 = 32;
/// No shutdown code: the domain runs.
const RUNNING: u32 = u32::MAX;
/// Pauses of the toolstack that are not undone, at most; more are a mistake (Xen's
/// limit).
const MOST_PAUSES: u32 = 255;
/// No shared information page stands anywhere.
const NO_FRAME: u64 = u64::MAX;

/// What stays as it was when the domain was created.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Kind.
    pub flags: CreateFlags,
    /// Vcpus that it gets.
    pub max_vcpus: u32,
    /// Highest event channel port.
    pub max_event_port: u32,
    /// Most frames of its grant table.
    pub grant_frames: u32,
    /// Most frames of its grant mappings.
    pub maptrack_frames: u32,
    /// Highest version of its grant table.
    pub grant_version: u32,
    /// Devices.
    pub emulation: Emulation,
    /// Further properties.
    pub misc: MiscFlags,
}

impl Config {
    /// Dom0's.
    pub fn dom0(max_vcpus: u32, grant_frames: u32, maptrack_frames: u32) -> Self {
        Self {
            flags: CreateFlags::HVM | CreateFlags::HAP,
            max_vcpus,
            max_event_port: u32::MAX >> 1,
            grant_frames,
            maptrack_frames,
            grant_version: 1,
            emulation: Emulation::LAPIC | Emulation::IOAPIC,
            misc: MiscFlags::empty(),
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} vcpus, ports to {}, {} and {} grant frames, v{}, {:?}, {:?}",
            self.max_vcpus,
            self.max_event_port,
            self.grant_frames,
            self.maptrack_frames,
            self.grant_version,
            self.emulation,
            self.misc,
        )
    }
}

/// What the toolstack may change at any time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name for the toolstack, a UUID in most cases.
    pub handle: DomainHandle,
    /// Offset of its wall clock from the host's, in s.
    pub time_offset: i64,
    /// Its TSC, as the toolstack wants it.
    pub tsc: TscInfo,
    /// Whom it is the device model of: that domain, not a later one of its number.
    pub target: Option<Weak<Domain>>,
    /// Memory that its page tables may take beside what goes with its own memory, in bytes.
    pub paging_pool: u64,
}

/// What its vcpus are.
#[derive(Clone, Debug)]
struct Model {
    cpuid: cpuid::Policy,
    msrs: MsrPolicy,
}

impl Model {
    fn new(cpuid: cpuid::Policy) -> Self {
        Self { msrs: MsrPolicy::new(&cpuid, &HostValues::default()), cpuid }
    }
}

/// A domain.
pub struct Domain {
    id: DomId,
    config: Config,
    confines: Arc<Confines>,
    memory: DomainMemory,
    /// As it was created; what its vcpus are once it has been started is in `model`.
    initial: Model,
    /// What the toolstack has made of it.
    draft: Lock<Option<Model>>,
    model: Once<Model>,
    devices: Devices,
    events: Events,
    grants: Grants,
    /// Its share in the pcpus.
    share: Arc<Share>,
    /// Emptied when the domain is destroyed: they refer to it.
    vcpus: RwLock<Vec<Arc<Vcpu>>>,
    /// Reasons why none of its vcpus may run: pauses that were not undone yet.
    pauses: AtomicU32,
    /// Of them, those of the toolstack.
    controller_pauses: AtomicU32,
    /// The vector by which it hears of events (`HVM_PARAM_CALLBACK_IRQ`); 0 for none.
    callback: AtomicU8,
    /// A reason that it has announced for its end; [`RUNNING`] if none.
    announced: AtomicU32,
    watchdogs: Lock<Watchdogs>,
    /// Bit n: `vm_assist` number n is on.
    assists: AtomicU32,
    /// `SHUTDOWN_*` of `sched.h`, or [`RUNNING`].
    shutdown: AtomicU32,
    /// The toolstack looks at its vcpus, or is about to pause it.
    held: AtomicBool,
    /// It is being destroyed.
    dying: AtomicBool,
    settings: Lock<Settings>,
    /// `HVM_PARAM_*`.
    params: [AtomicU64; NR_PARAMS as usize],
    /// Console output up to the next end of line.
    line: Lock<GuestLine>,
}

impl Domain {
    /// A domain with memory and bitmaps as in `confines`, in which there are `frames`
    /// of RAM, and the CPU of `cpuid`, without vcpus.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn new(
        id: DomId,
        config: Config,
        handle: DomainHandle,
        confines: Confines,
        frames: u64,
        cpuid: cpuid::Policy,
    ) -> Result<Arc<Self>, OutOfFrames> {
        let settings =
            Settings { handle, time_offset: 0, tsc: TscInfo::new_zeroed(), target: None, paging_pool: 0 };
        let mut params = [const { AtomicU64::new(0) }; NR_PARAMS as usize];
        // As Xen's: a guest that faults three times is started again.
        if let Some(reason) = params.get_mut(HvmParam::TripleFaultReason as usize) {
            let default = if id == DomId::DOM0 { ShutdownReason::Crash } else { ShutdownReason::Reboot };
            *reason = AtomicU64::new(default as u64);
        }
        // Others are started by the toolstack.
        let paused = u32::from(id != DomId::DOM0);
        log::debug!("{id:?}: {config}");
        Ok(Arc::new(Self {
            id,
            config,
            memory: DomainMemory::new(id, frames)?,
            initial: Model::new(cpuid),
            draft: Lock::new(Rank::Domain, None),
            model: Once::new(),
            confines: Arc::new(confines),
            devices: Devices::new(id == DomId::DOM0),
            events: Events::new(config.max_vcpus, config.max_event_port)?,
            grants: Grants::new(id, config.grant_frames, config.maptrack_frames)?,
            share: Arc::default(),
            vcpus: RwLock::new(Vec::new()),
            pauses: AtomicU32::new(paused),
            controller_pauses: AtomicU32::new(paused),
            callback: AtomicU8::new(0),
            announced: AtomicU32::new(RUNNING),
            watchdogs: Lock::new(Rank::Lapic, Watchdogs::new()),
            assists: AtomicU32::new(0),
            shutdown: AtomicU32::new(RUNNING),
            held: AtomicBool::new(false),
            dying: AtomicBool::new(false),
            settings: Lock::new(Rank::Domain, settings),
            params,
            line: Lock::new(Rank::Domain, GuestLine::new(id)),
        }))
    }

    /// Gives the domain `count` vcpus, none of which runs yet. Once.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`]; it has no vcpus then.
    pub fn create_vcpus(self: &Arc<Self>, count: u32, config: &VmxConfig) -> Result<(), OutOfFrames> {
        let vcpus = (0..count).map(|id| Vcpu::new(id, self, config));
        let vcpus = vcpus.collect::<Result<Vec<_>, _>>()?;
        clock::write_wall(self.memory.shared_info(), self.settings.lock().time_offset);
        vcpus.iter().for_each(|vcpu| vcpu.shared().write_time(vcpu));
        *self.vcpus.write() = vcpus;
        self.events.set_vcpus(count);
        Ok(())
    }

    /// Its number.
    pub fn id(&self) -> DomId {
        self.id
    }

    /// How much memory it has, and what it shares with the hypervisor.
    pub fn memory(&self) -> &DomainMemory {
        &self.memory
    }

    /// Lets its page tables grow with the memory that it may have, 2 MiB by 2 MiB and as
    /// much again, and with what the toolstack puts aside for them.
    pub fn allow_tables(&self) {
        const FRAMES_PER_TABLE: u64 = 256;
        let pool = self.settings.lock().paging_pool / PAGE_SIZE;
        self.confines.allow_tables((self.memory.limit() / FRAMES_PER_TABLE).saturating_add(pool));
    }

    /// Its address space and bitmaps.
    pub fn confines(&self) -> &Arc<Confines> {
        &self.confines
    }

    /// As it was created.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the toolstack may change.
    pub fn settings(&self) -> &Lock<Settings> {
        &self.settings
    }

    /// What CPUID answers, once the domain has been started.
    #[inline]
    pub fn cpuid(&self) -> &cpuid::Policy {
        &self.model.get().unwrap_or(&self.initial).cpuid
    }

    /// Which MSRs there are, once the domain has been started.
    #[inline]
    pub fn msrs(&self) -> &MsrPolicy {
        &self.model.get().unwrap_or(&self.initial).msrs
    }

    /// What CPUID will answer as things stand.
    pub fn policy(&self) -> cpuid::Policy {
        if self.model.is_completed() {
            return self.cpuid().clone();
        }
        let draft = self.draft.lock();
        draft.as_ref().map_or(&self.initial, |draft| draft).cpuid.clone()
    }

    /// Sets what CPUID will answer; `false` if the domain has been started.
    pub fn set_policy(&self, cpuid: cpuid::Policy) -> bool {
        let draft = Model::new(cpuid);
        let mut current = self.draft.lock();
        if self.model.is_completed() {
            return false;
        }
        let old = current.replace(draft);
        drop(current);
        drop(old);
        true
    }

    /// The bits that its vcpus may set in CR4, as things stand.
    pub fn allowed_cr4(&self) -> u64 {
        if self.has_started() { self.cpuid().cr4() } else { self.policy().cr4() }
    }

    /// Whether it has ever been let run.
    pub fn has_started(&self) -> bool {
        self.model.is_completed()
    }

    /// What its vcpus are stays so from now on.
    fn start(&self) {
        let draft = self.draft.lock().take();
        self.model.call_once(|| draft.unwrap_or_else(|| self.initial.clone()));
    }

    /// Parameter `param`. Some are atomically read by others ([`HvmParam::CallbackIrq`]).
    pub fn param(&self, param: HvmParam) -> u64 {
        self.params.get(param as usize).map_or(0, |value| value.load(Ordering::Acquire))
    }

    /// The `SHUTDOWN_*` code with which a triple fault ends it.
    pub fn triple_fault_reason(&self) -> u32 {
        u32::try_from(self.param(HvmParam::TripleFaultReason)).unwrap_or(ShutdownReason::Crash as u32)
    }

    /// Sets parameter `param`.
    pub fn set_param(&self, param: HvmParam, value: u64) {
        if let Some(place) = self.params.get(param as usize) {
            place.store(value, Ordering::Release);
        }
    }

    /// The services of `vm_assist` that are on, a bit for each `VMASST_TYPE_*`.
    pub fn assists(&self) -> &AtomicU32 {
        &self.assists
    }

    /// Its vcpus; none when it has been destroyed.
    pub fn vcpus(&self) -> RwLockReadGuard<'_, Vec<Arc<Vcpu>>> {
        self.vcpus.read()
    }

    /// Its vcpu `id`.
    pub fn vcpu(&self, id: u32) -> Option<Arc<Vcpu>> {
        self.vcpus.read().get(usize::try_from(id).ok()?).cloned()
    }

    /// Its share in the pcpus.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Its devices.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Its event channels.
    #[inline]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What it has granted, and what it has mapped.
    #[inline]
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Whether its vcpus may run, if they have anything to do.
    pub fn may_run(&self) -> bool {
        let held = self.pauses.load(Ordering::SeqCst) != 0 || self.held.load(Ordering::SeqCst);
        !held && self.shutdown_code().is_none() && !self.is_dying()
    }

    /// Lets no vcpu run until [`Domain::unpause`]. Some can still be on a pcpu for a
    /// moment.
    pub fn pause(&self) {
        self.pauses.fetch_add(1, Ordering::SeqCst);
        self.vcpus().iter().for_each(sched::suspend);
    }

    /// Undoes one [`Domain::pause`].
    pub fn unpause(&self) {
        self.pauses.fetch_sub(1, Ordering::SeqCst);
        self.vcpus().iter().for_each(sched::resume);
    }

    /// Lets no vcpu run until [`Domain::release`], for one user at a time. `false` if some
    /// still are on a pcpu: ask again.
    pub fn hold(&self) -> bool {
        if !self.held.swap(true, Ordering::SeqCst) {
            self.vcpus().iter().for_each(sched::suspend);
        }
        !self.is_on_a_pcpu()
    }

    /// Undoes [`Domain::hold`].
    pub fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
        self.vcpus().iter().for_each(sched::resume);
    }

    /// Pauses it for the toolstack; `false` if that has been done too often.
    pub fn pause_by_controller(&self) -> bool {
        // Before it is counted: who finds it counted may undo it.
        self.pause();
        let more = |pauses: u32| (pauses < MOST_PAUSES).then_some(pauses + 1);
        let counted = self.controller_pauses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok();
        if !counted {
            self.unpause();
        }
        counted
    }

    /// Undoes a pause of the toolstack; `false` if there is none.
    pub fn unpause_by_controller(&self) -> bool {
        let fewer = |pauses: u32| pauses.checked_sub(1);
        let counted = self.controller_pauses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer);
        if counted.is_ok() {
            self.start();
            self.unpause();
        }
        counted.is_ok()
    }

    /// Lets no vcpu run ever again.
    pub fn begin_end(&self) {
        if !self.dying.swap(true, Ordering::SeqCst) {
            self.vcpus().iter().for_each(sched::suspend);
        }
    }

    /// Whether it is being destroyed.
    pub fn is_dying(&self) -> bool {
        self.dying.load(Ordering::SeqCst)
    }

    /// Whether one of its vcpus is on a pcpu. Once it is not, and none may run, no code
    /// of the domain's runs and none of its hypercalls is under way.
    pub fn is_on_a_pcpu(&self) -> bool {
        self.vcpus().iter().any(|vcpu| matches!(vcpu.schedule().lock().at(), At::Pcpu(_)))
    }

    /// Takes its vcpus away, none of which is on a pcpu, and with them all that keeps the
    /// domain in memory but those who have found it.
    pub fn take_vcpus(&self) -> Vec<Arc<Vcpu>> {
        core::mem::take(&mut *self.vcpus.write())
    }

    /// Undoes a shutdown, as after a suspend that was called off.
    pub fn resume(&self) {
        self.announced.store(RUNNING, Ordering::Relaxed);
        self.shutdown.store(RUNNING, Ordering::SeqCst);
        self.vcpus().iter().for_each(sched::resume);
    }

    /// What the toolstack is told about it.
    pub fn info(&self) -> GetDomainInfo {
        let handle = self.settings.lock().handle;
        let mut info = GetDomainInfo {
            domain: self.id.get(),
            tot_pages: self.memory.total(),
            max_pages: self.memory.limit(),
            outstanding_pages: self.memory.claimed(),
            shared_info_frame: self.memory.shared_info().gfn().map_or(NO_FRAME, |gfn| gfn.get()),
            max_vcpu_id: INVALID_MAX_VCPU_ID,
            handle,
            gpaddr_bits: hv_arch::cpu::phys_bits(),
            arch_config: ArchDomainConfig {
                emulation_flags: self.config.emulation.bits(),
                misc_flags: self.config.misc.bits(),
            },
            ..GetDomainInfo::new_zeroed()
        };
        let state = self.vcpu_flags(&mut info) | self.flags();
        // As Xen: all ones for a domain that has not stopped.
        info.flags = state.bits() | self.shutdown.load(Ordering::Acquire) << SHUTDOWN_SHIFT;
        info
    }

    /// Counts its vcpus; says what they do together.
    fn vcpu_flags(&self, info: &mut GetDomainInfo) -> DomainFlags {
        let mut flags = DomainFlags::BLOCKED;
        for vcpu in self.vcpus().iter() {
            let schedule = vcpu.schedule().lock();
            let [running, ..] = schedule.runstate(clock::now()).time;
            info.cpu_time = info.cpu_time.saturating_add(running);
            info.max_vcpu_id = vcpu.id();
            if !vcpu.is_up() {
                continue;
            }
            info.nr_online_vcpus += 1;
            flags.set(DomainFlags::BLOCKED, flags.contains(DomainFlags::BLOCKED) && schedule.is_asleep());
            flags |= if schedule.is_running() { DomainFlags::RUNNING } else { DomainFlags::empty() };
        }
        if info.nr_online_vcpus == 0 { DomainFlags::empty() } else { flags }
    }

    fn flags(&self) -> DomainFlags {
        let mut flags = DomainFlags::HVM_GUEST | DomainFlags::HAP;
        flags.set(DomainFlags::DYING, self.is_dying());
        flags.set(DomainFlags::SHUTDOWN, self.shutdown_code().is_some() && !self.is_on_a_pcpu());
        flags.set(DomainFlags::PAUSED, self.controller_pauses.load(Ordering::SeqCst) > 0);
        flags.set(DomainFlags::XS_DOMAIN, self.config.flags.contains(CreateFlags::XS_DOMAIN));
        flags
    }

    /// Whether it may do what concerns the machine or other domains.
    pub fn is_privileged(&self) -> bool {
        self.id == DomId::DOM0
    }

    /// Whether it may do to `other` what a device model or a toolstack does.
    pub fn may_manage(&self, other: &Self) -> bool {
        let is_target = |target: &Weak<Self>| core::ptr::eq(target.as_ptr(), other);
        self.is_privileged()
            || self.id == other.id
            || self.settings.lock().target.as_ref().is_some_and(is_target)
    }

    /// The vector by which it hears of events, past its local APICs.
    #[inline]
    pub fn callback(&self) -> Option<u8> {
        Some(self.callback.load(Ordering::Relaxed)).filter(|&vector| vector != 0)
    }

    /// Sets that vector; 0 for none.
    pub fn set_callback(&self, vector: u8) {
        self.callback.store(vector, Ordering::Relaxed);
        self.vcpus().iter().for_each(|vcpu| vcpu.notify(Work::EVENTS));
    }

    /// Whether copies of runstates are to say when they are being written
    /// (`VMASST_TYPE_runstate_update_flag`).
    pub fn flags_runstate(&self) -> bool {
        self.assists.load(Ordering::Relaxed) & 1 << VmAssistType::RunstateUpdateFlag as u32 != 0
    }

    /// Ends the domain if none of its vcpus is up: nothing can bring one back (Xen does
    /// the same).
    pub fn end_if_all_down(&self) {
        let all_down = self.vcpus().iter().all(|vcpu| !vcpu.is_up());
        if all_down {
            self.shut_down(ShutdownReason::Poweroff as u32);
        }
    }

    /// Notes why the domain will end, whatever it says when it does.
    pub fn announce_shutdown(&self, code: u32) {
        let _first = self.announced.compare_exchange(RUNNING, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Its watchdogs, which the timers of its first vcpu look after.
    pub fn watchdogs(&self) -> Guard<'_, Watchdogs> {
        self.watchdogs.lock()
    }

    /// Has the first vcpu look at the watchdogs' times again.
    pub fn watchdogs_changed(&self) {
        if let Some(first) = self.vcpu(0) {
            first.notify(Work::TIMERS);
        }
    }

    /// Ends the domain with a `SHUTDOWN_*` code, or with the one announced; the first
    /// one counts.
    pub fn shut_down(&self, code: u32) {
        let announced = Some(self.announced.load(Ordering::Relaxed)).filter(|&code| code != RUNNING);
        let code = announced.unwrap_or(code);
        let first = self.shutdown.compare_exchange(RUNNING, code, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok() {
            self.vcpus().iter().for_each(sched::suspend);
            self.tell_stopped();
        }
    }

    /// Tells the toolstack of a domain that has shut down, as soon as none of its vcpus
    /// runs: it then finds it shut down.
    pub fn tell_stopped(&self) {
        if self.shutdown_code().is_some() && !self.is_on_a_pcpu() {
            event::raise_global(Virq::DomExc);
        }
    }

    /// The code with which it ended, if it did.
    pub fn shutdown_code(&self) -> Option<u32> {
        Some(self.shutdown.load(Ordering::Acquire)).filter(|&code| code != RUNNING)
    }

    /// Prints what a guest writes to the console, line by line.
    pub fn console_write(&self, bytes: &[u8]) {
        let privileged = self.is_privileged();
        self.line.lock().write(bytes, |line| {
            if privileged {
                log::error!("{line}");
            } else {
                // As many as `guest_loglvl` allows, and not faster than one can read.
                log::warn!(target: console::GUEST, "{line}");
            }
        });
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.id)
    }
}
