//! P: publishing and its answers.

use std::pin::pin;

use futures::future::{join_all, select};
use futures::{FutureExt, SinkExt};
use zaichik_driver::{Client, ClientError, ErrorClass, Outgoing, RequestError, TopicOptions};
use zaichik_proto::{AckLevel, FrameHeader};
use zaichik_testkit::{Sub, keyed, record};

use crate::broker::{Broker, next, next_committed, put, refused, spawn};
use crate::faults::Direction;
use crate::form::Form;
use crate::proxy::Proxy;

/// The kind byte of a Publish (docs/protocol.md §6.3).
const PUBLISH: u8 = 0x04;

pub(crate) async fn p1_exactly_one_answer_per_request_in_request_order<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.topic(TopicOptions::new()).await;
    let hour = TopicOptions::new().compaction_window(crate::broker::HOUR).max_keys(1);
    peer.answer(peer.create("keys", hour)).await;
    let requests = [
        peer.publish("t", "a"),
        peer.publish("t", "b"),
        peer.publish_keyed("keys", "k", "1"),
        peer.publish_keyed("keys", "k", "2"),
        peer.publish_keyed("keys", "l", "3"),
        peer.publish("$bad", "x"),
        peer.publish("t", "c"),
        peer.publish_all("t", &[record(b"d"), record(b"e")]),
        peer.publish("new", "f"),
    ];
    let mut answers = Vec::new();
    for request in requests {
        // The peer checks the order of the answers.
        answers.push(peer.answer(request).await);
    }
    let expected =
        ["@0", "@1", "@0", "none 0=@0", "refused KeysFull 1", "refused InvalidTopic", "@2", "@3", "@0 new"];
    assert_eq!(answers, expected);
    broker.stop().await;
}

pub(crate) async fn p1_a_refusal_without_an_answer_is_counted<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.peer().await;
    for _ in 0..3 {
        peer.publish_with("$bad", AckLevel::None, &[record(b"x")]);
    }
    peer.publish_with("t", AckLevel::None, &[record(b"x")]);
    assert_eq!(peer.control().await, ["3 times refused InvalidTopic"]);
    assert_eq!(peer.answer(peer.publish("t", "y")).await, "@1");
    broker.stop().await;
}

pub(crate) async fn p4_a_client_that_is_dropped_still_sends_what_it_took<F: Form>() {
    let broker = Broker::<F>::start().await;
    let reader = broker.client().await;
    let mut subscription = reader.subscribe("last words").window(16).await.expect("subscribed");
    let writer = broker.client().await;
    for number in 0..10 {
        writer.publish("last words", number.to_string()).no_ack().await.expect("queued");
    }
    drop(writer);
    for number in 0..10 {
        assert_eq!(next(&mut subscription).await, format!("{number}={number}"));
    }
    broker.stop().await;
}

pub(crate) async fn p4_more_requests_than_fit_wait_for_their_turn<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client_builder().max_in_flight(2).start();
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    let mut publishing = Vec::new();
    for number in 0..500 {
        let client = client.clone();
        let mut publish = Box::pin(async move { client.publish("t", number.to_string()).await });
        // Some lose interest while they wait: the others are not to wait for ever.
        if number % 3 == 0 {
            assert!(publish.as_mut().now_or_never().is_none_or(|done| done.is_ok()));
        } else {
            publishing.push(spawn::<F::Runtime, _>(publish));
        }
    }
    for published in join_all(publishing).await {
        published.expect("accepted");
    }
    broker.stop().await;
}

pub(crate) async fn p4_a_publisher_reports_a_refusal_once_and_goes_on<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let mut publisher = client.publisher("t").max_in_flight(1);
    publisher.send("fine".into()).await.expect("accepted");
    let too_large = publisher.send(Outgoing::new(vec![0; 2 << 20])).await;
    assert!(matches!(too_large, Err(ClientError::Request(_))), "{too_large:?}");
    publisher.send("fine again".into()).await.expect("accepted");
    publisher.close().await.expect("nothing is left to report");
    broker.stop().await;
}

pub(crate) async fn p_08_durable_is_refused_by_a_broker_without_storage<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    assert_eq!(refused(client.publish("t", "x").durable().await), "NotDurable");
    assert_eq!(put(&client, "t", "x").await, "@0 new", "it did not create the topic either");
    broker.stop().await;
}

pub(crate) async fn p_09_what_is_too_large_is_refused_before_a_byte_is_sent<F: Form>() {
    let broker = Broker::<F>::with(|config| config.wire.max_message = 1_000).await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let client = Client::<F::Runtime>::connect(proxy.address()).await.expect("the broker listens");
    client.ping().await.expect("connected");
    let before = proxy.forwarded(Direction::ToBroker);
    let refused = client.publish("t", vec![b'x'; 1_001]).await;
    let is_local =
        matches!(refused, Err(ClientError::Request(RequestError::TooLarge { limit: 1_000, got: 1_001 })));
    assert!(is_local, "{refused:?}");
    let many = vec![Outgoing::new("x"); 65_537];
    let refused = client.publish_all("t", many).await;
    assert!(matches!(refused, Err(ClientError::Request(RequestError::TooManyRecords { .. }))), "{refused:?}");
    assert_eq!(proxy.forwarded(Direction::ToBroker), before);
    assert_eq!(put(&client, "t", vec![b'x'; 1_000]).await, "@0 new");

    // The broker checks too, whoever asks.
    let peer = broker.peer().await;
    let (largest, larger) = (vec![b'x'; 999], vec![b'x'; 1_000]);
    let both = [record(b"x"), keyed("k", &larger)];
    assert_eq!(peer.answer(peer.publish_all("u", &both)).await, "refused TooLarge 1000");
    assert_eq!(peer.answer(peer.publish_all("u", &[keyed("k", &largest)])).await, "@0 new");
    let body_len = zaichik_proto::Limits::default().max_frame + 1;
    peer.send_bytes(&FrameHeader { body_len, kind: PUBLISH }.to_bytes());
    assert_eq!(peer.end().await.pop().as_deref(), Some("fatal FrameTooLarge"));
    put(&client, "t", "others are served").await;
    broker.stop().await;
}

/// An answer does not wait for the deliveries that are due before it: they never end until it has come.
pub(crate) async fn p_10_answers_come_while_deliveries_saturate<F: Form>() {
    let broker = Broker::<F>::start().await;
    let writer = broker.client().await;
    let options = TopicOptions::new().retain_forever().max_bytes(4 << 20);
    writer.create_topic("t", options).await.expect("created");
    let busy = broker.peer().await;
    busy.answer(busy.subscribe_to(Sub::new(1, "t").window(0))).await;
    let flood = async {
        let mut publisher = writer.publisher("t");
        loop {
            publisher.feed(Outgoing::new(vec![b'x'; 16 << 10])).await.expect("accepted");
        }
    };
    let asking = async {
        for round in 0..50 {
            busy.stream_of(10).await;
            let created = if round == 0 { " new" } else { "" };
            assert_eq!(busy.answer(busy.publish("u", "x")).await, format!("@{round}{created}"));
        }
    };
    select(pin!(asking), pin!(flood)).await;
    broker.stop().await;
}

pub(crate) async fn p_12_another_broker_behind_the_address_is_told<F: Form>() {
    let broker = Broker::<F>::start().await;
    let address = broker.address();
    let first = broker.peer().await.instance();
    let client = Client::<F::Runtime>::builder(&address).connect().await.expect("the broker listens");
    let mut subscription = client.subscribe("reborn").await.expect("subscribed");
    put(&client, "reborn", "before").await;
    assert_eq!(next_committed(&mut subscription).await, "0=before");
    assert_eq!(client.instance(), first);
    broker.stop().await;

    let broker = Broker::<F>::at(&address, |_| {}).await;
    assert_eq!(next(&mut subscription).await, "restarted 0");
    assert_eq!(put(&client, "reborn", "after").await, "@0");
    assert_eq!(next_committed(&mut subscription).await, "0=after");
    assert_eq!(client.instance(), broker.peer().await.instance());
    assert_ne!(client.instance(), first);
    broker.stop().await;
}

/// What was sent and not answered when the broker went is unknown, and not sent to the next one.
pub(crate) async fn p_12_pending_publishes_end_as_unknown<F: Form>() {
    let broker = Broker::<F>::start().await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let client = Client::<F::Runtime>::connect(proxy.address()).await.expect("the broker listens");
    put(&client, "t", "before").await;
    // The answers do not arrive any more, and then neither broker nor connection is left.
    proxy.freeze(Direction::FromBroker);
    let peer = broker.peer().await;
    peer.answer(peer.subscribe_to(Sub::new(1, "t").window(0))).await;
    let pending = client.publish("t", "pending");
    let replaced = async {
        assert_eq!(peer.stream_of(1).await, ["1/1=pending"], "it was sent");
        let address = broker.address();
        broker.stop().await;
        let broker = Broker::<F>::at(&address, |_| {}).await;
        proxy.cut();
        broker
    };
    let (pending, broker) = futures::join!(pending, replaced);
    assert_eq!(pending.map_err(|error| error.class()), Err(ErrorClass::Unknown));
    assert_eq!(put(&client, "t", "after").await, "@0 new", "nothing was sent again");
    broker.stop().await;
}
