//! A publish that was made, and whose answer may be waited for later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use zaichik_client::{Answer, PublishReceipt};

use super::error::ClientError;
use super::request::Reply;

/// A message under way: await it to hear what became of it.
///
/// The message is published whether this is awaited or dropped; what the client keeps for the answer is bounded by
/// its `max_in_flight`.
///
/// ```
/// # use zaichik_simulated::{Embedded, Simulation, default_config};
/// # Simulation::new().run(async {
/// # let broker = Embedded::start(default_config()?)?;
/// # let client = broker.client();
/// # client.ping().await?;
/// let first = client.publish_nowait("orders", "one tea")?;
/// let second = client.publish_nowait("orders", "two coffees")?; // both are under way
/// assert_eq!(first.await?.offset(0), Some(0));
/// assert_eq!(second.await?.offset(0), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[must_use = "a refused or lost message is reported here only"]
pub struct Publishing(Reply);

impl Publishing {
    pub(super) const fn new(reply: Reply) -> Self {
        Self(reply)
    }
}

impl Future for Publishing {
    type Output = Result<PublishReceipt, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(cx))?;
        let Answer::Published(receipt) = answer else {
            return Poll::Ready(Err(super::mismatch(&answer)));
        };
        Poll::Ready(Ok(receipt))
    }
}

impl fmt::Debug for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publishing").finish_non_exhaustive()
    }
}
