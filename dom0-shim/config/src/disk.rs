//! A disk as `disk=` describes it (`xl-disk-configuration`(5)).
//!
//! ```text
//! /dev/vg/root,raw,xvda,rw                  positions: target, format, vdev, access
//! format=qcow2, vdev=xvdb, access=ro, target=/images/b.qcow2      keys, target= last
//! phy:/dev/sda5,hda,w                       xend's: type:target, vdev, access
//! ,hdc:cdrom,r   hdc:cdrom,r                an empty CD drive (EMU-03)
//! overlay:/dev/sda5,raw,xvda,w              Dom0's storage: overlay:, cow:, module:, ...
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::domain::{Disk, DiskFormat};
use crate::spec::{Wrong, is_dom0};
use crate::vdev;

/// Bytes of the longest target (BLK-09, T-73).
const LONGEST: usize = 125;
const SCRIPT: &str = "disks are opened by Dom0 itself; it runs no scripts";

/// Reads a disk's text; with it, what of it does nothing.
///
/// # Errors
///
/// Why it is refused.
pub fn parse(text: &str) -> Result<(Disk, Vec<String>), Wrong> {
    let mut fields = Fields::default();
    let mut rest = fields.prefixes(text.trim_start())?;
    if rest.split(',').next().and_then(devtype).is_some_and(|(name, _)| vdev::number(name).is_some()) {
        // xend's `hdc:cdrom,r`: nothing is before the name of the drive (T-71).
        fields.target = Some(String::new());
    }
    while !rest.is_empty() {
        let field;
        (field, rest) = match rest.starts_with("target=") {
            true => (rest, ""),
            false => rest.split_once(',').unwrap_or((rest, "")),
        };
        fields.add(field.trim_matches([' ', '\t', '\n']))?;
        rest = rest.trim_start_matches([' ', '\t', '\n']);
    }
    fields.finish()
}

/// What is behind a disk, as far as a text says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Backing {
    Physical,
    Image,
}

#[derive(Default)]
struct Fields {
    target: Option<String>,
    format: Option<DiskFormat>,
    vdev: Option<String>,
    read_only: Option<bool>,
    cdrom: bool,
    backing: Option<Backing>,
    /// There was a prefix, so that no position is for the format.
    prefixed: bool,
    notes: Vec<String>,
}

impl Fields {
    /// Takes prefixes such as `phy:` and `tap:aio:` away.
    fn prefixes<'t>(&mut self, text: &'t str) -> Result<&'t str, Wrong> {
        let mut rest = text;
        while let Some((prefix, after)) = rest.split_once(':').filter(|(it, _)| is_prefix(it)) {
            match prefix {
                "phy" => self.backing = Some(Backing::Physical),
                "file" | "aio" | "tap" | "tap2" | "tapdisk" | "ioemu" => self.backing = Some(Backing::Image),
                "raw" | "qcow" | "qcow2" | "vhd" => self.set_format(prefix)?,
                // Of the target: Dom0's storage reads them.
                "overlay" | "snapshot" | "cow" | "module" | "ram" => break,
                "iscsi" | "nbd" | "enbd" | "drbd" => {
                    return Err(Wrong::with(format!("disks of type `{prefix}:` cannot be had"), SCRIPT));
                }
                _ if after.starts_with('/') => {
                    let help = "types are phy:, file:, tap:aio:, raw: and qcow2:";
                    return Err(Wrong::with(format!("unknown type `{prefix}:`"), help));
                }
                _ => break,
            }
            self.prefixed = true;
            rest = after;
        }
        Ok(rest)
    }

    fn add(&mut self, field: &str) -> Result<(), Wrong> {
        match field.split_once('=') {
            Some((key, value)) => self.key(key, value),
            None => self.word(field),
        }
    }

    fn key(&mut self, key: &str, value: &str) -> Result<(), Wrong> {
        match key {
            "target" => set("target", &mut self.target, value),
            "vdev" => set("vdev", &mut self.vdev, value),
            "format" => self.set_format(value),
            "access" => self.set_access(value),
            "devtype" => self.set_devtype(value),
            "backendtype" => self.set_backend_type(value),
            "backend" if is_dom0(value) => Ok(()),
            "backend" => Err(Wrong::new("`backend=` cannot be had: back ends run in Dom0")),
            "script" if value.is_empty() || value == "block" => Ok(()),
            "script" => Err(Wrong::with("`script=` cannot be had", SCRIPT)),
            "specification" if value == "xen" => Ok(()),
            "specification" => Err(Wrong::new("`specification=` is xen only: there are no virtio disks")),
            "grant_usage" => {
                self.note("grant_usage=");
                Ok(())
            }
            _ => Err(Wrong::with(
                format!("unknown key `{key}`"),
                "keys are target=, format=, vdev=, access=, devtype= and backendtype=",
            )),
        }
    }

    /// A word is a flag, or it is what its position says.
    fn word(&mut self, word: &str) -> Result<(), Wrong> {
        match word {
            "cdrom" => self.cdrom = true,
            "discard" | "trusted" | "no-colo" => {}
            "no-discard" | "direct-io-safe" | "untrusted" => self.note(word),
            _ if self.target.is_none() => self.target = Some(word.to_string()),
            _ if !self.prefixed && self.format.is_none() && self.is_empty_drive(word) => {
                self.format = Some(DiskFormat::Empty);
                return self.set_vdev(word);
            }
            _ if !self.prefixed && self.format.is_none() => return self.set_format(word),
            _ if self.vdev.is_none() => return self.set_vdev(word),
            _ if self.read_only.is_none() => return self.set_access(word),
            _ => {
                return Err(Wrong::with(
                    format!("one field too many, `{word}`"),
                    "fields are target,format,vdev,access",
                ));
            }
        }
        Ok(())
    }

    /// Without a target the name of a CD drive follows, not a format.
    fn is_empty_drive(&self, word: &str) -> bool {
        self.target.as_ref().is_some_and(String::is_empty) && devtype(word).is_some()
    }

    fn set_vdev(&mut self, word: &str) -> Result<(), Wrong> {
        let (vdev, kind) = devtype(word).unwrap_or((word, ""));
        if !kind.is_empty() {
            self.set_devtype(kind)?;
        }
        set("vdev", &mut self.vdev, vdev)
    }

    fn set_devtype(&mut self, kind: &str) -> Result<(), Wrong> {
        self.cdrom = match kind {
            "cdrom" => true,
            "disk" => false,
            _ => return Err(Wrong::new(format!("expected a device type, cdrom or disk, found `{kind}`"))),
        };
        Ok(())
    }

    fn set_access(&mut self, access: &str) -> Result<(), Wrong> {
        self.read_only = Some(match access {
            "r" | "ro" => true,
            "w" | "rw" | "" => false,
            _ => return Err(Wrong::new(format!("expected an access, r or w, found `{access}`"))),
        });
        Ok(())
    }

    fn set_format(&mut self, name: &str) -> Result<(), Wrong> {
        let format = match name {
            "" | "raw" => DiskFormat::Raw,
            "qcow2" => DiskFormat::Qcow2,
            "empty" => DiskFormat::Empty,
            "qcow" | "qed" | "vhd" => {
                let help = "qemu-img convert -O qcow2 makes an image that can be used";
                return Err(Wrong::with(format!("images of format {name} cannot be used"), help));
            }
            _ => {
                let help = "fields are target,format,vdev,access";
                return Err(Wrong::with(
                    format!("expected a format, raw, qcow2 or empty, found `{name}`"),
                    help,
                ));
            }
        };
        if self.format.is_some_and(|earlier| earlier != format) {
            return Err(Wrong::new("two formats for one disk"));
        }
        self.format = Some(format);
        Ok(())
    }

    fn set_backend_type(&mut self, kind: &str) -> Result<(), Wrong> {
        self.backing = Some(match kind {
            "phy" => Backing::Physical,
            "tap" | "qdisk" => Backing::Image,
            _ => {
                return Err(Wrong::new(format!("expected a type of back end, phy or qdisk, found `{kind}`")));
            }
        });
        Ok(())
    }

    fn note(&mut self, field: &str) {
        self.notes.push(format!("`{field}` does nothing here"));
    }

    fn finish(self) -> Result<(Disk, Vec<String>), Wrong> {
        let vdev = self.vdev.ok_or_else(|| {
            Wrong::with("expected the disk's name in the guest", "a disk is as /dev/vg/root,raw,xvda,rw")
        })?;
        if vdev::number(&vdev).is_none() {
            return Err(Wrong::new(format!("expected a disk's name as xvda, hda or sda, found `{vdev}`")));
        }
        let target = self.target.unwrap_or_default();
        if target.len() > LONGEST {
            return Err(Wrong::new(format!("a target has {LONGEST} bytes at most, found {}", target.len())));
        }
        let empty = target.is_empty() || self.format == Some(DiskFormat::Empty);
        let format = match self.format {
            _ if self.cdrom && (empty || target == "/dev/null") => DiskFormat::Empty,
            _ if empty => {
                return Err(Wrong::with(
                    "a disk without a target",
                    "only CD drives can be empty: devtype=cdrom",
                ));
            }
            Some(DiskFormat::Qcow2) if self.backing == Some(Backing::Physical) => {
                return Err(Wrong::new("a disk of type phy has no format; an image has type file:"));
            }
            Some(DiskFormat::Qcow2) => DiskFormat::Qcow2,
            _ => raw(self.backing, &target),
        };
        let target = if format == DiskFormat::Empty { String::new() } else { target };
        let read_only = self.cdrom || self.read_only.unwrap_or(false);
        Ok((Disk { target, format, vdev, read_only, cdrom: self.cdrom }, self.notes))
    }
}

/// A device is physical even where the text does not say so, as `libxl` finds out by looking.
fn raw(backing: Option<Backing>, target: &str) -> DiskFormat {
    match backing {
        Some(Backing::Physical) => DiskFormat::Physical,
        None if target.starts_with("/dev/") => DiskFormat::Physical,
        _ => DiskFormat::Raw,
    }
}

/// `hdc:cdrom`: name and type.
fn devtype(word: &str) -> Option<(&str, &str)> {
    word.rsplit_once(':').filter(|(_, kind)| matches!(*kind, "cdrom" | "disk"))
}

fn is_prefix(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && vdev::number(text).is_none()
}

/// Sets a text once; an empty one may be replaced.
fn set(what: &str, slot: &mut Option<String>, value: &str) -> Result<(), Wrong> {
    if slot.as_ref().is_some_and(|text| !text.is_empty()) {
        return Err(Wrong::new(format!("two {what}s for one disk")));
    }
    *slot = Some(value.to_string());
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn disk(target: &str, format: DiskFormat, vdev: &str) -> Disk {
        Disk { target: target.into(), format, vdev: vdev.into(), read_only: false, cdrom: false }
    }

    fn parsed(text: &str) -> Disk {
        parse(text).unwrap_or_else(|wrong| panic!("{text}: {}", wrong.message)).0
    }

    fn message(text: &str) -> String {
        parse(text).expect_err(text).message
    }

    #[test]
    fn positions() {
        assert_eq!(parsed("/dev/vg/g,raw,xvda,rw"), disk("/dev/vg/g", DiskFormat::Physical, "xvda"));
        assert_eq!(parsed("/dev/vg/g,,xvda"), disk("/dev/vg/g", DiskFormat::Physical, "xvda"));
        assert_eq!(parsed("/i/a.img, raw, hda, w"), disk("/i/a.img", DiskFormat::Raw, "hda"));
        let ro = Disk { read_only: true, ..disk("/i/a", DiskFormat::Qcow2, "sda1") };
        assert_eq!(parsed("/i/a,qcow2,sda1,ro"), ro);
    }

    #[test]
    fn keys() {
        let text = "format=qcow2, vdev=xvdb, access=r, target=/i/a=b, c.img";
        let ro = Disk { read_only: true, ..disk("/i/a=b, c.img", DiskFormat::Qcow2, "xvdb") };
        assert_eq!(parsed(text), ro);
        let mixed = "/i/cd.iso,format=raw,vdev=hdc,devtype=cdrom";
        let cd = Disk { read_only: true, cdrom: true, ..disk("/i/cd.iso", DiskFormat::Raw, "hdc") };
        assert_eq!(parsed(mixed), cd);
        assert_eq!(
            parsed("vdev=xvda,backendtype=qdisk,target=/dev/x"),
            disk("/dev/x", DiskFormat::Raw, "xvda")
        );
        assert_eq!(parsed("vdev=xvda,backendtype=phy,target=x"), disk("x", DiskFormat::Physical, "xvda"));
    }

    /// T-70, CFG-09.
    #[test]
    fn xends_types() {
        assert_eq!(parsed("phy:/dev/sda1,hda,w"), disk("/dev/sda1", DiskFormat::Physical, "hda"));
        assert_eq!(parsed("phy:/dev/sda2,xvdd,w"), disk("/dev/sda2", DiskFormat::Physical, "xvdd"));
        assert_eq!(
            parsed("tap:aio:/directory/file.img,hda,w"),
            disk("/directory/file.img", DiskFormat::Raw, "hda")
        );
        assert_eq!(parsed("tap:qcow2:/i/a,hda,w"), disk("/i/a", DiskFormat::Qcow2, "hda"));
        assert_eq!(parsed("file:/dev/a,hda,w"), disk("/dev/a", DiskFormat::Raw, "hda"));
        assert_eq!(parsed("phy:sda1,xvda"), disk("sda1", DiskFormat::Physical, "xvda"));
    }

    /// BLK-37, BLK-39.
    #[test]
    fn dom0s_own_types() {
        let targets = [
            "overlay:/dev/hda1",
            "snapshot:/i/a.img",
            "cow:/a.cow:/dev/hda1",
            "overlay:module:a",
            "module:/a",
            "ram:64M",
        ];
        for target in targets {
            assert_eq!(parsed(&format!("{target},raw,xvda,w")), disk(target, DiskFormat::Raw, "xvda"));
            assert_eq!(parsed(&format!("{target},,xvda")), disk(target, DiskFormat::Raw, "xvda"));
            assert_eq!(parsed(&format!("vdev=xvda,target={target}")), disk(target, DiskFormat::Raw, "xvda"));
        }
    }

    /// T-71, EMU-03.
    #[test]
    fn empty_drives() {
        let empty = Disk { read_only: true, cdrom: true, ..disk("", DiskFormat::Empty, "hdc") };
        let forms = ["hdc:cdrom,r", ",hdc:cdrom,r", "phy:/dev/null,hdc:cdrom,r", "phy:,hdc:cdrom,r"];
        let today = [",empty,hdc,r,cdrom", "format=empty,vdev=hdc,devtype=cdrom", "vdev=hdc,cdrom"];
        assert!(forms.iter().chain(&today).all(|text| parsed(text) == empty));
        assert_eq!(parsed("phy:/dev/sr0,hdc:cdrom,r").target, "/dev/sr0");
    }

    /// T-73.
    #[test]
    fn the_longest_target() {
        let text = |length: usize| format!("phy:/{},xvda,w", "a".repeat(length - 1));
        assert_eq!(parsed(&text(125)).target.len(), 125);
        assert_eq!(message(&text(126)), "a target has 125 bytes at most, found 126");
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            ("", "expected the disk's name in the guest"),
            ("/i/a", "expected the disk's name in the guest"),
            ("/i/a,raw", "expected the disk's name in the guest"),
            ("/i/a,raw,vda", "expected a disk's name as xvda, hda or sda, found `vda`"),
            ("/i/a,xvda,w", "expected a format, raw, qcow2 or empty, found `xvda`"),
            ("/i/a,vhd,xvda", "images of format vhd cannot be used"),
            ("/i/a,raw,xvda,x", "expected an access, r or w, found `x`"),
            ("/i/a,raw,xvda,w,w", "one field too many, `w`"),
            (",raw,xvda,w", "a disk without a target"),
            ("/i/a,empty,xvda,w", "a disk without a target"),
            ("phy:/a,xvda:tape,w", "expected a disk's name as xvda, hda or sda, found `xvda:tape`"),
            ("/i/a,raw,xvda,w,devtype=tape", "expected a device type, cdrom or disk, found `tape`"),
            ("iscsi:iqn.x,xvda,w", "disks of type `iscsi:` cannot be had"),
            ("ntfs:/a,xvda,w", "unknown type `ntfs:`"),
            ("/i/a,raw,xvda,script=block-drbd", "`script=` cannot be had"),
            ("/i/a,raw,xvda,backend=1", "`backend=` cannot be had: back ends run in Dom0"),
            ("/i/a,raw,xvda,colour=red", "unknown key `colour`"),
            ("/i/a,raw,xvda,format=qcow2", "two formats for one disk"),
            ("/i/a,raw,xvda,vdev=xvdb", "two vdevs for one disk"),
            ("/i/a,raw,xvda,target=/i/b", "two targets for one disk"),
            ("/i/a,qcow2,xvda,backendtype=phy", "a disk of type phy has no format; an image has type file:"),
            ("/i/a,raw,xvda,backendtype=nbd", "expected a type of back end, phy or qdisk, found `nbd`"),
            ("/i/a,raw,xvda,specification=virtio", "`specification=` is xen only: there are no virtio disks"),
        ];
        for (text, expected) in cases {
            assert_eq!(message(text), expected, "{text}");
        }
    }

    #[test]
    fn what_does_nothing_is_told() {
        let (_, notes) = parse("/i/a,raw,xvda,rw,discard,no-discard,direct-io-safe").unwrap();
        assert_eq!(notes, ["`no-discard` does nothing here", "`direct-io-safe` does nothing here"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_text(pieces in prop::collection::vec(prop_oneof![
            prop::sample::select(alloc::vec![
                "phy:", "file:", "tap:aio:", ",", "=", "target=", "vdev=", "format=", "xvda", "hdc:cdrom",
                "r", "w", "raw", "qcow2", "empty", "/dev/x", " ", ":",
            ]).prop_map(String::from),
            any::<String>(),
        ], 0..8)) {
            if let Ok((disk, _)) = parse(&pieces.concat()) {
                prop_assert!(vdev::number(&disk.vdev).is_some());
                prop_assert_eq!(disk.target.is_empty(), disk.format == DiskFormat::Empty);
                prop_assert!(disk.target.len() <= LONGEST);
                prop_assert!(disk.read_only || !disk.cdrom);
            }
        }
    }
}
