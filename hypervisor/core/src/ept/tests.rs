use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 18;
const MIB2: u64 = 1 << 9;

/// Tables in an array. Panics at whatever a CPU in the midst of a walk, or the
/// allocator, would suffer from.
#[derive(Clone)]
struct Tables {
    frames: Vec<Frame>,
    limit: usize,
    /// Every store, for tests that look at the states in between.
    stores: Vec<(u64, usize, u64)>,
}

#[derive(Clone)]
struct Frame {
    entries: Box<[u64; ENTRIES]>,
    live: bool,
}

impl Tables {
    fn new(limit: usize) -> Self {
        Self { frames: Vec::new(), limit, stores: Vec::new() }
    }

    fn live(&self) -> usize {
        self.frames.iter().filter(|frame| frame.live).count()
    }

    fn contents(&self) -> Vec<(usize, Vec<u64>)> {
        let live = self.frames.iter().enumerate().filter(|(_, frame)| frame.live);
        live.map(|(i, frame)| (i, frame.entries.to_vec())).collect()
    }
}

impl TableMemory for Tables {
    fn read(&self, table: Mfn, index: usize) -> u64 {
        let frame = &self.frames[to_usize(table.get())];
        assert!(frame.live, "read of a released table");
        frame.entries[index]
    }

    fn write(&mut self, table: Mfn, index: usize, entry: u64) {
        let frame = &mut self.frames[to_usize(table.get())];
        assert!(frame.live, "write to a released table");
        frame.entries[index] = entry;
        self.stores.push((table.get(), index, entry));
    }

    fn allocate(&mut self) -> Option<Mfn> {
        if self.live() >= self.limit {
            return None;
        }
        // Never the same frame twice, so that a stale use shows.
        self.frames.push(Frame { entries: Box::new([0; ENTRIES]), live: true });
        Mfn::new(self.frames.len() as u64 - 1)
    }
}

impl EptMemory for Tables {
    fn release(&mut self, table: Mfn) {
        let frame = &mut self.frames[to_usize(table.get())];
        assert!(frame.live, "released twice");
        frame.live = false;
    }
}

fn gfn(raw: u64) -> Gfn {
    Gfn::new(raw).unwrap()
}

fn mfn(raw: u64) -> Mfn {
    Mfn::new(raw).unwrap()
}

fn extent(raw: u64, order: u32) -> Extent {
    Extent::new(gfn(raw), Order::new(order).unwrap()).unwrap()
}

fn page(raw: u64, kind: PageType, rights: Rights) -> Page {
    Page { mfn: mfn(raw), kind, rights }
}

fn ram(raw: u64) -> Page {
    page(raw, PageType::Ram, Rights::All)
}

fn new(limit: usize) -> (Tables, Ept) {
    let mut memory = Tables::new(limit);
    let ept = Ept::new(&mut memory, LargePages::Size1G, RamCaching::WriteBack).unwrap();
    (memory, ept)
}

fn orders(ept: &Ept, memory: &Tables) -> Vec<u32> {
    ept.mapped(memory, gfn(0)).map(|m| m.order.get()).collect()
}

fn lookup(ept: &Ept, memory: &Tables, raw: u64) -> Option<Page> {
    ept.lookup(memory, gfn(raw)).page()
}

#[test]
fn a_page_is_found_with_its_rights() {
    let (mut memory, ept) = new(8);
    let put = page(0x4200, PageType::GrantRo, Rights::ReadWrite);
    assert_eq!(ept.map(&mut memory, extent(0x12345, 0), put), Ok(Flush::Nothing));
    let capped = Page { rights: Rights::Read, ..put };
    let mapped = Lookup::Mapped { page: capped, order: Order::FRAME };
    assert_eq!(ept.lookup(&memory, gfn(0x12345)), mapped);
    assert_eq!(ept.lookup(&memory, gfn(0x12346)), Lookup::Hole { order: Order::FRAME });
    assert_eq!(ept.lookup(&memory, gfn(0x12345 + MIB2)), Lookup::Hole { order: Order::TWO_MIB });
    assert_eq!(ept.lookup(&memory, gfn(FRAMES - 1)), Lookup::Hole { order: Order::ONE_GIB });
    assert_eq!(ept.lookup(&memory, gfn(FRAMES)), Lookup::Hole { order: Order::ONE_GIB });
}

#[test]
fn large_pages_are_used_as_far_as_the_cpu_has_them() {
    let (mut memory, ept) = new(8);
    assert_eq!(ept.map(&mut memory, extent(GIB, 18), ram(2 * GIB)), Ok(Flush::Nothing));
    assert_eq!(ept.map(&mut memory, extent(0, 12), ram(GIB)), Ok(Flush::Nothing));
    assert_eq!(orders(&ept, &memory), [vec![9; 8], vec![18]].concat());
    assert_eq!(lookup(&ept, &memory, GIB + 12345), Some(ram(2 * GIB + 12345)));
    assert_eq!(memory.live(), 3);

    let mut memory = Tables::new(8);
    let ept = Ept::new(&mut memory, LargePages::Size2M, RamCaching::WriteBack).unwrap();
    assert_eq!(ept.map(&mut memory, extent(GIB, 18), ram(2 * GIB)), Ok(Flush::Nothing));
    assert_eq!(orders(&ept, &memory), vec![9; 512]);
}

#[test]
fn nothing_is_mapped_twice() {
    let (mut memory, ept) = new(8);
    assert_eq!(ept.map(&mut memory, extent(0, 9), ram(0)), Ok(Flush::Nothing));
    assert_eq!(ept.map(&mut memory, extent(8, 0), ram(8)), Err(MapError::AlreadyMapped));
    assert_eq!(ept.map(&mut memory, extent(0, 9), ram(0)), Err(MapError::AlreadyMapped));
    assert_eq!(ept.map(&mut memory, extent(0, 10), ram(0)), Err(MapError::AlreadyMapped));
    assert_eq!(ept.map(&mut memory, extent(0, 18), ram(0)), Err(MapError::AlreadyMapped));
    assert_eq!(lookup(&ept, &memory, MIB2), None);
    assert_eq!(orders(&ept, &memory), [9]);
}

#[test]
fn wrong_requests_are_refused() {
    let (mut memory, ept) = new(8);
    assert_eq!(ept.map(&mut memory, extent(0, 9), ram(1)), Err(MapError::Misaligned));
    assert_eq!(Extent::new(gfn(1), Order::TWO_MIB), None);
    assert_eq!(Extent::new(gfn(FRAMES), Order::FRAME), None);
    assert!(Extent::new(gfn(FRAMES - GIB), Order::ONE_GIB).is_some());
    assert_eq!(memory.live(), 1);
}

#[test]
fn unmapping_a_part_splits_the_page() {
    let (mut memory, ept) = new(8);
    assert_eq!(ept.map(&mut memory, extent(0, 18), ram(GIB)), Ok(Flush::Nothing));
    let mut gone = Vec::new();
    let flush = ept.unmap(&mut memory, extent(5 * MIB2 + 7, 0), &mut |m| gone.push(m));
    assert_eq!(flush, Ok(Flush::Invept));
    let at = 5 * MIB2 + 7;
    assert_eq!(gone, [Mapping { gfn: gfn(at), order: Order::FRAME, page: ram(GIB + at) }]);
    assert_eq!(lookup(&ept, &memory, at), None);
    assert_eq!(lookup(&ept, &memory, at + 1), Some(ram(GIB + at + 1)));
    assert_eq!(orders(&ept, &memory), [vec![9; 5], vec![0; 511], vec![9; 506]].concat());
}

#[test]
fn unmapping_a_hole_costs_nothing() {
    let (mut memory, ept) = new(1);
    let flush = ept.unmap(&mut memory, extent(0, 3), &mut |_| panic!("nothing was there"));
    assert_eq!(flush, Ok(Flush::Nothing));
}

#[test]
fn only_lost_rights_need_a_flush() {
    let (mut memory, ept) = new(8);
    assert_eq!(ept.map(&mut memory, extent(0, 9), ram(0)), Ok(Flush::Nothing));
    let to = |rights| move |page: Page| (page.kind, rights);
    let all = extent(0, 9);
    assert_eq!(ept.change(&mut memory, all, to(Rights::All)), Ok(Flush::Nothing));
    assert_eq!(ept.change(&mut memory, all, to(Rights::ReadExecute)), Ok(Flush::Invept));
    assert_eq!(ept.change(&mut memory, all, to(Rights::All)), Ok(Flush::Nothing));
    assert_eq!(ept.change(&mut memory, extent(1, 0), to(Rights::All)), Ok(Flush::Nothing));
    assert_eq!(orders(&ept, &memory), [9], "no reason to split");
    // A page of another memory type is another translation.
    let mmio = |page: Page| (PageType::Mmio, page.rights);
    assert_eq!(ept.change(&mut memory, extent(0, 0), mmio), Ok(Flush::Invept));
    assert_eq!(orders(&ept, &memory), [0; 512]);
    assert_eq!(lookup(&ept, &memory, 0), Some(page(0, PageType::Mmio, Rights::All)));
    assert_eq!(lookup(&ept, &memory, 1), Some(ram(1)));
}

#[test]
fn a_page_without_rights_keeps_its_place() {
    let (mut memory, ept) = new(8);
    let none = page(7, PageType::Ram, Rights::None);
    assert_eq!(ept.map(&mut memory, extent(7, 0), none), Ok(Flush::Nothing));
    assert_eq!(lookup(&ept, &memory, 7), Some(none));
    let grant = |page: Page| (page.kind, Rights::All);
    assert_eq!(ept.change(&mut memory, extent(7, 0), grant), Ok(Flush::Nothing));
    assert_eq!(lookup(&ept, &memory, 7), Some(ram(7)));
}

#[test]
fn an_empty_table_gives_way_to_a_large_page() {
    let (mut memory, ept) = new(8);
    assert_eq!(ept.map(&mut memory, extent(GIB, 0), ram(1)), Ok(Flush::Nothing));
    assert_eq!(ept.unmap(&mut memory, extent(GIB, 0), &mut |_| ()), Ok(Flush::Invept));
    assert_eq!(memory.live(), 4);
    // The CPUs may remember where the tables were.
    assert_eq!(ept.map(&mut memory, extent(GIB, 18), ram(0)), Ok(Flush::Invept));
    assert_eq!(memory.live(), 2);
}

#[test]
#[cfg_attr(miri, ignore = "fills whole tables, one entry at a time")]
fn alike_neighbours_merge() {
    let (mut memory, ept) = new(16);
    for i in 0..MIB2 {
        assert_eq!(ept.map(&mut memory, extent(GIB + i, 0), ram(i)), Ok(Flush::Nothing));
        let expected = if i == MIB2 - 1 { Flush::Invept } else { Flush::Nothing };
        assert_eq!(ept.coalesce(&mut memory, gfn(GIB + i)), expected);
    }
    assert_eq!(orders(&ept, &memory), [9]);
    for i in 1..512 {
        assert_eq!(ept.map(&mut memory, extent(GIB + i * MIB2, 9), ram(i * MIB2)), Ok(Flush::Nothing));
    }
    assert_eq!(ept.coalesce(&mut memory, gfn(GIB + 9)), Flush::Invept);
    assert_eq!(orders(&ept, &memory), [18]);
    assert_eq!(lookup(&ept, &memory, GIB + 54321), Some(ram(54321)));
    assert_eq!(ept.unmap(&mut memory, extent(GIB, 18), &mut |_| ()), Ok(Flush::Invept));
    assert_eq!(ept.coalesce(&mut memory, gfn(GIB)), Flush::Invept);
    assert_eq!(memory.live(), 1, "the root");
    assert_eq!(ept.coalesce(&mut memory, gfn(FRAMES)), Flush::Nothing);
}

#[test]
#[cfg_attr(miri, ignore = "fills whole tables, one entry at a time")]
fn neighbours_that_differ_do_not_merge() {
    for odd in [ram(512 + 6), page(5, PageType::Ram, Rights::Read), page(5, PageType::Special, Rights::All)] {
        let (mut memory, ept) = new(8);
        for i in 0..MIB2 {
            let page = if i == 5 { odd } else { ram(i) };
            assert_eq!(ept.map(&mut memory, extent(i, 0), page), Ok(Flush::Nothing));
        }
        assert_eq!(ept.coalesce(&mut memory, gfn(0)), Flush::Nothing);
    }
    let (mut memory, ept) = new(8);
    for i in 0..MIB2 {
        assert_eq!(ept.map(&mut memory, extent(i, 0), ram(i + 1)), Ok(Flush::Nothing));
    }
    assert_eq!(ept.coalesce(&mut memory, gfn(0)), Flush::Nothing, "not aligned");
}

#[test]
fn want_of_tables_changes_nothing() {
    for limit in 1..4 {
        let (mut memory, ept) = new(limit);
        let before = memory.contents();
        assert_eq!(ept.map(&mut memory, extent(0, 0), ram(0)), Err(MapError::OutOfTables));
        assert_eq!(memory.contents(), before);
    }
    for limit in 2..4 {
        let (mut memory, ept) = new(limit);
        assert_eq!(ept.map(&mut memory, extent(0, 18), ram(0)), Ok(Flush::Nothing));
        let before = memory.contents();
        let unmap = ept.unmap(&mut memory, extent(9, 0), &mut |_| panic!("nothing may go"));
        assert_eq!(unmap, Err(OutOfTables));
        let change = ept.change(&mut memory, extent(9, 0), |page| (page.kind, Rights::Read));
        assert_eq!(change, Err(OutOfTables));
        assert_eq!(memory.contents(), before);
    }
    assert!(Ept::new(&mut Tables::new(0), LargePages::Size1G, RamCaching::WriteBack).is_err());
}

/// Replays the stores of `operate` one by one: after each, every probe must be
/// translated as before or as afterwards.
fn each_state_is_old_or_new(setup: impl Fn(&Ept, &mut Tables), operate: impl Fn(&Ept, &mut Tables)) {
    let (mut memory, ept) = new(16);
    setup(&ept, &mut memory);
    memory.stores.clear();
    let before = memory.clone();
    operate(&ept, &mut memory);
    // All tables of both ends, none of which is released before the flush.
    let mut between = before.clone();
    between.frames.resize(memory.frames.len(), Frame { entries: Box::new([0; ENTRIES]), live: true });
    let mut after = memory.clone();
    after.frames.iter_mut().for_each(|frame| frame.live = true);
    let probes = [0, 1, 7, 8, 15, 16, 511, 512, 513, 1024, 100_000, GIB - 1, GIB, GIB + 5];
    for &(table, index, entry) in &memory.stores {
        between.write(mfn(table), index, entry);
        for at in probes {
            let now = lookup(&ept, &between, at);
            let ends = [lookup(&ept, &before, at), lookup(&ept, &after, at)];
            assert!(ends.contains(&now), "gfn {at:#x}: {now:?} is neither of {ends:?}");
        }
    }
    assert!(!memory.stores.is_empty());
}

#[test]
#[cfg_attr(miri, ignore = "fills whole tables, one entry at a time")]
fn a_walk_amidst_a_change_sees_the_old_or_the_new() {
    let done = |result: Result<Flush, OutOfTables>| assert!(result.is_ok());
    let whole = |ept: &Ept, memory: &mut Tables| {
        assert_eq!(ept.map(memory, extent(0, 18), ram(GIB)), Ok(Flush::Nothing));
    };
    let nothing = |_: &Ept, _: &mut Tables| ();
    each_state_is_old_or_new(nothing, whole);
    each_state_is_old_or_new(nothing, |ept, memory| {
        assert_eq!(ept.map(memory, extent(8, 3), ram(8)), Ok(Flush::Nothing));
    });
    each_state_is_old_or_new(whole, |ept, memory| done(ept.unmap(memory, extent(8, 3), &mut |_| ())));
    each_state_is_old_or_new(whole, |ept, memory| {
        done(ept.change(memory, extent(512, 9), |page| (page.kind, Rights::Read)));
    });
    let pieces = |ept: &Ept, memory: &mut Tables| {
        for i in 0..MIB2 {
            assert_eq!(ept.map(memory, extent(i, 0), ram(i)), Ok(Flush::Nothing));
        }
    };
    each_state_is_old_or_new(pieces, |ept, memory| {
        assert_eq!(ept.coalesce(memory, gfn(3)), Flush::Invept);
    });
    let emptied = |ept: &Ept, memory: &mut Tables| {
        pieces(ept, memory);
        done(ept.unmap(memory, extent(0, 9), &mut |_| ()));
    };
    each_state_is_old_or_new(emptied, |ept, memory| {
        assert_eq!(ept.map(memory, extent(0, 9), ram(512)), Ok(Flush::Invept));
    });
}

#[test]
fn a_tree_is_taken_down_in_slices() {
    let (mut memory, ept) = new(16);
    assert_eq!(ept.map(&mut memory, extent(3 * GIB, 18), ram(0)), Ok(Flush::Nothing));
    assert_eq!(ept.map(&mut memory, extent(5 * MIB2, 9), ram(512)), Ok(Flush::Nothing));
    assert_eq!(ept.map(&mut memory, extent(FRAMES - 1, 0), ram(9)), Ok(Flush::Nothing));
    let expected: Vec<_> = ept.mapped(&memory, gfn(0)).collect();
    let tables = memory.live();
    let (mut gone, mut slices) = (Vec::new(), 1_usize);
    let mut parts = 0;
    while let Some(mut teardown) = ept.cut(&mut memory) {
        parts += 1;
        while teardown.step(&mut memory, 100, &mut |m| gone.push(m)) == Progress::More {
            slices += 1;
        }
        assert_eq!(teardown.step(&mut memory, 100, &mut |_| ()), Progress::Done);
    }
    assert_eq!(gone, expected);
    assert_eq!(ept.mapped(&memory, gfn(0)).next(), None);
    assert_eq!((memory.live(), parts), (1, 2));
    assert!(slices.abs_diff((tables - 1) * (ENTRIES + 1) / 100) <= parts);
    ept.release(&mut memory);
    assert_eq!(memory.live(), 0);
}

#[test]
fn eptp_names_the_root() {
    let ept = Ept { root: mfn(0x1234), large: LargePages::Size2M, ram: RamCaching::WriteBack };
    assert_eq!(ept.eptp(AccessedDirty::Off).get(), 0x123_401e);
    assert_eq!(ept.eptp(AccessedDirty::On).get(), 0x123_405e);
}

/// What the tree should say: runs of frames by their first, neither touching nor
/// overlapping if they could be one.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Model(BTreeMap<u64, (u64, Page)>);

impl Model {
    fn page_at(&self, at: u64) -> Option<Page> {
        let (&first, &(len, page)) = self.0.range(..=at).next_back()?;
        (at - first < len).then(|| offset(page, at - first))
    }

    fn overlaps(&self, extent: Extent) -> bool {
        let (start, end) = ends(extent);
        self.0.range(..end).next_back().is_some_and(|(first, (len, _))| first + len > start)
    }

    /// Cuts the extent out and gives what was in it.
    fn take(&mut self, extent: Extent) -> Vec<(u64, u64, Page)> {
        let (start, end) = ends(extent);
        let mut taken = Vec::new();
        for (first, (len, page)) in core::mem::take(&mut self.0) {
            let mut keep = |from: u64, to: u64| {
                if from < to {
                    self.0.insert(from, (to - from, offset(page, from - first)));
                }
            };
            keep(first, (first + len).min(start));
            keep(first.max(end), first + len);
            let (from, to) = (first.max(start), (first + len).min(end));
            if from < to {
                taken.push((from, to - from, offset(page, from - first)));
            }
        }
        taken
    }

    fn put(&mut self, at: u64, len: u64, page: Page) {
        let page = Page { rights: page.rights.and(page.kind.most()), ..page };
        self.0.insert(at, (len, page));
    }

    fn merged(&self) -> Self {
        let mut merged: BTreeMap<u64, (u64, Page)> = BTreeMap::new();
        for (&at, &(len, page)) in &self.0 {
            match merged.last_entry() {
                Some(mut last)
                    if last.key() + last.get().0 == at && offset(last.get().1, last.get().0) == page =>
                {
                    last.get_mut().0 += len;
                }
                _ => drop(merged.insert(at, (len, page))),
            }
        }
        Self(merged)
    }

    fn of(mappings: impl Iterator<Item = Mapping>) -> Self {
        Self(mappings.map(|m| (m.gfn.get(), (m.order.frames(), m.page))).collect()).merged()
    }
}

fn ends(extent: Extent) -> (u64, u64) {
    (extent.gfn.get(), extent.gfn.get() + extent.order.frames())
}

fn offset(page: Page, frames: u64) -> Page {
    Page { mfn: page.mfn.checked_add(frames).unwrap(), ..page }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Map(Extent, Page),
    Unmap(Extent),
    Change(Extent, Rights),
    Coalesce(Gfn),
    /// How many tables there may be from now on.
    Limit(usize),
}

fn extents() -> impl Strategy<Value = Extent> {
    // Few places, so that operations meet; both ends of what four levels reach.
    let orders = prop_oneof![4 => 0..4_u32, 3 => 8..11_u32, 1 => Just(18_u32)];
    let bases = prop_oneof![6 => Just(0), 2 => Just(GIB), 1 => Just(FRAMES - GIB)];
    (orders, bases, 0..16_u64, 0..4_u64).prop_map(|(order, base, small, large)| {
        let at = (small + large * MIB2) << order.saturating_sub(8);
        extent(base + ((at % GIB) & !((1 << order) - 1)), order)
    })
}

fn kinds() -> impl Strategy<Value = PageType> {
    use PageType::{Foreign, GrantRo, GrantRw, Mmio, Ram, Special};
    prop_oneof![4 => Just(Ram), 1 => prop::sample::select(vec![Mmio, Foreign, GrantRw, GrantRo, Special])]
}

fn rights() -> impl Strategy<Value = Rights> {
    use Rights::{All, None, Read, ReadExecute, ReadWrite};
    prop_oneof![3 => Just(All), 1 => prop::sample::select(vec![None, Read, ReadWrite, ReadExecute])]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let map = (extents(), kinds(), rights(), 0..3_u64).prop_map(|(extent, kind, rights, shift)| {
        Op::Map(extent, page(extent.gfn.get() + (shift << extent.order.get()), kind, rights))
    });
    let op = prop_oneof![
        8 => map,
        4 => extents().prop_map(Op::Unmap),
        3 => (extents(), rights()).prop_map(|(extent, rights)| Op::Change(extent, rights)),
        2 => extents().prop_map(|extent| Op::Coalesce(extent.gfn)),
        1 => prop_oneof![1..8_usize, Just(usize::MAX)].prop_map(Op::Limit),
    ];
    prop::collection::vec(op, 1..if cfg!(miri) { 4 } else { 60 })
}

fn config() -> ProptestConfig {
    // Few cases under miri, which is slow and shuts the file system away.
    let cases = if cfg!(miri) { 2 } else { 256 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Does `op` to both, and compares what they answer.
fn apply(ept: &Ept, memory: &mut Tables, model: &mut Model, op: Op) {
    let before = memory.contents();
    let failed = match op {
        Op::Map(extent, page) => {
            let result = ept.map(memory, extent, page);
            match result {
                Ok(_) => {
                    assert!(!model.overlaps(extent));
                    model.put(extent.gfn.get(), extent.order.frames(), page);
                }
                Err(MapError::AlreadyMapped) => assert!(model.overlaps(extent)),
                Err(error) => assert_eq!(error, MapError::OutOfTables),
            }
            result.is_err()
        }
        Op::Unmap(extent) => {
            let mut gone = Vec::new();
            let result = ept.unmap(memory, extent, &mut |m| gone.push(m));
            if let Ok(flush) = result {
                let taken = model.take(extent);
                let reachable = taken.iter().any(|(_, _, page)| page.rights != Rights::None);
                assert_eq!(flush, Flush::if_needed(reachable));
                let taken = Model(taken.into_iter().map(|(at, len, page)| (at, (len, page))).collect());
                assert_eq!(Model::of(gone.into_iter()), taken.merged());
            }
            result.is_err()
        }
        Op::Change(extent, rights) => {
            let result = ept.change(memory, extent, |page| (page.kind, rights));
            if let Ok(flush) = result {
                let taken = model.take(extent);
                let lost = taken.iter().any(|(_, _, page)| !rights.contains(page.rights));
                assert_eq!(flush, Flush::if_needed(lost));
                taken.into_iter().for_each(|(at, len, page)| model.put(at, len, Page { rights, ..page }));
            }
            result.is_err()
        }
        Op::Coalesce(gfn) => {
            let tables = memory.live();
            let merged = ept.coalesce(memory, gfn) == Flush::Invept;
            assert_eq!(merged, memory.live() < tables);
            false
        }
        Op::Limit(limit) => {
            memory.limit = limit;
            false
        }
    };
    assert!(!failed || memory.contents() == before, "a failure left its traces");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_tree_says_what_the_model_says(ops in ops(), giant: bool) {
        let mut memory = Tables::new(usize::MAX);
        let large = if giant { LargePages::Size1G } else { LargePages::Size2M };
        let ept = Ept::new(&mut memory, large, RamCaching::WriteBack).unwrap();
        let mut model = Model::default();
        for op in ops {
            apply(&ept, &mut memory, &mut model, op);
            // Every edge, from both sides.
            for (&first, &(len, _)) in &model.0 {
                for at in [first.wrapping_sub(1), first, first + len - 1, first + len] {
                    if at < FRAMES {
                        prop_assert_eq!(lookup(&ept, &memory, at), model.page_at(at));
                    }
                }
            }
        }
        prop_assert_eq!(Model::of(ept.mapped(&memory, gfn(0))), model.merged());
        let mut gone = Vec::new();
        while let Some(mut teardown) = ept.cut(&mut memory) {
            while teardown.step(&mut memory, 1000, &mut |m| gone.push(m)) == Progress::More {}
        }
        ept.release(&mut memory);
        prop_assert_eq!(Model::of(gone.into_iter()), model.merged());
        prop_assert_eq!(memory.live(), 0);
    }
}
