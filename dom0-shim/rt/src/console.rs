//! Output: Dom0's goes to the hypervisor's console by `console_io`, a DomU's to its
//! ring (`io/console.h`), which the toolstack empties; without either, to port 0xE9.

use core::fmt::{self, Write};
use core::mem::offset_of;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

use spin::{Mutex, Once};
use xen_abi::hvm_params::HvmParam;
use xen_abi::io::console::{OUT_BYTES, XenconsInterface};
use xen_abi::xen::{ConsoleIo, Hypercall};

use crate::boot::Boot;
use crate::paging::PAGE_SIZE;
use crate::{cpu, hypercall};

#[derive(Clone, Copy)]
enum Sink {
    Hypervisor,
    /// Address of the ring's page.
    Ring(u64),
    Port,
}

const DEBUG_PORT: u16 = 0xe9;

static SINK: Once<Sink> = Once::new();
/// Keeps lines of several vcpus apart.
static LOCK: Mutex<()> = Mutex::new(());

/// Finds out where output goes.
pub(crate) fn init(boot: &Boot) {
    SINK.call_once(|| {
        if boot.is_dom0() {
            return Sink::Hypervisor;
        }
        match hypercall::hvm_param(HvmParam::ConsolePfn) {
            Ok(frame @ 1..) if frame < 1 << 20 => Sink::Ring(frame * PAGE_SIZE),
            _ => Sink::Port,
        }
    });
}

/// Bytes that are passed on at once: what others print does not come in between.
const PIECE: usize = 256;

struct Console {
    sink: Sink,
    piece: [u8; PIECE],
    filled: usize,
}

impl Console {
    fn print(sink: Sink, text: fmt::Arguments<'_>) {
        let mut console = Self { sink, piece: [0; PIECE], filled: 0 };
        // No sink fails.
        let _ = console.write_fmt(text);
        console.pass_on();
    }

    fn put(&mut self, byte: u8) {
        self.piece[self.filled] = byte;
        self.filled += 1;
        if self.filled == PIECE {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        let text = &self.piece[..core::mem::take(&mut self.filled)];
        match self.sink {
            Sink::Hypervisor => to_hypervisor(text),
            Sink::Ring(page) => text.iter().for_each(|&byte| to_ring(page, byte)),
            Sink::Port => text.iter().for_each(|&byte| to_port(byte)),
        }
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.put(byte));
        Ok(())
    }
}

fn to_hypervisor(text: &[u8]) {
    let arguments = [ConsoleIo::Write as u64, text.len() as u64, text.as_ptr() as u64, 0, 0];
    // As far as the hypervisor lets this domain.
    let _ = hypercall::raw(Hypercall::ConsoleIo as u64, arguments);
}

fn to_port(byte: u8) {
    // A domain whose port faults is mute.
    let _ = cpu::outb(DEBUG_PORT, byte);
}

/// Appends a byte to the ring; waits while it is full.
fn to_ring(page: u64, byte: u8) {
    let index = |offset: usize| {
        let place = (crate::to_usize(page) + offset) as *mut u32;
        // SAFETY: the page that the hypervisor named holds the ring; only atomically
        // is this index used.
        unsafe { AtomicU32::from_ptr(place) }
    };
    let consumer = index(offset_of!(XenconsInterface, out_cons));
    let producer = index(offset_of!(XenconsInterface, out_prod));
    let produced = producer.load(Ordering::Relaxed);
    while produced.wrapping_sub(consumer.load(Ordering::Acquire)) as usize >= OUT_BYTES {
        hypercall::yield_now();
    }
    let place = crate::to_usize(page) + offset_of!(XenconsInterface, output) + produced as usize % OUT_BYTES;
    // SAFETY: in the ring, and the place is free.
    unsafe { (place as *mut u8).write_volatile(byte) };
    producer.store(produced.wrapping_add(1), Ordering::Release);
}

/// Prints.
pub fn print(text: fmt::Arguments<'_>) {
    let Some(sink) = SINK.get() else { return };
    let _guard = LOCK.lock();
    Console::print(*sink, text);
}

/// Prints the report of a panic, whoever holds the lock.
pub(crate) fn print_panic(info: &PanicInfo<'_>) {
    let sink = SINK.get().copied().unwrap_or(Sink::Port);
    Console::print(sink, format_args!("{info}\n"));
}

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::console::print(::core::format_args!("{}\n", ::core::format_args!($($argument)*)))
    };
}
