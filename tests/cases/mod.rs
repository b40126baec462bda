//! The tests, one folder each. `cargo xtask check` compares the folders with both lists.

mod apic_ipi_ring;
mod apic_modes;
mod apic_nmi;
mod apic_self_ipi;
mod apic_timer_deadline;
mod apic_timer_one_shot;
mod apic_timer_periodic;
mod apic_x2apic_registers;
mod apic_xapic_registers;
mod console_input;
mod console_io;
mod console_io_is_dom0s;
mod console_log;
mod control_is_dom0s;
mod control_registers;
mod cpuid_beyond_the_leaves_is_zero;
mod cpuid_follows_osxsave;
mod cpuid_shows_only_what_works;
mod cpuid_xen_leaves;
mod debug_registers;
mod domain_creation_fails_cleanly;
mod domain_creation_ticks;
mod domain_destroyed_while_busy;
mod domain_list;
pub mod domain_memory_held;
mod domain_memory_is_scrubbed;
mod domain_pause;
mod domain_shutdown_reasons;
mod domain_triple_fault;
mod domains_4_by_4;
mod domains_500_cycles;
mod domains_60;
mod domains_60_busy;
mod domctl_refuses;
mod evtchn_alloc_unbound;
mod evtchn_bind_vcpu;
mod evtchn_callback_vector;
mod evtchn_close;
mod evtchn_fifo_order;
mod evtchn_fifo_setup;
mod evtchn_hostile;
mod evtchn_interdomain;
mod evtchn_ipi;
mod evtchn_pirq;
mod evtchn_poll;
mod evtchn_port_limit;
mod evtchn_reset;
mod evtchn_send;
mod evtchn_status;
mod evtchn_unmask;
mod evtchn_upcall_vector;
mod evtchn_virq;
mod evtchn_virqs_of_dom0;
mod exception_loop_is_preempted;
mod exceptions_reach_the_guest;
mod foreign_frames;
mod fpu_not_available;
mod gnttab_copy;
mod gnttab_hostile;
mod gnttab_limits;
mod gnttab_map;
mod gnttab_outlives;
mod gnttab_table;
mod hlt_waits;
mod hostile_apic;
mod hostile_hypercalls;
mod hostile_msrs;
mod hostile_ports;
mod hvm_params;
mod hypercall_page;
mod hypercalls_keep_registers;
mod hypercalls_unknown;
mod instructions_of_vmx_are_undefined;
mod instructions_that_must_not_matter;
mod interrupt_edge;
mod interrupt_level;
mod interrupt_shadow;
mod interrupt_stuck;
mod interrupts_are_dom0s;
mod memory_ballooning;
mod memory_exchange;
mod memory_holes;
mod memory_limit;
mod memory_map;
mod memory_of_the_domain;
mod memory_op_refuses;
mod memory_populate_races;
mod memory_tables_are_limited;
mod msr_efer;
mod msr_of_system_calls;
mod msr_pat;
mod msr_unknown_faults;
mod msr_vmx_is_hidden;
mod multicall;
mod page_faults_reach_the_guest;
mod pci_configuration;
mod physdev_op;
mod ports_of_nothing;
mod ports_of_the_hypervisor;
mod pv_clock;
mod pv_clock_of_all_vcpus;
mod runstate;
mod sched_affinity;
mod sched_caps;
mod sched_extreme_weights;
mod sched_op;
mod sched_share_settings;
mod sched_shares_of_table_4_1;
mod sched_steal_time;
mod sched_waker_takes_its_share_only;
mod sched_wakeup_latency;
mod sched_weights;
mod sched_weights_default_slice;
mod sched_weights_under_pinning;
mod sched_work_conserving;
mod scheduler_parameters;
mod single_step;
mod smp_by_hypercall;
mod smp_init_again;
mod smp_init_sipi;
mod smp_init_sipi_xapic;
mod start_info;
mod sysctl;
mod time_under_migration;
mod tsc_goes_on;
mod vcpu_down_and_up;
mod vcpu_op_refuses;
mod wall_clock;
mod xen_version;
mod xen_version_refuses;
mod xsetbv;

use crate::test::Test;

/// All of them, in the order in which they run.
pub const ALL: &[Test] = &[
    apic_ipi_ring::TEST,
    apic_modes::TEST,
    apic_nmi::TEST,
    apic_self_ipi::TEST,
    apic_timer_deadline::TEST,
    apic_timer_one_shot::TEST,
    apic_timer_periodic::TEST,
    apic_x2apic_registers::TEST,
    apic_xapic_registers::TEST,
    console_input::TEST,
    console_io::TEST,
    console_io_is_dom0s::TEST,
    console_log::TEST,
    control_is_dom0s::TEST,
    control_registers::TEST,
    cpuid_beyond_the_leaves_is_zero::TEST,
    cpuid_follows_osxsave::TEST,
    cpuid_shows_only_what_works::TEST,
    cpuid_xen_leaves::TEST,
    debug_registers::TEST,
    domain_creation_fails_cleanly::TEST,
    domain_creation_ticks::TEST,
    domain_destroyed_while_busy::TEST,
    domain_list::TEST,
    domain_memory_held::TEST,
    domain_memory_is_scrubbed::TEST,
    domain_pause::TEST,
    domain_shutdown_reasons::TEST,
    domain_triple_fault::TEST,
    domains_4_by_4::TEST,
    domains_500_cycles::TEST,
    domains_60::TEST,
    domains_60_busy::TEST,
    domctl_refuses::TEST,
    evtchn_alloc_unbound::TEST,
    evtchn_bind_vcpu::TEST,
    evtchn_callback_vector::TEST,
    evtchn_close::TEST,
    evtchn_fifo_order::TEST,
    evtchn_fifo_setup::TEST,
    evtchn_hostile::TEST,
    evtchn_interdomain::TEST,
    evtchn_ipi::TEST,
    evtchn_pirq::TEST,
    evtchn_poll::TEST,
    evtchn_port_limit::TEST,
    evtchn_reset::TEST,
    evtchn_send::TEST,
    evtchn_status::TEST,
    evtchn_unmask::TEST,
    evtchn_upcall_vector::TEST,
    evtchn_virq::TEST,
    evtchn_virqs_of_dom0::TEST,
    exception_loop_is_preempted::TEST,
    exceptions_reach_the_guest::TEST,
    foreign_frames::TEST,
    fpu_not_available::TEST,
    gnttab_copy::TEST,
    gnttab_hostile::TEST,
    gnttab_limits::TEST,
    gnttab_map::TEST,
    gnttab_outlives::TEST,
    gnttab_table::TEST,
    hlt_waits::TEST,
    hostile_apic::TEST,
    hostile_hypercalls::TEST,
    hostile_msrs::TEST,
    hostile_ports::TEST,
    hvm_params::TEST,
    hypercall_page::TEST,
    hypercalls_keep_registers::TEST,
    hypercalls_unknown::TEST,
    instructions_of_vmx_are_undefined::TEST,
    instructions_that_must_not_matter::TEST,
    interrupt_edge::TEST,
    interrupt_level::TEST,
    interrupt_shadow::TEST,
    interrupt_stuck::TEST,
    interrupts_are_dom0s::TEST,
    memory_ballooning::TEST,
    memory_exchange::TEST,
    memory_holes::TEST,
    memory_limit::TEST,
    memory_map::TEST,
    memory_of_the_domain::TEST,
    memory_op_refuses::TEST,
    memory_populate_races::TEST,
    memory_tables_are_limited::TEST,
    msr_efer::TEST,
    msr_of_system_calls::TEST,
    msr_pat::TEST,
    msr_unknown_faults::TEST,
    msr_vmx_is_hidden::TEST,
    multicall::TEST,
    page_faults_reach_the_guest::TEST,
    pci_configuration::TEST,
    physdev_op::TEST,
    ports_of_nothing::TEST,
    ports_of_the_hypervisor::TEST,
    pv_clock::TEST,
    pv_clock_of_all_vcpus::TEST,
    runstate::TEST,
    sched_op::TEST,
    sched_affinity::TEST,
    sched_caps::TEST,
    sched_extreme_weights::TEST,
    sched_share_settings::TEST,
    sched_shares_of_table_4_1::TEST,
    sched_steal_time::TEST,
    sched_waker_takes_its_share_only::TEST,
    sched_wakeup_latency::TEST,
    sched_weights::TEST,
    sched_weights_default_slice::TEST,
    sched_weights_under_pinning::TEST,
    sched_work_conserving::TEST,
    scheduler_parameters::TEST,
    single_step::TEST,
    smp_by_hypercall::TEST,
    smp_init_again::TEST,
    smp_init_sipi::TEST,
    smp_init_sipi_xapic::TEST,
    start_info::TEST,
    sysctl::TEST,
    time_under_migration::TEST,
    tsc_goes_on::TEST,
    vcpu_down_and_up::TEST,
    vcpu_op_refuses::TEST,
    wall_clock::TEST,
    xen_version::TEST,
    xen_version_refuses::TEST,
    xsetbv::TEST,
];
