//! A raw client connected to a pipe.

use std::cell::RefCell;
use std::mem::take;
use std::ops::Deref;
use std::rc::Rc;

use bytes::BytesMut;
use zaichik_testkit::{RawClient, Received};

use super::pipe::{Flow, Pipe};

/// A raw client whose bytes go through a pipe; its requests are those of [`RawClient`].
#[derive(Clone)]
pub(crate) struct Peer {
    pipe: Rc<RefCell<Pipe>>,
    raw: Rc<RawClient>,
}

impl Peer {
    pub(super) fn new(pipe: Rc<RefCell<Pipe>>) -> Self {
        let raw = Rc::new(RawClient::new());
        pipe.borrow_mut().raw = Some(Rc::clone(&raw));
        Self { pipe, raw }
    }

    pub(crate) fn index(&self) -> usize {
        self.pipe.borrow().index
    }

    /// Takes back what the broker has not read yet.
    pub(crate) fn unsent(&self) -> BytesMut {
        let mut pipe = self.pipe.borrow_mut();
        pipe.fill();
        pipe.to_broker.split()
    }

    /// Sends nothing more, but still reads.
    pub(crate) fn finish(&self) {
        self.pipe.borrow_mut().flow = Flow::Finished;
    }

    /// Breaks the connection; bytes in flight are lost.
    pub(crate) fn cut(&self) {
        self.pipe.borrow_mut().flow = Flow::Cut;
    }

    pub(crate) fn stop_reading(&self) {
        self.pipe.borrow_mut().is_reading = false;
    }

    pub(crate) fn resume_reading(&self) {
        self.pipe.borrow_mut().is_reading = true;
    }

    /// Splits the broker's writes into pieces of this many bytes.
    pub(crate) fn split_writes(&self, bytes: usize) {
        self.pipe.borrow_mut().write_at_once = bytes;
    }

    /// Splits the broker's reads into pieces of this many bytes.
    pub(crate) fn split_reads(&self, bytes: usize) {
        self.pipe.borrow_mut().read_at_once = bytes;
    }

    /// Whether the broker has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.pipe.borrow().is_closed
    }

    /// Bytes sent that the broker has not read.
    pub(crate) fn unread(&self) -> usize {
        self.pipe.borrow().to_broker.len() + self.raw.queued()
    }

    /// The answer to a request, which is forgotten; "-" if there is none.
    pub(crate) fn answer(&self, request: u32) -> String {
        self.pump();
        self.raw.take_answer(request).unwrap_or_else(|| "-".to_owned())
    }

    /// [`RawClient::take_stream`].
    pub(crate) fn stream(&self) -> Vec<String> {
        self.pump();
        self.raw.take_stream()
    }

    /// [`RawClient::take_control`].
    pub(crate) fn control(&self) -> Vec<String> {
        self.pump();
        self.raw.take_control()
    }

    /// [`RawClient::take_log`].
    pub(crate) fn log(&self) -> Vec<String> {
        self.pump();
        self.raw.take_log()
    }

    /// [`RawClient::take_records`].
    pub(crate) fn records(&self) -> Vec<Received> {
        self.pump();
        self.raw.take_records()
    }

    /// [`RawClient::take_frames`].
    pub(crate) fn frames(&self) -> Vec<(u8, usize)> {
        self.pump();
        self.raw.take_frames()
    }

    /// [`RawClient::passed_silently`].
    pub(crate) fn silent(&self) -> u64 {
        self.pump();
        self.raw.passed_silently()
    }

    /// Bytes that the broker sent and the client has not read.
    pub(crate) fn take_bytes(&self) -> BytesMut {
        take(&mut self.pipe.borrow_mut().from_broker)
    }

    fn pump(&self) {
        self.raw.receive(&mut self.pipe.borrow_mut().from_broker);
    }
}

impl Deref for Peer {
    type Target = RawClient;

    fn deref(&self) -> &RawClient {
        &self.raw
    }
}

impl Drop for Peer {
    /// Frames that the test never read are still checked.
    fn drop(&mut self) {
        // One is held by the pipe.
        if Rc::strong_count(&self.raw) <= 2 && !std::thread::panicking() {
            self.pump();
        }
    }
}
