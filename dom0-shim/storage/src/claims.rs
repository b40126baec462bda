//! Who uses which disk or partition (BLK-16, T-86).

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

use crate::access::Access;
use crate::disk::{Disk, Failure, Properties};

/// A disk, or a partition of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    /// Name of the disk, as `hda`.
    pub(crate) disk: String,
    /// Number of the partition; `None` is the whole disk.
    pub(crate) partition: Option<u32>,
}

impl Place {
    /// Whether one is a part of the other, or both are the same.
    fn overlaps(&self, other: &Self) -> bool {
        let apart =
            self.partition.is_some() && other.partition.is_some() && self.partition != other.partition;
        self.disk == other.disk && !apart
    }
}

/// `/dev/hda1`, and `/dev/ram0p1` where the disk's name ends with a digit.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        match self.partition {
            Some(number) => write!(f, "/dev/{}{separator}{number}", self.disk),
            None => write!(f, "/dev/{}", self.disk),
        }
    }
}

/// All claims.
#[derive(Default, Debug)]
pub(crate) struct Claims {
    held: RefCell<Vec<Held>>,
}

#[derive(Debug)]
struct Held {
    id: u64,
    place: Place,
    access: Access,
    user: String,
}

impl Held {
    /// Says why `access` to `place` conflicts with this.
    fn words(&self, place: &Place, access: Access) -> String {
        let (user, theirs) = (&self.user, self.access);
        match self.place == *place {
            true => format!("`{place}` is in use by {user} for {theirs}"),
            false => {
                format!(
                    "`{place}` cannot be had for {access}: `{}` is in use by {user} for {theirs}",
                    self.place
                )
            }
        }
    }
}

impl Claims {
    /// Claims a place until the claim is dropped.
    ///
    /// # Errors
    ///
    /// Who has it, in words.
    pub(crate) fn claim(self: &Rc<Self>, place: Place, access: Access, user: &str) -> Result<Claim, String> {
        self.check(None, &place, access)?;
        let mut held = self.held.borrow_mut();
        let id = held.last().map_or(0, |last| last.id.saturating_add(1));
        held.push(Held { id, place, access, user: user.to_string() });
        Ok(Claim { claims: Rc::clone(self), id })
    }

    /// Refuses what conflicts with other claims than `own`.
    fn check(&self, own: Option<u64>, place: &Place, access: Access) -> Result<(), String> {
        let held = self.held.borrow();
        let mut others = held.iter().filter(|held| Some(held.id) != own);
        let conflict = others.find(|held| held.place.overlaps(place) && held.access.conflicts(access));
        conflict.map_or(Ok(()), |held| Err(held.words(place, access)))
    }
}

/// A claim; the place is free as this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Rc<Claims>,
    id: u64,
}

impl Claim {
    /// Makes it a claim for writing.
    ///
    /// # Errors
    ///
    /// Who else has the place, in words; the claim is as it was.
    pub(crate) fn raise(&self) -> Result<(), String> {
        let place =
            self.claims.held.borrow().iter().find(|held| held.id == self.id).map(|it| it.place.clone());
        if let Some(place) = place {
            self.claims.check(Some(self.id), &place, Access::Write)?;
        }
        if let Some(held) = self.claims.held.borrow_mut().iter_mut().find(|held| held.id == self.id) {
            held.access = Access::Write;
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.held.borrow_mut().retain(|held| held.id != self.id);
    }
}

/// A disk that is claimed as long as it is there.
#[derive(Debug)]
pub(crate) struct Claimed<D> {
    disk: D,
    claim: Claim,
}

impl<D> Claimed<D> {
    pub(crate) fn new(disk: D, claim: Claim) -> Self {
        Self { disk, claim }
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl<D: Disk> Disk for Claimed<D> {
    fn properties(&self) -> Properties {
        self.disk.properties()
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.disk.read(first, to).await
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        self.disk.write(first, from).await
    }

    async fn flush(&self) -> Result<(), Failure> {
        self.disk.flush().await
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        self.disk.discard(first, count).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(disk: &str, partition: Option<u32>) -> Place {
        Place { disk: disk.into(), partition }
    }

    #[test]
    fn names() {
        assert_eq!(place("hda", None).to_string(), "/dev/hda");
        assert_eq!(place("hda", Some(12)).to_string(), "/dev/hda12");
        assert_eq!(place("ram0", Some(1)).to_string(), "/dev/ram0p1");
    }

    #[test]
    fn a_claim_is_raised_where_it_is_alone() {
        let claims = Rc::new(Claims::default());
        let claim = |user| claims.claim(place("hda", None), Access::Read, user).unwrap();
        let (one, other) = (claim("one"), claim("other"));
        assert_eq!(one.raise().unwrap_err(), "`/dev/hda` is in use by other for reading");
        drop(other);
        one.raise().unwrap();
        let refused = claims.claim(place("hda", Some(2)), Access::Read, "other").unwrap_err();
        assert_eq!(refused, "`/dev/hda2` cannot be had for reading: `/dev/hda` is in use by one for writing");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Never a writer and somebody else at overlapping places; what was dropped is free.
        #[test]
        fn no_two_conflict(steps in prop::collection::vec((0..2_usize, 0..4_u32, any::<bool>(), 0..8_usize), 0..40)) {
            let claims = Rc::new(Claims::default());
            let mut held: Vec<(Place, Access, Claim)> = Vec::new();
            for (disk, partition, write, drop) in steps {
                if drop < held.len() {
                    held.swap_remove(drop);
                    continue;
                }
                let place = place(["hda", "hdb"][disk], (partition > 0).then_some(partition));
                let access = if write { Access::Write } else { Access::Read };
                let conflict = held.iter().any(|(theirs, other, _)| {
                    let apart = matches!((theirs.partition, place.partition), (Some(one), Some(two)) if one != two);
                    theirs.disk == place.disk && !apart && (write || *other == Access::Write)
                });
                let claim = claims.claim(place.clone(), access, "demo");
                prop_assert_eq!(claim.is_err(), conflict);
                held.extend(claim.ok().map(|claim| (place, access, claim)));
            }
        }
    }
}
