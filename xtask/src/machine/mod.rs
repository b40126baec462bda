//! An emulated machine: its serial console and how it ends.
//!
//! [`Machine::start`] picks the emulator ([`bochs`], [`qemu`]) and starts it with COM1 on a pseudo terminal
//! ([`serial`]). One thread pumps: it reads the console, watches the emulator for resets and its end, and
//! sends all as [`Event`]s in the order in which they happened. Dropping the machine ends the emulator.

mod bochs;
mod qemu;
mod serial;

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::cli::{Disk, Firmware, MachineArgs, Nic, Platform, Size};
use crate::process::Group;
use crate::setup::{self, Need};
use crate::workspace;

pub(crate) use serial::Input;

/// Longest wait of the pump before it looks at the emulator again.
const POLL: Duration = Duration::from_millis(20);
/// Reads of the console in one go; more than a full pseudo terminal takes.
const MOST_READS: u32 = 64;
/// Bytes of a disk's sector.
const SECTOR: u64 = 512;
/// How much of the emulator's own output is kept for a report.
const KEPT_OUTPUT: usize = 4096;

/// Places on the IDE channels beside the boot medium's.
pub(crate) const MOST_DISKS: usize = 3;

/// How the machine's time passes where it is emulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// As fast as the host can: a machine that waits skips the wait.
    Fastest,
    /// Not faster than a clock on the wall, for people: waits take their time.
    RealTime,
}

/// What to boot.
pub(crate) struct Config {
    pub(crate) emulator: Emulator,
    pub(crate) cpus: u16,
    pub(crate) memory_mib: u32,
    pub(crate) cpu_model: Option<String>,
    pub(crate) firmware: Firmware,
    pub(crate) iso: PathBuf,
    /// In the order of the IDE channels; [`MOST_DISKS`] at most.
    pub(crate) disks: Vec<Disk>,
    pub(crate) nic: Nic,
    /// Where to copy the console's output to.
    pub(crate) log: Option<PathBuf>,
    pub(crate) pace: Pace,
    /// Where QEMU listens for gdb; the machine then waits for it before its first instruction.
    pub(crate) gdb: Option<PathBuf>,
}

impl Config {
    /// The machine of `args`, and of `default` where they name no size.
    pub(crate) fn new(args: &MachineArgs, default: Size, iso: PathBuf) -> Result<Self> {
        let Size { cpus, memory_mib } = args.size(default);
        Ok(Self {
            emulator: Emulator::choose(args.platform, args.firmware, args.cpu_model.is_some())?,
            cpus,
            memory_mib,
            cpu_model: args.cpu_model.clone(),
            firmware: args.firmware,
            iso,
            disks: args.disks.clone(),
            nic: args.nic,
            log: args.log.clone(),
            pace: Pace::Fastest,
            gdb: None,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Emulator {
    Bochs,
    QemuKvm,
    QemuTcg,
}

impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bochs => "Bochs",
            Self::QemuKvm => "QEMU with KVM",
            Self::QemuTcg => "QEMU without KVM",
        })
    }
}

impl Emulator {
    /// The emulator for `platform`, or why there is none.
    pub(crate) fn choose(platform: Platform, firmware: Firmware, bochs_cpu: bool) -> Result<Self> {
        Self::pick(platform, firmware, bochs_cpu, nested_vmx())
    }

    fn pick(platform: Platform, firmware: Firmware, bochs_cpu: bool, kvm: bool) -> Result<Self> {
        let uefi = firmware == Firmware::Uefi;
        match platform {
            Platform::Bochs if uefi => bail!("Bochs has no UEFI firmware"),
            Platform::QemuKvm if !kvm => bail!("/dev/kvm offers no nested VMX here"),
            Platform::QemuKvm | Platform::QemuTcg if bochs_cpu => bail!("CPU models are Bochs' only"),
            Platform::Auto if uefi && bochs_cpu => {
                bail!("CPU models are Bochs' only, and it has no UEFI firmware")
            }
            Platform::QemuKvm => Ok(Self::QemuKvm),
            Platform::QemuTcg => Ok(Self::QemuTcg),
            Platform::Auto if kvm && !bochs_cpu => Ok(Self::QemuKvm),
            Platform::Auto if uefi => Ok(Self::QemuTcg),
            Platform::Auto | Platform::Bochs => Ok(Self::Bochs),
        }
    }

    /// The programs that it needs.
    pub(crate) fn needs(self, firmware: Firmware) -> &'static [Need] {
        match (self, firmware) {
            (Self::Bochs, _) => &[Need::Bochs],
            (_, Firmware::Bios) => &[Need::Qemu],
            (_, Firmware::Uefi) => &[Need::Qemu, Need::Ovmf],
        }
    }
}

/// Whether KVM can be opened and gives VMX to its guests.
fn nested_vmx() -> bool {
    let nested = fs::read_to_string("/sys/module/kvm_intel/parameters/nested").unwrap_or_default();
    matches!(nested.trim(), "Y" | "1") && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// What happens to a machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The guest wrote to COM1.
    Serial(Vec<u8>),
    /// The guest reset the machine; it starts again.
    Reset,
    /// How long the machine had run at about this time: the answer to [`Machine::ask_ticks`], and in Bochs also the
    /// event before the last.
    Ticks(u64),
    /// The last event.
    Ended(Ended),
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    PoweredOff,
    TripleFault,
    /// The emulator gave up, with its reason.
    Failed(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoweredOff => f.write_str("the machine powered off"),
            Self::TripleFault => f.write_str("the machine ended by a triple fault"),
            Self::Failed(why) => write!(f, "the emulator gave up: {why}"),
        }
    }
}

/// What an emulator's own channel or log tells about the machine.
#[derive(Debug, PartialEq, Eq)]
enum Sign {
    Reset,
    Ticks(u64),
    Ended(Ended),
}

/// An emulator as the pump sees it.
trait Backend: Send {
    /// Takes what the emulator wrote on its own output, looks at its logs, and tells what is new.
    fn signs(&mut self, output: &[u8]) -> Vec<Sign>;
    /// Asks how many ticks the machine has run; the answer is a sign, or never comes where nobody counts them.
    fn ask_ticks(&mut self) {}
    /// What to show of its log when a machine ended badly.
    fn excerpt(&self) -> String;
}

/// An emulator that was just started.
struct Started {
    group: Group,
    /// Its own output, which has to be read.
    output: OwnedFd,
    backend: Box<dyn Backend>,
}

/// A running machine.
pub(crate) struct Machine {
    input: Input,
    events: Receiver<Event>,
    stop: Arc<AtomicBool>,
    ask_ticks: Arc<AtomicBool>,
    /// An emulator that never waits.
    busy: Option<u32>,
    excerpt: Arc<Mutex<String>>,
    pump: Option<JoinHandle<()>>,
    /// Locked.
    _disks: Vec<File>,
    // Last: the emulator has to be gone before its folder.
    _work: TempDir,
}

impl Machine {
    pub(crate) fn start(config: &Config) -> Result<Self> {
        setup::ensure_all(config.emulator.needs(config.firmware))?;
        let disks = take(&config.disks)?;
        let work = workspace::scratch("machine")?;
        let (console, input) = serial::open()?;
        let mut started = start_emulator(config, work.path(), &console)?;
        let busy = (config.emulator == Emulator::Bochs).then(|| started.group.child().id());
        let log = config.log.as_deref().map(create_log).transpose()?;
        let (sender, events) = mpsc::channel();
        let (stop, ask_ticks, excerpt) = (Arc::default(), Arc::default(), Arc::default());
        let pump = Pump {
            started,
            console,
            log,
            sender,
            stop: Arc::clone(&stop),
            ask_ticks: Arc::clone(&ask_ticks),
            excerpt: Arc::clone(&excerpt),
        };
        let pump = Some(thread::spawn(move || pump.run()));
        Ok(Self { input, events, stop, ask_ticks, busy, excerpt, pump, _disks: disks, _work: work })
    }

    /// The keyboard side of the console.
    pub(crate) fn input(&self) -> Input {
        self.input.clone()
    }

    /// Asks how long the machine has run. The answer is an [`Event::Ticks`], where the emulator counts ticks.
    pub(crate) fn ask_ticks(&self) {
        self.ask_ticks.store(true, Ordering::Relaxed);
    }

    /// For how long the emulator has had a processor, if it uses one whether the machine is idle or not.
    pub(crate) fn run_time(&self) -> Option<Duration> {
        // The first number is ns (Linux, Documentation/scheduler/sched-stats.rst).
        let times = fs::read_to_string(format!("/proc/{}/schedstat", self.busy?)).ok()?;
        Some(Duration::from_nanos(times.split_whitespace().next()?.parse().ok()?))
    }

    /// The next event within `timeout`. After [`Event::Ended`] there is none.
    pub(crate) fn next_event(&self, timeout: Duration) -> Option<Event> {
        match self.events.recv_timeout(timeout) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(timeout);
                None
            }
        }
    }

    /// Ends the emulator and returns the end of its log.
    pub(crate) fn end(&mut self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(pump) = self.pump.take() {
            // A pump that panicked has reported itself and dropped the emulator.
            let _ = pump.join();
        }
        self.excerpt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs `config` in Bochs with its debugger on our terminal, until the user ends it. The console goes to
/// `log`; `symbols` is a file of addresses and names.
pub(crate) fn debug_in_bochs(config: &Config, symbols: &Path, log: &Path) -> Result<()> {
    setup::ensure_all(Emulator::Bochs.needs(Firmware::Bios))?;
    let _disks = take(&config.disks)?;
    let work = workspace::scratch("debug")?;
    let (console, _input) = serial::open()?;
    let mut bochs = bochs::debugger(config, work.path(), console.path(), symbols)?;
    let (stop, mut log) = (AtomicBool::new(false), create_log(log)?);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // A full disk must not end the machine.
                let _ = log.write_all(&console.read());
                thread::sleep(POLL);
            }
        });
        let status = bochs.status();
        stop.store(true, Ordering::Relaxed);
        status
    })
    .context("cannot start bochs")?;
    Ok(())
}

/// Locks the images of `disks`, alone where the machine writes to them, for as long as they are open. Fails for
/// those that an emulator would refuse, or would do something else with.
fn take(disks: &[Disk]) -> Result<Vec<File>> {
    ensure!(disks.len() <= MOST_DISKS, "{} disks: there is room for {MOST_DISKS}", disks.len());
    disks.iter().map(take_one).collect()
}

fn take_one(disk: &Disk) -> Result<File> {
    let name = disk.file.display();
    let file = File::options().read(true).write(!disk.snapshot).open(&disk.file);
    let file = file.with_context(|| format!("cannot use {name} as a disk"))?;
    let size = file.metadata()?.len();
    ensure!(
        size > 0 && size.is_multiple_of(SECTOR),
        "{name}: {size} bytes are no disk: sectors have {SECTOR}"
    );
    let kind = if disk.snapshot {
        FlockOperation::NonBlockingLockShared
    } else {
        FlockOperation::NonBlockingLockExclusive
    };
    flock(&file, kind).with_context(|| format!("{name} is the disk of another machine"))?;
    Ok(file)
}

fn create_log(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

fn start_emulator(config: &Config, work: &Path, console: &serial::Console) -> Result<Started> {
    match config.emulator {
        Emulator::Bochs => bochs::start(config, work, console.path()),
        Emulator::QemuKvm | Emulator::QemuTcg => qemu::start(config, work, console.path()),
    }
}

struct Pump {
    started: Started,
    console: serial::Console,
    log: Option<File>,
    sender: Sender<Event>,
    stop: Arc<AtomicBool>,
    ask_ticks: Arc<AtomicBool>,
    excerpt: Arc<Mutex<String>>,
}

impl Pump {
    fn run(mut self) {
        let ended = self.pump();
        *self.excerpt.lock().unwrap_or_else(PoisonError::into_inner) = self.started.backend.excerpt();
        drop(self.started);
        if let Some(ended) = ended {
            // Nobody listens any more: nobody needs to know.
            let _ = self.sender.send(Event::Ended(ended));
        }
    }

    /// Until the machine ends, or `None` when it was told to stop.
    fn pump(&mut self) -> Option<Ended> {
        while !self.stop.load(Ordering::Relaxed) {
            serial::wait(&self.console, &self.started.output, POLL);
            self.forward_console();
            if self.ask_ticks.swap(false, Ordering::Relaxed) {
                self.started.backend.ask_ticks();
            }
            // The status first: what the emulator wrote before its end is then read below.
            let status = self.started.group.try_wait().ok().flatten();
            let output = serial::read_available(&self.started.output);
            for sign in self.started.backend.signs(&output) {
                // What the guest wrote before it reset or ended comes before that.
                self.forward_console();
                match sign {
                    Sign::Reset => drop(self.sender.send(Event::Reset)),
                    Sign::Ticks(ticks) => drop(self.sender.send(Event::Ticks(ticks))),
                    Sign::Ended(ended) => return Some(ended),
                }
            }
            if let Some(status) = status {
                self.forward_console();
                return Some(unexplained(status));
            }
        }
        None
    }

    /// Passes on what the guest wrote, in one go no more than a terminal can hold: a guest that never stops
    /// writing must not keep us from looking at the emulator.
    fn forward_console(&mut self) {
        for _ in 0..MOST_READS {
            let bytes = self.console.read();
            if bytes.is_empty() {
                return;
            }
            if let Some(log) = &mut self.log {
                // A full disk must not end the machine; the console shows the same.
                let _ = log.write_all(&bytes);
            }
            drop(self.sender.send(Event::Serial(bytes)));
        }
    }
}

fn unexplained(status: ExitStatus) -> Ended {
    Ended::Failed(format!("it exited by itself ({status})"))
}

/// The last bytes of an emulator's own output.
#[derive(Default)]
struct Kept(VecDeque<u8>);

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let surplus = self.0.len().saturating_sub(KEPT_OUTPUT);
        self.0.drain(..surplus);
    }

    fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = anstream::adapter::strip_bytes(&bytes).into_vec();
        String::from_utf8_lossy(&text).replace('\r', "")
    }
}

/// The last `count` lines of `text`.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulator_for_each_wish() {
        let pick = |platform, firmware, cpu, kvm| Emulator::pick(platform, firmware, cpu, kvm).ok();
        use Emulator::{Bochs, QemuKvm, QemuTcg};
        use Firmware::{Bios, Uefi};
        assert_eq!(pick(Platform::Auto, Bios, false, false), Some(Bochs));
        assert_eq!(pick(Platform::Auto, Bios, false, true), Some(QemuKvm));
        assert_eq!(pick(Platform::Auto, Bios, true, true), Some(Bochs));
        assert_eq!(pick(Platform::Auto, Uefi, false, false), Some(QemuTcg));
        assert_eq!(pick(Platform::Auto, Uefi, false, true), Some(QemuKvm));
        assert_eq!(pick(Platform::Auto, Uefi, true, true), None);
        assert_eq!(pick(Platform::QemuKvm, Bios, false, false), None);
        assert_eq!(pick(Platform::QemuTcg, Bios, true, false), None);
        assert_eq!(pick(Platform::Bochs, Uefi, false, false), None);
    }

    #[test]
    fn kept_output_is_bounded_and_plain() {
        let mut kept = Kept::default();
        kept.push(&[b'a'; 2 * KEPT_OUTPUT]);
        kept.push(b"\x1b[1mend\x1b[0m\r\n");
        assert!(kept.0.len() == KEPT_OUTPUT && kept.text().ends_with("aend\n"));
    }

    #[test]
    fn disks_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a.img");
        let disk = Disk { file: image.clone(), snapshot: false };
        let why = |disks: &[Disk]| format!("{:#}", take(disks).unwrap_err());
        assert!(why(std::slice::from_ref(&disk)).contains("a.img as a disk"));
        fs::write(&image, [0; 1000]).unwrap();
        assert!(why(std::slice::from_ref(&disk)).contains("1000 bytes are no disk"));
        fs::write(&image, [0; 1024]).unwrap();
        let taken = take(std::slice::from_ref(&disk)).unwrap();
        assert!(why(std::slice::from_ref(&disk)).contains("the disk of another machine"));
        drop(taken);
        assert!(why(&vec![disk; 4]).contains("room for 3"));
    }

    #[test]
    fn last_lines_of_short_text() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
