//! Rules A4, A5, D6: nack, seek, and the counts of attempts and rewinds.

use zaichik_proto::{Start, TopicOptions};

use crate::world::{Dice, Peer, Sub, World, mortal, ms, record, secs, us};

const SECOND: u64 = 1_000_000;

/// A reader of the topic "t", which holds these bodies, with a window of `window` records; and a writer.
fn pair(world: &mut World, window: u32, bodies: &[&str]) -> (Peer, Peer) {
    let writer = world.topic(TopicOptions::new().retain_forever());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(window)));
    world.publish(&writer, bodies);
    (reader, writer)
}

#[test]
fn a_08_a_nack_of_the_first_record_redelivers_all_of_them_in_order() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, &["a", "b", "c", "d"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/0=a #2", "1/1=b #2", "1/2=c #2"]);
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 2");
    assert_eq!(reader.stream(), ["1/0=a #3", "1/1=b #3", "1/2=c #3"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "done 3");
    assert_eq!(reader.stream(), ["1/3=d"], "its attempts are counted separately");
}

#[test]
fn a_09_a_nack_of_the_second_record_after_a_commit_of_the_first() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, &["a", "b", "c", "d"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    reader.stream();
    assert_eq!(world.ask(&reader, reader.nack(1, 1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/1=b #2", "1/2=c #2", "1/3=d #2"]);
}

#[test]
fn a_05_all_records_of_a_delivery_have_the_same_attempt() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 4, &[]);
    let records = ["a", "b", "c", "d"].map(|body| record(body.as_bytes()));
    world.ask(&writer, writer.publish_all("t", &records));
    world.ask(&reader, reader.nack(1, 2, 0));
    world.ask(&reader, reader.nack(1, 1, 0));
    reader.stream();
    reader.frames();
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 3");
    assert_eq!(reader.stream(), ["1/0=a #2", "1/1=b #3", "1/2=c #4", "1/3=d #4"]);
    let deliveries = reader.frames().iter().filter(|(kind, _)| *kind == 0x49).count();
    assert_eq!(deliveries, 3, "a, b, and the two with the same history");
}

#[test]
fn a_10_nothing_overtakes_a_delayed_record() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 3, &["a", "b"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&reader, reader.nack(1, 0, SECOND)), "done 1");
    world.publish(&writer, &["c"]);
    world.advance(ms(999));
    assert!(reader.stream().is_empty(), "the whole subscription waits");
    world.advance(ms(1));
    assert_eq!(reader.stream(), ["1/0=a #2", "1/1=b #2", "1/2=c"]);
}

#[test]
fn a4_a_delay_counts_only_time_in_which_the_broker_ran() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, &["a"]);
    reader.stream();
    world.ask(&reader, reader.nack(1, 0, 10 * SECOND));
    world.advance(secs(4));
    world.suspend(secs(3_600));
    world.settle();
    world.advance(us(5_999_999));
    assert!(reader.stream().is_empty());
    world.advance(us(1));
    assert_eq!(reader.stream(), ["1/0=a #2"]);
    world.ask(&reader, reader.nack(1, 0, SECOND));
    world.advance(ms(999));
    assert!(reader.stream().is_empty(), "a delay after a pause is as long as any other");
    world.advance(ms(1));
    assert_eq!(reader.stream(), ["1/0=a #3"]);
}

#[test]
fn a_10_the_last_nack_sets_the_delay() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, &["a", "b", "c"]);
    reader.stream();
    world.ask(&reader, reader.nack(1, 2, 5 * SECOND));
    world.ask(&reader, reader.nack(1, 1, SECOND));
    world.advance(secs(1));
    assert_eq!(reader.stream(), ["1/1=b #2", "1/2=c #2"]);
    world.ask(&reader, reader.nack(1, 1, 3_600 * SECOND));
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 4");
    assert_eq!(
        reader.stream(),
        ["1/0=a #2", "1/1=b #3", "1/2=c #3"],
        "without a delay delivery resumes at once"
    );
}

#[test]
fn a_10_a_commit_does_not_end_a_delay_and_an_infinite_delay_never_ends() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, &["a", "b", "c", "d"]);
    reader.stream();
    world.ask(&reader, reader.nack(1, 1, u64::MAX));
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    world.advance(secs(1_000_000));
    assert!(reader.stream().is_empty());
    assert_eq!(world.ask(&reader, reader.seek(1, Start::Offset(3))), "done 2");
    assert_eq!(reader.stream(), ["1/3=d"], "a seek ends it");
}

#[test]
fn a4_no_other_nack_shortens_the_delay_of_a_nack_of_the_first_record() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 1, &["a", "b"]);
    reader.stream();
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 10 * SECOND)), "done 1");
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "refused NackAhead", "it is not redelivered yet");
    world.advance(ms(9_999));
    assert!(reader.stream().is_empty());
    world.advance(ms(1));
    assert_eq!(reader.stream(), ["1/0=a #2"]);
}

#[test]
fn a_11_a_nack_of_a_committed_offset_has_no_effect() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 1, &["a", "b"]);
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 3_600 * SECOND)), "done 0", "no delay either");
    world.ask(&reader, reader.commit(1, 1));
    world.advance(ms(1));
    assert!(reader.stream().is_empty());
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 2");
}

#[test]
fn a_12_a_commit_of_a_nacked_record_is_ahead() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, &["a", "b", "c"]);
    reader.stream();
    // Sent together: the commit belongs to the old delivery.
    let (nack, commit) = (reader.nack(1, 0, SECOND), reader.commit(1, 1));
    assert_eq!(world.ask(&reader, nack), "done 1");
    assert_eq!(world.ask(&reader, commit), "refused CommitAhead");
    world.advance(secs(1));
    assert_eq!(reader.stream(), ["1/0=a #2", "1/1=b #2", "1/2=c #2"], "nothing was skipped");
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 2");
}

#[test]
fn a3_a_commit_that_crosses_a_seek_is_compared_with_the_position_after_it() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, &["a", "b", "c", "d", "e", "f"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    // Each pair is sent together: the commit belongs to the delivery before the seek.
    let (seek, commit) = (reader.seek(1, Start::Offset(4)), reader.commit(1, 2));
    assert_eq!(world.ask(&reader, seek), "done 1");
    assert_eq!(world.ask(&reader, commit), "done 4", "the seek went beyond it: no effect");
    assert_eq!(reader.stream(), ["1/4=e", "1/5=f"]);
    let (seek, commit) = (reader.seek(1, Start::Earliest), reader.commit(1, 4));
    assert_eq!(world.ask(&reader, seek), "done 2");
    assert_eq!(world.ask(&reader, commit), "refused CommitAhead");
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "done 3", "it was delivered again");
}

#[test]
fn a4_invalid_nacks_are_refused_and_change_nothing() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 2, &["a", "b", "c"]);
    reader.stream();
    assert_eq!(world.ask(&reader, reader.nack(1, 2, 0)), "refused NackAhead 2");
    assert_eq!(world.ask(&reader, reader.nack(1, u64::MAX, 0)), "refused NackAhead 2");
    assert_eq!(world.ask(&reader, reader.nack(2, 0, 0)), "refused NotSubscribed");
    world.ask(&reader, reader.subscribe_to(Sub::new(2, "u").window(0)));
    assert_eq!(world.ask(&reader, reader.nack(2, 0, 0)), "refused CommitsOff");
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/2=c"]);
}

#[test]
fn a4_deliveries_sent_before_a_nack_have_the_old_rewind() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 3, &[]);
    reader.stop_reading();
    world.ask(&writer, writer.publish_all("t", &["a", "b", "c"].map(|body| record(body.as_bytes()))));
    let nack = reader.nack(1, 1, 0);
    world.settle();
    reader.log();
    reader.frames();
    reader.resume_reading();
    world.settle();
    // The answer overtakes the deliveries; the first of them is stale by then.
    let (log, frames) = (reader.log(), reader.frames());
    assert_eq!(log, [&format!("#{nack} done 1"), "1/1=b #2", "1/2=c #2"]);
    assert_eq!(frames.iter().filter(|(kind, _)| *kind == 0x49).count(), 2);
}

#[test]
fn r_15_a_live_only_record_is_redelivered_after_a_nack() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    world.publish(&writer, &["a", "b"]);
    assert_eq!(reader.stream(), ["1/0=a"]);
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/0=a #2"]);
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/1=b"]);
}

#[test]
fn r_16_a_delivered_record_that_expired_becomes_a_gap_after_a_nack() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 3, &["a"]);
    world.ask(&writer, writer.publish_all("t", &[mortal("b", SECOND)]));
    world.publish(&writer, &["c"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    world.advance(secs(1));
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/0=a #2", "1/1..2 expired", "1/2=c #2"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 2", "the cursor moves past the gap by itself");
}

#[test]
fn d_06_a_seek_backwards_redelivers() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 2, &["a", "b", "c", "d"]);
    world.ask(&reader, reader.commit(1, 1));
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c", "1/3=d"]);
    assert_eq!(world.ask(&reader, reader.seek(1, Start::Earliest)), "done 1");
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"], "attempts below the cursor were forgotten");
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "refused CommitAhead 2", "the window starts empty");
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 2");
    assert_eq!(reader.stream(), ["1/2=c #2", "1/3=d #2"]);
}

#[test]
fn d_06_a_seek_beyond_the_end_waits() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 2, &["a", "b"]);
    reader.stream();
    assert_eq!(world.ask(&reader, reader.seek(1, Start::Offset(4))), "done 1");
    world.publish(&writer, &["c", "d", "e"]);
    assert_eq!(reader.stream(), ["1/4=e"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 4)), "done 5");
}

#[test]
fn d_06_a_seek_to_the_latest_and_to_a_time() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 5, &["a"]);
    world.advance(secs(5));
    let time = world.now.as_micros();
    world.publish(&writer, &["b"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&reader, reader.seek(1, Start::Time(time))), "done 1");
    assert_eq!(reader.stream(), ["1/1=b #2"]);
    assert_eq!(world.ask(&reader, reader.seek(1, Start::Latest)), "done 2");
    world.publish(&writer, &["c"]);
    assert_eq!(reader.stream(), ["1/2=c"]);
    assert_eq!(world.ask(&reader, reader.seek(9, Start::Latest)), "refused NotSubscribed");
}

#[test]
fn d_06_a_live_only_topic_has_nothing_below_the_cursor_to_seek_to() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(3)));
    world.publish(&writer, &["a", "b", "c", "d"]);
    world.ask(&reader, reader.commit(1, 0));
    reader.stream();
    assert_eq!(world.ask(&reader, reader.seek(1, Start::Earliest)), "done 1");
    assert_eq!(reader.stream(), ["1/1=b #2", "1/2=c #2", "1/3=d #2"]);
    assert_eq!(world.ask(&reader, reader.seek(1, Start::Offset(0))), "done 2");
    assert_eq!(reader.stream(), ["1/1=b #3", "1/2=c #3", "1/3=d #3"]);
    assert_eq!(
        world.ask(&reader, reader.seek(1, Start::Offset(3))),
        "done 3",
        "one bad record can be skipped"
    );
    assert_eq!(reader.stream(), ["1/3=d #4"]);
}

#[test]
fn d_06_a_seek_without_commits() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 0, &["a", "b"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&reader, reader.seek(1, Start::Offset(1))), "done 1");
    assert_eq!(reader.stream(), ["1/1=b"]);
}

/// With any schedule of nacks and commits, records arrive in order, each until it is committed.
#[test]
fn promise_2_any_schedule_of_nacks_keeps_the_order() {
    for seed in 0..40 {
        let mut world = World::new();
        let (reader, writer) = pair(&mut world, 4, &[]);
        let mut dice = Dice::new(seed);
        let bodies: Vec<String> = (0..60).map(|index| format!("m{index}")).collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        world.publish(&writer, &bodies);
        let (mut cursor, mut next) = (0u64, 0u64);
        while cursor < 60 {
            for one in reader.stream() {
                let offset: u64 = one[2..].split('=').next().unwrap().parse().unwrap();
                assert_eq!(offset, next, "in order");
                next += 1;
            }
            let delivered = next - cursor;
            assert!((1..=4).contains(&delivered), "the window");
            let at = cursor + dice.below(usize::try_from(delivered).unwrap()) as u64;
            if dice.below(3) == 0 {
                assert!(
                    world.ask(&reader, reader.nack(1, at, dice.below(2) as u64 * SECOND)).starts_with("done")
                );
                next = at;
            } else {
                assert_eq!(world.ask(&reader, reader.commit(1, at)), format!("done {}", at + 1));
                cursor = at + 1;
            }
            world.advance(secs(1));
        }
    }
}
