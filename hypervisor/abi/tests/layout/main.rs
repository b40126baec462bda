//! Compares every size, offset and number of the crate with Xen's own C headers.
//!
//! [`tables`] says which C name belongs to which Rust one. From it this test writes a C
//! program, compiles it against `libxen-dev`, and compares what it prints. Structures and
//! enumerations are listed completely or the tables do not compile; [`coverage`] finds
//! items that are not listed at all.

#![cfg(not(miri))]

mod coverage;
mod tables;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One comparison: a C expression and the value that the crate has for it.
struct Fact {
    c: String,
    value: i128,
}

/// The headers that the crate follows; `__XEN_TOOLS__` opens those of the toolstack.
const HEADERS: &[&str] = &[
    "stddef.h",
    "stdint.h",
    "stdio.h",
    "xen/xen.h",
    "xen/errno.h",
    "xen/version.h",
    "xen/features.h",
    "xen/memory.h",
    "xen/event_channel.h",
    "xen/grant_table.h",
    "xen/sched.h",
    "xen/vcpu.h",
    "xen/physdev.h",
    "xen/platform.h",
    "xen/domctl.h",
    "xen/sysctl.h",
    "xen/elfnote.h",
    "xen/hvm/hvm_op.h",
    "xen/hvm/hvm_vcpu.h",
    "xen/hvm/params.h",
    "xen/hvm/save.h",
    "xen/arch-x86/hvm/start_info.h",
    "xen/arch-x86/cpuid.h",
    "xen/arch-x86/cpufeatureset.h",
    "xen/io/ring.h",
    "xen/io/blkif.h",
    "xen/io/netif.h",
    "xen/io/console.h",
    "xen/io/xs_wire.h",
    "xen/io/xenbus.h",
    "xen/io/protocols.h",
];

/// `print` takes any integer of C, signed or not: 128 bits hold both kinds.
/// `struct head_sring` is a ring without entries, so just the head of all rings.
const PRELUDE: &str = r#"
struct empty {};
DEFINE_RING_TYPES(head, struct empty, struct empty);
static void print(__int128 value) {
    printf("%s%llu\n", value < 0 ? "-" : "", (unsigned long long)(value < 0 ? -value : value));
}
"#;

#[test]
fn layout_and_numbers_are_those_of_the_c_headers() {
    let facts = tables::facts();
    let printed = run_probe(&probe_source(&facts));
    let values: Vec<i128> = printed.lines().map(|line| line.parse().expect("probe prints numbers")).collect();
    assert_eq!(values.len(), facts.len(), "the probe prints one line for each fact");

    let mut wrong = String::new();
    for (fact, value) in facts.iter().zip(values) {
        if fact.value != value {
            writeln!(wrong, "{}: C has {value}, Rust has {}", fact.c, fact.value).expect("String grows");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A C program that prints each fact's value on a line of its own.
fn probe_source(facts: &[Fact]) -> String {
    let mut source = String::from("#define __XEN_TOOLS__ 1\n");
    for header in HEADERS {
        writeln!(source, "#include <{header}>").expect("String grows");
    }
    source.push_str(PRELUDE);
    source.push_str("int main(void) {\n");
    for fact in facts {
        writeln!(source, "    print({});", fact.c).expect("String grows");
    }
    source.push_str("    return 0;\n}\n");
    source
}

/// Compiles and runs `source`; returns what it printed.
fn run_probe(source: &str) -> String {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (c_file, program) = (dir.join("layout-probe.c"), dir.join("layout-probe"));
    std::fs::write(&c_file, source).expect("the target directory is writable");
    compile(&c_file, &program);
    let output = run(Command::new(&program), "the probe");
    String::from_utf8(output.stdout).expect("the probe prints ASCII")
}

fn compile(c_file: &Path, program: &Path) {
    let mut cc = Command::new("cc");
    cc.arg("-w").arg("-o").arg(program).arg(c_file);
    run(cc, "the C compiler");
}

/// Runs `command` to its success, or fails the test with the way out.
fn run(mut command: Command, what: &str) -> Output {
    const REMEDY: &str =
        "this test needs a C compiler and Xen's headers: install gcc and libxen-dev (cargo xtask setup does)";
    let output = command.output().unwrap_or_else(|error| panic!("{what} does not run: {error}\n{REMEDY}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} failed:\n{stderr}\n{REMEDY}");
    output
}
