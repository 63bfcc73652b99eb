//! The async client: handles on a connection that mends itself.

mod builder;
pub(crate) mod core;
mod describe;
mod error;
mod outgoing;
mod publisher;
mod publishing;
mod request;
mod room;
mod subscribe;
mod subscription;
mod task;
mod transaction;

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Poll;

use zaichik_client::{Answer, Client as Machine, PublishOptions, PublishReceipt, RequestError, RequestId};
use zaichik_engine::Timestamp;
use zaichik_proto::{AckLevel, Refusal, Start, TopicOptions, TopicStatus};

pub use builder::ClientBuilder;
pub use describe::BrokerInfo;
pub use error::ClientError;
pub use outgoing::Outgoing;
pub use publisher::Publisher;
pub use publishing::Publishing;
pub use subscribe::Subscribe;
pub use subscription::{Delivery, Incoming, Subscription};
pub use transaction::Transaction;

use self::core::Owner;
use crate::runtime::Runtime;
use request::{Reply, Request};

/// A client of a broker; cheap to clone, every clone is the same client.
///
/// One background task moves its bytes, connects again when the connection breaks, restores subscriptions and
/// resends what was not answered (semantics P4). When the last clone, [`Subscription`] and [`Publisher`] are
/// dropped, the task finishes what the client owes, within the drain timeout, and ends.
///
/// ```
/// # use zaichik_simulated::{Embedded, Simulation, default_config};
/// # Simulation::new().run(async {
/// # let broker = Embedded::start(default_config()?)?;
/// let client = broker.client(); // over a socket: Client::connect("127.0.0.1:8889").await?
/// let mut greetings = client.subscribe("greetings").await?;
/// let receipt = client.publish("greetings", "hello").await?;
/// assert_eq!(receipt.offset(0), Some(0));
/// let message = greetings.next_message().await?.expect("the subscription goes on");
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
    /// [`ClientError::Connect`] or [`ClientError::Ended`]: the broker can't be reached, or did not let the
    /// client in.
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        Self::builder(address).connect().await
    }

    /// Starts a client's configuration; the address as for [`connect`](Self::connect).
    pub fn builder(address: &str) -> ClientBuilder<R> {
        ClientBuilder::new(address)
    }

    /// Creates a topic; one that exists implicitly takes these settings over (semantics T2 to T4).
    ///
    /// # Errors
    /// [`ClientError::Request`] if it exists with other settings, or for the reasons that any request has.
    pub async fn create_topic(&self, topic: &str, options: TopicOptions) -> Result<TopicStatus, ClientError> {
        let answer = self.ask(|machine, now| machine.create_topic(now, topic, &options)).await?;
        let Answer::Topic(status) = answer else {
            return Err(mismatch(&answer));
        };
        Ok(status)
    }

    /// Changes settings of a topic in place (semantics T7).
    ///
    /// # Errors
    /// [`ClientError::Request`] if the broker refuses.
    pub async fn alter_topic(&self, topic: &str, options: TopicOptions) -> Result<(), ClientError> {
        self.ask(|machine, now| machine.alter_topic(now, topic, &options)).await?;
        Ok(())
    }

    /// Publishes a message; ready when the broker has it in its log, or says no.
    ///
    /// What the broker refuses for the moment is tried again until a deadline of 30 s, and what a broken connection
    /// left unanswered is sent again on the next one: it is stored once (semantics P3, P4). A future that is dropped
    /// before it is ready takes nothing back: a message that is on its way is published once, and nobody is told.
    ///
    /// # Errors
    /// [`ClientError::class`] says whether the message is refused, or its fate is unknown.
    pub async fn publish(
        &self,
        topic: &str,
        message: impl Into<Outgoing> + Send,
    ) -> Result<PublishReceipt, ClientError> {
        let message = message.into();
        self.publish_all(topic, &[message]).await
    }

    /// Publishes messages in one step: all of them are accepted or none, and nothing comes between them.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub async fn publish_all(
        &self,
        topic: &str,
        messages: &[Outgoing],
    ) -> Result<PublishReceipt, ClientError> {
        self.publish_with(topic, messages, PublishOptions::new()).await
    }

    /// The same with a deadline and an acknowledgement level, accepted or durable. Without an acknowledgement:
    /// [`publish_unacknowledged`](Self::publish_unacknowledged).
    ///
    /// # Errors
    /// As for [`publish`](Self::publish), and [`RequestError::NoReceipt`] for [`AckLevel::None`].
    pub async fn publish_with(
        &self,
        topic: &str,
        messages: &[Outgoing],
        options: PublishOptions,
    ) -> Result<PublishReceipt, ClientError> {
        if options.ack == AckLevel::None {
            return Err(RequestError::NoReceipt.into());
        }
        let answer = self.ask(|machine, now| publish(machine, now, topic, messages, options)).await?;
        let Answer::Published(receipt) = answer else {
            return Err(mismatch(&answer));
        };
        Ok(receipt)
    }

    /// Publishes a message at once and gives a handle that tells what becomes of it.
    ///
    /// Messages of one client are stored in the order in which they were published, whether or not their handles are
    /// awaited.
    ///
    /// # Errors
    /// [`RequestError::Full`] if as much is under way as the client allows: await some handles first. Otherwise as
    /// for [`publish`](Self::publish), when nothing can be sent at all.
    pub fn publish_nowait(
        &self,
        topic: &str,
        message: impl Into<Outgoing>,
    ) -> Result<Publishing, ClientError> {
        self.publish_nowait_with(topic, &[message.into()], PublishOptions::new())
    }

    /// The same for messages that are accepted together or not at all, with a deadline and an acknowledgement level.
    ///
    /// # Errors
    /// As for [`publish_nowait`](Self::publish_nowait), and [`RequestError::NoReceipt`] for [`AckLevel::None`].
    pub fn publish_nowait_with(
        &self,
        topic: &str,
        messages: &[Outgoing],
        options: PublishOptions,
    ) -> Result<Publishing, ClientError> {
        if options.ack == AckLevel::None {
            return Err(RequestError::NoReceipt.into());
        }
        let core = self.owner.core();
        let reply = Reply::now(core, |machine, now| publish(machine, now, topic, messages, options))?;
        Ok(Publishing::new(reply))
    }

    /// Several publishes and commits that happen together or not at all, to be put together and sent.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(Arc::clone(&self.owner))
    }

    /// Publishes a message without asking what becomes of it; ready when it is queued for sending.
    ///
    /// # Errors
    /// [`ClientError::Request`] if it can't be sent at all.
    pub async fn publish_unacknowledged(
        &self,
        topic: &str,
        message: impl Into<Outgoing> + Send,
    ) -> Result<(), ClientError> {
        let messages = [message.into()];
        let options = PublishOptions::new().ack(AckLevel::None);
        self.ask(|machine, now| publish(machine, now, topic, &messages, options)).await?;
        Ok(())
    }

    /// A sink that publishes to one topic with many messages under way.
    #[must_use]
    pub fn publisher(&self, topic: &str) -> Publisher {
        Publisher::new(Arc::clone(&self.owner), topic)
    }

    /// Subscribes to a topic; to be configured and then awaited.
    pub fn subscribe(&self, topic: &str) -> Subscribe {
        Subscribe::new(Arc::clone(&self.owner), topic)
    }

    /// Moves the cursor of a durable subscription, whoever has it and whether or not anybody does (semantics D6).
    ///
    /// # Errors
    /// [`ClientError::Request`] if there is no such topic or subscription, or for the reasons that any request has.
    pub async fn seek(&self, topic: &str, name: &str, to: Start) -> Result<(), ClientError> {
        self.ask(|machine, now| machine.seek_durable(now, topic, name, to)).await?;
        Ok(())
    }

    /// Everything up to the message taken last is done, of whichever subscription it was (semantics A2); ready
    /// when the broker knows. With several subscriptions, [`Delivery::commit`] is clearer.
    ///
    /// # Errors
    /// [`ClientError::Request`] if no message was taken yet, and as for [`Delivery::commit`].
    pub async fn commit(&self) -> Result<(), ClientError> {
        self.ask(Machine::commit_last).await?;
        Ok(())
    }

    /// Asks the broker for a sign of life. It may come before answers to earlier requests.
    ///
    /// # Errors
    /// [`ClientError::Request`] if the connection breaks meanwhile.
    pub async fn ping(&self) -> Result<(), ClientError> {
        self.ask(Machine::ping).await?;
        Ok(())
    }

    /// The instance of the broker that the client talked to last: offsets hold within one instance only.
    #[must_use]
    pub fn instance(&self) -> Option<u128> {
        self.owner.core().look(|state, _| state.machine.instance())
    }

    /// Refusals of messages that were published without an acknowledgement, since the last call: how many, and
    /// the latest.
    #[must_use]
    pub fn take_refused(&self) -> Option<(u64, Refusal)> {
        self.owner.core().look(|state, _| state.machine.poll_refused())
    }

    /// Closes all clones of this client: waits for answers that are outstanding, within the drain timeout.
    ///
    /// # Errors
    /// [`ClientError::Ended`] if something was left unanswered, or the client had failed before.
    pub async fn close(self) -> Result<(), ClientError> {
        let core = self.owner.core();
        core.change(|state, now| state.machine.close(now));
        poll_fn(|cx| {
            core.look(|state, _| {
                if let Some(over) = state.over() {
                    return Poll::Ready(over);
                }
                state.watch_link(cx.waker());
                Poll::Pending
            })
        })
        .await
    }

    /// Ready when the connection is open, or never will be.
    async fn opened(&self) -> Result<(), ClientError> {
        let core = self.owner.core();
        poll_fn(|cx| {
            core.look(|state, _| {
                state.check()?;
                if state.is_open() {
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
        F: FnMut(&mut Machine, Timestamp) -> Result<RequestId, RequestError> + Unpin,
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

fn publish(
    machine: &mut Machine,
    now: Timestamp,
    topic: &str,
    messages: &[Outgoing],
    options: PublishOptions,
) -> Result<RequestId, RequestError> {
    Outgoing::with_records(messages, |records| machine.publish(now, topic, records, options))
}

/// The machine answers each request in kind, so this is not reached; an error is better than a panic.
fn mismatch(answer: &Answer) -> ClientError {
    debug_assert!(false, "{answer:?} does not answer the request");
    ClientError::Abandoned
}

#[cfg(test)]
mod tests;
