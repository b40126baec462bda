//! Watches: who is told of what, and when.

use xen_abi::errno::Errno;
use xen_abi::io::xs_wire::XsMessage;

use crate::client::{Guest, server_with};

const NONE: [&str; 0] = [];

#[test]
fn a_watch_fires_at_once_and_on_all_below() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.watch(&mut server, "data", "t").unwrap();
    assert_eq!(guest.take_events(&mut server), ["data t"]);
    guest.write(&mut server, 0, "data/a/b", "1").unwrap();
    assert_eq!(guest.take_events(&mut server), ["data/a/b t"], "not for parents made with it");
    guest.write(&mut server, 0, "data", "1").unwrap();
    guest.mkdir(&mut server, 0, "data/c").unwrap();
    guest.mkdir(&mut server, 0, "data/c").unwrap();
    assert_eq!(guest.take_events(&mut server), ["data t", "data/c t"]);
    guest.set_permissions(&mut server, "data/c", "r1").unwrap();
    assert_eq!(guest.take_events(&mut server), ["data/c t"]);
    guest.write(&mut server, 0, "control/x", "1").unwrap();
    assert_eq!(guest.take_events(&mut server), NONE);
}

#[test]
fn the_answer_comes_before_the_first_event() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.put(&[4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
    guest.put(b"data\0t\0");
    assert!(guest.serve(&mut server).notify);
    guest.get();
    let kinds = [guest.message().unwrap().kind, guest.message().unwrap().kind];
    assert_eq!(kinds, [XsMessage::Watch.get(), XsMessage::WatchEvent.get()]);
}

#[test]
fn paths_are_told_as_they_were_named() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.watch(&mut server, "data", "relative").unwrap();
    guest.watch(&mut server, "/local/domain/1/data", "absolute").unwrap();
    guest.take_events(&mut server);
    guest.write(&mut server, 0, "data/x", "1").unwrap();
    let mut events = guest.take_events(&mut server);
    events.sort();
    assert_eq!(events, ["/local/domain/1/data/x absolute", "data/x relative"]);
}

#[test]
fn removal_of_a_parent_names_the_watched_path() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.write(&mut server, 0, "data/a/b/c", "1").unwrap();
    guest.watch(&mut server, "data/a/b", "b").unwrap();
    guest.watch(&mut server, "data", "data").unwrap();
    guest.take_events(&mut server);
    guest.rm(&mut server, 0, "data/a").unwrap();
    assert_eq!(guest.take_events(&mut server), ["data/a/b b", "data/a data"]);
}

#[test]
fn only_who_may_read_is_told() {
    let (mut server, mut guests) = server_with(&[1, 2]);
    let [first, second] = &mut guests[..] else { panic!("two guests") };
    first.write(&mut server, 0, "data/x", "1").unwrap();
    for path in ["/local/domain/1/data", "/"] {
        second.watch(&mut server, path, path).unwrap();
    }
    second.take_events(&mut server);
    first.write(&mut server, 0, "data/x", "2").unwrap();
    first.rm(&mut server, 0, "data/x").unwrap();
    assert_eq!(second.take_events(&mut server), NONE);
    first.write(&mut server, 0, "data/x", "3").unwrap();
    first.set_permissions(&mut server, "data/x", "n1 r2").unwrap();
    first.write(&mut server, 0, "data/x", "4").unwrap();
    assert_eq!(second.take_events(&mut server).len(), 2, "one for each watch, like ones merged");
    first.set_permissions(&mut server, "data/x", "n1").unwrap();
    assert_eq!(second.take_events(&mut server).len(), 2, "who loses the right is told of that");
    first.write(&mut server, 0, "data/x", "5").unwrap();
    assert_eq!(second.take_events(&mut server), NONE);
}

#[test]
fn removed_watches_are_silent() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.watch(&mut server, "data", "t").unwrap();
    assert_eq!(guest.watch(&mut server, "/local/domain/1/data", "t"), Err("EEXIST".into()));
    guest.watch(&mut server, "data", "u").unwrap();
    assert_eq!(guest.unwatch(&mut server, "data", "none"), Err("ENOENT".into()));
    guest.unwatch(&mut server, "data", "t").unwrap();
    guest.take_events(&mut server);
    guest.write(&mut server, 0, "data/x", "1").unwrap();
    assert_eq!(guest.take_events(&mut server), ["data/x u"]);
    guest.text(&mut server, XsMessage::ResetWatches, 0, "\0").unwrap();
    guest.write(&mut server, 0, "data/x", "1").unwrap();
    assert_eq!(guest.take_events(&mut server), NONE);
    guest.watch(&mut server, "data", "u").unwrap();
}

#[test]
fn bad_watches_are_refused() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    for path in ["", "a//b", "data/", "a b"] {
        assert_eq!(guest.watch(&mut server, path, "t"), Err("EINVAL".into()), "{path}");
    }
    assert_eq!(guest.text(&mut server, XsMessage::Watch, 0, "data\0"), Err("EINVAL".into()));
    assert_eq!(guest.text(&mut server, XsMessage::Watch, 0, "data"), Err("EINVAL".into()));
    for number in 0..128 {
        guest.watch(&mut server, "data", &number.to_string()).unwrap();
    }
    assert_eq!(guest.watch(&mut server, "data", "more"), Err("ENOSPC".into()));
    guest.unwatch(&mut server, "data", "0").unwrap();
    guest.watch(&mut server, "data", "more").unwrap();
}

#[test]
fn tasks_of_domain_zero_watch_too() {
    let (mut server, mut guests) = server_with(&[1]);
    let task = server.open();
    server.watch_path(task, "/local/domain/1", b"t").unwrap();
    assert_eq!(server.watch_path(task, "/local/domain/1", b"t"), Err(Errno::EEXIST));
    assert_eq!(server.next_ready(), Some(task));
    assert_eq!(&*server.take_event(task).unwrap().path, "/local/domain/1");
    assert_eq!(server.take_event(task), None);
    guests[0].write(&mut server, 0, "data/x", "1").unwrap();
    let event = server.take_event(task).unwrap();
    assert_eq!((&*event.path, &*event.token), ("/local/domain/1/data/x", &b"t"[..]));
    server.unwatch_path(task, "/local/domain/1", b"t").unwrap();
    assert_eq!(server.unwatch_path(task, "/local/domain/1", b"t"), Err(Errno::ENOENT));
    server.close(task);
    assert_eq!(server.watch_path(task, "/local/domain/1", b"t"), Err(Errno::ENOENT));
}

#[test]
fn domains_come_and_go_for_those_who_may_know() {
    let (mut server, mut guests) = server_with(&[1]);
    let mut zero = Guest::new(&mut server, 0);
    for guest in [&mut zero, &mut guests[0]] {
        guest.watch(&mut server, "@introduceDomain", "i").unwrap();
        guest.watch(&mut server, "@releaseDomain", "r").unwrap();
        guest.take_events(&mut server);
    }
    zero.set_permissions(&mut server, "@releaseDomain", "n0 r1").unwrap();
    assert_eq!(zero.permissions(&mut server, "@releaseDomain").unwrap(), "n0 r1");
    for guest in [&mut zero, &mut guests[0]] {
        assert_eq!(guest.take_events(&mut server), ["@releaseDomain r"], "of the permissions");
    }
    server.introduce(2);
    assert_eq!(zero.take_events(&mut server), ["@introduceDomain i"]);
    assert_eq!(guests[0].take_events(&mut server), NONE);
    server.stopped(2);
    server.stopped(2);
    for guest in [&mut zero, &mut guests[0]] {
        assert_eq!(guest.take_events(&mut server), ["@releaseDomain r"]);
    }
    server.resumed(2);
    server.stopped(2);
    assert_eq!(zero.take_events(&mut server), ["@releaseDomain r"]);
    server.release(2);
    assert_eq!(zero.take_events(&mut server), ["@releaseDomain r"]);
    server.release(2);
    assert_eq!(zero.take_events(&mut server), NONE);
}
