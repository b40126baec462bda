//! The live view of the host and its domains.

use alloc::format;
use alloc::string::String;

use crate::args::Args;
use crate::context::{Context, INTERRUPT, printable};
use crate::format::top::{KEYS, Sample, View, summary, table};
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::Toolstack;

/// Seconds between updates.
const DELAY: u64 = 3;
/// Most seconds between updates.
const MAX_DELAY: u64 = 3600;

const HOME: &str = "\x1b[H";
const CLEAR: &str = "\x1b[H\x1b[2J";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const REVERSE: &str = "\x1b[7m";
const PLAIN: &str = "\x1b[0m";

struct Top {
    view: View,
    delay: u64,
    batch: bool,
    /// Updates that are left; `None` for no end.
    left: Option<u32>,
    before: Option<Sample>,
}

/// What a key asks for.
enum Next {
    Update,
    Quit,
}

/// `top`.
pub(super) async fn run<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let mut top = Top::new(args)?;
    if !top.batch {
        cx.raw(CLEAR.as_bytes());
    }
    loop {
        let sample = top.sample(cx.tools)?;
        top.show(cx, &sample);
        top.before = Some(sample);
        top.left = top.left.map(|left| left.saturating_sub(1));
        if top.left == Some(0) {
            return Ok(());
        }
        if let Next::Quit = top.wait(cx).await? {
            return Ok(());
        }
    }
}

impl Top {
    fn new(args: &Args<'_>) -> Outcome<Self> {
        let delay = args.number("d")?.unwrap_or(DELAY);
        let left = args.number("i")?;
        if !(1..=MAX_DELAY).contains(&delay) {
            return Err(Problem::Failed(format!("The delay is 1 to {MAX_DELAY} seconds, not {delay}.")));
        }
        if left == Some(0) {
            return Err(Problem::failed("The number of iterations is 1 or more."));
        }
        let view = View {
            nets: args.has("n"),
            vbds: args.has("x"),
            vcpus: args.has("v"),
            repeat_header: args.has("r"),
            full_name: args.has("f"),
            dom0_first: args.has("z"),
            ..View::default()
        };
        Ok(Self { view, delay, batch: args.has("b"), left, before: None })
    }

    fn sample(&self, tools: &impl Toolstack) -> Outcome<Sample> {
        let (host, domains) = (tools.host()?, tools.domains()?);
        let shown = domains.iter().filter(|_| self.view.vcpus);
        // A domain may end between the calls.
        let vcpus = shown.map(|domain| (domain.id, tools.vcpus(domain.id).unwrap_or_default())).collect();
        Ok(Sample { host, domains, vcpus })
    }

    fn show<T, M: Terminal>(&self, cx: &mut Context<'_, T, M>, sample: &Sample) {
        let table = table(sample, self.before.as_ref(), self.view);
        if self.batch {
            cx.show(&table);
            return;
        }
        let mut screen = String::from(HOME);
        let text = printable(&(summary(sample) + &table));
        for line in text.lines() {
            screen += &format!("{line}{CLEAR_LINE}\n");
        }
        screen += &format!("{CLEAR_BELOW}\n  {REVERSE}{KEYS}{PLAIN}\n");
        cx.raw(screen.as_bytes());
    }

    /// Waits for the next update, or for a key.
    async fn wait<T: Toolstack, M: Terminal>(&mut self, cx: &mut Context<'_, T, M>) -> Outcome<Next> {
        let end = now_ms(cx.tools)?.saturating_add(self.delay.saturating_mul(1000));
        loop {
            let left = end.saturating_sub(now_ms(cx.tools)?);
            let Some(key) = cx.read_for(left).await else { return Ok(Next::Update) };
            if let Some(next) = self.key(cx, key).await {
                return Ok(next);
            }
        }
    }

    /// In batch mode Ctrl-C is the only key.
    async fn key<T, M: Terminal>(&mut self, cx: &mut Context<'_, T, M>, key: u8) -> Option<Next> {
        match key.to_ascii_lowercase() {
            INTERRUPT => return Some(Next::Quit),
            _ if self.batch => return None,
            b'q' => return Some(Next::Quit),
            b'n' => self.view.nets ^= true,
            b'b' => self.view.vbds ^= true,
            b'v' => self.view.vcpus ^= true,
            b'r' => self.view.repeat_header ^= true,
            b's' => self.view.sort = self.view.sort.next(),
            b'd' => self.ask_delay(cx).await,
            0x0c => cx.raw(CLEAR.as_bytes()),
            _ => return None,
        }
        Some(Next::Update)
    }

    async fn ask_delay<T, M: Terminal>(&mut self, cx: &mut Context<'_, T, M>) {
        cx.raw(b"\r  Delay(sec): ");
        let mut delay: u64 = 0;
        loop {
            match cx.read().await {
                byte @ b'0'..=b'9' if delay < MAX_DELAY => {
                    delay = delay.saturating_mul(10).saturating_add(u64::from(byte.wrapping_sub(b'0')));
                    cx.raw(&[byte]);
                }
                b'\r' | b'\n' => break,
                0x7f | 0x08 if delay > 0 => {
                    delay /= 10;
                    cx.raw(b"\x08 \x08");
                }
                // Escape and Ctrl-C leave it as it is.
                0x1b | INTERRUPT => return cx.raw(CLEAR.as_bytes()),
                _ => {}
            }
        }
        if delay > 0 {
            self.delay = delay.min(MAX_DELAY);
        }
        cx.raw(CLEAR.as_bytes());
    }
}

fn now_ms(tools: &impl Toolstack) -> Outcome<u64> {
    Ok(tools.host()?.uptime_ns / 1_000_000)
}
