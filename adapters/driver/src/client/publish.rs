//! Publishing as a request: its messages, its options and its receipt.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::slice;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use zaichik_client::{Answer, Client as Machine, PublishOptions, PublishReceipt, RequestError, RequestId};
use zaichik_proto::{AckLevel, Timestamp};

use super::core::Core;
use super::error::ClientError;
use super::mismatch;
use super::outgoing::Outgoing;
use super::pending_receipt::PendingReceipt;
use super::request::{Begun, Call, Reply, Turn};
use super::room::Ask;

/// Messages to publish to one topic: configure it, then await it or [`enqueue`](Self::enqueue) it.
///
/// Awaiting it publishes the messages, and resolves to their receipt once the broker has them in its log, or to an error
/// if it refuses them. Temporary refusals are retried until the deadline. Messages that a broken connection left
/// unanswered are resent on the next one, and are stored once (rules P3, P4).
///
/// Nothing is sent before the first poll. Messages of one client, its clones and tasks are stored in the order of the
/// first polls (rule P6), also while the maximum number of requests is in flight: then they wait in line. Dropping it
/// while it waits withdraws the messages. Dropping it later does not take them back: they are published once, and their
/// outcome is not reported.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # let client = broker.client();
/// use std::time::Duration;
/// let receipt = client.publish("orders", "one tea").deadline(Duration::from_secs(5)).await?;
/// assert_eq!(receipt.offset(0), Some(0));
/// client.publish("clicks", "x=17").no_ack().await?; // resolves once it is queued, without a receipt
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[must_use = "nothing is published before it is awaited or enqueued"]
pub struct Publish<'a> {
    topic: &'a str,
    messages: Messages,
    options: PublishOptions,
    call: Call,
}

/// Messages to publish without an acknowledgement: there is no receipt to wait for.
///
/// Made by [`Publish::no_ack`]. Awaiting it resolves when the messages are queued for sending. They are delivered at
/// most once; refusals are counted in [`Client::take_refused`](super::Client::take_refused).
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # let client = broker.client();
/// client.publish("clicks", "x=17").no_ack().await?;
/// client.ping().await?; // the broker has handled everything before it
/// assert_eq!(client.take_refused(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[must_use = "nothing is published before it is awaited or enqueued"]
pub struct UnacknowledgedPublish<'a>(Publish<'a>);

/// One message needs no list.
#[derive(Debug)]
enum Messages {
    One(Outgoing),
    Many(Vec<Outgoing>),
    /// They wait for room.
    Shared(Arc<[Outgoing]>),
}

impl<'a> Publish<'a> {
    pub(super) fn one(core: &Arc<Core>, topic: &'a str, message: Outgoing) -> Self {
        Self::new(core, topic, Messages::One(message))
    }

    pub(super) fn many(core: &Arc<Core>, topic: &'a str, messages: Vec<Outgoing>) -> Self {
        Self::new(core, topic, Messages::Many(messages))
    }

    fn new(core: &Arc<Core>, topic: &'a str, messages: Messages) -> Self {
        Self { topic, messages, options: PublishOptions::new(), call: Call::new(core) }
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

    /// Does not wait for an answer: the messages are delivered at most once, and there is no receipt.
    pub const fn no_ack(mut self) -> UnacknowledgedPublish<'a> {
        self.options.ack = AckLevel::None;
        UnacknowledgedPublish(self)
    }

    /// Publishes now, without waiting, and returns a handle to the receipt.
    ///
    /// Messages of one client are stored in the order in which they were published, whether or not their handles are
    /// awaited. Each call publishes once, so a call that failed with [`RequestError::Full`] can be repeated.
    ///
    /// The background task sends the messages later: before the program ends, await the handle or
    /// [`close`](super::Client::close) the client, or they may be lost without a word.
    ///
    /// ```
    /// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
    /// # Simulation::new().run(async {
    /// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    /// # let client = broker.client();
    /// # client.ping().await?;
    /// let first = client.publish("orders", "one tea").enqueue()?;
    /// let second = client.publish("orders", "two coffees").enqueue()?; // both are in flight
    /// assert_eq!(first.await?.offset(0), Some(0));
    /// assert_eq!(second.await?.offset(0), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).expect("it works");
    /// ```
    ///
    /// # Errors
    /// [`RequestError::Full`] if the maximum number of requests or bytes is in flight, or other requests wait for room:
    /// await some handles first. Otherwise as for awaiting it, when nothing can be sent at all.
    pub fn enqueue(&self) -> Result<PendingReceipt, ClientError> {
        let Self { topic, messages, options, call } = self;
        let reply = Reply::now(call.core(), |machine, now| messages.publish(machine, now, topic, *options))?;
        Ok(PendingReceipt::new(reply))
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, ClientError>> {
        let Self { topic, messages, options, call } = self;
        call.poll(cx, |turn| match turn {
            Turn::Now(machine, now) => messages.publish(machine, now, topic, *options).map(Begun::Made),
            Turn::Later => Ok(Begun::HandedOver(messages.hand_over(topic, *options))),
        })
    }
}

impl UnacknowledgedPublish<'_> {
    /// Queues the messages for sending now, without waiting for room. Before the program ends,
    /// [`close`](super::Client::close) the client, or they may not be sent.
    ///
    /// # Errors
    /// As for [`Publish::enqueue`].
    pub fn enqueue(&self) -> Result<(), ClientError> {
        let Publish { topic, messages, options, call } = &self.0;
        call.core().update(|state, now| {
            state.check()?;
            state.check_line()?;
            messages.publish(&mut state.machine, now, topic, *options)?;
            Ok(())
        })
    }
}

impl Messages {
    fn publish(
        &self,
        machine: &mut Machine,
        now: Timestamp,
        topic: &str,
        options: PublishOptions,
    ) -> Result<RequestId, RequestError> {
        Outgoing::with_records(self.as_slice(), |records| machine.publish(now, topic, records, options))
    }

    /// The publish as a request that can wait for room. The messages are shared, not copied.
    fn hand_over(&mut self, topic: &str, options: PublishOptions) -> Ask {
        let messages: Arc<[Outgoing]> = match std::mem::replace(self, Self::Many(Vec::new())) {
            Self::One(message) => Arc::new([message]),
            Self::Many(messages) => messages.into(),
            Self::Shared(messages) => messages,
        };
        *self = Self::Shared(Arc::clone(&messages));
        let topic: Box<str> = topic.into();
        Box::new(move |machine, now| {
            Outgoing::with_records(&messages, |records| machine.publish(now, &topic, records, options))
        })
    }

    fn as_slice(&self) -> &[Outgoing] {
        match self {
            Self::One(message) => slice::from_ref(message),
            Self::Many(messages) => messages,
            Self::Shared(messages) => messages,
        }
    }
}

impl Future for Publish<'_> {
    type Output = Result<PublishReceipt, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.poll_answer(cx))?;
        let Answer::Published(receipt) = answer else {
            return Poll::Ready(Err(mismatch(&answer)));
        };
        Poll::Ready(Ok(receipt))
    }
}

impl Future for UnacknowledgedPublish<'_> {
    type Output = Result<(), ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_answer(cx).map_ok(drop)
    }
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("topic", &self.topic)
            .field("messages", &self.messages.as_slice().len())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UnacknowledgedPublish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnacknowledgedPublish").field(&self.0).finish()
    }
}
