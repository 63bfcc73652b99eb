//! Clients of a broker in the same program, polled by hand: a future that can never become ready fails the test at once.

mod shared;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::join;
use futures::{FutureExt, SinkExt, StreamExt};
use tracing::field::Field;
use tracing::{Level, Metadata, Subscriber, span};
use zaichik_client::ErrorClass;
use zaichik_engine::BrokerConfig;

use super::*;
use crate::manual::Manual;
use crate::server::EmbeddedBroker;

type Broker = EmbeddedBroker<Manual>;

fn broker() -> Broker {
    Broker::start(BrokerConfig::default()).expect("the defaults are valid")
}

async fn fill(client: &Client<Manual>, topic: &str, messages: usize) {
    client.create_topic(topic, TopicOptions::new().retain_forever()).await.expect("created");
    for _ in 0..messages {
        client.publish(topic, vec![7; 10 << 10]).await.expect("accepted");
    }
}

#[test]
fn a_subscription_dropped_with_messages_in_flight_does_not_stop_the_client() {
    let mut config = BrokerConfig::default();
    config.output_buffer = 4 << 20;
    let broker = Broker::start(config).expect("a valid configuration");
    let client = broker.client_builder().configure(|config| config.buffer_bytes = 1 << 10).start();
    Manual::block_on(async {
        let writer = broker.client();
        fill(&writer, "t", 100).await;
        let mut read = client.subscribe("u").await.expect("subscribed");
        let unread = client.subscribe("t").window(0).await.expect("subscribed");
        drop(unread);
        writer.publish("u", "behind it").await.expect("accepted");
        let message = read.next_message().await.expect("no error").expect("a message");
        assert_eq!(message.body, "behind it");
    });
}

#[test]
fn a_publish_without_an_acknowledgement_resolves_once_it_is_queued() {
    let broker = broker();
    let client = broker.client();
    Manual::block_on(async {
        client.ping().await.expect("connected");
        let () = client.publish("t", "x").no_ack().await.expect("queued");
        client.publish_all("t", ["y", "z"]).no_ack().enqueue().expect("room");
        let receipt = client.publish("t", "last").await.expect("accepted");
        assert_eq!(receipt.first_offset, Some(3), "behind all of them");
    });
}

#[test]
fn a_publish_dropped_before_it_is_polled_sends_nothing() {
    let broker = broker();
    let client = broker.client();
    Manual::block_on(async {
        drop(client.publish("t", "x"));
        let receipt = client.publish("t", "y").await.expect("accepted");
        assert_eq!(receipt.first_offset, Some(0));
    });
}

#[test]
fn messages_enqueued_together_have_one_receipt() {
    let broker = broker();
    let client = broker.client();
    Manual::block_on(async {
        let first = client.publish_all("t", ["x", "y"]).enqueue().expect("room");
        let second = client.publish("t", "z").enqueue().expect("room");
        let (first, second) = join(first, second).await;
        let first = first.expect("accepted");
        assert_eq!((first.first_offset, first.count), (Some(0), 2));
        assert_eq!(second.expect("accepted").first_offset, Some(2));
    });
}

#[test]
fn an_enqueue_that_found_no_room_can_be_repeated() {
    let broker = broker();
    let client = broker.client_builder().max_in_flight(1).start();
    Manual::block_on(async {
        let first = client.publish("t", "x").enqueue().expect("room");
        let second = client.publish("t", "y");
        let full = second.enqueue().expect_err("one is in flight");
        assert!(matches!(full, ClientError::Request(RequestError::Full)), "{full:?}");
        first.await.expect("accepted");
        let receipt = second.enqueue().expect("room").await.expect("accepted");
        assert_eq!(receipt.first_offset, Some(1));
    });
}

#[test]
fn an_answer_that_arrives_too_late_still_makes_room() {
    let broker = broker();
    let client = broker.client_builder().max_in_flight(1).start();
    Manual::block_on(async {
        client.ping().await.expect("connected");
        let brief = client.publish("t", "x").deadline(Duration::ZERO);
        let (late, waiting) = join(brief, client.publish("t", "y")).await;
        let late = late.expect_err("its deadline has passed");
        assert!(matches!(late, ClientError::Request(RequestError::Unknown { .. })), "{late:?}");
        waiting.expect("accepted");
    });
}

#[test]
fn finished_requests_leave_nothing_behind() {
    let mut config = BrokerConfig::default();
    config.max_topics = 1;
    let broker = Broker::start(config).expect("a valid configuration");
    let client = broker.client();
    Manual::block_on(async {
        client.publish("t", "x").await.expect("accepted");
        drop(client.subscribe("t").window(0).await.expect("subscribed"));
        client.subscribe("one topic too many").await.expect_err("refused");
        // Dropped before the answers, one of which is a refusal.
        for topic in ["t", "one topic too many"] {
            assert!(client.subscribe(topic).into_future().now_or_never().is_none());
        }
        assert!(client.publish("t", "x").now_or_never().is_none());
        assert!(client.publisher("t").send("x".into()).now_or_never().is_none());
        let last = client.subscribe("t").await.expect("subscribed");
        last.unsubscribe().await.expect("ended, and everything before it is answered");
        assert!(client.owner.core().quietly(|state, _| state.is_at_rest()));
    });
}

/// Keeps the warnings of a test.
#[derive(Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = String::new();
        event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
            write!(fields, "{field}={value:?} ").expect("a string");
        });
        self.0.lock().expect("no panic").push(fields);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The warnings that `run` logs.
fn warnings(run: impl FnOnce()) -> Vec<String> {
    let warnings = Warnings::default();
    let kept = Arc::clone(&warnings.0);
    tracing::subscriber::with_default(warnings, run);
    let kept = kept.lock().expect("no panic");
    kept.clone()
}

#[test]
fn p4_a_client_whose_runtime_ends_warns_of_unanswered_publishes() {
    let broker = broker();
    let warned = warnings(|| {
        let client = broker.client();
        Manual::block_on(async { client.ping().await.expect("connected") });
        for _ in 0..100 {
            drop(client.publish("t", "x").enqueue().expect("room"));
        }
        client.publish("t", "x").no_ack().enqueue().expect("room");
        drop(client);
        Manual::shut_down();
    });
    assert!(matches!(&warned[..], [one] if one.contains("unanswered=101 ")), "{warned:?}");
}

#[test]
fn p4_a_closed_client_has_sent_everything_and_warns_of_nothing() {
    let broker = broker();
    let warned = warnings(|| {
        Manual::block_on(async {
            let client = broker.client();
            for _ in 0..100 {
                drop(client.publish("t", "x").enqueue().expect("room"));
            }
            client.close().await.expect("everything is answered");
            let end = broker.client().topic("t").await.expect("it exists").end;
            assert_eq!(end, 100);
        });
        Manual::shut_down();
    });
    assert!(warned.is_empty(), "{warned:?}");
}

#[test]
fn a_07_a_dropped_subscription_does_not_change_the_message_taken_last() {
    let broker = broker();
    let client = broker.client();
    Manual::block_on(async {
        client.create_topic("read", TopicOptions::new().retain_forever()).await.expect("created");
        let mut read = client.subscribe("read").durable("d").window(4).await.expect("subscribed");
        let mut dropped = client.subscribe("dropped").window(4).await.expect("subscribed");
        client.publish("read", "x").await.expect("accepted");
        client.publish_all("dropped", ["y", "z"]).await.expect("accepted");
        dropped.next_message().await.expect("no error").expect("a message");
        read.next_message().await.expect("no error").expect("a message");
        drop(dropped); // with a message that was received and not taken
        client.commit().await.expect("committed");
        let info = client.subscription("read", "d").await.expect("it exists");
        assert_eq!(info.lag(), 0);
    });
}

#[test]
fn an_address_without_a_listener_is_named() {
    let refused = Manual::block_on(Client::<Manual>::connect("zaichik://nowhere:8889"));
    let said = refused.expect_err("there is no network").to_string();
    assert_eq!(
        said,
        "cannot connect to the broker: nowhere:8889: connection refused; check the address (host:port) and that the broker is running"
    );
}

/// A subscription to a topic that keeps one message, after three were published and the first was taken.
async fn with_a_gap(client: &Client<Manual>, on_loss: OnLoss) -> Subscription {
    let keeps_one = TopicOptions::new().retain_forever().max_messages(1);
    client.create_topic("t", keeps_one).await.expect("created");
    let mut subscription = client.subscribe("t").on_loss(on_loss).await.expect("subscribed");
    client.publish("t", "0").await.expect("accepted");
    let first = subscription.next_message().await.expect("nothing is lost").expect("a message");
    for body in ["1", "2", "3"] {
        client.publish("t", body).await.expect("accepted");
    }
    first.commit().await.expect("committed");
    subscription
}

#[test]
fn r9_a_loss_is_counted_and_the_next_message_follows() {
    let broker = broker();
    let client = broker.client();
    Manual::block_on(async {
        let mut subscription = with_a_gap(&client, OnLoss::Continue).await;
        assert!(subscription.losses().is_empty());
        let message = subscription.next_message().await.expect("a loss is no error").expect("a message");
        assert_eq!(message.offset, 3);
        assert_eq!(subscription.losses(), Losses { gaps: 1, offsets: 2, restarts: 0 });
    });
}

#[test]
fn r9_a_subscription_that_fails_on_loss_continues_with_the_next_call() {
    let broker = broker();
    let client = broker.client();
    Manual::block_on(async {
        let mut subscription = with_a_gap(&client, OnLoss::Fail).await;
        let error = subscription.next_message().await.expect_err("messages are lost");
        assert_eq!(error.class(), ErrorClass::Lost);
        assert_eq!(
            error.to_string(),
            "topic \"t\": messages 1 up to, but not including, 3 are lost: a limit of the topic removed them; \
             the subscription continues"
        );
        let message = subscription.next_message().await.expect("the next call continues").expect("a message");
        assert_eq!(message.offset, 3);
    });
}

#[test]
fn a1_a_reader_that_collects_more_than_its_window_is_warned_once() {
    let warned = warnings(|| {
        zaichik_simulated::Simulation::new().run(async {
            use zaichik_simulated::{BrokerConfig, EmbeddedBroker, TopicOptions, sleep, spawn};
            let broker = EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid");
            let client = broker.client();
            client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
            client.publish_all("t", ["0", "1", "2", "3"]).await.expect("accepted");
            let slow = client.subscribe("t").window(2).await.expect("subscribed");
            let idle = client.subscribe("t").durable("d").window(8).await.expect("subscribed");
            let waiting = spawn(async move { slow.chunks(4).next().await });
            let fine = spawn(async move { idle.chunks(8).next().await });
            sleep(Duration::from_mins(5)).await;
            drop((waiting, fine));
        });
    });
    assert!(matches!(&warned[..], [one] if one.contains("larger window")), "{warned:?}");
}
