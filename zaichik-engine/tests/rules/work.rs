//! Rule S14: no call does more than a bounded amount of work, whatever the requests are.

use std::time::Duration;

use zaichik_engine::{Broker, Effects, Turn};
use zaichik_proto::{AckLevel, CompactionMode, Counter, Producer, Start, Subject, TopicOptions};

use super::world::{Peer, Sub, World, keyed, mortal, ms, record, secs};

/// A topic "t" that retains `count` records forever, and a connection with subscription 1 to it.
fn with_records(count: usize) -> (World, Peer) {
    let mut world = World::new().checked_at_rest();
    let peer = world.topic(TopicOptions::new().retain_forever());
    for _ in 0..count / 1_000 {
        world.ask(&peer, peer.publish_all("t", &vec![record(b""); 1_000]));
    }
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t")));
    (world, peer)
}

/// Applies what a peer has sent, one exchange at a time, and counts the exchanges. After each of them another
/// connection publishes and is answered.
fn exchanges_with_others_in_between(
    world: &mut World,
    other: &Peer,
    flood: impl IntoIterator<Item = u32>,
    peer: &Peer,
) -> usize {
    peer.split_reads(usize::MAX);
    let last = flood.into_iter().last().expect("a request");
    world.most_steps = 0;
    for exchanges in 1..10_000 {
        let request = other.publish("other", "x");
        assert!(world.step(), "work continues");
        assert!(other.answer(request).starts_with('@'), "it does not wait for the flood");
        if peer.answer(last) != "-" {
            return exchanges;
        }
    }
    panic!("the flood never ends");
}

#[test]
fn s_06_a_flood_of_seeks_is_applied_in_many_exchanges() {
    let (mut world, peer) = with_records(4_000);
    let other = world.connect();
    for to in [Start::Offset(3_900), Start::Time(u64::MAX >> 1), Start::Earliest] {
        let flood = (0..4_000).map(|_| peer.seek(1, to));
        let exchanges = exchanges_with_others_in_between(&mut world, &other, flood, &peer);
        assert!(exchanges >= 4_000 * 8 / 4_096, "{exchanges} exchanges for {to:?}");
        assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
    }
}

#[test]
fn s_06_a_flood_of_subscriptions_is_applied_in_many_exchanges() {
    let (mut world, peer) = with_records(1_000);
    let other = world.connect();
    let flood =
        (0..600).flat_map(|_| [peer.subscribe_to(Sub::new(2, "u").from(Start::Latest)), peer.unsubscribe(2)]);
    let exchanges = exchanges_with_others_in_between(&mut world, &other, flood, &peer);
    assert!(exchanges >= 600 * 48 / 4_096, "{exchanges} exchanges");
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
}

#[test]
fn s_06_a_flood_of_descriptions_is_applied_in_many_exchanges() {
    let (mut world, peer) = with_records(1_000);
    let other = world.connect();
    let flood = (0..1_000).map(|_| peer.describe(Subject::Topic { topic: b"t" }));
    let exchanges = exchanges_with_others_in_between(&mut world, &other, flood, &peer);
    assert!(exchanges >= 1_000 * 16 / 4_096, "{exchanges} exchanges");
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
}

/// A topic "t" in which `count` records between two live ones have died at one instant, a subscription to it, and another
/// connection.
fn with_deaths(count: usize) -> (World, Peer, Peer) {
    let mut world = World::new().checked_at_rest();
    let other = world.connect();
    let peer = world.topic(TopicOptions::new().retain_forever().max_messages(u64::MAX).max_bytes(u64::MAX));
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t")));
    world.publish(&peer, &["first"]);
    for _ in 0..count / 1_000 {
        world.ask(&peer, peer.publish_all("t", &vec![mortal("", 1_000); 1_000]));
    }
    world.publish(&peer, &["last"]);
    world.jump(world.now + ms(1));
    (world, peer, other)
}

#[test]
fn s_07_requests_wait_in_their_place_until_deaths_are_settled() {
    let (mut world, peer, other) = with_deaths(20_000);
    peer.stream();
    world.most_steps = 0;
    let requests = [peer.commit(1, 0), peer.seek(1, Start::Offset(1)), peer.publish("t", "more")];
    let mut exchanges = 0;
    while peer.answer(requests[2]) == "-" {
        let request = other.publish("other", "x");
        assert!(world.step(), "work continues");
        assert!(other.answer(request).starts_with('@'), "it does not wait");
        exchanges += 1;
    }
    assert!(exchanges > 20_000 * 4 / (3 * 4_096), "{exchanges} exchanges");
    world.settle();
    // The commit led to a gap over all that died, and the seek to the first live record, without another one.
    assert_eq!(peer.stream().last().map(String::as_str), Some("1/20001=last"));
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
}

#[test]
fn s_07_readers_receive_one_gap_over_all_that_died_at_one_instant() {
    let (mut world, peer, _) = with_deaths(20_000);
    assert_eq!(peer.stream(), ["1/0=first"]);
    peer.commit(1, 0);
    world.settle();
    assert_eq!(peer.stream(), ["1/1..20001 expired", "1/20001=last"]);
}

#[test]
fn s_08_settings_that_kill_many_records_take_effect_at_once() {
    let mut world = World::new().checked_at_rest();
    let options = TopicOptions::new().retain_forever().compaction(CompactionMode::Latest);
    let options = options.compaction_window(Duration::MAX).max_bytes(u64::MAX);
    let peer = world.topic(options);
    let keys: Vec<_> = (0..10_000).map(|number| number.to_string()).collect();
    for _ in 0..2 {
        for some in keys.chunks(1_000) {
            let records: Vec<_> = some.iter().map(|key| keyed(key, b"")).collect();
            world.ask(&peer, peer.publish_all("t", &records));
        }
    }
    let other = world.connect();
    world.most_steps = 0;
    // Every record that was superseded is dead from then on.
    peer.alter("t", TopicOptions::new().compaction_window(Duration::ZERO));
    let subscribed = peer.subscribe(1, "t");
    while peer.answer(subscribed) == "-" {
        let request = other.publish("other", "x");
        assert!(world.step(), "work continues");
        assert!(other.answer(request).starts_with('@'), "it does not wait");
    }
    assert_eq!(peer.stream().first().map(String::as_str), Some("1/10000="));
    // Nine tenths of the records are removed by a limit, and their keys are forgotten.
    assert_eq!(world.ask(&peer, peer.alter("t", TopicOptions::new().max_messages(1_000))), "done 0");
    let told = world.ask(&peer, peer.describe(Subject::Topic { topic: b"t" }));
    assert!(told.contains("19000..20000: 1000 messages"), "{told}");
    world.settle();
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
}

/// A connection with `count` subscriptions, half of them durable, and another connection.
fn with_subscriptions(count: u32) -> (World, Peer, Peer) {
    let mut world = World::new().checked_at_rest();
    let (peer, other) = (world.connect(), world.connect());
    peer.split_reads(usize::MAX);
    let names: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    for (number, name) in (0..count).zip(&names) {
        let sub = if number % 2 == 0 { Sub::new(number, name) } else { Sub::new(number, "t").durable(name) };
        peer.subscribe_to(sub);
    }
    world.settle();
    world.most_steps = 0;
    (world, peer, other)
}

/// Lets the world end the subscriptions of a connection while another one is served, and counts the calls.
fn end_subscriptions(world: &mut World, other: &Peer) -> usize {
    let left = |world: &World| world.broker.counters().find(|one| one.counter == Counter::Subscriptions);
    let durable = left(world).map_or(0, |count| count.value / 2);
    for calls in 0..1_000 {
        if left(world).is_some_and(|count| count.value == durable) {
            return calls;
        }
        let request = other.publish("other", "x");
        assert!(world.step(), "work continues");
        assert!(other.answer(request).starts_with('@'), "it does not wait");
    }
    panic!("its subscriptions never end");
}

#[test]
fn s14_the_subscriptions_of_a_session_that_ends_are_ended_in_steps() {
    for still_writes in [true, false] {
        let (mut world, peer, other) = with_subscriptions(5_000);
        if still_writes {
            peer.stop_reading();
            peer.close();
        } else {
            peer.cut();
        }
        let calls = end_subscriptions(&mut world, &other);
        assert!(calls > 5_000 * 16 / 4_096, "all in {calls} calls");
        peer.cut();
        world.settle();
        // The durable ones wait for another session.
        assert_eq!(world.ask(&other, other.remove_durable("t", "4999")), "done 0");
        assert_eq!(world.broker.session_count(), 1);
        assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
    }
}

#[test]
fn s14_a_stopping_broker_examines_the_subscriptions_of_a_session_in_steps() {
    let (mut world, peer, other) = with_subscriptions(5_000);
    let last = Sub::new(9_999, "last").window(9);
    world.ask(&peer, peer.subscribe_to(last));
    world.ask(&other, other.publish("last", "x"));
    world.settle();
    let before = world.broker.steps();
    world.drain(secs(60));
    world.settle();
    assert!(!peer.is_closed() && other.is_closed(), "a record is not committed");
    assert!(world.broker.steps() - before > 5_000, "all of them were examined");
    // From now on the one with the record is examined first.
    let before = world.broker.steps();
    for _ in 0..10 {
        world.ask(&peer, peer.create("u", TopicOptions::new()));
    }
    assert!(world.broker.steps() - before < 1_000, "{} steps", world.broker.steps() - before);
    world.ask(&peer, peer.commit(9_999, 0));
    world.settle();
    assert!(peer.is_closed());
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
}

#[test]
fn s14_records_delivered_while_the_broker_stops_keep_the_session() {
    let (mut world, peer, other) = with_subscriptions(3_000);
    for (number, topic) in [(5_000, "low"), (6_000, "high")] {
        world.ask(&other, other.create(topic, TopicOptions::new().retain_forever()));
        world.ask(&peer, peer.subscribe_to(Sub::new(number, topic).window(9)));
        world.ask(&other, other.publish(topic, "x"));
    }
    world.drain(secs(60));
    world.settle();
    world.ask(&peer, peer.commit(5_000, 0));
    world.settle();
    // The one that was examined first gets its record again, behind what was examined since.
    world.ask(&peer, peer.seek(5_000, Start::Offset(0)));
    world.ask(&peer, peer.commit(6_000, 0));
    world.settle();
    assert_eq!(peer.stream().last().map(String::as_str), Some("5000/0=x"));
    assert!(!peer.is_closed(), "a record is not committed");
}

#[test]
fn s14_a_new_connection_examines_a_bounded_number_of_handshakes() {
    let mut world = World::with(|config| config.max_handshakes = 3_000);
    let first = world.dial();
    for _ in 1..3_000 {
        world.dial();
    }
    world.jump(world.now + ms(200));
    let before = world.broker.steps();
    world.dial();
    let steps = world.broker.steps() - before;
    assert!((1..=1_024).contains(&steps), "{steps} steps");
    world.settle();
    assert!(first.is_closed(), "the oldest of those that sent nothing is dropped");
}

#[test]
fn s14_housekeeping_counts_what_it_visits() {
    let count = 200;
    let mut world = World::with(|config| config.producer_ttl = secs(10));
    let peer = world.topic(TopicOptions::new().retain_forever());
    for id in 0..count {
        let producer = Producer { id: id.into(), epoch: 0, sequence: 0 };
        peer.publish_as(Some(producer), "t", AckLevel::None, &[record(b"x")]);
    }
    world.settle();
    for number in 0..count {
        world.ask(
            &peer,
            peer.subscribe_to(Sub::new(number, "t").durable(&number.to_string()).from(Start::Earliest)),
        );
        world.ask(&peer, peer.nack(number, 0, 5_000_000));
    }
    let steps = |world: &mut World, act: fn(&mut World)| {
        let before = world.broker.steps();
        act(world);
        let mut effects = Effects::new();
        let now = world.now;
        while world.broker.handle_timeout(now, &mut effects) == Turn::More {}
        effects.clear();
        world.broker.steps() - before
    };
    let paused = steps(&mut world, |world| world.jump(world.now + secs(6)));
    assert!(paused >= count.into(), "{paused} steps for pauses that end");
    let forgotten = steps(&mut world, |world| world.jump(world.now + secs(6)));
    assert!(forgotten >= count.into(), "{forgotten} steps for producers that are forgotten");
    let stopped = steps(&mut world, |world| world.drain(secs(60)));
    assert!(stopped >= 1, "{stopped} steps for sessions that are woken");
}

// rule S14: of a chunk whose dead records were removed, and which has long runs of records since, each live one is not found by a
// walk from the start of its run when it is rewritten again.
#[test]
fn s14_a_sparse_chunk_is_rewritten_in_steps_for_each_record() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.ask(&peer, peer.publish_all("t", &vec![record(b""); 600]));
    world.ask(&peer, peer.publish_all("t", &vec![mortal("", 8_000_000); 900]));
    // They fill the chunk and the next one, and die first: only a chunk that is full is rewritten.
    let body = "f".repeat(1_000);
    world.ask(&peer, peer.publish_all("t", &vec![mortal(&body, 1_000_000); 150]));
    world.ask(&peer, peer.publish("t", "last"));
    let mut most = 0;
    for _ in 0..10 {
        world.now = world.now.plus_micros(1_000_000);
        let (now, mut effects, mut turn) = (world.now, Effects::new(), Turn::More);
        while turn == Turn::More {
            let before = world.broker.steps();
            turn = world.broker.handle_timeout(now, &mut effects);
            most = most.max(world.broker.steps() - before);
        }
        effects.clear();
    }
    // Each of them is visited in one call.
    assert!((600..=Broker::MAX_STEPS).contains(&most), "{most} steps in one call");
}

/// A planted defect: requests do not wait, so one of them walks over all that is not settled.
#[cfg(feature = "planted")]
#[test]
#[should_panic(expected = "steps in one call")]
fn s14_a_planted_walk_is_found() {
    zaichik_engine::plant(Some(zaichik_engine::Defect::UnsettledWalk));
    s_07_requests_wait_in_their_place_until_deaths_are_settled();
}
