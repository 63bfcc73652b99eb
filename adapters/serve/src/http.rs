//! A small HTTP server next to the broker, for probes and Prometheus: `/healthz`, `/readyz`, `/metrics`.
//!
//! There is no authentication: the pages show counters, and the names of topics and durable subscriptions. The server
//! shares only the runtime with the broker's clients, and holds at most [`MAX_CONNECTIONS`] connections.

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
use crate::storage::Meter;
pub(crate) use metrics::BuildInfo;
use pages::Pages;
use stream::Stream;

/// Maximum connections at once. One more closes the oldest, so that idle connections do not lock others out.
const MAX_CONNECTIONS: usize = 16;

/// Maximum time from accepting a connection to the last byte of its only response.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum bytes of a request before its body, which is not read; the minimum that hyper allows.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// Maximum headers of a request.
const MAX_HEADERS: usize = 64;

/// Connections accepted before other tasks get to run.
const ACCEPTS_PER_POLL: usize = 64;

/// Pause after a failed accept.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);

/// Serves HTTP while it is polled; never completes.
pub(crate) struct Http<R: Runtime> {
    listener: R::Listener,
    address: Endpoint,
    /// Whether other machines can connect.
    is_open: bool,
    pages: Arc<Pages<R>>,
    /// Oldest first, at most [`MAX_CONNECTIONS`].
    connections: VecDeque<BoxFuture<'static, ()>>,
    timer: R::Timer,
    /// When to accept again after a failed accept.
    paused: Option<Instant>,
}

impl<R: Runtime> Http<R> {
    /// Listens on the address in the plan; `None` if there is none.
    ///
    /// # Errors
    /// [`ServerError::Bind`] if it cannot listen on the address.
    pub(crate) async fn bind(
        plan: &Plan,
        server: &Server<R>,
        meter: Option<Arc<Meter>>,
        build: BuildInfo,
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
            pages: Arc::new(Pages::new(server.broker().handle(), client(plan, server), meter, build)),
            connections: VecDeque::new(),
            timer: R::timer(),
            paused: None,
        }))
    }

    /// The address that it listens on, with the actual port.
    pub(crate) const fn address(&self) -> &Endpoint {
        &self.address
    }

    /// Logs the address, with a warning if other machines can connect.
    pub(crate) fn announce(&self) {
        let pages = "/healthz /readyz /metrics";
        if let Endpoint::Tcp(address) = &self.address {
            tracing::info!("listening http://{address} ({pages})");
        } else {
            tracing::info!("listening http on {} ({pages})", self.address);
        }
        if self.is_open {
            tracing::warn!(
                "http: anyone who can connect can see the names of topics and subscriptions (--insecure)"
            );
        }
    }

    /// Serves until `work` completes, then closes the listener and all connections.
    pub(crate) async fn serve_during<T>(self, work: impl Future<Output = T>) -> T {
        match select(pin!(work), self).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Accepts the next connection; pauses after a failed accept.
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
            // Polls all of them at each wake: they are few, and each is cheap.
            http.connections.retain_mut(|connection| connection.poll_unpin(cx).is_pending());
            let Poll::Ready(io) = accepted else {
                return Poll::Pending;
            };
            if http.connections.len() >= MAX_CONNECTIONS {
                http.connections.pop_front();
            }
            http.connections.push_back(exchange(io, Arc::clone(&http.pages)).boxed());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The client that reads the counters. It stays connected, so that metrics work when the broker is full. It has no
/// unfinished work, so it does not delay a drain.
fn client<R: Runtime>(plan: &Plan, server: &Server<R>) -> Client<R> {
    let client = server.broker().client_builder().name("metrics").producer(None).retry_first_connect(true);
    match &plan.token {
        Some(token) => client.token(token.bytes.clone()).start(),
        None => client.start(),
    }
}

/// Answers one request and closes the connection.
async fn exchange<R: Runtime>(io: R::Io, pages: Arc<Pages<R>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(request.method(), request.uri().path()).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(Stream::new(io), service);
    let (mut timer, start) = (R::timer(), R::now());
    let deadline = start.checked_add(EXCHANGE_TIMEOUT).unwrap_or(start);
    match select(connection, pin!(poll_fn(|cx| timer.poll_until(cx, deadline)))).await {
        Either::Left((Ok(()), _)) => {}
        Either::Left((Err(error), _)) => tracing::debug!(%error, "http: connection failed"),
        Either::Right(_) => tracing::debug!("http: connection timed out"),
    }
}
