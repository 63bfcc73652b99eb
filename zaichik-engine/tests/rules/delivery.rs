//! Chapter A: delivery and commit.

use zaichik_proto::{ClientFrame, Commit, Record, Start, TopicOptions};

use crate::world::{Peer, Sub, World, record, secs};

/// A reader with a window of `window` records, and a writer.
pub(crate) fn pair(world: &mut World, window: u32) -> (Peer, Peer) {
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&writer, writer.create("t", TopicOptions::new().retain_forever()));
    assert_eq!(world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(window))), "0..0");
    (reader, writer)
}

/// Rule A3.
#[test]
fn a_05_committing_ahead_is_refused_and_changes_nothing() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 2);
    world.publish(&writer, &["a", "b", "c", "d"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 2)), "refused CommitAhead 2");
    assert_eq!(world.ask(&reader, reader.commit(1, u64::MAX)), "refused CommitAhead 2");
    assert!(reader.stream().is_empty());
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/2=c"]);
}

#[test]
fn a_06_committing_an_unknown_subscription_or_one_of_another_connection() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1);
    world.publish(&writer, &["a", "b"]);
    assert_eq!(world.ask(&writer, writer.commit(1, 0)), "refused NotSubscribed");
    assert_eq!(world.ask(&reader, reader.commit(2, 0)), "refused NotSubscribed");
    assert_eq!(reader.stream(), ["1/0=a"]);
}

#[test]
fn a2_a_quiet_commit_is_answered_only_when_refused() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1);
    world.publish(&writer, &["a", "b"]);
    let quiet = |offset| {
        let commit = |request| Commit { request, subscription: 1, offset, rewind: None, quiet: true };
        reader.request(|request| ClientFrame::Commit(commit(request)))
    };
    assert_eq!(world.ask(&reader, quiet(0)), "-");
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&reader, quiet(2)), "refused CommitAhead 2");
}

#[test]
fn a5_a_delivery_carries_all_parts_of_a_record() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 10);
    let headers: [(&str, &[u8]); 3] = [("trace", &[1, 2]), ("empty", b""), ("trace", b"again")];
    let full = Record { key: Some(b"k"), headers: &headers, ttl_micros: Some(60_000_000), ..record(b"body") };
    world.ask(&writer, writer.publish_all("t", &[full, record(b"plain"), Record { key: Some(b""), ..full }]));
    let at = world.now.as_micros();
    let records = reader.records();
    let first = &records[0];
    assert_eq!((first.offset, first.timestamp, first.key.as_deref()), (0, at, Some(&b"k"[..])));
    assert_eq!(first.body, b"body");
    let seen: Vec<_> = first.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    assert_eq!(seen, headers);
    assert_eq!((records[1].key.as_deref(), records[1].headers.len()), (None, 0));
    assert_eq!(records[2].key.as_deref(), Some(&b""[..]));
}

#[test]
fn a7_a_delivery_frame_is_at_most_64_kib() {
    const DELIVERY: u8 = 0x49;
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1_000);
    reader.frames();
    let body = vec![b'x'; 1_000];
    let records = vec![record(&body); 500];
    writer.publish_all("t", &records);
    world.settle();
    let frames = reader.frames();
    assert_eq!(reader.stream().len(), 500);
    assert!(frames.len() <= 20, "few frames: {frames:?}");
    assert!(frames.iter().all(|(kind, len)| *kind == DELIVERY && *len <= 64 << 10), "{frames:?}");
}

#[test]
fn a_15_subscribing_again_after_unsubscribe_uses_the_new_start() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 2);
    world.publish(&writer, &["a", "b", "c"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b"]);
    assert_eq!(world.ask(&reader, reader.unsubscribe(1)), "ended 1");
    assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), "0..3");
    assert_eq!(reader.stream(), ["1/0=a"]);
    world.ask(&reader, reader.unsubscribe(1));
    assert_eq!(world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").from(Start::Latest))), "3..3");
    assert!(reader.stream().is_empty());
}

#[test]
fn a_16_records_in_flight_when_the_connection_ended_are_not_committed() {
    for end in [|peer: &Peer| peer.close(), Peer::cut, Peer::finish] {
        let mut world = World::new();
        let (reader, writer) = (world.connect(), world.connect());
        world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(3)));
        let other = world.connect();
        world.ask(&other, other.subscribe_to(Sub::new(1, "t").window(3)));
        world.publish(&writer, &["a", "b"]);
        reader.stop_reading();
        world.publish(&writer, &["c"]);
        end(&reader);
        world.settle();
        // With reject a limit removes only records that every subscription has committed: here none.
        let options = TopicOptions::new().retain_forever();
        assert_eq!(world.ask(&writer, writer.create("t", options)), "adopted");
        let again = world.connect();
        let sub = Sub::new(1, "t").from(Start::Offset(0)).window(9);
        assert_eq!(world.ask(&again, again.subscribe_to(sub)), "3..3", "live-only until it was adopted");
        assert_eq!(other.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    }
}

#[test]
fn a_17_a_peer_that_does_not_read_disturbs_no_others_and_is_dropped() {
    let mut world = World::new();
    let (stuck, reader, writer) = (world.connect(), world.connect(), world.connect());
    for peer in [&stuck, &reader] {
        world.ask(peer, peer.subscribe_to(Sub::new(1, "t").window(0)));
    }
    stuck.stop_reading();
    let body = "x".repeat(50_000);
    for offset in 0..40 {
        world.publish(&writer, &[&body]);
        assert_eq!(reader.stream(), [format!("1/{offset}=<50000>")]);
    }
    let lane = world.session(&stuck).unwrap().outbound().stream_len();
    assert!(lane <= (256 << 10) + 60_000, "{lane}");
    // Its requests are still served.
    let request = stuck.publish("other", "x");
    world.settle();
    assert_eq!(stuck.unread(), 0);
    assert_eq!(world.broker.topic_count(), 2);
    // If it resumes reading in time, it receives the answer and everything else.
    world.advance(secs(9));
    stuck.resume_reading();
    assert_eq!(world.ask(&stuck, request), "@0 new");
    assert_eq!(stuck.stream().len(), 40);
    // The next time it resumes too late.
    stuck.stop_reading();
    world.publish(&writer, &["late"]);
    world.advance(secs(10));
    assert!(stuck.is_closed());
    assert_eq!(world.reason(&stuck), Some(zaichik_engine::CloseReason::SlowConsumer));
    assert_eq!(reader.stream(), ["1/40=late"]);
}

/// A defect of the first Zaichik: a slow subscriber lost messages without notice.
#[test]
fn a_19_a_reader_overtaken_by_a_limit_gets_one_gap_in_the_right_place() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    let options = TopicOptions::new().retain_forever().max_messages(10);
    world.ask(&writer, writer.create("t", options));
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(5)));
    for body in 0..100 {
        world.publish(&writer, &[&body.to_string()]);
    }
    world.ask(&reader, reader.commit(1, 2));
    assert_eq!(
        reader.stream(),
        ["1/0=0", "1/1=1", "1/2=2", "1/3=3", "1/4=4", "1/5..90 limit", "1/90=90", "1/91=91", "1/92=92"]
    );
    assert_eq!(world.ask(&reader, reader.commit(1, 4)), "done 90");
    assert_eq!(reader.stream(), ["1/93=93", "1/94=94"]);
}

#[test]
fn a_19_a_full_lane_is_overtaken_too_and_every_offset_is_accounted_for() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    let options = TopicOptions::new().retain_forever().max_bytes(500_000);
    world.ask(&writer, writer.create("t", options));
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    reader.stop_reading();
    let body = "x".repeat(9_984);
    for _ in 0..200 {
        world.publish(&writer, &[&body]);
    }
    reader.resume_reading();
    world.settle();
    // The peer checks that deliveries and gaps together leave no hole; the topic keeps only the last fifty records.
    let stream = reader.stream();
    let gaps: Vec<_> = stream.iter().filter(|one| one.ends_with("limit")).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(gaps[0].ends_with("..150 limit"), "{gaps:?}");
    assert_eq!(stream.last().map(String::as_str), Some("1/199=<9984>"));
}

#[test]
fn a_22_unsubscribing_twice_and_subscribing_twice() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 9);
    assert_eq!(world.ask(&reader, reader.subscribe(1, "u")), "refused AlreadySubscribed");
    assert_eq!(world.ask(&reader, reader.subscribe(2, "t")), "refused AlreadySubscribed");
    assert_eq!(world.broker.topic_count(), 1);
    world.publish(&writer, &["a"]);
    assert_eq!(reader.stream(), ["1/0=a"], "one stream");
    assert_eq!(world.ask(&reader, reader.unsubscribe(1)), "ended 0");
    assert_eq!(world.ask(&reader, reader.unsubscribe(1)), "refused NotSubscribed");
    assert_eq!(world.ask(&reader, reader.subscribe(2, "t")), "0..1");
}

#[test]
fn a9_nothing_follows_unsubscribed() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 100);
    reader.stop_reading();
    world.publish(&writer, &["a", "b", "c"]);
    reader.unsubscribe(1);
    world.publish(&writer, &["d"]);
    // The number is free at once; the order of the lane distinguishes its next use.
    reader.subscribe_to(Sub::new(1, "t").from(Start::Offset(2)).window(9));
    world.settle();
    reader.log();
    reader.resume_reading();
    world.settle();
    assert_eq!(
        reader.log(),
        ["1/0=a", "1/1=b", "1/2=c", "#2 ended 2", "#3 2..4", "1/2=c", "1/3=d"].map(str::to_owned)
    );
}

#[test]
fn a9_unsubscribed_names_the_last_offset_delivered_if_any() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 2);
    assert_eq!(world.ask(&reader, reader.unsubscribe(1)), "ended");
    world.publish(&writer, &["a", "b", "c"]);
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(2)));
    assert_eq!(world.ask(&reader, reader.unsubscribe(1)), "ended 1");
}

#[test]
fn a8_publishing_between_deliveries_always_makes_progress() {
    // The smallest buffers: one byte at a time in both directions, lanes of one frame, window 1.
    let mut world = World::with(|config| config.output_buffer = 1);
    let peer = world.connect();
    peer.split_reads(1);
    peer.split_writes(1);
    world.ask(&peer, peer.subscribe(1, "t"));
    world.ask(&peer, peer.publish("t", "0"));
    for offset in 0..50 {
        assert_eq!(peer.stream(), [format!("1/{offset}={offset}")]);
        let body = (offset + 1).to_string();
        let publish = peer.publish("t", &body);
        let commit = peer.commit(1, offset);
        world.settle();
        assert_eq!(peer.answer(publish), format!("@{}", offset + 1));
        assert_eq!(peer.answer(commit), format!("done {}", offset + 1));
    }
}

#[test]
fn a7_many_subscriptions_are_served_in_turn() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    for number in 0..10 {
        let topic = format!("t{number}");
        world.ask(&reader, reader.subscribe_to(Sub::new(number, &topic).window(0)));
    }
    reader.stop_reading();
    let body = vec![b'x'; 1_000];
    for number in 0..10 {
        let records = vec![record(&body); 500];
        world.ask(&writer, writer.publish_all(&format!("t{number}"), &records));
    }
    reader.resume_reading();
    world.settle();
    let mut turns: Vec<u32> = reader.records().iter().map(|one| one.subscription).collect();
    assert_eq!(turns.len(), 5_000);
    turns.dedup();
    assert!(turns.len() > 30, "no subscription waits for another to finish: {turns:?}");
}
