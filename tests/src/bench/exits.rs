//! Single exits and hypercalls of a vcpu.

use guest_rt::{apic, clock, cpu, hypercall, measure};
use xen_abi::errno::Errno;
use xen_abi::sched::SchedOp;
use xen_abi::version::{FeatureInfo, VersionOp};
use xen_abi::xen::{ConsoleIo, Hypercall, MulticallEntry};
use zerocopy::FromZeros;

use super::{ROUNDS, Samples, expect};
use crate::controller::Controller;
use crate::timing::sleep_ms;
use crate::verdict::Check;

/// Mask of the primary PIC.
const PIC_MASK: u8 = 0x21;
/// Data window of the I/O APIC.
const IOAPIC_WINDOW: u32 = 0xfec0_0010;
/// A hypercall that nobody has.
const NO_HYPERCALL: u64 = 63;

pub(super) fn cpuid(_: &Controller) -> Check<Samples> {
    Ok(Samples::of(ROUNDS, measure::cpuid))
}

pub(super) fn rdmsr(_: &Controller) -> Check<Samples> {
    cpu::rdmsr(apic::APIC_BASE)?;
    Ok(Samples::of(ROUNDS, || measure::rdmsr(apic::APIC_BASE)))
}

pub(super) fn port_read(_: &Controller) -> Check<Samples> {
    cpu::inb(PIC_MASK.into())?;
    Ok(Samples::of(ROUNDS, measure::inb::<PIC_MASK>))
}

pub(super) fn mmio_read(_: &Controller) -> Check<Samples> {
    cpu::peek_u32(IOAPIC_WINDOW.into())?;
    Ok(Samples::of(ROUNDS, || measure::peek_u32(IOAPIC_WINDOW)))
}

pub(super) fn enosys(_: &Controller) -> Check<Samples> {
    hypercall_that_answers(NO_HYPERCALL, [0; 3], Errno::ENOSYS.return_value())
}

pub(super) fn xen_version(_: &Controller) -> Check<Samples> {
    let version = hypercall::raw(Hypercall::XenVersion as u64, [0; 5]);
    ensure!(version > 0, "xen_version: {version}");
    hypercall_that_answers(Hypercall::XenVersion as u64, [VersionOp::Version as u64, 0, 0], version)
}

pub(super) fn get_features(_: &Controller) -> Check<Samples> {
    let mut info = FeatureInfo::new_zeroed();
    let arguments = [VersionOp::GetFeatures as u64, (&raw mut info) as u64, 0];
    hypercall_that_answers(Hypercall::XenVersion as u64, arguments, 0)
}

pub(super) fn yield_alone(_: &Controller) -> Check<Samples> {
    hypercall_that_answers(Hypercall::SchedOp as u64, [SchedOp::Yield as u64, 0, 0], 0)
}

pub(super) fn multicall(_: &Controller) -> Check<Samples> {
    let version = MulticallEntry { op: Hypercall::XenVersion as u64, ..MulticallEntry::new_zeroed() };
    let mut calls = [version; 8];
    hypercall_that_answers(Hypercall::Multicall as u64, [(&raw mut calls) as u64, 8, 0], 0)
}

/// Lines that the console has time to send.
pub(super) fn console_write(_: &Controller) -> Check<Samples> {
    const LINES: usize = 20;
    const DRAIN_MS: u64 = 12;
    let mut line = [b'.'; 80];
    line[79] = b'\n';
    let arguments = [ConsoleIo::Write as u64, line.len() as u64, line.as_ptr() as u64];
    let drain = || sleep_ms(DRAIN_MS);
    expect(hypercall::console_write(&line).map_or(-1, |_| 0), 0, "console_io")?;
    let mut drained = Ok(());
    let samples = Samples::of(LINES, || {
        drained = drained.clone().and_then(|()| drain());
        // The first measurement after a sleep is like those before it.
        clock::delay_us(10);
        measure::hypercall(Hypercall::ConsoleIo as u64, arguments)
    });
    drained.map(|()| samples)
}

/// Measures a hypercall that answers `expected`.
fn hypercall_that_answers(number: u64, arguments: [u64; 3], expected: i64) -> Check<Samples> {
    let [a, b, c] = arguments;
    expect(hypercall::raw(number, [a, b, c, 0, 0]), expected, "the hypercall")?;
    Ok(Samples::of(ROUNDS, || measure::hypercall(number, arguments)))
}
