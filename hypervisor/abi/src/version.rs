//! Who the hypervisor is and what it can do (`version.h`).

numbers! {
    /// Operation of `xen_version` (`XENVER_*`).
    pub enum VersionOp: u32 {
        /// `XENVER_version`: returns major << 16 | minor. No argument.
        Version = 0,
        /// `XENVER_extraversion`: [`ExtraVersion`], the rest of the version number.
        ExtraVersion = 1,
        /// `XENVER_compile_info`: [`CompileInfo`].
        CompileInfo = 2,
        /// `XENVER_capabilities`: [`CapabilitiesInfo`], the guest kinds.
        Capabilities = 3,
        /// `XENVER_changeset`: [`ChangesetInfo`], the source revision.
        Changeset = 4,
        /// `XENVER_platform_parameters`: [`PlatformParameters`].
        PlatformParameters = 5,
        /// `XENVER_get_features`: [`FeatureInfo`].
        GetFeatures = 6,
        /// `XENVER_pagesize`: returns the bytes in a page. No argument.
        Pagesize = 7,
        /// `XENVER_guest_handle`: the calling domain's [`DomainHandle`](crate::xen::DomainHandle).
        GuestHandle = 8,
        /// `XENVER_commandline`: [`CommandLine`] of the hypervisor.
        CommandLine = 9,
        /// `XENVER_build_id`: [`BuildId`]; returns its length.
        BuildId = 10,
    }
}

/// Text behind the version number, NUL-terminated (`xen_extraversion_t`).
pub type ExtraVersion = [u8; 16];
/// Names of the guest kinds, space-separated and NUL-terminated (`xen_capabilities_info_t`).
pub type CapabilitiesInfo = [u8; 1024];
/// Name of the source revision, NUL-terminated (`xen_changeset_info_t`).
pub type ChangesetInfo = [u8; 64];
/// The hypervisor's command line, NUL-terminated (`xen_commandline_t`).
pub type CommandLine = [u8; 1024];

layout! {
    /// `struct xen_compile_info`: how the hypervisor was built; NUL-terminated texts.
    pub struct CompileInfo, 144 bytes {
        /// Compiler and its version.
        pub compiler: [u8; 64],
        /// User.
        pub compile_by: [u8; 16],
        /// Domain name of the machine.
        pub compile_domain: [u8; 32],
        /// Date.
        pub compile_date: [u8; 32],
    }

    /// `struct xen_platform_parameters`: the address space of PV guests.
    pub struct PlatformParameters, 8 bytes {
        /// First virtual address that belongs to the hypervisor.
        pub virt_start: u64,
    }

    /// `struct xen_feature_info`: one word of feature bits (`features.h`).
    pub struct FeatureInfo, 8 bytes {
        /// Number of the word, written by the caller.
        pub submap_idx: u32,
        /// The word, written by the hypervisor.
        pub submap: u32,
    }

    /// `struct xen_build_id`: the head of the linker's build id; the bytes follow.
    pub struct BuildId, 4 bytes {
        /// Bytes that the caller has room for, then bytes written.
        pub len: u32,
    }
}
