//! Chapter R: retention.

use zaichik_proto::{Record, Start, TopicOptions};

use crate::world::{Sub, World, mortal, record, secs, us};

#[test]
fn r_01_delivered_just_before_it_expires() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(10)));
    world.publish(&peer, &["a"]);
    world.advance(us(9_999_999));
    assert_eq!(world.ask(&peer, peer.subscribe(1, "t")), "0..1");
    assert_eq!(peer.stream(), ["1/0=a"]);
}

#[test]
fn r_02_not_delivered_at_the_instant_it_expires() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(10)));
    world.publish(&peer, &["a"]);
    world.advance(secs(10));
    for start in [Start::Earliest, Start::Offset(0), Start::Time(0)] {
        let peer = world.connect();
        assert_eq!(world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").from(start))), "1..1", "{start:?}");
        assert!(peer.stream().is_empty());
    }
}

#[test]
fn r1_expiry_does_not_depend_on_housekeeping() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(10)));
    world.publish(&peer, &["a"]);
    // No deadline was handled meanwhile.
    let now = world.now + secs(10);
    world.jump(now);
    assert_eq!(world.ask(&peer, peer.subscribe(1, "t")), "1..1");
}

#[test]
fn r1_each_record_expires_separately() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(10)));
    for body in ["a", "b", "c", "d"] {
        world.publish(&peer, &[body]);
        world.advance(us(1));
    }
    // They share a chunk, yet each lives to its own microsecond.
    world.advance(us(9_999_995));
    for left in [4, 3, 2, 1, 0] {
        assert_eq!(world.everything().len(), left);
        world.advance(us(1));
    }
}

#[test]
fn r1_a_record_may_live_forever() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&peer, &["a"]);
    world.advance(secs(100 * 365 * 86_400));
    assert_eq!(world.everything(), ["1/0=a"]);
}

#[test]
fn r_03_live_only_delivers_to_existing_subscriptions() {
    let mut world = World::new();
    let (writer, reader) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    world.publish(&writer, &["a"]);
    assert_eq!(reader.stream(), ["1/0=a"]);
    for start in [Start::Earliest, Start::Latest, Start::Offset(0), Start::Time(0)] {
        let new_reader = world.connect();
        assert_eq!(world.ask(&new_reader, new_reader.subscribe_to(Sub::new(1, "t").from(start))), "1..1");
        assert!(new_reader.stream().is_empty());
    }
}

#[test]
fn r2_kept_until_each_subscription_has_committed() {
    let mut world = World::new();
    let (fast, slow, writer) = (world.connect(), world.connect(), world.connect());
    world.ask(&fast, fast.subscribe(1, "t"));
    world.ask(&slow, slow.subscribe(1, "t"));
    world.publish(&writer, &["a", "b", "c"]);
    for offset in 0..3 {
        assert_eq!(fast.stream().len(), 1);
        world.ask(&fast, fast.commit(1, offset));
    }
    world.advance(secs(3_600));
    assert_eq!(slow.stream(), ["1/0=a"]);
    world.ask(&slow, slow.commit(1, 0));
    world.ask(&slow, slow.commit(1, 1));
    assert_eq!(slow.stream(), ["1/1=b", "1/2=c"]);
}

#[test]
fn r2_records_committed_by_all_subscriptions_are_freed() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1_000)));
    world.publish(&writer, &["warm"]);
    world.ask(&reader, reader.commit(1, 0));
    world.advance(secs(2));
    let before = world.broker.ledger().topics;
    let body = "x".repeat(10_000);
    for _ in 0..50 {
        world.publish(&writer, &[&body]);
    }
    world.advance(secs(2));
    assert!(world.broker.ledger().topics > before + 500_000);
    // Nothing more is published: the commit alone frees them.
    world.ask(&reader, reader.commit(1, 50));
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r2_records_kept_for_a_connection_are_freed_when_it_ends() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    let before = world.broker.ledger().topics;
    let body = "x".repeat(10_000);
    for _ in 0..50 {
        world.publish(&writer, &[&body]);
    }
    world.advance(secs(2));
    reader.cut();
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r2_window_0_frees_records_put_into_the_output() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    let before = world.broker.ledger().topics;
    reader.stop_reading();
    let body = "x".repeat(10_000);
    for _ in 0..100 {
        world.publish(&writer, &[&body]);
    }
    world.advance(secs(5));
    reader.resume_reading();
    world.advance(secs(2));
    assert_eq!(reader.stream().len(), 100);
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r_04_records_that_expire_before_their_turn_are_one_gap() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(3)));
    for body in ["0", "1", "2", "3", "4"] {
        world.publish(&peer, &[body]);
        world.advance(secs(1));
    }
    // At 5 the records of 0, 1 and 2 are expired.
    assert_eq!(world.ask(&peer, peer.subscribe(1, "t")), "3..5");
    assert_eq!(peer.stream(), ["1/3=3"]);
    world.publish(&peer, &["5", "6"]);
    world.advance(secs(2));
    world.publish(&peer, &["7"]);
    world.advance(secs(1));
    // At 8 those of 4 and 5 are expired too, while 3 is still uncommitted.
    assert_eq!(world.ask(&peer, peer.commit(1, 3)), "done 4");
    assert_eq!(peer.stream(), ["1/4..7 expired", "1/7=7"]);
    assert_eq!(world.ask(&peer, peer.commit(1, 6)), "done 7");
}

#[test]
fn r_07_the_messages_own_time_to_live_applies_if_it_is_smaller() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.ask(&peer, peer.subscribe(1, "t"));
    peer.publish_all("t", &[record(b"a"), mortal("b", 1_000_000), record(b"c")]);
    world.advance(secs(2));
    assert_eq!(peer.stream(), ["1/0=a"]);
    assert_eq!(world.ask(&peer, peer.commit(1, 0)), "done 1");
    assert_eq!(peer.stream(), ["1/1..2 expired", "1/2=c"]);
}

#[test]
fn r8_the_smaller_time_to_live_is_exact_to_the_microsecond() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(10)));
    let records = [mortal("longer", 60_000_000), mortal("shorter", 2_000_000), record(b"none")];
    peer.publish_all("t", &records);
    world.advance(us(1_999_999));
    assert_eq!(world.everything(), ["1/0=longer", "1/1=shorter", "1/2=none"]);
    world.advance(us(1));
    assert_eq!(world.everything(), ["1/0=longer", "1/1..2 expired", "1/2=none"]);
    world.advance(us(7_999_999));
    assert_eq!(world.everything().len(), 3);
    world.advance(us(1));
    assert!(world.everything().is_empty());
}

#[test]
fn r8_a_record_of_a_live_only_topic_waits_at_most_its_time_to_live() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.subscribe(1, "t"));
    peer.publish_all("t", &[record(b"a"), mortal("b", 1_000_000), mortal("c", 3_000_000)]);
    world.advance(secs(2));
    world.ask(&peer, peer.commit(1, 0));
    assert_eq!(peer.stream(), ["1/0=a", "1/1..2 expired", "1/2=c"]);
}

#[test]
fn r8_memory_of_expired_records_is_freed_although_the_topic_keeps_records_forever() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let before = world.broker.ledger().topics;
    let body = "x".repeat(1_000);
    for _ in 0..1_000 {
        world.ask(&peer, peer.publish_all("t", &[mortal(&body, 5_000_000)]));
    }
    assert!(world.broker.ledger().topics > before + 1_000_000);
    world.advance(secs(7));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
    assert!(world.everything().is_empty());
}

#[test]
fn r_12_a_million_records_expire_at_one_instant() {
    let mut world = World::new().checked_at_rest();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(10)));
    let before = world.broker.ledger().topics;
    let records = vec![record(b"x"); 50_000];
    for _ in 0..20 {
        peer.publish_all("t", &records);
        world.settle();
    }
    assert!(world.broker.ledger().topics > before + 16_000_000);
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.advance(secs(10));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=x", "1/1..1000000 expired"]);
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r_16_a_delivered_record_that_expires_can_still_be_committed() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(1)));
    world.ask(&peer, peer.subscribe(1, "t"));
    world.publish(&peer, &["a"]);
    world.advance(secs(30));
    assert_eq!(world.ask(&peer, peer.commit(1, 0)), "done 1");
    assert_eq!(peer.stream(), ["1/0=a"]);
}

#[test]
fn r1_memory_of_expired_records_between_live_ones_is_freed() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().max_bytes(1 << 30));
    let body = vec![b'x'; 30_000];
    let mortal = Record { ttl_micros: Some(10_000_000), body: &body, ..Record::default() };
    let immortal = Record { ttl_micros: None, ..mortal };
    for record in [immortal, mortal, immortal] {
        // A second apart, so that each has its own chunk.
        world.advance(secs(2));
        for _ in 0..8 {
            peer.publish_all("t", &[record]);
        }
        world.settle();
    }
    world.advance(secs(2));
    let before = world.broker.ledger().topics;
    world.advance(secs(11));
    let freed = before - world.broker.ledger().topics;
    assert!(freed >= 8 * 30_000, "{freed} bytes are freed");
}
