//! What the bytes of one answer reveal, which the model can't know.

use zaichik_proto::{Producer, RefusalCode};

use super::Checker;
use crate::model::Kind;
use crate::model::sharing::{How, Settle};
use crate::model::words::{Answer, Operation, Request};

impl Checker {
    /// Answers tell which producers the broker remembers, and how far a subscription had skipped silent offsets.
    pub(super) fn reveal(&mut self, link: u64, request: &Request, answer: Option<&Answer>) {
        let (index, to) = match (request, answer) {
            (Request::Publish { producer, .. } | Request::Batch { producer, .. }, Some(answer)) => {
                return self.reveal_publish(link, *producer, request, answer);
            }
            (
                Request::Commit { number, .. } | Request::Nack { number, .. },
                Some(Answer::Refused {
                    value, code: RefusalCode::CommitAhead | RefusalCode::NackAhead, ..
                }),
            ) => (self.model.index_of(link, *number), *value),
            (
                Request::Nack { number, .. },
                Some(Answer::Refused { value: cursor, code: RefusalCode::NackCommitted, .. }),
            )
            | (Request::Commit { number, .. }, Some(Answer::Done(cursor))) => {
                (self.model.index_of(link, *number), *cursor)
            }
            (Request::Nack { number, offset, .. }, Some(Answer::Done(_))) => {
                (self.model.index_of(link, *number), offset.saturating_add(1))
            }
            (Request::Subscribe(subscribe), Some(Answer::Subscribed { start, .. })) => {
                let durable = subscribe.durable.and_then(|one| self.model.durable(subscribe.topic, one.name));
                (durable, *start)
            }
            (
                Request::Settle(Settle { how: How::Ack { .. }, number, .. }),
                Some(Answer::Acked { not_held, .. }),
            ) => {
                if let Some((index, member)) = self.model.member(link, *number) {
                    self.model.have_died(index, member, not_held);
                }
                return;
            }
            (Request::Join(join), Some(Answer::Subscribed { start, .. })) => {
                if let Some(index) = self.model.group(join.topic, join.name) {
                    self.model.has_passed(index, *start);
                }
                return;
            }
            (Request::DescribeShared { topic, name }, Some(Answer::Members(described))) => {
                if let Some(index) = self.model.group(*topic, *name) {
                    self.model.has_passed(index, described.cursor);
                }
                return;
            }
            _ => return,
        };
        if let Some(index) = index {
            self.model.has_skipped(index, to);
        }
    }

    fn reveal_publish(&mut self, link: u64, producer: Option<Producer>, request: &Request, answer: &Answer) {
        let (now, bounds) = (self.model.now, self.model.bounds);
        let is_batch = matches!(request, Request::Batch { .. });
        if let Some(claim) = producer {
            let kind = if is_batch { self.model.kind_of_batch(link) } else { Kind::Publish };
            self.model.producers.reveal(claim, kind, now, &bounds, answer);
        }
        if let Request::Batch { operations, .. } = request {
            self.reveal_skipped(link, producer, operations, answer);
        }
        self.reveal_not_held(link, answer);
        if !answer.is_refusal() {
            self.model.has_made_room(link, request);
        }
    }

    /// The answer to a batch shows how far a subscription had skipped silent offsets: a commit of one that was not reached
    /// is refused, and every operation before the refused one was possible.
    fn reveal_skipped(
        &mut self,
        link: u64,
        claim: Option<Producer>,
        operations: &[Operation],
        answer: &Answer,
    ) {
        let is_before = |claim: Producer| {
            let next = self.model.producers.expected(claim.id);
            next.is_some_and(|(epoch, next)| epoch == claim.epoch && claim.sequence < next)
        };
        if claim.is_some_and(is_before) {
            // A stored answer, which shows what was then.
            return;
        }
        let (at, next) = match *answer {
            Answer::Batched { .. } => (u32::MAX, 0),
            Answer::Refused { code: RefusalCode::BatchTooLong, .. } => return,
            Answer::Refused { code: RefusalCode::CommitAhead, value, operation } => (operation, value),
            Answer::Refused { operation, .. } => (operation, 0),
            _ => return,
        };
        for (what, operation) in operations.iter().zip(0..=at) {
            if let Operation::Commit { number, offset, .. } = what
                && let Some(index) = self.model.index_of(link, *number)
            {
                let to = if operation < at { offset.saturating_add(1) } else { next };
                self.model.has_skipped(index, to);
            }
        }
    }

    /// The refusal of a batch shows that a record which a member held for too long has died.
    fn reveal_not_held(&mut self, link: u64, answer: &Answer) {
        if let Answer::Refused { code: RefusalCode::NotHeld, value, .. } = answer {
            for (index, member) in self.model.memberships(link) {
                self.model.have_died(index, member, &[(*value, 1)]);
            }
        }
    }

    /// The answer to a member shows how far its subscription had passed silent offsets.
    pub(super) fn reveal_cursor(
        &mut self,
        link: u64,
        request: &Request,
        answer: Option<&Answer>,
        expected: &mut Answer,
    ) {
        if let (Request::Settle(settle), Some(Answer::Acked { cursor: to, .. })) = (request, answer)
            && let Answer::Acked { cursor, .. } = expected
            && let Some((index, _)) = self.model.member(link, settle.number)
        {
            self.model.has_passed(index, *to);
            *cursor = self.model.groups[index].cursor;
        }
    }
}
