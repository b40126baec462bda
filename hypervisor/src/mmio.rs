//! Accesses to guest-physical addresses where there is no RAM: registers of device
//! models, and holes.

use hv_arch::vcpu::Loaded;
use hv_core::exit::{EptViolation, Exit};

use crate::exit::{CrashReason, Outcome};
use crate::vcpu::Vcpu;

/// Handles an EPT violation.
pub fn handle(_cpu: &mut Loaded<'_>, _vcpu: &Vcpu, violation: EptViolation) -> Outcome {
    Outcome::Crash(CrashReason::Unhandled(Exit::EptViolation(violation)))
}
