//! The events of a subscription to a pattern of topics.

use std::sync::Arc;

use zaichik_proto::Refusal;

use crate::answer::SubscriptionId;
use crate::event::{Event, Message};

/// An event of a subscription to a pattern: a topic that it covers from now on, one that it could not cover, something that
/// one of its topics received, or its end (chapter W).
///
/// `M` is the message. The events of one topic are in order; there is no order between topics.
///
/// ```
/// # use zaichik_proto::Record;
/// # use zaichik_client::{Event, PatternEvent, PatternOptions, PublishOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// let (_, orders) = client.subscribe_pattern(now, "orders.*", PatternOptions::new())?;
/// client.publish(now, "orders.new", &[Record { body: b"one tea", ..Record::default() }], PublishOptions::new())?;
/// broker.serve(now, &mut client);
/// let Some(PatternEvent::Matched { topic, .. }) = client.poll_pattern(orders) else { panic!("no topic") };
/// assert_eq!(&*topic, "orders.new");
/// let Some(PatternEvent::Topic { subscription, event, .. }) = client.poll_pattern(orders) else { panic!("nothing") };
/// let Event::Message(message) = event else { panic!("no message") };
/// client.commit(now, subscription, message.offset)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternEvent<M = Message> {
    /// The pattern covers this topic from now on. Reported once, before anything else of the topic, and not again after a
    /// reconnect.
    Matched {
        /// The topic's name.
        topic: Arc<str>,
        /// The topic's subscription, for commits, nacks, seeks and unsubscribing from this topic alone.
        subscription: SubscriptionId,
        /// The first offset that can be delivered; 0 for a topic that was created while there was no connection.
        start: u64,
        /// The offset of the next message to be accepted when the topic was matched.
        end: u64,
    },
    /// The pattern matches this topic, but nothing of it is received through the pattern on this connection (rule W6). After a
    /// reconnect it is tried again.
    NotMatched {
        /// The topic's name.
        topic: Arc<str>,
        /// Why.
        refusal: Refusal,
        /// How many further topics were not taken since, for any reason, and are not reported one by one.
        others: u32,
    },
    /// An event of one topic. [`Event::is_end`] says that the subscription to this topic has ended; the pattern continues.
    Topic {
        /// The topic's name.
        topic: Arc<str>,
        /// The topic's subscription.
        subscription: SubscriptionId,
        /// The event.
        event: Event<M>,
    },
    /// After a reconnect the broker refused the pattern: it has ended, with all of its topics.
    Refused(Refusal),
    /// The subscription has ended, with all of its topics.
    Ended,
}

impl<M> PatternEvent<M> {
    /// Whether it is the last event of the pattern.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Ended)
    }

    /// The same event with another message, made of the message and the subscription of its topic.
    #[must_use]
    pub fn map_message<N>(self, map: impl FnOnce(M, SubscriptionId) -> N) -> PatternEvent<N> {
        match self {
            Self::Matched { topic, subscription, start, end } => {
                PatternEvent::Matched { topic, subscription, start, end }
            }
            Self::NotMatched { topic, refusal, others } => {
                PatternEvent::NotMatched { topic, refusal, others }
            }
            Self::Topic { topic, subscription, event } => PatternEvent::Topic {
                topic,
                subscription,
                event: event.map_message(|message| map(message, subscription)),
            },
            Self::Refused(refusal) => PatternEvent::Refused(refusal),
            Self::Ended => PatternEvent::Ended,
        }
    }
}
