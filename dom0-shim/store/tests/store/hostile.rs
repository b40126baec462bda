//! Guests that break the rules: they harm themselves only, and hold only so much.

use proptest::prelude::*;
use xen_abi::io::xs_wire::{RING_SIZE, XsMessage};
use xen_store::{Page, Quota};

use crate::client::{CONNECTION, ERROR, Guest, REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD, server_with};

const RING_INDEX: u32 = 2;
const PROTOCOL: u32 = 3;

fn header(kind: u32, len: u32) -> Vec<u8> {
    [kind, 1, 0, len].into_iter().flat_map(u32::to_le_bytes).collect()
}

/// A server with a well-behaved guest, which is to be served whatever the other does.
fn with_witness() -> (xen_store::Server, Guest, Guest) {
    let (mut server, mut guests) = server_with(&[1, 2]);
    let witness = guests.pop().unwrap();
    let mut hostile = guests.pop().unwrap();
    hostile.watch(&mut server, "data", "t").unwrap();
    hostile.take_events(&mut server);
    (server, hostile, witness)
}

fn is_served(server: &mut xen_store::Server, guest: &mut Guest) {
    guest.write(server, 0, "data/alive", "yes").unwrap();
    assert_eq!(guest.read(server, 0, "data/alive").unwrap(), "yes");
}

#[test]
fn impossible_indices_end_the_service() {
    for (index, value) in
        [(REQ_PROD, 100_000), (REQ_PROD, u32::MAX), (RSP_CONS, 100_000), (RSP_CONS, u32::MAX / 2)]
    {
        let (mut server, mut hostile, mut witness) = with_witness();
        hostile.page.set(index, value);
        server.write("/local/domain/1/data/x", b"an event to write").unwrap();
        assert!(hostile.serve(&mut server).notify);
        assert!(hostile.ring.is_broken());
        assert_eq!(hostile.page.word(ERROR), RING_INDEX);
        assert_eq!(server.waiting(hostile.connection()), 0);
        server.write("/local/domain/1/data/x", b"again").unwrap();
        assert_eq!(server.waiting(hostile.connection()), 0, "its watches are gone");
        assert_eq!(hostile.serve(&mut server), xen_store::Served::default());
        is_served(&mut server, &mut witness);
    }
}

#[test]
fn indices_of_the_server_are_its_own() {
    let (mut server, mut hostile, _) = with_witness();
    hostile.page.set(REQ_CONS, 0xdead);
    hostile.page.set(RSP_PROD, 0xbeef);
    let produced = hostile.page.word(RSP_CONS);
    server.write("/local/domain/1/data", b"1").unwrap();
    assert!(hostile.serve(&mut server).notify);
    assert!(!hostile.ring.is_broken());
    assert_eq!(hostile.page.word(RSP_PROD), produced + 16 + 7, "data NUL t NUL");
}

#[test]
fn a_payload_too_long_ends_the_service() {
    for len in [4097, 65536, u32::MAX] {
        let (mut server, mut hostile, mut witness) = with_witness();
        hostile.put(&header(2, len));
        assert!(hostile.serve(&mut server).notify);
        assert_eq!((hostile.ring.is_broken(), hostile.page.word(ERROR)), (true, PROTOCOL));
        is_served(&mut server, &mut witness);
    }
}

#[test]
fn a_fresh_start_can_be_asked_for() {
    let (mut server, mut hostile, _) = with_witness();
    let tx = hostile.start(&mut server).unwrap();
    hostile.put(&header(2, 5000));
    assert!(hostile.serve(&mut server).notify);
    hostile.page.set(CONNECTION, 1);
    assert!(hostile.serve(&mut server).notify);
    let words =
        [CONNECTION, ERROR, REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD].map(|offset| hostile.page.word(offset));
    assert_eq!(words, [0; 6]);
    is_served(&mut server, &mut hostile);
    assert_eq!(hostile.take_events(&mut server), Vec::<String>::new());
    assert_eq!(hostile.end(&mut server, tx, true), Err("ENOENT".into()));
}

#[test]
fn who_takes_no_answers_is_heard_no_more() {
    let (mut server, mut hostile, mut witness) = with_witness();
    let request = [header(XsMessage::GetDomainPath.get(), 2), b"1\0".to_vec()].concat();
    let (mut put, mut rest) = (0, &request[..]);
    for _ in 0..10_000 {
        let count = hostile.put(rest);
        put += count;
        rest = &rest[count..];
        if rest.is_empty() {
            rest = &request;
        }
        let _ = hostile.serve(&mut server);
    }
    assert_eq!(server.waiting(hostile.connection()), Quota::default().outstanding);
    assert!(put < 3 * RING_SIZE, "{put} bytes were taken");
    is_served(&mut server, &mut witness);
    hostile.get();
    let _ = hostile.serve(&mut server);
    assert!(server.waiting(hostile.connection()) <= Quota::default().outstanding);
}

#[test]
fn one_round_serves_only_so_many_requests() {
    let (mut server, mut hostile, _) = with_witness();
    let request = [header(XsMessage::GetDomainPath.get(), 2), b"1\0".to_vec()].concat();
    for _ in 0..20 {
        hostile.put(&request);
    }
    let served = hostile.ring.serve(&hostile.page, &mut server, 4);
    assert!(served.again && served.notify);
    hostile.get();
    assert_eq!(std::iter::from_fn(|| hostile.message()).count(), 4);
}

#[test]
fn a_storm_of_events_is_bounded() {
    let (mut server, mut hostile, mut witness) = with_witness();
    witness.set_permissions(&mut server, "data", "r2").unwrap();
    for number in 0..127 {
        hostile.watch(&mut server, "/local/domain/2/data", &format!("{number}-{}", "t".repeat(500))).unwrap();
    }
    hostile.take_events(&mut server);
    let mut most = 0;
    for number in 0..2_000 {
        let path = format!("data/{number}");
        witness.write(&mut server, 0, &path, "x").unwrap();
        witness.rm(&mut server, 0, &path).unwrap();
        most = most.max(server.waiting(hostile.connection()));
    }
    // 64 KiB of events of more than 500 bytes, then one for each watch.
    assert!(most <= 65536 / 500 + 127, "{most}");
    let mut told = hostile.take_events(&mut server);
    told.sort_unstable();
    told.dedup_by_key(|event| event.split_once(' ').unwrap().1.to_string());
    assert!(told.iter().filter(|event| event.starts_with("/local/domain/2/data ")).count() >= 1);
    let tokens: std::collections::BTreeSet<_> = told.iter().map(|e| e.split_once(' ').unwrap().1).collect();
    assert_eq!(tokens.len(), 127, "each watch was told something");
}

#[test]
fn watch_and_unwatch_without_reading_is_bounded() {
    let (mut server, mut hostile, _) = with_witness();
    let message = |kind: XsMessage| [header(kind.get(), 7), b"data\0x\0".to_vec()].concat();
    let mut pair = [message(XsMessage::Watch), message(XsMessage::Unwatch)].concat();
    for at in [12, 16 + 7 + 12] {
        pair[at] = 7;
    }
    let mut rest = pair.clone();
    for _ in 0..5_000 {
        let count = hostile.put(&rest);
        rest.drain(..count);
        rest.extend_from_slice(&pair[..if rest.is_empty() { pair.len() } else { 0 }]);
        let _ = hostile.serve(&mut server);
    }
    assert!(server.waiting(hostile.connection()) <= 2 * Quota::default().outstanding);
}

#[test]
fn a_flood_of_nodes_stops_at_the_quota() {
    let (mut server, mut hostile, mut witness) = with_witness();
    let before = server.nodes();
    let (mut made, mut refused) = (0, 0);
    for number in 0..1_500 {
        match hostile.mkdir(&mut server, 0, &format!("data/{}/{number}", number % 7)) {
            Ok(()) => made += 1,
            Err(error) => {
                assert_eq!(error, "ENOSPC");
                refused += 1;
            }
        }
    }
    assert!(made > 900 && refused > 400, "{made} made, {refused} refused");
    assert!(server.nodes() - before <= 1000);
    is_served(&mut server, &mut witness);
    server.release(1);
    assert_eq!(server.nodes(), before - 3 + 1, "of domain 1 only what domain 0 made is left");
}

#[test]
fn the_deepest_tree_can_be_made_and_removed() {
    let (mut server, mut hostile, mut witness) = with_witness();
    let before = server.nodes();
    let deep = format!("data{}", "/x".repeat(980));
    hostile.write(&mut server, 0, &deep, "bottom").unwrap();
    assert_eq!(hostile.read(&mut server, 0, &deep).unwrap(), "bottom");
    let tx = hostile.start(&mut server).unwrap();
    hostile.rm(&mut server, tx, "data/x").unwrap();
    hostile.end(&mut server, tx, true).unwrap();
    assert_eq!(server.nodes(), before);
    assert_eq!(
        hostile.write(&mut server, 0, &format!("data{}", "/x".repeat(1022)), ""),
        Err("ENOSPC".into())
    );
    assert_eq!(server.nodes(), before);
    is_served(&mut server, &mut witness);
}

#[test]
fn hoarded_transactions_hold_only_so_much() {
    let (mut server, mut hostile, mut witness) = with_witness();
    for number in 0..200 {
        hostile.write(&mut server, 0, &format!("data/{number}"), &"v".repeat(2000)).unwrap();
    }
    let ids: Vec<u32> = (0..10).map(|_| hostile.start(&mut server).unwrap()).collect();
    let mut held = 0;
    for id in &ids {
        for number in 0..200 {
            held += usize::from(hostile.read(&mut server, *id, &format!("data/{number}")).is_ok());
        }
    }
    assert!(held * 2000 < Quota::default().memory, "{held} nodes are held");
    is_served(&mut server, &mut witness);
    for id in ids {
        hostile.end(&mut server, id, false).unwrap();
    }
    is_served(&mut server, &mut hostile);
}

/// What a hostile kernel may do to its page between two rounds.
#[derive(Clone, Debug)]
enum Blow {
    Bytes(usize, Vec<u8>),
    Word(usize, u32),
    Request(u32, u32, Vec<u8>),
    Take,
}

fn blow() -> impl Strategy<Value = Blow> {
    let offsets = prop::sample::select(vec![REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD, CONNECTION, ERROR]);
    let words = prop_oneof![0..3u32, 0..5000u32, any::<u32>()];
    let text = "[a-d/@0-2\\PC\0]{0,40}".prop_map(String::into_bytes);
    prop_oneof![
        1 => (0..2000usize, prop::collection::vec(any::<u8>(), 0..64)).prop_map(|(at, bytes)| Blow::Bytes(at, bytes)),
        1 => (offsets, words).prop_map(|(offset, word)| Blow::Word(offset, word)),
        6 => (0..30u32, 0..4u32, prop_oneof![text, prop::collection::vec(any::<u8>(), 0..64)])
            .prop_map(|(kind, tx, payload)| Blow::Request(kind, tx, payload)),
        3 => Just(Blow::Take),
    ]
}

fn strike(guest: &Guest, blow: &Blow) {
    match blow {
        Blow::Bytes(at, bytes) => guest.page.write(*at, bytes),
        Blow::Word(offset, word) => guest.page.set(*offset, *word),
        Blow::Request(kind, tx, payload) => {
            let produced = guest.page.word(REQ_PROD);
            let words = [*kind, 1, *tx, u32::try_from(payload.len()).unwrap()];
            let bytes: Vec<u8> =
                words.into_iter().flat_map(u32::to_le_bytes).chain(payload.iter().copied()).collect();
            for (index, byte) in bytes.iter().enumerate() {
                guest.page.write((produced as usize + index) % RING_SIZE, &[*byte]);
            }
            guest.page.set(REQ_PROD, produced.wrapping_add(u32::try_from(bytes.len()).unwrap()));
        }
        Blow::Take => guest.page.set(RSP_CONS, guest.page.word(RSP_PROD)),
    }
}

proptest! {
    #[test]
    fn whatever_the_page_holds_others_are_served(blows in prop::collection::vec(blow(), 1..200)) {
        let (mut server, mut hostile, mut witness) = with_witness();
        let nodes = server.nodes();
        for blow in &blows {
            strike(&hostile, blow);
            let served = hostile.serve(&mut server);
            prop_assert_eq!(served.effect, None);
            prop_assert!(server.waiting(hostile.connection()) <= 20 + 20 + 200);
        }
        prop_assert!(server.nodes() <= nodes + 1000);
        is_served(&mut server, &mut witness);
        prop_assert_eq!(witness.read(&mut server, 0, "name").unwrap(), "guest");
        hostile.page.set(CONNECTION, 1);
        let _ = hostile.serve(&mut server);
        prop_assert!(!hostile.ring.is_broken());
        answers_again(&mut server, &mut hostile);
    }
}

/// After a fresh start it is answered; what it may still write is its own doing.
fn answers_again(server: &mut xen_store::Server, guest: &mut Guest) {
    let mut fresh = Guest::new(server, guest.domain);
    assert_eq!(fresh.text(server, XsMessage::GetDomainPath, 0, "1\0").unwrap(), "/local/domain/1\0");
}
