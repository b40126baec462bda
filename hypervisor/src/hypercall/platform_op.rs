//! `platform_op`: the machine, for Dom0.

use hv_arch::{power, smp};
use hv_core::id::PcpuId;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::platform::{
    EnterAcpiSleep, FirmwareInfo, FirmwareInfoType, INTERFACE_VERSION, PCPU_FLAGS_INVALID, PCPU_FLAGS_ONLINE,
    PcpuInfo, PcpuVersion, PlatformArgs, PlatformOp, Settime32, Settime64, XenPlatformOp,
};
use xen_abi::union::MemberOf;
use zerocopy::FromZeros;

use super::{Answer, Call, Reply};
use crate::{clock, console, cpuid, domains, guest_copy};

const NS_PER_S: u128 = 1_000_000_000;
/// ACPI's soft-off state.
const SOFT_OFF: u32 = 5;

/// `HYPERVISOR_platform_op(arg)`, for Dom0. `arg` is a `struct xen_platform_op`.
///
/// | operation | In | Out |
/// |---|---|---|
/// | settime32, settime64 | wall clock and system time of one instant | |
/// | `firmware_info` | question | keyboard flags |
/// | `enter_acpi_sleep` | state 5 | does not return |
/// | `get_cpuinfo` | pcpu | whether it is online, APIC id |
/// | `get_cpu_version` | pcpu | vendor, family, model, stepping |
///
/// Errors: `EFAULT`; `EACCES` for another version of the interface; `EINVAL` for a date
/// with a rest, or an unknown question; `ENOENT` for what the firmware's tables did not
/// say; `EOPNOTSUPP` for other sleep states; `ENOSYS` for all other operations, which
/// drive power states, microcode and plugged hardware.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let argument = GuestHandle::<XenPlatformOp>::new(call.arguments[0]);
    let op = guest_copy::read_obj(call.cpu, call.vcpu, argument)?;
    if op.interface_version != INTERFACE_VERSION {
        return Err(Errno::EACCES);
    }
    let request = Request { call, argument, op };
    match PlatformOp::new(op.cmd).ok_or(Errno::ENOSYS)? {
        PlatformOp::Settime32 => {
            let Settime32 { secs, nsecs, system_time } = op.u.view();
            set_time(secs.into(), nsecs, system_time)
        }
        PlatformOp::Settime64 => {
            let Settime64 { secs, nsecs, mbz, system_time } = op.u.view();
            if mbz == 0 { set_time(secs, nsecs, system_time) } else { Err(Errno::EINVAL) }
        }
        PlatformOp::FirmwareInfo => firmware(&request),
        PlatformOp::EnterAcpiSleep => sleep(&request),
        PlatformOp::GetCpuinfo => pcpu_info(&request),
        PlatformOp::GetCpuVersion => pcpu_version(&request),
        _ => Err(Errno::ENOSYS),
    }
}

struct Request<'a, 'b, 'c> {
    call: &'a Call<'b, 'c>,
    argument: GuestHandle<XenPlatformOp>,
    op: XenPlatformOp,
}

impl Request<'_, '_, '_> {
    fn answer<T: MemberOf<PlatformArgs>>(&self, argument: &T) -> Reply {
        let answer = XenPlatformOp { u: PlatformArgs::of(argument), ..self.op };
        guest_copy::write_obj(self.call.cpu, self.call.vcpu, self.argument, &answer)?;
        Ok(Answer::Value(0))
    }
}

/// Sets the wall clock of the machine, which all domains read with their own offset.
fn set_time(secs: u64, nsecs: u32, system_time: u64) -> Reply {
    clock::set_wall(u128::from(secs) * NS_PER_S + u128::from(nsecs), system_time);
    domains::for_each(|domain| {
        let ahead = domain.settings().lock().time_offset;
        clock::write_wall(domain.memory().shared_info(), ahead);
    });
    Ok(Answer::Value(0))
}

fn firmware(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.op.u.view::<FirmwareInfo>();
    match FirmwareInfoType::new(argument.kind).ok_or(Errno::EINVAL)? {
        FirmwareInfoType::KbdShiftFlags => {
            argument.u = [0; 4];
            request.answer(&argument)
        }
        FirmwareInfoType::DiskInfo
        | FirmwareInfoType::DiskMbrSignature
        | FirmwareInfoType::VbeddcInfo
        | FirmwareInfoType::EfiInfo => Err(Errno::ENOENT),
    }
}

/// Dom0's kernel has prepared the devices, and asks for the write that it cannot do.
fn sleep(request: &Request<'_, '_, '_>) -> Reply {
    let EnterAcpiSleep { sleep_state, .. } = request.op.u.view();
    if sleep_state != SOFT_OFF {
        return Err(Errno::EOPNOTSUPP);
    }
    log::error!("Hardware Dom0 enters ACPI state S5: switching off");
    console::flush();
    power::power_off();
    // The machine cannot be switched off.
    Err(Errno::EOPNOTSUPP)
}

fn highest_pcpu() -> u32 {
    smp::online().last().and_then(|last| u32::try_from(last.index()).ok()).unwrap_or(0)
}

fn pcpu_info(request: &Request<'_, '_, '_>) -> Reply {
    let mut info = request.op.u.view::<PcpuInfo>();
    info.max_present = highest_pcpu();
    let pcpu = usize::try_from(info.xen_cpuid).ok().and_then(PcpuId::new);
    match pcpu.and_then(smp::apic_id) {
        Some(apic_id) => {
            (info.flags, info.apic_id) = (PCPU_FLAGS_ONLINE, apic_id.get());
            // The MADT's processor ids are not kept: its order is.
            info.acpi_id = info.xen_cpuid;
        }
        None => info.flags = PCPU_FLAGS_INVALID,
    }
    request.answer(&info)
}

fn pcpu_version(request: &Request<'_, '_, '_>) -> Reply {
    let asked = request.op.u.view::<PcpuVersion>();
    let pcpu = usize::try_from(asked.xen_cpuid).ok().and_then(PcpuId::new);
    let mut version =
        PcpuVersion { xen_cpuid: asked.xen_cpuid, max_present: highest_pcpu(), ..PcpuVersion::new_zeroed() };
    if pcpu.and_then(smp::apic_id).is_some() {
        // All pcpus are alike.
        let (vendor, signature) = (cpuid::host_leaf(0, 0), cpuid::host_leaf(1, 0).eax);
        let name = [vendor.ebx, vendor.edx, vendor.ecx];
        for (to, from) in version.vendor_id.chunks_exact_mut(4).zip(name) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        (version.family, version.model, version.stepping) = model(signature);
    }
    request.answer(&version)
}

/// Family, model and stepping (SDM "CPUID", figure "Version Information Returned by
/// CPUID in EAX").
const fn model(signature: u32) -> (u32, u32, u32) {
    const LAST: u32 = 0xf;
    let (family, model) = (signature >> 8 & LAST, signature >> 4 & LAST);
    let extended_family = if family == LAST { signature >> 20 & 0xff } else { 0 };
    let extended_model = if family == 6 || family == LAST { signature >> 16 & LAST } else { 0 };
    (family + extended_family, extended_model << 4 | model, signature & LAST)
}
