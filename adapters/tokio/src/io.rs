//! TCP and Unix sockets on tokio, without a buffer for idle connections.

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Sleep;
use zaichik_driver::{Endpoint, Io, Listener, Timer, connect_to_any};
#[cfg(unix)]
use zaichik_driver::{UnixSocket, limit_unsent};

use crate::Tokio;

/// Maximum chunks of one vectored write.
const SLICES: usize = 64;

/// Buffer space for a read, in bytes: it doubles while reads fill it and halves when they use little of it, so that a
/// connection with small messages has a small buffer.
const READ_ROOM: RangeInclusive<usize> = 512..=(64 << 10);

/// A connection: TCP, or a Unix socket.
#[derive(Debug)]
pub struct TokioIo {
    stream: Stream,
    read_room: usize,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A listener: TCP, or a Unix socket.
#[derive(Debug)]
pub struct TokioListener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, UnixSocket),
}

/// A timer on tokio.
#[derive(Debug, Default)]
pub struct TokioTimer(Option<Pin<Box<Sleep>>>);

impl TokioIo {
    pub(crate) async fn connect(address: &str) -> io::Result<Self> {
        #[cfg(unix)]
        if let Some(path) = Endpoint::unix_path(address) {
            return UnixStream::connect(path).await.map(Stream::Unix).map(Self::new);
        }
        let addresses: Vec<_> = tokio::net::lookup_host(address).await?.collect();
        connect_to_any::<Tokio, _, _>(&addresses, TcpStream::connect).await.map(Self::tcp)
    }

    /// Turns Nagle's algorithm off: frames are collected before they are written.
    fn tcp(stream: TcpStream) -> Self {
        // Some systems refuse this if the peer is already gone, which the first read reports as well.
        let _ = stream.set_nodelay(true);
        Self::new(Stream::Tcp(stream))
    }

    fn new(stream: Stream) -> Self {
        Self { stream, read_room: *READ_ROOM.start() }
    }

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
            // Moves the rest of the last read to the front, so that the next read is not short.
            into.reserve(self.read_room.min(limit));
            let room = into.spare_capacity_mut().len().min(limit);
            let mut limited = (&mut *into).limit(limit);
            // Unlike `try_read_buf`, this concludes from a read that did not fill the buffer that the socket is empty.
            if let Poll::Ready(read) = self.stream.poll_read_buf(cx, &mut limited) {
                return Poll::Ready(read.inspect(|count| self.adapt(*count, room)));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut impl Buf) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = from.chunks_vectored(&mut slices);
        let slices = slices.get(..filled).unwrap_or_default();
        let written = ready!(self.stream.writer().poll_write_vectored(cx, slices))?;
        from.advance(written);
        Poll::Ready(Ok(written))
    }

    fn look_again(&self, cx: &mut Context<'_>) {
        // Unlike a task that wakes itself, one that yields is woken after the runtime has checked its sockets.
        if pin!(tokio::task::yield_now()).poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        self.look_again(cx);
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.writer().poll_shutdown(cx)
    }
}

impl Stream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            #[cfg(unix)]
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    fn poll_read_buf(&mut self, cx: &mut Context<'_>, into: &mut impl BufMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => pin!(stream.read_buf(into)).poll(cx),
            #[cfg(unix)]
            Self::Unix(stream) => pin!(stream.read_buf(into)).poll(cx),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream),
        }
    }
}

impl TokioListener {
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        #[cfg(unix)]
        if let Some(path) = Endpoint::unix_path(address) {
            let (listener, socket) = UnixSocket::bind(path)?;
            return Ok(Self(Socket::Unix(UnixListener::from_std(listener)?, socket)));
        }
        TcpListener::bind(address).await.map(Socket::Tcp).map(Self)
    }
}

impl Listener for TokioListener {
    type Io = TokioIo;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TokioIo, String)>> {
        match &mut self.0 {
            Socket::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                #[cfg(unix)]
                limit_unsent(&stream);
                Poll::Ready(Ok((TokioIo::tcp(stream), peer.to_string())))
            }
            #[cfg(unix)]
            Socket::Unix(listener, socket) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                // Clients of a Unix socket have no address.
                let peer = Endpoint::Unix(socket.path().to_owned()).to_string();
                Poll::Ready(Ok((TokioIo::new(Stream::Unix(stream)), peer)))
            }
        }
    }

    fn local_addr(&self) -> io::Result<Endpoint> {
        match &self.0 {
            Socket::Tcp(listener) => listener.local_addr().map(Endpoint::Tcp),
            #[cfg(unix)]
            Socket::Unix(_, socket) => Ok(Endpoint::Unix(socket.path().to_owned())),
        }
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
