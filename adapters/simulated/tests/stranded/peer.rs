//! A raw client over a stream in memory: it sends at once, and reads until the test stops it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use zaichik_simulated::{Io, LocalIo, spawn};
use zaichik_testkit::{RawClient, Sub};

use crate::program::TOPIC;

/// Bytes read at once.
const READ_AT_ONCE: usize = 16 << 10;

pub(crate) struct Peer {
    pub(crate) raw: RawClient,
    /// `None` once it is closed.
    io: RefCell<Option<LocalIo>>,
    received: RefCell<BytesMut>,
    is_reading: Cell<bool>,
    task: RefCell<Option<Waker>>,
    unanswered: RefCell<Vec<u32>>,
    subscribed: Cell<bool>,
    /// Records that it has received.
    pub(crate) records: Cell<u64>,
    /// Requests of which it has received the answer.
    pub(crate) answers: Cell<u64>,
}

impl Peer {
    /// A connection that has sent nothing. Its task runs until one of the two ends is closed.
    pub(crate) fn open(io: LocalIo) -> Rc<Self> {
        let peer = Rc::new(Self {
            raw: RawClient::new(),
            io: RefCell::new(Some(io)),
            received: RefCell::default(),
            is_reading: Cell::new(true),
            task: RefCell::default(),
            unanswered: RefCell::default(),
            subscribed: Cell::new(false),
            records: Cell::new(0),
            answers: Cell::new(0),
        });
        let task = Rc::clone(&peer);
        drop(spawn(poll_fn(move |cx| task.poll(cx))));
        peer
    }

    pub(crate) fn hello(&self) {
        self.raw.hello(b"");
        self.send();
    }

    /// Subscribes to all records, without commits.
    pub(crate) fn subscribe(&self) {
        self.subscribed.set(true);
        self.request(|raw| raw.subscribe_to(Sub::new(1, TOPIC).window(0)));
    }

    /// Makes a request that has to be answered.
    pub(crate) fn request(&self, make: impl FnOnce(&RawClient) -> u32) {
        let request = make(&self.raw);
        self.unanswered.borrow_mut().push(request);
        self.send();
    }

    /// Sends what the stream accepts now; its task sends the rest.
    pub(crate) fn send(&self) {
        self.write(&mut Context::from_waker(Waker::noop()));
        self.wake();
    }

    pub(crate) fn stop_reading(&self) {
        self.is_reading.set(false);
    }

    pub(crate) fn resume_reading(&self) {
        self.is_reading.set(true);
        self.wake();
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.is_reading.get()
    }

    /// Whether the broker does not take all that it sends.
    pub(crate) fn is_blocked(&self) -> bool {
        self.raw.queued() > 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.io.borrow().is_none()
    }

    pub(crate) fn close(&self) {
        let io = self.io.take();
        drop(io);
        self.wake();
    }

    /// What it still waits for, if `records` were accepted.
    pub(crate) fn waits_for(&self, records: u64) -> Option<String> {
        if self.subscribed.get() && self.records.get() < records {
            return Some(format!("{} of {records} records", self.records.get()));
        }
        let unanswered = self.unanswered.borrow();
        unanswered
            .first()
            .map(|request| format!("the answers of {} requests from {request} on", unanswered.len()))
    }

    fn wake(&self) {
        let task = self.task.take();
        task.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        *self.task.borrow_mut() = Some(cx.waker().clone());
        self.write(cx);
        if self.is_reading.get() {
            self.read(cx);
        }
        if self.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn write(&self, cx: &mut Context<'_>) {
        let mut io = self.io.borrow_mut();
        while let Some(open) = io.as_mut()
            && self.raw.queued() > 0
        {
            match self.raw.outgoing(|bytes| open.poll_write(cx, bytes)) {
                Poll::Pending => return,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => *io = None,
            }
        }
    }

    fn read(&self, cx: &mut Context<'_>) {
        let (mut io, mut received) = (self.io.borrow_mut(), self.received.borrow_mut());
        while let Some(open) = io.as_mut() {
            match open.poll_read(cx, &mut received, READ_AT_ONCE) {
                Poll::Pending => break,
                Poll::Ready(Ok(1..)) => self.raw.receive(&mut received),
                Poll::Ready(Ok(0) | Err(_)) => *io = None,
            }
        }
        self.records.set(self.records.get() + self.raw.take_records().len() as u64);
        self.unanswered.borrow_mut().retain(|request| {
            let is_answered = self.raw.take_answer(*request).is_some();
            self.answers.set(self.answers.get() + u64::from(is_answered));
            !is_answered
        });
        self.raw.take_stream();
        self.raw.take_log();
        self.raw.take_frames();
    }
}
