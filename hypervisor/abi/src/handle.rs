//! Guest handles: addresses in the caller's virtual address space.
//!
//! On x86-64 `XEN_GUEST_HANDLE` and `XEN_GUEST_HANDLE_64` (`arch-x86/xen.h`) are both
//! one 64-bit pointer. Only the hypervisor's guest copy functions may follow it.

use core::fmt;
use core::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Guest virtual address of one or more `T` (`XEN_GUEST_HANDLE`): a claim, never a reference.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct GuestHandle<T> {
    address: u64,
    target: PhantomData<T>,
}

impl<T> GuestHandle<T> {
    /// The handle that points nowhere: a caller who only asks for a size.
    pub const NULL: Self = Self::new(0);

    /// A handle to `address`.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self { address, target: PhantomData }
    }

    /// The guest virtual address.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.address
    }

    /// Whether this is [`Self::NULL`].
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.address == 0
    }

    /// The same address, taken to hold `U`.
    #[must_use]
    pub const fn cast<U>(self) -> GuestHandle<U> {
        GuestHandle::new(self.address)
    }
}

// Derived impls would ask the same of `T`.
impl<T> Clone for GuestHandle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for GuestHandle<T> {}

impl<T> PartialEq for GuestHandle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl<T> Eq for GuestHandle<T> {}

impl<T> fmt::Debug for GuestHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestHandle({:#x})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_pointer_whatever_it_points_to() {
        assert_eq!(size_of::<GuestHandle<[u8; 4096]>>(), 8);
        assert_eq!(align_of::<GuestHandle<u8>>(), 8);
        assert!(GuestHandle::<u8>::NULL.is_null());
        assert_eq!(GuestHandle::<u8>::new(0x1000).cast::<u64>().address(), 0x1000);
    }
}
