//! Behaviour of the virtual interval timer, mode by mode of the 8254 datasheet.

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

/// TSC ticks for each clock of the timer.
const STEP: u64 = 1000;

/// A machine whose TSC is a multiple of the timer's clock, so that counts are exact.
fn pit() -> Vpit {
    Vpit::new(NonZeroU64::new(PIT_HZ.get() * STEP).unwrap(), 0)
}

fn port(raw: u16) -> PitPort {
    PitPort::new(raw).unwrap()
}

fn write(pit: &mut Vpit, raw: u16, value: u8, clock: u64) {
    pit.write(port(raw), value, clock * STEP);
}

fn read(pit: &mut Vpit, raw: u16, clock: u64) -> u8 {
    pit.read(port(raw), clock * STEP)
}

fn read_word(pit: &mut Vpit, raw: u16, clock: u64) -> u16 {
    u16::from_le_bytes([read(pit, raw, clock), read(pit, raw, clock)])
}

/// Programs channel 2 with both bytes of `count` at clock 0 and opens its gate.
fn channel2(control: u8, count: u16) -> Vpit {
    let mut pit = pit();
    write(&mut pit, 0x61, 1, 0);
    write(&mut pit, 0x43, 0xb0 | control, 0);
    count.to_le_bytes().iter().for_each(|&byte| write(&mut pit, 0x42, byte, 0));
    pit
}

/// The output of channel 2 at each of the first clocks.
fn outputs(pit: &mut Vpit, clocks: u64) -> Vec<bool> {
    (0..clocks).map(|clock| read(pit, 0x61, clock) & OUTPUT2 != 0).collect()
}

fn levels(pattern: &str) -> Vec<bool> {
    pattern.bytes().map(|byte| byte == b'1').collect()
}

// rcore-os/tgoskits#585: kernels expect ticks before they program the timer.
#[test]
fn channel_0_ticks_in_mode_3_after_reset() {
    let mut pit = pit();
    write(&mut pit, 0x43, 0xe2, 5);
    assert_eq!(read(&mut pit, 0x40, 5), 0xb6, "output high, loaded, both bytes, mode 3");
    assert_eq!(pit.next_deadline(), Some(0x1_0001 * STEP));
    assert!(!pit.expire(0x1_0000 * STEP) && pit.expire(0x1_0001 * STEP) && !pit.expire(0x1_0001 * STEP));
    assert_eq!(pit.next_deadline(), Some(0x2_0001 * STEP));
}

// "Mode 0: Interrupt on Terminal Count".
#[test]
fn mode_0_rises_once() {
    let mut pit = channel2(0x0, 4);
    assert_eq!(outputs(&mut pit, 8), levels("00000111"), "N + 1 clocks after the write");
    assert_eq!([1, 2, 5, 6].map(|clock| read_word(&mut pit, 0x42, clock)), [4, 3, 0, 0xffff]);
    let mut pit = Vpit::new(PIT_HZ, 0);
    [0x30, 0].iter().for_each(|&value| pit.write(port(0x43), value, 0));
    pit.write(port(0x43), 0x30, 0);
    assert_eq!(pit.next_deadline(), None, "no count yet");
    pit.write(port(0x40), 100, 0);
    pit.write(port(0x40), 0, 0);
    assert_eq!(pit.next_deadline(), Some(101));
    assert!(pit.expire(500) && !pit.expire(u64::MAX));
    assert_eq!(pit.next_deadline(), None);
}

#[test]
fn the_gate_holds_mode_0() {
    let mut pit = channel2(0x0, 10);
    write(&mut pit, 0x61, 0, 5);
    assert_eq!(read_word(&mut pit, 0x42, 1000), 6);
    write(&mut pit, 0x61, 1, 1000);
    assert_eq!(read_word(&mut pit, 0x42, 1003), 3);
    assert_eq!((read(&mut pit, 0x61, 1005) & OUTPUT2, read(&mut pit, 0x61, 1006) & OUTPUT2), (0, OUTPUT2));
}

// How kernels measure the TSC: gate on, mode 0, wait for the output.
#[test]
fn a_calibration_takes_its_time() {
    let count = if cfg!(miri) { 59 } else { 59_659 }; // 50 ms
    let mut pit = channel2(0x0, count);
    let done = (0..).find(|&clock| read(&mut pit, 0x61, clock) & OUTPUT2 != 0);
    assert_eq!(done, Some(u64::from(count) + 1));
}

// "Mode 1: Hardware Retriggerable One-Shot".
#[test]
fn mode_1_is_started_by_the_gate() {
    let mut pit = channel2(0x2, 3);
    assert_eq!(outputs(&mut pit, 4), levels("1111"));
    write(&mut pit, 0x61, 0, 0);
    write(&mut pit, 0x61, 1, 0);
    assert_eq!(outputs(&mut pit, 6), levels("100011"));
    write(&mut pit, 0x61, 0, 2);
    write(&mut pit, 0x61, 1, 2);
    assert_eq!(outputs(&mut pit, 8)[3..], levels("00011"));
}

// "Mode 2: Rate Generator".
#[test]
fn mode_2_pulses_low_for_one_clock() {
    let mut pit = channel2(0x4, 3);
    assert_eq!(outputs(&mut pit, 10), levels("1110110110"));
    assert_eq!([1, 2, 3, 4].map(|clock| read_word(&mut pit, 0x42, clock)), [3, 2, 1, 3]);
    write(&mut pit, 0x61, 0, 3);
    assert_ne!(read(&mut pit, 0x61, 3) & OUTPUT2, 0, "the gate sets the output high");
}

// "Mode 3: Square Wave Mode".
#[test]
fn mode_3_is_square() {
    let mut pit = channel2(0x6, 4);
    assert_eq!(outputs(&mut pit, 10), levels("1110011001"));
    assert_eq!([1, 2, 3, 4, 5].map(|clock| read_word(&mut pit, 0x42, clock)), [4, 2, 4, 2, 4]);
    let mut pit = channel2(0xe, 5);
    assert_eq!(outputs(&mut pit, 11), levels("11110011100"));
    assert_eq!([1, 2, 3, 4, 5].map(|clock| read_word(&mut pit, 0x42, clock)), [4, 2, 0, 4, 2]);
}

// "Mode 4: Software Triggered Strobe", "Mode 5: Hardware Triggered Strobe".
#[test]
fn strobes_are_low_for_one_clock() {
    let mut pit = channel2(0x8, 3);
    assert_eq!(outputs(&mut pit, 8), levels("11110111"));
    let mut pit = channel2(0xa, 3);
    assert_eq!(outputs(&mut pit, 8), levels("11111111"));
    write(&mut pit, 0x61, 0, 0);
    write(&mut pit, 0x61, 1, 0);
    assert_eq!(outputs(&mut pit, 8), levels("11110111"));
}

// "Counter Latch Command", "Read-Back Command".
#[test]
fn latches_hold_until_read() {
    let mut pit = channel2(0x4, 1000);
    write(&mut pit, 0x43, 0x80, 11);
    write(&mut pit, 0x43, 0x80, 500);
    assert_eq!(read_word(&mut pit, 0x42, 600), 990, "the first latch counts");
    assert_eq!(read_word(&mut pit, 0x42, 601), 400);
    write(&mut pit, 0x43, 0xc8, 11);
    assert_eq!(read(&mut pit, 0x42, 700), 0xb4, "status first");
    assert_eq!(read_word(&mut pit, 0x42, 700), 990);
    write(&mut pit, 0x43, 0xb4, 800);
    write(&mut pit, 0x43, 0xe8, 800);
    assert_eq!(read(&mut pit, 0x42, 800), 0xf4, "null count");
}

#[test]
fn single_bytes() {
    let mut pit = pit();
    write(&mut pit, 0x43, 0x14, 0);
    write(&mut pit, 0x40, 200, 0);
    assert_eq!((read(&mut pit, 0x40, 1), read(&mut pit, 0x40, 2)), (200, 199));
    write(&mut pit, 0x43, 0x24, 0);
    write(&mut pit, 0x40, 2, 0);
    assert_eq!((read(&mut pit, 0x40, 1), read(&mut pit, 0x40, 2)), (2, 1));
    assert_eq!(read(&mut pit, 0x43, 0), 0xff);
}

#[test]
fn bcd() {
    let mut pit = channel2(0x5, 0x1234);
    assert_eq!([1, 5, 6].map(|clock| read_word(&mut pit, 0x42, clock)), [0x1234, 0x1230, 0x1229]);
    let mut pit = channel2(0x1, 0);
    assert_eq!([2, 10_001, 10_002].map(|clock| read_word(&mut pit, 0x42, clock)), [0x9999, 0, 0x9999]);
}

#[test]
fn port_61_shows_control_refresh_and_output() {
    let mut pit = pit();
    write(&mut pit, 0x61, 0xff, 0);
    assert_eq!(read(&mut pit, 0x61, 0), 0x0f | OUTPUT2);
    assert_eq!(read(&mut pit, 0x61, 20), 0x0f | OUTPUT2 | REFRESH);
    assert!(pit.speaker(0) && !pit.speaker(40_000 * STEP));
    write(&mut pit, 0x61, 0, 0);
    assert!(!pit.speaker(0));
}

#[test]
fn periodic_edges_neither_drift_nor_storm() {
    // A rate that divides nothing.
    let tsc_hz = NonZeroU64::new(2_394_000_001).unwrap();
    let mut pit = Vpit::new(tsc_hz, 77);
    for (raw, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04)] {
        pit.write(port(raw), value, 77);
    }
    let rate = Rate::new(PIT_HZ, tsc_hz);
    for n in 1..if cfg!(miri) { 5 } else { 2000 } {
        let at = pit.next_deadline().unwrap();
        assert_eq!(at, 77 + rate.span_of(n * 0x4a9 + 1));
        assert!(pit.expire(at + n % 7 * 1000));
    }
    pit.write(port(0x40), 1, 0);
    pit.write(port(0x40), 0, 0);
    let mut fired = 0;
    while let Some(at) = pit.next_deadline().filter(|&at| at < tsc_hz.get() / 100) {
        assert!(pit.expire(at));
        fired += 1;
    }
    assert!((95..=105).contains(&fired), "{fired} edges in 10 ms");
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
            (0..3_u8, 0..5_usize, any::<u8>(), any::<u64>()), 1..if cfg!(miri) { 8 } else { 200 },
        ),
        tsc_hz in 1..u64::MAX,
    ) {
        let mut pit = Vpit::new(NonZeroU64::new(tsc_hz).unwrap(), 0);
        for (action, at, value, now) in steps {
            let port = port([0x40, 0x41, 0x42, 0x43, 0x61][at]);
            match action {
                0 => pit.write(port, value, now),
                1 => _ = pit.read(port, now),
                _ => {
                    pit.expire(now);
                    let next = pit.next_deadline();
                    prop_assert!(next.is_none_or(|at| at > now || at == u64::MAX || !pit.clone().expire(at - 1)));
                }
            }
        }
    }
}
