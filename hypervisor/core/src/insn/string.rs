//! String instructions: their addresses, and how they go on to the next element (SDM
//! "String Operations", "REP/REPE/REPZ/REPNE/REPNZ").

use super::Mode;
use super::operand::{Register, Size};
use crate::gpr::{Gpr, Gprs};

const RFLAGS_DF: u64 = 1 << 10;

/// A segment register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentRegister {
    /// ES.
    Es,
    /// CS.
    Cs,
    /// SS.
    Ss,
    /// DS.
    Ds,
    /// FS.
    Fs,
    /// GS.
    Gs,
}

/// An address before segmentation (SDM "Logical Address to Linear Address Translation").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogicalAddress {
    /// The segment; its limit and rights are not looked at.
    pub segment: SegmentRegister,
    /// The offset in it.
    pub offset: u64,
}

impl LogicalAddress {
    /// The linear address, if `base` is that of the segment. In 64-bit mode only FS and
    /// GS have one (SDM "Segmentation in IA-32e Mode"), else it has 32 bits.
    #[must_use]
    pub const fn linear(self, base: u64, mode: Mode) -> u64 {
        match (mode, self.segment) {
            (Mode::Bits16 | Mode::Bits32, _) => self.offset.wrapping_add(base) & 0xffff_ffff,
            (Mode::Bits64, SegmentRegister::Fs | SegmentRegister::Gs) => self.offset.wrapping_add(base),
            (Mode::Bits64, _) => self.offset,
        }
    }
}

/// The operands of a MOVS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyAddresses {
    /// Where it reads.
    pub source: LogicalAddress,
    /// Where it writes.
    pub destination: LogicalAddress,
}

/// What of a string instruction is the same for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// Which part of RSI, RDI and RCX counts.
    pub(super) address_size: Size,
    /// RSI advances, in this segment.
    pub(super) source: Option<SegmentRegister>,
    /// RDI advances, in ES.
    pub(super) destination: bool,
    /// RCX counts.
    pub(super) repeat: bool,
}

impl Step {
    /// Both addresses.
    pub(super) fn copy_addresses(self, gprs: &Gprs) -> CopyAddresses {
        let at = |segment, gpr| LogicalAddress { segment, offset: self.register(gpr).read(gprs) };
        CopyAddresses {
            source: at(self.source.unwrap_or(SegmentRegister::Ds), Gpr::Rsi),
            destination: at(SegmentRegister::Es, Gpr::Rdi),
        }
    }

    /// Whether no element is left.
    pub(super) const fn is_exhausted(self, gprs: &Gprs) -> bool {
        self.repeat && self.register(Gpr::Rcx).read(gprs) == 0
    }

    /// Goes on by one element; answers whether that was the last.
    pub(super) fn advance(self, gprs: &mut Gprs, rflags: u64, element: Size) -> bool {
        let bytes = u64::from(element.bytes());
        let stride = if rflags & RFLAGS_DF != 0 { bytes.wrapping_neg() } else { bytes };
        if self.source.is_some() {
            self.add(gprs, Gpr::Rsi, stride);
        }
        if self.destination {
            self.add(gprs, Gpr::Rdi, stride);
        }
        if self.repeat {
            self.add(gprs, Gpr::Rcx, u64::MAX);
        }
        !self.repeat || self.is_exhausted(gprs)
    }

    fn add(self, gprs: &mut Gprs, gpr: Gpr, addend: u64) {
        let register = self.register(gpr);
        register.write(gprs, register.read(gprs).wrapping_add(addend));
    }

    const fn register(self, gpr: Gpr) -> Register {
        Register::low(gpr, self.address_size)
    }
}
