//! The operations of a batch as bytes (docs/protocol.md §6.12).

use super::put_topic;
use crate::error::ProtocolFault;
use crate::frame::client::{Operation, Operations, OperationsBuilder};
use crate::limits::Limits;
use crate::read::Reader;
use crate::record::{Origin, Records};

impl<'a> Operations<'a> {
    /// How many operations.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none; an empty batch is legal (semantics X-11).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The operations, in order.
    pub fn iter(&self) -> impl Iterator<Item = Operation<'a>> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes);
        core::iter::from_fn(move || Operation::read(&mut reader, u32::MAX).ok())
    }

    pub(super) fn read(r: &mut Reader<'a>, count: u32, limits: &Limits) -> Result<Self, ProtocolFault> {
        // One more than the semantics allow still decodes, so that it is refused and the connection lives.
        let possible = r.remaining().checked_div(MIN_OPERATION).unwrap_or(0);
        let limit = possible.min(Limits::MAX_ELEMENTS as usize);
        if count as usize > limit {
            let (limit, got) = (limit as u64, u64::from(count));
            return Err(ProtocolFault::CountTooLarge { field: "operations", limit, got });
        }
        let bytes = r.rest();
        let mut check = Reader::new(bytes);
        let mut records_left = limits.max_records.min(Limits::MAX_RECORDS);
        for _ in 0..count {
            if let Operation::Publish { records, .. } = Operation::read(&mut check, records_left)? {
                records_left = records_left.saturating_sub(records.len());
            }
        }
        check.finish()?;
        Ok(Self { count, bytes })
    }
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
            Operation::Commit { subscription, offset } => {
                self.bytes.push(OPERATION_COMMIT);
                self.bytes.extend_from_slice(&subscription.to_le_bytes());
                self.bytes.extend_from_slice(&offset.to_le_bytes());
            }
        }
    }

    /// The operations collected.
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

impl<'a> Operation<'a> {
    fn read(r: &mut Reader<'a>, max_records: u32) -> Result<Self, ProtocolFault> {
        match r.u8()? {
            OPERATION_PUBLISH => {
                let (count, len, topic) = (r.u32()?, r.u32()?, r.short_bytes()?);
                let mut records = Reader::new(r.take(len as usize)?);
                let records = Records::read(&mut records, count, max_records, Origin::Publish)?;
                Ok(Self::Publish { topic, records })
            }
            OPERATION_COMMIT => Ok(Self::Commit { subscription: r.u32()?, offset: r.u64()? }),
            got => Err(ProtocolFault::BadValue { field: "operation", got: u64::from(got) }),
        }
    }
}

const OPERATION_PUBLISH: u8 = 0;
const OPERATION_COMMIT: u8 = 1;
/// The shortest operation is a commit: a kind byte, a number and an offset.
const MIN_OPERATION: usize = 13;
