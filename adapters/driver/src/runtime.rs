//! The interface of an async runtime: a byte stream, a listener, a timer and a way to spawn. A runtime with simulated
//! time supplies its clock too.

use std::future::Future;
use std::io;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::{Buf, BytesMut};

use crate::endpoint::Endpoint;
use crate::system_clock;

/// A connected byte stream. Dropping it closes the connection.
///
/// ```
/// # use std::future::poll_fn;
/// use zaichik_driver::{Io, LocalIo};
/// # zaichik_simulated::Simulation::new().run(async {
/// let (mut here, mut there) = LocalIo::pair();
/// let mut hello: &[u8] = b"hello";
/// poll_fn(|cx| here.poll_write(cx, &mut hello)).await?;
/// let mut bytes = bytes::BytesMut::new();
/// poll_fn(|cx| there.poll_read(cx, &mut bytes, 100)).await?;
/// assert_eq!(&bytes[..], b"hello");
/// # Ok::<(), std::io::Error>(())
/// # }).expect("it reads");
/// ```
pub trait Io: Send + Unpin + 'static {
    /// Appends at most `limit` received bytes to `into` and returns their number; 0 means that the peer has shut down its
    /// side.
    ///
    /// Reserves memory in `into` only when there are bytes to read, so that an idle connection costs none.
    ///
    /// # Errors
    /// The stream is broken.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>>;

    /// Writes from the front of `from`, several chunks at once where it can, advances it past the bytes written
    /// and returns their number.
    ///
    /// # Errors
    /// The stream is broken.
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &mut impl Buf) -> Poll<io::Result<usize>>;

    /// Wakes the task of `cx` after the runtime has checked its sockets, without waiting for bytes: for callers that prefer
    /// spinning to sleeping.
    ///
    /// By default the task is woken at once. This is correct, but of no benefit on a runtime that does not check its
    /// sockets in between.
    fn look_again(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    /// Wakes the task of `cx` after the tasks that are ready now, and those whose sockets are ready, if the runtime can do
    /// so: for tasks with much to do.
    ///
    /// By default the task is woken at once.
    fn give_way(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    /// Shuts down the sending side: the peer learns that nothing more will be written.
    ///
    /// # Errors
    /// The stream is broken.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A socket that accepts connections.
///
/// ```
/// # use std::future::poll_fn;
/// use zaichik_driver::{Listener, Runtime};
/// use zaichik_simulated::{Simulated, Simulation, spawn};
///
/// # Simulation::new().run(async {
/// let mut listener = Simulated::bind("localhost:8889").await?;
/// let connecting = spawn(Simulated::connect("localhost:8889"));
/// let (_stream, peer) = poll_fn(|cx| listener.poll_accept(cx)).await?;
/// assert!(!peer.is_empty(), "a name for the log");
/// connecting.await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
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
    /// The operating system's error.
    fn local_addr(&self) -> io::Result<Endpoint>;
}

/// A timer that can be set repeatedly.
///
/// ```
/// # use std::future::poll_fn;
/// # use std::time::Duration;
/// use zaichik_driver::{Runtime, Timer};
/// use zaichik_simulated::{Simulated, Simulation};
///
/// Simulation::new().run(async {
///     let in_an_hour = Simulated::now() + Duration::from_hours(1);
///     let mut timer = Simulated::timer();
///     poll_fn(|cx| timer.poll_until(cx, in_an_hour)).await;
///     assert!(Simulated::now() >= in_an_hour);
/// });
/// ```
pub trait Timer: Send + Unpin + 'static {
    /// Wakes the task at `deadline`: ready when it has passed. A new deadline replaces the previous one.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()>;
}

/// An async runtime, as far as brokers and clients need one.
///
/// ```
/// use zaichik_driver::{Client, ClientError, Runtime};
///
/// /// A function for any runtime.
/// async fn count<R: Runtime>(client: &Client<R>, topic: &str) -> Result<u64, ClientError> {
///     Ok(client.topic(topic).await?.messages)
/// }
/// # zaichik_simulated::Simulation::new().run(async {
/// # let broker = zaichik_simulated::EmbeddedBroker::start(zaichik_simulated::BrokerConfig::default())?;
/// # let client = broker.client();
/// # client.create_topic("t", zaichik_driver::TopicOptions::new()).await?;
/// assert_eq!(count(&client, "t").await?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
pub trait Runtime: Send + Sync + Sized + 'static {
    /// Its stream: TCP, and Unix sockets where available.
    type Io: Io;
    /// Its listener.
    type Listener: Listener<Io = Self::Io>;
    /// Its timer.
    type Timer: Timer;

    /// Opens a connection to `address` (`host:port`, or a Unix socket in the form that [`Endpoint::unix_path`] accepts).
    ///
    /// [`connect_to_any`](crate::connect_to_any) tries the addresses of a name side by side, so that one which does not
    /// answer does not hide the others.
    fn connect(address: &str) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// Listens on `address`, as for [`connect`](Self::connect); port 0 takes any free one.
    fn bind(address: &str) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Returns a new timer.
    fn timer() -> Self::Timer;

    /// Runs a future in the background until it is done.
    fn spawn(future: impl Future<Output = ()> + Send + 'static);

    /// The current time on the clock of [`timer`](Self::timer); it never decreases.
    ///
    /// Default: the operating system's clock. It is read at each step of a broker or a client, so it must be cheap. It may
    /// be read outside the runtime, because a client may be dropped anywhere.
    #[must_use]
    fn now() -> Instant {
        system_clock::monotonic()
    }

    /// The wall clock, which brokers and clients follow: the machine was suspended while it advanced more than
    /// [`now`](Self::now). Default: the operating system's.
    ///
    /// It is read at most ten times a second. A runtime whose time is not real must supply it, or real time is added to
    /// its own.
    #[must_use]
    fn wall_clock() -> SystemTime {
        system_clock::wall_clock()
    }

    /// A random number that can't be guessed. It makes a client or a broker unique.
    ///
    /// Default: the operating system's random numbers.
    ///
    /// # Errors
    /// No random numbers are available.
    fn random() -> io::Result<u128> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(u128::from_ne_bytes(bytes))
    }
}
