use core::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::gpr::Gpr;

/// Exit information that counts how often it is read.
#[derive(Default)]
struct Words {
    qualification: u64,
    linear: u64,
    physical: u64,
    interruption: u32,
    error_code: u32,
    instruction: u32,
    reads: Cell<u32>,
}

impl Words {
    fn count<T>(&self, value: T) -> T {
        self.reads.set(self.reads.get() + 1);
        value
    }
}

impl ExitInformation for Words {
    fn qualification(&self) -> u64 {
        self.count(self.qualification)
    }
    fn guest_linear_address(&self) -> u64 {
        self.count(self.linear)
    }
    fn guest_physical_address(&self) -> u64 {
        self.count(self.physical)
    }
    fn interruption_information(&self) -> u32 {
        self.count(self.interruption)
    }
    fn interruption_error_code(&self) -> u32 {
        self.count(self.error_code)
    }
    fn instruction_information(&self) -> u32 {
        self.count(self.instruction)
    }
}

fn decode(reason: BasicReason, words: &Words) -> Exit {
    Exit::decode(ExitReason::new(reason as u32), words)
}

fn qualified(reason: BasicReason, qualification: u64) -> Exit {
    decode(reason, &Words { qualification, ..Words::default() })
}

#[test]
fn frequent_exits_read_no_more_than_they_need() {
    use BasicReason as R;
    let reads = |reason| {
        let words = Words { interruption: 0x8000_0030, ..Words::default() };
        decode(reason, &words);
        words.reads.get()
    };
    for none in [R::Cpuid, R::Vmcall, R::Rdmsr, R::Wrmsr, R::Hlt, R::InterruptWindow, R::PreemptionTimer] {
        assert_eq!(reads(none), 0, "{none:?}");
    }
    assert_eq!([R::Io, R::ExternalInterrupt, R::ApicWrite, R::ControlRegister].map(reads), [1; 4]);
    assert_eq!(reads(R::EptViolation), 2);
}

#[test]
fn port_accesses() {
    let access = |qualification| match qualified(BasicReason::Io, qualification) {
        Exit::Io(access) => Some(access),
        _ => None,
    };
    // IN AL, DX with DX = 3F8H.
    let inb = access(0x03f8_0008).unwrap();
    assert_eq!((inb.port, inb.size, inb.direction), (0x3f8, Size::Byte, Direction::In));
    assert!(inb.is_simple());
    // OUT CF8H, EAX.
    let outl = access(0x0cf8_0003).unwrap();
    assert_eq!((outl.port, outl.size, outl.direction), (0xcf8, Size::Dword, Direction::Out));
    // REP OUTSW to E9H.
    let outs = access(0x00e9_0031).unwrap();
    assert!(outs.string && outs.rep && !outs.is_simple() && outs.size == Size::Word);
    assert_eq!(access(0x00e9_0002), None);
}

#[test]
fn string_operands_have_an_address_size() {
    let read = |instruction| {
        StringIo::read(&Words { instruction, linear: 0x1234, ..Words::default() })
            .map(|s| (s.linear_address, s.address_mask))
    };
    assert_eq!(read(0 << 7), Some((0x1234, 0xffff)));
    assert_eq!(read(1 << 7), Some((0x1234, 0xffff_ffff)));
    assert_eq!(read(2 << 7), Some((0x1234, u64::MAX)));
    assert_eq!(read(3 << 7), None);
}

#[test]
fn control_register_accesses() {
    let access = |qualification| qualified(BasicReason::ControlRegister, qualification);
    assert_eq!(access(0x000), Exit::CrAccess(CrAccess::Write(ControlRegister::Cr0, Gpr::Rax)));
    assert_eq!(access(0xf04), Exit::CrAccess(CrAccess::Write(ControlRegister::Cr4, Gpr::R15)));
    assert_eq!(access(0x318), Exit::CrAccess(CrAccess::Read(ControlRegister::Cr8, Gpr::Rbx)));
    assert_eq!(access(0x020), Exit::CrAccess(CrAccess::Clts));
    assert_eq!(access(0xabcd_0030), Exit::CrAccess(CrAccess::Lmsw(0xabcd)));
    assert!(matches!(access(0x001), Exit::Unexpected(_)));
}

#[test]
fn debug_register_accesses() {
    let access = |qualification| qualified(BasicReason::MovDr, qualification);
    let to = DrAccess { register: 7, direction: Direction::Out, gpr: Gpr::Rcx };
    assert_eq!(access(0x107), Exit::DrAccess(to));
    let from = DrAccess { register: 6, direction: Direction::In, gpr: Gpr::Rax };
    assert_eq!(access(0x016), Exit::DrAccess(from));
}

#[test]
fn ept_violations() {
    // A write, through a linear address, to a page that may be read.
    let words = Words { qualification: 0x18a, physical: 0xfee0_0020, linear: 0xffff, ..Words::default() };
    let Exit::EptViolation(v) = decode(BasicReason::EptViolation, &words) else { panic!() };
    assert_eq!((v.address, v.linear_address(&words)), (0xfee0_0020, Some(0xffff)));
    assert!(v.access.contains(EptAccess::WRITE) && !v.access.contains(EptAccess::READ));
    assert!(!v.is_not_present());
    // The same met while the CPU walked the guest's page table: no linear address to emulate at.
    let words = Words { qualification: 0x81, ..words };
    let Exit::EptViolation(v) = decode(BasicReason::EptViolation, &words) else { panic!() };
    assert_eq!(v.linear_address(&words), None);
    assert!(v.is_not_present());
}

#[test]
fn exceptions_and_nmis_share_a_reason() {
    let words = |interruption| Words { interruption, error_code: 7, ..Words::default() };
    assert_eq!(decode(BasicReason::ExceptionOrNmi, &words(0x8000_0202)), Exit::Nmi);
    let Exit::Exception(ac) = decode(BasicReason::ExceptionOrNmi, &words(0x8000_0b11)) else { panic!() };
    assert_eq!((ac.vector, ac.kind, ac.error_code), (17, EventKind::HardwareException, Some(7)));
    let Exit::Exception(bp) = decode(BasicReason::ExceptionOrNmi, &words(0x8000_1603)) else { panic!() };
    assert_eq!((bp.vector, bp.kind, bp.error_code), (3, EventKind::SoftwareException, None));
    assert!(bp.nmi_unblocked && !ac.nmi_unblocked);
}

#[test]
fn other_payloads() {
    use BasicReason as R;
    let interrupt = Words { interruption: 0x8000_00f3, ..Words::default() };
    assert_eq!(decode(R::ExternalInterrupt, &interrupt), Exit::ExternalInterrupt(0xf3));
    assert_eq!(qualified(R::VirtualizedEoi, 0x31), Exit::VirtualizedEoi(0x31));
    assert_eq!(qualified(R::ApicWrite, 0x300), Exit::ApicWrite(0x300));
    let apic = ApicAccess { offset: 0xb0, kind: ApicAccessKind::Write };
    assert_eq!(qualified(R::ApicAccess, 0x10b0), Exit::ApicAccess(apic));
    let task = TaskSwitch { selector: 0x28, source: TaskSwitchSource::TaskGate };
    assert_eq!(qualified(R::TaskSwitch, 0xc000_0028), Exit::TaskSwitch(task));
    assert_eq!(decode(R::Vmxon, &Words::default()), Exit::HiddenInstruction(R::Vmxon));
}

#[test]
fn entry_failures_are_not_exits() {
    let failed = |reason: u32, qualification| {
        Exit::decode(ExitReason::new(1 << 31 | reason), &Words { qualification, ..Words::default() })
    };
    assert_eq!(failed(33, 3), Exit::EntryFailed(EntryFailure::InvalidGuestState(3)));
    assert_eq!(failed(34, 1), Exit::EntryFailed(EntryFailure::MsrLoading(1)));
    assert_eq!(failed(41, 0), Exit::EntryFailed(EntryFailure::MachineCheck));
    assert!(matches!(failed(10, 0), Exit::EntryFailed(EntryFailure::Unknown(_))));
    // Reason 33 without bit 31 does not exist.
    assert!(matches!(qualified(BasicReason::InvalidGuestState, 0), Exit::Unexpected(_)));
}

#[test]
fn events_pass_through_the_vectoring_information() {
    let interrupted = |info| Event::interrupted(InterruptionInfo::new(info), || 0x18, || 2);
    assert_eq!(interrupted(0x0000_0030), None);
    assert_eq!(interrupted(0x8000_0030), Some(Event::interrupt(0x30)));
    assert_eq!(interrupted(0x8000_0202), Some(Event::NMI));
    let gp = interrupted(0x8000_0b0d).unwrap();
    assert_eq!(
        (gp.entry_information(), gp.error_code(), gp.instruction_length()),
        (0x8000_0b0d, Some(0x18), None)
    );
    let int80 = interrupted(0x8000_0480).unwrap();
    assert_eq!((int80.entry_information(), int80.instruction_length()), (0x8000_0480, Some(2)));
    // Type 1 is reserved.
    assert_eq!(interrupted(0x8000_0130), None);
}

#[test]
fn every_instruction_error_of_entries_has_a_text() {
    for number in [4, 5, 7, 8, 26] {
        assert!(!VmInstructionError::new(number).text().starts_with("unknown"));
    }
}

/// VM entry would fail with an invalid control field, which is the hypervisor's bug.
#[test]
fn an_event_that_no_cpu_reports_is_none() {
    let interrupted = |info, length| Event::interrupted(InterruptionInfo::new(info), || u32::MAX, || length);
    assert_eq!(interrupted(0x8000_0203, 0), None, "NMI with another vector");
    assert_eq!(interrupted(0x8000_0320, 0), None, "exception 32");
    assert_eq!(interrupted(0x8000_0b15, 0), None, "#CP");
    assert_eq!(interrupted(0x8000_0480, 0), None, "INT 128 of no length");
    assert_eq!(interrupted(0x8000_0603, 16), None, "INT3 of 16 bytes");
    assert_eq!(interrupted(0x8000_0b0e, 0).and_then(|event| event.error_code()), Some(0xffff));
}

#[test]
fn activity_states_and_their_numbers() {
    for state in [Activity::Active, Activity::Hlt, Activity::Shutdown, Activity::WaitForSipi] {
        assert_eq!(Activity::new(state as u32), Some(state));
    }
    assert_eq!(Activity::new(4), None);
}

#[test]
fn an_exit_fits_in_four_registers() {
    assert!(size_of::<Exit>() <= 32);
}

/// Few cases under miri, and no files of past failures: it has no file system.
fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 4 } else { 256 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_words_decode(reason in prop_oneof![any::<u32>(), 0u32..100], words in any::<[u64; 3]>(),
                        small in any::<[u32; 3]>()) {
        let [qualification, linear, physical] = words;
        let [interruption, error_code, instruction] = small;
        let words =
            Words { qualification, linear, physical, interruption, error_code, instruction, ..Words::default() };
        let exit = Exit::decode(ExitReason::new(reason), &words);
        prop_assert_eq!(matches!(exit, Exit::EntryFailed(_)), reason >> 31 == 1);
        prop_assert!(words.reads.get() <= 2);
    }
}

#[test]
fn saved_events_are_such_as_vm_entry_takes() {
    let saved = |raw, error_code| Event::saved(InterruptionInfo::new(raw), error_code);
    for (raw, error_code) in [(0x8000_0030, 0), (0x8000_0202, 0), (0x8000_0306, 0), (0x8000_0b0e, 0x1f)] {
        assert_eq!(saved(raw, error_code).map(|event| event.entry_information()), Some(raw), "{raw:#x}");
    }
    for (raw, error_code, what) in [
        (0x0000_0030, 0, "not valid"),
        (0x8000_1030, 0, "a reserved bit"),
        (0x8000_0130, 0, "a reserved type"),
        (0x8000_0830, 0, "an interrupt with an error code"),
        (0x8000_0203, 0, "an NMI by another vector"),
        (0x8000_030e, 0, "a page fault without an error code"),
        (0x8000_0b06, 0, "an invalid opcode with one"),
        (0x8000_0b0e, 0x1_0000, "a reserved bit in it"),
        (0x8000_0b15, 0, "control protection"),
        (0x8000_0320, 0, "no exception"),
        (0x8000_0480, 0, "INT n"),
        (0x8000_0501, 0, "INT1"),
        (0x8000_0603, 0, "INT3"),
    ] {
        assert_eq!(saved(raw, error_code), None, "{what}");
    }
}
