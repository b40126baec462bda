//! A domain that cannot be built leaves nothing behind.

use xen_control::builder::{self, Config};
use xen_control::calls;

use crate::controller::Controller;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domain-creation-fails-cleanly",
    description: "A domain that cannot be built leaves nothing behind.",
    covers: &["LIF-10", "LIF-27", "MEM-03"],
    needs: &[],
    kind: Kind::Dom0(control),
};

fn control(controller: &Controller) -> Check {
    let window = controller.window()?;
    let host = controller.host()?;
    let before = controller.free_pages();
    let Some(free) = before else { skip!("the hypervisor does not tell its free memory") };
    let kernel = controller.boot().modules().next().map_or(&[][..], |module| module.bytes);
    let good = Config { kernel, ..Config::new(8) };
    let bad = [
        ("more memory than there is", Config { pages: free + 10_000, ..good }),
        ("no room for the kernel", Config { pages: 64, ..good }),
        ("no kernel", Config { kernel: b"no kernel", ..good }),
        ("no vcpus", Config { vcpus: 0, ..good }),
        ("33 vcpus", Config { vcpus: 33, ..good }),
        ("a million vcpus", Config { vcpus: 1_000_000, ..good }),
    ];
    for (what, config) in bad {
        let built = builder::build(window, &config);
        ensure!(built.is_err(), "built with {what}: {built:?}");
        ensure_eq!(calls::list(host, 1, 16)?.len(), 0, "domains after {what}");
        controller.all_back(before)?;
    }
    Ok(())
}
