//! What is owed after something was taken out of a p2m: every pcpu on which a vcpu
//! of the domain is loaded forgets its translations; only then do frames, tables
//! and references go back.

use core::mem;

use alloc::vec::Vec;
use arrayvec::ArrayVec;
use hv_core::addr::Mfn;
use hv_core::ept::{Flush, Mapping, PageType};
use hv_core::frame::{FrameState, Order};
use hv_core::id::DomId;
use hv_core::pcpu_set::PcpuSet;

use super::Confines;
use crate::frames::{self, FrameRef, OwnFrames};
use crate::{ipi, percpu, sync, time, vmx};

/// Mappings that one flush serves.
const BATCH: usize = 32;
/// How long another pcpu may take to answer.
const LIMIT_US: u64 = 10_000_000;

/// Pages and tables taken out of a p2m that CPUs may still use. To be completed
/// (or dropped) while no lock is held but that of the vcpu which this pcpu runs.
#[derive(Debug)]
#[must_use = "CPUs may use what was taken away until this is completed"]
pub struct Shootdown<'a> {
    confines: &'a Confines,
    gone: ArrayVec<Mapping, BATCH>,
    tables: Vec<Mfn>,
    owed: Flush,
}

impl<'a> Shootdown<'a> {
    /// Nothing is owed yet.
    #[inline]
    pub fn new(confines: &'a Confines) -> Self {
        Self { confines, gone: ArrayVec::new(), tables: Vec::new(), owed: Flush::Nothing }
    }

    /// Waits until no CPU uses what was taken away, and gives it back.
    #[inline]
    pub fn complete(mut self) {
        self.settle();
    }

    /// Makes room for one more page. No lock is held.
    pub(super) fn make_room(&mut self) {
        if self.gone.is_full() {
            self.settle();
        }
    }

    pub(super) fn owe(&mut self, flush: Flush) {
        self.owed = self.owed.and(flush);
    }

    /// Takes over tables that nothing names any more.
    pub(super) fn owe_tables(&mut self, tables: &mut Vec<Mfn>) {
        if !tables.is_empty() {
            self.tables.append(tables);
            self.owed = Flush::Invept;
        }
    }

    /// Takes over a page; there is room, by [`Shootdown::make_room`].
    pub(super) fn owe_page(&mut self, mapping: Mapping) {
        self.gone.push(mapping);
    }

    fn settle(&mut self) {
        if mem::replace(&mut self.owed, Flush::Nothing) == Flush::Invept {
            self.confines.flush();
        }
        for mapping in self.gone.drain(..) {
            give_back(mapping, self.confines.owner);
        }
        for table in self.tables.drain(..) {
            // SAFETY: `Tables::allocate` leaked it, and nothing names it any more.
            drop(unsafe { OwnFrames::from_leaked(table, Order::FRAME) });
        }
    }
}

impl Drop for Shootdown<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Gives back what stood in the p2m of `owner`, where no CPU uses it any more.
pub(super) fn give_back(mapping: Mapping, owner: DomId) {
    let mfn = mapping.page.mfn;
    match mapping.page.kind {
        PageType::Ram => frames::disown(mfn, mapping.order, owner),
        PageType::Mmio => {}
        PageType::Foreign | PageType::GrantRw | PageType::GrantRo => {
            // SAFETY: entries of these types are single frames that came from
            // `FrameRef::into_mapped`, and this one is gone from the p2m.
            drop(unsafe { FrameRef::from_mapped(mfn) });
        }
        PageType::Special => {
            // Firmware's memory has no count.
            if matches!(frames::state(mfn), FrameState::Domain { .. }) {
                // SAFETY: as above.
                drop(unsafe { FrameRef::from_mapped(mfn) });
            }
        }
    }
}

impl Confines {
    /// Makes every pcpu forget what it remembers of this EPT.
    fn flush(&self) {
        sync::assert_may_wait();
        self.pcpus.all_stale();
        let here = percpu::this().id();
        if self.is_here() {
            vmx::forget_translations(self.eptp);
            // Asked by yet another pcpu, this one answers later.
            let _stale = self.pcpus.take_stale(here);
        }
        let mut asked = PcpuSet::NONE;
        for pcpu in self.pcpus.active().filter(|&pcpu| pcpu != here) {
            ipi::send_flush(pcpu);
            asked.insert(pcpu);
        }
        if asked.is_empty() {
            return;
        }
        for pcpu in asked.iter() {
            if ipi::latest(pcpu).wait(time::ticks_from_us(LIMIT_US)).is_err() {
                panic!("CPU{pcpu} does not flush its translations");
            }
        }
    }
}
