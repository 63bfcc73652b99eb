//! A group against a plain model: a map from each offset to its place.

#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

use std::collections::BTreeMap;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;

use super::*;

const DEADLINE: u64 = 100;
const MEMBERS: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Done,
    Held { member: u64, due: u64, attempt: u32 },
    Back { attempts: u32, until: u64, holder: Option<u64> },
    Blocked,
}

#[derive(Debug, Clone)]
enum Action {
    Publish(u64),
    HandOut { member: u64, most: usize },
    Gap(u64),
    Ack { member: u64, from: u64, len: u64 },
    Nack { member: u64, from: u64, len: u64, delay: u64 },
    Extend { member: u64, from: u64, len: u64 },
    Advance(u64),
    Leave(u64),
    Seek(u64),
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    // Offsets count from the cursor.
    let range = || (0..MEMBERS, 0..20u64, 1..9u64);
    prop_oneof![
        4 => (0..12u64).prop_map(Action::Publish),
        12 => (0..MEMBERS, 1..12usize).prop_map(|(member, most)| Action::HandOut { member, most }),
        1 => (1..6u64).prop_map(Action::Gap),
        12 => range().prop_map(|(member, from, len)| Action::Ack { member, from, len }),
        6 => (range(), prop_oneof![Just(0), 1..150u64])
            .prop_map(|((member, from, len), delay)| Action::Nack { member, from, len, delay }),
        3 => range().prop_map(|(member, from, len)| Action::Extend { member, from, len }),
        4 => (0..120u64).prop_map(Action::Advance),
        2 => (0..MEMBERS).prop_map(Action::Leave),
        1 => (0..30u64).prop_map(Action::Seek),
        1 => Just(Action::Restart),
    ]
}

/// The group and what it should be.
struct Twin {
    group: Group,
    by_key: bool,
    places: BTreeMap<u64, Place>,
    start: u64,
    next: u64,
    end: u64,
    now: u64,
}

impl Twin {
    fn new(by_key: bool, max_span: u32) -> Self {
        let options = Options { ack_deadline_micros: DEADLINE, max_span, by_key };
        let group = Group::new(0, options);
        Self { group, by_key, places: BTreeMap::new(), start: 0, next: 0, end: 0, now: 1 }
    }

    /// The key of a record: that of the offset is always the same.
    const fn key(&self, offset: u64) -> u64 {
        if self.by_key { offset % 5 } else { 0 }
    }

    fn place(&self, offset: u64) -> Option<Place> {
        self.places.get(&offset).copied()
    }

    fn cursor(&self) -> u64 {
        let open = |offset: &u64| self.place(*offset) != Some(Place::Done);
        (self.start..u64::MAX).find(open).expect("an offset that is not done")
    }

    fn is_busy(&self, key: u64) -> bool {
        let of_key = self.places.iter().filter(|(offset, _)| self.key(**offset) == key);
        key != 0
            && of_key.into_iter().any(|(_, place)| matches!(place, Place::Held { .. } | Place::Back { .. }))
    }

    fn done(&mut self, offset: u64) {
        self.places.insert(offset, Place::Done);
        let key = self.key(offset);
        let blocked =
            |(at, place): (&u64, &Place)| (self.key(*at) == key && *place == Place::Blocked).then_some(*at);
        let first = if key == 0 { None } else { self.places.iter().find_map(blocked) };
        if let Some(first) = first {
            self.places.insert(first, Place::Back { attempts: 0, until: 0, holder: None });
        }
    }

    fn is_ready(&self, offset: u64) -> bool {
        matches!(self.place(offset), Some(Place::Back { until: 0, .. }))
    }

    fn attempts(&self, offset: u64) -> u32 {
        match self.place(offset) {
            Some(Place::Back { attempts, .. }) => attempts,
            _ => 0,
        }
    }

    /// As the caller does: the key of each record is found when it is handed out.
    fn hand_out(&mut self, member: u64, most: usize) {
        let max_span = u64::from(self.group.options.max_span);
        loop {
            let Some(offer) = self.group.offer(self.end, most) else {
                assert!(!self.places.values().any(|place| matches!(place, Place::Back { until: 0, .. })));
                self.skip_known();
                assert!(
                    self.next >= self.end || self.next - self.cursor() >= max_span,
                    "nothing is held back"
                );
                return;
            };
            let first = offer.from.offset;
            let ready = self.places.keys().copied().find(|offset| self.is_ready(*offset));
            assert_eq!(offer.is_new, ready.is_none());
            assert_eq!(ready.unwrap_or_else(|| self.next_new()), first, "lowest first");
            assert_eq!(offer.attempt, self.attempts(first) + 1);
            let mut keys: Vec<u64> = Vec::new();
            for offset in first..first + u64::from(offer.records) {
                assert_eq!(self.attempts(offset) + 1, offer.attempt);
                let key = self.key(offset);
                let is_busy = self.is_busy(key) || (key != 0 && keys.contains(&key));
                if offer.is_new && !self.group.begin(key) {
                    assert!(is_busy, "key {key} of {offset}");
                    break;
                }
                assert!(!offer.is_new || !is_busy, "key {key} of {offset}");
                keys.push(key);
            }
            if keys.is_empty() {
                self.group.block(self.key(first));
                self.places.insert(first, Place::Blocked);
                self.next = first + 1;
                continue;
            }
            let stop = first + keys.len() as u64;
            for offset in first..stop {
                let due = self.now + DEADLINE;
                self.places.insert(offset, Place::Held { member, due, attempt: offer.attempt });
            }
            if offer.is_new {
                self.next = stop;
                assert!(stop - self.cursor() <= max_span);
            }
            let times = Times { now: Timestamp::from_micros(self.now), next: Position::at(stop) };
            let sizes: Vec<u32> = keys.iter().map(|_| 7).collect();
            let keys = if self.by_key { &keys[..] } else { &[] };
            self.group.hand_out(member, &offer, (&sizes, keys), times);
            return;
        }
    }

    /// The first offset at or above the next one whose place is not known.
    fn next_new(&self) -> u64 {
        (self.next..u64::MAX).find(|offset| self.place(*offset).is_none()).expect("an unknown offset")
    }

    /// The group passed what it knows when it had nothing to offer, unless it may not go on.
    fn skip_known(&mut self) {
        if self.next.saturating_sub(self.cursor()) < u64::from(self.group.options.max_span) {
            self.next = self.next_new();
        }
    }

    fn gap(&mut self, len: u64) {
        let Some(offer) = self.group.offer(self.end, 64) else {
            self.skip_known();
            return;
        };
        let first = offer.from.offset;
        let to = (first + len).min(self.end).max(first + 1);
        let is_alike = |offset: &u64| {
            if offer.is_new { self.place(*offset).is_none() } else { self.is_ready(*offset) }
        };
        let passed: Vec<u64> = (first..to).take_while(is_alike).collect();
        assert_eq!(self.group.pass(&offer, to), first + passed.len() as u64);
        for offset in &passed {
            if offer.is_new {
                // Nothing waits for it.
                self.places.insert(*offset, Place::Done);
            } else {
                self.done(*offset);
            }
        }
        if offer.is_new {
            self.next = first + passed.len() as u64;
        }
    }

    fn ack(&mut self, member: u64, from: u64, to: u64) {
        let mut at = from;
        let mut acked = Vec::new();
        while let Some((first, end)) = self.group.next_ackable(member, at, to) {
            self.group.ack(member, (first, end));
            acked.extend(first..end);
            at = end;
        }
        let expected: Vec<u64> = (from..to)
            .filter(|offset| match self.place(*offset) {
                Some(Place::Held { member: holder, .. }) => holder == member,
                Some(Place::Back { holder, .. }) => holder == Some(member),
                _ => false,
            })
            .collect();
        assert_eq!(acked, expected);
        for offset in acked {
            self.done(offset);
        }
    }

    fn each_held(&mut self, member: u64, from: u64, to: u64, mut each: impl FnMut(&mut Self, (u64, u64))) {
        let holds = |offset: &u64| match self.place(*offset) {
            Some(Place::Held { member: holder, .. }) => holder == member,
            _ => false,
        };
        let expected: Vec<u64> =
            self.places.range(from..to).map(|(offset, _)| *offset).filter(holds).collect();
        let (mut at, mut found) = (from, Vec::new());
        while let Some((first, end)) = self.group.next_held(member, at, to) {
            found.extend(first..end);
            each(self, (first, end));
            at = end;
        }
        assert_eq!(found, expected);
    }

    fn put_back(&mut self, held: &Held, until: u64, holder: Option<u64>) {
        for (offset, key) in held.offsets() {
            assert_eq!(key, self.key(offset));
            self.group.put_back((offset, key), held.attempt, Timestamp::from_micros(until), holder);
            self.places.insert(offset, Place::Back { attempts: held.attempt, until, holder });
        }
        assert_eq!(held.bytes, 7 * held.records());
    }

    fn advance(&mut self, by: u64) {
        self.now += by;
        let now = Timestamp::from_micros(self.now);
        while self.group.end_delay(now) {}
        let mut expected = Vec::new();
        for (offset, place) in &mut self.places {
            match *place {
                Place::Back { until, attempts, holder } if until > 0 && until <= self.now => {
                    *place = Place::Back { until: 0, attempts, holder };
                }
                Place::Held { member, due, attempt } if due <= self.now => {
                    expected.push((*offset, member, attempt));
                }
                Place::Done | Place::Held { .. } | Place::Back { .. } | Place::Blocked => {}
            }
        }
        let next = self.next;
        self.places.retain(|offset, place| *offset < next || !matches!(place, Place::Back { until: 0, .. }));
        let mut found = Vec::new();
        while let Some((member, held)) = self.group.take_overdue(now) {
            found.extend((held.from..held.to).map(|offset| (offset, member, held.attempt)));
            self.put_back(&held, 0, Some(member));
        }
        found.sort_unstable();
        assert_eq!(found, expected);
        assert!(self.group.next_deadline() > now);
    }

    fn step(&mut self, action: &Action) {
        let base = self.cursor();
        let range =
            |from: u64, len: u64| (base.saturating_sub(2) + from, base.saturating_sub(2) + from + len);
        match *action {
            Action::Publish(count) => self.end += count,
            Action::HandOut { member, most } => self.hand_out(member, most),
            Action::Gap(len) => self.gap(len),
            Action::Ack { member, from, len } => {
                let (from, to) = range(from, len);
                self.ack(member, from, to);
            }
            Action::Nack { member, from, len, delay } => {
                let (from, to) = range(from, len);
                let until = if delay == 0 { 0 } else { self.now + delay };
                self.each_held(member, from, to, |twin, offsets| {
                    let held = twin.group.take_back(member, offsets).expect("it is held");
                    twin.put_back(&held, until, None);
                });
            }
            Action::Extend { member, from, len } => {
                let (from, to) = range(from, len);
                let now = self.now;
                self.each_held(member, from, to, |twin, offsets| {
                    twin.group.extend(member, offsets, Timestamp::from_micros(now));
                    for offset in offsets.0..offsets.1 {
                        if let Some(Place::Held { due, .. }) = twin.places.get_mut(&offset) {
                            *due = now + DEADLINE;
                        }
                    }
                });
            }
            Action::Advance(by) => self.advance(by),
            Action::Leave(member) => self.each_held(member, 0, u64::MAX, |twin, offsets| {
                let held = twin.group.take_back(member, offsets).expect("it is held");
                twin.put_back(&held, 0, None);
            }),
            Action::Seek(to) => {
                self.group.seek(to);
                self.places.clear();
                (self.start, self.next, self.end) = (to, to, self.end.max(to));
            }
            Action::Restart => {
                let stored = self.group.stored();
                let mut again = Group::new(stored.cursor, self.group.options);
                again.restore(stored.clone());
                if !self.by_key {
                    assert_eq!(again.stored(), stored);
                }
                self.group = again;
                let by_key = self.by_key;
                self.places.retain(|_, place| match *place {
                    Place::Done => true,
                    Place::Back { until, .. } if until > 0 && !by_key => {
                        *place = Place::Back { attempts: 0, until, holder: None };
                        true
                    }
                    Place::Held { .. } | Place::Back { .. } | Place::Blocked => false,
                });
                self.next = self.cursor();
            }
        }
        self.check();
    }

    fn check(&self) {
        assert!(self.group.is_consistent(), "{:?}", self.group);
        assert_eq!(self.group.cursor(), self.cursor());
        let count = |is: fn(&Place) -> bool| self.places.values().filter(|place| is(place)).count() as u64;
        assert_eq!(self.group.held(), count(|place| matches!(place, Place::Held { .. })));
        assert_eq!(self.group.blocked(), count(|place| *place == Place::Blocked));
        assert_eq!(self.group.back(), count(|place| matches!(place, Place::Back { .. })));
        for key in 1..5 {
            assert_eq!(self.group.keys.is_busy(key), self.is_busy(key), "key {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn g2_a_group_agrees_with_a_map_of_places(
        actions in vec_of(action(), 1..250),
        by_key: bool,
        max_span in prop_oneof![Just(1), 2..12u32, Just(1_000)],
    ) {
        let mut twin = Twin::new(by_key, max_span);
        for action in &actions {
            twin.step(action);
        }
    }
}

#[test]
fn g6_a_part_of_a_run_that_is_handed_out_again_does_not_hide_the_rest() {
    let mut group = Group::new(0, Options { ack_deadline_micros: u64::MAX, max_span: 100, by_key: false });
    let times = |next| Times { now: Timestamp::ZERO, next: Position::at(next) };
    let offer = group.offer(10, 10).expect("ten records");
    group.hand_out(1, &offer, (&[1; 10], &[]), times(10));
    let held = group.take_back(1, (3, 4)).expect("it is held");
    group.put_back((3, 0), held.attempt, Timestamp::ZERO, None);
    let again = group.offer(10, 10).expect("one record");
    assert_eq!((again.from.offset, again.records, again.attempt), (3, 1, 2));
    group.hand_out(1, &again, (&[1], &[]), times(4));
    assert_eq!(group.next_held(1, 5, 20), Some((5, 10)));
    assert_eq!(group.next_deadline(), Timestamp::MAX);
}
