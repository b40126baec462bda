//! General-purpose registers of a vcpu, by the numbers that instructions and exits use.

/// A general-purpose register, numbered as in instruction encodings (SDM "Register
/// Operand Fields") and in exit qualifications.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Gpr {
    /// RAX.
    Rax,
    /// RCX.
    Rcx,
    /// RDX.
    Rdx,
    /// RBX.
    Rbx,
    /// RSP.
    Rsp,
    /// RBP.
    Rbp,
    /// RSI.
    Rsi,
    /// RDI.
    Rdi,
    /// R8.
    R8,
    /// R9.
    R9,
    /// R10.
    R10,
    /// R11.
    R11,
    /// R12.
    R12,
    /// R13.
    R13,
    /// R14.
    R14,
    /// R15.
    R15,
}

impl Gpr {
    /// All of them, in order.
    pub const ALL: [Self; 16] = [
        Self::Rax,
        Self::Rcx,
        Self::Rdx,
        Self::Rbx,
        Self::Rsp,
        Self::Rbp,
        Self::Rsi,
        Self::Rdi,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
    ];

    /// The register that the low four bits of `field` number.
    #[must_use]
    pub const fn from_field(field: u64) -> Self {
        Self::ALL[(field & 0xf) as usize]
    }

    /// The number.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The values of all sixteen, in the order of their numbers: assembly finds
/// register n at byte 8 n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Gprs([u64; 16]);

impl Gprs {
    /// All zero.
    pub const ZERO: Self = Self([0; 16]);

    /// The value of `register`.
    #[must_use]
    pub const fn get(&self, register: Gpr) -> u64 {
        self.0[register.index()]
    }

    /// Gives `register` a value.
    pub const fn set(&mut self, register: Gpr, value: u64) {
        self.0[register.index()] = value;
    }

    /// The low half, as instructions with 32-bit operands read it.
    #[must_use]
    pub const fn get_32(&self, register: Gpr) -> u32 {
        (self.get(register) & 0xffff_ffff) as u32
    }

    /// Writes as an instruction with a 32-bit operand does: the high half becomes 0
    /// (SDM "General-Purpose Registers in 64-Bit Mode").
    pub const fn set_32(&mut self, register: Gpr, value: u32) {
        self.set(register, value as u64);
    }

    /// EDX:EAX, as RDMSR, WRMSR, RDTSC and XSETBV use it.
    #[must_use]
    pub const fn edx_eax(&self) -> u64 {
        (self.get_32(Gpr::Rdx) as u64) << 32 | self.get_32(Gpr::Rax) as u64
    }

    /// Gives EDX:EAX a value.
    pub const fn set_edx_eax(&mut self, value: u64) {
        self.set(Gpr::Rdx, value >> 32);
        self.set(Gpr::Rax, value & 0xffff_ffff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for (number, register) in (0..).zip(Gpr::ALL) {
            assert_eq!(Gpr::from_field(number), register);
            assert_eq!(Gpr::from_field(number | 0xff0), register);
            assert_eq!(register.index() as u64, number);
        }
    }

    #[test]
    fn halves_make_a_register_pair() {
        let mut gprs = Gprs::default();
        gprs.set(Gpr::Rax, u64::MAX);
        gprs.set_edx_eax(0x1234_5678_9abc_def0);
        assert_eq!((gprs.get(Gpr::Rdx), gprs.get(Gpr::Rax)), (0x1234_5678, 0x9abc_def0));
        gprs.set(Gpr::Rdx, 0xffff_ffff_0000_0001);
        assert_eq!(gprs.edx_eax(), 0x1_9abc_def0);
        gprs.set_32(Gpr::Rdx, 7);
        assert_eq!(gprs.get(Gpr::Rdx), 7);
    }
}
