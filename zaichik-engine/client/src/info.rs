//! Topics and subscriptions as the broker describes them (docs/protocol.md §6.15, §6.16).

use core::time::Duration;

use zaichik_proto::{SubscriptionItem, TopicItem, TopicOptions};

/// A topic's state at the time of the request.
///
/// ```
/// # use zaichik_proto::TopicOptions;
/// # use zaichik_client::Answer;
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// client.create_topic(now, "orders", &TopicOptions::new())?;
/// client.describe_topic(now, "orders")?;
/// broker.serve(now, &mut client);
/// # client.poll_answer();
/// let Some((_, Ok(Answer::Topics { topics, .. }))) = client.poll_answer() else { panic!("not described") };
/// assert!(topics[0].explicit);
/// assert_eq!((&topics[0].name[..], topics[0].end), ("orders", 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Whether it was created explicitly, or its settings were changed later.
    pub explicit: bool,
    /// All of its settings.
    pub settings: TopicOptions,
    /// The lowest offset that may be live; the end if none is.
    pub start: u64,
    /// The offset of the next record.
    pub end: u64,
    /// Live records between them, without superseded ones.
    pub messages: u64,
    /// Their bytes, as `max_bytes` counts them.
    pub bytes: u64,
    /// The number of keys that it remembers.
    pub keys: u64,
    /// The number of its subscriptions, detached ones included.
    pub subscriptions: u32,
    /// Bytes of memory that it uses in total.
    pub memory: u64,
}

/// A subscription's state at the time of the request.
///
/// ```
/// # use zaichik_client::{Answer, DurableOptions, SubscribeOptions};
/// # let (now, mut client, mut broker) = zaichik_testkit::connected();
/// client.subscribe(now, "orders", SubscribeOptions::new().durable(DurableOptions::new("billing")))?;
/// let asked = client.describe_durable(now, "orders", "billing")?;
/// broker.serve(now, &mut client);
/// let answer = std::iter::from_fn(|| client.poll_answer()).find(|(id, _)| *id == asked);
/// let Some((_, Ok(Answer::Subscriptions { subscriptions, .. }))) = answer else { panic!("not described") };
/// assert!(subscriptions[0].attached);
/// assert_eq!(subscriptions[0].lag(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// Its topic.
    pub topic: String,
    /// The durable name; empty for one that ends with its connection.
    pub name: String,
    /// Whether a connection holds it.
    pub attached: bool,
    /// Its epoch; 0 for one that is not durable.
    pub epoch: u32,
    /// Maximum records delivered and not committed; 0 if commits are off.
    pub window: u32,
    /// The first offset that is not committed.
    pub cursor: u64,
    /// The first offset that was not delivered.
    pub next: u64,
    /// The topic's end: the offset of the next record.
    pub end: u64,
    /// How much longer it is kept without a connection; `None` while it has one, or if there is no limit.
    pub expires_in: Option<Duration>,
}

impl SubscriptionInfo {
    /// The number of uncommitted offsets; some of them may have been removed or superseded.
    #[must_use]
    pub const fn lag(&self) -> u64 {
        self.end.saturating_sub(self.cursor)
    }
}

impl From<TopicItem<'_>> for TopicInfo {
    fn from(item: TopicItem<'_>) -> Self {
        let TopicItem { name, explicit, settings, start, end, messages, bytes, keys, subscriptions, memory } =
            item;
        let name = name.to_owned();
        Self { name, explicit, settings, start, end, messages, bytes, keys, subscriptions, memory }
    }
}

impl From<SubscriptionItem<'_>> for SubscriptionInfo {
    fn from(item: SubscriptionItem<'_>) -> Self {
        let SubscriptionItem { topic, name, attached, epoch, window, cursor, next, end, expires_in_micros } =
            item;
        let (topic, name) = (topic.to_owned(), name.to_owned());
        let expires_in = (expires_in_micros != u64::MAX).then(|| Duration::from_micros(expires_in_micros));
        Self { topic, name, attached, epoch, window, cursor, next, end, expires_in }
    }
}
