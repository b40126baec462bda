//! Each command of xen_version answers.

use guest_rt::hypercall;
use xen_abi::features::Features;
use xen_abi::version::{CapabilitiesInfo, FeatureInfo, VersionOp};
use zerocopy::FromZeros;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "xen-version",
    description: "Each command of xen_version answers.",
    covers: &["LIF-04"],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(guest: &Guest) -> Check {
    ensure_eq!(hypercall::xen_version(VersionOp::Version, &mut ())?, 4 << 16 | 17, "version");
    ensure_eq!(hypercall::xen_version(VersionOp::Pagesize, &mut ())?, 4096, "page size");
    let mut capabilities = [0xff_u8; size_of::<CapabilitiesInfo>()];
    hypercall::xen_version(VersionOp::Capabilities, &mut capabilities)?;
    ensure!(contains(&capabilities, b"hvm-3.0-x86_64"), "capabilities");
    let mut extra = [0xff_u8; 16];
    hypercall::xen_version(VersionOp::ExtraVersion, &mut extra)?;
    ensure!(extra[0] == b'.' && extra.contains(&0), "extra version {extra:?}");
    let mut line = [0xff_u8; 1024];
    hypercall::xen_version(VersionOp::CommandLine, &mut line)?;
    if guest.is_dom0() {
        ensure!(contains(&line, b"console="), "the hypervisor's command line");
    } else {
        ensure!(line.starts_with(b"<denied>\0"), "the hypervisor's command line is shown");
    }
    hypercall::xen_version(VersionOp::GuestHandle, &mut [0xff_u8; 16])?;
    let mut info = FeatureInfo::new_zeroed();
    hypercall::xen_version(VersionOp::GetFeatures, &mut info)?;
    let features = Features::from_bits_truncate(info.submap);
    ensure!(features.contains(Features::AUTO_TRANSLATED_PHYSMAP), "features {features:?}");
    ensure_eq!(features.contains(Features::DOM0), guest.is_dom0(), "feature dom0");
    Ok(())
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
