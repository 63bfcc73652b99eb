//! A message, and how to settle it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use zaichik_client::{Message, SubscriptionId};

use super::core::{Core, Owner};
use super::error::ClientError;
use super::request::Request;

/// A message, with the means to commit or nack it.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Outgoing, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # use std::time::Duration;
/// # let client = broker.client();
/// let mut jobs = client.subscribe("jobs").await?;
/// client.publish("jobs", Outgoing::new("sweep the yard").key("yard").header("by", "noon")).await?;
/// let job = jobs.next_message().await?.expect("the subscription continues");
/// assert_eq!((job.offset, job.attempt), (0, 1));
/// job.nack(Duration::from_secs(1)).await?; // redelivered in a second
/// let job = jobs.next_message().await?.expect("the subscription continues");
/// assert_eq!((job.offset, job.attempt), (0, 2));
/// job.commit().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Clone)]
pub struct Delivery {
    message: Message,
    subscription: SubscriptionId,
    core: Arc<Core>,
}

impl Delivery {
    /// Commits this message and all before it (rule A2); ready when the broker has the commit.
    ///
    /// # Errors
    /// [`ClientError::Request`] if commits are off, the subscription has ended, or the connection broke
    /// before the answer; then uncommitted messages are redelivered.
    pub async fn commit(&self) -> Result<(), ClientError> {
        let (id, offset) = (self.subscription, self.message.offset);
        Request::new(&self.core, move |machine, now| machine.commit(now, id, offset)).await?;
        Ok(())
    }

    /// Moves delivery back to this message, after `delay` (rule A4): it and all after it are redelivered in order,
    /// with [`attempt`](Message::attempt) raised. The whole subscription waits for it.
    ///
    /// Ready when the broker has the nack. A committed message stays committed. With a
    /// [dead-letter topic](super::Subscribe::dead_letter) it counts as a failure.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub async fn nack(&self, delay: Duration) -> Result<(), ClientError> {
        let (id, offset) = (self.subscription, self.message.offset);
        Request::new(&self.core, move |machine, now| machine.nack(now, id, offset, delay)).await?;
        Ok(())
    }

    pub(super) const fn new(message: Message, subscription: SubscriptionId, core: Arc<Core>) -> Self {
        Self { message, subscription, core }
    }

    pub(super) const fn subscription(&self) -> SubscriptionId {
        self.subscription
    }

    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        Arc::ptr_eq(&self.core, owner.core())
    }

    /// The message alone.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl Deref for Delivery {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}
