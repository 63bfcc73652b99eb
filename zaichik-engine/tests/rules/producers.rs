//! Rule P3: producers whose retries are stored once.

use zaichik_proto::{AckLevel, Overflow, Producer, Record, TopicOptions};

use crate::world::{Peer, World, done, keyed, put, record, secs};

const ACKS: u8 = 0x43;
const PUBLISHED: u8 = 0x44;

/// Producer 7 in its first epoch.
pub(crate) const fn seq(sequence: u64) -> Producer {
    Producer { id: 7, epoch: 0, sequence }
}

/// Publishes one record to "t" and waits for the answer.
pub(crate) fn publish(world: &mut World, peer: &Peer, producer: Producer, body: &str) -> String {
    publish_to(world, peer, producer, "t", &[record(body.as_bytes())])
}

pub(crate) fn publish_to(
    world: &mut World,
    peer: &Peer,
    producer: Producer,
    topic: &str,
    records: &[Record<'_>],
) -> String {
    let request = peer.publish_as(Some(producer), topic, AckLevel::Accepted, records);
    world.ask(peer, request)
}

#[test]
fn p_01_the_same_sequence_again_gets_the_stored_answer() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    for (sequence, body) in (40..).zip(["a", "b", "c"]) {
        assert_eq!(publish(&mut world, &peer, seq(sequence), body), format!("@{}", sequence - 40));
    }
    // The retry may have other contents, use another connection, and arrive any number of times.
    let other = world.connect();
    for peer in [&peer, &other, &other] {
        assert_eq!(publish(&mut world, peer, seq(41), "something else"), "@1");
        assert_eq!(publish_to(&mut world, peer, seq(40), "another topic", &[record(b"x")]), "@0");
    }
    assert_eq!(publish(&mut world, &other, seq(43), "d"), "@3");
    assert_eq!(world.everything(), ["1/0=a", "1/1=b", "1/2=c", "1/3=d"]);
    assert_eq!(world.broker.topic_count(), 1);
    assert_eq!(world.broker.stats().repeated, 6);
}

#[test]
fn p_01_a_stored_answer_is_repeated_in_full() {
    let mut world = World::new();
    let peer = world.connect();
    let options = TopicOptions::new().retain_forever().compaction_window(secs(60));
    world.ask(&peer, peer.create("keys", options));
    let both = [keyed("k", b"1"), record(b"2"), keyed("k", b"3")];
    let answers = [
        publish(&mut world, &peer, seq(1), "x"),
        publish_to(&mut world, &peer, seq(2), "keys", &both),
        publish_to(&mut world, &peer, seq(3), "keys", &both[..1]),
        publish_to(&mut world, &peer, seq(4), "$bad", &both),
    ];
    assert_eq!(answers, ["@0 new", "@0 2=@0", "none 0=@0", "refused InvalidTopic"]);
    for (sequence, answer) in (1..).zip(answers) {
        assert_eq!(publish(&mut world, &peer, seq(sequence), "x"), answer);
    }
}

#[test]
fn p_01_a_plain_success_is_acknowledged_in_runs_and_repeated_alone() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    world.ask(&peer, peer.subscribe(1, "t"));
    peer.frames();
    let send = |from: u64| {
        let records = [record(b"x")];
        let requests = (from..from + 3).map(seq).map(|producer| {
            let ack = AckLevel::Accepted;
            peer.publish_as(Some(producer), "t", ack, &records)
        });
        requests.collect::<Vec<_>>()
    };
    let first = send(0);
    world.settle();
    let is_answer = |(kind, _): &(u8, usize)| *kind == ACKS || *kind == PUBLISHED;
    let frames: Vec<_> = peer.frames().into_iter().filter(is_answer).collect();
    assert_eq!(frames, [(ACKS, 4 + 16)], "three requests in one run");
    // Two repeats and a new request: the peer checks that answers arrive in request order.
    let again = send(1);
    world.settle();
    let frames: Vec<_> = peer.frames().into_iter().filter(is_answer).map(|(kind, _)| kind).collect();
    assert_eq!(frames, [PUBLISHED, PUBLISHED, ACKS]);
    let answers: Vec<_> = first.iter().chain(&again).map(|request| peer.answer(*request)).collect();
    assert_eq!(answers, ["@0", "@1", "@2", "@1", "@2", "@3"]);
}

#[test]
fn p_01_a_retry_without_acknowledgement_is_still_stored_once() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    world.warm(&peer);
    for sequence in [0, 1, 1, 0, 2, 4, 2, 5] {
        peer.publish_as(Some(seq(sequence)), "t", AckLevel::None, &[record(b"x")]);
    }
    world.settle();
    assert_eq!(world.broker.stats().records_accepted, 3);
    assert_eq!(peer.log(), ["2 times refused SequenceGap 3"]);
    // A retry with acknowledgement gets the answer that was not sent before.
    assert_eq!(publish(&mut world, &peer, seq(1), "x"), "@1");
}

#[test]
fn p_02_a_hole_is_refused_and_nothing_is_appended() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    assert_eq!(publish(&mut world, &peer, seq(5), "a"), "@0", "the first sequence may be any");
    for sequence in [7, 8, 1_000, u64::MAX] {
        assert_eq!(publish(&mut world, &peer, seq(sequence), "b"), "refused SequenceGap 6");
        let request = peer.batch_as(seq(sequence), &[put("new", "b")]);
        assert_eq!(world.ask(&peer, request), "refused SequenceGap 6");
    }
    assert_eq!(publish_to(&mut world, &peer, seq(7), "new", &[record(b"b")]), "refused SequenceGap 6");
    assert_eq!(world.broker.topic_count(), 1);
    assert_eq!(publish(&mut world, &peer, seq(6), "c"), "@1");
    assert_eq!(world.everything(), ["1/0=a", "1/1=c"]);
}

#[test]
fn p3_one_space_of_sequences_over_all_topics_and_both_kinds_of_requests() {
    let mut world = World::new();
    let (peer, other) = (world.connect(), world.connect());
    assert_eq!(publish_to(&mut world, &peer, seq(0), "a", &[record(b"x")]), "@0 new");
    assert_eq!(publish_to(&mut world, &other, seq(1), "b", &[record(b"x")]), "@0 new");
    assert_eq!(world.ask(&peer, peer.batch_as(seq(2), &[put("a", "y")])), "batched 0@1");
    assert_eq!(publish_to(&mut world, &peer, seq(2), "b", &[record(b"y")]), "refused SequenceTooOld");
    assert_eq!(publish_to(&mut world, &peer, seq(3), "b", &[record(b"y")]), "@1");
    assert_eq!(world.ask(&peer, peer.batch_as(seq(3), &[put("a", "y")])), "refused SequenceTooOld");
    // Another producer has its own sequences.
    let another = Producer { id: 8, ..seq(77) };
    assert_eq!(publish_to(&mut world, &peer, another, "a", &[record(b"z")]), "@2");
    assert_eq!(publish_to(&mut world, &peer, seq(3), "a", &[record(b"z")]), "@1");
}

#[test]
fn p_03_a_sequence_older_than_the_remembered_ones_is_too_old() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    assert_eq!(publish(&mut world, &peer, seq(100), "x"), "@0");
    assert_eq!(publish(&mut world, &peer, seq(99), "x"), "refused SequenceTooOld", "below the first one");
    let mut requests = Vec::new();
    for sequence in 101..=100 + 1_024 {
        requests.push(peer.publish_as(Some(seq(sequence)), "t", AckLevel::Accepted, &[record(b"x")]));
    }
    world.settle();
    for (offset, request) in (1..).zip(requests) {
        assert_eq!(peer.answer(request), format!("@{offset}"));
    }
    assert_eq!(publish(&mut world, &peer, seq(100), "x"), "refused SequenceTooOld");
    assert_eq!(publish(&mut world, &peer, seq(101), "x"), "@1", "1,024 are remembered");
    assert_eq!(world.broker.stats().records_accepted, 1_025);
}

#[test]
fn p_03_at_most_64_kib_of_answers_are_remembered() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().compaction_window(secs(60)));
    let duplicates = vec![keyed("k", b""); 2_001];
    // An answer with 2,000 duplicates has 24,017 bytes: two of them fit into 64 KiB, three do not.
    for sequence in 0..3 {
        let answer =
            publish_to(&mut world, &peer, seq(sequence), "t", &duplicates[sequence.min(1) as usize..]);
        assert!(answer.ends_with(" 1999=@0") || answer.ends_with(" 2000=@0"), "{answer}");
    }
    assert_eq!(publish(&mut world, &peer, seq(0), "x"), "refused SequenceTooOld");
    assert!(publish(&mut world, &peer, seq(1), "x").starts_with("none 0=@0"));
}

#[test]
fn p_03_an_answer_above_64_kib_is_not_repeated() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().compaction_window(secs(60)));
    let many = vec![keyed("k", b""); 5_461];
    let answer = publish_to(&mut world, &peer, seq(0), "t", &many);
    assert!(answer.starts_with("@0 1=@0 2=@0") && answer.ends_with(" 5460=@0"));
    assert_eq!(publish_to(&mut world, &peer, seq(0), "t", &many), "refused SequenceTooOld");
    assert_eq!(publish(&mut world, &peer, seq(1), "x"), "@1", "the sequence was used nevertheless");
    assert_eq!(world.broker.stats().records_accepted, 2);
}

#[test]
fn p_04_a_final_refusal_uses_up_the_sequence_and_is_repeated() {
    let mut world = World::with(|config| config.wire.max_message = 1_000);
    let peer = world.topic(TopicOptions::new().max_bytes(2_000));
    let large = vec![b'x'; 1_001];
    let cases: [(&str, &[Record<'_>], &str); 3] = [
        ("$bad", &[record(b"x")], "refused InvalidTopic"),
        ("t", &[record(&large)], "refused TooLarge 1000"),
        ("t", &[record(&large[..990]); 2], "refused TooLarge 2000"),
    ];
    for (sequence, (topic, records, refusal)) in (10..).zip(cases) {
        assert_eq!(publish_to(&mut world, &peer, seq(sequence), topic, records), refusal);
        assert_eq!(publish(&mut world, &peer, seq(sequence), "would be accepted"), refusal);
    }
    let request = peer.publish_as(Some(seq(13)), "t", AckLevel::Durable, &[record(b"x")]);
    assert_eq!(world.ask(&peer, request), "refused NotDurable");
    assert_eq!(publish(&mut world, &peer, seq(13), "x"), "refused NotDurable");
    assert_eq!(publish(&mut world, &peer, seq(14), "x"), "@0");
    assert_eq!(world.broker.stats().records_accepted, 1);
}

#[test]
fn p_04_a_refused_batch_is_repeated_with_its_operation() {
    let mut world = World::new();
    let peer = world.connect();
    let operations = [put("a", "x"), put("b", "x"), done(9, 0)];
    for _ in 0..2 {
        assert_eq!(world.ask(&peer, peer.batch_as(seq(1), &operations)), "refused NotSubscribed at 2");
        assert_eq!(world.ask(&peer, peer.batch_as(seq(1), &[])), "refused NotSubscribed at 2");
        assert_eq!(publish(&mut world, &peer, seq(1), "x"), "refused NotSubscribed");
    }
    assert_eq!(world.broker.topic_count(), 0);
    assert_eq!(world.ask(&peer, peer.batch_as(seq(2), &operations[..2])), "batched 0@0new 1@0new");
}

#[test]
fn p_04_a_retryable_refusal_does_not_use_up_the_sequence() {
    let mut world = World::with(|config| config.max_topics = 3);
    let peer =
        world.topic(TopicOptions::new().retention_ttl(secs(60)).max_messages(2).overflow(Overflow::Reject));
    world.ask(&peer, peer.create("keys", TopicOptions::new().compaction_window(secs(60)).max_keys(1)));
    world.ask(&peer, peer.create("other", TopicOptions::new()));
    assert_eq!(publish(&mut world, &peer, seq(1), "a"), "@0");
    assert_eq!(publish_to(&mut world, &peer, seq(2), "keys", &[keyed("k", b"")]), "@0");
    assert_eq!(publish(&mut world, &peer, seq(3), "b"), "@1");
    // Three requests in flight: the first gets a retryable refusal, so those after it do too.
    for _ in 0..2 {
        let send = |sequence, topic, record| {
            peer.publish_as(Some(seq(sequence)), topic, AckLevel::Accepted, &[record])
        };
        let requests =
            [send(4, "t", record(b"c")), send(5, "other", record(b"d")), send(6, "other", record(b"e"))];
        world.settle();
        let answers = requests.map(|request| peer.answer(request));
        assert_eq!(answers, ["refused TopicFull", "refused SequenceGap 4", "refused SequenceGap 4"]);
    }
    assert_eq!(publish_to(&mut world, &peer, seq(4), "keys", &[keyed("l", b"")]), "refused KeysFull 1");
    assert_eq!(publish_to(&mut world, &peer, seq(4), "new", &[record(b"")]), "refused TopicsFull 3");
    world.advance(secs(60));
    assert_eq!(publish(&mut world, &peer, seq(4), "c"), "@2");
    assert_eq!(publish_to(&mut world, &peer, seq(5), "other", &[record(b"d")]), "@0");
    assert_eq!(publish_to(&mut world, &peer, seq(6), "other", &[record(b"e")]), "@1");
}

/// Later requests must not overtake it, or the retry would find its sequence in the past.
#[test]
fn p_04_the_first_request_of_a_producer_may_get_a_retryable_refusal() {
    let mut world = World::new();
    let peer =
        world.topic(TopicOptions::new().retention_ttl(secs(60)).max_messages(1).overflow(Overflow::Reject));
    world.ask(&peer, peer.publish("t", "full"));
    let send =
        |sequence, topic| peer.publish_as(Some(seq(sequence)), topic, AckLevel::Accepted, &[record(b"x")]);
    let requests = [send(30, "t"), send(31, "u")];
    world.settle();
    assert_eq!(requests.map(|request| peer.answer(request)), ["refused TopicFull", "refused SequenceGap 30"]);
    assert_eq!(publish(&mut world, &peer, seq(29), "x"), "refused SequenceTooOld");
    world.advance(secs(60));
    let requests = [send(30, "t"), send(31, "u")];
    world.settle();
    assert_eq!(requests.map(|request| peer.answer(request)), ["@1", "@0 new"]);
}

#[test]
fn p3_the_last_epoch_and_the_last_sequence() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    let last = |sequence| Producer { id: u128::MAX, epoch: u32::MAX, sequence };
    assert_eq!(publish(&mut world, &peer, last(u64::MAX - 1), "a"), "@0");
    assert_eq!(publish(&mut world, &peer, last(u64::MAX), "b"), "@1");
    assert_eq!(publish(&mut world, &peer, last(u64::MAX), "b"), "@1");
    assert_eq!(publish(&mut world, &peer, last(u64::MAX - 1), "a"), "@0");
    for sequence in [0, 1, u64::MAX - 2] {
        assert_eq!(publish(&mut world, &peer, last(sequence), "c"), "refused SequenceTooOld", "no wrap");
    }
    let lower = Producer { epoch: u32::MAX - 1, ..last(0) };
    let fenced = format!("refused ProducerFenced {}", u32::MAX);
    assert_eq!(publish(&mut world, &peer, lower, "d"), fenced);
    assert_eq!(publish(&mut world, &peer, last(u64::MAX), "b"), "@1");
    assert_eq!(world.broker.stats().records_accepted, 2);
}

/// A retry is recognised by its sequence, not by its key (rule C9).
#[test]
fn p_11_a_retry_gets_the_stored_answer_and_not_a_duplicate() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().compaction_window(secs(60)));
    let keyed = [keyed("k", b"1")];
    assert_eq!(publish_to(&mut world, &peer, seq(1), "t", &keyed), "@0");
    assert_eq!(publish_to(&mut world, &peer, seq(1), "t", &keyed), "@0", "the same offset, no duplicate");
    assert_eq!(publish_to(&mut world, &peer, seq(2), "t", &keyed), "none 0=@0");
    // Even after the window, when the key would be new.
    world.advance(secs(60));
    assert_eq!(publish_to(&mut world, &peer, seq(2), "t", &keyed), "none 0=@0");
    assert_eq!(publish_to(&mut world, &peer, seq(3), "t", &keyed), "@1");
    assert_eq!(world.broker.stats().duplicates, 1, "a repeated answer counts nothing twice");
}

/// The connection breaks anywhere in the request, or its answer is lost; the retry uses another connection.
#[test]
fn p3_a_retry_after_an_unknown_result_is_stored_exactly_once() {
    let len = {
        let mut world = World::new();
        let peer = world.connect();
        peer.publish_as(Some(seq(1)), "t", AckLevel::Accepted, &[record(b"hello")]);
        peer.unsent().len()
    };
    for cut in 0..=len {
        let mut world = World::new();
        let (first, second) = (world.topic(TopicOptions::new().retain_forever()), world.connect());
        first.publish_as(Some(seq(1)), "t", AckLevel::Accepted, &[record(b"hello")]);
        let bytes = first.unsent();
        first.send_bytes(&bytes[..cut]);
        world.settle();
        first.cut();
        world.settle();
        assert_eq!(world.broker.stats().records_accepted, u64::from(cut == len), "cut at {cut}");
        assert_eq!(publish(&mut world, &second, seq(1), "hello"), "@0", "cut at {cut}");
        assert_eq!(publish(&mut world, &second, seq(2), "next"), "@1");
        assert_eq!(world.everything(), ["1/0=hello", "1/1=next"]);
    }
}
