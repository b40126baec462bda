//! Xen's boot options, from the command line that the boot loader passes on.
//!
//! ```text
//!  /boot/kigumi placeholder com1=115200,8n1 console=com1 "selftest=a b" -- quiet
//!  └ some loaders           └──────────────── Options ────────────────┘    └ for Dom0
//! ```
//!
//! Names, formats and defaults are those of `docs/misc/xen-command-line.pandoc`
//! in Xen's tree; where that is vague, the parsers in `xen/common/kernel.c` and
//! their callers decide. A word that cannot be followed is one [`Warning`] and
//! changes nothing; of two words for one option the last counts.

mod console;
mod dom0;
mod reboot;
mod serial;
mod value;
mod words;

use core::fmt;

use crate::id::MAX_PCPUS;
use crate::log::{Level, Threshold};

pub use console::{ConSwitch, Consoles, Timestamps};
pub use dom0::{Dom0Memory, Dom0Vcpus, MemorySize};
pub use reboot::RebootMethod;
pub use serial::{Baud, Parity, SerialPort};

/// What the user wants, or the default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options<'a> {
    /// `com1=`: the first serial port, if it is to be used.
    pub com1: Option<SerialPort>,
    /// `com2=`: the second serial port, if it is to be used.
    pub com2: Option<SerialPort>,
    /// `console=`: where the hypervisor's messages go.
    pub console: Consoles,
    /// `console_timestamps=`: what each line begins with.
    pub console_timestamps: Timestamps,
    /// `console_to_ring`: guests' console output goes to the log, too.
    pub console_to_ring: bool,
    /// `conring_size=`: bytes of log to keep.
    pub conring_size: u64,
    /// `sync_console`: wait until each message is out.
    pub sync_console: bool,
    /// `conswitch=`: how serial input changes hands.
    pub conswitch: ConSwitch,
    /// `loglvl=`: which of the hypervisor's messages are printed.
    pub loglvl: Threshold,
    /// `guest_loglvl=`: which messages that a guest provokes are printed.
    pub guest_loglvl: Threshold,
    /// `dom0_mem=`: Dom0's memory.
    pub dom0_mem: Dom0Memory,
    /// `dom0_max_vcpus=`: how many vcpus Dom0 gets.
    pub dom0_max_vcpus: Dom0Vcpus,
    /// `dom0_vcpus_pin`: each vcpu of Dom0 stays on the pcpu of its number.
    pub dom0_vcpus_pin: bool,
    /// `dom0=verbose`: say more while Dom0 is built.
    pub dom0_verbose: bool,
    /// `noreboot`: halt after a crash of the hypervisor.
    pub noreboot: bool,
    /// `reboot=`: how to reset the machine; by the best means there is, if not given.
    pub reboot: Option<RebootMethod>,
    /// `maxcpus=`: most pcpus to use, at least one.
    pub maxcpus: usize,
    /// `nosmp`: the boot CPU only, whatever `maxcpus=` says.
    pub nosmp: bool,
    /// `sched_credit_tslice_ms=`: the credit scheduler's time slice, 1 to 1000 ms.
    pub sched_credit_tslice_ms: u32,
    /// `sched_ratelimit_us=`: how long a vcpu runs at least; zero, or 100 us
    /// up to the time slice.
    pub sched_ratelimit_us: u32,
    /// `vpid`: tag TLB entries with the vcpu.
    pub vpid: bool,
    /// `apicv`: let the CPU virtualize its APIC.
    pub apicv: bool,
    /// `x2apic`: use x2APIC mode where the CPU has it.
    pub x2apic: bool,
    /// `gnttab_max_frames=`: grant table frames that a domain may have.
    pub gnttab_max_frames: u32,
    /// `gnttab_max_maptrack_frames=`: frames for the grants that a domain has mapped.
    pub gnttab_max_maptrack_frames: u32,
    /// `selftest`: tests to run instead of starting Dom0.
    pub selftest: SelfTest<'a>,
    /// What stands behind `--`: to be added to Dom0's command line.
    pub dom0_args: &'a str,
}

/// Which of the tests in the image to run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SelfTest<'a> {
    /// None: boot.
    Off,
    /// All of them.
    All,
    /// Those in this comma separated list.
    Only(&'a str),
}

impl Options<'_> {
    /// Most pcpus to use, the boot CPU included; at least one.
    #[must_use]
    pub const fn max_pcpus(&self) -> usize {
        if self.nosmp { 1 } else { self.maxcpus }
    }
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            com1: None,
            com2: None,
            console: Consoles::COM1 | Consoles::VGA,
            console_timestamps: Timestamps::None,
            console_to_ring: false,
            conring_size: CONRING_DEFAULT,
            sync_console: false,
            conswitch: ConSwitch::DEFAULT,
            loglvl: Threshold::HOST_DEFAULT,
            guest_loglvl: Threshold::GUEST_DEFAULT,
            dom0_mem: Dom0Memory::default(),
            dom0_max_vcpus: Dom0Vcpus::DEFAULT,
            dom0_vcpus_pin: false,
            dom0_verbose: false,
            noreboot: false,
            reboot: None,
            maxcpus: MAX_PCPUS,
            nosmp: false,
            sched_credit_tslice_ms: 30,
            sched_ratelimit_us: 1_000,
            vpid: true,
            apicv: true,
            x2apic: true,
            gnttab_max_frames: 64,
            gnttab_max_maptrack_frames: 1_024,
            selftest: SelfTest::Off,
            dom0_args: "",
        }
    }
}

/// `conring_size=16k`.
const CONRING_DEFAULT: u64 = 16 << 10;
/// A longer log is a slip of the pen: the heap comes from the same memory.
const CONRING_MAX: u64 = 64 << 20;

/// A word of the command line that is not followed as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Warning<'a> {
    /// The word as the user wrote it.
    pub word: &'a str,
    /// What about it.
    pub problem: Problem,
}

/// Why a word is not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// Xen has no such option.
    Unknown,
    /// The value makes no sense; this would.
    Expected(&'static str),
    /// It cannot be done, or not all of it.
    Unsupported(&'static str),
    /// An option of Xen that changes nothing here.
    NoEffect,
}

impl Warning<'_> {
    /// How much it matters.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self.problem {
            Problem::NoEffect => Level::Info,
            Problem::Unknown | Problem::Expected(_) | Problem::Unsupported(_) => Level::Warning,
        }
    }
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped: what the user typed must not steer a terminal.
        write!(f, "boot option {}: ", self.word.escape_debug())?;
        match self.problem {
            Problem::Unknown => f.write_str("not known, ignored"),
            Problem::Expected(form) => write!(f, "ignored, expected {form}"),
            Problem::Unsupported(why) => f.write_str(why),
            Problem::NoEffect => f.write_str("has no effect here"),
        }
    }
}

/// Reads the command line; tells `warn` of each word that is not followed.
pub fn parse<'a>(line: &'a str, mut warn: impl FnMut(Warning<'a>)) -> Options<'a> {
    let mut options = Options::default();
    let mut words = words::Words::new(line);
    let mut word = words.next().filter(|first| !first.starts_with('/')).or_else(|| words.next());
    while let Some(text) = word.filter(|&text| text != "--") {
        if let Err(problem) = set(&mut options, text) {
            warn(Warning { word: text, problem });
        }
        word = words.next();
    }
    options.dom0_args = words.rest();
    if options.sched_ratelimit_us > options.sched_credit_tslice_ms * 1_000 {
        options.sched_ratelimit_us = options.sched_credit_tslice_ms * 1_000;
        let problem = Problem::Unsupported("longer than the time slice, shortened to it");
        warn(Warning { word: "sched_ratelimit_us", problem });
    }
    options
}

/// Follows one word.
fn set<'a>(options: &mut Options<'a>, word: &'a str) -> Result<(), Problem> {
    let (name, given) = words::split(word);
    // "no-name" is how a boolean is switched off; it comes without a value.
    match name.strip_prefix("no-") {
        Some(_) if is_without_effect(name) => Err(Problem::NoEffect),
        Some(name) if given.is_none() => set_named(options, name, Some("no")),
        Some(_) => Err(Problem::Expected("\"no-\" or a value, not both")),
        None => set_named(options, name, given),
    }
}

/// Follows the option `name`: `given` is its value, if it came with one.
fn set_named<'a>(options: &mut Options<'a>, name: &str, given: Option<&'a str>) -> Result<(), Problem> {
    use value::{flag, integer};
    let text = given.unwrap_or("");
    match name {
        "com1" => options.com1 = Some(serial::parse(text, SerialPort::COM1)?),
        "com2" => options.com2 = Some(serial::parse(text, SerialPort::COM2)?),
        "console" => console::destinations(text, &mut options.console)?,
        "console_timestamps" => options.console_timestamps = console::timestamps(given)?,
        "console_to_ring" => options.console_to_ring = flag(given)?,
        "conring_size" => options.conring_size = conring_size(text)?,
        "sync_console" => options.sync_console = flag(given)?,
        "conswitch" => options.conswitch = console::conswitch(text)?,
        "loglvl" => options.loglvl = console::threshold(text)?,
        "guest_loglvl" => options.guest_loglvl = console::threshold(text)?,
        "dom0_mem" => options.dom0_mem = dom0::memory(text, options.dom0_mem)?,
        "dom0_max_vcpus" => options.dom0_max_vcpus = dom0::vcpus(text)?,
        "dom0_vcpus_pin" => options.dom0_vcpus_pin = flag(given)?,
        "dom0" => dom0::build(text, &mut options.dom0_verbose)?,
        "noreboot" => options.noreboot = flag(given)?,
        "reboot" => reboot::parse(text, options)?,
        "maxcpus" => options.maxcpus = maxcpus(text)?,
        "nosmp" => options.nosmp = flag(given)?,
        "sched" => sched(text)?,
        "sched_credit_tslice_ms" => options.sched_credit_tslice_ms = tslice_ms(text)?,
        "sched_ratelimit_us" => options.sched_ratelimit_us = ratelimit_us(text)?,
        "vpid" => options.vpid = flag(given)?,
        "apicv" => options.apicv = flag(given)?,
        "x2apic" => options.x2apic = flag(given)?,
        "hap" => always_on(given, "cannot be switched off: guests run on EPT only")?,
        "iommu" => iommu(given)?,
        "gnttab_max_frames" => options.gnttab_max_frames = integer(text, 1..=u32::MAX, FRAMES)?,
        "gnttab_max_maptrack_frames" => {
            options.gnttab_max_maptrack_frames = integer(text, 0..=u32::MAX, FRAMES)?;
        }
        "selftest" => options.selftest = selftest(given),
        "placeholder" => {}
        name if is_without_effect(name) => return Err(Problem::NoEffect),
        _ => return Err(Problem::Unknown),
    }
    Ok(())
}

const FRAMES: &str = "a number of frames";

fn conring_size(text: &str) -> Result<u64, Problem> {
    match value::size(text) {
        // As in Xen, zero asks for the default, and less than it does not count.
        Some(size) if size <= CONRING_MAX => Ok(size.max(CONRING_DEFAULT)),
        _ => Err(Problem::Expected("a size up to 64M, such as 128k")),
    }
}

fn maxcpus(text: &str) -> Result<usize, Problem> {
    // Zero is Xen's way to say that no other CPU is started.
    let count = value::integer(text, 0..=u32::MAX, "a number of CPUs")?;
    Ok(usize::try_from(count).unwrap_or(MAX_PCPUS).clamp(1, MAX_PCPUS))
}

fn sched(text: &str) -> Result<(), Problem> {
    match text {
        "credit" => Ok(()),
        "credit2" | "arinc653" | "rtds" | "null" => {
            Err(Problem::Unsupported("only the credit scheduler is there, and is used"))
        }
        _ => Err(Problem::Expected("credit")),
    }
}

/// `XEN_SYSCTL_CSCHED_TSLICE_MIN` to `_MAX` of `sysctl.h`.
fn tslice_ms(text: &str) -> Result<u32, Problem> {
    value::integer(text, 1..=1_000, "1 to 1000 milliseconds")
}

/// Zero, or `XEN_SYSCTL_SCHED_RATELIMIT_MIN` to `_MAX` of `sysctl.h`.
fn ratelimit_us(text: &str) -> Result<u32, Problem> {
    const RANGE: &str = "0 or 100 to 500000 microseconds";
    match value::integer(text, 0..=500_000, RANGE)? {
        1..100 => Err(Problem::Expected(RANGE)),
        us => Ok(us),
    }
}

fn always_on(given: Option<&str>, why_not: &'static str) -> Result<(), Problem> {
    if value::flag(given)? { Ok(()) } else { Err(Problem::Unsupported(why_not)) }
}

/// The first item may be a boolean; to switch off what is not used is no wish unmet.
fn iommu(given: Option<&str>) -> Result<(), Problem> {
    match value::flag(given) {
        Ok(false) => Ok(()),
        _ => Err(Problem::Unsupported("IOMMUs are not used: a device of Dom0 can reach all memory")),
    }
}

fn selftest(given: Option<&str>) -> SelfTest<'_> {
    match (value::flag(given), given) {
        (Ok(false), _) => SelfTest::Off,
        (Err(_), Some(list)) => SelfTest::Only(list),
        _ => SelfTest::All,
    }
}

/// Options of Xen for x86 that change nothing here, as its manual lists them,
/// and those of older manuals that are still found in configurations.
const WITHOUT_EFFECT: &str = "\
    acpi acpi_apic_instance acpi_pstate_strict acpi_skip_timer_override acpi_sleep allow_unsafe altp2m apic \
    apic_skip_timer apic_verbosity arat argo asid async-show-all ats availmem badpage bootscrub \
    bootscrub_chunk cet clocksource cmci-threshold cmos-rtc-probe core_parking cpufreq cpuid cpuid_mask_cpu \
    cpuidle cpuinfo crash-debug-debugkey crash-debug-hwdom crash-debug-kexeccmd crash-debug-panic \
    crash-debug-watchdog crashinfo_maxaddr crashkernel credit2_balance_over \
    credit2_balance_under credit2_cap_period_ms credit2_load_precision_shift credit2_load_window_shift \
    credit2_runqueue dbgp debug_stack_lines debugtrace dit dma_bits \
    dma_emergency_pool dom0-cpuid dom0-iommu dom0_ioports_disable dom0_nodes e820-mtrr-clip e820-verbose edd \
    edid efi ept extra_guest_irqs flask font force-ept fred gdb global-pages gnttab gnttab_max_nr_frames \
    hap_1gb hap_2mb hardware_dom hest_disable highmem-start hpet hpetbroadcast hvm_debug hvm_fep hvm_port80 \
    idle_latency_factor invpcid ioapic_ack iommu_dev_iotlb_timeout iommu_inclusive_mapping irq-max-guests \
    irq_ratelimit irq_vector_map ivmd lapic lapic_timer_c2_ok ler load-balance-ratelimit lock-depth-size \
    low_crashinfo low_mem_virq_limit max_cstate max_gsi_irqs mce mce_fb mce_verbosity mem memop-max-order \
    mmcfg mmio-relax msi mtrr.show mwait-idle mwait-idle.table nmi no-real-mode noapic noirqbalance nolapic \
    nr_irqs numa pci pci-phantom pcid pdx-compress ple_gap ple_window probe-port-aliases psr pv pv-l1tf \
    pv-linear-pt pv-shim rcu-idle-timer-period-ms rmrr ro-hpet sched-gran sched_credit2_max_cpus_runqueue \
    sched_credit2_migrate_resist sched_smt_power_savings \
    scrub-domheap serial_tx_buffer shim_mem smap smep smt snb_igd_quirk spec-ctrl ssidref tboot tbuf_size \
    tdt tevt_mask tickle_one_idle_cpu timer_slop tsc tsx ucode unrestricted_guest vcpu_migration_delay \
    vesa-map vesa-mtrr vesa-ram vga viridian-spinlock-retry-count viridian-version vm-notify-window vpmu \
    wallclock watchdog watchdog_timeout x2apic-mode x2apic_phys xpti xsave xsm";

fn is_without_effect(name: &str) -> bool {
    WITHOUT_EFFECT.split(' ').any(|known| known == name)
}
