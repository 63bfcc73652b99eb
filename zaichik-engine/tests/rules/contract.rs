//! The driving contract: the four steps may be called in any order and any number of times; omitting one only delays
//! progress.

use std::fmt::Write;
use std::io::IoSlice;

use bytes::Buf;
use zaichik_engine::{Session, Timestamp};
use zaichik_proto::{AckLevel, Producer, Start, TopicOptions};

use crate::world::{Dice, Peer, Sub, World, done, keyed, ms, put, record, secs, us};

/// Requests whose answers do not depend on how far deliveries got.
fn converse(peer: &Peer, dice: &mut Dice) {
    peer.create("t", TopicOptions::new().retain_forever().compaction_window(secs(60)));
    peer.subscribe_to(Sub::new(1, "t").window(0));
    peer.subscribe_to(Sub::new(2, "u").window(5));
    for round in 0..30 {
        match dice.below(6) {
            0 => peer.publish_keyed("t", ["k", "l", "m"][dice.below(3)], "keyed"),
            1 => peer.publish_all("t", &[record(b"a"), keyed("k", b"b"), record(b"c")]),
            2 => peer.publish("u", "x"),
            3 => peer.publish("$bad", "x"),
            4 => peer.publish_with("t", AckLevel::None, &[record(b"quiet")]),
            _ => peer.publish("t", &"long ".repeat(dice.below(300))),
        };
        if round % 7 == 0 {
            peer.ping(round);
        }
    }
}

/// Requests over which connections compete, and requests that move positions back.
fn quarrel(peer: &Peer, dice: &mut Dice) {
    let name = ["d", "e"][dice.below(2)];
    let number = 3 + u32::try_from(dice.below(3)).unwrap();
    peer.subscribe_to(Sub::new(number, "t").window(3).durable(name).dead_letter(2, "u"));
    for _ in 0..10 {
        let offset = dice.below(40) as u64;
        let producer = Producer { id: 7, epoch: 1, sequence: dice.below(30) as u64 };
        match dice.below(7) {
            0 => peer.nack(number, offset, dice.below(2) as u64 * 1_000),
            1 => peer.seek_durable("t", name, Start::Offset(offset)),
            2 => peer.commit(number, offset),
            3 => peer.publish_as(Some(producer), "t", AckLevel::Accepted, &[keyed("n", b"numbered")]),
            4 => peer.batch_as(producer, &[put("t", "x"), put("u", "y")]),
            5 => peer.batch(&[put("t", "z"), done(number, offset)]),
            _ => peer.unsubscribe(number),
        };
    }
}

/// Each lane in its order; lanes are not ordered relative to each other.
fn outcome(peer: &Peer) -> (Vec<String>, Vec<String>, Vec<String>) {
    let log = peer.log();
    let of = |number: char| log.iter().filter(|one| one.starts_with(number)).cloned().collect();
    let (first, second) = (of('1'), of('2'));
    let rest =
        log.iter().filter(|one| !one.starts_with(['1', '2']) && !one.contains("..")).cloned().collect();
    (first, second, rest)
}

/// The first of the driving contract's promises (rule S8).
#[test]
fn contract_the_order_of_steps_does_not_matter() {
    for seed in 0..60 {
        let run = |is_stirred: bool| {
            let mut world = World::new();
            let peer = world.connect();
            peer.log();
            let mut dice = Dice::new(seed);
            converse(&peer, &mut dice);
            if is_stirred {
                for _ in 0..dice.below(600) {
                    world.stir(&mut dice);
                }
            }
            world.settle();
            outcome(&peer)
        };
        let (plain, stirred) = (run(false), run(true));
        assert!(plain.0.len() > 10 && plain.1.len() <= 5 && plain.2.len() > 20);
        assert_eq!(plain, stirred, "seed {seed}");
    }
}

#[test]
fn contract_repeating_a_step_changes_nothing() {
    for seed in 0..20 {
        let mut world = World::new();
        let (peer, other) = (world.connect(), world.connect());
        let mut dice = Dice::new(seed);
        converse(&peer, &mut dice);
        converse(&other, &mut dice);
        for _ in 0..40 {
            for _ in 0..dice.below(20) {
                world.stir(&mut dice);
            }
            world.assert_steps_are_idempotent();
        }
        world.settle();
        world.assert_steps_are_idempotent();
    }
}

#[test]
fn s_01_the_same_log_gives_the_same_broker_and_the_same_bytes() {
    let run = |seed| {
        let mut world = World::with(|config| config.max_topics = 3);
        let mut dice = Dice::new(seed);
        let peers: Vec<_> = (0..3).map(|_| world.connect()).collect();
        let mut all = String::new();
        for _ in 0..20 {
            for peer in &peers {
                converse(peer, &mut dice);
                quarrel(peer, &mut dice);
            }
            for _ in 0..dice.below(100) {
                world.stir(&mut dice);
            }
            world.advance(ms(dice.below(5_000) as u64));
            for peer in &peers {
                write!(all, "{:?}", peer.take_bytes()).unwrap();
            }
        }
        (all, format!("{:?}", world.broker))
    };
    for seed in 0..3 {
        let (one, two) = (run(seed), run(seed));
        assert!(one.0.len() > 10_000);
        assert_eq!(one, two, "seed {seed}");
    }
}

/// A session with frames in both lanes, part of a delivery already taken.
fn with_full_lanes() -> (World, Peer) {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    reader.stop_reading();
    let body = vec![b'x'; 3_000];
    for _ in 0..20 {
        world.ask(&writer, writer.publish_all("t", &[record(&body), record(b"small")]));
    }
    world.session(&reader).unwrap().outbound().advance(1_000);
    for nonce in 0..50 {
        reader.ping(nonce);
    }
    world.settle();
    (world, reader)
}

#[test]
fn contract_any_sequence_of_partial_writes_gives_the_same_bytes() {
    let (mut world, reader) = with_full_lanes();
    let outbound = world.session(&reader).unwrap().outbound();
    let expected = outbound.copy_to_bytes(outbound.remaining());
    assert!(expected.len() > 60_000);
    for seed in 0..30 {
        let (mut world, reader) = with_full_lanes();
        let outbound = world.session(&reader).unwrap().outbound();
        let mut dice = Dice::new(seed);
        let mut written = Vec::new();
        while outbound.has_remaining() {
            let limit = [1, 3, 100, 5_000][dice.below(4)];
            let at_most = dice.below(limit) + 1;
            let mut left = at_most.min(outbound.remaining());
            let count = left;
            if dice.below(2) == 0 {
                let mut slices = [IoSlice::new(&[]); 7];
                let filled = outbound.chunks_vectored(&mut slices);
                let total: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
                left = left.min(total);
                let count = left;
                for slice in &slices[..filled] {
                    let part = slice.len().min(left);
                    written.extend_from_slice(&slice[..part]);
                    left -= part;
                }
                outbound.advance(count);
            } else {
                let part = outbound.chunk().len().min(count);
                written.extend_from_slice(&outbound.chunk()[..part]);
                outbound.advance(part);
            }
            // Peeking without writing, or abandoning a write, changes nothing.
            let _ = outbound.chunk();
        }
        assert!(written == expected, "seed {seed}");
    }
}

/// The observable state of a session.
fn seen(session: &mut Session) -> (Option<Timestamp>, usize, String) {
    (session.next_timeout(), session.outbound().remaining(), format!("{:?}", session.status()))
}

#[test]
fn contract_a_sessions_deadlines_are_exact() {
    type Setup = fn(&mut World, &Peer);
    let setups: [(&str, Setup); 6] = [
        ("nothing", |_, _| {}),
        ("magic", |_, peer| peer.send_bytes(b"ZAI\x01")),
        ("open", |_, peer| peer.hello(b"")),
        ("unread", |_, peer| {
            peer.stop_reading();
            peer.hello(b"");
        }),
        ("reports", |world, peer| {
            peer.hello(b"");
            world.settle();
            for _ in 0..2 {
                peer.publish_with("$bad", AckLevel::None, &[record(b"x")]);
                world.settle();
            }
        }),
        ("drain", |world, peer| {
            peer.hello(b"");
            peer.subscribe(1, "t");
            peer.publish("t", "x");
            world.settle();
            world.drain(secs(10));
        }),
    ];
    for (name, setup) in setups {
        let mut world = World::with(|config| config.wire.heartbeat_millis = 30_000);
        let peer = world.dial();
        setup(&mut world, &peer);
        world.settle();
        for _ in 0..10 {
            let Some(session) = world.session(&peer) else {
                break;
            };
            let Some(due) = session.next_timeout() else {
                break;
            };
            let before = seen(session);
            let early = Timestamp::from_micros(due.as_micros() - 1);
            session.handle_timeout(early);
            assert_eq!(seen(session), before, "{name}: an early call changes nothing");
            session.handle_timeout(due);
            let after = seen(session);
            assert_ne!(after, before, "{name}: what was due was done");
            assert!(after.0.is_none_or(|next| next > due), "{name}: {after:?}");
            session.handle_timeout(due);
            assert_eq!(seen(session), after, "{name}: a late repetition changes nothing");
            world.jump(due);
            world.settle();
        }
    }
}

#[test]
fn contract_the_brokers_deadlines_are_exact() {
    let mut world = World::new();
    let peer = world.connect();
    let options = TopicOptions::new().retention_ttl(secs(5)).compaction_window(secs(7));
    for topic in ["a", "b", "c"] {
        world.ask(&peer, peer.create(topic, options));
        for key in 0..300 {
            peer.publish_keyed(topic, &key.to_string(), &"x".repeat(500));
        }
        world.advance(ms(300));
    }
    let mut deadlines = 0;
    while let Some(due) = world.broker.next_timeout() {
        let before = (world.broker.ledger(), world.broker.next_timeout());
        world.keep_house_at(Timestamp::from_micros(due.as_micros() - 1));
        assert_eq!((world.broker.ledger(), world.broker.next_timeout()), before, "early");
        world.keep_house_at(due);
        assert!(world.broker.next_timeout().is_none_or(|next| next > due));
        deadlines += 1;
        assert!(deadlines < 1_000);
    }
    assert!(deadlines >= 6, "three topics expire records and forget keys");
    assert!(world.broker.ledger().topics < 6_000, "{:?}", world.broker.ledger());
}

#[test]
fn contract_omitting_a_step_only_delays() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    reader.stop_reading();
    for _ in 0..3 {
        world.ask(&writer, writer.publish("t", "x"));
        world.advance(secs(3));
    }
    reader.resume_reading();
    world.settle();
    assert_eq!(reader.stream().len(), 3);
    // Deadlines missed for a week are handled at once.
    let options = TopicOptions::new().retention_ttl(secs(5));
    world.ask(&writer, writer.create("r", options));
    world.ask(&writer, writer.publish("r", "x"));
    let later = world.now + secs(7 * 86_400) + us(1);
    world.jump(later);
    world.settle();
    assert_eq!(world.ask(&writer, writer.subscribe(1, "r")), "1..1");
}
