//! What the verbs do.
//!
//! | module | |
//! |---|---|
//! | `create` | domains from configuration files |
//! | `life` | pause, shut down, reboot, destroy, rename, buttons |
//! | `list` | lists of domains, names and ids, uptime |
//! | `vcpu`, `credit`, `memory` | resources of a domain |
//! | `cpupool`, `cpu_use` | the pcpus: pools, who uses them |
//! | `console` | the console of a domain |
//! | `device` | devices: lists, attach, detach; bridges, overlays |
//! | `host` | the machine: info, log, debug keys, power |
//! | `top` | the live view |
//! | `store` | files |
//! | `virsh` | what `virsh` says otherwise |

mod console;
mod cpu_use;
mod cpupool;
mod create;
mod credit;
mod device;
mod host;
mod life;
mod list;
mod memory;
mod store;
mod top;
mod vcpu;
mod virsh;

use alloc::format;

use crate::args::Args;
use crate::context::Context;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Request, Toolstack};
use crate::verbs::{self, Run};

/// Runs a verb.
pub(crate) async fn run<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    run: Run,
    args: &Args<'_>,
) -> Outcome {
    match run {
        Run::BlockAttach => device::attach_disk(cx, args).await,
        Run::BlockDetach => device::detach_disk(cx, args).await,
        Run::BlockList => device::disks(cx, args),
        Run::Console => console::attach(cx, args).await,
        Run::Create => create::create(cx, args).await,
        Run::ConfigUpdate => create::update(cx, args),
        Run::CpupoolList => cpupool::list(cx, args),
        Run::DebugKeys => host::debug_keys(cx, args),
        Run::Destroy => life::destroy(cx, args).await,
        Run::Dmesg => host::dmesg(cx, args),
        Run::Domid => list::domid(cx, args),
        Run::Domname => list::domname(cx, args),
        Run::Info => host::info(cx, args),
        Run::List => list::list(cx, args),
        Run::MemMax => memory::max(cx, args),
        Run::MemSet => memory::set(cx, args),
        Run::NetworkAttach => device::attach_net(cx, args).await,
        Run::NetworkDetach => device::detach_net(cx, args).await,
        Run::NetworkList => device::nets(cx, args),
        Run::Pause => life::pause(cx, args),
        Run::Reboot => life::request(cx, args, Request::Reboot).await,
        Run::Rename => life::rename(cx, args),
        Run::SchedCredit => credit::run(cx, args),
        Run::Shutdown => life::request(cx, args, Request::Poweroff).await,
        Run::Sysrq => life::sysrq(cx, args),
        Run::Top => top::run(cx, args).await,
        Run::Trigger => life::trigger(cx, args),
        Run::Unpause => life::unpause(cx, args),
        Run::Uptime => list::uptime(cx, args),
        Run::VcpuList => vcpu::list(cx, args),
        Run::VcpuPin => vcpu::pin(cx, args),
        Run::VcpuSet => vcpu::set(cx, args),
        Run::Brctl => device::bridges(cx, args),
        Run::Cat => store::cat(cx, args),
        Run::Clear => clear(cx),
        Run::CpuUse => cpu_use::run(cx, args).await,
        Run::Help => help(cx, args),
        Run::Ls => store::ls(cx),
        Run::OverlayCommit => Ok(cx.tools.commit_overlay(args.get(0)).await?),
        Run::OverlayDiscard => Ok(cx.tools.discard_overlay(args.get(0)).await?),
        Run::OverlayList => device::overlays(cx),
        Run::Poweroff => host::power(cx, Request::Poweroff).await,
        Run::Reset => host::power(cx, Request::Reboot).await,
        Run::VirshAttachDisk => device::virsh_attach(cx, args).await,
        Run::VirshDestroy => virsh::destroy(cx, args).await,
        Run::VirshDetachDisk => device::virsh_detach(cx, args).await,
        Run::VirshDominfo => virsh::dominfo(cx, args),
        Run::VirshDomstate => virsh::domstate(cx, args),
        Run::VirshList => virsh::list(cx, args),
        Run::VirshNodeinfo => virsh::nodeinfo(cx),
        Run::VirshReboot => virsh::request(cx, args, Request::Reboot),
        Run::VirshResume => virsh::resume(cx, args),
        Run::VirshSchedinfo => virsh::schedinfo(cx, args),
        Run::VirshSetmaxmem => memory::virsh_max(cx, args),
        Run::VirshSetmem => memory::virsh_set(cx, args),
        Run::VirshSetvcpus => vcpu::set(cx, args),
        Run::VirshShutdown => virsh::request(cx, args, Request::Poweroff),
        Run::VirshStart => create::start(cx, args).await,
        Run::VirshSuspend => virsh::suspend(cx, args),
        Run::VirshUndefine => virsh::undefine(cx, args),
        Run::VirshVcpuinfo => virsh::vcpuinfo(cx, args),
        Run::VirshVcpupin => virsh::vcpupin(cx, args),
        Run::Missing(why) => Err(Problem::failed(why)),
    }
}

fn clear<T, M: Terminal>(cx: &mut Context<'_, T, M>) -> Outcome {
    cx.raw(b"\x1b[H\x1b[2J");
    Ok(())
}

fn help<T, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let text = match args.optional(0) {
        None => verbs::help(),
        Some(word) => {
            let verb = verbs::lookup(None, word);
            verb.ok_or_else(|| Problem::Failed(format!("command \"{word}\" is not known: `help` lists all")))?
                .help()
        }
    };
    cx.show(&text);
    Ok(())
}
