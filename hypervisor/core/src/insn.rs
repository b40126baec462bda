//! Instructions that touch emulated devices in memory: what they do there, and what
//! their registers and flags are afterwards.
//!
//! ```text
//!  EPT violation       guest-physical address, linear address, read or write
//!      |  the caller fetches up to 15 bytes at CS:RIP
//!  decode()            Access: which way, how wide, how long
//!      |  if it reads: the device's value
//!  Access::complete()  registers, flags, what to write, whether RIP moves on
//! ```
//!
//! Key types: [`Mode`], [`Access`], [`Outcome`], [`Error`]. The exit tells the address
//! of the memory operand, so none is calculated here, except that MOVS has two:
//! [`Access::copy_addresses`]. [`crate::pt_walk`] translates addresses for the fetch.
//!
//! Covered are the instructions that read or write one general-purpose operand in
//! memory: MOV and its extending forms, arithmetic and logic, bit tests, exchanges,
//! STOS, LODS and MOVS. Others are [`Error::Unsupported`]: drivers do not use PUSH,
//! CALL, floating point or vectors on device registers.
//!
//! A device is changed under its own lock, hence each read-modify-write is atomic, with
//! a LOCK prefix or without.

mod alu;
mod decode;
mod operand;
mod string;
#[cfg(test)]
mod tests;

pub use decode::{decode, prime};
pub use operand::Size;
pub use string::{CopyAddresses, LogicalAddress, SegmentRegister};

use crate::addr::{GuestVirtAddr, PAGE_SIZE};
use crate::exit::EptAccess;
use crate::gpr::{Gpr, Gprs};
use crate::vcpu_state::AccessRights;
use alu::{Binary, BitChange, Unary};
use operand::{Register, Source};
use string::Step;

/// Bytes of the longest instruction (SDM "Instruction Format").
pub const MAX_LENGTH: usize = 15;

/// How many bytes at `rip`, a linear address, can be fetched before another page has
/// to be translated: at least 1, at most [`MAX_LENGTH`].
///
/// That is enough for most instructions; [`Error::Truncated`] asks for the rest.
#[must_use]
pub const fn first_fetch(rip: GuestVirtAddr) -> usize {
    let left = crate::addr::to_usize(PAGE_SIZE - rip.get() % PAGE_SIZE);
    if left < MAX_LENGTH { left } else { MAX_LENGTH }
}

/// Size of addresses and operands without a prefix, by the code segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// 16-bit code: real-address and virtual-8086 mode, 16-bit segments.
    Bits16,
    /// 32-bit code.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

impl Mode {
    const EFER_LMA: u64 = 1 << 10;

    /// The mode of a vcpu with these `IA32_EFER` and CS (SDM "Code-Segment Descriptors
    /// and Selectors in IA-32e Mode").
    #[must_use]
    pub const fn new(efer: u64, cs: AccessRights) -> Self {
        if efer & Self::EFER_LMA != 0 && cs.is_long() {
            Self::Bits64
        } else if cs.is_big() {
            Self::Bits32
        } else {
            Self::Bits16
        }
    }
}

/// Why an instruction is not emulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// It goes on behind the bytes given: fetch more.
    Truncated,
    /// No instruction, longer than 15 bytes, or LOCK where it is not allowed: #UD. Since
    /// a CPU does not get as far as an exit with it, the code has been changed.
    Undefined,
    /// A CPU may know it, but it is none of those that are emulated, or it has no
    /// operand in memory.
    Unsupported,
}

/// What an instruction does with the memory that it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Reads it.
    Read,
    /// Writes it.
    Write,
    /// Reads it, then writes it.
    Modify,
    /// MOVS: reads at one address and writes at another; see [`Access::copy_addresses`].
    Copy,
}

/// A decoded instruction with an operand in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    operation: Operation,
    step: Option<Step>,
    size: Size,
    length: u8,
}

/// What is done. "Memory" is the value there, as wide as [`Access::size`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    /// MOV, STOS: memory = source.
    Store(Source),
    /// MOV, LODS, MOVZX: register = memory, extended by zeros.
    Load(Register),
    /// MOVSX, MOVSXD: register = memory, extended by its sign.
    LoadSigned(Register),
    /// memory = memory op source; CMP and TEST only set flags.
    Update(Binary, Source),
    /// register = register op memory; CMP and TEST only set flags.
    Combine(Binary, Register),
    /// INC, DEC, NOT, NEG.
    Unary(Unary),
    /// XCHG.
    Exchange(Register),
    /// CMPXCHG with this source.
    CompareExchange(Register),
    /// XADD with this source.
    ExchangeAdd(Register),
    /// BT and its kin, with the number of the bit. The exit's address accounts for its
    /// high bits if it is in a register.
    Bit(BitChange, Source),
    /// MOVS.
    Copy,
}

/// What is left to do after [`Access::complete`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// To be written to the memory, [`Access::size`] wide.
    pub write: Option<u64>,
    /// RIP moves on by [`Access::length`]. Otherwise a REP prefix has more elements to
    /// do: RIP stays, and the guest comes back with the next one, after interrupts.
    pub finished: bool,
}

impl Access {
    /// Bytes of the instruction, 1 to 15.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Width of the access.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Which way data goes.
    #[must_use]
    #[inline]
    pub const fn direction(&self) -> Direction {
        match self.operation {
            Operation::Store(_) => Direction::Write,
            Operation::Load(_)
            | Operation::LoadSigned(_)
            | Operation::Combine(..)
            | Operation::Update(Binary::Cmp | Binary::Test, _)
            | Operation::Bit(BitChange::None, _) => Direction::Read,
            Operation::Update(..)
            | Operation::Unary(_)
            | Operation::Exchange(_)
            | Operation::CompareExchange(_)
            | Operation::ExchangeAdd(_)
            | Operation::Bit(..) => Direction::Modify,
            Operation::Copy => Direction::Copy,
        }
    }

    /// Whether the memory's value is needed before [`Access::complete`].
    #[must_use]
    #[inline]
    pub const fn reads(&self) -> bool {
        !matches!(self.operation, Operation::Store(_))
    }

    /// Whether this instruction can have led to `exit`. If not, another vcpu has changed
    /// the code since, and the guest has to run it again.
    ///
    /// A CPU may report a read-modify-write as a write only (SDM table "Exit
    /// Qualification for EPT Violations").
    #[must_use]
    #[inline]
    pub const fn agrees_with(&self, exit: EptAccess) -> bool {
        match self.direction() {
            Direction::Read => !exit.contains(EptAccess::WRITE),
            Direction::Write => exit.contains(EptAccess::WRITE),
            Direction::Modify | Direction::Copy => true,
        }
    }

    /// The addresses of a MOVS. The exit was at the first of them that is not memory:
    /// [`EptAccess::WRITE`] tells which. The other has to be translated before anything
    /// is read, since it may fault.
    #[must_use]
    pub fn copy_addresses(&self, gprs: &Gprs) -> Option<CopyAddresses> {
        match (self.operation, self.step) {
            (Operation::Copy, Some(step)) => Some(step.copy_addresses(gprs)),
            _ => None,
        }
    }

    /// Does the instruction, or one element of it if it has a REP prefix: gives
    /// registers and flags their new values. `read` is what the memory held; it counts
    /// if [`Access::reads`].
    #[must_use]
    #[inline]
    pub fn complete(&self, gprs: &mut Gprs, rflags: &mut u64, read: u64) -> Outcome {
        let Some(step) = self.step else {
            return Outcome { write: self.operate(gprs, rflags, read), finished: true };
        };
        // A count of 0 does not exit; the code was another then.
        if step.is_exhausted(gprs) {
            return Outcome { write: None, finished: true };
        }
        let write = self.operate(gprs, rflags, read);
        Outcome { write, finished: step.advance(gprs, *rflags, self.size) }
    }

    fn operate(&self, gprs: &mut Gprs, rflags: &mut u64, read: u64) -> Option<u64> {
        let size = self.size;
        let read = read & size.mask();
        match self.operation {
            Operation::Store(source) => Some(source.value(gprs, size)),
            Operation::Load(to) => {
                to.write(gprs, read);
                None
            }
            Operation::LoadSigned(to) => {
                to.write(gprs, size.sign_extend(read));
                None
            }
            Operation::Update(op, source) => op.apply(read, source.value(gprs, size), size, rflags),
            Operation::Combine(op, register) => {
                if let Some(result) = op.apply(register.read(gprs), read, size, rflags) {
                    register.write(gprs, result);
                }
                None
            }
            Operation::Unary(op) => Some(op.apply(read, size, rflags)),
            Operation::Exchange(register) => {
                let write = register.read(gprs);
                register.write(gprs, read);
                Some(write)
            }
            Operation::CompareExchange(source) => Some(compare_exchange(gprs, rflags, read, source, size)),
            Operation::ExchangeAdd(source) => {
                let sum = Binary::Add.apply(read, source.read(gprs), size, rflags);
                source.write(gprs, read);
                sum
            }
            Operation::Bit(change, index) => change.apply(read, index.value(gprs, size), size, rflags),
            Operation::Copy => Some(read),
        }
    }
}

/// SDM "CMPXCHG": memory is written in any case, with its old value if it differs.
fn compare_exchange(gprs: &mut Gprs, rflags: &mut u64, read: u64, source: Register, size: Size) -> u64 {
    let accumulator = Register::low(Gpr::Rax, size);
    let expected = accumulator.read(gprs);
    let _ = Binary::Cmp.apply(expected, read, size, rflags);
    if expected == read {
        source.read(gprs)
    } else {
        accumulator.write(gprs, read);
        read
    }
}
