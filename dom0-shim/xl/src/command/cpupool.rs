//! CPU pools.

use alloc::format;

use crate::args::Args;
use crate::context::Context;
use crate::format::cpupool;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::Toolstack;

/// `cpupool-list`.
pub(super) fn list<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let mut pools = cx.tools.pools()?;
    if let Some(name) = args.optional(0) {
        pools.retain(|pool| pool.name == name);
        if pools.is_empty() {
            return Err(Problem::Failed(format!("Pool '{name}' does not exist")));
        }
    }
    let cpus = args.has("c");
    cx.say(cpupool::header(cpus));
    for pool in &pools {
        cx.say(cpupool::row(pool, cpus));
    }
    Ok(())
}
