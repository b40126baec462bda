//! Scenario files, as they are written.

use anyhow::{Context, Result, anyhow, bail, ensure};
use hv_core::id::{MAX_PCPUS, PcpuId};
use hv_core::pcpu_set::PcpuSet;
use serde::Deserialize;
use xl_config::domain::PcpuSpec;

use super::behaviour::nanoseconds;
use super::{Change, Domain, MICROSECOND, MILLISECOND, SECOND, Scenario, Vcpu, What};

/// Most vcpus of a scenario.
const MAX_VCPUS: usize = 20_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    description: String,
    #[serde(default)]
    covers: Vec<String>,
    pcpus: i64,
    slice_ms: Option<f64>,
    ratelimit_us: Option<f64>,
    migration_delay_us: Option<f64>,
    switch_cost_us: Option<f64>,
    seconds: Option<f64>,
    warm_up: Option<f64>,
    seed: Option<u64>,
    #[serde(default)]
    domain: Vec<FileDomain>,
    #[serde(default)]
    change: Vec<FileChange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDomain {
    name: String,
    weight: Option<i64>,
    cap: Option<i64>,
    vcpus: Option<i64>,
    cpus: Option<OneOrEach>,
    cpus_soft: Option<OneOrEach>,
    run: Option<OneOrEach>,
    start: Option<f64>,
    stop: Option<f64>,
    copies: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileChange {
    at: f64,
    domain: String,
    vcpu: Option<usize>,
    weight: Option<i64>,
    cap: Option<i64>,
    cpus: Option<String>,
    cpus_soft: Option<String>,
    action: Option<Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    Pause,
    Unpause,
    Destroy,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text for all vcpus, or a list of texts, one for each vcpu")]
enum OneOrEach {
    One(String),
    Each(Vec<String>),
}

impl OneOrEach {
    fn get(&self, vcpu: usize, vcpus: usize) -> Result<&str> {
        match self {
            Self::One(text) => Ok(text),
            Self::Each(texts) if texts.len() == vcpus => Ok(&texts[vcpu]),
            Self::Each(texts) => {
                bail!("{} texts for {vcpus} vcpus: write one for each, or a single text", texts.len())
            }
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Scenario> {
    let file: File = toml::from_str(text)?;
    let pcpus = in_range("pcpus", file.pcpus, 1, MAX_PCPUS)?;
    let plain = Scenario::new(pcpus);
    let mut scenario = Scenario {
        slice: time("slice_ms", file.slice_ms, MILLISECOND, plain.slice)?,
        rate_limit: time("ratelimit_us", file.ratelimit_us, MICROSECOND, plain.rate_limit)?,
        migration_delay: time("migration_delay_us", file.migration_delay_us, MICROSECOND, 0)?,
        switch_cost: time("switch_cost_us", file.switch_cost_us, MICROSECOND, 0)?,
        length: time("seconds", file.seconds, SECOND, plain.length)?,
        warm_up: time("warm_up", file.warm_up, SECOND, plain.warm_up)?,
        seed: file.seed.unwrap_or(plain.seed),
        description: file.description,
        covers: file.covers,
        ..plain
    };
    scenario.check_times()?;
    for domain in &file.domain {
        add(&mut scenario, domain).with_context(|| format!("domain `{}`", domain.name))?;
    }
    ensure!(!scenario.domains.is_empty(), "no domain: write at least one [[domain]] table with a name");
    for change in &file.change {
        let place = || format!("change at {} of domain `{}`", change.at, change.domain);
        let change = read_change(&scenario, change).with_context(place)?;
        scenario.changes.push(change);
    }
    Ok(scenario)
}

impl Scenario {
    /// Whether its times fit together.
    ///
    /// # Errors
    ///
    /// Which do not.
    pub fn check_times(&self) -> Result<()> {
        let slice = self.slice / MILLISECOND;
        ensure!((1..=1000).contains(&slice), "slice_ms: {slice} is not from 1 to 1000");
        let limit = self.rate_limit / MICROSECOND;
        ensure!(
            self.rate_limit <= self.slice,
            "ratelimit_us: {limit} is longer than the time slice; write less"
        );
        ensure!(
            self.warm_up < self.length,
            "warm_up: nothing is left of {} s to measure after {} s; write a longer time in `seconds`",
            self.length as f64 / SECOND as f64,
            self.warm_up as f64 / SECOND as f64
        );
        Ok(())
    }
}

fn add(scenario: &mut Scenario, file: &FileDomain) -> Result<()> {
    let vcpus = in_range("vcpus", file.vcpus.unwrap_or(1), 1, MAX_VCPUS)?;
    let each = (0..vcpus)
        .map(|vcpu| read_vcpu(file, vcpu, vcpus, scenario.pcpus).with_context(|| format!("vcpu {vcpu}")));
    let domain = Domain {
        name: file.name.clone(),
        weight: weight(file.weight.unwrap_or(256))?,
        cap: cap(file.cap.unwrap_or(0), vcpus)?,
        vcpus: each.collect::<Result<_>>()?,
        start: time("start", file.start, SECOND, 0)?,
    };
    let stop = file.stop.map(|stop| time("stop", Some(stop), SECOND, 0)).transpose()?;
    let copies = in_range("copies", file.copies.unwrap_or(1), 1, MAX_VCPUS)?;
    let all: usize = scenario.domains.iter().map(|domain| domain.vcpus.len()).sum();
    ensure!(
        all + vcpus * copies <= MAX_VCPUS,
        "more than {MAX_VCPUS} vcpus in all; lower `vcpus` or `copies`"
    );
    for copy in 1..=copies {
        let name =
            if file.copies.is_some() { format!("{}-{copy}", domain.name) } else { domain.name.clone() };
        ensure!(domain_named(scenario, &name).is_err(), "the name is taken; choose another one");
        let number = scenario.domains.len();
        scenario.domains.push(Domain { name, ..domain.clone() });
        scenario.changes.extend(stop.map(|at| Change { at, domain: number, what: What::Destroy }));
    }
    Ok(())
}

fn read_vcpu(file: &FileDomain, vcpu: usize, vcpus: usize, pcpus: usize) -> Result<Vcpu> {
    let set = |key: &str, list: Option<&OneOrEach>| match list {
        None => Ok(PcpuSet::ALL),
        Some(list) => {
            list.get(vcpu, vcpus).and_then(|text| pcpu_set(text, pcpus)).with_context(|| key.to_owned())
        }
    };
    let behaviour = match &file.run {
        None => "busy",
        Some(run) => run.get(vcpu, vcpus).context("run")?,
    };
    Ok(Vcpu {
        hard: set("cpus", file.cpus.as_ref())?,
        soft: set("cpus_soft", file.cpus_soft.as_ref())?,
        behaviour: behaviour.parse().context("run")?,
    })
}

fn read_change(scenario: &Scenario, file: &FileChange) -> Result<Change> {
    let number = domain_named(scenario, &file.domain)?;
    let vcpus = scenario.domains[number].vcpus.len();
    let pins = file.cpus.is_some() || file.cpus_soft.is_some();
    if let Some(vcpu) = file.vcpu {
        ensure!(vcpu < vcpus, "vcpu: there is no vcpu {vcpu}; the domain has {vcpus}, numbered from 0");
        ensure!(pins, "vcpu: only `cpus` and `cpus_soft` are set for one vcpu; leave `vcpu` out");
    }
    let mut all = Vec::new();
    all.extend(file.weight.map(|value| weight(value).map(What::Weight)));
    all.extend(file.cap.map(|value| cap(value, vcpus).map(What::Cap)));
    let set = |key: &str, text: &str| pcpu_set(text, scenario.pcpus).with_context(|| key.to_owned());
    all.extend(file.cpus.as_deref().map(|text| Ok(What::Hard(file.vcpu, set("cpus", text)?))));
    all.extend(file.cpus_soft.as_deref().map(|text| Ok(What::Soft(file.vcpu, set("cpus_soft", text)?))));
    all.extend(file.action.as_ref().map(|action| {
        Ok(match action {
            Action::Pause => What::Pause,
            Action::Unpause => What::Unpause,
            Action::Destroy => What::Destroy,
        })
    }));
    let only = all.pop().filter(|_| all.is_empty());
    let what =
        only.ok_or_else(|| anyhow!("write exactly one of weight, cap, cpus, cpus_soft and action"))??;
    Ok(Change { at: time("at", Some(file.at), SECOND, 0)?, domain: number, what })
}

fn domain_named(scenario: &Scenario, name: &str) -> Result<usize> {
    let number = scenario.domains.iter().position(|domain| domain.name == name);
    number.ok_or_else(|| {
        anyhow!("no domain has this name; those above the changes are known, copies as `NAME-1`")
    })
}

fn weight(value: i64) -> Result<u16> {
    in_range("weight", value, 1, u16::MAX.into()).map(|weight| u16::try_from(weight).unwrap_or(u16::MAX))
}

fn cap(value: i64, vcpus: usize) -> Result<u16> {
    let most = (vcpus * 100).min(u16::MAX.into());
    in_range("cap", value, 0, most).map(|cap| u16::try_from(cap).unwrap_or(u16::MAX))
}

fn pcpu_set(text: &str, pcpus: usize) -> Result<PcpuSet> {
    let spec: PcpuSpec = text.parse().map_err(|error| anyhow!("{error}"))?;
    let online = u32::try_from(pcpus)?;
    let numbers = spec.resolve(online).map_err(|error| anyhow!("{error}"))?;
    Ok(numbers.into_iter().filter_map(|number| PcpuId::new(number.try_into().ok()?)).collect())
}

fn in_range(key: &str, value: i64, least: usize, most: usize) -> Result<usize> {
    let number = usize::try_from(value).ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| anyhow!("{key}: {value} is not from {least} to {most}"))
}

fn time(key: &str, value: Option<f64>, unit: u64, default: u64) -> Result<u64> {
    let Some(value) = value else { return Ok(default) };
    nanoseconds(value, unit).ok_or_else(|| anyhow!("{key}: {value} is not a time from 0 up to a day"))
}

#[cfg(test)]
mod tests {
    use super::super::Behaviour;
    use super::*;

    const WHOLE: &str = r#"
description = "all keys"
covers = ["T-22"]
pcpus = 8
slice_ms = 10
ratelimit_us = 500
switch_cost_us = 2
seconds = 4
warm_up = 0.5
seed = 7

[[domain]]
name = "a"
weight = 512
cap = 160
vcpus = 2
cpus = "0-2,5"
cpus_soft = ["1", "2"]
run = ["busy", "run 100us sleep 1ms"]
start = 1
stop = 3

[[domain]]
name = "b"
copies = 2

[[change]]
at = 2.5
domain = "b-2"
vcpu = 0
cpus = "1,3"
"#;

    /// T-22, T-23: lists of pcpus as in xl.cfg.
    #[test]
    fn every_key_is_read() {
        let scenario = parse(WHOLE).unwrap();
        assert_eq!((scenario.pcpus, scenario.slice, scenario.rate_limit), (8, 10_000_000, 500_000));
        assert_eq!((scenario.length, scenario.warm_up, scenario.seed), (4_000_000_000, 500_000_000, 7));
        let [a, b1, b2] = &scenario.domains[..] else { panic!("{:?}", scenario.domains) };
        assert_eq!((a.weight, a.cap, a.start), (512, 160, SECOND));
        assert!(a.vcpus[0].hard.iter().map(PcpuId::index).eq([0, 1, 2, 5]));
        assert!(a.vcpus[1].soft.iter().map(PcpuId::index).eq([2]));
        assert!(matches!(a.vcpus[1].behaviour, Behaviour::Bursts { random: false, .. }));
        assert_eq!((b1.name.as_str(), b2.name.as_str(), b2.weight), ("b-1", "b-2", 256));
        assert_eq!(scenario.changes[0], Change { at: 3 * SECOND, domain: 0, what: What::Destroy });
        let both = pcpu_set("1,3", 8).unwrap();
        assert_eq!(
            scenario.changes[1],
            Change { at: 2_500_000_000, domain: 2, what: What::Hard(Some(0), both) }
        );
    }

    fn error(text: &str) -> String {
        format!("{:#}", parse(text).unwrap_err())
    }

    /// T-10: weights from 1 to 65535.
    #[test]
    fn what_is_wrong_is_said() {
        let domain = |keys: &str| error(&format!("pcpus = 4\n[[domain]]\nname = \"a\"\n{keys}"));
        assert_eq!(domain("weight = 0"), "domain `a`: weight: 0 is not from 1 to 65535");
        assert_eq!(domain("weight = 65536"), "domain `a`: weight: 65536 is not from 1 to 65535");
        assert_eq!(domain("weight = -1"), "domain `a`: weight: -1 is not from 1 to 65535");
        assert!(domain("weight = \"much\"").contains("line 4, column 10"));
        assert_eq!(domain("cap = 101"), "domain `a`: cap: 101 is not from 0 to 100");
        assert!(
            domain("cpus = \"4\"").ends_with("cpus: there is no pcpu 4; the machine has 4, numbered from 0")
        );
        assert!(domain("run = \"bussy\"").contains("domain `a`: vcpu 0: run: expected `busy`"));
        assert!(domain("run = [\"busy\", \"busy\"]").contains("2 texts for 1 vcpus"));
        assert!(domain("run = 7").contains("expected a text for all vcpus"));
        assert!(domain("wieght = 7").contains("unknown field `wieght`"));
        assert!(domain("copies = 30000").contains("copies"));
        assert!(domain("[[domain]]\nname = \"a\"").contains("the name is taken"));
        assert!(error("pcpus = 0").starts_with("pcpus: 0 is not from 1 to 256"));
        assert!(error("pcpus = 1").starts_with("no domain"));
        assert!(error("pcpus = 1\nseconds = 1").starts_with("warm_up: nothing is left"));
        assert!(error("pcpus = 1\nseconds = -1").starts_with("seconds: -1 is not a time"));
    }

    #[test]
    fn changes_are_checked() {
        let change = |keys: &str| {
            error(&format!("pcpus = 4\n[[domain]]\nname = \"a\"\n[[change]]\nat = 1\ndomain = \"a\"\n{keys}"))
        };
        assert!(change("").ends_with("write exactly one of weight, cap, cpus, cpus_soft and action"));
        assert!(
            change("cap = 1\nweight = 2")
                .ends_with("write exactly one of weight, cap, cpus, cpus_soft and action")
        );
        assert!(change("vcpu = 1\ncpus = \"1\"").contains("there is no vcpu 1"));
        assert!(change("vcpu = 0\nweight = 1").contains("leave `vcpu` out"));
        assert!(change("action = \"explode\"").contains("unknown variant"));
        assert!(
            error("pcpus = 4\n[[domain]]\nname = \"a\"\n[[change]]\nat = 1\ndomain = \"b\"\ncap = 1")
                .contains("no domain has this name")
        );
    }
}
