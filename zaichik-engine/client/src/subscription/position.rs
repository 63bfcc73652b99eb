//! The application's progress in a subscription, and where a new connection resumes.

use zaichik_proto::Start;

/// Offsets; `committed` is never above `taken`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// Where the subscription was asked to begin.
    start: Start,
    /// Where it began in this instance of the broker, or since it was moved.
    started_at: Option<u64>,
    /// The first offset that the application has not taken.
    taken_to: u64,
    /// The first offset that is not committed, once one was.
    committed_to: Option<u64>,
    /// The broker's cursor, as far as it is known to have risen; meaningful for a durable subscription.
    confirmed_to: u64,
}

impl Position {
    pub(super) const fn new(start: Start) -> Self {
        Self { start, started_at: None, taken_to: 0, committed_to: None, confirmed_to: 0 }
    }

    /// The first offset is known, and nothing from there on was taken.
    pub(super) const fn begin_at(&mut self, offset: u64) {
        (self.started_at, self.taken_to, self.committed_to) = (Some(offset), offset, None);
        self.confirmed_to = offset;
    }

    /// Begins at `offset` unless the first offset is known.
    pub(super) const fn begin_once(&mut self, offset: u64) {
        if self.started_at.is_none() {
            self.begin_at(offset);
        }
    }

    /// Everything before `offset` was taken.
    pub(super) fn take_to(&mut self, offset: u64) {
        self.taken_to = self.taken_to.max(offset);
    }

    /// Messages from `offset` on no longer count as taken.
    pub(super) fn go_back(&mut self, offset: u64) {
        self.taken_to = self.taken_to.min(offset);
    }

    /// Commits everything before `offset`; returns whether that was new.
    pub(super) fn commit_to(&mut self, offset: u64) -> bool {
        if self.committed_to.is_some_and(|committed| committed >= offset) {
            return false;
        }
        self.committed_to = Some(offset);
        true
    }

    /// The same position, with the commits of `other` as well.
    pub(super) fn with_commits_of(mut self, other: &Self) -> Self {
        self.committed_to = self.committed_to.max(other.committed_to);
        self.confirmed_to = self.confirmed_to.max(other.confirmed_to);
        self
    }

    /// The broker's cursor is at `offset` or beyond.
    pub(super) fn confirm_to(&mut self, offset: u64) {
        self.confirmed_to = self.confirmed_to.max(offset);
    }

    /// The least that the broker's cursor can be.
    pub(super) const fn confirmed_to(&self) -> u64 {
        self.confirmed_to
    }

    pub(super) const fn start(&self) -> Start {
        self.start
    }

    pub(super) const fn taken_to(&self) -> u64 {
        self.taken_to
    }

    /// The first offset that is not committed, once one was.
    pub(super) const fn committed_to(&self) -> Option<u64> {
        self.committed_to
    }

    /// The first offset that is not committed; 0 while it is not known where the subscription begins.
    pub(super) fn cursor(&self) -> u64 {
        self.committed_to.or(self.started_at).unwrap_or(0)
    }

    /// Where a new connection resumes: after the last commit, or without commits after the last message taken.
    pub(super) fn resume_offset(&self, has_commits: bool) -> Option<u64> {
        let started_at = self.started_at?;
        if !has_commits {
            return Some(self.taken_to);
        }
        Some(self.committed_to.unwrap_or(started_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun_at(offset: u64) -> Position {
        let mut position = Position::new(Start::Earliest);
        position.begin_at(offset);
        position
    }

    #[test]
    fn a_subscription_that_never_began_resumes_at_its_requested_start() {
        assert_eq!(Position::new(Start::Latest).resume_offset(true), None);
    }

    #[test]
    fn it_resumes_after_the_last_commit_or_without_commits_after_the_last_message_taken() {
        let mut position = begun_at(5);
        position.take_to(9);
        assert_eq!((position.resume_offset(true), position.resume_offset(false)), (Some(5), Some(9)));
        assert!(position.commit_to(7));
        assert!(!position.commit_to(6));
        assert_eq!((position.resume_offset(true), position.cursor()), (Some(7), 7));
    }

    #[test]
    fn a_position_that_is_restored_keeps_later_commits() {
        let saved = begun_at(5);
        let mut moved = saved;
        moved.take_to(8);
        moved.commit_to(8);
        moved.go_back(6);
        let restored = saved.with_commits_of(&moved);
        assert_eq!((restored.taken_to(), restored.committed_to()), (5, Some(8)));
    }
}
