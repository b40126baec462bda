//! Extended processor state (x87, SSE, AVX ...): one area for each vcpu, switched
//! when another vcpu is loaded. The hypervisor itself is built without it.
//!
//! SDM "Managing State Using the XSAVE Feature Set". All components that any
//! guest may enable are saved and restored, whatever the guest's XCR0 says, so
//! that nothing of one domain is left for the next.

use core::arch::asm;

use hv_core::addr::PAGE_LEN;
use hv_core::frame::{Order, OutOfFrames, Reach, Use};

use crate::cpu;
use crate::frames::OwnFrames;

/// XCR0 with x87 alone: its value after reset.
const X87: u64 = 1 << 0;
/// Offset of MXCSR in the legacy region, and its value after reset.
const MXCSR: usize = 24;
const MXCSR_RESET: u32 = 0x1f80;
/// Bits of MXCSR that every 64-bit CPU has but DAZ, which all with VMX have too.
const MXCSR_DEFINED: u64 = 0xffff;
/// End of the legacy region, and of the header behind it (SDM "XSAVE Area").
const LEGACY: usize = 512;
const HEADER_END: usize = LEGACY + 64;
/// FCW, and its value after FINIT.
const FCW_RESET: u16 = 0x037f;

/// State of one vcpu.
#[derive(Debug)]
pub(crate) struct ExtendedState {
    area: OwnFrames,
    xcr0: u64,
}

impl ExtendedState {
    /// State as after reset.
    pub(crate) fn new() -> Result<Self, OutOfFrames> {
        let mut area = OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::Vmx)?;
        let bytes = area.bytes_mut();
        bytes[..2].copy_from_slice(&FCW_RESET.to_le_bytes());
        bytes[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_RESET.to_le_bytes());
        Ok(Self { area, xcr0: X87 })
    }

    /// The guest's XCR0.
    pub(crate) fn xcr0(&self) -> u64 {
        self.xcr0
    }

    /// Sets the guest's XCR0, on the pcpu where the vcpu is loaded; `false` if
    /// the CPU would refuse the value (SDM "XSETBV").
    pub(crate) fn set_xcr0(&mut self, value: u64) -> bool {
        let valid = is_valid_xcr0(value);
        if valid {
            self.xcr0 = value;
            set_xcr0(value);
        }
        valid
    }

    /// The state, as it was saved last.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.area.bytes()
    }

    /// Takes `area`, the start of an area in the standard form of XSAVE, while the vcpu
    /// is not loaded; `false`, and nothing changes, if XSETBV or XRSTOR would fault.
    pub(crate) fn replace(&mut self, xcr0: u64, area: &[u8]) -> bool {
        let mut fresh = [0; HEADER_END];
        let Some((head, rest)) = area.split_at_checked(HEADER_END.min(area.len())) else { return false };
        if head.len() < LEGACY || area.len() > AREA_LEN {
            return false;
        }
        fresh[..head.len()].copy_from_slice(head);
        let word = |at: usize| {
            fresh.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        // SDM "XRSTOR—Restore Processor Extended States": the standard form.
        let header_is_valid = word(LEGACY) & !cpu::xcr0_mask() == 0
            && (LEGACY + 8..HEADER_END).step_by(8).all(|at| word(at) == 0);
        let mxcsr = word(MXCSR) & 0xffff_ffff;
        let xcr0_is_valid = is_valid_xcr0(xcr0) || cpu::xcr0_mask() == 0 && xcr0 == X87;
        if !header_is_valid || !xcr0_is_valid || mxcsr & !MXCSR_DEFINED != 0 {
            return false;
        }
        let bytes = self.area.bytes_mut();
        bytes.fill(0);
        bytes[..HEADER_END].copy_from_slice(&fresh);
        bytes[HEADER_END..HEADER_END + rest.len()].copy_from_slice(rest);
        self.xcr0 = xcr0;
        true
    }

    /// Puts the state into the CPU.
    pub(crate) fn restore(&self) {
        let area = self.area.first_byte();
        let mask = cpu::xcr0_mask();
        if mask == 0 {
            // SAFETY: 512 bytes that FXSAVE or `new` wrote, aligned to a page.
            unsafe { asm!("fxrstor64 [{}]", in(reg) area, options(nostack, readonly)) };
            return;
        }
        set_xcr0(mask);
        // SAFETY: an area that XSAVE or `new` wrote, of a frame's size, which
        // `xcr0_mask` has made sure suffices.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") low(mask), in("edx") high(mask),
                 options(nostack, readonly));
        }
        set_xcr0(self.xcr0);
    }

    /// Takes the state from the CPU.
    pub(crate) fn save(&mut self) {
        let area = self.area.first_byte();
        let mask = cpu::xcr0_mask();
        if mask == 0 {
            // SAFETY: a frame of this vcpu's own, aligned.
            unsafe { asm!("fxsave64 [{}]", in(reg) area, options(nostack)) };
            return;
        }
        set_xcr0(mask);
        // SAFETY: as above, and large enough.
        unsafe {
            asm!("xsave64 [{}]", in(reg) area, in("eax") low(mask), in("edx") high(mask), options(nostack));
        }
    }
}

/// Whether XSETBV takes `value` for XCR0 (SDM "XSETBV—Set Extended Control Register").
fn is_valid_xcr0(value: u64) -> bool {
    const SSE: u64 = 1 << 1;
    const AVX: u64 = 1 << 2;
    const AVX512: u64 = 7 << 5;
    let whole = |group: u64| value & group == 0 || value & group == group;
    value & X87 != 0
        && value & !cpu::xcr0_mask() == 0
        && (value & AVX == 0 || value & SSE != 0)
        && whole(AVX512)
        && (value & AVX512 == 0 || value & AVX != 0)
}

/// Largest XSAVE area that fits.
pub(crate) const AREA_LEN: usize = PAGE_LEN;

fn set_xcr0(value: u64) {
    if cpu::xcr0_mask() == 0 {
        return;
    }
    // SAFETY: a value that the CPU takes, by `xcr0_mask` or `set_xcr0`'s check; no
    // code of the hypervisor depends on it.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") low(value), in("edx") high(value), options(nomem, nostack));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half")]
const fn low(value: u64) -> u32 {
    value as u32
}

const fn high(value: u64) -> u32 {
    low(value >> 32)
}
