//! A disk as `hadris-fat` wants one: polled, with a buffer that is only lent for each poll.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use hadris_io::{Error, ErrorKind, ErrorType};
use hadris_storage::async_::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};

use crate::disk::{Disk, Failure, SECTOR};

/// Bytes of a block: sectors of [`Disk`].
const BLOCK: u32 = 512;
const _: () = assert!(BLOCK as usize == SECTOR);

/// Metadata and small files go through here; images do not.
pub(super) struct Adapter<D>(pub(super) Rc<D>);

/// A request under way, which has a buffer of its own.
pub(super) type Request = Pin<Box<dyn Future<Output = (Vec<u8>, Result<(), Failure>)>>>;

impl<D> ErrorType for Adapter<D> {
    type Error = Failure;
}

impl<D: Disk + 'static> BlockDevice for Adapter<D> {
    type State = Option<Request>;

    fn block_size(&self) -> BlockSize {
        const { BlockSize::new(BLOCK).unwrap() }
    }

    fn block_count(&self) -> u64 {
        self.0.properties().sectors
    }

    fn writable(&self) -> bool {
        !self.0.properties().read_only
    }

    fn poll_read_blocks(
        &mut self,
        state: &mut Self::State,
        cx: &mut Context<'_>,
        first: BlockIndex,
        buf: &mut [u8],
    ) -> Poll<Result<(), Error<Failure>>> {
        let bytes = buf.len();
        let read = ready!(advance(state, cx, || {
            let disk = Rc::clone(&self.0);
            Box::pin(async move {
                let mut bytes = vec![0; bytes];
                let result = disk.read(first.get(), &mut bytes).await;
                (bytes, result)
            })
        }));
        Poll::Ready(read.map(|bytes| buf.copy_from_slice(&bytes)))
    }

    fn poll_write_blocks(
        &mut self,
        state: &mut Self::State,
        cx: &mut Context<'_>,
        first: BlockIndex,
        buf: &[u8],
    ) -> Poll<Result<(), Error<Failure>>> {
        let written = ready!(advance(state, cx, || {
            let disk = Rc::clone(&self.0);
            let bytes = Vec::from(buf);
            Box::pin(async move {
                let result = disk.write(first.get(), &bytes).await;
                (bytes, result)
            })
        }));
        Poll::Ready(written.map(drop))
    }

    fn poll_flush(
        &mut self,
        state: &mut Self::State,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error<Failure>>> {
        let flushed = ready!(advance(state, cx, || {
            let disk = Rc::clone(&self.0);
            Box::pin(async move { (Vec::new(), disk.flush().await) })
        }));
        Poll::Ready(flushed.map(drop))
    }

    fn cancel(&mut self, state: &mut Self::State) {
        *state = None;
    }
}

/// Starts a request unless one is under way, and polls it.
fn advance(
    state: &mut Option<Request>,
    cx: &mut Context<'_>,
    start: impl FnOnce() -> Request,
) -> Poll<Result<Vec<u8>, Error<Failure>>> {
    let (bytes, result) = ready!(state.get_or_insert_with(start).as_mut().poll(cx));
    *state = None;
    Poll::Ready(result.map(|()| bytes).map_err(failed))
}

fn failed(failure: Failure) -> Error<Failure> {
    let kind = match failure {
        Failure::ReadOnly => ErrorKind::ReadOnly,
        _ => ErrorKind::Io,
    };
    Error::device(failure, "the disk failed").with_kind(kind)
}
