//! What a broker keeps of one connection.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::CloseReason;
use crate::id::{SessionId, SubKey, TopicId};
use crate::ring::Node;
use crate::time::Timestamp;

/// The broker's side of a session.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) id: SessionId,
    /// Head of the ring of its subscriptions that may have something to deliver.
    pub(super) ready: Node,
    /// Its place in the ring of throttled sessions.
    pub(super) throttle: Node,
    pub(super) subscriptions: BTreeMap<u32, SubKey>,
    /// Topics it subscribes to: one subscription each (semantics D1).
    pub(super) topics: BTreeSet<TopicId>,
    /// Whether it was woken and has not exchanged since.
    pub(super) woken: bool,
    /// Whether its handshake is done.
    pub(super) open: bool,
    /// What the broker wants of it: to close.
    pub(super) evicted: Option<CloseReason>,
    pub(super) since: Timestamp,
    /// Bytes received before the handshake was done.
    pub(super) received: usize,
    /// Bytes of its buffers and lanes after its last exchange.
    pub(super) buffers: usize,
    /// What the ledger was told last.
    pub(super) charged: usize,
}

impl Attachment {
    pub(super) const fn new(id: SessionId, ready: Node, throttle: Node, since: Timestamp) -> Self {
        Self {
            id,
            ready,
            throttle,
            subscriptions: BTreeMap::new(),
            topics: BTreeSet::new(),
            woken: false,
            open: false,
            evicted: None,
            since,
            received: 0,
            buffers: 0,
            charged: 0,
        }
    }

    /// Bytes of the attachment and of buffers of this size.
    pub(super) const fn footprint(buffers: usize) -> usize {
        size_of::<Self>().saturating_add(buffers)
    }
}
