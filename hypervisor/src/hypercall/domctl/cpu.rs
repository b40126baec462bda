//! What the vcpus of a domain are: CPU policy, time stamp counter.

use alloc::vec::Vec;

use hv_arch::time;
use hv_core::msr::Msr;
use xen_abi::arch_x86::CpuidLeaf;
use xen_abi::domctl::{CpuPolicy, TscInfo, TscMode};
use xen_abi::errno::Errno;

use super::{DONE, Request};
use crate::hypercall::{Reply, leaves};
use crate::{clock, guest_copy};

/// Most leaves that are taken.
const MOST_LEAVES: u32 = 256;
/// Most MSRs that are taken.
const MOST_MSRS: u32 = 16;
/// MSRs that policies of Xen have. What toolstacks say of them changes nothing: no
/// domain sees any of either.
const POLICY_MSRS: [Msr; 2] = [Msr::new(0xce), Msr::IA32_ARCH_CAPABILITIES];
/// Nothing was refused.
const NONE: u32 = u32::MAX;

/// `get_cpu_policy`: leaves only; no MSR differs between domains.
///
/// | | |
/// |---|---|
/// | In | room, or no lists |
/// | Out | the leaves, how many |
/// | Errors | `ENOBUFS`; `EFAULT` |
pub fn get_policy(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<CpuPolicy>();
    let count = leaves::write(request.call, &request.domain.policy(), argument.leaves, argument.nr_leaves)?;
    (argument.nr_leaves, argument.nr_msrs) = (count, 0);
    request.answer(&argument)
}

/// `set_cpu_policy`: takes features away before the domain is started. What the
/// toolstack would add is not there afterwards either.
///
/// | | |
/// |---|---|
/// | In | leaves and MSRs |
/// | Out | the leaf or MSR that was refused |
/// | Errors | `EINVAL` for the caller's own domain, or a leaf or MSR that no policy has; `EEXIST` once the domain has been started; `E2BIG` for more than 256 leaves or 16 MSRs; `EFAULT` |
pub fn set_policy(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<CpuPolicy>();
    request.check_other_domain()?;
    if request.domain.has_started() {
        return Err(Errno::EEXIST);
    }
    if argument.nr_leaves > MOST_LEAVES {
        return Err(Errno::E2BIG);
    }
    (argument.err_leaf, argument.err_subleaf, argument.err_msr) = (NONE, NONE, NONE);
    if argument.nr_msrs > MOST_MSRS {
        return Err(Errno::E2BIG);
    }
    for index in 0..argument.nr_msrs {
        let msr = guest_copy::read_item(request.call.cpu, request.call.vcpu, argument.msrs, index.into())?;
        if msr.flags != 0 || !POLICY_MSRS.contains(&Msr::new(msr.idx)) {
            argument.err_msr = msr.idx;
            return request.answer(&argument).and(Err(Errno::EINVAL));
        }
    }
    let leaves = (0..argument.nr_leaves)
        .map(|index| {
            guest_copy::read_item(request.call.cpu, request.call.vcpu, argument.leaves, index.into())
        })
        .collect::<Result<Vec<CpuidLeaf>, _>>()?;
    match request.domain.policy().reduced(&leaves) {
        Ok(policy) => {
            if request.domain.set_policy(policy) {
                DONE
            } else {
                Err(Errno::EEXIST)
            }
        }
        Err(refused) => {
            (argument.err_leaf, argument.err_subleaf) = (refused.leaf, refused.subleaf);
            request.answer(&argument).and(Err(Errno::EINVAL))
        }
    }
}

/// `settscinfo`: the guest reads the host's counter, with an offset. That is what the
/// modes "default" and "never emulate" mean on a host whose counter is reliable.
///
/// | | |
/// |---|---|
/// | In | mode, frequency, how often the domain has moved |
/// | Errors | `EINVAL` for the caller's own domain, or an unknown mode; `EOPNOTSUPP` for emulation, or another frequency than the host's |
pub fn set_tsc(request: &Request<'_, '_, '_>) -> Reply {
    let mut tsc = request.view::<TscInfo>();
    request.check_other_domain()?;
    let mode = TscMode::new(tsc.tsc_mode).ok_or(Errno::EINVAL)?;
    let other_rate = mode == TscMode::Default && tsc.gtsc_khz != 0 && tsc.gtsc_khz != host_khz();
    if mode == TscMode::AlwaysEmulate || other_rate {
        return Err(Errno::EOPNOTSUPP);
    }
    tsc.incarnation = tsc.incarnation.wrapping_add(1);
    request.domain.settings().lock().tsc = tsc;
    if !request.domain.has_started() {
        let mut policy = request.domain.policy();
        policy.set_tsc_mode(tsc.tsc_mode, tsc.incarnation);
        request.domain.set_policy(policy);
    }
    DONE
}

/// `gettscinfo`
///
/// | | |
/// |---|---|
/// | Out | mode, frequency, how often the domain has moved, time since the host's start |
/// | Errors | `EINVAL` for the caller's own domain |
pub fn get_tsc(request: &Request<'_, '_, '_>) -> Reply {
    request.check_other_domain()?;
    let mut tsc = request.domain.settings().lock().tsc;
    let native = tsc.tsc_mode == TscMode::NeverEmulate.get();
    (tsc.gtsc_khz, tsc.elapsed_nsec) = if native { (0, 0) } else { (host_khz(), clock::now()) };
    request.answer(&tsc)
}

fn host_khz() -> u32 {
    u32::try_from(time::tsc_hz() / 1_000).unwrap_or(u32::MAX)
}
