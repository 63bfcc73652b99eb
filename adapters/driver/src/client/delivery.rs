//! A message, and how to settle it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use zaichik_client::{Hold, Message, OffsetRange, RequestError, SubscriptionId};
use zaichik_proto::{Refusal, RefusalCode};

use super::core::{Core, Owner};
use super::error::ClientError;
use super::request::Request;
use super::settle::Settle;

/// A message, with the means to commit or nack it, or to [`ack`](Self::ack) it in a shared subscription.
///
/// Dropping it does neither: of a shared subscription it is handed out again at its deadline.
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
    /// With what it is settled, in a shared subscription.
    hold: Option<Hold>,
    core: Arc<Core>,
}

impl Delivery {
    /// Commits this message and all before it (rule A2).
    ///
    /// Ready when the broker has the commit of a durable subscription, even if connections break meanwhile. A
    /// subscription without a name ends with its connection, and the client continues behind its commits, so a commit
    /// without a connection is done at once (rule P4).
    ///
    /// # Errors
    /// [`ClientError::Request`] if commits are off, the subscription is shared ([`ack`](Self::ack) the message instead), or
    /// it has ended; of class
    /// [`Unknown`](crate::ErrorClass::Unknown) if the broker may or may not have the commit: 30 s passed, the subscription
    /// ended, or its cursor was moved. The messages are not handed out again to this client, but may be to the next
    /// holder.
    pub async fn commit(&self) -> Result<(), ClientError> {
        let (id, offset) = (self.subscription, self.message.offset);
        Request::new(&self.core, move |machine, now| machine.commit(now, id, offset)).await?;
        Ok(())
    }

    /// Moves delivery back to this message, after `delay` (rule A4): it and all after it are redelivered in order,
    /// with [`attempt`](Message::attempt) raised. The whole subscription waits for it.
    ///
    /// Ready when the broker has the nack. With a [dead-letter topic](super::Subscribe::dead_letter) it counts as a
    /// failure.
    ///
    /// Of a shared subscription only this message is given back, to any member, and nothing waits for it (rule G5).
    ///
    /// # Errors
    /// [`RequestError::AlreadyCommitted`] if this message or a later one was
    /// committed: it is not redelivered. If the connection of a durable subscription breaks first, an error of class
    /// [`Unknown`](crate::ErrorClass::Unknown) or [`Retryable`](crate::ErrorClass::Retryable): the message is redelivered,
    /// but may not count as failed. Otherwise as for [`commit`](Self::commit).
    pub async fn nack(&self, delay: Duration) -> Result<(), ClientError> {
        if self.hold.is_some() {
            return self.settle(Settle::GiveBack(delay)).await;
        }
        let (id, offset) = (self.subscription, self.message.offset);
        Request::new(&self.core, move |machine, now| machine.nack(now, id, offset, delay)).await?;
        Ok(())
    }

    /// Acknowledges this message of a shared subscription, and no other (rule G3): it is done. Ready when the broker has
    /// it.
    ///
    /// ```
    /// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
    /// # Simulation::new().run(async {
    /// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    /// # let client = broker.client();
    /// let mut jobs = client.subscribe("jobs").shared("workers").window(8).await?;
    /// client.publish_all("jobs", ["sweep", "rake"]).await?;
    /// let sweep = jobs.next_message().await?.expect("the subscription continues");
    /// let rake = jobs.next_message().await?.expect("the subscription continues");
    /// rake.ack().await?; // in any order
    /// sweep.ack().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).expect("it works");
    /// ```
    ///
    /// # Errors
    /// [`RequestError::NotHeld`] if its deadline passed and another member has got it, or it was settled before;
    /// [`Returned`](RequestError::Returned) if the connection over which it was received is gone, so that it is redelivered;
    /// of class [`Unknown`](crate::ErrorClass::Unknown) if the connection breaks before the answer;
    /// [`Refused`](RequestError::Refused) if the subscription is not shared, or has `window` 0.
    pub async fn ack(&self) -> Result<(), ClientError> {
        self.settle(Settle::Ack).await
    }

    /// Acknowledges this message as [`ack`](Self::ack) does, without waiting: the broker answers only if something is wrong,
    /// which [`Client::take_refused`](super::Client::take_refused) reports. For messages that may as well be redelivered, as
    /// they are if the connection breaks before the broker has it.
    ///
    /// ```
    /// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
    /// # Simulation::new().run(async {
    /// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    /// # let client = broker.client();
    /// let mut readings = client.subscribe("readings").shared("averages").window(8).await?;
    /// client.publish_all("readings", ["17", "18"]).await?;
    /// for _ in 0..2 {
    ///     readings.next_message().await?.expect("the subscription continues").ack_quiet()?;
    /// }
    /// assert_eq!(client.shared_subscription("readings", "averages").await?.cursor, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).expect("it works");
    /// ```
    ///
    /// # Errors
    /// [`Returned`](RequestError::Returned) if the connection over which it was received is gone;
    /// [`Full`](RequestError::Full) while too many bytes wait to be sent: `ack` waits until there is room;
    /// [`Refused`](RequestError::Refused) if the subscription is not shared, or has `window` 0.
    pub fn ack_quiet(&self) -> Result<(), ClientError> {
        let (hold, offset) = (self.hold()?, self.message.offset);
        self.core.update(|state, now| {
            state.check()?;
            Ok(state.machine.ack_quiet(now, hold, &[OffsetRange { first: offset, count: 1 }])?)
        })
    }

    /// Starts the deadline of this message of a shared subscription again (rule G6), for work that takes longer.
    ///
    /// # Errors
    /// As for [`ack`](Self::ack).
    pub async fn extend(&self) -> Result<(), ClientError> {
        self.settle(Settle::Extend).await
    }

    pub(super) const fn new(
        message: Message,
        subscription: SubscriptionId,
        hold: Option<Hold>,
        core: Arc<Core>,
    ) -> Self {
        Self { message, subscription, hold, core }
    }

    /// With what it is settled; an error if its subscription is not shared.
    pub(super) fn hold(&self) -> Result<Hold, RequestError> {
        self.hold.ok_or_else(|| {
            let refusal = Refusal::new(RefusalCode::ModeDiffers);
            RequestError::Refused { topic: Arc::clone(&self.message.topic), refusal }
        })
    }

    async fn settle(&self, settle: Settle) -> Result<(), ClientError> {
        settle.one(&self.core, self.hold()?, &self.message.topic, self.message.offset).await
    }

    pub(super) const fn subscription(&self) -> SubscriptionId {
        self.subscription
    }

    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        Arc::ptr_eq(&self.core, owner.core())
    }

    /// The topic that it comes from.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.message.topic
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
