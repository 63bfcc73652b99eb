//! Chapter X: batches.

use zaichik_proto::{Overflow, Producer, TopicOptions};

use crate::world::{Dice, Op, Peer, Sub, World, done, keyed, put, put_all, record, secs};

pub(crate) fn ask(world: &mut World, peer: &Peer, operations: &[Op<'_>]) -> String {
    world.ask(peer, peer.batch(operations))
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
