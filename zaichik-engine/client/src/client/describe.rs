//! What the broker has and counted, for tools: asked for a page at a time (docs/protocol.md §6.15, §6.16).

use core::time::Duration;
use std::sync::Arc;

use zaichik_proto::{
    ClientFrame, Counters, Describe, Page, RemoveDurable, Subject, SubscriptionItem, TopicItem, TopicName,
    TopicOptions,
};

use super::Client;
use super::publish::encode;
use super::subscribe::check_durable_name;
use crate::answer::{Answer, RequestId};
use crate::error::{RequestError, Violation};
use crate::requests::request::{About, Kind};
use zaichik_proto::Timestamp;

/// More than a request with two names needs, in bytes.
const DESCRIBE_FRAME: usize = 600;

/// A topic as it was when the broker was asked.
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
    /// Whether it was created explicitly, or its settings were changed since.
    pub explicit: bool,
    /// All of its settings.
    pub settings: TopicOptions,
    /// The lowest offset that may be live; where nothing is live it is the end.
    pub start: u64,
    /// The offset of the next record.
    pub end: u64,
    /// Records between them that are there, the superseded ones not counted.
    pub messages: u64,
    /// Their bytes, as `max_bytes` counts them.
    pub bytes: u64,
    /// Keys that it remembers.
    pub keys: u64,
    /// Its subscriptions, detached ones included.
    pub subscriptions: u32,
    /// Bytes of memory that it takes, everything included.
    pub memory: u64,
}

/// A subscription as it was when the broker was asked.
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
    /// Whether a connection has it.
    pub attached: bool,
    /// Its epoch; 0 for one that is not durable.
    pub epoch: u32,
    /// Most records delivered and not committed; 0 for commits turned off.
    pub window: u32,
    /// The first offset that is not committed.
    pub cursor: u64,
    /// The first offset that was not delivered.
    pub next: u64,
    /// The topic's end: the offset of the next record.
    pub end: u64,
    /// How long it is still kept without a connection; `None` while it has one, or for ever.
    pub expires_in: Option<Duration>,
}

impl SubscriptionInfo {
    /// Offsets that are not committed yet; some of them may be gone, or superseded.
    #[must_use]
    pub const fn lag(&self) -> u64 {
        self.end.saturating_sub(self.cursor)
    }
}

impl Client {
    /// Asks for the broker's counters; answered by [`Answer::Counters`].
    ///
    /// # Errors
    /// [`RequestError::Full`], [`RequestError::Closed`]. Nothing was sent.
    pub fn describe_broker(&mut self, now: Timestamp) -> Result<RequestId, RequestError> {
        self.describe(now, Arc::default(), About::Broker, Subject::Broker)
    }

    /// Asks for a page of topics, in the order in which they were created; answered by [`Answer::Topics`]. The first
    /// page begins at 0.
    ///
    /// # Errors
    /// As [`describe_broker`](Self::describe_broker).
    pub fn describe_topics(&mut self, now: Timestamp, from: u32) -> Result<RequestId, RequestError> {
        self.describe(now, Arc::default(), About::Topics, Subject::Topics { from })
    }

    /// Asks for one topic, without creating it; answered by [`Answer::Topics`] with this one.
    ///
    /// # Errors
    /// [`RequestError::InvalidTopic`], and as [`describe_broker`](Self::describe_broker).
    pub fn describe_topic(&mut self, now: Timestamp, topic: &str) -> Result<RequestId, RequestError> {
        let shared = self.checked_topic(topic)?;
        self.describe(now, shared, About::Topics, Subject::Topic { topic: topic.as_bytes() })
    }

    /// Asks for a page of subscriptions, of one topic or of all; answered by [`Answer::Subscriptions`]. The first page
    /// begins at 0; one that is there all the while is on exactly one page.
    ///
    /// # Errors
    /// As [`describe_topic`](Self::describe_topic).
    pub fn describe_subscriptions(
        &mut self,
        now: Timestamp,
        topic: Option<&str>,
        from: u32,
    ) -> Result<RequestId, RequestError> {
        let shared = topic.map_or_else(|| Ok(Arc::default()), |topic| self.checked_topic(topic))?;
        let subject = Subject::Subscriptions { from, topic: topic.unwrap_or_default().as_bytes() };
        self.describe(now, shared, About::Subscriptions, subject)
    }

    /// Asks for one durable subscription; answered by [`Answer::Subscriptions`] with this one.
    ///
    /// # Errors
    /// [`RequestError::InvalidDurableName`], and as [`describe_topic`](Self::describe_topic).
    pub fn describe_durable(
        &mut self,
        now: Timestamp,
        topic: &str,
        name: &str,
    ) -> Result<RequestId, RequestError> {
        let shared = self.checked_topic(topic)?;
        check_durable_name(name)?;
        let subject = Subject::Durable { topic: topic.as_bytes(), name };
        self.describe(now, shared, About::Subscriptions, subject)
    }

    /// Ends a durable subscription that no connection has, for good; answered by [`Answer::Removed`].
    ///
    /// # Errors
    /// As [`describe_durable`](Self::describe_durable).
    pub fn remove_durable(
        &mut self,
        now: Timestamp,
        topic: &str,
        name: &str,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        let shared = self.checked_topic(topic)?;
        check_durable_name(name)?;
        self.ask(shared, Kind::RemoveDurable, |request| {
            ClientFrame::RemoveDurable(RemoveDurable { request, topic: topic.as_bytes(), name })
        })
    }

    pub(super) fn counted(&mut self, counters: &Counters<'_>) -> Result<(), Violation> {
        let values = counters.values.iter().collect();
        self.answered(counters.request, &Kind::Describe(About::Broker), Answer::Counters(values))
    }

    pub(super) fn topics_described(&mut self, page: &Page<'_, TopicItem<'_>>) -> Result<(), Violation> {
        let topics = page.items.iter().map(topic_info).collect();
        let answer = Answer::Topics { topics, next: page.next };
        self.answered(page.request, &Kind::Describe(About::Topics), answer)
    }

    pub(super) fn subscriptions_described(
        &mut self,
        page: &Page<'_, SubscriptionItem<'_>>,
    ) -> Result<(), Violation> {
        let subscriptions = page.items.iter().map(subscription_info).collect();
        let answer = Answer::Subscriptions { subscriptions, next: page.next };
        self.answered(page.request, &Kind::Describe(About::Subscriptions), answer)
    }

    fn describe(
        &mut self,
        now: Timestamp,
        topic: Arc<str>,
        about: About,
        subject: Subject<'_>,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.ask(topic, Kind::Describe(about), |request| ClientFrame::Describe(Describe { request, subject }))
    }

    fn ask<'f>(
        &mut self,
        topic: Arc<str>,
        kind: Kind,
        frame: impl FnOnce(u32) -> ClientFrame<'f>,
    ) -> Result<RequestId, RequestError> {
        self.admit()?;
        let deadline = self.after(self.config.request_timeout);
        let (_, id) = self.inflight.insert(topic, kind, deadline, |request| {
            encode(&mut self.arena, DESCRIBE_FRAME, &frame(request))
        });
        self.settle();
        Ok(id)
    }

    fn checked_topic(&mut self, topic: &str) -> Result<Arc<str>, RequestError> {
        let name = TopicName::parse(topic.as_bytes()).map_err(RequestError::InvalidTopic)?;
        Ok(self.shared_topic(name))
    }
}

fn topic_info(item: TopicItem<'_>) -> TopicInfo {
    let TopicItem { name, explicit, settings, start, end, messages, bytes, keys, subscriptions, memory } =
        item;
    let name = name.to_owned();
    TopicInfo { name, explicit, settings, start, end, messages, bytes, keys, subscriptions, memory }
}

fn subscription_info(item: SubscriptionItem<'_>) -> SubscriptionInfo {
    let SubscriptionItem { topic, name, attached, epoch, window, cursor, next, end, expires_in_micros } =
        item;
    let (topic, name) = (topic.to_owned(), name.to_owned());
    let expires_in = (expires_in_micros != u64::MAX).then(|| Duration::from_micros(expires_in_micros));
    SubscriptionInfo { topic, name, attached, epoch, window, cursor, next, end, expires_in }
}
