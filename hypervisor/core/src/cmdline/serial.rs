//! `com1=` and `com2=`: how to drive a serial port.

use core::fmt;

use super::{Problem, value};

/// How many bits per second.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Baud {
    /// As the firmware or the boot loader left the port.
    Auto,
    /// This many.
    Rate(u32),
}

/// The bit that guards a character.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Parity {
    /// There is none.
    None,
    /// Makes the number of ones odd.
    Odd,
    /// Makes the number of ones even.
    Even,
    /// Always one.
    Mark,
    /// Always zero.
    Space,
}

/// A 16550 at an I/O port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SerialPort {
    /// Bits per second.
    pub baud: Baud,
    /// The rate at a divisor of one: a sixteenth of the UART's clock.
    pub base_baud: u32,
    /// Data bits in a character, 5 to 8.
    pub data_bits: u8,
    /// The bit that guards them.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
    /// The first of its eight I/O ports.
    pub io_base: u16,
    /// Its interrupt, or `None` to poll.
    pub irq: Option<u8>,
}

impl SerialPort {
    /// Where a PC has its first port; Xen's defaults for the rest.
    pub const COM1: Self = Self::at(0x3f8, 4);
    /// Where a PC has its second port.
    pub const COM2: Self = Self::at(0x2f8, 3);

    const fn at(io_base: u16, irq: u8) -> Self {
        // A PC's UART runs at 1.8432 MHz.
        Self {
            baud: Baud::Auto,
            base_baud: 115_200,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            io_base,
            irq: Some(irq),
        }
    }
}

/// In the form in which the option takes it.
impl fmt::Display for SerialPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.baud {
            Baud::Auto => f.write_str("auto")?,
            Baud::Rate(baud) => write!(f, "{baud}")?,
        }
        if self.base_baud != Self::COM1.base_baud {
            write!(f, "/{}", self.base_baud)?;
        }
        let parity = match self.parity {
            Parity::None => 'n',
            Parity::Odd => 'o',
            Parity::Even => 'e',
            Parity::Mark => 'm',
            Parity::Space => 's',
        };
        let irq = self.irq.unwrap_or(0);
        write!(f, ",{}{parity}{},{:#x},{irq}", self.data_bits, self.stop_bits, self.io_base)
    }
}

/// `<baud>[/<base-baud>][,[DPS][,[<io-base>][,[<irq>]]]]`, then `name=value`
/// pairs; what is left out stays as in `default`.
pub(super) fn parse(text: &str, default: SerialPort) -> Result<SerialPort, Problem> {
    let mut port = default;
    for (position, item) in text.split(',').enumerate() {
        match item.split_once('=') {
            Some((name, value)) => named(&mut port, name, value)?,
            None => positional(&mut port, position, item)?,
        }
    }
    Ok(port)
}

fn positional(port: &mut SerialPort, position: usize, item: &str) -> Result<(), Problem> {
    match (position, item) {
        (0, _) => rates(port, item),
        (1.., "") => Ok(()),
        (1, _) => dps(port, item),
        (2, "pci" | "amt") => Err(Problem::Unsupported(NO_PCI)),
        (2, _) => named(port, "io-base", item),
        (3, "msi") => Err(Problem::Unsupported(NO_PCI)),
        (3, _) => named(port, "irq", item),
        _ => Err(Problem::Unsupported(NO_PCI)),
    }
}

const NO_PCI: &str = "ignored, serial ports on PCI cards are not looked for";
const BAUD: &str = "a baud rate from 1200 to the base rate, or auto, first";

/// `<baud>[/<base-baud>]`
fn rates(port: &mut SerialPort, item: &str) -> Result<(), Problem> {
    let (baud, base) = item.split_once('/').map_or((item, None), |(baud, base)| (baud, Some(base)));
    if let Some(base) = base {
        named(port, "clock-hz", base)?;
    }
    named(port, "baud", baud)
}

/// Data bits, parity, stop bits: `8n1`.
fn dps(port: &mut SerialPort, item: &str) -> Result<(), Problem> {
    let [data, parity, stop] = *item.as_bytes() else { return Err(Problem::Expected(DPS)) };
    port.data_bits = digit(data, b'5'..=b'8')?;
    port.parity = parity_of(parity)?;
    port.stop_bits = digit(stop, b'1'..=b'2')?;
    Ok(())
}

const DPS: &str = "5 to 8 data bits, parity n, o, e, m or s, and 1 or 2 stop bits, such as 8n1";

fn named(port: &mut SerialPort, name: &str, text: &str) -> Result<(), Problem> {
    match (name, text.as_bytes()) {
        ("baud", b"auto") => port.baud = Baud::Auto,
        ("baud", _) => port.baud = Baud::Rate(rate(text, port.base_baud)?),
        ("clock-hz", _) => port.base_baud = value::integer(text, 1_200..=0xfff_ffff, "a base baud rate")?,
        ("data-bits", &[bits]) => port.data_bits = digit(bits, b'5'..=b'8')?,
        ("parity", &[parity]) => port.parity = parity_of(parity)?,
        ("stop-bits", &[bits]) => port.stop_bits = digit(bits, b'1'..=b'2')?,
        ("data-bits" | "parity" | "stop-bits", _) => return Err(Problem::Expected(DPS)),
        ("io-base", _) => port.io_base = io_base(text)?,
        ("irq", _) => port.irq = irq(text)?,
        // The layout of every UART that is reached by I/O ports.
        ("reg-shift", b"0") | ("reg-width", b"1") => {}
        ("reg-shift" | "reg-width", _) => {
            return Err(Problem::Unsupported("ignored, registers are bytes in a row"));
        }
        ("dev" | "port" | "bridge", _) => return Err(Problem::Unsupported(NO_PCI)),
        _ => return Err(Problem::Expected("baud, clock-hz, data-bits, parity, stop-bits, io-base or irq")),
    }
    Ok(())
}

fn rate(text: &str, base: u32) -> Result<u32, Problem> {
    let rate = value::number(text, 10).and_then(|rate| u32::try_from(rate).ok());
    rate.filter(|rate| (1_200..=base).contains(rate)).ok_or(Problem::Expected(BAUD))
}

/// The first of eight ports, so 0xfff8 at most.
fn io_base(text: &str) -> Result<u16, Problem> {
    let base = value::unsigned(text).and_then(|base| u16::try_from(base).ok());
    base.filter(|base| (1..=0xfff8).contains(base)).ok_or(Problem::Expected("an I/O port such as 0x3f8"))
}

/// Zero means to poll.
fn irq(text: &str) -> Result<Option<u8>, Problem> {
    let irq = value::number(text, 10).and_then(|irq| u8::try_from(irq).ok());
    irq.map(|irq| Some(irq).filter(|&irq| irq != 0))
        .ok_or(Problem::Expected("an interrupt number, or 0 to poll"))
}

fn parity_of(letter: u8) -> Result<Parity, Problem> {
    match letter {
        b'n' => Ok(Parity::None),
        b'o' => Ok(Parity::Odd),
        b'e' => Ok(Parity::Even),
        b'm' => Ok(Parity::Mark),
        b's' => Ok(Parity::Space),
        _ => Err(Problem::Expected(DPS)),
    }
}

fn digit(letter: u8, range: core::ops::RangeInclusive<u8>) -> Result<u8, Problem> {
    if range.contains(&letter) { Ok(letter & 0xf) } else { Err(Problem::Expected(DPS)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::config;
    use super::*;

    fn com1(text: &str) -> Result<SerialPort, Problem> {
        parse(text, SerialPort::COM1)
    }

    #[test]
    fn bpm_02_the_sample_of_the_requirements() {
        let port = SerialPort { baud: Baud::Rate(9_600), io_base: 0x408, irq: Some(5), ..SerialPort::COM1 };
        assert_eq!(com1("9600,8n1,0x408,5"), Ok(port));
    }

    #[test]
    fn bpm_02_what_is_left_out_keeps_its_default() {
        let fast = SerialPort { baud: Baud::Rate(115_200), ..SerialPort::COM1 };
        for text in ["115200", "115200,8n1", "115200,,0x3f8,4", "115200,,,", "115200,8n1,0x3f8,4"] {
            assert_eq!(com1(text), Ok(fast), "{text}");
        }
        assert_eq!(com1("auto"), Ok(SerialPort::COM1));
        assert_eq!(com1("auto,,,0"), Ok(SerialPort { irq: None, ..SerialPort::COM1 }));
        assert_eq!(parse("auto", SerialPort::COM2), Ok(SerialPort::COM2));
    }

    #[test]
    fn bpm_02_a_base_rate_lifts_the_limit() {
        let port = com1("460800/921600,7e2").unwrap();
        assert_eq!((port.baud, port.base_baud), (Baud::Rate(460_800), 921_600));
        assert_eq!((port.data_bits, port.parity, port.stop_bits), (7, Parity::Even, 2));
    }

    #[test]
    fn bpm_02_pairs_follow_or_replace_the_positions() {
        let fast = SerialPort { baud: Baud::Rate(115_200), ..SerialPort::COM1 };
        assert_eq!(com1("baud=115200,parity=n,stop-bits=1,io-base=0x3f8,reg-width=1"), Ok(fast));
        assert_eq!(com1("115200,8n1,0x3f8,4,data-bits=7").map(|port| port.data_bits), Ok(7));
        assert_eq!(com1("baud=auto,irq=0,parity=s,clock-hz=230400").map(|port| port.base_baud), Ok(230_400));
    }

    #[test]
    fn bpm_02_malformed_ports_are_refused() {
        for bad in [
            "",
            ",8n1",
            "fast",
            "300",
            "230400",
            "9600/0",
            "9600/x",
            "9600,9n1",
            "9600,8x1",
            "9600,8n3",
            "9600,8n",
            "9600,8n11",
            "9600,,0",
            "9600,,0x10000",
            "9600,,0xfff9",
            "9600,,,256",
            "9600,,,-1",
            "9600,,,0x4",
            "9600,é",
            "colour=red",
            "data-bits=",
            "parity=none",
            "reg-width=4",
            "baud=+9600",
        ] {
            assert!(com1(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bpm_02_cards_on_pci_are_refused_by_name() {
        for bad in
            ["9600,8n1,pci", "9600,8n1,amt", "9600,8n1,0x3f8,msi", "9600,8n1,0x3f8,4,01:00.0", "dev=pci"]
        {
            assert_eq!(com1(bad), Err(Problem::Unsupported(NO_PCI)), "{bad:?}");
        }
    }

    fn port() -> impl Strategy<Value = SerialPort> {
        let baud = prop_oneof![Just(Baud::Auto), (1_200_u32..=115_200).prop_map(Baud::Rate)];
        const PARITIES: &[Parity] = &[Parity::None, Parity::Odd, Parity::Even, Parity::Mark, Parity::Space];
        let irq = prop_oneof![Just(None), (1_u8..).prop_map(Some)];
        let rest =
            (115_200_u32..4_000_000, 5_u8..=8, prop::sample::select(PARITIES), 1_u8..=2, 1_u16..=0xfff8);
        (baud, rest, irq).prop_map(|(baud, (base_baud, data_bits, parity, stop_bits, io_base), irq)| {
            SerialPort { baud, base_baud, data_bits, parity, stop_bits, io_base, irq }
        })
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn what_a_port_prints_reads_back(port in port()) {
            prop_assert_eq!(com1(&std::format!("{port}")), Ok(port));
        }

        #[test]
        fn any_port_is_survived(text in "[0-9a-zA-Z,=/éx.:-]{0,40}") {
            let _ = com1(&text);
        }
    }
}
