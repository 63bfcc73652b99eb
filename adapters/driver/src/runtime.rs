//! What an async runtime has to supply: a byte stream, a listener, a timer and a way to spawn.

use std::future::Future;
use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, BytesMut};

use crate::endpoint::Endpoint;

/// A connected byte stream. Dropping it closes the connection.
pub trait Io: Send + Unpin + 'static {
    /// Appends received bytes to `into`, at most `limit` of them, and says how many; 0 means the peer is done.
    ///
    /// Reserves memory in `into` only when there is something to read, so that an idle connection costs none.
    ///
    /// # Errors
    /// The stream is broken.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>>;

    /// Writes from the front of `from`, several chunks at once where it can, advances it by what was taken and
    /// says how much that was.
    ///
    /// # Errors
    /// The stream is broken.
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut impl Buf) -> Poll<io::Result<usize>>;

    /// Tells the peer that nothing more will be written.
    ///
    /// # Errors
    /// The stream is broken.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A socket that accepts connections.
pub trait Listener: Send + Unpin + 'static {
    /// The streams it accepts.
    type Io: Io;

    /// The next connection and a name for its peer.
    ///
    /// # Errors
    /// This accept failed; the next one may succeed.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Io, String)>>;

    /// The address bound, with the real port.
    ///
    /// # Errors
    /// The operating system does not tell.
    fn local_addr(&self) -> io::Result<Endpoint>;
}

/// One alarm that can be set again and again.
pub trait Timer: Send + Unpin + 'static {
    /// Wakes the task at `deadline`: ready when it has passed. Another deadline replaces the one before.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()>;
}

/// An async runtime, as far as brokers and clients need one.
pub trait Runtime: Send + Sync + Sized + 'static {
    /// Its stream: TCP, and Unix sockets where it has them.
    type Io: Io;
    /// Its listener.
    type Listener: Listener<Io = Self::Io>;
    /// Its alarm.
    type Timer: Timer;

    /// Opens a connection to `address` (`host:port`, or a Unix socket as [`Endpoint::unix_path`] knows them).
    fn connect(address: &str) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// Listens on `address`, as for [`connect`](Self::connect); port 0 takes any free one.
    fn bind(address: &str) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// A new alarm.
    fn timer() -> Self::Timer;

    /// Runs a future in the background to its end.
    fn spawn(future: impl Future<Output = ()> + Send + 'static);
}
