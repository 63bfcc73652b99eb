//! Rule S-05: a broker that drains.

use zaichik_engine::{CloseReason, Status};
use zaichik_proto::TopicOptions;

use crate::world::{Sub, World, done, ms, put, record, secs, us};

#[test]
fn s_05_publishes_in_flight_are_answered_or_refused() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(9)));
    let before: Vec<_> = (0..5).map(|_| peer.publish("t", "x")).collect();
    world.step();
    world.drain(secs(10));
    let after: Vec<_> = (0..5).map(|_| peer.publish("t", "y")).collect();
    world.settle();
    let answers: Vec<_> = before.iter().chain(&after).map(|request| peer.answer(*request)).collect();
    let accepted = answers.iter().filter(|answer| answer.starts_with('@')).count() as u64;
    assert_eq!(accepted, world.broker.stats().records_accepted, "every accepted publish is answered");
    assert!(answers[5..].iter().all(|answer| answer == "refused Draining"), "{answers:?}");
    assert!(answers.iter().all(|answer| answer != "-"));
    assert_eq!(peer.control(), ["goodbye draining 10000"]);
}

#[test]
fn s_05_a_connection_without_outstanding_work_is_closed() {
    let mut world = World::new();
    let idle: Vec<_> = (0..200).map(|_| world.connect()).collect();
    world.drain(secs(10));
    world.settle();
    for peer in idle {
        assert_eq!(peer.control(), ["goodbye draining 10000"]);
        assert!(peer.is_closed());
        assert_eq!(world.reason(&peer), Some(CloseReason::Stopped));
    }
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn s_05_a_reader_with_uncommitted_records_gets_time_to_commit() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    for body in ["a", "b"] {
        world.ask(&writer, writer.publish("t", body));
    }
    world.drain(secs(10));
    world.settle();
    assert!(writer.is_closed());
    assert_eq!(reader.control(), ["goodbye draining 10000"]);
    assert_eq!(world.status(&reader), Status::Open);
    // Requests other than publishes are served as before.
    assert_eq!(world.ask(&reader, reader.create("u", TopicOptions::new())), "created");
    assert_eq!(world.ask(&reader, reader.publish("u", "x")), "refused Draining");
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    world.advance(secs(5));
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 2");
    assert!(reader.is_closed());
    assert!(reader.control().is_empty(), "Goodbye is sent once");
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn s_05_connections_are_closed_when_the_grace_period_ends() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    world.ask(&writer, writer.publish("t", "a"));
    world.drain(secs(10));
    world.advance(us(9_999_999));
    assert_eq!(world.status(&reader), Status::Open);
    world.advance(us(1));
    assert!(reader.is_closed());
    assert_eq!(reader.control(), ["goodbye draining 10000", "fatal Stopped"]);
    assert_eq!(world.reason(&reader), Some(CloseReason::Stopped));
}

#[test]
fn s_05_a_peer_that_does_not_read_is_closed_by_the_grace_period_or_the_write_deadline() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    reader.stop_reading();
    world.ask(&writer, writer.publish("t", "a"));
    world.drain(secs(3));
    world.advance(secs(3));
    assert_eq!(world.status(&reader), Status::Closing);
    world.advance(secs(7));
    assert_eq!(world.status(&reader), Status::Closed);
}

#[test]
fn s_05_new_connections_are_refused() {
    let mut world = World::new();
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.ask(&reader, reader.publish("t", "x"));
    let shaking = world.dial();
    world.drain(secs(10));
    world.settle();
    assert_eq!(shaking.log(), ["fatal Stopped"]);
    let late = world.dial();
    late.hello(b"");
    world.settle();
    assert_eq!(late.log(), ["fatal Stopped"]);
    assert!(late.is_closed() && shaking.is_closed());
}

#[test]
fn s_05_pending_output_is_written_first() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    reader.stop_reading();
    let body = vec![b'x'; 50_000];
    for _ in 0..20 {
        writer.publish_all("t", &[record(&body)]);
    }
    world.settle();
    world.drain(secs(30));
    world.settle();
    reader.split_writes(10_000);
    reader.resume_reading();
    world.settle();
    assert_eq!(reader.stream().len(), 20);
    assert!(reader.is_closed());
}

#[test]
fn s_05_a_partly_received_frame_may_still_arrive() {
    let mut world = World::new();
    let peer = world.connect();
    let request = peer.publish("t", "x");
    let bytes = peer.unsent();
    peer.send_bytes(&bytes[..10]);
    world.settle();
    world.drain(secs(10));
    world.advance(ms(100));
    assert_eq!(world.status(&peer), Status::Open);
    peer.send_bytes(&bytes[10..]);
    assert_eq!(world.ask(&peer, request), "refused Draining");
    assert!(peer.is_closed());
}

#[test]
fn s_05_refused_publishes_in_one_read_leave_the_topic_as_it_is() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&peer, &["a"]);
    // Nobody reads the topic any more, but the memory of its record is still there.
    assert_eq!(world.ask(&peer, peer.alter("t", TopicOptions::new().retention_ttl(us(0)))), "done 0");
    let requests: Vec<_> = (0..3).map(|_| peer.publish("t", "b")).collect();
    world.drain(secs(10));
    world.settle();
    for request in requests {
        assert_eq!(peer.answer(request), "refused Draining");
    }
}

#[test]
fn s_05_goodbye_reports_the_grace_period() {
    let mut world = World::new();
    let peer = world.connect();
    world.drain(secs(3));
    world.settle();
    assert_eq!(peer.control(), ["goodbye draining 3000"]);
    assert!(peer.is_closed(), "nothing is outstanding");
}

#[test]
fn s_05_requests_before_the_end_of_the_stream_are_answered() {
    for drains_first in [false, true] {
        let mut world = World::new();
        let (peer, writer) = (world.connect(), world.connect());
        // What it has not committed keeps the connection from being closed before it has sent its requests.
        world.ask(&peer, peer.subscribe(1, "t"));
        world.ask(&writer, writer.publish("t", "a"));
        assert_eq!(peer.stream(), ["1/0=a"]);
        if drains_first {
            world.drain(secs(10));
            world.settle();
        }
        let publish = peer.publish("t", "b");
        let batch = peer.batch(&[put("t", "c"), done(1, 0)]);
        let empty = peer.batch(&[]);
        let commit = peer.commit(1, 0);
        let last = peer.publish("t", "d");
        // And half a frame, which is discarded.
        peer.send_bytes(&[20, 0, 0, 0, 4, 0, 0, 0, 1]);
        peer.finish();
        if !drains_first {
            world.drain(secs(10));
        }
        world.settle();
        let refused = [publish, batch, empty, last].map(|request| peer.answer(request));
        assert!(refused.iter().all(|answer| answer.starts_with("refused Draining")), "{refused:?}");
        assert_eq!(peer.answer(commit), "done 1", "all other requests are served");
        assert_eq!(peer.control(), ["goodbye draining 10000"], "and no Fatal");
        assert!(peer.is_closed());
        assert_eq!(world.reason(&peer), Some(CloseReason::PeerGone));
        assert_eq!(world.broker.stats().records_accepted, 1);
    }
}

#[test]
fn s_05_requests_before_the_end_of_the_stream_are_answered_if_they_fill_the_lane_of_answers() {
    const PUBLISHES: usize = 20_000;
    let mut world = World::new().checked_at_rest();
    let peer = world.connect();
    world.drain(secs(10));
    peer.stop_reading();
    let requests: Vec<_> = (0..PUBLISHES).map(|_| peer.publish("t", "x")).collect();
    peer.finish();
    world.settle();
    assert!(world.session(&peer).unwrap().outbound().control_len() <= (256 << 10) + 64);
    assert_eq!(world.status(&peer), Status::Open, "what waits behind the answers is not applied yet");
    peer.resume_reading();
    world.settle();
    assert!(requests.iter().all(|request| peer.answer(*request) == "refused Draining"));
    assert_eq!(peer.control(), ["goodbye draining 10000"]);
    assert!(peer.is_closed());
    assert_eq!(world.broker.stats().records_accepted, 0);
}
