//! Names of ring layouts (`io/protocols.h`), the XenStore node `protocol` of a front end.

/// Layout of 64-bit x86 guests, and of this crate (`XEN_IO_PROTO_ABI_X86_64`).
pub const ABI_X86_64: &str = "x86_64-abi";
/// Layout of 32-bit x86 guests (`XEN_IO_PROTO_ABI_X86_32`).
pub const ABI_X86_32: &str = "x86_32-abi";
