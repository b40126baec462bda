//! A domain's console ring (`io/console.h`), seen from the back end.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use xen_abi::RawDomid;
use xen_abi::io::console::{IN_BYTES, OUT_BYTES, XenconsInterface};

use crate::foreign::{Mapping, Window};
use crate::{Error, Host};

/// The ring of one domain.
pub struct Console<'a, H: Host> {
    page: Mapping<'a, H>,
    /// Bytes of `out` that were taken.
    taken: u32,
    /// Bytes of `in` that were written.
    typed: u32,
}

impl<'a, H: Host> Console<'a, H> {
    /// Maps the ring of `domain` at its guest frame `frame`.
    ///
    /// # Errors
    ///
    /// As [`Window::map`].
    pub fn open(window: &'a Window<H>, domain: RawDomid, frame: u64) -> Result<Self, Error> {
        Ok(Self { page: window.map(domain, &[frame])?, taken: 0, typed: 0 })
    }

    /// Takes what the guest wrote since the last call.
    ///
    /// # Errors
    ///
    /// [`Error::BadAnswer`] when its index is one that no guest comes to by writing;
    /// the bytes are then lost.
    pub fn take(&mut self) -> Result<Vec<u8>, Error> {
        let produced = self.index(offset_of!(XenconsInterface, out_prod))?;
        let count = produced.wrapping_sub(self.taken) as usize;
        let start = self.taken as usize;
        self.taken = produced;
        let mut bytes = vec![0; if count <= OUT_BYTES { count } else { 0 }];
        for (place, byte) in (start..).zip(&mut bytes) {
            let at = offset_of!(XenconsInterface, output) + place % OUT_BYTES;
            self.page.read(at as u64, core::slice::from_mut(byte))?;
        }
        self.page.write(offset_of!(XenconsInterface, out_cons) as u64, &self.taken.to_le_bytes())?;
        if count <= OUT_BYTES { Ok(bytes) } else { Err(Error::BadAnswer("console ring")) }
    }

    /// Types `text`, as far as there is room; returns how many bytes there was room for.
    ///
    /// # Errors
    ///
    /// [`Error::TooSmall`]: never, the page holds the ring.
    pub fn send(&mut self, text: &[u8]) -> Result<usize, Error> {
        let consumed = self.index(offset_of!(XenconsInterface, in_cons))?;
        let room = IN_BYTES.saturating_sub(self.typed.wrapping_sub(consumed) as usize);
        let count = text.len().min(room);
        for byte in text.iter().take(count) {
            let at = offset_of!(XenconsInterface, input) + self.typed as usize % IN_BYTES;
            self.page.write(at as u64, core::slice::from_ref(byte))?;
            self.typed = self.typed.wrapping_add(1);
        }
        self.page.write(offset_of!(XenconsInterface, in_prod) as u64, &self.typed.to_le_bytes())?;
        Ok(count)
    }

    fn index(&self, offset: usize) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        self.page.read(offset as u64, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}
