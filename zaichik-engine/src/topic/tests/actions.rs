//! What happens to the topic and to its list: drawn actions.

use proptest::collection::vec as vec_of;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{READERS, Want};

#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Records, and whether one that is too large follows.
    Publish(Vec<Message>, bool),
    Time(u64),
    Pull(usize, Want),
    Move(usize, u64),
    Change(Change),
    /// One step of housekeeping.
    Step,
    /// A second passes, and housekeeping finishes.
    Rest,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) key: Option<&'static str>,
    pub(super) len: usize,
    pub(super) ttl: Option<u64>,
    pub(super) is_tombstone: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) window: u64,
    pub(super) tombstone_ttl: u64,
    pub(super) retention: u64,
    pub(super) max_messages: u64,
    pub(super) max_bytes: u64,
    pub(super) max_keys: u64,
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    let key = || select(vec!["", "a", "b", "c", "d", "a longer key"]);
    let len = || prop_oneof![10 => 0..60usize, 3 => 300..900usize, 1 => select(vec![9_000, 30_000])];
    let ttl = || option::weighted(0.2, select(vec![1, 3, 10, 1_000_000]));
    let put = (option::weighted(0.85, key()), len(), ttl()).prop_map(|(key, len, ttl)| Message {
        key,
        len,
        ttl,
        is_tombstone: false,
    });
    let delete =
        (key(), ttl()).prop_map(|(key, ttl)| Message { key: Some(key), len: 0, ttl, is_tombstone: true });
    let message = prop_oneof![6 => put, 1 => delete];
    let bytes = || select(vec![0, 40, 200, 65_536, usize::MAX]);
    let want = (select(vec![1, 2, 5, u32::MAX]), bytes(), bytes())
        .prop_map(|(records, bytes, single)| Want { records, bytes, single });
    prop_oneof![
        20 => (vec_of(message, 1..5), prop::bool::weighted(0.1)).prop_map(|(all, bad)| Action::Publish(all, bad)),
        5 => select(vec![0, 1, 2, 5, 10]).prop_map(Action::Time),
        12 => (0..READERS, want).prop_map(|(reader, want)| Action::Pull(reader, want)),
        2 => (0..READERS, 0..9u64).prop_map(|(reader, ahead)| Action::Move(reader, ahead)),
        2 => change().prop_map(Action::Change),
        3 => Just(Action::Step),
        2 => Just(Action::Rest),
    ]
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    let times = (select(vec![0, 0, 3, 10, u64::MAX]), select(vec![0, 2, 10, 1_000_000, u64::MAX]));
    let retention = select(vec![0, 5, 20, 3_000_000, u64::MAX, u64::MAX, u64::MAX]);
    let limits = (select(vec![7, 30, u64::MAX, u64::MAX]), select(vec![40_000, u64::MAX, u64::MAX]));
    (times, retention, limits, select(vec![1, 2, 4, u64::MAX])).prop_map(
        |((window, tombstone_ttl), retention, (max_messages, max_bytes), max_keys)| Change {
            window,
            tombstone_ttl,
            retention,
            max_messages,
            max_bytes,
            max_keys,
        },
    )
}
