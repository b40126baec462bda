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
