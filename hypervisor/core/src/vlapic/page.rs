//! The 4-KiB image of the registers, and sets of vectors in it.
//!
//! The layout is that of the SDM's "Virtual APIC State": each register lies at
//! its xAPIC offset, so the CPU's APIC virtualization can work on the same page.

use super::Vector;

/// Words in the page.
pub const PAGE_WORDS: usize = 1024;

/// The place of a register: its offset in the page, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Reg(u16);

impl Reg {
    pub(super) const ID: Self = Self(0x20);
    pub(super) const VERSION: Self = Self(0x30);
    /// Task priority.
    pub const TPR: Self = Self(0x80);
    /// Processor priority.
    pub const PPR: Self = Self(0xa0);
    pub(super) const EOI: Self = Self(0xb0);
    pub(super) const LDR: Self = Self(0xd0);
    pub(super) const DFR: Self = Self(0xe0);
    pub(super) const SVR: Self = Self(0xf0);
    /// First word of the in-service register.
    pub const ISR: Self = Self(0x100);
    /// First word of the trigger mode register.
    pub const TMR: Self = Self(0x180);
    /// First word of the interrupt request register.
    pub const IRR: Self = Self(0x200);
    pub(super) const IRR_END: Self = Self(0x280);
    pub(super) const ESR: Self = Self(0x280);
    pub(super) const ICR_LOW: Self = Self(0x300);
    /// High half of the ICR where the CPU keeps it in x2APIC mode: RDMSR of
    /// 830H reads eight bytes at 300H (SDM "Virtualizing MSR-Based APIC Accesses").
    pub(super) const ICR_X2APIC_HIGH: Self = Self(0x304);
    pub(super) const ICR_HIGH: Self = Self(0x310);
    pub(super) const LVT_TIMER: Self = Self(0x320);
    pub(super) const LVT_THERMAL: Self = Self(0x330);
    pub(super) const LVT_PERFORMANCE: Self = Self(0x340);
    pub(super) const LVT_LINT0: Self = Self(0x350);
    pub(super) const LVT_LINT1: Self = Self(0x360);
    pub(super) const LVT_ERROR: Self = Self(0x370);
    pub(super) const TIMER_INITIAL: Self = Self(0x380);
    pub(super) const TIMER_CURRENT: Self = Self(0x390);
    pub(super) const TIMER_DIVIDE: Self = Self(0x3e0);
    pub(super) const SELF_IPI: Self = Self(0x3f0);

    /// The register at `offset` of the page, or `None` between registers: they
    /// lie 16 bytes apart (SDM "Local APIC Register Address Map").
    pub(super) const fn at(offset: u16) -> Option<Self> {
        if offset < 0x400 && offset.is_multiple_of(16) { Some(Self(offset)) } else { None }
    }

    /// The `index`th 16-byte slot after this register.
    pub(super) const fn slot(self, index: u8) -> Self {
        Self((self.0 + ((index as u16) << 4)) & 0xff0)
    }

    /// Index of the register among the words of the page, below [`PAGE_WORDS`].
    #[must_use]
    pub const fn word(self) -> usize {
        (self.0 >> 2) as usize % PAGE_WORDS
    }
}

/// The image of the registers in memory.
///
/// While a vcpu runs, the CPU may write to the page too. An implementation for
/// such a page makes each access one volatile access.
pub trait ApicPage {
    /// The word of `reg`.
    fn load(&self, reg: Reg) -> u32;
    /// Replaces the word of `reg`.
    fn store(&mut self, reg: Reg, value: u32);
}

impl ApicPage for [u32; PAGE_WORDS] {
    fn load(&self, reg: Reg) -> u32 {
        self[reg.word()]
    }

    fn store(&mut self, reg: Reg, value: u32) {
        self[reg.word()] = value;
    }
}

impl<P: ApicPage + ?Sized> ApicPage for &mut P {
    fn load(&self, reg: Reg) -> u32 {
        (**self).load(reg)
    }

    fn store(&mut self, reg: Reg, value: u32) {
        (**self).store(reg, value);
    }
}

/// One of the three 256-bit registers, 32 bits in each 16-byte slot.
///
/// The set keeps no bits of its own, only which of the eight words can be
/// non-zero, so that looking for the highest vector seldom reads more than one.
#[derive(Clone, Copy, Debug)]
pub(super) struct VectorSet {
    first: Reg,
    /// Bit n is set if word n may be non-zero.
    words: u8,
    /// What `words` is when no vector is known to be in the set.
    least: u8,
}

impl VectorSet {
    /// The empty set at `first`; the page must hold zeroes there.
    pub(super) const fn new(first: Reg) -> Self {
        Self { first, words: 0, least: 0 }
    }

    fn locate(&self, vector: Vector) -> (Reg, u8, u32) {
        let word = vector.get() >> 5;
        (self.first.slot(word), word, 1 << (vector.get() & 31))
    }

    pub(super) fn contains(&self, page: &impl ApicPage, vector: Vector) -> bool {
        let (reg, _, bit) = self.locate(vector);
        page.load(reg) & bit != 0
    }

    /// Adds `vector` and says whether it was missing.
    pub(super) fn insert(&mut self, page: &mut impl ApicPage, vector: Vector) -> bool {
        let (reg, word, bit) = self.locate(vector);
        let old = page.load(reg);
        page.store(reg, old | bit);
        self.words |= 1 << word;
        old & bit == 0
    }

    /// Removes `vector` and says whether it was there.
    pub(super) fn remove(&mut self, page: &mut impl ApicPage, vector: Vector) -> bool {
        let (reg, word, bit) = self.locate(vector);
        let old = page.load(reg);
        page.store(reg, old & !bit);
        if old & !bit == 0 {
            self.words = self.words & !(1 << word) | self.least;
        }
        old & bit != 0
    }

    /// The vector of highest priority.
    pub(super) fn highest(&self, page: &impl ApicPage) -> Option<Vector> {
        (0..8).rev().filter(|word| self.words >> word & 1 != 0).find_map(|word| {
            let bit = page.load(self.first.slot(word)).checked_ilog2()?;
            // Both summands are below 256 together: word < 8 and bit < 32.
            Vector::new((word << 5) | u8::try_from(bit).ok()?)
        })
    }

    pub(super) fn clear(&mut self, page: &mut impl ApicPage) {
        (0..8).for_each(|word| page.store(self.first.slot(word), 0));
        self.words = self.least;
    }

    /// The CPU adds and removes vectors too: from now on any word may be non-zero.
    pub(super) fn share(&mut self) {
        self.words = u8::MAX;
        self.least = u8::MAX;
    }

    /// The bits as four 64-bit words, vector 0 first.
    pub(super) fn bits(&self, page: &impl ApicPage) -> [u64; 4] {
        [0, 2, 4, 6].map(|word| {
            let [low, high] = [word, word + 1].map(|n| u64::from(page.load(self.first.slot(n))));
            high << 32 | low
        })
    }
}
