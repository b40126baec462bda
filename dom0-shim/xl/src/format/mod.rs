//! Output as pure functions of plain data, byte for byte as `xl`, `xentop` and `virsh` print it.

pub(crate) mod config;
pub(crate) mod cpu_use;
pub(crate) mod cpupool;
pub(crate) mod credit;
pub(crate) mod device;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod number;
pub(crate) mod time;
pub(crate) mod top;
pub(crate) mod uptime;
pub(crate) mod vcpu_list;
pub(crate) mod virsh;

use alloc::format;
use alloc::string::String;

/// A UUID in its usual groups.
pub(crate) fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}
