//! What a command works with: the toolstack, the terminal, and what was typed ahead.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;

use futures_lite::future;

use crate::terminal::Terminal;

/// Ctrl-C.
pub(crate) const INTERRUPT: u8 = 0x03;

/// Most bytes that are kept of what is typed while a command runs.
const MAX_AHEAD: usize = 4096;

/// What a command works with.
pub(crate) struct Context<'c, T, M> {
    /// The toolstack.
    pub(crate) tools: &'c T,
    /// Where the command's text goes.
    pub(crate) terminal: &'c mut M,
    /// Bytes that were typed while a command waited for something else.
    pub(crate) ahead: &'c mut VecDeque<u8>,
}

impl<T, M: Terminal> Context<'_, T, M> {
    /// Shows bytes as they are: what orders the screen, and what a domain's console shows.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.terminal.write(bytes);
    }

    /// Shows text of whole lines.
    pub(crate) fn show(&mut self, text: &str) {
        self.terminal.write(printable(text).as_bytes());
    }

    /// Shows a line.
    pub(crate) fn say(&mut self, line: impl fmt::Display) {
        self.show(&alloc::format!("{line}\n"));
    }

    /// Waits for a byte.
    pub(crate) async fn read(&mut self) -> u8 {
        match self.ahead.pop_front() {
            Some(byte) => byte,
            None => self.terminal.read().await,
        }
    }

    /// Waits for a byte, at most `ms` milliseconds.
    pub(crate) async fn read_for(&mut self, ms: u64) -> Option<u8> {
        match self.ahead.pop_front() {
            Some(byte) => Some(byte),
            None => self.terminal.read_for(ms).await,
        }
    }

    /// Waits until `work` is done; `None` when Ctrl-C is typed before. What else is typed is
    /// kept for later.
    pub(crate) async fn unless_interrupted<R>(&mut self, work: impl Future<Output = R>) -> Option<R> {
        future::or(async { Some(work.await) }, self.interrupt()).await
    }

    /// Keeps bytes for later that were typed while a command waited, before those that came since.
    pub(crate) fn keep(&mut self, typed: VecDeque<u8>) {
        let room = MAX_AHEAD.saturating_sub(self.ahead.len());
        typed.into_iter().take(room).rev().for_each(|byte| self.ahead.push_front(byte));
    }

    async fn interrupt<R>(&mut self) -> Option<R> {
        loop {
            match self.terminal.read().await {
                INTERRUPT => return None,
                byte if self.ahead.len() < MAX_AHEAD => self.ahead.push_back(byte),
                _ => {}
            }
        }
    }
}

/// Text that orders nothing of the screen. Names and paths may come from a guest, and a terminal
/// obeys control characters.
pub(crate) fn printable(text: &str) -> String {
    let order = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.chars().map(|c| if order(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_orders_nothing() {
        assert_eq!(printable("a\tb\n\x1b[2Jc\r\x07\x7f\u{9b}é"), "a\tb\n?[2Jc????é");
    }
}
