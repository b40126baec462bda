//! A client of XenStore, for a guest: one request at a time, over the ring that the toolstack set up
//! (`io/xs_wire.h`). Watch events that come meanwhile are kept.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use xen_abi::io::xs_wire::{PAYLOAD_MAX, XsMessage, XsdSockmsg};
use zerocopy::{FromBytes, IntoBytes};

use crate::rings::{self, Rings};
use crate::timer;

/// How long an answer may take, ns.
const PATIENCE_NS: u64 = 5_000_000_000;
const HEADER: usize = size_of::<XsdSockmsg>();

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// The server cannot be reached.
    Ring(rings::Error),
    /// No answer came in time.
    Silent,
    /// Path and value are longer than the protocol allows, or have a NUL inside.
    BadRequest,
    /// The answer is none of the protocol.
    BadAnswer,
    /// The server's error, by its name: `ENOENT`.
    Refused(String),
}

impl From<rings::Error> for Error {
    fn from(error: rings::Error) -> Self {
        Self::Ring(error)
    }
}

/// A watch that fired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The node that changed, relative if the watch is.
    pub path: String,
    /// The watch's name.
    pub token: String,
}

/// A connection to the server.
#[derive(Debug)]
pub struct XenStore {
    rings: Rings,
    /// What did not fit into the ring yet.
    outgoing: VecDeque<u8>,
    /// The beginning of a message.
    incoming: Vec<u8>,
    events: VecDeque<Event>,
    last_id: u32,
}

impl XenStore {
    /// Connects; [`crate::channels::init`] and [`timer::init`] were called.
    ///
    /// # Errors
    ///
    /// [`rings::Error`].
    pub fn open() -> Result<Self, rings::Error> {
        Ok(Self {
            rings: Rings::store()?,
            outgoing: VecDeque::new(),
            incoming: Vec::new(),
            events: VecDeque::new(),
            last_id: 0,
        })
    }

    /// The value of a node. Paths without a slash at the start are below the domain's own.
    ///
    /// # Errors
    ///
    /// [`Error`]. So have all requests.
    pub async fn read(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        self.request(XsMessage::Read, &[path], None).await
    }

    /// The value of a node that is a text.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn read_text(&mut self, path: &str) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.read(path).await?).into_owned())
    }

    /// The names of a node's children.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn directory(&mut self, path: &str) -> Result<Vec<String>, Error> {
        let names = self.request(XsMessage::Directory, &[path], None).await?;
        Ok(texts(&names))
    }

    /// Sets the value of a node.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn write(&mut self, path: &str, value: &str) -> Result<(), Error> {
        self.request(XsMessage::Write, &[path], Some(value)).await.map(drop)
    }

    /// Removes a node and all below it.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn remove(&mut self, path: &str) -> Result<(), Error> {
        self.request(XsMessage::Rm, &[path], None).await.map(drop)
    }

    /// Asks to be told of changes at `path` and below: by [`Self::next_event`], with `token`, and once at once.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn watch(&mut self, path: &str, token: &str) -> Result<(), Error> {
        self.request(XsMessage::Watch, &[path, token], None).await.map(drop)
    }

    /// A watch event that has come, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Ring`], [`Error::BadAnswer`]
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        // An answer now is one that came too late.
        while self.receive()?.is_some() {}
        Ok(self.events.pop_front())
    }

    /// Waits until the server has sent something, unless an event has been kept.
    pub async fn changed(&self) {
        if self.events.is_empty() {
            self.rings.event().await;
        }
    }

    /// Sends a request of texts that a NUL ends, and a value without one; returns the answer's payload.
    async fn request(
        &mut self,
        kind: XsMessage,
        texts: &[&str],
        value: Option<&str>,
    ) -> Result<Vec<u8>, Error> {
        let mut payload = Vec::new();
        for text in texts {
            if text.contains('\0') {
                return Err(Error::BadRequest);
            }
            payload.extend(text.bytes().chain([0]));
        }
        payload.extend(value.unwrap_or_default().bytes());
        if payload.len() > PAYLOAD_MAX {
            return Err(Error::BadRequest);
        }
        timer::within(PATIENCE_NS, self.exchange(kind, &payload)).await.ok_or(Error::Silent)?
    }

    async fn exchange(&mut self, kind: XsMessage, payload: &[u8]) -> Result<Vec<u8>, Error> {
        // What an earlier request left behind.
        self.flush().await?;
        self.last_id = self.last_id.wrapping_add(1);
        let length = u32::try_from(payload.len()).map_err(|_| Error::BadRequest)?;
        let head = XsdSockmsg { kind: kind.get(), req_id: self.last_id, tx_id: 0, len: length };
        self.outgoing.extend(head.as_bytes().iter().chain(payload));
        self.flush().await?;
        loop {
            match self.receive()? {
                Some((head, payload)) if head.req_id == self.last_id => return answer(kind, &head, payload),
                // To a request that was given up.
                Some(_) => {}
                None => self.rings.event().await,
            }
        }
    }

    /// Sends all that is to be sent.
    async fn flush(&mut self) -> Result<(), Error> {
        while !self.outgoing.is_empty() {
            match self.rings.write(self.outgoing.make_contiguous())? {
                0 => self.rings.event().await,
                count => drop(self.outgoing.drain(..count)),
            }
        }
        Ok(())
    }

    /// The next answer that has come as a whole; events go to those kept.
    fn receive(&mut self) -> Result<Option<(XsdSockmsg, Vec<u8>)>, Error> {
        loop {
            if !self.fill(HEADER)? {
                return Ok(None);
            }
            let (head, rest) = self.head()?;
            if !self.fill(HEADER + rest)? {
                return Ok(None);
            }
            let payload = self.incoming.split_off(HEADER);
            self.incoming.clear();
            if head.kind != XsMessage::WatchEvent.get() {
                return Ok(Some((head, payload)));
            }
            if let [path, token, ..] = texts(&payload).as_slice() {
                self.events.push_back(Event { path: path.clone(), token: token.clone() });
            }
        }
    }

    /// Reads until there are `length` bytes of a message; whether there are.
    fn fill(&mut self, length: usize) -> Result<bool, Error> {
        while let Some(missing) = length.checked_sub(self.incoming.len()).filter(|missing| *missing > 0) {
            let mut bytes = vec![0; missing];
            let count = self.rings.read(&mut bytes)?;
            if count == 0 {
                return Ok(false);
            }
            self.incoming.extend(bytes.into_iter().take(count));
        }
        Ok(true)
    }

    /// The head of the message that is coming, and the length of the rest.
    fn head(&self) -> Result<(XsdSockmsg, usize), Error> {
        let (head, _) = XsdSockmsg::read_from_prefix(&self.incoming).map_err(|_| Error::BadAnswer)?;
        let rest = usize::try_from(head.len).ok().filter(|rest| *rest <= PAYLOAD_MAX);
        Ok((head, rest.ok_or(Error::BadAnswer)?))
    }
}

/// The payload of an answer to a request of this kind.
fn answer(kind: XsMessage, head: &XsdSockmsg, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
    if head.kind == XsMessage::Error.get() {
        return Err(Error::Refused(texts(&payload).into_iter().next().unwrap_or_default()));
    }
    if head.kind == kind.get() { Ok(payload) } else { Err(Error::BadAnswer) }
}

/// Texts that a NUL ends.
fn texts(payload: &[u8]) -> Vec<String> {
    let payload = payload.strip_suffix(&[0]).unwrap_or(payload);
    if payload.is_empty() {
        return Vec::new();
    }
    payload.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}
