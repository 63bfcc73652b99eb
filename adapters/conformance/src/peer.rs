//! A raw client: it says what it is told to, right or wrong, and checks what every client may count on.

mod book;
mod requests;
pub(crate) mod show;

use std::future::poll_fn;
use std::io;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use zaichik_driver::{Io, Runtime};
use zaichik_proto::{Limits, MAGIC, ServerDecoder};

use self::book::{Book, OWN_NONCES};
pub(crate) use self::requests::{Sub, encoded, keyed, mortal, record};

/// Most bytes of one read.
const READ_AT_ONCE: usize = 64 << 10;

/// One end of a connection.
///
/// Requests are queued, and leave when something is awaited. Only [`flush`](Self::flush) does not read meanwhile.
pub(crate) struct Peer<R: Runtime>(Mutex<Inner<R::Io>>);

struct Inner<I> {
    io: I,
    outgoing: BytesMut,
    incoming: BytesMut,
    /// Bytes that ever came.
    received: usize,
    /// Nothing more will be received.
    ended: bool,
    decoder: ServerDecoder,
    book: Book,
}

impl<R: Runtime> Peer<R> {
    /// A connection on which nothing was said yet.
    pub(crate) async fn dial(address: &str) -> io::Result<Self> {
        let io = R::connect(address).await?;
        Ok(Self(Mutex::new(Inner {
            io,
            outgoing: BytesMut::new(),
            incoming: BytesMut::new(),
            received: 0,
            ended: false,
            decoder: ServerDecoder::handshake(&Limits::default()),
            book: Book::default(),
        })))
    }

    pub(crate) async fn shake_hands(&self) {
        self.queue_bytes(&MAGIC);
        self.hello(b"");
        self.until(|book| book.instance, "the Welcome").await;
        self.lock().book.control.clear();
        self.lock().book.log.clear();
    }

    /// The instance of the broker.
    pub(crate) fn instance(&self) -> Option<u128> {
        self.lock().book.instance
    }

    pub(crate) fn queue_bytes(&self, bytes: &[u8]) {
        self.lock().outgoing.extend_from_slice(bytes);
    }

    /// Bytes queued that have not left.
    pub(crate) fn queued(&self) -> usize {
        self.lock().outgoing.len()
    }

    /// Bytes that ever came.
    pub(crate) fn received(&self) -> usize {
        self.lock().received
    }

    /// Takes back what was queued and has not left.
    pub(crate) fn take_queued(&self) -> BytesMut {
        take(&mut self.lock().outgoing)
    }

    /// Writes what was queued, without reading; what can't be written any more is dropped.
    pub(crate) async fn flush(&self) {
        poll_fn(|cx| self.lock().poll_flush(cx)).await;
    }

    /// The answer to a request, which is forgotten.
    pub(crate) async fn answer(&self, request: u32) -> String {
        self.until(|book| book.answers.remove(&request), "an answer").await
    }

    /// At least so many deliveries and gaps, as they came since the last call: "1/7=body", "1/0..3 expired".
    pub(crate) async fn stream_of(&self, count: usize) -> Vec<String> {
        let enough = |book: &mut Book| (book.stream.len() >= count).then(|| take(&mut book.stream));
        self.until(enough, "deliveries").await
    }

    /// Deliveries and gaps since the last call, once everything has come to rest.
    pub(crate) async fn stream(&self) -> Vec<String> {
        self.settle().await;
        take(&mut self.lock().book.stream)
    }

    /// Frames that answer no request by its id, since the last call, once everything has come to rest.
    pub(crate) async fn control(&self) -> Vec<String> {
        self.settle().await;
        take(&mut self.lock().book.control)
    }

    /// Everything since the last call, in the order in which it came, once everything has come to rest.
    pub(crate) async fn log(&self) -> Vec<String> {
        self.settle().await;
        take(&mut self.lock().book.log)
    }

    /// The timestamps of the records that came since the last call.
    pub(crate) fn timestamps(&self) -> Vec<u64> {
        take(&mut self.lock().book.timestamps)
    }

    /// Ready when what the broker owed before is here.
    ///
    /// The first pong shows that the broker has looked; the second one that what it found was written before.
    pub(crate) async fn settle(&self) {
        for _ in 0..2 {
            self.ping_before(b"").await;
        }
    }

    /// Sends a ping and, in one piece with it, other bytes; ready when the pong is here.
    pub(crate) async fn ping_before(&self, bytes: &[u8]) {
        let nonce = {
            let book = &mut self.lock().book;
            book.last_nonce += 1;
            OWN_NONCES + book.last_nonce
        };
        self.ping(nonce);
        self.queue_bytes(bytes);
        self.until(|book| book.pongs.remove(&nonce).then_some(()), "a pong").await;
    }

    /// Reads to the end of the stream; everything since the last call, in the order in which it came.
    pub(crate) async fn end(&self) -> Vec<String> {
        poll_fn(|cx| {
            let found = ready!(self.lock().poll_until(cx, |_| None::<()>));
            debug_assert!(found.is_none());
            Poll::Ready(())
        })
        .await;
        take(&mut self.lock().book.log)
    }

    /// Sends nothing more, but still reads.
    pub(crate) async fn finish(&self) {
        self.flush().await;
        poll_fn(|cx| self.lock().io.poll_shutdown(cx)).await.expect("the connection is open");
    }

    /// Reads until `look` finds something.
    async fn until<T>(&self, mut look: impl FnMut(&mut Book) -> Option<T>, what: &str) -> T {
        let found = poll_fn(|cx| self.lock().poll_until(cx, &mut look)).await;
        found.unwrap_or_else(|| panic!("the connection ended before {what} came: {:?}", self.lock().book.log))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<R::Io>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Io> Inner<I> {
    /// Writes and reads until `look` finds something; `None` if the connection ends before.
    fn poll_until<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Book) -> Option<T>,
    ) -> Poll<Option<T>> {
        loop {
            let _ = self.poll_flush(cx);
            if let Some(found) = look(&mut self.book) {
                return Poll::Ready(Some(found));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.io.poll_read(cx, &mut self.incoming, READ_AT_ONCE)) {
                Ok(0) | Err(_) => self.ended = true,
                Ok(count) => {
                    self.received += count;
                    self.decode();
                }
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.outgoing.has_remaining() {
            if ready!(self.io.poll_write(cx, &mut self.outgoing)).is_err() {
                self.outgoing.clear();
            }
        }
        Poll::Ready(())
    }

    fn decode(&mut self) {
        let Self { incoming, decoder, book, .. } = self;
        while let Some((frame, taken)) = decoder.decode(incoming).expect("the broker keeps to the protocol") {
            book.receive(decoder, &frame);
            incoming.advance(taken);
        }
    }
}
