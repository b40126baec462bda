//! The XenStore protocol (`io/xs_wire.h`): messages, and the ring that carries them.
//!
//! ```text
//! message   xsd_sockmsg: type, request id, transaction id, length    16 bytes
//!           payload: strings, each ended by NUL in most cases        up to 4096 bytes
//! ```

use bitflags::bitflags;

numbers! {
    /// Kind of a message (`enum xsd_sockmsg_type`).
    pub enum XsMessage: u32 {
        /// `XS_CONTROL`: command to the server.
        Control = 0,
        /// `XS_DIRECTORY`: names of a node's children.
        Directory = 1,
        /// `XS_READ`: value of a node.
        Read = 2,
        /// `XS_GET_PERMS`: permissions of a node.
        GetPerms = 3,
        /// `XS_WATCH`: tell of changes below a path.
        Watch = 4,
        /// `XS_UNWATCH`: no longer.
        Unwatch = 5,
        /// `XS_TRANSACTION_START`
        TransactionStart = 6,
        /// `XS_TRANSACTION_END`: commit ("T") or abort ("F").
        TransactionEnd = 7,
        /// `XS_INTRODUCE`: serve a domain.
        Introduce = 8,
        /// `XS_RELEASE`: no longer.
        Release = 9,
        /// `XS_GET_DOMAIN_PATH`: path of a domain.
        GetDomainPath = 10,
        /// `XS_WRITE`: set the value of a node.
        Write = 11,
        /// `XS_MKDIR`: make a node.
        Mkdir = 12,
        /// `XS_RM`: remove a node and all below.
        Rm = 13,
        /// `XS_SET_PERMS`: set permissions of a node.
        SetPerms = 14,
        /// `XS_WATCH_EVENT`: from the server: a watch fired.
        WatchEvent = 15,
        /// `XS_ERROR`: from the server: the request failed; payload is the error's name.
        Error = 16,
        /// `XS_IS_DOMAIN_INTRODUCED`: whether a domain is served.
        IsDomainIntroduced = 17,
        /// `XS_RESUME`: a domain was resumed.
        Resume = 18,
        /// `XS_SET_TARGET`: a domain gets the rights of another.
        SetTarget = 19,
        /// `XS_RESET_WATCHES`: remove the caller's watches.
        ResetWatches = 21,
        /// `XS_DIRECTORY_PART`: names of a node's children from an offset on.
        DirectoryPart = 22,
        /// `XS_INVALID`: never valid.
        Invalid = 0xffff,
    }

    /// State of the ring (`XENSTORE_CONNECTED`, `XENSTORE_RECONNECT`).
    pub enum XenstoreConnection: u32 {
        /// `XENSTORE_CONNECTED`: in use.
        Connected = 0,
        /// `XENSTORE_RECONNECT`: the guest asks for a fresh start.
        Reconnect = 1,
    }

    /// Why the server gave the ring up (`XENSTORE_ERROR_*`).
    pub enum XenstoreRingError: u32 {
        /// `XENSTORE_ERROR_NONE`
        None = 0,
        /// `XENSTORE_ERROR_COMM`: communication problem.
        Comm = 1,
        /// `XENSTORE_ERROR_RINGIDX`: impossible ring indices.
        RingIndex = 2,
        /// `XENSTORE_ERROR_PROTO`: broken message.
        Protocol = 3,
    }
}

/// Bytes of each ring (`XENSTORE_RING_SIZE`).
pub const RING_SIZE: usize = 1024;
/// Longest payload, in bytes (`XENSTORE_PAYLOAD_MAX`).
pub const PAYLOAD_MAX: usize = 4096;
/// Longest absolute path, in bytes (`XENSTORE_ABS_PATH_MAX`).
pub const ABS_PATH_MAX: usize = 3072;
/// Longest relative path, in bytes (`XENSTORE_REL_PATH_MAX`).
pub const REL_PATH_MAX: usize = 2048;

bitflags! {
    /// What the server can do (`XENSTORE_SERVER_FEATURE_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ServerFeatures: u32 {
        /// `XENSTORE_SERVER_FEATURE_RECONNECTION`: a fresh start on request.
        const RECONNECTION = 1 << 0;
        /// `XENSTORE_SERVER_FEATURE_ERROR`: says why it gave the ring up.
        const ERROR = 1 << 1;
    }
}

layout! {
    /// `struct xsd_sockmsg`: head of a message.
    pub struct XsdSockmsg, 16 bytes {
        /// `type`: [`XsMessage`].
        pub kind: u32,
        /// The client's name for the request, returned in the answer.
        pub req_id: u32,
        /// Transaction, 0 none.
        pub tx_id: u32,
        /// Bytes of the payload.
        pub len: u32,
    }

    /// `struct xenstore_domain_interface`: the page shared with a guest.
    pub struct XenstoreDomainInterface, 2076 bytes {
        /// Bytes to the server.
        pub req: [u8; RING_SIZE],
        /// Bytes to the guest.
        pub rsp: [u8; RING_SIZE],
        /// Bytes of `req` that the server read.
        pub req_cons: u32,
        /// Bytes of `req` that the guest wrote.
        pub req_prod: u32,
        /// Bytes of `rsp` that the guest read.
        pub rsp_cons: u32,
        /// Bytes of `rsp` that the server wrote.
        pub rsp_prod: u32,
        /// [`ServerFeatures`].
        pub server_features: u32,
        /// [`XenstoreConnection`].
        pub connection: u32,
        /// [`XenstoreRingError`].
        pub error: u32,
    }
}
