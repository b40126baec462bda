//! Deadlines of sleeping vcpus, by the pcpu on which each fell asleep.
//!
//! That pcpu has its timer set to the earliest. A vcpu that runs is not in here:
//! its own deadline limits how long it is in the guest.

use core::sync::atomic::Ordering;

use alloc::sync::Arc;
use hv_arch::sync::{Lock, Rank};
use hv_core::heap::{Heap, Placed};
use hv_core::id::{MAX_PCPUS, PcpuId};

use crate::sched;
use crate::vcpu::Vcpu;
use crate::work::Work;

type Queue = Lock<Heap<u64, Arc<Vcpu>>>;

static QUEUES: [Queue; MAX_PCPUS] = [const { Lock::new(Rank::Timers, Heap::new()) }; MAX_PCPUS];

/// Not in any queue.
pub const NOWHERE: usize = usize::MAX;

impl Placed for Vcpu {
    fn place(&self) -> Option<usize> {
        Some(self.timer_place().load(Ordering::Relaxed)).filter(|&place| place != NOWHERE)
    }

    fn set_place(&self, place: Option<usize>) {
        self.timer_place().store(place.unwrap_or(NOWHERE), Ordering::Relaxed);
    }
}

/// The earliest deadline on `pcpu`, in ticks of the time stamp counter.
pub fn earliest(pcpu: PcpuId) -> Option<u64> {
    QUEUES[pcpu.index()].lock().first()
}

/// Lets `pcpu` wake `vcpu` at `deadline`. The caller holds the vcpu's place in the
/// schedule, and the vcpu is in no queue.
pub fn insert(pcpu: PcpuId, deadline: u64, vcpu: &Arc<Vcpu>) {
    QUEUES[pcpu.index()].lock().insert(deadline, Arc::clone(vcpu));
}

/// Takes `vcpu` out of the queue of `pcpu`, if it is there still.
pub fn remove(pcpu: PcpuId, vcpu: &Arc<Vcpu>) {
    let mut queue = QUEUES[pcpu.index()].lock();
    let removed = vcpu.place().and_then(|place| queue.remove(place));
    drop(queue);
    // Its last owner may be this one, and its end takes other locks.
    drop(removed);
}

/// Takes a vcpu on `pcpu` whose deadline has come by `now`: it is to be woken up, to look at its timers.
pub fn take_due(pcpu: PcpuId, now: u64) -> Option<Arc<Vcpu>> {
    let vcpu = QUEUES[pcpu.index()].lock().take_due(now)?;
    vcpu.owe(Work::TIMERS);
    Some(vcpu)
}

/// Wakes the vcpus on `pcpu` whose deadline has come by `now`.
pub fn expire(pcpu: PcpuId, now: u64) {
    while let Some(vcpu) = take_due(pcpu, now) {
        sched::wake(&vcpu);
    }
}
