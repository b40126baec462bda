//! The console of a domain on the shell's terminal.

use alloc::format;
use alloc::vec::Vec;

use futures_lite::future;

use crate::args::Args;
use crate::context::Context;
use crate::find::{find, name};
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Domain, Toolstack};

/// Ctrl-].
const DETACH: u8 = 0x1d;

enum Event {
    Typed(u8),
    Shown(Option<Vec<u8>>),
}

/// `console`.
pub(super) async fn attach<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
) -> Outcome {
    if let Some(kind) = args.value("t").filter(|kind| *kind != "pv") {
        return Err(Problem::Failed(format!(
            "There is no console of kind '{kind}': console types supported are: pv"
        )));
    }
    if let Some(number) = args.value("n").filter(|number| *number != "0") {
        return Err(Problem::Failed(format!("There is no console '{number}': a domain has console 0 only.")));
    }
    let domain = find(cx.tools, args.get(0))?;
    attach_to(cx, &domain).await
}

/// Attaches to a domain's console until the user detaches or the domain is gone. It starts with
/// what the console showed before.
pub(super) async fn attach_to<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    domain: &Domain,
) -> Outcome {
    let (id, name) = (domain.id, name(domain));
    if id == 0 {
        return Err(Problem::failed("Domain 0 is where this shell runs: you are at its console."));
    }
    cx.tools.console_rewind(id)?;
    cx.say(format_args!("Attached to the console of {name} (domain {id}); Ctrl-] detaches."));
    loop {
        match event(cx, domain).await {
            Event::Typed(DETACH) => {
                cx.say(format_args!("\nDetached from {name}."));
                return Ok(());
            }
            Event::Typed(byte) => cx.tools.console_input(id, &[byte]),
            Event::Shown(Some(bytes)) => cx.raw(&bytes),
            Event::Shown(None) => {
                cx.say(format_args!("\nDomain {id} ({name}) is gone; its console is closed."));
                return Ok(());
            }
        }
        // A domain that shows much without end leaves time for the others.
        future::yield_now().await;
    }
}

/// What is typed goes first, so that Ctrl-] works however much the domain shows.
async fn event<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, domain: &Domain) -> Event {
    let tools = cx.tools;
    let typed = async { Event::Typed(cx.read().await) };
    let shown = async { Event::Shown(tools.console_output(domain.id).await) };
    future::or(typed, shown).await
}
