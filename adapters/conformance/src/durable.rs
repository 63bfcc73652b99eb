//! D: subscriptions that outlive their connection.

use std::time::Duration;

use zaichik_driver::{Client, ClientError, DurableOptions, OnConflict, Start, Subscription, TopicOptions};
use zaichik_testkit::Sub;

use crate::broker::{Broker, ClientOf, HOUR, SOON, next, next_committed, put, refused, settled};
use crate::faults::Direction;
use crate::form::Form;
use crate::proxy::Proxy;

/// A broker whose topic `t` keeps these for ever, and who wrote them.
async fn topic<F: Form>(bodies: &[&'static str]) -> (Broker<F>, ClientOf<F>) {
    let broker = Broker::<F>::start().await;
    let writer = broker.client().await;
    writer.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    for body in bodies {
        put(&writer, "t", *body).await;
    }
    (broker, writer)
}

/// A new client with the durable subscription `d` of `t`.
async fn attach<F: Form>(broker: &Broker<F>, window: u32) -> (ClientOf<F>, Subscription) {
    let client = broker.client().await;
    let subscription = client.subscribe("t").durable("d").window(window).await.expect("subscribed");
    (client, subscription)
}

/// A client that comes back quickly, at the proxy's address.
async fn behind<F: Form>(proxy: &Proxy) -> ClientOf<F> {
    let builder = Client::<F::Runtime>::builder(proxy.address());
    let builder = builder.configure(|config| config.reconnect_min = Duration::from_millis(1));
    builder.connect().await.expect("the broker listens")
}

/// The end of a subscription that was taken over, whatever it had before.
async fn fenced(subscription: &mut Subscription) {
    loop {
        match next(subscription).await.as_str() {
            "fenced" => return,
            other => assert!(other.contains('=') || other.starts_with("reconnected"), "{other}"),
        }
    }
}

pub(crate) async fn d_01_it_goes_on_where_it_committed<F: Form>() {
    let (broker, writer) = topic::<F>(&["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    let (client, mut subscription) = attach(&broker, 8).await;
    assert_eq!(settled(&client, &mut subscription).await.len(), 8);
    subscription.commit_to(5).await.expect("committed");
    drop(subscription);
    client.close().await.expect("closed");
    put(&writer, "t", "i").await;
    let client = broker.client().await;
    let again = client.subscribe("t").durable("d").window(8).from(Start::Earliest).await;
    let mut again = again.expect("subscribed");
    assert_eq!((again.start(), again.end()), (6, 9), "whatever its start says");
    assert_eq!(settled(&client, &mut again).await, ["6=g #2", "7=h #2", "8=i"]);
    broker.stop().await;
}

pub(crate) async fn d_02_what_was_uncommitted_comes_again_in_order<F: Form>() {
    let (broker, writer) = topic::<F>(&["a", "b", "c", "d"]).await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let client = behind::<F>(&proxy).await;
    let mut subscription = client.subscribe("t").durable("d").window(2).await.expect("subscribed");
    assert_eq!(next_committed(&mut subscription).await, "0=a");
    assert_eq!(settled(&client, &mut subscription).await, ["1=b", "2=c"]);
    // The same client mends a broken connection by itself.
    proxy.cut();
    for expected in ["reconnected 1 1", "1=b #2", "2=c #2"] {
        assert_eq!(next(&mut subscription).await, expected);
    }
    // And another one goes on in its place.
    drop((subscription, proxy));
    let (client, mut subscription) = attach(&broker, 3).await;
    assert_eq!(settled(&client, &mut subscription).await, ["1=b #3", "2=c #3", "3=d"]);
    subscription.commit().await.expect("committed");
    put(&writer, "t", "e").await;
    assert_eq!(next(&mut subscription).await, "4=e");
    broker.stop().await;
}

pub(crate) async fn d_03_a_second_attach_takes_over<F: Form>() {
    let (broker, writer) = topic::<F>(&["a", "b"]).await;
    let (old_client, mut old) = attach(&broker, 1).await;
    let message = old.next_message().await.expect("no gap").expect("a message");
    let (client, mut subscription) = attach(&broker, 1).await;
    assert_eq!(next(&mut subscription).await, "0=a #2");
    let told = old.next_message().await;
    assert!(matches!(told, Err(ClientError::Fenced { .. })), "{told:?}");
    assert!(message.commit().await.is_err(), "it has ended");
    assert_eq!(next(&mut old).await, "ended", "nothing follows");
    assert!(settled(&client, &mut subscription).await.is_empty(), "the old commit has no effect");
    // The broker refuses too, whatever a client knows.
    let peer = broker.peer().await;
    peer.answer(peer.subscribe_to(Sub::new(1, "t").durable("d"))).await;
    assert_eq!(peer.stream_of(1).await, ["1/0=a #3"]);
    fenced(&mut subscription).await;
    let (client, mut subscription) = attach(&broker, 1).await;
    assert_eq!(peer.stream().await, ["1 fenced by 4"]);
    let requests = [peer.commit(1, 0), peer.nack(1, 0, 0), peer.seek(1, Start::Latest), peer.unsubscribe(1)];
    for request in requests {
        assert_eq!(peer.answer(request).await, "refused SubscriptionFenced 4");
    }
    assert_eq!(settled(&client, &mut subscription).await, ["0=a #4"]);
    subscription.commit().await.expect("it holds it");
    drop((peer, old_client));
    put(&writer, "t", "c").await;
    for expected in ["1=b", "2=c"] {
        assert_eq!(next_committed(&mut subscription).await, expected);
    }
    broker.stop().await;
}

pub(crate) async fn d_04_an_attach_that_does_not_take_over_is_refused<F: Form>() {
    let (broker, _) = topic::<F>(&["a", "b"]).await;
    let (client, mut first) = attach(&broker, 1).await;
    let polite = DurableOptions::new("d").on_conflict(OnConflict::Reject);
    let other = broker.client().await;
    assert_eq!(refused(other.subscribe("t").durable(polite.clone()).await), "SubscriptionHeld");
    for expected in ["0=a", "1=b"] {
        assert_eq!(next(&mut first).await, expected);
        first.commit_to(0).await.expect("it still holds it");
    }
    drop(first);
    client.close().await.expect("closed");
    let mut second = other.subscribe("t").durable(polite).await.expect("it is free");
    assert_eq!(next(&mut second).await, "1=b #2");
    broker.stop().await;
}

pub(crate) async fn d_04_a_cursor_before_the_first_message_gets_a_gap_and_goes_on<F: Form>() {
    let (broker, writer) = topic::<F>(&["a"]).await;
    let (_, subscription) = attach(&broker, 1).await;
    subscription.unsubscribe().await.expect("detached");
    writer.alter_topic("t", TopicOptions::new().max_messages(2)).await.expect("altered");
    for body in ["b", "c", "d"] {
        put(&writer, "t", body).await;
    }
    let (client, mut subscription) = attach(&broker, 9).await;
    assert_eq!((subscription.start(), subscription.end()), (0, 4));
    assert_eq!(settled(&client, &mut subscription).await, ["0..2 limit", "2=c", "3=d"]);
    broker.stop().await;
}

pub(crate) async fn d_05_who_stays_away_too_long_is_forgotten<F: Form>() {
    let (broker, writer) = topic::<F>(&["a", "b"]).await;
    for (name, kept) in [("briefly", SOON), ("long", HOUR)] {
        let client = broker.client().await;
        let durable = DurableOptions::new(name).inactive_ttl(kept);
        let mut subscription = client.subscribe("t").durable(durable).await.expect("subscribed");
        assert_eq!(next_committed(&mut subscription).await, "0=a");
        drop(subscription);
        client.close().await.expect("closed");
    }
    // Who looks does not keep it.
    while writer.seek("t", "briefly", Start::Offset(1)).await.is_ok() {}
    assert_eq!(refused(writer.seek("t", "briefly", Start::Offset(1)).await), "NotSubscribed");
    for (name, start) in [("briefly", 0), ("long", 1)] {
        let subscription = writer.subscribe("t").durable(name).await.expect("subscribed");
        assert_eq!(subscription.start(), start, "{name}");
    }
    broker.stop().await;
}

pub(crate) async fn d_07_one_name_on_two_topics_and_two_names_on_one<F: Form>() {
    let (broker, writer) = topic::<F>(&["a", "b"]).await;
    writer.create_topic("u", TopicOptions::new().retain_forever()).await.expect("created");
    put(&writer, "u", "x").await;
    let client = broker.client().await;
    let mut subscriptions = Vec::new();
    for (topic, name) in [("t", "d"), ("u", "d"), ("t", "e")] {
        subscriptions.push(client.subscribe(topic).durable(name).await.expect("subscribed"));
    }
    assert_eq!(refused(client.subscribe("t").durable("d").await), "AlreadySubscribed");
    assert_eq!(next_committed(&mut subscriptions[0]).await, "0=a");
    assert_eq!(next(&mut subscriptions[0]).await, "1=b");
    assert_eq!(next(&mut subscriptions[1]).await, "0=x");
    assert_eq!(settled(&client, &mut subscriptions[2]).await, ["0=a"], "its cursor is its own");
    broker.stop().await;
}

/// Who was away while another one took over is told when it comes back, and stays away.
pub(crate) async fn d_08_a_fenced_client_stays_fenced<F: Form>() {
    let (broker, _) = topic::<F>(&["a"]).await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let away = behind::<F>(&proxy).await;
    let mut old = away.subscribe("t").durable("d").await.expect("subscribed");
    assert_eq!(next(&mut old).await, "0=a");
    // It does not hear that it was fenced.
    proxy.freeze(Direction::FromBroker);
    let (client, mut subscription) = attach(&broker, 1).await;
    assert_eq!(next(&mut subscription).await, "0=a #2");
    for _ in 0..2 {
        proxy.cut();
        away.ping().await.ok();
        while away.ping().await.is_err() {}
    }
    fenced(&mut old).await;
    assert!(proxy.connections() > 1);
    assert!(settled(&client, &mut subscription).await.is_empty(), "no ping-pong");
    subscription.commit().await.expect("it holds it");
    broker.stop().await;
}
