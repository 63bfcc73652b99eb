//! Chapter P: the parts of publishing that sockets, threads and the client's queue can break.

use std::pin::pin;

use futures::future::{join_all, select};
use futures::{FutureExt, SinkExt, StreamExt, stream};
use zaichik_driver::{Client, ClientError, ErrorClass, Outgoing, TopicOptions};
use zaichik_testkit::Sub;

use crate::broker::{Broker, next, next_committed, put, spawn};
use crate::faults::Direction;
use crate::form::Form;
use crate::proxy::Proxy;

pub(crate) async fn p4_a_dropped_client_still_sends_accepted_requests<F: Form>() {
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

pub(crate) async fn p4_requests_beyond_the_limit_wait_for_their_turn<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client_builder().max_in_flight(2).start();
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    let mut publishing = Vec::new();
    for number in 0..500 {
        let client = client.clone();
        let mut publish = Box::pin(async move { client.publish("t", number.to_string()).await });
        // Some are dropped while they wait; the others must not wait forever.
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

pub(crate) async fn p4_a_publisher_reports_a_refusal_once_and_continues<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let mut publisher = client.publisher("t").max_in_flight(1);
    publisher.send("fine".into()).await.expect("accepted");
    let too_large = publisher.send(Outgoing::new(vec![0; 2 << 20])).await;
    assert!(matches!(too_large, Err(ClientError::Request(_))), "{too_large:?}");
    publisher.send("fine again".into()).await.expect("accepted");
    publisher.close().await.expect("the refusal was reported already");
    broker.stop().await;
}

pub(crate) async fn p6_publishes_that_wait_for_room_are_stored_in_the_order_of_the_calls<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client_builder().max_in_flight(16).start();
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    let publishes = (0..5_000).map(|number| client.publish("t", number.to_string()));
    let mut receipts = stream::iter(publishes).buffered(64).enumerate();
    while let Some((number, receipt)) = receipts.next().await {
        assert_eq!(receipt.expect("accepted").offset(0), u64::try_from(number).ok());
    }
    // The large ones are more than the client keeps in flight.
    let client = broker.client_builder().configure(|config| config.max_in_flight_bytes = 1 << 20).start();
    client.create_topic("u", TopicOptions::new().retain_forever()).await.expect("created");
    let size = |number: u64| if number.is_multiple_of(10) { 500 << 10 } else { 10 };
    let publishes = (0..100).map(|number| client.publish("u", vec![0; size(number)]));
    for (number, receipt) in (0..).zip(join_all(publishes).await) {
        assert_eq!(receipt.expect("accepted").offset(0), Some(number));
    }
    broker.stop().await;
}

/// An answer does not wait for deliveries that are due before it: here they continue until it arrives.
pub(crate) async fn p_10_answers_arrive_while_deliveries_saturate_the_connection<F: Form>() {
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

pub(crate) async fn p_12_a_subscription_restarts_on_another_instance<F: Form>() {
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

/// A broker without a store begins anew.
pub(crate) async fn b_12_without_a_store_nothing_survives<F: Form>() {
    let broker = Broker::<F>::start().await;
    let address = broker.address();
    let first = broker.peer().await.instance();
    let client = Client::<F::Runtime>::connect(&address).await.expect("the broker listens");
    assert_eq!(put(&client, "t", "before").await, "@0 new");
    assert_eq!(put(&client, "t", "before").await, "@1");
    broker.stop().await;

    let broker = Broker::<F>::at(&address, |_| {}).await;
    assert_ne!(broker.peer().await.instance(), first);
    assert_eq!(put(&client, "t", "after").await, "@0 new");
    broker.stop().await;
}

/// The outcome of an unanswered publish is unknown when the broker is replaced, and the client does not resend it.
pub(crate) async fn p_12_pending_publishes_end_as_unknown<F: Form>() {
    let broker = Broker::<F>::start().await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let client = Client::<F::Runtime>::connect(proxy.address()).await.expect("the broker listens");
    put(&client, "t", "before").await;
    // Answers no longer arrive; then the broker is replaced and the connection breaks.
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
    assert_eq!(put(&client, "t", "after").await, "@0 new", "nothing was resent");
    broker.stop().await;
}
