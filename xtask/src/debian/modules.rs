//! Modules of a Linux kernel: which are needed for what, and in which order they are loaded.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use elf::ElfBytes;
use elf::endian::LittleEndian;

/// A kernel's modules, by name with underscores.
#[derive(Default)]
pub(crate) struct Modules {
    files: BTreeMap<String, Vec<u8>>,
    builtin: BTreeSet<String>,
}

impl Modules {
    /// Adds the module in the file `path`.
    pub(crate) fn add(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(name(path), bytes);
    }

    /// Adds what the kernel has without modules: `modules.builtin`, a path a line.
    pub(crate) fn add_builtin(&mut self, list: &str) {
        self.builtin.extend(list.lines().map(name));
    }

    /// Modules that provide `wanted`, each behind those that it depends on. What the kernel has built in is left out.
    pub(crate) fn in_order(&self, wanted: &[&str]) -> Result<Vec<(&str, &[u8])>> {
        let (mut order, mut seen) = (Vec::new(), self.builtin.clone());
        for wanted in wanted {
            self.add_to(&mut order, &mut seen, &name(wanted))?;
        }
        Ok(order)
    }

    fn add_to<'a>(
        &'a self,
        order: &mut Vec<(&'a str, &'a [u8])>,
        seen: &mut BTreeSet<String>,
        wanted: &str,
    ) -> Result<()> {
        if !seen.insert(wanted.to_owned()) {
            return Ok(());
        }
        let (name, bytes) =
            self.files.get_key_value(wanted).with_context(|| format!("the kernel has no module {wanted}"))?;
        for other in depends(bytes).with_context(|| format!("module {wanted}"))? {
            self.add_to(order, seen, &other)?;
        }
        order.push((name, bytes));
        Ok(())
    }
}

/// `xen_blkfront` of `kernel/drivers/block/xen-blkfront.ko`.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".ko").unwrap_or(file).replace('-', "_")
}

/// Names of the modules that one depends on: `depends=a,b` among the words of its section `.modinfo`.
fn depends(module: &[u8]) -> Result<Vec<String>> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(module)?;
    let section = elf.section_header_by_name(".modinfo")?.context("it has no section .modinfo")?;
    let (words, _) = elf.section_data(&section)?;
    let list = words.split(|byte| *byte == 0).find_map(|word| word.strip_prefix(b"depends="));
    let list = String::from_utf8_lossy(list.unwrap_or_default());
    Ok(list.split(',').filter(|other| !other.is_empty()).map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file of two sections, `.modinfo` and the table of names.
    fn module(info: &[u8]) -> Vec<u8> {
        let names = b"\0.modinfo\0.names\0";
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let table = 64 + info.len() + names.len();
        for half in [1u16, 62] {
            elf.extend(half.to_le_bytes());
        }
        elf.extend(1u32.to_le_bytes());
        for word in [0, 0, table as u64] {
            elf.extend(word.to_le_bytes());
        }
        elf.extend(0u32.to_le_bytes());
        for half in [64u16, 0, 0, 64, 3, 2] {
            elf.extend(half.to_le_bytes());
        }
        elf.extend(info);
        elf.extend(names);
        let mut section = |name: u32, kind: u32, offset: usize, size: usize| {
            elf.extend([name, kind].map(u32::to_le_bytes).concat());
            elf.extend([0, 0, offset as u64, size as u64].map(u64::to_le_bytes).concat());
            elf.extend([0u32, 0].map(u32::to_le_bytes).concat());
            elf.extend([1u64, 0].map(u64::to_le_bytes).concat());
        };
        section(0, 0, 0, 0);
        section(1, 1, 64, info.len());
        section(10, 3, 64 + info.len(), names.len());
        elf
    }

    fn order(modules: &Modules, wanted: &[&str]) -> Result<Vec<String>> {
        Ok(modules.in_order(wanted)?.into_iter().map(|(name, _)| name.to_owned()).collect())
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let mut modules = Modules::default();
        modules.add("kernel/fs/ext4/ext4.ko", module(b"license=GPL\0depends=jbd2,crc-16\0"));
        modules.add("kernel/fs/jbd2/jbd2.ko", module(b"depends=crc-16\0"));
        modules.add("kernel/lib/crc-16.ko", module(b"depends=\0"));
        modules.add("kernel/x.ko", module(b"depends=missing\0"));
        modules.add_builtin("kernel/drivers/block/xen-blkfront.ko\n");
        let wanted = order(&modules, &["xen-blkfront", "jbd2", "ext4"]).unwrap();
        assert_eq!(wanted, ["crc_16", "jbd2", "ext4"]);
        assert!(order(&modules, &["x"]).unwrap_err().to_string().contains("no module missing"));
    }
}
