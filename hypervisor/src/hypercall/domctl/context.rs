//! State of the vcpus as save records ([`crate::context`]).

use alloc::vec::Vec;

use xen_abi::domctl::{HvmContext, HvmContextPartial};
use xen_abi::errno::Errno;

use super::{DONE, Request};
use crate::context::{self, Failure};
use crate::hypercall::Reply;

/// Most bytes of records that are taken.
const MOST: usize = 1 << 20;

/// `gethvmcontext`
///
/// | | |
/// |---|---|
/// | In | a buffer and its size, or no buffer |
/// | Out | the records and their size, or the largest size that they can have |
/// | Errors | `EINVAL` for the caller's own domain; `ENOSPC`; `EFAULT` |
pub fn get(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<HvmContext>();
    request.while_stopped(|| {
        let size = context::size(&request.domain);
        if argument.buffer.is_null() {
            argument.size = u32::try_from(size).unwrap_or(u32::MAX);
            return request.answer(&argument);
        }
        if usize::try_from(argument.size).is_ok_and(|room| room < size) {
            return Err(Errno::ENOSPC);
        }
        let records = match context::save(&request.domain) {
            Ok(records) => records,
            Err(failure) => return refuse(request, failure),
        };
        request.write_bytes(argument.buffer, &records)?;
        argument.size = u32::try_from(records.len()).unwrap_or(u32::MAX);
        request.answer(&argument)
    })
}

/// `gethvmcontext_partial`: one record without its head.
///
/// | | |
/// |---|---|
/// | In | type, vcpu; a buffer and its size, or no buffer |
/// | Out | the record and its size, or the size |
/// | Errors | `EINVAL` for a type that is not saved, or the caller's own domain; `ENOENT` for no such vcpu, or one that is down; `ENOBUFS`; `EFAULT` |
pub fn get_one(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<HvmContextPartial>();
    request.while_stopped(|| {
        let record = match context::save_one(&request.domain, argument.kind, argument.instance) {
            Ok(record) => record,
            Err(failure) => return refuse(request, failure),
        };
        if !argument.buffer.is_null() {
            if argument.bufsz < record.len() as u64 {
                return Err(Errno::ENOBUFS);
            }
            request.write_bytes(argument.buffer, &record)?;
        }
        argument.bufsz = record.len() as u64;
        request.answer(&argument)
    })
}

/// `sethvmcontext`: sets the vcpus' state, and brings those up of which there is a CPU
/// record.
///
/// | | |
/// |---|---|
/// | In | the records and their size |
/// | Errors | `EINVAL` for the caller's own domain, for a record that is wrong, or of a vcpu or device that the domain does not have; `ENODATA` without header or end; `ENOMEM` for more than 1 MiB; `EFAULT` |
pub fn set(request: &Request<'_, '_, '_>) -> Reply {
    let argument = request.view::<HvmContext>();
    request.check_other_domain()?;
    let size = usize::try_from(argument.size).ok().filter(|&size| size <= MOST).ok_or(Errno::ENOMEM)?;
    let mut records = Vec::new();
    records.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    records.resize(size, 0);
    request.read_bytes(argument.buffer, &mut records)?;
    request.while_stopped(|| match context::load(&request.domain, &records) {
        Ok(()) => DONE,
        Err(failure) => refuse(request, failure),
    })
}

fn refuse(request: &Request<'_, '_, '_>, failure: Failure) -> Reply {
    match failure {
        Failure::Busy => request.again(),
        Failure::Refused(error) => Err(error),
    }
}
