//! Batches, their operations and their answers (docs/protocol.md §6.12).

use alloc::vec::Vec;

use super::publish::{AckLevel, Duplicate, Producer};
use super::shared::{OffsetRange, put_ranges, read_ranges};
use crate::error::ProtocolFault;
use crate::limits::Limits;
use crate::list::{Entry, List};
use crate::read::Reader;
use crate::record::{Origin, Records};
use crate::version::Version;
use crate::write::put_topic;

/// Applies several operations, all of them or none (chapter X).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, AckLevel, Batch, Operation, OperationsBuilder};
/// let operations: OperationsBuilder = [Operation::Commit { subscription: 0, offset: 41, rewind: None }].into_iter().collect();
/// let operations = operations.operations();
/// let batch = Batch { request: 8, ack: AckLevel::Accepted, producer: None, operations };
/// let mut wire = BytesMut::new();
/// ClientFrame::Batch(batch).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Batch(batch), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The requested acknowledgement; never [`AckLevel::None`].
    pub ack: AckLevel,
    /// The producer, if retries must not be applied twice.
    pub producer: Option<Producer>,
    /// The operations, in order.
    pub operations: Operations<'a>,
}

/// One operation of a batch.
///
/// ```
/// use zaichik_proto::{Operation, OperationsBuilder};
/// let commits = [0, 1].map(|subscription| Operation::Commit { subscription, offset: 41, rewind: None });
/// let builder: OperationsBuilder = commits.into_iter().collect();
/// assert!(builder.operations().iter().eq(commits));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Appends records to a topic.
    Publish {
        /// The topic's name, not yet checked.
        topic: &'a [u8],
        /// The records, at least one.
        records: Records<'a>,
    },
    /// Commits an offset on a subscription of this connection.
    Commit {
        /// The subscription's number.
        subscription: u32,
        /// The last offset to commit.
        offset: u64,
        /// The highest rewind number that the client had received for the subscription; `None` in version 1, and only
        /// there.
        rewind: Option<u32>,
    },
    /// Acknowledges records of a shared subscription, all of which this member must hold; from version 2 on.
    Ack {
        /// The subscription's number.
        subscription: u32,
        /// The highest rewind number that the client had received for the subscription.
        rewind: u32,
        /// The offsets: 1 to 1,024 ranges in any order.
        ranges: List<'a, OffsetRange>,
    },
}

/// The operations of a batch, borrowed from their frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations<'a> {
    pub(crate) count: u32,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Operations<'a> {
    /// Number of operations.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether the batch is empty, which is legal (rule X-11).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The operations, in order.
    pub fn iter(&self) -> impl Iterator<Item = Operation<'a>> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes);
        core::iter::from_fn(move || Operation::read(&mut reader, u32::MAX).ok())
    }

    pub(crate) fn read(
        r: &mut Reader<'a>,
        count: u32,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, ProtocolFault> {
        // More operations than the semantics allow still decode, so that the broker can refuse the batch (rule X-09) instead
        // of ending the connection.
        let possible = r.remaining().checked_div(MIN_OPERATION).unwrap_or(0);
        let limit = possible.min(Limits::MAX_ELEMENTS as usize);
        if count as usize > limit {
            let (limit, got) = (limit as u64, u64::from(count));
            return Err(ProtocolFault::CountTooLarge { field: "operations", limit, got });
        }
        let bytes = r.rest();
        let mut check = Reader::new(bytes);
        let mut records_left = limits.record_limit();
        for _ in 0..count {
            match Operation::read(&mut check, records_left)? {
                Operation::Publish { records, .. } => {
                    records_left = records_left.saturating_sub(records.len());
                }
                Operation::Commit { rewind, .. } => {
                    if rewind.is_some() != (version > Version::One) {
                        let got = u64::from(commit_kind(rewind));
                        return Err(ProtocolFault::BadValue { field: "operation", got });
                    }
                }
                Operation::Ack { .. } => {
                    if version == Version::One {
                        let got = u64::from(OPERATION_ACK);
                        return Err(ProtocolFault::BadValue { field: "operation", got });
                    }
                }
            }
        }
        check.finish()?;
        Ok(Self { count, bytes })
    }
}

/// Collects the operations of a batch, already encoded.
///
/// ```
/// use zaichik_proto::{Operation, OperationsBuilder};
/// let builder: OperationsBuilder = [Operation::Commit { subscription: 0, offset: 41, rewind: None }].into_iter().collect();
/// assert_eq!(builder.operations().iter().count(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct OperationsBuilder {
    pub(crate) count: u32,
    pub(crate) bytes: Vec<u8>,
}

impl OperationsBuilder {
    /// Appends an operation.
    pub fn push(&mut self, operation: Operation<'_>) {
        self.count = self.count.saturating_add(1);
        match operation {
            Operation::Publish { topic, records } => {
                let len = u32::try_from(records.as_bytes().len()).unwrap_or(u32::MAX);
                self.bytes.push(OPERATION_PUBLISH);
                self.bytes.extend_from_slice(&records.len().to_le_bytes());
                self.bytes.extend_from_slice(&len.to_le_bytes());
                put_topic(&mut self.bytes, topic);
                self.bytes.extend_from_slice(records.as_bytes());
            }
            Operation::Commit { subscription, offset, rewind } => {
                self.bytes.push(commit_kind(rewind));
                self.bytes.extend_from_slice(&subscription.to_le_bytes());
                self.bytes.extend_from_slice(&offset.to_le_bytes());
                if let Some(rewind) = rewind {
                    self.bytes.extend_from_slice(&rewind.to_le_bytes());
                }
            }
            Operation::Ack { subscription, rewind, ranges } => {
                self.bytes.push(OPERATION_ACK);
                self.bytes.extend_from_slice(&subscription.to_le_bytes());
                self.bytes.extend_from_slice(&rewind.to_le_bytes());
                put_ranges(&mut self.bytes, ranges);
            }
        }
    }

    /// The collected operations.
    #[must_use]
    pub fn operations(&self) -> Operations<'_> {
        Operations { count: self.count, bytes: &self.bytes }
    }
}

impl<'a> FromIterator<Operation<'a>> for OperationsBuilder {
    fn from_iter<I: IntoIterator<Item = Operation<'a>>>(operations: I) -> Self {
        let mut builder = Self::default();
        operations.into_iter().for_each(|operation| builder.push(operation));
        builder
    }
}

/// Answers a batch (chapter X).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Batched, List};
/// let batched = Batched { request: 8, repeated: None, results: List::EMPTY, duplicates: List::EMPTY };
/// let mut wire = BytesMut::new();
/// ServerFrame::Batched(batched).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Batched(batched), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batched<'a> {
    /// The request's id.
    pub request: u32,
    /// Whether the batch had been answered before, and this is the stored answer; `None` in version 1, and only there.
    pub repeated: Option<bool>,
    /// One entry for each publish operation, in order.
    pub results: List<'a, BatchResult>,
    /// The records that were not appended, in order.
    pub duplicates: List<'a, BatchDuplicate>,
}

/// The result of one publish operation of a batch.
///
/// ```
/// use zaichik_proto::{BatchResult, List};
/// let mut bytes = Vec::new();
/// let results = List::encode_into(&mut bytes, [BatchResult { operation: 2, created: true, first_offset: 0 }]);
/// assert!(results.iter().all(|result| result.created));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchResult {
    /// The operation's index in the batch, from 0.
    pub operation: u32,
    /// Whether the operation created its topic.
    pub created: bool,
    /// The offset of the first appended record; `u64::MAX` if all records were duplicates.
    pub first_offset: u64,
}

impl Entry for BatchResult {
    const SIZE: usize = 13;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.operation.to_le_bytes());
        out.push(u8::from(self.created));
        out.extend_from_slice(&self.first_offset.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self {
            operation: reader.u32().ok()?,
            created: reader.bool("created flag").ok()?,
            first_offset: reader.u64().ok()?,
        })
    }
}

/// A record of a batch that was not appended because the topic still remembered its key.
///
/// ```
/// use zaichik_proto::{BatchDuplicate, Duplicate, List};
/// let mut bytes = Vec::new();
/// let duplicate = Duplicate { record: 1, offset: 7 };
/// let all = List::encode_into(&mut bytes, [BatchDuplicate { operation: 2, duplicate }]);
/// assert_eq!(all.len(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchDuplicate {
    /// The operation's index in the batch, from 0.
    pub operation: u32,
    /// The record's index in that operation, and the offset of the original.
    pub duplicate: Duplicate,
}

impl Entry for BatchDuplicate {
    const SIZE: usize = 16;
    const MAX_ELEMENTS: u32 = Limits::MAX_RECORDS;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.operation.to_le_bytes());
        self.duplicate.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self { operation: reader.u32().ok()?, duplicate: Duplicate::read(reader.rest())? })
    }
}

impl<'a> Operation<'a> {
    fn read(r: &mut Reader<'a>, max_records: u32) -> Result<Self, ProtocolFault> {
        match r.u8()? {
            OPERATION_PUBLISH => {
                let (count, len, topic) = (r.u32()?, r.u32()?, r.short_bytes()?);
                let mut records = Reader::new(r.take(len as usize)?);
                let records = Records::read(&mut records, count, max_records, Origin::Publish)?;
                Ok(Self::Publish { topic, records })
            }
            OPERATION_COMMIT => Ok(Self::Commit { subscription: r.u32()?, offset: r.u64()?, rewind: None }),
            OPERATION_COMMIT_REWIND => {
                Ok(Self::Commit { subscription: r.u32()?, offset: r.u64()?, rewind: Some(r.u32()?) })
            }
            OPERATION_ACK => {
                Ok(Self::Ack { subscription: r.u32()?, rewind: r.u32()?, ranges: read_ranges(r)? })
            }
            got => Err(ProtocolFault::BadValue { field: "operation", got: u64::from(got) }),
        }
    }
}

const OPERATION_PUBLISH: u8 = 0;
/// A commit of version 1.
const OPERATION_COMMIT: u8 = 1;
/// A commit with its rewind number, of later versions.
const OPERATION_COMMIT_REWIND: u8 = 2;
/// An acknowledgement on a shared subscription, of later versions.
const OPERATION_ACK: u8 = 3;

const fn commit_kind(rewind: Option<u32>) -> u8 {
    match rewind {
        None => OPERATION_COMMIT,
        Some(_) => OPERATION_COMMIT_REWIND,
    }
}

/// The shortest operation is a commit: a kind byte, a number and an offset.
const MIN_OPERATION: usize = 13;
