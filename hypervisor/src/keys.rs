//! Keys of the hypervisor's console: Xen's debug keys, as far as there is
//! something to show, and `O` to switch the machine off.

use hv_arch::{cpu, frames, heap, ipi, power, smp, time};
use hv_core::addr::PAGE_SIZE;
use hv_core::id::PcpuId;
use xen_abi::xen::Virq;

use crate::domain::Domain;
use crate::{console, domains, event, init};

/// A key, what it does, and how.
struct Key {
    key: u8,
    what: &'static str,
    act: fn(),
}

const KEYS: &[Key] = &[
    Key { key: b'C', what: "trigger a crashdump", act: crash_on_purpose },
    Key { key: b'H', what: "dump heap info", act: heap_info },
    Key { key: b'O', what: "power off the machine", act: power_off },
    Key { key: b'R', what: "reboot machine", act: reboot },
    Key { key: b'd', what: "dump registers", act: registers },
    Key { key: b'h', what: "show this message", act: help },
    Key { key: b'm', what: "memory info", act: memory_info },
    Key { key: b'q', what: "dump domain (and guest debug) info", act: domain_info },
    Key { key: b't', what: "display multi-cpu clock info", act: clocks },
];

/// Acts on `key`; keys without a meaning are ignored.
pub fn handle(key: u8) {
    if let Some(entry) = KEYS.iter().find(|entry| entry.key == key) {
        log::error!("'{}' pressed -> {}", char::from(key), entry.what);
        (entry.act)();
    } else if key.is_ascii_graphic() {
        log::error!("'{}' pressed: no such key; 'h' lists them", char::from(key));
    }
}

fn help() {
    log::error!("keys:");
    for Key { key, what, .. } in KEYS {
        log::error!(" key '{}' (ascii '{key:02x}') => {what}", char::from(*key));
    }
}

fn crash_on_purpose() {
    panic!("crash requested by the 'C' key");
}

fn heap_info() {
    let (used, mapped) = heap::usage();
    log::error!("heap: {used} bytes used of {mapped}");
}

fn memory_info() {
    let counts = frames::counts();
    let kib = |frames: u64| frames * (PAGE_SIZE / 1024);
    log::error!("Physical memory information:");
    log::error!("    total {} KiB, free {} KiB", kib(counts.total), kib(counts.free()));
    log::error!("    of it to be scrubbed: {} KiB", kib(counts.dirty));
    match frames::verify() {
        Ok(()) => log::error!("    frame table: consistent"),
        Err(fault) => log::error!("    frame table: {fault:?}"),
    }
}

/// Guests hear of it by `VIRQ_DEBUG`, and may show their own state.
fn domain_info() {
    domains::for_each(|domain| {
        show(domain);
        let debug = |vcpu: u32| event::raise(domain, Virq::Debug, vcpu);
        domain.vcpus().iter().for_each(|vcpu| debug(vcpu.id()));
    });
}

fn show(domain: &Domain) {
    let ended = domain.shutdown_code();
    log::error!("General information for domain {}:", domain.id());
    log::error!("    may run: {}, shutdown code: {ended:?}", domain.may_run());
    for vcpu in domain.vcpus().iter() {
        let deadline = vcpu.deadline();
        log::error!("    {vcpu}: up {}, next deadline {deadline:?} (TSC)", vcpu.is_up());
    }
}

fn registers() {
    let [cr0, cr3, cr4] = cpu::control_registers();
    log::error!("CPU{}: cr0 {cr0:016x} cr3 {cr3:016x} cr4 {cr4:016x}", PcpuId::BOOT);
    for pcpu in smp::online().filter(|&pcpu| pcpu != PcpuId::BOOT) {
        let answer = ipi::send(pcpu).wait(time::ticks_from_us(100_000));
        log::error!("CPU{pcpu}: {}", if answer.is_ok() { "answers" } else { "does not answer" });
    }
}

fn clocks() {
    log::error!("TSC: {} ticks, {} ns since boot", cpu::rdtsc(), time::now_ns());
}

fn power_off() {
    console::flush();
    power::power_off();
    log::error!("the machine cannot be switched off by ACPI; switch it off by hand");
}

fn reboot() {
    console::flush();
    power::reset(init::reset_way());
}
