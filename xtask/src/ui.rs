//! What the user sees on stderr: steps, errors, progress. Colours and bars only where they can be shown.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Color;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const PLAIN: Style = AnsiColor::Cyan.on_default().bold();

static COLOR: OnceLock<Color> = OnceLock::new();

/// What cargo shall do about colours; `None` for its own choice.
pub(crate) fn cargo_color() -> Option<&'static str> {
    match COLOR.get()? {
        Color::Auto => None,
        Color::Always => Some("always"),
        Color::Never => Some("never"),
    }
}

/// Applies `--color`, for us and for the cargo that we start.
pub(crate) fn choose_color(color: Color) {
    match COLOR.get_or_init(|| color) {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::AlwaysAnsi.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
}

/// A step in cargo's form: a right-aligned verb and its object.
pub(crate) fn step(verb: &str, what: &str) {
    eprintln!("{GOOD}{verb:>12}{GOOD:#} {what}");
}

pub(crate) fn note(text: &str) {
    eprintln!("{PLAIN}note{PLAIN:#}: {text}");
}

pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("{BAD}error{BAD:#}: {error:#}");
}

/// A spinner beside `message`; nothing where stderr is no terminal. Vanishes on drop.
pub(crate) struct Spinner(ProgressBar);

pub(crate) fn spinner(message: &str) -> Spinner {
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    Spinner(bar)
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A progress bar over a length; nothing where stderr is no terminal. Vanishes on drop.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(length: u64, message: &str) -> Self {
        let bar = ProgressBar::new(length).with_message(message.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent} % {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(crate) fn reach(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A progress bar over tests that run at the same time; nothing where stderr is no terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    running: Mutex<Vec<String>>,
}

impl Bar {
    pub(crate) fn new(tests: usize) -> Self {
        let bar = ProgressBar::new(tests as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, running: Mutex::default() }
    }

    pub(crate) fn begin(&self, name: &str) {
        self.change(|running| running.push(name.to_owned()));
    }

    pub(crate) fn end(&self, name: &str) {
        self.change(|running| running.retain(|other| other != name));
        self.bar.inc(1);
    }

    /// Takes the bar away while `print` prints.
    pub(crate) fn pause(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    fn change(&self, change: impl FnOnce(&mut Vec<String>)) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut running);
        self.bar.set_message(running.join(", "));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
