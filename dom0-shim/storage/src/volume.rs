//! All kinds of disks as one type.

use alloc::rc::Rc;

use crate::access::Access;
use crate::claims::Claimed;
use crate::cow::CowDisk;
use crate::disk::{Disk, Failure, Properties};
use crate::fat::Image;
use crate::memory::{Module, Ram};
use crate::overlay::Overlay;
use crate::window::Window;

/// Does something with the disk that there is.
macro_rules! each {
    ($self:ident, $kind:ident: $($variant:ident)|+, $disk:ident => $call:expr) => {
        match $self {
            $($kind::$variant($disk) => $call,)+
        }
    };
}

/// Implements [`Disk`] for an enum of disks.
macro_rules! disk_of_kinds {
    ($kind:ident: $($variant:ident)|+) => {
        impl<D: Disk> Disk for $kind<D> {
            fn properties(&self) -> Properties {
                each!(self, $kind: $($variant)|+, disk => disk.properties())
            }

            async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
                each!(self, $kind: $($variant)|+, disk => disk.read(first, to).await)
            }

            async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
                each!(self, $kind: $($variant)|+, disk => disk.write(first, from).await)
            }

            async fn flush(&self) -> Result<(), Failure> {
                each!(self, $kind: $($variant)|+, disk => disk.flush().await)
            }

            async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
                each!(self, $kind: $($variant)|+, disk => disk.discard(first, count).await)
            }
        }
    };
}

/// A disk that others are parts of.
#[derive(Debug)]
pub(crate) enum Device<D> {
    /// The machine's.
    Physical(Rc<D>),
    /// Memory with a name.
    Ram(Rc<Ram>),
}

impl<D> Clone for Device<D> {
    fn clone(&self) -> Self {
        match self {
            Self::Physical(disk) => Self::Physical(Rc::clone(disk)),
            Self::Ram(disk) => Self::Ram(Rc::clone(disk)),
        }
    }
}

disk_of_kinds!(Device: Physical | Ram);

/// A disk or a partition, and the claim on it.
pub(crate) type Part<D> = Claimed<Window<Device<D>>>;

/// What is behind changes, or behind none.
pub(crate) enum Backing<D> {
    Part(Part<D>),
    Module(Module),
    Ram(Ram),
    Image(Image<Part<D>>),
}

disk_of_kinds!(Backing: Part | Module | Ram | Image);

/// An overlay, or what is without one.
pub(crate) enum Layers<D> {
    Plain(Backing<D>),
    /// Changes that somebody else keeps as well.
    Overlay(Rc<Overlay<Backing<D>>>),
    Snapshot(Overlay<Backing<D>>),
    Cow(CowDisk<Backing<D>, Backing<D>>),
}

disk_of_kinds!(Layers: Plain | Overlay | Snapshot | Cow);

/// An open disk. What it claims is free as this is dropped.
pub struct Volume<D> {
    layers: Layers<D>,
    access: Access,
}

impl<D: Disk> Volume<D> {
    pub(crate) fn new(layers: Layers<D>, access: Access) -> Self {
        Self { layers, access }
    }

    fn writable(&self) -> Result<(), Failure> {
        match self.access {
            Access::Read => Err(Failure::ReadOnly),
            Access::Write => Ok(()),
        }
    }
}

impl<D: Disk> Disk for Volume<D> {
    fn properties(&self) -> Properties {
        let properties = self.layers.properties();
        Properties { read_only: properties.read_only || self.access == Access::Read, ..properties }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.layers.read(first, to).await
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        self.writable()?;
        self.layers.write(first, from).await
    }

    async fn flush(&self) -> Result<(), Failure> {
        self.layers.flush().await
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        self.writable()?;
        self.layers.discard(first, count).await
    }
}
