//! Error numbers that a hypercall returns (`errno.h`).
//!
//! Two of the header are missing here: `EINTR` and `ERESTART` never leave Xen.

numbers! {
    /// Error number (`enum xen_errno`); a hypercall returns its negative.
    pub enum Errno: u32 {
        /// `XEN_EPERM`: operation not permitted.
        EPERM = 1,
        /// `XEN_ENOENT`: no such object.
        ENOENT = 2,
        /// `XEN_ESRCH`: no such domain or vcpu.
        ESRCH = 3,
        /// `XEN_EIO`: I/O error.
        EIO = 5,
        /// `XEN_ENXIO`: no such device or address.
        ENXIO = 6,
        /// `XEN_E2BIG`: argument list too long.
        E2BIG = 7,
        /// `XEN_ENOEXEC`: executable format not understood.
        ENOEXEC = 8,
        /// `XEN_EBADF`: bad descriptor.
        EBADF = 9,
        /// `XEN_ECHILD`: no child.
        ECHILD = 10,
        /// `XEN_EAGAIN`: try again (also `EWOULDBLOCK`).
        EAGAIN = 11,
        /// `XEN_ENOMEM`: out of memory.
        ENOMEM = 12,
        /// `XEN_EACCES`: permission denied.
        EACCES = 13,
        /// `XEN_EFAULT`: bad guest address.
        EFAULT = 14,
        /// `XEN_EBUSY`: object in use.
        EBUSY = 16,
        /// `XEN_EEXIST`: object exists.
        EEXIST = 17,
        /// `XEN_EXDEV`: objects on different devices.
        EXDEV = 18,
        /// `XEN_ENODEV`: no such device.
        ENODEV = 19,
        /// `XEN_ENOTDIR`: not a directory.
        ENOTDIR = 20,
        /// `XEN_EISDIR`: is a directory.
        EISDIR = 21,
        /// `XEN_EINVAL`: invalid argument.
        EINVAL = 22,
        /// `XEN_ENFILE`: table of open objects full.
        ENFILE = 23,
        /// `XEN_EMFILE`: caller holds too many open objects.
        EMFILE = 24,
        /// `XEN_ENOSPC`: no space left.
        ENOSPC = 28,
        /// `XEN_EROFS`: read-only.
        EROFS = 30,
        /// `XEN_EMLINK`: too many links.
        EMLINK = 31,
        /// `XEN_EDOM`: argument outside the domain of the operation.
        EDOM = 33,
        /// `XEN_ERANGE`: result or index out of range.
        ERANGE = 34,
        /// `XEN_EDEADLK`: would deadlock (also `EDEADLOCK`).
        EDEADLK = 35,
        /// `XEN_ENAMETOOLONG`: name too long.
        ENAMETOOLONG = 36,
        /// `XEN_ENOLCK`: no locks available.
        ENOLCK = 37,
        /// `XEN_ENOSYS`: hypercall or operation not implemented.
        ENOSYS = 38,
        /// `XEN_ENOTEMPTY`: not empty.
        ENOTEMPTY = 39,
        /// `XEN_ENODATA`: no data available.
        ENODATA = 61,
        /// `XEN_ETIME`: timer expired.
        ETIME = 62,
        /// `XEN_EBADMSG`: malformed message.
        EBADMSG = 74,
        /// `XEN_EOVERFLOW`: value too large for its type.
        EOVERFLOW = 75,
        /// `XEN_EILSEQ`: illegal byte sequence.
        EILSEQ = 84,
        /// `XEN_ENOTSOCK`: not a socket.
        ENOTSOCK = 88,
        /// `XEN_EMSGSIZE`: message too large.
        EMSGSIZE = 90,
        /// `XEN_EOPNOTSUPP`: operation not supported here.
        EOPNOTSUPP = 95,
        /// `XEN_EADDRINUSE`: address in use.
        EADDRINUSE = 98,
        /// `XEN_EADDRNOTAVAIL`: address not available.
        EADDRNOTAVAIL = 99,
        /// `XEN_ENOBUFS`: no buffer space.
        ENOBUFS = 105,
        /// `XEN_EISCONN`: already connected.
        EISCONN = 106,
        /// `XEN_ENOTCONN`: not connected.
        ENOTCONN = 107,
        /// `XEN_ETIMEDOUT`: timed out.
        ETIMEDOUT = 110,
        /// `XEN_ECONNREFUSED`: connection refused.
        ECONNREFUSED = 111,
    }
}

impl Errno {
    /// What the hypercall leaves in RAX: the negative number.
    #[must_use]
    pub const fn return_value(self) -> i64 {
        -(self as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_returned_negative() {
        assert_eq!(Errno::ENOSYS.return_value(), -38);
        assert_eq!(Errno::new(38), Some(Errno::ENOSYS));
        assert_eq!(Errno::new(0), None);
    }
}
