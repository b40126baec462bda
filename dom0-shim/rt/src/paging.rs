//! Pages that tests take the access rights of.
//!
//! The lowest 4 GiB are mapped at their own addresses by 2-MiB pages; the one around a
//! test's page is split when it is needed.

use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use core::alloc::Layout;

use spin::Mutex;

use crate::cpu;
use crate::trap::Fault;

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;
const PAGE: Layout = match Layout::from_size_align(4096, 4096) {
    Ok(layout) => layout,
    Err(_) => panic!("a page is a power of two"),
};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// What the page tables let the kernel do with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// Nothing.
    None,
    /// Read it.
    Read,
    /// Read and write it.
    Write,
}

/// A page of the heap, zero at first, that its owner sets the rights of.
#[derive(Debug)]
pub struct Page {
    address: u64,
}

impl Page {
    /// A page.
    #[must_use]
    pub fn new() -> Self {
        // SAFETY: the layout is that of a page.
        let bytes = unsafe { alloc_zeroed(PAGE) };
        if bytes.is_null() {
            handle_alloc_error(PAGE);
        }
        Self { address: bytes as u64 }
    }

    /// Its address, virtual and physical.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its guest frame number.
    #[must_use]
    pub fn frame(&self) -> u64 {
        self.address / PAGE_SIZE
    }

    /// Sets what the page tables allow.
    pub fn protect(&self, rights: Rights) {
        let flags = match rights {
            Rights::None => 0,
            Rights::Read => PRESENT,
            Rights::Write => PRESENT | WRITABLE,
        };
        set_entry(self.address, self.address | flags);
    }

    /// Lets the page's address show the guest-physical page at `physical`, until the
    /// next [`Self::protect`].
    pub fn show(&self, physical: u64) {
        set_entry(self.address, physical & ADDRESS | PRESENT | WRITABLE);
    }

    /// The bytes. Rights and hypervisor permitting; else the kernel panics by a fault.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 4096] {
        // SAFETY: the page is this value's own; who writes to it has it exclusively.
        unsafe { &*(self.address as *const [u8; 4096]) }
    }

    /// The bytes, to be written.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8; 4096] {
        // SAFETY: as for `bytes`.
        unsafe { &mut *(self.address as *mut [u8; 4096]) }
    }

    /// Reads the byte at `offset` afresh: another may have written it.
    ///
    /// # Errors
    ///
    /// The fault it raised.
    pub fn read(&self, offset: usize) -> Result<u8, Fault> {
        cpu::peek_u8(self.address + (offset % 4096) as u64)
    }

    /// Reads the aligned doubleword at `offset` afresh.
    ///
    /// # Errors
    ///
    /// The fault it raised.
    pub fn read_u32(&self, offset: usize) -> Result<u32, Fault> {
        cpu::peek_u32(self.address + ((offset % 4096) & !3) as u64)
    }

    /// Writes the byte at `offset`.
    ///
    /// # Errors
    ///
    /// The fault it raised.
    pub fn write(&self, offset: usize, value: u8) -> Result<(), Fault> {
        cpu::write_byte(self, offset % 4096, value)
    }

    /// Writes the aligned doubleword at `offset`.
    ///
    /// # Errors
    ///
    /// The fault it raised.
    pub fn write_u32(&self, offset: usize, value: u32) -> Result<(), Fault> {
        cpu::write_word(self, offset, value)
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.protect(Rights::Write);
        // SAFETY: it came from the allocator with this layout, and nobody else has it.
        unsafe { dealloc(self.address as *mut u8, PAGE) };
    }
}

/// Changes of the tables.
static TABLES: Mutex<()> = Mutex::new(());

/// Sets the page-table entry of the page at `address`, below 4 GiB.
fn set_entry(address: u64, entry: u64) {
    let _guard = TABLES.lock();
    let directory = directory_entry(address);
    // SAFETY: the directories are static; the lock keeps others from changing them.
    let large = unsafe { directory.read_volatile() };
    let table = if large & LARGE != 0 { split(directory, large) } else { (large & ADDRESS) as *mut u64 };
    let index = crate::to_usize(address >> 12 & 511);
    let entry_of_page = table.wrapping_add(index);
    // SAFETY: the table has 512 entries; the page belongs to the caller.
    unsafe { entry_of_page.write_volatile(entry) };
    cpu::invlpg(address);
}

/// Where the directory entry for `address` is.
fn directory_entry(address: u64) -> *mut u64 {
    unsafe extern "C" {
        static mut guest_pd: [u64; 4 * 512];
    }
    let index = crate::to_usize(address >> 21 & 2047);
    (&raw mut guest_pd).cast::<u64>().wrapping_add(index)
}

/// Replaces a 2-MiB page by a table of 4-KiB pages; returns the table.
fn split(directory: *mut u64, large: u64) -> *mut u64 {
    // SAFETY: the layout is that of a page.
    let table = unsafe { alloc_zeroed(PAGE) }.cast::<u64>();
    assert!(!table.is_null(), "no memory for a page table");
    for index in 0..512 {
        let entry = (large & ADDRESS & !(LARGE | 0x1f_ffff)) + index * PAGE_SIZE;
        let place = table.wrapping_add(crate::to_usize(index));
        // SAFETY: the table has 512 entries and is not in use yet.
        unsafe { place.write_volatile(entry | PRESENT | WRITABLE) };
    }
    // SAFETY: the new table maps the same memory.
    unsafe { directory.write_volatile(table as u64 | PRESENT | WRITABLE) };
    table
}
