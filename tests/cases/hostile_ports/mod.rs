//! A DomU that reads every port reads ones, or a fault.

use guest_rt::cpu;
use guest_rt::paging::{Page, Rights};

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hostile-ports",
    description: "A DomU that reads every port reads ones, or a fault.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    for port in 0..=u16::MAX {
        match cpu::inb(port) {
            Ok(_) => {}
            Err(fault) => ensure_eq!((fault.vector, fault.error), (13, 0), "port {port:#x}"),
        }
    }
    // More than one exit handles.
    let mut bytes = [0_u8; 1000];
    ensure_eq!(cpu::insb(0x80, &mut bytes), Ok(()), "INS");
    ensure!(bytes.iter().all(|byte| *byte == 0xff), "INS reads ones where no device is");
    ensure_eq!(cpu::outsb(0x80, &bytes), Ok(()), "OUTS");
    let page = Page::new();
    page.protect(Rights::None);
    let hidden = cpu::outsb_from(0x80, page.address());
    page.protect(Rights::Write);
    let fault = hidden.err().map(|fault| (fault.vector, fault.address));
    ensure_eq!(fault, Some((14, page.address())), "OUTS from a page that the tables hide");
    Ok(())
}
