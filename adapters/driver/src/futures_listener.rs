//! A listener over a stream of connections, as in runtimes with the `futures` traits.

use std::fmt;
use std::io;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::{BoxStream, Stream, StreamExt};

use crate::endpoint::Endpoint;
use crate::futures_io::FuturesIo;
use crate::runtime::Listener;

/// A listener over a stream of connections and their peers' names.
///
/// ```
/// use futures::{StreamExt, io::Cursor, stream};
/// use zaichik_driver::{FuturesIo, FuturesListener, Listener};
///
/// // In a program: the incoming connections of a runtime's listener.
/// let accepted = stream::pending::<std::io::Result<(FuturesIo<Cursor<Vec<u8>>>, String)>>();
/// let address: std::net::SocketAddr = "127.0.0.1:8889".parse()?;
/// let listener = FuturesListener::new(address, accepted);
/// assert_eq!(listener.local_addr()?.url(), "zaichik://127.0.0.1:8889");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FuturesListener<S> {
    endpoint: Endpoint,
    accepted: BoxStream<'static, io::Result<(FuturesIo<S>, String)>>,
}

impl<S> FuturesListener<S> {
    /// A listener on `endpoint`, with the real port. The stream must continue after an error, and must not end.
    pub fn new<P: ToString>(
        endpoint: impl Into<Endpoint>,
        accepted: impl Stream<Item = io::Result<(FuturesIo<S>, P)>> + Send + 'static,
    ) -> Self {
        let named = |(io, peer): (FuturesIo<S>, P)| (io, peer.to_string());
        Self {
            endpoint: endpoint.into(),
            accepted: accepted.map(move |accepted| accepted.map(named)).boxed(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Listener for FuturesListener<S> {
    type Io = FuturesIo<S>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(FuturesIo<S>, String)>> {
        let accepted = ready!(self.accepted.poll_next_unpin(cx));
        Poll::Ready(accepted.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into())))
    }

    fn local_addr(&self) -> io::Result<Endpoint> {
        Ok(self.endpoint.clone())
    }
}

impl<S> fmt::Debug for FuturesListener<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FuturesListener").field(&self.endpoint).finish()
    }
}
