//! The pages of the HTTP server.

use std::sync::Arc;

use bytes::Bytes;
use futures::lock::Mutex;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use zaichik_driver::{BrokerHandle, Client, Runtime};

use super::metrics::{BuildInfo, Lags, Snapshot};
use crate::planted::{Defect, is_planted};
use crate::storage::Meter;
use crate::usage;

/// The Prometheus text format.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The pages of a broker.
pub(super) struct Pages<R: Runtime> {
    broker: BrokerHandle,
    /// Locked for one scrape at a time, because each may hold a list of all subscriptions.
    client: Mutex<Client<R>>,
    meter: Option<Arc<Meter>>,
    build: BuildInfo,
}

impl<R: Runtime> Pages<R> {
    pub(super) fn new(
        broker: BrokerHandle,
        client: Client<R>,
        meter: Option<Arc<Meter>>,
        build: BuildInfo,
    ) -> Self {
        Self { broker, client: Mutex::new(client), meter, build }
    }

    pub(super) async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
            return text(StatusCode::NOT_FOUND, "not found; use /healthz, /readyz or /metrics\n");
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/metrics" => self.metrics().await,
            "/readyz" if self.broker.is_stopping() && !is_planted(Defect::ReadyWhileDraining) => draining(),
            "/readyz" => text(StatusCode::OK, "ready\n"),
            // The answer itself shows that the process works.
            _ => text(StatusCode::OK, "healthy\n"),
        }
    }

    /// The broker's counters. A broker that is stopping serves no more clients, so there are none then.
    async fn metrics(&self) -> Response<Full<Bytes>> {
        if self.broker.is_stopping() {
            return draining();
        }
        let meter = self.meter.as_deref();
        usage::report(&self.broker, meter);
        let failed = |error: &dyn std::fmt::Display| {
            tracing::warn!(%error, "http: cannot read the broker's counters");
            text(StatusCode::SERVICE_UNAVAILABLE, format!("cannot read the broker's counters: {error}\n"))
        };
        let counters = match self.broker.counters() {
            Ok(counters) => counters,
            Err(error) => return failed(&error),
        };
        let lags = if meter.is_some_and(Meter::is_waiting) {
            Lags::left_out(&counters)
        } else {
            Lags::request(&*self.client.lock().await, &counters).await
        };
        let commit_seconds = meter.map(|meter| meter.commit_seconds().clone());
        match Snapshot::new(counters, lags, commit_seconds, self.build.clone()).write() {
            Ok(metrics) => page(StatusCode::OK, METRICS, metrics),
            Err(error) => failed(&error),
        }
    }
}

fn draining() -> Response<Full<Bytes>> {
    text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    page(status, TEXT, body)
}

fn page(status: StatusCode, format: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, format);
    page
}
