//! Front ends, good and bad, against the whole back end.

#![allow(clippy::cast_possible_truncation, reason = "a test's numbers are small")]

use alloc::vec;
use alloc::vec::Vec;

use futures_util::future::join;
use proptest::prelude::*;
use storage::{Failure, Properties, SECTOR};
use xen_abi::io::blkif::{BlkifOp, BlkifRequest, BlkifSringEntry};
use xen_backend::testing::{Page, play};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::testing::{DOMAIN, ModelDisk, Note, Style, World, number, segment};
use crate::{Counts, Options};

const OKAY: i16 = 0;
const ERROR: i16 = -1;
const NOT_SUPPORTED: i16 = -2;

fn world() -> World {
    World::new(ModelDisk::new(1000), Options::default())
}

/// A front end's life, with the device's beside it; nothing may be left of either.
fn run(world: &World, front: impl Future<Output = ()>) {
    play(join(world.device.run(), async {
        front.await;
        world.device.close().await;
    }));
    world.is_clean();
}

/// BLK-01
#[test]
fn what_is_written_is_read_in_all_layouts() {
    for style in Style::all() {
        let world = world();
        run(&world, async {
            let mut guest = world.connect(style).await;
            let (one, one_ref) = guest.page(true);
            let (two, two_ref) = guest.page(true);
            one.fill(0xaa);
            two.fill(0xbb);
            // Three sectors of the one, five of the other.
            let segments = [segment(one_ref, 5, 7), segment(two_ref, 1, 5)];
            for round in 0..100_u64 {
                let first = round * 8;
                assert_eq!(guest.ask(BlkifOp::Write, first, &segments).await, OKAY);
                assert_eq!(world.disk.cached(first, 3), [0xaa; 3 * SECTOR]);
                assert_eq!(world.disk.cached(first + 3, 5), [0xbb; 5 * SECTOR]);
            }
            assert_eq!(world.disk.cached(800, 1), [number(800); SECTOR]);
            assert_eq!(guest.ask(BlkifOp::Read, 799, &[segment(one_ref, 1, 2)]).await, OKAY);
            let bytes = one.bytes();
            assert_eq!(bytes[..SECTOR], [0xaa; SECTOR], "before what was asked for");
            assert_eq!(bytes[SECTOR..2 * SECTOR], [0xbb; SECTOR]);
            assert_eq!(bytes[2 * SECTOR..3 * SECTOR], [number(800); SECTOR]);
            assert_eq!(bytes[3 * SECTOR..], [0xaa; 5 * SECTOR], "behind it");
            world.leave().await;
        });
        assert_eq!(world.disk.medium(0, 3), [0xaa; 3 * SECTOR], "closing flushes");
    }
}

#[test]
fn indirect_requests_have_many_segments() {
    for style in Style::all() {
        let world = world();
        run(&world, async {
            let mut guest = world.connect(style).await;
            let pages: Vec<_> = (0..64).map(|_| guest.page(true)).collect();
            for (byte, (page, _)) in (1..).zip(&pages) {
                page.fill(byte);
            }
            let segments: Vec<_> = pages.iter().map(|(_, reference)| segment(*reference, 0, 7)).collect();
            guest.put_indirect(1, BlkifOp::Write, 100, &segments);
            guest.kick();
            let response = guest.response().await;
            assert_eq!((response.operation, response.status), (BlkifOp::Write.get(), OKAY));
            for (place, byte) in (0..64).zip(1..) {
                assert_eq!(world.disk.cached(100 + place * 8, 8), [byte; 8 * SECTOR]);
            }
            guest.put_indirect(2, BlkifOp::Read, 99, &segments[..20]);
            guest.kick();
            let response = guest.response().await;
            assert_eq!((response.operation, response.status), (BlkifOp::Read.get(), OKAY));
            assert_eq!(pages[0].0.bytes()[..SECTOR], [number(99); SECTOR]);
            assert_eq!(pages[19].0.bytes()[..SECTOR], [19; SECTOR]);
        });
    }
}

#[test]
fn front_ends_are_told_what_there_is() {
    let properties = Properties { sectors: 1000, block_bytes: 4096, read_only: false, discard: Some(64) };
    let world = World::new(ModelDisk::with(properties), Options::default());
    run(&world, async {
        let _guest = world.connect(Style::PLAIN).await;
        let expected = [
            ("mode", "w"),
            ("sectors", "1000"),
            ("sector-size", "512"),
            ("physical-sector-size", "4096"),
            ("info", "0"),
            ("feature-flush-cache", "1"),
            ("feature-barrier", "1"),
            ("feature-persistent", "1"),
            ("feature-max-indirect-segments", "64"),
            ("feature-discard", "1"),
            ("discard-granularity", "4096"),
            ("discard-alignment", "0"),
            ("discard-secure", "0"),
            ("max-ring-page-order", "4"),
            ("multi-queue-max-queues", "1"),
        ];
        for (name, value) in expected {
            assert_eq!(world.back(name).as_deref(), Some(value), "{name}");
        }
    });
}

#[test]
fn what_a_disk_cannot_do_is_not_offered() {
    let properties = Properties { sectors: 1001, block_bytes: 4096, read_only: true, discard: Some(64) };
    let options = Options { cdrom: true, indirect_segments: 0, persistent_pages: 0, ..Options::default() };
    let world = World::new(ModelDisk::with(properties), options);
    run(&world, async {
        let _guest = world.connect(Style::PLAIN).await;
        let expected = [
            ("mode", Some("r")),
            ("physical-sector-size", Some("512")),
            ("info", Some("5")),
            ("feature-persistent", Some("0")),
            ("feature-max-indirect-segments", None),
            ("feature-discard", Some("0")),
            ("discard-granularity", None),
        ];
        for (name, value) in expected {
            assert_eq!(world.back(name).as_deref(), value, "{name}");
        }
    });
}

#[test]
fn the_toolstack_can_refuse_discards() {
    let world = world();
    world.write_back("discard-enable", "0");
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        assert_eq!(world.back("feature-discard").as_deref(), Some("0"));
        guest.put_discard(1, 0, 1, 0);
        guest.kick();
        assert_eq!(guest.statuses(1).await, [(1, NOT_SUPPORTED)]);
    });
}

/// BLK-11
#[test]
fn nothing_is_written_to_a_disk_that_can_only_be_read() {
    let world = World::new(ModelDisk::new(100), Options { read_only: true, ..Options::default() });
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        let (page, reference) = guest.page(true);
        let whole = [segment(reference, 0, 7)];
        assert_eq!(guest.ask(BlkifOp::Write, 0, &whole).await, ERROR);
        assert_eq!(guest.ask(BlkifOp::WriteBarrier, 0, &whole).await, ERROR);
        assert_eq!(guest.ask(BlkifOp::FlushDiskcache, 0, &whole).await, ERROR);
        guest.put_discard(1, 0, 1, 0);
        guest.put_indirect(2, BlkifOp::Write, 0, &whole);
        guest.kick();
        assert_eq!(guest.statuses(2).await, [(1, NOT_SUPPORTED), (2, ERROR)]);
        assert_eq!(guest.ask(BlkifOp::FlushDiskcache, 0, &[]).await, OKAY);
        assert_eq!(guest.ask(BlkifOp::Read, 0, &whole).await, OKAY);
        assert_eq!(page.bytes()[..SECTOR], [number(0); SECTOR]);
    });
    assert_eq!(world.disk.cached(0, 8)[..SECTOR], [number(0); SECTOR]);
}

#[test]
fn a_flush_is_answered_when_what_was_answered_is_on_the_medium() {
    let world = world();
    world.disk.delay.set(3);
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        let (page, reference) = guest.page(true);
        for round in 0..20_u8 {
            page.fill(round + 100);
            assert_eq!(guest.ask(BlkifOp::Write, 40, &[segment(reference, 0, 0)]).await, OKAY);
            // More writes under way make no difference.
            guest.put(1, BlkifOp::Write, 50, &[segment(reference, 0, 7)]);
            guest.put(2, BlkifOp::FlushDiskcache, 0, &[]);
            guest.put(3, BlkifOp::Write, 60, &[segment(reference, 0, 7)]);
            guest.kick();
            while guest.response().await.id != 2 {}
            assert_eq!(world.disk.medium(40, 1), [round + 100; SECTOR]);
            while guest.ring.room() < guest.ring.entries() {
                guest.response().await;
            }
        }
    });
}

#[test]
fn a_flush_with_data_puts_the_data_on_the_medium() {
    let world = world();
    world.disk.delay.set(1);
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        let (page, reference) = guest.page(true);
        page.fill(0xee);
        for operation in [BlkifOp::FlushDiskcache, BlkifOp::WriteBarrier] {
            let first = u64::from(operation.get()) * 10;
            assert_eq!(guest.ask(operation, first, &[segment(reference, 0, 0)]).await, OKAY);
            assert_eq!(world.disk.medium(first, 1), [0xee; SECTOR]);
        }
    });
    let counts = world.device.counts();
    assert_eq!((counts.writes, counts.flushes, counts.sectors_written), (2, 0, 2));
}

#[test]
fn a_barrier_parts_what_comes_before_from_what_comes_after() {
    let world = world();
    world.disk.delay.set(2);
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        let (_page, reference) = guest.page(true);
        let sector = [segment(reference, 0, 0)];
        for id in 0..5 {
            guest.put(id, BlkifOp::Write, id, &sector);
        }
        guest.put(5, BlkifOp::WriteBarrier, 5, &sector);
        guest.put(6, BlkifOp::WriteBarrier, 0, &[]);
        for id in 7..10 {
            guest.put(id, BlkifOp::Write, id, &sector);
        }
        guest.kick();
        assert_eq!(guest.statuses(10).await.len(), 10);
    });
    let notes = world.disk.notes.borrow();
    let at = |note| notes.iter().position(|&other| other == note).expect("it was done");
    for before in 0..5 {
        assert!(at(Note::Written(before)) < at(Note::Flushed));
    }
    assert!(at(Note::Flushed) < at(Note::Begins(5)));
    for after in 7..10 {
        assert!(at(Note::Written(5)) < at(Note::Begins(after)));
    }
    // Before and behind the barrier's data, and for the empty one, before the others begin.
    let flushes = notes[..at(Note::Begins(7))].iter().filter(|&&note| note == Note::Flushed);
    assert_eq!(flushes.count(), 3);
}

#[test]
fn discards_are_cut_as_the_disk_needs_it() {
    let world = world();
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        guest.put_discard(1, 10, 7, 0);
        guest.put_discard(2, 10, 7, 1);
        guest.put_discard(3, 994, 7, 0);
        guest.put_discard(4, u64::MAX, 2, 0);
        guest.put_discard(5, 0, 0, 0);
        guest.put_discard(6, 0, u64::MAX, 0);
        guest.kick();
        let bad = (3..=6).map(|id| (id, ERROR));
        let expected: Vec<_> = [(1, OKAY), (2, NOT_SUPPORTED)].into_iter().chain(bad).collect();
        assert_eq!(guest.statuses(6).await, expected);
    });
    let expected = [Note::Discarded(10, 3), Note::Discarded(13, 3), Note::Discarded(16, 1)];
    assert_eq!(world.disk.notes.borrow()[..3], expected);
    assert_eq!(world.device.counts().discards, 1);
}

#[test]
fn bad_requests_are_answered_and_do_nothing() {
    let world = world();
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        let (page, good) = guest.page(true);
        let (_, read_only) = guest.page(false);
        page.fill(0x11);
        let bad: &[(BlkifOp, u64, &[_])] = &[
            (BlkifOp::Read, 0, &[]),
            (BlkifOp::Write, 0, &[]),
            (BlkifOp::Read, 0, &[segment(good, 3, 2)]),
            (BlkifOp::Read, 0, &[segment(good, 0, 8)]),
            (BlkifOp::Read, 0, &[segment(good, 255, 255)]),
            (BlkifOp::Write, 0, &[segment(good, 0, 7), segment(good, 0, 200)]),
            (BlkifOp::Read, 1000, &[segment(good, 0, 0)]),
            (BlkifOp::Read, 993, &[segment(good, 0, 7)]),
            (BlkifOp::Write, u64::MAX, &[segment(good, 0, 0)]),
            (BlkifOp::Write, u64::MAX - 7, &[segment(good, 0, 7)]),
            (BlkifOp::Write, 0, &[segment(4711, 0, 0)]),
            (BlkifOp::Write, 0, &[segment(good, 0, 0), segment(u32::MAX, 0, 0)]),
            (BlkifOp::Read, 0, &[segment(read_only, 0, 0)]),
            (BlkifOp::Read, 0, &[segment(4711, 0, 0)]),
            (BlkifOp::WriteBarrier, 0, &[segment(4711, 0, 0)]),
        ];
        for (operation, first, segments) in bad {
            assert_eq!(guest.ask(*operation, *first, segments).await, ERROR, "{operation:?} {segments:?}");
        }
        assert_eq!(guest.ask(BlkifOp::Reserved1, 0, &[]).await, NOT_SUPPORTED);
        assert_eq!(page.bytes(), [0x11; 4096]);
        // The others are not touched by it.
        assert_eq!(guest.ask(BlkifOp::Read, 992, &[segment(good, 0, 7)]).await, OKAY);
        assert_eq!(guest.ask(BlkifOp::Write, 0, &[segment(read_only, 0, 7)]).await, OKAY);
    });
    let written = world.disk.notes.borrow().iter().filter(|note| matches!(note, Note::Written(_))).count();
    assert_eq!((written, world.device.counts().failed), (1, 16));
}

#[test]
fn bad_numbers_in_requests_are_answered() {
    let world = world();
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        let (_, good) = guest.page(true);
        let mut request = BlkifRequest::new_zeroed();
        (request.id, request.operation, request.nr_segments) = (1, BlkifOp::Read.get(), 12);
        guest.put_entry(&BlkifSringEntry::of(&request));
        (request.id, request.operation) = (2, 200);
        guest.put_entry(&BlkifSringEntry::of(&request));
        guest.put_indirect(3, BlkifOp::FlushDiskcache, 0, &[segment(good, 0, 0)]);
        guest.put_indirect(4, BlkifOp::Read, 0, &[segment(good, 0, 0); 65]);
        guest.put_indirect(5, BlkifOp::Read, 0, &[]);
        guest.put_indirect(6, BlkifOp::Read, 999, &[segment(good, 0, 0); 2]);
        guest.put_indirect(7, BlkifOp::Read, 0, &[segment(good, 1, 0)]);
        // All with one identifier.
        for _ in 0..3 {
            guest.put(8, BlkifOp::Read, 0, &[segment(good, 0, 0)]);
        }
        guest.kick();
        let statuses = guest.statuses(10).await;
        let expected = [(1, ERROR), (2, NOT_SUPPORTED), (3, ERROR), (4, ERROR), (5, ERROR), (6, ERROR)];
        assert_eq!(statuses[..6], expected);
        assert_eq!(statuses[6..], [(7, ERROR), (8, OKAY), (8, OKAY), (8, OKAY)]);
    });
}

#[test]
fn a_read_that_fails_leaves_the_page_as_it_is() {
    for persistent in [false, true] {
        let world = world();
        run(&world, async {
            let mut guest = world.connect(Style { persistent, ..Style::PLAIN }).await;
            let (page, reference) = guest.page(true);
            let whole = [segment(reference, 0, 7)];
            assert_eq!(guest.ask(BlkifOp::Write, 8, &whole).await, OKAY);
            page.fill(0x77);
            for failure in [Failure::Medium("a scratch".into()), Failure::Unsupported, Failure::Full] {
                let expected = if failure == Failure::Unsupported { NOT_SUPPORTED } else { ERROR };
                *world.disk.failure.borrow_mut() = Some(failure);
                assert_eq!(guest.ask(BlkifOp::Read, 8, &whole).await, expected);
                assert_eq!(guest.ask(BlkifOp::FlushDiskcache, 8, &[]).await, expected);
                assert_eq!(page.bytes(), [0x77; 4096]);
            }
            *world.disk.failure.borrow_mut() = None;
            assert_eq!(guest.ask(BlkifOp::Read, 8, &whole).await, OKAY);
            assert_eq!(page.bytes(), [0; 4096]);
        });
    }
}

#[test]
fn many_requests_cost_one_copy_and_one_event() {
    let world = world();
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        let (_page, reference) = guest.page(true);
        for operation in [BlkifOp::Write, BlkifOp::Read] {
            let (copies, events) = (world.host.copies(), guest.port.events());
            for id in 0..16 {
                guest.put(id, operation, id, &[segment(reference, 0, 0), segment(reference, 1, 1)]);
            }
            guest.kick();
            assert_eq!(guest.statuses(16).await.len(), 16);
            assert_eq!((world.host.copies() - copies, guest.port.events() - events), (1, 1));
        }
        assert_eq!((world.host.maps(), world.host.mapped()), (1, 1), "only the ring");
    });
}

#[test]
fn persistent_pages_cost_no_copies() {
    let world = World::new(ModelDisk::new(1000), Options { persistent_pages: 4, ..Options::default() });
    run(&world, async {
        let mut guest = world.connect(Style { persistent: true, ..Style::PLAIN }).await;
        let pages: Vec<_> = (0..6).map(|_| guest.page(true)).collect();
        for (round, (page, reference)) in (0..).zip(pages.iter().take(4)).cycle().take(40) {
            assert_eq!(guest.ask(BlkifOp::Read, round, &[segment(*reference, 0, 0)]).await, OKAY);
            assert_eq!(page.bytes()[..SECTOR], [number(round); SECTOR]);
        }
        assert_eq!((world.host.copies(), world.host.maps(), world.host.mapped()), (0, 5, 5));
        for (page, reference) in &pages {
            assert_eq!(guest.ask(BlkifOp::Read, 77, &[segment(*reference, 0, 0)]).await, OKAY);
            assert_eq!(page.bytes()[..SECTOR], [number(77); SECTOR]);
        }
        assert_eq!((world.host.copies(), world.host.mapped()), (2, 5), "no more than are allowed");
    });
}

/// BLK-24: what waited is counted.
#[test]
fn requests_are_under_way_together_and_no_more_than_allowed() {
    let options = Options { requests: 5, ..Options::default() };
    let world = World::new(ModelDisk::new(1000), options);
    world.disk.delay.set(4);
    run(&world, async {
        let mut guest = world.connect(Style { order: Some(2), ..Style::PLAIN }).await;
        let (_page, reference) = guest.page(true);
        for id in 0..100 {
            guest.put(id, BlkifOp::Read, id, &[segment(reference, 0, 0)]);
        }
        guest.kick();
        assert_eq!(guest.statuses(100).await.len(), 100);
    });
    assert_eq!(world.disk.most.get(), 5);
    let Counts { delayed, reads, sectors_read, .. } = world.device.counts();
    assert!(delayed > 0);
    assert_eq!((reads, sectors_read), (100, 100));
}

#[test]
fn requests_wait_for_buffers() {
    let options = Options { buffer_bytes: 10_000, ..Options::default() };
    let world = World::new(ModelDisk::new(1000), options);
    world.disk.delay.set(2);
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        let (_page, reference) = guest.page(true);
        for id in 0..20 {
            guest.put(id, BlkifOp::Write, 0, &[segment(reference, 0, 7)]);
        }
        guest.put(20, BlkifOp::Read, 0, &[segment(reference, 0, 7); 11]);
        guest.put(21, BlkifOp::FlushDiskcache, 0, &[]);
        guest.kick();
        assert_eq!(guest.statuses(22).await, (0..22).map(|id| (id, OKAY)).collect::<Vec<_>>());
    });
    assert!(world.disk.most.get() <= 2);
    assert!(world.device.counts().delayed > 0);
}

#[test]
fn a_broken_ring_closes_the_device_and_nothing_is_left() {
    let world = world();
    world.disk.delay.set(3);
    run(&world, async {
        let mut guest = world.connect(Style { persistent: true, ..Style::PLAIN }).await;
        let (page, reference) = guest.page(true);
        page.fill(0x99);
        guest.put(1, BlkifOp::Write, 0, &[segment(reference, 0, 7)]);
        guest.kick();
        guest.ring.set_request_producer(1000);
        guest.port.notify();
        world.back_is("6").await;
        assert_eq!(world.error().as_deref(), Some("5 broken ring: 1000 requests in a ring of 32"));
        assert_eq!((world.host.mapped(), world.host.bound()), (0, 0));
        // It may start anew.
        world.write_front("state", "6");
        world.write_front("state", "1");
        let mut guest = world.connect(Style::PLAIN).await;
        let (_page, reference) = guest.page(true);
        assert_eq!(guest.ask(BlkifOp::Read, 0, &[segment(reference, 0, 7)]).await, OKAY);
    });
}

#[test]
fn front_ends_that_say_nonsense_are_refused() {
    let cases: &[(&str, &str, &str)] = &[
        ("ring-ref", "x", "22 ring-ref is not a number in range"),
        ("ring-ref", "4711", "22 mapping the ring: BadGntref"),
        ("event-channel", "4711", "22 binding event channel 4711: EINVAL"),
        ("event-channel", "-1", "22 event-channel is not a number in range"),
        ("ring-page-order", "5", "22 ring-page-order is larger than max-ring-page-order"),
        ("ring-page-order", "4294967296", "22 ring-page-order is not a number in range"),
        ("ring-page-order", "1", "2 ring-ref0 is missing"),
        ("multi-queue-num-queues", "2", "22 multi-queue-num-queues is not 1"),
        ("protocol", "arm-abi", "22 protocol is not known: x86_64-abi or x86_32-abi"),
    ];
    for (name, value, error) in cases {
        let world = world();
        run(&world, async {
            let _guest = world.introduce(Style::PLAIN).await;
            world.write_front(name, value);
            world.write_front("state", "3");
            world.back_is("6").await;
            assert_eq!(world.error().as_deref(), Some(*error));
            assert_eq!((world.host.mapped(), world.host.bound()), (0, 0));
        });
    }
}

/// BLK-14: a device can be taken away at any time, and leaves nothing behind.
#[test]
fn closing_under_load_ends_what_is_under_way() {
    for persistent in [false, true] {
        let world = world();
        world.disk.stuck.set(true);
        run(&world, async {
            let mut guest = world.connect(Style { persistent, ..Style::PLAIN }).await;
            let (page, reference) = guest.page(true);
            page.fill(0x55);
            for id in 0..20 {
                guest.put(id, BlkifOp::Write, id, &[segment(reference, 0, 0)]);
            }
            guest.kick();
            while world.disk.most.get() < 20 {
                xen_backend::testing::yield_now().await;
            }
            join(world.device.close(), async {
                xen_backend::testing::yield_now().await;
                assert!(world.host.mapped() > 0, "not before they have ended");
                world.disk.stuck.set(false);
            })
            .await;
            assert_eq!(guest.statuses(20).await.len(), 20);
        });
        assert_eq!(world.disk.medium(0, 20), [0x55; 20 * SECTOR]);
    }
}

#[test]
fn a_domain_that_takes_its_pages_back_hurts_itself() {
    let world = world();
    world.disk.stuck.set(true);
    run(&world, async {
        let mut guest = world.connect(Style::PLAIN).await;
        let (_page, reference) = guest.page(true);
        guest.put(1, BlkifOp::Read, 0, &[segment(reference, 0, 0)]);
        guest.put(2, BlkifOp::Write, 0, &[segment(reference, 0, 0)]);
        guest.kick();
        while world.disk.most.get() < 2 {
            xen_backend::testing::yield_now().await;
        }
        assert!(world.host.revoke(DOMAIN, reference), "it is not mapped");
        world.disk.stuck.set(false);
        assert_eq!(guest.statuses(2).await, [(1, ERROR), (2, OKAY)]);
    });
}

/// One request of a model's.
#[derive(Clone, Debug)]
enum Step {
    Write { first: u64, page: usize, from: u8, to: u8, byte: u8 },
    Read { first: u64, page: usize, from: u8, to: u8 },
    Flush,
    Barrier { first: u64, byte: u8 },
    Discard { first: u64, count: u64 },
    Indirect { first: u64, byte: u8, segments: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let sectors = (0_u8..8, 0_u8..8).prop_map(|(one, two)| (one.min(two), one.max(two)));
    let place = (0_u64..400, 0_usize..6, sectors);
    prop_oneof![
        (place.clone(), any::<u8>()).prop_map(|((first, page, (from, to)), byte)| Step::Write {
            first,
            page,
            from,
            to,
            byte
        }),
        place.prop_map(|(first, page, (from, to))| Step::Read { first, page, from, to }),
        Just(Step::Flush),
        (0_u64..400, any::<u8>()).prop_map(|(first, byte)| Step::Barrier { first, byte }),
        (0_u64..400, 1_u64..20).prop_map(|(first, count)| Step::Discard { first, count }),
        (0_u64..400, any::<u8>(), 1_usize..20).prop_map(|(first, byte, segments)| Step::Indirect {
            first,
            byte,
            segments
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Valid requests one after another do to the disk what they do to a list of bytes.
    #[test]
    fn the_disk_is_as_the_model(
        steps in proptest::collection::vec(step(), 1..60),
        style in proptest::sample::select(Style::all().collect::<Vec<_>>()),
        delay in 0_u32..3,
        pages in 0_usize..5,
    ) {
        let options = Options { persistent_pages: pages, ..Options::default() };
        let world = World::new(ModelDisk::new(600), options);
        world.disk.delay.set(delay);
        run(&world, async {
            let mut guest = world.connect(style).await;
            let pages: Vec<_> = (0..6).map(|_| guest.page(true)).collect();
            let mut model = world.disk.cached(0, 600);
            let range = |first: u64, count: u64| {
                first as usize * SECTOR..(first + count) as usize * SECTOR
            };
            for step in steps {
                match step {
                    Step::Write { first, page, from, to, byte } => {
                        pages[page].0.fill(byte);
                        let segment = segment(pages[page].1, from, to);
                        assert_eq!(guest.ask(BlkifOp::Write, first, &[segment]).await, OKAY);
                        model[range(first, u64::from(to - from) + 1)].fill(byte);
                    }
                    Step::Read { first, page, from, to } => {
                        pages[page].0.fill(0xcc);
                        let segment = segment(pages[page].1, from, to);
                        assert_eq!(guest.ask(BlkifOp::Read, first, &[segment]).await, OKAY);
                        let mut expected = [0xcc; 4096];
                        expected[range(from.into(), u64::from(to - from) + 1)]
                            .copy_from_slice(&model[range(first, u64::from(to - from) + 1)]);
                        assert_eq!(pages[page].0.bytes(), expected);
                    }
                    Step::Flush => {
                        assert_eq!(guest.ask(BlkifOp::FlushDiskcache, 0, &[]).await, OKAY);
                        assert_eq!(world.disk.medium(0, 600), model);
                    }
                    Step::Barrier { first, byte } => {
                        pages[0].0.fill(byte);
                        let segment = segment(pages[0].1, 0, 7);
                        assert_eq!(guest.ask(BlkifOp::WriteBarrier, first, &[segment]).await, OKAY);
                        model[range(first, 8)].fill(byte);
                        assert_eq!(world.disk.medium(0, 600), model);
                    }
                    Step::Discard { first, count } => {
                        guest.put_discard(1, first, count, 0);
                        guest.kick();
                        assert_eq!(guest.statuses(1).await, [(1, OKAY)]);
                        model[range(first, count)].fill(0);
                    }
                    Step::Indirect { first, byte, segments } => {
                        pages[1].0.fill(byte);
                        let list = vec![segment(pages[1].1, 0, 7); segments];
                        guest.put_indirect(1, BlkifOp::Write, first, &list);
                        guest.kick();
                        assert_eq!(guest.statuses(1).await, [(1, OKAY)]);
                        model[range(first, segments as u64 * 8)].fill(byte);
                    }
                }
                assert_eq!(world.disk.cached(0, 600), model);
            }
            world.leave().await;
        });
    }

    /// Reads and writes in flight together: each page gets its own sectors.
    #[test]
    fn requests_in_flight_do_not_mix(
        firsts in proptest::collection::vec(0_u64..90, 1..60),
        delay in 0_u32..4,
        persistent in any::<bool>(),
        requests in 1_usize..40,
    ) {
        let options = Options { requests, buffer_bytes: 1 << 16, ..Options::default() };
        let world = World::new(ModelDisk::new(1000), options);
        world.disk.delay.set(delay);
        run(&world, async {
            let mut guest = world.connect(Style { persistent, order: Some(2), ..Style::PLAIN }).await;
            let pages: Vec<(Page, u32)> = firsts.iter().map(|_| guest.page(true)).collect();
            for (id, (first, (_, reference))) in (0..).zip(firsts.iter().zip(&pages)) {
                guest.put(id, BlkifOp::Read, first * 11, &[segment(*reference, 0, 3)]);
            }
            guest.kick();
            let expected: Vec<_> = (0..firsts.len() as u64).map(|id| (id, OKAY)).collect();
            assert_eq!(guest.statuses(firsts.len()).await, expected);
            for (first, (page, _)) in firsts.iter().zip(&pages) {
                for sector in 0..4 {
                    let bytes = page.bytes();
                    let bytes = &bytes[sector * SECTOR..(sector + 1) * SECTOR];
                    assert_eq!(bytes, [number(first * 11 + sector as u64); SECTOR]);
                }
            }
        });
    }

    /// Whatever is in the ring: nothing panics, every request is answered once, and in the
    /// end nothing is held. The disk itself checks that it is not asked for what it has not.
    #[test]
    fn random_requests_are_survived(
        entries in proptest::collection::vec(
            (
                proptest::collection::vec(any::<u8>(), 112),
                prop_oneof![0_u8..8, any::<u8>()],
                prop_oneof![0_u8..13, any::<u8>()],
                prop_oneof![0_u64..1100, any::<u64>()],
                proptest::collection::vec((8_u32..50, 0_u8..10, 0_u8..10), 11),
                any::<u8>(),
            ),
            1..80,
        ),
        style in proptest::sample::select(Style::all().collect::<Vec<_>>()),
        delay in 0_u32..3,
        lie in proptest::option::of(any::<u32>()),
        limit in 0_usize..40,
    ) {
        let world = world();
        world.disk.delay.set(delay);
        run(&world, async {
            let mut guest = world.connect(style).await;
            let pages: Vec<_> = (0..20).map(|number| guest.page(number % 5 != 0)).collect();
            world.host.limit_maps(limit);
            let mut answered = 0;
            for (count, (bytes, operation, number, first, segments, chosen)) in entries.iter().enumerate() {
                let mut entry = BlkifSringEntry::read_from_bytes(bytes).expect("it has its size");
                let bytes = entry.as_mut_bytes();
                // Some fields near to what is good, and all of them bad at times.
                if chosen & 1 == 0 { bytes[0] = *operation; }
                if chosen & 2 == 0 { bytes[1] = *number; }
                if chosen & 4 == 0 { bytes[16..24].copy_from_slice(&first.to_le_bytes()); }
                if chosen & 8 == 0 {
                    for (at, (reference, one, two)) in segments.iter().enumerate() {
                        let at = 24 + at * 8;
                        bytes[at..at + 4].copy_from_slice(&reference.to_le_bytes());
                        (bytes[at + 4], bytes[at + 5]) = (*one, *two);
                    }
                }
                // What an indirect request finds.
                for (page, _) in &pages {
                    page.set(0, bytes);
                }
                guest.put_entry(&entry);
                if count % 7 == 6 || guest.ring.room() == 0 {
                    guest.kick();
                    while answered <= count {
                        guest.response().await;
                        answered += 1;
                    }
                }
            }
            guest.kick();
            while answered < entries.len() {
                guest.response().await;
                answered += 1;
            }
            if let Some(lie) = lie {
                guest.ring.set_request_producer(lie);
                guest.port.notify();
                xen_backend::testing::yield_now().await;
            }
        });
    }
}
