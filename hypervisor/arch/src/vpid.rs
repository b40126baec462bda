//! Virtual-processor identifiers (SDM "Virtual-Processor Identifiers"): the tag of
//! a vcpu's cached translations.

use core::arch::asm;

use crate::sync::{Lock, Rank};

const WORDS: usize = 1 << 10;

/// A bit for each VPID in use. 0 is the host's.
static USED: Lock<[u64; WORDS]> = Lock::new(Rank::Vpids, {
    let mut words = [0; WORDS];
    words[0] = 1;
    words
});

/// A VPID that no other vcpu has.
#[derive(Debug)]
pub(crate) struct Vpid(u16);

impl Vpid {
    /// The lowest free one.
    pub(crate) fn allocate() -> Option<Self> {
        let mut used = USED.lock();
        let (index, word) = used.iter_mut().enumerate().find(|(_, word)| **word != u64::MAX)?;
        let bit = word.trailing_ones();
        *word |= 1 << bit;
        u16::try_from(index * 64 + bit as usize).ok().map(Self)
    }

    pub(crate) fn get(&self) -> u16 {
        self.0
    }

    /// Forgets this pcpu's translations under the tag (INVVPID, single context).
    pub(crate) fn flush(&self) {
        const SINGLE_CONTEXT: u64 = 1;
        let descriptor = [u64::from(self.0), 0];
        let failed: u8;
        // SAFETY: forgetting translations is always allowed; the type is among
        // those that `VmxConfig` requires.
        unsafe {
            asm!("invvpid {kind}, [{descriptor}]", "setna {failed}", kind = in(reg) SINGLE_CONTEXT,
                 descriptor = in(reg) &raw const descriptor, failed = out(reg_byte) failed, options(nostack));
        }
        assert!(failed == 0, "INVVPID of {} failed", self.0);
    }
}

impl Drop for Vpid {
    fn drop(&mut self) {
        let (index, bit) = (usize::from(self.0) / 64, self.0 % 64);
        USED.lock()[index] &= !(1 << bit);
    }
}
