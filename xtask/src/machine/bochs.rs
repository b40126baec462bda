//! Bochs, as Debian packages it: with the internal debugger and the text display only.
//!
//! Both want a terminal, so Bochs gets a pseudo terminal of its own beside the serial console. How a machine
//! ended stands in Bochs' log: `NNNNNNNNNNN` ticks, a letter for the level, the module, the message.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{Backend, Config, Ended, Input, Kept, MOST_DISKS, Pace, Sign, Started, last_lines, serial};
use crate::cli::{Disk, Nic};
use crate::process::{self, Group};

/// Haswell has VMX with EPT, VPID, unrestricted guest and APICv.
const DEFAULT_CPU_MODEL: &str = "corei7_haswell_4770";

/// Emulated instructions per emulated second: the TSC's frequency.
const IPS: u32 = 50_000_000;

/// Where disks are, the first on hda of other systems, and where the boot medium is then.
const DISKS: [&str; MOST_DISKS] = ["ata0-master", "ata0-slave", "ata1-slave"];
const CDROM_BEHIND_DISKS: &str = "ata1-master";

pub(super) fn start(config: &Config, work: &Path, com1: &Path) -> Result<Started> {
    if let Some(model) = &config.cpu_model {
        let help =
            process::command("bochs").args(["--help", "cpu"]).output().context("cannot start bochs")?;
        // The list is on stderr.
        ensure_model(model, &String::from_utf8_lossy(&help.stderr))?;
    }
    let log = work.join("bochs.log");
    link_disks(&config.disks, work)?;
    let (rc, commands) = (work.join("bochsrc"), work.join("commands"));
    fs::write(&rc, bochsrc(config, com1, &log, Display::Text))?;
    fs::write(&commands, "continue\n")?;
    let (screen, debugger) = serial::open()?;
    let mut bochs = process::command("bochs");
    bochs.arg("-q").arg("-f").arg(&rc).arg("-rc").arg(&commands).current_dir(work).env("TERM", "xterm");
    bochs.stdin(screen.terminal()?).stdout(screen.terminal()?).stderr(screen.terminal()?);
    let mut group = Group::spawn(&mut bochs)?;
    let debugger = Debugger { pid: group.child().id(), keyboard: debugger, state: Asked::TooEarly };
    Ok(Started { group, output: screen.into_output()?, backend: Box::new(Bochs::new(log, debugger)) })
}

/// Fails unless `model` is one of those that `help`, the answer to `bochs --help cpu`, lists one to a line.
fn ensure_model(model: &str, help: &str) -> Result<()> {
    let models: Vec<_> = help.lines().filter(|line| is_word(line)).collect();
    ensure!(models.contains(&model), "Bochs has no CPU model `{model}`; it has {}", models.join(", "));
    Ok(())
}

fn is_word(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Bochs with its debugger on our terminal and the names of `symbols` loaded.
pub(super) fn debugger(config: &Config, work: &Path, com1: &Path, symbols: &Path) -> Result<Command> {
    link_disks(&config.disks, work)?;
    let (rc, commands) = (work.join("bochsrc"), work.join("commands"));
    fs::write(&rc, bochsrc(config, com1, &work.join("bochs.log"), Display::Vnc))?;
    fs::write(&commands, format!("ldsym global \"{}\"\n", symbols.display()))?;
    // In our process group, so that it may read the terminal.
    let mut bochs = Command::new("bochs");
    bochs.arg("-q").arg("-f").arg(&rc).arg("-rc").arg(&commands).current_dir(work);
    Ok(bochs)
}

/// Where the screen is shown.
#[derive(Clone, Copy)]
enum Display {
    /// On the terminal.
    Text,
    /// For VNC viewers, port 5900 or the next free one.
    Vnc,
}

impl Display {
    fn option(self) -> &'static str {
        match self {
            Self::Text => "display_library: term",
            Self::Vnc => "display_library: rfb, options=\"timeout=0\"",
        }
    }
}

/// Bochs' configuration for `config`.
fn bochsrc(config: &Config, com1: &Path, log: &Path, display: Display) -> String {
    let Config { cpus, memory_mib, iso, .. } = config;
    let model = config.cpu_model.as_deref().unwrap_or(DEFAULT_CPU_MODEL);
    let (com1, log, iso) = (com1.display(), log.display(), iso.display());
    let cdrom = if config.disks.is_empty() { "ata0-master" } else { CDROM_BEHIND_DISKS };
    [
        &format!("cpu: model={model}, count={cpus}, ips={IPS}, reset_on_triple_fault=0, ignore_bad_msrs=0"),
        &format!("memory: guest={memory_mib}, host={memory_mib}"),
        // Without "fastboot" the BIOS waits three emulated seconds for F12.
        "romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot",
        "vgaromimage: file=/usr/share/vgabios/vgabios.bin",
        // The text display shows no graphics mode.
        "vga: extension=none",
        display.option(),
        "plugin_ctrl: speaker=0, parallel=0",
        &disks(&config.disks),
        &format!("{cdrom}: type=cdrom, path=\"{iso}\", status=inserted"),
        card(config.nic),
        "boot: cdrom",
        &format!("com1: enabled=1, mode=term, dev={com1}"),
        "port_e9_hack: enabled=1",
        clock(config.pace),
        &format!("log: \"{log}\""),
        "debug: action=ignore",
        // Resets are logged as information of the module pc_system.
        "info: action=ignore, pc_system=report",
        "error: action=ignore",
        "panic: action=fatal",
        "",
    ]
    .join("\n")
}

/// Each disk at its place. Sizes need no geometry: it is found from them.
fn disks(disks: &[Disk]) -> String {
    let line = |(number, (place, disk)): (usize, (&&str, &Disk))| {
        let mode = if disk.snapshot { "volatile" } else { "flat" };
        format!("{place}: type=disk, path={}, mode={mode}", link(number))
    };
    DISKS.iter().zip(disks).enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// Names for the disks in `work`, Bochs' own folder: beside them it puts locks, which it leaves when it is killed, and
/// what is written to those that are not to be changed.
fn link_disks(disks: &[Disk], work: &Path) -> Result<()> {
    for (number, disk) in disks.iter().enumerate() {
        let file = disk.file.canonicalize();
        let linked = file.and_then(|file| symlink(file, work.join(link(number))));
        linked.with_context(|| format!("cannot use {} as a disk", disk.file.display()))?;
    }
    Ok(())
}

fn link(number: usize) -> String {
    format!("disk{number}")
}

fn card(nic: Nic) -> &'static str {
    match nic {
        Nic::None => "",
        Nic::E1000 => "e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=slirp",
    }
}

fn clock(pace: Pace) -> &'static str {
    match pace {
        // The same each time.
        Pace::Fastest => "clock: sync=none",
        Pace::RealTime => "clock: sync=slowdown, time0=local",
    }
}

struct Bochs {
    log: PathBuf,
    /// Bytes of the log that were looked at.
    seen: usize,
    scan: LogScan,
    output: Kept,
    screen: Screen,
    debugger: Debugger,
}

impl Bochs {
    fn new(log: PathBuf, debugger: Debugger) -> Self {
        Self {
            log,
            seen: 0,
            scan: LogScan::default(),
            output: Kept::default(),
            screen: Screen::Unknown,
            debugger,
        }
    }
}

impl Backend for Bochs {
    fn signs(&mut self, output: &[u8]) -> Vec<Sign> {
        self.output.push(output);
        self.screen.drain(&self.output);
        let ticks = self.debugger.take(output).map(Sign::Ticks);
        if self.output.text().contains("Next at t=0\n") {
            self.debugger.begins();
        }
        let log = fs::read(&self.log).unwrap_or_default();
        let new = log.get(self.seen..).unwrap_or_default();
        // A line still being written waits for the next time.
        let complete = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.seen += complete;
        let text = String::from_utf8_lossy(new.get(..complete).unwrap_or_default());
        ticks.into_iter().chain(text.lines().flat_map(|line| self.scan.line(line))).collect()
    }

    fn ask_ticks(&mut self) {
        self.debugger.interrupt();
    }

    fn excerpt(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = last_lines(&String::from_utf8_lossy(&log), 10);
        // Mistakes in the configuration are told on the screen only.
        if log.contains(">>PANIC<<") { log } else { [log, last_lines(&self.output.text(), 10)].join("\n") }
    }
}

/// Bochs' own debugger, which knows how many ticks have passed. SIGINT stops the machine between two instructions,
/// and the debugger waits for a command; no instruction of the machine's is another one for that.
struct Debugger {
    pid: u32,
    keyboard: Input,
    state: Asked,
}

/// What the debugger was asked.
enum Asked {
    /// It is not there yet: SIGINT would end Bochs.
    TooEarly,
    /// The same, and the ticks were asked for: there are none yet.
    AtTheStart,
    Nothing,
    /// The ticks; what it has said since.
    Ticks(String),
}

impl Debugger {
    fn interrupt(&mut self) {
        self.state = match self.state {
            Asked::TooEarly | Asked::AtTheStart => Asked::AtTheStart,
            Asked::Nothing | Asked::Ticks(_) => {
                let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
                // A process that has ended needs no answer: its end says the ticks.
                let _ = pid.map(|pid| kill_process(pid, Signal::INT));
                Asked::Ticks(String::new())
            }
        }
    }

    /// Takes what Bochs wrote on its terminal; when the debugger has told the ticks, the machine goes on.
    fn take(&mut self, output: &[u8]) -> Option<u64> {
        match &mut self.state {
            Asked::AtTheStart => {
                self.state = Asked::TooEarly;
                Some(0)
            }
            Asked::Ticks(answer) => {
                answer.push_str(&String::from_utf8_lossy(output));
                let ticks = ticks(answer)?;
                self.state = Asked::Nothing;
                // Should it take no input, the script's time ends.
                drop(self.keyboard.send(b"continue\n"));
                Some(ticks)
            }
            Asked::TooEarly | Asked::Nothing => None,
        }
    }

    /// The debugger has shown where the machine begins.
    fn begins(&mut self) {
        if matches!(self.state, Asked::TooEarly) {
            self.state = Asked::Nothing;
        }
    }
}

/// The ticks in `Next at t=63792751`, once the prompt behind it is there.
fn ticks(answer: &str) -> Option<u64> {
    let (_, behind) = answer.split_once("Next at t=")?;
    let (digits, _) = behind.split_once(|c: char| !c.is_ascii_digit())?;
    behind.contains("<bochs:").then(|| digits.parse().ok())?
}

/// The pseudo terminal of its own that Bochs draws the machine's screen on. It stops when nobody reads there and
/// the kernel's buffer is full.
enum Screen {
    /// Not announced yet.
    Unknown,
    Open(OwnedFd),
    /// It cannot be read, so it can fill up.
    Lost,
}

impl Screen {
    /// Reads what was drawn, once Bochs has said where.
    fn drain(&mut self, output: &Kept) {
        if let Self::Unknown = self
            && let Some(path) = screen_path(&output.text())
        {
            *self = serial::tap(Path::new(&path)).map_or(Self::Lost, Self::Open);
        }
        if let Self::Open(terminal) = self {
            drop(serial::read_available(terminal));
        }
    }
}

/// The terminal that `output` names, when all of the line has arrived.
fn screen_path(output: &str) -> Option<String> {
    let (_, rest) = output.split_once("Bochs connected to screen \"")?;
    rest.split_once('"').map(|(path, _)| path.to_owned())
}

/// Reads Bochs' log line by line.
#[derive(Default)]
struct LogScan {
    powered_on: bool,
}

impl LogScan {
    fn line(&mut self, line: &str) -> Vec<Sign> {
        if line.contains("bx_pc_system_c::Reset(") {
            // The first reset is the power-on.
            let again = std::mem::replace(&mut self.powered_on, true);
            return again.then_some(Sign::Reset).into_iter().collect();
        }
        let Some((origin, message)) = line.split_once(">>PANIC<<") else { return Vec::new() };
        let ticks =
            origin.split_once(|c: char| !c.is_ascii_digit()).and_then(|(ticks, _)| ticks.parse().ok());
        ticks.map(Sign::Ticks).into_iter().chain([Self::end(message.trim())]).collect()
    }

    fn end(message: &str) -> Sign {
        Sign::Ended(match message {
            "ACPI control: soft power off" | "Shutdown port: shutdown requested" => Ended::PoweredOff,
            _ if message.contains("exception with no resolution") => Ended::TripleFault,
            // Its table of timers is fixed; 15 CPUs were seen to fit.
            _ if message.contains("too many registered timers") => {
                Ended::Failed("Bochs has no room for that many CPUs; it takes 15".to_owned())
            }
            _ => Ended::Failed(message.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Firmware;
    use crate::machine::Emulator;

    fn config() -> Config {
        Config {
            emulator: Emulator::Bochs,
            cpus: 8,
            memory_mib: 1024,
            cpu_model: None,
            firmware: Firmware::Bios,
            iso: "/a b/x.iso".into(),
            disks: Vec::new(),
            nic: Nic::None,
            log: None,
            pace: Pace::Fastest,
            gdb: None,
        }
    }

    #[test]
    fn configuration_holds_the_machine() {
        let rc = bochsrc(&config(), Path::new("/dev/pts/7"), Path::new("/w/log"), Display::Text);
        for line in [
            "cpu: model=corei7_haswell_4770, count=8, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0",
            "memory: guest=1024, host=1024",
            "ata0-master: type=cdrom, path=\"/a b/x.iso\", status=inserted",
            "com1: enabled=1, mode=term, dev=/dev/pts/7",
            "log: \"/w/log\"",
            "clock: sync=none",
        ] {
            assert!(rc.lines().any(|l| l == line), "{line} not in\n{rc}");
        }
        let model = Config { cpu_model: Some("core2_penryn_t9600".into()), ..config() };
        assert!(
            bochsrc(&model, Path::new("t"), Path::new("l"), Display::Text)
                .starts_with("cpu: model=core2_penryn_t9600, count=8")
        );
    }

    #[test]
    fn disks_and_card_of_the_machine() {
        let disk = |file: &str, snapshot| Disk { file: file.into(), snapshot };
        let disks = vec![disk("/d/a b.img", false), disk("b", true), disk("c", false)];
        let config = Config { disks, nic: Nic::E1000, ..config() };
        let rc = bochsrc(&config, Path::new("t"), Path::new("l"), Display::Text);
        for line in [
            "ata0-master: type=disk, path=disk0, mode=flat",
            "ata0-slave: type=disk, path=disk1, mode=volatile",
            "ata1-master: type=cdrom, path=\"/a b/x.iso\", status=inserted",
            "ata1-slave: type=disk, path=disk2, mode=flat",
            "e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=slirp",
        ] {
            assert!(rc.lines().any(|l| l == line), "{line} not in\n{rc}");
        }
    }

    #[test]
    fn log_tells_how_the_machine_ended() {
        let signs = |line: &str| LogScan::default().line(line);
        let panic = |why| {
            let mut signs = signs(&format!("00088089995p[XYZ   ] >>PANIC<< {why}"));
            let end = signs.pop();
            assert_eq!(signs, [Sign::Ticks(88_089_995)]);
            end
        };
        assert_eq!(panic("ACPI control: soft power off"), Some(Sign::Ended(Ended::PoweredOff)));
        assert_eq!(panic("Shutdown port: shutdown requested"), Some(Sign::Ended(Ended::PoweredOff)));
        assert_eq!(
            panic("exception(): 3rd (13) exception with no resolution"),
            Some(Sign::Ended(Ended::TripleFault))
        );
        assert!(matches!(
            panic("register_timer: too many registered timers"),
            Some(Sign::Ended(Ended::Failed(why))) if why.contains("that many CPUs")
        ));
        assert_eq!(panic("no cdrom"), Some(Sign::Ended(Ended::Failed("no cdrom".into()))));
        assert_eq!(signs("00000000000i[MEM0  ] something"), []);
    }

    #[test]
    fn debugger_tells_the_ticks() {
        let answer = "x\nNext at t=63792751\n(0) [0x7c02] jmp .-3\n\x1b[?2004h<bochs:1> ";
        assert_eq!(ticks(answer), Some(63_792_751));
        assert_eq!(ticks("Next at t=637"), None);
        assert_eq!(ticks("Next at t=637\n(0) [0x7c02]"), None);
    }

    #[test]
    fn screen_is_where_bochs_says() {
        assert_eq!(
            screen_path("x\nBochs connected to screen \"/dev/pts/5\"\nNext").as_deref(),
            Some("/dev/pts/5")
        );
        assert_eq!(screen_path("Bochs connected to screen \"/dev/p"), None);
    }

    #[test]
    fn models_are_those_of_the_help_text() {
        let help = "====\n   Bochs x86 Emulator\nSupported CPU models:\n\nbx_generic\ncorei7_haswell_4770\n";
        assert!(ensure_model("corei7_haswell_4770", help).is_ok());
        let error = ensure_model("i7", help).unwrap_err().to_string();
        assert!(error.contains("no CPU model `i7`") && error.contains("bx_generic"), "{error}");
    }

    #[test]
    fn second_reset_is_the_guests() {
        let mut scan = LogScan::default();
        let reset = "00000000000i[SYS   ] bx_pc_system_c::Reset(HARDWARE) called";
        assert_eq!(scan.line(reset), []);
        assert_eq!(scan.line(reset), [Sign::Reset]);
        assert_eq!(scan.line(reset), [Sign::Reset]);
    }
}
