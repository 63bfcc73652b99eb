//! Rules R5 and B8: a topic that has `overflow = reject` since some of its records left memory.

use zaichik_proto::{Overflow, TopicOptions, Version};

use crate::world::{Peer, Sub, World, done, mortal, put, secs, us};

/// Bytes of a record.
const RECORD: u64 = 16 + 4;

/// A broker that keeps as little as possible in memory.
const COLD: Option<u64> = Some(0);

/// One that keeps all.
const WARM: Option<u64> = None;

fn body(number: u64) -> String {
    format!("{number:04}")
}

/// What became of 24 records, in chunks of four, before the topic refuses publishes; and its limits from then on.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// The last offset that the only subscription has committed; `None` without a subscription.
    committed: Option<u64>,
    /// How many records have expired.
    expired: u64,
    /// Whether a record behind them has died by its own time to live.
    has_dead: bool,
    limits: TopicOptions,
}

/// A world with a store and the topic "t" of a case, and the subscriber's connection.
fn world(resident: Option<u64>, case: Case) -> (World, Peer) {
    let mut world = World::with(|config| config.max_resident_bytes = resident);
    if world.stored.is_none() {
        world.begin_storing();
    }
    let writer = world.topic(TopicOptions::new().retention_ttl(secs(60)));
    let reader = world.connect_as(Version::Two);
    if case.committed.is_some() {
        world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1_000)));
    }
    // The first expires after 60 s, and of each chunk one a second after another.
    for number in 0..24 {
        world.ask(&writer, writer.publish("t", &body(number)));
        world.advance(if number % 4 == 3 { us(2_500_000) } else { us(500_000) });
    }
    if case.has_dead {
        world.ask(&writer, writer.publish_all("t", &[mortal("dead", 1_000_000)]));
    }
    if let Some(offset) = case.committed {
        world.ask(&reader, reader.commit(1, offset));
    }
    world.advance(secs(3));
    assert_eq!(world.broker.cold_bytes() > 0, resident == COLD, "some are only in the store");
    let expired = 4_000_000 * (case.expired / 4) + 500_000 * (case.expired % 4);
    world.advance(us(60_000_000 - 24_000_000 - 3_000_000 - 1 + expired));
    let altered = writer.alter("t", case.limits.overflow(Overflow::Reject));
    fetch(&mut world);
    assert_eq!(writer.answer(altered), "done 0");
    (world, reader)
}

/// Lets the store read back whatever is needed; returns how many chunks that were.
fn fetch(world: &mut World) -> usize {
    let mut count = 0;
    world.settle();
    while let Some(fetch) = world.take_fetch() {
        let records = world.stored.as_ref().expect("a store").fetch(&fetch);
        world.finish_fetch(fetch, records).expect("the same records");
        world.settle();
        count += 1;
    }
    count
}

/// What publishes, batches and a new subscription receive.
fn story(resident: Option<u64>, case: Case) -> Vec<String> {
    let (mut world, reader) = world(resident, case);
    let writer = world.connect();
    let mut answers = Vec::new();
    for number in 100..104 {
        let request = writer.publish("t", &body(number));
        fetch(&mut world);
        answers.push(writer.answer(request));
    }
    let body = body(110);
    let put = || put("t", &body);
    let batches = [vec![put(), put()], vec![done(1, 14), put(), put()], (0..9).map(|_| put()).collect()];
    for operations in batches {
        let request = reader.batch(&operations);
        fetch(&mut world);
        answers.push(reader.answer(request));
    }
    let late = world.connect();
    late.subscribe_to(Sub::new(1, "t").window(0));
    fetch(&mut world);
    answers.extend(late.stream().into_iter().map(|frame| frame.chars().take(16).collect()));
    answers
}

#[test]
fn b_36_reject_makes_the_same_room_of_records_that_are_not_in_memory() {
    let messages = |limit| TopicOptions::new().max_messages(limit);
    let bytes = |limit| TopicOptions::new().max_bytes(limit);
    let (mut refused, mut accepted) = (0, 0);
    for (committed, expired, has_dead, limits) in [
        (Some(17), 1, true, messages(8)),
        (Some(17), 1, false, bytes(8 * RECORD)),
        (Some(9), 0, false, messages(17)),
        (Some(9), 0, true, bytes(17 * RECORD + 5)),
        (Some(1), 0, true, bytes(23 * RECORD + 5)),
        (None, 6, false, messages(20)),
        (None, 6, true, messages(20)),
        (None, 0, true, bytes(25 * RECORD + 5)),
        (None, 0, false, bytes(25 * RECORD + 5)),
    ] {
        let case = Case { committed, expired, has_dead, limits };
        let answers = story(COLD, case);
        assert_eq!(answers, story(WARM, case), "{case:?}");
        refused += u32::from(answers.iter().any(|answer| answer.contains("TopicFull")));
        accepted += u32::from(answers.iter().any(|answer| answer.starts_with('@')));
    }
    assert!(refused > 2 && accepted > 2, "{refused} are refused, {accepted} accepted");
}

/// Rule A6: the copy waits for the records that make room for it, while the end of a connection is refused it.
#[test]
fn b_36_a_dead_letter_waits_for_records_that_make_room_for_it() {
    let case = Case {
        committed: Some(9),
        expired: 0,
        has_dead: false,
        limits: TopicOptions::new().max_messages(15),
    };
    let (mut world, reader) = world(COLD, case);
    world.ask(&reader, reader.subscribe_to(Sub::new(2, "source").window(1).dead_letter(1, "t")));
    world.ask(&reader, reader.publish("source", "x"));
    let nack = reader.nack(2, 0, 0);
    world.settle();
    assert_eq!(reader.answer(nack), "-", "it waits");
    assert!(fetch(&mut world) > 0);
    assert!(reader.answer(nack).starts_with("done"), "{}", reader.answer(nack));
    let late = world.connect();
    late.subscribe_to(Sub::new(1, "t").window(0));
    fetch(&mut world);
    assert_eq!(late.stream().first().map(String::as_str), Some("1/10=0010"));
}

#[test]
fn b_36_only_a_publish_that_needs_room_waits() {
    let case = Case {
        committed: Some(9),
        expired: 0,
        has_dead: false,
        limits: TopicOptions::new().max_messages(25),
    };
    let (mut world, reader) = world(COLD, case);
    assert_eq!(world.ask(&reader, reader.publish("t", "fits")), "@24");
    let waits = reader.publish("t", "does not");
    world.settle();
    assert_eq!(reader.answer(waits), "-", "it waits");
    let other = world.connect();
    assert_eq!(world.ask(&other, other.publish("other", "x")), "@0 new");
    assert!(fetch(&mut world) > 0);
    assert_eq!(reader.answer(waits), "@25");
}
