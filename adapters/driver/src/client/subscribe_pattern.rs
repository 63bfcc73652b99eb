//! A subscription to a pattern of topics that has not begun yet.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use zaichik_client::{Answer, PatternOptions};
use zaichik_proto::Start;

use super::core::Owner;
use super::error::ClientError;
use super::loss::OnLoss;
use super::membership::Membership;
use super::mismatch;
use super::pattern::PatternSubscription;
use super::request::Request;

/// A subscription to a pattern of topics that has not begun yet: configure it, then await it.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, Start};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # let client = broker.client();
/// let orders = client.subscribe_pattern("orders.*").window(256).from(Start::Latest).await?;
/// assert_eq!(orders.topics(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[must_use = "nothing happens before it is awaited"]
pub struct SubscribePattern {
    owner: Arc<Owner>,
    pattern: Arc<str>,
    options: PatternOptions,
    on_loss: OnLoss,
}

impl SubscribePattern {
    pub(super) fn new(owner: Arc<Owner>, pattern: &str) -> Self {
        Self { owner, pattern: pattern.into(), options: PatternOptions::new(), on_loss: OnLoss::Continue }
    }

    /// Maximum uncommitted messages of all topics together (rule W5); topics with messages have their turns. Otherwise as
    /// [`Subscribe::window`](super::Subscribe::window).
    pub const fn window(mut self, messages: u32) -> Self {
        self.options.window = messages;
        self
    }

    /// Maximum uncommitted bytes of all topics together; a single larger message is still delivered. Default: the broker's
    /// limit.
    pub const fn window_bytes(mut self, bytes: u32) -> Self {
        self.options.window_bytes = bytes;
        self
    }

    /// Where the topics begin that exist (rule R3); those that are created later begin at their first message. Default:
    /// [`Start::Earliest`].
    pub const fn from(mut self, start: Start) -> Self {
        self.options.start = start;
        self
    }

    /// Moves a message to `topic` after `max_attempts` failures, as [`Subscribe::dead_letter`](super::Subscribe::dead_letter)
    /// does. The pattern does not match this topic.
    pub fn dead_letter(mut self, max_attempts: u32, topic: impl Into<String>) -> Self {
        self.options = self.options.dead_letter(max_attempts, topic);
        self
    }

    /// What [`PatternSubscription::next_message`] does when messages of a topic are lost. Default [`OnLoss::Continue`].
    pub const fn on_loss(mut self, on_loss: OnLoss) -> Self {
        self.on_loss = on_loss;
        self
    }

    async fn subscribe(self) -> Result<PatternSubscription, ClientError> {
        let Self { owner, pattern, options, on_loss } = self;
        let core = Arc::clone(owner.core());
        let id = Arc::new(OnceLock::new());
        // Dropped after the request: while that is in the line, the id is unknown and there is nothing to leave.
        let mut membership = Membership { owner, id: Arc::clone(&id), is_over: false };
        let text = Arc::clone(&pattern);
        let answer = Request::new(&core, move |machine, now| {
            let (request, subscription) = machine.subscribe_pattern(now, &text, options)?;
            id.get_or_init(|| subscription);
            Ok(request)
        })
        .await;
        membership.is_over = answer.is_err();
        let answer = answer?;
        let Answer::PatternSubscribed(begun) = answer else {
            return Err(mismatch(&answer));
        };
        Ok(PatternSubscription::new(membership, pattern, on_loss, begun))
    }
}

impl IntoFuture for SubscribePattern {
    type Output = Result<PatternSubscription, ClientError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.subscribe())
    }
}

impl fmt::Debug for SubscribePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribePattern")
            .field("pattern", &self.pattern)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
