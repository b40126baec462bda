//! `xl sched-credit`.

use alloc::format;
use alloc::string::String;

use crate::find::name;
use crate::toolstack::{Domain, Share, Slices};

/// The line of the cpupool.
pub(crate) fn pool(slices: Slices) -> String {
    let Slices { tslice_ms, ratelimit_us, migration_delay_us } = slices;
    format!(
        "Cpupool Pool-0: tslice={tslice_ms}ms ratelimit={ratelimit_us}us migration-delay={migration_delay_us}us"
    )
}

/// The header's line.
pub(crate) fn header() -> String {
    format!("{:<33} {:>4} {:>6} {:>4}", "Name", "ID", "Weight", "Cap")
}

/// A domain's line.
pub(crate) fn row(domain: &Domain, share: Share) -> String {
    format!("{:<33} {:>4} {:>6} {:>4}", name(domain), domain.id, share.weight, share.cap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::domain;

    #[test]
    fn columns_are_xls() {
        let slices = Slices { tslice_ms: 30, ratelimit_us: 1000, migration_delay_us: 0 };
        assert_eq!(pool(slices), "Cpupool Pool-0: tslice=30ms ratelimit=1000us migration-delay=0us");
        assert_eq!(header(), "Name                                ID Weight  Cap");
        assert_eq!(
            row(&domain(12, "guest"), Share { weight: 512, cap: 50 }),
            "guest                               12    512   50"
        );
    }
}
