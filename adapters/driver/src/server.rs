//! A broker behind a listener.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use zaichik_engine::BrokerConfig;

use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::connection::Connection;
#[cfg(doc)]
use crate::embedded::BrokerHandle;
use crate::embedded::{EmbeddedBroker, ServerError};
use crate::endpoint::Endpoint;
use crate::runtime::{Listener, Runtime};
use crate::shared::Poisoned;
use crate::spare::{Spare, out_of_descriptors};

/// Connections accepted before other tasks of the thread get their turn.
const ACCEPTS_PER_POLL: usize = 64;

/// Wait after the first accept that failed; doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);

/// Longest wait after an accept that failed.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// A broker that listens on one or several sockets.
///
/// Dropping it, or the future of [`serve`](Self::serve), closes every connection at once.
///
/// ```
/// # use std::time::Duration;
/// # use zaichik_simulated::{BrokerConfig, Client, Server, Simulation, spawn};
/// # Simulation::new().run(async {
/// let server = Server::bind("127.0.0.1:8889", BrokerConfig::default()).await?;
/// let handle = server.broker().handle();
/// let serving = spawn(server.serve());
/// let client = Client::connect("127.0.0.1:8889").await?;
/// client.publish("jobs", "sweep the yard").await?;
/// handle.shutdown(Duration::from_secs(1));
/// serving.await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug)]
pub struct Server<R: Runtime> {
    broker: EmbeddedBroker<R>,
    listeners: Vec<R::Listener>,
    /// Where they listen, at least one.
    addresses: Vec<Endpoint>,
    first: Endpoint,
}

impl<R: Runtime> Server<R> {
    /// Starts a broker and listens on `address` (`host:port`; port 0 takes any free one).
    ///
    /// # Errors
    /// [`ServerError::Config`] if the configuration contradicts itself, [`ServerError::Bind`] if the address
    /// can't be listened on.
    pub async fn bind(address: &str, config: BrokerConfig) -> Result<Self, ServerError> {
        Self::bind_all(&[address], config).await
    }

    /// Starts a broker and listens on several addresses, all of them or none.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind); without an address there is nothing to listen on.
    pub async fn bind_all(addresses: &[&str], config: BrokerConfig) -> Result<Self, ServerError> {
        let broker = EmbeddedBroker::start(config)?;
        let (mut listeners, mut bound) = (Vec::new(), Vec::new());
        for address in addresses {
            let failed = |source| ServerError::Bind { address: (*address).to_owned(), source };
            let listener = R::bind(address).await.map_err(failed)?;
            let endpoint = listener.local_addr().map_err(failed)?;
            tracing::debug!("listening {}", endpoint.url());
            listeners.push(listener);
            bound.push(endpoint);
        }
        let Some(first) = bound.first().cloned() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "there is no address");
            return Err(ServerError::Bind { address: String::new(), source });
        };
        Ok(Self { broker, listeners, addresses: bound, first })
    }

    /// The address bound, with the real port; the first of several.
    #[must_use]
    pub const fn local_addr(&self) -> &Endpoint {
        &self.first
    }

    /// All addresses bound, with their real ports, in the order in which they were asked for.
    #[must_use]
    pub fn local_addrs(&self) -> &[Endpoint] {
        &self.addresses
    }

    /// How long a connection spins for more bytes, after some moved, before it sleeps. Default: not at all.
    ///
    /// It shortens a round trip by the time that waking a thread takes, and costs a processor as long as anybody is
    /// active: more than 100 us is rarely of use, and with fewer processors than busy connections it does harm. Of use on
    /// tokio; on a runtime whose tasks do not yield to its sockets nothing comes sooner.
    #[must_use]
    pub fn busy_poll(self, time: Duration) -> Self {
        self.broker.shared().set_busy_poll(time);
        self
    }

    /// The broker: clients of it that need no socket, its counters, and a handle that stops the server from elsewhere.
    #[must_use]
    pub const fn broker(&self) -> &EmbeddedBroker<R> {
        &self.broker
    }

    /// Serves until [`BrokerHandle::shutdown`]; ready when nothing is left: no connection, no task, no socket.
    ///
    /// An accept that fails is logged and tried again.
    ///
    /// # Errors
    /// [`ServerError::Failed`] if the broker failed; every connection was told and closed.
    pub async fn serve(self) -> Result<(), ServerError> {
        let Self { broker, listeners, addresses, .. } = self;
        let doors = listeners.into_iter().map(Door::new).collect();
        let mut acceptor = Acceptor::<R> { broker: &broker, doors, first: 0, spare: Spare::new() };
        poll_fn(|cx| acceptor.poll(cx)).await;
        drop(acceptor);
        let stopped = broker.stopped().await;
        for endpoint in addresses {
            tracing::debug!("stopped {}", endpoint.url());
        }
        stopped
    }
}

/// Accepts connections while the broker runs.
struct Acceptor<'a, R: Runtime> {
    broker: &'a EmbeddedBroker<R>,
    doors: Vec<Door<R>>,
    /// Whose turn it is to be asked first.
    first: usize,
    spare: Spare,
}

/// A listener, and how long it is left alone after an accept that failed.
struct Door<R: Runtime> {
    listener: R::Listener,
    alarm: Alarm<R::Timer>,
    /// The last wait, zero after an accept that succeeded.
    backoff: Duration,
    until: Option<Instant>,
}

impl<R: Runtime> Acceptor<'_, R> {
    /// Ready when the broker is stopping or has failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { broker, doors, first, spare } = self;
        let shared = broker.shared();
        let mut asleep = 0_usize;
        for _ in 0..ACCEPTS_PER_POLL {
            let idle = shared.tasks().none(cx.waker());
            if idle || shared.is_stopping() != Ok(false) {
                return Poll::Ready(());
            }
            // One connection of each in turn: a flood at one door keeps nobody out at another.
            let Some(door) = doors.get_mut(*first) else {
                *first = 0;
                continue;
            };
            *first = first.saturating_add(1);
            match door.poll_accept(cx, shared.clock(), spare) {
                Poll::Pending => {
                    asleep = asleep.saturating_add(1);
                    if asleep == doors.len() {
                        return Poll::Pending;
                    }
                }
                Poll::Ready((io, peer)) => {
                    asleep = 0;
                    match shared.accept() {
                        Ok(Some(session)) => {
                            R::spawn(Connection::new(io, &peer, R::timer(), session, shared));
                        }
                        Ok(None) | Err(Poisoned) => return Poll::Ready(()),
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Door<R> {
    fn new(listener: R::Listener) -> Self {
        Self { listener, alarm: Alarm::new(R::timer()), backoff: Duration::ZERO, until: None }
    }

    /// The next connection; an accept that fails is tried again.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        spare: &mut Spare,
    ) -> Poll<(R::Io, String)> {
        loop {
            if self.until.is_some() {
                ready!(self.alarm.poll(cx, self.until));
                self.until = None;
            }
            match ready!(self.listener.poll_accept(cx)) {
                Ok(accepted) => {
                    self.backoff = Duration::ZERO;
                    return Poll::Ready(accepted);
                }
                Err(error) => self.failed(cx, &error, clock, spare),
            }
        }
    }

    /// Decides how long to wait. Nothing that an accept says may end the broker.
    fn failed(&mut self, cx: &mut Context<'_>, error: &io::Error, clock: &Clock, spare: &mut Spare) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if out_of_descriptors(error) {
            self.refuse_waiting(cx, spare);
        }
        self.backoff = self.backoff.saturating_mul(2).clamp(FIRST_BACKOFF, LONGEST_BACKOFF);
        self.until = clock.instant(clock.now() + self.backoff);
        tracing::warn!(%error, retry_in = ?self.backoff, "accept failed");
    }

    /// Accepts and closes what waits in the backlog, with the descriptor kept for it.
    fn refuse_waiting(&mut self, cx: &mut Context<'_>, spare: &mut Spare) {
        spare.release();
        for _ in 0..ACCEPTS_PER_POLL {
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok(refused)) => drop(refused),
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        spare.restore();
    }
}
