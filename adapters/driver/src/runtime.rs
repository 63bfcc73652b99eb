//! What an async runtime has to supply: a byte stream, a listener, a timer and a way to spawn. One whose time is
//! not real supplies that too.

use std::future::Future;
use std::io;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::{Buf, BytesMut};

use crate::clock;
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

    /// Wakes the task of `cx` once the runtime has looked for bytes that arrived, without waiting for any: for who would
    /// rather spin than sleep.
    ///
    /// By default the task is woken at once, which is right, but where nobody looks meanwhile it sees nothing sooner.
    fn look_again(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

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

    /// The moment that it is, on the clock that [`timer`](Self::timer) goes by; never less than before.
    ///
    /// Default: the operating system's. It is read at each step of a broker or a client, so it must be cheap, and it
    /// may be read where the runtime is not: a client may be dropped anywhere.
    #[must_use]
    fn now() -> Instant {
        clock::monotonic()
    }

    /// The date, read once for each broker and client, when it starts. Default: the operating system's.
    #[must_use]
    fn wall_clock() -> SystemTime {
        clock::wall_clock()
    }

    /// A number that nobody can guess, which makes a client unique; `None` if there is none to be had.
    ///
    /// Default: the operating system's random numbers.
    #[must_use]
    fn random() -> Option<u128> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok().map(|()| u128::from_ne_bytes(bytes))
    }
}
