//! Registers with which a vcpu of an HVM domain starts (`hvm/hvm_vcpu.h`).
//!
//! ```text
//! access rights   15..12  11  10   9  8    7  6..5  4  3..0
//!                 zero    G   D/B  L  AVL  P  DPL   S  type
//! ```

numbers! {
    /// Form of the registers (`VCPU_HVM_MODE_*`).
    pub enum VcpuHvmMode: u32 {
        /// `VCPU_HVM_MODE_32B`: real or 32-bit mode ([`VcpuHvmX86_32`]).
        Bits32 = 0,
        /// `VCPU_HVM_MODE_64B`: long mode with flat segments ([`VcpuHvmX86_64`]).
        Bits64 = 1,
    }
}

layout! {
    /// `struct vcpu_hvm_x86_32`: registers of a vcpu that starts in real or 32-bit mode.
    pub struct VcpuHvmX86_32, 120 bytes {
        /// EAX.
        pub eax: u32,
        /// ECX.
        pub ecx: u32,
        /// EDX.
        pub edx: u32,
        /// EBX.
        pub ebx: u32,
        /// ESP.
        pub esp: u32,
        /// EBP.
        pub ebp: u32,
        /// ESI.
        pub esi: u32,
        /// EDI.
        pub edi: u32,
        /// EIP.
        pub eip: u32,
        /// EFLAGS.
        pub eflags: u32,
        /// CR0.
        pub cr0: u32,
        /// CR3.
        pub cr3: u32,
        /// CR4.
        pub cr4: u32,
        /// Must be zero.
        pub pad1: u32,
        /// EFER.
        pub efer: u64,
        /// CS base.
        pub cs_base: u32,
        /// DS base.
        pub ds_base: u32,
        /// SS base.
        pub ss_base: u32,
        /// ES base.
        pub es_base: u32,
        /// TR base.
        pub tr_base: u32,
        /// CS limit, in bytes.
        pub cs_limit: u32,
        /// DS limit, in bytes.
        pub ds_limit: u32,
        /// SS limit, in bytes.
        pub ss_limit: u32,
        /// ES limit, in bytes.
        pub es_limit: u32,
        /// TR limit, in bytes.
        pub tr_limit: u32,
        /// CS access rights.
        pub cs_ar: u16,
        /// DS access rights.
        pub ds_ar: u16,
        /// SS access rights.
        pub ss_ar: u16,
        /// ES access rights.
        pub es_ar: u16,
        /// TR access rights.
        pub tr_ar: u16,
        /// Must be zero.
        pub pad2: [u16; 3],
    }

    /// `struct vcpu_hvm_x86_64`: registers of a vcpu that starts in long mode.
    pub struct VcpuHvmX86_64, 112 bytes {
        /// RAX.
        pub rax: u64,
        /// RCX.
        pub rcx: u64,
        /// RDX.
        pub rdx: u64,
        /// RBX.
        pub rbx: u64,
        /// RSP.
        pub rsp: u64,
        /// RBP.
        pub rbp: u64,
        /// RSI.
        pub rsi: u64,
        /// RDI.
        pub rdi: u64,
        /// RIP.
        pub rip: u64,
        /// RFLAGS.
        pub rflags: u64,
        /// CR0.
        pub cr0: u64,
        /// CR3.
        pub cr3: u64,
        /// CR4.
        pub cr4: u64,
        /// EFER.
        pub efer: u64,
    }

    /// `struct vcpu_hvm_context`: argument of `VCPUOP_initialise`.
    pub struct VcpuHvmContext, 128 bytes {
        /// [`VcpuHvmMode`].
        pub mode: u32,
        /// Must be zero.
        pub pad: u32,
        /// The registers in the form that `mode` says.
        pub cpu_regs: VcpuHvmRegs,
    }
}

unions! {
    /// `cpu_regs` of `struct vcpu_hvm_context`.
    pub union VcpuHvmRegs: [u64; 15] { VcpuHvmX86_32, VcpuHvmX86_64 }
}
