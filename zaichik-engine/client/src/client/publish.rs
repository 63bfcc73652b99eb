//! What the application asks for: checked here, before a byte is sent.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{
    AckLevel, AlterTopic, ClientFrame, CreateTopic, HEADER_LEN, Producer, Publish, Record, Records,
    TopicName, TopicOptions,
};

use super::{Client, Link};
use crate::answer::RequestId;
use crate::backoff::Backoff;
use crate::config::{ClientConfig, PublishOptions};
use crate::error::RequestError;
use crate::requests::request::{Kind, PublishState};
use crate::size::Size;
use zaichik_proto::Timestamp;

/// Bytes of a Publish frame's body beside the producer, the topic and the records.
const PUBLISH_FIXED: usize = 4 + 4 + 1 + 1 + 1;

/// Bytes of a producer's id, epoch and number.
const PRODUCER_FIXED: usize = 16 + 4 + 8;

/// Above this the buffer that records are encoded in is given back after use, in bytes.
const SCRATCH_KEPT: usize = 64 << 10;

/// The buffer that small frames are cut from, in bytes; one frame that stays unanswered keeps all of it.
const ARENA: usize = 16 << 10;

/// Above this a frame gets a buffer of its own, in bytes.
const ARENA_FRAME: usize = ARENA / 4;

/// More than any frame but a publish needs, in bytes: a topic, its options and the fixed fields.
pub(super) const SMALL_FRAME: usize = 512;

impl Client {
    /// Creates a topic, or gives an implicit one its settings; answered by [`Answer::Topic`](crate::Answer::Topic)
    /// (semantics T2 to T4).
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

    /// Changes an explicit topic's settings in place; answered by [`Answer::Altered`](crate::Answer::Altered)
    /// (semantics T7).
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

    /// Appends records to a topic, all of them in one step; answered by
    /// [`Answer::Published`](crate::Answer::Published), or at once by [`Answer::Queued`](crate::Answer::Queued) with
    /// [`AckLevel::None`].
    ///
    /// What the broker refuses only for the moment is sent again until the deadline, and so is what had no answer when
    /// its connection broke. With a [`producer`](ClientConfig::producer) both happen in the order of the calls, which is
    /// the order in the log, and the records are stored once: later publishes and batches wait for earlier ones.
    /// [`RequestError::Unknown`] then is left for a deadline that passes first, another instance of the broker, and
    /// [`resend_timeout`](ClientConfig::resend_timeout).
    ///
    /// Without a producer, and with [`AckLevel::None`], later publishes may overtake one that is sent again, and one
    /// without an answer when its connection broke is unknown.
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
        let is_quiet = options.ack == AckLevel::None;
        let producer = self.unnumbered().filter(|_| !is_quiet);
        let size = Size::of(records)?.with(PUBLISH_FIXED.saturating_add(topic.len()));
        let size = size.with(producer.map_or(0, |_| PRODUCER_FIXED));
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
                producer,
                topic: name.as_str().as_bytes(),
                records: Records::from_encoded(size.records, &self.scratch),
            });
            encode(&mut self.arena, len, &frame)
        };
        let (kind, deadline) = if is_quiet {
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

    /// Asks the broker for a sign of life; answered by [`Answer::Pong`](crate::Answer::Pong).
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

    /// The producer as it stands in a frame whose number is not known yet.
    pub(super) fn unnumbered(&self) -> Option<Producer> {
        let identity = self.inflight.producer.identity()?;
        Some(Producer { id: identity.id, epoch: identity.epoch, sequence: 0 })
    }

    /// How many bytes the producer takes in a frame.
    pub(super) fn producer_len(&self) -> usize {
        self.inflight.producer.identity().map_or(0, |_| PRODUCER_FIXED)
    }

    pub(super) const fn check_open(&self) -> Result<(), RequestError> {
        if self.drain_deadline.is_some() || matches!(self.link, Link::Closed(_)) {
            return Err(RequestError::Closed);
        }
        Ok(())
    }

    /// Whether one more request may be made.
    pub(super) fn admit(&self) -> Result<(), RequestError> {
        self.check_open()?;
        let unwritten = self.inflight.unsent_bytes().saturating_add(self.outbound.len());
        if self.inflight.len() >= self.config.max_in_flight.clamp(1, ClientConfig::MAX_IN_FLIGHT)
            || self.inflight.kept_bytes() >= self.config.max_in_flight_bytes.max(1)
            || unwritten >= self.config.max_outbound_bytes.max(1)
        {
            return Err(RequestError::Full);
        }
        Ok(())
    }

    /// The name as shared text; the one used last is not copied again.
    pub(super) fn shared_topic(&mut self, name: TopicName<'_>) -> Arc<str> {
        if *self.last_topic != *name.as_str() {
            self.last_topic = Arc::from(name.as_str());
        }
        Arc::clone(&self.last_topic)
    }
}

/// A frame of at most `len` bytes, cut from a buffer that small frames share: few allocations for many of them.
pub(super) fn encode(arena: &mut BytesMut, len: usize, frame: &ClientFrame<'_>) -> Bytes {
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
