//! How `disk=` of a configuration names what is behind a disk.
//!
//! | text | |
//! |---|---|
//! | `/dev/hda`, `/dev/hda1`, `hda1` | a disk, a partition |
//! | `/images/a.img` | a file on the root file system |
//! | `/media/hda1/a.img` | a file on the file system of `/dev/hda1` |
//! | `module:NAME` | a boot module |
//! | `ram:64M` | memory, for as long as the disk is open |
//! | `overlay:TARGET` | copy on write; changes stay until they are committed or discarded |
//! | `snapshot:TARGET` | copy on write; changes are gone as the disk is closed |
//! | `cow:/a.cow:TARGET` | copy on write; changes are in a file, or a disk or partition |

use crate::disk::SECTOR;

/// A target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target<'t> {
    /// As it is.
    Plain(Source<'t>),
    /// With changes that stay.
    Overlay(Source<'t>),
    /// With changes that are gone.
    Snapshot(Source<'t>),
    /// With changes that survive.
    Cow(CowFile<'t>),
}

/// Changes that survive, and what they are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CowFile<'t> {
    /// Where they are: a device or a file.
    pub(crate) store: Source<'t>,
    pub(crate) base: Source<'t>,
    /// The base's text.
    pub(crate) name: &'t str,
}

/// What is behind all changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source<'t> {
    /// A disk or a partition, without `/dev/`.
    Device(&'t str),
    /// A boot module.
    Module(&'t str),
    /// Memory, in sectors.
    Ram(u64),
    /// A file.
    File(FilePath<'t>),
}

/// Where a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FilePath<'t> {
    /// The disk or partition with the file system, without `/dev/`; `None`: the root.
    pub(crate) device: Option<&'t str>,
    /// In the file system.
    pub(crate) path: &'t str,
}

/// Reads a target.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Target<'_>, &'static str> {
    let (kind, rest) = text.split_once(':').unwrap_or(("", text));
    Ok(match kind {
        "overlay" => Target::Overlay(source(rest)?),
        "snapshot" => Target::Snapshot(source(rest)?),
        "cow" => Target::Cow(cow_file(rest)?),
        _ => Target::Plain(source(text)?),
    })
}

fn cow_file(text: &str) -> Result<CowFile<'_>, &'static str> {
    let form = "changes in a file are as `cow:/changes.cow:/dev/hda1`";
    let (store, name) = text.split_once(':').ok_or(form)?;
    match source(store)? {
        store @ (Source::Device(_) | Source::File(_)) => Ok(CowFile { store, base: source(name)?, name }),
        Source::Module(_) | Source::Ram(_) => Err(form),
    }
}

fn source(text: &str) -> Result<Source<'_>, &'static str> {
    if let Some(name) = text.strip_prefix("module:") {
        return Ok(Source::Module(name));
    }
    if let Some(size) = text.strip_prefix("ram:") {
        return sectors(size).map(Source::Ram).ok_or("a size is as `ram:64M`, with K, M or G");
    }
    if let Some(name) = text.strip_prefix("/dev/") {
        return Ok(Source::Device(name));
    }
    match text.starts_with('/') {
        true => Ok(Source::File(file(text))),
        false if text.is_empty() => Err("it is empty"),
        false if text.contains([':', '/']) => {
            Err("a target is as `/dev/hda1`, `/a.img`, `module:a` or `ram:64M`")
        }
        false => Ok(Source::Device(text)),
    }
}

/// Reads the path of a file.
pub(crate) fn file(path: &str) -> FilePath<'_> {
    let Some(rest) = path.strip_prefix("/media/") else { return FilePath { device: None, path } };
    let (device, path) = rest.split_once('/').unwrap_or((rest, ""));
    FilePath { device: Some(device), path }
}

/// Reads a size in bytes, or with K, M, G or T; it is whole sectors.
fn sectors(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let shift = match text.strip_prefix(digits)? {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return None,
    };
    let bytes = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    let whole = bytes > 0 && bytes.is_multiple_of(SECTOR as u64);
    whole.then_some(bytes / SECTOR as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_said() {
        let root = FilePath { device: None, path: "/i/a.img" };
        let media = FilePath { device: Some("hda1"), path: "i/a.img" };
        let cases = [
            ("/dev/hda", Target::Plain(Source::Device("hda"))),
            ("hda1", Target::Plain(Source::Device("hda1"))),
            ("/i/a.img", Target::Plain(Source::File(root))),
            ("/media/hda1/i/a.img", Target::Plain(Source::File(media))),
            ("module:debian.img", Target::Plain(Source::Module("debian.img"))),
            ("ram:64M", Target::Plain(Source::Ram(64 << 11))),
            ("ram:10G", Target::Plain(Source::Ram(10 << 21))),
            ("ram:512", Target::Plain(Source::Ram(1))),
            ("overlay:/dev/hda1", Target::Overlay(Source::Device("hda1"))),
            ("overlay:module:a", Target::Overlay(Source::Module("a"))),
            ("snapshot:/i/a.img", Target::Snapshot(Source::File(root))),
            (
                "cow:/i/a.img:module:b",
                Target::Cow(CowFile {
                    store: Source::File(root),
                    base: Source::Module("b"),
                    name: "module:b",
                }),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot() {
        let size = "a size is as `ram:64M`, with K, M or G";
        let form = "a target is as `/dev/hda1`, `/a.img`, `module:a` or `ram:64M`";
        let cow = "changes in a file are as `cow:/changes.cow:/dev/hda1`";
        let cases = [
            ("cow:/a.cow", cow),
            ("cow:ram:1M:/dev/hda", form),
            ("cow:/a.cow:", "it is empty"),
            ("", "it is empty"),
            ("overlay:", "it is empty"),
            ("overlay:overlay:/dev/hda", form),
            ("images/a.img", form),
            ("nfs:x", form),
            ("ram:", size),
            ("ram:0", size),
            ("ram:100", size),
            ("ram:-1M", size),
            ("ram:1MB", size),
            ("ram:99999999T", size),
            ("ram:99999999999999999999", size),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
