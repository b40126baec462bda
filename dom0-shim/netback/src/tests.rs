//! Front ends, good and bad, against the whole back end.

#![allow(clippy::cast_possible_truncation, reason = "a test's numbers are small")]

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use futures_util::future::join;
use network::{Abilities, Checksum, Packet, Segments};
use proptest::prelude::*;
use xen_abi::io::netif::{NetifExtraType, NetifTxFlags};
use xen_backend::testing::{Page, play, yield_now};

use crate::groups::MOST_GROUPS;
use crate::receive::{LOOK_AGAIN, PATIENCE};
use crate::testing::{Guest, World, frame, group, gso, slot_of};
use crate::transmit::{MOST_PARTS, TOO_MANY_PARTS};
use crate::{Counts, PAGE};

const OKAY: i16 = 0;
const NULL: i16 = 1;
const ERROR: i16 = -1;

/// A front end's life, with the device's beside it; nothing may be left of either.
fn run(world: &World, front: impl Future<Output = ()>) {
    play(join(world.device.run(), async {
        front.await;
        world.device.close().await;
    }));
    world.is_clean();
}

/// Lets the back end do what it can.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

fn long(bytes: usize, v6: bool) -> Packet {
    Packet { checksum: Checksum::Blank, segments: Some(Segments { size: 1448, v6 }), ..frame(bytes, 9) }
}

#[test]
fn what_is_offered_stands_in_the_nodes() {
    let world = World::new();
    run(&world, async {
        let _guest = world.connect(false, &[]).await;
        let expected = [
            ("feature-sg", Some("1")),
            ("feature-gso-tcpv4", Some("1")),
            ("feature-gso-tcpv6", Some("1")),
            ("feature-ipv6-csum-offload", Some("1")),
            ("feature-rx-copy", Some("1")),
            ("feature-rx-flip", Some("0")),
            ("feature-multicast-control", Some("1")),
            ("feature-split-event-channels", Some("1")),
            ("feature-ctrl-ring", None),
            ("multi-queue-max-queues", Some("1")),
            ("hotplug-status", Some("connected")),
            ("carrier", Some("1")),
        ];
        for (name, value) in expected {
            assert_eq!(world.back(name).as_deref(), value, "{name}");
        }
        let abilities = Abilities { blank_v4: true, blank_v6: true, long_v4: true, long_v6: true };
        assert_eq!(world.link.abilities.get(), abilities);
    });
}

#[test]
fn packets_go_both_ways_with_one_port_or_two() {
    for split in [false, true] {
        let world = World::new();
        run(&world, async {
            let mut guest = world.connect(split, &[]).await;
            guest.post(64);
            for round in 0..300_usize {
                let there = frame(14 + round * 13, round as u8);
                let ids = guest.put_packet(&there, PAGE, 0);
                guest.kick();
                assert_eq!(guest.statuses(ids.len()).await, [(ids[0], OKAY)]);
                assert_eq!(world.link.sent.borrow_mut().pop(), Some(there));
                let here = frame(60 + round * 7, !(round as u8));
                world.link.queue.borrow_mut().push_back(here.clone());
                assert_eq!(guest.packet().await, (Ok(here), 1));
                guest.post(1);
            }
        });
        let counts = world.device.counts();
        assert_eq!((counts.sent_packets, counts.received_packets), (300, 300));
        assert_eq!((counts.sent_errors, counts.received_drops), (0, 0));
        assert_eq!(counts.sent_bytes, (0..300).map(|round| 14 + round * 13).sum::<u64>());
        assert_eq!(counts.received_bytes, (0..300).map(|round| 60 + round * 7).sum::<u64>());
    }
}

#[test]
fn long_packets_keep_what_is_left_to_do() {
    let world = World::new();
    run(&world, async {
        let mut guest = world.connect(true, &[]).await;
        for v6 in [false, true] {
            let packet = long(65535, v6);
            let ids = guest.put_packet(&packet, PAGE, 0);
            guest.kick();
            let mut expected: Vec<_> = ids.iter().map(|&id| (id, OKAY)).collect();
            expected.insert(1, (0, NULL));
            assert_eq!(guest.statuses(17).await, expected);
            assert_eq!(world.link.sent.borrow_mut().pop().as_ref(), Some(&packet));
            guest.post(17);
            world.link.queue.borrow_mut().push_back(packet.clone());
            assert_eq!(guest.packet().await, (Ok(packet), 17));
        }
    });
}

#[test]
fn many_packets_take_one_copy() {
    let world = World::new();
    run(&world, async {
        let mut guest = world.connect(false, &[]).await;
        guest.post(40);
        settle().await;
        let before = world.host.copies();
        let packets: Vec<_> = (0..40).map(|seed| frame(100, seed)).collect();
        packets.iter().for_each(|packet| {
            guest.put_packet(packet, PAGE, 0);
        });
        let events = guest.port.events();
        guest.kick();
        guest.statuses(40).await;
        assert_eq!(*world.link.sent.borrow(), packets);
        assert_eq!((world.host.copies() - before, guest.port.events() - events), (1, 1));
        world.link.queue.borrow_mut().extend(packets.iter().cloned());
        for packet in packets {
            assert_eq!(guest.packet().await, (Ok(packet), 1));
        }
        // The first one may go ahead of the others.
        assert!(world.host.copies() - before <= 3);
    });
}

#[test]
fn a_grant_that_is_none_costs_its_packet_alone() {
    let world = World::new();
    run(&world, async {
        let mut guest = world.connect(false, &[]).await;
        guest.put_packet(&frame(100, 1), PAGE, 0);
        guest.put_slot(777, 0, NetifTxFlags::MORE_DATA, 200);
        let (_page, reference) = guest.page(false);
        guest.put_slot(reference, 0, NetifTxFlags::empty(), 100);
        guest.put_packet(&frame(100, 2), PAGE, 0);
        guest.kick();
        assert_eq!(guest.statuses(4).await, [(1, OKAY), (2, ERROR), (3, ERROR), (4, OKAY)]);
        assert_eq!(*world.link.sent.borrow(), [frame(100, 1), frame(100, 2)]);

        // A page that cannot be written, and one that can.
        let (page, reference) = guest.page(false);
        page.fill(0xee);
        guest.post_page(page, reference);
        guest.post(2);
        world.link.queue.borrow_mut().extend([frame(5000, 3), frame(100, 4)]);
        assert_eq!(guest.packet().await, (Err(()), 2));
        assert_eq!(guest.packet().await, (Ok(frame(100, 4)), 1));
    });
    let counts = world.device.counts();
    let expected = Counts {
        sent_packets: 2,
        sent_bytes: 200,
        sent_errors: 1,
        received_packets: 1,
        received_bytes: 100,
        received_drops: 1,
    };
    assert_eq!(counts, expected);
}

#[test]
fn packets_that_make_no_sense_are_refused_alone() {
    let world = World::new();
    run(&world, async {
        let mut guest = world.connect(false, &[]).await;
        let (_page, reference) = guest.page(false);
        // Too short; larger in its parts than as a whole; nothing at all.
        guest.put_slot(reference, 0, NetifTxFlags::empty(), 13);
        guest.put_slot(reference, 0, NetifTxFlags::MORE_DATA, 100);
        guest.put_slot(reference, 0, NetifTxFlags::empty(), 101);
        guest.put_slot(reference, 0, NetifTxFlags::empty(), 0);
        guest.kick();
        assert_eq!(guest.statuses(4).await, [(1, ERROR), (2, ERROR), (3, ERROR), (4, ERROR)]);
        // As many parts as Linux sends, and one more.
        let packet = frame(MOST_PARTS * 20, 1);
        let ids = guest.put_packet(&packet, 20, 5);
        guest.kick();
        assert!(guest.statuses(ids.len()).await.iter().all(|(_, status)| *status == OKAY));
        let ids = guest.put_packet(&frame((MOST_PARTS + 1) * 20, 1), 20, 5);
        guest.kick();
        assert!(guest.statuses(ids.len()).await.iter().all(|(_, status)| *status == ERROR));
        // Parts of nothing.
        guest.put_slot(reference, 4096, NetifTxFlags::MORE_DATA, 60);
        guest.put_slot(reference, 4036, NetifTxFlags::MORE_DATA, 60);
        guest.put_slot(reference, 4096, NetifTxFlags::empty(), 0);
        guest.kick();
        assert!(guest.statuses(3).await.iter().all(|(_, status)| *status == OKAY));
        assert_eq!(*world.link.sent.borrow(), [packet, Packet { bytes: vec![0; 60], ..Packet::default() }]);
    });
    assert_eq!(world.device.counts().sent_errors, 4);
}

#[test]
fn who_breaks_the_protocol_is_closed_and_may_start_anew() {
    let bad_gso = |size, kind| {
        move |guest: &mut Guest<'_>| {
            let (_page, reference) = guest.page(false);
            guest.put_slot(reference, 0, NetifTxFlags::EXTRA_INFO, 100);
            guest.tx.put(&slot_of(&gso(Segments { size, v6: false }, kind)));
        }
    };
    type Crime = Box<dyn Fn(&mut Guest<'_>)>;
    let crimes: [(Crime, &str); 9] = [
        (
            Box::new(|guest| {
                let (_page, reference) = guest.page(false);
                guest.put_slot(reference, 4000, NetifTxFlags::empty(), 97);
            }),
            "22 a fragment leaves its page in the tx ring",
        ),
        (
            Box::new(|guest| {
                guest.put_slot(1, 0, NetifTxFlags::MORE_DATA, 200);
                guest.put_slot(1, 65535, NetifTxFlags::empty(), 100);
            }),
            "22 a fragment leaves its page in the tx ring",
        ),
        (
            Box::new(|guest| {
                guest.put_slot(1, 0, NetifTxFlags::MORE_DATA, 200);
            }),
            "5 a fragment is missing in the tx ring",
        ),
        (
            Box::new(|guest| {
                guest.put_slot(1, 0, NetifTxFlags::EXTRA_INFO, 200);
            }),
            "5 extra info is missing in the tx ring",
        ),
        (
            Box::new(|guest| {
                for _ in 0..TOO_MANY_PARTS {
                    guest.put_slot(1, 0, NetifTxFlags::MORE_DATA, 100);
                }
            }),
            "7 a packet of more than 21 fragments in the tx ring",
        ),
        (Box::new(bad_gso(0, 1)), "22 GSO size is 0"),
        (Box::new(bad_gso(1448, 3)), "22 GSO type is neither TCPV4 nor TCPV6"),
        (
            Box::new(|guest| {
                guest.put_slot(1, 0, NetifTxFlags::EXTRA_INFO, 200);
                guest.tx.put(&[0_u32; 3]);
            }),
            "22 extra info of a type that there is not",
        ),
        (
            Box::new(|guest| {
                guest.rx.set_request_producer(257);
            }),
            "5 broken ring: 257 requests in a ring of 256",
        ),
    ];
    for (crime, words) in crimes {
        let world = World::new();
        run(&world, async {
            let mut guest = world.connect(false, &[]).await;
            crime(&mut guest);
            world.link.queue.borrow_mut().push_back(frame(100, 7));
            guest.tx.publish();
            guest.port.notify();
            world.back_is("6").await;
            assert_eq!(world.error().as_deref(), Some(words));
            assert_eq!((world.host.mapped(), world.host.bound()), (0, 0), "{words}");
            assert!(world.link.sent.borrow().is_empty(), "{words}");
            world.write_front("state", "1");
            let mut guest = world.connect(true, &[]).await;
            guest.put_packet(&frame(100, 1), PAGE, 0);
            guest.kick();
            assert_eq!(guest.statuses(1).await, [(1, OKAY)]);
        });
    }
}

#[test]
fn front_ends_that_ask_for_what_there_is_not_are_told_so() {
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[("multi-queue-num-queues", "2")], "22 multi-queue-num-queues is not 1"),
        (&[("multi-queue-num-queues", "0")], "22 multi-queue-num-queues is not 1"),
        (&[("request-rx-copy", "0")], "95 request-rx-copy is not 1: pages are not flipped"),
        (&[("tx-ring-ref", "4000000")], "22 mapping tx-ring-ref: BadGntref"),
        (&[("rx-ring-ref", "x")], "22 rx-ring-ref is not a number in range"),
        (&[("event-channel", "99")], "22 binding event channel 99: EINVAL"),
    ];
    for (nodes, words) in cases {
        let world = World::new();
        run(&world, async {
            let _guest = world.introduce(false, nodes).await;
            world.write_front("state", "4");
            world.back_is("6").await;
            assert_eq!(world.error().as_deref(), Some(words));
            assert_eq!((world.host.mapped(), world.host.bound()), (0, 0));
        });
    }
}

#[test]
fn a_toolstack_that_writes_nonsense_is_told_so() {
    for (name, value, words) in [
        ("mac", "01:16:3e:01:02:03", "22 mac is a group's"),
        ("mac", "0:0:0:0:0:0", "22 mac is not an address like 00:16:3e:01:02:03"),
        ("mac", "nonsense", "22 mac is not an address like 00:16:3e:01:02:03"),
        ("rate", "fast", "22 rate is not BYTES,MICROSECONDS"),
    ] {
        let world = World::new();
        world.write_back(name, value);
        play(world.device.run());
        assert_eq!(world.error().as_deref(), Some(words));
        world.is_clean();
    }
}

#[test]
fn a_link_knows_what_the_front_end_can() {
    let plain = Abilities { blank_v4: true, ..Abilities::default() };
    let cases: [(&[(&str, &str)], Abilities); 3] = [
        (&[("feature-sg", "0")], Abilities { blank_v6: true, ..plain }),
        (&[("feature-no-csum-offload", "1"), ("feature-ipv6-csum-offload", "0")], Abilities::default()),
        (&[("feature-gso-tcpv6", "0")], Abilities { blank_v6: true, long_v4: true, ..plain }),
    ];
    for (nodes, abilities) in cases {
        let world = World::new();
        run(&world, async {
            let mut guest = world.connect(false, nodes).await;
            assert_eq!(world.link.abilities.get(), abilities);
            // Without scatter-gather a page is all that it takes.
            guest.post(2);
            world.link.queue.borrow_mut().extend([frame(4097, 1), frame(4096, 2)]);
            let big = abilities.long_v4 || nodes.iter().all(|(name, _)| *name != "feature-sg");
            if big {
                assert_eq!(guest.packet().await, (Ok(frame(4097, 1)), 2));
                guest.post(1);
            }
            assert_eq!(guest.packet().await, (Ok(frame(4096, 2)), 1));
            assert_eq!(world.device.counts().received_drops, u64::from(!big));
        });
    }
}

#[test]
fn packets_wait_until_there_are_pages_enough() {
    let world = World::new();
    run(&world, async {
        let mut guest = world.connect(true, &[]).await;
        guest.post(3);
        world.link.queue.borrow_mut().extend([frame(16000, 1), frame(60, 2)]);
        settle().await;
        assert_eq!(world.device.counts().received_packets, 0);
        guest.post(1);
        assert_eq!(guest.packet().await, (Ok(frame(16000, 1)), 4));
        settle().await;
        assert_eq!(world.device.counts().received_packets, 1);
        guest.post(1);
        assert_eq!(guest.packet().await, (Ok(frame(60, 2)), 1));
        // What nobody takes is dropped at last, and the guest gets what comes then.
        world.link.queue.borrow_mut().extend([frame(60, 3), frame(60, 4), frame(60, 5)]);
        settle().await;
        world.host.advance(PATIENCE - 1);
        settle().await;
        assert_eq!(world.device.counts().received_drops, 0);
        world.host.advance(1);
        settle().await;
        assert_eq!(world.device.counts().received_drops, 3);
        guest.post(1);
        world.link.queue.borrow_mut().push_back(frame(60, 6));
        assert_eq!(guest.packet().await, (Ok(frame(60, 6)), 1));
    });
}

#[test]
fn a_front_end_that_tells_nothing_is_looked_at() {
    let world = World::new();
    run(&world, async {
        let mut guest = world.connect(true, &[("feature-rx-notify", "0")]).await;
        world.link.queue.borrow_mut().push_back(frame(60, 1));
        settle().await;
        let (page, reference) = guest.page(true);
        page.fill(0xee);
        guest.post_page(page, reference);
        let _ = guest.rx.publish();
        settle().await;
        assert_eq!(world.device.counts().received_packets, 0);
        world.host.advance(LOOK_AGAIN);
        assert_eq!(guest.packet().await, (Ok(frame(60, 1)), 1));
    });
}

#[test]
fn groups_are_told_to_the_link() {
    let ours = |last| [1, 0, 0x5e, 0, 0, last];
    for wanted in ["0", "1"] {
        let world = World::new();
        run(&world, async {
            let mut guest = world.connect(false, &[("request-multicast-control", wanted)]).await;
            let told = || world.link.groups.borrow().clone();
            let filters = wanted == "1";
            assert_eq!(told(), filters.then(Vec::new));
            let changes = (0..=MOST_GROUPS as u8).map(|number| (NetifExtraType::McastAdd, number));
            let changes = changes.chain([(NetifExtraType::McastAdd, 3), (NetifExtraType::McastDel, 2)]);
            for (kind, number) in changes {
                guest.put_slot(0, 0, NetifTxFlags::EXTRA_INFO, 0);
                guest.tx.put(&slot_of(&group(kind, ours(number), false)));
                guest.kick();
                let expected = if usize::from(number) == MOST_GROUPS { ERROR } else { OKAY };
                assert_eq!(guest.statuses(2).await, [(guest.id, expected), (0, NULL)]);
            }
            let expected: Vec<_> = (0..MOST_GROUPS as u8).filter(|&number| number != 2).map(ours).collect();
            assert_eq!(told(), filters.then_some(expected));
            assert!(world.link.sent.borrow().is_empty());
        });
    }
}

#[test]
fn a_rate_is_kept() {
    let world = World::new();
    world.write_back("rate", "1000,1000000");
    run(&world, async {
        let mut guest = world.connect(false, &[]).await;
        let sent = || world.link.sent.borrow().len();
        for _ in 0..10 {
            guest.put_packet(&frame(1000, 0), PAGE, 0);
        }
        guest.kick();
        settle().await;
        // The burst, and one packet more.
        assert_eq!(sent(), 2);
        for packets in 3..=10 {
            world.host.advance(999_999_999);
            settle().await;
            assert_eq!(sent(), packets - 1);
            world.host.advance(1);
            settle().await;
            assert_eq!(sent(), packets);
        }
        assert_eq!(guest.statuses(10).await.len(), 10);
        // What goes the other way is not slowed.
        guest.post(2);
        world.link.queue.borrow_mut().push_back(frame(4000, 0));
        assert_eq!(guest.packet().await, (Ok(frame(4000, 0)), 1));
    });
}

#[test]
fn what_waited_for_another_front_end_is_not_given_to_the_next() {
    let world = World::new();
    world.link.queue.borrow_mut().push_back(frame(60, 1));
    run(&world, async {
        let mut guest = world.connect(false, &[]).await;
        guest.post(4);
        world.link.queue.borrow_mut().push_back(frame(60, 2));
        assert_eq!(guest.packet().await, (Ok(frame(60, 2)), 1));
        world.write_front("state", "5");
        world.back_is("5").await;
        assert_eq!(world.host.mapped(), 0);
        world.write_front("state", "6");
        world.back_is("6").await;
    });
}

/// Grants of this many pages are the first ones behind those of the rings.
const PAGES: u32 = 8;

/// The slots of a packet that is nearly right, most often.
fn slots() -> impl Strategy<Value = Vec<[u32; 3]>> {
    let reference = prop_oneof![60 => 10..10 + PAGES, 1 => Just(5000_u32)];
    let part = (reference, prop_oneof![300 => 0..2000_u32, 1 => any::<u32>()], 0..1500_u32, any::<u16>());
    let parts = prop_oneof![
        6 => prop::collection::vec(part.clone(), 1..5),
        1 => prop::collection::vec(part, 1..23)
    ];
    let extra = (
        prop_oneof![40 => prop::sample::select(vec![1_u32, 4]), 4 => 2..4_u32, 1 => any::<u32>()],
        1..3_u32,
        90..1500_u32,
    );
    let whole = (parts, prop::collection::vec(extra, 0..3), 0..4_u32);
    let cut = prop_oneof![1 => any::<prop::sample::Index>().prop_map(Some), 40 => Just(None)];
    let wrong = prop_oneof![1 => any::<(prop::sample::Index, [u32; 3])>().prop_map(Some), 40 => Just(None)];
    (whole, cut, wrong).prop_map(|((parts, extras, flags), cut, wrong)| {
        let total: u32 = parts.iter().map(|part| part.2).sum();
        let last = parts.len() - 1;
        let slot = |(number, (reference, offset, bytes, id)): (usize, (u32, u32, u32, u16))| {
            let more = if number < last { 4 } else { 0 };
            let (flags, size) = match number {
                0 => (flags | more | if extras.is_empty() { 0 } else { 8 }, total),
                _ => (more, bytes),
            };
            [reference, offset | flags << 16, u32::from(id) | size << 16]
        };
        let mut slots: Vec<_> = parts.into_iter().enumerate().map(slot).collect();
        let last = extras.len();
        for (number, (kind, gso, size)) in extras.into_iter().enumerate() {
            let more = u32::from(number + 1 < last);
            slots.insert(1 + number, [kind | more << 8 | size << 16, gso, 0]);
        }
        if let Some((index, words)) = wrong {
            *index.get_mut(&mut slots[..]) = words;
        }
        slots.truncate(cut.map_or(slots.len(), |index| index.index(slots.len())));
        slots
    })
}

/// A front end that has posted some of its pages, all full of one byte.
async fn hostile<'a>(world: &'a World, pages: &[(Page, u32)]) -> Guest<'a> {
    let mut guest = world.connect(false, &[]).await;
    for (page, reference) in pages {
        guest.post_page(page.clone(), *reference);
    }
    let _ = guest.rx.publish();
    guest
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Packets arrive as they were sent, both ways at once, in order, however they are cut.
    #[test]
    fn packets_arrive_as_they_were_sent(
        packets in prop::collection::vec((14_usize..9000, 0_usize..500, 500_usize..3500, any::<u8>()), 1..60),
        posts in prop::collection::vec(1_usize..12, 1..20),
        split: bool,
    ) {
        let world = World::new();
        let packet = |&(bytes, _, _, seed): &(usize, usize, usize, u8)| {
            let checksum = [Checksum::Present, Checksum::Valid, Checksum::Blank][usize::from(seed % 3)];
            let segments = (seed % 6 == 5).then_some(Segments { size: 1000 + u16::from(seed), v6: seed > 100 });
            Packet { checksum, segments, ..frame(bytes, seed) }
        };
        let expected: Vec<Packet> = packets.iter().map(packet).collect();
        run(&world, async {
            let mut guest = world.connect(split, &[]).await;
            let mut arrived = vec![];
            let mut posts = posts.iter().cycle();
            for (packet, (_, offset, piece, _)) in expected.iter().zip(&packets) {
                let slots = guest.put_packet(packet, *piece, *offset).len();
                guest.kick();
                guest.statuses(slots + usize::from(packet.segments.is_some())).await;
                world.link.queue.borrow_mut().push_back(packet.clone());
                while guest.pages.len() < 8 {
                    guest.post(*posts.next().expect("it has no end"));
                }
                arrived.push(guest.packet().await.0.expect("it is whole"));
            }
            assert_eq!(arrived, expected);
        });
        prop_assert_eq!(&*world.link.sent.borrow(), &expected);
        let counts = world.device.counts();
        prop_assert_eq!((counts.sent_errors, counts.received_drops), (0, 0));
    }

    /// Whatever stands in the rings, the device lives or is closed, keeps nothing, answers each
    /// request in its place, and sends no byte that is not the front end's.
    #[test]
    fn nonsense_in_the_rings_hurts_nobody(
        batches in prop::collection::vec((prop::collection::vec(slots(), 0..10), any::<bool>(), 0_usize..400), 1..20),
        producer in prop::option::of(any::<u32>()),
        rx_producer in prop::option::of(0_u32..300),
    ) {
        let world = World::new();
        run(&world, async {
            // The rings' grants come first; every other of these pages can be written.
            let mut guest = world.connect(false, &[]).await;
            let pages: Vec<_> = (0..PAGES).map(|number| guest.page(number.is_multiple_of(2))).collect();
            assert_eq!(pages[0].1, 10);
            pages.iter().for_each(|(page, _)| page.fill(0x5a));
            world.write_front("state", "1");
            settle().await;
            guest = hostile(&world, &pages).await;
            for (packets, notify, size) in &batches {
                if world.back("state").as_deref() == Some("6") {
                    world.write_front("state", "1");
                    guest = hostile(&world, &pages).await;
                }
                for slot in packets.iter().flatten() {
                    guest.put_raw(*slot);
                }
                guest.tx.publish();
                if *notify {
                    guest.port.notify();
                }
                let packet = Packet { bytes: vec![0x5a; 60 + size * 40], ..Packet::default() };
                world.link.queue.borrow_mut().push_back(packet);
                settle().await;
                guest.check_answers();
            }
            if let Some(producer) = producer {
                guest.tx.set_request_producer(producer);
            }
            if let Some(producer) = rx_producer {
                guest.rx.set_request_producer(producer);
            }
            guest.port.notify();
            settle().await;
        });
        for packet in &*world.link.sent.borrow() {
            prop_assert!(packet.bytes.len() >= 14);
            prop_assert!(packet.bytes.iter().all(|&byte| byte == 0x5a));
        }
    }
}
