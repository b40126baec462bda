//! Serial ports: 16550s at I/O ports.

use hv_core::cmdline::{Baud, Parity, SerialPort};
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{IER, ISR, LSR, Parity as ParityBit, WordLength};
use uart_16550::{BaudRate, Config, InitError, InvalidAddressError, Uart16550};

/// Why a port is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// Its registers would lie past port 0xffff.
    BadAddress,
    /// No device answers there.
    NotPresent,
    /// The clock cannot be divided to that rate.
    BadRate,
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::BadAddress => "no room for its registers at that I/O base",
            Self::NotPresent => "no UART answers there",
            Self::BadRate => "its clock cannot be divided to that rate",
        })
    }
}

impl From<InvalidAddressError> for OpenError {
    fn from(_: InvalidAddressError) -> Self {
        Self::BadAddress
    }
}

impl From<InitError> for OpenError {
    fn from(error: InitError) -> Self {
        match error {
            InitError::InvalidBaudRate(_) => Self::BadRate,
            _ => Self::NotPresent,
        }
    }
}

/// A port in use.
#[derive(Debug)]
pub struct Serial {
    uart: Uart16550<PioBackend>,
}

impl Serial {
    /// Takes the port that the administrator named on the command line.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; the device is then as it was.
    pub fn open(port: &SerialPort) -> Result<Self, OpenError> {
        // SAFETY: an I/O port that the administrator says is a UART's. Whatever is
        // there, port I/O does not reach memory.
        let mut uart = unsafe { Uart16550::new_port(port.io_base) }?;
        let baud = match port.baud {
            Baud::Rate(baud) => baud,
            Baud::Auto => rate_in_use(&mut uart, port.base_baud),
        };
        uart.init(config(port, baud))?;
        Ok(Self { uart })
    }

    /// Sends as much of `bytes` as the transmitter takes at once; returns how much.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        self.uart.send_bytes(bytes)
    }

    /// Whether the last bit of everything sent is on the line.
    pub fn is_idle(&mut self) -> bool {
        self.uart.lsr().contains(LSR::TRANSMITTER_EMPTY)
    }

    /// A byte that came in, if any.
    pub fn receive(&mut self) -> Option<u8> {
        self.uart.try_receive_byte().ok()
    }

    /// Raises interrupts when bytes come in and, if `sending`, when the
    /// transmitter is empty.
    pub fn set_interrupts(&mut self, sending: bool) {
        let unwanted = if sending { IER::empty() } else { IER::THR_EMPTY };
        self.uart.disable_interrupts(unwanted);
        self.uart.enable_interrupts(IER::DATA_READY | (IER::THR_EMPTY - unwanted));
    }

    /// Whether the device asks for service. To ask acknowledges a transmitter that
    /// has become empty.
    pub fn wants_service(&mut self) -> bool {
        !self.uart.isr().contains(ISR::INTERRUPT_STATUS)
    }
}

/// The rate for which firmware or loader set the divisor.
fn rate_in_use(uart: &mut Uart16550<PioBackend>, base_baud: u32) -> u32 {
    let (low, high) = uart.dll_dlm();
    let divisor = u32::from(low) | u32::from(high) << 8;
    base_baud.checked_div(divisor).unwrap_or(base_baud)
}

fn config(port: &SerialPort, baud: u32) -> Config {
    Config {
        // The UART divides its clock by 16 before the divisor.
        frequency: port.base_baud.saturating_mul(16),
        baud_rate: BaudRate::from_integer(baud),
        data_bits: match port.data_bits {
            5 => WordLength::FiveBits,
            6 => WordLength::SixBits,
            7 => WordLength::SevenBits,
            _ => WordLength::EightBits,
        },
        extra_stop_bits: port.stop_bits > 1,
        parity: match port.parity {
            Parity::None => ParityBit::Disabled,
            Parity::Odd => ParityBit::Odd,
            Parity::Even => ParityBit::Even,
            Parity::Mark => ParityBit::Forced1,
            Parity::Space => ParityBit::Forced0,
        },
        ..Config::DEFAULT
    }
}
