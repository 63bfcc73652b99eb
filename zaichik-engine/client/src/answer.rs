//! The answers to requests.

use core::fmt;

use zaichik_proto::{CounterValue, Duplicate, OffsetRange, TopicStatus};

use crate::info::{SubscriptionInfo, TopicInfo};
use crate::members::SharedInfo;

/// Identifies a request of one client; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// Identifies a subscription of one client, over all of its connections; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(crate) u32);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subscription {}", self.0)
    }
}

/// What the messages of a shared subscription that were taken at one time have in common: their connection, and how often
/// the subscription had been moved. They are acknowledged with it.
///
/// From [`Client::hold`](crate::Client::hold), after a message was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hold {
    pub(crate) subscription: SubscriptionId,
    /// How many connections the subscription had lost.
    pub(crate) connection: u32,
    pub(crate) rewind: u32,
}

/// The answer to a request that succeeded.
///
/// ```
/// # use zaichik_proto::{TopicOptions, TopicStatus};
/// # use zaichik_client::Answer;
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// let asked = client.create_topic(now, "orders", &TopicOptions::new())?;
/// broker.serve(now, &mut client);
/// assert_eq!(client.poll_answer(), Some((asked, Ok(Answer::Topic(TopicStatus::Created)))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Answers `create_topic`.
    Topic(TopicStatus),
    /// Answers `alter_topic`.
    Altered,
    /// Answers `trim_topic`.
    Trimmed(TrimReceipt),
    /// Answers a publish that asked for an answer.
    Published(PublishReceipt),
    /// Answers a batch, all of whose operations took effect.
    Batched(BatchReceipt),
    /// A publish with [`AckLevel::None`](zaichik_proto::AckLevel::None) was queued; there is no other answer.
    Queued,
    /// Answers `subscribe`.
    Subscribed(SubscriptionStart),
    /// Answers `subscribe_pattern`.
    PatternSubscribed(PatternStart),
    /// Answers `unsubscribe`.
    Unsubscribed {
        /// The last offset that the broker delivered; `None` if none was.
        last_offset: Option<u64>,
    },
    /// Answers `commit`.
    Committed {
        /// The first offset that is not committed.
        cursor: u64,
    },
    /// Answers `nack`, `seek` and `seek_durable`.
    Rewound {
        /// The number of times the subscription was rewound; if the connection broke, as far as the client knows.
        rewind: u32,
    },
    /// Answers `ack`, `nack_shared` and `extend`.
    Acked {
        /// The first offset that is not acknowledged, by any member.
        cursor: u64,
        /// What the request named and this member does not hold, ascending: there it had no effect.
        not_held: Vec<OffsetRange>,
    },
    /// Answers `remove_durable`.
    Removed,
    /// Answers `describe_broker`: every counter, in the order of their codes.
    Counters(Vec<CounterValue>),
    /// Answers `describe_topics` and `describe_topic`.
    Topics {
        /// The topics of this page.
        topics: Vec<TopicInfo>,
        /// Where the next page begins; `None` after the last one.
        next: Option<u32>,
    },
    /// Answers `describe_subscriptions` and `describe_durable`.
    Subscriptions {
        /// The subscriptions of this page.
        subscriptions: Vec<SubscriptionInfo>,
        /// Where the next page begins; `None` after the last one.
        next: Option<u32>,
    },
    /// Answers `describe_shared`.
    Shared(Box<SharedInfo>),
    /// Answers `ping`.
    Pong,
}

/// What a trim removed from a topic (rule R10).
///
/// ```
/// # use zaichik_proto::{Record, Start, TopicOptions};
/// # use zaichik_client::{Answer, PublishOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// client.create_topic(now, "orders", &TopicOptions::new().retain_forever())?;
/// client.publish(now, "orders", &[Record { body: b"one tea", ..Record::default() }], PublishOptions::new())?;
/// client.trim_topic(now, "orders", Start::Latest)?;
/// broker.serve(now, &mut client);
/// let answers = std::iter::from_fn(|| client.poll_answer());
/// let Some((_, Ok(Answer::Trimmed(trimmed)))) = answers.last() else { panic!("no receipt") };
/// assert_eq!((trimmed.start, trimmed.removed), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrimReceipt {
    /// The offset of the first record that is left; that of the next one to be accepted if there is none.
    pub start: u64,
    /// Live records that were removed.
    pub removed: u64,
}

/// Where the records of a publish are.
///
/// ```
/// # use zaichik_proto::Record;
/// # use zaichik_client::{Answer, PublishOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// let records = ["one tea", "two coffees"].map(|body| Record { body: body.as_bytes(), ..Record::default() });
/// client.publish(now, "orders", &records, PublishOptions::new())?;
/// broker.serve(now, &mut client);
/// let Some((_, Ok(Answer::Published(receipt)))) = client.poll_answer() else { panic!("no receipt") };
/// assert!(receipt.created);
/// assert_eq!((receipt.offset(0), receipt.offset(1), receipt.offset(2)), (Some(0), Some(1), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishReceipt {
    /// Offset of the first record appended, which the others follow; `None` if all were duplicates.
    pub first_offset: Option<u64>,
    /// The number of records in the publish.
    pub count: u32,
    /// The records that were not appended because of their key (rule C1), in order.
    pub duplicates: Vec<Duplicate>,
    /// Whether the publish created its topic.
    pub created: bool,
    /// What [`is_repeated`](Self::is_repeated) returns.
    pub repeated: bool,
}

impl PublishReceipt {
    /// Whether the broker had answered this producer and sequence before, and this is the answer of that time: an earlier
    /// attempt of this request, or another run of a program under the same identity, stored the records (rule P3).
    ///
    /// False with a broker that speaks version 1 of the protocol, which does not say.
    #[must_use]
    pub const fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// The offset of a record of the publish, counted from 0: its own, or the original's if it was a duplicate.
    ///
    /// `None` if the publish had no such record.
    #[must_use]
    pub fn offset(&self, record: u32) -> Option<u64> {
        if record >= self.count {
            return None;
        }
        match self.duplicates.binary_search_by_key(&record, |duplicate| duplicate.record) {
            Ok(place) => self.duplicates.get(place).map(|duplicate| duplicate.offset),
            Err(before) => {
                let appended = u64::from(record).saturating_sub(before as u64);
                self.first_offset?.checked_add(appended)
            }
        }
    }

    /// Whether a record of the publish, counted from 0, was a duplicate.
    #[must_use]
    pub fn is_duplicate(&self, record: u32) -> bool {
        let found = self.duplicates.binary_search_by_key(&record, |duplicate| duplicate.record);
        found.is_ok()
    }

    /// Whether offsets and duplicates fit `count` records.
    pub(crate) fn is_consistent(&self) -> bool {
        let ascending = self.duplicates.is_sorted_by(|a, b| a.record < b.record);
        let within = self.duplicates.last().is_none_or(|last| last.record < self.count);
        let appended = u64::from(self.count).checked_sub(self.duplicates.len() as u64);
        let offsets = match (self.first_offset, appended) {
            (None, Some(0)) => true,
            (Some(first), Some(appended)) if appended > 0 => first.checked_add(appended).is_some(),
            _ => false,
        };
        ascending && within && offsets
    }
}

/// Where the records of a batch are (chapter X).
///
/// ```
/// # use zaichik_proto::Record;
/// # use zaichik_client::{Answer, Batch, PublishOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// let mut batch = Batch::new();
/// batch.publish("orders", &[Record { body: b"one tea", ..Record::default() }]);
/// client.send_batch(now, &batch, PublishOptions::new())?;
/// broker.serve(now, &mut client);
/// let Some((_, Ok(Answer::Batched(receipt)))) = client.poll_answer() else { panic!("no receipt") };
/// assert_eq!(receipt.publishes[0].first_offset, Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchReceipt {
    /// One receipt for each publish of the batch, in order; commits have none.
    pub publishes: Vec<PublishReceipt>,
    /// What [`is_repeated`](Self::is_repeated) returns.
    pub repeated: bool,
}

impl BatchReceipt {
    /// As [`PublishReceipt::is_repeated`].
    #[must_use]
    pub const fn is_repeated(&self) -> bool {
        self.repeated
    }
}

/// Where a subscription began (rule R3).
///
/// ```
/// # use zaichik_client::{Answer, SubscribeOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// client.subscribe(now, "orders", SubscribeOptions::new())?;
/// broker.serve(now, &mut client);
/// let Some((_, Ok(Answer::Subscribed(begun)))) = client.poll_answer() else { panic!("not subscribed") };
/// assert!(begun.created);
/// assert_eq!((begun.start, begun.end), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionStart {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Whether the request created the topic.
    pub created: bool,
    /// The first offset that can be delivered.
    pub start: u64,
    /// The offset of the next record to be accepted.
    pub end: u64,
}

/// What a pattern of topics covered when its subscription began (rule W2).
///
/// ```
/// # use zaichik_client::{Answer, PatternOptions};
/// # use zaichik_proto::TopicOptions;
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// client.create_topic(now, "orders.new", &TopicOptions::new())?;
/// client.subscribe_pattern(now, "orders.*", PatternOptions::new())?;
/// broker.serve(now, &mut client);
/// let answers = std::iter::from_fn(|| client.poll_answer());
/// let Some((_, Ok(Answer::PatternSubscribed(begun)))) = answers.last() else { panic!("not subscribed") };
/// assert_eq!(begun.topics, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PatternStart {
    /// The pattern's subscription.
    pub subscription: SubscriptionId,
    /// The number of topics that exist and are subscribed to.
    pub topics: u32,
}
