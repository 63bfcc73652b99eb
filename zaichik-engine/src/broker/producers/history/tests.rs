#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zaichik_proto::RefusalCode;

use super::*;

/// An answer in the naive model: everything that would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Published { created: bool, first_offset: Option<u64>, records: u32, duplicates: Vec<Duplicate> },
    Batched { results: Vec<BatchResult>, duplicates: Vec<BatchDuplicate> },
    Refused(Refusal),
}

impl Answer {
    fn push_to(&self, history: &mut History, scratch: &mut Vec<u8>) {
        let outcome = match self {
            Self::Published { created, first_offset, records, duplicates } => Outcome::Published {
                created: *created,
                first_offset: *first_offset,
                records: *records,
                duplicates,
            },
            Self::Batched { results, duplicates } => Outcome::Batched { results, duplicates },
            Self::Refused(refusal) => Outcome::Refused(*refusal),
        };
        history.push(outcome, scratch);
    }

    /// Bytes of its frame's body, by the protocol's tables.
    fn len(&self) -> usize {
        match self {
            Self::Published { duplicates, .. } => 4 + 1 + 8 + 4 + 12 * duplicates.len(),
            Self::Batched { results, duplicates } => 4 + 4 + 13 * results.len() + 4 + 16 * duplicates.len(),
            Self::Refused(_) => 4 + 4 + 2 + 4 + 8,
        }
    }

    /// The bytes that it counts as.
    fn counted(&self) -> usize {
        if self.len() > 64 << 10 { 0 } else { self.len() }
    }
}

fn answer(history: &History, sequence: u64) -> Result<Answer, Standing> {
    let place = match history.standing(sequence) {
        Standing::Remembered(place) => place,
        standing @ (Standing::Next | Standing::Forgotten | Standing::Gap { .. }) => return Err(standing),
    };
    // Entries of the previous answer must not remain.
    let duplicates = vec![Duplicate { record: 9, offset: 9 }];
    let mut lists = AnswerLists { duplicates, ..AnswerLists::default() };
    let stored = history.read(sequence, place, &mut lists);
    let AnswerLists { duplicates, results, batch_duplicates } = lists;
    match stored {
        Stored::Published { created, first_offset } => {
            Ok(Answer::Published { created, first_offset, records: 0, duplicates })
        }
        Stored::Batched => Ok(Answer::Batched { results, duplicates: batch_duplicates }),
        Stored::Refused(refusal) => Ok(Answer::Refused(refusal)),
        Stored::Lost => Err(Standing::Forgotten),
    }
}

fn plain(first_offset: u64, records: u32) -> Answer {
    Answer::Published { created: false, first_offset: Some(first_offset), records, duplicates: Vec::new() }
}

fn duplicates(count: u32) -> Vec<Duplicate> {
    (0..count).map(|record| Duplicate { record, offset: u64::from(record) * 7 + 1 }).collect()
}

fn some_answer() -> impl Strategy<Value = Answer> {
    let size = || prop_oneof![20 => 0..4u32, 4 => 0..400u32, 1 => 2_000..8_000u32];
    prop_oneof![
        6 => (0..40u64, 1..4u32).prop_map(|(offset, records)| plain(offset, records)),
        2 => (any::<bool>(), any::<Option<u64>>(), size()).prop_map(|(created, first_offset, count)| {
            let first_offset = first_offset.filter(|offset| *offset < u64::MAX);
            Answer::Published { created, first_offset, records: count + 1, duplicates: duplicates(count) }
        }),
        2 => (0..40u32, size()).prop_map(|(publishes, count)| Answer::Batched {
            results: (0..publishes)
                .map(|operation| BatchResult { operation, created: operation % 3 == 0, first_offset: 5 })
                .collect(),
            duplicates: duplicates(count)
                .into_iter()
                .map(|duplicate| BatchDuplicate { operation: duplicate.record / 3, duplicate })
                .collect(),
        }),
        1 => (0..9u32, any::<u64>()).prop_map(|(operation, value)| {
            Answer::Refused(Refusal { code: RefusalCode::TooLarge, operation, value })
        }),
    ]
}

/// One answer, or many consecutive plain successes.
fn step() -> impl Strategy<Value = Vec<Answer>> {
    prop_oneof![
        8 => some_answer().prop_map(|answer| vec![answer]),
        2 => (0..100u64, 1..4u32, 1..700u64).prop_map(|(from, step, count)| {
            (0..count).map(|index| plain(from + index * u64::from(step), step)).collect()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn p3_the_history_agrees_with_a_plain_list(
        first in prop_oneof![Just(0u64), Just(u64::from(u32::MAX) - 500), 0..u64::MAX / 2],
        steps in vec_of(step(), 1..40),
    ) {
        let mut history = History::starting_at(first);
        let (mut all, mut scratch) = (Vec::new(), Vec::new());
        for answer in steps.into_iter().flatten() {
            answer.push_to(&mut history, &mut scratch);
            all.push(answer);
            prop_assert!(history.is_consistent());
        }
        let mut bytes = 0;
        let kept = all.iter().rev().take(1_024).take_while(|answer| {
            bytes += answer.counted();
            bytes <= 64 << 10
        });
        let oldest = all.len() - kept.count();
        for (index, expected) in all.iter().enumerate() {
            let sequence = first + index as u64;
            let found = answer(&history, sequence);
            if index < oldest || expected.len() > 64 << 10 {
                prop_assert_eq!(found, Err(Standing::Forgotten), "sequence {}", sequence);
                continue;
            }
            let mut expected = expected.clone();
            if let Answer::Published { records, .. } = &mut expected {
                *records = 0;
            }
            prop_assert_eq!(found, Ok(expected), "sequence {}", sequence);
        }
        let next = first + all.len() as u64;
        prop_assert_eq!(history.standing(next), Standing::Next);
        prop_assert_eq!(history.standing(next + 1), Standing::Gap { expected: next });
        prop_assert_eq!(history.standing(u64::MAX), Standing::Gap { expected: next });
        prop_assert!(history.footprint() <= MAX_GROWTH);
    }
}

#[test]
fn p3_a_run_of_plain_successes_costs_one_place() {
    let (mut history, mut scratch) = (History::starting_at(5), Vec::new());
    for index in 0..3_000 {
        plain(100 + index * 2, 2).push_to(&mut history, &mut scratch);
    }
    assert_eq!(history.places.len(), 1);
    assert!(history.footprint() <= 4 * 32);
    assert_eq!(answer(&history, 5 + 2_999), Ok(plain(100 + 2_999 * 2, 0)));
    assert_eq!(answer(&history, 5 + 3_000 - 1_024), Ok(plain(100 + (3_000 - 1_024) * 2, 0)));
    assert_eq!(answer(&history, 5 + 3_000 - 1_025), Err(Standing::Forgotten));
}

#[test]
fn p3_after_the_last_sequence_none_is_next() {
    let (mut history, mut scratch) = (History::starting_at(u64::MAX - 1), Vec::new());
    assert_eq!(history.standing(u64::MAX), Standing::Gap { expected: u64::MAX - 1 });
    for offset in 0..2 {
        assert_eq!(history.standing(u64::MAX - 1 + offset), Standing::Next);
        plain(offset, 1).push_to(&mut history, &mut scratch);
    }
    assert_eq!(answer(&history, u64::MAX), Ok(plain(1, 0)));
    assert_eq!(answer(&history, u64::MAX - 1), Ok(plain(0, 0)));
    assert_eq!(history.standing(0), Standing::Forgotten);
    assert!(history.is_consistent());
}

#[test]
fn p3_an_answer_larger_than_the_whole_history_is_lost_without_other_effects() {
    let (mut history, mut scratch) = (History::starting_at(0), Vec::new());
    let with = |count| Answer::Published {
        created: true,
        first_offset: Some(0),
        records: 0,
        duplicates: duplicates(count),
    };
    // 17 + 12 x 5,459 = 65,525 bytes fit into 64 KiB, one duplicate more does not.
    with(5_460).push_to(&mut history, &mut scratch);
    plain(3, 1).push_to(&mut history, &mut scratch);
    assert_eq!(answer(&history, 0), Err(Standing::Forgotten));
    assert_eq!(answer(&history, 1), Ok(plain(3, 0)));
    with(5_459).push_to(&mut history, &mut scratch);
    assert_eq!(answer(&history, 1), Err(Standing::Forgotten), "it made room");
    assert_eq!(answer(&history, 2), Ok(with(5_459)));
}
