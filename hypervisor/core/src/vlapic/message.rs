//! Interrupt messages: what travels from an ICR or an I/O APIC to local APICs.

use crate::acpi::ApicId;

/// A vector that an APIC delivers: 16 to 255 (SDM "Valid Interrupt Vectors").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Vector(u8);

impl Vector {
    /// The vector `raw`, or `None` below 16.
    #[must_use]
    pub const fn new(raw: u8) -> Option<Self> {
        if raw >= 16 { Some(Self(raw)) } else { None }
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Priority class in bits 7:4, the rest 0 (SDM "Task and Processor Priorities").
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 & 0xf0
    }
}

/// What a message asks of its receiver (SDM "Interrupt Command Register (ICR)").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The interrupt `Message::vector`.
    Fixed,
    /// The same, at the one receiver of lowest priority.
    LowestPriority,
    /// A non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// Start-up at the page `Message::vector`.
    StartUp,
    /// An interrupt whose vector the 8259 pair tells.
    ExtInt,
}

impl Delivery {
    /// Decodes bits 10:8. SMI is refused with the reserved value: guests have no SMM.
    pub(crate) const fn from_bits(bits: u32) -> Option<Self> {
        match bits >> 8 & 7 {
            0 => Some(Self::Fixed),
            1 => Some(Self::LowestPriority),
            4 => Some(Self::Nmi),
            5 => Some(Self::Init),
            6 => Some(Self::StartUp),
            7 => Some(Self::ExtInt),
            _ => None,
        }
    }

    /// Whether the receiver puts the vector into its IRR.
    pub(crate) const fn uses_vector(self) -> bool {
        matches!(self, Self::Fixed | Self::LowestPriority)
    }
}

/// When an interrupt source asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Once, when it becomes active.
    Edge,
    /// As long as it is active: its EOI is told to the I/O APICs.
    Level,
}

impl Trigger {
    /// Decodes bit 15 of an ICR, LVT or redirection entry.
    pub(crate) const fn from_bits(bits: u32) -> Self {
        if bits & 1 << 15 != 0 { Self::Level } else { Self::Edge }
    }
}

/// Whom a message is for. Ask each receiver (`Vlapic::matches`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// All local APICs.
    All,
    /// All but the sender.
    AllBut(ApicId),
    /// The one of this identifier.
    Physical(ApicId),
    /// Those that have a bit of the set in their logical address.
    Logical(u32),
}

impl Destination {
    /// From the 8-bit field of an xAPIC's ICR or an I/O APIC's entry.
    ///
    /// All ones are a broadcast in either mode (SDM "Broadcast/Self Delivery Mode").
    #[must_use]
    pub const fn from_xapic(field: u8, logical: bool) -> Self {
        match field {
            0xff => Self::All,
            set if logical => Self::Logical(set as u32),
            id => Self::Physical(ApicId::new(id as u32)),
        }
    }

    /// From the 32-bit field of an x2APIC's ICR.
    #[must_use]
    pub const fn from_x2apic(field: u32, logical: bool) -> Self {
        match field {
            u32::MAX => Self::All,
            set if logical => Self::Logical(set),
            id => Self::Physical(ApicId::new(id)),
        }
    }
}

/// An interrupt message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Whom it is for. With `LowestPriority`, one of them.
    pub destination: Destination,
    /// What it asks for.
    pub delivery: Delivery,
    /// The vector, or the start-up page; not yet checked.
    pub vector: u8,
    /// Edge or level.
    pub trigger: Trigger,
}
