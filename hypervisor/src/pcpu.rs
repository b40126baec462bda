//! What a pcpu does: idle until it is asked to run a function or, on the boot
//! CPU, until someone types a key.

use core::fmt;

use hv_arch::ipi;
use hv_arch::percpu;
use hv_arch::sync::{Lock, Rank};
use hv_core::id::{MAX_PCPUS, PcpuId};

use crate::{console, keys};

type Call = Lock<Option<fn()>>;

/// Functions that other pcpus want run.
static CALLS: [Call; MAX_PCPUS] = [const { Lock::new(Rank::Pcpus, None) }; MAX_PCPUS];

/// The idle loop.
pub fn idle() -> ! {
    let me = percpu::this().id();
    loop {
        while let Some(call) = take_call(me) {
            call();
        }
        if me == PcpuId::BOOT {
            while let Some(key) = console::key() {
                keys::handle(key);
            }
            if console::poll() {
                hv_arch::take_interrupts();
                continue;
            }
        }
        hv_arch::idle(|| has_call(me) || me == PcpuId::BOOT && console::has_key());
    }
}

fn take_call(pcpu: PcpuId) -> Option<fn()> {
    CALLS[pcpu.index()].lock().take()
}

fn has_call(pcpu: PcpuId) -> bool {
    CALLS[pcpu.index()].lock().is_some()
}

/// A pcpu has not begun with what it was asked to run before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy(pub PcpuId);

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU{} is busy with an earlier call", self.0)
    }
}

/// Asks `pcpu`, another one, to run `function` when it is idle next.
///
/// # Errors
///
/// [`Busy`].
pub fn call(pcpu: PcpuId, function: fn()) -> Result<(), Busy> {
    {
        let mut slot = CALLS[pcpu.index()].lock();
        if slot.is_some() {
            return Err(Busy(pcpu));
        }
        *slot = Some(function);
    }
    ipi::send(pcpu);
    Ok(())
}
