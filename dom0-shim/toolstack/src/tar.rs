//! Files in a tar archive (POSIX.1-1988 "ustar", as GNU tar and others write it), read
//! where it is.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use tar_no_std::TarArchiveRef;
use xl::toolstack::{Done, Failure};

use crate::environment::Files;

/// An archive whose names are known.
#[derive(Debug, Default)]
pub struct Archive<'a> {
    files: BTreeMap<String, &'a [u8]>,
}

impl<'a> Archive<'a> {
    /// Reads an archive. A file that it holds twice is the last of the two, as tar has it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(bytes: &'a [u8]) -> Done<Self> {
        let broken = |error| Failure(format!("the archive of files is damaged: {error}"));
        let archive = TarArchiveRef::new(bytes).map_err(broken)?;
        let mut files = BTreeMap::new();
        for entry in archive.entries() {
            let name = entry.filename();
            let name = name.as_str().map_err(|_| {
                Failure(String::from("the archive of files is damaged: a file's name is no UTF-8"))
            })?;
            files.insert(String::from(name.trim_start_matches("./")), entry.data());
        }
        Ok(Self { files })
    }
}

impl Files for Archive<'_> {
    fn list(&self) -> Vec<(String, u64)> {
        self.files.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect()
    }

    fn read(&self, name: &str) -> Done<Cow<'_, [u8]>> {
        let found = self.files.get(name.trim_start_matches("./"));
        found.map(|bytes| Cow::Borrowed(*bytes)).ok_or_else(|| Failure(format!("{name}: no such file")))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    /// An archive of these files.
    pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in files {
            let mut header = vec![0_u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..107].copy_from_slice(b"0000644");
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            header[136..147].copy_from_slice(b"00000000000");
            header[148..156].copy_from_slice(b"        ");
            header[156] = b'0';
            header[257..265].copy_from_slice(b"ustar\x0000");
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            bytes.extend(header);
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    #[test]
    fn files_are_found_by_name() {
        let bytes = archive(&[("kernel", b"elf"), ("./auto/10-a.cfg", b"name = 'a'"), ("empty", b"")]);
        let archive = Archive::new(&bytes).unwrap();
        let names = ["auto/10-a.cfg", "empty", "kernel"].map(String::from);
        assert_eq!(archive.list(), names.into_iter().zip([10, 0, 3]).collect::<Vec<_>>());
        assert_eq!(&*archive.read("./kernel").unwrap(), b"elf");
        assert_eq!(archive.read("none"), Err(Failure(String::from("none: no such file"))));
    }

    #[test]
    fn the_last_of_two_files_counts() {
        let bytes = archive(&[("a", b"old"), ("a", b"new")]);
        assert_eq!(&*Archive::new(&bytes).unwrap().read("a").unwrap(), b"new");
    }

    #[test]
    fn a_cut_archive_is_an_error_that_says_so() {
        let bytes = archive(&[("kernel", &[7; 3000])]);
        for length in 0..bytes.len() {
            let error = Archive::new(&bytes[..length]).unwrap_err();
            assert!(error.0.starts_with("the archive of files is damaged: "), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damage_is_an_error_or_leaves_files_within(place in 0_usize..4096, byte: u8) {
            let mut bytes = archive(&[("kernel", &[7; 1500]), ("config", b"name")]);
            let place = place % bytes.len();
            bytes[place] = byte;
            if let Ok(archive) = Archive::new(&bytes) {
                let total: u64 = archive.list().iter().map(|(_, size)| size).sum();
                prop_assert!(total <= bytes.len() as u64);
            }
        }
    }
}
