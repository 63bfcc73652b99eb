//! Messages of a topic, as a stream.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use zaichik_client::{Answer, Event, RequestError, SubscriptionId, SubscriptionStart};
use zaichik_proto::Start;

use super::core::Owner;
use super::delivery::Delivery;
use super::error::ClientError;
use super::loss::{Losses, OnLoss};
use super::membership::Membership;
use super::request::Request;
use super::settle;

/// The messages of a topic, in order, and the losses and reconnects between them: a stream of [`Event`]s.
///
/// Ends when the client or the subscription has ended. Dropping it unsubscribes. When every message of the window was
/// taken and none is committed, the next one waits for a commit; so `chunks(n)` with `n` above the
/// [window](super::Subscribe::window) never yields. A subscription that has waited so for 10 s logs a warning, once.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # let client = broker.client();
/// let mut orders = client.subscribe("orders").window(8).await?;
/// client.publish("orders", "one tea").await?;
/// client.publish("orders", "two coffees").await?;
/// for expected in ["one tea", "two coffees"] {
///     let order = orders.next_message().await?.expect("the subscription continues");
///     assert_eq!(order.body, expected);
/// }
/// orders.commit().await?; // everything up to the last message taken
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
///
/// As a stream, and with [`next_event`](Self::next_event), it also reports what [`next_message`](Self::next_message)
/// skips:
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Event, Simulation, TopicOptions};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # let client = broker.client();
/// let keeps_two = TopicOptions::new().retain_forever().max_messages(2);
/// client.create_topic("readings", keeps_two).await?;
/// let mut readings = client.subscribe("readings").await?; // nothing is read yet
/// for reading in ["17", "18", "19", "20"] {
///     client.publish("readings", reading).await?;
/// }
/// let mut seen = Vec::new();
/// while seen.len() < 3 {
///     match readings.next_event().await?.expect("the subscription continues") {
///         Event::Message(message) => {
///             seen.push(format!("{:?}", message.body));
///             message.commit().await?;
///         }
///         Event::Gap { from, to, .. } => seen.push(format!("{from}..{to} are lost")),
///         other => panic!("{other:?}"),
///     }
/// }
/// assert_eq!(seen, [r#"b"17""#, "1..2 are lost", r#"b"19""#]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
pub struct Subscription {
    membership: Membership,
    id: SubscriptionId,
    topic: Arc<str>,
    start: u64,
    end: u64,
    /// Offset of the last message taken.
    taken: Option<u64>,
    on_loss: OnLoss,
    losses: Losses,
    over: bool,
}

impl Subscription {
    /// A subscription that has begun.
    pub(super) fn new(
        membership: Membership,
        topic: Arc<str>,
        on_loss: OnLoss,
        begun: &SubscriptionStart,
    ) -> Self {
        let (id, start, end) = (begun.subscription, begun.start, begun.end);
        let losses = Losses::default();
        Self { membership, id, topic, start, end, taken: None, on_loss, losses, over: false }
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
    /// By default lost messages are not an error: a loss is logged and counted in [`losses`](Self::losses), and
    /// the next message is returned; see [`Subscribe::on_loss`](super::Subscribe::on_loss).
    /// [`next_event`](Self::next_event) reports each loss and each reconnect.
    ///
    /// Dropping the future before it is ready loses no message.
    ///
    /// # Errors
    /// [`ClientError::Fenced`], a refusal after a reconnect, or the reason why the client ended; in these cases the
    /// subscription has ended. [`ClientError::Lost`] with [`OnLoss::Fail`]; the next call continues.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an event that is neither an end nor a loss is skipped"
    )]
    pub async fn next_message(&mut self) -> Result<Option<Delivery>, ClientError> {
        loop {
            let Some(event) = self.next_event().await? else {
                return Ok(None);
            };
            let event = match event.into_message() {
                Ok(message) => return Ok(Some(message)),
                Err(event) => event,
            };
            let topic = Arc::clone(&self.topic);
            match event {
                Event::Ended(_) => return Ok(None),
                Event::Fenced => return Err(ClientError::Fenced { topic }),
                Event::Refused(refusal) => {
                    return Err(RequestError::Refused { topic, refusal }.into());
                }
                event if self.on_loss == OnLoss::Fail && event.is_loss() => {
                    return Err(ClientError::Lost { topic, event });
                }
                event if event.is_loss() => tracing::warn!(topic = &*topic, "{event}"),
                _ => {}
            }
        }
    }

    /// The next event: a message, a loss or a reconnect. `None` after the subscription's end.
    ///
    /// The same as [`StreamExt::next`](futures::StreamExt::next) with `Option` and `Result` exchanged. Dropping the
    /// future before it is ready loses no event.
    ///
    /// # Errors
    /// The reason why the client ended, once.
    pub async fn next_event(&mut self) -> Result<Option<Event<Delivery>>, ClientError> {
        poll_fn(|cx| self.poll(cx)).await.transpose()
    }

    /// What this subscription has lost since it began.
    #[must_use]
    pub const fn losses(&self) -> Losses {
        self.losses
    }

    /// Commits everything up to and including the last message taken (rule A2); ready as [`Delivery::commit`] is.
    ///
    /// # Errors
    /// [`ClientError::Request`] if no message was taken yet, or the subscription is shared, and as for [`Delivery::commit`].
    pub async fn commit(&self) -> Result<(), ClientError> {
        self.commit_to(self.taken.ok_or(RequestError::NothingToCommit)?).await
    }

    /// Commits everything up to and including `offset`; ready as [`Delivery::commit`] is.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit); also refused if `offset` was not delivered.
    pub async fn commit_to(&self, offset: u64) -> Result<(), ClientError> {
        let (id, core) = (self.id, self.membership.owner.core());
        Request::new(core, move |machine, now| machine.commit(now, id, offset)).await?;
        Ok(())
    }

    /// Acknowledges messages of this shared subscription, with as few requests as possible; ready when the broker has all
    /// of them. Returns the offsets of those that this client does not hold any more: their deadline passed, their connection
    /// is gone, or they were settled before.
    ///
    /// # Errors
    /// As for [`Delivery::ack`]; [`RequestError::NoSubscription`] for a message of another client.
    pub async fn ack_all(&self, messages: &[Delivery]) -> Result<Vec<u64>, ClientError> {
        let owner = &self.membership.owner;
        if let Some(foreign) = messages.iter().find(|message| !message.is_of(owner)) {
            return Err(RequestError::NoSubscription(foreign.subscription()).into());
        }
        let mut by_hold: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for message in messages {
            by_hold.entry(message.hold()?).or_default().push(message.offset);
        }
        settle::ack_all(owner.core(), by_hold).await
    }

    /// Moves delivery back to the last message taken, after `delay` (rule A4): it and all after it are redelivered
    /// in order, and nothing overtakes it.
    ///
    /// # Errors
    /// As for [`Delivery::nack`]; also refused if the subscription is shared.
    pub async fn nack(&mut self, delay: Duration) -> Result<(), ClientError> {
        let offset = self.taken.ok_or(RequestError::NothingToCommit)?;
        let (id, core) = (self.id, self.membership.owner.core());
        Request::new(core, move |machine, now| machine.nack(now, id, offset, delay)).await?;
        self.taken = None;
        Ok(())
    }

    /// Continues delivery at another position (rule D6).
    ///
    /// # Errors
    /// [`ClientError::Request`] if the subscription has ended, or the connection broke before the answer.
    pub async fn seek(&mut self, to: Start) -> Result<(), ClientError> {
        let (id, core) = (self.id, self.membership.owner.core());
        Request::new(core, move |machine, now| machine.seek(now, id, to)).await?;
        self.taken = None;
        Ok(())
    }

    /// Ends the subscription; ready once it can receive no more messages (rule A9).
    ///
    /// A durable one keeps its cursor for a later subscription with its name. Returns the last offset delivered, if
    /// any.
    ///
    /// # Errors
    /// [`ClientError::Request`] if it has ended already, or the connection breaks before the answer.
    pub async fn unsubscribe(self) -> Result<Option<u64>, ClientError> {
        let id = self.id;
        let core = Arc::clone(self.membership.owner.core());
        let answer = Request::new(&core, move |machine, now| machine.unsubscribe(now, id)).await?;
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

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Event<Delivery>, ClientError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let id = self.id;
        let core = self.membership.owner.core();
        let topic = &self.topic;
        let taken = core.take_event(id).map(|taken| Poll::Ready(Some(Ok(taken))));
        let taken = taken.unwrap_or_else(|| {
            core.quietly(|state, now| {
                if let Some(event) = state.machine.poll_event(id) {
                    return Poll::Ready(Some(Ok((event, state.machine.hold(id)))));
                }
                if let Some(over) = state.over() {
                    return Poll::Ready(over.err().map(Err));
                }
                state.watch_subscription(id, topic, now, cx.waker());
                Poll::Pending
            })
        });
        taken.map(|taken| {
            let event = taken.map(|taken| {
                taken.map(|(event, hold)| {
                    self.losses.count(&event);
                    event.map_message(|message| Delivery::new(message, id, hold, Arc::clone(core)))
                })
            });
            match &event {
                Some(Ok(Event::Message(delivery))) => self.taken = Some(delivery.offset),
                Some(Ok(Event::Restarted { .. })) => self.taken = None,
                Some(Ok(event)) if !event.is_end() => {}
                None | Some(_) => {
                    core.quietly(|state, _| state.forget_reader(id));
                    self.over = true;
                    self.membership.is_over = true;
                }
            }
            event
        })
    }
}

impl Stream for Subscription {
    type Item = Result<Event<Delivery>, ClientError>;

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
