//! Rule B6: what leaves waits for the store.

use zaichik_engine::store::{Key, Op};
use zaichik_engine::{Broker, BrokerConfig, CloseReason, Seed, Status};
use zaichik_proto::{AckLevel, ClientFrame, Commit, Counter, Producer, Subject, TopicOptions};

use crate::world::{Sub, World, encoded, put, record, secs, us};

/// A world whose store finishes a commit when the test says so, and has the topic "t".
fn world() -> World {
    let mut world = World::new();
    if world.stored.is_none() {
        world.begin_storing();
    }
    let writer = world.topic(TopicOptions::new().retain_forever());
    writer.close();
    world.settle();
    commit(&mut world);
    world.stores_at_once = false;
    world
}

/// The store takes and finishes commits until none is due.
fn commit(world: &mut World) {
    while let Some(commit) = world.take_commit() {
        world.finish_commit(commit.ticket);
        world.settle();
    }
}

#[test]
fn b_13_answers_and_deliveries_wait_for_the_commit_that_has_them() {
    let mut world = world();
    let (writer, reader) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    commit(&mut world);
    reader.stream();
    let request = writer.publish("t", "a");
    world.settle();
    assert_eq!((writer.answer(request), reader.stream()), ("-".into(), vec![]), "nothing is stored");
    let first = world.take_commit().expect("the record is to be stored");
    // What comes while the store is busy waits for the next commit.
    let next = writer.publish("t", "b");
    world.settle();
    assert!(world.take_commit().is_none(), "one at a time");
    world.finish_commit(first.ticket);
    world.settle();
    assert_eq!((writer.answer(request), writer.answer(next)), ("@0".into(), "-".into()));
    assert_eq!(reader.stream(), ["1/0=a"]);
    commit(&mut world);
    assert_eq!((writer.answer(next), reader.stream()), ("@1".into(), vec!["1/1=b".to_owned()]));
}

#[test]
fn b_13_what_is_stored_is_delivered_without_another_commit() {
    let mut world = world();
    let (writer, reader) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1)));
    for body in ["a", "b", "c"] {
        writer.publish("t", body);
    }
    world.settle();
    commit(&mut world);
    assert_eq!(reader.stream(), ["1/0=a"]);
    for (offset, delivered) in [(0, "1/1=b"), (1, "1/2=c")] {
        let quietly = Commit { request: 9, subscription: 1, offset, rewind: None, quiet: true };
        reader.request(|request| ClientFrame::Commit(Commit { request, ..quietly }));
        world.settle();
        assert_eq!(reader.stream(), [delivered]);
        assert_eq!(world.broker.next_commit(), None, "only a cursor moved that is not stored");
    }
}

#[test]
fn b_20_durable_is_answered_like_accepted() {
    let mut world = world();
    let writer = world.connect();
    let levels = [AckLevel::Durable, AckLevel::Accepted, AckLevel::Durable, AckLevel::Durable];
    let requests = levels.map(|level| writer.publish_with("t", level, &[record(b"x")]));
    world.settle();
    assert_eq!(requests.map(|request| writer.answer(request)), ["-"; 4]);
    commit(&mut world);
    assert_eq!(requests.map(|request| writer.answer(request)), ["@0", "@1", "@2", "@3"]);
}

#[test]
fn b_13_an_answer_that_tells_of_what_is_not_stored_waits_too() {
    let mut world = world();
    let (writer, asking) = (world.connect(), world.connect());
    writer.publish("t", "a");
    world.settle();
    let request = asking.subscribe_to(Sub::new(1, "t").window(0));
    world.settle();
    assert_eq!(asking.answer(request), "-", "it would tell of offset 1");
    commit(&mut world);
    assert_ne!(asking.answer(request), "-");
}

#[test]
fn b_13_a_dead_letter_of_a_connection_that_ended_waits_too() {
    let mut world = world();
    let (writer, failing, reader) = (world.connect(), world.connect(), world.connect());
    let sub = Sub::new(1, "t").durable("d").dead_letter(1, "dead");
    world.ask(&failing, failing.subscribe_to(sub));
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "dead").window(9)));
    writer.publish("t", "a");
    world.settle();
    commit(&mut world);
    assert_eq!(failing.stream().last().map(String::as_str), Some("1/0=a"));
    reader.stream();
    // Nobody asked for what the end of the connection changes.
    failing.cut();
    world.settle();
    assert_eq!(world.broker.stats().dead_letters, 1);
    assert!(reader.stream().is_empty(), "it is in no commit");
    commit(&mut world);
    assert_eq!(reader.stream().len(), 1);
}

#[test]
fn b_14_a_ping_is_answered_while_answers_wait() {
    let mut world = world();
    let peer = world.connect();
    let request = peer.publish("t", "a");
    world.settle();
    peer.send(&ClientFrame::Ping { nonce: 7 });
    world.settle();
    assert_eq!(peer.control(), ["pong 7"]);
    assert_eq!(peer.answer(request), "-");
    // Nothing waits on this connection.
    let other = world.connect();
    other.send(&ClientFrame::Ping { nonce: 8 });
    world.settle();
    assert_eq!(other.control(), ["pong 8"]);
    commit(&mut world);
    assert_eq!(peer.answer(request), "@0");
}

#[test]
fn b_15_nothing_that_waits_is_sent_once_the_store_failed() {
    let mut world = world();
    let (writer, reader) = (world.connect(), world.connect());
    let request = writer.publish("t", "a");
    world.settle();
    let _commit = world.take_commit().expect("the record is to be stored");
    world.fail_store();
    world.settle();
    assert_eq!(writer.answer(request), "-");
    for peer in [&writer, &reader] {
        assert_eq!((world.status(peer), world.reason(peer)), (Status::Closed, Some(CloseReason::Internal)));
    }
    assert!(world.broker.has_failed());
    assert!(world.take_commit().is_none());
    let late = world.dial();
    late.hello(b"");
    world.settle();
    assert_eq!(world.status(&late), Status::Closed, "no connection is accepted any more");
}

#[test]
fn b_16_what_nobody_waits_for_is_stored_after_a_while() {
    let mut world = world();
    let peer = world.connect();
    world.ask(&peer, peer.create("brief", TopicOptions::new().retention_ttl(secs(1))));
    world.ask(&peer, peer.publish("brief", "a"));
    commit(&mut world);
    world.advance(secs(1));
    // The record has died, and its memory was freed.
    assert!(world.take_commit().is_none(), "that is not worth a commit");
    let due = world.broker.next_commit().expect("it is stored later");
    assert!(due <= world.now + us(100_000), "{due:?}");
    world.jump(due);
    let late = world.take_commit().expect("it is due");
    assert!(late.ops.len() > 1, "{late:?}");
    world.finish_commit(late.ticket);
    world.settle();
    assert_eq!(world.broker.next_commit(), None);
}

#[test]
fn b_16_what_is_not_answered_is_stored_after_a_while() {
    let mut world = world();
    let peer = world.connect();
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").durable("d").window(9)));
    peer.publish("t", "a");
    world.settle();
    commit(&mut world);
    let commit_quietly = |request| Commit { request, subscription: 1, offset: 0, rewind: None, quiet: true };
    peer.request(|request| ClientFrame::Commit(commit_quietly(request)));
    let (ack, records) = (AckLevel::None, [record(b"x")]);
    peer.publish_with("unread", ack, &records);
    world.settle();
    assert!(world.take_commit().is_none(), "nobody waits for it");
    world.jump(world.now + us(99_999));
    assert!(world.take_commit().is_none());
    world.jump(world.now + us(1));
    let late = world.take_commit().expect("it is due");
    world.finish_commit(late.ticket);
    peer.publish_with("unread", ack, &records);
    world.settle();
    assert!(world.take_commit().is_none(), "nobody waits for it");
    world.drain(secs(5));
    assert!(world.take_commit().is_some(), "a stopping broker stores it at once");
}

#[test]
fn b_21_a_client_that_breaks_the_protocol_receives_the_answers_before_that() {
    let mut world = world();
    let peer = world.connect();
    let request = peer.publish("t", "a");
    peer.send_bytes(&[0xff; 8]);
    world.settle();
    assert_eq!((peer.answer(request), world.status(&peer)), ("-".into(), Status::Closing));
    commit(&mut world);
    assert_eq!(peer.answer(request), "@0");
    assert_eq!(world.status(&peer), Status::Closed);
}

#[test]
fn b_17_a_batch_is_in_one_commit() {
    let mut world = world();
    let peer = world.connect();
    let request = peer.batch(&[put("t", "a"), put("t", "b"), put("u", "c")]);
    world.settle();
    assert_eq!(peer.answer(request), "-");
    let before = world.stored.as_ref().expect("a store").iter().count();
    let one = world.take_commit().expect("the batch is to be stored");
    assert!(world.stored.as_ref().expect("a store").iter().count() > before);
    let rows: Vec<_> = world.stored.as_ref().expect("a store").iter().cloned().collect();
    let restored = world.restore(&encoded(&rows), world.now).expect("consistent rows");
    assert_eq!(restored.topic_count(), 2);
    world.finish_commit(one.ticket);
    world.settle();
    assert_ne!(peer.answer(request), "-");
    assert!(world.take_commit().is_none());
}

#[test]
fn b_18_requests_wait_while_much_is_not_in_a_commit() {
    let mut world = world();
    let peer = world.connect();
    let body = "x".repeat(500_000);
    let requests: Vec<_> = (0..40).map(|_| peer.publish("t", &body)).collect();
    world.settle();
    let end = world.broker.stats().records_accepted;
    assert!((16..40).contains(&end), "{end} records of 500 kB");
    commit(&mut world);
    let answers: Vec<_> = requests.iter().map(|request| peer.answer(*request)).collect();
    assert!(answers.iter().all(|answer| answer.starts_with('@')), "{answers:?}");
}

#[test]
fn b_18_requests_wait_while_many_rows_are_not_in_a_commit() {
    let mut world = world().checked_at_rest();
    let peer = world.connect();
    let names: Vec<_> = (0..5_000).map(|number| format!("many.{number}")).collect();
    let requests: Vec<_> = names.iter().map(|name| peer.create(name, TopicOptions::new())).collect();
    world.settle();
    assert_eq!(world.broker.topic_count(), 1 + 4_096);
    commit(&mut world);
    assert_eq!(world.broker.topic_count(), 1 + 5_000);
    assert!(requests.iter().all(|request| peer.answer(*request) == "created"));
}

#[test]
fn b_24_counters_are_told_while_answers_wait() {
    let mut world = world();
    let (peer, other) = (world.connect(), world.connect());
    let request = peer.publish("t", "a");
    world.settle();
    let counters = other.describe(Subject::Broker);
    let page = other.describe(Subject::Topic { topic: b"t" });
    let behind = other.describe(Subject::Broker);
    world.settle();
    assert!(other.answer(counters).starts_with("counters Connections 2"), "nothing before them waits");
    assert_eq!([other.answer(page), other.answer(behind)], ["-", "-"], "the topic has a record");
    let own = peer.describe(Subject::Broker);
    world.settle();
    assert_eq!([peer.answer(request), peer.answer(own)], ["-", "-"]);
    commit(&mut world);
    assert_eq!(peer.answer(request), "@0");
    assert!([peer.answer(own), other.answer(behind)].iter().all(|answer| answer.starts_with("counters")));
}

#[test]
fn b_24_counters_and_pings_are_answered_while_requests_wait() {
    let mut world = world().checked_at_rest();
    let (peer, asking, leaving) = (world.connect(), world.connect(), world.connect());
    let names: Vec<_> = (0..5_000).map(|number| format!("many.{number}")).collect();
    for name in &names {
        peer.create(name, TopicOptions::new());
    }
    world.settle();
    let waits = |world: &World| world.broker.topic_count() < 5_000;
    assert!(waits(&world));
    asking.send(&ClientFrame::Ping { nonce: 7 });
    let counters = asking.describe(Subject::Broker);
    leaving.send(&ClientFrame::Close);
    let commit = asking.subscribe_to(Sub::new(1, "t"));
    world.settle();
    assert!(asking.answer(counters).starts_with("counters"));
    assert_eq!(asking.control(), ["pong 7"]);
    assert_eq!(asking.answer(commit), "-");
    assert_eq!(world.status(&leaving), Status::Closed);
    assert!(waits(&world), "nothing was stored");
    self::commit(&mut world);
    assert_ne!(asking.answer(commit), "-");
}

#[test]
fn b_19_a_connection_whose_answers_wait_outlives_the_end_of_its_stream() {
    let mut world = world();
    let peer = world.connect();
    let request = peer.publish("t", "a");
    peer.close();
    world.advance(secs(1));
    assert_eq!(peer.answer(request), "-");
    commit(&mut world);
    assert_eq!(peer.answer(request), "@0");
    assert_eq!(world.status(&peer), Status::Closed);
}

#[test]
fn b_22_a_commit_removes_what_has_ended_by_then() {
    let mut world = world();
    let peer = world.connect();
    peer.subscribe_to(Sub::new(1, "t").durable("d").inactive(5_000_000));
    let producer = Some(Producer { id: 7, epoch: 1, sequence: 0 });
    peer.publish_as(producer, "t", AckLevel::Accepted, &[record(b"a")]);
    world.settle();
    commit(&mut world);
    peer.close();
    world.settle();
    commit(&mut world);
    // Housekeeping is late.
    world.stop_housekeeping();
    world.jump(world.now + world.broker.config().producer_ttl);
    let other = world.connect();
    other.publish("t", "b");
    world.settle();
    let commit = world.take_commit().expect("the record is to be stored");
    let removed: Vec<_> = commit.ops.iter().filter(|op| matches!(op, Op::Remove { .. })).collect();
    assert!(removed.contains(&&Op::Remove { key: Key::Producer { producer: 7 } }), "{removed:?}");
    assert!(removed.iter().any(|op| matches!(op, Op::Remove { key: Key::Cursor { .. } })), "{removed:?}");
}

#[test]
fn changed_rows_are_counted_until_a_commit_takes_them() {
    let rows = |world: &World| {
        let mut counters = world.broker.counters();
        counters.find(|one| one.counter == Counter::StorageChangedRows).map(|one| one.value)
    };
    let mut world = world();
    assert_eq!(rows(&world), Some(0));
    let peer = world.connect();
    for number in 0..3 {
        peer.create(&format!("many.{number}"), TopicOptions::new());
    }
    world.settle();
    assert_eq!(rows(&world), Some(3));
    let taken = world.take_commit().expect("somebody waits");
    assert_eq!(rows(&world), Some(0), "they are in a commit");
    world.finish_commit(taken.ticket);
    let broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2)).unwrap();
    assert!(broker.counters().all(|one| one.counter != Counter::StorageChangedRows), "there is no store");
}
