//! `multicall`: several hypercalls in one.

use xen_abi::errno::Errno;
use xen_abi::xen::{Hypercall, MulticallEntry};
use zerocopy::{FromZeros, IntoBytes};

use super::{Answer, Call, Reply, dispatch};
use crate::guest_copy::Guest;

/// Entries done before interrupts are taken.
const SLICE: u64 = 16;
const ENTRY_LEN: u64 = size_of::<MulticallEntry>() as u64;
/// Offset of the result in an entry.
const RESULT: u64 = 8;

/// `HYPERVISOR_multicall(entries, count)`.
///
/// | argument | meaning |
/// |---|---|
/// | 1 | guest virtual address of an array of `struct multicall_entry` |
/// | 2 | how many |
///
/// Each entry's `result` is what the hypercall returns. Only the last one can make the
/// vcpu wait; others that would return 0 at once.
///
/// Errors: `EFAULT`; entries before that have been done. An entry that is a multicall
/// itself has the result `-EINVAL`.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [mut at, mut left, third, fourth, fifth] = call.arguments;
    let mut last = Answer::Value(0);
    let guest = Guest::new(call.cpu, call.vcpu);
    for _ in 0..SLICE.min(left) {
        let mut entry = MulticallEntry::new_zeroed();
        guest.read(at, entry.as_mut_bytes())?;
        let [a, b, c, d, e, _] = entry.args;
        let reply = match entry.op {
            op if op == Hypercall::Multicall as u64 => Err(Errno::EINVAL),
            op => dispatch(op, &Call { cpu: call.cpu, vcpu: call.vcpu, arguments: [a, b, c, d, e] }),
        };
        last = Answer::Value(0);
        let result = match reply {
            Ok(Answer::Value(value)) => value,
            Ok(Answer::Again(arguments)) => {
                entry.args[..arguments.len()].copy_from_slice(&arguments);
                guest.write(at, entry.as_bytes())?;
                return Ok(Answer::Again([at, left, third, fourth, fifth]));
            }
            Ok(wait) => {
                last = wait;
                0
            }
            Err(error) => error.return_value().cast_unsigned(),
        };
        let to = at.checked_add(RESULT).ok_or(Errno::EFAULT)?;
        guest.write(to, &result.to_le_bytes())?;
        at = at.checked_add(ENTRY_LEN).ok_or(Errno::EFAULT)?;
        left -= 1;
    }
    if left == 0 { Ok(last) } else { Ok(Answer::Again([at, left, third, fourth, fifth])) }
}
