//! What toolstack and network need of their kernel: time, events, chance, words.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::cell::RefCell;
use core::fmt;

use guest_rt::channels::{Channel, Set};
use guest_rt::{clock, cpu, timer};
use xen_abi::RawPort;
use xen_abi::errno::Errno;
use xen_abi::xen::Virq;
use xl::toolstack::{DomId, Done, Failure};

/// This kernel.
pub struct Platform {
    domains: Channel,
    /// Those of the consoles, by their ports.
    bound: RefCell<BTreeMap<RawPort, Channel>>,
    consoles: Set,
    hostname: &'static str,
}

impl Platform {
    /// # Errors
    ///
    /// What the hypervisor says about `VIRQ_DOM_EXC`.
    pub fn new(hostname: &'static str) -> Result<Self, Errno> {
        Ok(Self {
            domains: Channel::virq(Virq::DomExc)?,
            bound: RefCell::default(),
            consoles: Set::default(),
            hostname,
        })
    }
}

impl toolstack::Platform for Platform {
    fn now_ns(&self) -> u64 {
        timer::now_ns()
    }

    fn wall_seconds(&self) -> u64 {
        let (_, seconds, nanoseconds) = clock::wall_clock();
        seconds + (u64::from(nanoseconds) + timer::now_ns()) / 1_000_000_000
    }

    async fn sleep(&self, ms: u64) {
        timer::sleep_ns(ms.saturating_mul(1_000_000)).await;
    }

    async fn domain_event(&self) {
        self.domains.event().await;
    }

    async fn console_event(&self) -> RawPort {
        self.consoles.event().await
    }

    fn bind(&self, domain: DomId, port: RawPort) -> Done<RawPort> {
        let channel = Channel::interdomain(domain, port)
            .map_err(|errno| Failure(format!("domain {domain}, event channel {port}: {errno:?}")))?;
        let own = channel.port();
        self.consoles.add(own);
        self.bound.borrow_mut().insert(own, channel);
        Ok(own)
    }

    fn unbind(&self, port: RawPort) {
        if let Some(_closed) = self.bound.borrow_mut().remove(&port) {
            self.consoles.remove(port);
        }
    }

    fn notify(&self, port: RawPort) {
        if let Some(channel) = self.bound.borrow().get(&port) {
            // A guest that closed its end does not wait for anything.
            let _ = channel.send();
        }
    }

    fn random(&self, bytes: &mut [u8]) {
        random(bytes);
    }

    fn hostname(&self) -> String {
        String::from(self.hostname)
    }

    fn log(&self, line: fmt::Arguments<'_>) {
        guest_rt::println!("{line}");
    }
}

/// What the network needs of this kernel.
pub struct Kernel;

impl network::Kernel for Kernel {
    fn now_ns(&self) -> u64 {
        timer::now_ns()
    }

    async fn sleep_ns(&self, ns: u64) {
        timer::sleep_ns(ns).await;
    }

    fn random(&self, bytes: &mut [u8]) {
        random(bytes);
    }

    fn log(&self, line: fmt::Arguments<'_>) {
        guest_rt::println!("dom0-shim: {line}");
    }
}

fn random(bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        // Without a source of chance, the moment has to do.
        let word = cpu::rdrand().unwrap_or_else(|| mix(cpu::rdtsc()));
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

/// Spreads what little differs from moment to moment over all bits (the finaliser of
/// SplitMix64).
fn mix(seed: u64) -> u64 {
    let spread = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let spread = (spread ^ spread >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    spread ^ spread >> 31
}
