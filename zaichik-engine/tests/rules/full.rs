//! Rule B9: a store without space.

use zaichik_engine::Declared;
use zaichik_proto::{AckLevel, Counter, Producer, RefusalCode, Start, Subject, TopicOptions, Version};

use crate::producers::{publish, seq};
use crate::world::{Peer, Sub, World, done, ms, put, record, us};

const FULL: &str = "refused StorageFull 1000000";

/// A world with a store, and with the topic "t" and its one record "a".
fn world() -> (World, Peer) {
    let mut world = World::new();
    if world.stored.is_none() {
        world.begin_storing();
    }
    world.topic(TopicOptions::new().retain_forever()).close();
    let peer = world.connect_as(Version::Two);
    assert_eq!(world.ask(&peer, peer.publish("t", "a")), "@0");
    (world, peer)
}

fn refusals(world: &World, code: RefusalCode) -> u64 {
    let found = world.broker.counters().find(|one| one.counter == Counter::refusals(code));
    found.map_or(0, |one| one.value)
}

#[test]
fn b_50_publishes_are_refused_until_there_is_space() {
    let (mut world, peer) = world();
    assert_eq!(publish(&mut world, &peer, seq(0), "b"), "@1");
    let old = world.connect_as(Version::One);
    let rows = |world: &World| world.broker.rows().map(|row| format!("{row:?}")).collect::<Vec<_>>();
    let before = rows(&world);
    world.set_full(true);
    let unknown = Producer { id: 99, ..seq(7) };
    for _ in 0..2 {
        assert_eq!(world.ask(&peer, peer.publish("t", "x")), FULL);
        assert_eq!(world.ask(&old, old.publish("t", "x")), "refused Busy 1000000");
        assert_eq!(publish(&mut world, &peer, seq(1), "x"), FULL);
        assert_eq!(publish(&mut world, &peer, seq(2), "y"), "refused SequenceGap 1");
        assert_eq!(publish(&mut world, &peer, unknown, "x"), FULL);
        assert_eq!(
            publish(&mut world, &peer, Producer { sequence: 9, ..unknown }, "y"),
            FULL,
            "a new one again"
        );
        let mixed = [done(1, 0), put("t", "x")];
        world.ask(&peer, peer.subscribe_to(Sub::new(1, "t")));
        assert_eq!(world.ask(&peer, peer.batch(&mixed)), format!("{FULL} at 1"));
        assert_eq!(world.ask(&peer, peer.batch_as(seq(1), &mixed)), format!("{FULL} at 1"));
        world.ask(&peer, peer.unsubscribe(1));
    }
    assert_eq!(rows(&world), before, "nothing is to be stored");
    assert_eq!(refusals(&world, RefusalCode::StorageFull), 14);
    world.set_full(false);
    assert_eq!(world.ask(&old, old.publish("t", "x")), "@2");
    assert_eq!(publish(&mut world, &peer, seq(1), "x"), "@3");
    assert_eq!(publish(&mut world, &peer, seq(2), "y"), "@4");
    assert_eq!(publish(&mut world, &peer, unknown, "x"), "@5");
}

#[test]
fn b_50_refused_publishes_without_acknowledgement_are_counted() {
    let (mut world, peer) = world();
    let old = world.connect_as(Version::One);
    for (peer, code) in [(&peer, "StorageFull"), (&old, "Busy")] {
        world.set_full(true);
        for _ in 0..5 {
            peer.publish_with("t", AckLevel::None, &[record(b"x")]);
        }
        world.settle();
        world.set_full(false);
        peer.publish_with("t", AckLevel::None, &[record(b"kept")]);
        world.settle();
        assert_eq!(peer.control(), [format!("5 times refused {code} 1000000")]);
    }
    assert_eq!(world.everything(), ["1/0=a", "1/1=kept", "1/2=kept"]);
}

#[test]
fn b_51_nothing_is_created() {
    let (mut world, peer) = world();
    world.set_full(true);
    let options = TopicOptions::new;
    let refused = [
        peer.create("new", options()),
        peer.publish("new", "x"),
        peer.subscribe_to(Sub::new(1, "new")),
        peer.subscribe_to(Sub::new(1, "t").durable("d")),
        peer.subscribe_to(Sub::new(1, "t").dead_letter(1, "dead")),
    ];
    world.settle();
    assert_eq!(refused.map(|request| peer.answer(request)), [FULL; 5]);
    let declared = world.declare("new", &options(), true);
    assert_eq!(declared.map_err(|refusal| refusal.code), Err(RefusalCode::StorageFull));
    let stats = (world.broker.topic_count(), world.broker.rows().count());
    world.set_full(false);
    assert_eq!(stats, (world.broker.topic_count(), world.broker.rows().count()));
    assert_eq!(world.broker.topic_count(), 1);
    assert_eq!(world.declare("new", &options(), true), Ok(Declared::Created));
    let request = peer.subscribe_to(Sub::new(1, "t").durable("d").dead_letter(1, "dead"));
    assert_eq!(world.ask(&peer, request), "0..1 epoch 1 rewind 0", "there is space");
}

#[test]
fn b_52_whatever_brings_little_goes_on() {
    let (mut world, peer) = world();
    let reader = world.connect_as(Version::Two);
    for (sequence, body) in [(0, "b"), (1, "c"), (2, "d")] {
        publish(&mut world, &peer, seq(sequence), body);
    }
    for name in ["d", "e"] {
        world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").durable(name).window(9)));
        world.ask(&reader, reader.unsubscribe(1));
    }
    world.set_full(true);
    assert_eq!(publish(&mut world, &peer, seq(2), "d"), "@3 again", "a retry");
    assert_eq!(world.ask(&peer, peer.batch_as(seq(3), &[])), "batched", "it uses the sequence up");
    let attach = reader.subscribe_to(Sub::new(1, "t").durable("d").window(9));
    assert_eq!(world.ask(&reader, attach), "0..4 epoch 2 rewind 1");
    reader.stream();
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(world.ask(&reader, reader.batch(&[done(1, 1)])), "batched");
    assert_eq!(world.ask(&reader, reader.nack(1, 2, 0)), "done 2");
    assert_eq!(world.ask(&reader, reader.seek(1, Start::Earliest)), "done 3");
    assert_eq!(world.ask(&reader, reader.seek_durable("t", "e", Start::Latest)), "done 1");
    assert_eq!(world.ask(&reader, reader.unsubscribe(1)), "ended 3");
    assert_eq!(world.ask(&reader, reader.remove_durable("t", "e")), "done 0");
    let plain = reader.subscribe_to(Sub::new(2, "t").window(0));
    assert_eq!(world.ask(&reader, plain), "0..4");
    let settings = TopicOptions::new().retain_forever().max_messages(3);
    assert_eq!(world.ask(&peer, peer.create("t", TopicOptions::new().retain_forever())), "unchanged");
    assert_eq!(world.ask(&peer, peer.alter("t", settings)), "done 0");
    assert_eq!(world.ask(&peer, peer.trim("t", Start::Offset(3))), "2 removed, from 3");
    assert!(world.ask(&peer, peer.describe(Subject::Topic { topic: b"t" })).contains('t'));
    assert_eq!(refusals(&world, RefusalCode::StorageFull), 0);
}

#[test]
fn b_53_a_dead_letter_waits_for_space() {
    let (mut world, peer) = world();
    let reader = world.connect_as(Version::Two);
    let sub = Sub::new(1, "t").durable("d").dead_letter(1, "dead");
    world.ask(&reader, reader.subscribe_to(sub));
    reader.stream();
    world.set_full(true);
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 1");
    world.advance(ms(999));
    assert!(reader.stream().is_empty(), "at least a second");
    world.advance(ms(1));
    assert_eq!(reader.stream(), ["1/0=a #2"]);
    assert_eq!((world.broker.stats().dead_letters_refused, world.broker.stats().dead_letters), (1, 0));
    world.set_full(false);
    world.advance(us(1));
    world.ask(&reader, reader.nack(1, 0, 0));
    assert_eq!(world.broker.stats().dead_letters, 1);
    assert_eq!(world.ask(&peer, peer.publish("dead", "b")), "@1");
}
