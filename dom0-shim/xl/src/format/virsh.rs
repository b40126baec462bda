//! Output of `virsh`'s verbs.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xl_config::domain::PcpuSpec;

use super::number::seconds;
use super::uuid;
use crate::find::name;
use crate::toolstack::{Domain, Host, Reason, Share, Vcpu};

/// A domain's state in a word (requirements 3.1).
pub(crate) fn state(domain: &Domain) -> &'static str {
    match domain {
        Domain { dying: true, .. } => "in shutdown",
        Domain { shutdown: Some(Reason::Crash), .. } => "crashed",
        Domain { shutdown: Some(_), .. } => STOPPED,
        Domain { paused: true, .. } => "paused",
        Domain { blocked: true, .. } => "idle",
        Domain { running: true, .. } => "running",
        _ => "no state",
    }
}

/// The state of a domain that has stopped, whether or not anything is left of it.
pub(crate) const STOPPED: &str = "shut off";

/// `list`: id, name and state of each domain.
pub(crate) fn list(rows: &[(String, String, &str)]) -> String {
    let width = |of: fn(&(String, String, &str)) -> usize, title: &str| {
        rows.iter().map(of).max().unwrap_or(0).max(title.len())
    };
    let id = width(|row| row.0.chars().count(), "Id");
    let name = width(|row| row.1.chars().count(), "Name");
    let state = width(|row| row.2.len(), "State");
    let mut text = format!(" {:<id$}   {:<name$}   State\n", "Id", "Name");
    let rule = [id, name, state, 9].iter().fold(0_usize, |sum, width| sum.saturating_add(*width));
    text += &"-".repeat(rule);
    text.push('\n');
    for row in rows {
        text += &format!(" {:<id$}   {:<name$}   {}\n", row.0, row.1, row.2);
    }
    text
}

/// What `dominfo` tells of a domain that runs and one that does not.
pub(crate) struct Dominfo<'d> {
    /// The domain, where there is one.
    pub(crate) running: Option<&'d Domain>,
    /// Its name.
    pub(crate) name: &'d str,
    /// Its UUID, where it has one.
    pub(crate) uuid: Option<[u8; 16]>,
    /// Its vcpus.
    pub(crate) vcpus: u32,
    /// Most memory, KiB; `None` for no limit.
    pub(crate) max_kib: Option<u64>,
    /// Memory that it has or will have, KiB.
    pub(crate) kib: u64,
    /// Whether it is started with the host.
    pub(crate) autostart: bool,
}

/// `dominfo`, by requirements 3.3.
pub(crate) fn dominfo(info: &Dominfo<'_>) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| text += &format!("{label:<15} {value}\n");
    line("Id:", info.running.map_or_else(|| "-".into(), |domain| format!("{}", domain.id)));
    line("Name:", info.name.into());
    line("UUID:", info.uuid.as_ref().map_or_else(|| "-".into(), uuid));
    if info.running.is_some() {
        line("OS Type:", "hvm".into());
    }
    line("State:", info.running.map_or(STOPPED, state).into());
    line("CPU(s):", format!("{}", info.vcpus));
    if let Some(domain) = info.running {
        line("CPU time:", format!("{}s", seconds(domain.cpu_ns)));
    }
    line("Max memory:", info.max_kib.map_or_else(|| "no limit".into(), |kib| format!("{kib} kB")));
    line("Used memory:", format!("{} kB", info.kib));
    line("Autostart:", if info.autostart { "enable" } else { "disable" }.into());
    text
}

/// `vcpuinfo`, by requirements 3.4, on a host of `pcpus`.
pub(crate) fn vcpuinfo(vcpus: &[Vcpu], pcpus: u32) -> String {
    let blocks: Vec<String> = vcpus.iter().map(|vcpu| vcpu_block(vcpu, pcpus)).collect();
    blocks.join("\n")
}

fn vcpu_block(vcpu: &Vcpu, pcpus: u32) -> String {
    let state = match vcpu {
        Vcpu { online: false, .. } => "offline",
        Vcpu { blocked: true, .. } => "idle",
        Vcpu { running: true, .. } => "running",
        _ => "no state",
    };
    let pcpu = if vcpu.online { format!("{}", vcpu.pcpu) } else { "N/A".into() };
    let affinity: String = (0..pcpus).map(|pcpu| if vcpu.hard.contains(&pcpu) { 'y' } else { '-' }).collect();
    let (number, time) = (vcpu.number, seconds(vcpu.cpu_ns));
    format!(
        "{:<15} {number}\n{:<15} {pcpu}\n{:<15} {state}\n{:<15} {time}s\n{:<15} {affinity}\n",
        "VCPU:", "CPU:", "State:", "CPU time:", "CPU Affinity:"
    )
}

/// `vcpupin`: vcpus and where they may run, on a host of `pcpus`.
pub(crate) fn vcpupin(vcpus: &[(u32, Vec<u32>)], pcpus: u32) -> String {
    let mut text = String::from(" VCPU   CPU Affinity\n----------------------\n");
    for (vcpu, affinity) in vcpus {
        // All of them as their range: `virsh` has no word for that.
        let affinity =
            PcpuSpec::from_pcpus(&affinity.iter().copied().filter(|pcpu| *pcpu < pcpus).collect::<Vec<_>>());
        text += &format!(" {vcpu:<6} {affinity}\n");
    }
    text
}

/// `schedinfo`, by requirements 3.5.
pub(crate) fn schedinfo(scheduler: &str, share: Share) -> String {
    let Share { weight, cap } = share;
    format!("{:<15}: {scheduler}\n{:<15}: {weight}\n{:<15}: {cap}\n", "Scheduler", "weight", "cap")
}

/// `nodeinfo`, by requirements 3.6.
pub(crate) fn nodeinfo(host: &Host) -> String {
    let in_socket = host.nodes.saturating_mul(host.cores_per_socket).saturating_mul(host.threads_per_core);
    let sockets = host.pcpus.checked_div(in_socket).unwrap_or_default();
    let mut text = String::new();
    let mut line = |label: &str, value: String| text += &format!("{label:<20} {value}\n");
    line("CPU model:", "x86_64".into());
    line("CPU(s):", format!("{}", host.pcpus));
    line("CPU frequency:", format!("{} MHz", host.cpu_khz / 1000));
    line("CPU socket(s):", format!("{sockets}"));
    line("Core(s) per socket:", format!("{}", host.cores_per_socket));
    line("Thread(s) per core:", format!("{}", host.threads_per_core));
    line("NUMA cell(s):", format!("{}", host.nodes));
    line("Memory size:", format!("{} kB", host.total_kib));
    text
}

/// A domain of the list.
pub(crate) fn row(domain: &Domain) -> (String, String, &'static str) {
    (format!("{}", domain.id), name(domain).into(), state(domain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{domain, host, vcpu};

    #[test]
    fn states_in_words() {
        let with = |change: fn(&mut Domain)| {
            let mut domain = domain(1, "x");
            change(&mut domain);
            state(&domain)
        };
        assert_eq!(with(|_| {}), "no state");
        assert_eq!(with(|d| d.running = true), "running");
        assert_eq!(with(|d| d.blocked = true), "idle");
        assert_eq!(with(|d| (d.running, d.blocked) = (true, true)), "idle");
        assert_eq!(with(|d| d.paused = true), "paused");
        assert_eq!(with(|d| d.shutdown = Some(Reason::Poweroff)), "shut off");
        assert_eq!(with(|d| d.shutdown = Some(Reason::Crash)), "crashed");
        assert_eq!(with(|d| d.dying = true), "in shutdown");
    }

    #[test]
    fn the_list_is_a_table() {
        let stopped = (String::from("-"), String::from("guest_dom1"), STOPPED);
        assert_eq!(
            list(&[row(&domain(0, "Domain-0")), stopped]),
            " Id   Name         State\n-----------------------------\n 0    Domain-0     no state\n -    guest_dom1   shut off\n"
        );
    }

    #[test]
    fn dominfo_of_a_running_domain() {
        let mut guest = domain(1, "guest_dom");
        guest.blocked = true;
        guest.cpu_ns = 40_684_700_000_000;
        let info = Dominfo {
            running: Some(&guest),
            name: "guest_dom",
            uuid: Some(guest.uuid),
            vcpus: 2,
            max_kib: Some(532_480),
            kib: 532_352,
            autostart: false,
        };
        assert_eq!(
            dominfo(&info),
            "Id:             1\n\
             Name:           guest_dom\n\
             UUID:           01010101-0101-0101-0101-010101010101\n\
             OS Type:        hvm\n\
             State:          idle\n\
             CPU(s):         2\n\
             CPU time:       40684.7s\n\
             Max memory:     532480 kB\n\
             Used memory:    532352 kB\n\
             Autostart:      disable\n"
        );
    }

    #[test]
    fn dominfo_of_a_stopped_domain() {
        let info = Dominfo {
            running: None,
            name: "guest_dom",
            uuid: None,
            vcpus: 2,
            max_kib: Some(532_480),
            kib: 532_480,
            autostart: true,
        };
        assert_eq!(
            dominfo(&info),
            "Id:             -\n\
             Name:           guest_dom\n\
             UUID:           -\n\
             State:          shut off\n\
             CPU(s):         2\n\
             Max memory:     532480 kB\n\
             Used memory:    532480 kB\n\
             Autostart:      enable\n"
        );
    }

    /// T-20, T-21.
    #[test]
    fn vcpuinfo_shows_affinity() {
        let mut first = vcpu(0, &[1]);
        first.running = true;
        let mut second = vcpu(1, &[2]);
        second.pcpu = 2;
        second.online = false;
        assert_eq!(
            vcpuinfo(&[first, second], 4),
            "VCPU:           0\nCPU:            1\nState:          running\nCPU time:       0.8s\nCPU Affinity:   -y--\n\
             \n\
             VCPU:           1\nCPU:            N/A\nState:          offline\nCPU time:       0.8s\nCPU Affinity:   --y-\n"
        );
        let unpinned = vcpu(0, &[0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(vcpuinfo(&[unpinned], 8).ends_with("CPU Affinity:   yyyyyyyy\n"));
    }

    #[test]
    fn schedinfo_and_nodeinfo() {
        assert_eq!(
            schedinfo("credit", Share { weight: 512, cap: 50 }),
            "Scheduler      : credit\nweight         : 512\ncap            : 50\n"
        );
        assert_eq!(
            nodeinfo(&host()),
            "CPU model:           x86_64\n\
             CPU(s):              4\n\
             CPU frequency:       1995 MHz\n\
             CPU socket(s):       2\n\
             Core(s) per socket:  2\n\
             Thread(s) per core:  1\n\
             NUMA cell(s):        1\n\
             Memory size:         8387576 kB\n"
        );
    }
}
