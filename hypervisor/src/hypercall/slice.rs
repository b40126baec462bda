//! Long operations take no longer than a slice; then the hypercall is made again.

use hv_arch::{cpu, time};

/// How long a slice of an operation may take.
const SLICE_US: u64 = 500;

/// The time that a slice of work has.
pub struct Slice {
    start: u64,
    ticks: u64,
}

impl Slice {
    /// Begins now.
    pub fn new() -> Self {
        Self { start: cpu::rdtsc(), ticks: time::ticks_from_us(SLICE_US) }
    }

    /// Whether interrupts have waited long enough.
    pub fn is_over(&self) -> bool {
        cpu::rdtsc().wrapping_sub(self.start) > self.ticks
    }
}
