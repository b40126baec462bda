//! Disk requests under way.
//!
//! Each place of the desk has a worker: a future that is made when the place is first used
//! and carries out one order after another. A request costs no memory that way, and only
//! workers whose order has moved are polled.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_lite::future::yield_now;
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use storage::{Disk, Failure, SECTOR};
use xen_abi::io::blkif::BlkifStatus;

/// What is to be done, with the memory that it is done with.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) task: Task,
    /// First sector.
    pub(crate) first: u64,
    /// Sectors.
    pub(crate) sectors: u64,
    /// At least as many sectors where data moves.
    pub(crate) buffer: Vec<u8>,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    /// Sectors into the buffer.
    Read,
    /// The buffer to sectors.
    Write,
    /// What was written before is on the medium, and the buffer too if there is any.
    Flush,
    /// Sectors are not needed any more, so many at once.
    Discard(u32),
}

/// What came of an order.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) place: usize,
    pub(crate) status: BlkifStatus,
    pub(crate) buffer: Vec<u8>,
}

/// Orders for the workers, and what came of them.
pub(crate) struct Desk {
    places: Vec<Place>,
    done: RefCell<Vec<Done>>,
}

#[derive(Default)]
struct Place {
    order: Cell<Option<Order>>,
    waker: Cell<Option<Waker>>,
}

impl Desk {
    /// A desk of so many places.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: (0..places).map(|_| Place::default()).collect(),
            done: RefCell::new(Vec::with_capacity(places)),
        }
    }

    /// Gives a place an order.
    pub(crate) fn start(&self, place: usize, order: Order) {
        if let Some(place) = self.places.get(place) {
            place.order.set(Some(order));
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    fn has_done(&self) -> bool {
        !self.done.borrow().is_empty()
    }

    /// Takes one order that was carried out.
    pub(crate) fn take_done(&self) -> Option<Done> {
        self.done.borrow_mut().pop()
    }

    async fn next(&self, place: &Place) -> Order {
        poll_fn(|context| match place.order.take() {
            Some(order) => Poll::Ready(order),
            None => {
                place.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// The workers.
#[derive(Debug)]
pub(crate) struct Crew<F>(FuturesUnordered<F>);

impl<F: Future<Output = Infallible>> Crew<F> {
    /// Nobody.
    pub(crate) fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    /// Makes workers until `place` has one. Who uses the lowest free place makes one at most.
    pub(crate) fn reach(&mut self, place: usize, make: impl Fn(usize) -> F) {
        while self.0.len() <= place {
            self.0.push(make(self.0.len()));
        }
    }

    /// Lets those go on whose order has moved.
    pub(crate) async fn turn(&mut self) {
        poll_fn(|context| {
            self.poll(context);
            Poll::Ready(())
        })
        .await;
    }

    /// Waits until something is done.
    pub(crate) async fn done(&mut self, desk: &Desk) {
        poll_fn(|context| {
            self.poll(context);
            if desk.has_done() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// No worker ever ends, so none is taken out.
    fn poll(&mut self, context: &mut Context<'_>) {
        let _ = Pin::new(&mut self.0).poll_next(context);
    }
}

/// The worker of a place.
pub(crate) async fn work<D: Disk>(desk: &Desk, disk: &D, number: usize) -> Infallible {
    let Some(place) = desk.places.get(number) else { return core::future::pending().await };
    loop {
        let mut order = desk.next(place).await;
        let outcome = order.carry_out(disk).await;
        let done = Done { place: number, status: status(&outcome), buffer: order.buffer };
        desk.done.borrow_mut().push(done);
    }
}

fn status(outcome: &Result<(), Failure>) -> BlkifStatus {
    match outcome {
        Ok(()) => BlkifStatus::Okay,
        Err(Failure::Unsupported) => BlkifStatus::NotSupported,
        Err(_) => BlkifStatus::Error,
    }
}

impl Order {
    async fn carry_out<D: Disk>(&mut self, disk: &D) -> Result<(), Failure> {
        match self.task {
            Task::Read => {
                let (first, to) = (self.first, self.data()?);
                disk.read(first, to).await
            }
            Task::Write => self.write(disk).await,
            Task::Flush if self.sectors == 0 => disk.flush().await,
            Task::Flush => {
                disk.flush().await?;
                self.write(disk).await?;
                disk.flush().await
            }
            Task::Discard(at_once) => self.discard(disk, u64::from(at_once.max(1))).await,
        }
    }

    async fn write<D: Disk>(&mut self, disk: &D) -> Result<(), Failure> {
        let (first, from) = (self.first, self.data()?);
        disk.write(first, from).await
    }

    async fn discard<D: Disk>(&self, disk: &D, at_once: u64) -> Result<(), Failure> {
        let (mut first, mut left) = (self.first, self.sectors);
        while left > 0 {
            let count = left.min(at_once);
            disk.discard(first, count).await?;
            (first, left) = (first.saturating_add(count), left - count);
            // A whole disk may be many pieces, and a disk that never waits lets nobody else run.
            yield_now().await;
        }
        Ok(())
    }

    /// The sectors in the buffer.
    fn data(&mut self) -> Result<&mut [u8], Failure> {
        let bytes = usize::try_from(self.sectors).ok().and_then(|sectors| sectors.checked_mul(SECTOR));
        bytes.and_then(|bytes| self.buffer.get_mut(..bytes)).ok_or(Failure::OutOfRange)
    }
}
