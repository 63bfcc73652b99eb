//! Rules A7 and S4: the order of a connection's last frames, and its peer while one of the lanes is full.

use std::time::Duration;

use zaichik_engine::Status;
use zaichik_proto::{AckLevel, Start, TopicOptions};

use crate::world::{Peer, Sub, World, keyed, record, secs};

/// Publishes without an acknowledgement to a topic whose name is reserved.
fn publish_refused(peer: &Peer) {
    peer.publish_with("$reserved", AckLevel::None, &[record(b"")]);
}

#[test]
fn a7_fatal_is_the_last_frame() {
    let mut world = World::new();
    let peer = world.connect();
    publish_refused(&peer);
    // A frame of an unknown kind.
    peer.send_bytes(&[0, 0, 0, 0, 0x3f, 0, 0, 0]);
    world.settle();
    assert_eq!(peer.control(), ["1 times refused InvalidTopic", "fatal UnknownKind"]);
    assert!(peer.is_closed());
}

#[test]
fn a7_goodbye_is_the_last_frame() {
    let mut world = World::new();
    let peer = world.connect();
    peer.log();
    peer.stop_reading();
    peer.subscribe_to(Sub::new(7, "t").from(Start::Latest));
    peer.publish("t", "");
    world.settle();
    publish_refused(&peer);
    peer.close();
    peer.publish("t", "");
    world.settle();
    peer.resume_reading();
    world.settle();
    let log = ["#2 @0", "1 times refused InvalidTopic", "#1 0..0 new", "7/0=", "goodbye closed"];
    assert_eq!(peer.log(), log);
    assert!(peer.is_closed());
}

#[test]
fn a7_endless_deliveries_do_not_starve_requests() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    reader.stop_reading();
    reader.subscribe_to(Sub::new(0, "busy").from(Start::Latest).window(0));
    for _ in 0..1_000 {
        reader.subscribe_to(Sub::new(1, "t").from(Start::Latest));
        reader.unsubscribe(1);
    }
    reader.ping(1);
    // The peer reads, but more slowly than records arrive.
    for round in 0..3_000 {
        for _ in 0..2 {
            writer.publish_with("busy", AckLevel::None, &[record(&[0; 100])]);
        }
        world.settle();
        world.read_frame(&reader);
        if reader.control() == ["pong 1"] {
            assert!(round > 1_000, "decoding paused first");
            return;
        }
    }
    panic!("the Ping was never applied");
}

#[test]
fn s4_a_peer_that_is_not_read_is_kept_and_still_receives_pings() {
    let mut world = World::with_memory(2 << 20, |config| config.wire.heartbeat_millis = 30_000);
    let filler = world.topic(TopicOptions::new().retain_forever());
    // With a subscription it is always read.
    world.ask(&filler, filler.subscribe(1, "u"));
    while world.ask(&filler, filler.publish_all("t", &[record(&vec![0; 20_000])])) != "refused Busy 10000" {}
    let peer = world.connect();
    assert!(world.session(&peer).unwrap().wants_read(), "it may be a reconnecting consumer");
    assert_eq!(world.ask(&peer, peer.publish_all("t", &[record(&vec![0; 20_000])])), "refused Busy 10000");
    assert!(!world.session(&peer).unwrap().wants_read(), "the budget is spent");
    for number in 1..6 {
        let now = world.now;
        assert_eq!(world.session(&peer).unwrap().next_timeout(), Some(now + secs(30)));
        world.advance(secs(30));
        assert_eq!(peer.control(), [format!("ping {number}")]);
    }
    assert_eq!(world.status(&peer), Status::Open);
}

#[test]
fn s4_a_peer_that_accepts_a_long_answer_slowly_is_kept() {
    let mut world = World::with(|config| {
        (config.output_buffer, config.wire.heartbeat_millis) = (64, 30_000);
        config.write_timeout = secs(3_600);
    });
    let peer = world.topic(TopicOptions::new().compaction_window(Duration::MAX));
    peer.stop_reading();
    peer.split_writes(10);
    peer.publish_all("t", &[keyed("k", b""); 200]);
    world.settle();
    (0..10_000).for_each(|nonce| peer.ping(nonce));
    world.settle();
    assert!(!world.session(&peer).unwrap().wants_read(), "nothing is applied while the answer waits");
    for _ in 0..40 {
        world.advance(secs(5));
        peer.resume_reading();
        world.step();
        peer.stop_reading();
        assert_eq!(world.status(&peer), Status::Open);
    }
    assert!(!world.session(&peer).unwrap().wants_read(), "the answer still waits");
}
