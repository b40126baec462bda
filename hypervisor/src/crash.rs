//! Reports of the hypervisor's own bugs: where, registers, back trace; then the
//! machine starts again, or stops if `noreboot` was given.

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hv_arch::memory::{FirmwareMemory, Layout};
use hv_arch::power::{self, Reset};
use hv_arch::trap::TrapFrame;
use hv_arch::{backtrace, cpu, ipi, memory, percpu, time};
use hv_core::cmdline::{Options, RebootMethod};
use hv_core::symbols::Symbols;
use spin::Once;

use crate::console;

const DEPTH: usize = 32;
const REBOOT_DELAY_US: u64 = 5_000_000;

static SYMBOLS: Once<Symbols<'static>> = Once::new();
static POLICY: Once<(bool, Reset)> = Once::new();

/// Learns what to do after a crash.
pub fn init(options: &Options<'_>) {
    POLICY.call_once(|| (options.noreboot, reset_way(options)));
}

/// Learns the symbols that the loader put into memory.
pub fn load_symbols(layout: &Layout) {
    let bytes = |range| FirmwareMemory::bytes(range);
    if let Some(table) = layout.symbols()
        && let (Some(symbols), Some(strings)) = (bytes(table.symbols), bytes(table.strings))
    {
        SYMBOLS.call_once(|| Symbols::new(symbols, strings));
    }
}

/// How `reboot=` wants the machine to be reset.
pub fn reset_way(options: &Options<'_>) -> Reset {
    match options.reboot {
        None | Some(RebootMethod::Acpi) => Reset::Acpi,
        Some(RebootMethod::Keyboard) => Reset::Keyboard,
        Some(RebootMethod::Pci | RebootMethod::PowerCycle) => Reset::Cf9,
        Some(RebootMethod::Triple) => Reset::TripleFault,
    }
}

/// Whether addresses can be shown with names.
pub fn has_symbols() -> bool {
    SYMBOLS.get().is_some()
}

/// An address of code, shown as `[<address>] name+offset/size`.
pub enum Code {
    /// An instruction.
    At(u64),
    /// Where a call returns to: the call, just before, says which function.
    Return(u64),
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, back) = match *self {
            Self::At(address) => (address, 0),
            Self::Return(address) => (address, 1),
        };
        write!(f, "[<{address:016x}>]")?;
        if let Some(place) = SYMBOLS.get().and_then(|symbols| symbols.lookup(address.wrapping_sub(back))) {
            let offset = place.offset + back;
            write!(f, " {:#}+{offset:#x}/{:#x}", rustc_demangle::demangle(place.name), place.size)?;
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    begin();
    header();
    call_trace(cpu::frame_pointer());
    match info.location() {
        Some(at) => end(format_args!("{} ({at})", info.message())),
        None => end(format_args!("{}", info.message())),
    }
}

/// An exception in the hypervisor.
pub fn exception(frame: &TrapFrame) -> ! {
    begin();
    header();
    registers(frame);
    call_trace(frame.rbp);
    let hint = if frame.is_page_fault() && memory::is_stack_guard(cpu::page_fault_address())
        || memory::is_stack_guard(frame.rsp.wrapping_sub(8))
    {
        ": the stack overflowed into its guard page"
    } else {
        ""
    };
    if frame.is_page_fault() {
        crash_line(format_args!("Faulting linear address: {:016x}", cpu::page_fault_address()));
    }
    end(format_args!("FATAL TRAP: vec {}, {}[{:04x}]{hint}", frame.vector, frame.name(), frame.error));
}

fn crash_line(text: fmt::Arguments<'_>) {
    console::crash(text);
}

/// Makes sure that only one pcpu reports, once.
fn begin() {
    const NOBODY: usize = usize::MAX;
    static REPORTER: AtomicUsize = AtomicUsize::new(NOBODY);
    let me = percpu::this().id().index();
    match REPORTER.compare_exchange(NOBODY, me, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => console::while_quiet(ipi::stop_others),
        Err(reporter) if reporter == me => crash_in_report(),
        // The first report counts.
        Err(_) => cpu::halt_forever(),
    }
}

/// Ends a report that met a bug of its own.
fn crash_in_report() -> ! {
    static AGAIN: AtomicBool = AtomicBool::new(false);
    if AGAIN.swap(true, Ordering::AcqRel) {
        cpu::halt_forever();
    }
    crash_line(format_args!("Another crash, in the report of the first."));
    restart();
}

fn header() {
    let build = if cfg!(debug_assertions) { "y" } else { "n" };
    crash_line(format_args!("----[ Kigumi-{}  x86_64  debug={build} ]----", env!("CARGO_PKG_VERSION")));
    crash_line(format_args!("CPU:    {}", percpu::this().id()));
}

fn registers(f: &TrapFrame) {
    let [cr0, cr3, cr4] = cpu::control_registers();
    crash_line(format_args!("RIP:    {:04x}:{}", f.cs, Code::At(f.rip)));
    crash_line(format_args!("RFLAGS: {:016x}", f.rflags));
    crash_line(format_args!("rax: {:016x}   rbx: {:016x}   rcx: {:016x}", f.rax, f.rbx, f.rcx));
    crash_line(format_args!("rdx: {:016x}   rsi: {:016x}   rdi: {:016x}", f.rdx, f.rsi, f.rdi));
    crash_line(format_args!("rbp: {:016x}   rsp: {:016x}   r8:  {:016x}", f.rbp, f.rsp, f.r8));
    crash_line(format_args!("r9:  {:016x}   r10: {:016x}   r11: {:016x}", f.r9, f.r10, f.r11));
    crash_line(format_args!("r12: {:016x}   r13: {:016x}   r14: {:016x}", f.r12, f.r13, f.r14));
    crash_line(format_args!("r15: {:016x}   cr0: {cr0:016x}   cr4: {cr4:016x}", f.r15));
    crash_line(format_args!("cr3: {cr3:016x}   cr2: {:016x}", cpu::page_fault_address()));
}

/// Prints the calls that led to the frame pointer `rbp`.
fn call_trace(rbp: u64) {
    crash_line(format_args!("Xen call trace:"));
    backtrace::walk(rbp, DEPTH, |address| crash_line(format_args!("   {}", Code::Return(address))));
}

fn end(message: fmt::Arguments<'_>) -> ! {
    const RULE: &str = "****************************************";
    crash_line(format_args!("{RULE}"));
    crash_line(format_args!("Panic on CPU {}:", percpu::this().id()));
    crash_line(message);
    crash_line(format_args!("{RULE}"));
    restart();
}

fn restart() -> ! {
    let (noreboot, reset) = POLICY.get().copied().unwrap_or((false, Reset::Acpi));
    if noreboot {
        crash_line(format_args!("Manual reset required ('noreboot' specified)"));
        cpu::halt_forever();
    }
    crash_line(format_args!("Reboot in five seconds..."));
    time::delay_us(REBOOT_DELAY_US);
    power::reset(reset);
}

/// Stops the machine for a reason that lies outside the hypervisor: hardware
/// that is missing, a boot configuration that cannot work.
pub fn refuse(reason: fmt::Arguments<'_>) -> ! {
    console::print(reason);
    console::print(format_args!("System halted."));
    console::flush();
    ipi::stop_others();
    cpu::halt_forever();
}
