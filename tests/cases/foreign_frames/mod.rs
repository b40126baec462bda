//! Frames of another domain stay what they are while they are mapped, even past its end.

use xen_abi::errno::Errno;
use xen_control::Error;

use crate::controller::Controller;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "foreign-frames",
    description: "Frames of another domain stay what they are while they are mapped, even past its end.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Control(control, run),
};

/// A frame that the domain has.
const FRAME: u64 = 0x400;
/// One that it has not.
const HOLE: u64 = 0x80_0000;
const COUNT: u64 = 64;
const TEXT: &[u8] = b"what the domain had";

fn control(controller: &Controller) -> Check {
    let window = controller.window()?;
    let domain = controller.spawn("foreign-frames", "", Shape::SMALL)?;
    for (what, id, frame, errno) in [
        ("a hole", domain.id(), HOLE, Errno::EINVAL),
        ("a frame beyond all", domain.id(), 1 << 60, Errno::EINVAL),
        ("Dom0 itself", 0, FRAME, Errno::EINVAL),
        ("no domain", 0x7fef, FRAME, Errno::ESRCH),
        ("no number of a domain", 0xffff, FRAME, Errno::ESRCH),
    ] {
        match window.map(id, &[frame]) {
            Err(Error::Refused(_, found)) => ensure_eq!(found, errno, "{what}"),
            Err(other) => fail!("{what}: {other}"),
            Ok(_) => fail!("{what} was mapped"),
        }
    }
    let frames: alloc::vec::Vec<u64> = (FRAME..FRAME + COUNT).collect();
    let mapping = window.map(domain.id(), &frames)?;
    let last = (COUNT - 1) * 4096;
    mapping.write(last, TEXT)?;
    domain.destroy()?;
    // Others take what is free.
    let next = controller.spawn("foreign-frames", "", Shape::SMALL)?;
    let mut text = [0; TEXT.len()];
    mapping.read(last, &mut text)?;
    ensure_eq!(text, TEXT, "what is mapped after the domain's end");
    drop(mapping);
    next.destroy()
}

fn run(_: &Guest) -> Check {
    Ok(())
}
