//! Reading, writing, making and removing nodes; permissions and quotas.

use xen_abi::io::xs_wire::XsMessage;
use xen_store::{Permissions, Quota, Server};

use crate::client::{Guest, server_with};

#[test]
fn values_are_bytes() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.call(&mut server, XsMessage::Write.get(), 0, b"data/x\0\0\xff\0").unwrap();
    assert_eq!(guest.call(&mut server, XsMessage::Read.get(), 0, b"data/x\0").unwrap(), b"\0\xff\0");
    assert_eq!(*server.read("/local/domain/1/data/x").unwrap(), *b"\0\xff\0");
    guest.write(&mut server, 0, "data/x", "").unwrap();
    assert_eq!(guest.read(&mut server, 0, "data/x").unwrap(), "");
}

#[test]
fn missing_parents_are_made() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.write(&mut server, 0, "data/a/b/c", "deep").unwrap();
    assert_eq!(guest.directory(&mut server, 0, "data").unwrap(), ["a"]);
    assert_eq!(guest.read(&mut server, 0, "data/a/b").unwrap(), "");
    assert_eq!(guest.read(&mut server, 0, "/local/domain/1/data/a/b/c").unwrap(), "deep");
    guest.mkdir(&mut server, 0, "data/a/b/c").unwrap();
    assert_eq!(guest.read(&mut server, 0, "data/a/b/c").unwrap(), "deep");
}

#[test]
fn removal_takes_all_below() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    let nodes = server.nodes();
    for path in ["data/a/b", "data/a/c/d", "data/a/e"] {
        guest.mkdir(&mut server, 0, path).unwrap();
    }
    guest.rm(&mut server, 0, "data/a").unwrap();
    assert_eq!(server.nodes(), nodes);
    assert_eq!(guest.directory(&mut server, 0, "data").unwrap(), Vec::<String>::new());
    guest.rm(&mut server, 0, "data/a").unwrap();
    assert_eq!(guest.rm(&mut server, 0, "data/a/b"), Err("ENOENT".into()));
}

#[test]
fn the_root_stays() {
    let mut server = Server::default();
    let mut zero = Guest::new(&mut server, 0);
    assert_eq!(zero.rm(&mut server, 0, "/"), Err("EINVAL".into()));
    zero.write(&mut server, 0, "/", "value").unwrap();
    assert_eq!(zero.read(&mut server, 0, "/").unwrap(), "value");
}

#[test]
fn bad_paths_and_payloads_are_refused() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    for path in ["", "/a/", "a//b", "a b", "@releaseDomain", &"a".repeat(2049)] {
        assert_eq!(guest.read(&mut server, 0, path), Err("EINVAL".into()), "{path}");
        assert_eq!(guest.write(&mut server, 0, path, "x"), Err("EINVAL".into()), "{path}");
    }
    for payload in [&b""[..], b"data", b"data\0data\0", b"data\0\0"] {
        for kind in
            [XsMessage::Read, XsMessage::Directory, XsMessage::Rm, XsMessage::Mkdir, XsMessage::GetPerms]
        {
            assert_eq!(guest.call(&mut server, kind.get(), 0, payload), Err("EINVAL".into()), "{payload:?}");
        }
    }
    assert_eq!(guest.call(&mut server, XsMessage::Write.get(), 0, b"data"), Err("EINVAL".into()));
    assert_eq!(guest.call(&mut server, XsMessage::SetPerms.get(), 0, b"data\0"), Err("EINVAL".into()));
}

#[test]
fn unknown_requests_are_not_implemented() {
    let (mut server, mut guests) = server_with(&[1]);
    for kind in [15, 16, 20, 23, 0xffff, u32::MAX] {
        assert_eq!(guests[0].call(&mut server, kind, 0, b"data\0"), Err("ENOSYS".into()), "{kind}");
    }
}

#[test]
fn what_a_domain_may_not_read_it_does_not_learn_of() {
    let (mut server, mut guests) = server_with(&[1, 2]);
    let (first, rest) = guests.split_at_mut(1);
    first[0].write(&mut server, 0, "data/secret", "x").unwrap();
    for path in ["/local/domain/1/data/secret", "/local/domain/1/data/none", "/none", "/"] {
        assert_eq!(rest[0].read(&mut server, 0, path), Err("EACCES".into()), "{path}");
        assert_eq!(rest[0].write(&mut server, 0, path, "y"), Err("EACCES".into()), "{path}");
        assert_eq!(rest[0].rm(&mut server, 0, path), Err("EACCES".into()), "{path}");
    }
    assert_eq!(rest[0].read(&mut server, 0, "data/none"), Err("ENOENT".into()));
    assert_eq!(rest[0].write(&mut server, 0, "name", "me"), Err("EACCES".into()));
    assert_eq!(rest[0].read(&mut server, 0, "name").unwrap(), "guest");
}

#[test]
fn owners_share_their_nodes() {
    let (mut server, mut guests) = server_with(&[1, 2]);
    let (first, rest) = guests.split_at_mut(1);
    let (owner, other) = (&mut first[0], &mut rest[0]);
    owner.write(&mut server, 0, "data/x", "1").unwrap();
    assert_eq!(owner.permissions(&mut server, "data/x").unwrap(), "n1");
    owner.set_permissions(&mut server, "data/x", "n1 r2").unwrap();
    let path = "/local/domain/1/data/x";
    assert_eq!(other.read(&mut server, 0, path).unwrap(), "1");
    assert_eq!(other.write(&mut server, 0, path, "2"), Err("EACCES".into()));
    assert_eq!(other.set_permissions(&mut server, path, "n2"), Err("EACCES".into()));
    owner.set_permissions(&mut server, "data/x", "n1 b2").unwrap();
    other.write(&mut server, 0, path, "2").unwrap();
    other.write(&mut server, 0, &format!("{path}/child"), "3").unwrap();
    assert_eq!(other.permissions(&mut server, &format!("{path}/child")).unwrap(), "n2 b2", "its own now");
    assert_eq!(owner.set_permissions(&mut server, "data/x", "n2"), Err("EPERM".into()), "cannot give away");
    assert_eq!(owner.set_permissions(&mut server, "data/x", "x1"), Err("EINVAL".into()));
    assert_eq!(owner.set_permissions(&mut server, "data/none", "n1"), Err("ENOENT".into()));
}

#[test]
fn a_domain_with_a_target_acts_as_it() {
    let (mut server, mut guests) = server_with(&[1, 2]);
    let mut zero = Guest::new(&mut server, 0);
    zero.text(&mut server, XsMessage::SetTarget, 0, "2\x001\0").unwrap();
    guests[1].write(&mut server, 0, "/local/domain/1/data/x", "by 2").unwrap();
    assert_eq!(guests[0].read(&mut server, 0, "data/x"), Err("EACCES".into()), "2's node below 1's");
    server.release(1);
    assert_eq!(guests[1].write(&mut server, 0, "/local/domain/1/data/y", ""), Err("EACCES".into()));
}

#[test]
fn long_lists_come_in_parts() {
    let mut server = Server::default();
    let mut zero = Guest::new(&mut server, 0);
    let names: Vec<String> = (0..500).map(|number| format!("some-longer-name-{number:03}")).collect();
    for name in &names {
        server.mkdir(&format!("/many/{name}")).unwrap();
    }
    assert_eq!(zero.directory(&mut server, 0, "/many"), Err("E2BIG".into()));
    let (mut list, mut generations) = (String::new(), Vec::new());
    while !list.ends_with("\0\0") {
        let part = format!("/many\0{}\0", list.len());
        let answer = zero.text(&mut server, XsMessage::DirectoryPart, 0, &part).unwrap();
        let (generation, more) = answer.split_once('\0').unwrap();
        generations.push(generation.to_string());
        list.push_str(more);
    }
    assert_eq!(list.split_terminator('\0').filter(|name| !name.is_empty()).collect::<Vec<_>>(), names);
    generations.dedup();
    assert_eq!(generations.len(), 1);
    let past = zero.text(&mut server, XsMessage::DirectoryPart, 0, "/many\x0099999\0").unwrap();
    assert_eq!(past, format!("{}\0\0", generations[0]));
    server.mkdir("/many/new").unwrap();
    let after = zero.text(&mut server, XsMessage::DirectoryPart, 0, "/many\x000\0").unwrap();
    assert!(!after.starts_with(&generations[0]));
}

#[test]
fn quotas_hold_and_are_given_back() {
    let mut server = Server::new(Quota { nodes: 10, ..Quota::default() });
    crate::client::furnish(&mut server, 1);
    let mut guest = Guest::new(&mut server, 1);
    for number in 0..7 {
        guest.mkdir(&mut server, 0, &format!("data/{number}")).unwrap();
    }
    assert_eq!(guest.mkdir(&mut server, 0, "data/more"), Err("ENOSPC".into()));
    assert_eq!(guest.mkdir(&mut server, 0, "data/0/a/b/c"), Err("ENOSPC".into()), "nor a part of it");
    assert_eq!(guest.directory(&mut server, 0, "data/0").unwrap(), Vec::<String>::new());
    guest.write(&mut server, 0, "data/0", "values are free").unwrap();
    guest.rm(&mut server, 0, "data/0").unwrap();
    guest.mkdir(&mut server, 0, "data/more").unwrap();
    server.mkdir("/local/domain/1/data/by-domain-0").unwrap();
}

#[test]
fn nodes_have_a_largest_size() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    guest.write(&mut server, 0, "data/x", &"v".repeat(2048 - 8)).unwrap();
    assert_eq!(guest.write(&mut server, 0, "data/x", &"v".repeat(2048 - 7)), Err("ENOSPC".into()));
    assert_eq!(guest.set_permissions(&mut server, "data/x", "n1 r2"), Err("ENOSPC".into()));
    assert_eq!(guest.mkdir(&mut server, 0, "data/x/y"), Err("ENOSPC".into()), "names count");
    assert_eq!(guest.set_permissions(&mut server, "data", "n1 r2 r3 r4 r5 r6"), Err("ENOSPC".into()));
    server.write("/local/domain/1/data/x", &[0; 4000]).unwrap();
    assert_eq!(guest.write(&mut server, 0, "data/x", &"v".repeat(4001)), Err("ENOSPC".into()));
    guest.write(&mut server, 0, "data/x", &"v".repeat(3999)).unwrap();
    guest.write(&mut server, 0, "data/x", "small again").unwrap();
}

#[test]
fn memory_has_a_limit_of_its_own() {
    let mut server = Server::new(Quota { memory: 20_000, ..Quota::default() });
    crate::client::furnish(&mut server, 1);
    let mut guest = Guest::new(&mut server, 1);
    let mut made = 0;
    while guest.write(&mut server, 0, &format!("data/{made}"), &"v".repeat(1000)).is_ok() {
        made += 1;
    }
    assert!((10..20).contains(&made), "{made}");
    assert_eq!(guest.watch(&mut server, "data", &"t".repeat(1000)), Err("ENOSPC".into()));
    guest.rm(&mut server, 0, "data/0").unwrap();
    guest.watch(&mut server, "data", &"t".repeat(900)).unwrap();
    assert_eq!(guest.write(&mut server, 0, "data/0", &"v".repeat(1000)), Err("ENOSPC".into()));
}

#[test]
fn the_local_interface_is_domain_zero() {
    let (mut server, mut guests) = server_with(&[1]);
    guests[0].write(&mut server, 0, "data/x", "secret").unwrap();
    assert_eq!(*server.read("/local/domain/1/data/x").unwrap(), *b"secret");
    server.set_permissions("/local/domain/1/data/x", Permissions::private(0)).unwrap();
    assert_eq!(server.permissions("/local/domain/1/data/x").unwrap(), Permissions::private(0));
    assert_eq!(guests[0].read(&mut server, 0, "data/x"), Err("EACCES".into()));
    assert_eq!(server.directory("/local/domain").unwrap(), ["1"]);
    server.rm("/local/domain/1").unwrap();
    assert_eq!(guests[0].read(&mut server, 0, "name"), Err("EACCES".into()));
}
