//! What the console has to tell: of input, the hypervisor's keys and Dom0; of the log, Dom0.
//!
//! Interrupt handlers and those who print only note it: here no lock is held, so Dom0's vcpus can be told.

use hv_core::console_input::{DOM0_BYTES, Focus, Notices};
use xen_abi::xen::Virq;

use crate::{console, event, keys};

/// Passes on what was typed.
pub fn serve() {
    if !console::has_notices() {
        return;
    }
    let notices = console::take_notices();
    if notices.contains(Notices::SWITCHED) {
        say_focus();
    }
    while let Some(key) = console::key() {
        keys::handle(key);
    }
    if notices.contains(Notices::LOST) {
        match console::focus().0 {
            Focus::Dom0 => log::warn!(
                "Serial input: Dom0 does not read it; it keeps {DOM0_BYTES} bytes, what comes now is lost"
            ),
            Focus::Hypervisor => log::warn!("Serial input: too many keys at once; some are lost"),
        }
    }
    if notices.contains(Notices::DOM0_BYTES) {
        event::raise_global(Virq::Console);
    }
}

/// At the level of errors, as what keys answer: `loglvl=` does not hide it.
fn say_focus() {
    if let (focus, Some(key)) = console::focus() {
        log::error!("*** Serial input to {focus} (type 'CTRL-{key}' three times to switch input)");
    }
}

/// Tells Dom0 of new text in the log; once for all that has come since the last time.
pub fn tell_of_log() {
    if console::take_ring_grew() {
        event::raise_global(Virq::ConRing);
    }
}
