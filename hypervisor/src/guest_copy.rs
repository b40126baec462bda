//! Copies between the hypervisor and the memory that a guest names by its own
//! virtual addresses.
//!
//! Each copy walks the guest's page tables as the guest's kernel would be
//! translated: a pointer is good for the hypervisor only if it is for the guest.
//! Pages of the kernel's own are found by a short walk, which the pcpu remembers.
//! The vcpu is the one that is loaded on this pcpu, so nothing is locked
//! (`hv_arch::confines`); memory of other domains is reached by guest-physical
//! address.
//!
//! ```text
//!  read, write, fetch           bytes
//!  read_obj, write_obj          one structure
//!  read_item, write_item        one of an array that a handle names
//!  Guest                        several copies of one handler, and single fields
//! ```
//!
//! All fail with `EFAULT`; part of it may have been copied then.

use hv_arch::confines::Local;
use hv_arch::confines::page::PinnedPage;
use hv_arch::vcpu::Loaded;
use hv_core::addr::{GuestPhysAddr, GuestVirtAddr, PAGE_SIZE, to_usize};
use hv_core::paging::PageSize;
use hv_core::pt_walk::{Access, Fault, KernelWalk, Privilege, Purpose, Registers, Walker};
use hv_core::vmcs;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::shared::{Area, Piece};
use crate::vcpu::Vcpu;

const KERNEL_READ: Access = Access { purpose: Purpose::Read, privilege: Privilege::Supervisor };
const KERNEL_WRITE: Access = Access { purpose: Purpose::Write, privilege: Privilege::Supervisor };

/// Copies `to.len()` bytes from the guest's address `from`.
///
/// # Errors
///
/// `EFAULT`; part of it may have been copied.
pub fn read(cpu: &Loaded<'_>, vcpu: &Vcpu, from: u64, to: &mut [u8]) -> Result<(), Errno> {
    Guest::new(cpu, vcpu).read(from, to)
}

/// Copies `from` to the guest's address `to`.
///
/// # Errors
///
/// `EFAULT`; part of it may have been copied.
pub fn write(cpu: &Loaded<'_>, vcpu: &Vcpu, to: u64, from: &[u8]) -> Result<(), Errno> {
    Guest::new(cpu, vcpu).write(to, from)
}

/// As [`read`], with the rights of the code at which the guest stands.
///
/// # Errors
///
/// `EFAULT`; part of it may have been copied.
pub fn read_as_guest(cpu: &Loaded<'_>, vcpu: &Vcpu, from: u64, to: &mut [u8]) -> Result<(), Errno> {
    Guest::new(cpu, vcpu).read_as(from, to, Access { purpose: Purpose::Read, privilege: privilege(cpu) })
}

/// As [`write()`], with the rights of the code at which the guest stands.
///
/// # Errors
///
/// `EFAULT`; part of it may have been copied.
pub fn write_as_guest(cpu: &Loaded<'_>, vcpu: &Vcpu, to: u64, from: &[u8]) -> Result<(), Errno> {
    Guest::new(cpu, vcpu).write_as(to, from, Access { purpose: Purpose::Write, privilege: privilege(cpu) })
}

/// Why the code at which the guest stands cannot read or write (`purpose`) the `len` bytes
/// at `at`. `None` where it can by now, or where there is no memory behind the address.
pub fn fault_of_guest(cpu: &Loaded<'_>, vcpu: &Vcpu, at: u64, len: usize, purpose: Purpose) -> Option<Fault> {
    let guest = Guest::new(cpu, vcpu);
    let access = Access { purpose, privilege: privilege(cpu) };
    let last = at.wrapping_add((len as u64).saturating_sub(1));
    [at, last].into_iter().find_map(|at| guest.try_walk(GuestVirtAddr::new(at), access).err())
}

/// The DPL of SS is the CPL (SDM "Guest Register State").
fn privilege(cpu: &Loaded<'_>) -> Privilege {
    let user = cpu.read(vmcs::GUEST_SS_ACCESS_RIGHTS) >> 5 & 3 == 3;
    if user { Privilege::User } else { Privilege::Supervisor }
}

/// Copies code that the guest has just executed at the linear address `from`.
///
/// # Errors
///
/// `EFAULT`: it is no longer there.
pub fn fetch(cpu: &Loaded<'_>, vcpu: &Vcpu, from: u64, to: &mut [u8]) -> Result<(), Errno> {
    Guest::new(cpu, vcpu).read_with(from, to, Access { purpose: Purpose::Fetch, privilege: privilege(cpu) })
}

/// Copies the structure at `handle` from the guest.
///
/// # Errors
///
/// `EFAULT`.
#[inline]
pub fn read_obj<T: FromBytes + IntoBytes>(
    cpu: &Loaded<'_>,
    vcpu: &Vcpu,
    handle: GuestHandle<T>,
) -> Result<T, Errno> {
    Guest::new(cpu, vcpu).read_obj(handle)
}

/// Copies a structure to the guest.
///
/// # Errors
///
/// `EFAULT`.
#[inline]
pub fn write_obj<T: IntoBytes + Immutable>(
    cpu: &Loaded<'_>,
    vcpu: &Vcpu,
    handle: GuestHandle<T>,
    object: &T,
) -> Result<(), Errno> {
    Guest::new(cpu, vcpu).write(handle.address(), object.as_bytes())
}

/// Copies element `index` of the array at `handle` from the guest.
///
/// # Errors
///
/// `EFAULT`, also if the address would wrap around.
#[inline]
pub fn read_item<T: FromBytes + IntoBytes>(
    cpu: &Loaded<'_>,
    vcpu: &Vcpu,
    handle: GuestHandle<T>,
    index: u64,
) -> Result<T, Errno> {
    read_obj(cpu, vcpu, item(handle, index)?)
}

/// Copies `object` to element `index` of the array at `handle`.
///
/// # Errors
///
/// `EFAULT`, also if the address would wrap around.
#[inline]
pub fn write_item<T: IntoBytes + Immutable>(
    cpu: &Loaded<'_>,
    vcpu: &Vcpu,
    handle: GuestHandle<T>,
    index: u64,
    object: &T,
) -> Result<(), Errno> {
    write_obj(cpu, vcpu, item(handle, index)?, object)
}

/// Pins the `len` bytes at the guest's address `at`, which it must be able to write, for
/// as long as the result exists.
///
/// # Errors
///
/// `EFAULT`, also for what would take more than two pages.
pub fn pin(cpu: &Loaded<'_>, vcpu: &Vcpu, at: u64, len: usize) -> Result<Area, Errno> {
    let guest = Guest::new(cpu, vcpu);
    let mut area = Area::new();
    let mut done = 0;
    while done < len {
        let (from, here) = piece(at, done, len - done)?;
        let found = guest.walk(from, KERNEL_WRITE)?;
        let page = PinnedPage::new(vcpu.domain().confines(), found.gfn()).map_err(|_| Errno::EFAULT)?;
        let piece = Piece { page, offset: to_usize(found.page_offset()), len: here };
        area.try_push(piece).map_err(|_| Errno::EFAULT)?;
        done += here;
    }
    Ok(area)
}

/// Where element `index` of the array at `handle` is.
///
/// # Errors
///
/// `EFAULT` if the address would wrap around.
pub fn item<T>(handle: GuestHandle<T>, index: u64) -> Result<GuestHandle<T>, Errno> {
    let offset = index.checked_mul(size_of::<T>() as u64).ok_or(Errno::EFAULT)?;
    handle.address().checked_add(offset).map(GuestHandle::new).ok_or(Errno::EFAULT)
}

/// A vcpu's view of its memory, for copies of one hypercall or emulated instruction.
pub struct Guest<'a, 'b> {
    cpu: &'a Loaded<'b>,
    memory: Local<'a>,
    /// If its kernel runs with 4-level paging.
    kernel: Option<KernelWalk>,
}

impl<'a, 'b> Guest<'a, 'b> {
    /// The view of `vcpu`, which is loaded as `cpu`: of another one, nothing.
    #[inline]
    pub fn new(cpu: &'a Loaded<'b>, vcpu: &'a Vcpu) -> Self {
        let memory = vcpu.domain().confines().local();
        let (cr3, efer) = (cpu.read(vmcs::GUEST_CR3), cpu.read(vmcs::GUEST_IA32_EFER));
        Self { cpu, memory, kernel: KernelWalk::new(u32::from(hv_arch::cpu::phys_bits()), cr3, efer) }
    }

    /// As [`read`].
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    #[inline]
    pub fn read(&self, from: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.read_with(from, to, KERNEL_READ)
    }

    #[inline]
    fn read_with(&self, from: u64, to: &mut [u8], access: Access) -> Result<(), Errno> {
        match self.kernel_walk(access) {
            Some(walk) if self.memory.read_by(walk, GuestVirtAddr::new(from), to, access.purpose).is_ok() => {
                Ok(())
            }
            _ => self.read_as(from, to, access),
        }
    }

    /// Page by page.
    #[cold]
    fn read_as(&self, from: u64, to: &mut [u8], access: Access) -> Result<(), Errno> {
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let (at, len) = piece(from, done, rest.len())?;
            let rest = rest.get_mut(..len).ok_or(Errno::EFAULT)?;
            let found = self
                .kernel_walk(access)
                .is_some_and(|walk| self.memory.read_by(walk, at, rest, access.purpose).is_ok());
            if !found {
                self.memory.read(self.walk(at, access)?, rest).map_err(|_| Errno::EFAULT)?;
            }
            done += len;
        }
        Ok(())
    }

    /// As [`write()`].
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    #[inline]
    pub fn write(&self, to: u64, from: &[u8]) -> Result<(), Errno> {
        match self.kernel {
            Some(walk) if self.memory.write_by(walk, GuestVirtAddr::new(to), from).is_ok() => Ok(()),
            _ => self.write_as(to, from, KERNEL_WRITE),
        }
    }

    /// Page by page.
    #[cold]
    fn write_as(&self, to: u64, from: &[u8], access: Access) -> Result<(), Errno> {
        let mut done = 0;
        while let Some(rest) = from.get(done..).filter(|rest| !rest.is_empty()) {
            let (at, len) = piece(to, done, rest.len())?;
            let rest = rest.get(..len).ok_or(Errno::EFAULT)?;
            let found =
                self.kernel_walk(access).is_some_and(|walk| self.memory.write_by(walk, at, rest).is_ok());
            if !found {
                self.memory.write(self.walk(at, access)?, rest).map_err(|_| Errno::EFAULT)?;
            }
            done += len;
        }
        Ok(())
    }

    /// As [`read_obj`].
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    #[inline]
    pub fn read_obj<T: FromBytes + IntoBytes>(&self, handle: GuestHandle<T>) -> Result<T, Errno> {
        let mut object = T::new_zeroed();
        self.read(handle.address(), object.as_mut_bytes())?;
        Ok(object)
    }

    /// Copies the field at byte `offset` of the structure at `handle` to the guest.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    #[inline]
    pub fn write_field<T, F: IntoBytes + Immutable>(
        &self,
        handle: GuestHandle<T>,
        offset: usize,
        field: &F,
    ) -> Result<(), Errno> {
        let address = handle.address().checked_add(offset as u64).ok_or(Errno::EFAULT)?;
        self.write(address, field.as_bytes())
    }

    /// The short walk, if it may be tried.
    #[inline]
    fn kernel_walk(&self, access: Access) -> Option<KernelWalk> {
        self.kernel.filter(|_| access.privilege == Privilege::Supervisor)
    }

    fn walk(&self, address: GuestVirtAddr, access: Access) -> Result<GuestPhysAddr, Errno> {
        self.try_walk(address, access).map_err(|_| Errno::EFAULT)
    }

    /// Any mode of paging, any rights.
    fn try_walk(&self, address: GuestVirtAddr, access: Access) -> Result<GuestPhysAddr, Fault> {
        let walker = Walker::new(u32::from(hv_arch::cpu::phys_bits()), PageSize::Size1G);
        Ok(walker.walk(&self.memory, &registers(self.cpu), address, access)?.addr)
    }
}

/// Where the bytes from `at + done` on begin, and how many of `len` are in that page.
fn piece(at: u64, done: usize, len: usize) -> Result<(GuestVirtAddr, usize), Errno> {
    let address = GuestVirtAddr::new(at).checked_add(done as u64).ok_or(Errno::EFAULT)?;
    Ok((address, len.min(to_usize(PAGE_SIZE - address.page_offset()))))
}

fn registers(cpu: &Loaded<'_>) -> Registers {
    let pdptes = [vmcs::GUEST_PDPTE0, vmcs::GUEST_PDPTE1, vmcs::GUEST_PDPTE2, vmcs::GUEST_PDPTE3];
    Registers {
        cr0: cpu.read(vmcs::GUEST_CR0),
        cr3: cpu.read(vmcs::GUEST_CR3),
        cr4: cpu.read(vmcs::GUEST_CR4),
        efer: cpu.read(vmcs::GUEST_IA32_EFER),
        rflags: cpu.read(vmcs::GUEST_RFLAGS),
        // VM exits save them if PAE paging is on; else nobody looks.
        pdptes: pdptes.map(|field| cpu.read(field)),
        // No guest's CPUID shows protection keys.
        pkru: 0,
    }
}
