//! Introducing and releasing domains.

use xen_abi::errno::Errno;
use xen_abi::io::xs_wire::XsMessage;
use xen_store::{Effect, Server};

use crate::client::{CONNECTION, ERROR, FEATURES, Guest, RSP_PROD, furnish, server_with};

/// Sends a request whose answer waits for the kernel; the effect.
fn demand(guest: &mut Guest, server: &mut Server, kind: XsMessage, payload: &str) -> Effect {
    let length = u32::try_from(payload.len()).unwrap();
    let head: Vec<u8> = [kind.get(), 77, 0, length].into_iter().flat_map(u32::to_le_bytes).collect();
    guest.put(&[&head, payload.as_bytes()].concat());
    guest.serve(server).effect.unwrap()
}

fn answer(guest: &mut Guest, server: &mut Server) -> (u32, Vec<u8>) {
    let _ = guest.serve(server);
    guest.get();
    let message = guest.message().unwrap();
    assert_eq!(message.req_id, 77);
    (message.kind, message.payload)
}

#[test]
fn introduction_waits_for_the_ring() {
    let mut server = Server::default();
    let mut zero = Guest::new(&mut server, 0);
    let effect = demand(&mut zero, &mut server, XsMessage::Introduce, "5\x001234\x003\0");
    let Effect::Introduce(introduction) = effect else { panic!("{effect:?}") };
    assert_eq!((introduction.domain, introduction.frame, introduction.port), (5, 1234, 3));
    assert!(!server.is_introduced(5));
    assert!(server.complete(&introduction, Ok(())).is_some());
    assert_eq!(answer(&mut zero, &mut server), (XsMessage::Introduce.get(), b"OK\0".to_vec()));
    assert_eq!(zero.text(&mut server, XsMessage::IsDomainIntroduced, 0, "5\0").unwrap(), "T\0");
}

#[test]
fn a_ring_that_cannot_be_mapped_is_an_error() {
    let mut server = Server::default();
    let mut zero = Guest::new(&mut server, 0);
    let effect = demand(&mut zero, &mut server, XsMessage::Introduce, "5\x001\x003\0");
    let Effect::Introduce(introduction) = effect else { panic!("{effect:?}") };
    assert_eq!(server.complete(&introduction, Err(Errno::ENOMEM)), None);
    assert_eq!(answer(&mut zero, &mut server), (XsMessage::Error.get(), b"ENOMEM\0".to_vec()));
    assert!(!server.is_introduced(5));
}

#[test]
fn release_forgets_the_domain() {
    let (mut server, _guests) = server_with(&[5]);
    let mut zero = Guest::new(&mut server, 0);
    let effect = demand(&mut zero, &mut server, XsMessage::Release, "5\0");
    assert_eq!(effect, Effect::Release(5));
    assert_eq!(answer(&mut zero, &mut server), (XsMessage::Release.get(), b"OK\0".to_vec()));
    assert_eq!(zero.text(&mut server, XsMessage::IsDomainIntroduced, 0, "5\0").unwrap(), "F\0");
    assert_eq!(zero.text(&mut server, XsMessage::Release, 0, "5\0"), Err("ENOENT".into()));
}

#[test]
fn arguments_are_checked() {
    let (mut server, _guests) = server_with(&[5]);
    let mut zero = Guest::new(&mut server, 0);
    for payload in ["0\x001\x001\0", "5\x001\x000\0", "5\x001\0", "x\x001\x001\0", "32752\x001\x001\0", ""] {
        assert_eq!(
            zero.text(&mut server, XsMessage::Introduce, 0, payload),
            Err("EINVAL".into()),
            "{payload}"
        );
    }
    for (payload, error) in [("0\0", "EINVAL"), ("9\0", "ENOENT"), ("5", "EINVAL"), ("65536\0", "EINVAL")] {
        for kind in [XsMessage::Release, XsMessage::Resume] {
            assert_eq!(zero.text(&mut server, kind, 0, payload), Err(error.into()), "{payload}");
        }
    }
    assert_eq!(zero.text(&mut server, XsMessage::SetTarget, 0, "5\x009\0"), Err("ENOENT".into()));
    assert_eq!(zero.text(&mut server, XsMessage::Resume, 0, "5\0").unwrap(), "OK\0");
    assert!(zero.text(&mut server, XsMessage::Control, 0, "help\0").unwrap().contains("help"));
    assert_eq!(zero.text(&mut server, XsMessage::Control, 0, "live-update\0-s\0"), Err("EINVAL".into()));
}

#[test]
fn guests_do_not_manage_domains() {
    let (mut server, mut guests) = server_with(&[1]);
    let kinds = [
        XsMessage::Introduce,
        XsMessage::Release,
        XsMessage::Resume,
        XsMessage::SetTarget,
        XsMessage::IsDomainIntroduced,
        XsMessage::Control,
    ];
    for kind in kinds {
        assert_eq!(guests[0].text(&mut server, kind, 0, "1\x001\x001\0"), Err("EACCES".into()), "{kind:?}");
    }
    let path = guests[0].text(&mut server, XsMessage::GetDomainPath, 0, "007\0").unwrap();
    assert_eq!(path, "/local/domain/7\0");
}

#[test]
fn introduced_again_it_starts_afresh() {
    let (mut server, mut guests) = server_with(&[1]);
    guests[0].watch(&mut server, "data", "t").unwrap();
    let tx = guests[0].start(&mut server).unwrap();
    let nodes = server.nodes();
    let mut again = Guest::new(&mut server, 1);
    assert_eq!(again.connection(), guests[0].connection());
    again.write(&mut server, 0, "data", "1").unwrap();
    assert_eq!(again.take_events(&mut server), Vec::<String>::new());
    assert_eq!(again.end(&mut server, tx, true), Err("ENOENT".into()));
    assert_eq!(server.nodes(), nodes, "its nodes are untouched");
}

#[test]
fn a_domain_leaves_nothing_for_the_next_of_its_id() {
    let (mut server, mut guests) = server_with(&[1, 2]);
    let [first, second] = &mut guests[..] else { panic!("two guests") };
    first.write(&mut server, 0, "data/x/y", "1").unwrap();
    second.write(&mut server, 0, "data/shared", "for 1").unwrap();
    second.set_permissions(&mut server, "data/shared", "n2 r1 r3").unwrap();
    let task = server.open();
    server.watch_path(task, "/local/domain/1/data", b"t").unwrap();
    server.take_event(task);
    server.release(1);
    assert_eq!(server.read("/local/domain/1/data"), Err(Errno::ENOENT));
    assert_eq!(server.directory("/local/domain/1").unwrap(), ["device", "domid", "name"], "domain 0's stay");
    assert_eq!(second.permissions(&mut server, "data/shared").unwrap(), "n2 r3");
    let told: Vec<_> = std::iter::from_fn(|| server.take_event(task)).collect();
    assert!(!told.is_empty());
    let mut next = Guest::new(&mut server, 1);
    assert_eq!(next.read(&mut server, 0, "/local/domain/2/data/shared"), Err("EACCES".into()));
    assert_eq!(next.read(&mut server, 0, "name"), Err("EACCES".into()), "1 was named there");
}

#[test]
fn a_domain_that_was_never_introduced_leaves_nothing_either() {
    let mut server = Server::default();
    let task = server.open();
    furnish(&mut server, 4);
    server.watch_path(task, "@releaseDomain", b"").unwrap();
    server.take_event(task);
    server.release(4);
    assert_eq!(server.read("/local/domain/4/data"), Err(Errno::ENOENT));
    assert_eq!(server.take_event(task), None);
    server.release(0);
    assert_eq!(server.directory("/").unwrap(), ["local"]);
}

#[test]
fn the_page_says_what_the_server_offers() {
    let mut server = Server::default();
    let guest = Guest::new(&mut server, 1);
    assert_eq!(guest.page.word(FEATURES), 3);
    assert_eq!([CONNECTION, ERROR, RSP_PROD].map(|offset| guest.page.word(offset)), [0; 3]);
}
