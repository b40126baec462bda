//! The tests, one folder each. `cargo xtask check` compares the folders with both lists.

mod console_io;
mod console_io_is_dom0s;
mod control_registers;
mod cpuid_beyond_the_leaves_is_zero;
mod cpuid_follows_osxsave;
mod cpuid_shows_only_what_works;
mod cpuid_xen_leaves;
mod debug_registers;
mod exceptions_reach_the_guest;
mod fpu_not_available;
mod hypercall_page;
mod hypercalls_keep_registers;
mod hypercalls_unknown;
mod instructions_of_vmx_are_undefined;
mod instructions_that_must_not_matter;
mod msr_efer;
mod msr_of_system_calls;
mod msr_pat;
mod msr_unknown_faults;
mod msr_vmx_is_hidden;
mod page_faults_reach_the_guest;
mod ports_of_nothing;
mod ports_of_the_hypervisor;
mod sched_op;
mod single_step;
mod start_info;
mod tsc_goes_on;
mod xen_version;
mod xen_version_refuses;
mod xsetbv;

use crate::test::Test;

/// All of them, in the order in which they run.
pub const ALL: &[Test] = &[
    console_io::TEST,
    console_io_is_dom0s::TEST,
    control_registers::TEST,
    cpuid_beyond_the_leaves_is_zero::TEST,
    cpuid_follows_osxsave::TEST,
    cpuid_shows_only_what_works::TEST,
    cpuid_xen_leaves::TEST,
    debug_registers::TEST,
    exceptions_reach_the_guest::TEST,
    fpu_not_available::TEST,
    hypercall_page::TEST,
    hypercalls_keep_registers::TEST,
    hypercalls_unknown::TEST,
    instructions_of_vmx_are_undefined::TEST,
    instructions_that_must_not_matter::TEST,
    msr_efer::TEST,
    msr_of_system_calls::TEST,
    msr_pat::TEST,
    msr_unknown_faults::TEST,
    msr_vmx_is_hidden::TEST,
    page_faults_reach_the_guest::TEST,
    ports_of_nothing::TEST,
    ports_of_the_hypervisor::TEST,
    sched_op::TEST,
    single_step::TEST,
    start_info::TEST,
    tsc_goes_on::TEST,
    xen_version::TEST,
    xen_version_refuses::TEST,
    xsetbv::TEST,
];
