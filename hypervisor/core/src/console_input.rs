//! What is typed at the serial ports: who gets it, and the key that switches.
//!
//! ```text
//!   byte ──switch key three times?──> focus ──> keys of the hypervisor
//!                                           └─> bytes that Dom0 reads by `console_io`
//! ```
//!
//! The rules are those of Xen (`xen/drivers/char/console.c`; `conswitch` in
//! `docs/misc/xen-command-line.pandoc`): the switch key is eaten three at a time, fewer of them are input
//! like any other.

use core::fmt;

use arrayvec::ArrayVec;
use bitflags::bitflags;

use crate::cmdline::ConSwitch;

/// Keys that the hypervisor has not acted on yet.
const KEYS: usize = 64;
/// Bytes that Dom0 has not read yet.
pub const DOM0_BYTES: usize = 1024;
/// How often the switch key is pressed.
const PRESSES: u8 = 3;

/// Who gets what is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Focus {
    /// The hypervisor's keys.
    Hypervisor,
    /// Dom0.
    Dom0,
}

impl fmt::Display for Focus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hypervisor => "Xen",
            Self::Dom0 => "DOM0",
        })
    }
}

bitflags! {
    /// What somebody has to be told.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Notices: u8 {
        /// The hypervisor has keys to act on.
        const KEYS = 1 << 0;
        /// Dom0 has bytes to read.
        const DOM0_BYTES = 1 << 1;
        /// Input goes to somebody else than before.
        const SWITCHED = 1 << 2;
        /// Input was lost, for the first time since there was room.
        const LOST = 1 << 3;
    }
}

/// Input of all serial ports.
#[derive(Debug)]
pub struct Input {
    /// None before Dom0 boots: there is nobody to switch to.
    switch: Option<ConSwitch>,
    focus: Focus,
    presses: u8,
    keys: ArrayVec<u8, KEYS>,
    dom0: ArrayVec<u8, DOM0_BYTES>,
    /// Whether something was lost since Dom0, or the hypervisor, has last taken something.
    losing: bool,
    notices: Notices,
}

impl Input {
    /// Nothing typed yet; what comes is for the hypervisor.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            switch: None,
            focus: Focus::Hypervisor,
            presses: 0,
            keys: ArrayVec::new_const(),
            dom0: ArrayVec::new_const(),
            losing: false,
            notices: Notices::empty(),
        }
    }

    /// Dom0 boots: from now on input can be switched, and goes where `conswitch=` says.
    pub fn dom0_boots(&mut self, switch: ConSwitch) {
        self.switch = Some(switch);
        self.focus = if switch.to_dom0_at_boot { Focus::Dom0 } else { Focus::Hypervisor };
        self.notices |= Notices::SWITCHED;
    }

    /// Who gets what is typed, and the letter that is pressed with CTRL to change that.
    #[must_use]
    pub fn focus(&self) -> (Focus, Option<char>) {
        (self.focus, self.switch.map(ConSwitch::key))
    }

    /// A byte has come.
    pub fn receive(&mut self, byte: u8) {
        let code = self.switch.map(ConSwitch::control_code);
        if code == Some(byte) {
            self.presses += 1;
            if self.presses == PRESSES {
                self.presses = 0;
                self.switch_focus();
            }
            return;
        }
        if let Some(code) = code {
            (0..core::mem::take(&mut self.presses)).for_each(|_| self.put(code));
        }
        self.put(byte);
    }

    fn switch_focus(&mut self) {
        self.focus = match self.focus {
            Focus::Hypervisor => Focus::Dom0,
            Focus::Dom0 => Focus::Hypervisor,
        };
        self.notices |= Notices::SWITCHED;
    }

    fn put(&mut self, byte: u8) {
        let (stored, notice) = match self.focus {
            Focus::Hypervisor => (self.keys.try_push(byte).is_ok(), Notices::KEYS),
            Focus::Dom0 => (self.dom0.try_push(byte).is_ok(), Notices::DOM0_BYTES),
        };
        self.notices |= notice;
        if !stored && !self.losing {
            self.losing = true;
            self.notices |= Notices::LOST;
        }
    }

    /// Whether somebody has to be told something.
    #[must_use]
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Takes what somebody has to be told.
    pub fn take_notices(&mut self) -> Notices {
        core::mem::replace(&mut self.notices, Notices::empty())
    }

    /// The hypervisor's next key.
    pub fn key(&mut self) -> Option<u8> {
        let key = self.keys.pop_at(0);
        self.losing &= key.is_none();
        key
    }

    /// Moves bytes for Dom0 to `out`; returns how many.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let count = self.dom0.len().min(out.len());
        for (to, byte) in out.iter_mut().zip(self.dom0.drain(..count)) {
            *to = byte;
        }
        self.losing &= count == 0;
        count
    }

    /// Takes back bytes that [`Input::read`] returned and that did not reach Dom0. If that many have come
    /// meanwhile that there is no room, the last of them are lost.
    pub fn give_back(&mut self, bytes: &[u8]) {
        for &byte in bytes.iter().rev().take(DOM0_BYTES) {
            if self.dom0.is_full() {
                self.dom0.pop();
            }
            self.dom0.insert(0, byte);
        }
    }
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn with_dom0() -> Input {
        let mut input = Input::new();
        input.dom0_boots(ConSwitch::DEFAULT);
        input.take_notices();
        input
    }

    fn type_in(input: &mut Input, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| input.receive(byte));
    }

    fn keys(input: &mut Input) -> Vec<u8> {
        core::iter::from_fn(|| input.key()).collect()
    }

    fn read(input: &mut Input) -> Vec<u8> {
        let mut out = [0; 2 * DOM0_BYTES];
        let count = input.read(&mut out);
        out[..count].to_vec()
    }

    #[test]
    fn before_dom0_boots_all_is_for_the_hypervisor() {
        let mut input = Input::new();
        type_in(&mut input, b"h\x01\x01\x01m");
        assert_eq!((input.focus(), input.take_notices()), ((Focus::Hypervisor, None), Notices::KEYS));
        assert_eq!(keys(&mut input), b"h\x01\x01\x01m");
        assert_eq!(read(&mut input), b"");
    }

    #[test]
    fn dom0_gets_input_when_it_boots_unless_the_option_says_otherwise() {
        let mut input = Input::new();
        input.dom0_boots(ConSwitch::DEFAULT);
        assert_eq!((input.focus(), input.take_notices()), ((Focus::Dom0, Some('a')), Notices::SWITCHED));
        type_in(&mut input, b"ls\r");
        assert_eq!((input.take_notices(), read(&mut input)), (Notices::DOM0_BYTES, b"ls\r".to_vec()));
        let mut kept = Input::new();
        let mut switch = ConSwitch::DEFAULT;
        switch.to_dom0_at_boot = false;
        kept.dom0_boots(switch);
        assert_eq!((kept.focus().0, kept.take_notices()), (Focus::Hypervisor, Notices::SWITCHED));
    }

    #[test]
    fn the_switch_key_three_times_changes_the_focus_and_is_eaten() {
        let mut input = with_dom0();
        type_in(&mut input, b"a\x01\x01\x01h\x01\x01\x01b");
        assert_eq!((keys(&mut input), read(&mut input)), (b"h".to_vec(), b"ab".to_vec()));
        assert_eq!(input.focus().0, Focus::Dom0);
        type_in(&mut input, b"\x01\x01\x01\x01\x01\x01");
        assert_eq!(input.focus().0, Focus::Dom0);
        assert_eq!(input.take_notices(), Notices::KEYS | Notices::DOM0_BYTES | Notices::SWITCHED);
    }

    #[test]
    fn fewer_presses_are_input() {
        let mut input = with_dom0();
        type_in(&mut input, b"\x01x\x01\x01y\x01");
        assert_eq!(read(&mut input), b"\x01x\x01\x01y");
        type_in(&mut input, b"\x01\x01");
        assert_eq!((read(&mut input), input.focus().0), (Vec::new(), Focus::Hypervisor));
    }

    #[test]
    fn a_full_buffer_is_told_once_until_it_is_read() {
        let mut input = with_dom0();
        type_in(&mut input, &[b'x'; DOM0_BYTES]);
        assert_eq!(input.take_notices(), Notices::DOM0_BYTES);
        type_in(&mut input, b"y");
        assert!(input.take_notices().contains(Notices::LOST));
        type_in(&mut input, b"yy");
        assert!(!input.take_notices().contains(Notices::LOST));
        assert_eq!(read(&mut input), [b'x'; DOM0_BYTES]);
        type_in(&mut input, &[b'z'; DOM0_BYTES + 1]);
        assert!(input.take_notices().contains(Notices::LOST));
    }

    #[test]
    fn what_did_not_reach_dom0_comes_again_before_what_came_later() {
        let mut input = with_dom0();
        type_in(&mut input, b"abc");
        let mut out = [0; 2];
        assert_eq!(input.read(&mut out), 2);
        input.give_back(&out);
        assert_eq!(read(&mut input), b"abc");
        type_in(&mut input, &[b'z'; DOM0_BYTES]);
        input.give_back(b"ab");
        let all = read(&mut input);
        assert_eq!((all.len(), &all[..3]), (DOM0_BYTES, b"abz".as_slice()));
    }
}
