//! What Linux's xenbus does: at start, for a front end, for `xl shutdown` (PVD-09).

use xen_abi::io::xs_wire::XsMessage;
use xen_store::{Permissions, Server};

use crate::client::{Guest, furnish, server_with};

/// Back end's and front end's nodes of a disk, as the toolstack makes them.
fn add_disk(server: &mut Server, domain: u16) {
    let front = format!("/local/domain/{domain}/device/vbd/51712");
    let back = format!("/local/domain/0/backend/vbd/{domain}/51712");
    let made = server.transaction(|store| {
        store.rm(&front)?;
        store.mkdir(&front)?;
        store.set_permissions(&front, Permissions::readable_by(domain, 0))?;
        store.write(&format!("{front}/backend"), back.as_bytes())?;
        store.write(&format!("{front}/backend-id"), b"0")?;
        store.write(&format!("{front}/virtual-device"), b"51712")?;
        store.write(&format!("{front}/state"), b"1")?;
        store.mkdir(&back)?;
        store.set_permissions(&back, Permissions::readable_by(0, domain))?;
        store.write(&format!("{back}/frontend"), front.as_bytes())?;
        store.write(&format!("{back}/state"), b"1")
    });
    made.unwrap();
}

/// `xs_init`, `xenbus_probe`: the bus's watch and a walk over it.
fn probe(server: &mut Server, guest: &mut Guest) {
    guest.text(server, XsMessage::ResetWatches, 0, "\0").unwrap();
    guest.watch(server, "device", "ffffffff82a01234").unwrap();
    assert_eq!(guest.take_events(server), ["device ffffffff82a01234"]);
    for (path, names) in [("device", vec!["vbd"]), ("device/vbd", vec!["51712"])] {
        assert_eq!(guest.directory(server, 0, path).unwrap(), names);
    }
    for path in ["control/shutdown", "control/sysrq", "memory/target", "cpu"] {
        guest.watch(server, path, &format!("token-{}", path.len())).unwrap();
    }
    guest.take_events(server);
}

/// `talk_to_blkback`: the front end's details in one transaction, again while that conflicts.
fn connect_front_end(server: &mut Server, guest: &mut Guest) {
    let front = "device/vbd/51712";
    loop {
        let tx = guest.start(server).unwrap();
        for (name, value) in [("ring-ref", "8"), ("event-channel", "6"), ("protocol", "x86_64-abi")] {
            guest.write(server, tx, &format!("{front}/{name}"), value).unwrap();
        }
        match guest.end(server, tx, true) {
            Ok(()) => break,
            Err(error) => assert_eq!(error, "EAGAIN"),
        }
    }
    assert_eq!(guest.read(server, 0, &format!("{front}/state")).unwrap(), "1");
    guest.write(server, 0, &format!("{front}/state"), "3").unwrap();
}

/// A whole start, with `piece` bytes of requests at a time.
fn boot(piece: usize) {
    let mut server = Server::default();
    furnish(&mut server, 1);
    server.mkdir("/local/domain/1/device").unwrap();
    for path in ["device", "device/vbd"] {
        let path = format!("/local/domain/1/{path}");
        server.set_permissions(&path, Permissions::readable_by(0, 1)).unwrap();
    }
    add_disk(&mut server, 1);
    let back_end = server.open();
    server.watch_path(back_end, "/local/domain/1/device/vbd/51712/state", b"back").unwrap();
    server.take_event(back_end);

    let mut guest = Guest::new(&mut server, 1);
    guest.piece = piece;
    probe(&mut server, &mut guest);
    assert_eq!(guest.read(&mut server, 0, "domid").unwrap(), "1");

    // The driver: find the back end, watch its state, answer it.
    let back = guest.read(&mut server, 0, "device/vbd/51712/backend").unwrap();
    let state = format!("{back}/state");
    guest.watch(&mut server, &state, "ffff888003a3d0a8").unwrap();
    guest.take_events(&mut server);
    server.write(&state, b"2").unwrap();
    assert_eq!(guest.take_events(&mut server), [format!("{state} ffff888003a3d0a8")]);
    assert_eq!(guest.read(&mut server, 0, &state).unwrap(), "2");
    connect_front_end(&mut server, &mut guest);
    assert_eq!(&*server.take_event(back_end).unwrap().path, "/local/domain/1/device/vbd/51712/state");
    assert_eq!(*server.read("/local/domain/1/device/vbd/51712/state").unwrap(), *b"3");
    assert_eq!(*server.read("/local/domain/1/device/vbd/51712/event-channel").unwrap(), *b"6");
    let own = guest.take_events(&mut server);
    let names = ["ring-ref", "event-channel", "protocol", "state"];
    assert_eq!(own, names.map(|name| format!("device/vbd/51712/{name} ffffffff82a01234")));
    server.write(&state, b"4").unwrap();
    assert_eq!(guest.take_events(&mut server).len(), 1);
    shut_down(&mut server, &mut guest);
}

/// `shutdown_handler`: reads and clears the wish in one transaction.
fn shut_down(server: &mut Server, guest: &mut Guest) {
    guest.write(server, 0, "control/feature-poweroff", "1").unwrap();
    server.write("/local/domain/1/control/shutdown", b"poweroff").unwrap();
    assert_eq!(guest.take_events(server), ["control/shutdown token-16"]);
    let tx = guest.start(server).unwrap();
    assert_eq!(guest.read(server, tx, "control/shutdown").unwrap(), "poweroff");
    guest.write(server, tx, "control/shutdown", "").unwrap();
    guest.end(server, tx, true).unwrap();
    assert_eq!(guest.take_events(server), ["control/shutdown token-16"]);
    assert_eq!(*server.read("/local/domain/1/control/shutdown").unwrap(), *b"");
}

#[test]
fn a_guest_starts_and_stops() {
    boot(1024);
}

#[test]
fn a_guest_may_write_its_requests_byte_by_byte() {
    boot(1);
    boot(13);
}

#[test]
fn a_front_end_tries_again_after_a_conflict() {
    let (mut server, mut guests) = server_with(&[1]);
    let guest = &mut guests[0];
    let tx = guest.start(&mut server).unwrap();
    guest.write(&mut server, tx, "device/vbd/51712/ring-ref", "8").unwrap();
    server.write("/local/domain/1/device/vbd/51712", b"meddled with").unwrap();
    assert_eq!(guest.end(&mut server, tx, true), Err("EAGAIN".into()));
    guest.write(&mut server, 0, "device/vbd/51712/state", "1").unwrap();
    connect_front_end(&mut server, guest);
}
