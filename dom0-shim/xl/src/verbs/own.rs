//! The verbs that the shell has besides those of `xl`.

use super::{Family, Kind, Run, Verb};

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
    verb("clear", "", "Clear the screen", (0, 0, &[]), Run::Clear),
    verb("poweroff", "", "Stop all domains, then the machine", (0, 0, &[]), Run::Poweroff),
    verb("reset", "", "Stop all domains, then start the machine again", (0, 0, &[]), Run::Reset),
];
