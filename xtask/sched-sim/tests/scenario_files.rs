//! The scenarios of `tests/sched`: each can be read, loses no work, and gives every vcpu its share.

use std::fs;
use std::path::{Path, PathBuf};

use sched_sim::expected::entitlements;
use sched_sim::scenario::{Behaviour, SECOND, Scenario};
use sched_sim::simulation::simulate;

/// How far a vcpu's share may be from the ideal, in pcpus.
const TOLERANCE: f64 = 0.01;
/// What vcpus that come and go in bursts may miss while they wait, in pcpus: the ideal does not know of that.
const WAITS: f64 = 0.05;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sched");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn all_give_everybody_his_share() {
    let files = files();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let scenario = Scenario::read(&file).unwrap();
        let outcome = simulate(&scenario, &mut |_| true);
        assert_eq!(outcome.lost_work, None, "{}", file.display());
        let seconds = outcome.measured as f64 / SECOND as f64;
        let vcpus = scenario.domains.iter().flat_map(|domain| &domain.vcpus);
        for ((vcpu, found), ideal) in vcpus.zip(&outcome.vcpus).zip(entitlements(&scenario)) {
            let off = (found.ran as f64 / 1e9 - ideal) / seconds;
            let least = if matches!(vcpu.behaviour, Behaviour::Bursts { .. }) { -WAITS } else { -TOLERANCE };
            assert!((least..=TOLERANCE).contains(&off), "{}: {vcpu:?} is off by {off:.4}", file.display());
        }
    }
}
