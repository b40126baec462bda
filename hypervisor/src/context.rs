//! Registers of the vcpus of a domain as save records (`hvm/save.h`), while none of
//! them runs.
//!
//! | record | written | read |
//! |---|---|---|
//! | `HEADER` | who saved | magic and version |
//! | `CPU` | of each vcpu that is up | brings the vcpu up |
//! | `LAPIC`, `LAPIC_REGS` | of each vcpu | base address and TSC deadline |
//! | `MTRR` | of each vcpu | PAT and ranges |
//! | `CPU_XSAVE` | of each vcpu that is up, with XSAVE | XCR0 and state |
//! | `TSC_ADJUST` | of each vcpu | |
//! | `END` | | |
//!
//! Records of devices that a PVH domain does not have are refused. All records are
//! checked before the first one takes effect.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hv_arch::time;
use hv_arch::vcpu::Parked;
use hv_core::exit::{Event, InterruptionInfo};
use hv_core::gpr::{Gpr, Gprs};
use hv_core::msr::Msr;
use hv_core::msr_policy::MTRRCAP;
use hv_core::vcpu_state::{
    AccessRights, CR0_CD, CR0_ET, CR0_NW, DescriptorTable, EntryState, Limits, Segment, Segments, VcpuState,
    list_violations,
};
use hv_core::vmcs::{self, SegmentFields};
use xen_abi::errno::Errno;
use xen_abi::hvm_save::{
    CpuFlags, FILE_MAGIC, FILE_VERSION, HvmHwCpu, HvmHwCpuXsave, HvmHwLapic, HvmHwLapicRegs, HvmHwMtrr,
    HvmSaveDescriptor, HvmSaveHeader, HvmTscAdjust, NUM_FIXED_MSR, SaveType,
};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::domain::Domain;
use crate::vcpu::{Activity, State, Vcpu};
use crate::work::Work;
use crate::{control, init, sched, vcpu};

/// Why records were not written or read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// A vcpu's state is in use: try again.
    Busy,
    /// The records are wrong, or there are none.
    Refused(Errno),
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Refused(error)
    }
}

/// Fixed MTRRs in the order of the record: by number.
const FIXED_MTRRS: [u32; NUM_FIXED_MSR] =
    [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
const FIRST_VARIABLE_MTRR: u32 = 0x200;
/// Offsets of XCR0 and of the area in a `CPU_XSAVE` record.
const XSAVE_AREA: usize = 24;
/// Legacy region, and the header behind it.
const LEGACY: usize = 512;
const XSAVE_HEADER_END: usize = LEGACY + 64;

/// Bytes that the records of `domain` take at most.
pub fn size(domain: &Domain) -> usize {
    let head = size_of::<HvmSaveDescriptor>();
    let of_vcpu = [
        size_of::<HvmHwCpu>(),
        size_of::<HvmHwLapic>(),
        size_of::<HvmHwLapicRegs>(),
        size_of::<HvmHwMtrr>(),
        XSAVE_AREA + xsave_len(domain),
        size_of::<HvmTscAdjust>(),
    ];
    let each: usize = of_vcpu.iter().map(|len| head + len).sum();
    head + size_of::<HvmSaveHeader>() + domain.vcpus().len() * each + head
}

/// All records of `domain`, none of whose vcpus runs.
///
/// # Errors
///
/// [`Failure::Busy`].
pub fn save(domain: &Domain) -> Result<Vec<u8>, Failure> {
    let mut records = Records(Vec::with_capacity(size(domain)));
    records.add(SaveType::Header, 0, header(domain).as_bytes());
    let vcpus = domain.vcpus().clone();
    for kind in PER_VCPU {
        for vcpu in &vcpus {
            save_record(&mut records, kind, vcpu)?;
        }
    }
    records.add(SaveType::End, 0, &[]);
    Ok(records.0)
}

/// The record of one kind of one vcpu, without its head. `ENOENT` if there is none.
///
/// # Errors
///
/// [`Failure`]; `EINVAL` for a kind that is not saved.
pub fn save_one(domain: &Domain, kind: u32, instance: u32) -> Result<Vec<u8>, Failure> {
    let kind = u16::try_from(kind).ok().and_then(SaveType::new).ok_or(Errno::EINVAL)?;
    if kind == SaveType::Header {
        return Ok(header(domain).as_bytes().to_vec());
    }
    if !PER_VCPU.contains(&kind) {
        return Err(Errno::EINVAL.into());
    }
    let vcpu = domain.vcpu(instance).ok_or(Errno::ENOENT)?;
    let mut records = Records(Vec::new());
    save_record(&mut records, kind, &vcpu)?;
    let body = records.0.get(size_of::<HvmSaveDescriptor>()..).filter(|body| !body.is_empty());
    Ok(body.ok_or(Errno::ENOENT)?.to_vec())
}

const PER_VCPU: [SaveType; 6] = [
    SaveType::Cpu,
    SaveType::Lapic,
    SaveType::LapicRegs,
    SaveType::Mtrr,
    SaveType::CpuXsave,
    SaveType::TscAdjust,
];

struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, kind: SaveType, instance: u32, record: &[u8]) {
        let head = HvmSaveDescriptor {
            typecode: kind.get(),
            instance: u16::try_from(instance).unwrap_or(u16::MAX),
            length: u32::try_from(record.len()).unwrap_or(u32::MAX),
        };
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(record);
    }
}

fn header(domain: &Domain) -> HvmSaveHeader {
    HvmSaveHeader {
        magic: FILE_MAGIC,
        version: FILE_VERSION,
        cpuid: domain.policy().signature(),
        gtsc_khz: u32::try_from(time::tsc_hz() / 1_000).unwrap_or(u32::MAX),
        ..HvmSaveHeader::new_zeroed()
    }
}

fn save_record(records: &mut Records, kind: SaveType, vcpu: &Arc<Vcpu>) -> Result<(), Failure> {
    match kind {
        SaveType::Cpu if vcpu.is_up() => {
            let record = with_state(vcpu, |state| state.cpu.inspect(|cpu| cpu_record(cpu, vcpu)))?;
            records.add(kind, vcpu.id(), record.as_bytes());
        }
        SaveType::CpuXsave if vcpu.is_up() && vcpu.domain().policy().xcr0() != 0 => {
            let record = with_state(vcpu, |state| state.cpu.inspect(|cpu| xsave_record(cpu, vcpu)))?;
            records.add(kind, vcpu.id(), &record);
        }
        SaveType::Mtrr => {
            let pat = with_state(vcpu, |state| state.cpu.inspect(|cpu| cpu.read(vmcs::GUEST_IA32_PAT)))?;
            records.add(kind, vcpu.id(), mtrr_record(vcpu, pat).as_bytes());
        }
        SaveType::Lapic => records.add(kind, vcpu.id(), lapic_record(vcpu).as_bytes()),
        SaveType::LapicRegs => records.add(kind, vcpu.id(), lapic_registers(vcpu).as_bytes()),
        SaveType::TscAdjust => {
            let record = HvmTscAdjust { tsc_adjust: vcpu.kept().lock().tsc_adjust() };
            records.add(kind, vcpu.id(), record.as_bytes());
        }
        _ => {}
    }
    Ok(())
}

/// The state of a vcpu that does not run. The caller's own is locked, so nobody waits.
fn with_state<R>(vcpu: &Vcpu, act: impl FnOnce(&mut State) -> R) -> Result<R, Failure> {
    Ok(act(&mut *vcpu.state().try_lock().ok_or(Failure::Busy)?))
}

fn cpu_record(cpu: &Parked<'_>, vcpu: &Vcpu) -> HvmHwCpu {
    let (cr0, cr4) = cpu.control_registers();
    let [dr0, dr1, dr2, dr3, dr6] = cpu.debug_registers();
    let msr = |register| cpu.msr(register).unwrap_or(0);
    let mut record = HvmHwCpu {
        rsp: cpu.read(vmcs::GUEST_RSP),
        rip: cpu.read(vmcs::GUEST_RIP),
        rflags: cpu.read(vmcs::GUEST_RFLAGS),
        cr0,
        cr2: cpu.cr2(),
        cr3: cpu.read(vmcs::GUEST_CR3),
        cr4,
        dr0,
        dr1,
        dr2,
        dr3,
        dr6,
        dr7: cpu.read(vmcs::GUEST_DR7),
        sysenter_cs: cpu.read(vmcs::GUEST_IA32_SYSENTER_CS).into(),
        sysenter_esp: cpu.read(vmcs::GUEST_IA32_SYSENTER_ESP),
        sysenter_eip: cpu.read(vmcs::GUEST_IA32_SYSENTER_EIP),
        shadow_gs: msr(Msr::IA32_KERNEL_GS_BASE),
        msr_lstar: msr(Msr::IA32_LSTAR),
        msr_star: msr(Msr::IA32_STAR),
        msr_cstar: msr(Msr::IA32_CSTAR),
        msr_syscall_mask: msr(Msr::IA32_FMASK),
        msr_efer: cpu.read(vmcs::GUEST_IA32_EFER),
        tsc: vcpu.tsc(),
        gdtr_limit: cpu.read(vmcs::GUEST_GDTR_LIMIT),
        gdtr_base: cpu.read(vmcs::GUEST_GDTR_BASE),
        idtr_limit: cpu.read(vmcs::GUEST_IDTR_LIMIT),
        idtr_base: cpu.read(vmcs::GUEST_IDTR_BASE),
        flags: CpuFlags::FPU_INITIALISED.bits(),
        ..HvmHwCpu::new_zeroed()
    };
    if let Some(legacy) = cpu.extended_state().get(..LEGACY) {
        record.fpu_regs.copy_from_slice(legacy);
    }
    for (place, register) in general_registers(&mut record) {
        *place = cpu.registers().get(register);
    }
    for (place, fields) in segment_places(&mut record) {
        place.store(&segment(cpu, fields));
    }
    record
}

/// The general registers of a record but RSP.
fn general_registers(record: &mut HvmHwCpu) -> [(&mut u64, Gpr); 15] {
    [
        (&mut record.rax, Gpr::Rax),
        (&mut record.rbx, Gpr::Rbx),
        (&mut record.rcx, Gpr::Rcx),
        (&mut record.rdx, Gpr::Rdx),
        (&mut record.rbp, Gpr::Rbp),
        (&mut record.rsi, Gpr::Rsi),
        (&mut record.rdi, Gpr::Rdi),
        (&mut record.r8, Gpr::R8),
        (&mut record.r9, Gpr::R9),
        (&mut record.r10, Gpr::R10),
        (&mut record.r11, Gpr::R11),
        (&mut record.r12, Gpr::R12),
        (&mut record.r13, Gpr::R13),
        (&mut record.r14, Gpr::R14),
        (&mut record.r15, Gpr::R15),
    ]
}

/// Where a record keeps one segment register.
struct SegmentPlace<'a> {
    selector: &'a mut u32,
    limit: &'a mut u32,
    base: &'a mut u64,
    rights: &'a mut u32,
}

impl SegmentPlace<'_> {
    fn store(self, segment: &Segment) {
        *self.selector = segment.selector.into();
        *self.limit = segment.limit;
        *self.base = segment.base;
        *self.rights = segment.rights.packed().into();
    }

    /// `None` for a selector or rights with bits that do not exist.
    fn load(self) -> Option<Segment> {
        Some(Segment {
            selector: u16::try_from(*self.selector).ok()?,
            rights: AccessRights::new(u16::try_from(*self.rights).ok()?)?,
            limit: *self.limit,
            base: *self.base,
        })
    }
}

macro_rules! place {
    ($record:ident, $selector:ident, $limit:ident, $base:ident, $rights:ident) => {
        SegmentPlace {
            selector: &mut $record.$selector,
            limit: &mut $record.$limit,
            base: &mut $record.$base,
            rights: &mut $record.$rights,
        }
    };
}

fn segment_places(record: &mut HvmHwCpu) -> [(SegmentPlace<'_>, SegmentFields); 8] {
    [
        (place!(record, es_sel, es_limit, es_base, es_arbytes), SegmentFields::ES),
        (place!(record, cs_sel, cs_limit, cs_base, cs_arbytes), SegmentFields::CS),
        (place!(record, ss_sel, ss_limit, ss_base, ss_arbytes), SegmentFields::SS),
        (place!(record, ds_sel, ds_limit, ds_base, ds_arbytes), SegmentFields::DS),
        (place!(record, fs_sel, fs_limit, fs_base, fs_arbytes), SegmentFields::FS),
        (place!(record, gs_sel, gs_limit, gs_base, gs_arbytes), SegmentFields::GS),
        (place!(record, ldtr_sel, ldtr_limit, ldtr_base, ldtr_arbytes), SegmentFields::LDTR),
        (place!(record, tr_sel, tr_limit, tr_base, tr_arbytes), SegmentFields::TR),
    ]
}

fn segment(cpu: &Parked<'_>, fields: SegmentFields) -> Segment {
    Segment {
        selector: cpu.read(fields.selector),
        rights: AccessRights::from_vmx(cpu.read(fields.access_rights)),
        limit: cpu.read(fields.limit),
        base: cpu.read(fields.base),
    }
}

/// Bytes of the XSAVE area of all that the domain may enable.
fn xsave_len(domain: &Domain) -> usize {
    let policy = domain.policy();
    usize::try_from(policy.leaf(0xd, 0).ecx).unwrap_or(0).max(XSAVE_HEADER_END)
}

fn xsave_record(cpu: &Parked<'_>, vcpu: &Vcpu) -> Vec<u8> {
    let xcr0 = vcpu.domain().policy().xcr0();
    let mut record = Vec::with_capacity(XSAVE_AREA + xsave_len(vcpu.domain()));
    for word in [xcr0, cpu.xcr0(), xcr0] {
        record.extend_from_slice(&word.to_le_bytes());
    }
    let area = cpu.extended_state();
    record.extend_from_slice(area.get(..xsave_len(vcpu.domain())).unwrap_or(area));
    record
}

fn mtrr_record(vcpu: &Vcpu, pat: u64) -> HvmHwMtrr {
    let kept = vcpu.kept().lock();
    let read = |number| kept.mtrrs().read(Msr::new(number)).unwrap_or(0);
    let mut record = HvmHwMtrr { msr_pat_cr: pat, msr_mtrr_cap: MTRRCAP, ..HvmHwMtrr::new_zeroed() };
    record.msr_mtrr_def_type = read(Msr::IA32_MTRR_DEF_TYPE.get());
    for (place, number) in record.msr_mtrr_var.iter_mut().zip(FIRST_VARIABLE_MTRR..) {
        *place = read(number);
    }
    for (place, number) in record.msr_mtrr_fixed.iter_mut().zip(FIXED_MTRRS) {
        *place = read(number);
    }
    record
}

fn lapic_record(vcpu: &Vcpu) -> HvmHwLapic {
    const GLOBAL_ENABLE: u64 = 1 << 11;
    const SPURIOUS: u16 = 0xf0;
    const SOFTWARE_ENABLE: u32 = 1 << 8;
    const DIVIDE: u16 = 0x3e0;
    let mut lapic = vcpu.lapic().lock();
    let (base, now) = (lapic.read_base(), vcpu.tsc());
    let off = |bit: u32, off: bool| if off { bit } else { 0 };
    let disabled =
        off(1, base & GLOBAL_ENABLE == 0) | off(2, lapic.read_mmio(SPURIOUS, now) & SOFTWARE_ENABLE == 0);
    // SDM "Divide Configuration Register": bits 3, 1 and 0; 111 divides by 1.
    let code = lapic.read_mmio(DIVIDE, now);
    let divide = (code & 3 | code >> 1 & 4).wrapping_add(1) & 7;
    HvmHwLapic {
        apic_base_msr: base,
        disabled,
        timer_divisor: 1 << divide,
        tdt_msr: lapic.read_tsc_deadline(now),
    }
}

fn lapic_registers(vcpu: &Vcpu) -> HvmHwLapicRegs {
    const STEP: usize = 16;
    let mut record = HvmHwLapicRegs::new_zeroed();
    let mut lapic = vcpu.lapic().lock();
    let now = vcpu.tsc();
    for (register, offset) in record.data.chunks_exact_mut(STEP).zip((0_u16..).step_by(STEP)) {
        if let Some(word) = register.first_chunk_mut::<4>() {
            *word = lapic.read_mmio(offset, now).to_le_bytes();
        }
    }
    record
}

/// What a record does to a vcpu.
enum Change {
    Cpu {
        record: Box<HvmHwCpu>,
        state: VcpuState,
        event: Option<Event>,
    },
    Mtrr(HvmHwMtrr),
    Xsave {
        xcr0: u64,
        area: Vec<u8>,
    },
    Lapic(HvmHwLapic),
    TscAdjust(u64),
    /// Nothing that the domain's other state does not say.
    Nothing,
}

/// Sets the state of the vcpus of `domain`, none of which runs, by `records`.
///
/// # Errors
///
/// [`Failure::Busy`]; `ENODATA` without a header or end, `EINVAL` for a record that is
/// wrong, or of a vcpu or device that the domain does not have.
pub fn load(domain: &Domain, records: &[u8]) -> Result<(), Failure> {
    let changes = parse(domain, records)?;
    // Nothing has changed as long as one of them is in use.
    if domain.vcpus().iter().any(|vcpu| vcpu.state().try_lock().is_none()) {
        return Err(Failure::Busy);
    }
    for (vcpu, change) in &changes {
        apply(domain, vcpu, change)?;
    }
    Ok(())
}

fn parse(domain: &Domain, records: &[u8]) -> Result<Vec<(Arc<Vcpu>, Change)>, Errno> {
    let limits = limits(domain);
    let (head, body, mut rest) = next(records)?;
    let header = read::<HvmSaveHeader>(body);
    if head.typecode != SaveType::Header.get() {
        return Err(Errno::ENODATA);
    }
    if header.magic != FILE_MAGIC || header.version != FILE_VERSION {
        return Err(Errno::EINVAL);
    }
    let most = domain.vcpus().len() * PER_VCPU.len();
    let mut changes = Vec::new();
    loop {
        let (head, body, behind) = next(rest)?;
        rest = behind;
        let kind = SaveType::new(head.typecode).ok_or(Errno::EINVAL)?;
        if kind == SaveType::End {
            return Ok(changes);
        }
        // Records that say nothing are short, what becomes of them is not.
        if changes.len() == most {
            return Err(Errno::EINVAL);
        }
        let vcpu = domain.vcpu(head.instance.into()).ok_or(Errno::EINVAL)?;
        let change = Change::parse(kind, body, domain, &limits, &vcpu)?;
        changes.push((vcpu, change));
    }
}

/// The first record: its head, the record, what follows it.
fn next(records: &[u8]) -> Result<(HvmSaveDescriptor, &[u8], &[u8]), Errno> {
    let (head, rest) = HvmSaveDescriptor::read_from_prefix(records).map_err(|_| Errno::ENODATA)?;
    let length = usize::try_from(head.length).map_err(|_| Errno::EINVAL)?;
    let (body, rest) = rest.split_at_checked(length).ok_or(Errno::ENODATA)?;
    Ok((head, body, rest))
}

/// A record, filled up with zeros if it is of an older version.
fn read<T: FromBytes + IntoBytes + Immutable>(body: &[u8]) -> T {
    let mut record = T::new_zeroed();
    record.as_mut_bytes().iter_mut().zip(body).for_each(|(to, from)| *to = *from);
    record
}

fn limits(domain: &Domain) -> Limits {
    let (config, policy) = (init::vmx_config(), domain.policy());
    Limits {
        cr0: config.guest_cr0(),
        cr4: config.cr4(),
        guest_cr4: policy.cr4(),
        guest_efer: policy.efer(),
        phys_bits: policy.phys_bits(),
    }
}

impl Change {
    fn parse(
        kind: SaveType,
        body: &[u8],
        domain: &Domain,
        limits: &Limits,
        vcpu: &Vcpu,
    ) -> Result<Self, Errno> {
        match kind {
            SaveType::Cpu => {
                let mut record = read::<HvmHwCpu>(body);
                let state = registers(&mut record).ok_or(Errno::EINVAL)?;
                check(vcpu, &state, limits)?;
                // Those that VM entry looks at besides.
                if ![record.sysenter_esp, record.sysenter_eip].into_iter().all(is_canonical) {
                    return Err(Errno::EINVAL);
                }
                Ok(Self::Cpu { event: pending_event(&record)?, record: Box::new(record), state })
            }
            SaveType::Mtrr => {
                let record = read::<HvmHwMtrr>(body);
                let valid = record.msr_mtrr_cap & 0xff <= MTRRCAP & 0xff && is_pat(record.msr_pat_cr);
                if valid { Ok(Self::Mtrr(record)) } else { Err(Errno::EINVAL) }
            }
            SaveType::CpuXsave => {
                let record = read::<HvmHwCpuXsave>(body);
                let area = body.get(XSAVE_AREA..).unwrap_or_default();
                let fits = (XSAVE_HEADER_END..=xsave_len(domain)).contains(&area.len());
                if !fits || record.xcr0 & !domain.policy().xcr0() != 0 {
                    return Err(Errno::EINVAL);
                }
                Ok(Self::Xsave { xcr0: record.xcr0, area: area.to_vec() })
            }
            SaveType::Lapic => Ok(Self::Lapic(read(body))),
            SaveType::TscAdjust => Ok(Self::TscAdjust(read::<HvmTscAdjust>(body).tsc_adjust)),
            // Interrupts in flight are not carried over.
            SaveType::LapicRegs => Ok(Self::Nothing),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// The registers that VM entry checks; `None` if a segment's rights cannot be.
fn registers(record: &mut HvmHwCpu) -> Option<VcpuState> {
    let mut gprs = Gprs::ZERO;
    for (value, register) in general_registers(record) {
        gprs.set(register, *value);
    }
    gprs.set(Gpr::Rsp, record.rsp);
    let [es, cs, ss, ds, fs, gs, ldtr, tr] = segment_places(record).map(|(place, _)| place.load());
    let segments = Segments { es: es?, cs: cs?, ss: ss?, ds: ds?, fs: fs?, gs: gs?, ldtr: ldtr?, tr: tr? };
    let table = |base, limit: u32| Some(DescriptorTable { base, limit: u16::try_from(limit).ok()? });
    Some(VcpuState {
        gprs,
        rip: record.rip,
        rflags: record.rflags | 1 << 1,
        cr0: record.cr0 | CR0_ET,
        cr3: record.cr3,
        cr4: record.cr4,
        efer: record.msr_efer,
        dr7: record.dr7 & 0xffff_ffff | 1 << 10,
        segments,
        gdtr: table(record.gdtr_base, record.gdtr_limit)?,
        idtr: table(record.idtr_base, record.idtr_limit)?,
    })
}

/// What MOV to control registers and VM entry would refuse.
fn check(vcpu: &Vcpu, state: &VcpuState, limits: &Limits) -> Result<(), Errno> {
    const CR0_DEFINED: u64 = 0xe005_003f;
    let mut valid = state.cr0 & !CR0_DEFINED == 0
        && (state.cr0 & CR0_NW == 0 || state.cr0 & CR0_CD != 0)
        && state.cr4 & !limits.guest_cr4 == 0;
    list_violations(&EntryState::starting(&state.for_entry(limits)), limits, &mut |violation| {
        log::info!("{vcpu}: registers refused: {violation}");
        valid = false;
    });
    if valid { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Eight memory types that IA32_PAT can hold (SDM "Page Attribute Table").
fn is_pat(value: u64) -> bool {
    value.to_le_bytes().into_iter().all(|entry| matches!(entry, 0 | 1 | 4..=7))
}

fn apply(domain: &Domain, vcpu: &Arc<Vcpu>, change: &Change) -> Result<(), Failure> {
    match change {
        Change::Cpu { record, state, event } => {
            with_state(vcpu, |current| load_cpu(vcpu, current, record, state))??;
            if let Some(event) = *event {
                with_state(vcpu, |current| current.pending.interrupted(event))?;
            }
            set_tsc(domain, vcpu, record.tsc)?;
            // It starts as soon as the domain may run.
            sched::wake(vcpu);
        }
        Change::Mtrr(record) => {
            with_state(vcpu, |state| {
                state.cpu.inspect(|cpu| cpu.write(vmcs::GUEST_IA32_PAT, record.msr_pat_cr));
            })?;
            load_mtrrs(vcpu, record, domain.policy().phys_bits())?;
        }
        Change::Xsave { xcr0, area } => {
            let taken =
                with_state(vcpu, |state| state.cpu.inspect(|cpu| cpu.set_extended_state(*xcr0, area)))?;
            if !taken {
                return Err(Errno::EINVAL.into());
            }
        }
        Change::Lapic(record) => {
            with_state(vcpu, |state| load_lapic(vcpu, state, record))??;
        }
        Change::TscAdjust(value) => vcpu.kept().lock().set_tsc_adjust(*value),
        Change::Nothing => {}
    }
    Ok(())
}

fn load_lapic(vcpu: &Arc<Vcpu>, state: &mut State, record: &HvmHwLapic) -> Result<(), Errno> {
    let mut lapic = vcpu.lapic().lock();
    if record.apic_base_msr != lapic.read_base() {
        // It sends nothing.
        let _nothing = lapic.write_base(record.apic_base_msr).map_err(|_| Errno::EINVAL)?;
    }
    // The deadline is looked at when the vcpu runs.
    let _timer = lapic.write_tsc_deadline(record.tdt_msr, vcpu.tsc());
    let mode = lapic.mode();
    drop(lapic);
    vcpu.notify(Work::TIMERS);
    state.cpu.inspect(|cpu| cpu.set_apic_mode(mode));
    Ok(())
}

fn load_cpu(
    vcpu: &Arc<Vcpu>,
    current: &mut State,
    record: &HvmHwCpu,
    state: &VcpuState,
) -> Result<(), Errno> {
    let config = init::vmx_config();
    current.cpu.inspect(|cpu| {
        let pat = cpu.read(vmcs::GUEST_IA32_PAT);
        vcpu::reset(cpu, vcpu, config, state);
        cpu.flush_translations();
        cpu.write(vmcs::GUEST_IA32_PAT, pat);
        cpu.write(vmcs::GUEST_IA32_SYSENTER_CS, u32::try_from(record.sysenter_cs).unwrap_or(0));
        cpu.write(vmcs::GUEST_IA32_SYSENTER_ESP, record.sysenter_esp);
        cpu.write(vmcs::GUEST_IA32_SYSENTER_EIP, record.sysenter_eip);
        cpu.set_cr2(record.cr2);
        cpu.set_debug_registers([record.dr0, record.dr1, record.dr2, record.dr3, record.dr6]);
        let msrs = [
            (Msr::IA32_KERNEL_GS_BASE, record.shadow_gs),
            (Msr::IA32_LSTAR, record.msr_lstar),
            (Msr::IA32_STAR, record.msr_star),
            (Msr::IA32_CSTAR, record.msr_cstar),
            (Msr::IA32_FMASK, record.msr_syscall_mask),
        ];
        let msrs = msrs.into_iter().all(|(register, value)| cpu.set_msr(register, value));
        let xcr0 = cpu.xcr0();
        if msrs && cpu.set_extended_state(xcr0, &fpu(record)) { Ok(()) } else { Err(Errno::EINVAL) }
    })?;
    current.activity = Activity::Active;
    vcpu.note_initialised();
    vcpu.set_up(true);
    Ok(())
}

fn is_canonical(address: u64) -> bool {
    matches!(address.cast_signed() >> 47, 0 | -1)
}

/// The event that was being delivered, if one was.
fn pending_event(record: &HvmHwCpu) -> Result<Option<Event>, Errno> {
    let info = InterruptionInfo::new(record.pending_event);
    if !info.is_valid() {
        return Ok(None);
    }
    Event::saved(info, record.error_code).map(Some).ok_or(Errno::EINVAL)
}

/// The start of an XSAVE area with the record's FPU state, or that after reset.
fn fpu(record: &HvmHwCpu) -> [u8; XSAVE_HEADER_END] {
    const FCW_RESET: [u8; 2] = 0x037f_u16.to_le_bytes();
    const MXCSR: usize = 24;
    const MXCSR_RESET: [u8; 4] = 0x1f80_u32.to_le_bytes();
    /// x87 and SSE state is there.
    const XSTATE_BV: u8 = 3;
    let mut area = [0; XSAVE_HEADER_END];
    if record.flags & CpuFlags::FPU_INITIALISED.bits() != 0 {
        area[..LEGACY].copy_from_slice(&record.fpu_regs);
        area[LEGACY] = XSTATE_BV;
    } else {
        area[..2].copy_from_slice(&FCW_RESET);
        area[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_RESET);
    }
    area
}

/// Sets the time stamp counter of `vcpu`; that of the first vcpu is all the others',
/// which start in step with it.
fn set_tsc(domain: &Domain, vcpu: &Arc<Vcpu>, tsc: u64) -> Result<(), Failure> {
    let offset = tsc.wrapping_sub(hv_arch::cpu::rdtsc());
    for other in domain.vcpus().iter().filter(|other| vcpu.id() == 0 || other.id() == vcpu.id()) {
        other.set_tsc_offset(offset);
        other.notify(Work::TIMERS);
        with_state(other, |state| state.cpu.inspect(|cpu| cpu.set_tsc_offset(offset)))?;
        other.shared().write_time(other);
    }
    Ok(())
}

fn load_mtrrs(vcpu: &Vcpu, record: &HvmHwMtrr, phys_bits: u8) -> Result<(), Errno> {
    let variable = (FIRST_VARIABLE_MTRR..).zip(record.msr_mtrr_var);
    let fixed = FIXED_MTRRS.into_iter().zip(record.msr_mtrr_fixed);
    let default = [(Msr::IA32_MTRR_DEF_TYPE.get(), record.msr_mtrr_def_type)];
    let mut kept = vcpu.kept().lock();
    let mut all = variable.chain(fixed).chain(default);
    all.try_for_each(|(number, value)| kept.mtrrs_mut().write(Msr::new(number), value, phys_bits))
        .map_err(|_| Errno::EINVAL)
}

/// Lets the vcpus of a domain that is about to be started own just the bits of CR4 that
/// its CPUID has now.
///
/// # Errors
///
/// [`Failure::Busy`].
pub fn refresh(domain: &Domain) -> Result<(), Failure> {
    let allowed = domain.allowed_cr4();
    for vcpu in domain.vcpus().iter() {
        with_state(vcpu, |state| {
            state.cpu.inspect(|cpu| {
                let (cr0, cr4) = cpu.control_registers();
                let (cr0, cr4) = control::masks(allowed, cr0, cr4);
                cpu.write_control_masks(cr0, cr4);
            });
        })?;
    }
    Ok(())
}
