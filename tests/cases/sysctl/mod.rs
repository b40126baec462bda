//! sysctl tells of the host, and refuses other versions and unknown operations.

use alloc::format;

use guest_rt::{clock, hypercall};
use xen_abi::errno::Errno;
use xen_abi::sysctl::{self, PhysCap, XenSysctl};
use xen_control::{Error, calls};
use zerocopy::FromZeros;

use crate::controller::Controller;
use crate::expect;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sysctl",
    description: "sysctl tells of the host, and refuses other versions and unknown operations.",
    covers: &["MEM-17", "CPU-04"],
    needs: &[],
    kind: Kind::Dom0(control),
};

const SYSCTL: u64 = 35;

fn control(controller: &Controller) -> Check {
    let host = controller.host()?;
    let info = match calls::physinfo(host) {
        Err(Error::Refused(_, Errno::ENOSYS)) => skip!("no sysctl"),
        info => info?,
    };
    ensure!(info.nr_cpus > 0 && info.max_cpu_id + 1 >= info.nr_cpus, "{} pcpus", info.nr_cpus);
    ensure_eq!(info.nr_cpus, controller.pcpus(), "pcpus");
    ensure!(info.free_pages < info.total_pages, "{} of {} pages free", info.free_pages, info.total_pages);
    let khz = clock::tsc_khz();
    ensure!(info.cpu_khz.abs_diff(khz) <= khz / 100, "{} kHz, TSC {khz} kHz", info.cpu_khz);
    let capabilities = PhysCap::from_bits_truncate(info.capabilities);
    ensure!(capabilities.contains(PhysCap::HVM | PhysCap::HAP), "capabilities {capabilities:?}");
    ensure!(!capabilities.contains(PhysCap::PV), "PV guests");
    for pointer in expect::BAD_POINTERS {
        let answer = hypercall::raw(SYSCTL, [pointer, 0, 0, 0, 0]);
        expect::errno(answer, Errno::EFAULT, &format!("argument at {pointer:#x}"))?;
    }
    for (cmd, version, errno) in [
        (3, sysctl::INTERFACE_VERSION + 1, Errno::EACCES),
        (3, 0, Errno::EACCES),
        (0, sysctl::INTERFACE_VERSION, Errno::ENOSYS),
        (1_000, sysctl::INTERFACE_VERSION, Errno::ENOSYS),
    ] {
        let mut call = XenSysctl { cmd, interface_version: version, ..XenSysctl::new_zeroed() };
        let answer = hypercall::raw(SYSCTL, [(&raw mut call) as u64, 0, 0, 0, 0]);
        expect::errno(answer, errno, &format!("operation {cmd} of version {version:#x}"))?;
    }
    Ok(())
}
