//! Chapter A: the window of a subscription, in records and in bytes.

use crate::delivery::pair;
use crate::world::{Sub, World, mortal, record, secs};

#[test]
fn a_01_window_1_delivers_exactly_one() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1);
    world.publish(&writer, &["a", "b", "c"]);
    world.advance(secs(3_600));
    assert_eq!(reader.stream(), ["1/0=a"]);
}

#[test]
fn a_02_the_next_follows_each_commit() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1);
    world.publish(&writer, &["a", "b", "c"]);
    assert_eq!(reader.stream(), ["1/0=a"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/1=b"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 2");
    assert_eq!(reader.stream(), ["1/2=c"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "done 3");
    assert!(reader.stream().is_empty());
    world.publish(&writer, &["d"]);
    assert_eq!(reader.stream(), ["1/3=d"]);
}

#[test]
fn a_03_a_commit_in_the_middle_slides_the_window() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 3);
    world.publish(&writer, &["a", "b", "c", "d", "e", "f"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 1)), "done 2");
    assert_eq!(reader.stream(), ["1/3=d", "1/4=e"]);
}

#[test]
fn a_04_committing_twice_does_not_open_the_window_further() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1);
    world.publish(&writer, &["a", "b", "c"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
}

#[test]
fn a1_window_0_has_no_commits() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 0);
    world.publish(&writer, &["a", "b", "c"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "refused CommitsOff");
}

#[test]
fn a1_the_window_is_bounded_by_the_limit() {
    let mut world = World::with(|config| config.wire.max_window = 4);
    let reader = world.connect();
    let sub = Sub::new(1, "t").window(5);
    assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), "refused WindowTooLarge 4");
    assert_eq!(world.broker.topic_count(), 0);
    assert_eq!(world.ask(&reader, reader.subscribe_to(sub.window(4))), "0..0 new");
    world.publish(&reader, &["a", "b", "c", "d", "e"]);
    assert_eq!(reader.stream().len(), 4);
}

#[test]
fn a1_the_window_is_bounded_in_bytes() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    // A record is 16 bytes and its body: three of them fit, and five bytes are left.
    let sub = Sub::new(1, "t").window(100).window_bytes(56);
    world.ask(&reader, reader.subscribe_to(sub));
    world.publish(&writer, &["a", "b", "c", "d", "e"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/3=d"]);
    world.ask(&reader, reader.commit(1, 3));
    assert_eq!(reader.stream(), ["1/4=e"]);
}

#[test]
fn a1_a_window_full_in_bytes_waits_for_a_commit_even_if_the_record_that_did_not_fit_expires() {
    let mut world = World::new();
    let reader = world.connect();
    let sub = Sub::new(1, "t").window(100).window_bytes(40);
    world.ask(&reader, reader.subscribe_to(sub));
    let large = "x".repeat(100);
    world.ask(&reader, reader.publish_all("t", &[record(b"a"), mortal(&large, 1_000_000)]));
    world.advance(secs(1));
    world.publish(&reader, &["c"]);
    assert_eq!(reader.stream(), ["1/0=a"]);
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/1..2 expired", "1/2=c"]);
}

#[test]
fn a1_window_bytes_0_and_too_many_mean_the_limit() {
    for asked in [0, u32::MAX] {
        let mut world = World::with(|config| config.wire.max_window_size = 40);
        let reader = world.connect();
        let sub = Sub::new(1, "t").window(100).window_bytes(asked);
        assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), "0..0 new");
        world.publish(&reader, &["a", "b", "c"]);
        assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    }
}

#[test]
fn a_21_a_message_larger_than_the_window_in_bytes_is_delivered_alone() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    let sub = Sub::new(1, "t").window(100).window_bytes(40);
    world.ask(&reader, reader.subscribe_to(sub));
    let large = "x".repeat(1_000);
    world.publish(&writer, &["a", &large, "b", "c"]);
    assert_eq!(reader.stream(), ["1/0=a"]);
    world.ask(&reader, reader.commit(1, 0));
    assert_eq!(reader.stream(), ["1/1=<1000>"]);
    world.ask(&reader, reader.commit(1, 1));
    assert_eq!(reader.stream(), ["1/2=b", "1/3=c"]);
}

#[test]
fn a_21_a_message_larger_than_a_delivery_frame_is_delivered_whole_and_alone() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 100);
    let large = "x".repeat(200_000);
    world.publish(&writer, &["a", &large, "b"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=<200000>", "1/2=b"]);
}
