//! `xl cpupool-list`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::toolstack::Pool;

/// The header's line; `cpus` lists pcpus by number.
pub(crate) fn header(cpus: bool) -> String {
    let rest = if cpus { "CPU list" } else { "CPUs   Sched     Active   Domain count" };
    format!("{:<19}{rest}", "Name")
}

/// A pool's line.
pub(crate) fn row(pool: &Pool, cpus: bool) -> String {
    let Pool { name, scheduler, domains, pcpus } = pool;
    if cpus {
        let numbers: Vec<String> = pcpus.iter().map(|pcpu| format!("{pcpu}")).collect();
        return format!("{name:<19}{}", numbers.join(","));
    }
    format!("{name:<19}{:>3} {scheduler:>9}       y       {domains:>4}", pcpus.len())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn columns_are_xls() {
        let pool =
            Pool { name: "Pool-0".into(), scheduler: "credit".into(), domains: 3, pcpus: vec![0, 1, 3] };
        assert_eq!(header(false), "Name               CPUs   Sched     Active   Domain count");
        assert_eq!(row(&pool, false), "Pool-0               3    credit       y          3");
        assert_eq!(header(true), "Name               CPU list");
        assert_eq!(row(&pool, true), "Pool-0             0,1,3");
    }
}
