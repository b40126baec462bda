//! The tables of `xl top`, as `xentop` prints them (requirements 3.7).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use super::number::{Tenths, percent};
use super::time::of_day;
use crate::find::name;
use crate::toolstack::{DiskCounts, DomId, Domain, Host, NetCounts, Reason, Vcpu};

/// The host and its domains at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The host.
    pub(crate) host: Host,
    /// Its domains.
    pub(crate) domains: Vec<Domain>,
    /// Vcpus of those whose vcpus are shown.
    pub(crate) vcpus: Vec<(DomId, Vec<Vcpu>)>,
}

/// A column, which the domains may be sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Column {
    #[default]
    Name,
    State,
    Cpu,
    CpuPercent,
    Mem,
    MemPercent,
    MaxMem,
    MaxMemPercent,
    Vcpus,
    Nets,
    NetTx,
    NetRx,
    Vbds,
    VbdOo,
    VbdRd,
    VbdWr,
    VbdRsect,
    VbdWsect,
    Ssid,
}

/// The columns with their titles and widths, in their order.
const COLUMNS: [(Column, &str, usize); 19] = [
    (Column::Name, "NAME", 10),
    (Column::State, "STATE", 6),
    (Column::Cpu, "CPU(sec)", 10),
    (Column::CpuPercent, "CPU(%)", 6),
    (Column::Mem, "MEM(k)", 10),
    (Column::MemPercent, "MEM(%)", 6),
    (Column::MaxMem, "MAXMEM(k)", 10),
    (Column::MaxMemPercent, "MAXMEM(%)", 9),
    (Column::Vcpus, "VCPUS", 5),
    (Column::Nets, "NETS", 4),
    (Column::NetTx, "NETTX(k)", 8),
    (Column::NetRx, "NETRX(k)", 8),
    (Column::Vbds, "VBDS", 4),
    (Column::VbdOo, "VBD_OO", 8),
    (Column::VbdRd, "VBD_RD", 8),
    (Column::VbdWr, "VBD_WR", 8),
    (Column::VbdRsect, "VBD_RSECT", 10),
    (Column::VbdWsect, "VBD_WSECT", 10),
    (Column::Ssid, "SSID", 4),
];

/// What is shown and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct View {
    /// What the domains are sorted by.
    pub(crate) sort: Column,
    /// Network interfaces.
    pub(crate) nets: bool,
    /// Disks.
    pub(crate) vbds: bool,
    /// Vcpus.
    pub(crate) vcpus: bool,
    /// The header before each domain.
    pub(crate) repeat_header: bool,
    /// Names as long as they are.
    pub(crate) full_name: bool,
    /// Domain 0 first.
    pub(crate) dom0_first: bool,
}

impl Column {
    /// The column after this one; after the last the first.
    pub(crate) fn next(self) -> Self {
        let mut columns = COLUMNS.iter().map(|(column, ..)| *column).cycle();
        columns.find(|column| *column == self);
        columns.next().unwrap_or_default()
    }
}

/// The three lines above the table.
pub(crate) fn summary(sample: &Sample) -> String {
    let (host, domains) = (&sample.host, &sample.domains);
    let (major, minor) = host.version;
    let used = host.total_kib.saturating_sub(host.free_kib);
    let count = |state: State| domains.iter().filter(|domain| State::of(domain) == state).count();
    format!(
        "xentop - {}   Xen {major}.{minor}{}\n\
         {} domains: {} running, {} blocked, {} paused, {} crashed, {} dying, {} shutdown\n\
         Mem: {}k total, {used}k used, {}k free    CPUs: {} @ {}MHz\n",
        of_day(host.wall_seconds),
        host.extra_version,
        domains.len(),
        count(State::Running),
        count(State::Blocked),
        count(State::Paused),
        count(State::Crashed),
        count(State::Dying),
        count(State::Shutdown),
        host.total_kib,
        host.free_kib,
        host.pcpus,
        host.cpu_khz / 1000,
    )
}

/// The keys, at the bottom.
pub(crate) const KEYS: &str = "Delay  Networks  vBds  VCPUs  Repeat header  Sort order  Quit";

/// The table: a header and the domains' lines. CPU(%) is of the time since `before`.
pub(crate) fn table(sample: &Sample, before: Option<&Sample>, view: View) -> String {
    let table = Table { sample, before, view };
    let mut text = String::new();
    for (place, domain) in table.sorted().into_iter().enumerate() {
        if place == 0 || view.repeat_header {
            text += &table.header();
        }
        text += &table.row(domain);
        text += &table.details(domain);
    }
    text
}

/// The one state that the summary counts a domain as, so that the counts sum to the number of
/// domains (T-55). What waits for a pcpu counts as running.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Blocked,
    Paused,
    Shutdown,
    Crashed,
    Dying,
}

impl State {
    /// What has ended is not counted by what its vcpus did last.
    fn of(domain: &Domain) -> Self {
        match domain {
            Domain { dying: true, .. } => Self::Dying,
            Domain { shutdown: Some(Reason::Crash), .. } => Self::Crashed,
            Domain { shutdown: Some(_), .. } => Self::Shutdown,
            Domain { running: true, .. } => Self::Running,
            Domain { paused: true, .. } => Self::Paused,
            Domain { blocked: true, .. } => Self::Blocked,
            _ => Self::Running,
        }
    }
}

struct Table<'s> {
    sample: &'s Sample,
    before: Option<&'s Sample>,
    view: View,
}

impl<'s> Table<'s> {
    fn sorted(&self) -> Vec<&'s Domain> {
        let mut domains: Vec<&Domain> = self.sample.domains.iter().collect();
        domains.sort_by(|a, b| {
            let first = if self.view.dom0_first { (a.id != 0).cmp(&(b.id != 0)) } else { Ordering::Equal };
            first.then_with(|| self.compare(a, b)).then(a.id.cmp(&b.id))
        });
        domains
    }

    /// Names from A on, labels from 0 on, states by their letters; of all other columns the
    /// largest comes first.
    fn compare(&self, a: &Domain, b: &Domain) -> Ordering {
        let largest = |of: &dyn Fn(&Domain) -> u64| Reverse(of(a)).cmp(&Reverse(of(b)));
        match self.view.sort {
            Column::Name => a.name.to_lowercase().cmp(&b.name.to_lowercase()),
            Column::State => Reverse(flags(a)).cmp(&Reverse(flags(b))),
            Column::Cpu => largest(&|d| d.cpu_ns),
            Column::CpuPercent => Reverse(self.cpu_percent(a)).cmp(&Reverse(self.cpu_percent(b))),
            Column::Mem | Column::MemPercent => largest(&|d| d.memory_kib),
            Column::MaxMem | Column::MaxMemPercent => largest(&|d| d.max_memory_kib.unwrap_or(u64::MAX)),
            Column::Vcpus => largest(&|d| d.online_vcpus.into()),
            Column::Nets => largest(&|d| d.devices.nets.len() as u64),
            Column::NetTx => largest(&|d| d.devices.net().sent_bytes),
            Column::NetRx => largest(&|d| d.devices.net().received_bytes),
            Column::Vbds => largest(&|d| d.devices.disks.len() as u64),
            Column::VbdOo => largest(&|d| d.devices.disk().delayed),
            Column::VbdRd => largest(&|d| d.devices.disk().reads),
            Column::VbdWr => largest(&|d| d.devices.disk().writes),
            Column::VbdRsect => largest(&|d| d.devices.disk().sectors_read),
            Column::VbdWsect => largest(&|d| d.devices.disk().sectors_written),
            Column::Ssid => a.ssid.cmp(&b.ssid),
        }
    }

    fn header(&self) -> String {
        let titles = COLUMNS.iter().map(|(column, title, width)| {
            let width = self.width(*column, *width);
            format!("{title:>width$}")
        });
        line(titles)
    }

    fn row(&self, domain: &Domain) -> String {
        line(COLUMNS.iter().map(|(column, _, width)| {
            let width = self.width(*column, *width);
            format!("{:>width$}", self.cell(*column, domain))
        }))
    }

    /// Full names make their column as wide as the longest.
    fn width(&self, column: Column, width: usize) -> usize {
        if column != Column::Name || !self.view.full_name {
            return width;
        }
        let names = self.sample.domains.iter().map(|domain| name(domain).chars().count());
        names.max().unwrap_or_default().max(width)
    }

    fn cell(&self, column: Column, domain: &Domain) -> String {
        let total = self.sample.host.total_kib;
        let devices = &domain.devices;
        match column {
            Column::Name if self.view.full_name => name(domain).into(),
            Column::Name => name(domain).chars().take(10).collect(),
            Column::State => state(domain),
            Column::Cpu => format!("{}", domain.cpu_ns / 1_000_000_000),
            Column::CpuPercent => format!("{}", self.cpu_percent(domain)),
            Column::Mem => format!("{}", domain.memory_kib),
            Column::MemPercent => format!("{}", percent(domain.memory_kib, total)),
            Column::MaxMem => domain.max_memory_kib.map_or_else(|| "no limit".into(), |kib| format!("{kib}")),
            Column::MaxMemPercent => {
                domain.max_memory_kib.map_or_else(|| "n/a".into(), |kib| format!("{}", percent(kib, total)))
            }
            Column::Vcpus => format!("{}", domain.online_vcpus),
            Column::Nets => format!("{}", devices.nets.len()),
            Column::NetTx => format!("{}", devices.net().sent_bytes / 1024),
            Column::NetRx => format!("{}", devices.net().received_bytes / 1024),
            Column::Vbds => format!("{}", devices.disks.len()),
            Column::VbdOo => format!("{}", devices.disk().delayed),
            Column::VbdRd => format!("{}", devices.disk().reads),
            Column::VbdWr => format!("{}", devices.disk().writes),
            Column::VbdRsect => format!("{}", devices.disk().sectors_read),
            Column::VbdWsect => format!("{}", devices.disk().sectors_written),
            Column::Ssid => format!("{}", domain.ssid),
        }
    }

    /// The time that the domain's vcpus ran, as percent of the time that passed; 0 for a domain
    /// that was not there before.
    fn cpu_percent(&self, domain: &Domain) -> Tenths {
        let old = self.before.and_then(|before| {
            let domain = before.domains.iter().find(|old| old.id == domain.id && old.uuid == domain.uuid)?;
            Some((before.host.uptime_ns, domain.cpu_ns))
        });
        old.map_or_else(Tenths::default, |(then, ran)| {
            percent(domain.cpu_ns.saturating_sub(ran), self.sample.host.uptime_ns.saturating_sub(then))
        })
    }

    fn details(&self, domain: &Domain) -> String {
        let mut text = String::new();
        if self.view.vcpus {
            text += &self.vcpus(domain);
        }
        let nets = domain.devices.nets.iter().filter(|_| self.view.nets);
        let disks = domain.devices.disks.iter().filter(|_| self.view.vbds);
        nets.for_each(|(number, counts)| text += &net(*number, *counts));
        disks.for_each(|(number, counts)| text += &disk(*number, *counts));
        text
    }

    /// Five vcpus in a line.
    fn vcpus(&self, domain: &Domain) -> String {
        let vcpus = self.sample.vcpus.iter().filter(|(id, _)| *id == domain.id);
        let online = vcpus.flat_map(|(_, vcpus)| vcpus).filter(|vcpu| vcpu.online);
        let mut text = String::from("VCPUs(sec): ");
        for (place, vcpu) in online.enumerate() {
            if place > 0 && place % 5 == 0 {
                text += "\n        ";
            }
            text += &format!(" {:>2}: {:>10}s", vcpu.number, vcpu.cpu_ns / 1_000_000_000);
        }
        text.push('\n');
        text
    }
}

/// An interface's line below its domain. What the guest sent is received here, so nothing of
/// that is dropped.
fn net(number: u32, counts: NetCounts) -> String {
    let NetCounts { sent_bytes, received_bytes, sent_packets, received_packets, dropped } = counts;
    format!(
        "Net{number} RX: {received_bytes:>8}bytes {received_packets:>8}pkts {:>8}err {dropped:>8}drop  \
         TX: {sent_bytes:>8}bytes {sent_packets:>8}pkts {:>8}err {:>8}drop\n",
        0, 0, 0
    )
}

/// A disk's line below its domain, with its number as Linux divides it.
fn disk(number: u32, counts: DiskCounts) -> String {
    let DiskCounts { delayed, reads, writes, sectors_read, sectors_written } = counts;
    let (major, minor) = (number >> 8, number & 0xff);
    format!(
        "VBD BlkBack {number:>4} [{major:>2x}:{minor:>2x}]  OO: {delayed:>8}   RD: {reads:>8}   WR: {writes:>8}   \
         RSECT: {sectors_read:>10}   WSECT: {sectors_written:>10}\n"
    )
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = cells.collect::<Vec<_>>().join(" ");
    line.push('\n');
    line
}

/// Dying, shut down, blocked, crashed, paused, running.
fn flags(domain: &Domain) -> [bool; 6] {
    let crashed = domain.shutdown == Some(Reason::Crash);
    [
        domain.dying,
        domain.shutdown.is_some() && !crashed,
        domain.blocked,
        crashed,
        domain.paused,
        domain.running,
    ]
}

fn state(domain: &Domain) -> String {
    flags(domain).iter().zip("dsbcpr".chars()).map(|(set, letter)| if *set { letter } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::testing::{domain, host, vcpu};
    use crate::toolstack::DeviceCounts;

    /// The rows of figure 8.9 of requirements 3.7, three seconds after `before`.
    fn samples() -> (Sample, Sample) {
        let mut dom0 = domain(0, "Domain-0");
        dom0.running = true;
        dom0.cpu_ns = 27_338_000_000_000;
        dom0.memory_kib = 2_097_200;
        dom0.max_memory_kib = None;
        let net = |sent_kib: u64, received_kib: u64| NetCounts {
            sent_bytes: sent_kib << 10,
            received_bytes: received_kib << 10,
            ..NetCounts::default()
        };
        let nets = vec![(0, net(99_000, 77_000)), (1, net(399, 600)), (2, net(0, 14)), (3, net(0, 0))];
        dom0.devices = DeviceCounts { nets, disks: vec![] };
        let mut guest = domain(1, "guest_dom");
        guest.running = true;
        guest.cpu_ns = 24_635_000_000;
        guest.memory_kib = 1_048_344;
        guest.max_memory_kib = Some(1_048_576);
        let disk = DiskCounts {
            reads: 5828,
            writes: 541,
            sectors_read: 46_624,
            sectors_written: 4328,
            ..DiskCounts::default()
        };
        guest.devices = DeviceCounts { nets: vec![(0, net(0, 77))], disks: vec![(51_712, disk)] };
        let now = Sample { host: host(), domains: vec![dom0, guest], vcpus: vec![] };
        let mut before = now.clone();
        before.host.uptime_ns -= 3_000_000_000;
        before.domains[0].cpu_ns -= 297_000_000;
        before.domains[1].cpu_ns -= 1_635_000_000;
        (now, before)
    }

    /// T-54, T-55.
    #[test]
    fn the_summary_is_xentops() {
        let (now, _) = samples();
        assert_eq!(
            summary(&now),
            "xentop - 09:00:25   Xen 4.22-kigumi\n\
             2 domains: 2 running, 0 blocked, 0 paused, 0 crashed, 0 dying, 0 shutdown\n\
             Mem: 8387576k total, 3222976k used, 5164600k free    CPUs: 4 @ 1995MHz\n"
        );
    }

    /// T-55.
    #[test]
    fn each_domain_is_counted_once() {
        let (mut now, _) = samples();
        let mut all = vec![domain(0, "waits"); 9];
        all[1].running = true;
        all[2].blocked = true;
        all[3].paused = true;
        (all[4].paused, all[4].blocked) = (true, true);
        all[5].shutdown = Some(Reason::Crash);
        (all[6].shutdown, all[6].dying) = (Some(Reason::Crash), true);
        (all[7].shutdown, all[7].paused) = (Some(Reason::Poweroff), true);
        all[8].dying = true;
        now.domains = all;
        let summary = summary(&now);
        let line = summary.lines().nth(1).unwrap();
        assert_eq!(line, "9 domains: 2 running, 1 blocked, 2 paused, 1 crashed, 2 dying, 1 shutdown");
    }

    /// T-51, T-52: the rows of figure 8.9.
    #[test]
    fn the_table_is_xentops() {
        let (now, before) = samples();
        assert_eq!(
            table(&now, Some(&before), View::default()),
            "      NAME  STATE   CPU(sec) CPU(%)     MEM(k) MEM(%)  MAXMEM(k) MAXMEM(%) VCPUS NETS NETTX(k) NETRX(k) VBDS   VBD_OO   VBD_RD   VBD_WR  VBD_RSECT  VBD_WSECT SSID\n  \
             Domain-0 -----r      27338    9.9    2097200   25.0   no limit       n/a     2    4    99399    77614    0        0        0        0          0          0    0\n \
             guest_dom -----r         24   54.5    1048344   12.5    1048576      12.5     2    1        0       77    1        0     5828      541      46624       4328    0\n"
        );
    }

    /// T-51.
    #[test]
    fn two_busy_vcpus_are_200_percent() {
        let (now, mut before) = samples();
        before.domains[1].cpu_ns = now.domains[1].cpu_ns - 6_000_000_000;
        assert!(table(&now, Some(&before), View::default()).contains(" 200.0 "));
        // Without a sample from before, and for a domain that is new under an old number.
        assert!(table(&now, None, View::default()).contains("   0.0    1048344"));
        before.domains[1].uuid = [9; 16];
        assert!(table(&now, Some(&before), View::default()).contains("   0.0    1048344"));
    }

    #[test]
    fn letters_of_all_states() {
        let mut one = domain(1, "x");
        assert_eq!(state(&one), "------");
        (one.dying, one.blocked, one.paused, one.running) = (true, true, true, true);
        one.shutdown = Some(Reason::Reboot);
        assert_eq!(state(&one), "dsb-pr");
        one.shutdown = Some(Reason::Crash);
        assert_eq!(state(&one), "d-bcpr");
    }

    #[test]
    fn details_follow_the_domain() {
        let (mut now, _) = samples();
        now.vcpus = vec![(1, (0..7).map(|number| vcpu(number, &[0])).collect())];
        let view = View { vcpus: true, nets: true, vbds: true, repeat_header: true, ..View::default() };
        let text = table(&now, None, view);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "VCPUs(sec): ");
        assert_eq!(
            lines[3],
            "Net0 RX: 78848000bytes        0pkts        0err        0drop  \
             TX: 101376000bytes        0pkts        0err        0drop"
        );
        assert!(lines[6].starts_with("Net3 ") && lines[7].starts_with("      NAME"));
        assert_eq!(
            lines[9],
            "VCPUs(sec):   0:          0s  1:          0s  2:          0s  3:          0s  4:          0s"
        );
        assert_eq!(lines[10], "          5:          0s  6:          0s");
        assert_eq!(
            lines[12],
            "VBD BlkBack 51712 [ca: 0]  OO:        0   RD:     5828   WR:      541   \
             RSECT:      46624   WSECT:       4328"
        );
    }

    #[test]
    fn every_column_sorts() {
        let (mut now, before) = samples();
        now.domains[0].ssid = 1;
        let first = |sort: Column| {
            let view = View { sort, ..View::default() };
            let text = table(&now, Some(&before), view);
            text.lines().nth(1).unwrap().trim_start().split(' ').next().unwrap().to_string()
        };
        use alloc::string::ToString;
        let mut column = Column::default();
        let mut seen = Vec::new();
        for _ in 0..COLUMNS.len() {
            seen.push(first(column));
            column = column.next();
        }
        assert_eq!(column, Column::default());
        let guest_first = [3, 12, 14, 15, 16, 17, 18];
        for (place, name) in seen.iter().enumerate() {
            let expected = if guest_first.contains(&place) { "guest_dom" } else { "Domain-0" };
            assert_eq!(name, expected, "{place}");
        }
    }

    #[test]
    fn names_are_cut_unless_they_are_to_be_full() {
        let (mut now, _) = samples();
        now.domains[1].name = "a_long_name_indeed".into();
        assert!(table(&now, None, View::default()).contains("\na_long_nam "));
        let view = View { full_name: true, dom0_first: true, ..View::default() };
        let text = table(&now, None, view);
        assert!(text.lines().nth(1).unwrap().starts_with("          Domain-0 "));
        assert!(text.lines().nth(2).unwrap().starts_with("a_long_name_indeed "));
    }
}
