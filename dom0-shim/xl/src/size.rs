//! Sizes of memory as `xl` takes them, and as `virsh` does.

use alloc::format;

use crate::problem::{Outcome, Problem};

/// KiB in a MiB.
const MIB: u64 = 1024;

/// A size of `xl mem-set`: a number with `b`, `k`, `m`, `g` or `t`; MiB without. KiB.
pub(crate) fn xl(word: &str) -> Outcome<u64> {
    whole_mib(word, 'm')
}

/// A size of `virsh setmem`: KiB without a letter. KiB.
pub(crate) fn virsh(word: &str) -> Outcome<u64> {
    whole_mib(word, 'k')
}

/// Memory comes in whole MiB (T-48).
fn whole_mib(word: &str, unit: char) -> Outcome<u64> {
    let kib = kib(word, unit).ok_or_else(|| {
        Problem::Failed(format!("invalid memory size: {word} (a number, with b, k, m, g or t behind it)"))
    })?;
    if kib == 0 || !kib.is_multiple_of(MIB) {
        return Err(Problem::Failed(format!("invalid memory size: {word} is not one or more whole MiB")));
    }
    Ok(kib)
}

fn kib(word: &str, unit: char) -> Option<u64> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match word.get(digits.len()..)? {
        "" => unit,
        letter => letter.parse::<char>().ok()?.to_ascii_lowercase(),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'b' => number.is_multiple_of(1024).then_some(number / 1024),
        'k' => Some(number),
        'm' => number.checked_mul(MIB),
        'g' => number.checked_mul(MIB << 10),
        't' => number.checked_mul(MIB << 20),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_units() {
        for (word, expected) in [
            ("64", 65536),
            ("64m", 65536),
            ("65536K", 65536),
            ("67108864b", 65536),
            ("2g", 2 << 20),
            ("1T", 1 << 30),
        ] {
            assert_eq!(xl(word), Ok(expected), "{word}");
        }
    }

    /// T-43.
    #[test]
    fn virsh_counts_in_kib() {
        assert_eq!(virsh("1048576"), Ok(1 << 20));
        assert_eq!(virsh("1g"), Ok(1 << 20));
    }

    /// T-48.
    #[test]
    fn only_whole_mib() {
        for word in ["0", "100k", "1048577b", "1000b"] {
            assert!(xl(word).is_err(), "{word}");
        }
        assert!(virsh("1000").is_err());
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for word in [
            "",
            "m",
            "-1",
            "+1",
            "1.5g",
            "1mb",
            "1x",
            "0x10",
            "99999999999999999999",
            "18446744073709551615t",
            "1é",
        ] {
            assert!(xl(word).is_err(), "{word}");
        }
    }
}
