use std::rc::Rc;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use futures_lite::future::{block_on, or, zip};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use super::{Addressing, PingError, SECOND, Stack};
use crate::dhcp::Settings;
use crate::link::Link;
use crate::packet::Packet;
use crate::switch::{Port, Role, Switch};
use crate::testing::{A, B, C, Clock, frame};

fn ip(last: u8) -> Ipv4Address {
    Ipv4Address::new(192, 168, 42, last)
}

fn settings() -> Settings {
    Settings {
        network: Ipv4Cidr::new(ip(1), 24),
        pool: ip(10)..=ip(20),
        lease: 600,
        router: Some(ip(1)),
        dns: vec![],
        domain: None,
    }
}

fn with_server(kernel: &Rc<Clock>, switch: &Switch) -> Stack<Clock> {
    let port = switch.plug("intbr0", "vif0.0", Role::Dom0 { address: A }).unwrap();
    let addressing = Addressing::Static { network: settings().network, gateway: None };
    Stack::new(kernel.clone(), port, addressing, Some(settings()))
}

fn plug(switch: &Switch, name: &str, address: [u8; 6]) -> Rc<Port> {
    switch.plug("intbr0", name, Role::Guest { address, vlan: None }).unwrap()
}

fn switch() -> Switch {
    let switch = Switch::new();
    switch.add("intbr0").unwrap();
    switch
}

/// NET-27: the server, with smoltcp as the client.
#[test]
fn an_address_and_pings() {
    let (kernel, switch) = (Rc::new(Clock::default()), switch());
    let dom0 = with_server(&kernel, &switch);
    let guest = Stack::new(kernel.clone(), plug(&switch, "vif1.0", B), Addressing::Dhcp, None);
    let silent = plug(&switch, "vif2.0", C);
    assert_eq!((guest.address(), guest.gateway()), (None, None));
    let work = async {
        assert_eq!(guest.ping(ip(1), SECOND).await, Err(PingError::NoAddress));
        let address = guest.configured().await;
        assert_eq!((address, guest.gateway()), (Ipv4Cidr::new(ip(12), 24), Some(ip(1))));
        assert_eq!((dom0.leases()[0].client, dom0.leases()[0].address), (B, ip(12)));
        assert!(guest.ping(ip(1), SECOND).await.unwrap() < SECOND);
        let both = zip(dom0.ping(ip(12), SECOND), dom0.ping(ip(13), SECOND)).await;
        assert!(both.0.unwrap() < SECOND);
        assert_eq!(both.1, Err(PingError::NoReply(ip(13))));
        let far = Ipv4Address::new(10, 0, 2, 2);
        assert_eq!(dom0.ping(far, SECOND).await, Err(PingError::NoRoute(far)));
        assert_eq!(
            dom0.ping(Ipv4Address::UNSPECIFIED, SECOND).await.unwrap_err().to_string(),
            "no route to 0.0.0.0"
        );
        assert_eq!(dom0.state.borrow().sockets.iter().count(), 0, "no socket is left");
        // Garbage does not stop it.
        for length in 14..60 {
            silent.send(Packet { bytes: frame(A, C, &"\x45\0".repeat(length)), ..Packet::default() });
        }
        dom0.ping(ip(12), SECOND).await.unwrap();
    };
    block_on(or(work, async {
        zip(dom0.run(), guest.run()).await;
    }));
    assert_eq!(kernel.lines(), ["intbr0: vif1.0 is 192.168.42.12/24, gateway 192.168.42.1"]);
}

/// Between clients and the server nobody else hears what they say, but for broadcasts.
#[test]
fn answers_go_to_the_client_only() {
    let (kernel, switch) = (Rc::new(Clock::default()), switch());
    let dom0 = with_server(&kernel, &switch);
    let guest = Stack::new(kernel.clone(), plug(&switch, "vif1.0", B), Addressing::Dhcp, None);
    let other = plug(&switch, "vif2.0", C);
    block_on(or(
        async {
            guest.configured().await;
        },
        async {
            zip(dom0.run(), guest.run()).await;
        },
    ));
    let heard: Vec<_> =
        core::iter::from_fn(|| other.try_receive()).map(|it| it.bytes[6..12].to_vec()).collect();
    assert!(!heard.is_empty() && heard.iter().all(|source| *source == B));
}
