//! From the boot CPU's first Rust code to every pcpu in VMX root operation.

use core::iter;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};

use alloc::string::ToString;
use alloc::vec::Vec;

use hv_arch::cpu::{self, Features};
use hv_arch::memory::FirmwareMemory;
use hv_arch::power::Reset;
use hv_arch::sync::{Lock, Rank};
use hv_arch::time::Reference;
use hv_arch::trap::{self, Handlers};
use hv_arch::{apic, ipi, memory, percpu, power, smp, time, vmx};
use hv_core::acpi::{AcpiError, CpuList, Fadt, Hpet, Madt, Rsdp, Tables, cpu_list};
use hv_core::addr::PAGE_SIZE;
use hv_core::boot_info::BootInfo;
use hv_core::cmdline::{self, Options};
use hv_core::credit::Parameters;
use hv_core::id::{MAX_PCPUS, PcpuId};
use hv_core::insn;
use hv_core::log::Level;
use hv_core::memmap::MemoryMap;
use hv_core::vmx_caps::VmxConfig;
use spin::Once;
use xen_abi::sched::ShutdownReason;
use xen_abi::sysctl::CreditSchedule;

use crate::domain::{Domain, MAX_VCPUS};
use crate::{clock, console, crash, dom0, io, irq, pcpu, sched, selftest};

/// Bytes of RAM without which nothing is tried: the hypervisor and a small Dom0.
const LEAST_MEMORY: u64 = 64 << 20;

/// What the machine is; known after the boot stack has been left.
struct Machine {
    info: &'static BootInfo,
    options: Options<'static>,
    map: MemoryMap,
    features: Features,
    layout: memory::Layout,
}

static MACHINE: Once<Machine> = Once::new();
/// VMX configuration of the boot CPU, for the others to compare with.
static VMX: Once<VmxConfig> = Once::new();
/// What became of VMX on each of the other pcpus.
static READY: [Once<Result<(), vmx::VmxError>>; MAX_PCPUS] = [const { Once::new() }; MAX_PCPUS];

fn machine() -> &'static Machine {
    MACHINE.get().expect("set before the boot stack was left")
}

/// The machine's memory map.
pub fn memory_map() -> &'static MemoryMap {
    &machine().map
}

/// VMX configuration, the same on every pcpu.
pub fn vmx_config() -> &'static VmxConfig {
    VMX.get().expect("set before any pcpu entered VMX root operation")
}

/// Most frames of a domain's grant table, and what a domain gets that asks for none.
pub fn grant_frames() -> u32 {
    machine().options.gnttab_max_frames
}

/// The same for the frames of its grant mappings.
pub fn maptrack_frames() -> u32 {
    machine().options.gnttab_max_maptrack_frames
}

/// What the scheduler goes by.
pub fn parameters() -> Parameters {
    Parameters {
        slice: SLICE.load(Ordering::Relaxed),
        rate_limit: RATE_LIMIT.load(Ordering::Relaxed),
        migration_delay: MIGRATION_DELAY.load(Ordering::Relaxed),
    }
}

/// A time slice in ticks of the time stamp counter.
pub fn time_slice() -> u64 {
    SLICE_TICKS.load(Ordering::Relaxed)
}

static SLICE_TICKS: AtomicU64 = AtomicU64::new(u64::MAX);

/// The same in ns, for who reads it without a lock.
static SLICE: AtomicU64 = AtomicU64::new(Parameters::DEFAULT.slice);
static RATE_LIMIT: AtomicU64 = AtomicU64::new(Parameters::DEFAULT.rate_limit);
static MIGRATION_DELAY: AtomicU64 = AtomicU64::new(Parameters::DEFAULT.migration_delay);

/// Parameters of the scheduler as the toolstack sees them.
static SLICES: Lock<CreditSchedule> =
    Lock::new(Rank::Domain, CreditSchedule { tslice_ms: 0, ratelimit_us: 0, vcpu_migr_delay_us: 0 });

/// Sets the scheduler's parameters.
pub fn set_slices(slices: CreditSchedule) {
    SLICE.store(u64::from(slices.tslice_ms) * 1_000_000, Ordering::Relaxed);
    SLICE_TICKS.store(time::ticks_from_us(u64::from(slices.tslice_ms) * 1_000), Ordering::Relaxed);
    RATE_LIMIT.store(u64::from(slices.ratelimit_us) * 1_000, Ordering::Relaxed);
    MIGRATION_DELAY.store(u64::from(slices.vcpu_migr_delay_us) * 1_000, Ordering::Relaxed);
    *SLICES.lock() = slices;
}

/// The scheduler's parameters.
pub fn slices() -> CreditSchedule {
    *SLICES.lock()
}

/// The hypervisor's command line.
pub fn command_line() -> &'static str {
    &machine().info.command_line
}

/// How the command line wants the machine to be reset.
pub fn reset_way() -> Reset {
    crash::reset_way(&machine().options)
}

/// First function of the hypervisor, on the boot stack.
pub fn main(info: &'static BootInfo) -> ! {
    trap::set_handlers(Handlers { exception: crash::exception, interrupt: irq::handle });
    let mut warnings = 0;
    let options = cmdline::parse(&info.command_line, |_| warnings += 1);
    crash::init(&options);
    let refused = console::init(&options);
    banner(info);
    for (name, error) in refused {
        log::warn!("{name}: {error}; not used");
    }
    if warnings > 0 {
        cmdline::parse(&info.command_line, |warning| match warning.level() {
            Level::Info | Level::Debug => log::info!("{warning}"),
            Level::Warning | Level::Error => log::warn!("{warning}"),
        });
    }
    report_idle_options(&options);
    set_up_memory(info, options);
    match smp::leave_boot_stack(go_on) {
        Err(_) => crash::refuse(format_args!("out of memory for the boot CPU's stacks")),
        Ok(never) => match never {},
    }
}

fn banner(info: &BootInfo) {
    let build = if cfg!(debug_assertions) { "y" } else { "n" };
    log::info!("Kigumi version {} debug={build}", env!("CARGO_PKG_VERSION"));
    log::info!("Bootloader: {}", info.loader);
    log::info!("Command line: {}", info.command_line);
    if info.command_line.is_full() {
        log::warn!("command line: cut after {} bytes", info.command_line.len());
    }
}

/// Says which of the options that were given nothing follows yet: they wait for
/// Dom0 and its vcpus.
fn report_idle_options(options: &Options<'_>) {
    let default = Options::default();
    macro_rules! idle {
        ($($option:ident)*) => { [$((stringify!($option), options.$option != default.$option)),*] };
    }
    let idle = idle! {
        dom0_verbose dom0_args
        vpid
    };
    for (name, _) in idle.into_iter().filter(|&(_, given)| given) {
        log::info!("boot option {name}: has no effect yet");
    }
}

fn set_up_memory(info: &'static BootInfo, options: Options<'static>) {
    let map = match MemoryMap::from_entries(info.memory.iter().copied()) {
        Ok(map) => map,
        Err(error) => crash::refuse(format_args!("{error}")),
    };
    report_memory(info, &map);
    let features = cpu::features();
    let dom0_bytes = options.dom0_mem.initial(map.usable_bytes());
    let layout = match memory::init(info, &map, &features, dom0_bytes) {
        Ok(layout) => layout,
        Err(error) => crash::refuse(format_args!("{error}")),
    };
    crash::load_symbols(&layout);
    console::grow_ring(options.conring_size);
    let machine = Machine { info, options, map, features, layout };
    MACHINE.call_once(|| machine);
}

fn report_memory(info: &BootInfo, map: &MemoryMap) {
    log::info!("{} RAM map:", if info.efi { "EFI" } else { "Xen-e820" });
    for region in map.iter() {
        log::info!(" {region}");
    }
    if info.memory_dropped > 0 {
        log::warn!("memory map: {} entries too many, ignored", info.memory_dropped);
    }
    let usable = map.usable_bytes();
    log::info!("System RAM: {}MB ({}kB)", usable >> 20, usable >> 10);
    if usable < LEAST_MEMORY {
        crash::refuse(format_args!(
            "too little memory: {} MiB of RAM, at least {} MiB are needed",
            usable >> 20,
            LEAST_MEMORY >> 20
        ));
    }
}

/// Second part, on the boot CPU's own stack.
fn go_on() -> ! {
    let machine = machine();
    let options = &machine.options;
    if let Some(display) = machine.info.framebuffer.as_ref().filter(|_| wants_screen(options))
        && !console::add_screen(display)
    {
        log::warn!("screen: {}x{} cannot be used", display.width, display.height);
    }
    let board = Board::find(machine.info);
    start_pcpus(machine, &board);
    report_all_in_root(machine.info);
    if let Some(madt) = &board.madt {
        irq::init(options, madt);
    }
    // Not part of anyone's first access to a device.
    insn::prime();
    log::info!("Press 'h' for the list of keys");
    selftest::run(options.selftest, &selftest::Context { info: machine.info, map: &machine.map });
    set_slices(CreditSchedule {
        tslice_ms: options.sched_credit_tslice_ms,
        ratelimit_us: options.sched_ratelimit_us,
        vcpu_migr_delay_us: options.vcpu_migration_delay,
    });
    clock::init();
    let pcpus = u32::try_from(smp::online().count()).unwrap_or(1);
    let vcpus = options.dom0_max_vcpus.on(pcpus).min(MAX_VCPUS);
    match dom0::build(machine.info, &machine.layout, vcpus, vmx_config(), &own_ports(options)) {
        Ok(dom0) => {
            if options.dom0_vcpus_pin {
                pin(&dom0);
            }
            irq::pass_to(&dom0);
            console::dom0_boots(options.conswitch);
            dom0.vcpus().iter().take(1).for_each(sched::wake);
        }
        Err(error) => crash::refuse(format_args!("{error}")),
    }
    pcpu::idle();
}

/// Lets each vcpu of Dom0 run on the pcpu of its number only (`dom0_vcpus_pin`); of more vcpus
/// than pcpus the rest goes round again.
fn pin(dom0: &Domain) {
    let pcpus: Vec<_> = smp::online().collect();
    for (vcpu, &pcpu) in dom0.vcpus().iter().zip(pcpus.iter().cycle()) {
        sched::set_affinity(vcpu, iter::once(pcpu).collect());
    }
    log::info!(
        "Dom0's vcpus are pinned by dom0_vcpus_pin, guests are not: `xl vcpu-pin` and cpus= of a \
         configuration change that"
    );
}

/// I/O ports that Dom0 does not get.
fn own_ports(options: &Options<'_>) -> Vec<RangeInclusive<u16>> {
    let serial = [options.com1, options.com2].into_iter().flatten();
    let serial = serial.map(|port| port.io_base..=port.io_base.saturating_add(7));
    io::OWN_PORTS.into_iter().chain(serial).collect()
}

fn wants_screen(options: &Options<'_>) -> bool {
    options.console.contains(cmdline::Consoles::VGA)
}

/// What the ACPI tables say about the machine.
struct Board {
    madt: Option<Madt<'static>>,
    fadt: Option<Fadt>,
    hpet: Option<Hpet>,
}

impl Board {
    fn find(info: &BootInfo) -> Self {
        static MEMORY: FirmwareMemory = FirmwareMemory;
        let mut board = Self { madt: None, fadt: None, hpet: None };
        let Some(rsdp) = rsdp(info) else {
            log::warn!("ACPI: no RSDP: one CPU, no power-off");
            return board;
        };
        let tables = match Tables::find(&MEMORY, rsdp) {
            Ok(tables) => tables,
            Err(error) => {
                log::warn!("ACPI: {error}");
                return board;
            }
        };
        let names: Vec<_> = tables.signatures().map(|name| name.to_string()).collect();
        log::info!("ACPI: tables {}", names.join(" "));
        board.madt = wanted(tables.madt());
        board.fadt = wanted(tables.fadt());
        board.hpet = tables.hpet().ok();
        if let Ok(dmar) = tables.dmar() {
            log::info!("VT-d: {dmar:?} (not used)");
        }
        if let Some(fadt) = &board.fadt {
            power::init(fadt, tables.soft_off(fadt));
        }
        board
    }
}

fn wanted<T>(table: Result<T, AcpiError>) -> Option<T> {
    table.inspect_err(|error| log::warn!("ACPI: {error}")).ok()
}

/// Root pointer of the ACPI tables.
pub fn rsdp(info: &BootInfo) -> Option<Rsdp> {
    let copy = info.rsdp.as_ref().and_then(|bytes| Rsdp::parse(bytes).ok());
    copy.or_else(|| Rsdp::scan(&FirmwareMemory))
}

fn start_pcpus(machine: &'static Machine, board: &Board) {
    let boot_apic = match apic::init_boot_cpu(&machine.features, machine.options.x2apic) {
        Ok(id) => id,
        Err(error) => crash::refuse(format_args!("{error}")),
    };
    smp::boot_cpu_online();
    let config = match vmx::capabilities(&machine.features) {
        Ok(mut config) => {
            if !machine.options.apicv {
                config.forgo_apicv();
            }
            VMX.call_once(|| config)
        }
        Err(error) => crash::refuse(format_args!("{error}")),
    };
    if let Err(error) = vmx::enter_root(&machine.features, config) {
        crash::refuse(format_args!("{error}"));
    }

    let max = machine.options.max_pcpus();
    let cpus = match &board.madt {
        Some(madt) => cpu_list(madt, boot_apic, apic::largest_id(), max),
        None => CpuList { ids: [boot_apic].into_iter().collect(), beyond: 0, unreachable: 0 },
    };
    if cpus.beyond > 0 {
        log::info!("{} CPUs more than the {max} wanted are left alone", cpus.beyond);
    }
    if cpus.unreachable > 0 {
        log::warn!("{} CPUs have APIC ids that only x2APIC mode reaches; left out", cpus.unreachable);
    }
    let reference = Reference::choose(board.fadt.as_ref().and_then(Fadt::pm_timer), board.hpet.as_ref());
    let others = cpus.ids.get(1..).unwrap_or_default();
    let started = smp::start(others, &machine.map, &reference, machine.info, secondary);
    match started {
        Ok(missing) => missing.iter().for_each(|cpu| log::error!("CPU{cpu} did not start; left out")),
        Err(error) => log::error!("CPU0 runs alone: {error}"),
    }
    if time::tsc_hz() == 0 {
        crash::refuse(format_args!(
            "time: no clock to measure the TSC by: neither PM timer nor HPET nor PIT counts"
        ));
    }
    wait_for_others();
    let khz = time::tsc_hz() / 1_000;
    log::info!("TSC: {}.{:03} MHz by {}", khz / 1_000, khz % 1_000, reference.name());
    log::info!("{config}");
    log::info!("Local APICs of guests: {}", config.apic());
}

/// Where every other pcpu comes from its start-up code.
fn secondary() -> ! {
    let result = match VMX.get() {
        Some(config) => vmx::enter_root(&cpu::features(), config),
        None => Err(vmx::VmxError::NotSupported),
    };
    READY[percpu::this().id().index()].call_once(|| result);
    pcpu::idle();
}

/// Waits until every pcpu that came up has tried to enter VMX root operation. One
/// that could not would run no vcpu: the machine is not what it should be.
fn wait_for_others() {
    for pcpu in smp::online().filter(|&pcpu| pcpu != PcpuId::BOOT) {
        let ready = &READY[pcpu.index()];
        while !ready.is_completed() {
            cpu::relax();
        }
        if let Some(Err(error)) = ready.get() {
            crash::refuse(format_args!("CPU{pcpu}: {error}"));
        }
    }
}

fn report_all_in_root(info: &BootInfo) {
    let ticks = cpu::rdtsc().wrapping_sub(info.entry_tsc);
    let count = smp::online().count();
    log::info!("Brought up {count} CPUs");
    log::info!("All {count} CPUs in VMX root: {ticks} ticks after entry");
    let free = hv_arch::frames::counts();
    log::info!(
        "Memory: {} KiB for domains, {} KiB used by the hypervisor",
        free.free() * (PAGE_SIZE >> 10),
        (free.total - free.free()) * (PAGE_SIZE >> 10)
    );
}

/// Sends every other pcpu an interrupt and waits for its answer; returns the
/// slowest answer's ticks.
pub fn ping_all() -> Result<u64, PcpuId> {
    let limit = time::ticks_from_us(1_000_000);
    let mut slowest = 0;
    for pcpu in smp::online().filter(|&pcpu| pcpu != PcpuId::BOOT) {
        let start = cpu::rdtsc();
        ipi::send(pcpu).wait(limit)?;
        slowest = slowest.max(cpu::rdtsc() - start);
    }
    Ok(slowest)
}

/// Dom0's end is the machine's, as its reason says (Xen's `hwdom_shutdown`).
pub fn domain_ended(domain: &Domain, code: u32) {
    if !domain.is_privileged() {
        return;
    }
    irq::mask_all();
    match ShutdownReason::new(code) {
        Some(ShutdownReason::Poweroff) => {
            log::error!("Hardware Dom0 halted: halting machine");
            console::flush();
            power::power_off();
        }
        Some(ShutdownReason::Reboot) => {
            log::error!("Hardware Dom0 shutdown: rebooting machine");
            console::flush();
            power::reset(reset_way());
        }
        reason => {
            log::error!("Hardware Dom0 shutdown with code {code} ({reason:?})");
            if !machine().options.noreboot {
                console::flush();
                power::reset(reset_way());
            }
        }
    }
    crash::refuse(format_args!("Dom0 has ended"));
}
