//! Settling messages of shared subscriptions, one by one or many at once (chapter G).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zaichik_client::{Answer, Hold, OffsetRange, RequestError};
use zaichik_proto::Limits;

use super::core::Core;
use super::error::ClientError;
use super::mismatch;
use super::request::Request;

/// What becomes of messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Settle {
    Ack,
    /// Hand them out again after the delay.
    GiveBack(Duration),
    /// Their deadline starts again.
    Extend,
}

impl Settle {
    /// Settles one message, which this client must hold.
    pub(super) async fn one(
        self,
        core: &Arc<Core>,
        hold: Hold,
        topic: &Arc<str>,
        offset: u64,
    ) -> Result<(), ClientError> {
        let not_held = self.request(core, hold, vec![OffsetRange { first: offset, count: 1 }]).await?;
        if not_held.is_empty() {
            return Ok(());
        }
        Err(RequestError::NotHeld { topic: Arc::clone(topic), offset }.into())
    }

    /// Settles some of the messages; returns those that this client does not hold.
    async fn request(
        self,
        core: &Arc<Core>,
        hold: Hold,
        offsets: Vec<OffsetRange>,
    ) -> Result<Vec<OffsetRange>, ClientError> {
        let ask = Request::new(core, move |machine, now| match self {
            Self::Ack => machine.ack(now, hold, &offsets),
            Self::GiveBack(delay) => machine.nack_shared(now, hold, &offsets, delay),
            Self::Extend => machine.extend(now, hold, &offsets),
        });
        let answer = ask.await?;
        let Answer::Acked { not_held, .. } = answer else {
            return Err(mismatch(&answer));
        };
        Ok(not_held)
    }
}

/// Acknowledges messages by their holds; returns the offsets of those that this client does not hold.
pub(super) async fn ack_all(
    core: &Arc<Core>,
    by_hold: BTreeMap<Hold, Vec<u64>>,
) -> Result<Vec<u64>, ClientError> {
    let mut not_held = Vec::new();
    for (hold, mut offsets) in by_hold {
        offsets.sort_unstable();
        for ranges in ranges(&offsets).chunks(Limits::MAX_ELEMENTS as usize) {
            let missed = match Settle::Ack.request(core, hold, ranges.to_vec()).await {
                // They were received over a connection that is gone.
                Err(ClientError::Request(RequestError::Returned { .. })) => ranges.to_vec(),
                result => result?,
            };
            not_held.extend(missed.into_iter().flat_map(|range| range.first..range.end()));
        }
    }
    Ok(not_held)
}

/// The ranges of ascending offsets.
fn ranges(offsets: &[u64]) -> Vec<OffsetRange> {
    let mut ranges: Vec<OffsetRange> = Vec::new();
    for offset in offsets {
        match ranges.last_mut() {
            Some(last) if last.end() == *offset && last.count < u32::MAX => {
                last.count = last.count.saturating_add(1);
            }
            _ => ranges.push(OffsetRange { first: *offset, count: 1 }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_offsets_are_one_range() {
        let named = ranges(&[3, 4, 5, 9, 11, 12]).into_iter().map(|range| (range.first, range.count));
        assert!(named.eq([(3, 3), (9, 1), (11, 2)]));
        assert!(ranges(&[]).is_empty());
    }
}
