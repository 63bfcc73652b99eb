//! Patterns of topics, and the subscriptions that the broker makes for them.

use zaichik_proto::{Matched, NotMatched, PatternSubscribed, SubscribePattern};

use super::{Book, Place};
use crate::show::numbered;

impl Book {
    /// "pattern of 2 topics".
    pub(super) fn pattern_subscribed(&mut self, subscribed: &PatternSubscribed) {
        assert!(self.patterns.contains_key(&subscribed.subscription), "{subscribed:?}");
        let epoch = if subscribed.epoch > 0 { format!(" epoch {}", subscribed.epoch) } else { String::new() };
        self.answered_in_stream(
            subscribed.request,
            format!("pattern of {} topics{epoch}", subscribed.topics),
        );
    }

    /// "7 ~0 is orders.new 0..3".
    pub(super) fn matched(&mut self, matched: &Matched<'_>) {
        let Matched { subscription, alias, rewind, start, end, topic, .. } = *matched;
        assert!(alias >= SubscribePattern::FIRST_ALIAS, "{matched:?}");
        let place = Place { rewind, next: Some(start), is_shared: false };
        assert_eq!(self.places.insert(alias, place), None, "an alias is used once");
        let aliases = self.patterns.get_mut(&subscription).expect("a pattern that was subscribed to");
        assert!(aliases.insert(alias), "an alias is announced once");
        let topic = String::from_utf8_lossy(topic);
        self.stream(format!("{subscription} {} is {topic} {start}..{end}", numbered(alias)));
    }

    /// `7 without orders.new: SubscriptionsFull 3 and 2 others`.
    pub(super) fn not_matched(&mut self, not_matched: &NotMatched<'_>) {
        let NotMatched { subscription, code, value, others, topic } = *not_matched;
        assert!(self.patterns.contains_key(&subscription), "{not_matched:?}");
        let topic = String::from_utf8_lossy(topic);
        let others = if others > 0 { format!(" and {others} others") } else { String::new() };
        self.stream(format!("{subscription} without {topic}: {code} {value}{others}"));
    }
}
