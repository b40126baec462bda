//! Packets of an interface, every field of their slots, and pages to receive into.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use guest_rt::timer;
use xen_abi::io::netif::{
    EXTRA_FLAG_MORE, NetifExtra, NetifExtraGso, NetifExtraInfo, NetifRxRequest, NetifRxResponse, NetifStatus,
    NetifTxFlags, NetifTxRequest, NetifTxResponse,
};
use xen_abi::io::xenbus::XenbusState;
use xen_backend::Memory as _;

use super::{Attack, done};
use crate::front::{Front, PATIENCE_MS};
use crate::ground::{Check, sleep_ms};
use crate::net::{Address, BROADCAST, HEADER, Net, PACKETS, PAGE, frame};
use crate::random::Random;

/// Turns of an attack on one connection, and slots of each.
const TURNS: u64 = 24;
const SLOTS: u16 = 48;
/// Connections that end by a fault, or may.
const CONNECTIONS: u64 = 16;
/// Bytes of a ring's header, and of a ring's page.
const RING_HEADER: usize = 64;
/// Pages that are offered to receive into, in all.
const OFFERS: usize = 256;

/// Packets whose sizes and grants are wrong, but not so that the connection ends: each is answered in its place.
pub(super) async fn sizes(front: &Front, attack: &mut Attack) -> Check {
    let mut net = connect(front).await?;
    for _ in 0..TURNS {
        let mut asked = VecDeque::new();
        for id in 0..SLOTS {
            let ask = packet(&mut net, id, attack);
            net.tx.put(&ask.slot);
            asked.push_back(ask);
        }
        net.kick();
        while let Some(ask) = asked.pop_front() {
            ask.compare(&answer(&mut net).await?)?;
        }
    }
    front.start_anew().await?;
    done("sizes", front, TURNS * u64::from(SLOTS), "packets");
    Ok(())
}

/// Slots with anything in them. The connection may end, and the interface comes back.
pub(super) async fn fields(front: &Front, attack: &mut Attack) -> Check {
    for _ in 0..CONNECTIONS {
        let mut net = connect(front).await?;
        for id in 0..SLOTS {
            let ask = packet(&mut net, id, attack);
            if attack.random.once_in(4) {
                net.tx.put(&spoiled(ask.slot, attack));
            } else {
                net.tx.put(&ask.slot);
            }
            if attack.random.once_in(8) {
                net.tx.put(&extra(&mut attack.random));
            }
        }
        net.kick();
        leave(&net).await?;
    }
    done("slots", front, CONNECTIONS * u64::from(SLOTS), "slots");
    Ok(())
}

/// Pages to receive into that cannot be written, while another interface sends to all.
pub(super) async fn pages(front: &Front, other: &Front, attack: &mut Attack) -> Check {
    let mut sender = connect(other).await?;
    let mut net = Net::new(front.clone()).await?;
    if net.front.announce(&net.nodes()).await? != XenbusState::Connected {
        return Err("a good front end is not connected".into());
    }
    let (mut offered, mut came, end) = (VecDeque::new(), 0, timer::now_ns() + PATIENCE_MS * 1_000_000);
    while came < OFFERS {
        while offered.len() < usize::from(PACKETS) {
            let good = attack.random.once_in(2);
            let place = attack.random.index(PACKETS.into());
            let own = net.coming.references().get(place).copied().filter(|_| good);
            let gref = own.unwrap_or_else(|| attack.pages.none(&mut attack.random));
            let id = attack.random.u16();
            net.rx.put(&NetifRxRequest { id, _pad: attack.random.u16(), gref });
            offered.push_back((id, own.map(|_| place)));
        }
        net.kick();
        let wide = frame(BROADCAST, sender.address, &[0x5a; 100]);
        for _ in 0..8 {
            sender.send(&wide);
        }
        sender.kick();
        timer::within(2_000_000, net.port.event()).await;
        while let Some(response) = net.rx.take::<NetifRxResponse>() {
            let (id, place) = offered.pop_front().ok_or("a packet that nobody offered a page for")?;
            delivered(&net, &response, id, place)?;
            came += 1;
        }
        if timer::now_ns() > end {
            return Err(format!("{came} packets have come, not {OFFERS}"));
        }
    }
    attack.pages.check()?;
    sender.front.start_anew().await?;
    front.start_anew().await?;
    done("pages", front, OFFERS as u64, "pages");
    Ok(())
}

/// Slots that change while they are read.
pub(super) async fn races(front: &Front, attack: &mut Attack) -> Check {
    for _ in 0..CONNECTIONS {
        let mut net = connect(front).await?;
        attack.scribbler.begin(net.tx.memory().clone(), RING_HEADER..PAGE, attack.random.clone());
        for id in 0..SLOTS {
            let ask = packet(&mut net, id, attack);
            net.tx.put(&ask.slot);
            net.kick();
        }
        sleep_ms(2).await;
        attack.scribbler.rest();
        leave(&net).await?;
    }
    done("races", front, CONNECTIONS * u64::from(SLOTS), "slots");
    Ok(())
}

/// Leaves a connection that may have ended; the interface comes back.
async fn leave(net: &Net) -> Check {
    sleep_ms(2).await;
    let state = net.front.back_state().await;
    if !matches!(state, XenbusState::Connected | XenbusState::Closed) {
        return Err(format!("the back end is {state:?} after bad packets"));
    }
    net.front.start_anew().await
}

async fn connect(front: &Front) -> Check<Net> {
    Net::connect(front.clone()).await
}

/// The next answer to a packet.
async fn answer(net: &mut Net) -> Check<NetifTxResponse> {
    let end = timer::now_ns() + PATIENCE_MS * 1_000_000;
    loop {
        if let Some(response) = net.tx.take() {
            return Ok(response);
        }
        timer::within(20_000_000, net.port.event()).await;
        // What came meanwhile does not matter here, but it may not be somebody else's.
        while let Some(frame) = net.receive()? {
            check_target(net.address, &frame)?;
        }
        if timer::now_ns() > end {
            return Err(format!(
                "a packet is not answered: the back end is {:?}",
                net.front.back_state().await
            ));
        }
    }
}

/// A packet of one slot, and what is to be answered.
struct Ask {
    slot: NetifTxRequest,
    /// `None`: anything.
    status: Option<NetifStatus>,
}

impl Ask {
    fn compare(&self, response: &NetifTxResponse) -> Check {
        let right = self.status.is_none_or(|status| response.status == status.get());
        if response.id == self.slot.id && right && NetifStatus::new(response.status).is_some() {
            return Ok(());
        }
        Err(format!("{response:?}, not {:?} to {}", self.status, self.slot.id))
    }
}

/// A packet in page `id`. What is wrong with it ends no connection.
fn packet(net: &mut Net, id: u16, attack: &mut Attack) -> Ask {
    let random = &mut attack.random;
    let place = usize::from(id % PACKETS);
    let targets = [BROADCAST, net.address, [0x01, 0x80, 0xc2, 0, 0, 0], address(random)];
    let from = if random.once_in(4) { address(random) } else { net.address };
    let mut payload = vec![0; 46 + random.index(1400)];
    random.fill(&mut payload);
    let bytes = frame(targets[random.index(targets.len())], from, &payload);
    net.sent.pages().write(place * PAGE, &bytes);
    let gref = net.sent.references().get(place).copied().unwrap_or(0);
    let size = u16::try_from(bytes.len()).unwrap_or(0);
    let mut slot = NetifTxRequest { gref, offset: 0, flags: 0, id: random.u16(), size };
    let mut status = Some(NetifStatus::Okay);
    match random.below(6) {
        0 => (slot.gref, status) = (beyond(attack), Some(NetifStatus::Error)),
        1 => (slot.size, status) = (u16::from(random.u8() % 14), Some(NetifStatus::Error)),
        2 => slot.flags = NetifTxFlags::CSUM_BLANK.bits(),
        3 => slot.offset = random.u16() % 1024,
        _ => {}
    }
    Ask { slot, status }
}

/// A grant that is none.
fn beyond(attack: &mut Attack) -> u32 {
    2048 + attack.random.u32() % 100_000
}

/// The same slot with some fields changed.
fn spoiled(mut slot: NetifTxRequest, attack: &mut Attack) -> NetifTxRequest {
    let random = &mut attack.random;
    let [low, high, ..] = random.odd().to_le_bytes();
    let value = u16::from_le_bytes([low, high]);
    match random.below(5) {
        0 => slot.offset = value,
        1 => slot.size = value,
        2 => slot.flags = value,
        3 => slot.flags = (NetifTxFlags::MORE_DATA | NetifTxFlags::EXTRA_INFO).bits(),
        _ => slot.gref = attack.pages.none(&mut attack.random),
    }
    slot
}

/// Extra info of any kind.
fn extra(random: &mut Random) -> NetifExtraInfo {
    let gso = NetifExtraGso { size: random.u16(), kind: random.u8() % 4, _pad: 0, features: random.u16() };
    let flags = if random.once_in(2) { EXTRA_FLAG_MORE } else { random.u8() };
    NetifExtraInfo { kind: random.u8() % 6, flags, u: NetifExtra::of(&gso) }
}

fn address(random: &mut Random) -> Address {
    let mut address = [0; 6];
    random.fill(&mut address);
    address
}

/// What came for a page that was offered: nothing where it cannot be written, else a whole packet.
fn delivered(net: &Net, response: &NetifRxResponse, id: u16, place: Option<usize>) -> Check {
    let length = usize::try_from(response.status).unwrap_or(0);
    match place {
        _ if response.id != id => Err(format!("{response:?}: its page is {id}")),
        None if length == 0 => Ok(()),
        Some(place) if (HEADER..=PAGE).contains(&length) && response.offset == 0 => {
            let mut frame: Vec<u8> = vec![0; length];
            net.coming.pages().read(place * PAGE, &mut frame);
            check_target(net.address, &frame)
        }
        _ => Err(format!("{response:?}: it was offered {place:?}")),
    }
}

/// Fails for a packet that is for somebody else.
fn check_target(own: Address, frame: &[u8]) -> Check {
    match frame.first_chunk::<6>() {
        Some(to) if *to == own || to[0] & 1 == 1 => Ok(()),
        to => Err(format!("a packet that is for {to:02x?}")),
    }
}
