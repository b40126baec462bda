//! Consoles (`io/console.h`): one page with two rings of bytes.

/// Bytes of the ring to the guest (`sizeof(((struct xencons_interface *)0)->in)`).
pub const IN_BYTES: usize = 1024;
/// Bytes of the ring from the guest (`sizeof(((struct xencons_interface *)0)->out)`).
pub const OUT_BYTES: usize = 2048;

layout! {
    /// `struct xencons_interface`: indices run freely; modulo the ring's size they are the place.
    pub struct XenconsInterface, 3088 bytes {
        /// `in`: bytes to the guest.
        pub input: [u8; IN_BYTES],
        /// `out`: bytes from the guest.
        pub output: [u8; OUT_BYTES],
        /// Bytes of `in` that the guest read.
        pub in_cons: u32,
        /// Bytes of `in` that the back end wrote.
        pub in_prod: u32,
        /// Bytes of `out` that the back end read.
        pub out_cons: u32,
        /// Bytes of `out` that the guest wrote.
        pub out_prod: u32,
    }
}
