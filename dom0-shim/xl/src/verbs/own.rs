//! The verbs that the shell has besides those of `xl`.

use super::{ANY, Family, Kind, Opt, Run, Verb};

const fn verb(
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    arguments: (usize, usize, &'static [Kind]),
    run: Run,
) -> Verb {
    let (least, most, kinds) = arguments;
    Verb { name, family: Family::Own, usage, about, options: &[], least, most, kinds, run }
}

pub(super) const VERBS: &[Verb] = &[
    verb("help", "[Verb]", "List the verbs, or tell about one", (0, 1, &[Kind::Verb]), Run::Help),
    verb("ls", "", "List the files of the store", (0, 0, &[]), Run::Ls),
    verb("cat", "<File>", "Show a file of the store", (1, 1, &[Kind::File]), Run::Cat),
    verb(
        "brctl",
        "show",
        "List the bridges and what is plugged in there",
        (1, ANY, &[Kind::Other]),
        Run::Brctl,
    ),
    verb("overlay-list", "", "List what is kept of disks `overlay:...`", (0, 0, &[]), Run::OverlayList),
    verb(
        "overlay-commit",
        "<Owner>",
        "Write what an overlay keeps to what it changes",
        (1, 1, &[Kind::Other]),
        Run::OverlayCommit,
    ),
    verb(
        "overlay-discard",
        "<Owner>",
        "Forget what an overlay keeps",
        (1, 1, &[Kind::Other]),
        Run::OverlayDiscard,
    ),
    Verb {
        options: &[Opt::value("d", "delay", "SECONDS", "For how long to look (1)")],
        ..verb(
            "cpu-use",
            "[-d Seconds] [Domain ...]",
            "Tell how much of the pcpus all or some domains use",
            (0, ANY, &[Kind::Domain]),
            Run::CpuUse,
        )
    },
    verb("clear", "", "Clear the screen", (0, 0, &[]), Run::Clear),
    verb("poweroff", "", "Stop all domains, then the machine", (0, 0, &[]), Run::Poweroff),
    verb("reset", "", "Stop all domains, then start the machine again", (0, 0, &[]), Run::Reset),
];
