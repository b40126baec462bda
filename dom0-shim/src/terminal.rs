//! The machine's console as the shell's terminal: `console_io`, and `VIRQ_CONSOLE` for keys.

use alloc::collections::VecDeque;

use guest_rt::channels::Channel;
use guest_rt::{hypercall, timer};
use xen_abi::errno::Errno;
use xen_abi::xen::Virq;
use xl::terminal::Terminal;

/// Bytes that are read at once.
const CHUNK: usize = 64;

/// The machine's console.
pub struct Console {
    keys: Channel,
    typed: VecDeque<u8>,
}

impl Console {
    /// # Errors
    ///
    /// What the hypervisor says about `VIRQ_CONSOLE`.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self { keys: Channel::virq(Virq::Console)?, typed: VecDeque::new() })
    }

    /// Takes what was typed since the last look.
    fn fetch(&mut self) {
        let mut chunk = [0; CHUNK];
        loop {
            // A hypervisor that refuses has no keys.
            let read = hypercall::console_read(&mut chunk).unwrap_or(0);
            self.typed.extend(chunk.iter().take(read));
            if read < CHUNK {
                return;
            }
        }
    }
}

impl Terminal for Console {
    async fn read(&mut self) -> u8 {
        loop {
            self.fetch();
            if let Some(byte) = self.typed.pop_front() {
                return byte;
            }
            self.keys.event().await;
        }
    }

    async fn read_for(&mut self, ms: u64) -> Option<u8> {
        timer::within(ms.saturating_mul(1_000_000), self.read()).await
    }

    fn write(&mut self, text: &[u8]) {
        // Dom0 may write; if not, there is nobody to tell.
        let _ = hypercall::console_write(text);
    }
}
