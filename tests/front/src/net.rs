//! A network interface's front end (Xen's `io/netif.h`): one page for each packet.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use guest_rt::channels::Channel;
use guest_rt::shared::{Granted, Shared};
use xen_abi::io::netif::{
    NetifRxRequest, NetifRxResponse, NetifRxSringEntry, NetifTxRequest, NetifTxResponse, NetifTxSringEntry,
};
use xen_abi::io::xenbus::XenbusState;
use xen_backend::{FrontRing, Memory as _};

use crate::front::Front;
use crate::ground::{Check, DOM0};

/// Packets under way in each direction.
pub(crate) const PACKETS: u16 = 64;
/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// EtherType for experiments (IEEE 802, "local experimental EtherType 1").
pub(crate) const OWN_TYPE: [u8; 2] = [0x88, 0xb5];
/// Bytes of an Ethernet header.
pub(crate) const HEADER: usize = 14;
/// Everybody.
pub(crate) const BROADCAST: Address = [0xff; 6];

/// An Ethernet address.
pub(crate) type Address = [u8; 6];

/// Rings and a port of an interface, connected or not.
pub(crate) struct Net {
    pub(crate) front: Front,
    pub(crate) tx: FrontRing<Shared>,
    pub(crate) rx: FrontRing<Shared>,
    rings: [Granted; 2],
    /// A page for each packet that is sent, and for each that may come.
    pub(crate) sent: Granted,
    pub(crate) coming: Granted,
    /// Pages from which nothing is being sent.
    free: Vec<u16>,
    pub(crate) port: Channel,
    /// Its own address.
    pub(crate) address: Address,
}

impl Net {
    /// Makes rings which nobody knows of.
    pub(crate) async fn new(front: Front) -> Check<Self> {
        let ground = front.ground.clone();
        let text = front.text("mac").await.unwrap_or_default();
        let address = parse(&text).ok_or_else(|| format!("its address is {text:?}"))?;
        let rings = [ground.share(1, true), ground.share(1, true)];
        let [tx, rx] = [&rings[0], &rings[1]].map(|ring| ring.pages().clone());
        Ok(Self {
            front,
            tx: FrontRing::new(tx, size_of::<NetifTxSringEntry>()),
            rx: FrontRing::new(rx, size_of::<NetifRxSringEntry>()),
            rings,
            sent: ground.share(PACKETS.into(), false),
            coming: ground.share(PACKETS.into(), true),
            free: (0..PACKETS).collect(),
            port: Channel::unbound(DOM0).map_err(|errno| format!("no event channel: {errno:?}"))?,
            address,
        })
    }

    /// What the front end says before it connects.
    pub(crate) fn nodes(&self) -> Vec<(String, String)> {
        let [tx, rx] = &self.rings;
        let reference = |ring: &Granted| ring.references().first().copied().unwrap_or(0);
        let values = [
            ("tx-ring-ref", reference(tx)),
            ("rx-ring-ref", reference(rx)),
            ("event-channel", self.port.port()),
            ("request-rx-copy", 1),
            ("feature-rx-notify", 1),
            ("feature-sg", 0),
        ];
        values.map(|(name, value)| (name.to_string(), value.to_string())).to_vec()
    }

    /// Connects as it should.
    pub(crate) async fn connect(front: Front) -> Check<Self> {
        let mut net = Self::new(front).await?;
        for id in 0..PACKETS {
            net.offer(id);
        }
        let state = net.front.announce(&net.nodes()).await?;
        if state != XenbusState::Connected {
            return Err(format!("interface {}: the back end does not connect: {state:?}", net.front.number));
        }
        net.kick();
        Ok(net)
    }

    /// Offers a page for a packet.
    fn offer(&mut self, id: u16) {
        let gref = self.coming.references().get(usize::from(id)).copied().unwrap_or(0);
        self.rx.put(&NetifRxRequest { id, _pad: 0, gref });
    }

    /// Puts a frame of up to a page into the ring; `false` where there is no room.
    pub(crate) fn send(&mut self, frame: &[u8]) -> bool {
        while let Some(response) = self.tx.take::<NetifTxResponse>() {
            self.free.push(response.id);
        }
        let Some(id) = self.free.pop() else { return false };
        let place = usize::from(id % PACKETS);
        self.sent.pages().write(place * PAGE, frame);
        let gref = self.sent.references().get(place).copied().unwrap_or(0);
        let size = u16::try_from(frame.len()).unwrap_or(u16::MAX);
        self.tx.put(&NetifTxRequest { gref, offset: 0, flags: 0, id, size });
        true
    }

    /// Whether all that was sent was answered.
    pub(crate) fn is_idle(&mut self) -> bool {
        while let Some(response) = self.tx.take::<NetifTxResponse>() {
            self.free.push(response.id);
        }
        self.free.len() == usize::from(PACKETS)
    }

    /// Tells of what was put.
    pub(crate) fn kick(&mut self) {
        let (tx, rx) = (self.tx.publish(), self.rx.publish());
        if tx || rx {
            // A back end that is gone does not wait for it.
            let _ = self.port.send();
        }
    }

    /// A frame that has come; its page is offered again.
    pub(crate) fn receive(&mut self) -> Check<Option<Vec<u8>>> {
        let Some(response) = self.rx.take::<NetifRxResponse>() else { return Ok(None) };
        let (id, offset) = (usize::from(response.id), usize::from(response.offset));
        let length = usize::try_from(response.status).unwrap_or(0);
        if id >= usize::from(PACKETS) || offset + length > PAGE || length < HEADER {
            return Err(format!("a packet that cannot be: {response:?}"));
        }
        let mut frame = vec![0; length];
        self.coming.pages().read(id * PAGE + offset, &mut frame);
        self.offer(response.id);
        Ok(Some(frame))
    }
}

/// A frame of this guest's own kind.
pub(crate) fn frame(to: Address, from: Address, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], &OWN_TYPE[..], payload].concat()
}

/// An address as XenStore has it.
fn parse(text: &str) -> Option<Address> {
    let mut address = [0; 6];
    let mut parts = text.trim().split(':');
    for byte in &mut address {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}
