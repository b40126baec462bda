//! Entries of one granter.

use alloc::vec::Vec;

use xen_abi::grant_table::{GrantFlags, GrantResult, GrantType, TYPE_MASK};

use super::pins::{Access, Pins, Uses};
use crate::atomic_page::{At32, AtomicPage};
use crate::id::DomId;

/// Entries in a page.
const PER_PAGE: u32 = 512;
const ENTRY_LEN: u64 = 8;
/// Where the frame's number stands in an entry.
const FRAME: u64 = 4;
const DOMID_SHIFT: u32 = 16;
/// How often flags are looked at again that the granter changes meanwhile, as in Xen.
const TRIES: u32 = 5;

/// A right to a granter's frame, which keeps it that domain's.
pub trait Frame: Sized {
    /// The same right once more; `None` if there are too many.
    fn again(&self) -> Option<Self>;
}

/// Why a table does not grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GrowError {
    /// It may not have that many frames.
    Limit,
    /// There is no memory.
    OutOfMemory,
}

/// An entry in use.
#[derive(Debug)]
struct Held<F> {
    user: DomId,
    pins: Pins,
    frame: F,
}

/// A page of entries.
#[derive(Debug)]
struct Page<P, F> {
    shared: P,
    active: Vec<Option<Held<F>>>,
}

/// The grant table of one domain.
#[derive(Debug)]
pub struct Table<P, F> {
    pages: Vec<Page<P, F>>,
    most: u32,
}

impl<P: AtomicPage, F: Frame> Table<P, F> {
    /// A table without frames that may have `most`.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { pages: Vec::new(), most }
    }

    /// Frames that it may have.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Frames that it has.
    #[must_use]
    pub fn frames(&self) -> u32 {
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX)
    }

    /// Frame `index`.
    #[must_use]
    pub fn page(&self, index: u32) -> Option<&P> {
        self.pages.get(usize::try_from(index).ok()?).map(|page| &page.shared)
    }

    /// Lets it have at least `frames` frames, made by `make`.
    ///
    /// # Errors
    ///
    /// [`GrowError`]; it has grown by no frame then.
    pub fn grow<E>(&mut self, frames: u32, mut make: impl FnMut() -> Result<P, E>) -> Result<(), GrowError> {
        if frames > self.most {
            return Err(GrowError::Limit);
        }
        let mut more = Vec::new();
        for _ in self.frames()..frames {
            let mut active = Vec::new();
            active.try_reserve_exact(PER_PAGE as usize).map_err(|_| GrowError::OutOfMemory)?;
            active.resize_with(PER_PAGE as usize, || None);
            more.try_reserve(1).map_err(|_| GrowError::OutOfMemory)?;
            more.push(Page { shared: make().map_err(|_| GrowError::OutOfMemory)?, active });
        }
        self.pages.try_reserve(more.len()).map_err(|_| GrowError::OutOfMemory)?;
        self.pages.append(&mut more);
        Ok(())
    }

    /// Lets `user` use the frame of entry `gref`. `translate` finds the frame that the granter names, with
    /// the right to do that.
    ///
    /// # Errors
    ///
    /// `GNTST_bad_gntref`: no such entry. `GNTST_general_error`: it does not grant that to `user`, its flags
    /// do not stand still, or too many users have it. What `translate` says. Nothing has changed then.
    pub fn pin(
        &mut self,
        gref: u32,
        user: DomId,
        access: Access,
        uses: Uses,
        translate: impl FnOnce(u32) -> Result<F, GrantResult>,
    ) -> Result<F, GrantResult> {
        let (page, place) = self.place(gref).ok_or(GrantResult::BadGntref)?;
        let Page { shared, active } = page;
        let held = active.get_mut(place.slot).ok_or(GrantResult::BadGntref)?;
        match held {
            Some(held) => {
                let pins = held.pins.with(uses, access).filter(|_| held.user == user);
                let pins = pins.ok_or(GrantResult::GeneralError)?;
                let frame = held.frame.again().ok_or(GrantResult::GeneralError)?;
                if access == Access::Write && !held.pins.write() {
                    set_status(shared, place, None, access, uses)?;
                }
                held.pins = pins;
                Ok(frame)
            }
            None => {
                set_status(shared, place, Some(user), access, uses)?;
                let pins = Pins::default().with(uses, access).ok_or(GrantResult::GeneralError);
                let taken = pins.and_then(|pins| {
                    let frame = translate(shared.load32(place.frame))?;
                    let again = frame.again().ok_or(GrantResult::GeneralError)?;
                    *held = Some(Held { user, pins, frame });
                    Ok(again)
                });
                if taken.is_err() {
                    reduce_status(shared, place, Pins::default(), access);
                }
                taken
            }
        }
    }

    /// Undoes a [`Table::pin`]. Returns what the last user left of the frame, to be dropped
    /// without a lock.
    #[must_use]
    pub fn unpin(&mut self, gref: u32, access: Access, uses: Uses) -> Option<F> {
        let (page, place) = self.place(gref)?;
        let active = page.active.get_mut(place.slot)?;
        let held = active.as_mut()?;
        let pins = held.pins.without(uses, access);
        debug_assert!(pins.is_some());
        held.pins = pins?;
        let left = held.pins;
        reduce_status(&page.shared, place, left, access);
        if left.is_empty() { active.take().map(|held| held.frame) } else { None }
    }

    /// Exchanges two entries, if nobody uses them.
    ///
    /// # Errors
    ///
    /// `GNTST_bad_gntref`, `GNTST_eagain` if one is in use.
    pub fn swap(&mut self, first: u32, second: u32) -> Result<(), GrantResult> {
        let words = |table: &mut Self, gref| {
            let (page, place) = table.place(gref).ok_or(GrantResult::BadGntref)?;
            let idle = page.active.get(place.slot).is_some_and(Option::is_none);
            Ok((place, idle, [page.shared.load32(place.header), page.shared.load32(place.frame)]))
        };
        let (place_1, idle_1, words_1) = words(self, first)?;
        let (place_2, idle_2, words_2) = words(self, second)?;
        if first == second {
            return Ok(());
        }
        if !idle_1 || !idle_2 {
            return Err(GrantResult::Eagain);
        }
        for (place, [header, frame]) in [(place_1, words_2), (place_2, words_1)] {
            if let Some(page) = self.pages.get(place.page) {
                page.shared.store32(place.frame, frame);
                page.shared.store32(place.header, header);
            }
        }
        Ok(())
    }

    /// How many entries are in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.pages.iter().flat_map(|page| &page.active).filter(|active| active.is_some()).count()
    }

    fn place(&mut self, gref: u32) -> Option<(&mut Page<P, F>, Place)> {
        let index = usize::try_from(gref / PER_PAGE).ok()?;
        let slot = gref % PER_PAGE;
        let header = u64::from(slot) * ENTRY_LEN;
        let place = Place {
            page: index,
            slot: slot as usize,
            header: At32::masked(header),
            frame: At32::masked(header + FRAME),
        };
        Some((self.pages.get_mut(index)?, place))
    }
}

/// Where an entry stands.
#[derive(Clone, Copy)]
struct Place {
    page: usize,
    slot: usize,
    header: At32,
    frame: At32,
}

const fn flags(word: u32) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    {
        word as u16
    }
}

/// Sets the status bits. The entry must grant access to `user`, if that is not known already.
fn set_status(
    page: &impl AtomicPage,
    place: Place,
    user: Option<DomId>,
    access: Access,
    uses: Uses,
) -> Result<(), GrantResult> {
    // Copies do not know the flag in version 1, as in Xen.
    let sub_page = if uses.contains(Uses::COPY) { GrantFlags::empty() } else { GrantFlags::SUB_PAGE };
    let mask = TYPE_MASK | sub_page.bits();
    let mut word = page.load32(place.header);
    for _ in 0..TRIES {
        let granted = |user: DomId| {
            flags(word) & mask == GrantType::PermitAccess.get() && word >> DOMID_SHIFT == user.get().into()
        };
        if !user.is_none_or(granted)
            || access == Access::Write && flags(word) & GrantFlags::READONLY.bits() != 0
        {
            return Err(GrantResult::GeneralError);
        }
        match page.compare_exchange32(place.header, word, word | status_of(access)) {
            Ok(_) => return Ok(()),
            Err(now) => word = now,
        }
    }
    Err(GrantResult::GeneralError)
}

fn status_of(access: Access) -> u32 {
    let writing = if access == Access::Write { GrantFlags::WRITING } else { GrantFlags::empty() };
    (GrantFlags::READING | writing).bits().into()
}

/// Clears the status bits that `left` does not need, after a user with `access` is gone.
fn reduce_status(page: &impl AtomicPage, place: Place, left: Pins, access: Access) {
    let reading = if left.is_empty() { GrantFlags::READING } else { GrantFlags::empty() };
    let wrote = access == Access::Write && !left.write();
    let writing = if wrote { GrantFlags::WRITING } else { GrantFlags::empty() };
    let clear = reading | writing;
    if !clear.is_empty() {
        page.fetch_and32(place.header, !u32::from(clear.bits()));
    }
}
