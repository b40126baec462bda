//! A network interface as `vif=` describes it (`xl-network-configuration`(5)):
//! `mac=02:17:42:2F:00:01,bridge=xenbr0,rate=10Mb/s`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::domain::Vif;
use crate::mac;
use crate::spec::{Wrong, is_dom0};

/// Characters of the longest name of an interface or bridge (`IFNAMSIZ` less its NUL).
const LONGEST: usize = 15;

/// Reads an interface's text, which may be empty; with it, what of it does nothing.
///
/// # Errors
///
/// Why it is refused.
pub fn parse(text: &str) -> Result<(Vif, Vec<String>), Wrong> {
    let mut vif = Vif { mac: None, bridge: None, name: None, rate: None };
    let mut notes = Vec::new();
    for field in text.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        match field.split_once('=') {
            Some((key, value)) => add(&mut vif, key, value, &mut notes)?,
            None if field == "trusted" => {}
            None if field == "untrusted" => notes.push("`untrusted` does nothing here".to_string()),
            None => return Err(unknown(field)),
        }
    }
    Ok((vif, notes))
}

fn add(vif: &mut Vif, key: &str, value: &str, notes: &mut Vec<String>) -> Result<(), Wrong> {
    let mut note = |why: &str| {
        notes.push(format!("`{key}=` does nothing here: {why}"));
        Ok(())
    };
    match key {
        "mac" => {
            vif.mac =
                Some(mac::parse(value).map_err(|error| Wrong::new(format!("{error}, found `{value}`")))?);
            Ok(())
        }
        "bridge" => set_name(key, &mut vif.bridge, value),
        "vifname" => set_name(key, &mut vif.name, value),
        "rate" => rate(value).map(|(rate, interval)| {
            vif.rate = Some(rate);
            if interval {
                notes.push("the interval of `rate=` does nothing here".to_string());
            }
        }),
        "type" if value == "vif" => Ok(()),
        "type" if value == "ioemu" => {
            note("a device model would emulate the card; the guest has a split driver")
        }
        "type" => Err(Wrong::new(format!("expected the type vif, found `{value}`"))),
        "model" => note("a device model would emulate the card; the guest has a split driver"),
        "ip" | "devid" | "mtu" | "accel" => note("interfaces are at bridges, in their order"),
        "script" if is_bridge_script(value) => Ok(()),
        "script" => Err(Wrong::with(
            "`script=` cannot be had: Dom0 runs no scripts",
            "interfaces are at bridges: bridge=",
        )),
        "gatewaydev" | "netdev" => {
            let help = "interfaces are at bridges: bridge=";
            Err(Wrong::with(format!("`{key}=` cannot be had: Dom0 does not route"), help))
        }
        "vlan" => {
            let help = "a VLAN is named behind its bridge: bridge=gextbr0.10";
            Err(Wrong::with("`vlan=` cannot be had", help))
        }
        "backend" if is_dom0(value) => Ok(()),
        "backend" => Err(Wrong::new("`backend=` cannot be had: back ends run in Dom0")),
        _ => Err(unknown(key)),
    }
}

fn unknown(key: &str) -> Wrong {
    Wrong::with(format!("unknown key `{key}`"), "keys are mac=, bridge=, vifname= and rate=")
}

/// Bridges are all that there is, so this script asks for nothing.
fn is_bridge_script(value: &str) -> bool {
    matches!(value.rsplit('/').next(), Some("" | "vif-bridge"))
}

fn set_name(key: &str, slot: &mut Option<String>, value: &str) -> Result<(), Wrong> {
    let other = |c: char| !c.is_ascii_graphic() || matches!(c, '/' | ':' | '"' | '\\');
    let good = (1..=LONGEST).contains(&value.len()) && !value.contains(other) && !matches!(value, "." | "..");
    if !good {
        let message =
            format!("expected 1 to {LONGEST} letters, digits, `.`, `_` or `-` for `{key}=`, found `{value}`");
        return Err(Wrong::new(message));
    }
    *slot = Some(value.to_string());
    Ok(())
}

/// `10Mb/s`, `1250KB/s@20ms`: bytes a second, and whether there is an interval.
fn rate(text: &str) -> Result<(u64, bool), Wrong> {
    let (speed, interval) = text.split_once('@').map_or((text, None), |(speed, after)| (speed, Some(after)));
    let known = bytes_per_second(speed).filter(|&rate| rate > 0);
    let known = known.filter(|_| interval.is_none_or(is_interval));
    known.map(|rate| (rate, interval.is_some())).ok_or_else(|| {
        Wrong::new(format!("expected a rate as 10Mb/s (bits) or 1250KB/s (bytes), found `{text}`"))
    })
}

fn bytes_per_second(text: &str) -> Option<u64> {
    let (amount, bits) = match text.strip_suffix("B/s") {
        Some(amount) => (amount, false),
        None => (text.strip_suffix("b/s")?, true),
    };
    let (number, unit) = match amount.as_bytes().last()? {
        b'K' => (amount.strip_suffix('K')?, 1_000),
        b'M' => (amount.strip_suffix('M')?, 1_000_000),
        b'G' => (amount.strip_suffix('G')?, 1_000_000_000),
        _ => (amount, 1),
    };
    let speed = digits(number)?.checked_mul(unit)?;
    Some(if bits { speed / 8 } else { speed })
}

/// `50ms`, `100us`, `1s`, `1`.
fn is_interval(text: &str) -> bool {
    let number = text.strip_suffix('s').unwrap_or(text);
    let number = number.strip_suffix(['m', 'u']).unwrap_or(number);
    digits(number).is_some_and(|number| number > 0)
}

fn digits(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Vif = Vif { mac: None, bridge: None, name: None, rate: None };

    fn parsed(text: &str) -> Vif {
        parse(text).unwrap_or_else(|wrong| panic!("{text}: {}", wrong.message)).0
    }

    /// NET-07.
    #[test]
    fn the_usual_line() {
        let mac = Some([2, 0x17, 0x42, 0x2f, 6, 0x76]);
        let expected = Vif { mac, bridge: Some("xenbr0".into()), ..NONE };
        assert_eq!(parsed("mac=02:17:42:2F:06:76,bridge=xenbr0"), expected);
        assert_eq!(parsed(" mac=02:17:42:2F:06:76, bridge=xenbr0, script=vif-bridge, type=vif "), expected);
        assert_eq!(parsed(""), NONE);
        assert_eq!(parsed("vifname=web.0").name.as_deref(), Some("web.0"));
    }

    #[test]
    fn rates() {
        let rate = |text: &str| parse(&format!("rate={text}")).map(|(vif, notes)| (vif.rate, notes.len()));
        assert_eq!(rate("10Mb/s"), Ok((Some(1_250_000), 0)));
        assert_eq!(rate("250KB/s"), Ok((Some(250_000), 0)));
        assert_eq!(rate("1GB/s@20ms"), Ok((Some(1_000_000_000), 1)));
        assert_eq!(rate("8b/s@1"), Ok((Some(1), 1)));
        for bad in
            ["", "10", "10M", "Mb/s", "-1B/s", "+1B/s", "0B/s", "1b/s", "1TB/s", "99999999999GB/s", "1B/s@x"]
        {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            ("mac=02:17:42:2F:06", "expected a MAC address as 02:17:42:2F:00:01, found `02:17:42:2F:06`"),
            (
                "mac=03:17:42:2F:00:01",
                "the first byte of an interface's MAC address is even; this one is of a group, found `03:17:42:2F:00:01`",
            ),
            ("script=vif-route", "`script=` cannot be had: Dom0 runs no scripts"),
            ("gatewaydev=eth0", "`gatewaydev=` cannot be had: Dom0 does not route"),
            ("backend=1", "`backend=` cannot be had: back ends run in Dom0"),
            ("vlan=10", "`vlan=` cannot be had"),
            ("type=nic", "expected the type vif, found `nic`"),
            ("colour=red", "unknown key `colour`"),
            ("xenbr0", "unknown key `xenbr0`"),
            ("bridge=", "expected 1 to 15 letters, digits, `.`, `_` or `-` for `bridge=`, found ``"),
            ("bridge=a/b", "expected 1 to 15 letters, digits, `.`, `_` or `-` for `bridge=`, found `a/b`"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).expect_err(text).message, expected);
        }
    }

    #[test]
    fn what_does_nothing_is_told() {
        let (vif, notes) = parse("type=ioemu,model=e1000,ip=10.0.0.1,untrusted,trusted").unwrap();
        assert_eq!((vif, notes.len()), (NONE, 4));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_text(pieces in prop::collection::vec(prop_oneof![
            prop::sample::select(alloc::vec![
                "mac=", "bridge=", "rate=", "vifname=", "02:17:42:2F:00:01", "10Mb/s", "@", ",", "=", "é",
            ]).prop_map(String::from),
            any::<String>(),
        ], 0..8)) {
            if let Ok((vif, _)) = parse(&pieces.concat()) {
                prop_assert!(vif.mac.is_none_or(|mac| mac[0] & 1 == 0));
                prop_assert!(vif.bridge.is_none_or(|bridge| (1..=LONGEST).contains(&bridge.len())));
            }
        }
    }
}
