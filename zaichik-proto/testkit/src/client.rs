//! The raw client: the bytes that it sends and receives, and access to what it recorded.

use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use zaichik_proto::{ClientFrame, HEADER_LEN, Limits, ServerDecoder, ServerFrame};

use crate::book::{Book, Received};

/// The client's end of a connection, without a transport.
///
/// Every method takes `&self`, so that a test can hold a result while it makes the next call; a transport contains a
/// client and derefs to it.
#[derive(Debug)]
pub struct RawClient(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    outgoing: BytesMut,
    decoder: ServerDecoder,
    book: Book,
}

impl RawClient {
    /// Creates a client that has sent nothing.
    #[must_use]
    pub fn new() -> Self {
        let decoder = ServerDecoder::handshake(&Limits::default());
        Self(Mutex::new(Inner { outgoing: BytesMut::new(), decoder, book: Book::default() }))
    }

    /// Sends a frame; if it is a request, its answer is expected.
    pub fn send(&self, frame: &ClientFrame<'_>) {
        let mut inner = self.lock();
        frame.encode(&mut inner.outgoing);
        inner.book.asked(frame);
    }

    /// Sends bytes as they are; answers to requests among them are not expected.
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.lock().outgoing.extend_from_slice(bytes);
    }

    /// Sends a frame with a new request id and returns the id.
    pub fn request<'a>(&self, frame: impl FnOnce(u32) -> ClientFrame<'a>) -> u32 {
        let request = self.lock().book.next_request();
        self.send(&frame(request));
        request
    }

    /// Sends a Ping whose Pong is reported by [`take_pong`](Self::take_pong) only; returns the nonce.
    pub fn probe(&self) -> u64 {
        let nonce = self.lock().book.next_nonce();
        self.send(&ClientFrame::Ping { nonce });
        nonce
    }

    /// Gives access to the queued bytes; the transport removes from the front what it has sent.
    pub fn outgoing<T>(&self, send: impl FnOnce(&mut BytesMut) -> T) -> T {
        send(&mut self.lock().outgoing)
    }

    /// Number of queued bytes.
    pub fn queued(&self) -> usize {
        self.lock().outgoing.len()
    }

    /// Removes the queued bytes and returns them; answers to their requests are still expected.
    pub fn take_queued(&self) -> BytesMut {
        take(&mut self.lock().outgoing)
    }

    /// Processes the complete frames at the front of the received bytes and removes them.
    pub fn receive(&self, bytes: &mut BytesMut) {
        let Inner { decoder, book, .. } = &mut *self.lock();
        while let Some((frame, taken)) = decoder.decode(bytes).expect("the broker observes the protocol") {
            if let ServerFrame::Welcome(welcome) = &frame {
                decoder.open(&welcome.limits);
            }
            book.receive(&frame, taken.saturating_sub(HEADER_LEN));
            bytes.advance(taken);
        }
    }

    /// The broker's instance, once Welcome has arrived.
    pub fn instance(&self) -> Option<u128> {
        self.lock().book.instance
    }

    /// Removes and returns the answer to a request.
    pub fn take_answer(&self, request: u32) -> Option<String> {
        self.lock().book.answers.remove(&request)
    }

    /// Whether the Pong to a [`probe`](Self::probe) has arrived; true once.
    pub fn take_pong(&self, nonce: u64) -> bool {
        self.lock().book.pongs.remove(&nonce)
    }

    /// Number of texts that [`take_stream`](Self::take_stream) would return.
    pub fn stream_len(&self) -> usize {
        self.lock().book.stream.len()
    }

    /// Frames of the stream lane since the last call: "1/7=body", "1/7=body #2" for the second attempt, "1/0..3 expired"
    /// for a gap, "1 fenced by 3".
    pub fn take_stream(&self) -> Vec<String> {
        take(&mut self.lock().book.stream)
    }

    /// Frames of the control lane since the last call that answer no request id.
    pub fn take_control(&self) -> Vec<String> {
        take(&mut self.lock().book.control)
    }

    /// All frames since the last call, in the order of their arrival; answers as "#5 created".
    pub fn take_log(&self) -> Vec<String> {
        take(&mut self.lock().book.log)
    }

    /// From now on allows offsets to be skipped without a Gap, as in topics that keep the newest message of a key.
    pub fn expect_silence(&self) {
        self.lock().book.silent = Some(0);
    }

    /// Number of offsets skipped without a Gap.
    pub fn passed_silently(&self) -> u64 {
        self.lock().book.silent.unwrap_or_default()
    }

    /// The messages received since the last call.
    pub fn take_records(&self) -> Vec<Received> {
        take(&mut self.lock().book.records)
    }

    /// The kinds of the frames received since the last call, with the lengths of their bodies.
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
