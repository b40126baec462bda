//! Takes requests, starts them, answers them.
//!
//! Work is done in turns, so that one call of the hypervisor's serves many requests:
//!
//! ```text
//! begin    requests of the ring: copy, check; data of all writes; orders to the desk
//! (desk)   disk requests, in any order
//! finish   data of all reads; responses; one event
//! ```
//!
//! After a turn that did something the other tasks have theirs. A request that cannot begin
//! yet is held, and no other is taken meanwhile: a barrier until nothing is under way, any
//! request while a barrier is or there is no buffer for it.

use alloc::vec::Vec;
use core::cell::Cell;
use core::convert::Infallible;
use core::pin::pin;

use futures_lite::future::yield_now;
use futures_util::future::select;
use storage::Disk;
use xen_abi::RawDomid;
use xen_abi::io::blkif::{BlkifResponse, BlkifStatus};
use xen_backend::{Broken, Fault, Host, Port, Ring, Stop};

use crate::buffers::Buffers;
use crate::desk::{Crew, Desk, Done, Order, Task, work};
use crate::device::{Counts, Options};
use crate::mover::{Mover, Places, places};
use crate::request::{Kind, Layout, Limits, Request};

/// A front end's ring and port, and what was agreed.
#[derive(Debug)]
pub(crate) struct Connection<H: Host> {
    pub(crate) domain: RawDomid,
    pub(crate) ring: Ring<H::Memory>,
    pub(crate) port: H::Port,
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    /// The front end uses the same pages again and again.
    pub(crate) persistent: bool,
}

/// A front end that is served.
pub(crate) struct Server<'a, H: Host, D> {
    disk: &'a D,
    connection: Connection<H>,
    mover: Mover<'a, H>,
    buffers: Buffers,
    requests: Vec<Request>,
    free: Places,
    running: Places,
    /// A request that cannot begin yet.
    held: Option<usize>,
    /// A barrier is under way.
    barrier: bool,
    /// A place or a buffer is waited for.
    delayed: bool,
    /// Something was written.
    written: bool,
    /// Sectors that are discarded at once.
    discard: u32,
    counts: &'a Cell<Counts>,
}

impl<'a, H: Host, D: Disk> Server<'a, H, D> {
    pub(crate) fn new(
        host: &'a H,
        disk: &'a D,
        connection: Connection<H>,
        options: &Options,
        counts: &'a Cell<Counts>,
    ) -> Self {
        let pages = if connection.persistent { options.persistent_pages } else { 0 };
        Self {
            disk,
            mover: Mover::new(host, connection.domain, pages),
            connection,
            buffers: Buffers::new(options.buffer_bytes),
            requests: (0..options.requests).map(|_| Request::default()).collect(),
            free: Places::MAX >> (Places::BITS as usize - options.requests),
            running: 0,
            held: None,
            barrier: false,
            delayed: false,
            written: false,
            discard: disk.properties().discard.unwrap_or(0),
            counts,
        }
    }

    /// Serves until it is told to stop or the ring is broken. What is under way ends first,
    /// and what was written is on the medium.
    pub(crate) async fn run(mut self, stop: &Stop) -> Result<(), Fault> {
        let disk = self.disk;
        let desk = Desk::new(self.requests.len());
        let mut crew = Crew::new();
        let served = self.serve(stop, &desk, &mut crew, |place| work(&desk, disk, place)).await;
        while self.running != 0 {
            crew.done(&desk).await;
            self.finish(&desk);
        }
        if self.written {
            // Nobody is left to be told what came of it.
            let _ = disk.flush().await;
        }
        served.map_err(Fault::from)
    }

    /// Turn by turn.
    async fn serve<F: Future<Output = Infallible>>(
        &mut self,
        stop: &Stop,
        desk: &Desk,
        crew: &mut Crew<F>,
        worker: impl Fn(usize) -> F,
    ) -> Result<(), Broken> {
        let mut idle = false;
        while !stop.is_told() {
            let taken = self.begin(desk);
            if let Some(highest) = self.running.checked_ilog2() {
                crew.reach(highest as usize, &worker);
            }
            crew.turn().await;
            let done = self.finish(desk);
            if taken? || done {
                idle = false;
                yield_now().await;
            } else if self.may_wait()? {
                // Events without requests do not keep the other tasks from running.
                if core::mem::replace(&mut idle, true) {
                    yield_now().await;
                }
                self.wait(stop, desk, crew).await;
            }
        }
        Ok(())
    }

    /// Waits until something is done or there may be requests, or for the end.
    async fn wait<F: Future<Output = Infallible>>(&self, stop: &Stop, desk: &Desk, crew: &mut Crew<F>) {
        let (told, done) = (pin!(stop.told()), pin!(crew.done(desk)));
        let other = select(told, done);
        if self.is_full() {
            other.await;
        } else {
            select(other, pin!(self.connection.port.event())).await;
        }
    }

    /// Whether no request can be taken.
    fn is_full(&self) -> bool {
        self.held.is_some() || self.free == 0
    }

    /// Whether there is nothing to be taken. If so an event comes with the next request.
    fn may_wait(&mut self) -> Result<bool, Broken> {
        Ok(self.is_full() || !self.connection.ring.final_check()?)
    }

    /// Takes requests and starts them, also those that came before the ring was seen to be
    /// broken. Whether there were any.
    fn begin(&mut self, desk: &Desk) -> Result<bool, Broken> {
        let mut begun = 0;
        let taken = self.take_some(&mut begun);
        let with_data = places(begun).filter(|&place| self.requests[place].kind.writes());
        let with_data = with_data.fold(0, |set, place| set | 1 << place);
        let failed = self.mover.fetch(&mut self.requests, with_data);
        places(failed).for_each(|place| self.end(place, BlkifStatus::Error));
        places(begun & !failed).for_each(|place| self.start(desk, place));
        taken
    }

    /// Takes requests; those that may begin are told. Whether there were any.
    fn take_some(&mut self, begun: &mut Places) -> Result<bool, Broken> {
        let mut taken = false;
        // So many and no more: a front end may add one for each that is refused.
        for _ in 0..self.requests.len() {
            let next = self.held.take().map_or_else(|| self.take(), |held| Ok(Taken::Request(held)))?;
            match next {
                Taken::Nothing => break,
                Taken::Refused => {}
                Taken::Request(place) => match self.may_begin(place) {
                    Begin::Now => *begun |= 1 << place,
                    Begin::Later => {
                        self.held = Some(place);
                        break;
                    }
                    Begin::Never => self.end(place, BlkifStatus::Error),
                },
            }
            taken = true;
        }
        Ok(taken)
    }

    /// Takes a request out of the ring, if there is a place for it, and checks it.
    fn take(&mut self) -> Result<Taken, Broken> {
        let Some(place) = places(self.free).next() else {
            if self.connection.ring.available()? > 0 {
                self.delay();
            }
            return Ok(Taken::Nothing);
        };
        let Connection { ring, layout, limits, .. } = &mut self.connection;
        let Some(slot) = ring.take_slot()? else { return Ok(Taken::Nothing) };
        let request = &mut self.requests[place];
        let checked = request.take(&slot, *layout, limits).and_then(|indirect| {
            indirect.map_or(Ok(()), |indirect| self.mover.segments(indirect, request))?;
            request.check(limits)
        });
        if let Err(status) = checked {
            self.answer(place, status);
            return Ok(Taken::Refused);
        }
        self.free &= !(1 << place);
        Ok(Taken::Request(place))
    }

    /// Begins a request if it can: it has a buffer then.
    fn may_begin(&mut self, place: usize) -> Begin {
        let request = &mut self.requests[place];
        let is_barrier = request.kind == Kind::Barrier;
        if self.barrier || (is_barrier && self.running != 0) {
            return Begin::Later;
        }
        let bytes = request.data_bytes();
        if bytes > 0 {
            match self.buffers.take(bytes) {
                Ok(Some(buffer)) => request.buffer = buffer,
                Ok(None) => {
                    self.delay();
                    return Begin::Later;
                }
                Err(_) => return Begin::Never,
            }
        }
        self.barrier = is_barrier;
        self.delayed = false;
        self.running |= 1 << place;
        Begin::Now
    }

    fn start(&mut self, desk: &Desk, place: usize) {
        let request = &mut self.requests[place];
        let Request { kind, first, sectors, .. } = *request;
        let task = match kind {
            Kind::Read => Task::Read,
            Kind::Write => Task::Write,
            // Nothing else is under way while a barrier is.
            Kind::Barrier | Kind::Flush => Task::Flush,
            Kind::Discard => Task::Discard(self.discard),
        };
        let buffer = core::mem::take(&mut request.buffer);
        desk.start(place, Order { task, first, sectors, buffer });
        self.written |= kind != Kind::Read && sectors > 0;
        self.count(|counts| match kind {
            Kind::Read => {
                (counts.reads, counts.sectors_read) = (counts.reads + 1, counts.sectors_read + sectors)
            }
            Kind::Discard => counts.discards += 1,
            Kind::Flush | Kind::Barrier if sectors == 0 => counts.flushes += 1,
            Kind::Write | Kind::Flush | Kind::Barrier => {
                counts.writes += 1;
                counts.sectors_written += sectors;
            }
        });
    }

    /// Answers what is done, and what was refused before. Whether something was done.
    fn finish(&mut self, desk: &Desk) -> bool {
        let (mut done, mut reads, mut failed, mut unsupported): (Places, Places, Places, Places) =
            (0, 0, 0, 0);
        while let Some(Done { place, status, buffer }) = desk.take_done() {
            let (request, bit) = (&mut self.requests[place], 1 << place);
            request.buffer = buffer;
            done |= bit;
            match status {
                BlkifStatus::Okay if request.kind == Kind::Read => reads |= bit,
                BlkifStatus::Okay => {}
                BlkifStatus::Error => failed |= bit,
                BlkifStatus::NotSupported => unsupported |= bit,
            }
        }
        failed |= self.mover.deliver(&self.requests, reads);
        for place in places(done) {
            let status = match 1 << place {
                bit if failed & bit != 0 => BlkifStatus::Error,
                bit if unsupported & bit != 0 => BlkifStatus::NotSupported,
                _ => BlkifStatus::Okay,
            };
            self.end(place, status);
        }
        if self.connection.ring.publish() {
            self.connection.port.notify();
        }
        done != 0
    }

    /// Answers a request that had begun, and frees its place.
    fn end(&mut self, place: usize, status: BlkifStatus) {
        self.answer(place, status);
        let request = &mut self.requests[place];
        let buffer = core::mem::take(&mut request.buffer);
        if !buffer.is_empty() {
            self.buffers.give_back(buffer);
        }
        self.running &= !(1 << place);
        self.free |= 1 << place;
        // It is the only one there is.
        self.barrier = false;
    }

    fn answer(&mut self, place: usize, status: BlkifStatus) {
        let Request { id, operation, .. } = self.requests[place];
        let response = BlkifResponse { id, operation, _pad0: 0, status: status.get(), _pad1: 0 };
        self.connection.ring.respond(&response);
        if status != BlkifStatus::Okay {
            self.count(|counts| counts.failed += 1);
        }
    }

    /// Something has to wait for a place or a buffer; counted once until something begins.
    fn delay(&mut self) {
        if !core::mem::replace(&mut self.delayed, true) {
            self.count(|counts| counts.delayed += 1);
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

/// Whether a request begins.
enum Begin {
    Now,
    /// It has to wait for others.
    Later,
    /// There is no memory for it.
    Never,
}

/// What came out of the ring.
enum Taken {
    /// There is nothing, or no place.
    Nothing,
    /// One that was answered at once.
    Refused,
    /// One at this place.
    Request(usize),
}
