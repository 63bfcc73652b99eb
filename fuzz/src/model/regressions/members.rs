//! Scripts with members of shared subscriptions. Where two dead letters have room for one, it matters which comes first.

use super::*;
use crate::model::action::{Named, Which};
use crate::model::sharing::How;
use crate::model::words::Join;

const FOREVER: u64 = u64::MAX;

/// A topic holds two records, or 200 bytes: one dead letter.
const DEFAULTS: Settings = Settings {
    ttl: 2_000_000,
    latest: false,
    max_messages: 2,
    max_bytes: 200,
    max_keys: FOREVER,
    tombstone_ttl: FOREVER,
    ..SETTINGS
};

const MANY: Bounds =
    Bounds { max_topics: 100, max_subscriptions: 100, max_durables: 100, inactive_ttl: FOREVER, ..BOUNDS };

/// Joins a shared subscription of topic 0 that buries in topic 3 what was held for 5 microseconds.
fn join(number: u32, name: u32) -> Action {
    let join = Join {
        number,
        topic: 0,
        name,
        start: Start::Earliest,
        window: 3,
        window_bytes: 1 << 20,
        max_attempts: 1,
        dead_letter: Some(3),
        ack_deadline: 5,
        max_span: 0,
        inactive_ttl: FOREVER,
        by_key: false,
    };
    Action::Join { join, from: Place::Earliest }
}

fn publish(topic: u32) -> Action {
    Action::Publish { topic, ack: AckLevel::Accepted, claim: None, records: vec![Record::default()] }
}

fn extend() -> Action {
    let named = vec![Named { place: 0, shift: 0, count: 1 }];
    Action::Settle { how: How::Extend, which: Which::Own(0), behind: 0, named }
}

/// Shows whether its record is done.
fn describe(name: u32) -> Step {
    Step::Send(0, vec![Action::DescribeShared { topic: 0, name }])
}

fn check_members(defaults: Settings, bounds: Bounds, steps: Vec<Step>) {
    check(&Script { defaults, bounds, output_buffer: 256 << 10, has_members: true, steps });
}

/// Rule G6: of two subscriptions, the one whose time ends first comes first, although the time of the other one was extended.
#[test]
fn g6_extended_times_end_in_their_order() {
    let steps = vec![
        Step::Send(1, vec![join(1, 1)]),
        Step::Send(2, vec![join(1, 0)]),
        Step::Send(0, vec![publish(0)]),
        Step::Time(1),
        Step::Send(1, vec![extend()]),
        Step::Time(5),
        describe(0),
        describe(1),
    ];
    check_members(DEFAULTS, MANY, steps);
}

/// Rule G6: two that end together, in the order in which the subscriptions were created.
#[test]
fn g6_times_that_end_together_end_in_the_order_of_the_subscriptions() {
    let Action::Subscribe { mut terms, from, epoch } = subscribe(0, 1, Place::Earliest) else {
        unreachable!()
    };
    // It frees its place in the table when it is forgotten.
    terms.durable = terms.durable.map(|durable| Durable { inactive_ttl: 1, ..durable });
    let steps = vec![
        Step::Send(1, vec![Action::Subscribe { terms, from, epoch }]),
        Step::Send(2, vec![join(1, 1)]),
        Step::Reconnect(1),
        Step::Time(1),
        Step::Housekeep,
        Step::Send(1, vec![join(1, 2)]),
        Step::Send(0, vec![publish(0)]),
        Step::Time(5),
        describe(1),
        describe(2),
    ];
    check_members(DEFAULTS, MANY, steps);
}

/// Rules D5, G6: a subscription is forgotten before a dead letter of the same moment, so its cursor makes no room for it any
/// more.
#[test]
fn d5_a_subscription_is_forgotten_before_what_fails_at_that_moment() {
    let Action::Subscribe { mut terms, from, epoch } = subscribe(3, 1, Place::Latest) else { unreachable!() };
    terms.durable = terms.durable.map(|durable| Durable { inactive_ttl: 5, ..durable });
    let steps = vec![
        Step::Send(0, vec![join(1, 1), publish(3), publish(3)]),
        Step::Send(1, vec![Action::Subscribe { terms, from, epoch }]),
        Step::Send(0, vec![publish(0)]),
        Step::Reconnect(1),
        Step::Time(5),
    ];
    check_members(Settings { max_bytes: FOREVER, reject: true, ..DEFAULTS }, MANY, steps);
}

/// Rules C6, G7: it waits for its key until it is superseded. Whether a member had looked at it before shows only in the count of
/// superseded records.
#[test]
fn g7_a_record_that_waits_for_its_key_may_be_superseded_before_it_is_passed() {
    let keyed = |key: Option<&[u8]>, body: usize| {
        let record = Record { key: key.map(<[u8]>::to_vec), body: vec![0; body], ..Record::default() };
        Action::Publish { topic: 0, ack: AckLevel::Accepted, claim: None, records: vec![record] }
    };
    let by_key = |window, window_bytes, ack_deadline| {
        let Action::Join { join, from } = join(1, 1) else { unreachable!() };
        let (max_attempts, dead_letter) = (0, None);
        let join =
            Join { window, window_bytes, ack_deadline, max_attempts, dead_letter, by_key: true, ..join };
        Action::Join { join, from }
    };
    let steps = vec![
        Step::Send(0, vec![keyed(Some(b"a"), 0)]),
        Step::Send(1, vec![by_key(3, 1, 1_000_000), keyed(None, 0)]),
        Step::Send(2, vec![keyed(Some(b"a"), 700)]),
        Step::Send(2, vec![keyed(None, 0), by_key(2, 60, 1)]),
        Step::Send(0, vec![keyed(None, 0), keyed(Some(b"a"), 0)]),
        Step::Time(1),
    ];
    check_members(Settings { latest: true, max_messages: 3, max_bytes: FOREVER, ..DEFAULTS }, MANY, steps);
}

/// Rule C8: a record died silently and then expired, and nobody reached it before the time to live was changed.
#[test]
fn c8_what_expired_before_the_settings_changed_may_be_skipped_silently() {
    let of_key = |body: usize, ttl| {
        let record = Record { key: Some(b"b".to_vec()), body: vec![0; body], ttl, ..Record::default() };
        Action::Publish { topic: 0, ack: AckLevel::Accepted, claim: None, records: vec![record] }
    };
    let keeps_for = |ttl| {
        let options = Options { ttl: Some(ttl), ..Options::default() };
        Step::Send(0, vec![Action::Alter { topic: 0, options }])
    };
    let records = vec![Record { key: Some(Vec::new()), ttl: Some(1), ..Record::default() }; 3];
    let publish_three = Action::Publish { topic: 0, ack: AckLevel::Accepted, claim: None, records };
    let held_for_ever = || {
        let Action::Join { join, from } = join(1, 1) else { unreachable!() };
        Action::Join { join: Join { ack_deadline: 0, max_attempts: 3, ..join }, from }
    };
    let steps = vec![
        Step::Send(0, vec![held_for_ever()]),
        keeps_for(10),
        Step::Send(0, vec![of_key(30_000, None)]),
        Step::Time(3),
        Step::Restart,
        Step::Send(0, vec![of_key(70_000, Some(1))]),
        Step::Time(4),
        Step::Send(0, vec![publish(0)]),
        Step::Housekeep,
        Step::Time(3),
        keeps_for(2_000_000),
        Step::Send(0, vec![publish_three, held_for_ever()]),
    ];
    let defaults = Settings { ttl: FOREVER, latest: true, max_messages: 3, max_bytes: FOREVER, ..DEFAULTS };
    check_members(Settings { reject: true, ..defaults }, MANY, steps);
}
