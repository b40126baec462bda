//! `xl list`.

use alloc::format;
use alloc::string::String;

use super::number::{ranges, seconds};
use super::uuid;
use crate::find::name;
use crate::toolstack::{Domain, Reason};

/// What the list shows besides the usual.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Columns {
    /// UUID, reason, security label.
    pub(crate) verbose: bool,
    /// Security label.
    pub(crate) context: bool,
    /// Cpupool.
    pub(crate) cpupool: bool,
    /// Affinity to this many NUMA nodes.
    pub(crate) nodes: Option<u32>,
}

/// The header's line.
pub(crate) fn header(columns: Columns) -> String {
    let mut line = String::from("Name                                        ID   Mem VCPUs\tState\tTime(s)");
    if columns.verbose {
        line += "   UUID                            Reason-Code\tSecurity Label";
    } else if columns.context {
        line += "   Security Label";
    }
    if columns.cpupool {
        line += "         Cpupool";
    }
    if columns.nodes.is_some() {
        line += " NODE Affinity";
    }
    line
}

/// A domain's line.
pub(crate) fn row(domain: &Domain, columns: Columns) -> String {
    let (name, id, state) = (name(domain), domain.id, state(domain));
    let (mib, vcpus, time) = (domain.memory_kib / 1024, domain.online_vcpus, seconds(domain.cpu_ns));
    let mut line = format!("{name:<40} {id:>5} {mib:>5} {vcpus:>5}     {state}  {time:>8}");
    if columns.verbose {
        let reason = domain.shutdown.map_or_else(|| "-".into(), |reason| format!("{:x}", code(reason)));
        line += &format!(" {} {reason:>8}", uuid(&domain.uuid));
    }
    if columns.verbose || columns.context {
        line += &format!(" {:>16}", "-");
    }
    if columns.cpupool {
        line += &format!("{:>16}", "Pool-0");
    }
    if let Some(nodes) = columns.nodes {
        let all: alloc::vec::Vec<u32> = (0..nodes).collect();
        line += &format!(" {}", ranges(&all, nodes));
    }
    line
}

/// The six letters: running, blocked, paused, shut down, why, dying.
fn state(domain: &Domain) -> String {
    let letter = |set: bool, letter: char| if set { letter } else { '-' };
    let why = match domain.shutdown {
        None | Some(Reason::Poweroff) => '-',
        Some(Reason::Reboot) => 'r',
        Some(Reason::Suspend) => 's',
        Some(Reason::Crash) => 'c',
        Some(Reason::Watchdog) => 'w',
        Some(Reason::SoftReset) => 'S',
        Some(Reason::Other(_)) => '?',
    };
    [
        letter(domain.running, 'r'),
        letter(domain.blocked, 'b'),
        letter(domain.paused, 'p'),
        letter(domain.shutdown.is_some(), 's'),
        why,
        letter(domain.dying, 'd'),
    ]
    .iter()
    .collect()
}

/// A reason's number (`sched.h`).
pub(crate) fn code(reason: Reason) -> u8 {
    match reason {
        Reason::Poweroff => 0,
        Reason::Reboot => 1,
        Reason::Suspend => 2,
        Reason::Crash => 3,
        Reason::Watchdog => 4,
        Reason::SoftReset => 5,
        Reason::Other(number) => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::domain;

    #[test]
    fn columns_are_xls() {
        let columns = Columns::default();
        assert_eq!(
            header(columns),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)"
        );
        let mut dom0 = domain(0, "Domain-0");
        dom0.running = true;
        assert_eq!(
            row(&dom0, columns),
            "Domain-0                                     0   256     2     r-----       1.5"
        );
        dom0.name = "x".repeat(45);
        assert_eq!(
            row(&dom0, columns),
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx     0   256     2     r-----       1.5"
        );
    }

    #[test]
    fn verbose_shows_the_uuid_and_the_reason() {
        let columns = Columns { verbose: true, context: true, cpupool: true, nodes: Some(1) };
        assert_eq!(
            header(columns),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            \
             Reason-Code\tSecurity Label         Cpupool NODE Affinity"
        );
        let mut guest = domain(7, "guest");
        assert_eq!(
            row(&guest, columns),
            "guest                                        7   256     2     ------       1.5 \
             07070707-0707-0707-0707-070707070707        -                -          Pool-0 all"
        );
        guest.shutdown = Some(Reason::Crash);
        let columns = Columns { verbose: true, ..Columns::default() };
        assert!(row(&guest, columns).ends_with("707        3                -"));
    }

    /// Requirements 3.1, with the two letters of today's `xl` for what has stopped.
    #[test]
    fn letters_of_all_states() {
        let with = |change: fn(&mut Domain)| {
            let mut domain = domain(1, "x");
            change(&mut domain);
            state(&domain)
        };
        assert_eq!(with(|_| {}), "------");
        assert_eq!(with(|d| d.running = true), "r-----");
        assert_eq!(with(|d| d.blocked = true), "-b----");
        assert_eq!(with(|d| (d.running, d.blocked) = (true, true)), "rb----");
        assert_eq!(with(|d| d.paused = true), "--p---");
        assert_eq!(with(|d| d.shutdown = Some(Reason::Poweroff)), "---s--");
        assert_eq!(with(|d| d.shutdown = Some(Reason::Reboot)), "---sr-");
        assert_eq!(with(|d| d.shutdown = Some(Reason::Suspend)), "---ss-");
        assert_eq!(with(|d| d.shutdown = Some(Reason::Crash)), "---sc-");
        assert_eq!(with(|d| d.shutdown = Some(Reason::Watchdog)), "---sw-");
        assert_eq!(with(|d| d.shutdown = Some(Reason::SoftReset)), "---sS-");
        assert_eq!(with(|d| d.shutdown = Some(Reason::Other(9))), "---s?-");
        assert_eq!(with(|d| d.dying = true), "-----d");
    }
}
