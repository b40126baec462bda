//! One counter of the 8254.

use crate::rate::Rate;

/// "Mode Definitions".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// 0: the output rises when the count is done.
    TerminalCount,
    /// 1: the gate starts a low pulse as long as the count.
    OneShot,
    /// 2: a low pulse of one clock in each period.
    RateGenerator,
    /// 3: a square wave.
    SquareWave,
    /// 4: a low pulse of one clock when the count is done.
    SoftwareStrobe,
    /// 5: the same, started by the gate.
    HardwareStrobe,
}

impl Mode {
    /// Decodes bits 3:1 of a control word; the highest is "don't care" for 2 and 3.
    const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::TerminalCount,
            1 => Self::OneShot,
            2 | 6 => Self::RateGenerator,
            3 | 7 => Self::SquareWave,
            4 => Self::SoftwareStrobe,
            _ => Self::HardwareStrobe,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::TerminalCount => 0,
            Self::OneShot => 1,
            Self::RateGenerator => 2,
            Self::SquareWave => 3,
            Self::SoftwareStrobe => 4,
            Self::HardwareStrobe => 5,
        }
    }

    const fn is_periodic(self) -> bool {
        matches!(self, Self::RateGenerator | Self::SquareWave)
    }

    /// Whether counting starts with an edge of the gate.
    const fn is_triggered(self) -> bool {
        matches!(self, Self::OneShot | Self::HardwareStrobe)
    }
}

/// Which bytes of the count are read and written, bits 5:4 of a control word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    Low,
    High,
    LowThenHigh,
}

impl Access {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Low,
            2 => Self::High,
            _ => Self::LowThenHigh,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Low => 1,
            Self::High => 2,
            Self::LowThenHigh => 3,
        }
    }
}

/// Where the count is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A control word came, and no count yet.
    Unloaded,
    /// Waits for the gate's edge.
    Armed,
    /// Counting since this TSC value.
    Running(u64),
    /// Held by the gate after this many clocks.
    Paused(u64),
}

/// Interrupts of a periodic count come at most each so many clocks (0.1 ms):
/// a shorter period would be a storm that neither host nor guest can serve.
const MIN_EDGE_GAP: u64 = 119;

#[derive(Clone, Debug)]
pub(super) struct Channel {
    rate: Rate,
    mode: Mode,
    access: Access,
    bcd: bool,
    /// The count as written, 0 for the largest.
    reload: u16,
    state: State,
    gate: bool,
    /// Rising edges since the count was loaded that have been told.
    edges: u64,
    /// The low byte, while the high one is awaited.
    written_low: Option<u8>,
    /// The high byte of a two-byte read comes next.
    read_high: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

impl Channel {
    /// A channel that counts from `reload` since `now`, or waits for its gate.
    pub(super) const fn running(rate: Rate, mode: u8, reload: u16, gate: bool, now: u64) -> Self {
        Self {
            rate,
            mode: Mode::from_bits(mode),
            access: Access::LowThenHigh,
            bcd: false,
            reload,
            state: if gate { State::Running(now) } else { State::Paused(0) },
            gate,
            edges: 0,
            written_low: None,
            read_high: false,
            latched_count: None,
            latched_status: None,
        }
    }

    /// A control word ("Programming the 82C54").
    pub(super) fn control(&mut self, word: u8) {
        *self = Self {
            mode: Mode::from_bits(word >> 1),
            access: Access::from_bits(word >> 4),
            bcd: word & 1 != 0,
            state: State::Unloaded,
            gate: self.gate,
            ..Self::running(self.rate, 0, 0, true, 0)
        };
    }

    pub(super) fn write(&mut self, byte: u8, now: u64) {
        match (self.access, self.written_low.take()) {
            (Access::Low, _) => self.load(byte.into(), now),
            (Access::High, _) => self.load(u16::from(byte) << 8, now),
            (Access::LowThenHigh, Some(low)) => self.load(u16::from_le_bytes([low, byte]), now),
            (Access::LowThenHigh, None) => {
                self.written_low = Some(byte);
                // "Mode 0": the first byte stops the count.
                if self.mode == Mode::TerminalCount {
                    self.state = State::Unloaded;
                }
            }
        }
    }

    /// Starts a new count at once. In modes 2 and 3 the 8254 would finish the
    /// period first, which nothing waits for.
    fn load(&mut self, reload: u16, now: u64) {
        self.reload = reload;
        self.edges = 0;
        self.state = match self.gate {
            _ if self.mode.is_triggered() => State::Armed,
            true => State::Running(now),
            false => State::Paused(0),
        };
    }

    /// "Gate Pin Operations".
    pub(super) fn set_gate(&mut self, gate: bool, now: u64) {
        let rising = gate && !self.gate;
        self.gate = gate;
        self.state = match self.state {
            State::Armed | State::Running(_) if self.mode.is_triggered() && rising => State::Running(now),
            State::Paused(_) if rising && self.mode.is_periodic() => State::Running(now),
            State::Paused(clocks) if rising => State::Running(now.saturating_sub(self.rate.span_of(clocks))),
            State::Running(since) if !gate && !self.mode.is_triggered() => {
                State::Paused(self.clocks_since(since, now))
            }
            same => same,
        };
    }

    pub(super) fn latch_count(&mut self, now: u64) {
        // "Counter Latch Command": a second one is ignored until the first is read.
        if self.latched_count.is_none() {
            self.latched_count = Some(self.count(now));
        }
    }

    /// "Status Byte".
    pub(super) fn latch_status(&mut self, now: u64) {
        let null_count = self.clocks(now).is_none_or(|clocks| clocks == 0);
        let status = u8::from(self.output(now)) << 7
            | u8::from(null_count) << 6
            | self.access.bits() << 4
            | self.mode.bits() << 1
            | u8::from(self.bcd);
        self.latched_status.get_or_insert(status);
    }

    pub(super) fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.count(now)).to_le_bytes();
        let high_now = match self.access {
            Access::Low => false,
            Access::High => true,
            Access::LowThenHigh => {
                self.read_high = !self.read_high;
                !self.read_high
            }
        };
        if high_now || self.access == Access::Low {
            self.latched_count = None;
        }
        if high_now { high } else { low }
    }

    /// The output.
    pub(super) fn output(&self, now: u64) -> bool {
        let Some(steps) = self.steps(now) else {
            return self.mode != Mode::TerminalCount;
        };
        let (period, running) = (self.period(), matches!(self.state, State::Running(_)));
        match self.mode {
            Mode::TerminalCount => steps >= period,
            // Between trigger and load the pulse has not begun.
            Mode::OneShot => steps >= period || self.clocks(now) == Some(0),
            Mode::SoftwareStrobe | Mode::HardwareStrobe => steps != period,
            // The gate holds the output high.
            Mode::RateGenerator => !running || steps % period != period - 1,
            Mode::SquareWave => !running || steps % period < period.div_ceil(2),
        }
    }

    /// Periods completed.
    pub(super) fn periods(&self, now: u64) -> u64 {
        self.steps(now).unwrap_or(0) / self.period()
    }

    /// When the output will rise for the next time that is to be told.
    pub(super) fn next_edge(&self) -> Option<u64> {
        let State::Running(since) = self.state else { return None };
        let period = self.period();
        let steps = match self.mode {
            Mode::RateGenerator | Mode::SquareWave => {
                let skip = MIN_EDGE_GAP.div_ceil(period);
                self.edges.saturating_add(skip).saturating_mul(period)
            }
            _ if self.edges > 0 => return None,
            _ => self.single_edge(),
        };
        Some(since.saturating_add(self.rate.span_of(steps.saturating_add(1))))
    }

    /// Whether the output has risen since the last call.
    pub(super) fn take_edges(&mut self, now: u64) -> bool {
        let due = self.next_edge().is_some_and(|at| at <= now);
        if due {
            self.edges = if self.mode.is_periodic() { self.periods(now) } else { 1 };
        }
        due
    }

    /// Steps after which the output rises in the modes that count once.
    fn single_edge(&self) -> u64 {
        match self.mode {
            Mode::SoftwareStrobe | Mode::HardwareStrobe => self.period() + 1,
            _ => self.period(),
        }
    }

    /// The count as it is read.
    fn count(&self, now: u64) -> u16 {
        let (period, steps) = (self.period(), self.steps(now).unwrap_or(0));
        let count = match self.mode {
            Mode::RateGenerator => period - steps % period,
            Mode::SquareWave => {
                // An odd count is loaded less one, and takes one clock more while high.
                let (position, high) = (steps % period, period.div_ceil(2));
                let half = if position < high { position } else { position - high };
                (period & !1).saturating_sub(2 * half)
            }
            // The count goes on below 0, from the largest number.
            _ => {
                let modulus = self.modulus();
                (period + modulus - steps % modulus) % modulus
            }
        };
        self.encode(count)
    }

    fn encode(&self, count: u64) -> u16 {
        let digit = |unit: u64| count / unit % 10;
        let coded = if self.bcd {
            digit(1000) << 12 | digit(100) << 8 | digit(10) << 4 | digit(1)
        } else {
            count & 0xffff
        };
        u16::try_from(coded).unwrap_or(0)
    }

    /// Clocks of a period, 1 to 65536.
    fn period(&self) -> u64 {
        let reload = u64::from(self.reload);
        let count = if self.bcd {
            // Digits above 9 are no BCD; taken by their weight.
            [(12, 1000), (8, 100), (4, 10), (0, 1)]
                .map(|(shift, unit)| (reload >> shift & 0xf) * unit)
                .iter()
                .sum()
        } else {
            reload
        };
        if count == 0 { self.modulus() } else { count }
    }

    const fn modulus(&self) -> u64 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// Decrements so far: the first clock loads the count.
    fn steps(&self, now: u64) -> Option<u64> {
        self.clocks(now).map(|clocks| clocks.saturating_sub(1))
    }

    /// Clocks since the count was written or triggered.
    fn clocks(&self, now: u64) -> Option<u64> {
        match self.state {
            State::Unloaded | State::Armed => None,
            State::Running(since) => Some(self.clocks_since(since, now)),
            State::Paused(clocks) => Some(clocks),
        }
    }

    fn clocks_since(&self, since: u64, now: u64) -> u64 {
        self.rate.ticks_in(now.saturating_sub(since))
    }
}
