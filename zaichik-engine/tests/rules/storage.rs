//! Chapter B: a broker that is restored from its rows.

use zaichik_engine::store::Row;
use zaichik_proto::{CompactionMode, Overflow, Subject, TopicOptions};
use zaichik_testkit::Rows;

use crate::latest::{delete, lag, new_reader};
use crate::producers::{publish, seq};
use crate::world::{INSTANCE, Peer, Sub, World, keyed, mortal, secs, us};

const SECOND: u64 = 1_000_000;

/// The durable subscription "d" of the topic "t".
const D: Sub<'_> = Sub::new(1, "t").window(9).durable("d");

fn attach(world: &mut World, sub: Sub<'_>) -> (Peer, String) {
    let peer = world.connect();
    peer.expect_silence();
    let answer = world.ask(&peer, peer.subscribe_to(sub));
    (peer, answer)
}

fn leave(world: &mut World, peer: &Peer) {
    peer.cut();
    world.settle();
}

#[test]
fn b_01_offsets_and_timestamps_continue() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever().max_messages(3));
    world.publish(&writer, &["a", "b", "c", "d"]);
    world.ask(&writer, writer.publish_all("t", &[mortal("e", SECOND)]));
    assert_eq!(world.ask(&writer, writer.publish("gone", "x")), "@0 new", "nobody is there");
    world.advance(secs(2));
    let (reader, _) = attach(&mut world, Sub::new(1, "t").window(0));
    let before = reader.records();
    world.recover();
    let (reader, answer) = attach(&mut world, Sub::new(1, "t").window(0));
    assert_eq!(answer, "2..5");
    assert_eq!(reader.records(), before);
    assert_eq!(reader.stream(), ["1/2=c", "1/3=d", "1/4..5 expired"]);
    assert_eq!(world.ask(&reader, reader.publish("t", "f")), "@5");
    assert_eq!(world.ask(&reader, reader.publish("gone", "y")), "@1");
}

#[test]
fn b_01_the_instance_stays() {
    let mut world = World::new();
    world.recover();
    world.recover();
    let peer = world.connect();
    assert_eq!(peer.instance(), Some(INSTANCE));
}

#[test]
fn b_02_topics_keep_their_settings_and_their_floor() {
    let mut world = World::new();
    let options = TopicOptions::new().retention_ttl(secs(10)).max_bytes(5_000);
    let writer = world.topic(options);
    world.ask(&writer, writer.publish("implicit", "x"));
    world.publish(&writer, &["a", "b"]);
    world.advance(secs(10));
    world.publish(&writer, &["c"]);
    let longer = TopicOptions::new().retain_forever();
    assert_eq!(world.ask(&writer, writer.alter("t", longer)), "done 0");
    world.recover();
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.create("t", longer.max_bytes(5_000))), "unchanged");
    assert_eq!(world.ask(&peer, peer.create("implicit", longer)), "adopted");
    assert_eq!(world.ask(&peer, peer.create("t", longer)), "refused SettingsDiffer 16");
    assert_eq!(world.everything(), ["1/2=c"], "what expired stays dead");
}

/// Rule B3.
#[test]
fn b_03_time_goes_on() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retention_ttl(secs(10)));
    world.publish(&writer, &["a"]);
    world.advance(secs(5));
    world.publish(&writer, &["b"]);
    let now = world.now;
    world.recover_at(zaichik_engine::Timestamp::ZERO);
    let peer = world.connect();
    world.publish(&peer, &["c"]);
    let (reader, _) = attach(&mut world, Sub::new(1, "t").window(0));
    let timestamps: Vec<_> = reader.records().iter().map(|one| one.timestamp).collect();
    assert_eq!(timestamps, [now.as_micros() - 5 * SECOND, now.as_micros(), now.as_micros()]);
    // The process is gone for five seconds, in which the first record expires.
    world.recover_at(now + secs(5));
    world.now = now + secs(5);
    assert_eq!(world.everything(), ["1/1=b", "1/2=c"]);
}

#[test]
fn b_04_duplicates_are_known_whatever_became_of_their_records() {
    let mut world = World::new();
    let window = |seconds| TopicOptions::new().compaction_window(secs(seconds));
    let writer = world.topic(window(60).retain_forever().max_messages(3));
    let put =
        |world: &mut World, peer: &Peer, topic, key| world.ask(peer, peer.publish_keyed(topic, key, "x"));
    for key in ["dropped", "expired", "there"] {
        world.ask(
            &writer,
            writer.publish_all(
                "t",
                &[zaichik_proto::Record {
                    ttl_micros: (key == "expired").then_some(SECOND),
                    ..keyed(key, b"x")
                }],
            ),
        );
    }
    world.advance(secs(2));
    world.publish(&writer, &["y", "z"]);
    world.ask(&writer, writer.create("live", window(60)));
    put(&mut world, &writer, "live", "never kept");
    world.ask(&writer, writer.create("changed", window(60).retain_forever()));
    put(&mut world, &writer, "changed", "shorter");
    world.ask(&writer, writer.alter("changed", window(10)));
    world.ask(&writer, writer.alter("changed", window(60)));
    put(&mut world, &writer, "changed", "longer");
    for _ in 0..2 {
        world.recover();
        let peer = world.connect();
        for (key, offset) in [("dropped", 0), ("expired", 1), ("there", 2)] {
            assert_eq!(put(&mut world, &peer, "t", key), format!("none 0=@{offset}"), "{key}");
        }
        assert_eq!(put(&mut world, &peer, "live", "never kept"), "none 0=@0");
        for (key, offset) in [("shorter", 0), ("longer", 1)] {
            assert_eq!(put(&mut world, &peer, "changed", key), format!("none 0=@{offset}"), "{key}");
        }
    }
    world.advance(secs(10));
    world.recover();
    let peer = world.connect();
    assert_eq!(put(&mut world, &peer, "changed", "shorter"), "@2", "its window was once 10 s");
    assert_eq!(put(&mut world, &peer, "changed", "longer"), "none 0=@1");
    world.advance(secs(50));
    assert_eq!(put(&mut world, &peer, "changed", "longer"), "@3");
    assert_eq!(put(&mut world, &peer, "t", "there"), "@5");
}

#[test]
fn b_05_superseded_records_die_on_time_and_stay_dead() {
    let mut world = World::new();
    let writer = world.topic(lag(10).tombstone_ttl(secs(5)));
    writer.expect_silence();
    let put = |world: &mut World, peer: &Peer, key, body| world.ask(peer, peer.publish_keyed("t", key, body));
    put(&mut world, &writer, "k", "old");
    put(&mut world, &writer, "gone", "x");
    delete(&mut world, &writer, "gone");
    // The newest record of a key may die before the one that it supersedes.
    put(&mut world, &writer, "brief", "first");
    let brief = zaichik_proto::Record { ttl_micros: Some(SECOND), ..keyed("brief", b"second") };
    world.ask(&writer, writer.publish_all("t", &[brief]));
    world.advance(secs(2));
    put(&mut world, &writer, "k", "new");
    let seen = new_reader(&mut world);
    assert_eq!(seen, ["0..6", "1/0=old", "1/1=x", "1/2=", "1/3=first", "1/4..5 expired", "1/5=new"]);
    world.recover();
    assert_eq!(new_reader(&mut world), seen, "as before");
    // The windows are over: only the newest record of k is left, although longer ones are in force from now on.
    world.advance(secs(8));
    assert_eq!(new_reader(&mut world), ["5..6", "1/5=new"]);
    let peer = world.connect();
    let longer = TopicOptions::new().compaction_window(secs(1_000)).tombstone_ttl(secs(1_000));
    assert_eq!(world.ask(&peer, peer.alter("t", longer)), "done 0");
    world.recover();
    assert_eq!(new_reader(&mut world), ["5..6", "1/5=new"]);
    let peer = world.connect();
    put(&mut world, &peer, "k", "newest");
    assert_eq!(new_reader(&mut world), ["5..7", "1/5=new", "1/6=newest"], "for 1,000 s");
}

#[test]
fn b_05_a_reader_skips_silently_what_it_would_have_skipped() {
    let mut world = World::new();
    let writer = world.topic(lag(0));
    writer.expect_silence();
    let (reader, _) = attach(&mut world, D.window(1));
    // More than half of a part of the log is dead, so its space is reclaimed.
    let body = "x".repeat(1_000);
    for _ in 0..200 {
        world.ask(&writer, writer.publish_keyed("t", "k", &body));
    }
    world.ask(&writer, writer.publish_all("t", &[mortal("mortal", SECOND)]));
    world.ask(&writer, writer.publish_keyed("t", "k", "last"));
    world.advance(secs(5));
    leave(&mut world, &reader);
    let is_sparse = |row: &Row| matches!(row, Row::Records(row) if row.runs.len() > 1);
    assert!(world.broker.rows().any(|row| is_sparse(&row)), "space was reclaimed");
    world.recover();
    assert!(world.broker.rows().any(|row| is_sparse(&row)));
    let (reader, answer) = attach(&mut world, D);
    assert_eq!(answer, "0..202 epoch 2 rewind 1");
    assert_eq!(reader.stream(), ["1/200..201 expired", "1/201=last"], "the last one of k was superseded");
    assert_eq!(world.broker.stats().superseded, 200);
}

#[test]
fn b_06_gaps_keep_their_reasons() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever().max_messages(3));
    let (reader, _) = attach(&mut world, D);
    leave(&mut world, &reader);
    world.publish(&writer, &["a", "b"]);
    world.ask(&writer, writer.publish_all("t", &[keyed("k", b"c"), mortal("d", SECOND), keyed("l", b"e")]));
    world.advance(secs(2));
    world.recover();
    let (reader, answer) = attach(&mut world, D);
    assert_eq!(answer, "0..5 epoch 2 rewind 1");
    assert_eq!(reader.stream(), ["1/0..2 limit", "1/2=c", "1/3..4 expired", "1/4=e"]);
}

#[test]
fn b_07_a_durable_subscription_continues() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&writer, &["a", "b", "c", "d"]);
    let sub = D.dead_letter(2, "dead");
    let (reader, _) = attach(&mut world, sub);
    world.ask(&reader, reader.commit(1, 0));
    // "c" fails twice and is moved, "b" fails once.
    world.ask(&reader, reader.nack(1, 2, 0));
    world.ask(&reader, reader.nack(1, 2, 0));
    assert_eq!(world.ask(&reader, reader.nack(1, 1, 0)), "done 3");
    world.recover();
    let (reader, answer) = attach(&mut world, sub.epoch(1));
    assert_eq!(answer, "1..4 epoch 2 rewind 4");
    let stream = reader.stream();
    let offsets: Vec<_> = stream.iter().filter_map(|one| one.split(' ').next()).collect();
    assert_eq!(offsets, ["1/1=b", "1/3=d"], "the dead letter is not delivered again");
    assert_eq!(world.ask(&reader, reader.nack(1, 1, 0)), "done 5", "its second failure");
    assert_eq!(world.ask(&reader, reader.commit(1, 3)), "done 4");
    let dead = world.connect();
    world.ask(&dead, dead.subscribe_to(Sub::new(1, "dead").window(0)));
    assert_eq!(dead.stream(), ["1/0=c", "1/1=b"]);
    // Another client takes it over; the epoch of the first one does not come back.
    let (_other, answer) = attach(&mut world, sub);
    assert_eq!(answer, "4..4 epoch 3 rewind 6");
    world.recover();
    let (_, answer) = attach(&mut world, sub.epoch(2));
    assert_eq!(answer, "refused SubscriptionFenced 3");
}

/// A planted defect: failures are not restored.
#[cfg(feature = "planted")]
#[test]
#[should_panic(expected = "1/1=b")]
fn b_07_planted_losses_of_failures_are_found() {
    zaichik_engine::plant(Some(zaichik_engine::Defect::FailuresLost));
    b_07_a_durable_subscription_continues();
}

#[test]
fn b_08_producers_get_their_answers() {
    let mut world = World::new();
    let options = TopicOptions::new().retain_forever().compaction_window(secs(60)).max_bytes(200);
    let writer = world.topic(options);
    for (sequence, body) in (40..).zip(["a", "b", "c"]) {
        publish(&mut world, &writer, seq(sequence), body);
    }
    let both = [keyed("k", b"1"), keyed("k", b"2")];
    let answer = crate::producers::publish_to(&mut world, &writer, seq(43), "t", &both);
    let refused = publish(&mut world, &writer, seq(44), &"x".repeat(300));
    assert_eq!((&answer[..], &refused[..]), ("@3 1=@3", "refused TooLarge 200"));
    for _ in 0..2 {
        world.recover();
        let peer = world.connect();
        for (sequence, expected) in [(40, "@0"), (42, "@2"), (43, &answer), (44, &refused)] {
            assert_eq!(publish(&mut world, &peer, seq(sequence), "again"), expected);
        }
        assert_eq!(publish(&mut world, &peer, seq(46), "x"), "refused SequenceGap 45");
        assert_eq!(publish(&mut world, &peer, seq(39), "x"), "refused SequenceTooOld");
    }
    let peer = world.connect();
    let next = zaichik_proto::Producer { epoch: 1, ..seq(7) };
    assert_eq!(publish(&mut world, &peer, next, "d"), "@4");
    world.recover();
    let peer = world.connect();
    assert_eq!(publish(&mut world, &peer, seq(45), "x"), "refused ProducerFenced 1");
}

#[test]
fn b_09_times_of_idleness_begin_again() {
    let mut world = World::with(|config| config.producer_ttl = secs(10));
    let writer = world.topic(TopicOptions::new().retain_forever());
    publish(&mut world, &writer, seq(1), "a");
    let (reader, _) = attach(&mut world, D.inactive(10 * SECOND));
    leave(&mut world, &reader);
    world.advance(secs(9));
    world.recover();
    world.advance(us(10 * SECOND - 1));
    let peer = world.connect();
    assert_eq!(publish(&mut world, &peer, seq(1), "again"), "@0");
    let (reader, answer) = attach(&mut world, D.inactive(10 * SECOND));
    assert_eq!(answer, "0..1 epoch 2 rewind 1");
    leave(&mut world, &reader);
    world.recover();
    world.advance(secs(10));
    let peer = world.connect();
    assert_eq!(publish(&mut world, &peer, seq(1), "b"), "@1", "a new producer");
    assert_eq!(attach(&mut world, D).1, "0..2 epoch 1 rewind 0", "a new subscription");
}

#[test]
fn b_10_only_what_durable_subscriptions_need_is_kept() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new());
    world.ask(&writer, writer.create("u", TopicOptions::new()));
    let (durable, _) = attach(&mut world, D);
    let (_plain, _) = attach(&mut world, Sub::new(1, "u"));
    world.publish(&writer, &["a", "b"]);
    world.ask(&writer, writer.publish("u", "c"));
    world.ask(&durable, durable.commit(1, 0));
    world.recover();
    let peer = world.connect();
    let topics = world.ask(&peer, peer.describe(Subject::Topics { from: 0 }));
    assert!(!topics.is_empty(), "{topics}");
    assert_eq!(attach(&mut world, Sub::new(1, "u")).1, "1..1");
    let (durable, answer) = attach(&mut world, D);
    assert_eq!((&answer[..], durable.stream()), ("1..2 epoch 2 rewind 1", vec!["1/1=b".to_owned()]));
}

#[test]
fn b2_the_end_of_a_connection_by_a_restart_is_no_failure() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().retain_forever());
    world.publish(&writer, &["a"]);
    let sub = D.dead_letter(1, "dead");
    for _ in 0..3 {
        let (reader, _) = attach(&mut world, sub);
        assert_eq!(reader.stream(), ["1/0=a"], "nor is it an attempt");
        world.recover();
    }
}

/// Rule A6: the pause after a dead letter that was refused counts only time in which the broker ran.
#[test]
fn b2_a_pause_that_a_suspended_broker_prolonged_is_prolonged_after_a_restart() {
    let mut world = World::new();
    if world.stored.is_none() {
        world.begin_storing();
    }
    let writer = world.topic(TopicOptions::new().retain_forever());
    let full = TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject);
    world.ask(&writer, writer.create("dead", full));
    world.ask(&writer, writer.publish("dead", "in the way"));
    world.publish(&writer, &["a"]);
    let (reader, _) = attach(&mut world, D.dead_letter(1, "dead"));
    leave(&mut world, &reader);
    world.suspend(secs(600));
    world.publish(&writer, &["b"]);
    let rows: Vec<Row> = world.stored.iter().flat_map(Rows::iter).cloned().collect();
    world.recover_from(&rows, world.now);
    let (reader, _) = attach(&mut world, D);
    world.advance(us(SECOND - 1));
    assert_eq!(reader.stream(), Vec::<String>::new());
    world.advance(us(1));
    assert_eq!(reader.stream(), ["1/0=a #2", "1/1=b"]);
}

/// Rule B5.
#[test]
fn b_12_without_a_store_nothing_survives() {
    let mut world = World::new();
    let writer = world.topic(TopicOptions::new().compaction(CompactionMode::First).retain_forever());
    world.publish(&writer, &["a"]);
    world.restart(9);
    let peer = world.connect();
    assert_eq!((peer.instance(), world.broker.topic_count()), (Some(9), 0));
}
