//! The verbs of `xl`, by its command table (Xen, `xl` 4.22).

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
    Verb { name, family: Family::Xl, usage, about, options, least, most, kinds, run }
}

const fn missing(name: &'static str, why: &'static str) -> Verb {
    verb(name, "", "", (0, ANY, &[Kind::Domain]), &[], Run::Missing(why))
}

/// No argument.
const NONE: (usize, usize, &[Kind]) = (0, 0, &[]);
/// One domain.
const DOMAIN: (usize, usize, &[Kind]) = (1, 1, &[Kind::Domain]);
/// All domains, or those that are named.
const DOMAINS: (usize, usize, &[Kind]) = (0, ANY, &[Kind::Domain]);

const NO_VNC: &str = "guests have no display, so there is no VNC server: use `console`";
const NO_SAVE: &str = "saving, restoring and moving domains is not there yet";
const NO_PCI: &str = "devices cannot be given to guests yet: there is no IOMMU driver";
const NO_POOLS: &str = "all pcpus are in Pool-0: there are no other cpupools";
const NO_SCHED: &str = "the scheduler is credit: use `sched-credit`";
const NO_CD: &str = "there are no CD drives: they need a device model";

const STATISTICS: Opt = Opt::flag("s", "statistics", "What went through each of them, instead");
const FORCE: Opt = Opt::flag("f", "force", "At once: do not wait for the domain to let it go");

pub(super) const VERBS: &[Verb] = &[
    verb(
        "create",
        "<ConfigFile> [options] [name=value ...]",
        "Make a domain from a configuration file of the store",
        (0, ANY, &[Kind::File]),
        &[
            Opt::flag("c", "", "Attach to its console"),
            Opt::flag("d", "", "Show the resulting configuration too"),
            Opt::flag("e", "", "Accepted: nothing waits in the background for the domain's end"),
            Opt::flag("F", "", "Wait until the domain has ended"),
            Opt { kind: Kind::File, ..Opt::value("f", "defconfig", "FILE", "The configuration file") },
            Opt::flag("n", "dryrun", "Show the resulting configuration, make nothing"),
            Opt::flag("p", "paused", "Leave it paused"),
            Opt::flag("q", "quiet", "Say nothing but errors"),
        ],
        Run::Create,
    ),
    verb(
        "config-update",
        "<Domain> <ConfigFile> [options] [name=value ...]",
        "Change the configuration that a domain is made anew from",
        (1, ANY, &[Kind::Domain, Kind::File]),
        &[
            Opt::flag("d", "", "Show the resulting configuration too"),
            Opt { kind: Kind::File, ..Opt::value("f", "defconfig", "FILE", "The configuration file") },
        ],
        Run::ConfigUpdate,
    ),
    verb(
        "list",
        "[options] [Domain ...]",
        "List all or some domains",
        DOMAINS,
        &[
            Opt::flag("l", "long", "All details, as JSON"),
            Opt::flag("v", "verbose", "UUIDs, why they stopped, security labels too"),
            Opt::flag("Z", "context", "Security labels too"),
            Opt::flag("c", "cpupool", "Cpupools too"),
            Opt::flag("n", "numa", "NUMA nodes too"),
        ],
        Run::List,
    ),
    verb(
        "destroy",
        "[options] <Domain>",
        "End a domain at once, as if its power failed",
        DOMAIN,
        &[Opt::flag("f", "", "Also where it is domain 0, which cannot succeed here")],
        Run::Destroy,
    ),
    verb(
        "shutdown",
        "[options] <-a|Domain ...>",
        "Ask guests to shut down",
        DOMAINS,
        &[
            Opt::flag("a", "all", "All guests"),
            Opt::flag("w", "wait", "Wait until they have (Ctrl-C ends the waiting)"),
            Opt::flag("F", "", "Press the power button of those that do not listen to requests"),
        ],
        Run::Shutdown,
    ),
    verb(
        "reboot",
        "[options] <-a|Domain ...>",
        "Ask guests to reboot",
        DOMAINS,
        &[
            Opt::flag("a", "all", "All guests"),
            Opt::flag("w", "wait", "Wait until they stopped for it (Ctrl-C ends the waiting)"),
            Opt::flag("F", "", "Press the reset button of those that do not listen to requests"),
        ],
        Run::Reboot,
    ),
    verb("pause", "<Domain>", "Stop a domain's vcpus", DOMAIN, &[], Run::Pause),
    verb("unpause", "<Domain>", "Let a paused domain run on", DOMAIN, &[], Run::Unpause),
    verb(
        "console",
        "[options] <Domain>",
        "Attach to a domain's console; Ctrl-] detaches",
        DOMAIN,
        &[
            Opt::value("t", "", "TYPE", "Kind of console: pv"),
            Opt::value("n", "", "NUMBER", "Number of the console: 0"),
        ],
        Run::Console,
    ),
    verb(
        "mem-max",
        "<Domain> <Size[b|k|m|g|t]>",
        "Limit the memory that a domain can have",
        (2, 2, &[Kind::Domain, Kind::Other]),
        &[],
        Run::MemMax,
    ),
    verb(
        "mem-set",
        "<Domain> <Size[b|k|m|g|t]>",
        "Tell a domain how much memory to have",
        (2, 2, &[Kind::Domain, Kind::Other]),
        &[],
        Run::MemSet,
    ),
    verb("vcpu-list", "[Domain ...]", "List the vcpus of all or some domains", DOMAINS, &[], Run::VcpuList),
    verb(
        "vcpu-pin",
        "[options] <Domain> <VCPU|all> <Hard|-|all> [Soft|-|all]",
        "Say which pcpus a vcpu may run on, and on which it runs best",
        (3, 4, &[Kind::Domain, Kind::Other]),
        &[
            Opt::flag("f", "force", "Accepted: no kernel overrides pins here"),
            Opt::flag("i", "ignore-global-affinity-masks", "Accepted: there are no such masks"),
        ],
        Run::VcpuPin,
    ),
    verb(
        "vcpu-set",
        "[options] <Domain> <vCPUs>",
        "Say how many vcpus of a domain are to be online",
        (2, 2, &[Kind::Domain, Kind::Other]),
        &[Opt::flag("i", "ignore-host", "Also more than there are pcpus")],
        Run::VcpuSet,
    ),
    verb(
        "info",
        "[options] [Key]",
        "Tell about the host",
        (0, 1, &[Kind::Other]),
        &[Opt::flag("n", "numa", "NUMA nodes and topology too")],
        Run::Info,
    ),
    verb(
        "sched-credit",
        "[-d <Domain> [-w Weight] [-c Cap]] [-s [-t Slice] [-r Limit] [-m Delay]] [-p Cpupool]",
        "Show or change the credit scheduler's parameters",
        NONE,
        &[
            Opt { kind: Kind::Domain, ..Opt::value("d", "domain", "DOMAIN", "The domain") },
            Opt::value("w", "weight", "WEIGHT", "Its weight, 1 to 65535"),
            Opt::value("c", "cap", "CAP", "Its cap, percent of one pcpu; 0 for none"),
            Opt::flag("s", "schedparam", "The scheduler's parameters, not a domain's"),
            Opt::value("t", "tslice_ms", "MS", "Time slice, milliseconds"),
            Opt::value("r", "ratelimit_us", "US", "Shortest turn, microseconds"),
            Opt::value("m", "migration_delay_us", "US", "Migration delay, microseconds"),
            Opt::value("p", "cpupool", "CPUPOOL", "Of this cpupool"),
        ],
        Run::SchedCredit,
    ),
    verb(
        "cpupool-list",
        "[-c] [Cpupool]",
        "List the CPU pools",
        (0, 1, &[Kind::Other]),
        &[Opt::flag("c", "cpus", "Their pcpus, instead")],
        Run::CpupoolList,
    ),
    verb("domid", "<DomainName>", "Tell the id of a domain's name", DOMAIN, &[], Run::Domid),
    verb("domname", "<DomainId>", "Tell the name of a domain's id", DOMAIN, &[], Run::Domname),
    verb(
        "rename",
        "<Domain> <NewName>",
        "Give a domain another name",
        (2, 2, &[Kind::Domain, Kind::Other]),
        &[],
        Run::Rename,
    ),
    verb(
        "trigger",
        "<Domain> <nmi|reset|init|power|sleep|s3resume> [VCPU]",
        "Press a button of a domain",
        (2, 3, &[Kind::Domain, Kind::Other]),
        &[],
        Run::Trigger,
    ),
    verb(
        "sysrq",
        "<Domain> <letter>",
        "Send a magic SysRq key to a domain",
        (2, 2, &[Kind::Domain, Kind::Other]),
        &[],
        Run::Sysrq,
    ),
    verb(
        "debug-keys",
        "<Keys>",
        "Give debug keys to the hypervisor",
        (1, 1, &[Kind::Other]),
        &[],
        Run::DebugKeys,
    ),
    verb(
        "dmesg",
        "[-c]",
        "Show the hypervisor's log",
        NONE,
        &[Opt::flag("c", "clear", "Empty it as well")],
        Run::Dmesg,
    ),
    verb(
        "top",
        "[options]",
        "Watch the host and its domains",
        NONE,
        &[
            Opt::value("d", "delay", "SECONDS", "Time between updates (3)"),
            Opt::flag("n", "networks", "Network interfaces too"),
            Opt::flag("x", "vbds", "Disks too"),
            Opt::flag("r", "repeat-header", "The header before each domain"),
            Opt::flag("v", "vcpus", "Vcpus too"),
            Opt::flag("b", "batch", "One table after the other; Ctrl-C ends"),
            Opt::value("i", "iterations", "NUMBER", "End after so many updates"),
            Opt::flag("f", "full-name", "Names as long as they are"),
            Opt::flag("z", "dom0-first", "Domain 0 first, in any order"),
        ],
        Run::Top,
    ),
    verb(
        "uptime",
        "[-s] [Domain ...]",
        "Tell for how long all or some domains run",
        DOMAINS,
        &[Opt::flag("s", "", "In short")],
        Run::Uptime,
    ),
    verb(
        "block-list",
        "<Domain ...>",
        "List disks of domains",
        (1, ANY, &[Kind::Domain]),
        &[STATISTICS],
        Run::BlockList,
    ),
    verb(
        "network-list",
        "<Domain ...>",
        "List network interfaces of domains",
        (1, ANY, &[Kind::Domain]),
        &[STATISTICS],
        Run::NetworkList,
    ),
    verb(
        "block-attach",
        "<Domain> <disk-spec-component(s)>...",
        "Give a domain a disk, as `disk` of a configuration describes it, until the domain ends",
        (2, ANY, &[Kind::Domain, Kind::Other]),
        &[],
        Run::BlockAttach,
    ),
    verb(
        "block-detach",
        "[options] <Domain> <DevId>",
        "Take a disk away from a domain",
        (2, 2, &[Kind::Domain, Kind::Other]),
        &[FORCE],
        Run::BlockDetach,
    ),
    verb(
        "network-attach",
        "<Domain> [mac=<mac>] [bridge=<bridge>] [vifname=<name>] [rate=<rate>]",
        "Give a domain a network interface until the domain ends",
        (1, ANY, &[Kind::Domain, Kind::Other]),
        &[],
        Run::NetworkAttach,
    ),
    verb(
        "network-detach",
        "[options] <Domain> <DevId|mac>",
        "Take a network interface away from a domain",
        (2, 2, &[Kind::Domain, Kind::Other]),
        &[FORCE],
        Run::NetworkDetach,
    ),
    missing("vncviewer", NO_VNC),
    missing("save", NO_SAVE),
    missing("restore", NO_SAVE),
    missing("migrate", NO_SAVE),
    missing("dump-core", "there is no place for core dumps yet"),
    missing("pci-attach", NO_PCI),
    missing("pci-detach", NO_PCI),
    missing("pci-list", NO_PCI),
    missing("cd-insert", NO_CD),
    missing("cd-eject", NO_CD),
    missing("cpupool-create", NO_POOLS),
    missing("cpupool-destroy", NO_POOLS),
    missing("cpupool-rename", NO_POOLS),
    missing("cpupool-cpu-add", NO_POOLS),
    missing("cpupool-cpu-remove", NO_POOLS),
    missing("cpupool-migrate", NO_POOLS),
    missing("cpupool-numa-split", NO_POOLS),
    missing("sched-credit2", NO_SCHED),
    missing("sched-rtds", NO_SCHED),
];
