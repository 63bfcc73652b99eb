//! Rule B8: a restart that leaves records in the store.

use std::collections::BTreeMap;

use zaichik_engine::store::{Key, RecordsHead, Row};
use zaichik_engine::{Restore, Seed};
use zaichik_proto::{Overflow, Record, Start, TopicOptions};

use crate::latest::lag;
use crate::world::{Peer, Sub, World, encoded, head, keyed, mortal, record, secs, us};

/// A world whose store has everything at once.
fn world() -> World {
    let mut world = World::new();
    if world.stored.is_none() {
        world.begin_storing();
    }
    world
}

fn stored(world: &World) -> Vec<Row> {
    world.stored.as_ref().expect("a store").iter().cloned().collect()
}

/// The broker ends, and another one leaves all records in the store that it can.
fn restart(world: &mut World) {
    world.settle();
    world.recover_by_heads(&stored(world), world.now);
}

/// Lets the store read back whatever is needed.
fn fetch(world: &mut World) {
    world.settle();
    while let Some(fetch) = world.take_fetch() {
        let records = world.stored.as_ref().expect("a store").fetch(&fetch);
        world.finish_fetch(fetch, records).expect("the same records");
        world.settle();
    }
}

/// What a new subscription of a topic receives.
fn read(world: &mut World, topic: &str) -> Vec<String> {
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, topic).window(0)));
    fetch(world);
    reader.stream()
}

fn publish(world: &mut World, writer: &Peer, topic: &str, bodies: core::ops::Range<u64>) {
    let bodies: Vec<String> = bodies.map(|number| number.to_string()).collect();
    let records: Vec<Record<'_>> = bodies.iter().map(|body| record(body.as_bytes())).collect();
    world.ask(writer, writer.publish_all(topic, &records));
}

#[test]
fn b_34_a_broker_that_left_records_in_the_store_goes_on_with_them() {
    let mut world = world();
    let writer = world.topic(TopicOptions::new().retain_forever());
    for from in (0..600).step_by(10) {
        publish(&mut world, &writer, "t", from..from + 10);
    }
    restart(&mut world);
    let cold = world.broker.cold_bytes();
    assert_eq!(cold, (0..600_u64).map(|one| 16 + one.to_string().len() as u64).sum::<u64>(), "all of them");
    let writer = world.connect();
    publish(&mut world, &writer, "t", 600..610);
    let expected: Vec<_> = (0..610).map(|one| format!("1/{one}={one}")).collect();
    assert_eq!(read(&mut world, "t"), expected);
    assert_eq!(world.broker.cold_bytes(), 0, "they were read back");
    restart(&mut world);
    assert_eq!(read(&mut world, "t"), expected);
}

#[test]
fn b_34_short_rows_become_chunks_and_take_little_memory() {
    let mut world = world();
    let writer = world.topic(TopicOptions::new().retain_forever());
    let body = "x".repeat(1_000);
    for _ in 0..200 {
        world.ask(&writer, writer.publish("t", &body));
    }
    restart(&mut world);
    let (topics, cold) = (world.broker.ledger().topics, world.broker.cold_bytes());
    assert_eq!(cold, 200 * 1_016);
    assert!(topics < 4_000, "{topics} bytes for {cold} in the store");
}

#[test]
fn b_34_a_limit_within_a_row_is_exact_after_a_restart() {
    for limit in [25, 29, 30, 31, 40] {
        let mut world = world();
        let writer = world.topic(TopicOptions::new().retain_forever().max_messages(limit));
        for from in (0..60).step_by(10) {
            publish(&mut world, &writer, "t", from..from + 10);
        }
        restart(&mut world);
        let first = 60 - limit;
        let in_memory = if first.is_multiple_of(10) { 0 } else { 10 * 18 };
        assert!(world.broker.cold_bytes() + in_memory >= limit * 18, "one row at most is in memory");
        let expected: Vec<_> = (first..60).map(|one| format!("1/{one}={one}")).collect();
        assert_eq!(read(&mut world, "t"), expected, "at most {limit}");
        // What a limit removes after the restart, from records that are not in memory or no longer.
        let writer = world.connect();
        publish(&mut world, &writer, "t", 60..67);
        let expected: Vec<_> = (first + 7..67).map(|one| format!("1/{one}={one}")).collect();
        assert_eq!(read(&mut world, "t"), expected, "at most {limit}");
    }
}

#[test]
fn b_34_what_dies_while_no_broker_runs_and_afterwards_is_not_delivered() {
    let mut world = world();
    let writer = world.topic(TopicOptions::new().retention_ttl(secs(100)));
    for from in (0..60).step_by(2) {
        publish(&mut world, &writer, "t", from..from + 1);
        world.advance(us(500_000));
        publish(&mut world, &writer, "t", from + 1..from + 2);
        world.advance(us(500_000));
    }
    world.settle();
    let rows = stored(&world);
    // The first record was accepted 30 s ago.
    world.jump(world.now + secs(80));
    world.recover_by_heads(&rows, world.now);
    assert!(world.broker.cold_bytes() > 0);
    let reader = world.connect();
    let asked = reader.subscribe_to(Sub::new(1, "t").window(1).from(Start::Earliest));
    fetch(&mut world);
    assert!(reader.answer(asked).contains("21"), "{}", reader.answer(asked));
    world.jump(world.now + secs(5));
    let expected: Vec<_> = (31..60).map(|one| format!("1/{one}={one}")).collect();
    assert_eq!(read(&mut world, "t"), expected);
}

#[test]
fn b_35_records_whose_keys_are_remembered_are_read_and_others_are_not() {
    let mut world = world();
    let options = TopicOptions::new().retain_forever().compaction_window(secs(60));
    let writer = world.topic(options);
    let put = |world: &mut World, peer: &Peer, key: &str| world.ask(peer, peer.publish_keyed("t", key, "x"));
    put(&mut world, &writer, "old");
    world.ask(&writer, writer.publish("t", "without a key"));
    world.advance(secs(40));
    put(&mut world, &writer, "new");
    world.advance(secs(30));
    world.ask(&writer, writer.publish("t", "the last commit"));
    restart(&mut world);
    let len = |row: &Row| if let Row::Records(row) = row { row.data.len() as u64 } else { 0 };
    let all: u64 = stored(&world).iter().map(len).sum();
    assert_eq!(all - world.broker.cold_bytes(), 16 + 3 + 1, "one record is in memory");
    let writer = world.connect();
    assert_eq!(put(&mut world, &writer, "new"), "none 0=@2");
    assert_eq!(put(&mut world, &writer, "old"), "@4", "its window is over");
    assert_eq!(read(&mut world, "t").len(), 5);
}

#[test]
fn b_35_records_that_have_to_be_in_memory_are_read() {
    let mut world = world();
    let writer = world.topic(lag(60));
    let put = |world: &mut World, records: &[Record<'_>], topic: &str| {
        world.ask(&writer, writer.publish_all(topic, records))
    };
    world.ask(&writer, writer.create("mortal", TopicOptions::new().retain_forever()));
    let limited = TopicOptions::new().retain_forever().max_messages(10).overflow(Overflow::Reject);
    world.ask(&writer, writer.create("limited", limited));
    for body in ["old", "new"] {
        put(&mut world, &[keyed("k", body.as_bytes())], "t");
    }
    put(&mut world, &[record(b"before")], "mortal");
    put(&mut world, &[mortal("a", 5_000_000), record(b"b")], "mortal");
    put(&mut world, &[record(b"behind")], "mortal");
    put(&mut world, &[record(b"x")], "limited");
    restart(&mut world);
    assert_eq!(
        world.broker.cold_bytes(),
        16 + 6,
        "only what is in front of the first record with its own time"
    );
    world.advance(secs(6));
    assert_eq!(read(&mut world, "mortal"), ["1/0=before", "1/1..2 expired", "1/2=b", "1/3=behind"]);
    assert_eq!(read(&mut world, "t").len(), 2);
    assert_eq!(read(&mut world, "limited"), ["1/0=x"]);
}

/// What a limit has removed of records in the store stays removed, wherever chunks begin after a restart.
#[test]
fn b_34_what_limits_removed_of_records_in_the_store_stays_removed_however_they_are_divided() {
    for resident in [Some(0), None] {
        let mut world = World::with(|config| config.max_resident_bytes = resident);
        if world.stored.is_none() {
            world.begin_storing();
        }
        let record_bytes = 4_000 + 16;
        let writer = world.topic(TopicOptions::new().retain_forever().max_bytes(100 * record_bytes));
        let body = |number: u64| format!("{number:04}").repeat(1_000);
        for number in 0..100 {
            world.ask(&writer, writer.publish("t", &body(number)));
        }
        world.advance(us(3_000_000));
        for number in 100..137 {
            world.ask(&writer, writer.publish_all("t", &[mortal(&body(number), 1_000_000)]));
        }
        // Every mortal record has a time of 8 bytes besides, so 38 had to go.
        restart(&mut world);
        world.advance(secs(2));
        restart(&mut world);
        let received = read(&mut world, "t");
        let offsets: Vec<_> = received.iter().filter_map(|frame| Some(frame.split_once('=')?.0)).collect();
        assert_eq!(offsets, (38..100).map(|offset| format!("1/{offset}")).collect::<Vec<_>>());
    }
}

#[test]
fn b_11_heads_that_contradict_other_rows_are_refused() {
    let mut world = world();
    let writer = world.topic(TopicOptions::new().retain_forever());
    for from in (0..40).step_by(10) {
        publish(&mut world, &writer, "t", from..from + 10);
        world.advance(secs(1));
    }
    world.settle();
    let rows = stored(&world);
    let begin = |count: usize| {
        let mut restore = Restore::new(world.broker.config().clone(), Seed::new(1, 2)).expect("valid");
        for (row, (key, value)) in rows.iter().zip(encoded(&rows)).take(count) {
            match head(row) {
                Some(head) => assert!(restore.head(&key, &head).expect("consistent"), "it is enough"),
                None => restore.row(&key, &value).expect("consistent"),
            }
        }
        restore
    };
    let at = rows.iter().position(|row| matches!(row, Row::Records(_))).expect("records") + 1;
    let Some((key, Row::Records(row))) =
        encoded(&rows).into_iter().map(|(key, _)| key).zip(rows.clone()).nth(at)
    else {
        panic!("the second row of records");
    };
    let known = row.head().expect("it is whole");
    let refused = |key: Key, head: RecordsHead| {
        let (mut key_bytes, mut bytes) = (Vec::new(), Vec::new());
        key.encode(&mut key_bytes);
        head.encode(&mut bytes);
        begin(at).head(&key_bytes, &bytes).expect_err("it contradicts").to_string()
    };
    let records = |topic, start| Key::Records { topic, start };
    assert!(refused(records(0, 11), known).contains("where the records before it end"));
    assert!(refused(records(0, 0), known).contains("out of order"));
    assert!(refused(records(1, 10), known).contains("its topic has no row"));
    let earlier = RecordsHead { first_timestamp: zaichik_engine::Timestamp::ZERO, ..known };
    assert!(refused(records(0, 10), earlier).contains("where the records before it end"));
    // A head that is left out is a row that is missing.
    let mut restore = begin(at);
    let after = encoded(&rows).into_iter().nth(at + 1).expect("a third one");
    let mut bytes = Vec::new();
    let Row::Records(row) = &rows[at + 1] else { panic!("records") };
    row.head().expect("it is whole").encode(&mut bytes);
    assert!(restore.head(&after.0, &bytes).is_err());
    // Whatever a head says, the broker is consistent or refuses it.
    let mut whole = Vec::new();
    known.encode(&mut whole);
    let mut outcomes = BTreeMap::new();
    for byte in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[byte] ^= flip;
            let mut restore = begin(at);
            let is_taken = restore.head(&key, &changed);
            if is_taken.is_ok()
                && let Ok(broker) = restore.finish(world.now)
            {
                broker.verify().unwrap_or_else(|error| panic!("{error}: byte {byte}"));
            }
            *outcomes.entry(is_taken.is_ok()).or_insert(0) += 1;
        }
    }
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
}

/// Rule S9: also what the broker has to know to free their memory later.
#[test]
fn s9_tables_that_a_store_needs_are_charged_from_its_beginning() {
    let mut world = world();
    let writer = world.topic(TopicOptions::new().retain_forever());
    let body = "x".repeat(1_000);
    for _ in 0..200 {
        world.ask(&writer, writer.publish("t", &body));
    }
    world.settle();
    world.recover_from(&stored(&world), world.now);
    world.broker.begin_storing();
    world.broker.verify().expect("the ledger is right");
}
