//! Asks the broker whether it has the commits of a durable subscription.
//!
//! When a connection breaks, the client library accepts a commit before the broker has it, and sends it on the next
//! connection. A command that ends before has not committed anything.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use zaichik_tokio::{Client, ClientError};

use crate::failure::{Code, Failure};

/// Maximum time for the answers to all questions.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time between two questions, for a commit that is on its way.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until the broker has committed these offsets of the durable subscription `name` in each topic. A connection that
/// is lost has `reconnect` to open again.
///
/// # Errors
/// It has not, or does not answer in time.
pub(super) async fn confirm(
    client: &Client,
    name: &str,
    committed: &[(String, u64)],
    reconnect: Duration,
) -> Result<(), Failure> {
    for (topic, offset) in committed {
        let unconfirmed = |why: &str| {
            format!(
                "topic {topic:?}: the broker did not confirm the commit of message {offset}: {why}; it and later ones \
                 may be redelivered"
            )
        };
        let Ok(opened) = timeout(reconnect, client.connection_is(true)).await else {
            return Err(Failure::new(Code::TimedOut, unconfirmed("the connection is lost")));
        };
        opened?;
        match timeout(PATIENCE, reaches(client, topic, name, *offset)).await {
            Ok(reached) => reached?,
            Err(_) => return Err(Failure::new(Code::TimedOut, unconfirmed("no answer arrived in time"))),
        }
    }
    Ok(())
}

/// Asks until the cursor is behind the offset.
async fn reaches(client: &Client, topic: &str, name: &str, offset: u64) -> Result<(), ClientError> {
    while client.subscription(topic, name).await?.cursor <= offset {
        sleep(PAUSE).await;
    }
    Ok(())
}
