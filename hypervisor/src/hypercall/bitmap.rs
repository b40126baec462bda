//! Bitmaps of the toolstack (`struct xenctl_bitmap`). One side may have more bits than
//! the other: what it lacks is zero.

use hv_core::id::MAX_PCPUS;
use hv_core::pcpu_set::PcpuSet;
use xen_abi::errno::Errno;
use xen_abi::xen::XenctlBitmap;

use super::Call;
use crate::guest_copy;

/// Longest bitmap that is filled up with zeros, in bytes.
const LONGEST: usize = 8192;
const BYTES: usize = MAX_PCPUS / 8;

/// Copies `bytes` to the toolstack's map, and zeros behind them.
///
/// # Errors
///
/// `EFAULT`; `EINVAL` for a map that is longer than any can have to be.
pub fn write(call: &Call<'_, '_>, map: &XenctlBitmap, bytes: &[u8]) -> Result<(), Errno> {
    static ZEROS: [u8; BYTES] = [0; BYTES];
    let len = len(map)?;
    let to = map.bitmap.address();
    let mut done = len.min(bytes.len());
    guest_copy::write(call.cpu, call.vcpu, to, bytes.get(..done).unwrap_or_default())?;
    while done < len {
        let step = (len - done).min(BYTES);
        let at = to.checked_add(done as u64).ok_or(Errno::EFAULT)?;
        guest_copy::write(call.cpu, call.vcpu, at, ZEROS.get(..step).unwrap_or_default())?;
        done += step;
    }
    Ok(())
}

/// The pcpus whose bits are set in the toolstack's map.
///
/// # Errors
///
/// As of [`write()`].
pub fn read(call: &Call<'_, '_>, map: &XenctlBitmap) -> Result<PcpuSet, Errno> {
    let mut bytes = [0; BYTES];
    let len = len(map)?.min(BYTES);
    let part = bytes.get_mut(..len).unwrap_or_default();
    guest_copy::read(call.cpu, call.vcpu, map.bitmap.address(), part)?;
    let bits = usize::try_from(map.nr_bits).unwrap_or(usize::MAX);
    if let Some(last) = bytes.get_mut(bits / 8) {
        *last &= !(0xff << (bits % 8));
    }
    Ok(PcpuSet::from_bytes(&bytes))
}

fn len(map: &XenctlBitmap) -> Result<usize, Errno> {
    let len = usize::try_from(map.nr_bits.div_ceil(8)).unwrap_or(usize::MAX);
    if len <= LONGEST { Ok(len) } else { Err(Errno::EINVAL) }
}
