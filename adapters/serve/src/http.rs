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

use crate::config::Address;
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
    /// Listens on an address. The broker need not exist yet.
    ///
    /// # Errors
    /// [`ServerError::Bind`] if it cannot listen on the address.
    pub(crate) async fn bind(address: &Address, build: BuildInfo) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Bind { address: address.to_string(), source };
        let listener = R::bind(address.as_str()).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address: bound,
            is_open: !address.is_loopback(),
            pages: Arc::new(Pages::new(build)),
            connections: VecDeque::new(),
            timer: R::timer(),
            paused: None,
        })
    }

    /// Serves the pages of this broker from now on; to be called once.
    pub(crate) fn open(&self, plan: &Plan, server: &Server<R>, meter: Option<Arc<Meter>>) {
        self.pages.open(server.broker().handle(), client(plan, server), meter);
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

    /// Serves until `work` completes.
    pub(crate) async fn serve_during<T>(&mut self, work: impl Future<Output = T>) -> T {
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

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use futures::channel::oneshot;
    use zaichik_driver::Io;
    use zaichik_simulated::{Simulated, Simulation, spawn};

    use super::*;

    /// The answer to a request.
    async fn get(address: &str, path: &str) -> String {
        let mut stream = Simulated::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut rest = request.as_bytes();
        while !rest.is_empty() {
            poll_fn(|cx| stream.poll_write(cx, &mut rest)).await.expect("sent");
        }
        let mut answer = BytesMut::new();
        while poll_fn(|cx| stream.poll_read(cx, &mut answer, usize::MAX)).await.expect("an orderly end") > 0 {
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn probes_are_answered_while_the_storage_is_read() {
        let (address, build) = (Address::loopback(8_890), BuildInfo::new("tests", None));
        Simulation::new().run(async {
            let mut http = Http::<Simulated>::bind(&address, build).await.expect("a free port");
            let (done, recovery) = oneshot::channel();
            let probes = spawn(async move {
                let answers =
                    [get("127.0.0.1:8890", "/readyz").await, get("127.0.0.1:8890", "/healthz").await];
                done.send(()).expect("the recovery waits");
                answers
            });
            http.serve_during(recovery).await.expect("it is done");
            let [readiness, health] = probes.await;
            assert!(
                readiness.starts_with("HTTP/1.1 503 ") && readiness.contains("\nrecovering: "),
                "{readiness}"
            );
            assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
        });
    }
}
