//! What CPUID tells the vcpus of a domain.
//!
//! [`Policy::new`] reads the host's leaves once and keeps of them what the lists in
//! `features` allow; a leaf, a sub-leaf or a bit that is on no list reads as zero.
//! [`Policy::lookup`] answers a guest: it finds the leaf by index and fills in what
//! depends on the vcpu's registers.
//!
//! ```text
//!  0..=DH                     of the CPU, cut down
//!  40000000H..=40000004H      Xen's (xen_abi::cpuid)
//!  80000000H..=80000008H      of the CPU, cut down
//! ```

mod features;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;
use xen_abi::arch_x86::{CPUID_NO_SUBLEAF, CpuidLeaf};
use xen_abi::cpuid::{FIRST_LEAF, HvmFeatures, SIGNATURE_EBX, SIGNATURE_ECX, SIGNATURE_EDX};

pub use features::Feature;

use crate::id::DomId;
use features as allowed;

/// The registers that CPUID fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Regs {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// CPUID of the host.
pub trait HostCpuid {
    /// Executes CPUID with `leaf` in EAX and `subleaf` in ECX.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Regs;
}

/// How a domain's TSC runs: leaf 40000003H.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tsc {
    /// The host's TSC runs at one rate on all pcpus.
    pub host_reliable: bool,
    /// `tsc_mode` of the domain (`XEN_CPUID_TSC_MODE_*`).
    pub mode: u32,
    /// Frequency that the guest sees, kHz.
    pub guest_khz: u32,
    /// Frequency of the host, kHz.
    pub host_khz: u32,
    /// How often the domain has migrated.
    pub incarnation: u32,
    /// What is added to the host's TSC.
    pub offset: u64,
    /// Multiplier from ticks to nanoseconds.
    pub multiplier: u32,
    /// Shift from ticks to nanoseconds.
    pub shift: i8,
}

/// What a domain's CPUID depends on beside the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a feature that hardware or the caller may lack")]
pub struct Options {
    /// The domain.
    pub domain: DomId,
    /// One past the highest APIC id of its vcpus.
    pub apic_ids: u32,
    /// The virtual LAPIC's timer has TSC-deadline mode.
    pub tsc_deadline: bool,
    /// RDTSCP and RDPID are enabled in the VMCS, TSC_AUX is switched.
    pub rdtscp: bool,
    /// INVPCID is enabled in the VMCS.
    pub invpcid: bool,
    /// `IA32_SPEC_CTRL` is switched and `IA32_PRED_CMD` let through.
    pub speculation_controls: bool,
    /// `IA32_ARCH_CAPABILITIES` is answered.
    pub arch_capabilities: bool,
    /// Features of leaf 40000004H; the ids are always there.
    pub hvm: HvmFeatures,
    /// Leaf 40000003H.
    pub tsc: Tsc,
}

/// What of a vcpu's state shows in CPUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VcpuView {
    /// CR4 as the guest sees it.
    pub cr4: u64,
    /// XCR0.
    pub xcr0: u64,
    /// APIC id.
    pub apic_id: u32,
    /// `IA32_APIC_BASE` has its APIC off.
    pub apic_is_off: bool,
    /// Number of the vcpu in its domain.
    pub vcpu_id: u32,
}

const MAX_BASIC: u32 = 0xd;
const FIRST_EXTENDED: u32 = 0x8000_0000;
const MAX_EXTENDED: u32 = 0x8000_0008;
/// Leaf 40000004H is the last that an HVM domain has.
const HYPERVISOR_LEAVES: u32 = 5;
/// Xen 4.17, whose interface this is.
const XEN_VERSION: u32 = 4 << 16 | 17;
/// First MSR of the hypercall page's registers.
const HYPERCALL_MSR: u32 = 0x4000_0000;

/// Leaves that can be there at all, in the order of the table: `slot` numbers them.
const SLOTS: usize = (MAX_BASIC + 1 + HYPERVISOR_LEAVES + (MAX_EXTENDED - FIRST_EXTENDED + 1)) as usize;
/// The most entries: the five leaves with sub-leaves have at most 5 caches, 3 of leaf 7,
/// 2 levels, 2 + 4 of leaf DH and 3 of leaf 40000003H; every other leaf has one.
const CAPACITY: usize = SLOTS - 5 + MAX_CACHES as usize + 3 + 2 + 6 + 3;
const MAX_CACHES: u32 = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    subleaf: u32,
    regs: Regs,
}

/// CPUID of a domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// All leaves in the order of slots, the sub-leaves of each in rising order.
    entries: ArrayVec<Entry, CAPACITY>,
    /// The entries of slot n are `first[n]..first[n + 1]`.
    first: [u8; SLOTS + 1],
}

const _: () = assert!(CAPACITY <= u8::MAX as usize);

/// A leaf of the toolstack's that no policy has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Leaf.
    pub leaf: u32,
    /// Sub-leaf.
    pub subleaf: u32,
}

/// Where a second hypervisor's leaves would begin.
const SECOND_HYPERVISOR: u32 = FIRST_LEAF + 0x100;
/// Components of XCR0 that every CPU with XSAVE has: x87 and SSE.
const XCR0_LEGACY: u32 = 3;

/// Place of a leaf in the table.
#[inline]
const fn slot(leaf: u32) -> Option<usize> {
    const HYPERVISOR: u32 = MAX_BASIC + 1;
    const EXTENDED: u32 = HYPERVISOR + HYPERVISOR_LEAVES;
    let slot = match leaf {
        0..=MAX_BASIC => leaf,
        FIRST_LEAF..=0x4000_0004 => HYPERVISOR + (leaf - FIRST_LEAF),
        FIRST_EXTENDED..=MAX_EXTENDED => EXTENDED + (leaf - FIRST_EXTENDED),
        _ => return None,
    };
    Some(slot as usize)
}

impl Policy {
    /// The policy of a domain on this host.
    #[must_use]
    pub fn new(host: &impl HostCpuid, options: &Options) -> Self {
        let mut policy = Self { entries: ArrayVec::new(), first: [0; SLOTS + 1] };
        let builder = Builder { host, options };
        let leaves = (0..=MAX_BASIC)
            .chain(FIRST_LEAF..FIRST_LEAF + HYPERVISOR_LEAVES)
            .chain(FIRST_EXTENDED..=MAX_EXTENDED);
        for (end, leaf) in policy.first[1..].iter_mut().zip(leaves) {
            builder.leaf(leaf, &mut policy.entries);
            #[expect(clippy::cast_possible_truncation, reason = "at most CAPACITY")]
            {
                *end = policy.entries.len() as u8;
            }
        }
        policy
    }

    /// What CPUID answers to a vcpu.
    #[must_use]
    #[inline]
    pub fn lookup(&self, leaf: u32, subleaf: u32, vcpu: &VcpuView) -> Regs {
        let mut regs = self.leaf(leaf, subleaf);
        match leaf {
            1 => {
                regs.ebx |= vcpu.apic_id << 24;
                regs.ecx |= if vcpu.cr4 & CR4_OSXSAVE != 0 { Feature::OSXSAVE.mask() } else { 0 };
                // SDM "Enabling or Disabling the Local APIC".
                regs.edx &= if vcpu.apic_is_off { !Feature::APIC.mask() } else { u32::MAX };
            }
            0xb => {
                // Levels beyond the last are of type 0 but still have these two.
                regs.ecx |= subleaf & 0xff;
                regs.edx = if self.leaf(0xb, 0) == Regs::default() { 0 } else { vcpu.apic_id };
            }
            0xd => self.fill_xsave_sizes(subleaf, vcpu.xcr0, &mut regs),
            0x4000_0004 => regs.ebx = vcpu.vcpu_id,
            _ => {}
        }
        regs
    }

    /// The part of a leaf that is the same for all vcpus.
    #[must_use]
    #[inline]
    pub fn leaf(&self, leaf: u32, subleaf: u32) -> Regs {
        match self.leaf_entries(leaf) {
            [only] if only.subleaf == CPUID_NO_SUBLEAF => only.regs,
            entries => entries.iter().find(|e| e.subleaf == subleaf).map_or(Regs::default(), |e| e.regs),
        }
    }

    #[inline]
    fn leaf_entries(&self, leaf: u32) -> &[Entry] {
        let bounds = slot(leaf).and_then(|slot| Some((*self.first.get(slot)?, *self.first.get(slot + 1)?)));
        bounds.and_then(|(start, end)| self.entries.get(start.into()..end.into())).unwrap_or(&[])
    }

    /// Whether the domain has this feature.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        feature.is_in(&self.leaf(feature.leaf(), feature.subleaf()))
    }

    /// The components that XCR0 may name; 0 without XSAVE.
    #[must_use]
    pub fn xcr0(&self) -> u64 {
        let regs = self.leaf(0xd, 0);
        u64::from(regs.edx) << 32 | u64::from(regs.eax)
    }

    /// EAX of leaf 1: family, model, stepping. In EDX after INIT.
    #[must_use]
    pub fn signature(&self) -> u32 {
        self.leaf(1, 0).eax
    }

    /// The bits that the guest may set in CR4.
    #[must_use]
    pub fn cr4(&self) -> u64 {
        allowed::CR4.iter().filter(|&&(feature, _)| self.has(feature)).fold(0, |all, &(_, bits)| all | bits)
    }

    /// The bits that the guest may see set in EFER: SCE, LME, LMA, NXE.
    #[must_use]
    pub fn efer(&self) -> u64 {
        allowed::EFER.iter().filter(|&&(feature, _)| self.has(feature)).fold(0, |all, &(_, bits)| all | bits)
    }

    /// Width of the guest's physical addresses, bits.
    #[must_use]
    pub fn phys_bits(&self) -> u8 {
        match self.leaf(MAX_EXTENDED, 0).eax & 0xff {
            // SDM "CPUID—CPU Identification": without the leaf, 36.
            0 => 36,
            #[expect(clippy::cast_possible_truncation, reason = "masked")]
            bits => bits as u8,
        }
    }

    /// What is left of the policy when the toolstack wants no more than `leaves` say.
    /// Features can be taken away, and leaves from the end of a range; what describes
    /// caches, topology and sizes stays as it is.
    ///
    /// # Errors
    /// [`Refused`]: a leaf that no policy has. Nothing has changed then.
    pub fn reduced(&self, leaves: &[CpuidLeaf]) -> Result<Self, Refused> {
        let mut policy = self.clone();
        for leaf in leaves {
            policy.reduce(leaf)?;
        }
        policy.drop_components();
        policy.drop_leaves();
        Ok(policy)
    }

    fn reduce(&mut self, wanted: &CpuidLeaf) -> Result<(), Refused> {
        let &CpuidLeaf { leaf, subleaf, a, b, c, d } = wanted;
        if matches!(leaf, FIRST_LEAF | SECOND_HYPERVISOR) {
            // Toolstacks say how many leaves a hypervisor shows; that is its own affair.
            return Ok(());
        }
        if slot(leaf).is_none() || (FIRST_LEAF..FIRST_EXTENDED).contains(&leaf) {
            // A longer policy than ours may have leaves without anything in them.
            let empty = (a, b, c, d) == (0, 0, 0, 0);
            return if empty { Ok(()) } else { Err(Refused { leaf, subleaf }) };
        }
        let Some(entry) = self.entry_mut(leaf, subleaf) else { return Ok(()) };
        let regs = &mut entry.regs;
        match (leaf, subleaf) {
            (0 | FIRST_EXTENDED, _) => regs.eax = regs.eax.min(a),
            (1, _) => {
                // Nobody can take away that there is a hypervisor.
                regs.ecx &= c | Feature::HYPERVISOR.mask();
                regs.edx &= d;
            }
            (7, 0) => {
                regs.ebx &= b;
                regs.ecx &= c;
                regs.edx &= d;
            }
            (7, 1) => {
                regs.eax &= a;
                regs.edx &= d;
            }
            (7, _) => regs.edx &= d,
            (0xd, 0) => regs.eax &= a | XCR0_LEGACY,
            (0xd, 1) => regs.eax &= a,
            (0x8000_0001, _) => {
                regs.ecx &= c;
                regs.edx &= d;
            }
            _ => {}
        }
        Ok(())
    }

    fn entries_mut(&mut self, leaf: u32) -> &mut [Entry] {
        let bounds = slot(leaf).and_then(|slot| Some((*self.first.get(slot)?, *self.first.get(slot + 1)?)));
        bounds.and_then(|(start, end)| self.entries.get_mut(start.into()..end.into())).unwrap_or_default()
    }

    /// The entry of a sub-leaf, which callers may name by 0 where there are none.
    fn entry_mut(&mut self, leaf: u32, subleaf: u32) -> Option<&mut Entry> {
        let mut entries = self.entries_mut(leaf).iter_mut();
        entries.find(|entry| entry.subleaf == subleaf || entry.subleaf == CPUID_NO_SUBLEAF)
    }

    /// XCR0 names only components of features that are there.
    fn drop_components(&mut self) {
        const AVX: u32 = 1 << 2;
        const AVX512: u32 = 7 << 5;
        let xsave = self.has(Feature::XSAVE);
        let avx = if self.has(Feature::AVX) { AVX } else { 0 };
        let avx512 = if self.has(Feature::AVX512F) { AVX512 } else { 0 };
        let mut components = self.leaf(0xd, 0).eax & (XCR0_LEGACY | avx | avx512);
        // SDM "XSETBV": AVX-512 needs AVX, and all of its components.
        if components & AVX == 0 || components & AVX512 != AVX512 {
            components &= !AVX512;
        }
        for entry in self.entries_mut(0xd) {
            match entry.subleaf {
                _ if !xsave => entry.regs = Regs::default(),
                0 => entry.regs.eax = components,
                1 => {}
                n if components.checked_shr(n).unwrap_or(0) & 1 == 0 => entry.regs = Regs::default(),
                _ => {}
            }
        }
    }

    /// Leaves behind the last of their range are empty.
    fn drop_leaves(&mut self) {
        for leaf in (1..=MAX_BASIC).chain(FIRST_EXTENDED + 1..=MAX_EXTENDED) {
            if leaf <= self.leaf(leaf & FIRST_EXTENDED, 0).eax {
                continue;
            }
            self.entries_mut(leaf).iter_mut().for_each(|entry| entry.regs = Regs::default());
        }
    }

    /// Says in leaf 40000003H how the TSC runs (`XEN_CPUID_TSC_MODE_*`), and how often the
    /// domain has moved.
    pub fn set_tsc_mode(&mut self, mode: u32, incarnation: u32) {
        if let Some(entry) = self.entry_mut(FIRST_LEAF + 3, 0) {
            entry.regs.ebx = mode;
            entry.regs.edx = incarnation;
        }
    }

    /// The CPU's leaves as the toolstack reads them (`xen_cpuid_leaf_t`), without what
    /// depends on a vcpu. Xen's own leaves are not part of a CPU policy.
    pub fn serialise(&self) -> impl Iterator<Item = CpuidLeaf> {
        (0..=MAX_BASIC).chain(FIRST_EXTENDED..=MAX_EXTENDED).flat_map(|leaf| {
            self.leaf_entries(leaf).iter().map(move |&Entry { subleaf, regs }| CpuidLeaf {
                leaf,
                subleaf,
                a: regs.eax,
                b: regs.ebx,
                c: regs.ecx,
                d: regs.edx,
            })
        })
    }

    /// Leaf DH: EBX of sub-leaves 0 and 1 is the size of the area for what XCR0 enables now.
    fn fill_xsave_sizes(&self, subleaf: u32, xcr0: u64, regs: &mut Regs) {
        match subleaf {
            0 if regs.eax != 0 => regs.ebx = self.standard_size(xcr0),
            1 if regs.eax & Feature::XSAVEC.mask() != 0 => regs.ebx = self.compacted_size(xcr0),
            _ => {}
        }
    }

    /// SDM "Standard Format of XSAVE Area".
    fn standard_size(&self, components: u64) -> u32 {
        let end = |e: &Entry| e.regs.eax.saturating_add(e.regs.ebx);
        self.components(components).map(end).max().unwrap_or(0).max(XSAVE_HEADER_END)
    }

    /// SDM "Compacted Format of XSAVE Area".
    fn compacted_size(&self, components: u64) -> u32 {
        self.components(components).fold(XSAVE_HEADER_END, |end, e| {
            const ALIGNED: u32 = 1 << 1;
            let start = if e.regs.ecx & ALIGNED != 0 { end.saturating_add(63) & !63 } else { end };
            start.saturating_add(e.regs.eax)
        })
    }

    /// Of the components behind the legacy region, those that `mask` names.
    fn components(&self, mask: u64) -> impl Iterator<Item = &Entry> {
        self.leaf_entries(0xd)
            .iter()
            .filter(move |e| e.subleaf >= 2 && mask.checked_shr(e.subleaf).unwrap_or(0) & 1 != 0)
    }
}

const CR4_OSXSAVE: u64 = 1 << 18;
/// Legacy region and header (SDM "XSAVE Area").
const XSAVE_HEADER_END: u32 = 512 + 64;

struct Builder<'a, H> {
    host: &'a H,
    options: &'a Options,
}

impl<H: HostCpuid> Builder<'_, H> {
    /// Adds the entries of `leaf`, none if it does not exist.
    fn leaf(&self, leaf: u32, entries: &mut ArrayVec<Entry, CAPACITY>) {
        let mut add = |subleaf, regs| {
            // CAPACITY counts every sub-leaf below: no host can make more.
            if !entries.is_full() {
                entries.push(Entry { subleaf, regs });
            }
        };
        match leaf {
            FIRST_LEAF..FIRST_EXTENDED => self.hypervisor_leaf(leaf, &mut add),
            _ if leaf > self.last_of(leaf) => {}
            4 => self.caches(&mut add),
            7 => self.structured_features(&mut add),
            0xb => self.topology(&mut add),
            0xd => self.xsave(&mut add),
            _ => add(CPUID_NO_SUBLEAF, self.plain_leaf(leaf)),
        }
    }

    /// The last leaf in the range of `leaf`.
    fn last_of(&self, leaf: u32) -> u32 {
        let host = self.host.cpuid(leaf & FIRST_EXTENDED, 0).eax;
        if leaf < FIRST_EXTENDED { host.min(MAX_BASIC) } else { host.min(MAX_EXTENDED) }
    }

    fn plain_leaf(&self, leaf: u32) -> Regs {
        let host = self.host.cpuid(leaf, 0);
        match leaf {
            0 | FIRST_EXTENDED => Regs { eax: self.last_of(leaf), ..host },
            1 => self.version_and_features(host),
            // Descriptors of caches and TLBs; the brand string.
            2 | 0x8000_0002..=0x8000_0004 => host,
            // ARAT: the virtual LAPIC's timer never stops.
            6 => Regs { eax: 1 << 2, ..Regs::default() },
            0x8000_0001 => self.extended_features(host),
            // Size, associativity and line of the L2 cache.
            0x8000_0006 => Regs { ecx: host.ecx, ..Regs::default() },
            // Invariant TSC.
            0x8000_0007 => Regs { edx: 1 << 8, ..Regs::default() },
            // Widths of addresses; linear ones without 5-level paging.
            0x8000_0008 => Regs { eax: host.eax & 0xff | 48 << 8, ..Regs::default() },
            _ => Regs::default(),
        }
    }

    /// Leaf 1.
    fn version_and_features(&self, host: Regs) -> Regs {
        const CLFLUSH_SIZE: u32 = 0xff00;
        let offered = |on, feature: Feature| if on { feature.mask() } else { 0 };
        let deadline = offered(self.options.tsc_deadline, Feature::TSC_DEADLINE);
        Regs {
            eax: host.eax,
            ebx: host.ebx & CLFLUSH_SIZE | self.apic_id_space().min(0xff) << 16,
            ecx: host.ecx & allowed::LEAF_1_ECX
                | Feature::X2APIC.mask()
                | Feature::HYPERVISOR.mask()
                | deadline,
            edx: host.edx & allowed::LEAF_1_EDX | offered(self.options.apic_ids > 1, Feature::HTT),
        }
    }

    /// Leaf 80000001H.
    fn extended_features(&self, host: Regs) -> Regs {
        let withheld = if self.options.rdtscp { 0 } else { Feature::RDTSCP.mask() };
        Regs {
            ecx: host.ecx & allowed::LEAF_80000001_ECX,
            edx: host.edx & allowed::LEAF_80000001_EDX & !withheld,
            ..Regs::default()
        }
    }

    /// Leaf 4: the caches up to the second level belong to one vcpu, those above to all.
    fn caches(&self, add: &mut impl FnMut(u32, Regs)) {
        const TYPE: u32 = 0x1f;
        const SHARED_LEVEL: u32 = 3;
        let last_id = self.apic_id_space() - 1;
        for index in 0..MAX_CACHES {
            let host = self.host.cpuid(4, index);
            if host.eax & TYPE == 0 {
                return;
            }
            let shared = if host.eax >> 5 & 7 >= SHARED_LEVEL { last_id } else { 0 };
            let ids = last_id.min(0x3f) << 26 | shared.min(0xfff) << 14;
            add(index, Regs { eax: host.eax & 0x3ff | ids, ..host });
        }
    }

    /// Leaf 7.
    fn structured_features(&self, add: &mut impl FnMut(u32, Regs)) {
        const MAX_SUBLEAF: u32 = 2;
        let last = self.host.cpuid(7, 0).eax.min(MAX_SUBLEAF);
        for subleaf in 0..=last {
            let host = self.host.cpuid(7, subleaf);
            add(subleaf, self.structured_subleaf(subleaf, last, host));
        }
    }

    fn structured_subleaf(&self, subleaf: u32, last: u32, host: Regs) -> Regs {
        let withheld = |on, mask: u32| if on { 0 } else { mask };
        let o = self.options;
        match subleaf {
            0 => Regs {
                eax: last,
                ebx: host.ebx & allowed::LEAF_7_0_EBX & !withheld(o.invpcid, Feature::INVPCID.mask()),
                ecx: host.ecx & allowed::LEAF_7_0_ECX & !withheld(o.rdtscp, Feature::RDPID.mask()),
                edx: host.edx
                    & allowed::LEAF_7_0_EDX
                    & !withheld(o.speculation_controls, allowed::LEAF_7_0_EDX_SPECULATION)
                    & !withheld(o.arch_capabilities, Feature::ARCH_CAPABILITIES.mask()),
            },
            1 => Regs {
                eax: host.eax & allowed::LEAF_7_1_EAX,
                edx: host.edx & allowed::LEAF_7_1_EDX,
                ..Regs::default()
            },
            _ => Regs {
                edx: host.edx
                    & allowed::LEAF_7_2_EDX
                    & !withheld(o.speculation_controls, allowed::LEAF_7_2_EDX_SPECULATION),
                ..Regs::default()
            },
        }
    }

    /// Leaf BH: every vcpu is a core of one package.
    fn topology(&self, add: &mut impl FnMut(u32, Regs)) {
        const SMT: u32 = 1 << 8;
        const CORE: u32 = 2 << 8;
        let shift = self.apic_id_space().trailing_zeros();
        add(0, Regs { eax: 0, ebx: 1, ecx: SMT, edx: 0 });
        add(1, Regs { eax: shift, ebx: self.options.apic_ids.max(1) & 0xffff, ecx: CORE, edx: 0 });
    }

    /// APIC ids that the package spans, a power of 2.
    fn apic_id_space(&self) -> u32 {
        self.options.apic_ids.clamp(1, 1 << 15).next_power_of_two()
    }

    /// Leaf DH.
    fn xsave(&self, add: &mut impl FnMut(u32, Regs)) {
        if !Feature::XSAVE.is_in(&self.host.cpuid(1, 0)) {
            return;
        }
        let supported = self.host.cpuid(0xd, 0).eax & allowed::XCR0;
        let components = (2..u32::BITS).filter(|n| supported >> n & 1 != 0);
        let sizes = || components.clone().map(|n| (n, self.host.cpuid(0xd, n)));
        let end = sizes().map(|(_, c)| c.eax.saturating_add(c.ebx)).max().unwrap_or(0).max(XSAVE_HEADER_END);
        add(0, Regs { eax: supported, ebx: 0, ecx: end, edx: 0 });
        add(1, Regs { eax: self.host.cpuid(0xd, 1).eax & allowed::LEAF_D_1_EAX, ..Regs::default() });
        sizes().for_each(|(n, c)| add(n, Regs { eax: c.eax, ebx: c.ebx, ecx: c.ecx & 2, edx: 0 }));
    }

    /// Xen's leaves (`arch-x86/cpuid.h`).
    fn hypervisor_leaf(&self, leaf: u32, add: &mut impl FnMut(u32, Regs)) {
        let plain = match leaf - FIRST_LEAF {
            0 => Regs {
                eax: FIRST_LEAF + HYPERVISOR_LEAVES - 1,
                ebx: SIGNATURE_EBX,
                ecx: SIGNATURE_ECX,
                edx: SIGNATURE_EDX,
            },
            1 => Regs { eax: XEN_VERSION, ..Regs::default() },
            2 => Regs { eax: 1, ebx: HYPERCALL_MSR, ..Regs::default() },
            3 => return self.time(add),
            _ => {
                let ids = HvmFeatures::VCPU_ID_PRESENT | HvmFeatures::DOMID_PRESENT;
                let features = (self.options.hvm | ids).bits();
                Regs { eax: features, ebx: 0, ecx: self.options.domain.get().into(), edx: 0 }
            }
        };
        add(CPUID_NO_SUBLEAF, plain);
    }

    /// Leaf 40000003H.
    fn time(&self, add: &mut impl FnMut(u32, Regs)) {
        const HOST_TSC_RELIABLE: u32 = 1 << 1;
        const RDTSCP_AVAILABLE: u32 = 1 << 2;
        let tsc = &self.options.tsc;
        let reliable = if tsc.host_reliable { HOST_TSC_RELIABLE } else { 0 };
        let rdtscp = if self.options.rdtscp { RDTSCP_AVAILABLE } else { 0 };
        add(0, Regs { eax: reliable | rdtscp, ebx: tsc.mode, ecx: tsc.guest_khz, edx: tsc.incarnation });
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let (low, high) = (tsc.offset as u32, (tsc.offset >> 32) as u32);
        add(1, Regs { eax: low, ebx: high, ecx: tsc.multiplier, edx: i32::from(tsc.shift).cast_unsigned() });
        add(2, Regs { eax: tsc.host_khz, ..Regs::default() });
    }
}
