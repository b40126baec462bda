//! The second vcpu: it overwrites shared memory while back ends read it. It is down while it has nothing to do.

use alloc::format;
use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_rt::hypercall;
use guest_rt::shared::Shared;
use guest_rt::smp::{self, Start};
use xen_abi::vcpu::VcpuOp;
use xen_backend::Memory as _;

use crate::ground::Check;
use crate::random::Random;

const VCPU: u32 = 1;

pub(super) struct Scribbler {
    stop: Arc<AtomicBool>,
}

impl Scribbler {
    pub(super) fn new() -> Check<Self> {
        smp::start(VCPU, Start::Hypercall).map_err(|error| format!("no second vcpu: {error:?}"))?;
        let this = Self { stop: Arc::new(AtomicBool::new(true)) };
        smp::run(VCPU, go_down);
        this.rest();
        Ok(this)
    }

    /// Overwrites words at these offsets until [`Self::rest`].
    pub(super) fn begin(&self, pages: Shared, words: Range<usize>, mut random: Random) {
        let up = hypercall::vcpu_op(VcpuOp::Up, VCPU, &mut ());
        assert!(up.is_ok(), "the second vcpu does not come up: {up:?}");
        smp::wait(VCPU);
        self.stop.store(false, Ordering::Release);
        let stop = Arc::clone(&self.stop);
        let count = words.len() / 4;
        smp::run(VCPU, move || {
            while !stop.load(Ordering::Acquire) {
                pages.store(words.start + random.index(count) * 4, random.u32());
            }
            go_down();
        });
    }

    /// Waits until nothing is overwritten any more.
    pub(super) fn rest(&self) {
        self.stop.store(true, Ordering::Release);
        while hypercall::vcpu_op(VcpuOp::IsUp, VCPU, &mut ()) != Ok(0) {
            hypercall::yield_now();
        }
    }
}

/// Until somebody brings the vcpu up again.
fn go_down() {
    let _ = hypercall::vcpu_op(VcpuOp::Down, VCPU, &mut ());
}
