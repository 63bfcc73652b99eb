//! Chapter D: subscriptions that outlive their connection.

use zaichik_proto::{Overflow, Start, TopicOptions, Version};

use crate::world::{Peer, Sub, World, done, mortal, put, secs, us};

const SECOND: u64 = 1_000_000;

/// The topic "t", which holds these bodies, and a writer.
pub(crate) fn topic(world: &mut World, bodies: &[&str]) -> Peer {
    let writer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&writer, bodies);
    writer
}

/// A new connection with the durable subscription "d" of the topic "t" under number 1.
pub(crate) fn attach(world: &mut World, window: u32) -> (Peer, String) {
    let peer = world.connect();
    let answer = world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(window).durable("d")));
    (peer, answer)
}

pub(crate) fn leave(world: &mut World, peer: &Peer) {
    peer.cut();
    world.settle();
}

#[test]
fn d_01_a_durable_subscription_continues_after_its_commit() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    let (peer, answer) = attach(&mut world, 8);
    assert_eq!(answer, "0..8 epoch 1 rewind 0");
    world.ask(&peer, peer.commit(1, 5));
    leave(&mut world, &peer);
    let (peer, answer) = attach(&mut world, 8);
    assert_eq!(answer, "6..8 epoch 2 rewind 1", "the start is ignored");
    assert_eq!(peer.stream(), ["1/6=g #2", "1/7=h #2"]);
}

#[test]
fn d_02_uncommitted_records_are_redelivered_in_order_with_a_new_attempt() {
    let mut world = World::new();
    let writer = topic(&mut world, &["a", "b", "c"]);
    let (peer, _) = attach(&mut world, 2);
    assert_eq!(peer.stream(), ["1/0=a", "1/1=b"]);
    leave(&mut world, &peer);
    world.publish(&writer, &["d"]);
    let (peer, _) = attach(&mut world, 3);
    assert_eq!(peer.stream(), ["1/0=a #2", "1/1=b #2", "1/2=c"], "with the new window");
    world.ask(&peer, peer.commit(1, 0));
    assert_eq!(world.ask(&peer, peer.unsubscribe(1)), "ended 3");
    assert_eq!(
        world.ask(&peer, peer.subscribe_to(Sub::new(4, "t").window(9).durable("d"))),
        "1..4 epoch 3 rewind 2"
    );
    assert_eq!(peer.stream(), ["1/3=d", "4/1=b #3", "4/2=c #2", "4/3=d #2"]);
}

#[test]
fn d4_a_cursor_before_the_first_record_gets_a_gap_and_continues() {
    let mut world = World::new();
    let writer = topic(&mut world, &["a"]);
    let (peer, _) = attach(&mut world, 1);
    leave(&mut world, &peer);
    world.ask(&writer, writer.alter("t", TopicOptions::new().max_messages(2)));
    world.publish(&writer, &["b", "c", "d"]);
    let (peer, answer) = attach(&mut world, 1);
    assert_eq!(answer, "0..4 epoch 2 rewind 1");
    assert_eq!(peer.stream(), ["1/0..2 limit", "1/2=c"]);
}

/// Exact, whether housekeeping ran or not (rule D5).
#[test]
fn d_05_a_detached_subscription_expires_exactly_at_its_ttl() {
    for (waited, expected) in [(9_999_999, "1..2 epoch 2 rewind 1"), (10_000_000, "0..2 epoch 1 rewind 0")] {
        for keeps_house in [true, false] {
            let mut world = World::new();
            topic(&mut world, &["a", "b"]);
            let peer = world.connect();
            let sub = Sub::new(1, "t").durable("d").inactive(10 * SECOND);
            world.ask(&peer, peer.subscribe_to(sub));
            world.advance(secs(3_600));
            world.ask(&peer, peer.commit(1, 0));
            leave(&mut world, &peer);
            let waited = std::time::Duration::from_micros(waited);
            if keeps_house {
                world.advance(waited);
            } else {
                world.stop_housekeeping();
                world.jump(world.now + waited);
            }
            let peer = world.connect();
            assert_eq!(world.ask(&peer, peer.subscribe_to(sub)), expected, "{waited:?} {keeps_house}");
        }
    }
}

#[test]
fn d5_an_expired_subscription_counts_no_longer_even_without_housekeeping() {
    let mut world = World::with(|config| config.max_durables = 2);
    topic(&mut world, &["a"]);
    let peer = world.connect();
    for (number, name, inactive) in [(1, "short", 10 * SECOND), (2, "long", u64::MAX)] {
        world.ask(&peer, peer.subscribe_to(Sub::new(number, "t").durable(name).inactive(inactive)));
    }
    leave(&mut world, &peer);
    let peer = world.connect();
    let third = Sub::new(3, "t").durable("third");
    assert_eq!(world.ask(&peer, peer.subscribe_to(third)), "refused SubscriptionsFull 2");
    world.stop_housekeeping();
    world.jump(world.now + secs(10));
    assert_eq!(world.ask(&peer, peer.subscribe_to(third)), "0..1 epoch 1 rewind 0");
}

#[test]
fn d5_an_expired_subscription_keeps_no_records_even_without_housekeeping() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject));
    let (other, _) = attach(&mut world, 1);
    let peer = world.connect();
    let expires = Sub::new(1, "t").durable("expires").inactive(10 * SECOND);
    world.ask(&peer, peer.subscribe_to(expires));
    leave(&mut world, &peer);
    world.publish(&writer, &["a"]);
    world.ask(&other, other.commit(1, 0));
    world.stop_housekeeping();
    world.jump(world.now + us(9_999_999));
    assert_eq!(world.ask(&writer, writer.publish("t", "b")), "refused TopicFull");
    world.jump(world.now + us(1));
    assert_eq!(world.ask(&writer, writer.publish("t", "b")), "@1");
}

#[test]
fn d5_no_request_finds_any_of_many_expired_subscriptions() {
    const COUNT: u32 = 1_000;
    let mut world = World::new();
    topic(&mut world, &["a"]);
    let peer = world.connect();
    for number in 1..=COUNT {
        let name = format!("d{number}");
        world.ask(&peer, peer.subscribe_to(Sub::new(number, "t").durable(&name).inactive(10 * SECOND)));
    }
    leave(&mut world, &peer);
    world.stop_housekeeping();
    world.jump(world.now + secs(10));
    let peer = world.connect();
    let last = format!("d{COUNT}");
    assert_eq!(world.ask(&peer, peer.seek_durable("t", &last, Start::Latest)), "refused NotSubscribed");
    assert_eq!(world.broker.ledger().subscriptions, 0);
}

#[test]
fn d_05_the_default_ttl_applies_and_an_infinite_ttl_never_ends() {
    let mut world = World::with(|config| config.inactive_ttl = secs(60));
    topic(&mut world, &["a"]);
    for (name, inactive) in [("default", 0), ("ever", u64::MAX)] {
        let peer = world.connect();
        world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").durable(name).inactive(inactive)));
        leave(&mut world, &peer);
    }
    world.advance(secs(60));
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.seek_durable("t", "default", Start::Latest)), "refused NotSubscribed");
    world.advance(secs(1_000_000));
    assert_eq!(world.ask(&peer, peer.seek_durable("t", "ever", Start::Latest)), "done 1");
    assert_eq!(world.broker.ledger().subscriptions, {
        let ledger = world.broker.ledger();
        world.broker.verify().unwrap();
        ledger.subscriptions
    });
}

#[test]
fn d_05_a_seek_does_not_keep_a_detached_subscription() {
    let mut world = World::new();
    topic(&mut world, &["a", "b"]);
    let peer = world.connect();
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").durable("d").inactive(10 * SECOND)));
    leave(&mut world, &peer);
    let other = world.connect();
    world.advance(secs(9));
    assert_eq!(world.ask(&other, other.seek_durable("t", "d", Start::Offset(1))), "done 1");
    world.advance(secs(1));
    assert_eq!(world.ask(&other, other.seek_durable("t", "d", Start::Offset(1))), "refused NotSubscribed");
}

#[test]
fn d_06_any_connection_may_seek_a_durable_subscription() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c"]);
    let (peer, _) = attach(&mut world, 1);
    let other = world.connect();
    assert_eq!(world.ask(&other, other.seek_durable("t", "d", Start::Offset(2))), "done 1");
    assert_eq!(peer.stream(), ["1/0=a", "1/2=c"]);
    leave(&mut world, &peer);
    assert_eq!(
        world.ask(&other, other.seek_durable("t", "d", Start::Earliest)),
        "done 2",
        "a detached subscription can be moved too"
    );
    let (peer, answer) = attach(&mut world, 1);
    assert_eq!(answer, "0..3 epoch 2 rewind 3");
    assert_eq!(peer.stream(), ["1/0=a"]);
    assert_eq!(world.ask(&other, other.seek_durable("t", "e", Start::Earliest)), "refused NotSubscribed");
    assert_eq!(world.ask(&other, other.seek_durable("none", "d", Start::Earliest)), "refused UnknownTopic");
    assert_eq!(world.ask(&other, other.seek_durable("$", "d", Start::Earliest)), "refused InvalidTopic");
}

#[test]
fn d_07_one_name_on_two_topics_and_two_names_on_one() {
    let mut world = World::new();
    let writer = topic(&mut world, &["a", "b"]);
    world.ask(&writer, writer.create("u", TopicOptions::new().retain_forever()));
    world.ask(&writer, writer.publish("u", "x"));
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").durable("d"))), "0..2 epoch 1 rewind 0");
    assert_eq!(world.ask(&peer, peer.subscribe_to(Sub::new(2, "u").durable("d"))), "0..1 epoch 1 rewind 0");
    assert_eq!(world.ask(&peer, peer.subscribe_to(Sub::new(3, "t").durable("e"))), "0..2 epoch 1 rewind 0");
    assert_eq!(world.ask(&peer, peer.subscribe(4, "t")), "0..2", "and a subscription without a name");
    assert_eq!(
        world.ask(&peer, peer.subscribe_to(Sub::new(5, "t").durable("d"))),
        "refused AlreadySubscribed"
    );
    assert_eq!(
        world.ask(&peer, peer.subscribe_to(Sub::new(3, "t").durable("f"))),
        "refused AlreadySubscribed"
    );
    world.ask(&peer, peer.commit(1, 0));
    assert_eq!(peer.stream(), ["1/0=a", "2/0=x", "3/0=a", "4/0=a", "1/1=b"]);
}

#[test]
fn r_13_a_record_that_expires_while_detached_is_a_gap() {
    let mut world = World::new();
    let writer = topic(&mut world, &["a"]);
    world.ask(&writer, writer.publish_all("t", &[mortal("b", SECOND)]));
    world.publish(&writer, &["c"]);
    let (peer, _) = attach(&mut world, 1);
    world.ask(&peer, peer.commit(1, 0));
    leave(&mut world, &peer);
    world.advance(secs(1));
    let (peer, answer) = attach(&mut world, 1);
    assert_eq!(answer, "1..3 epoch 2 rewind 1");
    assert_eq!(peer.stream(), ["1/1..2 expired", "1/2=c"]);
}

#[test]
fn r_14_a_live_only_topic_keeps_records_for_a_detached_subscription() {
    let mut world = World::new();
    let writer = world.connect();
    let (peer, _) = attach(&mut world, 9);
    leave(&mut world, &peer);
    world.publish(&writer, &["a", "b", "c"]);
    let (peer, answer) = attach(&mut world, 9);
    assert_eq!(answer, "0..3 epoch 2 rewind 1");
    assert_eq!(peer.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert!(world.everything().is_empty(), "a new subscription gets nothing");
}

#[test]
fn r5_a_detached_subscription_keeps_its_uncommitted_records() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().max_messages(2).overflow(Overflow::Reject);
    let writer = world.topic(options);
    let (peer, _) = attach(&mut world, 9);
    world.publish(&writer, &["a", "b"]);
    leave(&mut world, &peer);
    assert_eq!(world.ask(&writer, writer.publish("t", "c")), "refused TopicFull");
    let (peer, _) = attach(&mut world, 9);
    world.ask(&peer, peer.commit(1, 0));
    leave(&mut world, &peer);
    assert_eq!(world.ask(&writer, writer.publish("t", "c")), "@2");
    assert_eq!(world.ask(&writer, writer.publish("t", "d")), "refused TopicFull");
}

#[test]
fn d2_window_0_continues_after_records_put_into_the_output() {
    let mut world = World::new();
    let writer = topic(&mut world, &["a"]);
    let (peer, _) = attach(&mut world, 0);
    assert_eq!(peer.stream(), ["1/0=a"]);
    leave(&mut world, &peer);
    world.publish(&writer, &["b"]);
    let (peer, answer) = attach(&mut world, 0);
    assert_eq!(answer, "1..2 epoch 2 rewind 1");
    assert_eq!(peer.stream(), ["1/1=b"]);
}

#[test]
fn limit_of_durable_subscriptions() {
    let mut world = World::with(|config| config.max_durables = 2);
    topic(&mut world, &["a"]);
    let peer = world.connect();
    for number in 1..=2 {
        let name = format!("d{number}");
        assert!(
            !world.ask(&peer, peer.subscribe_to(Sub::new(number, "t").durable(&name))).starts_with("refused")
        );
    }
    let third = Sub::new(3, "t").durable("d3").inactive(SECOND);
    assert_eq!(world.ask(&peer, peer.subscribe_to(third)), "refused SubscriptionsFull 2");
    assert_eq!(world.ask(&peer, peer.subscribe(3, "t")), "0..1", "other subscriptions are not counted");
    leave(&mut world, &peer);
    let peer = world.connect();
    assert_eq!(
        world.ask(&peer, peer.subscribe_to(third)),
        "refused SubscriptionsFull 2",
        "detached durable subscriptions are counted"
    );
    world.advance(secs(24 * 3_600));
    assert_eq!(world.ask(&peer, peer.subscribe_to(third)), "0..1 epoch 1 rewind 0");
}

#[test]
fn a10_a_commit_made_before_a_seek_is_refused_after_it() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c"]);
    let holder = world.connect_as(Version::Two);
    world.ask(&holder, holder.subscribe_to(Sub::new(1, "t").window(3).durable("d")));
    assert_eq!(holder.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    let other = world.connect();
    assert_eq!(world.ask(&other, other.seek_durable("t", "d", Start::Offset(0))), "done 1");
    assert_eq!(world.ask(&holder, holder.commit_of(1, 2, Some(0))), "refused CommitRewound 1");
    assert_eq!(holder.stream(), ["1/0=a #2", "1/1=b #2", "1/2=c #2"], "the seek holds");
    assert_eq!(world.ask(&holder, holder.commit_of(1, 2, Some(0))), "refused CommitRewound 1");
    assert_eq!(world.ask(&holder, holder.commit(1, 0)), "done 1");
    // A batch with such a commit has no effect.
    assert_eq!(world.ask(&other, other.seek_durable("t", "d", Start::Offset(0))), "done 2");
    let batch = holder.batch(&[put("u", "x"), done(1, 0)]);
    assert_eq!(world.ask(&holder, batch), "refused CommitRewound 2 at 1");
    assert_eq!(world.broker.topic_count(), 1);
    // In version 1 a commit counts as one of the current rewind.
    let old = world.connect();
    world.ask(&old, old.subscribe_to(Sub::new(1, "t").window(3).durable("old")));
    assert_eq!(world.ask(&other, other.seek_durable("t", "old", Start::Offset(0))), "done 1");
    assert_eq!(world.ask(&old, old.commit(1, 2)), "done 3");
}

#[test]
fn a10_a_nack_voids_no_commit_of_what_was_before_it() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c"]);
    let peer = world.connect_as(Version::Two);
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(3)));
    peer.stream();
    assert_eq!(world.ask(&peer, peer.nack(1, 2, 0)), "done 1");
    assert_eq!(world.ask(&peer, peer.commit_of(1, 1, Some(0))), "done 2");
}

#[test]
fn a4_a_nack_of_what_is_committed_is_refused_in_version_2() {
    let mut world = World::new();
    topic(&mut world, &["a", "b"]);
    for (version, answer) in [(Version::One, "done 0"), (Version::Two, "refused NackCommitted 1")] {
        let peer = world.connect_as(version);
        world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(2)));
        peer.stream();
        assert_eq!(world.ask(&peer, peer.commit(1, 0)), "done 1");
        assert_eq!(world.ask(&peer, peer.nack(1, 0, 0)), answer);
    }
}
