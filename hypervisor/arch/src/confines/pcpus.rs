//! On which pcpus translations of a domain may be cached.
//!
//! ```text
//!   a vcpu is loaded        whoever took something out of the p2m
//!     active += me            stale = all
//!     me in stale?            ask each pcpu in active, wait
//!       INVEPT, stale -= me
//! ```
//!
//! Both sides write first and read then, so at least one sees the other: either
//! the pcpu is asked, or it flushes by itself when it loads a vcpu.

use core::sync::atomic::{AtomicU64, Ordering};

use hv_core::id::{MAX_PCPUS, PcpuId};

const WORDS: usize = MAX_PCPUS / 64;

#[derive(Debug)]
pub(super) struct Pcpus {
    /// A vcpu is loaded there.
    active: [AtomicU64; WORDS],
    /// INVEPT is owed there before a vcpu is loaded.
    stale: [AtomicU64; WORDS],
}

impl Pcpus {
    /// No pcpu runs the domain; any may remember an earlier EPT in the same frame.
    pub(super) const fn new() -> Self {
        Self {
            active: [const { AtomicU64::new(0) }; WORDS],
            stale: [const { AtomicU64::new(u64::MAX) }; WORDS],
        }
    }

    pub(super) fn enter(&self, pcpu: PcpuId) {
        let (word, bit) = place(pcpu);
        self.active[word].fetch_or(bit, Ordering::SeqCst);
    }

    pub(super) fn leave(&self, pcpu: PcpuId) {
        let (word, bit) = place(pcpu);
        self.active[word].fetch_and(!bit, Ordering::SeqCst);
    }

    /// Whether INVEPT is owed on `pcpu`, which will do it now.
    pub(super) fn take_stale(&self, pcpu: PcpuId) -> bool {
        let (word, bit) = place(pcpu);
        self.stale[word].load(Ordering::SeqCst) & bit != 0
            && self.stale[word].fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    pub(super) fn all_stale(&self) {
        self.stale.iter().for_each(|word| word.store(u64::MAX, Ordering::SeqCst));
    }

    pub(super) fn active(&self) -> impl Iterator<Item = PcpuId> {
        self.active.iter().enumerate().flat_map(|(index, word)| {
            let mut left = word.load(Ordering::SeqCst);
            core::iter::from_fn(move || {
                let bit = left.checked_ilog2()?;
                left &= !(1 << bit);
                PcpuId::new(index * 64 + bit as usize)
            })
        })
    }
}

const fn place(pcpu: PcpuId) -> (usize, u64) {
    (pcpu.index() / 64, 1 << (pcpu.index() % 64))
}
