//! What tests say often.

use core::fmt::Debug;

use guest_rt::cpu::Outcome;
use guest_rt::trap::Fault;
use xen_abi::errno::Errno;

use crate::verdict::Check;

/// Addresses at which no guest has memory: beyond what is mapped, not canonical, of
/// the hypervisor's half, and the last ones, which a structure runs over.
pub const BAD_POINTERS: [u64; 6] =
    [1 << 40, 0x7fff_ffff_f000, 1 << 47, 1 << 63, 0xffff_8000_0000_0000, u64::MAX - 3];

/// An instruction faults in this way.
pub fn fault<T: Debug>(outcome: Outcome<T>, vector: u8, error: u32, what: &str) -> Check {
    match outcome {
        Err(Fault { vector: v, error: e, .. }) if (v, e) == (vector, error) => Ok(()),
        Err(other) => fail!("{what}: {other}, expected {vector} error {error:#x}"),
        Ok(value) => fail!("{what}: no fault but {value:x?}"),
    }
}

/// It raises #GP(0).
pub fn protection<T: Debug>(outcome: Outcome<T>, what: &str) -> Check {
    fault(outcome, Fault::GENERAL_PROTECTION, 0, what)
}

/// It raises #UD.
pub fn undefined<T: Debug>(outcome: Outcome<T>, what: &str) -> Check {
    fault(outcome, Fault::INVALID_OPCODE, 0, what)
}

/// A hypercall returns this error.
pub fn errno(value: i64, errno: Errno, what: &str) -> Check {
    ensure!(value == errno.return_value(), "{what}: {value}, expected {} ({errno:?})", errno.return_value());
    Ok(())
}
