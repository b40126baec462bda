//! Virtual real-time clock (Motorola MC146818) and the CMOS memory behind it.
//!
//! The clock keeps no time: it shows the caller's wall clock, in nanoseconds
//! since 1970, shifted by what the guest has set. Section titles are those of
//! the MC146818's datasheet.

mod calendar;

use core::num::NonZeroU64;

use crate::rate::Rate;
pub(crate) use calendar::Calendar;
use calendar::DAY;

/// A register in the I/O space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtcPort(Register);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Register {
    Index,
    Data,
}

impl RtcPort {
    /// The register at I/O port `port`.
    #[must_use]
    pub const fn new(port: u16) -> Option<Self> {
        match port {
            0x70 => Some(Self(Register::Index)),
            0x71 => Some(Self(Register::Data)),
            _ => None,
        }
    }
}

/// Bytes of memory, the registers among them.
const CMOS_LEN: usize = 128;
const SECONDS: u8 = 0x00;
const SECONDS_ALARM: u8 = 0x01;
const MINUTES: u8 = 0x02;
const MINUTES_ALARM: u8 = 0x03;
const HOURS: u8 = 0x04;
const HOURS_ALARM: u8 = 0x05;
const WEEKDAY: u8 = 0x06;
const DAY_OF_MONTH: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const REG_A: u8 = 0x0a;
const REG_B: u8 = 0x0b;
const REG_C: u8 = 0x0c;
const REG_D: u8 = 0x0d;
/// Where PCs keep the century; the FADT's CENTURY field names it.
const CENTURY: u8 = 0x32;

/// Register A: update in progress.
const A_UIP: u8 = 1 << 7;
/// Register A after reset: divider running, 1024 Hz.
const A_RESET: u8 = 0x26;
/// Register B: no updates.
const B_SET: u8 = 1 << 7;
/// Register B: the calendar is binary.
const B_BINARY: u8 = 1 << 2;
/// Register B: hours run to 24.
const B_24_HOURS: u8 = 1 << 1;
/// Registers B and C: periodic, alarm and update-ended interrupt.
const PERIODIC: u8 = 1 << 6;
const ALARM: u8 = 1 << 5;
const UPDATE: u8 = 1 << 4;
/// Register C: an enabled interrupt is due.
const C_IRQ: u8 = 1 << 7;
/// Register D: the battery is good.
const D_VALID: u8 = 1 << 7;

const NS_PER_SECOND: u64 = 1_000_000_000;
/// "Update Cycle": UIP rises this long before the update.
const UIP_NS: u64 = 244_000;
const NS_HZ: NonZeroU64 = NonZeroU64::new(NS_PER_SECOND).unwrap();
const CRYSTAL_HZ: NonZeroU64 = NonZeroU64::new(32_768).unwrap();
/// The crystal, counted in nanoseconds.
const CRYSTAL: Rate = Rate::new(CRYSTAL_HZ, NS_HZ);

/// The clock of a domain. `wall` is the time in nanoseconds since 1970, UTC.
#[derive(Clone, Debug)]
pub struct Vrtc {
    index: u8,
    cmos: [u8; CMOS_LEN],
    /// What the guest's time is ahead of the wall clock, in seconds.
    offset: i64,
    /// Interrupt flags of register C.
    flags: u8,
    /// Up to when events have been looked for.
    seen: u64,
}

impl Vrtc {
    /// A clock that shows `wall`.
    #[must_use]
    pub fn new(wall: u64) -> Self {
        let mut rtc = Self { index: 0, cmos: [0; CMOS_LEN], offset: 0, flags: 0, seen: wall };
        rtc.set(REG_A, A_RESET);
        rtc.set(REG_B, B_24_HOURS);
        rtc.set(REG_D, D_VALID);
        rtc
    }

    /// IN from one of the ports.
    pub fn read(&mut self, port: RtcPort, wall: u64) -> u8 {
        match port.0 {
            // The index cannot be read back.
            Register::Index => 0xff,
            Register::Data => self.read_data(wall),
        }
    }

    fn read_data(&mut self, wall: u64) -> u8 {
        self.update(wall);
        match self.index {
            REG_A => self.get(REG_A) | if self.update_in_progress(wall) { A_UIP } else { 0 },
            REG_C => {
                let irq = if self.interrupts() { C_IRQ } else { 0 };
                irq | core::mem::take(&mut self.flags)
            }
            index if is_calendar(index) && !self.stopped() => {
                self.store_calendar(wall);
                self.get(index)
            }
            index => self.get(index),
        }
    }

    /// OUT to one of the ports. Ask [`Vrtc::next_deadline`] again then, and
    /// drive line 8 by [`Vrtc::interrupts`].
    pub fn write(&mut self, port: RtcPort, value: u8, wall: u64) {
        match port.0 {
            // Bit 7 masks NMIs, which the platform has none of.
            Register::Index => self.index = value & 0x7f,
            Register::Data => self.write_data(value, wall),
        }
    }

    fn write_data(&mut self, value: u8, wall: u64) {
        self.update(wall);
        match self.index {
            REG_A => self.set(REG_A, value & !A_UIP),
            REG_B => self.write_b(value, wall),
            REG_C | REG_D => {}
            index if is_calendar(index) && !self.stopped() => {
                self.store_calendar(wall);
                self.set(index, value);
                self.load_calendar(wall);
            }
            index => self.set(index, value),
        }
    }

    /// "Register B": while SET is on, the calendar is plain memory.
    fn write_b(&mut self, value: u8, wall: u64) {
        let (before, after) = (self.stopped(), value & B_SET != 0);
        if after && !before {
            self.store_calendar(wall);
        }
        // SET turns the update-ended interrupt off.
        self.set(REG_B, if after { value & !UPDATE } else { value });
        if before && !after {
            self.load_calendar(wall);
        }
    }

    /// The line of the clock, number 8: whether an enabled interrupt is due.
    #[must_use]
    pub fn interrupts(&self) -> bool {
        self.flags & self.get(REG_B) & (PERIODIC | ALARM | UPDATE) != 0
    }

    /// Looks for what has happened by `wall`; the line is [`Vrtc::interrupts`] then.
    pub fn update(&mut self, wall: u64) {
        let from = core::mem::replace(&mut self.seen, wall);
        if self.next_tick(from).is_some_and(|at| at <= wall) {
            self.flags |= PERIODIC;
        }
        if self.next_second(from).is_some_and(|at| at <= wall) {
            self.flags |= UPDATE;
        }
        if self.next_alarm(from).is_some_and(|at| at <= wall) {
            self.flags |= ALARM;
        }
    }

    /// When [`Vrtc::update`] is to be called for an enabled interrupt.
    ///
    /// There is none while the line is active: the guest must read register C first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let enabled = |bit| self.get(REG_B) & bit != 0 && !self.interrupts();
        let events = [
            enabled(PERIODIC).then(|| self.next_tick(self.seen)),
            enabled(UPDATE).then(|| self.next_second(self.seen)),
            enabled(ALARM).then(|| self.next_alarm(self.seen)),
        ];
        events.into_iter().flatten().flatten().min()
    }

    /// "Periodic Interrupt": the divider's next tick after `from`.
    fn next_tick(&self, from: u64) -> Option<u64> {
        let select = self.get(REG_A) & 0xf;
        // The two slowest-looking selections repeat those of a faster base.
        let shift = match select {
            0 => return None,
            1 | 2 => select + 6,
            _ => select - 1,
        };
        let ticks = (CRYSTAL.ticks_in(from) >> shift).saturating_add(1) << shift;
        Some(CRYSTAL.span_of(ticks)).filter(|_| self.divider_runs())
    }

    /// The next update of the calendar.
    fn next_second(&self, from: u64) -> Option<u64> {
        let next = (from / NS_PER_SECOND).saturating_add(1).saturating_mul(NS_PER_SECOND);
        (!self.stopped()).then_some(next)
    }

    /// "Alarm Interrupt": the next update at which the alarm bytes match.
    fn next_alarm(&self, from: u64) -> Option<u64> {
        let start = self.next_second(from)?;
        let time = self.guest_seconds(start).rem_euclid(DAY);
        let [hour, minute, second] = [
            self.alarm_field(HOURS_ALARM, 24)?,
            self.alarm_field(MINUTES_ALARM, 60)?,
            self.alarm_field(SECONDS_ALARM, 60)?,
        ];
        let today = calendar::next_time(time, hour, minute, second);
        let at = today.or_else(|| Some(DAY + calendar::next_time(0, hour, minute, second)?))?;
        let wait = u64::try_from(at - time).ok()?;
        Some(start.saturating_add(wait.saturating_mul(NS_PER_SECOND)))
    }

    /// An alarm byte: `Some(None)` for "don't care", `None` if it never matches.
    fn alarm_field(&self, index: u8, limit: i64) -> Option<Option<i64>> {
        let raw = self.get(index);
        if raw >= 0xc0 {
            return Some(None);
        }
        let value = if index == HOURS_ALARM { self.decode_hour(raw) } else { self.decode(raw) };
        (value < limit).then_some(Some(value))
    }

    fn update_in_progress(&self, wall: u64) -> bool {
        !self.stopped() && wall % NS_PER_SECOND >= NS_PER_SECOND - UIP_NS
    }

    fn stopped(&self) -> bool {
        self.get(REG_B) & B_SET != 0
    }

    /// "Divider Control": 010 is the PC's crystal.
    fn divider_runs(&self) -> bool {
        self.get(REG_A) >> 4 & 7 == 2
    }

    fn guest_seconds(&self, wall: u64) -> i64 {
        wall_seconds(wall).saturating_add(self.offset)
    }

    /// Writes the time of `wall` into the calendar bytes.
    fn store_calendar(&mut self, wall: u64) {
        let now = Calendar::from_seconds(self.guest_seconds(wall));
        let hour = self.encode_hour(now.hour);
        self.set(HOURS, hour);
        for (index, value) in [
            (SECONDS, now.second),
            (MINUTES, now.minute),
            (WEEKDAY, now.weekday + 1),
            (DAY_OF_MONTH, now.day),
            (MONTH, now.month),
            (YEAR, now.year.rem_euclid(100)),
            (CENTURY, now.year.div_euclid(100)),
        ] {
            let coded = self.encode(value);
            self.set(index, coded);
        }
    }

    /// Takes the time from the calendar bytes: it is that now.
    fn load_calendar(&mut self, wall: u64) {
        let field = |index| self.decode(self.get(index));
        let time = Calendar {
            second: field(SECONDS),
            minute: field(MINUTES),
            hour: self.decode_hour(self.get(HOURS)),
            weekday: 0,
            day: field(DAY_OF_MONTH),
            month: field(MONTH),
            year: field(CENTURY) * 100 + field(YEAR),
        };
        self.offset = time.seconds().saturating_sub(wall_seconds(wall));
    }

    /// "Data Mode": two decimal digits or a binary number.
    fn encode(&self, value: i64) -> u8 {
        let value = u8::try_from(value.rem_euclid(100)).unwrap_or(0);
        if self.get(REG_B) & B_BINARY != 0 { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn decode(&self, byte: u8) -> i64 {
        let byte = i64::from(byte);
        if self.get(REG_B) & B_BINARY != 0 { byte } else { (byte >> 4) * 10 + (byte & 0xf) }
    }

    /// "24/12 Control": in 12-hour mode bit 7 means afternoon.
    fn encode_hour(&self, hour: i64) -> u8 {
        if self.get(REG_B) & B_24_HOURS != 0 {
            return self.encode(hour);
        }
        let afternoon = if hour >= 12 { 0x80 } else { 0 };
        let twelfth = if hour % 12 == 0 { 12 } else { hour % 12 };
        self.encode(twelfth) | afternoon
    }

    fn decode_hour(&self, byte: u8) -> i64 {
        if self.get(REG_B) & B_24_HOURS != 0 {
            return self.decode(byte);
        }
        let afternoon = if byte & 0x80 != 0 { 12 } else { 0 };
        self.decode(byte & 0x7f) % 12 + afternoon
    }

    fn get(&self, index: u8) -> u8 {
        self.cmos.get(usize::from(index)).copied().unwrap_or(0xff)
    }

    fn set(&mut self, index: u8, value: u8) {
        if let Some(byte) = self.cmos.get_mut(usize::from(index)) {
            *byte = value;
        }
    }
}

const fn is_calendar(index: u8) -> bool {
    matches!(index, SECONDS | MINUTES | HOURS | WEEKDAY..=YEAR | CENTURY)
}

fn wall_seconds(wall: u64) -> i64 {
    // 2^64 ns are less than 2^35 s.
    i64::try_from(wall / NS_PER_SECOND).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = NS_PER_SECOND;
    /// 2026-11-22 16:05:59, a Sunday.
    const WALL: u64 = 1_795_363_559 * SECOND;

    fn get(rtc: &mut Vrtc, index: u8, wall: u64) -> u8 {
        rtc.write(RtcPort(Register::Index), index, wall);
        rtc.read(RtcPort(Register::Data), wall)
    }

    fn put(rtc: &mut Vrtc, index: u8, value: u8, wall: u64) {
        rtc.write(RtcPort(Register::Index), index, wall);
        rtc.write(RtcPort(Register::Data), value, wall);
    }

    fn calendar(rtc: &mut Vrtc, wall: u64) -> [u8; 8] {
        [CENTURY, YEAR, MONTH, DAY_OF_MONTH, WEEKDAY, HOURS, MINUTES, SECONDS]
            .map(|index| get(rtc, index, wall))
    }

    #[test]
    fn it_shows_the_wall_clock() {
        let mut rtc = Vrtc::new(WALL);
        assert_eq!(calendar(&mut rtc, WALL), [0x20, 0x26, 0x11, 0x22, 1, 0x16, 0x05, 0x59]);
        assert_eq!(calendar(&mut rtc, WALL + SECOND), [0x20, 0x26, 0x11, 0x22, 1, 0x16, 0x06, 0x00]);
        put(&mut rtc, REG_B, B_BINARY, WALL);
        assert_eq!(calendar(&mut rtc, WALL), [20, 26, 11, 22, 1, 0x84, 5, 59], "binary, 12 hours");
        assert_eq!((get(&mut rtc, REG_A, WALL), get(&mut rtc, REG_D, WALL)), (0x26, 0x80));
        assert_eq!((RtcPort::new(0x72), rtc.read(RtcPort::new(0x70).unwrap(), WALL)), (None, 0xff));
    }

    #[test]
    fn twelve_o_clock_is_twelve() {
        let mut rtc = Vrtc::new(0);
        put(&mut rtc, REG_B, 0, 0);
        assert_eq!(get(&mut rtc, HOURS, 0), 0x12);
        assert_eq!(get(&mut rtc, HOURS, 12 * 3600 * SECOND), 0x92);
        for (byte, hour) in [(0x12, 0), (0x01, 1), (0x92, 12), (0x91, 23)] {
            assert_eq!(rtc.decode_hour(byte), hour);
        }
    }

    // "Register B": how kernels set the time.
    #[test]
    fn a_time_that_is_set_goes_on_from_there() {
        let mut rtc = Vrtc::new(WALL);
        put(&mut rtc, REG_B, B_SET | B_24_HOURS | UPDATE, WALL);
        assert_eq!(get(&mut rtc, REG_B, WALL), B_SET | B_24_HOURS, "no update interrupts");
        for (index, value) in [
            (CENTURY, 0x19),
            (YEAR, 0x99),
            (MONTH, 0x12),
            (DAY_OF_MONTH, 0x31),
            (HOURS, 0x23),
            (MINUTES, 0x59),
        ] {
            put(&mut rtc, index, value, WALL + 5 * SECOND);
        }
        assert_eq!(get(&mut rtc, SECONDS, WALL + 9 * SECOND), 0x59, "stopped");
        let wall = WALL + 10 * SECOND;
        put(&mut rtc, REG_B, B_24_HOURS, wall);
        assert_eq!(calendar(&mut rtc, wall), [0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59]);
        assert_eq!(calendar(&mut rtc, wall + SECOND), [0x20, 0, 1, 1, 7, 0, 0, 0]);
        put(&mut rtc, MINUTES, 0x30, wall + SECOND);
        assert_eq!(calendar(&mut rtc, wall + 2 * SECOND), [0x20, 0, 1, 1, 7, 0, 0x30, 1]);
    }

    #[test]
    fn updates_are_announced() {
        let mut rtc = Vrtc::new(WALL);
        for (ns, uip) in [(0, 0), (SECOND - UIP_NS - 1, 0), (SECOND - UIP_NS, A_UIP), (SECOND - 1, A_UIP)] {
            assert_eq!(get(&mut rtc, REG_A, WALL + ns) & A_UIP, uip);
        }
    }

    // "Interrupts": flags are set whether enabled or not; reading C clears them.
    #[test]
    fn flags_and_interrupts() {
        let mut rtc = Vrtc::new(WALL);
        put(&mut rtc, SECONDS_ALARM, 1, WALL);
        assert_eq!((get(&mut rtc, REG_C, WALL + SECOND), rtc.next_deadline()), (PERIODIC | UPDATE, None));
        put(&mut rtc, REG_B, B_24_HOURS | UPDATE, WALL + SECOND + 1);
        assert_eq!(rtc.next_deadline(), Some(WALL + 2 * SECOND));
        rtc.update(WALL + 2 * SECOND - 1);
        assert!(!rtc.interrupts());
        rtc.update(WALL + 2 * SECOND);
        assert!(rtc.interrupts() && rtc.next_deadline().is_none());
        assert_eq!(get(&mut rtc, REG_C, WALL + 2 * SECOND), C_IRQ | PERIODIC | UPDATE);
        assert!(!rtc.interrupts());
    }

    #[test]
    fn periodic_rates() {
        for (select, hz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
            let mut rtc = Vrtc::new(WALL);
            put(&mut rtc, REG_A, 0x20 | select, WALL);
            put(&mut rtc, REG_B, B_24_HOURS | PERIODIC, WALL);
            let hz = if cfg!(miri) { hz.min(20) } else { hz };
            let mut ticks = 0;
            while let Some(at) = rtc.next_deadline().filter(|&at| at <= WALL + SECOND) {
                ticks += 1;
                assert_ne!(get(&mut rtc, REG_C, at) & PERIODIC, 0);
                if cfg!(miri) && ticks == hz {
                    break;
                }
            }
            assert_eq!(ticks, hz);
        }
        let mut rtc = Vrtc::new(WALL);
        put(&mut rtc, REG_B, PERIODIC, WALL);
        for stopped in [0x20, 0x66] {
            put(&mut rtc, REG_A, stopped, WALL);
            assert_eq!(rtc.next_deadline(), None);
        }
    }

    // "Alarm Interrupt".
    #[test]
    fn alarms_ring_at_their_time() {
        let mut rtc = Vrtc::new(WALL);
        let mut next = |hour, minute, second| {
            for (index, value) in [(HOURS_ALARM, hour), (MINUTES_ALARM, minute), (SECONDS_ALARM, second)] {
                put(&mut rtc, index, value, WALL);
            }
            put(&mut rtc, REG_B, B_24_HOURS | ALARM, WALL);
            rtc.next_deadline().map(|at| (at - WALL) / SECOND)
        };
        assert_eq!(next(0x16, 0x06, 0x10), Some(11));
        assert_eq!(next(0x16, 0x05, 0x59), Some(86_400), "tomorrow");
        assert_eq!(next(0xff, 0x00, 0x00), Some(54 * 60 + 1));
        assert_eq!(next(0xc0, 0xc0, 0x58), Some(59));
        assert_eq!(next(0xff, 0xff, 0xff), Some(1));
        assert_eq!(next(0x25, 0xff, 0xff), None);
        assert_eq!(next(0xff, 0xff, 0x60), None);
        assert_eq!(next(0x15, 0xff, 0xff), Some(22 * 3600 + 54 * 60 + 1));
    }

    #[test]
    fn memory_keeps_its_bytes() {
        let mut rtc = Vrtc::new(WALL);
        put(&mut rtc, 0x7f, 0x5a, WALL);
        put(&mut rtc, 0x8f, 0xa5, WALL);
        assert_eq!((get(&mut rtc, 0x7f, WALL), get(&mut rtc, 0x0f, WALL)), (0x5a, 0xa5));
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 2 } else { 512 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn any_traffic_is_survived(
            steps in prop::collection::vec(
                (0..4_u8, 0..0x40_u8, any::<u8>(), any::<u64>()), 1..if cfg!(miri) { 10 } else { 150 },
            ),
            wall in any::<u64>(),
        ) {
            let mut rtc = Vrtc::new(wall);
            for (action, index, value, wall) in steps {
                match action {
                    0 | 1 => put(&mut rtc, index, value, wall),
                    2 => _ = get(&mut rtc, index, wall),
                    _ => {
                        rtc.update(wall);
                        prop_assert!(rtc.next_deadline().is_none_or(|at| at > wall || at == u64::MAX));
                    }
                }
            }
        }

        #[test]
        fn what_is_set_is_shown(
            wall in any::<u64>(), year in 0..9999_i64, month in 1..=12_i64, day in 1..=28_i64,
            time in (0..24_i64, 0..60_i64, 0..60_i64), format in 0..4_u8,
        ) {
            let mut rtc = Vrtc::new(wall);
            put(&mut rtc, REG_B, B_SET | format << 1, wall);
            let (hour, minute, second) = time;
            let fields = [
                (CENTURY, rtc.encode(year / 100)), (YEAR, rtc.encode(year % 100)), (MONTH, rtc.encode(month)),
                (DAY_OF_MONTH, rtc.encode(day)), (HOURS, rtc.encode_hour(hour)), (MINUTES, rtc.encode(minute)),
                (SECONDS, rtc.encode(second)),
            ];
            for (index, value) in fields {
                put(&mut rtc, index, value, wall);
            }
            put(&mut rtc, REG_B, format << 1, wall);
            for (index, value) in fields {
                prop_assert_eq!(get(&mut rtc, index, wall), value);
            }
        }
    }
}
