//! The verbs of the shell: names, usage, options, what they take. What they do is in
//! [`crate::command`].
//!
//! There are three families: those of `xl`, those of `virsh` that are spelt otherwise or say
//! something else, and the shell's own. `xl VERB` and `virsh VERB` choose the family; a bare
//! verb is `xl`'s where both have it.

mod own;
mod virsh;
mod xl;

use alloc::format;
use alloc::string::String;

/// What a verb does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Run {
    BlockAttach,
    BlockDetach,
    BlockList,
    Console,
    Create,
    ConfigUpdate,
    CpupoolList,
    DebugKeys,
    Destroy,
    Dmesg,
    Domid,
    Domname,
    Info,
    List,
    MemMax,
    MemSet,
    NetworkAttach,
    NetworkDetach,
    NetworkList,
    Pause,
    Reboot,
    Rename,
    SchedCredit,
    Shutdown,
    Sysrq,
    Top,
    Trigger,
    Unpause,
    Uptime,
    VcpuList,
    VcpuPin,
    VcpuSet,
    Brctl,
    Cat,
    Clear,
    CpuUse,
    Help,
    Ls,
    OverlayCommit,
    OverlayDiscard,
    OverlayList,
    Poweroff,
    Reset,
    VirshAttachDisk,
    VirshDestroy,
    VirshDetachDisk,
    VirshDominfo,
    VirshDomstate,
    VirshList,
    VirshNodeinfo,
    VirshReboot,
    VirshResume,
    VirshSchedinfo,
    VirshSetmaxmem,
    VirshSetmem,
    VirshSetvcpus,
    VirshShutdown,
    VirshStart,
    VirshSuspend,
    VirshUndefine,
    VirshVcpuinfo,
    VirshVcpupin,
    /// Kigumi lacks what it needs.
    Missing(&'static str),
}

/// Whose verb it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    /// `xl`'s.
    Xl,
    /// `virsh`'s.
    Virsh,
    /// The shell's own.
    Own,
}

impl Family {
    /// What stands before a verb of it in messages.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Xl => "xl ",
            Self::Virsh => "virsh ",
            Self::Own => "",
        }
    }
}

/// What an argument is, for completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A domain's name or id.
    Domain,
    /// A file of the store.
    File,
    /// A verb.
    Verb,
    /// Something else.
    Other,
}

/// An option of a verb.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Opt {
    /// Its letter, or nothing.
    pub(crate) short: &'static str,
    /// Its long name, or nothing.
    pub(crate) long: &'static str,
    /// What its value is called; nothing where it takes none.
    pub(crate) value: &'static str,
    /// What the value is.
    pub(crate) kind: Kind,
    /// What it does.
    about: &'static str,
}

impl Opt {
    const fn flag(short: &'static str, long: &'static str, about: &'static str) -> Self {
        Self { short, long, value: "", kind: Kind::Other, about }
    }

    const fn value(
        short: &'static str,
        long: &'static str,
        value: &'static str,
        about: &'static str,
    ) -> Self {
        Self { short, long, value, kind: Kind::Other, about }
    }

    /// The option as help shows it.
    fn help(&self) -> String {
        let short = if self.short.is_empty() { String::new() } else { format!("-{}", self.short) };
        let long = if self.long.is_empty() { String::new() } else { format!("--{}", self.long) };
        let part = if short.is_empty() || long.is_empty() { "" } else { ", " };
        let value = match (self.value.is_empty(), self.long.is_empty()) {
            (true, _) => String::new(),
            (false, true) => format!(" {}", self.value),
            (false, false) => format!("={}", self.value),
        };
        format!("{:<28} {}", format!("{short}{part}{long}{value}"), self.about)
    }
}

/// A verb.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Verb {
    /// What is typed.
    pub(crate) name: &'static str,
    /// Whose it is.
    pub(crate) family: Family,
    /// What follows it.
    usage: &'static str,
    /// What it does, for the list of all verbs.
    about: &'static str,
    /// Its options.
    pub(crate) options: &'static [Opt],
    /// Fewest arguments.
    pub(crate) least: usize,
    /// Most arguments.
    pub(crate) most: usize,
    /// What the arguments are; the last is what all further ones are as well.
    pub(crate) kinds: &'static [Kind],
    /// What it does.
    pub(crate) run: Run,
}

/// As many arguments as one likes.
const ANY: usize = usize::MAX;

impl Verb {
    /// The option of a letter.
    pub(crate) fn short(&self, letter: char) -> Option<&'static Opt> {
        self.options.iter().find(|option| option.short.starts_with(letter))
    }

    /// The option of a long name.
    pub(crate) fn long(&self, name: &str) -> Option<&'static Opt> {
        self.options.iter().find(|option| !name.is_empty() && option.long == name)
    }

    /// The verb's help.
    pub(crate) fn help(&self) -> String {
        let (name, usage, about) = (self.name, self.usage, self.about);
        if let Run::Missing(why) = self.run {
            return format!("{}{name}: {why}\n", self.family.prefix());
        }
        let gap = if usage.is_empty() { "" } else { " " };
        let mut text = format!("Usage: {}{name}{gap}{usage}\n\n{about}.\n\n", self.family.prefix());
        if !self.options.is_empty() {
            text += "Options:\n\n";
        }
        for option in self.options {
            text += &option.help();
            text.push('\n');
        }
        text
    }
}

/// All verbs.
pub(crate) fn all() -> impl Iterator<Item = &'static Verb> {
    xl::VERBS.iter().chain(own::VERBS).chain(virsh::VERBS)
}

/// The verbs that may follow a prefix: all without one.
pub(crate) fn of(family: Option<Family>) -> impl Iterator<Item = &'static Verb> {
    // The shell's own verbs go with `xl`, whose `help` is one of them.
    all().filter(move |verb| match family {
        None => true,
        Some(Family::Virsh) => verb.family == Family::Virsh || verb.run == Run::Help,
        Some(_) => verb.family != Family::Virsh,
    })
}

/// The family that a prefix chooses.
pub(crate) fn family(word: &str) -> Option<Family> {
    match word {
        // `xm` is what came before `xl`, with the same verbs.
        "xl" | "xm" => Some(Family::Xl),
        "virsh" => Some(Family::Virsh),
        _ => None,
    }
}

/// The verb of a name. Verbs of `xl` may be cut short as long as only one is meant.
pub(crate) fn lookup(family: Option<Family>, name: &str) -> Option<&'static Verb> {
    let exact = of(family).find(|verb| verb.name == name);
    exact.or_else(|| {
        let mut starts = of(family).filter(|verb| verb.family == Family::Xl && verb.name.starts_with(name));
        starts.next().filter(|_| starts.next().is_none() && !name.is_empty())
    })
}

/// The list of all verbs.
pub(crate) fn help() -> String {
    let mut text = String::from("Usage: [xl|virsh] <verb> [options] [arguments]; help <verb> says more\n\n");
    for (family, title) in
        [(Family::Xl, "Verbs of xl:"), (Family::Own, "Of this shell:"), (Family::Virsh, "Of virsh:")]
    {
        text += &format!("{title}\n\n");
        for verb in all().filter(|verb| verb.family == family && !matches!(verb.run, Run::Missing(_))) {
            text += &format!(" {:<19} {}\n", verb.name, verb.about);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_bare_verb_is_xls_first() {
        assert_eq!(lookup(None, "list").map(|verb| verb.family), Some(Family::Xl));
        assert_eq!(lookup(Some(Family::Virsh), "list").map(|verb| verb.run), Some(Run::VirshList));
        assert_eq!(lookup(None, "dominfo").map(|verb| verb.family), Some(Family::Virsh));
        assert_eq!(lookup(Some(Family::Xl), "dominfo"), None);
        assert_eq!(lookup(Some(Family::Virsh), "sched-credit"), None);
    }

    #[test]
    fn verbs_of_xl_may_be_cut_short() {
        assert_eq!(lookup(None, "vcpu-l").map(|verb| verb.run), Some(Run::VcpuList));
        // More than one.
        assert_eq!(lookup(None, "vcpu-"), None);
        // `pause` starts no other verb's name, but `un` starts one.
        assert_eq!(lookup(None, "un").map(|verb| verb.run), Some(Run::Unpause));
        // What acts on the machine is spelt out.
        assert_eq!(lookup(None, "power"), None);
        assert_eq!(lookup(None, ""), None);
    }

    #[test]
    fn names_and_options_are_of_one_meaning_each() {
        let mut names: Vec<_> = all().map(|verb| (verb.family.prefix(), verb.name)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for verb in all() {
            let mut spellings: Vec<&str> =
                verb.options.iter().flat_map(|option| [option.short, option.long]).collect();
            spellings.retain(|spelling| !spelling.is_empty());
            let count = spellings.len();
            spellings.sort_unstable();
            spellings.dedup();
            assert_eq!(spellings.len(), count, "{}", verb.name);
            assert!(verb.options.iter().all(|option| option.short.len() <= 1), "{}", verb.name);
            assert!(verb.least <= verb.most && (verb.most == 0) == verb.kinds.is_empty(), "{}", verb.name);
        }
    }

    #[test]
    fn help_shows_usage_and_options() {
        let help = lookup(None, "destroy").unwrap().help();
        assert_eq!(
            help,
            "Usage: xl destroy [options] <Domain>\n\nEnd a domain at once, as if its power failed.\n\n\
             Options:\n\n-f                           Also where it is domain 0, which cannot succeed here\n"
        );
        assert!(super::help().contains("\n vcpu-list           List the vcpus of all or some domains\n"));
    }
}
