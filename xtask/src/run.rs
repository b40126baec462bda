//! `run`: one machine, with a person or a script at its console.

use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::boot;
use crate::cli::{Debian, DebianChoice, RunArgs, Size};
use crate::debian::{self, Guest};
use crate::iso;
use crate::machine::{Config, Ended, Event, Input, Machine, Pace};
use crate::process;
use crate::scenario;
use crate::script::Script;
use crate::session::{DEFAULT_TIMEOUT, Session};
use crate::ui;
use crate::workspace;

const CTRL_A: u8 = 1;

/// How often the loop looks at signals and keys that end it.
const POLL: Duration = Duration::from_millis(50);

const KEYS: &str = "\r\n\
    Ctrl-A x   end the machine\r\n\
    Ctrl-A a   send Ctrl-A; three of them switch between Dom0 and the hypervisor's keys\r\n\
    Ctrl-A h   this list\r\n\
    All others, Ctrl-C too, go to the machine.\r\n";

pub(crate) fn run(args: &RunArgs) -> Result<()> {
    // A script with a mistake fails before anything is built.
    let script = args.script.as_deref().map(scenario::read_script).transpose()?;
    let work = workspace::scratch("run")?;
    let guest = debian_guest(args, work.path())?;
    let size = args.machine.size(if guest.is_some() { Size::DEBIAN } else { Size::PLAIN });
    let set = iso::boot_set(&args.boot, guest.as_ref().map(|guest| (guest, size.cpus)), work.path())?;
    set.ensure_fits(size.memory_mib)?;
    let medium = work.path().join("kigumi.iso");
    let progress = ui::spinner("making the ISO image");
    iso::make(&set, work.path(), &medium)?;
    drop(progress);
    // A script need not wait as long as a person would.
    let pace = if script.is_some() { Pace::Fastest } else { Pace::RealTime };
    let mut config = Config { pace, ..Config::new(&args.machine, size, medium)? };
    // Configurations name it as the first.
    config.disks.splice(0..0, guest.as_ref().map(Guest::disk));
    ui::step("Booting", &format!("{} CPUs, {} MiB in {}", config.cpus, config.memory_mib, config.emulator));
    let machine = Machine::start(&config)?;
    match (script, &args.script) {
        (Some(script), Some(path)) => scripted(machine, &script, path, size.cpus, args),
        _ => interactive(machine, args.timeout),
    }
}

/// The Debian guest that is asked for. The one that nobody asked for may be missing.
fn debian_guest(args: &RunArgs, work: &Path) -> Result<Option<Guest>> {
    let wish = match args.debian {
        Some(DebianChoice::None) => return Ok(None),
        Some(DebianChoice::Cloud) => Debian::Cloud,
        Some(DebianChoice::Full) => Debian::Full,
        None if !args.boot.is_stock() => return Ok(None),
        None => match debian::fetch(Debian::Cloud) {
            Ok(()) => Debian::Cloud,
            Err(error) => {
                process::check_interrupted()?;
                ui::note(&format!("no Debian guest, only the demo guest: {error:#}"));
                return Ok(None);
            }
        },
    };
    debian::provide(wish, work).map(Some)
}

fn scripted(mut machine: Machine, script: &Script, path: &Path, cpus: u16, args: &RunArgs) -> Result<()> {
    let mut stdout = io::stdout();
    let timeout = args.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let mut session = Session::new(&mut machine, &mut stdout, timeout, boot::values(cpus));
    let result = session.run(script);
    let stages = session.into_stages();
    let excerpt = machine.end();
    // The console may have stopped in the middle of a line.
    println!();
    print!("{stages}");
    match result {
        Ok(()) => {
            ui::step("Passed", &path.display().to_string());
            Ok(())
        }
        Err(failure) => {
            bail!("{}: {failure}\nEnd of the emulator's log:\n{}", path.display(), indent(&excerpt))
        }
    }
}

pub(crate) fn indent(text: &str) -> String {
    text.trim().lines().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
}

fn interactive(mut machine: Machine, timeout: Option<Duration>) -> Result<()> {
    let raw = RawTerminal::enter()?;
    if raw.is_some() {
        ui::note("Ctrl-A x ends the machine, Ctrl-A h lists keys\r");
    }
    let quit = Arc::new(AtomicBool::new(false));
    type_from_stdin(machine.input(), Arc::clone(&quit));
    let ended = show_console(&machine, &quit, timeout);
    drop(raw);
    let excerpt = machine.end();
    println!();
    match ended? {
        None => Ok(()),
        Some(Ended::PoweredOff) => {
            ui::step("Ended", "the machine powered off");
            Ok(())
        }
        Some(ended) => bail!("{ended}\nEnd of the emulator's log:\n{}", indent(&excerpt)),
    }
}

/// Shows the console until the machine ends, or until the user ends it (`None`).
fn show_console(machine: &Machine, quit: &AtomicBool, timeout: Option<Duration>) -> Result<Option<Ended>> {
    let started = Instant::now();
    let mut stdout = io::stdout();
    loop {
        match machine.next_event(POLL) {
            Some(Event::Serial(bytes)) => {
                stdout.write_all(&bytes)?;
                stdout.flush()?;
            }
            // Nobody asks here.
            Some(Event::Ticks(_)) => {}
            Some(Event::Reset) => ui::note("the machine was reset\r"),
            Some(Event::Ended(ended)) => return Ok(Some(ended)),
            None => {}
        }
        if quit.load(Ordering::Relaxed) {
            return Ok(None);
        }
        process::check_interrupted()?;
        if let Some(limit) = timeout.filter(|limit| started.elapsed() >= *limit) {
            bail!("the machine was still on after {} s", limit.as_secs_f64());
        }
    }
}

/// Passes stdin to the machine on a thread of its own, which ends with the process.
fn type_from_stdin(input: Input, quit: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut keys = Keys { escapes: io::stdin().is_terminal(), escaped: false };
        let mut buffer = [0; 256];
        // Without more input the machine runs on.
        while let Ok(n @ 1..) = io::stdin().read(&mut buffer) {
            for byte in buffer.iter().take(n) {
                match keys.press(*byte) {
                    Key::Send(byte) => {
                        if let Err(error) = input.send(&[byte]) {
                            ui::note(&format!("{error:#}\r"));
                        }
                    }
                    Key::Help => ui::note(KEYS),
                    Key::Quit => quit.store(true, Ordering::Relaxed),
                    Key::Nothing => {}
                }
            }
        }
    });
}

/// The keys of [`KEYS`]; without `escapes` every byte is for the machine.
struct Keys {
    escapes: bool,
    /// Ctrl-A was pressed.
    escaped: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Key {
    Send(u8),
    Help,
    Quit,
    Nothing,
}

impl Keys {
    fn press(&mut self, byte: u8) -> Key {
        let escaped = std::mem::take(&mut self.escaped);
        match byte {
            _ if !self.escapes => Key::Send(byte),
            CTRL_A | b'a' if escaped => Key::Send(CTRL_A),
            b'x' if escaped => Key::Quit,
            b'h' | b'?' if escaped => Key::Help,
            _ if escaped => Key::Nothing,
            CTRL_A => {
                self.escaped = true;
                Key::Nothing
            }
            _ => Key::Send(byte),
        }
    }
}

/// The user's terminal in raw mode, restored on drop and by a panic.
struct RawTerminal(Termios);

impl RawTerminal {
    /// `None` where stdin is no terminal.
    fn enter() -> Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        restore_on_panic(before.clone());
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore(&self.0);
    }
}

/// A panic aborts without unwinding, so its hook has to restore the terminal.
fn restore_on_panic(settings: Termios) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore(&settings);
        hook(info);
    }));
}

fn restore(settings: &Termios) {
    // A terminal that is gone needs no settings.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, settings);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys { escapes: true, escaped: false };
        bytes.iter().map(|byte| keys.press(*byte)).filter(|key| *key != Key::Nothing).collect()
    }

    #[test]
    fn keys_of_the_terminal() {
        assert_eq!(press(b"ab"), [Key::Send(b'a'), Key::Send(b'b')]);
        assert_eq!(press(b"\x01x"), [Key::Quit]);
        assert_eq!(press(b"\x03\x1d"), [Key::Send(3), Key::Send(0x1d)]);
        assert_eq!(press(b"\x01a\x01\x01"), [Key::Send(1), Key::Send(1)]);
        assert_eq!(press(b"\x01h"), [Key::Help]);
        assert_eq!(press(b"\x01zx"), [Key::Send(b'x')]);
    }

    #[test]
    fn a_pipe_has_no_special_bytes() {
        let mut keys = Keys { escapes: false, escaped: false };
        assert_eq!(keys.press(3), Key::Send(3));
        assert_eq!(keys.press(1), Key::Send(1));
    }
}
