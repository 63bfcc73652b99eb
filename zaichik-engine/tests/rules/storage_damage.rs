//! Rule B4: rows from which no broker is restored.

use zaichik_engine::Timestamp;
use zaichik_engine::store::{Key, Row, RowError};
use zaichik_proto::TopicOptions;

use crate::latest::lag;
use crate::producers::{publish, seq};
use crate::world::{Sub, World, encoded, mortal, secs};

/// A world with a row of every kind.
fn every_kind() -> World {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().compaction_window(secs(60)).retain_forever());
    writer.expect_silence();
    world.ask(&writer, writer.create("live", TopicOptions::new().compaction_window(secs(60))));
    world.ask(&writer, writer.publish_keyed("live", "k", "x"));
    world.ask(&writer, writer.create("latest", lag(60)));
    for body in ["old", "new"] {
        world.ask(&writer, writer.publish_keyed("latest", "k", body));
    }
    world.ask(&writer, writer.publish_all("t", &[mortal("a", 1_000)]));
    publish(&mut world, &writer, seq(1), "b");
    publish(&mut world, &writer, seq(2), &"x".repeat(70_000));
    publish(&mut world, &writer, seq(3), "c");
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1).durable("d")));
    reader.cut();
    world.settle();
    world
}

fn rows(world: &World) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows: Vec<Row> = world.broker.rows().collect();
    let mut kinds: Vec<_> = rows.iter().map(|row| row.key().kind()).collect();
    kinds.dedup();
    assert_eq!(kinds, [0, 1, 2, 4, 5, 6, 7, 8], "each kind, in the order of the keys");
    encoded(&rows)
}

#[test]
fn b_11_a_cut_or_continued_row_is_refused() {
    let world = every_kind();
    let rows = rows(&world);
    for index in 0..rows.len() {
        let key = Key::decode(&rows[index].0).expect("a key");
        let mut cut = rows.clone();
        cut[index].1.pop();
        let error = world.restore(&cut, world.now).expect_err("it is cut");
        assert!(matches!(&error, RowError::Damaged { key: named, .. } if *named == key), "{error}");
        let mut continued = rows.clone();
        continued[index].1.push(0);
        let error = world.restore(&continued, world.now).expect_err("it is too long");
        assert!(matches!(&error, RowError::Damaged { key: named, .. } if *named == key), "{error}");
    }
}

#[test]
fn b_11_rows_twice_in_the_wrong_order_or_of_another_kind_are_refused() {
    let world = every_kind();
    let rows = rows(&world);
    for index in 0..rows.len() {
        let mut twice = rows.clone();
        twice.insert(index, rows[index].clone());
        assert!(matches!(world.restore(&twice, world.now), Err(RowError::OutOfOrder { .. })), "{index}");
        let mut format = rows.clone();
        format[index].1[0] = 2;
        assert!(matches!(world.restore(&format, world.now), Err(RowError::Format { format: 2, .. })));
    }
    let mut swapped = rows.clone();
    let last = swapped.len() - 1;
    swapped.swap(last - 1, last);
    assert!(matches!(world.restore(&swapped, world.now), Err(RowError::OutOfOrder { .. })));
    let mut unknown = rows;
    unknown.push((vec![9], vec![1]));
    let error = world.restore(&unknown, world.now).expect_err("an unknown kind");
    assert_eq!(error, RowError::Key { kind: 9, len: 1 });
}

#[test]
fn b_11_a_row_that_is_missing_is_noticed_if_another_one_needs_it() {
    let world = every_kind();
    let rows = rows(&world);
    let start = |(key, _): &(Vec<u8>, Vec<u8>)| match Key::decode(key) {
        Ok(Key::Records { topic: 0, start }) => Some(start),
        _ => None,
    };
    let last = rows.iter().filter_map(start).max();
    for index in 0..rows.len() {
        let mut left = rows.clone();
        let (key, _) = left.remove(index);
        let key = Key::decode(&key).expect("a key");
        let restored = world.restore(&left, world.now);
        let may_be_absent = match &key {
            // Nothing else says that there was a durable subscription, a key or a last topic, nor how long a topic was.
            Key::Cursor { .. } | Key::Keys { .. } | Key::Group { .. } => true,
            Key::Records { topic: 0, start } => Some(*start) == last,
            Key::Meta
            | Key::Topic { .. }
            | Key::Records { .. }
            | Key::Producer { .. }
            | Key::Answer { .. }
            | Key::Marks { .. } => false,
        };
        assert_eq!(restored.is_ok(), may_be_absent, "{key}: {:?}", restored.err());
    }
}

#[test]
fn b4_no_changed_byte_causes_a_panic_or_an_inconsistent_broker() {
    let world = every_kind();
    let rows = rows(&world);
    for index in 0..rows.len() {
        for at in (0..rows[index].1.len()).take(400) {
            for flip in [1, 0x80, 0xff] {
                let mut changed = rows.clone();
                changed[index].1[at] ^= flip;
                if let Ok(broker) = world.restore(&changed, world.now) {
                    broker.verify().unwrap_or_else(|error| panic!("{error}: byte {at} of row {index}"));
                }
            }
        }
    }
}

#[test]
fn b4_limits_of_the_configuration_are_no_contradiction() {
    let world = every_kind();
    let rows = rows(&world);
    let mut config = world.broker.config().clone();
    (config.max_topics, config.max_durables, config.max_producers) = (1, 1, 1);
    config.memory = config.min_memory();
    let mut restore = zaichik_engine::Restore::new(config, zaichik_engine::Seed::new(1, 2)).expect("valid");
    for (key, value) in &rows {
        restore.row(key, value).expect("a consistent row");
    }
    let broker = restore.finish(world.now).expect("consistent rows");
    broker.verify().expect("consistent");
    assert_eq!(broker.topic_count(), 3);
}

#[test]
fn b1_no_rows_are_a_new_broker() {
    let world = World::new();
    let broker = world.restore(&[], Timestamp::ZERO).expect("a new broker");
    assert_eq!(broker.rows().map(|row| row.key()).collect::<Vec<_>>(), [Key::Meta]);
}
