//! A DHCP server for a bridge (RFC 2131, RFC 2132), as the internal network of the machine
//! has it (NET-27).
//!
//! | module | |
//! |---|---|
//! | `frames` | requests and answers as frames |
//! | `request` | what a client asks |
//! | `leases` | who has which address |
//! | [`server`] | [`Server`]: what is answered |
//!
//! It answers with frames instead of through a socket, since a client that has no address
//! yet is reached by its Ethernet address only (RFC 2131, section 4.1).

mod frames;
mod leases;
mod request;
pub mod server;
#[cfg(test)]
mod tests;

pub use leases::LeaseInfo;
pub use server::{Server, Settings};
