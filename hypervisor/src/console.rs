//! The hypervisor's console: every message goes to the log ring, and from there
//! to the serial ports and the screen at the speed of each.
//!
//! ```text
//!   log::info!() ──> ring ──cursor──> com1 ──> 16 bytes at a time, by interrupt
//!                      ├───cursor──> com2
//!                      └───cursor──> screen
//! ```
//!
//! Dom0's text goes into the ring as it is: it may be a prompt that waits for an answer.
//!
//! Nobody waits for a slow port, unless `sync_console` says so, the ring is about
//! to lose what a port has not sent yet, or the hypervisor is crashing.

use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use hv_arch::screen::Screen;
use hv_arch::serial::{OpenError, Serial};
use hv_arch::sync::{Lock, Rank};
use hv_arch::{cpu, time};
use hv_core::boot_info::Framebuffer;
use hv_core::cmdline::{ConSwitch, Consoles, Options, SerialPort, Timestamps};
use hv_core::console_input::{Focus, Input, Notices};
use hv_core::log::{Cursor, Decision, Level, RateLimit, Ring, Threshold, Verdict};

/// Log target of messages that a guest can provoke: `guest_loglvl=` applies.
pub const GUEST: &str = "guest";

/// What each line starts with; administrators' tools look for it.
const PREFIX: &str = "(XEN) ";
/// Ring before there is a heap.
const EARLY_RING: usize = 16 << 10;
/// Bytes that a 16550 takes at once.
const FIFO: usize = 16;
/// Longest wait for a port's FIFO to become empty, microseconds: its bytes and the
/// one on the line, of 11 bits at 50 baud.
const FIFO_US: u64 = 220_000 * (FIFO as u64 + 1);
/// The same at 9600 baud.
const LAST_BYTES_US: u64 = 20_000;

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
    /// Whether it took nothing for so long that nobody waits for it any more.
    stuck: bool,
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
    /// Whether Dom0 has begun a line and not ended it.
    dom0_in_line: bool,
    input: Input,
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
        dom0_in_line: false,
        input: Input::new(),
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
                    Ok(serial) => {
                        console.ports.push(Port::new(serial, port.io_base));
                        DIRECT.lock().port.get_or_insert(port);
                    }
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
    let Some(bytes) = usize::try_from(bytes).ok().filter(|&bytes| bytes > EARLY_RING) else { return };
    let mut memory = Vec::new();
    if memory.try_reserve_exact(bytes).is_err() {
        log::warn!("conring_size: no memory for {bytes} bytes of log; it keeps {EARLY_RING}");
        return;
    }
    memory.resize(bytes, 0);
    // Allocated before the lock is taken: the heap's rank is lower.
    if let Some(ring) = &mut CONSOLE.lock().ring {
        ring.move_to(memory.leak());
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

/// Tries until `done`, at least once, for `us` microseconds; returns whether it was.
fn wait_for(us: u64, mut done: impl FnMut() -> bool) -> bool {
    let (start, limit) = (cpu::rdtsc(), time::ticks_from_us(us));
    while !done() {
        if cpu::rdtsc().wrapping_sub(start) >= limit {
            return false;
        }
        cpu::relax();
    }
    true
}

impl Port {
    fn new(serial: Serial, io_base: u16) -> Self {
        let (cursor, pending) = (Cursor::START, ArrayVec::new_const());
        Self { serial, io_base, cursor, pending, irq: None, sending: false, stuck: false }
    }

    /// Takes the next bytes from the ring if all before are sent. `false` if
    /// there are none.
    fn refill(&mut self, ring: &Ring<&'static mut [u8]>) -> bool {
        if self.pending.is_empty() {
            for piece in ring.take(&mut self.cursor, FIFO).bytes.split_inclusive(|&byte| byte == b'\n') {
                let (text, end) = piece.strip_suffix(b"\n").map_or((piece, &[][..]), |text| (text, b"\r\n"));
                // There is room for as many line ends as bytes.
                let _fits = self.pending.try_extend_from_slice(text);
                let _fits = self.pending.try_extend_from_slice(end);
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
        self.stuck &= !progress;
        progress
    }

    /// Sends until at most `backlog` bytes of the ring are left. A dead port holds
    /// the machine once, not at each message.
    fn drain(&mut self, ring: &Ring<&'static mut [u8]>, backlog: u64) {
        while ring.backlog(self.cursor) > backlog || (backlog == 0 && !self.pending.is_empty()) {
            let limit = if self.stuck { 0 } else { FIFO_US };
            if !wait_for(limit, || self.pump(ring)) {
                self.stuck = true;
                return;
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
        if core::mem::take(&mut self.dom0_in_line) {
            self.raw(b"\n");
        }
        self.raw(PREFIX.as_bytes());
        // No wall clock is read yet, so dates count from the boot as well.
        let _ = match self.timestamps {
            Timestamps::None => Ok(()),
            Timestamps::Raw => write!(RawLine(self), "[{:016x}] ", cpu::rdtsc()),
            Timestamps::Boot | Timestamps::Date | Timestamps::DateMs => {
                let ns = time::now_ns();
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
        RING_GREW.store(true, Ordering::Release);
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
                self.input.receive(byte);
            }
        }
        HAS_NOTICES.store(self.input.has_notices(), Ordering::Relaxed);
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

/// Whether the port at `io_base` is a sink.
pub fn is_open(io_base: u16) -> bool {
    CONSOLE.lock().ports.iter().any(|port| port.io_base == io_base)
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
///
/// The line is edge-triggered: it raises the next interrupt only if it has fallen,
/// so the ports are served until none asks for it. One that never ends asking
/// must not hold the machine.
pub fn interrupt(irq: u8) {
    const ROUNDS: u32 = 256;
    let mut console = CONSOLE.lock();
    for _ in 0..ROUNDS {
        let mut ports = console.ports.iter_mut().filter(|port| port.irq == Some(irq));
        if !ports.any(|port| port.serial.wants_service()) {
            break;
        }
        console.receive();
        console.pump();
    }
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

/// Whether something was typed that somebody has to be told of.
static HAS_NOTICES: AtomicBool = AtomicBool::new(false);
/// Whether the ring has text that Dom0 has not been told of.
static RING_GREW: AtomicBool = AtomicBool::new(false);

/// Whether input waits for [`take_notices`].
pub fn has_notices() -> bool {
    HAS_NOTICES.load(Ordering::Relaxed)
}

/// Takes what somebody has to be told of the input.
pub fn take_notices() -> Notices {
    let mut console = CONSOLE.lock();
    HAS_NOTICES.store(false, Ordering::Relaxed);
    console.input.take_notices()
}

/// Dom0 boots: input can be switched, and goes where `switch` says.
pub fn dom0_boots(switch: ConSwitch) {
    CONSOLE.lock().input.dom0_boots(switch);
    HAS_NOTICES.store(true, Ordering::Relaxed);
}

/// Who gets what is typed, and the letter of the key that changes it.
pub fn focus() -> (Focus, Option<char>) {
    CONSOLE.lock().input.focus()
}

/// The hypervisor's next key.
pub fn key() -> Option<u8> {
    CONSOLE.lock().input.key()
}

/// Moves input for Dom0 to `out`; returns how many bytes.
pub fn read_input(out: &mut [u8]) -> usize {
    CONSOLE.lock().input.read(out)
}

/// Takes back input that [`read_input`] returned and that did not reach Dom0.
pub fn give_back_input(bytes: &[u8]) {
    CONSOLE.lock().input.give_back(bytes);
}

/// Prints Dom0's text as it is.
pub fn dom0_write(text: &[u8]) {
    let mut console = CONSOLE.lock();
    console.raw(text);
    console.dom0_in_line = text.last().map_or(console.dom0_in_line, |&last| last != b'\n');
    console.pump();
}

/// Whether the ring has text that was not there before [`take_ring_grew`].
pub fn ring_grew() -> bool {
    RING_GREW.load(Ordering::Relaxed)
}

/// As [`ring_grew`]; from now on there is none.
pub fn take_ring_grew() -> bool {
    ring_grew() && RING_GREW.swap(false, Ordering::AcqRel)
}

/// Copies log text to `out`: from `index` on if it still lies in the log, else from its
/// oldest byte that was not cleared. Returns how much, and the index behind it.
pub fn read_log(index: Option<u32>, out: &mut [u8]) -> (usize, u32) {
    let console = CONSOLE.lock();
    let Some(ring) = &console.ring else { return (0, 0) };
    let mut cursor = ring.console_start(index);
    let read = ring.read(&mut cursor, out);
    (read.copied, cursor.index())
}

/// Forgets the log before `index`, for those who read it from its beginning.
pub fn clear_log(index: u32) {
    if let Some(ring) = &mut CONSOLE.lock().ring {
        let cursor = ring.console_start(Some(index));
        ring.clear_to(cursor);
    }
}

/// Waits until every sink has shown everything, to the last bit.
pub fn flush() {
    let mut console = CONSOLE.lock();
    let sync = core::mem::replace(&mut console.sync, true);
    console.pump();
    console.sync = sync;
    for port in &mut console.ports {
        let limit = if port.stuck { 0 } else { FIFO_US };
        let _sent = wait_for(limit, || port.serial.is_idle());
    }
}

/// Prints a line that no option can hide.
pub fn print(text: fmt::Arguments<'_>) {
    let mut console = CONSOLE.lock();
    console.line(text);
    console.pump();
}

/// Stops the other pcpus by `stop` while none of them is printing: one that is
/// stopped in the middle would keep the console's lock for ever.
pub fn while_quiet(stop: impl FnOnce()) {
    /// Who prints may be waiting for a port himself; it may also be the code that
    /// crashed.
    const PATIENCE_US: u64 = 500_000;
    /// Until the others, which may be waiting for the lock, have stopped.
    const STOPPING_US: u64 = 1_000;
    let mut console = None;
    wait_for(PATIENCE_US, || {
        console = CONSOLE.try_lock();
        console.is_some()
    });
    stop();
    time::delay_us(STOPPING_US);
}

/// Prints a report of a crash, from any context, and waits until it is out.
///
/// The console may have been the victim: if its lock is taken, by code that will
/// not go on, the report goes to the first serial port directly.
pub fn crash(text: fmt::Arguments<'_>) {
    if let Some(mut console) = CONSOLE.try_lock() {
        console.sync = true;
        console.line(text);
        console.pump();
    } else if let Some(mut direct) = DIRECT.try_lock() {
        // A port that does not take it: there is nobody left to tell.
        let _ = writeln!(direct, "{PREFIX}{text}");
    }
}

/// The way to the first serial port around the console.
static DIRECT: spin::Mutex<Direct> = spin::Mutex::new(Direct { port: None, serial: None });

struct Direct {
    port: Option<SerialPort>,
    serial: Option<Serial>,
}

impl Direct {
    /// Opens the port at the first use, when it has sent what it was given before:
    /// to open it empties its FIFO.
    fn serial(&mut self) -> Option<&mut Serial> {
        if self.serial.is_none() {
            time::delay_us(LAST_BYTES_US);
            self.serial = self.port.as_ref().and_then(|port| Serial::open(port).ok());
        }
        self.serial.as_mut()
    }
}

impl Write for Direct {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let serial = self.serial().ok_or(fmt::Error)?;
        let expanded =
            text.bytes().flat_map(|byte| (byte == b'\n').then_some(b'\r').into_iter().chain([byte]));
        for byte in expanded {
            if !wait_for(FIFO_US, || serial.send(&[byte]) == 1) {
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}
