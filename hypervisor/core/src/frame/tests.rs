use super::*;
use crate::addr::{PAGE_SIZE, PhysRange};
use proptest::prelude::*;
use std::vec::Vec;

const D0: Owner = Owner::Domain(DomId::DOM0);
const HEAP: Owner = Owner::Hypervisor(Use::Heap);

fn records(frames: usize) -> Vec<Frame> {
    (0..frames).map(|_| Frame::default()).collect()
}

fn frames(start: u64, end: u64) -> PhysRange {
    PhysRange::new(start * PAGE_SIZE, end * PAGE_SIZE).unwrap()
}

fn mfn(raw: u64) -> Mfn {
    Mfn::new(raw).unwrap()
}

/// An allocator over all of `records`, clean.
fn buddy(records: &[Frame]) -> Buddy<'_> {
    let mut buddy = Buddy::new(FrameTable::new(records));
    buddy.add(frames(0, records.len() as u64), Cleanliness::Clean).unwrap();
    buddy
}

fn scrub_all(buddy: &mut Buddy<'_>) {
    while let Some(block) = buddy.next_dirty(Order::TWO_MIB) {
        buddy.scrubbed(block);
    }
}

#[test]
fn orders_cover_frames() {
    assert_eq!(Order::new(18), Some(Order::MAX));
    assert_eq!(Order::new(19), None);
    assert_eq!(Order::covering(1), Some(Order::FRAME));
    assert_eq!(Order::covering(257), Some(Order::TWO_MIB));
    assert_eq!(Order::covering(1 << 18), Some(Order::ONE_GIB));
    assert_eq!(Order::covering((1 << 18) + 1), None);
    assert_eq!(Order::covering(u64::MAX), None);
}

#[test]
fn a_zeroed_table_is_reserved_and_gives_nothing() {
    let records = records(8);
    let table = FrameTable::new(&records);
    assert_eq!(table.state(mfn(3)), FrameState::Reserved);
    assert_eq!(table.state(mfn(8)), FrameState::Reserved);
    assert_eq!(table.try_get(mfn(3), DomId::DOM0), Err(GetError::NotOwned));
    assert_eq!(table.put(mfn(3)), Err(NotHeld));
    let mut buddy = Buddy::new(table);
    let nothing = OutOfFrames { unscrubbed: 0 };
    assert_eq!(buddy.alloc(Order::FRAME, Reach::Anywhere, D0), Err(nothing));
    assert_eq!(buddy.free(mfn(3), Order::FRAME), Err(FreeError::NotAllocated));
    assert_eq!(buddy.verify(), Ok(()));
    assert_eq!(FrameTable::bytes_for(1 << 18), Some(4 << 20));
    assert_eq!(FrameTable::bytes_for(u64::MAX), None);
}

#[test]
fn a_large_range_costs_one_record_per_block() {
    let records = records(1 << 6);
    let mut buddy = Buddy::new(FrameTable::new(&records));
    buddy.add(frames(1, 1 << 6), Cleanliness::Clean).unwrap();
    let heads = records.iter().filter(|r| r.state.load(Ordering::Relaxed) != 0).count();
    assert_eq!(heads, 6);
    assert_eq!(buddy.counts(), Counts { total: 63, clean: 63, dirty: 0, scrubbing: 0 });
    assert_eq!(buddy.verify(), Ok(()));
}

#[test]
fn memory_is_added_once_and_inside_the_table() {
    let records = records(64);
    let mut buddy = buddy(&records);
    assert_eq!(buddy.add(frames(8, 16), Cleanliness::Clean), Err(AddError::AlreadyAdded));
    assert_eq!(buddy.add(frames(60, 65), Cleanliness::Clean), Err(AddError::OutsideTable));
    let far = PhysRange::from_len(1 << 51, PAGE_SIZE).unwrap();
    assert_eq!(buddy.add(far, Cleanliness::Clean), Err(AddError::OutsideTable));
    assert_eq!(buddy.counts().total, 64);
    assert_eq!(buddy.verify(), Ok(()));
}

#[test]
fn part_frames_are_not_added() {
    let records = records(4);
    let mut buddy = Buddy::new(FrameTable::new(&records));
    buddy.add(PhysRange::new(1, 3 * PAGE_SIZE - 1).unwrap(), Cleanliness::Clean).unwrap();
    assert_eq!(buddy.counts().total, 1);
    buddy.add(PhysRange::new(PAGE_SIZE, PAGE_SIZE).unwrap(), Cleanliness::Clean).unwrap();
    assert_eq!(buddy.counts().total, 1);
}

#[test]
fn what_a_domain_freed_is_scrubbed_before_it_is_clean() {
    let records = records(1);
    let mut buddy = buddy(&records);
    let table = FrameTable::new(&records);
    let block = buddy.alloc(Order::FRAME, Reach::Anywhere, D0).unwrap();
    assert!(!block.needs_scrub());
    assert_eq!(table.put(block.mfn()), Ok(Put::Last));
    buddy.free(block.mfn(), Order::FRAME).unwrap();
    assert_eq!(table.state(mfn(0)), FrameState::Dirty);

    let again = buddy.alloc(Order::FRAME, Reach::Anywhere, HEAP).unwrap();
    assert!(again.needs_scrub());
    buddy.free(again.mfn(), Order::FRAME).unwrap();

    let dirty = buddy.next_dirty(Order::MAX).unwrap();
    assert_eq!(dirty.range(), frames(0, 1));
    assert_eq!(table.state(mfn(0)), FrameState::Scrubbing);
    let nothing = OutOfFrames { unscrubbed: 1 };
    assert_eq!(buddy.alloc(Order::FRAME, Reach::Anywhere, D0), Err(nothing));
    assert_eq!(buddy.free(mfn(0), Order::FRAME), Err(FreeError::NotAllocated));
    buddy.scrubbed(dirty);
    assert_eq!(table.state(mfn(0)), FrameState::Free);
    assert!(!buddy.alloc(Order::FRAME, Reach::Anywhere, D0).unwrap().needs_scrub());
}

#[test]
fn a_large_dirty_block_is_scrubbed_in_slices() {
    let records = records(1 << 5);
    let slice_order = Order::new(3).unwrap();
    let mut buddy = Buddy::new(FrameTable::new(&records));
    buddy.add(frames(0, 1 << 5), Cleanliness::Dirty).unwrap();
    for slice in 1..=4 {
        let dirty = buddy.next_dirty(slice_order).unwrap();
        assert_eq!(dirty.range().len(), 8 * PAGE_SIZE);
        buddy.scrubbed(dirty);
        assert_eq!((buddy.counts().clean, buddy.verify()), (slice << 3, Ok(())));
    }
    assert_eq!(buddy.next_dirty(slice_order), None);
    assert!(buddy.alloc(Order::new(5).unwrap(), Reach::Anywhere, HEAP).is_ok());
}

#[test]
fn references_keep_a_frame_with_its_owner() {
    let records = records(2);
    let mut buddy = buddy(&records);
    let table = FrameTable::new(&records);
    let d1 = DomId::new(1).unwrap();
    let at = buddy.alloc(Order::FRAME, Reach::Anywhere, Owner::Domain(d1)).unwrap().mfn();
    assert_eq!(table.try_get(at, DomId::DOM0), Err(GetError::NotOwned));
    assert_eq!(table.try_get(at, d1), Ok(()));
    assert_eq!(table.put(at), Ok(Put::Held));
    assert_eq!(buddy.free(at, Order::FRAME), Err(FreeError::Referenced));
    assert_eq!(table.put(at), Ok(Put::Last));
    assert_eq!(table.put(at), Err(NotHeld));
    assert_eq!(table.try_get(at, d1), Err(GetError::NotOwned));
    assert_eq!(table.state(at), FrameState::Domain { owner: d1, references: 0 });
    assert_eq!(buddy.free(at, Order::FRAME), Ok(()));
    assert_eq!(buddy.free(at, Order::FRAME), Err(FreeError::NotAllocated));
    assert_eq!(buddy.verify(), Ok(()));
}

#[test]
fn who_holds_a_reference_gets_another() {
    let records = records(4);
    let mut buddy = buddy(&records);
    let table = FrameTable::new(&records);
    let at = buddy.alloc(Order::FRAME, Reach::Anywhere, D0).unwrap().mfn();
    assert_eq!(table.get_again(at), Ok(()));
    assert_eq!(table.state(at), FrameState::Domain { owner: DomId::DOM0, references: 2 });
    assert_eq!(table.put(at), Ok(Put::Held));
    assert_eq!(table.put(at), Ok(Put::Last));
    assert_eq!(table.get_again(at), Err(GetError::NotOwned));
    let block = buddy.alloc(Order::new(1).unwrap(), Reach::Anywhere, D0).unwrap().mfn();
    assert_eq!(table.get_again(block), Err(GetError::NotOwned));
    assert_eq!(table.get_again(mfn(4)), Err(GetError::NotOwned));
}

#[test]
fn the_reference_count_never_wraps() {
    let records = records(1);
    let table = FrameTable::new(&records);
    table.set_record(0, Record::Domain { owner: DomId::DOM0, order: Order::FRAME, references: u32::MAX });
    assert_eq!(table.try_get(mfn(0), DomId::DOM0), Err(GetError::TooMany));
    assert_eq!(table.get_again(mfn(0)), Err(GetError::TooMany));
    assert_eq!(table.put(mfn(0)), Ok(Put::Held));
    assert_eq!(table.try_get(mfn(0), DomId::DOM0), Ok(()));
    assert_eq!(table.try_get(mfn(0), DomId::DOM0), Err(GetError::TooMany));
}

#[test]
fn a_hypervisor_frame_is_never_referenced() {
    let records = records(4);
    let mut buddy = buddy(&records);
    let table = FrameTable::new(&records);
    let block = buddy.alloc(Order::new(1).unwrap(), Reach::Anywhere, HEAP).unwrap();
    assert_eq!(table.try_get(block.mfn(), DomId::DOM0), Err(GetError::NotOwned));
    assert_eq!(table.put(block.mfn()), Err(NotHeld));
    let second = block.mfn().checked_add(1).unwrap();
    assert_eq!(table.state(second), FrameState::Hypervisor(Use::Heap));
    assert_eq!(buddy.free(second, Order::FRAME), Err(FreeError::NotAllocated));
    assert_eq!(buddy.free(block.mfn(), Order::FRAME), Err(FreeError::WrongSize));
    assert_eq!(buddy.free(mfn(4), Order::FRAME), Err(FreeError::OutsideTable));
    assert_eq!(buddy.free(block.mfn(), Order::new(1).unwrap()), Ok(()));
}

#[test]
fn each_frame_of_a_domains_block_can_live_alone() {
    let records = records(16);
    let mut buddy = buddy(&records);
    let block = buddy.alloc(Order::new(2).unwrap(), Reach::Anywhere, D0).unwrap();
    for i in 0..block.frames() {
        let at = block.mfn().checked_add(i).unwrap();
        buddy.disown(at, Order::FRAME, DomId::DOM0).unwrap();
        assert_eq!(buddy.verify(), Ok(()));
    }
    assert_eq!(buddy.counts(), Counts { total: 16, clean: 12, dirty: 4, scrubbing: 0 });
}

#[test]
fn a_block_of_a_domain_is_one_record_until_a_frame_is_isolated() {
    let records = records(16);
    let mut buddy = buddy(&records);
    let table = FrameTable::new(&records);
    let order = Order::new(3).unwrap();
    let block = buddy.alloc(order, Reach::Anywhere, D0).unwrap();
    let fifth = block.mfn().checked_add(5).unwrap();
    assert_eq!(table.try_get(fifth, DomId::DOM0), Err(GetError::InBlock));
    assert_eq!(table.try_get(block.mfn(), DomId::DOM0), Err(GetError::InBlock));
    assert_eq!(table.try_get(fifth, DomId::new(1).unwrap()), Err(GetError::NotOwned));
    assert_eq!(table.put(block.mfn()), Err(NotHeld));
    assert_eq!(buddy.free(block.mfn(), order), Err(FreeError::Referenced));
    buddy.isolate(fifth);
    assert_eq!(buddy.verify(), Ok(()));
    assert_eq!(table.try_get(fifth, DomId::DOM0), Ok(()));
    assert_eq!(buddy.disown(block.mfn(), order, DomId::new(1).unwrap()), Err(FreeError::NotOwned));
    assert_eq!(buddy.disown(fifth, order, DomId::DOM0), Err(FreeError::WrongSize));
    assert_eq!(buddy.disown(block.mfn(), order, DomId::DOM0), Ok(()));
    assert_eq!(buddy.verify(), Ok(()));
    assert_eq!(buddy.counts(), Counts { total: 16, clean: 8, dirty: 7, scrubbing: 0 });
    assert_eq!(table.state(fifth), FrameState::Domain { owner: DomId::DOM0, references: 1 });
    assert_eq!(table.put(fifth), Ok(Put::Last));
    buddy.free(fifth, Order::FRAME).unwrap();
    assert_eq!(buddy.counts().dirty, 8);
    assert_eq!(buddy.verify(), Ok(()));
}

#[test]
fn an_exact_block_returns_its_tail() {
    let records = records(16);
    let mut buddy = buddy(&records);
    let block = buddy.alloc_exact(11, Reach::Anywhere, HEAP).unwrap();
    assert_eq!((block.mfn(), block.frames(), buddy.counts().clean), (mfn(0), 11, 5));
    assert_eq!(buddy.verify(), Ok(()));
    assert_eq!(buddy.free_exact(block.mfn(), 12), Err(FreeError::WrongSize));
    assert_eq!(buddy.free_exact(mfn(1), 1), Err(FreeError::NotAllocated));
    assert_eq!(buddy.free_exact(block.mfn(), 17), Err(FreeError::OutsideTable));
    assert_eq!(buddy.free_exact(block.mfn(), u64::MAX), Err(FreeError::OutsideTable));
    assert_eq!(buddy.counts().dirty, 0);
    assert_eq!(buddy.free_exact(block.mfn(), 11), Ok(()));
    scrub_all(&mut buddy);
    assert_eq!(buddy.alloc_exact(16, Reach::Anywhere, HEAP).map(|b| b.frames()), Ok(16));
    assert_eq!(buddy.alloc_exact(0, Reach::Anywhere, HEAP), Err(OutOfFrames { unscrubbed: 0 }));
    assert!(buddy.alloc_exact(u64::MAX, Reach::Anywhere, HEAP).is_err());
}

#[test]
#[cfg_attr(miri, ignore = "needs a table of 16 MiB")]
fn memory_below_4_gib_is_kept_for_those_who_need_it() {
    let records = records((1 << 20) + 2);
    let mut buddy = Buddy::new(FrameTable::new(&records));
    buddy.add(frames((1 << 20) - 1, (1 << 20) + 2), Cleanliness::Clean).unwrap();
    let mut alloc = |reach| buddy.alloc(Order::FRAME, reach, HEAP).map(|b| b.mfn().get() >= 1 << 20);
    assert_eq!(alloc(Reach::Anywhere), Ok(true));
    assert_eq!(alloc(Reach::Below4Gib), Ok(false));
    assert!(alloc(Reach::Below4Gib).is_err());
    assert_eq!(alloc(Reach::Anywhere), Ok(true));
    assert!(alloc(Reach::Anywhere).is_err());
    assert_eq!(buddy.verify(), Ok(()));
}

#[test]
fn verify_finds_broken_tables() {
    let broken = |index: u32, record| {
        let records = records(8);
        let buddy = buddy(&records);
        FrameTable::new(&records).set_record(index, record);
        buddy.verify()
    };
    let order = Order::new(3).unwrap();
    assert_eq!(broken(3, Record::Scrubbing { order: Order::FRAME }), Err(Inconsistency::Overlap(mfn(3))));
    assert_eq!(broken(0, Record::NoHead), Err(Inconsistency::Totals));
    assert_eq!(broken(0, Record::Scrubbing { order }), Err(Inconsistency::Totals));
    let too_large = Record::Scrubbing { order: Order::MAX };
    assert_eq!(broken(0, too_large), Err(Inconsistency::Misplaced(mfn(0))));
    let dirty = Record::Free { order, cleanliness: Cleanliness::Dirty };
    assert_eq!(broken(0, dirty), Err(Inconsistency::Links(mfn(0))));
}

#[test]
fn references_from_many_threads_end_in_one_last_put() {
    let records = records(1);
    let mut buddy = buddy(&records);
    let table = FrameTable::new(&records);
    let at = buddy.alloc(Order::FRAME, Reach::Anywhere, D0).unwrap().mfn();
    let rounds = if cfg!(miri) { 50 } else { 20_000 };
    let worker = || {
        let taken = (0..rounds).filter(|_| table.try_get(at, DomId::DOM0).is_ok());
        taken.filter(|_| table.put(at) == Ok(Put::Last)).count()
    };
    let last = std::thread::scope(|scope| {
        let threads = [scope.spawn(worker), scope.spawn(worker)];
        let own = usize::from(table.put(at) == Ok(Put::Last));
        own + threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(last, 1);
    assert_eq!(buddy.free(at, Order::FRAME), Ok(()));
}

/// What the model knows about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cell {
    Reserved,
    Clean,
    Dirty,
    Taken,
}

#[derive(Clone, Debug)]
enum Op {
    Alloc { order: u32, domain: bool },
    AllocExact { frames: u64 },
    FreeLive { which: usize },
    FreeAny { frame: u64, order: u32 },
    Scrub { largest: u32 },
}

/// A live allocation: (first frame, frames, whether a domain's).
type Live = (u64, u64, bool);

struct Model<'a> {
    buddy: Buddy<'a>,
    table: FrameTable<'a>,
    cells: Vec<Cell>,
    live: Vec<Live>,
}

const FRAMES: u64 = if cfg!(miri) { 110 } else { 200 };

impl<'a> Model<'a> {
    /// Frames 3..FRAMES, half of them dirty.
    fn new(records: &'a [Frame]) -> Self {
        let table = FrameTable::new(records);
        let mut buddy = Buddy::new(table);
        buddy.add(frames(3, 100), Cleanliness::Clean).unwrap();
        buddy.add(frames(100, FRAMES), Cleanliness::Dirty).unwrap();
        let cell = |i| match i {
            0..3 => Cell::Reserved,
            3..100 => Cell::Clean,
            _ => Cell::Dirty,
        };
        Self { buddy, table, cells: (0..FRAMES).map(cell).collect(), live: Vec::new() }
    }

    fn cells_mut(&mut self, start: u64, frames: u64) -> &mut [Cell] {
        let start = usize::try_from(start).unwrap();
        &mut self.cells[start..start + usize::try_from(frames).unwrap()]
    }

    /// Whether an aligned block of that size is free and equally clean throughout.
    fn could_serve(&self, span: usize) -> bool {
        let whole = |cells: &[Cell], cell| cells.len() == span && cells.iter().all(|&c| c == cell);
        self.cells.chunks(span).any(|cells| whole(cells, Cell::Clean) || whole(cells, Cell::Dirty))
    }

    fn allocated(&mut self, result: Result<Block, OutOfFrames>, span: usize, frames: u64, domain: bool) {
        let Ok(block) = result else {
            assert!(!self.could_serve(span), "refused though a block is free");
            return;
        };
        assert_eq!(block.frames(), frames);
        assert_eq!(block.mfn().get() % span as u64, 0);
        let start = block.mfn().get();
        let was = if block.needs_scrub() { Cell::Dirty } else { Cell::Clean };
        for cell in self.cells_mut(start, frames) {
            assert_eq!(core::mem::replace(cell, Cell::Taken), was);
        }
        self.live.push((start, frames, domain));
    }

    fn free_live(&mut self, (start, frames, domain): Live) {
        if domain {
            // One frame is kept for a while by a reference of someone else.
            let kept = mfn(start + frames / 2);
            self.buddy.isolate(kept);
            assert_eq!(self.buddy.verify(), Ok(()));
            assert_eq!(self.table.try_get(kept, DomId::DOM0), Ok(()));
            let order = Order::covering(frames).unwrap();
            self.buddy.disown(mfn(start), order, DomId::DOM0).unwrap();
            assert_eq!(self.buddy.verify(), Ok(()));
            assert_eq!(self.table.put(kept), Ok(Put::Last));
            self.buddy.free(kept, Order::FRAME).unwrap();
        } else {
            self.buddy.free_exact(mfn(start), frames).unwrap();
        }
        self.cells_mut(start, frames).fill(Cell::Dirty);
    }

    /// A guess at a block: refused, or the right size of a live hypervisor's block.
    fn free_any(&mut self, frame: u64, order: Order) {
        if self.buddy.free(mfn(frame), order).is_err() {
            return;
        }
        let holds = |&(start, frames, domain): &Live| !domain && (start..start + frames).contains(&frame);
        let which = self.live.iter().position(holds).expect("freed what was not allocated");
        let (start, frames, _) = self.live.swap_remove(which);
        self.cells_mut(frame, order.frames()).fill(Cell::Dirty);
        let pieces =
            [(start, frame - start), (frame + order.frames(), start + frames - frame - order.frames())];
        self.live.extend(pieces.into_iter().filter(|&(_, frames)| frames != 0).map(|(s, f)| (s, f, false)));
    }

    fn scrub(&mut self, largest: Order) {
        let Some(block) = self.buddy.next_dirty(largest) else {
            assert!(!self.cells.contains(&Cell::Dirty));
            return;
        };
        let (start, frames) = (block.range().start() / PAGE_SIZE, block.range().len() / PAGE_SIZE);
        assert!(frames <= largest.frames());
        assert_eq!(self.buddy.verify(), Ok(()));
        self.buddy.scrubbed(block);
        for cell in self.cells_mut(start, frames) {
            assert_eq!(core::mem::replace(cell, Cell::Clean), Cell::Dirty);
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Alloc { order, domain } => {
                let order = Order::new(order).unwrap();
                let owner = if domain { D0 } else { HEAP };
                let result = self.buddy.alloc(order, Reach::Anywhere, owner);
                self.allocated(result, 1 << order.get(), order.frames(), domain);
            }
            Op::AllocExact { frames } => {
                let result = self.buddy.alloc_exact(frames, Reach::Below4Gib, HEAP);
                let span = usize::try_from(frames.next_power_of_two()).unwrap();
                self.allocated(result, span, frames, false);
            }
            Op::FreeLive { which } if !self.live.is_empty() => {
                let live = self.live.swap_remove(which % self.live.len());
                self.free_live(live);
            }
            Op::FreeLive { .. } => {}
            Op::FreeAny { frame, order } => self.free_any(frame, Order::new(order).unwrap()),
            Op::Scrub { largest } => self.scrub(Order::new(largest).unwrap()),
        }
    }

    fn check(&self) {
        assert_eq!(self.buddy.verify(), Ok(()));
        let number = |cell| self.cells.iter().filter(|&&c| c == cell).count() as u64;
        let expected = Counts {
            total: FRAMES - 3,
            clean: number(Cell::Clean),
            dirty: number(Cell::Dirty),
            scrubbing: 0,
        };
        assert_eq!(self.buddy.counts(), expected);
        for (index, &cell) in self.cells.iter().enumerate() {
            let known = match self.table.state(mfn(index as u64)) {
                FrameState::Reserved => Cell::Reserved,
                FrameState::Free => Cell::Clean,
                FrameState::Dirty => Cell::Dirty,
                FrameState::Hypervisor(_) | FrameState::Domain { references: 1, .. } => Cell::Taken,
                other => panic!("{other:?}"),
            };
            assert_eq!(known, cell, "frame {index}");
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0..8_u32, any::<bool>()).prop_map(|(order, domain)| Op::Alloc { order: order / 2, domain }),
        1 => (0..8_u32).prop_map(|order| Op::Alloc { order, domain: false }),
        1 => (1..70_u64).prop_map(|frames| Op::AllocExact { frames }),
        3 => any::<usize>().prop_map(|which| Op::FreeLive { which }),
        1 => (0..FRAMES + 4, 0..4_u32).prop_map(|(frame, order)| Op::FreeAny { frame, order }),
        2 => (0..6_u32).prop_map(|largest| Op::Scrub { largest }),
    ];
    prop::collection::vec(op, 1..if cfg!(miri) { 8 } else { 120 })
}

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 2 } else { 256 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_agrees_with_the_model(ops in ops()) {
        let records = records(usize::try_from(FRAMES).unwrap());
        let mut model = Model::new(&records);
        for op in &ops {
            model.apply(op);
            model.check();
        }
        // Drained and scrubbed, all of it is whole again.
        while let Some(live) = model.live.pop() {
            model.free_live(live);
        }
        scrub_all(&mut model.buddy);
        prop_assert_eq!(model.buddy.verify(), Ok(()));
        prop_assert_eq!(model.buddy.counts().clean, FRAMES - 3);
        let half = model.buddy.alloc(Order::new(5).unwrap(), Reach::Anywhere, HEAP);
        prop_assert!(half.is_ok());
    }

    #[test]
    fn any_word_decodes_to_what_it_encodes_from(raw in any::<u64>()) {
        let record = Record::decode(Word(raw));
        prop_assert_eq!(Record::decode(record.encode()), record);
    }
}

#[test]
fn reserved_is_what_no_block_reaches_into() {
    let records = records(64);
    let table = FrameTable::new(&records);
    let mut buddy = Buddy::new(table);
    buddy.add(frames(16, 32), Cleanliness::Clean).unwrap();
    for (start, end, reserved) in
        [(0, 16, true), (0, 17, false), (31, 40, false), (20, 21, false), (32, 64, true), (40, 1000, true)]
    {
        assert_eq!(table.is_reserved(frames(start, end)), reserved, "{start}..{end}");
    }
    assert!(table.is_reserved(frames(100, 200)));
    assert!(!table.is_reserved(PhysRange::new(32 * PAGE_SIZE - 1, 33 * PAGE_SIZE).unwrap()));
}

#[test]
fn claimed_frames_are_the_domains_with_one_reference_each() {
    let records = records(64);
    let table = FrameTable::new(&records);
    let mut buddy = Buddy::new(table);
    buddy.add(frames(32, 64), Cleanliness::Clean).unwrap();
    buddy.claim(frames(3, 20), DomId::DOM0).unwrap();
    let owned = FrameState::Domain { owner: DomId::DOM0, references: 1 };
    assert!((3..20).all(|frame| table.state(mfn(frame)) == owned));
    assert_eq!(table.state(mfn(2)), FrameState::Reserved);
    assert_eq!(buddy.counts().total, 32 + 17);
    assert_eq!(buddy.claim(frames(3, 4), DomId::DOM0), Err(AddError::AlreadyAdded));
    assert_eq!(buddy.claim(frames(32, 40), DomId::DOM0), Err(AddError::AlreadyAdded));
    assert_eq!(buddy.claim(frames(60, 70), DomId::DOM0), Err(AddError::OutsideTable));
    assert_eq!(buddy.verify(), Ok(()));
    assert_eq!(buddy.disown(mfn(9), Order::FRAME, DomId::DOM0), Ok(()));
    assert_eq!(buddy.counts().dirty, 1);
    assert_eq!(buddy.verify(), Ok(()));
}
