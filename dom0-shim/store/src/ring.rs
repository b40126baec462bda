//! The page shared with a guest (`struct xenstore_domain_interface`, `xenstore-ring.txt`).
//!
//! ```text
//!    0  requests   1024 bytes    guest writes to req_prod     server reads to req_cons
//! 1024  answers    1024 bytes    server writes to rsp_prod    guest reads to rsp_cons
//! 2048  req_cons req_prod rsp_cons rsp_prod    bytes ever passed, modulo 2^32
//! 2064  server features, connection state, error
//! ```
//!
//! Everything in the page is a claim. The server's own two indices are kept here and only
//! written to the page, the guest's are read once in each step and checked; a message may
//! come one byte at a time. A guest that breaks the ring is served no more, is told why in
//! the page, and may ask for a fresh start.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use xen_abi::io::xs_wire::{
    PAYLOAD_MAX, RING_SIZE, ServerFeatures, XenstoreConnection, XenstoreDomainInterface, XenstoreRingError,
    XsdSockmsg,
};
use zerocopy::FromBytes;

use crate::server::{ConnectionId, Effect, Server};

/// Bytes of a message's header.
const HEADER: usize = size_of::<XsdSockmsg>();
/// The same length as the page's indices have it.
const RING_BYTES: u32 = 1024;
const _: () = assert!(RING_BYTES as usize == RING_SIZE);

/// Access to the shared page. The guest may write it at any time, so implementors copy
/// without making references to it (volatile), and other CPUs must see the accesses in the
/// order of the calls. On x86 that is so once the compiler keeps the order: no fence is
/// needed, as nothing here decides by a read after a write.
pub trait Page {
    /// Copies from the page; `offset` and length stay within 4096 bytes.
    fn read(&self, offset: usize, to: &mut [u8]);

    /// Copies to the page; `offset` and length stay within 4096 bytes.
    fn write(&self, offset: usize, from: &[u8]);
}

/// What a round of service came to.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Served {
    /// The ring moved: the guest's event channel is to be notified.
    pub notify: bool,
    /// There is more to do that waits for nothing.
    pub again: bool,
    /// What a request demands of the caller.
    pub effect: Option<Effect>,
}

/// The server's end of one domain's ring.
pub struct Ring {
    connection: ConnectionId,
    /// Bytes of requests that were read.
    consumed: u32,
    /// Bytes of answers that were written.
    produced: u32,
    /// The request of which some bytes came.
    input: Vec<u8>,
    /// The message of which some bytes were written.
    output: Vec<u8>,
    sent: usize,
    broken: bool,
}

impl Ring {
    /// Takes the ring of a domain that was introduced into use, empty.
    #[must_use]
    pub fn start(connection: ConnectionId, page: &impl Page) -> Self {
        let features = ServerFeatures::RECONNECTION | ServerFeatures::ERROR;
        write_word(page, offset_of!(XenstoreDomainInterface, server_features), features.bits());
        let mut ring = Self::empty(connection);
        ring.clear(page);
        ring
    }

    fn empty(connection: ConnectionId) -> Self {
        Self {
            connection,
            consumed: 0,
            produced: 0,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            broken: false,
        }
    }

    /// The connection that the ring belongs to.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Whether the guest broke the ring and did not ask for a fresh start yet.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Writes what waits for the guest, as far as there is room; whether to notify it. To be
    /// called when [`Server::next_ready`] names the connection. It handles no request, so
    /// nothing becomes ready by it.
    pub fn flush(&mut self, page: &impl Page, server: &mut Server) -> bool {
        if self.broken {
            return false;
        }
        self.send(page, server).unwrap_or_else(|error| {
            self.give_up(page, server, error);
            true
        })
    }

    /// Reads requests and writes answers, as far as there are some and room, at most
    /// `budget` requests. To be called when the event channel fires.
    pub fn serve(&mut self, page: &impl Page, server: &mut Server, budget: usize) -> Served {
        let mut served = Served::default();
        if self.wants_fresh_start(page) {
            server.reset(self.connection);
            self.clear(page);
            served.notify = true;
        }
        if !self.broken
            && let Err(error) = self.pass(page, server, budget, &mut served)
        {
            self.give_up(page, server, error);
            served.notify = true;
        }
        served
    }

    fn pass(
        &mut self,
        page: &impl Page,
        server: &mut Server,
        budget: usize,
        served: &mut Served,
    ) -> Result<(), XenstoreRingError> {
        for _ in 0..budget {
            served.notify |= self.send(page, server)?;
            if server.is_full(self.connection) || !self.receive(page, served)? {
                return Ok(());
            }
            served.effect = self.handle(server);
            if served.effect.is_some() {
                break;
            }
        }
        served.notify |= self.send(page, server)?;
        served.again = true;
        Ok(())
    }

    /// Hands the whole request to the server.
    fn handle(&mut self, server: &mut Server) -> Option<Effect> {
        let input = core::mem::take(&mut self.input);
        let (request, payload) = XsdSockmsg::read_from_prefix(&input).ok()?;
        server.handle(self.connection, &request, payload)
    }

    /// Reads until the request is whole (true) or nothing is left (false).
    fn receive(&mut self, page: &impl Page, served: &mut Served) -> Result<bool, XenstoreRingError> {
        loop {
            let missing = self.missing()?;
            if missing == 0 {
                return Ok(true);
            }
            let produced = read_word(page, offset_of!(XenstoreDomainInterface, req_prod));
            let there = passed(self.consumed, produced)?;
            let (at, count) = chunk(self.consumed, there.min(missing));
            if count == 0 {
                return Ok(false);
            }
            let mut bytes = vec![0; count];
            page.read(offset_of!(XenstoreDomainInterface, req) + at, &mut bytes);
            self.input.extend_from_slice(&bytes);
            self.consumed = advance(self.consumed, count);
            // Behind the bytes: the guest may reuse their place from here on.
            write_word(page, offset_of!(XenstoreDomainInterface, req_cons), self.consumed);
            served.notify = true;
        }
    }

    /// Bytes that the request lacks.
    fn missing(&self) -> Result<usize, XenstoreRingError> {
        let whole = match XsdSockmsg::read_from_prefix(&self.input) {
            Err(_) => HEADER,
            Ok((head, _)) => match usize::try_from(head.len) {
                Ok(len) if len <= PAYLOAD_MAX => HEADER + len,
                _ => return Err(XenstoreRingError::Protocol),
            },
        };
        Ok(whole.saturating_sub(self.input.len()))
    }

    /// Writes what waits, as far as there is room; whether any was.
    fn send(&mut self, page: &impl Page, server: &mut Server) -> Result<bool, XenstoreRingError> {
        let mut moved = false;
        while self.has_unsent(server) {
            let rest = self.output.get(self.sent..).unwrap_or_default();
            let consumed = read_word(page, offset_of!(XenstoreDomainInterface, rsp_cons));
            let room = RING_SIZE.saturating_sub(passed(consumed, self.produced)?);
            let (at, count) = chunk(self.produced, room.min(rest.len()));
            if count == 0 {
                break;
            }
            page.write(offset_of!(XenstoreDomainInterface, rsp) + at, rest.get(..count).unwrap_or_default());
            self.sent = self.sent.saturating_add(count);
            self.produced = advance(self.produced, count);
            // Behind the bytes: the guest may read them from here on.
            write_word(page, offset_of!(XenstoreDomainInterface, rsp_prod), self.produced);
            moved = true;
        }
        Ok(moved)
    }

    /// Whether there is something to write; takes the next message where one went out whole.
    fn has_unsent(&mut self, server: &mut Server) -> bool {
        if self.sent >= self.output.len() {
            self.output = server.take_message(self.connection).unwrap_or_default();
            self.sent = 0;
        }
        !self.output.is_empty()
    }

    fn wants_fresh_start(&self, page: &impl Page) -> bool {
        let state = read_word(page, offset_of!(XenstoreDomainInterface, connection));
        state == XenstoreConnection::Reconnect.get()
    }

    /// Empties both rings.
    fn clear(&mut self, page: &impl Page) {
        *self = Self::empty(self.connection);
        for offset in [
            offset_of!(XenstoreDomainInterface, req_cons),
            offset_of!(XenstoreDomainInterface, req_prod),
            offset_of!(XenstoreDomainInterface, rsp_cons),
            offset_of!(XenstoreDomainInterface, rsp_prod),
        ] {
            write_word(page, offset, 0);
        }
        write_word(page, offset_of!(XenstoreDomainInterface, error), XenstoreRingError::None.get());
        // Last: with this the guest may use the ring again.
        write_word(
            page,
            offset_of!(XenstoreDomainInterface, connection),
            XenstoreConnection::Connected.get(),
        );
    }

    /// Serves the guest no more, and says why.
    fn give_up(&mut self, page: &impl Page, server: &mut Server, error: XenstoreRingError) {
        server.reset(self.connection);
        *self = Self { broken: true, ..Self::empty(self.connection) };
        write_word(page, offset_of!(XenstoreDomainInterface, error), error.get());
    }
}

/// Bytes between two indices.
///
/// # Errors
///
/// [`XenstoreRingError::RingIndex`]: more than the ring holds.
fn passed(consumed: u32, produced: u32) -> Result<usize, XenstoreRingError> {
    match produced.wrapping_sub(consumed) {
        count @ 0..=RING_BYTES => Ok(count as usize),
        _ => Err(XenstoreRingError::RingIndex),
    }
}

/// Place in the ring and bytes up to its end, of `count` bytes from `index` on.
fn chunk(index: u32, count: usize) -> (usize, usize) {
    let at = (index % RING_BYTES) as usize;
    (at, count.min(RING_SIZE.saturating_sub(at)))
}

/// `index` past `count` bytes, which are no more than the ring holds.
fn advance(index: u32, count: usize) -> u32 {
    index.wrapping_add(u32::try_from(count).unwrap_or(RING_BYTES))
}

fn read_word(page: &impl Page, offset: usize) -> u32 {
    let mut bytes = [0; 4];
    page.read(offset, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn write_word(page: &impl Page, offset: usize, word: u32) {
    page.write(offset, &word.to_le_bytes());
}
