//! Carries out a script on a machine.
//!
//! Patterns are matched against the console without carriage returns and escape sequences. Each `expect`
//! looks behind the previous match; each `never` looks from the place at which the script stated it.

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use anstream::adapter::StripBytes;
use anyhow::Result;
use regex::bytes::{Match, Regex};

use crate::machine::{Ended, Event, Machine, last_lines};
use crate::process;
use crate::script::{Action, End, Script, Step, Values};
use crate::stages::Stages;

/// Time that an `expect` without `within` waits, unless the user says otherwise. Emulation is slow.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Silence after which a machine that is still on counts as halted.
const HALT_SILENCE: Duration = Duration::from_secs(3);
/// Bytes that a script types without a pause: less than a UART's queue of 16.
const TYPED_AT_ONCE: usize = 12;
/// The pause. An emulated processor may leave the UART alone for a time slice, and beside others an emulator may have
/// no processor for long: where its own time is known, that counts.
const TYPING_PAUSE: Duration = Duration::from_millis(400);
/// Longest pause of an emulator that gets no processor.
const TYPING_PATIENCE: Duration = Duration::from_secs(60);
/// How often a wait looks for signals to us.
const POLL: Duration = Duration::from_millis(100);
/// Console lines shown with a failure.
const SHOWN_LINES: usize = 20;

/// The machine as a session sees it.
pub(crate) trait Peer {
    fn next_event(&mut self, timeout: Duration) -> Option<Event>;
    fn send(&mut self, bytes: &[u8]) -> Result<()>;
    /// Asks for an [`Event::Ticks`].
    fn ask_ticks(&mut self);
    /// For how long it has run, if that can be told.
    fn run_time(&self) -> Option<Duration>;
}

impl Peer for Machine {
    fn next_event(&mut self, timeout: Duration) -> Option<Event> {
        Self::next_event(self, timeout)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.input().send(bytes)
    }

    fn ask_ticks(&mut self) {
        Self::ask_ticks(self);
    }

    fn run_time(&self) -> Option<Duration> {
        Self::run_time(self)
    }
}

/// Why a script failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Line and text of the directive; `None` for what is no directive's fault.
    pub(crate) step: Option<(usize, String)>,
    pub(crate) why: String,
    /// The last lines of the console.
    pub(crate) console: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, text)) = &self.step {
            write!(f, "line {line}, `{text}`: ")?;
        }
        write!(f, "{}", self.why)?;
        if self.console.is_empty() {
            return write!(f, "\nThe console stayed empty.");
        }
        write!(f, "\nLast lines of the console:")?;
        self.console.lines().try_for_each(|line| write!(f, "\n  | {line}"))
    }
}

impl std::error::Error for Failure {}

/// A dialogue with one machine.
pub(crate) struct Session<'a, P> {
    peer: &'a mut P,
    /// Where the console is copied to as it is.
    echo: &'a mut dyn Write,
    default_timeout: Duration,
    clean: StripBytes,
    /// All that the console showed, cleaned.
    seen: Vec<u8>,
    /// End of the last match in `seen`.
    position: usize,
    nevers: Vec<Never>,
    /// What patterns captured.
    values: Values,
    /// Places in `seen` of resets that no directive has taken.
    resets: Vec<usize>,
    ended: Option<Ended>,
    last_output: Instant,
    stages: Stages,
}

struct Never {
    pattern: Regex,
    from: usize,
    step: (usize, String),
}

/// Why a step did not succeed.
enum Stop {
    Failed(String),
    /// An earlier `never` was seen.
    Seen((usize, String), String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl<'a, P: Peer> Session<'a, P> {
    /// `values` are there from the start.
    pub(crate) fn new(
        peer: &'a mut P,
        echo: &'a mut dyn Write,
        default_timeout: Duration,
        values: Values,
    ) -> Self {
        Self {
            peer,
            echo,
            default_timeout,
            clean: StripBytes::new(),
            seen: Vec::new(),
            position: 0,
            nevers: Vec::new(),
            values,
            resets: Vec::new(),
            ended: None,
            last_output: Instant::now(),
            stages: Stages::default(),
        }
    }

    /// What took how long.
    pub(crate) fn into_stages(self) -> Stages {
        self.stages
    }

    /// The console so far, cleaned.
    pub(crate) fn console(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    pub(crate) fn run(&mut self, script: &Script) -> Result<(), Failure> {
        for step in &script.steps {
            self.step(step).map_err(|stop| self.failure(step, stop))?;
        }
        // What arrived with the last match counts for `never`.
        self.drain();
        self.stages.end();
        self.check_nevers().map_err(|stop| match stop {
            Stop::Seen(step, why) => self.report(Some(step), why),
            Stop::Failed(why) => self.report(None, why),
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match &step.action {
            Action::Expect { pattern, within, silence } => {
                let pattern = pattern.regex(&self.values)?;
                self.expect(&pattern, within.unwrap_or(self.default_timeout), *silence)
            }
            Action::ExpectEnd { end, within } => {
                self.expect_end(*end, within.unwrap_or(self.default_timeout))
            }
            Action::Send(text) => {
                let bytes = text.bytes(&self.values)?;
                self.send(&bytes)
            }
            Action::Check(comparison) => Ok(comparison.check(&self.values)?),
            Action::Sleep(time) => self.sleep(*time),
            Action::Stage(name) => {
                self.stages.begin(name);
                self.peer.ask_ticks();
                Ok(())
            }
            Action::Never(pattern) => {
                let step = (step.line, step.text.clone());
                let pattern = pattern.regex(&self.values)?;
                self.nevers.push(Never { pattern, from: self.position, step });
                self.check_nevers()
            }
        }
    }

    /// Types no faster than the machine's UART is read: a pause follows as much as surely fits.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut pieces = bytes.chunks(TYPED_AT_ONCE).peekable();
        while let Some(piece) = pieces.next() {
            self.peer.send(piece).map_err(|error| Stop::Failed(format!("{error:#}")))?;
            if pieces.peek().is_some() {
                self.pause()?;
            }
        }
        Ok(())
    }

    /// Lets the machine read what was typed.
    fn pause(&mut self) -> Result<(), Stop> {
        let Some(typed) = self.peer.run_time() else { return self.sleep(TYPING_PAUSE) };
        let started = Instant::now();
        while self.ended.is_none() && started.elapsed() < TYPING_PATIENCE {
            if self.peer.run_time().is_none_or(|now| now.saturating_sub(typed) >= TYPING_PAUSE) {
                break;
            }
            self.sleep(POLL / 4)?;
        }
        Ok(())
    }

    fn expect(&mut self, pattern: &Regex, within: Duration, silence: Option<Duration>) -> Result<(), Stop> {
        self.last_output = Instant::now();
        self.wait(within, |session| {
            let found = pattern.captures_at(&session.seen, session.position);
            if let Some(found) = found.filter(|found| session.is_whole(pattern, found.get_match().end())) {
                let named = pattern.capture_names().flatten();
                let values = named.filter_map(|name| Some((name, found.name(name)?)));
                let text = |value: Match<'_>| String::from_utf8_lossy(value.as_bytes()).into_owned();
                session.values.extend(values.map(|(name, value)| (name.to_owned(), text(value))));
                session.position = found.get_match().end();
                return Ok(true);
            }
            if let Some(limit) = silence.filter(|limit| session.last_output.elapsed() > *limit) {
                return Err(format!("the console was silent for {} s", limit.as_secs_f64()));
            }
            session.still_running().map(|()| false)
        })
    }

    /// Whether a match that ends at `end` stays one. The end of what was seen so far is no end of a line, for `$`:
    /// the rest of it may be on its way.
    fn is_whole(&self, pattern: &Regex, end: usize) -> bool {
        let to_line_end = pattern.as_str().ends_with('$') && !pattern.as_str().ends_with(r"\$");
        !to_line_end || end < self.seen.len() || self.ended.is_some()
    }

    /// An error once the machine ended or was reset.
    fn still_running(&self) -> Result<(), String> {
        match &self.ended {
            Some(ended) => Err(ended.to_string()),
            None if !self.resets.is_empty() => Err("the machine was reset".to_owned()),
            None => Ok(()),
        }
    }

    fn expect_end(&mut self, end: End, within: Duration) -> Result<(), Stop> {
        match end {
            End::PowerOff => self.expect_ended(&Ended::PoweredOff, within),
            End::TripleFault => self.expect_ended(&Ended::TripleFault, within),
            End::Reboot => self.expect_reset(within),
            End::Halt => self.expect_halt(within),
        }
    }

    fn expect_ended(&mut self, expected: &Ended, within: Duration) -> Result<(), Stop> {
        self.wait(within, |session| match &session.ended {
            Some(ended) if ended == expected => Ok(true),
            _ => session.still_running().map(|()| false),
        })
    }

    /// Takes one reset; the script goes on with what the console showed after it.
    fn expect_reset(&mut self, within: Duration) -> Result<(), Stop> {
        self.wait(within, |session| {
            if session.resets.is_empty() {
                return session.still_running().map(|()| false);
            }
            session.position = session.resets.remove(0);
            Ok(true)
        })
    }

    fn expect_halt(&mut self, within: Duration) -> Result<(), Stop> {
        self.wait(within, |session| {
            session.still_running()?;
            Ok(session.last_output.elapsed() >= HALT_SILENCE)
        })
    }

    fn sleep(&mut self, time: Duration) -> Result<(), Stop> {
        let started = Instant::now();
        // One second more than the sleep, so that the wait never ends by itself.
        self.wait(time + Duration::from_secs(1), |_| Ok(started.elapsed() >= time))
    }

    /// Takes events until `done`, a failure, or the end of `within`.
    fn wait(
        &mut self,
        within: Duration,
        mut done: impl FnMut(&mut Self) -> Result<bool, String>,
    ) -> Result<(), Stop> {
        let started = Instant::now();
        loop {
            self.check_nevers()?;
            if done(self)? {
                return Ok(());
            }
            process::check_interrupted().map_err(|error| error.to_string())?;
            let left = within.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(Stop::Failed(format!("not seen within {} s", within.as_secs_f64())));
            }
            if let Some(event) = self.peer.next_event(left.min(POLL)) {
                self.take(event);
            }
        }
    }

    fn drain(&mut self) {
        while self.ended.is_none()
            && let Some(event) = self.peer.next_event(Duration::ZERO)
        {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Serial(bytes) => {
                // A closed stdout must not fail the machine.
                let _ = self.echo.write_all(&bytes).and_then(|()| self.echo.flush());
                let clean = self.clean.strip_next(&bytes).flatten().filter(|byte| **byte != b'\r');
                self.seen.extend(clean);
                self.last_output = Instant::now();
            }
            Event::Reset => self.resets.push(self.seen.len()),
            Event::Ticks(ticks) => self.stages.tick(ticks),
            Event::Ended(ended) => self.ended = Some(ended),
        }
    }

    fn check_nevers(&mut self) -> Result<(), Stop> {
        for never in &mut self.nevers {
            if let Some(found) = never.pattern.find_at(&self.seen, never.from) {
                let text = String::from_utf8_lossy(found.as_bytes());
                return Err(Stop::Seen(never.step.clone(), format!("seen: `{text}`")));
            }
            // Complete lines need no second look: a match over several lines is not supported here.
            let fresh = self.seen.get(never.from..).unwrap_or_default();
            never.from += fresh.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        }
        Ok(())
    }

    fn failure(&self, step: &Step, stop: Stop) -> Failure {
        match stop {
            Stop::Failed(why) => self.report(Some((step.line, step.text.clone())), why),
            Stop::Seen(never, why) => self.report(Some(never), why),
        }
    }

    fn report(&self, step: Option<(usize, String)>, why: String) -> Failure {
        let console = last_lines(self.console().trim_end(), SHOWN_LINES);
        Failure { step, why, console }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A machine that plays its events and records what was typed.
    #[derive(Default)]
    struct Fake {
        events: VecDeque<Event>,
        typed: Vec<u8>,
        /// It has run since then, a quarter of the time.
        slow: Option<Instant>,
    }

    impl Peer for Fake {
        fn next_event(&mut self, timeout: Duration) -> Option<Event> {
            let event = self.events.pop_front();
            if event.is_none() {
                std::thread::sleep(timeout);
            }
            event
        }

        fn send(&mut self, bytes: &[u8]) -> Result<()> {
            self.typed.extend(bytes);
            Ok(())
        }

        fn ask_ticks(&mut self) {
            self.events.push_front(Event::Ticks(7_000_000));
        }

        fn run_time(&self) -> Option<Duration> {
            self.slow.map(|begun| begun.elapsed() / 4)
        }
    }

    fn says(text: &str) -> Event {
        Event::Serial(text.into())
    }

    fn run(script: &str, events: impl IntoIterator<Item = Event>) -> Result<Vec<u8>, Failure> {
        let script = Script::parse(script, 1).unwrap();
        let mut fake = Fake { events: events.into_iter().collect(), ..Fake::default() };
        let values = Values::from([("cpus".to_owned(), "2".to_owned())]);
        Session::new(&mut fake, &mut std::io::sink(), Duration::from_millis(50), values).run(&script)?;
        Ok(fake.typed)
    }

    fn why(script: &str, events: impl IntoIterator<Item = Event>) -> String {
        run(script, events).unwrap_err().to_string()
    }

    #[test]
    fn dialogue() {
        let events = [says("\x1b[1mrea"), says("dy\x1b[0m\r\n> "), Event::Ended(Ended::PoweredOff)];
        let typed =
            run("expect /^ready$/\nexpect /> /\nsend \"off\\r\"\nexpect-end poweroff", events).unwrap();
        assert_eq!(typed, b"off\r");
    }

    #[test]
    fn long_texts_are_typed_with_pauses() {
        let started = Instant::now();
        let text = "abcdefghijklmnopqrstuvwxyz";
        assert_eq!(run(&format!("send \"{text}\""), [says("a  1\n")]).unwrap(), text.as_bytes());
        assert!(started.elapsed() >= 2 * TYPING_PAUSE, "two pauses");
    }

    #[test]
    fn a_pause_is_longer_where_the_emulator_is_slow() {
        let script = Script::parse("send \"abcdefghijklmnop\"", 1).unwrap();
        let started = Instant::now();
        let mut fake = Fake { slow: Some(started), ..Fake::default() };
        let mut sink = std::io::sink();
        let mut session = Session::new(&mut fake, &mut sink, Duration::from_millis(50), Values::new());
        session.run(&script).unwrap();
        assert!(started.elapsed() >= 4 * TYPING_PAUSE);
        assert_eq!(fake.typed.len(), 16);
    }

    #[test]
    fn values_go_from_answers_to_questions() {
        let script = "expect /a +(?<a>\\d+)/\nsend \"get ${a}\"\nexpect /b${a} (?<b>.*)$/\ncheck a + 1 == cpus\ncheck b > a";
        assert_eq!(run(script, [says("a  1\nb12 x\nb1 9\n")]).unwrap(), b"get 1");
        let wrong = why(script, [says("a  1\nb1 0.5\n")]);
        assert!(wrong.contains("0.5 > 1 does not hold: b is 0.5, a is 1"), "{wrong}");
    }

    #[test]
    fn escape_sequence_in_two_pieces() {
        assert!(run("expect /^ab$/", [says("a\x1b["), says("31mb\n")]).is_ok());
    }

    #[test]
    fn a_line_that_is_still_coming_has_no_end() {
        let script = "expect /^free (?<n>\\d+)$/\ncheck n == 154";
        assert!(run(script, [says("free 1"), says("5"), says("4\n")]).is_ok());
        assert!(run(script, [says("free 154"), Event::Ended(Ended::PoweredOff)]).is_ok());
        assert!(run("expect /a\\$/", [says("a$")]).is_ok());
    }

    #[test]
    fn expect_continues_after_the_match() {
        assert!(run("expect /a/\nexpect /a/", [says("a a")]).is_ok());
        assert!(
            why("expect /a/\nexpect /a/", [says("a")])
                .starts_with("line 2, `expect /a/`: not seen within 0.05 s")
        );
    }

    #[test]
    fn never_looks_from_its_place_on() {
        assert!(run("expect /bad/\nnever /bad/\nexpect /good/", [says("bad good")]).is_ok());
        let seen = why("never /bad\\d/\nexpect /good/", [says("bad7 good")]);
        assert!(seen.starts_with("line 1, `never /bad\\d/`: seen: `bad7`"), "{seen}");
        assert!(why("never /bad/\nexpect /good/", [says("good"), says("bad")]).contains("seen: `bad`"));
        assert!(why("never /bad/\nexpect /x/", [says("a\nb"), says("ad\n")]).contains("seen"));
    }

    #[test]
    fn end_of_the_machine_ends_a_wait() {
        let ended = |ended| why("expect /x/ within 100", [says("boo\n"), Event::Ended(ended)]);
        assert!(ended(Ended::PoweredOff).contains("powered off\nLast lines of the console:\n  | boo"));
        assert!(ended(Ended::TripleFault).contains("triple fault"));
        assert!(ended(Ended::Failed("why".into())).contains("gave up: why"));
        assert!(
            why("expect /x/ within 100", [Event::Reset]).contains("was reset\nThe console stayed empty.")
        );
        assert!(why("expect-end triple-fault", [Event::Ended(Ended::PoweredOff)]).contains("powered off"));
    }

    #[test]
    fn text_before_the_end_still_counts() {
        assert!(
            run("expect /x/\nexpect-end triple-fault", [says("x"), Event::Ended(Ended::TripleFault)]).is_ok()
        );
    }

    #[test]
    fn reboot_shows_the_banner_twice() {
        let script = "expect /banner/\nexpect-end reboot\nexpect /banner/";
        assert!(run(script, [says("banner"), Event::Reset, says("banner")]).is_ok());
        assert!(why(script, [says("banner banner"), Event::Reset]).starts_with("line 3"));
    }

    #[test]
    fn a_talking_machine_is_not_halted() {
        assert!(why("expect-end halt within 0.1", [says("x")]).contains("not seen"));
    }

    #[test]
    fn silence_ends_a_wait_early() {
        let silent = why("expect /x/ within 100 silence 0.05", [says("a")]);
        assert!(silent.contains("the console was silent for 0.05 s"), "{silent}");
        assert!(run("expect /x/ silence 0.05", [says("x")]).is_ok());
    }

    #[test]
    fn stages_are_timed() {
        let script =
            Script::parse("stage \"one\"\nexpect /a/\nstage \"two\"\nexpect-end poweroff", 1).unwrap();
        let events = [says("a"), Event::Ticks(9_000_000), Event::Ended(Ended::PoweredOff)];
        let mut fake = Fake { events: events.into(), ..Fake::default() };
        let mut sink = std::io::sink();
        let mut session = Session::new(&mut fake, &mut sink, Duration::from_millis(50), Values::new());
        session.run(&script).unwrap();
        let table = session.into_stages().to_string();
        assert!(table.contains("one") && table.contains("two"), "{table}");
    }

    #[test]
    fn sleep_keeps_listening() {
        assert!(run("sleep 0.05\nexpect /x/", [says("x")]).is_ok());
        assert!(why("never /x/\nsleep 0.05", [says("x")]).contains("seen"));
    }
}
