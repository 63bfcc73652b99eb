//! One subscription on the client's side: the messages received, taken and committed, and where to resume.

mod buffer;
mod commits;
mod deliveries;
mod matched;
mod position;
mod rewind;
mod rewinds;
mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use zaichik_proto::Start;

use self::buffer::Buffer;
pub(crate) use self::commits::{CommitStep, Release};
use self::commits::{TakenMessages, WaitingCommits};
pub(crate) use self::matched::Role;
use self::position::Position;
use self::rewinds::Rewinds;
use crate::answer::SubscriptionId;
use crate::config::SubscribeOptions;
use crate::event::Event;

/// A subscription, over all connections of its client.
///
/// The buffer holds the messages between the last one taken and `next`, unless a nack or a seek rewound deliveries.
#[derive(Debug)]
pub(crate) struct Subscription {
    id: SubscriptionId,
    topic: Arc<str>,
    options: SubscribeOptions,
    role: Role,
    state: SubscriptionState,
    /// Whether the application asked to end it.
    is_ending: bool,
    /// The number of a durable subscription's attachment; 0 before the first one.
    epoch: u32,
    rewinds: Rewinds,
    position: Position,
    /// How often it was moved; commits made before the last move are void.
    generation: u32,
    /// How many connections it has lost.
    lost_connections: u32,
    /// Commits in unanswered batches that the connection before this one carried.
    unsettled_commits: u32,
    waiting_commits: WaitingCommits,
    taken: TakenMessages,
    buffer: Buffer,
    /// The first offset that was not received on this connection.
    next: u64,
    /// What to report to the application at the next Subscribed, or at the first frame after a topic was matched again.
    interruption: Option<Interruption>,
    last_delivered: Option<u64>,
    /// Seeks of this connection that were answered before the Subscribed arrived: their ids in frames, and the rewind
    /// numbers. At most as many as there are requests.
    answered_seeks: BTreeMap<u32, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscriptionState {
    /// The application's Subscribe, with this id in frames, is unanswered.
    Subscribing(u32),
    /// The connection on which it was active is gone.
    Detached,
    /// The Subscribe after a reconnect, with this id in frames, is unanswered or waits to be retried.
    Resubscribing(u32),
    /// Deliveries may arrive.
    Active,
    /// Nothing more will arrive.
    Ended,
}

/// Why deliveries did not continue where they stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interruption {
    Reconnected,
    Restarted,
}

impl Subscription {
    pub(crate) fn new(id: SubscriptionId, topic: Arc<str>, options: SubscribeOptions) -> Self {
        Self {
            id,
            topic,
            position: Position::new(options.start),
            options,
            role: Role::Plain,
            state: SubscriptionState::Detached,
            is_ending: false,
            epoch: 0,
            rewinds: Rewinds::default(),
            generation: 0,
            lost_connections: 0,
            unsettled_commits: 0,
            waiting_commits: WaitingCommits::default(),
            taken: TakenMessages::default(),
            buffer: Buffer::default(),
            next: 0,
            interruption: None,
            last_delivered: None,
            answered_seeks: BTreeMap::new(),
        }
    }

    pub(crate) const fn id(&self) -> SubscriptionId {
        self.id
    }

    pub(crate) const fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(crate) const fn options(&self) -> &SubscribeOptions {
        &self.options
    }

    pub(crate) const fn state(&self) -> SubscriptionState {
        self.state
    }

    pub(crate) fn is_active(&self) -> bool {
        self.state == SubscriptionState::Active
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether the broker keeps its position without a connection.
    pub(crate) const fn is_durable(&self) -> bool {
        self.options.durable.is_some() || self.is_shared()
    }

    /// Whether the application may still use it.
    pub(crate) fn is_usable(&self) -> bool {
        self.state != SubscriptionState::Ended && !self.is_ending
    }

    pub(crate) const fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// The application asked to end it.
    pub(crate) const fn set_ending(&mut self) {
        self.is_ending = true;
    }

    /// A Subscribe with this id is in flight.
    pub(crate) const fn subscribing(&mut self, wire: u32) {
        self.state = SubscriptionState::Subscribing(wire);
    }

    /// A Subscribe after a reconnect, with this id, is in flight.
    pub(crate) const fn resubscribing(&mut self, wire: u32) {
        self.state = SubscriptionState::Resubscribing(wire);
    }

    /// Withdraws an unsent Subscribe after a reconnect; returns its id.
    pub(crate) fn withdraw(&mut self) -> Option<u32> {
        let SubscriptionState::Resubscribing(wire) = self.state else {
            return None;
        };
        self.state = SubscriptionState::Detached;
        Some(wire)
    }

    /// A Subscribed arrived.
    pub(crate) fn subscribed(&mut self, epoch: u32, rewind: u32, start: u64) {
        if self.is_shared() {
            self.joined(rewind, start);
            return;
        }
        // Attaching raises both numbers by one, even if its answer was lost. If a number rose by more, another client
        // has moved the cursor meanwhile, and the cursor takes precedence.
        let is_known = self.rewinds.subscribed(rewind, epoch.wrapping_sub(self.epoch));
        let resumes = epoch == 0 || is_known;
        self.state = SubscriptionState::Active;
        (self.epoch, self.next) = (epoch, start);
        if !resumes && self.interruption == Some(Interruption::Reconnected) {
            self.generation = self.generation.wrapping_add(1);
            self.settled_position().begin_at(start);
        }
        self.continues_at(start);
        // A durable subscription starts at the broker's cursor.
        self.position.confirm_to(start);
    }

    /// Deliveries begin at `start`, or continue there after an interruption, which is reported.
    fn continues_at(&mut self, start: u64) {
        match self.interruption.take() {
            None => self.settled_position().begin_at(start),
            Some(Interruption::Restarted) => {
                self.buffer.push_event(Event::Restarted { start });
                self.settled_position().begin_at(start);
            }
            Some(Interruption::Reconnected) => {
                self.settled_position().begin_once(start);
                let from = self.resume_offset().unwrap_or(start);
                // A durable cursor may be behind commits made without a connection; those messages are not handed out
                // again.
                self.buffer.push_event(Event::Reconnected { from, start: start.max(from) });
            }
        }
    }

    /// A new connection is open: forgets what was not taken and returns where to begin.
    pub(crate) fn resume(&mut self, same_instance: bool) -> Start {
        if self.is_shared() {
            return self.rejoin(same_instance);
        }
        let restart_is_news = self.buffer.holds_restarted();
        self.buffer.clear();
        self.taken = TakenMessages::default();
        if !same_instance {
            self.interruption = Some(Interruption::Restarted);
            self.position = Position::new(self.options.start);
            self.generation = self.generation.wrapping_add(1);
            (self.epoch, self.next, self.last_delivered) = (0, 0, None);
        } else if restart_is_news {
            self.interruption = Some(Interruption::Restarted);
        } else {
            self.interruption.get_or_insert(Interruption::Reconnected);
        }
        self.resume_offset().map_or_else(|| self.position.start(), Start::Offset)
    }

    /// The connection is gone; received messages can still be taken, unless they may be stale.
    pub(crate) fn connection_lost(&mut self) {
        self.unsettled_commits = 0;
        self.answered_seeks.clear();
        match self.state {
            // A seek behind its Subscribe is resent with it.
            SubscriptionState::Subscribing(_) => return,
            SubscriptionState::Active | SubscriptionState::Resubscribing(_) => {
                self.state = SubscriptionState::Detached;
                self.give_back();
            }
            SubscriptionState::Detached | SubscriptionState::Ended => {}
        }
        self.stop_rewinding();
    }

    /// An unanswered batch commits messages received on the lost connection.
    pub(crate) const fn commit_unsettled(&mut self) {
        self.unsettled_commits = self.unsettled_commits.saturating_add(1);
    }

    /// The outcome of such a batch is known.
    pub(crate) const fn commit_settled(&mut self) {
        self.unsettled_commits = self.unsettled_commits.saturating_sub(1);
    }

    /// Whether it can be resubscribed: the outcome of its unanswered batches decides where it resumes.
    pub(crate) fn may_resume(&self) -> bool {
        self.state == SubscriptionState::Detached && self.unsettled_commits == 0
    }

    /// The next message or event for the application.
    pub(crate) fn take(&mut self) -> Option<Event> {
        if self.is_withheld() {
            return None;
        }
        let event = self.buffer.take(&self.topic)?;
        match &event {
            Event::Message(message) => {
                self.position.take_to(message.offset.saturating_add(1));
                self.message_taken(message.offset);
            }
            Event::Gap { to, .. } | Event::Reconnected { start: to, .. } => self.position.take_to(*to),
            Event::Restarted { .. } | Event::Refused(_) | Event::Fenced | Event::Ended(_) => {}
        }
        Some(event)
    }

    /// Drops everything that was received and not taken.
    pub(crate) fn discard(&mut self) {
        self.buffer.clear();
    }

    /// The subscription has ended: drops untaken messages if the application asked for the end, and reports the end
    /// once.
    pub(crate) fn end(&mut self, event: Event) {
        if self.state == SubscriptionState::Ended {
            return;
        }
        if self.is_ending {
            self.buffer.clear();
        }
        self.stop_rewinding();
        self.state = SubscriptionState::Ended;
        self.buffer.push_event(event);
    }

    /// Ends it locally; returns the last offset that the broker delivered.
    pub(crate) fn end_locally(&mut self) -> Option<u64> {
        self.is_ending = true;
        self.end(Event::Ended(self.last_delivered));
        self.last_delivered
    }

    /// Raises the resume position to after `offset`, which the application has taken.
    ///
    /// Returns whether this is new and can be committed at the broker on this connection.
    pub(crate) fn commit(&mut self, offset: u64) -> bool {
        let after = offset.saturating_add(1);
        if !self.position.commit_to(after) {
            return false;
        }
        self.buffer.drop_before(after, &self.topic);
        self.is_active() && self.was_delivered(offset)
    }

    /// Whether an offset that the application took was delivered on this connection.
    pub(crate) const fn was_delivered(&self, offset: u64) -> bool {
        offset < self.next
    }

    /// The first offset that is not committed.
    pub(crate) fn cursor(&self) -> u64 {
        self.position.cursor()
    }

    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) const fn taken_to(&self) -> u64 {
        self.position.taken_to()
    }

    pub(crate) const fn buffered_bytes(&self) -> usize {
        self.buffer.bytes()
    }

    /// Whether the application has taken everything, including the end.
    pub(crate) fn is_finished(&self) -> bool {
        self.state == SubscriptionState::Ended && self.buffer.is_empty()
    }

    /// Whether there is something to take.
    pub(crate) fn has_something(&self) -> bool {
        !self.is_withheld() && !self.buffer.is_empty()
    }

    /// Where a new connection resumes; with `window = 0`, where nothing is committed, after the last message taken.
    fn resume_offset(&self) -> Option<u64> {
        self.position.resume_offset(self.options.window > 0)
    }

    /// The first offset that the application is not done with: it has committed what is below, or with `window = 0` taken
    /// it. A durable cursor may be behind it.
    fn done_to(&self) -> u64 {
        if self.options.window == 0 {
            self.position.taken_to()
        } else {
            self.position.committed_to().unwrap_or(0)
        }
    }
}
