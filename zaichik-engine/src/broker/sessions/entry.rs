//! The broker's record of one session.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::broker::memory::{LITTLE, Memory};
use crate::broker::readiness::{Readiness, Waits};
use crate::broker::sessions::patterns::SessionPatterns;
use crate::effects::Effects;
use crate::error::CloseReason;
use crate::id::{MemberKey, PatternKey, SessionId, SubKey, TopicId};
use crate::ring::Node;
use crate::session::IDLE_ROOM;
use zaichik_proto::{SubscribePattern, Timestamp};

/// The broker's side of a session, from its start until it is detached.
#[expect(clippy::struct_excessive_bools, reason = "each is independent of the others")]
#[derive(Debug)]
pub(crate) struct SessionEntry {
    pub(in crate::broker) id: SessionId,
    /// The client's name for itself.
    pub(in crate::broker) name: Box<str>,
    /// Head of the ring of its subscriptions that may have something to deliver.
    pub(in crate::broker) ready: Node,
    /// Its node in the ring of throttled sessions.
    pub(in crate::broker) throttle: Node,
    /// Its subscriptions, by the numbers that its client chose.
    pub(in crate::broker) subscriptions: BTreeMap<u32, SubKey>,
    /// While the broker stops: a number below which none of its subscriptions has uncommitted records, as far as was
    /// examined since something was delivered.
    pub(in crate::broker) committed_below: u32,
    /// Topics to which it has a subscription that is not durable; one each (rule D1).
    pub(in crate::broker) topics: BTreeSet<TopicId>,
    /// The shared subscriptions of which it is a member.
    pub(in crate::broker) shared: Option<Box<Memberships>>,
    /// The patterns of topics to which it has subscribed.
    pub(in crate::broker) patterns: Option<Box<SessionPatterns>>,
    /// Durable subscriptions that other sessions took over.
    fenced: Option<Box<Fences>>,
    /// Whether its end is no failure of what it holds (rule G5).
    pub(in crate::broker) is_orderly: bool,
    /// Whether it was woken and has not exchanged since.
    pub(in crate::broker) woken: bool,
    /// Whether its handshake is done.
    pub(in crate::broker) open: bool,
    /// Whether its connection is gone, and only its subscriptions are left to end.
    pub(in crate::broker) detached: bool,
    /// Why the broker wants it to close, if it does.
    pub(in crate::broker) evicted: Option<CloseReason>,
    /// When it began.
    pub(in crate::broker) since: Timestamp,
    /// Bytes received before the handshake was done.
    pub(in crate::broker) received: usize,
    /// Bytes that its buffers held, or that were reserved for them, after its last exchange.
    pub(in crate::broker) buffers: usize,
    /// Bytes that they would have to hold for it to go on, or 0.
    pub(in crate::broker) lacks: usize,
    /// Since when it waits for them.
    pub(in crate::broker) waits_since: Option<Timestamp>,
    /// Bytes that were reserved for that while it waited, until its next exchange.
    pub(in crate::broker) reserved: usize,
    /// Since when its peer has made no progress while it makes the broker hold memory.
    pub(in crate::broker) stalled_since: Option<Timestamp>,
    /// Whether it keeps memory of topics that waits to be sent.
    pub(in crate::broker) pins: bool,
    /// Bytes of its name, and of the head of its memberships: asked for in each exchange, and seldom changed.
    extra: usize,
    /// Bytes that the ledger has charged for it.
    pub(in crate::broker) charged: usize,
}

/// A part of a session that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Ended {
    /// A subscription, which ends or waits for another session.
    Subscription(SubKey),
    /// A membership, under this number, which ends in steps.
    Member(u32, MemberKey),
    /// A pattern, whose subscriptions have ended.
    Pattern(PatternKey),
    /// The number of a subscription that was lost before.
    Fence,
}

/// The shared subscriptions of which a session is a member.
#[derive(Debug)]
pub(in crate::broker) struct Memberships {
    /// Head of the ring of its members that have a turn.
    pub(in crate::broker) ready: Node,
    /// Whether its other subscriptions go first.
    pub(in crate::broker) gives_way: bool,
    /// Its members, by the numbers that its client chose.
    pub(in crate::broker) numbers: BTreeMap<u32, MemberKey>,
    /// The subscriptions.
    pub(in crate::broker) groups: BTreeSet<SubKey>,
}

/// Subscriptions that a session held until another one took them over (rule D3).
#[derive(Debug, Default)]
struct Fences {
    /// The newer epoch by number, until the number is subscribed again.
    epochs: BTreeMap<u32, u32>,
    /// Numbers whose Fenced has not been sent yet.
    unsent: VecDeque<u32>,
}

impl SessionEntry {
    /// Bytes of an idle session.
    pub(in crate::broker) const IDLE: usize = size_of::<Self>() + IDLE_ROOM;

    pub(in crate::broker) fn new(id: SessionId, ready: Node, throttle: Node, since: Timestamp) -> Self {
        Self {
            id,
            name: Box::default(),
            ready,
            throttle,
            subscriptions: BTreeMap::new(),
            committed_below: 0,
            topics: BTreeSet::new(),
            shared: None,
            patterns: None,
            fenced: None,
            is_orderly: false,
            woken: false,
            open: false,
            detached: false,
            evicted: None,
            since,
            received: 0,
            buffers: IDLE_ROOM,
            lacks: 0,
            waits_since: None,
            reserved: 0,
            stalled_since: None,
            pins: false,
            extra: 0,
            charged: 0,
        }
    }

    /// The session is over: takes one of its subscriptions, or forgets one of those that it lost; `None` when no more are
    /// left.
    pub(in crate::broker) fn end_one(&mut self) -> Option<Ended> {
        self.topics.pop_first();
        if let Some((_, key)) = self.subscriptions.pop_first() {
            return Some(Ended::Subscription(key));
        }
        if let Some((number, key)) = self.shared.as_mut().and_then(|shared| shared.numbers.pop_first()) {
            return Some(Ended::Member(number, key));
        }
        if let Some((_, key)) = self.patterns.as_mut().and_then(|patterns| patterns.numbers.pop_first()) {
            return Some(Ended::Pattern(key));
        }
        let fenced = self.fenced.as_mut()?;
        fenced.unsent = VecDeque::new();
        if fenced.epochs.pop_first().is_none() {
            self.fenced = None;
        }
        Some(Ended::Fence)
    }

    /// Wakes the session, unless it has been woken and has not exchanged since.
    pub(in crate::broker) fn wake(&mut self, effects: &mut Effects) {
        if !self.woken {
            self.woken = true;
            effects.wake(self.id);
        }
    }

    /// How many subscription numbers are in use.
    pub(in crate::broker) fn numbers(&self) -> usize {
        let fenced = self.fenced.as_ref().map_or(0, |fenced| fenced.epochs.len());
        let shared = self.shared.as_ref().map_or(0, |shared| shared.numbers.len());
        let patterns = self.patterns.as_ref().map_or(0, |patterns| patterns.numbers.len());
        self.subscriptions.len().saturating_add(fenced).saturating_add(shared).saturating_add(patterns)
    }

    /// Sets the client's name.
    pub(in crate::broker) fn set_name(&mut self, name: &str) {
        self.name = Box::from(name);
        self.count_extra();
    }

    /// Its memberships, after it may have begun to have some.
    pub(in crate::broker) fn count_extra(&mut self) {
        let shared = self.shared.as_ref().map_or(0, |_| size_of::<Memberships>());
        let patterns = self.patterns.as_ref().map_or(0, |_| size_of::<SessionPatterns>());
        self.extra = self.name.len().saturating_add(shared).saturating_add(patterns);
    }

    /// The member that it is under this number.
    pub(in crate::broker) fn member(&self, number: u32) -> Option<MemberKey> {
        self.shared.as_ref()?.numbers.get(&number).copied()
    }

    /// Whether it has a subscription of this number.
    pub(in crate::broker) fn has_number(&self, number: u32) -> bool {
        let is_pattern = self.patterns.as_ref().is_some_and(|one| one.numbers.contains_key(&number));
        self.subscriptions.contains_key(&number) || self.member(number).is_some() || is_pattern
    }

    /// Whether one of its subscriptions has a number that is at least this one.
    pub(in crate::broker) fn has_high_number(&self, least: u32) -> bool {
        let shared = self.shared.as_ref().and_then(|shared| shared.numbers.last_key_value());
        let exclusive = self.subscriptions.last_key_value();
        let numbers =
            [exclusive.map(|(number, _)| *number), shared.map(|(number, _)| *number), self.last_fenced()];
        numbers.into_iter().flatten().any(|number| number >= least)
    }

    /// Whether its client may choose this number for a subscription.
    pub(in crate::broker) fn may_choose(&self, number: u32) -> bool {
        self.patterns.is_none() || number < SubscribePattern::FIRST_ALIAS
    }

    /// The epoch under which the subscription of this number was taken over, if it was.
    pub(in crate::broker) fn fenced_by(&self, number: u32) -> Option<u32> {
        self.fenced.as_ref()?.epochs.get(&number).copied()
    }

    /// The highest number of a subscription that was taken over.
    pub(in crate::broker) fn last_fenced(&self) -> Option<u32> {
        self.fenced.as_ref()?.epochs.last_key_value().map(|(number, _)| *number)
    }

    /// Bytes that its buffers may hold now (rule S15). Large requests wait behind those made earlier.
    pub(in crate::broker) fn allowance(&self, memory: &Memory, readiness: &Readiness) -> usize {
        let fixed = self.fixed();
        let allowance = memory.allowance(self.charged, fixed).saturating_sub(fixed);
        let others_wait = readiness.first_waiting(Waits::ForMuch).is_some_and(|slot| slot != self.id.slot);
        if others_wait { allowance.min(self.charged.saturating_sub(fixed).max(LITTLE)) } else { allowance }
    }

    /// Whether a Fenced is still to be sent.
    pub(in crate::broker) fn has_unsent_fence(&self) -> bool {
        self.fenced.as_ref().is_some_and(|fenced| !fenced.unsent.is_empty())
    }

    /// Whether this number is fenced and its Fenced is still to be sent.
    pub(in crate::broker) fn is_unsent_fence(&self, number: u32) -> bool {
        self.fenced.as_ref().is_some_and(|fenced| fenced.unsent.contains(&number))
    }

    /// The subscription of that number was taken over under a newer epoch.
    pub(in crate::broker) fn fence(&mut self, number: u32, epoch: u32) {
        self.subscriptions.remove(&number);
        let fenced = self.fenced.get_or_insert_default();
        fenced.epochs.insert(number, epoch);
        fenced.unsent.push_back(number);
    }

    /// The next number, with its newer epoch, whose Fenced is to be sent.
    pub(in crate::broker) fn next_fence(&mut self) -> Option<(u32, u32)> {
        let fenced = self.fenced.as_mut()?;
        let number = fenced.unsent.pop_front()?;
        let epoch = fenced.epochs.get(&number).copied().unwrap_or_default();
        Some((number, epoch))
    }

    /// The number is subscribed again.
    pub(in crate::broker) fn unfence(&mut self, number: u32) {
        if let Some(fenced) = &mut self.fenced {
            fenced.epochs.remove(&number);
            if fenced.epochs.is_empty() && fenced.unsent.is_empty() {
                self.fenced = None;
            }
        }
    }

    /// Bytes of the entry, the session's buffers and the list of lost subscriptions.
    pub(in crate::broker) fn footprint(&self) -> usize {
        self.fixed().saturating_add(self.buffers.max(self.reserved))
    }

    /// The same without the buffers.
    pub(in crate::broker) fn fixed(&self) -> usize {
        const FENCE: usize = 2 * size_of::<(u32, u32)>() + size_of::<u32>();
        let fences = self.fenced.as_ref().map_or(0, |fenced| {
            size_of::<Fences>().saturating_add(fenced.epochs.len().saturating_mul(FENCE))
        });
        size_of::<Self>().saturating_add(fences).saturating_add(self.extra)
    }
}
