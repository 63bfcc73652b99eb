//! Chapter G: members of a shared subscription, hand-out and acknowledgement.

use std::collections::{BTreeMap, BTreeSet};

use zaichik_proto::{Overflow, Start, TopicOptions, Version};

use crate::world::{Dice, Member, Peer, Sub, World, secs, us};

/// A member of the subscription "g" of the topic "t", with this window.
pub(crate) fn member(world: &mut World, terms: Member<'_>) -> Peer {
    let peer = world.connect_as(Version::Two);
    let answer = world.ask(&peer, peer.join(terms));
    assert!(!answer.starts_with("refused"), "{answer}");
    peer
}

/// The topic "t", which keeps everything, and these records in it.
pub(crate) fn topic(world: &mut World, bodies: &[&str]) -> Peer {
    let writer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&writer, bodies);
    writer
}

pub(crate) const G: Member<'_> = Member::new(1, "t", "g");

/// The offsets and attempts that a member received since the last call.
pub(crate) fn offsets(peer: &Peer) -> Vec<(u64, u32)> {
    peer.records().iter().map(|one| (one.offset, one.attempt)).collect()
}

#[test]
fn g_01_each_record_goes_to_exactly_one_member() {
    let mut world = World::new();
    let writer = topic(&mut world, &[]);
    let (one, two) = (member(&mut world, G.window(9)), member(&mut world, G.window(9)));
    let mut all = BTreeMap::new();
    for round in 0..20u64 {
        world.publish(&writer, &["x", "y", "z"]);
        for peer in [&one, &two] {
            let got = offsets(peer);
            assert!(!got.is_empty(), "round {round}: both have room");
            for (offset, attempt) in got {
                assert_eq!((all.insert(offset, attempt), attempt), (None, 1));
                let answer = world.ask(peer, peer.ack(1, &[(offset, 1)]));
                assert!(answer.starts_with("acked to") && !answer.contains("not"), "{answer}");
            }
        }
    }
    assert!(all.keys().copied().eq(0..60));
    assert_eq!(world.ask(&one, one.ack(1, &[(7, 1)])), "acked to 60 not 7..8");
}

/// Rule G10.
#[test]
fn g_02_what_a_member_held_comes_to_the_others_lowest_first() {
    let mut world = World::new();
    let bodies: Vec<String> = (0..12).map(|body| body.to_string()).collect();
    topic(&mut world, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let one = member(&mut world, G.window(10));
    assert_eq!(offsets(&one).len(), 10);
    let two = member(&mut world, G.window(100));
    assert_eq!(offsets(&two), [(10, 1), (11, 1)]);
    one.cut();
    world.settle();
    assert_eq!(offsets(&two), (0..10).map(|offset| (offset, 2)).collect::<Vec<_>>());
    assert_eq!(world.ask(&two, two.ack(1, &[(0, 12)])), "acked to 12");
}

/// Rules G3, G4.
#[test]
fn g_03_the_cursor_is_the_lowest_offset_that_is_not_acknowledged() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c", "d", "e"]);
    let one = member(&mut world, G.window(9));
    assert_eq!(one.stream(), ["1/0=a", "1/1=b", "1/2=c", "1/3=d", "1/4=e"]);
    assert_eq!(world.ask(&one, one.ack(1, &[(3, 1)])), "acked to 0");
    assert_eq!(world.ask(&one, one.ack(1, &[(1, 1)])), "acked to 0");
    assert_eq!(world.ask(&one, one.ack(1, &[(0, 1)])), "acked to 2");
    assert_eq!(world.ask(&one, one.ack(1, &[(4, 1), (2, 1)])), "acked to 5");
    assert_eq!(world.ask(&one, one.ack_of(1, &[(4, 1)], 0, true)), "acked to 5 not 4..5", "not silent");
    assert!(one.stream().is_empty());
}

#[test]
fn g_04_what_another_member_holds_is_named_and_not_touched() {
    let mut world = World::new();
    let writer = topic(&mut world, &[]);
    let (one, two) = (member(&mut world, G.window(1)), member(&mut world, G.window(1)));
    world.publish(&writer, &["a", "b", "c"]);
    let (mine, other) = (offsets(&one)[0].0, offsets(&two)[0].0);
    assert_eq!([mine.min(other), mine.max(other)], [0, 1]);
    let expected = format!("acked to {} not {other}..{}", u64::from(mine == 0), 3);
    let expected = if other == 0 { "acked to 0 not 0..1 2..3".to_owned() } else { expected };
    assert_eq!(world.ask(&one, one.ack(1, &[(0, 3)])), expected);
    let next = offsets(&one);
    assert_eq!(next, [(2, 1)], "it has room again");
    assert_eq!(world.ask(&two, two.ack(1, &[(other, 1)])), "acked to 2");
    assert_eq!(world.ask(&one, one.ack(1, &[(2, 1), (2, 1)])), "acked to 3 not 2..3", "named twice");
}

/// Rules G4, G11.
#[test]
fn g_08_at_max_span_nothing_new_is_handed_out_until_the_cursor_moves() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c", "d", "e", "f"]);
    let one = member(&mut world, G.window(9).span(3));
    assert_eq!(one.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(world.ask(&one, one.ack(1, &[(1, 2)])), "acked to 0");
    assert!(one.stream().is_empty());
    assert_eq!(
        world.ask(&one, one.describe_shared("t", "g")),
        "0..3 of 6, 1 in flight, 0 waiting, 0 blocked by 0, peer 1/9"
    );
    assert_eq!(world.ask(&one, one.ack(1, &[(0, 1)])), "acked to 3");
    assert_eq!(one.stream(), ["1/3=d", "1/4=e", "1/5=f"]);
}

#[test]
fn g_11_members_come_and_go_and_nothing_is_lost_or_doubled() {
    for seed in 0..40 {
        let (mut world, mut dice) = (World::new(), Dice::new(seed));
        let writer = topic(&mut world, &[]);
        let (mut members, mut published) = (Vec::new(), 0u64);
        let (mut acked, mut handed) = (BTreeSet::new(), BTreeMap::new());
        for _ in 0..120 {
            match dice.below(7) {
                0 if members.len() < 5 => {
                    let window = u32::try_from(dice.below(12) + 1).unwrap();
                    members.push((member(&mut world, G.window(window)), Vec::new()));
                }
                1 if members.len() > 1 => {
                    let (peer, _) = members.swap_remove(dice.below(members.len()));
                    match dice.below(3) {
                        0 => peer.cut(),
                        1 => peer.close(),
                        _ => drop(peer.unsubscribe(1)),
                    }
                    world.settle();
                    peer.records();
                }
                2 | 3 => {
                    let count = dice.below(9);
                    for _ in 0..count {
                        world.publish(&writer, &["x"]);
                    }
                    published += count as u64;
                }
                _ => {
                    for (peer, held) in &mut members {
                        for (offset, attempt) in offsets(peer) {
                            let before = handed.insert(offset, attempt).unwrap_or_default();
                            assert_eq!(before + 1, attempt, "seed {seed}: {offset}");
                            held.push(offset);
                        }
                        let offset = if held.is_empty() {
                            None
                        } else {
                            Some(held.swap_remove(dice.below(held.len())))
                        };
                        if let Some(offset) = offset {
                            let answer = world.ask(peer, peer.ack(1, &[(offset, 1)]));
                            assert!(!answer.contains("not"), "seed {seed}: {answer}");
                            assert!(acked.insert(offset));
                        }
                    }
                }
            }
            // What was handed out and was not seen here before its member left counts as handed out as well.
            for (peer, held) in &mut members {
                for (offset, attempt) in offsets(peer) {
                    let before = handed.insert(offset, attempt).unwrap_or_default();
                    assert!(before < attempt, "seed {seed}");
                    held.push(offset);
                }
            }
        }
        for (peer, _) in members {
            peer.cut();
        }
        world.settle();
        let last = member(&mut world, G.window(1_000));
        let rest: Vec<u64> = offsets(&last).iter().map(|(offset, _)| *offset).collect();
        assert!(rest.iter().all(|offset| !acked.contains(offset)), "seed {seed}");
        assert_eq!((rest.len() + acked.len()) as u64, published, "seed {seed}");
    }
}

#[test]
fn g_12_no_member_gets_two_runs_while_another_with_room_waits() {
    let mut world = World::new();
    let bodies: Vec<String> = (0..300).map(|body| body.to_string()).collect();
    let writer = topic(&mut world, &[]);
    let peers: Vec<Peer> = (0..3).map(|_| member(&mut world, G.window(100))).collect();
    let batch: Vec<_> = bodies.iter().map(|body| zaichik_testkit::record(body.as_bytes())).collect();
    world.ask(&writer, writer.publish_all("t", &batch));
    let got: Vec<usize> = peers.iter().map(|peer| offsets(peer).len()).collect();
    assert_eq!(got.iter().sum::<usize>(), 300, "{got:?}");
    assert_eq!(got, [100, 100, 100], "all of them are full");
    // One that stops reading does not hold the others up.
    peers[0].stop_reading();
    for peer in &peers {
        world.ask(peer, peer.ack(1, &[(0, 300)]));
    }
    let large = "x".repeat(60_000);
    for _ in 0..20 {
        world.publish(&writer, &[&large]);
    }
    world.publish(&writer, &["small"]);
    let others: usize = peers[1..].iter().map(|peer| offsets(peer).len()).sum();
    assert!(others >= 12, "{others}");
}

/// Rule G2.
#[test]
fn g_12_a_member_waits_until_the_others_have_had_their_turn() {
    let mut world = World::new();
    let writer = topic(&mut world, &[]);
    let peers: Vec<Peer> = (0..3).map(|_| member(&mut world, G.window(1_000))).collect();
    let batch = vec![zaichik_testkit::record(b"x"); 300];
    world.ask(&writer, writer.publish_all("t", &batch));
    let got: Vec<usize> = peers.iter().map(|peer| offsets(peer).len()).collect();
    assert_eq!(got.iter().sum::<usize>(), 300, "{got:?}");
    assert!(got.iter().all(|records| *records >= 80), "{got:?}");
}

/// Rule G2.
#[test]
fn g_12_a_connection_that_is_full_passes_its_turn_on_even_if_another_subscription_has_something() {
    for exchanges in 0..3u64 {
        let mut world = World::new();
        let writer = topic(&mut world, &[]);
        let (one, two) = (member(&mut world, G.window(99)), member(&mut world, G.window(99)));
        let other = Sub::new(2, "u").window(1_000);
        world.ask(&one, one.subscribe_to(other));
        one.stop_reading();
        let large = vec![7; 60_000];
        for _ in 0..20 {
            world.ask(&writer, writer.publish_all("u", &[zaichik_testkit::record(&large)]));
        }
        for _ in 0..exchanges {
            world.publish(&writer, &["x"]);
        }
        offsets(&two);
        world.publish(&writer, &["a", "b"]);
        let from = exchanges;
        assert_eq!(offsets(&two), [(from, 1), (from + 1, 1)], "after {exchanges}");
    }
}

/// Rule G8.
#[test]
fn g_13_a_gap_is_reported_once() {
    let mut world = World::new();
    let writer =
        world.topic(TopicOptions::new().retain_forever().max_messages(3).overflow(Overflow::DropOldest));
    let (one, two) = (member(&mut world, G.window(1)), member(&mut world, G.window(1)));
    world.publish(&writer, &["a", "b", "c", "d", "e", "f", "g"]);
    let (mut mine, mut other) = (one.stream(), two.stream());
    assert_eq!((mine.len(), other.len()), (1, 1));
    assert_eq!(world.ask(&one, one.ack(1, &[(0, 2)])).split(' ').next(), Some("acked"));
    mine.extend(one.stream());
    world.ask(&two, two.ack(1, &[(0, 2)]));
    mine.extend(one.stream());
    other.extend(two.stream());
    let gaps: Vec<_> = mine.iter().chain(&other).filter(|text| text.contains("limit")).cloned().collect();
    assert_eq!(gaps, ["1/2..4 limit"]);
    assert!(mine.contains(&"1/2..4 limit".to_owned()), "it would have got its first offset");
    let records = mine.len() + other.len() - 1;
    assert_eq!(records, 4);
}

/// Rules G1, D5 and D7.
#[test]
fn g1_a_name_stands_for_one_way_of_subscribing() {
    let mut world = World::new();
    let writer = topic(&mut world, &["a"]);
    let one = member(&mut world, G);
    assert_eq!(world.ask(&one, one.join(Member::new(2, "t", "g"))), "refused AlreadySubscribed");
    assert_eq!(
        world.ask(&one, one.join(Member::new(1, "t", "h"))),
        "refused AlreadySubscribed",
        "the number"
    );
    let two = world.connect_as(Version::Two);
    assert_eq!(world.ask(&two, two.join(G.by_key())), "refused ModeDiffers");
    assert_eq!(world.ask(&two, two.subscribe_to(Sub::new(1, "t").durable("g"))), "refused ModeDiffers");
    assert_eq!(world.ask(&two, two.subscribe_to(Sub::new(1, "t").durable("d"))), "0..1 epoch 1 rewind 0");
    assert_eq!(world.ask(&two, two.join(Member::new(2, "t", "d"))), "refused ModeDiffers");
    assert_eq!(world.ask(&two, two.ack(1, &[(0, 1)])), "refused ModeDiffers");
    assert_eq!(world.ask(&two, two.ack(9, &[(0, 1)])), "refused NotSubscribed");
    assert_eq!(world.ask(&two, two.describe_shared("t", "d")), "refused ModeDiffers");
    assert_eq!(world.ask(&two, two.describe_shared("t", "x")), "refused NotSubscribed");
    assert_eq!(world.ask(&one, one.commit(1, 0)), "refused CommitShared");
    assert_eq!(world.ask(&one, one.nack(1, 0, 0)), "refused CommitShared");
    assert_eq!(world.ask(&writer, writer.subscribe_to(Sub::new(1, "t").durable("g"))), "refused ModeDiffers");
    assert_eq!(world.ask(&two, two.remove_durable("t", "g")), "refused SubscriptionHeld");
    assert_eq!(world.ask(&one, one.unsubscribe(1)), "ended 0");
    assert_eq!(world.ask(&two, two.remove_durable("t", "g")), "done 0");
    assert_eq!(world.ask(&one, one.join(G.inactive_ttl(5_000_000))), "0..1");
    one.stream();
    world.ask(&one, one.ack(1, &[(0, 1)]));
    one.cut();
    world.advance(us(4_999_999));
    let three = world.connect_as(Version::Two);
    assert_eq!(world.ask(&three, three.join(G.inactive_ttl(5_000_000))), "1..1");
    three.cut();
    world.advance(secs(5));
    let four = member(&mut world, G);
    assert_eq!(four.stream(), ["1/0=a"], "it is another one");
}

/// Rules G1 and G3.
#[test]
fn g1_window_zero_acknowledges_at_output() {
    let mut world = World::new();
    let writer = topic(&mut world, &["a", "b"]);
    let one = member(&mut world, G.window(0));
    assert_eq!(one.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&one, one.ack(1, &[(0, 1)])), "refused CommitsOff");
    one.cut();
    world.publish(&writer, &["c"]);
    let two = world.connect_as(Version::Two);
    assert_eq!(world.ask(&two, two.join(G)), "2..3");
    assert_eq!(two.stream(), ["1/2=c"]);
}

/// Rules G13 and A10.
#[test]
fn g13_a_seek_clears_everything_and_late_acks_hold_nothing() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c", "d"]);
    let one = member(&mut world, G.window(2));
    assert_eq!(one.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&one, one.ack(1, &[(1, 1)])), "acked to 0");
    assert_eq!(one.stream(), ["1/2=c"]);
    assert_eq!(world.ask(&one, one.seek(1, Start::Offset(1))), "done 1");
    assert_eq!(one.stream(), ["1/1=b", "1/2=c"]);
    assert_eq!(world.ask(&one, one.ack_of(1, &[(1, 2)], 0, false)), "acked to 1 not 1..3");
    assert_eq!(world.ask(&one, one.ack(1, &[(1, 2)])), "acked to 3");
    assert_eq!(one.stream(), ["1/3=d"]);
    let other = world.connect_as(Version::Two);
    assert_eq!(world.ask(&other, other.seek_durable("t", "g", Start::Earliest)), "done 2");
    assert_eq!(one.stream(), ["1/0=a", "1/1=b"]);
}
