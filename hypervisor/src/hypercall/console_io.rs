//! `console_io`: the hypervisor's console, for Dom0.

use xen_abi::errno::Errno;
use xen_abi::xen::ConsoleIo;

use super::slice::Slice;
use super::{Answer, Call, Reply};
use crate::{console, guest_copy, input};

/// Bytes copied at once: what others print does not come in between.
const CHUNK: usize = 256;

/// `HYPERVISOR_console_io(cmd, count, buffer)`.
///
/// | argument | meaning |
/// |---|---|
/// | 1 | `CONSOLEIO_write` or `CONSOLEIO_read` |
/// | 2 | bytes |
/// | 3 | guest virtual address of the buffer |
///
/// Returns 0 for a write, the number of bytes for a read. Errors: `EPERM` for a
/// domain other than Dom0, `EINVAL` for more than 2^31 - 1 bytes, `EFAULT`,
/// `ENOSYS`.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, count, buffer, ..] = call.arguments;
    let count =
        i32::try_from(count).ok().and_then(|count| usize::try_from(count).ok()).ok_or(Errno::EINVAL)?;
    match u32::try_from(op).ok().and_then(ConsoleIo::new).ok_or(Errno::ENOSYS)? {
        ConsoleIo::Write => write(call, buffer, count),
        ConsoleIo::Read => read(call, buffer, count),
    }
}

/// Bytes read before interrupts are taken.
const MOST_READ: usize = 4096;

fn write(call: &Call<'_, '_>, buffer: u64, count: usize) -> Reply {
    // A port that does not keep up takes milliseconds for each chunk.
    let slice = Slice::new();
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < count && (done == 0 || !slice.is_over()) {
        let piece = &mut chunk[..CHUNK.min(count - done)];
        let from = buffer.checked_add(done as u64).ok_or(Errno::EFAULT)?;
        guest_copy::read(call.cpu, call.vcpu, from, piece)?;
        console::dom0_write(piece);
        done += piece.len();
    }
    input::tell_of_log();
    if done < count {
        let [op, _, _, fourth, fifth] = call.arguments;
        let (left, next) = ((count - done) as u64, buffer.saturating_add(done as u64));
        return Ok(Answer::Again([op, left, next, fourth, fifth]));
    }
    Ok(Answer::Value(0))
}

fn read(call: &Call<'_, '_>, buffer: u64, count: usize) -> Reply {
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < count.min(MOST_READ) {
        let to = buffer.checked_add(done as u64).ok_or(Errno::EFAULT)?;
        let piece = &mut chunk[..CHUNK.min(count - done)];
        let read = console::read_input(piece);
        let piece = &piece[..read];
        if piece.is_empty() {
            break;
        }
        if let Err(error) = guest_copy::write(call.cpu, call.vcpu, to, piece) {
            console::give_back_input(piece);
            return Err(error);
        }
        done += piece.len();
    }
    Ok(Answer::Value(done as u64))
}
