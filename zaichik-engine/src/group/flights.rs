//! Records that members hold: handed out, and neither acknowledged nor given back.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use zaichik_proto::Timestamp;

/// Records that members hold, as runs of consecutive offsets that were handed out together.
///
/// An acknowledgement of one record takes O(log n) in the runs. Memory: about 170 bytes for each run, and 4 for each of its
/// records (12 with keys).
#[derive(Debug, Default)]
pub(super) struct Flights {
    /// By member and first offset. The runs of one member do not overlap.
    runs: BTreeMap<(u64, u64), Run>,
    /// When the runs are due that are due at all.
    dues: BTreeSet<(Timestamp, u64, u64)>,
    /// How many runs were handed out at each time.
    times: BTreeMap<Timestamp, u32>,
    records: u64,
    /// Bytes allocated for the runs' lists.
    lists: usize,
}

/// Consecutive records that were handed out together; at most [`MAX_RUN`](Self::MAX_RUN).
#[derive(Debug)]
pub(crate) struct Run {
    /// A bit for each record that is still held.
    held: u64,
    attempt: u32,
    handed: Timestamp,
    due: Timestamp,
    /// The size of each record.
    sizes: Box<[u32]>,
    /// The key of each record, if keys matter.
    keys: Box<[u64]>,
}

/// Consecutive records that a member held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Their size.
    pub(crate) bytes: u64,
    /// How often they were handed out.
    pub(crate) attempt: u32,
    /// The key of each, if keys matter.
    pub(crate) keys: Vec<u64>,
}

impl Held {
    /// Their number.
    pub(crate) const fn records(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// The offsets with their keys; 0 without one.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = (u64, u64)> {
        let keys = self.keys.iter().copied().chain(core::iter::repeat(0));
        (self.from..self.to).zip(keys)
    }
}

impl Run {
    /// Maximum records of a run.
    pub(crate) const MAX_RUN: usize = u64::BITS as usize;

    /// All of its records are held. There is at least one size, and no key or one for each.
    pub(crate) fn new(
        attempt: u32,
        (handed, due): (Timestamp, Timestamp),
        sizes: Box<[u32]>,
        keys: Box<[u64]>,
    ) -> Self {
        debug_assert!((1..=Self::MAX_RUN).contains(&sizes.len()), "{} records", sizes.len());
        Self { held: bits(0, sizes.len() as u64), attempt, handed, due, sizes, keys }
    }

    const fn lists(&self) -> usize {
        let sizes = self.sizes.len().saturating_mul(size_of::<u32>());
        sizes.saturating_add(self.keys.len().saturating_mul(size_of::<u64>()))
    }

    /// The records from number `from` on, up to number `to`.
    fn part(&self, from: usize, to: usize) -> Self {
        let (from, to) = (from.min(self.sizes.len()), to.min(self.sizes.len()));
        let held = self.held & bits(from as u64, to.saturating_sub(from) as u64);
        Self {
            held: held.checked_shr(u32::try_from(from).unwrap_or(u32::MAX)).unwrap_or_default(),
            sizes: self.sizes.get(from..to).unwrap_or_default().into(),
            keys: self.keys.get(from..to).unwrap_or_default().into(),
            ..*self
        }
    }
}

impl Flights {
    /// A member holds a run that begins at this offset from now on.
    pub(super) fn insert(&mut self, member: u64, first: u64, run: Run) {
        if run.due < Timestamp::MAX {
            self.dues.insert((run.due, member, first));
        }
        let together = self.times.entry(run.handed).or_default();
        *together = together.saturating_add(1);
        self.records = self.records.saturating_add(u64::from(run.held.count_ones()));
        self.lists = self.lists.saturating_add(run.lists());
        self.runs.insert((member, first), run);
    }

    /// The first offsets at or above `at`, and below `to`, that a member holds.
    pub(super) fn next_held(&self, member: u64, at: u64, to: u64) -> Option<(u64, u64)> {
        let before = self.runs.range((member, 0)..=(member, at)).next_back();
        let before = before.and_then(|((_, first), run)| stretch(*first, run, at));
        let found = before.or_else(|| {
            let ((_, first), run) = self.runs.range((member, at)..=(member, u64::MAX)).next()?;
            stretch(*first, run, at)
        });
        found.filter(|(from, _)| *from < to).map(|(from, end)| (from, end.min(to)))
    }

    /// Takes offsets that [`next_held`](Self::next_held) returned.
    pub(super) fn take(&mut self, member: u64, (from, to): (u64, u64)) -> Option<Held> {
        let (key, run) = self.runs.range_mut((member, 0)..=(member, from)).next_back()?;
        let (first, key) = (key.1, *key);
        let count = to.saturating_sub(from);
        run.held &= !bits(from.saturating_sub(first), count);
        let (begin, end) = (index(from.saturating_sub(first)), index(to.saturating_sub(first)));
        let sizes = run.sizes.get(begin..end).unwrap_or_default();
        let held = Held {
            from,
            to,
            bytes: sizes.iter().map(|size| u64::from(*size)).fold(0, u64::saturating_add),
            attempt: run.attempt,
            keys: run.keys.get(begin..end).unwrap_or_default().to_vec(),
        };
        self.records = self.records.saturating_sub(count);
        if run.held == 0
            && let Some(run) = self.runs.remove(&key)
        {
            self.forget(key, &run);
        }
        Some(held)
    }

    /// Takes such offsets that may be handed out again: they are in no run of the member any more.
    pub(super) fn take_back(&mut self, member: u64, offsets: (u64, u64)) -> Option<Held> {
        self.cut(member, offsets, None);
        self.take(member, offsets)
    }

    /// Sets when offsets are due that [`next_held`](Self::next_held) returned.
    pub(super) fn set_due(&mut self, member: u64, offsets: (u64, u64), due: Timestamp) {
        self.cut(member, offsets, Some(due));
    }

    /// Divides a run so that these offsets are a run of their own, and sets when that is due.
    fn cut(&mut self, member: u64, (from, to): (u64, u64), due: Option<Timestamp>) {
        let Some(key) = self.runs.range((member, 0)..=(member, from)).next_back().map(|(key, _)| *key) else {
            return;
        };
        let Some(run) = self.runs.remove(&key) else { return };
        self.records = self.records.saturating_sub(u64::from(run.held.count_ones()));
        self.forget(key, &run);
        let (begin, end) = (index(from.saturating_sub(key.1)), index(to.saturating_sub(key.1)));
        let parts = [(0, begin, run.due), (begin, end, due.unwrap_or(run.due)), (end, Run::MAX_RUN, run.due)];
        for (at, to, due) in parts {
            let part = Run { due, ..run.part(at, to) };
            if part.held != 0 {
                self.insert(member, key.1.saturating_add(at as u64), part);
            }
        }
    }

    /// A run is in the table of runs no more.
    fn forget(&mut self, key: (u64, u64), run: &Run) {
        self.dues.remove(&(run.due, key.0, key.1));
        self.lists = self.lists.saturating_sub(run.lists());
        if let Entry::Occupied(mut together) = self.times.entry(run.handed) {
            *together.get_mut() = together.get().saturating_sub(1);
            if *together.get() == 0 {
                together.remove();
            }
        }
    }

    /// When the first run is due; [`Timestamp::MAX`] if none is.
    pub(super) fn first_due(&self) -> Timestamp {
        self.dues.first().map_or(Timestamp::MAX, |(due, _, _)| *due)
    }

    /// The member and the first offsets of a run that is due.
    pub(super) fn overdue(&self, now: Timestamp) -> Option<(u64, (u64, u64))> {
        let (due, member, first) = *self.dues.first()?;
        let offsets = self.next_held(member, first, u64::MAX).filter(|_| due <= now)?;
        Some((member, offsets))
    }

    /// The number of records.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    /// When the oldest run was handed out.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.times.first_key_value().map(|(handed, _)| *handed)
    }

    /// The same for one member. Takes O(n) in its runs.
    pub(super) fn oldest_of(&self, member: u64) -> Option<Timestamp> {
        self.runs.range((member, 0)..=(member, u64::MAX)).map(|(_, run)| run.handed).min()
    }

    /// The offsets that are held, of all members.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.runs.iter().flat_map(|((member, first), run)| {
            let offsets = (*first..).take(run.sizes.len());
            let held = offsets.filter(|offset| bits(offset.saturating_sub(*first), 1) & run.held != 0);
            held.map(|offset| (*member, offset))
        })
    }

    /// Bytes allocated, about.
    pub(super) fn footprint(&self) -> usize {
        let runs = self.runs.len().saturating_mul(size_of::<((u64, u64), Run)>().saturating_mul(3) / 2);
        let dues = self.dues.len().saturating_mul(size_of::<(Timestamp, u64, u64)>().saturating_mul(3) / 2);
        let times = self.times.len().saturating_mul(size_of::<(Timestamp, u32)>().saturating_mul(3) / 2);
        runs.saturating_add(dues).saturating_add(times).saturating_add(self.lists)
    }
}

/// The first consecutive records of a run at or above `at` that are held.
fn stretch(first: u64, run: &Run, at: u64) -> Option<(u64, u64)> {
    let skipped = u32::try_from(at.saturating_sub(first)).unwrap_or(u32::MAX);
    let rest = run.held.checked_shr(skipped).unwrap_or_default();
    if rest == 0 {
        return None;
    }
    let (gap, at) = (rest.trailing_zeros(), at.max(first));
    let from = at.saturating_add(u64::from(gap));
    let ones = rest.checked_shr(gap).unwrap_or_default().trailing_ones();
    Some((from, from.saturating_add(u64::from(ones))))
}

/// `count` bits from number `at` on.
fn bits(at: u64, count: u64) -> u64 {
    let unused = u64::from(u64::BITS).saturating_sub(count);
    let ones = u64::MAX.checked_shr(u32::try_from(unused).unwrap_or(u32::MAX)).unwrap_or_default();
    ones.checked_shl(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or_default()
}

fn index(place: u64) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
