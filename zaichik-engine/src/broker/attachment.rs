//! What a broker keeps of one connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::CloseReason;
use crate::id::{SessionId, SubKey, TopicId};
use crate::planted::{Defect, is_planted};
use crate::ring::Node;
use zaichik_proto::Timestamp;

/// The broker's side of a session.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) id: SessionId,
    /// Head of the ring of its subscriptions that may have something to deliver.
    pub(super) ready: Node,
    /// Its place in the ring of throttled sessions.
    pub(super) throttle: Node,
    pub(super) subscriptions: BTreeMap<u32, SubKey>,
    /// Topics on which it has a subscription that is not durable: one each (semantics D1).
    pub(super) topics: BTreeSet<TopicId>,
    /// Durable subscriptions that others took from it.
    pub(super) fenced: Option<Box<Fences>>,
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

/// Subscriptions that a connection had until another one took them over (semantics D3).
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// Their numbers, until these are subscribed again, with the newer epochs.
    epochs: BTreeMap<u32, u32>,
    /// Those of which the client was not told yet.
    news: VecDeque<u32>,
}

impl Attachment {
    pub(super) const fn new(id: SessionId, ready: Node, throttle: Node, since: Timestamp) -> Self {
        Self {
            id,
            ready,
            throttle,
            subscriptions: BTreeMap::new(),
            topics: BTreeSet::new(),
            fenced: None,
            woken: false,
            open: false,
            evicted: None,
            since,
            received: 0,
            buffers: 0,
            charged: 0,
        }
    }

    /// How many numbers of subscriptions are in use.
    pub(super) fn numbers(&self) -> usize {
        let fenced = self.fenced.as_ref().map_or(0, |fenced| fenced.epochs.len());
        self.subscriptions.len().saturating_add(fenced)
    }

    /// The epoch of who took the subscription over that had this number, if one did.
    pub(super) fn fenced_by(&self, number: u32) -> Option<u32> {
        self.fenced.as_ref()?.epochs.get(&number).copied()
    }

    /// Whether the client was told of everything that was taken over.
    pub(super) fn knows_fences(&self) -> bool {
        self.fenced.as_ref().is_none_or(|fenced| fenced.news.is_empty())
    }

    /// Whether the client does not know yet that this number is fenced.
    pub(super) fn is_news(&self, number: u32) -> bool {
        self.fenced.as_ref().is_some_and(|fenced| fenced.news.contains(&number))
    }

    /// The subscription of that number was taken over under a newer epoch.
    pub(super) fn fence(&mut self, number: u32, epoch: u32) {
        if !is_planted(Defect::FencedCommit) {
            self.subscriptions.remove(&number);
        }
        let fenced = self.fenced.get_or_insert_default();
        fenced.epochs.insert(number, epoch);
        fenced.news.push_back(number);
    }

    /// The next fenced number, with its epoch, of which the client is to be told.
    pub(super) fn next_fence(&mut self) -> Option<(u32, u32)> {
        let fenced = self.fenced.as_mut()?;
        let number = fenced.news.pop_front()?;
        let epoch = fenced.epochs.get(&number).copied().unwrap_or_default();
        Some((number, epoch))
    }

    /// The number is subscribed again.
    pub(super) fn unfence(&mut self, number: u32) {
        if let Some(fenced) = &mut self.fenced {
            fenced.epochs.remove(&number);
            if fenced.epochs.is_empty() && fenced.news.is_empty() {
                self.fenced = None;
            }
        }
    }

    /// Bytes of the attachment, its buffers and what it keeps of lost subscriptions.
    pub(super) fn footprint(&self) -> usize {
        const FENCE: usize = 2 * size_of::<(u32, u32)>() + size_of::<u32>();
        let fences = self.fenced.as_ref().map_or(0, |fenced| {
            size_of::<Fences>().saturating_add(fenced.epochs.len().saturating_mul(FENCE))
        });
        size_of::<Self>().saturating_add(self.buffers).saturating_add(fences)
    }
}
