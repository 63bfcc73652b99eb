//! A broker behind a listener.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use zaichik_engine::{BrokerConfig, Stats};

use crate::alarm::Alarm;
use crate::client::{Client, ClientBuilder};
use crate::connection::Connection;
use crate::embedded::{Embedded, ServerError, ServerHandle};
use crate::runtime::{Listener, Runtime};
use crate::shared::Poisoned;
use crate::spare::{Spare, out_of_descriptors};

/// Connections accepted before other tasks of the thread get their turn.
const ACCEPTS_PER_POLL: usize = 64;

/// Wait after the first accept that failed; doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);

/// Longest wait after an accept that failed.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// A broker that listens on a socket.
///
/// Dropping it, or the future of [`serve`](Self::serve), closes every connection at once.
#[derive(Debug)]
pub struct Server<R: Runtime> {
    broker: Embedded<R>,
    listener: R::Listener,
    address: SocketAddr,
}

impl<R: Runtime> Server<R> {
    /// Starts a broker and listens on `address` (`host:port`; port 0 takes any free one).
    ///
    /// # Errors
    /// [`ServerError::Config`] if the configuration contradicts itself, [`ServerError::Bind`] if the address
    /// can't be listened on.
    pub async fn bind(address: &str, config: BrokerConfig) -> Result<Self, ServerError> {
        let broker = Embedded::start(config)?;
        let failed = |source| ServerError::Bind { address: address.to_owned(), source };
        let listener = R::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::debug!("listening zaichik://{address}");
        Ok(Self { broker, listener, address })
    }

    /// The address bound, with the real port.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
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

    /// Something that stops this server from elsewhere.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.broker.handle()
    }

    /// A client of this broker that needs no socket.
    #[must_use]
    pub fn connect_local(&self) -> Client<R> {
        self.broker.client()
    }

    /// The same, to be configured.
    pub fn local_client_builder(&self) -> ClientBuilder<R> {
        self.broker.client_builder()
    }

    /// What the broker counted so far.
    ///
    /// # Errors
    /// [`ServerError::Failed`] after the broker failed.
    pub fn stats(&self) -> Result<Stats, ServerError> {
        self.broker.stats()
    }

    /// Serves until [`ServerHandle::shutdown`]; ready when nothing is left: no connection, no task, no socket.
    ///
    /// An accept that fails is logged and tried again.
    ///
    /// # Errors
    /// [`ServerError::Failed`] if the broker failed; every connection was told and closed.
    pub async fn serve(self) -> Result<(), ServerError> {
        let Self { broker, listener, address } = self;
        let mut acceptor = Acceptor::<R> {
            broker: &broker,
            listener,
            alarm: Alarm::new(R::timer()),
            backoff: Duration::ZERO,
            until: None,
            spare: Spare::new(),
        };
        poll_fn(|cx| acceptor.poll(cx)).await;
        drop(acceptor);
        let stopped = broker.stopped().await;
        tracing::debug!("stopped zaichik://{address}");
        stopped
    }
}

/// Accepts connections while the broker runs.
struct Acceptor<'a, R: Runtime> {
    broker: &'a Embedded<R>,
    listener: R::Listener,
    alarm: Alarm<R::Timer>,
    /// The last wait, zero after an accept that succeeded.
    backoff: Duration,
    until: Option<Instant>,
    spare: Spare,
}

impl<R: Runtime> Acceptor<'_, R> {
    /// Ready when the broker is stopping or has failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.broker.shared();
        for _ in 0..ACCEPTS_PER_POLL {
            let idle = shared.tasks().none(cx.waker());
            if idle || shared.is_stopping() != Ok(false) {
                return Poll::Ready(());
            }
            if self.until.is_some() {
                ready!(self.alarm.poll(cx, self.until));
                self.until = None;
            }
            match ready!(self.listener.poll_accept(cx)) {
                Ok((io, peer)) => {
                    self.backoff = Duration::ZERO;
                    match shared.accept() {
                        Ok(Some(session)) => {
                            R::spawn(Connection::new(io, &peer, R::timer(), session, shared));
                        }
                        Ok(None) | Err(Poisoned) => return Poll::Ready(()),
                    }
                }
                Err(error) => self.failed(cx, &error),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Decides how long to wait. Nothing that an accept says may end the broker.
    fn failed(&mut self, cx: &mut Context<'_>, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if out_of_descriptors(error) {
            self.refuse_waiting(cx);
        }
        self.backoff = self.backoff.saturating_mul(2).clamp(FIRST_BACKOFF, LONGEST_BACKOFF);
        let clock = self.broker.shared().clock();
        self.until = clock.instant(clock.now() + self.backoff);
        tracing::warn!(%error, retry_in = ?self.backoff, "accept failed");
    }

    /// Accepts and closes what waits in the backlog, with the descriptor kept for it.
    fn refuse_waiting(&mut self, cx: &mut Context<'_>) {
        self.spare.release();
        for _ in 0..ACCEPTS_PER_POLL {
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok(refused)) => drop(refused),
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        self.spare.restore();
    }
}
