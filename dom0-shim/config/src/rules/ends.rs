//! What follows when a domain ends (CFG-17, LIF-26).

use alloc::format;

use super::reader::Reader;
use crate::domain::Action;

const NAMES: &str = "destroy, restart, rename-restart, preserve, coredump-destroy or coredump-restart";

pub fn on_poweroff(reader: &mut Reader<'_>) -> Action {
    action(reader, "on_poweroff").unwrap_or(Action::Destroy)
}

pub fn on_reboot(reader: &mut Reader<'_>) -> Action {
    action(reader, "on_reboot").unwrap_or(Action::Restart)
}

pub fn on_crash(reader: &mut Reader<'_>) -> Action {
    action(reader, "on_crash").unwrap_or(Action::Destroy)
}

pub fn on_watchdog(reader: &mut Reader<'_>) -> Action {
    action(reader, "on_watchdog").unwrap_or(Action::Destroy)
}

fn action(reader: &mut Reader<'_>, name: &str) -> Option<Action> {
    let (text, span) = reader.text(name)?;
    let known = Action::ALL.into_iter().find(|action| action.name() == text);
    if known.is_none() {
        reader.report.error(span, format!("expected {NAMES} for `{name}`, found \"{text}\""));
    }
    known
}
