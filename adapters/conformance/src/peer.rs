//! A raw client on a stream of the adapter.

use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use zaichik_driver::{Io, Runtime};
use zaichik_proto::Version;
use zaichik_testkit::RawClient;

/// Maximum bytes of one read.
const READ_AT_ONCE: usize = 64 << 10;

/// A raw client on a stream; [`RawClient`] has its requests.
///
/// Requests are queued, and written when a method of this type is awaited. Every method but [`flush`](Self::flush) also
/// reads.
pub(crate) struct Peer<R: Runtime> {
    raw: RawClient,
    line: Mutex<Line<R::Io>>,
}

struct Line<I> {
    io: I,
    incoming: BytesMut,
    /// Bytes received so far.
    received: usize,
    /// Nothing more will be received.
    ended: bool,
}

impl<R: Runtime> Peer<R> {
    /// A connection on which nothing has been sent yet.
    pub(crate) async fn dial(address: &str) -> io::Result<Self> {
        let line =
            Line { io: R::connect(address).await?, incoming: BytesMut::new(), received: 0, ended: false };
        Ok(Self { raw: RawClient::new(), line: Mutex::new(line) })
    }

    pub(crate) async fn shake_hands(&self) {
        self.shake_hands_as(Version::One).await;
    }

    pub(crate) async fn shake_hands_as(&self, version: Version) {
        self.hello_as(version, b"");
        self.until(RawClient::instance, "the Welcome").await;
        self.take_control();
        self.take_log();
    }

    /// Bytes received so far.
    pub(crate) fn received(&self) -> usize {
        self.line().received
    }

    /// Writes the queued bytes without reading. On a closed connection they are dropped.
    pub(crate) async fn flush(&self) {
        poll_fn(|cx| self.line().poll_flush(cx, &self.raw)).await;
    }

    /// Waits for the answer to a request and removes it.
    pub(crate) async fn answer(&self, request: u32) -> String {
        self.until(|raw| raw.take_answer(request), "an answer").await
    }

    /// Waits for at least `count` deliveries and gaps; those since the last call, in order.
    pub(crate) async fn stream_of(&self, count: usize) -> Vec<String> {
        self.until(|raw| (raw.stream_len() >= count).then(|| raw.take_stream()), "deliveries").await
    }

    /// Deliveries and gaps since the last call, after [`settle`](Self::settle).
    pub(crate) async fn stream(&self) -> Vec<String> {
        self.settle().await;
        self.take_stream()
    }

    /// Everything since the last call, in order, after [`settle`](Self::settle).
    pub(crate) async fn log(&self) -> Vec<String> {
        self.settle().await;
        self.take_log()
    }

    /// Waits until everything that the broker had to send has arrived.
    ///
    /// The first pong shows that the broker has served the connection, the second that its output was written.
    pub(crate) async fn settle(&self) {
        for _ in 0..2 {
            self.ping_before(b"").await;
        }
    }

    /// Sends a ping and, in the same write, other bytes; waits for the pong.
    pub(crate) async fn ping_before(&self, bytes: &[u8]) {
        let nonce = self.probe();
        self.send_bytes(bytes);
        self.until(|raw| raw.take_pong(nonce).then_some(()), "a pong").await;
    }

    /// Reads to the end of the stream; everything since the last call, in order.
    pub(crate) async fn end(&self) -> Vec<String> {
        poll_fn(|cx| {
            let found = ready!(self.line().poll_until(cx, &self.raw, |_| None::<()>));
            debug_assert!(found.is_none());
            Poll::Ready(())
        })
        .await;
        self.take_log()
    }

    /// Ends the outgoing direction; the other one remains open.
    pub(crate) async fn finish(&self) {
        self.flush().await;
        poll_fn(|cx| self.line().io.poll_shutdown(cx)).await.expect("the connection is open");
    }

    /// Reads until `look` returns a value.
    async fn until<T>(&self, mut look: impl FnMut(&RawClient) -> Option<T>, what: &str) -> T {
        let found = poll_fn(|cx| self.line().poll_until(cx, &self.raw, &mut look)).await;
        found.unwrap_or_else(|| panic!("the connection ended before {what} came: {:?}", self.take_log()))
    }

    fn line(&self) -> MutexGuard<'_, Line<R::Io>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Runtime> Deref for Peer<R> {
    type Target = RawClient;

    fn deref(&self) -> &RawClient {
        &self.raw
    }
}

impl<I: Io> Line<I> {
    /// Writes and reads until `look` returns a value; `None` if the connection ends first.
    fn poll_until<T>(
        &mut self,
        cx: &mut Context<'_>,
        raw: &RawClient,
        mut look: impl FnMut(&RawClient) -> Option<T>,
    ) -> Poll<Option<T>> {
        loop {
            let _ = self.poll_flush(cx, raw);
            if let Some(found) = look(raw) {
                return Poll::Ready(Some(found));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.io.poll_read(cx, &mut self.incoming, READ_AT_ONCE)) {
                Ok(0) | Err(_) => self.ended = true,
                Ok(count) => {
                    self.received += count;
                    raw.receive(&mut self.incoming);
                }
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, raw: &RawClient) -> Poll<()> {
        raw.outgoing(|bytes| {
            while bytes.has_remaining() {
                if ready!(self.io.poll_write(cx, bytes)).is_err() {
                    bytes.clear();
                }
            }
            Poll::Ready(())
        })
    }
}
