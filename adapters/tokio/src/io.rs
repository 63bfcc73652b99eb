//! TCP on tokio, without a buffer for connections that have nothing to read.

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use zaichik_driver::{Endpoint, Io, Listener, Timer};

/// Most chunks of one vectored write.
const SLICES: usize = 64;

/// Room made for a read: it doubles as long as reads fill it and halves when they use little of it, so that a
/// connection with small messages owns a small buffer.
const READ_ROOM: RangeInclusive<usize> = 512..=(64 << 10);

/// A TCP connection.
#[derive(Debug)]
pub struct TokioIo {
    stream: TcpStream,
    read_room: usize,
}

/// A TCP listener.
#[derive(Debug)]
pub struct TokioListener(pub(crate) TcpListener);

/// An alarm of tokio's.
#[derive(Debug, Default)]
pub struct TokioTimer(Option<Pin<Box<Sleep>>>);

impl TokioIo {
    /// Small frames leave at once: they are gathered before they are written.
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Some systems refuse it for a peer that is gone already, which the first read tells as well.
        let _ = stream.set_nodelay(true);
        Self { stream, read_room: *READ_ROOM.start() }
    }
}

impl TokioIo {
    fn adapt(&mut self, count: usize, room: usize) {
        let adapted = if count == room {
            self.read_room.saturating_mul(2)
        } else if count < room / 4 {
            self.read_room / 2
        } else {
            self.read_room
        };
        self.read_room = adapted.clamp(*READ_ROOM.start(), *READ_ROOM.end());
    }
}

impl Io for TokioIo {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            // What is left of the last read is moved to the front rather than the next one cut short.
            into.reserve(self.read_room.min(limit));
            let room = into.spare_capacity_mut().len().min(limit);
            let mut limited = (&mut *into).limit(limit);
            // Unlike `try_read_buf` it knows after a read that did not fill the room that there is nothing more.
            if let Poll::Ready(read) = pin!(self.stream.read_buf(&mut limited)).poll(cx) {
                return Poll::Ready(read.inspect(|count| self.adapt(*count, room)));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut impl Buf) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = from.chunks_vectored(&mut slices);
        let slices = slices.get(..filled).unwrap_or_default();
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        from.advance(written);
        Poll::Ready(Ok(written))
    }

    fn look_again(&self, cx: &mut Context<'_>) {
        // Unlike a task that wakes itself, one that yields is woken behind a look at the sockets.
        if pin!(tokio::task::yield_now()).poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Listener for TokioListener {
    type Io = TokioIo;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TokioIo, String)>> {
        let (stream, peer) = ready!(self.0.poll_accept(cx))?;
        Poll::Ready(Ok((TokioIo::new(stream), peer.to_string())))
    }

    fn local_addr(&self) -> io::Result<Endpoint> {
        self.0.local_addr().map(Endpoint::Tcp)
    }
}

impl Timer for TokioTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}
