//! The controller's kernel as the control interface wants it.

use core::ops::Range;

use guest_rt::hypercall;
use guest_rt::window::Window;
use xen_abi::errno::Errno;
use xen_abi::xen::Hypercall;

/// This domain.
pub struct Kernel(Window);

impl Kernel {
    /// With a window for other domains' memory.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn new() -> Result<Self, Errno> {
        Window::new().map(Self)
    }
}

impl xen_control::Host for Kernel {
    fn hypercall(&self, number: Hypercall, arguments: [u64; 5]) -> i64 {
        hypercall::raw(number.get().into(), arguments)
    }

    fn relax(&self) {
        hypercall::yield_now();
    }

    fn window(&self) -> Range<u64> {
        self.0.frames()
    }

    fn read(&self, frame: u64, offset: usize, to: &mut [u8]) {
        self.0.read(frame, offset, to);
    }

    fn write(&self, frame: u64, offset: usize, from: &[u8]) {
        self.0.write(frame, offset, from);
    }
}
