//! Scripts about which the engine and the model once disagreed, as they shrank.

use zaichik_proto::AckLevel;

use crate::action::{Action, Epoch, From, Part};
use crate::script::{Script, Step, check};
use crate::words::{Bounds, Durable, Options, Record, Settings, Start, Subscribe};

const LIVE_ONLY: Settings = Settings {
    ttl: 0,
    window: 0,
    latest: true,
    max_messages: 2,
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
    max_durables: 1,
    inactive_ttl: 3,
    max_producers: 100,
    producer_ttl: 3,
};

/// T3: there are no records, though nothing kept house since the one behind the committed one expired.
#[test]
fn a_record_that_expired_behind_a_committed_one_does_not_keep_the_mode() {
    let durable = Durable { name: 0, reject: false, epoch: 0, inactive_ttl: u64::MAX };
    let terms = Subscribe {
        number: 1,
        topic: 2,
        start: Start::Earliest,
        window: 1,
        window_bytes: 1 << 20,
        max_attempts: 0,
        dead_letter: None,
        durable: Some(durable),
    };
    let publish = |ttl| Part::Publish { topic: 2, records: vec![Record { ttl, ..Record::default() }] };
    let parts = vec![publish(None), publish(Some(1))];
    let first = Options {
        ttl: None,
        window: None,
        latest: Some(false),
        max_messages: None,
        max_bytes: None,
        reject: None,
        max_keys: None,
        tombstone_ttl: None,
    };
    let steps = vec![
        Step::Send(0, vec![Action::Subscribe { terms, from: From::BeforeEnd(-1), epoch: Epoch::First }]),
        Step::Reconnect(0),
        Step::Send(0, vec![Action::Batch { ack: AckLevel::Accepted, claim: None, parts }]),
        Step::Time(1),
        Step::Time(0),
        Step::Send(0, vec![Action::Create { topic: 2, options: first }]),
    ];
    check(&Script { defaults: LIVE_ONLY, bounds: BOUNDS, lane_bytes: 4_096, steps });
}
