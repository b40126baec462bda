//! Where the image lies, virtually and physically (see `linker.ld`).

use core::sync::atomic::{AtomicU32, Ordering};

use hv_core::addr::PhysRange;

/// Virtual address to which physical address 0 would be linked.
pub const IMAGE_BASE: u64 = 0xffff_ffff_8000_0000;

/// All physical memory below this is mapped at its own address until the
/// hypervisor loads its own page tables.
pub const EARLY_IDENTITY_LIMIT: u64 = 4 << 30;

/// Physical address of the image less the address for which it was linked.
/// Written by the 32-bit entry code.
#[unsafe(no_mangle)]
pub(crate) static BOOT_LOAD_DELTA: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" {
    static image_start: u8;
    static text_end: u8;
    static rodata_end: u8;
    static image_end: u8;
}

/// Virtual addresses of the image's segments, and the physical place.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// First byte of the code.
    pub start: u64,
    /// First byte after the code: constants from here.
    pub text_end: u64,
    /// First byte after the constants: data from here.
    pub rodata_end: u64,
    /// First byte after the image.
    pub end: u64,
    /// What to add to a virtual address of the image to get its physical one
    /// (wrapping).
    pub to_phys: u64,
}

impl Image {
    /// Physical addresses of the whole image.
    #[must_use]
    pub fn phys(&self) -> PhysRange {
        self.phys_of(self.start, self.end)
    }

    /// Physical addresses of the image's bytes `start..end`.
    ///
    /// # Panics
    ///
    /// If the range is not inside the image.
    #[must_use]
    pub fn phys_of(&self, start: u64, end: u64) -> PhysRange {
        assert!(self.start <= start && end <= self.end, "{start:#x}..{end:#x} is outside the image");
        PhysRange::new(start.wrapping_add(self.to_phys), end.wrapping_add(self.to_phys))
            .expect("the image is loaded below 4 GiB")
    }
}

/// The image that runs.
#[must_use]
pub fn image() -> Image {
    Image {
        start: (&raw const image_start) as u64,
        text_end: (&raw const text_end) as u64,
        rodata_end: (&raw const rodata_end) as u64,
        end: (&raw const image_end) as u64,
        to_phys: u64::from(BOOT_LOAD_DELTA.load(Ordering::Relaxed)).wrapping_sub(IMAGE_BASE),
    }
}
