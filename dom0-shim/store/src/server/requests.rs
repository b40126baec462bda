//! Requests of clients: from payload to operation to answer.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::io::xs_wire::{PAYLOAD_MAX, XsMessage, XsdSockmsg};
use xen_abi::xen::{DOMID_FIRST_RESERVED, DOMID_SELF};

use super::{ConnectionId, Effect, Introduction, Server};
use crate::path::{Path, domain_path};
use crate::permissions::{PRIVILEGED, Permissions};
use crate::transaction::Transaction;
use crate::view::View;
use crate::wire;

/// Number of the request that introduces a domain.
pub(super) const INTRODUCE: u32 = XsMessage::Introduce.get();
/// The answer to a request that needs none but that it was done.
pub(super) const OK: &[u8] = b"OK\0";

/// What comes of a request.
enum Outcome {
    /// The payload of the answer.
    Answer(Vec<u8>),
    /// The answer is queued already.
    Answered,
    /// Answer and effect.
    Both(Effect),
    /// The answer comes later.
    Later(Effect),
}

type Answer = Result<Outcome, Errno>;

pub(super) fn handle(
    server: &mut Server,
    connection: ConnectionId,
    request: &XsdSockmsg,
    payload: &[u8],
) -> Option<Effect> {
    let (answer, effect) = match dispatch(server, connection, request, payload) {
        Ok(Outcome::Answered) => return None,
        Ok(Outcome::Later(effect)) => return Some(effect),
        Ok(Outcome::Both(effect)) => (Ok(OK.to_vec()), Some(effect)),
        Ok(Outcome::Answer(payload)) => (Ok(payload), None),
        Err(error) => (Err(error), None),
    };
    server.answer(connection, request, answer);
    effect
}

fn dispatch(server: &mut Server, connection: ConnectionId, request: &XsdSockmsg, payload: &[u8]) -> Answer {
    let kind = XsMessage::new(request.kind).ok_or(Errno::ENOSYS)?;
    let caller = server.caller(connection)?;
    if is_for_privileged(kind) && !caller.is_privileged() {
        return Err(Errno::EACCES);
    }
    match kind {
        XsMessage::Watch => watch(server, connection, request, payload),
        XsMessage::Unwatch => unwatch(server, connection, payload),
        XsMessage::Control => control(payload),
        XsMessage::Introduce => introduce(connection, request, payload),
        XsMessage::Release => release(server, payload),
        XsMessage::Resume => resume(server, payload),
        XsMessage::SetTarget => set_target(server, payload),
        XsMessage::IsDomainIntroduced => is_domain_introduced(server, payload),
        XsMessage::GetDomainPath => text(domain_path(only_domain(payload)?)),
        XsMessage::WatchEvent | XsMessage::Error | XsMessage::Invalid => Err(Errno::ENOSYS),
        _ => in_transaction(server, connection, kind, request.tx_id, payload),
    }
}

fn is_for_privileged(kind: XsMessage) -> bool {
    matches!(
        kind,
        XsMessage::Control
            | XsMessage::Introduce
            | XsMessage::Release
            | XsMessage::Resume
            | XsMessage::SetTarget
            | XsMessage::IsDomainIntroduced
    )
}

/// The requests for which the header's transaction counts.
fn in_transaction(
    server: &mut Server,
    connection: ConnectionId,
    kind: XsMessage,
    id: u32,
    payload: &[u8],
) -> Answer {
    let known = server.connections.get(&connection).ok_or(Errno::ENOENT)?;
    if id != 0 && !known.transactions.contains_key(&id) {
        return Err(Errno::ENOENT);
    }
    match kind {
        XsMessage::TransactionStart => start(server, connection, id),
        XsMessage::TransactionEnd => end(server, connection, id, payload),
        XsMessage::ResetWatches => {
            server.forget_requests(connection);
            done()
        }
        _ => on_nodes(server, connection, kind, id, payload),
    }
}

fn on_nodes(
    server: &mut Server,
    connection: ConnectionId,
    kind: XsMessage,
    id: u32,
    payload: &[u8],
) -> Answer {
    let caller = server.caller(connection)?;
    let mut open = server.connections.get_mut(&connection).and_then(|known| known.transactions.remove(&id));
    let held = server.held(connection);
    let result = server.operate(caller, held, open.as_mut(), |view| operate(view, kind, payload));
    if let (Some(transaction), Some(known)) = (open, server.connections.get_mut(&connection)) {
        known.transactions.insert(id, transaction);
    }
    result.map(Outcome::Answer)
}

fn operate(view: &mut View<'_>, kind: XsMessage, payload: &[u8]) -> Result<Vec<u8>, Errno> {
    match kind {
        XsMessage::Read => view.read(only_text(payload)?).map(|value| value.to_vec()),
        XsMessage::Directory => directory(view, only_text(payload)?),
        XsMessage::DirectoryPart => directory_part(view, payload),
        XsMessage::GetPerms => view.permissions(only_text(payload)?).map(|found| found.encode().into_bytes()),
        XsMessage::Write => {
            let (path, value) = wire::string_and_rest(payload)?;
            view.write(wire::text(path)?, value).map(ok)
        }
        XsMessage::Mkdir => view.mkdir(only_text(payload)?).map(ok),
        XsMessage::Rm => view.rm(only_text(payload)?).map(ok),
        XsMessage::SetPerms => {
            let (path, entries) = wire::string_and_rest(payload)?;
            let permissions = Permissions::parse(wire::strings(entries))?;
            view.set_permissions(wire::text(path)?, permissions).map(ok)
        }
        _ => Err(Errno::ENOSYS),
    }
}

fn directory(view: &mut View<'_>, path: &str) -> Result<Vec<u8>, Errno> {
    Ok(view.readable(path)?.names())
}

/// The children's names from a byte of the list on, whole names, as many as fit; an empty
/// name behind the last one of all.
fn directory_part(view: &mut View<'_>, payload: &[u8]) -> Result<Vec<u8>, Errno> {
    let [path, offset] = wire::at_least(payload)?;
    let node = view.readable(wire::text(path)?)?;
    let offset: usize = wire::number(offset)?;
    let names = node.names();
    let left = names.get(offset..).unwrap_or_default();
    let mut answer = format!("{}\0", node.generation).into_bytes();
    let room = PAYLOAD_MAX.saturating_sub(answer.len()).saturating_sub(1);
    let mut taken = 0usize;
    for name in left.split_inclusive(|byte| *byte == 0) {
        if taken.saturating_add(name.len()) > room {
            break;
        }
        taken = taken.saturating_add(name.len());
        answer.extend_from_slice(name);
    }
    if taken == left.len() {
        answer.push(0);
    }
    Ok(answer)
}

fn start(server: &mut Server, connection: ConnectionId, id: u32) -> Answer {
    let caller = server.caller(connection)?;
    let limit = if caller.is_privileged() { usize::MAX } else { server.quota.transactions };
    let known = server.connections.get_mut(&connection).ok_or(Errno::ENOENT)?;
    if id != 0 {
        return Err(Errno::EBUSY);
    }
    if known.transactions.len() >= limit {
        return Err(Errno::ENOSPC);
    }
    loop {
        known.last_transaction = known.last_transaction.wrapping_add(1).max(1);
        if !known.transactions.contains_key(&known.last_transaction) {
            break;
        }
    }
    known.transactions.insert(known.last_transaction, Transaction::default());
    text(known.last_transaction.to_string())
}

fn end(server: &mut Server, connection: ConnectionId, id: u32, payload: &[u8]) -> Answer {
    let commit = match wire::only_string(payload)? {
        b"T" => true,
        b"F" => false,
        _ => return Err(Errno::EINVAL),
    };
    let caller = server.caller(connection)?;
    let known = server.connections.get_mut(&connection).ok_or(Errno::ENOENT)?;
    let transaction = known.transactions.remove(&id).ok_or(Errno::ENOENT)?;
    if commit {
        server.commit(caller, transaction)?;
    }
    done()
}

/// `WATCH path token`: strings behind them are for features that the server does not offer.
fn watch(server: &mut Server, connection: ConnectionId, request: &XsdSockmsg, payload: &[u8]) -> Answer {
    let (path, token, relative) = watched(server, connection, payload)?;
    let message = wire::message(XsMessage::Watch, request, OK)?;
    server.watch(connection, &path, token, relative, Some(message))?;
    Ok(Outcome::Answered)
}

fn unwatch(server: &mut Server, connection: ConnectionId, payload: &[u8]) -> Answer {
    let (path, token, _) = watched(server, connection, payload)?;
    server.watches.remove(connection, &path, token)?;
    done()
}

fn watched<'a>(
    server: &Server,
    connection: ConnectionId,
    payload: &'a [u8],
) -> Result<(Path, &'a [u8], bool), Errno> {
    let [path, token] = wire::at_least(payload)?;
    let domain = server.domain_of(connection).ok_or(Errno::ENOENT)?;
    let relative = !path.starts_with(b"/") && !path.starts_with(b"@");
    Ok((Path::parse_special(wire::text(path)?, domain)?, token, relative))
}

/// Commands to the server itself: it has none but the one that says so.
fn control(payload: &[u8]) -> Answer {
    match wire::string_and_rest(payload)?.0 {
        b"help" => text(String::from("Supported commands:\n\thelp\n")),
        _ => Err(Errno::EINVAL),
    }
}

/// `INTRODUCE domain frame port`
fn introduce(connection: ConnectionId, request: &XsdSockmsg, payload: &[u8]) -> Answer {
    let [domain, frame, port] = wire::at_least(payload)?;
    let domain = served_domain(domain)?;
    let port = wire::number(port)?;
    let introduction = Introduction {
        domain,
        frame: wire::number(frame)?,
        port,
        connection,
        request: (request.req_id, request.tx_id),
    };
    if port == 0 { Err(Errno::EINVAL) } else { Ok(Outcome::Later(Effect::Introduce(introduction))) }
}

fn release(server: &mut Server, payload: &[u8]) -> Answer {
    let domain = introduced(server, wire::only_string(payload)?)?;
    server.release(domain);
    Ok(Outcome::Both(Effect::Release(domain)))
}

fn resume(server: &mut Server, payload: &[u8]) -> Answer {
    let domain = introduced(server, wire::only_string(payload)?)?;
    server.resumed(domain);
    done()
}

/// `SET_TARGET domain target`
fn set_target(server: &mut Server, payload: &[u8]) -> Answer {
    let [domain, target] = wire::at_least(payload)?;
    let (domain, target) = (introduced(server, domain)?, introduced(server, target)?);
    if let Some(known) = server.domains.get_mut(&domain) {
        known.target = Some(target);
    }
    done()
}

fn is_domain_introduced(server: &Server, payload: &[u8]) -> Answer {
    let domain = only_domain(payload)?;
    let introduced = domain == DOMID_SELF || server.is_introduced(domain);
    text(String::from(if introduced { "T" } else { "F" }))
}

/// A domain that requests may introduce and release: not domain 0, nor a special id.
fn served_domain(digits: &[u8]) -> Result<RawDomid, Errno> {
    let domain = wire::number(digits)?;
    if domain == PRIVILEGED || domain >= DOMID_FIRST_RESERVED { Err(Errno::EINVAL) } else { Ok(domain) }
}

/// A domain that is served.
fn introduced(server: &Server, digits: &[u8]) -> Result<RawDomid, Errno> {
    let domain = served_domain(digits)?;
    if server.is_introduced(domain) { Ok(domain) } else { Err(Errno::ENOENT) }
}

fn only_domain(payload: &[u8]) -> Result<RawDomid, Errno> {
    wire::number(wire::only_string(payload)?)
}

fn only_text(payload: &[u8]) -> Result<&str, Errno> {
    wire::text(wire::only_string(payload)?)
}

fn text(mut text: String) -> Answer {
    text.push('\0');
    Ok(Outcome::Answer(text.into_bytes()))
}

fn done() -> Answer {
    Ok(Outcome::Answer(OK.to_vec()))
}

fn ok(_: ()) -> Vec<u8> {
    OK.to_vec()
}
