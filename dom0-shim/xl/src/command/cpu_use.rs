//! Who uses the pcpus, over a while.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

use crate::args::Args;
use crate::context::{Context, INTERRUPT};
use crate::find::find_all;
use crate::format::cpu_use::{Use, header, row, sum};
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Domain, Host, Toolstack};

/// Seconds to look for.
const DELAY: u64 = 1;
/// Most of them.
const MAX_DELAY: u64 = 3600;

/// `cpu-use` (CPU-24 to CPU-26). The sum is that of all domains, whichever are shown.
pub(super) async fn run<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let delay = args.number("d")?.unwrap_or(DELAY);
    if !(1..=MAX_DELAY).contains(&delay) {
        return Err(Problem::Failed(format!("The delay is 1 to {MAX_DELAY} seconds, not {delay}.")));
    }
    let shown: Vec<Domain> = find_all(cx.tools, &args.positionals)?;
    let before = sample(cx.tools)?;
    if !wait(cx, before.0.uptime_ns, delay).await? {
        return Ok(());
    }
    let (host, domains) = sample(cx.tools)?;
    cx.say(header());
    let mut all = Vec::new();
    for domain in domains {
        // One that ends meanwhile is not there any more, and a new one uses nothing yet.
        let used = Use::between((&before.0, &before.1), &host, &domain);
        if args.positionals.is_empty() || shown.iter().any(|one| one.uuid == domain.uuid) {
            let cap = cx.tools.share(domain.id).map_or(0, |share| share.cap);
            cx.say(row(&domain, used, &host, cap));
        }
        all.push(used);
    }
    cx.say(sum(&all, &host));
    Ok(())
}

fn sample(tools: &impl Toolstack) -> Outcome<(Host, Vec<Domain>)> {
    Ok((tools.host()?, tools.domains()?))
}

/// Waits until so many seconds have passed since `start_ns`; false when Ctrl-C is typed before.
/// What else is typed is kept for later.
async fn wait<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    start_ns: u64,
    seconds: u64,
) -> Outcome<bool> {
    let end_ns = start_ns.saturating_add(seconds.saturating_mul(1_000_000_000));
    let mut typed = VecDeque::new();
    let waited = loop {
        let left_ns = end_ns.saturating_sub(cx.tools.host()?.uptime_ns);
        if left_ns == 0 {
            break true;
        }
        match cx.read_for(left_ns.div_ceil(1_000_000)).await {
            Some(INTERRUPT) => break false,
            Some(byte) => typed.push_back(byte),
            None => {}
        }
    };
    cx.keep(typed);
    Ok(waited)
}
