//! The boot modules: the first is Dom0's kernel, the second its initial RAM disk.

use core::fmt;

use hv_arch::memory::FirmwareMemory;
use hv_core::boot_info::{BootInfo, Module};
use hv_core::image::{ImageError, KernelImage};

/// Why there is no Dom0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dom0Error {
    /// The loader passed no module.
    NoModule,
    /// The first module's memory cannot be reached.
    Unreachable,
    /// The first module is no kernel that can be started.
    Image(ImageError),
}

impl fmt::Display for Dom0Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoModule => f.write_str(
                "Dom0 kernel not specified: the boot loader passed no module \
                 (GRUB: add a line `module2 /boot/...` for Dom0's kernel)",
            ),
            Self::Unreachable => f.write_str("Dom0 kernel: the boot module's memory cannot be reached"),
            Self::Image(error) => write!(f, "Dom0 kernel: {error}"),
        }
    }
}

/// Checks the module that is to be Dom0's kernel, and reports what there is.
pub fn find(info: &BootInfo) -> Result<KernelImage<'static>, Dom0Error> {
    let kernel = info.modules.first().ok_or(Dom0Error::NoModule)?;
    let file = FirmwareMemory::bytes(kernel.range).ok_or(Dom0Error::Unreachable)?;
    let image = KernelImage::parse(file).map_err(Dom0Error::Image)?;
    log::info!(
        "Dom0 kernel: PVH {}, {} KiB, phys {}, entry {:#x}",
        image.class(),
        kernel.range.len() / 1024,
        image.load(),
        image.entry(),
    );
    for module in info.modules.iter().skip(1) {
        report(module);
    }
    if info.modules_dropped > 0 {
        log::warn!("modules: {} too many, ignored", info.modules_dropped);
    }
    Ok(image)
}

fn report(module: &Module) {
    log::info!("module: {}, {} KiB, '{}'", module.range, module.range.len() / 1024, module.command_line);
}
