//! The local APIC (SDM "Advanced Programmable Interrupt Controller (APIC)").

use crate::cpu;

/// How its registers are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// A page at 0xfee00000.
    XApic,
    /// MSRs from 0x800.
    X2Apic,
}

/// A register, by its number in x2APIC mode; in memory it is at 16 times that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register(pub u32);

impl Register {
    /// Local APIC id.
    pub const ID: Self = Self(0x02);
    /// Version.
    pub const VERSION: Self = Self(0x03);
    /// Task priority.
    pub const TPR: Self = Self(0x08);
    /// Processor priority.
    pub const PPR: Self = Self(0x0a);
    /// End of interrupt.
    pub const EOI: Self = Self(0x0b);
    /// Logical destination.
    pub const LDR: Self = Self(0x0d);
    /// Spurious-interrupt vector.
    pub const SPURIOUS: Self = Self(0x0f);
    /// First of the 8 words of interrupts in service.
    pub const ISR: Self = Self(0x10);
    /// First of the 8 words of interrupts requested.
    pub const IRR: Self = Self(0x20);
    /// Error status.
    pub const ESR: Self = Self(0x28);
    /// Interrupt command.
    pub const ICR: Self = Self(0x30);
    /// LVT of the timer.
    pub const LVT_TIMER: Self = Self(0x32);
    /// LVT of LINT0.
    pub const LVT_LINT0: Self = Self(0x35);
    /// LVT of errors.
    pub const LVT_ERROR: Self = Self(0x37);
    /// Timer's initial count.
    pub const INITIAL_COUNT: Self = Self(0x38);
    /// Timer's current count.
    pub const CURRENT_COUNT: Self = Self(0x39);
    /// Timer's divide configuration.
    pub const DIVIDE: Self = Self(0x3e);
    /// Self IPI, of x2APIC mode.
    pub const SELF_IPI: Self = Self(0x3f);
}

/// `IA32_APIC_BASE`.
pub const APIC_BASE: u32 = 0x1b;
/// `IA32_TSC_DEADLINE`.
pub const TSC_DEADLINE: u32 = 0x6e0;
/// Where the registers are in xAPIC mode.
pub const MMIO: u64 = 0xfee0_0000;
/// The MSR of register 0 in x2APIC mode.
pub(crate) const X2APIC: u32 = 0x800;
const GLOBAL_ENABLE: u64 = 1 << 11;
const X2APIC_ENABLE: u64 = 1 << 10;
const SPURIOUS_VECTOR: u32 = 0xff;
const SOFTWARE_ENABLE: u32 = 1 << 8;
/// ICR: delivery status.
const PENDING: u32 = 1 << 12;

/// Modes of the timer, as in its LVT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerMode {
    /// Fires once.
    OneShot = 0,
    /// Fires again and again.
    Periodic = 1,
    /// Fires when the TSC reaches a value.
    Deadline = 2,
}

/// This vcpu's local APIC, enabled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Apic {
    mode: Mode,
}

impl Apic {
    /// Brings it into `mode` and enables it. It cannot go back from x2APIC mode without
    /// being disabled first.
    ///
    /// # Panics
    ///
    /// When there is no such mode.
    #[must_use]
    pub fn enable(mode: Mode) -> Self {
        let base = cpu::rdmsr(APIC_BASE).expect("every CPU has an APIC base");
        let wanted = match mode {
            Mode::XApic => base & !X2APIC_ENABLE | GLOBAL_ENABLE,
            Mode::X2Apic => base | GLOBAL_ENABLE | X2APIC_ENABLE,
        };
        if mode == Mode::XApic && base & X2APIC_ENABLE != 0 {
            cpu::wrmsr(APIC_BASE, base & !(GLOBAL_ENABLE | X2APIC_ENABLE)).expect("APIC off");
        }
        if base != wanted {
            cpu::wrmsr(APIC_BASE, wanted).expect("APIC on");
        }
        let apic = Self { mode };
        apic.write(Register::SPURIOUS, SPURIOUS_VECTOR | SOFTWARE_ENABLE);
        apic
    }

    /// Its mode.
    #[must_use]
    pub fn mode(self) -> Mode {
        self.mode
    }

    /// Its id.
    #[must_use]
    pub fn id(self) -> u32 {
        match self.mode {
            Mode::XApic => self.read(Register::ID) >> 24,
            Mode::X2Apic => self.read(Register::ID),
        }
    }

    /// Reads a register.
    ///
    /// # Panics
    ///
    /// When there is no such register.
    #[must_use]
    pub fn read(self, register: Register) -> u32 {
        match self.mode {
            Mode::XApic => cpu::peek_u32(MMIO + u64::from(register.0) * 16),
            #[expect(clippy::cast_possible_truncation, reason = "only the ICR has more bits")]
            Mode::X2Apic => cpu::rdmsr(X2APIC + register.0).map(|value| value as u32),
        }
        .expect("a register of the APIC")
    }

    /// Writes a register.
    ///
    /// # Panics
    ///
    /// When there is no such register, or it does not take the value.
    pub fn write(self, register: Register, value: u32) {
        match self.mode {
            Mode::XApic => cpu::poke_u32(MMIO + u64::from(register.0) * 16, value),
            Mode::X2Apic => cpu::wrmsr(X2APIC + register.0, u64::from(value)),
        }
        .expect("a register of the APIC");
    }

    /// Ends the interrupt in service.
    pub fn eoi(self) {
        self.write(Register::EOI, 0);
    }

    /// Sends what `low` says, in the form of the ICR's lower half, to APIC `id`.
    pub fn send(self, id: u32, low: u32) {
        match self.mode {
            Mode::X2Apic => {
                let value = u64::from(id) << 32 | u64::from(low);
                cpu::wrmsr(X2APIC + Register::ICR.0, value).expect("an interrupt command");
            }
            Mode::XApic => {
                while self.read(Register::ICR) & PENDING != 0 {
                    cpu::relax();
                }
                self.write(Register(Register::ICR.0 + 1), id << 24);
                self.write(Register::ICR, low);
            }
        }
    }

    /// Sends an INIT, level assert.
    pub fn send_init(self, id: u32) {
        self.send(id, 0x4500);
    }

    /// Sends a start-up IPI: the vcpu starts at `page` * 4096.
    pub fn send_startup(self, id: u32, page: u8) {
        self.send(id, 0x4600 | u32::from(page));
    }

    /// Sends an interrupt.
    pub fn send_interrupt(self, id: u32, vector: u8) {
        self.send(id, 0x4000 | u32::from(vector));
    }

    /// Sends an NMI.
    pub fn send_nmi(self, id: u32) {
        self.send(id, 0x4400);
    }

    /// Sends an interrupt to this vcpu.
    pub fn send_self(self, vector: u8) {
        match self.mode {
            Mode::X2Apic => self.write(Register::SELF_IPI, vector.into()),
            // Shorthand "self".
            Mode::XApic => self.send(0, 0x4_4000 | u32::from(vector)),
        }
    }

    /// Starts the timer with divider 1: `count` ticks, or of [`TimerMode::Deadline`] the
    /// TSC's value.
    pub fn start_timer(self, mode: TimerMode, vector: u8, count: u64) {
        self.prepare_timer(mode, vector);
        match mode {
            TimerMode::Deadline => cpu::wrmsr(TSC_DEADLINE, count).expect("TSC deadline"),
            _ => self.write(Register::INITIAL_COUNT, u32::try_from(count).unwrap_or(u32::MAX)),
        }
    }

    /// Sets the timer's mode and vector; a write of its count or deadline starts it.
    pub fn prepare_timer(self, mode: TimerMode, vector: u8) {
        self.write(Register::DIVIDE, 0b1011);
        self.write(Register::LVT_TIMER, (mode as u32) << 17 | u32::from(vector));
    }

    /// Stops the timer.
    pub fn stop_timer(self) {
        const MASKED: u32 = 1 << 16;
        self.write(Register::LVT_TIMER, MASKED);
        self.write(Register::INITIAL_COUNT, 0);
    }
}

/// Whether CPUID shows a feature of the APIC.
#[must_use]
pub fn has_x2apic() -> bool {
    cpu::cpuid(1, 0).ecx & 1 << 21 != 0
}

/// Whether the timer has a deadline mode.
#[must_use]
pub fn has_deadline() -> bool {
    cpu::cpuid(1, 0).ecx & 1 << 24 != 0
}
