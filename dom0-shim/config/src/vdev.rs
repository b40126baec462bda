//! Names of virtual disks in the guest and their numbers (`xen-vbd-interface`(7)).
//!
//! | Name | Disks | Partitions |
//! |---|---|---|
//! | `xvda`, `xvdb1`, `d0p1` | 1,048,576 | 255 |
//! | `hda`, `hdb1` | 4 | 63 |
//! | `sda`, `sdb1` | 16 | 15 |

/// The number by which front end and back end call a disk, if its name is one.
pub fn number(name: &str) -> Option<u32> {
    if let Some((disk, partition)) = split(name, "xvd", 1 << 20, 255).or_else(|| numbered(name)) {
        let old = disk < 16 && partition < 16;
        return Some(if old { 202 << 8 | disk << 4 | partition } else { 1 << 28 | disk << 8 | partition });
    }
    if let Some((disk, partition)) = split(name, "hd", 4, 63) {
        let major = if disk < 2 { 3 } else { 22 };
        return Some(major << 8 | (disk & 1) << 6 | partition);
    }
    let (disk, partition) = split(name, "sd", 16, 15)?;
    Some(8 << 8 | disk << 4 | partition)
}

/// Disk and partition of a name with letters, `a` to `z`, `aa` and so on; partition 0 is the disk.
fn split(name: &str, prefix: &str, disks: u32, partitions: u32) -> Option<(u32, u32)> {
    let rest = name.strip_prefix(prefix)?;
    let digits = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let letters = rest.strip_suffix(digits).filter(|letters| !letters.is_empty())?;
    let mut after = 0_u32;
    for letter in letters.bytes() {
        let value = u32::from(letter.checked_sub(b'a')?).checked_add(1)?;
        after = after.checked_mul(26)?.checked_add(value)?;
    }
    let disk = after.checked_sub(1).filter(|&disk| disk < disks)?;
    let partition = if digits.is_empty() { 0 } else { decimal(digits).filter(|&it| it > 0)? };
    (partition <= partitions).then_some((disk, partition))
}

/// `d1p2`: disk and partition as numbers.
fn numbered(name: &str) -> Option<(u32, u32)> {
    let (disk, partition) = name.strip_prefix('d')?.split_once('p')?;
    let (disk, partition) = (decimal(disk)?, decimal(partition)?);
    (disk < 1 << 20 && partition < 256).then_some((disk, partition))
}

/// A decimal number without zeros before it.
fn decimal(digits: &str) -> Option<u32> {
    let plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let expected = [
            ("xvda", 51712),
            ("xvdb", 51728),
            ("xvdp15", 51967),
            ("xvda16", 1 << 28 | 16),
            ("xvdq", 1 << 28 | 16 << 8),
            ("xvdaa", 1 << 28 | 26 << 8),
            ("d0p0", 51712),
            ("hda", 768),
            ("hdb1", 833),
            ("hdc", 5632),
            ("sda", 2048),
            ("sdp15", 2303),
        ];
        assert!(expected.iter().all(|&(name, expected)| number(name) == Some(expected)));
    }

    #[test]
    fn what_is_no_name() {
        let bad = [
            "",
            "xvd",
            "xvda0",
            "xvda01",
            "xvda256",
            "xvdA",
            "hde",
            "hda64",
            "sdq",
            "sda16",
            "vda",
            "51712",
            "d0",
            "dp",
            "d1048576p0",
            "d0p256",
            "xvda1b",
            "xvdzzzzzzzzzzzz",
            "xvda+1",
            "xvdbhyyy",
        ];
        let found: alloc::vec::Vec<&str> = bad.into_iter().filter(|name| number(name).is_some()).collect();
        assert_eq!(found, [""; 0]);
    }
}
