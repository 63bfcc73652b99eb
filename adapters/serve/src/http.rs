//! A small HTTP server beside the broker, for probes and Prometheus: `/healthz`, `/readyz`, `/metrics`.
//!
//! Whoever can connect may read: what it tells are numbers, and the names of topics and durable subscriptions. It
//! shares nothing with the broker's clients but the runtime, and can't be made to hold more than a few connections.

mod metrics;
mod pages;
mod stream;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use zaichik_driver::{Client, Endpoint, Listener, Runtime, Server, ServerError, Timer};

use crate::plan::Plan;
pub(crate) use metrics::Build;
use pages::Pages;
use stream::Stream;

/// Most connections at once. One more, and the oldest is closed: who connects and says nothing keeps nobody out.
const MOST_CONNECTIONS: usize = 16;

/// From a connection's first moment to the last byte of its only answer.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a request before its body, which is not read; no less is allowed by hyper.
const LARGEST_HEAD: usize = 8 << 10;

/// Most headers of a request.
const MOST_HEADERS: usize = 64;

/// Connections accepted before other tasks get their turn.
const ACCEPTS_PER_POLL: usize = 64;

/// Wait after an accept that failed.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);

/// Serves HTTP as long as it is polled; never ready.
pub(crate) struct Http<R: Runtime> {
    listener: R::Listener,
    address: Endpoint,
    /// Whether others than this machine reach it.
    is_open: bool,
    pages: Arc<Pages<R>>,
    /// The oldest first, at most [`MOST_CONNECTIONS`].
    connections: VecDeque<BoxFuture<'static, ()>>,
    timer: R::Timer,
    /// Until when the listener is left alone.
    paused: Option<Instant>,
}

impl<R: Runtime> Http<R> {
    /// Listens, if the plan says so, to tell about a broker that was built like this.
    ///
    /// # Errors
    /// [`ServerError::Bind`] if the address can't be listened on.
    pub(crate) async fn bind(
        plan: &Plan,
        server: &Server<R>,
        build: Build,
    ) -> Result<Option<Self>, ServerError> {
        let Some(address) = &plan.config.settings.http else {
            return Ok(None);
        };
        let failed = |source| ServerError::Bind { address: address.to_string(), source };
        let listener = R::bind(address.as_str()).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok(Some(Self {
            listener,
            address: bound,
            is_open: !address.is_loopback(),
            pages: Arc::new(Pages::new(server.handle(), client(plan, server), build)),
            connections: VecDeque::new(),
            timer: R::timer(),
            paused: None,
        }))
    }

    /// Where it listens, with the real port.
    pub(crate) const fn address(&self) -> &Endpoint {
        &self.address
    }

    /// Says where it listens, and to whom it talks.
    pub(crate) fn announce(&self) {
        let pages = "/healthz /readyz /metrics";
        match &self.address {
            Endpoint::Tcp(address) => tracing::info!("listening http://{address} ({pages})"),
            Endpoint::Unix(path) => tracing::info!("listening http on unix:{} ({pages})", path.display()),
        }
        if self.is_open {
            tracing::warn!("http: everybody who can connect sees the names of topics (--insecure)");
        }
    }

    /// Serves while something else goes on, and nothing is left when that has ended.
    pub(crate) async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        match select(pin!(work), self).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    /// The next connection; after an accept that failed, not before a while.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<R::Io> {
        loop {
            if let Some(until) = self.paused {
                ready!(self.timer.poll_until(cx, until));
                self.paused = None;
            }
            match ready!(self.listener.poll_accept(cx)) {
                Ok((io, _)) => return Poll::Ready(io),
                Err(error) => {
                    tracing::warn!(%error, retry_in = ?ACCEPT_BACKOFF, "http: accept failed");
                    self.paused = R::now().checked_add(ACCEPT_BACKOFF);
                }
            }
        }
    }
}

impl<R: Runtime> Future for Http<R> {
    type Output = Infallible;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Infallible> {
        let http = &mut *self;
        for _ in 0..ACCEPTS_PER_POLL {
            let accepted = http.poll_accept(cx);
            // All of them at each wake: they are few, and each has little to say.
            http.connections.retain_mut(|connection| connection.poll_unpin(cx).is_pending());
            let Poll::Ready(io) = accepted else {
                return Poll::Pending;
            };
            if http.connections.len() >= MOST_CONNECTIONS {
                http.connections.pop_front();
            }
            http.connections.push_back(exchange(io, Arc::clone(&http.pages)).boxed());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The client that asks for the counters: it stays connected, so that a broker that is full can still be looked at.
/// It owes the broker nothing, so it holds no drain open.
fn client<R: Runtime>(plan: &Plan, server: &Server<R>) -> Client<R> {
    let client = server.local_client_builder().name("metrics").producer(None).retry_first_connect(true);
    match &plan.token {
        Some(token) => client.token(token.bytes.clone()).start(),
        None => client.start(),
    }
}

/// One request, its answer, and the end of the connection.
async fn exchange<R: Runtime>(io: R::Io, pages: Arc<Pages<R>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(request.method(), request.uri().path()).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_headers(MOST_HEADERS)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(Stream::new(io), service);
    let (mut timer, start) = (R::timer(), R::now());
    let deadline = start.checked_add(EXCHANGE_TIMEOUT).unwrap_or(start);
    match select(connection, pin!(poll_fn(|cx| timer.poll_until(cx, deadline)))).await {
        Either::Left((Ok(()), _)) => {}
        Either::Left((Err(error), _)) => tracing::debug!(%error, "http: a connection broke"),
        Either::Right(_) => tracing::debug!("http: a connection was too slow"),
    }
}
