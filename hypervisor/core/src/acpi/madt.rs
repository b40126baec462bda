//! MADT: the CPUs, the I/O APICs, and how ISA interrupts are wired to them.
//!
//! Layouts: ACPI 6.5, "Multiple APIC Description Table (MADT)".

use arrayvec::ArrayVec;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{AcpiError, Table};
use crate::addr::HostPhysAddr;
use crate::id::MAX_PCPUS;

/// The number by which interrupts reach a CPU: 8 bits in xAPIC mode, 32 in x2APIC mode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct ApicId(u32);

impl ApicId {
    /// The ID `raw`; every number is one, though some firmware uses the largest for "none".
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl core::fmt::Display for ApicId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}

/// Which level of a line means "interrupt".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Polarity {
    /// The high one.
    ActiveHigh,
    /// The low one.
    ActiveLow,
}

/// What about the line means "interrupt".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trigger {
    /// That its level changes.
    Edge,
    /// Its level.
    Level,
}

/// A CPU, from a Processor Local APIC or a Processor Local x2APIC entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// Its local APIC.
    pub apic_id: ApicId,
    /// The processor object in AML that stands for it.
    pub uid: u32,
    /// Whether it can be started now. If not, it is a place where a CPU may be
    /// plugged in, or one that firmware switched off.
    pub enabled: bool,
}

/// An I/O APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoApic {
    /// Its APIC ID.
    pub id: u8,
    /// Where its registers lie.
    pub addr: HostPhysAddr,
    /// The global system interrupt of its first input.
    pub gsi_base: u32,
}

/// An ISA interrupt that is not wired to the input of the same number, or not
/// as the ISA bus has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterruptOverride {
    /// Number of the ISA interrupt.
    pub irq: u8,
    /// Where it arrives and how.
    pub route: InterruptLine,
}

/// An input of an I/O APIC, and how to set it up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterruptLine {
    /// The global system interrupt.
    pub gsi: u32,
    /// The level that counts.
    pub polarity: Polarity,
    /// What of it counts.
    pub trigger: Trigger,
}

/// An input of an I/O APIC that is an NMI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NmiSource {
    /// The global system interrupt.
    pub gsi: u32,
    /// The level that counts.
    pub polarity: Polarity,
    /// What of it counts.
    pub trigger: Trigger,
}

/// A local APIC's input that is an NMI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalNmi {
    /// The CPU ([`Cpu::uid`]), or `None` for all of them.
    pub uid: Option<u32>,
    /// LINT0 or LINT1.
    pub lint: u8,
    /// The level that counts.
    pub polarity: Polarity,
    /// What of it counts.
    pub trigger: Trigger,
}

/// One entry of the table, of the kinds that we know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A CPU.
    Cpu(Cpu),
    /// An I/O APIC.
    IoApic(IoApic),
    /// A differently wired ISA interrupt.
    InterruptOverride(InterruptOverride),
    /// An NMI at an I/O APIC.
    NmiSource(NmiSource),
    /// An NMI at local APICs.
    LocalNmi(LocalNmi),
    /// Where the local APICs' registers lie, instead of the address in the head of the table.
    LocalApicAddress(HostPhysAddr),
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHead {
    local_apic_address: U32,
    flags: U32,
}

/// PCAT_COMPAT: a pair of 8259s is there and must be masked.
const PCAT_COMPAT: u32 = 1;

/// The table. Its entries have been walked once: they follow each other without
/// gap, and each holds at least what its kind must hold.
#[derive(Clone, Copy, Debug)]
pub struct Madt<'m> {
    local_apic_address: u32,
    flags: u32,
    entries: &'m [u8],
    malformed: bool,
}

impl<'m> Madt<'m> {
    pub(super) fn new(table: Table<'m>) -> Result<Self, AcpiError> {
        let (head, body) = table.split::<RawHead>()?;
        let (local_apic_address, flags) = (head.local_apic_address.get(), head.flags.get());
        let mut rest = body;
        while let Some((_, after)) = split_entry(rest) {
            rest = after;
        }
        let entries = body.get(..body.len() - rest.len()).unwrap_or(&[]);
        Ok(Self { local_apic_address, flags, entries, malformed: !rest.is_empty() })
    }

    /// Whether an entry has an impossible length. It and all behind it are ignored.
    #[must_use]
    pub const fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Whether the machine also has a pair of 8259s, which must be masked.
    #[must_use]
    pub const fn has_8259(&self) -> bool {
        self.flags & PCAT_COMPAT != 0
    }

    /// The entries of known kinds, in the table's order.
    pub fn entries(self) -> impl Iterator<Item = Entry> + use<'m> {
        let mut rest = self.entries;
        let raw = core::iter::from_fn(move || {
            let (entry, after) = split_entry(rest)?;
            rest = after;
            Some(entry)
        });
        raw.filter_map(RawEntry::decode)
    }

    /// Where every local APIC has its registers in xAPIC mode.
    #[must_use]
    pub fn local_apic_address(&self) -> Option<HostPhysAddr> {
        let narrow = HostPhysAddr::new(self.local_apic_address.into());
        let wide = self.entries().find_map(|entry| match entry {
            Entry::LocalApicAddress(addr) => Some(addr),
            _ => None,
        });
        wide.or(narrow)
    }

    /// The CPUs that can be started now, in the table's order. A CPU may be
    /// there twice; [`cpu_list`] drops the second.
    pub fn cpus(self) -> impl Iterator<Item = Cpu> + use<'m> {
        self.entries().filter_map(|entry| match entry {
            Entry::Cpu(cpu) if cpu.enabled => Some(cpu),
            _ => None,
        })
    }

    /// The I/O APICs.
    pub fn io_apics(self) -> impl Iterator<Item = IoApic> + use<'m> {
        self.entries().filter_map(|entry| match entry {
            Entry::IoApic(io_apic) => Some(io_apic),
            _ => None,
        })
    }

    /// The ISA interrupts that are not wired to the input of the same number, or not as the ISA
    /// bus has it.
    pub fn overrides(self) -> impl Iterator<Item = InterruptOverride> + use<'m> {
        self.entries().filter_map(|entry| match entry {
            Entry::InterruptOverride(wired) => Some(wired),
            _ => None,
        })
    }

    /// How ISA interrupt `irq` is wired: as an entry says, or straight and as the ISA bus has it.
    #[must_use]
    pub fn gsi_for_isa_irq(&self, irq: u8) -> InterruptLine {
        let straight =
            InterruptLine { gsi: irq.into(), polarity: Polarity::ActiveHigh, trigger: Trigger::Edge };
        self.overrides().find(|wired| wired.irq == irq).map_or(straight, |wired| wired.route)
    }
}

/// The CPUs of the machine, each once, the boot CPU first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuList {
    /// The CPUs to be used; at least the boot CPU.
    pub ids: ArrayVec<ApicId, MAX_PCPUS>,
    /// Enabled CPUs for which there was no room.
    pub beyond: usize,
    /// Enabled CPUs whose ids the local APIC's mode cannot address.
    pub unreachable: usize,
}

/// Lists the enabled CPUs with ids up to `largest`, at most `max` and at least the
/// boot CPU, which is there even if the table forgets it: it runs this code.
#[must_use]
pub fn cpu_list(madt: &Madt<'_>, boot: ApicId, largest: ApicId, max: usize) -> CpuList {
    let mut list = CpuList { ids: ArrayVec::new(), beyond: 0, unreachable: 0 };
    let mut seen = SeenIds::default();
    let room = max.clamp(1, MAX_PCPUS);
    for id in core::iter::once(boot).chain(madt.cpus().map(|cpu| cpu.apic_id)) {
        if !seen.insert(id) || list.ids.contains(&id) {
            continue;
        }
        match list.ids.len() {
            0 => list.ids.push(id),
            _ if id > largest => list.unreachable += 1,
            len if len < room => list.ids.push(id),
            _ => list.beyond += 1,
        }
    }
    list
}

/// The 8-bit IDs that were seen: those that firmware lists in both kinds of entries.
#[derive(Default)]
struct SeenIds([u64; 4]);

impl SeenIds {
    /// Notes `id`; false if it was noted before. Wider IDs count as new.
    fn insert(&mut self, id: ApicId) -> bool {
        let Some(word) = usize::try_from(id.0 / 64).ok().and_then(|word| self.0.get_mut(word)) else {
            return true;
        };
        let bit = 1 << (id.0 % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// An entry as it lies in the table.
enum RawEntry<'m> {
    LocalApic(&'m RawLocalApic),
    IoApic(&'m RawIoApic),
    InterruptOverride(&'m RawInterruptOverride),
    NmiSource(&'m RawNmiSource),
    LocalApicNmi(&'m RawLocalApicNmi),
    LocalApicAddress(&'m RawLocalApicAddress),
    LocalX2Apic(&'m RawLocalX2Apic),
    LocalX2ApicNmi(&'m RawLocalX2ApicNmi),
    Unknown,
}

/// Type and length, then the contents that the structures below describe.
const ENTRY_HEADER_LEN: usize = 2;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLocalApic {
    uid: u8,
    apic_id: u8,
    flags: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawIoApic {
    id: u8,
    _reserved: u8,
    address: U32,
    gsi_base: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawInterruptOverride {
    bus: u8,
    source: u8,
    gsi: U32,
    flags: U16,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawNmiSource {
    flags: U16,
    gsi: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLocalApicNmi {
    uid: u8,
    flags: U16,
    lint: u8,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLocalApicAddress {
    _reserved: U16,
    address: U64,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLocalX2Apic {
    _reserved: U16,
    apic_id: U32,
    flags: U32,
    uid: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLocalX2ApicNmi {
    flags: U16,
    uid: U32,
    lint: u8,
    _reserved: [u8; 3],
}

/// Takes the first entry off. `None` at the end, and at an entry whose length
/// is not that of its kind or leaves the table.
fn split_entry(bytes: &[u8]) -> Option<(RawEntry<'_>, &[u8])> {
    let &[kind, len, ..] = bytes else { return None };
    let (entry, rest) = bytes.split_at_checked(len.into())?;
    let contents = entry.get(ENTRY_HEADER_LEN..)?;
    let entry = match kind {
        0 => RawEntry::LocalApic(view(contents)?),
        1 => RawEntry::IoApic(view(contents)?),
        2 => RawEntry::InterruptOverride(view(contents)?),
        3 => RawEntry::NmiSource(view(contents)?),
        4 => RawEntry::LocalApicNmi(view(contents)?),
        5 => RawEntry::LocalApicAddress(view(contents)?),
        9 => RawEntry::LocalX2Apic(view(contents)?),
        10 => RawEntry::LocalX2ApicNmi(view(contents)?),
        _ => RawEntry::Unknown,
    };
    Some((entry, rest))
}

fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(contents: &[u8]) -> Option<&T> {
    T::ref_from_prefix(contents).ok().map(|(view, _)| view)
}

/// "Local APIC Flags": the CPU can be started. Bit 1, Online Capable, without
/// it means that a CPU may be plugged in later.
const ENABLED: u32 = 1;
/// The ID of a place without a CPU, in 8 and in 32 bits.
const NO_APIC_ID: u8 = 0xff;
const NO_X2APIC_ID: u32 = u32::MAX;

impl RawEntry<'_> {
    /// The entry in plain values; `None` if its kind is unknown or it says nothing.
    fn decode(self) -> Option<Entry> {
        match self {
            Self::LocalApic(raw) => raw.decode().map(Entry::Cpu),
            Self::LocalX2Apic(raw) => raw.decode().map(Entry::Cpu),
            Self::IoApic(raw) => raw.decode().map(Entry::IoApic),
            Self::InterruptOverride(raw) => raw.decode().map(Entry::InterruptOverride),
            Self::NmiSource(raw) => Some(Entry::NmiSource(raw.decode())),
            Self::LocalApicNmi(raw) => Some(Entry::LocalNmi(raw.decode())),
            Self::LocalX2ApicNmi(raw) => Some(Entry::LocalNmi(raw.decode())),
            Self::LocalApicAddress(raw) => HostPhysAddr::new(raw.address.get()).map(Entry::LocalApicAddress),
            Self::Unknown => None,
        }
    }
}

impl RawLocalApic {
    fn decode(&self) -> Option<Cpu> {
        let apic_id = ApicId(self.apic_id.into());
        let enabled = self.flags.get() & ENABLED != 0;
        (self.apic_id != NO_APIC_ID).then_some(Cpu { apic_id, uid: self.uid.into(), enabled })
    }
}

impl RawLocalX2Apic {
    fn decode(&self) -> Option<Cpu> {
        let apic_id = ApicId(self.apic_id.get());
        let enabled = self.flags.get() & ENABLED != 0;
        (apic_id.0 != NO_X2APIC_ID).then_some(Cpu { apic_id, uid: self.uid.get(), enabled })
    }
}

impl RawIoApic {
    fn decode(&self) -> Option<IoApic> {
        let addr = HostPhysAddr::new(self.address.get().into())?;
        Some(IoApic { id: self.id, addr, gsi_base: self.gsi_base.get() })
    }
}

impl RawInterruptOverride {
    fn decode(&self) -> Option<InterruptOverride> {
        // Bus 0 is ISA; the specification knows no other.
        let (polarity, trigger) = inti_flags(self.flags.get());
        let route = InterruptLine { gsi: self.gsi.get(), polarity, trigger };
        (self.bus == 0).then_some(InterruptOverride { irq: self.source, route })
    }
}

impl RawNmiSource {
    fn decode(&self) -> NmiSource {
        let (polarity, trigger) = inti_flags(self.flags.get());
        NmiSource { gsi: self.gsi.get(), polarity, trigger }
    }
}

impl RawLocalApicNmi {
    fn decode(&self) -> LocalNmi {
        let (polarity, trigger) = inti_flags(self.flags.get());
        let uid = (self.uid != u8::MAX).then_some(self.uid.into());
        LocalNmi { uid, lint: self.lint, polarity, trigger }
    }
}

impl RawLocalX2ApicNmi {
    fn decode(&self) -> LocalNmi {
        let (polarity, trigger) = inti_flags(self.flags.get());
        let uid = Some(self.uid.get()).filter(|&uid| uid != u32::MAX);
        LocalNmi { uid, lint: self.lint, polarity, trigger }
    }
}

/// "MPS INTI Flags": bits 1:0 polarity, 3:2 trigger mode. What conforms to the
/// bus, and what is reserved, is as ISA has it: active high, edge.
const fn inti_flags(flags: u16) -> (Polarity, Trigger) {
    let polarity = if flags & 0b11 == 0b11 { Polarity::ActiveLow } else { Polarity::ActiveHigh };
    let trigger = if flags >> 2 & 0b11 == 0b11 { Trigger::Level } else { Trigger::Edge };
    (polarity, trigger)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::super::Signature;
    use super::super::testing::{
        config, interrupt_override, io_apic, local_apic, local_x2apic, madt_body, sdt, with_table,
    };
    use super::*;

    const ONLINE_CAPABLE: u32 = 2;

    fn with_madt<R>(entries: &[Vec<u8>], test: impl FnOnce(Madt<'_>) -> R) -> R {
        let table = sdt(Signature::MADT, 1, &madt_body(entries));
        with_table(&table, Signature::MADT, |table| test(Madt::new(table).unwrap()))
    }

    fn cpus(entries: &[Vec<u8>], boot: u32, max: usize) -> (Vec<u32>, usize) {
        let list = with_madt(entries, |madt| cpu_list(&madt, ApicId(boot), ApicId(u32::MAX), max));
        (list.ids.iter().map(|id| id.get()).collect(), list.beyond)
    }

    #[test]
    fn the_table_of_bochs_reads_as_it_should() {
        let mut entries: Vec<_> = (0..8).map(|id| local_apic(id, id, 1)).collect();
        entries.push(io_apic(8, 0xfec0_0000, 0));
        entries.push(interrupt_override(0, 0, 2, 0));
        assert_eq!(cpus(&entries, 0, 256), ((0..8).collect(), 0));
        with_madt(&entries, |madt| {
            assert!(madt.has_8259() && !madt.is_malformed());
            assert_eq!(madt.local_apic_address(), HostPhysAddr::new(0xfee0_0000));
            let addr = HostPhysAddr::new(0xfec0_0000).unwrap();
            assert!(madt.io_apics().eq([IoApic { id: 8, addr, gsi_base: 0 }]));
            assert_eq!(madt.gsi_for_isa_irq(0).gsi, 2);
            assert_eq!(madt.gsi_for_isa_irq(4).gsi, 4);
        });
    }

    #[test]
    fn overrides_carry_polarity_and_trigger() {
        let entries = [
            interrupt_override(0, 9, 20, 0x000f),
            interrupt_override(0, 5, 5, 0x0005),
            interrupt_override(0, 7, 7, 0x000d),
            interrupt_override(1, 6, 99, 0x000f),
            interrupt_override(0, 9, 21, 0),
        ];
        with_madt(&entries, |madt| {
            let route = |irq| {
                let route = madt.gsi_for_isa_irq(irq);
                (route.gsi, route.polarity, route.trigger)
            };
            assert_eq!(route(9), (20, Polarity::ActiveLow, Trigger::Level));
            assert_eq!(route(5), (5, Polarity::ActiveHigh, Trigger::Edge));
            assert_eq!(route(7), (7, Polarity::ActiveHigh, Trigger::Level));
            // Not an ISA bus, so no override.
            assert_eq!(route(6), (6, Polarity::ActiveHigh, Trigger::Edge));
        });
    }

    #[test]
    fn nmi_entries_name_their_cpus() {
        let mut x2apic_nmi = std::vec![10, 12, 5, 0];
        x2apic_nmi.extend(u32::MAX.to_le_bytes());
        x2apic_nmi.extend([0, 0, 0, 0]);
        let entries = [
            std::vec![3, 8, 0xf, 0, 17, 0, 0, 0],
            std::vec![4, 6, 0xff, 0, 0, 1],
            std::vec![4, 6, 3, 0xf, 0, 0],
            x2apic_nmi,
        ];
        let (polarity, trigger) = (Polarity::ActiveHigh, Trigger::Edge);
        let (low, level) = (Polarity::ActiveLow, Trigger::Level);
        with_madt(&entries, |madt| {
            assert!(madt.entries().eq([
                Entry::NmiSource(NmiSource { gsi: 17, polarity: low, trigger: level }),
                Entry::LocalNmi(LocalNmi { uid: None, lint: 1, polarity, trigger }),
                Entry::LocalNmi(LocalNmi { uid: Some(3), lint: 0, polarity: low, trigger: level }),
                Entry::LocalNmi(LocalNmi { uid: None, lint: 0, polarity, trigger }),
            ]));
        });
    }

    #[test]
    fn the_wide_apic_address_wins() {
        let mut wide = std::vec![5, 12, 0, 0];
        wide.extend(0xf_fee0_0000_u64.to_le_bytes());
        let addr = with_madt(&[wide], |madt| madt.local_apic_address());
        assert_eq!(addr, HostPhysAddr::new(0xf_fee0_0000));
    }

    #[test]
    fn hotplug_placeholders_are_no_cpus() {
        let entries = [
            local_apic(0, 0, 1),
            local_apic(1, 1, 0),
            local_apic(2, 2, ONLINE_CAPABLE),
            local_apic(3, 0xff, 1),
            local_x2apic(4, u32::MAX, 1),
            local_x2apic(5, 300, ONLINE_CAPABLE),
            local_apic(6, 6, 1 | ONLINE_CAPABLE),
        ];
        assert_eq!(cpus(&entries, 0, 256), (std::vec![0, 6], 0));
    }

    #[test]
    fn a_cpu_listed_twice_counts_once() {
        let entries = [
            local_apic(0, 0, 1),
            local_apic(1, 2, 1),
            local_x2apic(0, 0, 1),
            local_x2apic(1, 2, 1),
            local_x2apic(2, 0x200, 1),
            local_x2apic(2, 0x200, 1),
        ];
        assert_eq!(cpus(&entries, 0, 256), (std::vec![0, 2, 0x200], 0));
        assert_eq!(cpus(&entries, 0, 1), (std::vec![0], 3));
    }

    #[test]
    fn the_boot_cpu_comes_first_even_if_the_table_forgets_it() {
        let entries = [local_apic(0, 0, 1), local_apic(1, 1, 1), local_apic(2, 2, 1)];
        assert_eq!(cpus(&entries, 1, 256), (std::vec![1, 0, 2], 0));
        assert_eq!(cpus(&entries, 77, 2), (std::vec![77, 0], 2));
        assert_eq!(cpus(&entries, 0, 0), (std::vec![0], 2));
        assert_eq!(cpus(&[], 5, 256), (std::vec![5], 0));
    }

    #[test]
    fn ids_that_the_mode_cannot_address_are_left_out() {
        let entries: Vec<_> = [1, 0xfe, 0xff, 0x100].map(|id| local_x2apic(id, id, 1)).into();
        let list = with_madt(&entries, |madt| cpu_list(&madt, ApicId(0), ApicId(0xfe), 256));
        assert_eq!(list.ids.as_slice(), [0, 1, 0xfe].map(ApicId));
        assert_eq!((list.unreachable, list.beyond), (2, 0));
        // The boot CPU runs: it is there whatever its number.
        let list = with_madt(&entries, |madt| cpu_list(&madt, ApicId(0x100), ApicId(0xfe), 256));
        assert_eq!((list.ids.len(), list.unreachable), (3, 1));
    }

    #[test]
    fn cpus_beyond_the_table_size_are_counted() {
        let entries: Vec<_> = (0..300).map(|id| local_x2apic(id, id, 1)).collect();
        let (ids, beyond) = cpus(&entries, 0, 1_000);
        assert_eq!((ids.len(), beyond), (MAX_PCPUS, 44));
    }

    #[test]
    fn unknown_and_longer_entries_are_passed_over() {
        let mut longer = local_apic(1, 1, 1);
        longer[1] = 12;
        longer.extend([9; 4]);
        let entries = [std::vec![0x80, 2], std::vec![11, 5, 1, 2, 3], longer, local_apic(2, 2, 1)];
        assert_eq!(cpus(&entries, 1, 256), (std::vec![1, 2], 0));
    }

    #[test]
    fn nothing_behind_an_entry_of_impossible_length_is_read() {
        for bad in [
            &[0, 0][..],
            &[0, 1],
            &[7, 0],
            &[7, 1],
            &[0],
            &[0, 7, 1, 1, 1, 0, 0],
            &[9, 8, 0, 0, 1, 0, 0, 0],
            &[0, 255],
        ] {
            let entries = [local_apic(0, 0, 1), bad.to_vec(), local_apic(1, 1, 1)];
            let seen = with_madt(&entries, |madt| (madt.is_malformed(), madt.cpus().count()));
            assert_eq!(seen, (true, 1), "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn any_entries_are_survived(
            mut body in prop::collection::vec(prop_oneof![0_u8..20, any::<u8>()], 8..if cfg!(miri) { 60 } else { 400 }),
            boot: u32,
            max in 0_usize..300,
        ) {
            body[4..8].fill(0);
            let table = sdt(Signature::MADT, 5, &body);
            let list = with_table(&table, Signature::MADT, |table| {
                let madt = Madt::new(table).unwrap();
                let _ = (madt.local_apic_address(), madt.gsi_for_isa_irq(0), madt.io_apics().count());
                cpu_list(&madt, ApicId(boot), ApicId(u32::MAX), max)
            });
            prop_assert_eq!(list.ids[0], ApicId(boot));
            prop_assert!(list.ids.len() <= max.max(1));
            let mut unique = list.ids.to_vec();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), list.ids.len());
        }
    }
}
