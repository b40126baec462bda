//! Virtual local APIC (SDM "Advanced Programmable Interrupt Controller (APIC)").
//!
//! One [`Vlapic`] for each vcpu. Its registers live in a page that the caller
//! provides ([`ApicPage`]), in the layout that APIC virtualization works on;
//! beside the page there is only what no register shows.
//!
//! ```text
//!   MMIO, MSRs --> write --> Effect          send a message, tell an EOI, ask the timer again
//!   messages, pins, timer --> IRR --> pending --> accept --> ISR --> EOI
//! ```
//!
//! Where the CPU delivers interrupts from the page, call [`Vlapic::share`] before, write
//! [`Vlapic::interrupt_status`] and [`Vlapic::take_eoi_exits`] to the VMCS after each
//! change, and call [`Vlapic::written`] for each APIC-write exit: no state shadows a
//! register, so a write that did not exit is never missed.
//!
//! The pins reach the APIC by [`Vlapic::pulse`]; an 8259 pair behind LINT0 is
//! asked for its vector only where [`Vlapic::accepts_ext_int`] says so.

mod base;
mod message;
mod page;
mod rules;
#[cfg(test)]
mod tests;
mod timer;

pub use base::{APIC_ADDRESS, Mode};
pub use message::{Delivery, Destination, Message, Trigger, Vector};
pub use page::{ApicPage, PAGE_WORDS, Reg};

use crate::acpi::ApicId;
use crate::msr::Msr;
use crate::rate::Rate;
use base::ApicBase;
use page::VectorSet;
use rules::rule;
use timer::{Setting, Timer, TimerMode};

/// The access is a #GP(0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault;

/// What a write asks of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// Send this to the other local APICs of the domain, and to this one where
    /// it matches too.
    Send(Message),
    /// Tell the I/O APICs that a level-triggered interrupt has ended.
    EndOfInterrupt(Vector),
    /// Ask [`Vlapic::next_deadline`] again.
    TimerChanged,
    /// It was enabled by software: vectors that came before are lost, and levels that still
    /// stand have to be raised again.
    Enabled,
}

/// What reaches the CPU past the vectors, most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Reset the vcpu. The APIC is reset by taking the signal.
    Init,
    /// Start the vcpu in real mode at this 4-KiB page.
    StartUp(u8),
    /// Inject an NMI.
    Nmi,
}

/// A pin of the local APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pin {
    /// By convention the output of the 8259 pair.
    Lint0,
    /// By convention NMI.
    Lint1,
}

/// Version 14H, six LVT entries, EOI broadcasts can be suppressed
/// (SDM "Local APIC Version Register").
const VERSION: u32 = 1 << 24 | 5 << 16 | 0x14;
const LVT_MASKED: u32 = 1 << 16;
const SVR_RESET: u32 = 0xff;
const SVR_ENABLED: u32 = 1 << 8;
const SVR_SUPPRESS_EOI: u32 = 1 << 12;
/// Reserved bits of the DFR read as 1.
const DFR_RESERVED: u32 = 0x0fff_ffff;
const LVTS: [Reg; 6] =
    [Reg::LVT_TIMER, Reg::LVT_THERMAL, Reg::LVT_PERFORMANCE, Reg::LVT_LINT0, Reg::LVT_LINT1, Reg::LVT_ERROR];
/// Bits of the ESR (SDM "Error Handling").
const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
const ILLEGAL_REGISTER: u32 = 1 << 7;

/// How the guest interrupt status has changed by what was done here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusChange {
    /// Not at all.
    None,
    /// At most this vector was requested; the highest one requested may be higher.
    Requested(Vector),
    /// In any way: ask [`Vlapic::interrupt_status`].
    Any,
}

/// A local APIC with its registers in `P`.
#[derive(Debug)]
pub struct Vlapic<P> {
    page: P,
    id: ApicId,
    base: ApicBase,
    irr: VectorSet,
    isr: VectorSet,
    tmr: VectorSet,
    /// The TMR is not what [`Vlapic::take_eoi_exits`] told last.
    tmr_changed: bool,
    timer: Timer,
    /// Errors since the guest last wrote the ESR.
    errors: u32,
    init: bool,
    startup: Option<u8>,
    waits_for_startup: bool,
    nmi: bool,
    /// What [`Vlapic::take_status_change`] tells next.
    status: StatusChange,
}

impl<P: ApicPage> Vlapic<P> {
    /// The APIC after power-up: xAPIC mode, all but the boot CPU wait for a
    /// start-up message. `bus` is the rate of the timer's clock.
    ///
    /// In xAPIC mode an APIC shows the low 8 bits of its identifier.
    #[must_use]
    pub fn new(page: P, id: ApicId, boot_cpu: bool, bus: Rate) -> Self {
        let mut apic = Self {
            page,
            id,
            base: ApicBase::reset(boot_cpu),
            irr: VectorSet::new(Reg::IRR),
            isr: VectorSet::new(Reg::ISR),
            tmr: VectorSet::new(Reg::TMR),
            tmr_changed: false,
            timer: Timer::new(bus),
            errors: 0,
            init: false,
            startup: None,
            waits_for_startup: !boot_cpu,
            nmi: false,
            status: StatusChange::Any,
        };
        apic.reset_registers();
        apic
    }

    /// From now on the CPU works on the page as well: virtual-interrupt delivery.
    pub fn share(&mut self) {
        self.irr.share();
        self.isr.share();
        self.status = StatusChange::Any;
    }

    /// The identifier.
    pub fn id(&self) -> ApicId {
        self.id
    }

    /// The mode that `IA32_APIC_BASE` selects.
    pub fn mode(&self) -> Mode {
        self.base.mode()
    }

    /// `IA32_APIC_BASE`.
    pub fn read_base(&self) -> u64 {
        self.base.get()
    }

    /// Writes `IA32_APIC_BASE`. Disabling resets the APIC.
    pub fn write_base(&mut self, value: u64) -> Result<Effect, Fault> {
        let old = self.mode();
        self.base = self.base.write(value)?;
        match self.mode() {
            new if new == old => return Ok(Effect::None),
            Mode::Disabled | Mode::XApic => self.reset_registers(),
            Mode::X2Apic => self.store_identity(),
        }
        Ok(Effect::TimerChanged)
    }

    /// Loads 32 bits at `offset` of the page of registers, at TSC value `now`.
    ///
    /// Where the APIC is not mapped there is nothing: all bits are 1.
    pub fn read_mmio(&mut self, offset: u16, now: u64) -> u32 {
        match (self.mode(), self.xapic_register(offset)) {
            (Mode::XApic, Some(reg)) if rule(reg).readable(false) => self.load(reg, now),
            (Mode::XApic, _) => 0,
            _ => u32::MAX,
        }
    }

    /// Stores 32 bits at `offset` of the page of registers.
    pub fn write_mmio(&mut self, offset: u16, value: u32, now: u64) -> Effect {
        if self.mode() != Mode::XApic {
            return Effect::None;
        }
        let Some(reg) = self.xapic_register(offset) else { return Effect::None };
        rule(reg).clean(value).map_or(Effect::None, |value| self.write(reg, value, now))
    }

    /// Does what a store at `offset` should, after the CPU has put the value
    /// into the page: for an APIC-write VM exit (SDM "APIC-Write Emulation").
    pub fn written(&mut self, offset: u16, now: u64) -> Effect {
        let Some(reg) = Reg::at(offset) else { return Effect::None };
        match (reg, self.mode()) {
            (Reg::ID, _) => {
                self.store_identity();
                Effect::None
            }
            (Reg::ICR_LOW | Reg::SELF_IPI, Mode::X2Apic) => {
                let value = self.page.load(reg);
                self.write(reg, value, now)
            }
            _ => self.write_mmio(offset, self.page.load(reg), now),
        }
    }

    /// RDMSR of 800H to 8FFH.
    pub fn read_msr(&mut self, msr: Msr, now: u64) -> Result<u64, Fault> {
        let reg = self.x2apic_register(msr)?;
        if !rule(reg).readable(true) {
            return Err(Fault);
        }
        let high = if reg == Reg::ICR_LOW { self.page.load(Reg::ICR_X2APIC_HIGH) } else { 0 };
        Ok(u64::from(high) << 32 | u64::from(self.load(reg, now)))
    }

    /// WRMSR to 800H to 8FFH.
    pub fn write_msr(&mut self, msr: Msr, value: u64, now: u64) -> Result<Effect, Fault> {
        let reg = self.x2apic_register(msr)?;
        let [low, high] = halves(value);
        let low = rule(reg).check(low).ok_or(Fault)?;
        match (reg, high) {
            (Reg::ICR_LOW, high) => self.page.store(Reg::ICR_X2APIC_HIGH, high),
            (_, 0) => {}
            _ => return Err(Fault),
        }
        Ok(self.write(reg, low, now))
    }

    /// `IA32_TSC_DEADLINE`.
    pub fn read_tsc_deadline(&mut self, now: u64) -> u64 {
        self.expire(now);
        self.timer.tsc_deadline()
    }

    /// Writes `IA32_TSC_DEADLINE`. A deadline that has passed fires at once.
    pub fn write_tsc_deadline(&mut self, value: u64, now: u64) -> Effect {
        // SDM "TSC-Deadline Mode": in the other modes the write is ignored.
        if self.setting().mode != TimerMode::TscDeadline {
            return Effect::None;
        }
        self.timer.set_tsc_deadline(value);
        self.expire(now);
        Effect::TimerChanged
    }

    /// When [`Vlapic::expire`] is to be called, as a TSC value.
    ///
    /// A masked timer needs no call: what it would show is computed when read.
    pub fn next_deadline(&self) -> Option<u64> {
        let masked = self.page.load(Reg::LVT_TIMER) & LVT_MASKED != 0;
        self.timer.next_expiry().filter(|_| !masked)
    }

    /// Fires the timer if it has expired by `now`, and says whether it raised
    /// an interrupt.
    pub fn expire(&mut self, now: u64) -> bool {
        let setting = self.setting();
        self.timer.expire(setting, now) && self.local(Reg::LVT_TIMER)
    }

    /// Whether messages for `destination` are for this APIC too
    /// (SDM "Determining IPI Destination", "Logical Destination Mode in x2APIC Mode").
    pub fn matches(&self, destination: Destination) -> bool {
        match (destination, self.mode()) {
            (_, Mode::Disabled) => false,
            (Destination::All, _) => true,
            (Destination::AllBut(id), _) => id != self.id,
            (Destination::Physical(id), Mode::XApic) => id.get() == self.id.get() & 0xff,
            (Destination::Physical(id), Mode::X2Apic) => id == self.id,
            (Destination::Logical(set), Mode::XApic) => self.matches_xapic_set(set),
            (Destination::Logical(set), Mode::X2Apic) => {
                let own = logical_id(self.id);
                set >> 16 == own >> 16 && set & own & 0xffff != 0
            }
        }
    }

    /// Takes in a message that is for this APIC, and says whether it had an effect.
    pub fn receive(&mut self, message: Message) -> bool {
        self.mode() != Mode::Disabled && self.deliver(message.delivery, message.vector, message.trigger)
    }

    /// An active edge on `pin`; it does what the pin's LVT entry says.
    pub fn pulse(&mut self, pin: Pin) -> bool {
        let lvt = match pin {
            Pin::Lint0 => Reg::LVT_LINT0,
            Pin::Lint1 => Reg::LVT_LINT1,
        };
        match (self.mode(), pin) {
            // SDM "Local APIC Status and Location": the pins are INTR and NMI then.
            (Mode::Disabled, Pin::Lint1) => self.deliver(Delivery::Nmi, 0, Trigger::Edge),
            (Mode::Disabled, Pin::Lint0) => false,
            _ => self.local(lvt),
        }
    }

    /// Whether an interrupt of the 8259 pair goes to this CPU with the vector
    /// that the pair tells on acknowledgement.
    ///
    /// If not, its output may still be a plain edge on LINT0, which the pair
    /// never sees acknowledged.
    pub fn accepts_ext_int(&self) -> bool {
        let lvt = self.page.load(Reg::LVT_LINT0);
        let through_lint0 = lvt & LVT_MASKED == 0 && Delivery::from_bits(lvt) == Some(Delivery::ExtInt);
        self.mode() == Mode::Disabled || through_lint0
    }

    /// The vector that the CPU should be interrupted with: the highest one
    /// requested, if its class is above the processor priority.
    pub fn pending(&self) -> Option<Vector> {
        self.irr.highest(&self.page).filter(|vector| vector.class() > self.ppr() & 0xf0)
    }

    /// Moves [`Vlapic::pending`]'s vector from request to service, as the CPU's
    /// acknowledgement does, and returns it for injection.
    pub fn accept(&mut self) -> Option<Vector> {
        let vector = self.pending()?;
        self.irr.remove(&mut self.page, vector);
        self.isr.insert(&mut self.page, vector);
        self.status = StatusChange::Any;
        self.update_ppr();
        Some(vector)
    }

    /// The highest vector requested, whatever the priorities, in bits 7:0 and the
    /// highest one in service in bits 15:8 (SDM "Guest Interrupt Status").
    pub fn interrupt_status(&self) -> u16 {
        let requested = self.irr.highest(&self.page).map_or(0, Vector::get);
        let in_service = self.isr.highest(&self.page).map_or(0, Vector::get);
        u16::from_le_bytes([requested, in_service])
    }

    /// Whether [`Vlapic::take_status_change`] has anything to tell.
    #[inline]
    pub fn has_status_change(&self) -> bool {
        self.status != StatusChange::None
    }

    /// How [`Vlapic::interrupt_status`] has changed since the last call, by what was done
    /// here: a CPU that delivers interrupts itself knows the rest.
    #[inline]
    pub fn take_status_change(&mut self) -> StatusChange {
        core::mem::replace(&mut self.status, StatusChange::None)
    }

    /// The vectors whose EOI must exit, vector 0 first, if they have changed since the
    /// last call (SDM "Controls for APIC Virtualization", EOI-exit bitmap).
    pub fn take_eoi_exits(&mut self) -> Option<[u64; 4]> {
        core::mem::take(&mut self.tmr_changed).then(|| self.tmr.bits(&self.page))
    }

    /// What the end of `vector` asks for: also for an EOI-induced VM exit, before
    /// which the CPU has cleared the in-service bit itself (SDM "EOI Virtualization").
    pub fn ended(&self, vector: Vector) -> Effect {
        let suppressed = self.page.load(Reg::SVR) & SVR_SUPPRESS_EOI != 0;
        if self.tmr.contains(&self.page, vector) && !suppressed {
            Effect::EndOfInterrupt(vector)
        } else {
            Effect::None
        }
    }

    /// The TPR threshold at which the CPU must exit so that what is requested
    /// can be delivered (SDM "TPR Virtualization"); 0 if the TPR hinders nothing.
    pub fn tpr_threshold(&self) -> u8 {
        let requested = self.irr.highest(&self.page).map_or(0, Vector::class);
        if requested != 0 && requested <= self.tpr() & 0xf0 { requested >> 4 } else { 0 }
    }

    /// Task priority; CR8 is its high half.
    pub fn tpr(&self) -> u8 {
        low_byte(self.page.load(Reg::TPR))
    }

    /// Sets the task priority.
    pub fn set_tpr(&mut self, tpr: u8) {
        self.page.store(Reg::TPR, tpr.into());
        self.update_ppr();
    }

    /// Processor priority (SDM "Task and Processor Priorities").
    pub fn ppr(&self) -> u8 {
        let tpr = self.tpr();
        let in_service = self.isr.highest(&self.page).map_or(0, Vector::class);
        if tpr & 0xf0 >= in_service { tpr } else { in_service }
    }

    /// The most urgent signal, left in place.
    ///
    /// A CPU that waits for its start-up holds back NMIs.
    pub fn signal(&self) -> Option<Signal> {
        match self.startup {
            _ if self.init => Some(Signal::Init),
            Some(page) if self.waits_for_startup => Some(Signal::StartUp(page)),
            _ if self.nmi && !self.waits_for_startup => Some(Signal::Nmi),
            _ => None,
        }
    }

    /// Takes the most urgent signal.
    ///
    /// After `Init` all but the boot CPU wait for a start-up message
    /// (SDM "MP Initialization Protocol Algorithm").
    pub fn take_signal(&mut self) -> Option<Signal> {
        let signal = self.signal()?;
        match signal {
            Signal::Init => {
                self.init = false;
                self.nmi = false;
                self.waits_for_startup = !self.base.boot_cpu();
                self.reset_registers();
            }
            Signal::StartUp(_) => {
                self.startup = None;
                self.waits_for_startup = false;
            }
            Signal::Nmi => self.nmi = false,
        }
        Some(signal)
    }

    /// The CPU has been started without a start-up message.
    pub fn start(&mut self) {
        (self.startup, self.waits_for_startup) = (None, false);
    }

    /// Whether the CPU waits for a start-up message.
    pub fn waits_for_startup(&self) -> bool {
        self.waits_for_startup
    }

    /// The register at `offset`, or an error in the ESR (SDM "Error Handling":
    /// illegal register address).
    fn xapic_register(&mut self, offset: u16) -> Option<Reg> {
        // Between registers the SDM leaves accesses undefined; here nothing happens.
        let reg = Reg::at(offset & !0xf).filter(|&reg| rule(reg).in_xapic());
        if reg.is_none() && self.mode() == Mode::XApic {
            self.error(ILLEGAL_REGISTER);
        }
        reg.filter(|_| offset.is_multiple_of(16))
    }

    fn x2apic_register(&self, msr: Msr) -> Result<Reg, Fault> {
        let offset = u16::try_from((msr.get() & 0xff) << 4).map_err(|_| Fault)?;
        let reachable = msr.is_x2apic() && self.mode() == Mode::X2Apic;
        Reg::at(offset).filter(|_| reachable).ok_or(Fault)
    }

    fn load(&mut self, reg: Reg, now: u64) -> u32 {
        match reg {
            Reg::TIMER_CURRENT => {
                self.expire(now);
                self.timer.count(self.setting(), now)
            }
            Reg::PPR => self.ppr().into(),
            _ => self.page.load(reg),
        }
    }

    /// Writes `value`, which has no reserved bits.
    fn write(&mut self, reg: Reg, value: u32, now: u64) -> Effect {
        match reg {
            Reg::EOI => return self.end_of_interrupt(),
            Reg::ICR_LOW => return self.send(value),
            Reg::SELF_IPI => self.interrupt_self(low_byte(value)),
            Reg::TPR => self.set_tpr(low_byte(value)),
            Reg::SVR => return self.write_svr(value),
            // A write latches what has happened since the last one.
            Reg::ESR => self.page.store(reg, core::mem::take(&mut self.errors)),
            Reg::LVT_TIMER => return self.write_lvt_timer(value, now),
            Reg::TIMER_INITIAL => return self.write_initial_count(value, now),
            Reg::TIMER_DIVIDE => return self.write_divide(value, now),
            Reg::DFR => self.page.store(reg, value | DFR_RESERVED),
            lvt if LVTS.contains(&lvt) => self.store_lvt(lvt, value),
            _ => self.page.store(reg, value),
        }
        Effect::None
    }

    fn end_of_interrupt(&mut self) -> Effect {
        let Some(vector) = self.isr.highest(&self.page) else { return Effect::None };
        self.isr.remove(&mut self.page, vector);
        self.status = StatusChange::Any;
        self.update_ppr();
        self.ended(vector)
    }

    /// Sends what the ICR says (SDM "Issuing Interprocessor Interrupts").
    fn send(&mut self, low: u32) -> Effect {
        self.page.store(Reg::ICR_LOW, low);
        let vector = low_byte(low);
        let Some(delivery) = Delivery::from_bits(low).filter(|&d| d != Delivery::ExtInt) else {
            return Effect::None;
        };
        // INIT with level de-assert synchronised arbitration on old CPUs only.
        if delivery == Delivery::Init && Trigger::from_bits(low) == Trigger::Level && low & 1 << 14 == 0 {
            return Effect::None;
        }
        if delivery.uses_vector() && Vector::new(vector).is_none() {
            self.error(SEND_ILLEGAL_VECTOR);
            return Effect::None;
        }
        let destination = match low >> 18 & 3 {
            0 => self.icr_destination(low & 1 << 11 != 0),
            1 => {
                if delivery == Delivery::Fixed {
                    self.interrupt_self(vector);
                }
                return Effect::None;
            }
            2 => Destination::All,
            _ => Destination::AllBut(self.id),
        };
        Effect::Send(Message { destination, delivery, vector, trigger: Trigger::Edge })
    }

    fn icr_destination(&self, logical: bool) -> Destination {
        match self.mode() {
            Mode::X2Apic => Destination::from_x2apic(self.page.load(Reg::ICR_X2APIC_HIGH), logical),
            _ => Destination::from_xapic(low_byte(self.page.load(Reg::ICR_HIGH) >> 24), logical),
        }
    }

    fn interrupt_self(&mut self, vector: u8) {
        self.deliver(Delivery::Fixed, vector, Trigger::Edge);
    }

    /// Masks the LVT when the guest disables the APIC (SDM "Local APIC State
    /// After It Has Been Software Disabled").
    fn write_svr(&mut self, value: u32) -> Effect {
        let was_enabled = self.enabled();
        self.page.store(Reg::SVR, value);
        if value & SVR_ENABLED != 0 {
            return if was_enabled { Effect::None } else { Effect::Enabled };
        }
        for lvt in LVTS {
            self.store_lvt(lvt, self.page.load(lvt));
        }
        Effect::TimerChanged
    }

    fn store_lvt(&mut self, lvt: Reg, value: u32) {
        let masked = if self.enabled() { 0 } else { LVT_MASKED };
        self.page.store(lvt, value | masked);
    }

    fn write_lvt_timer(&mut self, value: u32, now: u64) -> Effect {
        // What has expired was under the old entry.
        self.expire(now);
        self.store_lvt(Reg::LVT_TIMER, value);
        self.timer.change_mode(self.setting().mode);
        Effect::TimerChanged
    }

    fn write_initial_count(&mut self, value: u32, now: u64) -> Effect {
        // SDM "TSC-Deadline Mode": the write is ignored.
        if self.setting().mode == TimerMode::TscDeadline {
            return Effect::None;
        }
        self.expire(now);
        self.page.store(Reg::TIMER_INITIAL, value);
        self.timer.start(self.setting(), now);
        Effect::TimerChanged
    }

    fn write_divide(&mut self, value: u32, now: u64) -> Effect {
        self.expire(now);
        let count = self.timer.count(self.setting(), now);
        self.page.store(Reg::TIMER_DIVIDE, value);
        self.timer.resume(count, timer::divisor(value), now);
        Effect::TimerChanged
    }

    /// An interrupt from a local source, as its LVT entry says.
    fn local(&mut self, lvt: Reg) -> bool {
        let entry = self.page.load(lvt);
        // The timer and the error entry have no delivery mode: always fixed.
        match Delivery::from_bits(entry) {
            _ if entry & LVT_MASKED != 0 => false,
            // The pair is asked by `accepts_ext_int`; INIT works, start-up is reserved.
            Some(delivery @ (Delivery::Fixed | Delivery::Nmi | Delivery::Init)) => {
                self.deliver(delivery, low_byte(entry), Trigger::Edge)
            }
            _ => false,
        }
    }

    fn deliver(&mut self, delivery: Delivery, vector: u8, trigger: Trigger) -> bool {
        match delivery {
            Delivery::Fixed | Delivery::LowestPriority => self.request(vector, trigger),
            Delivery::Nmi => {
                self.nmi = true;
                true
            }
            Delivery::Init => {
                (self.init, self.startup) = (true, None);
                true
            }
            Delivery::StartUp => {
                let heard = self.init || self.waits_for_startup;
                if heard {
                    self.startup = Some(vector);
                }
                heard
            }
            Delivery::ExtInt => false,
        }
    }

    /// Sets the request bit of `vector`.
    fn request(&mut self, vector: u8, trigger: Trigger) -> bool {
        if !self.enabled() {
            return false;
        }
        let Some(vector) = Vector::new(vector) else {
            self.error(RECEIVE_ILLEGAL_VECTOR);
            return false;
        };
        match trigger {
            Trigger::Edge => self.tmr_changed |= self.tmr.remove(&mut self.page, vector),
            Trigger::Level => self.tmr_changed |= self.tmr.insert(&mut self.page, vector),
        }
        self.irr.insert(&mut self.page, vector);
        self.status = match self.status {
            StatusChange::None => StatusChange::Requested(vector),
            StatusChange::Requested(other) => StatusChange::Requested(vector.max(other)),
            StatusChange::Any => StatusChange::Any,
        };
        true
    }

    /// Notes errors for the ESR and raises the error interrupt.
    fn error(&mut self, bits: u32) {
        self.errors |= bits;
        let entry = self.page.load(Reg::LVT_ERROR);
        match Vector::new(low_byte(entry)) {
            _ if entry & LVT_MASKED != 0 => {}
            Some(vector) => _ = self.request(vector.get(), Trigger::Edge),
            // Not through `request`: this error must not raise itself again.
            None => self.errors |= RECEIVE_ILLEGAL_VECTOR,
        }
    }

    /// SDM "Logical Destination Mode": flat or cluster model as the DFR says.
    fn matches_xapic_set(&self, set: u32) -> bool {
        let own = self.page.load(Reg::LDR) >> 24;
        match self.page.load(Reg::DFR) >> 28 {
            _ if set > 0xff => false,
            0xf => own & set != 0,
            0 => own >> 4 == set >> 4 && own & set & 0xf != 0,
            _ => false,
        }
    }

    fn enabled(&self) -> bool {
        self.page.load(Reg::SVR) & SVR_ENABLED != 0
    }

    fn setting(&self) -> Setting {
        Setting {
            mode: TimerMode::from_lvt(self.page.load(Reg::LVT_TIMER)),
            initial: self.page.load(Reg::TIMER_INITIAL),
            divisor: timer::divisor(self.page.load(Reg::TIMER_DIVIDE)),
        }
    }

    /// Keeps the register right for those who read the page: the guest through
    /// the CPU, and the CPU.
    fn update_ppr(&mut self) {
        let ppr = self.ppr();
        self.page.store(Reg::PPR, ppr.into());
    }

    /// SDM "Local APIC State After Power-Up or Reset" and "After an INIT Reset":
    /// they differ in the identifier alone, which never changes here.
    fn reset_registers(&mut self) {
        for set in [&mut self.irr, &mut self.isr, &mut self.tmr] {
            set.clear(&mut self.page);
        }
        self.tmr_changed = true;
        self.status = StatusChange::Any;
        (0..64).filter_map(|slot| Reg::at(slot << 4)).for_each(|reg| self.page.store(reg, 0));
        self.page.store(Reg::VERSION, VERSION);
        self.page.store(Reg::DFR, u32::MAX);
        self.page.store(Reg::SVR, SVR_RESET);
        LVTS.iter().for_each(|&lvt| self.page.store(lvt, LVT_MASKED));
        self.errors = 0;
        self.timer.stop();
        self.store_identity();
    }

    fn store_identity(&mut self) {
        self.page.store(Reg::ICR_X2APIC_HIGH, 0);
        if self.mode() == Mode::X2Apic {
            self.page.store(Reg::ID, self.id.get());
            self.page.store(Reg::LDR, logical_id(self.id));
        } else {
            self.page.store(Reg::ID, self.id.get() << 24);
        }
    }
}

/// SDM "Deriving Logical x2APIC ID from the Local x2APIC ID": cluster in bits
/// 31:16, one bit of 15:0 within it.
fn logical_id(id: ApicId) -> u32 {
    (id.get() >> 4) << 16 | 1 << (id.get() & 0xf)
}

fn low_byte(word: u32) -> u8 {
    word.to_le_bytes()[0]
}

fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}
