//! Answers and events on their way to one client.
//!
//! Events are bounded although others cause them: one that is still waiting is not queued
//! again, and a client that leaves many lying is told only which watch has news, once for
//! each. That is an event it may get anyway (events may be spurious), and no news is lost.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use xen_abi::io::xs_wire::{PAYLOAD_MAX, XsMessage, XsdSockmsg};

use crate::wire;

/// A watch fired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// What changed, relative if the watch was.
    pub path: Arc<str>,
    /// The watch's token.
    pub token: Arc<[u8]>,
}

impl Event {
    fn payload_bytes(&self) -> usize {
        self.path.len().saturating_add(self.token.len()).saturating_add(2)
    }

    /// The event as a message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let payload = [self.path.as_bytes(), b"\0", &self.token, b"\0"].concat();
        let unasked = XsdSockmsg { kind: 0, req_id: 0, tx_id: 0, len: 0 };
        // `Output` lets no event in that is too long.
        wire::message(XsMessage::WatchEvent, &unasked, &payload).unwrap_or_default()
    }
}

/// One thing to send.
enum Item {
    Answer(Vec<u8>),
    /// Of a new watch, behind its answer.
    First(Event),
    Event(Event),
}

/// What a client has not taken yet.
#[derive(Default)]
pub(crate) struct Output {
    items: VecDeque<Item>,
    waiting: BTreeSet<Event>,
    /// Bytes of the events in `waiting`.
    bytes: usize,
    /// Answers among `items`.
    answers: usize,
}

impl Output {
    pub(crate) fn answer(&mut self, message: Vec<u8>) {
        self.answers = self.answers.saturating_add(1);
        self.items.push_back(Item::Answer(message));
    }

    /// The event by which a new watch begins.
    pub(crate) fn first(&mut self, event: Event) {
        if event.payload_bytes() <= PAYLOAD_MAX {
            self.items.push_back(Item::First(event));
        }
    }

    /// An event, or `instead` where it is too long or more than `limit` bytes wait already.
    pub(crate) fn event(&mut self, event: Event, limit: usize, instead: impl FnOnce() -> Event) {
        let bytes = event.payload_bytes();
        let room = bytes <= PAYLOAD_MAX && self.bytes.saturating_add(bytes) <= limit;
        let event = if room { event } else { instead() };
        let bytes = event.payload_bytes();
        if bytes <= PAYLOAD_MAX && self.waiting.insert(event.clone()) {
            self.bytes = self.bytes.saturating_add(bytes);
            self.items.push_back(Item::Event(event));
        }
    }

    /// Number of answers that wait.
    pub(crate) fn answers(&self) -> usize {
        self.answers
    }

    /// Number of messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// The next message.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        Some(match self.items.pop_front()? {
            Item::Answer(message) => {
                self.answers = self.answers.saturating_sub(1);
                message
            }
            Item::First(event) => event.encode(),
            Item::Event(event) => {
                self.forget(&event);
                event.encode()
            }
        })
    }

    /// The next event of a client that gets no answers.
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        loop {
            match self.items.pop_front()? {
                Item::Answer(_) => self.answers = self.answers.saturating_sub(1),
                Item::First(event) => return Some(event),
                Item::Event(event) => {
                    self.forget(&event);
                    return Some(event);
                }
            }
        }
    }

    fn forget(&mut self, event: &Event) {
        if self.waiting.remove(event) {
            self.bytes = self.bytes.saturating_sub(event.payload_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn event(path: &str) -> Event {
        Event { path: Arc::from(path), token: Arc::from(&b"t"[..]) }
    }

    fn paths(output: &mut Output) -> Vec<Arc<str>> {
        core::iter::from_fn(|| output.take_event()).map(|event| event.path).collect()
    }

    #[test]
    fn a_waiting_event_is_not_queued_again() {
        let mut output = Output::default();
        output.event(event("/a"), 100, || event("/"));
        output.event(event("/b"), 100, || event("/"));
        output.event(event("/a"), 100, || event("/"));
        assert_eq!(paths(&mut output), [Arc::from("/a"), Arc::from("/b")]);
        output.event(event("/a"), 100, || event("/"));
        assert_eq!(output.len(), 1, "what was taken may come again");
    }

    #[test]
    fn many_events_become_one_of_the_watch() {
        let mut output = Output::default();
        for number in 0..1000 {
            output.event(event(&format!("/a/{number}")), 60, || event("/a"));
        }
        let paths = paths(&mut output);
        assert!(paths.len() < 10, "{paths:?}");
        assert_eq!(&**paths.last().unwrap(), "/a");
        assert_eq!(output.bytes, 0);
    }

    #[test]
    fn an_event_too_long_for_a_message_names_the_watch() {
        let mut output = Output::default();
        output.event(event(&"a".repeat(PAYLOAD_MAX)), usize::MAX, || event("/a"));
        assert_eq!(paths(&mut output), [Arc::from("/a")]);
    }
}
