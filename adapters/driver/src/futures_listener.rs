//! A listener made of a stream of connections, as the `futures` family of runtimes has it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::{BoxStream, Stream, StreamExt};

use crate::futures_io::FuturesIo;
use crate::runtime::Listener;

/// A listener over a stream of connections and their peers' addresses.
pub struct FuturesListener<S> {
    address: SocketAddr,
    accepted: BoxStream<'static, io::Result<(FuturesIo<S>, SocketAddr)>>,
}

impl<S> FuturesListener<S> {
    /// What listens on `address`, with the real port; the stream goes on after an error and does not end.
    pub fn new(
        address: SocketAddr,
        accepted: impl Stream<Item = io::Result<(FuturesIo<S>, SocketAddr)>> + Send + 'static,
    ) -> Self {
        Self { address, accepted: accepted.boxed() }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Listener for FuturesListener<S> {
    type Io = FuturesIo<S>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(FuturesIo<S>, String)>> {
        let accepted = ready!(self.accepted.poll_next_unpin(cx));
        let (io, peer) = accepted.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))?;
        Poll::Ready(Ok((io, peer.to_string())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl<S> fmt::Debug for FuturesListener<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FuturesListener").field(&self.address).finish()
    }
}
