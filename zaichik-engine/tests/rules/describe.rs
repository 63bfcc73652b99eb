//! Descriptions of a broker's topics, subscriptions and counters: docs/protocol.md §6.15 and §6.16.

use std::time::Duration;

use zaichik_client::Answer;
use zaichik_engine::{Broker, BrokerConfig, Seed};
use zaichik_proto::{CompactionMode, Counter, RefusalCode, Subject, TopicOptions};

use crate::world::{Peer, Sub, World, secs};

const TOPICS: Subject<'static> = Subject::Topics { from: 0 };

fn subscriptions(topic: &str) -> Subject<'_> {
    Subject::Subscriptions { from: 0, topic: topic.as_bytes() }
}

/// A broker with the topic "t", which holds these bodies, and its writer.
fn with_topic(bodies: &[&str], options: TopicOptions) -> (World, Peer) {
    let mut world = World::new();
    let writer = world.topic(options);
    world.publish(&writer, bodies);
    (world, writer)
}

/// Describe changes nothing (rule S11).
#[test]
fn a_topic_is_described_and_not_created() {
    let (mut world, peer) = with_topic(&["a", "bb"], TopicOptions::new().retention_ttl(secs(10)));
    let topic = Subject::Topic { topic: b"t" };
    let told = world.ask(&peer, peer.describe(topic));
    assert_eq!(told, "topics t explicit 0..2: 2 messages, 35 bytes, 0 keys, 0 subscriptions");
    world.advance(secs(10));
    let told = world.ask(&peer, peer.describe(topic));
    assert_eq!(told, "topics t explicit 2..2: 0 messages, 0 bytes, 0 keys, 0 subscriptions", "expired");
    let unknown = Subject::Topic { topic: b"u" };
    assert_eq!(world.ask(&peer, peer.describe(unknown)), "refused UnknownTopic");
    assert_eq!(world.ask(&peer, peer.describe(Subject::Topic { topic: b"$" })), "refused InvalidTopic");
    assert_eq!(world.broker.topic_count(), 1);
}

#[test]
fn a_compacted_topic_reports_its_remaining_records() {
    let options = TopicOptions::new().retain_forever().compaction(CompactionMode::Latest);
    let (mut world, peer) = with_topic(&[], options);
    for (key, body) in [("k", "old"), ("k", "new"), ("l", "other")] {
        world.ask(&peer, peer.publish_keyed("t", key, body));
    }
    // The superseded record is removed as time passes.
    world.advance(secs(1));
    let told = world.ask(&peer, peer.describe(Subject::Topic { topic: b"t" }));
    assert!(told.contains(": 2 messages, ") && told.contains(", 2 keys, "), "{told}");
}

#[test]
fn subscriptions_report_their_positions() {
    let (mut world, peer) = with_topic(&["a", "b", "c"], TopicOptions::new().retain_forever());
    world.ask(&peer, peer.publish("other", "x"));
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(2).durable("d")));
    world.ask(&reader, reader.subscribe_to(Sub::new(2, "other").window(1)));
    world.ask(&reader, reader.commit(1, 0));
    let attached = "t/d attached epoch 1 window 2 at 1, next 3 of 3";
    let told = world.ask(&peer, peer.describe(subscriptions("")));
    assert_eq!(told, format!("subscriptions {attached} other/ attached epoch 0 window 1 at 1, next 1 of 1"));
    assert_eq!(world.ask(&peer, peer.describe(subscriptions("t"))), format!("subscriptions {attached}"));
    assert_eq!(world.ask(&peer, peer.describe(subscriptions("u"))), "refused UnknownTopic");
    let topic = world.ask(&peer, peer.describe(TOPICS));
    assert!(topic.contains("t explicit 0..3: 3 messages, 51 bytes, 0 keys, 1 subscriptions"), "{topic}");

    reader.cut();
    world.settle();
    world.advance(secs(1));
    let durable = Subject::Durable { topic: b"t", name: "d" };
    let told = world.ask(&peer, peer.describe(durable));
    let left = Duration::from_secs(24 * 3_600 - 1).as_micros();
    assert_eq!(told, format!("subscriptions t/d for {left} us epoch 1 window 2 at 1, next 1 of 3"));
    assert_eq!(world.ask(&peer, peer.describe(subscriptions("other"))), "subscriptions");
    let unknown = Subject::Durable { topic: b"t", name: "e" };
    assert_eq!(world.ask(&peer, peer.describe(unknown)), "refused NotSubscribed");
    // No connection reattached: it is removed at that instant, whether or not housekeeping ran.
    world.jump(world.now + Duration::from_hours(24));
    assert_eq!(world.ask(&peer, peer.describe(subscriptions(""))), "subscriptions");
    assert_eq!(world.ask(&peer, peer.describe(durable)), "refused NotSubscribed");
}

/// `RemoveDurable` (rule D7).
#[test]
fn a_durable_subscription_can_be_removed_while_detached() {
    let (mut world, peer) = with_topic(&["a"], TopicOptions::new());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").durable("d")));
    world.publish(&peer, &["b"]);
    assert_eq!(world.ask(&peer, peer.remove_durable("t", "d")), "refused SubscriptionHeld");
    reader.cut();
    world.settle();
    let topic = Subject::Topic { topic: b"t" };
    let kept = world.ask(&peer, peer.describe(topic));
    assert_eq!(kept, "topics t explicit 1..2: 1 messages, 17 bytes, 0 keys, 1 subscriptions");
    assert_eq!(world.ask(&peer, peer.remove_durable("t", "d")), "done 0");
    let freed = world.ask(&peer, peer.describe(topic));
    assert_eq!(freed, "topics t explicit 2..2: 0 messages, 0 bytes, 0 keys, 0 subscriptions");
    assert_eq!(world.ask(&peer, peer.remove_durable("t", "d")), "refused NotSubscribed");
    assert_eq!(world.ask(&peer, peer.remove_durable("u", "d")), "refused UnknownTopic");
}

#[test]
fn counters_report_what_happened() {
    let (mut world, peer) = with_topic(&["a", "b"], TopicOptions::new().retain_forever());
    let reader = world.connect();
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(8).durable("d")));
    world.ask(&peer, peer.describe(Subject::Topic { topic: b"u" }));
    world.ask(&peer, peer.commit(9, 0));
    world.ask(&peer, peer.commit(9, 0));
    let told = world.ask(&peer, peer.describe(Subject::Broker));
    assert_eq!(
        told,
        "counters Connections 2, ConnectionsAccepted 2, Topics 1, Subscriptions 1, DurableSubscriptions 1, \
         RecordsIn 2, BytesIn 34, RecordsOut 2, BytesOut 34, Refused 3, code 4100 1, code 4112 2"
    );
    assert_eq!(Counter::refusals(RefusalCode::NotSubscribed).code(), 4_112);
    assert_eq!(Counter::from_code(4_112).refusal_code(), Some(RefusalCode::NotSubscribed));
    let uptime =
        |world: &World| world.broker.counters().find(|one| one.counter == Counter::Uptime).unwrap().value;
    let before = uptime(&world);
    world.advance(secs(3));
    assert_eq!(uptime(&world) - before, 3_000_000);
}

#[test]
fn the_embedding_program_adds_its_own_counters() {
    let mut broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2)).unwrap();
    broker.report(Counter::ProcessMemory, 7);
    broker.report(Counter::ProcessMemory, 6);
    broker.count(Counter::WriteStalls, 2);
    broker.count(Counter::WriteStalls, 3);
    broker.report(Counter::RecordsIn, 9);
    broker.count(Counter::Unknown(5_000), 9);
    let counter = |wanted| broker.counters().find(|one| one.counter == wanted).map(|one| one.value);
    assert_eq!(counter(Counter::ProcessMemory), Some(6));
    assert_eq!(counter(Counter::WriteStalls), Some(5));
    assert_eq!(counter(Counter::RecordsIn), Some(0), "it is a counter of the broker");
    assert_eq!(counter(Counter::Unknown(5_000)), None);
    assert!(broker.counters().map(|one| one.counter.code()).is_sorted());
}

#[test]
fn a_client_gets_descriptions_and_refusals() {
    let mut world = World::new();
    let client = world.client();
    let made = world.done(client, |client, now| client.create_topic(now, "t", &TopicOptions::new()));
    assert!(matches!(made, Ok(Answer::Topic(_))));
    let Ok(Answer::Topics { topics, next: None }) =
        world.done(client, |client, now| client.describe_topics(now, 0))
    else {
        panic!("no topics");
    };
    assert_eq!(topics.iter().map(|topic| &topic.name[..]).collect::<Vec<_>>(), ["t"]);
    assert!(topics.iter().all(|topic| topic.explicit && topic.settings.max_bytes == Some(64 << 20)));
    let Ok(Answer::Counters(counters)) = world.done(client, zaichik_client::Client::describe_broker) else {
        panic!("no counters");
    };
    assert!(counters.iter().any(|one| (one.counter, one.value) == (Counter::Topics, 1)));
    let refused = world.done(client, |client, now| client.remove_durable(now, "t", "d")).unwrap_err();
    assert_eq!(refused.to_string().split(": ").next(), Some("topic \"t\""), "{refused}");
    let all = world.done(client, |client, now| client.describe_subscriptions(now, None, 0));
    assert_eq!(all, Ok(Answer::Subscriptions { subscriptions: Vec::new(), next: None }));
}
