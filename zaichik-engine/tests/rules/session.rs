//! Chapter S: heartbeat, write deadline, and the end of a connection.

use zaichik_engine::{CloseReason, Status};
use zaichik_proto::{AckLevel, ClientFrame, TopicOptions};

use crate::world::{Peer, Sub, World, record, secs, us};

fn with_heartbeat() -> World {
    World::with(|config| config.wire.heartbeat_millis = 30_000)
}

#[test]
fn heartbeat_pings_twice_and_closes_after_three_intervals() {
    let mut world = with_heartbeat();
    let peer = world.connect();
    world.advance(us(29_999_999));
    assert!(peer.control().is_empty());
    world.advance(us(1));
    assert_eq!(peer.control(), ["ping 1"]);
    world.advance(us(29_999_999));
    assert!(peer.control().is_empty());
    world.advance(us(1));
    assert_eq!(peer.control(), ["ping 2"]);
    world.advance(us(29_999_999));
    assert_eq!(world.status(&peer), Status::Open);
    world.advance(us(1));
    assert_eq!(peer.control(), ["fatal HeartbeatMissed"]);
    assert!(peer.is_closed());
    assert_eq!(world.reason(&peer), Some(CloseReason::HeartbeatMissed));
}

#[test]
fn heartbeat_counts_every_byte_as_a_sign_of_life() {
    let mut world = World::with(|config| {
        config.wire.heartbeat_millis = 30_000;
        config.frame_timeout = secs(1_000);
    });
    let peer = world.connect();
    // One frame, a byte every 25 s.
    let mut frame = bytes::BytesMut::new();
    ClientFrame::Ping { nonce: 7 }.encode(&mut frame);
    for byte in &frame {
        world.advance(secs(25));
        peer.send_bytes(&[*byte]);
    }
    world.settle();
    assert_eq!(peer.control(), ["pong 7"]);
    world.advance(secs(30));
    assert_eq!(peer.control(), ["ping 1"]);
    peer.send(&ClientFrame::Pong { nonce: 1 });
    world.advance(us(29_999_999));
    assert!(peer.control().is_empty());
}

#[test]
fn heartbeat_ignores_the_brokers_own_output() {
    let mut world = with_heartbeat();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    for _ in 0..9 {
        world.advance(secs(10));
        writer.publish("t", "x");
    }
    world.settle();
    assert!(reader.is_closed());
    assert!(!writer.is_closed());
}

#[test]
fn heartbeat_handled_late_still_leaves_an_interval_after_the_ping() {
    let mut world = with_heartbeat();
    let peer = world.connect();
    let later = world.now + secs(55);
    world.jump(later);
    world.settle();
    assert_eq!(peer.control(), ["ping 1"]);
    world.advance(us(29_999_999));
    assert!(peer.control().is_empty(), "85 s after the start, less than an interval after the ping");
    world.advance(us(1));
    assert_eq!(peer.control(), ["ping 2"]);
    world.advance(secs(30));
    assert_eq!(peer.control(), ["fatal HeartbeatMissed"]);
}

#[test]
fn s4_no_connection_is_closed_for_silence_that_was_not_watched() {
    // The broker stops for an hour before the first ping, after it, and after the second one; nobody reports it.
    for ran in [20, 40, 70] {
        let mut world = with_heartbeat();
        let peer = world.connect();
        world.advance(secs(ran));
        peer.control();
        let later = world.now + secs(3_600);
        world.jump(later);
        world.settle();
        assert_eq!(peer.control().len(), 1, "a ping at once, after {ran} s");
        world.advance(us(29_999_999));
        assert_eq!(world.status(&peer), Status::Open);
        world.advance(us(1));
        assert_eq!(peer.control(), ["fatal HeartbeatMissed"], "a peer that does not answer it is gone");
    }
}

#[test]
fn s4_no_deadline_of_a_connection_counts_a_pause_of_the_broker() {
    let mut world = with_heartbeat();
    let (silent, slow, writer) = (world.connect(), world.connect(), world.connect());
    world.ask(&slow, slow.subscribe(1, "t"));
    world.advance(secs(25));
    let newcomer = world.dial();
    slow.stop_reading();
    for peer in [&slow, &writer] {
        peer.ping(1);
    }
    world.ask(&writer, writer.publish("t", "x"));
    world.advance(secs(4));
    world.suspend(secs(3_600));
    world.settle();
    assert!(silent.control().is_empty(), "it has been silent for 29 s");
    world.advance(us(999_999));
    assert!(silent.control().is_empty());
    assert_eq!(world.status(&newcomer), Status::Handshake, "4.999999 s of 5 s");
    world.advance(us(1));
    assert_eq!(silent.control(), ["ping 1"]);
    assert_eq!(world.reason(&newcomer), Some(CloseReason::HandshakeTimeout));
    world.advance(us(4_999_999));
    assert_eq!(world.status(&slow), Status::Open, "9.999999 s of 10 s");
    world.advance(us(1));
    assert_eq!(world.reason(&slow), Some(CloseReason::SlowConsumer));
}

#[test]
fn heartbeat_is_not_hastened_by_a_clock_that_moved_backwards() {
    let mut world = with_heartbeat();
    let peer = world.connect();
    let begin = world.now;
    world.advance(secs(20));
    world.jump(begin);
    // The peer is heard while the clock is back; the clock had already reached 20 s.
    peer.ping(1);
    world.settle();
    peer.control();
    world.jump(begin + us(49_999_999));
    world.settle();
    assert!(peer.control().is_empty());
    world.jump(begin + secs(50));
    world.settle();
    assert_eq!(peer.control(), ["ping 1"]);
}

#[test]
fn s4_no_deadline_is_hastened_by_a_clock_that_moved_backwards_after_a_pause() {
    let mut world = with_heartbeat();
    let peer = world.connect();
    let begin = world.now;
    world.advance(secs(20));
    world.suspend(secs(3_600));
    // The broker is passed the time after the pause, the connection one before that: it had run for 20 s already.
    world.dial();
    world.jump(begin + secs(3_610));
    peer.ping(1);
    world.settle();
    peer.control();
    world.jump(begin + us(3_649_999_999));
    world.settle();
    assert!(peer.control().is_empty());
    world.jump(begin + secs(3_650));
    world.settle();
    assert_eq!(peer.control(), ["ping 1"]);
}

#[test]
fn a_ping_is_answered_with_its_nonce() {
    let mut world = World::new();
    let peer = world.connect();
    for nonce in [0, 7, u64::MAX] {
        peer.ping(nonce);
        world.settle();
        assert_eq!(peer.control(), [format!("pong {nonce}")]);
    }
}

#[test]
fn close_answers_earlier_requests_and_ignores_later_ones() {
    let mut world = World::new();
    let peer = world.connect();
    peer.log();
    let requests =
        [peer.publish("t", "a"), peer.subscribe(1, "t"), peer.unsubscribe(1), peer.publish("t", "b")];
    peer.close();
    let late = peer.publish("t", "c");
    world.settle();
    assert_eq!(requests.map(|request| peer.answer(request)), ["@0 new", "1..1", "ended", "@1"]);
    assert_eq!(peer.answer(late), "-");
    assert_eq!(peer.log().last().map(String::as_str), Some("goodbye closed"));
    assert!(peer.is_closed());
    assert_eq!(world.reason(&peer), Some(CloseReason::Requested));
    assert_eq!(world.broker.stats().records_accepted, 2);
}

#[test]
fn close_waits_for_a_peer_that_reads_slowly() {
    let mut world = World::new();
    let peer = world.connect();
    peer.stop_reading();
    let requests = [peer.subscribe(1, "t"), peer.publish("t", "a"), peer.unsubscribe(1)];
    peer.close();
    world.settle();
    peer.split_writes(3);
    peer.resume_reading();
    world.settle();
    assert_eq!(requests.map(|request| peer.answer(request)), ["0..0 new", "@0", "ended"]);
    assert_eq!(peer.control(), ["goodbye closed"]);
}

#[test]
fn end_of_stream_complete_frames_take_effect() {
    let mut world = World::new();
    let peer = world.connect();
    let requests: Vec<_> = (0..10).map(|_| peer.publish("t", "x")).collect();
    // And half a frame.
    peer.send_bytes(&[20, 0, 0, 0, 4, 0, 0, 0, 1]);
    peer.finish();
    world.settle();
    for request in requests {
        assert!(peer.answer(request).starts_with('@'));
    }
    assert!(peer.control().is_empty(), "a truncated frame is not a protocol error");
    assert!(peer.is_closed());
    assert_eq!(world.reason(&peer), Some(CloseReason::PeerGone));
    assert_eq!(world.broker.stats().records_accepted, 10);
}

#[test]
fn end_of_stream_even_if_the_answers_fill_their_lane() {
    let mut world = World::new();
    let peer = world.connect();
    peer.stop_reading();
    for nonce in 0..40_000 {
        peer.ping(nonce);
    }
    let last = peer.publish("t", "x");
    peer.finish();
    world.settle();
    assert!(world.session(&peer).unwrap().outbound().control_len() <= (256 << 10) + 64);
    peer.resume_reading();
    world.settle();
    assert_eq!(peer.control().len(), 40_000);
    assert_eq!(peer.answer(last), "@0 new");
    assert!(peer.is_closed());
}

#[test]
fn a_broken_connection_ends_its_subscriptions() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    for number in 0..50 {
        world.ask(&reader, reader.subscribe(number, &format!("t{number}")));
    }
    world.ask(&writer, writer.publish("t7", "x"));
    let with = world.broker.ledger().subscriptions;
    assert!(with > 0);
    reader.cut();
    world.settle();
    assert_eq!(world.broker.ledger().subscriptions, 0);
    assert_eq!(world.broker.session_count(), 1);
    assert_eq!(world.ask(&writer, writer.publish("t7", "y")), "@1");
}

#[test]
fn detaching_twice_or_an_unknown_session_changes_nothing() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    let id = world.session(&one).unwrap().id();
    one.cut();
    world.settle();
    let three = world.connect();
    world.ask(&three, three.subscribe(1, "t"));
    // The slot is in use again; the old id is not.
    assert_eq!(world.session(&three).unwrap().id().slot(), id.slot());
    world.detach(id);
    world.detach(id);
    assert_eq!(world.broker.session_count(), 2);
    world.ask(&two, two.publish("t", "x"));
    assert_eq!(three.stream(), ["1/0=x"]);
}

#[test]
fn a_sessions_slot_is_unique_while_it_is_served() {
    let mut world = World::with(|config| config.max_connections = 3);
    let mut peers: Vec<Peer> = Vec::new();
    for round in 0..12 {
        let peer = world.dial();
        // No peer reads, so refused connections stay until their deadline.
        peer.stop_reading();
        peers.push(peer);
        if round % 3 == 2 {
            peers[round].cut();
            peers[round / 2].cut();
            world.settle();
        }
        let served = |peer: &Peer| {
            let session = world.session(peer)?;
            (session.status() == Status::Handshake).then(|| session.id().slot())
        };
        let mut slots: Vec<_> = peers.iter().filter_map(served).collect();
        slots.sort_unstable();
        let count = slots.len();
        slots.dedup();
        assert_eq!(slots.len(), count, "two connections share a slot");
        assert!(slots.iter().all(|slot| *slot < 3), "slots are reused");
    }
}

#[test]
fn alter_and_create_are_answered_on_a_connection_without_subscriptions() {
    let mut world = World::new();
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.create("t", TopicOptions::new())), "created");
    assert_eq!(world.ask(&peer, peer.alter("t", TopicOptions::new().retain_forever())), "done 0");
    assert_eq!(world.ask(&peer, peer.publish_all("t", &[record(b"x")])), "@0");
}

#[test]
fn notes_name_the_event_the_session_and_the_topic() {
    let mut world = World::new();
    world.take_notes();
    let peer = world.connect();
    let id = world.session(&peer).unwrap().id();
    world.ask(&peer, peer.publish("implicit", "x"));
    world.ask(&peer, peer.create("t", TopicOptions::new()));
    world.ask(&peer, peer.alter("t", TopicOptions::new().max_keys(5)));
    world.ask(&peer, peer.subscribe(7, "t"));
    world.ask(&peer, peer.publish("$bad", "x"));
    world.ask(&peer, peer.unsubscribe(7));
    let notes = world.take_notes();
    assert!(notes.iter().all(|note| note.session == id));
    let lines: Vec<_> = notes
        .iter()
        .map(|note| format!("{}: {}", note.topic.as_deref().unwrap_or("-"), note.event))
        .collect();
    let expected = [
        "-: handshake done, the client is \"peer\"",
        "implicit: topic created on first use",
        "t: topic created",
        "t: topic altered",
        "t: subscription 7 starts at 0, the topic ends at 0",
        "$bad: refused: the topic's name is invalid: use 1 to 255 bytes of UTF-8 without control characters, without a leading $, and without * or > between two dots",
        "t: subscription 7 ended",
    ];
    assert_eq!(lines, expected);
    // Notes that are not taken do not accumulate.
    for _ in 0..1_000 {
        peer.publish("$bad", "x");
    }
    world.settle();
    assert_eq!(world.take_notes().len(), 256);
}

/// A connection may send little at first, and more while its reads fill that.
#[test]
fn s15_the_room_for_received_bytes_grows_with_use() {
    let mut world = World::new();
    let peer = world.connect();
    assert_eq!(world.session(&peer).unwrap().read_limit(), 8 << 10);
    peer.split_reads(usize::MAX);
    for _ in 0..1_000 {
        peer.publish_with("t", AckLevel::None, &[record(&[b'x'; 1_000])]);
    }
    world.settle();
    assert_eq!(world.session(&peer).unwrap().read_limit(), 128 << 10);
    world.session(&peer).unwrap().shrink();
    assert_eq!(world.session(&peer).unwrap().read_limit(), 512);
}
