//! TCP, Unix sockets and timers on async-std.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::{UnixListener, UnixStream};
use futures::io::{AsyncRead, AsyncWrite};
use futures::stream;
use zaichik_driver::{Endpoint, FuturesIo, FuturesListener, Timer, connect_to_any};
#[cfg(unix)]
use zaichik_driver::{UnixSocket, limit_unsent};

use crate::AsyncStd;

/// A connection: TCP, or a Unix socket.
pub type AsyncStdIo = FuturesIo<AsyncStdStream>;

/// A listener: TCP, or a Unix socket.
pub type AsyncStdListener = FuturesListener<AsyncStdStream>;

/// A stream of async-std.
#[derive(Debug)]
pub enum AsyncStdStream {
    /// Over the network.
    Tcp(TcpStream),
    /// Within this machine.
    #[cfg(unix)]
    Unix(UnixStream),
}

pub(crate) async fn connect(address: &str) -> io::Result<AsyncStdIo> {
    #[cfg(unix)]
    if let Some(path) = Endpoint::unix_path(address) {
        return UnixStream::connect(path).await.map(AsyncStdStream::Unix).map(adapt);
    }
    let addresses: Vec<_> = address.to_socket_addrs().await?.collect();
    tcp(connect_to_any::<AsyncStd, _, _>(&addresses, TcpStream::connect).await?)
}

pub(crate) async fn bind(address: &str) -> io::Result<AsyncStdListener> {
    #[cfg(unix)]
    if let Some(path) = Endpoint::unix_path(address) {
        return Ok(unix(UnixSocket::bind(path)?));
    }
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let accepted = stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await;
        #[cfg(unix)]
        let accepted = accepted.inspect(|(stream, _)| limit_unsent(stream));
        Some((accepted.and_then(|(stream, peer)| Ok((tcp(stream)?, peer))), listener))
    });
    Ok(FuturesListener::new(address, accepted))
}

#[cfg(unix)]
fn unix((listener, socket): (std::os::unix::net::UnixListener, UnixSocket)) -> AsyncStdListener {
    let endpoint = Endpoint::Unix(socket.path().to_owned());
    // Clients of a Unix socket have no address.
    let peer = endpoint.to_string();
    let listening = (UnixListener::from(listener), socket);
    let accepted = stream::unfold(listening, move |(listener, socket)| {
        let peer = peer.clone();
        async move {
            let accepted = listener.accept().await;
            Some((
                accepted.map(|(stream, _)| (adapt(AsyncStdStream::Unix(stream)), peer)),
                (listener, socket),
            ))
        }
    });
    FuturesListener::new(endpoint, accepted)
}

/// Turns Nagle's algorithm off: frames are collected before they are written.
fn tcp(stream: TcpStream) -> io::Result<AsyncStdIo> {
    stream.set_nodelay(true)?;
    Ok(adapt(AsyncStdStream::Tcp(stream)))
}

fn adapt(stream: AsyncStdStream) -> AsyncStdIo {
    // Closing an async-std stream flushes it, but does not shut down the sending side.
    FuturesIo::with_shutdown(stream, |stream| match stream {
        AsyncStdStream::Tcp(stream) => stream.shutdown(Shutdown::Write),
        #[cfg(unix)]
        AsyncStdStream::Unix(stream) => stream.shutdown(Shutdown::Write),
    })
}

impl AsyncRead for AsyncStdStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncStdStream {
    fn writer(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream),
        }
    }
}

impl AsyncWrite for AsyncStdStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_close(cx)
    }
}

/// A timer of async-std's reactor.
///
/// async-std itself has no timer that can be reset, and none for a point in time instead of a duration.
#[derive(Debug)]
pub struct AsyncStdTimer {
    timer: async_io::Timer,
    set_to: Option<Instant>,
}

impl Default for AsyncStdTimer {
    fn default() -> Self {
        Self { timer: async_io::Timer::never(), set_to: None }
    }
}

impl Timer for AsyncStdTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.set_to != Some(deadline) {
            self.timer.set_at(deadline);
            self.set_to = Some(deadline);
        }
        ready!(Pin::new(&mut self.timer).poll(cx));
        // It fires once, so it must be set again.
        self.set_to = None;
        Poll::Ready(())
    }
}
