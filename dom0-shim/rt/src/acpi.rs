//! What the machine's ACPI tables say about its I/O APICs, for Dom0.
//!
//! Layouts: ACPI 6.5, "Root System Description Pointer (RSDP)", "Multiple APIC Description
//! Table (MADT)". The tables are the firmware's: what is not there or makes no sense is left out.

use alloc::vec::Vec;

use crate::boot;
use crate::cpu;

/// An I/O APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoApic {
    /// Where its registers are.
    pub address: u64,
    /// The global system interrupt of its first pin.
    pub gsi_base: u32,
}

/// Where PCs have their only one.
const DEFAULT: IoApic = IoApic { address: 0xfec0_0000, gsi_base: 0 };

/// Tables of a root table, and bytes of a table, that are looked at.
const MOST: u32 = 4096;
/// Length of the header that all tables share.
const HEADER: u64 = 36;
/// Behind it, in the MADT: address of the local APICs, flags.
const MADT_ENTRIES: u64 = HEADER + 8;

/// The I/O APICs that the MADT lists; without a MADT, the one that PCs have.
#[must_use]
pub fn io_apics() -> Vec<IoApic> {
    let listed = madt().map(listed).unwrap_or_default();
    if listed.is_empty() { Vec::from([DEFAULT]) } else { listed }
}

fn madt() -> Option<u64> {
    let rsdp = boot::get()?.info().rsdp_paddr;
    if rsdp == 0 {
        return None;
    }
    let revision = cpu::peek_u8(rsdp.checked_add(15)?).ok()?;
    let (root, width) = if revision >= 2 && qword(rsdp.checked_add(24)?)? != 0 {
        (qword(rsdp.checked_add(24)?)?, 8)
    } else {
        (u64::from(dword(rsdp.checked_add(16)?)?), 4)
    };
    let count = u64::from(length(root)?).checked_sub(HEADER)? / width;
    (0..count).find_map(|index| {
        let place = root.checked_add(HEADER)?.checked_add(index * width)?;
        let table = if width == 8 { qword(place)? } else { dword(place)?.into() };
        (dword(table)? == u32::from_le_bytes(*b"APIC")).then_some(table)
    })
}

/// Entries of type 1 (I/O APIC): type, length, id, reserved, address, first GSI.
fn listed(madt: u64) -> Vec<IoApic> {
    let end = madt.saturating_add(length(madt).unwrap_or(0).into());
    let mut next = madt.saturating_add(MADT_ENTRIES);
    let mut found = Vec::new();
    while next.saturating_add(2) <= end {
        let Some([kind, length]) =
            cpu::peek_u8(next).ok().zip(cpu::peek_u8(next + 1).ok()).map(<[u8; 2]>::from)
        else {
            break;
        };
        if length < 2 {
            break;
        }
        if kind == 1 && length >= 12 {
            found.extend(
                dword(next + 4)
                    .zip(dword(next + 8))
                    .map(|(address, gsi_base)| IoApic { address: address.into(), gsi_base }),
            );
        }
        next += u64::from(length);
    }
    found
}

/// Length of the table at `table`, if it can be one.
fn length(table: u64) -> Option<u32> {
    dword(table.checked_add(4)?).filter(|&length| length <= MOST)
}

fn dword(address: u64) -> Option<u32> {
    cpu::peek_u32(address).ok()
}

fn qword(address: u64) -> Option<u64> {
    Some(u64::from(dword(address)?) | u64::from(dword(address.checked_add(4)?)?) << 32)
}
