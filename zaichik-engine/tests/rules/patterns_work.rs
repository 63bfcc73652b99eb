//! Rules W6, S14: what patterns cost, in steps.

use zaichik_engine::Broker;
use zaichik_proto::{TopicOptions, Version};
use zaichik_testkit::{Connections, requests};

use crate::world::{PatternSub, World, secs};

/// The steps that a publish to a topic takes, in a broker that does not verify itself after each step.
fn publish(connections: &mut Connections, topic: &str) -> u64 {
    let before = connections.broker.steps();
    connections.send(0, &requests(|client| client.publish(topic, "x")));
    connections.broker.steps() - before
}

#[test]
fn w_05_a_publish_costs_nothing_for_patterns_and_a_topic_only_those_that_match() {
    let mut connections = Connections::new();
    connections.connect();
    let created = publish(&mut connections, "region.7.first");
    let published = publish(&mut connections, "region.7.first");
    let reader = connections.accept();
    connections.send(reader, &requests(|client| client.hello_as(Version::Two, b"")));
    let patterns = requests(|client| {
        for number in 0..10_000u32 {
            let text = match number {
                0..10 => "region.7.orders.*".to_owned(),
                _ => format!("region.{number}.orders.>"),
            };
            client.subscribe_pattern(PatternSub::new(number, text.as_bytes()));
        }
    });
    connections.send(reader, &patterns);
    let topics = requests(|client| {
        for number in 0..99_998u32 {
            client.create(&format!("region.topic.{number}"), TopicOptions::new());
        }
    });
    connections.send(0, &topics);
    assert_eq!(publish(&mut connections, "region.7.first"), published, "as without patterns");
    let with_ten = publish(&mut connections, "region.7.orders.new");
    assert_eq!(connections.broker.topic_count(), 100_000);
    // A subscription to each takes some 50 steps: to match, to announce, and to deliver.
    assert!(with_ten < created + 10 * 60 + 40, "{with_ten} steps; {created} without patterns");
    connections.verify();
}

/// Rule S14: each call is bounded.
#[test]
fn w_07_many_topics_are_matched_and_ended_in_many_calls() {
    let mut world = World::new().checked_at_rest();
    let (writer, other) = (world.connect_as(Version::Two), world.connect());
    let options = TopicOptions::new().retain_forever();
    let last = (0..2_000).fold(0, |_, number| writer.create(&format!("a.{number}"), options));
    world.ask(&writer, last);
    let before = world.memory_of_records();
    world.most_steps = 0;
    let peer = world.connect_as(Version::Two);
    let request = peer.subscribe_pattern(PatternSub::new(1, b"a.*"));
    let mut steps = 0;
    while peer.answer(request) == "-" {
        let publish = other.publish("other", "x");
        assert!(world.step(), "work continues");
        assert!(other.answer(publish).starts_with('@'), "it does not wait");
        steps += 1;
    }
    assert!(steps > 2, "{steps}");
    world.settle();
    assert_eq!(peer.stream().len(), 2_000);
    assert!(world.memory_of_records() > before + 2_000 * 200, "each is charged");
    let request = peer.unsubscribe(1);
    while peer.answer(request) == "-" {
        let publish = other.publish("other", "x");
        assert!(world.step(), "work continues");
        assert!(other.answer(publish).starts_with('@'), "it does not wait");
    }
    world.settle();
    assert!(world.memory_of_records() < before + 100_000, "what was charged is free again");
    world.ask(&peer, peer.subscribe_pattern(PatternSub::new(1, b"a.*")));
    peer.cut();
    world.settle();
    world.advance(secs(2));
    assert!(world.memory_of_records() < before + 100_000, "what was charged is free again");
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
}

/// Rule S14: each call is bounded, and nothing is missed meanwhile.
#[test]
fn w_08_many_patterns_match_one_topic() {
    let mut world = World::new();
    let (peer, writer) = (world.connect_as(Version::Two), world.connect());
    let last = (0..300).fold(0, |_, number| peer.subscribe_pattern(PatternSub::new(number, b"a.*")));
    assert_eq!(world.ask(&peer, last), "pattern of 0 topics");
    world.most_steps = 0;
    world.ask(&writer, writer.publish("a.new", "x"));
    world.settle();
    assert_eq!(peer.records().len(), 300);
    assert!(world.most_steps <= Broker::MAX_STEPS, "{} steps", world.most_steps);
    peer.cut();
    world.settle();
    world.ask(&writer, writer.publish("a.new", "y"));
    world.ask(&writer, writer.publish("a.newer", "y"));
}
