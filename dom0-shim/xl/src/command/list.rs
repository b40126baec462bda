//! Lists of domains, names and ids, uptime.

use alloc::format;
use alloc::vec::Vec;

use crate::args::{Args, number};
use crate::context::Context;
use crate::find::{find_all, name};
use crate::format::config::{configured, json, unconfigured};
use crate::format::list::{Columns, header, row};
use crate::format::uptime;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{DomId, Domain, Toolstack};

/// `list`. All that it shows is of one moment (LIF-20).
pub(super) fn list<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domains = find_all(cx.tools, &args.positionals)?;
    if args.has("l") {
        return details(cx, &domains);
    }
    let nodes = if args.has("n") { Some(cx.tools.host()?.nodes) } else { None };
    let columns = Columns { verbose: args.has("v"), context: args.has("Z"), cpupool: args.has("c"), nodes };
    cx.say(header(columns));
    for domain in &domains {
        cx.say(row(domain, columns));
    }
    Ok(())
}

fn details<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, domains: &[Domain]) -> Outcome {
    let described = domains.iter().map(|domain| match cx.tools.config(domain.id) {
        Some(config) => configured(Some(domain), &config),
        None => unconfigured(domain),
    });
    let described: Vec<_> = described.collect();
    cx.say(json(&described));
    Ok(())
}

/// `domid`.
pub(super) fn domid<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let word = args.get(0);
    let domains = cx.tools.domains()?;
    let domain = domains.iter().find(|domain| domain.name == word && !word.is_empty());
    let domain = domain.ok_or_else(|| {
        Problem::Failed(format!("Can't get domid of domain name '{word}', maybe this domain does not exist."))
    })?;
    cx.say(domain.id);
    Ok(())
}

/// `domname`.
pub(super) fn domname<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let id: DomId = number(args.get(0), "domain id")?;
    let domains = cx.tools.domains()?;
    let domain = domains.iter().find(|domain| domain.id == id).ok_or_else(|| {
        Problem::Failed(format!(
            "Can't get domain name of domain id '{id}', maybe this domain does not exist."
        ))
    })?;
    cx.say(name(domain));
    Ok(())
}

/// `uptime`.
pub(super) fn uptime<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domains = find_all(cx.tools, &args.positionals)?;
    let now = cx.tools.host()?.wall_seconds;
    let short = args.has("s");
    if !short {
        cx.say(uptime::header());
    }
    for domain in &domains {
        // What the toolstack did not start has no start that it knows.
        let Some(ns) = cx.tools.uptime_ns(domain.id) else { continue };
        cx.say(if short { uptime::short(domain, ns, now) } else { uptime::row(domain, ns) });
    }
    Ok(())
}
