//! The console log: levels, who may print how much, and the ring that keeps it.
//!
//! ```text
//!  message, Level ──Threshold──> Always / RateLimited ──RateLimit──> Ring
//!                                                                     │
//!                            one Cursor each: serial, VGA, `xl dmesg` ┘
//! ```
//!
//! Levels and limits are those of Xen (`docs/misc/xen-command-line.pandoc`,
//! `loglvl`; `xen/drivers/char/console.c`). Nothing here knows a clock or a
//! device: the time comes in, bytes go out.

use core::fmt;

/// How much a message matters, the most important first (`XENLOG_ERR` ... `XENLOG_DEBUG`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is not as it should be; work goes on.
    Warning,
    /// Worth knowing.
    Info,
    /// For those who work on the hypervisor.
    Debug,
}

/// How far down the levels a rule reaches: the words of `loglvl=`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reach {
    /// No message at all.
    None,
    /// Errors.
    Error,
    /// Errors and warnings.
    Warning,
    /// Errors, warnings and information.
    Info,
    /// Every message (`debug` and `all`).
    All,
}

impl Reach {
    /// Whether messages of `level` are within reach.
    #[must_use]
    pub const fn covers(self, level: Level) -> bool {
        (level as u8) < self as u8
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::All => "all",
        })
    }
}

/// What is to be done with a message of some level.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Decision {
    /// Print it.
    Always,
    /// Print it if the [`RateLimit`] lets it pass.
    RateLimited,
    /// Drop it.
    Never,
}

/// The pair that `loglvl=` and `guest_loglvl=` set: `<always>/<rate limited>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Threshold {
    always: Reach,
    rate_limited: Reach,
}

impl Threshold {
    /// For the hypervisor's own messages: `loglvl=info`.
    pub const HOST_DEFAULT: Self = Self::new(Reach::Info, Reach::Info);
    /// For what a guest provokes: `guest_loglvl=none/warning`.
    pub const GUEST_DEFAULT: Self = Self::new(Reach::None, Reach::Warning);

    /// Prints what `always` covers, and under a rate limit what `rate_limited`
    /// covers beyond it. Less than `always` means: nothing beyond it.
    #[must_use]
    pub const fn new(always: Reach, rate_limited: Reach) -> Self {
        let reaches_further = rate_limited as u8 > always as u8;
        Self { always, rate_limited: if reaches_further { rate_limited } else { always } }
    }

    /// What happens to a message of `level`.
    #[must_use]
    pub const fn decide(self, level: Level) -> Decision {
        if self.always.covers(level) {
            Decision::Always
        } else if self.rate_limited.covers(level) {
            Decision::RateLimited
        } else {
            Decision::Never
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.always, self.rate_limited)
    }
}

/// What a [`RateLimit`] says of one message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Verdict {
    /// Print it.
    Allow,
    /// Print it, and say first that this many were dropped since the last one.
    AllowAfterDropping(u64),
    /// Drop it.
    Drop,
}

/// A token bucket: a burst of messages, then one in each period.
#[derive(Clone, Debug)]
pub struct RateLimit {
    period_ms: u64,
    burst: u64,
    /// Credit in milliseconds; a message costs one period.
    credit_ms: u64,
    last_ms: u64,
    dropped: u64,
}

impl RateLimit {
    const NS_PER_MS: u64 = 1_000_000;

    /// Xen's limit (`printk_ratelimit`): ten messages, then one in five seconds.
    pub const XEN: Self = Self::new(5_000, 10);

    /// Lets `burst` messages pass at once and one more in each `period_ms`.
    #[must_use]
    pub const fn new(period_ms: u32, burst: u32) -> Self {
        let (period_ms, burst) = (period_ms as u64, burst as u64);
        Self { period_ms, burst, credit_ms: period_ms * burst, last_ms: 0, dropped: 0 }
    }

    /// Judges a message at `now_ns` nanoseconds. A clock that steps back earns nothing.
    pub fn allow(&mut self, now_ns: u64) -> Verdict {
        self.earn(now_ns / Self::NS_PER_MS);
        match self.credit_ms.checked_sub(self.period_ms) {
            Some(rest) if self.burst > 0 => {
                self.credit_ms = rest;
                match core::mem::take(&mut self.dropped) {
                    0 => Verdict::Allow,
                    dropped => Verdict::AllowAfterDropping(dropped),
                }
            }
            _ => {
                self.dropped = self.dropped.saturating_add(1);
                Verdict::Drop
            }
        }
    }

    fn earn(&mut self, now_ms: u64) {
        let earned = now_ms.saturating_sub(self.last_ms);
        // Both factors came from 32 bits.
        let full = self.period_ms * self.burst;
        self.credit_ms = self.credit_ms.saturating_add(earned).min(full);
        self.last_ms = self.last_ms.max(now_ms);
    }
}

/// A reader's place in a [`Ring`]: counts every byte ever written before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Cursor(u64);

impl Cursor {
    /// Where the log began.
    pub const START: Self = Self(0);

    /// The place as `index` of `XEN_SYSCTL_readconsole` has it: modulo 2^32.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the ABI's index wraps at 2^32")]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

/// Bytes of a [`Ring`] that lie next to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk<'r> {
    /// Bytes that were overwritten before the reader came to them.
    pub lost: u64,
    /// What comes next; empty when the reader has seen everything.
    pub bytes: &'r [u8],
}

/// What [`Ring::read`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// Bytes that were overwritten before the reader came to them.
    pub lost: u64,
    /// Bytes copied.
    pub copied: usize,
}

/// The last bytes of the log, oldest overwritten first.
///
/// `B` is the memory: an array, or a slice that lives long enough. The number
/// of bytes ever written runs freely, so a reader that fell behind learns how
/// much it missed, and readers do not disturb each other or the writer.
#[derive(Clone, Debug)]
pub struct Ring<B> {
    memory: B,
    written: u64,
    /// The first byte that this memory was given: [`Ring::move_to`] brings no older ones.
    first: u64,
    /// Where a reader without an index starts: moved by [`Ring::clear_to`].
    cleared: u64,
}

impl<B> Ring<B> {
    /// An empty log kept in `memory`.
    #[must_use]
    pub const fn new(memory: B) -> Self {
        Self { memory, written: 0, first: 0, cleared: 0 }
    }

    /// Where the next byte will be written.
    #[must_use]
    pub const fn end(&self) -> Cursor {
        Cursor(self.written)
    }

    /// Bytes written behind `cursor`, those already overwritten included.
    #[must_use]
    pub const fn backlog(&self, cursor: Cursor) -> u64 {
        self.written.saturating_sub(cursor.0)
    }

    /// Forgets what is before `place`, for readers that come with no cursor
    /// (`clear` of `XEN_SYSCTL_readconsole`).
    pub const fn clear_to(&mut self, place: Cursor) {
        if place.0 > self.cleared && place.0 <= self.written {
            self.cleared = place.0;
        }
    }
}

impl<B: AsRef<[u8]>> Ring<B> {
    /// Bytes that the log keeps.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.as_ref().len()
    }

    /// The oldest byte that is still there.
    #[must_use]
    pub fn oldest(&self) -> Cursor {
        Cursor(self.written.saturating_sub(self.capacity() as u64).max(self.first))
    }

    /// Where `XEN_SYSCTL_readconsole` starts: at `index` if it came with one
    /// (`incremental`) that still lies in the log, else at the oldest byte that
    /// was not cleared.
    #[must_use]
    pub fn console_start(&self, index: Option<u32>) -> Cursor {
        let start = self.oldest().0.max(self.cleared);
        let behind = index.map(|index| u64::from(self.end().index().wrapping_sub(index)));
        match behind {
            Some(behind) if behind <= self.written - start => Cursor(self.written - behind),
            _ => Cursor(start),
        }
    }

    /// The next bytes for the reader at `cursor`, at most `max` of them, and
    /// moves it past them. There may be more than the chunk: ask until it is empty.
    pub fn take(&self, cursor: &mut Cursor, max: usize) -> Chunk<'_> {
        let oldest = self.oldest().0;
        let lost = oldest.saturating_sub(cursor.0);
        let from = cursor.0.clamp(oldest, self.written);
        let bytes = self.chunk(from, max);
        *cursor = Cursor(from + bytes.len() as u64);
        Chunk { lost, bytes }
    }

    /// Copies the next bytes for the reader at `cursor` and moves it past them.
    pub fn read(&self, cursor: &mut Cursor, out: &mut [u8]) -> Read {
        let mut read = Read { lost: 0, copied: 0 };
        // Twice at most: up to the end of the memory, and on from its start.
        while let Some(rest) = out.get_mut(read.copied..).filter(|rest| !rest.is_empty()) {
            let chunk = self.take(cursor, rest.len());
            read.lost += chunk.lost;
            match rest.get_mut(..chunk.bytes.len()) {
                Some(to) if !to.is_empty() => to.copy_from_slice(chunk.bytes),
                _ => break,
            }
            read.copied += chunk.bytes.len();
        }
        read
    }

    /// Bytes from position `from` (between oldest and written) to the next seam.
    fn chunk(&self, from: u64, max: usize) -> &[u8] {
        let memory = self.memory.as_ref();
        let Some(at) = slot(from, memory.len()) else { return &[] };
        let left = usize::try_from(self.written - from).unwrap_or(usize::MAX);
        memory.get(at..).and_then(|tail| tail.get(..tail.len().min(left).min(max))).unwrap_or(&[])
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Ring<B> {
    /// Appends `bytes`; the oldest give way.
    pub fn write(&mut self, bytes: &[u8]) {
        let capacity = self.capacity();
        // What would be overwritten within this very call need not be stored.
        let skipped = bytes.len().saturating_sub(capacity);
        self.written += skipped as u64;
        let mut rest = bytes.get(skipped..).unwrap_or(&[]);
        while let Some(at) = slot(self.written, capacity).filter(|_| !rest.is_empty()) {
            let fits = rest.len().min(capacity - at);
            let (now, later) = rest.split_at(fits);
            if let Some(to) = self.memory.as_mut().get_mut(at..at + fits) {
                to.copy_from_slice(now);
            }
            self.written += fits as u64;
            rest = later;
        }
    }

    /// Moves the log to other `memory` (`conring_size=`), keeping its last bytes
    /// and every cursor, and hands back the old memory.
    pub fn move_to(&mut self, memory: B) -> B {
        let start = self.oldest().0;
        let mut moved = Self { memory, written: start, first: start, cleared: self.cleared };
        let mut cursor = Cursor(start);
        while let bytes @ [_, ..] = self.take(&mut cursor, usize::MAX).bytes {
            moved.write(bytes);
        }
        core::mem::replace(self, moved).memory
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> fmt::Write for Ring<B> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

/// Where the byte at `position` lies in memory of `capacity` bytes.
fn slot(position: u64, capacity: usize) -> Option<usize> {
    usize::try_from(position.checked_rem(capacity as u64)?).ok()
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Few cases under miri, which is slow and shuts the file system away.
    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 4 } else { 256 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    const LEVELS: [Level; 4] = [Level::Error, Level::Warning, Level::Info, Level::Debug];

    fn decisions(threshold: Threshold) -> [Decision; 4] {
        LEVELS.map(|level| threshold.decide(level))
    }

    #[test]
    fn thresholds_split_the_levels_as_xen_does() {
        use Decision::{Always, Never, RateLimited};
        assert_eq!(decisions(Threshold::HOST_DEFAULT), [Always, Always, Always, Never]);
        assert_eq!(decisions(Threshold::GUEST_DEFAULT), [RateLimited, RateLimited, Never, Never]);
        assert_eq!(decisions(Threshold::new(Reach::All, Reach::All)), [Always; 4]);
        assert_eq!(decisions(Threshold::new(Reach::None, Reach::None)), [Never; 4]);
        let swapped = Threshold::new(Reach::Info, Reach::Error);
        assert_eq!(swapped, Threshold::new(Reach::Info, Reach::Info));
        assert_eq!(std::format!("{}", Threshold::GUEST_DEFAULT), "none/warning");
    }

    #[test]
    fn a_burst_passes_and_then_one_message_per_period() {
        let second = 1_000_000_000;
        let mut limit = RateLimit::XEN;
        assert!((0..10).all(|_| limit.allow(0) == Verdict::Allow));
        assert_eq!(limit.allow(0), Verdict::Drop);
        assert_eq!(limit.allow(5 * second - 1), Verdict::Drop);
        assert_eq!(limit.allow(5 * second), Verdict::AllowAfterDropping(2));
        assert_eq!(limit.allow(5 * second), Verdict::Drop);
        // A long silence earns one burst, not more.
        assert_eq!(limit.allow(5_000 * second), Verdict::AllowAfterDropping(1));
        assert!((0..9).all(|_| limit.allow(5_000 * second) == Verdict::Allow));
        assert_eq!(limit.allow(5_000 * second), Verdict::Drop);
    }

    #[test]
    fn a_clock_that_steps_back_earns_nothing() {
        let mut limit = RateLimit::new(1_000, 1);
        assert_eq!(limit.allow(9_000_000_000), Verdict::Allow);
        assert_eq!(limit.allow(0), Verdict::Drop);
        assert_eq!(limit.allow(9_500_000_000), Verdict::Drop);
        assert_eq!(limit.allow(10_000_000_000), Verdict::AllowAfterDropping(2));
    }

    #[test]
    fn a_limit_of_zero_is_all_or_nothing() {
        let (mut none, mut all) = (RateLimit::new(1_000, 0), RateLimit::new(0, 1));
        assert!((0..5).all(|_| none.allow(u64::MAX) == Verdict::Drop));
        assert!((0..5).all(|_| all.allow(0) == Verdict::Allow));
    }

    fn everything<B: AsRef<[u8]>>(ring: &Ring<B>, cursor: &mut Cursor) -> (u64, Vec<u8>) {
        let mut out = std::vec![0; ring.capacity() + 1];
        let read = ring.read(cursor, &mut out);
        out.truncate(read.copied);
        (read.lost, out)
    }

    #[test]
    fn each_reader_has_its_own_place_and_learns_what_it_lost() {
        let mut ring = Ring::new([0; 8]);
        let (mut fast, mut slow) = (Cursor::START, Cursor::START);
        ring.write(b"abcde");
        assert_eq!(everything(&ring, &mut fast), (0, b"abcde".to_vec()));
        ring.write(b"fghij");
        assert_eq!(everything(&ring, &mut fast), (0, b"fghij".to_vec()));
        assert_eq!(everything(&ring, &mut slow), (2, b"cdefghij".to_vec()));
        assert_eq!(everything(&ring, &mut slow), (0, Vec::new()));
    }

    #[test]
    fn chunks_end_at_the_seam_and_at_the_limit() {
        let mut ring = Ring::new([0; 8]);
        let mut cursor = Cursor::START;
        write!(ring, "123-{}", 45_670 + 8).unwrap();
        assert_eq!(ring.take(&mut cursor, 3), Chunk { lost: 1, bytes: b"23-" });
        assert_eq!(ring.take(&mut cursor, 100), Chunk { lost: 0, bytes: b"4567" });
        assert_eq!(ring.take(&mut cursor, 100), Chunk { lost: 0, bytes: b"8" });
        assert_eq!(ring.take(&mut cursor, 100), Chunk { lost: 0, bytes: b"" });
    }

    #[test]
    fn a_ring_without_memory_loses_everything() {
        let mut ring = Ring::new([0; 0]);
        ring.write(b"abc");
        assert_eq!(ring.take(&mut Cursor::START.clone(), 9), Chunk { lost: 3, bytes: b"" });
        assert_eq!(everything(&ring, &mut ring.oldest()), (0, Vec::new()));
    }

    #[test]
    fn readconsole_starts_where_xens_does() {
        let mut ring = Ring::new([0; 8]);
        ring.write(b"0123456789");
        // Not incremental, or an index that is gone or never was: the oldest.
        for index in [None, Some(0), Some(1), Some(11), Some(u32::MAX)] {
            assert_eq!(ring.console_start(index), Cursor(2), "{index:?}");
        }
        for index in 2..=10 {
            assert_eq!(ring.console_start(Some(index)), Cursor(index.into()));
        }
        ring.clear_to(Cursor(6));
        assert_eq!(ring.console_start(None), Cursor(6));
        assert_eq!(ring.console_start(Some(3)), Cursor(6));
        assert_eq!(ring.console_start(Some(7)), Cursor(7));
        ring.clear_to(Cursor(3));
        ring.clear_to(Cursor(99));
        assert_eq!(ring.console_start(None), Cursor(6));
        // Device cursors do not care.
        assert_eq!(everything(&ring, &mut Cursor(3)), (0, b"3456789".to_vec()));
    }

    #[test]
    fn readconsole_follows_an_index_over_two_to_the_32() {
        let mut ring = Ring::new([0; 8]);
        ring.written = 0xffff_fffc;
        ring.cleared = ring.written;
        ring.write(b"abcdefgh");
        assert_eq!(ring.end().index(), 4);
        let mut cursor = ring.console_start(Some(0xffff_fffe));
        assert_eq!(everything(&ring, &mut cursor), (0, b"cdefgh".to_vec()));
        assert_eq!(ring.console_start(Some(1)), Cursor(0x1_0000_0001));
    }

    #[test]
    fn the_log_moves_to_other_memory_with_its_cursors() {
        let mut ring = Ring::new(std::vec![0; 4]);
        let mut cursor = Cursor::START;
        ring.write(b"abcdef");
        assert_eq!(ring.move_to(std::vec![0; 16]).len(), 4);
        ring.write(b"ghi");
        assert_eq!(everything(&ring, &mut cursor), (2, b"cdefghi".to_vec()));
        drop(ring.move_to(std::vec![0; 3]));
        assert_eq!(everything(&ring, &mut Cursor(2)), (4, b"ghi".to_vec()));
    }

    proptest! {
        #![proptest_config(config())]

        /// Against a list of every byte ever written.
        #[test]
        fn the_ring_holds_the_tail_of_all_that_was_written(
            capacity in 0_usize..20,
            steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0_usize..30), 0..30),
        ) {
            let mut ring = Ring::new(std::vec![0; capacity]);
            let mut all = Vec::new();
            let mut cursor = Cursor::START;
            let mut place = 0;
            for (bytes, max) in steps {
                ring.write(&bytes);
                all.extend_from_slice(&bytes);
                let mut out = std::vec![0; max];
                let read = ring.read(&mut cursor, &mut out);
                let oldest = all.len().saturating_sub(capacity);
                let lost = if max == 0 { 0 } else { oldest.saturating_sub(place) };
                prop_assert_eq!(read.lost, lost as u64);
                place += lost;
                prop_assert_eq!(&out[..read.copied], &all[place..(place + max).min(all.len()).max(place)]);
                place += read.copied;
                prop_assert_eq!(cursor, Cursor(place as u64));
            }
        }

        /// Over any stretch no more pass than the burst and one for each period.
        #[test]
        fn no_more_pass_than_burst_and_periods(gaps in prop::collection::vec(0_u64..3_000, 1..200)) {
            let (mut limit, mut now_ms, mut passed, mut seen) = (RateLimit::new(1_000, 3), 0, 0, 0);
            let mut sum_dropped = 0;
            for gap in gaps {
                now_ms += gap;
                seen += 1;
                match limit.allow(now_ms * 1_000_000) {
                    Verdict::Allow => passed += 1,
                    Verdict::AllowAfterDropping(dropped) => {
                        passed += 1;
                        sum_dropped += dropped;
                    }
                    Verdict::Drop => {}
                }
                prop_assert!(passed <= 3 + now_ms / 1_000);
            }
            prop_assert_eq!(passed + sum_dropped + limit.dropped, seen);
        }
    }
}
