//! The machine: what it is, its log, debug keys, its power.

use alloc::format;
use alloc::string::String;

use crate::args::Args;
use crate::context::Context;
use crate::format::info;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Request, Toolstack};

/// `info`.
pub(super) fn info<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let host = cx.tools.host()?;
    let entries = info::entries(&host);
    if let Some(key) = args.optional(0) {
        let entry = entries.iter().find(|(name, _)| *name == key);
        let (_, value) = entry.ok_or_else(|| Problem::Failed(format!("'{key}' is no key of `info`")))?;
        cx.say(value);
        return Ok(());
    }
    // The topology comes before what is of the hypervisor, as `xl` has it.
    let topology = if args.has("n") { Some(cx.tools.topology()?) } else { None };
    for entry in &entries {
        if let (Some(topology), "xen_major") = (&topology, entry.0) {
            cx.show(&info::topology(topology));
        }
        cx.say(info::line(entry));
    }
    Ok(())
}

/// `dmesg`.
pub(super) fn dmesg<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let log = cx.tools.log(args.has("c"))?;
    cx.show(&String::from_utf8_lossy(&log));
    if log.last().is_some_and(|last| *last != b'\n') {
        cx.show("\n");
    }
    Ok(())
}

/// `debug-keys`.
pub(super) fn debug_keys<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let keys = args.get(0);
    if keys.is_empty() || !keys.bytes().all(|key| key.is_ascii_graphic()) {
        return Err(Problem::usage("Debug keys are letters, digits and signs of ASCII."));
    }
    let sent = cx.tools.debug_keys(keys);
    sent.map_err(|failure| Problem::because(format_args!("cannot send debug keys {keys}"), &failure))
}

/// `poweroff` and `reset`.
pub(super) async fn power<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    request: Request,
) -> Outcome {
    cx.say(match request {
        Request::Poweroff => "Stopping all domains, then the machine.",
        Request::Reboot => "Stopping all domains, then starting the machine again.",
    });
    Ok(cx.tools.power(request).await?)
}
