//! A PVH domain from kernel, modules and command line.
//!
//! ```text
//!  guest-physical
//!  0          kernel ...   modules, start information | end of low RAM ... | ACPI tables | special pages | 4 GiB  high RAM
//!             its own      downwards from the end,                           0xfc000000    0xfeff8000
//!                          or from 1 GiB
//! ```

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use xen_abi::RawDomid;
use xen_abi::arch_x86::Emulation;
use xen_abi::domctl::{CreateDomain, CreateFlags};
use xen_abi::grant_table::{GrantEntryV1, GrantType, RESERVED_CONSOLE, RESERVED_XENSTORE};
use xen_abi::hvm_params::HvmParam;
use xen_abi::hvm_start_info::{
    HvmMemmapTableEntry, HvmMemmapType, HvmModlistEntry, HvmStartInfo, START_MAGIC,
};
use xen_abi::memory::E820Entry;
use xen_abi::xen::DomainHandle;
use zerocopy::{FromZeros, IntoBytes};

use crate::acpi::Tables;
use crate::foreign::{MOST_FRAMES, Window};
use crate::image::Kernel;
use crate::{Error, Host, PAGE_SIZE, calls, context};

/// Frames that the toolstack and the guest share, below the last 16 MiB before 4 GiB
/// where devices are.
const SPECIAL_FIRST: u64 = 0xf_eff8;
const SPECIAL_COUNT: u64 = 8;
/// Frames of both kinds.
const OTHER_COUNT: u64 = SPECIAL_COUNT + ACPI_COUNT;
/// Frames of the ACPI tables, where libxl has them.
const ACPI_FIRST: u64 = 0xf_c000;
const ACPI_COUNT: u64 = 1;
/// Frame of the XenStore's ring.
const STORE: u64 = SPECIAL_FIRST + 4;
/// Frame of the console's ring.
const CONSOLE: u64 = SPECIAL_FIRST + 7;
/// First frame above low RAM: the rest of the lowest 4 GiB is for devices.
const LOW_END: u64 = 0xf_0000;
/// Modules and start information lie below: until it has page tables of its own, Linux maps the first GiB only
/// (arch/x86/platform/pvh/head.S, `level2_ident_pgt`).
const TOP: u64 = 1 << 30;
/// First frame of high RAM.
const HIGH_START: u64 = 1 << 20;
/// Sizes of extents to try: 1 GiB, 2 MiB, 4 KiB.
const ORDERS: [u32; 3] = [18, 9, 0];
/// Extents in one call.
const BATCH: u64 = 512;
/// Pages in one call, 64 MiB: the hypervisor clears them, and no task of Dom0 runs
/// meanwhile. One extent that is larger is a call of its own.
const SLICE_PAGES: u64 = 64 << 8;

/// A file for the guest.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its command line.
    pub command_line: &'a str,
}

/// What a domain is to be.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// PVH kernel: an ELF file, bare or compressed, or a bzImage.
    pub kernel: &'a [u8],
    /// Its command line.
    pub command_line: &'a str,
    /// Its modules.
    pub modules: &'a [Module<'a>],
    /// Memory, in pages.
    pub pages: u64,
    /// Most memory that it may have later, in pages; never less than `pages`.
    pub max_pages: u64,
    /// Vcpus.
    pub vcpus: u32,
    /// Name for the toolstack.
    pub handle: DomainHandle,
    /// Highest event channel port.
    pub max_port: u32,
    /// Most frames of its grant table.
    pub grant_frames: i32,
    /// Most frames of its grant mappings.
    pub maptrack_frames: i32,
}

impl Config<'_> {
    /// A domain with one vcpu and `mib` MiB, without a kernel yet.
    #[must_use]
    pub fn new(mib: u64) -> Self {
        Self {
            kernel: &[],
            command_line: "",
            modules: &[],
            pages: mib << 8,
            max_pages: 0,
            vcpus: 1,
            handle: [0; 16],
            max_port: 1023,
            grant_frames: 4,
            maptrack_frames: 4,
        }
    }
}

/// A domain that was built. It is paused, and stays when this is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Built {
    /// Its number.
    pub id: RawDomid,
    /// Guest frame of its console's ring.
    pub console: u64,
    /// Guest frame of its XenStore ring.
    pub store: u64,
}

/// Builds a domain; it waits to be unpaused. After an error nothing is left of it.
///
/// # Errors
///
/// [`Error`].
pub fn build<H: Host>(window: &Window<H>, config: &Config<'_>) -> Result<Built, Error> {
    let mut building = pin!(build_in_slices(window, config, async || {}));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        // Nothing in it waits, so the first turn is the last.
        if let Poll::Ready(built) = building.as_mut().poll(&mut context) {
            return built;
        }
    }
}

/// As [`build`]; others run in between, whenever `pause` is awaited. The domain is also
/// destroyed if this is dropped before it is done.
///
/// # Errors
///
/// [`Error`].
pub async fn build_in_slices<H: Host>(
    window: &Window<H>,
    config: &Config<'_>,
    pause: impl AsyncFn(),
) -> Result<Built, Error> {
    // A kernel that cannot be loaded costs no domain.
    let mut kernel = Kernel::open(config.kernel, &pause).await?;
    let layout = Layout::new(config.pages);
    check_room(&kernel, config, &layout)?;
    let unfinished = create(window, config)?;
    let id = unfinished.id;
    calls::claim(window.host(), id, config.pages.saturating_add(OTHER_COUNT))?;
    for ram in layout.low.iter().chain(&layout.high) {
        populate(window.host(), id, *ram, &pause).await?;
    }
    populate(window.host(), id, (ACPI_FIRST, ACPI_FIRST + ACPI_COUNT), &pause).await?;
    populate(window.host(), id, (SPECIAL_FIRST, SPECIAL_FIRST + SPECIAL_COUNT), &pause).await?;
    calls::claim(window.host(), id, 0)?;
    calls::set_memory_map(window.host(), id, &mut layout.e820())?;
    let memory = Memory { window, id, pause: &pause };
    memory.load(&mut kernel).await?;
    let entry = kernel.entry()?;
    let start_info = memory.write_start_info(config, kernel.end(), &layout).await?;
    memory.clear(&(SPECIAL_FIRST..SPECIAL_FIRST + SPECIAL_COUNT).collect::<Vec<_>>())?;
    calls::set_param(window.host(), id, HvmParam::ConsolePfn, CONSOLE)?;
    calls::set_param(window.host(), id, HvmParam::StorePfn, STORE)?;
    let current = calls::get_context(window.host(), id)?;
    let mut records = context::pvh_start(&current, entry, start_info)?;
    calls::set_context(window.host(), id, &mut records)?;
    Ok(unfinished.finish())
}

/// Lets domain `to` map the rings of a new domain by grants: fills in the entries of its
/// grant table that are kept for that (`GNTTAB_RESERVED_CONSOLE`, `_XENSTORE`).
///
/// # Errors
///
/// [`Error`].
pub fn grant_rings<H: Host>(window: &Window<H>, built: &Built, to: RawDomid) -> Result<(), Error> {
    let table = window.grant_table(built.id, 1)?;
    for (reference, frame) in [(RESERVED_CONSOLE, built.console), (RESERVED_XENSTORE, built.store)] {
        let frame = u32::try_from(frame).map_err(|_| Error::BadAnswer("a ring's frame"))?;
        let entry = GrantEntryV1 { flags: GrantType::PermitAccess.get(), domid: to, frame };
        table.write(u64::from(reference) * size_of::<GrantEntryV1>() as u64, entry.as_bytes())?;
    }
    Ok(())
}

/// Whether the domain can hold what it starts with. The start information itself is the only thing that is not
/// counted.
fn check_room(kernel: &Kernel<'_>, config: &Config<'_>, layout: &Layout) -> Result<(), Error> {
    let modules = config.modules.iter().map(|module| (module.bytes.len() as u64).next_multiple_of(PAGE_SIZE));
    let needed = kernel.end().saturating_add(modules.sum());
    let room = layout.top();
    if needed <= room { Ok(()) } else { Err(Error::NoRoom { needed, room }) }
}

/// Creates the domain with its vcpus and its limit of memory.
fn create<'a, H: Host>(window: &'a Window<H>, config: &Config<'_>) -> Result<Unfinished<'a, H>, Error> {
    let host = window.host();
    let mut create = CreateDomain {
        handle: config.handle,
        flags: (CreateFlags::HVM | CreateFlags::HAP).bits(),
        max_vcpus: config.vcpus,
        max_evtchn_port: config.max_port,
        max_grant_frames: config.grant_frames,
        max_maptrack_frames: config.maptrack_frames,
        grant_opts: 1,
        ..CreateDomain::new_zeroed()
    };
    create.arch.emulation_flags = Emulation::LAPIC.bits();
    let unfinished = Unfinished { host, id: calls::create(host, &create)? };
    calls::max_vcpus(host, unfinished.id, config.vcpus)?;
    let most = config.max_pages.max(config.pages).saturating_add(OTHER_COUNT);
    calls::max_mem(host, unfinished.id, most.saturating_mul(PAGE_SIZE / 1024))?;
    Ok(unfinished)
}

/// A domain that is destroyed unless it is finished.
struct Unfinished<'a, H: Host> {
    host: &'a H,
    id: RawDomid,
}

impl<H: Host> Unfinished<'_, H> {
    fn finish(self) -> Built {
        let built = Built { id: self.id, console: CONSOLE, store: STORE };
        core::mem::forget(self);
        built
    }
}

impl<H: Host> Drop for Unfinished<'_, H> {
    fn drop(&mut self) {
        // The error that brought us here is the one to report.
        let _ = calls::destroy(self.host, self.id);
    }
}

/// Where a domain has RAM: ranges of frames.
struct Layout {
    low: Option<(u64, u64)>,
    high: Option<(u64, u64)>,
}

impl Layout {
    fn new(pages: u64) -> Self {
        let low = pages.min(LOW_END);
        let range = |start, count| (count > 0).then_some((start, start + count));
        Self { low: range(0, low), high: range(HIGH_START, pages - low) }
    }

    /// Where modules and start information end, in bytes.
    fn top(&self) -> u64 {
        self.low.map_or(0, |(_, end)| end.saturating_mul(PAGE_SIZE)).min(TOP)
    }

    fn ranges(&self) -> impl Iterator<Item = (u64, u64, HvmMemmapType)> {
        let acpi = (ACPI_FIRST, ACPI_FIRST + ACPI_COUNT, HvmMemmapType::Acpi);
        let special = (SPECIAL_FIRST, SPECIAL_FIRST + SPECIAL_COUNT, HvmMemmapType::Reserved);
        let ram = |range: Option<(u64, u64)>| range.map(|(start, end)| (start, end, HvmMemmapType::Ram));
        ram(self.low).into_iter().chain([acpi, special]).chain(ram(self.high))
    }

    fn e820(&self) -> Vec<E820Entry> {
        let entry = |(start, end, kind): (u64, u64, HvmMemmapType)| E820Entry {
            addr: start * PAGE_SIZE,
            size: (end - start) * PAGE_SIZE,
            kind: kind.get(),
        };
        self.ranges().map(entry).collect()
    }

    fn memory_map(&self) -> Vec<HvmMemmapTableEntry> {
        let entry = |(start, end, kind): (u64, u64, HvmMemmapType)| HvmMemmapTableEntry {
            addr: start * PAGE_SIZE,
            size: (end - start) * PAGE_SIZE,
            kind: kind.get(),
            reserved: 0,
        };
        self.ranges().map(entry).collect()
    }
}

/// Gives the domain the frames from `range.0` up to `range.1`, in extents as large as
/// their place and the host's memory allow.
async fn populate(
    host: &impl Host,
    id: RawDomid,
    range: (u64, u64),
    pause: &impl AsyncFn(),
) -> Result<(), Error> {
    let (mut next, end) = range;
    let mut largest = 0;
    while next < end {
        let fits = |order: u32| next.is_multiple_of(1 << order) && next + (1 << order) <= end;
        let (index, order) = (largest..)
            .zip(ORDERS.into_iter().skip(largest))
            .find(|(_, order)| fits(*order))
            .ok_or(Error::OutOfMemory)?;
        let step = 1 << order;
        let wanted =
            ((end - next) / step).min(until_larger_fits(next, end, order, largest)).min(batch(order));
        let mut extents: Vec<u64> = (0..wanted).map(|n| next + n * step).collect();
        let given = calls::populate(host, id, &mut extents, order)? as u64;
        next += given * step;
        if given < wanted {
            // No more extents of this size: smaller ones, from here on.
            largest = index + 1;
        }
        pause().await;
    }
    Ok(())
}

/// Most extents of 2^`order` pages in one call.
fn batch(order: u32) -> u64 {
    (SLICE_PAGES >> order).clamp(1, BATCH)
}

/// Extents of 2^`order` pages from `next` on until one of a larger size could follow.
fn until_larger_fits(next: u64, end: u64, order: u32, largest: usize) -> u64 {
    let larger = ORDERS.into_iter().skip(largest).rfind(|larger| *larger > order);
    let Some(larger) = larger else { return u64::MAX };
    let boundary = next.next_multiple_of(1 << larger);
    if boundary > next && boundary + (1 << larger) <= end { (boundary - next) >> order } else { u64::MAX }
}

/// The memory of a domain that is being built.
struct Memory<'a, H: Host, P: AsyncFn()> {
    window: &'a Window<H>,
    id: RawDomid,
    pause: &'a P,
}

impl<H: Host, P: AsyncFn()> Memory<'_, H, P> {
    /// Writes the kernel's segments while the kernel is unpacked.
    async fn load(&self, kernel: &mut Kernel<'_>) -> Result<(), Error> {
        while let Some(piece) = kernel.next_piece()? {
            for (address, bytes) in piece.parts() {
                // Memory that the hypervisor gives is zero: there is nothing to write where a page shall be.
                for (address, bytes) in runs(address, bytes) {
                    self.write(address, bytes).await?;
                }
            }
            (self.pause)().await;
        }
        Ok(())
    }

    /// Writes `bytes` from `address` on.
    async fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Error> {
        let most = (MOST_FRAMES as u64 - 1) * PAGE_SIZE;
        for (at, piece) in (address..).step_by(to_usize(most)).zip(bytes.chunks(to_usize(most))) {
            let frames = at / PAGE_SIZE..(at + piece.len() as u64).div_ceil(PAGE_SIZE);
            // The mapping ends before others run: the window is theirs as well.
            self.window.map(self.id, &frames.collect::<Vec<_>>())?.write(at % PAGE_SIZE, piece)?;
            (self.pause)().await;
        }
        Ok(())
    }

    /// Writes zeros to frames.
    fn clear(&self, frames: &[u64]) -> Result<(), Error> {
        let mapping = self.window.map(self.id, frames)?;
        mapping.write(0, &vec![0; frames.len() * to_usize(PAGE_SIZE)])
    }

    /// Writes modules and start information below the end of low RAM, but not below `floor`; returns the address
    /// of the latter.
    async fn write_start_info(&self, config: &Config<'_>, floor: u64, layout: &Layout) -> Result<u32, Error> {
        let mut top = Top { memory: self, next: layout.top(), floor };
        let mut modules = Vec::new();
        for module in config.modules {
            modules.push(HvmModlistEntry {
                paddr: top.place(module.bytes, PAGE_SIZE).await?,
                size: module.bytes.len() as u64,
                cmdline_paddr: top.place_text(module.command_line).await?,
                reserved: 0,
            });
        }
        let tables = Tables::new(config.vcpus, ACPI_FIRST * PAGE_SIZE);
        if tables.bytes.len() as u64 > ACPI_COUNT * PAGE_SIZE {
            return Err(Error::TooSmall);
        }
        self.write(ACPI_FIRST * PAGE_SIZE, &tables.bytes).await?;
        let memory_map = layout.memory_map();
        let start_info = HvmStartInfo {
            magic: START_MAGIC,
            version: 1,
            nr_modules: u32::try_from(modules.len()).map_err(|_| Error::TooSmall)?,
            modlist_paddr: top.place(modules.as_bytes(), 8).await?,
            cmdline_paddr: top.place_text(config.command_line).await?,
            rsdp_paddr: tables.rsdp,
            memmap_paddr: top.place(memory_map.as_bytes(), 8).await?,
            memmap_entries: u32::try_from(memory_map.len()).map_err(|_| Error::TooSmall)?,
            ..HvmStartInfo::new_zeroed()
        };
        let address = top.place(start_info.as_bytes(), 8).await?;
        u32::try_from(address).map_err(|_| Error::TooSmall)
    }
}

/// Places things downwards from the end of low RAM.
struct Top<'a, H: Host, P: AsyncFn()> {
    memory: &'a Memory<'a, H, P>,
    next: u64,
    floor: u64,
}

impl<H: Host, P: AsyncFn()> Top<'_, H, P> {
    /// Copies `bytes` there, aligned to `align`; returns where.
    async fn place(&mut self, bytes: &[u8], align: u64) -> Result<u64, Error> {
        let start = self.next.checked_sub(bytes.len() as u64).ok_or(Error::TooSmall)? & !(align - 1);
        if start < self.floor {
            return Err(Error::TooSmall);
        }
        self.memory.write(start, bytes).await?;
        self.next = start;
        Ok(start)
    }

    async fn place_text(&mut self, text: &str) -> Result<u64, Error> {
        let mut bytes = Vec::from(text);
        bytes.push(0);
        self.place(&bytes, 8).await
    }
}

/// The parts of `bytes`, which go to `address`, without pages that are zero.
fn runs(address: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let offset = (address % PAGE_SIZE + start as u64) % PAGE_SIZE;
        let page = start..bytes.len().min(start + to_usize(PAGE_SIZE - offset));
        start = page.end;
        match runs.last_mut() {
            _ if bytes.get(page.clone()).is_none_or(is_zero) => {}
            Some(run) if run.end == page.start => run.end = page.end,
            _ => runs.push(page),
        }
    }
    runs.into_iter().filter_map(move |run| Some((address + run.start as u64, bytes.get(run)?)))
}

fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let bits = |block: &[u8; 64]| {
        let words = block.as_chunks().0.iter();
        words.fold(0, |bits, word| bits | u64::from_ne_bytes(*word))
    };
    blocks.iter().all(|block| bits(block) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Sizes of pieces of a window; on a narrower host they would still fit.
fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::testing::{Fake, kernel};
    use xen_abi::xen::Hypercall;

    /// The calls made until the build failed.
    fn calls_until_failure(refuse: Option<usize>) -> Vec<Hypercall> {
        let window = Window::new(Fake { refuse, ..Fake::default() });
        let kernel = kernel(0x10_0000, &[0x90; 16], 0x1000, 0x10_0000);
        // No hypercall of this host does anything, so each build fails at some point.
        assert!(build(&window, &Config { kernel: &kernel, ..Config::new(8) }).is_err());
        assert_eq!(window.free(), 16, "frames of the window are mapped still");
        window.host().calls.borrow().clone()
    }

    #[test]
    fn a_domain_that_was_not_created_is_not_destroyed() {
        assert_eq!(calls_until_failure(Some(0)), [Hypercall::Domctl]);
    }

    #[test]
    fn others_run_while_memory_is_given() {
        let window = Window::new(Fake::default());
        let kernel = kernel(0x10_0000, &[0x90; 16], 0x1000, 0x10_0000);
        let config = Config { kernel: &kernel, ..Config::new(8) };
        let turns = core::cell::Cell::new(0);
        let mut building = pin!(build_in_slices(&window, &config, async || turns.set(turns.get() + 1)));
        let done = building.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(done, Poll::Ready(Err(Error::OutOfMemory)), "this host gives none");
        assert!(turns.get() > 0);
    }

    /// LIF-11.
    #[test]
    fn one_call_gives_few_pages() {
        for order in ORDERS {
            let (extents, pages) = (batch(order), batch(order) << order);
            assert!((1..=BATCH).contains(&extents), "order {order}");
            assert!(pages <= 64 << 8 || extents == 1, "order {order}: {} MiB", pages >> 8);
        }
        assert_eq!(batch(9), 32, "64 MiB of 2 MiB extents");
    }

    #[test]
    fn what_does_not_fit_costs_no_domain() {
        let window = Window::new(Fake::default());
        let kernel = kernel(0x10_0000, &[0x90; 16], 0x10_0000, 0x10_0000);
        let build_with = |mib, ramdisk: usize| {
            let ramdisk = vec![0; ramdisk];
            let modules =
                [Module { bytes: &ramdisk, command_line: "" }, Module { bytes: &[1], command_line: "" }];
            build(&window, &Config { kernel: &kernel, modules: &modules, ..Config::new(mib) })
        };
        let error = Error::NoRoom { needed: (5 << 20) + 4096, room: 4 << 20 };
        assert_eq!(build_with(4, 3 << 20), Err(error));
        assert!(window.host().calls.borrow().is_empty());
        assert!(std::format!("{error}").contains("need 6 MiB, and the domain's memory has 4 MiB"), "{error}");
        assert_eq!(
            build_with(8, 3 << 20),
            Err(Error::OutOfMemory),
            "there is room, but no memory on this host"
        );
    }

    #[test]
    fn modules_end_where_a_kernel_can_see_them() {
        assert_eq!(Layout::new(0x8000).top(), 128 << 20);
        assert_eq!(Layout::new(1 << 19).top(), 1 << 30);
    }

    #[test]
    fn pages_of_zeros_are_left_out() {
        let mut bytes = vec![0; 5 * 4096];
        assert_eq!(runs(0x1000, &bytes).count(), 0);
        // Pages begin at 0x800, 0x1800, 0x2800, ... of these bytes.
        for at in [0x7ff, 0x2000, 0x2800, 0x4fff] {
            bytes[at] = 1;
        }
        let runs: Vec<_> = runs(0x1800, &bytes).map(|(at, run)| (at, run.len())).collect();
        assert_eq!(runs, [(0x1800, 0x800), (0x3000, 0x2000), (0x6000, 0x800)]);
    }

    #[test]
    fn rings_are_granted_by_the_entries_that_are_kept_for_them() {
        let window = Window::new(Fake::default());
        let built = Built { id: 7, console: 0xf_efff, store: 0xf_effc };
        grant_rings(&window, &built, 2).unwrap();
        let memory = window.host().memory.borrow();
        let table = memory.values().next().unwrap();
        assert_eq!(table[..8], [1, 0, 2, 0, 0xff, 0xef, 0x0f, 0]);
        assert_eq!(table[8..17], [1, 0, 2, 0, 0xfc, 0xef, 0x0f, 0, 0]);
        assert_eq!(window.free(), 16, "the table is unmapped");
    }

    #[test]
    fn whatever_fails_later_the_domain_is_destroyed() {
        // The last one is the destruction itself.
        let all = calls_until_failure(None).len();
        for refuse in 1..all - 1 {
            let calls = calls_until_failure(Some(refuse));
            assert!(calls.len() > refuse + 1, "nothing follows call {refuse}: {calls:?}");
            assert_eq!(calls.last(), Some(&Hypercall::Domctl), "after call {refuse}");
        }
    }
}
