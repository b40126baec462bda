//! `\_S5_`: the sleep type of soft-off, found in AML without interpreting it.
//!
//! Firmware writes the object as `Name (\_S5, Package () { a, b, ... })`, a form
//! that can be told from the bytes (ACPI 6.5, chapter 20, "ACPI Machine Language"):
//!
//! ```text
//!  08  [5C]  5F 53 35 5F  12  PkgLength  NumElements  a  b ...
//!  NameOp    "_S5_"       PackageOp
//! ```

const ROOT_CHAR: u8 = b'\\';
const NAME_OP: u8 = 0x08;
const PACKAGE_OP: u8 = 0x12;
const NAME: &[u8; 4] = b"_S5_";

/// The values for SLP_TYP in the PM1a and PM1b control registers, below 8.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SleepTypes {
    /// For the PM1a control register.
    pub a: u8,
    /// For the PM1b control register, if there is one.
    pub b: u8,
}

impl SleepTypes {
    /// The values in the first readable `_S5_` package of `aml`.
    pub(super) fn soft_off(aml: &[u8]) -> Option<Self> {
        let candidates = aml.windows(NAME.len()).enumerate().filter(|(_, window)| window == NAME);
        candidates.filter_map(|(at, _)| aml.split_at_checked(at)).find_map(|(before, name)| {
            let after = name.get(NAME.len()..)?;
            is_named(before).then(|| package(after)).flatten()
        })
    }
}

/// Whether a NameOp introduces what follows `before`.
fn is_named(before: &[u8]) -> bool {
    matches!(before, [.., NAME_OP] | [.., NAME_OP, ROOT_CHAR])
}

fn package(aml: &[u8]) -> Option<SleepTypes> {
    let (&PACKAGE_OP, rest) = aml.split_first()? else { return None };
    let (&elements, rest) = package_contents(rest)?.split_first()?;
    let (a, rest) = integer(rest)?;
    match elements {
        0 => None,
        // The two values in one integer: a form in the field that ACPICA reads so.
        1 => Some(SleepTypes { a: sleep_type(a), b: sleep_type(a >> 8) }),
        _ => integer(rest).map(|(b, _)| SleepTypes { a: sleep_type(a), b: sleep_type(b) }),
    }
}

/// SLP_TYP has three bits ("PM1 Control Registers").
const fn sleep_type(value: u64) -> u8 {
    (value & 7) as u8
}

/// What a PkgLength covers, the length itself taken off.
///
/// "Package Length Encoding": bits 7:6 of the first byte count the bytes that
/// follow; alone it holds six bits of length, else four, the low ones.
fn package_contents(aml: &[u8]) -> Option<&[u8]> {
    let &first = aml.first()?;
    let more = usize::from(first >> 6);
    let high =
        aml.get(1..1 + more)?.iter().rev().fold(0_usize, |value, &byte| value << 8 | usize::from(byte));
    let len = if more == 0 { usize::from(first & 0x3f) } else { high << 4 | usize::from(first & 0xf) };
    aml.get(1 + more..len)
}

/// A constant (ZeroOp, OneOp, OnesOp or a prefixed one), and what follows it.
fn integer(aml: &[u8]) -> Option<(u64, &[u8])> {
    let (&op, rest) = aml.split_first()?;
    let size = match op {
        0x00 => return Some((0, rest)),
        0x01 => return Some((1, rest)),
        0xff => return Some((u64::MAX, rest)),
        0x0a => 1,
        0x0b => 2,
        0x0c => 4,
        0x0e => 8,
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(size)?;
    Some((value.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)), rest))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::super::testing::config;
    use super::*;

    fn soft_off(parts: &[&[u8]]) -> Option<(u8, u8)> {
        SleepTypes::soft_off(&parts.concat()).map(|types| (types.a, types.b))
    }

    #[test]
    fn the_package_of_bochs_and_qemu_is_read() {
        assert_eq!(soft_off(&[b"\x10\x20...\x08_S5_", &[0x12, 6, 4, 0, 0, 0, 0]]), Some((0, 0)));
    }

    #[test]
    fn every_form_of_constant_is_read() {
        let five_and = |constant: &[u8]| {
            let len = u8::try_from(4 + constant.len()).unwrap();
            soft_off(&[b"\x08\\_S5_", &[0x12, len, 2, 0x0a, 5], constant])
        };
        assert_eq!(five_and(&[0x00]), Some((5, 0)));
        assert_eq!(five_and(&[0x01]), Some((5, 1)));
        assert_eq!(five_and(&[0xff]), Some((5, 7)));
        assert_eq!(five_and(&[0x0b, 3, 0]), Some((5, 3)));
        assert_eq!(five_and(&[0x0c, 4, 0, 0, 0]), Some((5, 4)));
        assert_eq!(five_and(&[0x0e, 6, 0, 0, 0, 0, 0, 0, 0]), Some((5, 6)));
        assert_eq!(five_and(&[0x0d, b'5', 0]), None);
    }

    #[test]
    fn one_element_holds_both_values() {
        assert_eq!(soft_off(&[b"\x08_S5_", &[0x12, 5, 1, 0x0b, 0x02, 0x05]]), Some((2, 5)));
    }

    #[test]
    fn package_lengths_of_several_bytes_are_read() {
        let elements: &[u8] = &[2, 0x0a, 7, 0x0a, 6];
        for length in [&[0x47, 0x00][..], &[0x88, 0x00, 0x00], &[0xc9, 0x00, 0x00, 0x00]] {
            assert_eq!(soft_off(&[b"\x08_S5_", &[0x12], length, elements]), Some((7, 6)), "{length:x?}");
        }
        // 0x105 bytes, most of them further elements.
        let long = soft_off(&[b"\x08_S5_", &[0x12, 0x45, 0x10], elements, &[0; 0x100]]);
        assert_eq!(long, Some((7, 6)));
    }

    #[test]
    fn what_only_looks_like_it_is_passed_over() {
        let good: &[u8] = &[0x08, b'_', b'S', b'5', b'_', 0x12, 6, 2, 0x0a, 3, 0x0a, 2];
        for decoy in [
            &b"_S5_"[..],
            b"\x08_S5_",
            b"\x08_S5_\x12",
            b"\x08_S5_\x12\x03\x00",
            b"\x08_S5_\x12\x05\x02\x70\x60",
            b"\x0d\\_S5_\x12\x06\x04\x00\x00\x00\x00",
            b"\x08_S5_\x14\x06\x04\x00\x00\x00\x00",
        ] {
            assert_eq!(soft_off(&[decoy]), None, "{decoy:x?}");
            assert_eq!(soft_off(&[decoy, good]), Some((3, 2)), "{decoy:x?}");
        }
    }

    #[test]
    fn a_package_that_leaves_the_table_is_refused() {
        assert_eq!(soft_off(&[b"\x08_S5_", &[0x12, 0x3f, 2, 0, 0]]), None);
        assert_eq!(soft_off(&[b"\x08_S5_", &[0x12, 0xff, 0xff, 0xff, 0xff, 2, 0, 0]]), None);
        assert_eq!(soft_off(&[b"\x08_S5_", &[0x12, 0x01, 2, 0, 0]]), None);
        assert_eq!(soft_off(&[b"\x08_S5_", &[0x12, 0x00, 2, 0, 0]]), None);
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn any_aml_is_survived(
            parts in prop::collection::vec(
                prop_oneof![
                    Just(b"\x08_S5_\x12".to_vec()),
                    Just(b"\x08\\_S5_\x12".to_vec()),
                    prop::collection::vec(any::<u8>(), 0..12),
                ],
                0..8,
            ),
        ) {
            let aml: Vec<u8> = parts.concat();
            if let Some(types) = SleepTypes::soft_off(&aml) {
                prop_assert!(types.a < 8 && types.b < 8);
            }
        }
    }
}
