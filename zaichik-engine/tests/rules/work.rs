//! Rule S14: no call does more than a bounded amount of work, whatever the requests are.

use zaichik_engine::Broker;
use zaichik_proto::{Start, Subject, TopicOptions};

use super::world::{Peer, Sub, World, record};

/// A topic "t" that retains `count` records forever, and a connection with subscription 1 to it.
fn with_records(count: usize) -> (World, Peer) {
    let mut world = World::new().checked_at_rest();
    let peer = world.topic(TopicOptions::new().retain_forever());
    for _ in 0..count / 1_000 {
        world.ask(&peer, peer.publish_all("t", &[record(b""); 1_000]));
    }
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t")));
    (world, peer)
}

/// Applies what a peer has sent, one exchange at a time, and counts the exchanges. After each of them another
/// connection publishes and is answered.
fn exchanges_with_others_in_between(
    world: &mut World,
    other: &Peer,
    flood: impl IntoIterator<Item = u32>,
    peer: &Peer,
) -> usize {
    peer.split_reads(usize::MAX);
    let last = flood.into_iter().last().expect("a request");
    world.most_steps = 0;
    for exchanges in 1..10_000 {
        let request = other.publish("other", "x");
        assert!(world.step(), "work continues");
        assert!(other.answer(request).starts_with('@'), "it does not wait for the flood");
        if peer.answer(last) != "-" {
            return exchanges;
        }
    }
    panic!("the flood never ends");
}

#[test]
fn s_06_a_flood_of_seeks_is_applied_in_many_exchanges() {
    let (mut world, peer) = with_records(4_000);
    let other = world.connect();
    for to in [Start::Offset(3_900), Start::Time(u64::MAX >> 1), Start::Earliest] {
        let flood = (0..4_000).map(|_| peer.seek(1, to));
        let exchanges = exchanges_with_others_in_between(&mut world, &other, flood, &peer);
        assert!(exchanges >= 4_000 * 8 / 4_096, "{exchanges} exchanges for {to:?}");
        assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
    }
}

#[test]
fn s_06_a_flood_of_subscriptions_is_applied_in_many_exchanges() {
    let (mut world, peer) = with_records(1_000);
    let other = world.connect();
    let flood =
        (0..600).flat_map(|_| [peer.subscribe_to(Sub::new(2, "u").from(Start::Latest)), peer.unsubscribe(2)]);
    let exchanges = exchanges_with_others_in_between(&mut world, &other, flood, &peer);
    assert!(exchanges >= 600 * 48 / 4_096, "{exchanges} exchanges");
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
}

#[test]
fn s_06_a_flood_of_descriptions_is_applied_in_many_exchanges() {
    let (mut world, peer) = with_records(1_000);
    let other = world.connect();
    let flood = (0..1_000).map(|_| peer.describe(Subject::Topic { topic: b"t" }));
    let exchanges = exchanges_with_others_in_between(&mut world, &other, flood, &peer);
    assert!(exchanges >= 1_000 * 16 / 4_096, "{exchanges} exchanges");
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
}
