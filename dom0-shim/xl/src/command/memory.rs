//! Memory of a domain.

use alloc::format;

use crate::args::Args;
use crate::context::Context;
use crate::find::find;
use crate::problem::{Outcome, Problem};
use crate::size;
use crate::toolstack::{Domain, Toolstack};

/// `mem-set`.
pub(super) fn set<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    set_to(cx.tools, &domain, size::xl(args.get(1))?)
}

/// `virsh setmem`.
pub(super) fn virsh_set<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    set_to(cx.tools, &domain, size::virsh(args.get(1))?)
}

/// `mem-max`.
pub(super) fn max<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    limit_to(cx.tools, &domain, size::xl(args.get(1))?)
}

/// `virsh setmaxmem`.
pub(super) fn virsh_max<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    limit_to(cx.tools, &domain, size::virsh(args.get(1))?)
}

/// Not more than the limit (T-44).
fn set_to(tools: &impl Toolstack, domain: &Domain, kib: u64) -> Outcome {
    let id = domain.id;
    let mib = kib / 1024;
    if let Some(max) = domain.max_memory_kib.filter(|max| kib > *max) {
        let words = format!(
            "cannot set memory of domain {id} to {mib} MiB: its limit is {} MiB, which `mem-max` raises",
            max / 1024
        );
        return Err(Problem::Failed(words));
    }
    let set = tools.set_memory(id, kib);
    set.map_err(|failure| {
        Problem::because(format_args!("cannot set memory of domain {id} to {mib} MiB"), &failure)
    })
}

fn limit_to(tools: &impl Toolstack, domain: &Domain, kib: u64) -> Outcome {
    let (id, mib) = (domain.id, kib / 1024);
    let set = tools.set_max_memory(id, kib);
    set.map_err(|failure| {
        Problem::because(format_args!("cannot limit memory of domain {id} to {mib} MiB"), &failure)
    })
}
