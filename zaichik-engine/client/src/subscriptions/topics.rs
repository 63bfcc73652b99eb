//! The topics of one pattern: which are known, which have something to take, and what is to be reported of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use zaichik_proto::Start;

use crate::answer::SubscriptionId;
use crate::pattern_event::PatternEvent;

/// Maximum topics that wait to be reported because they were not matched; others are counted.
pub(super) const MAX_REPORTS: usize = 64;

/// The topics of a pattern.
#[derive(Debug)]
pub(super) struct Topics {
    /// By name; without a subscription, those that the application unsubscribed from.
    pub(super) known: BTreeMap<Arc<str>, Option<SubscriptionId>>,
    /// Subscriptions with something to take, each once; they have their turns.
    pub(super) ready: VecDeque<SubscriptionId>,
    /// What is to be reported of the pattern itself: each topic once, and [`MAX_REPORTS`] others.
    pub(super) events: VecDeque<PatternEvent>,
    /// Topics among them that were not matched.
    pub(super) reports: usize,
    /// Where the request on this connection asked the topics to begin that existed.
    pub(super) asked: Start,
    /// Whether topics that are matched for the first time were created after the application subscribed, as far as is known:
    /// the pattern was subscribed to before, and the answer of this connection is to arrive.
    pub(super) continues: bool,
}

impl Topics {
    pub(super) const fn new(asked: Start) -> Self {
        Self {
            known: BTreeMap::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            reports: 0,
            asked,
            continues: false,
        }
    }

    pub(super) fn has_something(&self) -> bool {
        !self.ready.is_empty() || !self.events.is_empty()
    }

    pub(super) fn next_report(&mut self) -> Option<PatternEvent> {
        let event = self.events.pop_front()?;
        self.reports = self.reports.saturating_sub(usize::from(is_report(&event)));
        Some(event)
    }

    pub(super) fn subscriptions(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        self.known.values().filter_map(|id| *id)
    }
}

const fn is_report(event: &PatternEvent) -> bool {
    matches!(event, PatternEvent::NotMatched { .. })
}
