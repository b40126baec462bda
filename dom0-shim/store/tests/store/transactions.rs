//! Transactions: unseen until they end, all or nothing, refused where others were faster.

use xen_abi::errno::Errno;
use xen_abi::io::xs_wire::XsMessage;
use xen_store::Quota;

use crate::client::{Guest, furnish, server_with};

#[test]
fn changes_are_unseen_until_the_end() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    let tx = guest.start(&mut server).unwrap();
    guest.write(&mut server, tx, "data/a/b", "1").unwrap();
    assert_eq!(guest.read(&mut server, tx, "data/a/b").unwrap(), "1");
    assert_eq!(guest.directory(&mut server, tx, "data").unwrap(), ["a"]);
    assert_eq!(guest.read(&mut server, 0, "data/a/b"), Err("ENOENT".into()));
    guest.end(&mut server, tx, true).unwrap();
    assert_eq!(guest.read(&mut server, 0, "data/a/b").unwrap(), "1");
    assert_eq!(guest.read(&mut server, tx, "data/a/b"), Err("ENOENT".into()), "the id is gone");
}

#[test]
fn an_abandoned_transaction_changes_nothing() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    let nodes = server.nodes();
    let tx = guest.start(&mut server).unwrap();
    guest.write(&mut server, tx, "data/a", "1").unwrap();
    guest.rm(&mut server, tx, "device/vbd/51712").unwrap();
    guest.end(&mut server, tx, false).unwrap();
    assert_eq!(server.nodes(), nodes);
    assert_eq!(guest.directory(&mut server, 0, "device/vbd").unwrap(), ["51712"]);
    assert_eq!(guest.read(&mut server, 0, "device/vbd/51712").unwrap(), "");
}

#[test]
fn what_was_read_must_not_have_changed() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.write(&mut server, 0, "data/a", "1").unwrap();
    let tx = guest.start(&mut server).unwrap();
    assert_eq!(guest.read(&mut server, tx, "data/a").unwrap(), "1");
    guest.write(&mut server, tx, "data/b", "from a").unwrap();
    guest.write(&mut server, 0, "data/a", "2").unwrap();
    assert_eq!(guest.read(&mut server, tx, "data/a").unwrap(), "1", "as it was");
    assert_eq!(guest.end(&mut server, tx, true), Err("EAGAIN".into()));
    assert_eq!(guest.read(&mut server, 0, "data/b"), Err("ENOENT".into()));
}

#[test]
fn what_was_missing_must_be_missing_still() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    let tx = guest.start(&mut server).unwrap();
    assert_eq!(guest.read(&mut server, tx, "data/a"), Err("ENOENT".into()));
    guest.write(&mut server, 0, "data/a", "1").unwrap();
    assert_eq!(guest.end(&mut server, tx, true), Err("EAGAIN".into()));
}

#[test]
fn a_node_made_anew_is_another() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.write(&mut server, 0, "data/a", "1").unwrap();
    let tx = guest.start(&mut server).unwrap();
    guest.read(&mut server, tx, "data/a").unwrap();
    guest.rm(&mut server, 0, "data/a").unwrap();
    guest.write(&mut server, 0, "data/a", "1").unwrap();
    assert_eq!(guest.end(&mut server, tx, true), Err("EAGAIN".into()));
}

#[test]
fn two_writers_of_one_node_conflict_others_do_not() {
    let (mut server, mut guests) = server_with(&[1, 2]);
    let [first, second] = &mut guests[..] else { panic!("two guests") };
    let (one, two) = (first.start(&mut server).unwrap(), first.start(&mut server).unwrap());
    let other = second.start(&mut server).unwrap();
    first.write(&mut server, one, "data", "1").unwrap();
    first.write(&mut server, two, "data", "2").unwrap();
    second.write(&mut server, other, "data", "3").unwrap();
    first.end(&mut server, two, true).unwrap();
    assert_eq!(first.end(&mut server, one, true), Err("EAGAIN".into()));
    second.end(&mut server, other, true).unwrap();
    assert_eq!(first.read(&mut server, 0, "data").unwrap(), "2");
}

#[test]
fn watchers_hear_at_the_end_and_each_path_once() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.watch(&mut server, "data", "t").unwrap();
    guest.take_events(&mut server);
    let tx = guest.start(&mut server).unwrap();
    for value in ["1", "2"] {
        guest.write(&mut server, tx, "data/b", value).unwrap();
        guest.write(&mut server, tx, "data/a", value).unwrap();
    }
    assert_eq!(guest.take_events(&mut server), Vec::<String>::new());
    guest.end(&mut server, tx, true).unwrap();
    assert_eq!(guest.take_events(&mut server), ["data/b t", "data/a t"]);
    let tx = guest.start(&mut server).unwrap();
    guest.write(&mut server, tx, "data/a", "3").unwrap();
    guest.end(&mut server, tx, false).unwrap();
    assert_eq!(guest.take_events(&mut server), Vec::<String>::new());
}

#[test]
fn removal_in_a_transaction() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.write(&mut server, 0, "data/a/b", "1").unwrap();
    guest.watch(&mut server, "data/a/b", "t").unwrap();
    guest.take_events(&mut server);
    let tx = guest.start(&mut server).unwrap();
    guest.rm(&mut server, tx, "data/a").unwrap();
    assert_eq!(guest.read(&mut server, tx, "data/a/b"), Err("ENOENT".into()));
    guest.mkdir(&mut server, tx, "data/a").unwrap();
    guest.end(&mut server, tx, true).unwrap();
    assert_eq!(guest.take_events(&mut server), ["data/a/b t"]);
    assert_eq!(guest.directory(&mut server, 0, "data/a").unwrap(), Vec::<String>::new());
}

#[test]
fn ids_and_payloads_are_checked() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    let tx = guest.start(&mut server).unwrap();
    assert_eq!(guest.text(&mut server, XsMessage::TransactionStart, tx, "\0"), Err("EBUSY".into()));
    assert_eq!(guest.text(&mut server, XsMessage::TransactionStart, 99, "\0"), Err("ENOENT".into()));
    assert_eq!(guest.end(&mut server, 0, true), Err("ENOENT".into()));
    assert_eq!(guest.read(&mut server, 99, "data"), Err("ENOENT".into()));
    assert_eq!(guest.text(&mut server, XsMessage::TransactionEnd, tx, "X\0"), Err("EINVAL".into()));
    guest.end(&mut server, tx, true).unwrap();
}

#[test]
fn transactions_are_a_domain_s_own_and_few() {
    let (mut server, mut guests) = server_with(&[1, 2]);
    let [first, second] = &mut guests[..] else { panic!("two guests") };
    let ids: Vec<u32> = (0..10).map(|_| first.start(&mut server).unwrap()).collect();
    assert_eq!(first.start(&mut server), Err("ENOSPC".into()));
    assert_eq!(second.read(&mut server, ids[9], "data"), Err("ENOENT".into()));
    first.text(&mut server, XsMessage::ResetWatches, 0, "\0").unwrap();
    assert_eq!(first.end(&mut server, ids[0], true), Err("ENOENT".into()));
    first.start(&mut server).unwrap();
}

#[test]
fn quotas_hold_inside_and_at_the_end() {
    let quota = Quota { nodes: 8, transaction_nodes: 12, ..Quota::default() };
    let mut server = xen_store::Server::new(quota);
    furnish(&mut server, 1);
    let mut guest = Guest::new(&mut server, 1);
    let (one, two) = (guest.start(&mut server).unwrap(), guest.start(&mut server).unwrap());
    for tx in [one, two] {
        for number in 0..4 {
            let own = if tx == one { "data" } else { "control" };
            guest.mkdir(&mut server, tx, &format!("{own}/{number}")).unwrap();
        }
    }
    guest.end(&mut server, one, true).unwrap();
    assert_eq!(guest.end(&mut server, two, true), Err("ENOSPC".into()));
    let tx = guest.start(&mut server).unwrap();
    assert_eq!(guest.mkdir(&mut server, tx, "data/a/b"), Err("ENOSPC".into()));
    guest.rm(&mut server, tx, "data/0").unwrap();
    guest.mkdir(&mut server, tx, "data/a").unwrap();
    let read: Vec<_> =
        (0..20).map(|number| guest.read(&mut server, tx, &format!("data/a/{number}"))).collect();
    assert_eq!(read[0], Err("ENOENT".into()));
    assert_eq!(read[19], Err("ENOSPC".into()));
    guest.end(&mut server, tx, true).unwrap();
}

#[test]
fn local_transactions_are_all_or_nothing() {
    let (mut server, _) = server_with(&[]);
    let failed = server.transaction(|store| {
        store.write("/a/b", b"1")?;
        store.read("/none")
    });
    assert_eq!(failed, Err(Errno::ENOENT));
    assert_eq!(server.read("/a"), Err(Errno::ENOENT));
    let value = server.transaction(|store| {
        store.write("/a/b", b"1")?;
        store.read("/a/b")
    });
    assert_eq!(value.as_deref(), Ok(&b"1"[..]));
    assert_eq!(server.directory("/a").unwrap(), ["b"]);
}
