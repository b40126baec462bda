//! Whole files, good and bad; `samples/make.sh` made the packed ones.

use std::fmt::Write;
use std::string::String;
use std::vec;
use std::vec::Vec;

extern crate std;

use pollster::block_on;
use proptest::prelude::*;

use super::stream::{Stream, require};
use super::{Format, ImageError, Kernel};
use crate::testing::kernel;

const SAMPLES: [(Format, &[u8]); 8] = [
    (Format::Gzip, include_bytes!("samples/plain.gz")),
    (Format::Xz, include_bytes!("samples/plain.xz")),
    (Format::Xz, include_bytes!("samples/x86.xz")),
    (Format::Zstd, include_bytes!("samples/plain.zst")),
    (Format::Zstd, include_bytes!("samples/large-window.zst")),
    (Format::Lz4, include_bytes!("samples/plain.lz4")),
    (Format::Lz4, include_bytes!("samples/checks.lz4")),
    (Format::Lz4, include_bytes!("samples/legacy.lz4")),
];
/// Only the format of the Linux build has no check sum.
const LEGACY: &[u8] = SAMPLES[7].1;

/// What the samples hold.
fn plain() -> Vec<u8> {
    let calls: Vec<u8> =
        (0..500_u32).flat_map(|i| [b"call \xe8".as_slice(), &i.to_le_bytes()].concat()).collect();
    let mut state = 1_u64;
    let noise = (0..1500).map(|_| {
        state = (state * 1_103_515_245 + 12345) % (1 << 31);
        u8::try_from(state >> 16 & 0xff).unwrap()
    });
    let mut lines = String::new();
    (0..20000).for_each(|i| writeln!(lines, "line {}", i * i % 83).unwrap());
    let noise: Vec<u8> = noise.collect();
    [&calls, &noise, &vec![0; 150_000], lines.as_bytes(), &calls].concat()
}

/// Unpacks a file; also says how long the longest piece was.
fn unpack(mut stream: Stream<'_>) -> Result<(Vec<u8>, usize), ImageError> {
    let (mut bytes, mut longest) = (Vec::new(), 0);
    while let Some(piece) = stream.next_piece()? {
        longest = longest.max(piece.len());
        bytes.extend_from_slice(piece);
    }
    Ok((bytes, longest))
}

fn unpack_file(file: &[u8]) -> Result<Vec<u8>, ImageError> {
    Ok(unpack(Stream::open(file)?)?.0)
}

/// A bzImage around a payload.
fn bzimage(payload: &[u8], version: u16) -> Vec<u8> {
    const SECTORS: u8 = 2;
    const OFFSET: usize = 0x30;
    let mut file = vec![0; (usize::from(SECTORS) + 1) * 512 + OFFSET];
    file[0x1f1] = SECTORS;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&version.to_le_bytes());
    file[0x248..0x24c].copy_from_slice(&u32::try_from(OFFSET).unwrap().to_le_bytes());
    file[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    file.extend_from_slice(payload);
    file.extend_from_slice(b"what follows a payload");
    file
}

/// A payload as Linux's build makes it: its size follows, where the format does not say it.
fn payload(format: Format, sample: &[u8], size: usize) -> Vec<u8> {
    let size = u32::try_from(size).unwrap().to_le_bytes();
    if format == Format::Gzip { sample.to_vec() } else { [sample, &size].concat() }
}

/// A legacy LZ4 file that holds `bytes` as literals.
fn lz4_of(bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![2, 0x21, 0x4c, 0x18];
    for part in bytes.chunks(100) {
        let block = [&[0xf0, u8::try_from(part.len() - 15).unwrap()], part].concat();
        file.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
        file.extend_from_slice(&block);
    }
    file
}

/// Bytes that follow each other, and their address.
type Part = (u64, Vec<u8>);

fn open(file: &[u8]) -> Result<Kernel<'_>, ImageError> {
    block_on(Kernel::open(file, async || {}))
}

/// All that a kernel loads, piece after piece, and its entry point.
fn load(file: &[u8]) -> Result<(Vec<Part>, u32), ImageError> {
    let mut kernel = open(file)?;
    let mut parts: Vec<Part> = Vec::new();
    while let Some(piece) = kernel.next_piece()? {
        for (address, bytes) in piece.parts() {
            match parts.last_mut() {
                Some((start, all)) if *start + all.len() as u64 == address => all.extend_from_slice(bytes),
                _ => parts.push((address, bytes.to_vec())),
            }
        }
    }
    Ok((parts, kernel.entry()?))
}

fn error_of(file: &[u8]) -> ImageError {
    load(file).unwrap_err()
}

#[test]
fn all_formats_are_unpacked() {
    let plain = plain();
    for (index, (format, sample)) in SAMPLES.into_iter().enumerate() {
        let (bytes, longest) = unpack(Stream::open(sample).unwrap()).unwrap();
        assert!(bytes == plain, "sample {index} ({format})");
        assert!(longest <= 192 << 10, "sample {index} ({format}): nobody else ran for {longest} bytes");
    }
}

#[test]
fn payloads_of_bzimages_are_unpacked() {
    let plain = plain();
    for (index, (format, sample)) in SAMPLES.into_iter().enumerate() {
        let file = bzimage(&payload(format, sample, plain.len()), 0x20f);
        assert!(unpack_file(&file).unwrap() == plain, "sample {index} ({format})");
    }
}

#[test]
fn a_size_that_is_wrong_is_noticed() {
    for (format, sample) in SAMPLES.into_iter().filter(|(format, _)| *format != Format::Gzip) {
        let file = bzimage(&payload(format, sample, plain().len() + 1), 0x20f);
        assert_eq!(unpack_file(&file), Err(ImageError::Damaged(format)));
    }
}

#[test]
fn what_follows_is_noticed() {
    for (format, sample) in SAMPLES {
        let error = unpack_file(&[sample, b"\xff\xff\xff"].concat()).unwrap_err();
        let named = if sample == LEGACY { ImageError::Truncated } else { ImageError::Damaged(format) };
        assert_eq!(error, named);
    }
}

/// No packed file can be cut anywhere, and the error names the reason.
#[test]
fn any_cut_of_a_packed_file_is_noticed() {
    for (index, (format, sample)) in SAMPLES.into_iter().enumerate() {
        for length in (8..sample.len()).step_by(61) {
            match unpack_file(&sample[..length]) {
                Err(ImageError::Truncated) => {}
                // Between two blocks a legacy file is complete; its payload's size would tell.
                Ok(_) if sample == LEGACY => {}
                other => {
                    panic!("sample {index} ({format}), {length} bytes: {:?}", other.map(|bytes| bytes.len()))
                }
            }
        }
    }
}

#[test]
fn memory_that_is_not_there_is_named() {
    assert_eq!(require(1 << 20), Ok(()));
    assert_eq!(require((512 << 20) + 1), Err(ImageError::NoMemory(513)));
    let words = std::format!("{}", ImageError::NoMemory(64));
    assert!(words.contains("64 MiB") && words.contains("dom0_mem="), "{words}");
    // The dictionary of an .xz file is in its block's header, here of 1.5 GiB with the CRC that belongs to it.
    let mut file = SAMPLES[1].1.to_vec();
    let header = &mut file[12..24];
    assert_eq!(header[..5], [2, 0, 0x21, 1, 22]);
    header[4] = 37;
    let crc = crc32fast::hash(&header[..8]).to_le_bytes();
    header[8..].copy_from_slice(&crc);
    assert!(matches!(unpack_file(&file), Err(ImageError::NoMemory(3072..3076))));
}

#[test]
fn a_kernel_is_read() {
    let file = kernel(0x20_0000, b"code", 0x3000, 0x20_0001);
    assert_eq!(open(&file).unwrap().end(), 0x20_3000);
    assert_eq!(load(&file), Ok((vec![(0x20_0000, b"code".to_vec())], 0x20_0001)));
}

#[test]
fn a_kernel_is_read_in_any_packing() {
    let code: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
    let elf = kernel(0x20_0000, &code, 0x3000, 0x20_0001);
    let expected = Ok((vec![(0x20_0000, code)], 0x20_0001));
    let lz4 = lz4_of(&elf);
    assert_eq!(load(&lz4), expected);
    assert_eq!(load(&bzimage(&elf, 0x20f)), expected);
    assert_eq!(load(&bzimage(&payload(Format::Lz4, &lz4, elf.len()), 0x208)), expected);
}

#[test]
fn other_files_are_named() {
    assert_eq!(error_of(b""), ImageError::Empty);
    assert_eq!(error_of(b"MZ"), ImageError::NotAKernel([b'M', b'Z', 0, 0]));
    assert_eq!(error_of(b"no elf"), ImageError::NotAKernel(*b"no e"));
    assert_eq!(error_of(b"\x7fELF"), ImageError::Truncated);
    assert_eq!(error_of(&bzimage(b"", 0x207)), ImageError::OldBzImage(0x207));
    assert_eq!(error_of(&bzimage(b"\x89LZO\0\r\n\x1a\n", 0x20f)), ImageError::Unsupported("lzop"));
    assert_eq!(error_of(b"BZh9"), ImageError::Unsupported("bzip2"));
    let words = std::format!("{}", ImageError::OldBzImage(0x206));
    assert!(words.contains("2.06"), "{words}");
    // Packed, but no kernel.
    for (_, sample) in SAMPLES {
        assert_eq!(error_of(sample), ImageError::Malformed);
    }
}

#[test]
fn mistakes_in_headers_are_named() {
    let good = || kernel(0x20_0000, b"code", 0x3000, 0x20_0000);
    assert_eq!(error_of(&kernel(0x20_0000, b"code", 0x3000, 0x20_3000)), ImageError::EntryOutside);
    assert_eq!(error_of(&kernel(0x20_0000, b"code", 2, 0x20_0000)), ImageError::Malformed);
    assert_eq!(error_of(&kernel(u64::MAX - 1, b"code", 0x3000, 0)), ImageError::Malformed);
    let with = |at: usize, bytes: &[u8]| {
        let mut file = good();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        error_of(&file)
    };
    assert_eq!(with(5, &[2]), ImageError::WrongMachine, "big-endian");
    assert_eq!(with(18, &[183, 0]), ImageError::WrongMachine, "AArch64");
    assert_eq!(with(16, &[1, 0]), ImageError::NotExecutable, "an object file");
    assert_eq!(with(32, &[0xff; 8]), ImageError::Malformed, "headers nowhere");
    assert_eq!(with(54, &[57, 0]), ImageError::Malformed, "size of a header");
    assert_eq!(with(56, &[0, 0]), ImageError::NothingToLoad, "no headers");
    assert_eq!(with(64 + 56, &[6]), ImageError::NothingToLoad, "no segment");
    assert_eq!(with(64, &[6]), ImageError::NoPvhNote);
}

#[test]
fn segments_that_overlap_are_refused() {
    // The note becomes a second segment at the address of the first.
    let mut file = kernel(0x20_0000, b"code", 0x3000, 0x20_0000);
    file[64] = 1;
    file[64 + 24..64 + 32].copy_from_slice(&0x20_2fff_u64.to_le_bytes());
    assert_eq!(error_of(&file), ImageError::Overlap);
}

#[test]
fn any_cut_is_an_error_and_no_panic() {
    let elf = kernel(0x20_0000, &[0x90; 200], 0x3000, 0x20_0000);
    let packed = bzimage(&payload(Format::Lz4, &lz4_of(&elf), elf.len()), 0x20f);
    let complete = packed.len() - b"what follows a payload".len();
    for (file, length) in [(&elf, elf.len()), (&packed, complete)] {
        for length in 0..length {
            assert!(load(&file[..length]).is_err(), "{length}");
        }
        load(&file[..length]).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to a file: an error, or the same number of bytes as far as a check tells.
    #[test]
    fn damage_is_no_panic(
        index in 0..SAMPLES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        early in any::<bool>(),
    ) {
        let (format, sample) = SAMPLES[index];
        let mut file = sample.to_vec();
        let range = if early { 32 } else { file.len() };
        for (at, value) in changes {
            file[at.index(range)] = value;
        }
        match unpack_file(&file) {
            Ok(bytes) => prop_assert!(file == sample || format == Format::Lz4 || bytes == plain()),
            Err(error) => prop_assert!(!std::string::ToString::to_string(&error).is_empty()),
        }
    }

    #[test]
    fn a_damaged_kernel_is_no_panic(changes in prop::collection::vec((0..400_usize, any::<u8>()), 1..6)) {
        let elf = kernel(0x20_0000, &[0x90; 200], 0x3000, 0x20_0000);
        let mut file = elf.clone();
        for (at, value) in changes {
            // The first four bytes say what the file is.
            let at = 4 + at % (file.len() - 4);
            file[at] = value;
        }
        let packed = lz4_of(&file);
        // Bare or packed, it is the same kernel.
        prop_assert_eq!(load(&file), load(&packed));
    }
}
