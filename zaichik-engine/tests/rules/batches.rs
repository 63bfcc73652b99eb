//! Chapter X: batches.

use zaichik_engine::NoteEvent;
use zaichik_proto::{AckLevel, Overflow, Producer, TopicOptions};

use crate::world::{Dice, Op, Peer, Sub, World, done, keyed, put, put_all, record, secs};

fn ask(world: &mut World, peer: &Peer, operations: &[Op<'_>]) -> String {
    world.ask(peer, peer.batch(operations))
}

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
fn x1_publishes_to_any_topics_and_commits_in_one_step() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&peer, &["0", "1"]);
    world.ask(&peer, peer.subscribe(1, "t"));
    assert_eq!(peer.stream(), ["1/0=0"]);
    let operations = [
        put("t", "a"),
        put_all("u", &[record(b"b"), record(b"c")]),
        done(1, 0),
        put("t", "d"),
        put("u", "e"),
        put("v", "f"),
    ];
    let answer = ask(&mut world, &peer, &operations);
    assert_eq!(answer, "batched 0@2 1@0new 3@3 4@2 5@0new");
    assert_eq!(peer.stream(), ["1/1=1"], "the committed record makes room for the next one");
    assert_eq!(world.everything(), ["1/0=0", "1/1=1", "1/2=a", "1/3=d"]);
    let stats = world.broker.stats();
    assert_eq!((stats.records_accepted, stats.refused), (2 + 6, 0));
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
fn x_02_no_reader_ever_sees_part_of_a_batch() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        let peer = world.topic(TopicOptions::new().retain_forever());
        let readers: Vec<_> = (0..4).map(|_| world.connect()).collect();
        for (reader, window) in readers.iter().zip([0, 1, 3, 1_000]) {
            for (number, topic) in (0..).zip(["t", "u"]) {
                world.ask(reader, reader.subscribe_to(Sub::new(number, topic).window(window)));
            }
        }
        for round in 0..10 {
            let bodies: Vec<_> = (0..12).map(|index| format!("{round}.{index}")).collect();
            let good = round % 3 != 2;
            let mut operations: Vec<_> =
                bodies.iter().map(|body| put(if dice.below(2) == 0 { "t" } else { "u" }, body)).collect();
            if !good {
                operations.push(put("$bad", ""));
            }
            peer.batch(&operations);
            for _ in 0..dice.below(30) {
                world.stir(&mut dice);
            }
        }
        world.settle();
        let all = readers[0].stream();
        assert_eq!(all.len(), 7 * 12);
        for round in 0..10 {
            let seen = all.iter().filter(|one| one.contains(&format!("={round}."))).count();
            assert_eq!(seen, if round % 3 == 2 { 0 } else { 12 });
        }
        for reader in &readers[1..] {
            for number in 0..2 {
                let of = |seen: &[String]| {
                    let prefix = format!("{number}/");
                    seen.iter().filter(|one| one.starts_with(&prefix)).cloned().collect::<Vec<_>>()
                };
                let (seen, all) = (of(&reader.stream()), of(&all));
                assert_eq!(seen, all[..seen.len()], "readers see the same order");
                reader.stream();
            }
        }
    }
}

/// Between any two exchanges a reader sees all of a batch or none of it.
#[test]
fn x_02_a_reader_that_polls_constantly_sees_all_or_nothing() {
    let mut world = World::new();
    let (peer, reader) = (world.topic(TopicOptions::new().retain_forever()), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    let request = peer.batch(&(0..500).map(|_| put("t", "x")).collect::<Vec<_>>());
    let mut sizes = Vec::new();
    while world.step() {
        sizes.push(reader.stream().len());
    }
    sizes.retain(|size| *size > 0);
    assert_eq!(sizes, [500]);
    assert!(world.ask(&peer, request).starts_with("batched 0@0 1@1 "));
}

#[test]
fn x_03_a_batch_whose_answer_was_lost_has_one_effect() {
    let producer = Producer { id: 1, epoch: 0, sequence: 10 };
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&peer, &["0"]);
    let sub = Sub::new(1, "t").durable("d");
    world.ask(&peer, peer.subscribe_to(sub));
    peer.stop_reading();
    let operations = [put("t", "a"), done(1, 0), put_all("new", &[record(b"b"), record(b"c")])];
    peer.batch_as(producer, &operations);
    world.settle();
    peer.cut();
    world.settle();
    // The retry uses a connection without such a subscription and still gets the answer.
    let again = world.connect();
    assert_eq!(world.ask(&again, again.batch_as(producer, &operations)), "batched 0@1 2@0new");
    assert_eq!(world.everything(), ["1/0=0", "1/1=a"]);
    let start = world.ask(&again, again.subscribe_to(sub));
    assert_eq!(start, "1..2 epoch 2 rewind 1", "it committed once");
    assert_eq!(world.broker.stats().records_accepted, 4);
    let next = Producer { sequence: 11, ..producer };
    assert_eq!(world.ask(&again, again.batch_as(next, &operations[..1])), "batched 0@2");
}

/// The connection breaks at any byte of a batch: all of it takes effect, or nothing.
#[test]
fn x1_a_batch_is_never_torn() {
    let producer = Producer { id: 1, epoch: 0, sequence: 1 };
    let operations = [put("t", "a"), put("u", "b"), put("t", "c")];
    let len = {
        let mut world = World::new();
        let peer = world.connect();
        peer.batch_as(producer, &operations);
        peer.unsent().len()
    };
    for cut in 0..=len {
        let mut world = World::new();
        let (first, second) = (world.connect(), world.connect());
        first.batch_as(producer, &operations);
        let bytes = first.unsent();
        first.send_bytes(&bytes[..cut]);
        world.settle();
        first.cut();
        world.settle();
        let accepted = world.broker.stats().records_accepted;
        assert_eq!(accepted, if cut == len { 3 } else { 0 }, "cut at {cut}");
        let answer = world.ask(&second, second.batch_as(producer, &operations));
        assert_eq!(answer, "batched 0@0new 1@0new 2@1");
        assert_eq!(world.broker.stats().records_accepted, 3);
    }
}

/// A duplicate inside a batch is no error (rule X3).
#[test]
fn x_05_two_operations_with_the_same_key() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().compaction_window(secs(60)));
    let operations = [
        put_all("t", &[record(b"a"), keyed("k", b"first")]),
        put_all("t", &[keyed("k", b"second")]),
        put_all("t", &[keyed("l", b"b"), keyed("k", b"third"), keyed("l", b"c"), record(b"d")]),
    ];
    assert_eq!(ask(&mut world, &peer, &operations), "batched 0@0 1none 2@2 1.0=@1 2.1=@1 2.2=@2");
    assert_eq!(world.everything(), ["1/0=a", "1/1=first", "1/2=b", "1/3=d"]);
    assert_eq!(world.broker.stats().duplicates, 3);
    // Keys that were remembered before.
    let answer = ask(&mut world, &peer, &[put("t", "e"), put_all("t", &[keyed("l", b""), keyed("m", b"f")])]);
    assert_eq!(answer, "batched 0@4 1@5 1.0=@2");
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
fn x_10_batches_are_contiguous_among_other_publishers() {
    let mut world = World::new();
    let peers: Vec<_> = (0..3).map(|_| world.connect()).collect();
    world.ask(&peers[0], peers[0].create("t", TopicOptions::new().retain_forever()));
    let mut dice = Dice::new(7);
    for round in 0..40 {
        for (index, peer) in peers.iter().enumerate() {
            if index == 0 {
                peer.publish("t", "single");
                continue;
            }
            let bodies: Vec<_> = (0..5).map(|part| format!("{index} {round} {part}")).collect();
            let operations: Vec<_> = bodies.iter().map(|body| put("t", body)).collect();
            peer.batch(&operations);
            peer.split_reads(1 + dice.below(90));
        }
        for _ in 0..dice.below(20) {
            world.stir(&mut dice);
        }
    }
    world.settle();
    let all = world.everything();
    assert_eq!(all.len(), 40 * 11);
    for (at, one) in all.iter().enumerate().filter(|(_, one)| one.ends_with(" 0")) {
        let (_, body) = one.split_once('=').unwrap();
        let start = body.strip_suffix('0').unwrap();
        for part in 0..5 {
            assert!(all[at + part].ends_with(&format!("={start}{part}")), "{:?}", &all[at..at + 5]);
        }
    }
}

#[test]
fn x_11_an_empty_batch_is_a_success() {
    let mut world = World::new();
    let peer = world.connect();
    assert_eq!(ask(&mut world, &peer, &[]), "batched");
    let producer = Producer { id: 1, epoch: 0, sequence: 1 };
    assert_eq!(world.ask(&peer, peer.batch_as(producer, &[])), "batched");
    assert_eq!(world.ask(&peer, peer.batch_as(producer, &[])), "batched");
}

#[test]
fn x2_batches_are_answered_in_request_order() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    peer.log();
    let requests = [
        peer.publish("t", "a"),
        peer.publish("t", "b"),
        peer.batch(&[put("t", "c")]),
        peer.publish("t", "d"),
        peer.batch(&[put("$bad", "")]),
        peer.batch(&[]),
        peer.publish("t", "e"),
    ];
    world.settle();
    let answers = ["@0", "@1", "batched 0@2", "@3", "refused InvalidTopic", "batched", "@4"];
    let expected: Vec<_> =
        requests.iter().zip(answers).map(|(request, answer)| format!("#{request} {answer}")).collect();
    assert_eq!(peer.log(), expected);
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

#[test]
fn x1_a_commit_makes_room_for_the_publishes_after_it() {
    for options in [TopicOptions::new().retain_forever(), TopicOptions::new()] {
        let mut world = World::new();
        let peer = world.topic(options.max_messages(3).overflow(Overflow::Reject));
        world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(9)));
        world.publish(&peer, &["a", "b", "c"]);
        assert_eq!(peer.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
        // Before the commit there is no room; after it there is room for as many records as it committed.
        assert_eq!(ask(&mut world, &peer, &[put("t", "d"), done(1, 0)]), "refused TopicFull");
        let operations = [done(1, 1), put("t", "d"), put("t", "e"), put("t", "f")];
        assert_eq!(ask(&mut world, &peer, &operations), "refused TopicFull at 3");
        // A commit of a refused batch has no effect, neither on room nor on delivery.
        assert_eq!(world.ask(&peer, peer.publish("t", "x")), "refused TopicFull");
        assert!(peer.stream().is_empty());
        let operations = [done(1, 0), put("t", "d"), done(1, 1), put("t", "e")];
        assert_eq!(ask(&mut world, &peer, &operations), "batched 1@3 3@4");
        assert_eq!(peer.stream(), ["1/3=d", "1/4=e"]);
        assert_eq!(world.ask(&peer, peer.commit(1, 4)), "done 5");
    }
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
fn x1_commits_of_one_subscription_in_any_order() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&peer, &["a", "b", "c", "d", "e", "f"]);
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(4)));
    assert_eq!(peer.stream().len(), 4);
    assert_eq!(ask(&mut world, &peer, &[done(1, 2), done(1, 0), done(1, 1)]), "batched");
    assert_eq!(world.ask(&peer, peer.commit(1, 0)), "done 3", "the highest commit counts");
    assert_eq!(peer.stream(), ["1/4=e", "1/5=f"]);
    // Records that become deliverable by the batch itself were not delivered before it.
    assert_eq!(
        ask(&mut world, &peer, &[done(1, 3), put("t", "g"), done(1, 6)]),
        "refused CommitAhead 6 at 2"
    );
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
fn x1_a_batch_wakes_the_readers_of_all_its_topics() {
    let mut world = World::new();
    let writer = world.connect();
    let readers: Vec<_> = (0..5).map(|_| world.connect()).collect();
    for (index, reader) in readers.iter().enumerate() {
        world.ask(reader, reader.subscribe(1, &format!("t{index}")));
    }
    // The world checks that no reader is left without a wake.
    let names: Vec<_> = (0..5).map(|index| format!("t{index}")).collect();
    let operations: Vec<_> = names.iter().map(|name| put(name, "x")).collect();
    assert_eq!(ask(&mut world, &writer, &operations), "batched 0@0 1@0 2@0 3@0 4@0");
    assert!(readers.iter().all(|reader| reader.stream() == ["1/0=x"]));
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
