//! Chapter P: publishing and its answers.

use zaichik_proto::{AckLevel, ClientFrame, Publish, Records, TopicOptions};

use crate::world::{Sub, World, keyed, ms, record, secs};

const ACKS: u8 = 0x43;

#[test]
fn p1_exactly_one_answer_per_request_in_request_order() {
    let mut world = World::new();
    let peer = world.connect();
    peer.create("keys", TopicOptions::new().compaction_window(secs(60)).max_keys(1));
    let requests = [
        peer.publish("t", "a"),
        peer.publish("t", "b"),
        peer.publish_keyed("keys", "k", "1"),
        peer.publish_keyed("keys", "k", "2"),
        peer.publish_keyed("keys", "l", "3"),
        peer.publish("$bad", "x"),
        peer.publish("t", "c"),
        peer.publish_all("t", &[record(b"d"), record(b"e")]),
        peer.publish("t", "f"),
    ];
    world.settle();
    // The peer checks the order of the answers.
    let answers = requests.map(|request| peer.answer(request));
    let expected =
        ["@0 new", "@1", "@0", "none 0=@0", "refused KeysFull 1", "refused InvalidTopic", "@2", "@3", "@5"];
    assert_eq!(answers, expected);
}

#[test]
fn p1_consecutive_plain_successes_share_one_frame() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.publish("t", "first"));
    world.warm(&peer);
    let requests: Vec<_> = (0..1_000).map(|_| peer.publish("t", "x")).collect();
    world.settle();
    let frames = peer.frames();
    assert_eq!(frames, [(ACKS, 4 + 16)], "one run of a thousand requests");
    for (request, offset) in requests.into_iter().zip(1..) {
        assert_eq!(peer.answer(request), format!("@{offset}"));
    }
}

#[test]
fn p1_runs_of_several_topics_and_publishers() {
    let mut world = World::new();
    let (peer, other) = (world.connect(), world.connect());
    for topic in ["a", "b"] {
        world.ask(&peer, peer.publish(topic, "x"));
    }
    let mut requests = Vec::new();
    for round in 0..20 {
        // The offsets of both topics may happen to be consecutive; the expansion is still right.
        requests.push((peer.publish("a", "x"), "a"));
        requests.push((peer.publish_all("b", &vec![record(b"x"); 1 + round % 3]), "b"));
        other.publish("a", "y");
        if round % 5 == 0 {
            world.step();
        }
    }
    world.settle();
    let mut last = [0, 0];
    for (request, topic) in requests {
        let answer = peer.answer(request);
        let offset: u64 = answer.strip_prefix('@').unwrap().parse().unwrap();
        let last = &mut last[usize::from(topic == "b")];
        assert!(offset > *last, "{topic}: {offset} after {last}");
        *last = offset;
    }
}

#[test]
fn p1_many_runs_are_split_over_frames() {
    let mut world = World::new();
    let peer = world.connect();
    for topic in ["a", "b"] {
        world.ask(&peer, peer.publish(topic, "x"));
    }
    world.ask(&peer, peer.publish_all("b", &[record(b"x"); 5]));
    world.warm(&peer);
    // Each answer is a separate run, because the topics alternate and their offsets are not consecutive.
    let requests: Vec<_> =
        (0..1_300).map(|index| peer.publish(if index % 2 == 0 { "a" } else { "b" }, "x")).collect();
    world.settle();
    let frames = peer.frames();
    assert_eq!(frames, [(ACKS, 4 + 16 * 1_024), (ACKS, 4 + 16 * 276)]);
    for (index, request) in (0..).zip(requests) {
        assert_eq!(peer.answer(request), format!("@{}", index / 2 + 1 + 5 * (index % 2)));
    }
}

#[test]
fn p1_an_unacknowledged_success_is_not_answered() {
    let mut world = World::new();
    let peer = world.connect();
    peer.log();
    for _ in 0..10 {
        peer.publish_with("t", AckLevel::None, &[record(b"x")]);
    }
    world.settle();
    assert!(peer.log().is_empty());
    assert_eq!(world.broker.stats().records_accepted, 10);
}

#[test]
fn p1_unacknowledged_refusals_are_reported_at_most_once_a_second() {
    let mut world = World::new();
    let peer = world.connect();
    let refuse = |count: usize| {
        for _ in 0..count {
            peer.publish_with("$bad", AckLevel::None, &[record(b"x")]);
        }
    };
    refuse(3);
    world.settle();
    assert_eq!(peer.control(), ["3 times refused InvalidTopic"]);
    refuse(4);
    world.advance(ms(500));
    refuse(5);
    world.advance(ms(499));
    assert!(peer.control().is_empty());
    world.advance(ms(1));
    assert_eq!(peer.control(), ["9 times refused InvalidTopic"]);
    world.advance(secs(100));
    assert!(peer.control().is_empty(), "a refusal is never reported twice");
    refuse(1);
    world.settle();
    assert_eq!(peer.control(), ["1 times refused InvalidTopic"]);
}

#[test]
fn p1_unacknowledged_refusals_are_counted_per_code() {
    let mut world = World::new();
    let peer = world.connect();
    for _ in 0..2 {
        peer.publish_with("$bad", AckLevel::None, &[record(b"x")]);
        peer.publish_with("t", AckLevel::None, &[record(b"x")]);
    }
    world.ask(&peer, peer.create("full", TopicOptions::new().retain_forever().max_bytes(20)));
    assert_eq!(peer.control(), ["2 times refused InvalidTopic"]);
    peer.publish_with("full", AckLevel::None, &[record(b"12345")]);
    peer.publish_with("$bad", AckLevel::None, &[record(b"x")]);
    world.advance(ms(999));
    assert!(peer.control().is_empty());
    world.advance(ms(1));
    assert_eq!(peer.control(), ["1 times refused TooLarge 20"]);
    world.advance(secs(1));
    assert_eq!(peer.control(), ["1 times refused InvalidTopic"]);
}

#[test]
fn p1_an_unacknowledged_publish_may_have_any_request_id() {
    let mut world = World::new();
    let peer = world.connect();
    let mut bytes = Vec::new();
    record(b"x").encode(&mut bytes);
    let records = Records::from_encoded(1, &bytes);
    let (ack, producer) = (AckLevel::None, None);
    for request in [0, 0, 7, 7] {
        peer.send(&ClientFrame::Publish(Publish { request, ack, producer, topic: b"t", records }));
    }
    world.settle();
    assert_eq!(world.broker.stats().records_accepted, 4);
    assert!(!peer.is_closed());
}

#[test]
fn p_08_durable_is_refused_by_a_broker_without_storage() {
    let mut world = World::new();
    let peer = world.connect();
    let request = peer.publish_with("t", AckLevel::Durable, &[record(b"x")]);
    assert_eq!(world.ask(&peer, request), "refused NotDurable");
    assert_eq!(world.broker.topic_count(), 0);
    assert_eq!(world.ask(&peer, peer.publish("t", "x")), "@0 new");
}

#[test]
fn p_09_a_message_above_the_limit_in_a_frame_that_fits_is_refused() {
    let mut world = World::with(|config| config.wire.max_message = 1_000);
    let peer = world.connect();
    let (largest, larger) = (vec![b'x'; 999], vec![b'x'; 1_000]);
    assert_eq!(world.ask(&peer, peer.publish_all("t", &[keyed("k", &larger)])), "refused TooLarge 1000");
    assert_eq!(world.broker.topic_count(), 0);
    let both = [record(b"x"), keyed("k", &larger)];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &both)), "refused TooLarge 1000");
    assert_eq!(world.ask(&peer, peer.publish_all("t", &[keyed("k", &largest)])), "@0 new");
    assert_eq!(world.ask(&peer, peer.publish_all("t", &[record(&larger)])), "@1");
}

#[test]
fn p_09_a_frame_above_the_limit_ends_the_connection_before_it_is_read() {
    let mut world = World::new();
    let peer = world.connect();
    let limit = zaichik_proto::Limits::default().max_frame;
    let header = zaichik_proto::FrameHeader { body_len: limit + 1, kind: 4 };
    peer.send_bytes(&header.to_bytes());
    world.settle();
    assert_eq!(peer.control(), ["fatal FrameTooLarge"]);
    assert!(peer.is_closed());
}

#[test]
fn p_10_answers_do_not_wait_for_deliveries() {
    let mut world = World::new();
    let (peer, writer) = (world.connect(), world.connect());
    for number in 0..8 {
        world.ask(&peer, peer.subscribe_to(Sub::new(number, &format!("t{number}")).window(0)));
    }
    peer.stop_reading();
    let body = vec![b'x'; 60_000];
    for round in 0..64 {
        world.ask(&writer, writer.publish_all(&format!("t{}", round % 8), &[record(&body)]));
    }
    peer.log();
    // Half a megabyte waits in the broker and a quarter in the lane; the answer leaves first.
    let request = peer.publish("u", "x");
    world.settle();
    peer.split_writes(4_096);
    peer.resume_reading();
    world.step();
    assert_eq!(peer.log(), [format!("#{request} @0 new")]);
}

#[test]
fn p2_all_records_or_none() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.create("t", TopicOptions::new().retain_forever().max_bytes(100)));
    let large = [b'x'; 90];
    let records = [record(b"a"), record(&large), record(b"b")];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &records)), "refused TooLarge 100");
    assert_eq!(world.ask(&peer, peer.subscribe(1, "t")), "0..0");
}

#[test]
fn p5_the_welcome_names_the_instance() {
    let mut world = World::with(|config| config.server_name = "test".to_owned());
    let peer = world.dial();
    peer.hello(b"");
    world.settle();
    let bytes = peer.take_bytes();
    let limits = zaichik_proto::Limits::default();
    let mut decoder = zaichik_proto::ServerDecoder::handshake(&limits);
    let (frame, taken) = decoder.decode(&bytes).unwrap().unwrap();
    let zaichik_proto::ServerFrame::Welcome(welcome) = frame else { panic!("{frame:?}") };
    assert_eq!((welcome.version, welcome.instance, welcome.server), (1, crate::world::INSTANCE, "test"));
    assert_eq!(welcome.limits, world.broker.config().wire);
    assert_eq!(taken, bytes.len());
}
