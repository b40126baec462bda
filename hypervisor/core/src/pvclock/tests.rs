use super::*;
use proptest::prelude::*;

const HOUR_NS: u64 = 3_600 * NS_PER_SECOND;
const STABLE: PvclockFlags = PvclockFlags::TSC_STABLE;

fn hz(hz: u64) -> NonZeroU64 {
    NonZeroU64::new(hz).unwrap()
}

/// What a guest makes of a record, as `xen.h` says.
fn guest_reads(record: &VcpuTimeInfo, tsc: u64) -> u64 {
    let ticks = tsc - record.tsc_timestamp;
    let shift = u32::from(record.tsc_shift.unsigned_abs());
    let shifted = if record.tsc_shift < 0 { ticks >> shift } else { ticks << shift };
    let ns = (u128::from(shifted) * u128::from(record.tsc_to_system_mul)) >> 32;
    record.system_time + u64::try_from(ns).unwrap()
}

#[test]
fn factors_have_all_their_bits() {
    for (rate, mul, shift) in [
        // A factor of 1 would be 2^32, which does not fit.
        (1_000_000_000, 0x8000_0000, 1),
        (4_000_000_000, 0x8000_0000, -1),
        (2_000_000_000, 0x8000_0000, 0),
        (3_000_000_000, 2_863_311_531, -1),
        (1_000_000, 0xfa00_0000, 10),
        (1, 4_000_000_000, 30),
    ] {
        let scale = TscScale::from_hz(hz(rate));
        assert_eq!((scale.mul(), scale.shift()), (mul, shift), "{rate} Hz");
    }
    let fastest = TscScale::from_hz(NonZeroU64::MAX);
    assert!(fastest.mul() > 0);
}

#[test]
fn time_before_the_epoch_is_0_and_after_the_end_stands() {
    let clock = SystemClock::new(hz(1_000_000_000), 500);
    assert_eq!((clock.ns_at(0), clock.ns_at(500), clock.ns_at(501)), (0, 0, 1));
    assert_eq!(clock.record(499, 0, STABLE).system_time, 0);
    assert_eq!(clock.tsc_at(0), 500);
    assert_eq!(clock.tsc_at(u64::MAX), u64::MAX);
}

#[test]
fn the_guests_counter_may_be_offset() {
    let clock = SystemClock::new(hz(2_000_000_000), 1_000);
    let behind = 700_u64.wrapping_neg();
    let record = clock.record(1_000 + 2_000, behind, PvclockFlags::empty());
    assert_eq!((record.tsc_timestamp, record.flags), (2_300, 0));
    assert_eq!(guest_reads(&record, 2_300 + 250), clock.ns_at(3_250));
}

#[test]
fn versions_are_odd_while_writing() {
    assert_eq!((version_writing(0), version_done(1)), (1, 2));
    assert_eq!((version_writing(1), version_done(3)), (3, 4), "a guest may have written there");
    assert_eq!((version_writing(u32::MAX - 1), version_done(u32::MAX)), (u32::MAX, 0));
    assert_eq!(version_writing(u32::MAX), 1);
}

#[test]
fn the_wall_clock_is_that_of_boot() {
    let now = u128::from(0x1_2345_6789_u64) * 1_000_000_000 + 250;
    let clock = WallClock::new(now, 1_000_000_500);
    assert_eq!((clock.sec_hi(), clock.sec(), clock.nsec()), (1, 0x2345_6787, 999_999_750));
    assert_eq!(clock.unix_ns(1_000_000_500), now);
    assert_eq!(clock.ahead(-2).sec(), 0x2345_6785);
    assert_eq!(clock.ahead(i64::MIN).sec_hi(), 0);
    assert_eq!(WallClock::new(3, 4).unix_ns(0), 0, "no time before 1970");
    assert_eq!(WallClock::new(u128::MAX, 0).sec(), u32::MAX);
}

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 3 } else { 512 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn any_rate() -> impl Strategy<Value = NonZeroU64> {
    (1_000_000..10_000_000_000_u64).prop_map(hz)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_hour_is_right_to_the_microsecond(rate in any_rate(), epoch in 0..1_u64 << 60, part in 1..1_000_u64) {
        let ticks = u64::try_from(u128::from(rate.get()) * 3_600 * u128::from(part) / 1_000).unwrap();
        let truth = u128::from(ticks) * 1_000_000_000 / u128::from(rate.get());
        let clock = SystemClock::new(rate, epoch);
        let error = u128::from(clock.ns_at(epoch + ticks)).abs_diff(truth);
        prop_assert!(error < 1_000, "{error} ns");
    }

    #[test]
    fn time_never_goes_back_from_record_to_record(
        rate in any_rate(), epoch in 0..1_u64 << 60,
        pauses in prop::collection::vec((0..40_000_000_000_u64, 0..1_000_u64), 1..50),
    ) {
        let clock = SystemClock::new(rate, epoch);
        let mut tsc = epoch;
        let mut record = clock.record(tsc, 0, STABLE);
        let mut latest = 0;
        for (pause, reads) in pauses {
            for step in 0..=3 {
                let read = guest_reads(&record, tsc + step * (pause + reads) / 3);
                prop_assert!(read >= latest, "{read} after {latest}");
                latest = read;
            }
            tsc += pause + reads;
            record = clock.record(tsc, 0, STABLE);
            prop_assert!(record.system_time.abs_diff(clock.ns_at(tsc)) <= 12);
        }
    }

    #[test]
    fn the_record_of_the_epoch_is_the_hypervisors_clock(
        rate in any_rate(), epoch in 0..1_u64 << 60, ticks in 0..1_u64 << 50,
    ) {
        let clock = SystemClock::new(rate, epoch);
        let record = clock.record(epoch, 0, STABLE);
        prop_assert_eq!(guest_reads(&record, epoch + ticks), clock.ns_at(epoch + ticks));
    }

    #[test]
    fn a_deadline_is_reached_when_the_clock_says_so_and_not_before(
        rate in any_rate(), epoch in 0..1_u64 << 60, ns in 1..1000 * HOUR_NS,
    ) {
        let clock = SystemClock::new(rate, epoch);
        let at = clock.tsc_at(ns);
        prop_assert!(clock.ns_at(at) >= ns);
        prop_assert!(clock.ns_at(at - 1) < ns);
    }

    #[test]
    fn no_counter_makes_it_overflow(rate in 1..=u64::MAX, epoch in any::<u64>(), tsc in any::<u64>()) {
        let clock = SystemClock::new(hz(rate), epoch);
        let _ = (clock.ns_at(tsc), clock.tsc_at(tsc), clock.record(tsc, epoch, STABLE));
    }
}
