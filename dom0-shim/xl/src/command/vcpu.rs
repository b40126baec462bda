//! Vcpus: lists, pins, how many are online.

use alloc::format;
use alloc::vec::Vec;

use xl_config::domain::PcpuSpec;

use crate::args::{Args, number};
use crate::context::Context;
use crate::find::{find, find_all, name};
use crate::format::vcpu_list::{header, row};
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Domain, Toolstack};

/// `vcpu-list`.
pub(super) fn list<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domains = find_all(cx.tools, &args.positionals)?;
    let pcpus = cx.tools.host()?.max_pcpu.saturating_add(1);
    cx.say(header());
    for domain in &domains {
        let vcpus = match cx.tools.vcpus(domain.id) {
            // A domain that nobody named may end between the two calls.
            Err(_) if args.positionals.is_empty() => continue,
            vcpus => vcpus?,
        };
        for vcpu in &vcpus {
            cx.say(row(domain, vcpu, pcpus));
        }
    }
    Ok(())
}

/// `vcpu-pin`.
pub(super) fn pin<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let vcpu = match args.get(1) {
        "all" if args.has("f") => {
            return Err(Problem::usage("Error: --force and 'all' as VCPU not allowed."));
        }
        "all" => None,
        word => Some(vcpu(&domain, word)?),
    };
    let online = cx.tools.host()?.max_pcpu.saturating_add(1);
    let read = |word: &str| if word == "-" { Ok(None) } else { pcpus(word, online).map(Some) };
    let hard = read(args.get(2))?;
    let soft = args.optional(3).map_or(Ok(None), read)?;
    if hard.is_none() && soft.is_none() {
        return Err(Problem::usage("'-' leaves an affinity as it is: one of both is to be changed."));
    }
    cx.tools.set_affinity(domain.id, vcpu, hard.as_deref(), soft.as_deref())?;
    advise(cx, &domain);
    Ok(())
}

/// Says what is worth a word about where a domain may run (CPU-20, CPU-22, CPU-23).
pub(super) fn advise<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, domain: &Domain) {
    for advice in cx.tools.advice_of(domain.id) {
        cx.say(format_args!("warning: {}: {advice}", name(domain)));
    }
}

/// A vcpu of the domain's.
pub(super) fn vcpu(domain: &Domain, word: &str) -> Outcome<u32> {
    let number = number(word, "VCPU");
    let vcpu: u32 =
        number.map_err(|_| Problem::Failed(format!("Error: Invalid argument {word} as VCPU.")))?;
    if vcpu > domain.max_vcpu {
        let words = format!("Domain {} has no vcpu {vcpu}: its last one is {}.", domain.id, domain.max_vcpu);
        return Err(Problem::Failed(words));
    }
    Ok(vcpu)
}

/// Pcpus as they are written, on a machine of `online`.
pub(super) fn pcpus(word: &str, online: u32) -> Outcome<Vec<u32>> {
    let resolved = word.parse().and_then(|spec: PcpuSpec| spec.resolve(online));
    resolved.map_err(|error| Problem::Failed(format!("Invalid pcpu range: {word}: {error}.")))
}

/// `vcpu-set`, and `virsh setvcpus`.
pub(super) fn set<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let count: u32 = number(args.get(1), "number of vcpus")?;
    let most = domain.max_vcpu.saturating_add(1);
    if count == 0 || count > most {
        return Err(Problem::Failed(format!(
            "Domain {} can have 1 to {most} vcpus online, not {count}.",
            domain.id
        )));
    }
    let pcpus = cx.tools.host()?.pcpus;
    if count > domain.online_vcpus && count > pcpus && !args.has("ignore-host") {
        return Err(Problem::Failed(format!(
            "You are overcommitting: there are {pcpus} physical CPUs and you want {count} vCPUs. \
             --ignore-host does it all the same."
        )));
    }
    Ok(cx.tools.set_vcpus(domain.id, count)?)
}
