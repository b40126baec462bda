//! Pages that requests name. They hold this guest's mark, or zeros; anything else is somebody else's.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec;

use guest_rt::shared::Granted;
use xen_abi::RawGrantRef;
use xen_abi::grant_table::GrantType;
use xen_backend::Memory as _;

use crate::ground::{Check, DOM0, Ground};
use crate::random::Random;

const PAGE: usize = 4096;
/// What this guest writes everywhere.
const MARK: u64 = u64::from_le_bytes(*b"HOSTILE!");
/// An entry of the table that grants nothing.
const UNUSED: RawGrantRef = 2000;
/// Pages for data; those that may only be read; those for segments of indirect requests.
const DATA: usize = 16;
const READ_ONLY: usize = 2;
const TABLES: usize = 4;

pub(crate) struct Pages {
    ground: Rc<Ground>,
    pub(super) data: Granted,
    pub(super) read_only: Granted,
    pub(super) tables: Granted,
}

impl Pages {
    pub(super) fn new(ground: &Rc<Ground>) -> Self {
        let this = Self {
            ground: Rc::clone(ground),
            data: ground.share(DATA, true),
            read_only: ground.share(READ_ONLY, false),
            tables: ground.share(TABLES, true),
        };
        for granted in [&this.data, &this.read_only] {
            let pages = granted.pages();
            (0..pages.len()).step_by(8).for_each(|at| pages.write(at, &MARK.to_le_bytes()));
        }
        this
    }

    /// A page for data.
    pub(super) fn some(&self, random: &mut Random) -> RawGrantRef {
        let references = self.data.references();
        references.get(random.index(references.len())).copied().unwrap_or(UNUSED)
    }

    /// A grant that is none, or not for writing. Those of the toolstack and of the rings are left alone: what would be
    /// damaged is this guest.
    pub(super) fn none(&self, random: &mut Random) -> RawGrantRef {
        match random.below(5) {
            0 => self.read_only.references().first().copied().unwrap_or(UNUSED),
            1 => UNUSED,
            2 => u32::MAX,
            3 => 2048 + random.u32() % 100_000,
            _ => random.u32() | 1 << 31,
        }
    }

    /// Takes all grants for data back, in use or not; or gives them again.
    pub(super) fn set_granted(&self, granted: bool) {
        let flags = if granted { GrantType::PermitAccess } else { GrantType::Invalid } as u16;
        for (entry, frame) in self.data.references().iter().zip(self.data.pages().frames()) {
            self.ground.grants().overwrite(*entry, flags, DOM0, frame);
        }
    }

    /// Fails if there is anything in the pages that this guest has not written.
    pub(super) fn check(&self) -> Check {
        let mut page = vec![0; PAGE];
        for (granted, zeros) in [(&self.data, true), (&self.read_only, false)] {
            let pages = granted.pages();
            for at in (0..pages.len()).step_by(PAGE) {
                pages.read(at, &mut page);
                let (words, _) = page.as_chunks();
                let foreign = words.iter().map(|word| u64::from_le_bytes(*word));
                if let Some(word) = foreign.into_iter().find(|&word| word != MARK && !(zeros && word == 0)) {
                    return Err(format!("a page holds {word:#018x}, which nobody wrote here"));
                }
            }
        }
        Ok(())
    }
}
