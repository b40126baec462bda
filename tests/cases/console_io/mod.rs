//! Dom0 writes to the hypervisor's console; lengths and pointers are checked.

use alloc::format;

use guest_rt::hypercall;
use xen_abi::errno::Errno;

use crate::controller::Controller;
use crate::expect;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "console-io",
    description: "Dom0 writes to the hypervisor's console; lengths and pointers are checked.",
    covers: &["LOG-02"],
    needs: &[],
    kind: Kind::Dom0(run),
};

const CONSOLE_IO: u64 = 18;

fn run(_: &Controller) -> Check {
    hypercall::console_write(b"console-io: a line\n")?;
    hypercall::console_write(b"")?;
    let text = b"x";
    let at = text.as_ptr() as u64;
    for (length, pointer, errno) in [
        (1 << 31, at, Errno::EINVAL),
        (u64::MAX, at, Errno::EINVAL),
        (1, 1 << 40, Errno::EFAULT),
        (1, 1 << 63, Errno::EFAULT),
        (1, u64::MAX, Errno::EFAULT),
    ] {
        let answer = hypercall::raw(CONSOLE_IO, [0, length, pointer, 0, 0]);
        expect::errno(answer, errno, &format!("{length:#x} bytes at {pointer:#x}"))?;
    }
    for command in [2, 7, u64::MAX] {
        let answer = hypercall::raw(CONSOLE_IO, [command, 0, at, 0, 0]);
        expect::errno(answer, Errno::ENOSYS, &format!("command {command:#x}"))?;
    }
    let mut key = [0_u8; 4];
    let read = hypercall::raw(CONSOLE_IO, [1, 4, key.as_mut_ptr() as u64, 0, 0]);
    ensure!((0..=4).contains(&read), "read: {read}");
    Ok(())
}
