//! The log as `xl dmesg` reads and clears it, and keys as `xl debug-keys` presses them.

use alloc::string::String;
use alloc::vec::Vec;

use guest_rt::println;
use guest_rt::window::Window;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::sysctl::{DebugKeys, ReadConsole, SysctlOp};
use xen_control::calls;
use zerocopy::FromZeros;

use crate::controller::Controller;
use crate::expect::BAD_POINTERS;

use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "console-log",
    description: "The log as xl dmesg reads and clears it, and keys as xl debug-keys presses them.",
    covers: &["LOG-02"],
    needs: &[],
    kind: Kind::Dom0(run),
};

fn run(controller: &Controller) -> Check {
    let host = controller.host()?;
    println!("console-log: first");
    let (all, end) = whole(host, false, 16 << 10)?;
    ensure!(all.contains("console-log: first\n"), "the log has no line that Dom0 has just written");
    println!("console-log: second");
    let (rest, after) = read(host, false, Some(end), 4096)?;
    ensure_eq!(rest, "console-log: second\n", "the log from where it ended");
    ensure_eq!(read(host, false, Some(after), 4096)?, (String::new(), after), "a log without new text");
    let (pieces, _) = whole(host, false, 7)?;
    ensure!(pieces.ends_with("first\nconsole-log: second\n"), "read in pieces it ends otherwise");

    // What is before the index that came back is cleared, nothing behind it.
    let (cleared, _) = whole(host, true, 16 << 10)?;
    ensure!(cleared.contains("console-log: second\n"), "clearing does not read");
    println!("console-log: third");
    let (rest, _) = whole(host, false, 16 << 10)?;
    ensure_eq!(rest, "console-log: third\n", "the log after it was cleared");
    let (lost, _) = read(host, false, Some(end), 4096)?;
    ensure_eq!(lost, "console-log: third\n", "the log from an index that was cleared");
    bad_buffers(host)?;
    keys(host)
}

fn bad_buffers(host: &Window) -> Check {
    for pointer in BAD_POINTERS {
        let mut read =
            ReadConsole { buffer: GuestHandle::new(pointer), count: 64, ..ReadConsole::new_zeroed() };
        let answer = calls::sysctl(host, SysctlOp::ReadConsole, &mut read);
        ensure_eq!(answer, Err(Errno::EFAULT), "log to {pointer:#x}");
    }
    Ok(())
}

fn keys(host: &Window) -> Check {
    let (_, end) = whole(host, false, 16 << 10)?;
    press(host, b"tm")?;
    let (answers, _) = read(host, false, Some(end), 4096)?;
    for key in ["'t' pressed", "'m' pressed", "frame table: consistent"] {
        ensure!(answers.contains(key), "no `{key}` in {answers:?}");
    }
    ensure_eq!(press(host, b""), Ok(()), "no keys");
    ensure_eq!(press(host, &[b' '; 257]), Err(Errno::EINVAL), "257 keys");
    let mut keys = DebugKeys { keys: GuestHandle::new(1 << 40), nr_keys: 1, _pad: 0 };
    let answer = calls::sysctl(host, SysctlOp::DebugKeys, &mut keys);
    ensure_eq!(answer, Err(Errno::EFAULT), "keys at nowhere");
    Ok(())
}

fn press(host: &Window, keys: &[u8]) -> Result<(), Errno> {
    let nr_keys = u32::try_from(keys.len()).map_err(|_| Errno::EINVAL)?;
    let mut argument = DebugKeys { keys: GuestHandle::new(keys.as_ptr() as u64), nr_keys, _pad: 0 };
    calls::sysctl(host, SysctlOp::DebugKeys, &mut argument)
}

/// The log from its beginning, `room` bytes at a time, and the index behind it.
fn whole(host: &Window, clear: bool, room: usize) -> Check<(String, u32)> {
    let (mut all, mut index) = (String::new(), None);
    loop {
        let (text, end) = read(host, clear, index, room)?;
        if text.is_empty() {
            return Ok((all, end));
        }
        all += &text;
        index = Some(end);
    }
}

/// One call of `readconsole`, from `index` or from the beginning.
fn read(host: &Window, clear: bool, index: Option<u32>, room: usize) -> Check<(String, u32)> {
    let mut text: Vec<u8> = alloc::vec![0; room];
    let mut argument = ReadConsole {
        clear: clear.into(),
        incremental: index.is_some().into(),
        index: index.unwrap_or(0),
        buffer: GuestHandle::new(text.as_mut_ptr() as u64),
        count: u32::try_from(room).unwrap_or(u32::MAX),
        ..ReadConsole::new_zeroed()
    };
    calls::sysctl(host, SysctlOp::ReadConsole, &mut argument)?;
    let count = argument.count as usize;
    ensure!(count <= room, "{count} bytes in {room}");
    text.truncate(count);
    Ok((String::from_utf8_lossy(&text).into_owned(), argument.index))
}
