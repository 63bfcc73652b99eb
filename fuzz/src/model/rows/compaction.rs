//! Compaction that keeps the latest record of a key.

use zaichik_proto::RefusalCode;

use super::{KEEP, PLAIN, World, published, record, refused, subscribed, tombstone};
use crate::model::words::{Answer, Options, Record, Settings, Start, Subscribe};

const LATEST: Settings = Settings { latest: true, ..KEEP };

/// A topic that exists, with records of key `k` and these bodies.
fn with_values(settings: Settings, bodies: &[&str]) -> World {
    let mut world = World::new(settings);
    for body in bodies {
        world.publish_records(0, vec![record(Some("k"), body)]);
    }
    world
}

fn newcomer(world: &mut World) -> Vec<String> {
    world.subscribe(5, Subscribe { window: 0, ..PLAIN });
    let got = world.took(5, 1);
    world.disconnect(5);
    got
}

#[test]
fn c_16_a_new_subscription_sees_the_latest_value() {
    let mut world = with_values(LATEST, &["1", "2"]);
    assert_eq!(newcomer(&mut world), ["1 2"]);
}

#[test]
fn c_17_a_slow_subscriber_skips_silently() {
    let mut world = World::new(LATEST);
    world.publish(0, &["busy"]);
    world.subscribe(1, PLAIN);
    world.publish_records(0, vec![record(Some("k"), "1")]);
    world.publish_records(0, vec![record(Some("k"), "2")]);
    assert_eq!(world.commit(1, 0), Answer::Done(1));
    assert_eq!(world.took(1, 1), ["0 busy", "2 2"]);
    assert_eq!(world.model.superseded, 1);
    assert_eq!(world.commit(1, 1), Answer::Done(2), "the cursor moves past the superseded record by itself");
}

#[test]
fn c_18_inside_the_lag_both_are_seen() {
    let mut world = with_values(Settings { window: 10, ..LATEST }, &["1", "2"]);
    world.model.tick(9);
    assert_eq!(newcomer(&mut world), ["0 1", "1 2"]);
    world.model.tick(10);
    assert_eq!(newcomer(&mut world), ["1 2"]);
}

#[test]
fn c_19_a_tombstone_expires() {
    let mut world = with_values(LATEST, &["1"]);
    world.publish_records(0, vec![tombstone("k")]);
    world.model.tick(99);
    assert_eq!(newcomer(&mut world), ["1 gone"]);
    world.model.tick(100);
    assert!(newcomer(&mut world).is_empty());
}

#[test]
fn c_20_a_tombstone_for_an_unknown_key_is_accepted() {
    let mut world = with_values(LATEST, &["1"]);
    assert_eq!(world.publish_records(0, vec![tombstone("other")]), published(1));
}

#[test]
fn c_21_when_the_newest_value_expires_the_key_is_gone() {
    let mut world = with_values(LATEST, &["1"]);
    let short = Record { ttl: Some(5), ..record(Some("k"), "2") };
    world.publish_records(0, vec![short]);
    world.model.tick(5);
    assert!(newcomer(&mut world).is_empty());
}

#[test]
fn c_22_the_answer_names_the_start_behind_compacted_records() {
    let mut world = with_values(LATEST, &["1", "2", "3"]);
    let subscribe = Subscribe { start: Start::Offset(1), ..PLAIN };
    assert_eq!(world.subscribe(1, subscribe), subscribed(0, 0, 2, 3));
    assert_eq!(world.took(1, 1), ["2 3"]);
}

#[test]
fn c_23_live_records_keep_their_order() {
    let mut world = World::new(LATEST);
    for key in ["a", "b", "c", "a", "b", "a"] {
        world.publish_records(0, vec![record(Some(key), key)]);
    }
    assert_eq!(newcomer(&mut world), ["2 c", "4 b", "5 a"]);
}

#[test]
fn c4_keys_whose_newest_record_is_live_count() {
    let mut world = with_values(Settings { max_keys: 1, ..LATEST }, &["1"]);
    let other = || vec![record(Some("other"), "1")];
    assert_eq!(world.publish_records(0, other()), refused(RefusalCode::KeysFull, 1));
    assert_eq!(world.publish_records(0, vec![tombstone("k")]), published(1));
    assert_eq!(world.publish_records(0, other()), refused(RefusalCode::KeysFull, 1));
    world.model.tick(100);
    assert_eq!(world.publish_records(0, other()), published(2));
}

#[test]
fn r_04_a_superseded_record_splits_a_gap() {
    let mut world = World::new(LATEST);
    world.publish(0, &["busy"]);
    world.subscribe(1, PLAIN);
    let short = || Record { ttl: Some(5), ..record(None, "short") };
    world.publish_records(0, vec![short(), short(), record(Some("k"), "1"), short(), record(Some("k"), "2")]);
    world.model.tick(5);
    world.commit(1, 0);
    assert_eq!(world.took(1, 1), ["0 busy", "1..3 expired", "4..5 expired", "5 2"]);
}

#[test]
fn r7_a_record_that_died_under_a_shorter_window_stays_dead() {
    let mut world = with_values(Settings { window: 10, ..LATEST }, &["1"]);
    world.publish(0, &["between"]);
    world.publish_records(0, vec![record(Some("k"), "2")]);
    world.model.tick(10);
    world.alter(0, Options { window: Some(1_000), ..Options::default() });
    assert_eq!(newcomer(&mut world), ["1 between", "2 2"]);
}

#[test]
fn t3_the_mode_changes_only_while_the_topic_is_empty() {
    let mut world = with_values(LATEST, &["1"]);
    let first = Options { latest: Some(false), ..Options::default() };
    assert_eq!(world.alter(0, first), refused(RefusalCode::InvalidSettings, 4));
    world.alter(0, Options { ttl: Some(1), ..Options::default() });
    world.model.tick(1);
    assert_eq!(world.alter(0, first), Answer::Done(0));
}
