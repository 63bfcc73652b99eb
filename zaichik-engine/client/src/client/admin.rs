//! Topics, descriptions of the broker's state, and pings (docs/protocol.md §6.15, §6.16).

use std::sync::Arc;

use zaichik_proto::{
    AlterTopic, ClientFrame, CreateTopic, Describe, RemoveDurable, Start, Subject, Timestamp, TopicOptions,
    TrimTopic,
};

use super::Client;
use super::subscribe::check_durable_name;
use crate::answer::RequestId;
use crate::error::RequestError;
use crate::requests::{Described, PageFrom, RequestKind};

impl Client {
    /// Creates a topic, or applies the settings to an implicit one; answered by [`Answer::Topic`](crate::Answer::Topic)
    /// (rules T2 to T4).
    ///
    /// # Errors
    /// [`RequestError::InvalidTopic`], [`Full`](RequestError::Full), [`Closed`](RequestError::Closed): nothing was
    /// sent.
    pub fn create_topic(
        &mut self,
        now: Timestamp,
        topic: &str,
        options: &TopicOptions,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        let shared = self.check_topic(topic)?;
        self.ask(shared, RequestKind::CreateTopic, |request| {
            ClientFrame::CreateTopic(CreateTopic { request, topic: topic.as_bytes(), options: *options })
        })
    }

    /// Changes an explicit topic's settings in place; answered by [`Answer::Altered`](crate::Answer::Altered)
    /// (rule T7).
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub fn alter_topic(
        &mut self,
        now: Timestamp,
        topic: &str,
        options: &TopicOptions,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        let shared = self.check_topic(topic)?;
        self.ask(shared, RequestKind::AlterTopic, |request| {
            ClientFrame::AlterTopic(AlterTopic { request, topic: topic.as_bytes(), options: *options })
        })
    }

    /// Removes the records of a topic before a point: before an offset, accepted before a time, or with [`Start::Latest`]
    /// all of them; answered by [`Answer::Trimmed`](crate::Answer::Trimmed) (rule R10).
    ///
    /// A broker that does not offer it gets no request; then the answer is a refusal, with
    /// [`Unsupported`](zaichik_proto::RefusalCode::Unsupported).
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub fn trim_topic(
        &mut self,
        now: Timestamp,
        topic: &str,
        before: Start,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        let shared = self.check_topic(topic)?;
        self.ask(shared, RequestKind::TrimTopic(before), |request| {
            ClientFrame::TrimTopic(TrimTopic { request, topic: topic.as_bytes(), before })
        })
    }

    /// Asks for the broker's counters; answered by [`Answer::Counters`](crate::Answer::Counters).
    ///
    /// # Errors
    /// [`RequestError::Full`], [`RequestError::Closed`]. Nothing was sent.
    pub fn describe_broker(&mut self, now: Timestamp) -> Result<RequestId, RequestError> {
        self.describe(now, Arc::default(), Described::Broker, Subject::Broker)
    }

    /// Asks for a page of topics, in the order of their creation; answered by
    /// [`Answer::Topics`](crate::Answer::Topics). The first page begins at 0.
    ///
    /// # Errors
    /// As [`describe_broker`](Self::describe_broker).
    pub fn describe_topics(&mut self, now: Timestamp, from: u32) -> Result<RequestId, RequestError> {
        self.describe(now, Arc::default(), Described::Topics(PageFrom(from)), Subject::Topics { from })
    }

    /// Asks for one topic, without creating it; answered by [`Answer::Topics`](crate::Answer::Topics) with only this
    /// topic.
    ///
    /// # Errors
    /// [`RequestError::InvalidTopic`], and as [`describe_broker`](Self::describe_broker).
    pub fn describe_topic(&mut self, now: Timestamp, topic: &str) -> Result<RequestId, RequestError> {
        let shared = self.check_topic(topic)?;
        self.describe(
            now,
            shared,
            Described::Topics(PageFrom::SINGLE),
            Subject::Topic { topic: topic.as_bytes() },
        )
    }

    /// Asks for a page of subscriptions, of one topic or of all; answered by
    /// [`Answer::Subscriptions`](crate::Answer::Subscriptions). The first page begins at 0. A subscription that exists
    /// throughout is on exactly one page.
    ///
    /// # Errors
    /// As [`describe_topic`](Self::describe_topic).
    pub fn describe_subscriptions(
        &mut self,
        now: Timestamp,
        topic: Option<&str>,
        from: u32,
    ) -> Result<RequestId, RequestError> {
        let shared = topic.map_or_else(|| Ok(Arc::default()), |topic| self.check_topic(topic))?;
        let subject = Subject::Subscriptions { from, topic: topic.unwrap_or_default().as_bytes() };
        self.describe(now, shared, Described::Subscriptions(PageFrom(from)), subject)
    }

    /// Asks for one durable subscription; answered by [`Answer::Subscriptions`](crate::Answer::Subscriptions) with only
    /// it.
    ///
    /// # Errors
    /// [`RequestError::InvalidDurableName`], and as [`describe_topic`](Self::describe_topic).
    pub fn describe_durable(
        &mut self,
        now: Timestamp,
        topic: &str,
        name: &str,
    ) -> Result<RequestId, RequestError> {
        let shared = self.check_topic(topic)?;
        check_durable_name(name)?;
        let subject = Subject::Durable { topic: topic.as_bytes(), name };
        self.describe(now, shared, Described::Subscriptions(PageFrom::SINGLE), subject)
    }

    /// Removes a durable subscription that no connection holds; answered by
    /// [`Answer::Removed`](crate::Answer::Removed).
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
        let shared = self.check_topic(topic)?;
        check_durable_name(name)?;
        self.ask(shared, RequestKind::RemoveDurable, |request| {
            ClientFrame::RemoveDurable(RemoveDurable { request, topic: topic.as_bytes(), name })
        })
    }

    /// Checks that the broker responds; answered by [`Answer::Pong`](crate::Answer::Pong).
    ///
    /// # Errors
    /// [`RequestError::Full`], [`RequestError::Closed`].
    pub fn ping(&mut self, now: Timestamp) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.ask(Arc::default(), RequestKind::Ping, |request| ClientFrame::Ping { nonce: u64::from(request) })
    }

    fn describe(
        &mut self,
        now: Timestamp,
        topic: Arc<str>,
        described: Described,
        subject: Subject<'_>,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.ask(topic, RequestKind::Describe(described), |request| {
            ClientFrame::Describe(Describe { request, subject })
        })
    }
}
