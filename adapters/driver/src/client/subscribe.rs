//! A subscription that has not begun yet.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use zaichik_client::{Answer, DurableOptions, SharedOptions, SubscribeOptions};
use zaichik_proto::Start;

use super::core::Owner;
use super::error::ClientError;
use super::loss::OnLoss;
use super::membership::Membership;
use super::mismatch;
use super::request::Request;
use super::subscription::Subscription;

/// A subscription that has not begun yet: configure it, then await it.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, Start};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # let client = broker.client();
/// let jobs = client.subscribe("jobs").durable("workers").window(256).from(Start::Earliest).await?;
/// assert_eq!(jobs.start(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[must_use = "nothing happens before it is awaited"]
pub struct Subscribe {
    owner: Arc<Owner>,
    topic: Arc<str>,
    options: SubscribeOptions,
    on_loss: OnLoss,
}

impl Subscribe {
    pub(super) fn new(owner: Arc<Owner>, topic: &str) -> Self {
        Self { owner, topic: topic.into(), options: SubscribeOptions::new(), on_loss: OnLoss::Continue }
    }

    /// Maximum uncommitted messages. Default 1: the next message is delivered after the last one was committed. A program
    /// that collects messages before it commits, as `chunks(n)` does, needs a window of at least `n`, or it waits for
    /// ever.
    ///
    /// 0 turns commits off: messages are delivered at most once, as fast as they can be read. Messages that the program
    /// has not taken fill [`buffer_bytes`](crate::ClientConfig::buffer_bytes), and then the client reads nothing more, not
    /// even answers: take them in a task that awaits no other request of this client. A request that waits for its answer
    /// then fails with [`RequestError::Unread`](crate::RequestError::Unread) at its deadline.
    pub const fn window(mut self, messages: u32) -> Self {
        self.options.window = messages;
        self
    }

    /// Maximum uncommitted bytes; a single larger message is still delivered. Default: the broker's limit.
    pub const fn window_bytes(mut self, bytes: u32) -> Self {
        self.options.window_bytes = bytes;
        self
    }

    /// Where it begins (rule R3); a durable one that exists continues at its cursor instead. Default:
    /// [`Start::Earliest`].
    pub const fn from(mut self, start: Start) -> Self {
        self.options.start = start;
        self
    }

    /// Gives the cursor a name under which it outlives this client: a later subscription with that name continues after
    /// the last commit (chapter D). One client holds it at a time: the newest, unless the options say otherwise.
    pub fn durable(mut self, durable: impl Into<DurableOptions>) -> Self {
        self.options.durable = Some(durable.into());
        self
    }

    /// Shares the messages with the other members of this name: each goes to one of them, and is
    /// [acknowledged](super::Delivery::ack) alone (chapter G). Messages come in the order in which they are handed out, which
    /// is not that of their offsets when some came back. One that is not acknowledged within the
    /// [`ack_deadline`](SharedOptions::ack_deadline), 30 s by default, or whose member's connection ends, goes to another
    /// member. Not together with [`durable`](Self::durable); it outlives its members as well.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, SharedOptions, Simulation};
    /// # Simulation::new().run(async {
    /// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    /// # let client = broker.client();
    /// let workers = SharedOptions::new("workers").by_key().ack_deadline(Duration::from_mins(5));
    /// let jobs = client.subscribe("jobs").shared(workers).window(64).await?;
    /// # drop(jobs);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).expect("it works");
    /// ```
    pub fn shared(mut self, shared: impl Into<SharedOptions>) -> Self {
        self.options.shared = Some(shared.into());
        self
    }

    /// Moves a message to `topic` after `max_attempts` failures: it was nacked, or was the only uncommitted one when a
    /// durable subscription's connection ended (rule A6). Default: it is redelivered without limit.
    ///
    /// A `topic` that does not exist is created and keeps its messages forever; one that keeps nothing for later
    /// subscribers, as by default, is refused. A moved message has headers that say where it comes from and why it
    /// failed, such as `zaichik-offset` and `zaichik-reason`.
    pub fn dead_letter(mut self, max_attempts: u32, topic: impl Into<String>) -> Self {
        self.options = self.options.dead_letter(max_attempts, topic);
        self
    }

    /// What [`Subscription::next_message`] does when messages are lost. Default [`OnLoss::Continue`].
    pub const fn on_loss(mut self, on_loss: OnLoss) -> Self {
        self.on_loss = on_loss;
        self
    }

    async fn subscribe(self) -> Result<Subscription, ClientError> {
        let Self { owner, topic, options, on_loss } = self;
        let core = Arc::clone(owner.core());
        let id = Arc::new(OnceLock::new());
        // Dropped after the request: while that is in the line, the id is unknown and there is nothing to leave.
        let mut membership = Membership { owner, id: Arc::clone(&id), is_over: false };
        let name = Arc::clone(&topic);
        let answer = Request::new(&core, move |machine, now| {
            let (request, subscription) = machine.subscribe(now, &name, options)?;
            id.get_or_init(|| subscription);
            Ok(request)
        })
        .await;
        membership.is_over = answer.is_err();
        let answer = answer?;
        let Answer::Subscribed(begun) = answer else {
            return Err(mismatch(&answer));
        };
        Ok(Subscription::new(membership, topic, on_loss, &begun))
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, ClientError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.subscribe())
    }
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe")
            .field("topic", &self.topic)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
