//! The memory budget: which connections are slowed down or served, and how the broker recovers.

use zaichik_engine::{Status, Turn};
use zaichik_proto::{AckLevel, FrameHeader, Subject, TopicOptions};

use crate::producers::{publish, seq};
use crate::world::{Peer, Sub, World, ms, record, secs};

/// Memory for records.
const BUDGET: u64 = 4 << 20;

fn small() -> World {
    World::with_memory(BUDGET, |_| {}).checked_at_rest()
}

/// Publishes until the broker stops reading, or refuses.
fn fill(world: &mut World, writer: &Peer, topic: &str) -> Vec<u32> {
    let body = vec![b'x'; 20_000];
    let requests: Vec<_> = (0..300).map(|_| writer.publish_all(topic, &[record(&body)])).collect();
    world.settle();
    requests
}

#[test]
fn memory_stays_within_its_budget() {
    let mut world = small();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    let body = vec![b'x'; 20_000];
    for _ in 0..300 {
        writer.publish_with("t", AckLevel::None, &[record(&body)]);
        world.settle();
        assert!(world.memory_of_records() <= BUDGET, "{:?}", world.broker.ledger());
    }
}

#[test]
fn memory_at_nine_tenths_connections_without_subscriptions_are_not_read() {
    let mut world = small();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    let requests = fill(&mut world, &writer, "t");
    assert!(world.memory_of_records() >= BUDGET / 10 * 9);
    assert!(world.memory_of_records() <= BUDGET);
    assert!(!world.session(&writer).unwrap().wants_read());
    assert!(world.session(&reader).unwrap().wants_read(), "its commits must get through");
    assert!(writer.unread() > 0, "TCP slows the publisher down");
    let answered = requests.iter().filter(|request| writer.answer(**request) != "-").count();
    assert!((150..300).contains(&answered), "{answered}");
    // A new connection may still subscribe; then it is read.
    let late = world.connect();
    world.settle();
    assert_eq!(world.status(&late), Status::Open);
}

#[test]
fn memory_publishing_resumes_when_consumers_have_committed() {
    let mut world = small();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1_000)));
    let requests = fill(&mut world, &writer, "t");
    assert!(writer.unread() > 0);
    for _ in 0..40 {
        let Some(last) = reader.records().last().map(|one| one.offset) else {
            break;
        };
        assert_eq!(world.ask(&reader, reader.commit(1, last)), format!("done {}", last + 1));
    }
    world.advance(secs(1));
    assert_eq!(writer.unread(), 0);
    for (offset, request) in requests.into_iter().enumerate() {
        assert_eq!(writer.answer(request), format!("@{offset}"));
    }
    assert_eq!(world.ask(&writer, writer.publish("t", "x")), "@300");
    world.advance(secs(2));
    assert!(world.memory_of_records() < BUDGET / 10, "{:?}", world.broker.ledger());
}

#[test]
fn memory_at_its_budget_publishes_of_subscribers_are_refused_busy_and_commits_served() {
    let mut world = small();
    let peer = world.connect();
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(1_000)));
    let requests = fill(&mut world, &peer, "t");
    let answers: Vec<_> = requests.iter().map(|request| peer.answer(*request)).collect();
    let accepted = answers.iter().take_while(|answer| answer.starts_with('@')).count();
    assert!((150..300).contains(&accepted), "{accepted}");
    assert_eq!(answers[accepted], "refused Busy 10000");
    assert!(world.memory_of_records() <= BUDGET);
    // Commits free memory, so they are always served.
    let mut last = peer.records().last().unwrap().offset;
    loop {
        assert_eq!(world.ask(&peer, peer.commit(1, last)), format!("done {}", last + 1));
        let Some(next) = peer.records().last().map(|one| one.offset) else {
            break;
        };
        last = next;
    }
    world.advance(secs(1));
    assert_eq!(world.ask(&peer, peer.publish("t", "x")), format!("@{accepted}"));
}

#[test]
fn memory_pressure_suspends_the_heartbeat_of_connections_that_are_not_read() {
    let mut world =
        World::with_memory(BUDGET, |config| config.wire.heartbeat_millis = 30_000).checked_at_rest();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    fill(&mut world, &writer, "t");
    assert!(!world.session(&writer).unwrap().wants_read());
    writer.log();
    for _ in 0..10 {
        world.advance(secs(25));
        reader.ping(1);
        world.settle();
    }
    assert_eq!(world.status(&writer), Status::Open, "it is not read, so silence means nothing");
    let pings = writer.control().len();
    assert!((7..=8).contains(&pings), "the broker keeps sending its own pings: {pings}");
    // When it is read again its deadline starts over.
    reader.cut();
    world.settle();
    assert!(world.session(&writer).unwrap().wants_read());
    assert_eq!(writer.unread(), 0);
    world.advance(secs(89));
    assert_eq!(world.status(&writer), Status::Open);
    world.advance(secs(2));
    assert_eq!(world.status(&writer), Status::Closed);
}

#[test]
fn memory_is_freed_when_a_stalled_consumer_is_dropped() {
    let mut world = small();
    let (stuck, writer) = (world.connect(), world.connect());
    world.ask(&stuck, stuck.subscribe_to(Sub::new(1, "t").window(0)));
    stuck.stop_reading();
    let requests = fill(&mut world, &writer, "t");
    assert!(writer.unread() > 0);
    // The write deadline closes it, and the publisher resumes without other events.
    world.advance(secs(11));
    assert!(stuck.is_closed());
    assert_eq!(writer.unread(), 0);
    assert!(requests.into_iter().all(|request| writer.answer(request).starts_with('@')));
    world.advance(secs(2));
    assert!(world.memory_of_records() < BUDGET / 10, "{:?}", world.broker.ledger());
}

#[test]
fn memory_is_freed_when_retained_records_expire() {
    let mut world = small();
    let writer = world.connect();
    let options = TopicOptions::new().retention_ttl(secs(60));
    world.ask(&writer, writer.create("t", options));
    let requests = fill(&mut world, &writer, "t");
    assert!(writer.unread() > 0);
    world.advance(secs(61));
    assert_eq!(writer.unread(), 0);
    assert!(requests.into_iter().all(|request| writer.answer(request).starts_with('@')));
}

#[test]
fn memory_of_one_record_is_charged_once_for_any_number_of_readers() {
    let mut world = World::new();
    let writer = world.connect();
    let readers: Vec<_> = (0..50).map(|_| world.connect()).collect();
    for reader in &readers {
        world.ask(reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
        reader.stop_reading();
    }
    let body = vec![b'x'; 50_000];
    for _ in 0..20 {
        writer.publish_all("t", &[record(&body)]);
    }
    world.settle();
    let total = world.broker.ledger().total();
    assert!(total > 1_000_000, "{total}");
    assert!(total < 3_000_000, "{:?}", world.broker.ledger());
    for reader in &readers {
        reader.resume_reading();
    }
    world.settle();
    assert!(readers.iter().all(|reader| reader.stream().len() == 20));
}

#[test]
fn memory_that_is_still_being_sent_stays_charged() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    let options = TopicOptions::new().retain_forever().max_messages(1);
    world.ask(&writer, writer.create("t", options));
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    reader.stop_reading();
    let body = vec![b'x'; 100_000];
    for _ in 0..3 {
        writer.publish_all("t", &[record(&body)]);
        world.settle();
    }
    // Only one record remains in the topic, but the lane holds all of them.
    assert!(world.broker.ledger().retired >= 200_000, "{:?}", world.broker.ledger());
    reader.resume_reading();
    world.settle();
    world.advance(ms(200));
    assert_eq!(world.broker.ledger().retired, 0);
    assert_eq!(reader.stream().len(), 3);
}

#[test]
fn memory_that_was_retired_is_freed_without_requests() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    let options = TopicOptions::new().retain_forever().max_messages(1);
    world.ask(&writer, writer.create("t", options));
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    reader.stop_reading();
    let body = vec![b'x'; 100_000];
    for _ in 0..3 {
        writer.publish_all("t", &[record(&body)]);
        world.settle();
    }
    assert!(world.broker.ledger().retired >= 200_000);
    reader.cut();
    world.step();
    world.sleep(ms(200));
    assert_eq!(world.broker.ledger().retired, 0);
}

#[test]
fn memory_pressure_that_ends_without_requests_wakes_paused_connections() {
    let mut world = small();
    let (stuck, writer) = (world.connect(), world.connect());
    world.ask(&stuck, stuck.subscribe_to(Sub::new(1, "t").window(1)));
    fill(&mut world, &writer, "t");
    assert!(writer.unread() > 0);
    // The connection ends without a last exchange, so only housekeeping can notice.
    stuck.cut();
    world.step();
    world.sleep(secs(1));
    assert!(world.memory_of_records() < BUDGET / 2, "{:?}", world.broker.ledger());
    world.settle();
    assert_eq!(writer.unread(), 0);
}

#[test]
fn memory_of_an_idle_connection_is_small() {
    let mut world = World::new();
    let peers: Vec<_> = (0..100).map(|_| world.connect()).collect();
    for peer in &peers {
        world.ask(peer, peer.subscribe(1, "t"));
        world.ask(peer, peer.publish("t", "x"));
        world.ask(peer, peer.unsubscribe(1));
        world.ask(peer, peer.subscribe_to(Sub::new(1, "t")));
    }
    world.advance(secs(2));
    for peer in &peers {
        world.session(peer).unwrap().shrink();
    }
    let writer = world.connect();
    world.ask(&writer, writer.publish("u", "x"));
    world.advance(secs(2));
    let ledger = world.broker.ledger();
    assert!(ledger.total() / 101 < 1_536, "{ledger:?}");
}

/// Otherwise the records that a durable subscription keeps could never be freed.
#[test]
fn memory_at_its_budget_a_durable_consumer_reattaches_and_drains() {
    let mut world = small();
    let reader = world.connect();
    let durable = || Sub::new(1, "t").window(1_000).durable("d");
    world.ask(&reader, reader.subscribe_to(durable()));
    reader.cut();
    world.settle();
    let writer = world.connect();
    let requests = fill(&mut world, &writer, "t");
    assert!(!world.session(&writer).unwrap().wants_read(), "the writer waits");
    let reader = world.connect();
    assert!(world.ask(&reader, reader.subscribe_to(durable())).contains("epoch 2"));
    while let Some(last) = reader.records().last().map(|one| one.offset) {
        world.ask(&reader, reader.commit(1, last));
    }
    assert!(world.session(&writer).unwrap().wants_read(), "memory is available again");
    assert_eq!(world.ask(&writer, requests[299]), "@299");
}

#[test]
fn memory_that_commits_free_wakes_publishers_at_once() {
    let mut world = small();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1_000)));
    fill(&mut world, &writer, "t");
    assert!(writer.unread() > 0);
    world.stop_housekeeping();
    while let Some(last) = reader.records().last().map(|one| one.offset) {
        world.ask(&reader, reader.commit(1, last));
    }
    assert_eq!(writer.unread(), 0, "no housekeeping was needed");
}

#[test]
fn s15_a_connection_that_waits_for_memory_has_nothing_to_do_until_it_is_woken() {
    let mut world = World::with_memory(16 << 20, |config| {
        // Less than its output buffer.
        (config.output_buffer, config.max_connection_bytes) = (8 << 20, Some(2 << 20));
    })
    .checked_at_rest();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    reader.stop_reading();
    // Small bodies are copied into the output, one at a time.
    for _ in 0..8_000 {
        world.ask(&writer, writer.publish("t", &"x".repeat(300)));
    }
    assert!(!world.session(&reader).unwrap().lacks_memory(), "it waits for its peer");
    assert_eq!(world.exchange(reader.index()), Turn::Done, "it would be called again and again");
    reader.resume_reading();
    world.settle();
    assert_eq!(reader.records().len(), 8_000);
}

/// A peer that reads no answers uses up what its own connection may hold: it waits for itself, and nobody for it.
#[test]
fn s15_a_connection_at_its_own_limit_keeps_no_other_from_getting_memory() {
    const LIMIT: u64 = 576 << 10;
    let mut world = World::with(|config| {
        (config.wire.max_message, config.wire.max_frame) = (8 << 10, 16 << 10);
        (config.output_buffer, config.max_connection_bytes) = (1 << 20, Some(LIMIT));
    });
    let (silent, honest) = (world.connect(), world.connect());
    silent.stop_reading();
    let asked: Vec<_> = (0..40_000).map(|_| silent.describe(Subject::Broker)).collect();
    world.settle();
    assert!(silent.unread() > 0, "it asks for more than it may hold");
    assert!(!world.session(&silent).unwrap().lacks_memory(), "the broker has enough");
    assert!(world.broker.ledger().sessions <= LIMIT + (32 << 10), "{:?}", world.broker.ledger());
    // The answer to a producer's request may need more than what each connection gets while others wait.
    assert_eq!(publish(&mut world, &honest, seq(0), "x"), "@0 new", "no time has passed");
    silent.resume_reading();
    world.settle();
    assert!(asked.into_iter().all(|request| silent.answer(request) != "-"));
}

/// The counters, and one topic or subscription, need no more room than other short answers, so monitoring goes on while
/// connections hoard memory.
#[test]
fn s15_short_descriptions_do_not_wait_behind_large_requests() {
    let mut world = small();
    let honest = world.connect();
    world.ask(&honest, honest.subscribe_to(Sub::new(1, "t").durable("d")));
    for _ in 0..100 {
        let hoarder = world.connect();
        let mut header = FrameHeader { body_len: 400_000, kind: 4 }.to_bytes().to_vec();
        header.resize(400_000, 0);
        hoarder.send_bytes(&header);
    }
    world.settle();
    let page = honest.describe(Subject::Topics { from: 0 });
    assert_eq!(world.ask(&honest, page), "-", "connections hold too much for a page");
    let other = world.connect();
    let (topic, name) = (b"t", "d");
    for subject in [Subject::Broker, Subject::Topic { topic }, Subject::Durable { topic, name }] {
        let answer = world.ask(&other, other.describe(subject));
        assert_ne!(answer, "-", "{subject:?}");
    }
}
