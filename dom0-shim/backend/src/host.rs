//! What a back end stands on. The kernel around implements it; tests stand in for it.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use xen_abi::errno::Errno;
use xen_abi::grant_table::GrantResult;
use xen_abi::{RawDomid, RawGrantRef, RawPort};

/// Grants, event channels and time.
pub trait Host {
    /// A front end's pages, mapped.
    type Memory: Memory;
    /// An event channel to a front end.
    type Port: Port;

    /// Maps pages that `domain` granted, side by side in their order. All or none.
    ///
    /// # Errors
    ///
    /// What the hypervisor says of the first one that it refuses, and
    /// [`GrantResult::NoSpace`] where the domain would have more than its share
    /// ([`crate::quota`]).
    fn map(
        &self,
        domain: RawDomid,
        references: &[RawGrantRef],
        writable: bool,
    ) -> Result<Self::Memory, GrantResult>;

    /// Maps one page for writing that is used again and again, where copies would do.
    ///
    /// # Errors
    ///
    /// Those of [`Host::map`]; the share is smaller.
    fn keep(&self, domain: RawDomid, reference: RawGrantRef) -> Result<Self::Memory, GrantResult>;

    /// Whether more pages are kept for a domain than is fair to the others.
    fn keeps_too_many(&self, domain: RawDomid) -> bool;

    /// Copies between Dom0's memory and pages that `domain` granted; each piece has its own
    /// result.
    fn copy(&self, domain: RawDomid, pieces: &mut [Piece<'_>]);

    /// Connects to a port of `domain`'s that waits for Dom0. The first event may come
    /// before anybody waits for it, and is not lost.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    fn bind(&self, domain: RawDomid, port: RawPort) -> Result<Self::Port, Errno>;

    /// Time since the machine started, ns.
    fn now_ns(&self) -> u64;

    /// Waits.
    fn sleep_ns(&self, ns: u64) -> impl Future<Output = ()>;
}

/// Pages of a front end's, as many bytes in a row. They are unmapped when this is dropped.
///
/// The front end may change them at any time: every byte is read once, aligned words of 4
/// bytes at once.
///
/// Functions panic where a place is not in the pages: offsets are the back end's own.
pub trait Memory {
    /// How many bytes there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies out of them.
    fn read(&self, offset: usize, to: &mut [u8]);

    /// Copies into them.
    fn write(&self, offset: usize, from: &[u8]);

    /// Reads a word at an offset that is a multiple of 4; what the front end wrote before it
    /// wrote this is seen afterwards.
    fn load(&self, offset: usize) -> u32;

    /// Writes a word at an offset that is a multiple of 4; who sees it sees all that was
    /// written before, and what is loaded afterwards is no older (a full barrier follows).
    fn store(&self, offset: usize, value: u32);
}

/// An event channel to a front end; it is closed when this is dropped.
pub trait Port {
    /// Sends an event. If the other end is closed nobody is told.
    fn notify(&self);

    /// Waits until an event has come since the last one that was told.
    fn event(&self) -> impl Future<Output = ()>;
}

/// One copy, within one page of the front end's.
#[derive(Debug)]
pub struct Piece<'a> {
    /// The page.
    pub reference: RawGrantRef,
    /// Where in it.
    pub offset: u16,
    /// Dom0's side, at most a page.
    pub direction: Direction<'a>,
    /// What came of it.
    pub result: GrantResult,
}

/// Which way a copy goes, with Dom0's side of it.
#[derive(Debug)]
pub enum Direction<'a> {
    /// From the front end.
    From(&'a mut [u8]),
    /// To the front end.
    To(&'a [u8]),
}

impl Direction<'_> {
    /// Bytes of Dom0's side.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::From(to) => to.len(),
            Self::To(from) => from.len(),
        }
    }
}

/// XenStore, as Dom0; paths are absolute.
pub trait Nodes {
    /// Tells of changes.
    type Watch: Watch;

    /// A node's value; `None` where there is no such node, or no text in it.
    fn read(&self, path: &str) -> Option<String>;

    /// Sets a value; makes the node, and those above, where they are missing.
    ///
    /// # Errors
    ///
    /// XenStore's.
    fn write(&self, path: &str, value: &str) -> Result<(), Errno>;

    /// Removes a node and all below it; none is fine as well.
    fn remove(&self, path: &str);

    /// Names of a node's children; none where there is no such node.
    fn directory(&self, path: &str) -> Vec<String>;

    /// Tells of changes of a node and all below it, whether it is there or not, until this
    /// is dropped. The first change is told at once.
    fn watch(&self, path: &str) -> Self::Watch;
}

/// See [`Nodes::watch`].
pub trait Watch {
    /// Waits until something has changed since it was last told.
    fn changed(&self) -> impl Future<Output = ()>;
}

impl<H: Host> Host for Rc<H> {
    type Memory = H::Memory;
    type Port = H::Port;

    fn map(
        &self,
        domain: RawDomid,
        references: &[RawGrantRef],
        writable: bool,
    ) -> Result<Self::Memory, GrantResult> {
        (**self).map(domain, references, writable)
    }

    fn keep(&self, domain: RawDomid, reference: RawGrantRef) -> Result<Self::Memory, GrantResult> {
        (**self).keep(domain, reference)
    }

    fn keeps_too_many(&self, domain: RawDomid) -> bool {
        (**self).keeps_too_many(domain)
    }

    fn copy(&self, domain: RawDomid, pieces: &mut [Piece<'_>]) {
        (**self).copy(domain, pieces);
    }

    fn bind(&self, domain: RawDomid, port: RawPort) -> Result<Self::Port, Errno> {
        (**self).bind(domain, port)
    }

    fn now_ns(&self) -> u64 {
        (**self).now_ns()
    }

    fn sleep_ns(&self, ns: u64) -> impl Future<Output = ()> {
        (**self).sleep_ns(ns)
    }
}

impl<N: Nodes> Nodes for Rc<N> {
    type Watch = N::Watch;

    fn read(&self, path: &str) -> Option<String> {
        (**self).read(path)
    }

    fn write(&self, path: &str, value: &str) -> Result<(), Errno> {
        (**self).write(path, value)
    }

    fn remove(&self, path: &str) {
        (**self).remove(path);
    }

    fn directory(&self, path: &str) -> Vec<String> {
        (**self).directory(path)
    }

    fn watch(&self, path: &str) -> Self::Watch {
        (**self).watch(path)
    }
}
