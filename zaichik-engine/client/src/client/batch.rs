//! Batches: several publishes and commits that take effect together or not at all (semantics X).

use core::fmt;
use std::sync::Arc;

use zaichik_proto::{
    AckLevel, Batch as BatchFrame, BatchDuplicate, BatchResult, Batched, ClientFrame, HEADER_LEN, Operation,
    OperationsBuilder, Record, Records, TopicName,
};

use super::Client;
use super::publish::encode;
use crate::answer::{Answer, BatchReceipt, PublishReceipt, RequestId, SubscriptionId};
use crate::backoff::Backoff;
use crate::config::PublishOptions;
use crate::error::{RequestError, Violation};
use crate::requests::request::{Kind, PublishState};
use crate::size::Size;
use crate::subscriptions::subscription::Phase;
use zaichik_proto::Timestamp;

/// Bytes of a Batch frame's body beside the producer and the operations.
const BATCH_FIXED: usize = 4 + 4 + 1 + 1;
/// Bytes of a publish in a batch beside its topic and its records.
const PUBLISH_FIXED: usize = 1 + 4 + 4 + 1;
/// Bytes of a commit in a batch.
const COMMIT_FIXED: usize = 1 + 4 + 8;

/// Publishes and commits to be done in one step, collected here and sent by
/// [`send_batch`](Client::send_batch).
///
/// Adding never fails: what can't be done is found when the batch is sent.
///
/// ```
/// use zaichik_client::Batch;
/// use zaichik_proto::Record;
/// let record = Record { body: b"invoice", ..Record::default() };
/// let mut batch = Batch::new();
/// batch.publish("invoices", &[record]).publish("audit", &[record]);
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Default)]
pub struct Batch {
    operations: Vec<Draft>,
    encoded: OperationsBuilder,
    size: Size,
    /// What was wrong first; nothing is collected after it.
    error: Option<RequestError>,
}

#[derive(Clone)]
enum Draft {
    Publish { topic: Arc<str>, count: u32 },
    Commit { subscription: SubscriptionId, offset: u64 },
}

/// One operation of a batch that was sent.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Publish {
        topic: Arc<str>,
        count: u32,
    },
    Commit {
        topic: Arc<str>,
        subscription: SubscriptionId,
        offset: u64,
        /// How often the subscription had been moved elsewhere before; a commit means nothing after one more time.
        generation: u32,
    },
}

impl Batch {
    /// Most operations (semantics X6).
    pub const MAX_OPERATIONS: usize = 1_000;

    /// A batch without operations, which may be sent as it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends records to a topic, together with all else; the records are copied.
    pub fn publish(&mut self, topic: &str, records: &[Record<'_>]) -> &mut Self {
        self.add(|batch| {
            let name = TopicName::parse(topic.as_bytes()).map_err(RequestError::InvalidTopic)?;
            let size = Size::of(records)?.with(PUBLISH_FIXED.saturating_add(topic.len()));
            let mut bytes = Vec::new();
            for record in records {
                record.encode(&mut bytes);
            }
            let records = Records::from_encoded(size.records, &bytes);
            batch.encoded.push(Operation::Publish { topic: topic.as_bytes(), records });
            batch.operations.push(Draft::Publish { topic: name.as_str().into(), count: size.records });
            batch.size = batch.size.and(size);
            Ok(())
        })
    }

    /// Commits everything of a subscription up to and including `offset`, together with all else.
    pub fn commit(&mut self, subscription: SubscriptionId, offset: u64) -> &mut Self {
        self.add(|batch| {
            batch.encoded.push(Operation::Commit { subscription: subscription.0, offset });
            batch.operations.push(Draft::Commit { subscription, offset });
            batch.size = batch.size.with(COMMIT_FIXED);
            Ok(())
        })
    }

    /// How many operations were added; none after the first one that can't be done.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    fn add(&mut self, add: impl FnOnce(&mut Self) -> Result<(), RequestError>) -> &mut Self {
        if self.error.is_some() {
            return self;
        }
        let operation = self.operations.len();
        if operation >= Self::MAX_OPERATIONS {
            self.error = Some(RequestError::BatchTooLong { limit: Self::MAX_OPERATIONS });
        } else if let Err(error) = add(self) {
            self.error = Some(in_batch(operation, error));
        }
        self
    }
}

impl fmt::Debug for Batch {
    /// Tells how much there is, not what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("operations", &self.operations.len())
            .field("size", &self.size)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Does everything in a batch in one step, or nothing of it; answered by [`Answer::Batched`].
    ///
    /// A commit counts here when the answer comes. What the broker refuses only for the moment is sent again until
    /// the deadline, as with [`publish`](Self::publish). When the broker refuses one operation,
    /// [`RequestError::Refused`] names it.
    ///
    /// A batch with commits whose connection breaks is settled before its subscriptions go on: either it was applied,
    /// or [`RequestError::NotApplied`] tells that it was not and its messages come again.
    ///
    /// # Errors
    /// [`RequestError`]'s variants that say that nothing was sent, in [`RequestError::InBatch`] if they are about one
    /// operation; [`NotApplied`](RequestError::NotApplied) for a commit of what was taken on a connection that is
    /// gone.
    pub fn send_batch(
        &mut self,
        now: Timestamp,
        batch: &Batch,
        options: PublishOptions,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        if let Some(error) = &batch.error {
            return Err(error.clone());
        }
        if options.ack == AckLevel::None {
            return Err(RequestError::BatchUnanswered);
        }
        let size = batch.size.with(BATCH_FIXED).with(self.producer_len());
        size.check(&self.limits)?;
        self.admit()?;
        let entries = self.entries(batch)?;
        let topic = entries.first().map_or_else(Arc::default, |entry| Arc::clone(entry.topic()));
        let state = PublishState { size, backoff: Backoff::PUBLISH, refusal: None };
        let (deadline, producer) = (self.after(options.deadline), self.unnumbered());
        let len = size.frame.saturating_add(HEADER_LEN);
        let (wire, id) = self.inflight.insert(topic, Kind::Batch(state), deadline, |request| {
            let operations = batch.encoded.operations();
            let frame = BatchFrame { request, ack: options.ack, producer, operations };
            encode(&mut self.arena, len, &ClientFrame::Batch(frame))
        });
        self.inflight.set_entries(wire, entries.into());
        self.settle();
        Ok(id)
    }

    /// Checks the commits of a batch, and notes what its answer will be held against.
    fn entries(&self, batch: &Batch) -> Result<Vec<Entry>, RequestError> {
        let mut entries = Vec::with_capacity(batch.operations.len());
        for (operation, draft) in batch.operations.iter().enumerate() {
            entries.push(match draft {
                Draft::Publish { topic, count } => Entry::Publish { topic: Arc::clone(topic), count: *count },
                Draft::Commit { subscription, offset } => {
                    self.commit_entry(operation, *subscription, *offset)?
                }
            });
        }
        Ok(entries)
    }

    fn commit_entry(
        &self,
        operation: usize,
        subscription: SubscriptionId,
        offset: u64,
    ) -> Result<Entry, RequestError> {
        let refused = |error| in_batch(operation, error);
        let topic = self.check_commit(subscription, offset).map_err(refused)?;
        let state = self.active(subscription).map_err(refused)?;
        // On this connection the broker takes only what it delivered on it.
        if state.phase != Phase::Active || !state.was_delivered(offset) {
            return Err(RequestError::NotApplied { topic });
        }
        Ok(Entry::Commit { topic, subscription, offset, generation: state.generation() })
    }

    /// The broker did everything in a batch.
    pub(super) fn batched(&mut self, batched: &Batched<'_>) -> Result<(), Violation> {
        let request = batched.request;
        let (Kind::Batch(_), Some(entries)) = (self.sent_kind(request)?, self.inflight.entries(request))
        else {
            return Err(Violation::Answer { request });
        };
        let receipt = receipt(batched, &entries).ok_or(Violation::Offsets { request })?;
        self.number_used(request)?;
        for entry in entries.iter() {
            if let Entry::Commit { subscription, offset, generation, .. } = *entry {
                self.subscriptions.update(subscription, |state| {
                    if state.generation() == generation {
                        state.commit(offset);
                    }
                });
            }
        }
        self.finish(request, Ok(Answer::Batched(receipt)));
        Ok(())
    }

    /// Answers a publish or a batch for good; subscriptions that waited for what becomes of it go on.
    pub(super) fn finish(&mut self, wire: u32, result: Result<Answer, RequestError>) {
        let waited_for = self.inflight.lost_entries(wire);
        self.inflight.answer(wire, result);
        for entry in waited_for.iter().flat_map(|entries| entries.iter()) {
            if let Entry::Commit { subscription, .. } = *entry {
                self.subscriptions.update(subscription, |state| state.waits_for_batch(false));
                self.go_on(subscription);
            }
        }
    }
}

impl Entry {
    pub(super) const fn topic(&self) -> &Arc<str> {
        match self {
            Self::Publish { topic, .. } | Self::Commit { topic, .. } => topic,
        }
    }

    pub(crate) const fn is_commit(&self) -> bool {
        matches!(self, Self::Commit { .. })
    }
}

fn in_batch(operation: usize, error: RequestError) -> RequestError {
    RequestError::InBatch { operation, error: Box::new(error) }
}

/// What the answer says about each publish; `None` if it does not fit the batch.
fn receipt(batched: &Batched<'_>, entries: &[Entry]) -> Option<BatchReceipt> {
    let mut results = batched.results.iter();
    let mut duplicates = batched.duplicates.iter().peekable();
    let mut publishes = Vec::with_capacity(batched.results.len());
    for (operation, entry) in entries.iter().enumerate() {
        let Entry::Publish { count, .. } = *entry else {
            continue;
        };
        let BatchResult { operation: answered, created, first_offset } = results.next()?;
        let is_of = |duplicate: &BatchDuplicate| duplicate.operation == answered;
        let receipt = PublishReceipt {
            first_offset: (first_offset != u64::MAX).then_some(first_offset),
            count,
            duplicates: core::iter::from_fn(|| duplicates.next_if(is_of).map(|found| found.duplicate))
                .collect(),
            created,
        };
        if answered as usize != operation || !receipt.is_consistent() {
            return None;
        }
        publishes.push(receipt);
    }
    (results.next().is_none() && duplicates.next().is_none()).then_some(BatchReceipt { publishes })
}
