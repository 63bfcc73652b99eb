//! The pages of the HTTP server.

use std::sync::{Arc, OnceLock};

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

/// What `/readyz` says until the broker is there.
const RECOVERING: &str = "recovering: the broker reads its storage\n";

/// What it says while publishes are refused. Consumers are served, so the broker counts as ready.
const FULL: &str = "ready, but the storage has no space: publishes are refused\n";

/// The pages of a broker, also of one that does not exist yet.
pub(super) struct Pages<R: Runtime> {
    running: OnceLock<Running<R>>,
    build: BuildInfo,
}

/// A broker that accepts messages, until it stops.
struct Running<R: Runtime> {
    broker: BrokerHandle,
    /// Locked for one scrape at a time, because each may hold a list of all subscriptions.
    client: Mutex<Client<R>>,
    meter: Option<Arc<Meter>>,
}

impl<R: Runtime> Pages<R> {
    pub(super) const fn new(build: BuildInfo) -> Self {
        Self { running: OnceLock::new(), build }
    }

    /// The broker is there; to be called once.
    pub(super) fn open(&self, broker: BrokerHandle, client: Client<R>, meter: Option<Arc<Meter>>) {
        // It is not set yet.
        let _ = self.running.set(Running { broker, client: Mutex::new(client), meter });
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
        if path == "/healthz" {
            // The answer itself shows that the process works.
            return text(StatusCode::OK, "healthy\n");
        }
        let Some(running) = self.running.get() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, RECOVERING);
        };
        match path {
            "/metrics" => running.metrics(&self.build).await,
            _ if running.broker.is_stopping() && !is_planted(Defect::ReadyWhileDraining) => draining(),
            _ if running.meter.as_deref().is_some_and(Meter::is_full) => text(StatusCode::OK, FULL),
            _ => text(StatusCode::OK, "ready\n"),
        }
    }
}

impl<R: Runtime> Running<R> {
    /// The broker's counters. A broker that is stopping serves no more clients, so there are none then.
    async fn metrics(&self, build: &BuildInfo) -> Response<Full<Bytes>> {
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
        match Snapshot::new(counters, lags, commit_seconds, build.clone()).write() {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulated, Simulation};

    use super::*;

    async fn ask(pages: &Pages<Simulated>, path: &str) -> (u16, String) {
        let page = pages.answer(&Method::GET, path).await;
        let status = page.status().as_u16();
        let body = page.into_body().collect().await.expect("it is in memory").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[test]
    fn a_broker_is_ready_from_its_recovery_to_its_drain() {
        Simulation::new().run(async {
            let pages = Pages::<Simulated>::new(BuildInfo::new("tests", None));
            let recovering = (503, RECOVERING.to_owned());
            for (path, expected) in [
                ("/readyz", &recovering),
                ("/metrics", &recovering),
                ("/healthz", &(200, "healthy\n".to_owned())),
            ] {
                assert_eq!(ask(&pages, path).await, *expected, "{path}");
            }
            let broker = EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid");
            pages.open(broker.handle(), broker.client(), None);
            assert_eq!(ask(&pages, "/readyz").await, (200, "ready\n".to_owned()));
            assert!(ask(&pages, "/metrics").await.1.contains("\nzaichik_topics 0\n"));
            broker.handle().shutdown(Duration::from_hours(1));
            assert_eq!(ask(&pages, "/readyz").await, (503, "draining\n".to_owned()));
        });
    }
}
