//! Chapter D: durable subscriptions whose connections break.

use std::time::Duration;

use zaichik_driver::{Client, Subscription, TopicOptions};

use crate::broker::{Broker, ClientOf, next, next_committed, put, settled};
use crate::faults::Direction;
use crate::form::Form;
use crate::proxy::Proxy;

/// Creates a topic `t` that retains these messages forever; returns the client that published them.
async fn topic<F: Form>(broker: &Broker<F>, bodies: &[&'static str]) -> ClientOf<F> {
    let writer = broker.client().await;
    writer.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    for body in bodies {
        put(&writer, "t", *body).await;
    }
    writer
}

/// A new client that holds the durable subscription `d` of `t`.
async fn attach<F: Form>(broker: &Broker<F>, window: u32) -> (ClientOf<F>, Subscription) {
    let client = broker.client().await;
    let subscription = client.subscribe("t").durable("d").window(window).await.expect("subscribed");
    (client, subscription)
}

/// A client at the proxy's address that reconnects quickly.
async fn behind<F: Form>(proxy: &Proxy) -> ClientOf<F> {
    let builder = Client::<F::Runtime>::builder(proxy.address());
    let builder = builder.configure(|config| config.reconnect_min = Duration::from_millis(1));
    builder.connect().await.expect("the broker listens")
}

pub(crate) async fn d_02_uncommitted_messages_are_redelivered_in_order<F: Form>() {
    let broker = Broker::<F>::start().await;
    let writer = topic(&broker, &["a", "b", "c", "d"]).await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let client = behind::<F>(&proxy).await;
    let mut subscription = client.subscribe("t").durable("d").window(2).await.expect("subscribed");
    assert_eq!(next_committed(&mut subscription).await, "0=a");
    assert_eq!(settled(&client, &mut subscription).await, ["1=b", "2=c"]);
    // The client reconnects automatically after a broken connection.
    proxy.cut();
    for expected in ["reconnected 1 1", "1=b #2", "2=c #2"] {
        assert_eq!(next(&mut subscription).await, expected);
    }
    // Another client continues in its place.
    drop((subscription, proxy));
    let (client, mut subscription) = attach(&broker, 3).await;
    assert_eq!(settled(&client, &mut subscription).await, ["1=b #3", "2=c #3", "3=d"]);
    subscription.commit().await.expect("committed");
    put(&writer, "t", "e").await;
    assert_eq!(next(&mut subscription).await, "4=e");
    broker.stop().await;
}

/// A client whose subscription was taken over while it was disconnected is notified when it reconnects, and never
/// attaches again.
pub(crate) async fn d_08_a_fenced_client_stays_fenced<F: Form>() {
    let broker = Broker::<F>::start().await;
    topic(&broker, &["a"]).await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let away = behind::<F>(&proxy).await;
    let mut old = away.subscribe("t").durable("d").await.expect("subscribed");
    assert_eq!(next(&mut old).await, "0=a");
    // Fenced does not reach the disconnected client.
    proxy.freeze(Direction::FromBroker);
    let (client, mut subscription) = attach(&broker, 1).await;
    assert_eq!(next(&mut subscription).await, "0=a #2");
    for _ in 0..2 {
        proxy.cut();
        away.ping().await.ok();
        while away.ping().await.is_err() {}
    }
    loop {
        let event = next(&mut old).await;
        if event == "fenced" {
            break;
        }
        assert!(event.contains('=') || event.starts_with("reconnected"), "{event}");
    }
    assert!(proxy.connections() > 1);
    assert!(settled(&client, &mut subscription).await.is_empty(), "the two do not alternate");
    subscription.commit().await.expect("it holds the subscription");
    broker.stop().await;
}
