//! Rules C4, C6, R5, R7: limits of a topic in `latest` mode, and changes of its settings.

use zaichik_proto::{CompactionMode, Overflow, Record, TopicOptions};

use crate::latest::{connect, delete, lag, latest, new_reader, put, tombstone, topic};
use crate::world::{World, done, keyed, put_all, record, secs, us};

#[test]
fn c8_superseded_records_do_not_count_against_limits() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_messages(3));
    put(&mut world, &peer, "a", "0");
    for _ in 0..50 {
        put(&mut world, &peer, "b", "x");
    }
    assert_eq!(new_reader(&mut world), ["0..51", "1/0=0", "1/50=x"], "a is never rewritten, and stays");
    put(&mut world, &peer, "c", "51");
    put(&mut world, &peer, "d", "52");
    assert_eq!(
        new_reader(&mut world),
        ["50..53", "1/50=x", "1/51=51", "1/52=52"],
        "the oldest record that counts is dropped"
    );
    // 18 bytes with one byte of body, 19 with two.
    world.ask(&peer, peer.alter("t", TopicOptions::new().max_messages(100).max_bytes(19 * 3)));
    for _ in 0..50 {
        put(&mut world, &peer, "c", "yy");
    }
    assert_eq!(new_reader(&mut world), ["50..103", "1/50=x", "1/52=52", "1/102=yy"]);
    put(&mut world, &peer, "e", "zz");
    assert_eq!(new_reader(&mut world), ["52..104", "1/52=52", "1/102=yy", "1/103=zz"]);
}

#[test]
fn c8_a_reader_overtaken_by_a_limit_gets_gaps_for_everything_it_removed() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_messages(2));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    for (key, body) in [("a", "0"), ("b", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("d", "5")] {
        put(&mut world, &peer, key, body);
    }
    world.ask(&reader, reader.commit(1, 0));
    // b at 2 was removed, together with the superseded records before it; 4 was skipped silently.
    assert_eq!(reader.stream(), ["1/0=0", "1/1..3 limit", "1/3=3"]);
    world.ask(&reader, reader.commit(1, 3));
    assert_eq!(reader.stream(), ["1/5=5"]);
    assert_eq!(world.broker.stats().superseded, 1);
}

#[test]
fn r7_a_new_limit_counts_the_records_that_a_shorter_window_leaves() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(10));
    for (key, body) in [("a", "0"), ("b", "1"), ("b", "2")] {
        put(&mut world, &peer, key, body);
    }
    assert_eq!(new_reader(&mut world), ["0..3", "1/0=0", "1/1=1", "1/2=2"]);
    let options = TopicOptions::new().compaction_window(secs(0)).max_messages(2);
    assert_eq!(world.ask(&peer, peer.alter("t", options)), "done 0");
    assert_eq!(new_reader(&mut world), ["0..3", "1/0=0", "1/2=2"], "1 is dead and does not count");
}

#[test]
fn r5_reject_counts_live_records_and_removes_only_as_many_as_needed() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_messages(3).overflow(Overflow::Reject));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    for _ in 0..20 {
        put(&mut world, &peer, "k", "x");
    }
    for body in ["20", "21"] {
        assert!(put(&mut world, &peer, body, body).starts_with('@'));
    }
    assert_eq!(put(&mut world, &peer, "m", "22"), "refused TopicFull", "three are live and uncommitted");
    assert_eq!(put(&mut world, &peer, "k", "22"), "refused TopicFull", "there is never room for both");
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=x", "1/19=x"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 19)), "done 20");
    assert_eq!(put(&mut world, &peer, "m", "22"), "@22");
}

#[test]
fn r2_a_live_only_topic_keeps_the_newest_records_for_its_subscriptions() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().retention_ttl(secs(0)).max_keys(2));
    let reader = connect(&mut world);
    world.ask(&reader, reader.subscribe(1, "t"));
    for (key, body) in [("a", "0"), ("b", "1"), ("b", "2"), ("a", "3")] {
        put(&mut world, &peer, key, body);
    }
    assert_eq!(new_reader(&mut world), ["4..4"]);
    assert_eq!(put(&mut world, &peer, "c", "x"), "refused KeysFull 2");
    world.ask(&reader, reader.commit(1, 0));
    world.ask(&reader, reader.commit(1, 2));
    assert_eq!(reader.stream(), ["1/0=0", "1/2=2", "1/3=3"]);
    assert_eq!(
        put(&mut world, &peer, "c", "4"),
        "@4",
        "b was committed by all subscriptions, so it is no longer live"
    );
    assert_eq!(put(&mut world, &peer, "b", "5"), "refused KeysFull 2");
    world.ask(&reader, reader.unsubscribe(1));
    world.advance(secs(5));
    for key in ["p", "q", "r"] {
        assert!(put(&mut world, &peer, key, "x").starts_with('@'), "without subscriptions no key is live");
    }
}

#[test]
fn c_12_max_keys_counts_keys_whose_newest_record_is_live() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_keys(2).tombstone_ttl(secs(10)));
    put(&mut world, &peer, "a", "0");
    put(&mut world, &peer, "b", "1");
    assert_eq!(put(&mut world, &peer, "c", "x"), "refused KeysFull 2");
    assert_eq!(put(&mut world, &peer, "a", "2"), "@2", "an existing key may be replaced at any time");
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
    world.stop_housekeeping();
    let options = latest().max_keys(3).tombstone_ttl(secs(10)).retention_ttl(secs(100));
    let peer = topic(&mut world, options);
    let begin = world.now;
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
fn c_12_a_limit_removes_keys() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_keys(2).max_messages(2));
    put(&mut world, &peer, "a", "0");
    put(&mut world, &peer, "b", "1");
    assert_eq!(put(&mut world, &peer, "c", "x"), "refused KeysFull 2");
    world.publish(&peer, &["without a key"]);
    assert_eq!(put(&mut world, &peer, "c", "3"), "@3", "a was evicted");
    assert_eq!(put(&mut world, &peer, "a", "4"), "@4", "b was evicted for c");
    assert_eq!(put(&mut world, &peer, "d", "x"), "refused KeysFull 2");
}

#[test]
fn c_12_a_refused_publish_leaves_the_keys_unchanged() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().max_keys(2).max_bytes(1_000));
    put(&mut world, &peer, "a", "0");
    let large = [b'x'; 1_000];
    let bad = [keyed("a", b"no"), keyed("b", b"no"), tombstone("a"), record(&large)];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &bad)), "refused TooLarge 1000");
    let full = [keyed("a", b"no"), keyed("b", b"no"), keyed("c", b"no")];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &full)), "refused KeysFull 2");
    assert_eq!(new_reader(&mut world), ["0..1", "1/0=0"]);
    assert_eq!(put(&mut world, &peer, "b", "1"), "@1", "b took no room");
    assert_eq!(put(&mut world, &peer, "a", "2"), "@2");
    assert_eq!(new_reader(&mut world), ["1..3", "1/1=1", "1/2=2"], "the old newest record was superseded");
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
    let now = world.now;
    world.jump(now + us(1));
    assert_eq!(world.ask(&peer, peer.alter("t", first)), "done 0");
    assert_eq!(put(&mut world, &peer, "k", "1"), "@1");
    assert_eq!(put(&mut world, &peer, "k", "2"), "@2", "the window is 0");
    assert_eq!(new_reader(&mut world), ["1..3", "1/1=1", "1/2=2"]);
    world.advance(secs(9));
    assert_eq!(world.ask(&peer, peer.alter("t", latest())), "done 0");
    put(&mut world, &peer, "k", "3");
    put(&mut world, &peer, "k", "4");
    assert_eq!(new_reader(&mut world), ["4..5", "1/4=4"]);
}

#[test]
fn t3_adoption_may_not_change_the_mode_of_a_topic_with_records_either() {
    let mut world = World::with(|config| config.topic_defaults.retention_ttl_micros = u64::MAX);
    let peer = world.connect();
    world.ask(&peer, peer.publish("t", "0"));
    assert_eq!(world.ask(&peer, peer.create("t", latest())), "refused InvalidSettings 4");
    assert_eq!(
        world.ask(&peer, peer.create("t", TopicOptions::new())),
        "adopted",
        "the refused request did not adopt it"
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
    assert_eq!(new_reader(&mut world), ["1..2", "1/1=1"]);
}

#[test]
fn r7_a_lowered_window_applies_at_once_and_a_raised_one_resurrects_nothing() {
    let mut world = World::new();
    let peer = topic(&mut world, lag(10));
    put(&mut world, &peer, "k", "0");
    world.advance(secs(5));
    put(&mut world, &peer, "k", "1");
    world.advance(secs(1));
    put(&mut world, &peer, "k", "2");
    let window = |seconds| TopicOptions::new().compaction_window(secs(seconds));
    world.ask(&peer, peer.alter("t", window(5)));
    assert_eq!(new_reader(&mut world), ["1..3", "1/1=1", "1/2=2"]);
    world.ask(&peer, peer.alter("t", window(100)));
    assert_eq!(
        new_reader(&mut world),
        ["1..3", "1/1=1", "1/2=2"],
        "0 stays dead, and 1 is live under the new window"
    );
    world.advance(us(98_999_999));
    assert_eq!(new_reader(&mut world), ["1..3", "1/1=1", "1/2=2"]);
    world.advance(us(1));
    assert_eq!(new_reader(&mut world), ["2..3", "1/2=2"]);
}

#[test]
fn r7_a_raised_tombstone_ttl_restores_no_tombstone_and_no_key() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().tombstone_ttl(secs(1)).max_keys(1));
    delete(&mut world, &peer, "k");
    let now = world.now;
    world.jump(now + secs(1));
    world.ask(&peer, peer.alter("t", TopicOptions::new().tombstone_ttl(secs(100))));
    assert_eq!(new_reader(&mut world), ["1..1"]);
    assert_eq!(put(&mut world, &peer, "l", "1"), "@1");
}

#[test]
fn c7_a_tombstone_ttl_of_zero_removes_a_key_at_once() {
    let mut world = World::new();
    let peer = topic(&mut world, latest().tombstone_ttl(secs(0)).max_keys(1));
    put(&mut world, &peer, "k", "0");
    assert_eq!(world.ask(&peer, peer.publish_all("t", &[tombstone("k"), keyed("l", b"2")])), "@1");
    assert_eq!(new_reader(&mut world), ["2..3", "1/2=2"]);
    assert_eq!(
        world.ask(&peer, peer.publish_all("t", &[tombstone("k"), keyed("k", b"")])),
        "refused KeysFull 1"
    );
}

/// The commit frees memory that was in use when the publish after it was checked.
#[test]
fn c6_a_batch_that_commits_under_memory_pressure_keeps_its_key() {
    const BUDGET: u64 = 12 << 20;
    let mut world = World::with_memory(BUDGET, |_| {});
    let peer = connect(&mut world);
    world.ask(&peer, peer.create("filler", TopicOptions::new().retain_forever()));
    world.ask(&peer, peer.create("t", TopicOptions::new().compaction(CompactionMode::Latest)));
    world.ask(&peer, peer.subscribe(1, "t"));
    put(&mut world, &peer, "k", "0");
    put(&mut world, &peer, "j", "1");
    let body = vec![b'x'; 20_000];
    while world.memory_of_records() < BUDGET / 10 * 9 {
        assert!(world.ask(&peer, peer.publish_all("filler", &[record(&body)])).starts_with('@'));
    }
    assert_eq!(peer.stream(), ["1/0=0"]);
    let answer = world.ask(&peer, peer.batch(&[done(1, 0), put_all("t", &[keyed("k", b"2")])]));
    assert!(!answer.starts_with("refused"), "{answer}");
    assert_eq!(peer.stream(), ["1/1=1"]);
    put(&mut world, &peer, "k", "3");
    world.ask(&peer, peer.commit(1, 1));
    assert_eq!(peer.stream(), ["1/3=3"], "the older record of the key was superseded");
}
