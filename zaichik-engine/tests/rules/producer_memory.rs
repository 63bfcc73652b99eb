//! Rule P3: how long a producer is remembered, which epoch fences it, and what that costs.

use zaichik_engine::Timestamp;
use zaichik_proto::{AckLevel, Overflow, Producer, TopicOptions};

use crate::producers::{publish, publish_to, seq};
use crate::world::{Peer, World, done, keyed, ms, put, record, secs, us};

#[test]
fn p_05_a_producer_that_was_idle_for_its_ttl_is_a_new_one() {
    let mut world = World::with(|config| config.producer_ttl = secs(10));
    let peer = world.topic(TopicOptions::new());
    assert_eq!(publish(&mut world, &peer, seq(5), "a"), "@0");
    // A retry counts as activity, and so does a refused request.
    world.advance(us(9_999_999));
    assert_eq!(publish(&mut world, &peer, seq(5), "a"), "@0");
    world.advance(us(9_999_999));
    assert_eq!(publish(&mut world, &peer, seq(9), "a"), "refused SequenceGap 6");
    world.advance(us(9_999_999));
    assert_eq!(publish(&mut world, &peer, seq(6), "b"), "@1");
    world.advance(secs(10));
    assert_eq!(publish(&mut world, &peer, seq(5), "a"), "@2", "any sequence is as good as another");
    assert_eq!(publish(&mut world, &peer, seq(6), "b"), "@3");
}

#[test]
fn p_05_the_instant_does_not_depend_on_housekeeping() {
    let mut world = World::with(|config| config.producer_ttl = secs(10));
    let peer = world.topic(TopicOptions::new());
    let start = world.now;
    assert_eq!(publish(&mut world, &peer, Producer { epoch: 3, ..seq(5) }, "a"), "@0");
    // Requests of an old epoch do not count as activity.
    world.jump(start + us(9_999_999));
    assert_eq!(publish(&mut world, &peer, seq(6), "b"), "refused ProducerFenced 3");
    // Enough others that housekeeping has not handled all of them when the request arrives.
    let id = |id| Producer { id, ..seq(5) };
    for other in 100..300 {
        peer.publish_as(Some(id(other)), "t", AckLevel::None, &[record(b"x")]);
    }
    world.settle();
    let late = [299, 298].map(|other| {
        let producer = Producer { sequence: 1_000, ..id(other) };
        peer.publish_as(Some(producer), "t", AckLevel::Accepted, &[record(b"b")])
    });
    world.jump(start + us(19_999_999));
    world.step();
    assert_eq!(late.map(|request| peer.answer(request)), ["@201", "@202"]);
    world.settle();
}

#[test]
fn p_05_memory_of_idle_producers_is_freed_without_requests() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    let mut requests = Vec::new();
    for id in 0..500 {
        // Two alternating topics, so that the answers form no run.
        for sequence in 0..20 {
            let producer = Some(Producer { id, epoch: 0, sequence });
            let topic = if sequence % 2 == 0 { "t" } else { "u" };
            requests.push(peer.publish_as(producer, topic, AckLevel::Accepted, &[record(b"x")]));
        }
    }
    world.settle();
    assert!(requests.into_iter().all(|request| peer.answer(request).starts_with('@')));
    let full = world.broker.ledger().producers;
    assert!((500 * 20 * 24..2_000_000).contains(&full), "{full}");
    world.sleep(us(599_999_999));
    assert_eq!(world.broker.ledger().producers, full);
    world.sleep(us(1));
    let empty = world.broker.ledger().producers;
    assert!(empty < 256, "{empty}");
    world.settle();
}

#[test]
fn p_05_producers_are_forgotten_in_bounded_steps() {
    let mut world = World::with(|config| config.producer_ttl = secs(10)).checked_at_rest();
    let peer = world.topic(TopicOptions::new());
    for id in 0..200 {
        peer.publish_as(Some(Producer { id, ..seq(0) }), "t", AckLevel::None, &[record(b"x")]);
    }
    world.settle();
    let mut before = world.broker.ledger().producers;
    world.jump(world.now + secs(10));
    let mut steps = 0;
    while world.step() {
        let after = world.broker.ledger().producers;
        assert!(before - after < 64 * 400, "{before} to {after}");
        (before, steps) = (after, steps + 1);
    }
    assert!(steps >= 200 / 64, "{steps}");
    assert!(before < 256, "{before}");
    world.settle();
}

#[test]
fn p_07_a_higher_epoch_fences_the_lower_one() {
    let mut world = World::new();
    let (old, new) = (world.topic(TopicOptions::new()), world.connect());
    let epoch = |epoch, sequence| Producer { id: 7, epoch, sequence };
    assert_eq!(publish(&mut world, &old, epoch(1, 10), "a"), "@0");
    assert_eq!(publish(&mut world, &new, epoch(2, 500), "b"), "@1", "it starts over, with any sequence");
    assert_eq!(publish(&mut world, &old, epoch(1, 11), "c"), "refused ProducerFenced 2");
    assert_eq!(publish(&mut world, &old, epoch(1, 10), "a"), "refused ProducerFenced 2", "its retries too");
    assert_eq!(world.ask(&old, old.batch_as(epoch(0, 11), &[])), "refused ProducerFenced 2");
    // The answers of the old epoch are forgotten.
    assert_eq!(publish(&mut world, &new, epoch(2, 10), "a"), "refused SequenceTooOld");
    assert_eq!(publish(&mut world, &new, epoch(2, 501), "d"), "@2");
    assert_eq!(publish(&mut world, &new, epoch(3, 0), "e"), "@3");
    assert_eq!(publish(&mut world, &new, epoch(2, 501), "d"), "refused ProducerFenced 3");
}

#[test]
fn p_07_an_epoch_fences_even_if_its_first_request_is_refused() {
    let mut world = World::new();
    let peer =
        world.topic(TopicOptions::new().retention_ttl(secs(9)).max_messages(1).overflow(Overflow::Reject));
    assert_eq!(publish(&mut world, &peer, seq(1), "a"), "@0");
    let newer = |sequence| Producer { epoch: 1, ..seq(sequence) };
    assert_eq!(publish(&mut world, &peer, newer(70), "b"), "refused TopicFull");
    assert_eq!(publish_to(&mut world, &peer, newer(71), "u", &[record(b"c")]), "refused SequenceGap 70");
    assert_eq!(publish_to(&mut world, &peer, seq(2), "u", &[record(b"c")]), "refused ProducerFenced 1");
    world.advance(secs(9));
    assert_eq!(publish(&mut world, &peer, newer(70), "b"), "@1");
}

#[test]
fn limit_max_producers() {
    let mut world = World::with(|config| {
        config.max_producers = 3;
        config.producer_ttl = secs(10);
    });
    let peer = world.topic(TopicOptions::new());
    let of = |id, sequence| Producer { id, epoch: 0, sequence };
    for id in 1..=3 {
        publish(&mut world, &peer, of(id, 1), "x");
        world.advance(secs(1));
    }
    assert_eq!(publish(&mut world, &peer, of(4, 1), "y"), "refused ProducersFull 3");
    assert_eq!(publish(&mut world, &peer, of(1, 2), "x"), "@3", "known producers continue");
    assert_eq!(publish(&mut world, &peer, of(1, 1), "x"), "@0");
    assert_eq!(world.ask(&peer, peer.publish("t", "nobody's")), "@4");
    // The first one was active again, so the second one is forgotten first.
    world.jump(world.now + secs(8));
    let requests = [of(5, 1), of(6, 1)]
        .map(|producer| peer.publish_as(Some(producer), "t", AckLevel::Accepted, &[record(b"x")]));
    world.settle();
    assert_eq!(requests.map(|request| peer.answer(request)), ["@5", "refused ProducersFull 3"]);
    assert_eq!(publish(&mut world, &peer, of(1, 1), "x"), "@0");
    assert_eq!(publish(&mut world, &peer, of(3, 1), "x"), "@2");
    assert_eq!(publish(&mut world, &peer, of(5, 1), "x"), "@5");
    assert_eq!(publish(&mut world, &peer, of(2, 2), "x"), "refused ProducersFull 3");
}

#[test]
fn s_05_while_the_broker_drains_only_stored_answers_are_given() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new());
    world.ask(&peer, peer.subscribe(1, "t"));
    assert_eq!(publish(&mut world, &peer, seq(1), "a"), "@0");
    assert_eq!(world.ask(&peer, peer.batch_as(seq(2), &[put("t", "b")])), "batched 0@1");
    world.drain(secs(10));
    assert_eq!(publish(&mut world, &peer, seq(1), "a"), "@0");
    assert_eq!(world.ask(&peer, peer.batch_as(seq(2), &[])), "batched 0@1");
    assert_eq!(publish(&mut world, &peer, seq(3), "c"), "refused Draining");
    assert_eq!(publish(&mut world, &peer, seq(4), "c"), "refused SequenceGap 3");
    assert_eq!(world.ask(&peer, peer.batch_as(seq(3), &[])), "refused Draining");
    assert_eq!(publish(&mut world, &peer, Producer { id: 8, ..seq(0) }, "c"), "refused Draining");
    assert_eq!(world.broker.stats().records_accepted, 2);
}

const BUDGET: u64 = 4 << 20;

/// A peer that has filled the memory with records that it does not commit.
fn filled() -> (World, Peer) {
    let mut world = World::with_memory(BUDGET, |_| {}).checked_at_rest();
    let peer = world.topic(TopicOptions::new());
    world.ask(&peer, peer.subscribe(1, "t"));
    assert_eq!(publish(&mut world, &peer, seq(1), "a"), "@0");
    let body = vec![b'x'; 20_000];
    while world.ask(&peer, peer.publish_all("t", &[record(&body)])) != "refused Busy 10000" {}
    (world, peer)
}

#[test]
fn memory_at_its_budget_retries_are_answered_and_new_requests_refused() {
    let (mut world, peer) = filled();
    assert_eq!(publish(&mut world, &peer, seq(1), "a"), "@0");
    for _ in 0..2 {
        assert_eq!(publish(&mut world, &peer, seq(2), "b"), "refused Busy 10000");
        assert_eq!(publish(&mut world, &peer, seq(3), "c"), "refused SequenceGap 2");
        assert_eq!(world.ask(&peer, peer.batch_as(seq(2), &[put("t", "b")])), "refused Busy 10000");
        let commit = peer.batch_as(seq(2), &[done(1, 0)]);
        assert_eq!(world.ask(&peer, commit), "refused Busy 10000", "no memory for its answer");
        assert_eq!(publish(&mut world, &peer, Producer { id: 8, ..seq(1) }, "b"), "refused Busy 10000");
        // Without memory not even a refusal is remembered.
        let durable = peer.publish_as(Some(seq(2)), "t", AckLevel::Durable, &[record(b"b")]);
        assert_eq!(world.ask(&peer, durable), "refused Busy 10000");
        assert_eq!(publish_to(&mut world, &peer, seq(2), "$bad", &[record(b"")]), "refused Busy 10000");
    }
    peer.stream();
    let mut last = 0;
    for _ in 0..300 {
        world.ask(&peer, peer.commit(1, last));
        last += u64::from(!peer.stream().is_empty());
    }
    world.advance(secs(1));
    assert!(publish(&mut world, &peer, seq(2), "b").starts_with('@'));
}

#[test]
fn p3_a_producer_that_there_was_no_memory_for_is_not_remembered() {
    let (mut world, peer) = filled();
    let another = |sequence| Producer { id: 8, ..seq(sequence) };
    assert_eq!(publish(&mut world, &peer, another(5), "b"), "refused Busy 10000");
    peer.stream();
    let mut last = 0;
    for _ in 0..300 {
        world.ask(&peer, peer.commit(1, last));
        last += u64::from(!peer.stream().is_empty());
    }
    world.advance(secs(1));
    // The client waits for its first answer, because what follows it may count as the first request.
    assert!(publish(&mut world, &peer, another(6), "c").starts_with('@'));
    assert_eq!(publish(&mut world, &peer, another(5), "b"), "refused SequenceTooOld");
}

#[test]
fn memory_of_producers_stays_within_the_budget() {
    let mut world = World::with_memory(2 << 20, |_| {}).checked_at_rest();
    let peer = world.topic(TopicOptions::new().compaction_window(secs(3_600)));
    // With a subscription it is read although memory is short.
    world.ask(&peer, peer.subscribe(1, "other"));
    let records = vec![keyed("k", b""); 1_000];
    let mut refused = 0;
    for round in 0..800u64 {
        let request = peer.publish_as(
            Some(Producer { id: u128::from(round / 4), ..seq(round % 4) }),
            "t",
            AckLevel::Accepted,
            &records,
        );
        let answer = world.ask(&peer, request);
        refused += usize::from(answer == "refused Busy 10000" || answer.starts_with("refused SequenceGap"));
        assert!(world.memory_of_records() <= 2 << 20, "{:?}", world.broker.ledger());
    }
    assert!(refused > 300, "{refused}");
    assert!(world.broker.ledger().producers > 1 << 20);
    world.advance(secs(601));
    assert!(world.broker.ledger().producers < 256);
    assert_eq!(publish(&mut world, &peer, seq(0), "x"), "@1");
}

#[test]
fn p3_a_clock_that_moves_backwards_forgets_no_producer() {
    let mut world = World::with(|config| config.producer_ttl = secs(10));
    let peer = world.topic(TopicOptions::new());
    publish(&mut world, &peer, seq(1), "a");
    world.jump(Timestamp::from_micros(0));
    assert_eq!(publish(&mut world, &peer, seq(1), "a"), "@0");
    world.advance(ms(1));
    assert_eq!(publish(&mut world, &peer, seq(2), "b"), "@1");
}
