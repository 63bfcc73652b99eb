//! Rules C6 to C8: compaction in `latest` mode. The newest record of a key supersedes the older ones.

use zaichik_proto::{AckLevel, CompactionMode, Record, Start, TopicOptions};

use crate::world::{Dice, Peer, Sub, World, keyed, ms, record, secs, us};

pub(crate) fn latest() -> TopicOptions {
    TopicOptions::new().retain_forever().compaction(CompactionMode::Latest)
}

/// Superseded records stay for this many seconds.
pub(crate) fn lag(seconds: u64) -> TopicOptions {
    latest().compaction_window(secs(seconds))
}

/// The topic "t", and a connection that may skip offsets without a gap.
pub(crate) fn topic(world: &mut World, options: TopicOptions) -> Peer {
    let peer = world.topic(options);
    peer.expect_silence();
    peer
}

pub(crate) fn connect(world: &mut World) -> Peer {
    let peer = world.connect();
    peer.expect_silence();
    peer
}

pub(crate) fn put(world: &mut World, peer: &Peer, key: &str, body: &str) -> String {
    world.ask(peer, peer.publish_keyed("t", key, body))
}

pub(crate) const fn tombstone(key: &str) -> Record<'_> {
    Record { tombstone: true, ..keyed(key, b"") }
}

pub(crate) fn delete(world: &mut World, peer: &Peer, key: &str) -> String {
    world.ask(peer, peer.publish_all("t", &[tombstone(key)]))
}

/// Where a new subscription starts, and what it receives.
pub(crate) fn new_reader(world: &mut World) -> Vec<String> {
    let new_reader = connect(world);
    let start = world.ask(&new_reader, new_reader.subscribe_to(Sub::new(1, "t").window(0)));
    let stream = new_reader.stream();
    new_reader.close();
    world.settle();
    core::iter::once(start).chain(stream).collect()
}

#[test]
fn c_16_a_new_subscription_gets_the_newest_value() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    assert_eq!(put(&mut world, &peer, "k", "1"), "@0");
    assert_eq!(put(&mut world, &peer, "k", "2"), "@1");
    assert_eq!(new_reader(&mut world), ["1..2", "1/1=2"]);
}

#[test]
fn c_17_a_slow_subscriber_gets_only_the_newest_and_no_gap() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "other", "0");
    put(&mut world, &peer, "k", "1");
    put(&mut world, &peer, "k", "2");
    assert_eq!(reader.stream(), ["1/0=0"]);
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/2=2"]);
    assert_eq!((world.broker.stats().superseded, reader.silent()), (1, 1));
    assert_eq!(world.broker.stats().gaps, 0);
}

#[test]
fn c_18_within_the_window_both_records_are_live() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(10));
    put(&mut world, &peer, "k", "1");
    world.advance(secs(4));
    put(&mut world, &peer, "k", "2");
    world.advance(us(5_999_999));
    assert_eq!(new_reader(&mut world), ["0..2", "1/0=1", "1/1=2"]);
    world.advance(us(1));
    assert_eq!(
        new_reader(&mut world),
        ["1..2", "1/1=2"],
        "the window counts from the record's own acceptance"
    );
}

#[test]
fn c_18_a_record_older_than_the_window_is_gone_when_it_is_superseded() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(10));
    put(&mut world, &peer, "k", "1");
    world.advance(secs(50));
    assert_eq!(new_reader(&mut world), ["0..1", "1/0=1"], "the newest record stays");
    put(&mut world, &peer, "k", "2");
    assert_eq!(new_reader(&mut world), ["1..2", "1/1=2"]);
}

#[test]
fn c_18_the_window_does_not_depend_on_housekeeping() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(10));
    for body in ["1", "2", "3"] {
        put(&mut world, &peer, "k", body);
    }
    let now = world.now;
    world.jump(now + us(9_999_999));
    assert_eq!(new_reader(&mut world), ["0..3", "1/0=1", "1/1=2", "1/2=3"]);
    world.jump(now + secs(10));
    let reader = connect(&mut world);
    assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), "2..3");
    assert_eq!(reader.stream(), ["1/2=3"]);
}

#[test]
fn c_19_a_tombstone_lives_for_its_time_to_live() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().tombstone_ttl(secs(60)));
    put(&mut world, &peer, "k", "1");
    assert_eq!(delete(&mut world, &peer, "k"), "@1");
    world.advance(us(59_999_999));
    assert_eq!(new_reader(&mut world), ["1..2", "1/1="]);
    world.advance(us(1));
    assert_eq!(new_reader(&mut world), ["2..2"]);
}

#[test]
fn c_19_a_tombstone_is_superseded_too() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    delete(&mut world, &peer, "k");
    put(&mut world, &peer, "k", "1");
    assert_eq!(new_reader(&mut world), ["1..2", "1/1=1"]);
}

#[test]
fn c_19_an_expired_tombstone_is_skipped_without_a_gap() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(1_000).tombstone_ttl(secs(5)));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "other", "0");
    delete(&mut world, &peer, "k");
    put(&mut world, &peer, "k", "2");
    world.advance(secs(5));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/2=2"], "even within the window after it was superseded");
    assert_eq!(world.broker.stats().superseded, 1);
}

#[test]
fn c_20_a_tombstone_for_an_unknown_key() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    assert_eq!(delete(&mut world, &peer, "k"), "@0");
    assert_eq!(delete(&mut world, &peer, ""), "@1");
    assert_eq!(new_reader(&mut world), ["0..2", "1/0=", "1/1="]);
}

#[test]
fn c_21_when_the_newest_value_expires_the_key_is_gone() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(1_000).retention_ttl(secs(10)).max_keys(1));
    put(&mut world, &peer, "k", "1");
    world.advance(secs(5));
    put(&mut world, &peer, "k", "2");
    assert_eq!(put(&mut world, &peer, "l", "x"), "refused KeysFull 1");
    world.advance(us(9_999_999));
    assert_eq!(new_reader(&mut world), ["1..2", "1/1=2"]);
    world.advance(us(1));
    assert_eq!(new_reader(&mut world), ["2..2"]);
    assert_eq!(put(&mut world, &peer, "l", "x"), "@2");
}

#[test]
fn c_21_a_superseded_value_does_not_return_when_its_successor_expires() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    put(&mut world, &peer, "k", "1");
    world.ask(&peer, peer.publish_all("t", &[Record { ttl_micros: Some(1_000), ..keyed("k", b"2") }]));
    world.advance(ms(1));
    assert_eq!(new_reader(&mut world), ["2..2"]);
}

#[test]
fn c_22_an_explicit_start_at_a_compacted_offset() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    for (key, body) in [("a", "0"), ("b", "1"), ("a", "2"), ("a", "3"), ("b", "4")] {
        put(&mut world, &peer, key, body);
    }
    for (asked, expected) in [(0, "3..5"), (1, "3..5"), (2, "3..5"), (3, "3..5"), (4, "4..5"), (5, "5..5")] {
        let reader = connect(&mut world);
        let answer = world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").from(Start::Offset(asked))));
        assert_eq!(answer, expected);
        assert!(reader.stream().iter().all(|one| one.contains('=')), "no gap");
    }
    let reader = connect(&mut world);
    assert_eq!(world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").from(Start::Time(0)))), "3..5");
}

/// Random writes to few and many keys, with pauses in which space is reclaimed: remaining records keep offset and
/// content.
#[test]
fn c_23_remaining_records_keep_their_order_and_bytes_through_many_rewrites() {
    let mut world = World::new().checked_at_rest();
    let peer = topic(&mut world, latest().max_bytes(u64::MAX));
    let (mut dice, mut newest) = (Dice::new(23), std::collections::BTreeMap::new());
    let mut offset = 0;
    for _ in 0..150 {
        let bodies: Vec<_> = (0..40)
            .map(|_| {
                let key = if dice.below(10) == 0 { dice.below(400) } else { dice.below(8) };
                (format!("k{key}"), format!("{:0>len$}", offset + 1, len = 20 + dice.below(400)))
            })
            .collect();
        for (key, body) in &bodies {
            put(&mut world, &peer, key, body);
            newest.insert(key.clone(), (offset, body.clone()));
            offset += 1;
        }
        if dice.below(4) == 0 {
            world.advance(secs(2));
        }
    }
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    let received: Vec<_> = reader.records().into_iter().map(|one| (one.offset, one.body)).collect();
    let mut expected: Vec<_> =
        newest.into_values().map(|(offset, body): (u64, String)| (offset, body.into_bytes())).collect();
    expected.sort_unstable();
    assert_eq!(received, expected);
}

#[test]
fn c6_records_without_a_key_are_never_superseded_and_the_empty_key_is_a_key() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    for body in ["0", "1"] {
        world.ask(&peer, peer.publish("t", body));
    }
    for body in ["2", "3"] {
        put(&mut world, &peer, "", body);
    }
    assert_eq!(new_reader(&mut world), ["0..4", "1/0=0", "1/1=1", "1/3=3"]);
}

#[test]
fn c6_within_one_publish_the_later_record_of_a_key_supersedes_and_nothing_is_a_duplicate() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let records = [keyed("a", b"0"), keyed("b", b"1"), keyed("a", b"2"), record(b"3"), keyed("a", b"4")];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &records)), "@0");
    assert_eq!(new_reader(&mut world), ["1..5", "1/1=1", "1/3=3", "1/4=4"]);
    assert_eq!(world.broker.stats().duplicates, 0);
}

#[test]
fn c6_a_delivery_ends_at_a_hole() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    for (key, body) in [("a", "0"), ("b", "1"), ("b", "2"), ("c", "3"), ("b", "4")] {
        put(&mut world, &peer, key, body);
    }
    let reader = connect(&mut world);
    assert_eq!(world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9))), "0..5");
    assert_eq!(reader.stream(), ["1/0=0", "1/3=3", "1/4=4"]);
    let deliveries = reader.frames().iter().filter(|(kind, _)| *kind == 0x49).count();
    assert_eq!((deliveries, reader.silent()), (2, 2));
}

#[test]
fn c6_a_delivered_record_that_is_superseded_can_still_be_committed() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "k", "0");
    assert_eq!(reader.stream(), ["1/0=0"]);
    put(&mut world, &peer, "k", "1");
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/1=1"]);
}

/// Ten keys written repeatedly use the memory of ten records, not of a million.
#[test]
fn c6_memory_is_that_of_live_records() {
    let mut world = World::new().checked_at_rest();
    let peer = topic(&mut world, latest().max_messages(u64::MAX).max_bytes(u64::MAX));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "static", "stays");
    let before = world.broker.ledger().topics;
    let keys: Vec<_> = (0..10).map(|key| format!("key {key}")).collect();
    let mut most = 0;
    for round in 0..200_u32 {
        let body = round.to_le_bytes();
        let records: Vec<_> = (0..5_000).map(|at| keyed(&keys[at % 10], &body)).collect();
        peer.publish_with("t", AckLevel::None, &records);
        world.settle();
        most = most.max(world.broker.ledger().topics);
        if round % 20 == 10 {
            world.advance(secs(2));
        }
    }
    assert!(most < before + (256 << 10), "{before} before, {most} at most");
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.silent() + 11, 1_000_001, "the reader skips all but the newest");
    assert_eq!(new_reader(&mut world).len(), 1 + 1 + 10);
}

/// Superseded records use memory until the end of their window, and tombstones until they expire.
#[test]
fn c6_memory_is_freed_with_windows_tombstones_and_keys() {
    let mut world = World::new().checked_at_rest();
    let peer = topic(&mut world, lag(10).tombstone_ttl(secs(20)).max_bytes(u64::MAX));
    put(&mut world, &peer, "static", "stays");
    world.advance(secs(2));
    let before = world.broker.ledger().topics;
    for round in 0..20 {
        let keys: Vec<_> = (0..500).map(|key| format!("key {key}")).collect();
        let body = [b'x'; 100];
        let put = |key| if round < 19 { keyed(key, &body) } else { tombstone(key) };
        let records: Vec<_> = keys.iter().map(|key| put(key)).collect();
        peer.publish_with("t", AckLevel::None, &records);
        world.settle();
    }
    assert!(world.broker.ledger().topics > before + 19 * 500 * 116, "all of them live");
    world.advance(secs(30));
    let after = world.broker.ledger().topics;
    assert!(after < before + (24 << 10), "{before} before, {after} after");
    assert_eq!(new_reader(&mut world), ["0..10001", "1/0=stays"]);
}

/// Many records die at one instant: work continues in bounded steps, and answers are exact meanwhile.
#[test]
fn r_12_many_deaths_at_one_instant() {
    let mut world = World::new().checked_at_rest();
    let peer = topic(&mut world, lag(10));
    let keys: Vec<_> = (0..10_000).map(|key| format!("{key}")).collect();
    for body in [b"a", b"b"] {
        let records: Vec<_> = keys.iter().map(|key| keyed(key, body)).collect();
        peer.publish_with("t", AckLevel::None, &records);
    }
    world.settle();
    let now = world.now;
    world.jump(now + secs(10));
    assert_eq!(new_reader(&mut world).len(), 1 + 10_000);
}
