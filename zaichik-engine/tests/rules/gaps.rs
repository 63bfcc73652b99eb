//! Rules R7 and R9: changes of settings, and gaps.

use zaichik_proto::{CompactionMode, Start, TopicOptions};

use crate::world::{Dice, Peer, Sub, World, keyed, mortal, ms, record, secs, us};

pub(crate) fn alter(world: &mut World, peer: &Peer, options: TopicOptions) {
    assert_eq!(world.ask(peer, peer.alter("t", options)), "done 0");
}

/// Where a new subscription starts.
pub(crate) fn start(world: &mut World, start: Start) -> String {
    let new_reader = world.connect();
    let answer = world.ask(&new_reader, new_reader.subscribe_to(Sub::new(1, "t").from(start)));
    new_reader.close();
    world.settle();
    answer
}

/// Deliveries, gaps and superseded records together account for every offset (rule S-02).
#[test]
fn s_02_every_offset_is_delivered_or_in_a_gap_or_superseded() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        let (reader, writer) = (world.connect(), world.connect());
        let mode = [CompactionMode::First, CompactionMode::Latest][dice.below(2)];
        let options = TopicOptions::new().retention_ttl(secs(1 + dice.below(5) as u64)).compaction(mode);
        let options = options.max_messages(1 + dice.below(6) as u64);
        assert_eq!(world.ask(&writer, writer.create("t", options)), "created");
        if mode == CompactionMode::Latest {
            reader.expect_silence();
        }
        let window = [0, 1, 4][dice.below(3)];
        world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(window)));
        let (mut delivered, mut missing, mut told) = (0u64, 0u64, 0u64);
        let mut take = |world: &mut World| {
            for one in reader.stream() {
                if let Some((range, _)) = one[2..].split_once(' ').filter(|(range, _)| range.contains("..")) {
                    let (from, to) = range.split_once("..").unwrap();
                    missing += to.parse::<u64>().unwrap() - from.parse::<u64>().unwrap();
                } else {
                    delivered += 1;
                    told = one[2..].split('=').next().unwrap().parse().unwrap();
                }
            }
            if window > 0 && delivered > 0 {
                world.ask(&reader, reader.commit(1, told));
            }
            delivered + missing
        };
        let mut published = 0;
        for _ in 0..60 {
            let key = ["k", "l", "m"][dice.below(3)];
            world.ask(&writer, writer.publish_all("t", &[keyed(key, b"x")]));
            published += 1;
            world.advance(ms(dice.below(1_500) as u64));
            if dice.below(4) == 0 {
                take(&mut world);
            }
        }
        // One more live record, so that the reader reaches the end.
        world.ask(&writer, writer.publish_all("t", &[keyed("last", b"x")]));
        published += 1;
        let mut accounted = 0;
        for _ in 0..70 {
            accounted = take(&mut world);
        }
        let silent = if mode == CompactionMode::Latest { reader.silent() } else { 0 };
        assert_eq!(silent, world.broker.stats().superseded, "seed {seed}");
        assert_eq!(accounted + silent, published, "seed {seed}");
    }
}

#[test]
fn r9_expired_and_limited_records_form_one_gap() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().max_messages(4));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.publish(&peer, &["0", "1", "2", "3"]);
    world.ask(&peer, peer.publish_all("t", &[mortal("4", 1_000), mortal("5", 1_000)]));
    world.publish(&peer, &["6"]);
    world.advance(ms(1));
    world.publish(&peer, &["7", "8", "9"]);
    // The limit removed 1, 2 and 3; 4 and 5 expired. A gap that begins among records removed by a limit has that
    // reason.
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..6 limit", "1/6=6"]);
}

#[test]
fn r9_the_reason_is_expired_above_records_that_a_limit_removed() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().max_messages(4));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    world.publish(&peer, &["0", "1", "2", "3", "4"]);
    let late = world.connect();
    world.ask(&late, late.subscribe(1, "t"));
    world.ask(&peer, peer.publish_all("t", &[mortal("5", 1_000)]));
    alter(&mut world, &peer, TopicOptions::new().max_messages(100));
    world.advance(ms(1));
    world.publish(&peer, &["6"]);
    for offset in [1, 2, 3, 4] {
        world.ask(&late, late.commit(1, offset));
    }
    assert_eq!(late.stream(), ["1/1=1", "1/2=2", "1/3=3", "1/4=4", "1/5..6 expired", "1/6=6"]);
}

#[test]
fn r9_a_gap_does_not_count_in_the_window() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    world.ask(&peer, peer.publish_all("t", &[record(b"0"), mortal("1", 1_000), record(b"2"), record(b"3")]));
    world.advance(ms(1));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(2)));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..2 expired", "1/2=2"]);
}

#[test]
fn r9_the_cursor_moves_past_a_gap_automatically() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let records = [record(b"0"), mortal("1", 1_000), mortal("2", 1_000), record(b"3")];
    world.ask(&peer, peer.publish_all("t", &records));
    world.advance(ms(1));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(2)));
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 3");
}

#[test]
fn r9_a_gap_at_the_front_moves_the_cursor_at_once() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.publish(&peer, &["0"]);
    world.ask(&reader, reader.commit(1, 0));
    reader.stop_reading();
    // The lane is full of another subscription's deliveries, so this one can't be served immediately.
    let body = "x".repeat(100_000);
    world.ask(&reader, reader.subscribe_to(Sub::new(2, "other").window(0)));
    for _ in 0..4 {
        world.ask(&peer, peer.publish("other", &body));
    }
    world.ask(&peer, peer.publish_all("t", &[mortal("1", 1_000), mortal("2", 1_000)]));
    world.advance(ms(1));
    reader.resume_reading();
    world.settle();
    assert_eq!(reader.stream().last().map(String::as_str), Some("1/1..3 expired"));
    // Nothing was delivered before it, so the cursor is already past it and a commit inside it has no effect.
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 3");
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "done 3");
    assert_eq!(world.ask(&reader, reader.commit(1, 3)), "refused CommitAhead 3");
}

#[test]
fn r9_a_commit_inside_a_gap_commits_the_records_before_it() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let records = [record(b"0"), mortal("1", 1_000), mortal("2", 1_000), record(b"3"), record(b"4")];
    world.ask(&peer, peer.publish_all("t", &records));
    world.advance(ms(1));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(2)));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..3 expired", "1/3=3"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 3");
    assert_eq!(reader.stream(), ["1/4=4"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "done 3", "a repeated commit has no effect");
}

#[test]
fn r9_a_gap_at_the_end_is_reported_and_the_reader_continues() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(1)));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.publish(&peer, &["0", "1", "2"]);
    world.advance(secs(2));
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/0=0", "1/1..3 expired"]);
    world.publish(&peer, &["3"]);
    assert_eq!(reader.stream(), ["1/3=3"]);
}

#[test]
fn r9_a_gap_is_sent_once() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retention_ttl(secs(1)));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe(1, "t"));
    world.publish(&peer, &["0", "1"]);
    world.advance(secs(2));
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=0", "1/1..2 expired"]);
    world.advance(secs(100));
    world.ask(&reader, reader.commit(1, 1));
    assert!(reader.stream().is_empty());
}

#[test]
fn r9_each_sequence_of_expired_records_makes_one_gap() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever());
    let mut expected = Vec::new();
    for run in 0..20_u64 {
        let mortals = vec![mortal("m", 1_000_000); 50];
        world.ask(&peer, peer.publish_all("t", &mortals));
        world.ask(&peer, peer.publish("t", "live"));
        let from = run * 51;
        expected.push(format!("1/{from}..{} expired", from + 50));
        expected.push(format!("1/{}=live", from + 50));
    }
    world.advance(secs(3));
    let reader = world.connect();
    // No gap is reported before the start.
    assert_eq!(world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0))), "50..1020");
    assert_eq!(reader.stream(), expected[1..]);
}

#[test]
fn r9_two_subscriptions_get_their_own_gaps() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().retain_forever().max_messages(2));
    let (one, two) = (world.connect(), world.connect());
    world.ask(&one, one.subscribe(1, "t"));
    world.ask(&two, two.subscribe_to(Sub::new(1, "t").window(2)));
    world.publish(&peer, &["0", "1", "2", "3", "4"]);
    world.advance(us(1));
    world.ask(&one, one.commit(1, 0));
    world.ask(&two, two.commit(1, 1));
    assert_eq!(one.stream(), ["1/0=0", "1/1..3 limit", "1/3=3"]);
    assert_eq!(two.stream(), ["1/0=0", "1/1=1", "1/2..3 limit", "1/3=3", "1/4=4"]);
}
