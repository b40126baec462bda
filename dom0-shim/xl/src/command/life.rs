//! The life of a domain: pause, shut down, reboot, destroy, rename, buttons.

use alloc::format;
use alloc::vec::Vec;

use crate::args::{Args, number};
use crate::context::Context;
use crate::find::{find, find_all, name};
use crate::format::list::code;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Button, DomId, Domain, Reason, Request, Toolstack};

/// `pause`.
pub(super) fn pause<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    if domain.id == 0 {
        return Err(Problem::failed("Not pausing domain 0: nobody could unpause it."));
    }
    Ok(cx.tools.pause(domain.id)?)
}

/// `unpause`.
pub(super) fn unpause<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    Ok(cx.tools.unpause(domain.id)?)
}

/// `destroy`.
pub(super) async fn destroy<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    if domain.id == 0 && !args.has("f") {
        return Err(Problem::failed("Not destroying domain 0: `poweroff` stops the machine."));
    }
    Ok(cx.tools.destroy(domain.id).await?)
}

/// `rename`.
pub(super) fn rename<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let word = args.get(0);
    let domain = find(cx.tools, word)?;
    let renamed = cx.tools.rename(domain.id, args.get(1));
    renamed.map_err(|failure| Problem::because(format_args!("Can't rename domain '{word}'"), &failure))
}

/// `shutdown` and `reboot`.
pub(super) async fn request<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
    request: Request,
) -> Outcome {
    let domains = targets(cx.tools, args)?;
    let mut asked = Vec::new();
    let mut refused = None;
    for domain in &domains {
        cx.say(format_args!("{} domain {}", doing(request), domain.id));
        match ask(cx.tools, domain, request, args.has("F")) {
            Ok(()) => asked.push(domain.id),
            Err(problem) if domains.len() == 1 => return Err(problem),
            // The others are asked all the same.
            Err(Problem::Failed(words) | Problem::Usage(words)) => {
                cx.say(words);
                refused = Some(Problem::failed("Not all domains could be asked."));
            }
        }
    }
    if args.has("w") {
        wait(cx, &asked).await?;
    }
    refused.map_or(Ok(()), Err)
}

fn targets(tools: &impl Toolstack, args: &Args<'_>) -> Outcome<Vec<Domain>> {
    match (args.has("a"), args.positionals.is_empty()) {
        (true, true) => Ok(tools.domains()?.into_iter().filter(|domain| domain.id != 0).collect()),
        (true, false) => Err(Problem::usage("Either -a or domains, not both.")),
        (false, true) => Err(Problem::usage("You must specify -a or a domain id.")),
        (false, false) => find_all(tools, &args.positionals),
    }
}

fn doing(request: Request) -> &'static str {
    match request {
        Request::Poweroff => "Shutting down",
        Request::Reboot => "Rebooting",
    }
}

/// Asks a domain to shut down or reboot, in a state in which it can hear that (LIF-14).
pub(super) fn ask(tools: &impl Toolstack, domain: &Domain, request: Request, force: bool) -> Outcome {
    let id = domain.id;
    let what = match request {
        Request::Poweroff => "shutdown",
        Request::Reboot => "reboot",
    };
    let why = match domain {
        Domain { id: 0, .. } => "it is the host's own: `poweroff` and `reset` act on the machine",
        Domain { dying: true, .. } => "it is being destroyed",
        Domain { shutdown: Some(Reason::Crash), .. } => "it has crashed: `destroy` removes it",
        Domain { shutdown: Some(_), .. } => "it has shut down already: `destroy` removes it",
        Domain { paused: true, .. } => "it is paused: `unpause` it first, or `destroy` it",
        _ => {
            let asked = tools.request(id, request, force);
            return asked
                .map_err(|failure| Problem::because(format_args!("{what} of domain {id} failed"), &failure));
        }
    };
    Err(Problem::Failed(format!("{what} of domain {id} refused: {why}.")))
}

/// Waits until all of these have stopped.
pub(super) async fn wait<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, ids: &[DomId]) -> Outcome {
    let tools = cx.tools;
    cx.say(format_args!("Waiting for {} domains", ids.len()));
    for id in ids {
        let Some(stopped) = cx.unless_interrupted(tools.stopped(*id)).await else {
            return Err(Problem::failed(
                "Interrupted: what was asked for goes on without this waiting for it.",
            ));
        };
        match stopped {
            Some(reason) => {
                cx.say(format_args!("Domain {id} has been shut down, reason code {}", code(reason)))
            }
            None => cx.say(format_args!("Domain {id} has been destroyed")),
        }
    }
    Ok(())
}

/// `sysrq`.
pub(super) fn sysrq<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let mut letters = args.get(1).chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_graphic() => Ok(cx.tools.sysrq(domain.id, letter)?),
        _ => Err(Problem::usage("Invalid sysrq: it is one letter or digit.")),
    }
}

/// `trigger`.
pub(super) fn trigger<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let button = match args.get(1) {
        "nmi" => Button::Nmi,
        "reset" => Button::Reset,
        "init" => Button::Init,
        "power" => Button::Power,
        "sleep" => Button::Sleep,
        "s3resume" => Button::S3Resume,
        other => return Err(Problem::Usage(format!("Invalid trigger \"{other}\""))),
    };
    let vcpu: u32 = args.optional(2).map_or(Ok(0), |word| number(word, "VCPU"))?;
    if vcpu > domain.max_vcpu {
        return Err(Problem::Failed(format!("Domain {} has no vcpu {vcpu}.", name(&domain))));
    }
    Ok(cx.tools.trigger(domain.id, button, vcpu)?)
}
