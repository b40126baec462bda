//! The back end of virtual network interfaces: netif of Xen's `io/netif.h`.

#![no_std]
#![forbid(unsafe_code)]
