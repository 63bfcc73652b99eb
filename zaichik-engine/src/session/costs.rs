//! What a request costs before it is applied: the memory of its answer (rule S15), and steps (rule S14).

use zaichik_proto::{
    Ack, Batch, ClientFrame, Describe, Extend, Limits, NackShared, Operation, Publish, Subject,
};

use super::answers::SHORT_ANSWER;
use crate::broker::MAX_PIECES;

/// Maximum size of the answer to a request, in bytes, together with the lists from which it is encoded; `None` if it is
/// short.
pub(super) fn longest_answer(frame: &ClientFrame<'_>) -> Option<usize> {
    /// The answer that is remembered for a producer's retry.
    const REMEMBERED: usize = 128 << 10;
    /// One page, as it is encoded and as it is sent.
    const PAGE: usize = 80 << 10;
    /// What is reported of each record of a publish and of a batch at most, as above.
    const RECORD: usize = 24;
    const ENTRY: usize = 32;
    let (producer, own) = match frame {
        ClientFrame::Publish(Publish { producer, records, .. }) => {
            (producer, (records.len() as usize).saturating_mul(RECORD))
        }
        ClientFrame::Batch(Batch { producer, operations, .. }) => {
            let entries = operations.iter().map(|operation| match operation {
                Operation::Publish { records, .. } => (records.len() as usize).saturating_add(1),
                Operation::Commit { .. } | Operation::Ack { .. } => 1,
            });
            (producer, entries.fold(0, usize::saturating_add).saturating_mul(ENTRY))
        }
        ClientFrame::Describe(Describe {
            subject: Subject::Topics { .. } | Subject::Subscriptions { .. },
            ..
        })
        | ClientFrame::DescribeShared(_) => return Some(PAGE),
        ClientFrame::Ack(Ack { ranges, .. })
        | ClientFrame::NackShared(NackShared { ranges, .. })
        | ClientFrame::Extend(Extend { ranges, .. }) => {
            // Each offset that is not held may be named.
            let offsets = ranges.iter().map(|range| u64::from(range.count)).fold(0, u64::saturating_add);
            let pieces = MAX_PIECES.saturating_add(ranges.len()) as u64;
            (&None, usize::try_from(offsets.min(pieces)).unwrap_or(usize::MAX).saturating_mul(ENTRY))
        }
        // Other descriptions are the counters, or one item.
        ClientFrame::Describe(_)
        | ClientFrame::Hello(_)
        | ClientFrame::CreateTopic(_)
        | ClientFrame::AlterTopic(_)
        | ClientFrame::Subscribe(_)
        | ClientFrame::Unsubscribe(_)
        | ClientFrame::Commit(_)
        | ClientFrame::Nack(_)
        | ClientFrame::Seek(_)
        | ClientFrame::RemoveDurable(_)
        | ClientFrame::Shard(_)
        | ClientFrame::TrimTopic(_)
        | ClientFrame::SubscribeShared(_)
        | ClientFrame::SubscribePattern(_)
        | ClientFrame::Ping { .. }
        | ClientFrame::Pong { .. }
        | ClientFrame::Close
        | ClientFrame::Extension { .. } => return None,
    };
    let remembered = if producer.is_some() { REMEMBERED } else { 0 };
    let longest = own.max(remembered);
    (longest > SHORT_ANSWER / 2).then_some(longest.saturating_add(SHORT_ANSWER))
}

/// Whether a request changes nothing that is stored, and its answer tells nothing of it: then it is answered although the
/// store has not taken what has changed (rule B6).
pub(super) const fn concerns_no_commit(frame: &ClientFrame<'_>) -> bool {
    matches!(
        frame,
        ClientFrame::Describe(Describe { subject: Subject::Broker, .. })
            | ClientFrame::Ping { .. }
            | ClientFrame::Pong { .. }
            | ClientFrame::Close
            | ClientFrame::Extension { .. }
    )
}

/// Steps of applying a request and encoding its answer, besides those that its effects on topics take (rule S14).
pub(super) fn steps_of(frame: &ClientFrame<'_>) -> u64 {
    match frame {
        ClientFrame::Subscribe(_)
        | ClientFrame::SubscribeShared(_)
        | ClientFrame::SubscribePattern(_)
        | ClientFrame::CreateTopic(_)
        | ClientFrame::AlterTopic(_) => 32,
        ClientFrame::Unsubscribe(_)
        | ClientFrame::Describe(_)
        | ClientFrame::DescribeShared(_)
        | ClientFrame::RemoveDurable(_)
        | ClientFrame::TrimTopic(_) => 16,
        ClientFrame::Seek(_) | ClientFrame::Nack(_) => 8,
        ClientFrame::Batch(batch) => {
            let operations = batch.operations.len();
            let checked = if operations > Limits::MAX_OPERATIONS { 0 } else { u64::from(operations) };
            checked.saturating_mul(4).saturating_add(8)
        }
        ClientFrame::Ack(Ack { ranges, .. })
        | ClientFrame::NackShared(NackShared { ranges, .. })
        | ClientFrame::Extend(Extend { ranges, .. }) => (ranges.len() as u64).saturating_add(4),
        ClientFrame::Publish(_) | ClientFrame::Commit(_) | ClientFrame::Shard(_) => 4,
        ClientFrame::Ping { .. } | ClientFrame::Pong { .. } | ClientFrame::Extension { .. } => 2,
        ClientFrame::Hello(_) | ClientFrame::Close => 0,
    }
}
