//! Chapter R: what changed settings do to the records of a topic (rule R7).

use zaichik_proto::{Overflow, Start, TopicOptions};

use crate::gaps::{alter, start};
use crate::world::{Sub, World, record, secs};

#[test]
fn r_11_a_lowered_ttl_applies_at_once() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(100)));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    for body in ["0", "1", "2"] {
        world.publish(&peer, &[body]);
        world.advance(secs(10));
    }
    alter(&mut world, &peer, TopicOptions::new().retention_ttl(secs(20)));
    assert_eq!(start(&mut world, Start::Earliest), "2..3");
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..2 expired", "1/2=2"]);
}

#[test]
fn r_11_a_raised_ttl_resurrects_nothing() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(15)));
    for body in ["0", "1"] {
        world.publish(&peer, &[body]);
        world.advance(secs(10));
    }
    alter(&mut world, &peer, TopicOptions::new().retention_ttl(secs(1_000)));
    for asked in [Start::Earliest, Start::Offset(0), Start::Time(0)] {
        assert_eq!(start(&mut world, asked), "1..2");
    }
    // Records that were live then live for the new time.
    world.advance(secs(989));
    assert_eq!(start(&mut world, Start::Earliest), "1..2");
    world.advance(secs(1));
    assert_eq!(start(&mut world, Start::Earliest), "2..2");
}

#[test]
fn r7_a_ttl_lowered_and_raised_again_resurrects_nothing() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(100)));
    world.publish(&peer, &["0"]);
    world.advance(secs(10));
    world.publish(&peer, &["1"]);
    alter(&mut world, &peer, TopicOptions::new().retention_ttl(secs(5)));
    alter(&mut world, &peer, TopicOptions::new().retention_ttl(secs(100)));
    assert_eq!(start(&mut world, Start::Earliest), "1..2");
}

#[test]
fn r7_from_live_only_to_a_ttl_new_subscriptions_see_nothing_old() {
    let mut world = World::new();
    let peer = world.connect();
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.publish(&peer, &["0", "1", "2"]);
    alter(&mut world, &peer, TopicOptions::new().retain_forever());
    for asked in [Start::Earliest, Start::Offset(0), Start::Offset(1), Start::Time(0)] {
        assert_eq!(start(&mut world, asked), "3..3");
    }
    // The existing subscription continues unchanged (rule R7).
    world.ask(&reader, reader.commit(1, 0));
    world.ask(&reader, reader.commit(1, 1));
    assert_eq!(reader.stream(), ["1/0=0", "1/1=1", "1/2=2"]);
    world.publish(&peer, &["3"]);
    assert_eq!(start(&mut world, Start::Earliest), "3..4");
    assert_eq!(start(&mut world, Start::Offset(1)), "3..4");
}

#[test]
fn r7_from_a_ttl_to_live_only_nothing_is_kept_for_new_subscriptions() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let before = world.broker.ledger().topics;
    let body = "x".repeat(10_000);
    for _ in 0..50 {
        world.publish(&peer, &[&body]);
    }
    world.advance(secs(5));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    alter(&mut world, &peer, TopicOptions::new().retention_ttl(secs(0)));
    assert_eq!(start(&mut world, Start::Earliest), "50..50");
    // It is kept for the existing subscription.
    world.ask(&reader, reader.commit(1, 8));
    assert_eq!(reader.stream().len(), 18);
    reader.cut();
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r7_from_a_ttl_to_live_only_without_subscriptions_frees_memory() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let before = world.broker.ledger().topics;
    let body = "x".repeat(10_000);
    for _ in 0..50 {
        world.publish(&peer, &[&body]);
    }
    world.advance(secs(5));
    alter(&mut world, &peer, TopicOptions::new().retention_ttl(secs(0)));
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r7_a_lowered_ttl_frees_memory_in_bounded_steps() {
    let mut world = World::new().checked_at_rest();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let before = world.broker.ledger().topics;
    let records = vec![record(b"0123456789"); 10_000];
    for _ in 0..50 {
        world.ask(&peer, peer.publish_all("t", &records));
    }
    assert!(world.broker.ledger().topics > before + 10_000_000);
    world.advance(secs(5));
    alter(&mut world, &peer, TopicOptions::new().retention_ttl(secs(1)));
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r7_lower_limits_with_drop_oldest_apply_at_once() {
    for lower in [TopicOptions::new().max_messages(2), TopicOptions::new().max_bytes(40)] {
        let mut world = World::new();
        let peer = world.topic(TopicOptions::new().retain_forever());
        let reader = world.connect();
        world.ask(&reader, reader.subscribe(1, "t"));
        world.publish(&peer, &["0", "1", "2", "3", "4"]);
        alter(&mut world, &peer, lower);
        assert_eq!(start(&mut world, Start::Earliest), "3..5");
        world.ask(&reader, reader.commit(1, 0));
        assert_eq!(reader.stream(), ["1/0=0", "1/1..3 limit", "1/3=3"]);
        // Raising the limit again restores nothing.
        alter(&mut world, &peer, TopicOptions::new().max_messages(100).max_bytes(10_000));
        assert_eq!(start(&mut world, Start::Offset(0)), "3..5");
    }
}

#[test]
fn r7_lower_limits_with_reject_remove_nothing() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().overflow(Overflow::Reject));
    world.publish(&peer, &["0", "1", "2", "3", "4"]);
    alter(&mut world, &peer, TopicOptions::new().max_messages(2));
    assert_eq!(start(&mut world, Start::Earliest), "0..5");
    assert_eq!(world.ask(&peer, peer.publish("t", "5")), "refused TopicFull");
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    world.ask(&reader, reader.commit(1, 2));
    assert_eq!(world.ask(&peer, peer.publish("t", "5")), "refused TopicFull", "two are left of five");
    world.ask(&reader, reader.commit(1, 3));
    assert_eq!(world.ask(&peer, peer.publish("t", "5")), "@5");
}

#[test]
fn r7_from_reject_to_drop_oldest() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().overflow(Overflow::Reject));
    world.publish(&peer, &["0", "1", "2", "3", "4"]);
    alter(&mut world, &peer, TopicOptions::new().max_messages(2));
    alter(&mut world, &peer, TopicOptions::new().overflow(Overflow::DropOldest));
    assert_eq!(start(&mut world, Start::Earliest), "3..5");
}

#[test]
fn r7_a_reader_with_a_full_window_gets_the_gap_at_its_turn() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(2)));
    world.publish(&peer, &["0", "1", "2", "3", "4"]);
    assert_eq!(reader.stream(), ["1/0=0", "1/1=1"]);
    alter(&mut world, &peer, TopicOptions::new().max_messages(1));
    assert!(reader.stream().is_empty());
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/2..4 limit", "1/4=4"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 4");
}
