//! The loader's boot information, read once into [`BootInfo`].
//!
//! The loader is trusted, its structures are not assumed well formed: what
//! cannot be read is left out, and the hypervisor reports what it misses on a
//! console that it can still open. So only the chain of tags is the crate
//! `multiboot2`'s to check; its views of single tags panic at odd sizes, hence
//! `hv_core::multiboot2`.

use hv_core::boot_info::BootInfo;
use hv_core::multiboot2::read_tag;
use multiboot2::{BootInformation, BootInformationHeader};
use spin::{Mutex, MutexGuard};

/// Reads the boot information at physical address `mbi`.
///
/// # Safety
///
/// Called at most once, while memory below 4 GiB is mapped at its own address,
/// with the address that a multiboot2 loader passed.
pub(crate) unsafe fn boot_info(mbi: u64, entry_tsc: u64) -> &'static BootInfo {
    // Built in place: it is too large to pass over a stack.
    static INFO: Mutex<BootInfo> = Mutex::new(BootInfo::empty());
    let info = MutexGuard::leak(INFO.lock());
    info.entry_tsc = entry_tsc;
    info.image = crate::image().phys();
    // SAFETY: the caller passes the loader's structure, which nobody changes.
    if let Ok(mbi) = unsafe { BootInformation::load(mbi as *const BootInformationHeader) } {
        for tag in mbi.tags() {
            read_tag(info, tag.header().typ.get(), tag.payload());
        }
    }
    info
}
