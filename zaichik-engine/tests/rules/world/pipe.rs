//! A byte stream in both directions between a peer and its session, with faults.

use std::rc::Rc;

use bytes::BytesMut;
use zaichik_testkit::RawClient;

#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) index: usize,
    /// The raw client that sends into it; `None` for a real client.
    pub(super) raw: Option<Rc<RawClient>>,
    pub(super) to_broker: BytesMut,
    pub(super) from_broker: BytesMut,
    /// Maximum bytes of one read by the broker.
    pub(super) read_at_once: usize,
    /// Maximum bytes taken from one write by the broker.
    pub(super) write_at_once: usize,
    /// Whether the peer reads.
    pub(super) is_reading: bool,
    pub(super) flow: Flow,
    /// The broker has closed its end.
    pub(super) is_closed: bool,
}

/// What the connection still carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// The peer will send nothing more.
    Finished,
    /// The connection is broken; bytes in flight are lost.
    Cut,
}

impl Pipe {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            raw: None,
            to_broker: BytesMut::new(),
            from_broker: BytesMut::new(),
            // The size of a typical adapter's read.
            read_at_once: 64 << 10,
            write_at_once: usize::MAX,
            is_reading: true,
            flow: Flow::Open,
            is_closed: false,
        }
    }

    /// Takes the raw client's output.
    pub(super) fn fill(&mut self) {
        if let Some(raw) = &self.raw {
            self.to_broker.unsplit(raw.take_queued());
        }
    }
}
