#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

#[derive(Debug, Clone)]
enum Action {
    /// A publish of these keys, which may be refused at the end.
    Publish {
        keys: Vec<&'static str>,
        refused: bool,
        max_keys: u64,
    },
    Time(u64),
    Window(u64),
    Forget(usize),
    Shrink,
}

#[derive(Debug, Clone)]
struct Remembered {
    key: &'static str,
    accepted: u64,
    offset: u64,
    window: u64,
}

/// Scans every key ever accepted.
fn naive(
    all: &mut Vec<Remembered>,
    now: u64,
    key: &'static str,
    offset: u64,
    max: u64,
    window: u64,
) -> KeyStatus {
    let remembered: Vec<_> = all.iter().filter(|one| now - one.accepted < one.window).collect();
    if let Some(one) = remembered.iter().find(|one| one.key == key) {
        return KeyStatus::Duplicate(one.offset);
    }
    if remembered.len() as u64 >= max {
        return KeyStatus::LimitReached;
    }
    all.push(Remembered { key, accepted: now, offset, window });
    KeyStatus::New
}

fn check(first_window: u64, actions: &[Action]) {
    let (mut window, mut now, mut offset) = (first_window, 100, 0);
    let mut keys = Keys::new(7, window, 0);
    let mut all = Vec::new();
    for action in actions {
        match action {
            Action::Publish { keys: published, refused, max_keys } => {
                let (before, naive_before) = (keys.next_number(), all.len());
                for key in published {
                    let status = keys.accept(key.as_bytes(), now, offset, *max_keys);
                    assert_eq!(status, naive(&mut all, now, key, offset, *max_keys, window), "{key:?}");
                    offset += 1;
                }
                if *refused {
                    keys.undo_to(before);
                    all.truncate(naive_before);
                }
            }
            Action::Time(by) => now += by,
            Action::Window(to) => {
                keys.set_window(*to, offset);
                window = *to;
                for one in &mut all {
                    one.window = one.window.min(*to);
                }
            }
            Action::Forget(budget) => {
                if !keys.forget(now, *budget) {
                    assert!(keys.next_forget() > now, "nothing more is due");
                }
            }
            Action::Shrink => keys.shrink(),
        }
        let remembered = all.iter().filter(|one| now - one.accepted < one.window);
        assert_eq!(keys.remembered(now), remembered.count() as u64);
        assert!(keys.table.len() <= keys.entries.len());
    }
    keys.forget(u64::MAX - 1, usize::MAX);
    keys.shrink();
    if all.iter().all(|one| one.window < u64::MAX) {
        assert_eq!((keys.table.len(), keys.entries.len(), keys.bytes.len()), (0, 0, 0));
    }
}

fn action() -> impl Strategy<Value = Action> {
    let key = select(vec![
        "",
        "a",
        "b",
        "ab",
        "c",
        "a rather long key that does not fit in a line of a cache at all",
    ]);
    prop_oneof![
        8 => (vec_of(key, 1..4), prop::bool::weighted(0.2), select(vec![1, 2, 3, u64::MAX])).prop_map(
            |(keys, refused, max_keys)| Action::Publish { keys, refused, max_keys }
        ),
        5 => select(vec![0, 1, 2, 5, 10]).prop_map(Action::Time),
        1 => select(vec![0, 1, 3, 5, 10, u64::MAX]).prop_map(Action::Window),
        1 => (0..3usize).prop_map(Action::Forget),
        1 => Just(Action::Shrink),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_agree_with_a_list(
        window in select(vec![1, 3, 5, 10, u64::MAX]),
        actions in vec_of(action(), 1..80),
    ) {
        check(window, &actions);
    }
}
