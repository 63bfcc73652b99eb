//! Chapter W: subscriptions to patterns of topics.

use std::collections::BTreeMap;

use zaichik_proto::{Overflow, Start, TopicOptions, Version};

use crate::world::{PatternSub, Peer, Sub, World, done, put, record};

/// A pattern under the number 1.
const fn pattern(text: &str) -> PatternSub<'_> {
    PatternSub::new(1, text.as_bytes())
}

/// A peer of version 2 that has subscribed to a pattern, and the answer.
fn subscribed(world: &mut World, terms: PatternSub<'_>) -> (Peer, String) {
    let peer = world.connect_as(Version::Two);
    let answer = world.ask(&peer, peer.subscribe_pattern(terms));
    (peer, answer)
}

/// Rules W2, W3.
#[test]
fn w_01_a_later_topic_is_matched_from_its_first_record_on() {
    let mut world = World::new();
    let (peer, answer) = subscribed(&mut world, pattern("orders.*").window(9));
    assert_eq!(answer, "pattern of 0 topics");
    let writer = world.connect_as(Version::Two);
    // The topics are live-only, and each publish is applied in the same exchange as the next one.
    let (first, _) = (writer.publish("orders.new", "a"), writer.publish("orders.new", "b"));
    writer.publish("orders", "not matched");
    writer.publish("orders.eu.new", "not matched");
    assert_eq!(world.ask(&writer, first), "@0 new");
    assert_eq!(peer.stream(), ["1 ~0 is orders.new 0..2", "~0/0=a", "~0/1=b"]);
    let created = writer.batch(&[put("orders.paid", "c"), put("orders.new", "d")]);
    world.ask(&writer, created);
    let mut stream = peer.stream();
    stream.sort();
    assert_eq!(stream, ["1 ~1 is orders.paid 0..1", "~0/2=d", "~1/0=c"]);
    world.ask(&writer, writer.subscribe_to(Sub::new(1, "orders.sent")));
    world.ask(&writer, writer.create("orders.lost", TopicOptions::new()));
    assert_eq!(peer.stream(), ["1 ~2 is orders.sent 0..0", "1 ~3 is orders.lost 0..0"]);
    world.ask(&writer, writer.publish("orders.lost", "e"));
    assert_eq!(peer.stream(), ["~3/0=e"]);
}

/// Rule W2.
#[test]
fn w2_topics_that_exist_begin_where_the_request_says() {
    let mut world = World::new();
    let writer = world.connect_as(Version::Two);
    for topic in ["a.one", "a.two", "b.one"] {
        world.ask(&writer, writer.create(topic, TopicOptions::new().retain_forever()));
        world.ask(&writer, writer.publish_all(topic, &[record(b"x"), record(b"y")]));
    }
    let (peer, answer) = subscribed(&mut world, pattern("a.*").start(Start::Offset(1)).window(9));
    assert_eq!(answer, "pattern of 2 topics");
    let (matched, delivered): (Vec<_>, Vec<_>) =
        peer.stream().into_iter().partition(|text| text.contains(" is "));
    assert_eq!(matched, ["1 ~0 is a.one 1..2", "1 ~1 is a.two 1..2"]);
    assert_eq!(delivered, ["~0/1=y", "~1/1=y"]);
    let (late, answer) = subscribed(&mut world, pattern(">").start(Start::Latest).window(9));
    assert_eq!(answer, "pattern of 3 topics");
    assert_eq!(late.stream(), ["1 ~0 is a.one 2..2", "1 ~1 is a.two 2..2", "1 ~2 is b.one 2..2"]);
    world.ask(&writer, writer.publish("b.one", "z"));
    assert_eq!((peer.stream(), late.stream()), (vec![], vec!["~2/2=z".to_owned()]));
    world.ask(&writer, writer.publish("c", "new"));
    assert_eq!(late.stream(), ["1 ~3 is c 0..1", "~3/0=new"], "a later one begins at its first record");
}

/// Rules W3, W7.
#[test]
fn w3_frames_of_a_topic_name_its_alias() {
    let mut world = World::new();
    let (peer, _) = subscribed(&mut world, pattern("a.*").window(9).dead_letter(1, "a.dead"));
    let writer = world.connect_as(Version::Two);
    writer.publish("a.x", "0");
    writer.publish("a.x", "1");
    world.ask(&writer, writer.publish("a.y", "0"));
    assert_eq!(peer.stream(), ["1 ~0 is a.x 0..2", "~0/0=0", "~0/1=1", "1 ~1 is a.y 0..1", "~1/0=0"]);
    let (x, y) = (1 << 31, (1 << 31) + 1);
    assert_eq!(world.ask(&peer, peer.commit(x, 0)), "done 1");
    assert_eq!(world.ask(&peer, peer.commit(1, 0)), "refused NotSubscribed");
    assert_eq!(world.ask(&peer, peer.nack(x, 1, 0)), "done 1");
    assert_eq!(world.ask(&writer, writer.publish("a.dead", "more")), "@1", "the dead letter is there");
    assert_eq!(peer.stream(), Vec::<String>::new(), "its own dead-letter topic is not matched");
    assert_eq!(world.ask(&peer, peer.seek(y, Start::Offset(9))), "done 1");
    assert_eq!(world.ask(&peer, peer.unsubscribe(x)), "ended 1");
    world.ask(&writer, writer.publish("a.x", "2"));
    assert_eq!(peer.stream(), Vec::<String>::new());
    assert_eq!(world.ask(&peer, peer.commit(x, 2)), "refused NotSubscribed");
    // A plain subscription, and the same pattern again, are independent.
    world.ask(&peer, peer.subscribe_to(Sub::new(3, "a.y").from(Start::Latest)));
    assert_eq!(world.ask(&peer, peer.subscribe_to(Sub::new(4, "a.y"))), "refused AlreadySubscribed");
    assert_eq!(
        world.ask(&peer, peer.subscribe_pattern(PatternSub::new(2, b"a.*").window(9))),
        "pattern of 3 topics"
    );
    peer.stream();
    assert_eq!(world.ask(&peer, peer.unsubscribe(1)), "ended");
    world.ask(&writer, writer.publish("a.y", "1"));
    assert_eq!(peer.stream(), ["3/1=1", "~4/1=1"]);
    assert_eq!(world.ask(&peer, peer.unsubscribe(1)), "refused NotSubscribed");
}

/// Rule W3.
#[test]
fn w3_numbers_from_the_first_alias_on_are_the_brokers() {
    let mut world = World::new();
    let peer = world.connect_as(Version::Two);
    let high = 1 << 31;
    world.ask(&peer, peer.subscribe_to(Sub::new(high, "t")));
    assert_eq!(world.ask(&peer, peer.subscribe_pattern(pattern(">"))), "refused AlreadySubscribed");
    world.ask(&peer, peer.unsubscribe(high));
    let answer = world.ask(&peer, peer.subscribe_pattern(PatternSub::new(high, b">")));
    assert_eq!(answer, "refused AlreadySubscribed");
    assert_eq!(world.ask(&peer, peer.subscribe_pattern(pattern(">"))), "pattern of 1 topics");
    assert_eq!(world.ask(&peer, peer.subscribe_pattern(pattern(">"))), "refused AlreadySubscribed");
    assert_eq!(world.ask(&peer, peer.subscribe_to(Sub::new(1, "t"))), "refused AlreadySubscribed");
    assert_eq!(world.ask(&peer, peer.subscribe_to(Sub::new(high + 7, "t"))), "refused AlreadySubscribed");
}

/// Rule W5.
#[test]
fn w_02_the_window_counts_over_all_topics_and_each_has_its_turn() {
    let mut world = World::new();
    let writer = world.connect_as(Version::Two);
    for topic in ["a.0", "a.1", "a.2", "a.3", "a.4"] {
        world.ask(&writer, writer.create(topic, TopicOptions::new().retain_forever()));
        world.ask(&writer, writer.publish_all(topic, &[record(b"x"); 7]));
    }
    let (peer, _) = subscribed(&mut world, pattern("a.*").window(3));
    let (mut open, mut taken) = (Vec::new(), BTreeMap::<u32, u64>::new());
    let mut rounds = 0;
    loop {
        open.extend(peer.records().into_iter().map(|one| (one.subscription, one.offset)));
        assert!(open.len() <= 3, "{open:?}");
        if open.is_empty() {
            break;
        }
        let (alias, offset) = open.remove(0);
        assert_eq!(taken.insert(alias, offset), offset.checked_sub(1), "each topic in order");
        assert_eq!(world.ask(&peer, peer.commit(alias, offset)).split(' ').next(), Some("done"));
        rounds += 1;
        if rounds == 15 {
            assert_eq!(taken.len(), 5, "every topic had its turn");
        }
    }
    assert_eq!((rounds, taken.values().sum::<u64>()), (35, 5 * 6));
}

/// Rule W5.
#[test]
fn w5_a_large_record_waits_for_the_whole_window_and_then_comes_alone() {
    let mut world = World::new();
    let (peer, _) = subscribed(&mut world, pattern("a.*").window(9).window_bytes(100));
    let writer = world.connect_as(Version::Two);
    world.ask(&writer, writer.publish("a.0", "small"));
    world.ask(&writer, writer.publish_all("a.1", &[record(&[0; 200]), record(b"next")]));
    assert_eq!(peer.stream(), ["1 ~0 is a.0 0..1", "~0/0=small", "1 ~1 is a.1 0..2"]);
    world.ask(&writer, writer.publish("a.0", "fits"));
    assert_eq!(peer.stream(), ["~0/1=fits"]);
    let (zero, one) = (1 << 31, (1 << 31) + 1);
    world.ask(&peer, peer.commit(zero, 0));
    assert_eq!(peer.stream(), Vec::<String>::new(), "not while anything is uncommitted");
    world.ask(&peer, peer.commit(zero, 1));
    assert_eq!(peer.stream(), ["~1/0=<200>"]);
    world.ask(&writer, writer.publish("a.0", "waits"));
    assert_eq!(peer.stream(), Vec::<String>::new());
    world.ask(&peer, peer.commit(one, 0));
    let mut both = peer.stream();
    both.sort();
    assert_eq!(both, ["~0/2=waits", "~1/1=next"]);
}

/// Rule W5: whatever takes records out of the window makes room for other topics.
#[test]
fn w5_a_nack_a_seek_and_an_end_make_room() {
    let mut world = World::new();
    let (peer, _) = subscribed(&mut world, pattern("a.*"));
    let writer = world.connect_as(Version::Two);
    for topic in ["a.0", "a.1", "a.2", "a.3"] {
        world.ask(&writer, writer.publish(topic, "x"));
    }
    let delivered =
        |peer: &Peer| peer.stream().into_iter().filter(|text| text.contains('/')).collect::<Vec<_>>();
    let alias = |number: u32| (1 << 31) + number;
    assert_eq!(delivered(&peer), ["~0/0=x"]);
    world.ask(&peer, peer.nack(alias(0), 0, 1_000_000));
    assert_eq!(delivered(&peer), ["~1/0=x"], "while the first one is paused");
    world.ask(&peer, peer.seek(alias(1), Start::Latest));
    assert_eq!(delivered(&peer), ["~2/0=x"]);
    world.ask(&peer, peer.unsubscribe(alias(2)));
    assert_eq!(delivered(&peer), ["~3/0=x"]);
    world.advance(crate::world::secs(2));
    assert_eq!(delivered(&peer), Vec::<String>::new(), "the pause is over, but there is no room");
    world.ask(&peer, peer.commit(alias(3), 0));
    assert_eq!(delivered(&peer), ["~0/0=x #2"]);
}

/// Rule W5.
#[test]
fn w5_without_a_window_there_are_no_commits() {
    let mut world = World::new();
    let (peer, _) = subscribed(&mut world, pattern("a.*").window(0));
    let writer = world.connect_as(Version::Two);
    for body in ["x", "y", "z"] {
        world.ask(&writer, writer.publish("a.0", body));
    }
    assert_eq!(peer.stream(), ["1 ~0 is a.0 0..1", "~0/0=x", "~0/1=y", "~0/2=z"]);
    assert_eq!(world.ask(&peer, peer.commit(1 << 31, 0)), "refused CommitsOff");
}

/// Rule W6.
#[test]
fn w_03_topics_beyond_the_limit_of_subscriptions_are_reported_once() {
    let mut world = World::with(|config| config.wire.max_subscriptions = 4);
    let writer = world.connect_as(Version::Two);
    for topic in ["a.0", "a.1", "a.2", "a.3", "a.4"] {
        world.ask(&writer, writer.create(topic, TopicOptions::new().retain_forever()));
    }
    let (peer, answer) = subscribed(&mut world, pattern("a.*").window(99));
    assert_eq!(answer, "pattern of 3 topics", "the pattern itself counts");
    let full = |topic: &str| format!("1 without {topic}: SubscriptionsFull 4");
    let stream = peer.stream();
    let (reported, matched): (Vec<_>, Vec<_>) = stream.into_iter().partition(|text| text.contains("without"));
    assert_eq!((reported, matched.len()), (vec![full("a.3"), full("a.4")], 3));
    for topic in ["a.0", "a.3", "a.5"] {
        world.ask(&writer, writer.publish(topic, "x"));
    }
    assert_eq!(peer.stream(), ["~0/0=x".to_owned(), full("a.5")]);
    for topic in 6..80 {
        writer.publish(&format!("a.{topic}"), "x");
    }
    peer.stop_reading();
    world.settle();
    world.ask(&peer, peer.unsubscribe(1 << 31));
    peer.resume_reading();
    world.settle();
    let reported = peer.stream().iter().filter(|text| text.contains("without")).count();
    assert!(reported >= 64, "{reported}");
    world.ask(&writer, writer.publish("a.80", "x"));
    assert_eq!(peer.stream(), ["1 ~3 is a.80 0..1", "~3/0=x"], "there is room again, for later ones");
}

/// Rule W1.
#[test]
fn w_06_bad_patterns_and_names_that_look_like_one_are_refused() {
    let mut world = World::new();
    let peer = world.connect_as(Version::Two);
    let stars = vec!["*"; 10_000].join(".");
    for bad in ["", "a..b", ".a", "a.", "a.>.b", ">.a", "$a", "a.\n", &stars] {
        let answer = world.ask(&peer, peer.subscribe_pattern(pattern(bad)));
        assert_eq!(answer, "refused InvalidPattern", "{bad:.20}");
    }
    for name in ["a.*", "*", ">", "a.>.b"] {
        assert_eq!(world.ask(&peer, peer.publish(name, "x")), "refused InvalidTopic");
        assert_eq!(world.ask(&peer, peer.create(name, TopicOptions::new())), "refused InvalidTopic");
        assert_eq!(world.ask(&peer, peer.subscribe_to(Sub::new(1, name))), "refused InvalidTopic");
    }
    let dead = pattern("a.*").dead_letter(1, "a.*");
    assert_eq!(world.ask(&peer, peer.subscribe_pattern(dead)), "refused InvalidDeadLetter");
    let much = pattern("a.*").window(1_000_000);
    assert!(world.ask(&peer, peer.subscribe_pattern(much)).starts_with("refused WindowTooLarge"));
    let off = pattern("a.*").window(0).dead_letter(1, "dead");
    assert_eq!(world.ask(&peer, peer.subscribe_pattern(off)), "refused CommitsOff");
    assert_eq!(
        world.ask(&peer, peer.subscribe_pattern(pattern(&["*"; 128].join(".")))),
        "pattern of 0 topics"
    );
    let all = world.ask(&peer, peer.subscribe_pattern(PatternSub::new(2, b">")));
    assert_eq!(all, "pattern of 0 topics", "no topic was created");
}

/// Rules W6, R5: a new topic keeps every record until its patterns are found, and not longer.
#[test]
fn w6_a_topic_without_patterns_that_match_keeps_nothing() {
    let mut world = World::with(|config| config.max_patterns = 2);
    let (peer, _) = subscribed(&mut world, pattern("a.*"));
    assert_eq!(world.ask(&peer, peer.subscribe_pattern(PatternSub::new(2, b"b.*"))), "pattern of 0 topics");
    assert_eq!(
        world.ask(&peer, peer.subscribe_pattern(PatternSub::new(3, b"c.*"))),
        "refused PatternsFull 2"
    );
    let writer = world.connect_as(Version::Two);
    let options = TopicOptions::new().max_messages(1).overflow(Overflow::Reject);
    world.ask(&writer, writer.create("c.new", options));
    assert_eq!(world.ask(&writer, writer.publish("c.new", "x")), "@0");
    assert_eq!(world.ask(&writer, writer.publish("c.new", "y")), "@1", "live-only, and nobody waits");
    world.ask(&writer, writer.create("a.new", options));
    assert_eq!(world.ask(&writer, writer.publish("a.new", "x")), "@0");
    assert_eq!(world.ask(&writer, writer.publish("a.new", "y")), "refused TopicFull");
    world.ask(&peer, peer.commit(1 << 31, 0));
    assert_eq!(world.ask(&writer, writer.publish("a.new", "y")), "@1");
}

/// Rule W6: a request that is refused leaves neither a topic nor a match.
#[test]
fn w6_a_topic_that_is_taken_back_is_not_matched() {
    let mut world = World::new();
    let (peer, _) = subscribed(&mut world, pattern(">"));
    let writer = world.connect_as(Version::Two);
    let refused = writer.batch(&[put("a", "x"), put("b", "x"), done(9, 9)]);
    assert_eq!(world.ask(&writer, refused), "refused NotSubscribed at 2");
    assert_eq!(peer.stream(), Vec::<String>::new());
    world.ask(&writer, writer.publish("b", "y"));
    assert_eq!(peer.stream(), ["1 ~0 is b 0..1", "~0/0=y"]);
}
