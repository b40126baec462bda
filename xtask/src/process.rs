//! Child processes that cannot outlive us, and the signals that end us.
//!
//! Every child leads its own process group, which is killed when its [`Group`] is dropped. Should xtask be
//! killed itself, the kernel kills the child: `setpriv --pdeathsig` arms `PR_SET_PDEATHSIG`. It fires when
//! the thread that started the child ends, so a thread must hold its children until they are dropped.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

/// Exit status after SIGINT, as shells count it.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// How often a wait looks at the child and at [`interrupted`].
const POLL: Duration = Duration::from_millis(20);

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// What Ctrl-C on the terminal means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CtrlC {
    EndsUs,
    /// A debugger on the terminal wants it.
    IsForTheChild,
}

/// From here on SIGINT, SIGTERM, SIGHUP and SIGQUIT set the flag of [`interrupted`]; a second one ends us.
pub(crate) fn watch_signals(ctrl_c: CtrlC) -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    if ctrl_c == CtrlC::IsForTheChild {
        // A handler, since an ignored signal would stay ignored in the child.
        flag::register(SIGINT, Arc::default())?;
    }
    let sigint = (ctrl_c == CtrlC::EndsUs).then_some(SIGINT);
    for signal in [SIGTERM, SIGHUP, SIGQUIT].into_iter().chain(sigint) {
        flag::register_conditional_shutdown(signal, i32::from(EXIT_INTERRUPTED), Arc::clone(flag))?;
        flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Whether a signal asked us to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// An error once [`interrupted`].
pub(crate) fn check_interrupted() -> Result<()> {
    ensure!(!interrupted(), "stopped by a signal");
    Ok(())
}

/// A command whose process dies with us.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null()).process_group(0);
    command
}

/// A running child and its process group.
pub(crate) struct Group(Child);

impl Group {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        command.spawn().map(Self).with_context(|| format!("cannot start {}", display(command)))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// The exit status, `None` while the child runs.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().context("cannot wait for a child process")
    }

    /// Waits for the end of the child; a signal to us ends both.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            check_interrupted()?;
            thread::sleep(POLL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The group exists as long as its leader was not waited for, or any member lives.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Runs `command` to its end on our stdout and stderr; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = Group::spawn(command)?.wait()?;
    ensure!(status.success(), "{} failed ({status})", display(command));
    Ok(())
}

/// Runs `command` quietly; its output is part of the error when it fails.
pub(crate) fn run_quietly(command: &mut Command) -> Result<String> {
    let mut group = Group::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let out = collect(group.child().stdout.take());
    let err = collect(group.child().stderr.take());
    let status = group.wait()?;
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    if !status.success() {
        bail!("{} failed ({status}):\n{}", display(command), [out.trim(), err.trim()].join("\n").trim());
    }
    Ok(out)
}

/// Reads a pipe to its end on a thread of its own, so that the child never blocks on it.
fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What could be read before an error is all there is to report.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The command as a user would type it, without the `setpriv` before it.
fn display(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    words.iter().position(|word| word == "--").map_or_else(
        || command.get_program().to_string_lossy().into_owned(),
        |dashes| words.get(dashes + 1..).unwrap_or_default().join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_run_returns_stdout() {
        assert_eq!(run_quietly(command("echo").arg("a b")).unwrap(), "a b\n");
    }

    #[test]
    fn failure_tells_command_and_output() {
        let error = run_quietly(command("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err().to_string();
        assert!(
            error.starts_with("sh -c") && error.contains("exit status: 3") && error.ends_with("why"),
            "{error}"
        );
    }

    #[test]
    fn drop_kills_the_whole_group() {
        let mut group =
            Group::spawn(command("sh").args(["-c", "sleep 1000 & echo $!; wait"]).stdout(Stdio::piped()))
                .unwrap();
        let mut pid = [0; 16];
        let n = group.child().stdout.as_mut().unwrap().read(&mut pid).unwrap();
        let sleeper = format!("/proc/{}", String::from_utf8_lossy(&pid[..n]).trim());
        assert!(std::path::Path::new(&sleeper).exists());
        drop(group);
        for _ in 0..100 {
            match std::fs::read_to_string(format!("{sleeper}/stat")) {
                Err(_) => return,
                Ok(stat) if stat.contains(") Z ") => return,
                Ok(_) => thread::sleep(POLL),
            }
        }
        panic!("{sleeper} lives on");
    }
}
