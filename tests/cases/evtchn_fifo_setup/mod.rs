//! The FIFO interface is set up step by step; what does not fit is refused.

use xen_abi::errno::Errno;
use xen_abi::xen::DOMID_SELF;

use crate::evtchn;
use crate::fifo::Page;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-fifo-setup",
    description: "The FIFO interface is set up step by step; what does not fit is refused.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(2), run),
};

/// No memory is there.
const HOLE: u64 = 0x80_0000;
/// Pages of event words at most.
const PAGES: usize = 128;

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    let (control, words) = (Page::new(), Page::new());
    let port = evtchn::bind_ipi(0)?;
    ensure_eq!(
        evtchn::expand_array(words.frame()),
        Err(Errno::EOPNOTSUPP),
        "event words without a control block"
    );
    ensure_eq!(evtchn::set_priority(port, 1), Err(Errno::ENOSYS), "priority without queues");
    for (what, frame, offset, vcpu, errno) in [
        ("a block that is not aligned", control.frame(), 4, 0, Errno::EINVAL),
        ("a block that leaves its page", control.frame(), 4096 - 64, 0, Errno::EINVAL),
        ("an offset outside", control.frame(), 4096, 0, Errno::EINVAL),
        ("an offset far outside", control.frame(), 0xffff_fff8, 0, Errno::EINVAL),
        ("a frame without memory", HOLE, 0, 0, Errno::EINVAL),
        ("no frame", u64::MAX, 0, 0, Errno::EINVAL),
        ("a vcpu that is not there", control.frame(), 0, 2, Errno::ENOENT),
    ] {
        ensure_eq!(evtchn::init_control(frame, offset, vcpu), Err(errno), "{what}");
    }
    // Nothing has changed: this is the 2-level interface.
    evtchn::send(port)?;
    ensure!(evtchn::is_pending(port), "an event after what was refused");

    ensure_eq!(evtchn::init_control(control.frame(), 4096 - 72, 1), Ok(17), "the last block of a page");
    ensure_eq!(evtchn::init_control(control.frame(), 0, 0), Ok(17), "another one in the same page");
    ensure_eq!(evtchn::init_control(control.frame(), 512, 0), Err(Errno::EINVAL), "a second one of a vcpu");
    ensure_eq!(evtchn::expand_array(HOLE), Err(Errno::EINVAL), "words without memory");
    for page in 0..PAGES {
        ensure_eq!(evtchn::expand_array(words.frame()), Ok(()), "page {page} of event words");
    }
    ensure_eq!(evtchn::expand_array(words.frame()), Err(Errno::ENOSPC), "one page too many");
    for priority in [0, 7, 15] {
        ensure_eq!(evtchn::set_priority(port, priority), Ok(()), "priority {priority}");
    }
    for (what, port, priority, errno) in [
        ("no priority", port, 16, Errno::EINVAL),
        ("no priority at all", port, u32::MAX, Errno::EINVAL),
        ("a port that never was", 60_000, 0, Errno::EINVAL),
        ("a free port", port + 1, 0, Errno::EACCES),
    ] {
        ensure_eq!(evtchn::set_priority(port, priority), Err(errno), "{what}");
    }
    // The pages are this domain's again, and 2-level it is.
    evtchn::reset(DOMID_SELF)?;
    evtchn::prepare()?;
    ensure_eq!(evtchn::expand_array(words.frame()), Err(Errno::EOPNOTSUPP), "event words after a reset");
    let port = evtchn::bind_ipi(0)?;
    evtchn::send(port)?;
    ensure!(evtchn::is_pending(port), "an event after a reset");
    Ok(())
}
