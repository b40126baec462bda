//! Virtual interval timer (Intel 8254) with the gate and the output of port 61H.
//!
//! ```text
//!   channel 0   gate always on      output --> line 0, one interrupt per rising edge
//!   channel 1   gate always on      refresh, seen as a toggling bit of port 61H
//!   channel 2   gate: 61H bit 0     output --> 61H bit 5
//! ```
//!
//! Nothing counts: a channel knows when its count was loaded, and everything
//! else follows from `now`, the TSC. Section titles are the 8254 datasheet's.

mod channel;
#[cfg(test)]
mod tests;

use core::num::NonZeroU64;

use crate::rate::Rate;
use channel::Channel;

/// Frequency of the timer, Hz: a twelfth of 14.31818 MHz.
pub const PIT_HZ: NonZeroU64 = NonZeroU64::new(1_193_182).unwrap();

/// A register of the timer, or port 61H.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PitPort(Register);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Register {
    Counter(Select),
    Control,
    SystemControl,
}

/// A channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Select {
    Channel0,
    Channel1,
    Channel2,
}

impl PitPort {
    /// The register at I/O port `port`.
    #[must_use]
    pub const fn new(port: u16) -> Option<Self> {
        Some(Self(match port {
            0x40 => Register::Counter(Select::Channel0),
            0x41 => Register::Counter(Select::Channel1),
            0x42 => Register::Counter(Select::Channel2),
            0x43 => Register::Control,
            0x61 => Register::SystemControl,
            _ => return None,
        }))
    }
}

/// Bits of port 61H ("NMI Status and Control Register" of the PIIX).
const GATE2: u8 = 1 << 0;
const SPEAKER: u8 = 1 << 1;
const REFRESH: u8 = 1 << 4;
const OUTPUT2: u8 = 1 << 5;
/// Bits 3:0 read back what was written.
const CONTROL_BITS: u8 = 0x0f;
/// What the firmware of a PC loads into channel 1: a refresh each 15 us.
const REFRESH_COUNT: u16 = 18;

/// The timer of a domain.
#[derive(Clone, Debug)]
pub struct Vpit {
    channels: [Channel; 3],
    control: u8,
}

impl Vpit {
    /// The timer as a PC's firmware leaves it, at TSC value `now`.
    ///
    /// Channel 0 runs in mode 3 at its longest period from the start: kernels
    /// wait for it to tick before they program it (rcore-os/tgoskits#585).
    #[must_use]
    pub fn new(tsc_hz: NonZeroU64, now: u64) -> Self {
        let rate = Rate::new(PIT_HZ, tsc_hz);
        let channels = [
            Channel::running(rate, 3, 0, true, now),
            Channel::running(rate, 2, REFRESH_COUNT, true, now),
            Channel::running(rate, 3, 0, false, now),
        ];
        Self { channels, control: 0 }
    }

    /// IN from one of the ports.
    pub fn read(&mut self, port: PitPort, now: u64) -> u8 {
        match port.0 {
            Register::Counter(select) => self.channel(select).read(now),
            // The control register is write only: the bus floats.
            Register::Control => 0xff,
            Register::SystemControl => self.read_system_control(now),
        }
    }

    fn read_system_control(&self, now: u64) -> u8 {
        let [_, refresh, speaker] = &self.channels;
        let refresh = if refresh.periods(now) & 1 != 0 { REFRESH } else { 0 };
        let output = if speaker.output(now) { OUTPUT2 } else { 0 };
        self.control | refresh | output
    }

    /// OUT to one of the ports. Ask [`Vpit::next_deadline`] again then.
    pub fn write(&mut self, port: PitPort, value: u8, now: u64) {
        match port.0 {
            Register::Counter(select) => self.channel(select).write(value, now),
            Register::Control => self.write_control(value, now),
            Register::SystemControl => {
                self.control = value & CONTROL_BITS;
                self.channel(Select::Channel2).set_gate(value & GATE2 != 0, now);
            }
        }
    }

    /// "Control Word Format", "Read-Back Command".
    fn write_control(&mut self, value: u8, now: u64) {
        let select = match value >> 6 {
            0 => Select::Channel0,
            1 => Select::Channel1,
            2 => Select::Channel2,
            _ => return self.read_back(value, now),
        };
        match value >> 4 & 3 {
            0 => self.channel(select).latch_count(now),
            _ => self.channel(select).control(value),
        }
    }

    fn read_back(&mut self, value: u8, now: u64) {
        let chosen = self.channels.iter_mut().enumerate().filter(|(n, _)| value >> (n + 1) & 1 != 0);
        for (_, channel) in chosen {
            if value & 1 << 5 == 0 {
                channel.latch_count(now);
            }
            if value & 1 << 4 == 0 {
                channel.latch_status(now);
            }
        }
    }

    /// When [`Vpit::expire`] is to be called, as a TSC value.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let [timer, ..] = &self.channels;
        timer.next_edge()
    }

    /// Whether the output of channel 0 has risen since the last call: an edge
    /// for line 0. Edges that were missed make one.
    pub fn expire(&mut self, now: u64) -> bool {
        self.channel(Select::Channel0).take_edges(now)
    }

    /// Whether the speaker would sound at `now` if the output of channel 2 is high.
    #[must_use]
    pub fn speaker(&self, now: u64) -> bool {
        let [.., speaker] = &self.channels;
        self.control & SPEAKER != 0 && speaker.output(now)
    }

    fn channel(&mut self, select: Select) -> &mut Channel {
        let [timer, refresh, speaker] = &mut self.channels;
        match select {
            Select::Channel0 => timer,
            Select::Channel1 => refresh,
            Select::Channel2 => speaker,
        }
    }
}
