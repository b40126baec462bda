//! The verbs of `virsh`: those whose name or answer is not `xl`'s, and those that are the same.

use super::{ANY, Family, Kind, Opt, Run, Verb};

const fn verb(
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    arguments: (usize, usize, &'static [Kind]),
    options: &'static [Opt],
    run: Run,
) -> Verb {
    let (least, most, kinds) = arguments;
    Verb { name, family: Family::Virsh, usage, about, options, least, most, kinds, run }
}

const fn missing(name: &'static str, why: &'static str) -> Verb {
    verb(name, "", "", (0, ANY, &[Kind::Domain]), &[], Run::Missing(why))
}

/// No argument.
const NONE: (usize, usize, &[Kind]) = (0, 0, &[]);
/// One domain.
const DOMAIN: (usize, usize, &[Kind]) = (1, 1, &[Kind::Domain]);
/// A domain and something else.
const DOMAIN_AND: (usize, usize, &[Kind]) = (2, 2, &[Kind::Domain, Kind::Other]);

pub(super) const VERBS: &[Verb] = &[
    verb(
        "list",
        "[--all]",
        "List running domains",
        NONE,
        &[Opt::flag("", "all", "Those too that a file of the store describes and that do not run")],
        Run::VirshList,
    ),
    verb("domstate", "<Domain>", "Tell a domain's state", DOMAIN, &[], Run::VirshDomstate),
    verb("dominfo", "<Domain>", "Tell about a domain", DOMAIN, &[], Run::VirshDominfo),
    verb("vcpuinfo", "<Domain>", "Tell about a domain's vcpus", DOMAIN, &[], Run::VirshVcpuinfo),
    verb(
        "schedinfo",
        "<Domain> [options]",
        "Show or change a domain's share of the pcpus",
        DOMAIN,
        &[
            Opt::value("", "weight", "WEIGHT", "Its weight, 1 to 65535"),
            Opt::value("", "cap", "CAP", "Its cap, percent of one pcpu; 0 for none"),
        ],
        Run::VirshSchedinfo,
    ),
    verb(
        "vcpupin",
        "<Domain> [<VCPU> [Pcpus]]",
        "Tell which pcpus vcpus may run on, or say on which a vcpu may, or all of a stopped domain",
        (1, 3, &[Kind::Domain, Kind::Other]),
        &[],
        Run::VirshVcpupin,
    ),
    verb(
        "setvcpus",
        "<Domain> <Number>",
        "Say how many vcpus are to be online",
        DOMAIN_AND,
        &[],
        Run::VirshSetvcpus,
    ),
    verb(
        "setmem",
        "<Domain> <KiB>",
        "Tell a domain how much memory to have",
        DOMAIN_AND,
        &[],
        Run::VirshSetmem,
    ),
    verb(
        "setmaxmem",
        "<Domain> <KiB>",
        "Limit the memory that a domain can have",
        DOMAIN_AND,
        &[],
        Run::VirshSetmaxmem,
    ),
    verb(
        "start",
        "<Domain|File> [options]",
        "Make a domain from the file of the store that describes it",
        (1, 1, &[Kind::File]),
        &[Opt::flag("", "console", "Attach to its console"), Opt::flag("", "paused", "Leave it paused")],
        Run::VirshStart,
    ),
    verb("shutdown", "<Domain>", "Ask a guest to shut down", DOMAIN, &[], Run::VirshShutdown),
    verb("reboot", "<Domain>", "Ask a guest to reboot", DOMAIN, &[], Run::VirshReboot),
    verb(
        "destroy",
        "<Domain>",
        "End a domain at once, as if its power failed",
        DOMAIN,
        &[],
        Run::VirshDestroy,
    ),
    verb("undefine", "<Domain>", "Forget a stopped domain", DOMAIN, &[], Run::VirshUndefine),
    verb("suspend", "<Domain>", "Stop a domain's vcpus", DOMAIN, &[], Run::VirshSuspend),
    verb("resume", "<Domain>", "Let a suspended domain run on", DOMAIN, &[], Run::VirshResume),
    verb("nodeinfo", "", "Tell about the host", NONE, &[], Run::VirshNodeinfo),
    verb("domid", "<Domain>", "Tell the id of a domain's name", DOMAIN, &[], Run::Domid),
    verb("domname", "<Id>", "Tell the name of a domain's id", DOMAIN, &[], Run::Domname),
    verb("console", "<Domain>", "Attach to a domain's console; Ctrl-] detaches", DOMAIN, &[], Run::Console),
    missing("vncdisplay", "guests have no display, so there is no VNC server: use `console`"),
    verb(
        "attach-disk",
        "<Domain> <Source> <Target> [options]",
        "Give a domain a disk until the domain ends",
        (3, 3, &[Kind::Domain, Kind::Other]),
        &[
            Opt::value("", "driver", "DRIVER", "phy for a device, tap or file for an image"),
            Opt::value("", "mode", "MODE", "readonly; read and write without it"),
            Opt::value("", "type", "TYPE", "cdrom or disk"),
        ],
        Run::VirshAttachDisk,
    ),
    verb(
        "detach-disk",
        "<Domain> <Target>",
        "Take a disk away from a domain",
        DOMAIN_AND,
        &[],
        Run::VirshDetachDisk,
    ),
    missing("dump", "there is no place for core dumps yet"),
];
