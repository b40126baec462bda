//! What a port is, packed in one word.
//!
//! ```text
//!   63  56 55    52 51    36 35            19 18      3 2    0
//!  |  0   |priority|  vcpu  | port or number | domain  | kind |
//! ```

use xen_abi::RawDomid;
use xen_abi::event_channel::{FIFO_PRIORITY_DEFAULT, FIFO_PRIORITY_MIN};

use super::Port;
use crate::id::DomId;

/// What a port is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// Nothing; it may be allocated.
    Free,
    /// Nothing, and it may not be allocated.
    Reserved,
    /// It waits for this domain. The number is as the guest gave it: nothing says that there is such a domain.
    Unbound(RawDomid),
    /// The other end.
    Interdomain(DomId, Port),
    /// A physical interrupt, by its number in the domain.
    Pirq(u32),
    /// A virtual interrupt.
    Virq(u32),
    /// Between vcpus of the domain.
    Ipi,
}

/// A port: what it is connected to, and where its events go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Channel {
    /// What it is connected to.
    pub binding: Binding,
    /// The vcpu that gets the upcall.
    pub vcpu: u16,
    /// The queue of the FIFO interface, up to [`FIFO_PRIORITY_MIN`].
    pub priority: u8,
}

const FREE: u64 = 0;
const RESERVED: u64 = 1;
const UNBOUND: u64 = 2;
const INTERDOMAIN: u64 = 3;
const PIRQ: u64 = 4;
const VIRQ: u64 = 5;
const IPI: u64 = 6;

const DOMAIN_SHIFT: u32 = 3;
const NUMBER_SHIFT: u32 = 19;
const NUMBER_MASK: u64 = (1 << 17) - 1;
const VCPU_SHIFT: u32 = 36;
const PRIORITY_SHIFT: u32 = 52;
#[expect(clippy::cast_possible_truncation, reason = "15")]
const PRIORITY_MASK: u8 = FIFO_PRIORITY_MIN as u8;

/// Most physical interrupts that a domain can have: what the number has room for.
pub(super) const MAX_PIRQS: u32 = 1 << 17;

impl Channel {
    /// A port that was just bound, or freed: events go to `vcpu` by the default queue.
    pub(super) const fn new(binding: Binding, vcpu: u16) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "7")]
        Self { binding, vcpu, priority: FIFO_PRIORITY_DEFAULT as u8 }
    }

    /// A free port.
    pub(super) const FREE: Self = Self::new(Binding::Free, 0);

    /// Whether guests may do anything with it.
    #[must_use]
    pub const fn is_bound(self) -> bool {
        !matches!(self.binding, Binding::Free | Binding::Reserved)
    }

    pub(super) const fn pack(self) -> u64 {
        let (kind, domain, number) = match self.binding {
            Binding::Free => (FREE, 0, 0),
            Binding::Reserved => (RESERVED, 0, 0),
            Binding::Unbound(domain) => (UNBOUND, domain, 0),
            Binding::Interdomain(domain, port) => (INTERDOMAIN, domain.get(), port.get()),
            Binding::Pirq(pirq) => (PIRQ, 0, pirq),
            Binding::Virq(virq) => (VIRQ, 0, virq),
            Binding::Ipi => (IPI, 0, 0),
        };
        kind | (domain as u64) << DOMAIN_SHIFT
            | (number as u64 & NUMBER_MASK) << NUMBER_SHIFT
            | (self.vcpu as u64) << VCPU_SHIFT
            | ((self.priority & PRIORITY_MASK) as u64) << PRIORITY_SHIFT
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields are cut to their widths")]
    pub(super) const fn unpack(word: u64) -> Self {
        let domain = (word >> DOMAIN_SHIFT) as u16;
        let number = (word >> NUMBER_SHIFT & NUMBER_MASK) as u32;
        let binding = match word & 7 {
            RESERVED => Binding::Reserved,
            UNBOUND => Binding::Unbound(domain),
            INTERDOMAIN => match (DomId::new(domain), Port::new(number)) {
                (Some(domain), Some(port)) => Binding::Interdomain(domain, port),
                _ => Binding::Free,
            },
            PIRQ => Binding::Pirq(number),
            VIRQ => Binding::Virq(number),
            IPI => Binding::Ipi,
            _ => Binding::Free,
        };
        let priority = (word >> PRIORITY_SHIFT) as u8 & PRIORITY_MASK;
        Self { binding, vcpu: (word >> VCPU_SHIFT) as u16, priority }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_zero_word_is_free() {
        assert_eq!(Channel::unpack(0).binding, Binding::Free);
        assert!(!Channel::unpack(0).is_bound());
        assert!(!Channel::new(Binding::Reserved, 0).is_bound());
        assert!(Channel::new(Binding::Unbound(0x7ff4), 0).is_bound());
    }

    fn any_binding() -> impl Strategy<Value = Binding> {
        let interdomain = (0..0x7ff0_u16, 0..1_u32 << 17).prop_map(|(domain, port)| {
            Binding::Interdomain(DomId::new(domain).unwrap(), Port::new(port).unwrap())
        });
        prop_oneof![
            Just(Binding::Free),
            Just(Binding::Reserved),
            any::<u16>().prop_map(Binding::Unbound),
            interdomain,
            (0..MAX_PIRQS).prop_map(Binding::Pirq),
            (0..24_u32).prop_map(Binding::Virq),
            Just(Binding::Ipi),
        ]
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 3 } else { 512 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn packing_keeps_everything(binding in any_binding(), vcpu in any::<u16>(), priority in 0..16_u8) {
            let channel = Channel { binding, vcpu, priority };
            prop_assert_eq!(Channel::unpack(channel.pack()), channel);
        }
    }
}
