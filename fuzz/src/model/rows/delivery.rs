//! Nacks, attempts, dead letters, and expiry in between.

use zaichik_proto::RefusalCode;

use super::{DURABLE, KEEP, PLAIN, World, published, record, refused, refused_for, subscribed};
use crate::model::words::{Answer, Record, Settings, Subscribe};

const THREE: Subscribe = Subscribe { window: 3, ..PLAIN };

fn three_delivered(subscribe: Subscribe) -> World {
    let mut world = World::new(KEEP);
    world.publish(0, &["a", "b", "c"]);
    world.subscribe(1, subscribe);
    assert_eq!(world.took(1, 1), ["0 a", "1 b", "2 c"]);
    world
}

#[test]
fn a_08_a_nack_of_the_first_redelivers_all_in_order() {
    let mut world = three_delivered(THREE);
    assert_eq!(world.nack(1, 0, 0), Answer::Done(1));
    assert_eq!(world.took(1, 1), ["0 a 2/1", "1 b 2/1", "2 c 2/1"]);
}

#[test]
fn a_09_a_nack_of_the_second_after_a_commit_of_the_first() {
    let mut world = three_delivered(THREE);
    assert_eq!(world.commit(1, 0), Answer::Done(1));
    assert_eq!(world.nack(1, 1, 0), Answer::Done(1));
    assert_eq!(world.took(1, 1), ["1 b 2/1", "2 c 2/1"]);
}

#[test]
fn a_10_nothing_overtakes_a_delayed_nack() {
    let mut world = three_delivered(THREE);
    assert_eq!(world.nack(1, 1, 10), Answer::Done(1));
    assert_eq!(world.publish(0, &["d"]), published(3));
    assert_eq!(world.commit(1, 0), Answer::Done(1));
    world.at(9);
    assert!(world.took(1, 1).is_empty());
    world.at(10);
    assert_eq!(world.took(1, 1), ["1 b 2/1", "2 c 2/1", "3 d 1/1"]);
}

#[test]
fn a_10_the_last_nack_wins() {
    let mut world = three_delivered(THREE);
    assert_eq!(world.nack(1, 1, 10), Answer::Done(1));
    assert_eq!(world.nack(1, 1, 0), refused(RefusalCode::NackAhead, 1));
    assert_eq!(world.nack(1, 0, 0), Answer::Done(2));
    assert_eq!(world.took(1, 1), ["0 a 2/2", "1 b 2/2", "2 c 2/2"]);
}

#[test]
fn a_11_a_nack_of_a_committed_record_has_no_effect() {
    let mut world = three_delivered(THREE);
    world.commit(1, 1);
    assert_eq!(world.nack(1, 1, 10), Answer::Done(0));
    assert_eq!(world.publish(0, &["d"]), published(3));
    assert_eq!(world.took(1, 1), ["3 d"], "not even a pause");
    assert_eq!(world.nack(1, 4, 0), refused(RefusalCode::NackAhead, 4));
}

#[test]
fn a_12_a_commit_of_an_old_delivery_is_ahead() {
    let mut world = three_delivered(THREE);
    world.nack(1, 0, 10);
    assert_eq!(world.commit(1, 1), refused(RefusalCode::CommitAhead, 0));
    world.at(10);
    assert_eq!(world.took(1, 1), ["0 a 2/1", "1 b 2/1", "2 c 2/1"]);
}

#[test]
fn a_13_only_the_record_that_fails_becomes_a_dead_letter() {
    let mut world = three_delivered(Subscribe { max_attempts: 2, dead_letter: Some(7), ..THREE });
    world.nack(1, 0, 0);
    world.took(1, 1);
    assert_eq!(world.nack(1, 0, 0), Answer::Done(2));
    assert_eq!(world.took(1, 1), ["1 b 3/2", "2 c 3/2"]);
    assert_eq!(world.commit(1, 1), Answer::Done(2), "the cursor is behind it");
    let graves = &world.model.topic(7).unwrap().log;
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let expected = Record {
        headers: vec![
            header("zaichik-topic", "topic-0"),
            header("zaichik-offset", "0"),
            header("zaichik-subscription", ""),
            header("zaichik-failures", "2"),
            header("zaichik-reason", "nack"),
        ],
        ..record(None, "a")
    };
    assert_eq!(graves.iter().map(|entry| &*entry.record).collect::<Vec<_>>(), [&expected]);
}

#[test]
fn a_13_a_dead_letter_in_the_middle_is_skipped() {
    let mut world = three_delivered(Subscribe { max_attempts: 1, dead_letter: Some(7), ..THREE });
    assert_eq!(world.nack(1, 1, 0), Answer::Done(1));
    assert_eq!(world.took(1, 1), ["2 c 2/1"]);
    assert_eq!(world.nack(1, 0, 0), Answer::Done(2));
    assert_eq!(world.took(1, 1), ["2 c 3/2"], "both are done");
}

#[test]
fn a_13_the_only_uncommitted_record_fails_when_the_connection_ends() {
    let mut world = World::new(KEEP);
    world.publish(0, &["a", "b"]);
    let subscribe = Subscribe { max_attempts: 1, dead_letter: Some(7), ..DURABLE };
    world.subscribe(1, subscribe);
    world.disconnect(1);
    assert_eq!(world.subscribe(1, subscribe), subscribed(2, 1, 1, 2));
    assert_eq!(world.took(1, 1), ["0 a", "1 b 1/1"]);
    let headers = &world.model.topic(7).unwrap().log[0].record.headers;
    assert_eq!(headers[2].1, b"name-0");
    assert_eq!(headers[4].1, b"disconnected");
}

#[test]
fn a6_failures_outlast_a_holder_without_a_dead_letter() {
    let mut world = World::new(KEEP);
    world.publish(0, &["a"]);
    let subscribe = Subscribe { max_attempts: 2, dead_letter: Some(7), ..DURABLE };
    world.subscribe(1, subscribe);
    world.nack(1, 0, 0);
    world.subscribe(2, DURABLE);
    world.subscribe(3, subscribe);
    world.nack(3, 0, 0);
    assert_eq!(world.model.topic(7).unwrap().log.len(), 1, "only a Seek forgets failures");
}

#[test]
fn a_14_dead_letter_topics_that_are_not_valid() {
    let mut world = World::new(Settings { ttl: 0, ..KEEP });
    world.publish(3, &["x"]);
    for dead_letter in [0, 3] {
        let subscribe = Subscribe { max_attempts: 1, dead_letter: Some(dead_letter), ..PLAIN };
        assert_eq!(world.subscribe(1, subscribe), refused_for(RefusalCode::InvalidDeadLetter, 0));
    }
    let off = Subscribe { max_attempts: 1, window: 0, ..PLAIN };
    assert_eq!(world.subscribe(1, off), refused_for(RefusalCode::CommitsOff, 0));
}

#[test]
fn a_14_a_full_dead_letter_topic_delays_by_a_second() {
    let mut world = World::new(Settings { max_messages: 1, ..KEEP });
    world.publish(0, &["a"]);
    world.subscribe(1, Subscribe { max_attempts: 1, dead_letter: Some(7), ..PLAIN });
    world.publish(7, &["full"]);
    assert_eq!(world.nack(1, 0, 5), Answer::Done(1));
    assert_eq!(world.model.dead_letters_refused, 1);
    world.at(999_999);
    assert_eq!(world.took(1, 1), ["0 a"]);
    world.at(1_000_000);
    assert_eq!(world.took(1, 1), ["0 a 2/1"], "it stays");
}

#[test]
fn r_15_live_only_redelivers_the_same_record() {
    let mut world = World::new(Settings { ttl: 0, ..KEEP });
    world.subscribe(1, PLAIN);
    world.publish(0, &["a", "b"]);
    world.nack(1, 0, 0);
    assert_eq!(world.took(1, 1), ["0 a", "0 a 2/1"]);
}

#[test]
fn r_16_a_record_that_expired_after_delivery_can_be_committed() {
    let mut world = World::new(Settings { ttl: 10, ..KEEP });
    world.publish(0, &["a"]);
    world.at(5);
    world.publish(0, &["b"]);
    world.subscribe(1, PLAIN);
    world.at(10);
    assert_eq!(world.commit(1, 0), Answer::Done(1));
    assert_eq!(world.took(1, 1), ["0 a", "1 b"]);
}

#[test]
fn r_16_a_record_that_expired_after_delivery_is_a_gap_after_a_nack() {
    let mut world = World::new(Settings { ttl: 10, ..KEEP });
    world.publish(0, &["a"]);
    world.at(5);
    world.publish(0, &["b"]);
    world.subscribe(1, PLAIN);
    world.at(10);
    assert_eq!(world.nack(1, 0, 0), Answer::Done(1));
    assert_eq!(world.took(1, 1), ["0 a", "0..1 expired", "1 b 1/1"]);
}
