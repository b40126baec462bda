//! A network card.

use alloc::vec::Vec;

use crate::packet::MacAddress;

/// A card that is up. Frames are without their check sequence.
pub trait Nic {
    /// Its address. It receives all frames, not only those for it.
    fn address(&self) -> MacAddress;

    /// Hands a frame to the card; waits while it has no room. Frames longer than it can
    /// send are dropped.
    fn send(&self, frame: &[u8]) -> impl Future<Output = ()>;

    /// Waits for a frame.
    fn receive(&self) -> impl Future<Output = Vec<u8>>;

    /// Whether there is a link.
    fn is_up(&self) -> bool;
}
