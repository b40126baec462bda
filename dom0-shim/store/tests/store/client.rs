//! A guest: the other end of the ring.

use std::cell::RefCell;
use std::collections::VecDeque;

use xen_abi::io::xs_wire::{RING_SIZE, XsMessage};
use xen_store::{ConnectionId, Page, Ring, Served, Server};

pub const REQ: usize = 0;
pub const RSP: usize = 1024;
pub const REQ_CONS: usize = 2048;
pub const REQ_PROD: usize = 2052;
pub const RSP_CONS: usize = 2056;
pub const RSP_PROD: usize = 2060;
pub const FEATURES: usize = 2064;
pub const CONNECTION: usize = 2068;
pub const ERROR: usize = 2072;

/// A page of memory.
pub struct Memory(RefCell<[u8; 4096]>);

impl Page for Memory {
    fn read(&self, offset: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.0.borrow()[offset..offset + to.len()]);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
    }
}

impl Memory {
    pub fn word(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub fn set(&self, offset: usize, word: u32) {
        self.write(offset, &word.to_le_bytes());
    }
}

/// A message from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u32,
    pub req_id: u32,
    pub tx_id: u32,
    pub payload: Vec<u8>,
}

/// A domain with its ring.
pub struct Guest {
    pub domain: u16,
    pub page: Memory,
    pub ring: Ring,
    /// At most so many bytes are written to the ring at once.
    pub piece: usize,
    /// Events that came so far, as path and token.
    pub events: VecDeque<(String, String)>,
    received: Vec<u8>,
    last_request: u32,
}

impl Guest {
    /// Introduces `domain`.
    pub fn new(server: &mut Server, domain: u16) -> Self {
        let page = Memory(RefCell::new([0xa5; 4096]));
        let ring = Ring::start(server.introduce(domain), &page);
        let events = VecDeque::new();
        Self { domain, page, ring, piece: RING_SIZE, events, received: Vec::new(), last_request: 0 }
    }

    pub fn connection(&self) -> ConnectionId {
        self.ring.connection()
    }

    /// Puts bytes into the ring, as many as there is room for; how many.
    pub fn put(&self, bytes: &[u8]) -> usize {
        let (consumed, produced) = (self.page.word(REQ_CONS), self.page.word(REQ_PROD));
        let room = RING_SIZE - produced.wrapping_sub(consumed) as usize;
        let count = bytes.len().min(room);
        for (index, byte) in bytes[..count].iter().enumerate() {
            self.page.write(REQ + (produced as usize + index) % RING_SIZE, &[*byte]);
        }
        self.page.set(REQ_PROD, produced.wrapping_add(u32::try_from(count).unwrap()));
        count
    }

    /// Takes what the server wrote.
    pub fn get(&mut self) {
        let (consumed, produced) = (self.page.word(RSP_CONS), self.page.word(RSP_PROD));
        for index in 0..produced.wrapping_sub(consumed) {
            let mut byte = [0];
            self.page.read(RSP + consumed.wrapping_add(index) as usize % RING_SIZE, &mut byte);
            self.received.push(byte[0]);
        }
        self.page.set(RSP_CONS, produced);
    }

    /// A whole message, if one came.
    pub fn message(&mut self) -> Option<Message> {
        let word = |at: usize| u32::from_le_bytes(self.received[at..at + 4].try_into().unwrap());
        if self.received.len() < 16 || self.received.len() < 16 + word(12) as usize {
            return None;
        }
        let (kind, req_id, tx_id, len) = (word(0), word(4), word(8), word(12) as usize);
        let payload = self.received[16..16 + len].to_vec();
        self.received.drain(..16 + len);
        Some(Message { kind, req_id, tx_id, payload })
    }

    pub fn serve(&mut self, server: &mut Server) -> Served {
        self.ring.serve(&self.page, server, 8)
    }

    /// Lets events come.
    pub fn settle(&mut self, server: &mut Server) {
        loop {
            let served = self.serve(server);
            self.get();
            while let Some(message) = self.message() {
                assert_eq!(message.kind, XsMessage::WatchEvent.get(), "{message:?}");
                self.event(&message);
            }
            if served == Served::default() {
                break;
            }
        }
    }

    /// All events that came since the last call.
    pub fn take_events(&mut self, server: &mut Server) -> Vec<String> {
        self.settle(server);
        self.events.drain(..).map(|(path, token)| format!("{path} {token}")).collect()
    }

    fn event(&mut self, message: &Message) {
        let text = String::from_utf8(message.payload.clone()).unwrap();
        let (path, token) = text.strip_suffix('\0').unwrap().split_once('\0').unwrap();
        self.events.push_back((path.into(), token.into()));
    }

    /// Sends a request and waits for its answer; events meanwhile are kept.
    pub fn call(
        &mut self,
        server: &mut Server,
        kind: u32,
        tx: u32,
        payload: &[u8],
    ) -> Result<Vec<u8>, String> {
        self.last_request += 1;
        let id = self.last_request;
        let length = u32::try_from(payload.len()).unwrap();
        let mut request: Vec<u8> = [kind, id, tx, length].into_iter().flat_map(u32::to_le_bytes).collect();
        request.extend_from_slice(payload);
        let mut rest = &request[..];
        loop {
            rest = &rest[self.put(&rest[..rest.len().min(self.piece)])..];
            let served = self.serve(server);
            assert_eq!(served.effect, None);
            self.get();
            while let Some(message) = self.message() {
                if message.kind == XsMessage::WatchEvent.get() {
                    assert_eq!((message.req_id, message.tx_id), (0, 0));
                    self.event(&message);
                    continue;
                }
                assert_eq!((message.req_id, message.tx_id), (id, tx), "{message:?}");
                return answer(kind, message);
            }
            assert!(served.notify || !rest.is_empty(), "no answer comes");
        }
    }

    /// As [`call`](Self::call), for requests and answers that are text.
    pub fn text(
        &mut self,
        server: &mut Server,
        kind: XsMessage,
        tx: u32,
        payload: &str,
    ) -> Result<String, String> {
        let answer = self.call(server, kind.get(), tx, payload.as_bytes())?;
        Ok(String::from_utf8(answer).unwrap())
    }

    pub fn read(&mut self, server: &mut Server, tx: u32, path: &str) -> Result<String, String> {
        self.text(server, XsMessage::Read, tx, &format!("{path}\0"))
    }

    pub fn write(&mut self, server: &mut Server, tx: u32, path: &str, value: &str) -> Result<(), String> {
        done(self.text(server, XsMessage::Write, tx, &format!("{path}\0{value}")))
    }

    pub fn mkdir(&mut self, server: &mut Server, tx: u32, path: &str) -> Result<(), String> {
        done(self.text(server, XsMessage::Mkdir, tx, &format!("{path}\0")))
    }

    pub fn rm(&mut self, server: &mut Server, tx: u32, path: &str) -> Result<(), String> {
        done(self.text(server, XsMessage::Rm, tx, &format!("{path}\0")))
    }

    pub fn directory(&mut self, server: &mut Server, tx: u32, path: &str) -> Result<Vec<String>, String> {
        let names = self.text(server, XsMessage::Directory, tx, &format!("{path}\0"))?;
        Ok(names.split_terminator('\0').map(String::from).collect())
    }

    pub fn permissions(&mut self, server: &mut Server, path: &str) -> Result<String, String> {
        let entries = self.text(server, XsMessage::GetPerms, 0, &format!("{path}\0"))?;
        Ok(entries.trim_end_matches('\0').replace('\0', " "))
    }

    pub fn set_permissions(&mut self, server: &mut Server, path: &str, entries: &str) -> Result<(), String> {
        let payload = format!("{path}\0{}\0", entries.replace(' ', "\0"));
        done(self.text(server, XsMessage::SetPerms, 0, &payload))
    }

    pub fn watch(&mut self, server: &mut Server, path: &str, token: &str) -> Result<(), String> {
        done(self.text(server, XsMessage::Watch, 0, &format!("{path}\0{token}\0")))
    }

    pub fn unwatch(&mut self, server: &mut Server, path: &str, token: &str) -> Result<(), String> {
        done(self.text(server, XsMessage::Unwatch, 0, &format!("{path}\0{token}\0")))
    }

    /// Opens a transaction.
    pub fn start(&mut self, server: &mut Server) -> Result<u32, String> {
        let id = self.text(server, XsMessage::TransactionStart, 0, "\0")?;
        Ok(id.strip_suffix('\0').unwrap().parse().unwrap())
    }

    pub fn end(&mut self, server: &mut Server, tx: u32, commit: bool) -> Result<(), String> {
        done(self.text(server, XsMessage::TransactionEnd, tx, if commit { "T\0" } else { "F\0" }))
    }
}

fn answer(kind: u32, message: Message) -> Result<Vec<u8>, String> {
    if message.kind == XsMessage::Error.get() {
        let name = String::from_utf8(message.payload).unwrap();
        return Err(name.strip_suffix('\0').unwrap().into());
    }
    assert_eq!(message.kind, kind);
    Ok(message.payload)
}

fn done(answer: Result<String, String>) -> Result<(), String> {
    assert_eq!(answer?, "OK\0");
    Ok(())
}

/// A server with the directories of some domains, as the toolstack makes them: the domain
/// may read its own, and owns `data` and `device/vbd/51712` in it.
pub fn server_with(domains: &[u16]) -> (Server, Vec<Guest>) {
    let mut server = Server::default();
    for domain in domains {
        furnish(&mut server, *domain);
    }
    let guests = domains.iter().map(|domain| Guest::new(&mut server, *domain)).collect();
    (server, guests)
}

/// Makes the directory of a domain.
pub fn furnish(server: &mut Server, domain: u16) {
    use xen_store::Permissions;
    let home = format!("/local/domain/{domain}");
    let made = server.transaction(|store| {
        store.mkdir(&home)?;
        store.set_permissions(&home, Permissions::readable_by(0, domain))?;
        store.write(&format!("{home}/domid"), domain.to_string().as_bytes())?;
        store.write(&format!("{home}/name"), b"guest")?;
        for own in ["data", "control", "device/vbd/51712"] {
            store.mkdir(&format!("{home}/{own}"))?;
            store.set_permissions(&format!("{home}/{own}"), Permissions::private(domain))?;
        }
        Ok(())
    });
    made.unwrap();
}
