//! C6 to C8: compaction in `latest` mode. The newest record of a key supersedes the older ones.

use zaichik_proto::{AckLevel, CompactionMode, Overflow, Record, Start, TopicOptions};

use crate::world::{Dice, Peer, Sub, World, keyed, mortal, ms, record, secs, us};

fn latest() -> TopicOptions {
    TopicOptions::new().retain_forever().compaction(CompactionMode::Latest)
}

/// Superseded records stay for so many seconds.
fn lag(seconds: u64) -> TopicOptions {
    latest().compaction_window(secs(seconds))
}

/// The topic "t", and a connection to which offsets may be passed without a word.
fn topic(world: &mut World, options: TopicOptions) -> Peer {
    let peer = world.topic(options);
    peer.expect_silence();
    peer
}

fn connect(world: &mut World) -> Peer {
    let peer = world.connect();
    peer.expect_silence();
    peer
}

fn put(world: &mut World, peer: &Peer, key: &str, body: &str) -> String {
    world.ask(peer, peer.publish_keyed("t", key, body))
}

const fn tombstone(key: &str) -> Record<'_> {
    Record { tombstone: true, ..keyed(key, b"") }
}

fn delete(world: &mut World, peer: &Peer, key: &str) -> String {
    world.ask(peer, peer.publish_all("t", &[tombstone(key)]))
}

/// Where a newcomer begins, and what it gets.
fn newcomer(world: &mut World) -> Vec<String> {
    let newcomer = connect(world);
    let start = world.ask(&newcomer, newcomer.subscribe_to(Sub::new(1, "t").window(0)));
    let stream = newcomer.stream();
    newcomer.close();
    world.settle();
    core::iter::once(start).chain(stream).collect()
}

#[test]
fn c_16_a_newcomer_gets_the_newest_value() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    assert_eq!(put(&mut world, &peer, "k", "1"), "@0");
    assert_eq!(put(&mut world, &peer, "k", "2"), "@1");
    assert_eq!(newcomer(&mut world), ["1..2", "1/1=2"]);
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
fn c_18_within_the_window_both_are_there() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(10));
    put(&mut world, &peer, "k", "1");
    world.advance(secs(4));
    put(&mut world, &peer, "k", "2");
    world.advance(us(5_999_999));
    assert_eq!(newcomer(&mut world), ["0..2", "1/0=1", "1/1=2"]);
    world.advance(us(1));
    assert_eq!(newcomer(&mut world), ["1..2", "1/1=2"], "the window counts from the record's own acceptance");
}

#[test]
fn c_18_a_record_older_than_the_window_is_gone_when_it_is_superseded() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(10));
    put(&mut world, &peer, "k", "1");
    world.advance(secs(50));
    assert_eq!(newcomer(&mut world), ["0..1", "1/0=1"], "the newest one stays");
    put(&mut world, &peer, "k", "2");
    assert_eq!(newcomer(&mut world), ["1..2", "1/1=2"]);
}

#[test]
fn c_18_the_window_does_not_depend_on_housekeeping() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(10));
    for body in ["1", "2", "3"] {
        put(&mut world, &peer, "k", body);
    }
    let now = world.now();
    world.jump(now + us(9_999_999));
    assert_eq!(newcomer(&mut world), ["0..3", "1/0=1", "1/1=2", "1/2=3"]);
    world.jump(now + secs(10));
    let reader = connect(&mut world);
    assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), "2..3");
    assert_eq!(reader.stream(), ["1/2=3"]);
}

#[test]
fn c_19_a_tombstone_lives_for_its_time() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().tombstone_ttl(secs(60)));
    put(&mut world, &peer, "k", "1");
    assert_eq!(delete(&mut world, &peer, "k"), "@1");
    world.advance(us(59_999_999));
    assert_eq!(newcomer(&mut world), ["1..2", "1/1="]);
    world.advance(us(1));
    assert_eq!(newcomer(&mut world), ["2..2"]);
}

#[test]
fn c_19_a_tombstone_is_superseded_too() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    delete(&mut world, &peer, "k");
    put(&mut world, &peer, "k", "1");
    assert_eq!(newcomer(&mut world), ["1..2", "1/1=1"]);
}

#[test]
fn c_19_a_tombstone_whose_time_is_over_is_passed_without_a_gap() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(1_000).tombstone_ttl(secs(5)));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "other", "0");
    delete(&mut world, &peer, "k");
    put(&mut world, &peer, "k", "2");
    world.advance(secs(5));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/2=2"], "also within the window in which it was superseded");
    assert_eq!(world.broker.stats().superseded, 1);
}

#[test]
fn c_20_a_tombstone_for_an_unknown_key() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    assert_eq!(delete(&mut world, &peer, "k"), "@0");
    assert_eq!(delete(&mut world, &peer, ""), "@1");
    assert_eq!(newcomer(&mut world), ["0..2", "1/0=", "1/1="]);
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
    assert_eq!(newcomer(&mut world), ["1..2", "1/1=2"]);
    world.advance(us(1));
    assert_eq!(newcomer(&mut world), ["2..2"]);
    assert_eq!(put(&mut world, &peer, "l", "x"), "@2");
}

#[test]
fn c_21_a_value_that_outlived_its_successor_does_not_come_back() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    put(&mut world, &peer, "k", "1");
    world.ask(&peer, peer.publish_all("t", &[Record { ttl_micros: Some(1_000), ..keyed("k", b"2") }]));
    world.advance(ms(1));
    assert_eq!(newcomer(&mut world), ["2..2"]);
}

#[test]
fn c_22_an_explicit_start_at_an_offset_that_was_compacted_away() {
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

/// Random writes to few keys and many, with pauses in which space is used again: survivors keep offset and content.
#[test]
fn c_23_survivors_keep_their_order_and_bytes_through_many_rewrites() {
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
    assert_eq!(newcomer(&mut world), ["0..4", "1/0=0", "1/1=1", "1/3=3"]);
}

#[test]
fn c6_within_one_publish_the_later_record_of_a_key_supersedes_and_nothing_is_a_duplicate() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let records = [keyed("a", b"0"), keyed("b", b"1"), keyed("a", b"2"), record(b"3"), keyed("a", b"4")];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &records)), "@0");
    assert_eq!(newcomer(&mut world), ["1..5", "1/1=1", "1/3=3", "1/4=4"]);
    assert_eq!(world.broker.stats().duplicates, 0);
}

#[test]
fn c6_a_delivery_is_cut_at_a_hole() {
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
fn c6_a_delivered_record_that_is_superseded_stays_committable() {
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

#[test]
fn c6_the_cursor_moves_past_a_silent_hole_as_past_a_gap() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(2)));
    for (key, body) in [("a", "0"), ("b", "1"), ("k", "2"), ("k", "3"), ("k", "4")] {
        put(&mut world, &peer, key, body);
    }
    assert_eq!(reader.stream(), ["1/0=0", "1/1=1"]);
    // Reading stands at 2; what is passed there counts as delivered.
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "refused CommitAhead 2");
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/4=4"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 3)), "done 4");
}

#[test]
fn c6_gaps_are_cut_at_silent_offsets() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "first", "0");
    let records =
        [mortal("1", 1_000), mortal("2", 1_000), keyed("k", b"3"), mortal("4", 1_000), keyed("k", b"5")];
    world.ask(&peer, peer.publish_all("t", &records));
    world.advance(ms(1));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..3 expired", "1/4..5 expired", "1/5=5"]);
    assert_eq!((world.broker.stats().superseded, reader.silent()), (1, 1));
}

/// The same after the space of all of them was used again.
#[test]
fn c6_gaps_and_silent_offsets_are_told_apart_when_their_records_are_gone() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "first", "0");
    let (body, before) = ("x".repeat(1_000), world.broker.ledger().topics);
    for _ in 0..3 {
        put(&mut world, &peer, "k", &body);
        world.ask(&peer, peer.publish_all("t", &[mortal(&body, 1_000), mortal(&body, 1_000)]));
    }
    put(&mut world, &peer, "k", "10");
    assert!(world.broker.ledger().topics > before + 9_000);
    world.advance(secs(5));
    assert!(world.broker.ledger().topics < before + 1_000, "the space is used again");
    assert_eq!(
        newcomer(&mut world),
        ["0..11", "1/0=0", "1/2..4 expired", "1/5..7 expired", "1/8..10 expired", "1/10=10"]
    );
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/2..4 expired", "1/5..7 expired", "1/8..10 expired", "1/10=10"]);
    assert_eq!(reader.silent(), 3);
}

#[test]
fn c6_what_died_of_its_own_ttl_before_it_was_superseded_is_a_gap() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "first", "0");
    let mortal = |body| Record { ttl_micros: Some(5_000), ..keyed("k", body) };
    world.ask(&peer, peer.publish_all("t", &[mortal(b"1")]));
    world.advance(ms(5));
    // It dies at 5 ms; who is superseded at that instant died of its own.
    world.ask(&peer, peer.publish_all("t", &[mortal(b"2")]));
    world.advance(us(4_999));
    // This one is superseded a moment before its own end.
    put(&mut world, &peer, "k", "3");
    world.advance(secs(1));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..2 expired", "1/3=3"]);
    assert_eq!(reader.silent(), 1);
}

#[test]
fn c8_what_retention_or_a_limit_removed_is_a_gap_though_it_was_superseded() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().retention_ttl(secs(10)));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "first", "0");
    put(&mut world, &peer, "k", "1");
    put(&mut world, &peer, "k", "2");
    world.advance(secs(5));
    put(&mut world, &peer, "k", "3");
    world.advance(secs(5));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..3 expired", "1/3=3"]);
    world.ask(&peer, peer.alter("t", TopicOptions::new().max_messages(2)));
    for body in ["4", "5", "6", "7"] {
        put(&mut world, &peer, "k", body);
    }
    world.ask(&reader, reader.commit(1, 3));
    assert_eq!(reader.stream(), ["1/4..6 limit", "1/7=7"], "6 is not below the first offset");
    assert_eq!(reader.silent(), 1);
}

#[test]
fn c8_a_front_that_was_superseded_stays_silent() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "k", "0");
    let body = "x".repeat(3_000);
    for _ in 0..50 {
        put(&mut world, &peer, "k", &body);
    }
    world.advance(secs(5));
    put(&mut world, &peer, "k", "51");
    world.advance(secs(5));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/51=51"]);
    assert_eq!(world.broker.stats().superseded, 50);
}

#[test]
fn c8_holes_count_as_messages_and_bytes() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_messages(3));
    for (key, body) in [("a", "0"), ("b", "1"), ("b", "2")] {
        put(&mut world, &peer, key, body);
    }
    assert_eq!(newcomer(&mut world), ["0..3", "1/0=0", "1/2=2"]);
    put(&mut world, &peer, "b", "3");
    assert_eq!(newcomer(&mut world), ["3..4", "1/3=3"]);
    // 18 bytes each.
    world.ask(&peer, peer.alter("t", TopicOptions::new().max_messages(100).max_bytes(18 * 3)));
    for body in ["4", "5"] {
        put(&mut world, &peer, "b", body);
    }
    put(&mut world, &peer, "c", "6");
    assert_eq!(newcomer(&mut world), ["5..7", "1/5=5", "1/6=6"]);
    put(&mut world, &peer, "d", "7");
    put(&mut world, &peer, "d", "8");
    assert_eq!(newcomer(&mut world), ["6..9", "1/6=6", "1/8=8"], "5 had to go for 7, which is dead");
}

#[test]
fn r5_reject_makes_way_over_superseded_records_only_as_far_as_needed() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_messages(4).overflow(Overflow::Reject));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    for body in ["0", "1", "2", "3"] {
        put(&mut world, &peer, "k", body);
    }
    assert_eq!(put(&mut world, &peer, "k", "4"), "@4", "0 is dead for everybody");
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/4=4"], "1 to 3 were skipped, not removed");
    for body in ["5", "6", "7"] {
        put(&mut world, &peer, "l", body);
    }
    // 4 lives now and nobody has committed it.
    assert_eq!(put(&mut world, &peer, "m", "8"), "refused TopicFull");
    assert_eq!(world.ask(&reader, reader.commit(1, 4)), "done 5");
    assert_eq!(put(&mut world, &peer, "m", "8"), "@8");
}

#[test]
fn r2_a_live_only_topic_keeps_the_newest_for_those_who_wait() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().retention_ttl(secs(0)).max_keys(2));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    for (key, body) in [("a", "0"), ("b", "1"), ("b", "2"), ("a", "3")] {
        put(&mut world, &peer, key, body);
    }
    assert_eq!(newcomer(&mut world), ["4..4"]);
    assert_eq!(put(&mut world, &peer, "c", "x"), "refused KeysFull 2");
    world.ask(&reader, reader.commit(1, 0));
    world.ask(&reader, reader.commit(1, 2));
    assert_eq!(reader.stream(), ["1/0=0", "1/2=2", "1/3=3"]);
    assert_eq!(put(&mut world, &peer, "c", "4"), "@4", "b was committed by all, so it is no longer live");
    assert_eq!(put(&mut world, &peer, "b", "5"), "refused KeysFull 2");
    world.ask(&reader, reader.unsubscribe(1));
    world.advance(secs(5));
    for key in ["p", "q", "r"] {
        assert!(put(&mut world, &peer, key, "x").starts_with('@'), "nobody reads, so no key is live");
    }
}

#[test]
fn c_12_max_keys_counts_keys_whose_newest_record_is_live() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_keys(2).tombstone_ttl(secs(10)));
    put(&mut world, &peer, "a", "0");
    put(&mut world, &peer, "b", "1");
    assert_eq!(put(&mut world, &peer, "c", "x"), "refused KeysFull 2");
    assert_eq!(put(&mut world, &peer, "a", "2"), "@2", "a key that is there may be replaced at any time");
    assert_eq!(world.ask(&peer, peer.publish("t", "no key")), "@3");
    assert_eq!(delete(&mut world, &peer, "a"), "@4");
    assert_eq!(put(&mut world, &peer, "c", "x"), "refused KeysFull 2", "the tombstone is live");
    world.advance(us(9_999_999));
    assert_eq!(put(&mut world, &peer, "c", "x"), "refused KeysFull 2");
    world.advance(us(1));
    assert_eq!(put(&mut world, &peer, "c", "5"), "@5");
    assert_eq!(put(&mut world, &peer, "a", "x"), "refused KeysFull 2");
}

#[test]
fn c_12_max_keys_is_exact_without_housekeeping() {
    let mut world = World::new();
    let options = latest().max_keys(3).tombstone_ttl(secs(10)).retention_ttl(secs(100));
    let peer = topic(&mut world, options);
    let begin = world.now();
    put(&mut world, &peer, "retained", "0");
    world.jump(begin + secs(50));
    delete(&mut world, &peer, "deleted");
    let mortal = Record { ttl_micros: Some(20_000_000), ..keyed("mortal", b"2") };
    world.ask(&peer, peer.publish_all("t", &[mortal]));
    for (at, key) in [(60, "x"), (70, "y"), (100, "z")] {
        world.jump(begin + us(at * 1_000_000 - 1));
        assert_eq!(put(&mut world, &peer, key, ""), "refused KeysFull 3", "before {at} s");
        world.jump(begin + secs(at));
        assert!(put(&mut world, &peer, key, "").starts_with('@'), "at {at} s");
        assert_eq!(put(&mut world, &peer, "more", ""), "refused KeysFull 3");
    }
}

#[test]
fn c_12_a_limit_lets_keys_go() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_keys(2).max_messages(2));
    put(&mut world, &peer, "a", "0");
    put(&mut world, &peer, "b", "1");
    assert_eq!(put(&mut world, &peer, "c", "x"), "refused KeysFull 2");
    put(&mut world, &peer, "b", "2");
    assert_eq!(put(&mut world, &peer, "c", "3"), "@3", "a was evicted");
    assert_eq!(put(&mut world, &peer, "a", "x"), "refused KeysFull 2");
}

#[test]
fn c_12_a_refused_publish_leaves_the_keys_as_they_were() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_keys(2).max_bytes(1_000));
    put(&mut world, &peer, "a", "0");
    let large = [b'x'; 1_000];
    let bad = [keyed("a", b"no"), keyed("b", b"no"), tombstone("a"), record(&large)];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &bad)), "refused TooLarge 1000");
    let full = [keyed("a", b"no"), keyed("b", b"no"), keyed("c", b"no")];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &full)), "refused KeysFull 2");
    assert_eq!(newcomer(&mut world), ["0..1", "1/0=0"]);
    assert_eq!(put(&mut world, &peer, "b", "1"), "@1", "b took no place");
    assert_eq!(put(&mut world, &peer, "a", "2"), "@2");
    assert_eq!(newcomer(&mut world), ["1..3", "1/1=1", "1/2=2"], "the old newest record was superseded");
}

#[test]
fn t3_the_mode_changes_only_while_there_are_no_records() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    put(&mut world, &peer, "k", "0");
    let first = TopicOptions::new().compaction(CompactionMode::First);
    assert_eq!(world.ask(&peer, peer.alter("t", first)), "refused InvalidSettings 4");
    world.ask(&peer, peer.alter("t", latest().retention_ttl(secs(5))));
    world.advance(us(4_999_999));
    assert_eq!(world.ask(&peer, peer.alter("t", first)), "refused InvalidSettings 4");
    let now = world.now();
    world.jump(now + us(1));
    assert_eq!(world.ask(&peer, peer.alter("t", first)), "done 0");
    assert_eq!(put(&mut world, &peer, "k", "1"), "@1");
    assert_eq!(put(&mut world, &peer, "k", "2"), "@2", "the window is 0");
    assert_eq!(newcomer(&mut world), ["1..3", "1/1=1", "1/2=2"]);
    world.advance(secs(9));
    assert_eq!(world.ask(&peer, peer.alter("t", latest())), "done 0");
    put(&mut world, &peer, "k", "3");
    put(&mut world, &peer, "k", "4");
    assert_eq!(newcomer(&mut world), ["4..5", "1/4=4"]);
}

#[test]
fn t3_adoption_may_not_change_the_mode_under_records_either() {
    let mut world = World::with(|config| config.topic_defaults.retention_ttl_micros = u64::MAX);
    let peer = world.connect();
    world.ask(&peer, peer.publish("t", "0"));
    assert_eq!(world.ask(&peer, peer.create("t", latest())), "refused InvalidSettings 4");
    assert_eq!(
        world.ask(&peer, peer.create("t", TopicOptions::new())),
        "adopted",
        "it was not adopted before"
    );
    world.ask(&peer, peer.subscribe(1, "u"));
    assert_eq!(world.ask(&peer, peer.create("u", latest())), "adopted");
}

#[test]
fn t4_the_mode_is_compared_like_every_setting() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    assert_eq!(world.ask(&peer, peer.create("t", latest())), "unchanged");
    assert_eq!(
        world.ask(&peer, peer.create("t", TopicOptions::new().retain_forever())),
        "refused SettingsDiffer 4"
    );
}

#[test]
fn t1_latest_may_be_the_default_of_a_broker() {
    let mut world = World::with(|config| {
        config.topic_defaults.compaction = CompactionMode::Latest;
        config.topic_defaults.retention_ttl_micros = u64::MAX;
    });
    let peer = connect(&mut world);
    put(&mut world, &peer, "k", "0");
    put(&mut world, &peer, "k", "1");
    assert_eq!(newcomer(&mut world), ["1..2", "1/1=1"]);
}

#[test]
fn r7_a_lowered_window_applies_at_once_and_a_raised_one_brings_nothing_back() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(10));
    put(&mut world, &peer, "k", "0");
    world.advance(secs(5));
    put(&mut world, &peer, "k", "1");
    world.advance(secs(1));
    put(&mut world, &peer, "k", "2");
    let window = |seconds| TopicOptions::new().compaction_window(secs(seconds));
    world.ask(&peer, peer.alter("t", window(5)));
    assert_eq!(newcomer(&mut world), ["1..3", "1/1=1", "1/2=2"]);
    world.ask(&peer, peer.alter("t", window(100)));
    assert_eq!(
        newcomer(&mut world),
        ["1..3", "1/1=1", "1/2=2"],
        "0 stays dead, and 1 lives by the new window"
    );
    world.advance(us(98_999_999));
    assert_eq!(newcomer(&mut world), ["1..3", "1/1=1", "1/2=2"]);
    world.advance(us(1));
    assert_eq!(newcomer(&mut world), ["2..3", "1/2=2"]);
}

#[test]
fn r7_a_raised_tombstone_ttl_brings_no_tombstone_and_no_key_back() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().tombstone_ttl(secs(1)).max_keys(1));
    delete(&mut world, &peer, "k");
    let now = world.now();
    world.jump(now + secs(1));
    world.ask(&peer, peer.alter("t", TopicOptions::new().tombstone_ttl(secs(100))));
    assert_eq!(newcomer(&mut world), ["1..1"]);
    assert_eq!(put(&mut world, &peer, "l", "1"), "@1");
}

#[test]
fn c7_a_tombstone_ttl_of_zero_lets_a_key_go_at_once() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().tombstone_ttl(secs(0)).max_keys(1));
    put(&mut world, &peer, "k", "0");
    assert_eq!(world.ask(&peer, peer.publish_all("t", &[tombstone("k"), keyed("l", b"2")])), "@1");
    assert_eq!(newcomer(&mut world), ["2..3", "1/2=2"]);
    assert_eq!(
        world.ask(&peer, peer.publish_all("t", &[tombstone("k"), keyed("k", b"")])),
        "refused KeysFull 1"
    );
}

#[test]
fn o_05_offsets_near_the_end() {
    let first = u64::MAX - 3;
    let mut world = World::with(|config| config.first_offset = first);
    let peer = topic(&mut world, latest());
    for (offset, body) in (first..).zip(["0", "1"]) {
        assert_eq!(put(&mut world, &peer, "k", body), format!("@{offset}"));
    }
    assert_eq!(put(&mut world, &peer, "k", "2"), "refused OffsetsExhausted");
    world.advance(secs(5));
    assert_eq!(newcomer(&mut world), [format!("{}..{}", first + 1, first + 2), format!("1/{}=1", first + 1)]);
}

/// Ten keys for ever: memory is that of ten records, not of a million.
#[test]
fn c6_memory_is_that_of_what_lives() {
    let mut world = World::new().checked_at_rest();
    let peer = topic(&mut world, latest().max_messages(u64::MAX).max_bytes(u64::MAX));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "static", "stays");
    let before = world.broker.ledger().total();
    let keys: Vec<_> = (0..10).map(|key| format!("key {key}")).collect();
    let mut most = 0;
    for round in 0..1_000_u32 {
        let body = round.to_le_bytes();
        let records: Vec<_> = (0..1_000).map(|at| keyed(&keys[at % 10], &body)).collect();
        peer.publish_with("t", AckLevel::None, &records);
        world.settle();
        most = most.max(world.broker.ledger().total());
        if round % 100 == 50 {
            world.advance(secs(2));
        }
    }
    assert!(most < before + (256 << 10), "{before} before, {most} at most");
    world.advance(secs(2));
    let after = world.broker.ledger().total();
    assert!(after < before + (64 << 10), "{before} before, {after} after");
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.silent() + 11, 1_000_001, "the reader passes all but the newest");
    assert_eq!(newcomer(&mut world).len(), 1 + 1 + 10);
}

/// Superseded records that wait for the end of their window, and tombstones, are memory only until then.
#[test]
fn c6_memory_follows_windows_tombstones_and_keys() {
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
    assert_eq!(newcomer(&mut world), ["0..10001", "1/0=stays"]);
}

/// Many records that die at one moment: everything goes on in bounded steps, and is exact meanwhile.
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
    let now = world.now();
    world.jump(now + secs(10));
    assert_eq!(newcomer(&mut world).len(), 1 + 10_000);
}
