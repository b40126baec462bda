//! Life of a domain: creation, pauses, end; its limits, and what is known of it.

use hv_core::addr::PAGE_SIZE;
use hv_core::ept::Progress;
use hv_core::id::DomId;
use xen_abi::arch_x86::{Emulation, MiscFlags};
use xen_abi::domctl::{
    CreateDomain, CreateFlags, DomctlArgs, GRANT_VERSION_MASK, MaxMem, MaxVcpus, SetDomainHandle, XenDomctl,
};
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;

use super::{DONE, Request};
use crate::context::{self, Failure};
use crate::domain::{Config, MAX_VCPUS};
use crate::hypercall::{Answer, Call, Reply};
use crate::{domains, guest_copy, init};

/// Highest version of grant tables.
const GRANT_VERSION: u32 = 1;
/// The pool of all pcpus, and a domain that asks for none.
const POOL: u32 = 0;

/// `createdomain`: makes a domain, paused, without memory and vcpus.
///
/// | | |
/// |---|---|
/// | In | the domain's number, 0 for the next free one; `xen_domctl_createdomain` |
/// | Out | its number |
/// | Errors | `EINVAL` for anything but a PVH domain (HVM, HAP, local APIC only), for more than 32 vcpus or none, for devices, nested VMX, performance counters, trace buffers, grant tables beyond the limits; `ESRCH` for another pool than 0; `EEXIST`, `ENOMEM` |
///
/// The security label means nothing, as in Xen without XSM.
pub fn create(call: &Call<'_, '_>, argument: GuestHandle<XenDomctl>, mut op: XenDomctl) -> Reply {
    let wanted = Some(op.domain).filter(|&id| id != 0).and_then(DomId::new);
    let create = op.u.view::<CreateDomain>();
    let config = check(&create)?;
    let domain = domains::create(wanted, config, create.handle)?;
    op.domain = domain.id().get();
    op.u = DomctlArgs::of(&create);
    guest_copy::write_obj(call.cpu, call.vcpu, argument, &op)?;
    Ok(Answer::Value(0))
}

/// What the toolstack asks for, if that can be had.
fn check(create: &CreateDomain) -> Result<Config, Errno> {
    let possible = CreateFlags::HVM
        | CreateFlags::HAP
        | CreateFlags::S3_INTEGRITY
        | CreateFlags::OOS_OFF
        | CreateFlags::XS_DOMAIN;
    let flags = CreateFlags::from_bits(create.flags).filter(|flags| possible.contains(*flags));
    let flags = flags.filter(|flags| flags.contains(CreateFlags::HVM | CreateFlags::HAP));
    let emulation = Emulation::from_bits(create.arch.emulation_flags).filter(|&it| it == Emulation::LAPIC);
    let misc = MiscFlags::from_bits(create.arch.misc_flags);
    let none = create.iommu_opts == 0 && create.vmtrace_size == 0;
    let grant_version = Some(create.grant_opts)
        .filter(|opts| opts & !GRANT_VERSION_MASK == 0 && (1..=GRANT_VERSION).contains(opts));
    let vcpus = Some(create.max_vcpus).filter(|vcpus| (1..=MAX_VCPUS).contains(vcpus) && none);
    let grant_frames = limit(create.max_grant_frames, init::grant_frames());
    let maptrack_frames = limit(create.max_maptrack_frames, init::maptrack_frames());
    let config = Config {
        flags: flags.ok_or(Errno::EINVAL)?,
        max_vcpus: vcpus.ok_or(Errno::EINVAL)?,
        max_event_port: create.max_evtchn_port.min(i32::MAX.unsigned_abs()),
        grant_frames: grant_frames.filter(|&frames| frames > 0).ok_or(Errno::EINVAL)?,
        maptrack_frames: maptrack_frames.ok_or(Errno::EINVAL)?,
        grant_version: grant_version.ok_or(Errno::EINVAL)?,
        emulation: emulation.ok_or(Errno::EINVAL)?,
        misc: misc.ok_or(Errno::EINVAL)?,
    };
    if create.cpupool_id == POOL { Ok(config) } else { Err(Errno::ESRCH) }
}

/// A number that was asked for, or `most` for a negative one.
fn limit(asked: i32, most: u32) -> Option<u32> {
    u32::try_from(asked).map_or(Some(most), |asked| Some(asked).filter(|&asked| asked <= most))
}

/// `destroydomain`: ends the domain at any moment and in any state, and gives back all
/// that it has. Takes as many slices as it needs.
///
/// | | |
/// |---|---|
/// | Errors | `EINVAL` for the caller's own domain |
pub fn destroy(request: &Request<'_, '_, '_>) -> Reply {
    request.check_other_domain()?;
    match domains::destroy(&request.domain) {
        Progress::More => request.again(),
        Progress::Done => DONE,
    }
}

/// `pausedomain`: lets no vcpu run until as many `unpausedomain`. Returns when none does.
///
/// | | |
/// |---|---|
/// | Errors | `EINVAL` for the caller's own domain; `EBUSY` for more than 255 pauses |
pub fn pause(request: &Request<'_, '_, '_>) -> Reply {
    request.while_stopped(|| if request.domain.pause_by_controller() { DONE } else { Err(Errno::EBUSY) })
}

/// `unpausedomain`: undoes a pause, or that of the creation.
///
/// | | |
/// |---|---|
/// | Errors | `EINVAL` if it is not paused |
pub fn unpause(request: &Request<'_, '_, '_>) -> Reply {
    if !request.domain.has_started() && context::refresh(&request.domain) == Err(Failure::Busy) {
        return request.again();
    }
    if request.domain.unpause_by_controller() { DONE } else { Err(Errno::EINVAL) }
}

/// `resumedomain`: lets a domain that has shut down go on.
///
/// | | |
/// |---|---|
/// | Errors | `EINVAL` for the caller's own domain |
pub fn resume(request: &Request<'_, '_, '_>) -> Reply {
    request.check_other_domain()?;
    request.domain.resume();
    DONE
}

/// `getdomaininfo`
///
/// | | |
/// |---|---|
/// | Out | `xen_domctl_getdomaininfo` |
pub fn info(request: &Request<'_, '_, '_>) -> Reply {
    request.answer(&request.domain.info())
}

/// `max_vcpus`: makes the vcpus.
///
/// | | |
/// |---|---|
/// | In | how many: as many as at creation |
/// | Errors | `EINVAL` for another number, or the caller's own domain; `ENOMEM`, with no vcpu made |
pub fn max_vcpus(request: &Request<'_, '_, '_>) -> Reply {
    request.check_other_domain()?;
    let MaxVcpus { max } = request.view();
    let domain = &request.domain;
    if max != domain.config().max_vcpus || domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    if domain.vcpus().is_empty() {
        domain.create_vcpus(max, init::vmx_config()).map_err(|_| Errno::ENOMEM)?;
    }
    DONE
}

/// `max_mem`: limits the memory. A domain that has more keeps it and gets no more.
///
/// | | |
/// |---|---|
/// | In | KiB |
pub fn max_mem(request: &Request<'_, '_, '_>) -> Reply {
    let MaxMem { max_memkb } = request.view();
    request.domain.memory().set_limit(max_memkb / (PAGE_SIZE / 1024));
    request.domain.allow_tables();
    DONE
}

/// `setdomainhandle`
///
/// | | |
/// |---|---|
/// | In | the new name |
pub fn set_handle(request: &Request<'_, '_, '_>) -> Reply {
    let SetDomainHandle { handle } = request.view();
    request.domain.settings().lock().handle = handle;
    DONE
}
