//! Batches: several publishes and commits that take effect together or not at all (chapter X).

use core::fmt;
use std::sync::Arc;

use zaichik_proto::{
    BatchDuplicate, BatchResult, Batched, Limits, List, OffsetRange, Operation, Operations,
    OperationsBuilder, Record, Records, SubscribePattern, TopicName,
};

use crate::answer::{BatchReceipt, Hold, PublishReceipt, SubscriptionId};
use crate::error::RequestError;
use crate::size::Size;

/// Bytes of a Batch frame's body besides the producer and the operations.
const BATCH_FIXED: usize = 4 + 4 + 1 + 1;
/// Bytes of a publish in a batch besides its topic and its records.
const PUBLISH_FIXED: usize = 1 + 4 + 4 + 1;
/// Bytes of a commit in a batch, without its rewind number.
const COMMIT_FIXED: usize = 1 + 4 + 8;

/// Bytes of an acknowledgement in a batch besides its ranges, and of each of these.
const ACK_FIXED: usize = 1 + 4 + 4 + 4;
const RANGE: usize = 12;

/// Publishes and commits that take effect in one step, collected here and sent by
/// [`send_batch`](crate::Client::send_batch).
///
/// Adding never fails: an invalid operation is reported when the batch is sent.
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
    operations: Vec<BatchOperation>,
    encoded: OperationsBuilder,
    size: Size,
    /// The first error; no operation is added after it.
    error: Option<RequestError>,
}

#[derive(Clone)]
pub(crate) enum BatchOperation {
    Publish { topic: Arc<str>, count: u32 },
    Commit { subscription: SubscriptionId, offset: u64 },
    Ack { hold: Hold },
}

/// One operation of a batch that was sent.
#[derive(Debug, Clone)]
pub(crate) enum SentOperation {
    Publish {
        topic: Arc<str>,
        count: u32,
    },
    Commit {
        topic: Arc<str>,
        subscription: SubscriptionId,
        offset: u64,
        /// The subscription's generation when the batch was made: the commit is void in a later one.
        generation: u32,
        /// The subscription's number in frames, and its rewind number then.
        number: u32,
        rewind: u32,
    },
    Ack {
        topic: Arc<str>,
        subscription: SubscriptionId,
    },
}

impl Batch {
    /// Maximum operations (rule X6).
    pub const MAX_OPERATIONS: usize = 1_000;

    /// A batch without operations; sending it is allowed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a publish to a topic; the records are copied.
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
            batch
                .operations
                .push(BatchOperation::Publish { topic: name.as_str().into(), count: size.records });
            batch.size = batch.size.and(size);
            Ok(())
        })
    }

    /// Adds a commit of everything in a subscription up to and including `offset`.
    pub fn commit(&mut self, subscription: SubscriptionId, offset: u64) -> &mut Self {
        self.add(|batch| {
            // Which rewind number it carries, if any, is known when the batch is sent.
            batch.encoded.push(Operation::Commit { subscription: subscription.0, offset, rewind: None });
            batch.operations.push(BatchOperation::Commit { subscription, offset });
            batch.size = batch.size.with(COMMIT_FIXED);
            Ok(())
        })
    }

    /// Adds an acknowledgement of messages of a shared subscription, all of which this client must hold (rule G9).
    pub fn ack(&mut self, hold: Hold, offsets: &[OffsetRange]) -> &mut Self {
        self.add(|batch| {
            check_ranges(offsets)?;
            let mut bytes = Vec::new();
            let ranges = List::encode_into(&mut bytes, offsets.iter().copied());
            let (subscription, rewind) = (hold.subscription.0, hold.rewind);
            batch.encoded.push(Operation::Ack { subscription, rewind, ranges });
            batch.operations.push(BatchOperation::Ack { hold });
            batch.size = batch.size.with(ACK_FIXED.saturating_add(offsets.len().saturating_mul(RANGE)));
            Ok(())
        })
    }

    /// The size of a frame with all operations, without the producer.
    pub(crate) fn size(&self) -> Size {
        self.size.with(BATCH_FIXED)
    }

    /// The operations in their wire form, or the error of an invalid one.
    pub(crate) fn encoded(&self) -> Result<Operations<'_>, RequestError> {
        match &self.error {
            Some(error) => Err(error.clone()),
            None => Ok(self.encoded.operations()),
        }
    }

    /// The operations in their wire form, where each commit carries the next number of a subscription and rewind number.
    pub(crate) fn encoded_with(&self, commits: impl IntoIterator<Item = (u32, u32)>) -> OperationsBuilder {
        let mut commits = commits.into_iter();
        let operations = self.encoded.operations();
        let with_rewind = |operation| match operation {
            Operation::Commit { subscription, offset, .. } => {
                let (number, rewind) = commits.next().unzip();
                Operation::Commit { subscription: number.unwrap_or(subscription), offset, rewind }
            }
            other @ (Operation::Publish { .. } | Operation::Ack { .. }) => other,
        };
        operations.iter().map(with_rewind).collect()
    }

    pub(crate) fn operations(&self) -> &[BatchOperation] {
        &self.operations
    }

    /// The number of operations, up to the first invalid one.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are no operations.
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
    /// Shows the number of operations, not their contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("operations", &self.operations.len())
            .field("size", &self.size)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl SentOperation {
    pub(crate) const fn topic(&self) -> &Arc<str> {
        match self {
            Self::Publish { topic, .. } | Self::Commit { topic, .. } | Self::Ack { topic, .. } => topic,
        }
    }

    /// The number of the subscription and the rewind number that it carries, if it is a commit.
    pub(crate) const fn numbers(&self) -> Option<(u32, u32)> {
        match self {
            Self::Publish { .. } | Self::Ack { .. } => None,
            Self::Commit { number, rewind, .. } => Some((*number, *rewind)),
        }
    }

    /// Whether it commits in a matched topic.
    pub(crate) fn names_alias(&self) -> bool {
        self.numbers().is_some_and(|(number, _)| number >= SubscribePattern::FIRST_ALIAS)
    }

    /// The subscription that it commits or acknowledges in, if it does.
    pub(crate) const fn committed_subscription(&self) -> Option<SubscriptionId> {
        match self {
            Self::Publish { .. } => None,
            Self::Commit { subscription, .. } | Self::Ack { subscription, .. } => Some(*subscription),
        }
    }
}

pub(crate) fn in_batch(operation: usize, error: RequestError) -> RequestError {
    RequestError::InBatch { operation, error: Box::new(error) }
}

/// The receipt for each publish from an answer; `None` if the answer does not fit the batch.
pub(crate) fn receipt(batched: &Batched<'_>, sent: &[SentOperation]) -> Option<BatchReceipt> {
    let mut results = batched.results.iter();
    let mut duplicates = batched.duplicates.iter().peekable();
    let mut publishes = Vec::with_capacity(batched.results.len());
    for (operation, publish) in sent.iter().enumerate() {
        let SentOperation::Publish { count, .. } = *publish else {
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
            repeated: batched.repeated == Some(true),
        };
        if answered as usize != operation || !receipt.is_consistent() {
            return None;
        }
        publishes.push(receipt);
    }
    let repeated = batched.repeated == Some(true);
    (results.next().is_none() && duplicates.next().is_none()).then_some(BatchReceipt { publishes, repeated })
}

/// Whether a request may name these offsets: the broker would end the connection because of others.
pub(crate) fn check_ranges(offsets: &[OffsetRange]) -> Result<(), RequestError> {
    let is_valid =
        |range: &OffsetRange| range.count > 0 && range.first.checked_add(range.count.into()).is_some();
    if offsets.is_empty() || offsets.len() > Limits::MAX_ELEMENTS as usize || !offsets.iter().all(is_valid) {
        return Err(RequestError::InvalidRanges);
    }
    Ok(())
}
