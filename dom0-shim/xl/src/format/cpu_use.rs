//! `cpu-use`: how much of the pcpus domains use.
//!
//! CPU(%) counts as `xentop` does: 100 is one pcpu, so that a domain has 100 for each busy vcpu.
//! Host(%) counts as virt-manager does: 100 is the whole machine (CPU-26).

use alloc::format;
use alloc::string::String;

use super::number::{percent, seconds};
use crate::find::name;
use crate::toolstack::{Domain, Host};

/// Parts of a thousand of its limit from which on a domain is at it (CPU-25).
const AT_LIMIT: u64 = 950;

/// What a domain used over a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Use {
    /// Time that its vcpus ran, ns.
    ran_ns: u64,
    /// Time that passed, ns.
    passed_ns: u64,
}

impl Use {
    /// What `domain` used since `before`; nothing where it was not there.
    pub(crate) fn between(before: (&Host, &[Domain]), host: &Host, domain: &Domain) -> Self {
        let passed_ns = host.uptime_ns.saturating_sub(before.0.uptime_ns);
        let old = before.1.iter().find(|old| old.id == domain.id && old.uuid == domain.uuid);
        let ran_ns = old.map_or(0, |old| domain.cpu_ns.saturating_sub(old.cpu_ns));
        Self { ran_ns, passed_ns }
    }

    /// The time that so many pcpus had.
    fn time_of(self, pcpus: u32) -> u64 {
        self.passed_ns.saturating_mul(pcpus.into())
    }
}

/// The header's line.
pub(crate) fn header() -> String {
    line("Name", "ID", "VCPUs", "Time(s)", "CPU(%)", "Host(%)", "")
}

/// A domain's line; `cap` is its own, 0 for none.
pub(crate) fn row(domain: &Domain, used: Use, host: &Host, cap: u16) -> String {
    line(
        name(domain),
        &format!("{}", domain.id),
        &format!("{}", domain.online_vcpus),
        &format!("{}", seconds(domain.cpu_ns)),
        &format!("{}", percent(used.ran_ns, used.passed_ns)),
        &format!("{}", percent(used.ran_ns, used.time_of(host.pcpus))),
        note(domain, used, cap),
    )
}

/// The line of the machine.
pub(crate) fn sum(all: &[Use], host: &Host) -> String {
    let ran = all.iter().fold(0_u64, |sum, used| sum.saturating_add(used.ran_ns));
    let used = Use { ran_ns: ran, passed_ns: all.first().map_or(0, |used| used.passed_ns) };
    line(
        "(all)",
        "",
        "",
        "",
        &format!("{}", percent(used.ran_ns, used.passed_ns)),
        &format!("{}", percent(used.ran_ns, used.time_of(host.pcpus))),
        "",
    )
}

/// CPU-25: a domain that always runs would use more if it had more.
fn note(domain: &Domain, used: Use, cap: u16) -> &'static str {
    let of_vcpus = used.time_of(domain.online_vcpus);
    let of_cap = (used.passed_ns / 100).saturating_mul(cap.into());
    let capped = cap != 0 && of_cap < of_vcpus;
    let limit = if capped { of_cap } else { of_vcpus };
    let at_limit = limit != 0 && used.ran_ns >= (limit / 1000).saturating_mul(AT_LIMIT);
    match (at_limit, capped) {
        (false, _) => "",
        (true, true) => "at its cap",
        (true, false) => "all vcpus busy",
    }
}

fn line(name: &str, id: &str, vcpus: &str, time: &str, cpu: &str, host: &str, note: &str) -> String {
    let line = format!("{name:<32} {id:>5} {vcpus:>5} {time:>9} {cpu:>7} {host:>7} {note}");
    String::from(line.trim_end())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::testing::{domain, host};

    /// What domains of two vcpus that ran so long in a second use of four pcpus.
    fn uses(ran_ms: &[u64]) -> (Host, Vec<Domain>, Vec<Use>) {
        let before = host();
        let mut after = host();
        after.uptime_ns += 1_000_000_000;
        let old: Vec<Domain> = (1..).zip(ran_ms).map(|(id, _)| domain(id, "guest")).collect();
        let mut new = old.clone();
        new.iter_mut().zip(ran_ms).for_each(|(domain, ms)| domain.cpu_ns += ms * 1_000_000);
        let uses = new.iter().map(|domain| Use::between((&before, &old), &after, domain)).collect();
        (after, new, uses)
    }

    fn columns(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }

    /// T-49, CPU-24, CPU-26.
    #[test]
    fn sixty_percent_of_one_of_four_pcpus_are_fifteen() {
        let (host, domains, uses) = uses(&[600]);
        assert_eq!(header(), "Name                                ID VCPUs   Time(s)  CPU(%) Host(%)");
        assert_eq!(
            row(&domains[0], uses[0], &host, 0),
            "guest                                1     2       2.1    60.0    15.0"
        );
    }

    /// T-50.
    #[test]
    fn forty_and_twenty_percent_of_four_pcpus_are_fifteen() {
        let (host, _, uses) = uses(&[400, 200]);
        assert_eq!(columns(&sum(&uses, &host)), ["(all)", "60.0", "15.0"]);
        assert_eq!(columns(&sum(&[], &host)), ["(all)", "0.0", "0.0"]);
    }

    /// T-51, CPU-25.
    #[test]
    fn who_is_at_the_limit_is_told() {
        let (host, domains, uses) = uses(&[1990, 1103, 495, 470]);
        let row = |place: usize, cap| row(&domains[place], uses[place], &host, cap);
        assert!(row(0, 0).ends_with(" 199.0    49.8 all vcpus busy"));
        assert!(row(1, 0).ends_with(" 110.3    27.6"));
        assert!(row(2, 50).ends_with(" at its cap") && row(3, 50).ends_with(" 11.8"));
        // A cap that the vcpus cannot reach is none.
        assert!(row(0, 300).ends_with("all vcpus busy"));
    }

    #[test]
    fn who_was_not_there_used_nothing() {
        let (host, domains, _) = uses(&[500]);
        let other = Domain { uuid: [9; 16], ..domains[0].clone() };
        let used = Use::between((&crate::testing::host(), &[other]), &host, &domains[0]);
        assert_eq!(columns(&row(&domains[0], used, &host, 0))[4..], ["0.0", "0.0"]);
        assert_eq!(columns(&row(&domains[0], Use::default(), &host, 0))[4..], ["0.0", "0.0"]);
    }
}
