//! The async client: handles on a connection that is restored when it breaks.

mod builder;
pub(crate) mod core;
mod delivery;
mod describe;
mod error;
mod loss;
mod membership;
mod outgoing;
mod pattern;
mod pending_receipt;
mod publish;
mod publisher;
mod readers;
mod replies;
mod request;
mod room;
mod settle;
mod subscribe;
mod subscribe_pattern;
mod subscription;
mod target;
mod task;
mod transaction;
mod wakes;

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Poll;

use zaichik_client::{Answer, Client as Machine, RequestError, RequestId, TrimReceipt};
use zaichik_proto::{Refusal, Start, Timestamp, TopicOptions, TopicStatus};

pub use builder::ClientBuilder;
pub use delivery::Delivery;
pub use describe::BrokerInfo;
pub use error::ClientError;
pub use loss::{Losses, OnLoss};
pub use outgoing::Outgoing;
pub use pattern::PatternSubscription;
pub use pending_receipt::PendingReceipt;
pub use publish::{Publish, UnacknowledgedPublish};
pub use publisher::Publisher;
pub use subscribe::Subscribe;
pub use subscribe_pattern::SubscribePattern;
pub use subscription::Subscription;
pub use transaction::Transaction;

use self::core::Owner;
use crate::runtime::Runtime;
use request::Request;

/// A client of a broker; cheap to clone, every clone is the same client.
///
/// One background task moves its bytes, reconnects when the connection breaks, restores subscriptions and resends
/// unanswered requests (rule P4). Once all clones, [`Subscription`]s and [`Publisher`]s are dropped, the task
/// waits for outstanding answers, up to the drain timeout, and ends.
///
/// The task ends with its runtime, though, and what was only [enqueued](Publish::enqueue) may be lost then: a program
/// ends with [`close`](Self::close), which waits until everything is answered. A client whose runtime ends first logs a
/// warning with the number of unanswered publishes, if the runtime drops its tasks.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// let client = broker.client(); // over a socket: Client::connect("127.0.0.1:8889").await?
/// let mut greetings = client.subscribe("greetings").await?;
/// let receipt = client.publish("greetings", "hello").await?;
/// assert_eq!(receipt.offset(0), Some(0));
/// let message = greetings.next_message().await?.expect("the subscription continues");
/// assert_eq!(message.body, "hello");
/// message.commit().await?;
/// client.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
pub struct Client<R: Runtime> {
    owner: Arc<Owner>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Client<R> {
    pub(crate) const fn new(owner: Arc<Owner>) -> Self {
        Self { owner, runtime: PhantomData }
    }

    /// Connects to the broker at `address` (`host:port`, or `zaichik://host:port`) with defaults for everything.
    ///
    /// # Errors
    /// [`ClientError::Connect`] or [`ClientError::Ended`]: the broker can't be reached, or rejected the
    /// client.
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        Self::builder(address).connect().await
    }

    /// Begins a client's configuration; the address is as for [`connect`](Self::connect).
    pub fn builder(address: &str) -> ClientBuilder<R> {
        ClientBuilder::new(address)
    }

    /// Creates a topic; a topic that was created implicitly adopts these settings (rules T2 to T4).
    ///
    /// # Errors
    /// [`ClientError::Request`] if it exists with other settings, or as for any request.
    pub async fn create_topic(&self, topic: &str, options: TopicOptions) -> Result<TopicStatus, ClientError> {
        let topic = topic.to_owned();
        let answer = self.ask(move |machine, now| machine.create_topic(now, &topic, &options)).await?;
        let Answer::Topic(status) = answer else {
            return Err(mismatch(&answer));
        };
        Ok(status)
    }

    /// Changes settings of a topic in place (rule T7).
    ///
    /// # Errors
    /// [`ClientError::Request`] if the broker refuses.
    pub async fn alter_topic(&self, topic: &str, options: TopicOptions) -> Result<(), ClientError> {
        let topic = topic.to_owned();
        self.ask(move |machine, now| machine.alter_topic(now, &topic, &options)).await?;
        Ok(())
    }

    /// Removes the messages of a topic before a point, as a limit does: before an offset, accepted before a time, or with
    /// [`Start::Latest`] all of them. Subscriptions that have not reached them get a gap (rule R10).
    ///
    /// ```
    /// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, Start, TopicOptions};
    /// # Simulation::new().run(async {
    /// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    /// let client = broker.client();
    /// client.create_topic("orders", TopicOptions::new().retain_forever()).await?;
    /// for order in ["tea", "cake", "coffee"] {
    ///     client.publish("orders", order).await?;
    /// }
    /// let trimmed = client.trim_topic("orders", Start::Offset(2)).await?;
    /// assert_eq!((trimmed.start, trimmed.removed), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).expect("it works");
    /// ```
    ///
    /// # Errors
    /// [`ClientError::Request`] if there is no such topic, the broker is too old for it
    /// ([`Unsupported`](zaichik_proto::RefusalCode::Unsupported)), or as for any request.
    pub async fn trim_topic(&self, topic: &str, before: Start) -> Result<TrimReceipt, ClientError> {
        let topic = topic.to_owned();
        let answer = self.ask(move |machine, now| machine.trim_topic(now, &topic, before)).await?;
        let Answer::Trimmed(receipt) = answer else {
            return Err(mismatch(&answer));
        };
        Ok(receipt)
    }

    /// Publishes a message. Await the returned future for the receipt, or configure it first.
    ///
    /// Messages are stored in the order in which the futures are first polled (rule P6).
    ///
    /// If it fails, [`ClientError::class`] says whether the message was refused or its outcome is unknown.
    pub fn publish<'a>(&self, topic: &'a str, message: impl Into<Outgoing>) -> Publish<'a> {
        Publish::one(self.owner.core(), topic, message.into())
    }

    /// Publishes messages in one step: either all of them are accepted or none, and no other message is stored between them.
    ///
    /// ```
    /// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
    /// # Simulation::new().run(async {
    /// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    /// # let client = broker.client();
    /// let receipt = client.publish_all("orders", ["one tea", "two coffees"]).await?;
    /// assert_eq!((receipt.offset(0), receipt.offset(1)), (Some(0), Some(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).expect("it works");
    /// ```
    pub fn publish_all<'a>(
        &self,
        topic: &'a str,
        messages: impl IntoIterator<Item = impl Into<Outgoing>>,
    ) -> Publish<'a> {
        Publish::many(self.owner.core(), topic, messages.into_iter().map(Into::into).collect())
    }

    /// Begins a transaction: publishes and commits that take effect together or not at all.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(Arc::clone(&self.owner))
    }

    /// A sink that publishes to one topic with many messages in flight.
    #[must_use]
    pub fn publisher(&self, topic: &str) -> Publisher {
        Publisher::new(Arc::clone(&self.owner), topic)
    }

    /// Subscribes to a topic. Await the returned future, or configure it first.
    pub fn subscribe(&self, topic: &str) -> Subscribe {
        Subscribe::new(Arc::clone(&self.owner), topic)
    }

    /// Subscribes to every topic whose name matches a pattern, those that exist and those that are created later (chapter W).
    /// Await the returned future, or configure it first.
    ///
    /// The parts of a name between dots are its segments: `*` stands for any one of them, and `>` as the last one for one or
    /// more.
    pub fn subscribe_pattern(&self, pattern: &str) -> SubscribePattern {
        SubscribePattern::new(Arc::clone(&self.owner), pattern)
    }

    /// Moves the cursor of a durable subscription, whether or not a connection holds it (rule D6).
    ///
    /// # Errors
    /// [`ClientError::Request`] if there is no such topic or subscription, or as for any request.
    pub async fn seek(&self, topic: &str, name: &str, to: Start) -> Result<(), ClientError> {
        let (topic, name) = (topic.to_owned(), name.to_owned());
        self.ask(move |machine, now| machine.seek_durable(now, &topic, &name, to)).await?;
        Ok(())
    }

    /// Commits everything up to and including the last message taken, in its subscription (rule A2); ready when the
    /// broker has the commit. With several subscriptions, [`Delivery::commit`] is clearer.
    ///
    /// # Errors
    /// [`ClientError::Request`] if no message was taken yet, and as for [`Delivery::commit`].
    pub async fn commit(&self) -> Result<(), ClientError> {
        // A message that is taken while the commit waits for room is not part of it.
        let last = self.owner.core().quietly(|state, _| state.machine.last_taken());
        let (subscription, offset) = last.ok_or(RequestError::NothingToCommit)?;
        self.ask(move |machine, now| machine.commit(now, subscription, offset)).await?;
        Ok(())
    }

    /// Checks that the broker responds. The response may arrive before answers to earlier requests.
    ///
    /// # Errors
    /// [`ClientError::Request`] if the connection breaks before the answer.
    pub async fn ping(&self) -> Result<(), ClientError> {
        self.ask(Machine::ping).await?;
        Ok(())
    }

    /// The broker instance that the client was last connected to. Offsets are valid within one instance only.
    #[must_use]
    pub fn instance(&self) -> Option<u128> {
        self.owner.core().quietly(|state, _| state.machine.instance())
    }

    /// Refusals, since the last call, of messages that were published without an acknowledgement, and of
    /// [quiet acks](Delivery::ack_quiet): their number and the latest refusal.
    #[must_use]
    pub fn take_refused(&self) -> Option<(u64, Refusal)> {
        self.owner.core().quietly(|state, _| state.machine.poll_refused())
    }

    /// Closes all clones of this client: waits for outstanding answers, up to the drain timeout (10 s by default).
    ///
    /// The last call of a program that publishes: `main` returns without waiting for the background task, so messages
    /// whose receipts nobody awaited may not even be sent.
    ///
    /// # Errors
    /// [`ClientError::Ended`] if a request was left unanswered, or the client had failed before.
    pub async fn close(self) -> Result<(), ClientError> {
        let core = self.owner.core();
        core.update(|state, now| state.machine.close(now));
        poll_fn(|cx| {
            core.quietly(|state, _| {
                if let Some(over) = state.over() {
                    return Poll::Ready(over);
                }
                state.watch_link(cx.waker());
                Poll::Pending
            })
        })
        .await
    }

    /// Waits until the connection is open, or, for `false`, until it is not. A connection that is lost and restored at
    /// once may go unnoticed.
    ///
    /// # Errors
    /// The client has ended: the reason, as for any request.
    pub async fn connection_is(&self, open: bool) -> Result<(), ClientError> {
        let core = self.owner.core();
        poll_fn(|cx| {
            core.quietly(|state, _| {
                state.check()?;
                if state.is_open() == open {
                    return Poll::Ready(Ok(()));
                }
                state.watch_link(cx.waker());
                Poll::Pending
            })
        })
        .await
    }

    fn ask<F>(&self, ask: F) -> Request<F>
    where
        F: FnOnce(&mut Machine, Timestamp) -> Result<RequestId, RequestError> + Send + Unpin + 'static,
    {
        Request::new(self.owner.core(), ask)
    }
}

impl<R: Runtime> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.owner))
    }
}

impl<R: Runtime> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// The state machine answers each request with the matching kind, so this is unreachable; an error is better than a panic.
fn mismatch(answer: &Answer) -> ClientError {
    debug_assert!(false, "{answer:?} does not answer the request");
    ClientError::Abandoned
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests;
