//! What each vcpu is entitled to: weighted max-min fair rates under hard affinity.
//!
//! ```text
//!           weight, limit              one each
//!   source ───────────────> vcpus ────> pcpus ────> sink
//!                           hard affinity
//! ```
//!
//! A [`Claim`] is one runnable vcpu. Rates are fair when none can rise without taking from one that has,
//! for its weight, no more. They are found by progressive filling: all rates rise in the ratio of the
//! weights until some set of vcpus uses up the pcpus that it may run on; these stay, the others go on.
//! The level at which that happens is found from above: a minimum cut of the flow at a level that is too
//! high names a set that wants too much, and the level that suits this set is the next to try.

use std::collections::BTreeMap;

use hv_core::id::PcpuId;
use hv_core::pcpu_set::PcpuSet;
use pathfinding::directed::edmonds_karp::edmonds_karp_sparse;

#[cfg(test)]
mod tests;

/// One vcpu that could run.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Its share of the domain's weight.
    pub weight: f64,
    /// Most that it can take, in pcpus: 1, or less with a cap.
    pub limit: f64,
    /// Where it may run.
    pub pcpus: PcpuSet,
}

/// What one pcpu can give. Whole numbers keep the flow exact; the error of a rate is below 1e-9.
const UNIT: f64 = (1_u64 << 40) as f64;

/// The fair rate of each of `claims`, in pcpus, on a machine with `pcpus` pcpus.
///
/// A claim that may run on none of them gets 0.
pub fn fair_rates(claims: &[Claim], pcpus: usize) -> Vec<f64> {
    let machine: PcpuSet = (0..pcpus).filter_map(PcpuId::new).collect();
    let mut filling = Filling::new(claims, &machine);
    while filling.is_rising() {
        let level = filling.highest_level();
        filling.settle(&level);
    }
    filling.claims.iter().map(|claim| to_f64(claim.settled.unwrap_or(0)) / UNIT).collect()
}

/// A level of rate for each weight, and what reaches it.
struct Level {
    rate_per_weight: f64,
    /// Classes that use up their pcpus at this level; none where all claims reach their limits.
    full: Vec<usize>,
}

struct Rising {
    weight: f64,
    limit: i64,
    class: usize,
    settled: Option<i64>,
}

impl Rising {
    fn rate(&self, rate_per_weight: f64) -> i64 {
        self.settled.unwrap_or_else(|| to_units(rate_per_weight * self.weight).min(self.limit))
    }
}

struct Filling {
    claims: Vec<Rising>,
    /// The sets of pcpus that claims have; claims with the same set are one node of the flow.
    classes: Vec<Vec<usize>>,
}

impl Filling {
    fn new(claims: &[Claim], machine: &PcpuSet) -> Self {
        let mut numbers = BTreeMap::new();
        let mut classes = Vec::new();
        let rising = claims.iter().map(|claim| {
            let pcpus = claim.pcpus.intersection(machine);
            let class = *numbers.entry(*pcpus.words()).or_insert_with(|| {
                classes.push(pcpus.iter().map(PcpuId::index).collect());
                classes.len() - 1
            });
            let limit = to_units(claim.limit.clamp(0.0, 1.0) * UNIT);
            let settled = (pcpus.is_empty() || limit == 0).then_some(0);
            Rising { weight: claim.weight * UNIT, limit, class, settled }
        });
        Self { claims: rising.collect(), classes }
    }

    fn is_rising(&self) -> bool {
        self.claims.iter().any(|claim| claim.settled.is_none())
    }

    fn highest_level(&self) -> Level {
        let rising = self.claims.iter().filter(|claim| claim.settled.is_none());
        let highest = rising.map(|claim| to_f64(claim.limit + 1) / claim.weight).fold(0.0, f64::max);
        let mut level = Level { rate_per_weight: highest, full: Vec::new() };
        while let Some(full) = self.overfull(level.rate_per_weight) {
            let lower = self.level_for(&full);
            let is_lower = lower < level.rate_per_weight;
            level = Level { rate_per_weight: lower, full };
            if !is_lower {
                // What is still too much is rounding.
                break;
            }
        }
        level
    }

    /// Classes that together want more than their pcpus give.
    fn overfull(&self, rate_per_weight: f64) -> Option<Vec<usize>> {
        let mut demand = vec![0; self.classes.len()];
        for claim in &self.claims {
            demand[claim.class] += claim.rate(rate_per_weight);
        }
        let (flow, cut) = max_flow(&self.classes, &demand);
        let wanted: i64 = demand.iter().sum();
        // Each claim's rate is rounded to a unit.
        let rounding = i64::try_from(self.claims.len()).unwrap_or(i64::MAX);
        (wanted - flow > rounding).then(|| cut.into_iter().filter(|&class| demand[class] > 0).collect())
    }

    /// The level at which the claims of classes `full` get exactly what their pcpus give.
    fn level_for(&self, full: &[usize]) -> f64 {
        let members = || self.claims.iter().filter(|claim| full.contains(&claim.class));
        let settled: i64 = members().filter_map(|claim| claim.settled).sum();
        let mut left = to_f64(self.capacity(full)) - to_f64(settled);
        let mut rising: Vec<&Rising> = members().filter(|claim| claim.settled.is_none()).collect();
        rising.sort_by(|a, b| (to_f64(a.limit) / a.weight).total_cmp(&(to_f64(b.limit) / b.weight)));
        // Summed from the end, since a small weight would drown in what remains of a large sum.
        let mut weight = 0.0;
        let weights = rising.iter().rev().map(|claim| {
            weight += claim.weight;
            weight
        });
        let weights: Vec<f64> = weights.collect();
        for (claim, weight) in rising.into_iter().zip(weights.into_iter().rev()) {
            let level = left / weight;
            if level * claim.weight <= to_f64(claim.limit) {
                return level.max(0.0);
            }
            left -= to_f64(claim.limit);
        }
        0.0
    }

    fn capacity(&self, classes: &[usize]) -> i64 {
        let mut pcpus: Vec<usize> = classes.iter().flat_map(|&class| self.classes[class].clone()).collect();
        pcpus.sort_unstable();
        pcpus.dedup();
        to_units(UNIT) * i64::try_from(pcpus.len()).unwrap_or(0)
    }

    /// What cannot rise above `level` stays there.
    fn settle(&mut self, level: &Level) {
        for claim in self.claims.iter_mut().filter(|claim| claim.settled.is_none()) {
            let rate = claim.rate(level.rate_per_weight);
            if rate == claim.limit || level.full.contains(&claim.class) {
                claim.settled = Some(rate);
            }
        }
    }
}

/// The maximum flow from classes to pcpus, and the classes on the source's side of a minimum cut.
fn max_flow(classes: &[Vec<usize>], demand: &[i64]) -> (i64, Vec<usize>) {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    enum Node {
        Source,
        Class(usize),
        Pcpu(usize),
        Sink,
    }
    let mut pcpus: Vec<usize> = classes.iter().flatten().copied().collect();
    pcpus.sort_unstable();
    pcpus.dedup();
    let one = to_units(UNIT);
    let sources = demand.iter().enumerate().map(|(class, &want)| ((Node::Source, Node::Class(class)), want));
    let between = classes.iter().enumerate().flat_map(|(class, pcpus)| {
        pcpus.iter().map(move |&pcpu| ((Node::Class(class), Node::Pcpu(pcpu)), one))
    });
    let sinks = pcpus.iter().map(|&pcpu| ((Node::Pcpu(pcpu), Node::Sink), one));
    let mut nodes = vec![Node::Source, Node::Sink];
    nodes.extend((0..classes.len()).map(Node::Class));
    nodes.extend(pcpus.iter().map(|&pcpu| Node::Pcpu(pcpu)));
    let edges = sources.chain(between).chain(sinks).filter(|&(_, capacity)| capacity > 0);
    let (_, flow, cut) = edmonds_karp_sparse(&nodes, &Node::Source, &Node::Sink, edges);
    let is_cut = |class: usize| cut.iter().any(|&(edge, _)| edge == (Node::Source, Node::Class(class)));
    (flow, (0..classes.len()).filter(|&class| !is_cut(class)).collect())
}

#[expect(clippy::cast_possible_truncation, reason = "rates are far below 2^63 units")]
fn to_units(value: f64) -> i64 {
    value as i64
}

#[expect(clippy::cast_precision_loss, reason = "sums of rates are below 2^53 units")]
fn to_f64(units: i64) -> f64 {
    units as f64
}
