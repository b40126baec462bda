//! What CPUs can do: the machine's, and those of domains.

use hv_core::cpuid::{Policy, Regs};
use hv_core::id::DomId;
use xen_abi::cpufeatureset::NR_WORDS;
use xen_abi::errno::Errno;
use xen_abi::sysctl::{CpuFeatureset, CpuLevellingCaps, CpuPolicy, CpuPolicyIndex, FeaturesetIndex};

use super::Request;
use crate::domain::MAX_VCPUS;
use crate::hypercall::{Answer, Reply, leaves};
use crate::{cpuid, dom0, init};

/// A featureset (`arch-x86/cpufeatureset.h`) of what `leaf` answers.
fn words(leaf: impl Fn(u32, u32) -> Regs) -> [u32; NR_WORDS] {
    let (basic, extended, structured) = (leaf(1, 0), leaf(0x8000_0001, 0), leaf(7, 0));
    let (more, last) = (leaf(7, 1), leaf(7, 2));
    [
        basic.edx,
        basic.ecx,
        extended.edx,
        extended.ecx,
        leaf(0xd, 1).eax,
        structured.ebx,
        structured.ecx,
        leaf(0x8000_0007, 0).edx,
        leaf(0x8000_0008, 0).ebx,
        structured.edx,
        more.eax,
        leaf(0x8000_0021, 0).eax,
        more.ebx,
        last.edx,
        more.ecx,
        more.edx,
        // IA32_ARCH_CAPABILITIES: not shown.
        0,
        0,
        leaf(0x8000_0021, 0).ecx,
    ]
}

/// The machine's leaf, zero beyond its last.
fn host_leaf(leaf: u32, subleaf: u32) -> Regs {
    let last = cpuid::host_leaf(leaf & 0x8000_0000, 0).eax;
    let last_subleaf = || if leaf == 7 { cpuid::host_leaf(7, 0).eax } else { u32::MAX };
    if leaf > last || subleaf > last_subleaf() { Regs::default() } else { cpuid::host_leaf(leaf, subleaf) }
}

/// The machine's featureset.
pub fn host_words() -> [u32; NR_WORDS] {
    words(host_leaf)
}

/// What a domain gets unless the toolstack takes some of it away.
fn default_policy() -> Policy {
    cpuid::policy(DomId::DOM0, MAX_VCPUS, init::vmx_config(), dom0::tsc())
}

/// `get_cpu_levelling_caps`: none: they concern PV guests.
///
/// | | |
/// |---|---|
/// | Out | 0 |
pub fn levelling(request: &Request<'_, '_, '_>) -> Reply {
    request.answer(&CpuLevellingCaps { caps: 0 })
}

/// `get_cpu_featureset`
///
/// | | |
/// |---|---|
/// | In | which, room in words, or no list |
/// | Out | the words, how many |
/// | Errors | `EINVAL` for no such featureset; `EOPNOTSUPP` for those of PV guests; `ENOBUFS` if there is too little room: what fits is written |
pub fn featureset(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<CpuFeatureset>();
    let all = u32::try_from(NR_WORDS).unwrap_or(u32::MAX);
    if argument.features.is_null() {
        argument.nr_features = all;
        return request.answer(&argument);
    }
    let words = match FeaturesetIndex::new(argument.index).ok_or(Errno::EINVAL)? {
        FeaturesetIndex::Raw | FeaturesetIndex::Host => host_words(),
        FeaturesetIndex::Hvm | FeaturesetIndex::HvmMax => {
            let policy = default_policy();
            words(|leaf, subleaf| policy.leaf(leaf, subleaf))
        }
        FeaturesetIndex::Pv | FeaturesetIndex::PvMax => return Err(Errno::EOPNOTSUPP),
    };
    argument.nr_features = argument.nr_features.min(all);
    for (index, word) in (0..argument.nr_features).zip(&words) {
        request.set_item(argument.features, index, word)?;
    }
    request.write_back(&argument)?;
    if argument.nr_features < all { Err(Errno::ENOBUFS) } else { Ok(Answer::Value(0)) }
}

/// `get_cpu_policy`: leaves only; no MSR differs between domains.
///
/// | | |
/// |---|---|
/// | In | which, room, or no lists |
/// | Out | the leaves, how many |
/// | Errors | `EINVAL` for no such policy; `EOPNOTSUPP` for those of PV guests; `ENOBUFS` |
pub fn get(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<CpuPolicy>();
    let index = CpuPolicyIndex::new(argument.index).filter(|_| argument.rsvd == 0).ok_or(Errno::EINVAL)?;
    if matches!(index, CpuPolicyIndex::PvMax | CpuPolicyIndex::PvDefault) {
        return Err(Errno::EOPNOTSUPP);
    }
    // The machine's is cut down to what domains can have: nobody else uses it.
    let count = leaves::write(request.call, &default_policy(), argument.leaves, argument.nr_leaves)?;
    (argument.nr_leaves, argument.nr_msrs) = (count, 0);
    request.answer(&argument)
}
