//! Where a vcpu's time goes (`vcpu.h`, `RUNSTATE_*`).
//!
//! ```text
//!   offline <--> blocked <--> runnable <--> running        any change is allowed
//! ```
//!
//! All times are system time in nanoseconds. Every moment since birth is counted in
//! exactly one state, so the four times always add up to the age.

use core::mem::offset_of;

use xen_abi::vcpu::{RUNSTATE_UPDATE, Runstate, VcpuRunstateInfo};
use zerocopy::IntoBytes;

/// Byte of the area that holds [`RUNSTATE_UPDATE`]: the highest of `state_entry_time`.
const UPDATE_BYTE: usize = offset_of!(VcpuRunstateInfo, state_entry_time) + 7;

const RUNSTATES: usize = 4;

/// The account of one vcpu.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunstateAccount {
    state: Runstate,
    entered: u64,
    /// By number of the [`Runstate`].
    times: [u64; RUNSTATES],
}

impl RunstateAccount {
    /// A vcpu that comes into being at `now`, offline.
    #[must_use]
    pub const fn new(now: u64) -> Self {
        Self { state: Runstate::Offline, entered: now, times: [0; 4] }
    }

    /// What the vcpu is doing.
    #[must_use]
    pub const fn state(&self) -> Runstate {
        self.state
    }

    /// The vcpu does something else from `now` on; returns whether that is news.
    ///
    /// A `now` before the last change, as another pcpu's clock may tell it, counts as that change.
    pub const fn change(&mut self, state: Runstate, now: u64) -> bool {
        if self.state as u32 == state as u32 {
            return false;
        }
        let passed = now.saturating_sub(self.entered);
        let time = &mut self.times[self.state as usize % RUNSTATES];
        *time = time.saturating_add(passed);
        if now > self.entered {
            self.entered = now;
        }
        self.state = state;
        true
    }

    /// Time in each [`Runstate`] up to `now`, what the state that lasts has had of it included.
    #[must_use]
    pub const fn times_at(&self, now: u64) -> [u64; 4] {
        let mut times = self.times;
        let current = &mut times[self.state as usize % RUNSTATES];
        *current = current.saturating_add(now.saturating_sub(self.entered));
        times
    }

    /// The answer to `VCPUOP_get_runstate_info` at `now`.
    #[must_use]
    pub const fn info(&self, now: u64) -> VcpuRunstateInfo {
        VcpuRunstateInfo {
            state: self.state.get(),
            _pad: 0,
            state_entry_time: self.entered,
            time: self.times_at(now),
        }
    }

    /// Writes the area of `VCPUOP_register_runstate_memory_area`: `write` gets each piece, in order,
    /// and the byte of the area where it goes.
    ///
    /// The area holds the times at the last change; guests add what has passed since. With `flagged`
    /// (`VMASST_TYPE_runstate_update_flag`) [`RUNSTATE_UPDATE`] is set before and cleared after. The pieces
    /// become visible in order on x86, as long as `write` stores rather than streams.
    ///
    /// # Errors
    ///
    /// The first error of `write`; what follows is not written.
    pub fn write_area<E>(
        &self,
        flagged: bool,
        mut write: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut info = self.info(self.entered);
        if !flagged {
            return write(0, info.as_bytes());
        }
        let [.., entered] = info.state_entry_time.to_le_bytes();
        info.state_entry_time |= RUNSTATE_UPDATE;
        let [.., updating] = info.state_entry_time.to_le_bytes();
        write(UPDATE_BYTE, &[updating])?;
        write(0, info.as_bytes())?;
        write(UPDATE_BYTE, &[entered])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;
    use zerocopy::FromBytes;

    const STATES: [Runstate; 4] =
        [Runstate::Running, Runstate::Runnable, Runstate::Blocked, Runstate::Offline];

    #[test]
    fn time_is_counted_where_it_was_spent() {
        let mut account = RunstateAccount::new(100);
        assert!(account.change(Runstate::Runnable, 110));
        assert!(account.change(Runstate::Running, 115));
        assert!(!account.change(Runstate::Running, 120), "no news");
        assert!(account.change(Runstate::Blocked, 145));
        let info = account.info(150);
        assert_eq!(info.state, Runstate::Blocked.get());
        assert_eq!(info.state_entry_time, 145);
        assert_eq!(info.time, [30, 5, 5, 10]);
    }

    #[test]
    fn a_clock_behind_the_last_change_takes_nothing_back() {
        let mut account = RunstateAccount::new(100);
        account.change(Runstate::Running, 200);
        account.change(Runstate::Blocked, 150);
        assert_eq!(account.info(150).state_entry_time, 200);
        assert_eq!(account.times_at(150), [0, 0, 0, 100]);
        assert_eq!(account.times_at(210), [0, 0, 10, 100]);
    }

    fn area(account: &RunstateAccount, flagged: bool) -> Vec<(usize, Vec<u8>)> {
        let mut writes = Vec::new();
        let done: Result<(), ()> = account.write_area(flagged, |at, bytes| {
            writes.push((at, bytes.to_vec()));
            Ok(())
        });
        assert_eq!(done, Ok(()));
        writes
    }

    #[test]
    fn the_area_is_marked_while_it_is_written() {
        let mut account = RunstateAccount::new(0);
        account.change(Runstate::Running, 7);
        let writes = area(&account, true);
        let [(15, first), (0, whole), (15, last)] = &writes[..] else { panic!("{writes:?}") };
        assert_eq!((&first[..], &last[..]), (&[0x80][..], &[0x00][..]));
        let info = VcpuRunstateInfo::read_from_bytes(whole).unwrap();
        assert_eq!(info.state_entry_time, 7 | RUNSTATE_UPDATE);
        assert_eq!(info.time, [0, 0, 0, 7]);
    }

    #[test]
    fn without_the_assist_the_area_is_written_once() {
        let mut account = RunstateAccount::new(0);
        account.change(Runstate::Running, 7);
        let writes = area(&account, false);
        let [(0, whole)] = &writes[..] else { panic!("{writes:?}") };
        assert_eq!(VcpuRunstateInfo::read_from_bytes(whole).unwrap(), account.info(7));
    }

    #[test]
    fn an_area_that_cannot_be_written_ends_the_update() {
        let mut calls = 0;
        let refused = RunstateAccount::new(0).write_area(true, |_, _| {
            calls += 1;
            Err(14)
        });
        assert_eq!((refused, calls), (Err(14), 1));
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 3 } else { 512 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn the_times_add_up_to_the_age(
            birth in 0..1_u64 << 40,
            steps in prop::collection::vec((0..4_usize, 0..1_u64 << 32, 0..1_u64 << 33), 0..50),
        ) {
            let mut account = RunstateAccount::new(birth);
            let mut model = [0; 4];
            let mut now = birth;
            for (state, pause, later) in steps {
                model[account.state() as usize] += pause;
                now += pause;
                account.change(STATES[state], now);
                prop_assert_eq!(account.times_at(now), model);
                let sum: u64 = account.info(now + later).time.iter().sum();
                prop_assert_eq!(sum, now + later - birth);
            }
        }
    }
}
