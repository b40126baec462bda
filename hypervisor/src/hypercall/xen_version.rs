//! `xen_version`: what hypervisor this is.

use core::mem::offset_of;

use xen_abi::errno::Errno;
use xen_abi::features::Features;
use xen_abi::handle::GuestHandle;
use xen_abi::version::{
    CapabilitiesInfo, ChangesetInfo, CommandLine, CompileInfo, ExtraVersion, FeatureInfo, PlatformParameters,
    VersionOp,
};
use zerocopy::{FromZeros, IntoBytes};

use super::{Answer, Call, Reply};
use crate::guest_copy::{self, Guest};
use crate::init;

/// The interface is that of Xen 4.17.
pub const VERSION: u32 = 4 << 16 | 17;
const PAGE_SIZE: u64 = 4096;

/// `HYPERVISOR_xen_version(cmd, arg)`; most commands fill a structure at `arg`.
/// Errors: `EFAULT`, `EINVAL` for a feature word that does not exist, `ENODATA` for the build id, `ENOSYS`.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, ..] = call.arguments;
    // Guests make this call for its side effect, too: events that wait are delivered.
    if op == VersionOp::Version as u64 {
        return Ok(Answer::Value(u64::from(VERSION)));
    }
    let op = u32::try_from(op).ok().and_then(VersionOp::new).ok_or(Errno::ENOSYS)?;
    if op == VersionOp::GetFeatures {
        return features(call);
    }
    describe(call, op)
}

/// What takes large structures.
#[inline(never)]
fn describe(call: &Call<'_, '_>, op: VersionOp) -> Reply {
    match op {
        VersionOp::Version => Ok(Answer::Value(u64::from(VERSION))),
        VersionOp::Pagesize => Ok(Answer::Value(PAGE_SIZE)),
        VersionOp::ExtraVersion => fill(call, &text::<{ size_of::<ExtraVersion>() }>(".0-kigumi")),
        VersionOp::Capabilities => {
            let text = text::<{ size_of::<CapabilitiesInfo>() }>("xen-3.0-x86_64 hvm-3.0-x86_64 ");
            fill(call, &text)
        }
        VersionOp::Changeset => fill(call, &text::<{ size_of::<ChangesetInfo>() }>("unavailable")),
        VersionOp::CommandLine => {
            // It can tell about the host; the answer to others is Xen's.
            let privileged = call.vcpu.domain().is_privileged();
            let line = if privileged { init::command_line() } else { "<denied>" };
            fill(call, &text::<{ size_of::<CommandLine>() }>(line))
        }
        VersionOp::CompileInfo => fill(call, compile_info().as_bytes()),
        VersionOp::PlatformParameters => fill(call, PlatformParameters::new_zeroed().as_bytes()),
        VersionOp::GetFeatures => features(call),
        VersionOp::GuestHandle => {
            let handle = call.vcpu.domain().settings().lock().handle;
            fill(call, &handle)
        }
        // Xen answers so where its image has none.
        VersionOp::BuildId => Err(Errno::ENODATA),
    }
}

fn fill(call: &Call<'_, '_>, bytes: &[u8]) -> Reply {
    guest_copy::write(call.cpu, call.vcpu, call.arguments[1], bytes)?;
    Ok(Answer::Value(0))
}

/// `text` in an array that a NUL ends.
fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let room = N.saturating_sub(1);
    bytes.iter_mut().zip(text.bytes().take(room)).for_each(|(to, from)| *to = from);
    bytes
}

fn compile_info() -> CompileInfo {
    CompileInfo {
        compiler: text("rustc"),
        compile_by: text("kigumi"),
        compile_domain: text("unavailable"),
        compile_date: text("unavailable"),
    }
}

#[inline(never)]
fn features(call: &Call<'_, '_>) -> Reply {
    let argument = GuestHandle::<FeatureInfo>::new(call.arguments[1]);
    let guest = Guest::new(call.cpu, call.vcpu);
    let info = guest.read_obj(argument)?;
    if info.submap_idx != 0 {
        return Err(Errno::EINVAL);
    }
    let mut features = Features::WRITABLE_PAGE_TABLES
        | Features::AUTO_TRANSLATED_PHYSMAP
        | Features::HVM_CALLBACK_VECTOR
        | Features::HVM_SAFE_PVCLOCK
        | Features::MEMORY_OP_VNODE_SUPPORTED;
    features |= if call.vcpu.domain().is_privileged() {
        Features::DOM0 | Features::DIRECT_MAPPED
    } else {
        Features::NOT_DIRECT_MAPPED
    };
    let submap = offset_of!(FeatureInfo, submap);
    guest.write_field(argument, submap, &features.bits())?;
    Ok(Answer::Value(0))
}
