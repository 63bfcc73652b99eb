//! Chapter T: topics.

use zaichik_proto::{AlterTopic, ClientFrame, CreateTopic, TopicOptions};

use crate::world::{Sub, World, secs};

#[test]
fn t_01_subscribing_to_an_unknown_topic_creates_it() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), "0..0 new");
    assert_eq!(world.ask(&writer, writer.publish("t", "a")), "@0");
    assert_eq!(reader.stream(), ["1/0=a"]);
    // It is implicit: the first CreateTopic adopts it.
    assert_eq!(world.ask(&writer, writer.create("t", TopicOptions::new())), "adopted");
}

#[test]
fn t1_publishing_to_an_unknown_topic_creates_it() {
    let mut world = World::new();
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.publish("t", "a")), "@0 new");
    assert_eq!(world.ask(&peer, peer.publish("t", "b")), "@1");
    assert_eq!(world.broker.topic_count(), 1);
}

#[test]
fn t_02_adoption_keeps_offsets_and_resurrects_nothing() {
    let mut world = World::new();
    let (writer, reader) = (world.connect(), world.connect());
    world.ask(&writer, writer.subscribe_to(Sub::new(1, "t").window(10)));
    for body in ["a", "b"] {
        world.ask(&writer, writer.publish("t", body));
    }
    // The records are kept for the writer's own subscription; new subscriptions do not get them.
    assert_eq!(
        world.ask(&reader, reader.create("t", TopicOptions::new().retention_ttl(secs(60)))),
        "adopted"
    );
    assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), "2..2");
    assert_eq!(world.ask(&writer, writer.publish("t", "c")), "@2");
    assert_eq!(reader.stream(), ["1/2=c"]);
    assert_eq!(writer.stream(), ["1/0=a", "1/1=b", "1/2=c"]);
    // From here on a new subscription gets records that are at most a minute old.
    let late = world.connect();
    assert_eq!(world.ask(&late, late.subscribe(1, "t")), "2..3");
    world.advance(secs(60));
    let later = world.connect();
    assert_eq!(world.ask(&later, later.subscribe(1, "t")), "3..3");
}

#[test]
fn t_03_the_same_settings_twice_change_nothing() {
    let mut world = World::new();
    let peer = world.connect();
    let options = TopicOptions::new().retention_ttl(secs(10)).max_messages(5);
    assert_eq!(world.ask(&peer, peer.create("t", options)), "created");
    assert_eq!(world.ask(&peer, peer.create("t", options)), "unchanged");
    // An omitted setting is compared as the broker's default.
    assert_eq!(world.ask(&peer, peer.create("t", options.max_bytes(64 << 20))), "unchanged");
}

#[test]
fn t_04_other_settings_are_refused_with_a_mask_of_differences() {
    let mut world = World::new();
    let (peer, reader) = (world.connect(), world.connect());
    world.ask(&peer, peer.create("t", TopicOptions::new().retention_ttl(secs(10)).max_messages(5)));
    // Bit 0 is retention_ttl, bit 3 max_messages.
    assert_eq!(world.ask(&peer, peer.create("t", TopicOptions::new())), "refused SettingsDiffer 9");
    let other = TopicOptions::new().retention_ttl(secs(10)).max_messages(6);
    assert_eq!(world.ask(&peer, peer.create("t", other)), "refused SettingsDiffer 8");
    // The connection and the settings are unaffected.
    for _ in 0..6 {
        world.ask(&peer, peer.publish("t", "a"));
    }
    assert_eq!(world.ask(&reader, reader.subscribe(1, "t")), "1..6");
}

#[test]
fn t_05_of_two_create_topics_on_an_implicit_topic_the_first_adopts() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    world.ask(&one, one.publish("t", "a"));
    let first = one.create("t", TopicOptions::new().max_messages(7));
    let second = two.create("t", TopicOptions::new().max_messages(8));
    world.settle();
    assert_eq!(one.answer(first), "adopted");
    assert_eq!(two.answer(second), "refused SettingsDiffer 8");
    assert_eq!(world.ask(&two, two.create("t", TopicOptions::new().max_messages(7))), "unchanged");
}

/// A defect of the first Zaichik: the second client got a broken topic.
#[test]
fn t_05_two_clients_create_one_topic_at_once() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    let options = TopicOptions::new().retention_ttl(secs(5));
    let (first, second) = (one.create("t", options), two.create("t", options));
    let (from_one, from_two) = (one.publish("t", "a"), two.publish("t", "b"));
    world.settle();
    assert_eq!((one.answer(first), two.answer(second)), ("created".to_owned(), "unchanged".to_owned()));
    assert_eq!((one.answer(from_one), two.answer(from_two)), ("@0".to_owned(), "@1".to_owned()));
    assert_eq!(world.broker.topic_count(), 1);
}

/// Valid and invalid names (rule T6).
#[test]
fn t_06_names() {
    let mut world = World::new();
    let peer = world.connect();
    let options = TopicOptions::new();
    let create =
        |topic| peer.request(|request| ClientFrame::CreateTopic(CreateTopic { request, topic, options }));
    let longest = "n".repeat(255);
    for name in [longest.as_bytes(), b"a", "caf\u{e9}/\u{1f407} x.y".as_bytes(), b"a$"] {
        assert_eq!(world.ask(&peer, create(name)), "created", "{name:?}");
    }
    let nel = "a\u{85}b";
    for name in [&b""[..], b"$x", b"$", b"a\nb", b"a\0", b"\x7f", nel.as_bytes(), b"\xff\xfe", b"caf\xe9"] {
        assert_eq!(world.ask(&peer, create(name)), "refused InvalidTopic", "{name:?}");
        let alter = |request| ClientFrame::AlterTopic(AlterTopic { request, topic: name, options });
        assert_eq!(world.ask(&peer, peer.request(alter)), "refused InvalidTopic", "{name:?}");
    }
    for name in ["", "$sys", "a\tb"] {
        assert_eq!(world.ask(&peer, peer.publish(name, "a")), "refused InvalidTopic");
        assert_eq!(world.ask(&peer, peer.subscribe(1, name)), "refused InvalidTopic");
    }
    assert_eq!(world.broker.topic_count(), 4);
}

/// Topics are never deleted, so their number is bounded (rule T5).
#[test]
fn t_07_the_limit_of_topics_refuses_and_the_connection_survives() {
    let mut world = World::with(|config| config.max_topics = 2);
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.publish("a", "x")), "@0 new");
    assert_eq!(world.ask(&peer, peer.subscribe(1, "b")), "0..0 new");
    assert_eq!(world.ask(&peer, peer.publish("c", "x")), "refused TopicsFull 2");
    assert_eq!(world.ask(&peer, peer.subscribe(2, "c")), "refused TopicsFull 2");
    assert_eq!(world.ask(&peer, peer.create("c", TopicOptions::new())), "refused TopicsFull 2");
    assert_eq!(world.ask(&peer, peer.publish("a", "x")), "@1");
    assert_eq!(world.broker.topic_count(), 2);
}

#[test]
fn t7_alter_changes_only_the_given_settings() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.create("t", TopicOptions::new().retention_ttl(secs(10)).max_messages(5)));
    assert_eq!(world.ask(&peer, peer.alter("t", TopicOptions::new().max_messages(6))), "done 0");
    let now = TopicOptions::new().retention_ttl(secs(10)).max_messages(6);
    assert_eq!(world.ask(&peer, peer.create("t", now)), "unchanged");
}

#[test]
fn t7_alter_of_an_unknown_topic_is_refused_and_creates_nothing() {
    let mut world = World::new();
    let peer = world.connect();
    assert_eq!(world.ask(&peer, peer.alter("t", TopicOptions::new())), "refused UnknownTopic");
    assert_eq!(world.broker.topic_count(), 0);
}

#[test]
fn t7_alter_makes_an_implicit_topic_explicit() {
    let mut world = World::new();
    let peer = world.connect();
    world.ask(&peer, peer.publish("t", "a"));
    assert_eq!(world.ask(&peer, peer.alter("t", TopicOptions::new().max_keys(3))), "done 0");
    assert_eq!(world.ask(&peer, peer.create("t", TopicOptions::new())), "refused SettingsDiffer 64");
}

#[test]
fn t2_invalid_settings_are_refused_with_their_mask() {
    let mut world = World::new();
    let peer = world.connect();
    let zeros = TopicOptions::new().max_messages(0).max_bytes(0).max_keys(0);
    assert_eq!(world.ask(&peer, peer.create("t", zeros)), "refused InvalidSettings 88");
    assert_eq!(world.broker.topic_count(), 0);
    world.ask(&peer, peer.publish("t", "a"));
    assert_eq!(world.ask(&peer, peer.create("t", zeros)), "refused InvalidSettings 88");
    assert_eq!(
        world.ask(&peer, peer.alter("t", TopicOptions::new().max_bytes(0))),
        "refused InvalidSettings 16"
    );
    assert_eq!(world.ask(&peer, peer.create("t", TopicOptions::new())), "adopted", "it is still implicit");
}

#[test]
fn t3_omitted_settings_get_the_brokers_defaults() {
    let mut world = World::with(|config| config.topic_defaults.retention_ttl_micros = 5_000_000);
    let peer = world.connect();
    world.ask(&peer, peer.publish("t", "a"));
    assert_eq!(world.ask(&peer, peer.subscribe(1, "t")), "0..1");
    world.ask(&peer, peer.create("explicit", TopicOptions::new()));
    let same = TopicOptions::new().retention_ttl(secs(5));
    assert_eq!(world.ask(&peer, peer.create("explicit", same)), "unchanged");
}
