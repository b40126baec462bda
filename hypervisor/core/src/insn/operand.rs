//! Operands that are not in memory: parts of registers, and immediate values.

use crate::gpr::{Gpr, Gprs};

/// Width of an operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Size {
    /// One byte.
    Byte = 1,
    /// Two bytes.
    Word = 2,
    /// Four bytes.
    Dword = 4,
    /// Eight bytes.
    Qword = 8,
}

impl Size {
    /// Number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        self as u8
    }

    /// Number of bits.
    pub(super) const fn bits(self) -> u32 {
        self as u32 * 8
    }

    /// The bits of a 64-bit value that an operand of this width has.
    #[must_use]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The topmost of them.
    pub(super) const fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// `value`, of this width, with its sign bit copied to all bits above.
    pub(super) const fn sign_extend(self, value: u64) -> u64 {
        (value ^ self.sign()).wrapping_sub(self.sign())
    }
}

/// A general-purpose register, or the part of one that an operand names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Register {
    gpr: Gpr,
    size: Size,
    /// AH, CH, DH or BH.
    high: bool,
}

impl Register {
    /// The low bytes of `gpr`.
    pub(super) const fn low(gpr: Gpr, size: Size) -> Self {
        Self { gpr, size, high: false }
    }

    /// The second byte of `gpr`.
    pub(super) const fn high(gpr: Gpr) -> Self {
        Self { gpr, size: Size::Byte, high: true }
    }

    /// Its value, the bits above zero.
    pub(super) const fn read(self, gprs: &Gprs) -> u64 {
        gprs.get(self.gpr) >> self.shift() & self.size.mask()
    }

    /// Gives it the low bits of `value`. The rest of the register stays with 8 and 16
    /// bits, and becomes 0 with 32 (SDM "General-Purpose Registers in 64-Bit Mode").
    pub(super) const fn write(self, gprs: &mut Gprs, value: u64) {
        let mask = self.size.mask();
        let rest = match self.size {
            Size::Byte | Size::Word => gprs.get(self.gpr) & !(mask << self.shift()),
            Size::Dword | Size::Qword => 0,
        };
        gprs.set(self.gpr, rest | (value & mask) << self.shift());
    }

    const fn shift(self) -> u32 {
        if self.high { 8 } else { 0 }
    }
}

/// The operand beside the one in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Register(Register),
    /// Of up to 32 bits, as the instruction carries it: extended by its sign to 64.
    Immediate(u32),
}

impl Source {
    /// Its value, the bits above `size` zero.
    #[inline]
    pub(super) const fn value(self, gprs: &Gprs, size: Size) -> u64 {
        match self {
            Self::Register(register) => register.read(gprs),
            Self::Immediate(value) => Size::Dword.sign_extend(value as u64) & size.mask(),
        }
    }
}
