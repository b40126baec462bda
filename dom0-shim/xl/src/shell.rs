//! The shell: reads lines, runs the commands in them.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xl_config::suggest::nearest;

use crate::args::Args;
use crate::command;
use crate::complete::complete;
use crate::context::Context;
use crate::editor::{Editor, Event, columns};
use crate::problem::{FAILURE, Outcome, Problem, SUCCESS, USAGE};
use crate::terminal::Terminal;
use crate::toolstack::Toolstack;
use crate::verbs::{self, Run, Verb};
use crate::words::{Word, split};

const PROMPT: &str = "kigumi# ";

/// A shell on a toolstack.
///
/// It keeps what was entered before and what was typed ahead, so a terminal has a shell of its
/// own, for as long as it is there.
#[derive(Debug)]
pub struct Shell<'a, T> {
    tools: &'a T,
    editor: Editor,
    ahead: VecDeque<u8>,
}

impl<'a, T: Toolstack> Shell<'a, T> {
    /// A shell without a past.
    #[must_use]
    pub fn new(tools: &'a T) -> Self {
        Self { tools, editor: Editor::new(PROMPT), ahead: VecDeque::new() }
    }

    /// Reads lines from the terminal and runs them, without end.
    pub async fn run(&mut self, terminal: &mut impl Terminal) -> ! {
        loop {
            let line = self.read_line(terminal).await;
            self.execute(&line, terminal).await;
        }
    }

    /// Runs a line. Gives the exit status of its last command: 0 where it did what was asked for,
    /// 1 where it could not, 2 where it was written wrongly.
    pub async fn execute(&mut self, line: &str, terminal: &mut impl Terminal) -> u8 {
        let pieces = split(line);
        let mut cx = Context { tools: self.tools, terminal, ahead: &mut self.ahead };
        if let Some(open) = pieces.open {
            cx.say(format_args!("xl: the line ends inside {open}...: nothing of it was run"));
            return USAGE;
        }
        let mut status = SUCCESS;
        for words in pieces.commands.iter().filter(|words| !words.is_empty()) {
            status = run_command(&mut cx, words).await;
        }
        status
    }

    async fn read_line(&mut self, terminal: &mut impl Terminal) -> String {
        terminal.write(self.editor.draw().as_bytes());
        loop {
            let byte = match self.ahead.pop_front() {
                Some(byte) => byte,
                None => terminal.read().await,
            };
            let mut shown = String::new();
            match self.editor.feed(byte, &mut shown) {
                Event::None => {}
                Event::Line(line) => {
                    terminal.write(shown.as_bytes());
                    return line;
                }
                Event::Interrupt => shown += &self.editor.draw(),
                Event::Complete(before) => shown += &self.complete(&before),
            }
            terminal.write(shown.as_bytes());
        }
    }

    /// Completes what can only be one thing; lists what can be several.
    fn complete(&mut self, before: &str) -> String {
        let completion = complete(self.tools, before);
        let common = completion.common();
        match completion.candidates.as_slice() {
            [] => "\x07".into(),
            [one] => self.editor.replace_before(completion.written, &format!("{one} ")),
            _ if common.chars().count() > completion.written => {
                self.editor.replace_before(completion.written, &common)
            }
            many => format!("\n{}{}", columns(many), self.editor.draw()),
        }
    }
}

/// Runs a command; gives its exit status.
async fn run_command<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, words: &[Word]) -> u8 {
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let (verb, arguments) = match verb(&words) {
        Ok(found) => found,
        Err(words) => {
            cx.say(words);
            return FAILURE;
        }
    };
    match run_verb(cx, verb, arguments).await {
        Ok(()) => SUCCESS,
        Err(Problem::Failed(words)) => {
            cx.say(words);
            FAILURE
        }
        Err(Problem::Usage(words)) => {
            cx.say(format_args!("{words}\n"));
            cx.show(&verb.help());
            USAGE
        }
    }
}

async fn run_verb<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    verb: &'static Verb,
    words: &[&str],
) -> Outcome {
    // What is not there has no arguments that could be wrong.
    if let Run::Missing(_) = verb.run {
        return command::run(cx, verb.run, &Args::default()).await;
    }
    let args = Args::parse(verb, words)?;
    if args.help {
        cx.show(&verb.help());
        return Ok(());
    }
    command::run(cx, verb.run, &args).await
}

/// The verb of some words and what follows it, or what to say where there is none.
fn verb<'w>(words: &'w [&'w str]) -> Result<(&'static Verb, &'w [&'w str]), String> {
    let (family, words) = match words.split_first() {
        Some((first, rest)) if verbs::family(first).is_some() => (verbs::family(first), rest),
        _ => (None, words),
    };
    let (name, arguments) = match words.split_first() {
        None => ("help", words),
        Some((&("-h" | "--help"), rest)) => ("help", rest),
        Some((name, rest)) => (*name, rest),
    };
    verbs::lookup(family, name).map(|verb| (verb, arguments)).ok_or_else(|| {
        let near = nearest(name, verbs::of(family).map(|verb| verb.name));
        let hint = near.map_or_else(|| "`help` lists all".into(), |near| format!("did you mean '{near}'?"));
        format!("xl: unknown command '{name}': {hint}")
    })
}
