//! R: retention.

use zaichik_proto::{Overflow, Record, Start, TopicOptions};

use crate::world::{Peer, Sub, World, ms, record, secs, us};

/// A topic with these settings, and a connection.
fn topic(world: &mut World, options: TopicOptions) -> Peer {
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.create("t", options)), "created");
    peer
}

fn publish(world: &mut World, peer: &Peer, bodies: &[&str]) {
    for body in bodies {
        let answer = world.ask(peer, peer.publish("t", body));
        assert!(answer.starts_with('@'), "{answer}");
    }
}

/// A record that lives for so long.
fn mortal(body: &str, micros: u64) -> Record<'_> {
    Record { ttl_micros: Some(micros), ..record(body.as_bytes()) }
}

/// What a newcomer that takes everything gets.
fn everything(world: &mut World) -> Vec<String> {
    let newcomer = world.connect();
    world.ask(&newcomer, newcomer.subscribe_to(Sub::new(1, "t").window(0)));
    let stream = newcomer.stream();
    newcomer.close();
    world.settle();
    stream
}

#[test]
fn r_01_delivered_just_before_it_expires() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retention_ttl(secs(10)));
    publish(&mut world, &peer, &["a"]);
    world.advance(us(9_999_999));
    assert_eq!(world.ask(&peer, peer.subscribe(1, "t")), "0..1");
    assert_eq!(peer.stream(), ["1/0=a"]);
}

#[test]
fn r_02_not_delivered_at_the_instant_it_expires() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retention_ttl(secs(10)));
    publish(&mut world, &peer, &["a"]);
    world.advance(secs(10));
    assert_eq!(world.ask(&peer, peer.subscribe(1, "t")), "1..1");
    assert!(peer.stream().is_empty());
}

#[test]
fn r1_expiry_does_not_depend_on_housekeeping() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retention_ttl(secs(10)));
    publish(&mut world, &peer, &["a"]);
    // Nobody was told of any deadline on the way.
    let now = world.now() + secs(10);
    world.jump(now);
    assert_eq!(world.ask(&peer, peer.subscribe(1, "t")), "1..1");
}

#[test]
fn r1_each_record_expires_on_its_own() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retention_ttl(secs(10)));
    for body in ["a", "b", "c", "d"] {
        publish(&mut world, &peer, &[body]);
        world.advance(us(1));
    }
    // They share a chunk, and still each lives to its own microsecond.
    world.advance(secs(10) - us(5));
    for left in [4, 3, 2, 1, 0] {
        assert_eq!(everything(&mut world).len(), left);
        world.advance(us(1));
    }
}

#[test]
fn r1_for_ever() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    publish(&mut world, &peer, &["a"]);
    world.advance(secs(100 * 365 * 86_400));
    assert_eq!(everything(&mut world), ["1/0=a"]);
}

#[test]
fn r_03_live_only_delivers_to_whoever_is_there() {
    let mut world = World::new();
    let (writer, reader) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    publish(&mut world, &writer, &["a"]);
    assert_eq!(reader.stream(), ["1/0=a"]);
    for start in [Start::Earliest, Start::Latest, Start::Offset(0), Start::Time(0)] {
        let newcomer = world.connect();
        assert_eq!(world.ask(&newcomer, newcomer.subscribe_to(Sub::new(1, "t").from(start))), "1..1");
        assert!(newcomer.stream().is_empty());
    }
}

#[test]
fn r2_kept_until_each_subscription_has_committed() {
    let mut world = World::new();
    let (fast, slow, writer) = (world.connect(), world.connect(), world.connect());
    world.ask(&fast, fast.subscribe(1, "t"));
    world.ask(&slow, slow.subscribe(1, "t"));
    publish(&mut world, &writer, &["a", "b", "c"]);
    for offset in 0..3 {
        assert_eq!(fast.stream().len(), 1);
        world.ask(&fast, fast.commit(1, offset));
    }
    world.advance(secs(3_600));
    assert_eq!(slow.stream(), ["1/0=a"]);
    world.ask(&slow, slow.commit(1, 0));
    world.ask(&slow, slow.commit(1, 1));
    assert_eq!(slow.stream(), ["1/1=b", "1/2=c"]);
}

#[test]
fn r2_what_everybody_has_committed_is_freed() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(1_000)));
    publish(&mut world, &writer, &["warm"]);
    world.ask(&reader, reader.commit(1, 0));
    world.advance(secs(2));
    let before = world.broker.ledger().topics;
    let body = "x".repeat(10_000);
    for _ in 0..50 {
        publish(&mut world, &writer, &[&body]);
    }
    world.advance(secs(2));
    assert!(world.broker.ledger().topics > before + 500_000);
    // Nothing is published any more: the commit alone frees them.
    world.ask(&reader, reader.commit(1, 50));
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r2_what_was_kept_for_a_connection_that_ended_is_freed() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    let before = world.broker.ledger().topics;
    let body = "x".repeat(10_000);
    for _ in 0..50 {
        publish(&mut world, &writer, &[&body]);
    }
    world.advance(secs(2));
    reader.cut();
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r2_window_0_frees_what_was_put_into_the_output() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    let before = world.broker.ledger().topics;
    reader.stop_reading();
    let body = "x".repeat(10_000);
    for _ in 0..100 {
        publish(&mut world, &writer, &[&body]);
    }
    world.advance(secs(5));
    reader.go_on_reading();
    world.advance(secs(2));
    assert_eq!(reader.stream().len(), 100);
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r_04_what_expires_before_its_turn_is_one_gap() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retention_ttl(secs(3)));
    for body in ["0", "1", "2", "3", "4"] {
        publish(&mut world, &peer, &[body]);
        world.advance(secs(1));
    }
    // At 5: the records of 0, 1 and 2 are dead.
    assert_eq!(world.ask(&peer, peer.subscribe(1, "t")), "3..5");
    assert_eq!(peer.stream(), ["1/3=3"]);
    publish(&mut world, &peer, &["5", "6"]);
    world.advance(secs(2));
    publish(&mut world, &peer, &["7"]);
    world.advance(secs(1));
    // At 8: those of 4 and 5 are dead too, while 3 still was not committed.
    assert_eq!(world.ask(&peer, peer.commit(1, 3)), "done 4");
    assert_eq!(peer.stream(), ["1/4..7 expired", "1/7=7"]);
    assert_eq!(world.ask(&peer, peer.commit(1, 6)), "done 7");
}

#[test]
fn r_06_subscribing_in_the_same_step_as_a_publish_leaves_no_seam() {
    for writer_first in [true, false] {
        let mut world = World::new();
        let first = topic(&mut world, TopicOptions::new().retain_forever());
        let second = world.connect();
        let (writer, reader) = if writer_first { (&first, &second) } else { (&second, &first) };
        for body in ["a", "b", "c"] {
            writer.publish("t", body);
        }
        reader.subscribe_to(Sub::new(1, "t").window(10));
        for body in ["d", "e"] {
            writer.publish("t", body);
        }
        world.settle();
        assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c", "1/3=d", "1/4=e"]);
    }
}

#[test]
fn r_07_the_message_s_own_time_to_live_counts_if_it_is_smaller() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    world.ask(&peer, peer.subscribe(1, "t"));
    peer.publish_all("t", &[record(b"a"), mortal("b", 1_000_000), record(b"c")]);
    world.advance(secs(2));
    assert_eq!(peer.stream(), ["1/0=a"]);
    assert_eq!(world.ask(&peer, peer.commit(1, 0)), "done 1");
    assert_eq!(peer.stream(), ["1/1..2 expired", "1/2=c"]);
}

#[test]
fn r8_the_smaller_time_to_live_counts_to_the_microsecond() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retention_ttl(secs(10)));
    let records = [mortal("longer", 60_000_000), mortal("shorter", 2_000_000), record(b"none")];
    peer.publish_all("t", &records);
    world.advance(us(1_999_999));
    assert_eq!(everything(&mut world), ["1/0=longer", "1/1=shorter", "1/2=none"]);
    world.advance(us(1));
    assert_eq!(everything(&mut world), ["1/0=longer", "1/1..2 expired", "1/2=none"]);
    world.advance(us(7_999_999));
    assert_eq!(everything(&mut world).len(), 3);
    world.advance(us(1));
    assert!(everything(&mut world).is_empty());
}

#[test]
fn r8_on_a_live_only_topic_it_bounds_the_wait() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.subscribe(1, "t"));
    peer.publish_all("t", &[record(b"a"), mortal("b", 1_000_000), mortal("c", 3_000_000)]);
    world.advance(secs(2));
    world.ask(&peer, peer.commit(1, 0));
    assert_eq!(peer.stream(), ["1/0=a", "1/1..2 expired", "1/2=c"]);
}

#[test]
fn r8_memory_of_mortal_records_is_freed_though_the_topic_keeps_for_ever() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    let before = world.broker.ledger().topics;
    let body = "x".repeat(1_000);
    for _ in 0..1_000 {
        world.ask(&peer, peer.publish_all("t", &[mortal(&body, 5_000_000)]));
    }
    assert!(world.broker.ledger().topics > before + 1_000_000);
    world.advance(secs(7));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
    assert!(everything(&mut world).is_empty());
}

#[test]
fn r_08_a_newcomer_gets_the_last_ones_within_the_limit() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever().max_messages(3));
    publish(&mut world, &peer, &["0", "1", "2", "3", "4"]);
    assert_eq!(everything(&mut world), ["1/2=2", "1/3=3", "1/4=4"]);
}

#[test]
fn r5_max_bytes_drops_the_oldest() {
    let mut world = World::new();
    // A record is 16 bytes and its body.
    let peer = topic(&mut world, TopicOptions::new().retain_forever().max_bytes(3 * 17));
    publish(&mut world, &peer, &["0", "1", "2", "3"]);
    assert_eq!(everything(&mut world), ["1/1=1", "1/2=2", "1/3=3"]);
    publish(&mut world, &peer, &["four"]);
    assert_eq!(everything(&mut world), ["1/3=3", "1/4=four"]);
}

#[test]
fn r5_max_bytes_across_many_chunks() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever().max_bytes(100 * 1_016));
    let body = "x".repeat(1_000);
    for count in 1..=350_usize {
        publish(&mut world, &peer, &[&body]);
        if count % 25 == 0 {
            let seen = everything(&mut world);
            assert_eq!(seen.len(), count.min(100));
            assert!(seen[0].starts_with(&format!("1/{}=", count.saturating_sub(100))));
        }
    }
}

#[test]
fn r_09_reject_refuses_and_loses_nothing() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_messages(2).overflow(Overflow::Reject);
    let peer = topic(&mut world, options);
    publish(&mut world, &peer, &["0", "1"]);
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
    assert_eq!(everything(&mut world), ["1/0=0", "1/1=1"]);
    // That reader had no commits to make: window 0 commits what enters the output, and it is gone.
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
}

#[test]
fn r_09_reject_drops_what_every_subscription_has_committed_and_no_more() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_messages(3).overflow(Overflow::Reject);
    let peer = topic(&mut world, options);
    publish(&mut world, &peer, &["0", "1", "2"]);
    let (one, two) = (world.connect(), world.connect());
    world.ask(&one, one.subscribe_to(Sub::new(1, "t").window(3)));
    world.ask(&two, two.subscribe(1, "t"));
    world.ask(&one, one.commit(1, 1));
    assert_eq!(world.ask(&peer, peer.publish("t", "3")), "refused TopicFull", "two has committed nothing");
    world.ask(&two, two.commit(1, 0));
    assert_eq!(world.ask(&peer, peer.publish("t", "3")), "@3");
    assert_eq!(world.ask(&peer, peer.publish("t", "4")), "refused TopicFull");
    // Only as far as needed: record 1 would be committed by both now, and stays until its place is needed.
    world.ask(&two, two.commit(1, 1));
    assert_eq!(everything(&mut world), ["1/1=1", "1/2=2", "1/3=3"]);
}

#[test]
fn r_09_reject_drops_what_expired() {
    let mut world = World::new();
    let options = TopicOptions::new().retention_ttl(secs(5)).max_messages(2).overflow(Overflow::Reject);
    let peer = topic(&mut world, options);
    publish(&mut world, &peer, &["0"]);
    world.advance(secs(1));
    publish(&mut world, &peer, &["1"]);
    world.advance(us(3_999_999));
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
    world.advance(us(1));
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "@2");
    assert_eq!(everything(&mut world), ["1/1=1", "1/2=2"]);
}

#[test]
fn r_09_reject_drops_what_died_by_its_own_time_to_live() {
    for wait in [us(1_000_000), secs(30)] {
        let mut world = World::new();
        let options = TopicOptions::new().retain_forever().max_messages(3).overflow(Overflow::Reject);
        let peer = topic(&mut world, options);
        for body in ["0", "1", "2"] {
            world.ask(&peer, peer.publish_all("t", &[mortal(body, 1_000_000)]));
        }
        assert_eq!(world.ask(&peer, peer.publish("t", "3")), "refused TopicFull");
        // At once, or long after the memory was freed.
        world.advance(wait);
        assert_eq!(world.ask(&peer, peer.publish("t", "3")), "@3");
        assert_eq!(everything(&mut world), ["1/3=3"]);
    }
}

#[test]
fn r_09_reject_reaches_past_a_hole() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_messages(4).overflow(Overflow::Reject);
    let peer = topic(&mut world, options);
    let reader = world.connect();
    publish(&mut world, &peer, &["0"]);
    world.advance(secs(2));
    world.ask(&peer, peer.publish_all("t", &[mortal("1", 1_000_000), mortal("2", 1_000_000)]));
    world.advance(secs(5));
    publish(&mut world, &peer, &["3"]);
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    world.ask(&reader, reader.commit(1, 0));
    // Record 0 is committed, 1 and 2 are dead: there is room for three.
    for offset in 4..7 {
        assert_eq!(world.ask(&peer, peer.publish("t", "x")), format!("@{offset}"));
    }
    assert_eq!(world.ask(&peer, peer.publish("t", "x")), "refused TopicFull");
}

#[test]
fn r_09_reject_on_a_live_only_topic_keeps_nothing_for_nobody() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().max_messages(2).overflow(Overflow::Reject));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    publish(&mut world, &peer, &["0", "1"]);
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
    // It was kept for one subscription, which has ended: it is kept no more (R2).
    reader.cut();
    world.settle();
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "@2");
}

#[test]
fn r5_reject_counts_bytes() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_bytes(40).overflow(Overflow::Reject);
    let peer = topic(&mut world, options);
    publish(&mut world, &peer, &["0", "1"]);
    assert_eq!(world.ask(&peer, peer.publish("t", "2")), "refused TopicFull");
    assert_eq!(everything(&mut world).len(), 2);
}

#[test]
fn r_10_one_message_larger_than_the_topic_is_refused_and_the_log_is_intact() {
    for overflow in [Overflow::DropOldest, Overflow::Reject] {
        let mut world = World::new();
        let peer = topic(&mut world, TopicOptions::new().retain_forever().max_bytes(100).overflow(overflow));
        publish(&mut world, &peer, &["0"]);
        let large = "x".repeat(85);
        assert_eq!(world.ask(&peer, peer.publish("t", &large)), "refused TooLarge 100");
        publish(&mut world, &peer, &["1"]);
        assert_eq!(everything(&mut world), ["1/0=0", "1/1=1"]);
        // The largest that fits beside them.
        publish(&mut world, &peer, &[&"x".repeat(50)]);
        assert_eq!(everything(&mut world).len(), 3);
    }
}

/// docs/protocol.md §11.13: a publish never evicts its own records.
#[test]
fn r_10_a_publish_that_alone_exceeds_a_limit_is_refused() {
    for overflow in [Overflow::DropOldest, Overflow::Reject] {
        let mut world = World::new();
        let options = TopicOptions::new().retain_forever().max_messages(3).max_bytes(60).overflow(overflow);
        let peer = topic(&mut world, options);
        publish(&mut world, &peer, &["0"]);
        let four = [record(b""), record(b""), record(b""), record(b"")];
        assert_eq!(world.ask(&peer, peer.publish_all("t", &four)), "refused TooLarge 3");
        let long = [record(b"123456789012345"), record(b"123456789012345")];
        assert_eq!(world.ask(&peer, peer.publish_all("t", &long)), "refused TooLarge 60");
        assert_eq!(everything(&mut world), ["1/0=0"]);
    }
}

#[test]
fn r_12_a_million_records_expire_at_one_instant() {
    let mut world = World::new().checked_at_rest();
    let peer = topic(&mut world, TopicOptions::new().retention_ttl(secs(10)));
    let before = world.broker.ledger().topics;
    let records = vec![record(b"x"); 50_000];
    for _ in 0..20 {
        peer.publish_all("t", &records);
        world.settle();
    }
    assert!(world.broker.ledger().topics > before + 16_000_000);
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.advance(secs(10));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=x", "1/1..1000000 expired"]);
    world.advance(secs(2));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
}

#[test]
fn r_16_a_delivered_record_that_expires_stays_committable() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retention_ttl(secs(1)));
    world.ask(&peer, peer.subscribe(1, "t"));
    publish(&mut world, &peer, &["a"]);
    world.advance(secs(30));
    assert_eq!(world.ask(&peer, peer.commit(1, 0)), "done 1");
    assert_eq!(peer.stream(), ["1/0=a"]);
}

#[test]
fn r3_start_positions() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retention_ttl(secs(100)));
    let begin = world.now().as_micros();
    for body in ["0", "1", "2", "3", "4"] {
        publish(&mut world, &peer, &[body]);
        world.advance(secs(10));
    }
    world.advance(secs(60));
    // At 110: the records of 0 and 10 are dead.
    let mut number = 0;
    let mut start = |world: &mut World, start| {
        let peer = world.connect();
        number += 1;
        world.ask(&peer, peer.subscribe_to(Sub::new(number, "t").from(start)))
    };
    assert_eq!(start(&mut world, Start::Earliest), "2..5");
    assert_eq!(start(&mut world, Start::Latest), "5..5");
    for (asked, got) in [(0, "2..5"), (1, "2..5"), (2, "2..5"), (4, "4..5"), (5, "5..5"), (9, "9..5")] {
        assert_eq!(start(&mut world, Start::Offset(asked)), got, "offset {asked}");
    }
    for (asked, got) in [(0, "2..5"), (20, "2..5"), (21, "3..5"), (40, "4..5"), (41, "5..5"), (900, "5..5")] {
        assert_eq!(start(&mut world, Start::Time(begin + asked * 1_000_000)), got, "time {asked}");
    }
}

#[test]
fn r3_a_start_past_the_end_waits_for_its_offset() {
    for options in [TopicOptions::new(), TopicOptions::new().retain_forever()] {
        let mut world = World::new();
        let peer = topic(&mut world, options);
        let reader = world.connect();
        let sub = Sub::new(1, "t").from(Start::Offset(3)).window(9);
        assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), "3..0");
        publish(&mut world, &peer, &["0", "1", "2"]);
        assert!(reader.stream().is_empty());
        // What is before the start counts as committed.
        assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 3");
        assert_eq!(world.ask(&reader, reader.commit(1, 3)), "refused CommitAhead 3");
        publish(&mut world, &peer, &["3", "4"]);
        assert_eq!(reader.stream(), ["1/3=3", "1/4=4"]);
    }
}

#[test]
fn r3_no_gap_for_what_was_before_the_start() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever().max_messages(2));
    publish(&mut world, &peer, &["0", "1", "2", "3"]);
    let reader = world.connect();
    let sub = Sub::new(1, "t").from(Start::Offset(0)).window(9);
    assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), "2..4");
    assert_eq!(reader.stream(), ["1/2=2", "1/3=3"]);
}

#[test]
fn r3_the_start_skips_records_that_died_by_their_own_time_to_live() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever());
    peer.publish_all("t", &[mortal("0", 1_000), mortal("1", 1_000), record(b"2"), mortal("3", 1_000)]);
    world.advance(ms(1));
    let reader = world.connect();
    assert_eq!(world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9))), "2..4");
    assert_eq!(reader.stream(), ["1/2=2", "1/3..4 expired"]);
    let reader = world.connect();
    let sub = Sub::new(1, "t").from(Start::Offset(3));
    assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), "4..4");
    assert!(reader.stream().is_empty());
}

/// A defect of the first Zaichik: what was retained had no bound.
#[test]
fn r5_retained_messages_are_bounded() {
    let mut world = World::new();
    let peer = topic(&mut world, TopicOptions::new().retain_forever().max_bytes(1 << 20));
    let body = vec![b'x'; 60_000];
    for _ in 0..200 {
        world.ask(&peer, peer.publish_all("t", &[record(&body)]));
        assert!(world.broker.ledger().topics < (1 << 20) + (256 << 10));
    }
}
