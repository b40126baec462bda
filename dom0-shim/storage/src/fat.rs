//! FAT12, FAT16 and FAT32: kernels, configurations and disk images in files.
//!
//! ```text
//! FileSystem ── metadata, new files ──> hadris-fat ──> adapter ──> Disk
//! files, Image ── extents: found once, as the file is opened ────> Disk
//! ```
//!
//! FAT knows no holes: a new image has all its clusters, filled with zeros, so that nothing
//! of files that were deleted can be read from it (BLK-07, BLK-20). Sparse disks are RAM disks
//! and overlays. Files have the date 1980-01-01.

mod adapter;
mod image;

use alloc::format;
use alloc::rc::{Rc, Weak};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use async_lock::{Mutex, MutexGuard};
use hadris_fat::CacheOptions;
use hadris_fat::async_::FatFs;
use hadris_fs::{DirCursor, ErrorKind, Extent, FileType, MountOptions, Name, NodeId, Resolve, SetAttr};
use hadris_io::Error;

use self::adapter::Adapter;
pub use self::image::Image;
use self::image::{Run, Used};
use crate::access::Access;
use crate::disk::{Disk, Failure, SECTOR};

/// Directories in directories, at most: a damaged file system has directories in themselves.
const DEPTH: usize = 16;
/// Names in a listing, at most, for the same reason.
const NAMES: usize = 16_384;
/// Extents that are read at once.
const EXTENTS: usize = 1024;
/// Extents of a file, at most: each batch follows the file's chain from its start.
const RUNS: usize = 64 * EXTENTS;
/// Bytes of the largest file that is read as a whole: kernels and their RAM disks.
const LARGEST_READ: u64 = 512 << 20;

/// A file of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// From the root on, as `/images/a.img`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// A file system, which nobody else writes as long as this is there.
///
/// Names are compared without regard to case. A path starts at the root, whether with `/` or
/// not.
pub struct FileSystem<D> {
    disk: Rc<D>,
    /// Taken for each operation; not by images.
    volume: Mutex<FatFs<Adapter<D>>>,
    images: RefCell<Vec<Weak<Used>>>,
}

impl<D: Disk> FileSystem<D> {
    /// What it is on.
    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }
}

impl<D: Disk + 'static> FileSystem<D> {
    /// Makes a new file system on a disk, whose contents are lost.
    ///
    /// # Errors
    ///
    /// The disk's, and [`Failure::Medium`] where it is too small.
    pub async fn format(disk: Rc<D>) -> Result<(), Failure> {
        let mut device = Adapter(disk);
        let made = hadris_fat::async_::format(&mut device, &hadris_fat::FatOptions::new()).await;
        made.map(drop).map_err(words)
    }

    /// The file system on a disk.
    ///
    /// # Errors
    ///
    /// The disk's, and [`Failure::Medium`] where there is no FAT on it.
    pub async fn mount(disk: Rc<D>) -> Result<Rc<Self>, Failure> {
        let volume = FatFs::mount(Adapter(Rc::clone(&disk)), MountOptions::new()).await;
        let volume = volume.map_err(|error| words(error.into_error()))?;
        let volume = Mutex::new(volume.with_cache(CacheOptions::new()));
        Ok(Rc::new(Self { disk, volume, images: RefCell::default() }))
    }

    /// All files, in all directories.
    ///
    /// # Errors
    ///
    /// [`Failure::Medium`] where the file system is damaged.
    pub async fn list(&self) -> Result<Vec<File>, Failure> {
        let mut volume = self.volume.lock().await;
        let mut files = Vec::new();
        let mut directories = vec![(String::new(), 0)];
        let mut names = 0_usize;
        while let Some((directory, depth)) = directories.pop() {
            let node = resolve(&mut volume, &directory).await?;
            let listed = entries(&mut volume, node, &mut names).await;
            volume.forget(node, 1);
            for (name, kind, bytes) in listed.map_err(words)? {
                let path = format!("{directory}/{name}");
                match kind {
                    FileType::Dir if depth < DEPTH => directories.push((path, depth + 1)),
                    FileType::Dir => {
                        return Err(Failure::Medium(format!("`{path}` is in too many directories")));
                    }
                    _ => files.push(File { path, bytes }),
                }
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    /// A file's bytes.
    ///
    /// # Errors
    ///
    /// [`Failure::Medium`]: there is no such file, a domain writes it, it is too
    /// large.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let mut volume = self.volume.lock().await;
        let node = resolve(&mut volume, path).await?;
        let read = self.read_node(&mut volume, node, path).await;
        volume.forget(node, 1);
        read
    }

    /// Makes an image of zeros. It is on the medium when this is done.
    ///
    /// # Errors
    ///
    /// [`Failure::Full`] where there is not so much room; [`Failure::Medium`] where the file
    /// is there already, or cannot be. Nothing is left of it then.
    pub async fn create(&self, path: &str, bytes: u64) -> Result<(), Failure> {
        if bytes == 0 || !bytes.is_multiple_of(SECTOR as u64) {
            return Err(Failure::Medium(format!("an image consists of sectors of {SECTOR} bytes")));
        }
        if bytes > u64::from(u32::MAX) {
            let limit = "a file on FAT is smaller than 4 GiB: use a partition or a RAM disk";
            return Err(Failure::Medium(String::from(limit)));
        }
        let mut volume = self.volume.lock().await;
        let (parent, name) = split(path);
        let parent = resolve(&mut volume, parent).await?;
        let made = create(&mut volume, parent, Name::new(name), bytes).await;
        volume.forget(parent, 1);
        made.map_err(words)
    }

    /// Deletes a file.
    ///
    /// # Errors
    ///
    /// [`Failure::Medium`] where there is no such file, or it is in use.
    pub async fn remove(&self, path: &str) -> Result<(), Failure> {
        let mut volume = self.volume.lock().await;
        let node = resolve(&mut volume, path).await?;
        let unused = self.unused(&mut volume, node, path, Access::Write).await;
        volume.forget(node, 1);
        unused?;
        let (parent, name) = split(path);
        let parent = resolve(&mut volume, parent).await?;
        let removed = match volume.unlink(parent, Name::new(name)).await {
            Ok(()) => volume.sync().await,
            Err(error) => Err(error),
        };
        volume.forget(parent, 1);
        removed.map_err(words)
    }

    /// A file as a disk, for `user`, who is named to others that want it.
    ///
    /// # Errors
    ///
    /// [`Failure::Medium`]: there is no such file, it is in use, it is damaged or
    /// no disk. [`Failure::ReadOnly`] where the file system is.
    pub async fn open(self: &Rc<Self>, path: &str, access: Access, user: &str) -> Result<Image<D>, Failure> {
        if access == Access::Write && self.disk.properties().read_only {
            return Err(Failure::ReadOnly);
        }
        let mut volume = self.volume.lock().await;
        let node = resolve(&mut volume, path).await?;
        let used = used(&mut volume, node, (path, user), access).await;
        volume.forget(node, 1);
        let used = Rc::new(used?);
        self.check(&used)?;
        self.images.borrow_mut().push(Rc::downgrade(&used));
        Ok(Image::new(Rc::clone(self), used))
    }

    /// Refuses what is in use.
    fn check(&self, used: &Used) -> Result<(), Failure> {
        let mut images = self.images.borrow_mut();
        images.retain(|image| image.strong_count() > 0);
        images.iter().filter_map(Weak::upgrade).try_for_each(|other| used.check(&other))
    }

    async fn unused(
        &self,
        volume: &mut Volume<'_, D>,
        node: NodeId,
        path: &str,
        access: Access,
    ) -> Result<(), Failure> {
        // A file without sectors has no clusters that could be in use.
        let bytes = volume.stat(node).await.map_err(words)?.len();
        if bytes < SECTOR as u64 {
            return Ok(());
        }
        self.check(&used(volume, node, (path, "Dom0"), access).await?)
    }

    async fn read_node(
        &self,
        volume: &mut Volume<'_, D>,
        node: NodeId,
        path: &str,
    ) -> Result<Vec<u8>, Failure> {
        let metadata = volume.stat(node).await.map_err(words)?;
        let size = metadata.len();
        if metadata.file_type() != FileType::File {
            return Err(words(ErrorKind::IsADirectory.into()));
        }
        if size > LARGEST_READ {
            return Err(Failure::Medium(format!("it is too large: {size} bytes")));
        }
        self.unused(volume, node, path, Access::Read).await?;
        let size = usize::try_from(size).map_err(|_| Failure::Full)?;
        let whole = size.next_multiple_of(SECTOR);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(whole).map_err(|_| Failure::Full)?;
        bytes.resize(whole, 0);
        let mut rest = bytes.as_mut_slice();
        for extent in runs(volume, node, RUNS).await.map_err(words)? {
            let length = usize::try_from(extent.len()).unwrap_or(usize::MAX).checked_next_multiple_of(SECTOR);
            let piece = length.and_then(|length| rest.split_off_mut(..length));
            let piece = piece.ok_or_else(|| words(ErrorKind::Corrupt.into()))?;
            self.disk.read(extent.offset() / SECTOR as u64, piece).await?;
        }
        if !rest.is_empty() {
            return Err(words(ErrorKind::Corrupt.into()));
        }
        bytes.truncate(size);
        Ok(bytes)
    }
}

type Volume<'a, D> = MutexGuard<'a, FatFs<Adapter<D>>>;

/// The node of a path, pinned.
async fn resolve<D: Disk + 'static>(volume: &mut Volume<'_, D>, path: &str) -> Result<NodeId, Failure> {
    volume.resolve(path.as_bytes(), Resolve::Lexical).await.map_err(words)
}

/// Names, kinds and sizes in a directory; `names` counts them.
async fn entries<D: Disk + 'static>(
    volume: &mut Volume<'_, D>,
    directory: NodeId,
    names: &mut usize,
) -> Result<Vec<(String, FileType, u64)>, Error<Failure>> {
    let mut entries = Vec::new();
    let mut cursor = DirCursor::START;
    while let Some(entry) = volume.readdir(directory, cursor).await? {
        *names = names.saturating_add(1);
        if *names > NAMES {
            return Err(ErrorKind::LimitExceeded.into());
        }
        let name = entry.name().to_str().map_err(|_| ErrorKind::Corrupt)?;
        entries.push((name.to_string(), entry.file_type(), entry.metadata().len()));
        cursor = entry.next_cursor();
    }
    Ok(entries)
}

async fn create<D: Disk + 'static>(
    volume: &mut Volume<'_, D>,
    parent: NodeId,
    name: &Name,
    bytes: u64,
) -> Result<(), Error<Failure>> {
    let node = volume.create(parent, name, &SetAttr::new()).await?;
    let mut filled = volume.truncate(node, bytes).await;
    if filled.is_ok() {
        filled = volume.sync().await;
    }
    volume.forget(node, 1);
    if filled.is_err() {
        // What failed first is what the user has to know.
        let _ = volume.unlink(parent, name).await;
        let _ = volume.sync().await;
    }
    filled
}

/// Where a file is.
async fn used<D: Disk + 'static>(
    volume: &mut Volume<'_, D>,
    node: NodeId,
    (path, user): (&str, &str),
    access: Access,
) -> Result<Used, Failure> {
    let metadata = volume.stat(node).await.map_err(words)?;
    if metadata.file_type() != FileType::File {
        return Err(words(ErrorKind::IsADirectory.into()));
    }
    let runs = runs(volume, node, RUNS).await.map_err(words)?;
    let runs = runs.iter().filter_map(Run::new).collect::<Result<_, _>>()?;
    Used::new((path, user), access, runs, metadata.len() / SECTOR as u64)
}

/// A file's extents, if there are at most `most`.
async fn runs<D: Disk + 'static>(
    volume: &mut Volume<'_, D>,
    node: NodeId,
    most: usize,
) -> Result<Vec<Extent>, Error<Failure>> {
    let mut extents = Vec::new();
    let mut buffer = vec![Extent::new(0, 0); EXTENTS];
    let mut from = 0;
    loop {
        let count = volume.extents(node, from, &mut buffer).await?;
        let Some(found) = buffer.get(..count).filter(|found| !found.is_empty()) else { return Ok(extents) };
        if extents.len().saturating_add(found.len()) > most {
            return Err(ErrorKind::LimitExceeded.into());
        }
        extents.extend_from_slice(found);
        let end = found.last().map_or(from, |last| last.file_offset().saturating_add(last.len()));
        if end <= from {
            return Err(ErrorKind::Corrupt.into());
        }
        from = end;
    }
}

/// A path's directory and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn words(error: Error<Failure>) -> Failure {
    match error.kind() {
        ErrorKind::NoSpace => Failure::Full,
        kind => match error.into_device_error() {
            Some(failure) => failure,
            None if kind == ErrorKind::ReadOnly => Failure::ReadOnly,
            None => Failure::Medium(describe(kind).to_string()),
        },
    }
}

fn describe(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "there is no such file",
        ErrorKind::AlreadyExists => "it is there already",
        ErrorKind::NotRecognized => "there is no FAT file system on the disk",
        ErrorKind::IsADirectory => "it is a directory",
        ErrorKind::NotADirectory => "a part of the path is no directory",
        ErrorKind::InvalidInput | ErrorKind::NameTooLong => "FAT cannot have such a name",
        ErrorKind::LimitExceeded => "there are too many names, or the file is in too many pieces",
        _ => "the file system is damaged",
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "models are small")]
mod tests {
    use core::cell::Cell;
    use std::sync::LazyLock;

    use pollster::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Account;
    use crate::disk::Properties;
    use crate::memory::Ram;

    const MIB: u64 = 1 << 20;

    fn ram(bytes: u64) -> Rc<Ram> {
        Rc::new(Ram::new(bytes / SECTOR as u64, Account::of(64 * MIB)))
    }

    fn mounted(bytes: u64) -> Rc<FileSystem<Ram>> {
        let disk = ram(bytes);
        block_on(FileSystem::format(Rc::clone(&disk))).unwrap();
        block_on(FileSystem::mount(disk)).unwrap()
    }

    /// Writes a file of any size; the product itself only makes images.
    fn put(system: &FileSystem<Ram>, path: &str, bytes: &[u8]) {
        block_on(async {
            let mut volume = system.volume.lock().await;
            let (parent, name) = split(path);
            let parent = resolve(&mut volume, parent).await.unwrap();
            let node = volume.create(parent, Name::new(name), &SetAttr::new()).await.unwrap();
            volume.write(node, 0, bytes).await.unwrap();
            volume.sync().await.unwrap();
            volume.forget(node, 1);
        });
    }

    fn mkdir(system: &FileSystem<Ram>, path: &str) {
        block_on(async {
            let mut volume = system.volume.lock().await;
            let (parent, name) = split(path);
            let parent = resolve(&mut volume, parent).await.unwrap();
            volume.mkdir(parent, Name::new(name), &SetAttr::new()).await.unwrap();
            volume.sync().await.unwrap();
        });
    }

    fn message<T>(result: Result<T, Failure>) -> String {
        result.err().expect("it should be refused").to_string()
    }

    fn open(system: &Rc<FileSystem<Ram>>, path: &str, access: Access) -> Result<Image<Ram>, Failure> {
        block_on(system.open(path, access, "demo"))
    }

    fn fill(image: &Image<Ram>, byte: u8) {
        let sectors = usize::try_from(image.properties().sectors).unwrap();
        block_on(image.write(0, &vec![byte; sectors * SECTOR])).unwrap();
    }

    /// FAT12, FAT16, FAT32.
    #[test]
    fn files_of_all_three_kinds() {
        for size in [4 * MIB, 64 * MIB, 600 * MIB] {
            let system = mounted(size);
            mkdir(&system, "/boot");
            put(&system, "/boot/vmlinuz-6.1.0-cloud-amd64", &[7; 5000]);
            put(&system, "demo.cfg", b"name = \"demo\"");
            block_on(system.create("/a.img", 100 * 512)).unwrap();
            let again = block_on(FileSystem::mount(Rc::clone(&system.disk))).unwrap();
            let listed = block_on(again.list()).unwrap();
            let listed: Vec<_> = listed.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
            let expected = [("/a.img", 51_200), ("/boot/vmlinuz-6.1.0-cloud-amd64", 5000), ("/demo.cfg", 13)];
            assert_eq!(listed, expected);
            assert_eq!(block_on(again.read("/boot/vmlinuz-6.1.0-cloud-amd64")).unwrap(), [7; 5000]);
            assert_eq!(block_on(again.read("DEMO.CFG")).unwrap(), b"name = \"demo\"");
        }
    }

    /// BLK-17: what is not there, or no disk, is told at once.
    #[test]
    fn what_cannot_be_opened() {
        let system = mounted(4 * MIB);
        mkdir(&system, "/images");
        put(&system, "/small", &[1; 511]);
        let cases = [
            ("/no.img", "there is no such file"),
            ("/small/x", "a part of the path is no directory"),
            ("/images", "it is a directory"),
            ("/small", "it has less than a sector of 512 bytes: it is no disk"),
        ];
        for (path, expected) in cases {
            assert_eq!(message(open(&system, path, Access::Read)), expected);
        }
        assert_eq!(message(block_on(system.read("/images"))), "it is a directory");
        let empty = block_on(FileSystem::mount(ram(MIB)));
        assert_eq!(message(empty), "there is no FAT file system on the disk");
    }

    /// BLK-16, T-86.
    #[test]
    fn a_file_is_written_by_one() {
        let system = mounted(4 * MIB);
        block_on(system.create("/a.img", 512)).unwrap();
        let (one, two) = (open(&system, "/a.img", Access::Read), open(&system, "a.IMG", Access::Read));
        let busy = "it is in use by demo for reading";
        assert_eq!(message(open(&system, "/A.img", Access::Write)), busy);
        assert_eq!(message(block_on(system.remove("/a.img"))), busy);
        block_on(system.read("/a.img")).unwrap();
        assert_eq!(block_on(one.unwrap().write(0, &[0; SECTOR])), Err(Failure::ReadOnly));
        drop(two);

        let writer = open(&system, "/a.img", Access::Write).unwrap();
        let busy = "it is in use by demo for writing";
        assert_eq!(message(open(&system, "/a.img", Access::Read)), busy);
        assert_eq!(message(open(&system, "/a.img", Access::Write)), busy);
        assert_eq!(message(block_on(system.read("/a.img"))), busy);
        fill(&writer, 5);
        drop(writer);
        assert_eq!(block_on(system.read("/a.img")).unwrap(), [5; 512]);
        block_on(system.remove("/a.img")).unwrap();
        assert_eq!(block_on(system.list()).unwrap(), []);
    }

    /// BLK-06, T-72: what FAT cannot have is told, and leaves nothing.
    #[test]
    fn images_that_cannot_be_made() {
        let system = mounted(4 * MIB);
        block_on(system.create("/a.img", MIB)).unwrap();
        let cases = [
            ("/a.img", 512, "it is there already"),
            ("/b.img", 10 << 30, "a file on FAT is smaller than 4 GiB: use a partition or a RAM disk"),
            ("/b.img", 1000, "an image consists of sectors of 512 bytes"),
            ("/b.img", 0, "an image consists of sectors of 512 bytes"),
            ("/x/b.img", 512, "there is no such file"),
            ("/b?.img", 512, "FAT cannot have such a name"),
            ("/b.img", 8 * MIB, "no room is left"),
        ];
        for (path, bytes, expected) in cases {
            assert_eq!(message(block_on(system.create(path, bytes))), expected);
        }
        let files = block_on(system.list()).unwrap();
        assert_eq!(files, [File { path: "/a.img".into(), bytes: MIB }]);
        block_on(system.create("/b.img", 2 * MIB)).unwrap();
    }

    /// BLK-20: nothing of a deleted file is in a new one.
    #[test]
    fn new_images_are_zeros() {
        let system = mounted(4 * MIB);
        block_on(system.create("/a.img", 3 * MIB)).unwrap();
        fill(&open(&system, "/a.img", Access::Write).unwrap(), 0xAA);
        block_on(system.remove("/a.img")).unwrap();
        block_on(system.create("/b.img", 3 * MIB)).unwrap();
        assert!(block_on(system.read("/b.img")).unwrap().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn the_last_bytes_of_a_file_are_no_sector() {
        let system = mounted(4 * MIB);
        put(&system, "/odd", &[3; 5 * 512 + 100]);
        let image = open(&system, "/odd", Access::Write).unwrap();
        assert_eq!(image.properties().sectors, 5);
        fill(&image, 4);
        assert_eq!(block_on(image.read(5, &mut [0; SECTOR])), Err(Failure::OutOfRange));
        drop(image);
        let bytes = block_on(system.read("/odd")).unwrap();
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == if at < 2560 { 4 } else { 3 }));
    }

    #[test]
    fn a_file_system_that_can_only_be_read() {
        struct ReadOnly(Ram);
        impl Disk for ReadOnly {
            fn properties(&self) -> Properties {
                Properties { read_only: true, ..self.0.properties() }
            }
            async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
                self.0.read(first, to).await
            }
            async fn write(&self, _: u64, _: &[u8]) -> Result<(), Failure> {
                panic!("it can only be read");
            }
            async fn flush(&self) -> Result<(), Failure> {
                panic!("nothing was written");
            }
            async fn discard(&self, _: u64, _: u64) -> Result<(), Failure> {
                panic!("it can only be read");
            }
        }
        let system = mounted(4 * MIB);
        block_on(system.create("/a.img", 512)).unwrap();
        let disk = Rc::into_inner(system).unwrap();
        drop(disk.volume);
        let disk = Rc::new(ReadOnly(Rc::into_inner(disk.disk).unwrap()));
        let system = block_on(FileSystem::mount(disk)).unwrap();
        assert_eq!(block_on(system.read("/a.img")).unwrap(), [0; 512]);
        assert_eq!(block_on(system.create("/b.img", 512)), Err(Failure::ReadOnly));
        assert_eq!(block_on(system.remove("/a.img")), Err(Failure::ReadOnly));
        assert_eq!(block_on(system.open("/a.img", Access::Write, "x")).err(), Some(Failure::ReadOnly));
        assert!(block_on(system.open("/a.img", Access::Read, "x")).unwrap().properties().read_only);
    }

    /// A file in many pieces, with others in between.
    fn scattered() -> Rc<FileSystem<Ram>> {
        // So small that there is no room for a second file beyond these.
        let system = mounted(210 << 10);
        let names: Vec<_> = (0..40).map(|number| format!("/f{number}")).collect();
        for name in &names {
            block_on(system.create(name, 8 * 512)).unwrap();
            fill(&open(&system, name, Access::Write).unwrap(), 9);
        }
        for name in names.iter().step_by(2) {
            block_on(system.remove(name)).unwrap();
        }
        block_on(system.create("/a.img", 200 * 512)).unwrap();
        system
    }

    #[test]
    fn a_scattered_file_has_runs() {
        let system = scattered();
        let image = open(&system, "/a.img", Access::Write).unwrap();
        let places: Vec<_> = image.places(0..200).collect();
        assert!(places.len() >= 15, "{places:?}");
        assert_eq!(image.places(3..4).count(), 1);
        let found = places.len();
        block_on(async {
            let mut volume = system.volume.lock().await;
            let node = resolve(&mut volume, "/a.img").await.unwrap();
            assert_eq!(runs(&mut volume, node, found).await.unwrap().len(), found);
            let refused = runs(&mut volume, node, found - 1).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn an_image_is_bytes(steps in prop::collection::vec((0..200_u64, 0..100_usize, any::<u8>()), 0..20)) {
            let system = scattered();
            let image = open(&system, "/a.img", Access::Write).unwrap();
            let mut model = vec![0_u8; 200 * SECTOR];
            for (first, count, byte) in steps {
                let bytes = vec![byte; count.min(200 - first as usize) * SECTOR];
                match byte {
                    0 => block_on(image.discard(first, (bytes.len() / SECTOR) as u64)).unwrap(),
                    _ => block_on(image.write(first, &bytes)).unwrap(),
                }
                let place = first as usize * SECTOR..;
                model[place][..bytes.len()].copy_from_slice(&bytes);
                let mut read = vec![0xEE; bytes.len()];
                block_on(image.read(first, &mut read)).unwrap();
                prop_assert_eq!(read, bytes);
            }
            block_on(image.flush()).unwrap();
            drop(image);
            prop_assert_eq!(block_on(system.read("/a.img")).unwrap(), model);
            for number in (1..40).step_by(2) {
                prop_assert_eq!(block_on(system.read(&format!("/f{number}"))).unwrap(), [9; 8 * 512]);
            }
        }
    }

    /// A disk that counts requests, so that loops without end are seen.
    struct Counting {
        ram: Ram,
        requests: Cell<u32>,
    }

    /// More than any operation on the small file systems here needs.
    const REQUESTS: u32 = 200_000;

    impl Counting {
        fn count(&self) -> Result<(), Failure> {
            self.requests.set(self.requests.get() + 1);
            (self.requests.get() < REQUESTS).then_some(()).ok_or(Failure::Unsupported)
        }
    }

    impl Disk for Counting {
        fn properties(&self) -> Properties {
            self.ram.properties()
        }
        async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
            self.count()?;
            self.ram.read(first, to).await
        }
        async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
            self.count()?;
            self.ram.write(first, from).await
        }
        async fn flush(&self) -> Result<(), Failure> {
            self.count()
        }
        async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
            self.ram.discard(first, count).await
        }
    }

    /// The start of a file system with everything in it: boot sector, FATs, directories.
    fn sample(bytes: u64) -> Vec<u8> {
        let system = mounted(bytes);
        mkdir(&system, "/boot");
        mkdir(&system, "/boot/grub");
        put(&system, "/boot/a file with a long name.cfg", &[1; 3000]);
        for number in 0..6 {
            block_on(system.create(&format!("/i{number}"), 4096)).unwrap();
        }
        block_on(system.remove("/i2")).unwrap();
        block_on(system.create("/a.img", 65_536)).unwrap();
        let mut start = vec![0; 256 << 10];
        block_on(system.disk.read(0, &mut start)).unwrap();
        start
    }

    static SAMPLES: LazyLock<[(u64, Vec<u8>); 2]> =
        LazyLock::new(|| [4 * MIB, 20 * MIB].map(|bytes| (bytes, sample(bytes))));

    /// Where damage hits structures more often than the emptiness between them.
    fn place() -> impl Strategy<Value = usize> {
        prop_oneof![0..96_usize, 512..2048_usize, 512..65_536_usize, 0..(256_usize << 10)]
    }

    async fn use_all(disk: Rc<Counting>) -> Result<(), Failure> {
        let system = FileSystem::mount(disk).await?;
        let files = system.list().await.unwrap_or_default();
        let mut images = Vec::new();
        for file in files.iter().take(20) {
            let _ = system.read(&file.path).await;
            images.extend(system.open(&file.path, Access::Write, "demo").await);
        }
        let mut sectors: Vec<_> =
            images.iter().flat_map(|it| it.places(0..it.properties().sectors)).collect();
        sectors.sort_by_key(|range| range.start);
        assert!(sectors.windows(2).all(|pair| pair[0].end <= pair[1].start), "images share sectors");
        drop(images);
        let _ = system.create("/new.img", 100_352).await;
        let _ = system.remove("/a.img").await;
        let _ = system.create("/boot/other.img", 100_352).await;
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

        /// No panic, no loop without end, no image that shares sectors with another one.
        #[test]
        fn damaged_file_systems(
            sample in 0..2_usize,
            damage in prop::collection::vec((place(), any::<u8>()), 1..12),
            swaps in prop::collection::vec((place(), place()), 0..4),
        ) {
            let (bytes, start) = &SAMPLES[sample];
            let mut start = start.clone();
            for (at, byte) in damage {
                start[at] = byte;
            }
            for (one, other) in swaps {
                start.swap(one, other);
            }
            let ram = Ram::new(bytes / SECTOR as u64, Account::of(64 * MIB));
            block_on(ram.write(0, &start)).unwrap();
            let disk = Rc::new(Counting { ram, requests: Cell::new(0) });
            let _ = block_on(use_all(Rc::clone(&disk)));
            prop_assert!(disk.requests.get() < REQUESTS);
        }
    }
}
