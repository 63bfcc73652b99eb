//! Chapter X: batches that are refused, and leave no trace.

use zaichik_engine::NoteEvent;
use zaichik_proto::{AckLevel, Overflow, TopicOptions};

use crate::batches::ask;
use crate::world::{Op, Sub, World, done, keyed, put, put_all, record, secs};

/// Everything about the broker that is visible from outside, to show whether a refused batch left a trace.
fn fingerprint(world: &World) -> String {
    let (stats, ledger) = (world.broker.stats(), world.broker.ledger());
    let topics = world.broker.topic_count();
    format!(
        "{topics} {} {} {:?}",
        stats.records_accepted,
        stats.duplicates,
        (ledger.subscriptions, ledger.producers)
    )
}

#[test]
fn x_01_a_batch_whose_third_operation_is_too_large_has_no_effect() {
    let mut world = World::with(|config| config.wire.max_message = 1_000);
    let (peer, reader) = (world.topic(TopicOptions::new().retain_forever()), world.connect());
    for (number, topic) in (0..).zip(["t", "u", "v"]) {
        world.ask(&reader, reader.subscribe_to(Sub::new(number, topic).window(0)));
    }
    let large = vec![b'x'; 1_001];
    let before = fingerprint(&world);
    let operations = [put("t", "a"), put("u", "b"), put("v", "c"), put_all("t", &[record(&large)])];
    assert_eq!(ask(&mut world, &peer, &operations), "refused TooLarge 1000 at 3");
    assert_eq!(fingerprint(&world), before);
    assert!(reader.stream().is_empty());
    assert_eq!(ask(&mut world, &peer, &operations[..3]), "batched 0@0 1@0 2@0", "no offset was used");
    assert_eq!(reader.stream(), ["0/0=a", "1/0=b", "2/0=c"]);
}

/// Every reason for which an operation can fail, each after operations that would succeed.
#[test]
fn x1_each_failing_operation_is_named_and_leaves_no_trace() {
    let mut world = World::with(|config| config.max_topics = 6);
    let (peer, other) = (world.topic(TopicOptions::new()), world.connect());
    let bounded = || TopicOptions::new().retain_forever().max_messages(3);
    world.ask(&peer, peer.create("reject", bounded().overflow(Overflow::Reject)));
    world.ask(&peer, peer.create("small", bounded().max_bytes(60)));
    let one_key = TopicOptions::new().compaction_window(secs(60)).max_keys(1);
    world.ask(&peer, peer.create("keys", one_key.retain_forever()));
    world.ask(&peer, peer.subscribe(1, "t"));
    world.ask(&peer, peer.subscribe_to(Sub::new(2, "small").window(0)));
    world.ask(&other, other.subscribe(9, "t"));
    world.publish(&peer, &["0", "1"]);
    for _ in 0..2 {
        world.ask(&peer, peer.publish("reject", "x"));
    }
    let name = "n".repeat(256);
    let cases: [(Op<'_>, &str); 16] = [
        (put("", "x"), "InvalidTopic"),
        (put("$sys", "x"), "InvalidTopic"),
        (put(&name, "x"), "InvalidTopic"),
        (Op::Publish(b"\xff", vec![record(b"x")]), "InvalidTopic"),
        (put("a\tb", "x"), "InvalidTopic"),
        // The batch has created the sixth topic before.
        (put("seventh", "x"), "TopicsFull 6"),
        (put("reject", "x"), "TopicFull"),
        (put_all("reject", &[record(b"x"); 4]), "TooLarge 3"),
        (put_all("small", &[record(&[b'x'; 50])]), "TooLarge 60"),
        (put_all("keys", &[keyed("k", b""), keyed("l", b"")]), "KeysFull 1"),
        (done(7, 0), "NotSubscribed"),
        (done(9, 0), "NotSubscribed"),
        (done(1, 1), "CommitAhead 1"),
        (done(1, u64::MAX), "CommitAhead 1"),
        (done(2, 0), "CommitsOff"),
        (put_all("small", &[record(b"a"), record(b"b"), record(b"c")]), "TooLarge 3"),
    ];
    assert_eq!(peer.stream(), ["1/0=0"]);
    let before = fingerprint(&world);
    for (failing, refusal) in cases {
        let operations = [
            put("reject", "y"),
            put("fifth", "y"),
            put_all("keys", &[record(b"no key")]),
            put("sixth", "y"),
            put("small", "y"),
            done(1, 0),
            put("t", "y"),
            failing,
            put("t", "never looked at"),
        ];
        let answer = ask(&mut world, &peer, &operations);
        assert_eq!(answer, format!("refused {refusal} at 7"), "{:?}", operations[7]);
        assert_eq!(fingerprint(&world), before, "{:?}", operations[7]);
        assert!(peer.stream().is_empty(), "nothing was committed, so nothing more is delivered");
    }
    assert_eq!(world.ask(&peer, peer.publish_keyed("keys", "m", "")), "@0", "no key is remembered");
    assert_eq!(world.ask(&peer, peer.publish("fifth", "")), "@0 new");
    assert_eq!(world.ask(&peer, peer.publish("reject", "")), "@2");
    assert_eq!(world.ask(&peer, peer.publish("small", "")), "@0");
    assert_eq!(world.ask(&peer, peer.commit(1, 0)), "done 1");
    assert_eq!(world.ask(&peer, peer.publish("t", "")), "@2");
}

#[test]
fn x_05_keys_of_a_refused_batch_are_not_remembered() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().compaction_window(secs(60)));
    world.ask(&peer, peer.publish_keyed("t", "old", "0"));
    let operations = [
        put_all("t", &[keyed("k", b"1"), keyed("old", b"2")]),
        put_all("t", &[keyed("k", b"3"), keyed("l", b"4")]),
        done(1, 0),
    ];
    assert_eq!(ask(&mut world, &peer, &operations), "refused NotSubscribed at 2");
    let answer =
        world.ask(&peer, peer.publish_all("t", &[keyed("l", b""), keyed("old", b""), keyed("k", b"")]));
    assert_eq!(answer, "@1 1=@0");
}

#[test]
fn x_06_topics_of_a_refused_batch_are_not_created() {
    let mut world = World::with(|config| config.max_topics = 3);
    let (peer, other) = (world.topic(TopicOptions::new()), world.connect());
    world.take_notes();
    let operations = [put("a", "x"), put("t", "x"), put("b", "x"), put("a", "y"), put("c", "x")];
    for _ in 0..3 {
        assert_eq!(ask(&mut world, &peer, &operations), "refused TopicsFull 3 at 4");
        assert_eq!(world.broker.topic_count(), 1);
    }
    let created =
        world.take_notes().iter().filter(|note| note.event == NoteEvent::TopicCreatedImplicitly).count();
    assert_eq!(created, 0, "and the log mentions none");
    assert_eq!(ask(&mut world, &peer, &operations[1..4]), "batched 0@0 1@0new 2@0new");
    let created =
        world.take_notes().into_iter().filter(|note| note.event == NoteEvent::TopicCreatedImplicitly);
    assert!(created.filter_map(|note| note.topic).map(|name| name.to_string()).eq(["b", "a"]));
    // They are implicit.
    assert_eq!(world.ask(&other, other.create("b", TopicOptions::new().retain_forever())), "adopted");
}

#[test]
fn x_09_more_than_a_thousand_operations_are_refused() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    let operations: Vec<_> = (0..1_025).map(|_| put("t", "x")).collect();
    assert_eq!(ask(&mut world, &peer, &operations[..1_001]), "refused BatchTooLong 1000 at 1000");
    assert_eq!(ask(&mut world, &peer, &operations[..1_024]), "refused BatchTooLong 1000 at 1000");
    assert_eq!(world.broker.stats().records_accepted, 0);
    assert!(ask(&mut world, &peer, &operations[..1_000]).ends_with(" 999@999"));
    assert_eq!(ask(&mut world, &peer, &operations), "-");
    assert_eq!(peer.control(), ["fatal CountTooLarge"]);
    assert_eq!(world.broker.stats().records_accepted, 1_000);
}

#[test]
fn x_09_records_of_all_operations_count_against_max_records() {
    let mut world = World::with(|config| config.wire.max_records = 5);
    let peer = world.topic(TopicOptions::new());
    let three = put_all("t", &[record(b"x"); 3]);
    let two = put_all("u", &[record(b"x"); 2]);
    assert_eq!(ask(&mut world, &peer, &[three.clone(), two]), "batched 0@0 1@0new");
    assert_eq!(ask(&mut world, &peer, &[three.clone(), three]), "-");
    assert_eq!(peer.control(), ["fatal CountTooLarge"]);
}

#[test]
fn x1_a_batch_whose_records_together_exceed_a_limit_is_too_large() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().max_messages(3).max_bytes(100));
    let three = [put("t", "a"), put("t", "b"), put("t", "c")];
    assert_eq!(ask(&mut world, &peer, &three), "batched 0@0 1@1 2@2");
    let four = [put("t", "d"), put("t", "e"), put("u", "x"), put("t", "f"), put("t", "g")];
    assert_eq!(ask(&mut world, &peer, &four), "refused TooLarge 3 at 4");
    let body = [b'x'; 40];
    let large = [put("t", "d"), put_all("t", &[record(&body)]), put_all("t", &[record(&body)])];
    assert_eq!(ask(&mut world, &peer, &large), "refused TooLarge 100 at 2");
    assert_eq!(world.everything(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(ask(&mut world, &peer, &large[..2]), "batched 0@3 1@4");
    assert_eq!(world.everything(), ["1/2=c", "1/3=d", "1/4=<40>"], "the oldest was dropped");
}

/// In a live-only topic, checking a commit must not free the records it covers.
#[test]
fn x1_records_that_a_refused_batch_would_have_committed_are_kept() {
    let mut world = World::new();
    let (peer, other) = (world.topic(TopicOptions::new()), world.connect());
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(2)));
    world.publish(&other, &["a", "b", "c", "d"]);
    assert_eq!(peer.stream(), ["1/0=a", "1/1=b"]);
    let operations = [done(1, 1), put("t", "e"), put("$bad", "")];
    assert_eq!(ask(&mut world, &peer, &operations), "refused InvalidTopic at 2");
    world.advance(secs(5));
    assert_eq!(world.ask(&peer, peer.commit(1, 0)), "done 1");
    assert_eq!(peer.stream(), ["1/2=c"]);
    assert_eq!(ask(&mut world, &peer, &[done(1, 2), put("t", "e")]), "batched 1@4");
    assert_eq!(peer.stream(), ["1/3=d", "1/4=e"]);
}

#[test]
fn x1_a_batch_beyond_the_last_offset_is_refused_as_a_whole() {
    let mut world = World::with(|config| config.first_offset = u64::MAX - 3);
    let peer = world.topic(TopicOptions::new().retain_forever());
    let four = [put("t", "a"), put("t", "b"), put("t", "c"), put("t", "d")];
    assert_eq!(ask(&mut world, &peer, &four), "refused OffsetsExhausted at 2");
    let max = u64::MAX;
    assert_eq!(ask(&mut world, &peer, &four[..2]), format!("batched 0@{} 1@{}", max - 3, max - 2));
    assert_eq!(ask(&mut world, &peer, &four[..1]), "refused OffsetsExhausted");
}

#[test]
fn x4_durable_and_draining_refuse_the_whole_batch() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    world.ask(&peer, peer.subscribe(1, "t"));
    world.publish(&peer, &["a"]);
    let operations = [done(1, 0), put("u", "b")];
    let request = peer.batch_with(None, AckLevel::Durable, &operations);
    assert_eq!(world.ask(&peer, request), "refused NotDurable");
    world.drain(secs(10));
    assert_eq!(ask(&mut world, &peer, &operations), "refused Draining");
    assert_eq!(ask(&mut world, &peer, &operations[..1]), "refused Draining");
    assert_eq!(ask(&mut world, &peer, &[]), "refused Draining");
    assert_eq!(world.broker.topic_count(), 1);
    assert_eq!(world.ask(&peer, peer.commit(1, 0)), "done 1", "it was not committed by the refused batch");
}

#[test]
fn x6_a_batch_needs_memory_for_all_of_its_records() {
    const BUDGET: u64 = 2 << 20;
    let mut world = World::with_memory(BUDGET, |_| {}).checked_at_rest();
    let peer = world.topic(TopicOptions::new());
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(1_000)));
    let body = vec![b'x'; 20_000];
    let operations: Vec<_> = (0..20).map(|_| put_all("t", &[record(&body)])).collect();
    let mut refusals = 0;
    for _ in 0..20 {
        let before = world.broker.stats().records_accepted;
        let answer = ask(&mut world, &peer, &operations);
        let after = world.broker.stats().records_accepted;
        if answer.starts_with("refused Busy 10000") {
            assert_eq!(after, before);
            refusals += 1;
        } else {
            assert_eq!(after, before + 20, "{answer}");
        }
        assert!(world.memory_of_records() <= BUDGET, "{:?}", world.broker.ledger());
    }
    assert!((5..20).contains(&refusals), "{refusals}");
    // A batch that only commits is always accepted, because commits free memory.
    let last = peer.records().last().unwrap().offset;
    assert_eq!(ask(&mut world, &peer, &[done(1, last)]), "batched");
    world.advance(secs(2));
    assert!(ask(&mut world, &peer, &operations).starts_with("batched 0@"));
}

/// A small record may cost much memory: the allocation that it is appended to doubles.
#[test]
fn x6_a_batch_needs_memory_for_the_growth_of_its_topics() {
    const BUDGET: u64 = 4 << 20;
    let mut world = World::with_memory(BUDGET, |_| {}).checked_at_rest();
    let peer = world.topic(TopicOptions::new());
    world.ask(&peer, peer.subscribe(1, "t"));
    let (names, body) = ((0..40).map(|index| format!("t{index}")).collect::<Vec<_>>(), vec![b'x'; 33_000]);
    for name in &names {
        world.ask(&peer, peer.create(name, TopicOptions::new().retain_forever()));
        world.ask(&peer, peer.publish_all(name, &[record(&body)]));
    }
    while world.memory_of_records() < BUDGET - (1 << 20) {
        world.ask(&peer, peer.publish_all("t", &[record(&body)]));
    }
    let operations: Vec<_> = names.iter().map(|name| put(name, "x")).collect();
    let answer = ask(&mut world, &peer, &operations);
    assert!(answer.starts_with("refused Busy 10000 at "), "{answer}");
    assert!(ask(&mut world, &peer, &operations[..20]).starts_with("batched 0@1 1@1 "));
    assert!(world.memory_of_records() <= BUDGET, "{:?}", world.broker.ledger());
}

#[test]
fn x_04_a_commit_by_a_fenced_holder_refuses_the_whole_batch() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&writer, &["0", "1"]);
    let (old, new) = (world.connect(), world.connect());
    let sub = Sub::new(1, "t").durable("d");
    world.ask(&old, old.subscribe_to(sub));
    world.ask(&new, new.subscribe_to(sub));
    assert_eq!(old.stream(), ["1/0=0", "1 fenced by 2"]);
    let before = fingerprint(&world);
    let operations = [put("out", "x"), done(1, 0)];
    assert_eq!(ask(&mut world, &old, &operations), "refused SubscriptionFenced 2 at 1");
    assert_eq!(fingerprint(&world), before, "no topic, no record, no cursor");
    assert_eq!(ask(&mut world, &new, &operations), "batched 0@0new");
    assert_eq!(new.stream(), ["1/0=0 #2", "1/1=1"], "its commit made room");
}

#[test]
fn x1_a_refused_batch_is_noted_with_the_topic_of_its_operation() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().max_bytes(20));
    world.take_notes();
    assert_eq!(ask(&mut world, &peer, &[put("u", "x"), put("t", "12345")]), "refused TooLarge 20 at 1");
    let notes = world.take_notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0].topic.as_deref(), Some("t"));
    assert!(matches!(notes[0].event, NoteEvent::Refused(refusal) if refusal.operation == 1));
    assert_eq!(world.broker.stats().refused, 1);
}
