//! Domains' disks and network interfaces: what is behind them, and the back ends that run.
//!
//! ```text
//! machine's disks ──> pool ──> volume ──┐
//!                                       ├─ back end, a task ──> front end
//! machine's cards ──> network ── port ──┘
//! ```

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use drivers::{AnyDisk, AnyNic};
use edge_executor::Task;
use event_listener::Event;
use guest_rt::boot::Boot;
use guest_rt::devices::Devices as Machine;
use guest_rt::grants::Grants;
use guest_rt::println;
use guest_rt::tasks::Executor;
use network::Network;
use network::plan::Plan;
use storage::budget::Budget;
use storage::{Access, Pool, Volume};
use toolstack::{DeviceId, DiskCounts, NetCounts};
use xl::toolstack::{Bridge, Done, Failure, Overlay};
use xl_config::domain::{Disk, DiskFormat, Vif};

use crate::nodes::Nodes;
use crate::platform::Kernel;
use crate::registry::Store;

/// 2-MiB windows for the pages of front ends: 512 pages each.
const WINDOWS: usize = 4;
/// Bridge of interfaces that name none, where there is no bridge at all.
const NO_BRIDGE: &str = "xenbr0";

type Volumes = Pool<AnyDisk<Machine>>;
type BlockDevice = block_backend::Device<Grants, Nodes, Volume<AnyDisk<Machine>>>;

/// All back ends, and what they stand on.
pub struct Backends {
    executor: &'static Executor<'static>,
    grants: Grants,
    nodes: Nodes,
    pool: Volumes,
    network: &'static Network<Kernel, AnyNic<Machine>>,
    served: Rc<Served>,
}

/// Devices with a back end.
#[derive(Default)]
struct Served {
    devices: RefCell<BTreeMap<DeviceId, Serving>>,
    /// Told when one of them has ended.
    ended: Event,
}

/// A back end that runs.
struct Serving {
    device: Device,
    /// Dropped, it runs no longer.
    task: Task<()>,
}

#[derive(Clone)]
enum Device {
    Disk(Rc<BlockDevice>),
}

impl Device {
    async fn run(&self) {
        match self {
            Self::Disk(disk) => disk.run().await,
        }
    }

    async fn close(&self) {
        match self {
            Self::Disk(disk) => disk.close().await,
        }
    }
}

impl Backends {
    /// Brings the machine's devices up, and makes bridges as the command line says.
    ///
    /// # Errors
    ///
    /// In words, when there is no memory to map front ends' pages at.
    pub async fn new(
        boot: &'static Boot,
        executor: &'static Executor<'static>,
        store: &'static Store,
    ) -> Result<Self, String> {
        let grants =
            Grants::new(WINDOWS).map_err(|errno| format!("memory for front ends' pages: {errno:?}"))?;
        let found = drivers::probe(&Rc::new(Machine)).await;
        for problem in &found.problems {
            println!("dom0-shim: {problem}");
        }
        for task in found.tasks {
            executor.spawn(task).detach();
        }
        let pool = Pool::new(Budget::new(guest_rt::heap_free() as u64 / 2));
        for (name, disk) in found.disks {
            println!("dom0-shim: disk {name}: {}", disk.model());
            pool.add_disk(&name, Rc::new(disk));
        }
        // The first one is the store of files.
        for (number, module) in boot.modules().enumerate().skip(1) {
            pool.add_module(&module_name(number, module.command_line), module.bytes);
        }
        if let Some(root) = boot.option("root") {
            pool.set_root(root.strip_prefix("/dev/").unwrap_or(root));
        }
        let network = bridges(boot, found.nics.into_iter().map(|(_, card)| card).collect());
        executor.spawn(network.run()).detach();
        Ok(Self { executor, grants, nodes: Nodes(store), pool, network, served: Rc::default() })
    }

    fn find(&self, device: DeviceId) -> Option<Device> {
        self.served.devices.borrow().get(&device).map(|serving| serving.device.clone())
    }
}

/// The network that the words `bridge=` describe.
fn bridges(boot: &Boot, cards: Vec<AnyNic<Machine>>) -> &'static Network<Kernel, AnyNic<Machine>> {
    let count = u8::try_from(cards.len()).unwrap_or(u8::MAX);
    let (plan, wrong) = Plan::parse(boot.command_line().split_whitespace(), count);
    for line in wrong {
        println!("dom0-shim: {line}");
    }
    alloc::boxed::Box::leak(alloc::boxed::Box::new(Network::new(Rc::new(Kernel), &plan, cards)))
}

/// A boot module's name: the first word of its command line, or else its number.
fn module_name(number: usize, command_line: &str) -> String {
    command_line.split_whitespace().next().map_or_else(|| number.to_string(), String::from)
}

/// A device that is open.
pub enum Open {
    /// A disk.
    Disk(Volume<AnyDisk<Machine>>, block_backend::Options),
}

impl toolstack::Devices for Backends {
    type Open = Open;

    async fn open_disk(&self, owner: &str, disk: &Disk) -> Done<Open> {
        if matches!(disk.format, DiskFormat::Qcow2) {
            return Err(Failure(format!("disk {}: images of format qcow2 cannot be used yet", disk.vdev)));
        }
        let access = if disk.read_only { Access::Read } else { Access::Write };
        let user = format!("{owner}:{}", disk.vdev);
        let volume = self.pool.open(&disk.target, access, &user).await;
        let volume = volume.map_err(|refusal| Failure(format!("disk {}: {refusal}", disk.vdev)))?;
        let options = block_backend::Options {
            read_only: disk.read_only,
            cdrom: disk.cdrom,
            ..block_backend::Options::default()
        };
        Ok(Open::Disk(volume, options))
    }

    fn open_net(&self, vif: &Vif) -> Done<Open> {
        let _ = vif;
        Err(Failure(String::from("there is no back end for network interfaces yet; remove it from `vif`")))
    }

    fn serve(&self, id: DeviceId, open: Open) -> Done {
        let (grants, nodes) = (self.grants.clone(), self.nodes);
        let (domain, number) = (id.domain, id.number);
        let device = match open {
            Open::Disk(volume, options) => {
                let device = BlockDevice::new(grants, nodes, domain, number, volume, options);
                Device::Disk(Rc::new(device))
            }
        };
        let (running, served) = (device.clone(), Rc::clone(&self.served));
        let task = self.executor.spawn(async move {
            running.run().await;
            drop(running);
            served.end(id);
        });
        self.served.devices.borrow_mut().insert(id, Serving { device, task });
        Ok(())
    }

    async fn closed(&self, device: DeviceId) {
        loop {
            let ended = self.served.ended.listen();
            if !self.served.devices.borrow().contains_key(&device) {
                return;
            }
            ended.await;
        }
    }

    async fn close(&self, device: DeviceId) {
        if let Some(found) = self.find(device) {
            found.close().await;
            drop(found);
        }
        self.closed(device).await;
    }

    fn forget(&self, device: DeviceId) {
        let forgotten = self.served.devices.borrow_mut().remove(&device);
        if let Some(Serving { device, task }) = forgotten {
            drop(task);
            drop(device);
            self.served.ended.notify(usize::MAX);
        }
    }

    fn disk_counts(&self, device: DeviceId) -> DiskCounts {
        let Some(Device::Disk(disk)) = self.find(device) else { return DiskCounts::default() };
        let counts = disk.counts();
        DiskCounts {
            delayed: counts.delayed,
            reads: counts.reads,
            writes: counts.writes,
            sectors_read: counts.sectors_read,
            sectors_written: counts.sectors_written,
        }
    }

    fn net_counts(&self, device: DeviceId) -> NetCounts {
        let _ = device;
        NetCounts::default()
    }

    fn default_bridge(&self) -> String {
        self.network.switch().default_bridge().unwrap_or_else(|| String::from(NO_BRIDGE))
    }

    fn bridges(&self) -> Vec<Bridge> {
        let shown = self.network.switch().show().into_iter();
        shown
            .map(|bridge| Bridge { name: bridge.name, id: bridge.id, interfaces: bridge.interfaces })
            .collect()
    }

    fn overlays(&self) -> Vec<Overlay> {
        let kept = self.pool.overlays().into_iter();
        kept.map(|kept| Overlay { owner: kept.user, target: kept.target, bytes: kept.bytes, open: kept.open })
            .collect()
    }

    async fn commit_overlay(&self, owner: &str) -> Done {
        self.pool.commit(owner).await.map_err(|refusal| Failure(refusal.to_string()))
    }

    async fn discard_overlay(&self, owner: &str) -> Done {
        self.pool.discard(owner).await.map_err(|refusal| Failure(refusal.to_string()))
    }
}

impl Served {
    /// A device's back end has ended by itself.
    fn end(&self, device: DeviceId) {
        if let Some(serving) = self.devices.borrow_mut().remove(&device) {
            // The task that says so.
            serving.task.detach();
        }
        self.ended.notify(usize::MAX);
    }
}
