//! Verifies that the members of a shared subscription acknowledge every message once.

use std::collections::BTreeMap;

use zaichik_measure::payload::{Kind, Received, Stamp};
use zaichik_tokio::Timestamp;

use super::keys::Keys;
use super::plan::Plan;
use super::verdict::Verdict;
use super::verify::{Checked, PUBLISHER_BITS};

/// What all members of a run have received and acknowledged.
#[derive(Debug)]
pub(crate) struct Tally {
    run: u64,
    /// The number of keys of each publisher, if messages with one key have to be handed out one at a time, in order.
    keys: Option<u64>,
    /// Publishers of the run.
    expected: usize,
    publishers: BTreeMap<u64, Messages>,
    verdict: Verdict,
}

/// The messages of one publisher.
#[derive(Debug)]
struct Messages {
    received: Bits,
    acknowledged: Bits,
    /// The number of messages, once the end has arrived.
    total: Option<u64>,
    is_end_acknowledged: bool,
    keys: Option<(Keys, Vec<KeyState>)>,
}

/// The newest message of a key that was handed out.
#[derive(Debug, Clone, Copy, Default)]
struct KeyState {
    /// The number after it; 0 before the first one.
    next: u64,
    /// Whether it is not acknowledged.
    is_held: bool,
}

/// A set of numbers from 0 on.
#[derive(Debug, Default)]
struct Bits {
    words: Vec<u64>,
    count: u64,
}

impl Tally {
    /// Expects every message of a plan's publishers.
    pub(crate) fn new(plan: &Plan) -> Self {
        let verdict = Verdict { is_unordered: plan.keys.is_none(), ..Verdict::default() };
        let expected = usize::try_from(plan.pubs).unwrap_or(usize::MAX);
        Self { run: plan.run, keys: plan.keys, expected, publishers: BTreeMap::new(), verdict }
    }

    /// A member received a message, which was handed out `attempt` times.
    pub(crate) fn receive(&mut self, content: Received, attempt: u32) -> (Checked, Option<Stamp>) {
        let stamp = match content {
            Received::Intact(stamp) if stamp.publisher >> PUBLISHER_BITS == self.run => stamp,
            Received::Intact(_) | Received::Foreign => {
                self.verdict.foreign = self.verdict.foreign.saturating_add(1);
                return (Checked::Foreign, None);
            }
            Received::Corrupted => {
                self.verdict.corrupted = self.verdict.corrupted.saturating_add(1);
                return (Checked::Faulty, None);
            }
        };
        let keys = self.keys;
        let messages =
            self.publishers.entry(stamp.publisher).or_insert_with(|| Messages::new(stamp.publisher, keys));
        let verdict = &mut self.verdict;
        if attempt > 1 {
            verdict.redelivered = verdict.redelivered.saturating_add(1);
        }
        let is_new = if stamp.kind == Kind::End {
            messages.total.replace(stamp.number).is_none()
        } else {
            messages.received.insert(stamp.number)
        };
        if !is_new && attempt <= 1 {
            verdict.duplicated = verdict.duplicated.saturating_add(1);
            return (Checked::Faulty, Some(stamp));
        }
        if stamp.kind != Kind::End && !messages.is_in_turn(stamp.number, is_new) {
            verdict.reordered = verdict.reordered.saturating_add(1);
        }
        let checked = match stamp.kind {
            _ if !is_new => Checked::WarmUp,
            Kind::Measured => Checked::Measured(Timestamp::from_micros(stamp.since)),
            Kind::WarmUp => Checked::WarmUp,
            Kind::End => Checked::End,
        };
        (checked, Some(stamp))
    }

    /// A member is about to acknowledge a message: the next one of its key may be handed out from now on.
    pub(crate) fn release(&mut self, stamp: Stamp) {
        if let Some(messages) = self.publishers.get_mut(&stamp.publisher).filter(|_| stamp.kind != Kind::End)
        {
            messages.release(stamp.number);
        }
    }

    /// The broker has counted a member's acknowledgement of a message. Returns whether it is a measured one, for the first time.
    pub(crate) fn acknowledge(&mut self, stamp: Stamp) -> bool {
        let Some(messages) = self.publishers.get_mut(&stamp.publisher) else { return false };
        let is_first = match stamp.kind {
            Kind::End => !std::mem::replace(&mut messages.is_end_acknowledged, true),
            Kind::Measured | Kind::WarmUp => messages.acknowledged.insert(stamp.number),
        };
        if !is_first {
            self.verdict.duplicated = self.verdict.duplicated.saturating_add(1);
        }
        is_first && stamp.kind == Kind::Measured
    }

    /// Counts a gap that the broker reported.
    pub(crate) const fn gap(&mut self) {
        self.verdict.gaps = self.verdict.gaps.saturating_add(1);
    }

    /// Whether every message of every publisher is acknowledged.
    pub(crate) fn is_complete(&self) -> bool {
        let is_done = |messages: &Messages| {
            messages.is_end_acknowledged
                && messages.total.is_some_and(|total| messages.acknowledged.count >= total)
        };
        self.publishers.len() >= self.expected && self.publishers.values().all(is_done)
    }

    /// The verdict for exactly these publishers, each with its number of messages: those that are not acknowledged are lost.
    pub(crate) fn verdict(&self, published: impl IntoIterator<Item = (u64, u64)>) -> Verdict {
        let mut verdict = self.verdict;
        for (publisher, total) in published {
            let acknowledged =
                self.publishers.get(&publisher).map_or(0, |messages| messages.acknowledged.count);
            verdict.verified = verdict.verified.saturating_add(acknowledged);
            verdict.lost = verdict.lost.saturating_add(total.saturating_sub(acknowledged));
        }
        verdict
    }
}

impl Messages {
    fn new(publisher: u64, keys: Option<u64>) -> Self {
        let keys = keys.map(|count| {
            let states = usize::try_from(count).unwrap_or(usize::MAX);
            (Keys { publisher, count }, vec![KeyState::default(); states])
        });
        Self {
            received: Bits::default(),
            acknowledged: Bits::default(),
            total: None,
            is_end_acknowledged: false,
            keys,
        }
    }

    /// Whether the key of a message lets it be handed out now: nothing later and nothing unacknowledged of it was before.
    fn is_in_turn(&mut self, number: u64, is_new: bool) -> bool {
        let Some(state) = self.key_of(number) else { return true };
        let next = number.saturating_add(1);
        // One that came back is the newest of its key.
        let is_in_turn = if is_new { !state.is_held && state.next < next } else { state.next == next };
        *state = KeyState { next: state.next.max(next), is_held: true };
        is_in_turn
    }

    fn release(&mut self, number: u64) {
        if let Some(state) = self.key_of(number).filter(|state| state.next == number.saturating_add(1)) {
            state.is_held = false;
        }
    }

    fn key_of(&mut self, number: u64) -> Option<&mut KeyState> {
        let (keys, states) = self.keys.as_mut()?;
        states.get_mut(usize::try_from(keys.of(number)).ok()?)
    }
}

impl Bits {
    /// Adds a number; returns whether it was not there.
    fn insert(&mut self, number: u64) -> bool {
        let (place, bit) = place_of(number);
        if place >= self.words.len() {
            self.words.resize(place.saturating_add(1), 0);
        }
        let is_new = self.words.get(place).is_some_and(|word| word & bit == 0);
        if let Some(word) = self.words.get_mut(place).filter(|_| is_new) {
            *word |= bit;
            self.count = self.count.saturating_add(1);
        }
        is_new
    }
}

/// The word of a number, and its bit there.
fn place_of(number: u64) -> (usize, u64) {
    (usize::try_from(number >> 6).unwrap_or(usize::MAX), 1 << (number & 63))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use zaichik_measure::payload::{Payloads, verify};

    use super::*;

    const PUBLISHER: u64 = 3 << PUBLISHER_BITS;

    fn tally(keys: Option<u64>) -> Tally {
        let verdict = Verdict { is_unordered: keys.is_none(), ..Verdict::default() };
        Tally { run: 3, keys, expected: 1, publishers: BTreeMap::new(), verdict }
    }

    fn message(number: u64) -> Bytes {
        Payloads::new(PUBLISHER, 64).build(Kind::Measured, number, [number].into_iter()).next().expect("one")
    }

    fn end(total: u64) -> Bytes {
        Payloads::new(PUBLISHER, 64).end(total, 0)
    }

    fn work(tally: &mut Tally, body: &[u8]) {
        let (_, stamp) = tally.receive(verify(body), 1);
        let stamp = stamp.expect("a message of the run");
        tally.release(stamp);
        tally.acknowledge(stamp);
    }

    #[test]
    fn messages_are_complete_in_any_order_once_the_end_is_acknowledged() {
        let mut tally = tally(None);
        for body in [message(2), end(3), message(0)] {
            work(&mut tally, &body);
            assert!(!tally.is_complete());
        }
        work(&mut tally, &message(1));
        assert!(tally.is_complete());
        let found = tally.verdict([(PUBLISHER, 3)]);
        assert_eq!(found, Verdict { verified: 3, is_unordered: true, ..Verdict::default() });
        assert!(found.holds());
    }

    #[test]
    fn a_message_that_nobody_acknowledges_is_lost() {
        let mut tally = tally(None);
        work(&mut tally, &message(0));
        tally.receive(verify(&message(1)), 1);
        work(&mut tally, &end(3));
        assert!(!tally.is_complete());
        assert_eq!(tally.verdict([(PUBLISHER, 3)]).lost, 2);
        assert_eq!(tally.verdict([(PUBLISHER, 3), (PUBLISHER + 1, 5)]).lost, 7, "and all of a publisher");
    }

    #[test]
    fn a_second_delivery_is_a_fault_unless_it_is_said_to_be_one() {
        let mut tally = tally(None);
        tally.receive(verify(&message(0)), 1);
        let (checked, _) = tally.receive(verify(&message(0)), 2);
        assert_eq!(checked, Checked::WarmUp, "its latency counted before");
        let found = tally.verdict([]);
        assert_eq!((found.redelivered, found.duplicated), (1, 0));
        tally.receive(verify(&message(0)), 1);
        assert_eq!(tally.verdict([]).duplicated, 1);
    }

    #[test]
    fn a_second_acknowledgement_that_counts_is_a_fault() {
        let mut tally = tally(None);
        for body in [message(0), end(1)] {
            let (_, stamp) = tally.receive(verify(&body), 1);
            let stamp = stamp.expect("a message of the run");
            tally.acknowledge(stamp);
            tally.acknowledge(stamp);
        }
        assert_eq!(tally.verdict([]).duplicated, 2);
        assert!(!tally.verdict([]).holds());
    }

    #[test]
    fn messages_of_a_key_are_in_order_and_one_at_a_time() {
        let found = |take: &dyn Fn(&mut Tally)| {
            let mut tally = tally(Some(1));
            take(&mut tally);
            tally.verdict([]).reordered
        };
        let in_order = |tally: &mut Tally| (0..3).for_each(|number| work(tally, &message(number)));
        assert_eq!(found(&in_order), 0);
        let overtaken = |tally: &mut Tally| [1, 0].iter().for_each(|number| work(tally, &message(*number)));
        assert_eq!(found(&overtaken), 1);
        let two_at_a_time = |tally: &mut Tally| {
            tally.receive(verify(&message(0)), 1);
            tally.receive(verify(&message(1)), 1);
        };
        assert_eq!(found(&two_at_a_time), 1);
        let back = |tally: &mut Tally| {
            tally.receive(verify(&message(0)), 1);
            tally.receive(verify(&message(0)), 2);
        };
        assert_eq!(found(&back), 0);
        let back_too_late = |tally: &mut Tally| {
            work(tally, &message(0));
            work(tally, &message(1));
            tally.receive(verify(&message(0)), 2);
        };
        assert_eq!(found(&back_too_late), 1);
    }

    #[test]
    fn what_is_not_of_the_run_is_not_acknowledged_in_it() {
        let mut tally = tally(None);
        let mut changed = message(0).to_vec();
        changed[40] ^= 1;
        assert_eq!(tally.receive(verify(&changed), 1), (Checked::Faulty, None));
        assert_eq!(tally.receive(verify(b"another program's"), 1), (Checked::Foreign, None));
        let found = tally.verdict([]);
        assert_eq!((found.corrupted, found.foreign), (1, 1));
    }
}
