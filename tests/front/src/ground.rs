//! What all front ends stand on: XenStore, the grant table, words for the console.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use async_lock::Mutex;
use guest_rt::shared::{GrantTable, Granted, Shared};
use guest_rt::xenstore::{self, XenStore};
use guest_rt::{cpu, timer};

/// An outcome, with a reason in words.
pub(crate) type Check<T = ()> = Result<T, String>;

/// Where all back ends are.
pub(crate) const DOM0: u16 = 0;
/// Frames of the grant table: 2048 entries.
const GRANT_FRAMES: usize = 4;
const DEBUG_PORT: u16 = 0xe9;

/// Writes a line to the hypervisor's console.
pub(crate) fn report(text: &str) {
    write("front: ", text);
}

/// Writes a figure there, as `cargo xtask bench` reads it.
pub(crate) fn report_bench(text: &str) {
    write("BENCH ", text);
}

fn write(begin: &str, text: &str) {
    for byte in begin.bytes().chain(text.bytes()).chain([b'\n']) {
        // A domain whose port faults is mute.
        let _ = cpu::outb(DEBUG_PORT, byte);
    }
}

pub(crate) async fn sleep_ms(ms: u64) {
    timer::sleep_ns(ms.saturating_mul(1_000_000)).await;
}

pub(crate) struct Ground {
    store: Mutex<XenStore>,
    grants: GrantTable,
}

impl Ground {
    pub(crate) fn new() -> Check<Self> {
        let store = XenStore::open().map_err(|error| format!("no XenStore: {error:?}"))?;
        let grants = GrantTable::new(GRANT_FRAMES).map_err(|errno| format!("no grant table: {errno:?}"))?;
        Ok(Self { store: Mutex::new(store), grants })
    }

    pub(crate) fn grants(&self) -> &GrantTable {
        &self.grants
    }

    /// New pages, granted to Dom0.
    pub(crate) fn share(&self, pages: usize, writable: bool) -> Granted {
        self.grants.share(DOM0, &Shared::new(pages), writable)
    }

    /// The value of a node; `None` where there is none that may be read.
    pub(crate) async fn read(&self, path: &str) -> Option<String> {
        self.store.lock().await.read_text(path).await.ok()
    }

    /// The names below a node; none where it is not there.
    pub(crate) async fn directory(&self, path: &str) -> Check<Vec<String>> {
        match self.store.lock().await.directory(path).await {
            Ok(names) => Ok(names),
            Err(xenstore::Error::Refused(_)) => Ok(Vec::new()),
            Err(error) => Err(format!("{path}: {error:?}")),
        }
    }

    /// Sets a node.
    pub(crate) async fn write(&self, path: &str, value: &str) -> Check {
        let written = self.store.lock().await.write(path, value).await;
        written.map_err(|error| format!("writing {path}: {error:?}"))
    }

    /// Removes a node that may not be there.
    pub(crate) async fn remove(&self, path: &str) -> Check {
        match self.store.lock().await.remove(path).await {
            Ok(()) | Err(xenstore::Error::Refused(_)) => Ok(()),
            Err(error) => Err(format!("removing {path}: {error:?}")),
        }
    }
}
