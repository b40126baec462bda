//! Pages that a guest shares with its back ends in Dom0: two rings of bytes, and an event channel by which each
//! side tells that it moved an index (`io/console.h`, `io/xs_wire.h`).

use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};

use xen_abi::errno::Errno;
use xen_abi::hvm_params::HvmParam;
use xen_abi::io::console::{IN_BYTES, OUT_BYTES, XenconsInterface};
use xen_abi::io::xs_wire::{RING_SIZE, XenstoreDomainInterface};

use crate::channels::Channel;
use crate::hypercall;
use crate::paging::PAGE_SIZE;

/// Why bytes do not come or go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The domain was made without it.
    Absent,
    /// The hypervisor refused what is needed to reach it.
    Refused(Errno),
    /// The indices cannot be: more bytes than there is room for.
    Broken,
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

/// A page with a ring for each direction.
#[derive(Debug)]
pub struct Rings {
    from_back_end: Ring,
    to_back_end: Ring,
    channel: Channel,
}

impl Rings {
    /// The console's; [`crate::channels::init`] was called.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`], [`Error::Refused`].
    pub fn console() -> Result<Self, Error> {
        const FROM: Layout = Layout {
            bytes: offset_of!(XenconsInterface, input),
            size: IN_BYTES,
            consumer: offset_of!(XenconsInterface, in_cons),
            producer: offset_of!(XenconsInterface, in_prod),
        };
        const TO: Layout = Layout {
            bytes: offset_of!(XenconsInterface, output),
            size: OUT_BYTES,
            consumer: offset_of!(XenconsInterface, out_cons),
            producer: offset_of!(XenconsInterface, out_prod),
        };
        Self::open(HvmParam::ConsolePfn, HvmParam::ConsoleEvtchn, [FROM, TO])
    }

    /// XenStore's; [`crate::channels::init`] was called.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`], [`Error::Refused`].
    pub fn store() -> Result<Self, Error> {
        const FROM: Layout = Layout {
            bytes: offset_of!(XenstoreDomainInterface, rsp),
            size: RING_SIZE,
            consumer: offset_of!(XenstoreDomainInterface, rsp_cons),
            producer: offset_of!(XenstoreDomainInterface, rsp_prod),
        };
        const TO: Layout = Layout {
            bytes: offset_of!(XenstoreDomainInterface, req),
            size: RING_SIZE,
            consumer: offset_of!(XenstoreDomainInterface, req_cons),
            producer: offset_of!(XenstoreDomainInterface, req_prod),
        };
        Self::open(HvmParam::StorePfn, HvmParam::StoreEvtchn, [FROM, TO])
    }

    fn open(frame: HvmParam, port: HvmParam, [from, to]: [Layout; 2]) -> Result<Self, Error> {
        let page = match hypercall::hvm_param(frame)? {
            // The lowest 4 GiB are mapped.
            frame @ 1.. if frame < 1 << 20 => crate::to_usize(frame * PAGE_SIZE),
            _ => return Err(Error::Absent),
        };
        let port = u32::try_from(hypercall::hvm_param(port)?).ok().filter(|port| *port != 0);
        Ok(Self {
            from_back_end: Ring { page, layout: from },
            to_back_end: Ring { page, layout: to },
            channel: Channel::adopt(port.ok_or(Error::Absent)?),
        })
    }

    /// Takes bytes that have come; how many.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`], [`Error::Refused`].
    pub fn read(&self, to: &mut [u8]) -> Result<usize, Error> {
        let count = self.from_back_end.read(to)?;
        self.notify(count)
    }

    /// Puts as many bytes as there is room for; how many.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`], [`Error::Refused`].
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Error> {
        let count = self.to_back_end.write(bytes)?;
        self.notify(count)
    }

    fn notify(&self, moved: usize) -> Result<usize, Error> {
        if moved > 0 {
            self.channel.send()?;
        }
        Ok(moved)
    }

    /// Waits until the other side has moved an index. Look at the rings first: an event may have come before the
    /// channel was open.
    pub async fn event(&self) {
        self.channel.event().await;
    }
}

/// Where a ring is in its page: offsets of its bytes and its indices, and how many bytes it has.
#[derive(Clone, Copy, Debug)]
struct Layout {
    bytes: usize,
    size: usize,
    consumer: usize,
    producer: usize,
}

/// One ring. Indices run freely; modulo the size they are the place.
#[derive(Debug)]
struct Ring {
    /// Address of a page that both sides have for ever.
    page: usize,
    layout: Layout,
}

impl Ring {
    fn read(&self, to: &mut [u8]) -> Result<usize, Error> {
        let (consumer, used) = (self.index(self.layout.consumer), self.used()?);
        let (first, count) = (consumer.load(Ordering::Relaxed), used.min(to.len()));
        for (index, byte) in (0..).zip(to.iter_mut().take(count)) {
            // SAFETY: a byte of the ring; the other side may write there at any time.
            *byte = unsafe { self.place(first.wrapping_add(index)).read_volatile() };
        }
        consumer.store(first.wrapping_add(narrow(count)), Ordering::Release);
        Ok(count)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Error> {
        let (producer, room) = (self.index(self.layout.producer), self.layout.size - self.used()?);
        let (first, count) = (producer.load(Ordering::Relaxed), room.min(bytes.len()));
        for (index, byte) in (0..).zip(bytes.iter().take(count)) {
            // SAFETY: a byte of the ring; the other side may read there at any time.
            unsafe { self.place(first.wrapping_add(index)).write_volatile(*byte) };
        }
        producer.store(first.wrapping_add(narrow(count)), Ordering::Release);
        Ok(count)
    }

    /// Bytes in it; at most its size.
    fn used(&self) -> Result<usize, Error> {
        let consumed = self.index(self.layout.consumer).load(Ordering::Acquire);
        let produced = self.index(self.layout.producer).load(Ordering::Acquire);
        let used = produced.wrapping_sub(consumed) as usize;
        if used > self.layout.size { Err(Error::Broken) } else { Ok(used) }
    }

    fn index(&self, offset: usize) -> &AtomicU32 {
        let place = (self.page + offset) as *mut u32;
        // SAFETY: an aligned word of the page that the hypervisor named; only atomically is it used.
        unsafe { AtomicU32::from_ptr(place) }
    }

    fn place(&self, index: u32) -> *mut u8 {
        (self.page + self.layout.bytes + index as usize % self.layout.size) as *mut u8
    }
}

/// A number of bytes of a page.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(0)
}
