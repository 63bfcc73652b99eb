//! Compaction in `first` mode (rules C1 to C5, C9, R7): publishes with few keys to one topic, on the engine and the
//! model.

use zaichik_proto::AckLevel;

use crate::choices::Choices;
use crate::model::action::Action;
use crate::model::check;
use crate::model::script::{Script, Step};
use crate::model::words::{Bounds, FOREVER, Options, Record, Settings};

/// Windows, in microseconds; the times between publishes are about as long.
const WINDOWS: [u64; 8] = [0, 1, 3, 5, 8, 13, 1_000_000, FOREVER];

/// The settings before any change.
const SETTINGS: Settings = Settings {
    ttl: 0,
    window: 0,
    latest: false,
    max_messages: 4,
    max_bytes: FOREVER,
    reject: false,
    max_keys: 3,
    tombstone_ttl: FOREVER,
};

const BOUNDS: Bounds = Bounds {
    first_offset: 0,
    max_message: 1_000,
    max_topics: 1,
    max_subscriptions: 1,
    max_window: 1,
    max_window_size: 1,
    max_durables: 1,
    inactive_ttl: FOREVER,
    max_producers: 1,
    producer_ttl: FOREVER,
};

/// One topic and one connection: `data` decides what is published, how time passes and which settings change.
///
/// # Panics
/// As for [`check`].
pub fn compaction(data: &[u8]) {
    let mut choices = Choices::new(data);
    let defaults = Settings { window: choices.one_of(&WINDOWS), ..SETTINGS };
    // The first publish creates the topic.
    let mut steps = vec![publish(vec![None])];
    while !choices.is_empty() {
        steps.push(step(&mut choices));
    }
    check(&Script { defaults, bounds: BOUNDS, output_buffer: 256 << 10, has_members: false, steps });
}

fn step(choices: &mut Choices<'_>) -> Step {
    let action = choices.byte();
    match action % 8 {
        0..=3 => publish((0..=action >> 3 & 3).map(|_| key(choices)).collect()),
        4 => Step::Time(i64::from(choices.byte() % 16)),
        5 => {
            let (window, max_keys) = (choices.one_of(&WINDOWS), 1 + choices.below(4) as u64);
            let (max_messages, ttl) = (4 + choices.below(3) as u64, choices.one_of(&WINDOWS));
            let options = Options {
                ttl: Some(ttl),
                window: Some(window),
                max_messages: Some(max_messages),
                max_keys: Some(max_keys),
                ..Options::default()
            };
            Step::Send(0, vec![Action::Alter { topic: 0, options }])
        }
        6 => Step::Housekeep,
        _ => Step::Time(1_000_000),
    }
}

fn publish(keys: Vec<Option<Vec<u8>>>) -> Step {
    let records = keys.into_iter().map(|key| Record { key, ..Record::default() }).collect();
    Step::Send(0, vec![Action::Publish { topic: 0, ack: AckLevel::Accepted, claim: None, records }])
}

/// No key, the empty key, or one of a few.
fn key(choices: &mut Choices<'_>) -> Option<Vec<u8>> {
    match choices.below(7) {
        0 => None,
        len => Some(vec![b'k'; len - 1]),
    }
}
