//! One shared subscription of the model: what is done, in flight, back, and blocked (chapter G).
//!
//! Every offset from the cursor on is in one place, in plain sets; every question is answered with a scan.

mod hand_out;
mod passing;
mod stored;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::topic::Topic;
use crate::model::words::FOREVER;

/// A shared subscription and its members.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) topic: u32,
    pub(crate) name: u32,
    pub(crate) by_key: bool,
    pub(crate) terms: GroupTerms,
    /// Whether what it passes is found out only when something is handed out.
    pub(crate) is_lazy: bool,
    pub(crate) rewind: u32,
    /// The lowest offset that is not done.
    pub(crate) cursor: u64,
    /// The first offset that was never handed out, nor passed.
    pub(crate) next: u64,
    /// What is done above the cursor.
    pub(crate) done: BTreeSet<u64>,
    pub(crate) flights: BTreeMap<u64, Flight>,
    /// What came back.
    pub(crate) back: BTreeMap<u64, Back>,
    /// New records that may have come back for the broker: their delays survived a restart, and ended when the broker may already have
    /// passed them.
    may_be_back: BTreeSet<u64>,
    /// What was passed because its key was in work.
    pub(crate) blocked: BTreeSet<u64>,
    failures: BTreeMap<u64, u32>,
    /// Below it, the broker may have passed offsets as blocked when it was not known whether a member had room for them.
    undecided_to: u64,
    /// Dead records that were passed in this step as blocked, or before that as dead: the count of superseded records shows it.
    either: Vec<u64>,
    pub(crate) members: Vec<Member>,
    /// How many members it ever had.
    joined: u64,
    detached_at: u64,
}

/// The options of the newest request that joined it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupTerms {
    /// The maximum number of failures and the dead-letter topic.
    pub(crate) dead_letter: Option<(u32, u32)>,
    pub(crate) inactive_ttl: u64,
    /// [`FOREVER`] for none.
    pub(crate) ack_deadline: u64,
    pub(crate) max_span: u64,
}

/// A record that a member holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    pub(crate) member: u64,
    pub(crate) attempt: u32,
    pub(crate) len: u64,
    pub(crate) handed: u64,
    pub(crate) due: u64,
}

/// A record that came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Back {
    pub(crate) attempts: u32,
    /// It is not handed out before; 0 for at once.
    pub(crate) until: u64,
    /// The member that held it for too long, and may still acknowledge it.
    pub(crate) late: Option<u64>,
}

/// A connection that has joined.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) session: u64,
    pub(crate) number: u32,
    pub(crate) window: u32,
    pub(crate) window_bytes: u64,
    pub(crate) last: Option<u64>,
    /// Since when it has settled nothing of what it holds; [`FOREVER`] if it holds nothing.
    pub(crate) quiet_since: u64,
    /// The broker may have found that what was next did not fit into its window: then nothing but a change of what it holds
    /// makes the broker look again.
    pub(crate) may_be_parked: bool,
}

impl Group {
    pub(crate) const fn new(topic: u32, name: u32, by_key: bool, start: u64, terms: GroupTerms) -> Self {
        Self {
            topic,
            name,
            by_key,
            terms,
            is_lazy: false,
            rewind: 0,
            cursor: start,
            next: start,
            done: BTreeSet::new(),
            flights: BTreeMap::new(),
            back: BTreeMap::new(),
            may_be_back: BTreeSet::new(),
            blocked: BTreeSet::new(),
            failures: BTreeMap::new(),
            undecided_to: 0,
            either: Vec::new(),
            members: Vec::new(),
            joined: 0,
            detached_at: 0,
        }
    }

    /// The index of the member that a session is under a number.
    pub(crate) fn member(&self, session: u64, number: u32) -> Option<usize> {
        self.members.iter().position(|one| (one.session, one.number) == (session, number))
    }

    pub(crate) fn has_member(&self, session: u64) -> bool {
        self.members.iter().any(|one| one.session == session)
    }

    pub(crate) fn join(&mut self, session: u64, number: u32, window: u32, window_bytes: u64) {
        self.members.push(Member {
            id: self.joined,
            session,
            number,
            window,
            window_bytes,
            last: None,
            quiet_since: FOREVER,
            may_be_parked: false,
        });
        self.joined += 1;
    }

    /// A member is gone; what it held was taken back.
    pub(crate) fn leave(&mut self, id: u64, now: u64) {
        self.members.retain(|one| one.id != id);
        if self.members.is_empty() {
            self.detached_at = now;
        }
    }

    /// It counts as detached from now on.
    pub(crate) const fn detach_again(&mut self, now: u64) {
        self.detached_at = now;
    }

    /// Rule D5: whether it was without members for too long.
    pub(crate) fn is_forgotten(&self, now: u64) -> bool {
        let ttl = self.terms.inactive_ttl;
        self.members.is_empty() && ttl != FOREVER && self.detached_at.saturating_add(ttl) <= now
    }

    /// The offsets that a member holds.
    pub(crate) fn held(&self, id: u64) -> Vec<u64> {
        let of_it = self.flights.iter().filter(|(_, one)| one.member == id);
        of_it.map(|(offset, _)| *offset).collect()
    }

    /// Those of a range that a member may acknowledge (rule G6): also what it held for too long, unless that was handed out
    /// again.
    pub(crate) fn ackable(&self, id: u64, from: u64, to: u64) -> Vec<u64> {
        let held = self.flights.range(from..to).filter(|(_, one)| one.member == id);
        let late = self.back.range(from..to).filter(|(_, one)| one.late == Some(id));
        let all: BTreeSet<_> =
            held.map(|(offset, _)| *offset).chain(late.map(|(offset, _)| *offset)).collect();
        all.into_iter().collect()
    }

    /// Takes a record from its member; it is to be [put back](Self::put_back) or [finished](Self::finish).
    pub(crate) fn take(&mut self, offset: u64) -> Flight {
        let flight = self.flights.remove(&offset).expect("it is in flight");
        self.has_room_again(flight.member);
        flight
    }

    pub(crate) fn put_back(&mut self, offset: u64, back: Back) {
        self.back.insert(offset, back);
    }

    /// An offset is done (rule G4).
    pub(crate) fn finish(&mut self, offset: u64, topic: &Topic) {
        if let Some(flight) = self.flights.remove(&offset) {
            self.has_room_again(flight.member);
        }
        self.back.remove(&offset);
        self.may_be_back.remove(&offset);
        self.blocked.remove(&offset);
        self.failures.remove(&offset);
        self.done.insert(offset);
        while self.done.remove(&self.cursor) {
            self.cursor += 1;
        }
        self.next = self.next.max(self.cursor);
        self.release(offset, topic);
    }

    /// Rule G7: the first record that waited for the key of this one goes next, unless another one is in work.
    fn release(&mut self, offset: u64, topic: &Topic) {
        let Some(key) = topic.key_of(offset).filter(|_| self.by_key) else { return };
        if self.is_busy(&key, topic) {
            return;
        }
        let next = self.blocked.iter().copied().find(|one| topic.key_of(*one).as_ref() == Some(&key));
        if let Some(next) = next {
            self.blocked.remove(&next);
            self.put_back(next, Back { attempts: 0, until: 0, late: None });
        }
    }

    /// Rule G7: whether a record with this key is in flight, or waits after it came back.
    fn is_busy(&self, key: &[u8], topic: &Topic) -> bool {
        let mut in_work = self.flights.keys().chain(self.back.keys());
        self.by_key && in_work.any(|offset| topic.key_of(*offset).as_deref() == Some(key))
    }

    /// A record failed once more; returns its number of failures.
    pub(crate) fn fail(&mut self, offset: u64) -> u32 {
        let failures = self.failures.entry(offset).or_default();
        *failures += 1;
        *failures
    }

    /// What a member holds has changed.
    fn has_room_again(&mut self, id: u64) {
        if let Some(member) = self.members.iter_mut().find(|one| one.id == id) {
            member.may_be_parked = false;
        }
    }

    /// A member has settled something.
    pub(crate) fn has_settled(&mut self, id: u64, now: u64) {
        let holds = !self.held(id).is_empty();
        if let Some(member) = self.members.iter_mut().find(|one| one.id == id) {
            member.quiet_since = if holds { now } else { FOREVER };
            member.may_be_parked = false;
        }
    }

    /// Starts the time of a record again (rule G6).
    pub(crate) fn extend(&mut self, offset: u64, now: u64) {
        let due = now.saturating_add(self.terms.ack_deadline);
        if let Some(flight) = self.flights.get_mut(&offset) {
            flight.due = due;
        }
    }

    /// Rule G13.
    pub(crate) fn seek(&mut self, to: u64) {
        let Self { topic, name, by_key, terms, .. } = *self;
        let (rewind, joined, detached_at) = (self.rewind + 1, self.joined, self.detached_at);
        let is_lazy = self.is_lazy;
        let mut members = std::mem::take(&mut self.members);
        for member in &mut members {
            (member.quiet_since, member.may_be_parked) = (FOREVER, false);
        }
        *self = Self {
            is_lazy,
            rewind,
            members,
            joined,
            detached_at,
            ..Self::new(topic, name, by_key, to, terms)
        };
    }

    /// When a delay or a member's time ends first; [`FOREVER`] if none does.
    pub(crate) fn next_deadline(&self) -> u64 {
        let delays = self.back.values().map(|back| back.until).filter(|until| *until > 0);
        delays.chain(self.flights.values().map(|flight| flight.due)).min().unwrap_or(FOREVER)
    }

    /// Ends the delays that are over.
    pub(crate) fn end_delays(&mut self, now: u64) {
        let next = self.next;
        if self.is_lazy {
            let ended = self.back.range(next..).filter(|(_, back)| back.until <= now);
            let ended = ended.map(|(offset, _)| *offset);
            let may_be_back: Vec<_> = ended.filter(|offset| self.may_have_skipped_to(*offset)).collect();
            self.may_be_back.extend(may_be_back);
        }
        for back in self.back.values_mut().filter(|back| back.until <= now) {
            back.until = 0;
        }
        // After a restart, it is handed out in its turn.
        self.back.retain(|offset, back| *offset < next || back.until > 0);
    }

    /// The records that members have held for too long, in the order in which they come back.
    pub(crate) fn overdue(&self, now: u64) -> Vec<u64> {
        let due = self.flights.iter().filter(|(_, one)| one.due <= now && one.due < FOREVER);
        let mut due: Vec<_> = due.map(|(offset, one)| (one.due, one.member, *offset)).collect();
        due.sort_unstable();
        due.into_iter().map(|(.., offset)| offset).collect()
    }

    /// The broker did not run for a time, which does not count (rule S4).
    pub(crate) fn resumed(&mut self, pause: u64) {
        for back in self.back.values_mut().filter(|back| back.until > 0) {
            back.until = back.until.saturating_add(pause);
        }
        for flight in self.flights.values_mut() {
            flight.due = flight.due.saturating_add(pause);
            flight.handed += pause;
        }
        for member in &mut self.members {
            member.quiet_since = member.quiet_since.saturating_add(pause);
        }
    }
}
