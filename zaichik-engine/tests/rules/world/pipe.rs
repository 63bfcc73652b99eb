//! A byte stream in both directions between a peer and its session, with faults.

use std::rc::Rc;

use bytes::BytesMut;
use zaichik_testkit::RawClient;

#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) index: usize,
    /// Who sends into it, unless that is a real client.
    pub(super) raw: Option<Rc<RawClient>>,
    pub(super) to_broker: BytesMut,
    pub(super) from_broker: BytesMut,
    /// Bytes that one read of the broker gets at most.
    pub(super) read_at_once: usize,
    /// Bytes that one write of the broker is taken of at most.
    pub(super) write_at_once: usize,
    /// Whether the peer takes anything at all.
    pub(super) is_reading: bool,
    pub(super) flow: Flow,
    /// The broker has closed its end.
    pub(super) is_closed: bool,
}

/// What still goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// The peer will send nothing more.
    Finished,
    /// The connection is gone, with everything in it.
    Cut,
}

impl Pipe {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            raw: None,
            to_broker: BytesMut::new(),
            from_broker: BytesMut::new(),
            // As much as a usual adapter reads.
            read_at_once: 64 << 10,
            write_at_once: usize::MAX,
            is_reading: true,
            flow: Flow::Open,
            is_closed: false,
        }
    }

    /// Takes what the raw client has to send.
    pub(super) fn fill(&mut self) {
        if let Some(raw) = &self.raw {
            self.to_broker.unsplit(raw.take_queued());
        }
    }
}
