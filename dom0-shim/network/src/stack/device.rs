//! A port as smoltcp sees it.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use crate::link::Link;
use crate::packet::{Checksum, Packet};
use crate::switch::Port;

/// Bytes of an Ethernet frame without its check sequence.
const FRAME: usize = 1514;

/// The port, with what came and was not looked at.
pub struct Device {
    pub frames: VecDeque<Vec<u8>>,
    pub port: Rc<Port>,
}

impl phy::Device for Device {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, ToSend<'_>)> {
        let frame = self.frames.pop_front()?;
        Some((Received(frame), ToSend(&self.port)))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToSend<'_>> {
        Some(ToSend(&self.port))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

/// A frame that came.
pub struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

/// Room for a frame to be sent.
pub struct ToSend<'a>(&'a Port);

impl phy::TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut bytes = vec![0; length];
        let result = fill(&mut bytes);
        self.0.send(Packet { bytes, checksum: Checksum::Valid, segments: None });
        result
    }
}
