//! Verifies that a subscriber receives every message once, in each publisher's order, and intact.

use std::collections::BTreeMap;

use zaichik_measure::payload::{self, Kind, Received, Stamp};
use zaichik_tokio::Timestamp;

use super::verdict::Verdict;

/// Maximum remembered holes of one publisher. A message that fills a remembered hole counts as reordered; one that fills
/// a hole beyond this number counts as a duplicate.
const MAX_HOLES: usize = 65_536;

/// Maximum publishers; messages of further ones count as foreign.
const MAX_PUBLISHERS: usize = 65_536;

/// Low bits of a publisher's number, which identify it within its run; the high bits identify the run.
pub(crate) const PUBLISHER_BITS: u32 = 16;

/// Compares received messages with the expected ones.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// The run whose messages count; `None` for all runs.
    run: Option<u64>,
    publishers: BTreeMap<u64, Sequence>,
    /// Messages that arrived or are known to be lost.
    reached: u64,
    ended: usize,
    verdict: Verdict,
}

/// The result for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It counts, and its latency started at this moment.
    Measured(Timestamp),
    /// It is intact but not measured.
    WarmUp,
    /// It is the end of a publisher.
    End,
    /// It was not expected, and is counted in the verdict.
    Faulty,
    /// It belongs to another program or run.
    Foreign,
}

/// The messages received from one publisher.
#[derive(Debug, Default)]
struct Sequence {
    /// The number of the next message.
    next: u64,
    /// Skipped numbers: from each key up to its value, exclusive.
    holes: BTreeMap<u64, u64>,
    has_ended: bool,
}

impl Verifier {
    /// Verifies messages of one run, or of all runs.
    pub(crate) fn new(run: Option<u64>) -> Self {
        Self { run, publishers: BTreeMap::new(), reached: 0, ended: 0, verdict: Verdict::default() }
    }

    /// Verifies a message.
    pub(crate) fn check(&mut self, payload: &[u8]) -> Checked {
        match payload::verify(payload) {
            Received::Intact(stamp) => self.check_stamp(stamp),
            Received::Corrupted => {
                self.verdict.corrupted = self.verdict.corrupted.saturating_add(1);
                Checked::Faulty
            }
            Received::Foreign => self.count_foreign(),
        }
    }

    /// Counts a gap that the broker reported. The numbers of later messages show which messages it lost.
    pub(crate) const fn gap(&mut self) {
        self.verdict.gaps = self.verdict.gaps.saturating_add(1);
    }

    /// Messages that arrived or are known to be lost.
    pub(crate) const fn reached(&self) -> u64 {
        self.reached
    }

    /// Whether no message of a run has arrived.
    pub(crate) const fn is_untouched(&self) -> bool {
        self.reached == 0 && self.ended == 0 && self.verdict.corrupted == 0
    }

    /// Publishers whose end has arrived.
    pub(crate) const fn ended(&self) -> usize {
        self.ended
    }

    /// The verdict for exactly these publishers, each with its number of messages: missing ones are lost.
    pub(crate) fn verdict_for(mut self, published: impl IntoIterator<Item = (u64, u64)>) -> Verdict {
        for (publisher, total) in published {
            let sequence = self.publishers.entry(publisher).or_default();
            self.verdict.lost = self.verdict.lost.saturating_add(total.saturating_sub(sequence.next));
            sequence.next = sequence.next.max(total);
            sequence.has_ended = true;
        }
        self.verdict
    }

    /// The verdict without knowledge of the publishers: `expected` publishers must have ended, and every one that has
    /// sent a message. With `None` the run was stopped early, and none must have ended.
    pub(crate) fn verdict(mut self, expected: Option<usize>) -> Verdict {
        let expected = expected.map_or(0, |expected| expected.max(self.publishers.len()));
        let unfinished = expected.saturating_sub(self.ended);
        self.verdict.unfinished = u64::try_from(unfinished).unwrap_or(u64::MAX);
        self.verdict
    }

    fn count_foreign(&mut self) -> Checked {
        self.verdict.foreign = self.verdict.foreign.saturating_add(1);
        Checked::Foreign
    }

    fn check_stamp(&mut self, stamp: Stamp) -> Checked {
        let is_other_run = self.run.is_some_and(|run| run != stamp.publisher >> PUBLISHER_BITS);
        let is_new = !self.publishers.contains_key(&stamp.publisher);
        if is_other_run || (is_new && self.publishers.len() >= MAX_PUBLISHERS) {
            return self.count_foreign();
        }
        let sequence = self.publishers.entry(stamp.publisher).or_default();
        let verdict = &mut self.verdict;
        if stamp.number > sequence.next {
            let skipped = stamp.number.saturating_sub(sequence.next);
            verdict.lost = verdict.lost.saturating_add(skipped);
            self.reached = self.reached.saturating_add(skipped);
            sequence.skip_to(stamp.number);
        }
        if stamp.kind == Kind::End {
            // Its number is the total; a second end, or one before the last message, is a fault like a second message.
            if sequence.has_ended || stamp.number < sequence.next {
                verdict.duplicated = verdict.duplicated.saturating_add(1);
                return Checked::Faulty;
            }
            sequence.has_ended = true;
            self.ended = self.ended.saturating_add(1);
            return Checked::End;
        }
        if stamp.number < sequence.next {
            if !sequence.fill(stamp.number) {
                verdict.duplicated = verdict.duplicated.saturating_add(1);
                return Checked::Faulty;
            }
            verdict.lost = verdict.lost.saturating_sub(1);
            verdict.reordered = verdict.reordered.saturating_add(1);
        } else {
            sequence.next = sequence.next.saturating_add(1);
            self.reached = self.reached.saturating_add(1);
        }
        verdict.verified = verdict.verified.saturating_add(1);
        match stamp.kind {
            Kind::Measured => Checked::Measured(Timestamp::from_micros(stamp.since)),
            Kind::WarmUp | Kind::End => Checked::WarmUp,
        }
    }
}

impl Sequence {
    fn skip_to(&mut self, number: u64) {
        if self.holes.len() < MAX_HOLES {
            self.holes.insert(self.next, number);
        }
        self.next = number;
    }

    /// Fills a hole; false if the number was not skipped, or has arrived before.
    fn fill(&mut self, number: u64) -> bool {
        let Some((&from, &to)) = self.holes.range(..=number).next_back() else { return false };
        if number >= to {
            return false;
        }
        self.holes.remove(&from);
        if from < number {
            self.holes.insert(from, number);
        }
        let after = number.saturating_add(1);
        if after < to {
            self.holes.insert(after, to);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use zaichik_measure::payload::Payloads;

    use super::*;

    const RUN: u64 = 3;
    const PUBLISHER: u64 = RUN << PUBLISHER_BITS;

    fn message(publisher: u64, number: u64) -> Bytes {
        Payloads::new(publisher, 64).build(Kind::Measured, number, [number].into_iter()).next().expect("one")
    }

    fn end(total: u64) -> Bytes {
        Payloads::new(PUBLISHER, 64).end(total, 0)
    }

    /// The verdict on one publisher whose numbers arrive in this order, and then its end.
    fn verdict(numbers: &[u64], total: u64) -> Verdict {
        let mut verifier = Verifier::new(Some(RUN));
        for number in numbers {
            verifier.check(&message(PUBLISHER, *number));
        }
        verifier.check(&end(total));
        verifier.verdict(Some(1))
    }

    fn clean(verified: u64) -> Verdict {
        Verdict { verified, ..Verdict::default() }
    }

    #[test]
    fn messages_in_order_are_verified() {
        let found = verdict(&[0, 1, 2, 3], 4);
        assert_eq!(found, clean(4));
        assert!(found.holds());
    }

    #[test]
    fn a_lost_message_is_found_at_the_beginning_in_the_middle_and_at_the_end() {
        for numbers in [[1, 2, 3], [0, 2, 3], [0, 1, 2]] {
            let found = verdict(&numbers, 4);
            assert_eq!(found, Verdict { lost: 1, ..clean(3) }, "{numbers:?}");
            assert!(!found.holds());
        }
    }

    #[test]
    fn a_message_that_arrives_twice_is_found() {
        for numbers in [[0, 0, 1, 2], [0, 1, 2, 0], [0, 1, 2, 2]] {
            let found = verdict(&numbers, 3);
            assert_eq!(found, Verdict { duplicated: 1, ..clean(3) }, "{numbers:?}");
            assert!(!found.holds());
        }
    }

    #[test]
    fn messages_out_of_order_are_found_and_are_not_lost() {
        for (numbers, reordered) in [([1, 0, 2, 3, 4], 1), ([0, 4, 2, 1, 3], 3), ([4, 3, 2, 1, 0], 4)] {
            let found = verdict(&numbers, 5);
            assert_eq!(found, Verdict { reordered, ..clean(5) }, "{numbers:?}");
            assert!(!found.holds());
        }
        let found = verdict(&[2, 0, 1, 0, 1], 3);
        assert_eq!(found, Verdict { reordered: 2, duplicated: 2, ..clean(3) }, "late ones that arrive again");
    }

    #[test]
    fn a_corrupted_message_is_found_and_its_number_is_missing() {
        let mut verifier = Verifier::new(Some(RUN));
        let mut changed = message(PUBLISHER, 1).to_vec();
        changed[20] ^= 0x40;
        assert_eq!(verifier.check(&message(PUBLISHER, 0)), Checked::Measured(Timestamp::ZERO));
        assert_eq!(verifier.check(&changed), Checked::Faulty);
        assert_eq!(verifier.check(&message(PUBLISHER, 2)), Checked::Measured(Timestamp::from_micros(2)));
        assert_eq!(verifier.check(&end(3)), Checked::End);
        assert_eq!((verifier.reached(), verifier.ended()), (3, 1));
        let found = verifier.verdict(Some(1));
        assert_eq!(found, Verdict { corrupted: 1, lost: 1, ..clean(2) });
        assert!(!found.holds());
    }

    #[test]
    fn publishers_are_verified_separately_and_other_runs_are_ignored() {
        let mut verifier = Verifier::new(Some(RUN));
        for number in 0..3 {
            verifier.check(&message(PUBLISHER, number));
            verifier.check(&message(PUBLISHER + 1, number));
        }
        assert_eq!(verifier.check(&message((RUN + 1) << PUBLISHER_BITS, 9)), Checked::Foreign);
        assert_eq!(verifier.check(b"another program's"), Checked::Foreign);
        let found = verifier.verdict_for([(PUBLISHER, 3), (PUBLISHER + 1, 3)]);
        assert_eq!(found, Verdict { foreign: 2, ..clean(6) });
        assert!(found.holds());
    }

    #[test]
    fn totals_of_the_publishers_show_what_is_missing_at_the_end() {
        let mut verifier = Verifier::new(Some(RUN));
        verifier.check(&message(PUBLISHER, 0));
        let found = verifier.verdict_for([(PUBLISHER, 3), (PUBLISHER + 1, 2)]);
        assert_eq!(found, Verdict { lost: 4, ..clean(1) });
    }

    #[test]
    fn an_end_that_is_missing_early_or_repeated_is_found() {
        let mut verifier = Verifier::new(None);
        verifier.check(&message(PUBLISHER, 0));
        let found = verifier.verdict(Some(1));
        assert_eq!(found, Verdict { unfinished: 1, ..clean(1) });
        assert!(!found.holds());
        assert_eq!(verdict(&[0, 1, 2], 2), Verdict { duplicated: 1, unfinished: 1, ..clean(3) });
        let mut verifier = Verifier::new(None);
        assert_eq!([verifier.check(&end(0)), verifier.check(&end(0))], [Checked::End, Checked::Faulty]);
        assert_eq!(Verifier::new(None).verdict(Some(1)).unfinished, 1, "no publisher");
    }

    #[test]
    fn a_gap_is_a_fault_even_if_no_message_of_the_run_is_missing() {
        let mut verifier = Verifier::new(None);
        verifier.gap();
        assert!(!verifier.verdict(None).holds());
    }

    #[test]
    fn messages_in_holes_beyond_the_limit_stay_lost() {
        let mut verifier = Verifier::new(None);
        let holes = u64::try_from(MAX_HOLES).expect("it fits") + 1;
        for number in 0..holes {
            verifier.check(&message(PUBLISHER, 2 * number + 1));
        }
        assert_eq!(verifier.check(&message(PUBLISHER, 0)), Checked::Measured(Timestamp::ZERO));
        assert_eq!(verifier.check(&message(PUBLISHER, 2 * (holes - 1))), Checked::Faulty);
        let found = verifier.verdict_for([]);
        assert_eq!((found.lost, found.reordered, found.duplicated), (holes - 1, 1, 1));
    }
}
