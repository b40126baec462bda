//! Whole files: rules that cross parameters, samples, round trips.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use crate::domain::{Action, Affinity, Disk, DiskFormat, DomainConfig, PcpuSpec, Vif};
use crate::{Loaded, load, write};

/// What every good file has.
const BASE: &str = "type = 'pvh'\nname = 'web'\nkernel = 'vmlinuz'\nmemory = 512\n";

fn with(more: &str) -> Loaded {
    load("web.cfg", format!("{BASE}{more}\n"), &[] as &[&str])
}

/// A domain without warnings.
fn good(more: &str) -> DomainConfig {
    let (config, warnings) = warned(more);
    assert_eq!(warnings, [""; 0], "{more}");
    config
}

/// A domain and its warnings.
fn warned(more: &str) -> (DomainConfig, Vec<String>) {
    let (config, found) = with(more).unwrap_or_else(|found| panic!("{more}: {:?}", messages(&found)));
    let warnings = messages(&found);
    (config, warnings)
}

/// The messages of a file that is refused.
fn refused(more: &str) -> Vec<String> {
    messages(&with(more).expect_err(more))
}

fn messages(found: &[crate::diagnostic::Diagnostic]) -> Vec<String> {
    found.iter().map(|it| it.message.clone()).collect()
}

fn shown(loaded: Loaded) -> String {
    let found = loaded.map_or_else(|found| found, |(_, found)| found);
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_not_named() {
    let expected = DomainConfig {
        name: "web".into(),
        uuid: None,
        kernel: "vmlinuz".into(),
        ramdisk: None,
        command_line: String::new(),
        memory_kib: 512 << 10,
        max_memory_kib: 512 << 10,
        vcpus: 1,
        max_vcpus: 1,
        cpus: Affinity::Any,
        cpus_soft: Affinity::Any,
        // T-11.
        weight: 256,
        // T-15.
        cap: 0,
        on_poweroff: Action::Destroy,
        on_reboot: Action::Restart,
        on_crash: Action::Destroy,
        on_watchdog: Action::Destroy,
        disks: vec![],
        vifs: vec![],
        max_grant_frames: 64,
        max_maptrack_frames: 1024,
        max_event_channels: 1023,
        localtime: false,
        rtc_timeoffset: 0,
    };
    assert_eq!(good(""), expected);
}

#[test]
fn all_errors_at_once() {
    let text = "name = 'a-b'\nvcpus = 33\nmemory = '512M'\nvif = [ 'mac=1' ]\ndisk = [ 'x' \nfoo = (1)\n";
    let shown = shown(load("a.cfg", text, &[] as &[&str]));
    let expected = "\
a.cfg:1:8: error: a domain's name has letters, digits and `_` only, found '-'
    1 | name = 'a-b'
      |        ^^^^^
a.cfg:2:9: error: expected a whole number from 1 to 32 for `vcpus`, found 33
    2 | vcpus = 33
      |         ^^
a.cfg:3:10: error: expected a whole number from 1 to 262144 for `memory`, found `512M`
    3 | memory = '512M'
      |          ^^^^^^
      = help: the unit is MiB, and is not written: memory = 512
a.cfg:4:9: error: expected a MAC address as 02:17:42:2F:00:01, found `1`
    4 | vif = [ 'mac=1' ]
      |         ^^^^^^^
a.cfg:6:1: error: expected `,` or `]`, found `foo`
    6 | foo = (1)
      | ^^^
      = help: is the string before it complete, and has each list its `]`?
a.cfg:6:7: error: expected a string, a number or `[`, found `(`
    6 | foo = (1)
      |       ^
      = help: xl.cfg has strings, numbers and lists only, no Python
a.cfg: warning: `type` is not set: the domain starts as \"pvh\"
      = help: add a line: type = \"pvh\"
a.cfg: error: expected the domain's kernel, found none
      = help: add a line: kernel = \"...\"";
    assert_eq!(shown, expected);
}

#[test]
fn what_is_missing() {
    let expected = [
        "`type` is not set: the domain starts as \"pvh\"",
        "expected the domain's kernel, found none",
        "expected the domain's memory, found none",
        "expected the domain's name, found none",
    ];
    let mut found = messages(&load("a", "", &[] as &[&str]).unwrap_err());
    found.sort();
    let mut expected = expected.map(String::from);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_cannot_be_read_is_not_missing() {
    let found =
        messages(&load("a", "name = \nkernel = x\nmemory = ]\ntype = 1 2\n", &[] as &[&str]).unwrap_err());
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn unknown_parameters_are_ignored() {
    let (_, warnings) = warned("colour = 'red'");
    assert_eq!(warnings, ["unknown parameter `colour`: it is ignored"]);
    let text = shown(with("vcpu = 2"));
    assert!(text.contains("web.cfg:5:1: warning: unknown parameter `vcpu`"), "{text}");
    assert!(text.ends_with("help: did you mean `vcpus`?"), "{text}");
}

#[test]
fn the_last_value_counts() {
    let (config, warnings) = warned("vcpus = 2\nvcpus = 3");
    assert_eq!((config.vcpus, warnings.len()), (3, 1));
    assert_eq!(warnings, ["`vcpus` is set twice: the last value counts"]);
}

#[test]
fn appending() {
    let config = good("extra = 'a'\nextra += ' b'\nvif = ['vifname=a']\nvif += ['vifname=b']\ndisk += []");
    assert_eq!(config.command_line, "a b");
    assert_eq!(config.vifs.len(), 2);
    assert_eq!(
        refused("vif = []\nvif += 'a'").first().unwrap(),
        "expected a list to add to `vif`, found a string"
    );
    assert_eq!(
        refused("extra = 'a'\nextra += ['b']").first().unwrap(),
        "expected a string to add to `extra`, found a list"
    );
    assert_eq!(refused("memory += 1"), ["`+=` cannot be used with the number `memory`"]);
}

#[test]
fn kinds_of_values() {
    assert_eq!(refused("vcpus = [1]"), ["expected one value for `vcpus`, found a list"]);
    assert_eq!(refused("vif = 'mac'"), ["expected a list for `vif`, found one value"]);
    assert_eq!(refused("disk = [[]]"), ["expected a string in `disk`, found a list"]);
    assert_eq!(good("vcpus = '0x4'").vcpus, 4);
}

#[test]
fn the_command_line_adds_lines() {
    let words = ["memory=1024", "vcpus=2;extra='x y'", "name=\"other\""].map(String::from);
    let (config, found) = load("web.cfg", BASE, &words).unwrap();
    assert_eq!(found, []);
    assert_eq!((config.memory_kib, config.vcpus), (1 << 20, 2));
    assert_eq!((config.name.as_str(), config.command_line.as_str()), ("other", "x y"));
}

#[test]
fn errors_of_the_command_line_are_told_there() {
    let text = shown(load("web.cfg", BASE, &["vcpus=2", "name=new"]));
    let expected = "\
<argument 2>:1:6: error: expected a string, a number or `[`, found `new`
    1 | name=new
      |      ^^^
      = help: strings are in quotes: \"new\"";
    assert_eq!(text, expected);
    let text = shown(load("web.cfg", BASE, &["vcpus=0"]));
    assert!(text.starts_with("<argument 1>:1:7: error: "), "{text}");
}

/// T-74.
#[test]
fn size_does_not_matter() {
    for size in [4095, 4096, 100_000] {
        let text = BASE.to_string() + &"#".repeat(size - BASE.len() - 1) + "\n";
        assert_eq!(text.len(), size);
        assert_eq!(load("web.cfg", text, &[] as &[&str]).unwrap().1, []);
    }
}

#[test]
fn files_of_other_systems() {
    let text = "\u{feff}".to_string() + &BASE.replace('\n', "\r\n");
    assert_eq!(load("web.cfg", text, &[] as &[&str]).unwrap(), (good(""), vec![]));
    let found = load("web.cfg", [BASE.as_bytes(), b"extra = '\xe9'\n"].concat(), &[] as &[&str]).unwrap_err();
    assert!(found[0].to_string().starts_with("web.cfg:5:10: error: expected UTF-8"), "{}", found[0]);
}

#[test]
fn types() {
    let typed = |text: &str| load("a", BASE.replace("type = 'pvh'", text), &[] as &[&str]);
    let first = |text: &str| messages(&typed(text).map_or_else(|found| found, |(_, found)| found)).remove(0);
    assert_eq!(first("type = 'hvm'"), "the domain starts as \"pvh\": Kigumi emulates no PC");
    assert_eq!(first("builder = 'hvm'"), "the domain starts as \"pvh\": Kigumi emulates no PC");
    assert!(typed("type = 'hvm'").is_ok() && typed("").is_ok());
    assert!(first("type = 'pv'").starts_with("PV guests cannot be run") && typed("type = 'pv'").is_err());
    assert!(typed("builder = 'generic'").is_err() && typed("builder = 'linux'").is_err());
    assert_eq!(first("type = 'vm'"), "expected \"pvh\" for `type`, found \"vm\"");
    assert_eq!(first("type = 'pvh'; builder = 'hvm'"), "`builder` and `type` contradict each other");
}

#[test]
fn domains_start_from_kernels() {
    let hvm = "type='hvm'\nname='a'\nmemory=1\n";
    for more in ["", "kernel='/usr/lib/xen/boot/hvmloader'", "kernel=''"] {
        let found = messages(&load("a", format!("{hvm}{more}"), &[] as &[&str]).unwrap_err());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("by firmware and a device model"), "{found:?}");
    }
    assert_eq!(
        refused("bios = 'seabios'"),
        ["`bios` cannot be had: there is no firmware; domains start from kernel="]
    );
    assert_eq!(refused("firmware = 'uefi'").len(), 1);
    // CFG-19.
    assert_eq!(refused("bootloader = '/usr/bin/pygrub'").len(), 1);
}

#[test]
fn command_lines() {
    let line = |more: &str| good(more).command_line;
    assert_eq!(line("root='/dev/xvda1'\nextra='ro quiet'"), "root=/dev/xvda1 ro quiet");
    assert_eq!(line("root='/dev/xvda1'"), "root=/dev/xvda1");
    assert_eq!(line("extra='quiet'"), "quiet");
    assert_eq!(line("cmdline='console=hvc0'\nramdisk='initrd'"), "console=hvc0");
    let (config, warnings) = warned("cmdline='a'\nroot='b'\nextra='c'");
    assert_eq!((config.command_line.as_str(), warnings.len()), ("a", 2));
}

/// T-43, T-44, T-48, MEM-05, MEM-07.
#[test]
fn memory() {
    let sizes = |more: &str| {
        let config =
            load("a", BASE.replace("memory = 512", more), &[] as &[&str]).map_err(|it| messages(&it))?.0;
        Ok::<_, Vec<String>>((config.memory_kib, config.max_memory_kib))
    };
    let bad = |more: &str| sizes(more).unwrap_err().remove(0);
    assert_eq!(sizes("memory=1024\nmaxmem=1024"), Ok((1_048_576, 1_048_576)));
    assert_eq!(sizes("memory=512\nmaxmem=1024"), Ok((524_288, 1_048_576)));
    assert_eq!(sizes("maxmem=256"), Ok((262_144, 262_144)));
    assert_eq!(sizes("memory=262144"), Ok((268_435_456, 268_435_456)));
    assert_eq!(bad("memory=1025\nmaxmem=1024"), "`memory` is 1025 MiB, more than the 1024 MiB of `maxmem`");
    let expected = "expected a whole number from 1 to 262144 for `memory`, found ";
    assert_eq!(bad("memory=0.5"), format!("{expected}`0.5`"));
    assert_eq!(bad("memory='512 MB'"), format!("{expected}`512 MB`"));
    assert_eq!(sizes("memory = [512]").unwrap_err(), ["expected one value for `memory`, found a list"]);
    assert!(!shown(with("memory = 0")).contains("the unit is MiB"));
    assert_eq!(bad("memory=0"), format!("{expected}0"));
    assert_eq!(bad("memory=-1"), format!("{expected}-1"));
    assert_eq!(bad("memory=262145"), format!("{expected}262145"));
    assert_eq!(bad("memory=99999999999999999999"), format!("{expected}99999999999999999999"));
}

/// CFG-05.
#[test]
fn vcpus() {
    let vcpus = |more: &str| {
        let config = good(more);
        (config.vcpus, config.max_vcpus)
    };
    assert_eq!(vcpus("vcpus=32"), (32, 32));
    assert_eq!(vcpus("vcpus=2\nmaxvcpus=4"), (2, 4));
    assert_eq!(vcpus("maxvcpus=4"), (1, 4));
    assert_eq!(refused("vcpus=33").len(), 1);
    assert_eq!(refused("vcpus=0").len(), 1);
    assert_eq!(refused("vcpus=3\nmaxvcpus=2"), ["`vcpus` is 3, more than the 2 of `maxvcpus`"]);
}

/// T-10.
#[test]
fn weights() {
    assert_eq!(good("cpu_weight = 1").weight, 1);
    assert_eq!(good("cpu_weight = 65535").weight, 65_535);
    for bad in ["0", "65536", "-1", "'text'"] {
        assert_eq!(refused(&format!("cpu_weight = {bad}")).len(), 1, "{bad}");
    }
}

/// CPU-13: at most a pcpu for each vcpu.
#[test]
fn caps() {
    assert_eq!(good("vcpus = 2\ncap = 160").cap, 160);
    assert_eq!(good("cpu_cap = 50").cap, 50);
    assert_eq!(good("vcpus = 32\ncap = 3200").cap, 3200);
    assert_eq!(refused("vcpus = 2\ncap = 201").len(), 1);
    assert_eq!(refused("cap = -1").len(), 1);
    let (config, warnings) = warned("cpu_cap = 50\ncap = 60");
    assert_eq!((config.cap, warnings.len()), (60, 1));
}

/// T-22, T-23, T-30, T-31, CFG-06.
#[test]
fn affinities() {
    let spec = |text: &str| text.parse::<PcpuSpec>().unwrap();
    assert_eq!(good("cpus = '0-2,5'").cpus, Affinity::All(spec("0-2,5")));
    assert_eq!(good("vcpus = 3\ncpus = '1-3'").cpus, Affinity::All(spec("1-3")));
    assert_eq!(good("cpus = 'all'").cpus, Affinity::Any);
    assert_eq!(good("cpus = 1").cpus, Affinity::All(spec("1")));
    assert_eq!(good("vcpus=2\ncpus = ['1', 'all,^2']").cpus, Affinity::Each(vec![spec("1"), spec("all,^2")]));
    assert_eq!(good("cpus = []").cpus, Affinity::Any);
    assert_eq!(good("vcpus = 2\ncpus_soft = '1'").cpus_soft, Affinity::All(spec("1")));
    assert_eq!(warned("vcpus = 2\ncpus = '1'").1, ["2 vcpus share 1 of the machine's pcpus"]);
    assert_eq!(warned("vcpus = 2\ncpus = ['3', '3']").1, ["2 vcpus share 1 of the machine's pcpus"]);
    let (config, warnings) = warned("vcpus = 1\ncpus = ['1', '2']");
    assert_eq!((config.cpus, warnings.len()), (Affinity::Each(vec![spec("1")]), 1));
    assert_eq!(refused("cpus = 'nodes:1'").len(), 1);
    assert_eq!(refused("vcpus=2\ncpus = ['x', 'y']").len(), 2);
}

/// CFG-17.
#[test]
fn actions() {
    let config = good(
        "on_crash='restart'\non_poweroff='preserve'\non_reboot='rename-restart'\non_watchdog='coredump-destroy'",
    );
    assert_eq!((config.on_crash, config.on_poweroff), (Action::Restart, Action::Preserve));
    assert_eq!((config.on_reboot, config.on_watchdog), (Action::RenameRestart, Action::CoredumpDestroy));
    assert_eq!(good("on_crash='coredump-restart'").on_crash, Action::CoredumpRestart);
    assert!(refused("on_crash = 'soft-reset'")[0].ends_with("found \"soft-reset\""));
}

/// T-56 to T-58, T-64: checked, although nothing shows it.
#[test]
fn graphical_consoles() {
    let console =
        |port: &str| format!("the graphical console ({port}) needs a device model, which Kigumi has not");
    let any = console("a free TCP port from 5900");
    assert_eq!(warned("vnc=1\nvncdisplay='10'\nvncunused=0").1, [console("TCP port 5910")]);
    assert_eq!(warned("vnc=1\nvncdisplay=10").1, [any.as_str()]);
    assert_eq!(warned("vnc=1\nvncdisplay=10\nvncunused=1").1, [any.as_str()]);
    assert_eq!(warned("vfb=['type=vnc,vncunused=0,vncdisplay=1']").1, [console("TCP port 5901")]);
    assert_eq!(warned("vfb=['vncunused=0,vncdisplay=59635,keymap=ja']").1, [console("TCP port 65535")]);
    assert_eq!(refused("vncdisplay=0").len(), 1);
    assert_eq!(refused("vncdisplay=59636").len(), 1);
    assert_eq!(
        refused("vfb=['vncdisplay=0']")[0],
        "expected a whole number from 1 to 59635 for `vncdisplay`, found `0`"
    );
    assert_eq!(refused("vfb=['colour=1']")[0], "unknown key `colour`");
    good("vnc=0\nvncpasswd='abcde'");
    good("vncpasswd='abcdefgh'");
    assert_eq!(refused("vncpasswd='abcdefghi'"), ["`vncpasswd` has 8 characters at most"]);
    assert_eq!(refused("vncpasswd='ab cd'").len(), 1);
}

/// T-68, T-70.
#[test]
fn disks() {
    let three = good("disk = [ 'phy:/dev/sda1,hda,w', ',hdc:cdrom,r', 'phy:/dev/sda2,xvdd,w' ]").disks;
    let names: Vec<&str> = three.iter().map(|disk| disk.vdev.as_str()).collect();
    assert_eq!(names, ["hda", "hdc", "xvdd"]);
    assert_eq!([three[1].cdrom, three[1].read_only, three[0].read_only], [true, true, false]);
    let line = |names: &[String]| {
        let specs: Vec<String> = names.iter().map(|name| format!("'phy:/dev/{name},{name},w'")).collect();
        format!("disk = [ {} ]", specs.join(","))
    };
    let letters = ('b'..='p').map(|letter| format!("xvd{letter}"));
    let mut names: Vec<String> = core::iter::once("hda".to_string()).chain(letters).collect();
    assert_eq!(good(&line(&names)).disks.len(), 16);
    names.push("xvdq".into());
    assert_eq!(refused(&line(&names)), ["`disk` has 16 entries at most, found 17"]);
    assert_eq!(refused("disk = [ '/i/a,raw,xvda', '/i/b,raw,d0p0' ]"), ["two disks are `d0p0`"]);
    assert_eq!(refused("disk = [ '/i/a,raw,xvda,w', '/i/a,raw,xvdb,r' ]").len(), 1);
    good("disk = [ '/i/a,raw,xvda,r', '/i/a,raw,xvdb,r' ]");
    assert_eq!(warned("disk = [ '/i/a,raw,xvda,no-discard' ]").1, ["`no-discard` does nothing here"]);
}

/// T-62, T-63, T-69, NET-10.
#[test]
fn interfaces() {
    let line = |count: usize| {
        let specs: Vec<String> =
            (0..count).map(|n| format!("'mac=02:17:42:2F:00:{n:02X},bridge=xenbr{n}'")).collect();
        format!("vif = [ {} ]", specs.join(","))
    };
    assert_eq!(good(&line(10)).vifs.len(), 10);
    assert_eq!(refused(&line(11)), ["`vif` has 10 entries at most, found 11"]);
    let twice = "vif = [ 'mac=02:17:42:2F:00:0A', 'mac=02:17:42:2f:00:0a' ]";
    assert_eq!(refused(twice), ["two interfaces have this MAC address"]);
    assert_eq!(refused("vif = [ 'vifname=a', 'vifname=a' ]"), ["two interfaces have this `vifname`"]);
    assert_eq!(warned("vif = [ 'bridge=a', 'bridge=a' ]").1, ["two interfaces are at the bridge `a`"]);
    assert_eq!(good("vif = [ '', '' ]").vifs.len(), 2);
}

#[test]
fn limits_and_clocks() {
    let config = good("max_grant_frames=32\nmax_maptrack_frames=0\nmax_event_channels=131071");
    assert_eq!(
        (config.max_grant_frames, config.max_maptrack_frames, config.max_event_channels),
        (32, 0, 131_071)
    );
    assert_eq!(refused("max_grant_frames=0").len(), 1);
    assert_eq!(refused("max_event_channels=131072").len(), 1);
    let config = good("localtime=1\nrtc_timeoffset=-3600");
    assert_eq!((config.localtime, config.rtc_timeoffset), (true, -3600));
    assert_eq!(refused("rtc_timeoffset=2147483648").len(), 1);
    good("tsc_mode='default'\npool='Pool-0'");
    good("tsc_mode='native'");
    assert_eq!(refused("tsc_mode='always_emulate'"), ["the time stamp counter is not emulated"]);
    assert_eq!(refused("tsc_mode=1").len() + refused("tsc_mode=3").len() + refused("tsc_mode='x'").len(), 3);
    assert_eq!(refused("pool='fast'"), ["there is one pool of pcpus, \"Pool-0\", found \"fast\""]);
}

#[test]
fn other_schedulers_and_assigned_hardware() {
    for refusal in
        ["period=10", "slice=5", "budget=5", "pci=['01:00.0']", "hap=0", "nestedhvm=1", "cpuid='host'"]
    {
        assert_eq!(refused(refusal).len(), 1, "{refusal}");
    }
    good("period=0\npci=[]\nhap=1\nnestedhvm=0\nacpi=0\napic=1\npae=1\nusb=0\nnomigrate=1\nserial='none'");
    for warning in
        ["usb=1", "device_model='/usr/lib/qemu'", "nographic=0", "keymap='ja'", "serial='pty'", "p9=['x']"]
    {
        let found = warned(warning).1;
        assert_eq!(found.len(), usize::from(!warning.starts_with("keymap")), "{found:?}");
    }
}

/// The sample configurations of requirements 4.8, as files.
#[test]
fn samples() {
    let first = "name='domain_1'\nuuid='46fd2950-6e1e-6027-8226-4faa158952fc'\nbuilder='hvm'\nkernel='vmlinuz'\n\
        memory=512\nmaxmem=512\nvcpus=2\non_crash='restart'\nlocaltime=0\n\
        disk=['phy:/dev/sda5,hda,w', ',hdc:cdrom,r']\nvif=['mac=02:17:42:2F:06:76,bridge=xenbr0']\n\
        vfb=['type=vnc,vncunused=0,vncdisplay=10,keymap=ja']\n";
    let (config, _) = load("domain_1", first, &[] as &[&str]).unwrap();
    assert_eq!((config.vcpus, config.memory_kib, config.on_crash), (2, 512 << 10, Action::Restart));
    assert_eq!(config.disks[0].target, "/dev/sda5");
    assert_eq!(config.vifs[0].mac, Some([2, 0x17, 0x42, 0x2f, 6, 0x76]));

    let second = "name='guest_2'\nkernel='vmlinuz'\nmemory=1024\nvcpus=3\ncpus='2,3,4'\n\
        disk=['tap:aio:/directory/file.img,hda,w']\n";
    let (config, _) = load("guest_2", second, &[] as &[&str]).unwrap();
    assert_eq!(config.cpus, Affinity::All("2,3,4".parse().unwrap()));
    assert_eq!(config.disks[0].format, DiskFormat::Raw);

    // A.1's design sheet.
    for (name, port) in [("guest_a", 1), ("guest_b", 2)] {
        let text = format!(
            "name='{name}'\nkernel='k'\nmemory=512\nvcpus=2\ncpus='1,2'\ncpu_weight=256\ncpu_cap=0\n\
            vfb=['type=vnc,vncunused=0,vncdisplay={port}']\n"
        );
        let (config, warnings) = load(name, text, &[] as &[&str]).unwrap();
        assert_eq!((config.weight, config.cap, warnings.len()), (256, 0, 2));
    }
}

/// The example that people copy has a name with a dot, which LIF-23 refuses.
#[test]
fn the_usual_example() {
    let text = "type = \"pvh\"\nname = \"example.pvhlinux\"\nkernel = \"/boot/vmlinuz\"\nextra = \"root=/dev/xvda1\"\n\
        memory = 512\nvcpus = 4\nvif = [ '' ]\ndisk = [ '/dev/zvol/tank/guest-volume,raw,xvda,rw' ]\n";
    let found = messages(&load("a", text, &[] as &[&str]).unwrap_err());
    assert_eq!(found, ["a domain's name has letters, digits and `_` only, found '.'"]);
    assert_eq!(load("a", text, &["name='example'"]).unwrap().1, []);
}

#[test]
fn what_dom0_comes_with() {
    for text in [include_str!("../../files/demo.cfg"), include_str!("../../files/duo.cfg")] {
        assert_eq!(load("a", text, &[] as &[&str]).unwrap().1, []);
    }
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>().prop_filter("NUL", |c| *c != '\0'), 0..longest)
        .prop_map(|chars| chars.into_iter().collect())
}

fn affinity() -> impl Strategy<Value = Affinity> {
    let spec = || prop::collection::vec(0_u32..64, 1..8).prop_map(|pcpus| PcpuSpec::from_pcpus(&pcpus));
    prop_oneof![
        Just(Affinity::Any),
        spec().prop_map(Affinity::All),
        prop::collection::vec(spec(), 1..4).prop_map(Affinity::Each),
    ]
}

fn disk(index: usize) -> impl Strategy<Value = Disk> {
    let format = prop::sample::select(vec![
        DiskFormat::Physical,
        DiskFormat::Raw,
        DiskFormat::Qcow2,
        DiskFormat::Empty,
    ]);
    (format, "(/dev)?/[a-z,= :]{0,20}[a-z]", any::<bool>(), any::<bool>()).prop_map(
        move |(format, target, ro, cd)| {
            let cdrom = cd || format == DiskFormat::Empty;
            let target = if format == DiskFormat::Empty { String::new() } else { format!("{target}{index}") };
            Disk {
                target,
                format,
                vdev: format!("xvd{}1", char::from(b'a' + u8::try_from(index).unwrap())),
                read_only: ro || cdrom,
                cdrom,
            }
        },
    )
}

fn vif(index: u8) -> impl Strategy<Value = Vif> {
    let mac = prop::option::of(any::<[u8; 4]>().prop_map(move |[a, b, c, d]| [2, a, b, c, d, index]));
    let name = || prop::option::of("[a-z0-9._-]{0,12}x");
    (mac, name(), any::<bool>(), prop::option::of(1_u64..)).prop_map(move |(mac, bridge, named, rate)| Vif {
        mac,
        bridge,
        name: named.then(|| format!("vif{index}")),
        rate,
    })
}

fn domain() -> impl Strategy<Value = DomainConfig> {
    let action = || prop::sample::select(Action::ALL.to_vec());
    let names = ("[a-z_][0-9A-Za-z_]{0,30}x", prop::option::of(any::<[u8; 16]>()), text(20), text(30));
    let sizes = (1_u64..=200_000, 0_u64..=60_000, 4_u32..=8, 0_u32..=24, 1_u16.., 0_u16..=400);
    let actions = (action(), action(), action(), action());
    let devices = ((disk(0), disk(1), disk(2)), (vif(0), vif(1)), 0_usize..=3, 0_usize..=2);
    let rest =
        (affinity(), affinity(), 1_u32..=1000, 0_u32..=1000, 1_u32..=131_071, any::<bool>(), any::<i32>());
    (names, sizes, actions, devices, rest).prop_map(|(names, sizes, actions, devices, rest)| {
        let (disks, vifs, disk_count, vif_count) = devices;
        let ramdisk = Some(names.2.clone()).filter(|text| !text.is_empty());
        DomainConfig {
            name: names.0,
            uuid: names.1,
            kernel: format!("k{}", names.2),
            ramdisk,
            command_line: names.3,
            memory_kib: sizes.0 << 10,
            max_memory_kib: (sizes.0 + sizes.1) << 10,
            vcpus: sizes.2,
            max_vcpus: sizes.2 + sizes.3,
            cpus: rest.0,
            cpus_soft: rest.1,
            weight: sizes.4,
            cap: sizes.5,
            on_poweroff: actions.0,
            on_reboot: actions.1,
            on_crash: actions.2,
            on_watchdog: actions.3,
            disks: [disks.0, disks.1, disks.2].into_iter().take(disk_count).collect(),
            vifs: [vifs.0, vifs.1].into_iter().take(vif_count).collect(),
            max_grant_frames: rest.2,
            max_maptrack_frames: rest.3,
            max_event_channels: rest.4,
            localtime: rest.5,
            rtc_timeoffset: rest.6,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(config in domain()) {
        let text = write::write(&config);
        let loaded = load("a.cfg", &text, &[] as &[&str]).map(|(config, _)| config);
        prop_assert_eq!(loaded.map_err(|found| messages(&found)), Ok(config), "{}", text);
    }

    #[test]
    fn whatever_the_bytes(bytes in any::<Vec<u8>>(), word in any::<String>()) {
        shown(load("a.cfg", bytes, &[word]));
    }

    #[test]
    fn whatever_the_lines(lines in prop::collection::vec((
        prop::sample::select(crate::parameters::PARAMETERS.iter().map(|it| it.name).collect::<Vec<_>>()),
        prop_oneof!["[0-9]{1,5}", "'[ -&(-\\[\\]-~]{0,20}'", "\\[ '[ -&(-\\[\\]-~]{0,20}' \\]", ".{0,10}"],
    ), 0..20)) {
        let text: String = lines.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        if let Ok((config, _)) = load("a.cfg", &text, &[] as &[&str]) {
            // A domain that can be made is one that can be written down.
            let again = load("a.cfg", write::write(&config), &[] as &[&str]);
            prop_assert_eq!(again.map(|(config, _)| config).map_err(|found| messages(&found)), Ok(config));
        }
    }
}
