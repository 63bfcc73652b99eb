//! Requests that describe the broker, its topics and subscriptions, for tools and dashboards (docs/protocol.md §6.15,
//! §6.16).

use std::time::Duration;

use zaichik_client::{Answer, Client as Machine, SharedInfo, SubscriptionInfo, TopicInfo};
use zaichik_proto::{Counter, CounterValue, Limits};

use super::{Client, ClientError, mismatch};
use crate::runtime::Runtime;

/// The state of the broker at the time of the request.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, Counter, EmbeddedBroker, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// let client = broker.client();
/// client.publish("orders", "one tea").await?;
/// let info = client.broker_info().await?;
/// assert_eq!(info.counter(Counter::RecordsIn), Some(1));
/// assert_eq!(info.counter(Counter::Topics), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerInfo {
    /// Its name and version.
    pub server: String,
    /// The protocol version of the connection.
    pub protocol: u16,
    /// Its instance. Offsets are valid within one instance only.
    pub instance: u128,
    /// The limits of a connection.
    pub limits: Limits,
    /// Its counters, in the order of their codes.
    pub counters: Vec<CounterValue>,
}

impl BrokerInfo {
    /// A counter's value; `None` if the broker does not have it.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> Option<u64> {
        self.counters.iter().find(|value| value.counter == counter).map(|value| value.value)
    }

    /// How long the broker has run.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        Duration::from_micros(self.counter(Counter::Uptime).unwrap_or_default())
    }
}

impl<R: Runtime> Client<R> {
    /// The broker's name, limits and counters.
    ///
    /// # Errors
    /// [`ClientError::Request`] if the connection breaks before the answer.
    pub async fn broker_info(&self) -> Result<BrokerInfo, ClientError> {
        let answer = self.ask(Machine::describe_broker).await?;
        let Answer::Counters(counters) = answer else {
            return Err(mismatch(&answer));
        };
        Ok(self.owner.core().quietly(|state, _| BrokerInfo {
            server: state.machine.server().to_owned(),
            protocol: state.machine.protocol().number(),
            instance: state.machine.instance().unwrap_or_default(),
            limits: *state.machine.limits(),
            counters,
        }))
    }

    /// All topics, in the order of their creation. They are requested page by page, so a topic created meanwhile may be
    /// missing.
    ///
    /// # Errors
    /// [`ClientError::Request`] if the connection breaks before the answer.
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, ClientError> {
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(page) = from {
            let answer = self.ask(move |machine, now| machine.describe_topics(now, page)).await?;
            let Answer::Topics { topics, next } = answer else {
                return Err(mismatch(&answer));
            };
            all.extend(topics);
            from = next;
        }
        Ok(all)
    }

    /// One topic. A missing topic is not created.
    ///
    /// # Errors
    /// [`ClientError::Request`] with `UnknownTopic` if there is none, or as for any request.
    pub async fn topic(&self, topic: &str) -> Result<TopicInfo, ClientError> {
        let topic = topic.to_owned();
        let answer = self.ask(move |machine, now| machine.describe_topic(now, &topic)).await?;
        let Answer::Topics { mut topics, .. } = answer else {
            return Err(mismatch(&answer));
        };
        topics.pop().ok_or(ClientError::Abandoned)
    }

    /// Subscriptions of one topic, or of all: durable ones, attached or not, and those that end with their connection,
    /// which have no name.
    ///
    /// # Errors
    /// [`ClientError::Request`] with `UnknownTopic` if there is no such topic, or as for any request.
    pub async fn subscriptions(&self, topic: Option<&str>) -> Result<Vec<SubscriptionInfo>, ClientError> {
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(page) = from {
            let topic = topic.map(str::to_owned);
            let ask =
                self.ask(move |machine, now| machine.describe_subscriptions(now, topic.as_deref(), page));
            let answer = ask.await?;
            let Answer::Subscriptions { subscriptions, next } = answer else {
                return Err(mismatch(&answer));
            };
            all.extend(subscriptions);
            from = next;
        }
        Ok(all)
    }

    /// One durable subscription.
    ///
    /// # Errors
    /// [`ClientError::Request`] with `UnknownTopic` or `NotSubscribed` if there is none, or as for any
    /// request.
    pub async fn subscription(&self, topic: &str, name: &str) -> Result<SubscriptionInfo, ClientError> {
        let (topic, name) = (topic.to_owned(), name.to_owned());
        let answer = self.ask(move |machine, now| machine.describe_durable(now, &topic, &name)).await?;
        let Answer::Subscriptions { mut subscriptions, .. } = answer else {
            return Err(mismatch(&answer));
        };
        subscriptions.pop().ok_or(ClientError::Abandoned)
    }

    /// One shared subscription: what is in flight, what waits and what blocks, and its members (rule G11).
    ///
    /// # Errors
    /// [`ClientError::Request`] with `UnknownTopic` or `NotSubscribed` if there is none, with `ModeDiffers` if it is not
    /// shared, with `Unsupported` if the broker is too old for it, or as for any request.
    pub async fn shared_subscription(&self, topic: &str, name: &str) -> Result<SharedInfo, ClientError> {
        let (topic, name) = (topic.to_owned(), name.to_owned());
        let answer = self.ask(move |machine, now| machine.describe_shared(now, &topic, &name)).await?;
        let Answer::Shared(info) = answer else {
            return Err(mismatch(&answer));
        };
        Ok(*info)
    }

    /// Removes a durable subscription: its cursor is forgotten, and no messages are kept for it.
    ///
    /// # Errors
    /// [`ClientError::Request`] with `SubscriptionHeld` while a connection holds it, with `UnknownTopic` or
    /// `NotSubscribed` if there is none, or as for any request.
    pub async fn remove_subscription(&self, topic: &str, name: &str) -> Result<(), ClientError> {
        let (topic, name) = (topic.to_owned(), name.to_owned());
        self.ask(move |machine, now| machine.remove_durable(now, &topic, &name)).await?;
        Ok(())
    }
}
