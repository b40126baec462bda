//! Start information (`arch-x86/hvm/start_info.h`): command line, modules, memory map.

use core::ffi::CStr;
use core::ops::Range;

use spin::Once;
use xen_abi::hvm_start_info::{
    HvmMemmapTableEntry, HvmMemmapType, HvmModlistEntry, HvmStartInfo, START_MAGIC,
};
use xen_abi::xen::StartFlags;

/// What the domain builder told.
#[derive(Debug)]
pub struct Boot {
    info: &'static HvmStartInfo,
    command_line: &'static str,
    modules: &'static [HvmModlistEntry],
    memory: &'static [HvmMemmapTableEntry],
}

/// A boot module.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Its bytes.
    pub bytes: &'static [u8],
    /// Its command line.
    pub command_line: &'static str,
}

static BOOT: Once<Boot> = Once::new();

/// Reads the start information at `address`.
///
/// # Panics
///
/// Without it there is nothing to go by.
pub(crate) fn init(address: u64) -> &'static Boot {
    // SAFETY: the address is the one that the domain builder left in EBX; nobody
    // writes there.
    let info: &HvmStartInfo = unsafe { &*(address as *const HvmStartInfo) };
    assert!(info.magic == START_MAGIC && info.version >= 1, "no start information with a memory map");
    BOOT.call_once(|| Boot {
        info,
        command_line: text(info.cmdline_paddr),
        modules: table(info.modlist_paddr, info.nr_modules),
        memory: table(info.memmap_paddr, info.memmap_entries),
    })
}

/// What [`init`] read.
pub(crate) fn get() -> Option<&'static Boot> {
    BOOT.get()
}

fn table<T>(address: u64, count: u32) -> &'static [T] {
    if address == 0 || count == 0 {
        return &[];
    }
    // SAFETY: the start information says that so many lie there; nobody writes there.
    unsafe { core::slice::from_raw_parts(address as *const T, count as usize) }
}

/// The text at `address`; empty where there is none or it is no UTF-8.
fn text(address: u64) -> &'static str {
    if address == 0 {
        return "";
    }
    // SAFETY: the start information names a text that a NUL ends; nobody writes there.
    let text = unsafe { CStr::from_ptr(address as *const core::ffi::c_char) };
    text.to_str().unwrap_or("")
}

impl Boot {
    /// Whether this is the domain that all others are ordered by.
    #[must_use]
    pub fn is_dom0(&self) -> bool {
        StartFlags::from_bits_truncate(self.info.flags).contains(StartFlags::INITDOMAIN)
    }

    /// The structure itself.
    #[must_use]
    pub fn info(&self) -> &HvmStartInfo {
        self.info
    }

    /// The kernel's command line.
    #[must_use]
    pub fn command_line(&self) -> &'static str {
        self.command_line
    }

    /// The value of the word `name=value` on the command line; the last one counts.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&'static str> {
        let words = self.command_line.split_ascii_whitespace();
        words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).next_back()
    }

    /// Whether the command line has this word.
    #[must_use]
    pub fn has_word(&self, word: &str) -> bool {
        self.command_line.split_ascii_whitespace().any(|other| other == word)
    }

    /// The modules in their order.
    pub fn modules(&self) -> impl Iterator<Item = Module> {
        self.modules.iter().map(|module| Module {
            bytes: table(module.paddr, u32::try_from(module.size).unwrap_or(0)),
            command_line: text(module.cmdline_paddr),
        })
    }

    /// The memory map.
    #[must_use]
    pub fn memory_map(&self) -> &'static [HvmMemmapTableEntry] {
        self.memory
    }

    /// Ranges of RAM.
    pub fn ram(&self) -> impl Iterator<Item = Range<u64>> {
        let ram = self.memory.iter().filter(|entry| entry.kind == HvmMemmapType::Ram as u32);
        ram.map(|entry| entry.addr..entry.addr.saturating_add(entry.size))
    }

    /// Memory between the image and whatever the builder put behind it: nobody's yet.
    pub(crate) fn free_memory(&self) -> Range<u64> {
        let image = crate::heap::image();
        let end = self.ram().find(|ram| ram.contains(&image.start)).map_or(image.end, |ram| ram.end);
        let used = self.modules.iter().flat_map(|module| [module.paddr, module.cmdline_paddr]);
        let info = core::ptr::from_ref(self.info) as u64;
        let lists = [info, self.info.modlist_paddr, self.info.cmdline_paddr, self.info.memmap_paddr];
        let used = used.chain(lists).filter(|&address| address >= image.end);
        // Only the lowest 4 GiB are mapped.
        image.end..used.fold(end.min(1 << 32), u64::min)
    }
}
