//! Arithmetic, logic and bit tests with their flags (SDM "EFLAGS Cross-Reference").
//!
//! Operands come without bits above their size, results go so. Flags that the SDM
//! leaves undefined are cleared by logic (AF) and kept by bit tests, as CPUs do.

use super::operand::Size;

/// SDM "Status Flags", in RFLAGS.
pub(super) const CF: u64 = 1 << 0;
pub(super) const PF: u64 = 1 << 2;
pub(super) const AF: u64 = 1 << 4;
pub(super) const ZF: u64 = 1 << 6;
pub(super) const SF: u64 = 1 << 7;
pub(super) const OF: u64 = 1 << 11;
pub(super) const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// An operation with two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binary {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    /// SUB without the result.
    Cmp,
    /// AND without the result.
    Test,
}

impl Binary {
    /// Sets the flags; `None` if there is no result but them.
    pub(super) fn apply(self, left: u64, right: u64, size: Size, rflags: &mut u64) -> Option<u64> {
        let carry = *rflags & CF;
        let (result, status) = match self {
            Self::Add => add(left, right, 0, size),
            Self::Adc => add(left, right, carry, size),
            Self::Sub | Self::Cmp => sub(left, right, 0, size),
            Self::Sbb => sub(left, right, carry, size),
            Self::And | Self::Test => logic(left & right, size),
            Self::Or => logic(left | right, size),
            Self::Xor => logic(left ^ right, size),
        };
        *rflags = *rflags & !STATUS | status;
        if matches!(self, Self::Cmp | Self::Test) { None } else { Some(result) }
    }
}

/// An operation with one operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unary {
    Inc,
    Dec,
    Not,
    Neg,
}

impl Unary {
    /// INC and DEC leave CF alone, NOT all flags.
    pub(super) fn apply(self, value: u64, size: Size, rflags: &mut u64) -> u64 {
        let ((result, status), set) = match self {
            Self::Inc => (add(value, 1, 0, size), STATUS & !CF),
            Self::Dec => (sub(value, 1, 0, size), STATUS & !CF),
            Self::Not => ((!value & size.mask(), 0), 0),
            Self::Neg => (sub(0, value, 0, size), STATUS),
        };
        *rflags = *rflags & !set | status & set;
        result
    }
}

/// What a bit test does with the bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BitChange {
    /// BT.
    None,
    /// BTS.
    Set,
    /// BTR.
    Reset,
    /// BTC.
    Complement,
}

impl BitChange {
    /// CF becomes the bit numbered `index`, modulo the width; `None` for BT.
    pub(super) const fn apply(self, value: u64, index: u64, size: Size, rflags: &mut u64) -> Option<u64> {
        let bit = 1 << (index & (size.bits() as u64 - 1));
        *rflags = *rflags & !CF | (value & bit != 0) as u64;
        match self {
            Self::None => None,
            Self::Set => Some(value | bit),
            Self::Reset => Some(value & !bit),
            Self::Complement => Some(value ^ bit),
        }
    }
}

/// The sum and its flags.
const fn add(left: u64, right: u64, carry: u64, size: Size) -> (u64, u64) {
    let sum = left.wrapping_add(right).wrapping_add(carry) & size.mask();
    let carries = left & right | (left | right) & !sum;
    (sum, arithmetic_status(carries, sum, size))
}

/// The difference and its flags.
const fn sub(left: u64, right: u64, borrow: u64, size: Size) -> (u64, u64) {
    let difference = left.wrapping_sub(right).wrapping_sub(borrow) & size.mask();
    let borrows = !left & right | (!left | right) & difference;
    (difference, arithmetic_status(borrows, difference, size))
}

const fn logic(result: u64, size: Size) -> (u64, u64) {
    (result, result_status(result, size))
}

/// `carries` has the carry, or borrow, out of each bit: out of the topmost it is CF, out
/// of bit 3 AF; OF says that those into and out of the topmost differ.
const fn arithmetic_status(carries: u64, result: u64, size: Size) -> u64 {
    let out = carries & size.sign() != 0;
    let into = carries << 1 & size.sign() != 0;
    let carry = if out { CF } else { 0 };
    let overflow = if out != into { OF } else { 0 };
    carry | overflow | carries << 1 & AF | result_status(result, size)
}

const fn result_status(result: u64, size: Size) -> u64 {
    let parity = if (result & 0xff).count_ones().is_multiple_of(2) { PF } else { 0 };
    let zero = if result == 0 { ZF } else { 0 };
    let sign = if result & size.sign() != 0 { SF } else { 0 };
    parity | zero | sign
}
