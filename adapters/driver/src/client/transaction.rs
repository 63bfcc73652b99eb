//! Publishes and commits that take effect together or not at all.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zaichik_client::{
    Answer, Batch, BatchReceipt, OffsetRange, PublishOptions, RequestError, SubscriptionId,
};
use zaichik_proto::AckLevel;

use super::core::Owner;
use super::delivery::Delivery;
use super::error::ClientError;
use super::outgoing::Outgoing;
use super::request::Request;
use super::subscription::Subscription;

/// A transaction under construction; nothing is sent before [`send`](Self::send) (chapter X).
///
/// At most 1,000 operations, and at most the bytes of one frame. `send` reports an operation that is invalid.
/// With a durable subscription, consuming, transforming and producing in one transaction gives exactly one output
/// for each input, whatever fails in between.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, TopicOptions};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # let client = broker.client();
/// // By default a topic keeps nothing for later subscribers.
/// client.create_topic("invoices", TopicOptions::new().retain_forever()).await?;
/// let mut orders = client.subscribe("orders").durable("billing").await?;
/// client.publish("orders", "one tea").await?;
/// if let Some(order) = orders.next_message().await? {
///     let invoice = format!("invoice for {:?}", order.body);
///     client.transaction().publish("invoices", invoice).commit(&order).send().await?; // both, or neither
/// }
/// assert_eq!(client.topic("invoices").await?.messages, 1);
/// assert_eq!(client.subscription("orders", "billing").await?.lag(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[must_use = "nothing is sent before send"]
pub struct Transaction {
    owner: Arc<Owner>,
    batch: Batch,
    options: PublishOptions,
    /// Why an operation is impossible.
    invalid: Option<RequestError>,
}

impl Transaction {
    pub(super) fn new(owner: Arc<Owner>) -> Self {
        Self { owner, batch: Batch::new(), options: PublishOptions::new(), invalid: None }
    }

    /// How long to wait for the answer, and to retry after temporary refusals. Default 30 s.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Waits until the messages are on disk. A broker without a disk refuses this. Default: until they are in its log.
    pub const fn durable(mut self) -> Self {
        self.options.ack = AckLevel::Durable;
        self
    }

    /// Publishes a message as part of the transaction.
    pub fn publish(self, topic: &str, message: impl Into<Outgoing>) -> Self {
        self.add(topic, &[message.into()])
    }

    /// Publishes messages to one topic as part of the transaction.
    pub fn publish_all(self, topic: &str, messages: impl IntoIterator<Item = impl Into<Outgoing>>) -> Self {
        self.add(topic, &messages.into_iter().map(Into::into).collect::<Vec<_>>())
    }

    /// Commits this message and all before it as part of the transaction. The message must have come from this client or a
    /// clone of it.
    pub fn commit(self, delivery: &Delivery) -> Self {
        let is_own = delivery.is_of(&self.owner);
        self.commit_offset(delivery.subscription(), is_own, delivery.offset)
    }

    /// Commits everything up to and including `offset` as part of the transaction. The subscription must be one of this
    /// client or a clone of it.
    pub fn commit_to(self, subscription: &Subscription, offset: u64) -> Self {
        let is_own = subscription.is_of(&self.owner);
        self.commit_offset(subscription.id(), is_own, offset)
    }

    /// Acknowledges this message of a shared subscription as part of the transaction (rule G9). The message must have come from
    /// this client or a clone of it, which must still hold it.
    pub fn ack(mut self, delivery: &Delivery) -> Self {
        match delivery.hold() {
            Ok(hold) if delivery.is_of(&self.owner) => {
                self.batch.ack(hold, &[OffsetRange { first: delivery.offset, count: 1 }]);
            }
            Ok(_) => self.invalid = Some(RequestError::NoSubscription(delivery.subscription())),
            Err(error) => self.invalid = Some(error),
        }
        self
    }

    /// Sends the transaction; ready when the broker has applied all of it.
    ///
    /// # Errors
    /// [`ClientError::class`] says whether the transaction had no effect and can be retried, or its outcome is unknown.
    /// [`RequestError::NotApplied`]: the connection broke, nothing was applied, and the messages are redelivered.
    /// [`RequestError::NoSubscription`]: a commit or an acknowledgement is for a subscription of another client, or one that has ended.
    pub async fn send(self) -> Result<BatchReceipt, ClientError> {
        let Self { owner, batch, options, invalid } = self;
        if let Some(error) = invalid {
            return Err(error.into());
        }
        let ask = Request::new(owner.core(), move |machine, now| machine.send_batch(now, &batch, options));
        let answer = ask.await?;
        let Answer::Batched(receipt) = answer else {
            return Err(super::mismatch(&answer));
        };
        Ok(receipt)
    }

    fn add(mut self, topic: &str, messages: &[Outgoing]) -> Self {
        Outgoing::with_records(messages, |records| {
            self.batch.publish(topic, records);
        });
        self
    }

    fn commit_offset(mut self, subscription: SubscriptionId, is_own: bool, offset: u64) -> Self {
        if is_own {
            self.batch.commit(subscription, offset);
        } else {
            self.invalid = Some(RequestError::NoSubscription(subscription));
        }
        self
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("operations", &self.batch.len()).finish_non_exhaustive()
    }
}
