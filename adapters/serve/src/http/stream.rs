//! Adapts a runtime's byte stream to hyper.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hyper::rt::{Read, ReadBufCursor, Write};
use zaichik_driver::Io;

/// A byte stream, and a buffer for reads that is empty between two calls.
pub(super) struct Stream<I> {
    io: I,
    received: BytesMut,
}

impl<I: Io> Stream<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, received: BytesMut::new() }
    }
}

impl<I: Io> Read for Stream<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, received } = &mut *self;
        ready!(io.poll_read(cx, received, into.remaining()))?;
        into.put_slice(received);
        received.clear();
        Poll::Ready(Ok(()))
    }
}

impl<I: Io> Write for Stream<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let mut rest = from;
        self.io.poll_write(cx, &mut rest)
    }

    /// Does nothing: nothing is buffered.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }
}
