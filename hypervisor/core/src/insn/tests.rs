use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::alu::{AF, CF, OF, PF, SF, STATUS, ZF};
use super::*;

const FIXED: u64 = 1 << 1;
const DF: u64 = 1 << 10;

/// Each byte of each register is another, and RCX is small.
fn gprs() -> Gprs {
    let mut gprs = Gprs::ZERO;
    for gpr in Gpr::ALL {
        let number = gpr.index() as u64;
        gprs.set(gpr, 0x8070_6050_4030_2010 + number * 0x0101_0101_0101_0101);
    }
    gprs
}

fn with(changes: &[(Gpr, u64)]) -> Gprs {
    let mut gprs = gprs();
    for (gpr, value) in changes {
        gprs.set(*gpr, *value);
    }
    gprs
}

/// What `code` is with these registers and this value in memory.
#[derive(PartialEq, Eq, Debug)]
struct Done {
    direction: Direction,
    size: Size,
    write: Option<u64>,
    gprs: Gprs,
    status: u64,
}

fn decoded(mode: Mode, code: &[u8]) -> Access {
    let access = decode(code, mode).unwrap();
    assert_eq!(usize::from(access.length()), code.len());
    // What comes behind does not count.
    let mut longer = code.to_vec();
    longer.resize(MAX_LENGTH, 0xcc);
    assert_eq!(decode(&longer, mode), Ok(access));
    for end in 0..code.len() {
        assert_eq!(decode(&code[..end], mode), Err(Error::Truncated));
    }
    access
}

fn run_with(mode: Mode, code: &[u8], before: Gprs, flags: u64, read: u64) -> Done {
    let access = decoded(mode, code);
    let (mut gprs, mut rflags) = (before, FIXED | flags);
    let outcome = access.complete(&mut gprs, &mut rflags, read);
    assert!(outcome.finished);
    assert_eq!(rflags & FIXED, FIXED);
    let writes = matches!(access.direction(), Direction::Write | Direction::Modify);
    assert_eq!(outcome.write.is_some(), writes);
    assert_eq!(access.reads(), access.direction() != Direction::Write);
    Done {
        direction: access.direction(),
        size: access.size(),
        write: outcome.write,
        gprs,
        status: rflags & !FIXED,
    }
}

fn run(mode: Mode, code: &[u8], read: u64) -> Done {
    run_with(mode, code, gprs(), 0, read)
}

fn store(mode: Mode, code: &[u8], size: Size, write: u64) {
    let expected = Done { direction: Direction::Write, size, write: Some(write), gprs: gprs(), status: 0 };
    assert_eq!(run(mode, code, 0xdead), expected);
}

fn load(mode: Mode, code: &[u8], size: Size, read: u64, gpr: Gpr, value: u64) {
    let expected =
        Done { direction: Direction::Read, size, write: None, gprs: with(&[(gpr, value)]), status: 0 };
    assert_eq!(run(mode, code, read), expected);
}

use Mode::{Bits16, Bits32, Bits64};
use Size::{Byte, Dword, Qword, Word};

#[test]
fn mov_stores_any_register() {
    store(Bits64, &[0x88, 0x03], Byte, 0x10); // mov [rbx], al
    store(Bits64, &[0x88, 0x23], Byte, 0x20); // mov [rbx], ah
    store(Bits64, &[0x88, 0x3b], Byte, 0x23); // mov [rbx], bh
    store(Bits64, &[0x40, 0x88, 0x23], Byte, 0x14); // mov [rbx], spl
    store(Bits64, &[0x40, 0x88, 0x3b], Byte, 0x17); // mov [rbx], dil
    store(Bits64, &[0x44, 0x88, 0x3b], Byte, 0x1f); // mov [rbx], r15b
    store(Bits64, &[0x66, 0x89, 0x0b], Word, 0x2111); // mov [rbx], cx
    store(Bits64, &[0x66, 0x44, 0x89, 0x03], Word, 0x2818); // mov [rbx], r8w
    store(Bits64, &[0x89, 0x47, 0x10], Dword, 0x4030_2010); // mov [rdi+0x10], eax
    store(Bits64, &[0x44, 0x89, 0xb7, 0xb0, 0, 0, 0], Dword, 0x4e3e_2e1e); // mov [rdi+0xb0], r14d
    store(Bits64, &[0x48, 0x89, 0x03], Qword, 0x8070_6050_4030_2010); // mov [rbx], rax
    store(Bits64, &[0x89, 0x05, 0, 1, 0, 0], Dword, 0x4030_2010); // mov [rip+0x100], eax
    store(Bits64, &[0x67, 0x89, 0x44, 0x8b, 8], Dword, 0x4030_2010); // mov [ebx+ecx*4+8], eax
    store(Bits64, &[0x65, 0x89, 0x03], Dword, 0x4030_2010); // mov gs:[rbx], eax
    store(Bits32, &[0x89, 0x15, 0xb0, 0, 0xe0, 0xfe], Dword, 0x4232_2212); // mov [0xfee000b0], edx
    store(Bits32, &[0x66, 0x89, 0x03], Word, 0x2010); // mov [ebx], ax
    store(Bits16, &[0x89, 0x07], Word, 0x2010); // mov [bx], ax
    store(Bits16, &[0x66, 0x67, 0x89, 0x03], Dword, 0x4030_2010); // mov [ebx], eax
}

#[test]
fn mov_stores_immediates() {
    store(Bits64, &[0xc6, 0x03, 0x80], Byte, 0x80); // mov byte [rbx], 0x80
    store(Bits64, &[0x66, 0xc7, 0x03, 0x34, 0x92], Word, 0x9234); // mov word [rbx], 0x9234
    store(Bits64, &[0xc7, 0x03, 0x78, 0x56, 0x34, 0x92], Dword, 0x9234_5678); // mov dword [rbx], 0x92345678
    // mov qword [rbx], -2
    store(Bits64, &[0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff], Qword, u64::MAX - 1);
    // mov dword [0xfee000b0], 0
    store(Bits32, &[0xc7, 0x05, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0], Dword, 0);
}

#[test]
fn mov_loads_merge_or_clear() {
    let value = 0x1122_3344_5566_7788;
    load(Bits64, &[0x8a, 0x03], Byte, value, Gpr::Rax, 0x8070_6050_4030_2088); // mov al, [rbx]
    load(Bits64, &[0x8a, 0x23], Byte, value, Gpr::Rax, 0x8070_6050_4030_8810); // mov ah, [rbx]
    load(Bits64, &[0x40, 0x8a, 0x23], Byte, value, Gpr::Rsp, 0x8474_6454_4434_2488); // mov spl, [rbx]
    load(Bits64, &[0x66, 0x8b, 0x03], Word, value, Gpr::Rax, 0x8070_6050_4030_7788); // mov ax, [rbx]
    load(Bits64, &[0x8b, 0x03], Dword, value, Gpr::Rax, 0x5566_7788); // mov eax, [rbx]
    load(Bits64, &[0x44, 0x8b, 0x3b], Dword, value, Gpr::R15, 0x5566_7788); // mov r15d, [rbx]
    load(Bits64, &[0x48, 0x8b, 0x03], Qword, value, Gpr::Rax, value); // mov rax, [rbx]
    load(Bits32, &[0x8b, 0x0d, 0x20, 0, 0xe0, 0xfe], Dword, value, Gpr::Rcx, 0x5566_7788); // mov ecx, [0xfee00020]
    load(Bits16, &[0x8b, 0x07], Word, value, Gpr::Rax, 0x8070_6050_4030_7788); // mov ax, [bx]
}

#[test]
fn mov_by_offset() {
    store(Bits32, &[0xa2, 0, 0, 0xe0, 0xfe], Byte, 0x10); // mov [0xfee00000], al
    store(Bits32, &[0xa3, 0, 0, 0xe0, 0xfe], Dword, 0x4030_2010); // mov [0xfee00000], eax
    store(Bits64, &[0xa3, 0, 0, 0xe0, 0xfe, 0, 0, 0, 0], Dword, 0x4030_2010); // mov [0xfee00000], eax
    store(Bits16, &[0xa3, 0, 8], Word, 0x2010); // mov [0x800], ax
    load(Bits32, &[0xa0, 0, 0, 0xe0, 0xfe], Byte, 7, Gpr::Rax, 0x8070_6050_4030_2007); // mov al, [0xfee00000]
    load(Bits32, &[0xa1, 0, 0, 0xe0, 0xfe], Dword, 7, Gpr::Rax, 7); // mov eax, [0xfee00000]
    let code = [0x48, 0xa1, 0, 0, 0xe0, 0xfe, 0, 0, 0, 0]; // mov rax, [0xfee00000]
    load(Bits64, &code, Qword, 1 << 40, Gpr::Rax, 1 << 40);
}

#[test]
fn mov_extends() {
    load(Bits64, &[0x0f, 0xb6, 0x03], Byte, 0x80, Gpr::Rax, 0x80); // movzx eax, byte [rbx]
    // movzx ax, byte [rbx]
    load(Bits64, &[0x66, 0x0f, 0xb6, 0x03], Byte, 0x80, Gpr::Rax, 0x8070_6050_4030_0080);
    load(Bits64, &[0x48, 0x0f, 0xb7, 0x03], Word, 0x8000, Gpr::Rax, 0x8000); // movzx rax, word [rbx]
    load(Bits64, &[0x0f, 0xbe, 0x03], Byte, 0x80, Gpr::Rax, 0xffff_ff80); // movsx eax, byte [rbx]
    // movsx ax, byte [rbx]
    load(Bits64, &[0x66, 0x0f, 0xbe, 0x03], Byte, 0x80, Gpr::Rax, 0x8070_6050_4030_ff80);
    load(Bits64, &[0x48, 0x0f, 0xbf, 0x03], Word, 0x8001, Gpr::Rax, 0xffff_ffff_ffff_8001); // movsx rax, word [rbx]
    load(Bits64, &[0x0f, 0xbf, 0x03], Word, 0x7001, Gpr::Rax, 0x7001); // movsx eax, word [rbx]
    // movsxd rax, dword [rbx]
    load(Bits64, &[0x48, 0x63, 0x03], Dword, 0x8000_0001, Gpr::Rax, 0xffff_ffff_8000_0001);
}

#[test]
fn arithmetic_writes_memory_or_a_register() {
    let modify =
        |write, status| Done { direction: Direction::Modify, size: Dword, write, gprs: gprs(), status };
    let eax = 0x4030_2010;
    assert_eq!(run(Bits64, &[0x01, 0x03], 1), modify(Some(eax + 1), PF)); // add [rbx], eax
    assert_eq!(run(Bits64, &[0x29, 0x03], eax), modify(Some(0), ZF | PF)); // sub [rbx], eax
    assert_eq!(run(Bits64, &[0x09, 0x03], 5), modify(Some(eax | 5), 0)); // or [rbx], eax
    assert_eq!(run(Bits64, &[0x21, 0x03], 0x30), modify(Some(0x10), 0)); // and [rbx], eax
    assert_eq!(run(Bits64, &[0x31, 0x03], eax | 1 << 31), modify(Some(1 << 31), SF | PF)); // xor [rbx], eax
    assert_eq!(run(Bits64, &[0x83, 0x23, 0xf0], 0x1234), modify(Some(0x1230), PF)); // and dword [rbx], -16
    assert_eq!(run(Bits64, &[0xf0, 0x83, 0x03, 0xff], 1), modify(Some(0), CF | ZF | AF | PF)); // lock add dword [rbx], -1
    // or dword [rbx], 0x10000
    assert_eq!(run(Bits64, &[0x81, 0x0b, 0, 0, 1, 0], 0), modify(Some(0x1_0000), PF));

    let combined = Done {
        direction: Direction::Read,
        size: Dword,
        write: None,
        gprs: with(&[(Gpr::Rax, 0x8030_2010)]),
        status: SF | OF,
    };
    assert_eq!(run(Bits64, &[0x03, 0x03], 0x4000_0000), combined); // add eax, [rbx]
    // or ah, [rbx]
    let ah = run(Bits64, &[0x0a, 0x23], 0x81);
    assert_eq!((ah.size, ah.gprs.get(Gpr::Rax)), (Byte, 0x8070_6050_4030_a110));
}

#[test]
fn carries_go_in() {
    let adc = run_with(Bits64, &[0x83, 0x13, 0], gprs(), CF, 0xffff_ffff); // adc dword [rbx], 0
    assert_eq!((adc.write, adc.status), (Some(0), CF | ZF | AF | PF));
    let sbb = run_with(Bits64, &[0x83, 0x1b, 0], gprs(), CF, 0); // sbb dword [rbx], 0
    assert_eq!((sbb.write, sbb.status), (Some(0xffff_ffff), CF | AF | SF | PF));
    let sbb = run_with(Bits64, &[0x1b, 0x03], with(&[(Gpr::Rax, 5)]), CF, 4); // sbb eax, [rbx]
    assert_eq!((sbb.gprs.get(Gpr::Rax), sbb.status), (0, ZF | PF));
}

#[test]
fn comparisons_only_set_flags() {
    let read = |size, status| Done { direction: Direction::Read, size, write: None, gprs: gprs(), status };
    let eax = 0x4030_2010;
    assert_eq!(run(Bits64, &[0x39, 0x03], eax), read(Dword, ZF | PF)); // cmp [rbx], eax
    assert_eq!(run(Bits64, &[0x39, 0x03], eax - 1), read(Dword, CF | SF | PF)); // cmp [rbx], eax
    assert_eq!(run(Bits64, &[0x3b, 0x03], eax - 1), read(Dword, AF)); // cmp eax, [rbx]
    assert_eq!(run(Bits64, &[0x80, 0x3b, 0x7f], 0x80), read(Byte, OF | AF)); // cmp byte [rbx], 0x7f
    assert_eq!(run(Bits64, &[0x85, 0x03], 0x8000_0000), read(Dword, ZF | PF)); // test [rbx], eax
    assert_eq!(run(Bits64, &[0xf7, 0x03, 0, 0x10, 0, 0], 0x1000), read(Dword, PF)); // test dword [rbx], 0x1000
    assert_eq!(run(Bits64, &[0xf6, 0x03, 0x80], 0xff), read(Byte, SF)); // test byte [rbx], 0x80
}

#[test]
fn one_operand() {
    let of = |code: &[u8], flags, read| {
        let done = run_with(Bits64, code, gprs(), flags, read);
        assert_eq!((done.direction, done.gprs), (Direction::Modify, gprs()));
        (done.write.unwrap(), done.status)
    };
    assert_eq!(of(&[0xff, 0x03], CF, 0x7fff_ffff), (0x8000_0000, CF | OF | SF | AF | PF)); // inc dword [rbx]
    assert_eq!(of(&[0xff, 0x03], 0, 0xffff_ffff), (0, ZF | AF | PF)); // inc dword [rbx]
    assert_eq!(of(&[0xfe, 0x0b], CF, 0), (0xff, CF | SF | AF | PF)); // dec byte [rbx]
    assert_eq!(of(&[0xf7, 0x13], STATUS, 0xff), (0xffff_ff00, STATUS)); // not dword [rbx]
    assert_eq!(of(&[0x66, 0xf7, 0x1b], 0, 0x8000), (0x8000, CF | OF | SF | PF)); // neg word [rbx]
    assert_eq!(of(&[0x48, 0xf7, 0x1b], CF, 0), (0, ZF | PF)); // neg qword [rbx]
}

#[test]
fn exchanges() {
    let rax = 0x8070_6050_4030_2010;
    let xchg = run_with(Bits64, &[0x87, 0x03], gprs(), STATUS, 7); // xchg [rbx], eax
    assert_eq!(
        (xchg.write, xchg.gprs, xchg.status),
        (Some(rax & 0xffff_ffff), with(&[(Gpr::Rax, 7)]), STATUS)
    );
    let xchg = run(Bits64, &[0xf0, 0x86, 0x23], 7); // lock xchg [rbx], ah
    assert_eq!((xchg.write, xchg.gprs), (Some(0x20), with(&[(Gpr::Rax, 0x8070_6050_4030_0710)])));

    let code = [0xf0, 0x0f, 0xb1, 0x0b]; // lock cmpxchg [rbx], ecx
    let equal = run(Bits64, &code, rax & 0xffff_ffff);
    assert_eq!((equal.write, equal.gprs, equal.status), (Some(0x4131_2111), gprs(), ZF | PF));
    let other = run(Bits64, &code, 0x4030_200f);
    assert_eq!((other.write, other.gprs), (Some(0x4030_200f), with(&[(Gpr::Rax, 0x4030_200f)])));
    assert_eq!(other.status, AF);
    let byte = run(Bits64, &[0x0f, 0xb0, 0x0b], 0x10); // cmpxchg [rbx], cl
    assert_eq!((byte.write, byte.gprs, byte.size), (Some(0x11), gprs(), Byte));

    let xadd = run(Bits64, &[0xf0, 0x0f, 0xc1, 0x0b], 0xffff_ffff); // lock xadd [rbx], ecx
    assert_eq!((xadd.write, xadd.gprs), (Some(0x4131_2110), with(&[(Gpr::Rcx, 0xffff_ffff)])));
    assert_eq!(xadd.status, CF | AF);
    let same = run(Bits64, &[0x66, 0x0f, 0xc1, 0x03], 0x0001); // xadd [rbx], ax
    assert_eq!((same.write, same.gprs.get(Gpr::Rax)), (Some(0x2011), 0x8070_6050_4030_0001));
}

#[test]
fn bit_tests() {
    let of = |code: &[u8], flags, read| {
        let done = run_with(Bits64, code, with(&[(Gpr::Rcx, 35)]), flags, read);
        (done.direction, done.write, done.status)
    };
    assert_eq!(of(&[0x0f, 0xba, 0x23, 12], ZF, 1 << 12), (Direction::Read, None, ZF | CF)); // bt dword [rbx], 12
    assert_eq!(of(&[0x0f, 0xa3, 0x0b], CF, !8), (Direction::Read, None, 0)); // bt [rbx], ecx
    assert_eq!(of(&[0x0f, 0xab, 0x0b], CF, 0), (Direction::Modify, Some(8), 0)); // bts [rbx], ecx
    assert_eq!(of(&[0x48, 0x0f, 0xab, 0x0b], CF, 0), (Direction::Modify, Some(1 << 35), 0)); // bts [rbx], rcx
    assert_eq!(of(&[0xf0, 0x0f, 0xb3, 0x0b], 0, 9), (Direction::Modify, Some(1), CF)); // lock btr [rbx], ecx
    assert_eq!(of(&[0x0f, 0xba, 0x3b, 0x21], 0, 2), (Direction::Modify, Some(0), CF)); // btc dword [rbx], 33
    assert_eq!(of(&[0x66, 0x0f, 0xba, 0x2b, 15], 0, 0), (Direction::Modify, Some(0x8000), 0)); // bts word [rbx], 15
}

#[test]
fn stos_and_lods_advance() {
    let stos = run(Bits64, &[0xab], 0); // stosd
    assert_eq!((stos.write, stos.size), (Some(0x4030_2010), Dword));
    assert_eq!(stos.gprs, with(&[(Gpr::Rdi, gprs().get(Gpr::Rdi) + 4)]));
    let stos = run_with(Bits64, &[0xaa], gprs(), DF, 0); // stosb
    assert_eq!(stos.gprs, with(&[(Gpr::Rdi, gprs().get(Gpr::Rdi) - 1)]));
    let lods = run(Bits64, &[0x48, 0xad], 9); // lodsq
    assert_eq!(lods.gprs, with(&[(Gpr::Rax, 9), (Gpr::Rsi, gprs().get(Gpr::Rsi) + 8)]));
    let lods = run_with(Bits16, &[0xac], with(&[(Gpr::Rsi, 0x1_ffff)]), 0, 0x55); // lodsb
    assert_eq!(lods.gprs, with(&[(Gpr::Rax, 0x8070_6050_4030_2055), (Gpr::Rsi, 0x1_0000)]));
    let narrow = run_with(Bits64, &[0x67, 0xab], with(&[(Gpr::Rdi, 0x5_ffff_fffe)]), 0, 0); // stosd [edi]
    assert_eq!(narrow.gprs.get(Gpr::Rdi), 2);
}

#[test]
fn rep_does_one_element_at_a_time() {
    for code in [[0xf3, 0xab], [0xf2, 0xab]] {
        let access = decoded(Bits64, &code); // rep stosd
        let mut gprs = with(&[(Gpr::Rcx, 2), (Gpr::Rdi, 0x1000)]);
        let mut rflags = FIXED;
        let mut turn = |finished, count, at| {
            let outcome = access.complete(&mut gprs, &mut rflags, 0);
            assert_eq!(outcome, Outcome { write: Some(0x4030_2010), finished });
            assert_eq!((gprs.get(Gpr::Rcx), gprs.get(Gpr::Rdi)), (count, at));
        };
        turn(false, 1, 0x1004);
        turn(true, 0, 0x1008);
        // There was nothing to do: nothing is done.
        let outcome = access.complete(&mut gprs, &mut rflags, 0);
        assert_eq!(outcome, Outcome { write: None, finished: true });
        assert_eq!(gprs, with(&[(Gpr::Rcx, 0), (Gpr::Rdi, 0x1008)]));
    }
}

#[test]
fn movs_names_both_addresses() {
    let access = decoded(Bits64, &[0x65, 0xa5]); // movsd [rdi], gs:[rsi]
    assert_eq!((access.direction(), access.reads(), access.size()), (Direction::Copy, true, Dword));
    let addresses = access.copy_addresses(&gprs()).unwrap();
    assert_eq!(addresses.source.segment, SegmentRegister::Gs);
    assert_eq!(addresses.source.offset, gprs().get(Gpr::Rsi));
    assert_eq!(addresses.destination.segment, SegmentRegister::Es);
    assert_eq!(addresses.destination.offset, gprs().get(Gpr::Rdi));
    let mut after = gprs();
    let outcome = access.complete(&mut after, &mut 2, 0xffff_ffff_1234_5678);
    assert_eq!(outcome, Outcome { write: Some(0x1234_5678), finished: true });
    let (rsi, rdi) = (gprs().get(Gpr::Rsi) + 4, gprs().get(Gpr::Rdi) + 4);
    assert_eq!(after, with(&[(Gpr::Rsi, rsi), (Gpr::Rdi, rdi)]));

    let access = decoded(Bits16, &[0xf3, 0xa4]); // rep movsb
    let addresses = access.copy_addresses(&gprs()).unwrap();
    assert_eq!(addresses.source, LogicalAddress { segment: SegmentRegister::Ds, offset: 0x2616 });
    assert_eq!(addresses.destination, LogicalAddress { segment: SegmentRegister::Es, offset: 0x2717 });
    assert_eq!(decoded(Bits64, &[0xab]).copy_addresses(&gprs()), None);
}

#[test]
fn segments_have_bases_as_the_mode_says() {
    let at = |segment| LogicalAddress { segment, offset: 0xffff_fff0 };
    assert_eq!(at(SegmentRegister::Ds).linear(0x20, Bits32), 0x10);
    assert_eq!(at(SegmentRegister::Fs).linear(0x20, Bits16), 0x10);
    assert_eq!(at(SegmentRegister::Ds).linear(0x20, Bits64), 0xffff_fff0);
    assert_eq!(at(SegmentRegister::Gs).linear(0x20, Bits64), 0x1_0000_0010);
}

#[test]
fn every_segment_is_told() {
    use SegmentRegister as S;
    let prefixes = [(0x26, S::Es), (0x2e, S::Cs), (0x36, S::Ss), (0x3e, S::Ds), (0x64, S::Fs), (0x65, S::Gs)];
    for (prefix, segment) in prefixes {
        let addresses = decoded(Bits32, &[prefix, 0xa4]).copy_addresses(&gprs()).unwrap();
        assert_eq!(addresses.source.segment, segment);
    }
}

#[test]
fn lock_where_it_does_not_belong_is_undefined() {
    let refused: [&[u8]; 9] = [
        &[0xf0, 0x89, 0x03],                   // mov [rbx], eax
        &[0xf0, 0x8b, 0x03],                   // mov eax, [rbx]
        &[0xf0, 0x03, 0x03],                   // add eax, [rbx]
        &[0xf0, 0x39, 0x03],                   // cmp [rbx], eax
        &[0xf0, 0x85, 0x03],                   // test [rbx], eax
        &[0xf0, 0x0f, 0xa3, 0x03],             // bt [rbx], eax
        &[0xf0, 0xab],                         // stosd
        &[0xf0, 0x01, 0xc3],                   // add ebx, eax
        &[0xf0, 0xc5, 0xfb, 0x10, 0x03, 0x90], // vmovsd xmm0, [rbx]
    ];
    for code in refused {
        assert_eq!(decode(code, Bits64), Err(Error::Undefined), "{code:x?}");
    }
    let accepted: [&[u8]; 13] = [
        &[0xf0, 0x01, 0x03],       // add [rbx], eax
        &[0xf0, 0x11, 0x03],       // adc [rbx], eax
        &[0xf0, 0x21, 0x03],       // and [rbx], eax
        &[0xf0, 0x19, 0x03],       // sbb [rbx], eax
        &[0xf0, 0x0f, 0xbb, 0x03], // btc [rbx], eax
        &[0xf0, 0x0f, 0xab, 0x03], // bts [rbx], eax
        &[0xf0, 0xff, 0x0b],       // dec dword [rbx]
        &[0xf0, 0xff, 0x03],       // inc dword [rbx]
        &[0xf0, 0xf7, 0x1b],       // neg dword [rbx]
        &[0xf0, 0xf7, 0x13],       // not dword [rbx]
        &[0xf0, 0x09, 0x03],       // or [rbx], eax
        &[0xf0, 0x29, 0x03],       // sub [rbx], eax
        &[0xf0, 0x31, 0x03],       // xor [rbx], eax
    ];
    for code in accepted {
        assert_eq!(decoded(Bits64, code).direction(), Direction::Modify, "{code:x?}");
    }
}

#[test]
fn the_rest_is_refused() {
    let unsupported: [&[u8]; 12] = [
        &[0x89, 0xc3],                   // mov ebx, eax
        &[0x8c, 0x03],                   // mov [rbx], es
        &[0x8e, 0x03],                   // mov es, [rbx]
        &[0x8d, 0x03],                   // lea eax, [rbx]
        &[0xff, 0x33],                   // push qword [rbx]
        &[0xf7, 0x23],                   // mul dword [rbx]
        &[0xd1, 0x23],                   // shl dword [rbx], 1
        &[0xf2, 0x0f, 0x10, 0x03],       // movsd xmm0, [rbx]
        &[0x0f, 0xc7, 0x0b],             // cmpxchg8b [rbx]
        &[0xa6],                         // cmpsb
        &[0xc5, 0xfa, 0x6f, 0x03],       // vmovdqu xmm0, [rbx]
        &[0x65, 0xc5, 0xfa, 0x6f, 0x03], // vmovdqu xmm0, gs:[rbx]
    ];
    for code in unsupported {
        assert_eq!(decode(code, Bits64), Err(Error::Unsupported), "{code:x?}");
    }
    let undefined: [&[u8]; 3] = [
        &[0x06, 0],                         // push es, in other modes
        &[0xfe, 0x3b],                      // FE /7
        &[0x66, 0xc5, 0xfa, 0x6f, 0x03, 0], // vmovdqu with an operand-size prefix
    ];
    for code in undefined {
        assert_eq!(decode(code, Bits64), Err(Error::Undefined), "{code:x?}");
    }
}

#[test]
fn fifteen_bytes_and_no_more() {
    let mut code = vec![0x3e; 13];
    code.extend([0x8b, 0x03]);
    assert_eq!(decoded(Bits64, &code).length(), 15);
    code.insert(0, 0x3e);
    assert_eq!(decode(&code, Bits64), Err(Error::Undefined));
    assert_eq!(decode(&code[..15], Bits64), Err(Error::Undefined));
    assert_eq!(decode(&[], Bits64), Err(Error::Truncated));
}

#[test]
fn a_fetch_stays_in_its_page() {
    let at = |rip| first_fetch(GuestVirtAddr::new(rip));
    assert_eq!((at(0x1000), at(0x1ff1), at(0x1ff2), at(0x1fff)), (15, 15, 14, 1));
    assert_eq!(at(u64::MAX), 1);
}

#[test]
fn the_code_segment_tells_the_mode() {
    let lma = 1 << 10;
    assert_eq!(Mode::new(lma, AccessRights::CODE_64), Bits64);
    assert_eq!(Mode::new(lma, AccessRights::CODE_32), Bits32);
    assert_eq!(Mode::new(0, AccessRights::CODE_64), Bits16);
    assert_eq!(Mode::new(0, AccessRights::CODE_32), Bits32);
    assert_eq!(Mode::new(0, AccessRights::REAL_CODE), Bits16);
}

#[test]
fn an_exit_agrees_with_its_instruction() {
    let read = decoded(Bits64, &[0x8b, 0x03]); // mov eax, [rbx]
    let write = decoded(Bits64, &[0x89, 0x03]); // mov [rbx], eax
    let modify = decoded(Bits64, &[0x01, 0x03]); // add [rbx], eax
    let of = |exit| [read, write, modify].map(|access| access.agrees_with(exit));
    assert_eq!(of(EptAccess::READ), [true, false, true]);
    assert_eq!(of(EptAccess::WRITE), [false, true, true]);
    assert_eq!(of(EptAccess::READ | EptAccess::WRITE), [false, true, true]);
}

/// Opcodes of "op [rbx], reg" with bytes; others are one above, "op reg, [rbx]" two.
const BINARY: [(u8, Binary); 8] = [
    (0x00, Binary::Add),
    (0x08, Binary::Or),
    (0x10, Binary::Adc),
    (0x18, Binary::Sbb),
    (0x20, Binary::And),
    (0x28, Binary::Sub),
    (0x30, Binary::Xor),
    (0x38, Binary::Cmp),
];

/// The manual's words in wide numbers, without a thought of bits that carry.
fn model(op: Binary, left: u64, right: u64, bits: u32, carry: bool) -> (u64, u64) {
    let modulus = 1_i128 << bits;
    let signed = |value: i128| if value >= modulus / 2 { value - modulus } else { value };
    let (l, r, c) = (i128::from(left), i128::from(right), i128::from(carry));
    let of = |sum: fn(i128, i128, i128) -> i128, c| {
        let exact = sum(signed(l), signed(r), c);
        let overflow = exact < -modulus / 2 || exact >= modulus / 2;
        let carry = !(0..modulus).contains(&sum(l, r, c));
        let half = !(0..16).contains(&sum(l % 16, r % 16, c));
        (sum(l, r, c).rem_euclid(modulus), carry, half, overflow)
    };
    let plus = |l, r, c| l + r + c;
    let minus = |l, r, c| l - r - c;
    let (result, carry, half, overflow) = match op {
        Binary::Add => of(plus, 0),
        Binary::Adc => of(plus, c),
        Binary::Sub | Binary::Cmp => of(minus, 0),
        Binary::Sbb => of(minus, c),
        Binary::And | Binary::Test => (l & r, false, false, false),
        Binary::Or => (l | r, false, false, false),
        Binary::Xor => (l ^ r, false, false, false),
    };
    let ones = (0..8).filter(|bit| result >> bit & 1 == 1).count();
    let flags = [
        (CF, carry),
        (PF, ones % 2 == 0),
        (AF, half),
        (ZF, result == 0),
        (SF, signed(result) < 0),
        (OF, overflow),
    ];
    let status = flags.iter().filter(|(_, set)| *set).map(|(flag, _)| flag).sum();
    (u64::try_from(result).unwrap(), status)
}

fn config() -> ProptestConfig {
    // Few cases under miri, which is slow and shuts the file system away.
    let cases = if cfg!(miri) { 8 } else { 4096 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Values at which carries, signs and zeros change, and others.
fn values() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 0xf, 0x10, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000];
    let wide = [0xffff_ffff, i64::MAX.cast_unsigned(), 1 << 63, u64::MAX];
    prop_oneof![prop::sample::select([&edges[..], &wide[..]].concat()), any::<u64>()]
}

fn prefixed(size: Size, opcode: u8, modrm: u8) -> Vec<u8> {
    match size {
        Byte => vec![opcode, modrm],
        Word => vec![0x66, opcode | 1, modrm],
        Dword => vec![opcode | 1, modrm],
        Qword => vec![0x48, opcode | 1, modrm],
    }
}

fn sizes() -> impl Strategy<Value = Size> {
    prop::sample::select(&[Byte, Word, Dword, Qword][..])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn two_operands_follow_the_model(
        (opcode, op) in prop::sample::select(&BINARY[..]), size in sizes(),
        memory in values(), register in values(), carry: bool,
    ) {
        let (memory, register) = (memory & size.mask(), register & size.mask());
        let before = with(&[(Gpr::Rcx, register)]);
        let flags = u64::from(carry);

        // op [rbx], rcx
        let done = run_with(Bits64, &prefixed(size, opcode, 0x0b), before, flags, memory);
        let (result, status) = model(op, memory, register, size.bits(), carry);
        prop_assert_eq!(done.write, (op != Binary::Cmp).then_some(result));
        prop_assert_eq!((done.gprs, done.status), (before, status));

        // op rcx, [rbx]
        let done = run_with(Bits64, &prefixed(size, opcode | 2, 0x0b), before, flags, memory);
        let (result, status) = model(op, register, memory, size.bits(), carry);
        let after = if op == Binary::Cmp { register } else { result };
        prop_assert_eq!((done.gprs, done.status), (with(&[(Gpr::Rcx, after)]), status));
    }

    #[test]
    fn one_operand_follows_the_model(size in sizes(), memory in values(), flags in any::<u64>()) {
        let (memory, flags) = (memory & size.mask(), flags & STATUS);
        let of = |opcode, modrm| {
            let done = run_with(Bits64, &prefixed(size, opcode, modrm), gprs(), flags, memory);
            (done.write.unwrap(), done.status)
        };
        let keep_carry = |(result, status)| (result, status & !CF | flags & CF);
        prop_assert_eq!(of(0xfe, 0x03), keep_carry(model(Binary::Add, memory, 1, size.bits(), false)));
        prop_assert_eq!(of(0xfe, 0x0b), keep_carry(model(Binary::Sub, memory, 1, size.bits(), false)));
        prop_assert_eq!(of(0xf6, 0x1b), model(Binary::Sub, 0, memory, size.bits(), false));
        prop_assert_eq!(of(0xf6, 0x13), (size.mask() - memory, flags));
    }

    #[test]
    fn no_bytes_panic(
        code in prop::collection::vec(any::<u8>(), 0..=16), read: u64, rflags: u64, values in any::<[u64; 16]>(),
    ) {
        let mut gprs = Gprs::ZERO;
        Gpr::ALL.iter().zip(values).for_each(|(gpr, value)| gprs.set(*gpr, value));
        hostile(&code, gprs, rflags, read)?;
    }

    #[test]
    fn no_bytes_behind_a_known_opcode_panic(
        prefixes in prop::collection::vec(prop::sample::select(&PREFIXES[..]), 0..4),
        opcode in prop::sample::select(&OPCODES[..]), rest: [u8; 11], read: u64, rflags: u64,
    ) {
        let mut code = prefixes;
        code.extend_from_slice(opcode);
        code.extend(rest);
        code.truncate(MAX_LENGTH);
        hostile(&code, gprs(), rflags, read)?;
    }
}

const PREFIXES: [u8; 13] = [0x26, 0x2e, 0x36, 0x3e, 0x40, 0x44, 0x48, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf3];
const OPCODES: [&[u8]; 24] = [
    &[0x00],
    &[0x03],
    &[0x63],
    &[0x80],
    &[0x81],
    &[0x83],
    &[0x86],
    &[0x88],
    &[0x8a],
    &[0x8c],
    &[0xa1],
    &[0xa4],
    &[0xa5],
    &[0xaa],
    &[0xac],
    &[0xc5],
    &[0xc7],
    &[0xf6],
    &[0xfe],
    &[0x0f, 0xa3],
    &[0x0f, 0xb0],
    &[0x0f, 0xb6],
    &[0x0f, 0xba],
    &[0x0f, 0xc1],
];

/// Whatever an instruction is, it stays in its bounds.
fn hostile(code: &[u8], before: Gprs, flags: u64, read: u64) -> Result<(), TestCaseError> {
    for mode in [Bits16, Bits32, Bits64] {
        let Ok(access) = decode(code, mode) else { continue };
        prop_assert!((1..=code.len().min(MAX_LENGTH)).contains(&access.length().into()));
        let (mut gprs, mut rflags) = (before, flags);
        let outcome = access.complete(&mut gprs, &mut rflags, read);
        prop_assert_eq!(outcome.write.unwrap_or(0) & !access.size().mask(), 0);
        prop_assert_eq!((rflags ^ flags) & !STATUS, 0);
        let changed = Gpr::ALL.iter().filter(|gpr| gprs.get(**gpr) != before.get(**gpr)).count();
        prop_assert!(changed <= 3);
        prop_assert_eq!(access.copy_addresses(&before).is_some(), access.direction() == Direction::Copy);
    }
    Ok(())
}
