//! `xl vcpu-list`.

use alloc::format;
use alloc::string::String;

use super::number::{ranges, seconds};
use crate::find::name;
use crate::toolstack::{Domain, Vcpu};

/// The header's line.
pub(crate) fn header() -> String {
    format!(
        "{:<32} {:>5} {:>5} {:>5} {:>5} {:>9} {}",
        "Name", "ID", "VCPU", "CPU", "State", "Time(s)", "Affinity (Hard / Soft)"
    )
}

/// A vcpu's line, on a host of `pcpus`.
pub(crate) fn row(domain: &Domain, vcpu: &Vcpu, pcpus: u32) -> String {
    let (name, id, number) = (name(domain), domain.id, vcpu.number);
    let (pcpu, state) = if vcpu.online {
        let running = if vcpu.running { 'r' } else { '-' };
        let blocked = if vcpu.blocked { 'b' } else { '-' };
        (format!("{}", vcpu.pcpu), format!("{running}{blocked}-"))
    } else {
        ("-".into(), "--p".into())
    };
    let (time, hard, soft) = (seconds(vcpu.cpu_ns), ranges(&vcpu.hard, pcpus), ranges(&vcpu.soft, pcpus));
    format!("{name:<32} {id:>5} {number:>5} {pcpu:>5} {state:>5} {time:>9}  {hard} / {soft}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{domain, vcpu};

    #[test]
    fn columns_are_xls() {
        assert_eq!(
            header(),
            "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)"
        );
        let guest = domain(3, "guest");
        let mut one = vcpu(1, &[1, 2, 4]);
        one.blocked = true;
        assert_eq!(
            row(&guest, &one, 8),
            "guest                                3     1     1   -b-       0.8  1-2,4 / all"
        );
        one.running = true;
        one.blocked = false;
        assert!(row(&guest, &one, 8).contains("     1   r--       0.8  "));
        one.online = false;
        assert_eq!(
            row(&guest, &one, 8),
            "guest                                3     1     -   --p       0.8  1-2,4 / all"
        );
    }
}
