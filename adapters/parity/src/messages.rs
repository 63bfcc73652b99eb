//! Clients of a broker that ends and comes back, and messages of a subscription that must not lose any.

use std::time::Duration;

use zaichik_tokio::{Client, Delivery, Subscription};

/// A client that notices soon that the broker is back.
pub(crate) async fn connect(port: u16) -> Client {
    let client = Client::builder(&format!("127.0.0.1:{port}")).configure(|config| {
        config.reconnect_min = Duration::from_millis(1);
        config.reconnect_max = Duration::from_millis(20);
    });
    client.connect().await.expect("the broker listens")
}

/// The next message; panics if any is lost or the subscription ends.
pub(crate) async fn next_message(subscription: &mut Subscription) -> Delivery {
    loop {
        let event = subscription.next_event().await.expect("the client is open");
        match event.expect("the subscription continues").into_message() {
            Ok(message) => return message,
            Err(event) => assert!(!event.is_loss() && !event.is_end(), "expected a message, got {event:?}"),
        }
    }
}
