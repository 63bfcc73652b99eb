//! Rules S-03, S-04, I14: bytes in any pieces, invalid bytes, and their effect on other connections.

use bytes::BytesMut;
use zaichik_engine::{CloseReason, Status};
use zaichik_proto::{
    AckLevel, ClientFrame, Commit, FrameHeader, Limits, MAGIC, Producer, ServerFrame, TopicOptions, Version,
};

use crate::world::{Dice, Peer, Sub, World, done, keyed, put, put_all, record, secs};

/// Makes every kind of request, and returns the bytes instead of sending them.
fn conversation(peer: &Peer) -> BytesMut {
    peer.hello(b"");
    peer.create("t", TopicOptions::new().retain_forever().compaction_window(secs(60)));
    peer.publish("t", "a");
    peer.publish_all("t", &[keyed("k", b"b"), record(b"c"), keyed("k", b"d")]);
    peer.subscribe_to(Sub::new(1, "t").window(2));
    peer.publish("u", "x");
    let producer = |sequence| Producer { id: 1, epoch: 2, sequence };
    for sequence in [5, 5, 7] {
        peer.publish_as(Some(producer(sequence)), "u", AckLevel::Accepted, &[record(b"y")]);
    }
    peer.batch_as(producer(6), &[put("u", "z"), put_all("new", &[keyed("k", b"1")]), put("u", "z")]);
    peer.batch(&[put("other", "x"), done(9, 0)]);
    peer.commit(1, 0);
    peer.ping(7);
    peer.send(&ClientFrame::Extension { kind: 0x90, body: b"skip" });
    peer.alter("t", TopicOptions::new().max_messages(9));
    peer.commit(1, 2);
    peer.unsubscribe(1);
    peer.publish("$no", "x");
    peer.close();
    peer.unsent()
}

/// The frames that a peer received: each lane in its order, and the answers.
fn outcome(peer: &Peer) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (stream, control, mut log) = (peer.stream(), peer.control(), peer.log());
    log.sort();
    (stream, control, log)
}

#[test]
fn s_03_any_split_of_the_stream_gives_the_same_requests() {
    let mut world = World::new();
    let peer = world.dial();
    let bytes = conversation(&peer);
    peer.send_bytes(&bytes);
    world.settle();
    let mut expected = outcome(&peer);
    assert!(expected.2.len() > 12, "{expected:?}");
    // How much is delivered before Unsubscribe depends on when the broker handles it.
    expected.0.clear();
    let forget = |mut seen: (Vec<String>, Vec<String>, Vec<String>)| {
        seen.0.clear();
        seen.2.retain(|one| !one.starts_with("1/") && !one.contains(" ended") && !one.contains("Commit"));
        seen.2.retain(|one| !one.contains(" done"));
        seen
    };
    let expected = forget(expected);
    for cut in 1..bytes.len() {
        let mut world = World::new();
        let peer = world.dial();
        conversation(&peer);
        peer.send_bytes(&bytes[..cut]);
        world.settle();
        peer.send_bytes(&bytes[cut..]);
        world.settle();
        assert_eq!(forget(outcome(&peer)), expected, "cut at {cut}");
    }
}

/// A defect of the first Zaichik: a frame that arrived in two segments was lost.
#[test]
fn s_03_a_frame_split_across_two_segments() {
    let mut world = World::new();
    let peer = world.connect();
    let request = peer.publish("t", "hello, world");
    let bytes = peer.unsent();
    for cut in 1..bytes.len() {
        let mut world = World::new();
        let (peer, reader) = (world.connect(), world.connect());
        world.ask(&reader, reader.subscribe(1, "t"));
        assert_eq!(peer.publish("t", "hello, world"), request);
        assert_eq!(peer.unsent(), bytes);
        peer.send_bytes(&bytes[..cut]);
        world.settle();
        assert_eq!(peer.answer(request), "-");
        peer.send_bytes(&bytes[cut..]);
        assert_eq!(world.ask(&peer, request), "@0");
        assert_eq!(reader.stream(), ["1/0=hello, world"]);
    }
}

#[test]
fn s_03_one_byte_at_a_time_and_all_at_once() {
    let run = |piece: usize, writes: usize| {
        let mut world = World::new();
        let peer = world.connect();
        peer.split_reads(piece);
        peer.split_writes(writes);
        let requests: Vec<_> = (0..200).map(|n| peer.publish_keyed("t", &n.to_string(), "body")).collect();
        peer.subscribe_to(Sub::new(1, "t").window(0));
        peer.publish("t", "last");
        world.settle();
        let answers: Vec<_> = requests.iter().map(|request| peer.answer(*request)).collect();
        (answers, peer.stream())
    };
    let whole = run(usize::MAX, usize::MAX);
    assert_eq!(whole.0.len(), 200);
    assert_eq!(whole.1, ["1/200=last"]);
    for (piece, writes) in [(1, usize::MAX), (usize::MAX, 1), (1, 1), (7, 13)] {
        assert_eq!(run(piece, writes), whole);
    }
}

/// Frames that break the protocol, and the code that each causes.
fn breaches() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |kind: u8, body: &[u8]| {
        let header = FrameHeader { body_len: u32::try_from(body.len()).unwrap(), kind };
        [&header.to_bytes()[..], body].concat()
    };
    let commit = |request, extra: &[u8]| {
        let mut bytes = BytesMut::new();
        ClientFrame::Commit(Commit { request, subscription: 1, offset: 0, rewind: None, quiet: false })
            .encode(&mut bytes);
        frame(7, &[&bytes[8..], extra].concat())
    };
    let publish = |count: u32, records: &[u8]| {
        let head = [&1u32.to_le_bytes()[..], &count.to_le_bytes(), &[1, 0, 1, b't']].concat();
        frame(4, &[&head[..], records].concat())
    };
    let with = |at: usize, byte: u8| {
        let mut bytes = Vec::new();
        record(b"x").encode(&mut bytes);
        bytes[at] = byte;
        bytes
    };
    let mut quiet_2 = commit(1, &[]);
    *quiet_2.last_mut().unwrap() = 2;
    let mut reserved = commit(1, &[]);
    reserved[6] = 1;
    let huge = |len: u32| FrameHeader { body_len: len, kind: 4 }.to_bytes().to_vec();
    vec![
        ("FrameTooLarge", huge(u32::MAX)),
        ("FrameTooLarge", huge(Limits::default().max_frame + 1)),
        ("UnknownKind", frame(0, b"")),
        ("UnknownKind", frame(0x3f, b"")),
        ("UnknownKind", frame(0x7f, b"")),
        ("WrongDirection", frame(0x41, b"")),
        ("WrongDirection", frame(0x49, b"")),
        ("OutOfPhase", frame(1, &[1, 0, 0, 0, 0])),
        ("ReservedBits", reserved),
        ("ReservedBits", frame(2, &[1, 0, 0, 0, 1, b't', 0, 1])),
        ("BadLength", commit(1, b"more")),
        ("BadLength", frame(7, &[1, 0, 0])),
        ("BadLength", frame(11, b"")),
        ("BadLength", frame(13, b"x")),
        ("BadValue", commit(0, &[])),
        ("BadValue", quiet_2),
        ("CountTooLarge", publish(0, &[])),
        ("CountTooLarge", publish(u32::MAX, &with(0, 13))),
        ("CountTooLarge", publish(2, &with(0, 13))),
        ("BadRecord", publish(1, &with(0, 200))),
        ("BadRecord", publish(1, &with(4, 0x80))),
        ("BadRecord", publish(1, &with(8, 1))),
        ("BadLength", publish(1, &[&with(0, 13)[..], &with(0, 13)].concat())),
        ("NotUtf8", subscribe_durable(b"\xff")),
        ("BadValue", subscribe_durable(b"")),
    ]
}

fn subscribe_durable(name: &[u8]) -> Vec<u8> {
    let body = [
        &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, b't', 0, 1],
        &[u8::try_from(name.len()).unwrap()],
        name,
        &[0; 13],
    ]
    .concat();
    let header = FrameHeader { body_len: u32::try_from(body.len()).unwrap(), kind: 5 };
    [&header.to_bytes()[..], &body].concat()
}

#[test]
fn s_04_each_violation_ends_only_its_own_connection_with_its_code() {
    for (code, bytes) in breaches() {
        let mut world = World::new();
        let (peer, other) = (world.connect(), world.connect());
        world.ask(&other, other.subscribe(1, "t"));
        let before = [peer.publish("t", "a"), peer.subscribe(1, "t"), peer.publish("t", "b")];
        peer.send_bytes(&bytes);
        let after = peer.publish("t", "c");
        world.settle();
        // All frames before it were applied and are answered, none after it.
        assert_eq!(before.map(|request| peer.answer(request)), ["@0", "1..1", "@1"], "{code} {bytes:?}");
        assert_eq!(peer.answer(after), "-");
        assert_eq!(peer.log().last(), Some(&format!("fatal {code}")), "{bytes:?}");
        assert!(peer.is_closed());
        assert!(matches!(world.reason(&peer), Some(CloseReason::Protocol(_))));
        assert_eq!(world.broker.session_count(), 1);
        assert_eq!(world.ask(&other, other.commit(1, 0)), "done 1");
        assert_eq!(other.stream(), ["1/0=a", "1/1=b"]);
    }
}

#[test]
fn s_04_fatal_names_the_position_of_the_offending_frame() {
    let mut world = World::new();
    let peer = world.dial();
    peer.hello(b"");
    peer.ping(1);
    let sent = peer.unsent();
    peer.send_bytes(&sent);
    peer.send_bytes(&[0, 0, 0, 0, 0x3f, 0, 0, 0]);
    world.settle();
    let bytes = peer.take_bytes();
    let limits = Limits::default();
    let mut decoder = zaichik_proto::ServerDecoder::handshake(&limits);
    let mut at = 0;
    let mut offset = None;
    while let Some((frame, taken)) = decoder.decode(&bytes[at..]).unwrap() {
        if let ServerFrame::Welcome(welcome) = frame {
            decoder.open(Version::One, &welcome.limits);
        } else if let ServerFrame::Fatal(fatal) = frame {
            offset = Some(fatal.offset);
        }
        at += taken;
    }
    assert_eq!(offset, Some(sent.len() as u64));
}

#[test]
fn s_04_nothing_is_allocated_for_announced_lengths() {
    let mut world = World::new();
    let peer = world.connect();
    let before = world.broker.ledger().sessions;
    peer.send_bytes(&FrameHeader { body_len: Limits::default().max_frame, kind: 4 }.to_bytes());
    peer.send_bytes(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    world.settle();
    assert_eq!(world.session(&peer).unwrap().inbound().len(), 16);
    assert!(world.broker.ledger().sessions < before + 1_024);
}

#[test]
fn s_04_buffered_input_is_bounded_by_a_frame() {
    let mut world = World::with(|config| {
        config.wire.max_message = 10_000;
        config.wire.max_frame = 10_000 + 4_096;
    });
    let peer = world.connect();
    peer.stop_reading();
    for nonce in 0..100_000 {
        peer.ping(nonce);
    }
    world.settle();
    let session = world.session(&peer).unwrap();
    assert!(session.outbound().control_len() <= (256 << 10) + 16);
    assert!(session.inbound().len() <= 128 << 10);
    assert!(!session.wants_read());
    assert!(peer.unread() > 1_000_000, "the rest waits in the peer's own buffers");
}

#[test]
fn s_04_a_truncated_frame_is_dropped_with_the_connection() {
    let mut world = World::new();
    let (peer, other) = (world.connect(), world.connect());
    peer.publish("t", "whole");
    peer.publish("t", "cut off");
    let bytes = peer.unsent();
    peer.send_bytes(&bytes[..bytes.len() - 1]);
    peer.finish();
    world.settle();
    assert!(peer.is_closed());
    assert_eq!(world.broker.stats().records_accepted, 1);
    assert_eq!(world.ask(&other, other.publish("t", "x")), "@1");
}

#[test]
fn p_06_a_connection_cut_at_each_byte_of_a_publish_stores_it_once_or_not_at_all() {
    let mut world = World::new();
    let peer = world.connect();
    peer.publish("t", "hello");
    let bytes = peer.unsent();
    for cut in 0..=bytes.len() {
        let mut world = World::new();
        let peer = world.connect();
        peer.publish("t", "hello");
        peer.unsent();
        peer.send_bytes(&bytes[..cut]);
        world.settle();
        peer.cut();
        world.settle();
        let accepted = world.broker.stats().records_accepted;
        assert_eq!(accepted, u64::from(cut == bytes.len()), "cut at {cut}");
        assert_eq!(world.broker.session_count(), 0);
    }
}

/// Random frames, valid and corrupted, from one peer; another peer keeps working.
#[test]
fn i14_random_frames_never_cause_a_panic_and_never_disturb_another_peer() {
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        let quiet = world.connect();
        world.ask(&quiet, quiet.subscribe_to(Sub::new(1, "mine").window(3)));
        let mut noisy = world.connect();
        for offset in 0..25 {
            for _ in 0..dice.below(8) {
                noise(&mut dice, &noisy);
            }
            if dice.below(4) == 0 {
                noisy.split_reads(1 + dice.below(40));
                noisy.split_writes(1 + dice.below(400));
            }
            world.settle();
            assert_eq!(world.ask(&quiet, quiet.publish("mine", "x")), format!("@{offset}"));
            assert_eq!(quiet.stream(), [format!("1/{offset}=x")]);
            assert_eq!(world.ask(&quiet, quiet.commit(1, offset)), format!("done {}", offset + 1));
            // Corrupted requests may have any id, so their answers are not checked.
            noisy.take_bytes();
            if noisy.is_closed() {
                noisy = world.connect();
            }
            assert_eq!(world.status(&noisy), Status::Open);
        }
        assert_eq!(quiet.control(), Vec::<String>::new());
    }
}

fn noise(dice: &mut Dice, peer: &Peer) {
    let topic = ["a", "b", "$x", ""][dice.below(4)];
    let number = u32::try_from(dice.below(3)).unwrap();
    let offset = dice.below(6) as u64;
    let sequence = dice.below(4) as u64;
    let producer = Producer { id: dice.below(2) as u128, epoch: number, sequence };
    match dice.below(11) {
        0 => peer.publish(topic, "noise"),
        1 => peer.publish_keyed(topic, "k", "noise"),
        2 => peer.subscribe_to(Sub::new(number, topic).window(u32::try_from(dice.below(4)).unwrap())),
        3 => peer.unsubscribe(number),
        4 => peer.commit(number, offset),
        5 => peer.create(topic, TopicOptions::new().retention_ttl(secs(offset)).max_messages(offset)),
        6 => peer.publish_as(Some(producer), topic, AckLevel::Accepted, &[record(b"noise")]),
        7 => peer.batch_as(producer, &[put("a", "noise"), done(number, offset), put(topic, "noise")]),
        8 => peer.batch(&[done(number, offset), put("b", "noise"), done(number, offset + 1)]),
        9 => peer.alter(topic, TopicOptions::new().compaction_window(secs(offset)).max_bytes(offset * 20)),
        _ => {
            peer.ping(offset);
            0
        }
    };
    if dice.below(12) == 0 {
        // Corrupts the request just made.
        let mut bytes = peer.unsent();
        match dice.below(4) {
            0 => bytes.truncate(dice.below(bytes.len())),
            1 => {
                let at = dice.below(bytes.len());
                bytes[at] ^= 1 << dice.below(8);
            }
            2 => bytes.extend_from_slice(&MAGIC),
            _ => {
                let at = dice.below(bytes.len());
                let tail = bytes.split_off(at);
                bytes.extend_from_slice(&[0xff]);
                bytes.extend_from_slice(&tail);
            }
        }
        peer.send_bytes(&bytes);
    }
}
