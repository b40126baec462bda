//! Virtual pair of interrupt controllers (Intel 8259A), cascaded as in a PC.
//!
//! ```text
//!   lines 0..7   --> master --> output --> INTR, LINT0 or the I/O APIC
//!   lines 8..15  --> slave ---> line 2 of the master
//! ```
//!
//! Only [`Vpic::acknowledge`], the CPU's interrupt-acknowledge cycle, moves a
//! request into service. Where the output is a plain edge on LINT0 no such cycle
//! happens, and the in-service bits must stay clear (rcore-os/tgoskits#585).
//! Section titles are those of the 8259A's datasheet and of the PIIX's for ELCR.

/// Line of the master that the slave's output drives.
const CASCADE: u8 = 2;
/// Lines that the PC wires edge-triggered: timer, keyboard and cascade, clock,
/// coprocessor (PIIX datasheet "ELCR").
const ALWAYS_EDGE: [u8; 2] = [0b0000_0111, 0b0010_0001];

/// A register of the pair in the I/O space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PicPort {
    chip: Chip,
    register: Register,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Register {
    /// ICW1, OCW2 and OCW3; reads IRR, ISR or a poll.
    Command,
    /// ICW2 to ICW4 and OCW1.
    Data,
    /// Edge or level control, beside the 8259A.
    Elcr,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chip {
    Master,
    Slave,
}

impl PicPort {
    /// The register at I/O port `port`.
    #[must_use]
    pub const fn new(port: u16) -> Option<Self> {
        let (chip, register) = match port {
            0x20 => (Chip::Master, Register::Command),
            0x21 => (Chip::Master, Register::Data),
            0xa0 => (Chip::Slave, Register::Command),
            0xa1 => (Chip::Slave, Register::Data),
            0x4d0 => (Chip::Master, Register::Elcr),
            0x4d1 => (Chip::Slave, Register::Elcr),
            _ => return None,
        };
        Some(Self { chip, register })
    }
}

/// Where an initialization sequence is (datasheet "Initialization Command Words").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Init {
    Done,
    ExpectIcw2,
    ExpectIcw3,
    ExpectIcw4,
}

/// One 8259A.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pic {
    lines: u8,
    irr: u8,
    isr: u8,
    mask: u8,
    /// Level-triggered lines.
    level: u8,
    /// Bits 7:3 of the vectors.
    vector_base: u8,
    /// The line of lowest priority.
    lowest: u8,
    init: Init,
    needs_icw4: bool,
    single: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    read_isr: bool,
    special_mask: bool,
    /// Special fully nested mode.
    nests_slave: bool,
    poll: bool,
}

impl Pic {
    const fn new() -> Self {
        Self {
            lines: 0,
            irr: 0,
            isr: 0,
            mask: 0xff,
            level: 0,
            vector_base: 0,
            lowest: 7,
            init: Init::Done,
            needs_icw4: false,
            single: false,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            read_isr: false,
            special_mask: false,
            nests_slave: false,
            poll: false,
        }
    }

    fn set_line(&mut self, line: u8, active: bool) {
        let bit = 1 << (line & 7);
        if !active {
            // A request must stay until it is acknowledged ("Interrupt Request
            // Register"): one that goes away leaves a spurious interrupt at most.
            self.lines &= !bit;
            self.irr &= !bit;
        } else if self.level & bit != 0 || self.lines & bit == 0 {
            self.lines |= bit;
            self.irr |= bit;
        }
    }

    /// How far `line` is from the highest priority.
    fn rank(&self, line: u8) -> u8 {
        line.wrapping_sub(self.lowest).wrapping_sub(1) & 7
    }

    /// The line of highest priority among `set`.
    fn first(&self, set: u8) -> Option<u8> {
        (0..8).filter(|line| set >> line & 1 != 0).min_by_key(|&line| self.rank(line))
    }

    /// The line whose request the CPU should see ("Fully Nested Mode").
    fn pending(&self) -> Option<u8> {
        let line = self.first(self.irr & !self.mask)?;
        let bit = 1 << line;
        // In special mask mode a masked line in service stops nobody.
        let mut blocking = if self.special_mask { self.isr & !self.mask } else { self.isr };
        if self.nests_slave && line == CASCADE {
            blocking &= !bit;
        }
        let blocked = self.first(blocking).is_some_and(|busy| self.rank(busy) <= self.rank(line));
        (!blocked).then_some(line)
    }

    /// Takes `line` into service.
    fn serve(&mut self, line: u8) {
        let bit = 1 << (line & 7);
        if self.level & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate_on_auto_eoi {
            self.lowest = line;
        }
    }

    /// An acknowledge cycle: the line, 7 if the request has gone away.
    fn acknowledge(&mut self) -> u8 {
        match self.pending() {
            Some(line) => {
                self.serve(line);
                line
            }
            None => 7,
        }
    }

    fn vector(&self, line: u8) -> u8 {
        self.vector_base | line & 7
    }

    fn write_command(&mut self, value: u8) {
        match value & 0x18 {
            _ if value & 0x10 != 0 => self.write_icw1(value),
            0x08 => self.write_ocw3(value),
            _ => self.write_ocw2(value),
        }
    }

    /// "Initialization Command Word 1": clears all but the lines and ELCR.
    fn write_icw1(&mut self, value: u8) {
        *self = Self {
            lines: self.lines,
            // Edges must come anew; levels ask as long as they are active.
            irr: self.lines & self.level,
            mask: 0,
            level: self.level,
            vector_base: self.vector_base,
            init: Init::ExpectIcw2,
            needs_icw4: value & 1 != 0,
            single: value & 2 != 0,
            ..Self::new()
        };
    }

    /// "Operation Control Word 2": EOI and rotation.
    fn write_ocw2(&mut self, value: u8) {
        let line = value & 7;
        match value >> 5 {
            0 => self.rotate_on_auto_eoi = false,
            4 => self.rotate_on_auto_eoi = true,
            1 => _ = self.end(None),
            5 => self.lowest = self.end(None).unwrap_or(self.lowest),
            3 => _ = self.end(Some(line)),
            7 => {
                self.end(Some(line));
                self.lowest = line;
            }
            6 => self.lowest = line,
            // 2: no operation.
            _ => {}
        }
    }

    /// Ends `line`, or the line of highest priority in service.
    fn end(&mut self, line: Option<u8>) -> Option<u8> {
        // "Special Mask Mode": a non-specific EOI passes over masked lines.
        let candidates = if self.special_mask { self.isr & !self.mask } else { self.isr };
        let line = line.or_else(|| self.first(candidates))?;
        self.isr &= !(1 << (line & 7));
        Some(line)
    }

    /// "Operation Control Word 3".
    fn write_ocw3(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        if value & 0x04 != 0 {
            self.poll = true;
        } else if value & 0x02 != 0 {
            self.read_isr = value & 1 != 0;
        }
    }

    fn write_data(&mut self, value: u8) {
        match self.init {
            Init::Done => self.mask = value,
            Init::ExpectIcw2 => {
                self.vector_base = value & 0xf8;
                self.init = if self.single { self.after_icw3() } else { Init::ExpectIcw3 };
            }
            // The wiring of the cascade is the PC's, whatever is written.
            Init::ExpectIcw3 => self.init = self.after_icw3(),
            Init::ExpectIcw4 => {
                self.auto_eoi = value & 2 != 0;
                self.nests_slave = value & 0x10 != 0;
                self.init = Init::Done;
            }
        }
    }

    fn after_icw3(&self) -> Init {
        if self.needs_icw4 { Init::ExpectIcw4 } else { Init::Done }
    }

    /// "Poll Command": the next read is an acknowledge cycle.
    fn take_poll(&mut self) -> Option<u8> {
        if !core::mem::take(&mut self.poll) {
            return None;
        }
        let line = self.pending();
        if let Some(line) = line {
            self.serve(line);
        }
        Some(line.map_or(0, |line| 0x80 | line))
    }

    fn read(&mut self, register: Register) -> u8 {
        match register {
            Register::Elcr => self.level,
            _ if self.poll => self.take_poll().unwrap_or(0),
            Register::Data => self.mask,
            Register::Command if self.read_isr => self.isr,
            Register::Command => self.irr,
        }
    }

    fn write(&mut self, register: Register, value: u8) {
        match register {
            Register::Command => self.write_command(value),
            Register::Data => self.write_data(value),
            Register::Elcr => {
                self.level = value;
                self.irr |= self.lines & value;
            }
        }
    }
}

/// The pair of a domain.
#[derive(Clone, Debug)]
pub struct Vpic {
    master: Pic,
    slave: Pic,
}

impl Default for Vpic {
    fn default() -> Self {
        Self::new()
    }
}

impl Vpic {
    /// The pair before it is initialized: everything masked.
    #[must_use]
    pub const fn new() -> Self {
        Self { master: Pic::new(), slave: Pic::new() }
    }

    /// IN from one of the ports. A poll takes a request into service.
    pub fn read(&mut self, port: PicPort) -> u8 {
        let value = self.chip(port.chip).read(port.register);
        self.cascade();
        value
    }

    /// OUT to one of the ports.
    pub fn write(&mut self, port: PicPort, value: u8) {
        let fixed = match (port.register, port.chip) {
            (Register::Elcr, Chip::Master) => ALWAYS_EDGE[0],
            (Register::Elcr, Chip::Slave) => ALWAYS_EDGE[1],
            _ => 0,
        };
        self.chip(port.chip).write(port.register, value & !fixed);
        self.cascade();
    }

    /// Drives line `line`, 0 to 15; 2 is the cascade and cannot be driven.
    pub fn set_line(&mut self, line: u8, active: bool) {
        match line {
            CASCADE => {}
            0..8 => self.master.set_line(line, active),
            8..16 => self.slave.set_line(line & 7, active),
            _ => {}
        }
        self.cascade();
    }

    /// The output: whether the pair asks for an acknowledge cycle.
    #[must_use]
    pub fn output(&self) -> bool {
        self.master.pending().is_some()
    }

    /// The CPU's acknowledge cycle: the vector to inject as an external interrupt.
    ///
    /// A request that has gone away in between leaves the spurious line 7, which
    /// is not in service then ("Interrupt Sequence").
    pub fn acknowledge(&mut self) -> u8 {
        let line = self.master.acknowledge();
        let vector = if line == CASCADE {
            let line = self.slave.acknowledge();
            self.slave.vector(line)
        } else {
            self.master.vector(line)
        };
        self.cascade();
        vector
    }

    /// Brings the slave's output to the master: as a level, since the output
    /// falls in each acknowledge cycle and rises again if more is requested.
    fn cascade(&mut self) {
        if self.slave.pending().is_some() {
            self.master.irr |= 1 << CASCADE;
        } else {
            self.master.irr &= !(1 << CASCADE);
        }
    }

    fn chip(&mut self, chip: Chip) -> &mut Pic {
        match chip {
            Chip::Master => &mut self.master,
            Chip::Slave => &mut self.slave,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(pic: &mut Vpic, port: u16, value: u8) {
        pic.write(PicPort::new(port).unwrap(), value);
    }

    fn read(pic: &mut Vpic, port: u16) -> u8 {
        pic.read(PicPort::new(port).unwrap())
    }

    /// In service, master and slave.
    fn in_service(pic: &mut Vpic) -> (u8, u8) {
        write(pic, 0x20, 0x0b);
        write(pic, 0xa0, 0x0b);
        (read(pic, 0x20), read(pic, 0xa0))
    }

    fn initialized(icw4: u8) -> Vpic {
        let mut pic = Vpic::new();
        for (port, values) in [(0x20, [0x11, 0x30, 0x04, icw4]), (0xa0, [0x11, 0x38, 0x02, icw4])] {
            write(&mut pic, port, values[0]);
            values[1..].iter().for_each(|&value| write(&mut pic, port + 1, value));
        }
        pic
    }

    fn pulse(pic: &mut Vpic, line: u8) {
        pic.set_line(line, false);
        pic.set_line(line, true);
    }

    #[test]
    fn nothing_asks_before_initialization() {
        let mut pic = Vpic::new();
        (0..16).for_each(|line| pulse(&mut pic, line));
        assert!(!pic.output());
        assert_eq!((read(&mut pic, 0x21), read(&mut pic, 0xa1)), (0xff, 0xff));
        assert_eq!(PicPort::new(0x22), None);
    }

    #[test]
    fn only_an_acknowledge_cycle_takes_a_request_into_service() {
        let mut pic = initialized(1);
        pulse(&mut pic, 0);
        assert!(pic.output() && pic.output());
        assert_eq!(in_service(&mut pic), (0, 0), "an edge on LINT0 leaves no trace");
        pulse(&mut pic, 0);
        assert!(pic.output());
        assert_eq!(pic.acknowledge(), 0x30);
        assert_eq!(in_service(&mut pic), (1, 0));
        pulse(&mut pic, 0);
        assert!(!pic.output(), "in service");
        write(&mut pic, 0x20, 0x20);
        assert_eq!((in_service(&mut pic), pic.acknowledge()), ((0, 0), 0x30));
    }

    #[test]
    fn automatic_eoi_leaves_nothing_in_service() {
        let mut pic = initialized(3);
        pulse(&mut pic, 0);
        pulse(&mut pic, 12);
        pulse(&mut pic, 14);
        assert_eq!([(); 3].map(|()| pic.acknowledge()), [0x30, 0x3c, 0x3e]);
        assert_eq!((in_service(&mut pic), pic.output()), ((0, 0), false));
    }

    #[test]
    fn a_request_that_goes_away_is_spurious() {
        let mut pic = initialized(1);
        pic.set_line(3, true);
        pic.set_line(3, false);
        assert!(!pic.output());
        assert_eq!((pic.acknowledge(), in_service(&mut pic)), (0x37, (0, 0)));
    }

    #[test]
    fn priorities_nest_across_the_cascade() {
        let mut pic = initialized(1);
        pulse(&mut pic, 5);
        assert_eq!(pic.acknowledge(), 0x35);
        pulse(&mut pic, 6);
        assert!(!pic.output());
        pulse(&mut pic, 14);
        assert_eq!(pic.acknowledge(), 0x3e, "the slave is line 2");
        assert_eq!(in_service(&mut pic), (0x24, 0x40));
        pulse(&mut pic, 8);
        assert!(!pic.output(), "fully nested: line 2 is in service");
        write(&mut pic, 0xa0, 0x66);
        write(&mut pic, 0x20, 0x62);
        assert_eq!(pic.acknowledge(), 0x38);
        write(&mut pic, 0xa0, 0x20);
        write(&mut pic, 0x20, 0x20);
        write(&mut pic, 0x20, 0x65);
        assert_eq!(pic.acknowledge(), 0x36);
    }

    #[test]
    fn the_special_fully_nested_mode_lets_the_slave_nest() {
        let mut pic = initialized(0x11);
        pulse(&mut pic, 14);
        assert_eq!(pic.acknowledge(), 0x3e);
        pulse(&mut pic, 8);
        assert_eq!(pic.acknowledge(), 0x38);
    }

    #[test]
    fn masks_hold_back_and_special_mask_mode_lets_through() {
        let mut pic = initialized(1);
        write(&mut pic, 0x21, 0x02);
        pulse(&mut pic, 1);
        assert!(!pic.output() && read(&mut pic, 0x20) == 2);
        write(&mut pic, 0x21, 0);
        assert_eq!(pic.acknowledge(), 0x31);
        pulse(&mut pic, 4);
        assert!(!pic.output());
        write(&mut pic, 0x21, 0x02);
        write(&mut pic, 0x20, 0x68);
        assert!(pic.output(), "line 1 is in service and masked");
        write(&mut pic, 0x20, 0x48);
        assert!(!pic.output());
    }

    #[test]
    fn rotation_moves_the_lowest_priority() {
        let mut pic = initialized(1);
        write(&mut pic, 0x20, 0xc4);
        pulse(&mut pic, 0);
        pulse(&mut pic, 5);
        assert_eq!(pic.acknowledge(), 0x35);
        write(&mut pic, 0x20, 0xa0);
        pulse(&mut pic, 5);
        assert_eq!(pic.acknowledge(), 0x30);
    }

    #[test]
    fn levels_ask_until_they_go_away() {
        let mut pic = initialized(1);
        write(&mut pic, 0x4d1, 0xff);
        write(&mut pic, 0x4d0, 0xff);
        assert_eq!((read(&mut pic, 0x4d0), read(&mut pic, 0x4d1)), (0xf8, 0xde));
        pic.set_line(11, true);
        for _ in 0..2 {
            assert_eq!(pic.acknowledge(), 0x3b);
            write(&mut pic, 0xa0, 0x20);
            write(&mut pic, 0x20, 0x20);
        }
        pic.set_line(11, false);
        assert!(!pic.output());
    }

    #[test]
    fn a_poll_is_an_acknowledge_cycle() {
        let mut pic = initialized(1);
        write(&mut pic, 0x20, 0x0c);
        assert_eq!(read(&mut pic, 0x20), 0);
        pulse(&mut pic, 6);
        write(&mut pic, 0x20, 0x0c);
        assert_eq!(read(&mut pic, 0x20), 0x86);
        assert_eq!(in_service(&mut pic), (0x40, 0));
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 2 } else { 512 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn any_traffic_keeps_the_pair_consistent(
            steps in prop::collection::vec((0..4_u8, any::<u8>(), any::<u8>()), 1..if cfg!(miri) { 8 } else { 300 })
        ) {
            let mut pic = Vpic::new();
            let ports = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1];
            for (action, at, value) in steps {
                let port = ports[usize::from(at) % ports.len()];
                match action {
                    0 => write(&mut pic, port, value),
                    1 => _ = read(&mut pic, port),
                    2 => pic.set_line(at, value & 1 != 0),
                    _ => {
                        let (asked, before) = (pic.output(), pic.clone());
                        let vector = pic.acknowledge();
                        let bases = [before.master.vector_base, before.slave.vector_base];
                        prop_assert!(bases.contains(&(vector & 0xf8)));
                        if !asked {
                            prop_assert_eq!((before.master.isr, before.slave.isr), (pic.master.isr, pic.slave.isr));
                            prop_assert_eq!(vector, before.master.vector_base | 7);
                        }
                    }
                }
                // What is pending is never below what blocks it.
                if let Some(line) = pic.master.pending() {
                    prop_assert!(pic.master.irr & !pic.master.mask & 1 << line != 0);
                }
            }
        }
    }
}
