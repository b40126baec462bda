//! All that disks of domains can be made of, by name.
//!
//! ```text
//! target ──> gate: one at a time ──> claims: is it free? ──> Volume, which holds its claims
//!                └── overlays that are kept, file systems that are in use
//! ```
//!
//! A disk, its partitions and the files on them exclude each other: a file system is claimed
//! as long as one of its files is open (BLK-16).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::{Rc, Weak};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

use async_lock::Mutex;

use crate::access::Access;
use crate::budget::{Account, Budget};
use crate::claims::{Claimed, Claims, Place};
use crate::cow::CowDisk;
use crate::disk::{Disk, Failure};
use crate::fat::{File, FileSystem};
use crate::memory::{Module, Ram};
use crate::overlay::{Changes, Overlay};
use crate::partitions::partitions;
use crate::target::{self, CowFile, FilePath, Source, Target};
use crate::volume::{Backing, Device, Layers, Part, Volume};
use crate::window::Window;

/// Who has a file system.
const FILES: &str = "Dom0's file system";
/// Names in an error, at most.
const NAMES: usize = 16;

/// Why there is no such disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The text makes no sense.
    Wrong {
        /// The text.
        target: String,
        /// What a right one is.
        words: &'static str,
    },
    /// It is not there (BLK-17).
    Missing {
        /// What was asked for.
        target: String,
        /// What there is.
        there: Vec<String>,
    },
    /// Somebody else has it, in words.
    Busy(String),
    /// The medium failed, or is damaged.
    Failed {
        /// What was asked for.
        target: String,
        /// Why.
        failure: Failure,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong { target, words } => write!(f, "`{target}`: {words}"),
            Self::Missing { target, there } if there.is_empty() => write!(f, "there is no `{target}`"),
            Self::Missing { target, there } => {
                let (shown, more) = there.split_at(there.len().min(NAMES));
                let dots = if more.is_empty() { "" } else { ", ..." };
                write!(f, "there is no `{target}`; there are {}{dots}", shown.join(", "))
            }
            Self::Busy(words) => f.write_str(words),
            Self::Failed { target, failure } => write!(f, "`{target}`: {failure}"),
        }
    }
}

impl core::error::Error for Refusal {}

/// Changes that are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Whose they are.
    pub user: String,
    /// What they change.
    pub target: String,
    /// Bytes that have been written.
    pub bytes: u64,
    /// Whether the disk is open.
    pub open: bool,
}

/// Disks, RAM disks, boot modules, and what is open of them. `D` is the machine's disks.
pub struct Pool<D> {
    devices: RefCell<BTreeMap<String, Device<D>>>,
    modules: RefCell<BTreeMap<String, Module>>,
    /// The disk or partition that paths without `/media/` are on.
    root: RefCell<Option<String>>,
    systems: RefCell<BTreeMap<Place, Weak<FileSystem<Part<D>>>>>,
    overlays: RefCell<BTreeMap<String, KeptOverlay<D>>>,
    claims: Rc<Claims>,
    budget: Rc<Budget>,
    /// Taken while something is opened, made or committed: what is found out stays true.
    gate: Mutex<()>,
}

struct KeptOverlay<D> {
    /// Without `overlay:`.
    target: String,
    changes: Rc<Changes>,
    /// With the claim on the base: nobody writes it as long as there are changes. `None`
    /// where a commit was not done.
    overlay: Option<Rc<Overlay<Backing<D>>>>,
}

impl<D> KeptOverlay<D> {
    fn is_open(&self) -> bool {
        self.overlay.as_ref().is_some_and(|overlay| Rc::strong_count(overlay) > 1)
    }
}

impl<D: Disk + 'static> Pool<D> {
    /// Without anything; what domains write to memory comes from `budget`.
    #[must_use]
    pub fn new(budget: Rc<Budget>) -> Self {
        Self {
            devices: RefCell::default(),
            modules: RefCell::default(),
            root: RefCell::default(),
            systems: RefCell::default(),
            overlays: RefCell::default(),
            claims: Rc::default(),
            budget,
            gate: Mutex::new(()),
        }
    }

    /// Adds a disk of the machine, as `hda`. A disk of the same name is there no longer.
    pub fn add_disk(&self, name: &str, disk: Rc<D>) {
        self.devices.borrow_mut().insert(name.to_string(), Device::Physical(disk));
    }

    /// Adds a RAM disk, as `ram0`, of zeros.
    pub fn add_ram(&self, name: &str, sectors: u64) {
        let ram = Rc::new(Ram::new(sectors, self.budget.account(name)));
        self.devices.borrow_mut().insert(name.to_string(), Device::Ram(ram));
    }

    /// Adds a boot module.
    pub fn add_module(&self, name: &str, bytes: &'static [u8]) {
        self.modules.borrow_mut().insert(name.to_string(), Module::new(bytes));
    }

    /// Says which disk or partition, as `hda1`, has the files of paths such as `/a.img`.
    pub fn set_root(&self, name: &str) {
        *self.root.borrow_mut() = Some(name.to_string());
    }

    /// All disks, partitions and boot modules, as targets.
    pub async fn names(&self) -> Vec<String> {
        let devices = self.devices.borrow().clone();
        let mut names = Vec::new();
        for (disk, device) in devices {
            let whole = Place { disk, partition: None };
            let found = partitions(&device).await;
            names.push(match &found {
                Ok(_) => whole.to_string(),
                Err(failure) => format!("{whole} (its partition table: {failure})"),
            });
            let numbers = found.unwrap_or_default().into_iter().map(|partition| Some(partition.number));
            names.extend(numbers.map(|partition| Place { partition, ..whole.clone() }.to_string()));
        }
        names.extend(self.modules.borrow().keys().map(|name| format!("module:{name}")));
        names
    }

    /// Opens a target for `user`, who is named to others; the same user gets the same overlay
    /// again. Memory that is written counts for what stands before the last `/`: all disks of a
    /// domain together, where users are as `demo/xvda`.
    ///
    /// # Errors
    ///
    /// [`Refusal`], at once; nothing is claimed then.
    pub async fn open(&self, target: &str, access: Access, user: &str) -> Result<Volume<D>, Refusal> {
        let _gate = self.gate.lock().await;
        self.tidy();
        let layers = match parse(target)? {
            Target::Plain(source) => Layers::Plain(self.backing(target, source, access, user).await?),
            Target::Snapshot(source) => {
                let base = self.backing(target, source, Access::Read, user).await?;
                Layers::Snapshot(Overlay::new(base, Changes::new(self.account(user))))
            }
            Target::Overlay(source) => Layers::Overlay(self.overlay(target, source, user).await?),
            Target::Cow(file) => Layers::Cow(self.cow(target, file, Access::Read, user).await?),
        };
        if access == Access::Write && layers.properties().read_only {
            return Err(failed(target, Failure::ReadOnly));
        }
        Ok(Volume::new(layers, access))
    }

    /// All changes that are kept.
    pub fn overlays(&self) -> Vec<Kept> {
        self.tidy();
        let overlays = self.overlays.borrow();
        let kept = overlays.iter().map(|(user, overlay)| Kept {
            user: user.clone(),
            target: overlay.target.clone(),
            bytes: overlay.changes.bytes(),
            open: overlay.is_open(),
        });
        kept.collect()
    }

    /// Writes a user's changes to what they change (T-96).
    ///
    /// # Errors
    ///
    /// [`Refusal`]: there are none, the disk is open, somebody else uses what they change, or
    /// it fails. They are kept then.
    pub async fn commit(&self, user: &str) -> Result<(), Refusal> {
        let _gate = self.gate.lock().await;
        let (target, changes) = self.closed(user)?;
        let Target::Plain(source) = parse(&target)? else { return Ok(()) };
        // The claim for reading is in the way of that for writing.
        self.set_overlay(user, None);
        let committed = match self.backing(&target, source, Access::Write, user).await {
            Ok(base) => changes.commit(&base).await.map_err(|failure| failed(&target, failure)),
            Err(refusal) => Err(refusal),
        };
        match committed {
            Ok(()) => drop(self.overlays.borrow_mut().remove(user)),
            Err(_) => {
                // Where this fails too, it is tried again as the disk is opened.
                let base = self.backing(&target, source, Access::Read, user).await;
                self.set_overlay(user, base.ok().map(|base| Rc::new(Overlay::new(base, changes))));
            }
        }
        committed
    }

    /// Forgets a user's changes (T-96).
    ///
    /// # Errors
    ///
    /// [`Refusal`]: there are none, or the disk is open.
    pub async fn discard(&self, user: &str) -> Result<(), Refusal> {
        let _gate = self.gate.lock().await;
        self.closed(user)?;
        self.overlays.borrow_mut().remove(user);
        Ok(())
    }

    /// Writes the changes of a target such as `cow:/a.cow:/dev/hda1` to their base (T-96).
    ///
    /// # Errors
    ///
    /// [`Refusal`]: somebody uses one of both, or it fails. The changes are there still.
    pub async fn commit_file(&self, target: &str) -> Result<(), Refusal> {
        let _gate = self.gate.lock().await;
        let disk = self.cow_file(target, Access::Write).await?;
        disk.commit().await.map_err(|failure| failed(target, failure))
    }

    /// Forgets the changes of such a target (T-96).
    ///
    /// # Errors
    ///
    /// [`Refusal`]
    pub async fn discard_file(&self, target: &str) -> Result<(), Refusal> {
        let _gate = self.gate.lock().await;
        let disk = self.cow_file(target, Access::Read).await?;
        disk.forget().await.map_err(|failure| failed(target, failure))
    }

    /// All files of a file system: the root, or that of a disk or partition as `hda1`. Their
    /// paths are as [`Pool::open`] and [`Pool::read`] want them.
    ///
    /// # Errors
    ///
    /// [`Refusal`]
    pub async fn list(&self, device: Option<&str>) -> Result<Vec<File>, Refusal> {
        let _gate = self.gate.lock().await;
        let target = device.unwrap_or("/");
        let system = self.system(FilePath { device, path: target }).await?;
        let mut files = system.list().await.map_err(|failure| failed(target, failure))?;
        if let Some(device) = device {
            files.iter_mut().for_each(|file| file.path.insert_str(0, &format!("/media/{device}")));
        }
        Ok(files)
    }

    /// A file's bytes.
    ///
    /// # Errors
    ///
    /// [`Refusal`]
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        let _gate = self.gate.lock().await;
        let file = target::file(path);
        let system = self.system(file).await?;
        match system.read(file.path).await {
            Ok(bytes) => Ok(bytes),
            Err(failure) => Err(self.explain(&system, path, file, failure).await),
        }
    }

    /// Makes an image of zeros (BLK-06).
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing is left of the file then.
    pub async fn create(&self, path: &str, bytes: u64) -> Result<(), Refusal> {
        let _gate = self.gate.lock().await;
        let file = target::file(path);
        let system = self.writable(file).await?;
        system.create(file.path, bytes).await.map_err(|failure| failed(path, failure))
    }

    /// Deletes a file.
    ///
    /// # Errors
    ///
    /// [`Refusal`]
    pub async fn remove(&self, path: &str) -> Result<(), Refusal> {
        let _gate = self.gate.lock().await;
        let file = target::file(path);
        let system = self.writable(file).await?;
        match system.remove(file.path).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.explain(&system, path, file, failure).await),
        }
    }

    /// The memory of the domain that a user is of.
    fn account(&self, user: &str) -> Account {
        self.budget.account(user.rsplit_once('/').map_or(user, |(domain, _)| domain))
    }

    /// Lets go of what nobody uses any more.
    fn tidy(&self) {
        self.systems.borrow_mut().retain(|_, system| system.strong_count() > 0);
        self.overlays.borrow_mut().retain(|_, overlay| overlay.is_open() || !overlay.changes.is_empty());
    }

    /// A user's changes, where the disk is not open.
    fn closed(&self, user: &str) -> Result<(String, Rc<Changes>), Refusal> {
        self.tidy();
        let overlays = self.overlays.borrow();
        let Some(kept) = overlays.get(user) else {
            let there = overlays.keys().cloned().collect();
            return Err(Refusal::Missing { target: format!("overlay of {user}"), there });
        };
        match kept.is_open() {
            true => Err(Refusal::Busy(format!("`overlay:{}` is in use by {user}", kept.target))),
            false => Ok((kept.target.clone(), Rc::clone(&kept.changes))),
        }
    }

    fn set_overlay(&self, user: &str, overlay: Option<Rc<Overlay<Backing<D>>>>) {
        if let Some(kept) = self.overlays.borrow_mut().get_mut(user) {
            kept.overlay = overlay;
        }
    }

    /// A user's overlay of a source, with the changes that are kept.
    async fn overlay(
        &self,
        text: &str,
        source: Source<'_>,
        user: &str,
    ) -> Result<Rc<Overlay<Backing<D>>>, Refusal> {
        let target = text.strip_prefix("overlay:").unwrap_or(text);
        let kept = self.kept_changes(target, user)?;
        let changes = kept.unwrap_or_else(|| Changes::new(self.account(user)));
        if let Some(overlay) = self.overlays.borrow().get(user).and_then(|kept| kept.overlay.clone()) {
            return Ok(overlay);
        }
        let base = self.backing(text, source, Access::Read, user).await?;
        let overlay = Rc::new(Overlay::new(base, Rc::clone(&changes)));
        let kept = KeptOverlay { target: target.to_string(), changes, overlay: Some(Rc::clone(&overlay)) };
        self.overlays.borrow_mut().insert(user.to_string(), kept);
        Ok(overlay)
    }

    /// What [`Pool::commit_file`] and [`Pool::discard_file`] are about.
    async fn cow_file(&self, target: &str, base: Access) -> Result<CowDisk<Backing<D>, Backing<D>>, Refusal> {
        self.tidy();
        match parse(target)? {
            Target::Cow(file) => self.cow(target, file, base, "Dom0").await,
            _ => {
                let words = "changes in a file are as `cow:/changes.cow:/dev/hda1`";
                Err(Refusal::Wrong { target: target.to_string(), words })
            }
        }
    }

    /// A base, to which `access` is wanted, with changes in a file.
    async fn cow(
        &self,
        target: &str,
        file: CowFile<'_>,
        access: Access,
        user: &str,
    ) -> Result<CowDisk<Backing<D>, Backing<D>>, Refusal> {
        let base = self.backing(target, file.base, access, user).await?;
        let store = self.backing(target, file.store, Access::Write, user).await?;
        CowDisk::open(base, file.name, store).await.map_err(|failure| failed(target, failure))
    }

    fn kept_changes(&self, target: &str, user: &str) -> Result<Option<Rc<Changes>>, Refusal> {
        let overlays = self.overlays.borrow();
        let Some(kept) = overlays.get(user) else { return Ok(None) };
        if kept.is_open() {
            return Err(Refusal::Busy(format!("`overlay:{}` is in use by {user}", kept.target)));
        }
        if kept.target != target {
            let theirs = &kept.target;
            let words = format!("{user} has changes of `{theirs}`: commit or discard them first");
            return Err(Refusal::Busy(words));
        }
        Ok(Some(Rc::clone(&kept.changes)))
    }

    async fn backing(
        &self,
        target: &str,
        source: Source<'_>,
        access: Access,
        user: &str,
    ) -> Result<Backing<D>, Refusal> {
        match source {
            Source::Device(name) => {
                let part = self.part(target, name, access, user).await?;
                Ok(Backing::Part(part))
            }
            Source::Module(name) => {
                let module = self.modules.borrow().get(name).copied();
                match module {
                    Some(module) => Ok(Backing::Module(module)),
                    None => Err(self.missing(target).await),
                }
            }
            Source::Ram(sectors) => Ok(Backing::Ram(Ram::new(sectors, self.account(user)))),
            Source::File(file) => {
                let system = match access {
                    Access::Read => self.system(file).await?,
                    Access::Write => self.writable(file).await?,
                };
                match system.open(file.path, access, user).await {
                    Ok(image) => Ok(Backing::Image(image)),
                    Err(failure) => Err(self.explain(&system, target, file, failure).await),
                }
            }
        }
    }

    /// Claims a disk or a partition.
    async fn part(&self, target: &str, name: &str, access: Access, user: &str) -> Result<Part<D>, Refusal> {
        let Some((place, device)) = self.place(name) else { return Err(self.missing(target).await) };
        let number = place.partition;
        let claim = self.claims.claim(place, access, user).map_err(Refusal::Busy)?;
        let window = match number {
            None => Window::whole(device),
            Some(number) => {
                let found = partitions(&device).await.map_err(|failure| failed(target, failure))?;
                let Some(found) = found.into_iter().find(|partition| partition.number == number) else {
                    return Err(self.missing(target).await);
                };
                Window::new(device, found.sectors).map_err(|failure| failed(target, failure))?
            }
        };
        Ok(Claimed::new(window, claim))
    }

    /// What a name such as `hda1` is about, whether there is such a partition or not.
    fn place(&self, name: &str) -> Option<(Place, Device<D>)> {
        let devices = self.devices.borrow();
        if let Some(device) = devices.get(name) {
            return Some((Place { disk: name.to_string(), partition: None }, device.clone()));
        }
        let disk = name.trim_end_matches(|last: char| last.is_ascii_digit());
        let partition = name.strip_prefix(disk)?.parse().ok();
        let candidates = [Some(disk), disk.strip_suffix('p')];
        candidates.into_iter().flatten().find_map(|disk| {
            let place = Place { disk: disk.to_string(), partition };
            let device = devices.get(disk)?.clone();
            // `ram01` is no name of `/dev/ram0p1`, and `hda01` none of `/dev/hda1`.
            (place.to_string().strip_prefix("/dev/") == Some(name)).then_some((place, device))
        })
    }

    /// The file system of a path, mounted unless it is.
    async fn system(&self, file: FilePath<'_>) -> Result<Rc<FileSystem<Part<D>>>, Refusal> {
        let device = file.device.map(ToString::to_string).or_else(|| self.root.borrow().clone());
        let Some(device) = device else {
            let words = "there is no root file system; a path on another one is as `/media/hda1/a.img`";
            return Err(Refusal::Wrong { target: file.path.to_string(), words });
        };
        let place = self.place(&device).map(|(place, _)| place);
        let mounted = place.as_ref().and_then(|place| self.systems.borrow().get(place)?.upgrade());
        if let Some(system) = mounted {
            return Ok(system);
        }
        let target = format!("/dev/{device}");
        let part = Rc::new(self.part(&target, &device, Access::Read, FILES).await?);
        let system = FileSystem::mount(part).await.map_err(|failure| failed(&target, failure))?;
        if let Some(place) = place {
            self.systems.borrow_mut().insert(place, Rc::downgrade(&system));
        }
        Ok(system)
    }

    /// The same, to write to it.
    async fn writable(&self, file: FilePath<'_>) -> Result<Rc<FileSystem<Part<D>>>, Refusal> {
        let system = self.system(file).await?;
        system.disk().claim().raise().map_err(Refusal::Busy)?;
        Ok(system)
    }

    async fn missing(&self, target: &str) -> Refusal {
        Refusal::Missing { target: target.to_string(), there: self.names().await }
    }

    /// Tells what files there are where that is what helps.
    async fn explain(
        &self,
        system: &FileSystem<Part<D>>,
        target: &str,
        file: FilePath<'_>,
        failure: Failure,
    ) -> Refusal {
        let wanted = file.path.trim_start_matches('/');
        match system.list().await {
            Ok(files)
                if !files
                    .iter()
                    .any(|file| file.path.trim_start_matches('/').eq_ignore_ascii_case(wanted)) =>
            {
                let prefix = file.device.map(|device| format!("/media/{device}")).unwrap_or_default();
                let there = files.iter().map(|file| format!("{prefix}{}", file.path)).collect();
                Refusal::Missing { target: target.to_string(), there }
            }
            _ => failed(target, failure),
        }
    }
}

fn parse(target: &str) -> Result<Target<'_>, Refusal> {
    target::parse(target).map_err(|words| Refusal::Wrong { target: target.to_string(), words })
}

fn failed(target: &str, failure: Failure) -> Refusal {
    Refusal::Failed { target: target.to_string(), failure }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use pollster::block_on;

    use super::*;
    use crate::disk::SECTOR;

    const MIB: u64 = 1 << 20;

    type Ide = Rc<Ram>;

    /// `hda` with a file system, with `/a.img` and `/boot.cfg`, and a partition; `hdb`; `ram0`;
    /// a module.
    fn pool() -> (Pool<Ram>, Ide) {
        let budget = Budget::new(64 * MIB);
        let hda = Rc::new(Ram::new(16 << 11, Account::of(64 * MIB)));
        let mut record = [0; SECTOR];
        for (at, kind, first, count) in [(446, 0x0c, 2048_u32, 8192_u32), (462, 0x83, 10_240, 4096)] {
            record[at + 4] = kind;
            record[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
            record[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
        }
        record[510..].copy_from_slice(&[0x55, 0xaa]);
        block_on(hda.write(0, &record)).unwrap();
        let part = Window::new(Rc::clone(&hda), 2048..10_240).unwrap();
        block_on(FileSystem::format(Rc::new(part))).unwrap();

        let pool = Pool::new(budget);
        pool.add_disk("hda", Rc::clone(&hda));
        pool.add_disk("hdb", Rc::new(Ram::new(100, Account::of(MIB))));
        pool.add_ram("ram0", 4096);
        static MODULE: [u8; 1000] = [7; 1000];
        pool.add_module("debian.img", &MODULE);
        pool.set_root("hda1");
        block_on(pool.create("/a.img", 65_536)).unwrap();
        block_on(pool.create("/b.img", 512)).unwrap();
        (pool, hda)
    }

    fn open(pool: &Pool<Ram>, target: &str, access: Access) -> Result<Volume<Ram>, Refusal> {
        block_on(pool.open(target, access, "demo/xvda"))
    }

    fn refused<T>(result: Result<T, Refusal>) -> String {
        result.err().expect("it should be refused").to_string()
    }

    fn byte(disk: &impl Disk, sector: u64) -> u8 {
        let mut bytes = [0; SECTOR];
        block_on(disk.read(sector, &mut bytes)).unwrap();
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        bytes[0]
    }

    fn write(disk: &impl Disk, sector: u64, byte: u8) -> Result<(), Failure> {
        block_on(disk.write(sector, &[byte; SECTOR]))
    }

    #[test]
    fn a_domain_does_not_take_the_memory_of_all_others() {
        let pool: Pool<Ram> = Pool::new(Budget::new(MIB));
        let open = |user| block_on(pool.open("ram:2M", Access::Write, user)).unwrap();
        let fill =
            |disk: &Volume<Ram>| (0..4096).take_while(|sector| write(disk, *sector, 1).is_ok()).count();
        let (first, second, other) = (open("demo/xvda"), open("demo/xvdb"), open("other/xvda"));
        let filled = fill(&first);
        assert!(filled >= 960, "{filled} sectors are half of it, or nearly so");
        assert_eq!(write(&second, 0, 1), Err(Failure::Full));
        assert!(fill(&other) >= filled / 2 - 32);
        drop(first);
        assert_eq!(write(&second, 0, 1), Ok(()));
    }

    /// BLK-03, BLK-04, BLK-05.
    #[test]
    fn all_kinds_of_backing() {
        let (pool, hda) = pool();
        let names = ["/dev/hda", "/dev/hda1", "/dev/hda2", "/dev/hdb", "/dev/ram0", "module:debian.img"];
        assert_eq!(block_on(pool.names()), names);
        let cases = [
            ("/dev/hda", 16 << 11),
            ("/dev/hda2", 4096),
            ("hda2", 4096),
            ("/dev/ram0", 4096),
            ("/a.img", 128),
            ("/media/hda1/a.img", 128),
            ("ram:1M", 2048),
            ("overlay:module:debian.img", 2),
            ("snapshot:/dev/hda2", 4096),
        ];
        for (target, sectors) in cases {
            let volume = open(&pool, target, Access::Write).unwrap_or_else(|refusal| panic!("{refusal}"));
            assert_eq!(volume.properties().sectors, sectors, "{target}");
            write(&volume, 1, 5).unwrap();
            assert_eq!(byte(&volume, 1), 5);
            block_on(volume.discard(1, 1)).unwrap();
            block_on(volume.flush()).unwrap();
        }
        let volume = open(&pool, "/dev/hda2", Access::Write).unwrap();
        write(&volume, 3, 9).unwrap();
        assert_eq!(byte(&hda, 10_243), 9);
    }

    #[test]
    fn what_is_only_read() {
        let (pool, _) = pool();
        for target in ["/dev/hda", "/a.img", "module:debian.img", "overlay:/dev/hda2", "ram:1M"] {
            let volume = open(&pool, target, Access::Read).unwrap();
            assert!(volume.properties().read_only);
            assert_eq!(write(&volume, 0, 1), Err(Failure::ReadOnly));
            assert_eq!(block_on(volume.discard(0, 1)), Err(Failure::ReadOnly));
        }
        let refusal = refused(open(&pool, "module:debian.img", Access::Write));
        assert_eq!(refusal, "`module:debian.img`: it can only be read");
    }

    /// BLK-16, T-86: the same device, a device and its parts, a file system and its files.
    #[test]
    fn nothing_is_written_by_two() {
        let (pool, _) = pool();
        // What is open, what is wanted, and whether it can be had for reading, for writing.
        let cases = [
            ("/dev/hda2", Access::Write, "/dev/hda2", false, false),
            ("/dev/hda2", Access::Write, "/dev/hda", false, false),
            ("/dev/hda", Access::Write, "hda2", false, false),
            ("/dev/hda", Access::Write, "/a.img", false, false),
            ("/dev/hda2", Access::Write, "/dev/hdb", true, true),
            ("/dev/hda2", Access::Write, "/a.img", true, true),
            ("/dev/hda2", Access::Write, "snapshot:/dev/hda2", false, false),
            ("/dev/hda2", Access::Read, "snapshot:/dev/hda2", true, true),
            ("/dev/hda2", Access::Read, "/dev/hda2", true, false),
            ("/dev/hda2", Access::Read, "/dev/hda", true, false),
            ("/a.img", Access::Write, "/a.img", false, false),
            ("/a.img", Access::Write, "/media/hda1/A.IMG", false, false),
            ("/a.img", Access::Write, "/b.img", true, true),
            ("/a.img", Access::Write, "/dev/hda1", false, false),
            ("/a.img", Access::Write, "/dev/hda", false, false),
            ("/a.img", Access::Write, "/dev/hda2", true, true),
            ("/a.img", Access::Read, "/dev/hda1", true, false),
            ("/a.img", Access::Read, "/b.img", true, true),
            ("snapshot:/a.img", Access::Write, "/a.img", true, false),
            ("snapshot:/dev/hda2", Access::Write, "/dev/hda2", true, false),
            ("/dev/ram0", Access::Write, "/dev/ram0", false, false),
            ("ram:1M", Access::Write, "ram:1M", true, true),
        ];
        for (held, access, wanted, read, written) in cases {
            let first = open(&pool, held, access).unwrap();
            for (access, allowed) in [(Access::Read, read), (Access::Write, written)] {
                let second = block_on(pool.open(wanted, access, "other"));
                assert_eq!(second.is_ok(), allowed, "{held}, then {wanted} for {access}");
            }
            drop(first);
            open(&pool, "/dev/hda", Access::Write).unwrap();
        }
    }

    /// BLK-17.
    #[test]
    fn refusals_say_what_to_do() {
        let (pool, hda) = pool();
        let there = "/dev/hda, /dev/hda1, /dev/hda2, /dev/hdb, /dev/ram0, module:debian.img";
        for target in
            ["/dev/sda", "hda3", "/dev/hda01", "/dev/hda1p1", "module:no", "/dev/", "overlay:/dev/hdc"]
        {
            let expected = format!("there is no `{target}`; there are {there}");
            assert_eq!(refused(open(&pool, target, Access::Read)), expected);
        }
        let files = "there is no `/no.img`; there are /a.img, /b.img";
        assert_eq!(refused(open(&pool, "/no.img", Access::Write)), files);
        assert_eq!(refused(block_on(pool.read("/no.img"))), files);
        let media = "there is no `/media/hda1/no`; there are /media/hda1/a.img, /media/hda1/b.img";
        assert_eq!(refused(open(&pool, "/media/hda1/no", Access::Write)), media);
        assert_eq!(
            refused(open(&pool, "/media/hda2/a", Access::Write)),
            "`/dev/hda2`: there is no FAT file system on the disk",
        );
        assert_eq!(
            refused(open(&pool, "ram:x", Access::Read)),
            "`ram:x`: a size is as `ram:64M`, with K, M or G"
        );
        let first = open(&pool, "/dev/hda2", Access::Write).unwrap();
        assert_eq!(
            refused(block_on(pool.open("/dev/hda", Access::Read, "b/xvda"))),
            "`/dev/hda` cannot be had for reading: `/dev/hda2` is in use by demo/xvda for writing",
        );
        drop(first);
        let first = open(&pool, "/a.img", Access::Write).unwrap();
        assert_eq!(
            refused(block_on(pool.open("/a.img", Access::Write, "b/xvda"))),
            "`/a.img`: it is in use by demo/xvda for writing",
        );
        drop(first);
        block_on(hda.write(462, &[0; SECTOR])).unwrap();
        write(&hda, 0, 0).unwrap();
        assert_eq!(
            refused(open(&pool, "/dev/hda1", Access::Read)),
            "there is no `/dev/hda1`; there are /dev/hda, /dev/hdb, /dev/ram0, module:debian.img",
        );
    }

    #[test]
    fn a_damaged_table_is_told() {
        let (pool, hda) = pool();
        let mut record = [0; SECTOR];
        block_on(hda.read(0, &mut record)).unwrap();
        record[462 + 8..462 + 12].copy_from_slice(&4000_u32.to_le_bytes());
        block_on(hda.write(0, &record)).unwrap();
        assert_eq!(
            refused(open(&pool, "/dev/hda1", Access::Read)),
            "`/dev/hda1`: partitions 1 and 2 overlap"
        );
        let names = block_on(pool.names());
        assert_eq!(names[0], "/dev/hda (its partition table: partitions 1 and 2 overlap)");
        open(&pool, "/dev/hda", Access::Write).unwrap();
    }

    /// BLK-37, T-94: one master, two clones.
    #[test]
    fn clones_of_a_master() {
        let (pool, _) = pool();
        write(&open(&pool, "/a.img", Access::Write).unwrap(), 0, 1).unwrap();
        let clone = |user| block_on(pool.open("overlay:/a.img", Access::Write, user)).unwrap();
        let (one, two) = (clone("one"), clone("two"));
        write(&one, 0, 2).unwrap();
        write(&two, 1, 3).unwrap();
        assert_eq!((byte(&one, 0), byte(&one, 1)), (2, 0));
        assert_eq!((byte(&two, 0), byte(&two, 1)), (1, 3));
        assert_eq!(
            refused(block_on(pool.open("overlay:/a.img", Access::Write, "one"))),
            "`overlay:/a.img` is in use by one",
        );
        drop((one, two));
        assert_eq!(
            refused(open(&pool, "/a.img", Access::Write)),
            "`/a.img`: it is in use by one for reading",
            "changes would not fit any more",
        );
        assert_eq!(byte(&open(&pool, "/a.img", Access::Read).unwrap(), 0), 1);
        assert_eq!(byte(&clone("one"), 0), 2, "changes stay");
        assert_eq!(
            refused(block_on(pool.open("overlay:/dev/hda2", Access::Write, "two"))),
            "two has changes of `/a.img`: commit or discard them first",
        );
        let kept = |user: &str| Kept { user: user.into(), target: "/a.img".into(), bytes: 512, open: false };
        assert_eq!(pool.overlays(), [kept("one"), kept("two")]);
    }

    /// BLK-39, T-96.
    #[test]
    fn changes_are_committed_or_discarded() {
        let (pool, _) = pool();
        for target in ["/dev/hda2", "/a.img"] {
            let overlay =
                |user| block_on(pool.open(&format!("overlay:{target}"), Access::Write, user)).unwrap();
            write(&overlay("one"), 5, 2).unwrap();
            write(&overlay("two"), 5, 3).unwrap();
            block_on(pool.commit("one")).expect_err("another overlay needs the base as it is");
            assert_eq!(byte(&overlay("one"), 5), 2, "nothing is lost");
            block_on(pool.discard("two")).unwrap();
            let volume = overlay("one");
            assert_eq!(refused(block_on(pool.commit("one"))), format!("`overlay:{target}` is in use by one"));
            assert_eq!(
                refused(block_on(pool.discard("one"))),
                format!("`overlay:{target}` is in use by one")
            );
            drop(volume);
            block_on(pool.commit("one")).unwrap();
            assert_eq!(byte(&open(&pool, target, Access::Write).unwrap(), 5), 2);
            assert_eq!(pool.overlays(), []);
            assert_eq!(refused(block_on(pool.commit("one"))), "there is no `overlay of one`");
        }
    }

    /// BLK-37, T-94, T-96.
    #[test]
    fn changes_in_a_file() {
        let (pool, hda) = pool();
        block_on(pool.create("/c.cow", 512 << 10)).unwrap();
        let target = "cow:/c.cow:/dev/hda2";
        let volume = open(&pool, target, Access::Write).unwrap();
        write(&volume, 5, 2).unwrap();
        block_on(volume.flush()).unwrap();
        assert_eq!(
            refused(block_on(pool.commit_file(target))),
            "`/dev/hda2` is in use by demo/xvda for reading"
        );
        drop(volume);
        assert_eq!(byte(&open(&pool, "/dev/hda2", Access::Write).unwrap(), 5), 0);

        let again = Pool::new(Budget::new(MIB));
        again.add_disk("hda", hda);
        again.set_root("hda1");
        let volume = open(&again, target, Access::Write).unwrap();
        assert_eq!(byte(&volume, 5), 2);
        assert!(open(&again, "/dev/hda2", Access::Write).is_err());
        assert!(open(&again, "/c.cow", Access::Read).is_err());
        drop(volume);
        let reader = open(&again, "/dev/hda2", Access::Read).unwrap();
        assert!(block_on(again.commit_file(target)).is_err());
        drop(reader);
        block_on(again.commit_file(target)).unwrap();
        assert_eq!(byte(&open(&again, "/dev/hda2", Access::Write).unwrap(), 5), 2);

        write(&open(&again, target, Access::Write).unwrap(), 5, 3).unwrap();
        block_on(again.discard_file(target)).unwrap();
        assert_eq!(byte(&open(&again, target, Access::Write).unwrap(), 5), 2);
        let wrong = "`/c.cow`: changes in a file are as `cow:/changes.cow:/dev/hda1`";
        assert_eq!(refused(block_on(again.commit_file("/c.cow"))), wrong);
        assert_eq!(
            refused(open(&again, "cow:/c.cow:/b.img", Access::Write)),
            "`cow:/c.cow:/b.img`: its changes are of `/dev/hda2`, or of another size of it or of this file, or it \
             is damaged",
        );
        assert_eq!(
            refused(open(&again, "cow:/b.img:/dev/hda2", Access::Write)),
            "`cow:/b.img:/dev/hda2`: it is too small for changes",
        );
    }

    #[test]
    fn changes_of_a_module_cannot_be_committed() {
        let (pool, _) = pool();
        let overlay = || block_on(pool.open("overlay:module:debian.img", Access::Write, "one")).unwrap();
        write(&overlay(), 0, 2).unwrap();
        assert_eq!(refused(block_on(pool.commit("one"))), "`module:debian.img`: it can only be read");
        assert_eq!(byte(&overlay(), 0), 2);
    }

    #[test]
    fn a_snapshot_is_gone() {
        let (pool, _) = pool();
        let before = pool.budget.left();
        let snapshot = open(&pool, "snapshot:/dev/hda2", Access::Write).unwrap();
        write(&snapshot, 5, 2).unwrap();
        drop(snapshot);
        assert_eq!(byte(&open(&pool, "snapshot:/dev/hda2", Access::Write).unwrap(), 5), 0);
        assert_eq!(pool.budget.left(), before);
        assert_eq!(pool.overlays(), []);
    }

    #[test]
    fn files() {
        let (pool, _) = pool();
        assert_eq!(block_on(pool.read("/b.img")).unwrap(), vec![0; 512]);
        let paths = |files: Vec<File>| files.into_iter().map(|file| file.path).collect::<Vec<_>>();
        assert_eq!(paths(block_on(pool.list(None)).unwrap()), ["/a.img", "/b.img"]);
        let listed = paths(block_on(pool.list(Some("hda1"))).unwrap());
        assert_eq!(listed, ["/media/hda1/a.img", "/media/hda1/b.img"]);
        assert_eq!(block_on(pool.read("/media/hda1/b.img")).unwrap(), vec![0; 512]);
        block_on(pool.remove("/b.img")).unwrap();
        assert_eq!(paths(block_on(pool.list(None)).unwrap()), ["/a.img"]);

        let whole = open(&pool, "/dev/hda", Access::Write).unwrap();
        let busy = "`/dev/hda1` cannot be had for reading: `/dev/hda` is in use by demo/xvda for writing";
        assert_eq!(refused(block_on(pool.read("/a.img"))), busy);
        drop(whole);
        let reader = open(&pool, "/dev/hda1", Access::Read).unwrap();
        block_on(pool.read("/a.img")).unwrap();
        let busy = "`/dev/hda1` is in use by demo/xvda for reading";
        assert_eq!(refused(block_on(pool.create("/c.img", 512))), busy);
        assert_eq!(refused(block_on(pool.remove("/a.img"))), busy);
        drop(reader);
        let rootless: Pool<Ram> = Pool::new(Budget::new(0));
        assert_eq!(
            refused(block_on(rootless.read("/a.img"))),
            "`/a.img`: there is no root file system; a path on another one is as `/media/hda1/a.img`",
        );
    }
}
