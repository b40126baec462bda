//! The hypercall page: code that a guest lets the hypervisor write into its
//! memory, so that kernels need not know which instruction calls a hypervisor.
//!
//! Entry n is at 32 n (`arch-x86/xen-x86_64.h`):
//!
//! ```text
//!   b8 nn nn nn nn   mov eax, n
//!   0f 01 c1         vmcall
//!   c3               ret
//! ```

use hv_arch::confines::Confines;
use hv_core::addr::{GuestPhysAddr, PAGE_LEN, PAGE_SIZE};
use xen_abi::xen::Hypercall;

/// The MSR that takes the page's address (CPUID).
pub const MSR: u32 = 0x4000_0000;

const ENTRY: usize = 32;
const UD2: [u8; 2] = [0x0f, 0x0b];

/// Writes the page at the guest-physical address `value`, whose low bits number
/// the page. `false` if there is no such page, or no memory.
#[inline(never)]
pub fn write(confines: &Confines, value: u64) -> bool {
    let (address, index) = (value & !(PAGE_SIZE - 1), value & (PAGE_SIZE - 1));
    let Some(address) = GuestPhysAddr::new(address).filter(|_| index == 0) else { return false };
    confines.write(address, &content()).is_ok()
}

fn content() -> [u8; PAGE_LEN] {
    let mut page = [0xcc; PAGE_LEN];
    for (number, entry) in (0_u32..).zip(page.chunks_exact_mut(ENTRY)) {
        // The call that returns to a PV guest by IRET has no meaning here.
        if number == Hypercall::Iret as u32 {
            entry[..UD2.len()].copy_from_slice(&UD2);
            continue;
        }
        let [a, b, c, d] = number.to_le_bytes();
        let code = [0xb8, a, b, c, d, 0x0f, 0x01, 0xc1, 0xc3];
        entry[..code.len()].copy_from_slice(&code);
    }
    page
}
