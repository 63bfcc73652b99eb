//! Clients of a broker in the same program, polled by hand: whoever is stranded fails the test at once.

use std::time::Duration;

use futures::future::join;
use futures::{FutureExt, SinkExt};
use zaichik_engine::BrokerConfig;

use super::*;
use crate::embedded::Embedded;
use crate::manual::Manual;

type Broker = Embedded<Manual>;

fn broker() -> Broker {
    Broker::start(BrokerConfig::new(1, 2)).expect("the defaults are valid")
}

async fn fill(client: &Client<Manual>, topic: &str, messages: usize) {
    client.create_topic(topic, TopicOptions::new().retain_forever()).await.expect("created");
    for _ in 0..messages {
        client.publish(topic, vec![7; 10 << 10]).await.expect("accepted");
    }
}

#[test]
fn a_subscription_dropped_with_much_on_its_way_does_not_stop_the_client() {
    let mut config = BrokerConfig::new(1, 2);
    config.lane_bytes = 4 << 20;
    let broker = Broker::start(config).expect("a valid configuration");
    let client = broker.client_builder().configure(|config| config.buffer_bytes = 1 << 10).start();
    Manual::block_on(async {
        let writer = broker.client();
        fill(&writer, "t", 100).await;
        let mut read = client.subscribe("u").await.expect("subscribed");
        let unread = client.subscribe("t").window(0).await.expect("subscribed");
        drop(unread);
        writer.publish("u", "behind it").await.expect("accepted");
        let message = read.next_message().await.expect("no gap").expect("a message");
        assert_eq!(message.body, "behind it");
    });
}

#[test]
fn a_publish_without_an_acknowledgement_has_no_receipt() {
    let broker = broker();
    let client = broker.client();
    Manual::block_on(async {
        let none = PublishOptions::new().ack(AckLevel::None);
        let error = client.publish_with("t", &["x".into()], none).await.expect_err("there is no receipt");
        assert!(matches!(error, ClientError::Request(RequestError::NoReceipt)), "{error:?}");
        let error = client.publish_nowait_with("t", &["x".into()], none).expect_err("there is no receipt");
        assert!(matches!(error, ClientError::Request(RequestError::NoReceipt)), "{error:?}");
        let receipt = client.publish("t", "y").await.expect("accepted");
        assert_eq!(receipt.first_offset, Some(0), "nothing was sent before");
    });
}

#[test]
fn messages_published_together_without_waiting_have_one_receipt() {
    let broker = broker();
    let client = broker.client();
    Manual::block_on(async {
        let (options, together) = (PublishOptions::new(), ["x".into(), "y".into()]);
        let first = client.publish_nowait_with("t", &together, options).expect("room");
        let second = client.publish_nowait("t", "z").expect("room");
        let (first, second) = join(first, second).await;
        let first = first.expect("accepted");
        assert_eq!((first.first_offset, first.count), (Some(0), 2));
        assert_eq!(second.expect("accepted").first_offset, Some(2));
    });
}

#[test]
fn an_answer_that_comes_too_late_makes_room_all_the_same() {
    let broker = broker();
    let client = broker.client_builder().max_in_flight(1).start();
    Manual::block_on(async {
        client.ping().await.expect("connected");
        let messages = ["x".into()];
        let options = PublishOptions::new().deadline(Duration::ZERO);
        let (late, waiting) =
            join(client.publish_with("t", &messages, options), client.publish("t", "y")).await;
        let late = late.expect_err("its deadline has passed");
        assert!(matches!(late, ClientError::Request(RequestError::Unknown { .. })), "{late:?}");
        waiting.expect("accepted");
    });
}

#[test]
fn nothing_is_kept_of_what_is_over() {
    let mut config = BrokerConfig::new(1, 2);
    config.max_topics = 1;
    let broker = Broker::start(config).expect("a valid configuration");
    let client = broker.client();
    Manual::block_on(async {
        client.publish("t", "x").await.expect("accepted");
        drop(client.subscribe("t").window(0).await.expect("subscribed"));
        client.subscribe("one topic too many").await.expect_err("refused");
        // Given up before the answers, of which one is a refusal.
        for topic in ["t", "one topic too many"] {
            assert!(client.subscribe(topic).into_future().now_or_never().is_none());
        }
        assert!(client.publish("t", "x").now_or_never().is_none());
        assert!(client.publisher("t").send("x".into()).now_or_never().is_none());
        let last = client.subscribe("t").await.expect("subscribed");
        last.unsubscribe().await.expect("ended, and everything before it is answered");
        assert!(client.owner.core().look(|state, _| state.is_at_rest()));
    });
}

#[test]
fn an_address_that_nobody_listens_on_is_named() {
    let refused = Manual::block_on(Client::<Manual>::connect("zaichik://nowhere:8889"));
    let said = refused.expect_err("there is no network").to_string();
    assert_eq!(
        said,
        "cannot connect to the broker: nowhere:8889: connection refused; check the address (host:port) and that the broker runs"
    );
}
