//! What a test declares.

use guest_rt::apic;

use crate::controller::Controller;
use crate::guest::Guest;
use crate::verdict::Check;

/// A test: `TEST` of its folder.
pub struct Test {
    /// The folder's name, with dashes.
    pub name: &'static str,
    /// One sentence: what is so when the test passes.
    #[expect(dead_code, reason = "read in the source by `cargo xtask guest-test --list`")]
    pub description: &'static str,
    /// Identifiers of requirements, and of issues' criteria.
    #[expect(dead_code, reason = "as the description")]
    pub covers: &'static [&'static str],
    /// Without these it is a SKIP.
    pub needs: &'static [Need],
    /// Where it runs, and what.
    pub kind: Kind,
}

/// What the vcpus of a test guest run; its result is the guest's verdict.
pub type GuestMain = fn(&Guest) -> Check;

/// Where a test runs.
pub enum Kind {
    /// In the controller: what a privileged domain sees and may do.
    Dom0(fn(&Controller) -> Check),
    /// In a domain of its own.
    DomU(Shape, GuestMain),
    /// In the controller, and again, as `NAME-in-domu`, in a domain of its own: what
    /// every guest sees.
    Both(GuestMain),
    /// In the controller, which makes domains that run the second function.
    Control(fn(&Controller) -> Check, GuestMain),
}

/// The domain of a [`Kind::DomU`].
#[derive(Clone, Copy)]
pub struct Shape {
    /// Vcpus, of which the first one runs at the start.
    pub vcpus: u32,
    /// Memory.
    pub mib: u64,
}

impl Shape {
    /// One vcpu and the least memory.
    pub const SMALL: Self = Self { vcpus: 1, mib: 8 };

    /// `vcpus` vcpus and little memory.
    pub const fn vcpus(vcpus: u32) -> Self {
        Self { vcpus, mib: 12 }
    }
}

/// What a test cannot do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// x2APIC mode, by CPUID.
    X2apic,
    /// The APIC timer's TSC-deadline mode, by CPUID.
    TscDeadline,
    /// So many pcpus. Known to the controller only.
    Pcpus(u32),
}

impl Need {
    /// Whether it is met for the domain that asks, on a host with `pcpus` pcpus.
    pub fn is_met(self, pcpus: u32) -> bool {
        match self {
            Self::X2apic => apic::has_x2apic(),
            Self::TscDeadline => apic::has_deadline(),
            Self::Pcpus(count) => pcpus >= count,
        }
    }
}
