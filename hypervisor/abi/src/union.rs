//! Unions without `unsafe`: bytes that are read as one of several members.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Says that the union `U` of the C header has a member of this type.
pub trait MemberOf<U>: FromBytes + IntoBytes + Immutable {}

/// The first bytes of `union`, read as the member `T`.
pub(crate) fn load<U: IntoBytes + Immutable, T: MemberOf<U>>(union: &U) -> T {
    // A member is never larger than its union (checked at compile time where the
    // membership is declared), so the second arm is never taken.
    T::read_from_prefix(union.as_bytes()).map_or_else(|_| T::new_zeroed(), |(member, _)| member)
}

/// A union that holds `member`, zero behind it.
pub(crate) fn store<U: FromBytes + IntoBytes, T: MemberOf<U>>(member: &T) -> U {
    let mut union = U::new_zeroed();
    for (to, from) in union.as_mut_bytes().iter_mut().zip(member.as_bytes()) {
        *to = *from;
    }
    union
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros, IntoBytes};

    use crate::hvm_vcpu::{VcpuHvmRegs, VcpuHvmX86_32, VcpuHvmX86_64};

    #[test]
    fn a_member_comes_back_as_it_was_stored() {
        let mut member = VcpuHvmX86_64::new_zeroed();
        (member.rax, member.efer) = (1, u64::MAX);
        assert_eq!(VcpuHvmRegs::of(&member).view::<VcpuHvmX86_64>(), member);
    }

    #[test]
    fn a_short_member_leaves_zeros_behind_it() {
        let mut member = VcpuHvmX86_64::new_zeroed();
        member.efer = u64::MAX;
        let union = VcpuHvmRegs::of(&member);
        assert!(union.as_bytes().iter().skip(112).all(|&byte| byte == 0));
        assert_eq!(union.view::<VcpuHvmX86_32>().pad2, [0; 3]);
    }
}
