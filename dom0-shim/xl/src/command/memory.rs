//! Memory of a domain.

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

/// The toolstack knows the most that it may be (T-44): `mem-set` itself changes the limit that
/// is listed.
fn set_to(tools: &impl Toolstack, domain: &Domain, kib: u64) -> Outcome {
    let (id, mib) = (domain.id, kib / 1024);
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
