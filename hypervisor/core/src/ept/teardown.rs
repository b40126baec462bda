//! Taking a tree down in slices: what a domain's end costs is spread over many
//! short visits, each bounded by its budget.

use arrayvec::ArrayVec;

use super::{Content, EptMemory, Level, Mapping, read};
use crate::addr::{Gfn, Mfn};
use crate::paging::ENTRIES;

/// How far a slice has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "what is not taken down is leaked"]
pub enum Progress {
    /// The budget is used up; call again.
    More,
    /// Every table has been released.
    Done,
}

/// Tables that [`Ept::cut`](super::Ept::cut) cut off a tree.
#[derive(Debug)]
#[must_use = "what is not taken down is leaked"]
pub struct Teardown {
    /// The tables from the one that was cut off down to the one in work.
    path: ArrayVec<Place, 3>,
    /// First frame of the next entry.
    gfn: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    table: Mfn,
    level: Level,
    next: usize,
}

impl Place {
    const fn start(table: Mfn, level: Level) -> Self {
        Self { table, level, next: 0 }
    }
}

impl Teardown {
    pub(super) fn new(table: Mfn, gfn: u64) -> Self {
        Self { path: core::iter::once(Place::start(table, Level::Pdpt)).collect(), gfn }
    }

    /// Does `budget` small steps: one for each entry and one for each table. Each
    /// page goes to `gone`, each table to [`EptMemory::release`].
    pub fn step<M: EptMemory>(
        &mut self,
        memory: &mut M,
        budget: usize,
        gone: &mut impl FnMut(Mapping),
    ) -> Progress {
        for _ in 0..budget {
            let Some(place) = self.path.last_mut() else { return Progress::Done };
            if place.next == ENTRIES {
                memory.release(place.table);
                self.path.pop();
                continue;
            }
            let (entry, level) = (read(memory, place.table, place.next), place.level);
            place.next += 1;
            if let (Content::Table(table), Some(below)) = (entry.content(), level.below()) {
                self.path.push(Place::start(table, below));
                continue;
            }
            if let (Content::Page(page), Some(gfn)) = (entry.content(), Gfn::new(self.gfn)) {
                gone(Mapping { gfn, order: level.order(), page });
            }
            self.gfn += level.frames();
        }
        if self.path.is_empty() { Progress::Done } else { Progress::More }
    }
}
