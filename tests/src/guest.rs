//! A domain that runs one test.

use guest_rt::boot::Boot;
use guest_rt::hypercall;
use guest_rt::println;
use xen_abi::sched::ShutdownReason;

use crate::cases;
use crate::test::{GuestMain, Kind};
use crate::verdict::{Check, Line, Problem};

/// What starts a guest's verdict on its console.
pub const VERDICT: &str = "VERDICT ";

/// What a test function knows of where it runs.
pub struct Guest {
    boot: &'static Boot,
}

impl Guest {
    /// The domain that this is.
    pub fn new(boot: &'static Boot) -> Self {
        Self { boot }
    }

    /// Start information.
    pub fn boot(&self) -> &'static Boot {
        self.boot
    }

    /// Whether it is Dom0.
    pub fn is_dom0(&self) -> bool {
        self.boot.is_dom0()
    }

    /// Which part of its test the domain plays; empty in most.
    pub fn role(&self) -> &'static str {
        self.boot.option("role").unwrap_or("")
    }
}

/// Runs the test that the command line names, and ends the domain.
pub fn main(boot: &'static Boot) -> ! {
    let check = run(boot);
    println!("{VERDICT}{}", Line(&check));
    hypercall::shutdown(ShutdownReason::Poweroff)
}

fn run(boot: &'static Boot) -> Check {
    let name = boot.option("test").unwrap_or("");
    let test = cases::ALL.iter().find(|test| test.name == name);
    let main: GuestMain = match test.map(|test| &test.kind) {
        Some(Kind::DomU(_, main) | Kind::Both(main) | Kind::Control(_, main)) => *main,
        Some(Kind::Dom0(_)) | None => {
            return Err(Problem::Error(alloc::format!("no test `{name}` for a guest")));
        }
    };
    main(&Guest::new(boot))
}
