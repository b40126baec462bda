//! A copy of a page that is granted.

use guest_rt::measure;
use guest_rt::paging::Page;
use xen_abi::grant_table::{CopyFlags, GnttabCopy, GrantTableOp};
use xen_abi::xen::Hypercall;

use super::{FEW, Samples, expect};
use crate::controller::Controller;
use crate::grants::{self, OwnEntries, PERMIT};
use crate::verdict::Check;

const GREF: u32 = 9;
/// Dom0 grants to itself.
const OWN: u16 = 0;

pub(super) fn copy(_: &Controller) -> Check<Samples> {
    let entries = OwnEntries::new()?;
    let (mut from, to) = (Page::new(), Page::new());
    from.bytes_mut().fill(0xa5);
    entries.set(GREF, PERMIT, OWN, u32::try_from(from.frame()).unwrap_or(0))?;
    let (source, dest) = (grants::entry(OWN, GREF, 0), grants::frame(to.frame(), 0));
    let mut op = GnttabCopy {
        source,
        dest,
        len: 4096,
        flags: CopyFlags::SOURCE_GREF.bits(),
        status: i16::MAX,
        _pad: 0,
    };
    let arguments = [GrantTableOp::Copy as u64, (&raw mut op) as u64, 1];
    let samples = Samples::of(FEW, || measure::hypercall(Hypercall::GrantTableOp as u64, arguments));
    // What the hypervisor wrote is read past the compiler.
    let op = core::hint::black_box(&op);
    expect(op.status.into(), 0, "copy")?;
    ensure!(to.read(0)? == 0xa5 && to.read(4095)? == 0xa5, "the page was not copied");
    entries.set(GREF, 0, 0, 0)?;
    Ok(samples)
}
