//! Names for addresses in back traces.
//!
//! The boot loader passes the hypervisor's own `.symtab` and `.strtab` (multiboot2
//! "ELF-Symbols"). A panic looks addresses up one by one, so a linear scan
//! without any preparation is the simplest thing that cannot fail; damaged tables
//! give no name or a wrong one, never a panic within the panic.

use elf::abi::{SHN_UNDEF, STT_FUNC};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::string_table::StringTable;
use elf::symbol::{Symbol, SymbolTable};

/// The symbols of an ELF64 file.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'a> {
    symtab: &'a [u8],
    strtab: &'a [u8],
}

/// The function that an address lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location<'a> {
    /// Name of the function as in the file, that is, mangled.
    pub name: &'a str,
    /// Bytes from the function's start to the address.
    pub offset: u64,
    /// Bytes in the function.
    pub size: u64,
}

impl<'a> Symbols<'a> {
    /// Symbols from the contents of a `.symtab` and its `.strtab`.
    #[must_use]
    pub const fn new(symtab: &'a [u8], strtab: &'a [u8]) -> Self {
        Self { symtab, strtab }
    }

    /// The function that holds the byte at `address`.
    ///
    /// For a return address, ask for the byte before it: a call that never
    /// returns may be the last instruction of its function.
    #[must_use]
    pub fn lookup(&self, address: u64) -> Option<Location<'a>> {
        let table = SymbolTable::new(LittleEndian, Class::ELF64, self.symtab);
        let names = StringTable::new(self.strtab);
        table.iter().filter(is_function).find_map(|symbol| {
            let offset = address.checked_sub(symbol.st_value).filter(|&offset| offset < symbol.st_size)?;
            let name = names.get(usize::try_from(symbol.st_name).ok()?).ok()?;
            Some(Location { name, offset, size: symbol.st_size })
        })
    }
}

fn is_function(symbol: &Symbol) -> bool {
    symbol.st_symtype() == STT_FUNC && symbol.st_shndx != SHN_UNDEF
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const STRTAB: &[u8] = b"\0main\0panic\0table\0\xff\xff\0open";

    /// One `Elf64_Sym`.
    fn symbol(name: u32, info: u8, section: u16, value: u64, size: u64) -> Vec<u8> {
        let mut bytes = name.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[info, 0]);
        bytes.extend_from_slice(&section.to_le_bytes());
        bytes.extend_from_slice(&value.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes
    }

    fn symtab() -> Vec<u8> {
        [
            symbol(0, 0, 0, 0, 0),
            symbol(12, 0x11, 2, 0x1000, 0x100), // an object, not a function
            symbol(1, 0x12, 1, 0x1000, 0x20),
            symbol(6, 0x02, 1, 0x1020, 0x10),
            symbol(1, 0x12, 0, 0x3000, 0x10),  // undefined
            symbol(18, 0x12, 1, 0x4000, 0x10), // not UTF-8
            symbol(21, 0x12, 1, 0x5000, 0x10), // not terminated
            symbol(999, 0x12, 1, 0x6000, 0x10),
            symbol(6, 0x12, 1, u64::MAX - 1, u64::MAX),
        ]
        .concat()
    }

    #[test]
    fn addresses_in_functions_have_names() {
        let table = symtab();
        let symbols = Symbols::new(&table, STRTAB);
        let main = Location { name: "main", offset: 0, size: 0x20 };
        assert_eq!(symbols.lookup(0x1000), Some(main));
        assert_eq!(symbols.lookup(0x101f), Some(Location { offset: 0x1f, ..main }));
        assert_eq!(symbols.lookup(0x1020).map(|l| (l.name, l.offset)), Some(("panic", 0)));
        assert_eq!(symbols.lookup(u64::MAX).map(|l| (l.name, l.offset)), Some(("panic", 1)));
    }

    #[test]
    fn other_addresses_have_none() {
        let table = symtab();
        let symbols = Symbols::new(&table, STRTAB);
        for address in [0, 0xfff, 0x1030, 0x3000, 0x4000, 0x5000, 0x6000] {
            assert_eq!(symbols.lookup(address), None, "{address:#x}");
        }
        assert_eq!(Symbols::new(&[], &[]).lookup(0x1000), None);
        assert_eq!(Symbols::new(&table, &[]).lookup(0x1000), None);
    }

    #[test]
    fn a_partial_last_symbol_is_ignored() {
        let table = symtab();
        let symbols = Symbols::new(&table[..24 * 3 + 23], STRTAB);
        assert_eq!(symbols.lookup(0x1000).map(|l| l.name), Some("main"));
        assert_eq!(symbols.lookup(0x1020), None);
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 8 } else { 1024 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn garbage_is_survived(
            symtab in prop::collection::vec(any::<u8>(), 0..300),
            strtab in prop::collection::vec(any::<u8>(), 0..50),
            address in any::<u64>(),
        ) {
            if let Some(location) = Symbols::new(&symtab, &strtab).lookup(address) {
                prop_assert!(location.offset < location.size);
            }
        }
    }
}
