//! Batches.

use zaichik_proto::RefusalCode;

use super::{DURABLE, KEEP, PLAIN, World, record};
use crate::model::batch::MAX_OPERATIONS;
use crate::model::words::{Answer, Operation, Record, Settings};

fn publish(topic: u32, records: Vec<Record>) -> Operation {
    Operation::Publish { topic, records }
}

fn one(topic: u32, body: &str) -> Operation {
    publish(topic, vec![record(None, body)])
}

const fn refused(code: RefusalCode, value: u64, operation: u32) -> Answer {
    Answer::Refused { code, value, operation }
}

#[test]
fn x_01_one_failed_operation_refuses_the_batch() {
    let mut world = World::new(KEEP);
    world.publish(0, &["a"]);
    world.subscribe(1, PLAIN);
    let large = "x".repeat(1_001);
    let answer = world.batch(1, vec![one(0, "b"), one(1, "c"), one(2, "d"), one(0, &large)]);
    assert_eq!(answer, refused(RefusalCode::TooLarge, 1_000, 3));
    assert_eq!(world.model.topic(0).unwrap().end(), 1);
    assert_eq!(world.model.topics.len(), 1, "x_06: no topic was created");
}

#[test]
fn x1_the_records_of_a_batch_do_not_evict_each_other() {
    let mut world = World::new(Settings { max_messages: 2, ..KEEP });
    let answer = world.batch(1, vec![one(0, "a"), one(1, "b"), one(0, "c"), one(0, "d")]);
    assert_eq!(answer, refused(RefusalCode::TooLarge, 2, 3));
}

#[test]
fn x_04_a_fenced_commit_refuses_the_batch() {
    let mut world = World::new(KEEP);
    world.publish(0, &["a"]);
    world.subscribe(1, DURABLE);
    world.subscribe(2, DURABLE);
    let answer = world.batch(1, vec![one(0, "b"), Operation::Commit { number: 1, offset: 0, rewind: None }]);
    assert_eq!(answer, refused(RefusalCode::SubscriptionFenced, 2, 1));
    assert_eq!(world.model.topic(0).unwrap().end(), 1);
}

#[test]
fn x_05_a_duplicate_inside_a_batch_is_no_error() {
    let mut world = World::new(Settings { window: 10, ..KEEP });
    let keyed = |body| publish(0, vec![record(None, "x"), record(Some("k"), body)]);
    let answer = world.batch(1, vec![keyed("a"), keyed("b")]);
    let results = vec![(0, true, Some(0)), (1, false, Some(2))];
    assert_eq!(answer, Answer::Batched { results, duplicates: vec![(1, 1, 1)] });
}

#[test]
fn x_10_a_commit_makes_room_for_the_publish_after_it() {
    let mut world = World::new(Settings { max_messages: 1, reject: true, ..KEEP });
    world.publish(0, &["a"]);
    world.subscribe(1, PLAIN);
    let commit = Operation::Commit { number: 1, offset: 0, rewind: None };
    let full = world.batch(1, vec![one(0, "b"), commit.clone()]);
    assert_eq!(full, refused(RefusalCode::TopicFull, 0, 0));
    let answer = world.batch(1, vec![commit, one(0, "b")]);
    assert_eq!(answer, Answer::Batched { results: vec![(1, false, Some(1))], duplicates: Vec::new() });
    assert_eq!(world.took(1, 1), ["0 a", "1 b"]);
}

#[test]
fn x_11_an_empty_batch_succeeds() {
    let mut world = World::new(KEEP);
    let nothing = Answer::Batched { results: Vec::new(), duplicates: Vec::new() };
    assert_eq!(world.batch(1, Vec::new()), nothing);
}

#[test]
fn x_09_one_operation_too_many_is_refused() {
    let mut world = World::new(KEEP);
    let answer = world.batch(1, vec![one(0, "a"); MAX_OPERATIONS + 1]);
    assert_eq!(answer, refused(RefusalCode::BatchTooLong, 1_000, 1_000));
}
