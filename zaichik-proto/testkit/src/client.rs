//! The raw client: bytes to send, bytes received, and descriptions of the received frames.

use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use zaichik_proto::{ClientFrame, Version};

use crate::book::{Book, Received};
use crate::frames::Frames;

/// One end of a connection, without the connection.
///
/// All methods take `&self`, so that calls can be nested; a transport wraps one and derefs to it.
#[derive(Debug)]
pub struct RawClient(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    outgoing: BytesMut,
    frames: Frames,
    book: Book,
}

impl RawClient {
    /// A client that has sent nothing.
    #[must_use]
    pub fn new() -> Self {
        let (outgoing, frames, book) = (BytesMut::new(), Frames::new(), Book::default());
        Self(Mutex::new(Inner { outgoing, frames, book }))
    }

    /// Sends a frame; if it is a request, its answer is expected.
    pub fn send(&self, frame: &ClientFrame<'_>) {
        let mut inner = self.lock();
        frame.encode(&mut inner.outgoing);
        inner.book.asked(frame);
    }

    /// Sends bytes as they are. No answers are expected for requests in them.
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.lock().outgoing.extend_from_slice(bytes);
    }

    /// Sends a frame with a new request id, and returns the id.
    pub fn request<'a>(&self, frame: impl FnOnce(u32) -> ClientFrame<'a>) -> u32 {
        let request = self.lock().book.next_request();
        self.send(&frame(request));
        request
    }

    /// Sends a ping whose pong only [`take_pong`](Self::take_pong) reports.
    pub fn probe(&self) -> u64 {
        let nonce = self.lock().book.next_nonce();
        self.send(&ClientFrame::Ping { nonce });
        nonce
    }

    /// The bytes to send; the transport removes sent bytes from the front.
    pub fn outgoing<T>(&self, send: impl FnOnce(&mut BytesMut) -> T) -> T {
        send(&mut self.lock().outgoing)
    }

    /// Bytes to be sent.
    pub fn queued(&self) -> usize {
        self.lock().outgoing.len()
    }

    /// Takes the unsent bytes; answers to requests in them are still expected.
    pub fn take_queued(&self) -> BytesMut {
        take(&mut self.lock().outgoing)
    }

    /// Takes whole frames off the front of the received bytes.
    pub fn receive(&self, bytes: &mut BytesMut) {
        let Inner { frames, book, .. } = &mut *self.lock();
        frames.take(bytes, |frame, body_len| book.receive(frame, body_len));
    }

    /// The rewind number that a commit on a subscription carries now: none in version 1.
    pub fn rewind(&self, subscription: u32) -> Option<u32> {
        let Inner { book, frames, .. } = &*self.lock();
        (frames.version() > Version::One).then(|| book.rewind(subscription))
    }

    /// The broker's instance, once it is known.
    pub fn instance(&self) -> Option<u128> {
        self.lock().book.instance
    }

    /// Takes the answer to a request.
    pub fn take_answer(&self, request: u32) -> Option<String> {
        self.lock().book.answers.remove(&request)
    }

    /// Takes the pong to a [`probe`](Self::probe); returns whether it has arrived.
    pub fn take_pong(&self, nonce: u64) -> bool {
        self.lock().book.pongs.remove(&nonce)
    }

    /// The number of texts that [`take_stream`](Self::take_stream) would return.
    pub fn stream_len(&self) -> usize {
        self.lock().book.stream.len()
    }

    /// Deliveries and gaps since the last call: "1/7=body", "1/7=body #2" the second time, "1/0..3 expired"; and
    /// "1 fenced by 3".
    pub fn take_stream(&self) -> Vec<String> {
        take(&mut self.lock().book.stream)
    }

    /// Frames of the control lane that answer no request by its id, since the last call.
    pub fn take_control(&self) -> Vec<String> {
        take(&mut self.lock().book.control)
    }

    /// Everything since the last call, in order of arrival; answers as "#5 created".
    pub fn take_log(&self) -> Vec<String> {
        take(&mut self.lock().book.log)
    }

    /// From now on offsets may be skipped without a gap, as in topics with `latest` compaction.
    pub fn expect_silence(&self) {
        self.lock().book.silent = Some(0);
    }

    /// How many offsets were skipped without a gap.
    pub fn passed_silently(&self) -> u64 {
        self.lock().book.silent.unwrap_or_default()
    }

    /// The messages since the last call.
    pub fn take_records(&self) -> Vec<Received> {
        take(&mut self.lock().book.records)
    }

    /// Kinds of the frames since the last call, with the lengths of their bodies.
    pub fn take_frames(&self) -> Vec<(u8, usize)> {
        take(&mut self.lock().book.frames)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RawClient {
    fn default() -> Self {
        Self::new()
    }
}
