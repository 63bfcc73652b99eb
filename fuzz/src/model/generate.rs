//! Which scripts there are; everything in them is small, because bugs live at limits.

use proptest::collection::vec as vec_of;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use zaichik_proto::AckLevel;

use crate::model::action::{Action, Claim, Epoch, From, Part, Which};
use crate::model::script::{PEERS, Script, Step};
use crate::model::words::{Bounds, Durable, FOREVER, INVALID, Options, Record, Settings, Start, Subscribe};

/// Largest message of these brokers.
const MAX_MESSAGE: u32 = 100_000;

/// Scripts about everything, all at once.
pub fn scripts() -> impl Strategy<Value = Script> {
    let lane_bytes = select(vec![4 << 10, 256 << 10]);
    // Without subscriptions most requests would only be refused.
    let opening = (peer(), vec_of(subscribe(), 1..3)).prop_map(|(peer, all)| Step::Send(peer, all));
    let steps =
        (vec_of(opening, 0..4), vec_of(step(), 1..60)).prop_map(|(first, then)| [first, then].concat());
    (settings(), bounds(), lane_bytes, steps).prop_map(|(defaults, bounds, lane_bytes, steps)| Script {
        defaults,
        bounds,
        lane_bytes,
        steps,
    })
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let first_offset = prop_oneof![6 => Just(0), 1 => Just(u64::MAX - 8)];
    let max_topics = select(vec![2, 4, 100, 100, 100, 100]);
    let max_subscriptions = select(vec![2, 100, 100, 100]);
    let durables = (select(vec![1, 2, 100, 100]), select(vec![3, 10, 2_000_000]));
    let producers = (select(vec![1, 2, 100, 100]), select(vec![3, 10, 2_000_000]));
    (first_offset, max_topics, max_subscriptions, durables, producers).prop_map(
        |(first_offset, max_topics, max_subscriptions, durables, producers)| Bounds {
            first_offset,
            max_message: MAX_MESSAGE,
            max_topics,
            max_subscriptions,
            max_durables: durables.0,
            inactive_ttl: durables.1,
            max_producers: producers.0,
            producer_ttl: producers.1,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let large = record(select(vec![30_000, 70_000, 100_001]));
    prop_oneof![
        6 => select(vec![0, 1, 1, 2, 3, 3, 5, 10, -4, 999_998, 1_000_000]).prop_map(Step::Time),
        14 => (peer(), vec_of(action(), 1..4)).prop_map(|(peer, actions)| Step::Send(peer, actions)),
        1 => (peer(), large).prop_map(|(peer, record)| {
            // Alone: one exchange applies a bounded number of bytes, and delivers in between.
            let (ack, records) = (AckLevel::Accepted, vec![record]);
            Step::Send(peer, vec![Action::Publish { topic: 0, ack, claim: None, records }])
        }),
        1 => peer().prop_map(Step::Reconnect),
        2 => Just(Step::Housekeep),
        1 => Just(Step::Shrink),
    ]
}

/// Most of them busy, so that much happens to one connection.
fn peer() -> impl Strategy<Value = usize> {
    select(vec![0, 0, 0, 1, 1, PEERS - 1])
}

fn action() -> impl Strategy<Value = Action> {
    let ack = prop_oneof![
        16 => Just(AckLevel::Accepted),
        4 => Just(AckLevel::None),
        1 => Just(AckLevel::Durable),
    ];
    let publish = (published(), ack.clone(), claim(), records())
        .prop_map(|(topic, ack, claim, records)| Action::Publish { topic, ack, claim, records });
    let commit = (which(), -1..4i64).prop_map(|(which, ahead)| Action::Commit { which, ahead });
    let delay = select(vec![0, 0, 0, 0, 0, 1, 3, 10, FOREVER]);
    let ahead = select(vec![0, 0, 0, 1, 2, -1, 3]);
    let nack = (which(), ahead, delay).prop_map(|(which, ahead, delay)| Action::Nack { which, ahead, delay });
    let seek = prop_oneof![
        2 => (which(), from()).prop_map(|(which, to)| Action::Seek { which, to }),
        1 => (topic(), 0..2u8, from()).prop_map(|(topic, name, to)| Action::SeekByName { topic, name, to }),
    ];
    let ack = ack.prop_map(|ack| if ack == AckLevel::None { AckLevel::Accepted } else { ack });
    let batch = (ack, claim(), vec_of(part(), 0..5)).prop_map(|(ack, claim, parts)| Action::Batch {
        ack,
        claim,
        parts,
    });
    prop_oneof![
        10 => publish,
        5 => subscribe(),
        1 => which().prop_map(|which| Action::Unsubscribe { which }),
        7 => commit,
        1 => (topic(), options()).prop_map(|(topic, options)| Action::Create { topic, options }),
        2 => (topic(), options()).prop_map(|(topic, options)| Action::Alter { topic, options }),
        4 => nack,
        2 => seek,
        4 => batch,
    ]
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        3 => (published(), records()).prop_map(|(topic, records)| Part::Publish { topic, records }),
        1 => (which(), -1..2i64).prop_map(|(which, ahead)| Part::Commit { which, ahead }),
    ]
}

fn subscribe() -> impl Strategy<Value = Action> {
    let window = select(vec![0, 1, 1, 1, 3, 3, 3]);
    let window_bytes = select(vec![1 << 20, 1 << 20, 1, 40, 60]);
    let ttl = select(vec![0, 0, 1, 3, 10, FOREVER]);
    let durable = (0..2u8, prop::bool::weighted(0.2), ttl).prop_map(|(name, reject, inactive_ttl)| Durable {
        name,
        reject,
        epoch: 0,
        inactive_ttl,
    });
    let epoch = prop_oneof![3 => Just(Epoch::First), 3 => (-1..2i32).prop_map(Epoch::Current)];
    let durable = option::weighted(0.6, durable);
    let dead_letter = option::weighted(0.6, select(vec![0, 2, 3, 3, 3, 3, 3, 3, INVALID]));
    let max_attempts = select(vec![0, 1, 1, 1, 2, 2, 3]);
    let ends = (durable, epoch, dead_letter, max_attempts);
    (number(), topic(), from(), window, window_bytes, ends).prop_map(
        |(number, topic, from, window, window_bytes, (durable, epoch, dead_letter, max_attempts))| {
            let start = Start::Earliest;
            let terms =
                Subscribe { number, topic, start, window, window_bytes, max_attempts, dead_letter, durable };
            Action::Subscribe { terms, from, epoch }
        },
    )
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        4 => Just(From::Earliest),
        1 => Just(From::Latest),
        2 => (-3..8i64).prop_map(From::BeforeEnd),
        2 => (-2..12i64).prop_map(From::Ago),
    ]
}

fn claim() -> impl Strategy<Value = Option<Claim>> {
    let epoch = select(vec![0, 0, 0, 0, 0, 1, -1]);
    let sequence = select(vec![0, 0, 0, 0, -1, -1, -2, -5, 1]);
    let claim = (0..3u128, epoch, sequence).prop_map(|(id, epoch, sequence)| Claim { id, epoch, sequence });
    option::weighted(0.4, claim)
}

/// Something that scripts may ask for, or may not.
fn which() -> impl Strategy<Value = Which> {
    prop_oneof![9 => (0..3usize).prop_map(Which::Own), 1 => number().prop_map(Which::Number)]
}

fn number() -> impl Strategy<Value = u32> {
    1..4u32
}

fn topic() -> impl Strategy<Value = u8> {
    select(vec![0, 0, 0, 0, 1, 1, 2, 3])
}

/// A topic to publish to.
fn published() -> impl Strategy<Value = u8> {
    prop_oneof![30 => topic(), 1 => Just(INVALID)]
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let len = || prop_oneof![20 => 0..24usize, 1 => Just(700)];
    prop_oneof![4 => vec_of(record(len()), 1), 2 => vec_of(record(len()), 1..5)]
}

fn record(len: impl Strategy<Value = usize>) -> impl Strategy<Value = Record> {
    let key = option::weighted(0.6, select(vec!["", "a", "b", "c", "long"]));
    let ttl = option::weighted(0.3, select(vec![1, 3, 5, 10, 2_000_000, FOREVER]));
    let header = option::weighted(0.1, any::<u8>());
    let tombstones = 0.2;
    (key, len, any::<u8>(), ttl, header, prop::bool::weighted(tombstones)).prop_map(
        |(key, len, byte, ttl, header, tombstone)| {
            let tombstone = tombstone && key.is_some();
            Record {
                key: key.map(|key| key.as_bytes().to_vec()),
                headers: header.map(|value| ("h".to_owned(), vec![value; 2])).into_iter().collect(),
                body: if tombstone { Vec::new() } else { vec![byte; len] },
                ttl,
                tombstone,
            }
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    let bounds = (max_messages(), max_bytes(), any::<bool>(), max_keys());
    let latest = option::weighted(0.5, Just(true));
    let latest = latest.prop_map(|latest| latest.unwrap_or(false));
    (ttl(), window(), latest, tombstone_ttl(), bounds).prop_map(
        |(ttl, window, latest, tombstone_ttl, (max_messages, max_bytes, reject, max_keys))| Settings {
            ttl,
            window,
            latest,
            max_messages,
            max_bytes,
            reject,
            max_keys,
            tombstone_ttl,
        },
    )
}

fn options() -> impl Strategy<Value = Options> {
    let or_zero = |some: BoxedStrategy<u64>| option::weighted(0.3, prop_oneof![30 => some, 1 => Just(0)]);
    let bounds = (or_zero(max_messages().boxed()), or_zero(max_bytes().boxed()), or_zero(max_keys().boxed()));
    let times = (
        option::weighted(0.4, ttl()),
        option::weighted(0.3, window()),
        option::weighted(0.2, tombstone_ttl()),
    );
    let latest = option::weighted(0.3, any::<bool>());
    (times, latest, option::weighted(0.3, any::<bool>()), bounds).prop_map(
        |((ttl, window, tombstone_ttl), latest, reject, (max_messages, max_bytes, max_keys))| Options {
            ttl,
            window,
            latest,
            max_messages,
            max_bytes,
            reject,
            max_keys,
            tombstone_ttl,
        },
    )
}

fn ttl() -> impl Strategy<Value = u64> {
    select(vec![0, 0, 1, 3, 5, 10, 2_000_000, FOREVER, FOREVER])
}

fn window() -> impl Strategy<Value = u64> {
    select(vec![0, 3, 5, 10, 2_000_000, FOREVER])
}

fn tombstone_ttl() -> impl Strategy<Value = u64> {
    select(vec![0, 1, 3, 10, 2_000_000, FOREVER])
}

fn max_messages() -> impl Strategy<Value = u64> {
    select(vec![1, 2, 3, 5, FOREVER, FOREVER, FOREVER, FOREVER])
}

fn max_bytes() -> impl Strategy<Value = u64> {
    select(vec![20, 50, 100, 200, FOREVER, FOREVER, FOREVER, FOREVER])
}

fn max_keys() -> impl Strategy<Value = u64> {
    select(vec![1, 2, 3, FOREVER])
}
