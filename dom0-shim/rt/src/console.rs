//! Output by `console_io` (`xen.h`): the hypervisor's console.

use core::fmt::{self, Write};

use xen_abi::xen::{ConsoleIo, Hypercall};

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let arguments = [ConsoleIo::Write as u64, text.len() as u64, text.as_ptr() as u64, 0, 0];
        // SAFETY: the text is valid for its length, and only read.
        let result = unsafe { crate::hypercall::call(Hypercall::ConsoleIo, arguments) };
        if result < 0 { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Prints, as far as the hypervisor lets this domain.
pub fn print(text: fmt::Arguments<'_>) {
    let _ = Console.write_fmt(text);
}

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::console::print(::core::format_args!("{}\n", ::core::format_args!($($argument)*)))
    };
}
