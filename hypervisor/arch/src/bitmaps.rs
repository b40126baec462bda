//! Bitmaps of the MSRs and I/O ports that cause VM exits, and who shares them.
//!
//! All domains have the same policy of what passes through, hence one MSR bitmap for
//! the machine, in two forms:
//!
//! | form | registers of the x2APIC | goes with |
//! |---|---|---|
//! | closed | exit | all but the next line |
//! | virtualized | answered from the virtual-APIC page | "virtualize x2APIC mode" |
//!
//! The second form without that control would let a guest drive the pcpu's own local
//! APIC: only [`crate::vcpu`] puts it into a VMCS.

use core::ops::RangeInclusive;

use hv_core::addr::{PAGE_LEN, PAGE_SIZE, to_usize};
use hv_core::frame::{Order, OutOfFrames, Reach, Use};
use hv_core::msr::Msr;
use hv_core::msr_policy::{MsrBitmap, X2apicAccess, set_x2apic_access};
use spin::Once;

use crate::frames::OwnFrames;
use crate::vcpu::SWITCHED_MSRS;

/// What the VMCSs of all domains refer to.
#[derive(Debug)]
pub(crate) struct Shared {
    closed_msrs: OwnFrames,
    virtualized_msrs: OwnFrames,
    closed_ports: OwnFrames,
}

static SHARED: Once<Shared> = Once::new();

impl Shared {
    /// The machine's, made at the first call.
    pub(crate) fn get() -> Result<&'static Self, OutOfFrames> {
        SHARED.try_call_once(|| {
            let closed_ports = all_exit(port_order()?)?;
            Ok(Self {
                closed_msrs: msr_bitmap(X2apicAccess::Exits)?,
                virtualized_msrs: msr_bitmap(X2apicAccess::Virtualized)?,
                closed_ports,
            })
        })
    }

    /// Address of an MSR bitmap. What it lets through is switched with the guest or
    /// harmless, if `access` is right.
    pub(crate) fn msrs(&self, access: X2apicAccess) -> u64 {
        let bitmap = match access {
            X2apicAccess::Exits => &self.closed_msrs,
            X2apicAccess::Virtualized => &self.virtualized_msrs,
        };
        bitmap.mfn().start().get()
    }

    /// Addresses of the I/O bitmaps that let nothing through.
    pub(crate) fn ports(&self) -> [u64; 2] {
        addresses(&self.closed_ports)
    }
}

/// I/O bitmaps of a domain that may use some ports.
#[derive(Debug)]
pub(crate) struct Ports(OwnFrames);

impl Ports {
    /// All but those in `closed`.
    pub(crate) fn all_except(closed: &[RangeInclusive<u16>]) -> Result<Self, OutOfFrames> {
        let mut bitmaps = OwnFrames::allocate(port_order()?, Reach::Anywhere, Use::Vmx)?;
        let bytes = bitmaps.bytes_mut();
        for port in closed.iter().cloned().flatten() {
            bytes[usize::from(port / 8)] |= 1 << (port % 8);
        }
        Ok(Self(bitmaps))
    }

    pub(crate) fn addresses(&self) -> [u64; 2] {
        addresses(&self.0)
    }
}

/// Two frames: ports below 8000H, and the others.
fn port_order() -> Result<Order, OutOfFrames> {
    Order::new(1).ok_or(OutOfFrames { unscrubbed: 0 })
}

fn addresses(ports: &OwnFrames) -> [u64; 2] {
    let first = ports.mfn().start().get();
    [first, first + PAGE_SIZE]
}

fn all_exit(order: Order) -> Result<OwnFrames, OutOfFrames> {
    let mut frames = OwnFrames::allocate(order, Reach::Anywhere, Use::Vmx)?;
    frames.bytes_mut().fill(0xff);
    Ok(frames)
}

fn msr_bitmap(access: X2apicAccess) -> Result<OwnFrames, OutOfFrames> {
    let mut frames = all_exit(Order::FRAME)?;
    if let Some(bitmap) = frames.bytes_mut().first_chunk_mut::<PAGE_LEN>() {
        SWITCHED_MSRS.into_iter().for_each(|register| pass(bitmap, register));
        set_x2apic_access(bitmap, access);
    }
    Ok(frames)
}

/// Clears the bits of a register (SDM "MSR-Bitmap Address": read low, read high,
/// write low, write high, 1 KiB each).
fn pass(bitmap: &mut MsrBitmap, register: Msr) {
    let (half, number) = match register.get() {
        number @ 0..=0x1fff => (0, number),
        number @ 0xc000_0000..=0xc000_1fff => (0x400, number - 0xc000_0000),
        _ => return,
    };
    let (byte, bit) = (half + to_usize(u64::from(number / 8)), number % 8);
    for base in [0, 0x800] {
        bitmap[base + byte] &= !(1 << bit);
    }
}
