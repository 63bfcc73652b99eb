//! Messages of a subscription that must not lose any.

use zaichik_tokio::{Delivery, Event, Subscription};

/// The next message; panics if any is lost or the subscription ends.
pub(crate) async fn next_message(subscription: &mut Subscription) -> Delivery {
    loop {
        match subscription
            .next_event()
            .await
            .expect("the client is open")
            .expect("the subscription continues")
        {
            Event::Message(message) => return message,
            event => assert!(!event.is_loss() && !event.is_end(), "expected a message, got {event:?}"),
        }
    }
}
