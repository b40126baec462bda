//! Interrupts of devices, which come through the I/O APICs to the first vcpu: who waits for
//! one is woken.
//!
//! ```text
//!   pin ──> handler: count it; level-triggered: mask the pin ──wake()──> raised()
//!    ^                                                                      │
//!    └──────────── level-triggered: unmask, when all have served ──done()───┘
//! ```
//!
//! The handler ends the interrupt at the local APIC at once. Devices may share a pin: each
//! of its owners is told, and the pin stays masked until all of them are done.

use alloc::collections::BTreeMap;
use core::cell::Cell;
use core::fmt;
use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::task::{Poll, Waker};

use spin::Mutex;

use crate::acpi::{self, IoApic};
use crate::apic::{self, Apic, Mode, Register};
use crate::cpu;
use crate::trap::{self, Frame};

/// Vector of the first slot.
const FIRST_VECTOR: u8 = 0x30;
/// Pins that can be in use at a time.
const SLOTS: usize = 32;

/// Registers of an I/O APIC (82093AA data sheet): which one, its value.
const WINDOW: u64 = 0x10;
const VERSION: u32 = 0x01;
const REDIRECTION: u32 = 0x10;
/// A redirection entry's lower half.
const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

/// What about the line means "interrupt".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// That it becomes active: ISA devices.
    Edge,
    /// That it is active: PCI devices.
    Level,
}

/// Which level of the line is the active one. Where the firmware says otherwise the
/// hypervisor heeds that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polarity {
    /// The high one: ISA devices.
    High,
    /// The low one: PCI devices.
    Low,
}

/// Why there is no interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterruptError {
    /// No I/O APIC has a pin for it.
    NoPin(u32),
    /// It is in use, with another trigger or polarity.
    Conflict(u32),
    /// Too many are in use.
    TooMany,
}

impl fmt::Display for InterruptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPin(gsi) => write!(f, "interrupt {gsi}: no I/O APIC has a pin for it"),
            Self::Conflict(gsi) => {
                write!(f, "interrupt {gsi}: another driver has it with another trigger or polarity")
            }
            Self::TooMany => write!(f, "no more than {SLOTS} interrupts can be in use"),
        }
    }
}

/// A vector and the pin that has it. The handler only reads it, but for the counters.
struct Slot {
    /// The I/O APIC's registers.
    registers: AtomicU64,
    /// Number of the redirection entry's lower half.
    register: AtomicU32,
    /// The redirection entry's lower half, unmasked.
    entry: AtomicU32,
    gsi: AtomicU32,
    /// Handles; the slot is free without.
    users: AtomicU32,
    /// How often the interrupt came.
    raised: AtomicU32,
    /// Handles that have not served the last one yet, of a level-triggered one.
    unserved: AtomicU32,
}

impl Slot {
    const fn new() -> Self {
        Self {
            registers: AtomicU64::new(0),
            register: AtomicU32::new(0),
            entry: AtomicU32::new(0),
            gsi: AtomicU32::new(0),
            users: AtomicU32::new(0),
            raised: AtomicU32::new(0),
            unserved: AtomicU32::new(0),
        }
    }

    fn is_level(&self) -> bool {
        self.entry.load(Ordering::Acquire) & LEVEL != 0
    }

    /// Writes the entry, with `flags` added.
    fn program(&self, flags: u32) {
        let register = self.register.load(Ordering::Acquire);
        let entry = self.entry.load(Ordering::Acquire) | flags;
        write(self.registers.load(Ordering::Acquire), register, entry);
    }

    /// One handle has served what came; the last one lets the next interrupt in.
    fn served(&self) {
        if self.unserved.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.program(0);
        }
    }
}

static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// A task that waits.
struct Waiter {
    slot: usize,
    /// Interrupts that it knows of.
    told: u32,
    waker: Waker,
}

/// By handle. The interrupt handler does not lock it.
static WAITERS: Mutex<BTreeMap<u64, Waiter>> = Mutex::new(BTreeMap::new());

impl Waiter {
    fn is_over(&self) -> bool {
        raised(self.slot) != self.told
    }
}

fn raised(slot: usize) -> u32 {
    TABLE.get(slot).map_or(0, |slot| slot.raised.load(Ordering::Acquire))
}

/// Whether an interrupt came that somebody waits for.
pub(crate) fn any_awaited() -> bool {
    WAITERS.lock().values().any(Waiter::is_over)
}

/// Wakes those whose interrupts came.
pub(crate) fn wake() {
    WAITERS.lock().extract_if(.., |_, waiter| waiter.is_over()).for_each(|(_, waiter)| waiter.waker.wake());
}

/// A device's interrupt. When the last handle of a pin is dropped the pin is masked.
///
/// Only the first vcpu makes and uses them.
#[derive(Debug)]
pub struct Interrupt {
    number: u64,
    slot: usize,
    /// Interrupts that were told.
    told: Cell<u32>,
    /// Interrupts that were served.
    served: Cell<u32>,
}

impl Interrupt {
    /// Lets the interrupt of the I/O APICs' pin `gsi` in.
    ///
    /// # Errors
    ///
    /// [`InterruptError`].
    pub fn new(gsi: u32, trigger: Trigger, polarity: Polarity) -> Result<Self, InterruptError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let slot = trap::without_interrupts(|| claim(gsi, trigger, polarity))?;
        let raised = raised(slot);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { number, slot, told: Cell::new(raised), served: Cell::new(raised) })
    }

    /// Whether it has come since it was last told; then it has been told.
    #[must_use]
    pub fn take(&self) -> bool {
        let raised = raised(self.slot);
        self.told.replace(raised) != raised
    }

    /// Waits until it has come since it was last told.
    pub async fn raised(&self) {
        poll_fn(|context| {
            if self.take() {
                return Poll::Ready(());
            }
            let waiter = Waiter { slot: self.slot, told: self.told.get(), waker: context.waker().clone() };
            WAITERS.lock().insert(self.number, waiter);
            Poll::Pending
        })
        .await;
    }

    /// The device has been served: it does not ask any more, for what was told. A
    /// level-triggered interrupt can come again.
    pub fn done(&self) {
        trap::without_interrupts(|| self.serve(self.told.get()));
    }

    /// Interrupts up to number `told` have been served. Interrupts are off.
    fn serve(&self, told: u32) {
        let Some(slot) = TABLE.get(self.slot).filter(|slot| slot.is_level()) else { return };
        if self.served.replace(told) != told {
            slot.served();
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        WAITERS.lock().remove(&self.number);
        let Some(slot) = TABLE.get(self.slot) else { return };
        trap::without_interrupts(|| {
            if slot.users.fetch_sub(1, Ordering::AcqRel) == 1 {
                slot.program(MASKED);
            } else {
                self.serve(raised(self.slot));
            }
        });
    }
}

/// Whether the vectors have their handler.
static READY: AtomicBool = AtomicBool::new(false);
/// Whether the local APIC is in x2APIC mode.
static X2APIC: AtomicBool = AtomicBool::new(false);

/// Finds the slot of `gsi`, or prepares one. Interrupts are off.
fn claim(gsi: u32, trigger: Trigger, polarity: Polarity) -> Result<usize, InterruptError> {
    let flags = if trigger == Trigger::Level { LEVEL } else { 0 }
        | if polarity == Polarity::Low { ACTIVE_LOW } else { 0 };
    let in_use = |slot: &&Slot| slot.users.load(Ordering::Acquire) != 0;
    let same = |slot: &Slot| in_use(&slot) && slot.gsi.load(Ordering::Acquire) == gsi;
    if let Some((index, slot)) = TABLE.iter().enumerate().find(|(_, slot)| same(slot)) {
        if slot.entry.load(Ordering::Acquire) & !0xff != flags {
            return Err(InterruptError::Conflict(gsi));
        }
        slot.users.fetch_add(1, Ordering::AcqRel);
        return Ok(index);
    }
    let (registers, pin) = find_pin(gsi).ok_or(InterruptError::NoPin(gsi))?;
    let free = TABLE.iter().enumerate().zip(FIRST_VECTOR..).find(|((_, slot), _)| !in_use(slot));
    let ((index, slot), vector) = free.ok_or(InterruptError::TooMany)?;
    let apic = prepare_apic();
    slot.registers.store(registers, Ordering::Release);
    slot.register.store(REDIRECTION + 2 * pin, Ordering::Release);
    slot.entry.store(flags | u32::from(vector), Ordering::Release);
    slot.gsi.store(gsi, Ordering::Release);
    slot.unserved.store(0, Ordering::Release);
    slot.users.store(1, Ordering::Release);
    slot.program(MASKED);
    write(registers, REDIRECTION + 2 * pin + 1, apic.id() << 24);
    slot.program(0);
    Ok(index)
}

/// Registers of the I/O APIC that has the pin, and its number there.
fn find_pin(gsi: u32) -> Option<(u64, u32)> {
    acpi::io_apics().into_iter().find_map(|IoApic { address, gsi_base }| {
        let pin = gsi.checked_sub(gsi_base)?;
        // All ones is what an address without a device reads as.
        let version = Some(read(address, VERSION)).filter(|&version| version != u32::MAX)?;
        (pin <= version >> 16 & 0xff).then_some((address, pin))
    })
}

/// This vcpu's local APIC, ready for interrupts of devices.
fn prepare_apic() -> Apic {
    let apic = Apic::enable(if apic::has_x2apic() { Mode::X2Apic } else { Mode::XApic });
    X2APIC.store(apic.mode() == Mode::X2Apic, Ordering::Release);
    if !READY.swap(true, Ordering::AcqRel) {
        (FIRST_VECTOR..).take(SLOTS).for_each(|vector| trap::set_handler(vector, handle));
    }
    apic
}

fn handle(frame: &mut Frame) {
    let index = usize::from(frame.vector().wrapping_sub(FIRST_VECTOR));
    if let Some(slot) = TABLE.get(index) {
        let users = slot.users.load(Ordering::Acquire);
        if !slot.is_level() {
            slot.raised.fetch_add(1, Ordering::AcqRel);
        } else if users != 0 && slot.unserved.load(Ordering::Acquire) == 0 {
            slot.program(MASKED);
            slot.unserved.store(users, Ordering::Release);
            slot.raised.fetch_add(1, Ordering::AcqRel);
        }
    }
    end();
}

/// Ends the interrupt in service at the local APIC.
fn end() {
    // Without a look at its mode, which would cost a VM exit.
    let ended = if X2APIC.load(Ordering::Acquire) {
        cpu::wrmsr(apic::X2APIC + Register::EOI.0, 0)
    } else {
        cpu::poke_u32(apic::MMIO + u64::from(Register::EOI.0) * 16, 0)
    };
    debug_assert!(ended.is_ok());
}

/// Reads a register of an I/O APIC. Interrupts are off.
fn read(registers: u64, register: u32) -> u32 {
    let chosen = cpu::poke_u32(registers, register);
    chosen.and_then(|()| cpu::peek_u32(registers + WINDOW)).unwrap_or(0)
}

/// Writes a register of an I/O APIC. Interrupts are off.
fn write(registers: u64, register: u32, value: u32) {
    let written = cpu::poke_u32(registers, register).and_then(|()| cpu::poke_u32(registers + WINDOW, value));
    debug_assert!(written.is_ok());
}
