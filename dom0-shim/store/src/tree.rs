//! The nodes: value, permissions, names of children.
//!
//! One ordered map by full path. A transaction keeps nodes as it saw them, so a node is
//! shared and copied only when it changes while a transaction holds it. Each change gives
//! the node a number that no other change has: two equal numbers, the same node.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xen_abi::RawDomid;

use crate::path::{INTRODUCE_DOMAIN, Path, RELEASE_DOMAIN};
use crate::permissions::{PRIVILEGED, Permissions};

/// Bytes that a node, what a transaction knows of one, or a watch counts for besides its
/// text: about what maps and allocations take.
pub(crate) const OVERHEAD: usize = 128;
/// Bytes that one permission counts for.
const PERMISSION_BYTES: usize = 8;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Arc<[u8]>,
    pub(crate) permissions: Permissions,
    children: BTreeSet<Box<str>>,
    /// Bytes of the children's names, each with its NUL.
    name_bytes: usize,
    /// Number of the last change.
    pub(crate) generation: u64,
}

impl Node {
    /// A node without children that is in no tree yet.
    pub(crate) fn new(value: &[u8], permissions: Permissions) -> Self {
        let value = Arc::from(value);
        Self { value, permissions, children: BTreeSet::new(), name_bytes: 0, generation: 0 }
    }

    /// Bytes that quotas count.
    pub(crate) fn size(&self) -> usize {
        self.size_with(&self.permissions)
    }

    /// The same with other permissions.
    pub(crate) fn size_with(&self, permissions: &Permissions) -> usize {
        let permissions = permissions.count().saturating_mul(PERMISSION_BYTES);
        self.value.len().saturating_add(self.name_bytes).saturating_add(permissions)
    }

    /// Names of the children, in order.
    pub(crate) fn children(&self) -> impl Iterator<Item = &str> {
        self.children.iter().map(|name| &**name)
    }

    /// Names of the children as an answer has them.
    pub(crate) fn names(&self) -> Vec<u8> {
        let mut names = Vec::with_capacity(self.name_bytes);
        for name in &self.children {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        names
    }

    pub(crate) fn add_child(&mut self, name: &str) {
        if self.children.insert(Box::from(name)) {
            self.name_bytes = self.name_bytes.saturating_add(name_bytes(name));
        }
    }

    pub(crate) fn remove_child(&mut self, name: &str) {
        if self.children.remove(name) {
            self.name_bytes = self.name_bytes.saturating_sub(name_bytes(name));
        }
    }
}

/// Bytes by which a child's name makes its parent larger.
pub(crate) fn name_bytes(name: &str) -> usize {
    name.len().saturating_add(1)
}

/// Bytes that a node at `path` counts for among what its owner uses.
pub(crate) fn footprint(path: &str, node: &Node) -> usize {
    OVERHEAD.saturating_add(path.len()).saturating_add(node.size())
}

/// What a domain owns.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) nodes: usize,
    pub(crate) bytes: usize,
}

/// All nodes.
pub(crate) struct Tree {
    nodes: BTreeMap<Path, Arc<Node>>,
    usage: BTreeMap<RawDomid, Usage>,
    generation: u64,
}

impl Tree {
    /// The nodes that are there from the start: as xenstored has them.
    pub(crate) fn new() -> Self {
        let mut tree = Self { nodes: BTreeMap::new(), usage: BTreeMap::new(), generation: 0 };
        let own = || Node::new(b"", Permissions::private(PRIVILEGED));
        tree.put(&Path::root(), Some(Arc::new(own())));
        let specials = [INTRODUCE_DOMAIN, RELEASE_DOMAIN].map(|name| Path::parse_special(name, PRIVILEGED));
        for path in specials.into_iter().flatten() {
            tree.put(&path, Some(Arc::new(own())));
        }
        tree
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Arc<Node>> {
        self.nodes.get(path)
    }

    /// Number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What `domain` owns.
    pub(crate) fn usage(&self, domain: RawDomid) -> Usage {
        self.usage.get(&domain).copied().unwrap_or_default()
    }

    /// A number that no change had.
    pub(crate) fn next_generation(&mut self) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// Sets or removes a node; its parent is the caller's to keep right.
    pub(crate) fn put(&mut self, path: &Path, node: Option<Arc<Node>>) {
        let generation = self.next_generation();
        let stamped = node.map(|mut node| {
            Arc::make_mut(&mut node).generation = generation;
            node
        });
        self.account(path.as_str(), stamped.as_ref(), true);
        let previous = match stamped {
            Some(node) => self.nodes.insert(path.clone(), node),
            None => self.nodes.remove(path.as_str()),
        };
        self.account(path.as_str(), previous.as_ref(), false);
    }

    /// Changes a node in place; nothing where there is none.
    pub(crate) fn modify(&mut self, path: &str, change: impl FnOnce(&mut Node)) {
        let generation = self.next_generation();
        let Some(node) = self.nodes.get_mut(path) else { return };
        let before = (node.permissions.owner(), footprint(path, node));
        let changed = Arc::make_mut(node);
        change(changed);
        changed.generation = generation;
        let after = (node.permissions.owner(), footprint(path, node));
        self.charge(before, false);
        self.charge(after, true);
    }

    /// Paths of the nodes that `domain` owns and of those that name it besides. Walks all nodes.
    pub(crate) fn of_domain(&self, domain: RawDomid) -> (Vec<Path>, Vec<Path>) {
        let paths = |wanted: fn(&Permissions, RawDomid) -> bool| {
            let matching = self.nodes.iter().filter(|(_, node)| wanted(&node.permissions, domain));
            matching.map(|(path, _)| path.clone()).collect()
        };
        (paths(|permissions, domain| permissions.owner() == domain), paths(Permissions::names))
    }

    fn account(&mut self, path: &str, node: Option<&Arc<Node>>, more: bool) {
        if let Some(node) = node {
            self.charge((node.permissions.owner(), footprint(path, node)), more);
        }
    }

    /// Counts one node of so many bytes to or from its owner's.
    fn charge(&mut self, (owner, bytes): (RawDomid, usize), more: bool) {
        let usage = self.usage.entry(owner).or_default();
        if more {
            usage.nodes = usage.nodes.saturating_add(1);
            usage.bytes = usage.bytes.saturating_add(bytes);
        } else {
            usage.nodes = usage.nodes.saturating_sub(1);
            usage.bytes = usage.bytes.saturating_sub(bytes);
        }
        if usage.nodes == 0 {
            self.usage.remove(&owner);
        }
    }
}

#[cfg(test)]
impl Tree {
    /// Fails where parents, children and usage do not fit together.
    pub(crate) fn check(&self) {
        let mut usage: BTreeMap<RawDomid, Usage> = BTreeMap::new();
        for (path, node) in &self.nodes {
            let owned = usage.entry(node.permissions.owner()).or_default();
            owned.nodes += 1;
            owned.bytes += footprint(path.as_str(), node);
            assert_eq!(node.name_bytes, node.names().len(), "{path}");
            for name in node.children() {
                assert!(self.nodes.contains_key(&path.child(name)), "{path} lacks its child {name}");
            }
            let parent = path.parent().filter(|_| !path.is_special());
            if let Some(parent) = parent.as_ref().map(|parent| &self.nodes[parent]) {
                assert!(parent.children.contains(path.name()), "{path} is not its parent's child");
            }
        }
        assert_eq!(usage, self.usage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text, 0).unwrap()
    }

    fn node(value: &[u8], owner: RawDomid) -> Option<Arc<Node>> {
        Some(Arc::new(Node::new(value, Permissions::private(owner))))
    }

    #[test]
    fn owners_are_charged_for_what_they_own() {
        let mut tree = Tree::new();
        tree.put(&path("/a"), node(b"four", 3));
        assert_eq!(tree.usage(3), Usage { nodes: 1, bytes: OVERHEAD + 2 + 4 + 8 });
        tree.modify("/a", |node| node.add_child("b"));
        assert_eq!(tree.usage(3), Usage { nodes: 1, bytes: OVERHEAD + 2 + 4 + 2 + 8 });
        tree.modify("/a", |node| node.permissions = Permissions::private(4));
        assert_eq!((tree.usage(3), tree.usage(4).nodes), (Usage::default(), 1));
        tree.put(&path("/a"), node(b"", 3));
        assert_eq!((tree.usage(3).nodes, tree.usage(4)), (1, Usage::default()));
        tree.put(&path("/a"), None);
        assert_eq!(tree.usage(3), Usage::default());
    }

    #[test]
    fn no_two_changes_have_one_number() {
        let mut tree = Tree::new();
        tree.put(&path("/a"), node(b"", 0));
        let first = tree.get("/a").unwrap().generation;
        tree.put(&path("/a"), None);
        tree.put(&path("/a"), node(b"", 0));
        let second = tree.get("/a").unwrap().generation;
        tree.modify("/a", |_| ());
        assert!(first < second && second < tree.get("/a").unwrap().generation);
    }

    #[test]
    fn a_node_that_is_held_elsewhere_stays_as_it_was() {
        let mut tree = Tree::new();
        tree.put(&path("/a"), node(b"old", 0));
        let held = Arc::clone(tree.get("/a").unwrap());
        tree.modify("/a", |node| node.value = Arc::from(&b"new"[..]));
        assert_eq!((&*held.value, &*tree.get("/a").unwrap().value), (&b"old"[..], &b"new"[..]));
    }
}
