//! Rules C6 and C8: superseded records are skipped without a gap, and a gap covers no superseded record alone.

use zaichik_proto::{Record, TopicOptions};

use crate::latest::{connect, latest, new_reader, put, topic};
use crate::world::{Sub, World, keyed, mortal, ms, secs, us};

#[test]
fn c6_the_cursor_moves_past_superseded_records_as_past_a_gap() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(2)));
    for (key, body) in [("a", "0"), ("b", "1"), ("k", "2"), ("k", "3"), ("k", "4")] {
        put(&mut world, &peer, key, body);
    }
    assert_eq!(reader.stream(), ["1/0=0", "1/1=1"]);
    // The reader is at 2; records skipped there count as delivered.
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "refused CommitAhead 2");
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/4=4"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 3)), "done 4");
}

#[test]
fn c6_gaps_end_at_superseded_records() {
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

/// The same after the space of all of them was reclaimed.
#[test]
fn c6_gaps_and_superseded_records_differ_even_after_reclaiming() {
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
    assert!(world.broker.ledger().topics < before + 1_000, "the space is reclaimed");
    assert_eq!(
        new_reader(&mut world),
        ["0..11", "1/0=0", "1/2..4 expired", "1/5..7 expired", "1/8..10 expired", "1/10=10"]
    );
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/2..4 expired", "1/5..7 expired", "1/8..10 expired", "1/10=10"]);
    assert_eq!(reader.silent(), 3);
}

#[test]
fn c6_a_record_that_expired_before_it_was_superseded_is_a_gap() {
    let mut world = World::new();
    let peer = topic(&mut world, latest());
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    put(&mut world, &peer, "first", "0");
    let mortal = |body| Record { ttl_micros: Some(5_000), ..keyed("k", body) };
    world.ask(&peer, peer.publish_all("t", &[mortal(b"1")]));
    world.advance(ms(5));
    // It expires at 5 ms; a record superseded at that instant counts as expired.
    world.ask(&peer, peer.publish_all("t", &[mortal(b"2")]));
    world.advance(us(4_999));
    // This one is superseded just before it expires.
    put(&mut world, &peer, "k", "3");
    world.advance(secs(1));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..2 expired", "1/3=3"]);
    assert_eq!(reader.silent(), 1);
}

#[test]
fn c8_superseded_records_removed_by_retention_or_a_limit_are_a_gap() {
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
    for (key, body) in [("k", "4"), ("k", "5"), ("l", "6"), ("m", "7"), ("m", "8")] {
        put(&mut world, &peer, key, body);
    }
    world.ask(&reader, reader.commit(1, 3));
    assert_eq!(reader.stream(), ["1/4..6 limit", "1/6=6"]);
    world.ask(&reader, reader.commit(1, 6));
    assert_eq!(reader.stream(), ["1/8=8"], "7 is not below the first offset");
    assert_eq!(reader.silent(), 1);
}

#[test]
fn c8_superseded_records_at_the_front_are_skipped_silently() {
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
fn o_05_offsets_near_the_end() {
    let first = u64::MAX - 3;
    let mut world = World::with(|config| config.first_offset = first);
    let peer = topic(&mut world, latest());
    for (offset, body) in (first..).zip(["0", "1"]) {
        assert_eq!(put(&mut world, &peer, "k", body), format!("@{offset}"));
    }
    assert_eq!(put(&mut world, &peer, "k", "2"), "refused OffsetsExhausted");
    world.advance(secs(5));
    assert_eq!(
        new_reader(&mut world),
        [format!("{}..{}", first + 1, first + 2), format!("1/{}=1", first + 1)]
    );
}
