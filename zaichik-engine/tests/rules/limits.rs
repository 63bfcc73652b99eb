//! Every limit of the configuration, and floods that reach the bounds of a connection.

use zaichik_engine::{Broker, BrokerConfig, CloseReason, ConfigError, Seed, Status};
use zaichik_proto::{AckLevel, TopicOptions};

use crate::world::{Peer, Sub, World, ms, record, secs, us};

/// Bytes that a lane may hold: its limit and one frame.
const LANE: usize = 256 << 10;

#[test]
fn limit_max_connections() {
    let mut world = World::with(|config| config.max_connections = 2);
    let (one, _two) = (world.connect(), world.connect());
    let third = world.dial();
    third.hello(b"");
    world.settle();
    assert_eq!(third.log(), ["fatal ServerFull"]);
    assert!(third.is_closed());
    assert_eq!(world.reason(&third), Some(CloseReason::ServerFull));
    assert_eq!(world.broker.session_count(), 2);
    one.close();
    world.settle();
    let fourth = world.connect();
    assert_eq!(world.ask(&fourth, fourth.publish("t", "x")), "@0 new");
}

#[test]
fn limit_max_connections_refuses_before_a_byte_was_read() {
    let mut world = World::with(|config| config.max_connections = 1);
    let _one = world.connect();
    let second = world.dial();
    world.settle();
    assert_eq!(second.log(), ["fatal ServerFull"]);
    // A peer that does not even read the refusal is dropped at the write deadline.
    let third = world.dial();
    third.stop_reading();
    world.advance(us(9_999_999));
    assert!(!third.is_closed());
    world.advance(us(1));
    assert!(third.is_closed());
}

#[test]
fn limit_max_handshakes_drops_the_oldest_connection_that_sent_the_fewest_bytes() {
    let mut world = World::with(|config| config.max_handshakes = 3);
    let peers: Vec<_> = (0..3).map(|_| world.dial()).collect();
    // The first one has sent something; the second one is the oldest that has not.
    peers[0].send_bytes(b"ZAI");
    world.settle();
    world.advance(ms(200));
    let new_peer = world.dial();
    world.settle();
    let closed: Vec<_> = peers.iter().map(Peer::is_closed).collect();
    assert_eq!(closed, [false, true, false]);
    assert_eq!(peers[1].log(), ["fatal ServerFull"]);
    new_peer.hello(b"");
    world.settle();
    assert_eq!(new_peer.control(), ["welcome"]);
    // Its handshake is done, so there is room for another.
    let next = world.dial();
    world.settle();
    assert_eq!(world.status(&next), Status::Handshake);
    assert!(!peers[2].is_closed());
}

#[test]
fn limit_max_handshakes_spares_connections_younger_than_200_ms() {
    let mut world = World::with(|config| config.max_handshakes = 1);
    let first = world.dial();
    world.advance(us(199_999));
    let second = world.dial();
    world.settle();
    assert_eq!(second.log(), ["fatal ServerFull"]);
    assert_eq!(world.status(&first), Status::Handshake);
    world.advance(us(1));
    let third = world.dial();
    world.settle();
    assert!(first.is_closed());
    assert_eq!(world.status(&third), Status::Handshake);
}

#[test]
fn limit_max_handshakes_ignores_connections_whose_handshake_is_done() {
    let mut world = World::with(|config| config.max_handshakes = 2);
    let done: Vec<_> = (0..10).map(|_| world.connect()).collect();
    world.advance(secs(1));
    for _ in 0..10 {
        world.dial();
        world.advance(ms(200));
    }
    assert!(done.iter().all(|peer| !peer.is_closed()));
    assert_eq!(world.broker.session_count(), 12);
}

#[test]
fn limit_max_subscriptions() {
    let mut world = World::with(|config| config.wire.max_subscriptions = 2);
    let (peer, other) = (world.connect(), world.connect());
    world.ask(&peer, peer.subscribe(1, "a"));
    world.ask(&peer, peer.subscribe(2, "b"));
    assert_eq!(world.ask(&peer, peer.subscribe(3, "c")), "refused SubscriptionsFull 2");
    assert_eq!(world.broker.topic_count(), 2);
    assert_eq!(world.ask(&other, other.subscribe(3, "c")), "0..0 new", "the limit is per connection");
    world.ask(&peer, peer.unsubscribe(1));
    assert_eq!(world.ask(&peer, peer.subscribe(3, "c")), "0..0");
}

#[test]
fn limit_max_records() {
    let mut world = World::with(|config| config.wire.max_records = 3);
    let peer = world.connect();
    let records = [record(b"x"); 4];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &records[..3])), "@0 new");
    let request = peer.publish_all("t", &records);
    assert_eq!(world.ask(&peer, request), "-");
    assert_eq!(peer.control(), ["fatal CountTooLarge"]);
}

#[test]
fn limit_settings_that_contradict_each_other_are_rejected() {
    type Change = fn(&mut BrokerConfig);
    let with = |change: Change| {
        let mut config = BrokerConfig::default();
        change(&mut config);
        Broker::new(config, Seed::new(1, 2)).map(|_| ())
    };
    let wrong: [Change; 16] = [
        |config| config.wire.max_frame = config.wire.max_message,
        |config| config.wire.max_records = 0,
        |config| config.wire.max_records = 65_537,
        |config| config.wire.heartbeat_millis = 0,
        |config| config.handshake_timeout = ms(0),
        |config| config.write_timeout = ms(0),
        |config| config.server_name = "x".repeat(256),
        |config| config.token = Some(Vec::new()),
        |config| config.topic_defaults.max_keys = 0,
        |config| config.wire.max_message = 0,
        |config| config.wire.max_window = 0,
        |config| config.wire.max_window_size = 0,
        |config| config.wire.max_subscriptions = 0,
        |config| config.output_buffer = 0,
        |config| config.max_producers = 0,
        |config| config.producer_ttl = ms(0),
    ];
    for (index, change) in wrong.into_iter().enumerate() {
        assert!(with(change).is_err(), "change {index}");
    }
    assert_eq!(
        with(|config| config.topic_defaults.max_bytes = 0),
        Err(ConfigError::TopicDefaults { mask: 16 })
    );
    assert_eq!(with(|_| {}), Ok(()));
}

#[test]
fn limit_settings_at_their_bounds_are_accepted() {
    type Change = fn(&mut BrokerConfig, usize);
    let with = |change: Change, value: usize| {
        let mut config = BrokerConfig::default();
        change(&mut config, value);
        Broker::new(config, Seed::new(1, 2)).is_ok()
    };
    let at_most: [(Change, usize); 3] = [
        (|config, len| config.server_name = "x".repeat(len), 255),
        (|config, len| config.token = Some(vec![b'x'; len]), 1_024),
        (|config, got| config.wire.max_records = number(got), 65_536),
    ];
    for (index, (change, bound)) in at_most.into_iter().enumerate() {
        assert!(with(change, bound) && !with(change, bound + 1), "maximum {index}");
    }
    let at_least: [(Change, usize); 16] = [
        (|config, got| config.wire.max_frame = config.wire.max_message + number(got), 4_096),
        (|config, got| config.wire.max_records = number(got), 1),
        (|config, got| config.wire.max_message = number(got), 1),
        (|config, got| config.wire.max_window = number(got), 1),
        (|config, got| config.wire.max_window_size = number(got), 1),
        (|config, got| config.wire.max_subscriptions = number(got), 1),
        (|config, got| config.wire.heartbeat_millis = number(got), 1),
        (|config, got| config.output_buffer = got, 1),
        (|config, got| config.max_producers = number(got), 1),
        (|config, got| config.handshake_timeout = us(got as u64), 1),
        (|config, got| config.write_timeout = us(got as u64), 1),
        (|config, got| config.producer_ttl = us(got as u64), 1),
        (|config, len| config.token = Some(vec![b'x'; len]), 1),
        (|config, got| config.topic_defaults.max_messages = got as u64, 1),
        (|config, got| config.topic_defaults.max_bytes = got as u64, 1),
        (|config, got| config.topic_defaults.max_keys = got as u64, 1),
    ];
    for (index, (change, bound)) in at_least.into_iter().enumerate() {
        assert!(with(change, bound) && !with(change, bound - 1), "minimum {index}");
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap()
}

/// The lanes of a peer that does not read.
fn lanes(world: &mut World, peer: &Peer) -> (usize, usize) {
    let outbound = world.session(peer).unwrap().outbound();
    (outbound.stream_len(), outbound.control_len())
}

#[test]
fn flood_of_subscribes_and_unsubscribes() {
    let mut world = World::new();
    let peer = world.connect();
    peer.stop_reading();
    let requests: Vec<_> = (0..40_000).map(|_| [peer.subscribe(1, "t"), peer.unsubscribe(1)]).collect();
    world.settle();
    let (stream, control) = lanes(&mut world, &peer);
    assert!(stream <= LANE && control <= LANE, "{stream} {control}");
    assert!(peer.unread() > 0, "the rest stays with the peer");
    peer.resume_reading();
    world.settle();
    assert_eq!(peer.unread(), 0);
    for [subscribe, unsubscribe] in requests {
        assert!(peer.answer(subscribe).starts_with("0..0"));
        assert_eq!(peer.answer(unsubscribe), "ended");
    }
}

#[test]
fn flood_of_subscribes_while_deliveries_never_end() {
    let mut world = World::new();
    let (peer, writer) = (world.connect(), world.connect());
    world.ask(&writer, writer.create("big", TopicOptions::new().retain_forever()));
    let body = vec![b'x'; 30_000];
    for _ in 0..400 {
        writer.publish_all("big", &[record(&body)]);
    }
    world.settle();
    // The lane is never empty: the peer reads a part of it at a time, and the broker refills it.
    peer.split_writes(8_192);
    peer.subscribe_to(Sub::new(1, "big").window(0));
    let requests: Vec<_> = (0..3_000).map(|_| [peer.subscribe(2, "t"), peer.unsubscribe(2)]).collect();
    let last = peer.publish("u", "x");
    for _ in 0..900 {
        world.step();
    }
    assert_eq!(peer.answer(last), "@0 new", "decoding continues while deliveries flow");
    assert!(peer.stream().len() < 400, "and deliveries still flow");
    world.settle();
    for [subscribe, unsubscribe] in requests {
        assert!(peer.answer(subscribe).starts_with("0..0"));
        assert_eq!(peer.answer(unsubscribe), "ended");
    }
}

#[test]
fn flood_of_commits() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.subscribe(1, "t"));
    world.ask(&peer, peer.publish("t", "a"));
    peer.stop_reading();
    let requests: Vec<_> = (0..60_000).map(|_| peer.commit(1, 0)).collect();
    world.settle();
    let (stream, control) = lanes(&mut world, &peer);
    assert!(stream <= LANE && control <= LANE + 64, "{stream} {control}");
    peer.resume_reading();
    world.settle();
    assert!(requests.into_iter().all(|request| peer.answer(request) == "done 1"));
}

#[test]
fn flood_of_publishes() {
    let mut world = World::new();
    let peer = world.connect();
    peer.stop_reading();
    let requests: Vec<_> = (0..60_000).map(|n| peer.publish(["t", "u", "$bad"][n % 3], "x")).collect();
    world.settle();
    let (_, control) = lanes(&mut world, &peer);
    assert!(control <= LANE + 128, "{control}");
    assert!(peer.unread() > 0);
    peer.resume_reading();
    world.settle();
    assert!(requests.into_iter().all(|request| peer.answer(request) != "-"));
}

#[test]
fn flood_of_refusals_of_unacknowledged_publishes() {
    let mut world = World::new();
    let peer = world.connect();
    peer.stop_reading();
    for _ in 0..50_000 {
        peer.publish_with("$bad", AckLevel::None, &[record(b"x")]);
    }
    world.settle();
    assert_eq!(peer.unread(), 0);
    assert!(lanes(&mut world, &peer).1 < 100);
}

#[test]
fn flood_of_publishes_with_long_answers() {
    let mut world = World::new();
    let peer = world.connect();
    let options = TopicOptions::new().compaction_window(secs(60));
    world.ask(&peer, peer.create("t", options));
    peer.stop_reading();
    let records = vec![crate::world::keyed("k", b""); 10_000];
    for _ in 0..6 {
        peer.publish_all("t", &records);
    }
    world.settle();
    // Each answer names 10,000 duplicates, 12 bytes each: the lane is full after three.
    let (_, control) = lanes(&mut world, &peer);
    assert!((LANE..LANE + 120_100).contains(&control), "{control}");
    peer.resume_reading();
    world.settle();
    assert_eq!(world.broker.stats().duplicates, 59_999);
}

/// Idle connections can keep new ones out, but not those that are served.
#[test]
fn s15_new_connections_leave_room_for_the_requests_of_others() {
    let small = World::with(|config| {
        (config.wire.max_message, config.wire.max_frame) = (8 << 10, 16 << 10);
        config.memory = config.min_memory();
    });
    let mut world = small.checked_at_rest();
    let honest = world.connect();
    let mut idle = Vec::new();
    loop {
        let peer = world.dial();
        peer.hello(b"");
        world.settle();
        if world.reason(&peer) == Some(CloseReason::ServerFull) {
            break;
        }
        idle.push(peer);
    }
    assert!(idle.len() > 20, "{}", idle.len());
    let body = "x".repeat(2_000);
    assert_eq!(world.ask(&honest, honest.publish("t", &body)), "@0 new");
    assert_eq!(world.ask(&idle[0], idle[0].publish("t", &body)), "@1");
}
