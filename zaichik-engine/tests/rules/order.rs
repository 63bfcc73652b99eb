//! Chapter O: order and offsets.

use zaichik_proto::{AckLevel, TopicOptions};

use crate::world::{Sub, World, record, secs, us};

/// One order for every subscription (rule O2).
#[test]
fn o_01_all_readers_see_the_same_order() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    let readers: Vec<_> = (0..3).map(|_| world.connect()).collect();
    world.ask(&one, one.create("t", TopicOptions::new().retain_forever()));
    world.ask(&readers[0], readers[0].subscribe_to(Sub::new(1, "t").window(0)));
    world.ask(&readers[1], readers[1].subscribe_to(Sub::new(1, "t").window(1_000)));
    for round in 0..50 {
        one.publish("t", &format!("a{round}"));
        two.publish("t", &format!("b{round}"));
        // The size of a read decides which connection is read first.
        one.split_reads(1 + round % 70);
        two.split_reads(1 + round * 3 % 70);
        world.step();
    }
    world.ask(&readers[2], readers[2].subscribe_to(Sub::new(1, "t").window(0)));
    let seen: Vec<_> = readers.iter().map(crate::world::Peer::stream).collect();
    assert_eq!(seen[0].len(), 100);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    let own: Vec<_> = seen[0].iter().filter(|one| one.contains("=a")).collect();
    let ascends = own.iter().enumerate().all(|(round, one)| one.ends_with(&format!("=a{round}")));
    assert!(ascends, "Rule O3: what one connection sent stays in its order: {own:?}");
}

#[test]
fn o_02_a_live_only_topic_does_not_deliver_earlier_records() {
    let mut world = World::new();
    let peer = world.connect();
    peer.publish("t", "a");
    peer.subscribe(1, "t");
    peer.publish("t", "b");
    world.settle();
    assert_eq!(peer.stream(), ["1/1=b"]);
}

#[test]
fn o_03_a_retaining_topic_delivers_earlier_records() {
    let mut world = World::new();
    let peer = world.connect();
    peer.create("t", TopicOptions::new().retain_forever());
    peer.publish("t", "a");
    peer.subscribe_to(Sub::new(1, "t").window(2));
    peer.publish("t", "b");
    world.settle();
    assert_eq!(peer.stream(), ["1/0=a", "1/1=b"]);
}

#[test]
fn o_04_a_clock_that_moves_backwards_neither_reorders_nor_expires_records() {
    let mut world = World::new();
    let peer = world.connect();
    let begin = world.now;
    world.ask(&peer, peer.create("t", TopicOptions::new().retention_ttl(secs(60))));
    world.advance(secs(20));
    world.ask(&peer, peer.publish("t", "a"));
    world.jump(begin + secs(10));
    world.ask(&peer, peer.publish("t", "b"));
    world.jump(begin + secs(30));
    world.ask(&peer, peer.publish("t", "c"));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    let stamps: Vec<_> = reader.records().iter().map(|one| one.timestamp).collect();
    let at = |seconds| (begin + secs(seconds)).as_micros();
    assert_eq!(stamps, [at(20), at(20), at(30)]);
    assert!(world.broker.stats().clock_steps_back > 0);
    // The record accepted while the clock was back lives until its own timestamp plus the time to live.
    for (now, start) in [(80 * 1_000_000 - 1, "0..3"), (80_000_000, "2..3"), (90_000_000, "3..3")] {
        world.jump(begin + us(now));
        let reader = world.connect();
        assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), start);
    }
    // A clock that moves backwards does not resurrect expired records.
    world.jump(begin);
    let reader = world.connect();
    assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), "3..3");
}

#[test]
fn o_04_the_latest_time_of_one_session_applies_to_all() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    let later = world.now + secs(10);
    world.ask(&one, one.create("t", TopicOptions::new().retention_ttl(secs(5))));
    world.ask(&one, one.publish("t", "a"));
    // Only this session sees the later time; then the clock moves back.
    world.session(&one).unwrap().handle_read(later);
    assert_eq!(world.ask(&one, one.subscribe(1, "t")), "1..1");
    assert_eq!(world.ask(&two, two.subscribe(1, "t")), "1..1", "expired for one session is expired for all");
}

#[test]
fn o5_no_record_is_accepted_in_the_future_after_a_pause() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.create("t", TopicOptions::new().retain_forever()));
    world.advance(secs(20));
    let back = world.now + secs(3_590);
    world.suspend(secs(3_600));
    world.jump(back);
    world.ask(&peer, peer.publish("t", "a"));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(9)));
    let stamps: Vec<_> = reader.records().iter().map(|one| one.timestamp).collect();
    assert_eq!(stamps, [back.as_micros()]);
}

#[test]
fn o5_lives_count_a_pause_of_the_broker() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.create("t", TopicOptions::new().retention_ttl(secs(60))));
    world.ask(&peer, peer.publish("t", "a"));
    world.advance(secs(10));
    world.suspend(us(49_999_999));
    let reader = world.connect();
    assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), "0..1");
    world.suspend(us(1));
    let reader = world.connect();
    assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), "1..1");
}

#[test]
fn o_05_the_last_offsets_are_refused_cleanly() {
    let mut world = World::with(|config| config.first_offset = u64::MAX - 3);
    let peer = world.connect();
    world.ask(&peer, peer.create("t", TopicOptions::new().retain_forever()));
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(9)));
    assert_eq!(world.ask(&peer, peer.publish("t", "a")), format!("@{}", u64::MAX - 3));
    let two = [record(b"b"), record(b"c")];
    assert_eq!(world.ask(&peer, peer.publish_all("t", &two)), "refused OffsetsExhausted");
    assert_eq!(world.ask(&peer, peer.publish("t", "b")), format!("@{}", u64::MAX - 2));
    for _ in 0..3 {
        assert_eq!(world.ask(&peer, peer.publish("t", "c")), "refused OffsetsExhausted");
    }
    let (first, second) = (u64::MAX - 3, u64::MAX - 2);
    assert_eq!(peer.stream(), [format!("1/{first}=a"), format!("1/{second}=b")]);
    assert_eq!(world.ask(&peer, peer.commit(1, second)), format!("done {}", u64::MAX - 1));
    assert_eq!(
        world.ask(&peer, peer.commit(1, u64::MAX - 1)),
        format!("refused CommitAhead {}", u64::MAX - 1)
    );
}

#[test]
fn o_05_a_live_only_topic_without_readers_also_runs_out_of_offsets() {
    let mut world = World::with(|config| config.first_offset = u64::MAX - 2);
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.publish("t", "a")), format!("@{} new", u64::MAX - 2));
    assert_eq!(world.ask(&peer, peer.publish("t", "b")), "refused OffsetsExhausted");
}

#[test]
fn o_06_control_frames_leave_at_the_next_frame_boundary() {
    for cut in [1, 7, 1_000, 70_000] {
        let mut world = World::new();
        let (reader, writer) = (world.connect(), world.connect());
        world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
        reader.stop_reading();
        let body = "x".repeat(60_000);
        for _ in 0..10 {
            writer.publish("t", &body);
        }
        world.settle();
        reader.log();
        // Part of the first delivery is sent, then an answer is queued.
        reader.split_writes(cut);
        reader.resume_reading();
        world.step();
        reader.stop_reading();
        let (first, second) = (reader.publish("u", "x"), reader.publish("u", "y"));
        world.settle();
        reader.split_writes(usize::MAX);
        reader.resume_reading();
        world.settle();
        let log = reader.log();
        let place = |text: &str| log.iter().position(|one| one.starts_with(text));
        // The frame that was started is finished first; nothing else precedes the answer.
        let boundary = cut / 60_000 + 1;
        assert_eq!(place(&format!("#{first} ")), Some(boundary), "{log:?}");
        assert_eq!(place(&format!("#{second} ")), Some(boundary + 1), "{log:?}");
        let stream: Vec<_> = (0..10).map(|offset| format!("1/{offset}=<60000>")).collect();
        assert_eq!(reader.stream(), stream, "the lane keeps its order");
    }
}

#[test]
fn o3_frames_of_one_connection_take_effect_in_order() {
    let mut world = World::new();
    let peer = world.connect();
    let requests = [
        peer.publish("t", "before"),
        peer.create("t", TopicOptions::new().retain_forever()),
        peer.publish("t", "a"),
        peer.subscribe_to(Sub::new(1, "t").window(9)),
        peer.publish("t", "b"),
        peer.commit(1, 1),
        peer.unsubscribe(1),
        peer.commit(1, 1),
        peer.publish("t", "c"),
    ];
    world.settle();
    let answers = requests.map(|request| peer.answer(request));
    let expected = [
        "@0 new",
        "adopted",
        "@1",
        "1..2",
        "@2",
        "refused CommitAhead 1",
        "ended",
        "refused NotSubscribed",
        "@3",
    ];
    assert_eq!(answers, expected);
}

/// A connection that publishes and subscribes receives its own messages.
#[test]
fn o4_a_publisher_gets_its_own_messages() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.subscribe(1, "t"));
    world.ask(&peer, peer.publish("t", "a"));
    assert_eq!(peer.stream(), ["1/0=a"]);
}

#[test]
fn o4_a_publisher_without_acknowledgements_gets_its_own_messages_too() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.subscribe_to(Sub::new(1, "t").window(9)));
    for body in [b"a", b"b"] {
        peer.publish_with("t", AckLevel::None, &[record(body)]);
        world.settle();
    }
    assert_eq!(peer.stream(), ["1/0=a", "1/1=b"]);
}

#[test]
fn o1_offsets_are_never_reused() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.create("t", TopicOptions::new().retention_ttl(secs(1)).max_messages(2)));
    for offset in 0..10 {
        assert_eq!(world.ask(&peer, peer.publish("t", "x")), format!("@{offset}"));
        if offset % 3 == 0 {
            world.advance(secs(5));
        }
    }
    // Nor are offsets of records that were never read.
    for offset in 0..3 {
        let answer = world.ask(&peer, peer.publish("live", "x"));
        assert!(answer.starts_with(&format!("@{offset}")));
    }
    assert_eq!(world.ask(&peer, peer.subscribe(1, "live")), "3..3");
}
