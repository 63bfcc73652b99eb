//! Rule A6: records that fail too often.

use zaichik_proto::{CompactionMode, Record, TopicOptions};

use crate::world::{Peer, Sub, World, keyed, mortal, record, secs, us};

const SECOND: u64 = 1_000_000;

/// The topic "t" with these bodies, a reader whose records go to "dead" after `max_attempts` failures, a writer.
pub(crate) fn pair(world: &mut World, window: u32, max_attempts: u32, bodies: &[&str]) -> (Peer, Peer) {
    let writer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&writer, bodies);
    let reader = world.connect();
    let sub = Sub::new(1, "t").window(window).dead_letter(max_attempts, "dead");
    assert!(!world.ask(&reader, reader.subscribe_to(sub)).starts_with("refused"));
    (reader, writer)
}

/// Bodies and headers of the topic "dead".
fn dead(world: &mut World) -> Vec<(String, Vec<(String, String)>)> {
    let new_reader = world.connect();
    world.ask(&new_reader, new_reader.subscribe_to(Sub::new(1, "dead").window(0)));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let records = new_reader.records();
    new_reader.close();
    world.settle();
    records
        .iter()
        .map(|one| {
            (text(&one.body), one.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect())
        })
        .collect()
}

pub(crate) fn bodies(world: &mut World) -> Vec<String> {
    dead(world).into_iter().map(|(body, _)| body).collect()
}

#[test]
fn a_13_only_the_record_that_failed_too_often_is_moved_and_the_cursor_passes_it() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, 2, &["a", "b", "c", "d"]);
    reader.stream();
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/0=a #2", "1/1=b #2", "1/2=c #2"]);
    assert!(bodies(&mut world).is_empty(), "it failed only once");
    assert_eq!(world.ask(&reader, reader.nack(1, 0, 0)), "done 2");
    assert_eq!(reader.stream(), ["1/1=b #3", "1/2=c #3", "1/3=d"]);
    let expected = [
        ("zaichik-topic", "t"),
        ("zaichik-offset", "0"),
        ("zaichik-subscription", ""),
        ("zaichik-failures", "2"),
        ("zaichik-reason", "nack"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(dead(&mut world), [("a".to_owned(), expected.to_vec())]);
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 1", "the cursor has passed it");
    assert_eq!(world.broker.stats().dead_letters, 1);
}

#[test]
fn a_13_a_moved_record_in_the_middle_is_not_delivered_again() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, 1, &["a", "b", "c", "d"]);
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    assert_eq!(world.ask(&reader, reader.nack(1, 1, 0)), "done 1");
    assert_eq!(reader.stream(), ["1/2=c #2", "1/3=d"]);
    assert_eq!(bodies(&mut world), ["b"]);
    assert_eq!(world.ask(&reader, reader.nack(1, 2, 0)), "done 2");
    assert_eq!(reader.stream(), ["1/3=d #2"]);
    assert_eq!(world.ask(&reader, reader.commit(1, 0)), "done 3", "the cursor passes both");
    assert_eq!(bodies(&mut world), ["b", "c"]);
}

#[test]
fn a_13_the_end_of_a_connection_is_a_failure_of_the_only_uncommitted_record() {
    let mut world = World::new();
    let (_, writer) = pair(&mut world, 1, 9, &["a", "b"]);
    let sub = Sub::new(7, "t").durable("d").dead_letter(2, "dead");
    for (attempt, end) in [|peer: &Peer| peer.cut(), Peer::finish, Peer::cut].iter().enumerate() {
        let reader = world.connect();
        let expected = [
            ("0..2 epoch 1 rewind 0", "7/0=a"),
            ("0..2 epoch 2 rewind 1", "7/0=a #2"),
            ("1..2 epoch 3 rewind 2", "7/1=b"),
        ][attempt];
        assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), expected.0);
        assert_eq!(reader.stream(), [expected.1]);
        end(&reader);
        world.settle();
    }
    let reasons: Vec<_> = dead(&mut world)
        .into_iter()
        .map(|(body, headers)| (body, headers[4].1.clone(), headers[2].1.clone()))
        .collect();
    assert_eq!(reasons, [("a".to_owned(), "disconnected".to_owned(), "d".to_owned())]);
    // With two uncommitted records it is unknown which of them failed.
    for _ in 0..3 {
        let reader = world.connect();
        world.ask(&reader, reader.subscribe_to(sub.window(2)));
        world.publish(&writer, &["c"]);
        reader.cut();
        world.settle();
    }
    assert_eq!(bodies(&mut world), ["a"]);
}

#[test]
fn a6_the_end_of_a_connection_after_close_is_no_failure() {
    let mut world = World::new();
    pair(&mut world, 1, 9, &["a", "b"]);
    let sub = Sub::new(7, "t").durable("d").dead_letter(1, "dead");
    for delivered in ["7/0=a", "7/0=a #2", "7/0=a #3"] {
        let reader = world.connect();
        world.ask(&reader, reader.subscribe_to(sub));
        assert_eq!(reader.stream(), [delivered]);
        reader.close();
        world.settle();
    }
    assert!(bodies(&mut world).is_empty());
}

#[test]
fn a_13_a_nacked_record_does_not_count_as_delivered_when_the_connection_ends() {
    let mut world = World::new();
    pair(&mut world, 1, 9, &["a", "b"]);
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").durable("d").window(2).dead_letter(1, "dead")));
    // b is not requested, so a is the only delivered record.
    world.ask(&reader, reader.subscribe_to(Sub::new(2, "t").durable("e").window(2).dead_letter(2, "dead")));
    world.ask(&reader, reader.nack(2, 1, 3_600 * SECOND));
    reader.cut();
    world.settle();
    let again = world.connect();
    world.ask(&again, again.subscribe_to(Sub::new(2, "t").durable("e").window(2).dead_letter(2, "dead")));
    assert_eq!(again.stream(), ["2/0=a #2", "2/1=b #2"]);
    assert_eq!(world.ask(&again, again.nack(2, 0, 0)), "done 3", "its second failure");
    assert_eq!(again.stream(), ["2/1=b #3"]);
    assert_eq!(bodies(&mut world), ["a"]);
}

#[test]
fn a_13_a_dead_letter_keeps_everything_but_its_time_to_live() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1, 1, &[]);
    let headers: [(&str, &[u8]); 1] = [("trace", b"1")];
    let full = Record { headers: &headers, ttl_micros: Some(SECOND), ..keyed("k", b"a") };
    world.ask(&writer, writer.publish_all("t", &[full]));
    world.ask(&reader, reader.nack(1, 0, 0));
    world.advance(secs(2));
    let new_reader = world.connect();
    world.ask(&new_reader, new_reader.subscribe_to(Sub::new(1, "dead").window(0)));
    let [copy] = new_reader.records().try_into().unwrap();
    assert_eq!((copy.key.as_deref(), copy.body.as_slice()), (Some(&b"k"[..]), &b"a"[..]));
    assert_eq!(copy.headers.last(), Some(&("trace".to_owned(), b"1".to_vec())));
    assert_eq!(copy.headers.len(), 6);
}

#[test]
fn a_13_the_largest_message_and_the_maximum_of_headers_have_room_for_their_origin() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1, 1, &[]);
    let limit = world.broker.config().wire.max_message as usize;
    let large = vec![7; limit];
    world.ask(&writer, writer.publish_all("t", &[record(&large)]));
    let names: Vec<String> = (0..1_024).map(|index| format!("h{index}")).collect();
    let headers: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    world.ask(&writer, writer.publish_all("t", &[Record { headers: &headers, ..record(b"b") }]));
    for offset in 0..2 {
        assert_eq!(world.ask(&reader, reader.nack(1, offset, 0)), format!("done {}", offset + 1));
    }
    let new_reader = world.connect();
    world.ask(&new_reader, new_reader.subscribe_to(Sub::new(1, "dead").window(0)));
    let [first, second] = new_reader.records().try_into().unwrap();
    assert_eq!((first.body.len(), first.headers.len()), (limit, 5));
    assert_eq!(second.headers.len(), 1_024, "its own last header had no room");
    assert_eq!((second.headers[0].0.as_str(), second.headers[5].0.as_str()), ("zaichik-topic", "h0"));
}

#[test]
fn a_13_without_a_dead_letter_topic_a_record_is_redelivered_forever() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&writer, &["a"]);
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").dead_letter(1, "")));
    for attempt in 2..50 {
        world.ask(&reader, reader.nack(1, 0, 0));
        assert_eq!(reader.stream().last(), Some(&format!("1/0=a #{attempt}")));
    }
    assert_eq!(world.ask(&reader, reader.subscribe_to(Sub::new(2, "u").dead_letter(0, "dead"))), "0..0 new");
    let invalid = reader.subscribe_to(Sub::new(3, "v").window(0).dead_letter(0, "$x"));
    assert_eq!(world.ask(&reader, invalid), "0..0 new");
    assert_eq!(world.broker.topic_count(), 3, "a dead-letter topic without max_attempts is ignored");
}

#[test]
fn a6_a_second_dead_letter_of_a_key_is_kept_too() {
    for mode in [CompactionMode::First, CompactionMode::Latest] {
        let mut world = World::with(|config| {
            config.topic_defaults.compaction = mode;
            config.topic_defaults.compaction_window_micros = 1_000 * SECOND;
        });
        let options = TopicOptions::new().compaction(CompactionMode::First).compaction_window(us(0));
        let writer = world.topic(options.retain_forever());
        world.ask(&writer, writer.publish_all("t", &[keyed("k", b"a"), keyed("k", b"b")]));
        let reader = world.connect();
        world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").dead_letter(1, "dead")));
        for offset in 0..2 {
            reader.stream();
            world.ask(&reader, reader.nack(1, offset, 0));
        }
        assert_eq!(bodies(&mut world), ["a", "b"]);
    }
}

#[test]
fn a6_repeated_dead_letters_never_outgrow_a_delivery() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever());
    world.ask(&writer, writer.create("dead", TopicOptions::new().retain_forever()));
    let largest = 1 << 20;
    let body = vec![b'x'; largest - 1];
    world.ask(&writer, writer.publish_all("t", &[record(&body)]));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").dead_letter(1, "dead").window_bytes(0)));
    world.ask(&reader, reader.subscribe_to(Sub::new(2, "dead").dead_letter(1, "t").window_bytes(0)));
    for round in 0..200 {
        assert!(round < 199, "it grows without bound");
        let came = reader.records();
        assert!(!reader.is_closed());
        let Some(one) = came.last() else { break };
        let request = reader.nack(one.subscription, one.offset, 0);
        world.ask(&reader, request);
    }
    assert_eq!(world.broker.stats().dead_letters_refused, 1);
    world.advance(secs(1));
    assert_eq!(reader.records().len(), 1, "it is kept");
}

#[test]
fn a6_a_record_that_expired_becomes_a_gap_and_no_dead_letter() {
    let mut world = World::new();
    let (reader, writer) = pair(&mut world, 1, 1, &[]);
    world.ask(&writer, writer.publish_all("t", &[mortal("a", SECOND)]));
    world.publish(&writer, &["b"]);
    assert_eq!(reader.stream(), ["1/0=a"]);
    world.advance(secs(1));
    world.ask(&reader, reader.nack(1, 0, 0));
    assert_eq!(reader.stream(), ["1/0..1 expired", "1/1=b"]);
    assert!(bodies(&mut world).is_empty());
}

#[test]
fn a6_a_seek_forgets_failures_and_redelivers_dead_letters() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 2, 2, &["a", "b"]);
    world.ask(&reader, reader.nack(1, 0, 0));
    world.ask(&reader, reader.seek(1, zaichik_proto::Start::Earliest));
    world.ask(&reader, reader.nack(1, 0, 0));
    assert!(bodies(&mut world).is_empty(), "one failure since the seek");
    world.ask(&reader, reader.nack(1, 0, 0));
    assert_eq!(bodies(&mut world), ["a"]);
    reader.stream();
    world.ask(&reader, reader.seek(1, zaichik_proto::Start::Earliest));
    assert_eq!(reader.stream(), ["1/0=a", "1/1=b #6"]);
}

#[test]
fn r9_the_cursor_moves_past_a_gap_after_a_dead_letter() {
    let mut world = World::new();
    let (_, writer) = pair(&mut world, 1, 1, &[]);
    let sub = Sub::new(1, "t").window(2).durable("d").dead_letter(1, "dead");
    let reader = world.connect();
    world.publish(&writer, &["a"]);
    world.ask(&writer, writer.publish_all("t", &[mortal("b", SECOND)]));
    world.advance(secs(1));
    world.ask(&reader, reader.subscribe_to(sub));
    assert_eq!(reader.stream(), ["1/0=a", "1/1..2 expired"]);
    reader.cut();
    world.settle();
    assert_eq!(bodies(&mut world), ["a"]);
    let reader = world.connect();
    assert_eq!(world.ask(&reader, reader.subscribe_to(sub)), "2..2 epoch 2 rewind 1");
    assert!(reader.stream().is_empty(), "the gap is reported once");
}

#[test]
fn a5_a_dead_letter_that_a_seek_redelivers_keeps_its_attempts() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 3, 1, &["a", "b", "c"]);
    world.ask(&reader, reader.nack(1, 1, 0));
    world.ask(&reader, reader.nack(1, 2, 0));
    reader.stream();
    world.ask(&reader, reader.seek(1, zaichik_proto::Start::Earliest));
    assert_eq!(reader.stream(), ["1/0=a #2", "1/1=b #2", "1/2=c #3"]);
}

#[test]
fn a6_readers_of_the_dead_letter_topic_are_woken() {
    let mut world = World::new();
    let (reader, _) = pair(&mut world, 1, 1, &["a"]);
    let watcher = world.connect();
    world.ask(&watcher, watcher.subscribe(1, "dead"));
    world.ask(&reader, reader.nack(1, 0, 0));
    assert_eq!(watcher.stream(), ["1/0=a"]);
}
