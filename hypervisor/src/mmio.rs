//! Accesses to guest-physical addresses where there is no RAM that allows them:
//! registers of device models, and holes.
//!
//! The instruction is fetched again, decoded ([`hv_core::insn`]) and done here. A
//! hole reads as all ones and takes no writes, as a bus on which nobody answers. Who writes
//! to what is granted for reading gets #GP(0).

use hv_arch::vcpu::Loaded;
use hv_core::addr::{GuestPhysAddr, GuestVirtAddr, PAGE_SIZE};
use hv_core::ept::{PageType, Rights};
use hv_core::event::Exception;
use hv_core::exit::{ApicAccess, ApicAccessKind, EptAccess, EptViolation, Exit, Interruptibility};
use hv_core::gpr::Gpr;
use hv_core::insn::{self, Access, Direction, Error, MAX_LENGTH, Mode, SegmentRegister, Size};
use hv_core::vcpu_state::AccessRights;
use hv_core::vlapic::{APIC_ADDRESS, Mode as ApicMode};
use hv_core::vmcs;

use crate::exit::{CrashReason, Outcome};
use crate::vcpu::Vcpu;
use crate::{dom0, guest_copy, interrupts};

/// What answers at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    LocalApic,
    /// The one with its registers in this page.
    IoApic(u64),
    Hole,
}

/// Handles an EPT violation.
pub fn handle(cpu: &mut Loaded<'_>, vcpu: &Vcpu, violation: EptViolation) -> Outcome {
    let page = violation.address & !(PAGE_SIZE - 1);
    let is_model = page == APIC_ADDRESS || vcpu.domain().devices().has_ioapic(page);
    if !is_model && vcpu.domain().is_privileged() && dom0::map_on_demand(vcpu.domain(), page) {
        return again(cpu, violation);
    }
    if !is_model && maps_now(vcpu, violation) {
        return again(cpu, violation);
    }
    // The first access of a domain: the CPU answers this one and those that follow.
    if page == APIC_ADDRESS
        && violation.is_not_present()
        && cpu.apic().covers_memory()
        && vcpu.lapic().lock().mode() == ApicMode::XApic
        && vcpu.domain().confines().map_apic_access_page()
    {
        return again(cpu, violation);
    }
    access(cpu, vcpu, violation)
}

/// Lets the guest make its access again: an event whose delivery it has broken off is
/// delivered again, and an IRET that had lifted the blocking by NMI is executed with it
/// (SDM "Information About NMI Unblocking Due to IRET").
fn again(cpu: &mut Loaded<'_>, violation: EptViolation) -> Outcome {
    if violation.access.contains(EptAccess::NMI_UNBLOCKED) && !cpu.is_delivering() {
        let shadow = Interruptibility::from_bits_retain(cpu.read(vmcs::GUEST_INTERRUPTIBILITY_STATE));
        cpu.write(vmcs::GUEST_INTERRUPTIBILITY_STATE, (shadow | Interruptibility::BLOCKING_BY_NMI).bits());
    }
    Outcome::Redelivered
}

/// Whether the p2m has a page there by now that allows the access: another vcpu has put it
/// there meanwhile, or this pcpu remembered an empty table in whose place a large page
/// came. The VM exit made it forget (SDM "Operations that Invalidate Cached Mappings").
fn maps_now(vcpu: &Vcpu, violation: EptViolation) -> bool {
    let needed = if violation.access.contains(EptAccess::FETCH) {
        Rights::ReadExecute
    } else if violation.access.contains(EptAccess::WRITE) {
        Rights::ReadWrite
    } else {
        Rights::Read
    };
    let page = GuestPhysAddr::new(violation.address)
        .and_then(|address| vcpu.domain().confines().lookup(address.gfn()).page());
    page.is_some_and(|page| page.rights.contains(needed))
}

/// Handles an access to the local APIC's page that the CPU leaves to the hypervisor.
pub fn handle_apic(cpu: &mut Loaded<'_>, vcpu: &Vcpu, exit: ApicAccess) -> Outcome {
    let way = match exit.kind {
        ApicAccessKind::Read => EptAccess::READ,
        ApicAccessKind::Write => EptAccess::WRITE,
        ApicAccessKind::Fetch | ApicAccessKind::EventDelivery | ApicAccessKind::GuestPhysical => {
            return Outcome::Crash(CrashReason::Unhandled(Exit::ApicAccess(exit)));
        }
    };
    let access = way | EptAccess::TRANSLATED | EptAccess::LINEAR_ADDRESS_VALID;
    self::access(cpu, vcpu, EptViolation { access, address: APIC_ADDRESS + u64::from(exit.offset) })
}

/// Does the access of the instruction at which the guest stands.
#[inline(never)]
fn access(cpu: &mut Loaded<'_>, vcpu: &Vcpu, violation: EptViolation) -> Outcome {
    let lost = Outcome::Crash(CrashReason::Unhandled(Exit::EptViolation(violation)));
    // Code, page tables and stacks have to be in RAM.
    let is_data = violation.access.contains(EptAccess::TRANSLATED | EptAccess::LINEAR_ADDRESS_VALID)
        && !violation.access.contains(EptAccess::FETCH);
    if !is_data || cpu.is_delivering() {
        return lost;
    }
    // What is granted for reading is there; nothing is looked up for registers.
    if violation.access.contains(EptAccess::WRITE)
        && !violation.is_not_present()
        && is_granted_for_reading(vcpu, violation)
    {
        // As in Xen.
        return Outcome::Fault(Exception::GENERAL_PROTECTION);
    }
    let access = match fetch(cpu, vcpu) {
        Ok(access) => access,
        Err(Refusal::Fault(exception)) => return Outcome::Fault(exception),
        Err(Refusal::Unsupported) => return lost,
    };
    if !access.agrees_with(violation.access) {
        // Another vcpu has changed the code: the guest runs what is there now.
        return Outcome::Resume;
    }
    emulate(cpu, vcpu, violation, access).unwrap_or(lost)
}

fn is_granted_for_reading(vcpu: &Vcpu, violation: EptViolation) -> bool {
    let gfn = GuestPhysAddr::new(violation.address).map(GuestPhysAddr::gfn);
    let page = gfn.and_then(|gfn| vcpu.domain().confines().lookup(gfn).page());
    page.is_some_and(|page| page.kind == PageType::GrantRo)
}

enum Refusal {
    Fault(Exception),
    Unsupported,
}

/// Fetches and decodes the instruction at which the guest stands.
fn fetch(cpu: &Loaded<'_>, vcpu: &Vcpu) -> Result<Access, Refusal> {
    let rights = AccessRights::from_vmx(cpu.read(vmcs::GUEST_CS_ACCESS_RIGHTS));
    let mode = Mode::new(cpu.read(vmcs::GUEST_IA32_EFER), rights);
    let rip = cpu.read(vmcs::GUEST_RIP);
    let linear = match mode {
        Mode::Bits64 => rip,
        _ => cpu.read(vmcs::GUEST_CS_BASE).wrapping_add(rip) & 0xffff_ffff,
    };
    let mut code = [0; MAX_LENGTH];
    let mut have = insn::first_fetch(GuestVirtAddr::new(linear));
    guest_copy::fetch(cpu, vcpu, linear, code.get_mut(..have).ok_or(Refusal::Unsupported)?)
        .map_err(|_| Refusal::Unsupported)?;
    loop {
        match insn::decode(code.get(..have).ok_or(Refusal::Unsupported)?, mode) {
            Ok(access) => return Ok(access),
            Err(Error::Truncated) if have < MAX_LENGTH => {
                let rest = code.get_mut(have..).ok_or(Refusal::Unsupported)?;
                let next = linear.wrapping_add(have as u64);
                guest_copy::fetch(cpu, vcpu, next, rest).map_err(|_| Refusal::Unsupported)?;
                have = MAX_LENGTH;
            }
            Err(Error::Undefined) => return Err(Refusal::Fault(Exception::INVALID_OPCODE)),
            Err(Error::Truncated | Error::Unsupported) => return Err(Refusal::Unsupported),
        }
    }
}

/// Does what the instruction asks for. `None` if it cannot be done.
fn emulate(cpu: &mut Loaded<'_>, vcpu: &Vcpu, violation: EptViolation, access: Access) -> Option<Outcome> {
    let at = violation.address;
    if access.direction() == Direction::Copy {
        return copy(cpu, vcpu, violation, access);
    }
    let read = if access.reads() { read(vcpu, at, access.size()) } else { 0 };
    let write = finish(cpu, access, read);
    if let Some(value) = write {
        self::write(vcpu, at, access.size(), value);
    }
    Some(Outcome::Resume)
}

/// Registers, flags and RIP as they are behind the instruction, or behind one element
/// of it; returns what it writes.
fn finish(cpu: &mut Loaded<'_>, access: Access, read: u64) -> Option<u64> {
    let old = cpu.read(vmcs::GUEST_RFLAGS);
    let mut flags = old;
    let stack = cpu.read(vmcs::GUEST_RSP);
    let registers = cpu.registers_mut();
    registers.set(Gpr::Rsp, stack);
    let outcome = access.complete(registers, &mut flags, read);
    let moved = registers.get(Gpr::Rsp);
    if moved != stack {
        cpu.write(vmcs::GUEST_RSP, moved);
    }
    if flags != old {
        cpu.write(vmcs::GUEST_RFLAGS, flags);
    }
    if outcome.finished {
        cpu.advance(access.length().into());
    }
    outcome.write
}

/// MOVS between a device and memory, or a device and another.
fn copy(cpu: &mut Loaded<'_>, vcpu: &Vcpu, violation: EptViolation, access: Access) -> Option<Outcome> {
    let mut registers = *cpu.registers();
    registers.set(Gpr::Rsp, cpu.read(vmcs::GUEST_RSP));
    let addresses = access.copy_addresses(&registers)?;
    let rights = AccessRights::from_vmx(cpu.read(vmcs::GUEST_CS_ACCESS_RIGHTS));
    let mode = Mode::new(cpu.read(vmcs::GUEST_IA32_EFER), rights);
    let len = usize::from(access.size().bytes());
    let mut bytes = [0; 8];
    if violation.access.contains(EptAccess::WRITE) {
        let from = addresses.source.linear(base(cpu, addresses.source.segment), mode);
        guest_copy::read_as_guest(cpu, vcpu, from, bytes.get_mut(..len)?).ok()?;
        let value = finish(cpu, access, u64::from_le_bytes(bytes))?;
        write(vcpu, violation.address, access.size(), value);
    } else {
        let to = addresses.destination.linear(base(cpu, addresses.destination.segment), mode);
        bytes = read(vcpu, violation.address, access.size()).to_le_bytes();
        guest_copy::write_as_guest(cpu, vcpu, to, bytes.get(..len)?).ok()?;
        finish(cpu, access, u64::from_le_bytes(bytes));
    }
    Some(Outcome::Resume)
}

fn base(cpu: &Loaded<'_>, segment: SegmentRegister) -> u64 {
    cpu.read(match segment {
        SegmentRegister::Es => vmcs::GUEST_ES_BASE,
        SegmentRegister::Cs => vmcs::GUEST_CS_BASE,
        SegmentRegister::Ss => vmcs::GUEST_SS_BASE,
        SegmentRegister::Ds => vmcs::GUEST_DS_BASE,
        SegmentRegister::Fs => vmcs::GUEST_FS_BASE,
        SegmentRegister::Gs => vmcs::GUEST_GS_BASE,
    })
}

fn target(vcpu: &Vcpu, at: u64) -> (Target, u16) {
    let page = at & !(PAGE_SIZE - 1);
    let target = match page {
        APIC_ADDRESS if vcpu.lapic().lock().mode() == ApicMode::XApic => Target::LocalApic,
        _ if vcpu.domain().devices().has_ioapic(page) => Target::IoApic(page),
        _ => Target::Hole,
    };
    (target, u16::try_from(at - page).unwrap_or(0))
}

/// Loads from a device. Registers have 32 bits: a narrow load is a part of one, and
/// a wide one two.
fn read(vcpu: &Vcpu, at: u64, size: Size) -> u64 {
    let (target, offset) = target(vcpu, at);
    let word = |offset: u16| match target {
        Target::LocalApic => vcpu.lapic().lock().read_mmio(offset, vcpu.tsc()),
        Target::IoApic(page) => vcpu.domain().devices().read_ioapic(page, offset),
        Target::Hole => u32::MAX,
    };
    let first = u64::from(word(offset & !3)) >> (8 * (offset % 4));
    let second = match size {
        Size::Qword if target != Target::Hole => word((offset & !3).wrapping_add(4)),
        _ => u32::MAX,
    };
    (first | u64::from(second) << 32) & size.mask()
}

/// Stores to a device; narrow stores have no effect (SDM "Local APIC Register Address
/// Map": 32-bit accesses).
fn write(vcpu: &Vcpu, at: u64, size: Size, value: u64) {
    let (target, offset) = target(vcpu, at);
    let [low, high] = [value, value >> 32].map(|half| u32::try_from(half & 0xffff_ffff).unwrap_or(0));
    let word = |offset: u16, value: u32| match target {
        Target::LocalApic => {
            let effect = vcpu.lapic().lock().write_mmio(offset, value, vcpu.tsc());
            interrupts::apply(vcpu, effect);
        }
        Target::IoApic(page) => {
            vcpu.domain().devices().write_ioapic(vcpu.domain(), page, offset, value);
        }
        Target::Hole => {}
    };
    match size {
        Size::Dword if offset % 4 == 0 => word(offset, low),
        Size::Qword if offset % 4 == 0 => {
            word(offset, low);
            word(offset.wrapping_add(4), high);
        }
        _ => {}
    }
}
