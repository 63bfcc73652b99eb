//! Rule S14 under floods: whatever connections send, and whether or not they read, each call is bounded and others are
//! served in between. The world checks the steps of every call.

use std::time::Duration;

use proptest::prelude::*;
use zaichik_engine::Broker;
use zaichik_proto::{CompactionMode, Start, Subject, TopicOptions};

use super::world::{Dice, Peer, Sub, World, done, keyed, mortal, ms, put_all, record};

/// Connections that flood the broker, some of which do not read.
const PEERS: usize = 5;

/// Topics, subscription numbers and names that they use, so that their requests meet.
const NAMES: [&str; 4] = ["t", "u", "v", "w"];

/// A connection that may skip superseded records without a gap.
fn flooding(world: &mut World) -> Peer {
    let peer = world.connect();
    peer.split_reads(usize::MAX);
    peer.expect_silence();
    peer
}

/// Sends up to 300 requests of one kind with random parameters.
fn flood(dice: &mut Dice, peer: &Peer) {
    let kind = dice.below(14);
    for _ in 0..=dice.below(300) {
        let (topic, other) = (NAMES[dice.below(4)], NAMES[dice.below(4)]);
        let number = u32::try_from(dice.below(4)).expect("a small number");
        let offset = dice.below(3_000) as u64;
        let start = [Start::Earliest, Start::Latest, Start::Offset(offset), Start::Time(offset << 20)];
        let start = start[dice.below(4)];
        let key = dice.below(500).to_string();
        // The numbers of the requests: whatever the answers are, they come.
        let _ = match kind {
            0 => peer.publish_all(topic, &vec![record(b""); dice.below(20) + 1]),
            1 => peer.publish_all(topic, &vec![mortal("", offset + 1); dice.below(20) + 1]),
            2 => peer.publish_all(topic, &[keyed(&key, b"x"), keyed(&key, b"")]),
            3 => peer.batch(&[
                put_all(topic, &[record(b"")]),
                put_all(other, &[mortal("", 9)]),
                done(number, offset),
            ]),
            4 => {
                let sub = Sub::new(number, topic).from(start).window(number * 300);
                peer.subscribe_to(if dice.below(2) == 0 { sub } else { sub.durable(other).inactive(offset) });
                peer.unsubscribe(number)
            }
            5 => {
                let sub = Sub::new(number, topic).window(1).dead_letter(1, other);
                peer.subscribe_to(sub.durable(&key))
            }
            6 => peer.commit(number, offset),
            7 => peer.nack(number, offset, offset % 2 * 1_000),
            8 => peer.seek(number, start),
            9 => peer.seek_durable(topic, other, start),
            10 => {
                let (from, topic) = (number, topic.as_bytes());
                let pages = [Subject::Topics { from }, Subject::Subscriptions { topic, from }];
                peer.describe(pages[dice.below(2)])
            }
            11 => peer.create(topic, options(dice)),
            12 => peer.alter(topic, options(dice)),
            _ => peer.remove_durable(topic, other),
        };
    }
}

fn options(dice: &mut Dice) -> TopicOptions {
    let options = TopicOptions::new().max_messages([1, 100, 1 << 20][dice.below(3)]);
    let options = match dice.below(3) {
        0 => options.retain_forever(),
        1 => options.retention_ttl(ms(1)),
        _ => options,
    };
    let modes = [CompactionMode::First, CompactionMode::Latest];
    let windows = [Duration::ZERO, ms(2), Duration::MAX];
    options.compaction(modes[dice.below(2)]).compaction_window(windows[dice.below(3)])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn s14_no_call_is_long_whatever_connections_send(seed: u64) {
        let (mut world, mut dice) = (World::new().checked_at_rest(), Dice::new(seed));
        let other = world.connect();
        let mut peers: Vec<_> = (0..PEERS).map(|_| flooding(&mut world)).collect();
        for _ in 0..12 {
            for peer in &peers {
                flood(&mut dice, peer);
                if dice.below(3) == 0 { peer.stop_reading() } else { peer.resume_reading() }
            }
            for _ in 0..dice.below(12) {
                let request = other.publish("other", "x");
                world.step();
                prop_assert!(other.answer(request).starts_with('@'), "it does not wait");
            }
            world.jump(world.now + ms(dice.below(4) as u64));
            let last = dice.below(PEERS);
            peers[last].cut();
            peers[last] = flooding(&mut world);
        }
        peers.iter().for_each(Peer::cut);
        world.settle();
        prop_assert!(world.most_steps > 0);
    }
}

/// Lets an honest connection publish while others flood the broker and never read.
fn assert_served(world: &mut World, other: &Peer, flooding: &[Peer]) {
    world.most_steps = 0;
    for _ in 0..40 {
        let before = world.broker.steps();
        let request = other.publish("other", "x");
        world.step();
        assert!(other.answer(request).starts_with('@'), "it does not wait");
        let round = world.broker.steps() - before;
        assert!(round <= Broker::MAX_STEPS * (flooding.len() as u64 + 2), "{round} steps in one round");
    }
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps in one call", world.most_steps);
    flooding.iter().for_each(Peer::cut);
    world.settle();
    assert_eq!(world.broker.session_count(), 1);
}

#[test]
fn s_06_fifty_connections_that_subscribe_and_never_read() {
    let mut world = World::new().checked_at_rest();
    let other = world.connect();
    let peers: Vec<_> = (0..50).map(|_| world.connect()).collect();
    for peer in &peers {
        peer.split_reads(usize::MAX);
        peer.stop_reading();
        for _ in 0..600 {
            peer.subscribe_to(Sub::new(1, "t").from(Start::Latest));
            peer.unsubscribe(1);
        }
    }
    assert_served(&mut world, &other, &peers);
}

#[test]
fn s14_a_hundred_publishers_that_never_read_their_answers() {
    let mut world = World::new().checked_at_rest();
    let other = world.topic(TopicOptions::new().retain_forever().max_messages(10_000));
    let peers: Vec<_> = (0..100).map(|_| world.connect()).collect();
    for peer in &peers {
        peer.split_reads(usize::MAX);
        peer.stop_reading();
        for _ in 0..1_000 {
            peer.publish("t", "");
        }
    }
    assert_served(&mut world, &other, &peers);
}
