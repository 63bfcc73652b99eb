//! Subscriptions to patterns of topics (chapter W).

use zaichik_proto::{PatternError, Refusal, RefusalCode, Timestamp, TopicName, TopicPattern, Welcome};

use super::Client;
use super::subscribe::check_options;
use crate::answer::{RequestId, SubscriptionId};
use crate::config::PatternOptions;
use crate::error::RequestError;
use crate::pattern_event::PatternEvent;
use crate::subscription::Subscription;

impl Client {
    /// Subscribes to every topic whose name the pattern matches, those that exist and those that are created later; answered by
    /// [`Answer::PatternSubscribed`](crate::Answer::PatternSubscribed). [`poll_pattern`](Self::poll_pattern) returns what it
    /// receives, each topic under a subscription of its own.
    ///
    /// ```
    /// # use zaichik_proto::Record;
    /// # use zaichik_client::{Event, PatternEvent, PatternOptions, PublishOptions};
    /// # let (now, mut client, mut broker) = zaichik_testkit::connected();
    /// let (_, orders) = client.subscribe_pattern(now, "orders.>", PatternOptions::new().window(8))?;
    /// for topic in ["orders.new", "orders.eu.new"] {
    ///     client.publish(now, topic, &[Record { body: b"one tea", ..Record::default() }], PublishOptions::new())?;
    /// }
    /// broker.serve(now, &mut client);
    /// let mut topics = Vec::new();
    /// while let Some(event) = client.poll_pattern(orders) {
    ///     if let PatternEvent::Topic { topic, subscription, event: Event::Message(message) } = event {
    ///         client.commit_quiet(now, subscription, message.offset)?;
    ///         topics.push(topic.to_string());
    ///     }
    /// }
    /// topics.sort();
    /// assert_eq!(topics, ["orders.eu.new", "orders.new"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// It outlives connections: after a reconnect each topic continues as one that was
    /// [subscribed to](Self::subscribe) alone, after its last committed offset, and topics that were created meanwhile begin at
    /// their first message. So does a topic that could not be matched before. [`Event::Reconnected`](crate::Event::Reconnected)
    /// of a topic precedes the first message that follows.
    ///
    /// # Errors
    /// [`RequestError::InvalidPattern`] and the other variants that say that nothing was sent; [`RequestError::Refused`] with
    /// `Unsupported` at a broker that has no patterns. If the broker is not known yet, that is the answer.
    pub fn subscribe_pattern(
        &mut self,
        now: Timestamp,
        pattern: &str,
        options: PatternOptions,
    ) -> Result<(RequestId, SubscriptionId), RequestError> {
        self.tick(now);
        let invalid = RequestError::InvalidPattern;
        TopicPattern::parse(pattern.as_bytes()).map_err(invalid)?;
        let name =
            TopicName::parse(pattern.as_bytes()).map_err(|error| invalid(PatternError::Name(error)))?;
        let options = options.into_subscribe();
        check_options(&options)?;
        if self.connection.is_open() && !self.connection.offers(Welcome::PATTERNS) {
            let refusal = Refusal::new(RefusalCode::Unsupported);
            return Err(RequestError::Refused { topic: pattern.into(), refusal });
        }
        let subscription = self.check_new_subscription(&options)?;
        let name = self.encoder.share_topic(name);
        let id = self.begin(Subscription::new(subscription, name, options).into_pattern());
        Ok((id, subscription))
    }

    /// The next event of a pattern, or of one of its topics; `None` if there is none now, or no such pattern.
    ///
    /// Topics with something to take have their turns. A message that was taken can be [committed](Self::commit) with the
    /// subscription of its topic. After [`PatternEvent::Ended`] and [`PatternEvent::Refused`] the pattern is gone, with all of
    /// its topics. [`unsubscribe`](Self::unsubscribe) of a topic's subscription ends that topic alone, for as long as the pattern
    /// lives.
    pub fn poll_pattern(&mut self, pattern: SubscriptionId) -> Option<PatternEvent> {
        self.subscriptions.take_of_pattern(pattern)
    }
}
