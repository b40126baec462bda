//! Pseudo terminals between an emulated serial port and us.
//!
//! The emulator opens the terminal side by its path. We keep that side open as well: data then outlive the
//! emulator, and reading never fails because it is not there yet.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// How long the machine may refuse input.
const INPUT_PATIENCE: Duration = Duration::from_secs(10);

/// Our side of a pseudo terminal in raw mode.
pub(crate) struct Console {
    ours: Arc<File>,
    terminal: File,
    path: PathBuf,
}

/// Types on a [`Console`].
#[derive(Clone)]
pub(crate) struct Input(Arc<File>);

/// A new pseudo terminal: what the machine writes, and where to type.
pub(crate) fn open() -> Result<(Console, Input)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .context("cannot open a pseudo terminal")?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = PathBuf::from(ptsname(&ours, Vec::new())?.into_string()?);
    let terminal = open_terminal(&path)?;
    make_raw(&terminal)?;
    set_nonblocking(&ours)?;
    let ours = Arc::new(File::from(ours));
    Ok((Console { ours: Arc::clone(&ours), terminal, path }, Input(ours)))
}

fn open_terminal(path: &Path) -> Result<File> {
    let flags = (OFlags::NOCTTY | OFlags::CLOEXEC).bits();
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.cast_signed());
    options.read(true).write(true).open(path).with_context(|| format!("cannot open {}", path.display()))
}

fn make_raw(terminal: &File) -> Result<()> {
    let mut settings = tcgetattr(terminal)?;
    settings.make_raw();
    Ok(tcsetattr(terminal, OptionalActions::Now, &settings)?)
}

/// The terminal side of somebody else's pseudo terminal, to read what is written to the other side.
pub(crate) fn tap(path: &Path) -> Result<OwnedFd> {
    let terminal = open_terminal(path)?;
    make_raw(&terminal)?;
    set_nonblocking(&terminal)?;
    Ok(terminal.into())
}

/// Reads and writes of `fd` return at once.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let flags = fcntl_getfl(&fd)?;
    Ok(fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}

impl Console {
    /// Path of the terminal side, for the emulator.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal side, for a child's standard streams.
    pub(crate) fn terminal(&self) -> Result<File> {
        self.terminal.try_clone().context("cannot copy a file descriptor")
    }

    /// Our side alone, to be read elsewhere.
    pub(crate) fn into_output(self) -> Result<OwnedFd> {
        Ok(self.ours.try_clone()?.into())
    }

    /// What has arrived, empty for nothing.
    pub(crate) fn read(&self) -> Vec<u8> {
        read_once(&self.ours)
    }
}

impl Input {
    /// Types `bytes`. Fails when the machine takes none for a while.
    pub(crate) fn send(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match (&*self.0).write(bytes) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.wait_for_room()?,
                Err(error) => return Err(error).context("cannot write to the serial console"),
            }
        }
        Ok(())
    }

    fn wait_for_room(&self) -> Result<()> {
        let mut fds = [PollFd::new(&*self.0, PollFlags::OUT)];
        match poll(&mut fds, Some(&timespec(INPUT_PATIENCE))) {
            Ok(0) => bail!("the machine takes no input on its serial console"),
            _ => Ok(()),
        }
    }
}

/// Waits until the console or the emulator's output has something to read.
pub(crate) fn wait(console: &Console, output: &OwnedFd, timeout: Duration) {
    let started = std::time::Instant::now();
    let mut fds = [PollFd::new(&*console.ours, PollFlags::IN), PollFd::new(output, PollFlags::IN)];
    // An interrupted wait is a short wait.
    let _ = poll(&mut fds, Some(&timespec(timeout)));
    if fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR)) {
        // A closed pipe is ready for ever.
        std::thread::sleep(timeout.saturating_sub(started.elapsed()));
    }
}

/// What a non-blocking `fd` has to read.
pub(crate) fn read_available(fd: &OwnedFd) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let mut all = Vec::new();
    while let Ok(n @ 1..) = rustix::io::read(fd, &mut buffer) {
        all.extend_from_slice(buffer.get(..n).unwrap_or_default());
    }
    all
}

fn read_once(mut file: &File) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let n = file.read(&mut buffer).unwrap_or(0);
    buffer.truncate(n);
    buffer
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_within(console: &Console, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..200 {
            all.extend(console.read());
            if all.len() >= count {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        all
    }

    #[test]
    fn bytes_pass_unchanged_both_ways() {
        let (console, input) = open().unwrap();
        let mut machine = console.terminal().unwrap();
        machine.write_all(b"a\n\r\x03\xff").unwrap();
        assert_eq!(read_within(&console, 5), b"a\n\r\x03\xff");
        input.send(b"\x03\r\x04x").unwrap();
        let mut typed = [0; 4];
        machine.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"\x03\r\x04x");
        assert_eq!(console.read(), b"", "no echo");
    }

    #[test]
    fn output_outlives_the_machine() {
        let (console, _input) = open().unwrap();
        let mut machine = open_terminal(console.path()).unwrap();
        machine.write_all(b"last words").unwrap();
        drop(machine);
        assert_eq!(read_within(&console, 10), b"last words");
        assert_eq!(console.read(), b"");
    }
}
