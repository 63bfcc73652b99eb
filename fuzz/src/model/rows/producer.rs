//! Idempotent producers.

use zaichik_proto::{AckLevel, Producer, RefusalCode};

use super::{KEEP, World, published, record, refused};
use crate::model::words::{Answer, Operation, Request, Settings};

fn one(body: &str) -> Vec<crate::model::words::Record> {
    vec![record(None, body)]
}

fn created() -> World {
    let mut world = World::new(Settings { max_messages: 2, reject: true, ..KEEP });
    world.publish(0, &["first"]);
    world
}

#[test]
fn p_01_the_same_sequence_gets_the_stored_answer() {
    let mut world = created();
    assert_eq!(world.publish_as((1, 1, 5), 0, one("a")), published(1));
    assert_eq!(world.publish_as((1, 1, 5), 3, one("whatever it says")), published(1));
    assert_eq!(world.model.topic(0).unwrap().log.len(), 2);
    assert!(world.model.topic(3).is_none());
}

#[test]
fn p_02_a_hole_appends_nothing() {
    let mut world = created();
    world.publish_as((1, 1, 5), 0, one("a"));
    assert_eq!(world.publish_as((1, 1, 7), 0, one("c")), refused(RefusalCode::SequenceGap, 6));
    assert_eq!(world.model.topic(0).unwrap().log.len(), 2);
}

#[test]
fn p_03_a_sequence_older_than_remembered_is_refused() {
    let mut world = World::new(Settings { max_messages: 10_000, ..KEEP });
    world.publish(0, &["first"]);
    for sequence in 5..1_030 {
        assert_eq!(world.publish_as((1, 1, sequence), 0, one("a")), published(sequence - 4));
    }
    assert_eq!(world.publish_as((1, 1, 6), 0, one("a")), published(2));
    for sequence in [5, 4] {
        assert_eq!(world.publish_as((1, 1, sequence), 0, one("a")), refused(RefusalCode::SequenceTooOld, 0));
    }
}

#[test]
fn p_04_a_final_refusal_is_stored_and_a_retryable_one_is_not() {
    let mut world = created();
    let too_large = world.publish_as((1, 1, 5), 0, one(&"x".repeat(1_001)));
    assert_eq!(too_large, refused(RefusalCode::TooLarge, 1_000));
    assert_eq!(world.publish_as((1, 1, 5), 0, one("fits")), too_large);
    assert_eq!(world.publish_as((1, 1, 6), 0, one("a")), published(1));
    assert_eq!(world.publish_as((1, 1, 7), 0, one("b")), refused(RefusalCode::TopicFull, 0));
    assert_eq!(world.publish_as((1, 1, 8), 1, one("c")), refused(RefusalCode::SequenceGap, 7));
    let created = Answer::Published { created: true, first: Some(0), duplicates: Vec::new() };
    assert_eq!(world.publish_as((1, 1, 7), 1, one("b")), created);
}

#[test]
fn p_05_an_idle_producer_is_new_again() {
    let mut world = created();
    world.publish_as((1, 1, 5), 0, one("a"));
    world.model.tick(99);
    assert_eq!(world.publish_as((1, 1, 5), 0, one("a")), published(1));
    world.model.tick(199);
    assert_eq!(world.publish_as((1, 1, 2), 0, one("a")), refused(RefusalCode::TopicFull, 0));
    assert_eq!(world.publish_as((1, 1, 3), 0, one("b")), refused(RefusalCode::SequenceGap, 2));
}

#[test]
fn p_07_a_higher_epoch_fences() {
    let mut world = created();
    world.publish_as((1, 1, 5), 0, one("a"));
    let created = Answer::Published { created: true, first: Some(0), duplicates: Vec::new() };
    assert_eq!(world.publish_as((1, 3, 50), 1, one("b")), created);
    assert_eq!(world.publish_as((1, 1, 6), 1, one("c")), refused(RefusalCode::ProducerFenced, 3));
}

#[test]
fn p_11_the_retry_wins_over_the_key() {
    let mut world = World::new(Settings { window: 10, ..KEEP });
    world.publish_records(0, vec![record(Some("other"), "")]);
    let keyed = || vec![record(Some("k"), "a")];
    assert_eq!(world.publish_as((1, 1, 5), 0, keyed()), published(1));
    assert_eq!(world.publish_as((1, 1, 5), 0, keyed()), published(1));
    let duplicate = Answer::Published { created: false, first: None, duplicates: vec![(0, 1)] };
    assert_eq!(world.publish_as((1, 1, 6), 0, keyed()), duplicate);
}

#[test]
fn p3_a_full_table_refuses_a_new_producer() {
    let mut world = created();
    world.publish_as((1, 1, 5), 1, one("a"));
    world.publish_as((2, 1, 5), 1, one("b"));
    assert_eq!(world.publish_as((3, 1, 5), 0, one("c")), refused(RefusalCode::ProducersFull, 2));
    assert_eq!(world.model.producers.expected(3), None);
    world.model.tick(100);
    assert_eq!(world.publish_as((3, 1, 5), 0, one("c")), published(1));
}

#[test]
fn x_03_the_answer_to_a_batch_is_stored_like_that_to_a_publish() {
    let mut world = created();
    let producer = Some(Producer { id: 1, epoch: 1, sequence: 5 });
    let operations = vec![Operation::Publish { topic: 0, records: one("a") }];
    let request = Request::Batch { ack: AckLevel::Accepted, producer, operations };
    let answer = Answer::Batched { results: vec![(0, false, Some(1))], duplicates: Vec::new() };
    assert_eq!(world.ask(1, &request), answer);
    assert_eq!(world.ask(2, &request), answer);
    assert_eq!(world.publish_as((1, 1, 5), 0, one("a")), refused(RefusalCode::SequenceTooOld, 0));
    assert_eq!(world.model.topic(0).unwrap().log.len(), 2);
}
