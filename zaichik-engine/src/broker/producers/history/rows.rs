//! A producer's history as rows, and from them.

use core::ops::Range;

use bytes::Bytes;
use zaichik_proto::{BatchDuplicate, BatchResult, Duplicate, Entry};

use super::{History, MAX_ANSWERS, MAX_BYTES, NONE, Place, What, low};
use crate::store::{Answer, AnswerRow};

impl History {
    /// The sequence of the oldest answer, and how many are remembered.
    pub(in crate::broker) const fn extent(&self) -> (u64, u32) {
        (self.oldest, self.count)
    }

    /// The answers, in order.
    pub(in crate::broker) fn rows(&self, producer: u128) -> impl Iterator<Item = AnswerRow> {
        self.rows_from(producer, 0)
    }

    /// The numbers of its answers' rows.
    pub(in crate::broker) fn numbers(&self) -> Range<u64> {
        self.places_gone..self.places_gone.saturating_add(self.places.len() as u64)
    }

    /// The answers whose rows have numbers from `from` on, in order.
    pub(in crate::broker) fn rows_from(&self, producer: u128, from: u64) -> impl Iterator<Item = AnswerRow> {
        let skipped = usize::try_from(from.saturating_sub(self.places_gone)).unwrap_or(usize::MAX);
        let rest = || self.places.iter().skip(skipped);
        let requests: u64 = rest().map(|place| u64::from(place.what.requests())).sum();
        let mut sequence = self.oldest.saturating_add(u64::from(self.count).saturating_sub(requests));
        rest().zip(from.max(self.places_gone)..).map(move |(place, number)| {
            let answer = self.answer(place);
            let row = AnswerRow { producer, number, principal: Box::default(), sequence, answer };
            sequence = sequence.saturating_add(u64::from(place.what.requests()));
            row
        })
    }

    /// Adds a stored row; `false` if it does not continue the answers before. Answers below the oldest one are left out.
    pub(in crate::broker) fn restore(&mut self, row: AnswerRow) -> bool {
        let next = self.places_gone.checked_add(self.places.len() as u64);
        let is_first = self.places.is_empty();
        if !is_first && next != Some(row.number) {
            return false;
        }
        let (mut what, lists) = stored(row.answer);
        let requests = u64::from(what.requests());
        let forgotten = self.oldest.saturating_sub(row.sequence);
        if forgotten >= requests {
            return is_first;
        }
        if let What::Run { requests, step, first_offset } = &mut what {
            let less = u32::try_from(forgotten).unwrap_or(u32::MAX);
            *requests = requests.saturating_sub(less);
            *first_offset = first_offset.saturating_add(forgotten.saturating_mul(u64::from(*step)));
        }
        let sequence = row.sequence.saturating_add(forgotten);
        if Some(sequence) != self.oldest.checked_add(u64::from(self.count)) {
            return false;
        }
        let bytes = what.len().saturating_mul(what.requests() as usize);
        (self.count, self.bytes) =
            (self.count.saturating_add(what.requests()), self.bytes.saturating_add(bytes));
        if self.count > MAX_ANSWERS || self.bytes > MAX_BYTES {
            return false;
        }
        if is_first {
            self.places_gone = row.number;
        }
        let lists_at = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        self.places.push_back(Place { sequence: low(sequence), lists_at, what });
        for list in &lists {
            self.keep_list(list);
        }
        true
    }

    fn answer(&self, place: &Place) -> Answer {
        let at = place.lists_at.wrapping_sub(self.lists_gone) as usize;
        match place.what {
            What::Run { requests, step, first_offset } => Answer::Run { requests, step, first_offset },
            What::Published { created, duplicates, first_offset } => Answer::Published {
                created,
                first_offset: Some(first_offset).filter(|offset| *offset != NONE),
                duplicates: self.list::<Duplicate>(at, duplicates),
            },
            What::Batched { results, duplicates } => {
                let second = at.saturating_add(BatchResult::SIZE.saturating_mul(results as usize));
                Answer::Batched {
                    results: self.list::<BatchResult>(at, results),
                    duplicates: self.list::<BatchDuplicate>(second, duplicates),
                }
            }
            What::Refused(refusal) => Answer::Refused(refusal),
            What::Lost => Answer::Lost,
        }
    }

    /// The bytes of a list that starts at this byte.
    fn list<T: Entry>(&self, at: usize, count: u32) -> Bytes {
        let end = at.saturating_add(T::SIZE.saturating_mul(count as usize)).min(self.lists.len());
        self.lists.range(at.min(end)..end).copied().collect::<Vec<u8>>().into()
    }
}

/// An answer, and the bytes of its lists.
fn stored(answer: Answer) -> (What, [Bytes; 2]) {
    let none = Bytes::new;
    match answer {
        Answer::Run { requests, step, first_offset } => {
            (What::Run { requests, step, first_offset }, [none(), none()])
        }
        Answer::Published { created, first_offset, duplicates } => {
            let (count, first_offset) = (count::<Duplicate>(&duplicates), first_offset.unwrap_or(NONE));
            (What::Published { created, duplicates: count, first_offset }, [duplicates, none()])
        }
        Answer::Batched { results, duplicates } => {
            let what = What::Batched {
                results: count::<BatchResult>(&results),
                duplicates: count::<BatchDuplicate>(&duplicates),
            };
            (what, [results, duplicates])
        }
        Answer::Refused(refusal) => (What::Refused(refusal), [none(), none()]),
        Answer::Lost => (What::Lost, [none(), none()]),
    }
}

fn count<T: Entry>(list: &[u8]) -> u32 {
    let count = list.len().checked_div(T::SIZE).unwrap_or_default();
    u32::try_from(count).unwrap_or(u32::MAX)
}
