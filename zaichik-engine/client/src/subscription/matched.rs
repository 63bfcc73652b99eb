//! The subscription of a topic that a pattern matches, and that of the pattern itself (chapter W).

use zaichik_proto::Start;

use super::position::Position;
use super::{Interruption, Subscription, SubscriptionState};
use crate::answer::SubscriptionId;

/// What a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A topic, subscribed to by its name.
    Plain,
    /// A pattern of topics. It receives nothing itself but its end.
    Pattern,
    /// A topic that a pattern matches.
    Matched {
        pattern: SubscriptionId,
        /// The number under which the broker of the last connection had it.
        alias: u32,
    },
}

impl Subscription {
    /// A pattern that is to be subscribed to.
    pub(crate) const fn into_pattern(mut self) -> Self {
        self.role = Role::Pattern;
        self
    }

    /// A topic of a pattern, which is to begin at `start`.
    pub(crate) const fn into_topic_of(mut self, pattern: SubscriptionId, start: Start) -> Self {
        self.role = Role::Matched { pattern, alias: 0 };
        self.position = Position::new(start);
        self
    }

    pub(crate) const fn is_pattern(&self) -> bool {
        matches!(self.role, Role::Pattern)
    }

    /// The pattern whose topic it is.
    pub(crate) const fn pattern(&self) -> Option<SubscriptionId> {
        match self.role {
            Role::Matched { pattern, .. } => Some(pattern),
            Role::Plain | Role::Pattern => None,
        }
    }

    /// The number by which frames name it on this connection.
    pub(crate) const fn number(&self) -> u32 {
        match self.role {
            Role::Matched { alias, .. } => alias,
            Role::Plain | Role::Pattern => self.id.0,
        }
    }

    /// Whether the outcome of a batch decides where it resumes.
    pub(crate) const fn is_unsettled(&self) -> bool {
        self.unsettled_commits > 0
    }

    /// Whether it was not matched since the broker restarted.
    pub(crate) fn awaits_restart(&self) -> bool {
        self.state == SubscriptionState::Detached && self.interruption == Some(Interruption::Restarted)
    }

    /// The broker has matched the topic, under a new number, from `start` on. Its pattern had asked for `asked`.
    ///
    /// Returns the position to seek at once, if the application is somewhere else. Then deliveries count from the rewind
    /// number that follows from it, and where they continue is reported with the first of them.
    pub(crate) fn matched(&mut self, alias: u32, rewind: u32, start: u64, asked: Start) -> Option<Start> {
        if let Role::Matched { alias: number, .. } = &mut self.role {
            *number = alias;
        }
        let seek = match self.resume_offset() {
            Some(offset) => Some(Start::Offset(offset)).filter(|_| offset != start),
            // Nothing of the topic is before its first record.
            None if self.position.start() == Start::Earliest && start == 0 => None,
            None => Some(self.position.start()).filter(|position| *position != asked),
        };
        let Some(to) = seek else {
            self.subscribed(0, rewind, start);
            return None;
        };
        self.rewinds.subscribed(rewind.saturating_add(1), 0);
        self.state = SubscriptionState::Active;
        self.next = self.resume_offset().unwrap_or(0);
        Some(to)
    }

    /// The pattern is subscribed to.
    pub(crate) const fn pattern_subscribed(&mut self) {
        self.state = SubscriptionState::Active;
        self.interruption = None;
    }
}
