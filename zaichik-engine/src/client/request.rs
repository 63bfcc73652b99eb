//! What the application asks for: checked here, before a byte is sent.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{
    AckLevel, AlterTopic, ClientFrame, Commit, CreateTopic, HEADER_LEN, Publish, RECORD_OVERHEAD, Record,
    RecordError, Records, Refusal, RefusalCode, Start, Subscribe, TopicName, TopicOptions, Unsubscribe,
};

use super::answer::{Answer, RequestId, SubscriptionId};
use super::backoff::Backoff;
use super::config::{ClientConfig, PublishOptions, SubscribeOptions};
use super::error::RequestError;
use super::inflight::{Kind, MAX_SUBSCRIPTIONS, PublishState, QUIET, Size};
use super::subscription::{Phase, Subscription};
use super::{Client, Link};
use crate::outbound::LaneKind;
use crate::time::Timestamp;

/// Bytes of a Publish frame's body beside the topic and the records.
const PUBLISH_FIXED: usize = 4 + 4 + 1 + 1 + 1;

/// Above this the buffer that records are encoded in is given back after use, in bytes.
const SCRATCH_KEPT: usize = 64 << 10;

/// The buffer that small frames are cut from, in bytes; one frame that stays unanswered keeps all of it.
const ARENA: usize = 16 << 10;

/// Above this a frame gets a buffer of its own, in bytes.
const ARENA_FRAME: usize = ARENA / 4;

/// More than any frame but a publish needs, in bytes: a topic, its options and the fixed fields.
const SMALL_FRAME: usize = 512;

impl Client {
    /// Creates a topic, or gives an implicit one its settings; answered by [`Answer::Topic`] (semantics T2 to T4).
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
        self.topic_request(now, topic, Kind::CreateTopic, |request, topic| {
            ClientFrame::CreateTopic(CreateTopic { request, topic, options: *options })
        })
    }

    /// Changes an explicit topic's settings in place; answered by [`Answer::Altered`] (semantics T7).
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub fn alter_topic(
        &mut self,
        now: Timestamp,
        topic: &str,
        options: &TopicOptions,
    ) -> Result<RequestId, RequestError> {
        self.topic_request(now, topic, Kind::AlterTopic, |request, topic| {
            ClientFrame::AlterTopic(AlterTopic { request, topic, options: *options })
        })
    }

    /// Appends records to a topic, all of them in one step; answered by [`Answer::Published`], or at once by
    /// [`Answer::Queued`] with [`AckLevel::None`].
    ///
    /// What the broker refuses only for the moment is sent again until the deadline, so a later publish may
    /// overtake it: wait for the answer where the order matters. On a connection that breaks before the answer
    /// came the outcome is [`RequestError::Unknown`], and the records are not sent again.
    ///
    /// # Errors
    /// [`RequestError`]'s variants that say that nothing was sent.
    pub fn publish(
        &mut self,
        now: Timestamp,
        topic: &str,
        records: &[Record<'_>],
        options: PublishOptions,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        let name = TopicName::parse(topic.as_bytes()).map_err(RequestError::InvalidTopic)?;
        let size = measure(name, records)?;
        size.check(&self.limits)?;
        self.admit()?;
        let topic = self.shared_topic(name);
        let deadline = self.after(options.deadline);
        self.scratch.clear();
        for record in records {
            record.encode(&mut self.scratch);
        }
        let len = size.frame.saturating_add(HEADER_LEN);
        let publish = |request| {
            let frame = ClientFrame::Publish(Publish {
                request,
                ack: options.ack,
                producer: None,
                topic: name.as_str().as_bytes(),
                records: Records::from_encoded(size.records, &self.scratch),
            });
            encode(&mut self.arena, len, &frame)
        };
        let (kind, deadline) = if options.ack == AckLevel::None {
            (Kind::PublishQuiet(size), Timestamp::MAX)
        } else {
            let state = PublishState { size, backoff: Backoff::PUBLISH, refusal: None };
            (Kind::Publish(state), deadline)
        };
        let (_, id) = self.inflight.insert(topic, kind, deadline, publish);
        if self.scratch.capacity() > SCRATCH_KEPT {
            self.scratch = Vec::new();
        }
        self.settle();
        Ok(id)
    }

    /// Starts a subscription; answered by [`Answer::Subscribed`].
    ///
    /// It outlives connections: after a reconnect it goes on after the last committed offset, or from where it
    /// began if none was; with `window = 0` after the last message taken.
    ///
    /// # Errors
    /// [`RequestError`]'s variants that say that nothing was sent.
    pub fn subscribe(
        &mut self,
        now: Timestamp,
        topic: &str,
        options: SubscribeOptions,
    ) -> Result<(RequestId, SubscriptionId), RequestError> {
        self.tick(now);
        let name = TopicName::parse(topic.as_bytes()).map_err(RequestError::InvalidTopic)?;
        let windows =
            [(self.limits.max_window, options.window), (self.limits.max_window_bytes, options.window_bytes)];
        if let Some((limit, got)) = windows.into_iter().find(|(limit, got)| got > limit) {
            return Err(RequestError::WindowTooLarge { limit, got });
        }
        self.admit()?;
        let limit = self.limits.max_subscriptions.min(MAX_SUBSCRIPTIONS);
        let subscription = self.subscriptions.next_id();
        let Some(subscription) = subscription.filter(|_| self.subscriptions.len() < limit as usize) else {
            return Err(RequestError::TooManySubscriptions { limit });
        };
        let topic = self.shared_topic(name);
        let kind = Kind::Subscribe(subscription);
        let (wire, id) = self.inflight.insert(Arc::clone(&topic), kind, Timestamp::MAX, |wire| {
            encode_subscribe(wire, subscription, &topic, &options, options.start)
        });
        self.subscriptions.insert(Subscription::new(subscription, topic, options, wire));
        self.settle();
        Ok((id, subscription))
    }

    /// Ends a subscription; answered by [`Answer::Unsubscribed`].
    ///
    /// Messages may be taken until the answer; after it only [`Incoming::Ended`](super::Incoming::Ended) is, and
    /// with that the subscription is gone. Never [`RequestError::Full`].
    ///
    /// # Errors
    /// [`RequestError::NoSubscription`], [`RequestError::Closed`].
    pub fn unsubscribe(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.check_open()?;
        let state = self.active(subscription)?;
        let is_at_broker = match state.phase {
            Phase::Detached | Phase::Over => false,
            Phase::Resubscribing(wire) => self.inflight.is_sent(wire),
            Phase::Subscribing(_) | Phase::Active => true,
        };
        if !is_at_broker {
            let answer = self.end_locally(subscription);
            return Ok(self.inflight.answer_at_once(Ok(answer)));
        }
        let topic = Arc::clone(&state.topic);
        self.subscriptions.update(subscription, |state| state.is_ending = true);
        let kind = Kind::Unsubscribe(subscription);
        let (_, id) = self.inflight.insert(topic, kind, Timestamp::MAX, |request| {
            let frame = ClientFrame::Unsubscribe(Unsubscribe { request, subscription: subscription.0 });
            encode(&mut self.arena, SMALL_FRAME, &frame)
        });
        self.settle();
        Ok(id)
    }

    /// Everything up to and including `offset` is done; answered by [`Answer::Committed`] (semantics A2).
    ///
    /// Without a connection the client remembers it for when it resumes. What is committed already is answered
    /// as done (A3).
    ///
    /// # Errors
    /// [`RequestError::Refused`] with `CommitsOff` for `window = 0`, and with `CommitAhead` for an offset that was
    /// not taken yet; [`NoSubscription`](RequestError::NoSubscription), [`Full`](RequestError::Full),
    /// [`Closed`](RequestError::Closed). Nothing was sent, nothing is committed.
    pub fn commit(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
        offset: u64,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.admit()?;
        let topic = self.check_commit(subscription, offset)?;
        let is_news = self.subscriptions.update(subscription, |state| state.commit(offset));
        if is_news != Some(true) {
            let cursor = self.subscriptions.get(subscription).map_or(0, Subscription::cursor);
            return Ok(self.inflight.answer_at_once(Ok(Answer::Committed { cursor })));
        }
        let deadline = self.after(self.config.request_timeout);
        let kind = Kind::Commit(subscription, offset);
        let (_, id) = self.inflight.insert(topic, kind, deadline, |request| {
            encode(&mut self.arena, SMALL_FRAME, &commit_frame(request, subscription, offset, false))
        });
        self.settle();
        Ok(id)
    }

    /// As [`commit`](Self::commit), without an answer and never [`RequestError::Full`]: the cheap way.
    ///
    /// # Errors
    /// As `commit`; should the broker refuse it, [`poll_refused`](Self::poll_refused) tells.
    pub fn commit_quiet(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
        offset: u64,
    ) -> Result<(), RequestError> {
        self.tick(now);
        self.check_open()?;
        self.check_commit(subscription, offset)?;
        let is_news = self.subscriptions.update(subscription, |state| state.commit(offset));
        if is_news == Some(true) {
            self.send_quiet_commit(subscription, offset);
        }
        Ok(())
    }

    /// Commits the last message that the application took, from whichever subscription it came (semantics A-07).
    ///
    /// Subscriptions with `window = 0`, where nothing is committed, do not count.
    ///
    /// # Errors
    /// [`RequestError::NothingToCommit`], else as [`commit`](Self::commit).
    pub fn commit_last(&mut self, now: Timestamp) -> Result<RequestId, RequestError> {
        let (subscription, offset) = self.last_taken().ok_or(RequestError::NothingToCommit)?;
        self.commit(now, subscription, offset)
    }

    /// The message that [`commit_last`](Self::commit_last) would commit.
    #[must_use]
    pub const fn last_taken(&self) -> Option<(SubscriptionId, u64)> {
        self.subscriptions.last_taken()
    }

    /// Asks the broker for a sign of life; answered by [`Answer::Pong`].
    ///
    /// # Errors
    /// [`RequestError::Full`], [`RequestError::Closed`].
    pub fn ping(&mut self, now: Timestamp) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.admit()?;
        let deadline = self.after(self.config.request_timeout);
        let (_, id) = self.inflight.insert(Arc::default(), Kind::Ping, deadline, |wire| {
            let frame = ClientFrame::Ping { nonce: u64::from(wire) };
            encode(&mut self.arena, SMALL_FRAME, &frame)
        });
        self.settle();
        Ok(id)
    }

    /// Writes a commit at once. The windows bound how many there can be: each one follows a message that was
    /// received, and the broker sends no further ones before it has the commits.
    pub(super) fn send_quiet_commit(&mut self, subscription: SubscriptionId, offset: u64) {
        let frame = commit_frame(QUIET, subscription, offset, true);
        self.outbound.frame(LaneKind::Control, |out| frame.encode(out));
    }

    fn topic_request<'f>(
        &mut self,
        now: Timestamp,
        topic: &'f str,
        kind: Kind,
        frame: impl FnOnce(u32, &'f [u8]) -> ClientFrame<'f>,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        let name = TopicName::parse(topic.as_bytes()).map_err(RequestError::InvalidTopic)?;
        self.admit()?;
        let deadline = self.after(self.config.request_timeout);
        let shared = self.shared_topic(name);
        let (_, id) = self.inflight.insert(shared, kind, deadline, |request| {
            encode(&mut self.arena, SMALL_FRAME, &frame(request, topic.as_bytes()))
        });
        self.settle();
        Ok(id)
    }

    const fn check_open(&self) -> Result<(), RequestError> {
        if self.drain_deadline.is_some() || matches!(self.link, Link::Closed(_)) {
            return Err(RequestError::Closed);
        }
        Ok(())
    }

    /// Whether one more request may be made.
    fn admit(&self) -> Result<(), RequestError> {
        self.check_open()?;
        let unwritten = self.inflight.unsent_bytes().saturating_add(self.outbound.control_len());
        if self.inflight.len() >= self.config.max_in_flight.clamp(1, ClientConfig::MAX_IN_FLIGHT)
            || self.inflight.kept_bytes() >= self.config.max_in_flight_bytes.max(1)
            || unwritten >= self.config.max_outbound_bytes.max(1)
        {
            return Err(RequestError::Full);
        }
        Ok(())
    }

    fn active(&self, id: SubscriptionId) -> Result<&Subscription, RequestError> {
        let subscription = self.subscriptions.get(id);
        let active = subscription.filter(|state| state.phase != Phase::Over && !state.is_ending);
        active.ok_or(RequestError::NoSubscription(id))
    }

    /// Whether `offset` may be committed: what the broker would refuse never moves the place to resume at.
    fn check_commit(&self, id: SubscriptionId, offset: u64) -> Result<Arc<str>, RequestError> {
        let subscription = self.active(id)?;
        let topic = Arc::clone(&subscription.topic);
        let refusal = if subscription.options.window == 0 {
            Refusal::new(RefusalCode::CommitsOff)
        } else if offset >= subscription.taken_to() {
            Refusal::with_value(RefusalCode::CommitAhead, subscription.taken_to())
        } else {
            return Ok(topic);
        };
        Err(RequestError::Refused { topic, refusal })
    }

    /// The name as shared text; the one used last is not copied again.
    fn shared_topic(&mut self, name: TopicName<'_>) -> Arc<str> {
        if *self.last_topic != *name.as_str() {
            self.last_topic = Arc::from(name.as_str());
        }
        Arc::clone(&self.last_topic)
    }
}

/// A Subscribe frame of its own.
pub(super) fn encode_subscribe(
    request: u32,
    subscription: SubscriptionId,
    topic: &str,
    options: &SubscribeOptions,
    start: Start,
) -> Bytes {
    let mut out = BytesMut::new();
    let frame = ClientFrame::Subscribe(Subscribe {
        request,
        subscription: subscription.0,
        topic: topic.as_bytes(),
        start,
        window: options.window,
        window_bytes: options.window_bytes,
        max_attempts: 0,
        dead_letter: &[],
        durable: None,
    });
    frame.encode(&mut out);
    out.freeze()
}

fn commit_frame(
    request: u32,
    subscription: SubscriptionId,
    offset: u64,
    quiet: bool,
) -> ClientFrame<'static> {
    ClientFrame::Commit(Commit { request, subscription: subscription.0, offset, quiet })
}

/// A frame of at most `len` bytes, cut from a buffer that small frames share: few allocations for many of them.
fn encode(arena: &mut BytesMut, len: usize, frame: &ClientFrame<'_>) -> Bytes {
    if len > ARENA_FRAME {
        let mut own = BytesMut::with_capacity(len);
        frame.encode(&mut own);
        return own.freeze();
    }
    if arena.capacity() < len {
        // Takes the same memory again when every frame cut from it is gone.
        arena.reserve(ARENA);
    }
    frame.encode(arena);
    arena.split().freeze()
}

/// What the limits bound in a publish, after checking what no limit allows.
fn measure(topic: TopicName<'_>, records: &[Record<'_>]) -> Result<Size, RequestError> {
    let mut size = Size {
        records: u32::try_from(records.len()).unwrap_or(u32::MAX),
        message: 0,
        frame: PUBLISH_FIXED.saturating_add(topic.as_str().len()),
    };
    for (index, record) in records.iter().enumerate() {
        let bad = |error| RequestError::BadRecord { index, error };
        record.check().map_err(bad)?;
        if record.timestamp != 0 {
            return Err(bad(RecordError::TimestampSet));
        }
        let encoded = record.encoded_len();
        // The record's own fields do not count as message.
        let mut fixed = RECORD_OVERHEAD;
        fixed = fixed.saturating_add(if record.ttl_micros.is_some() { 8 } else { 0 });
        fixed = fixed.saturating_add(if record.headers.is_empty() { 0 } else { 4 });
        size.message = size.message.max(encoded.saturating_sub(fixed));
        size.frame = size.frame.saturating_add(encoded);
    }
    if records.is_empty() {
        return Err(RequestError::NoRecords);
    }
    Ok(size)
}
