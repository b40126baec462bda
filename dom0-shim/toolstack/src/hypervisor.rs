//! The hypervisor's calls as one interface, so that tests can stand in for it.

use alloc::vec::Vec;

use xen_abi::RawPort;
use xen_abi::domctl::{GetDomainInfo, GetVcpuInfo, SchedCredit, Trigger};
use xen_abi::errno::Errno;
use xen_abi::hvm_params::HvmParam;
use xen_abi::sched::ShutdownReason;
use xen_abi::sysctl::{CpuTopo, CreditSchedule, MemInfo, PhysInfo};
use xen_abi::version::{
    CapabilitiesInfo, ChangesetInfo, CommandLine, CompileInfo, ExtraVersion, PlatformParameters, VersionOp,
};
use xen_abi::xen::DomainHandle;
use xen_control::builder::{self, Built, Config};
use xen_control::calls::Cpupool;
use xen_control::console::Console;
use xen_control::foreign::Window;
use xen_control::{Error, Host, calls};
use xl::toolstack::DomId;
use zerocopy::FromZeros;

use crate::manager::DOM0;

/// A console's ring, seen from the back end.
pub trait Ring {
    /// Takes what the guest wrote since the last call, at most a ring full.
    ///
    /// # Errors
    ///
    /// [`Error::BadAnswer`] when its index makes no sense.
    fn take(&mut self) -> Result<Vec<u8>, Error>;

    /// Types, as far as there is room; returns how many bytes there was room for.
    ///
    /// # Errors
    ///
    /// [`Error`].
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Error>;
}

impl<H: Host> Ring for Console<'_, H> {
    fn take(&mut self) -> Result<Vec<u8>, Error> {
        Console::take(self)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        Console::send(self, bytes)
    }
}

/// What the hypervisor tells of itself (`xen_version`).
#[derive(Clone, Debug)]
pub struct About {
    /// Version of the interface: major, minor.
    pub version: (u32, u32),
    /// What follows the version.
    pub extra_version: ExtraVersion,
    /// Kinds of guests.
    pub capabilities: CapabilitiesInfo,
    /// Source version.
    pub changeset: ChangesetInfo,
    /// Its command line.
    pub command_line: CommandLine,
    /// How it was built.
    pub compiled: CompileInfo,
    /// First address that belongs to the hypervisor.
    pub virt_start: u64,
    /// Bytes of a page.
    pub page_size: u32,
    /// Build id.
    pub build_id: Vec<u8>,
}

/// Declares the interface, and its implementation by the functions of
/// [`xen_control::calls`] of the same names.
macro_rules! hypervisor {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        /// The hypervisor. Each function fails as the one of [`xen_control`] does; the
        /// domain `domain` is meant exactly.
        pub trait Hypervisor {
            /// A console's ring.
            type Ring: Ring;

            $($(#[$doc])*
            ///
            /// # Errors
            ///
            /// [`Error`].
            fn $name(&self, $($argument: $type),*) -> Result<$result, Error>;)*

            /// Builds a domain; see [`builder::build_in_slices`].
            fn build(
                &self,
                config: &Config<'_>,
                pause: impl AsyncFn(),
            ) -> impl Future<Output = Result<Built, Error>>;

            /// Lets Dom0 map a new domain's rings by grants.
            ///
            /// # Errors
            ///
            /// [`Error`].
            fn grant_rings(&self, built: &Built) -> Result<(), Error>;

            /// What is known of the domain.
            ///
            /// # Errors
            ///
            /// [`Error::Refused`] with `ESRCH` where there is none.
            fn info(&self, domain: DomId) -> Result<GetDomainInfo, Error>;

            /// All domains, by number.
            ///
            /// # Errors
            ///
            /// [`Error`].
            fn domains(&self) -> Result<Vec<GetDomainInfo>, Error>;

            /// Maps a console's ring.
            ///
            /// # Errors
            ///
            /// [`Error`].
            fn open_ring(&self, domain: DomId, frame: u64) -> Result<Self::Ring, Error>;

            /// What it tells of itself.
            ///
            /// # Errors
            ///
            /// [`Error`].
            fn about(&self) -> Result<About, Error>;
        }

        impl<'a, H: Host> Hypervisor for &'a Window<H> {
            type Ring = Console<'a, H>;

            $(fn $name(&self, $($argument: $type),*) -> Result<$result, Error> {
                calls::$name(self.host(), $($argument),*)
            })*

            async fn build(&self, config: &Config<'_>, pause: impl AsyncFn()) -> Result<Built, Error> {
                builder::build_in_slices(self, config, pause).await
            }

            fn grant_rings(&self, built: &Built) -> Result<(), Error> {
                builder::grant_rings(self, built, DOM0)
            }

            fn info(&self, domain: DomId) -> Result<GetDomainInfo, Error> {
                let info = calls::info(self.host(), domain)?;
                // The call tells of the next domain where there is none of this number.
                let same = info.domain == domain;
                same.then_some(info).ok_or(Error::Refused("getdomaininfo", Errno::ESRCH))
            }

            fn domains(&self) -> Result<Vec<GetDomainInfo>, Error> {
                domains(self.host())
            }

            fn open_ring(&self, domain: DomId, frame: u64) -> Result<Self::Ring, Error> {
                Console::open(self, domain, frame)
            }

            fn about(&self) -> Result<About, Error> {
                about(self.host())
            }
        }
    };
}

hypervisor! {
    /// One slice of a domain's end; whether it was the last one.
    destroy_slice(domain: DomId) -> bool;
    /// All of it.
    destroy(domain: DomId) -> ();
    /// Stops its vcpus.
    pause(domain: DomId) -> ();
    /// Lets them run.
    unpause(domain: DomId) -> ();
    /// Its name for the toolstack.
    set_handle(domain: DomId, handle: DomainHandle) -> ();
    /// Its wall clock, seconds ahead of the host's.
    set_time_offset(domain: DomId, seconds: i64) -> ();
    /// Its share of the pcpus.
    share(domain: DomId) -> SchedCredit;
    /// Changes it: weight 0 and cap 65535 keep what is.
    set_share(domain: DomId, share: SchedCredit) -> ();
    /// Limits its memory, in KiB.
    max_mem(domain: DomId, kib: u64) -> ();
    /// One vcpu.
    vcpu_info(domain: DomId, vcpu: u32) -> GetVcpuInfo;
    /// Pcpus on which a vcpu may run, and runs best, as bits.
    get_affinity(domain: DomId, vcpu: u32) -> (u64, u64);
    /// Changes the first.
    set_affinity(domain: DomId, vcpu: u32, pcpus: u64) -> ();
    /// Changes the second.
    set_soft_affinity(domain: DomId, vcpu: u32, pcpus: u64) -> ();
    /// Presses a button.
    trigger(domain: DomId, trigger: Trigger, vcpu: u32) -> ();
    /// Sets a parameter of its own.
    set_param(domain: DomId, param: HvmParam, value: u64) -> ();
    /// Tells it.
    get_param(domain: DomId, param: HvmParam) -> u64;
    /// Makes a port of its own that waits for `remote`.
    alloc_unbound(domain: DomId, remote: DomId) -> RawPort;
    /// The machine.
    physinfo() -> PhysInfo;
    /// The CPU pools, by number.
    cpupools() -> Vec<Cpupool>;
    /// Number of the scheduler.
    scheduler() -> u32;
    /// Memory of the NUMA nodes, and their distances, one row after the other.
    nodes() -> (Vec<MemInfo>, Vec<u32>);
    /// Where the pcpus are.
    pcpus() -> Vec<CpuTopo>;
    /// Parameters of the credit scheduler.
    slices() -> CreditSchedule;
    /// Changes them.
    set_slices(slices: CreditSchedule) -> ();
    /// Reads its log from `index` on, or from its start: how much, and where it ended.
    read_log(index: Option<u32>, clear: bool, to: &mut [u8]) -> (usize, u32);
    /// Gives it keys.
    debug_keys(keys: &str) -> ();
    /// Stops Dom0, and with it the machine.
    shutdown(reason: ShutdownReason) -> ();
}

fn domains(host: &impl Host) -> Result<Vec<GetDomainInfo>, Error> {
    const BATCH: u32 = 64;
    let mut all: Vec<GetDomainInfo> = Vec::new();
    let mut next = Some(0);
    while let Some(first) = next {
        let some = calls::list(host, first, BATCH)?;
        let full = some.len() >= BATCH as usize;
        next = some.last().filter(|_| full).and_then(|last| last.domain.checked_add(1));
        all.extend(some);
    }
    Ok(all)
}

fn about(host: &impl Host) -> Result<About, Error> {
    const PAGE_SIZE: u32 = 4096;
    let number = calls::version(host, VersionOp::Version, &mut 0_u64)?;
    let version = u32::try_from(number).unwrap_or(0);
    let page_size = calls::version(host, VersionOp::Pagesize, &mut 0_u64)?;
    let mut about = About {
        version: (version >> 16, version & 0xffff),
        extra_version: [0; 16],
        capabilities: [0; 1024],
        changeset: [0; 64],
        command_line: [0; 1024],
        compiled: CompileInfo::new_zeroed(),
        virt_start: 0,
        page_size: u32::try_from(page_size).unwrap_or(PAGE_SIZE),
        build_id: calls::build_id(host)?,
    };
    calls::version(host, VersionOp::ExtraVersion, &mut about.extra_version)?;
    calls::version(host, VersionOp::Capabilities, &mut about.capabilities)?;
    calls::version(host, VersionOp::Changeset, &mut about.changeset)?;
    calls::version(host, VersionOp::CommandLine, &mut about.command_line)?;
    calls::version(host, VersionOp::CompileInfo, &mut about.compiled)?;
    let mut platform = PlatformParameters::new_zeroed();
    calls::version(host, VersionOp::PlatformParameters, &mut platform)?;
    about.virt_start = platform.virt_start;
    Ok(about)
}
