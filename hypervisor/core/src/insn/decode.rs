//! From bytes to [`Access`]: `iced-x86` decodes (ADR 8), this translates.

use iced_x86::{
    Code, Decoder, DecoderError, DecoderOptions, Instruction, MemorySize, Mnemonic, OpKind, Register as Name,
};

use super::alu::{Binary, BitChange, Unary};
use super::operand::{Register, Size, Source};
use super::string::{SegmentRegister, Step};
use super::{Access, Error, MAX_LENGTH, Mode, Operation};
use crate::gpr::Gpr;

/// Decodes the instruction that `code` starts with: up to 15 bytes fetched at CS:RIP.
///
/// # Errors
///
/// See [`Error`].
#[inline]
pub fn decode(code: &[u8], mode: Mode) -> Result<Access, Error> {
    let bits = match mode {
        Mode::Bits16 => 16,
        Mode::Bits32 => 32,
        Mode::Bits64 => 64,
    };
    let mut decoder = Decoder::try_new(bits, code, DecoderOptions::NONE).map_err(|_| Error::Unsupported)?;
    let instruction = decoder.decode();
    if instruction.code() == Code::INVALID {
        return Err(refusal(code, decoder.last_error()));
    }
    translate(&instruction)
}

/// Has the decoder build its tables: 80 KiB of heap and 740,000 instructions, which
/// the first [`decode`] would take otherwise.
pub fn prime() {
    const NOP: [u8; 1] = [0x90];
    let _ = decode(&NOP, Mode::Bits64);
}

/// Why `code` is no instruction. The decoder is built without the VEX and EVEX forms, which
/// a CPU may have.
#[cold]
fn refusal(code: &[u8], error: DecoderError) -> Error {
    if error == DecoderError::NoMoreBytes && code.len() < MAX_LENGTH {
        return Error::Truncated;
    }
    // Any other prefix makes them undefined.
    let is_prefix = |byte: &u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67);
    match code.iter().find(|byte| !is_prefix(byte)) {
        Some(0xc4 | 0xc5 | 0x62) => Error::Unsupported,
        _ => Error::Undefined,
    }
}

#[inline]
fn translate(instruction: &Instruction) -> Result<Access, Error> {
    use Mnemonic as M;
    let size = size(instruction.memory_size())?;
    let operation = match instruction.mnemonic() {
        M::Mov => match operands(instruction)? {
            Operands::ToMemory(source) => Operation::Store(source),
            Operands::FromMemory(register) => Operation::Load(register),
        },
        M::Movzx => Operation::Load(destination(instruction)?),
        M::Movsx | M::Movsxd => Operation::LoadSigned(destination(instruction)?),
        M::Add => binary(instruction, Binary::Add)?,
        M::Or => binary(instruction, Binary::Or)?,
        M::Adc => binary(instruction, Binary::Adc)?,
        M::Sbb => binary(instruction, Binary::Sbb)?,
        M::And => binary(instruction, Binary::And)?,
        M::Sub => binary(instruction, Binary::Sub)?,
        M::Xor => binary(instruction, Binary::Xor)?,
        M::Cmp => binary(instruction, Binary::Cmp)?,
        M::Test => binary(instruction, Binary::Test)?,
        M::Inc => unary(instruction, Unary::Inc)?,
        M::Dec => unary(instruction, Unary::Dec)?,
        M::Not => unary(instruction, Unary::Not)?,
        M::Neg => unary(instruction, Unary::Neg)?,
        M::Xchg => Operation::Exchange(source_register(instruction)?),
        M::Cmpxchg => Operation::CompareExchange(source_register(instruction)?),
        M::Xadd => Operation::ExchangeAdd(source_register(instruction)?),
        M::Bt => Operation::Bit(BitChange::None, source(instruction)?),
        M::Bts => Operation::Bit(BitChange::Set, source(instruction)?),
        M::Btr => Operation::Bit(BitChange::Reset, source(instruction)?),
        M::Btc => Operation::Bit(BitChange::Complement, source(instruction)?),
        _ => return string(instruction, size),
    };
    Ok(access(instruction, operation, None, size))
}

/// STOS, LODS and MOVS.
fn string(instruction: &Instruction, size: Size) -> Result<Access, Error> {
    use Mnemonic as M;
    let accumulator = Register::low(Gpr::Rax, size);
    let operation = match instruction.mnemonic() {
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => Operation::Store(Source::Register(accumulator)),
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => Operation::Load(accumulator),
        M::Movsb | M::Movsw | M::Movsd | M::Movsq => Operation::Copy,
        _ => return Err(Error::Unsupported),
    };
    Ok(access(instruction, operation, Some(step(instruction)?), size))
}

/// Fails for what SSE calls MOVSD.
fn step(instruction: &Instruction) -> Result<Step, Error> {
    let destination = index_size(instruction.op0_kind());
    // LODS and MOVS have their source second.
    let source = index_size(instruction.op1_kind());
    Ok(Step {
        address_size: destination.or(source).ok_or(Error::Unsupported)?,
        source: source.and_then(|_| segment(instruction.memory_segment())),
        destination: destination.is_some(),
        // REPNE counts, too, though the SDM gives it no meaning here.
        repeat: instruction.has_rep_prefix() || instruction.has_repne_prefix(),
    })
}

/// How wide the index register of a string operand is.
const fn index_size(kind: OpKind) -> Option<Size> {
    match kind {
        OpKind::MemorySegSI | OpKind::MemoryESDI => Some(Size::Word),
        OpKind::MemorySegESI | OpKind::MemoryESEDI => Some(Size::Dword),
        OpKind::MemorySegRSI | OpKind::MemoryESRDI => Some(Size::Qword),
        _ => None,
    }
}

const fn segment(name: Name) -> Option<SegmentRegister> {
    match name {
        Name::ES => Some(SegmentRegister::Es),
        Name::CS => Some(SegmentRegister::Cs),
        Name::SS => Some(SegmentRegister::Ss),
        Name::DS => Some(SegmentRegister::Ds),
        Name::FS => Some(SegmentRegister::Fs),
        Name::GS => Some(SegmentRegister::Gs),
        _ => None,
    }
}

fn access(instruction: &Instruction, operation: Operation, step: Option<Step>, size: Size) -> Access {
    // The mask keeps 15, the most that the decoder answers.
    let length = (instruction.len() as u64 & 0xf) as u8;
    Access { operation, step, size, length }
}

fn binary(instruction: &Instruction, op: Binary) -> Result<Operation, Error> {
    Ok(match operands(instruction)? {
        Operands::ToMemory(source) => Operation::Update(op, source),
        Operands::FromMemory(register) => Operation::Combine(op, register),
    })
}

fn unary(instruction: &Instruction, op: Unary) -> Result<Operation, Error> {
    match instruction.op0_kind() {
        OpKind::Memory => Ok(Operation::Unary(op)),
        _ => Err(Error::Unsupported),
    }
}

/// Which of two operands is in memory, and the other.
enum Operands {
    ToMemory(Source),
    FromMemory(Register),
}

#[inline]
fn operands(instruction: &Instruction) -> Result<Operands, Error> {
    Ok(match (instruction.op0_kind(), instruction.op1_kind()) {
        (OpKind::Register, OpKind::Memory) => Operands::FromMemory(register(instruction.op0_register())?),
        (OpKind::Memory, OpKind::Register) => {
            Operands::ToMemory(Source::Register(register(instruction.op1_register())?))
        }
        (OpKind::Memory, _) => {
            let value = instruction.try_immediate(1).map_err(|_| Error::Unsupported)?;
            Operands::ToMemory(Source::Immediate((value & 0xffff_ffff) as u32))
        }
        _ => return Err(Error::Unsupported),
    })
}

fn destination(instruction: &Instruction) -> Result<Register, Error> {
    match operands(instruction)? {
        Operands::FromMemory(register) => Ok(register),
        Operands::ToMemory(_) => Err(Error::Unsupported),
    }
}

fn source(instruction: &Instruction) -> Result<Source, Error> {
    match operands(instruction)? {
        Operands::ToMemory(source) => Ok(source),
        Operands::FromMemory(_) => Err(Error::Unsupported),
    }
}

fn source_register(instruction: &Instruction) -> Result<Register, Error> {
    match source(instruction)? {
        Source::Register(register) => Ok(register),
        Source::Immediate(_) => Err(Error::Unsupported),
    }
}

const fn size(memory: MemorySize) -> Result<Size, Error> {
    match memory {
        MemorySize::UInt8 | MemorySize::Int8 => Ok(Size::Byte),
        MemorySize::UInt16 | MemorySize::Int16 => Ok(Size::Word),
        MemorySize::UInt32 | MemorySize::Int32 => Ok(Size::Dword),
        MemorySize::UInt64 | MemorySize::Int64 => Ok(Size::Qword),
        _ => Err(Error::Unsupported),
    }
}

/// The decoder numbers AL, CL, DL, BL, AH, CH, DH, BH, SPL to R15L; AX to R15W; EAX to
/// R15D; RAX to R15. Devices have mostly 32-bit registers, so those are looked at first.
const fn register(name: Name) -> Result<Register, Error> {
    let number = name as u64;
    let (first, size) = match number {
        DWORDS..QWORDS => (DWORDS, Size::Dword),
        QWORDS..=LAST => (QWORDS, Size::Qword),
        WORDS..DWORDS => (WORDS, Size::Word),
        LOW_BYTES..HIGH_BYTES => (LOW_BYTES, Size::Byte),
        HIGH_BYTES..NEW_BYTES => return Ok(Register::high(Gpr::from_field(number - HIGH_BYTES))),
        // SPL has number 4.
        NEW_BYTES..WORDS => (NEW_BYTES - 4, Size::Byte),
        _ => return Err(Error::Unsupported),
    };
    Ok(Register::low(Gpr::from_field(number - first), size))
}

const LOW_BYTES: u64 = Name::AL as u64;
const HIGH_BYTES: u64 = Name::AH as u64;
const NEW_BYTES: u64 = Name::SPL as u64;
const WORDS: u64 = Name::AX as u64;
const DWORDS: u64 = Name::EAX as u64;
const QWORDS: u64 = Name::RAX as u64;
const LAST: u64 = Name::R15 as u64;
