//! Tables and maptracks of several domains against a model, while the granters change their pages.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const DOMAINS: u16 = 3;
const GREFS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    /// The granter writes an entry: header, frame.
    Write(u16, u32, u32, u32),
    /// The granter takes an entry back if nobody uses it, as Linux does.
    Withdraw(u16, u32),
    Map(u16, Mapping),
    /// Mapper, handle.
    Unmap(u16, u32),
    Copy(u16, Mapping),
    Swap(u16, u32, u32),
    /// A mapper ends.
    Leave(u16),
}

/// What a mapper remembers.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Mapping {
    granter: u16,
    gref: u32,
    access: Access,
    uses: Uses,
}

/// Mostly a grant to some domain, sometimes anything.
fn headers() -> impl Strategy<Value = u32> {
    let grant = (0..DOMAINS, any::<bool>())
        .prop_map(|(to, readonly)| PERMIT | if readonly { READONLY } else { 0 } | u32::from(to) << 16);
    let any = (0..DOMAINS, 0_u32..0x200).prop_map(|(to, flags)| flags | u32::from(to) << 16);
    prop_oneof![3 => grant, 1 => any]
}

/// Those that are used, and one that does not exist.
fn grefs() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..GREFS, 1 => Just(512_u32)]
}

fn mappings(uses: impl Strategy<Value = Uses>) -> impl Strategy<Value = Mapping> {
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    (0..DOMAINS, grefs(), access, uses).prop_map(|(granter, gref, access, uses)| Mapping {
        granter,
        gref,
        access,
        uses,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let uses = prop_oneof![Just(Uses::HOST), Just(Uses::DEVICE), Just(Uses::HOST | Uses::DEVICE)];
    let write = (0..DOMAINS, 0..GREFS, headers(), 0..FRAMES + FRAMES / 8);
    prop_oneof![
        4 => write.prop_map(|(granter, gref, header, frame)| Step::Write(granter, gref, header, frame)),
        2 => (0..DOMAINS, 0..GREFS).prop_map(|(granter, gref)| Step::Withdraw(granter, gref)),
        6 => (0..DOMAINS, mappings(uses)).prop_map(|(mapper, mapping)| Step::Map(mapper, mapping)),
        4 => (0..DOMAINS, 0_u32..40).prop_map(|(mapper, handle)| Step::Unmap(mapper, handle)),
        2 => (0..DOMAINS, mappings(Just(Uses::COPY))).prop_map(|(user, copy)| Step::Copy(user, copy)),
        1 => (0..DOMAINS, grefs(), grefs()).prop_map(|(granter, a, b)| Step::Swap(granter, a, b)),
        1 => (0..DOMAINS).prop_map(Step::Leave),
    ]
}

/// What an entry is, as long as somebody uses it.
#[derive(Debug)]
struct Active {
    user: u16,
    frame: u32,
    users: Vec<(Access, bool)>,
}

impl Active {
    fn count(&self, user: (Access, bool)) -> usize {
        self.users.iter().filter(|&&one| one == user).count()
    }

    fn is_written(&self) -> bool {
        self.users.iter().any(|(access, _)| *access == Access::Write)
    }
}

#[derive(Default)]
struct Model {
    active: BTreeMap<(u16, u32), Active>,
    /// Header and frame.
    entries: BTreeMap<(u16, u32), (u32, u32)>,
    handles: BTreeMap<(u16, u32), Mapping>,
}

/// The users that a mapping stands for: access, and whether it is a device.
fn users(mapping: Mapping) -> impl Iterator<Item = (Access, bool)> {
    let host = mapping.uses.intersects(Uses::HOST | Uses::COPY).then_some((mapping.access, false));
    let device = mapping.uses.contains(Uses::DEVICE).then_some((mapping.access, true));
    host.into_iter().chain(device)
}

impl Model {
    fn pin(&mut self, user: u16, mapping: Mapping) -> Result<u32, GrantResult> {
        let key = (mapping.granter, mapping.gref);
        let write = mapping.access == Access::Write;
        if mapping.gref >= 512 {
            return Err(GrantResult::BadGntref);
        }
        let (header, frame) = self.entries.entry(key).or_default();
        let active = self.active.get(&key);
        let mask = if mapping.uses == Uses::COPY { 3 } else { 3 | SUB_PAGE };
        let allowed = match active {
            Some(active) => active.user == user && users(mapping).all(|one| active.count(one) < 128),
            None => *header & mask == PERMIT && *header >> 16 == u32::from(user),
        };
        let sets_status = active.is_none_or(|active| write && !active.is_written());
        if !allowed || sets_status && write && *header & READONLY != 0 {
            return Err(GrantResult::GeneralError);
        }
        if active.is_none() && *frame >= FRAMES {
            // The bits that a granter has set itself are cleared like others.
            *header &= !(READING | if write { WRITING } else { 0 });
            return Err(GrantResult::BadPage);
        }
        if sets_status {
            *header |= READING | if write { WRITING } else { 0 };
        }
        let fresh = Active { user, frame: *frame, users: Vec::new() };
        let active = self.active.entry(key).or_insert(fresh);
        active.users.extend(users(mapping));
        Ok(active.frame)
    }

    fn unpin(&mut self, mapping: Mapping) {
        let key = (mapping.granter, mapping.gref);
        let active = self.active.get_mut(&key).unwrap();
        for user in users(mapping) {
            let place = active.users.iter().position(|&one| one == user).unwrap();
            active.users.swap_remove(place);
        }
        let (header, _) = self.entries.get_mut(&key).unwrap();
        if mapping.access == Access::Write && !active.is_written() {
            *header &= !WRITING;
        }
        if active.users.is_empty() {
            *header &= !READING;
            self.active.remove(&key);
        }
    }

    fn swap(&mut self, granter: u16, first: u32, second: u32) -> Result<(), GrantResult> {
        if first >= 512 || second >= 512 {
            return Err(GrantResult::BadGntref);
        }
        if first != second {
            if [first, second].iter().any(|&gref| self.active.contains_key(&(granter, gref))) {
                return Err(GrantResult::Eagain);
            }
            let old = self.entries.remove(&(granter, first)).unwrap_or_default();
            let new = self.entries.insert((granter, second), old).unwrap_or_default();
            self.entries.insert((granter, first), new);
        }
        Ok(())
    }
}

struct World {
    tables: Vec<HostTable>,
    tracks: Vec<Maptrack<Mapping>>,
    model: Model,
}

impl World {
    fn new() -> Self {
        let tables = (0..DOMAINS).map(|_| table(1)).collect();
        let tracks = (0..DOMAINS).map(|_| Maptrack::new(1)).collect();
        Self { tables, tracks, model: Model::default() }
    }

    fn pin(&mut self, user: u16, mapping: Mapping) -> bool {
        let table = &mut self.tables[usize::from(mapping.granter)];
        let real = pin(table, mapping.gref, user, mapping.access, mapping.uses);
        assert_eq!(real, self.model.pin(user, mapping), "{mapping:?} by {user}");
        real.is_ok()
    }

    fn unpin(&mut self, mapping: Mapping) {
        let table = &mut self.tables[usize::from(mapping.granter)];
        let frame = table.unpin(mapping.gref, mapping.access, mapping.uses);
        self.model.unpin(mapping);
        let key = (mapping.granter, mapping.gref);
        assert_eq!(frame.is_some(), !self.model.active.contains_key(&key));
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write(granter, gref, header, frame) => {
                scribble(&self.tables[usize::from(granter)], gref, header, frame);
                self.model.entries.insert((granter, gref), (header, frame));
            }
            Step::Withdraw(granter, gref) => {
                let page = self.tables[usize::from(granter)].page(0).unwrap();
                let word = page.load32(header(gref));
                if word & (READING | WRITING) == 0 {
                    page.compare_exchange32(header(gref), word, 0).unwrap();
                    self.model.entries.entry((granter, gref)).or_default().0 = 0;
                }
            }
            Step::Map(mapper, mapping) => self.map(mapper, mapping),
            Step::Unmap(mapper, handle) => {
                let taken = self.tracks[usize::from(mapper)].take(handle);
                assert_eq!(taken, self.model.handles.remove(&(mapper, handle)));
                if let Some(mapping) = taken {
                    self.unpin(mapping);
                    self.tracks[usize::from(mapper)].release(handle);
                }
            }
            Step::Copy(user, copy) => {
                if self.pin(user, copy) {
                    self.unpin(copy);
                }
            }
            Step::Swap(granter, first, second) => {
                let swapped = self.tables[usize::from(granter)].swap(first, second);
                assert_eq!(swapped, self.model.swap(granter, first, second));
            }
            Step::Leave(mapper) => {
                while let Some(mapping) = self.tracks[usize::from(mapper)].pop() {
                    self.unpin(mapping);
                }
                self.model.handles.retain(|key, _| key.0 != mapper);
            }
        }
    }

    fn map(&mut self, mapper: u16, mapping: Mapping) {
        let full = self.model.handles.keys().filter(|key| key.0 == mapper).count() == 256;
        let reserved = self.tracks[usize::from(mapper)].reserve(|| true);
        assert_eq!(reserved.is_err(), full);
        let Ok(handle) = reserved else { return };
        assert!(!self.model.handles.contains_key(&(mapper, handle)));
        if self.pin(mapper, mapping) {
            self.tracks[usize::from(mapper)].fill(handle, mapping);
            self.model.handles.insert((mapper, handle), mapping);
        } else {
            self.tracks[usize::from(mapper)].release(handle);
        }
    }

    fn check(&self) {
        for (&(granter, gref), &entry) in &self.model.entries {
            let table = &self.tables[usize::from(granter)];
            let place = At32::masked(u64::from(gref) * 8 + 4);
            let found = (word(table, gref), table.page(0).unwrap().load32(place));
            assert_eq!(found, entry, "entry {gref} of {granter}");
        }
        for (granter, table) in (0..DOMAINS).zip(&self.tables) {
            let in_use = self.model.active.keys().filter(|key| key.0 == granter).count();
            assert_eq!(table.in_use(), in_use);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: if cfg!(miri) { 4 } else { 256 },
        ..ProptestConfig::default()
    })]

    #[test]
    fn tables_do_what_the_model_does(
        steps in prop::collection::vec(steps(), 1..if cfg!(miri) { 40 } else { 400 })
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.check();
        }
        for mapper in 0..DOMAINS {
            world.step(&Step::Leave(mapper));
        }
        world.check();
        prop_assert!(world.tables.iter().all(|table| table.in_use() == 0));
    }
}
