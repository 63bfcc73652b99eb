//! Which messages can be committed or nacked, and commits whose answer is the broker's (rules A2, P4).

use std::collections::VecDeque;
use std::sync::Arc;

use zaichik_proto::{Refusal, RefusalCode};

use super::Subscription;
use crate::error::RequestError;

/// Commits without a connection, or without an answer when theirs broke. Each belongs to a request, which bounds their
/// number.
#[derive(Debug, Default)]
pub(super) struct WaitingCommits(Vec<WaitingCommit>);

/// The offsets of the messages that were taken on this connection, ascending. Committed ones are dropped with the next
/// one taken, so the window bounds their number.
#[derive(Debug, Default)]
pub(super) struct TakenMessages(VecDeque<u64>);

#[derive(Debug, Clone, Copy)]
struct WaitingCommit {
    offset: u64,
    /// The request's id in frames.
    wire: u32,
    generation: u32,
}

/// How a commit begins that wants an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitStep {
    /// It is done.
    Done,
    /// It can be sent.
    Send,
    /// The broker would not accept it before it redelivers the message.
    Wait,
}

/// What becomes of a commit that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The broker had received it: its cursor is here.
    Confirmed(u64),
    Send,
    /// The subscription has ended or was moved: whether the commit had an effect stays unknown.
    Void,
}

impl Subscription {
    /// Whether `offset` may be committed: a commit that the broker would refuse never moves the resume position.
    pub(crate) fn check_commit(&self, offset: u64) -> Result<(), RequestError> {
        self.check_taken(offset, RefusalCode::CommitAhead)
    }

    /// Whether `offset` may be nacked.
    pub(crate) fn check_nack(&self, offset: u64) -> Result<(), RequestError> {
        self.check_taken(offset, RefusalCode::NackAhead)?;
        let cursor = self.cursor();
        if offset < cursor {
            return Err(RequestError::AlreadyCommitted { topic: Arc::clone(&self.topic), offset, cursor });
        }
        Ok(())
    }

    /// Commits `offset`, as [`commit`](Self::commit) does, and says what its answer takes.
    ///
    /// The client itself keeps the position of a subscription without a name, so a commit needs no answer while no
    /// connection has it.
    pub(crate) fn commit_with_answer(&mut self, offset: u64) -> CommitStep {
        let is_news = self.commit(offset);
        if !self.is_durable() {
            return if is_news { CommitStep::Send } else { CommitStep::Done };
        }
        if self.position.confirmed_to() > offset {
            CommitStep::Done
        } else if self.is_active() && self.was_delivered(offset) {
            CommitStep::Send
        } else {
            CommitStep::Wait
        }
    }

    /// The request of this commit waits until [`release_commits`](Self::release_commits) returns it.
    pub(crate) fn wait_with_commit(&mut self, wire: u32, offset: u64, generation: u32) {
        self.waiting_commits.0.push(WaitingCommit { offset, wire, generation });
    }

    /// The request of a commit was answered while it waited.
    pub(crate) fn forget_commit(&mut self, wire: u32) {
        self.waiting_commits.0.retain(|waiting| waiting.wire != wire);
    }

    /// The broker answered a commit that was made in this generation: its cursor is at `cursor`.
    pub(crate) fn commit_answered(&mut self, cursor: u64, generation: u32) {
        if generation == self.generation {
            self.position.confirm_to(cursor);
        }
    }

    /// Takes out the commits that no longer have to wait.
    pub(crate) fn release_commits(&mut self, released: &mut Vec<(u32, Release)>) {
        if self.waiting_commits.0.is_empty() {
            return;
        }
        let confirmed_to = self.position.confirmed_to();
        let (is_usable, is_active, next) = (self.is_usable(), self.is_active(), self.next);
        let generation = self.generation;
        self.waiting_commits.0.retain(|waiting| {
            let release = if !is_usable || waiting.generation != generation {
                Release::Void
            } else if waiting.offset < confirmed_to {
                Release::Confirmed(confirmed_to)
            } else if is_active && waiting.offset < next {
                Release::Send
            } else {
                return true;
            };
            released.push((waiting.wire, release));
            false
        });
    }

    /// A message of a subscription with a window was taken.
    pub(super) fn message_taken(&mut self, offset: u64) {
        if self.options.window == 0 || self.is_shared() {
            return;
        }
        let cursor = self.cursor();
        let taken = &mut self.taken.0;
        // After a nack it is taken again.
        while taken.pop_back_if(|last| *last >= offset).is_some() {}
        while taken.pop_front_if(|first| *first < cursor).is_some() {}
        taken.push_back(offset);
    }

    /// Whether the next message can arrive only after a commit, and the application has all before it.
    pub(crate) fn is_window_taken(&self) -> bool {
        let window = self.options.window;
        window > 0 && self.is_active() && self.buffer.is_empty() && self.uncommitted() >= window as usize
    }

    /// Messages that the application took on this connection and has not committed.
    pub(crate) fn uncommitted(&self) -> usize {
        let taken = &self.taken.0;
        let cursor = self.cursor();
        let committed = taken.partition_point(|offset| *offset < cursor);
        taken.len().saturating_sub(committed)
    }

    fn check_taken(&self, offset: u64, ahead: RefusalCode) -> Result<(), RequestError> {
        let refusal = if self.is_shared() {
            Refusal::new(RefusalCode::CommitShared)
        } else if self.options.window == 0 {
            Refusal::new(RefusalCode::CommitsOff)
        } else if offset >= self.taken_to() {
            Refusal::with_value(ahead, self.taken_to())
        } else {
            return Ok(());
        };
        Err(RequestError::Refused { topic: Arc::clone(&self.topic), refusal })
    }
}
