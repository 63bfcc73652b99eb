//! Rule A6: dead letters that their topic does not accept.

use std::time::Duration;

use zaichik_proto::TopicOptions;

use crate::dead_letter::{bodies, pair};
use crate::world::{Sub, World, keyed, ms, secs, us};

const SECOND: u64 = 1_000_000;

#[test]
fn a_14_an_unusable_dead_letter_topic_is_refused() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.create("live", TopicOptions::new()));
    for name in ["t", "live", "$x", "a\u{1}"] {
        let request = peer.subscribe_to(Sub::new(1, "t").dead_letter(1, name));
        assert_eq!(world.ask(&peer, request), "refused InvalidDeadLetter", "{name}");
    }
    let request = peer.subscribe_to(Sub::new(1, "t").window(0).dead_letter(1, "dead"));
    assert_eq!(world.ask(&peer, request), "refused CommitsOff");
    assert_eq!(world.broker.topic_count(), 1, "no topic was created");
}

#[test]
fn a_14_a_subscribe_without_room_for_its_dead_letter_topic_creates_no_topic() {
    let mut world = World::with(|config| config.max_topics = 1);
    let peer = world.connect();
    let request = peer.subscribe_to(Sub::new(1, "t").dead_letter(1, "dead"));
    assert_eq!(world.ask(&peer, request), "refused TopicsFull 1");
    assert_eq!(world.broker.topic_count(), 0);
}

#[test]
fn a_14_a_full_dead_letter_topic_leaves_the_record_where_it_is() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1, 1, &["a", "b"]);
    let full = TopicOptions::new().max_messages(1);
    assert_eq!(world.ask(&writer, writer.alter("dead", full)), "done 0");
    assert_eq!(world.ask(&writer, writer.publish("dead", "in the way")), "@0");
    reader.stream();
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 1");
    world.advance(ms(999));
    assert!(reader.stream().is_empty(), "at least a second");
    world.advance(ms(1));
    assert_eq!(reader.stream(), ["1/0=a #2"]);
    assert_eq!(world.broker.stats().dead_letters_refused, 1);
    world.ask(&reader, reader.nack(1, 0, 5 * SECOND));
    world.advance(us(4_999_999));
    assert!(reader.stream().is_empty(), "or as long as the nack requested");
    world.ask(&writer, writer.alter("dead", TopicOptions::new().max_messages(9)));
    world.advance(ms(1));
    assert_eq!(reader.stream(), ["1/0=a #3"]);
    world.ask(&reader, reader.nack(1, 0, 0));
    assert_eq!(reader.stream(), ["1/1=b"]);
    assert_eq!(bodies(&mut world), ["in the way", "a"]);
}

#[test]
fn a_14_the_whole_window_waits_for_a_full_dead_letter_topic() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 2, 1, &["a", "b"]);
    world.ask(&writer, writer.alter("dead", TopicOptions::new().max_messages(1)));
    world.ask(&writer, writer.publish("dead", "in the way"));
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    world.ask(&reader, reader.nack(1, 0, 0));
    assert!(reader.stream().is_empty());
    world.advance(secs(1));
    assert_eq!(reader.stream(), ["1/0=a #2", "1/1=b #2"]);
    world.ask(&writer, writer.alter("dead", TopicOptions::new().max_messages(2)));
    world.ask(&reader, reader.nack(1, 0, 0));
    assert_eq!(reader.stream(), ["1/1=b #3"]);
    assert_eq!(bodies(&mut world), ["in the way", "a"]);
}

#[test]
fn a6_a_dead_letter_topic_that_remembers_the_key_does_not_swallow_the_record() {
    let mut world = World::new();
    let compacting = TopicOptions::new().retain_forever().compaction_window(us(5 * SECOND));
    let writer = world.connect();
    world.ask(&writer, writer.create("dead", compacting));
    world.ask(&writer, writer.create("t", TopicOptions::new().retain_forever()));
    world.ask(&writer, writer.publish_all("t", &[keyed("k", b"a"), keyed("k", b"b")]));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").dead_letter(1, "dead")));
    reader.stream();
    world.ask(&reader, reader.nack(1, 0, 0));
    assert_eq!(reader.stream(), ["1/1=b"]);
    world.ask(&reader, reader.nack(1, 1, 0));
    assert_eq!(bodies(&mut world), ["a"]);
    assert_eq!(world.broker.stats().dead_letters_refused, 1);
    world.advance(secs(5));
    assert_eq!(reader.stream(), ["1/1=b #2"], "it stays until the dead-letter topic accepts it");
    world.ask(&reader, reader.nack(1, 1, 0));
    assert_eq!(bodies(&mut world), ["a", "b"]);
}

#[test]
fn a_14_a_full_dead_letter_topic_also_keeps_the_record_when_the_connection_ends() {
    let mut world = World::new();
    let (_, writer) = pair(&mut world, 1, 1, &["a"]);
    let sub = Sub::new(1, "t").durable("d").dead_letter(1, "dead");
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(sub));
    // A live-only topic without subscriptions would lose it.
    world.ask(&writer, writer.alter("dead", TopicOptions::new().retention_ttl(Duration::ZERO)));
    reader.cut();
    world.settle();
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(sub.dead_letter(1, "other")));
    assert!(reader.stream().is_empty());
    world.advance(secs(1));
    assert_eq!(reader.stream(), ["1/0=a #2"]);
    world.ask(&reader, reader.nack(1, 0, 0));
    assert_eq!(
        world.ask(&writer, writer.publish("other", "next")),
        "@1",
        "the dead letter was appended first"
    );
}

#[test]
fn a_14_a_new_attach_does_not_shorten_the_one_second_delay() {
    let mut world = World::new();
    let (_, writer) = pair(&mut world, 1, 1, &["a"]);
    let sub = Sub::new(1, "t").durable("d").dead_letter(1, "dead");
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(sub));
    world.ask(&writer, writer.alter("dead", TopicOptions::new().retention_ttl(Duration::ZERO)));
    reader.cut();
    world.settle();
    let sub = sub.dead_letter(1, "other");
    let first = world.connect();
    world.ask(&first, first.subscribe_to(sub));
    let second = world.connect();
    world.ask(&second, second.subscribe_to(sub));
    assert_eq!((first.stream(), second.stream()), (vec!["1 fenced by 3".to_owned()], vec![]));
    second.cut();
    world.settle();
    let third = world.connect();
    world.ask(&third, third.subscribe_to(sub));
    world.advance(us(999_999));
    assert!(third.stream().is_empty());
    world.advance(us(1));
    assert_eq!(third.stream(), ["1/0=a #2"]);
}
