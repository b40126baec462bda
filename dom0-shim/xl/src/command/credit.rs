//! The credit scheduler's parameters.

use alloc::format;
use alloc::string::String;
use core::ops::RangeInclusive;

use crate::args::Args;
use crate::context::Context;
use crate::find::find;
use crate::format::credit::{header, pool, row};
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Domain, Slices, Toolstack};

/// Least and most of a time slice, ms (`sysctl.h`, `XEN_SYSCTL_CSCHED_TSLICE_*`).
const TSLICE_MS: (u32, u32) = (1, 1000);
/// Least and most of a rate limit that is not 0, us (`XEN_SYSCTL_SCHED_RATELIMIT_*`).
const RATELIMIT_US: (u32, u32) = (100, 500_000);
/// Longest migration delay, us (`sysctl.h`, `XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US`).
const MIGRATION_DELAY_US: u32 = 100_000;

/// `sched-credit`.
pub(super) fn run<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let of_domain = args.has("d") || args.has("w") || args.has("c");
    if (args.has("p") || args.has("s")) && of_domain {
        return Err(Problem::usage("Specifying a cpupool or schedparam is not allowed with domain options."));
    }
    if !args.has("s") && ["t", "r", "m"].iter().any(|option| args.has(option)) {
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
    let now = cx.tools.slices()?;
    let (tslice, ratelimit, delay) = (args.number("t")?, args.number("r")?, args.number("m")?);
    if (tslice, ratelimit, delay) == (None, None, None) {
        cx.say(pool(now));
        return Ok(());
    }
    let wanted = Slices {
        tslice_ms: tslice.unwrap_or(now.tslice_ms),
        ratelimit_us: ratelimit.unwrap_or(now.ratelimit_us),
        migration_delay_us: delay.unwrap_or(now.migration_delay_us),
    };
    check(wanted)?;
    Ok(cx.tools.set_slices(wanted)?)
}

/// In libxl's words.
fn check(wanted: Slices) -> Outcome {
    let Slices { tslice_ms, ratelimit_us, migration_delay_us } = wanted;
    let words = if !(TSLICE_MS.0..=TSLICE_MS.1).contains(&tslice_ms) {
        format!("Time slice out of range, valid range is from {} to {}", TSLICE_MS.0, TSLICE_MS.1)
    } else if ratelimit_us != 0 && !(RATELIMIT_US.0..=RATELIMIT_US.1).contains(&ratelimit_us) {
        format!("Ratelimit out of range, valid range is 0, or from {} to {}", RATELIMIT_US.0, RATELIMIT_US.1)
    } else if ratelimit_us > tslice_ms.saturating_mul(1000) {
        String::from("Ratelimit cannot be greater than timeslice")
    } else if migration_delay_us > MIGRATION_DELAY_US {
        format!("vcpu migration delay should be >= 0 and <= {MIGRATION_DELAY_US}us")
    } else {
        return Ok(());
    };
    Err(Problem::Failed(words))
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
    let most_cap = domain.max_vcpu.saturating_add(1).saturating_mul(100).min(u32::from(u16::MAX) - 1);
    let weights = "Cpu weight out of range, valid values are within range from 1 to 65535";
    let caps =
        format!("Cpu cap out of range, valid range is from 0 to {most_cap} for specified number of vcpus");
    let number = |name: &str, range: RangeInclusive<u32>, words: &str| match args.number::<u32>(name) {
        Ok(None) => Ok(None),
        Ok(Some(value)) if range.contains(&value) => Ok(u16::try_from(value).ok()),
        Ok(Some(_)) | Err(_) => Err(Problem::failed(words)),
    };
    let weight = number("weight", 1..=u16::MAX.into(), weights)?;
    let cap = number("cap", 0..=most_cap, &caps)?;
    tools.set_share(domain.id, weight, cap)?;
    Ok(true)
}
