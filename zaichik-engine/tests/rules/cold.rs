//! Rule B8: records that are only in the store.

use bytes::Bytes;
use zaichik_engine::store::Fetch;
use zaichik_proto::{Start, Subject, TopicOptions, Version};

use crate::shared::{G, member, offsets};
use crate::world::{Peer, Sub, World, mortal, record, secs, us};

/// A world whose store has everything at once, and whose broker keeps as little as possible in memory.
fn world() -> World {
    let mut world = World::with(|config| config.max_resident_bytes = Some(0));
    if world.stored.is_none() {
        world.begin_storing();
    }
    world
}

/// Bytes of a record with such a body.
const RECORD: u64 = 8 * 1_024 + 16;

/// Bodies that fill several chunks: of 8 KiB each.
fn body(number: u64) -> String {
    format!("{number:08}").repeat(1_024)
}

/// Publishes that many records to "t", of which most leave memory.
fn fill(world: &mut World, count: u64) {
    let writer = world.connect();
    for number in 0..count {
        world.ask(&writer, writer.publish("t", &body(number)));
    }
    world.advance(us(3_000_000));
    assert!(world.broker.cold_bytes() > 0, "some are only in the store");
}

/// The store reads back what the broker asks for; returns how often.
fn fetch(world: &mut World) -> usize {
    let mut count = 0;
    loop {
        let Some(fetch) = world.take_fetch() else { return count };
        finish(world, fetch);
        count += 1;
        world.settle();
    }
}

/// The store has read back what it has.
fn finish(world: &mut World, fetch: Fetch) {
    let records = world.stored.as_ref().expect("a store").fetch(&fetch);
    world.finish_fetch(fetch, records).expect("the same records");
}

/// The offsets that a subscription from the earliest record on receives.
fn read(world: &mut World, count: usize) -> Vec<u64> {
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    while fetch(world) > 0 {}
    let received = reader.records();
    for one in received.iter().take(count) {
        assert_eq!(one.body, body(one.offset).as_bytes());
    }
    received.iter().map(|one| one.offset).collect()
}

#[test]
fn b_30_a_reader_receives_what_is_only_in_the_store_also_after_a_crash() {
    let mut world = world();
    world.topic(TopicOptions::new().retain_forever());
    fill(&mut world, 60);
    let all: Vec<u64> = (0..60).collect();
    assert_eq!(read(&mut world, 60), all);
    let rows: Vec<_> = world.stored.as_ref().expect("a store").iter().cloned().collect();
    world.recover_from(&rows, world.now);
    world.broker.begin_storing();
    assert!(world.broker.cold_bytes() > 0, "not all of them were kept in memory");
    assert_eq!(read(&mut world, 60), all);
}

#[test]
fn b_31_a_limit_within_records_that_are_not_in_memory_is_exact() {
    let mut world = world();
    world.topic(TopicOptions::new().retain_forever());
    fill(&mut world, 60);
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1)));
    while fetch(&mut world) > 0 {}
    let owner = world.connect();
    world.ask(&owner, owner.alter("t", TopicOptions::new().max_messages(33)));
    world.ask(&reader, reader.commit(1, 0));
    while fetch(&mut world) > 0 {}
    let stream = reader.stream();
    assert!(stream.iter().any(|frame| frame.contains("1..27 limit")), "{:?}", gaps(&stream));
    assert_eq!(read(&mut world, 33), (27..60).collect::<Vec<u64>>());
    let late = world.connect();
    let request = late.subscribe_to(Sub::new(1, "t").window(0).from(Start::Time(0)));
    world.settle();
    while fetch(&mut world) > 0 {}
    assert!(late.answer(request).contains("27"), "{}", late.answer(request));
}

/// What a connection receives that publishes one record more than the topic's limit, and makes another request before the
/// broker has handled the publish.
fn behind_a_publish(resident: Option<u64>, ask: impl Fn(&Peer) -> u32) -> (String, Vec<String>) {
    let mut world = World::with(|config| config.max_resident_bytes = resident);
    if world.stored.is_none() {
        world.begin_storing();
    }
    let peer = world.connect_as(Version::Two);
    world.ask(&peer, peer.create("t", TopicOptions::new().retain_forever().max_messages(8)));
    for _ in 0..2 {
        world.ask(&peer, peer.publish_all("t", &[record(b"short"); 4]));
        world.advance(us(2_500_000));
    }
    // It receives nothing until it is moved.
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").from(Start::Offset(100))));
    assert_eq!(world.broker.cold_bytes() > 0, resident.is_some(), "some are only in the store");
    peer.publish("t", "short");
    let request = ask(&peer);
    world.settle();
    while fetch(&mut world) > 0 {}
    (peer.answer(request), peer.stream())
}

/// Publishes are settled together (rule P1), before a request behind them looks for the first record.
#[test]
fn b_31_what_a_publish_removes_is_known_to_the_next_request_of_its_exchange() {
    let other = || Sub::new(2, "t").durable("d");
    let requests: [&dyn Fn(&Peer) -> u32; 8] = [
        &|peer| peer.subscribe_to(other()),
        &|peer| peer.subscribe_to(other().from(Start::Offset(0))),
        &|peer| peer.subscribe_to(other().from(Start::Time(0))),
        &|peer| peer.seek(1, Start::Earliest),
        &|peer| peer.describe(Subject::Topic { topic: b"t" }),
        &|peer| peer.trim("t", Start::Offset(0)),
        &|peer| peer.trim("t", Start::Latest),
        &|peer| peer.alter("t", TopicOptions::new().max_messages(10)),
    ];
    for (ask, index) in requests.iter().zip(0..) {
        assert_eq!(behind_a_publish(Some(0), ask), behind_a_publish(None, ask), "request {index}");
    }
}

#[test]
fn b8_records_that_are_only_in_the_store_take_little_memory() {
    let mut world = world();
    world.topic(TopicOptions::new().retain_forever().max_bytes(1 << 30));
    fill(&mut world, 4_000);
    let (topics, cold) = (world.broker.ledger().topics, world.broker.cold_bytes());
    assert!(cold > 31 << 20, "{cold} bytes are only in the store");
    // 128 bytes for each allocation of 64 KiB, an eighth more for the growth of their table, and the last ones are in memory.
    assert!(topics < cold / 400 + (160 << 10), "{topics} bytes for {cold} in the store");
}

#[test]
fn b_33_what_a_limit_removed_of_records_that_are_not_in_memory_stays_removed() {
    let mut world = world();
    let writer = world.topic(TopicOptions::new().retain_forever().max_bytes(60 * RECORD));
    fill(&mut world, 60);
    // Three records that are a little larger than those before them, so four have to go.
    for number in 60..63 {
        world.ask(&writer, writer.publish_all("t", &[mortal(&body(number), 1_000_000)]));
    }
    let rows: Vec<_> = world.stored.as_ref().expect("a store").iter().cloned().collect();
    world.advance(us(2_000_000));
    assert_eq!(read(&mut world, 56), (4..60).collect::<Vec<u64>>());
    world.recover_from(&rows, world.now);
    world.broker.begin_storing();
    assert_eq!(read(&mut world, 56), (4..60).collect::<Vec<u64>>());
}

/// Rule R7: what had expired is not live again, also behind chunks that had expired as a whole.
#[test]
fn b_31_records_that_are_not_in_memory_and_had_expired_stay_dead_when_the_settings_change() {
    let mut world = world();
    let writer = world.topic(TopicOptions::new().retention_ttl(secs(100)));
    for number in 0..60 {
        world.ask(&writer, writer.publish("t", &body(number)));
        world.advance(secs(1));
    }
    world.advance(us(3_000_000));
    assert!(world.broker.cold_bytes() > 0, "some are only in the store");
    world.stop_housekeeping();
    // More than what is read back with the first chunk.
    world.jump(world.now + secs(87));
    let altered = writer.alter("t", TopicOptions::new().retain_forever());
    world.settle();
    while fetch(&mut world) > 0 {}
    assert_eq!(writer.answer(altered), "done 0");
    let late = world.connect();
    let request = late.subscribe_to(Sub::new(1, "t").window(1));
    world.settle();
    while let Some(fetch) = world.take_fetch() {
        finish(&mut world, fetch);
        world.keep_house_at(world.now);
        world.settle();
    }
    assert!(late.answer(request).contains("51"), "{}", late.answer(request));
}

/// Rule R10: the store has removed them, and the broker has not freed all of them.
#[test]
fn b8_records_that_are_trimmed_while_they_are_read_back_are_no_damage() {
    let mut world = world();
    world.topic(TopicOptions::new().retain_forever());
    fill(&mut world, 60);
    world.stop_housekeeping();
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1)));
    let fetches: Vec<_> = core::iter::from_fn(|| world.take_fetch()).collect();
    assert!(fetches.len() > 1, "some are read ahead");
    let owner = world.connect_as(Version::Two);
    let trimmed = world.ask(&owner, owner.trim("t", Start::Latest));
    assert!(trimmed.contains("60"), "{trimmed}");
    for fetch in fetches {
        finish(&mut world, fetch);
    }
}

fn gaps(stream: &[String]) -> Vec<&String> {
    stream.iter().filter(|frame| frame.len() < 100).collect()
}

#[test]
fn b_32_other_records_than_those_that_were_stored_are_an_error() {
    let mut world = world();
    world.topic(TopicOptions::new().retain_forever());
    fill(&mut world, 60);
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    let fetch = world.take_fetch().expect("the first records are needed");
    let error = world.finish_fetch(fetch, Bytes::new()).expect_err("they are missing");
    assert!(error.to_string().contains("topic number 0"), "{error}");
    assert_eq!(reader.records(), []);
}

/// The store reads back all chunks that the broker asked for; returns how many.
fn finish_all(world: &mut World) -> usize {
    let chunks: Vec<Fetch> = std::iter::from_fn(|| world.take_fetch()).collect();
    let count = chunks.len();
    for chunk in chunks {
        finish(world, chunk);
    }
    count
}

/// Rules B8, I16: also if a member acknowledges a record between the end of a read and its wake.
#[test]
fn b_30_a_member_that_acknowledges_receives_what_was_read_back() {
    let mut world = world();
    world.topic(TopicOptions::new().retain_forever());
    fill(&mut world, 60);
    let one = member(&mut world, G.window(60));
    while fetch(&mut world) > 0 {}
    assert_eq!(offsets(&one).len(), 60);
    world.stop_housekeeping();
    world.ask(&one, one.give_back(1, &[(5, 1)], 0));
    assert!(finish_all(&mut world) > 0, "it is not in memory any more");
    world.ask(&one, one.ack(1, &[(0, 1)]));
    world.keep_house_at(world.now);
    world.settle();
    assert_eq!(offsets(&one), [(5, 2)]);
}

/// Rules B8, I16: also what was read back for a member that has left.
#[test]
fn b_30_a_member_that_joins_later_receives_what_was_read_back() {
    let mut world = world();
    world.topic(TopicOptions::new().retain_forever());
    fill(&mut world, 60);
    let one = member(&mut world, G.window(60));
    one.cut();
    world.settle();
    assert!(finish_all(&mut world) > 0, "it waited for records");
    world.settle();
    let two = member(&mut world, G.window(60));
    while fetch(&mut world) > 0 {}
    assert!(offsets(&two).into_iter().eq((0..60).map(|offset| (offset, 1))));
}
