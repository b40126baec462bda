//! Vcpus: lists, pins, how many are online.

use alloc::format;
use alloc::vec::Vec;

use xl_config::domain::PcpuSpec;

use crate::args::{Args, number};
use crate::context::Context;
use crate::find::{find, find_all};
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
pub(super) fn pin<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let vcpu = match args.get(1) {
        "all" if args.has("f") => {
            return Err(Problem::usage("Error: --force and 'all' as VCPU not allowed."));
        }
        "all" => None,
        word => Some(vcpu(&domain, word)?),
    };
    let hard = pcpus(cx.tools, args.get(2))?;
    let soft = args.optional(3).map_or(Ok(None), |word| pcpus(cx.tools, word))?;
    Ok(cx.tools.set_affinity(domain.id, vcpu, hard.as_deref(), soft.as_deref())?)
}

/// `virsh vcpupin` (T-24, T-27).
pub(super) fn virsh_pin<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let vcpu = vcpu(&domain, args.get(1))?;
    let hard = pcpus(cx.tools, args.get(2))?;
    Ok(cx.tools.set_affinity(domain.id, Some(vcpu), hard.as_deref(), None)?)
}

fn vcpu(domain: &Domain, word: &str) -> Outcome<u32> {
    let vcpu: u32 = number(word, "VCPU")?;
    if vcpu > domain.max_vcpu {
        let words = format!("Domain {} has no vcpu {vcpu}: its last one is {}.", domain.id, domain.max_vcpu);
        return Err(Problem::Failed(words));
    }
    Ok(vcpu)
}

/// Pcpus as they are written; `-` leaves them as they are.
fn pcpus(tools: &impl Toolstack, word: &str) -> Outcome<Option<Vec<u32>>> {
    if word == "-" {
        return Ok(None);
    }
    let wrong = |why: &dyn core::fmt::Display| Problem::Failed(format!("Invalid pcpus '{word}': {why}"));
    let spec: PcpuSpec = word.parse().map_err(|error| wrong(&error))?;
    let online = tools.host()?.max_pcpu.saturating_add(1);
    spec.resolve(online).map(Some).map_err(|error| wrong(&error))
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
