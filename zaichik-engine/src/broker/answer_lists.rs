//! The lists of an answer to a publish or batch.

use zaichik_proto::{BatchDuplicate, BatchResult, Duplicate};

/// The lists of the last answer to a publish or batch; kept so that the next one allocates nothing.
#[derive(Debug, Default)]
pub(super) struct AnswerLists {
    /// Records of a publish that were not appended, in order.
    pub(super) duplicates: Vec<Duplicate>,
    /// An entry for each publish of a batch, in order.
    pub(super) results: Vec<BatchResult>,
    /// Records of a batch that were not appended, in order.
    pub(super) batch_duplicates: Vec<BatchDuplicate>,
}
