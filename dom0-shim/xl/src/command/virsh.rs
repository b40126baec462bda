//! What `virsh` says otherwise than `xl`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xl_config::domain::{Affinity, DomainConfig, PcpuSpec};

use super::{credit, life, vcpu};
use crate::args::Args;
use crate::configs;
use crate::context::Context;
use crate::find::{find, name};
use crate::format::virsh;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Domain, Request, Toolstack};

/// `list`.
pub(super) fn list<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domains = cx.tools.domains()?;
    let mut rows: Vec<_> = domains.iter().map(virsh::row).collect();
    if args.has("all") {
        let stored = configs::stored(cx.tools).into_iter().map(|(_, config)| config.name);
        let stopped = stored.filter(|name| domains.iter().all(|domain| domain.name != *name));
        rows.extend(stopped.map(|name| (String::from("-"), name, virsh::STOPPED)));
    }
    cx.show(&virsh::list(&rows));
    Ok(())
}

/// `domstate`.
pub(super) fn domstate<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let state = match known(cx.tools, args.get(0))? {
        Known::Running(domain) => virsh::state(&domain),
        Known::Stopped(..) => virsh::STOPPED,
    };
    cx.say(state);
    Ok(())
}

/// `dominfo`.
pub(super) fn dominfo<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let known = known(cx.tools, args.get(0))?;
    let mut info = match &known {
        Known::Running(domain) => virsh::Dominfo {
            running: Some(domain),
            name: name(domain),
            uuid: Some(domain.uuid),
            vcpus: domain.online_vcpus,
            max_kib: domain.max_memory_kib,
            kib: domain.memory_kib,
            autostart: false,
        },
        Known::Stopped(_, config) => virsh::Dominfo {
            running: None,
            name: &config.name,
            uuid: config.uuid,
            vcpus: config.vcpus,
            max_kib: Some(config.max_memory_kib),
            kib: config.memory_kib,
            autostart: false,
        },
    };
    info.autostart = configs::is_autostarted(cx.tools, info.name);
    cx.show(&virsh::dominfo(&info));
    Ok(())
}

/// `vcpuinfo`.
pub(super) fn vcpuinfo<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let vcpus = cx.tools.vcpus(domain.id)?;
    let pcpus = cx.tools.host()?.max_pcpu.saturating_add(1);
    cx.show(&virsh::vcpuinfo(&vcpus, pcpus));
    Ok(())
}

/// `schedinfo`: shows what holds after the change.
pub(super) fn schedinfo<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    credit::set_share(cx.tools, &domain, args)?;
    let share = cx.tools.share(domain.id)?;
    let scheduler = cx.tools.host()?.scheduler;
    cx.show(&virsh::schedinfo(&scheduler, share));
    Ok(())
}

/// `vcpupin`: shows all vcpus or one, or pins one (T-24, T-27). Of a domain that does not run all
/// vcpus are pinned, whichever is named (CPU-18, T-25).
pub(super) fn vcpupin<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let online = cx.tools.host()?.max_pcpu.saturating_add(1);
    match known(cx.tools, args.get(0))? {
        Known::Running(domain) => pin_running(cx, args, &domain, online),
        Known::Stopped(file, config) => pin_stopped(cx, args, &file, &config, online),
    }
}

fn pin_running<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
    domain: &Domain,
    online: u32,
) -> Outcome {
    let number = args.optional(1).map(|word| vcpu::vcpu(domain, word)).transpose()?;
    let Some(word) = args.optional(2) else {
        let mut vcpus = cx.tools.vcpus(domain.id)?;
        vcpus.retain(|vcpu| number.is_none_or(|number| vcpu.number == number));
        let rows: Vec<_> = vcpus.into_iter().map(|vcpu| (vcpu.number, vcpu.hard)).collect();
        cx.show(&virsh::vcpupin(&rows, online));
        return Ok(());
    };
    let pcpus = vcpu::pcpus(word, online)?;
    cx.tools.set_affinity(domain.id, number, Some(&pcpus), None)?;
    vcpu::advise(cx, domain);
    Ok(())
}

fn pin_stopped<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
    file: &str,
    config: &DomainConfig,
    online: u32,
) -> Outcome {
    let name = &config.name;
    let Some(word) = args.optional(2) else {
        let pins = cx.tools.pins_of_stopped(name).map(Affinity::All);
        let affinity = pins.as_ref().unwrap_or(&config.cpus);
        let row = |vcpu| affinity.resolve(vcpu, online).map(|pcpus| (vcpu, pcpus));
        let rows = (0..config.max_vcpus).map(row).collect::<Result<Vec<_>, _>>().map_err(Problem::failed)?;
        cx.show(&virsh::vcpupin(&rows, online));
        return Ok(());
    };
    let spec = PcpuSpec::from_pcpus(&vcpu::pcpus(word, online)?);
    cx.tools.pin_stopped(name, &spec);
    cx.say(format_args!(
        "Domain {name} does not run: all its vcpus are on {spec} from the next `start {name}` on. \
         Write cpus = \"{spec}\" into {file} for `create`, and for when this machine has been started again."
    ));
    Ok(())
}

/// `nodeinfo`.
pub(super) fn nodeinfo<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>) -> Outcome {
    let host = cx.tools.host()?;
    cx.show(&virsh::nodeinfo(&host));
    Ok(())
}

/// `shutdown` and `reboot`.
pub(super) fn request<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
    request: Request,
) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    life::ask(cx.tools, &domain, request, false)?;
    let what = match request {
        Request::Poweroff => "shutdown",
        Request::Reboot => "rebooted",
    };
    cx.say(format_args!("Domain {} is being {what}", name(&domain)));
    Ok(())
}

/// `destroy`.
pub(super) async fn destroy<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    life::destroy(cx, args).await?;
    cx.say(format_args!("Domain {} destroyed", name(&domain)));
    Ok(())
}

/// `suspend`.
pub(super) fn suspend<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    life::pause(cx, args)?;
    cx.say(format_args!("Domain {} suspended", name(&domain)));
    Ok(())
}

/// `resume`.
pub(super) fn resume<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    life::unpause(cx, args)?;
    cx.say(format_args!("Domain {} resumed", name(&domain)));
    Ok(())
}

/// `undefine` (T-85): a running domain is not forgotten, and files of the store stay.
pub(super) fn undefine<T: Toolstack, M>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    Err(match known(cx.tools, args.get(0))? {
        Known::Running(domain) => {
            Problem::Failed(format!("Domain {} runs: shut it down or destroy it first.", name(&domain)))
        }
        Known::Stopped(file, config) => Problem::Failed(format!(
            "Domain {} is described by {file}, and the store is read-only: leave the file out when the store is made.",
            config.name
        )),
    })
}

/// A domain that runs, or one that a file describes.
enum Known {
    Running(Domain),
    Stopped(String, DomainConfig),
}

fn known(tools: &impl Toolstack, word: &str) -> Outcome<Known> {
    find(tools, word).map(Known::Running).or_else(|unknown| {
        let mut stored = configs::stored(tools).into_iter();
        let (file, config) = stored.find(|(_, config)| config.name == word).ok_or(unknown)?;
        Ok(Known::Stopped(file, config))
    })
}
