//! Tests of the running machine, chosen by the boot option `selftest`: all, or a
//! comma-separated list of names. Each prints one verdict,
//!
//! ```text
//!   TEST name: SUCCESS
//!   TEST name: FAILURE reason
//! ```
//!
//! after a line that says how many there will be. Names that start with `crash-`
//! are not among "all": each ends the hypervisor in its own way, to show that
//! the report of it works.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use hv_arch::confines::page::PinnedPage;
use hv_arch::confines::{Confines, Shootdown};
use hv_arch::frames::{self, OwnFrames};
use hv_arch::time::{self, Reference};
use hv_arch::{cpu, memory, msr, percpu, smp};
use hv_core::addr::{Gfn, GuestPhysAddr, PAGE_SIZE, PhysRange};
use hv_core::boot_info::BootInfo;
use hv_core::cmdline::SelfTest;
use hv_core::ept::{PageType, Progress, Rights as EptRights};
use hv_core::frame::{Order, Reach, Use};
use hv_core::id::{DomId, MAX_PCPUS, PcpuId};
use hv_core::memmap::MemoryMap;
use hv_core::msr::Msr;
use hv_core::paging::Rights;

use crate::domain_memory::DomainMemory;
use crate::{crash, init, pcpu};

type Verdict = Result<(), String>;

/// What the tests know of the machine.
pub struct Context<'a> {
    pub info: &'a BootInfo,
    pub map: &'a MemoryMap,
}

struct Test {
    name: &'static str,
    run: fn(&Context<'_>) -> Verdict,
}

const TESTS: &[Test] = &[
    Test { name: "no-page-is-writable-and-executable", run: writable_or_executable },
    Test { name: "code-and-constants-have-no-writable-alias", run: no_writable_alias },
    Test { name: "every-stack-has-a-guard", run: stack_guards },
    Test { name: "pcpus-have-one-address-space", run: same_tables },
    Test { name: "pcpus-are-protected", run: protections },
    Test { name: "frames-come-back", run: frames_come_back },
    Test { name: "frames-are-scrubbed", run: frames_are_scrubbed },
    Test { name: "domain-memory-comes-back", run: domain_memory_comes_back },
    Test { name: "a-frame-outlives-its-owner-while-it-is-referenced", run: frame_outlives_owner },
    Test { name: "a-domain-has-no-more-memory-than-its-limit", run: domain_memory_limit },
    Test { name: "heap-gives-disjoint-memory", run: heap },
    Test { name: "reserved-memory-is-not-allocated", run: reserved_memory },
    Test { name: "unknown-msr-is-an-error", run: unknown_msr },
    Test { name: "pcpus-acknowledge-ipis", run: pings },
    Test { name: "calls-run-on-the-pcpu-asked", run: calls },
    Test { name: "clocks-agree-between-pcpus", run: clocks_agree },
    Test { name: "clock-rate-agrees-with-the-pit", run: clock_rate },
    Test { name: "code-addresses-have-names", run: symbols },
];

const CRASHES: &[Test] = &[
    Test { name: "crash-panic", run: |_| panic!("selftest") },
    Test { name: "crash-stack-overflow", run: |_| Err(overflow_stack(1).to_string()) },
    Test { name: "crash-breakpoint", run: |_| Err(cpu::breakpoint().to_string()) },
    Test { name: "crash-other-pcpu", run: |_| crash_elsewhere() },
    Test { name: "crash-every-pcpu", run: |_| crash_everywhere() },
    Test { name: "crash-while-printing", run: |_| Err(format!("{:?}", log::error!("{Unprintable}"))) },
    Test { name: "crash-in-report", run: |_| panic!("{Unprintable}") },
];

/// Runs the tests that the option names. A name without a test is a failure: a slip
/// of the pen must not look like success.
pub fn run(wanted: SelfTest<'_>, context: &Context<'_>) {
    let chosen: Vec<(&str, Option<&Test>)> = match wanted {
        SelfTest::Off => return,
        SelfTest::All => TESTS.iter().map(|test| (test.name, Some(test))).collect(),
        SelfTest::Only(names) => names.split(',').map(|name| (name, find(name))).collect(),
    };
    if chosen.iter().all(|(name, _)| !name.starts_with("crash-")) {
        log::error!("TESTS planned: {}", chosen.len());
    }
    for (name, test) in chosen {
        match test.map_or_else(|| Err("there is no such test".into()), |test| (test.run)(context)) {
            Ok(()) => log::error!("TEST {name}: SUCCESS"),
            Err(reason) => log::error!("TEST {name}: FAILURE {reason}"),
        }
    }
    log::error!("TESTS done");
}

fn find(name: &str) -> Option<&'static Test> {
    TESTS.iter().chain(CRASHES).find(|test| test.name == name)
}

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(reason()) }
}

fn writable_or_executable(_: &Context<'_>) -> Verdict {
    let mut bad = None;
    let mut pages = 0;
    memory::for_each_mapping(&mut |leaf| {
        pages += 1;
        if leaf.rights.contains(Rights::WRITE | Rights::EXECUTE) {
            bad = Some(leaf);
        }
    });
    ensure(pages > 0, || "no mapping found".into())?;
    bad.map_or(Ok(()), |leaf| Err(format!("{leaf:x?}")))
}

/// Code and constants are not writable by any mapping, and nothing else is
/// executable.
fn no_writable_alias(_: &Context<'_>) -> Verdict {
    let constants = memory::constants();
    let (mut code, mut bad) = (0, None);
    memory::for_each_mapping(&mut |leaf| {
        let page = PhysRange::from_len(leaf.phys, leaf.size.bytes()).unwrap_or_default();
        let executable = leaf.rights.contains(Rights::EXECUTE);
        code += u64::from(executable);
        if executable && !constants.contains(page)
            || leaf.rights.contains(Rights::WRITE) && constants.overlaps(page)
        {
            bad = Some(leaf);
        }
    });
    ensure(code > 0, || "no code found".into())?;
    bad.map_or(Ok(()), |leaf| Err(format!("{leaf:x?}")))
}

fn stack_guards(_: &Context<'_>) -> Verdict {
    let here = cpu::frame_pointer();
    let stacks = memory::stacks(percpu::this().id());
    ensure(stacks.iter().any(|stack| stack.contains(&here)), || format!("{here:#x} is on no stack"))?;
    for pcpu in smp::online() {
        for stack in memory::stacks(pcpu) {
            let guard = stack.start - PAGE_SIZE;
            ensure(memory::mapping(stack.start).is_some(), || format!("CPU{pcpu}: no stack at {stack:x?}"))?;
            ensure(memory::mapping(guard).is_none(), || format!("CPU{pcpu}: {guard:#x} is mapped"))?;
            ensure(memory::is_stack_guard(guard), || format!("CPU{pcpu}: {guard:#x} is no guard"))?;
        }
    }
    Ok(())
}

fn same_tables(_: &Context<'_>) -> Verdict {
    let [_, here, _] = cpu::control_registers();
    for pcpu in others() {
        let there = seen_by(pcpu, || see(cpu::control_registers()[1]))?;
        ensure(there == here, || format!("CPU{pcpu} has CR3 {there:#x}, this one {here:#x}"))?;
    }
    Ok(())
}

fn protections(_: &Context<'_>) -> Verdict {
    const YES: u64 = 1;
    const NO: u64 = 2;
    fn protected() -> u64 {
        if cpu::is_protected(&cpu::features()) { YES } else { NO }
    }
    ensure(protected() == YES, || "this CPU is not".into())?;
    for pcpu in others() {
        let there = seen_by(pcpu, || see(protected()))?;
        ensure(there == YES, || format!("CPU{pcpu} is not"))?;
    }
    Ok(())
}

fn frames_come_back(_: &Context<'_>) -> Verdict {
    let before = frames::counts().free();
    for order in (0..=9).filter_map(Order::new) {
        // Not on the heap, which may take frames to grow.
        let taken: ArrayVec<_, 8> =
            (0..8).map(|_| OwnFrames::allocate(order, Reach::Anywhere, Use::Heap)).collect();
        for own in taken {
            own.map_err(|error| error.to_string())?.release().map_err(|error| format!("{error:?}"))?;
        }
    }
    frames::verify().map_err(|fault| format!("{fault:?}"))?;
    let after = frames::counts().free();
    ensure(before == after, || format!("{before} frames were free, now {after}"))
}

fn frames_are_scrubbed(_: &Context<'_>) -> Verdict {
    for _ in 0..4 {
        let mut own = OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::Heap)
            .map_err(|error| error.to_string())?;
        let clean = own.bytes().iter().all(|&byte| byte == 0);
        own.bytes_mut().fill(0xa5);
        own.release().map_err(|error| format!("{error:?}"))?;
        ensure(clean, || "a fresh frame holds data".into())?;
    }
    Ok(())
}

/// A domain that is nothing but memory.
struct Memory {
    confines: Confines,
    memory: DomainMemory,
}

impl Memory {
    fn new(id: u16, limit: u64) -> Result<Self, String> {
        let id = DomId::new(id).ok_or("no such domain id")?;
        let confines = Confines::new(id, init::vmx_config()).map_err(|error| error.to_string())?;
        let memory = DomainMemory::new(id, 0).map_err(|error| error.to_string())?;
        memory.set_limit(limit);
        Ok(Self { confines, memory })
    }

    fn populate(&self, gfn: u64, order: u32) -> Verdict {
        let (gfn, order) = Gfn::new(gfn).zip(Order::new(order)).ok_or("no such extent")?;
        let done = self.memory.populate(&self.confines, gfn, order, Reach::Anywhere);
        done.map_err(|error| format!("{order:?} at {gfn}: {error:?}"))
    }

    fn decrease(&self, gfn: u64, order: u32) -> Verdict {
        let (gfn, order) = Gfn::new(gfn).zip(Order::new(order)).ok_or("no such extent")?;
        let mut shootdown = Shootdown::new(&self.confines);
        let done = self.memory.decrease(&self.confines, gfn, order, &mut shootdown);
        shootdown.complete();
        done.map_err(|error| format!("{order:?} at {gfn}: {error:?}"))
    }
}

fn free_frames() -> u64 {
    frames::counts().free()
}

/// Clean or dirty, in one piece or several, taken out again or left to the end.
fn domain_memory_comes_back(_: &Context<'_>) -> Verdict {
    // What the heap takes to grow by, it has taken after the first round.
    for round in 0..3 {
        let before = free_frames();
        let domain = Memory::new(1, 4096)?;
        for (gfn, order) in [(0, 9), (512, 9), (1024, 5), (1061, 3), (2048, 0), (1 << 27, 0)] {
            domain.populate(gfn, order)?;
        }
        let mut bytes = [1; 8];
        let read = domain.confines.read(GuestPhysAddr::new(0x1f_fff8).unwrap_or_default(), &mut bytes);
        ensure(read == Ok(()) && bytes == [0; 8], || format!("fresh memory reads {read:?}, {bytes:?}"))?;
        domain.decrease(513, 0)?;
        domain.decrease(1030, 2)?;
        domain.decrease(2048, 0)?;
        domain.populate(513, 0)?;
        let expected = 2 * 512 + 32 + 8 + 1 - 4;
        let total = domain.memory.total();
        ensure(total == expected, || format!("{total} frames counted, {expected} populated"))?;
        ensure(domain.decrease(600, 10).is_err(), || "a hole was taken out".into())?;
        while domain.memory.relinquish(&domain.confines) == Progress::More {}
        ensure(domain.memory.total() == 0, || format!("{} frames left", domain.memory.total()))?;
        ensure(domain.populate(0, 0).is_err(), || "populated while it is destroyed".into())?;
        drop(domain);
        frames::verify().map_err(|fault| format!("{fault:?}"))?;
        let after = free_frames();
        ensure(round == 0 || before == after, || format!("{before} frames were free, now {after}"))?;
    }
    Ok(())
}

fn frame_outlives_owner(_: &Context<'_>) -> Verdict {
    let before = free_frames();
    let (owner, other) = (Memory::new(1, 1024)?, Memory::new(2, 1024)?);
    owner.populate(0, 9)?;
    let gfn = Gfn::new(7).ok_or("no such frame")?;
    let pinned = PinnedPage::new(&owner.confines, gfn).map_err(|error| format!("{error:?}"))?;
    pinned.u32(8).ok_or("no such word")?.store(0x1234, Ordering::Relaxed);
    ensure(pinned.u32(6).is_none() && pinned.u64(4096).is_none(), || "words where none are".into())?;
    let frame = owner.confines.reference(gfn, EptRights::Read).map_err(|error| format!("{error:?}"))?;
    let mut shootdown = Shootdown::new(&other.confines);
    let mapped = other.confines.map_reference(gfn, frame, PageType::Foreign, &mut shootdown);
    let shared = other.confines.map_shared(
        Gfn::new(9).ok_or("no such frame")?,
        other.memory.shared_info(),
        &mut shootdown,
    );
    shootdown.complete();
    ensure(mapped.is_ok() && shared.is_ok(), || format!("{mapped:?} {shared:?}"))?;
    owner.decrease(0, 9)?;
    while owner.memory.relinquish(&owner.confines) == Progress::More {}
    drop(owner);
    let kept = pinned.u32(8).map(|word| word.load(Ordering::Relaxed));
    ensure(kept == Some(0x1234), || "the frame has changed hands".into())?;
    drop(pinned);
    while other.memory.relinquish(&other.confines) == Progress::More {}
    drop(other);
    frames::verify().map_err(|fault| format!("{fault:?}"))?;
    let after = free_frames();
    ensure(before == after, || format!("{before} frames were free, now {after}"))
}

fn domain_memory_limit(_: &Context<'_>) -> Verdict {
    let domain = Memory::new(1, 513)?;
    domain.populate(0, 9)?;
    ensure(domain.populate(512, 1).is_err(), || "514 frames of 513".into())?;
    domain.populate(512, 0)?;
    ensure(domain.populate(0, 0).is_err(), || "populated twice".into())?;
    ensure(domain.memory.total() == 513, || format!("{} frames counted", domain.memory.total()))?;
    domain.memory.set_limit(600);
    ensure(domain.memory.claim(500).is_err() && domain.memory.claim(601).is_err(), || {
        "a wrong claim".into()
    })?;
    domain.memory.claim(520).map_err(|error| format!("{error:?}"))?;
    domain.populate(1024, 2)?;
    ensure(domain.memory.claimed() == 3, || format!("{} frames claimed", domain.memory.claimed()))
}

fn heap(_: &Context<'_>) -> Verdict {
    let blocks: Vec<Box<[usize]>> = (1..200).map(|n| vec![n; n * 7 % 97 + 1].into_boxed_slice()).collect();
    let large = vec![0u8; 3 << 20];
    let intact = blocks.iter().zip(1..).all(|(block, n)| block.iter().all(|&word| word == n));
    ensure(intact && large.iter().all(|&byte| byte == 0), || "a block was overwritten".into())
}

fn reserved_memory(context: &Context<'_>) -> Verdict {
    let Context { info, map } = context;
    let tables = info.symbols.iter().flat_map(|table| [table.symbols, table.strings]);
    let modules = info.modules.iter().map(|module| module.range);
    for range in tables.chain(modules).chain([info.image]).filter(|range| !range.is_empty()) {
        ensure(frames::is_reserved(range), || format!("{range} belongs to the allocator"))?;
    }
    let own =
        OwnFrames::allocate(Order::FRAME, Reach::Below4Gib, Use::Heap).map_err(|error| error.to_string())?;
    let range = own.range();
    let in_ram = map.usable_minus(&[]).any(|ram| ram.contains(range));
    own.release().map_err(|error| format!("{error:?}"))?;
    ensure(in_ram && range.start() >= 1 << 20, || format!("{range} was allocated"))
}

fn unknown_msr(_: &Context<'_>) -> Verdict {
    const NOWHERE: Msr = Msr::new(0x4000_0fff);
    ensure(msr::probe(NOWHERE).is_none(), || format!("MSR {NOWHERE} exists"))?;
    ensure(msr::probe(Msr::IA32_APIC_BASE).is_some(), || "IA32_APIC_BASE does not".into())
}

fn pings(_: &Context<'_>) -> Verdict {
    for _ in 0..100 {
        init::ping_all().map_err(|pcpu| format!("CPU{pcpu} did not answer"))?;
    }
    Ok(())
}

/// Where the functions below leave what they saw on each pcpu.
static SEEN: [AtomicU64; MAX_PCPUS] = [const { AtomicU64::new(0) }; MAX_PCPUS];

fn others() -> impl Iterator<Item = PcpuId> {
    smp::online().filter(|&pcpu| pcpu != percpu::this().id())
}

fn see(value: u64) {
    SEEN[percpu::this().id().index()].store(value, Ordering::Release);
}

/// Runs `function` on `pcpu`; returns what it passed to [`see`], which is not 0.
fn seen_by(pcpu: PcpuId, function: fn()) -> Result<u64, String> {
    SEEN[pcpu.index()].store(0, Ordering::Release);
    pcpu::call(pcpu, function).map_err(|busy| busy.to_string())?;
    let (start, limit) = (cpu::rdtsc(), time::ticks_from_us(1_000_000));
    loop {
        match SEEN[pcpu.index()].load(Ordering::Acquire) {
            0 if cpu::rdtsc() - start > limit => return Err(format!("CPU{pcpu} did not run the call")),
            0 => cpu::relax(),
            value => return Ok(value),
        }
    }
}

fn calls(_: &Context<'_>) -> Verdict {
    for pcpu in others() {
        let id = seen_by(pcpu, || see(percpu::this().id().index() as u64))?;
        ensure(id == pcpu.index() as u64, || format!("CPU{pcpu} calls itself CPU{id}"))?;
    }
    Ok(())
}

fn clocks_agree(_: &Context<'_>) -> Verdict {
    for pcpu in others() {
        for _ in 0..50 {
            let before = time::now_ns();
            let there = seen_by(pcpu, || see(time::now_ns()))?;
            let after = time::now_ns();
            ensure(before <= there && there <= after, || {
                format!("CPU{pcpu} says {there} ns between {before} and {after}")
            })?;
        }
    }
    Ok(())
}

fn clock_rate(_: &Context<'_>) -> Verdict {
    let (passed, hz, ticks) = Reference::Pit.measure(20_000).ok_or("the PIT stands still")?;
    let expected = u128::from(passed) * u128::from(time::tsc_hz()) / u128::from(hz);
    let off = u128::from(ticks).abs_diff(expected);
    ensure(off * 100 < expected, || format!("{ticks} ticks passed, {expected} expected"))
}

fn symbols(_: &Context<'_>) -> Verdict {
    ensure(crash::has_symbols(), || "the loader passed no symbol table".into())?;
    let named = crash::Code::At(run as *const () as u64).to_string();
    ensure(named.contains("selftest::run"), || format!("`run` is shown as {named}"))
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn overflow_stack(depth: u64) -> u64 {
    let frame = [depth; 64];
    overflow_stack(frame[core::hint::black_box(7)] + 1) + frame[core::hint::black_box(9)]
}

/// What panics when it is printed: with the console's lock held.
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("selftest while printing")
    }
}

fn crash_everywhere() -> Verdict {
    for pcpu in others() {
        pcpu::call(pcpu, || panic!("selftest on every pcpu")).map_err(|busy| busy.to_string())?;
    }
    panic!("selftest on every pcpu")
}

fn crash_elsewhere() -> Verdict {
    let pcpu = others().next().ok_or("there is one pcpu only")?;
    pcpu::call(pcpu, || panic!("selftest on another pcpu")).map_err(|busy| busy.to_string())?;
    time::delay_us(2_000_000);
    Err("the other pcpu's crash did not stop this one".into())
}
