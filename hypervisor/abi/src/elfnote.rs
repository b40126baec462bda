//! ELF notes by which a kernel tells how it wants to be started (`elfnote.h`).

/// Name of the notes' owner.
pub const OWNER: &str = "Xen";

/// `XEN_ELFNOTE_PHYS32_ENTRY`: physical address of the 32-bit PVH entry point.
/// Descriptor: a 4-byte or 8-byte little-endian integer.
pub const PHYS32_ENTRY: u64 = 18;
