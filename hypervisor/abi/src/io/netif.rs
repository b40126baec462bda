//! Network devices (`io/netif.h`): a ring to send, a ring to receive, a ring to control.
//!
//! A packet takes one slot or more. With `EXTRA_INFO` its first slot is followed by
//! [`NetifExtraInfo`]s, with `MORE_DATA` by further fragments.

use bitflags::bitflags;

use crate::RawGrantRef;
use crate::io::ring;

numbers! {
    /// Kind of a [`NetifExtraInfo`] (`XEN_NETIF_EXTRA_TYPE_*`).
    pub enum NetifExtraType: u8 {
        /// `XEN_NETIF_EXTRA_TYPE_NONE`
        None = 0,
        /// `XEN_NETIF_EXTRA_TYPE_GSO`: [`NetifExtraGso`].
        Gso = 1,
        /// `XEN_NETIF_EXTRA_TYPE_MCAST_ADD`: [`NetifExtraMcast`]. Sent only.
        McastAdd = 2,
        /// `XEN_NETIF_EXTRA_TYPE_MCAST_DEL`: [`NetifExtraMcast`]. Sent only.
        McastDel = 3,
        /// `XEN_NETIF_EXTRA_TYPE_HASH`: [`NetifExtraHash`].
        Hash = 4,
    }

    /// How a large packet is to be cut (`XEN_NETIF_GSO_TYPE_*`).
    pub enum NetifGsoType: u8 {
        /// `XEN_NETIF_GSO_TYPE_NONE`
        None = 0,
        /// `XEN_NETIF_GSO_TYPE_TCPV4`
        TcpV4 = 1,
        /// `XEN_NETIF_GSO_TYPE_TCPV6`
        TcpV6 = 2,
    }

    /// Outcome of a request (`NETIF_RSP_*`); received packets have their length in its place.
    pub enum NetifStatus: i16 {
        /// `NETIF_RSP_OKAY`
        Okay = 0,
        /// `NETIF_RSP_NULL`: answer to a slot that was not a request.
        Null = 1,
        /// `NETIF_RSP_ERROR`: failed.
        Error = -1,
        /// `NETIF_RSP_DROPPED`: dropped.
        Dropped = -2,
    }

    /// Request on the control ring (`XEN_NETIF_CTRL_TYPE_*`).
    pub enum NetifCtrlType: u16 {
        /// `XEN_NETIF_CTRL_TYPE_INVALID`
        Invalid = 0,
        /// `XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS`
        GetHashFlags = 1,
        /// `XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS`
        SetHashFlags = 2,
        /// `XEN_NETIF_CTRL_TYPE_SET_HASH_KEY`
        SetHashKey = 3,
        /// `XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE`
        GetHashMappingSize = 4,
        /// `XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE`
        SetHashMappingSize = 5,
        /// `XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING`
        SetHashMapping = 6,
        /// `XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM`
        SetHashAlgorithm = 7,
        /// `XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE`
        GetGrefMappingSize = 8,
        /// `XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING`
        AddGrefMapping = 9,
        /// `XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING`
        DelGrefMapping = 10,
    }

    /// Outcome on the control ring (`XEN_NETIF_CTRL_STATUS_*`).
    pub enum NetifCtrlStatus: u32 {
        /// `XEN_NETIF_CTRL_STATUS_SUCCESS`
        Success = 0,
        /// `XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED`
        NotSupported = 1,
        /// `XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER`
        InvalidParameter = 2,
        /// `XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW`
        BufferOverflow = 3,
    }

    /// Hash algorithm (`XEN_NETIF_CTRL_HASH_ALGORITHM_*`).
    pub enum NetifHashAlgorithm: u8 {
        /// `XEN_NETIF_CTRL_HASH_ALGORITHM_NONE`
        None = 0,
        /// `XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ`
        Toeplitz = 1,
    }
}

/// Slots of one packet that every back end takes (`XEN_NETIF_NR_SLOTS_MIN`).
pub const NR_SLOTS_MIN: usize = 18;
/// Longest packet sent, in bytes (`XEN_NETIF_MAX_TX_SIZE`).
pub const MAX_TX_SIZE: u32 = 0xffff;
/// Flag of [`NetifExtraInfo`]: another follows (`XEN_NETIF_EXTRA_FLAG_MORE`).
pub const EXTRA_FLAG_MORE: u8 = 1;
/// Flag of [`NetifGref`]: mapped for reading only (`XEN_NETIF_CTRLF_GREF_readonly`).
pub const CTRLF_GREF_READONLY: u16 = 1;
/// Entries in a sending ring of one page (`__CONST_RING_SIZE(netif_tx, 4096)`).
pub const TX_RING_ENTRIES: usize = ring::entries(4096, size_of::<NetifTxSringEntry>());
/// Entries in a receiving ring of one page (`__CONST_RING_SIZE(netif_rx, 4096)`).
pub const RX_RING_ENTRIES: usize = ring::entries(4096, size_of::<NetifRxSringEntry>());

bitflags! {
    /// Flags of a packet sent (`NETTXF_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct NetifTxFlags: u16 {
        /// `NETTXF_csum_blank`: the checksum is to be filled in.
        const CSUM_BLANK = 1 << 0;
        /// `NETTXF_data_validated`: the checksum need not be checked.
        const DATA_VALIDATED = 1 << 1;
        /// `NETTXF_more_data`: the packet goes on in the next request.
        const MORE_DATA = 1 << 2;
        /// `NETTXF_extra_info`: a [`NetifExtraInfo`] follows.
        const EXTRA_INFO = 1 << 3;
    }

    /// Flags of a packet received (`NETRXF_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct NetifRxFlags: u16 {
        /// `NETRXF_data_validated`: the checksum was checked.
        const DATA_VALIDATED = 1 << 0;
        /// `NETRXF_csum_blank`: the checksum is not filled in.
        const CSUM_BLANK = 1 << 1;
        /// `NETRXF_more_data`: the packet goes on in the next response.
        const MORE_DATA = 1 << 2;
        /// `NETRXF_extra_info`: a [`NetifExtraInfo`] follows.
        const EXTRA_INFO = 1 << 3;
        /// `NETRXF_gso_prefix`: this response only tells of the next one's GSO.
        const GSO_PREFIX = 1 << 4;
    }

    /// What goes into a hash (`XEN_NETIF_CTRL_HASH_TYPE_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct NetifHashTypes: u32 {
        /// `XEN_NETIF_CTRL_HASH_TYPE_IPV4`: IPv4 addresses.
        const IPV4 = 1 << 0;
        /// `XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP`: and TCP ports.
        const IPV4_TCP = 1 << 1;
        /// `XEN_NETIF_CTRL_HASH_TYPE_IPV6`: IPv6 addresses.
        const IPV6 = 1 << 2;
        /// `XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP`: and TCP ports.
        const IPV6_TCP = 1 << 3;
    }
}

layout! {
    /// `struct netif_tx_request`: a fragment to send.
    pub struct NetifTxRequest, 12 bytes {
        /// Its page.
        pub gref: RawGrantRef,
        /// First byte in the page.
        pub offset: u16,
        /// [`NetifTxFlags`].
        pub flags: u16,
        /// The front end's name for it, returned in the response.
        pub id: u16,
        /// Bytes; of a packet's first fragment, of the whole packet.
        pub size: u16,
    }

    /// `struct netif_tx_response`
    pub struct NetifTxResponse, 4 bytes {
        /// The front end's name for the request.
        pub id: u16,
        /// [`NetifStatus`].
        pub status: i16,
    }

    /// `struct netif_rx_request`: a page to receive into.
    pub struct NetifRxRequest, 8 bytes {
        /// The front end's name for it, returned in the response.
        pub id: u16,
        /// `pad`: padding.
        pub _pad: u16,
        /// The page.
        pub gref: RawGrantRef,
    }

    /// `struct netif_rx_response`: a fragment received.
    pub struct NetifRxResponse, 8 bytes {
        /// The front end's name for the request.
        pub id: u16,
        /// First byte in the page.
        pub offset: u16,
        /// [`NetifRxFlags`].
        pub flags: u16,
        /// Bytes, or a negative [`NetifStatus`].
        pub status: i16,
    }

    /// `struct netif_extra_info`: a slot that tells more of a packet.
    pub struct NetifExtraInfo, 8 bytes {
        /// `type`: [`NetifExtraType`].
        pub kind: u8,
        /// [`EXTRA_FLAG_MORE`] or 0.
        pub flags: u8,
        /// What it tells.
        pub u: NetifExtra,
    }

    /// `typeof(((struct netif_extra_info *)0)->u.gso)`: how to cut a large packet.
    pub struct NetifExtraGso, 6 bytes {
        /// Payload of each piece, in bytes.
        pub size: u16,
        /// `type`: [`NetifGsoType`].
        pub kind: u8,
        /// `pad`: padding.
        pub _pad: u8,
        /// Further features, none defined.
        pub features: u16,
    }

    /// `typeof(((struct netif_extra_info *)0)->u.mcast)`: a multicast group.
    pub struct NetifExtraMcast, 6 bytes {
        /// Its Ethernet address.
        pub addr: [u8; 6],
    }

    /// `typeof(((struct netif_extra_info *)0)->u.hash)`: a packet's hash.
    pub struct NetifExtraHash, 6 bytes {
        /// `type`: bit number in [`NetifHashTypes`].
        pub kind: u8,
        /// [`NetifHashAlgorithm`].
        pub algorithm: u8,
        /// The hash, little-endian.
        pub value: [u8; 4],
    }

    /// `struct xen_netif_ctrl_request`
    pub struct NetifCtrlRequest, 16 bytes {
        /// The front end's name for it, returned in the response.
        pub id: u16,
        /// `type`: [`NetifCtrlType`].
        pub kind: u16,
        /// Arguments.
        pub data: [u32; 3],
    }

    /// `struct xen_netif_ctrl_response`
    pub struct NetifCtrlResponse, 12 bytes {
        /// The front end's name for the request.
        pub id: u16,
        /// `type`: of the request.
        pub kind: u16,
        /// [`NetifCtrlStatus`].
        pub status: u32,
        /// Result.
        pub data: u32,
    }

    /// `struct xen_netif_gref`: a grant that stays mapped.
    pub struct NetifGref, 8 bytes {
        /// `ref`: the page.
        pub gref: RawGrantRef,
        /// [`CTRLF_GREF_READONLY`] or 0.
        pub flags: u16,
        /// [`NetifCtrlStatus`]; out.
        pub status: u16,
    }
}

unions! {
    /// `u` of `struct netif_extra_info`.
    pub union NetifExtra: [u16; 3] { NetifExtraGso, NetifExtraMcast, NetifExtraHash }

    /// One slot of the sending ring (`union netif_tx_sring_entry`, or the extra info in its place).
    pub union NetifTxSringEntry: [u32; 3] { NetifTxRequest, NetifTxResponse, NetifExtraInfo }

    /// One slot of the receiving ring (`union netif_rx_sring_entry`, or the extra info in its place).
    pub union NetifRxSringEntry: [u32; 2] { NetifRxRequest, NetifRxResponse, NetifExtraInfo }

    /// `union xen_netif_ctrl_sring_entry`: one slot of the control ring.
    pub union NetifCtrlSringEntry: [u32; 4] { NetifCtrlRequest, NetifCtrlResponse }
}
