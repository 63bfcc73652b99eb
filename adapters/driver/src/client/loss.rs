//! What a subscription does when messages are lost, and the count of them.

use zaichik_client::Event;

/// What [`Subscription::next_message`](super::Subscription::next_message) does when messages are lost: at a gap
/// (rule R9), after a reconnect if some were removed meanwhile, and after a restart of the broker (rule P5).
///
/// The subscription continues in either case, and [`next_event`](super::Subscription::next_event) always reports each
/// loss as an [`Event`].
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, TopicOptions};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # let client = broker.client();
/// use zaichik_driver::{ClientError, OnLoss};
/// client.create_topic("ledger", TopicOptions::new().retain_forever().max_messages(1)).await?;
/// let mut ledger = client.subscribe("ledger").on_loss(OnLoss::Fail).await?;
/// for entry in ["one", "two", "three"] {
///     client.publish("ledger", entry).await?; // the topic keeps one of them
/// }
/// ledger.next_message().await?.expect("the first message").commit().await?;
/// let error = ledger.next_message().await.expect_err("the second one is lost");
/// assert!(matches!(error, ClientError::Lost { .. }));
/// assert_eq!(ledger.next_message().await?.expect("it continues").body, "three");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnLoss {
    /// Log a warning and continue with the next message. The default.
    #[default]
    Continue,
    /// Return [`ClientError::Lost`](super::ClientError::Lost) once; the next call continues.
    Fail,
}

/// What a subscription has lost since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Losses {
    /// Gaps, including those at a reconnect.
    pub gaps: u64,
    /// Offsets in these gaps.
    pub offsets: u64,
    /// Restarts of the broker, each of which lost the undelivered messages.
    pub restarts: u64,
}

impl Losses {
    /// Whether nothing is lost.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.gaps == 0 && self.restarts == 0
    }

    pub(super) fn count<M>(&mut self, event: &Event<M>) {
        if let Some(offsets) = event.lost_offsets() {
            self.gaps = self.gaps.saturating_add(1);
            self.offsets = self.offsets.saturating_add(offsets.end.saturating_sub(offsets.start));
        }
        if matches!(event, Event::Restarted { .. }) {
            self.restarts = self.restarts.saturating_add(1);
        }
    }
}
