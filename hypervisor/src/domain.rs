//! Domains: an identity, confines, vcpus, and what has become of them.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

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
use spin::Once;

use crate::vcpu::Vcpu;

/// No shutdown code: the domain runs.
const RUNNING: u32 = u32::MAX;
/// Longest line of guest output kept back until its end comes.
const LINE: usize = 128;

/// A domain.
pub struct Domain {
    id: DomId,
    confines: Arc<Confines>,
    cpuid: cpuid::Policy,
    msrs: MsrPolicy,
    vcpus: Once<Vec<Arc<Vcpu>>>,
    /// `SHUTDOWN_*` of `sched.h`, or [`RUNNING`].
    shutdown: AtomicU32,
    /// Console output up to the next end of line.
    line: Lock<String>,
}

impl Domain {
    /// A domain with memory and bitmaps as in `confines` and the CPU of `cpuid`,
    /// without vcpus.
    pub fn new(id: DomId, confines: Confines, cpuid: cpuid::Policy) -> Arc<Self> {
        let msrs = MsrPolicy::new(&cpuid, &HostValues::default());
        Arc::new(Self {
            id,
            cpuid,
            msrs,
            confines: Arc::new(confines),
            vcpus: Once::new(),
            shutdown: AtomicU32::new(RUNNING),
            line: Lock::new(Rank::Domain, String::new()),
        })
    }

    /// Gives the domain `count` vcpus, none of which runs yet. Once.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn create_vcpus(self: &Arc<Self>, count: u32, config: &VmxConfig) -> Result<(), OutOfFrames> {
        let vcpus = (0..count).map(|id| Vcpu::new(id, self, config));
        let vcpus = vcpus.collect::<Result<Vec<_>, _>>()?;
        self.vcpus.call_once(|| vcpus);
        Ok(())
    }

    /// Its number.
    pub fn id(&self) -> DomId {
        self.id
    }

    /// Its memory and bitmaps.
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

    /// Its vcpus.
    pub fn vcpus(&self) -> &[Arc<Vcpu>] {
        self.vcpus.get().map_or(&[], Vec::as_slice)
    }

    /// Whether it may do what concerns the machine or other domains.
    pub fn is_privileged(&self) -> bool {
        self.id == DomId::DOM0
    }

    /// Ends the domain with a `SHUTDOWN_*` code; the first one counts.
    pub fn shut_down(&self, code: u32) {
        let _ = self.shutdown.compare_exchange(RUNNING, code, Ordering::AcqRel, Ordering::Acquire);
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
