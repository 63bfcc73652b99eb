//! Rule R10: trimming.

use zaichik_engine::{Broker, Status};
use zaichik_proto::{Overflow, Start, TopicOptions, Version};

use crate::gaps::start;
use crate::latest::{latest, new_reader, put};
use crate::world::{Peer, Sub, World, keyed, mortal, record, secs};

/// The topic "t" with these settings, and a connection that can trim it.
fn topic(world: &mut World, options: TopicOptions) -> Peer {
    let peer = world.connect_as(Version::Two);
    assert_eq!(world.ask(&peer, peer.create("t", options)), "created");
    peer
}

fn trim(world: &mut World, peer: &Peer, before: Start) -> String {
    world.ask(peer, peer.trim("t", before))
}

#[test]
fn r_18_readers_behind_a_trim_get_a_gap_and_new_ones_start_at_it() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.publish(&peer, &["0", "1", "2", "3", "4"]);
    assert_eq!(trim(&mut world, &peer, Start::Offset(3)), "3 removed, from 3");
    for asked in [Start::Earliest, Start::Offset(1), Start::Time(0)] {
        assert_eq!(start(&mut world, asked), "3..5");
    }
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..3 limit", "1/3=3"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 3)), "done 4");
    // The settings are the same.
    assert_eq!(world.ask(&peer, peer.create("t", TopicOptions::new().retain_forever())), "unchanged");
}

#[test]
fn r_19_a_trim_before_a_time_or_where_nothing_is() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    assert_eq!(trim(&mut world, &peer, Start::Latest), "0 removed, from 0", "nothing is there");
    for body in ["0", "1", "2"] {
        world.publish(&peer, &[body]);
        world.advance(secs(1));
    }
    let second = world.now.as_micros() - 2_000_000;
    for (before, answer) in [
        (Start::Earliest, "0 removed, from 0"),
        (Start::Offset(0), "0 removed, from 0"),
        (Start::Time(0), "0 removed, from 0"),
        (Start::Time(second), "1 removed, from 1"),
        (Start::Time(second), "0 removed, from 1"),
        (Start::Time(second + 1), "1 removed, from 2"),
        (Start::Offset(1), "0 removed, from 2"),
        (Start::Offset(u64::MAX), "1 removed, from 3"),
        (Start::Offset(3), "0 removed, from 3"),
        (Start::Time(u64::MAX), "0 removed, from 3"),
    ] {
        assert_eq!(trim(&mut world, &peer, before), answer, "{before:?}");
    }
    assert_eq!(world.ask(&peer, peer.publish("t", "3")), "@3", "offsets continue");
    assert_eq!(trim(&mut world, &peer, Start::Latest), "1 removed, from 4");
    assert_eq!(start(&mut world, Start::Earliest), "4..4");
}

#[test]
fn r_20_only_live_records_are_counted() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    let dying = mortal("x", 1_000_000);
    let records = [record(b"0"), dying, record(b"2"), record(b"3"), dying, record(b"5")];
    world.ask(&peer, peer.publish_all("t", &records));
    world.advance(secs(1));
    // The expired record that is first now is gone as well.
    assert_eq!(trim(&mut world, &peer, Start::Offset(4)), "3 removed, from 5");
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..5 limit", "1/5=5"]);
    let other = world.connect();
    let answer = world.ask(&other, other.subscribe_to(Sub::new(1, "t").window(9)));
    assert_eq!((answer.as_str(), other.stream()), ("5..6", vec!["1/5=5".to_owned()]));
    // What expires above the point has its own reason.
    world.ask(&peer, peer.publish_all("t", &[dying, record(b"7")]));
    world.advance(secs(1));
    world.ask(&reader, reader.commit(1, 5));
    assert_eq!(reader.stream(), ["1/6..7 expired", "1/7=7"]);
}

#[test]
fn r_20_superseded_records_are_not_counted_and_keys_below_are_gone() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_keys(2));
    peer.expect_silence();
    for (key, body) in [("k", "0"), ("l", "1"), ("k", "2"), ("l", "3")] {
        put(&mut world, &peer, key, body);
    }
    let reader = world.connect();
    reader.expect_silence();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").from(Start::Offset(0))));
    assert_eq!(trim(&mut world, &peer, Start::Offset(3)), "1 removed, from 3");
    assert_eq!(new_reader(&mut world), ["3..4", "1/3=3"]);
    assert_eq!(put(&mut world, &peer, "m", "4"), "@4", "the key k makes room for another one");
    assert_eq!(put(&mut world, &peer, "k", "5"), "refused KeysFull 2");
}

#[test]
fn r_21_a_delivered_record_can_be_committed_or_is_a_gap() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().compaction_window(secs(60));
    let peer = topic(&mut world, options);
    let (one, other) = (world.connect(), world.connect());
    for reader in [&one, &other] {
        world.ask(reader, reader.subscribe(1, "t"));
    }
    world.ask(&peer, peer.publish_all("t", &[keyed("k", b"0"), record(b"1")]));
    assert_eq!(trim(&mut world, &peer, Start::Offset(1)), "1 removed, from 1");
    assert_eq!(world.ask(&one, one.commit(1, 0)), "done 1");
    assert_eq!(world.ask(&other, other.nack(1, 0, 0)), "done 1");
    assert_eq!(one.stream(), ["1/0=0", "1/1=1"]);
    assert_eq!(other.stream(), ["1/0=0", "1/0..1 limit", "1/1=1"]);
    assert_eq!(world.ask(&peer, peer.publish_keyed("t", "k", "again")), "none 0=@0", "the key is remembered");
}

#[test]
fn r_22_a_trim_makes_room_where_overflow_is_reject() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_messages(2).overflow(Overflow::Reject);
    let peer = topic(&mut world, options);
    world.publish(&peer, &["0", "1"]);
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
    assert_eq!(trim(&mut world, &peer, Start::Offset(1)), "1 removed, from 1");
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "@2");
    assert_eq!(world.everything(), ["1/1=1", "1/2=2"]);
}

#[test]
fn r_23_what_a_live_only_topic_keeps_for_a_subscription_is_trimmed() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new());
    let durable = Sub::new(1, "t").window(9).durable("d");
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(durable));
    reader.cut();
    world.settle();
    world.publish(&peer, &["0", "1", "2"]);
    assert_eq!(trim(&mut world, &peer, Start::Offset(2)), "2 removed, from 2");
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(durable));
    assert_eq!(reader.stream(), ["1/0..2 limit", "1/2=2"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "done 3");
}

/// A subscription with all records delivered is not disturbed, and one at the end gets no gap.
#[test]
fn r10_a_reader_at_the_end_gets_no_gap() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    world.publish(&peer, &["0", "1"]);
    assert_eq!(trim(&mut world, &peer, Start::Latest), "2 removed, from 2");
    world.publish(&peer, &["2"]);
    assert_eq!(reader.stream(), ["1/0=0", "1/1=1", "1/2=2"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 2");
}

/// It is no floor: what is accepted later is live, whatever its offset was trimmed to.
#[test]
fn r10_a_trim_leaves_an_implicit_topic_implicit() {
    let mut world = World::with(|config| config.topic_defaults.retention_ttl_micros = u64::MAX);
    let peer = world.connect_as(Version::Two);
    world.ask(&peer, peer.publish("t", "0"));
    assert_eq!(trim(&mut world, &peer, Start::Latest), "1 removed, from 1");
    assert_eq!(world.ask(&peer, peer.publish("t", "1")), "@1");
    assert_eq!(world.everything(), ["1/1=1"]);
    assert_eq!(world.ask(&peer, peer.create("t", TopicOptions::new())), "adopted");
}

#[test]
fn r_24_a_million_records_are_trimmed_in_bounded_steps() {
    for (options, ttl_micros) in [
        (TopicOptions::new().retain_forever(), None),
        (TopicOptions::new().retain_forever(), Some(u64::MAX / 4)),
    ] {
        let mut world = World::new().checked_at_rest();
        let peer = topic(&mut world, options);
        let before = world.broker.ledger().topics;
        let records = vec![zaichik_proto::Record { ttl_micros, ..record(b"x") }; 40_000];
        for _ in 0..25 {
            peer.publish_all("t", &records);
            world.settle();
        }
        assert!(world.broker.ledger().topics > before + 16_000_000);
        let reader = world.connect();
        world.ask(&reader, reader.subscribe(1, "t"));
        world.most_steps = 0;
        assert_eq!(trim(&mut world, &peer, Start::Offset(999_999)), "999999 removed, from 999999");
        world.ask(&reader, reader.commit(1, 0));
        assert_eq!(reader.stream(), ["1/0=x", "1/1..999999 limit", "1/999999=x"]);
        world.advance(secs(2));
        assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
        assert_eq!(trim(&mut world, &peer, Start::Latest), "1 removed, from 1000000");
        world.advance(secs(2));
        let after = world.broker.ledger().topics;
        assert!(after < before + 8_192, "{before} before, {after} after");
    }
}

#[test]
fn r_25_only_version_2_can_trim_and_only_known_topics() {
    let mut world = World::new();
    let new = world.connect_as(Version::Two);
    assert_eq!(trim(&mut world, &new, Start::Latest), "refused UnknownTopic");
    assert_eq!(world.ask(&new, new.trim("$x", Start::Latest)), "refused InvalidTopic");
    assert_eq!(world.broker.topic_count(), 0);
    let old = world.topic(TopicOptions::new().retain_forever());
    world.publish(&old, &["0"]);
    old.trim("t", Start::Latest);
    world.settle();
    assert_eq!(world.status(&old), Status::Closed);
    assert!(old.control().iter().any(|frame| frame == "fatal UnknownKind"));
    assert_eq!(world.everything(), ["1/0=0"]);
}

/// A trim waits until the deaths that have come are settled, so that its answer is exact.
#[test]
fn s14_a_trim_counts_exactly_after_many_deaths() {
    let mut world = World::new().checked_at_rest();
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    let mut records = vec![mortal("x", 1_000_000); 20_000];
    records.insert(0, record(b"first"));
    records.push(record(b"last"));
    world.ask(&peer, peer.publish_all("t", &records));
    world.stop_housekeeping();
    world.jump(world.now + secs(1));
    world.most_steps = 0;
    assert_eq!(trim(&mut world, &peer, Start::Offset(20_001)), "1 removed, from 20001");
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
}

#[test]
fn b_23_a_trimmed_topic_is_the_same_after_a_restart() {
    let mut world = World::new();
    if world.stored.is_none() {
        world.begin_storing();
    }
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    let durable = Sub::new(1, "t").window(9).durable("d");
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(durable));
    reader.cut();
    world.publish(&peer, &["0", "1", "2"]);
    assert_eq!(trim(&mut world, &peer, Start::Offset(2)), "2 removed, from 2");
    world.recover();
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(durable));
    assert_eq!(reader.stream(), ["1/0..2 limit", "1/2=2"]);
    assert_eq!(start(&mut world, Start::Offset(0)), "2..3");
    assert_eq!(world.ask(&reader, reader.publish("t", "3")), "@3");
}
