//! Chapter W: a pattern of topics, one of which is created later.

use std::time::Duration;

use zaichik_driver::{Client, Event, PatternEvent, PatternSubscription, TopicOptions};
use zaichik_proto::Version;
use zaichik_testkit::PatternSub;

use crate::broker::{Broker, put};
use crate::form::Form;
use crate::proxy::Proxy;

/// The next event, as text.
#[expect(clippy::wildcard_enum_match_arm, reason = "a test fails on everything that it does not expect")]
async fn next(orders: &mut PatternSubscription) -> String {
    match orders.next_event().await.expect("the client is open").expect("the pattern continues") {
        PatternEvent::Matched { topic, .. } => format!("{topic} is matched"),
        PatternEvent::Topic { topic, event: Event::Message(message), .. } => {
            assert_eq!(message.topic(), &*topic);
            format!("{topic} {}", message.offset)
        }
        PatternEvent::Topic { topic, event: Event::Reconnected { from, start }, .. } => {
            format!("{topic} reconnected {from} {start}")
        }
        PatternEvent::Topic { topic, event: Event::Ended(_), .. } => format!("{topic} ended"),
        other => panic!("{other:?}"),
    }
}

/// The next events, sorted: there is no order between topics.
async fn next_sorted(orders: &mut PatternSubscription, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    while events.len() < count {
        events.push(next(orders).await);
    }
    events.sort();
    events
}

pub(crate) async fn w3_after_a_cut_each_topic_of_a_pattern_continues_after_its_last_commit<F: Form>() {
    let broker = Broker::<F>::start().await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let writer = broker.client().await;
    for topic in ["a.x", "a.y", "b.x"] {
        writer.create_topic(topic, TopicOptions::new().retain_forever()).await.expect("created");
        for body in ["0", "1"] {
            put(&writer, topic, body).await;
        }
    }
    let builder = Client::<F::Runtime>::builder(proxy.address());
    let builder = builder.configure(|config| config.reconnect_min = Duration::from_millis(1));
    let client = builder.connect().await.expect("the broker listens");
    let mut orders = client.subscribe_pattern("a.*").window(8).await.expect("subscribed");
    assert_eq!(orders.topics(), 2);
    let all = ["a.x 0", "a.x 1", "a.x is matched", "a.y 0", "a.y 1", "a.y is matched"];
    assert_eq!(next_sorted(&mut orders, 6).await, all);
    orders.commit().await.expect("committed");
    put(&writer, "a.x", "2").await;
    assert_eq!(next(&mut orders).await, "a.x 2");
    // What is not committed comes again, and a topic that is created meanwhile from its first message on.
    proxy.cut();
    writer.create_topic("a.z", TopicOptions::new().retain_forever()).await.expect("created");
    put(&writer, "a.z", "0").await;
    put(&writer, "a.y", "2").await;
    let all = ["a.x 2", "a.x reconnected 2 2", "a.y 2", "a.y reconnected 2 2", "a.z 0", "a.z is matched"];
    assert_eq!(next_sorted(&mut orders, 6).await, all);
    orders.commit().await.expect("committed");
    orders.leave("a.x").await.expect("left");
    put(&writer, "a.x", "3").await;
    put(&writer, "a.z", "1").await;
    assert_eq!(next_sorted(&mut orders, 2).await, ["a.x ended", "a.z 1"]);
    orders.unsubscribe().await.expect("unsubscribed");
    broker.stop().await;
}

pub(crate) async fn w_01_a_topic_that_is_created_later_is_received_from_its_first_record_on<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (peer, writer) = (broker.dial().await, broker.dial().await);
    peer.shake_hands_as(Version::Two).await;
    writer.shake_hands_as(Version::Two).await;
    let answer = peer.answer(peer.subscribe_pattern(PatternSub::new(1, b"orders.*").window(2))).await;
    assert_eq!(answer, "pattern of 0 topics");
    // No other connection continues the work that the creation leaves.
    assert_eq!(writer.answer(writer.publish("orders.new", "a")).await, "@0 new");
    assert_eq!(peer.stream_of(2).await, ["1 ~0 is orders.new 0..1", "~0/0=a"]);
    writer.answer(writer.publish("orders.new", "b")).await;
    writer.answer(writer.publish("orders.new", "c")).await;
    assert_eq!(peer.stream_of(1).await, ["~0/1=b"]);
    assert_eq!(peer.answer(peer.commit(1 << 31, 1)).await, "done 2");
    assert_eq!(peer.stream_of(1).await, ["~0/2=c"]);
    broker.stop().await;
}
