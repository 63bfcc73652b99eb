//! Rule R3: where a subscription begins.

use zaichik_proto::{Start, TopicOptions};

use crate::world::{Sub, World, mortal, ms, record, secs};

#[test]
fn r_06_subscribing_in_the_same_step_as_a_publish_loses_and_repeats_nothing() {
    for writer_first in [true, false] {
        let mut world = World::new();
        let first = world.topic(TopicOptions::new().retain_forever());
        let second = world.connect();
        let (writer, reader) = if writer_first { (&first, &second) } else { (&second, &first) };
        for body in ["a", "b", "c"] {
            writer.publish("t", body);
        }
        reader.subscribe_to(Sub::new(1, "t").window(10));
        for body in ["d", "e"] {
            writer.publish("t", body);
        }
        world.settle();
        assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c", "1/3=d", "1/4=e"]);
    }
}

#[test]
fn r3_start_positions() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(100)));
    let begin = world.now.as_micros();
    for body in ["0", "1", "2", "3", "4"] {
        world.publish(&peer, &[body]);
        world.advance(secs(10));
    }
    world.advance(secs(60));
    // At 110 the records of 0 and 10 are expired.
    let mut number = 0;
    let mut start = |world: &mut World, start| {
        let peer = world.connect();
        number += 1;
        world.ask(&peer, peer.subscribe_to(Sub::new(number, "t").from(start)))
    };
    assert_eq!(start(&mut world, Start::Earliest), "2..5");
    assert_eq!(start(&mut world, Start::Latest), "5..5");
    for (asked, got) in [(0, "2..5"), (1, "2..5"), (2, "2..5"), (4, "4..5"), (5, "5..5"), (9, "9..5")] {
        assert_eq!(start(&mut world, Start::Offset(asked)), got, "offset {asked}");
    }
    for (asked, got) in [(0, "2..5"), (20, "2..5"), (21, "3..5"), (40, "4..5"), (41, "5..5"), (900, "5..5")] {
        assert_eq!(start(&mut world, Start::Time(begin + asked * 1_000_000)), got, "time {asked}");
    }
}

#[test]
fn r3_a_start_past_the_end_waits_for_its_offset() {
    for options in [TopicOptions::new(), TopicOptions::new().retain_forever()] {
        let mut world = World::new();
        let peer = world.topic(options);
        let reader = world.connect();
        let sub = Sub::new(1, "t").from(Start::Offset(3)).window(9);
        assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), "3..0");
        world.publish(&peer, &["0", "1", "2"]);
        assert!(reader.stream().is_empty());
        // Records before the start count as committed.
        assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 3");
        assert_eq!(world.ask(&reader, reader.commit(1, 3)), "refused CommitAhead 3");
        world.publish(&peer, &["3", "4"]);
        assert_eq!(reader.stream(), ["1/3=3", "1/4=4"]);
    }
}

#[test]
fn r3_no_gap_is_reported_before_the_start() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().max_messages(2));
    world.publish(&peer, &["0", "1", "2", "3"]);
    let reader = world.connect();
    let sub = Sub::new(1, "t").from(Start::Offset(0)).window(9);
    assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), "2..4");
    assert_eq!(reader.stream(), ["1/2=2", "1/3=3"]);
}

#[test]
fn r3_the_start_skips_records_whose_own_time_to_live_is_over() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    peer.publish_all("t", &[mortal("0", 1_000), mortal("1", 1_000), record(b"2"), mortal("3", 1_000)]);
    world.advance(ms(1));
    let reader = world.connect();
    assert_eq!(world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9))), "2..4");
    assert_eq!(reader.stream(), ["1/2=2", "1/3..4 expired"]);
    let reader = world.connect();
    let sub = Sub::new(1, "t").from(Start::Offset(3));
    assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), "4..4");
    assert!(reader.stream().is_empty());
}
