//! Going on after a panic, for a test runner: the stack is cut back to [`catch`].
//!
//! Nothing on the way is dropped: memory leaks, and a lock that was held stays so.
//! That is why only the first vcpu may, and only for what is not used afterwards.

use core::arch::global_asm;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicPtr, Ordering};

use spin::Mutex;

use crate::{smp, trap};

/// Callee-saved registers and stack pointer of the ABI.
#[repr(C)]
struct Registers([u64; 7]);

/// Text of a panic, cut at its end.
#[derive(Clone, Copy)]
pub struct Message {
    bytes: [u8; 160],
    length: usize,
}

impl Message {
    const EMPTY: Self = Self { bytes: [0; 160], length: 0 };

    /// The text; line ends are spaces.
    #[must_use]
    pub fn text(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or("a panic without a text")
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes().filter(u8::is_ascii) {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = if byte == b'\n' { b' ' } else { byte };
                self.length += 1;
            }
        }
        Ok(())
    }
}

/// Where to go on, while [`catch`] runs.
static TARGET: AtomicPtr<Registers> = AtomicPtr::new(core::ptr::null_mut());
static MESSAGE: Mutex<Message> = Mutex::new(Message::EMPTY);

/// Runs `function` on the first vcpu; returns the message of the panic that ended it, if
/// one did, with interrupts off.
pub fn catch(mut function: impl FnMut()) -> Option<Message> {
    let mut registers = Registers([0; 7]);
    let mut object: &mut dyn FnMut() = &mut function;
    TARGET.store(&raw mut registers, Ordering::Release);
    // SAFETY: both pointers are valid until the call returns, the second time at the
    // latest, since the target is taken back then.
    let thrown = unsafe { guest_catch(&raw mut registers, (&raw mut object).cast()) };
    TARGET.store(core::ptr::null_mut(), Ordering::Release);
    (thrown != 0).then(|| *MESSAGE.lock())
}

/// In a panic: goes on behind the [`catch`] that runs, if there is one.
pub(crate) fn throw(info: &PanicInfo<'_>) {
    let target = TARGET.swap(core::ptr::null_mut(), Ordering::AcqRel);
    if target.is_null() || smp::current() != 0 {
        return;
    }
    trap::disable();
    let mut message = Message::EMPTY;
    // It takes what fits.
    let _ = write!(message, "{info}");
    *MESSAGE.lock() = message;
    // SAFETY: `catch` is still on this vcpu's stack: it takes the target back at its end.
    unsafe { guest_throw(target) }
}

/// Calls back.
extern "C" fn invoke(object: *mut u8) {
    // SAFETY: `catch` passes a pointer to such a reference, and waits.
    let function: &mut &mut dyn FnMut() = unsafe { &mut *object.cast() };
    function();
}

unsafe extern "C" {
    fn guest_catch(registers: *mut Registers, object: *mut u8) -> u64;
    fn guest_throw(registers: *const Registers) -> !;
}

global_asm!(
    r#"
    .pushsection .text.catch, "ax", @progbits
guest_catch:
    mov     [rdi], rbx
    mov     [rdi + 8], rbp
    mov     [rdi + 16], r12
    mov     [rdi + 24], r13
    mov     [rdi + 32], r14
    mov     [rdi + 40], r15
    mov     [rdi + 48], rsp
    mov     rdi, rsi
    sub     rsp, 8                          # calls need an aligned stack
    call    {invoke}
    add     rsp, 8
    xor     eax, eax
    ret

guest_throw:
    mov     rbx, [rdi]
    mov     rbp, [rdi + 8]
    mov     r12, [rdi + 16]
    mov     r13, [rdi + 24]
    mov     r14, [rdi + 32]
    mov     r15, [rdi + 40]
    mov     rsp, [rdi + 48]
    mov     eax, 1
    ret
    .popsection
"#,
    invoke = sym invoke,
);
