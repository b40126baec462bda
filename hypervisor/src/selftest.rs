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
use core::sync::atomic::{AtomicU64, Ordering};

use hv_arch::frames::{self, OwnFrames};
use hv_arch::time::{self, Reference};
use hv_arch::{cpu, memory, msr, percpu, smp};
use hv_core::addr::PAGE_SIZE;
use hv_core::cmdline::SelfTest;
use hv_core::frame::{Order, Reach, Use};
use hv_core::id::{MAX_PCPUS, PcpuId};
use hv_core::memmap::MemoryMap;
use hv_core::msr::Msr;
use hv_core::paging::Rights;

use crate::{crash, init, pcpu};

type Verdict = Result<(), String>;

struct Test {
    name: &'static str,
    run: fn(&MemoryMap) -> Verdict,
}

const TESTS: &[Test] = &[
    Test { name: "no-page-is-writable-and-executable", run: writable_or_executable },
    Test { name: "code-and-constants-have-no-writable-alias", run: no_writable_alias },
    Test { name: "every-stack-has-a-guard", run: stack_guards },
    Test { name: "frames-come-back", run: frames_come_back },
    Test { name: "frames-are-scrubbed", run: frames_are_scrubbed },
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
];

/// Runs the tests that the option names.
pub fn run(wanted: SelfTest<'_>, map: &MemoryMap) {
    let chosen: Vec<&Test> = match wanted {
        SelfTest::Off => return,
        SelfTest::All => TESTS.iter().collect(),
        SelfTest::Only(names) => names.split(',').filter_map(find).collect(),
    };
    if chosen.iter().all(|test| !test.name.starts_with("crash-")) {
        log::error!("TESTS planned: {}", chosen.len());
    }
    for test in chosen {
        match (test.run)(map) {
            Ok(()) => log::error!("TEST {}: SUCCESS", test.name),
            Err(reason) => log::error!("TEST {}: FAILURE {reason}", test.name),
        }
    }
    log::error!("TESTS done");
}

fn find(name: &str) -> Option<&'static Test> {
    let test = TESTS.iter().chain(CRASHES).find(|test| test.name == name);
    if test.is_none() {
        log::error!("selftest: there is no test '{name}'");
    }
    test
}

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(reason()) }
}

fn writable_or_executable(_: &MemoryMap) -> Verdict {
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

/// No page of RAM is executable by one mapping and writable by another.
fn no_writable_alias(_: &MemoryMap) -> Verdict {
    let mut executable = Vec::new();
    memory::for_each_mapping(&mut |leaf| {
        if leaf.rights.contains(Rights::EXECUTE) {
            executable.push(leaf.phys..leaf.phys + leaf.size.bytes());
        }
    });
    ensure(!executable.is_empty(), || "no code found".into())?;
    let mut bad = None;
    memory::for_each_mapping(&mut |leaf| {
        let range = leaf.phys..leaf.phys + leaf.size.bytes();
        let overlaps = |code: &core::ops::Range<u64>| code.start < range.end && range.start < code.end;
        if leaf.rights.contains(Rights::WRITE) && executable.iter().any(overlaps) {
            bad = Some(leaf);
        }
    });
    bad.map_or(Ok(()), |leaf| Err(format!("{leaf:x?}")))
}

fn stack_guards(_: &MemoryMap) -> Verdict {
    let stack = cpu::frame_pointer();
    let guard = (0..64).map(|page| stack - page * PAGE_SIZE).find(|&at| memory::is_stack_guard(at));
    let guard = guard.ok_or("no guard within 256 KiB below the frame pointer")?;
    let mut mapped = false;
    memory::for_each_mapping(&mut |leaf| {
        mapped |= leaf.virt <= guard && guard < leaf.virt + leaf.size.bytes();
    });
    ensure(!mapped, || format!("the guard at {guard:#x} is mapped"))
}

fn frames_come_back(_: &MemoryMap) -> Verdict {
    let before = frames::counts().free();
    for order in (0..=9).filter_map(Order::new) {
        let taken: Vec<_> = (0..8).map(|_| OwnFrames::allocate(order, Reach::Anywhere, Use::Heap)).collect();
        for own in taken {
            own.map_err(|error| error.to_string())?.release().map_err(|error| format!("{error:?}"))?;
        }
    }
    frames::verify().map_err(|fault| format!("{fault:?}"))?;
    let after = frames::counts().free();
    // The list of frames may have made the heap grow.
    ensure(before - after <= 64, || format!("{before} frames were free, now {after}"))
}

fn frames_are_scrubbed(_: &MemoryMap) -> Verdict {
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

fn heap(_: &MemoryMap) -> Verdict {
    let blocks: Vec<Box<[usize]>> = (1..200).map(|n| vec![n; n * 7 % 97 + 1].into_boxed_slice()).collect();
    let large = vec![0u8; 3 << 20];
    let intact = blocks.iter().zip(1..).all(|(block, n)| block.iter().all(|&word| word == n));
    ensure(intact && large.iter().all(|&byte| byte == 0), || "a block was overwritten".into())
}

fn reserved_memory(map: &MemoryMap) -> Verdict {
    let own =
        OwnFrames::allocate(Order::FRAME, Reach::Below4Gib, Use::Heap).map_err(|error| error.to_string())?;
    let range = own.range();
    let in_ram = map.usable_minus(&[]).any(|ram| ram.contains(range));
    own.release().map_err(|error| format!("{error:?}"))?;
    ensure(in_ram && range.start() >= 1 << 20, || format!("{range} was allocated"))
}

fn unknown_msr(_: &MemoryMap) -> Verdict {
    const NOWHERE: Msr = Msr::new(0x4000_0fff);
    ensure(msr::probe(NOWHERE).is_none(), || format!("MSR {NOWHERE} exists"))?;
    ensure(msr::probe(Msr::IA32_APIC_BASE).is_some(), || "IA32_APIC_BASE does not".into())
}

fn pings(_: &MemoryMap) -> Verdict {
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

fn calls(_: &MemoryMap) -> Verdict {
    for pcpu in others() {
        let id = seen_by(pcpu, || see(percpu::this().id().index() as u64))?;
        ensure(id == pcpu.index() as u64, || format!("CPU{pcpu} calls itself CPU{id}"))?;
    }
    Ok(())
}

fn clocks_agree(_: &MemoryMap) -> Verdict {
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

fn clock_rate(_: &MemoryMap) -> Verdict {
    let (passed, hz, ticks) = Reference::Pit.measure(20_000).ok_or("the PIT stands still")?;
    let expected = u128::from(passed) * u128::from(time::tsc_hz()) / u128::from(hz);
    let off = u128::from(ticks).abs_diff(expected);
    ensure(off * 100 < expected, || format!("{ticks} ticks passed, {expected} expected"))
}

fn symbols(_: &MemoryMap) -> Verdict {
    ensure(crash::has_symbols(), || "the loader passed no symbol table".into())?;
    let named = crash::Code::At(run as *const () as u64).to_string();
    ensure(named.contains("selftest::run"), || format!("`run` is shown as {named}"))
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn overflow_stack(depth: u64) -> u64 {
    let frame = [depth; 64];
    overflow_stack(frame[core::hint::black_box(7)] + 1) + frame[core::hint::black_box(9)]
}

fn crash_elsewhere() -> Verdict {
    let pcpu = others().next().ok_or("there is one pcpu only")?;
    pcpu::call(pcpu, || panic!("selftest on another pcpu")).map_err(|busy| busy.to_string())?;
    time::delay_us(2_000_000);
    Err("the other pcpu's crash did not stop this one".into())
}
