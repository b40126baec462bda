//! Rings of requests and responses (`io/ring.h`).
//!
//! ```text
//! offset 0    req_prod   requests written by the front end
//!        4    req_event  back end wants an event when req_prod passes this
//!        8    rsp_prod   responses written by the back end
//!       12    rsp_event  front end wants an event when rsp_prod passes this
//!       64    entries: a response overwrites the request in its slot
//! ```
//!
//! The indices run freely through all 32 bits; index modulo number of entries is the slot.

layout! {
    /// `struct head_sring`: the head of a ring, which every `DEFINE_RING_TYPES` makes anew.
    pub struct SringHeader, 64 bytes {
        /// Requests written.
        pub req_prod: u32,
        /// Request index at which the back end wants an event.
        pub req_event: u32,
        /// Responses written.
        pub rsp_prod: u32,
        /// Response index at which the front end wants an event.
        pub rsp_event: u32,
        /// Padding.
        pub _pad: [u8; 48],
    }
}

/// Entries of `entry` bytes in a ring of `bytes`: a power of two (`__CONST_RING_SIZE`).
#[must_use]
pub const fn entries(bytes: usize, entry: usize) -> usize {
    let room = bytes.saturating_sub(size_of::<SringHeader>());
    match room.checked_div(entry) {
        Some(count) if count > 0 => 1 << count.ilog2(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_a_power_of_two_behind_the_head() {
        assert_eq!(entries(4096, 112), 32);
        assert_eq!(entries(4096, 12), 256);
        assert_eq!(entries(64 + 4, 4), 1);
    }

    #[test]
    fn a_ring_without_room_has_no_entries() {
        assert_eq!((entries(0, 4), entries(64, 4), entries(67, 4), entries(4096, 0)), (0, 0, 0, 0));
    }
}
