mod binding;
mod queues;
mod two_level;

use super::*;
use crate::atomic_page::testing::HostPage;
use crate::atomic_page::{At8, At32, At64, AtomicPage};
use crate::id::DomId;
use core::sync::atomic::Ordering;
use proptest::prelude::ProptestConfig;
use std::sync::{Arc, Mutex};
use xen_abi::errno::Errno;

const VCPUS: u16 = 3;

/// The words of a domain whose vcpus have their structures in the shared info page.
#[derive(Debug)]
struct Words {
    info: HostPage,
    fifo: Mutex<Option<Fifo<Arc<HostPage>>>>,
}

impl SharedWords for Words {
    type Info = HostPage;
    type Page = Arc<HostPage>;

    fn shared_info(&self) -> &HostPage {
        &self.info
    }

    fn with_vcpu_info<R>(&self, vcpu: u16, f: impl FnOnce(VcpuInfoAt<'_, HostPage>) -> R) -> Option<R> {
        VcpuInfoAt::new(&self.info, u64::from(vcpu) * 64).map(f)
    }

    fn with_fifo<R>(&self, f: impl FnOnce(&mut Option<Fifo<Arc<HostPage>>>) -> R) -> R {
        f(&mut self.fifo.lock().unwrap())
    }
}

impl Words {
    fn pending_2_level(&self, port: u32) -> bool {
        self.info.load64(At64::masked(0x800 + u64::from(port / 64) * 8)) >> (port % 64) & 1 != 0
    }

    fn mask_2_level(&self, port: u32) {
        self.info.fetch_or64(At64::masked(0xa00 + u64::from(port / 64) * 8), 1 << (port % 64));
    }

    /// Takes the upcall of a vcpu, as a guest's handler begins; returns the words of ports to look at.
    fn take_upcall(&self, vcpu: u16) -> (bool, u64) {
        let base = u64::from(vcpu) * 64;
        let pending = self.info.byte(At8::masked(base)).swap(0, Ordering::SeqCst) != 0;
        (pending, self.info.fetch_and64(At64::masked(base + 8), 0))
    }
}

#[derive(Debug)]
struct Domain {
    id: DomId,
    table: PortTable,
    ports: Mutex<Ports>,
    words: Words,
}

impl Domain {
    fn new(id: u16, max_port: u32) -> Self {
        let table = PortTable::new(u32::from(VCPUS), 4).unwrap();
        table.set_vcpus(u32::from(VCPUS));
        let ports = Mutex::new(Ports::new(&table, max_port).unwrap());
        let words = Words { info: HostPage::new(), fifo: Mutex::new(None) };
        Self { id: DomId::new(id).unwrap(), table, ports, words }
    }

    fn locked<R>(&self, f: impl FnOnce(&mut Channels<'_, Words>) -> R) -> R {
        let ports = &mut self.ports.lock().unwrap();
        f(&mut Channels { domain: self.id, table: &self.table, ports, shared: &self.words })
    }

    fn remote(&self) -> Remote<'_> {
        Remote { domain: self.id, table: &self.table }
    }

    fn binding(&self, port: Port) -> Binding {
        self.table.channel(port.get()).unwrap().binding
    }

    fn deliver(&self, event: Notify) -> Delivered {
        deliver(&self.table, &self.words, event)
    }

    /// `EVTCHNOP_send` within the domain.
    fn send_own(&self, port: Port) -> Delivered {
        match self.table.send(port.get()) {
            Ok(SendTo::Own(event)) => self.deliver(event),
            other => panic!("{other:?}"),
        }
    }
}

fn port(raw: u32) -> Port {
    Port::new(raw).unwrap()
}

fn connect(a: &Domain, b: &Domain) -> (Port, Port) {
    let waiting = a.locked(|a| a.alloc_unbound(b.id.get())).unwrap();
    let (bound, _) = b.locked(|b| b.bind_interdomain(a.remote(), waiting.get())).unwrap();
    (waiting, bound)
}

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 2 } else { 256 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Steps of a test that takes `most` where they are quick.
const fn steps(most: usize) -> usize {
    if cfg!(miri) { 20 } else { most }
}
