//! Domains: an identity, confines, vcpus, and what has become of them.

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hv_arch::confines::Confines;
use hv_arch::sync::{Lock, Rank};
use hv_core::cpuid;
use hv_core::frame::OutOfFrames;
use hv_core::id::DomId;
use hv_core::msr_policy::{HostValues, MsrPolicy};
use hv_core::vmx_caps::VmxConfig;
use spin::{RwLock, RwLockReadGuard};

use xen_abi::sched::ShutdownReason;
use xen_abi::xen::{Virq, VmAssistType};

use crate::clock;
use crate::devices::Devices;
use crate::domain_memory::DomainMemory;
use crate::event::{self, Events};
use crate::sched;
use crate::vcpu::Vcpu;
use crate::work::Work;

/// Most vcpus of a domain (requirements 1.22).
pub const MAX_VCPUS: u32 = 32;
/// No shutdown code: the domain runs.
const RUNNING: u32 = u32::MAX;
/// Longest line of guest output kept back until its end comes.
const LINE: usize = 128;

/// A domain.
pub struct Domain {
    id: DomId,
    confines: Arc<Confines>,
    memory: DomainMemory,
    cpuid: cpuid::Policy,
    msrs: MsrPolicy,
    devices: Devices,
    events: Events,
    /// Emptied when the domain is destroyed: they refer to it.
    vcpus: RwLock<Vec<Arc<Vcpu>>>,
    /// Reasons why none of its vcpus may run: pauses that were not undone yet.
    pauses: AtomicU32,
    /// The vector by which it hears of events (`HVM_PARAM_CALLBACK_IRQ`); 0 for none.
    callback: AtomicU8,
    /// Bit n: `vm_assist` number n is on.
    assists: AtomicU32,
    /// `SHUTDOWN_*` of `sched.h`, or [`RUNNING`].
    shutdown: AtomicU32,
    /// Console output up to the next end of line.
    line: Lock<String>,
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
        confines: Confines,
        frames: u64,
        cpuid: cpuid::Policy,
    ) -> Result<Arc<Self>, OutOfFrames> {
        let msrs = MsrPolicy::new(&cpuid, &HostValues::default());
        Ok(Arc::new(Self {
            id,
            memory: DomainMemory::new(id, frames)?,
            cpuid,
            msrs,
            confines: Arc::new(confines),
            devices: Devices::new(id == DomId::DOM0),
            events: Events::new()?,
            vcpus: RwLock::new(Vec::new()),
            pauses: AtomicU32::new(0),
            callback: AtomicU8::new(0),
            assists: AtomicU32::new(0),
            shutdown: AtomicU32::new(RUNNING),
            line: Lock::new(Rank::Domain, String::new()),
        }))
    }

    /// Gives the domain `count` vcpus, none of which runs yet. Once.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn create_vcpus(self: &Arc<Self>, count: u32, config: &VmxConfig) -> Result<(), OutOfFrames> {
        let vcpus = (0..count).map(|id| Vcpu::new(id, self, config));
        let vcpus = vcpus.collect::<Result<Vec<_>, _>>()?;
        clock::write_wall(self.memory.shared_info(), 0);
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

    /// Its address space and bitmaps.
    pub fn confines(&self) -> &Arc<Confines> {
        &self.confines
    }

    /// What CPUID answers.
    pub fn cpuid(&self) -> &cpuid::Policy {
        &self.cpuid
    }

    /// Which MSRs there are.
    pub fn msrs(&self) -> &MsrPolicy {
        &self.msrs
    }

    /// Its vcpus; none when it has been destroyed.
    pub fn vcpus(&self) -> RwLockReadGuard<'_, Vec<Arc<Vcpu>>> {
        self.vcpus.read()
    }

    /// Its vcpu `id`.
    pub fn vcpu(&self, id: u32) -> Option<Arc<Vcpu>> {
        self.vcpus.read().get(usize::try_from(id).ok()?).cloned()
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

    /// Whether its vcpus may run, if they have anything to do.
    pub fn may_run(&self) -> bool {
        self.pauses.load(Ordering::SeqCst) == 0 && self.shutdown_code().is_none()
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

    /// Whether it may do what concerns the machine or other domains.
    pub fn is_privileged(&self) -> bool {
        self.id == DomId::DOM0
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

    /// Ends the domain with a `SHUTDOWN_*` code; the first one counts.
    pub fn shut_down(&self, code: u32) {
        let first = self.shutdown.compare_exchange(RUNNING, code, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok() {
            self.vcpus().iter().for_each(sched::suspend);
            event::raise_global(Virq::DomExc);
        }
    }

    /// The code with which it ended, if it did.
    pub fn shutdown_code(&self) -> Option<u32> {
        Some(self.shutdown.load(Ordering::Acquire)).filter(|&code| code != RUNNING)
    }

    /// Prints what a guest writes to the console, line by line. Control characters
    /// other than tab do not reach the administrator's terminal.
    pub fn console_write(&self, bytes: &[u8]) {
        let mut line = self.line.lock();
        for &byte in bytes {
            match byte {
                b'\n' => self.print(&mut line),
                b'\t' | b' '..=b'~' => line.push(char::from(byte)),
                _ => {}
            }
            if line.len() >= LINE {
                self.print(&mut line);
            }
        }
    }

    fn print(&self, line: &mut String) {
        log::error!("(d{}) {line}", self.id);
        line.clear();
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.id)
    }
}
