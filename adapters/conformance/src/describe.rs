//! What a broker has and counted, as tools ask for it (docs/protocol.md §6.15, §6.16).

use zaichik_driver::{Counter, TopicOptions};

use crate::broker::{Broker, HOUR, put, refused};
use crate::form::Form;

pub(crate) async fn a_tool_sees_topics_subscriptions_and_counters<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (tool, reader) = (broker.client().await, broker.client().await);
    let options = TopicOptions::new().retention_ttl(HOUR);
    reader.create_topic("t", options).await.expect("created");
    put(&reader, "t", "a").await;
    let mut subscription = reader.subscribe("t").durable("d").await.expect("subscribed");
    let message = subscription.next_message().await.expect("no gap").expect("a message");
    message.commit().await.expect("committed");

    let topic = tool.topic("t").await.expect("described");
    assert_eq!((topic.start, topic.end, topic.messages, topic.subscriptions), (0, 1, 1, 1));
    assert_eq!(topic.settings.retention_ttl_micros, options.retention_ttl_micros);
    assert_eq!(tool.topics().await.expect("described"), [topic]);
    let held = tool.subscription("t", "d").await.expect("described");
    assert_eq!((held.attached, held.epoch, held.cursor, held.lag()), (true, 1, 1, 0));
    assert_eq!(tool.subscriptions(Some("t")).await.expect("described"), [held]);
    let info = tool.broker_info().await.expect("described");
    assert_eq!(info.counter(Counter::RecordsIn), Some(1));
    assert_eq!(info.counter(Counter::Connections), Some(2));
    assert_eq!(Some(info.instance), tool.instance());

    assert_eq!(refused(tool.topic("u").await), "UnknownTopic");
    assert_eq!(refused(tool.remove_subscription("t", "d").await), "SubscriptionHeld");
    subscription.unsubscribe().await.expect("left");
    tool.remove_subscription("t", "d").await.expect("removed");
    assert_eq!(tool.subscriptions(None).await.expect("described"), []);
    broker.stop().await;
}

pub(crate) async fn more_topics_than_a_page_has_are_all_listed<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let names: Vec<String> = (0..700).map(|number| format!("topic {number}")).collect();
    for name in &names {
        client.publish(name, "x").no_ack().await.expect("queued");
    }
    put(&client, "the last one", "x").await;
    let listed = client.topics().await.expect("described");
    assert!(listed.iter().map(|topic| &topic.name).eq(names.iter().chain([&"the last one".to_owned()])));
    broker.stop().await;
}
