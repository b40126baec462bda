//! Memory-type range registers as storage (SDM "Memory Type Range Registers (MTRRs)").
//!
//! What they say has no effect: memory types come from EPT and the guest's PAT. A guest
//! reads back what it wrote, and what it writes must be what a CPU would take.

use crate::msr::Msr;

/// `IA32_MTRRCAP`: 8 variable ranges, fixed ranges, write-combining.
pub const MTRRCAP: u64 = VARIABLE as u64 | 1 << 8 | 1 << 10;

const VARIABLE: usize = 8;
const FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
const FIRST_VARIABLE: u32 = 0x200;

/// Type write-back, MTRRs enabled: all memory, as Xen's `docs/misc/pvh` promises.
const DEFAULT_TYPE: u64 = 6 | 1 << 11;
/// Type, fixed-range enable, enable.
const DEFAULT_TYPE_DEFINED: u64 = 0xff | 1 << 10 | 1 << 11;
const MASK_VALID: u64 = 1 << 11;

/// The CPU would not take this value: #GP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidMtrr;

/// The MTRRs of a vcpu.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mtrrs {
    /// Base and mask of each range in turn.
    variable: [u64; 2 * VARIABLE],
    fixed: [u64; FIXED.len()],
    default_type: u64,
}

impl Default for Mtrrs {
    fn default() -> Self {
        Self { variable: [0; 2 * VARIABLE], fixed: [0; FIXED.len()], default_type: DEFAULT_TYPE }
    }
}

#[derive(Clone, Copy)]
enum Register {
    Base(usize),
    Mask(usize),
    Fixed(usize),
    DefaultType,
}

fn register(msr: Msr) -> Option<Register> {
    if msr == Msr::IA32_MTRR_DEF_TYPE {
        return Some(Register::DefaultType);
    }
    if let Some(index) = FIXED.iter().position(|&fixed| fixed == msr.get()) {
        return Some(Register::Fixed(index));
    }
    let index = msr.get().checked_sub(FIRST_VARIABLE)? as usize;
    match index {
        _ if index >= 2 * VARIABLE => None,
        _ if index.is_multiple_of(2) => Some(Register::Base(index)),
        _ => Some(Register::Mask(index)),
    }
}

impl Mtrrs {
    /// Value of the MTRR `msr`; `None` if it is none.
    #[must_use]
    pub fn read(&self, msr: Msr) -> Option<u64> {
        match register(msr)? {
            Register::Base(index) | Register::Mask(index) => self.variable.get(index).copied(),
            Register::Fixed(index) => self.fixed.get(index).copied(),
            Register::DefaultType => Some(self.default_type),
        }
    }

    /// Writes the MTRR `msr` of a guest whose physical addresses have `phys_bits`.
    ///
    /// # Errors
    /// [`InvalidMtrr`] for reserved bits, reserved types and other registers.
    pub fn write(&mut self, msr: Msr, value: u64, phys_bits: u8) -> Result<(), InvalidMtrr> {
        let register = register(msr).ok_or(InvalidMtrr)?;
        let too_wide = value.checked_shr(phys_bits.into()).unwrap_or(0) != 0;
        let types = value.to_le_bytes();
        let valid = match register {
            Register::Base(_) => !too_wide && value & 0xf00 == 0 && is_memory_type(types[0]),
            Register::Mask(_) => !too_wide && value & 0xfff & !MASK_VALID == 0,
            Register::Fixed(_) => types.into_iter().all(is_memory_type),
            Register::DefaultType => value & !DEFAULT_TYPE_DEFINED == 0 && is_memory_type(types[0]),
        };
        if !valid {
            return Err(InvalidMtrr);
        }
        let place = match register {
            Register::Base(index) | Register::Mask(index) => self.variable.get_mut(index),
            Register::Fixed(index) => self.fixed.get_mut(index),
            Register::DefaultType => Some(&mut self.default_type),
        };
        place.map(|place| *place = value).ok_or(InvalidMtrr)
    }
}

/// UC, WC, WT, WP, WB (SDM "Memory Types That Can Be Encoded in MTRRs").
const fn is_memory_type(byte: u8) -> bool {
    matches!(byte, 0 | 1 | 4..=6)
}
