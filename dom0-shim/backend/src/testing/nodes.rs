//! XenStore without permissions.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::rc::{Rc, Weak};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use event_listener::Event;
use xen_abi::errno::Errno;

use crate::host;

/// A tree of nodes; clones are the same.
#[derive(Clone, Default, Debug)]
pub struct Nodes(Rc<Tree>);

#[derive(Default, Debug)]
struct Tree {
    values: RefCell<BTreeMap<String, String>>,
    watches: RefCell<Vec<Weak<Watched>>>,
    refused: RefCell<BTreeSet<String>>,
}

#[derive(Debug)]
struct Watched {
    path: String,
    pending: Cell<bool>,
    event: Event,
}

/// A watch; see [`host::Nodes::watch`].
#[derive(Debug)]
pub struct Watch(Rc<Watched>);

impl Nodes {
    /// A tree without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses all writes of a node from now on (`EACCES`).
    pub fn refuse(&self, path: &str) {
        self.0.refused.borrow_mut().insert(path.to_string());
    }

    /// Watches that there are.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.0.watches.borrow().iter().filter(|watch| watch.strong_count() > 0).count()
    }

    /// Waits until a node has a value.
    pub async fn until(&self, path: &str, value: &str) {
        self.until_any(path, &[value]).await;
    }

    /// Waits until a node has one of these values, and gives it.
    pub async fn until_any(&self, path: &str, values: &[&str]) -> String {
        let watch = host::Nodes::watch(self, path);
        loop {
            host::Watch::changed(&watch).await;
            match host::Nodes::read(self, path) {
                Some(value) if values.contains(&value.as_str()) => return value,
                _ => {}
            }
        }
    }

    fn tell(&self, changed: &str) {
        let mut watches = self.0.watches.borrow_mut();
        watches.retain(|watch| watch.strong_count() > 0);
        for watch in watches.iter().filter_map(Weak::upgrade) {
            if is_below(changed, &watch.path) || is_below(&watch.path, changed) {
                watch.pending.set(true);
                watch.event.notify(usize::MAX);
            }
        }
    }
}

/// Whether a path is another one or below it.
fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl host::Nodes for Nodes {
    type Watch = Watch;

    fn read(&self, path: &str) -> Option<String> {
        self.0.values.borrow().get(path).cloned()
    }

    fn write(&self, path: &str, value: &str) -> Result<(), Errno> {
        if self.0.refused.borrow().contains(path) {
            return Err(Errno::EACCES);
        }
        self.0.values.borrow_mut().insert(path.to_string(), value.to_string());
        self.tell(path);
        Ok(())
    }

    fn remove(&self, path: &str) {
        self.0.values.borrow_mut().retain(|name, _| !is_below(name, path));
        self.tell(path);
    }

    fn directory(&self, path: &str) -> Vec<String> {
        let top = format!("{path}/");
        let values = self.0.values.borrow();
        let names = values.keys().filter_map(|name| name.strip_prefix(&top)?.split('/').next());
        let names: BTreeSet<&str> = names.collect();
        names.into_iter().map(ToString::to_string).collect()
    }

    fn watch(&self, path: &str) -> Watch {
        let watched = Watched { path: path.to_string(), pending: Cell::new(true), event: Event::new() };
        let watched = Rc::new(watched);
        self.0.watches.borrow_mut().push(Rc::downgrade(&watched));
        Watch(watched)
    }
}

impl host::Watch for Watch {
    async fn changed(&self) {
        while !self.0.pending.take() {
            self.0.event.listen().await;
        }
    }
}
