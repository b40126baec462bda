//! Pins of a real I/O APIC behind those of a virtual one, of the same numbers: how Dom0 gets
//! the interrupts of the machine's devices.
//!
//! ```text
//!   real pin ──vector──> arrived ──line──> Vioapic ──message──> local APIC of a vcpu
//!      ^                    │ level: mask                             │
//!      └──── open ── settle <──────── end of interrupt, entry written─┘
//! ```
//!
//! A real pin is open while the virtual entry is, and programmed as that entry is. A
//! level-triggered one is closed from its arrival until the guest has ended the interrupt; so
//! a line that stays active costs one interrupt for each that the guest serves. An edge that
//! comes too often is closed until the guest programs its entry again.

use crate::vioapic::{IoApicPin, MAX_PINS, Pins, Setup, Vioapic};
use crate::vlapic::Trigger;

/// Most edges of a pin in one window.
pub const MOST_EDGES: u32 = 500;
/// Length of the window, ns. Together they are 50,000 a second, several times what a device
/// on the ISA bus can need.
pub const EDGE_WINDOW_NS: u64 = 10_000_000;

/// What is to be done at the real I/O APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The pin is to be open and programmed like this.
    Open(IoApicPin, Setup),
    /// The pin is to be masked.
    Close(IoApicPin),
}

/// What became of an interrupt that has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It was passed on; the pin stays open.
    Edge,
    /// It was passed on; the pin is to be masked until it has ended.
    Level,
    /// Nobody wants it any more: it was on its way when the entry was masked, or its pin closed.
    Stale,
    /// Edges come too often: the pin is to be masked.
    Storm,
}

/// Edges of one pin.
#[derive(Clone, Copy, Debug, Default)]
struct Edges {
    /// Beginning of the window, ns.
    since: u64,
    count: u32,
}

impl Edges {
    /// Counts one at time `now`; says whether they are too many.
    fn count(&mut self, now: u64) -> bool {
        if now.saturating_sub(self.since) >= EDGE_WINDOW_NS {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count > MOST_EDGES
    }
}

/// The real pins.
#[derive(Clone, Debug)]
pub struct Passthrough {
    /// Those that the guest may have.
    passed: Pins,
    /// How the open ones are programmed.
    open: [Option<Setup>; MAX_PINS as usize],
    /// Level-triggered ones that were passed on and have not ended.
    held: Pins,
    edges: [Edges; MAX_PINS as usize],
}

impl Passthrough {
    /// The pins `passed`, all masked.
    #[must_use]
    pub fn new(passed: Pins) -> Self {
        Self {
            passed,
            open: [None; MAX_PINS as usize],
            held: Pins::NONE,
            edges: [Edges::default(); MAX_PINS as usize],
        }
    }

    /// Whether the guest may have `pin`.
    #[must_use]
    pub fn passes(&self, pin: IoApicPin) -> bool {
        self.passed.contains(pin)
    }

    /// An interrupt of `pin` has arrived at time `now`, in ns. Messages of `model` may be due
    /// then.
    pub fn arrived(&mut self, model: &mut Vioapic, pin: IoApicPin, now: u64) -> Arrival {
        let setup = model.setup(pin).filter(|_| self.passes(pin) && self.is_open(pin));
        match setup.map(|setup| setup.trigger) {
            None => Arrival::Stale,
            Some(Trigger::Level) => {
                self.set_open(pin, None);
                self.held.insert(pin);
                model.set_line(pin, true);
                Arrival::Level
            }
            Some(Trigger::Edge) if self.edges.get_mut(index(pin)).is_some_and(|edges| edges.count(now)) => {
                self.set_open(pin, None);
                Arrival::Storm
            }
            Some(Trigger::Edge) => {
                model.set_line(pin, true);
                model.set_line(pin, false);
                Arrival::Edge
            }
        }
    }

    /// Takes one thing that is to be done after a change of `model`: to be asked until there is
    /// none, before messages are taken.
    pub fn settle(&mut self, model: &mut Vioapic) -> Option<Action> {
        core::iter::from_fn(|| model.take_changed().map(|pin| self.follow(model, pin))).flatten().next()
    }

    /// Makes the real pin follow the virtual one.
    fn follow(&mut self, model: &mut Vioapic, pin: IoApicPin) -> Option<Action> {
        if !self.passes(pin) {
            return None;
        }
        if self.held.contains(pin) {
            if model.is_in_service(pin) {
                return None;
            }
            self.held.remove(pin);
            model.set_line(pin, false);
        }
        let wanted = model.setup(pin);
        if self.open.get(index(pin)).copied().flatten() == wanted {
            return None;
        }
        self.set_open(pin, wanted);
        if let Some(edges) = self.edges.get_mut(index(pin)) {
            edges.count = 0;
        }
        Some(wanted.map_or(Action::Close(pin), |setup| Action::Open(pin, setup)))
    }

    fn is_open(&self, pin: IoApicPin) -> bool {
        self.open.get(index(pin)).is_some_and(Option::is_some)
    }

    fn set_open(&mut self, pin: IoApicPin, setup: Option<Setup>) {
        if let Some(open) = self.open.get_mut(index(pin)) {
            *open = setup;
        }
    }
}

fn index(pin: IoApicPin) -> usize {
    pin.get().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vlapic::{Destination, Vector};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const LEVEL: u32 = 1 << 15;
    const LOW: u32 = 1 << 13;
    const MASKED: u32 = 1 << 16;

    fn pin(raw: u8) -> IoApicPin {
        IoApicPin::new(raw).unwrap()
    }

    fn write(model: &mut Vioapic, at: u8, low: u32) {
        model.write(0, (0x10 + 2 * at).into());
        model.write(0x10, low);
    }

    fn new(passed: &[u8]) -> (Passthrough, Vioapic) {
        let mut pins = Pins::NONE;
        passed.iter().for_each(|&raw| pins.insert(pin(raw)));
        (Passthrough::new(pins), Vioapic::new(0, 24))
    }

    fn actions(real: &mut Passthrough, model: &mut Vioapic) -> Vec<Action> {
        core::iter::from_fn(|| real.settle(model)).collect()
    }

    fn end(real: &mut Passthrough, model: &mut Vioapic, vector: u8) -> Vec<Action> {
        model.end_of_interrupt(Vector::new(vector).unwrap());
        actions(real, model)
    }

    fn setup(trigger: Trigger, active_low: bool) -> Setup {
        Setup { trigger, active_low, destination: Destination::from_xapic(0, false) }
    }

    #[test]
    fn a_pin_is_open_while_its_entry_is() {
        let (mut real, mut model) = new(&[14]);
        write(&mut model, 14, 0x41 | MASKED);
        assert!(actions(&mut real, &mut model).is_empty());
        write(&mut model, 14, 0x41);
        let edge = setup(Trigger::Edge, false);
        assert_eq!(actions(&mut real, &mut model), [Action::Open(pin(14), edge)]);
        // The vector is the virtual one's own.
        write(&mut model, 14, 0x42);
        assert!(actions(&mut real, &mut model).is_empty());
        write(&mut model, 14, 0x42 | LEVEL | LOW);
        assert_eq!(actions(&mut real, &mut model), [Action::Open(pin(14), setup(Trigger::Level, true))]);
        write(&mut model, 14, 0x42 | MASKED);
        assert_eq!(actions(&mut real, &mut model), [Action::Close(pin(14))]);
    }

    #[test]
    fn only_interrupts_of_devices_open_a_pin_and_only_of_those_passed() {
        let (mut real, mut model) = new(&[3]);
        // SMI, NMI, INIT, ExtINT; lowest priority last.
        for (mode, opens) in [(2, 0), (4, 0), (5, 0), (7, 0), (1, 1)] {
            write(&mut model, 3, 0x41 | mode << 8);
            assert_eq!(actions(&mut real, &mut model).len(), opens, "mode {mode}");
        }
        write(&mut model, 4, 0x41);
        assert!(actions(&mut real, &mut model).is_empty());
        assert_eq!(real.arrived(&mut model, pin(4), 0), Arrival::Stale);
        assert_eq!(model.take_message(), None);
    }

    #[test]
    fn an_edge_is_passed_on_each_time() {
        let (mut real, mut model) = new(&[14]);
        write(&mut model, 14, 0x41);
        actions(&mut real, &mut model);
        for _ in 0..2 {
            assert_eq!(real.arrived(&mut model, pin(14), 0), Arrival::Edge);
            assert!(actions(&mut real, &mut model).is_empty());
            assert_eq!(model.take_message().map(|message| message.vector), Some(0x41));
            assert_eq!(model.take_message(), None);
        }
    }

    #[test]
    fn a_level_is_held_until_its_end() {
        let (mut real, mut model) = new(&[11]);
        write(&mut model, 11, 0x41 | LEVEL);
        actions(&mut real, &mut model);
        assert_eq!(real.arrived(&mut model, pin(11), 0), Arrival::Level);
        assert!(model.take_message().is_some());
        assert_eq!(real.arrived(&mut model, pin(11), 0), Arrival::Stale, "one was on its way");
        assert!(end(&mut real, &mut model, 0x40).is_empty());
        let level = setup(Trigger::Level, false);
        assert_eq!(end(&mut real, &mut model, 0x41), [Action::Open(pin(11), level)]);
        assert_eq!(model.take_message(), None, "the real line has to say so again");
        assert_eq!(real.arrived(&mut model, pin(11), 0), Arrival::Level);
        assert!(model.take_message().is_some());
    }

    #[test]
    fn a_handler_that_masks_ends_and_unmasks() {
        let (mut real, mut model) = new(&[11]);
        write(&mut model, 11, 0x41 | LEVEL);
        actions(&mut real, &mut model);
        real.arrived(&mut model, pin(11), 0);
        assert!(model.take_message().is_some());
        write(&mut model, 11, 0x41 | LEVEL | MASKED);
        assert!(actions(&mut real, &mut model).is_empty());
        assert!(end(&mut real, &mut model, 0x41).is_empty(), "the entry is masked");
        write(&mut model, 11, 0x41 | LEVEL);
        assert_eq!(actions(&mut real, &mut model).len(), 1);
    }

    #[test]
    fn an_entry_made_edge_triggered_frees_a_held_pin() {
        let (mut real, mut model) = new(&[11]);
        write(&mut model, 11, 0x41 | LEVEL);
        actions(&mut real, &mut model);
        real.arrived(&mut model, pin(11), 0);
        assert!(model.take_message().is_some());
        write(&mut model, 11, 0x41 | MASKED);
        assert!(actions(&mut real, &mut model).is_empty());
        write(&mut model, 11, 0x41 | LEVEL);
        assert_eq!(actions(&mut real, &mut model).len(), 1);
        assert_eq!(model.take_message(), None);
    }

    #[test]
    fn a_storm_of_edges_is_shut_out_until_the_entry_is_written() {
        let (mut real, mut model) = new(&[14]);
        write(&mut model, 14, 0x41);
        actions(&mut real, &mut model);
        for window in [0, EDGE_WINDOW_NS] {
            for _ in 0..MOST_EDGES {
                assert_eq!(real.arrived(&mut model, pin(14), window), Arrival::Edge);
            }
        }
        assert_eq!(real.arrived(&mut model, pin(14), EDGE_WINDOW_NS + 1), Arrival::Storm);
        assert_eq!(real.arrived(&mut model, pin(14), u64::MAX), Arrival::Stale);
        write(&mut model, 14, 0x41);
        assert_eq!(actions(&mut real, &mut model).len(), 1);
        assert_eq!(real.arrived(&mut model, pin(14), EDGE_WINDOW_NS + 1), Arrival::Edge);
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 2 } else { 256 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        // The real I/O APIC is what the actions and arrivals make of it: at any time it is as
        // open as the virtual entries are, but for what is held.
        #[test]
        fn the_real_pins_follow_the_virtual_ones(
            steps in prop::collection::vec((0..3_u8, 0..24_u8, any::<u32>()), 1..if cfg!(miri) { 8 } else { 200 })
        ) {
            let passed: Vec<u8> = (0..24).filter(|raw| raw % 3 != 0).collect();
            let (mut real, mut model) = new(&passed);
            let mut open = [None; 24];
            for (step, at, value) in steps {
                match step {
                    0 => write(&mut model, at, value),
                    1 => model.write(0x40, value),
                    _ if open[usize::from(at)].is_some() => {
                        let arrival = real.arrived(&mut model, pin(at), 0);
                        prop_assert_ne!(arrival, Arrival::Stale);
                        if arrival != Arrival::Edge {
                            open[usize::from(at)] = None;
                        }
                    }
                    _ => prop_assert_eq!(real.arrived(&mut model, pin(at), 0), Arrival::Stale),
                }
                for action in actions(&mut real, &mut model) {
                    match action {
                        Action::Open(pin, setup) => open[usize::from(pin.get())] = Some(setup),
                        Action::Close(pin) => open[usize::from(pin.get())] = None,
                    }
                }
                while model.take_message().is_some() {}
                for at in 0..24_u8 {
                    let is_open = open[usize::from(at)];
                    let served = model.setup(pin(at)).filter(|_| {
                        passed.contains(&at) && !real.held.contains(pin(at))
                    });
                    prop_assert_eq!(is_open, served, "pin {}", at);
                    prop_assert!(!real.held.contains(pin(at)) || model.is_in_service(pin(at)));
                }
            }
        }
    }
}
