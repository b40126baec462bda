//! Copies between the hypervisor and the memory that a guest names by its own
//! virtual addresses.
//!
//! Each copy walks the guest's page tables as the guest's kernel would be
//! translated: a pointer is good for the hypervisor only if it is for the guest.

use hv_arch::vcpu::Loaded;
use hv_core::addr::{GuestVirtAddr, PAGE_SIZE, to_usize};
use hv_core::paging::PageSize;
use hv_core::pt_walk::{Access, Privilege, Purpose, Registers, Walker};
use hv_core::vmcs;
use xen_abi::errno::Errno;

use crate::vcpu::Vcpu;

/// Copies `to.len()` bytes from the guest's address `from`.
///
/// # Errors
///
/// `EFAULT`; part of it may have been copied.
pub fn read(cpu: &Loaded<'_>, vcpu: &Vcpu, from: u64, to: &mut [u8]) -> Result<(), Errno> {
    let confines = vcpu.domain().confines();
    pieces(cpu, vcpu, from, to.len(), KERNEL_READ, |address, start, end| {
        let to = to.get_mut(start..end).ok_or(Errno::EFAULT)?;
        confines.read(address, to).map_err(|_| Errno::EFAULT)
    })
}

/// Copies `from` to the guest's address `to`.
///
/// # Errors
///
/// `EFAULT`; part of it may have been copied.
pub fn write(cpu: &Loaded<'_>, vcpu: &Vcpu, to: u64, from: &[u8]) -> Result<(), Errno> {
    let confines = vcpu.domain().confines();
    pieces(cpu, vcpu, to, from.len(), KERNEL_WRITE, |address, start, end| {
        let from = from.get(start..end).ok_or(Errno::EFAULT)?;
        confines.write(address, from).map_err(|_| Errno::EFAULT)
    })
}

const KERNEL_READ: Access = Access { purpose: Purpose::Read, privilege: Privilege::Supervisor };
const KERNEL_WRITE: Access = Access { purpose: Purpose::Write, privilege: Privilege::Supervisor };

/// Copies code that the guest has just executed at the linear address `from`.
///
/// # Errors
///
/// `EFAULT`: it is no longer there.
pub fn fetch(cpu: &Loaded<'_>, vcpu: &Vcpu, from: u64, to: &mut [u8]) -> Result<(), Errno> {
    let user = cpu.read(vmcs::GUEST_SS_ACCESS_RIGHTS) >> 5 & 3 == 3;
    let privilege = if user { Privilege::User } else { Privilege::Supervisor };
    let confines = vcpu.domain().confines();
    let access = Access { purpose: Purpose::Fetch, privilege };
    pieces(cpu, vcpu, from, to.len(), access, |address, start, end| {
        let to = to.get_mut(start..end).ok_or(Errno::EFAULT)?;
        confines.read(address, to).map_err(|_| Errno::EFAULT)
    })
}

/// Calls `copy` with the physical address of each page's part of `len` bytes at
/// `at`, and which of the bytes it is.
fn pieces(
    cpu: &Loaded<'_>,
    vcpu: &Vcpu,
    at: u64,
    len: usize,
    access: Access,
    mut copy: impl FnMut(hv_core::addr::GuestPhysAddr, usize, usize) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let walker = Walker::new(u32::from(hv_arch::cpu::phys_bits()), PageSize::Size1G);
    let registers = registers(cpu);
    let mut done = 0;
    while done < len {
        let address = GuestVirtAddr::new(at).checked_add(done as u64).ok_or(Errno::EFAULT)?;
        let confines = &**vcpu.domain().confines();
        let walk = walker.walk(confines, &registers, address, access).map_err(|_| Errno::EFAULT)?;
        let in_page = to_usize(PAGE_SIZE - address.page_offset());
        let end = len.min(done + in_page);
        copy(walk.addr, done, end)?;
        done = end;
    }
    Ok(())
}

fn registers(cpu: &Loaded<'_>) -> Registers {
    Registers {
        cr0: cpu.read(vmcs::GUEST_CR0),
        cr3: cpu.read(vmcs::GUEST_CR3),
        cr4: cpu.read(vmcs::GUEST_CR4),
        efer: cpu.read(vmcs::GUEST_IA32_EFER),
        rflags: cpu.read(vmcs::GUEST_RFLAGS),
        // Neither protection keys nor PAE paging are met in 64-bit mode.
        ..Registers::default()
    }
}
