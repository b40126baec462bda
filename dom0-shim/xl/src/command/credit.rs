//! The credit scheduler's parameters.

use alloc::format;

use crate::args::Args;
use crate::context::Context;
use crate::find::find;
use crate::format::credit::{header, pool, row};
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Domain, Toolstack};

/// Least and most of a time slice, ms (`sysctl.h`, `XEN_SYSCTL_CSCHED_TSLICE_*`).
const TSLICE_MS: (u32, u32) = (1, 1000);
/// Least and most of a rate limit that is not 0, us (`XEN_SYSCTL_SCHED_RATELIMIT_*`).
const RATELIMIT_US: (u32, u32) = (100, 500_000);

/// `sched-credit`.
pub(super) fn run<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let of_domain = args.has("d") || args.has("w") || args.has("c");
    if (args.has("p") || args.has("s")) && of_domain {
        return Err(Problem::usage("Specifying a cpupool or schedparam is not allowed with domain options."));
    }
    if !args.has("s") && (args.has("t") || args.has("r")) {
        return Err(Problem::usage("Must specify schedparam to set schedule parameter values."));
    }
    if let Some(cpupool) = args.value("p").filter(|cpupool| !matches!(*cpupool, "Pool-0" | "0")) {
        return Err(Problem::Failed(format!("unknown cpupool '{cpupool}'")));
    }
    match args.value("d") {
        Some(word) => domain(cx, args, word),
        None if of_domain => Err(Problem::usage("Must specify a domain.")),
        None if args.has("s") => slices(cx, args),
        None => all(cx),
    }
}

fn all<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>) -> Outcome {
    cx.say(pool(cx.tools.slices()?));
    cx.say(header());
    for domain in cx.tools.domains()? {
        // A domain may end between the two calls.
        if let Ok(share) = cx.tools.share(domain.id) {
            cx.say(row(&domain, share));
        }
    }
    Ok(())
}

fn slices<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let (tslice, ratelimit): (Option<u32>, Option<u32>) = (args.number("t")?, args.number("r")?);
    if tslice.is_none() && ratelimit.is_none() {
        cx.say(pool(cx.tools.slices()?));
        return Ok(());
    }
    if tslice.is_some_and(|ms| !(TSLICE_MS.0..=TSLICE_MS.1).contains(&ms)) {
        let (least, most) = TSLICE_MS;
        return Err(Problem::Failed(format!(
            "Time slice out of range, valid range is from {least} to {most}"
        )));
    }
    if ratelimit.is_some_and(|us| us != 0 && !(RATELIMIT_US.0..=RATELIMIT_US.1).contains(&us)) {
        let (least, most) = RATELIMIT_US;
        return Err(Problem::Failed(format!(
            "Ratelimit out of range, valid range is 0, or from {least} to {most}"
        )));
    }
    let now = cx.tools.slices()?;
    let slice_us = tslice.unwrap_or(now.tslice_ms).saturating_mul(1000);
    if ratelimit.unwrap_or(now.ratelimit_us) > slice_us {
        return Err(Problem::failed("Ratelimit cannot be greater than timeslice"));
    }
    Ok(cx.tools.set_slices(tslice, ratelimit)?)
}

fn domain<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>, word: &str) -> Outcome {
    let domain = find(cx.tools, word)?;
    if set_share(cx.tools, &domain, args)? {
        return Ok(());
    }
    let share = cx.tools.share(domain.id)?;
    cx.say(header());
    cx.say(row(&domain, share));
    Ok(())
}

/// Changes a domain's share as the options `weight` and `cap` say; whether they say anything
/// (T-10, T-19).
pub(super) fn set_share(tools: &impl Toolstack, domain: &Domain, args: &Args<'_>) -> Outcome<bool> {
    if !args.has("weight") && !args.has("cap") {
        return Ok(false);
    }
    let out_of_range = |what: &str, least: u32, most: u32| {
        Problem::Failed(format!(
            "Cpu {what} out of range, valid values are within range from {least} to {most}"
        ))
    };
    let number = |name: &str, least: u32, most: u32| match args.number::<u32>(name) {
        Ok(Some(value)) if !(least..=most).contains(&value) => Err(out_of_range(name, least, most)),
        Err(_) => Err(out_of_range(name, least, most)),
        Ok(value) => Ok(value.and_then(|value| u16::try_from(value).ok())),
    };
    let most_cap = domain.max_vcpu.saturating_add(1).saturating_mul(100).min(u32::from(u16::MAX) - 1);
    let weight = number("weight", 1, u16::MAX.into())?;
    let cap = number("cap", 0, most_cap)?;
    tools.set_share(domain.id, weight, cap)?;
    Ok(true)
}
