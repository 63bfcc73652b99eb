//! Messages of all topics whose names match a pattern, as a stream.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use zaichik_client::{Event, PatternEvent, PatternStart, RequestError, SubscriptionId};
use zaichik_proto::Start;

use super::delivery::Delivery;
use super::error::ClientError;
use super::loss::{Losses, OnLoss};
use super::membership::Membership;
use super::request::Request;

/// The messages of every topic whose name matches a pattern, those that exist and those that are created later (chapter W): a
/// stream of [`PatternEvent`]s.
///
/// The messages of one topic are in order; topics have their turns, and there is no order between them. A message is
/// [committed](Delivery::commit) together with those before it in its topic, and no others. After a broken connection each topic
/// continues after its last commit, and topics that were created meanwhile begin at their first message. Ends when the client or
/// the subscription has ended. Dropping it unsubscribes.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # let client = broker.client();
/// let mut orders = client.subscribe_pattern("orders.>").await?;
/// client.publish("orders.eu.new", "one tea").await?; // a topic that did not exist
/// let order = orders.next_message().await?.expect("the subscription continues");
/// assert_eq!((order.topic(), &order.body[..]), ("orders.eu.new", &b"one tea"[..]));
/// order.commit().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
///
/// [`next_event`](Self::next_event) also reports topics: each one that is covered, and each one that could not be, because of a
/// limit.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, PatternEvent, Simulation};
/// # Simulation::new().run(async {
/// let mut config = BrokerConfig::default();
/// config.wire.max_subscriptions = 2; // the pattern, and one topic
/// let broker = EmbeddedBroker::start(config)?;
/// let client = broker.client();
/// let mut orders = client.subscribe_pattern("orders.*").await?;
/// client.publish("orders.eu", "one tea").await?;
/// client.publish("orders.us", "two coffees").await?;
/// let mut seen = Vec::new();
/// while seen.len() < 3 {
///     seen.push(match orders.next_event().await?.expect("the subscription continues") {
///         PatternEvent::Matched { topic, .. } => format!("{topic} is covered"),
///         PatternEvent::NotMatched { topic, .. } => format!("{topic} is not covered"),
///         PatternEvent::Topic { topic, .. } => format!("a message of {topic}"),
///         other => panic!("{other:?}"),
///     });
/// }
/// seen.sort();
/// assert_eq!(seen, ["a message of orders.eu", "orders.eu is covered", "orders.us is not covered"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
pub struct PatternSubscription {
    membership: Membership,
    id: SubscriptionId,
    pattern: Arc<str>,
    topics: u32,
    /// The last message taken of each topic that was not committed through this handle.
    taken: BTreeMap<SubscriptionId, u64>,
    /// The subscriptions of topics that have not ended.
    known: BTreeMap<Arc<str>, SubscriptionId>,
    on_loss: OnLoss,
    losses: Losses,
    unmatched: u64,
    over: bool,
}

impl PatternSubscription {
    /// A subscription that has begun.
    pub(super) fn new(
        membership: Membership,
        pattern: Arc<str>,
        on_loss: OnLoss,
        begun: PatternStart,
    ) -> Self {
        let (id, topics) = (begun.subscription, begun.topics);
        let (taken, known) = (BTreeMap::new(), BTreeMap::new());
        let losses = Losses::default();
        Self { membership, id, pattern, topics, taken, known, on_loss, losses, unmatched: 0, over: false }
    }

    /// The pattern.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The number of topics that were covered when it began.
    #[must_use]
    pub const fn topics(&self) -> u32 {
        self.topics
    }

    /// The next message of any topic; `None` after the subscription's end.
    ///
    /// By default neither lost messages nor topics that could not be matched are an error: they are logged and counted in
    /// [`losses`](Self::losses) and [`unmatched`](Self::unmatched), and the next message is returned.
    /// [`next_event`](Self::next_event) reports each of them.
    ///
    /// Dropping the future before it is ready loses no message.
    ///
    /// # Errors
    /// A refusal after a reconnect, or the reason why the client ended; in these cases the subscription has ended.
    /// [`ClientError::Lost`] with [`OnLoss::Fail`]; the next call continues.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other events are skipped")]
    pub async fn next_message(&mut self) -> Result<Option<Delivery>, ClientError> {
        loop {
            let Some(event) = self.next_event().await? else {
                return Ok(None);
            };
            match event {
                PatternEvent::Topic { topic, event, .. } => match event.into_message() {
                    Ok(message) => return Ok(Some(message)),
                    Err(event) if event.is_loss() && self.on_loss == OnLoss::Fail => {
                        return Err(ClientError::Lost { topic, event });
                    }
                    Err(event) if event.is_loss() => tracing::warn!(topic = &*topic, "{event}"),
                    Err(_) => {}
                },
                PatternEvent::NotMatched { topic, refusal, others } => tracing::warn!(
                    topic = &*topic,
                    others,
                    "nothing of the topic is received through the pattern: {refusal}"
                ),
                PatternEvent::Refused(refusal) => {
                    let topic = Arc::clone(&self.pattern);
                    return Err(RequestError::Refused { topic, refusal }.into());
                }
                PatternEvent::Ended => return Ok(None),
                _ => {}
            }
        }
    }

    /// The next event: a topic that is covered from now on, one that could not be, or a message, a loss or a reconnect of a
    /// topic. `None` after the subscription's end.
    ///
    /// Dropping the future before it is ready loses no event.
    ///
    /// # Errors
    /// The reason why the client ended, once.
    pub async fn next_event(&mut self) -> Result<Option<PatternEvent<Delivery>>, ClientError> {
        poll_fn(|cx| self.poll(cx)).await.transpose()
    }

    /// What all of its topics have lost since it began.
    #[must_use]
    pub const fn losses(&self) -> Losses {
        self.losses
    }

    /// How often a topic could not be matched, because of a limit (rule W6): nothing of it is received on that connection.
    #[must_use]
    pub const fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// Commits everything up to and including the last message taken of each topic; ready as [`Delivery::commit`] is.
    ///
    /// # Errors
    /// As for [`Delivery::commit`]; some of the topics may be committed then.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        while let Some((id, offset)) = self.taken.first_key_value().map(|(id, offset)| (*id, *offset)) {
            let core = self.membership.owner.core();
            Request::new(core, move |machine, now| machine.commit(now, id, offset)).await?;
            self.taken.remove(&id);
        }
        Ok(())
    }

    /// Continues delivery of one topic at another position (rule D6). The topic is one that
    /// [`PatternEvent::Matched`] has reported, or of which a message was taken.
    ///
    /// # Errors
    /// [`ClientError::Request`] if the pattern does not cover the topic.
    pub async fn seek(&mut self, topic: &str, to: Start) -> Result<(), ClientError> {
        let (id, core) = (self.subscription_of(topic)?, self.membership.owner.core());
        Request::new(core, move |machine, now| machine.seek(now, id, to)).await?;
        self.taken.remove(&id);
        Ok(())
    }

    /// Ends the subscription to one topic; the pattern does not match it again. The topic is one that
    /// [`PatternEvent::Matched`] has reported, or of which a message was taken.
    ///
    /// # Errors
    /// [`ClientError::Request`] if the pattern does not cover the topic.
    pub async fn leave(&mut self, topic: &str) -> Result<(), ClientError> {
        let (id, core) = (self.subscription_of(topic)?, self.membership.owner.core());
        Request::new(core, move |machine, now| machine.unsubscribe(now, id)).await?;
        self.taken.remove(&id);
        Ok(())
    }

    /// Ends the subscription, to all topics; ready once it can receive no more messages.
    ///
    /// # Errors
    /// [`ClientError::Request`] if it has ended already, or the connection breaks before the answer.
    pub async fn unsubscribe(self) -> Result<(), ClientError> {
        let id = self.id;
        let core = Arc::clone(self.membership.owner.core());
        Request::new(&core, move |machine, now| machine.unsubscribe(now, id)).await?;
        Ok(())
    }

    fn subscription_of(&self, topic: &str) -> Result<SubscriptionId, RequestError> {
        self.known.get(topic).copied().ok_or(RequestError::NoSubscription(self.id))
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<PatternEvent<Delivery>, ClientError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let id = self.id;
        let core = self.membership.owner.core();
        let pattern = &self.pattern;
        let taken = core.take_pattern_event(id).map(|event| Poll::Ready(Some(Ok(event))));
        let taken = taken.unwrap_or_else(|| {
            core.quietly(|state, now| {
                if let Some(event) = state.machine.poll_pattern(id) {
                    return Poll::Ready(Some(Ok(event)));
                }
                if let Some(over) = state.over() {
                    return Poll::Ready(over.err().map(Err));
                }
                state.watch_subscription(id, pattern, now, cx.waker());
                Poll::Pending
            })
        });
        taken.map(|taken| {
            match &taken {
                Some(Ok(event)) if !event.is_end() => self.count(event),
                None | Some(_) => {
                    self.membership.owner.core().quietly(|state, _| state.forget_reader(id));
                    self.over = true;
                    self.membership.is_over = true;
                }
            }
            let core = self.membership.owner.core();
            let delivery =
                |message, subscription| Delivery::new(message, subscription, None, Arc::clone(core));
            taken.map(|event| event.map(|event| event.map_message(delivery)))
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other events change nothing here")]
    fn count(&mut self, event: &PatternEvent) {
        match event {
            PatternEvent::Matched { topic, subscription, .. } => {
                self.known.insert(Arc::clone(topic), *subscription);
            }
            PatternEvent::NotMatched { others, .. } => {
                self.unmatched = self.unmatched.saturating_add(u64::from(*others)).saturating_add(1);
            }
            PatternEvent::Topic { topic, subscription, event } => {
                self.losses.count(event);
                match event {
                    Event::Message(message) => {
                        self.taken.insert(*subscription, message.offset);
                    }
                    Event::Restarted { .. } => drop(self.taken.remove(subscription)),
                    event if event.is_end() => {
                        self.taken.remove(subscription);
                        if self.known.get(topic) == Some(subscription) {
                            self.known.remove(topic);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

impl Stream for PatternSubscription {
    type Item = Result<PatternEvent<Delivery>, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl fmt::Debug for PatternSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatternSubscription")
            .field("pattern", &self.pattern)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
