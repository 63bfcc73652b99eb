//! Shrunk scripts on which the engine and the model once disagreed.

mod members;

use zaichik_proto::AckLevel;

use crate::model::action::{Action, Epoch, Part, Place};
use crate::model::script::{Script, Step, check};
use crate::model::words::{Bounds, Durable, Options, Record, Settings, Start, Subscribe};

/// Live-only, `latest` mode.
const SETTINGS: Settings = Settings {
    ttl: 0,
    window: 0,
    latest: true,
    max_messages: 5,
    max_bytes: 100,
    reject: false,
    max_keys: 1,
    tombstone_ttl: 0,
};

const BOUNDS: Bounds = Bounds {
    first_offset: 0,
    max_message: 100_000,
    max_topics: 4,
    max_subscriptions: 2,
    max_window: 1_024,
    max_window_size: 1 << 20,
    max_durables: 1,
    inactive_ttl: 3,
    max_producers: 100,
    producer_ttl: 3,
};

/// Options that change nothing.
const NOTHING: Options = Options {
    ttl: None,
    window: None,
    latest: None,
    max_messages: None,
    max_bytes: None,
    reject: None,
    max_keys: None,
    tombstone_ttl: None,
};

/// A durable subscription that is never forgotten.
fn subscribe(topic: u32, window: u32, from: Place) -> Action {
    let durable = Durable { name: 0, reject: false, epoch: 0, inactive_ttl: u64::MAX };
    let terms = Subscribe {
        number: 1,
        topic,
        start: Start::Earliest,
        window,
        window_bytes: 1 << 20,
        max_attempts: 0,
        dead_letter: None,
        durable: Some(durable),
    };
    Action::Subscribe { terms, from, epoch: Epoch::First }
}

/// Rule T3: the topic is empty, although no housekeeping ran since the record behind the committed one expired.
#[test]
fn t3_an_expired_record_behind_a_committed_one_does_not_prevent_a_change_of_mode() {
    let subscribe = subscribe(2, 1, Place::BeforeEnd(-1));
    let publish = |ttl| Part::Publish { topic: 2, records: vec![Record { ttl, ..Record::default() }] };
    let parts = vec![publish(None), publish(Some(1))];
    let first = Options { latest: Some(false), ..NOTHING };
    let steps = vec![
        Step::Send(0, vec![subscribe]),
        Step::Reconnect(0),
        Step::Send(0, vec![Action::Batch { ack: AckLevel::Accepted, claim: None, parts }]),
        Step::Time(1),
        Step::Time(0),
        Step::Send(0, vec![Action::Create { topic: 2, options: first }]),
    ];
    check(&Script { defaults: SETTINGS, bounds: BOUNDS, output_buffer: 4_096, has_members: false, steps });
}

/// Rule A-13: a pause after a refused dead letter that is over when a connection attaches causes no further delivery.
#[test]
fn a_13_a_pause_that_is_over_when_a_connection_attaches_is_forgotten() {
    let Action::Subscribe { terms, from, epoch } = subscribe(0, 1, Place::Earliest) else { unreachable!() };
    let failing = Subscribe { max_attempts: 1, dead_letter: Some(2), ..terms };
    let narrow = Subscribe { window: 3, window_bytes: 1, ..terms };
    let publish = |len, ttl| {
        let record = Record { body: vec![0; len], ttl, ..Record::default() };
        Action::Publish { topic: 0, ack: AckLevel::Accepted, claim: None, records: vec![record] }
    };
    let steps = vec![
        Step::Send(0, vec![Action::Subscribe { terms: failing, from, epoch }]),
        Step::Send(0, vec![publish(0, None)]),
        Step::Reconnect(0),
        Step::Time(999_998),
        Step::Time(2),
        Step::Send(1, vec![publish(6, None)]),
        Step::Send(0, vec![publish(15, Some(1))]),
        Step::Send(0, vec![Action::Subscribe { terms: narrow, from, epoch }]),
        Step::Time(1),
        Step::Housekeep,
    ];
    let defaults = Settings { ttl: 1, latest: false, ..SETTINGS };
    let bounds = Bounds { max_producers: 1, ..BOUNDS };
    check(&Script { defaults, bounds, output_buffer: 4_096, has_members: false, steps });
}

/// Rule C4: memory that compaction could reclaim before the mode changed does not keep the new mode's housekeeping busy.
#[test]
fn c4_memory_left_by_compaction_does_not_keep_housekeeping_busy() {
    let publish = |key: Option<&str>, len| {
        let key = key.map(|key| key.as_bytes().to_vec());
        let record = Record { key, body: vec![0; len], ..Record::default() };
        Action::Publish { topic: 0, ack: AckLevel::Accepted, claim: None, records: vec![record] }
    };
    let first = Options { ttl: Some(2_000_000), latest: Some(false), ..NOTHING };
    let steps = vec![
        Step::Send(0, vec![subscribe(0, 1, Place::Earliest)]),
        Step::Send(0, vec![publish(None, 30_000)]),
        Step::Send(0, vec![publish(Some(""), 30_000)]),
        Step::Send(0, vec![publish(Some(""), 0)]),
        Step::Time(1),
        Step::Send(0, vec![Action::Create { topic: 0, options: first }]),
        Step::Send(0, vec![publish(None, 0)]),
    ];
    let defaults = Settings { ttl: 1, max_bytes: u64::MAX, max_keys: 2, ..SETTINGS };
    check(&Script { defaults, bounds: BOUNDS, output_buffer: 4_096, has_members: false, steps });
}
