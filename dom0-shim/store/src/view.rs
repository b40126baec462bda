//! The operations on nodes, as one caller, in the tree or in a transaction.
//!
//! Each operation first looks at everything that it needs and checks permission and quota,
//! then changes: it happens whole or not at all.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xen_abi::RawDomid;
use xen_abi::errno::Errno;

use crate::path::Path;
use crate::permissions::{Caller, Permissions, Rights};
use crate::quota::Quota;
use crate::transaction::{Change, Scope, Transaction};
use crate::tree::{Node, OVERHEAD, Tree, Usage, footprint, name_bytes};

/// The store as one caller sees it.
///
/// Paths are text: absolute, or relative to the directory of the caller's domain. Every
/// operation fails with `EINVAL` for a path against the rules, with `EACCES` where the
/// caller has no right to it or to know more, with `ENOSPC` past a quota.
pub struct View<'a> {
    pub(crate) tree: &'a mut Tree,
    pub(crate) transaction: Option<&'a mut Transaction>,
    pub(crate) caller: Caller,
    pub(crate) quota: Quota,
    /// Bytes that the caller holds elsewhere: watches, other transactions.
    pub(crate) held: usize,
    pub(crate) changes: &'a mut Vec<Change>,
}

impl View<'_> {
    /// The value of a node.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no such node.
    pub fn read(&mut self, path: &str) -> Result<Arc<[u8]>, Errno> {
        Ok(Arc::clone(&self.readable(path)?.value))
    }

    /// Names of a node's children, in order.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no such node.
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>, Errno> {
        Ok(self.readable(path)?.children().map(Into::into).collect())
    }

    /// The permissions of a node or of a special event.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no such node.
    pub fn permissions(&mut self, path: &str) -> Result<Permissions, Errno> {
        let path = Path::parse_special(path, self.caller.domain)?;
        Ok(self.permitted(&path, Rights::READ)?.permissions.clone())
    }

    /// Sets the value of a node; makes it, and what is missing above it.
    ///
    /// # Errors
    ///
    /// As all operations.
    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<(), Errno> {
        let path = self.path(path)?;
        match self.permitted(&path, Rights::WRITE) {
            Ok(node) => self.set_value(&path, node, value)?,
            Err(Errno::ENOENT) => self.create(&path, value)?,
            Err(error) => return Err(error),
        }
        self.note(&path, Scope::Subtree, None);
        Ok(())
    }

    /// Makes a node, and what is missing above it; one that is there stays as it is.
    ///
    /// # Errors
    ///
    /// As all operations.
    pub fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        let path = self.path(path)?;
        match self.permitted(&path, Rights::WRITE) {
            Ok(_) => return Ok(()),
            Err(Errno::ENOENT) => self.create(&path, b"")?,
            Err(error) => return Err(error),
        }
        self.note(&path, Scope::Subtree, None);
        Ok(())
    }

    /// Removes a node and all below; no error where there is none but its parent is.
    ///
    /// # Errors
    ///
    /// `ENOENT`: nor is there a parent. `EINVAL`: the root.
    pub fn rm(&mut self, path: &str) -> Result<(), Errno> {
        let path = self.path(path)?;
        match self.permitted(&path, Rights::WRITE) {
            Ok(_) => self.remove(&path),
            Err(Errno::ENOENT) => self.parent_of(&path).map(|_| ()),
            Err(error) => Err(error),
        }
    }

    /// Sets the permissions of a node or of a special event.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no such node. `EACCES`: the caller does not own it. `EPERM`: only domain 0
    /// may give a node to another domain.
    pub fn set_permissions(&mut self, path: &str, permissions: Permissions) -> Result<(), Errno> {
        let path = Path::parse_special(path, self.caller.domain)?;
        if !self.caller.is_privileged() && permissions.count() > self.quota.permissions {
            return Err(Errno::ENOSPC);
        }
        let node = self.permitted(&path, Rights::WRITE)?;
        if !node.permissions.is_owner(self.caller) {
            return Err(Errno::EACCES);
        }
        if !self.caller.is_privileged() && permissions.owner() != node.permissions.owner() {
            return Err(Errno::EPERM);
        }
        let before = node.permissions.clone();
        self.fits(node.size_with(&permissions), node.size())?;
        drop(node);
        self.modify(&path, |node| node.permissions = permissions);
        self.note(&path, Scope::Subtree, Some(before));
        Ok(())
    }

    /// A node that the caller may read.
    pub(crate) fn readable(&mut self, path: &str) -> Result<Arc<Node>, Errno> {
        let path = self.path(path)?;
        self.permitted(&path, Rights::READ)
    }

    /// Removes a node that is there, and all below, children first.
    pub(crate) fn remove(&mut self, path: &Path) -> Result<(), Errno> {
        if path.is_root() {
            return Err(Errno::EINVAL);
        }
        self.parent_of(path)?;
        let mut subtree = self.subtree(path)?;
        while let Some(node) = subtree.pop() {
            let scope = if subtree.is_empty() { Scope::Subtree } else { Scope::Exact };
            self.note(&node, scope, None);
            self.put(&node, None);
        }
        if let Some(parent) = path.parent() {
            self.modify(&parent, |node| node.remove_child(path.name()));
        }
        Ok(())
    }

    fn path(&self, text: &str) -> Result<Path, Errno> {
        Path::parse(text, self.caller.domain)
    }

    /// The node, if the caller has these rights; else the error that it may know.
    fn permitted(&mut self, path: &Path, needed: Rights) -> Result<Arc<Node>, Errno> {
        let error = match self.fetch(path)? {
            Some(node) if node.permissions.rights_of(self.caller).contains(needed) => return Ok(node),
            Some(_) => Errno::EACCES,
            None => Errno::ENOENT,
        };
        let above = self.nearest_above(path)?;
        let known = above.is_some_and(|node| node.permissions.rights_of(self.caller).intersects(needed));
        Err(if known { error } else { Errno::EACCES })
    }

    /// The nearest node above `path` that is there; `None` for the root.
    fn nearest_above(&mut self, path: &Path) -> Result<Option<Arc<Node>>, Errno> {
        let mut above = path.parent();
        while let Some(path) = above {
            if let Some(node) = self.fetch(&path)? {
                return Ok(Some(node));
            }
            above = path.parent();
        }
        Ok(None)
    }

    fn parent_of(&mut self, path: &Path) -> Result<Arc<Node>, Errno> {
        let parent = path.parent().ok_or(Errno::EINVAL)?;
        self.fetch(&parent)?.ok_or(Errno::ENOENT)
    }

    /// `path` and all below, each before its children.
    fn subtree(&mut self, path: &Path) -> Result<Vec<Path>, Errno> {
        let mut found = Vec::new();
        let mut left = Vec::from([path.clone()]);
        while let Some(path) = left.pop() {
            if let Some(node) = self.fetch(&path)? {
                left.extend(node.children().map(|name| path.child(name)));
            }
            found.push(path);
        }
        Ok(found)
    }

    fn set_value(&mut self, path: &Path, node: Arc<Node>, value: &[u8]) -> Result<(), Errno> {
        let size = node.size();
        self.fits(size.saturating_sub(node.value.len()).saturating_add(value.len()), size)?;
        // Nobody else holding it, the node changes in place.
        drop(node);
        self.modify(path, |node| node.value = Arc::from(value));
        Ok(())
    }

    /// Makes the node and what is missing above it. The caller has checked the right to
    /// write the nearest node above.
    fn create(&mut self, path: &Path, value: &[u8]) -> Result<(), Errno> {
        let mut missing = Vec::from([path.clone()]);
        let (top, parent) = loop {
            let above = missing.last().and_then(Path::parent).ok_or(Errno::EINVAL)?;
            match self.fetch(&above)? {
                Some(node) => break (above, node),
                None => missing.push(above),
            }
        };
        let permissions = if self.caller.is_privileged() {
            parent.permissions.clone()
        } else {
            parent.permissions.owned_by(self.caller.domain)
        };
        let nodes = chain(&missing, value, &permissions);
        let first = missing.last().map(Path::name).unwrap_or_default();
        self.fits(parent.size().saturating_add(name_bytes(first)), parent.size())?;
        drop(parent);
        self.room_for(&nodes)?;
        let name = missing.last().cloned().unwrap_or_else(Path::root);
        self.modify(&top, |node| node.add_child(name.name()));
        for (path, node) in nodes {
            self.put(&path, Some(node));
        }
        Ok(())
    }

    /// Whether quotas let new nodes be.
    fn room_for(&self, nodes: &[(Path, Node)]) -> Result<(), Errno> {
        let limit = if self.caller.is_privileged() { usize::MAX } else { self.quota.nodes };
        let created = self.transaction.as_ref().map_or(0, |transaction| transaction.created);
        let owned = self.usage().nodes.saturating_add_signed(created);
        if owned.saturating_add(nodes.len()) > limit {
            return Err(Errno::ENOSPC);
        }
        let mut bytes = 0usize;
        for (path, node) in nodes {
            self.fits(node.size(), 0)?;
            bytes = bytes.saturating_add(footprint(path.as_str(), node));
        }
        self.has_memory(bytes)
    }

    /// Whether quotas let a node grow from `before` to `size` bytes.
    fn fits(&self, size: usize, before: usize) -> Result<(), Errno> {
        if !self.caller.is_privileged() && size > self.quota.node_size && size > before {
            return Err(Errno::ENOSPC);
        }
        // A transaction keeps the node as it was besides.
        let before = if self.transaction.is_some() { 0 } else { before };
        self.has_memory(size.saturating_sub(before))
    }

    fn has_memory(&self, more: usize) -> Result<(), Errno> {
        let open = self.transaction.as_ref().map_or(0, |transaction| transaction.bytes);
        let used = self.usage().bytes.saturating_add(self.held).saturating_add(open);
        if !self.caller.is_privileged() && more > 0 && used.saturating_add(more) > self.quota.memory {
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        self.tree.usage(self.caller.domain)
    }

    /// The node at `path`; in a transaction it is one more that must not change.
    fn fetch(&mut self, path: &Path) -> Result<Option<Arc<Node>>, Errno> {
        let Some(transaction) = &self.transaction else { return Ok(self.tree.get(path.as_str()).cloned()) };
        if !transaction.knows(path.as_str()) && !self.caller.is_privileged() {
            if transaction.nodes() >= self.quota.transaction_nodes {
                return Err(Errno::ENOSPC);
            }
            let size = self.tree.get(path.as_str()).map_or(0, |node| node.size());
            self.has_memory(OVERHEAD.saturating_add(path.as_str().len()).saturating_add(size))?;
        }
        let tree = &*self.tree;
        Ok(self.transaction.as_mut().and_then(|transaction| transaction.get(path, tree)))
    }

    fn put(&mut self, path: &Path, node: Option<Node>) {
        let Some(transaction) = &mut self.transaction else {
            return self.tree.put(path, node.map(Arc::new));
        };
        let own = |owner: RawDomid| isize::from(owner == self.caller.domain);
        let before = transaction.get(path, self.tree).map_or(0, |node| own(node.permissions.owner()));
        let after = node.as_ref().map_or(0, |node| own(node.permissions.owner()));
        transaction.created = transaction.created.saturating_add(after).saturating_sub(before);
        transaction.put(path, node, self.tree.next_generation());
    }

    fn modify(&mut self, path: &Path, change: impl FnOnce(&mut Node)) {
        match &mut self.transaction {
            None => self.tree.modify(path.as_str(), change),
            Some(transaction) => transaction.modify(path.as_str(), self.tree.next_generation(), change),
        }
    }

    /// Watchers of `path` shall be told. `before`: its permissions, where they changed.
    fn note(&mut self, path: &Path, scope: Scope, before: Option<Permissions>) {
        if let Some(transaction) = &mut self.transaction {
            return transaction.note(path, scope);
        }
        let parent = path.parent().and_then(|parent| self.tree.get(parent.as_str()));
        let nodes = self.tree.get(path.as_str()).into_iter().chain(parent);
        let visible_by = nodes.map(|node| node.permissions.clone()).chain(before).collect();
        self.changes.push(Change { path: path.clone(), scope, visible_by });
    }
}

/// New nodes for the paths, deepest first in `missing`: each the only child of the next.
fn chain(missing: &[Path], value: &[u8], permissions: &Permissions) -> Vec<(Path, Node)> {
    let mut below: Option<&Path> = None;
    let mut nodes = Vec::with_capacity(missing.len());
    for path in missing {
        let mut node = Node::new(if below.is_none() { value } else { b"" }, permissions.clone());
        if let Some(child) = below {
            node.add_child(child.name());
        }
        nodes.push((path.clone(), node));
        below = Some(path);
    }
    nodes
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::prelude::*;

    use super::*;
    use crate::permissions::Permission;

    /// Callers: domain 0 and three others, one of which acts for another.
    const CALLERS: [Caller; 4] = [
        Caller::PRIVILEGED,
        Caller { domain: 1, target: None },
        Caller { domain: 2, target: None },
        Caller { domain: 3, target: Some(1) },
    ];

    #[derive(Clone, Debug)]
    enum Operation {
        Write(String, usize),
        Mkdir(String),
        Rm(String),
        SetPermissions(String, Permissions),
        /// Opens the caller's transaction, or ends it.
        Turn(bool),
    }

    fn path() -> impl Strategy<Value = String> {
        let names = prop::collection::vec(prop::sample::select(alloc::vec!["a", "b", "c"]), 1..4);
        names.prop_map(|names| format!("/{}", names.join("/")))
    }

    fn permission() -> impl Strategy<Value = Permission> {
        (0..4u16, 0..4u8)
            .prop_map(|(domain, bits)| Permission { domain, rights: Rights::from_bits_truncate(bits) })
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let permissions = (permission(), prop::collection::vec(permission(), 0..3));
        prop_oneof![
            3 => (path(), 0..40usize).prop_map(|(path, size)| Operation::Write(path, size)),
            2 => path().prop_map(Operation::Mkdir),
            2 => path().prop_map(Operation::Rm),
            3 => (path(), permissions)
                .prop_map(|(path, (owner, others))| Operation::SetPermissions(path, Permissions::new(owner, &others))),
            2 => any::<bool>().prop_map(Operation::Turn),
        ]
    }

    fn quota() -> Quota {
        Quota { nodes: 6, node_size: 60, memory: 3000, transaction_nodes: 12, ..Quota::default() }
    }

    /// The open transaction of each caller.
    type Open = [Option<Transaction>; 4];

    fn run(tree: &mut Tree, open: &mut Open, who: usize, operation: &Operation) -> Result<(), Errno> {
        if let Operation::Turn(commit) = operation {
            let Some(transaction) = open[who].take() else {
                open[who] = Some(Transaction::default());
                return Ok(());
            };
            return if *commit { transaction.commit(tree).map(|_| ()) } else { Ok(()) };
        }
        let (transaction, changes) = (open[who].as_mut(), &mut Vec::new());
        let mut view = View { tree, transaction, caller: CALLERS[who], quota: quota(), held: 0, changes };
        match operation {
            Operation::Write(path, size) => view.write(path, &alloc::vec![b'v'; *size]),
            Operation::Mkdir(path) => view.mkdir(path),
            Operation::Rm(path) => view.rm(path),
            Operation::SetPermissions(path, permissions) => view.set_permissions(path, permissions.clone()),
            Operation::Turn(_) => Ok(()),
        }
    }

    proptest! {
        #[test]
        fn tree_and_usage_fit_together(
            operations in prop::collection::vec((0..4usize, operation()), 1..80)
        ) {
            let (mut tree, mut open) = (Tree::new(), [const { None }; 4]);
            for (who, operation) in &operations {
                let before = tree.len();
                let result = run(&mut tree, &mut open, *who, operation);
                tree.check();
                if result.is_err() {
                    prop_assert_eq!(tree.len(), before, "what failed changed something");
                }
            }
        }

        #[test]
        fn only_who_may_write_changes_something(
            operations in prop::collection::vec((0..4usize, operation()), 1..60)
        ) {
            let (mut tree, mut open) = (Tree::new(), [const { None }; 4]);
            for (who, operation) in &operations {
                let (caller, quota, changes) = (CALLERS[*who], quota(), &mut Vec::new());
                let target = match operation {
                    Operation::Write(path, _) | Operation::Mkdir(path) | Operation::Rm(path)
                        | Operation::SetPermissions(path, _) => Path::parse(path, 0).unwrap(),
                    Operation::Turn(_) => continue,
                };
                let mut view = View { tree: &mut tree, transaction: None, caller, quota, held: 0, changes };
                let nearest = match view.fetch(&target).unwrap() {
                    Some(node) => node,
                    None => view.nearest_above(&target).unwrap().unwrap(),
                };
                let may = nearest.permissions.rights_of(caller).contains(Rights::WRITE);
                let generation = tree.next_generation();
                let result = run(&mut tree, &mut open, *who, operation);
                if !may {
                    prop_assert_eq!(result, Err(Errno::EACCES));
                    prop_assert_eq!(tree.next_generation(), generation + 1, "nothing was changed");
                }
            }
        }
    }
}
