//! Which register may be read and written in which mode, and its defined bits
//! (SDM "Local APIC Register Address Map" and "x2APIC Register Address Space").

use super::page::Reg;

/// How a register may be accessed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    None,
    Read,
    Write,
    ReadWrite,
}

/// What holds for one register.
pub(super) struct Rule {
    xapic: Access,
    x2apic: Access,
    /// Bits that software can set.
    writable: u32,
    /// Bits that are ignored when written although they are defined.
    read_only: u32,
}

impl Rule {
    pub(super) fn readable(&self, x2apic: bool) -> bool {
        matches!(self.access(x2apic), Access::Read | Access::ReadWrite)
    }

    fn writable(&self, x2apic: bool) -> bool {
        matches!(self.access(x2apic), Access::Write | Access::ReadWrite)
    }

    const fn access(&self, x2apic: bool) -> Access {
        if x2apic { self.x2apic } else { self.xapic }
    }

    /// Whether the register is in the xAPIC's page at all.
    pub(super) fn in_xapic(&self) -> bool {
        self.xapic != Access::None
    }

    /// What a store of `value` leaves in the xAPIC register: reserved bits are
    /// dropped. `None` if the register cannot be written.
    pub(super) fn clean(&self, value: u32) -> Option<u32> {
        self.writable(false).then_some(value & self.writable)
    }

    /// What WRMSR of `value` leaves: `None` (#GP) where reserved bits are set
    /// or the register cannot be written.
    pub(super) fn check(&self, value: u32) -> Option<u32> {
        let clean = value & !(self.writable | self.read_only) == 0;
        (self.writable(true) && clean).then_some(value & self.writable)
    }
}

const VECTOR: u32 = 0xff;
const DELIVERY_MODE: u32 = 7 << 8;
/// Delivery status, always idle here.
const STATUS: u32 = 1 << 12;
const REMOTE_IRR: u32 = 1 << 14;
const MASK: u32 = 1 << 16;
const TIMER_MODE: u32 = 3 << 17;
/// Polarity and trigger mode.
const PIN: u32 = 1 << 13 | 1 << 15;
/// Vector, mode, destination mode, level, trigger, shorthand.
const ICR: u32 = VECTOR | DELIVERY_MODE | 1 << 11 | 1 << 14 | 1 << 15 | 3 << 18;
/// Vector, enable, focus checking, suppression of EOI broadcasts.
const SVR: u32 = VECTOR | 1 << 8 | 1 << 9 | 1 << 12;

pub(super) fn rule(reg: Reg) -> Rule {
    use Access::{None, Read, ReadWrite, Write};
    let rule = |xapic, x2apic, writable, read_only| -> Rule { Rule { xapic, x2apic, writable, read_only } };
    match reg {
        // Changing the xAPIC's identifier is model-specific; here it stays.
        Reg::ID | Reg::VERSION | Reg::PPR | Reg::TIMER_CURRENT => rule(Read, Read, 0, 0),
        Reg::TPR => rule(ReadWrite, ReadWrite, 0xff, 0),
        // The xAPIC takes any value, the x2APIC only 0.
        Reg::EOI => rule(Write, Write, 0, 0),
        Reg::LDR => rule(ReadWrite, Read, 0xff00_0000, 0),
        Reg::DFR => rule(ReadWrite, None, 0xf000_0000, 0),
        Reg::SVR => rule(ReadWrite, ReadWrite, SVR, 0),
        reg if (Reg::ISR..Reg::IRR_END).contains(&reg) => rule(Read, Read, 0, 0),
        Reg::ESR => rule(ReadWrite, ReadWrite, 0, 0),
        Reg::ICR_LOW => rule(ReadWrite, ReadWrite, ICR, 0),
        Reg::ICR_HIGH => rule(ReadWrite, None, 0xff00_0000, 0),
        Reg::LVT_TIMER => rule(ReadWrite, ReadWrite, VECTOR | MASK | TIMER_MODE, STATUS),
        Reg::LVT_THERMAL | Reg::LVT_PERFORMANCE => {
            rule(ReadWrite, ReadWrite, VECTOR | DELIVERY_MODE | MASK, STATUS)
        }
        Reg::LVT_LINT0 | Reg::LVT_LINT1 => {
            rule(ReadWrite, ReadWrite, VECTOR | DELIVERY_MODE | PIN | MASK, STATUS | REMOTE_IRR)
        }
        Reg::LVT_ERROR => rule(ReadWrite, ReadWrite, VECTOR | MASK, STATUS),
        Reg::TIMER_INITIAL => rule(ReadWrite, ReadWrite, u32::MAX, 0),
        Reg::TIMER_DIVIDE => rule(ReadWrite, ReadWrite, 0b1011, 0),
        Reg::SELF_IPI => rule(None, Write, VECTOR, 0),
        _ => rule(None, None, 0, 0),
    }
}
