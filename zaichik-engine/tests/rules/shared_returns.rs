//! Chapter G: records that come back: nacks, deadlines, dead letters and keys.

use zaichik_proto::TopicOptions;

use crate::dead_letter::bodies;
use crate::shared::{G, member, offsets, topic};
use crate::world::{Dice, World, secs, us};

const SECOND: u64 = 1_000_000;

#[test]
fn g_05_a_record_that_is_given_back_with_a_delay_holds_nothing_up() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c", "d"]);
    let one = member(&mut world, G.window(2));
    assert_eq!(one.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&one, one.give_back(1, &[(0, 1)], SECOND)), "acked to 0");
    assert_eq!(one.stream(), ["1/2=c"]);
    assert_eq!(world.ask(&one, one.ack(1, &[(0, 3)])), "acked to 0 not 0..1");
    assert_eq!(one.stream(), ["1/3=d"]);
    let two = member(&mut world, G.window(2));
    world.advance(us(SECOND - 1));
    assert!(one.stream().is_empty() && two.stream().is_empty());
    world.advance(us(1));
    let got = [one.stream(), two.stream()].concat();
    assert_eq!(got, ["1/0=a #2"]);
    assert_eq!(world.ask(&two, two.give_back(1, &[(3, 1)], 0)), "acked to 0 not 3..4");
}

#[test]
fn g_06_a_record_comes_back_at_its_deadline_and_not_before() {
    let mut world = World::new();
    topic(&mut world, &["a", "b"]);
    let one = member(&mut world, G.window(2).deadline(30 * SECOND));
    let two = member(&mut world, G.window(1).deadline(30 * SECOND));
    assert_eq!(one.stream(), ["1/0=a", "1/1=b"]);
    world.advance(us(10 * SECOND));
    assert_eq!(world.ask(&one, one.extend(1, &[(1, 2)])), "acked to 0 not 2..3");
    world.advance(us(20 * SECOND - 1));
    assert!(two.stream().is_empty());
    world.advance(us(1));
    assert_eq!(two.stream(), ["1/0=a #2"]);
    assert_eq!(world.ask(&one, one.ack(1, &[(0, 1)])), "acked to 0 not 0..1", "another has got it");
    world.advance(us(10 * SECOND - 1));
    assert_eq!(world.ask(&two, two.ack(1, &[(0, 1)])), "acked to 1");
    assert!(two.stream().is_empty());
    two.cut();
    world.advance(us(1));
    // The member that had it has room, so it gets it again.
    assert_eq!(one.stream(), ["1/1=b #2"]);
}

#[test]
fn g_06_a_late_ack_counts_while_no_other_member_has_got_the_record() {
    // Whatever waits in a lane fills it.
    let mut world = World::with(|config| config.output_buffer = 1);
    let writer = topic(&mut world, &[]);
    let one = member(&mut world, G.window(2).deadline(SECOND));
    one.stop_reading();
    world.publish(&writer, &["a", "b"]);
    world.advance(secs(2));
    let request = one.ack(1, &[(0, 1)]);
    world.settle();
    one.resume_reading();
    assert_eq!(world.ask(&one, request), "acked to 1");
    assert_eq!(one.stream(), ["1/0=a", "1/1=b"], "nobody could take it");
    assert_eq!(world.ask(&one, one.ack(1, &[(1, 1)])), "acked to 2");
    // The other way round: another member takes it.
    one.stop_reading();
    world.publish(&writer, &["c"]);
    world.advance(us(SECOND - 1));
    let two = member(&mut world, G.window(2).deadline(SECOND));
    assert!(two.stream().is_empty());
    world.advance(us(1));
    assert_eq!(two.stream(), ["1/2=c #2"]);
    let request = one.ack(1, &[(2, 1)]);
    world.settle();
    one.resume_reading();
    assert_eq!(world.ask(&one, request), "acked to 2 not 2..3");
}

/// Rules G6 and O5.
#[test]
fn g6_a_pause_of_the_broker_does_not_count() {
    let mut world = World::new();
    topic(&mut world, &["a"]);
    let one = member(&mut world, G.deadline(SECOND));
    let two = member(&mut world, G.deadline(SECOND));
    assert_eq!(one.stream(), ["1/0=a"]);
    world.suspend(secs(60));
    world.advance(us(SECOND - 1));
    assert!(two.stream().is_empty());
    world.advance(us(1));
    assert_eq!([one.stream(), two.stream()].concat(), ["1/0=a #2"]);
}

#[test]
fn g_09_one_record_among_many_becomes_a_dead_letter() {
    let mut world = World::new();
    topic(&mut world, &["a", "b", "c"]);
    let terms = G.window(9).deadline(SECOND).dead_letter(3, "dead");
    let one = member(&mut world, terms);
    assert_eq!(one.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(world.ask(&one, one.give_back(1, &[(1, 1)], 0)), "acked to 0");
    assert_eq!(one.stream(), ["1/1=b #2"]);
    world.ask(&one, one.ack(1, &[(0, 1), (2, 1)]));
    world.advance(secs(1));
    assert_eq!(one.stream(), ["1/1=b #3"], "the deadline is a failure");
    assert!(bodies(&mut world).is_empty());
    one.cut();
    world.settle();
    assert_eq!(bodies(&mut world), ["b"], "and so is the end of a connection");
    let two = member(&mut world, terms);
    assert!(two.stream().is_empty());
    assert_eq!(
        world.ask(&two, two.describe_shared("t", "g")),
        "3..3 of 3, 0 in flight, 0 waiting, 0 blocked, peer 0/9"
    );
}

/// Rules G5 and S6.
#[test]
fn g5_the_orderly_end_of_a_connection_is_no_failure() {
    let mut world = World::new();
    topic(&mut world, &["a"]);
    for attempt in 1..=4 {
        let one = member(&mut world, G.dead_letter(1, "dead"));
        assert_eq!(offsets(&one), [(0, attempt)]);
        match attempt % 2 {
            0 => one.close(),
            _ => drop(one.unsubscribe(1)),
        }
        world.settle();
    }
    assert!(bodies(&mut world).is_empty());
    let one = member(&mut world, G.dead_letter(1, "dead"));
    one.cut();
    world.settle();
    assert_eq!(bodies(&mut world), ["a"]);
}

#[test]
fn g_07_one_record_of_a_key_at_a_time_in_order() {
    for seed in 0..40 {
        let (mut world, mut dice) = (World::new(), Dice::new(seed));
        let writer = world.topic(TopicOptions::new().retain_forever());
        let terms = G.window(4).by_key().deadline(3 * SECOND);
        let mut members = [member(&mut world, terms), member(&mut world, terms)];
        let keys = ["k", "l", "m", ""];
        let mut published = 0u64;
        // Members, offsets and keys.
        let mut held: Vec<(usize, u64, Option<Vec<u8>>)> = Vec::new();
        let mut done = Vec::new();
        for _ in 0..150 {
            match dice.below(8) {
                0..3 => {
                    let key = keys[dice.below(4)];
                    let request = if key.is_empty() {
                        writer.publish("t", "x")
                    } else {
                        writer.publish_keyed("t", key, "x")
                    };
                    world.ask(&writer, request);
                    published += 1;
                }
                3 => {
                    world.advance(us(SECOND * dice.below(3) as u64));
                    // Which of them have come back is found out when they are acknowledged.
                }
                4 if dice.below(4) == 0 => {
                    let index = dice.below(members.len());
                    members[index].cut();
                    world.settle();
                    members[index].records();
                    held.retain(|(of, _, _)| *of != index);
                    members[index] = member(&mut world, terms);
                }
                5 if !held.is_empty() => {
                    let (index, offset, _) = held.swap_remove(dice.below(held.len()));
                    let delay = SECOND * dice.below(2) as u64;
                    world.ask(&members[index], members[index].give_back(1, &[(offset, 1)], delay));
                }
                _ if !held.is_empty() => {
                    let (index, offset, _) = held.swap_remove(dice.below(held.len()));
                    let answer = world.ask(&members[index], members[index].ack(1, &[(offset, 1)]));
                    if !answer.contains("not") {
                        done.push(offset);
                    }
                }
                _ => {}
            }
            world.settle();
            for (index, peer) in members.iter().enumerate() {
                for one in peer.records() {
                    // It was elsewhere before and has come back.
                    held.retain(|(_, offset, _)| *offset != one.offset);
                    if let Some(key) = &one.key {
                        let earlier = held.iter().find(|(_, _, other)| other.as_ref() == Some(key));
                        let has_come_back = earlier.is_some_and(|(_, offset, _)| *offset > one.offset);
                        assert!(
                            earlier.is_none() || has_come_back,
                            "seed {seed}: {} and {earlier:?}",
                            one.offset
                        );
                    }
                    held.push((index, one.offset, one.key));
                }
            }
        }
        for _ in 0..200 {
            for (index, offset, _) in std::mem::take(&mut held) {
                let answer = world.ask(&members[index], members[index].ack(1, &[(offset, 1)]));
                if !answer.contains("not") {
                    done.push(offset);
                }
            }
            world.advance(secs(1));
            for (index, peer) in members.iter().enumerate() {
                held.extend(peer.records().into_iter().map(|one| (index, one.offset, one.key)));
            }
        }
        done.sort_unstable();
        assert!(done.iter().copied().eq(0..published), "seed {seed}: {done:?} of {published}");
    }
}

/// Rule G7.
#[test]
fn g_07_a_key_that_is_held_holds_no_other_up() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever());
    for (key, body) in [("k", "k1"), ("k", "k2"), ("l", "l1"), ("k", "k3"), ("l", "l2")] {
        world.ask(&writer, writer.publish_keyed("t", key, body));
    }
    world.publish(&writer, &["none"]);
    let one = member(&mut world, G.window(9).by_key());
    assert_eq!(one.stream(), ["1/0=k1", "1/2=l1", "1/5=none"]);
    assert_eq!(world.ask(&one, one.give_back(1, &[(0, 1)], SECOND)), "acked to 0");
    assert!(one.stream().is_empty(), "a record that came back blocks its key");
    assert_eq!(world.ask(&one, one.ack(1, &[(2, 1)])), "acked to 0");
    assert_eq!(one.stream(), ["1/4=l2"]);
    world.advance(secs(1));
    assert_eq!(one.stream(), ["1/0=k1 #2"]);
    world.ask(&one, one.ack(1, &[(0, 1)]));
    assert_eq!(one.stream(), ["1/1=k2"]);
    world.ask(&one, one.ack(1, &[(1, 1)]));
    assert_eq!(one.stream(), ["1/3=k3"]);
    assert_eq!(world.ask(&one, one.ack(1, &[(3, 3)])), "acked to 6");
}
