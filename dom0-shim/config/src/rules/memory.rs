//! Memory, in whole MiB (MEM-04, MEM-05, MEM-07).

use alloc::format;

use super::reader::Reader;
use crate::number::{self, NumberError};
use crate::syntax::Kind;

/// Most memory of a domain: 256 GiB (LIM-04).
const MOST_MIB: u32 = 256 << 10;
const KIB_PER_MIB: u64 = 1024;

/// At the start, and at most, in KiB.
pub fn memory(reader: &mut Reader<'_>) -> (u64, u64) {
    let memory = mebibytes(reader, "memory");
    let maximum = mebibytes(reader, "maxmem");
    if reader.is_missing("memory") && reader.is_missing("maxmem") {
        let error = reader.report.error(None, "expected the domain's memory, found none");
        error.help("add a line with MiB: memory = 512");
    }
    if let (Some(memory), Some(most)) = (memory, maximum)
        && memory > most
    {
        let span = reader.span("memory");
        let message = format!("`memory` is {memory} MiB, more than the {most} MiB of `maxmem`");
        reader.report.error(span, message).help("raise `maxmem` first");
    }
    let start = memory.or(maximum).unwrap_or_default();
    (kib(start), kib(maximum.unwrap_or(start)))
}

fn mebibytes(reader: &mut Reader<'_>, name: &str) -> Option<u32> {
    let found = reader.count(name, 1..=MOST_MIB);
    if found.is_none() && has_unit(reader, name) {
        reader.report.help(format!("the unit is MiB, and is not written: {name} = 512"));
    }
    found
}

/// Whether something follows the digits, as in `512M`.
fn has_unit(reader: &Reader<'_>, name: &str) -> bool {
    let Some(Kind::Atom(text)) = reader.settings.get(name).map(|setting| &setting.value.kind) else {
        return false;
    };
    text.starts_with(|c: char| c.is_ascii_digit()) && number::integer(text) == Err(NumberError::Digits)
}

fn kib(mib: u32) -> u64 {
    u64::from(mib) * KIB_PER_MIB
}
