//! How front ends and back ends find together (`io/xenbus.h`).
//!
//! ```text
//! front end   Initialising ......... Initialised ... Connected ... Closing ... Closed
//! back end    Initialising InitWait .............. Connected ..... Closing ... Closed
//! ```

numbers! {
    /// The XenStore node `state` of a device's end (`enum xenbus_state`).
    pub enum XenbusState: u32 {
        /// `XenbusStateUnknown`: no such node.
        Unknown = 0,
        /// `XenbusStateInitialising`: starting.
        Initialising = 1,
        /// `XenbusStateInitWait`: back end waits for the front end's details.
        InitWait = 2,
        /// `XenbusStateInitialised`: front end wrote its details.
        Initialised = 3,
        /// `XenbusStateConnected`: works.
        Connected = 4,
        /// `XenbusStateClosing`: shutting down.
        Closing = 5,
        /// `XenbusStateClosed`: shut down.
        Closed = 6,
        /// `XenbusStateReconfiguring`: changing while connected.
        Reconfiguring = 7,
        /// `XenbusStateReconfigured`: changed.
        Reconfigured = 8,
    }
}
