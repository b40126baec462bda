//! Event channels that interrupt the first vcpu: who waits for one is woken.
//!
//! ```text
//!   upcall ──> FIRED ──wake()──> wakers of those that wait ──> they take the event
//! ```
//!
//! The interrupt handler only moves bits: pending ones of the shared page that are not
//! masked to `FIRED`. Everything else happens between two turns of [`crate::tasks`]. A port
//! that fired stays masked until its event is taken: who sends without end raises one
//! interrupt for each time that somebody listens.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

use spin::{Mutex, Once};
use xen_abi::errno::Errno;
use xen_abi::event_channel::{
    EventChannelOp, EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindVirq, EvtchnClose, EvtchnSend,
};
use xen_abi::hvm_params::HvmParam;
use xen_abi::xen::{DOMID_SELF, Virq};
use xen_abi::{RawDomid, RawPort};

use crate::trap::{self, Frame};
use crate::{clock, events, hypercall};

/// Vector of the upcall.
const VECTOR: u8 = 0xf3;
/// `HVM_PARAM_CALLBACK_IRQ`: the rest is a vector (`hvm/params.h`).
const CALLBACK_VECTOR: u64 = 2 << 56;

/// Events that came and were not taken yet, a bit for each port.
static FIRED: [AtomicU64; events::WORDS] = [const { AtomicU64::new(0) }; events::WORDS];
/// Who waits for which port. The interrupt handler does not lock it.
static WAITERS: Mutex<BTreeMap<RawPort, Waker>> = Mutex::new(BTreeMap::new());

/// Lets events interrupt this vcpu, the first one, from now on.
///
/// # Errors
///
/// What the hypervisor says.
pub fn init() -> Result<(), Errno> {
    static DONE: Once<()> = Once::new();
    DONE.try_call_once(|| {
        clock::map_shared_info()?;
        events::mask_all();
        trap::set_handler(VECTOR, upcall);
        hypercall::set_hvm_param(HvmParam::CallbackIrq, CALLBACK_VECTOR | u64::from(VECTOR))?;
        trap::enable();
        Ok(())
    })
    .map(drop)
}

fn upcall(_: &mut Frame) {
    events::take_unmasked(|word, bits| {
        events::mask_all_of(word, bits);
        if let Some(fired) = FIRED.get(word) {
            fired.fetch_or(bits, Ordering::AcqRel);
        }
    });
}

/// Whether an event came that somebody waits for.
pub(crate) fn any_awaited() -> bool {
    WAITERS.lock().keys().any(|port| has_fired(*port))
}

/// Wakes those whose events came. An event that nobody waits for stays until somebody does.
pub(crate) fn wake() {
    WAITERS.lock().extract_if(.., |port, _| has_fired(*port)).for_each(|(_, waker)| waker.wake());
}

fn bit(port: RawPort) -> (Option<&'static AtomicU64>, u64) {
    (FIRED.get(port as usize / 64), 1 << (port % 64))
}

fn has_fired(port: RawPort) -> bool {
    let (word, bit) = bit(port);
    word.is_some_and(|word| word.load(Ordering::Acquire) & bit != 0)
}

fn fire(port: RawPort) {
    if let (Some(word), bit) = bit(port) {
        word.fetch_or(bit, Ordering::AcqRel);
    }
}

/// Takes the event of `port`, if there is one, and lets the next one come in.
fn take(port: RawPort) -> bool {
    let fired = forget(port);
    if fired {
        listen(port);
    }
    fired
}

/// Takes the event of `port`, if there is one; the port stays as it is.
fn forget(port: RawPort) -> bool {
    let (word, bit) = bit(port);
    word.is_some_and(|word| word.fetch_and(!bit, Ordering::AcqRel) & bit != 0)
}

/// Lets events of a port come in.
fn listen(port: RawPort) {
    events::unmask(port);
    // One that came while the port was masked raised no upcall, and the next one would raise
    // none either while it is pending. Binding to another domain's port leaves such an event.
    if events::take(port) {
        events::mask(port);
        fire(port);
    }
}

/// Takes the event of `port`, or has the task woken by it.
fn poll(port: RawPort, context: &Context<'_>) -> Poll<()> {
    if take(port) {
        return Poll::Ready(());
    }
    WAITERS.lock().insert(port, context.waker().clone());
    Poll::Pending
}

/// Lets events of a port come in for the first time.
fn open(port: RawPort) {
    forget(port);
    listen(port);
}

/// Keeps them out, and forgets what came.
fn shut(port: RawPort) {
    events::mask(port);
    WAITERS.lock().remove(&port);
    forget(port);
}

/// Ports whose events one task waits for. Others open and close them.
#[derive(Debug, Default)]
pub struct Set {
    ports: RefCell<BTreeSet<RawPort>>,
    /// The port that was told last: the ones behind it come first.
    last: Cell<RawPort>,
    /// Who waits, so that it looks at new ports.
    waiter: RefCell<Option<Waker>>,
}

impl Set {
    /// Adds a port that is open. An event that it has already is told.
    pub fn add(&self, port: RawPort) {
        self.ports.borrow_mut().insert(port);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    /// Removes a port; its events come no more.
    pub fn remove(&self, port: RawPort) {
        if self.ports.borrow_mut().remove(&port) {
            shut(port);
        }
    }

    /// Takes an event, if there is one; tells its port.
    pub fn take(&self) -> Option<RawPort> {
        let ports = self.ports.borrow();
        let last = self.last.get();
        let behind = ports.range(last.saturating_add(1)..);
        let port = behind.chain(ports.range(..=last)).copied().find(|port| take(*port))?;
        self.last.set(port);
        Some(port)
    }

    /// Waits for an event and takes it; tells its port. One task waits at a time.
    pub async fn event(&self) -> RawPort {
        poll_fn(|context| {
            if let Some(port) = self.take() {
                return Poll::Ready(port);
            }
            let mut waiters = WAITERS.lock();
            for &port in &*self.ports.borrow() {
                waiters.insert(port, context.waker().clone());
            }
            *self.waiter.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// An open port of this domain's. It is closed when this is dropped.
#[derive(Debug)]
pub struct Channel(RawPort);

impl Channel {
    /// Waits at a port that is open already.
    #[must_use]
    pub fn adopt(port: RawPort) -> Self {
        open(port);
        Self(port)
    }

    /// A port at which `remote` may bind.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn unbound(remote: RawDomid) -> Result<Self, Errno> {
        let mut argument = EvtchnAllocUnbound { dom: DOMID_SELF, remote_dom: remote, port: 0 };
        hypercall::event_channel_op(EventChannelOp::AllocUnbound, &mut argument)?;
        Ok(Self::adopt(argument.port))
    }

    /// Binds to a port of `remote`'s.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn interdomain(remote: RawDomid, port: RawPort) -> Result<Self, Errno> {
        let mut argument =
            EvtchnBindInterdomain { remote_dom: remote, _pad: 0, remote_port: port, local_port: 0 };
        hypercall::event_channel_op(EventChannelOp::BindInterdomain, &mut argument)?;
        Ok(Self::adopt(argument.local_port))
    }

    /// Binds to a virtual interrupt of the first vcpu, or a global one.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn virq(virq: Virq) -> Result<Self, Errno> {
        let mut argument = EvtchnBindVirq { virq: virq.get(), vcpu: 0, port: 0 };
        hypercall::event_channel_op(EventChannelOp::BindVirq, &mut argument)?;
        Ok(Self::adopt(argument.port))
    }

    /// Its number.
    #[must_use]
    pub fn port(&self) -> RawPort {
        self.0
    }

    /// Sends an event to the other end.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn send(&self) -> Result<(), Errno> {
        hypercall::event_channel_op(EventChannelOp::Send, &mut EvtchnSend { port: self.0 }).map(drop)
    }

    /// Takes the event, if one came.
    #[must_use]
    pub fn take(&self) -> bool {
        take(self.0)
    }

    /// Whether an event came that nobody has taken.
    pub(crate) fn has_fired(&self) -> bool {
        has_fired(self.0)
    }

    /// Waits for an event, and takes it. One task waits at a time.
    pub async fn event(&self) {
        poll_fn(|context| poll(self.0, context)).await;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        shut(self.0);
        // The hypervisor closes the ports of those that it ends.
        let _ = hypercall::event_channel_op(EventChannelOp::Close, &mut EvtchnClose { port: self.0 });
    }
}
