//! The patterns to which a session has subscribed.

use std::collections::BTreeMap;

use zaichik_proto::SubscribePattern;

use crate::broker::readiness::Readiness;
use crate::id::PatternKey;
use crate::ring::Node;

/// The patterns of a session, from its first one on.
#[derive(Debug)]
pub(in crate::broker) struct SessionPatterns {
    /// Head of the ring of those that have something to send.
    pub(in crate::broker) busy: Node,
    /// Head of the ring of those that wait for records that are only in the store.
    pub(in crate::broker) awaiting: Node,
    /// By the numbers that its client chose.
    pub(in crate::broker) numbers: BTreeMap<u32, PatternKey>,
    /// The number of the next subscription that is made for one; `None` when all were used.
    next_alias: Option<u32>,
}

impl SessionPatterns {
    pub(in crate::broker) fn new(readiness: &mut Readiness) -> Self {
        Self {
            busy: readiness.insert_ring(),
            awaiting: readiness.insert_ring(),
            numbers: BTreeMap::new(),
            next_alias: Some(SubscribePattern::FIRST_ALIAS),
        }
    }

    /// A number that was never used on this connection.
    pub(in crate::broker) fn next_alias(&mut self) -> Option<u32> {
        let alias = self.next_alias?;
        self.next_alias = alias.checked_add(1);
        Some(alias)
    }
}
