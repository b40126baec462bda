//! The server as its clients see it: guests that speak the protocol over their rings, and
//! tasks of Dom0.

mod client;
mod domains;
mod hostile;
mod linux;
mod model;
mod nodes;
mod transactions;
mod watches;
