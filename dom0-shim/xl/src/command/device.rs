//! Lists of devices.

use crate::args::Args;
use crate::context::Context;
use crate::find::find_all;
use crate::format::device;
use crate::problem::Outcome;
use crate::terminal::Terminal;
use crate::toolstack::Toolstack;

/// `block-list`.
pub(super) fn disks<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domains = find_all(cx.tools, &args.positionals)?;
    cx.say(device::disk_header());
    for domain in domains {
        for disk in cx.tools.disks(domain.id)? {
            cx.say(device::disk(&disk));
        }
    }
    Ok(())
}

/// `network-list`.
pub(super) fn nets<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domains = find_all(cx.tools, &args.positionals)?;
    cx.say(device::net_header());
    for domain in domains {
        for net in cx.tools.nets(domain.id)? {
            cx.say(device::net(&net));
        }
    }
    Ok(())
}
