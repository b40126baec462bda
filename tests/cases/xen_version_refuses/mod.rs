//! xen_version refuses unknown commands, words and pointers, and writes nothing then.

use alloc::format;

use guest_rt::hypercall;
use guest_rt::paging::{Page, Rights};
use xen_abi::errno::Errno;
use xen_abi::version::{FeatureInfo, VersionOp};

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "xen-version-refuses",
    description: "xen_version refuses unknown commands, words and pointers, and writes nothing then.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    for command in [11, 12, 0x100, u64::from(u32::MAX)] {
        expect::errno(call(command, 0), Errno::ENOSYS, &format!("command {command:#x}"))?;
    }
    let mut info = FeatureInfo { submap_idx: 1, submap: 0x55 };
    let refused = hypercall::xen_version(VersionOp::GetFeatures, &mut info);
    ensure_eq!(refused, Err(Errno::EINVAL), "feature word 1");
    ensure_eq!(info.submap, 0x55, "feature word after a refusal");
    let page = Page::new();
    page.protect(Rights::Read);
    for command in [1, 2, 3, 4, 5, 6, 9] {
        for pointer in expect::BAD_POINTERS.into_iter().chain([page.address()]) {
            let what = format!("command {command} to {pointer:#x}");
            expect::errno(call(command, pointer), Errno::EFAULT, &what)?;
        }
    }
    page.protect(Rights::None);
    expect::errno(call(6, page.address()), Errno::EFAULT, "page that is not present")?;
    Ok(())
}

fn call(command: u64, pointer: u64) -> i64 {
    hypercall::raw(17, [command, pointer, 0, 0, 0])
}
