//! "Did you mean": the known name that is nearest to one that is not known.

use alloc::vec::Vec;

/// Longest name that is looked at: longer ones are no misspelling.
const LONGEST: usize = 40;

/// The candidate that `name` becomes by the fewest changes, if they are few for its length.
pub fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > LONGEST {
        return None;
    }
    let few = (name.len() / 3).max(1);
    let distances = candidates.map(|candidate| (distance(name, candidate), candidate));
    distances.filter(|&(distance, _)| distance <= few).min().map(|(_, candidate)| candidate)
}

/// Bytes to insert, delete or replace (Levenshtein's distance).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        // `diagonal` is the distance of both without their last bytes.
        let (mut diagonal, mut left) = (i, i + 1);
        for (cell, b) in row.iter_mut().skip(1).zip(to.bytes()) {
            let up = *cell;
            left = (up + 1).min(left + 1).min(diagonal + usize::from(a != b));
            diagonal = up;
            *cell = left;
        }
        row.first_mut().into_iter().for_each(|first| *first = i + 1);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("flaw", "lawn"), 2);
        assert_eq!(distance("memory", "memory"), 0);
    }

    #[test]
    fn near_names() {
        let known = ["memory", "maxmem", "vcpus", "vif"];
        assert_eq!(nearest("memroy", known.into_iter()), Some("memory"));
        assert_eq!(nearest("vcpu", known.into_iter()), Some("vcpus"));
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(nearest(&"m".repeat(1000), known.into_iter()), None);
    }
}
