//! Messages of a subscription that must not lose any.

use zaichik_tokio::{Delivery, Subscription};

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
