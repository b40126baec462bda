//! The back end of virtual disks: blkif of Xen's `io/blkif.h`.

#![no_std]
#![forbid(unsafe_code)]
