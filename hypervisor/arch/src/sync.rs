//! Locks.
//!
//! The hypervisor runs with interrupts off wherever it holds a lock that an interrupt
//! handler takes: the idle loop turns them on and holds none, and between two stays in
//! a guest only that of the vcpu is held. So a lock need not touch the interrupt flag,
//! and an interrupt handler never meets a lock of its own pcpu.
//!
//! Each lock has a [`Rank`]; a pcpu takes locks in rising order. Debug builds
//! check both rules. The order is explained in `docs/locking.md`.

use core::ops::{Deref, DerefMut};

use spin::mutex::{SpinMutex, SpinMutexGuard};
#[cfg(debug_assertions)]
use {crate::percpu, x86_64::instructions::interrupts};

/// Places in the lock order: a lock may be taken while only lower ranks are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Rank {
    /// What a vcpu has on the CPU; held by the pcpu that runs it.
    Vcpu,
    /// State of one domain.
    Domain,
    /// Which event channels one domain has.
    Events,
    /// The same of a second domain, of a higher number ([`Lock::lock_as`]).
    SecondEvents,
    /// Queues of the event channels of one domain.
    EventQueues,
    /// Device models of one domain.
    Devices,
    /// Local APIC of one vcpu.
    Lapic,
    /// Where a vcpu's copies of its times are.
    Shared,
    /// Where one vcpu is: running, waiting or asleep.
    Schedule,
    /// Vcpus that wait for a pcpu.
    RunQueue,
    /// Deadlines of one pcpu.
    Timers,
    /// Starting, calling and stopping pcpus ([`crate::smp`], [`crate::ipi`]).
    Pcpus,
    /// What one domain has granted, or what it has mapped.
    Grants,
    /// A domain's p2m ([`crate::confines`]).
    P2m,
    /// The Rust heap ([`crate::heap`]).
    Heap,
    /// The hypervisor's page tables ([`crate::memory`]).
    PageTables,
    /// The frame allocator ([`crate::frames`]).
    Frames,
    /// Free VPIDs.
    Vpids,
    /// Registers of one I/O APIC ([`crate::ioapic`]).
    IoApic,
    /// Ports of PCI configuration space ([`crate::pci`]).
    PciConfig,
    /// Console ring and sinks; innermost, so that anything may log.
    Console,
}

/// A spin lock with a place in the lock order.
#[derive(Debug)]
pub struct Lock<T> {
    #[cfg(debug_assertions)]
    rank: Rank,
    inner: SpinMutex<T>,
}

impl<T> Lock<T> {
    /// A free lock around `value`.
    pub const fn new(rank: Rank, value: T) -> Self {
        let _ = rank;
        Self {
            #[cfg(debug_assertions)]
            rank,
            inner: SpinMutex::new(value),
        }
    }

    /// Waits for the lock and takes it.
    ///
    /// # Panics
    ///
    /// Debug builds: if interrupts are on, or if this pcpu holds a lock of the
    /// same or a higher rank.
    pub fn lock(&self) -> Guard<'_, T> {
        Guard {
            #[cfg(debug_assertions)]
            _order: Order::enter(self.rank),
            inner: self.inner.lock(),
        }
    }

    /// As [`Lock::lock`], but at another place in the order: for the second of two locks of
    /// one rank that are taken in an order of their own.
    ///
    /// # Panics
    ///
    /// As [`Lock::lock`].
    pub fn lock_as(&self, rank: Rank) -> Guard<'_, T> {
        let _ = rank;
        Guard {
            #[cfg(debug_assertions)]
            _order: Order::enter(rank),
            inner: self.inner.lock(),
        }
    }

    /// Takes the lock if it is free, without regard to the order: for reports of
    /// a crash, which may come from anywhere.
    pub fn try_lock(&self) -> Option<SpinMutexGuard<'_, T>> {
        self.inner.try_lock()
    }
}

/// Access to what a [`Lock`] guards; frees the lock when dropped.
#[derive(Debug)]
pub struct Guard<'a, T> {
    // Dropped before `order`: first the lock is free, then the pcpu says so.
    inner: SpinMutexGuard<'a, T>,
    #[cfg(debug_assertions)]
    _order: Order,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// Checks, in debug builds, that this pcpu holds no lock but that of the vcpu it
/// runs: it is about to wait for other pcpus, which may want the lock.
pub(crate) fn assert_may_wait() {
    #[cfg(debug_assertions)]
    {
        let held = percpu::this().held_locks().get();
        assert!(held & !(1 << Rank::Vcpu as u32) == 0, "waiting while holding ranks {held:#b}");
    }
}

/// The rank's bit in the set of locks that this pcpu holds.
#[cfg(debug_assertions)]
#[derive(Debug)]
struct Order(u32);

#[cfg(debug_assertions)]
impl Order {
    fn enter(rank: Rank) -> Self {
        assert!(!interrupts::are_enabled(), "{rank:?} lock taken with interrupts on");
        let held = percpu::this().held_locks();
        let bit = 1 << rank as u32;
        assert!(held.get() < bit, "{rank:?} lock taken while holding ranks {:#b}", held.get());
        held.set(held.get() | bit);
        Self(bit)
    }
}

#[cfg(debug_assertions)]
impl Drop for Order {
    fn drop(&mut self) {
        let held = percpu::this().held_locks();
        held.set(held.get() & !self.0);
    }
}
