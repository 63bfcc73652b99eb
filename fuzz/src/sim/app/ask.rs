//! An application's requests, and the effect of an answer on its records.

use zaichik_client::{PublishReceipt, RequestError};
use zaichik_proto::Timestamp;

use crate::sim::check::{Checker, Verdict};

/// Maximum messages that an application takes at a time.
pub(super) const TAKEN_AT_ONCE: usize = 16;

/// An unanswered request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) at: u64,
    pub(super) purpose: Purpose,
}

#[derive(Debug, Clone)]
pub(super) enum Purpose {
    Publish(Vec<u64>),
    /// The numbers of the records in each publish.
    Batch(Vec<Vec<u64>>),
    /// A reader's message was transformed: the number of the new record, and the offset of the message.
    Transform {
        reader: usize,
        id: u64,
        offset: u64,
    },
    Subscribe(usize),
    Unsubscribe,
    Commit {
        reader: usize,
        offset: u64,
        started: u32,
    },
    Nack,
    Seek,
    Other,
}

pub(super) fn placed(ids: &[u64], receipt: &PublishReceipt, checker: &mut Checker) -> Verdict {
    for (record, id) in (0u32..).zip(ids).filter(|(_, id)| **id != 0) {
        checker.apps.acknowledged(*id, receipt.offset(record), receipt.is_duplicate(record))?;
    }
    Ok(())
}

/// After an error that rules out any effect, the records must not be in the log.
pub(super) fn denied<'a>(
    ids: impl Iterator<Item = &'a u64>,
    error: &RequestError,
    checker: &mut Checker,
) -> Verdict {
    let is_certain = matches!(
        error,
        RequestError::Refused { .. }
            | RequestError::HeldBack { .. }
            | RequestError::NotSent { .. }
            | RequestError::NotApplied { .. }
    );
    if !is_certain {
        return Ok(());
    }
    ids.filter(|id| **id != 0).try_for_each(|id| checker.apps.not_stored(*id))
}

pub(crate) const fn at(now: u64) -> Timestamp {
    Timestamp::from_micros(now)
}
