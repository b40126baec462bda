//! Devices: lists, and what is attached and detached; bridges and overlays.

use alloc::format;
use alloc::string::String;

use xl_config::spec::Wrong;
use xl_config::{disk, mac, vdev, vif};

use crate::args::Args;
use crate::context::Context;
use crate::find::{find, find_all};
use crate::format::device;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{DomId, Toolstack};

/// `block-list`.
pub(super) fn disks<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domains = find_all(cx.tools, &args.positionals)?;
    if args.has("s") {
        cx.show(&device::disk_counts(&domains));
        return Ok(());
    }
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
    if args.has("s") {
        cx.show(&device::net_counts(&domains));
        return Ok(());
    }
    cx.say(device::net_header());
    for domain in domains {
        for net in cx.tools.nets(domain.id)? {
            cx.say(device::net(&net));
        }
    }
    Ok(())
}

/// `brctl show` (NET-21).
pub(super) fn bridges<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    if args.get(0) != "show" {
        return Err(Problem::usage("Bridges are made when the machine starts: `brctl show` lists them."));
    }
    cx.show(&device::bridges(&cx.tools.bridges()));
    Ok(())
}

/// `overlay-list`.
pub(super) fn overlays<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>) -> Outcome {
    cx.say(device::overlay_header());
    for overlay in cx.tools.overlays() {
        cx.say(device::overlay(&overlay));
    }
    Ok(())
}

/// `block-attach`: the words after the domain are the fields of one disk.
pub(super) async fn attach_disk<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    attach_described(cx, domain.id, &fields(args)).await
}

async fn attach_described<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    domain: DomId,
    text: &str,
) -> Outcome {
    let (disk, notes) = disk::parse(text).map_err(|wrong| refused("disk", &wrong))?;
    notes.iter().for_each(|note| cx.say(note));
    Ok(cx.tools.attach_disk(domain, disk).await?)
}

/// `block-detach`.
pub(super) async fn detach_disk<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let (domain, number) = found_disk(cx.tools, args)?;
    Ok(cx.tools.detach_disk(domain, number, args.has("f")).await?)
}

/// The domain and the number of its disk that two words name.
fn found_disk(tools: &impl Toolstack, args: &Args<'_>) -> Outcome<(DomId, u32)> {
    let (domain, word) = (find(tools, args.get(0))?.id, args.get(1));
    let number = vdev::number(word).or_else(|| word.parse().ok());
    let disks = tools.disks(domain)?;
    let number = number.filter(|number| disks.iter().any(|disk| disk.number == *number));
    let unknown = || Problem::Failed(format!("Error: Device {word} not connected: `block-list` lists all."));
    Ok((domain, number.ok_or_else(unknown)?))
}

/// `network-attach`: the words after the domain are the fields of one interface.
pub(super) async fn attach_net<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let (vif, notes) = vif::parse(&fields(args)).map_err(|wrong| refused("network interface", &wrong))?;
    notes.iter().for_each(|note| cx.say(note));
    Ok(cx.tools.attach_net(domain.id, vif).await?)
}

/// `network-detach`: by number or address.
pub(super) async fn detach_net<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let (domain, word) = (find(cx.tools, args.get(0))?.id, args.get(1));
    let address = mac::parse(word).ok();
    let nets = cx.tools.nets(domain)?;
    let net = nets.iter().find(|net| match address {
        Some(address) => mac::parse(&net.mac) == Ok(address),
        None => word.parse() == Ok(net.number),
    });
    let unknown = || Problem::Failed(format!("Unknown device {word}: `network-list` lists all."));
    let number = net.ok_or_else(unknown)?.number;
    Ok(cx.tools.detach_net(domain, number, args.has("f")).await?)
}

/// `virsh attach-disk` (VSH-16). Without a driver, a target in `/dev` is a device, any other
/// one an image.
pub(super) async fn virsh_attach<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let (source, target) = (args.get(1), args.get(2));
    if vdev::number(target).is_none() {
        return Err(Problem::Failed(format!("{target} is no disk's name: names are as xvdd, hdc, sda.")));
    }
    let driver = match args.value("driver") {
        None => "",
        Some("phy") => "backendtype=phy,",
        Some("tap" | "file") => "backendtype=qdisk,",
        Some(other) => return Err(Problem::Usage(format!("unknown driver {other}: phy, tap or file"))),
    };
    let access = match args.value("mode") {
        None => "w",
        Some("readonly") => "r",
        Some(other) => return Err(Problem::Usage(format!("unknown mode {other}: readonly, or none"))),
    };
    let kind = args.value("type").unwrap_or("disk");
    let text = format!("vdev={target},access={access},devtype={kind},{driver}target={source}");
    attach_described(cx, domain.id, &text).await?;
    cx.say("Disk attached successfully");
    Ok(())
}

/// `virsh detach-disk` (VSH-17).
pub(super) async fn virsh_detach<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
) -> Outcome {
    let (domain, number) = found_disk(cx.tools, args)?;
    cx.tools.detach_disk(domain, number, false).await?;
    cx.say("Disk detached successfully");
    Ok(())
}

/// The words after the domain, as they stand in a configuration file.
fn fields(args: &Args<'_>) -> String {
    args.positionals.get(1..).unwrap_or_default().join(",")
}

fn refused(what: &str, wrong: &Wrong) -> Problem {
    let help = wrong.help.map(|help| format!(": {help}")).unwrap_or_default();
    Problem::Failed(format!("{what}: {}{help}", wrong.message))
}
