//! Domains' disks and network interfaces: what is behind them, and the back ends that run.
//!
//! ```text
//! machine's disks ──> pool ──> volume ──┐
//!                                       ├─ back end, a task ──> front end
//! machine's cards ──> network ── port ──┘
//! ```

use alloc::boxed::Box;
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
use network::plan::Plan;
use network::{Network, Port};
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
type NetDevice = network_backend::Device<Grants, Nodes, Rc<Port>>;

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
    Net(Rc<NetDevice>),
}

impl Device {
    async fn run(&self) {
        match self {
            Self::Disk(disk) => disk.run().await,
            Self::Net(net) => net.run().await,
        }
    }

    async fn close(&self) {
        match self {
            Self::Disk(disk) => disk.close().await,
            Self::Net(net) => net.close().await,
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
    Box::leak(Box::new(Network::new(Rc::new(Kernel), &plan, cards)))
}

/// A boot module's name: the first word of its command line, or else its number.
fn module_name(number: usize, command_line: &str) -> String {
    command_line.split_whitespace().next().map_or_else(|| number.to_string(), String::from)
}

/// A device that is open.
pub enum Open {
    /// A disk.
    Disk(Box<Volume<AnyDisk<Machine>>>, block_backend::Options),
    /// An interface; whether its configuration names it.
    Net(Rc<Port>, bool),
}

impl toolstack::Devices for Backends {
    type Open = Open;

    async fn open_disk(&self, owner: &str, disk: &Disk) -> Done<Open> {
        if matches!(disk.format, DiskFormat::Qcow2) {
            return Err(Failure(String::from("images of format qcow2 cannot be used")));
        }
        let access = if disk.read_only { Access::Read } else { Access::Write };
        let user = format!("{owner}/{}", disk.vdev);
        let volume = self.pool.open(&disk.target, access, &user).await;
        let volume = volume.map_err(|refusal| Failure(refusal.to_string()))?;
        let options = block_backend::Options {
            read_only: disk.read_only,
            cdrom: disk.cdrom,
            ..block_backend::Options::default()
        };
        Ok(Open::Disk(Box::new(volume), options))
    }

    fn open_net(&self, vif: &Vif) -> Done<Open> {
        let bridge = vif.bridge.clone().unwrap_or_else(|| self.default_bridge());
        let switch = self.network.switch();
        let port = switch.plug_guest(&bridge, vif.name.as_deref(), vif.mac.unwrap_or_default());
        Ok(Open::Net(port.map_err(|error| Failure(error.to_string()))?, vif.name.is_some()))
    }

    fn serve(&self, id: DeviceId, open: Open) -> Done {
        let (grants, nodes) = (self.grants.clone(), self.nodes);
        let (domain, number) = (id.domain, id.number);
        let device = match open {
            Open::Disk(volume, options) => {
                let device = BlockDevice::new(grants, nodes, domain, number, *volume, options);
                Device::Disk(Rc::new(device))
            }
            Open::Net(port, named) => {
                if !named {
                    port.rename(&format!("vif{domain}.{number}"));
                }
                Device::Net(Rc::new(NetDevice::new(grants, nodes, domain, number, port)))
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
        let Some(Device::Net(net)) = self.find(device) else { return NetCounts::default() };
        let counts = net.counts();
        NetCounts {
            sent_bytes: counts.sent_bytes,
            received_bytes: counts.received_bytes,
            sent_packets: counts.sent_packets,
            received_packets: counts.received_packets,
            dropped: counts.received_drops.saturating_add(net.link().counts().dropped),
        }
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
