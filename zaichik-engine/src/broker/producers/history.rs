//! The answers that one producer may ask for again (rule P3).
//!
//! Consecutive plain successes whose offsets are equally spaced share an entry, so a producer that publishes to one
//! topic costs a few entries, however much it publishes. The lists of all other answers are stored consecutively in a
//! queue of bytes. Once both have reached their full size, nothing is allocated.

mod rows;

use std::collections::VecDeque;

use zaichik_proto::{BatchDuplicate, BatchResult, Duplicate, Entry, Refusal};

use crate::broker::answer_lists::AnswerLists;

/// Answers remembered for a producer; older ones are forgotten.
const MAX_ANSWERS: u32 = 1_024;

/// Maximum total bytes of their frames' bodies.
const MAX_BYTES: usize = 64 << 10;

/// Maximum bytes that one more answer may cost: lists that were empty, and places that double.
pub(super) const MAX_GROWTH: usize = MAX_BYTES + MAX_ANSWERS as usize * size_of::<Place>();

/// Bytes of a Published without its duplicates: request, created, first offset, count (docs/protocol.md §7.4).
const PUBLISHED: usize = 17;

/// Bytes of a Batched without its lists: request and two counts (§7.5).
const BATCHED: usize = 12;

/// Bytes of a Refused (§7.6).
const REFUSED: usize = 22;

/// An answer to remember.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome<'a> {
    /// A publish with `records` records was accepted.
    Published { created: bool, first_offset: Option<u64>, records: u32, duplicates: &'a [Duplicate] },
    /// A batch was accepted.
    Batched { results: &'a [BatchResult], duplicates: &'a [BatchDuplicate] },
    /// It was refused for good.
    Refused(Refusal),
}

/// A remembered answer; its lists are read with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Published {
        created: bool,
        first_offset: Option<u64>,
    },
    Batched,
    Refused(Refusal),
    /// It was too large to be remembered.
    Lost,
}

/// How a sequence relates to a producer's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The expected one.
    Next,
    /// It was used, and its answer is in this place.
    Remembered(usize),
    /// It is below all remembered ones.
    Forgotten,
    /// An earlier one is missing.
    Gap { expected: u64 },
}

/// A producer's last answers. Memory: up to 1,024 places of 32 bytes, and 64 KiB of lists.
#[derive(Debug)]
pub(super) struct History {
    /// Sequence of the oldest answer; without answers, of the next request.
    oldest: u64,
    /// Answers remembered.
    count: u32,
    /// Bytes of their frames' bodies.
    bytes: usize,
    places: VecDeque<Place>,
    /// Places that were dropped off the front.
    places_gone: u64,
    lists: VecDeque<u8>,
    /// Bytes ever dropped off the front of `lists`; wraps.
    lists_gone: u32,
}

/// The place of one answer, or of a run of answers.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The low half of its sequence, or of its first one: 1,024 neighbours can't be mistaken for each other.
    sequence: u32,
    /// Where its lists start, counted from the first byte ever; wraps.
    lists_at: u32,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// Plain successes: the first one's offset, and how much further the next one's is.
    Run {
        requests: u32,
        step: u32,
        first_offset: u64,
    },
    Published {
        created: bool,
        duplicates: u32,
        /// `NONE` if all were duplicates.
        first_offset: u64,
    },
    Batched {
        results: u32,
        duplicates: u32,
    },
    Refused(Refusal),
    Lost,
}

/// An offset that no record has.
const NONE: u64 = u64::MAX;

impl History {
    /// An empty history; the next request has this sequence.
    pub(super) const fn starting_at(sequence: u64) -> Self {
        Self {
            oldest: sequence,
            count: 0,
            bytes: 0,
            places: VecDeque::new(),
            places_gone: 0,
            lists: VecDeque::new(),
            lists_gone: 0,
        }
    }

    /// Classifies a request with this sequence. After the maximum sequence there is no next one.
    pub(super) fn standing(&self, sequence: u64) -> Standing {
        let Some(distance) = sequence.checked_sub(self.oldest) else {
            return Standing::Forgotten;
        };
        let count = u64::from(self.count);
        if distance > count {
            return Standing::Gap { expected: self.oldest.saturating_add(count) };
        }
        if distance == count {
            return Standing::Next;
        }
        let first = |place: &Place| u64::from(place.sequence.wrapping_sub(low(self.oldest)));
        let after = self.places.partition_point(|place| first(place) <= distance);
        Standing::Remembered(after.saturating_sub(1))
    }

    /// The answer to a sequence, from this place; its lists are read into `lists`.
    pub(super) fn read(&self, sequence: u64, place: usize, lists: &mut AnswerLists) -> Stored {
        let Some(place) = self.places.get(place) else {
            return Stored::Lost;
        };
        let AnswerLists { duplicates: published, results: batched, batch_duplicates } = lists;
        let at = place.lists_at.wrapping_sub(self.lists_gone) as usize;
        match place.what {
            What::Run { step, first_offset, .. } => {
                let index = u64::from(low(sequence).wrapping_sub(place.sequence));
                let offset = first_offset.saturating_add(index.saturating_mul(u64::from(step)));
                published.clear();
                Stored::Published { created: false, first_offset: Some(offset) }
            }
            What::Published { created, duplicates, first_offset } => {
                self.read_list(at, duplicates, published);
                Stored::Published {
                    created,
                    first_offset: Some(first_offset).filter(|offset| *offset != NONE),
                }
            }
            What::Batched { results, duplicates } => {
                let second = self.read_list(at, results, batched);
                self.read_list(second, duplicates, batch_duplicates);
                Stored::Batched
            }
            What::Refused(refusal) => Stored::Refused(refusal),
            What::Lost => Stored::Lost,
        }
    }

    /// Remembers the answer to the expected request; the oldest answers make room for it. `scratch` is for encoding.
    pub(super) fn push(&mut self, outcome: Outcome<'_>, scratch: &mut Vec<u8>) {
        scratch.clear();
        let what = match outcome {
            Outcome::Published { created: false, first_offset: Some(offset), records, duplicates: [] } => {
                What::Run { requests: 1, step: records, first_offset: offset }
            }
            Outcome::Published { created, first_offset, duplicates, .. } => {
                let count = encode(duplicates, scratch);
                What::Published { created, duplicates: count, first_offset: first_offset.unwrap_or(NONE) }
            }
            Outcome::Batched { results, duplicates } => {
                What::Batched { results: encode(results, scratch), duplicates: encode(duplicates, scratch) }
            }
            Outcome::Refused(refusal) => What::Refused(refusal),
        };
        let what = if what.len() > MAX_BYTES { What::Lost } else { what };
        if matches!(what, What::Lost) {
            scratch.clear();
        }
        while self.count >= MAX_ANSWERS || self.bytes.saturating_add(what.len()) > MAX_BYTES {
            self.forget_oldest();
        }
        let sequence = low(self.oldest).wrapping_add(self.count);
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(what.len());
        if let (What::Run { first_offset, .. }, Some(last)) = (what, self.places.back_mut())
            && last.continues_at() == Some(first_offset)
            && let What::Run { requests, .. } = &mut last.what
        {
            *requests = requests.saturating_add(1);
            return;
        }
        let lists_at = self.lists_gone.wrapping_add(u32::try_from(self.lists.len()).unwrap_or(u32::MAX));
        self.places.push_back(Place { sequence, lists_at, what });
        self.keep_list(scratch);
    }

    /// Bytes allocated.
    pub(super) fn footprint(&self) -> usize {
        self.places.capacity().saturating_mul(size_of::<Place>()).saturating_add(self.lists.capacity())
    }

    /// Whether the counts match the places.
    pub(super) fn is_consistent(&self) -> bool {
        let sum = |part: fn(What) -> usize| {
            self.places.iter().map(|place| part(place.what)).fold(0, usize::saturating_add)
        };
        sum(|what| what.requests() as usize) == self.count as usize
            && sum(|what| what.len().saturating_mul(what.requests() as usize)) == self.bytes
            && sum(What::lists_len) == self.lists.len()
            && self.count <= MAX_ANSWERS
            && self.bytes <= MAX_BYTES
            && self.places.front().is_none_or(|place| place.sequence == low(self.oldest))
    }

    fn forget_oldest(&mut self) {
        let Some(place) = self.places.front_mut() else {
            // The queue is empty, and the next answer fits.
            (self.count, self.bytes) = (0, 0);
            return;
        };
        self.oldest = self.oldest.saturating_add(1);
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(place.what.len());
        if let What::Run { requests, step, first_offset } = &mut place.what
            && *requests > 1
        {
            *requests = requests.saturating_sub(1);
            *first_offset = first_offset.saturating_add(u64::from(*step));
            place.sequence = place.sequence.wrapping_add(1);
            return;
        }
        let len = place.what.lists_len().min(self.lists.len());
        self.places.pop_front();
        self.places_gone = self.places_gone.saturating_add(1);
        self.lists.drain(..len);
        self.lists_gone = self.lists_gone.wrapping_add(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Appends bytes; the queue never grows beyond its maximum size.
    fn keep_list(&mut self, bytes: &[u8]) {
        let needed = self.lists.len().saturating_add(bytes.len());
        let capacity = self.lists.capacity();
        if needed > capacity {
            let wanted = capacity.saturating_mul(2).max(needed).min(MAX_BYTES.max(needed));
            self.lists.reserve_exact(wanted.saturating_sub(self.lists.len()));
        }
        self.lists.extend(bytes);
    }

    /// Reads a list that starts at this byte; returns where the next one starts.
    fn read_list<T: Entry>(&self, at: usize, count: u32, into: &mut Vec<T>) -> usize {
        into.clear();
        let end = at.saturating_add(T::SIZE.saturating_mul(count as usize)).min(self.lists.len());
        let mut bytes = self.lists.range(at.min(end)..end).copied();
        let mut entry = [0; LARGEST_ENTRY];
        for _ in 0..count {
            let Some(entry) = entry.get_mut(..T::SIZE) else { break };
            for (place, byte) in entry.iter_mut().zip(&mut bytes) {
                *place = byte;
            }
            into.extend(T::read(entry));
        }
        end
    }
}

/// Bytes of the largest element that is read back.
const LARGEST_ENTRY: usize = BatchDuplicate::SIZE;
const _: () = assert!(Duplicate::SIZE <= LARGEST_ENTRY && BatchResult::SIZE <= LARGEST_ENTRY, "they fit");

impl Place {
    /// The offset that would continue a run.
    fn continues_at(&self) -> Option<u64> {
        let What::Run { requests, step, first_offset } = self.what else {
            return None;
        };
        first_offset.checked_add(u64::from(requests).checked_mul(u64::from(step))?)
    }
}

impl What {
    /// The bytes that each answer counts as: those of its frame's body.
    fn len(self) -> usize {
        match self {
            Self::Run { .. } => PUBLISHED,
            Self::Published { .. } => PUBLISHED.saturating_add(self.lists_len()),
            Self::Batched { .. } => BATCHED.saturating_add(self.lists_len()),
            Self::Refused(_) => REFUSED,
            Self::Lost => 0,
        }
    }

    /// Bytes of its lists.
    fn lists_len(self) -> usize {
        let list = |size: usize, count: u32| size.saturating_mul(count as usize);
        match self {
            Self::Published { duplicates, .. } => list(Duplicate::SIZE, duplicates),
            Self::Batched { results, duplicates } => {
                list(BatchResult::SIZE, results).saturating_add(list(BatchDuplicate::SIZE, duplicates))
            }
            Self::Run { .. } | Self::Refused(_) | Self::Lost => 0,
        }
    }

    /// The number of answers in this place.
    const fn requests(self) -> u32 {
        match self {
            Self::Run { requests, .. } => requests,
            Self::Published { .. } | Self::Batched { .. } | Self::Refused(_) | Self::Lost => 1,
        }
    }
}

/// Appends the elements' bytes; returns the number of elements.
fn encode<T: Entry>(list: &[T], out: &mut Vec<u8>) -> u32 {
    for entry in list {
        entry.write(out);
    }
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "only the low half is wanted")]
const fn low(sequence: u64) -> u32 {
    sequence as u32
}

#[cfg(test)]
mod tests;
