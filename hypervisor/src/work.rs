//! What is owed to a vcpu before it enters its guest again: one set of bits,
//! tested once.

use core::sync::atomic::{AtomicU32, Ordering};

use bitflags::bitflags;

bitflags! {
    /// Kinds of work.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Work: u32 {
        /// An exception, NMI or interrupt may be deliverable.
        const EVENTS = 1 << 0;
        /// INIT or a start-up message has come.
        const SIGNAL = 1 << 1;
        /// A deadline of the vcpu's own may have come, or has changed.
        const TIMERS = 1 << 2;
        /// It may not be allowed to run any longer.
        const LEAVE = 1 << 3;
        /// Another vcpu may have a better claim to the pcpu.
        const TICK = 1 << 4;
        /// It gives the pcpu away, if another vcpu wants it.
        const YIELD = 1 << 5;
        /// What it waits for by hypercall has come.
        const ROUSE = 1 << 6;
        /// `VCPUOP_down`: it is to stop until it is started again.
        const DOWN = 1 << 7;
        /// Its turn ends sooner than it did.
        const TURN = 1 << 8;
    }
}

/// The work that one vcpu is owed.
#[derive(Debug, Default)]
pub struct Owed(AtomicU32);

impl Owed {
    /// Whether there is any.
    #[inline]
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Adds to it; returns what was owed before. What the work is about was written
    /// before, and is seen by who takes it.
    #[inline]
    pub fn add(&self, work: Work) -> Work {
        Work::from_bits_retain(self.0.fetch_or(work.bits(), Ordering::SeqCst))
    }

    /// Takes all of it.
    #[inline]
    pub fn take(&self) -> Work {
        Work::from_bits_retain(self.0.swap(0, Ordering::SeqCst))
    }

    /// Takes `work` back.
    pub fn cancel(&self, work: Work) {
        self.0.fetch_and(!work.bits(), Ordering::SeqCst);
    }

    /// What is owed that a sleeping vcpu wakes up for.
    pub fn wakes(&self) -> bool {
        let rousing = Work::EVENTS | Work::SIGNAL | Work::TIMERS | Work::ROUSE;
        Work::from_bits_retain(self.0.load(Ordering::SeqCst)).intersects(rousing)
    }
}
