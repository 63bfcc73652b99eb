//! Records that came back: they wait until they are handed out again.

use std::collections::{BTreeMap, BTreeSet};

use zaichik_proto::Timestamp;

/// A record that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Back {
    /// How often it was handed out.
    pub(super) attempts: u32,
    /// Its key; 0 if it has none, or keys do not matter.
    pub(super) key: u64,
    /// The member that held it for too long, and may still acknowledge it.
    pub(super) holder: Option<u64>,
    /// It is not handed out before; zero for at once.
    pub(super) until: Timestamp,
}

/// Records that came back, by offset. Every call takes O(log n). Memory: about 100 bytes for each.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    records: BTreeMap<u64, Back>,
    /// Those that may be handed out now.
    ready: BTreeSet<u64>,
    /// When the others may be.
    delays: BTreeSet<(Timestamp, u64)>,
    /// Those that a member may still acknowledge.
    late: BTreeSet<(u64, u64)>,
}

impl Waiting {
    pub(super) fn insert(&mut self, offset: u64, back: Back) {
        self.records.insert(offset, back);
        if back.until == Timestamp::ZERO {
            self.ready.insert(offset);
        } else {
            self.delays.insert((back.until, offset));
        }
        if let Some(member) = back.holder {
            self.late.insert((member, offset));
        }
    }

    pub(super) fn remove(&mut self, offset: u64) -> Option<Back> {
        let back = self.records.remove(&offset)?;
        self.ready.remove(&offset);
        self.delays.remove(&(back.until, offset));
        if let Some(member) = back.holder {
            self.late.remove(&(member, offset));
        }
        Some(back)
    }

    /// The lowest offset that may be handed out now, how many follow each other from there on, up to `most` and with the
    /// same number of attempts, and that number.
    pub(super) fn first_run(&self, most: usize) -> Option<(u64, u32, u32)> {
        let first = *self.ready.first()?;
        let attempts = self.records.get(&first)?.attempts;
        let same = |offset: &u64| self.records.get(offset).is_some_and(|back| back.attempts == attempts);
        let run = (first..).zip(&self.ready).take(most);
        let count = run.take_while(|(expected, offset)| expected == *offset && same(offset)).count();
        Some((first, u32::try_from(count).unwrap_or(u32::MAX), attempts))
    }

    /// Whether the record at an offset may be handed out now.
    pub(super) fn is_ready(&self, offset: u64) -> bool {
        self.ready.contains(&offset)
    }

    /// The first offset at or above this one.
    pub(super) fn first_from(&self, offset: u64) -> Option<u64> {
        self.records.range(offset..).next().map(|(offset, _)| *offset)
    }

    /// The first offset at or above `at`, and below `to`, that a member held for too long.
    pub(super) fn next_late(&self, member: u64, at: u64, to: u64) -> Option<u64> {
        let (_, offset) = self.late.range((member, at)..(member, to)).next()?;
        Some(*offset)
    }

    /// When the first delay ends; [`Timestamp::MAX`] if none does.
    pub(super) fn first_delay(&self) -> Timestamp {
        self.delays.first().map_or(Timestamp::MAX, |(until, _)| *until)
    }

    /// A record whose delay is over, which may be handed out from now on.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<u64> {
        let (until, offset) = *self.delays.first()?;
        if until > now {
            return None;
        }
        self.delays.pop_first();
        if let Some(back) = self.records.get_mut(&offset) {
            back.until = Timestamp::ZERO;
            self.ready.insert(offset);
        }
        Some(offset)
    }

    /// How many may be handed out now.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The records, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Back)> {
        self.records.iter().map(|(offset, back)| (*offset, *back))
    }

    /// Bytes allocated, about.
    pub(super) fn footprint(&self) -> usize {
        let records = self.records.len().saturating_mul(size_of::<(u64, Back)>());
        let pairs = self.delays.len().saturating_add(self.late.len()).saturating_mul(size_of::<(u64, u64)>());
        let all = records.saturating_add(pairs).saturating_add(self.ready.len().saturating_mul(8));
        all.saturating_mul(3) / 2
    }
}
