//! CPUID leaves of a policy, for the toolstack (`xen_cpuid_leaf_t`).

use alloc::vec::Vec;

use hv_core::cpuid::Policy;
use xen_abi::arch_x86::CpuidLeaf;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;

use super::Call;
use crate::guest_copy;

/// Copies the leaves of `policy` to the list `to`, which has room for `room` of them, or
/// nowhere if there is no list; returns how many they are.
///
/// # Errors
///
/// `ENOBUFS`, `EFAULT`.
pub fn write(
    call: &Call<'_, '_>,
    policy: &Policy,
    to: GuestHandle<CpuidLeaf>,
    room: u32,
) -> Result<u32, Errno> {
    let leaves: Vec<_> = policy.serialise().collect();
    let count = u32::try_from(leaves.len()).unwrap_or(u32::MAX);
    if to.is_null() {
        return Ok(count);
    }
    if room < count {
        return Err(Errno::ENOBUFS);
    }
    for (leaf, index) in leaves.iter().zip(0..) {
        guest_copy::write_item(call.cpu, call.vcpu, to, index, leaf)?;
    }
    Ok(count)
}
