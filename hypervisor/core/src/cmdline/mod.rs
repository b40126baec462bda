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
    /// `vcpu_migration_delay=`: how long a vcpu stays where it ran last, 0 to 100000 us.
    pub vcpu_migration_delay: u32,
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
    /// `selftest`: tests of the running machine, before Dom0 is looked at.
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
            vcpu_migration_delay: 0,
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
        "vcpu_migration_delay" => options.vcpu_migration_delay = migration_delay_us(text)?,
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

/// At most `XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US` of `sysctl.h`.
fn migration_delay_us(text: &str) -> Result<u32, Problem> {
    value::integer(text, 0..=100_000, "0 to 100000 microseconds")
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
    tdt tevt_mask tickle_one_idle_cpu timer_slop tsc tsx ucode unrestricted_guest vesa-map \
    vesa-mtrr vesa-ram vga viridian-spinlock-retry-count viridian-version vm-notify-window vpmu \
    wallclock watchdog watchdog_timeout x2apic-mode x2apic_phys xpti xsave xsm";

fn is_without_effect(name: &str) -> bool {
    WITHOUT_EFFECT.split(' ').any(|known| known == name)
}

#[cfg(test)]
fn config() -> proptest::prelude::ProptestConfig {
    use proptest::prelude::ProptestConfig;
    // Few cases under miri, which is slow and shuts the file system away.
    let cases = if cfg!(miri) { 4 } else { 256 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn parsed(line: &str) -> (Options<'_>, Vec<String>) {
        let mut warnings = Vec::new();
        let options = parse(line, |warning| warnings.push(warning.to_string()));
        (options, warnings)
    }

    /// The options of a line without a fault.
    fn good(line: &str) -> Options<'_> {
        let (options, warnings) = parsed(line);
        assert!(warnings.is_empty(), "{warnings:?}");
        options
    }

    /// Checks that each word is one warning and changes nothing.
    fn refused(line: &str) {
        let (options, warnings) = parsed(line);
        assert_eq!(options, Options::default());
        assert_eq!(warnings.len(), line.split(' ').count(), "{warnings:?}");
    }

    #[test]
    fn an_empty_line_means_xens_defaults() {
        assert_eq!(good(""), Options::default());
        assert_eq!(good("/boot/kigumi-0.1"), Options::default());
        assert_eq!(good("placeholder"), Options::default());
        assert_eq!(good("  /kigumi  placeholder "), Options::default());
    }

    #[test]
    fn bpm_01_noreboot_is_a_flag() {
        assert!(good("noreboot").noreboot);
        assert!(good("noreboot=true").noreboot);
        assert!(!good("noreboot no-noreboot").noreboot);
        assert!(!good("noreboot noreboot=0").noreboot);
        assert!(good("reboot=no,acpi").noreboot);
    }

    #[test]
    fn bpm_02_ports_are_used_only_if_given() {
        let options = good("com1=9600,8n1,0x408,5");
        assert_eq!(options.com1.map(|port| port.io_base), Some(0x408));
        assert_eq!(options.com2, None);
        assert_eq!(good("com2=auto").com2, Some(SerialPort::COM2));
    }

    #[test]
    fn bpm_04_sync_console_is_a_flag() {
        assert!(good("sync_console").sync_console);
        assert!(!good("sync_console=off").sync_console);
    }

    #[test]
    fn bpm_07_dom0_vcpus_pin_can_be_off() {
        assert!(!good("dom0_vcpus_pin=off").dom0_vcpus_pin);
        assert!(good("dom0_vcpus_pin").dom0_vcpus_pin);
    }

    #[test]
    fn bpm_08_hap_cannot_be_switched_off() {
        good("hap=1");
        refused("hap=0");
        refused("no-hap");
    }

    #[test]
    fn the_full_sample_of_the_requirements() {
        let options = good("dom0_max_vcpus=1 dom0_mem=1024M dom0_vcpus_pin=off console=vga");
        assert_eq!(options.dom0_max_vcpus.on(8), 1);
        assert_eq!(options.dom0_mem.initial(8 << 30), 1 << 30);
        assert_eq!(options.console, Consoles::VGA);
    }

    #[test]
    fn every_option_reaches_its_field() {
        let options = good(
            "console_timestamps=boot console_to_ring conring_size=1M conswitch=bx loglvl=all guest_loglvl=error/all \
             dom0=pvh,verbose reboot=kbd maxcpus=4 sched=credit sched_credit_tslice_ms=5 sched_ratelimit_us=500 \
             vcpu_migration_delay=1000 no-vpid no-apicv x2apic=0 gnttab_max_frames=128 \
             gnttab_max_maptrack_frames=0 iommu=off",
        );
        assert_eq!(options.console_timestamps, Timestamps::Boot);
        assert!(options.console_to_ring && options.dom0_verbose);
        assert_eq!(options.conring_size, 1 << 20);
        assert_eq!(options.conswitch.key(), 'b');
        assert_eq!(options.loglvl.to_string(), "all/all");
        assert_eq!(options.guest_loglvl.to_string(), "error/all");
        assert_eq!(options.reboot, Some(RebootMethod::Keyboard));
        assert_eq!(options.max_pcpus(), 4);
        assert_eq!((options.sched_credit_tslice_ms, options.sched_ratelimit_us), (5, 500));
        assert_eq!(options.vcpu_migration_delay, 1_000);
        assert!(!options.vpid && !options.apicv && !options.x2apic);
        assert_eq!((options.gnttab_max_frames, options.gnttab_max_maptrack_frames), (128, 0));
    }

    #[test]
    fn nosmp_outweighs_maxcpus() {
        assert_eq!(good("nosmp maxcpus=4").max_pcpus(), 1);
        assert_eq!(good("maxcpus=0").max_pcpus(), 1);
        assert_eq!(good("maxcpus=4000000000").max_pcpus(), MAX_PCPUS);
        assert_eq!(good("nosmp=0").max_pcpus(), MAX_PCPUS);
    }

    #[test]
    fn the_log_is_never_shorter_than_the_default() {
        assert_eq!(good("conring_size=0").conring_size, 16 << 10);
        assert_eq!(good("conring_size=4k").conring_size, 16 << 10);
        assert_eq!(good("conring_size=128").conring_size, 128 << 10);
        refused("conring_size=1T");
    }

    #[test]
    fn a_vcpu_never_runs_longer_than_its_slice() {
        let (options, warnings) = parsed("sched_credit_tslice_ms=1 sched_ratelimit_us=5000");
        assert_eq!(options.sched_ratelimit_us, 1_000);
        assert_eq!(warnings, ["boot option sched_ratelimit_us: longer than the time slice, shortened to it"]);
        assert_eq!(good("sched_ratelimit_us=0").sched_ratelimit_us, 0);
    }

    #[test]
    fn self_tests_are_all_some_or_none() {
        assert_eq!(good("selftest").selftest, SelfTest::All);
        assert_eq!(good("selftest=frames,ipi").selftest, SelfTest::Only("frames,ipi"));
        assert_eq!(good(r#""selftest=a b" nosmp"#).selftest, SelfTest::Only("a b"));
        assert_eq!(good("selftest no-selftest").selftest, SelfTest::Off);
    }

    #[test]
    fn what_stands_behind_two_dashes_is_for_dom0() {
        let options = good("nosmp -- console=hvc0  quiet");
        assert!(options.nosmp);
        assert_eq!(options.dom0_args, "console=hvc0  quiet");
    }

    #[test]
    fn the_last_of_two_wins_unless_it_makes_no_sense() {
        let (options, warnings) = parsed("loglvl=error loglvl=all loglvl=loud");
        assert_eq!(options.loglvl.to_string(), "all/all");
        assert_eq!(
            warnings,
            ["boot option loglvl=loud: ignored, expected none, error, warning, info, debug or all, \
              and another behind a slash"]
        );
    }

    #[test]
    fn every_fault_is_one_warning_and_changes_nothing() {
        refused(
            "frobnicate com1 com1=pci com2=9600,8n1,pci console console=pv,dbgp console_timestamps=now conring_size=x \
             conswitch=7 guest_loglvl=1 dom0_mem=1024MB dom0_max_vcpus=many dom0_vcpus_pin=maybe dom0=pv reboot=efi \
             maxcpus=x nosmp=2 sched=credit2 sched=fair sched_credit_tslice_ms=0 sched_credit_tslice_ms=1001 \
             sched_ratelimit_us=99 sched_ratelimit_us=500001 vcpu_migration_delay=100001 iommu=force iommu \
             no-com1 no-noreboot=1 x2apic=phys \
             gnttab_max_frames=0 watchdog no-watchdog no-real-mode ucode=scan vga=gfx-1024x768x32 Noreboot -",
        );
    }

    #[test]
    fn options_without_effect_are_only_information() {
        let mut levels = Vec::new();
        parse("crashkernel=256M frobnicate com1=", |warning| levels.push((warning.level(), warning.word)));
        assert_eq!(
            levels,
            [(Level::Info, "crashkernel=256M"), (Level::Warning, "frobnicate"), (Level::Warning, "com1=")]
        );
    }

    #[test]
    fn a_warning_is_one_line_whatever_was_typed() {
        let (_, warnings) = parsed("\"evil\n\x1b[2J=\"");
        assert_eq!(warnings, ["boot option evil\\n\\u{1b}[2J=: not known, ignored"]);
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn any_line_is_survived(line in any::<String>()) {
            let (_, warnings) = parsed(&line);
            prop_assert!(warnings.iter().all(|warning| !warning.contains(['\n', '\x1b'])));
        }

        /// Names that are known, values that may make sense.
        #[test]
        fn any_values_are_survived(
            words in prop::collection::vec(
                (
                    prop::sample::select(&[
                        "com1", "no-com2", "console", "console_timestamps", "conring_size", "conswitch", "loglvl",
                        "dom0_mem", "dom0_max_vcpus", "dom0", "reboot", "maxcpus", "nosmp", "sched",
                        "sched_credit_tslice_ms", "sched_ratelimit_us", "vcpu_migration_delay",
                        "gnttab_max_frames", "selftest", "--",
                    ][..]),
                    "(=[0-9a-zA-Z,/%:+\"é. -]{0,12})?",
                ),
                0..12,
            ),
        ) {
            let line: Vec<String> = words.iter().map(|(name, value)| std::format!("{name}{value}")).collect();
            let line = line.join(" ");
            let (options, _) = parsed(&line);
            prop_assert!((1..=MAX_PCPUS).contains(&options.max_pcpus()));
            prop_assert!(options.sched_ratelimit_us <= options.sched_credit_tslice_ms * 1_000);
            prop_assert!((CONRING_DEFAULT..=CONRING_MAX).contains(&options.conring_size));
        }
    }
}
