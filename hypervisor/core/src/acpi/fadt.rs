//! FADT: the fixed hardware, of which we use the PM timer, power-off and reset.
//!
//! Firmware's revision numbers are unreliable, its lengths are not: what a
//! shorter table lacks reads as zero, which means "not there" in every field.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::address::{GenericAddress, Register, port};
use super::{AcpiError, Table};

/// "Fixed ACPI Description Table (FADT)", behind the header.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    _firmware_ctrl: U32,
    dsdt: U32,
    _reserved: u8,
    _preferred_profile: u8,
    sci_int: U16,
    smi_cmd: U32,
    acpi_enable: u8,
    _acpi_disable: u8,
    _s4bios_req: u8,
    _pstate_cnt: u8,
    _pm1a_evt_blk: U32,
    _pm1b_evt_blk: U32,
    pm1a_cnt_blk: U32,
    pm1b_cnt_blk: U32,
    _pm2_cnt_blk: U32,
    pm_tmr_blk: U32,
    _gpe0_blk: U32,
    _gpe1_blk: U32,
    _block_lengths: [u8; 6],
    _gpe1_base: u8,
    _cst_cnt: u8,
    _c2_latency: U16,
    _c3_latency: U16,
    _flush_size: U16,
    _flush_stride: U16,
    _duty_and_cmos: [u8; 5],
    iapc_boot_arch: U16,
    _reserved2: u8,
    flags: U32,
    reset_reg: GenericAddress,
    reset_value: u8,
    _arm_boot_arch: U16,
    _minor_version: u8,
    _x_firmware_ctrl: U64,
    x_dsdt: U64,
    _x_pm1a_evt_blk: GenericAddress,
    _x_pm1b_evt_blk: GenericAddress,
    x_pm1a_cnt_blk: GenericAddress,
    x_pm1b_cnt_blk: GenericAddress,
    _x_pm2_cnt_blk: GenericAddress,
    x_pm_tmr_blk: GenericAddress,
}

/// An ACPI 1.0 table ends behind the flags.
const V1_LEN: usize = core::mem::offset_of!(Raw, reset_reg);

bitflags::bitflags! {
    /// What of a PC's old hardware is there ("IA-PC Boot Architecture Flags").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct BootArch: u16 {
        /// Devices of the ISA bus that a user sees: serial, parallel, floppy.
        const LEGACY_DEVICES = 1 << 0;
        /// A keyboard controller at ports 60H and 64H.
        const I8042 = 1 << 1;
        /// VGA registers and memory must not be touched.
        const NO_VGA = 1 << 2;
        /// Message signalled interrupts must not be switched on.
        const NO_MSI = 1 << 3;
        /// PCI Express power management must not be switched on.
        const NO_ASPM = 1 << 4;
        /// No real-time clock at ports 70H and 71H.
        const NO_CMOS_RTC = 1 << 5;
    }
}

/// "Fixed ACPI Description Table Fixed Feature Flags" that we look at.
mod flags {
    /// TMR_VAL_EXT: the PM timer has 32 bits, not 24.
    pub(super) const TMR_VAL_EXT: u32 = 1 << 8;
    /// RESET_REG_SUP: the reset register is there.
    pub(super) const RESET_REG_SUP: u32 = 1 << 10;
    /// HW_REDUCED_ACPI: none of the PM1 and PM timer hardware is there.
    pub(super) const HW_REDUCED_ACPI: u32 = 1 << 20;
}

/// How to take the hardware over from the firmware's SMM: write `value` to
/// `port`, then wait until SCI_EN in the PM1a control register is set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AcpiEnable {
    /// SMI_CMD.
    pub port: u16,
    /// ACPI_ENABLE.
    pub value: u8,
}

/// Bits of the PM timer that count before it wraps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimerWidth {
    /// 24 bits: wraps every 4.7 seconds.
    Bits24,
    /// 32 bits: wraps every 20 minutes.
    Bits32,
}

impl TimerWidth {
    /// The bits of a reading that count.
    #[must_use]
    pub const fn mask(self) -> u32 {
        match self {
            Self::Bits24 => 0xff_ffff,
            Self::Bits32 => u32::MAX,
        }
    }
}

/// The power management timer: counts up at 3.579545 MHz.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PmTimer {
    /// Where it is read, 32 bits at once.
    pub register: Register,
    /// How far it counts.
    pub width: TimerWidth,
}

/// The table.
#[derive(Clone, Copy)]
pub struct Fadt {
    raw: Raw,
    revision: u8,
}

impl Fadt {
    pub(super) fn new(table: Table<'_>) -> Result<Self, AcpiError> {
        let body = table.body();
        if body.len() < V1_LEN {
            return Err(table.too_short());
        }
        let mut raw = Raw::new_zeroed();
        raw.as_mut_bytes().iter_mut().zip(body).for_each(|(to, &from)| *to = from);
        Ok(Self { raw, revision: table.revision() })
    }

    /// The system control interrupt: a line of the 8259, or a GSI without one.
    #[must_use]
    pub const fn sci_int(&self) -> u16 {
        self.raw.sci_int.get()
    }

    /// How to leave legacy mode, or `None` if the machine has no such mode.
    #[must_use]
    pub fn acpi_enable(&self) -> Option<AcpiEnable> {
        let port = u16::try_from(self.raw.smi_cmd.get()).ok().filter(|&port| port != 0)?;
        (self.raw.acpi_enable != 0).then_some(AcpiEnable { port, value: self.raw.acpi_enable })
    }

    /// The PM timer.
    #[must_use]
    pub fn pm_timer(&self) -> Option<PmTimer> {
        let wide = self.has(flags::TMR_VAL_EXT);
        let width = if wide { TimerWidth::Bits32 } else { TimerWidth::Bits24 };
        let register = self.fixed(&self.raw.x_pm_tmr_blk, self.raw.pm_tmr_blk)?;
        Some(PmTimer { register, width })
    }

    /// The PM1a control register, 16 bits wide.
    #[must_use]
    pub fn pm1a_control(&self) -> Option<Register> {
        self.fixed(&self.raw.x_pm1a_cnt_blk, self.raw.pm1a_cnt_blk)
    }

    /// The PM1b control register, 16 bits wide; most machines have none.
    #[must_use]
    pub fn pm1b_control(&self) -> Option<Register> {
        self.fixed(&self.raw.x_pm1b_cnt_blk, self.raw.pm1b_cnt_blk)
    }

    /// The reset register, 8 bits wide, and what to write to it.
    #[must_use]
    pub fn reset(&self) -> Option<(Register, u8)> {
        let register = self.raw.reset_reg.register().filter(|_| self.has(flags::RESET_REG_SUP))?;
        Some((register, self.raw.reset_value))
    }

    /// Address of the DSDT.
    #[must_use]
    pub fn dsdt(&self) -> Option<u64> {
        let (wide, narrow) = (self.raw.x_dsdt.get(), u64::from(self.raw.dsdt.get()));
        Some(if wide == 0 { narrow } else { wide }).filter(|&addr| addr != 0)
    }

    /// What of a PC's old hardware is there. Tables before revision 3 do not
    /// say and belong to machines that have it.
    #[must_use]
    pub const fn boot_arch(&self) -> BootArch {
        if self.revision < 3 {
            BootArch::LEGACY_DEVICES.union(BootArch::I8042)
        } else {
            BootArch::from_bits_truncate(self.raw.iapc_boot_arch.get())
        }
    }

    /// A register of the fixed hardware: the wide field counts if it is set.
    fn fixed(&self, wide: &GenericAddress, narrow: U32) -> Option<Register> {
        let there = !self.has(flags::HW_REDUCED_ACPI);
        wide.register().or_else(|| port(narrow.get())).filter(|_| there)
    }

    const fn has(&self, flag: u32) -> bool {
        self.raw.flags.get() & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::Signature;
    use super::super::testing::{put_u16, put_u32, put_u64, sdt, with_table};
    use super::*;
    use crate::addr::HostPhysAddr;

    /// Offsets here are those of the specification, from the start of the table.
    const HEADER: usize = 36;

    /// An ACPI 1.0 table as Bochs' BIOS builds it.
    fn bochs() -> Vec<u8> {
        let mut body = std::vec![0; 116 - HEADER];
        put_u32(&mut body, 40 - HEADER, 0x1fff_0080);
        put_u16(&mut body, 46 - HEADER, 9);
        put_u32(&mut body, 48 - HEADER, 0xb2);
        body[52 - HEADER] = 0xf1;
        put_u32(&mut body, 56 - HEADER, 0xb000);
        put_u32(&mut body, 64 - HEADER, 0xb004);
        put_u32(&mut body, 76 - HEADER, 0xb008);
        put_u32(&mut body, 112 - HEADER, 0x75);
        body
    }

    fn parse(revision: u8, body: &[u8]) -> Result<Fadt, AcpiError> {
        with_table(&sdt(Signature::FADT, revision, body), Signature::FADT, Fadt::new)
    }

    #[test]
    fn the_table_of_bochs_reads_as_it_should() {
        let fadt = parse(1, &bochs()).unwrap();
        assert_eq!(fadt.sci_int(), 9);
        assert_eq!(fadt.acpi_enable(), Some(AcpiEnable { port: 0xb2, value: 0xf1 }));
        let pm_timer = PmTimer { register: Register::Port(0xb008), width: TimerWidth::Bits24 };
        assert_eq!(fadt.pm_timer(), Some(pm_timer));
        assert_eq!(fadt.pm1a_control(), Some(Register::Port(0xb004)));
        assert_eq!(fadt.pm1b_control(), None);
        assert_eq!(fadt.reset(), None);
        assert_eq!(fadt.dsdt(), Some(0x1fff_0080));
        assert!(fadt.boot_arch().contains(BootArch::I8042));
    }

    /// A long table whose wide fields are set, too.
    fn modern() -> Vec<u8> {
        let mut body = bochs();
        body.resize(276 - HEADER, 0);
        put_u16(&mut body, 109 - HEADER, 0x0c);
        put_u32(&mut body, 112 - HEADER, flags::TMR_VAL_EXT | flags::RESET_REG_SUP);
        body[116 - HEADER] = 1;
        put_u64(&mut body, 120 - HEADER, 0xcf9);
        body[128 - HEADER] = 6;
        put_u64(&mut body, 140 - HEADER, 0x1_2345_6000);
        body[172 - HEADER] = 1;
        put_u64(&mut body, 176 - HEADER, 0x1804);
        put_u64(&mut body, 188 - HEADER, 0xfed8_0804);
        body[208 - HEADER] = 1;
        put_u64(&mut body, 212 - HEADER, 0x1808);
        body
    }

    #[test]
    fn wide_fields_come_first() {
        let fadt = parse(6, &modern()).unwrap();
        let pm_timer = PmTimer { register: Register::Port(0x1808), width: TimerWidth::Bits32 };
        assert_eq!(fadt.pm_timer(), Some(pm_timer));
        assert_eq!(fadt.pm1a_control(), Some(Register::Port(0x1804)));
        assert_eq!(fadt.pm1b_control(), HostPhysAddr::new(0xfed8_0804).map(Register::Memory));
        assert_eq!(fadt.reset(), Some((Register::Port(0xcf9), 6)));
        assert_eq!(fadt.dsdt(), Some(0x1_2345_6000));
        assert_eq!(fadt.boot_arch(), BootArch::NO_VGA | BootArch::NO_MSI);
    }

    #[test]
    fn hardware_reduced_machines_have_no_pm_registers() {
        let mut body = modern();
        put_u32(&mut body, 112 - HEADER, flags::HW_REDUCED_ACPI | flags::RESET_REG_SUP);
        let fadt = parse(6, &body).unwrap();
        assert_eq!((fadt.pm_timer(), fadt.pm1a_control()), (None, None));
        assert!(fadt.reset().is_some());
    }

    #[test]
    fn a_reset_register_counts_only_with_its_flag() {
        let mut body = modern();
        put_u32(&mut body, 112 - HEADER, 0);
        assert_eq!(parse(6, &body).unwrap().reset(), None);
    }

    #[test]
    fn a_machine_that_has_no_legacy_mode_needs_no_enabling() {
        let mut body = bochs();
        put_u32(&mut body, 48 - HEADER, 0);
        assert_eq!(parse(1, &body).unwrap().acpi_enable(), None);
    }

    #[test]
    fn every_length_from_the_shortest_on_is_read() {
        let body = modern();
        for len in 0..body.len() {
            assert_eq!(parse(6, &body[..len]).is_ok(), len >= 116 - HEADER, "{len}");
        }
    }

    #[test]
    fn the_timer_width_masks_a_reading() {
        assert_eq!((TimerWidth::Bits24.mask(), TimerWidth::Bits32.mask()), (0xff_ffff, 0xffff_ffff));
    }
}
