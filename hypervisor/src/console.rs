//! The hypervisor's console: every message goes to the log ring, and from there
//! to the serial ports and the screen at the speed of each.
//!
//! ```text
//!   log::info!() ──> ring ──cursor──> com1 ──> 16 bytes at a time, by interrupt
//!                      ├───cursor──> com2
//!                      └───cursor──> screen
//! ```
//!
//! Nobody waits for a slow port, unless `sync_console` says so, the ring is about
//! to lose what a port has not sent yet, or the hypervisor is crashing.

use alloc::vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use hv_arch::screen::Screen;
use hv_arch::serial::{OpenError, Serial};
use hv_arch::sync::{Lock, Rank};
use hv_arch::time;
use hv_core::boot_info::Framebuffer;
use hv_core::cmdline::{Consoles, Options, SerialPort, Timestamps};
use hv_core::log::{Cursor, Decision, Level, RateLimit, Ring, Threshold, Verdict};

/// Log target of messages that a guest can provoke: `guest_loglvl=` applies.
pub const GUEST: &str = "guest";

/// What each line starts with; administrators' tools look for it.
const PREFIX: &str = "(XEN) ";
/// Ring before there is a heap.
const EARLY_RING: usize = 16 << 10;
/// Bytes that a 16550 takes at once.
const FIFO: usize = 16;
/// Longest wait for one byte of a port, microseconds: 11 bits at 50 baud.
const BYTE_US: u64 = 220_000;

/// A serial port as a sink.
struct Port {
    serial: Serial,
    io_base: u16,
    cursor: Cursor,
    /// Taken from the ring, line ends expanded, not sent yet.
    pending: ArrayVec<u8, { 2 * FIFO }>,
    /// Interrupt line, once it is routed.
    irq: Option<u8>,
    /// Whether the transmitter's interrupt is on.
    sending: bool,
}

struct Console {
    ring: Option<Ring<&'static mut [u8]>>,
    ports: ArrayVec<Port, 2>,
    screen: Option<(Screen, Cursor)>,
    sync: bool,
    timestamps: Timestamps,
    host: (Threshold, RateLimit),
    guest: (Threshold, RateLimit),
    at_line_start: bool,
    input: ArrayVec<u8, 64>,
}

static CONSOLE: Lock<Console> = Lock::new(
    Rank::Console,
    Console {
        ring: None,
        ports: ArrayVec::new_const(),
        screen: None,
        sync: false,
        timestamps: Timestamps::None,
        host: (Threshold::HOST_DEFAULT, RateLimit::XEN),
        guest: (Threshold::GUEST_DEFAULT, RateLimit::XEN),
        at_line_start: true,
        input: ArrayVec::new_const(),
    },
);

struct Logger;

static LOGGER: Logger = Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        CONSOLE.lock().log(record);
    }

    fn flush(&self) {
        flush();
    }
}

/// Opens the console on the serial ports that the command line names; messages
/// appear from now on. Returns what did not work, to be logged.
pub fn init(options: &Options<'_>) -> ArrayVec<(&'static str, OpenError), 2> {
    static EARLY: spin::Mutex<[u8; EARLY_RING]> = spin::Mutex::new([0; EARLY_RING]);
    let memory = spin::MutexGuard::leak(EARLY.lock());
    let mut errors = ArrayVec::new();
    {
        let mut console = CONSOLE.lock();
        console.ring = Some(Ring::new(memory.as_mut_slice()));
        console.sync = options.sync_console;
        console.timestamps = options.console_timestamps;
        console.host.0 = options.loglvl;
        console.guest.0 = options.guest_loglvl;
        let ports = [("com1", Consoles::COM1, options.com1), ("com2", Consoles::COM2, options.com2)];
        for (name, flag, port) in ports {
            if let Some(port) = port.filter(|_| options.console.contains(flag)) {
                match Serial::open(&port) {
                    Ok(serial) => console.ports.push(Port::new(serial, port.io_base)),
                    Err(error) => errors.push((name, error)),
                }
            }
        }
    }
    // Fails only if a logger is set already.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(log::LevelFilter::Trace);
    errors
}

/// Gives the ring its final size, `conring_size=` bytes, from the heap.
pub fn grow_ring(bytes: u64) {
    let Ok(bytes) = usize::try_from(bytes) else { return };
    // Allocated before the lock is taken: the heap's rank is lower.
    let memory = vec![0; bytes].leak();
    let mut console = CONSOLE.lock();
    if let Some(ring) = &mut console.ring
        && ring.capacity() < bytes
    {
        ring.move_to(memory);
    }
}

/// Shows the log on the screen, too.
pub fn add_screen(display: &Framebuffer) -> bool {
    let Some(screen) = Screen::open(display) else { return false };
    let mut console = CONSOLE.lock();
    console.screen = Some((screen, Cursor::START));
    console.pump();
    true
}

impl Port {
    fn new(serial: Serial, io_base: u16) -> Self {
        let (cursor, pending) = (Cursor::START, ArrayVec::new_const());
        Self { serial, io_base, cursor, pending, irq: None, sending: false }
    }

    /// Takes the next bytes from the ring if all before are sent. `false` if
    /// there are none.
    fn refill(&mut self, ring: &Ring<&'static mut [u8]>) -> bool {
        if self.pending.is_empty() {
            for &byte in ring.take(&mut self.cursor, FIFO).bytes {
                if byte == b'\n' {
                    self.pending.push(b'\r');
                }
                self.pending.push(byte);
            }
        }
        !self.pending.is_empty()
    }

    /// Sends what the transmitter takes now; returns whether it took anything.
    fn pump(&mut self, ring: &Ring<&'static mut [u8]>) -> bool {
        let mut progress = false;
        while self.refill(ring) {
            let sent = self.serial.send(&self.pending);
            if sent == 0 {
                break;
            }
            progress = true;
            self.pending.drain(..sent);
        }
        progress
    }

    /// Sends until at most `backlog` bytes of the ring are left.
    fn drain(&mut self, ring: &Ring<&'static mut [u8]>, backlog: u64) {
        while ring.backlog(self.cursor) > backlog || (backlog == 0 && !self.pending.is_empty()) {
            let start = hv_arch::cpu::rdtsc();
            let limit = time::ticks_from_us(BYTE_US);
            while !self.pump(ring) {
                if hv_arch::cpu::rdtsc().wrapping_sub(start) > limit {
                    // A dead port must not hold the machine.
                    return;
                }
                core::hint::spin_loop();
            }
        }
    }

    fn update_interrupt(&mut self, ring: &Ring<&'static mut [u8]>) {
        let sending = !self.pending.is_empty() || ring.backlog(self.cursor) > 0;
        if self.irq.is_some() && sending != self.sending {
            self.sending = sending;
            self.serial.set_interrupts(sending);
        }
    }
}

impl Console {
    fn log(&mut self, record: &log::Record<'_>) {
        let (threshold, limit) = if record.target() == GUEST { &mut self.guest } else { &mut self.host };
        let dropped = match threshold.decide(level(record.level())) {
            Decision::Always => 0,
            Decision::Never => return,
            Decision::RateLimited => match limit.allow(time::now_ns()) {
                Verdict::Allow => 0,
                Verdict::AllowAfterDropping(dropped) => dropped,
                Verdict::Drop => return,
            },
        };
        if dropped > 0 {
            self.line(format_args!("{dropped} messages suppressed"));
        }
        self.line(*record.args());
        self.pump();
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to the ring cannot fail.
        let _ = writeln!(self, "{text}");
    }

    fn start_line(&mut self) {
        self.at_line_start = false;
        self.raw(PREFIX.as_bytes());
        let ns = time::now_ns();
        // No wall clock is read yet, so dates count from the boot as well.
        let _ = match self.timestamps {
            Timestamps::None => Ok(()),
            Timestamps::Raw => write!(RawLine(self), "[{:016x}] ", hv_arch::cpu::rdtsc()),
            Timestamps::Boot | Timestamps::Date | Timestamps::DateMs => {
                write!(RawLine(self), "[{:6}.{:06}] ", ns / 1_000_000_000, ns / 1_000 % 1_000_000)
            }
        };
    }

    fn raw(&mut self, bytes: &[u8]) {
        let Some(ring) = &mut self.ring else { return };
        let room = (ring.capacity() as u64).saturating_sub(bytes.len() as u64);
        for port in &mut self.ports {
            if ring.backlog(port.cursor) > room {
                port.drain(ring, room);
            }
        }
        ring.write(bytes);
    }

    /// Moves the sinks on as far as they go without waiting, or all the way if
    /// the console is synchronous.
    fn pump(&mut self) {
        let Some(ring) = &self.ring else { return };
        for port in &mut self.ports {
            if self.sync {
                port.drain(ring, 0);
            } else {
                port.pump(ring);
            }
            port.update_interrupt(ring);
        }
        if let Some((screen, cursor)) = &mut self.screen {
            while let bytes @ [_, ..] = ring.take(cursor, usize::MAX).bytes {
                screen.write(bytes);
            }
        }
    }

    fn receive(&mut self) {
        for port in &mut self.ports {
            while let Some(byte) = port.serial.receive() {
                // Nobody types 64 keys ahead; what overflows is lost.
                let _ = self.input.try_push(byte);
            }
        }
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            if self.at_line_start {
                self.start_line();
            }
            self.raw(line.as_bytes());
            self.at_line_start = line.ends_with('\n');
        }
        Ok(())
    }
}

/// Writes without a prefix: for the prefix itself.
struct RawLine<'a>(&'a mut Console);

impl Write for RawLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.raw(text.as_bytes());
        Ok(())
    }
}

const fn level(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::Error,
        log::Level::Warn => Level::Warning,
        log::Level::Info => Level::Info,
        log::Level::Debug | log::Level::Trace => Level::Debug,
    }
}

/// Names the interrupt that the port at `io_base`, if it is in use, raises: it
/// then sends by itself.
pub fn set_irq(io_base: u16, irq: u8) {
    let mut console = CONSOLE.lock();
    let Console { ring, ports, .. } = &mut *console;
    let port = ports.iter_mut().find(|port| port.io_base == io_base);
    if let (Some(port), Some(ring)) = (port, ring) {
        port.irq = Some(irq);
        port.sending = true;
        port.serial.set_interrupts(true);
        port.update_interrupt(ring);
    }
}

/// Handles interrupt line `irq`.
pub fn interrupt(irq: u8) {
    let mut console = CONSOLE.lock();
    for port in console.ports.iter_mut().filter(|port| port.irq == Some(irq)) {
        port.serial.acknowledge();
    }
    console.receive();
    console.pump();
}

/// Serves ports that have no interrupt; `false` if there are none.
pub fn poll() -> bool {
    let mut console = CONSOLE.lock();
    let polled = console.ports.iter().any(|port| port.irq.is_none());
    if polled {
        console.receive();
        console.pump();
    }
    polled
}

/// The next key typed on a serial console.
pub fn key() -> Option<u8> {
    CONSOLE.lock().input.pop_at(0)
}

/// Whether someone has typed a key that [`key`] has not returned yet.
pub fn has_key() -> bool {
    !CONSOLE.lock().input.is_empty()
}

/// Waits until every sink has shown everything, to the last bit.
pub fn flush() {
    let mut console = CONSOLE.lock();
    let sync = core::mem::replace(&mut console.sync, true);
    console.pump();
    console.sync = sync;
    for port in &mut console.ports {
        let start = hv_arch::cpu::rdtsc();
        // The transmitter's FIFO and shift register.
        let limit = time::ticks_from_us(BYTE_US * (FIFO as u64 + 1));
        while !port.serial.is_idle() && hv_arch::cpu::rdtsc().wrapping_sub(start) < limit {
            hv_arch::cpu::relax();
        }
    }
}

/// Prints a report of a crash, from any context, and waits until it is out.
///
/// The console may have been the victim: if its lock stays taken (its holder
/// has been stopped), the report goes to the first serial port directly.
pub fn crash(text: fmt::Arguments<'_>) {
    const ATTEMPTS: u32 = 1_000_000;
    static STUCK: AtomicBool = AtomicBool::new(false);
    let attempts = if STUCK.load(Ordering::Relaxed) { 1 } else { ATTEMPTS };
    let console = (0..attempts).find_map(|_| {
        core::hint::spin_loop();
        CONSOLE.try_lock()
    });
    match console {
        Some(mut console) => {
            console.sync = true;
            console.line(text);
            console.pump();
        }
        None => {
            STUCK.store(true, Ordering::Relaxed);
            let _ = writeln!(Direct(Serial::open(&SerialPort::COM1).ok()), "{PREFIX}{text}");
        }
    }
}

struct Direct(Option<Serial>);

impl Write for Direct {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(serial) = &mut self.0 else { return Err(fmt::Error) };
        for byte in text.bytes() {
            let expanded: &[u8] = if byte == b'\n' { b"\r\n" } else { &[byte] };
            for &byte in expanded {
                while serial.send(&[byte]) == 0 {
                    core::hint::spin_loop();
                }
            }
        }
        Ok(())
    }
}
