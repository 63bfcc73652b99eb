//! Rule B7: a store that syncs its commits at an interval, and what follows when the machine ends.

use zaichik_client::{Answer, DurableOptions, ErrorClass, PublishOptions, SubscribeOptions};
use zaichik_engine::store::{Key, Op, Row};
use zaichik_proto::{AckLevel, Producer, Start, TopicOptions};

use crate::client::{create, publish as publish_by, subscribe};
use crate::producers::{publish, seq};
use crate::world::{Sub, World, put, record, secs};

/// A world whose store writes and syncs when the test says so, and has the topic "t".
fn world() -> World {
    let mut world = World::new();
    if world.stored.is_none() {
        world.begin_storing();
    }
    let writer = world.topic(TopicOptions::new().retain_forever());
    writer.close();
    world.settle();
    world.stores_at_once = false;
    write(&mut world);
    world.sync();
    world
}

/// The store writes commits until none is due.
fn write(world: &mut World) {
    while let Some(commit) = world.take_commit() {
        world.write_commit(commit.ticket);
        world.settle();
    }
}

fn sync(world: &mut World) {
    world.sync();
    world.settle();
}

#[test]
fn b_40_only_answers_that_were_asked_for_when_durable_wait_for_the_sync() {
    let mut world = world();
    let (writer, careful, reader) = (world.connect(), world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    write(&mut world);
    reader.stream();
    let accepted = writer.publish("t", "a");
    world.settle();
    let durable = careful.publish_with("t", AckLevel::Durable, &[record(b"b")]);
    world.settle();
    assert!(!world.broker.wants_sync(), "nothing of it is written");
    write(&mut world);
    assert_eq!((writer.answer(accepted), careful.answer(durable)), ("@0".into(), "-".into()));
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    assert!(world.broker.wants_sync());
    // What follows on that connection keeps its place.
    let after = careful.publish("t", "c");
    world.settle();
    write(&mut world);
    assert_eq!((careful.answer(after), reader.stream()), ("-".into(), vec!["1/2=c".to_owned()]));
    sync(&mut world);
    assert_eq!((careful.answer(durable), careful.answer(after)), ("@1".into(), "@2".into()));
    assert!(!world.broker.wants_sync());
    let accepted = careful.publish("t", "d");
    world.settle();
    write(&mut world);
    assert_eq!(careful.answer(accepted), "@3");
    assert!(!world.broker.wants_sync(), "nobody waits for it");
}

#[test]
fn b_40_a_batch_may_ask_for_durable() {
    let mut world = world();
    let peer = world.connect();
    let batch = peer.batch_with(None, AckLevel::Durable, &[put("t", "a")]);
    world.settle();
    write(&mut world);
    assert_eq!((peer.answer(batch), world.broker.wants_sync()), ("-".into(), true));
    sync(&mut world);
    assert_ne!(peer.answer(batch), "-");
}

#[test]
fn b_40_a_sync_is_asked_for_although_more_is_always_under_way() {
    let mut world = world();
    let peer = world.connect();
    let mut requests = Vec::new();
    for _ in 0..9 {
        requests.push(peer.publish_with("t", AckLevel::Durable, &[record(b"x")]));
        world.settle();
        let commit = world.take_commit().expect("a record is to be stored");
        requests.push(peer.publish_with("t", AckLevel::Durable, &[record(b"y")]));
        requests.push(peer.publish("t", "z"));
        world.settle();
        world.write_commit(commit.ticket);
        world.settle();
        assert!(world.broker.wants_sync());
    }
    write(&mut world);
    assert!(requests.iter().all(|request| peer.answer(*request) == "-"));
    sync(&mut world);
    assert!(requests.iter().all(|request| peer.answer(*request) != "-"));
    assert!(!world.broker.wants_sync());
}

#[test]
fn b_41_a_retry_that_asks_for_durable_waits_for_a_sync_too() {
    let mut world = world();
    let peer = world.connect();
    let first = peer.publish_as(Some(seq(1)), "t", AckLevel::Accepted, &[record(b"a")]);
    world.settle();
    write(&mut world);
    assert_eq!(peer.answer(first), "@0");
    let retry = peer.publish_as(Some(seq(1)), "t", AckLevel::Durable, &[record(b"a")]);
    world.settle();
    assert_eq!((peer.answer(retry), world.broker.wants_sync()), ("-".into(), true));
    sync(&mut world);
    assert_eq!(peer.answer(retry), "@0");
    let again = peer.publish_as(Some(seq(1)), "t", AckLevel::Durable, &[record(b"a")]);
    world.settle();
    assert_eq!(peer.answer(again), "@0", "everything is synced");
}

#[test]
fn b_42_another_instance_forgets_producers_and_moves_cursors_to_the_end() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().compaction_window(secs(60));
    let writer = world.topic(options);
    world.ask(&writer, writer.publish_keyed("t", "k", "a"));
    for (sequence, body) in (1..).zip(["b", "c"]) {
        publish(&mut world, &writer, seq(sequence), body);
    }
    publish(&mut world, &writer, Producer { id: 9, ..seq(5) }, "d");
    let within = Sub::new(1, "t").window(9).durable("within");
    let beyond = Sub::new(2, "t").window(9).durable("beyond");
    for sub in [within, beyond] {
        world.ask(&writer, writer.subscribe_to(sub));
    }
    world.ask(&writer, writer.commit(1, 0));
    world.ask(&writer, writer.seek(2, Start::Offset(50)));
    let rows: Vec<Row> = world.broker.rows().collect();
    world.lose_commits(&rows, 77);
    world.stored = None;
    let peer = world.connect();
    assert_eq!(peer.instance(), Some(77));
    assert_eq!(world.ask(&peer, peer.create("t", options)), "unchanged");
    assert_eq!(world.ask(&peer, peer.publish_keyed("t", "k", "again")), "none 0=@0");
    assert_eq!(world.ask(&peer, peer.subscribe_to(within)), "1..4 epoch 2 rewind 1");
    assert_eq!(world.ask(&peer, peer.subscribe_to(beyond)), "4..4 epoch 2 rewind 2");
    assert_eq!(peer.stream(), ["1/1=b", "1/2=c", "1/3=d"]);
    assert_eq!(publish(&mut world, &peer, seq(1), "new"), "@4", "the producer is a new one");
    assert_eq!(world.everything().len(), 5);
}

#[test]
fn b_42_a_store_hears_of_another_instance_with_the_first_commit() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever());
    for sequence in 1..4 {
        let big = "x".repeat(usize::try_from(sequence).unwrap());
        publish(&mut world, &writer, seq(sequence), &big);
        publish(&mut world, &writer, Producer { id: 9, ..seq(sequence) }, &big);
    }
    world.ask(&writer, writer.subscribe_to(Sub::new(1, "t").durable("d")));
    world.ask(&writer, writer.seek(1, Start::Offset(50)));
    let rows: Vec<Row> = world.broker.rows().collect();
    world.lose_commits(&rows, 77);
    world.begin_storing_with(&rows);
    world.stores_at_once = false;
    // The store is compared with the broker after that commit.
    let commit = world.take_commit().expect("the instance is to be stored");
    let meta = commit.ops.first().expect("at least that");
    assert!(matches!(meta, Op::Put { row: Row::Meta(meta) } if meta.instance == 77), "{meta:?}");
    for row in rows.iter().filter(|row| matches!(row, Row::Producer(_) | Row::Answer(_))) {
        assert!(commit.ops.contains(&Op::Remove { key: row.key() }), "{:?}", row.key());
    }
    let is_cursor = |op: &Op| matches!(op, Op::Put { row } if matches!(row.key(), Key::Cursor { .. }));
    assert!(commit.ops.iter().any(is_cursor));
}

#[test]
fn b_60_each_broker_restored_from_a_copy_is_another_instance_until_its_first_commit() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever());
    publish(&mut world, &writer, seq(1), "a");
    let rows: Vec<Row> = world.broker.rows().collect();
    for instance in [77, 78, 79] {
        // Nothing of the one before was stored.
        world.lose_commits(&rows, instance);
        world.stored = None;
        let peer = world.connect();
        assert_eq!(peer.instance(), Some(instance));
        assert_eq!(publish(&mut world, &peer, seq(1), "b"), "@1", "the producer is a new one");
    }
}

#[test]
fn b_43_a_client_hears_that_the_broker_restarted_and_continues_at_the_stored_cursor() {
    let mut world = World::new();
    let client = world.client();
    create(&mut world, client, "t", TopicOptions::new().retain_forever());
    let options = SubscribeOptions::new().window(9).durable(DurableOptions::new("d"));
    let sub = subscribe(&mut world, client, "t", options);
    for body in ["a", "b", "c"] {
        publish_by(&mut world, client, "t", body).unwrap();
    }
    assert_eq!(world.take(client, sub), ["0=a", "1=b", "2=c"]);
    world.done(client, |client, now| client.commit(now, sub, 0)).unwrap();
    world.settle();
    let left: Vec<Row> = world.broker.rows().collect();
    // What is committed and published from here on is lost.
    world.done(client, |client, now| client.commit(now, sub, 2)).unwrap();
    assert_eq!(publish_by(&mut world, client, "t", "lost"), Ok(3));
    assert_eq!(world.take(client, sub), ["3=lost"]);
    let pending = world
        .call(client, |client, now| client.publish(now, "t", &[record(b"p")], PublishOptions::new()))
        .unwrap();
    world.break_after(client, 1_000_000, 0);
    world.step();
    world.break_link(client, false);
    world.settle();
    world.lose_commits(&left, 77);
    world.break_link(client, true);
    world.advance(secs(10));
    let answer = world.answer(client, pending);
    let Some(Err(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.class(), ErrorClass::Unknown, "{error}");
    assert_eq!(world.take(client, sub), ["restarted 1", "1=b", "2=c"]);
    let next =
        world.done(client, |client, now| client.publish(now, "t", &[record(b"new")], PublishOptions::new()));
    assert!(matches!(next, Ok(Answer::Published(_))), "{next:?}");
    assert_eq!(world.take(client, sub), ["3=new"], "the offset of the lost one is given again");
}
