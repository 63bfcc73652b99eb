//! Rule R5: behaviour at a topic's limits.

use zaichik_proto::{Overflow, Subject, TopicOptions};

use crate::world::{Sub, World, mortal, record, secs, us};

#[test]
fn r_08_a_new_subscription_gets_the_last_records_within_the_limit() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().max_messages(3));
    world.publish(&peer, &["0", "1", "2", "3", "4"]);
    assert_eq!(world.everything(), ["1/2=2", "1/3=3", "1/4=4"]);
}

#[test]
fn r5_max_bytes_drops_the_oldest() {
    let mut world = World::new();
    // A record has 16 bytes and its body.
    let peer = world.topic(TopicOptions::new().retain_forever().max_bytes(3 * 17));
    world.publish(&peer, &["0", "1", "2", "3"]);
    assert_eq!(world.everything(), ["1/1=1", "1/2=2", "1/3=3"]);
    world.publish(&peer, &["four"]);
    assert_eq!(world.everything(), ["1/3=3", "1/4=four"]);
}

#[test]
fn r5_max_bytes_across_many_chunks() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().max_bytes(100 * 1_016));
    let body = "x".repeat(1_000);
    for count in 1..=350_usize {
        world.publish(&peer, &[&body]);
        if count % 25 == 0 {
            let seen = world.everything();
            assert_eq!(seen.len(), count.min(100));
            assert!(seen[0].starts_with(&format!("1/{}=", count.saturating_sub(100))));
        }
    }
}

#[test]
fn r_09_reject_refuses_and_loses_nothing() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_messages(2).overflow(Overflow::Reject);
    let peer = world.topic(options);
    world.publish(&peer, &["0", "1"]);
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
    assert_eq!(world.everything(), ["1/0=0", "1/1=1"]);
    // That reader had nothing to commit: window 0 commits what enters the output, and the connection is closed.
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
}

#[test]
fn r_09_reject_drops_only_records_that_every_subscription_has_committed() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_messages(3).overflow(Overflow::Reject);
    let peer = world.topic(options);
    world.publish(&peer, &["0", "1", "2"]);
    let (one, two) = (world.connect(), world.connect());
    world.ask(&one, one.subscribe_to(Sub::new(1, "t").window(3)));
    world.ask(&two, two.subscribe(1, "t"));
    world.ask(&one, one.commit(1, 1));
    assert_eq!(
        world.ask(&peer, peer.publish("t", "3")),
        "refused TopicFull",
        "reader two has committed nothing"
    );
    world.ask(&two, two.commit(1, 0));
    assert_eq!(world.ask(&peer, peer.publish("t", "3")), "@3");
    assert_eq!(world.ask(&peer, peer.publish("t", "4")), "refused TopicFull");
    // Only as much as needed: both have committed record 1, but it stays until its room is needed.
    world.ask(&two, two.commit(1, 1));
    assert_eq!(world.everything(), ["1/1=1", "1/2=2", "1/3=3"]);
}

#[test]
fn r_09_reject_drops_expired_records() {
    let mut world = World::new();
    let options = TopicOptions::new().retention_ttl(secs(5)).max_messages(2).overflow(Overflow::Reject);
    let peer = world.topic(options);
    world.publish(&peer, &["0"]);
    world.advance(secs(1));
    world.publish(&peer, &["1"]);
    world.advance(us(3_999_999));
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
    world.advance(us(1));
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "@2");
    assert_eq!(world.everything(), ["1/1=1", "1/2=2"]);
}

#[test]
fn r_09_reject_drops_records_whose_own_time_to_live_is_over() {
    for wait in [us(1_000_000), secs(30)] {
        let mut world = World::new();
        let options = TopicOptions::new().retain_forever().max_messages(3).overflow(Overflow::Reject);
        let peer = world.topic(options);
        for body in ["0", "1", "2"] {
            world.ask(&peer, peer.publish_all("t", &[mortal(body, 1_000_000)]));
        }
        assert_eq!(world.ask(&peer, peer.publish("t", "3")), "refused TopicFull");
        // Immediately, or long after the memory was freed.
        world.advance(wait);
        assert_eq!(world.ask(&peer, peer.publish("t", "3")), "@3");
        assert_eq!(world.everything(), ["1/3=3"]);
    }
}

#[test]
fn r_09_reject_makes_room_past_a_hole() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_messages(4).overflow(Overflow::Reject);
    let peer = world.topic(options);
    let reader = world.connect();
    world.publish(&peer, &["0"]);
    world.advance(secs(2));
    world.ask(&peer, peer.publish_all("t", &[mortal("1", 1_000_000), mortal("2", 1_000_000)]));
    world.advance(secs(5));
    world.publish(&peer, &["3"]);
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    world.ask(&reader, reader.commit(1, 0));
    // Record 0 is committed, 1 and 2 are expired: there is room for three.
    for offset in 4..7 {
        assert_eq!(world.ask(&peer, peer.publish("t", "x")), format!("@{offset}"));
    }
    assert_eq!(world.ask(&peer, peer.publish("t", "x")), "refused TopicFull");
}

#[test]
fn r_09_a_live_only_topic_with_reject_keeps_nothing_without_subscriptions() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().max_messages(2).overflow(Overflow::Reject));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.publish(&peer, &["0", "1"]);
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
    // It was kept for one subscription, which has ended, so it is freed (rule R2).
    reader.cut();
    world.settle();
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "@2");
}

#[test]
fn r5_reject_counts_bytes() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_bytes(40).overflow(Overflow::Reject);
    let peer = world.topic(options);
    world.publish(&peer, &["0", "1"]);
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
    assert_eq!(world.everything().len(), 2);
}

#[test]
fn r_10_one_message_larger_than_the_topic_is_refused_and_the_log_is_intact() {
    for overflow in [Overflow::DropOldest, Overflow::Reject] {
        let mut world = World::new();
        let peer = world.topic(TopicOptions::new().retain_forever().max_bytes(100).overflow(overflow));
        world.publish(&peer, &["0"]);
        let large = "x".repeat(85);
        assert_eq!(world.ask(&peer, peer.publish("t", &large)), "refused TooLarge 100");
        world.publish(&peer, &["1"]);
        assert_eq!(world.everything(), ["1/0=0", "1/1=1"]);
        // The largest message that fits in addition to them.
        world.publish(&peer, &[&"x".repeat(50)]);
        assert_eq!(world.everything().len(), 3);
    }
}

/// A publish never evicts its own records (rule R5).
#[test]
fn r_10_a_publish_that_alone_exceeds_a_limit_is_refused() {
    for overflow in [Overflow::DropOldest, Overflow::Reject] {
        let mut world = World::new();
        let options = TopicOptions::new().retain_forever().max_messages(3).max_bytes(60).overflow(overflow);
        let peer = world.topic(options);
        world.publish(&peer, &["0"]);
        let four = [record(b""), record(b""), record(b""), record(b"")];
        assert_eq!(world.ask(&peer, peer.publish_all("t", &four)), "refused TooLarge 3");
        let long = [record(b"123456789012345"), record(b"123456789012345")];
        assert_eq!(world.ask(&peer, peer.publish_all("t", &long)), "refused TooLarge 60");
        assert_eq!(world.everything(), ["1/0=0"]);
    }
}

/// A defect of the first Zaichik: retention had no bound.
#[test]
fn r5_retained_messages_are_bounded() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().max_bytes(1 << 20));
    let body = vec![b'x'; 60_000];
    for _ in 0..200 {
        world.ask(&peer, peer.publish_all("t", &[record(&body)]));
        assert!(world.broker.ledger().topics < (1 << 20) + (256 << 10));
    }
}

#[test]
fn r_17_expired_records_behind_a_live_one_do_not_count() {
    for overflow in [Overflow::DropOldest, Overflow::Reject] {
        let mut world = World::new();
        let options =
            TopicOptions::new().retain_forever().max_messages(4).max_bytes(1_000).overflow(overflow);
        let peer = world.topic(options);
        world.publish(&peer, &["precious"]);
        let big = "x".repeat(300);
        world.ask(&peer, peer.publish_all("t", &[mortal(&big, 10), mortal(&big, 10), mortal("x", 10)]));
        world.advance(us(10));
        world.publish(&peer, &["1", "2", "3"]);
        assert_eq!(world.everything(), ["1/0=precious", "1/1..4 expired", "1/4=1", "1/5=2", "1/6=3"]);
        let answer = world.ask(&peer, peer.publish("t", "4"));
        match overflow {
            Overflow::Reject => assert_eq!(answer, "refused TopicFull"),
            Overflow::DropOldest => assert_eq!(answer, "@7"),
        }
    }
}

#[test]
fn r_17_a_description_counts_live_records() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&peer, &["a"]);
    world.ask(&peer, peer.publish_all("t", &[mortal("b", 10), mortal("c", 20)]));
    world.publish(&peer, &["d"]);
    world.advance(us(10));
    let told = world.ask(&peer, peer.describe(Subject::Topic { topic: b"t" }));
    assert!(told.contains("0..4: 3 messages"), "{told}");
}
