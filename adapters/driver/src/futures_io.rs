//! Byte streams with the traits of the `futures` crate, as in async-std and smol.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures::io::{AsyncRead, AsyncWrite};

use crate::runtime::Io;

/// Maximum chunks of one vectored write.
const SLICES: usize = 64;

/// Maximum bytes of one read; each thread that reads has a buffer of this size.
const SCRATCH: usize = 64 << 10;

thread_local! {
    /// The buffer for reads, before their length is known.
    ///
    /// `AsyncRead` needs a buffer before there are bytes to read. A buffer per connection would cost memory for idle
    /// connections; one per thread costs a copy, from memory that is in the cache after the read.
    static ARRIVALS: Cell<Box<[u8]>> = Cell::default();
}

/// An [`Io`] over a byte stream with the `futures` traits.
///
/// The stream must send written bytes without a flush: a stream that buffers them, such as `BufWriter`, is never
/// flushed.
///
/// ```
/// # use std::future::poll_fn;
/// use futures::io::Cursor;
/// use zaichik_driver::{FuturesIo, Io};
/// # zaichik_simulated::Simulation::new().run(async {
/// let mut stream = FuturesIo::new(Cursor::new(b"hello".to_vec())); // in a program: a TcpStream of some runtime
/// let mut bytes = bytes::BytesMut::new();
/// let count = poll_fn(|cx| stream.poll_read(cx, &mut bytes, 3)).await?;
/// assert_eq!((count, &bytes[..]), (3, &b"hel"[..]));
/// # Ok::<(), std::io::Error>(())
/// # }).expect("it reads");
/// ```
#[derive(Debug)]
pub struct FuturesIo<S> {
    stream: S,
    shutdown: Option<fn(&S) -> io::Result<()>>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> FuturesIo<S> {
    /// A stream whose [`poll_close`](AsyncWrite::poll_close) shuts down the sending side.
    #[must_use]
    pub const fn new(stream: S) -> Self {
        Self { stream, shutdown: None }
    }

    /// A stream whose `poll_close` does not shut down the sending side, with a function that does.
    #[must_use]
    pub const fn with_shutdown(stream: S, shutdown: fn(&S) -> io::Result<()>) -> Self {
        Self { stream, shutdown: Some(shutdown) }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for FuturesIo<S> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        // Taken rather than borrowed: a stream may wrap others that read on the same thread.
        let mut scratch = ARRIVALS.take();
        if scratch.is_empty() {
            scratch = vec![0; SCRATCH].into_boxed_slice();
        }
        let room = scratch.len().min(limit);
        let buffer = scratch.get_mut(..room).unwrap_or_default();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = polled {
            into.extend_from_slice(scratch.get(..count).unwrap_or_default());
        }
        ARRIVALS.set(scratch);
        polled
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut impl Buf) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = from.chunks_vectored(&mut slices);
        let slices = slices.get(..filled).unwrap_or_default();
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        from.advance(written);
        Poll::Ready(Ok(written))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.shutdown {
            Some(shutdown) => Poll::Ready(shutdown(&self.stream)),
            None => Pin::new(&mut self.stream).poll_close(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    /// Returns the bytes it was created with, at most five per read; accepts at most three per write.
    #[derive(Default)]
    struct Slow {
        given: VecDeque<u8>,
        taken: Vec<u8>,
        writes: usize,
        closed: bool,
    }

    impl AsyncRead for Slow {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let count = self.given.len().min(buffer.len()).min(5);
            if count == 0 {
                return Poll::Pending;
            }
            for (place, byte) in buffer.iter_mut().zip(self.given.drain(..count)) {
                *place = byte;
            }
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.writes = self.writes.saturating_add(1);
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).take(3).collect();
            self.taken.extend_from_slice(&bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.closed = true;
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn an_idle_stream_costs_no_memory_and_a_read_appends_up_to_the_limit() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut io = FuturesIo::new(Slow::default());
        let mut into = BytesMut::new();
        assert!(io.poll_read(&mut cx, &mut into, 100).is_pending());
        assert_eq!(into.capacity(), 0);
        io.stream.given.extend(b"abcdefg");
        assert!(matches!(io.poll_read(&mut cx, &mut into, 4), Poll::Ready(Ok(4))));
        assert!(matches!(io.poll_read(&mut cx, &mut into, 4), Poll::Ready(Ok(3))));
        assert_eq!(into, "abcdefg");
    }

    #[test]
    fn a_write_offers_every_chunk_and_advances_by_the_bytes_accepted() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut io = FuturesIo::new(Slow::default());
        let mut from = (&b"ab"[..]).chain(&b"cd"[..]);
        while from.has_remaining() {
            assert!(matches!(io.poll_write(&mut cx, &mut from), Poll::Ready(Ok(1..=3))));
        }
        assert_eq!(io.stream.taken, b"abcd");
        assert_eq!(io.stream.writes, 2);
    }

    #[test]
    fn a_stream_is_closed_in_its_own_way() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut io = FuturesIo::new(Slow::default());
        assert!(matches!(io.poll_shutdown(&mut cx), Poll::Ready(Ok(()))));
        assert!(io.stream.closed);
        let mut io = FuturesIo::with_shutdown(Slow::default(), |_| Err(io::ErrorKind::Other.into()));
        assert!(matches!(io.poll_shutdown(&mut cx), Poll::Ready(Err(_))));
        assert!(!io.stream.closed);
    }
}
