//! What one transaction read and changed.
//!
//! Nothing is copied at its start: a node is kept as it was when the transaction first
//! looked at it, changes are made to that copy. It commits if each of those nodes is still
//! the same in the tree; then it is as if the whole of it had happened at that moment.
//! So what a client holds is bounded by what it touched, whatever others do meanwhile.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xen_abi::errno::Errno;

use crate::path::Path;
use crate::permissions::Permissions;
use crate::tree::{Node, OVERHEAD, Tree};

/// Which watches a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those on this very node: it went with one above it.
    Exact,
    /// Those on the node and above it.
    Subtree,
}

/// A change that watchers are told of.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) path: Path,
    pub(crate) scope: Scope,
    /// Who may read by any of these is told: node and parent, before and after.
    pub(crate) visible_by: Vec<Permissions>,
}

/// A node that the transaction looked at.
struct Touched {
    seen: Option<Arc<Node>>,
    now: Option<Arc<Node>>,
}

impl Touched {
    /// Bytes: the path, the node as it was, the node as it is where that is another.
    fn footprint(&self, path: &str) -> usize {
        let same = matches!((&self.seen, &self.now), (Some(seen), Some(now)) if Arc::ptr_eq(seen, now));
        let now = self.now.as_ref().filter(|_| !same);
        let sizes = [self.seen.as_ref(), now].into_iter().flatten().map(|node| node.size());
        sizes.fold(OVERHEAD.saturating_add(path.len()), usize::saturating_add)
    }
}

/// An open transaction.
#[derive(Default)]
pub(crate) struct Transaction {
    touched: BTreeMap<Path, Touched>,
    /// Paths that changed, in the order of their first change, and their place in `changes`.
    order: BTreeMap<Path, usize>,
    changes: Vec<(Path, Scope)>,
    /// Nodes made less nodes removed among those that the caller owns.
    pub(crate) created: isize,
    /// Bytes that it holds.
    pub(crate) bytes: usize,
}

impl Transaction {
    /// Number of nodes that it looked at.
    pub(crate) fn nodes(&self) -> usize {
        self.touched.len()
    }

    /// Whether it has looked at `path`.
    pub(crate) fn knows(&self, path: &str) -> bool {
        self.touched.contains_key(path)
    }

    /// The node as the transaction sees it.
    pub(crate) fn get(&mut self, path: &Path, tree: &Tree) -> Option<Arc<Node>> {
        match self.touched.entry(path.clone()) {
            Entry::Occupied(known) => known.get().now.clone(),
            Entry::Vacant(place) => {
                let seen = tree.get(path.as_str()).cloned();
                let touched = Touched { seen: seen.clone(), now: seen.clone() };
                self.bytes = self.bytes.saturating_add(touched.footprint(path.as_str()));
                place.insert(touched);
                seen
            }
        }
    }

    /// Sets or removes a node that was looked at.
    pub(crate) fn put(&mut self, path: &Path, node: Option<Node>, generation: u64) {
        self.change(path.as_str(), |now| {
            *now = node.map(|mut node| {
                node.generation = generation;
                Arc::new(node)
            });
        });
    }

    /// Changes a node that was looked at.
    pub(crate) fn modify(&mut self, path: &str, generation: u64, change: impl FnOnce(&mut Node)) {
        self.change(path, |now| {
            if let Some(node) = now {
                let node = Arc::make_mut(node);
                change(node);
                node.generation = generation;
            }
        });
    }

    /// Watchers of `path` shall be told on commit.
    pub(crate) fn note(&mut self, path: &Path, scope: Scope) {
        match self.order.entry(path.clone()) {
            Entry::Vacant(place) => {
                place.insert(self.changes.len());
                self.changes.push((path.clone(), scope));
            }
            Entry::Occupied(place) => {
                if let (Some((_, noted)), Scope::Subtree) = (self.changes.get_mut(*place.get()), scope) {
                    *noted = Scope::Subtree;
                }
            }
        }
    }

    /// Makes the changes in `tree`, if nobody else changed what the transaction looked at.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: somebody did; nothing was changed.
    pub(crate) fn commit(self, tree: &mut Tree) -> Result<Vec<Change>, Errno> {
        let generation = |node: Option<&Arc<Node>>| node.map(|node| node.generation);
        for (path, touched) in &self.touched {
            if generation(touched.seen.as_ref()) != generation(tree.get(path.as_str())) {
                return Err(Errno::EAGAIN);
            }
        }
        let told = self.changes.iter().map(|(path, scope)| self.change_of(path, *scope, tree)).collect();
        for (path, touched) in self.touched {
            if generation(touched.seen.as_ref()) != generation(touched.now.as_ref()) {
                tree.put(&path, touched.now);
            }
        }
        Ok(told)
    }

    fn change_of(&self, path: &Path, scope: Scope, tree: &Tree) -> Change {
        let mut visible_by = Vec::new();
        for path in [Some(path.clone()), path.parent()].into_iter().flatten() {
            let nodes = match self.touched.get(path.as_str()) {
                Some(touched) => [touched.seen.as_ref(), touched.now.as_ref()],
                None => [tree.get(path.as_str()), None],
            };
            visible_by.extend(nodes.into_iter().flatten().map(|node| node.permissions.clone()));
        }
        Change { path: path.clone(), scope, visible_by }
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Option<Arc<Node>>)) {
        let Some(touched) = self.touched.get_mut(path) else { return };
        self.bytes = self.bytes.saturating_sub(touched.footprint(path));
        change(&mut touched.now);
        self.bytes = self.bytes.saturating_add(touched.footprint(path));
    }
}
