//! Dom0: from the boot modules to a domain that can run.
//!
//! Dom0 has RAM at its real addresses, so that it can drive devices by DMA
//! without an IOMMU. The first module is its kernel, the second its initial RAM
//! disk. What it finds at its start lies at the end of its first RAM range:
//!
//! ```text
//!   ... | initial RAM disk | start info, module list, memory map, command line | end
//! ```

mod space;

use core::fmt;
use core::ops::RangeInclusive;

use alloc::sync::Arc;
use alloc::vec::Vec;
use hv_arch::confines::{AccessError, Confines};
use hv_arch::memory::{FirmwareMemory, Layout};
use hv_arch::time;
use hv_core::addr::{GuestPhysAddr, PAGE_SIZE, PhysRange};
use hv_core::boot_info::BootInfo;
use hv_core::cpuid::Tsc;
use hv_core::frame::{AddError, OutOfFrames};
use hv_core::id::DomId;
use hv_core::image::{ImageError, KernelImage};
use hv_core::vcpu_state::VcpuState;
use hv_core::vmx_caps::VmxConfig;
use xen_abi::hvm_start_info::{HvmMemmapTableEntry, HvmModlistEntry, HvmStartInfo, START_MAGIC};
use xen_abi::memory::E820Entry;
use xen_abi::xen::StartFlags;
use zerocopy::{FromZeros, IntoBytes};

pub use space::map_on_demand;

use crate::domain::{Config, Domain};
use crate::{cpuid, domains, init, vcpu};

/// Why there is no Dom0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dom0Error {
    /// The loader passed no module.
    NoModule,
    /// A module's memory cannot be reached.
    Unreachable,
    /// The first module is no kernel that can be started.
    Image(ImageError),
    /// The kernel wants to be where Dom0 has no RAM.
    DoesNotFit(PhysRange),
    /// The initial RAM disk and the start information do not fit.
    TooSmall,
    /// The hypervisor has no memory for its tables.
    OutOfMemory,
    /// Its memory is not free.
    Claim(AddError),
    /// A mapping failed.
    Access(AccessError),
}

impl fmt::Display for Dom0Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoModule => f.write_str(
                "Dom0 kernel not specified: the boot loader passed no module \
                 (GRUB: add a line `module2 /boot/...` for Dom0's kernel)",
            ),
            Self::Unreachable => f.write_str("Dom0 kernel: the boot module's memory cannot be reached"),
            Self::Image(error) => write!(f, "Dom0 kernel: {error}"),
            Self::DoesNotFit(range) => {
                write!(
                    f,
                    "Dom0 kernel: it is to be loaded at {range}, where Dom0 has no RAM: raise dom0_mem="
                )
            }
            Self::TooSmall => {
                f.write_str("Dom0: its memory cannot hold kernel and initial RAM disk: raise dom0_mem=")
            }
            Self::OutOfMemory => f.write_str("Dom0: out of memory for its tables: lower dom0_mem="),
            Self::Claim(error) => write!(f, "Dom0: its memory could not be claimed: {error}"),
            Self::Access(error) => write!(f, "Dom0: its memory could not be mapped: {error:?}"),
        }
    }
}

impl From<OutOfFrames> for Dom0Error {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfMemory
    }
}

impl From<AddError> for Dom0Error {
    fn from(error: AddError) -> Self {
        Self::Claim(error)
    }
}

impl From<AccessError> for Dom0Error {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

/// Builds Dom0 with `vcpus` vcpus, the first one ready to run, and with all I/O ports
/// but `own_ports`.
///
/// # Errors
///
/// See [`Dom0Error`].
pub fn build(
    info: &BootInfo,
    layout: &Layout,
    vcpus: u32,
    config: &VmxConfig,
    own_ports: &[RangeInclusive<u16>],
) -> Result<Arc<Domain>, Dom0Error> {
    let file = layout.modules().first().ok_or(Dom0Error::NoModule)?;
    let file = FirmwareMemory::bytes(*file).ok_or(Dom0Error::Unreachable)?;
    let image = KernelImage::parse(file).map_err(Dom0Error::Image)?;
    log::info!(
        "Dom0 kernel: PVH {}, {} KiB, phys {}, entry {:#x}",
        image.class(),
        file.len() / 1024,
        image.load(),
        image.entry(),
    );

    let mut confines = Confines::new(DomId::DOM0, config)?;
    confines.pass_ports_except(own_ports)?;
    let map = init::memory_map();
    let own = layout.claim_dom0(map)?;
    for range in &own {
        confines.map_ram(address(range.start())?, *range)?;
    }
    space::map(&confines, map)?;
    let told = space::memory_map(map, &own);
    load(&confines, layout, &image)?;
    let start_info = write_start_info(&confines, info, layout, &image, &told)?;
    let memory: u64 = layout.dom0().iter().map(|range| range.len()).sum();
    let policy = cpuid::policy(DomId::DOM0, vcpus, config, tsc());
    let config0 = Config::dom0(vcpus, init::grant_frames(), init::maptrack_frames());
    let domain = Domain::new(DomId::DOM0, config0, [0; 16], confines, memory / PAGE_SIZE, policy)?;
    // The first of its number.
    domains::insert(&domain);
    *domain.memory().map().lock() = told;
    domain.create_vcpus(vcpus, config)?;
    if let Some(first) = domain.vcpus().first() {
        let start_info = u32::try_from(start_info).map_err(|_| Dom0Error::TooSmall)?;
        let state = VcpuState::pvh_start(image.entry(), start_info);
        vcpu::start(first, &mut first.state().lock(), config, &state);
    }
    log::info!("Dom0 has {} vcpus and {} KiB of memory", vcpus, memory / 1024);
    if info.modules_dropped > 0 {
        log::warn!("modules: {} too many, ignored", info.modules_dropped);
    }
    Ok(domain)
}

/// The TSC of a domain that has the host's.
pub fn tsc() -> Tsc {
    let khz = u32::try_from(time::tsc_hz() / 1_000).unwrap_or(u32::MAX);
    Tsc {
        host_reliable: hv_arch::cpu::features().invariant_tsc,
        guest_khz: khz,
        host_khz: khz,
        ..Tsc::default()
    }
}

fn address(raw: u64) -> Result<GuestPhysAddr, Dom0Error> {
    GuestPhysAddr::new(raw).ok_or(Dom0Error::TooSmall)
}

fn load(confines: &Confines, layout: &Layout, image: &KernelImage<'_>) -> Result<(), Dom0Error> {
    for segment in image.segments() {
        let range = segment.range();
        if !layout.dom0().iter().any(|ram| ram.contains(range)) {
            return Err(Dom0Error::DoesNotFit(range));
        }
        confines.write(address(range.start())?, segment.data())?;
        let zeros = range.start() + segment.data().len() as u64;
        confines.zero(address(zeros)?, range.end() - zeros)?;
    }
    Ok(())
}

/// Places things downwards from the end of Dom0's memory.
struct Top<'a> {
    confines: &'a Confines,
    next: u64,
    floor: u64,
}

impl Top<'_> {
    /// Copies `bytes` there, aligned to `align`; returns where.
    fn place(&mut self, bytes: &[u8], align: u64) -> Result<u64, Dom0Error> {
        let start = self.next.checked_sub(bytes.len() as u64).ok_or(Dom0Error::TooSmall)? & !(align - 1);
        if start < self.floor {
            return Err(Dom0Error::TooSmall);
        }
        self.confines.write(address(start)?, bytes)?;
        self.next = start;
        Ok(start)
    }

    fn place_text(&mut self, text: &str) -> Result<u64, Dom0Error> {
        let mut bytes = Vec::from(text);
        bytes.push(0);
        self.place(&bytes, 8)
    }
}

/// Writes the start information; returns its address.
fn write_start_info(
    confines: &Confines,
    info: &BootInfo,
    layout: &Layout,
    image: &KernelImage<'_>,
    told: &[E820Entry],
) -> Result<u64, Dom0Error> {
    let kernel = image.load();
    let ram = layout.dom0().iter().find(|ram| ram.contains(kernel)).ok_or(Dom0Error::TooSmall)?;
    // All of it is named by 32-bit registers and, for a start, mapped below 4 GiB.
    let mut top = Top { confines, next: ram.end().min(1 << 32), floor: kernel.end() };

    let command_line = |index: usize| info.modules.get(index).map_or("", |module| &module.command_line);
    let mut modules = Vec::new();
    for (index, file) in layout.modules().iter().enumerate().skip(1) {
        let bytes = FirmwareMemory::bytes(*file).ok_or(Dom0Error::Unreachable)?;
        modules.push(HvmModlistEntry {
            paddr: top.place(bytes, PAGE_SIZE)?,
            size: file.len(),
            cmdline_paddr: top.place_text(command_line(index))?,
            reserved: 0,
        });
    }
    let memory_map: Vec<_> = told.iter().map(start_info_entry).collect();
    let rsdp = match init::rsdp(info) {
        Some(rsdp) => top.place(&rsdp.to_bytes(), 16)?,
        None => 0,
    };
    let start_info = HvmStartInfo {
        magic: START_MAGIC,
        version: 1,
        flags: (StartFlags::PRIVILEGED | StartFlags::INITDOMAIN).bits(),
        nr_modules: u32::try_from(modules.len()).unwrap_or(0),
        modlist_paddr: top.place(modules.as_slice().as_bytes(), 8)?,
        cmdline_paddr: top.place_text(command_line(0))?,
        rsdp_paddr: rsdp,
        memmap_paddr: top.place(memory_map.as_slice().as_bytes(), 8)?,
        memmap_entries: u32::try_from(memory_map.len()).unwrap_or(0),
        ..HvmStartInfo::new_zeroed()
    };
    top.place(start_info.as_bytes(), 8)
}

fn start_info_entry(entry: &E820Entry) -> HvmMemmapTableEntry {
    HvmMemmapTableEntry { addr: entry.addr, size: entry.size, kind: entry.kind, reserved: 0 }
}
