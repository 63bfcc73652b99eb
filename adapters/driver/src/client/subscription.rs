//! Messages of a topic, as a stream.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use zaichik_client::{Answer, Message, RequestError, SubscriptionId, SubscriptionStart};
use zaichik_proto::{GapReason, Refusal, Start};

use super::core::{Core, Owner};
use super::error::ClientError;
use super::request::Request;
#[cfg(doc)]
use super::subscribe::Subscribe;

/// The messages of a topic, in order, and what stands in their place.
///
/// Ends when the client is over or the subscription has ended. Dropping it unsubscribes.
///
/// ```
/// # use zaichik_simulated::{Embedded, Simulation, default_config};
/// # Simulation::new().run(async {
/// # let broker = Embedded::start(default_config()?)?;
/// # let client = broker.client();
/// let mut orders = client.subscribe("orders").window(8).await?;
/// client.publish("orders", "one tea").await?;
/// client.publish("orders", "two coffees").await?;
/// for expected in ["one tea", "two coffees"] {
///     let order = orders.next_message().await?.expect("the subscription goes on");
///     assert_eq!(order.body, expected);
/// }
/// orders.commit().await?; // everything up to the message taken last
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
pub struct Subscription {
    membership: Membership,
    id: SubscriptionId,
    topic: Arc<str>,
    start: u64,
    end: u64,
    /// Offset of the message taken last.
    taken: Option<u64>,
    over: bool,
}

/// The next thing that a subscription has to tell, in order.
///
/// ```
/// # use zaichik_simulated::{Embedded, Simulation, default_config, Incoming, TopicOptions};
/// # Simulation::new().run(async {
/// # let broker = Embedded::start(default_config()?)?;
/// # use futures::StreamExt;
/// # let client = broker.client();
/// let keeps_two = TopicOptions::new().retain_forever().max_messages(2);
/// client.create_topic("readings", keeps_two).await?;
/// let mut readings = client.subscribe("readings").await?; // and nobody reads meanwhile
/// for reading in ["17", "18", "19", "20"] {
///     client.publish("readings", reading).await?;
/// }
/// let mut told = Vec::new();
/// while told.len() < 3 {
///     match readings.next().await.expect("the subscription goes on")? {
///         Incoming::Message(message) => {
///             told.push(format!("{:?}", message.body));
///             message.commit().await?;
///         }
///         Incoming::Gap { from, to, .. } => told.push(format!("{from} to {to} are lost")),
///         other => panic!("{other:?}"),
///     }
/// }
/// assert_eq!(told, [r#"b"17""#, "1 to 2 are lost", r#"b"19""#]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Incoming {
    /// A message.
    Message(Delivery),
    /// Offsets from `from` up to, not including, `to` that this subscription will not get (semantics R9).
    Gap {
        /// The first missing offset.
        from: u64,
        /// The first offset after the gap.
        to: u64,
        /// Why.
        reason: GapReason,
    },
    /// The connection broke and is open again: what was not committed comes again.
    Reconnected {
        /// The first offset asked for.
        from: u64,
        /// The first offset that will come; what lies between is gone.
        start: u64,
    },
    /// The connection is open again, to a broker that forgot everything (semantics P5); the subscription goes on
    /// from its original position.
    Restarted {
        /// The first offset that will come.
        start: u64,
    },
    /// After a reconnect the broker refused the subscription; it has ended.
    Refused(Refusal),
    /// Another connection took the durable subscription over; this one has ended.
    Fenced,
    /// The subscription has ended; the last offset delivered, if any.
    Ended(Option<u64>),
}

/// A message, and the means to say that it is done.
///
/// ```
/// # use zaichik_simulated::{Embedded, Simulation, default_config, Outgoing};
/// # Simulation::new().run(async {
/// # let broker = Embedded::start(default_config()?)?;
/// # use std::time::Duration;
/// # let client = broker.client();
/// let mut jobs = client.subscribe("jobs").await?;
/// client.publish("jobs", Outgoing::new("sweep the yard").key("yard").header("by", "noon")).await?;
/// let job = jobs.next_message().await?.expect("the subscription goes on");
/// assert_eq!((job.offset, job.attempt), (0, 1));
/// job.nack(Duration::from_secs(1)).await?; // again, in a second
/// let job = jobs.next_message().await?.expect("the subscription goes on");
/// assert_eq!((job.offset, job.attempt), (0, 2));
/// job.commit().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Clone)]
pub struct Delivery {
    message: Message,
    subscription: SubscriptionId,
    core: Arc<Core>,
}

impl Subscription {
    /// A subscription has begun; `membership` has its place.
    pub(super) const fn new(membership: Membership, topic: Arc<str>, begun: &SubscriptionStart) -> Self {
        let (id, start, end) = (begun.subscription, begun.start, begun.end);
        Self { membership, id, topic, start, end, taken: None, over: false }
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The first offset that could be delivered when it began.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The topic's end when it began: the offset of the first message accepted after that.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The next message; `None` after the subscription's end.
    ///
    /// A reconnect that lost nothing is passed over. [`StreamExt::next`](futures::StreamExt::next) shows it too.
    ///
    /// # Errors
    /// What stands in a message's place: [`ClientError::Gap`] or [`ClientError::Restarted`], after which the
    /// next call goes on; [`ClientError::Fenced`], a refusal, or the reason of the client's end otherwise.
    pub async fn next_message(&mut self) -> Result<Option<Delivery>, ClientError> {
        loop {
            let topic = Arc::clone(&self.topic);
            return match poll_fn(|cx| self.poll(cx)).await {
                None | Some(Ok(Incoming::Ended(_))) => Ok(None),
                Some(Err(error)) => Err(error),
                Some(Ok(Incoming::Message(message))) => Ok(Some(message)),
                Some(Ok(Incoming::Reconnected { from, start })) if from >= start => continue,
                Some(Ok(Incoming::Reconnected { from, start: to })) => {
                    let reason = None;
                    Err(ClientError::Gap { topic, from, to, reason })
                }
                Some(Ok(Incoming::Gap { from, to, reason })) => {
                    let reason = Some(reason);
                    Err(ClientError::Gap { topic, from, to, reason })
                }
                Some(Ok(Incoming::Restarted { start })) => Err(ClientError::Restarted { topic, start }),
                Some(Ok(Incoming::Fenced)) => Err(ClientError::Fenced { topic }),
                Some(Ok(Incoming::Refused(refusal))) => Err(RequestError::Refused { topic, refusal }.into()),
            };
        }
    }

    /// Everything up to the last message taken is done (semantics A2); ready when the broker knows.
    ///
    /// # Errors
    /// [`ClientError::Request`] if nothing was taken yet, commits are off, or the connection broke meanwhile;
    /// then what was not committed comes again.
    pub async fn commit(&self) -> Result<(), ClientError> {
        self.commit_to(self.taken.ok_or(RequestError::NothingToCommit)?).await
    }

    /// Everything up to and including `offset` is done; ready when the broker knows.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit); refused as well if `offset` was not delivered.
    pub async fn commit_to(&self, offset: u64) -> Result<(), ClientError> {
        let core = self.membership.owner.core();
        Request::new(core, |machine, now| machine.commit(now, self.id, offset)).await?;
        Ok(())
    }

    /// Delivery goes back to the last message taken, after `delay` (semantics A4): it and what comes after it is
    /// delivered again, in order, and nothing overtakes it.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub async fn nack(&mut self, delay: Duration) -> Result<(), ClientError> {
        let offset = self.taken.ok_or(RequestError::NothingToCommit)?;
        let (id, core) = (self.id, self.membership.owner.core());
        Request::new(core, |machine, now| machine.nack(now, id, offset, delay)).await?;
        self.taken = None;
        Ok(())
    }

    /// Delivery goes on at another position (semantics D6).
    ///
    /// # Errors
    /// [`ClientError::Request`] if the subscription has ended, or the connection broke meanwhile.
    pub async fn seek(&mut self, to: Start) -> Result<(), ClientError> {
        let (id, core) = (self.id, self.membership.owner.core());
        Request::new(core, |machine, now| machine.seek(now, id, to)).await?;
        self.taken = None;
        Ok(())
    }

    /// Ends the subscription; ready when no message of it can come any more (semantics A9).
    ///
    /// A durable one keeps its cursor, for whoever subscribes under its name. Gives the last offset delivered, if any.
    ///
    /// # Errors
    /// [`ClientError::Request`] if it has ended already, or the connection breaks meanwhile.
    pub async fn unsubscribe(self) -> Result<Option<u64>, ClientError> {
        let id = self.id;
        let core = Arc::clone(self.membership.owner.core());
        let answer = Request::new(&core, |machine, now| machine.unsubscribe(now, id)).await?;
        let Answer::Unsubscribed { last_offset } = answer else {
            return Err(super::mismatch(&answer));
        };
        Ok(last_offset)
    }

    pub(super) const fn id(&self) -> SubscriptionId {
        self.id
    }

    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        Arc::ptr_eq(self.membership.owner.core(), owner.core())
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Incoming, ClientError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let id = self.id;
        let core = self.membership.owner.core();
        let taken = core.look(|state, _| {
            if let Some(incoming) = state.machine.poll_incoming(id) {
                return Poll::Ready(Some(Ok(incoming)));
            }
            if let Some(over) = state.over() {
                return Poll::Ready(over.err().map(Err));
            }
            state.watch_subscription(id, cx.waker());
            Poll::Pending
        });
        taken.map(|taken| {
            let taken = taken.map(|taken| taken.map(|incoming| Incoming::new(incoming, id, core)));
            match &taken {
                Some(Ok(Incoming::Message(delivery))) => self.taken = Some(delivery.offset),
                Some(Ok(Incoming::Restarted { .. })) => self.taken = None,
                Some(Ok(Incoming::Gap { .. } | Incoming::Reconnected { .. })) => {}
                None | Some(Err(_) | Ok(Incoming::Refused(_) | Incoming::Fenced | Incoming::Ended(_))) => {
                    core.look(|state, _| state.forget_reader(id));
                    self.over = true;
                    self.membership.id = None;
                }
            }
            taken
        })
    }
}

impl Stream for Subscription {
    type Item = Result<Incoming, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.topic)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Incoming {
    fn new(incoming: zaichik_client::Incoming, subscription: SubscriptionId, core: &Arc<Core>) -> Self {
        use zaichik_client::Incoming as Engine;
        match incoming {
            Engine::Message(message) => {
                Self::Message(Delivery { message, subscription, core: Arc::clone(core) })
            }
            Engine::Gap { from, to, reason } => Self::Gap { from, to, reason },
            Engine::Reconnected { from, start } => Self::Reconnected { from, start },
            Engine::Restarted { start } => Self::Restarted { start },
            Engine::Refused(refusal) => Self::Refused(refusal),
            Engine::Fenced => Self::Fenced,
            Engine::Ended(last_offset) => Self::Ended(last_offset),
            other => {
                // The engine may learn to tell more; this crate then learns it with it.
                debug_assert!(false, "{other:?} is not known here");
                Self::Ended(None)
            }
        }
    }
}

impl Delivery {
    /// This message and all before it are done (semantics A2); ready when the broker knows.
    ///
    /// # Errors
    /// [`ClientError::Request`] if commits are off, the subscription has ended, or the connection broke
    /// meanwhile; then what was not committed comes again.
    pub async fn commit(&self) -> Result<(), ClientError> {
        let (id, offset) = (self.subscription, self.message.offset);
        Request::new(&self.core, |machine, now| machine.commit(now, id, offset)).await?;
        Ok(())
    }

    /// Delivery goes back to this message, after `delay` (semantics A4): it and all after it is delivered again, in
    /// order, with [`attempt`](Message::attempt) raised. Nothing overtakes it: the whole subscription waits.
    ///
    /// Ready when the broker knows. A message that is committed already stays so. With a
    /// [dead-letter topic](Subscribe::dead_letter) it counts as a failure.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub async fn nack(&self, delay: Duration) -> Result<(), ClientError> {
        let (id, offset) = (self.subscription, self.message.offset);
        Request::new(&self.core, |machine, now| machine.nack(now, id, offset, delay)).await?;
        Ok(())
    }

    pub(super) const fn subscription(&self) -> SubscriptionId {
        self.subscription
    }

    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        Arc::ptr_eq(&self.core, owner.core())
    }

    /// The message alone.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl Deref for Delivery {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// A subscription's place in the client, given back when it is dropped.
pub(super) struct Membership {
    pub(super) owner: Arc<Owner>,
    /// Set from the request on.
    pub(super) id: Option<SubscriptionId>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.owner.core().change(|state, now| state.leave(now, id));
        }
    }
}
