//! Publishing as a sink, with many messages in flight.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Sink;
use zaichik_client::{Client as Machine, PublishOptions};
use zaichik_proto::AckLevel;

use super::core::Owner;
use super::error::ClientError;
use super::outgoing::Outgoing;
use super::replies::PublisherId;
use super::room::{Ticket, Waiter};
use super::wakes::keep;

/// Maximum messages collected for one step.
const BATCH_MESSAGES: usize = 256;

/// Maximum bytes of a step; a larger message gets its own step.
const BATCH_BYTES: usize = 32 << 10;

/// Default of [`Publisher::max_in_flight`].
const MAX_IN_FLIGHT: usize = 64;

/// Publishes to one topic: a [`Sink`] with a bounded number of steps in flight.
///
/// Messages that are [fed](futures::SinkExt::feed) without a flush are sent together: up to 256 of them and 32 KiB
/// are one step, which the broker accepts or refuses as a whole. A flush is done when every step has its answer.
/// A step takes its place among the other publishes of the client when it is sent (rule P6).
/// An error is reported once, by the next call; it means that some of the messages before it were not accepted.
/// Dropping the publisher loses messages that were fed and not flushed. Messages that were sent are published, and
/// their outcome is not reported.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Outgoing, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # use futures::SinkExt;
/// # let client = broker.client();
/// let mut publisher = client.publisher("numbers");
/// for number in 0..1_000 {
///     publisher.feed(Outgoing::new(number.to_string())).await?;
/// }
/// publisher.close().await?; // every one of them was accepted
/// assert_eq!(client.topic("numbers").await?.end, 1_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
pub struct Publisher {
    owner: Arc<Owner>,
    topic: Arc<str>,
    id: PublisherId,
    options: PublishOptions,
    limit: usize,
    batch: Vec<Outgoing>,
    batch_bytes: usize,
    /// A step that waits for room.
    ticket: Option<Ticket>,
}

impl Publisher {
    pub(super) fn new(owner: Arc<Owner>, topic: &str) -> Self {
        let id = owner.core().quietly(|state, _| state.replies().add_publisher());
        Self {
            owner,
            topic: topic.into(),
            id,
            options: PublishOptions::new(),
            limit: MAX_IN_FLIGHT,
            batch: Vec::new(),
            batch_bytes: 0,
            ticket: None,
        }
    }

    /// Maximum unanswered steps. Default 64; 0 counts as 1.
    #[must_use]
    pub fn max_in_flight(mut self, steps: usize) -> Self {
        self.limit = steps.max(1);
        self
    }

    /// How long each step waits for its answer, and is retried after temporary refusals. Default 30 s.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// A flush waits until the messages are on disk. A broker without a disk refuses this.
    #[must_use]
    pub const fn durable(mut self) -> Self {
        self.options.ack = AckLevel::Durable;
        self
    }

    /// A flush does not wait for answers, only until everything is queued for sending. Messages are delivered at most once.
    #[must_use]
    pub const fn no_ack(mut self) -> Self {
        self.options.ack = AckLevel::None;
        self
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= BATCH_MESSAGES || self.batch_bytes >= BATCH_BYTES
    }

    /// The number of collected messages that fit into one step; at least one.
    fn step(&self) -> usize {
        let mut bytes = 0usize;
        let fits = |message: &&Outgoing| {
            bytes = bytes.saturating_add(message.len());
            bytes <= BATCH_BYTES
        };
        self.batch.iter().take_while(fits).count().max(1)
    }

    /// Sends the collected messages, as far as the limits allow.
    fn poll_send(&mut self, cx: &Context<'_>) -> Poll<Result<(), ClientError>> {
        while self.ticket.is_some() || !self.batch.is_empty() {
            ready!(self.poll_send_step(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send_step(&mut self, cx: &Context<'_>) -> Poll<Result<(), ClientError>> {
        let made = match self.ticket {
            Some(ticket) => self.poll_turn(ticket, cx),
            None => self.poll_begin(cx),
        };
        made.map(|made| {
            self.ticket = None;
            made
        })
    }

    /// Makes the next step, or puts it in the line of requests that wait for room.
    fn poll_begin(&mut self, cx: &Context<'_>) -> Poll<Result<(), ClientError>> {
        let step = self.step();
        let Self { owner, topic, id, options, limit, batch, ticket, .. } = self;
        let begun = owner.core().update(|state, now| {
            state.check()?;
            let is_free = state.is_free();
            let in_flight = state.replies().publisher(*id);
            if in_flight.requests >= *limit {
                keep(&mut in_flight.waker, cx.waker());
                return Poll::Pending;
            }
            let step = step.min(batch.len());
            if is_free {
                let messages = batch.get(..step).unwrap_or_default();
                let made = Outgoing::with_records(messages, |records| {
                    state.machine.publish(now, topic, records, *options)
                });
                batch.drain(..step);
                return Poll::Ready(made.map_err(ClientError::from).map(|request| {
                    state.replies().count(request, *id);
                }));
            }
            keep(&mut in_flight.waker, cx.waker());
            let messages: Vec<_> = batch.drain(..step).collect();
            let (topic, options) = (Arc::clone(topic), *options);
            let ask = Box::new(move |machine: &mut Machine, now| {
                Outgoing::with_records(&messages, |records| machine.publish(now, &topic, records, options))
            });
            *ticket = Some(state.line_up(ask, Waiter::Publisher(*id)));
            Poll::Pending
        });
        self.batch_bytes = self.batch.iter().map(Outgoing::len).fold(0, usize::saturating_add);
        begun
    }

    /// Ready when the step in the line was made.
    fn poll_turn(&self, ticket: Ticket, cx: &Context<'_>) -> Poll<Result<(), ClientError>> {
        let turn = self.owner.core().quietly(|state, _| {
            let turn = state.take_turn(ticket, cx.waker());
            if turn.is_none() {
                keep(&mut state.replies().publisher(self.id).waker, cx.waker());
            }
            turn
        });
        turn.map_or(Poll::Pending, |turn| Poll::Ready(turn.map(drop)))
    }

    /// Ready when every answer has arrived.
    fn poll_answered(&self, cx: &Context<'_>) -> Poll<Result<(), ClientError>> {
        self.owner.core().quietly(|state, _| {
            let checked = state.check();
            let in_flight = state.replies().publisher(self.id);
            if let Some(error) = in_flight.error.take() {
                return Poll::Ready(Err(error));
            }
            if in_flight.requests == 0 {
                return Poll::Ready(Ok(()));
            }
            if checked.is_err() {
                in_flight.requests = 0;
                return Poll::Ready(checked);
            }
            keep(&mut in_flight.waker, cx.waker());
            Poll::Pending
        })
    }

    /// An error of an earlier step.
    fn take_error(&self) -> Result<(), ClientError> {
        let error = self.owner.core().quietly(|state, _| state.replies().publisher(self.id).error.take());
        error.map_or(Ok(()), Err)
    }
}

impl Sink<Outgoing> for Publisher {
    type Error = ClientError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.take_error()?;
        if self.is_full() { self.poll_send(cx) } else { Poll::Ready(Ok(())) }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Outgoing) -> Result<(), ClientError> {
        self.batch_bytes = self.batch_bytes.saturating_add(message.len());
        self.batch.push(message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.take_error()?;
        ready!(self.poll_send(cx))?;
        self.poll_answered(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.poll_flush(cx)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let Self { owner, id, ticket, .. } = self;
        owner.core().quietly(|state, _| {
            if let Some(ticket) = ticket.take() {
                state.leave_line(ticket);
            }
            state.replies().remove_publisher(*id);
        });
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("topic", &self.topic)
            .field("waiting", &self.batch.len())
            .finish_non_exhaustive()
    }
}
