use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use super::{BridgePlan, Plan, UplinkPlan};
use crate::dhcp::Settings;
use crate::stack::Addressing;
use crate::vlan::VlanId;

fn parsed(words: &[&str]) -> Plan {
    let (plan, wrong) = Plan::parse(words.iter().copied(), 1);
    assert_eq!(wrong, [""; 0]);
    plan
}

fn wrong(words: &[&str]) -> Vec<String> {
    Plan::parse(words.iter().copied(), 1).1
}

fn address(text: &str) -> Ipv4Address {
    text.parse().unwrap()
}

fn internal(name: &str, own: &str, first: &str, last: &str) -> BridgePlan {
    let network = Ipv4Cidr::new(address(own), 24);
    BridgePlan {
        name: name.into(),
        uplink: None,
        addressing: Some(Addressing::Static { network, gateway: None }),
        dhcp: Some(Settings {
            network,
            pool: address(first)..=address(last),
            lease: 43200,
            router: None,
            dns: vec![],
            domain: None,
        }),
    }
}

fn external(name: &str, card: u8, vlan: Option<u16>) -> BridgePlan {
    let vlan = vlan.and_then(VlanId::new);
    let addressing = vlan.is_none().then_some(Addressing::Dhcp);
    BridgePlan { name: name.into(), uplink: Some(UplinkPlan { card, vlan }), addressing, dhcp: None }
}

#[test]
fn without_words() {
    let usual = internal("intbr0", "192.168.42.1", "192.168.42.1", "192.168.42.254");
    assert_eq!(Plan::parse(["quiet"], 0).0.bridges, std::slice::from_ref(&usual));
    assert_eq!(
        Plan::parse::<&str>([], 2).0.bridges,
        [external("xenbr0", 0, None), external("xenbr1", 1, None), usual]
    );
}

#[test]
fn words_are_read() {
    let plan =
        parsed(&["noshell", "bridge=xenbr0,uplink=eth0", "bridge=gextbr1,uplink=peth0.10", "bridge=gintbr3"]);
    let guests = BridgePlan { name: "gintbr3".into(), uplink: None, addressing: None, dhcp: None };
    assert_eq!(plan.bridges, [external("xenbr0", 0, None), external("gextbr1", 0, Some(10)), guests]);
    let plan = parsed(&["bridge=intbr0,ip=192.168.100.1/24,dhcp=192.168.100.10-192.168.100.99"]);
    let expected = internal("intbr0", "192.168.100.1", "192.168.100.10", "192.168.100.99");
    assert_eq!(plan.bridges, [expected]);
    let all =
        "bridge=intbr1,ip=10.1.0.1/16,gateway=10.1.0.9,dhcp,dns=10.1.0.1+8.8.8.8,domain=lab.test,lease=60";
    let settings = parsed(&[all]).bridges.remove(0).dhcp.unwrap();
    assert_eq!(settings.pool, address("10.1.0.1")..=address("10.1.255.254"));
    assert_eq!((settings.router, settings.lease), (Some(address("10.1.0.9")), 60));
    assert_eq!(settings.dns, [address("10.1.0.1"), address("8.8.8.8")]);
    assert_eq!(settings.domain.as_deref(), Some("lab.test"));
    assert_eq!(parsed(&["bridge=none"]), Plan::default());
    assert_eq!(parsed(&["bridge=xenbr0,uplink=eth0,ip=none"]).bridges[0].addressing, None);
}

#[test]
fn what_is_wrong_is_told() {
    let key = "keys are uplink=, ip=, gateway=, dhcp, dns=, domain= and lease=";
    let ip = "expected ADDRESS/LENGTH with a length from 8 to 30 and an address of a host, `dhcp` or `none`";
    let uplink = "expected ethN, or ethN.VLAN with a VLAN from 1 to 4094";
    let cases = [
        (
            "br0",
            "no bridge can be called `br0`: names are xenbrN, gextbrN, intbrN or gintbrN, N from 0 to 127"
                .into(),
        ),
        ("intbr0,speed=9", std::format!("`speed=9`: {key}")),
        ("intbr0,", std::format!("``: {key}")),
        ("intbr0,ip=10.0.0.1", std::format!("`ip=10.0.0.1`: {ip}")),
        ("intbr0,ip=10.0.0.0/24", std::format!("`ip=10.0.0.0/24`: {ip}")),
        ("intbr0,ip=10.0.0.255/24", std::format!("`ip=10.0.0.255/24`: {ip}")),
        ("intbr0,ip=224.0.0.1/8", std::format!("`ip=224.0.0.1/8`: {ip}")),
        ("intbr0,ip=10.0.0.1/31", std::format!("`ip=10.0.0.1/31`: {ip}")),
        ("intbr0,ip=10.0.0.1/+9", std::format!("`ip=10.0.0.1/+9`: {ip}")),
        ("xenbr0,uplink=wlan0", std::format!("`uplink=wlan0`: {uplink}")),
        ("xenbr0,uplink=eth", std::format!("`uplink=eth`: {uplink}")),
        ("xenbr0,uplink=eth256", std::format!("`uplink=eth256`: {uplink}")),
        ("gextbr0,uplink=eth0.4095", std::format!("`uplink=eth0.4095`: {uplink}")),
        ("gextbr0,uplink=eth0.0", std::format!("`uplink=eth0.0`: {uplink}")),
        ("intbr0,uplink=eth0", "`uplink=` is for xenbrN and gextbrN".into()),
        ("xenbr0,uplink=eth0.10", "a VLAN of a card is for gextbrN".into()),
        ("gextbr0,uplink=eth0,ip=dhcp", "Dom0 has an address at xenbrN and intbrN only".into()),
        ("intbr0,ip=dhcp,ip=dhcp", "`ip` is there twice".into()),
        (
            "intbr0,ip=10.0.0.1/24,gateway=10.0.1.1",
            "`gateway=` is an address of the network that `ip=ADDRESS/LENGTH` says".into(),
        ),
        ("intbr0,gateway=x", "`gateway=x`: expected an address, A.B.C.D".into()),
        ("intbr0,dhcp", "`dhcp` needs Dom0's address: `ip=ADDRESS/LENGTH`".into()),
        ("xenbr0,uplink=eth0,dhcp", "`dhcp` needs Dom0's address: `ip=ADDRESS/LENGTH`".into()),
        (
            "intbr0,ip=10.0.0.1/24,dhcp=10.0.0.9",
            "`dhcp=10.0.0.9`: expected FIRST-LAST, or `dhcp` alone for all of the network".into(),
        ),
        (
            "intbr0,ip=10.0.0.1/24,dhcp=10.0.0.9-10.0.0.8",
            "`dhcp=10.0.0.9-10.0.0.8`: expected the first and the last one of addresses in 10.0.0.1/24"
                .into(),
        ),
        (
            "intbr0,ip=10.0.0.1/24,dhcp=10.0.0.9-10.0.0.255",
            "`dhcp=10.0.0.9-10.0.0.255`: expected the first and the last one of addresses in 10.0.0.1/24"
                .into(),
        ),
        (
            "intbr0,ip=10.0.0.1/24,lease=60",
            "`dns=`, `domain=` and `lease=` are for a DHCP server: `dhcp`".into(),
        ),
        ("intbr0,lease=59", "`lease=59`: expected at least 60 seconds".into()),
        (
            "intbr0,dns=1.1.1.1+2.2.2.2+3.3.3.3+4.4.4.4",
            "`dns=1.1.1.1+2.2.2.2+3.3.3.3+4.4.4.4`: expected one to three addresses with `+` between".into(),
        ),
        ("intbr0,domain=a_b", "`domain=a_b`: expected 1 to 63 letters, digits, `-` or `.`".into()),
    ];
    for (word, reason) in cases {
        let expected: String = std::format!("`bridge={word}`: {reason}");
        assert_eq!(wrong(&[&std::format!("bridge={word}")]), [expected]);
    }
}

#[test]
fn bridges_share_nothing() {
    let (plan, wrong) = Plan::parse(
        [
            "bridge=xenbr0,uplink=eth0",
            "bridge=xenbr1,uplink=eth0",
            "bridge=xenbr0,uplink=eth1",
            "bridge=gextbr0,uplink=eth0.5",
            "bridge=gextbr1,uplink=eth0.5",
            "bridge=intbr0,ip=10.1.0.1/16",
            "bridge=intbr1,ip=10.1.9.1/24",
        ],
        1,
    );
    let names: Vec<&str> = plan.bridges.iter().map(|bridge| &bridge.name[..]).collect();
    assert_eq!(names, ["xenbr0", "gextbr0", "intbr0"]);
    assert_eq!(
        wrong,
        [
            "`bridge=xenbr1,uplink=eth0`: already used `eth0` at bridge `xenbr0`",
            "`bridge=xenbr0,uplink=eth1`: `xenbr0` is there already",
            "`bridge=gextbr1,uplink=eth0.5`: already used `eth0.5` at bridge `gextbr0`",
            "`bridge=intbr1,ip=10.1.9.1/24`: the network 10.1.9.1/24 is that of `intbr0` too: take another one",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the words are, a pool is in its network.
    #[test]
    fn garbage_is_survived(parts in prop::collection::vec(prop::sample::select(&[
        "xenbr0", "intbr0", "gintbr1", ",", ",", "=", "uplink=eth0", "ip=10.0.0.1/30", "ip=dhcp", "dhcp", "dhcp=",
        "10.0.0.1-10.0.0.2", "-", "/", ".", "10", "gateway=10.0.0.2", "dns=1.1.1.1", "+", "lease=99", "é",
    ][..]), 0..12)) {
        let word = std::format!("bridge={}", parts.concat());
        let (plan, wrong) = Plan::parse([&word[..]], 1);
        prop_assert!(plan.bridges.len() + wrong.len() == 1);
        for settings in plan.bridges.into_iter().filter_map(|bridge| bridge.dhcp) {
            prop_assert!(settings.network.contains_addr(settings.pool.start()));
            prop_assert!(settings.network.contains_addr(settings.pool.end()));
        }
    }
}
