//! Publishes and batches: checked here, before a byte is sent (chapters P, X).

use std::sync::Arc;

use zaichik_proto::{
    AckLevel, Batch as BatchFrame, ClientFrame, HEADER_LEN, OperationsBuilder, Producer, Publish, Record,
    Records, Timestamp, TopicName, Version,
};

use super::Client;
use crate::answer::RequestId;
use crate::batch::{self, Batch, BatchOperation, SentOperation};
use crate::config::PublishOptions;
use crate::error::RequestError;
use crate::requests::{NewRequest, PublishState, RequestKind};
use crate::size::Size;

/// Bytes of a Publish frame's body besides the producer, the topic and the records.
const PUBLISH_FIXED: usize = 4 + 4 + 1 + 1 + 1;

/// Bytes of a rewind number.
const REWIND: usize = 4;

/// Bytes of a producer's id, epoch and sequence number.
const PRODUCER_FIXED: usize = 16 + 4 + 8;

impl Client {
    /// Appends records to a topic, all of them in one step; answered by
    /// [`Answer::Published`](crate::Answer::Published), or at once by [`Answer::Queued`](crate::Answer::Queued) with
    /// [`AckLevel::None`].
    ///
    /// A publish that the broker refuses temporarily is resent until the deadline, and so is one without an answer when
    /// its connection broke. With a [`producer`](crate::ClientConfig::producer) both happen in the order of the calls,
    /// which is the order in the log (rule P6), and the records are stored once: later publishes and batches wait for
    /// earlier ones; with [`AckLevel::None`] until these are answered. [`RequestError::Unknown`] then remains only for a deadline that passes first, for another instance of the
    /// broker, and for [`resend_timeout`](crate::ClientConfig::resend_timeout).
    ///
    /// Without a producer later publishes may overtake a resent one, and the outcome of a publish without an answer when
    /// its connection broke is unknown.
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
        let producer = self.unnumbered_producer().filter(|_| !is_quiet);
        let size = Size::of(records)?.with(PUBLISH_FIXED.saturating_add(topic.len()));
        let size = size.with(producer.map_or(0, |_| PRODUCER_FIXED));
        size.check(self.limits())?;
        self.check_room()?;
        let (kind, deadline) = if is_quiet {
            (RequestKind::QuietPublish(size), Timestamp::MAX)
        } else {
            (RequestKind::Publish(PublishState::new(size)), self.after(options.deadline))
        };
        let new = NewRequest { topic: self.encoder.share_topic(name), kind, deadline, operations: None };
        let len = size.frame.saturating_add(HEADER_LEN);
        let (_, id) = self.requests.insert(new, |request| {
            let publish = Publish {
                request,
                ack: options.ack,
                producer,
                topic: topic.as_bytes(),
                records: Records::from_encoded(size.records, &[]),
            };
            self.encoder.publish(len, publish, records)
        });
        self.settle();
        Ok(id)
    }

    /// Applies a batch in one step, all of it or nothing; answered by [`Answer::Batched`](crate::Answer::Batched).
    ///
    /// The client counts its commits as done when the answer arrives. A batch that the broker refuses temporarily is
    /// resent until the deadline, as with [`publish`](Self::publish). If the broker refuses one operation,
    /// [`RequestError::Refused`] names it.
    ///
    /// If the connection breaks, a batch with commits is settled before its subscriptions resume: either it was
    /// applied, or [`RequestError::NotApplied`] reports that it was not and its messages are redelivered.
    ///
    /// # Errors
    /// [`RequestError`]'s variants that say that nothing was sent, in [`RequestError::InBatch`] if they are about one
    /// operation; [`NotApplied`](RequestError::NotApplied) for a commit of a message taken on a connection that is
    /// gone.
    pub fn send_batch(
        &mut self,
        now: Timestamp,
        batch: &Batch,
        options: PublishOptions,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        let operations = batch.encoded()?;
        if options.ack == AckLevel::None {
            return Err(RequestError::BatchUnanswered);
        }
        let producer = self.unnumbered_producer();
        let size = batch.size().with(producer.map_or(0, |_| PRODUCER_FIXED));
        size.check(self.limits())?;
        self.check_room()?;
        let sent = self.sent_operations(batch)?;
        let commits: Vec<_> = sent.iter().filter_map(SentOperation::numbers).collect();
        // Only a batch that commits differs between the versions, and it has its connection.
        let is_plain = commits.is_empty() || self.connection.version() == Version::One;
        let size = size.with(if is_plain { 0 } else { commits.len().saturating_mul(REWIND) });
        size.check(self.limits())?;
        let with_rewinds = if is_plain { None } else { Some(batch.encoded_with(commits)) };
        let operations = with_rewinds.as_ref().map_or(operations, OperationsBuilder::operations);
        let new = NewRequest {
            topic: sent.first().map_or_else(Arc::default, |operation| Arc::clone(operation.topic())),
            kind: RequestKind::Batch(PublishState::new(size)),
            deadline: self.after(options.deadline),
            operations: Some(sent.into()),
        };
        let len = size.frame.saturating_add(HEADER_LEN);
        let (_, id) = self.requests.insert(new, |request| {
            let frame = BatchFrame { request, ack: options.ack, producer, operations };
            self.encoder.sized(len, &ClientFrame::Batch(frame))
        });
        self.settle();
        Ok(id)
    }

    /// Checks the commits of a batch, and keeps the operations for comparison with its answer.
    fn sent_operations(&self, batch: &Batch) -> Result<Vec<SentOperation>, RequestError> {
        let operations = batch.operations().iter().enumerate();
        operations
            .map(|(number, operation)| match operation {
                BatchOperation::Publish { topic, count } => {
                    Ok(SentOperation::Publish { topic: Arc::clone(topic), count: *count })
                }
                BatchOperation::Ack { hold } => {
                    let subscription = self.subscriptions.usable(hold.subscription);
                    let checked = subscription.and_then(|subscription| {
                        subscription.check_hold(*hold)?;
                        Ok(Arc::clone(subscription.topic()))
                    });
                    let topic = checked.map_err(|error| batch::in_batch(number, error))?;
                    Ok(SentOperation::Ack { topic, subscription: hold.subscription })
                }
                BatchOperation::Commit { subscription, offset } => {
                    let subscription = self.subscriptions.usable(*subscription);
                    let checked = subscription.and_then(|subscription| {
                        subscription.check_commit(*offset)?;
                        Ok(subscription)
                    });
                    let subscription = checked.map_err(|error| batch::in_batch(number, error))?;
                    let topic = Arc::clone(subscription.topic());
                    // The broker accepts only commits of messages that it delivered on this connection.
                    if !subscription.is_active() || !subscription.was_delivered(*offset) {
                        return Err(RequestError::NotApplied { topic });
                    }
                    let (id, generation) = (subscription.id(), subscription.generation());
                    let (offset, number, rewind) =
                        (*offset, subscription.number(), subscription.rewind_number());
                    Ok(SentOperation::Commit { topic, subscription: id, offset, generation, number, rewind })
                }
            })
            .collect()
    }

    /// The producer's wire form in a frame whose sequence number is not known yet.
    fn unnumbered_producer(&self) -> Option<Producer> {
        let identity = self.requests.producer()?;
        Some(Producer { id: identity.id, epoch: identity.epoch, sequence: 0 })
    }
}
