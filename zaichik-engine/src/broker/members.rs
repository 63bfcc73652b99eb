//! The members of shared subscriptions (chapter G).

use std::collections::BTreeMap;

use zaichik_proto::Timestamp;

use super::memory::{Account, Memory};
use super::readiness::Readiness;
use crate::arena::Arena;
use crate::group::Group;
use crate::id::{MemberKey, SessionId, SubKey};
use crate::ring::Node;
use crate::subscription::{MAX_DELIVERY, Shared};
use crate::topic::Want;

/// A member of a shared subscription: what one session holds of it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) session: SessionId,
    /// Its node in the rings of members.
    pub(super) node: Node,
    /// The subscription.
    pub(super) group: SubKey,
    /// Its number among all members that the subscription ever had.
    pub(super) id: u64,
    /// The number by which its client names the subscription.
    pub(super) number: u32,
    /// Maximum records that it holds; with 0 it holds none.
    pub(super) window: u32,
    pub(super) window_bytes: u32,
    /// The highest offset that it got.
    pub(super) last_offset: Option<u64>,
    pub(super) place: Place,
    /// In which round it got its last run.
    pub(super) round: u64,
    /// Since when it has settled nothing of what it holds; [`Timestamp::MAX`] if it holds nothing.
    pub(super) quiet_since: Timestamp,
    /// Records that it holds, and their bytes, since the subscription was moved so often.
    records: u32,
    bytes: u64,
    rewind: u32,
    charged: usize,
}

/// Where a member waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the line of its subscription.
    Line,
    /// Its session has a turn for it.
    Turn,
    /// The same, but another member has got a turn instead, because the session can't use it now.
    Passed,
    /// Its window is full.
    Full,
    /// It is about to leave.
    Leaving,
}

/// The table of members.
#[derive(Debug)]
pub(super) struct Members {
    entries: Arena<Member>,
    /// The members of each subscription, by their numbers.
    of_group: BTreeMap<(SubKey, u64), MemberKey>,
    /// Bytes of free places: asked for in each exchange, and seldom changed.
    spare: usize,
}

/// What a session asks for that joins a subscription.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joining {
    pub(super) session: SessionId,
    pub(super) number: u32,
    pub(super) window: u32,
    pub(super) window_bytes: u32,
}

impl Member {
    /// Bytes of a member, including its entries in tables and rings.
    pub(super) const FOOTPRINT: usize = size_of::<Self>() + 3 * size_of::<(SubKey, u64, MemberKey)>() + 12;

    /// What it holds ends when its subscription is moved.
    pub(super) fn follow(&mut self, group: &Group) {
        if self.rewind != group.rewind() {
            (self.records, self.bytes, self.rewind) = (0, 0, group.rewind());
            self.quiet_since = Timestamp::MAX;
            if self.place == Place::Full {
                // The move put all members back in line.
                self.place = Place::Line;
            }
        }
    }

    /// How much it accepts; `None` if its window is full.
    pub(super) fn room(&self) -> Option<Want> {
        if self.window == 0 {
            return Some(Want { records: u32::MAX, bytes: MAX_DELIVERY, single: usize::MAX });
        }
        let records = self.window.checked_sub(self.records).filter(|records| *records > 0)?;
        let left = u64::from(self.window_bytes).saturating_sub(self.bytes);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if left == 0 && self.records > 0 {
            return None;
        }
        // A record larger than the whole window is still delivered, alone.
        let single = if self.records == 0 { usize::MAX } else { left };
        Some(Want { records, bytes: left.min(MAX_DELIVERY), single })
    }

    /// It holds more.
    pub(super) fn got(&mut self, records: u32, bytes: u64, now: Timestamp) {
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add(bytes);
        self.quiet_since = self.quiet_since.min(now);
    }

    /// It holds less.
    pub(super) fn lost(&mut self, records: u64, bytes: u64) {
        self.records = self.records.saturating_sub(u32::try_from(records).unwrap_or(u32::MAX));
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Its client has settled something.
    pub(super) const fn settled(&mut self, now: Timestamp) {
        self.quiet_since = if self.records == 0 { Timestamp::MAX } else { now };
    }

    /// Records that it holds; none any more if the subscription was moved since.
    pub(super) const fn records_of(&self, group: &Group) -> u32 {
        if self.rewind == group.rewind() { self.records } else { 0 }
    }

    /// Takes it out of its place.
    pub(super) fn leave_place(&mut self, shared: &mut Shared, readiness: &mut Readiness) {
        readiness.unlink(self.node);
        match self.place {
            Place::Line | Place::Passed => shared.roomy = shared.roomy.saturating_sub(1),
            Place::Turn => {
                shared.roomy = shared.roomy.saturating_sub(1);
                shared.turns = shared.turns.saturating_sub(1);
            }
            Place::Full => shared.full_len = shared.full_len.saturating_sub(1),
            Place::Leaving => {}
        }
    }

    /// Puts it where it has to wait.
    pub(super) fn find_place(&mut self, is_full: bool, shared: &mut Shared, readiness: &mut Readiness) {
        self.leave_place(shared, readiness);
        if is_full {
            self.place = Place::Full;
            shared.full_len = shared.full_len.saturating_add(1);
            readiness.push(shared.full, self.node);
        } else {
            self.place = Place::Line;
            shared.roomy = shared.roomy.saturating_add(1);
            readiness.push(shared.line, self.node);
        }
    }

    /// Puts it back in line if its window was full and has room now.
    pub(super) fn find_room(&mut self, shared: &mut Shared, readiness: &mut Readiness) {
        if self.place == Place::Full && self.room().is_some() {
            self.find_place(false, shared, readiness);
        }
    }
}

impl Members {
    pub(super) const fn new() -> Self {
        Self { entries: Arena::new(), of_group: BTreeMap::new(), spare: 0 }
    }

    /// Adds a member, in no place.
    pub(super) fn insert(
        &mut self,
        (group, shared): (SubKey, &mut Shared),
        joining: Joining,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> MemberKey {
        let key = MemberKey(self.entries.next_number());
        let Joining { session, number, window, window_bytes } = joining;
        let id = shared.number();
        shared.members = shared.members.saturating_add(1);
        let mut member = Member {
            session,
            node: readiness.insert_member(key),
            group,
            id,
            number,
            window,
            window_bytes,
            last_offset: None,
            place: Place::Leaving,
            round: 0,
            quiet_since: Timestamp::MAX,
            records: 0,
            bytes: 0,
            rewind: shared.group.rewind(),
            charged: 0,
        };
        memory.recharge(Account::Subscriptions, &mut member.charged, Member::FOOTPRINT);
        self.entries.insert(member);
        self.count_spare();
        self.of_group.insert((group, id), key);
        key
    }

    /// Removes a member, which is in no place.
    pub(super) fn remove(&mut self, key: MemberKey, memory: &mut Memory, readiness: &mut Readiness) {
        if let Some(mut member) = self.entries.remove(key.0) {
            readiness.remove(member.node);
            self.count_spare();
            self.of_group.remove(&(member.group, member.id));
            memory.recharge(Account::Subscriptions, &mut member.charged, 0);
        }
    }

    pub(super) fn get(&self, key: MemberKey) -> Option<&Member> {
        self.entries.get(key.0)
    }

    pub(super) fn get_mut(&mut self, key: MemberKey) -> Option<&mut Member> {
        self.entries.get_mut(key.0)
    }

    /// A member of a subscription, by its number.
    pub(super) fn with_id(&mut self, group: SubKey, id: u64) -> Option<&mut Member> {
        let key = self.of_group.get(&(group, id))?;
        self.entries.get_mut(key.0)
    }

    /// The members of a subscription, in the order in which they joined.
    pub(super) fn of_group(&self, group: SubKey) -> impl Iterator<Item = &Member> {
        let keys = self.of_group.range((group, 0)..=(group, u64::MAX));
        keys.filter_map(|(_, key)| self.entries.get(key.0))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of free places.
    pub(super) const fn spare(&self) -> usize {
        self.spare
    }

    const fn count_spare(&mut self) {
        self.spare = self.entries.spare().saturating_mul(size_of::<Member>());
    }
}
