//! Chapter C: compaction in `first` mode.

use zaichik_proto::{AckLevel, CompactionMode, TopicOptions};

use crate::world::{Peer, Sub, World, keyed, ms, record, secs, us};

fn window(seconds: u64) -> TopicOptions {
    TopicOptions::new().retain_forever().compaction_window(secs(seconds))
}

/// Publishes one record under a key; "@n" if it was accepted, "none 0=@n" if it is a duplicate of offset n.
fn put(world: &mut World, peer: &Peer, key: &str) -> String {
    world.ask(peer, peer.publish_keyed("t", key, "body"))
}

#[test]
fn c_01_a_duplicate_just_inside_the_window() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    world.ask(&peer, peer.publish("t", "other"));
    assert_eq!(put(&mut world, &peer, "k"), "@1");
    world.advance(us(9_999_999));
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@1");
}

#[test]
fn c_02_not_a_duplicate_at_the_end_of_the_window() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    world.advance(secs(10));
    assert_eq!(put(&mut world, &peer, "k"), "@1");
}

#[test]
fn c_03_the_window_is_anchored_at_the_accepted_record() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    world.advance(secs(6));
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@0");
    world.advance(secs(6));
    assert_eq!(put(&mut world, &peer, "k"), "@1");
    world.advance(ms(9_999));
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@1");
}

#[test]
fn c_05_the_first_body_wins() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    world.ask(&peer, peer.publish_keyed("t", "k", "first"));
    assert_eq!(world.ask(&peer, peer.publish_keyed("t", "k", "second")), "none 0=@0");
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(9)));
    assert_eq!(peer.stream(), ["1/0=first"]);
}

/// Rule C2.
#[test]
fn c_06_a_record_without_a_key_is_never_a_duplicate() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    assert_eq!(world.ask(&peer, peer.publish("t", "same")), "@0");
    assert_eq!(world.ask(&peer, peer.publish("t", "same")), "@1");
}

#[test]
fn c_07_the_empty_key_is_a_key() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    assert_eq!(put(&mut world, &peer, ""), "@0");
    assert_eq!(put(&mut world, &peer, ""), "none 0=@0");
    assert_eq!(world.ask(&peer, peer.publish("t", "no key")), "@1");
}

#[test]
fn c_08_the_scope_is_the_topic() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    world.ask(&peer, peer.create("u", window(10)));
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    assert_eq!(world.ask(&peer, peer.publish_keyed("u", "k", "body")), "@0");
}

#[test]
fn c5_the_scope_is_all_publishers() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    let other = world.connect();
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    assert_eq!(put(&mut world, &other, "k"), "none 0=@0");
    peer.cut();
    world.settle();
    assert_eq!(put(&mut world, &other, "k"), "none 0=@0");
}

#[test]
fn c_09_a_key_outlives_its_expired_record() {
    let mut world = World::new();
    let peer = world.topic(window(10).retention_ttl(secs(1)));
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    world.advance(secs(5));
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@0");
    world.ask(&peer, peer.subscribe(1, "t"));
    assert!(peer.stream().is_empty());
}

#[test]
fn c_10_a_key_outlives_its_committed_record() {
    let mut world = World::new();
    let peer = world.topic(window(10).retention_ttl(secs(0)));
    world.ask(&peer, peer.subscribe(1, "t"));
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    world.ask(&peer, peer.commit(1, 0));
    world.advance(secs(5));
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@0");
}

#[test]
fn c_11_a_key_outlives_its_record_that_a_limit_removed() {
    let mut world = World::new();
    let peer = world.topic(window(10).max_messages(1));
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    assert_eq!(put(&mut world, &peer, "l"), "@1");
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@0");
}

#[test]
fn c3_a_key_is_remembered_although_its_record_was_never_read() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().compaction_window(secs(10)));
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@0");
    assert_eq!(put(&mut world, &peer, "l"), "@1");
}

#[test]
fn c_12_max_keys_refuses_new_keys_until_some_leave_the_window() {
    let mut world = World::new();
    let peer = world.topic(window(10).max_keys(2));
    assert_eq!(put(&mut world, &peer, "a"), "@0");
    world.advance(secs(1));
    assert_eq!(put(&mut world, &peer, "b"), "@1");
    assert_eq!(put(&mut world, &peer, "c"), "refused KeysFull 2");
    // Remembered keys are still recognised, and records without a key need no room.
    assert_eq!(put(&mut world, &peer, "a"), "none 0=@0");
    assert_eq!(world.ask(&peer, peer.publish("t", "no key")), "@2");
    world.advance(us(8_999_999));
    assert_eq!(put(&mut world, &peer, "c"), "refused KeysFull 2");
    world.advance(us(1));
    assert_eq!(put(&mut world, &peer, "c"), "@3");
    assert_eq!(put(&mut world, &peer, "a"), "refused KeysFull 2");
}

#[test]
fn c_12_max_keys_does_not_depend_on_housekeeping() {
    let mut world = World::new();
    let peer = world.topic(window(10).max_keys(20));
    for key in 0..20 {
        put(&mut world, &peer, &key.to_string());
    }
    let now = world.now + secs(10);
    world.jump(now);
    for key in 100..120 {
        assert!(put(&mut world, &peer, &key.to_string()).starts_with('@'));
    }
    assert_eq!(put(&mut world, &peer, "200"), "refused KeysFull 20");
}

#[test]
fn c_12_a_refused_publish_leaves_no_key_behind() {
    let mut world = World::new();
    let peer = world.topic(window(10).max_keys(2));
    let three = [keyed("a", b"1"), keyed("b", b"2"), keyed("c", b"3")];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &three)), "refused KeysFull 2");
    assert_eq!(world.ask(&peer, peer.publish_all("t", &three[1..])), "@0");
    assert_eq!(put(&mut world, &peer, "b"), "none 0=@0");
    assert_eq!(put(&mut world, &peer, "a"), "refused KeysFull 2");
}

#[test]
fn c_12_a_refused_publish_leaves_no_topic_behind() {
    let mut world = World::with(|config| {
        config.topic_defaults.compaction_window_micros = 10_000_000;
        config.topic_defaults.max_keys = 1;
    });
    let peer = world.connect();
    let two = [keyed("a", b"1"), keyed("b", b"2")];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &two)), "refused KeysFull 1");
    assert_eq!(world.broker.topic_count(), 0);
    assert_eq!(world.ask(&peer, peer.publish_all("t", &two[..1])), "@0 new");
}

#[test]
fn c_13_window_zero_remembers_nothing() {
    let mut world = World::new();
    let peer = world.topic(window(0));
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    assert_eq!(put(&mut world, &peer, "k"), "@1");
}

#[test]
fn c_14_a_window_changed_by_adoption_applies_to_the_next_publish() {
    let mut world = World::with(|config| config.topic_defaults.compaction_window_micros = 10_000_000);
    let peer = world.connect();
    assert_eq!(put(&mut world, &peer, "k"), "@0 new");
    world.advance(secs(2));
    assert_eq!(world.ask(&peer, peer.create("t", window(1))), "adopted");
    assert_eq!(put(&mut world, &peer, "k"), "@1");
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@1");
    world.advance(secs(1));
    assert_eq!(put(&mut world, &peer, "k"), "@2");
}

#[test]
fn c_15_a_duplicate_is_not_delivered_and_uses_no_offset() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    put(&mut world, &peer, "k");
    put(&mut world, &peer, "k");
    assert_eq!(put(&mut world, &peer, "l"), "@1");
    assert_eq!(reader.stream(), ["1/0=body", "1/1=body"]);
}

#[test]
fn c1_duplicates_within_one_publish() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    world.ask(&peer, peer.publish("t", "x"));
    let records = [keyed("a", b"1"), keyed("b", b"2"), keyed("a", b"3"), record(b"4"), keyed("b", b"5")];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &records)), "@1 2=@1 4=@2");
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(9)));
    assert_eq!(peer.stream(), ["1/0=x", "1/1=1", "1/2=2", "1/3=4"]);
}

#[test]
fn c1_duplicates_of_an_unacknowledged_publish_are_not_reported() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    for _ in 0..3 {
        peer.publish_with("t", AckLevel::None, &[keyed("k", b"x")]);
    }
    world.settle();
    assert!(peer.control().is_empty());
    assert_eq!(world.broker.stats().duplicates, 2);
    assert_eq!(world.broker.stats().records_accepted, 1);
}

#[test]
fn c1_a_refused_publish_changes_nothing_for_its_duplicates() {
    let mut world = World::new();
    let peer = world.topic(window(10).max_bytes(100));
    let large = [b'x'; 100];
    let records = [keyed("k", b"1"), record(&large)];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &records)), "refused TooLarge 100");
    assert_eq!(put(&mut world, &peer, "k"), "@0");
}

#[test]
fn r7_keys_obey_the_smallest_window_in_force_since_they_were_accepted() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    assert_eq!(put(&mut world, &peer, "old"), "@0");
    world.advance(secs(2));
    assert_eq!(world.ask(&peer, peer.alter("t", window(5))), "done 0");
    assert_eq!(world.ask(&peer, peer.alter("t", window(100))), "done 0");
    assert_eq!(put(&mut world, &peer, "new"), "@1");
    world.advance(us(2_999_999));
    assert_eq!(put(&mut world, &peer, "old"), "none 0=@0");
    world.advance(us(1));
    assert_eq!(put(&mut world, &peer, "old"), "@2", "five seconds was the smallest window");
    world.advance(secs(90));
    assert_eq!(put(&mut world, &peer, "new"), "none 0=@1");
    assert_eq!(put(&mut world, &peer, "old"), "none 0=@2");
    world.advance(us(6_999_999));
    assert_eq!(put(&mut world, &peer, "new"), "none 0=@1");
    world.advance(us(1));
    assert_eq!(put(&mut world, &peer, "new"), "@3");
}

#[test]
fn r7_a_window_of_zero_forgets_keys_and_a_later_window_does_not_restore_them() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    assert_eq!(put(&mut world, &peer, "k"), "@0");
    world.ask(&peer, peer.alter("t", window(0)));
    assert_eq!(put(&mut world, &peer, "k"), "@1");
    world.ask(&peer, peer.alter("t", window(10)));
    assert_eq!(put(&mut world, &peer, "k"), "@2", "nothing was remembered while the window was zero");
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@2");
}

#[test]
fn r7_many_changes_of_the_window() {
    let mut world = World::new();
    let peer = world.topic(window(50));
    let mut accepted: Vec<(String, u64, u64)> = Vec::new();
    for round in 0..60_u64 {
        let seconds = [50, 7, 31, 2, 90, 12][usize::try_from(round % 6).unwrap()];
        world.ask(&peer, peer.alter("t", window(seconds)));
        for entry in &mut accepted {
            entry.2 = entry.2.min(seconds);
        }
        world.advance(secs(1));
        let key = format!("k{}", round % 9);
        let is_duplicate = accepted.iter().any(|(old, at, least)| *old == key && round - at < *least);
        let answer = put(&mut world, &peer, &key);
        assert_eq!(answer.starts_with("none"), is_duplicate, "round {round}");
        if !is_duplicate {
            accepted.push((key, round, seconds));
        }
    }
}

/// A defect of the first Zaichik: keys were remembered without bound.
#[test]
fn c4_memory_of_keys_is_bounded_and_freed() {
    let mut world = World::new();
    let peer = world.topic(TopicOptions::new().compaction_window(secs(10)).max_keys(1_000));
    let before = world.broker.ledger().topics;
    for batch in 0..20_u32 {
        let keys: Vec<_> = (0..100).map(|key| format!("{:0>100}", batch * 100 + key)).collect();
        let records: Vec<_> = keys.iter().map(|key| keyed(key, b"")).collect();
        let answer = world.ask(&peer, peer.publish_all("t", &records));
        assert_eq!(answer.starts_with('@'), batch < 10, "{answer}");
    }
    assert!(world.broker.ledger().topics < before + 1_000 * 300);
    world.advance(secs(11));
    let after = world.broker.ledger().topics;
    assert!(after < before + 8_192, "{before} before, {after} after");
    assert_eq!(put(&mut world, &peer, "k"), "@1000");
}

#[test]
fn t3_the_compaction_mode_changes_only_while_the_topic_is_empty() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    put(&mut world, &peer, "k");
    let latest = TopicOptions::new().compaction(CompactionMode::Latest);
    assert_eq!(world.ask(&peer, peer.alter("t", latest)), "refused InvalidSettings 4");
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@0");
}

/// A tombstone is an ordinary record in this mode (rule C1).
#[test]
fn c7_a_tombstone_in_first_mode_is_an_ordinary_record() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    let tombstone = zaichik_proto::Record { tombstone: true, ..keyed("k", b"") };
    assert_eq!(world.ask(&peer, peer.publish_all("t", &[tombstone])), "@0");
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@0");
    assert_eq!(world.ask(&peer, peer.publish_all("t", &[tombstone])), "none 0=@0");
}

#[test]
fn c1_a_clock_that_moves_backwards_does_not_lengthen_a_window() {
    let mut world = World::new();
    let peer = world.topic(window(10));
    let begin = world.now;
    put(&mut world, &peer, "k");
    world.advance(secs(9));
    put(&mut world, &peer, "l");
    world.jump(begin);
    assert_eq!(put(&mut world, &peer, "k"), "none 0=@0");
    assert_eq!(put(&mut world, &peer, "m"), "@2");
    world.jump(begin + secs(10));
    assert_eq!(put(&mut world, &peer, "k"), "@3");
    // A record accepted while the clock was back counts from the latest time seen, nine seconds in.
    world.jump(begin + us(18_999_999));
    assert_eq!(put(&mut world, &peer, "m"), "none 0=@2");
    world.jump(begin + secs(19));
    assert_eq!(put(&mut world, &peer, "m"), "@4");
}
